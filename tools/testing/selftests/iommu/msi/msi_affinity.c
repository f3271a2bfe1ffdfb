// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts move between CPUs, and CPUs come and go, while devices work: no
 * interrupt is lost, no message changes its address, nothing is mapped anew.
 *
 * The GICv2 of QEMU before 9.1 forgets an interrupt that is pending while it is
 * given another CPU, whatever the kernel. There the devices work between the
 * changes rather than during them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"

#define CPU1		"/sys/devices/system/cpu/cpu1/online"
#define MAX_WORKERS	3
#define ROUNDS		40

/*
 * A process that repeats a device's work until it is told to stop. What was
 * lost shows as an error: work waits for each answer, but not for ever.
 */
static pid_t start_work(const char *role_name, const int *stop)
{
	pid_t pid = fork();
	int ret = 0, rounds;

	if (pid)
		return pid;
	for (rounds = 0; !ret && !(rounds && read32(stop)); rounds++)
		ret = work(role_name);
	if (ret)
		printf("# %s: round %d: %s\n", role_name, rounds,
		       strerror(-ret));
	fflush(stdout);
	_exit(ret ? 1 : 0);
}

struct workers {
	struct msi_entry before[MAX_WORKERS][MSI_MAX];
	int count[MAX_WORKERS];
	pid_t pids[MAX_WORKERS];
	int *stop;		/* seen by all of them */
	bool calm;		/* there are none: work is between changes */
};

FIXTURE(busy)
{
	struct workers workers;
};

static const char *const roles[MAX_WORKERS] = { "nvme", "vblk", "vnet" };

FIXTURE_SETUP(busy)
{
	struct workers *workers = &self->workers;
	struct doorbell doorbell;
	int index;

	if (!exists(CPU1))
		SKIP(return, "one CPU only");
	for (index = 0; index < MAX_WORKERS; index++) {
		const char *bdf = role(roles[index]);

		ASSERT_NE(NULL, bdf);
		workers->count[index] =
			msi_entries(bdf, workers->before[index], MSI_MAX);
		ASSERT_GT(workers->count[index], 0);
	}
	workers->stop = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, workers->stop);
	trace_start();
	ASSERT_EQ(0, read_doorbell(&doorbell));
	workers->calm = !strcmp(doorbell.chip, "GICv2m") &&
			!getenv("GICV2_MOVES_PENDING");
	for (index = 0; index < MAX_WORKERS && !workers->calm; index++)
		workers->pids[index] = start_work(roles[index], workers->stop);
	sleep_ms(200);
}

FIXTURE_TEARDOWN(busy)
{
}

/* Every worker did its work; every message is where it was. */
static void finish(struct __test_metadata *_metadata,
		   const struct workers *workers)
{
	struct msi_entry after[MSI_MAX];
	int index, entry, status;

	write32(workers->stop, 1);
	for (index = 0; index < MAX_WORKERS && !workers->calm; index++) {
		status = -1;
		waitpid(workers->pids[index], &status, 0);
		EXPECT_EQ(0, status);
	}
	for (index = 0; index < MAX_WORKERS; index++) {
		ASSERT_EQ(workers->count[index],
			  msi_entries(role(roles[index]), after, MSI_MAX));
		for (entry = 0; entry < workers->count[index]; entry++)
			EXPECT_EQ(workers->before[index][entry].addr,
				  after[entry].addr);
	}
	EXPECT_EQ(0, trace_count("iommu_msi_map", ""));
	EXPECT_EQ(0, trace_count("iommu_msi_unmap", ""));
}

/* A while for the workers, or a piece of the work itself. */
static int work_meanwhile(const struct workers *workers, int ms)
{
	if (!workers->calm) {
		sleep_ms(ms);
		return 0;
	}
	return exchange_frames(role("vnet"), role("e1000e"), 5);
}

/* The kernel manages the disks' affinity itself; the card's can be set. */
TEST_F_TIMEOUT(busy, d1_affinity_changes_lose_nothing, 150)
{
	int irqs[MSI_MAX], count, round, index, changed = 0;

	count = irqs_of(role("vnet"), irqs, MSI_MAX);
	for (round = 0; round < ROUNDS; round++) {
		for (index = 0; index < count; index++)
			changed += !set_affinity(irqs[index], round & 1);
		ASSERT_EQ(0, work_meanwhile(&self->workers, 20));
	}
	EXPECT_EQ(ROUNDS * count, changed);
	finish(_metadata, &self->workers);
}

TEST_F_TIMEOUT(busy, d1_cpu_hotplug_loses_nothing, 150)
{
	int round;

	for (round = 0; round < 10; round++) {
		EXPECT_EQ(0, write_text(CPU1, "0"));
		EXPECT_EQ(0, work_meanwhile(&self->workers, 50));
		EXPECT_EQ(0, read_disk(role("nvme"), self->workers.calm));
		EXPECT_EQ(0, write_text(CPU1, "1"));
		EXPECT_EQ(0, work_meanwhile(&self->workers, 50));
	}
	finish(_metadata, &self->workers);
}

TEST_HARNESS_MAIN
