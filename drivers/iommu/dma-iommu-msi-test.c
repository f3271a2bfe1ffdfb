// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of MSI doorbells behind an IOMMU
 *
 * A fake IOMMU keeps its page tables in xarrays; a fake interrupt controller
 * has the doorbells. Between them are the real IOMMU core, DMA API and MSI
 * core, and a platform device that allocates MSIs. The oracle is a property: a
 * message that the device has been given must lead, by the page table of the
 * domain that the device is attached to, to the doorbell of its interrupt, and
 * must be writable and nothing else. At no time, not even while another domain
 * is being attached, may it lead anywhere else.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/cleanup.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/irqdomain.h>
#include <linux/kthread.h>
#include <linux/msi.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/sizes.h>

#include "dma-iommu.h"
#include "dma-iommu-msi.h"
#include "dma-iommu-msi-fake.h"
#include "iommu-priv.h"

#define DOORBELL	0x08090040ULL	/* what an ITS would have */
#define MAX_VECTORS	16

/* One fake machine; the suite's cases run one after another */
static struct {
	struct platform_device	*pdev;
	struct device		*dev;
	struct irq_domain	*msi_parent;
	phys_addr_t		doorbell[MAX_VECTORS];	/* by hwirq */
	unsigned long		hwirqs;		/* in use */
	unsigned int		writes;
	unsigned int		retriggers;
	unsigned int		fail_alloc;	/* the n-th, once prepared */
	bool			activate_early;	/* as PCI does */
	struct mover		*on_write;	/* once, before a message */
} fake;

/*
 * The fake interrupt controller
 */

static void fake_irq_nop(struct irq_data *data)
{
}

static int fake_irq_set_state(struct irq_data *data,
			      enum irqchip_irq_state which, bool state)
{
	fake.retriggers += which == IRQCHIP_STATE_PENDING && state;
	return 0;
}

static void fake_compose(struct irq_data *data, struct msi_msg *msg)
{
	phys_addr_t doorbell = fake.doorbell[data->hwirq];

	msg->address_hi = upper_32_bits(doorbell);
	msg->address_lo = lower_32_bits(doorbell);
	msg->data = data->hwirq;
	iommu_dma_compose_msi_msg(irq_data_get_msi_desc(data), msg);
}

static struct irq_chip fake_irq_chip = {
	.name			= "fake",
	.irq_mask		= fake_irq_nop,
	.irq_unmask		= fake_irq_nop,
	.irq_ack		= fake_irq_nop,
	.irq_set_irqchip_state	= fake_irq_set_state,
	.irq_compose_msi_msg	= fake_compose,
};

static int fake_irq_alloc(struct irq_domain *domain, unsigned int virq,
			  unsigned int nr_irqs, void *args)
{
	msi_alloc_info_t *info = args;
	unsigned int hwirq = ffz(fake.hwirqs);
	int ret;

	if (hwirq >= MAX_VECTORS)
		return -ENOSPC;

	ret = iommu_dma_prepare_msi(info->desc, fake.doorbell[hwirq]);
	if (ret)
		return ret;
	if (fake.fail_alloc && !--fake.fail_alloc)
		return -ENOSPC;

	fake.hwirqs |= BIT(hwirq);
	irq_domain_set_info(domain, virq, hwirq, &fake_irq_chip, NULL,
			    handle_simple_irq, NULL, NULL);
	return 0;
}

static void fake_irq_free(struct irq_domain *domain, unsigned int virq,
			  unsigned int nr_irqs)
{
	struct irq_data *data = irq_domain_get_irq_data(domain, virq);

	fake.hwirqs &= ~BIT(data->hwirq);
	irq_domain_reset_irq_data(data);
}

static const struct irq_domain_ops fake_irq_domain_ops = {
	.alloc	= fake_irq_alloc,
	.free	= fake_irq_free,
};

/* Moves the device to another domain in a thread of its own */
struct mover {
	struct iommu_domain	*domain;
	struct completion	done;
	int			ret;
};

static int mover_thread(void *data)
{
	struct mover *mover = data;

	mover->ret = iommu_attach_device(mover->domain, fake.dev);
	complete(&mover->done);
	return 0;
}

static void move_and_wait(struct mover *mover)
{
	struct task_struct *task;

	task = kthread_run(mover_thread, mover, "msi-mover");
	if (!WARN_ON(IS_ERR(task)))
		wait_for_completion(&mover->done);
}

static bool fake_init_dev_msi_info(struct device *dev,
				   struct irq_domain *domain,
				   struct irq_domain *real_parent,
				   struct msi_domain_info *info)
{
	info->flags |= MSI_FLAG_USE_DEF_DOM_OPS | MSI_FLAG_USE_DEF_CHIP_OPS |
		       MSI_FLAG_ALLOC_SIMPLE_MSI_DESCS |
		       MSI_FLAG_FREE_MSI_DESCS | MSI_FLAG_NO_AFFINITY;
	if (fake.activate_early)
		info->flags |= MSI_FLAG_ACTIVATE_EARLY;
	info->chip->irq_ack = irq_chip_ack_parent;
	return true;
}

static const struct msi_parent_ops fake_msi_parent_ops = {
	.prefix			= "fake-",
	.init_dev_msi_info	= fake_init_dev_msi_info,
};

/* What the device is told: the message lands in its descriptor */
static void fake_write_msg(struct msi_desc *desc, struct msi_msg *msg)
{
	struct mover *mover = fake.on_write;

	fake.on_write = NULL;
	if (mover)
		move_and_wait(mover);
	desc->msg = *msg;
	fake.writes++;
}

/*
 * Helpers of the cases
 */

static int alloc_vectors(unsigned int nvec)
{
	int ret = platform_device_msi_init_and_alloc_irqs(fake.dev, nvec,
							  fake_write_msg);

	if (ret)
		msi_remove_device_irq_domain(fake.dev, MSI_DEFAULT_DOMAIN);
	return ret;
}

static void free_vectors(void)
{
	platform_device_msi_free_irqs_all(fake.dev);
}

static struct msi_desc *vector(unsigned int index)
{
	return irq_get_msi_desc(msi_get_virq(fake.dev, index));
}

/* Compose as an irqchip would, when the interrupt is activated or moved */
static u64 composed(unsigned int index)
{
	struct irq_data *data;
	struct msi_msg msg = { };

	data = irq_get_irq_data(msi_get_virq(fake.dev, index));
	WARN_ON(irq_chip_compose_msi_msg(data, &msg));
	return ((u64)msg.address_hi << 32) | msg.address_lo;
}

/* What the device has in its registers */
static u64 written(unsigned int index)
{
	struct msi_msg *msg = &vector(index)->msg;

	return ((u64)msg->address_hi << 32) | msg->address_lo;
}

/* Activating is what request_irq() does first; the message is written then */
static irqreturn_t nop_handler(int irq, void *data)
{
	return IRQ_HANDLED;
}

static void request_vector(struct kunit *test, unsigned int index)
{
	int virq = msi_get_virq(fake.dev, index);

	KUNIT_ASSERT_GT(test, virq, 0);
	KUNIT_ASSERT_EQ(test, 0, request_irq(virq, nop_handler, 0, "fake",
					     fake.dev));
}

static void free_vector(unsigned int index)
{
	free_irq(msi_get_virq(fake.dev, index), fake.dev);
}

/* The property that the suite is about */
static void expect_reaches_doorbell(struct kunit *test, u64 address, u64 phys)
{
	struct iommu_domain *domain = fake_iommu.attached;
	struct fake_pte *pte;

	KUNIT_EXPECT_EQ(test, phys, iommu_iova_to_phys(domain, address));
	pte = fake_iommu_walk(domain, address);
	if (!pte) {
		KUNIT_FAIL(test, "0x%llx is not mapped", address);
		return;
	}
	KUNIT_EXPECT_EQ(test, IOMMU_WRITE | IOMMU_NOEXEC | IOMMU_MMIO,
			pte->prot);
}

static unsigned int doorbells_in(struct iommu_domain *domain)
{
	struct iommu_msi_doorbell *db;
	unsigned int bucket, n = 0;

	hash_for_each(domain->msi_cookie->doorbells, bucket, db, node)
		n++;
	return n;
}

static struct iommu_domain *window_domain(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu_window_domain(fake.dev);

	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	return domain;
}

/*
 * The table of slots
 */

static void test_slots(struct kunit *test)
{
	struct iommu_msi_slots *slots = &fake_iommu.slots;
	unsigned int i;

	guard(mutex)(&iommu_msi_lock);
	for (i = 0; i < IOMMU_MSI_SLOTS; i++) {
		KUNIT_EXPECT_EQ(test, i, iommu_msi_slot(slots, i * SZ_64K));
		/* Again, and again after others */
		KUNIT_EXPECT_EQ(test, i, iommu_msi_slot(slots, i * SZ_64K));
		KUNIT_EXPECT_EQ(test, i / 2,
				iommu_msi_slot(slots, i / 2 * SZ_64K));
	}
	/* Full: for good, and those that are in stay */
	KUNIT_EXPECT_EQ(test, -ENOSPC, iommu_msi_slot(slots, i * SZ_64K));
	KUNIT_EXPECT_EQ(test, 7, iommu_msi_slot(slots, 7 * SZ_64K));
}

/*
 * Cases in the DMA domain
 */

static void test_maps_on_prepare(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_EQ(test, 1, fake_iommu.maps);
	KUNIT_EXPECT_EQ(test, FAKE_WINDOW_BASE + DOORBELL % PAGE_SIZE,
			composed(0));
	expect_reaches_doorbell(test, composed(0), DOORBELL);
	request_vector(test, 0);
	KUNIT_EXPECT_EQ(test, composed(0), written(0));
	free_vector(0);
	free_vectors();
}

static void test_reuses_doorbell(struct kunit *test)
{
	int i;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(MAX_VECTORS));
	KUNIT_EXPECT_EQ(test, 1, fake_iommu.maps);
	for (i = 0; i < MAX_VECTORS; i++)
		KUNIT_EXPECT_EQ(test, composed(0), composed(i));
	free_vectors();
}

static void test_keeps_offset(struct kunit *test)
{
	/* As Graviton's GICv2m: the address tells the interrupts apart */
	fake.doorbell[1] = DOORBELL + 8;
	fake.doorbell[2] = ALIGN_DOWN(DOORBELL, fake_iommu.pgsize);
	fake.doorbell[3] = fake.doorbell[2] + fake_iommu.pgsize - 4;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(4));
	KUNIT_EXPECT_EQ(test, 1, fake_iommu.maps);
	for (int i = 0; i < 4; i++)
		expect_reaches_doorbell(test, composed(i), fake.doorbell[i]);
	free_vectors();
}

/* Four have room in the window, four do not */
static void test_several_doorbells(struct kunit *test)
{
	int i;

	for (i = 0; i < MAX_VECTORS; i++)
		fake.doorbell[i] = DOORBELL + (i / 2) * (u64)SZ_4G;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(MAX_VECTORS));
	KUNIT_EXPECT_EQ(test, MAX_VECTORS / 2, fake_iommu.maps);
	for (i = 0; i < MAX_VECTORS; i++)
		expect_reaches_doorbell(test, composed(i), fake.doorbell[i]);
	free_vectors();
}

/* Two doorbells in one page of the CPU, which is larger than the domain's */
static void test_shares_slot(struct kunit *test)
{
	fake.doorbell[1] = DOORBELL ^ SZ_4K;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	KUNIT_EXPECT_EQ(test, 2, fake_iommu.maps);
	KUNIT_EXPECT_EQ(test, PAGE_SIZE > SZ_4K ? 1 : 2, fake_iommu.slots.used);
	expect_reaches_doorbell(test, composed(0), fake.doorbell[0]);
	expect_reaches_doorbell(test, composed(1), fake.doorbell[1]);
	free_vectors();
}

/* Nobody else gets a doorbell's IOVA, not even after the last user */
static void test_iova_is_kept(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu.attached;
	dma_addr_t iova, last = FAKE_WINDOW_BASE + 3 * fake_iommu.pgsize;
	u64 own;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	free_vectors();
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(domain));
	iova = iommu_dma_msi_alloc_iova(domain, fake_iommu.pgsize, last,
					fake.dev);
	KUNIT_EXPECT_NE(test, 0, iova);
	KUNIT_EXPECT_LT(test, iova, FAKE_WINDOW_BASE);

	/* The same for one outside of the window: there is one page */
	*fake.dev->dma_mask = 2 * fake_iommu.pgsize - 1;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	own = composed(0);
	free_vectors();
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_msi_alloc_iova(domain,
							  fake_iommu.pgsize,
							  *fake.dev->dma_mask,
							  fake.dev));
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_EQ(test, own, composed(0));
	free_vectors();
}

static void test_prepare_twice(struct kunit *test)
{
	struct msi_desc *desc;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	desc = vector(0);
	fake.doorbell[0] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(desc, fake.doorbell[0]));
	KUNIT_EXPECT_EQ(test, 1,
			hlist_count_nodes(&fake.dev->iommu->msi.bindings));
	expect_reaches_doorbell(test, composed(0), DOORBELL + SZ_1M);
	free_vectors();
}

static void test_release_is_idempotent(struct kunit *test)
{
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };

	iommu_dma_release_msi(&desc);
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&desc, DOORBELL));
	iommu_dma_release_msi(&desc);
	iommu_dma_release_msi(&desc);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&fake.dev->iommu->msi.bindings));
}

static void test_hw_region_passes(struct kunit *test)
{
	fake.doorbell[0] = fake_iommu.hw_msi + 0x40;
	fake.doorbell[1] = fake_iommu.hw_msi + SZ_64K - 4;
	fake.doorbell[2] = fake_iommu.hw_msi + SZ_64K;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(3));
	KUNIT_EXPECT_EQ(test, fake.doorbell[0], composed(0));
	KUNIT_EXPECT_EQ(test, fake.doorbell[1], composed(1));
	expect_reaches_doorbell(test, composed(2), fake.doorbell[2]);
	KUNIT_EXPECT_EQ(test, 1, fake_iommu.maps);
	free_vectors();
}

/*
 * Cases of failure: an error, and nothing left behind
 */

static void expect_clean(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, 0UL, fake.hwirqs);
	KUNIT_EXPECT_TRUE(test, hlist_empty(&fake.dev->iommu->msi.bindings));
	KUNIT_EXPECT_TRUE(test, hlist_unhashed(&fake.dev->iommu->msi.node));
}

static void test_map_fails(struct kunit *test)
{
	int i;

	for (i = 0; i < 4; i++)
		fake.doorbell[i] = DOORBELL + i * SZ_1M;
	/* Four IOVAs, as page 0 is never used: none may be lost */
	*fake.dev->dma_mask = 5 * fake_iommu.pgsize - 1;

	/* Each of the four doorbells in turn; those before stay mapped */
	for (i = 0; i < 4; i++) {
		fake_iommu.fail_map = 1;
		KUNIT_EXPECT_LT(test, alloc_vectors(4), 0);
		KUNIT_EXPECT_EQ(test, 0, fake_iommu.fail_map);
		expect_clean(test);
		KUNIT_ASSERT_EQ(test, 0, alloc_vectors(i + 1));
		free_vectors();
	}
	KUNIT_EXPECT_EQ(test, 4, doorbells_in(fake_iommu.attached));
	expect_clean(test);
}

/* Something else fails once the doorbell is mapped: the MSI core releases it */
static void test_alloc_fails_once_prepared(struct kunit *test)
{
	for (int i = 1; i <= 3; i++) {
		fake.fail_alloc = i;
		KUNIT_EXPECT_LT(test, alloc_vectors(3), 0);
		KUNIT_EXPECT_EQ(test, 0, fake.fail_alloc);
		expect_clean(test);
	}
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(3));
	free_vectors();
	expect_clean(test);
}

static void test_map_errno(struct kunit *test)
{
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };

	fake_iommu.fail_map = 1;
	KUNIT_EXPECT_EQ(test, -EIO, iommu_dma_prepare_msi(&desc, DOORBELL));
	expect_clean(test);
}

static void test_iova_exhaustion(struct kunit *test)
{
	u64 pages = 4;
	int i;

	/* Page 0 is never used */
	*fake.dev->dma_mask = pages * fake_iommu.pgsize - 1;
	for (i = 0; i < pages; i++)
		fake.doorbell[i] = DOORBELL + i * SZ_1M;

	KUNIT_EXPECT_EQ(test, -ENOSPC, alloc_vectors(pages));
	expect_clean(test);
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(pages - 1));
	for (i = 0; i < pages - 1; i++) {
		KUNIT_EXPECT_LE(test, composed(i), *fake.dev->dma_mask);
		expect_reaches_doorbell(test, composed(i), fake.doorbell[i]);
	}
	free_vectors();
	expect_clean(test);
}

/* A slot is not to be had any more: the DMA API knows another IOVA */
static void test_table_full(struct kunit *test)
{
	fake_iommu.slots.used = IOMMU_MSI_SLOTS;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_GE(test, composed(0), FAKE_WINDOW_BASE +
			FAKE_WINDOW_PAGES * fake_iommu.pgsize);
	expect_reaches_doorbell(test, composed(0), DOORBELL);
	free_vectors();
}

/*
 * Widths
 */

/* A doorbell above what a second device can reach is mapped again for it */
static void test_limit_needs_second_mapping(struct kunit *test)
{
	struct msi_desc low = { .dev = fake.dev, .nvec_used = 1 };
	struct msi_desc any = { .dev = fake.dev, .nvec_used = 1 };
	struct iommu_domain *domain = fake_iommu.attached;
	struct msi_msg msg = { .address_lo = DOORBELL };

	*fake.dev->dma_mask = 16 * fake_iommu.pgsize - 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&low, DOORBELL));
	iommu_dma_compose_msi_msg(&low, &msg);
	KUNIT_EXPECT_EQ(test, 0, msg.address_hi);
	KUNIT_EXPECT_LE(test, (u64)msg.address_lo, *fake.dev->dma_mask);
	expect_reaches_doorbell(test, msg.address_lo, DOORBELL);

	*fake.dev->dma_mask = DMA_BIT_MASK(48);
	msg.address_lo = DOORBELL;
	iommu_dma_release_msi(&low);
	fake_iommu.fail_map = 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&any, DOORBELL));
	iommu_dma_compose_msi_msg(&any, &msg);
	expect_reaches_doorbell(test, msg.address_lo, DOORBELL);
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(domain));

	fake_iommu.fail_map = 0;
	*fake.dev->dma_mask = 8 * fake_iommu.pgsize - 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&low, DOORBELL));
	KUNIT_EXPECT_EQ(test, 2, doorbells_in(domain));
	msg.address_lo = DOORBELL;
	iommu_dma_compose_msi_msg(&low, &msg);
	KUNIT_EXPECT_LE(test, (u64)msg.address_lo, *fake.dev->dma_mask);

	iommu_dma_release_msi(&any);
	iommu_dma_release_msi(&low);
	expect_clean(test);
}

/* 32 bits first, whatever the mask, so that every device can share it */
static void test_prefers_32bit(struct kunit *test)
{
	*fake.dev->dma_mask = DMA_BIT_MASK(48);
	fake_iommu.slots.used = IOMMU_MSI_SLOTS;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_LE(test, composed(0), DMA_BIT_MASK(32));
	free_vectors();
}

static void test_msi_width(struct kunit *test)
{
	struct iommu_msi_cookie *dma = fake_iommu.attached->msi_cookie;
	struct iommu_domain *domain = window_domain(test);
	struct iommu_msi_cookie *window = domain->msi_cookie;
	u64 mask = DMA_BIT_MASK(64);
	struct msi_desc desc = { };
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dev.dma_mask = &mask;
	pdev->dev.bus = &pci_bus_type;
	desc.dev = &pdev->dev;

	/* MSI without a high address register */
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32), iommu_msi_limit(dma, &desc));
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32), iommu_msi_limit(window, &desc));
	desc.pci.msi_attrib.is_64 = 1;
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(dma, &desc));
	desc.pci.msi_attrib.is_64 = 0;
	desc.pci.msi_attrib.is_msix = 1;
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(dma, &desc));
	/* A device that has the register, and cannot use it */
	pdev->no_64bit_msi = 1;
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32), iommu_msi_limit(dma, &desc));
	/* The DMA mask counts too, but a window is where it is */
	mask = DMA_BIT_MASK(24);
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(dma, &desc));
	pdev->no_64bit_msi = 0;
	KUNIT_EXPECT_EQ(test, U64_MAX, iommu_msi_limit(window, &desc));
	iommu_domain_free(domain);
}

/*
 * Windows
 */

static void test_window_bounds(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	u64 last = FAKE_WINDOW_BASE + FAKE_WINDOW_PAGES * fake_iommu.pgsize - 1;
	int i;

	for (i = 0; i <= FAKE_WINDOW_PAGES; i++)
		fake.doorbell[i] = DOORBELL + i * SZ_1M;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_EQ(test, -ENOSPC, alloc_vectors(FAKE_WINDOW_PAGES + 1));
	expect_clean(test);

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(FAKE_WINDOW_PAGES));
	for (i = 0; i < FAKE_WINDOW_PAGES; i++) {
		KUNIT_EXPECT_GE(test, composed(i), FAKE_WINDOW_BASE);
		KUNIT_EXPECT_LE(test, composed(i), last);
		expect_reaches_doorbell(test, composed(i), fake.doorbell[i]);
	}
	free_vectors();
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
}

static void test_window_cookie_errors(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);

	KUNIT_EXPECT_EQ(test, -EEXIST,
			iommu_get_msi_cookie(domain, FAKE_WINDOW_BASE));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_get_msi_cookie(fake_iommu.attached,
					     FAKE_WINDOW_BASE));
	iommu_domain_free(domain);
}

/* What another region leaves of the window is one page */
static void test_region_in_window(struct kunit *test)
{
	struct iommu_domain *domain;
	u64 dma;

	fake_iommu.resv = FAKE_WINDOW_BASE + fake_iommu.pgsize;
	fake_iommu.resv_type = IOMMU_RESV_RESERVED;
	fake.doorbell[1] = DOORBELL + SZ_1M;
	domain = window_domain(test);
	/* As if the device had told of the region when it was added */
	KUNIT_ASSERT_EQ(test, 0, iommu_msi_learn_device(fake_iommu.attached,
							fake.dev));

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	KUNIT_EXPECT_LT(test, composed(0), fake_iommu.resv);
	dma = composed(1);
	KUNIT_EXPECT_GE(test, dma, fake_iommu.resv + fake_iommu.pgsize);
	expect_reaches_doorbell(test, dma, fake.doorbell[1]);
	free_vectors();

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_EQ(test, -ENOSPC, alloc_vectors(2));
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	expect_reaches_doorbell(test, composed(0), DOORBELL);
	free_vectors();
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
}

static struct platform_device *second_device(struct kunit *test)
{
	struct platform_device *pdev;

	pdev = platform_device_alloc("iommu-msi-test-2", PLATFORM_DEVID_NONE);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	KUNIT_ASSERT_EQ(test, 0, platform_device_add(pdev));
	pdev->dev.dma_mask = &pdev->dev.coherent_dma_mask;
	pdev->dev.coherent_dma_mask = DMA_BIT_MASK(32);
	KUNIT_ASSERT_EQ(test, 0, fake_iommu_add_device(&pdev->dev));
	return pdev;
}

/* A region that only the second device of a group has is nobody's buffer */
static void test_region_of_second_device(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu.attached;
	struct platform_device *pdev;
	dma_addr_t iova;
	int i;

	fake_iommu.one_group = true;
	fake_iommu.resv = 3 * fake_iommu.pgsize;
	fake_iommu.resv_type = IOMMU_RESV_DIRECT;
	pdev = second_device(test);
	KUNIT_ASSERT_PTR_EQ(test, domain, iommu_get_domain_for_dev(&pdev->dev));
	KUNIT_EXPECT_NOT_NULL(test, fake_iommu_walk(domain, fake_iommu.resv));
	for (i = 0; i < 5; i++) {
		iova = iommu_dma_msi_alloc_iova(domain, fake_iommu.pgsize,
						5 * fake_iommu.pgsize - 1,
						fake.dev);
		KUNIT_EXPECT_NE(test, fake_iommu.resv, iova);
		KUNIT_EXPECT_EQ(test, i < 3, iova != 0);
	}
	platform_device_unregister(pdev);
	/* Who maps a direct region leaves it */
	iommu_unmap(domain, fake_iommu.resv, fake_iommu.pgsize);
}

/*
 * Changes of the domain under live MSIs
 */

static u64 sends;

/* As a device that sends at the worst of times */
static void send_now(void)
{
	sends += fake_iommu_leads_to(written(0), DOORBELL);
}

static void attach(struct kunit *test, struct iommu_domain *domain)
{
	sends = 0;
	fake_iommu.on_attach = send_now;
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_EQ(test, 1, sends);
}

/* From one translating domain to another, nothing is written */
static void test_same_iova_everywhere(struct kunit *test)
{
	struct iommu_domain *one = window_domain(test);
	struct iommu_domain *two = window_domain(test);
	u64 iova;

	/* Where the windows are not alike, other cases look */
	if (fake_iommu.pgsize > PAGE_SIZE)
		kunit_skip(test, "granule larger than a page");
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	request_vector(test, 0);
	iova = written(0);
	fake.writes = 0;

	attach(test, one);
	expect_reaches_doorbell(test, iova, DOORBELL);
	KUNIT_ASSERT_EQ(test, 0, iommu_replace_group_handle(fake_iommu.group,
							    two, NULL));
	expect_reaches_doorbell(test, iova, DOORBELL);
	expect_reaches_doorbell(test, composed(1), DOORBELL);
	iommu_detach_device(two, fake.dev);
	expect_reaches_doorbell(test, iova, DOORBELL);
	KUNIT_EXPECT_EQ(test, iova, written(0));
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	KUNIT_EXPECT_EQ(test, 0, fake.retriggers);
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(one));
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(two));

	iommu_domain_free(one);
	iommu_domain_free(two);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

static void test_blocked_leaves_messages(struct kunit *test)
{
	u64 iova;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	iova = written(0);
	fake.writes = 0;
	KUNIT_ASSERT_EQ(test, 0, iommu_device_claim_dma_owner(fake.dev, test));
	KUNIT_EXPECT_PTR_EQ(test, &fake_blocked_domain, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, iova, composed(0));
	iommu_device_release_dma_owner(fake.dev);
	expect_reaches_doorbell(test, iova, DOORBELL);
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	/* What it could not deliver meanwhile */
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
	free_vector(0);
	free_vectors();
}

/* Prepared in a blocked domain, for the one that comes back */
static void test_prepared_in_blocked_domain(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_device_claim_dma_owner(fake.dev, test));
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	fake.writes = 0;
	iommu_device_release_dma_owner(fake.dev);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	free_vector(0);
	free_vectors();
}

/* A live message of a device that is no port does not change */
static void test_refuses_identity(struct kunit *test)
{
	struct iommu_domain *dma = fake_iommu.attached;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_attach_device(&fake_identity_domain,
							  fake.dev));
	KUNIT_EXPECT_PTR_EQ(test, dma, fake_iommu.attached);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	expect_reaches_doorbell(test, composed(0), DOORBELL);
	free_vector(0);
	free_vectors();
}

/* Granules of 64 KiB, where a page is smaller, place doorbells elsewhere */
static void test_refuses_other_granule(struct kunit *test)
{
	struct iommu_domain *dma = fake_iommu.attached, *domain;
	u64 before;

	if (PAGE_SIZE == SZ_64K)
		kunit_skip(test, "pages are no smaller");
	fake_iommu.pgsize = SZ_64K;
	domain = window_domain(test);
	/* The second slot, as the first has the same IOVA */
	fake.doorbell[1] = DOORBELL + SZ_1M;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	request_vector(test, 1);
	before = written(1);
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_PTR_EQ(test, dma, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, before, composed(1));
	free_vector(1);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	expect_reaches_doorbell(test, composed(1), fake.doorbell[1]);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	free_vectors();
}

/* One that is not active has its message composed when it will be */
static void test_identity_before_activation(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(&fake_identity_domain,
						     fake.dev));
	request_vector(test, 0);
	KUNIT_EXPECT_EQ(test, DOORBELL, written(0));
	free_vector(0);
	iommu_detach_device(&fake_identity_domain, fake.dev);
	request_vector(test, 0);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	free_vector(0);
	free_vectors();
}

/* A domain that has no room for a live doorbell is refused, untouched */
static void test_refuses_domain(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct iommu_domain *dma = fake_iommu.attached;
	u64 before;

	fake_iommu.window_pages = 1;
	fake.doorbell[1] = DOORBELL + SZ_1M;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	request_vector(test, 0);
	before = written(0);

	fake_iommu.on_attach = send_now;
	KUNIT_EXPECT_EQ(test, -ENOSPC, iommu_attach_device(domain, fake.dev));
	/* Nothing has been attached, not even for a moment */
	KUNIT_EXPECT_NOT_NULL(test, fake_iommu.on_attach);
	fake_iommu.on_attach = NULL;
	KUNIT_EXPECT_PTR_EQ(test, dma, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, before, written(0));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	expect_reaches_doorbell(test, composed(1), fake.doorbell[1]);

	iommu_domain_free(domain);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

/*
 * Of a domain that is not left, no message changes, even if it would not be the
 * same today: another device has told that it cannot use the window.
 */
static void test_refusal_keeps_messages(struct kunit *test)
{
	struct iommu_domain *dma = fake_iommu.attached;
	u64 before;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	request_vector(test, 0);
	before = written(0);
	fake.writes = 0;
	fake_iommu.resv = FAKE_WINDOW_BASE;
	fake_iommu.resv_type = IOMMU_RESV_RESERVED;
	KUNIT_ASSERT_EQ(test, 0, iommu_msi_learn_device(dma, fake.dev));

	/* Refused by us, and by the IOMMU driver */
	KUNIT_EXPECT_EQ(test, -EBUSY, iommu_attach_device(&fake_identity_domain,
							  fake.dev));
	KUNIT_EXPECT_EQ(test, before, composed(0));
	KUNIT_EXPECT_EQ(test, before, composed(1));
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	free_vector(0);
	fake_iommu.fail_attach = true;
	KUNIT_EXPECT_EQ(test, -EIO, iommu_attach_device(&fake_identity_domain,
							fake.dev));
	KUNIT_EXPECT_PTR_EQ(test, dma, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, before, composed(0));
	KUNIT_EXPECT_EQ(test, before, composed(1));
	expect_reaches_doorbell(test, before, DOORBELL);
	free_vectors();
}

/* The IOMMU driver refuses: prepared for nothing, and all is as before */
static void test_attach_fails(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	fake_iommu.fail_attach = true;
	KUNIT_EXPECT_EQ(test, -EIO, iommu_attach_device(domain, fake.dev));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	/* And it has settled: preparing does not wait */
	free_vector(0);
	free_vectors();
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	free_vectors();
	iommu_domain_free(domain);
}

/*
 * Going back to the default domain cannot be refused. A message whose doorbell
 * cannot be mapped faults, until somebody else has it mapped.
 */
static void test_fault_and_repair(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct msi_desc other = { .dev = fake.dev, .nvec_used = 1 };

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);

	/* Before the domain is attached, and after */
	fake_iommu.fail_maps = 2;
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	KUNIT_EXPECT_NULL(test, fake_iommu_walk(fake_iommu.attached,
						written(0)));
	KUNIT_EXPECT_TRUE(test, fake_iommu_leads_to(written(0), DOORBELL));

	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&other, DOORBELL));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	iommu_dma_release_msi(&other);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

/* An IOMMU that maps only once it is attached: in between messages fault */
static void test_maps_late(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	fake_iommu.maps_late = true;
	attach(test, domain);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	free_vector(0);
	free_vectors();
}

/* A DMA domain that gets its granule and its aperture when it is attached */
static struct iommu_domain *late_dma_domain(struct kunit *test)
{
	struct iommu_domain *domain;

	fake_iommu.maps_late = true;
	fake_iommu.finalises_late = true;
	domain = iommu_paging_domain_alloc(fake.dev);
	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	KUNIT_ASSERT_EQ(test, 0, iommu_get_dma_cookie(domain));
	KUNIT_ASSERT_EQ(test, 0, domain->geometry.aperture_end);
	domain->type = IOMMU_DOMAIN_DMA;
	domain->msi_cookie->slots = &fake_iommu.slots;
	return domain;
}

/* Set up once that is known, and nothing changes for a live message */
static void test_finalised_late(struct kunit *test)
{
	struct iommu_domain *domain = late_dma_domain(test);
	u64 iova;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	iova = written(0);
	fake.writes = 0;
	attach(test, domain);
	KUNIT_EXPECT_EQ(test, iova, written(0));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	KUNIT_EXPECT_EQ(test, 0, fake.writes);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
	/* What the DMA API does when the type of a group has been written */
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_init_domain(domain, fake.dev));
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	free_vector(0);
	free_vectors();
}

/* Nor is an IOVA outside of the window taken too early */
static void test_finalised_late_no_slot(struct kunit *test)
{
	struct iommu_domain *domain = late_dma_domain(test);

	fake_iommu.slots.used = IOMMU_MSI_SLOTS;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	expect_reaches_doorbell(test, composed(0), DOORBELL);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	free_vectors();
}

/* A device joins the group: its messages are for the domain that is attached */
static void test_device_joins(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct msi_desc desc = { .nvec_used = 1 };
	struct msi_msg msg = { .address_lo = DOORBELL };
	struct platform_device *pdev;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	fake_iommu.one_group = true;
	pdev = second_device(test);
	desc.dev = &pdev->dev;
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&desc, DOORBELL));
	iommu_dma_compose_msi_msg(&desc, &msg);
	expect_reaches_doorbell(test, msg.address_lo, DOORBELL);
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(domain));
	iommu_dma_release_msi(&desc);
	platform_device_unregister(pdev);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	free_vector(0);
	free_vectors();
}

/*
 * The domain changes after the message has been composed for the old one and
 * before it reaches the device, outside of irq_desc::lock as PCI does it.
 */
static void test_moved_while_activating(struct kunit *test)
{
	struct mover mover = { .domain = &fake_identity_domain };

	init_completion(&mover.done);
	fake.activate_early = true;
	fake.on_write = &mover;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_EQ(test, 0, mover.ret);
	KUNIT_EXPECT_PTR_EQ(test, &fake_identity_domain, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, DOORBELL, written(0));
	free_vectors();
	expect_clean(test);
	iommu_detach_device(&fake_identity_domain, fake.dev);
}

/* A message for a doorbell that nobody prepared */
static void test_compose_unprepared(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	fake.doorbell[0] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, U64_MAX, composed(0));
	/* That another MSI has it is no help */
	fake.doorbell[1] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(vector(1),
						       fake.doorbell[1]));
	KUNIT_EXPECT_EQ(test, U64_MAX, composed(0));
	free_vectors();
}

/* A device that leaves its IOMMU forgets its doorbells */
static void test_device_leaves(struct kunit *test)
{
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };
	struct msi_msg msg = { .address_lo = DOORBELL };

	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&desc, DOORBELL));
	get_device(fake.dev);
	platform_device_unregister(fake.pdev);
	fake.pdev = NULL;

	iommu_dma_compose_msi_msg(&desc, &msg);
	KUNIT_EXPECT_EQ(test, DOORBELL, (u64)msg.address_lo);
	iommu_dma_release_msi(&desc);
	put_device(fake.dev);
}

/*
 * Races
 */

struct preparer {
	struct completion	done;
	struct msi_desc		desc;
	unsigned long		bad;
	bool			prepared;
	phys_addr_t		phys;
};

static int prepare_once_thread(void *data)
{
	struct preparer *p = data;

	p->bad = iommu_dma_prepare_msi(&p->desc, p->phys);
	WRITE_ONCE(p->prepared, true);
	complete(&p->done);
	return 0;
}

static struct preparer *waiter;

static void prepare_in_between(void)
{
	kthread_run(prepare_once_thread, waiter, "msi-preparer");
	msleep(100);
	waiter->bad = READ_ONCE(waiter->prepared) ? 1 : 0;
	sends = !waiter->bad;
}

/* Who prepares an MSI while the domain changes gets it for the new domain */
static void test_prepare_waits(struct kunit *test)
{
	struct msi_msg msg = { .address_lo = DOORBELL };

	waiter = kunit_kzalloc(test, sizeof(*waiter), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, waiter);
	init_completion(&waiter->done);
	waiter->desc = (struct msi_desc){ .dev = fake.dev, .nvec_used = 1 };
	waiter->phys = DOORBELL;
	sends = 0;
	fake_iommu.on_attach = prepare_in_between;
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(&fake_identity_domain,
						     fake.dev));
	wait_for_completion(&waiter->done);
	KUNIT_EXPECT_EQ(test, 1, sends);
	KUNIT_EXPECT_EQ(test, 0, waiter->bad);
	iommu_dma_compose_msi_msg(&waiter->desc, &msg);
	KUNIT_EXPECT_EQ(test, DOORBELL, (u64)msg.address_lo);
	iommu_dma_release_msi(&waiter->desc);
	iommu_detach_device(&fake_identity_domain, fake.dev);
}

struct composer {
	struct msi_desc	*desc;
	u64		good[2];
	unsigned long	composed;
	unsigned long	bad;
};

static int composer_thread(void *data)
{
	struct composer *c = data;

	while (!kthread_should_stop()) {
		struct msi_msg msg = { .address_lo = DOORBELL };
		unsigned long flags;
		u64 addr;

		local_irq_save(flags);
		iommu_dma_compose_msi_msg(c->desc, &msg);
		local_irq_restore(flags);
		addr = (u64)msg.address_hi << 32 | msg.address_lo;
		c->bad += addr != c->good[0] && addr != c->good[1];
		WRITE_ONCE(c->composed, c->composed + 1);
		cond_resched();
	}
	return 0;
}

/*
 * One thread composes without a pause while the domain changes: each message
 * is good in the domain of before or of after.
 */
static void test_concurrent_compose(struct kunit *test)
{
	struct task_struct *task;
	struct composer *c;
	unsigned int i;

	c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, c);
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	c->desc = vector(0);
	c->good[0] = composed(0);
	c->good[1] = DOORBELL;
	task = kthread_run(composer_thread, c, "msi-composer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 500; i++) {
		KUNIT_EXPECT_EQ(test, 0,
				iommu_attach_device(&fake_identity_domain,
						    fake.dev));
		KUNIT_EXPECT_EQ(test, c->good[1], composed(0));
		cond_resched();
		iommu_detach_device(&fake_identity_domain, fake.dev);
		KUNIT_EXPECT_EQ(test, c->good[0], composed(0));
	}
	/* The test must have tested something */
	for (i = 0; i < 1000 && READ_ONCE(c->composed) < 100; i++)
		msleep(20);
	kthread_stop(task);
	KUNIT_EXPECT_GE(test, c->composed, 100UL);
	KUNIT_EXPECT_EQ(test, 0UL, c->bad);
	free_vectors();
	expect_clean(test);
}

static int preparer_thread(void *data)
{
	struct preparer *p = data;

	for (int i = 0; i < 3; i++) {
		if (iommu_dma_prepare_msi(&p->desc, p->phys + i * SZ_1M))
			p->bad++;
		iommu_dma_release_msi(&p->desc);
		cond_resched();
	}
	complete(&p->done);
	return 0;
}

/* First use by two threads, of devices in domains of their own: one IOVA each */
static void test_concurrent_first_use(struct kunit *test)
{
	struct platform_device *pdev = second_device(test);
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };
	struct msi_msg one, two;
	struct preparer *p;
	int round, i;

	p = kunit_kzalloc(test, sizeof(*p), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, p);
	p->desc = (struct msi_desc){ .dev = &pdev->dev, .nvec_used = 1 };
	for (round = 0; round < 50; round++) {
		p->phys = DOORBELL + round * (u64)SZ_1G;
		init_completion(&p->done);
		kthread_run(preparer_thread, p, "msi-preparer");
		for (i = 2; i >= 0; i--) {
			phys_addr_t phys = p->phys + i * SZ_1M;

			KUNIT_EXPECT_EQ(test, 0,
					iommu_dma_prepare_msi(&desc, phys));
			iommu_dma_release_msi(&desc);
		}
		wait_for_completion(&p->done);
	}
	KUNIT_EXPECT_EQ(test, 0UL, p->bad);
	KUNIT_EXPECT_EQ(test, 150, fake_iommu.slots.used);
	/* The first four are in the window of both */
	for (i = 0; i < 4; i++) {
		phys_addr_t phys = fake_iommu.slots.page[i];

		KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&desc, phys));
		KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&p->desc, phys));
		one = (struct msi_msg){ .address_lo = lower_32_bits(phys),
					.address_hi = upper_32_bits(phys) };
		two = one;
		iommu_dma_compose_msi_msg(&desc, &one);
		iommu_dma_compose_msi_msg(&p->desc, &two);
		KUNIT_EXPECT_EQ(test, one.address_lo, two.address_lo);
		KUNIT_EXPECT_EQ(test, one.address_lo,
				FAKE_WINDOW_BASE + i * PAGE_SIZE);
	}
	iommu_dma_release_msi(&desc);
	iommu_dma_release_msi(&p->desc);
	platform_device_unregister(pdev);
	expect_clean(test);
}

/*
 * The machine
 */

static int msi_test_init_device(struct kunit *test)
{
	int ret;

	fake.pdev = platform_device_alloc("iommu-msi-test",
					  PLATFORM_DEVID_NONE);
	KUNIT_ASSERT_NOT_NULL(test, fake.pdev);
	fake.dev = &fake.pdev->dev;
	ret = platform_device_add(fake.pdev);
	if (ret) {
		platform_device_put(fake.pdev);
		fake.pdev = NULL;
		return ret;
	}

	fake.dev->dma_mask = &fake.dev->coherent_dma_mask;
	fake.dev->coherent_dma_mask = DMA_BIT_MASK(32);
	ret = fake_iommu_add_device(fake.dev);
	if (ret)
		return ret;
	dev_set_msi_domain(fake.dev, fake.msi_parent);
	return 0;
}

static int msi_test_init_irqs(void)
{
	struct fwnode_handle *fwnode = irq_domain_alloc_named_fwnode("fake");

	if (!fwnode)
		return -ENOMEM;
	fake.msi_parent = irq_domain_create_tree(fwnode, &fake_irq_domain_ops,
						 NULL);
	if (!fake.msi_parent) {
		irq_domain_free_fwnode(fwnode);
		return -ENOMEM;
	}
	fake.msi_parent->flags |= IRQ_DOMAIN_FLAG_MSI_PARENT;
	fake.msi_parent->msi_parent_ops = &fake_msi_parent_ops;
	return 0;
}

static int msi_test_init(struct kunit *test)
{
	unsigned long granule;
	int i, ret;

	memset(&fake, 0, sizeof(fake));
	for (i = 0; i < MAX_VECTORS; i++)
		fake.doorbell[i] = DOORBELL;

	KUNIT_ASSERT_EQ(test, 0, fake_iommu_create("iommu-msi-test"));
	/* A parameter of the case, else the smallest page there is */
	granule = test->param_value ? *(unsigned long *)test->param_value :
				      SZ_4K;
	/* The DMA API does not take granules that are larger than a page */
	fake_iommu.pgsize = min(granule, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, 0, msi_test_init_irqs());
	ret = msi_test_init_device(test);
	fake_iommu.pgsize = granule;
	return ret;
}

static void msi_test_exit(struct kunit *test)
{
	struct fwnode_handle *fwnode;

	if (fake.pdev)
		platform_device_unregister(fake.pdev);
	if (fake.msi_parent) {
		fwnode = fake.msi_parent->fwnode;
		irq_domain_remove(fake.msi_parent);
		irq_domain_free_fwnode(fwnode);
	}
	fake_iommu_destroy();
}

static const unsigned long window_granules[] = { SZ_4K, SZ_64K };
static const unsigned long dma_granules[] = {
	SZ_4K,
#if PAGE_SIZE > SZ_4K
	PAGE_SIZE,
#endif
};

static void granule_desc(const unsigned long *granule, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "granule %lu", *granule);
}

KUNIT_ARRAY_PARAM(window, window_granules, granule_desc);

KUNIT_ARRAY_PARAM(dma, dma_granules, granule_desc);

static struct kunit_case msi_test_cases[] = {
	KUNIT_CASE(test_slots),
	KUNIT_CASE_PARAM(test_maps_on_prepare, dma_gen_params),
	KUNIT_CASE(test_reuses_doorbell),
	KUNIT_CASE_PARAM(test_keeps_offset, dma_gen_params),
	KUNIT_CASE_PARAM(test_several_doorbells, dma_gen_params),
	KUNIT_CASE(test_shares_slot),
	KUNIT_CASE(test_iova_is_kept),
	KUNIT_CASE(test_prepare_twice),
	KUNIT_CASE(test_release_is_idempotent),
	KUNIT_CASE(test_hw_region_passes),
	KUNIT_CASE(test_map_fails),
	KUNIT_CASE(test_alloc_fails_once_prepared),
	KUNIT_CASE(test_map_errno),
	KUNIT_CASE_PARAM(test_iova_exhaustion, dma_gen_params),
	KUNIT_CASE(test_table_full),
	KUNIT_CASE(test_limit_needs_second_mapping),
	KUNIT_CASE(test_prefers_32bit),
	KUNIT_CASE(test_msi_width),
	KUNIT_CASE_PARAM(test_window_bounds, window_gen_params),
	KUNIT_CASE(test_window_cookie_errors),
	KUNIT_CASE(test_region_in_window),
	KUNIT_CASE(test_region_of_second_device),
	KUNIT_CASE_PARAM(test_same_iova_everywhere, dma_gen_params),
	KUNIT_CASE(test_blocked_leaves_messages),
	KUNIT_CASE(test_prepared_in_blocked_domain),
	KUNIT_CASE(test_refuses_identity),
	KUNIT_CASE(test_refuses_other_granule),
	KUNIT_CASE(test_identity_before_activation),
	KUNIT_CASE(test_refuses_domain),
	KUNIT_CASE(test_refusal_keeps_messages),
	KUNIT_CASE(test_attach_fails),
	KUNIT_CASE(test_fault_and_repair),
	KUNIT_CASE(test_maps_late),
	KUNIT_CASE(test_finalised_late),
	KUNIT_CASE(test_finalised_late_no_slot),
	KUNIT_CASE(test_device_joins),
	KUNIT_CASE(test_moved_while_activating),
	KUNIT_CASE(test_compose_unprepared),
	KUNIT_CASE(test_device_leaves),
	KUNIT_CASE(test_prepare_waits),
	KUNIT_CASE(test_concurrent_compose),
	KUNIT_CASE(test_concurrent_first_use),
	{ }
};

static struct kunit_suite msi_test_suite = {
	.name		= "iommu-dma-msi",
	.init		= msi_test_init,
	.exit		= msi_test_exit,
	.test_cases	= msi_test_cases,
};

kunit_test_suite(msi_test_suite);
