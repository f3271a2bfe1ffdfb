// SPDX-License-Identifier: GPL-2.0-only
/*
 * A control: with iommu.passthrough=1 nothing is translated, so messages hold
 * the doorbell's physical address, and interrupts arrive as well.
 */
#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

FIXTURE(device)
{
	const char *bdf;
};

FIXTURE_VARIANT(device)
{
	const char *role;
};

FIXTURE_VARIANT_ADD(device, nvme) { "nvme" };
FIXTURE_VARIANT_ADD(device, virtio_blk) { "vblk" };
FIXTURE_VARIANT_ADD(device, e1000e) { "e1000e" };
FIXTURE_VARIANT_ADD(device, virtio_net) { "vnet" };

FIXTURE_SETUP(device)
{
	self->bdf = role(variant->role);
	if (!self->bdf)
		SKIP(return, "no device plays the role %s", variant->role);
}

FIXTURE_TEARDOWN(device)
{
}

TEST_F(device, d2_identity_keeps_the_physical_address)
{
	struct msi_entry entries[MSI_MAX];
	struct doorbell doorbell;
	int count, index;

	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&doorbell));
	ASSERT_EQ(SMMU_BYPASS, smmu_config(requester_id(self->bdf)));
	count = msi_entries(self->bdf, entries, MSI_MAX);
	ASSERT_GT(count, 0);
	for (index = 0; index < count; index++)
		EXPECT_EQ(doorbell.addr, entries[index].addr);
}

TEST_F(device, d2_identity_interrupts)
{
	unsigned long before = device_irq_count(self->bdf);

	EXPECT_EQ(0, work(variant->role));
	EXPECT_GT(device_irq_count(self->bdf), before);
}

TEST_HARNESS_MAIN
