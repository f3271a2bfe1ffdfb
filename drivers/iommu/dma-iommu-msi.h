/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MSI doorbells: what the IOMMU core and dma-iommu share
 */
#ifndef __DMA_IOMMU_MSI_H
#define __DMA_IOMMU_MSI_H

#include <linux/iommu.h>
#include <linux/iommu-msi.h>
#include <linux/list.h>
#include <linux/mutex.h>

/**
 * struct iommu_msi_cookie - Book-keeping of the doorbells in one domain
 * @lock: serialises changes of what is not constant; taken inside the MSI lock
 *	of the groups that are attached to the domain
 * @domain: the domain that owns the cookie; constant
 * @id: number of the domain in debugfs and traces, unique since boot; constant
 * @ready: doorbells can be mapped; set once, under the mutex of a group, which
 *	is not @lock, and read under the MSI lock of any group
 * @window: doorbells are mapped in a window that the domain's owner keeps
 *	free, rather than at IOVAs from the DMA API's allocator; constant
 * @window_base: first IOVA of the window; constant
 * @window_last: last IOVA of the window, 0 while no device has told it; the
 *	first device that does decides
 * @doorbells: mapped doorbells; read under RCU
 * @regions: physical ranges whose writes the hardware does not translate
 * @node: in the list of all cookies; protected by that list's mutex
 * @rcu: frees the cookie after the last reader
 */
struct iommu_msi_cookie {
	struct mutex		lock;	/* what is not constant */
	struct iommu_domain	*domain;
	unsigned int		id;
	bool			ready;
	bool			window;
	dma_addr_t		window_base;
	dma_addr_t		window_last;
	struct list_head	doorbells;
	struct list_head	regions;
	struct list_head	node;
	struct rcu_head		rcu;
};

/**
 * struct iommu_msi_doorbell - A doorbell's page, mapped in one domain
 * @node: in iommu_msi_cookie::doorbells
 * @cookie: what it belongs to; constant
 * @phys: physical address of the page; constant
 * @iova: where the page is mapped; constant
 * @size: size of the page in bytes, the domain's granule; constant
 * @users: number of MSIs that use or are about to use it; protected by
 *	iommu_msi_cookie::lock
 * @msis: their bindings; protected by iommu_msi_cookie::lock
 * @rcu: frees the doorbell after the last reader
 */
struct iommu_msi_doorbell {
	struct list_head	node;
	struct iommu_msi_cookie	*cookie;
	phys_addr_t		phys;
	dma_addr_t		iova;
	size_t			size;
	unsigned int		users;
	struct hlist_head	msis;
	struct rcu_head		rcu;
};

#ifdef CONFIG_IOMMU_DMA

/* dma-iommu-msi.c, for its tests */
u64 iommu_msi_limit(const struct iommu_msi_cookie *cookie,
		    const struct msi_desc *desc);

/* dma-iommu-msi.c, for dma-iommu.c */
int iommu_msi_cookie_create(struct iommu_domain *domain);
void iommu_msi_cookie_destroy(struct iommu_domain *domain);
int iommu_msi_add_region(struct iommu_domain *domain, phys_addr_t start,
			 size_t length);

/* dma-iommu-msi.c, for iommu.c: a group moves to another domain */
void iommu_msi_hold(struct device *dev);
void iommu_msi_enable(struct iommu_domain *domain, struct device *dev);
int iommu_msi_stage(struct device *dev, struct iommu_domain *domain);
void iommu_msi_unstage(struct device *dev);
void iommu_msi_commit(struct device *dev, struct iommu_domain *old_domain);
void iommu_msi_resume(struct device *dev);
void iommu_msi_release_device(struct device *dev);

/* dma-iommu.c, for dma-iommu-msi.c */
int iommu_dma_msi_init_domain(struct iommu_domain *domain, struct device *dev);
dma_addr_t iommu_dma_msi_alloc_iova(struct iommu_domain *domain, size_t size,
				    u64 limit, struct device *dev);
void iommu_dma_msi_free_iova(struct iommu_domain *domain, dma_addr_t iova,
			     size_t size);

/* dma-iommu-msi-debugfs.c */
#ifdef CONFIG_DEBUG_FS
void iommu_msi_debugfs_add(struct iommu_msi_cookie *cookie);
void iommu_msi_debugfs_del(struct iommu_msi_cookie *cookie);
#else
static inline void iommu_msi_debugfs_add(struct iommu_msi_cookie *cookie)
{
}

static inline void iommu_msi_debugfs_del(struct iommu_msi_cookie *cookie)
{
}
#endif

#else /* CONFIG_IOMMU_DMA */

static inline void iommu_msi_hold(struct device *dev)
{
}

static inline void iommu_msi_enable(struct iommu_domain *domain,
				    struct device *dev)
{
}

static inline int iommu_msi_stage(struct device *dev,
				  struct iommu_domain *domain)
{
	return 0;
}

static inline void iommu_msi_unstage(struct device *dev)
{
}

static inline void iommu_msi_commit(struct device *dev,
				    struct iommu_domain *old_domain)
{
}

static inline void iommu_msi_resume(struct device *dev)
{
}

static inline void iommu_msi_release_device(struct device *dev)
{
}

#endif /* CONFIG_IOMMU_DMA */
#endif /* __DMA_IOMMU_MSI_H */
