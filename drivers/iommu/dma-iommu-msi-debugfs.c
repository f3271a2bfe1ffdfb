// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI doorbells in debugfs
 *
 * Two tables under iommu-msi/: "doorbells", a row for each page that is mapped
 * for MSIs, and "interrupts", a row for each MSI that goes to such a page. See
 * Documentation/ABI/testing/debugfs-iommu-msi.
 *
 * Lock order: cookies_lock, then iommu_msi_cookie::lock.
 */
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/irq.h>
#include <linux/list.h>
#include <linux/msi.h>
#include <linux/seq_file.h>

#include "dma-iommu-msi.h"

static LIST_HEAD(cookies);
static DEFINE_MUTEX(cookies_lock);

/**
 * iommu_msi_debugfs_add() - Show the doorbells of a cookie
 * @cookie: cookie, complete but for its domain's pointer to it
 *
 * Context: Process context, may sleep.
 */
void iommu_msi_debugfs_add(struct iommu_msi_cookie *cookie)
{
	guard(mutex)(&cookies_lock);
	list_add_tail(&cookie->node, &cookies);
}

/**
 * iommu_msi_debugfs_del() - Show the doorbells of a cookie no more
 * @cookie: cookie that is about to be freed
 *
 * Context: Process context, may sleep. Waits for a reader of the tables.
 */
void iommu_msi_debugfs_del(struct iommu_msi_cookie *cookie)
{
	guard(mutex)(&cookies_lock);
	list_del(&cookie->node);
}

/*
 * The interrupt controller is the parent of the chip that knows the device. A
 * binding is off the list before its interrupt is freed, so under the cookie's
 * lock the number is valid, or still 0.
 */
static const char *msi_chip_name(const struct msi_desc *desc)
{
	unsigned int irq = READ_ONCE(desc->irq);
	struct irq_data *data = irq ? irq_get_irq_data(irq) : NULL;

#ifdef CONFIG_IRQ_DOMAIN_HIERARCHY
	if (data && data->parent_data)
		data = data->parent_data;
#endif
	return data && data->chip && data->chip->name ? data->chip->name : "-";
}

static struct msi_desc *msi_desc_of(struct iommu_msi_binding *msi)
{
	return container_of(msi, struct msi_desc, iommu_msi);
}

static void doorbell_show(struct seq_file *s, struct iommu_msi_cookie *cookie,
			  struct iommu_msi_doorbell *db)
{
	struct iommu_msi_binding *msi;
	const char *chip = "-";

	msi = hlist_entry_safe(db->msis.first, struct iommu_msi_binding, user);
	if (msi)
		chip = msi_chip_name(msi_desc_of(msi));

	seq_printf(s, "%-6u %-6s %7zu %-8s 0x%016llx 0x%016llx %5u\n",
		   cookie->id, cookie->window ? "window" : "dma", db->size,
		   chip, (u64)db->phys, (u64)db->iova, db->users);
}

static void interrupt_show(struct seq_file *s, struct iommu_msi_cookie *cookie,
			   struct iommu_msi_doorbell *db)
{
	struct iommu_msi_binding *msi;

	hlist_for_each_entry(msi, &db->msis, user) {
		struct msi_desc *desc = msi_desc_of(msi);
		u64 offset = msi->phys & (db->size - 1);

		seq_printf(s, "%-14s %5d %-6u %4u %-8s 0x%016llx 0x%016llx\n",
			   dev_name(desc->dev),
			   iommu_group_id(desc->dev->iommu_group), cookie->id,
			   READ_ONCE(desc->irq), msi_chip_name(desc),
			   (u64)msi->phys, db->iova + offset);
	}
}

typedef void (*doorbell_fn)(struct seq_file *s, struct iommu_msi_cookie *cookie,
			    struct iommu_msi_doorbell *db);

static void walk_doorbells(struct seq_file *s, doorbell_fn fn)
{
	struct iommu_msi_doorbell *db;
	struct iommu_msi_cookie *cookie;

	guard(mutex)(&cookies_lock);
	list_for_each_entry(cookie, &cookies, node) {
		guard(mutex)(&cookie->lock);
		list_for_each_entry(db, &cookie->doorbells, node)
			fn(s, cookie, db);
	}
}

static int doorbells_show(struct seq_file *s, void *unused)
{
	seq_printf(s, "%-6s %-6s %7s %-8s %-18s %-18s %5s\n", "domain", "type",
		   "granule", "irqchip", "doorbell", "iova", "users");
	walk_doorbells(s, doorbell_show);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(doorbells);

static int interrupts_show(struct seq_file *s, void *unused)
{
	seq_printf(s, "%-14s %5s %-6s %4s %-8s %-18s %-18s\n", "device",
		   "group", "domain", "irq", "irqchip", "doorbell", "iova");
	walk_doorbells(s, interrupt_show);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(interrupts);

static int __init iommu_msi_debugfs_init(void)
{
	struct dentry *dir = debugfs_create_dir("iommu-msi", NULL);

	debugfs_create_file("doorbells", 0400, dir, NULL, &doorbells_fops);
	debugfs_create_file("interrupts", 0400, dir, NULL, &interrupts_fops);
	return 0;
}
device_initcall(iommu_msi_debugfs_init);
