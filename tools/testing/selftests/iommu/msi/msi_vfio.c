// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device in user space's hands interrupts through the window of its domain,
 * by VFIO's type1 and by iommufd, and keeps doing so when iommufd gives it
 * another address space.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"
#include "vfio.h"

/* Where the SMMU drivers reserve IOVAs for MSIs: IOMMU_RESV_SW_MSI. */
#define WINDOW_START	0x8000000ULL
#define WINDOW_END	0x8100000ULL
#define BUFFER_IOVA	0x100000ULL
#define SIZE		4096
/* QEMU 7.2 refuses a copy that ends with edu's buffer. */
#define COPY		2048

FIXTURE(assigned)
{
	struct vfio vfio;
	unsigned int sid;
	struct doorbell doorbell;
	unsigned char *buffer;
};

FIXTURE_VARIANT(assigned)
{
	enum vfio_way way;
};

FIXTURE_VARIANT_ADD(assigned, type1) { VFIO_TYPE1 };
FIXTURE_VARIANT_ADD(assigned, iommufd) { VFIO_IOMMUFD };

FIXTURE_SETUP(assigned)
{
	const char *bdf = role("edu");

	if (!bdf)
		SKIP(return, "no device plays the role edu");
	self->sid = requester_id(bdf);
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
	ASSERT_EQ(0, vfio_open(&self->vfio, variant->way, bdf));
	self->buffer = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->buffer);
	ASSERT_EQ(0, vfio_map(&self->vfio, self->buffer, 2 * SIZE,
			      BUFFER_IOVA));
	ASSERT_EQ(0, vfio_enable_msi(&self->vfio));
}

FIXTURE_TEARDOWN(assigned)
{
	if (self->vfio.bdf[0])
		vfio_close(&self->vfio);
}

TEST_F(assigned, d2_interrupt_and_dma_both_ways)
{
	int index;

	for (index = 0; index < COPY; index++)
		self->buffer[index] = index * 3 + (index >> 8);
	ASSERT_EQ(0, edu_copy(&self->vfio, BUFFER_IOVA, EDU_BUFFER, COPY,
			      false));
	ASSERT_EQ(0, edu_copy(&self->vfio, EDU_BUFFER, BUFFER_IOVA + SIZE,
			      COPY, true));
	EXPECT_EQ(0, memcmp(self->buffer, self->buffer + SIZE, COPY));
	for (index = 0; index < 20; index++)
		EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
}

TEST_F(assigned, d2_message_lies_in_the_window)
{
	struct msi_entry entry;
	struct smmu_map map;

	ASSERT_EQ(1, msi_entries(self->vfio.bdf, &entry, 1));
	EXPECT_GE(entry.addr, WINDOW_START);
	EXPECT_LT(entry.addr, WINDOW_END);
	ASSERT_EQ(0, smmu_lookup(self->sid, entry.addr, &map));
	EXPECT_EQ(self->doorbell.addr, map.addr + entry.addr - map.iova);
	EXPECT_EQ(1, smmu_find(self->sid, self->doorbell.addr, &map));
}

TEST_F(assigned, d8_table_shows_a_window)
{
	struct interrupt_row row;
	struct doorbell_row rows[64];
	int count, index, found = 0;

	if (!exists(DOORBELLS))
		SKIP(return, "no interface: " DOORBELLS);
	ASSERT_EQ(0, interrupt_row_of(self->vfio.bdf, &row));
	count = doorbell_rows(rows, 64);
	for (index = 0; index < count; index++)
		found += rows[index].domain == row.domain &&
			 !strcmp(rows[index].type, "window") &&
			 rows[index].users == 1;
	EXPECT_EQ(1, found);
}

TEST_F(assigned, d7_iova_outlives_the_interrupt)
{
	struct smmu_map before, after;

	ASSERT_EQ(1, smmu_find(self->sid, self->doorbell.addr, &before));
	vfio_disable_msi(&self->vfio);
	EXPECT_EQ(1, smmu_find(self->sid, self->doorbell.addr, &after)) {
		TH_LOG("a late message reaches something else");
	}
	EXPECT_EQ(before.iova, after.iova);
	ASSERT_EQ(0, vfio_enable_msi(&self->vfio));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
}

/* Not the window's user: neither while MSIs are on, nor before or after. */
TEST_F(assigned, d6_user_cannot_map_over_the_window)
{
	EXPECT_NE(0, vfio_map(&self->vfio, self->buffer, SIZE, WINDOW_START));
	EXPECT_NE(0, vfio_map(&self->vfio, self->buffer, SIZE,
			      WINDOW_END - SIZE));
	vfio_disable_msi(&self->vfio);
	EXPECT_NE(0, vfio_map(&self->vfio, self->buffer, SIZE, WINDOW_START));
	EXPECT_EQ(0, vfio_map(&self->vfio, self->buffer, SIZE, WINDOW_END));
	ASSERT_EQ(0, vfio_enable_msi(&self->vfio));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
}

/* Both ways tell their user of the window, and of the same. */
TEST_F(assigned, d6_ranges_leave_the_window_out)
{
	u64 below, above;

	ASSERT_EQ(0, vfio_hole(&self->vfio, WINDOW_START, &below, &above));
	EXPECT_EQ(WINDOW_START - 1, below);
	EXPECT_EQ(WINDOW_END, above);
}

FIXTURE(moved)
{
	struct vfio vfio;
	u32 other;
};

FIXTURE_SETUP(moved)
{
	const char *bdf = role("edu");

	if (!bdf)
		SKIP(return, "no device plays the role edu");
	ASSERT_EQ(0, vfio_open(&self->vfio, VFIO_IOMMUFD, bdf));
	ASSERT_EQ(0, vfio_new_ioas(&self->vfio, &self->other));
	ASSERT_EQ(0, vfio_enable_msi(&self->vfio));
	ASSERT_TRUE(edu_interrupts(&self->vfio, 2000));
}

FIXTURE_TEARDOWN(moved)
{
	if (self->vfio.bdf[0])
		vfio_close(&self->vfio);
}

/* Whether or not the move is allowed, the interrupt works after it. */
TEST_F(moved, d5_interrupts_after_replace)
{
	int ret = vfio_attach(&self->vfio, self->other);

	if (ret)
		printf("# refused: %s\n", strerror(-ret));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000)) {
		TH_LOG("the interrupt is lost in the new domain");
	}
	EXPECT_EQ(0, vfio_attach(&self->vfio, self->vfio.ioas));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
}

TEST_F(moved, d5_interrupts_after_detach_and_attach)
{
	ASSERT_EQ(0, vfio_detach(&self->vfio));
	ASSERT_EQ(0, vfio_attach(&self->vfio, self->other));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000)) {
		TH_LOG("the interrupt is lost in the new domain");
	}
}

TEST_HARNESS_MAIN
