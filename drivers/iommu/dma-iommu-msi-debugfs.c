// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSI doorbells in debugfs
 *
 * Two tables in iommu/msi/: "doorbells", a row for each page that is mapped for
 * MSIs, and "interrupts", a row for each MSI that goes to such a page. See
 * Documentation/ABI/testing/debugfs-iommu-msi.
 */
#include <linux/cleanup.h>
#include <linux/dcache.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/init.h>
#include <linux/irq.h>
#include <linux/msi.h>
#include <linux/seq_file.h>

#include "dma-iommu-msi.h"

/*
 * The interrupt controller is the parent of the chip that knows the device. A
 * binding is off the list before its interrupt is freed, so under the lock the
 * number is valid, or still 0.
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

/* The first user of a doorbell, and how many there are */
static struct msi_desc *find_users(const struct iommu_msi_cookie *cookie,
				   const struct iommu_msi_doorbell *db,
				   unsigned int *users)
{
	struct iommu_device_msis *msis;
	struct iommu_msi_binding *msi;
	struct msi_desc *first = NULL;

	*users = 0;
	hlist_for_each_entry(msis, &iommu_msi_devices, node) {
		hlist_for_each_entry(msi, &msis->bindings, node) {
			struct msi_desc *desc = iommu_msi_to_desc(msi);

			if (iommu_msi_domain(desc->dev) != cookie->domain ||
			    (msi->phys ^ db->phys) >= db->size ||
			    (msi->word & -(u64)db->size) != db->iova)
				continue;
			first = first ?: desc;
			(*users)++;
		}
	}
	return first;
}

static int doorbells_show(struct seq_file *s, void *unused)
{
	struct iommu_msi_cookie *cookie;
	struct iommu_msi_doorbell *db;
	struct msi_desc *desc;
	unsigned int users;
	int bucket;

	seq_printf(s, "%-6s %-6s %7s %-8s %-18s %-18s %5s\n", "domain", "type",
		   "granule", "irqchip", "doorbell", "iova", "users");
	guard(mutex)(&iommu_msi_lock);
	list_for_each_entry(cookie, &iommu_msi_cookies, node) {
		hash_for_each(cookie->doorbells, bucket, db, node) {
			desc = find_users(cookie, db, &users);
			seq_printf(s, "%-6u %-6s %7zu %-8s 0x%016llx 0x%016llx %5u\n",
				   cookie->id,
				   cookie->domain->iova_cookie ? "dma" : "window",
				   db->size, desc ? msi_chip_name(desc) : "-",
				   (u64)db->phys, (u64)db->iova, users);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(doorbells);

static void interrupt_show(struct seq_file *s, struct iommu_msi_binding *msi)
{
	struct msi_desc *desc = iommu_msi_to_desc(msi);
	struct iommu_domain *domain = iommu_msi_domain(desc->dev);

	/* It passes as it is */
	if (!msi->word || !domain->msi_cookie)
		return;
	seq_printf(s, "%-14s %5d %-6u %4u %-8s 0x%016llx 0x%016llx\n",
		   dev_name(desc->dev), iommu_group_id(desc->dev->iommu_group),
		   domain->msi_cookie->id, READ_ONCE(desc->irq),
		   msi_chip_name(desc), (u64)msi->phys,
		   iommu_msi_address(msi->phys, msi->word));
}

static int interrupts_show(struct seq_file *s, void *unused)
{
	struct iommu_device_msis *msis;
	struct iommu_msi_binding *msi;

	seq_printf(s, "%-14s %5s %-6s %4s %-8s %-18s %-18s\n", "device",
		   "group", "domain", "irq", "irqchip", "doorbell", "iova");
	guard(mutex)(&iommu_msi_lock);
	hlist_for_each_entry(msis, &iommu_msi_devices, node) {
		hlist_for_each_entry(msi, &msis->bindings, node)
			interrupt_show(s, msi);
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(interrupts);

static int __init iommu_msi_debugfs_init(void)
{
	/* There already if the kernel has CONFIG_IOMMU_DEBUGFS */
	struct dentry *parent = debugfs_lookup("iommu", NULL);
	struct dentry *dir;

	if (parent)
		dput(parent);
	else
		parent = debugfs_create_dir("iommu", NULL);
	dir = debugfs_create_dir("msi", parent);
	debugfs_create_file("doorbells", 0400, dir, NULL, &doorbells_fops);
	debugfs_create_file("interrupts", 0400, dir, NULL, &interrupts_fops);
	return 0;
}
device_initcall(iommu_msi_debugfs_init);
