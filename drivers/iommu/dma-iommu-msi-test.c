// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of MSI doorbells behind an IOMMU
 *
 * A fake IOMMU keeps its page tables in xarrays; a fake interrupt controller
 * has the doorbells. Between them are the real IOMMU core, DMA API and MSI
 * core, and a platform device that allocates MSIs. The oracle is a property: a
 * message that the device has been given must lead, by the page table of the
 * domain that the device is attached to, to the doorbell of its interrupt, and
 * must be writable and nothing else.
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

static int fake_irq_retrigger(struct irq_data *data)
{
	fake.retriggers++;
	return 1;
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
	.irq_retrigger		= fake_irq_retrigger,
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
	unsigned int n = 0;

	list_for_each_entry(db, &domain->msi_cookie->doorbells, node)
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
 * Cases in the DMA domain
 */

static void test_maps_on_prepare(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_EQ(test, 1, fake_iommu.maps);
	KUNIT_EXPECT_NE(test, DOORBELL, composed(0));
	/* A lost MSI of 32 bits goes to the last page: it must stay unmapped */
	KUNIT_EXPECT_LT(test, composed(0), SZ_4G - fake_iommu.pgsize);
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

static void test_unmaps_with_last_user(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu.attached;
	struct iommu_msi_doorbell *db;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(3));
	db = list_first_entry(&domain->msi_cookie->doorbells,
			      struct iommu_msi_doorbell, node);
	KUNIT_EXPECT_EQ(test, 3, db->users);

	msi_domain_free_irqs_range(fake.dev, MSI_DEFAULT_DOMAIN, 0, 0);
	KUNIT_EXPECT_EQ(test, 2, db->users);
	expect_reaches_doorbell(test, composed(1), DOORBELL);

	free_vectors();
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(domain));
	KUNIT_EXPECT_TRUE(test, fake_iommu_is_empty(domain));
}

static void test_prepare_twice(struct kunit *test)
{
	struct iommu_domain *domain = fake_iommu.attached;
	struct msi_desc *desc;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	desc = vector(0);
	fake.doorbell[0] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(desc, fake.doorbell[0]));
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(domain));
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
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(fake_iommu.attached));
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
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(fake_iommu.attached));
	KUNIT_EXPECT_TRUE(test, fake_iommu_is_empty(fake_iommu.attached));
}

static void test_map_fails(struct kunit *test)
{
	int i;

	for (i = 0; i < 4; i++)
		fake.doorbell[i] = DOORBELL + i * SZ_1M;
	/* Four IOVAs, as page 0 is never used: none may be lost */
	*fake.dev->dma_mask = 5 * fake_iommu.pgsize - 1;

	/* Each of the four doorbells in turn; more would not fail */
	for (i = 1; i <= 4; i++) {
		fake_iommu.fail_map = i;
		KUNIT_EXPECT_LT(test, alloc_vectors(4), 0);
		KUNIT_EXPECT_EQ(test, 0, fake_iommu.fail_map);
		expect_clean(test);
	}
	fake_iommu.fail_map = 5;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(4));
	free_vectors();
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

	*fake.dev->dma_mask = DMA_BIT_MASK(48);
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&any, DOORBELL));
	*fake.dev->dma_mask = 16 * fake_iommu.pgsize - 1;
	KUNIT_ASSERT_EQ(test, 0, iommu_dma_prepare_msi(&low, DOORBELL));
	KUNIT_EXPECT_EQ(test, 2, doorbells_in(domain));

	iommu_dma_compose_msi_msg(&low, &msg);
	KUNIT_EXPECT_EQ(test, 0, msg.address_hi);
	KUNIT_EXPECT_LE(test, (u64)msg.address_lo, *fake.dev->dma_mask);
	expect_reaches_doorbell(test, msg.address_lo, DOORBELL);

	iommu_dma_release_msi(&any);
	iommu_dma_release_msi(&low);
	expect_clean(test);
}

/* 32 bits first, whatever the mask, so that every device can share it */
static void test_prefers_32bit(struct kunit *test)
{
	*fake.dev->dma_mask = DMA_BIT_MASK(48);
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_LE(test, composed(0), DMA_BIT_MASK(32));
	free_vectors();
}

static void test_msi_width(struct kunit *test)
{
	struct iommu_msi_cookie window = { .window = true }, dma = { };
	u64 mask = DMA_BIT_MASK(64);
	struct msi_desc desc = { };
	struct pci_dev *pdev;

	pdev = kunit_kzalloc(test, sizeof(*pdev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pdev->dev.dma_mask = &mask;
	pdev->dev.bus = &pci_bus_type;
	desc.dev = &pdev->dev;

	/* MSI without a high address register */
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32), iommu_msi_limit(&dma, &desc));
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32),
			iommu_msi_limit(&window, &desc));
	desc.pci.msi_attrib.is_64 = 1;
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(&dma, &desc));
	desc.pci.msi_attrib.is_64 = 0;
	desc.pci.msi_attrib.is_msix = 1;
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(&dma, &desc));
	/* A device that has the register, and cannot use it */
	pdev->no_64bit_msi = 1;
	KUNIT_EXPECT_EQ(test, DMA_BIT_MASK(32), iommu_msi_limit(&dma, &desc));
	/* The DMA mask counts too, but a window is where it is */
	mask = DMA_BIT_MASK(24);
	KUNIT_EXPECT_EQ(test, mask, iommu_msi_limit(&dma, &desc));
	pdev->no_64bit_msi = 0;
	KUNIT_EXPECT_EQ(test, U64_MAX, iommu_msi_limit(&window, &desc));
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

/* What a released doorbell leaves in the window is used again */
static void test_window_reuse(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	int i;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	for (i = 0; i < 3 * FAKE_WINDOW_PAGES; i++) {
		fake.doorbell[0] = DOORBELL + i * SZ_1M;
		KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
		KUNIT_EXPECT_EQ(test, FAKE_WINDOW_BASE + (fake.doorbell[0] &
						     (fake_iommu.pgsize - 1)),
				composed(0));
		free_vectors();
	}
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

/*
 * Changes of the domain under live MSIs
 */

static void test_follows_domain(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct iommu_domain *dma = fake_iommu.attached;
	u64 dma_iova;

	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	request_vector(test, 0);
	dma_iova = written(0);
	fake.writes = 0;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	/* Vector 1 is not active: its message is composed when it will be */
	KUNIT_EXPECT_EQ(test, 1, fake.writes);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
	KUNIT_EXPECT_NE(test, dma_iova, written(0));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	expect_reaches_doorbell(test, composed(1), DOORBELL);
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(dma));

	iommu_detach_device(domain, fake.dev);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(domain));
	iommu_domain_free(domain);

	free_vector(0);
	free_vectors();
	expect_clean(test);
}

static struct msi_desc in_between;

static void prepare_in_between(void)
{
	in_between = (struct msi_desc){ .dev = fake.dev, .nvec_used = 1 };
	WARN_ON(iommu_dma_prepare_msi(&in_between, DOORBELL));
}

/* An MSI that is prepared while the new domain is being attached moves too */
static void test_prepared_in_between(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct iommu_domain *dma = fake_iommu.attached;
	struct msi_msg msg = { .address_lo = DOORBELL };

	fake_iommu.on_attach = prepare_in_between;
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(dma));
	KUNIT_EXPECT_EQ(test, 1, doorbells_in(domain));
	iommu_dma_compose_msi_msg(&in_between, &msg);
	expect_reaches_doorbell(test, msg.address_lo, DOORBELL);
	KUNIT_EXPECT_TRUE(test, iommu_dma_msi_moved(&in_between));

	iommu_dma_release_msi(&in_between);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
	expect_clean(test);
}

static void test_passes_blocked_domain(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	KUNIT_ASSERT_EQ(test, 0, iommu_device_claim_dma_owner(fake.dev, test));
	KUNIT_EXPECT_PTR_EQ(test, &fake_blocked_domain, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, DOORBELL, written(0));
	iommu_device_release_dma_owner(fake.dev);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	free_vector(0);
	free_vectors();
}

/* A domain that has no room for a live doorbell is refused */
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

	KUNIT_EXPECT_EQ(test, -ENOSPC, iommu_attach_device(domain, fake.dev));
	KUNIT_EXPECT_PTR_EQ(test, dma, fake_iommu.attached);
	KUNIT_EXPECT_EQ(test, before, written(0));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	expect_reaches_doorbell(test, composed(1), fake.doorbell[1]);
	KUNIT_EXPECT_EQ(test, 0, doorbells_in(domain));

	iommu_domain_free(domain);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

/*
 * Going back to the default domain cannot be refused. An MSI that finds no
 * doorbell there must not keep its old address, and gets well again.
 */
static void test_lost_and_repaired(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	int i;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);

	fake_iommu.fail_map = 1;
	iommu_detach_device(domain, fake.dev);
	KUNIT_EXPECT_EQ(test, U64_MAX, written(0));
	KUNIT_EXPECT_EQ(test, 0xffffffff, vector(0)->msg.data);
	iommu_domain_free(domain);
	/* Deliver what has been triggered, so that it can be once more */
	generic_handle_irq_safe(msi_get_virq(fake.dev, 0));
	fake.retriggers = 0;

	for (i = 0; i < 100 && written(0) == U64_MAX; i++)
		msleep(100);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	/* Wait for the worker to let go */
	for (i = 0; i < 100 && !READ_ONCE(fake.retriggers); i++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, 1, fake.retriggers);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

/*
 * The domain changes after the message has been composed for the old one and
 * before it reaches the device, outside of irq_desc::lock as PCI does it.
 */
static void test_moved_while_activating(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct mover mover = { .domain = domain };

	init_completion(&mover.done);
	fake.activate_early = true;
	fake.on_write = &mover;
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	KUNIT_EXPECT_EQ(test, 0, mover.ret);
	KUNIT_EXPECT_PTR_EQ(test, domain, fake_iommu.attached);
	expect_reaches_doorbell(test, written(0), DOORBELL);

	free_vectors();
	expect_clean(test);
	iommu_detach_device(domain, fake.dev);
	iommu_domain_free(domain);
}

/* A message for a doorbell that nobody prepared */
static void test_compose_unprepared(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(2));
	fake.doorbell[0] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, U64_MAX, composed(0));
	/* Another MSI has it: good enough */
	fake.doorbell[1] = DOORBELL + SZ_1M;
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(vector(1),
						       fake.doorbell[1]));
	expect_reaches_doorbell(test, composed(0), fake.doorbell[0]);
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

#define MAX_IOVAS	64

/* A set of IOVAs; full if there are more than a few, which there are not */
struct iova_set {
	u64		iova[MAX_IOVAS];
	unsigned int	n;
};

static bool iova_set_has(const struct iova_set *set, u64 iova)
{
	for (unsigned int i = 0; i < set->n; i++) {
		if (set->iova[i] == iova)
			return true;
	}
	return false;
}

static void iova_set_add(struct iova_set *set, u64 iova)
{
	if (!iova_set_has(set, iova) && set->n < MAX_IOVAS)
		set->iova[set->n++] = iova;
}

struct composer {
	struct msi_desc	*desc;
	struct iova_set	seen;
	unsigned long	composed;
};

static int composer_thread(void *data)
{
	struct composer *c = data;

	while (!kthread_should_stop()) {
		struct msi_msg msg = { .address_lo = DOORBELL };
		unsigned long flags;

		local_irq_save(flags);
		iommu_dma_compose_msi_msg(c->desc, &msg);
		local_irq_restore(flags);

		iova_set_add(&c->seen, ((u64)msg.address_hi << 32) |
				       msg.address_lo);
		WRITE_ONCE(c->composed, c->composed + 1);
		cond_resched();
	}
	return 0;
}

/* Move to @domain and back while another MSI comes and goes */
static void move_around(struct kunit *test, struct iommu_domain *domain,
			struct iova_set *good)
{
	struct msi_desc other = { .dev = fake.dev, .nvec_used = 1 };

	KUNIT_EXPECT_EQ(test, 0, iommu_attach_device(domain, fake.dev));
	expect_reaches_doorbell(test, written(0), DOORBELL);
	iova_set_add(good, written(0));
	KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&other,
						       DOORBELL + SZ_1M));
	cond_resched();
	iommu_detach_device(domain, fake.dev);
	expect_reaches_doorbell(test, written(0), DOORBELL);
	iova_set_add(good, written(0));
	iommu_dma_release_msi(&other);
}

/*
 * One thread composes without a pause while the domain changes: each message
 * is good in the domain of before or of after.
 */
static void test_concurrent_compose(struct kunit *test)
{
	struct iommu_domain *domain = window_domain(test);
	struct task_struct *task;
	struct iova_set *good;
	struct composer *c;
	unsigned int i;

	good = kunit_kzalloc(test, sizeof(*good), GFP_KERNEL);
	c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	KUNIT_ASSERT_TRUE(test, good && c);
	KUNIT_ASSERT_EQ(test, 0, alloc_vectors(1));
	request_vector(test, 0);
	iova_set_add(good, written(0));

	c->desc = vector(0);
	task = kthread_run(composer_thread, c, "msi-composer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 500; i++)
		move_around(test, domain, good);
	/* The test must have tested something */
	for (i = 0; i < 1000 && READ_ONCE(c->composed) < 100; i++)
		msleep(20);
	kthread_stop(task);

	KUNIT_EXPECT_GE(test, c->composed, 100UL);
	KUNIT_EXPECT_LT(test, good->n, MAX_IOVAS);
	KUNIT_EXPECT_LT(test, c->seen.n, MAX_IOVAS);
	for (i = 0; i < c->seen.n; i++)
		KUNIT_EXPECT_TRUE(test, iova_set_has(good, c->seen.iova[i]));
	iommu_domain_free(domain);
	free_vector(0);
	free_vectors();
	expect_clean(test);
}

static int preparer_thread(void *data)
{
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };
	unsigned long *bad = data;

	while (!kthread_should_stop()) {
		if (iommu_dma_prepare_msi(&desc, DOORBELL + SZ_2M))
			(*bad)++;
		iommu_dma_release_msi(&desc);
		cond_resched();
	}
	return 0;
}

/* Two threads use one doorbell that is mapped and unmapped all the time */
static void test_concurrent_prepare(struct kunit *test)
{
	struct msi_desc desc = { .dev = fake.dev, .nvec_used = 1 };
	struct task_struct *task;
	unsigned long bad = 0;
	int i;

	task = kthread_run(preparer_thread, &bad, "msi-preparer");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 2000; i++) {
		struct msi_msg msg = { .address_lo = DOORBELL + SZ_2M };

		KUNIT_EXPECT_EQ(test, 0, iommu_dma_prepare_msi(&desc, DOORBELL +
							       SZ_2M));
		iommu_dma_compose_msi_msg(&desc, &msg);
		expect_reaches_doorbell(test, msg.address_lo, DOORBELL + SZ_2M);
		iommu_dma_release_msi(&desc);
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, 0UL, bad);
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
	KUNIT_CASE_PARAM(test_maps_on_prepare, dma_gen_params),
	KUNIT_CASE(test_reuses_doorbell),
	KUNIT_CASE_PARAM(test_keeps_offset, dma_gen_params),
	KUNIT_CASE_PARAM(test_several_doorbells, dma_gen_params),
	KUNIT_CASE(test_unmaps_with_last_user),
	KUNIT_CASE(test_prepare_twice),
	KUNIT_CASE(test_release_is_idempotent),
	KUNIT_CASE(test_hw_region_passes),
	KUNIT_CASE(test_map_fails),
	KUNIT_CASE(test_alloc_fails_once_prepared),
	KUNIT_CASE(test_map_errno),
	KUNIT_CASE_PARAM(test_iova_exhaustion, dma_gen_params),
	KUNIT_CASE(test_limit_needs_second_mapping),
	KUNIT_CASE(test_prefers_32bit),
	KUNIT_CASE(test_msi_width),
	KUNIT_CASE_PARAM(test_window_bounds, window_gen_params),
	KUNIT_CASE_PARAM(test_window_reuse, window_gen_params),
	KUNIT_CASE(test_window_cookie_errors),
	KUNIT_CASE_PARAM(test_follows_domain, window_gen_params),
	KUNIT_CASE(test_prepared_in_between),
	KUNIT_CASE(test_passes_blocked_domain),
	KUNIT_CASE(test_refuses_domain),
	KUNIT_CASE_SLOW(test_lost_and_repaired),
	KUNIT_CASE(test_moved_while_activating),
	KUNIT_CASE(test_compose_unprepared),
	KUNIT_CASE(test_device_leaves),
	KUNIT_CASE(test_concurrent_compose),
	KUNIT_CASE(test_concurrent_prepare),
	{ }
};

static struct kunit_suite msi_test_suite = {
	.name		= "iommu-dma-msi",
	.init		= msi_test_init,
	.exit		= msi_test_exit,
	.test_cases	= msi_test_cases,
};

kunit_test_suite(msi_test_suite);
