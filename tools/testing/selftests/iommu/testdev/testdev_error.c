// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that misbehaves: the error page of the emulated endpoint
 *
 * Each test makes the endpoint do what no device should, or at the worst of
 * times, while one of its queues does honest work. The kernel is to answer what
 * can be answered, once, and the honest queue is to notice nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "testdev.h"
#include "../../kselftest_harness.h"

#define UNKNOWN_PASID	(0xabcd | IOPF_PASID_VALID)

/* A queue that does nothing wrong, and what it does: a copy */
struct honest {
	struct queue q;
	struct iopf_desc *work;
	unsigned char *src;
	unsigned char *dst;
};

FIXTURE(error)
{
	struct honest h;
	uint32_t pasid;
};

FIXTURE_VARIANT(error)
{
	uint32_t mode;
	uint32_t cmd;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(error, stall)
{
	.mode = IOPF_MODE_STALL,
	.cmd = IOPF_INJ_TRANSLATE,
	.flags = IOPF_INJ_STALL,
};

FIXTURE_VARIANT_ADD(error, pri)
{
	.mode = IOPF_MODE_PRI,
	.cmd = IOPF_INJ_PAGE_REQUEST,
	.flags = IOPF_INJ_LAST,
};

/* The PASID of the queue that is on; there is one. */
static uint32_t bound_pasid(void)
{
	int i;

	for (i = 0; i < IOPF_NR_QUEUES; i++)
		if (bar_read(IOPF_QCTL(i) + IOPF_Q_MODE))
			return bar_read(IOPF_QCTL(i) + IOPF_Q_PASID);

	return 0;
}

FIXTURE_SETUP(error)
{
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(variant->mode))
		SKIP(return, "not enabled");
	ASSERT_EQ(0, set_mode(variant->mode));
	ASSERT_EQ(0, queue_open(&self->h.q));
	self->pasid = bound_pasid();
	ASSERT_NE(0, self->pasid);
	self->h.src = fresh(MB);
	self->h.dst = fresh(MB);
	ASSERT_NE(MAP_FAILED, (void *)self->h.src);
	ASSERT_NE(MAP_FAILED, (void *)self->h.dst);
	fill(self->h.src, MB, 1);
	self->h.work = submit(&self->h.q, IOPF_OP_COPY, self->h.src,
			      self->h.dst, MB, 0);
}

FIXTURE_TEARDOWN(error)
{
	if (!self->h.q.regs)
		return;
	bar_write(IOPF_INJ_TRIGGER, 0);
	bar_write(IOPF_INJ_MISBEHAVE, 0);
	queue_close(&self->h.q);
	munmap(self->h.src, MB);
	munmap(self->h.dst, MB);
}

static void describe(uint32_t pasid, const void *addr, uint32_t flags)
{
	bar_write(IOPF_INJ_PASID, pasid);
	bar_write(IOPF_INJ_ADDR_LO, (uintptr_t)addr);
	bar_write(IOPF_INJ_ADDR_HI, (uintptr_t)addr >> 32);
	bar_write(IOPF_INJ_FLAGS, flags);
	bar_write(IOPF_INJ_STALL_ANSWER, 0);
}

/* Returns IOPF_INJ_OK, _STALLED... */
static uint32_t inject(uint32_t cmd, uint32_t pasid, const void *addr,
		       uint32_t flags)
{
	describe(pasid, addr, flags);
	bar_write(IOPF_INJ_CMD, cmd);

	return bar_read(IOPF_INJ_RESULT) & 0xf;
}

/* Has all that waited been answered, whoever asked? */
static bool all_answered(void)
{
	return counter(IOPF_CNT_GROUPS) == counter(IOPF_CNT_ANSWERED) +
					   counter(IOPF_CNT_FORGOTTEN);
}

static bool settled(uint64_t stalls)
{
	int i;

	for (i = 0; i < 60000; i++) {
		if (all_answered() && stalls <= counter(IOPF_CNT_RETRIES) +
						counter(IOPF_CNT_STALL_ABORTS))
			return true;
		usleep(1000);
	}

	return false;
}

/* The answers to what waits now, and to @more accesses */
static uint64_t answers(unsigned int more)
{
	return counter(IOPF_CNT_RETRIES) + counter(IOPF_CNT_STALL_ABORTS) +
	       more;
}

/*
 * Honest work that began before is done well, and so is some that begins, and
 * the device has nothing to say against the kernel. Returns what is wrong.
 */
static const char *wrong(struct honest *h)
{
	if (wait_desc(&h->q, h->work) != IOPF_DESC_OK ||
	    memcmp(h->src, h->dst, MB))
		return "work that began before";
	if (madvise(h->dst, MB, MADV_DONTNEED))
		return "madvise";
	if (run(&h->q, IOPF_OP_COPY, h->src, h->dst, MB, 0) !=
	    IOPF_DESC_OK || memcmp(h->src, h->dst, MB))
		return "work that begins";
	if (counter(IOPF_CNT_RESP_UNEXPECTED))
		return "unexpected responses";
	if (counter(IOPF_CNT_STALE_DMA))
		return "access after an invalidation";
	if (counter(IOPF_CNT_MISCONFIG))
		return "what is enabled when";

	return "nothing";
}

/* Is this what an access that cannot be made ends with? */
static bool refused(uint32_t cmd, uint32_t result)
{
	int i;

	if (cmd == IOPF_INJ_PAGE_REQUEST) {
		if (!settled(0))
			return false;
		result = bar_read(IOPF_INJ_RESPONSE);
		return IOPF_INJ_RESP_CODE(result) == 1;
	}
	if (result != IOPF_INJ_STALLED)
		return result == IOPF_INJ_ABORTED;
	for (i = 0; i < 60000 && !bar_read(IOPF_INJ_STALL_ANSWER); i++)
		usleep(1000);

	return bar_read(IOPF_INJ_STALL_ANSWER) == 2;
}

TEST_F(error, nobody_has_the_pasid)
{
	uint32_t result = inject(variant->cmd, UNKNOWN_PASID, self->h.dst,
				 variant->flags | IOPF_INJ_READ);

	EXPECT_TRUE(refused(variant->cmd, result));
	EXPECT_STREQ("nothing", wrong(&self->h));
}

TEST_F(error, address_of_the_kernel)
{
	uint32_t result = inject(variant->cmd, self->pasid,
				 (void *)0xffff000012345000UL,
				 variant->flags | IOPF_INJ_READ);

	EXPECT_TRUE(refused(variant->cmd, result));
	EXPECT_STREQ("nothing", wrong(&self->h));
}

TEST_F(error, address_of_nothing)
{
	uint32_t result = inject(variant->cmd, self->pasid, NULL,
				 variant->flags | IOPF_INJ_WRITE);

	EXPECT_TRUE(refused(variant->cmd, result));
	EXPECT_STREQ("nothing", wrong(&self->h));
}

TEST_F(error, write_to_read_only_memory)
{
	void *p = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);
	uint32_t result = inject(variant->cmd, self->pasid, p,
				 variant->flags | IOPF_INJ_WRITE);

	EXPECT_TRUE(refused(variant->cmd, result));
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, page);
}

/* What is asked for is not there for a user; it may have less. */
TEST_F(error, execution_and_privilege)
{
	unsigned char *p = fresh(2 * page);
	uint64_t before = answers(0);
	uint32_t result;

	result = inject(variant->cmd, self->pasid, p, variant->flags |
			IOPF_INJ_READ | IOPF_INJ_EXEC);
	before += result == IOPF_INJ_STALLED;
	result = inject(variant->cmd, self->pasid, p + page, variant->flags |
			IOPF_INJ_READ | IOPF_INJ_PRIV);
	before += result == IOPF_INJ_STALLED;
	EXPECT_TRUE(settled(before));
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, 2 * page);
}

#define NR_STORM	32

/* The same page, and many pages, all at once */
TEST_F(error, storm)
{
	unsigned char *p = fresh(NR_STORM * page);
	uint64_t before = answers(NR_STORM);

	bar_write(IOPF_INJ_COUNT, NR_STORM);
	inject(variant->cmd, self->pasid, p, variant->flags | IOPF_INJ_READ |
	       IOPF_INJ_NEXT_PRGI);
	if (variant->cmd == IOPF_INJ_TRANSLATE)
		EXPECT_TRUE(settled(before));
	inject(variant->cmd, self->pasid, p, variant->flags | IOPF_INJ_WRITE |
	       IOPF_INJ_NEXT_PAGE | IOPF_INJ_NEXT_PRGI);
	EXPECT_TRUE(settled(before));
	bar_write(IOPF_INJ_COUNT, 0);
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, NR_STORM * page);
}

/* A group that never ends is nothing to be answered. */
TEST_F(error, group_without_end)
{
	unsigned char *p = fresh(16 * page);

	bar_write(IOPF_INJ_COUNT, 16);
	inject(variant->cmd, self->pasid, p, (variant->flags & ~IOPF_INJ_LAST) |
	       IOPF_INJ_READ | IOPF_INJ_NEXT_PAGE);
	bar_write(IOPF_INJ_COUNT, 0);
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, 16 * page);
}

/* Each time that a queue is turned off, the device asks for more. */
TEST_F(error, request_after_stop)
{
	unsigned char *p = fresh(page);
	struct queue other;
	int i;

	describe(0, p, variant->flags | IOPF_INJ_READ);
	bar_write(IOPF_INJ_TRIGGER, IOPF_TRIG_STOP |
		  IOPF_TRIG_CMD(variant->cmd));
	for (i = 0; i < 8; i++) {
		ASSERT_EQ(0, queue_open(&other));
		queue_close(&other);
	}
	bar_write(IOPF_INJ_TRIGGER, 0);
	EXPECT_TRUE(settled(0));
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, page);
}

/* The last queue that had this PASID is closed: nobody has it then. */
TEST_F(error, request_after_unbind)
{
	unsigned char *p = fresh(page);
	uint32_t result;

	EXPECT_EQ(IOPF_DESC_OK, wait_desc(&self->h.q, self->h.work));
	queue_close(&self->h.q);
	result = inject(variant->cmd, self->pasid, p,
			variant->flags | IOPF_INJ_READ);
	EXPECT_TRUE(refused(variant->cmd, result));
	memset(&self->h.q, 0, sizeof(self->h.q));
	ASSERT_EQ(0, queue_open(&self->h.q));
	self->h.work = submit(&self->h.q, IOPF_OP_NOP, NULL, NULL, 0, 0);
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, page);
}

/* Invalidated, it asks for the very page; before, and after it has confirmed */
static void invalidate_much(uint32_t trigger, uint32_t cmd, uint32_t flags)
{
	unsigned char *p = fresh(page);
	int i;

	describe(0, p, flags | IOPF_INJ_WRITE);
	bar_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_DELAY_INV);
	bar_write(IOPF_INJ_TRIGGER, trigger | IOPF_TRIG_CMD(cmd));
	for (i = 0; i < 8; i++) {
		memset(p, i, page);
		madvise(p, page, MADV_DONTNEED);
	}
	bar_write(IOPF_INJ_TRIGGER, 0);
	munmap(p, page);
}

TEST_F(error, request_before_confirmation)
{
	invalidate_much(IOPF_TRIG_INVALIDATE, variant->cmd, variant->flags);
	EXPECT_TRUE(settled(0));
	EXPECT_STREQ("nothing", wrong(&self->h));
}

TEST_F(error, request_after_confirmation)
{
	invalidate_much(IOPF_TRIG_CONFIRM, variant->cmd, variant->flags);
	EXPECT_TRUE(settled(0));
	EXPECT_STREQ("nothing", wrong(&self->h));
}

/* The answers are for nobody: the function was reset after it had asked. */
TEST_F(error, answer_lost_by_reset)
{
	unsigned char *p = fresh(16 * page);
	int i;

	for (i = 0; i < 4; i++) {
		bar_write(IOPF_INJ_COUNT, 16);
		inject(variant->cmd, self->pasid, p, variant->flags |
		       IOPF_INJ_READ | IOPF_INJ_NEXT_PAGE | IOPF_INJ_NEXT_PRGI);
		ASSERT_EQ(0, reset_function());
		queue_close(&self->h.q);
		ASSERT_EQ(0, queue_open(&self->h.q));
		madvise(p, 16 * page, MADV_DONTNEED);
	}
	self->h.work = submit(&self->h.q, IOPF_OP_COPY, self->h.src,
			      self->h.dst, MB, 0);
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, 16 * page);
}

/* Responses are lost: that is between the device and its user. */
TEST_F(error, answer_ignored)
{
	unsigned char *p = fresh(page);

	if (variant->mode != IOPF_MODE_PRI) {
		/* a stalled transaction is the SMMU's, not the device's */
		bar_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_IGNORE_RESP);
		EXPECT_STREQ("nothing", wrong(&self->h));
		munmap(p, page);
		return;
	}
	EXPECT_EQ(IOPF_DESC_OK, wait_desc(&self->h.q, self->h.work));
	bar_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_IGNORE_RESP);
	inject(variant->cmd, self->pasid, p, variant->flags | IOPF_INJ_READ);
	usleep(100000);
	bar_write(IOPF_INJ_MISBEHAVE, 0);
	EXPECT_STREQ("nothing", wrong(&self->h));
	munmap(p, page);
}

TEST_HARNESS_MAIN
