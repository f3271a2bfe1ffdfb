// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device in user space's hands moves to another domain while its memory
 * decoding is off, so that its MSI-X table cannot be written. It must not send
 * the old message meanwhile, and must have the new one as soon as the table is
 * there again.
 */
#include <stdio.h>
#include <string.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"
#include "vfio.h"

/* Longer than the kernel's own attempts are apart, see LATE_DELAY_MAX */
#define LONGER_MS	1500

static struct doorbell doorbell;

/* Where the first vector's message goes, in the domain that the device is in */
static bool leads_to_doorbell(const char *bdf)
{
	return smmu_leads_to(bdf, doorbell.addr);
}

/* What the device is told where no IOMMU domain maps the doorbell */
static bool is_untranslated(const char *bdf)
{
	struct msi_entry entry;

	return msi_entries(bdf, &entry, 1) == 1 && entry.addr == doorbell.addr;
}

FIXTURE(late)
{
	struct vfio vfio;
};

FIXTURE_SETUP(late)
{
	const char *bdf = role("rng");

	if (!bdf)
		SKIP(return, "no device plays the role rng");
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&doorbell));
	ASSERT_EQ(0, vfio_open(&self->vfio, VFIO_IOMMUFD, bdf));
	ASSERT_EQ(0, vfio_enable_msix(&self->vfio));
	ASSERT_TRUE(leads_to_doorbell(bdf));
	/* Blocked: the message is another one, so it shows what is stale */
	ASSERT_EQ(0, vfio_detach(&self->vfio));
}

FIXTURE_TEARDOWN(late)
{
	if (!self->vfio.bdf[0])
		return;
	vfio_close(&self->vfio);
	bind_driver(role("rng"), "virtio-pci");
}

TEST_F(late, d5_table_follows_both_ways)
{
	const char *bdf = self->vfio.bdf;

	EXPECT_TRUE(is_untranslated(bdf));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	EXPECT_TRUE(leads_to_doorbell(bdf));
	EXPECT_FALSE(msix_masked(bdf));
}

TEST_F(late, d5_masked_without_memory)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_set_memory(&self->vfio, false));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	EXPECT_TRUE(msix_masked(bdf)) {
		TH_LOG("the device may send the message of the old domain");
	}
	sleep_ms(LONGER_MS);
	EXPECT_TRUE(msix_masked(bdf));
}

TEST_F(late, d5_written_when_memory_is_back)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_set_memory(&self->vfio, false));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	sleep_ms(LONGER_MS);
	ASSERT_EQ(0, vfio_set_memory(&self->vfio, true));
	EXPECT_TRUE(leads_to_doorbell(bdf)) {
		TH_LOG("the table holds an address of another domain");
	}
	EXPECT_FALSE(msix_masked(bdf));
}

/* VFIO switches memory decoding on for as long as it enables a vector */
TEST_F(late, d5_written_with_second_vector)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_set_memory(&self->vfio, false));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	sleep_ms(LONGER_MS);
	ASSERT_TRUE(msix_masked(bdf)) {
		TH_LOG("the device may send the message of the old domain");
	}
	ASSERT_EQ(0, vfio_enable_second_msix(&self->vfio));
	EXPECT_FALSE(msix_masked(bdf));
	ASSERT_EQ(0, vfio_set_memory(&self->vfio, true));
	EXPECT_TRUE(leads_to_doorbell(bdf));
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

/* VFIO wakes the device for as long as it moves it; resuming restores */
TEST_F(late, d5_right_after_low_power)
{
	const char *bdf = self->vfio.bdf;

	ASSERT_EQ(0, vfio_low_power(&self->vfio, true));
	ASSERT_TRUE(wait_runtime_status(bdf, "suspended"));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	ASSERT_TRUE(wait_runtime_status(bdf, "suspended"));
	ASSERT_EQ(0, vfio_low_power(&self->vfio, false));
	ASSERT_TRUE(wait_runtime_status(bdf, "active"));
	EXPECT_TRUE(leads_to_doorbell(bdf)) {
		TH_LOG("the table holds an address of another domain");
	}
	EXPECT_FALSE(msix_masked(bdf));
}

TEST_HARNESS_MAIN
