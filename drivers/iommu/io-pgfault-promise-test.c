// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests that compare two cores of I/O page faults
 *
 * Each test is a promise that the core in this kernel keeps, told by what both
 * it and the core of an unpatched kernel can be asked. The file is built into
 * either, with the fake IOMMU, so that what the older one gets wrong is shown
 * by the same code. It may crash that one: the harness boots a kernel for each.
 *
 * The fake IOMMU does no more than the SMMUv3 driver when a PASID is detached.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#ifndef iopf_timeout_ms
#include "io-pgfault.h"
#endif
#include "io-pgfault-fake.h"

#define PASID_A		10
#define PASID_B		11
#define PASID_NONE	99
#define LAST		IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE
#define RW		(IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE)

#define GRANT		64
#define FLOOD		100000
/* More than a workqueue runs at once. */
#define MANY		2000
/* Nothing is mapped here: a fault has to wait for mmap_lock. */
#define HOLE		PAGE_SIZE

/**
 * struct ctx - what a test works with
 * @fake: the device
 * @other: another one on the same queue
 * @queue: their queue
 * @queued: @fake is on it
 * @kept: domain of PASID_A and PASID_B of @fake
 * @a: attach handle of PASID_A
 * @b: attach handle of PASID_B
 */
struct ctx {
	struct iopf_fake *fake, *other;
	struct iopf_queue *queue;
	bool queued;
	struct iopf_fake_domain kept;
	struct iommu_attach_handle a, b;
};

/* One test runs at a time. */
static struct ctx *ctx;

static void answer(struct iopf_group *group)
{
	iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);
}

static void answer_all(void)
{
	struct iopf_group *group;

	while ((group = iopf_fake_next(&ctx->kept)))
		answer(group);
}

static void send_perm(struct iopf_fake *fake, u32 pasid, u32 grpid, u64 addr,
		      u32 flags, u32 perm)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
					 flags,
				.pasid = pasid,
				.grpid = grpid,
				.perm = perm,
				.addr = addr,
			},
		},
	};

	iommu_report_device_fault(iopf_fake_dev(fake), &evt);
}

static void send(u32 pasid, u32 grpid, u64 addr, u32 flags)
{
	send_perm(ctx->fake, pasid, grpid, addr, flags, RW);
}

static void add_device(struct kunit *test, struct iopf_fake *fake,
		       unsigned int granted)
{
	KUNIT_ASSERT_EQ(test, 0,
			iopf_queue_add_device_granted(ctx->queue,
						      iopf_fake_dev(fake),
						      granted));
}

static void remove_device(void)
{
	if (ctx->queued)
		iopf_queue_remove_device(ctx->queue, iopf_fake_dev(ctx->fake));
	ctx->queued = false;
}

static void attach(struct kunit *test, u32 pasid,
		   struct iommu_attach_handle *handle)
{
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device_pasid(&ctx->kept.domain,
						  iopf_fake_dev(ctx->fake),
						  pasid, handle));
}

static struct iopf_fake *make_device(struct kunit *test, unsigned int granted)
{
	struct iopf_fake *fake;

	fake = iopf_fake_create("iopf-promise", PLATFORM_DEVID_AUTO);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, fake);
	add_device(test, fake, granted);
	return fake;
}

static int promise_init(struct kunit *test)
{
	ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->queue = iopf_queue_alloc("promise", NULL, NULL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->queue);
	ctx->fake = make_device(test, GRANT);
	ctx->other = make_device(test, GRANT);
	ctx->queued = true;
	iopf_fake_domain_init(&ctx->kept, iopf_fake_keep);
	attach(test, PASID_A, &ctx->a);
	attach(test, PASID_B, &ctx->b);
	return 0;
}

static void promise_exit(struct kunit *test)
{
	struct device *dev = iopf_fake_dev(ctx->fake);

	answer_all();
	remove_device();
	iommu_detach_device_pasid(&ctx->kept.domain, dev, PASID_A);
	iommu_detach_device_pasid(&ctx->kept.domain, dev, PASID_B);
	iopf_queue_free(ctx->queue);
	iopf_fake_destroy(ctx->fake);
	iopf_fake_destroy(ctx->other);
}

static void expect_group(struct kunit *test, u32 pasid, u64 first,
			 unsigned int count)
{
	struct iopf_group *group = iopf_fake_next(&ctx->kept);
	struct iopf_fault *iopf;
	u64 addr = first;

	KUNIT_ASSERT_NOT_NULL(test, group);
	KUNIT_EXPECT_EQ_MSG(test, count, group->fault_count,
			    "%zu requests in a group of %u",
			    group->fault_count, count);
	list_for_each_entry(iopf, &group->faults, list) {
		KUNIT_EXPECT_EQ(test, pasid, iopf->fault.prm.pasid);
		KUNIT_EXPECT_EQ(test, addr, iopf->fault.prm.addr);
		addr += PAGE_SIZE;
	}
	answer(group);
}

static void f1_pasid_tells_groups_apart(struct kunit *test)
{
	send(PASID_A, 3, 0x10000, 0);
	send(PASID_B, 3, 0x20000, LAST);
	send(PASID_A, 3, 0x11000, LAST);
	expect_group(test, PASID_B, 0x20000, 1);
	expect_group(test, PASID_A, 0x10000, 2);
}

static void f1_order_is_kept(struct kunit *test)
{
	unsigned int i;

	for (i = 0; i < 5; i++) {
		send(PASID_A, 3, 0x10000 + i * PAGE_SIZE, 0);
		send(PASID_A, 4, 0x20000 + i * PAGE_SIZE, 0);
	}
	send(PASID_A, 3, 0x10000 + 5 * PAGE_SIZE, LAST);
	send(PASID_A, 4, 0x20000 + 5 * PAGE_SIZE, LAST);
	expect_group(test, PASID_A, 0x10000, 6);
	expect_group(test, PASID_A, 0x20000, 6);
}

static void flood(void)
{
	unsigned int i;

	for (i = 0; i < FLOOD; i++)
		send(PASID_A, i, 0x10000, 0);
}

static void f2_unfinished_requests_are_bounded(struct kunit *test)
{
	unsigned long before = global_zone_page_state(NR_FREE_PAGES);
	long lost;

	flood();
	lost = before - global_zone_page_state(NR_FREE_PAGES);
	KUNIT_EXPECT_LT_MSG(test, lost * (long)PAGE_SIZE, SZ_1M,
			    "%ld KiB went to unfinished requests",
			    lost * (long)(PAGE_SIZE / SZ_1K));
}

/* The least of several, so that an interruption does not count. */
static u64 time_group(void)
{
	u64 start, least = U64_MAX;
	unsigned int i;

	for (i = 0; i < 7; i++) {
		start = ktime_get_ns();
		send(PASID_B, i, 0x10000, LAST);
		least = min(least, ktime_get_ns() - start);
	}
	answer_all();
	return least;
}

static void f2_flood_does_not_slow_the_next_group(struct kunit *test)
{
	u64 before = time_group(), after;

	flood();
	after = time_group();
	KUNIT_EXPECT_LT_MSG(test, after, 8 * before,
			    "to report a group took %llu ns, and %llu before",
			    after, before);
}

static void f2_more_than_granted_is_asked_again(struct kunit *test)
{
	unsigned long *codes = ctx->fake->codes;
	unsigned int i;

	for (i = 0; i < 10 * GRANT; i++)
		send(PASID_A, i, 0x10000, LAST);
	/* Groups between response and reuse may come on top. */
	KUNIT_EXPECT_LE_MSG(test, ctx->kept.count, 2 * GRANT,
			    "%u groups taken, %u granted", ctx->kept.count,
			    GRANT);
	KUNIT_EXPECT_EQ_MSG(test, 10 * GRANT - ctx->kept.count,
			    codes[IOMMU_PAGE_RESP_SUCCESS],
			    "%lu groups told to ask again",
			    codes[IOMMU_PAGE_RESP_SUCCESS]);
	KUNIT_EXPECT_EQ(test, 0, codes[IOMMU_PAGE_RESP_INVALID]);
	KUNIT_EXPECT_EQ(test, 0, codes[IOMMU_PAGE_RESP_FAILURE]);
}

static void f3_partial_is_never_answered(struct kunit *test)
{
	send(PASID_NONE, 3, 0x10000, 0);
	KUNIT_EXPECT_EQ_MSG(test, 0, ctx->fake->responses,
			    "a request that is not the last was answered");
}

static void f3_stop_marker_is_not_answered(struct kunit *test)
{
	send_perm(ctx->fake, PASID_A, 3, 0, LAST, 0);
	answer_all();
	KUNIT_EXPECT_EQ_MSG(test, 0, ctx->fake->responses,
			    "a PASID stop marker was answered");
}

static void f3_one_response_though_removed(struct kunit *test)
{
	send(PASID_A, 3, 0x10000, LAST);
	remove_device();
	KUNIT_EXPECT_EQ_MSG(test, 1, ctx->fake->responses,
			    "%lu responses when the device was removed",
			    ctx->fake->responses);
	answer_all();
	KUNIT_EXPECT_EQ_MSG(test, 1, ctx->fake->responses,
			    "a group was answered twice");
}

/* Flushes in a worker, since the flush may wait for the test. */
struct flusher {
	struct work_struct work;
	struct completion done;
	struct iopf_fake *fake;
	u32 pasid;
};

static void flush_work_fn(struct work_struct *work)
{
	struct flusher *flusher = container_of(work, struct flusher, work);

	iopf_queue_flush_dev(iopf_fake_dev(flusher->fake), flusher->pasid);
	complete(&flusher->done);
}

static void start_flush(struct flusher *flusher, struct iopf_fake *fake,
			u32 pasid)
{
	flusher->fake = fake;
	flusher->pasid = pasid;
	init_completion(&flusher->done);
	INIT_WORK_ONSTACK(&flusher->work, flush_work_fn);
	queue_work(system_unbound_wq, &flusher->work);
}

static bool flush_returns(struct flusher *flusher)
{
	return wait_for_completion_timeout(&flusher->done, 2 * HZ);
}

static void end_flush(struct flusher *flusher)
{
	flush_work(&flusher->work);
	destroy_work_on_stack(&flusher->work);
}

static unsigned long map_pages(struct kunit *test, unsigned int pages)
{
	unsigned long addr = kunit_vm_mmap(test, NULL, 0, pages * PAGE_SIZE,
					   PROT_READ | PROT_WRITE,
					   MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE(test, 0, addr);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	/* Page tables and what the VMA needs are there. */
	KUNIT_ASSERT_EQ(test, 0, put_user(1, (int __user *)addr));
	return addr;
}

static struct iommu_sva *bind(struct kunit *test, struct iopf_fake *fake,
			      u32 *pasid)
{
	struct iommu_sva *bond = iommu_sva_bind_device(iopf_fake_dev(fake),
						       current->mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, bond);
	*pasid = iommu_sva_get_pasid(bond);
	return bond;
}

/* The fault waits until the caller unlocks its address space. */
static struct iommu_sva *send_stuck(struct kunit *test, u32 *pasid)
{
	struct iommu_sva *bond;

	map_pages(test, 1);
	bond = bind(test, ctx->fake, pasid);
	mmap_write_lock(current->mm);
	send(*pasid, 3, HOLE, LAST);
	return bond;
}

static void f4_flush_does_not_wait_for_others(struct kunit *test)
{
	struct flusher flusher;
	u32 pasid;
	struct iommu_sva *bond = send_stuck(test, &pasid);

	start_flush(&flusher, ctx->other, PASID_A);
	KUNIT_EXPECT_TRUE_MSG(test, flush_returns(&flusher),
			      "flush of an idle device waits for another");
	mmap_write_unlock(current->mm);
	end_flush(&flusher);
	iopf_queue_flush_dev(iopf_fake_dev(ctx->fake), pasid);
	iommu_sva_unbind_device(bond);
}

static void f4_flush_waits_for_its_own(struct kunit *test)
{
	struct flusher flusher;
	u32 pasid;
	struct iommu_sva *bond = send_stuck(test, &pasid);

	start_flush(&flusher, ctx->fake, pasid);
	msleep(300);
	KUNIT_EXPECT_FALSE(test, completion_done(&flusher.done));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake->responses);
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_TRUE(test, flush_returns(&flusher));
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
	end_flush(&flusher);
	iommu_sva_unbind_device(bond);
}

static void send_many(u32 pasid)
{
	unsigned int i;

	for (i = 0; i < MANY; i++)
		send(pasid, i, HOLE, LAST);
}

static void regrant(struct kunit *test)
{
	remove_device();
	add_device(test, ctx->fake, MANY);
	ctx->queued = true;
}

static void f5_remove_while_faults_are_queued(struct kunit *test)
{
	struct iommu_sva *bond;
	u32 pasid;

	map_pages(test, 1);
	regrant(test);
	bond = bind(test, ctx->fake, &pasid);
	mmap_write_lock(current->mm);
	send_many(pasid);
	remove_device();
	KUNIT_EXPECT_EQ_MSG(test, MANY, ctx->fake->responses,
			    "%lu of %u groups answered by the removal",
			    ctx->fake->responses, MANY);
	mmap_write_unlock(current->mm);
	/* Whoever still has a group is through with it. */
	msleep(500);
	KUNIT_EXPECT_EQ_MSG(test, MANY, ctx->fake->responses,
			    "%lu responses for %u groups",
			    ctx->fake->responses, MANY);
	iommu_sva_unbind_device(bond);
}

static void f5_unbind_while_faults_are_queued(struct kunit *test)
{
	struct iommu_sva *bond;
	u32 pasid;

	map_pages(test, 1);
	regrant(test);
	bond = bind(test, ctx->fake, &pasid);
	mmap_write_lock(current->mm);
	send_many(pasid);
	iommu_sva_unbind_device(bond);
	mmap_write_unlock(current->mm);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, MANY));
	msleep(500);
	KUNIT_EXPECT_EQ_MSG(test, MANY, ctx->fake->responses,
			    "%lu responses for %u groups",
			    ctx->fake->responses, MANY);
}

static void f6_fault_does_not_wait_for_mmap_lock(struct kunit *test)
{
	unsigned long addr = map_pages(test, 2);
	struct iommu_sva *bond;
	u32 pasid;

	bond = bind(test, ctx->fake, &pasid);
	mmap_write_lock(current->mm);
	send(pasid, 3, addr + PAGE_SIZE, LAST);
	KUNIT_EXPECT_TRUE_MSG(test, iopf_fake_wait(ctx->fake, 1),
			      "a fault waits for an unrelated mmap_lock");
	mmap_write_unlock(current->mm);
	iopf_queue_flush_dev(iopf_fake_dev(ctx->fake), pasid);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_SUCCESS]);
	iommu_sva_unbind_device(bond);
}

static void f8_nobody_waits_after_an_overflow(struct kunit *test)
{
	send(PASID_A, 3, 0x10000, 0);
	send(PASID_A, 4, 0x20000, 0);
	KUNIT_EXPECT_EQ(test, 0, iopf_queue_discard_partial(ctx->queue));
	send(PASID_A, 3, 0x11000, LAST);
	expect_group(test, PASID_A, 0x11000, 1);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
}

static void f8_overflow_of_one_device(struct kunit *test)
{
#ifdef iopf_device_discard_partial
	kunit_skip(test, "no interface");
#else
	send(PASID_A, 3, 0x10000, 0);
	KUNIT_EXPECT_EQ(test, 0,
			iopf_device_discard_partial(iopf_fake_dev(ctx->other)));
	send(PASID_A, 3, 0x11000, LAST);
	expect_group(test, PASID_A, 0x10000, 2);
#endif
}

static void f9_time_limit(struct kunit *test)
{
#ifdef iopf_timeout_ms
	kunit_skip(test, "no interface");
#else
	WRITE_ONCE(iopf_timeout_ms, 50);
	send(PASID_A, 3, 0x10000, LAST);
	KUNIT_EXPECT_TRUE(test, iopf_fake_wait(ctx->fake, 1));
	WRITE_ONCE(iopf_timeout_ms, 0);
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->codes[IOMMU_PAGE_RESP_INVALID]);
	answer_all();
	KUNIT_EXPECT_EQ(test, 1, ctx->fake->responses);
#endif
}

static struct kunit_case promise_cases[] = {
	KUNIT_CASE(f1_pasid_tells_groups_apart),
	KUNIT_CASE(f1_order_is_kept),
	KUNIT_CASE(f2_unfinished_requests_are_bounded),
	KUNIT_CASE(f2_flood_does_not_slow_the_next_group),
	KUNIT_CASE(f2_more_than_granted_is_asked_again),
	KUNIT_CASE(f3_partial_is_never_answered),
	KUNIT_CASE(f3_stop_marker_is_not_answered),
	KUNIT_CASE(f3_one_response_though_removed),
	KUNIT_CASE(f4_flush_does_not_wait_for_others),
	KUNIT_CASE(f4_flush_waits_for_its_own),
	KUNIT_CASE(f5_remove_while_faults_are_queued),
	KUNIT_CASE(f5_unbind_while_faults_are_queued),
	KUNIT_CASE(f6_fault_does_not_wait_for_mmap_lock),
	KUNIT_CASE(f8_nobody_waits_after_an_overflow),
	KUNIT_CASE(f8_overflow_of_one_device),
	KUNIT_CASE(f9_time_limit),
	{ }
};

static struct kunit_suite promise_suite = {
	.name = "iopf-promise",
	.init = promise_init,
	.exit = promise_exit,
	.test_cases = promise_cases,
};

kunit_test_suite(promise_suite);
