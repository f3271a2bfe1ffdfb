// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI doorbells of devices behind an IOMMU
 *
 * Vocabulary:
 *  doorbell  The physical address that an interrupt controller wants an MSI to
 *	      be written to, and, where a domain translates, the mapping of the
 *	      page around it.
 *  granule   The smallest page of a domain; a doorbell maps one granule.
 *  window    The IOVAs that an IOMMU driver sets aside for doorbells, a region
 *	      of type IOMMU_RESV_SW_MSI: with Arm's SMMUs 1 MiB at 0x8000000.
 *  slot      The place of a doorbell's page in all windows of the machine.
 *  cookie    The doorbells of one domain. A domain without a cookie does not
 *	      translate MSIs: identity, blocked, or its owner takes care.
 *  binding   Ties an MSI descriptor to its doorbell.
 *
 * Invariants:
 *  - A doorbell's page has one IOVA, the same in every domain that has the
 *    window: the window's start and its slot. A slot is taken for good. So no
 *    message changes when its device moves between such domains.
 *  - In a domain a page is mapped once, for writes only, from its first use
 *    until the domain is freed. It is mapped a second time only for a device
 *    that does not reach the first IOVA. Nobody else gets such an IOVA: the DMA
 *    API reserves the window, and does not get back what it gave outside of it.
 *    (A device that joins a DMA domain in use, and has a window or a region of
 *    its own, has it reserved against later buffers only.)
 *  - What a device may send leads, in the domain that it is attached to, to its
 *    doorbell or to a fault. See dma-iommu-msi-move.c for how that is kept up.
 *  - Where the window does not serve (a granule larger than a page, a DMA mask
 *    below it, a host bridge that would keep the message, another region inside
 *    it, all slots taken), a DMA domain uses an IOVA of its own, and the owner
 *    of another domain gets an error.
 *
 * Who may change a message: prepare, before the interrupt is active, and
 * iommu_msi_finish(), for a device that is held or sends nothing.
 *
 * Lock order:
 *	iommu_group::mutex, iommu_dma_cookie::mutex
 *	msi_device_data::mutex, irq_domain::mutex
 *	  iommu_msi_lock	everything here, and which domain MSIs are
 *				prepared for
 *	    irq_desc::lock	writing a message
 * One lock for the machine: preparing is serialised anyway, by the mutex of the
 * interrupt controllers' domains. It is not held while a domain is attached.
 * Under it memory is allocated without I/O, since a disk's reset may wait for
 * it. Composing takes no lock: it reads one word of the binding.
 */
#define pr_fmt(fmt)	"iommu-msi: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dma-iommu-msi.h"

#define CREATE_TRACE_POINTS
#include <trace/events/iommu_msi.h>

/*
 * Protects everything in dma-iommu-msi.h and linux/iommu-msi.h, and the order
 * of pci_host_bridge::dma_ranges
 */
DEFINE_MUTEX(iommu_msi_lock);
LIST_HEAD(iommu_msi_cookies);
HLIST_HEAD(iommu_msi_devices);
DECLARE_WAIT_QUEUE_HEAD(iommu_msi_settled);

static struct iommu_msi_slots machine_slots;

/* No device gets an answer from there, nor a doorbell */
#define MSI_NOWHERE	(~63ULL)

/* A physical range that the hardware recognises before it translates */
struct iommu_msi_region {
	struct list_head	node;
	phys_addr_t		start;
	phys_addr_t		last;
};

/*
 * Where a doorbell goes
 */

/**
 * iommu_msi_slot() - The slot of a doorbell's page, taken on first use
 * @slots: the table
 * @page: physical address of the page
 *
 * Context: Under iommu_msi_lock.
 * Return: the slot, or %-ENOSPC: all are taken by other pages.
 */
int iommu_msi_slot(struct iommu_msi_slots *slots, phys_addr_t page)
{
	lockdep_assert_held(&iommu_msi_lock);

	for (unsigned int i = 0; i < slots->used; i++) {
		if (slots->page[i] == page)
			return i;
	}
	if (slots->used == IOMMU_MSI_SLOTS) {
		pr_warn_once("all %u slots of the MSI window are taken, %pap and others get none\n",
			     slots->used, &page);
		return -ENOSPC;
	}
	slots->page[slots->used] = page;
	return slots->used++;
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

	/* Elsewhere the window is where its owner put it, whatever the mask */
	if (cookie->domain->iova_cookie)
		limit = min_not_zero(dma_get_mask(desc->dev),
				     desc->dev->bus_dma_limit);

	return msi_is_narrow(desc) ? min(limit, DMA_BIT_MASK(32)) : limit;
}

/* The IOVA of a doorbell in the window, 0 if it has none within @limit */
static dma_addr_t window_iova(struct iommu_msi_cookie *cookie, phys_addr_t phys,
			      size_t granule, u64 limit)
{
	size_t unit = max_t(size_t, granule, PAGE_SIZE);
	dma_addr_t iova;
	int slot;

	if (cookie->end <= cookie->base)
		return 0;
	slot = iommu_msi_slot(cookie->slots, ALIGN_DOWN(phys, unit));
	iova = ALIGN(cookie->base, unit) + (u64)slot * unit;
	if (slot < 0 || iova + unit > cookie->end || iova + unit - 1 > limit)
		return 0;
	return iova + ALIGN_DOWN(phys & (unit - 1), granule);
}

/* What is in the window is right even if it is not mapped: it faults */
static u64 unmapped_word(struct iommu_msi_cookie *cookie, phys_addr_t phys,
			 u64 limit)
{
	size_t granule = BIT(__ffs(cookie->domain->pgsize_bitmap));
	dma_addr_t iova = window_iova(cookie, phys, granule, limit);

	return iova ? iova | __ffs(granule) : MSI_NOWHERE;
}

static int doorbell_map(struct iommu_msi_cookie *cookie, struct device *dev,
			phys_addr_t phys, u64 limit, u64 *word)
{
	const int prot = IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO;
	struct iommu_domain *domain = cookie->domain;
	struct iommu_msi_doorbell *db;
	int ret;

	db = kzalloc(sizeof(*db), GFP_KERNEL);
	if (!db)
		return -ENOMEM;

	db->size = BIT(__ffs(domain->pgsize_bitmap));
	db->phys = ALIGN_DOWN(phys, db->size);
	db->iova = window_iova(cookie, phys, db->size, limit);
	db->own = !db->iova;
	if (db->own && domain->iova_cookie)
		db->iova = iommu_dma_msi_alloc_iova(domain, db->size, limit,
						    dev);
	ret = -ENOSPC;
	if (!db->iova) {
		dev_warn_ratelimited(dev,
				     "no IOVA for MSI doorbell %pap in window %pad-%pad\n",
				     &phys, &cookie->base, &cookie->end);
		goto err_free;
	}

	ret = iommu_map(domain, db->iova, db->phys, db->size, prot, GFP_KERNEL);
	if (ret)
		goto err_free_iova;

	*word = db->iova | __ffs(db->size);
	hash_add(cookie->doorbells, &db->node, db->phys >> PAGE_SHIFT);
	trace_iommu_msi_map(dev, cookie->id, db->phys, db->iova, db->size);
	return 0;

err_free_iova:
	if (db->own)
		iommu_dma_msi_free_iova(domain, db->iova, db->size);
err_free:
	kfree(db);
	return ret;
}

static struct iommu_msi_doorbell *
doorbell_find(const struct iommu_msi_cookie *cookie, phys_addr_t phys,
	      u64 limit)
{
	struct iommu_msi_doorbell *db, *own = NULL;

	phys &= -BIT(__ffs(cookie->domain->pgsize_bitmap));
	hash_for_each_possible(cookie->doorbells, db, node, phys >> PAGE_SHIFT) {
		if (db->phys != phys || db->iova + db->size - 1 > limit)
			continue;
		if (db->own)
			own = db;
		else if (db->iova < cookie->end)
			return db;
	}
	return own;
}

static bool region_covers(const struct iommu_msi_cookie *cookie,
			  phys_addr_t phys)
{
	const struct iommu_msi_region *region;

	list_for_each_entry(region, &cookie->regions, node) {
		if (phys >= region->start && phys <= region->last)
			return true;
	}
	return false;
}

/**
 * iommu_msi_translate() - Have a doorbell mapped in a domain
 * @domain: the domain; may be NULL, and may have no cookie
 * @desc: MSI descriptor of a device that is or will be attached to @domain
 * @phys: physical address of the doorbell
 * @word: set to what iommu_msi_binding::word has to be in @domain; on an error,
 *	  too: the message faults then
 *
 * Context: Process context, may sleep, under iommu_msi_lock.
 * Return: 0, or an error of iommu_dma_prepare_msi().
 */
int iommu_msi_translate(struct iommu_domain *domain, struct msi_desc *desc,
			phys_addr_t phys, u64 *word)
{
	struct iommu_msi_cookie *cookie = domain ? domain->msi_cookie : NULL;
	struct iommu_msi_doorbell *db;
	unsigned int flags;
	u64 limit;
	int ret;

	lockdep_assert_held(&iommu_msi_lock);

	*word = 0;
	if (!cookie)
		return 0;

	limit = iommu_msi_limit(cookie, desc);
	db = doorbell_find(cookie, phys, limit);
	if (db) {
		*word = db->iova | __ffs(db->size);
		return 0;
	}
	if (region_covers(cookie, phys))
		return 0;

	*word = unmapped_word(cookie, phys, limit);
	if (!cookie->ready)
		return -EFAULT;
	flags = memalloc_noio_save();
	ret = doorbell_map(cookie, desc->dev, phys, limit, word);
	memalloc_noio_restore(flags);
	return ret;
}

/*
 * Bindings
 */

static void msi_unlink(struct iommu_msi_binding *msi)
{
	struct iommu_device_msis *msis;

	lockdep_assert_held(&iommu_msi_lock);

	/* A device that has left its group has taken its bindings off */
	if (hlist_unhashed(&msi->node))
		return;
	hlist_del_init(&msi->node);
	msis = &iommu_msi_to_desc(msi)->dev->iommu->msi;
	if (hlist_empty(&msis->bindings))
		hlist_del_init(&msis->node);
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
 * domains; the mapping lasts as long as the domain. A descriptor can be prepared
 * again.
 *
 * Does nothing, with success, for a device that no IOMMU translates.
 *
 * Context: Process context, may sleep. Takes iommu_msi_lock, so the domain can
 *	    neither change nor vanish meanwhile, and waits until the device's
 *	    group has settled. The caller must be in the driver's probe or later,
 *	    and before its remove.
 * Return: 0, or %-ENOMEM: no memory for the book-keeping or the page table;
 *	   %-ENOSPC: no IOVA left below the device's limit or in the window;
 *	   %-EFAULT: the DMA domain is not initialised, as it does not suit
 *	   this device, or for want of memory when it was attached;
 *	   or what the IOMMU driver's map_pages() returned.
 */
int iommu_dma_prepare_msi(struct msi_desc *desc, phys_addr_t msi_addr)
{
	struct iommu_msi_binding *msi = &desc->iommu_msi;
	struct device *dev = desc->dev;
	struct iommu_device_msis *msis;
	u64 word;
	int ret;

	if (!dev->iommu || !dev->iommu_group)
		return 0;

	msis = &dev->iommu->msi;
	mutex_lock(&iommu_msi_lock);
	while (unlikely(msis->state != IOMMU_MSI_SETTLED)) {
		mutex_unlock(&iommu_msi_lock);
		wait_event(iommu_msi_settled,
			   READ_ONCE(msis->state) == IOMMU_MSI_SETTLED);
		mutex_lock(&iommu_msi_lock);
	}

	msi_unlink(msi);
	ret = iommu_msi_translate(iommu_msi_domain(dev), desc, msi_addr, &word);
	if (!ret) {
		msi->phys = msi_addr;
		msi->moved = false;
		WRITE_ONCE(msi->word, word);
		if (hlist_empty(&msis->bindings))
			hlist_add_head(&msis->node, &iommu_msi_devices);
		hlist_add_head(&msi->node, &msis->bindings);
	}
	mutex_unlock(&iommu_msi_lock);
	return ret;
}

/**
 * iommu_dma_release_msi() - Undo iommu_dma_prepare_msi()
 * @desc: MSI descriptor whose interrupts are deactivated or never were active
 *
 * The doorbell stays mapped: a message that is still on its way reaches it, and
 * no buffer. Harmless on a descriptor that was never prepared, or twice.
 *
 * Context: Process context, may sleep. Takes iommu_msi_lock.
 */
void iommu_dma_release_msi(struct msi_desc *desc)
{
	guard(mutex)(&iommu_msi_lock);
	msi_unlink(&desc->iommu_msi);
}

/* Its device is given all ones: what it could write to is no interrupt */
static noinline void compose_fail(struct msi_desc *desc, struct msi_msg *msg,
				  phys_addr_t phys)
{
	trace_iommu_msi_compose_fail(desc->dev, desc->irq, phys);
	dev_warn_ratelimited(desc->dev,
			     "MSI doorbell %pap was not prepared, interrupt %u is lost\n",
			     &phys, desc->irq);
	*msg = (struct msi_msg){ .address_lo = ~0U, .address_hi = ~0U,
				 .data = ~0U };
}

/**
 * iommu_dma_compose_msi_msg() - Translate the address of an MSI message
 * @desc: MSI descriptor, prepared by iommu_dma_prepare_msi()
 * @msg: message with the doorbell's physical address
 *
 * Replaces the address by the IOVA of the doorbell, the offset in the page
 * kept. Leaves @msg alone where the device's domain does not translate. If the
 * address is not in the page that was prepared, the device gets an address and
 * data of all ones, and the log a warning.
 *
 * Context: Any context. Takes no lock.
 */
void iommu_dma_compose_msi_msg(struct msi_desc *desc, struct msi_msg *msg)
{
	/* What it is compared to, phys, is constant while this can run */
	u64 word = READ_ONCE(desc->iommu_msi.word);
	u64 mask = -BIT_ULL(word & 63);
	u64 addr;

	if (!word)
		return;

	addr = (u64)msg->address_hi << 32 | msg->address_lo;
	if (unlikely((addr ^ desc->iommu_msi.phys) & mask)) {
		compose_fail(desc, msg, addr);
		return;
	}
	addr = (addr & ~mask) | (word & ~63ULL);
	msg->address_hi = upper_32_bits(addr);
	msg->address_lo = lower_32_bits(addr);
}

/**
 * iommu_msi_remove_device() - Forget the MSIs of a device without IOMMU
 * @dev: device that is about to leave its group
 *
 * Context: Process context, may sleep, under the mutex of the device's group.
 */
void iommu_msi_remove_device(struct device *dev)
{
	struct iommu_msi_binding *msi;
	struct hlist_node *tmp;

	guard(mutex)(&iommu_msi_lock);
	hlist_for_each_entry_safe(msi, tmp, &dev->iommu->msi.bindings, node) {
		WRITE_ONCE(msi->word, 0);
		msi_unlink(msi);
	}
}

/*
 * Windows
 */

/* The window ends before @start, if what is from there to @last is inside */
static void clip(struct iommu_msi_cookie *cookie, u64 start, u64 last)
{
	if (start < cookie->end && last >= cookie->base)
		cookie->end = max_t(u64, cookie->base, start);
}

/* A message must leave the bus: nobody on it may take it for its own */
static void clip_to_bridge(struct iommu_msi_cookie *cookie,
			   struct pci_host_bridge *bridge)
{
	struct resource_entry *entry;

	resource_list_for_each_entry(entry, &bridge->windows) {
		if (resource_type(entry->res) == IORESOURCE_MEM)
			clip(cookie, entry->res->start - entry->offset,
			     entry->res->end - entry->offset);
	}

	if (list_empty(&bridge->dma_ranges))
		return;
	resource_list_for_each_entry(entry, &bridge->dma_ranges) {
		u64 start = entry->res->start - entry->offset;
		u64 last = entry->res->end - entry->offset;

		if (cookie->base >= start && cookie->base <= last) {
			if (last < U64_MAX)
				clip(cookie, last + 1, U64_MAX);
			return;
		}
	}
	cookie->end = cookie->base;
}

static int add_region(struct iommu_msi_cookie *cookie,
		      const struct iommu_resv_region *resv)
{
	struct iommu_msi_region *region;

	if (region_covers(cookie, resv->start) &&
	    region_covers(cookie, resv->start + resv->length - 1))
		return 0;
	region = kzalloc(sizeof(*region), GFP_NOIO);
	if (!region)
		return -ENOMEM;

	region->start = resv->start;
	region->last = resv->start + resv->length - 1;
	list_add(&region->node, &cookie->regions);
	return 0;
}

/* The owner of a domain names the start of its window only */
static void set_window(struct iommu_msi_cookie *cookie, struct list_head *resv)
{
	struct iommu_resv_region *region;

	list_for_each_entry(region, resv, list) {
		if (region->type != IOMMU_RESV_SW_MSI ||
		    (cookie->base && cookie->base != region->start))
			continue;
		if (!cookie->end)
			cookie->end = region->start + region->length;
		cookie->base = region->start;
		clip(cookie, region->start + region->length, U64_MAX);
	}
}

/**
 * iommu_msi_learn_device() - Tell the doorbells of a domain about a device
 * @domain: domain that @dev is or will be attached to; it may have no cookie
 * @dev: device behind an IOMMU
 *
 * Of the window remains what every device can use: it ends before any other
 * reserved region of the device, and before what its host bridge keeps or does
 * not let through. To be called for each device of a group, and again as often
 * as one likes. No doorbell is mapped in a DMA domain before it is initialised,
 * but its window is known.
 *
 * Context: Process context, may sleep. Takes iommu_msi_lock.
 * Return: 0, or %-ENOMEM.
 */
int iommu_msi_learn_device(struct iommu_domain *domain, struct device *dev)
{
	struct iommu_msi_cookie *cookie = domain->msi_cookie;
	struct iommu_resv_region *region;
	LIST_HEAD(regions);
	int ret = 0;

	if (!cookie)
		return 0;

	iommu_get_resv_regions(dev, &regions);
	scoped_guard(mutex, &iommu_msi_lock) {
		set_window(cookie, &regions);
		list_for_each_entry(region, &regions, list) {
			if (region->type == IOMMU_RESV_SW_MSI)
				continue;
			clip(cookie, region->start,
			     region->start + region->length - 1);
			if (region->type == IOMMU_RESV_MSI)
				ret = add_region(cookie, region) ?: ret;
		}
		if (dev_is_pci(dev))
			clip_to_bridge(cookie,
				       pci_find_host_bridge(to_pci_dev(dev)->bus));
		cookie->ready |= !ret && (!domain->iova_cookie ||
					  iommu_dma_msi_has_iovas(domain));
	}
	iommu_put_resv_regions(dev, &regions);
	return ret;
}

/*
 * Cookies
 */

static int cookie_create(struct iommu_domain *domain, dma_addr_t base)
{
	static unsigned int last_id;
	struct iommu_msi_cookie *cookie;

	cookie = kzalloc(sizeof(*cookie), GFP_KERNEL);
	if (!cookie)
		return -ENOMEM;

	cookie->domain = domain;
	cookie->slots = &machine_slots;
	cookie->base = base;
	hash_init(cookie->doorbells);
	INIT_LIST_HEAD(&cookie->regions);

	guard(mutex)(&iommu_msi_lock);
	cookie->id = ++last_id;
	list_add_tail(&cookie->node, &iommu_msi_cookies);
	domain->msi_cookie = cookie;
	return 0;
}

/**
 * iommu_msi_cookie_create() - Let a DMA domain map doorbells
 * @domain: DMA domain that has no MSI cookie
 *
 * Context: Process context, may sleep. Takes iommu_msi_lock.
 * Return: 0, or %-ENOMEM.
 */
int iommu_msi_cookie_create(struct iommu_domain *domain)
{
	return cookie_create(domain, 0);
}

/**
 * iommu_get_msi_cookie() - Let an unmanaged domain map doorbells in a window
 * @domain: unmanaged domain
 * @base: first IOVA of the window, not 0
 *
 * For users who manage the IOVA space of their domain, yet want MSIs to work.
 * They keep the devices' %IOMMU_RESV_SW_MSI region free and pass its start. To
 * be called before the domain is attached, as devices of the group may have
 * live MSIs, which come along. The window ends where that region ends.
 *
 * Context: Process context, may sleep. The caller serialises with the use of
 *	    the domain. Takes iommu_msi_lock.
 * Return: 0, or %-EINVAL: @domain is not unmanaged; %-EEXIST: it has a cookie;
 *	   %-ENOMEM: no memory; %-ENODEV: the kernel has no CONFIG_IOMMU_DMA.
 */
int iommu_get_msi_cookie(struct iommu_domain *domain, dma_addr_t base)
{
	if (domain->type != IOMMU_DOMAIN_UNMANAGED)
		return -EINVAL;
	if (domain->msi_cookie)
		return -EEXIST;
	return cookie_create(domain, base);
}
EXPORT_SYMBOL(iommu_get_msi_cookie);

/**
 * iommu_msi_cookie_destroy() - Unmap the doorbells of a domain
 * @domain: domain that no group is attached to; it may have no cookie
 *
 * Context: Process context, may sleep. Takes iommu_msi_lock.
 */
void iommu_msi_cookie_destroy(struct iommu_domain *domain)
{
	struct iommu_msi_cookie *cookie = domain->msi_cookie;
	struct iommu_msi_region *region, *next;
	struct iommu_msi_doorbell *db;
	struct hlist_node *tmp;
	int bucket;

	if (!cookie)
		return;

	guard(mutex)(&iommu_msi_lock);
	list_del(&cookie->node);
	hash_for_each_safe(cookie->doorbells, bucket, tmp, db, node) {
		trace_iommu_msi_unmap(cookie->id, db->phys, db->iova, db->size);
		WARN_ON(iommu_unmap(domain, db->iova, db->size) != db->size);
		kfree(db);
	}
	list_for_each_entry_safe(region, next, &cookie->regions, node)
		kfree(region);
	domain->msi_cookie = NULL;
	kfree(cookie);
}
