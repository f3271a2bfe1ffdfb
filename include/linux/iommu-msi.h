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

struct device;
struct iommu_domain;
struct iommu_group;
struct iommu_msi_doorbell;
struct msi_desc;
struct msi_msg;

/**
 * struct iommu_msi_binding - Ties an MSI descriptor to a mapped doorbell
 * @node: in iommu_device_msis::bindings; protected by the MSI lock of the
 *	device's group
 * @user: in the list of the doorbell's users; protected by the cookie's lock
 * @doorbell: what the message is translated with, NULL where it passes as it
 *	is; written under the group's MSI lock, read under RCU
 * @next: the doorbell in the domain that the group moves to; protected by the
 *	group's MSI lock
 * @phys: physical address of the doorbell; protected by the group's MSI lock
 * @moved: the domain has changed since the descriptor was prepared; set under
 *	the group's MSI lock, read without a lock
 * @deaf: the device could not interrupt in the domain it comes from; protected
 *	by the group's MSI lock
 * @stale: the message that the device has is not the cached one; protected by
 *	the group's MSI lock
 * @prepared: the binding is in the list of its device; written under the
 *	group's MSI lock
 *
 * Embedded in struct msi_desc, so that moving an MSI to another domain never
 * has to allocate memory for book-keeping.
 */
struct iommu_msi_binding {
	struct hlist_node			node;
	struct hlist_node			user;
	struct iommu_msi_doorbell __rcu		*doorbell;
	struct iommu_msi_doorbell		*next;
	phys_addr_t				phys;
	bool					moved;
	bool					deaf;
	bool					stale;
	bool					prepared;
};

/**
 * struct iommu_device_msis - The MSIs of a device, in its struct dev_iommu
 * @bindings: those that have been prepared
 * @late: in the list of devices whose messages are not yet what they should be;
 *	protected by that list's lock
 * @dev: the device, once it has been in that list
 * @moving: the group is changing its domain
 * @gone: the device is leaving its group
 * @awake: it was resumed for the change, and is kept from being suspended
 * @held: pci_msi_hold() keeps the device from sending
 * @access: pci_msi_get_access() lets messages be written to the device
 * @lossy: the device does not remember the MSIs that it could not send
 *
 * Protected by the MSI lock of the device's group, @awake by its mutex.
 */
struct iommu_device_msis {
	struct hlist_head	bindings;
	struct hlist_node	late;
	struct device		*dev;
	bool			moving;
	bool			gone;
	bool			awake;
	bool			held;
	bool			access;
	bool			lossy;
};

#ifdef CONFIG_IOMMU_DMA

int iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base);
int iommu_dma_prepare_msi(struct msi_desc *desc, phys_addr_t msi_addr);
void iommu_dma_compose_msi_msg(struct msi_desc *desc, struct msi_msg *msg);
void iommu_dma_release_msi(struct msi_desc *desc);
bool iommu_dma_msi_moved(const struct msi_desc *desc);
void iommu_dma_refresh_msis(struct device *dev);
struct iommu_group *iommu_dma_lock_msis(struct device *dev);
void iommu_dma_unlock_msis(struct iommu_group *group);

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

static inline void iommu_dma_refresh_msis(struct device *dev)
{
}

static inline struct iommu_group *iommu_dma_lock_msis(struct device *dev)
{
	return NULL;
}

static inline void iommu_dma_unlock_msis(struct iommu_group *group)
{
}

#endif /* CONFIG_IOMMU_DMA */

#endif /* __LINUX_IOMMU_MSI_H */
