// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices at work behind a translating SMMU: their interrupts arrive, and what
 * their messages hold is what the SMMU's tables lead to the doorbell.
 */
#include <stdio.h>
#include <string.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

FIXTURE(device)
{
	const char *bdf;
	unsigned int sid;
	struct doorbell doorbell;
	struct msi_entry entries[MSI_MAX];
	int count;
};

FIXTURE_VARIANT(device)
{
	const char *role;
	unsigned long interrupts;	/* that its work causes at least */
};

FIXTURE_VARIANT_ADD(device, nvme) { "nvme", 64 };
FIXTURE_VARIANT_ADD(device, virtio_blk) { "vblk", 64 };
FIXTURE_VARIANT_ADD(device, e1000e) { "e1000e", 50 };
FIXTURE_VARIANT_ADD(device, virtio_net) { "vnet", 50 };
FIXTURE_VARIANT_ADD(device, virtio_rng) { "rng", 1 };

FIXTURE_SETUP(device)
{
	self->bdf = role(variant->role);
	if (!self->bdf)
		SKIP(return, "no device plays the role %s", variant->role);
	self->sid = requester_id(self->bdf);
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
	ASSERT_EQ(SMMU_STAGE1, smmu_config(self->sid));
	self->count = msi_entries(self->bdf, self->entries, MSI_MAX);
	ASSERT_GT(self->count, 0);
}

FIXTURE_TEARDOWN(device)
{
}

/* For the host, which compares it with what QEMU's SMMU and ITS saw. */
static void tell_host(const char *name, unsigned int sid,
		      const struct msi_entry *entry,
		      const struct doorbell *doorbell)
{
	printf("# proof role=%s sid=0x%x iova=0x%llx doorbell=0x%llx chip=%s\n",
	       name, sid, entry->addr, doorbell->addr, doorbell->chip);
	fflush(stdout);
}

TEST_F(device, d9_work_interrupts)
{
	unsigned long before = device_irq_count(self->bdf);
	int index;

	ask_host("trace on");
	EXPECT_EQ(0, work(variant->role));
	ask_host("trace off");
	EXPECT_GE(device_irq_count(self->bdf), before + variant->interrupts);
	for (index = 0; index < self->count; index++)
		tell_host(variant->role, self->sid, self->entries + index,
			  &self->doorbell);
}

TEST_F(device, d1_entries_translate_to_the_doorbell)
{
	struct smmu_map map;
	int index;

	for (index = 0; index < self->count; index++) {
		u64 iova = self->entries[index].addr;

		EXPECT_NE(PAGE_OF(self->doorbell.addr), PAGE_OF(iova));
		ASSERT_EQ(0, smmu_lookup(self->sid, iova, &map));
		EXPECT_EQ(self->doorbell.addr, map.addr + iova - map.iova);
	}
}

TEST_F(device, d1_one_mapping_of_one_granule)
{
	struct smmu_map map;

	EXPECT_EQ(1, smmu_find(self->sid, self->doorbell.addr, &map));
	EXPECT_EQ(PAGE_OF(self->entries[0].addr), PAGE_OF(map.iova));
	EXPECT_EQ(getpagesize(), map.size);
	EXPECT_TRUE(map.writable);
	EXPECT_FALSE(map.executable);
	EXPECT_TRUE(map.device_memory);
}

TEST_F(device, d8_tables_agree_with_hardware)
{
	static struct interrupt_row rows[256];
	int count, index, ours = 0;

	if (!exists(INTERRUPTS))
		SKIP(return, "no interface: " INTERRUPTS);
	count = interrupt_rows(rows, 256);
	ASSERT_GT(count, 0);
	for (index = 0; index < count; index++) {
		if (strcmp(rows[index].device, self->bdf))
			continue;
		ours++;
		EXPECT_EQ(self->entries[0].addr, rows[index].iova);
		EXPECT_EQ(self->doorbell.addr, rows[index].doorbell);
		EXPECT_STREQ(self->doorbell.chip, rows[index].chip);
		EXPECT_EQ(group_of(self->bdf), rows[index].group);
	}
	EXPECT_EQ(self->count, ours);
}

TEST_HARNESS_MAIN
