// SPDX-License-Identifier: GPL-2.0-only
/* Two devices in one group share a domain, and so a doorbell's mapping. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

FIXTURE(pair)
{
	const char *one, *two;
	struct doorbell doorbell;
	struct msi_entry first, second;
};

FIXTURE_SETUP(pair)
{
	self->one = role("pair0");
	self->two = role("pair1");
	if (!self->one || !self->two)
		SKIP(return, "no devices play the roles pair0 and pair1");
	ASSERT_EQ(group_of(self->one), group_of(self->two));
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
	ASSERT_EQ(1, msi_entries(self->one, &self->first, 1));
	ASSERT_EQ(1, msi_entries(self->two, &self->second, 1));
}

FIXTURE_TEARDOWN(pair)
{
}

TEST_F(pair, d1_devices_share_one_mapping)
{
	struct smmu_map map;

	EXPECT_EQ(self->first.addr, self->second.addr);
	EXPECT_EQ(1, smmu_find(requester_id(self->one), self->doorbell.addr,
			       &map));
	EXPECT_EQ(1, smmu_find(requester_id(self->two), self->doorbell.addr,
			       &map));
}

TEST_F(pair, d1_both_interrupt_at_once)
{
	unsigned long one = device_irq_count(self->one);
	unsigned long two = device_irq_count(self->two);
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(read_disk(self->two, 1) ? 1 : 0);
	EXPECT_EQ(0, read_disk(self->one, 1));
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	EXPECT_GE(device_irq_count(self->one), one + 64);
	EXPECT_GE(device_irq_count(self->two), two + 64);
}

/* Who goes takes nothing from the other, and leaves its IOVA to nobody. */
TEST_F(pair, d7_doorbell_outlives_its_devices)
{
	unsigned int sid = requester_id(self->one);
	char one[32], two[32];
	struct smmu_map map;
	u64 iova;

	driver_of(self->one, one, sizeof(one));
	driver_of(self->two, two, sizeof(two));
	ASSERT_EQ(0, unbind_driver(self->one));
	EXPECT_EQ(1, smmu_find(sid, self->doorbell.addr, &map));
	EXPECT_EQ(0, read_disk(self->two, 1));
	iova = map.iova;
	ASSERT_EQ(0, unbind_driver(self->two));
	EXPECT_EQ(1, smmu_find(sid, self->doorbell.addr, &map)) {
		TH_LOG("a late message reaches something else");
	}
	EXPECT_EQ(iova, map.iova);
	ASSERT_EQ(0, bind_driver(self->one, one));
	ASSERT_EQ(0, bind_driver(self->two, two));
	EXPECT_EQ(1, smmu_find(sid, self->doorbell.addr, &map));
	EXPECT_EQ(iova, map.iova);
	EXPECT_EQ(0, read_disk(self->one, 1));
	EXPECT_EQ(0, read_disk(self->two, 1));
}

TEST_F(pair, d8_users_are_the_interrupts)
{
	static struct interrupt_row interrupts[256];
	static struct doorbell_row doorbells[64];
	int count, bells, bell, index;

	if (!exists(DOORBELLS))
		SKIP(return, "no interface: " DOORBELLS);
	count = interrupt_rows(interrupts, 256);
	bells = doorbell_rows(doorbells, 64);
	ASSERT_GT(bells, 0);
	for (bell = 0; bell < bells; bell++) {
		unsigned int users = 0;

		for (index = 0; index < count; index++)
			users += interrupts[index].domain ==
				 doorbells[bell].domain &&
				 PAGE_OF(interrupts[index].doorbell) ==
				 PAGE_OF(doorbells[bell].doorbell);
		EXPECT_EQ(users, doorbells[bell].users);
	}
}

TEST_HARNESS_MAIN
