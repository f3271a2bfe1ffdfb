// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of holding a PCI function back while its IOMMU domain changes
 *
 * The function is on a host bridge whose config space is memory, behind the
 * fake IOMMU. A case looks at its registers while a domain is being attached,
 * and afterwards: what is not in a state to be written to must stay quiet, and
 * must be let go as soon as it is. The function has one interrupt, of which the
 * message that it was given last is kept; writing one is an error where there
 * is nothing to write to.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/jiffies.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "dma-iommu-msi.h"
#include "dma-iommu-msi-fake.h"

#define DOORBELL	0x08090040ULL
#define DOMAIN_NR	0x7fff
#define MSI_CAP		0x40
#define MSIX_CAP	0x60
#define REGISTERS	PCI_CFG_SPACE_SIZE

static struct {
	struct pci_host_bridge	*bridge;
	struct pci_dev		*pdev;
	struct iommu_domain	*domain;	/* to move to */
	struct msi_desc		desc;
	u8			config[REGISTERS];
	unsigned int		writes;		/* to config space */
	bool			dead;		/* reads are all ones */
	/* The interrupt */
	struct irq_domain	*irqs;
	u64			written;	/* address that it sends to */
	bool			restored;	/* who restores may write */
	unsigned int		bad_writes;
	unsigned int		retriggers;
	/* What on_attach saw */
	u16			msi, msix;
	bool			held;
	int			ret;
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

static bool is_late(void)
{
	return !hlist_unhashed_lockless(&fake.pdev->dev.iommu->msi.late);
}

/*
 * The interrupt
 */

/* Would the hardware have taken the message just now? */
static bool can_be_written(void)
{
	struct pci_dev *pdev = fake.pdev;

	if (fake.dead || pdev->current_state != PCI_D0)
		return false;
	if (fake.desc.pci.msi_attrib.is_msix && !pdev->no_command_memory &&
	    !(config_word(PCI_COMMAND) & PCI_COMMAND_MEMORY))
		return false;
	/* Nobody else may change that state meanwhile */
	return pdev->block_cfg_access || fake.restored;
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
	fake.written = (u64)msg->address_hi << 32 | msg->address_lo;
}

static int fake_irq_retrigger(struct irq_data *data)
{
	fake.retriggers++;
	return 1;
}

static struct irq_chip fake_irq_chip = {
	.name			= "fake-pci",
	.irq_mask		= fake_irq_nop,
	.irq_unmask		= fake_irq_nop,
	.irq_ack		= fake_irq_nop,
	.irq_retrigger		= fake_irq_retrigger,
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

/* As if the driver had enabled it: it is active, with the right message */
static int enable_interrupt(void)
{
	int virq = irq_domain_alloc_irqs(fake.irqs, 1, NUMA_NO_NODE, NULL);
	int ret;

	if (virq < 0)
		return virq;
	ret = request_irq(virq, nop_handler, 0, "fake", &fake);
	if (ret) {
		irq_domain_free_irqs(virq, 1);
		return ret;
	}
	fake.desc.irq = virq;
	fake.restored = true;
	msi_irq_rewrite(virq);
	fake.restored = false;
	fake.retriggers = 0;
	return 0;
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
	fake.held = fake.pdev->msi_held;
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

/* Change the domain; what @hook does, it does in the middle */
static void move(struct kunit *test, void (*hook)(void))
{
	fake_iommu.on_attach = hook;
	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device(fake.domain, &fake.pdev->dev));
	KUNIT_ASSERT_PTR_EQ(test, fake.domain, fake_iommu.attached);
}

/* Does what the device was given lead to the doorbell, where it is now? */
static bool message_is_right(void)
{
	return iommu_iova_to_phys(fake_iommu.attached, fake.written) ==
	       DOORBELL;
}

/* The device may send again, and nobody has to come back to it */
static void expect_settled(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, fake.desc.iommu_msi.stale);
	if (fake.desc.irq)
		KUNIT_EXPECT_TRUE(test, message_is_right());
	KUNIT_EXPECT_EQ(test, 0, fake.bad_writes);
}

static void expect_waiting(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_TRUE(test, is_late());
	KUNIT_EXPECT_TRUE(test, fake.desc.iommu_msi.stale);
	KUNIT_EXPECT_EQ(test, 0, fake.bad_writes);
	KUNIT_EXPECT_EQ(test, 0, fake.retriggers);
}

static void refresh(void)
{
	iommu_dma_refresh_msis(&fake.pdev->dev);
}

/*
 * Cases
 */

static void test_masks_msix(struct kunit *test)
{
	use_msix(test);
	move(test, look);
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
			fake.msix);
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 0, fake.retriggers);
}

static void test_keeps_what_driver_masked(struct kunit *test)
{
	use_msix(test);
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS,
			PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	move(test, NULL);
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
}

static void test_switches_msi_off(struct kunit *test)
{
	use_msi(test);
	move(test, look);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT, fake.msi);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE,
			config_word(MSI_CAP + PCI_MSI_FLAGS));
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
}

/* It would raise INTx, so it goes on */
static void test_leaves_intx_quirk(struct kunit *test)
{
	use_msi(test);
	fake.pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	move(test, look);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE,
			fake.msi);
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
}

static void prepare_and_look(void)
{
	fake.desc.pci.msi_attrib.is_msix = 1;
	fake.ret = iommu_dma_prepare_msi(&fake.desc, DOORBELL);
	look();
}

/* Nothing to hold at first, but the driver allocates in the middle */
static void test_prepare_in_between(struct kunit *test)
{
	move(test, prepare_and_look);
	KUNIT_EXPECT_EQ(test, 0, fake.ret);
	KUNIT_EXPECT_TRUE(test, fake.held);
	expect_settled(test);
}

static void test_leaves_who_has_no_msi(struct kunit *test)
{
	move(test, look);
	KUNIT_EXPECT_FALSE(test, fake.held);
	KUNIT_EXPECT_FALSE(test, is_late());
}

static void test_memory_decoding_off(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	expect_waiting(test);
	refresh();
	expect_waiting(test);
	KUNIT_EXPECT_FALSE(test, message_is_right());
	set_memory_decoding(true);
	refresh();
	expect_settled(test);
}

/* The enable bit of a virtual function reads 0: its memory is always there */
static void test_virtual_function(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	fake.pdev->no_command_memory = 1;
	move(test, NULL);
	expect_settled(test);
}

/* The message of plain MSI is in config space */
static void test_msi_needs_no_memory(struct kunit *test)
{
	use_msi(test);
	set_memory_decoding(false);
	move(test, NULL);
	expect_settled(test);
}

static void test_d3hot(struct kunit *test)
{
	use_msix(test);
	fake.pdev->current_state = PCI_D3hot;
	move(test, NULL);
	expect_waiting(test);
	fake.pdev->current_state = PCI_D0;
	refresh();
	expect_settled(test);
}

/* As if it had been suspended: what is known of it, and what is not restored */
static void suspend(struct kunit *test, pci_power_t state)
{
	struct device *dev = &fake.pdev->dev;

	pci_save_state(fake.pdev);
	pm_runtime_disable(dev);
	KUNIT_ASSERT_EQ(test, 0, pm_runtime_set_suspended(dev));
	pm_runtime_enable(dev);
	pm_runtime_allow(dev);
	fake.pdev->current_state = state;
}

/* By the PCI core, which restores its state */
static void resume(struct kunit *test)
{
	fake.restored = true;
	pm_runtime_forbid(&fake.pdev->dev);
	fake.restored = false;
	KUNIT_ASSERT_TRUE(test, pm_runtime_active(&fake.pdev->dev));
	KUNIT_ASSERT_TRUE(test, fake.pdev->current_state == PCI_D0);
}

/* It is woken for the change, or its registers might not be reached */
static void test_wakes_suspended(struct kunit *test)
{
	use_msix(test);
	suspend(test, PCI_D3hot);
	fake.restored = true;
	move(test, look);
	fake.restored = false;
	KUNIT_EXPECT_TRUE(test, fake.msix & PCI_MSIX_FLAGS_MASKALL);
	expect_settled(test);
	resume(test);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
}

/*
 * Suspended while it waits: resuming will restore the cached message and let
 * the function go, so nobody has to come back to it. Until then it has the old
 * message, and must be quiet.
 */
static void test_suspended_while_waiting(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	expect_waiting(test);
	/* In this order, or who comes back to it might be faster */
	suspend(test, PCI_D3hot);
	set_memory_decoding(true);
	refresh();
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, message_is_right());

	resume(test);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
}

/* The domain is refused: nobody restores anything, so it has to be let go */
static void test_refused_in_d3hot(struct kunit *test)
{
	use_msix(test);
	fake.pdev->current_state = PCI_D3hot;
	fake_iommu.window_pages = 0;
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			iommu_attach_device(fake.domain, &fake.pdev->dev));
	expect_settled(test);
	fake.pdev->current_state = PCI_D0;
}

/* It is in D0 again when it is let go, but nobody has restored it yet */
static void test_resumed_too_early(struct kunit *test)
{
	bool lossy = false;

	use_msix(test);
	pci_msi_hold(fake.pdev);
	suspend(test, PCI_D3hot);
	KUNIT_EXPECT_TRUE(test, pci_msi_is_saved(fake.pdev));
	fake.pdev->current_state = PCI_D0;
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	resume(test);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());

	/* Not suspended, so nothing is forgotten */
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_FALSE(test, pci_msi_is_saved(fake.pdev));
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, lossy);
}

/* Held twice before it is restored: the second finds it masked by the first */
static void test_held_again_while_suspended(struct kunit *test)
{
	bool lossy = false;

	use_msix(test);
	pci_msi_hold(fake.pdev);
	suspend(test, PCI_D3hot);
	KUNIT_EXPECT_TRUE(test, pci_msi_is_saved(fake.pdev));
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	pci_msi_hold(fake.pdev);
	resume(test);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
}

/* Not reached, so it is not known to be quiet until it is restored */
static void test_not_saved_if_not_reached(struct kunit *test)
{
	use_msix(test);
	fake.dead = true;
	pci_msi_hold(fake.pdev);
	fake.dead = false;
	suspend(test, PCI_D3hot);
	KUNIT_EXPECT_FALSE(test, pci_msi_is_saved(fake.pdev));
	pci_msi_resume(fake.pdev, NULL);
	resume(test);
}

/* Somebody resets the function, and waits for a lock that we may be under */
static void test_reset_under_way(struct kunit *test)
{
	use_msix(test);
	pci_cfg_access_lock(fake.pdev);
	move(test, NULL);
	expect_waiting(test);
	pci_cfg_access_unlock(fake.pdev);
	refresh();
	expect_settled(test);
}

/* Without anyone to say that the reset has ended */
static void test_worker_comes_back(struct kunit *test)
{
	unsigned long timeout;

	use_msix(test);
	pci_cfg_access_lock(fake.pdev);
	move(test, NULL);
	msleep(100);
	expect_waiting(test);
	pci_cfg_access_unlock(fake.pdev);

	timeout = jiffies + 10 * HZ;
	while (is_late() && time_before(jiffies, timeout))
		msleep(20);
	expect_settled(test);
}

/* The domain changes again while the message of the last change waits */
static void test_moves_on_while_waiting(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	expect_waiting(test);
	fake_iommu.on_attach = look;
	iommu_detach_device(fake.domain, &fake.pdev->dev);
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
			fake.msix);
	expect_waiting(test);
	set_memory_decoding(true);
	move(test, NULL);
	expect_settled(test);
}

static void test_freed_while_waiting(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	expect_waiting(test);
	disable_interrupt();
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
}

/*
 * It leaves its IOMMU while it is late, and does not answer any more. The
 * worker must not find it, nor the next user find it held.
 */
static void test_leaves_while_waiting(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	iommu_detach_device(fake.domain, &fake.pdev->dev);
	expect_waiting(test);
	fake.dead = true;
	fake.pdev->msix_enabled = 1;
	get_device(&fake.pdev->dev);
	pci_stop_and_remove_bus_device_locked(fake.pdev);
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_NULL(test, fake.pdev->dev.iommu);
	msleep(100);
	put_device(&fake.pdev->dev);
	fake.pdev = NULL;
}

/* All ones are no state to go back to, and not to be written back */
static void test_answers_all_ones(struct kunit *test)
{
	unsigned int writes;

	use_msix(test);
	writes = fake.writes;
	fake.dead = true;
	move(test, NULL);
	KUNIT_EXPECT_EQ(test, writes, fake.writes);
	KUNIT_EXPECT_TRUE(test, is_late());
	fake.dead = false;
	refresh();
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE,
			config_word(MSIX_CAP + PCI_MSIX_FLAGS));
}

/* The driver's probe, or a restore, enables it: that is noted, and waits */
static void enable_later(void)
{
	fake.desc.pci.msi_attrib.is_64 = 1;
	fake.ret = iommu_dma_prepare_msi(&fake.desc, DOORBELL) ?:
		   enable_interrupt();
	fake.pdev->msi_enabled = 1;
	pci_msi_write_control(fake.pdev,
			      PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE);
	look();
}

/* Plain MSI that was wanted while it was held may have been lost */
static void test_enabled_in_between(struct kunit *test)
{
	move(test, enable_later);
	KUNIT_EXPECT_EQ(test, 0, fake.ret);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT, fake.msi);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE,
			config_word(MSI_CAP + PCI_MSI_FLAGS));
	expect_settled(test);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
}

static void switch_off(void)
{
	pci_msi_write_control(fake.pdev, PCI_MSI_FLAGS_64BIT);
}

/* The user of an assigned device: it stays off */
static void test_switched_off_in_between(struct kunit *test)
{
	use_msi(test);
	move(test, switch_off);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT,
			config_word(MSI_CAP + PCI_MSI_FLAGS));
	expect_settled(test);
}

static bool loses(void)
{
	bool lossy = false;

	return pci_msi_resume(fake.pdev, &lossy) && lossy;
}

/* What decides whether interrupts are triggered once */
static void test_says_what_may_be_lost(struct kunit *test)
{
	use_msi(test);
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_TRUE(test, loses());
	fake.pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_TRUE(test, loses());
	fake.pdev->dev_flags &= ~PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;

	set_config_word(MSI_CAP + PCI_MSI_FLAGS, PCI_MSI_FLAGS_64BIT);
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_FALSE(test, loses());
	/* Enabled while it was held, and then it wanted to send */
	pci_msi_hold(fake.pdev);
	pci_msi_write_control(fake.pdev, PCI_MSI_FLAGS_ENABLE);
	KUNIT_EXPECT_TRUE(test, loses());

	fake.pdev->msi_enabled = 0;
	disable_interrupt();
	use_msix(test);
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_FALSE(test, loses());
}

/* A reset that begins after the messages were written */
static void test_does_not_answer_at_last(struct kunit *test)
{
	bool lossy = false;

	use_msix(test);
	pci_msi_hold(fake.pdev);
	fake.dead = true;
	KUNIT_EXPECT_FALSE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_TRUE(test, fake.pdev->msi_held);
	fake.dead = false;
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_EQ(test, PCI_MSIX_FLAGS_ENABLE,
			config_word(MSIX_CAP + PCI_MSIX_FLAGS));
}

/* Unplugged: there is nothing to come back for */
static void test_unplugged(struct kunit *test)
{
	use_msix(test);
	fake.pdev->error_state = pci_channel_io_perm_failure;
	move(test, NULL);
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
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

static int hold_test_init_irqs(void)
{
	struct fwnode_handle *fwnode;

	fwnode = irq_domain_alloc_named_fwnode("fake-pci");
	if (!fwnode)
		return -ENOMEM;
	fake.irqs = irq_domain_create_hierarchy(NULL, 0, 1, fwnode,
						&fake_irq_ops, &fake_msi_info);
	if (fake.irqs)
		return 0;
	irq_domain_free_fwnode(fwnode);
	return -ENOMEM;
}

static int hold_test_init_pci(struct kunit *test)
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
	fake.pdev->current_state = PCI_D0;
	set_memory_decoding(true);
	return 0;
}

static int hold_test_init(struct kunit *test)
{
	int ret;

	memset(&fake, 0, sizeof(fake));
	init_config();
	KUNIT_ASSERT_EQ(test, 0, fake_iommu_create("iommu-msi-hold-test"));
	ret = hold_test_init_irqs() ?: hold_test_init_pci(test) ?:
	      msi_setup_device_data(&fake.pdev->dev) ?:
	      fake_iommu_add_device(&fake.pdev->dev);
	if (ret)
		return ret;
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

static void hold_test_exit(struct kunit *test)
{
	struct pci_bus *bus = fake.bridge ? fake.bridge->bus : NULL;
	struct fwnode_handle *fwnode;

	fake.dead = false;
	disable_interrupt();
	if (fake.pdev) {
		iommu_dma_release_msi(&fake.desc);
		if (fake.domain && fake_iommu.attached == fake.domain)
			iommu_detach_device(fake.domain, &fake.pdev->dev);
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

static struct kunit_case hold_test_cases[] = {
	KUNIT_CASE(test_masks_msix),
	KUNIT_CASE(test_keeps_what_driver_masked),
	KUNIT_CASE(test_switches_msi_off),
	KUNIT_CASE(test_leaves_intx_quirk),
	KUNIT_CASE(test_prepare_in_between),
	KUNIT_CASE(test_leaves_who_has_no_msi),
	KUNIT_CASE(test_memory_decoding_off),
	KUNIT_CASE(test_virtual_function),
	KUNIT_CASE(test_msi_needs_no_memory),
	KUNIT_CASE(test_d3hot),
	KUNIT_CASE(test_wakes_suspended),
	KUNIT_CASE(test_suspended_while_waiting),
	KUNIT_CASE(test_refused_in_d3hot),
	KUNIT_CASE(test_resumed_too_early),
	KUNIT_CASE(test_held_again_while_suspended),
	KUNIT_CASE(test_not_saved_if_not_reached),
	KUNIT_CASE(test_reset_under_way),
	KUNIT_CASE_SLOW(test_worker_comes_back),
	KUNIT_CASE(test_moves_on_while_waiting),
	KUNIT_CASE(test_freed_while_waiting),
	KUNIT_CASE(test_leaves_while_waiting),
	KUNIT_CASE(test_answers_all_ones),
	KUNIT_CASE(test_enabled_in_between),
	KUNIT_CASE(test_switched_off_in_between),
	KUNIT_CASE(test_says_what_may_be_lost),
	KUNIT_CASE(test_does_not_answer_at_last),
	KUNIT_CASE(test_unplugged),
	{ }
};

static struct kunit_suite hold_test_suite = {
	.name		= "iommu-dma-msi-hold",
	.init		= hold_test_init,
	.exit		= hold_test_exit,
	.test_cases	= hold_test_cases,
};

kunit_test_suite(hold_test_suite);
