/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trace points of MSI doorbells behind an IOMMU
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iommu_msi

#if !defined(_TRACE_IOMMU_MSI_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_IOMMU_MSI_H

#include <linux/device.h>
#include <linux/tracepoint.h>

TRACE_EVENT(iommu_msi_map,
	TP_PROTO(struct device *dev, unsigned int domain, phys_addr_t doorbell,
		 dma_addr_t iova, size_t size),

	TP_ARGS(dev, domain, doorbell, iova, size),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(unsigned int, domain)
		__field(u64, doorbell)
		__field(u64, iova)
		__field(size_t, size)
	),

	TP_fast_assign(
		__assign_str(device);
		__entry->domain = domain;
		__entry->doorbell = doorbell;
		__entry->iova = iova;
		__entry->size = size;
	),

	TP_printk("device=%s domain=%u doorbell=0x%016llx iova=0x%016llx size=%zu",
		  __get_str(device), __entry->domain, __entry->doorbell,
		  __entry->iova, __entry->size)
);

TRACE_EVENT(iommu_msi_unmap,
	TP_PROTO(unsigned int domain, phys_addr_t doorbell, dma_addr_t iova,
		 size_t size),

	TP_ARGS(domain, doorbell, iova, size),

	TP_STRUCT__entry(
		__field(unsigned int, domain)
		__field(u64, doorbell)
		__field(u64, iova)
		__field(size_t, size)
	),

	TP_fast_assign(
		__entry->domain = domain;
		__entry->doorbell = doorbell;
		__entry->iova = iova;
		__entry->size = size;
	),

	TP_printk("domain=%u doorbell=0x%016llx iova=0x%016llx size=%zu",
		  __entry->domain, __entry->doorbell, __entry->iova,
		  __entry->size)
);

TRACE_EVENT(iommu_msi_rebind,
	TP_PROTO(struct device *dev, unsigned int irq, phys_addr_t doorbell,
		 dma_addr_t old_iova, dma_addr_t new_iova),

	TP_ARGS(dev, irq, doorbell, old_iova, new_iova),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(unsigned int, irq)
		__field(u64, doorbell)
		__field(u64, old_iova)
		__field(u64, new_iova)
	),

	TP_fast_assign(
		__assign_str(device);
		__entry->irq = irq;
		__entry->doorbell = doorbell;
		__entry->old_iova = old_iova;
		__entry->new_iova = new_iova;
	),

	TP_printk("device=%s irq=%u doorbell=0x%016llx iova=0x%016llx->0x%016llx",
		  __get_str(device), __entry->irq, __entry->doorbell,
		  __entry->old_iova, __entry->new_iova)
);

TRACE_EVENT(iommu_msi_compose_fail,
	TP_PROTO(struct device *dev, unsigned int irq, phys_addr_t doorbell),

	TP_ARGS(dev, irq, doorbell),

	TP_STRUCT__entry(
		__string(device, dev_name(dev))
		__field(unsigned int, irq)
		__field(u64, doorbell)
	),

	TP_fast_assign(
		__assign_str(device);
		__entry->irq = irq;
		__entry->doorbell = doorbell;
	),

	TP_printk("device=%s irq=%u doorbell=0x%016llx iova=none",
		  __get_str(device), __entry->irq, __entry->doorbell)
);

#endif /* _TRACE_IOMMU_MSI_H */

#include <trace/define_trace.h>
