// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation on the way of a doorbell into a new domain fails once: the
 * kernel does without it, or the errno arrives where the interrupt was asked
 * for. Nothing is leaked, and the next attempt succeeds. A GICv2m frame of QEMU
 * has 64 interrupts, so a hundred leaks would be seen. VFIO asks for one
 * interrupt in the calling process and hands on the errno, where other drivers
 * would fall back to INTx.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "../fail_nth.h"
#include "msi_lib.h"
#include "vfio.h"

#define DEBUG		"/sys/kernel/debug/"
#define MAX_SITES	64
#define FAILURES	100

/* The code of a kernel function: what allocates below it may fail. */
static bool find_function(const char *wanted, unsigned long *start,
			  unsigned long *end)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	unsigned long addr;
	char name[256];

	*start = 0;
	*end = ~0UL;
	while (file && fscanf(file, "%lx %*c %255s%*[^\n]", &addr, name) == 2)
		if (!strcmp(name, wanted))
			*start = addr;
	if (file)
		rewind(file);
	while (file && fscanf(file, "%lx %*c %255s%*[^\n]", &addr, name) == 2)
		if (addr > *start && addr < *end)
			*end = addr;
	if (file)
		fclose(file);
	return *start;
}

static int set(const char *injector, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUG "%s/%s", injector, file);
	return write_text(path, value);
}

static int configure(const char *injector, unsigned long start,
		     unsigned long end)
{
	char first[32], last[32];

	snprintf(first, sizeof(first), "0x%lx", start);
	snprintf(last, sizeof(last), "0x%lx", end);
	return set(injector, "verbose", "0") ?:
	       set(injector, "ignore-gfp-wait", "N") ?:
	       set(injector, "stacktrace-depth", "32") ?:
	       set(injector, "require-start", first) ?:
	       set(injector, "require-end", last);
}

/* What CONFIG_IOMMUFD_TEST injects is no allocation: nothing matches it. */
static int silence_iommufd(void)
{
	const char *injector = "fail_iommufd";

	if (!exists(DEBUG "fail_iommufd"))
		return 0;
	return set(injector, "verbose", "0") ?:
	       set(injector, "stacktrace-depth", "32") ?:
	       set(injector, "require-start", "0x1") ?:
	       set(injector, "require-end", "0x1");
}

FIXTURE(sweep)
{
	struct vfio vfio;
	int fail_nth;
};

FIXTURE_SETUP(sweep)
{
	const char *bdf = role("edu");

	self->fail_nth = -1;
	if (!bdf)
		SKIP(return, "no device plays the role edu");
	if (!exists(DEBUG "fail_page_alloc/require-start"))
		SKIP(return, "no fault injection in this kernel");
	self->fail_nth = open("/proc/self/fail-nth", O_RDWR);
	ASSERT_GE(self->fail_nth, 0);
	ASSERT_EQ(0, write_text(DEBUG "fail_page_alloc/min-order", "0"));
	ASSERT_EQ(0, silence_iommufd());
	ASSERT_EQ(0, vfio_open(&self->vfio, VFIO_IOMMUFD, bdf));
}

FIXTURE_TEARDOWN(sweep)
{
	if (self->vfio.bdf[0])
		vfio_close(&self->vfio);
	if (self->fail_nth >= 0)
		close(self->fail_nth);
}

/* Only what allocates below this function of the kernel fails. */
static bool aim_at(const char *function)
{
	unsigned long start, end;

	return find_function(function, &start, &end) &&
	       !configure("failslab", start, end) &&
	       !configure("fail_page_alloc", start, end);
}

/* Attaches the device to an address space that has no doorbell yet. */
static int attach_fresh(struct vfio *vfio)
{
	u32 ioas;
	int ret = vfio_new_ioas(vfio, &ioas);

	return ret ?: vfio_attach(vfio, ioas);
}

/*
 * Asks for the interrupt with the @nth allocation failing. True if there was
 * such an allocation; *@ret is what VFIO said.
 */
static bool enable_failing(struct vfio *vfio, int fail_nth, int nth, int *ret)
{
	vfio_disable_msi(vfio);
	*ret = attach_fresh(vfio);
	if (*ret)
		return false;
	arm_failure(fail_nth, nth);
	*ret = vfio_enable_msi(vfio);
	return failure_happened(fail_nth);
}

TEST_F_TIMEOUT(sweep, d3_every_failure_is_an_errno, 300)
{
	int nth, ret, errors = 0;

	ASSERT_TRUE(aim_at("iommu_dma_prepare_msi"));
	for (nth = 1; nth < MAX_SITES; nth++) {
		if (!enable_failing(&self->vfio, self->fail_nth, nth, &ret))
			break;
		EXPECT_LE(ret, 0);
		errors += ret < 0;
		EXPECT_EQ(0, ret ? vfio_enable_msi(&self->vfio) : 0) {
			TH_LOG("no interrupt is left after %d failures", nth);
		}
		EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
	}
	EXPECT_EQ(0, ret);
	printf("# %d allocations failed, %d times it was an errno\n", nth - 1,
	       errors);
	EXPECT_GE(errors, 2);
	EXPECT_LT(nth, MAX_SITES);
}

TEST_F_TIMEOUT(sweep, d3_a_hundred_failures_leak_no_interrupt, 300)
{
	int nth = 1, ret, failures = 0, rounds;

	ASSERT_TRUE(aim_at("iommu_dma_prepare_msi"));
	for (rounds = 0; failures < FAILURES && rounds < 2 * FAILURES;
	     rounds++) {
		if (enable_failing(&self->vfio, self->fail_nth, nth++, &ret))
			failures++;
		else
			nth = 1;
	}
	EXPECT_EQ(FAILURES, failures) {
		TH_LOG("no interrupt is left after %d failures", failures);
	}
	vfio_disable_msi(&self->vfio);
	EXPECT_EQ(0, vfio_enable_msi(&self->vfio));
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
}

/* The live interrupt moves to another domain, or the move is refused. */
TEST_F_TIMEOUT(sweep, d5_failure_while_moving_loses_nothing, 300)
{
	int nth, ret, refused = 0;
	u32 other;

	if (!aim_at("iommu_msi_start"))
		SKIP(return, "no interface: messages do not move");
	ASSERT_EQ(0, vfio_enable_msi(&self->vfio));
	for (nth = 1; nth < MAX_SITES; nth++) {
		ASSERT_EQ(0, vfio_new_ioas(&self->vfio, &other));
		arm_failure(self->fail_nth, nth);
		ret = vfio_attach(&self->vfio, other);
		if (!failure_happened(self->fail_nth))
			break;
		EXPECT_LE(ret, 0);
		refused += ret < 0;
		EXPECT_TRUE(edu_interrupts(&self->vfio, 2000)) {
			TH_LOG("the interrupt is lost (allocation %d)", nth);
		}
	}
	EXPECT_EQ(0, ret);
	EXPECT_TRUE(edu_interrupts(&self->vfio, 2000));
	printf("# %d moves refused\n", refused);
	EXPECT_GT(refused, 0);
}

TEST_HARNESS_MAIN
