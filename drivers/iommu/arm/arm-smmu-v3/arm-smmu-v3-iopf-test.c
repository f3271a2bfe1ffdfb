// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of I/O page faults behind an SMMUv3
 *
 * What computes: records, commands, positions in a queue, shares of it. The
 * records are built here by the bit numbers of Arm IHI 0070, not by the driver's
 * masks. The queues are memory with a thread that stands for the interrupt.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/workqueue.h>

#include "arm-smmu-v3.h"

static const u32 sids[] = { 0, 1, 0x8000, 0x80000000, 0xffffffff };
static const u32 ssids[] = { 0, 1, 0x400, 0x80000, 0xfffff };
static const u64 addrs[] = { 0, 1, 0xfff, 0x1000, 0x7fffffffffffffff, ~0ULL };

static bool has(const struct iommu_fault_page_request *prm, u32 flag)
{
	return prm->flags & flag;
}

/* What both kinds of records say with the same words */
static void check_pasid(struct kunit *test,
			const struct iommu_fault_page_request *prm,
			bool valid, u32 ssid)
{
	KUNIT_ASSERT_EQ(test, valid,
			has(prm, IOMMU_FAULT_PAGE_REQUEST_PASID_VALID));
	KUNIT_ASSERT_EQ(test, valid ? ssid : 0, prm->pasid);
}

/* IHI 0070 7.3.12: SSV is bit 11, SSID 31:12, SID 63:32; STAG and so on above */
static void stall_record(u64 *evt, u8 id, bool ssv, u32 ssid, u32 sid, u16 stag)
{
	evt[0] = id | (u64)ssv << 11 | (u64)ssid << 12 | (u64)sid << 32;
	evt[1] = stag | 1ULL << 31;
}

static void iopf_smmu_test_stall(struct kunit *test)
{
	static const u16 stags[] = { 0, 1, 0x8000, 0xffff };
	struct iommu_fault_page_request prm;
	struct arm_smmu_cmdq_ent cmd;
	unsigned int i, bits;
	u64 evt[4] = {};
	u32 perm;

	for (i = 0; i < 5 * 5 * 4 * 6; i++) {
		u32 sid = sids[i % 5], ssid = ssids[i / 5 % 5];
		u16 stag = stags[i / 25 % 4];

		/* bit 0 SSV; PnU, InD, RnW are bits 33 to 35 */
		for (bits = 0; bits < 16; bits++) {
			stall_record(evt, 0x10 + i % 4, bits & 1, ssid, sid,
				     stag);
			evt[1] |= (u64)(bits >> 1) << 33;
			evt[2] = addrs[i / 100];
			KUNIT_ASSERT_TRUE(test,
					  arm_smmu_iopf_decode_stall(evt, &prm));
			check_pasid(test, &prm, bits & 1, ssid);
			KUNIT_ASSERT_TRUE(test,
					  has(&prm, IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE));
			KUNIT_ASSERT_EQ(test, addrs[i / 100], prm.addr);
			perm = bits & 8 ? IOMMU_FAULT_PERM_READ :
					  IOMMU_FAULT_PERM_WRITE;
			perm |= bits & 4 ? IOMMU_FAULT_PERM_EXEC : 0;
			perm |= bits & 2 ? IOMMU_FAULT_PERM_PRIV : 0;
			KUNIT_ASSERT_EQ(test, perm, prm.perm);

			arm_smmu_iopf_build_response(&prm,
						     IOMMU_PAGE_RESP_SUCCESS,
						     &cmd);
			KUNIT_ASSERT_EQ(test, sid, cmd.resume.sid);
			KUNIT_ASSERT_EQ(test, stag, cmd.resume.stag);
		}
	}
}

/* A record that is no stall is nobody's to answer. */
static void iopf_smmu_test_no_stall(struct kunit *test)
{
	struct iommu_fault_page_request prm;
	unsigned int id;
	u64 evt[4] = {};

	for (id = 0; id < 256; id++) {
		bool fault = id >= 0x10 && id <= 0x13;

		stall_record(evt, id, true, 1, 8, 7);
		KUNIT_EXPECT_EQ(test, fault,
				arm_smmu_iopf_decode_stall(evt, &prm));
		evt[1] &= ~(1ULL << 31);
		KUNIT_EXPECT_FALSE(test,
				   arm_smmu_iopf_decode_stall(evt, &prm));
	}
}

/* SID 31:0, SSID 51:32, P X R W L SSV from 58 to 63; PRGI 8:0, address above 12 */
static void page_request(u64 *ppr, u32 sid, u32 ssid, unsigned int bits,
			 u16 prgi, u64 addr)
{
	ppr[0] = sid | (u64)ssid << 32 | (u64)bits << 58;
	ppr[1] = prgi | (addr & ~0xfffULL);
}

static u32 perm_of(unsigned int bits)
{
	return (bits & 1 ? IOMMU_FAULT_PERM_PRIV : 0) |
	       (bits & 2 ? IOMMU_FAULT_PERM_EXEC : 0) |
	       (bits & 4 ? IOMMU_FAULT_PERM_READ : 0) |
	       (bits & 8 ? IOMMU_FAULT_PERM_WRITE : 0);
}

static void iopf_smmu_test_page_request(struct kunit *test)
{
	static const u16 prgis[] = { 0, 1, 0x100, 0x1ff };
	struct iommu_fault_page_request prm;
	struct arm_smmu_cmdq_ent cmd;
	unsigned int i, bits;
	u64 ppr[2];

	for (i = 0; i < 5 * 5 * 4 * 6 * 2; i++) {
		u32 sid = sids[i % 5], ssid = ssids[i / 5 % 5];
		u16 prgi = prgis[i / 25 % 4];
		u64 addr = addrs[i / 100 % 6];
		bool resp_pasid = i / 600;

		for (bits = 0; bits < 64; bits++) {
			bool ssv = bits & 32, last = bits & 16;
			bool marker = ssv && last && !(bits & 12);

			page_request(ppr, sid, ssid, bits, prgi, addr);
			KUNIT_ASSERT_EQ(test, !marker,
					arm_smmu_iopf_decode_ppr(ppr,
								 resp_pasid,
								 &prm));
			check_pasid(test, &prm, ssv, ssid);
			KUNIT_ASSERT_EQ(test, last,
					has(&prm, IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE));
			KUNIT_ASSERT_EQ(test, perm_of(bits), prm.perm);
			KUNIT_ASSERT_EQ(test, addr & ~0xfffULL, prm.addr);

			arm_smmu_iopf_build_response(&prm,
						     IOMMU_PAGE_RESP_SUCCESS,
						     &cmd);
			KUNIT_ASSERT_EQ(test, sid, cmd.pri.sid);
			KUNIT_ASSERT_EQ(test, prgi, cmd.pri.grpid);
			KUNIT_ASSERT_EQ(test, ssv && resp_pasid,
					cmd.substream_valid);
			KUNIT_ASSERT_EQ(test, ssv && resp_pasid ? ssid : 0,
					cmd.pri.ssid);
		}
	}
}

/* IHI 0070 4.6.1: Ac 01 retries, Ab 10 aborts; 4.5.2: 0, 1 and 2 as in PCIe */
static void iopf_smmu_test_codes(struct kunit *test)
{
	static const struct {
		enum iommu_page_response_code code;
		u8 resume, pri;
	} codes[] = {
		{ IOMMU_PAGE_RESP_SUCCESS, 1, 2 },
		{ IOMMU_PAGE_RESP_INVALID, 2, 1 },
		{ IOMMU_PAGE_RESP_FAILURE, 2, 0 },
	};
	struct iommu_fault_page_request stall, ppr;
	struct arm_smmu_cmdq_ent cmd;
	u64 evt[4] = {}, rec[2];
	unsigned int i;

	stall_record(evt, 0x10, true, 1, 8, 7);
	arm_smmu_iopf_decode_stall(evt, &stall);
	page_request(rec, 8, 1, 0x3c, 7, 0);
	arm_smmu_iopf_decode_ppr(rec, true, &ppr);

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		arm_smmu_iopf_build_response(&stall, codes[i].code, &cmd);
		KUNIT_EXPECT_EQ(test, CMDQ_OP_RESUME, cmd.opcode);
		KUNIT_EXPECT_EQ(test, codes[i].resume, cmd.resume.resp);
		arm_smmu_iopf_build_response(&ppr, codes[i].code, &cmd);
		KUNIT_EXPECT_EQ(test, CMDQ_OP_PRI_RESP, cmd.opcode);
		KUNIT_EXPECT_EQ(test, codes[i].pri, cmd.pri.resp);
	}
}

static void check_target(struct kunit *test, u32 shift, u64 handled, u64 end)
{
	u32 prod = end & ((2ULL << shift) - 1);

	KUNIT_ASSERT_EQ(test, end, arm_smmu_iopf_target(shift, handled, prod));
	prod |= 1U << 31;
	KUNIT_ASSERT_EQ(test, end, arm_smmu_iopf_target(shift, handled, prod));
}

/*
 * The target is the record count at PROD: for each number of entries, place of
 * the wrap, fill, with and without one in the thread's hands, and records
 * handled between the reads, whatever the flags.
 */
static void iopf_smmu_test_target(struct kunit *test)
{
	u64 entries, handled, between, fill;
	u32 shift;

	for (shift = 1; shift <= 4; shift++) {
		entries = 1 << shift;
		for (handled = 0; handled <= 4 * entries; handled++)
			for (between = 0; between < entries / 2; between++)
				for (fill = 0; fill <= entries + 1; fill++)
					check_target(test, shift, handled,
						     handled + between + fill);
	}
}

/* The largest queue, and counts that do not fit a register */
static void iopf_smmu_test_target_large(struct kunit *test)
{
	static const u64 counts[] = {
		0, 1, (1 << 19) - 1, 1 << 19, (1 << 20) - 1, 1 << 20,
		U32_MAX - 1, U32_MAX, 1ULL << 32, (1ULL << 40) + 12345,
	};
	const u32 fills[] = { 0, 1, (1 << 19) - 1, 1 << 19 };
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		for (j = 0; j < ARRAY_SIZE(fills); j++) {
			u64 end = counts[i] + fills[j];

			KUNIT_EXPECT_EQ(test, end,
					arm_smmu_iopf_target(19, counts[i],
							     end & 0xfffff));
		}
	}
}

/* All credits are no more than entries; while there are any, somebody gets one. */
static void iopf_smmu_test_share(struct kunit *test)
{
	static const u32 wanted[] = { 1, 2, 3, 32, 256, 512, U32_MAX };
	unsigned int i, shift, devices;
	u32 granted, share;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		for (shift = 0; shift <= 19; shift++) {
			granted = 0;
			devices = 0;
			while (granted < 1U << shift && devices < 40) {
				share = arm_smmu_iopf_share(1 << shift, granted,
							    wanted[i]);
				KUNIT_ASSERT_GT(test, share, 0);
				KUNIT_ASSERT_LE(test, share, wanted[i]);
				granted += share;
				KUNIT_ASSERT_LE(test, granted, 1U << shift);
				devices++;
			}
			/* whoever comes second finds some, if there were two */
			KUNIT_EXPECT_GE(test, devices, min(shift + 1, 2U));
		}
		KUNIT_EXPECT_EQ(test, 0,
				arm_smmu_iopf_share(8, 8, wanted[i]));
	}
}

/* A queue without hardware */
struct fake_queue {
	struct arm_smmu_queue q;
	u32 prod;
	struct work_struct drain;
	struct completion drained;
	int ret;
};

static void drain_work(struct work_struct *work)
{
	struct fake_queue *fake = container_of(work, struct fake_queue, drain);

	fake->ret = arm_smmu_iopf_drain_queue(&fake->q);
	complete(&fake->drained);
}

static struct fake_queue *make_queue(struct kunit *test, u32 shift)
{
	struct fake_queue *fake = kunit_kzalloc(test, sizeof(*fake),
						GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->q.llq.max_n_shift = shift;
	fake->q.prod_reg = (u32 __iomem *)&fake->prod;
	INIT_WORK(&fake->drain, drain_work);
	init_completion(&fake->drained);
	return fake;
}

static bool drained(struct fake_queue *fake, unsigned int ms)
{
	return wait_for_completion_timeout(&fake->drained,
					   msecs_to_jiffies(ms));
}

/* A record that the thread has taken and not reported is waited for. */
static void iopf_smmu_test_drain_in_hand(struct kunit *test)
{
	struct fake_queue *fake = make_queue(test, 1);

	fake->prod = 2;
	fake->q.llq.cons = 2;
	arm_smmu_queue_handled(&fake->q);
	schedule_work(&fake->drain);
	KUNIT_EXPECT_FALSE(test, drained(fake, 50));
	arm_smmu_queue_handled(&fake->q);
	KUNIT_EXPECT_TRUE(test, drained(fake, 5000));
	flush_work(&fake->drain);
	KUNIT_EXPECT_EQ(test, 0, fake->ret);
}

/* An empty queue is not waited for, wherever it wraps. */
static void iopf_smmu_test_drain_empty(struct kunit *test)
{
	struct fake_queue *fake = make_queue(test, 1);
	unsigned int i;

	for (i = 0; i < 9; i++) {
		fake->prod = i & 3;
		KUNIT_EXPECT_EQ(test, 0, arm_smmu_iopf_drain_queue(&fake->q));
		arm_smmu_queue_handled(&fake->q);
	}
}

/* Arrivals do not end, and the queue is never empty. */
static int busy_thread(void *data)
{
	struct fake_queue *fake = data;
	u64 prod = 2;

	while (!kthread_should_stop()) {
		WRITE_ONCE(fake->prod, prod++ & 3);
		arm_smmu_queue_handled(&fake->q);
		if (!(prod & 15))
			usleep_range(10, 20);
	}
	return 0;
}

static void iopf_smmu_test_drain_endless(struct kunit *test)
{
	struct fake_queue *fake = make_queue(test, 1);
	struct task_struct *thread;
	unsigned int i;
	u64 before;

	fake->prod = 1;
	thread = kthread_run(busy_thread, fake, "iopf-busy");
	KUNIT_ASSERT_FALSE(test, IS_ERR(thread));
	for (i = 0; i < 100; i++) {
		before = READ_ONCE(fake->q.handled);
		KUNIT_EXPECT_EQ(test, 0, arm_smmu_iopf_drain_queue(&fake->q));
		KUNIT_EXPECT_GT(test, READ_ONCE(fake->q.handled), before);
	}
	kthread_stop(thread);
}

static struct kunit_case iopf_smmu_cases[] = {
	KUNIT_CASE(iopf_smmu_test_stall),
	KUNIT_CASE(iopf_smmu_test_no_stall),
	KUNIT_CASE(iopf_smmu_test_page_request),
	KUNIT_CASE(iopf_smmu_test_codes),
	KUNIT_CASE(iopf_smmu_test_target),
	KUNIT_CASE(iopf_smmu_test_target_large),
	KUNIT_CASE(iopf_smmu_test_share),
	KUNIT_CASE(iopf_smmu_test_drain_in_hand),
	KUNIT_CASE(iopf_smmu_test_drain_empty),
	KUNIT_CASE(iopf_smmu_test_drain_endless),
	{}
};

static struct kunit_suite iopf_smmu_suite = {
	.name = "iommu-iopf-smmu-v3",
	.test_cases = iopf_smmu_cases,
};

kunit_test_suite(iopf_smmu_suite);

MODULE_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
MODULE_DESCRIPTION("KUnit tests of I/O page faults behind an SMMUv3");
MODULE_LICENSE("GPL");
