// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: each kind of memory resolves, or is answered INVALID
 *
 * The oracle is the process's own page table (pagemap) and what it reads.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "iopf_table.h"
#include "iopf_util.h"

#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif

#define GRANT	64
#define TRACING	"/sys/kernel/tracing"
#define HUGE	"/sys/kernel/mm/transparent_hugepage"
#define TIMEOUT	"/sys/module/io_pgfault/parameters/timeout_ms"

FIXTURE(iopf)
{
	int fd;
	size_t page;
};

FIXTURE_SETUP(iopf)
{
	if (iopf_absent())
		SKIP(return, IOPF_ABSENT);
	self->page = page_size();
	self->fd = iopf_open();
	ASSERT_GE(self->fd, 0);
	ASSERT_GT(ioctl(self->fd, IOPF_TEST_BIND, GRANT), 0);
}

FIXTURE_TEARDOWN(iopf)
{
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_LATE));
	EXPECT_EQ(0, close(self->fd));
}

TEST_F(iopf, anon_write)
{
	char *p = map_anon(4 * self->page, PROT_READ | PROT_WRITE);

	ASSERT_NE(NULL, p);
	EXPECT_FALSE(is_present(p));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R | PERM_W));
	EXPECT_TRUE(is_present(p));
	EXPECT_FALSE(is_present(p + self->page));
	EXPECT_EQ(0, p[0]);
}

TEST_F(iopf, anon_read_then_write)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	uint64_t zero;

	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R));
	EXPECT_TRUE(is_present(p));
	zero = pfn_of(p);
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	/* The zero page was replaced. */
	EXPECT_NE(zero, pfn_of(p));
}

TEST_F(iopf, permissions)
{
	char *ro = map_anon(self->page, PROT_READ);
	char *none = map_anon(self->page, PROT_NONE);
	char *rw = map_anon(self->page, PROT_READ | PROT_WRITE);
	char *rx = map_anon(self->page, PROT_READ | PROT_EXEC);

	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, ro, PERM_R));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, ro, PERM_W));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, none, PERM_R));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, rw, PERM_R | PERM_X));
	EXPECT_FALSE(is_present(rw));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, rx, PERM_R | PERM_X));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, rw, PERM_W | PERM_P));
}

TEST_F(iopf, absurd_addresses)
{
	char *p = map_anon(2 * self->page, PROT_READ | PROT_WRITE);

	EXPECT_EQ(0, munmap(p, self->page));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, p, PERM_R));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, NULL, PERM_R));
	EXPECT_EQ(RESP_INVALID, iopf_fault(self->fd, (void *)-1L, PERM_R));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, (void *)(1UL << 47), PERM_R));
	/* Not aligned is fine. */
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, p + self->page + 123, PERM_R));
	EXPECT_TRUE(is_present(p + self->page));
}

TEST_F(iopf, wrong_pasid)
{
	struct iopf_test_request req = {
		.perm = PERM_R,
		.flags = IOPF_TEST_LAST | IOPF_TEST_USE_PASID,
		.pasid = 0xffff,
	};

	EXPECT_EQ(-1, write(self->fd, &req, sizeof(req)));
	EXPECT_EQ(EINVAL, errno);
	req.flags = IOPF_TEST_LAST | IOPF_TEST_NO_PASID;
	EXPECT_EQ(-1, write(self->fd, &req, sizeof(req)));
	EXPECT_FALSE(iopf_answered(self->fd, 50));
}

TEST_F(iopf, group)
{
	char *p = map_anon(32 * self->page, PROT_READ | PROT_WRITE);
	int i;

	for (i = 0; i < 32; i++)
		ASSERT_EQ(0, iopf_report(self->fd, p + i * self->page, PERM_W,
					 5, i == 31 ? IOPF_TEST_LAST : 0));
	EXPECT_EQ(RESP_SUCCESS, iopf_next(self->fd, 10000));
	for (i = 0; i < 32; i++)
		EXPECT_TRUE(is_present(p + i * self->page));
	EXPECT_FALSE(iopf_answered(self->fd, 50));
}

TEST_F(iopf, group_over_vmas)
{
	char *p = map_anon(8 * self->page, PROT_READ | PROT_WRITE);
	int i;

	/* Three VMAs; the middle one refuses writes. */
	EXPECT_EQ(0, mprotect(p + 3 * self->page, self->page, PROT_READ));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, iopf_report(self->fd, p + i * self->page, PERM_R,
					 5, i == 7 ? IOPF_TEST_LAST : 0));
	EXPECT_EQ(RESP_SUCCESS, iopf_next(self->fd, 10000));
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0, iopf_report(self->fd, p + i * self->page, PERM_W,
					 6, i == 7 ? IOPF_TEST_LAST : 0));
	EXPECT_EQ(RESP_INVALID, iopf_next(self->fd, 10000));
	EXPECT_FALSE(iopf_answered(self->fd, 50));
}

TEST_F(iopf, file_and_its_end)
{
	int fd = memfd_create("iopf", 0);
	char *shared, *private;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, self->page));
	ASSERT_EQ(3, pwrite(fd, "abc", 3, 0));
	shared = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	private = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE, fd, 0);
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, shared, PERM_W));
	EXPECT_TRUE(is_present(shared));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, private, PERM_R));
	EXPECT_EQ(pfn_of(shared), pfn_of(private));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, private, PERM_W));
	EXPECT_NE(pfn_of(shared), pfn_of(private));
	EXPECT_EQ(0, memcmp(private, "abc", 3));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, shared + self->page, PERM_R));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, private + self->page, PERM_W));
	close(fd);
}

TEST_F(iopf, hugetlb)
{
	int fd = memfd_create("iopf-huge", MFD_HUGETLB);
	size_t len = huge_size();
	char *p;

	ASSERT_EQ(0, write_text("/proc/sys/vm/nr_hugepages", "4"));
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, ftruncate(fd, len));
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, p + 5 * self->page, PERM_W));
	EXPECT_TRUE(is_present(p));
	EXPECT_TRUE(is_present(p + len - 1));
	munmap(p, len);
	close(fd);
	EXPECT_EQ(0, write_text("/proc/sys/vm/nr_hugepages", "0"));
}

TEST_F(iopf, transparent_huge)
{
	size_t len = huge_size();
	char *p = map_anon(2 * len, PROT_READ | PROT_WRITE);

	p = (char *)(((uintptr_t)p + len - 1) & ~(len - 1));
	ASSERT_EQ(0, madvise(p, len, MADV_HUGEPAGE));
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, p + 7 * self->page, PERM_W));
	EXPECT_TRUE(is_present(p));
	EXPECT_TRUE(is_present(p + len - 1));
}

/* Of every size between a page and a huge page. */
TEST_F(iopf, large_folios)
{
	char name[80], *p;
	size_t size, at;

	for (size = 4 * self->page; size < huge_size(); size *= 2) {
		snprintf(name, sizeof(name), HUGE "/hugepages-%zukB/enabled",
			 size >> 10);
		ASSERT_EQ(0, write_text(name, "always"));
		p = map_anon(3 * size, PROT_READ | PROT_WRITE);
		p = (char *)(((uintptr_t)p + size - 1) & ~(size - 1));
		EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p + size / 2,
						   PERM_W));
		EXPECT_EQ(0, pfn_of(p) % (size / self->page));
		for (at = 0; at < size; at += self->page)
			EXPECT_EQ(pfn_of(p) + at / self->page, pfn_of(p + at));
		EXPECT_FALSE(is_present(p + size));
		EXPECT_EQ(0, write_text(name, "never"));
	}
}

TEST_F(iopf, copy_on_write)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	int to_child[2];
	uint64_t before;
	pid_t pid;
	char c;

	memcpy(p, "original", sizeof("original"));
	ASSERT_EQ(0, pipe(to_child));
	before = pfn_of(p);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		if (read(to_child[0], &c, 1) != 1)
			_exit(2);
		_exit(strcmp(p, "original") || pfn_of(p) != before);
	}
	/* The device reads the shared page, and writes to a copy. */
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R));
	EXPECT_EQ(before, pfn_of(p));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	EXPECT_NE(before, pfn_of(p));
	EXPECT_STREQ("original", p);
	EXPECT_EQ(1, write(to_child[1], "x", 1));
	int status;

	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(to_child[0]);
	close(to_child[1]);
}

/* A page that may grow downwards, in the middle of so many that are free. */
static char *map_stack(size_t pages, int flags)
{
	size_t page = page_size(), len = pages * page;
	char *base = map_anon(len, PROT_NONE), *top = base + len - 2 * page;

	if (!base || munmap(base, len))
		return NULL;
	top = mmap(top, page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED | flags, -1, 0);
	return top == MAP_FAILED ? NULL : top + page;
}

static int set_limit(int resource, rlim_t limit)
{
	struct rlimit now;

	if (getrlimit(resource, &now))
		return -1;
	now.rlim_cur = limit;
	return setrlimit(resource, &now);
}

/* The limit is that of the process, though a worker resolves the fault. */
TEST_F(iopf, stack_limit)
{
	char *end = map_stack(512, 0);

	ASSERT_NE(NULL, end);
	ASSERT_EQ(0, set_limit(RLIMIT_STACK, 64 * self->page));
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, end - 64 * self->page, PERM_W));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, end - 65 * self->page, PERM_W));
}

/* Also where it is more than a worker's, which is 8 MiB. */
TEST_F(iopf, large_stack)
{
	char *end = map_stack(8192, 0);

	ASSERT_NE(NULL, end);
	ASSERT_EQ(0, set_limit(RLIMIT_STACK, RLIM_INFINITY));
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, end - 4096 * self->page, PERM_W));
	EXPECT_TRUE(is_present(end - 4096 * self->page));
}

/* So for the size of the whole address space. */
TEST_F(iopf, stack_in_a_full_address_space)
{
	char *end = map_stack(512, 0), text[64];

	ASSERT_NE(NULL, end);
	ASSERT_EQ(0, read_text("/proc/self/statm", text, sizeof(text)));
	ASSERT_EQ(0, set_limit(RLIMIT_AS, (atol(text) + 16) * self->page));
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, end - 9 * self->page, PERM_W));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, end - 64 * self->page, PERM_W));
	ASSERT_EQ(0, set_limit(RLIMIT_AS, RLIM_INFINITY));
}

/* So for what it may lock; a worker may lock everything. */
TEST_F(iopf, locked_stack)
{
	char *end = map_stack(512, MAP_LOCKED);
	int fd = iopf_open(), status;
	pid_t pid;

	ASSERT_NE(NULL, end);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		/* A child's VMAs are not locked. */
		if (mlock(end - self->page, self->page) ||
		    ioctl(fd, IOPF_TEST_BIND, GRANT) <= 0 ||
		    set_limit(RLIMIT_MEMLOCK, 16 * self->page) ||
		    setresuid(65534, 65534, 65534))
			_exit(2);
		if (iopf_fault(fd, end - 9 * self->page, PERM_W) !=
		    RESP_SUCCESS)
			_exit(3);
		_exit(iopf_fault(fd, end - 64 * self->page, PERM_W) !=
		      RESP_INVALID ? 4 : 0);
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fd);
}

TEST_F(iopf, growing_stack)
{
	size_t len = 512 * self->page;
	char *base = map_anon(len, PROT_NONE), *p = base + len - 2 * self->page;

	ASSERT_EQ(0, munmap(base, len));
	p = mmap(p, self->page, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED,
		 -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	EXPECT_EQ(RESP_SUCCESS,
		  iopf_fault(self->fd, p - self->page, PERM_W));
	EXPECT_TRUE(is_present(p - self->page));
	/* Above it nothing grows. */
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, p + self->page, PERM_W));
	/* Next to another mapping it may not grow: the guard gap. */
	ASSERT_EQ(base + 128 * self->page,
		  mmap(base + 128 * self->page, self->page,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(RESP_INVALID,
		  iopf_fault(self->fd, base + 130 * self->page, PERM_W));
}

/* Answers one missing page or write-protect event. */
static void *uffd_serve(void *data)
{
	struct monitor *m = data;
	struct uffd_msg msg;
	uint64_t start;

	if (read(m->uffd, &msg, sizeof(msg)) != sizeof(msg))
		return NULL;
	m->events++;
	start = msg.arg.pagefault.address & ~(m->size - 1);
	if (msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
		struct uffdio_writeprotect wp = {
			.range = { .start = start, .len = m->size },
		};

		ioctl(m->uffd, UFFDIO_WRITEPROTECT, &wp);
	} else {
		struct uffdio_copy copy = {
			.dst = start,
			.src = (uintptr_t)m->page,
			.len = m->size,
		};

		ioctl(m->uffd, UFFDIO_COPY, &copy);
	}
	return NULL;
}

TEST_F(iopf, uffd_missing)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	char *src = map_anon(self->page, PROT_READ | PROT_WRITE);
	struct monitor m = { .page = src };
	pthread_t thread;

	memcpy(src, "from the monitor", sizeof("from the monitor"));
	ASSERT_EQ(0, uffd_open(&m, p, self->page,
			       UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, pthread_create(&thread, NULL, uffd_serve, &m));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(1, m.events);
	EXPECT_TRUE(is_present(p));
	EXPECT_STREQ("from the monitor", p);
	close(m.uffd);
}

TEST_F(iopf, uffd_write_protect)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	struct monitor m = { };
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)p, .len = self->page },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};
	pthread_t thread;

	memcpy(p, "protected", sizeof("protected"));
	ASSERT_EQ(0, uffd_open(&m, p, self->page, UFFDIO_REGISTER_MODE_WP));
	ASSERT_EQ(0, ioctl(m.uffd, UFFDIO_WRITEPROTECT, &wp));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R));
	EXPECT_EQ(0, m.events);
	ASSERT_EQ(0, pthread_create(&thread, NULL, uffd_serve, &m));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(1, m.events);
	close(m.uffd);
}

/* A monitor that never answers must hold up nobody else. */
TEST_F(iopf, uffd_silent)
{
	char *p = map_anon(4 * self->page, PROT_READ | PROT_WRITE);
	char *q = map_anon(self->page, PROT_READ | PROT_WRITE);
	struct monitor m = { };
	int i;

	ASSERT_EQ(0, uffd_open(&m, p, 4 * self->page,
			       UFFDIO_REGISTER_MODE_MISSING));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0, iopf_report(self->fd, p + i * self->page, PERM_W,
					 10 + i, IOPF_TEST_LAST));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, q, PERM_W));
	EXPECT_FALSE(iopf_answered(self->fd, 50));
	/* Unbinding does not wait for the monitor, and answers. */
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_UNBIND));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(RESP_INVALID, iopf_next(self->fd, 0));
	close(m.uffd);
	usleep(100000);
	EXPECT_EQ(RESP_NONE, iopf_next(self->fd, 0));
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_LATE));
}

/* With a time limit neither the device waits for ever, nor who resolves. */
TEST_F(iopf, uffd_time_limit)
{
	char *p = map_anon(GRANT * self->page, PROT_READ | PROT_WRITE);
	char *q = map_anon(self->page, PROT_READ | PROT_WRITE);
	struct monitor m = { };
	int i, round;

	ASSERT_EQ(0, uffd_open(&m, p, GRANT * self->page,
			       UFFDIO_REGISTER_MODE_MISSING));
	ASSERT_EQ(0, write_text(TIMEOUT, "50"));
	/* More than are resolved side by side, twice. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < GRANT / 2; i++)
			EXPECT_EQ(0, iopf_report(self->fd, p + i * self->page,
						 PERM_W, i, IOPF_TEST_LAST));
		for (i = 0; i < GRANT / 2; i++)
			EXPECT_EQ(RESP_INVALID, iopf_next(self->fd, 10000));
	}
	EXPECT_EQ(0, write_text(TIMEOUT, "0"));
	/* The monitor has not said a word, and yet: */
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, q, PERM_W));
	close(m.uffd);
}

/* The process is gone, its device not yet. */
TEST_F(iopf, exited_process)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	int to_parent[2], fd = iopf_open(), status;
	struct iopf_test_request req = {
		.addr = (uintptr_t)p,
		.perm = PERM_W,
		.flags = IOPF_TEST_LAST,
	};
	pid_t pid;

	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, pipe(to_parent));
	pid = fork();
	if (!pid)
		_exit(ioctl(fd, IOPF_TEST_BIND, GRANT) <= 0 ||
		      iopf_fault(fd, p, PERM_W) != RESP_SUCCESS);
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(sizeof(req), write(fd, &req, sizeof(req)));
	EXPECT_EQ(RESP_INVALID, iopf_next(fd, 10000));
	EXPECT_FALSE(is_present(p));
	close(fd);
}

/* Unfinished groups without end: other pages still resolve. */
TEST_F(iopf, flood)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	int i;

	for (i = 0; i < 50000; i++)
		ASSERT_EQ(0, iopf_report(self->fd, p, PERM_W, i, 0));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_W));
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_FLUSH));
}

/* A fault leaves its traces, and is counted. */
TEST_F(iopf, seen)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);
	char trace[8192], want[128], device[64] = "";
	static const char *const events[] = { "iopf_report", "iopf_group",
					      "iopf_resolve", "iopf_respond" };
	int i;

	ASSERT_EQ(0, write_text(TRACING "/trace", ""));
	ASSERT_EQ(0, write_text(TRACING "/events/io_pgfault/enable", "1"));
	EXPECT_EQ(RESP_SUCCESS, iopf_fault(self->fd, p, PERM_R | PERM_W));
	EXPECT_EQ(0, iopf_report(self->fd, p, PERM_R, 5, 0));
	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_FLUSH));
	EXPECT_EQ(0, write_text(TRACING "/events/io_pgfault/enable", "0"));
	ASSERT_EQ(0, read_text(TRACING "/trace", trace, sizeof(trace)));
	for (i = 0; i < 4; i++) {
		snprintf(want, sizeof(want), " %s: dev=iopf-test", events[i]);
		EXPECT_NE(NULL, strstr(trace, want));
	}
	snprintf(want, sizeof(want), "group=1 addr=0x%lx perm=r|w code=success",
		 (unsigned long)p);
	EXPECT_NE(NULL, strstr(trace, want));
	EXPECT_NE(NULL, strstr(trace, "group=5 requests=1 why=flush"));
	EXPECT_NE(NULL, strstr(trace, " iopf_flush: dev=iopf-test"));

	i = sscanf(strstr(trace, "dev=iopf-test") ?: "", "dev=%63s", device);
	ASSERT_EQ(1, i);
	EXPECT_EQ(2, iopf_column(device, "requests"));
	EXPECT_EQ(1, iopf_column(device, "groups"));
	EXPECT_EQ(1, iopf_column(device, "success"));
	EXPECT_EQ(1, iopf_column(device, "dropped"));
	EXPECT_EQ(0, iopf_column(device, "in_flight"));
	EXPECT_EQ(GRANT, iopf_column(device, "granted"));
}

TEST_F(iopf, removed)
{
	char *p = map_anon(self->page, PROT_READ | PROT_WRITE);

	EXPECT_EQ(0, ioctl(self->fd, IOPF_TEST_REMOVE));
	EXPECT_EQ(-1, iopf_report(self->fd, p, PERM_W, 1, IOPF_TEST_LAST));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, ioctl(self->fd, IOPF_TEST_FLUSH));
	EXPECT_EQ(RESP_NONE, iopf_next(self->fd, 50));
}

TEST_HARNESS_MAIN
