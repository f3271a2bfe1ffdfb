/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI doorbells: what the IOMMU core and dma-iommu share
 */
#ifndef __DMA_IOMMU_MSI_H
#define __DMA_IOMMU_MSI_H

#include <linux/hashtable.h>
#include <linux/iommu.h>
#include <linux/iommu-msi.h>
#include <linux/list.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/wait.h>

/* What the window of an Arm SMMU holds, with the smallest pages that there are */
#define IOMMU_MSI_SLOTS		(SZ_1M / SZ_4K)

/**
 * struct iommu_msi_slots - Which doorbell page has which place in the windows
 * @page: physical address of the page, by slot; never changes once it is set
 * @used: how many slots are taken
 *
 * Protected by iommu_msi_lock.
 */
struct iommu_msi_slots {
	phys_addr_t	page[IOMMU_MSI_SLOTS];
	unsigned int	used;
};

/**
 * struct iommu_msi_cookie - The doorbells of one domain
 * @domain: the domain that owns the cookie; constant
 * @slots: the table that places doorbells in the window; constant
 * @id: number of the domain in debugfs and traces, unique since boot; constant
 * @ready: the regions of a device are known and a DMA domain is initialised:
 *	doorbells can be mapped
 * @base: first IOVA of the window
 * @end: end of what all devices of the domain can use of it; 0 before the first
 *	has told
 * @doorbells: what is mapped, by physical page
 * @regions: physical ranges whose writes the hardware does not translate
 * @node: in the list of all cookies
 *
 * Protected by iommu_msi_lock.
 */
struct iommu_msi_cookie {
	struct iommu_domain	*domain;
	struct iommu_msi_slots	*slots;
	unsigned int		id;
	bool			ready;
	dma_addr_t		base;
	dma_addr_t		end;
	DECLARE_HASHTABLE(doorbells, 4);
	struct list_head	regions;
	struct list_head	node;
};

/**
 * struct iommu_msi_doorbell - A doorbell's page, mapped in one domain
 * @node: in iommu_msi_cookie::doorbells, until the domain is freed
 * @phys: physical address of the page
 * @iova: where the page is mapped
 * @size: size of the page in bytes, the domain's granule
 * @own: the IOVA is one of this domain alone, outside of the window
 *
 * Constant once it is in the table.
 */
struct iommu_msi_doorbell {
	struct hlist_node	node;
	phys_addr_t		phys;
	dma_addr_t		iova;
	size_t			size;
	bool			own;
};

#ifdef CONFIG_IOMMU_DMA

/* dma-iommu-msi.c, for dma-iommu-msi-move.c, debugfs and the tests */
extern struct mutex iommu_msi_lock;
extern struct list_head iommu_msi_cookies;
extern struct hlist_head iommu_msi_devices;
extern wait_queue_head_t iommu_msi_settled;
int iommu_msi_slot(struct iommu_msi_slots *slots, phys_addr_t page);
u64 iommu_msi_limit(const struct iommu_msi_cookie *cookie,
		    const struct msi_desc *desc);
int iommu_msi_translate(struct iommu_domain *domain, struct msi_desc *desc,
			phys_addr_t phys, u64 *word);

static inline struct msi_desc *iommu_msi_to_desc(struct iommu_msi_binding *msi)
{
	return container_of(msi, struct msi_desc, iommu_msi);
}

/* The address that a message carries, with the doorbell's offset in its page */
static inline u64 iommu_msi_address(phys_addr_t phys, u64 word)
{
	return word ? (word & ~63ULL) | (phys & (BIT_ULL(word & 63) - 1)) : phys;
}

/* dma-iommu-msi.c, for iommu.c and dma-iommu.c */
int iommu_msi_cookie_create(struct iommu_domain *domain);
void iommu_msi_cookie_destroy(struct iommu_domain *domain);
int iommu_msi_learn_device(struct iommu_domain *domain, struct device *dev);
void iommu_msi_remove_device(struct device *dev);

/* dma-iommu-msi-move.c, for iommu.c: a group moves to another domain */
void iommu_msi_add_device(struct iommu_domain *domain, struct device *dev);
int iommu_msi_start(struct device *dev, struct iommu_domain *domain);
void iommu_msi_finish(struct device *dev, bool blocked, bool was_blocked,
		      bool same);
void iommu_msi_wake(struct iommu_group *group, unsigned int type,
		    struct list_head *awake);
void iommu_msi_let_sleep(struct list_head *awake);

/* iommu.c and dma-iommu.c, for these */
struct iommu_domain *iommu_msi_domain(struct device *dev);
int iommu_dma_init_domain(struct iommu_domain *domain, struct device *dev);
bool iommu_dma_msi_has_iovas(struct iommu_domain *domain);
dma_addr_t iommu_dma_msi_alloc_iova(struct iommu_domain *domain, size_t size,
				    u64 limit, struct device *dev);
void iommu_dma_msi_free_iova(struct iommu_domain *domain, dma_addr_t iova,
			     size_t size);

#else /* CONFIG_IOMMU_DMA */

static inline void iommu_msi_remove_device(struct device *dev)
{
}

static inline void iommu_msi_add_device(struct iommu_domain *domain,
					struct device *dev)
{
}

static inline int iommu_msi_start(struct device *dev,
				  struct iommu_domain *domain)
{
	return 0;
}

static inline void iommu_msi_finish(struct device *dev, bool blocked,
				    bool was_blocked, bool same)
{
}

static inline void iommu_msi_wake(struct iommu_group *group, unsigned int type,
				  struct list_head *awake)
{
}

static inline void iommu_msi_let_sleep(struct list_head *awake)
{
}

#endif /* CONFIG_IOMMU_DMA */
#endif /* __DMA_IOMMU_MSI_H */
