// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: KUnit tests of the core, on a fake IOMMU that records
 *
 * The oracle is what the device sees: which groups were answered, how often,
 * and how; and what the handler sees: which requests, in which order.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "io-pgfault.h"
#include "io-pgfault-fake.h"
#include "iommu-priv.h"

#define PASID_A		10
#define PASID_B		11
#define LAST		IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE
#define RW		(IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE)

/**
 * struct ctx - what a test works with
 * @fake: the device
 * @queue: its queue
 * @kept: domain of PASID_A and PASID_B
 * @a: attach handle of PASID_A
 * @b: attach handle of PASID_B
 * @owned: the handler dequeues its groups
 */
struct ctx {
	struct iopf_fake *fake;
	struct iopf_queue *queue;
	struct iopf_fake_domain kept;
	struct iommu_attach_handle a, b;
	bool owned;
};

/* One test runs at a time. */
static struct ctx *ctx;

static unsigned int requests = 200000;
module_param(requests, uint, 0444);
MODULE_PARM_DESC(requests, "How many random requests");

static unsigned int seed;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Of the random requests (0: a new one)");

static int keep_handler(struct iopf_group *group)
{
	if (ctx->owned)
		iopf_group_dequeue(group);
	return iopf_fake_keep(group);
}

static int answer_next(enum iommu_page_response_code code)
{
	struct iopf_group *group = iopf_fake_next(&ctx->kept);
	int ret;

	if (!group)
		return -ENOENT;
	ret = iopf_group_response(group, code);
	iopf_free_group(group);
	return ret;
}

static void answer_all(void)
{
	while (answer_next(IOMMU_PAGE_RESP_SUCCESS) != -ENOENT)
		continue;
}

static struct device *dev_of(struct ctx *c)
{
	return iopf_fake_dev(c->fake);
}

static struct iommu_fault request(u32 pasid, u32 grpid, u64 addr, u32 flags)
{
	struct iommu_fault fault = {
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm = {
			.flags = flags | IOMMU_FAULT_PAGE_REQUEST_PASID_VALID,
			.pasid = pasid,
			.grpid = grpid,
			.perm = RW,
			.addr = addr,
		},
	};

	return fault;
}

static int send(u32 pasid, u32 grpid, u64 addr, u32 flags)
{
	struct iommu_fault fault = request(pasid, grpid, addr, flags);

	return iommu_queue_iopf(dev_of(ctx), &fault);
}

static struct iommu_fault_param *param_of(struct ctx *c)
{
	return rcu_dereference_protected(dev_of(c)->iommu->fault_param, true);
}

static void add_device(struct kunit *test, unsigned int granted)
{
	KUNIT_ASSERT_EQ(test, 0,
			iopf_queue_add_device_granted(ctx->queue, dev_of(ctx),
						      granted));
}

/* Removes the device and adds it with another grant. */
static void regrant(struct kunit *test, unsigned int granted)
{
	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
	add_device(test, granted);
}

static void attach(struct kunit *test, u32 pasid,
		   struct iommu_attach_handle *handle)
{
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device_pasid(&ctx->kept.domain,
						  dev_of(ctx), pasid, handle));
}

static void detach(u32 pasid)
{
	iommu_detach_device_pasid(&ctx->kept.domain, dev_of(ctx), pasid);
}

static int iopf_test_init(struct kunit *test)
{
	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->fake = iopf_fake_create("iopf-kunit", PLATFORM_DEVID_AUTO);
	if (IS_ERR(ctx->fake))
		return PTR_ERR(ctx->fake);
	ctx->queue = iopf_queue_alloc("kunit", NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->queue);
	iopf_fake_domain_init(&ctx->kept, keep_handler);
	add_device(test, 64);
	attach(test, PASID_A, &ctx->a);
	attach(test, PASID_B, &ctx->b);
	return 0;
}

static void iopf_test_exit(struct kunit *test)
{
	if (IS_ERR_OR_NULL(ctx->fake))
		return;
	answer_all();
	detach(PASID_A);
	detach(PASID_B);
	iopf_queue_free(ctx->queue);
	answer_all();
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->late);
	KUNIT_EXPECT_EQ(test, 0,
			ctx->fake->codes[IOMMU_PAGE_RESP_FAILURE]);
	iopf_fake_destroy(ctx->fake);
}

/* The response carries what the request did, and there is one. */
static void iopf_test_single(struct kunit *test)
{
	struct iommu_fault fault = request(PASID_A, 7, 0x1000, LAST);
	struct iommu_fault_page_request *prm = &ctx->fake->records[0].prm;

	fault.prm.sid = 0x11223344;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS,
			ctx->fake->records[0].code);
	KUNIT_EXPECT_MEMEQ(test, prm, &fault.prm, sizeof(*prm));
	KUNIT_EXPECT_EQ(test, -ENOENT, answer_next(IOMMU_PAGE_RESP_SUCCESS));
}

static void expect_group(struct kunit *test, u32 pasid, u32 grpid, u64 first,
			 unsigned int count)
{
	struct iopf_group *group = iopf_fake_next(&ctx->kept);
	struct iopf_fault *iopf;
	unsigned int n = 0;

	KUNIT_ASSERT_NOT_NULL(test, group);
	list_for_each_entry(iopf, &group->faults, list) {
		KUNIT_EXPECT_EQ(test, pasid, iopf->fault.prm.pasid);
		KUNIT_EXPECT_EQ(test, grpid, iopf->fault.prm.grpid);
		KUNIT_EXPECT_EQ(test, first + n, iopf->fault.prm.addr);
		n++;
	}
	KUNIT_EXPECT_EQ(test, count, n);
	KUNIT_EXPECT_EQ(test, count, group->fault_count);
	KUNIT_EXPECT_PTR_EQ(test, &group->last_fault,
			    list_last_entry(&group->faults, struct iopf_fault,
					    list));
	KUNIT_EXPECT_EQ(test, 0,
			iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS));
	iopf_free_group(group);
}

/* Groups that come interleaved, two PASIDs with the same group index. */
static void iopf_test_interleaved(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 5; i++) {
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 3, 0x100 + i, 0));
		KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 3, 0x200 + i, 0));
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 4, 0x300 + i, 0));
	}
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 3, 0x205, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 4, 0x305, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 9, 0x400, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 3, 0x105, LAST));
	expect_group(test, PASID_B, 3, 0x200, 6);
	expect_group(test, PASID_A, 4, 0x300, 6);
	expect_group(test, PASID_A, 9, 0x400, 1);
	expect_group(test, PASID_A, 3, 0x100, 6);
	KUNIT_EXPECT_EQ(test, 4, ctx->fake->responses);
}

/* A group index can be used again before the group before it is answered. */
static void iopf_test_reused_index(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x10, 0));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x11, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x20, 0));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x21, LAST));
	expect_group(test, PASID_A, 1, 0x10, 2);
	expect_group(test, PASID_A, 1, 0x20, 2);
}

/* Nobody expects a response to these. */
static void iopf_test_no_response(struct kunit *test)
{
	struct iommu_fault fault = request(PASID_A, 1, 0x1000, LAST);

	fault.prm.perm = IOMMU_FAULT_PERM_EXEC;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	KUNIT_EXPECT_EQ(test, 1, param_of(ctx)->stats.markers);
	fault.type = 0;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0x1000, 0));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, ctx->kept.count);
}

/* Without a handler: -EINVAL, and the report wrapper answers Last only. */
static void iopf_test_no_handler(struct kunit *test)
{
	struct iopf_fault evt = { .fault = request(77, 1, 0x1000, 0) };
	const u64 *said = param_of(ctx)->stats.responses;

	KUNIT_EXPECT_EQ(test, 0, iommu_report_device_fault(dev_of(ctx), &evt));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	evt.fault.prm.flags |= LAST;
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_queue_iopf(dev_of(ctx), &evt.fault));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->nr_partial);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_report_device_fault(dev_of(ctx), &evt));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			ctx->fake->records[0].code);
	/* Under the device's lock, where it is counted. */
	KUNIT_EXPECT_EQ(test, 1, said[IOMMU_PAGE_RESP_INVALID]);
	evt.fault.prm.pasid = BIT(20);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_queue_iopf(dev_of(ctx), &evt.fault));
}

static void iopf_test_no_queue(struct kunit *test)
{
	struct iopf_fault evt = { .fault = request(PASID_A, 1, 0x1000, LAST) };

	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iommu_queue_iopf(dev_of(ctx), &evt.fault));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iopf_queue_flush_dev(dev_of(ctx), PASID_A));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iopf_device_discard_partial(dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	evt.fault.prm.flags &= ~LAST;
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iommu_report_device_fault(dev_of(ctx), &evt));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	/* Any cleanup path may do this once more. */
	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
}

static void iopf_test_one_queue(struct kunit *test)
{
	struct iopf_queue *other = iopf_queue_alloc("kunit2", NULL, NULL);

	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iopf_queue_add_device(other, dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iopf_queue_add_device(ctx->queue, dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopf_queue_add_device(NULL, dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iopf_queue_add_device_granted(other, dev_of(ctx), 0));
	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_add_device(other, dev_of(ctx)));
	/* Frees with a device on it: which is removed. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	iopf_queue_free(other);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
}

/* A flood of groups that never end costs no memory and no service. */
static void iopf_test_flood(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 20000; i++)
		KUNIT_ASSERT_EQ(test, 0, send(PASID_A, i, i, 0));
	KUNIT_EXPECT_LE(test, param_of(ctx)->nr_partial, 64 + IOPF_SLACK);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 1, 0x5000, LAST));
	expect_group(test, PASID_B, 1, 0x5000, 1);
	/* Of a group that was dropped the last request is what is left. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 19999, 0x66, LAST));
	expect_group(test, PASID_A, 19999, 0x66, 1);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->stats.refused);
	/* After a flush nothing is left of it. */
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_A));
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->nr_partial);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 19998, 0x77, LAST));
	expect_group(test, PASID_A, 19998, 0x77, 1);
}

/* Of a group too long for the reserve a part is handed over. */
static void iopf_test_long_group(struct kunit *test)
{
	unsigned int i;

	regrant(test, 4);
	for (i = 0; i < 10; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, i, 0));
	KUNIT_EXPECT_EQ(test, 6, param_of(ctx)->stats.dropped);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 4, LAST));
	expect_group(test, PASID_A, 1, 0, 5);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, i, 0));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, i, LAST));
	expect_group(test, PASID_A, 1, 0, 5);
	KUNIT_EXPECT_EQ(test, 6, param_of(ctx)->stats.dropped);
}

/* As many groups as granted are taken, what is beyond is to ask again. */
static void iopf_test_reserve(struct kunit *test)
{
	unsigned int i, room = 4 + IOPF_SLACK;

	regrant(test, 4);
	for (i = 0; i < room; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, room, ctx->kept.count);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, i, ctx->fake->records[0].prm.grpid);
	KUNIT_EXPECT_EQ(test, room, param_of(ctx)->in_flight);
	KUNIT_EXPECT_EQ(test, 1, param_of(ctx)->stats.refused);
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, room + 1, ctx->kept.count);
	answer_all();
	KUNIT_EXPECT_EQ(test, room + 2, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->in_flight);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->stats.again);
}

static void send_full_group(u32 grpid)
{
	unsigned int i;

	for (i = 0; i < 4; i++)
		send(PASID_A, grpid, i, 0);
	send(PASID_A, grpid, i, LAST);
}

/* A device that uses its credits as soon as it has them is never refused. */
static void iopf_test_credits(struct kunit *test)
{
	struct iopf_group *groups[IOPF_SLACK];
	unsigned int i;

	regrant(test, 5);
	send_full_group(0);
	/* So many handlers have answered, and not yet freed. */
	for (i = 0; i < IOPF_SLACK; i++) {
		groups[i] = iopf_fake_next(&ctx->kept);
		KUNIT_ASSERT_NOT_NULL(test, groups[i]);
		KUNIT_EXPECT_EQ(test, 5, groups[i]->fault_count);
		iopf_group_response(groups[i], IOMMU_PAGE_RESP_SUCCESS);
		send_full_group(i + 1);
	}
	while (i--)
		iopf_free_group(groups[i]);
	expect_group(test, PASID_A, IOPF_SLACK, 0, 5);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->stats.dropped);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->stats.refused);
}

/* Remove answers what is left, whoever has it; the rest is swallowed. */
static void iopf_test_remove(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0, LAST));
	ctx->owned = true;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 3, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 4, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
	ctx->fake->closed = true;
	KUNIT_EXPECT_EQ(test, 3, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	/* A group from before outlives that the device is added again. */
	add_device(test, 8);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, -ENOENT, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 3, ctx->fake->responses);
	ctx->fake->closed = false;
}

/* Detach withdraws what the core has, and leaves a provider's alone. */
static void iopf_test_detach(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 2, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 3, 0, 0));
	ctx->owned = true;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 4, 0, LAST));
	detach(PASID_A);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->records[0].prm.grpid);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			ctx->fake->records[0].code);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->nr_partial);
	KUNIT_EXPECT_EQ(test, -EINVAL, send(PASID_A, 5, 0, LAST));
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 3, ctx->fake->responses);
	attach(test, PASID_A, &ctx->a);
}

static int flush_b_thread(void *data)
{
	bool *done = data;

	iopf_queue_flush_dev(dev_of(ctx), PASID_B);
	WRITE_ONCE(*done, true);
	while (!kthread_should_stop())
		msleep(20);
	return 0;
}

/* Flush waits for its PASID, and for that only. */
static void iopf_test_flush(struct kunit *test)
{
	struct task_struct *task;
	bool done = false;

	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_A));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	task = kthread_run(flush_b_thread, &done, "iopf-flush");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	msleep(50);
	KUNIT_EXPECT_FALSE(test, READ_ONCE(done));
	/* What comes after the flush began is not waited for. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 2, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	msleep(50);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(done));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	answer_all();
	kthread_stop(task);
	/* A provider's groups are not waited for. */
	ctx->owned = true;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 3, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_B));
}

/* The drain callback may itself report. */
static int drain(void *cookie, struct device *dev, u32 pasid)
{
	struct iommu_fault fault = request(pasid, 99, 0, 0);

	*(int *)cookie += 1;
	return iommu_queue_iopf(dev, &fault);
}

static int drain_fails(void *cookie, struct device *dev, u32 pasid)
{
	return -ETIMEDOUT;
}

static void iopf_test_drain(struct kunit *test)
{
	int drained = 0;

	ctx->queue->cookie = &drained;
	ctx->queue->drain = drain;
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_A));
	KUNIT_EXPECT_EQ(test, 1, drained);
	/* What it reported was partial, and is gone. */
	KUNIT_EXPECT_EQ(test, 1, param_of(ctx)->stats.requests);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->nr_partial);
	ctx->queue->drain = drain_fails;
	KUNIT_EXPECT_EQ(test, -ETIMEDOUT,
			iopf_queue_flush_dev(dev_of(ctx), PASID_A));
}

/* Overflow drops partials of one device; none is left waiting. */
static void iopf_test_overflow(struct kunit *test)
{
	struct iopf_fake *other = iopf_fake_create("iopf-kunit",
						   PLATFORM_DEVID_AUTO);
	struct iommu_fault fault = request(PASID_A, 1, 0x10, 0);

	KUNIT_ASSERT_FALSE(test, IS_ERR(other));
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->queue,
						       iopf_fake_dev(other)));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x10, 0));
	KUNIT_EXPECT_EQ(test, 0,
			iommu_queue_iopf(iopf_fake_dev(other), &fault));
	KUNIT_EXPECT_EQ(test, 0,
			iopf_device_discard_partial(iopf_fake_dev(other)));
	KUNIT_EXPECT_EQ(test, 1, param_of(ctx)->nr_partial);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0x11, LAST));
	expect_group(test, PASID_A, 1, 0x10, 2);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0x10, 0));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_discard_partial(ctx->queue));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopf_queue_discard_partial(NULL));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0x11, LAST));
	expect_group(test, PASID_A, 2, 0x11, 1);
	KUNIT_EXPECT_EQ(test, 1, param_of(ctx)->stats.overflows);
	iopf_queue_remove_device(ctx->queue, iopf_fake_dev(other));
	iopf_fake_destroy(other);
}

/* The time limit answers for a handler that does not. */
static void iopf_test_timeout(struct kunit *test)
{
	ctx->owned = true;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	msleep(60);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	WRITE_ONCE(iopf_timeout_ms, 20);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0, LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 2));
	WRITE_ONCE(iopf_timeout_ms, 0);
	msleep(20);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, 2, param_of(ctx)->stats.timeouts);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 2, ctx->fake->responses);
}

static int refuse_handler(struct iopf_group *group)
{
	return -ENOMEM;
}

static int reject_handler(struct iopf_group *group)
{
	return -EINVAL;
}

/* A handler that refuses a group: answered, memory given back. */
static void iopf_test_refusal(struct kunit *test)
{
	unsigned int i;

	ctx->kept.domain.iopf_handler = refuse_handler;
	for (i = 0; i < 1000; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 1000, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, 1000, param_of(ctx)->stats.again);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->stats.refused);
	ctx->kept.domain.iopf_handler = reject_handler;
	for (i = 0; i < 1000; i++)
		send_full_group(1);
	KUNIT_EXPECT_EQ(test, 1000, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->in_flight);
	ctx->kept.domain.iopf_handler = keep_handler;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 8, LAST));
	expect_group(test, PASID_A, 1, 8, 1);
}

/* What tells groups apart besides PASID and index. */
static void iopf_test_kinds(struct kunit *test)
{
	struct iommu_fault stall = request(PASID_A, 5, 0x900, 0);
	struct iommu_fault other = request(PASID_A, 5, 0x800, LAST);

	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 5, 0x100, 0));
	/* A stall is a group, whether it is flagged as last or not. */
	stall.prm.kind = IOPF_STALL;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &stall));
	expect_group(test, PASID_A, 5, 0x900, 1);
	KUNIT_EXPECT_EQ(test, IOPF_STALL, ctx->fake->records[0].prm.kind);
	stall.prm.flags |= LAST;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &stall));
	expect_group(test, PASID_A, 5, 0x900, 1);
	/* Nor is one without permissions a PASID stop marker. */
	stall.prm.perm = 0;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &stall));
	expect_group(test, PASID_A, 5, 0x900, 1);
	other.prm.sid = 1;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &other));
	expect_group(test, PASID_A, 5, 0x800, 1);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->records[3].prm.sid);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 5, 0x101, LAST));
	expect_group(test, PASID_A, 5, 0x100, 2);
}

/* Requests without PASID go to the handler that the device is attached to. */
static void iopf_test_no_pasid(struct kunit *test)
{
	struct iommu_fault fault = request(0, 1, 0x1000, LAST);
	struct iommu_attach_handle handle = {};
	struct iommu_group *group = iommu_group_get(dev_of(ctx));
	struct iopf_group *got;

	fault.prm.flags &= ~IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_queue_iopf(dev_of(ctx), &fault));
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_group_handle(&ctx->kept.domain, group,
						  &handle));
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	got = iopf_fake_next(&ctx->kept);
	KUNIT_ASSERT_NOT_NULL(test, got);
	KUNIT_EXPECT_PTR_EQ(test, &handle, got->attach_handle);
	iopf_group_response(got, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(got);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->records[0].prm.flags &
		IOMMU_FAULT_PAGE_REQUEST_PASID_VALID);
	/* An address space wants one. */
	ctx->kept.domain.iopf_handler = iopf_mm_handler;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	ctx->kept.domain.iopf_handler = keep_handler;
	KUNIT_EXPECT_EQ(test, 0, iommu_queue_iopf(dev_of(ctx), &fault));
	iommu_detach_group_handle(&ctx->kept.domain, group);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_queue_iopf(dev_of(ctx), &fault));
	iommu_group_put(group);
}

static void send_groups(struct kunit *test, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, 2 * i, 0));
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, 2 * i + 1, LAST));
	}
}

static void expect_whole_reserve(struct kunit *test);

/* Groups that were withdrawn, oldest first: two requests each. */
static void expect_husks(struct kunit *test, unsigned int count)
{
	struct iopf_group *group;
	struct iopf_fault *iopf;
	unsigned int i, n;

	for (i = 0; i < count; i++) {
		group = iopf_fake_next(&ctx->kept);
		KUNIT_ASSERT_NOT_NULL(test, group);
		n = 0;
		list_for_each_entry(iopf, &group->faults, list)
			KUNIT_EXPECT_EQ(test, 2 * i + n++, iopf->fault.prm.addr);
		KUNIT_EXPECT_EQ(test, 2, n);
		KUNIT_EXPECT_EQ(test, -ENODEV, iopf_group_response(group, 0));
		iopf_free_group(group);
	}
}

/* Rounds of groups that are withdrawn while their handler keeps them. */
static void iopf_test_husks(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);
	unsigned int round;

	for (round = 1; round <= 5; round++) {
		send_groups(test, 32);
		KUNIT_EXPECT_EQ(test, 32 * round, ctx->kept.count);
		detach(PASID_A);
		attach(test, PASID_A, &ctx->a);
		KUNIT_EXPECT_EQ(test, 32 * round, ctx->fake->responses);
	}
	KUNIT_EXPECT_EQ(test, 0, param->stats.refused + param->stats.again);
	KUNIT_EXPECT_EQ(test, 0, param->stats.dropped);
	KUNIT_EXPECT_EQ(test, 5 * 32, param->stats.withdrawn);
	KUNIT_EXPECT_EQ(test, 0, param->husks);
	while (round-- > 1)
		expect_husks(test, 32);
	KUNIT_EXPECT_EQ(test, -ENOENT, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	expect_whole_reserve(test);
}

/* Husks take no room from those that come after them, however many do. */
static void iopf_test_kept_husks(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);
	unsigned int round;
	LIST_HEAD(husks);

	send_groups(test, 64);
	detach(PASID_A);
	attach(test, PASID_A, &ctx->a);
	KUNIT_EXPECT_EQ(test, 64, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	list_splice_init(&ctx->kept.groups, &husks);
	for (round = 1; round <= 3; round++) {
		send_groups(test, 64);
		KUNIT_EXPECT_EQ(test, 64 + 64 * round, ctx->kept.count);
		answer_all();
		KUNIT_EXPECT_EQ(test, 64 + IOPF_SLACK, param->groups.nr_free);
		KUNIT_EXPECT_EQ(test, 64, param->requests.nr_free);
	}
	KUNIT_EXPECT_EQ(test, 0, param->stats.refused + param->stats.again);
	KUNIT_EXPECT_EQ(test, 0, param->stats.dropped);
	list_splice(&husks, &ctx->kept.groups);
	answer_all();
	expect_whole_reserve(test);
}

/* A provider that gives nothing back gets no more, others do. */
static void iopf_test_full_provider(struct kunit *test)
{
	struct iommu_fault_param *param;
	struct iopf_fake_domain other;
	struct iommu_attach_handle c = {};

	param = param_of(ctx);
	iopf_fake_domain_init(&other, iopf_fake_keep);
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device_pasid(&other.domain, dev_of(ctx),
						  12, &c));
	ctx->owned = true;
	WRITE_ONCE(iopf_timeout_ms, 10);
	send_groups(test, 32);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 32));
	send_groups(test, 32);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 64));
	WRITE_ONCE(iopf_timeout_ms, 0);
	flush_delayed_work(&param->expire);
	KUNIT_EXPECT_EQ(test, 64, param->husks);
	KUNIT_EXPECT_EQ(test, 64, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	send_groups(test, 32);
	KUNIT_EXPECT_EQ(test, 64, ctx->kept.count);
	KUNIT_EXPECT_EQ(test, 32, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, 32, param->stats.again);
	KUNIT_EXPECT_EQ(test, 0, param->stats.refused);
	KUNIT_EXPECT_EQ(test, 0, send(12, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 1, other.count);
	iommu_detach_device_pasid(&other.domain, dev_of(ctx), 12);
	iopf_free_group(iopf_fake_next(&other));
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 63, param->husks);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 65, ctx->kept.count);
	answer_all();
	expect_whole_reserve(test);
}

/* A grant that changes while groups are out. */
static void iopf_test_set_granted(struct kunit *test)
{
	struct iommu_fault_param *param;
	unsigned int i;

	regrant(test, 4);
	param = param_of(ctx);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, -EINVAL, iopf_queue_set_granted(dev_of(ctx), 0));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_set_granted(dev_of(ctx), 64));
	for (i = 4; i < 64 + IOPF_SLACK; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, 64 + IOPF_SLACK, ctx->kept.count);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_set_granted(dev_of(ctx), 2));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, i, LAST));
	KUNIT_EXPECT_EQ(test, 1, param->stats.refused);
	answer_all();
	KUNIT_EXPECT_EQ(test, 2 + IOPF_SLACK, param->groups.nr);
	KUNIT_EXPECT_EQ(test, 2, param->requests.nr);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_set_granted(dev_of(ctx), 64));
	send_groups(test, 32);
	answer_all();
	KUNIT_EXPECT_EQ(test, 0, param->stats.dropped);
	expect_whole_reserve(test);
}

/* A device that was reset waits for nothing: no response, memory is back. */
static void iopf_test_forget(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);

	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, 0));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0, LAST));
	ctx->owned = true;
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 3, 0, LAST));
	ctx->owned = false;
	KUNIT_EXPECT_EQ(test, 0, iopf_device_forget(dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, 0, param->nr_partial);
	KUNIT_EXPECT_EQ(test, 0, param->in_flight);
	KUNIT_EXPECT_EQ(test, 2, param->stats.forgotten);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	/* It goes on as before. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 9, LAST));
	expect_group(test, PASID_A, 2, 9, 1);
	iopf_queue_remove_device(ctx->queue, dev_of(ctx));
	KUNIT_EXPECT_EQ(test, -ENODEV, iopf_device_forget(dev_of(ctx)));
	KUNIT_EXPECT_EQ(test, -ENODEV, iopf_queue_set_granted(dev_of(ctx), 4));
}

/* page_response() is called under the device's lock, runs end in it. */
static void check_locked(struct iopf_fake *fake,
			 const struct iommu_fault_page_request *prm, u32 code)
{
	spinlock_t *lock = &param_of(ctx)->lock;

	if (spin_trylock(lock)) {
		fake->late++;
		spin_unlock(lock);
	}
}

static void iopf_test_runs(struct kunit *test)
{
	ctx->fake->respond = check_locked;
	send_groups(test, 32);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->runs);
	KUNIT_EXPECT_EQ(test, 0, answer_next(IOMMU_PAGE_RESP_SUCCESS));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->runs);
	iopf_fake_reset(ctx->fake);
	detach(PASID_A);
	KUNIT_EXPECT_EQ(test, 31, ctx->fake->responses);
	KUNIT_EXPECT_GE(test, ctx->fake->runs, 1);
	/* Twice more for memory, and for the detach's second look. */
	KUNIT_EXPECT_LE(test, ctx->fake->runs, 33);
	answer_all();
	attach(test, PASID_A, &ctx->a);
	/* Nothing is withdrawn: nothing is to be sent. */
	ctx->fake->runs = 0;
	detach(PASID_A);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->runs);
	attach(test, PASID_A, &ctx->a);
	ctx->fake->respond = NULL;
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->late);
}

/* A flush withdraws what does not end. */
static void iopf_test_flush_withdraws(struct kunit *test)
{
	unsigned long start = jiffies;

	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_B));
	KUNIT_EXPECT_TRUE(test, time_after_eq(jiffies, start +
				msecs_to_jiffies(IOPF_FLUSH_MS)));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			ctx->fake->records[0].code);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->records[0].prm.grpid);
	KUNIT_EXPECT_EQ(test, -ENODEV, answer_next(IOMMU_PAGE_RESP_SUCCESS));
}

static u32 random_pasid(struct rnd_state *rnd)
{
	static const u32 pasids[] = { PASID_A, PASID_B, 12, 0, BIT(20), ~0U };

	return pasids[prandom_u32_state(rnd) % ARRAY_SIZE(pasids)];
}

/* Whether the device expects a response to what iopf_report() was given. */
static bool random_request(struct rnd_state *rnd)
{
	static const u64 addrs[] = { 0, ~0ULL, 0x1001, BIT_ULL(47) };
	u32 bits = prandom_u32_state(rnd);
	struct iopf_fault evt = {
		.fault = request(random_pasid(rnd), bits & 7,
				 addrs[(bits >> 8) & 3], 0),
	};
	struct iommu_fault_page_request *prm = &evt.fault.prm;

	prm->perm = (bits >> 12) & 0xf;
	if (bits & BIT(16))
		prm->flags |= LAST;
	if (!(bits & (BIT(17) | BIT(18))))
		prm->flags &= ~IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	iommu_report_device_fault(dev_of(ctx), &evt);
	return prm->flags & LAST &&
	       (prm->perm & RW ||
		!(prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID));
}

/* What may happen at any time; nothing of it may cost a response, or two. */
static void random_event(struct kunit *test, struct rnd_state *rnd)
{
	switch (prandom_u32_state(rnd) % 64) {
	case 0:
		answer_all();
		break;
	case 1:
		iopf_device_discard_partial(dev_of(ctx));
		break;
	case 2:
		answer_all();
		iopf_queue_flush_dev(dev_of(ctx), random_pasid(rnd));
		break;
	case 3:
		detach(PASID_B);
		attach(test, PASID_B, &ctx->b);
		break;
	case 4:
		regrant(test, 64);
		break;
	case 5:
		ctx->owned = !ctx->owned;
		break;
	}
}

static void expect_pool(struct kunit *test, struct iopf_pool *pool,
			unsigned int count)
{
	KUNIT_EXPECT_EQ(test, count, pool->nr);
	KUNIT_EXPECT_EQ(test, count, pool->nr_free);
	KUNIT_EXPECT_EQ(test, count, list_count_nodes(&pool->free));
}

/* All groups are back, and nobody but us uses the device. */
static void expect_whole_reserve(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);

	KUNIT_EXPECT_EQ(test, 0, param->in_flight);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx),
						      IOMMU_PASID_INVALID));
	KUNIT_EXPECT_EQ(test, 0, param->nr_partial);
	expect_pool(test, &param->groups, 64 + IOPF_SLACK);
	expect_pool(test, &param->requests, 64);
	expect_pool(test, &param->lanes, 64 + IOPF_SLACK);
	expect_pool(test, &param->bonds_free, 64 + IOPF_SLACK);
	KUNIT_EXPECT_EQ(test, 0, param->husks);
	KUNIT_EXPECT_EQ(test, 1, param->users);
}

/* Valid and absurd requests: one response to each that wants one. */
static void iopf_test_random(struct kunit *test)
{
	const u32 this_seed = seed ?: get_random_u32();
	unsigned long expected = 0;
	struct rnd_state rnd;
	unsigned int i;

	kunit_info(test, "seed %u, %u requests", this_seed, requests);
	prandom_seed_state(&rnd, this_seed);
	for (i = 0; i < requests; i++) {
		expected += random_request(&rnd);
		if (prandom_u32_state(&rnd) & 1)
			answer_next(prandom_u32_state(&rnd) & 1);
		if (!(i % 64))
			random_event(test, &rnd);
	}
	answer_all();
	KUNIT_EXPECT_EQ(test, expected, ctx->fake->responses);
	expect_whole_reserve(test);
}

static struct iopf_mm *as_of(struct iopf_fake_domain *kept)
{
	return kept->domain.fault_data;
}

/*
 * Gives the test's thread an address space, with some memory. Not by
 * kunit_vm_mmap(), which never drops the reference that kthread_use_mm() takes.
 */
static unsigned long use_mm(struct kunit *test, unsigned int pages)
{
	struct mm_struct *mm = mm_alloc();
	unsigned long addr;

	KUNIT_ASSERT_NOT_NULL(test, mm);
	mm->task_size = TASK_SIZE;
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(mm);
	addr = vm_mmap(NULL, 0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	ctx->kept.domain.mm = mm;
	KUNIT_ASSERT_EQ(test, 0, iopf_mm_init_domain(&ctx->kept.domain));
	return addr;
}

/* Undoes that; nobody else may use the address space by now. */
static void unuse_mm(struct kunit *test)
{
	struct mm_struct *mm = ctx->kept.domain.mm;

	iopf_mm_exit_domain(&ctx->kept.domain);
	ctx->kept.domain.iopf_handler = keep_handler;
	kthread_unuse_mm(mm);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mm->mm_users));
	/*
	 * That one, what the domain held for a moment longer, and CPUs that
	 * have not switched to another since.
	 */
	KUNIT_EXPECT_LE(test, atomic_read(&mm->mm_count),
			2 + num_possible_cpus());
	mmput(mm);
}

/* Groups that are resolved against an address space. */
static void iopf_test_mm(struct kunit *test)
{
	unsigned long addr = use_mm(test, 64);
	unsigned int i;

	for (i = 0; i < 63; i++)
		KUNIT_EXPECT_EQ(test, 0,
				send(PASID_A, i, addr + i * PAGE_SIZE,
				     i % 3 ? LAST : 0));
	for (i = 0; i < 63; i += 3)
		KUNIT_EXPECT_EQ(test, 0,
				send(PASID_A, i, addr + 63 * PAGE_SIZE, LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 63));
	KUNIT_EXPECT_EQ(test, 63, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 1, 0, LAST));
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, addr + 0x1000000000, LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 65));
	KUNIT_EXPECT_EQ(test, 2, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	/* Nothing is left, and nobody else uses the mm. */
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_A));
	KUNIT_EXPECT_EQ(test, 0, param_of(ctx)->in_flight);
	unuse_mm(test);
}

/* What takes groups away, in turn: all that was reported is then answered. */
static void withdraw_all(struct kunit *test, unsigned int how)
{
	switch (how % 3) {
	case 0:
		regrant(test, 64);
		break;
	case 1:
		detach(PASID_A);
		attach(test, PASID_A, &ctx->a);
		break;
	case 2:
		/* What a driver does when it is unloaded, and loaded again. */
		iopf_queue_free(ctx->queue);
		ctx->queue = iopf_queue_alloc("kunit", NULL, NULL);
		KUNIT_ASSERT_NOT_NULL(test, ctx->queue);
		add_device(test, 64);
		break;
	}
}

/* Detach, remove and unload while lanes are at it. */
static void iopf_test_mm_races(struct kunit *test)
{
	unsigned long addr = use_mm(test, 64), expected = 0;
	unsigned int i, n;

	/* The last round is a detach: the reserve stays. */
	for (n = 0; n < 509; n++) {
		for (i = 0; i < n % 64; i++)
			KUNIT_EXPECT_EQ(test, 0,
					send(PASID_A, i, addr + i * PAGE_SIZE,
					     LAST));
		expected += i;
		withdraw_all(test, n);
		KUNIT_EXPECT_EQ(test, expected, ctx->fake->responses);
	}
	/* Withdrawn groups may still be in the hands of lanes. */
	flush_workqueue(as_of(&ctx->kept)->wq);
	KUNIT_EXPECT_EQ(test, expected, ctx->fake->responses);
	expect_whole_reserve(test);
	unuse_mm(test);
}

/* A second address space, for PASID_B: what else is on the device. */
static unsigned long use_other_mm(struct kunit *test,
				  struct iopf_fake_domain *other,
				  struct mm_struct **mm)
{
	unsigned long addr;

	*mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, *mm);
	(*mm)->task_size = TASK_SIZE;
	arch_pick_mmap_layout(*mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(*mm);
	addr = vm_mmap(NULL, 0, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_ANONYMOUS | MAP_PRIVATE, 0);
	kthread_unuse_mm(*mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	iopf_fake_domain_init(other, keep_handler);
	other->domain.mm = *mm;
	KUNIT_ASSERT_EQ(test, 0, iopf_mm_init_domain(&other->domain));
	detach(PASID_B);
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device_pasid(&other->domain, dev_of(ctx),
						  PASID_B, &ctx->b));
	return addr;
}

/* Undoes that, when all its groups have been answered. */
static void unuse_other_mm(struct kunit *test, struct iopf_fake_domain *other,
			   struct mm_struct *mm)
{
	iommu_detach_device_pasid(&other->domain, dev_of(ctx), PASID_B);
	attach(test, PASID_B, &ctx->b);
	flush_workqueue(as_of(other)->wq);
	iopf_mm_exit_domain(&other->domain);
	mmput(mm);
}

/* Nothing is mapped there: faults wait for mmap_lock. */
static void send_stuck(struct kunit *test, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_A, i, PAGE_SIZE, LAST));
}

static bool lanes_are_in(struct iopf_mm *as, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < 200 && READ_ONCE(as->users) != count; i++)
		msleep(20);
	return as->users == count;
}

/*
 * However many faults of a process are stuck, another's are resolved; when they
 * are withdrawn, their lanes let go of the process.
 */
static void iopf_test_fair(struct kunit *test)
{
	struct iopf_fake_domain other;
	struct mm_struct *mm;
	unsigned long addr = use_other_mm(test, &other, &mm);
	unsigned int i;

	use_mm(test, 1);
	mmap_write_lock(current->mm);
	send_stuck(test, 48);
	KUNIT_EXPECT_TRUE(test, lanes_are_in(as_of(&ctx->kept), IOPF_LANES));
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ(test, 0, send(PASID_B, i, addr + i * PAGE_SIZE,
					      LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 16));
	KUNIT_EXPECT_EQ(test, 16, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_flush_dev(dev_of(ctx), PASID_B));
	KUNIT_EXPECT_EQ(test, 16, ctx->fake->responses);
	detach(PASID_A);
	KUNIT_EXPECT_EQ(test, 48, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_TRUE(test, lanes_are_in(as_of(&ctx->kept), 0));
	mmap_write_unlock(current->mm);
	flush_workqueue(as_of(&ctx->kept)->wq);
	attach(test, PASID_A, &ctx->a);
	unuse_other_mm(test, &other, mm);
	expect_whole_reserve(test);
	unuse_mm(test);
}

/* Takes lanes out of the reserve, but for some, so that bonds starve. */
static void steal_lanes(struct list_head *stolen, unsigned int left)
{
	struct iommu_fault_param *param = param_of(ctx);
	struct iopf_lane *lane;

	guard(spinlock)(&param->lock);
	while (param->lanes.nr_free > left) {
		lane = iopf_pool_get(&param->lanes);
		list_add(&lane->node, stolen);
	}
}

/* Gives back so many of them, and tells nobody. */
static void return_lanes(struct list_head *stolen, unsigned int count)
{
	struct iommu_fault_param *param = param_of(ctx);
	struct iopf_lane *lane, *next;

	guard(spinlock)(&param->lock);
	list_for_each_entry_safe(lane, next, stolen, node) {
		if (!count--)
			break;
		list_del(&lane->node);
		iopf_pool_put(&param->lanes, lane);
	}
}

/* A bond without a lane gets the first that there is, and not two. */
static void iopf_test_starved(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);
	LIST_HEAD(stolen);

	use_mm(test, 1);
	steal_lanes(&stolen, 0);
	send_stuck(test, 1);
	KUNIT_EXPECT_FALSE(test, list_empty(&param->starved));
	/* One more is granted: there is a lane. */
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_set_granted(dev_of(ctx), 65));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 1));
	flush_workqueue(as_of(&ctx->kept)->wq);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_set_granted(dev_of(ctx), 64));
	/* Here the next group of the bond finds the lane. */
	mmap_write_lock(current->mm);
	send_stuck(test, 1);
	KUNIT_EXPECT_FALSE(test, list_empty(&param->starved));
	return_lanes(&stolen, 1);
	send_stuck(test, 1);
	KUNIT_EXPECT_TRUE(test, list_empty(&param->starved));
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 3));
	flush_workqueue(as_of(&ctx->kept)->wq);
	return_lanes(&stolen, UINT_MAX);
	expect_whole_reserve(test);
	unuse_mm(test);
}

/**
 * struct blocker - keeps a workqueue that runs one work item from all others
 * @work: the work item
 * @go: ends it
 */
struct blocker {
	struct work_struct work;
	struct completion go;
};

static void block_work(struct work_struct *work)
{
	wait_for_completion(&container_of(work, struct blocker, work)->go);
}

/* A lane whose groups are withdrawn before it begins is another bond's. */
static void iopf_test_idle_lane(struct kunit *test)
{
	struct iopf_fake_domain other;
	struct blocker blocker;
	struct mm_struct *mm;
	unsigned long addr = use_other_mm(test, &other, &mm);
	LIST_HEAD(stolen);

	use_mm(test, 1);
	init_completion(&blocker.go);
	INIT_WORK_ONSTACK(&blocker.work, block_work);
	workqueue_set_max_active(as_of(&ctx->kept)->wq, 1);
	queue_work(as_of(&ctx->kept)->wq, &blocker.work);
	steal_lanes(&stolen, 1);
	send_stuck(test, 8);
	KUNIT_EXPECT_EQ(test, 0, send(PASID_B, 1, addr, LAST));
	KUNIT_EXPECT_FALSE(test, list_empty(&param_of(ctx)->starved));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	detach(PASID_A);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 9));
	KUNIT_EXPECT_EQ(test, 8, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	complete(&blocker.go);
	flush_workqueue(as_of(&ctx->kept)->wq);
	destroy_work_on_stack(&blocker.work);
	attach(test, PASID_A, &ctx->a);
	unuse_other_mm(test, &other, mm);
	return_lanes(&stolen, UINT_MAX);
	expect_whole_reserve(test);
	unuse_mm(test);
}

/* Rounds of stuck faults that are withdrawn: a device within its grant. */
static void iopf_test_stuck_rounds(struct kunit *test)
{
	struct iommu_fault_param *param = param_of(ctx);
	unsigned int round;

	use_mm(test, 1);
	mmap_write_lock(current->mm);
	WRITE_ONCE(iopf_timeout_ms, 20);
	for (round = 1; round <= 5; round++) {
		send_stuck(test, 64);
		KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 64 * round));
	}
	WRITE_ONCE(iopf_timeout_ms, 0);
	KUNIT_EXPECT_EQ(test, 64 * 5,
			ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, 0, param->stats.refused + param->stats.again);
	KUNIT_EXPECT_TRUE(test, lanes_are_in(as_of(&ctx->kept), 0));
	mmap_write_unlock(current->mm);
	flush_workqueue(as_of(&ctx->kept)->wq);
	expect_whole_reserve(test);
	unuse_mm(test);
}

/* A lane does not keep an address space that nobody else uses. */
static void iopf_test_dead_mm(struct kunit *test)
{
	struct mm_struct *mm;

	use_mm(test, 1);
	mm = current->mm;
	mmgrab(mm);
	mmap_write_lock(mm);
	send_stuck(test, 4);
	KUNIT_EXPECT_TRUE(test, lanes_are_in(as_of(&ctx->kept), 4));
	/* Longer than it takes to look. */
	msleep(600);
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	kthread_unuse_mm(mm);
	mmput(mm);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 4));
	KUNIT_EXPECT_EQ(test, 4, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_TRUE(test, lanes_are_in(as_of(&ctx->kept), 0));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&mm->mm_users));
	mmap_write_unlock(mm);
	/* The next is refused without a look at it. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 9, PAGE_SIZE, LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 5));
	KUNIT_EXPECT_EQ(test, 5, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	flush_workqueue(as_of(&ctx->kept)->wq);
	expect_whole_reserve(test);
	iopf_mm_exit_domain(&ctx->kept.domain);
	ctx->kept.domain.iopf_handler = keep_handler;
	mmdrop(mm);
}

static void fault_again(void)
{
	send(PASID_A, 1, PAGE_SIZE, LAST);
}

/* A process that is refused has one lane, which rests. */
static void iopf_test_brake(struct kunit *test)
{
	unsigned long addr = use_mm(test, 64), start;
	struct iommu_fault_param *param = param_of(ctx);
	unsigned int i;

	for (i = 0; i < 16; i++)
		fault_again();
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 16));
	KUNIT_EXPECT_EQ(test, 16, as_of(&ctx->kept)->refused);
	flush_workqueue(as_of(&ctx->kept)->wq);
	start = jiffies;
	for (i = 0; i < 48; i++)
		fault_again();
	KUNIT_EXPECT_GE(test, param->lanes.nr_free + 1, param->lanes.nr);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 64));
	KUNIT_EXPECT_GE(test, jiffies_to_usecs(jiffies - start + 1), 3000);
	/* One that is resolved ends that. */
	KUNIT_EXPECT_EQ(test, 0, send(PASID_A, 2, addr, LAST));
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 65));
	KUNIT_EXPECT_EQ(test, 0, as_of(&ctx->kept)->refused);
	flush_workqueue(as_of(&ctx->kept)->wq);
	unuse_mm(test);
}

static struct kunit_case iopf_test_cases[] = {
	KUNIT_CASE(iopf_test_single),
	KUNIT_CASE(iopf_test_interleaved),
	KUNIT_CASE(iopf_test_reused_index),
	KUNIT_CASE(iopf_test_no_response),
	KUNIT_CASE(iopf_test_no_handler),
	KUNIT_CASE(iopf_test_no_queue),
	KUNIT_CASE(iopf_test_one_queue),
	KUNIT_CASE(iopf_test_flood),
	KUNIT_CASE(iopf_test_long_group),
	KUNIT_CASE(iopf_test_reserve),
	KUNIT_CASE(iopf_test_credits),
	KUNIT_CASE(iopf_test_remove),
	KUNIT_CASE(iopf_test_detach),
	KUNIT_CASE(iopf_test_flush),
	KUNIT_CASE(iopf_test_drain),
	KUNIT_CASE(iopf_test_overflow),
	KUNIT_CASE(iopf_test_timeout),
	KUNIT_CASE(iopf_test_refusal),
	KUNIT_CASE(iopf_test_kinds),
	KUNIT_CASE(iopf_test_no_pasid),
	KUNIT_CASE(iopf_test_husks),
	KUNIT_CASE(iopf_test_kept_husks),
	KUNIT_CASE(iopf_test_full_provider),
	KUNIT_CASE(iopf_test_set_granted),
	KUNIT_CASE(iopf_test_forget),
	KUNIT_CASE(iopf_test_runs),
	KUNIT_CASE(iopf_test_flush_withdraws),
	KUNIT_CASE_SLOW(iopf_test_random),
	KUNIT_CASE(iopf_test_mm),
	KUNIT_CASE(iopf_test_fair),
	KUNIT_CASE(iopf_test_starved),
	KUNIT_CASE(iopf_test_idle_lane),
	KUNIT_CASE(iopf_test_stuck_rounds),
	KUNIT_CASE(iopf_test_dead_mm),
	KUNIT_CASE(iopf_test_brake),
	KUNIT_CASE_SLOW(iopf_test_mm_races),
	{ }
};

static struct kunit_suite iopf_test_suite = {
	.name = "iommu-iopf",
	.init = iopf_test_init,
	.exit = iopf_test_exit,
	.test_cases = iopf_test_cases,
};

kunit_test_suite(iopf_test_suite);
