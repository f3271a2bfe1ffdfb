// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: what they cost
 *
 * A line written to debugfs' iopf-bench is work: devices behind the fake IOMMU
 * share the writer's address space, and the writer reports their faults, with
 * the priority of an interrupt thread. What is then read from the same open
 * file is the cost. Devices and memory are gone when the write returns.
 *
 *	groups DEVICES GROUPS PAGES
 *			groups queued at once, of so many pages each
 *	single COUNT	one after the other, while the system is idle
 *	stream COUNT	the same, each as soon as the one before is answered
 *	flush GROUPS	of an idle device, behind groups of another
 *	flood REQUESTS	that are never finished, then a good group
 *
 * Costs are in nanoseconds of sched_clock(), from report to response. With one
 * CPU under QEMU's -icount shift=0 a nanosecond is an instruction. The file is
 * built into the unpatched base too: it uses what both cores have.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/platform_device.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uaccess.h>

#include "io-pgfault-fake.h"

#define BENCH_DEVICES	256
#define BENCH_SAMPLES	1001
/* What a device is granted that shall not flood. */
#define BENCH_GRANT	128

/**
 * struct bench - an open file
 * @text: result of the last write
 * @queue: of all devices
 * @devices: the devices
 * @bonds: of @devices with the writer's address space
 * @nr_devices: how many there are
 * @evt: the request that is reported next
 * @missing: responses that have not come
 * @last_response: when the last response came
 * @samples: of what is not averaged
 */
struct bench {
	char text[256];
	struct iopf_queue *queue;
	struct iopf_fake *devices[BENCH_DEVICES];
	struct iommu_sva *bonds[BENCH_DEVICES];
	unsigned int nr_devices;
	struct iopf_fault evt;
	atomic_t missing;
	u64 last_response;
	u64 samples[BENCH_SAMPLES];
};

static void bench_respond(struct iopf_fake *fake,
			  const struct iommu_fault_page_request *prm, u32 code)
{
	struct bench *bench = fake->priv;

	if (atomic_dec_and_test(&bench->missing))
		bench->last_response = sched_clock();
}

static int bench_bind(struct bench *bench, struct iopf_fake *fake,
		      unsigned int granted)
{
	struct device *dev = iopf_fake_dev(fake);
	struct iommu_sva *bond;
	int ret;

	fake->priv = bench;
	fake->respond = bench_respond;
	ret = iopf_queue_add_device_granted(bench->queue, dev, granted);
	if (ret)
		return ret;
	bond = iommu_sva_bind_device(dev, current->mm);
	if (IS_ERR(bond)) {
		iopf_queue_remove_device(bench->queue, dev);
		return PTR_ERR(bond);
	}
	bench->bonds[bench->nr_devices] = bond;
	bench->evt.fault.prm.pasid = iommu_sva_get_pasid(bond);
	return 0;
}

/* Takes a device in; undone by bench_remove_devices(). */
static int bench_adopt(struct bench *bench, struct iopf_fake *fake,
		       unsigned int granted)
{
	int ret;

	if (IS_ERR(fake))
		return PTR_ERR(fake);
	ret = bench_bind(bench, fake, granted);
	if (ret)
		iopf_fake_destroy(fake);
	else
		bench->devices[bench->nr_devices++] = fake;
	return ret;
}

static struct iopf_fake *bench_create(void)
{
	return iopf_fake_create("iopf-bench", PLATFORM_DEVID_AUTO);
}

static int bench_add_device(struct bench *bench, unsigned int granted)
{
	return bench_adopt(bench, bench_create(), granted);
}

static void bench_remove_devices(struct bench *bench)
{
	while (bench->nr_devices) {
		struct iopf_fake *fake = bench->devices[--bench->nr_devices];

		iommu_sva_unbind_device(bench->bonds[bench->nr_devices]);
		iopf_queue_remove_device(bench->queue, iopf_fake_dev(fake));
		iopf_fake_destroy(fake);
	}
}

static void bench_prepare(struct bench *bench)
{
	bench->evt.fault.type = IOMMU_FAULT_PAGE_REQ;
	bench->evt.fault.prm.perm = IOMMU_FAULT_PERM_READ |
				    IOMMU_FAULT_PERM_WRITE;
}

static void bench_report(struct bench *bench, struct iopf_fake *fake,
			 u32 grpid, unsigned long addr, bool last)
{
	struct iommu_fault_page_request *prm = &bench->evt.fault.prm;

	prm->flags = IOMMU_FAULT_PAGE_REQUEST_PASID_VALID |
		     (last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0);
	prm->grpid = grpid;
	prm->addr = addr;
	iommu_report_device_fault(iopf_fake_dev(fake), &bench->evt);
}

static unsigned long bench_map(unsigned long pages)
{
	return vm_mmap(NULL, 0, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
}

/* Waits for all responses; 0, or -EIO if not all are a success. */
static int bench_wait(struct iopf_fake *fake, unsigned long groups)
{
	wait_event(fake->wait, READ_ONCE(fake->responses) >= groups);
	return fake->codes[IOMMU_PAGE_RESP_SUCCESS] == groups ? 0 : -EIO;
}

/* Reports groups of @size pages, in turns for all devices; then waits. */
static int bench_run_groups(struct bench *bench, unsigned long addr,
			    unsigned int groups, unsigned int size)
{
	unsigned int each = groups / bench->nr_devices, g, p, d;
	int ret = 0;

	sched_set_fifo(current);
	for (g = 0; g < each; g++)
		for (d = 0; d < bench->nr_devices; d++)
			for (p = 0; p < size; p++, addr += PAGE_SIZE)
				bench_report(bench, bench->devices[d], g, addr,
					     p == size - 1);
	sched_set_normal(current, 0);
	for (d = 0; d < bench->nr_devices; d++)
		ret = bench_wait(bench->devices[d], each) ?: ret;
	return ret;
}

static int bench_groups(struct bench *bench, unsigned int devices,
			unsigned int groups, unsigned int size)
{
	unsigned long pages = (unsigned long)groups * size, addr;
	unsigned int d;
	u64 start;
	int ret;

	for (d = 0; d < devices; d++) {
		ret = bench_add_device(bench, max(pages / devices, 2UL));
		if (ret)
			return ret;
	}
	addr = bench_map(pages);
	if (IS_ERR_VALUE(addr))
		return addr;
	atomic_set(&bench->missing, groups);
	start = sched_clock();
	ret = bench_run_groups(bench, addr, groups, size);
	snprintf(bench->text, sizeof(bench->text), "page=%llu\n",
		 div_u64(bench->last_response - start, pages));
	vm_munmap(addr, pages * PAGE_SIZE);
	return ret;
}

static int bench_compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int bench_singles(struct bench *bench, unsigned long addr,
			 unsigned int count, bool idle)
{
	struct iopf_fake *fake = bench->devices[0];
	unsigned int i;
	u64 start;

	for (i = 0; i < count; i++, addr += PAGE_SIZE) {
		/* Let everything else settle. */
		if (idle)
			schedule_timeout_uninterruptible(2);
		iopf_fake_reset(fake);
		atomic_set(&bench->missing, 1);
		start = sched_clock();
		bench_report(bench, fake, i, addr, true);
		if (bench_wait(fake, 1))
			return -EIO;
		bench->samples[i] = bench->last_response - start;
	}
	return 0;
}

static int bench_single(struct bench *bench, unsigned int count, bool idle)
{
	u64 *samples = bench->samples;
	unsigned long addr;
	int ret;

	ret = bench_add_device(bench, BENCH_GRANT);
	if (ret)
		return ret;
	addr = bench_map(count);
	if (IS_ERR_VALUE(addr))
		return addr;
	ret = bench_singles(bench, addr, count, idle);
	sort(samples, count, sizeof(*samples), bench_compare, NULL);
	snprintf(bench->text, sizeof(bench->text),
		 "p50=%llu p99=%llu max=%llu\n", samples[count / 2],
		 samples[count * 99 / 100], samples[count - 1]);
	vm_munmap(addr, count * PAGE_SIZE);
	return ret;
}

static int bench_flush(struct bench *bench, unsigned int groups)
{
	unsigned long pages = max(groups, 1U), addr;
	struct iopf_fake *busy, *idle;
	unsigned int g;
	u64 start, end;
	int ret;

	ret = bench_add_device(bench, pages) ?:
	      bench_add_device(bench, BENCH_GRANT);
	if (ret)
		return ret;
	addr = bench_map(pages);
	if (IS_ERR_VALUE(addr))
		return addr;
	busy = bench->devices[0];
	idle = bench->devices[1];
	sched_set_fifo(current);
	for (g = 0; g < groups; g++)
		bench_report(bench, busy, g, addr + g * PAGE_SIZE, true);
	start = sched_clock();
	ret = iopf_queue_flush_dev(iopf_fake_dev(idle),
				   bench->evt.fault.prm.pasid);
	end = sched_clock();
	sched_set_normal(current, 0);
	ret = bench_wait(busy, groups) ?: ret;
	snprintf(bench->text, sizeof(bench->text), "flush=%llu\n", end - start);
	vm_munmap(addr, pages * PAGE_SIZE);
	return ret;
}

static int bench_flood(struct bench *bench, unsigned int requests)
{
	struct iopf_fake *fake = bench_create();
	unsigned long before, after, addr;
	unsigned int i;
	u64 start;
	int ret;

	/* The device's reserve counts as well. */
	before = global_zone_page_state(NR_FREE_PAGES);
	ret = bench_adopt(bench, fake, BENCH_GRANT);
	if (ret)
		return ret;
	addr = bench_map(1);
	if (IS_ERR_VALUE(addr))
		return addr;
	for (i = 0; i < requests; i++)
		bench_report(bench, fake, i, addr, false);
	/* Whoever waited for the CPU meanwhile is not to be measured. */
	cond_resched();
	after = global_zone_page_state(NR_FREE_PAGES);
	atomic_set(&bench->missing, 1);
	start = sched_clock();
	bench_report(bench, fake, requests, addr, true);
	ret = bench_wait(fake, 1);
	snprintf(bench->text, sizeof(bench->text), "KiB=%ld group=%llu\n",
		 ((long)before - (long)after) * (long)(PAGE_SIZE / SZ_1K),
		 bench->last_response - start);
	vm_munmap(addr, PAGE_SIZE);
	return ret;
}

static int bench_run(struct bench *bench, const char *line)
{
	unsigned int devices, groups, size, count;

	if (sscanf(line, "groups %u %u %u", &devices, &groups, &size) == 3 &&
	    devices && devices <= BENCH_DEVICES && groups && size &&
	    !(groups % devices))
		return bench_groups(bench, devices, groups, size);
	if (sscanf(line, "single %u", &count) == 1 && count &&
	    count <= BENCH_SAMPLES)
		return bench_single(bench, count, true);
	if (sscanf(line, "stream %u", &count) == 1 && count &&
	    count <= BENCH_SAMPLES)
		return bench_single(bench, count, false);
	if (sscanf(line, "flush %u", &groups) == 1)
		return bench_flush(bench, groups);
	if (sscanf(line, "flood %u", &count) == 1)
		return bench_flood(bench, count);
	return -EINVAL;
}

static ssize_t bench_write(struct file *file, const char __user *buf,
			   size_t len, loff_t *ppos)
{
	struct bench *bench = file->private_data;
	char line[64];
	int ret;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	line[len] = '\0';
	bench_prepare(bench);
	bench->queue = iopf_queue_alloc("bench", NULL, NULL);
	if (!bench->queue)
		return -ENOMEM;
	ret = bench_run(bench, line);
	bench_remove_devices(bench);
	iopf_queue_free(bench->queue);
	return ret ?: len;
}

static ssize_t bench_read(struct file *file, char __user *buf, size_t len,
			  loff_t *ppos)
{
	struct bench *bench = file->private_data;
	loff_t start = 0;

	return simple_read_from_buffer(buf, len, &start, bench->text,
				       strlen(bench->text));
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench *bench = kvzalloc(sizeof(*bench), GFP_KERNEL);

	if (!bench)
		return -ENOMEM;
	file->private_data = bench;
	return stream_open(inode, file);
}

static int bench_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner = THIS_MODULE,
	.open = bench_open,
	.release = bench_release,
	.read = bench_read,
	.write = bench_write,
};

static int __init bench_init(void)
{
	debugfs_create_file("iopf-bench", 0600, NULL, NULL, &bench_fops);
	return 0;
}
late_initcall(bench_init);
