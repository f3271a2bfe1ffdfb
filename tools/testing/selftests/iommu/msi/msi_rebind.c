// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drivers come and go, and the domain under them changes: a doorbell keeps its
 * IOVA, and what was taken is given back.
 */
#include <stdio.h>
#include <string.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

#define LOOPS		200

struct subject {
	const char *bdf;
	unsigned int sid;
	struct doorbell doorbell;
	int vectors;
};

FIXTURE(rebind)
{
	struct subject subject;
	char driver[32];
};

FIXTURE_SETUP(rebind)
{
	int irqs[MSI_MAX];

	self->subject.bdf = role("rng");
	if (!self->subject.bdf)
		SKIP(return, "no device plays the role rng");
	self->subject.sid = requester_id(self->subject.bdf);
	driver_of(self->subject.bdf, self->driver, sizeof(self->driver));
	ASSERT_STREQ("virtio-pci", self->driver);
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->subject.doorbell));
	self->subject.vectors = irqs_of(self->subject.bdf, irqs, MSI_MAX);
	ASSERT_GT(self->subject.vectors, 0);
}

FIXTURE_TEARDOWN(rebind)
{
	unbind_driver(self->subject.bdf);
	set_group_type(group_of(self->subject.bdf), "DMA");
	bind_driver(self->subject.bdf, self->driver);
}

/* The page of the doorbell's only mapping, 0 if there is none or another. */
static u64 mapped_at(const struct subject *subject)
{
	struct smmu_map map;

	return smmu_find(subject->sid, subject->doorbell.addr, &map) == 1 ?
	       map.iova : 0;
}

TEST_F(rebind, d7_iova_is_kept_without_users)
{
	u64 iova = mapped_at(&self->subject);

	EXPECT_NE(0, iova);
	ASSERT_EQ(0, unbind_driver(self->subject.bdf));
	EXPECT_EQ(iova, mapped_at(&self->subject)) {
		TH_LOG("a late message reaches something else");
	}
	ASSERT_EQ(0, bind_driver(self->subject.bdf, self->driver));
	EXPECT_EQ(iova, mapped_at(&self->subject));
	EXPECT_EQ(0, read_rng(self->subject.bdf));
}

/* In a new domain the doorbell is where it was in the former. */
TEST_F(rebind, d5_iova_is_that_of_the_former_domain)
{
	u64 iova = mapped_at(&self->subject);

	ASSERT_EQ(0, unbind_driver(self->subject.bdf));
	ASSERT_EQ(0, fresh_domain(self->subject.bdf));
	ASSERT_EQ(0, bind_driver(self->subject.bdf, self->driver));
	EXPECT_EQ(iova, mapped_at(&self->subject));
}

/* What the device's message holds fits the type of its domain. */
static void check_message(struct __test_metadata *_metadata,
			  const struct subject *subject, const char *type)
{
	struct msi_entry entries[MSI_MAX];
	struct smmu_map map;

	ASSERT_EQ(subject->vectors,
		  msi_entries(subject->bdf, entries, MSI_MAX));
	if (!strcmp(type, "identity")) {
		ASSERT_EQ(subject->doorbell.addr, entries[0].addr);
		return;
	}
	ASSERT_EQ(0, smmu_lookup(subject->sid, entries[0].addr, &map));
	ASSERT_EQ(subject->doorbell.addr,
		  map.addr + entries[0].addr - map.iova);
}

TEST_F_TIMEOUT(rebind, d7_200_loops_of_unbind_type_rebind, 1000)
{
	static const char *const types[] = { "identity", "DMA", "DMA-FQ" };
	struct doorbell_row rows[MSI_MAX];
	int group = group_of(self->subject.bdf), loop, before;

	before = doorbell_rows(rows, MSI_MAX);
	for (loop = 0; loop < LOOPS; loop++) {
		const char *type = types[loop % 3];

		ASSERT_EQ(0, unbind_driver(self->subject.bdf));
		ASSERT_EQ(0, set_group_type(group, type));
		ASSERT_EQ(0, bind_driver(self->subject.bdf, self->driver));
		check_message(_metadata, &self->subject, type);
		if (loop % 10 == 0)
			ASSERT_EQ(0, read_rng(self->subject.bdf));
	}
	ASSERT_EQ(0, unbind_driver(self->subject.bdf));
	ASSERT_EQ(0, set_group_type(group, "DMA"));
	ASSERT_EQ(0, bind_driver(self->subject.bdf, self->driver));
	EXPECT_EQ(before, doorbell_rows(rows, MSI_MAX));
	EXPECT_EQ(0, read_rng(self->subject.bdf));
}

TEST_HARNESS_MAIN
