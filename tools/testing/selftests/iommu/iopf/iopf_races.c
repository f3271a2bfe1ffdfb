// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: death, unbinding and removal with faults in flight
 *
 * The oracle is the kernel's own checks, that nothing hangs, and the device's
 * count of responses. IOPF_SCALE multiplies how often: the default is a short
 * run, 100 a long one with 10,000 processes killed.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_util.h"

#define PAGES		64
#define DEVICES		8
#define PROCESSES	64
/* Seconds that a test may take */
#define LIMIT		scale(60)
/* How long a response may take, with all of them at work. */
#define WAIT_MS		60000

FIXTURE(races)
{
};

FIXTURE_SETUP(races)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
}

FIXTURE_TEARDOWN(races)
{
}

static int scale(int loops)
{
	const char *s = getenv("IOPF_SCALE");

	return s ? loops * atoi(s) : loops;
}

/* A process that faults and remaps, until somebody kills it. */
static void victim(void)
{
	size_t page = page_size();
	int fd = iopf_open(), i;
	char *p = map_anon(PAGES * page, PROT_READ | PROT_WRITE);

	if (fd < 0 || !p || ioctl(fd, IOPF_TEST_BIND, PAGES) <= 0)
		_exit(2);
	for (;;) {
		for (i = 0; i < PAGES; i++)
			iopf_report(fd, p + i * page, PERM_W, i,
				    i % 5 ? IOPF_TEST_LAST : 0);
		while (iopf_next(fd, 0) != RESP_NONE)
			;
		madvise(p, PAGES * page, MADV_DONTNEED);
	}
}

TEST_F_TIMEOUT(races, sigkill, LIMIT)
{
	int i, n = scale(100), status;

	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid)
			victim();
		usleep(200 * (i % 50));
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
}

struct shared {
	int fd;
	char *p;
	bool stop;
	unsigned long reported;
};

static void *reporter(void *data)
{
	struct shared *s = data;
	size_t page = page_size();
	unsigned int i = 0;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
		if (!iopf_report(s->fd, s->p + (i % PAGES) * page, PERM_W, i,
				 IOPF_TEST_LAST))
			__atomic_fetch_add(&s->reported, 1, __ATOMIC_RELAXED);
		i++;
		if (!(i % PAGES))
			madvise(s->p, PAGES * page, MADV_DONTNEED);
	}
	return NULL;
}

/* Each report that the kernel took is answered once, whatever happens. */
static void churn(struct __test_metadata *_metadata, unsigned int cmd)
{
	struct shared s = {
		.fd = iopf_open(),
		.p = map_anon(PAGES * page_size(), PROT_READ | PROT_WRITE),
	};
	int i, n = scale(100);
	pthread_t thread;

	ASSERT_GE(s.fd, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, reporter, &s));
	for (i = 0; i < n; i++) {
		ASSERT_GT(ioctl(s.fd, IOPF_TEST_BIND, PAGES), 0);
		usleep(100 * (i % 20));
		ASSERT_EQ(0, ioctl(s.fd, cmd));
		if (cmd != IOPF_TEST_UNBIND)
			ASSERT_EQ(0, ioctl(s.fd, IOPF_TEST_UNBIND));
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_GT(s.reported, 0);
	EXPECT_EQ(s.reported, ioctl(s.fd, IOPF_TEST_RESPONSES));
	EXPECT_EQ(0, ioctl(s.fd, IOPF_TEST_LATE));
	close(s.fd);
}

TEST_F_TIMEOUT(races, unbind_under_load, LIMIT)
{
	churn(_metadata, IOPF_TEST_UNBIND);
}

TEST_F_TIMEOUT(races, remove_under_load, LIMIT)
{
	churn(_metadata, IOPF_TEST_REMOVE);
}

TEST_F_TIMEOUT(races, flush_under_load, LIMIT)
{
	churn(_metadata, IOPF_TEST_FLUSH);
}

/* Lanes that go from group to group let those in who change the mapping. */
TEST_F_TIMEOUT(races, mprotect_under_load, LIMIT)
{
	size_t len = PAGES * page_size();
	struct shared s = {
		.fd = iopf_open(),
		.p = map_anon(len, PROT_READ | PROT_WRITE),
	};
	int i, n = scale(200);
	pthread_t thread;

	ASSERT_GT(ioctl(s.fd, IOPF_TEST_BIND, PAGES), 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, reporter, &s));
	/* The thread may start late */
	for (i = 0; i < n || !__atomic_load_n(&s.reported, __ATOMIC_RELAXED);
	     i++) {
		ASSERT_EQ(0, mprotect(s.p, len, PROT_READ));
		ASSERT_EQ(0, mprotect(s.p, len, PROT_READ | PROT_WRITE));
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, ioctl(s.fd, IOPF_TEST_UNBIND));
	EXPECT_GT(s.reported, 0);
	EXPECT_EQ(s.reported, ioctl(s.fd, IOPF_TEST_RESPONSES));
	close(s.fd);
}

/* The faults of a process, in rounds: 0 if each page came. */
static int work(int fd, int rounds)
{
	size_t page = page_size();
	char *p = map_anon(PAGES * page, PROT_READ | PROT_WRITE);
	int i, r;

	for (r = 0; r < rounds; r++) {
		for (i = 0; i < PAGES; i++)
			if (iopf_report(fd, p + i * page, PERM_W, i,
					IOPF_TEST_LAST))
				return 3;
		for (i = 0; i < PAGES; i++)
			if (iopf_next(fd, WAIT_MS) != RESP_SUCCESS)
				return 4;
		for (i = 0; i < PAGES; i++)
			if (!is_present(p + i * page))
				return 5;
		madvise(p, PAGES * page, MADV_DONTNEED);
	}
	return 0;
}

static int worker(int device, int rounds)
{
	int fd = iopf_open();

	if (fd < 0 || ioctl(fd, IOPF_TEST_JOIN, device) ||
	    ioctl(fd, IOPF_TEST_BIND, PAGES * PROCESSES / DEVICES) <= 0)
		return 2;
	return work(fd, rounds) ?: close(fd);
}

/* Many PASIDs on each of several devices, all at once. */
TEST_F_TIMEOUT(races, many_processes, LIMIT)
{
	int device[DEVICES], i, status;

	for (i = 0; i < DEVICES; i++) {
		device[i] = iopf_open();
		ASSERT_GE(device[i], 0);
	}
	for (i = 0; i < PROCESSES; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(worker(device[i % DEVICES], scale(2)));
	}
	for (i = 0; i < PROCESSES; i++) {
		ASSERT_GT(wait(&status), 0);
		EXPECT_EQ(0, status);
	}
	for (i = 0; i < DEVICES; i++) {
		EXPECT_EQ(PROCESSES / DEVICES * PAGES * scale(2),
			  ioctl(device[i], IOPF_TEST_RESPONSES));
		EXPECT_EQ(0, ioctl(device[i], IOPF_TEST_LATE));
		close(device[i]);
	}
}

/* Faults on what a monitor watches, more than are resolved side by side. */
static void unheard(int to_parent)
{
	size_t page = page_size();
	int fd = iopf_open(), i;
	char *p = map_anon(PAGES * page, PROT_READ | PROT_WRITE);
	struct monitor m = { };

	if (fd < 0 || ioctl(fd, IOPF_TEST_BIND, PAGES) <= 0 ||
	    uffd_open(&m, p, PAGES * page, UFFDIO_REGISTER_MODE_MISSING))
		_exit(2);
	for (i = 0; i < PAGES; i++)
		iopf_report(fd, p + i * page, PERM_W, i, IOPF_TEST_LAST);
	if (write(to_parent, &m.uffd, sizeof(m.uffd)) != sizeof(m.uffd))
		_exit(3);
	for (;;)
		pause();
}

/* Whether the address space behind a userfaultfd has no users any more. */
static bool is_gone(int uffd)
{
	struct uffdio_zeropage zero = {
		.range = { .start = 1 << 30, .len = page_size() },
	};

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zero) && errno == ESRCH;
}

/*
 * A process is killed while its monitor, another process, is silent and stays
 * so: its memory is freed, as it would be if a CPU had faulted.
 */
TEST_F_TIMEOUT(races, killed_unheard, LIMIT)
{
	int ends[2], pidfd, uffd, theirs, i;
	pid_t pid;

	ASSERT_EQ(0, pipe(ends));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		unheard(ends[1]);
	ASSERT_EQ(sizeof(theirs), read(ends[0], &theirs, sizeof(theirs)));
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	ASSERT_GE(pidfd, 0);
	uffd = syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	ASSERT_GE(uffd, 0);
	EXPECT_FALSE(is_gone(uffd));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	for (i = 0; i < patience(1000) && !is_gone(uffd); i++)
		usleep(10000);
	EXPECT_TRUE(is_gone(uffd));
	close(uffd);
	close(pidfd);
	close(ends[0]);
	close(ends[1]);
}

TEST_HARNESS_MAIN
