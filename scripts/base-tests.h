/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface of our fault core, on that of the base
 *
 * Laid over an unpatched base with our test devices, and nothing else of ours,
 * so that one source measures and compares both. What the base cannot do is
 * left out: its grant, its PASID, its drain callback.
 */
#ifndef _LINUX_IO_PGFAULT_H
#define _LINUX_IO_PGFAULT_H

#include <linux/iommu.h>

#define iopf_queue_alloc(name, drain, cookie)	iopf_queue_alloc(name)
#define iopf_queue_add_device_granted(queue, dev, granted) \
	iopf_queue_add_device(queue, dev)
#define iopf_queue_flush_dev(dev, pasid)	iopf_queue_flush_dev(dev)

/* Not there. */
#define iopf_device_discard_partial
#define iopf_timeout_ms

static inline int iommu_queue_iopf(struct device *dev,
				   const struct iommu_fault *fault)
{
	struct iopf_fault evt = { .fault = *fault };

	return iommu_report_device_fault(dev, &evt);
}

#endif /* _LINUX_IO_PGFAULT_H */
