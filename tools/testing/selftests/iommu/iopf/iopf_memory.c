// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: memory that is on a disk, or not to be had without one
 *
 * A compressed disk in memory (zram) serves as swap, and as a disk with a page
 * cache. The oracle is the data, the process's own page table, and what the
 * memory cgroup counts.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_util.h"

#define GRANT		64
#define CGROUP		"/tmp/iopf-cgroup"
#define GROUP		CGROUP "/squeezed"
/* What the cgroup may have, and what the process in it uses, MiB. */
#define LIMIT		8
#define USED		16
#define SWAP_MIB	64
/* Seconds: debug kernels under emulation are slow. */
#define TIME_LIMIT	300

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT	21
#endif

/* A new compressed disk: its number, or -1. */
static int zram_add(unsigned int mib)
{
	char text[16], path[64];
	int id;

	if (read_text("/sys/class/zram-control/hot_add", text, sizeof(text)))
		return -1;
	id = atoi(text);
	snprintf(path, sizeof(path), "/sys/block/zram%d/disksize", id);
	snprintf(text, sizeof(text), "%uM", mib);
	return write_text(path, text) ? -1 : id;
}

static void zram_remove(int id)
{
	char text[16], path[64];

	snprintf(text, sizeof(text), "%d", id);
	snprintf(path, sizeof(path), "/sys/block/zram%d/reset", id);
	write_text(path, "1");
	write_text("/sys/class/zram-control/hot_remove", text);
}

/* What mkswap writes: see union swap_header in the kernel's linux/swap.h. */
static bool make_swap(const char *path, unsigned int mib)
{
	size_t page = page_size();
	char *header = calloc(1, page);
	unsigned int info[] = { 1, (((size_t)mib << 20) / page) - 1, 0 };
	int fd = open(path, O_WRONLY);
	bool ok;

	memcpy(header + 1024, info, sizeof(info));
	memcpy(header + page - 10, "SWAPSPACE2", 10);
	ok = fd >= 0 && write(fd, header, page) == (ssize_t)page && !fsync(fd);
	if (fd >= 0)
		close(fd);
	free(header);
	return ok;
}

FIXTURE(memory)
{
	int fd;
	int zram;
	size_t page;
	char disk[32];
};

FIXTURE_SETUP(memory)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->page = page_size();
	self->zram = zram_add(SWAP_MIB);
	if (self->zram < 0)
		SKIP(return, "no zram: CONFIG_ZRAM");
	snprintf(self->disk, sizeof(self->disk), "/dev/zram%d", self->zram);
	self->fd = iopf_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_GT(ioctl(self->fd, IOPF_TEST_BIND, GRANT), 0);
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_LATE));
	EXPECT_EQ(0, close(self->fd));
	zram_remove(self->zram);
}

static bool is_swapped(const void *addr)
{
	return page_entry(addr) >> 62 & 1;
}

/* A page that is in swap comes back, for reading and for writing. */
TEST_F_TIMEOUT(memory, swap, TIME_LIMIT)
{
	char *p = map_anon(2 * self->page, PROT_READ | PROT_WRITE);
	char *q = p + self->page;

	ASSERT_TRUE(make_swap(self->disk, SWAP_MIB));
	ASSERT_EQ(0, swapon(self->disk, 0));
	memcpy(p, "swapped", sizeof("swapped"));
	memcpy(q, "likewise", sizeof("likewise"));
	ASSERT_EQ(0, madvise(p, 2 * self->page, MADV_PAGEOUT));
	ASSERT_TRUE(is_swapped(p));
	ASSERT_TRUE(is_swapped(q));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, q, PERM_W));
	EXPECT_TRUE(is_present(p));
	EXPECT_TRUE(is_present(q));
	EXPECT_STREQ("swapped", p);
	EXPECT_STREQ("likewise", q);
	EXPECT_EQ(0, swapoff(self->disk));
}

static bool join_cgroup(void)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", getpid());
	return !write_text(GROUP "/cgroup.procs", text);
}

static unsigned long counted(const char *file, const char *name)
{
	char text[512], *at;

	if (read_text(file, text, sizeof(text)))
		return -1UL;
	at = strstr(text, name);
	return at ? strtoul(at + strlen(name), NULL, 10) : -1UL;
}

/* Resolves pages [@from, @from + GRANT) as groups of four: success? */
static bool fault_groups(int fd, char *p, int from)
{
	size_t page = page_size();
	int i;

	for (i = from; i < from + GRANT; i++)
		if (iopf_report(fd, p + i * page, PERM_R, i / 4,
				i % 4 == 3 ? IOPF_TEST_LAST : 0))
			return false;
	for (i = 0; i < GRANT / 4; i++)
		if (iopf_next(fd, 20000) != RESP_SUCCESS)
			return false;
	return true;
}

/* Uses more memory than it may have; the rest goes to swap and back. */
static int squeezed(void)
{
	size_t page = page_size();
	int pages = ((size_t)USED << 20) / page, i, swapped = 0;
	int fd = iopf_open();
	char *p = map_anon(pages * page, PROT_READ | PROT_WRITE);

	if (!join_cgroup() || fd < 0 || ioctl(fd, IOPF_TEST_BIND, GRANT) <= 0)
		return 2;
	for (i = 0; i < pages; i++) {
		if (iopf_fault(fd, p + i * page, PERM_W) != RESP_SUCCESS)
			return 3;
		*(int *)(p + i * page) = i + 1;
	}
	for (i = 0; i < pages; i++)
		swapped += is_swapped(p + i * page);
	if (swapped < pages / 4)
		return 4;
	for (i = 0; i < pages; i += GRANT)
		if (!fault_groups(fd, p, i))
			return 5;
	for (i = 0; i < pages; i++)
		if (*(int *)(p + i * page) != i + 1)
			return 6;
	return 0;
}

/* Faults of a cgroup that is full make room by swapping; nobody is killed. */
TEST_F_TIMEOUT(memory, cgroup_with_swap, TIME_LIMIT)
{
	char limit[16];
	int status;
	pid_t pid;

	snprintf(limit, sizeof(limit), "%dM", LIMIT);
	ASSERT_TRUE(make_swap(self->disk, SWAP_MIB));
	ASSERT_EQ(0, swapon(self->disk, 0));
	mkdir(CGROUP, 0755);
	ASSERT_EQ(0, mount("none", CGROUP, "cgroup2", 0, NULL));
	ASSERT_EQ(0, write_text(CGROUP "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	ASSERT_EQ(0, write_text(GROUP "/memory.max", limit));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(squeezed());
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, counted(GROUP "/memory.events", "oom_kill "));
	EXPECT_EQ(0, counted(GROUP "/memory.events", "oom "));
	/* The limit holds, but for what reclaim itself needs. */
	EXPECT_LE(counted(GROUP "/memory.peak", ""),
		  (LIMIT << 20) + 16 * self->page);
	printf("# peak: %lu pages above the limit\n",
	       (counted(GROUP "/memory.peak", "") - (LIMIT << 20)) /
	       self->page);
	EXPECT_EQ(0, rmdir(GROUP));
	EXPECT_EQ(0, umount(CGROUP));
	EXPECT_EQ(0, swapoff(self->disk));
}

/* A page of a file that has to be read: VM_FAULT_RETRY under the VMA's lock. */
TEST_F_TIMEOUT(memory, file_on_disk, TIME_LIMIT)
{
	size_t len = 64 * self->page;
	char *data = malloc(len), *p;
	int fd = open(self->disk, O_RDWR), i;
	unsigned char there;

	ASSERT_GE(fd, 0);
	for (i = 0; i < len; i++)
		data[i] = i * 7 + i / 4096;
	ASSERT_EQ(len, pwrite(fd, data, len, 0));
	ASSERT_EQ(0, fsync(fd));
	ASSERT_EQ(0, posix_fadvise(fd, 0, len, POSIX_FADV_DONTNEED));
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, madvise(p, len, MADV_RANDOM));
	ASSERT_EQ(0, mincore(p + 40 * self->page, self->page, &there));
	ASSERT_EQ(0, there & 1);
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, p + 40 * self->page, PERM_R));
	EXPECT_TRUE(is_present(p + 40 * self->page));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	for (i = 1; i < 32; i++)
		ASSERT_EQ(0, iopf_report(self->fd, p + i * self->page, PERM_R,
					 7, i == 31 ? IOPF_TEST_LAST : 0));
	EXPECT_EQ(RESP_SUCCESS, iopf_next(self->fd, 10000));
	for (i = 0; i < 32; i++)
		EXPECT_TRUE(is_present(p + i * self->page));
	EXPECT_EQ(0, memcmp(p, data, len));
	munmap(p, len);
	close(fd);
	free(data);
}

TEST_HARNESS_MAIN
