// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCIe port manages its interrupt itself, so the domain of its group may be
 * replaced while the interrupt is in use. A device that is plugged in shows
 * whether the port still hears of it.
 */
#include <stdio.h>
#include <string.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"
#include "vfio.h"

#define PATIENCE	8	/* seconds for a plugged device to appear */

static struct doorbell doorbell;

/* Does the port's message lead to the doorbell, in the domain that it is in? */
static bool message_is_right(const char *port)
{
	struct msi_entry entry;

	if (smmu_config(requester_id(port)) == SMMU_BYPASS)
		return msi_entries(port, &entry, 1) == 1 &&
		       entry.addr == doorbell.addr;
	return smmu_leads_to(port, doorbell.addr);
}

static bool plugged_device_appears(const char *where, const char *what)
{
	return !ask_host("plug %s", what) &&
	       wait_device(role(where), true, PATIENCE);
}

static bool host_answers(void)
{
	return exists("/dev/vm/host");
}

FIXTURE(port)
{
	const char *bdf;
};

FIXTURE_SETUP(port)
{
	if (!host_answers())
		SKIP(return, "no host to plug devices in");
	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(0, read_doorbell(&doorbell));
}

FIXTURE_TEARDOWN(port)
{
}

TEST_F(port, d9_hotplug_in_a_dma_domain)
{
	const char *port = role("port");
	unsigned long before = device_irq_count(port);

	EXPECT_TRUE(message_is_right(port)) {
		TH_LOG("the message holds an address of another domain");
	}
	EXPECT_TRUE(plugged_device_appears("hot_port", "hot_blk")) {
		TH_LOG("the plugged device never appears");
	}
	EXPECT_GT(device_irq_count(port), before);
}

TEST_F(port, d5_message_follows_type_identity)
{
	const char *port = role("port1");

	EXPECT_EQ(0, set_group_type(group_of(port), "identity"));
	EXPECT_TRUE(message_is_right(port)) {
		TH_LOG("the message holds an address of another domain");
	}
}

TEST_F(port, d5_hotplug_after_type_identity)
{
	const char *port = role("port1");
	unsigned long before = device_irq_count(port);

	EXPECT_EQ(0, set_group_type(group_of(port), "identity"));
	EXPECT_TRUE(plugged_device_appears("hot_port1", "hot_blk1")) {
		TH_LOG("the plugged device never appears");
	}
	EXPECT_GT(device_irq_count(port), before);
}

TEST_F(port, d5_hotplug_after_a_new_dma_domain)
{
	const char *port = role("port2");
	unsigned long before = device_irq_count(port);

	EXPECT_EQ(0, fresh_domain(port));
	EXPECT_TRUE(message_is_right(port)) {
		TH_LOG("the message holds an address of another domain");
	}
	EXPECT_TRUE(plugged_device_appears("hot_port2", "hot_blk2")) {
		TH_LOG("the plugged device never appears");
	}
	EXPECT_GT(device_irq_count(port), before);
}

/* The group's owner changes under the port: none, VFIO, none. */
TEST_F(port, d5_hotplug_beside_an_assigned_device)
{
	const char *port = role("noacs1"), *shared = role("shared");
	unsigned long before = device_irq_count(port);
	struct vfio vfio;

	ASSERT_EQ(0, vfio_open(&vfio, VFIO_TYPE1, shared));
	/* A device joins its group when the first driver takes it. */
	ASSERT_EQ(group_of(port), group_of(shared));
	EXPECT_EQ(0, vfio_enable_msi(&vfio));
	EXPECT_TRUE(edu_interrupts(&vfio, 2000));
	EXPECT_TRUE(message_is_right(port)) {
		TH_LOG("the message holds an address of another domain");
	}
	EXPECT_TRUE(plugged_device_appears("hot_noacs1", "hot_noacs")) {
		TH_LOG("the plugged device never appears");
	}
	EXPECT_GT(device_irq_count(port), before);
	vfio_close(&vfio);
	EXPECT_TRUE(message_is_right(port)) {
		TH_LOG("the message holds an address of another domain");
	}
}

TEST_HARNESS_MAIN
