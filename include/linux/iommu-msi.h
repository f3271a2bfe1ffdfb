/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI doorbells of devices behind an IOMMU
 *
 * A device sends a message signalled interrupt by writing to a doorbell. Where
 * an IOMMU translates the device's writes, the message must carry an IOVA that
 * the device's domain maps to the doorbell. An interrupt controller driver
 * calls iommu_dma_prepare_msi() when it allocates an interrupt, and
 * iommu_dma_compose_msi_msg() when it composes the message.
 *
 * See Documentation/driver-api/iommu-msi.rst.
 */
#ifndef __LINUX_IOMMU_MSI_H
#define __LINUX_IOMMU_MSI_H

#include <linux/errno.h>
#include <linux/types.h>

struct iommu_domain;
struct msi_desc;
struct msi_msg;

/**
 * struct iommu_msi_binding - Ties an MSI descriptor to its doorbell
 * @node: in iommu_device_msis::bindings from prepare to release
 * @phys: physical address of the doorbell
 * @word: where its page is mapped: the IOVA, and in the lowest six bits the
 *	size of the page as a power of two. 0 if the message passes as it is.
 *	Read without a lock by who composes the message.
 * @moved: @word has changed since prepare. Read without a lock by who has
 *	written a message outside of irq_desc::lock.
 *
 * Written under iommu_msi_lock. Embedded in struct msi_desc, so that a change
 * of the domain allocates nothing for it.
 */
struct iommu_msi_binding {
	struct hlist_node	node;
	phys_addr_t		phys;
	u64			word;
	bool			moved;
};

/**
 * enum iommu_msi_state - Is the domain of a device about to change?
 * @IOMMU_MSI_SETTLED: no; messages may be prepared
 * @IOMMU_MSI_MOVING: yes; who prepares a message waits
 * @IOMMU_MSI_HELD: yes, and the device is kept from sending messages
 * @IOMMU_MSI_UNREACHABLE: yes, and live messages change of a device that cannot
 *	be written to
 */
enum iommu_msi_state {
	IOMMU_MSI_SETTLED,
	IOMMU_MSI_MOVING,
	IOMMU_MSI_HELD,
	IOMMU_MSI_UNREACHABLE,
};

/**
 * struct iommu_device_msis - The MSIs of a device, in its struct dev_iommu
 * @bindings: those that have been prepared
 * @node: in the list of devices that have any
 * @state: changes under the mutex of the device's group as well
 * @missed: the change may have cost a message: trigger the interrupts once
 *
 * Protected by iommu_msi_lock.
 */
struct iommu_device_msis {
	struct hlist_head	bindings;
	struct hlist_node	node;
	enum iommu_msi_state	state;
	bool			missed;
};

#ifdef CONFIG_IOMMU_DMA

int iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base);
int iommu_dma_prepare_msi(struct msi_desc *desc, phys_addr_t msi_addr);
void iommu_dma_compose_msi_msg(struct msi_desc *desc, struct msi_msg *msg);
void iommu_dma_release_msi(struct msi_desc *desc);
bool iommu_dma_msi_moved(const struct msi_desc *desc);

#else /* CONFIG_IOMMU_DMA */

static inline int iommu_get_msi_cookie(struct iommu_domain *domain,
				       dma_addr_t base)
{
	return -ENODEV;
}

static inline int iommu_dma_prepare_msi(struct msi_desc *desc,
					phys_addr_t msi_addr)
{
	return 0;
}

static inline void iommu_dma_compose_msi_msg(struct msi_desc *desc,
					     struct msi_msg *msg)
{
}

static inline void iommu_dma_release_msi(struct msi_desc *desc)
{
}

static inline bool iommu_dma_msi_moved(const struct msi_desc *desc)
{
	return false;
}

#endif /* CONFIG_IOMMU_DMA */
#endif /* __LINUX_IOMMU_MSI_H */
