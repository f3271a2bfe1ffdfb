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
 * @attached: the domain of the only device
 * @on_attach: called, once, while a domain is being attached, or NULL
 * @pgsize: granule of the domains to come, in bytes
 * @window_pages: length of the window in pages of @pgsize
 * @hw_msi: address of an IOMMU_RESV_MSI region of 64 KiB, or 0
 * @maps: pages that have been mapped, ever
 * @map_calls: attempts at that
 * @fail_map: the how-manieth attempt from now fails, or 0
 */
struct fake_iommu {
	struct iommu_device	iommu;
	struct fwnode_handle	*fwnode;
	struct iommu_domain	*attached;
	void			(*on_attach)(void);
	unsigned long		pgsize;
	unsigned int		window_pages;
	phys_addr_t		hw_msi;
	unsigned int		maps;
	unsigned int		map_calls;
	unsigned int		fail_map;
};

extern struct fake_iommu fake_iommu;
extern struct iommu_domain fake_blocked_domain;

int fake_iommu_create(const char *name);
void fake_iommu_destroy(void);
int fake_iommu_add_device(struct device *dev);
struct iommu_domain *fake_iommu_window_domain(struct device *dev);
struct fake_pte *fake_iommu_walk(struct iommu_domain *domain, dma_addr_t iova);
bool fake_iommu_is_empty(struct iommu_domain *domain);

#endif
