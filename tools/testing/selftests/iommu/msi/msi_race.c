// SPDX-License-Identifier: GPL-2.0-only
/*
 * A port's driver prepares its interrupt while the domain of its group is
 * replaced, over and over: what prepare uses must stay there until it is done.
 * A kernel that gets this wrong may not survive, so this is run last.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

#define RACE_SECONDS	3

FIXTURE(race)
{
	const char *port;
	struct doorbell doorbell;
};

FIXTURE_SETUP(race)
{
	self->port = role("port3");
	if (!self->port)
		SKIP(return, "no device plays the role port3");
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
}

FIXTURE_TEARDOWN(race)
{
}

static int racing;

static void set_racing(int value)
{
	__atomic_store_n(&racing, value, __ATOMIC_SEQ_CST);
}

static void *change_types(void *argument)
{
	int group = *(int *)argument;
	long changes = 0;

	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST)) {
		changes += !set_group_type(group, "identity");
		changes += !set_group_type(group, "DMA");
	}
	return (void *)changes;
}

TEST_F_TIMEOUT(race, d4_domain_stays_under_prepare, 60)
{
	struct msi_entry entry;
	struct smmu_map map;
	int group, rounds = 0;
	void *changes = NULL;
	pthread_t thread;
	time_t end;

	group = group_of(self->port);
	end = time(NULL) + patience(RACE_SECONDS);
	set_racing(1);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change_types, &group));
	for (; time(NULL) < end; rounds++) {
		EXPECT_EQ(0, unbind_driver(self->port));
		EXPECT_EQ(0, bind_driver(self->port, "pcieport"));
		sleep_ms(10);
	}
	set_racing(0);
	pthread_join(thread, &changes);
	EXPECT_GE((long)changes, 10);
	ASSERT_EQ(1, msi_entries(self->port, &entry, 1));
	ASSERT_EQ(0, smmu_lookup(requester_id(self->port), entry.addr, &map));
	EXPECT_EQ(self->doorbell.addr, map.addr + entry.addr - map.iova);
	printf("# %d rounds, %ld changes\n", rounds, (long)changes);
}

TEST_HARNESS_MAIN
