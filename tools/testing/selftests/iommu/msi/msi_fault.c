// SPDX-License-Identifier: GPL-2.0-only
/*
 * A control: the doorbell's mapping is what lets an interrupt through. With a
 * wrong address in the device's table the SMMU reports F_TRANSLATION and no
 * interrupt comes; with the right one back the device works on.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kselftest_harness.h"
#include "msi_lib.h"
#include "smmu.h"

#define WRONG		0x0dead000ULL
#define F_TRANSLATION	0x10

/* Reads one block, from one CPU: its queue has one vector. */
static pid_t start_read(const char *node)
{
	pid_t pid = fork();
	cpu_set_t cpus;
	void *buffer;
	int fd;

	if (pid)
		return pid;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	fd = open(node, O_RDONLY | O_DIRECT);
	if (fd < 0 || posix_memalign(&buffer, 4096, 4096))
		_exit(1);
	_exit(read(fd, buffer, 4096) != 4096);
}

static bool ended_well(pid_t pid, int ms)
{
	int status = -1;

	for (ms = patience(ms); ms > 0; ms -= 20) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return !status;
		sleep_ms(20);
	}
	return false;
}

static bool wait_log(int mark, const char *text, int ms)
{
	for (ms = patience(ms); ms > 0; ms -= 20) {
		if (log_count(mark, text))
			return true;
		sleep_ms(20);
	}
	return false;
}

FIXTURE(wrong)
{
	const char *bdf;
	char node[64];
	struct msi_entry entries[MSI_MAX];
	int count;
};

FIXTURE_SETUP(wrong)
{
	self->bdf = role("nvme");
	if (!self->bdf)
		SKIP(return, "no device plays the role nvme");
	ASSERT_EQ(0, find_disk(self->bdf, self->node, sizeof(self->node)));
	self->count = msi_entries(self->bdf, self->entries, MSI_MAX);
	ASSERT_GT(self->count, 0);
}

FIXTURE_TEARDOWN(wrong)
{
}

TEST_F(wrong, d1_address_faults_and_restoring_it_heals)
{
	u64 wrong = WRONG | (self->entries[0].addr & 0xfff);
	unsigned long before;
	struct smmu_map map;
	pid_t first, second;
	char text[32];
	int mark, index;

	ASSERT_EQ(0, smmu_open());
	ASSERT_EQ(-ENOENT, smmu_lookup(requester_id(self->bdf), wrong, &map));
	mark = log_mark();
	before = device_irq_count(self->bdf);
	for (index = 0; index < self->count; index++)
		write_msi_address(self->bdf, index, wrong);
	first = start_read(self->node);
	/* The record's third word is the address that was not translated. */
	snprintf(text, sizeof(text), "0x%016llx", wrong);
	EXPECT_TRUE(wait_log(mark, text, 4000));
	EXPECT_EQ(before, device_irq_count(self->bdf));
	EXPECT_EQ(0, waitpid(first, NULL, WNOHANG));

	for (index = 0; index < self->count; index++)
		write_msi_address(self->bdf, index,
				  self->entries[index].addr);
	second = start_read(self->node);
	EXPECT_TRUE(ended_well(second, 4000));
	EXPECT_TRUE(ended_well(first, 4000));
	EXPECT_GT(device_irq_count(self->bdf), before);
	EXPECT_EQ(0, read_disk(self->bdf, 1));
}

/* The first word of the record names the event and the StreamID. */
TEST_F(wrong, d1_address_is_reported_for_the_right_stream)
{
	u64 wrong = WRONG | (self->entries[0].addr & 0xfff);
	int mark = log_mark(), index;
	char text[32];
	pid_t reader;

	for (index = 0; index < self->count; index++)
		write_msi_address(self->bdf, index, wrong);
	reader = start_read(self->node);
	snprintf(text, sizeof(text), "0x%08x%08x", requester_id(self->bdf),
		 F_TRANSLATION);
	EXPECT_TRUE(wait_log(mark, text, 4000));
	for (index = 0; index < self->count; index++)
		write_msi_address(self->bdf, index,
				  self->entries[index].addr);
	EXPECT_TRUE(ended_well(start_read(self->node), 4000));
	EXPECT_TRUE(ended_well(reader, 4000));
}

TEST_HARNESS_MAIN
