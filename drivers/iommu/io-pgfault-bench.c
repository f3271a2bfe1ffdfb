// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: what they cost
 *
 * Built into a kernel, ours or the base's (IOPF_BENCH_BASE), and run once at
 * boot, with one CPU under QEMU's -icount shift=0: a nanosecond is an
 * instruction. Prints lines "iopf-bench: <what> <figure>".
 */
#include <linux/completion.h>
#include <linux/init.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/platform_device.h>
#include <linux/sched/clock.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sort.h>

#include "io-pgfault-fake.h"

#define GRANT	65536
#define SINGLES	201

#ifdef IOPF_BENCH_BASE
#define bench_queue_alloc(name)		iopf_queue_alloc(name)
#define bench_add(queue, dev, grant)	iopf_queue_add_device(queue, dev)
#define bench_flush(dev, pasid)		iopf_queue_flush_dev(dev)
#else
#define bench_queue_alloc(name)		iopf_queue_alloc(name, NULL, NULL)
#define bench_add(queue, dev, grant)	\
	iopf_queue_add_device_granted(queue, dev, grant)
#define bench_flush(dev, pasid)		iopf_queue_flush_dev(dev, pasid)
#endif

static struct iopf_queue *queue;
/* When the last response came. */
static u64 last_response;

static void bench_respond(struct iopf_fake *fake, struct iopf_fake_record *rec)
{
	last_response = sched_clock();
}

static struct iopf_fake *bench_device(u32 *pasid, unsigned int grant)
{
	struct iopf_fake *fake = iopf_fake_create("iopf-bench",
						  PLATFORM_DEVID_AUTO);
	struct iommu_sva *bond;

	BUG_ON(IS_ERR(fake));
	fake->respond = bench_respond;
	BUG_ON(bench_add(queue, iopf_fake_dev(fake), grant));
	bond = iommu_sva_bind_device(iopf_fake_dev(fake), current->mm);
	BUG_ON(IS_ERR(bond));
	*pasid = iommu_sva_get_pasid(bond);
	return fake;
}

static void report(struct iopf_fake *fake, u32 pasid, u32 grpid,
		   unsigned long addr, bool last)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID,
				.pasid = pasid,
				.grpid = grpid,
				.perm = IOMMU_FAULT_PERM_READ |
					IOMMU_FAULT_PERM_WRITE,
				.addr = addr,
			},
		},
	};

	if (last)
		evt.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	iommu_report_device_fault(iopf_fake_dev(fake), &evt);
}

static unsigned long map(unsigned int pages)
{
	unsigned long addr = vm_mmap(NULL, 0, (pages ?: 1) * PAGE_SIZE,
				     PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, 0);

	BUG_ON(IS_ERR_VALUE(addr));
	return addr;
}

/* @groups groups of @size pages, queued at once: instructions a page. */
static void bench_groups(struct iopf_fake *fake, u32 pasid,
			 unsigned int groups, unsigned int size)
{
	unsigned long addr = map(groups * size);
	unsigned int g, p;
	u64 start;

	iopf_fake_reset(fake);
	start = sched_clock();
	for (g = 0; g < groups; g++)
		for (p = 0; p < size; p++)
			report(fake, pasid, g, addr + (g * size + p) * PAGE_SIZE,
			       p == size - 1);
	wait_event(fake->wait, READ_ONCE(fake->responses) >= groups);
	pr_info("iopf-bench: groups=%u pages=%u success=%lu %llu\n", groups,
		size, fake->codes[IOMMU_PAGE_RESP_SUCCESS],
		(last_response - start) / (groups * size));
	vm_munmap(addr, groups * size * PAGE_SIZE);
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void bench_single(struct iopf_fake *fake, u32 pasid)
{
	static u64 sample[SINGLES];
	unsigned long addr = map(SINGLES);
	unsigned int i;
	u64 start;

	for (i = 0; i < SINGLES; i++) {
		/* Let everything else settle. */
		schedule_timeout_uninterruptible(2);
		iopf_fake_reset(fake);
		start = sched_clock();
		report(fake, pasid, i, addr + i * PAGE_SIZE, true);
		wait_event(fake->wait, READ_ONCE(fake->responses));
		sample[i] = last_response - start;
	}
	sort(sample, SINGLES, sizeof(*sample), compare, NULL);
	pr_info("iopf-bench: single p50 %llu\n", sample[SINGLES / 2]);
	vm_munmap(addr, SINGLES * PAGE_SIZE);
}

static void bench_flush_idle(struct iopf_fake *busy, struct iopf_fake *idle,
			     u32 pasid, unsigned int groups)
{
	unsigned long addr = map(groups);
	unsigned int g;
	u64 start;

	iopf_fake_reset(busy);
	for (g = 0; g < groups; g++)
		report(busy, pasid, g, addr + g * PAGE_SIZE, true);
	start = sched_clock();
	bench_flush(iopf_fake_dev(idle), pasid);
	pr_info("iopf-bench: flush groups=%u %llu\n", groups,
		sched_clock() - start);
	wait_event(busy->wait, READ_ONCE(busy->responses) >= groups);
	vm_munmap(addr, (groups ?: 1) * PAGE_SIZE);
}

static void bench_flood(unsigned int requests)
{
	u32 pasid;
	struct iopf_fake *fake;
	unsigned long before, after, addr = map(1);
	unsigned int i;
	u64 start;

	before = global_zone_page_state(NR_FREE_PAGES);
	fake = bench_device(&pasid, 128);
	for (i = 0; i < requests; i++)
		report(fake, pasid, i, addr, false);
	after = global_zone_page_state(NR_FREE_PAGES);
	pr_info("iopf-bench: flood requests=%u KiB %ld\n", requests,
		((long)before - (long)after) * (long)(PAGE_SIZE / 1024));
	start = sched_clock();
	report(fake, pasid, requests, addr, true);
	wait_event(fake->wait, READ_ONCE(fake->responses));
	pr_info("iopf-bench: flood good-group success=%lu %llu\n",
		fake->codes[IOMMU_PAGE_RESP_SUCCESS], last_response - start);
}

static void bench_all(void)
{
	static const unsigned int flushes[] = { 0, 256, 4096, 16384 };
	struct iopf_fake *fake, *idle;
	u32 pasid;
	int i;

	queue = bench_queue_alloc("bench");
	BUG_ON(!queue);
	fake = bench_device(&pasid, GRANT);
	idle = bench_device(&pasid, 128);
	bench_groups(fake, pasid, 4096, 1);
	bench_groups(fake, pasid, 4096, 1);
	bench_groups(fake, pasid, 512, 8);
	bench_groups(fake, pasid, 128, 32);
	bench_groups(fake, pasid, 1, 1);
	bench_groups(fake, pasid, 64, 1);
	bench_groups(fake, pasid, 16384, 1);
	bench_single(fake, pasid);
	for (i = 0; i < ARRAY_SIZE(flushes); i++)
		bench_flush_idle(fake, idle, pasid, flushes[i]);
	bench_flood(200000);
}

static int bench_thread(void *unused)
{
	struct mm_struct *mm = mm_alloc();

	BUG_ON(!mm);
	arch_pick_mmap_layout(mm, &current->signal->rlim[RLIMIT_STACK]);
	kthread_use_mm(mm);
	bench_all();
	pr_info("iopf-bench: done\n");
	complete(unused);
	/* Its devices stay bound: so does the thread stay. */
	for (;;)
		schedule_timeout_uninterruptible(MAX_SCHEDULE_TIMEOUT);
	return 0;
}

static int __init bench_init(void)
{
	DECLARE_COMPLETION_ONSTACK(done);
	struct task_struct *task;

	task = kthread_run(bench_thread, &done, "iopf-bench");
	if (IS_ERR(task))
		return PTR_ERR(task);
	wait_for_completion(&done);
	return 0;
}
late_initcall_sync(bench_init);
