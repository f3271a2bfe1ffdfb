// SPDX-License-Identifier: GPL-2.0-only
/* What a user sees: tracepoints and tables, in the documented form. */
#include <stdio.h>
#include <string.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"

FIXTURE(seen)
{
	const char *bdf;
	struct doorbell doorbell;
	struct interrupt_row row;
	char iova[32], address[32];
};

FIXTURE_SETUP(seen)
{
	self->bdf = role("rng");
	if (!self->bdf)
		SKIP(return, "no device plays the role rng");
	if (!exists(MSI_EVENTS))
		SKIP(return, "no interface: " MSI_EVENTS);
	ASSERT_EQ(0, read_doorbell(&self->doorbell));
	ASSERT_EQ(0, interrupt_row_of(self->bdf, &self->row));
	snprintf(self->iova, sizeof(self->iova), "%016llx",
		 PAGE_OF(self->row.iova));
	snprintf(self->address, sizeof(self->address), "%016llx",
		 PAGE_OF(self->doorbell.addr));
}

FIXTURE_TEARDOWN(seen)
{
	bind_driver(self->bdf, "virtio-pci");
}

TEST_F(seen, d8_unmap_and_map_are_traced)
{
	ASSERT_EQ(0, unbind_driver(self->bdf));
	trace_start();
	ASSERT_EQ(0, fresh_domain(self->bdf));
	EXPECT_EQ(1, trace_count("iommu_msi_unmap", self->address));
	EXPECT_EQ(1, trace_count("iommu_msi_unmap", self->iova));
	EXPECT_EQ(0, trace_count("iommu_msi_map", ""));
	trace_start();
	ASSERT_EQ(0, bind_driver(self->bdf, "virtio-pci"));
	EXPECT_EQ(1, trace_count("iommu_msi_map", self->address));
	EXPECT_EQ(1, trace_count("iommu_msi_map", self->bdf));
	EXPECT_EQ(0, trace_count("iommu_msi_compose_fail", ""));
}

TEST_F(seen, d8_rebind_is_traced)
{
	const char *port = role("port3");

	if (!port)
		SKIP(return, "no device plays the role port3");
	trace_start();
	EXPECT_EQ(0, fresh_domain(port));
	EXPECT_GE(trace_count("iommu_msi_rebind", port), 1);
}

TEST_F(seen, d8_table_forgets_an_unbound_device)
{
	struct interrupt_row row;

	ASSERT_EQ(0, unbind_driver(self->bdf));
	EXPECT_EQ(-ENOENT, interrupt_row_of(self->bdf, &row));
	ASSERT_EQ(0, bind_driver(self->bdf, "virtio-pci"));
	EXPECT_EQ(0, interrupt_row_of(self->bdf, &row));
}

static void read_header(const char *path, char *words, size_t size)
{
	size_t in, out = 0;
	char line[256];

	read_line(path, line, sizeof(line));
	for (in = 0; line[in] && out < size - 1; in++)
		if (line[in] != ' ' || (out && words[out - 1] != ' '))
			words[out++] = line[in];
	while (out && words[out - 1] == ' ')
		out--;
	words[out] = '\0';
}

TEST_F(seen, d8_tables_have_the_documented_columns)
{
	char words[256];

	read_header(DOORBELLS, words, sizeof(words));
	EXPECT_STREQ("domain type granule irqchip doorbell iova users", words);
	read_header(INTERRUPTS, words, sizeof(words));
	EXPECT_STREQ("device group domain irq irqchip doorbell iova", words);
}

TEST_HARNESS_MAIN
