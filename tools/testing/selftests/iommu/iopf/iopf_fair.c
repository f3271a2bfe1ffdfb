// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: no process holds up another's, no device another's
 *
 * A hog has faults that nobody resolves, or more than its share of those that
 * can be. A good process, which shares the device or the IOMMU with it, has one
 * fault at a time. The oracle is the order of the responses, not the time: the
 * hog is there until the good process is done.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_util.h"

#define GRANT		64
/* More than an IOMMU's workqueue had room for, 16 faults each: 256. */
#define MANY		18
/* Of processes on one device. */
#define PROCESSES	40
#define PROTECTED	(32UL << 20)
/* Seconds that a test may take */
#define LIMIT		120

/* One fault at a time, so many; what the hog may get answered meanwhile. */
#define SINGLES		100

/**
 * struct hog - a process that does not let go
 * @pid: of the process
 * @ready: a byte can be read once it has reported its faults
 */
struct hog {
	pid_t pid;
	int ready[2];
};

/* Starts what @run does, with @arg, in a process of its own. */
static bool hog_start(struct hog *hog, int (*run)(int device, int arg),
		      int device, int arg)
{
	char byte;

	if (pipe(hog->ready))
		return false;
	hog->pid = fork();
	if (!hog->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(hog->ready[1], STDIN_FILENO);
		_exit(run(device, arg));
	}
	close(hog->ready[1]);
	return hog->pid > 0 && read(hog->ready[0], &byte, 1) == 1;
}

/* Whether it lived until now. */
static bool hog_end(struct hog *hog)
{
	int status = 0;

	close(hog->ready[0]);
	return hog->pid > 0 && !kill(hog->pid, SIGKILL) &&
	       waitpid(hog->pid, &status, 0) == hog->pid &&
	       WIFSIGNALED(status);
}

/* In the hog: what there was to report has been. */
static bool hog_is_ready(void)
{
	return write(STDIN_FILENO, "r", 1) == 1;
}

/* A client of @device, or of a device of its own; bound. Negative: failed. */
static int client(int device)
{
	int fd = iopf_open();

	if (fd >= 0 && ((device >= 0 && ioctl(fd, IOPF_TEST_JOIN, device)) ||
			ioctl(fd, IOPF_TEST_BIND, GRANT) <= 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* So many faults on what a monitor watches that never says a word. */
static bool fault_unheard(int fd, char *p, int faults)
{
	int i;

	for (i = 0; i < faults; i++)
		if (iopf_report(fd, p + i * page_size(), PERM_W, i,
				IOPF_TEST_LAST))
			return false;
	return true;
}

/* A process with unheard faults on one device. */
static int unheard(int device, int faults)
{
	size_t len = faults * page_size();
	char *p = map_anon(len, PROT_READ | PROT_WRITE);
	struct monitor m = { };
	int fd = client(device);

	if (fd < 0 || uffd_open(&m, p, len, UFFDIO_REGISTER_MODE_MISSING) ||
	    !fault_unheard(fd, p, faults) || !hog_is_ready())
		return 2;
	for (;;)
		pause();
}

/* The same, on as many devices as are told, 16 faults on each. */
static int unheard_everywhere(int device, int devices)
{
	size_t len = 16 * page_size();
	char *p = map_anon(devices * len, PROT_READ | PROT_WRITE);
	struct monitor m = { };
	int i, fd;

	if (uffd_open(&m, p, devices * len, UFFDIO_REGISTER_MODE_MISSING))
		return 2;
	for (i = 0; i < devices; i++) {
		fd = client(-1);
		if (fd < 0 || !fault_unheard(fd, p + i * len, 16))
			return 3;
	}
	if (!hog_is_ready())
		return 4;
	for (;;)
		pause();
}

/* Reports again whatever is answered, for ever. */
static int repeat(int fd)
{
	struct iopf_test_response resp;

	for (;;) {
		if (read(fd, &resp, sizeof(resp)) != sizeof(resp) ||
		    iopf_report(fd, (void *)resp.addr, PERM_W, resp.grpid,
				IOPF_TEST_LAST))
			return 5;
	}
}

/* A device that asks for pages that are not there, again and again. */
static int repeat_refused(int device, int faults)
{
	size_t len = faults * page_size();
	char *p = map_anon(len, PROT_NONE);
	int fd = client(device);

	if (fd < 0 || !fault_unheard(fd, p, faults) || !hog_is_ready())
		return 2;
	return repeat(fd);
}

static void *change_protection(void *region)
{
	for (;;) {
		mprotect(region, PROTECTED, PROT_READ);
		mprotect(region, PROTECTED, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

/*
 * A process that changes its mappings all the time, and so is in the way of its
 * own faults: where nothing is mapped takes mmap_lock to see.
 */
static int repeat_behind_mprotect(int device, int faults)
{
	char *region = map_anon(PROTECTED, PROT_READ | PROT_WRITE);
	char *p = map_anon(faults * page_size(), PROT_NONE);
	int fd = client(device);
	pthread_t thread;

	munmap(p, faults * page_size());
	madvise(region, PROTECTED, MADV_NOHUGEPAGE);
	memset(region, 1, PROTECTED);
	if (fd < 0 || pthread_create(&thread, NULL, change_protection, region) ||
	    !fault_unheard(fd, p, faults) || !hog_is_ready())
		return 2;
	return repeat(fd);
}

/* Faults, one after the other, then nothing to wait for: 0, or what failed. */
static int serve(int fd)
{
	char *p = map_anon(3 * page_size(), PROT_READ | PROT_WRITE);
	int i;

	for (i = 0; i < 3; i++)
		if (iopf_fault(fd, p + i * page_size(), PERM_W) != RESP_SUCCESS)
			return 1 + i;
	/* A flush that would hang is not begun. */
	if (ioctl(fd, IOPF_TEST_FLUSH))
		return 4;
	if (ioctl(fd, IOPF_TEST_UNBIND))
		return 5;
	return close(fd);
}

static int by_size(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/*
 * How many responses others of the device get while a fault is waited for: in
 * nine of ten cases no more than this. Negative if a fault is not resolved.
 */
static int overtaken(int fd)
{
	char *p = map_anon(SINGLES * page_size(), PROT_READ | PROT_WRITE);
	int others[SINGLES], i, before;

	for (i = 0; i < SINGLES; i++) {
		before = ioctl(fd, IOPF_TEST_RESPONSES);
		if (iopf_fault(fd, p + i * page_size(), PERM_W) != RESP_SUCCESS)
			return -1;
		others[i] = ioctl(fd, IOPF_TEST_RESPONSES) - before - 1;
	}
	munmap(p, SINGLES * page_size());
	qsort(others, SINGLES, sizeof(*others), by_size);
	printf("# others meanwhile: median %d, p90 %d, most %d\n",
	       others[SINGLES / 2], others[SINGLES * 9 / 10],
	       others[SINGLES - 1]);
	return others[SINGLES * 9 / 10];
}

FIXTURE(fair)
{
	int device;
};

FIXTURE_SETUP(fair)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->device = iopf_open();
	ASSERT_GE(self->device, 0);
}

FIXTURE_TEARDOWN(fair)
{
	EXPECT_EQ(0, ioctl(self->device, IOPF_TEST_LATE));
	EXPECT_EQ(0, close(self->device));
}

FIXTURE_VARIANT(fair)
{
	int faults;
};

FIXTURE_VARIANT_ADD(fair, faults_16) { .faults = 16 };
FIXTURE_VARIANT_ADD(fair, faults_17) { .faults = 17 };
FIXTURE_VARIANT_ADD(fair, faults_64) { .faults = 64 };

/* Another process of the device waits for a monitor that is silent. */
TEST_F_TIMEOUT(fair, f12_beside_unheard, LIMIT)
{
	struct hog hog;

	ASSERT_TRUE(hog_start(&hog, unheard, self->device, variant->faults));
	EXPECT_EQ(0, serve(client(self->device)));
	EXPECT_TRUE(hog_end(&hog));
}

/* Another process of the device is in its own way. */
TEST_F_TIMEOUT(fair, f12_beside_mprotect, LIMIT)
{
	struct hog hog;

	ASSERT_TRUE(hog_start(&hog, repeat_behind_mprotect, self->device,
			      variant->faults));
	/* a turn of each of its faults at most */
	EXPECT_LE(overtaken(client(self->device)), variant->faults);
	EXPECT_TRUE(hog_end(&hog));
}

/* Another process of the device repeats what was refused. */
TEST_F_TIMEOUT(fair, f12_beside_refused, LIMIT)
{
	struct hog hog;

	ASSERT_TRUE(hog_start(&hog, repeat_refused, self->device,
			      variant->faults));
	EXPECT_LE(overtaken(client(self->device)), 2 * variant->faults);
	EXPECT_TRUE(hog_end(&hog));
}

FIXTURE(crowd)
{
	int device;
	struct hog hogs[PROCESSES];
};

FIXTURE_SETUP(crowd)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->device = iopf_open();
	ASSERT_GE(self->device, 0);
}

FIXTURE_TEARDOWN(crowd)
{
	EXPECT_EQ(0, close(self->device));
}

/* All devices of an IOMMU but one, of one process. */
TEST_F_TIMEOUT(crowd, f12_devices_of_one_process, LIMIT)
{
	ASSERT_TRUE(hog_start(self->hogs, unheard_everywhere, -1, MANY));
	EXPECT_EQ(0, serve(client(self->device)));
	EXPECT_TRUE(hog_end(self->hogs));
}

/* All devices of an IOMMU but one, a process each. */
TEST_F_TIMEOUT(crowd, f12_devices_of_many_processes, LIMIT)
{
	int i;

	for (i = 0; i < MANY; i++)
		ASSERT_TRUE(hog_start(&self->hogs[i], unheard, -1, 16));
	EXPECT_EQ(0, serve(client(self->device)));
	for (i = 0; i < MANY; i++)
		EXPECT_TRUE(hog_end(&self->hogs[i]));
}

/* All processes of a device but one. */
TEST_F_TIMEOUT(crowd, f12_processes_of_one_device, LIMIT)
{
	int i, fd = iopf_open();

	/* It grants what all of them need. */
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ioctl(fd, IOPF_TEST_JOIN, self->device));
	ASSERT_GT(ioctl(fd, IOPF_TEST_BIND, (PROCESSES + 1) * 16), 0);
	for (i = 0; i < PROCESSES; i++)
		ASSERT_TRUE(hog_start(&self->hogs[i], unheard, self->device,
				      16));
	EXPECT_EQ(0, serve(fd));
	for (i = 0; i < PROCESSES; i++)
		EXPECT_TRUE(hog_end(&self->hogs[i]));
}

TEST_HARNESS_MAIN
