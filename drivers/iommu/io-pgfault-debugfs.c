// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: what debugfs shows
 *
 * iopf/devices is a table, a row a device; iopf/latency a histogram, a row a
 * device. Columns are only ever added, at the end. Described in
 * Documentation/admin-guide/iopf.rst; tools/iommu/iopf-top reads both.
 */
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>

#include "io-pgfault.h"

/* What is shown of a device, read in one section of its lock. */
struct iopf_snapshot {
	struct iopf_stats stats;
	unsigned int granted;
	unsigned int in_flight;
	unsigned int nr_partial;
};

static void iopf_take_snapshot(struct iommu_fault_param *param,
			       struct iopf_snapshot *snap)
{
	spin_lock(&param->lock);
	snap->stats = param->stats;
	snap->granted = param->granted;
	snap->in_flight = param->in_flight;
	snap->nr_partial = param->nr_partial;
	spin_unlock(&param->lock);
}

static int iopf_devices_show(struct seq_file *m, void *unused)
{
	struct iommu_fault_param *param;
	struct iopf_snapshot snap;
	const struct iopf_stats *s = &snap.stats;

	seq_puts(m, "device queue granted in_flight partial requests groups success invalid failure refused timeout withdrawn dropped markers overflows again forgotten\n");
	guard(mutex)(&iopf_devices_lock);
	list_for_each_entry(param, &iopf_devices, all_node) {
		iopf_take_snapshot(param, &snap);
		seq_printf(m, "%s %s %u %u %u %llu %llu", param->name,
			   param->queue->name, snap.granted, snap.in_flight,
			   snap.nr_partial, s->requests, s->groups);
		seq_printf(m, " %llu %llu %llu %llu %llu %llu %llu %llu %llu",
			   s->responses[IOMMU_PAGE_RESP_SUCCESS],
			   s->responses[IOMMU_PAGE_RESP_INVALID],
			   s->responses[IOMMU_PAGE_RESP_FAILURE],
			   s->refused, s->timeouts, s->withdrawn, s->dropped,
			   s->markers, s->overflows);
		seq_printf(m, " %llu %llu\n", s->again, s->forgotten);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(iopf_devices);

static int iopf_latency_show(struct seq_file *m, void *unused)
{
	struct iommu_fault_param *param;
	struct iopf_snapshot snap;
	int i;

	seq_puts(m, "device");
	for (i = 0; i < IOPF_BUCKETS; i++)
		seq_printf(m, " %uus", 1U << i);
	seq_putc(m, '\n');
	guard(mutex)(&iopf_devices_lock);
	list_for_each_entry(param, &iopf_devices, all_node) {
		iopf_take_snapshot(param, &snap);
		seq_puts(m, param->name);
		for (i = 0; i < IOPF_BUCKETS; i++)
			seq_printf(m, " %llu", snap.stats.latency[i]);
		seq_putc(m, '\n');
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(iopf_latency);

static int __init iopf_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("iopf", NULL);

	debugfs_create_file("devices", 0444, dir, NULL, &iopf_devices_fops);
	debugfs_create_file("latency", 0444, dir, NULL, &iopf_latency_fops);
	return 0;
}
subsys_initcall(iopf_debugfs_init);
