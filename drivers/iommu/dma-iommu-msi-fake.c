// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake IOMMU that keeps its page tables in xarrays; see dma-iommu-msi-fake.h
 */
#include <linux/cleanup.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/property.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "dma-iommu-msi-fake.h"
#include "iommu-priv.h"

/* Smaller than any page that there is in the end */
#define FAKE_EARLY_PAGE		((unsigned long)SZ_1K)

struct fake_domain {
	struct iommu_domain	domain;
	bool			was_attached;
	struct xarray		ptes;	/* by IOVA / granule */
};

struct fake_iommu fake_iommu;

static struct fake_domain *to_fake(struct iommu_domain *domain)
{
	return container_of(domain, struct fake_domain, domain);
}

static int fake_map(struct iommu_domain *domain, unsigned long iova,
		    phys_addr_t phys, size_t pgsize, size_t pgcount, int prot,
		    gfp_t gfp, size_t *mapped)
{
	struct fake_pte *pte;
	int ret;

	if (fake_iommu.maps_late && !to_fake(domain)->was_attached)
		return -ENODEV;
	fake_iommu.map_calls++;
	if (fake_iommu.fail_map && !--fake_iommu.fail_map)
		return -EIO;
	if (fake_iommu.fail_maps) {
		fake_iommu.fail_maps--;
		return -EIO;
	}

	pte = kmalloc(sizeof(*pte), gfp);
	if (!pte)
		return -ENOMEM;

	pte->phys = phys;
	pte->prot = prot;
	ret = xa_insert(&to_fake(domain)->ptes, iova / pgsize, pte, gfp);
	if (ret) {
		kfree(pte);
		return ret;
	}
	fake_iommu.maps++;
	*mapped = pgsize;
	return 0;
}

static size_t fake_unmap(struct iommu_domain *domain, unsigned long iova,
			 size_t pgsize, size_t pgcount,
			 struct iommu_iotlb_gather *gather)
{
	struct fake_pte *pte;

	pte = xa_erase(&to_fake(domain)->ptes, iova / pgsize);
	if (!pte)
		return 0;
	kfree(pte);
	return pgsize;
}

static unsigned long granule_of(struct iommu_domain *domain)
{
	return BIT(__ffs(domain->pgsize_bitmap));
}

/**
 * fake_iommu_walk() - Look an IOVA up
 * @domain: a domain of the fake IOMMU
 * @iova: any address in the page
 *
 * Return: the entry, or NULL if the page is not mapped.
 */
struct fake_pte *fake_iommu_walk(struct iommu_domain *domain, dma_addr_t iova)
{
	return xa_load(&to_fake(domain)->ptes,
		       iova >> __ffs(domain->pgsize_bitmap));
}

static phys_addr_t fake_iova_to_phys(struct iommu_domain *domain,
				     dma_addr_t iova)
{
	struct fake_pte *pte = fake_iommu_walk(domain, iova);

	return pte ? pte->phys + (iova & (granule_of(domain) - 1)) : 0;
}

/* Granule and aperture are what they are from now on */
static void finalise(struct iommu_domain *domain)
{
	domain->pgsize_bitmap &= ~FAKE_EARLY_PAGE;
	domain->geometry.aperture_end = DMA_BIT_MASK(48);
	domain->geometry.force_aperture = true;
}

static int fake_attach(struct iommu_domain *domain, struct device *dev)
{
	void (*hook)(void) = fake_iommu.on_attach;

	if (fake_iommu.fail_attach) {
		fake_iommu.fail_attach = false;
		return -EIO;
	}
	if (domain->type & __IOMMU_DOMAIN_PAGING) {
		to_fake(domain)->was_attached = true;
		finalise(domain);
	}
	fake_iommu.attached = domain;
	fake_iommu.on_attach = NULL;
	if (hook)
		hook();
	return 0;
}

static void fake_domain_free(struct iommu_domain *domain)
{
	struct fake_domain *fd = to_fake(domain);

	/* Whoever frees a domain must have unmapped its doorbells */
	WARN_ON(!xa_empty(&fd->ptes));
	xa_destroy(&fd->ptes);
	kfree(fd);
}

static struct iommu_domain *fake_domain_alloc(struct device *dev)
{
	struct fake_domain *fd = kzalloc(sizeof(*fd), GFP_KERNEL);

	if (!fd)
		return NULL;
	xa_init(&fd->ptes);
	fd->domain.pgsize_bitmap = fake_iommu.pgsize | FAKE_EARLY_PAGE;
	if (!fake_iommu.finalises_late)
		finalise(&fd->domain);
	return &fd->domain;
}

static void fake_resv_regions(struct device *dev, struct list_head *list)
{
	size_t window = fake_iommu.window_pages * fake_iommu.pgsize;
	const int prot = IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO;
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(FAKE_WINDOW_BASE, window, prot,
					 IOMMU_RESV_SW_MSI, GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
	region = iommu_alloc_resv_region(fake_iommu.hw_msi, SZ_64K, prot,
					 IOMMU_RESV_MSI, GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
	if (!fake_iommu.resv)
		return;
	region = iommu_alloc_resv_region(fake_iommu.resv, fake_iommu.pgsize,
					 IOMMU_READ | IOMMU_WRITE,
					 fake_iommu.resv_type, GFP_KERNEL);
	if (region)
		list_add_tail(&region->list, list);
}

static struct iommu_group *fake_device_group(struct device *dev)
{
	struct iommu_group *group;

	if (fake_iommu.one_group && fake_iommu.group)
		return iommu_group_ref_get(fake_iommu.group);
	group = generic_device_group(dev);
	if (!IS_ERR(group))
		fake_iommu.group = group;
	return group;
}

static struct iommu_device *fake_probe_device(struct device *dev)
{
	return &fake_iommu.iommu;
}

static int fake_def_domain_type(struct device *dev)
{
	return IOMMU_DOMAIN_DMA;
}

struct iommu_domain fake_blocked_domain = {
	.type	= IOMMU_DOMAIN_BLOCKED,
	.ops	= &(const struct iommu_domain_ops) {
		.attach_dev	= fake_attach,
	},
};

struct iommu_domain fake_identity_domain = {
	.type	= IOMMU_DOMAIN_IDENTITY,
	.ops	= &(const struct iommu_domain_ops) {
		.attach_dev	= fake_attach,
	},
};

static const struct iommu_ops fake_iommu_ops = {
	.domain_alloc_paging	= fake_domain_alloc,
	.blocked_domain		= &fake_blocked_domain,
	.identity_domain	= &fake_identity_domain,
	.probe_device		= fake_probe_device,
	.device_group		= fake_device_group,
	.def_domain_type	= fake_def_domain_type,
	.get_resv_regions	= fake_resv_regions,
	.pgsize_bitmap		= SZ_4K | SZ_64K,
	.default_domain_ops	= &(const struct iommu_domain_ops) {
		.attach_dev	= fake_attach,
		.map_pages	= fake_map,
		.unmap_pages	= fake_unmap,
		.iova_to_phys	= fake_iova_to_phys,
		.free		= fake_domain_free,
	},
};

/**
 * fake_iommu_is_empty() - Has a domain no page?
 * @domain: a domain of the fake IOMMU
 *
 * Return: true if so.
 */
bool fake_iommu_is_empty(struct iommu_domain *domain)
{
	return xa_empty(&to_fake(domain)->ptes);
}

/**
 * fake_iommu_leads_to() - The property that the tests are about
 * @address: what a message has for its address
 * @phys: doorbell of that message
 *
 * Return: false if the message, sent now, would reach anything but the doorbell
 * or a fault.
 */
bool fake_iommu_leads_to(u64 address, phys_addr_t phys)
{
	struct iommu_domain *domain = fake_iommu.attached;
	struct fake_pte *pte;

	if (domain->type == IOMMU_DOMAIN_IDENTITY)
		return address == phys;
	if (domain->type == IOMMU_DOMAIN_BLOCKED)
		return true;
	pte = fake_iommu_walk(domain, address);
	return !pte || iommu_iova_to_phys(domain, address) == phys;
}

/**
 * fake_iommu_window_domain() - A domain that maps doorbells in the window
 * @dev: the device that is to be attached
 *
 * Return: the domain, or an error pointer.
 */
struct iommu_domain *fake_iommu_window_domain(struct device *dev)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(dev);
	int ret;

	if (IS_ERR(domain))
		return domain;
	ret = iommu_get_msi_cookie(domain, FAKE_WINDOW_BASE);
	if (ret) {
		iommu_domain_free(domain);
		return ERR_PTR(ret);
	}
	domain->msi_cookie->slots = &fake_iommu.slots;
	return domain;
}

/**
 * fake_iommu_add_device() - Put a device behind the IOMMU, in a DMA domain
 * @dev: the device, registered
 *
 * Return: 0 or an error.
 */
int fake_iommu_add_device(struct device *dev)
{
	int ret;

	scoped_guard(mutex, &iommu_probe_device_lock)
		ret = iommu_fwspec_init(dev, fake_iommu.fwnode);
	ret = ret ?: iommu_probe_device(dev);
	if (ret)
		return ret;
	iommu_get_domain_for_dev(dev)->msi_cookie->slots = &fake_iommu.slots;
	return 0;
}

/**
 * fake_iommu_create() - Register the fake IOMMU
 * @name: how it is called in sysfs
 *
 * Return: 0 or an error, and then there is nothing to destroy.
 */
int fake_iommu_create(const char *name)
{
	int ret;

	fake_iommu = (struct fake_iommu){
		.pgsize		= SZ_4K,
		.window_pages	= FAKE_WINDOW_PAGES,
		.hw_msi		= 0x10000000,
	};
	fake_iommu.fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(fake_iommu.fwnode))
		return PTR_ERR(fake_iommu.fwnode);
	fake_identity_domain.owner = &fake_iommu_ops;
	fake_iommu.iommu.fwnode = fake_iommu.fwnode;
	ret = iommu_device_sysfs_add(&fake_iommu.iommu, NULL, NULL, "%s", name);
	if (ret)
		goto err_fwnode;
	ret = iommu_device_register(&fake_iommu.iommu, &fake_iommu_ops, NULL);
	if (!ret)
		return 0;

	iommu_device_sysfs_remove(&fake_iommu.iommu);
err_fwnode:
	fwnode_remove_software_node(fake_iommu.fwnode);
	return ret;
}

/**
 * fake_iommu_destroy() - Undo fake_iommu_create(), after its device has gone
 */
void fake_iommu_destroy(void)
{
	iommu_device_unregister(&fake_iommu.iommu);
	iommu_device_sysfs_remove(&fake_iommu.iommu);
	fwnode_remove_software_node(fake_iommu.fwnode);
}
