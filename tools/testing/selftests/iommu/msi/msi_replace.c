// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device in user space's hands moves to another domain, in whatever state its
 * user has left it: the message is the same there, so nobody has to write it,
 * wake the device or keep it from sending, and no reset fails meanwhile.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"
#include "vfio.h"

#define VECTORS		32
#define RACE_SECONDS	3

static struct doorbell doorbell;

/* Where the first vector's message goes, in the domain that the device is in */
static bool leads_to_doorbell(const char *bdf)
{
	return smmu_leads_to(bdf, doorbell.addr);
}

FIXTURE(late)
{
	struct vfio vfio;
	u32 other;
	struct msi_entry entry;
};

FIXTURE_SETUP(late)
{
	const char *bdf = role("rng");

	if (!bdf)
		SKIP(return, "no device plays the role rng");
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&doorbell));
	ASSERT_EQ(0, vfio_open(&self->vfio, VFIO_IOMMUFD, bdf));
	ASSERT_EQ(0, vfio_new_ioas(&self->vfio, &self->other));
	ASSERT_EQ(0, vfio_enable_msix(&self->vfio));
	ASSERT_TRUE(leads_to_doorbell(bdf));
	ASSERT_LE(1, msi_entries(bdf, &self->entry, 1));
}

FIXTURE_TEARDOWN(late)
{
	if (!self->vfio.bdf[0])
		return;
	vfio_close(&self->vfio);
	bind_driver(role("rng"), "virtio-pci");
}

TEST_F(late, d5_blocked_leaves_the_message)
{
	const char *bdf = self->vfio.bdf;
	struct msi_entry entry;

	ASSERT_EQ(0, vfio_detach(&self->vfio));
	ASSERT_LE(1, msi_entries(bdf, &entry, 1));
	EXPECT_EQ(self->entry.addr, entry.addr);
	EXPECT_FALSE(msix_masked(bdf));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->other));
	EXPECT_TRUE(leads_to_doorbell(bdf)) {
		TH_LOG("the table holds an address of another domain");
	}
}

/* Its MSI-X table cannot be written then */
TEST_F(late, d5_moves_without_memory)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_set_memory(&self->vfio, false));
	EXPECT_EQ(0, vfio_attach(&self->vfio, self->other));
	EXPECT_FALSE(msix_masked(bdf));
	ASSERT_EQ(0, vfio_set_memory(&self->vfio, true));
	EXPECT_TRUE(leads_to_doorbell(bdf)) {
		TH_LOG("the table holds an address of another domain");
	}
}

static bool wait_runtime_status(const char *bdf, const char *wanted)
{
	char path[128], status[32];
	int tries;

	device_path(bdf, "power/runtime_status", path, sizeof(path));
	for (tries = patience(100); tries; tries--) {
		read_line(path, status, sizeof(status));
		if (!strcmp(status, wanted))
			return true;
		sleep_ms(20);
	}
	return false;
}

/* VFIO wakes the device for as long as the request takes */
TEST_F(late, d5_moves_right_after_low_power)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_low_power(&self->vfio, true));
	ASSERT_TRUE(wait_runtime_status(bdf, "suspended"));
	EXPECT_EQ(0, vfio_attach(&self->vfio, self->other));
	EXPECT_TRUE(wait_runtime_status(bdf, "suspended"));
	ASSERT_EQ(0, vfio_low_power(&self->vfio, false));
	ASSERT_TRUE(wait_runtime_status(bdf, "active"));
	EXPECT_TRUE(leads_to_doorbell(bdf)) {
		TH_LOG("the table holds an address of another domain");
	}
	EXPECT_FALSE(msix_masked(bdf));
}

static int racing;

struct resetter {
	struct vfio *vfio;
	long resets, failed;
};

static void *reset_all_the_time(void *argument)
{
	struct resetter *resetter = argument;

	while (__atomic_load_n(&racing, __ATOMIC_SEQ_CST)) {
		resetter->failed += !!vfio_reset(resetter->vfio);
		resetter->resets++;
	}
	return NULL;
}

FIXTURE(many)
{
	struct vfio vfio;
	u32 other;
	s32 events[VECTORS];
};

FIXTURE_SETUP(many)
{
	const char *bdf = role("nvme");
	int index;

	if (!bdf)
		SKIP(return, "no device plays the role nvme");
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&doorbell));
	ASSERT_EQ(0, vfio_open(&self->vfio, VFIO_IOMMUFD, bdf));
	ASSERT_EQ(0, vfio_new_ioas(&self->vfio, &self->other));
	for (index = 0; index < VECTORS; index++)
		self->events[index] = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, vfio_enable_many(&self->vfio, self->events, VECTORS));
}

FIXTURE_TEARDOWN(many)
{
	int index;

	if (!self->vfio.bdf[0])
		return;
	for (index = 0; index < VECTORS; index++)
		close(self->events[index]);
	vfio_close(&self->vfio);
	bind_driver(role("nvme"), "nvme");
}

/* A guest's reset must not find the device busy with a change of its domain */
TEST_F(many, d5_resets_beside_replace)
{
	struct resetter resetter = { .vfio = &self->vfio };
	time_t end = time(NULL) + RACE_SECONDS;
	pthread_t thread;
	long moves = 0;

	ASSERT_EQ(0, vfio_reset(&self->vfio));
	__atomic_store_n(&racing, 1, __ATOMIC_SEQ_CST);
	ASSERT_EQ(0, pthread_create(&thread, NULL, reset_all_the_time,
				    &resetter));
	for (; time(NULL) < end; moves += 2) {
		ASSERT_EQ(0, vfio_attach(&self->vfio, self->other));
		ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	}
	__atomic_store_n(&racing, 0, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	printf("# %ld resets, %ld moves\n", resetter.resets, moves);
	EXPECT_GE(resetter.resets, 3);
	EXPECT_GE(moves, 10);
	EXPECT_EQ(0, resetter.failed) {
		TH_LOG("%ld of %ld resets failed", resetter.failed,
		       resetter.resets);
	}
	EXPECT_TRUE(leads_to_doorbell(self->vfio.bdf));
}

TEST_HARNESS_MAIN
