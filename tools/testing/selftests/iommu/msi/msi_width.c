// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device whose messages have 32 bits shares a group with one whose DMA has
 * 64. Where IOVAs are given out from the top (iommu.forcedac=1), the doorbell
 * must be mapped where both can reach it, whoever comes first.
 */
#include <stdio.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

FIXTURE(narrow)
{
	const char *port, *device;
	struct doorbell doorbell;
};

FIXTURE_SETUP(narrow)
{
	self->port = role("msi32");
	self->device = role("msi64");
	if (!self->port || !self->device)
		SKIP(return, "no devices play the roles msi32 and msi64");
	ASSERT_EQ(group_of(self->port), group_of(self->device));
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
	ASSERT_EQ(0, unbind_driver(self->device));
	ASSERT_EQ(0, unbind_driver(self->port));
	ASSERT_EQ(0, fresh_domain(self->port));
}

FIXTURE_TEARDOWN(narrow)
{
}

static bool leads_to(const char *bdf, u64 doorbell)
{
	struct msi_entry entry;
	struct smmu_map map;

	return msi_entries(bdf, &entry, 1) == 1 &&
	       !smmu_lookup(requester_id(bdf), entry.addr, &map) &&
	       map.addr + entry.addr - map.iova == doorbell;
}

TEST_F(narrow, d6_wide_device_first)
{
	EXPECT_EQ(0, bind_driver(self->device, "virtio-pci"));
	EXPECT_EQ(0, bind_driver(self->port, "pcieport"));
	EXPECT_TRUE(leads_to(self->device, self->doorbell.addr));
	EXPECT_TRUE(leads_to(self->port, self->doorbell.addr)) {
		TH_LOG("the 32-bit message does not reach the doorbell");
	}
	EXPECT_EQ(0, read_disk(self->device, 1));
}

TEST_F(narrow, d6_narrow_device_first)
{
	EXPECT_EQ(0, bind_driver(self->port, "pcieport"));
	EXPECT_EQ(0, bind_driver(self->device, "virtio-pci"));
	EXPECT_TRUE(leads_to(self->device, self->doorbell.addr));
	EXPECT_TRUE(leads_to(self->port, self->doorbell.addr));
	EXPECT_EQ(0, read_disk(self->device, 1));
}

TEST_HARNESS_MAIN
