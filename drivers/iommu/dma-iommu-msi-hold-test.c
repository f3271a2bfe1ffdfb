// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of holding a PCI function back while its IOMMU domain changes
 *
 * The function is on a host bridge whose config space is memory, behind the
 * fake IOMMU. A case looks at its registers while a domain is being attached,
 * and afterwards: what is not in a state to be written to must stay quiet, and
 * must be let go as soon as it is.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/iommu.h>
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
	fake.pdev->msix_enabled = 1;
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

static void use_msi(struct kunit *test)
{
	fake.desc.pci.msi_attrib.is_64 = 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&fake.desc, DOORBELL));
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

static void expect_right_message(struct kunit *test)
{
	struct msi_msg msg = { .address_lo = DOORBELL };

	iommu_dma_compose_msi_msg(&fake.desc, &msg);
	KUNIT_EXPECT_EQ(test, DOORBELL,
			iommu_iova_to_phys(fake_iommu.attached,
					   ((u64)msg.address_hi << 32) |
					   msg.address_lo));
}

/* The device may send again, and nobody has to come back to it */
static void expect_settled(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, fake.desc.iommu_msi.stale);
	expect_right_message(test);
}

static void expect_waiting(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_TRUE(test, is_late());
	KUNIT_EXPECT_TRUE(test, fake.desc.iommu_msi.stale);
	expect_right_message(test);
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

static void set_suspended(bool suspended, pci_power_t state)
{
	struct device *dev = &fake.pdev->dev;

	pm_runtime_disable(dev);
	if (suspended)
		pm_runtime_set_suspended(dev);
	else
		pm_runtime_set_active(dev);
	pm_runtime_enable(dev);
	fake.pdev->current_state = state;
}

/*
 * Resuming restores the cached message and lets the function go, so nobody has
 * to come back to it. Until then it has the old message, and must be quiet.
 */
static void test_suspended(struct kunit *test)
{
	use_msix(test);
	set_suspended(true, PCI_D3hot);
	move(test, NULL);
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
	KUNIT_EXPECT_FALSE(test, is_late());
	set_suspended(false, PCI_D0);
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
	set_suspended(true, PCI_D3hot);
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_TRUE(test, pci_msi_is_saved(fake.pdev));
	set_suspended(false, PCI_D0);
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_TRUE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);

	/* Not suspended, so nothing is forgotten */
	set_config_word(MSIX_CAP + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
	pci_msi_hold(fake.pdev);
	KUNIT_EXPECT_FALSE(test, pci_msi_is_saved(fake.pdev));
	KUNIT_EXPECT_TRUE(test, pci_msi_resume(fake.pdev, &lossy));
	KUNIT_EXPECT_FALSE(test, msix_is_masked());
	KUNIT_EXPECT_FALSE(test, lossy);
}

/* Nothing is restored before it sends, so it has to be written to */
static void test_suspended_in_d0(struct kunit *test)
{
	use_msix(test);
	set_suspended(true, PCI_D0);
	move(test, NULL);
	expect_settled(test);
	set_suspended(false, PCI_D0);
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
	iommu_dma_release_msi(&fake.desc);
	KUNIT_EXPECT_FALSE(test, is_late());
	KUNIT_EXPECT_FALSE(test, fake.pdev->msi_held);
}

/* The worker must not find what has gone */
static void test_leaves_while_waiting(struct kunit *test)
{
	use_msix(test);
	set_memory_decoding(false);
	move(test, NULL);
	iommu_detach_device(fake.domain, &fake.pdev->dev);
	expect_waiting(test);
	fake.pdev->msix_enabled = 0;
	pci_stop_and_remove_bus_device_locked(fake.pdev);
	fake.pdev = NULL;
	msleep(100);
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

static void enable_later(void)
{
	fake.desc.pci.msi_attrib.is_64 = 1;
	fake.ret = iommu_dma_prepare_msi(&fake.desc, DOORBELL);
	fake.pdev->msi_enabled = 1;
	/* As pci_msi_set_enable() would for a function that is held */
	fake.pdev->msi_wanted = true;
}

/* Plain MSI that was wanted while it was held may have been lost */
static void test_enabled_in_between(struct kunit *test)
{
	move(test, enable_later);
	KUNIT_EXPECT_EQ(test, 0, fake.ret);
	KUNIT_EXPECT_EQ(test, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_ENABLE,
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
	fake.pdev->msi_wanted = true;
	KUNIT_EXPECT_TRUE(test, loses());

	fake.pdev->msi_enabled = 0;
	iommu_dma_release_msi(&fake.desc);
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
	ret = hold_test_init_pci(test) ?:
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

	fake.dead = false;
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
	KUNIT_CASE(test_suspended),
	KUNIT_CASE(test_refused_in_d3hot),
	KUNIT_CASE(test_resumed_too_early),
	KUNIT_CASE(test_suspended_in_d0),
	KUNIT_CASE(test_reset_under_way),
	KUNIT_CASE_SLOW(test_worker_comes_back),
	KUNIT_CASE(test_moves_on_while_waiting),
	KUNIT_CASE(test_freed_while_waiting),
	KUNIT_CASE(test_leaves_while_waiting),
	KUNIT_CASE(test_answers_all_ones),
	KUNIT_CASE(test_enabled_in_between),
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
