// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: death, unbinding and removal with faults in flight
 *
 * The oracle is the kernel's own checks, that nothing hangs, and the device's
 * count of responses. IOPF_LOOPS sets how often; the default is a short run.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_util.h"

#define PAGES	64
/* Seconds: debug kernels under emulation are slow. */
#define LIMIT	600

FIXTURE(races)
{
};

FIXTURE_SETUP(races)
{
}

FIXTURE_TEARDOWN(races)
{
}

static int loops(int otherwise)
{
	const char *s = getenv("IOPF_LOOPS");

	return s ? atoi(s) : otherwise;
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
	int i, n = loops(100), status;

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
	volatile bool stop;
	unsigned long reported;
};

static void *reporter(void *data)
{
	struct shared *s = data;
	size_t page = page_size();
	unsigned int i = 0;

	while (!s->stop) {
		if (!iopf_report(s->fd, s->p + (i % PAGES) * page, PERM_W, i,
				 IOPF_TEST_LAST))
			s->reported++;
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
	int i, n = loops(100);
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
	s.stop = true;
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

/* One process with a device, as in the test below: 0 if all was answered. */
static int worker(int rounds)
{
	size_t page = page_size();
	int fd = iopf_open(), i, r;
	char *p = map_anon(PAGES * page, PROT_READ | PROT_WRITE);

	if (fd < 0 || ioctl(fd, IOPF_TEST_BIND, PAGES) <= 0)
		return 2;
	for (r = 0; r < rounds; r++) {
		for (i = 0; i < PAGES; i++)
			if (iopf_report(fd, p + i * page, PERM_W, i,
					IOPF_TEST_LAST))
				return 3;
		for (i = 0; i < PAGES; i++)
			if (iopf_next(fd, 20000) != RESP_SUCCESS)
				return 4;
		for (i = 0; i < PAGES; i++)
			if (!is_present(p + i * page))
				return 5;
		madvise(p, PAGES * page, MADV_DONTNEED);
	}
	return close(fd) ? 6 : 0;
}

TEST_F_TIMEOUT(races, many_processes, LIMIT)
{
	int i, status;

	for (i = 0; i < 64; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid)
			_exit(worker(5));
	}
	for (i = 0; i < 64; i++) {
		ASSERT_GT(wait(&status), 0);
		EXPECT_EQ(0, status);
	}
}

TEST_HARNESS_MAIN
