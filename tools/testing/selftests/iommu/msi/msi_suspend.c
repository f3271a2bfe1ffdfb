// SPDX-License-Identifier: GPL-2.0-only
/*
 * All devices are suspended and resumed, and the machine goes on: the messages
 * are restored, and the devices interrupt as before.
 */
#include "../../kselftest_harness.h"
#include "msi_lib.h"

#define PM_TEST		"/sys/power/pm_test"
#define PM_DELAY	"/sys/module/suspend/parameters/pm_test_delay"

TEST(d9_work_after_suspend)
{
	static const char * const names[] = { "vblk", "e1000e", "vnet", "rng" };
	unsigned int index;

	if (!exists(PM_TEST))
		SKIP(return, "no interface: " PM_TEST);
	ASSERT_EQ(0, write_text(PM_DELAY, "1"));
	/* As far as to what is done to devices with interrupts off */
	ASSERT_EQ(0, write_text(PM_TEST, "platform"));
	ASSERT_EQ(0, write_text("/sys/power/state", "freeze"));
	for (index = 0; index < ARRAY_SIZE(names); index++)
		EXPECT_EQ(0, work(names[index])) {
			TH_LOG("%s does not work any more", names[index]);
		}
}

TEST_HARNESS_MAIN
