/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fake IOMMU that keeps its page tables in xarrays, for the tests of MSI
 * doorbells
 */
#ifndef __DMA_IOMMU_MSI_FAKE_H
#define __DMA_IOMMU_MSI_FAKE_H

#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/types.h>

#include "dma-iommu-msi.h"

/* An IOMMU_RESV_SW_MSI region of every device starts here */
#define FAKE_WINDOW_BASE	0x08000000ULL
#define FAKE_WINDOW_PAGES	4

/**
 * struct fake_pte - an entry of a page table
 * @phys: physical address of the page
 * @prot: IOMMU_WRITE and so on
 */
struct fake_pte {
	phys_addr_t	phys;
	int		prot;
};

/**
 * struct fake_iommu - the one fake IOMMU; suites run one after another
 * @iommu: what is registered
 * @fwnode: how its devices find it
 * @attached: the domain of the device that was attached last
 * @on_attach: called, once, when a domain has been attached, or NULL
 * @slots: a table for the doorbells of this machine
 * @pgsize: granule of the domains to come, in bytes
 * @window_pages: length of the window in pages of @pgsize
 * @hw_msi: address of an IOMMU_RESV_MSI region of 64 KiB, or 0
 * @resv: start of a reserved page of each device to come, or 0
 * @resv_type: its type
 * @one_group: devices to come are in the group of the first
 * @group: of the first device
 * @fail_attach: the next attempt to attach fails
 * @maps_late: nothing can be mapped before the domain is attached
 * @finalises_late: the domains to come get granule and aperture when they are
 *	attached, and have a smaller granule and no aperture before
 * @maps: pages that have been mapped, ever
 * @map_calls: attempts at that
 * @fail_map: the how-manieth attempt from now fails, or 0
 * @fail_maps: how many attempts from now on fail
 */
struct fake_iommu {
	struct iommu_device	iommu;
	struct fwnode_handle	*fwnode;
	struct iommu_domain	*attached;
	void			(*on_attach)(void);
	struct iommu_msi_slots	slots;
	unsigned long		pgsize;
	unsigned int		window_pages;
	phys_addr_t		hw_msi;
	phys_addr_t		resv;
	enum iommu_resv_type	resv_type;
	bool			one_group;
	struct iommu_group	*group;
	bool			fail_attach;
	bool			maps_late;
	bool			finalises_late;
	unsigned int		maps;
	unsigned int		map_calls;
	unsigned int		fail_map;
	unsigned int		fail_maps;
};

extern struct fake_iommu fake_iommu;
extern struct iommu_domain fake_blocked_domain;
extern struct iommu_domain fake_identity_domain;

int fake_iommu_create(const char *name);
void fake_iommu_destroy(void);
int fake_iommu_add_device(struct device *dev);
struct iommu_domain *fake_iommu_window_domain(struct device *dev);
struct fake_pte *fake_iommu_walk(struct iommu_domain *domain, dma_addr_t iova);
bool fake_iommu_is_empty(struct iommu_domain *domain);
bool fake_iommu_leads_to(u64 address, phys_addr_t phys);

#endif
