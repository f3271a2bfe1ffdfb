// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI doorbells of devices behind an IOMMU
 *
 * Vocabulary:
 *  doorbell  The physical address that an interrupt controller wants an MSI to
 *	      be written to, and, where a domain translates, the mapping of the
 *	      page around it.
 *  granule   The smallest page of a domain; a doorbell maps one granule.
 *  cookie    The doorbells of one domain. A domain without a cookie does not
 *	      translate MSIs: identity, blocked, or its owner takes care.
 *  binding   Ties an MSI descriptor to the doorbell that its message goes to.
 *
 * Invariants:
 *  - A doorbell page is mapped once in a domain, for writes only. It is mapped
 *    a second time only for a device whose messages cannot hold the first IOVA.
 *  - A doorbell is mapped as long as it has users. It goes with the last one.
 *  - Every prepared MSI is in the list of its device, so that a change of the
 *    group's domain finds it. A PCI device that has a message with an IOVA of a
 *    domain that it has left does not send it: it is held, or suspended with
 *    its MSIs masked or off until it gets the right message. Exceptions are
 *    functions that cannot be held, see pci_msi_hold(), and devices that are
 *    not PCI.
 *  - A device that is held, or has a lost message, is in the list of late
 *    devices, or its group is changing its domain.
 *
 * Lock order:
 *	msi_device_data::mutex
 *	  irq_domain::mutex
 *	    iommu_group::msi_lock	bindings, and the domain they are in
 *	      iommu_msi_cookie::lock	doorbells of one domain
 *	      irq_desc::lock		writing a message
 *	      pci_dev::msi_lock		holding a function back
 *	      late_lock			devices to come back to
 *		RCU			composing a message
 * iommu_group::mutex, under which the group is attached to a domain, is taken
 * outside msi_lock, and never inside the first two: initialising a DMA domain
 * under it waits for CPU hotplug, which drivers may have stopped when they ask
 * for the number of an interrupt. Nothing here waits for the lock of a device,
 * or for that of its config space: pci_msi_get_access() gives up.
 *
 * Composing runs under a raw spinlock with interrupts off. It takes no lock: it
 * reads the doorbell under RCU, and doorbells and cookies are freed after a
 * grace period. A message that was composed with a doorbell that has just been
 * replaced is written again, since the side that replaces stores first and
 * rewrites second; see iommu_msi_commit().
 *
 * A group changes its domain in these steps under its mutex, those in brackets
 * under its MSI lock too. The first holds back the devices' messages, as an
 * IOVA of the old domain may be anything in the new one:
 *	iommu_msi_hold(), attach, iommu_msi_enable(), [iommu_msi_stage() and
 *	iommu_msi_commit() or iommu_msi_unstage()], iommu_msi_resume()
 * Only staging can fail, and then the old domain is attached again. An MSI that
 * is prepared between the first and the third step is bound in the old domain,
 * its device held, and moves too.
 *
 * A message that cannot be written, since the device is being reset or has its
 * memory decoding off, is stale: it is cached, and the device stays held. A
 * message whose doorbell cannot be mapped is lost: all ones. For both the
 * device is late, and a worker comes back to it, as does
 * iommu_dma_refresh_msis().
 */
#define pr_fmt(fmt)	"iommu-msi: " fmt

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "dma-iommu-msi.h"
#include "iommu-priv.h"

#define CREATE_TRACE_POINTS
#include <trace/events/iommu_msi.h>

/* A physical range that the hardware recognises before it translates */
struct iommu_msi_region {
	struct list_head	node;
	phys_addr_t		start;
	phys_addr_t		last;
};

/*
 * What an MSI is bound to when its domain should translate it and cannot. No
 * address is inside, so that composing finds none and says so.
 */
static struct iommu_msi_cookie iommu_msi_nowhere = {
	.lock		= __MUTEX_INITIALIZER(iommu_msi_nowhere.lock),
	.doorbells	= LIST_HEAD_INIT(iommu_msi_nowhere.doorbells),
};

static struct iommu_msi_doorbell iommu_msi_lost = {
	.cookie		= &iommu_msi_nowhere,
};

/* Delays between attempts to help late devices, in jiffies */
#define LATE_DELAY_MIN	(HZ / 50 ?: 1)
#define LATE_DELAY_MAX	HZ

/* Devices with lost or stale messages, and when they are seen to next */
static DEFINE_SPINLOCK(late_lock);
static HLIST_HEAD(late_devices);
static unsigned long late_delay;

static void iommu_msi_late(struct work_struct *work);
static void released(struct device *dev);
static DECLARE_DELAYED_WORK(late_work, iommu_msi_late);

static inline struct msi_desc *msi_to_desc(struct iommu_msi_binding *msi)
{
	return container_of(msi, struct msi_desc, iommu_msi);
}

static inline struct device *msi_to_dev(struct iommu_msi_binding *msi)
{
	return msi_desc_to_dev(msi_to_desc(msi));
}

/* A device's MSIs may be walked, and their doorbells read, in its group */
static inline struct iommu_msi_doorbell *
msi_doorbell(struct iommu_msi_binding *msi)
{
	return rcu_dereference_protected(msi->doorbell, true);
}

static inline bool doorbell_covers(const struct iommu_msi_doorbell *db,
				   phys_addr_t phys)
{
	/* The page is aligned to its size: the difference is the offset */
	return (phys ^ db->phys) < db->size;
}

/* Only the PCI capability is narrower than the address that it is given */
static bool msi_is_narrow(const struct msi_desc *desc)
{
	if (!dev_is_pci(desc->dev))
		return false;
	return to_pci_dev(desc->dev)->no_64bit_msi ||
	       (!desc->pci.msi_attrib.is_msix && !desc->pci.msi_attrib.is_64);
}

/**
 * iommu_msi_limit() - How far a device's MSIs reach
 * @cookie: cookie of the domain
 * @desc: MSI descriptor of the device
 *
 * PCI Express Base 7.7.1.2 makes the upper half of an MSI's address optional.
 *
 * Context: Any context.
 * Return: The last IOVA that the device can write a message to.
 */
u64 iommu_msi_limit(const struct iommu_msi_cookie *cookie,
		    const struct msi_desc *desc)
{
	u64 limit = U64_MAX;

	/* A window is where its owner put it, whatever the DMA mask says */
	if (!cookie->window)
		limit = min_not_zero(dma_get_mask(desc->dev),
				     desc->dev->bus_dma_limit);

	return msi_is_narrow(desc) ? min(limit, DMA_BIT_MASK(32)) : limit;
}

/*
 * Windows
 */

/*
 * The window's owner names its start only. The length is in the reserved region
 * of the device. 0 if there is no such region, or no memory to tell.
 */
static dma_addr_t window_last(struct iommu_msi_cookie *cookie,
			      struct device *dev)
{
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	dma_addr_t last = 0;

	iommu_get_resv_regions(dev, &regions);
	list_for_each_entry(region, &regions, list) {
		if (region->type == IOMMU_RESV_SW_MSI &&
		    region->start == cookie->window_base)
			last = region->start + region->length - 1;
	}
	iommu_put_resv_regions(dev, &regions);
	return last;
}

static bool window_used(const struct iommu_msi_cookie *cookie, dma_addr_t iova)
{
	const struct iommu_msi_doorbell *db;

	list_for_each_entry(db, &cookie->doorbells, node) {
		if (db->iova == iova)
			return true;
	}
	return false;
}

static int window_alloc(struct iommu_msi_cookie *cookie, struct device *dev,
			struct iommu_msi_doorbell *db, u64 limit)
{
	dma_addr_t iova = ALIGN(cookie->window_base, db->size);
	dma_addr_t last;

	if (!cookie->window_last)
		cookie->window_last = window_last(cookie, dev);

	last = min_t(u64, cookie->window_last, limit);
	for (; iova <= last && last - iova >= db->size - 1; iova += db->size) {
		if (!window_used(cookie, iova)) {
			db->iova = iova;
			return 0;
		}
	}
	return -ENOSPC;
}

/*
 * Doorbells
 */

static int doorbell_alloc_iova(struct iommu_msi_cookie *cookie,
			       struct device *dev,
			       struct iommu_msi_doorbell *db, u64 limit)
{
	if (cookie->window)
		return window_alloc(cookie, dev, db, limit);

	db->iova = iommu_dma_msi_alloc_iova(cookie->domain, db->size, limit,
					    dev);
	return db->iova ? 0 : -ENOSPC;
}

static void doorbell_free_iova(struct iommu_msi_cookie *cookie,
			       struct iommu_msi_doorbell *db)
{
	/* A window's IOVA is in use as long as its doorbell is in the list */
	if (!cookie->window)
		iommu_dma_msi_free_iova(cookie->domain, db->iova, db->size);
}

static struct iommu_msi_doorbell *
doorbell_map(struct iommu_msi_cookie *cookie, struct device *dev,
	     phys_addr_t phys, u64 limit)
{
	const int prot = IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO;
	struct iommu_msi_doorbell *db;
	int ret;

	lockdep_assert_held(&cookie->lock);

	db = kzalloc(sizeof(*db), GFP_KERNEL);
	if (!db)
		return ERR_PTR(-ENOMEM);

	db->cookie = cookie;
	db->size = BIT(__ffs(cookie->domain->pgsize_bitmap));
	db->phys = ALIGN_DOWN(phys, db->size);
	ret = doorbell_alloc_iova(cookie, dev, db, limit);
	if (ret)
		goto err_free;

	ret = iommu_map(cookie->domain, db->iova, db->phys, db->size, prot,
			GFP_KERNEL);
	if (ret)
		goto err_free_iova;

	list_add_rcu(&db->node, &cookie->doorbells);
	trace_iommu_msi_map(dev, cookie->id, db->phys, db->iova, db->size);
	return db;

err_free_iova:
	doorbell_free_iova(cookie, db);
err_free:
	kfree(db);
	return ERR_PTR(ret);
}

static void doorbell_unmap(struct iommu_msi_doorbell *db)
{
	struct iommu_msi_cookie *cookie = db->cookie;

	lockdep_assert_held(&cookie->lock);

	list_del_rcu(&db->node);
	WARN_ON(iommu_unmap(cookie->domain, db->iova, db->size) != db->size);
	doorbell_free_iova(cookie, db);
	kfree_rcu(db, rcu);
}

static struct iommu_msi_doorbell *
doorbell_find(const struct iommu_msi_cookie *cookie, phys_addr_t phys,
	      u64 limit)
{
	struct iommu_msi_doorbell *db;

	list_for_each_entry_rcu(db, &cookie->doorbells, node,
				lockdep_is_held(&cookie->lock)) {
		if (doorbell_covers(db, phys) &&
		    db->iova <= limit && limit - db->iova >= db->size - 1)
			return db;
	}
	return NULL;
}

static bool region_covers(const struct iommu_msi_cookie *cookie,
			  phys_addr_t phys)
{
	const struct iommu_msi_region *region;

	lockdep_assert_held(&cookie->lock);

	list_for_each_entry(region, &cookie->regions, node) {
		if (phys >= region->start && phys <= region->last)
			return true;
	}
	return false;
}

/*
 * Get a doorbell for one more user, mapped if need be. NULL if the message
 * passes @domain as it is, or @domain lets nothing pass. The caller holds the
 * MSI lock of the device's group.
 */
static struct iommu_msi_doorbell *
doorbell_get(struct iommu_domain *domain, struct msi_desc *desc,
	     phys_addr_t phys)
{
	struct iommu_msi_cookie *cookie;
	struct iommu_msi_doorbell *db;
	unsigned int flags;
	u64 limit;

	/* Pairs with smp_store_release() in cookie_publish() */
	cookie = domain ? smp_load_acquire(&domain->msi_cookie) : NULL;
	if (!cookie)
		return NULL;
	if (!READ_ONCE(cookie->ready))
		return ERR_PTR(-EFAULT);

	limit = iommu_msi_limit(cookie, desc);
	guard(mutex)(&cookie->lock);

	db = doorbell_find(cookie, phys, limit);
	if (!db) {
		if (region_covers(cookie, phys))
			return NULL;
		/* Restoring a disk's messages may wait for the MSI lock */
		flags = memalloc_noio_save();
		db = doorbell_map(cookie, desc->dev, phys, limit);
		memalloc_noio_restore(flags);
	}
	if (!IS_ERR(db))
		db->users++;
	return db;
}

/* The counterpart of doorbell_get(): @dev uses @db no more */
static void doorbell_put(struct iommu_msi_doorbell *db, struct device *dev)
{
	if (IS_ERR_OR_NULL(db) || db == &iommu_msi_lost)
		return;

	guard(mutex)(&db->cookie->lock);
	if (--db->users)
		return;
	trace_iommu_msi_unmap(dev, db->cookie->id, db->phys, db->iova,
			      db->size);
	doorbell_unmap(db);
}

/*
 * Bindings
 */

/* Hand the reference that doorbell_get() gave to @msi; its old one goes back */
static void msi_bind(struct iommu_msi_binding *msi,
		     struct iommu_msi_doorbell *db)
{
	struct iommu_msi_doorbell *old = msi_doorbell(msi);

	if (old) {
		scoped_guard(mutex, &old->cookie->lock)
			hlist_del_init(&msi->user);
	}
	if (db) {
		scoped_guard(mutex, &db->cookie->lock)
			hlist_add_head(&msi->user, &db->msis);
	}
	/* Pairs with rcu_dereference() in iommu_dma_compose_msi_msg() */
	rcu_assign_pointer(msi->doorbell, db);
}

static void msi_unlink(struct iommu_msi_binding *msi)
{
	struct iommu_msi_doorbell *old = msi_doorbell(msi);

	msi_bind(msi, NULL);
	doorbell_put(old, msi_to_dev(msi));
	hlist_del_init(&msi->node);
	/* Pairs with iommu_dma_release_msi(), which may free the descriptor */
	smp_store_release(&msi->prepared, false);
}

/* The caller holds the MSI lock of the group, so @dev has not left it */
static struct iommu_device_msis *dev_msis(struct device *dev)
{
	iommu_msi_assert_locked(dev);
	return &dev->iommu->msi;
}

static void hold_device(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);

	if (!dev_is_pci(dev)) {
		msis->lossy = true;
	} else if (!msis->held) {
		msis->held = true;
		pci_msi_hold(to_pci_dev(dev));
	}
}

/**
 * iommu_dma_prepare_msi() - Map the doorbell of an MSI in its device's domain
 * @desc: MSI descriptor that is being allocated
 * @msi_addr: physical address that the device must write to
 *
 * Called by an interrupt controller driver when it allocates the interrupts of
 * @desc. The page around @msi_addr becomes writable for the device at an IOVA
 * that fits in the device's DMA mask and in its MSI capability's address. The
 * binding lasts until iommu_dma_release_msi(), and follows the device to other
 * domains. A descriptor that is prepared again is first released.
 *
 * Does nothing, with success, for a device that no IOMMU translates.
 *
 * Context: Process context, may sleep. Takes the MSI lock of the device's
 *	    group, so the domain can neither change nor vanish meanwhile. The
 *	    caller must be in the driver's probe or later, and before its
 *	    remove.
 * Return: 0, or %-ENOMEM: no memory for the book-keeping or the page table;
 *	   %-ENOSPC: no IOVA left below the device's limit or in the window;
 *	   %-EFAULT: the DMA domain is not initialised, as it does not suit
 *	   this device, or for want of memory when it was attached;
 *	   or what the IOMMU driver's map_pages() returned.
 */
int iommu_dma_prepare_msi(struct msi_desc *desc, phys_addr_t msi_addr)
{
	struct iommu_msi_binding *msi = &desc->iommu_msi;
	struct iommu_msi_doorbell *db;
	struct iommu_device_msis *msis;
	struct iommu_domain *domain;
	struct iommu_group *group;
	int ret = 0;

	group = iommu_msi_lock(desc->dev, &domain);
	if (!group)
		return 0;

	if (msi->prepared)
		msi_unlink(msi);

	db = doorbell_get(domain, desc, msi_addr);
	if (IS_ERR(db)) {
		ret = PTR_ERR(db);
		goto out_unlock;
	}

	msi->phys = msi_addr;
	msi->moved = false;
	msi->deaf = false;
	msi->stale = false;
	msi->prepared = true;
	msis = dev_msis(desc->dev);
	hlist_add_head(&msi->node, &msis->bindings);
	msi_bind(msi, db);

	if (dev_is_pci(desc->dev))
		pci_msi_may_hold(to_pci_dev(desc->dev));
	/* The domain is about to change: what we have bound moves with it */
	if (msis->moving)
		hold_device(desc->dev);

out_unlock:
	iommu_msi_unlock(group);
	return ret;
}

/**
 * iommu_dma_release_msi() - Give back what iommu_dma_prepare_msi() took
 * @desc: MSI descriptor whose interrupts are deactivated or never were active
 *
 * The doorbell is unmapped if nobody else uses it. Harmless on a descriptor
 * that was never prepared, or twice.
 *
 * Context: Process context, may sleep. Takes the MSI lock of the device's
 *	    group.
 */
void iommu_dma_release_msi(struct msi_desc *desc)
{
	struct iommu_msi_binding *msi = &desc->iommu_msi;
	struct iommu_domain *domain;
	struct iommu_group *group;

	/* Pairs with smp_store_release() in msi_unlink() */
	if (!smp_load_acquire(&msi->prepared))
		return;

	group = iommu_msi_lock(desc->dev, &domain);
	if (!group)
		return;
	/* The device may have left its group before we had the lock */
	if (msi->prepared) {
		msi_unlink(msi);
		released(desc->dev);
	}
	iommu_msi_unlock(group);
}

/*
 * The message's address is not in the page that was prepared. Another doorbell
 * of the same domain will do, as long as those who have prepared it keep it: it
 * is not counted for this interrupt. Without one, nothing that the device could
 * write to is an interrupt.
 */
static noinline const struct iommu_msi_doorbell *
compose_slow(const struct msi_desc *desc, const struct iommu_msi_doorbell *db,
	     phys_addr_t phys)
{
	db = doorbell_find(db->cookie, phys, iommu_msi_limit(db->cookie, desc));
	if (db)
		return db;

	trace_iommu_msi_compose_fail(desc->dev, desc->irq, phys);
	dev_warn_ratelimited(desc->dev,
			     "MSI doorbell %pap has no IOVA, interrupt %u is lost\n",
			     &phys, desc->irq);
	return NULL;
}

/**
 * iommu_dma_compose_msi_msg() - Translate the address of an MSI message
 * @desc: MSI descriptor, prepared by iommu_dma_prepare_msi()
 * @msg: message with the doorbell's physical address
 *
 * Replaces the address by the IOVA of the doorbell, the offset in the page
 * kept. Leaves @msg alone where the device's domain does not translate. Where
 * there should be an IOVA and is none, the device gets an address and data of
 * all ones, and the log a warning.
 *
 * Context: Any context. Takes no lock.
 */
void iommu_dma_compose_msi_msg(struct msi_desc *desc, struct msi_msg *msg)
{
	const struct iommu_msi_doorbell *db;
	phys_addr_t phys;
	u64 iova;

	guard(rcu)();
	/* Pairs with rcu_assign_pointer() in msi_bind() */
	db = rcu_dereference(desc->iommu_msi.doorbell);
	if (!db)
		return;

	phys = ((u64)msg->address_hi << 32) | msg->address_lo;
	if (unlikely(!doorbell_covers(db, phys))) {
		db = compose_slow(desc, db, phys);
		if (!db) {
			*msg = (struct msi_msg){ .address_lo = ~0U,
						 .address_hi = ~0U,
						 .data = ~0U };
			return;
		}
	}

	iova = db->iova + (phys & (db->size - 1));
	msg->address_hi = upper_32_bits(iova);
	msg->address_lo = lower_32_bits(iova);
}

/**
 * iommu_dma_msi_moved() - Has a descriptor's domain changed since its prepare?
 * @desc: MSI descriptor whose message has just been written
 *
 * A domain change rewrites the messages of activated interrupts, and skips
 * others as they will be composed later. Whoever activates an interrupt, or
 * writes a copy of its message, outside of irq_desc::lock asks here afterwards,
 * and calls msi_irq_rewrite() if so: either it sees the change, or the change
 * sees that the interrupt is active and writes last.
 *
 * Context: Any context.
 * Return: True if the message may have been composed for the former domain.
 */
bool iommu_dma_msi_moved(const struct msi_desc *desc)
{
	/* Pairs with smp_mb() in msi_commit() */
	smp_mb();
	return READ_ONCE(desc->iommu_msi.moved);
}
EXPORT_SYMBOL_GPL(iommu_dma_msi_moved);

/*
 * Moving a group to another domain
 */

/**
 * iommu_msi_enable() - Make a domain able to map doorbells
 * @domain: domain that has just been attached
 * @dev: device in the group
 *
 * Only a DMA domain that has not been used yet needs this. Without success,
 * preparing an MSI in the domain fails, until it is called again for it.
 *
 * Context: Process context, may sleep, under the mutex of the device's group
 *	    and outside its MSI lock. Takes locks of CPU hotplug.
 */
void iommu_msi_enable(struct iommu_domain *domain, struct device *dev)
{
	struct iommu_msi_cookie *cookie = domain->msi_cookie;

	if (cookie && !cookie->ready && !iommu_dma_msi_init_domain(domain, dev))
		WRITE_ONCE(cookie->ready, true);
}

/* Its registers cannot be reached, or not for sure, while it is suspended */
static void wake_device(struct device *dev)
{
	struct iommu_domain *domain;
	struct iommu_group *group;
	bool live;

	group = iommu_msi_lock(dev, &domain);
	if (!group)
		return;
	live = dev_is_pci(dev) && !hlist_empty(&dev_msis(dev)->bindings);
	iommu_msi_unlock(group);

	/*
	 * Not under the MSI lock: resuming restores messages, and takes it.
	 * Under the mutex, which is taken where devices are added: a port that
	 * adds one is kept awake meanwhile, so nothing is resumed here then.
	 */
	if (live)
		dev->iommu->msi.awake = pm_runtime_resume_and_get(dev) >= 0;
}

/**
 * iommu_msi_hold() - Keep a device from sending MSIs while its domain changes
 * @dev: device in the group
 *
 * What is held back is delivered or made up for in iommu_msi_resume(), which
 * has to follow; see pci_msi_hold(). A device that is not PCI goes on. One that
 * has no MSI yet is held when it prepares its first. A PCI device that is
 * suspended at run time is resumed; whoever has a driver that uses no DMA API,
 * and so may be bound now, must be ready for that.
 *
 * Context: Process context, may sleep, under the mutex of the device's group
 *	    and outside its MSI lock.
 */
void iommu_msi_hold(struct device *dev)
{
	struct iommu_device_msis *msis;
	struct iommu_domain *domain;
	struct iommu_group *group;

	wake_device(dev);

	group = iommu_msi_lock(dev, &domain);
	if (!group)
		return;
	msis = dev_msis(dev);
	msis->moving = true;
	if (!hlist_empty(&msis->bindings))
		hold_device(dev);
	iommu_msi_unlock(group);
}

/**
 * iommu_msi_stage() - Map the doorbells of a device in the domain it moves to
 * @dev: device in the group
 * @domain: the new domain, attached
 *
 * Context: Process context, may sleep, under the MSI lock of the device's
 *	    group.
 * Return: 0, or an error of iommu_dma_prepare_msi(). The caller must go on to
 *	   iommu_msi_commit() or iommu_msi_unstage() in any case.
 */
int iommu_msi_stage(struct device *dev, struct iommu_domain *domain)
{
	struct iommu_msi_binding *msi;
	int ret = 0;

	hlist_for_each_entry(msi, &dev_msis(dev)->bindings, node) {
		msi->next = doorbell_get(domain, msi_to_desc(msi), msi->phys);
		if (!IS_ERR(msi->next))
			continue;
		ret = PTR_ERR(msi->next);
		dev_warn_ratelimited(dev,
				     "cannot map MSI doorbell %pap: %d\n",
				     &msi->phys, ret);
	}
	return ret;
}

/**
 * iommu_msi_unstage() - Undo iommu_msi_stage(), the device stays where it was
 * @dev: device in the group
 *
 * Context: Process context, may sleep, under the MSI lock of the device's
 *	    group.
 */
void iommu_msi_unstage(struct device *dev)
{
	struct iommu_msi_binding *msi;

	hlist_for_each_entry(msi, &dev_msis(dev)->bindings, node) {
		doorbell_put(msi->next, dev);
		msi->next = NULL;
	}
}

static dma_addr_t msi_iova(const struct iommu_msi_binding *msi,
			   const struct iommu_msi_doorbell *db)
{
	return db && db->size ? db->iova + (msi->phys & (db->size - 1)) :
				msi->phys;
}

/* Could the device interrupt in @domain, with the doorbell that it had? */
static bool msi_was_deaf(const struct iommu_domain *domain,
			 const struct iommu_msi_doorbell *db)
{
	if (db)
		return db == &iommu_msi_lost;
	return domain && !domain->msi_cookie &&
	       domain->type != IOMMU_DOMAIN_IDENTITY;
}

static void begin_writing(struct device *dev)
{
	if (dev_is_pci(dev))
		dev_msis(dev)->access = pci_msi_get_access(to_pci_dev(dev));
}

static void end_writing(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);

	if (msis->access)
		pci_msi_put_access(to_pci_dev(dev));
	msis->access = false;
}

/*
 * Compose the message again, and write it if that is possible. What is cached
 * here is all that a suspended device needs, see pci_msi_is_saved().
 */
static void msi_write(struct iommu_msi_binding *msi)
{
	struct msi_desc *desc = msi_to_desc(msi);
	bool write;

	if (!dev_is_pci(desc->dev)) {
		msi_desc_rewrite(desc, true);
		return;
	}
	write = dev_msis(desc->dev)->access && pci_msi_writable(desc);
	msi_desc_rewrite(desc, write);
	/* Still? Not everybody who changes the power state knows of us. */
	write = write && pci_msi_writable(desc);
	msi->stale = !write && !pci_msi_is_saved(to_pci_dev(desc->dev));
}

static void msi_commit(struct iommu_msi_binding *msi,
		       struct iommu_domain *old_domain)
{
	struct iommu_msi_doorbell *old = msi_doorbell(msi);
	struct msi_desc *desc = msi_to_desc(msi);
	struct iommu_msi_doorbell *new = msi->next;

	msi->next = NULL;
	if (IS_ERR(new))
		new = &iommu_msi_lost;
	msi->deaf |= msi_was_deaf(old_domain, old);
	msi_bind(msi, new);
	WRITE_ONCE(msi->moved, true);
	/*
	 * Pairs with smp_mb() in iommu_dma_msi_moved(). If the interrupt is not
	 * seen to be active below, then whoever activates it sees the move.
	 */
	smp_mb();
	msi_write(msi);
	trace_iommu_msi_rebind(desc->dev, desc->irq, msi->phys,
			       msi_iova(msi, old), msi_iova(msi, new));
	/* The device does not know the old IOVA any more, or does not use it */
	doorbell_put(old, desc->dev);
}

/**
 * iommu_msi_commit() - Rewrite a device's MSIs for the domain it has moved to
 * @dev: device in the group, staged
 * @old_domain: the domain that the MSIs come from, NULL if there was none
 *
 * An MSI whose doorbell could not be staged is lost, until the domain changes
 * again or the doorbell can be mapped after all. A message that the device
 * cannot be given now is stale, and the device held until it has it. Both are
 * tried again, see iommu_dma_refresh_msis().
 *
 * Context: Process context, may sleep, under the MSI lock of the device's
 *	    group. Takes irq_desc::lock of the interrupts.
 */
void iommu_msi_commit(struct device *dev, struct iommu_domain *old_domain)
{
	struct iommu_device_msis *msis = dev_msis(dev);
	struct iommu_msi_binding *msi;

	if (hlist_empty(&msis->bindings))
		return;
	begin_writing(dev);
	hlist_for_each_entry(msi, &msis->bindings, node)
		msi_commit(msi, old_domain);
	end_writing(dev);
}

/*
 * Late devices
 */

static void late_add(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);

	spin_lock(&late_lock);
	msis->dev = dev;
	if (!msis->gone && hlist_unhashed(&msis->late))
		hlist_add_head(&msis->late, &late_devices);
	spin_unlock(&late_lock);
}

static void late_del(struct device *dev)
{
	spin_lock(&late_lock);
	hlist_del_init(&dev_msis(dev)->late);
	spin_unlock(&late_lock);
}

/* Something has just become late: do not wait for as long as for the others */
static void late_soon(void)
{
	spin_lock(&late_lock);
	late_delay = LATE_DELAY_MIN;
	mod_delayed_work(system_freezable_wq, &late_work, late_delay);
	spin_unlock(&late_lock);
}

/* Takes two references. The device stays in the list until it has settled. */
static struct device *late_next(struct hlist_head *todo,
				struct iommu_group **group)
{
	struct iommu_device_msis *msis;
	struct device *dev = NULL;

	spin_lock(&late_lock);
	msis = hlist_entry_safe(todo->first, struct iommu_device_msis, late);
	if (msis) {
		hlist_del(&msis->late);
		hlist_add_head(&msis->late, &late_devices);
		/* A device leaves the list before it leaves its group */
		*group = iommu_group_get(msis->dev);
		dev = get_device(msis->dev);
	}
	spin_unlock(&late_lock);
	return dev;
}

static void unhold_device(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);
	struct iommu_msi_binding *msi;

	if (msis->held && !pci_msi_resume(to_pci_dev(dev), &msis->lossy))
		return;
	msis->held = false;
	hlist_for_each_entry(msi, &msis->bindings, node) {
		/* Did it send, or want to send, what nobody received? */
		if (msi->deaf || msis->lossy)
			msi_desc_retrigger(msi_to_desc(msi));
		msi->deaf = false;
	}
	msis->lossy = false;
}

static struct iommu_msi_binding *first_stale(struct iommu_device_msis *msis)
{
	struct iommu_msi_binding *msi;

	hlist_for_each_entry(msi, &msis->bindings, node) {
		if (msi->stale)
			return msi;
	}
	return NULL;
}

static bool has_lost(struct iommu_device_msis *msis)
{
	struct iommu_msi_binding *msi;

	hlist_for_each_entry(msi, &msis->bindings, node) {
		if (msi_doorbell(msi) == &iommu_msi_lost)
			return true;
	}
	return false;
}

static void write_stale(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);
	struct iommu_msi_binding *msi = first_stale(msis);

	if (!msi)
		return;
	/* Resets fail as long as there is access: not for nothing */
	if (pci_msi_writable(msi_to_desc(msi)))
		begin_writing(dev);
	hlist_for_each_entry(msi, &msis->bindings, node) {
		if (msi->stale)
			msi_write(msi);
	}
	/* Before user space can switch memory on: VFIO asks afterwards */
	if (first_stale(msis))
		late_add(dev);
	end_writing(dev);
}

/*
 * Let the device go if it has all of its messages. Return: true if there is
 * something left to do, and the device is in the list of those that are late.
 */
static bool settle_device(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);

	if (!first_stale(msis))
		unhold_device(dev);

	if (!msis->held && !first_stale(msis) && !has_lost(msis)) {
		late_del(dev);
		return false;
	}
	late_add(dev);
	return true;
}

/* A lost message has no address to send to, so there is nothing to hold back */
static void repair_msi(struct iommu_msi_binding *msi,
		       struct iommu_domain *domain)
{
	struct iommu_msi_doorbell *db;

	if (msi_doorbell(msi) != &iommu_msi_lost)
		return;
	db = doorbell_get(domain, msi_to_desc(msi), msi->phys);
	if (IS_ERR(db))
		return;
	msi->next = db;
	msi_commit(msi, domain);
}

/* An MSI less: the device may have waited for just that */
static void released(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);

	if (!msis->moving && !hlist_unhashed(&msis->late) && !first_stale(msis))
		settle_device(dev);
}

static void refresh_device(struct device *dev)
{
	struct iommu_device_msis *msis;
	struct iommu_msi_binding *msi;
	struct iommu_domain *domain;
	struct iommu_group *group;

	group = iommu_msi_lock(dev, &domain);
	if (!group)
		return;

	msis = dev_msis(dev);
	/* If the domain is changing, iommu_msi_resume() sees to everything */
	if (!msis->moving) {
		if (has_lost(msis)) {
			begin_writing(dev);
			hlist_for_each_entry(msi, &msis->bindings, node)
				repair_msi(msi, domain);
			end_writing(dev);
		}
		write_stale(dev);
		settle_device(dev);
	}
	iommu_msi_unlock(group);
}

static void iommu_msi_late(struct work_struct *work)
{
	struct iommu_group *group;
	struct device *dev;
	HLIST_HEAD(todo);

	spin_lock(&late_lock);
	hlist_move_list(&late_devices, &todo);
	spin_unlock(&late_lock);

	while ((dev = late_next(&todo, &group))) {
		refresh_device(dev);
		iommu_group_put(group);
		put_device(dev);
	}

	spin_lock(&late_lock);
	if (!hlist_empty(&late_devices)) {
		queue_delayed_work(system_freezable_wq, &late_work, late_delay);
		late_delay = min(2 * late_delay, LATE_DELAY_MAX);
	}
	spin_unlock(&late_lock);
}

/**
 * iommu_dma_refresh_msis() - Write messages that could not be written before
 * @dev: the device, which now can be written to
 *
 * When the domain of a device changes, its messages are written to it. If its
 * memory decoding is off, or it is not in D0, they cannot be, and the device is
 * kept from sending. Whoever is responsible for such a state calls this when it
 * has ended, rather than have the device wait for up to a second for the next
 * attempt. Costs next to nothing if there is nothing to do.
 *
 * Context: Process context, may sleep. Takes the MSI lock of the device's
 *	    group.
 *	    Not under pci_cfg_access_lock() of @dev.
 */
void iommu_dma_refresh_msis(struct device *dev)
{
	if (dev->iommu && !hlist_unhashed_lockless(&dev->iommu->msi.late))
		refresh_device(dev);
}
EXPORT_SYMBOL_GPL(iommu_dma_refresh_msis);

/**
 * iommu_dma_lock_msis() - Keep the messages of a device as they are
 * @dev: the device
 *
 * For a moment in which nobody may write to the MSI-X table of the device,
 * since its memory decoding is being switched off. Whoever holds this lock does
 * not wait for a reset, or for the lock of a device.
 *
 * Context: Process context, may sleep. Takes the MSI lock of the device's
 *	    group.
 * Return: what to pass to iommu_dma_unlock_msis(), may be NULL.
 */
struct iommu_group *iommu_dma_lock_msis(struct device *dev)
{
	struct iommu_domain *domain;

	return iommu_msi_lock(dev, &domain);
}
EXPORT_SYMBOL_GPL(iommu_dma_lock_msis);

/**
 * iommu_dma_unlock_msis() - Undo iommu_dma_lock_msis()
 * @group: what it returned
 *
 * Context: Process context.
 */
void iommu_dma_unlock_msis(struct iommu_group *group)
{
	if (group)
		iommu_msi_unlock(group);
}
EXPORT_SYMBOL_GPL(iommu_dma_unlock_msis);

/**
 * iommu_msi_resume() - Let a device send MSIs again
 * @dev: device in the group
 *
 * Interrupts that the device may have lost are triggered once: drivers cope
 * with a spurious interrupt, but not with one that is missing. A device that
 * has a stale message stays held until it has been written.
 *
 * Context: Process context, may sleep, under the mutex of the device's group
 *	    and outside its MSI lock.
 */
void iommu_msi_resume(struct device *dev)
{
	struct iommu_device_msis *msis;
	struct iommu_domain *domain;
	struct iommu_group *group;

	group = iommu_msi_lock(dev, &domain);
	if (!group)
		return;
	msis = dev_msis(dev);
	msis->moving = false;
	write_stale(dev);
	if (settle_device(dev))
		late_soon();
	if (msis->awake)
		pm_runtime_put(dev);
	msis->awake = false;
	iommu_msi_unlock(group);
}

/**
 * iommu_msi_release_device() - Forget the MSIs of a device without IOMMU
 * @dev: device that is about to leave its group
 *
 * Context: Process context, may sleep, under the MSI lock of the device's
 *	    group.
 */
void iommu_msi_release_device(struct device *dev)
{
	struct iommu_device_msis *msis = dev_msis(dev);
	struct iommu_msi_binding *msi;
	struct hlist_node *tmp;

	hlist_for_each_entry_safe(msi, tmp, &msis->bindings, node)
		msi_unlink(msi);
	/* The worker may have it in its hands: it must not come back */
	msis->gone = true;
	if (msis->held)
		pci_msi_resume(to_pci_dev(dev), NULL);
	msis->held = false;
	late_del(dev);
}

/*
 * Cookies
 */

static struct iommu_msi_cookie *cookie_create(struct iommu_domain *domain)
{
	static atomic_t last_id = ATOMIC_INIT(0);
	struct iommu_msi_cookie *cookie;

	cookie = kzalloc(sizeof(*cookie), GFP_KERNEL);
	if (!cookie)
		return NULL;

	mutex_init(&cookie->lock);
	cookie->domain = domain;
	cookie->id = atomic_inc_return(&last_id);
	INIT_LIST_HEAD(&cookie->doorbells);
	INIT_LIST_HEAD(&cookie->regions);
	return cookie;
}

static void cookie_publish(struct iommu_msi_cookie *cookie)
{
	iommu_msi_debugfs_add(cookie);
	/* Pairs with smp_load_acquire() in doorbell_get() */
	smp_store_release(&cookie->domain->msi_cookie, cookie);
}

/**
 * iommu_msi_cookie_create() - Let a DMA domain map doorbells
 * @domain: DMA domain that has no MSI cookie
 *
 * IOVAs will come from the DMA API's allocator.
 *
 * Context: Process context, may sleep.
 * Return: 0, or %-ENOMEM.
 */
int iommu_msi_cookie_create(struct iommu_domain *domain)
{
	struct iommu_msi_cookie *cookie = cookie_create(domain);

	if (!cookie)
		return -ENOMEM;
	cookie_publish(cookie);
	return 0;
}

/**
 * iommu_get_msi_cookie() - Let an unmanaged domain map doorbells in a window
 * @domain: unmanaged domain
 * @base: first IOVA of the window
 *
 * For users who manage the IOVA space of their domain, yet want MSIs to work.
 * They keep the devices' %IOMMU_RESV_SW_MSI region free and pass its start. To
 * call this before the domain is attached keeps MSIs alive that devices in the
 * group already use.
 *
 * The window ends where that region ends, and a doorbell outside is refused.
 * The first device that needs a doorbell in the domain tells where that is;
 * until one does that has such a region, any doorbell is refused.
 *
 * Context: Process context, may sleep. The caller serialises with the use of
 *	    the domain.
 * Return: 0, or %-EINVAL: @domain is not unmanaged; %-EEXIST: it has a cookie;
 *	   %-ENOMEM: no memory; %-ENODEV: the kernel has no CONFIG_IOMMU_DMA.
 */
int iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base)
{
	struct iommu_msi_cookie *cookie;

	if (domain->type != IOMMU_DOMAIN_UNMANAGED)
		return -EINVAL;
	if (domain->msi_cookie)
		return -EEXIST;

	cookie = cookie_create(domain);
	if (!cookie)
		return -ENOMEM;

	cookie->window = true;
	cookie->window_base = base;
	cookie->ready = true;
	cookie_publish(cookie);
	return 0;
}
EXPORT_SYMBOL(iommu_get_msi_cookie);

/* Its users would find freed memory otherwise; their messages are stale now */
static void doorbell_abandon(struct iommu_msi_doorbell *db)
{
	struct iommu_msi_binding *msi;
	struct hlist_node *tmp;

	hlist_for_each_entry_safe(msi, tmp, &db->msis, user) {
		hlist_del_init(&msi->user);
		RCU_INIT_POINTER(msi->doorbell, NULL);
	}
	doorbell_unmap(db);
}

/**
 * iommu_msi_cookie_destroy() - Release the doorbells of a domain
 * @domain: domain that no group is attached to; it may have no cookie
 *
 * Context: Process context, may sleep.
 */
void iommu_msi_cookie_destroy(struct iommu_domain *domain)
{
	struct iommu_msi_cookie *cookie = domain->msi_cookie;
	struct iommu_msi_region *region, *region_next;
	struct iommu_msi_doorbell *db, *db_next;

	if (!cookie)
		return;

	iommu_msi_debugfs_del(cookie);
	/* Every user has moved on when its group did */
	WARN_ON(!list_empty(&cookie->doorbells));
	scoped_guard(mutex, &cookie->lock) {
		list_for_each_entry_safe(db, db_next, &cookie->doorbells, node)
			doorbell_abandon(db);
	}
	list_for_each_entry_safe(region, region_next, &cookie->regions, node)
		kfree(region);
	domain->msi_cookie = NULL;
	kfree_rcu(cookie, rcu);
}

/**
 * iommu_msi_add_region() - Say where the hardware does not translate MSIs
 * @domain: DMA domain
 * @start: first physical address of the device's %IOMMU_RESV_MSI region
 * @length: length of the region in bytes, not 0
 *
 * Messages to a doorbell in the region pass as they are.
 *
 * Context: Process context, may sleep.
 * Return: 0, or %-ENOMEM.
 */
int iommu_msi_add_region(struct iommu_domain *domain, phys_addr_t start,
			 size_t length)
{
	struct iommu_msi_cookie *cookie = domain->msi_cookie;
	struct iommu_msi_region *region;

	region = kzalloc(sizeof(*region), GFP_KERNEL);
	if (!region)
		return -ENOMEM;

	region->start = start;
	region->last = start + length - 1;
	guard(mutex)(&cookie->lock);
	list_add(&region->node, &cookie->regions);
	return 0;
}
