// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: every allocation fails once
 *
 * Each allocation that binding makes fails in turn: ENOMEM, nothing is left
 * behind, and the next attempt succeeds. Then those in the report path: no
 * fault is lost, for what the reporting thread cannot allocate a worker can.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../kselftest_harness.h"
#include "../fail_nth.h"
#include "iopf_util.h"

#define GRANT		16
#define PAGES		16
/* More than any of these paths allocates. */
#define MAX_SITES	800
#define DEBUG		"/sys/kernel/debug/"

FIXTURE(sweep)
{
	int fail_nth;
	size_t page;
};

static bool configure(const char *injector)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUG "%s/verbose", injector);
	if (write_text(path, "0"))
		return false;
	snprintf(path, sizeof(path), DEBUG "%s/ignore-gfp-wait", injector);
	return !write_text(path, "N");
}

FIXTURE_SETUP(sweep)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->page = page_size();
	ASSERT_TRUE(configure("failslab"));
	ASSERT_TRUE(configure("fail_page_alloc"));
	ASSERT_EQ(0, write_text(DEBUG "fail_page_alloc/min-order", "0"));
	ASSERT_EQ(0, write_text(DEBUG "fail_page_alloc/ignore-gfp-highmem",
				"N"));
	self->fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	ASSERT_GE(self->fail_nth, 0);
}

FIXTURE_TEARDOWN(sweep)
{
	close(self->fail_nth);
}

/* Allocations of the kernel's checkers come and go: a round may miss some. */
#define ROUNDS		10
/* Fewer than binding cannot do without. */
#define NEEDED		3

TEST_F_TIMEOUT(sweep, bind, 300)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	int round, nth, fd = iopf_open(), ret, failed = 0;
	bool hit;

	ASSERT_GE(fd, 0);
	for (round = 0; round < ROUNDS && failed <= NEEDED; round++) {
		hit = true;
		for (nth = 1; hit && nth < MAX_SITES; nth++) {
			arm_failure(self->fail_nth, nth);
			ret = ioctl(fd, IOPF_TEST_BIND, GRANT);
			hit = failure_happened(self->fail_nth);
			if (ret < 0) {
				EXPECT_TRUE(hit);
				EXPECT_EQ(ENOMEM, errno);
				failed++;
				/* Nothing is half done. */
				ASSERT_GT(ioctl(fd, IOPF_TEST_BIND, GRANT), 0);
			}
			EXPECT_EQ(RESP_SUCCESS, iopf_fault(fd, p, PERM_W));
			EXPECT_EQ(0, ioctl(fd, IOPF_TEST_UNBIND));
		}
		EXPECT_FALSE(hit);
		printf("# round %d: %d allocations, so far %d of them needed\n",
		       round, nth - 2, failed);
	}
	EXPECT_GT(failed, NEEDED);
	close(fd);
}

/* A report allocates nothing, so that nothing can fail: alone and in a group. */
TEST_F_TIMEOUT(sweep, report, 300)
{
	char *p = map_anon(PAGES * self->page, PROT_READ | PROT_WRITE);
	int nth, i, fd = iopf_open();

	ASSERT_GE(fd, 0);
	ASSERT_GT(ioctl(fd, IOPF_TEST_BIND, GRANT), 0);
	for (nth = 1; nth <= 8; nth++) {
		usleep(10000);
		arm_failure(self->fail_nth, nth);
		EXPECT_EQ(0, iopf_report(fd, p + self->page, PERM_W, 1,
					 IOPF_TEST_LAST));
		EXPECT_FALSE(failure_happened(self->fail_nth));
		EXPECT_EQ(RESP_SUCCESS, iopf_next(fd, 10000));
		EXPECT_TRUE(is_present(p + self->page));
		arm_failure(self->fail_nth, nth);
		for (i = 1; i < PAGES; i++)
			EXPECT_EQ(0, iopf_report(fd, p + i * self->page, PERM_W,
						 2, i == PAGES - 1 ?
						    IOPF_TEST_LAST : 0));
		EXPECT_FALSE(failure_happened(self->fail_nth));
		EXPECT_EQ(RESP_SUCCESS, iopf_next(fd, 10000));
		madvise(p + self->page, (PAGES - 1) * self->page,
			MADV_DONTNEED);
	}
	EXPECT_EQ(8 * 2, ioctl(fd, IOPF_TEST_RESPONSES));
	close(fd);
}

TEST_HARNESS_MAIN
