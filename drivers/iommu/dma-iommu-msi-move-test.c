// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of PCI ports whose IOMMU domain changes under their MSIs
 *
 * The port is on a host bridge whose config space is memory, behind the fake
 * IOMMU. A case looks at its registers while a domain is being attached, and
 * afterwards. The port has one interrupt, of which the message that it was given
 * last is kept; writing one is an error unless the port is there to be written
 * to, and quiet.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pm_domain.h>
#include <linux/pm_runtime.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "dma-iommu-msi.h"
#include "dma-iommu-msi-fake.h"
#include "iommu-priv.h"

#define DOORBELL	0x08090040ULL
#define DOMAIN_NR	0x7fff
#define MSI_CAP		0x40
#define MSIX_CAP	0x60
#define REGISTERS	PCI_CFG_SPACE_SIZE

static struct {
	struct pci_host_bridge	*bridge;
	struct pci_dev		*pdev;
	struct iommu_group	*group;
	struct iommu_domain	*domain;	/* with a window */
	struct msi_desc		desc;
	u8			config[REGISTERS];
	unsigned int		writes;		/* to config space */
	bool			dead;		/* reads are all ones */
	bool			goes_off;	/* once MSI is switched on */
	/* The interrupt */
	struct irq_domain	*irqs;
	u64			written;	/* address that it sends to */
	bool			enabling;	/* nobody has to be quiet yet */
	unsigned int		messages;
	unsigned int		bad_writes;
	unsigned int		retriggers;
	/* What on_attach saw */
	u16			msi, msix;
	bool			leads;
	/* What waking the port did */
	struct completion	asked;
	unsigned int		resumes;
	bool			group_is_free;
} fake;

/* What an architecture may look for behind pci_bus::sysdata: nothing */
static u64 no_sysdata[64];

/*
 * The config space
 */

static int fake_read(struct pci_bus *bus, unsigned int devfn, int where,
		     int size, u32 *val)
{
	u8 word[4] = { };

	*val = ~0U;
	if (devfn || where + size > REGISTERS)
		return PCIBIOS_DEVICE_NOT_FOUND;
	if (fake.dead)
		return 0;
	memcpy(word, fake.config + where, size);
	*val = get_unaligned_le32(word);
	return 0;
}

static int fake_write(struct pci_bus *bus, unsigned int devfn, int where,
		      int size, u32 val)
{
	u8 word[4];

	if (devfn || where + size > REGISTERS)
		return PCIBIOS_DEVICE_NOT_FOUND;
	fake.writes++;
	/* No BARs, and the rest of the header cannot be written */
	if (where >= PCI_STD_HEADER_SIZEOF || where == PCI_COMMAND) {
		put_unaligned_le32(val, word);
		memcpy(fake.config + where, word, size);
	}
	if (fake.goes_off && where == MSI_CAP + PCI_MSI_FLAGS &&
	    val & PCI_MSI_FLAGS_ENABLE)
		fake.pdev->msi_enabled = 0;
	return 0;
}

static struct pci_ops fake_pci_ops = {
	.read	= fake_read,
	.write	= fake_write,
};

static u16 config_word(int where)
{
	return get_unaligned_le16(fake.config + where);
}

static void set_config_word(int where, u16 val)
{
	put_unaligned_le16(val, fake.config + where);
}

static void set_memory_decoding(bool on)
{
	set_config_word(PCI_COMMAND, on ? PCI_COMMAND_MEMORY : 0);
}

static bool msix_is_masked(void)
{
	return config_word(MSIX_CAP + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_MASKALL;
}

/*
 * The interrupt
 */

static bool is_quiet(void)
{
	if (fake.pdev->msix_enabled)
		return msix_is_masked();
	return !(config_word(MSI_CAP + PCI_MSI_FLAGS) & PCI_MSI_FLAGS_ENABLE);
}

/* Would the hardware have taken the message just now? */
static bool can_be_written(void)
{
	struct pci_dev *pdev = fake.pdev;

	if (fake.dead || pdev->current_state != PCI_D0)
		return false;
	if (fake.desc.pci.msi_attrib.is_msix &&
	    !(config_word(PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return false;
	return fake.enabling || is_quiet();
}

static void fake_irq_nop(struct irq_data *data)
{
}

static void fake_irq_compose(struct irq_data *data, struct msi_msg *msg)
{
	msg->address_lo = lower_32_bits(DOORBELL);
	msg->address_hi = upper_32_bits(DOORBELL);
	iommu_dma_compose_msi_msg(&fake.desc, msg);
}

static void fake_irq_write(struct irq_data *data, struct msi_msg *msg)
{
	fake.bad_writes += !can_be_written();
	fake.messages++;
	fake.desc.msg = *msg;
	fake.written = (u64)msg->address_hi << 32 | msg->address_lo;
}

static int fake_irq_set_state(struct irq_data *data,
			      enum irqchip_irq_state which, bool state)
{
	fake.retriggers += which == IRQCHIP_STATE_PENDING && state;
	return 0;
}

static struct irq_chip fake_irq_chip = {
	.name			= "fake-pci",
	.irq_mask		= fake_irq_nop,
	.irq_unmask		= fake_irq_nop,
	.irq_ack		= fake_irq_nop,
	.irq_set_irqchip_state	= fake_irq_set_state,
	.irq_compose_msi_msg	= fake_irq_compose,
	.irq_write_msi_msg	= fake_irq_write,
};

static struct msi_domain_info fake_msi_info;

static int fake_irq_alloc(struct irq_domain *domain, unsigned int virq,
			  unsigned int nr_irqs, void *args)
{
	irq_domain_set_info(domain, virq, 0, &fake_irq_chip, NULL,
			    handle_simple_irq, NULL, NULL);
	irq_set_msi_desc(virq, &fake.desc);
	return 0;
}

static void fake_irq_free(struct irq_domain *domain, unsigned int virq,
			  unsigned int nr_irqs)
{
	irq_domain_reset_irq_data(irq_domain_get_irq_data(domain, virq));
}

static const struct irq_domain_ops fake_irq_ops = {
	.alloc	= fake_irq_alloc,
	.free	= fake_irq_free,
};

static irqreturn_t nop_handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

/* Active, with the message for the domain that bindings are for */
static int activate_interrupt(int virq)
{
	int ret = request_irq(virq, nop_handler, 0, "fake", &fake);

	if (ret) {
		irq_domain_free_irqs(virq, 1);
		return ret;
	}
	fake.desc.irq = virq;
	fake.enabling = true;
	msi_desc_rewrite(&fake.desc, true);
	fake.enabling = false;
	fake.messages = 0;
	return 0;
}

/* As if the driver had enabled it */
static int enable_interrupt(void)
{
	int virq = irq_domain_alloc_irqs(fake.irqs, 1, NUMA_NO_NODE, NULL);

	return virq < 0 ? virq : activate_interrupt(virq);
}

static void disable_interrupt(void)
{
	int virq = fake.desc.irq;

	if (!virq)
		return;
	free_irq(virq, &fake);
	iommu_dma_release_msi(&fake.desc);
	irq_domain_free_irqs(virq, 1);
	fake.desc.irq = 0;
}

/*
 * What cases do
 */

static void look(void)
{
	fake.msi = config_word(MSI_CAP + PCI_MSI_FLAGS);
	fake.msix = config_word(MSIX_CAP + PCI_MSIX_FLAGS);
	/* What it could send now must be right, or a fault */
	fake.leads = is_quiet() || fake_iommu_leads_to(fake.written, DOORBELL);
}

/* As if the driver had allocated a vector and enabled it */
static void use_msix(struct kunit *test)
{
	fake.desc.pci.msi_attrib.is_msix = 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&fake.desc, DOORBELL));
	KUNIT_ASSERT_EQ(test, 0, enable_interrupt());
	fake.pdev->msix_enabled = 1;
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

static void use_msi(struct kunit *test)
{
	fake.desc.pci.msi_attrib.is_64 = 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&fake.desc, DOORBELL));
	KUNIT_ASSERT_EQ(test, 0, enable_interrupt());
	fake.pdev->msi_enabled = 1;
	set_config_word(MSI_CAP + PCI_MSI_FLAGS,
			PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_64BIT);
}

static int move_to(struct iommu_domain *domain)
{
	fake_iommu.on_attach = look;
	return iommu_attach_group(domain, fake.group);
}

/* Who keeps the port awake, besides what user space has said about it */
static int pm_users(void)
{
#ifdef CONFIG_PM
	const struct dev_pm_info *power = &fake.pdev->dev.power;

	return atomic_read(&power->usage_count) - !power->runtime_auto;
#else
	return 0;
#endif
}

/* The port may send again, and what it sends is right */
static void expect_settled(struct kunit *test)
{
	u64 phys = iommu_iova_to_phys(fake_iommu.attached, fake.written);

	KUNIT_EXPECT_EQ(test, DOORBELL, phys);
	KUNIT_EXPECT_FALSE(test, is_quiet());
	KUNIT_EXPECT_TRUE(test, fake.leads);
	KUNIT_EXPECT_EQ(test, 0, fake.bad_writes);
	KUNIT_EXPECT_EQ(test, 0, pm_users());
}

/* To identity and back */
static void expect_moves(struct kunit *test)
{
	u64 iova = fake.written;

	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	KUNIT_EXPECT_EQ(test, DOORBELL, fake.written);
	expect_settled(test);
	fake_iommu.on_attach = look;
	iommu_detach_group(&fake_identity_domain, fake.group);
	KUNIT_EXPECT_EQ(test, iova, fake.written);
	expect_settled(test);
}

/* The change is refused, and nothing is different */
static void expect_refused(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu.attached;
	u64 written = fake.written;

	KUNIT_EXPECT_EQ(test, -EBUSY, move_to(&fake_identity_domain));
	KUNIT_EXPECT_PTR_EQ(test, domain, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, written, fake.written);
	KUNIT_EXPECT_EQ(test, 0, fake.messages);
	KUNIT_EXPECT_NOT_NULL(test, fake_iommu.on_attach);
	KUNIT_EXPECT_EQ(test, 0, fake.bad_writes);
	fake_iommu.on_attach = NULL;
}

/*
 * Cases
 */

static void test_masks_msix(struct kunit *test)
{
	use_msix(test);
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
			fake.msix);
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 0, fake.retriggers);
	iommu_detach_group(&fake_identity_domain, fake.group);
	expect_moves(test);
	KUNIT_EXPECT_EQ(test, 0, fake.retriggers);
}

static void test_switches_msi_off(struct kunit *test)
{
	use_msi(test);
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT, fake.msi);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE,
			config_word(MSI_CAP + PCI_MSI_FLAGS));
	expect_settled(test);
	/* It may have forgotten something */
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
}

/* Between windows nothing is written, so nobody has to be quiet or awake */
static void test_leaves_alone(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	fake.writes = 0;
	KUNIT_ASSERT_EQ(test, 0, move_to(fake.domain));
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE, fake.msix);
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	KUNIT_EXPECT_EQ(test, 0, fake.messages);
	expect_settled(test);
	iommu_detach_group(fake.domain, fake.group);
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
}

/* It would raise INTx */
static void test_refuses_intx_quirk(struct kunit *test)
{
	use_msi(test);
	fake.pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	expect_refused(test);
	fake.pdev->dev_flags &= ~PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	expect_moves(test);
}

/* Somebody is setting it up, or restoring it */
static void test_refuses_masked(struct kunit *test)
{
	use_msix(test);
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS,
			PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	expect_refused(test);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
	expect_moves(test);
}

static void test_refuses_without_memory(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	expect_refused(test);
	set_memory_decoding(true);
	expect_moves(test);
}

/* The message of plain MSI is in config space */
static void test_msi_needs_no_memory(struct kunit *test)
{
	use_msi(test);
	set_memory_decoding(false);
	expect_moves(test);
}

static void test_refuses_d3hot(struct kunit *test)
{
	use_msix(test);
	fake.pdev->current_state = PCI_D3hot;
	expect_refused(test);
	fake.pdev->current_state = PCI_D0;
	expect_moves(test);
}

static void test_refuses_no_answer(struct kunit *test)
{
	use_msix(test);
	fake.dead = true;
	expect_refused(test);
	fake.dead = false;
	expect_moves(test);
}

/* Whoever it is assigned to may do with it what he likes */
static void test_refuses_endpoint(struct kunit *test)
{
	use_msix(test);
	fake.pdev->hdr_type = PCI_HEADER_TYPE_NORMAL;
	expect_refused(test);
	fake.pdev->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	expect_moves(test);
}

static void test_attach_fails(struct kunit *test)
{
	use_msix(test);
	fake_iommu.fail_attach = true;
	KUNIT_EXPECT_EQ(test, -EIO, move_to(&fake_identity_domain));
	fake_iommu.on_attach = NULL;
	fake.leads = true;
	KUNIT_EXPECT_EQ(test, 0, fake.messages);
	expect_settled(test);
}

/* Its driver is about to enable something else, or has given up */
static void test_refuses_disabled(struct kunit *test)
{
	use_msi(test);
	fake.pdev->msi_enabled = 0;
	expect_refused(test);
	fake.pdev->msi_enabled = 1;
	expect_moves(test);
}

/* Its driver switches MSI off while it is let go: off it stays */
static void test_stays_off(struct kunit *test)
{
	use_msi(test);
	fake.goes_off = true;
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_enabled);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT,
			config_word(MSI_CAP + PCI_MSI_FLAGS));
}

static int late_virq;

static void activate_in_between(void)
{
	WARN_ON(activate_interrupt(late_virq));
	/* It may be written again, before the driver lets it send */
	fake.enabling = true;
}

/* The driver activates an interrupt between start and finish */
static void test_activated_in_between(struct kunit *test)
{
	fake.desc.pci.msi_attrib.is_msix = 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&fake.desc, DOORBELL));
	fake.pdev->msix_enabled = 1;
	late_virq = irq_domain_alloc_irqs(fake.irqs, 1, NUMA_NO_NODE, NULL);
	KUNIT_ASSERT_GT(test, late_virq, 0);
	fake_iommu.on_attach = activate_in_between;
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group(&fake_identity_domain,
						    fake.group));
	fake.enabling = false;
	KUNIT_EXPECT_EQ(test, 1, fake.messages);
	KUNIT_EXPECT_EQ(test, DOORBELL, fake.written);
	KUNIT_EXPECT_EQ(test, 0, fake.bad_writes);
}

static int ask_group(void *data)
{
	/* Takes the mutex of the group */
	iommu_group_dma_owner_claimed(fake.group);
	complete(&fake.asked);
	return 0;
}

/* A slow one, which holds up nobody who wants the group */
static int slow_resume(struct device *dev)
{
	fake.pdev->current_state = PCI_D0;
	if (fake.resumes++)
		return 0;
	kthread_run(ask_group, NULL, "msi-asker");
	fake.group_is_free = wait_for_completion_timeout(&fake.asked, 10 * HZ);
	return 0;
}

static int fake_suspend(struct device *dev)
{
	fake.pdev->current_state = PCI_D3hot;
	return 0;
}

static struct dev_pm_domain slow_domain = {
	.ops.runtime_suspend	= fake_suspend,
	.ops.runtime_resume	= slow_resume,
};

static void suspend(struct kunit *test)
{
	struct device *dev = &fake.pdev->dev;

	if (!IS_ENABLED(CONFIG_PM))
		kunit_skip(test, "devices do not sleep in this kernel");
	init_completion(&fake.asked);
	dev_pm_domain_set(dev, &slow_domain);
	pm_runtime_disable(dev);
	KUNIT_ASSERT_EQ(test, 0, pm_runtime_set_suspended(dev));
	pm_runtime_enable(dev);
	pm_runtime_allow(dev);
	fake.pdev->current_state = PCI_D3hot;
}

static void resume(struct kunit *test)
{
	struct device *dev = &fake.pdev->dev;

	pm_runtime_forbid(dev);
	KUNIT_EXPECT_TRUE(test, pm_runtime_active(dev));
	dev_pm_domain_set(dev, NULL);
}

/* Woken for a change of its message, before the group's mutex is taken */
static void test_wakes_suspended(struct kunit *test)
{
	use_msix(test);
	suspend(test);
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	KUNIT_EXPECT_EQ(test, 1, fake.resumes);
	KUNIT_EXPECT_TRUE(test, fake.group_is_free);
	KUNIT_EXPECT_TRUE(test, fake.msix & PCI_MSIX_FLAGS_MASKALL);
	expect_settled(test);
	resume(test);
}

/* Not for one that leaves it as it is */
static void test_lets_sleep(struct kunit *test)
{
	use_msix(test);
	suspend(test);
	KUNIT_ASSERT_EQ(test, 0, move_to(fake.domain));
	KUNIT_EXPECT_EQ(test, 0, fake.resumes);
	KUNIT_EXPECT_TRUE(test, pm_runtime_suspended(&fake.pdev->dev));
	expect_settled(test);
	fake.resumes++;
	resume(test);
}

/* Nor an endpoint: its owner wants to know when it wakes */
static void test_lets_endpoint_sleep(struct kunit *test)
{
	use_msix(test);
	fake.pdev->hdr_type = PCI_HEADER_TYPE_NORMAL;
	suspend(test);
	expect_refused(test);
	KUNIT_EXPECT_EQ(test, 0, fake.resumes);
	/* Nobody has to ask for the group any more */
	fake.resumes++;
	resume(test);
}

/*
 * Back to the default domain, which cannot be refused, while the port is out of
 * reach: the message is cached, and there when the port is restored.
 */
static void test_restored(struct kunit *test)
{
	u64 iova;

	use_msi(test);
	iova = fake.written;
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	fake.messages = 0;
	fake.pdev->current_state = PCI_D3hot;
	iommu_detach_group(&fake_identity_domain, fake.group);
	KUNIT_EXPECT_EQ(test, 0, fake.messages);
	KUNIT_EXPECT_EQ(test, iova, fake.desc.msg.address_lo);

	fake.pdev->current_state = PCI_D0;
	fake.pdev->irq = fake.desc.irq;
	pci_restore_msi_state(fake.pdev);
	KUNIT_EXPECT_EQ(test, iova, get_unaligned_le32(fake.config + MSI_CAP +
						       PCI_MSI_ADDRESS_LO));
	expect_settled(test);
}

/* Restored from a copy that was taken before the change */
static void test_restored_too_late(struct kunit *test)
{
	use_msi(test);
	KUNIT_ASSERT_EQ(test, 0, move_to(&fake_identity_domain));
	fake.desc.msg.address_lo = FAKE_WINDOW_BASE;
	fake.written = FAKE_WINDOW_BASE;
	fake.pdev->irq = fake.desc.irq;
	pci_restore_msi_state(fake.pdev);
	expect_settled(test);
}

/*
 * Host bridges
 */

static struct resource window = {
	.flags	= IORESOURCE_MEM,
};

static void expect_no_window(struct kunit *test, struct list_head *list,
			     bool outside)
{
	resource_size_t length = FAKE_WINDOW_PAGES * fake_iommu.pgsize;
	struct msi_msg msg = { .address_lo = DOORBELL };

	window.start = FAKE_WINDOW_BASE + (outside ? length : 0);
	window.end = window.start + SZ_16M - 1;
	pci_add_resource_offset(list, &window, 0);
	fake.desc.pci.msi_attrib.is_msix = 1;
	KUNIT_ASSERT_EQ(test, 0,
			iommu_msi_learn_device(fake_iommu.attached,
					       &fake.pdev->dev));
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&fake.desc, DOORBELL));
	iommu_dma_compose_msi_msg(&fake.desc, &msg);
	KUNIT_EXPECT_GE(test, msg.address_lo, FAKE_WINDOW_BASE + length);
	KUNIT_EXPECT_EQ(test, DOORBELL, iommu_iova_to_phys(fake_iommu.attached,
							   msg.address_lo));
	iommu_dma_release_msi(&fake.desc);

	/* An owner who has nothing but the window is told */
	KUNIT_ASSERT_EQ(test, 0, move_to(fake.domain));
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			iommu_dma_prepare_msi(&fake.desc, DOORBELL));
	iommu_detach_group(fake.domain, fake.group);
	pci_free_resource_list(list);
}

/* What the bridge decodes itself would not leave it */
static void test_bridge_window(struct kunit *test)
{
	expect_no_window(test, &fake.bridge->windows, false);
}

static void test_dma_ranges(struct kunit *test)
{
	expect_no_window(test, &fake.bridge->dma_ranges, true);
}

/*
 * The machine
 */

static void init_config(void)
{
	memset(fake.config, 0, REGISTERS);
	set_config_word(PCI_VENDOR_ID, PCI_VENDOR_ID_REDHAT);
	set_config_word(PCI_DEVICE_ID, 0xfff0);
	set_config_word(PCI_STATUS, PCI_STATUS_CAP_LIST);
	set_config_word(PCI_CLASS_DEVICE, PCI_CLASS_OTHERS << 8);
	fake.config[PCI_CAPABILITY_LIST] = MSI_CAP;
	set_config_word(MSI_CAP, PCI_CAP_ID_MSI | MSIX_CAP << 8);
	set_config_word(MSI_CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT);
	set_config_word(MSIX_CAP, PCI_CAP_ID_MSIX);
}

static int move_test_init_irqs(void)
{
	struct fwnode_handle *fwnode;

	fwnode = irq_domain_alloc_named_fwnode("fake-pci");
	if (!fwnode)
		return -ENOMEM;
	fake.irqs = irq_domain_create_hierarchy(NULL, 0, 1, fwnode,
						&fake_irq_ops, &fake_msi_info);
	if (fake.irqs) {
		fake.irqs->flags |= IRQ_DOMAIN_FLAG_MSI;
		return 0;
	}
	irq_domain_free_fwnode(fwnode);
	return -ENOMEM;
}

static int move_test_init_pci(struct kunit *test)
{
	fake.bridge = pci_alloc_host_bridge(0);
	KUNIT_ASSERT_NOT_NULL(test, fake.bridge);
	fake.bridge->ops = &fake_pci_ops;
	fake.bridge->sysdata = no_sysdata;
	fake.bridge->domain_nr = DOMAIN_NR;
	if (pci_scan_root_bus_bridge(fake.bridge)) {
		pci_free_host_bridge(fake.bridge);
		fake.bridge = NULL;
		return -ENODEV;
	}
	fake.pdev = pci_get_slot(fake.bridge->bus, 0);
	if (!fake.pdev)
		return -ENODEV;
	pci_dev_put(fake.pdev);
	KUNIT_EXPECT_EQ(test, MSIX_CAP, fake.pdev->msix_cap);
	KUNIT_EXPECT_EQ(test, MSI_CAP, fake.pdev->msi_cap);
	fake.pdev->hdr_type = PCI_HEADER_TYPE_BRIDGE;
	fake.pdev->current_state = PCI_D0;
	set_memory_decoding(true);
	return 0;
}

static int move_test_init(struct kunit *test)
{
	int ret;

	memset(&fake, 0, sizeof(fake));
	init_config();
	KUNIT_ASSERT_EQ(test, 0, fake_iommu_create("iommu-msi-move-test"));
	ret = move_test_init_irqs() ?: move_test_init_pci(test) ?:
	      msi_setup_device_data(&fake.pdev->dev) ?:
	      fake_iommu_add_device(&fake.pdev->dev);
	if (ret)
		return ret;
	fake.group = fake_iommu.group;
	fake.domain = fake_iommu_window_domain(&fake.pdev->dev);
	if (IS_ERR(fake.domain)) {
		ret = PTR_ERR(fake.domain);
		fake.domain = NULL;
		return ret;
	}
	fake.desc.dev = &fake.pdev->dev;
	fake.desc.nvec_used = 1;
	return 0;
}

static void move_test_exit(struct kunit *test)
{
	struct pci_bus *bus = fake.bridge ? fake.bridge->bus : NULL;
	struct fwnode_handle *fwnode;

	fake.dead = false;
	disable_interrupt();
	if (fake.pdev) {
		iommu_dma_release_msi(&fake.desc);
		if (fake.group)
			iommu_detach_group(NULL, fake.group);
		fake.pdev->hdr_type = PCI_HEADER_TYPE_NORMAL;
		/* There is no table and no vector to tear down */
		fake.pdev->msix_enabled = 0;
		fake.pdev->msi_enabled = 0;
	}
	if (bus) {
		pci_lock_rescan_remove();
		pci_stop_root_bus(bus);
		pci_remove_root_bus(bus);
		pci_unlock_rescan_remove();
		pci_free_host_bridge(fake.bridge);
	}
	if (fake.domain)
		iommu_domain_free(fake.domain);
	if (fake.irqs) {
		fwnode = fake.irqs->fwnode;
		irq_domain_remove(fake.irqs);
		irq_domain_free_fwnode(fwnode);
	}
	fake_iommu_destroy();
}

static struct kunit_case move_test_cases[] = {
	KUNIT_CASE(test_masks_msix),
	KUNIT_CASE(test_switches_msi_off),
	KUNIT_CASE(test_leaves_alone),
	KUNIT_CASE(test_refuses_intx_quirk),
	KUNIT_CASE(test_refuses_masked),
	KUNIT_CASE(test_refuses_without_memory),
	KUNIT_CASE(test_msi_needs_no_memory),
	KUNIT_CASE(test_refuses_d3hot),
	KUNIT_CASE(test_refuses_no_answer),
	KUNIT_CASE(test_refuses_endpoint),
	KUNIT_CASE(test_attach_fails),
	KUNIT_CASE(test_refuses_disabled),
	KUNIT_CASE(test_stays_off),
	KUNIT_CASE(test_activated_in_between),
	KUNIT_CASE(test_wakes_suspended),
	KUNIT_CASE(test_lets_sleep),
	KUNIT_CASE(test_lets_endpoint_sleep),
	KUNIT_CASE(test_restored),
	KUNIT_CASE(test_restored_too_late),
	KUNIT_CASE(test_bridge_window),
	KUNIT_CASE(test_dma_ranges),
	{ }
};

static struct kunit_suite move_test_suite = {
	.name		= "iommu-dma-msi-move",
	.init		= move_test_init,
	.exit		= move_test_exit,
	.test_cases	= move_test_cases,
};

kunit_test_suite(move_test_suite);
