// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared virtual addressing with the emulated endpoint iopf-testdev
 *
 * The endpoint computes on this process's own memory. What it finds missing it
 * waits for, by a stall or by a page request; its counters tell how often. The
 * tests need the driver's device node and root, for the counters.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../patience.h"
#include "testdev.h"
#include "../../kselftest_harness.h"

/* Is @status what an access that is refused in @mode ends with? */
static bool refused(uint32_t mode, uint32_t status)
{
	switch (mode) {
	case IOPF_MODE_STALL:
		return status == IOPF_DESC_ABORTED;
	case IOPF_MODE_ATS:
		return status == IOPF_DESC_DENIED;
	default:
		return status == IOPF_DESC_INVALID;
	}
}

static uint64_t fnv1a(const unsigned char *p, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3ULL;

	return hash;
}

FIXTURE(sva)
{
	struct queue q;
	unsigned char *src;
	size_t len;
};

FIXTURE_VARIANT(sva)
{
	uint32_t mode;
};

FIXTURE_VARIANT_ADD(sva, stall)
{
	.mode = IOPF_MODE_STALL,
};

FIXTURE_VARIANT_ADD(sva, pri)
{
	.mode = IOPF_MODE_PRI,
};

FIXTURE_SETUP(sva)
{
	self->len = MB;
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(variant->mode))
		SKIP(return, "not enabled");
	ASSERT_EQ(0, set_mode(variant->mode));
	ASSERT_EQ(0, queue_open(&self->q));
	self->src = fresh(self->len);
	ASSERT_NE(MAP_FAILED, (void *)self->src);
	fill(self->src, self->len, 1);
}

FIXTURE_TEARDOWN(sva)
{
	if (!self->q.regs)
		return;
	munmap(self->src, self->len);
	queue_close(&self->q);
	EXPECT_TRUE(answered_once());
}

TEST_F(sva, copy_to_fresh_memory_waits_once_a_page)
{
	unsigned char *dst = fresh(self->len);
	uint64_t before = waits();

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src, dst,
				    self->len, 0));
	EXPECT_EQ(0, memcmp(self->src, dst, self->len));
	EXPECT_EQ(self->len / page, waits() - before);

	/* they are there now */
	before = waits();
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src, dst,
				    self->len, 0));
	EXPECT_EQ(before, waits());
	munmap(dst, self->len);
}

TEST_F(sva, unaligned_copy_touches_nothing_else)
{
	unsigned char *dst = fresh(8 * page);
	size_t len = 5 * page + 77, i, others = 0;

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src + 13,
				    dst + 1001, len, 0));
	EXPECT_EQ(0, memcmp(self->src + 13, dst + 1001, len));
	for (i = 0; i < 8 * page; i++)
		others += dst[i] && (i < 1001 || i >= 1001 + len);
	EXPECT_EQ(0, others);
	munmap(dst, 8 * page);
}

TEST_F(sva, fill_compare_checksum)
{
	unsigned char *dst = fresh(self->len);
	struct iopf_desc *desc;
	size_t i;

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, dst + 3,
				    self->len - 3, 0x0807060504030201ULL));
	for (i = 0; i < self->len - 3; i++)
		ASSERT_EQ(i % 8 + 1, dst[i + 3]);

	desc = submit(&self->q, IOPF_OP_CHECKSUM, self->src, NULL,
		      self->len, 0);
	ASSERT_EQ(IOPF_DESC_OK, wait_desc(&self->q, desc));
	EXPECT_EQ(fnv1a(self->src, self->len), desc->result);

	memcpy(dst, self->src, self->len);
	desc = submit(&self->q, IOPF_OP_COMPARE, self->src, dst, self->len, 0);
	ASSERT_EQ(IOPF_DESC_OK, wait_desc(&self->q, desc));
	EXPECT_EQ(self->len, desc->result);
	dst[54321] ^= 1;
	desc = submit(&self->q, IOPF_OP_COMPARE, self->src, dst, self->len, 0);
	ASSERT_EQ(IOPF_DESC_OK, wait_desc(&self->q, desc));
	EXPECT_EQ(54321, desc->result);
	munmap(dst, self->len);
}

TEST_F(sva, scatter_in_a_chosen_order)
{
	size_t i, nr = 200;
	uint64_t list[200];
	unsigned char *dst = fresh(nr * page);
	uint64_t before = waits();

	for (i = 0; i < nr; i++)
		list[i] = (uintptr_t)dst + (i * 77 % nr) * page + 8 * (i % 512);
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_SCATTER, list, NULL, nr,
				    1000));
	for (i = 0; i < nr; i++)
		EXPECT_EQ(1000 + i, *(uint64_t *)list[i]);
	EXPECT_EQ(nr, waits() - before);
	munmap(dst, nr * page);
}

TEST_F(sva, page_dropped_by_madvise_comes_back_zeroed)
{
	unsigned char *dst = fresh(16 * page);

	memset(dst, 0xff, 16 * page);
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src, dst,
				    16 * page, 0));
	ASSERT_EQ(0, madvise(dst, 16 * page, MADV_DONTNEED));
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src,
				    dst + page, 8, 0));
	EXPECT_EQ(0, memcmp(dst + page, self->src, 8));
	EXPECT_EQ(0, dst[page + 8]);
	EXPECT_EQ(0, dst[0]);
	munmap(dst, 16 * page);
}

TEST_F(sva, zero_page_is_copied_on_write)
{
	unsigned char *dst = fresh(4 * page);

	EXPECT_EQ(0, dst[0] | dst[page]);
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src, dst,
				    2 * page, 0));
	EXPECT_EQ(0, memcmp(self->src, dst, 2 * page));
	munmap(dst, 4 * page);
}

TEST_F(sva, write_to_read_only_memory_is_refused)
{
	unsigned char *dst = fresh(4 * page);
	struct iopf_desc *desc;

	memset(dst, 0x5a, 4 * page);
	ASSERT_EQ(0, mprotect(dst, 4 * page, PROT_READ));
	desc = submit(&self->q, IOPF_OP_COPY, self->src, dst, 64, 0);
	EXPECT_TRUE(refused(variant->mode, wait_desc(&self->q, desc)));
	EXPECT_EQ((uintptr_t)dst, desc->fault_addr);
	EXPECT_EQ(0x5a, dst[0]);

	/* reading it is fine, and so is the queue */
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_CHECKSUM, dst, NULL,
				    4 * page, 0));
	munmap(dst, 4 * page);
}

/* A translation that the endpoint may hold must not outlive the permission. */
TEST_F(sva, mprotect_takes_permission_back)
{
	unsigned char *dst = fresh(page);

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, dst, page,
				    0x1111111111111111ULL));
	ASSERT_EQ(0, mprotect(dst, page, PROT_READ));
	EXPECT_TRUE(refused(variant->mode, run(&self->q, IOPF_OP_FILL, NULL,
					       dst, page, 0)));
	EXPECT_EQ(0x11, dst[0]);
	ASSERT_EQ(0, mprotect(dst, page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, dst, page,
				    0));
	EXPECT_EQ(0, dst[0]);
	munmap(dst, page);
}

TEST_F(sva, unmapped_address_is_refused)
{
	unsigned char *dst = fresh(2 * page);
	struct iopf_desc *desc;

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, dst,
				    2 * page, 0));
	munmap(dst + page, page);
	desc = submit(&self->q, IOPF_OP_FILL, NULL, dst, 2 * page, ~0ULL);
	EXPECT_TRUE(refused(variant->mode, wait_desc(&self->q, desc)));
	EXPECT_EQ((uintptr_t)dst + page, desc->fault_addr);
	EXPECT_TRUE(refused(variant->mode, run(&self->q, IOPF_OP_CHECKSUM,
					       NULL, NULL, 64, 0)));
	munmap(dst, page);
}

TEST_F(sva, unknown_operation_is_an_error)
{
	EXPECT_EQ(IOPF_DESC_BAD, run(&self->q, 99, NULL, NULL, 64, 0));
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_NOP, NULL, NULL, 0, 0));
}

TEST_F(sva, ring_past_memory_halts_the_queue)
{
	uint32_t status;
	int i;

	munmap(self->q.ring, RING_SIZE * sizeof(*self->q.ring));
	reg_write(&self->q, IOPF_U_PROD, 1);
	for (i = 0; i < patience(1000); i++) {
		status = reg_read(&self->q, IOPF_U_STATUS);
		if (status & IOPF_STATUS_ERROR)
			break;
		usleep(1000);
	}
	EXPECT_TRUE(status & IOPF_STATUS_ERROR);
	EXPECT_TRUE(refused(variant->mode, IOPF_STATUS_CODE(status)));
}

TEST_F(sva, poll_sees_completion)
{
	struct pollfd pfd = { .fd = self->q.fd, .events = POLLIN };
	unsigned char *dst = fresh(self->len);
	struct iopf_desc *desc;

	reg_write(&self->q, IOPF_U_IRQ, 1);
	desc = submit(&self->q, IOPF_OP_COPY, self->src, dst, self->len, 0);
	while (!__atomic_load_n(&desc->status, __ATOMIC_ACQUIRE))
		ASSERT_EQ(1, poll(&pfd, 1, 30000));
	EXPECT_EQ(IOPF_DESC_OK, desc->status);
	munmap(dst, self->len);
}

#define NR_PARALLEL	8

TEST_F(sva, queues_in_parallel)
{
	unsigned char *dst[NR_PARALLEL];
	struct iopf_desc *desc[NR_PARALLEL];
	struct queue q[NR_PARALLEL];
	uint64_t before;
	int i;

	for (i = 0; i < NR_PARALLEL; i++) {
		ASSERT_EQ(0, queue_open(&q[i]));
		dst[i] = fresh(self->len);
	}
	before = waits();
	for (i = 0; i < NR_PARALLEL; i++)
		desc[i] = submit(&q[i], IOPF_OP_COPY, self->src, dst[i],
				 self->len, 0);
	for (i = 0; i < NR_PARALLEL; i++) {
		EXPECT_EQ(IOPF_DESC_OK, wait_desc(&q[i], desc[i]));
		EXPECT_EQ(0, memcmp(self->src, dst[i], self->len));
	}
	EXPECT_EQ(NR_PARALLEL * self->len / page, waits() - before);
	for (i = 0; i < NR_PARALLEL; i++) {
		munmap(dst[i], self->len);
		queue_close(&q[i]);
	}
}

/* Takes mmap_lock and UACCE's lock of the queue, in vain. */
static void *map_again(void *arg)
{
	struct queue *q = arg;

	for (;;) {
		mmap(NULL, page, PROT_READ, MAP_SHARED, q->fd, 0);
		usleep(50);
	}
}

/* A child that is killed while the endpoint works for it */
static void victim(unsigned char *src, size_t len, int ready)
{
	pthread_t thread;
	struct queue q;
	unsigned char *dst;

	if (queue_open(&q) || pthread_create(&thread, NULL, map_again, &q))
		_exit(1);
	for (;;) {
		dst = fresh(len);
		submit(&q, IOPF_OP_COPY, src, dst, len, 0);
		if (ready >= 0 && write(ready, "", 1) != 1)
			_exit(1);
		ready = -1;
		while (reg_read(&q, IOPF_U_CONS) != q.prod)
			;
		munmap(dst, len);
	}
}

static unsigned int kills(void)
{
	const char *env = getenv("IOPF_KILLS");

	return env ? strtoul(env, NULL, 0) : 50;
}

TEST_F_TIMEOUT(sva, killed_with_dma_in_flight, 600)
{
	unsigned int i, nr = kills();
	int status, fd[2];
	pid_t pid;
	char c;

	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, pipe(fd));
		pid = fork();
		ASSERT_GE(pid, 0);
		if (!pid)
			victim(self->src, self->len, fd[1]);
		close(fd[1]);
		ASSERT_EQ(1, read(fd[0], &c, 1));
		close(fd[0]);
		usleep(i % 16 * 100);
		ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_NOP, NULL, NULL, 0, 0));
}

static size_t volume(void)
{
	const char *env = getenv("IOPF_VOLUME_MB");

	return (env ? strtoul(env, NULL, 0) : 16) * MB;
}

/* A great deal of fresh memory: every page faults once, no data is lost. */
TEST_F_TIMEOUT(sva, volume, 1200)
{
	uint64_t stale = counter(IOPF_CNT_STALE);
	size_t done, total = volume();
	uint64_t before = waits();
	unsigned char *dst;

	for (done = 0; done < total; done += self->len) {
		dst = fresh(self->len);
		self->src[done / self->len % self->len] ^= 0xff;
		ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->src,
					    dst, self->len, 0));
		ASSERT_EQ(0, memcmp(self->src, dst, self->len));
		munmap(dst, self->len);
	}
	EXPECT_EQ(total / page, waits() - before);
	EXPECT_EQ(0, counter(IOPF_CNT_RESP_UNEXPECTED));
	EXPECT_EQ(stale, counter(IOPF_CNT_STALE));
	EXPECT_EQ(0, bar_read(IOPF_PRI_IN_FLIGHT));
}

/* What only page requests have: groups, and a queue that several share */
FIXTURE(pri)
{
	struct queue q;
	unsigned char *dst;
	uint32_t pasid;
};

#define NR_INJECTED	256
#define ACCESS		(IOPF_INJ_READ | IOPF_INJ_WRITE)

FIXTURE_SETUP(pri)
{
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_PRI))
		SKIP(return, "PRI is not enabled");
	ASSERT_EQ(0, set_mode(IOPF_MODE_PRI));
	ASSERT_EQ(0, queue_open(&self->q));
	self->pasid = own_pasid();
	ASSERT_NE(0, self->pasid);
	self->dst = fresh(NR_INJECTED * page);
	ASSERT_NE(MAP_FAILED, (void *)self->dst);
}

FIXTURE_TEARDOWN(pri)
{
	if (!self->q.regs)
		return;
	munmap(self->dst, NR_INJECTED * page);
	queue_close(&self->q);
	EXPECT_TRUE(answered_once());
}

/* Pages of one group are asked for together, as far as there are credits. */
TEST_F(pri, groups_of_many_pages)
{
	static const unsigned int sizes[] = { 1, 8, 32 };
	uint64_t pages, groups;
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		reg_write(&self->q, IOPF_U_CONCURRENCY, sizes[i]);
		ASSERT_EQ(0, madvise(self->dst, NR_INJECTED * page,
				     MADV_DONTNEED));
		pages = counter(IOPF_CNT_PAGE_REQUESTS);
		groups = counter(IOPF_CNT_GROUPS);
		ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL,
					    self->dst, NR_INJECTED * page,
					    0x0101010101010101ULL * (i + 1)));
		for (j = 0; j < NR_INJECTED; j++)
			ASSERT_EQ(i + 1, self->dst[j * page + j]);
		pages = counter(IOPF_CNT_PAGE_REQUESTS) - pages;
		groups = counter(IOPF_CNT_GROUPS) - groups;
		TH_LOG("%u pages a group: %lu pages, %lu groups", sizes[i],
		       pages, groups);
		/* an overflow makes the endpoint ask again */
		EXPECT_LE(NR_INJECTED, pages);
		EXPECT_LE(NR_INJECTED / sizes[i], groups);
		if (!getenv("IOPF_SMALL_QUEUE")) {
			EXPECT_EQ(NR_INJECTED, pages);
			EXPECT_EQ(NR_INJECTED / sizes[i], groups);
		}
	}
}

/* More at once than a small queue holds: each is answered, and work goes on. */
TEST_F(pri, requests_at_once)
{
	uint64_t groups, success;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		groups = counter(IOPF_CNT_GROUPS);
		success = counter(IOPF_CNT_RESP_SUCCESS);
		ASSERT_EQ(0, madvise(self->dst, NR_INJECTED * page,
				     MADV_DONTNEED));
		ASSERT_EQ(IOPF_INJ_OK,
			  request_pages(self->pasid, self->dst,
					ACCESS | IOPF_INJ_LAST, 0,
					NR_INJECTED));
		ASSERT_TRUE(answered_once());
		EXPECT_EQ(NR_INJECTED, counter(IOPF_CNT_GROUPS) - groups);
		EXPECT_EQ(NR_INJECTED,
			  counter(IOPF_CNT_RESP_SUCCESS) - success);
		ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL,
					    self->dst, NR_INJECTED * page, 0));
	}
}

/*
 * An overflow may have taken the end of a group, which the SMMU answered then:
 * what was left of it is not to be found in the next group of that index.
 */
TEST_F(pri, overflow_ends_groups)
{
	unsigned char vec[2];

	if (!getenv("IOPF_SMALL_QUEUE"))
		SKIP(return, "the queue has room");
	ASSERT_EQ(IOPF_INJ_OK, request_pages(self->pasid, self->dst, ACCESS,
					     300, 1));
	usleep(20000);
	ASSERT_EQ(IOPF_INJ_OK, request_pages(self->pasid, self->dst + 8 * page,
					     ACCESS | IOPF_INJ_LAST, 0, 64));
	ASSERT_TRUE(answered_once());
	ASSERT_EQ(IOPF_INJ_OK, request_pages(self->pasid, self->dst + page,
					     ACCESS | IOPF_INJ_LAST, 300, 1));
	ASSERT_TRUE(answered_once());
	ASSERT_EQ(0, mincore(self->dst, 2 * page, vec));
	EXPECT_EQ(0, vec[0] & 1);
	EXPECT_EQ(1, vec[1] & 1);
}

/* Nobody uses the PASID: each is told so, and the others' work goes on. */
TEST_F(pri, requests_of_nobody)
{
	uint64_t invalid = counter(IOPF_CNT_RESP_INVALID);
	uint64_t groups = counter(IOPF_CNT_GROUPS);

	ASSERT_EQ(IOPF_INJ_OK, request_pages(self->pasid + 77, self->dst,
					     IOPF_INJ_READ | IOPF_INJ_LAST, 0,
					     NR_INJECTED));
	ASSERT_TRUE(answered_once());
	EXPECT_EQ(NR_INJECTED, counter(IOPF_CNT_GROUPS) - groups);
	/* a small queue overflows, and the SMMU lets them ask again */
	EXPECT_LT(0, counter(IOPF_CNT_RESP_INVALID) - invalid);
	if (!getenv("IOPF_SMALL_QUEUE")) {
		EXPECT_EQ(NR_INJECTED,
			  counter(IOPF_CNT_RESP_INVALID) - invalid);
	}
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->dst,
				    NR_INJECTED * page, 0));
}

/* PCIe 10.4.1.2.1: nobody answers a stop marker. */
TEST_F(pri, stop_markers_are_not_answered)
{
	uint64_t markers = counter(IOPF_CNT_STOP_MARKERS);

	ASSERT_EQ(IOPF_INJ_OK, request_pages(self->pasid, self->dst,
					     IOPF_INJ_LAST, 0, 16));
	EXPECT_EQ(16, counter(IOPF_CNT_STOP_MARKERS) - markers);
	/* what follows them has been answered, so they have been seen */
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->dst,
				    page, 0));
	EXPECT_TRUE(answered_once());
}

/* How many of the pages at @p are there */
static unsigned int resident(unsigned char *p, unsigned int nr)
{
	unsigned char vec[NR_INJECTED];
	unsigned int i, sum = 0;

	if (mincore(p, nr * page, vec))
		return nr;
	for (i = 0; i < nr; i++)
		sum += vec[i] & 1;
	return sum;
}

/*
 * Waits for a word on @fd, gets a queue, and tells on @fd which PASID that has
 * and how many pages the device has touched then, which nobody else does.
 */
static void next_user(unsigned char *dst, int fd)
{
	uint32_t answer[2];
	struct queue q;
	char c;

	if (read(fd, &c, 1) != 1 || queue_open(&q))
		_exit(1);
	answer[0] = own_pasid();
	usleep(20000);
	answer[1] = resident(dst, NR_INJECTED);
	if (write(fd, answer, sizeof(answer)) != sizeof(answer))
		_exit(1);
	_exit(0);
}

/* Gets a queue, has its device ask for pages, and is gone. */
static void last_user(unsigned char *dst, int fd)
{
	struct queue q;
	uint32_t pasid;

	if (queue_open(&q))
		_exit(1);
	pasid = own_pasid();
	if (write(fd, &pasid, sizeof(pasid)) != sizeof(pasid))
		_exit(1);
	request_pages(pasid, dst, ACCESS | IOPF_INJ_LAST, 0, NR_INJECTED);
	/* here, and not when whoever has the address space last drops it */
	queue_close(&q);
	_exit(0);
}

/* As iopf_races of the fault core, but through hardware: see F5. */
TEST_F_TIMEOUT(pri, unbound_with_requests, 600)
{
	unsigned int i, reused = 0, nr = kills();
	uint32_t pasid, answer[2];
	int status, pair[2], fd[2];
	pid_t last, next;

	/* its PASID shall be the last that is taken */
	queue_close(&self->q);
	self->q.regs = NULL;
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, pipe(fd));
		ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		next = fork();
		ASSERT_GE(next, 0);
		if (!next)
			next_user(self->dst, pair[1]);
		last = fork();
		ASSERT_GE(last, 0);
		if (!last)
			last_user(self->dst, fd[1]);
		ASSERT_EQ(sizeof(pasid), read(fd[0], &pasid, sizeof(pasid)));
		ASSERT_EQ(last, waitpid(last, &status, 0));
		ASSERT_EQ(0, status);
		ASSERT_EQ(0, own_pasid());
		/* what it had asked for is over, and has been since the unbind */
		EXPECT_EQ(counter(IOPF_CNT_GROUPS),
			  counter(IOPF_CNT_RESP_SUCCESS) +
			  counter(IOPF_CNT_RESP_INVALID));
		ASSERT_EQ(1, write(pair[0], "", 1));
		ASSERT_EQ(sizeof(answer), read(pair[0], answer,
					       sizeof(answer)));
		ASSERT_EQ(next, waitpid(next, &status, 0));
		ASSERT_EQ(0, status);
		EXPECT_EQ(0, answer[1]);
		reused += answer[0] == pasid;
		close(fd[0]);
		close(fd[1]);
		close(pair[0]);
		close(pair[1]);
	}
	/* that is up to when a CPU drops its last address space */
	TH_LOG("%u of %u PASIDs were reused", reused, nr);
	EXPECT_TRUE(answered_once());
}

FIXTURE(ats)
{
	struct queue q;
	unsigned char *buf;
};

/* ATS alone: what is not there is an error, and nobody waits. */
FIXTURE_SETUP(ats)
{
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_ATS))
		SKIP(return, "ATS is not enabled");
	ASSERT_EQ(0, set_mode(IOPF_MODE_ATS));
	ASSERT_EQ(0, queue_open(&self->q));
	self->buf = fresh(16 * page);
	ASSERT_NE(MAP_FAILED, (void *)self->buf);
	memset(self->buf, 0x77, 16 * page);
}

FIXTURE_TEARDOWN(ats)
{
	if (!self->q.regs)
		return;
	munmap(self->buf, 16 * page);
	queue_close(&self->q);
}

TEST_F(ats, translations_are_cached)
{
	uint64_t hits, requests;

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->buf,
				    self->buf + 8 * page, 8 * page, 0));
	hits = counter(IOPF_CNT_ATC_HITS);
	requests = counter(IOPF_CNT_ATS_REQUESTS);
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_COPY, self->buf,
				    self->buf + 8 * page, 8 * page, 0));
	EXPECT_LE(16, counter(IOPF_CNT_ATC_HITS) - hits);
	EXPECT_EQ(requests, counter(IOPF_CNT_ATS_REQUESTS));
}

TEST_F(ats, missing_page_is_denied)
{
	unsigned char *dst = fresh(page);
	uint64_t before = waits();

	EXPECT_EQ(IOPF_DESC_DENIED, run(&self->q, IOPF_OP_FILL, NULL, dst,
					page, 0));
	EXPECT_EQ(before, waits());
	munmap(dst, page);
}

/* Each of these leaves a stale translation behind but for CMD_ATC_INV. */
TEST_F(ats, invalidated_by_mprotect)
{
	uint64_t before;

	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->buf,
				    page, 0));
	before = counter(IOPF_CNT_INVALIDATIONS);
	ASSERT_EQ(0, mprotect(self->buf, page, PROT_READ));
	EXPECT_LT(before, counter(IOPF_CNT_INVALIDATIONS));
	EXPECT_EQ(IOPF_DESC_DENIED, run(&self->q, IOPF_OP_FILL, NULL,
					self->buf, page, ~0ULL));
	EXPECT_EQ(0, self->buf[0]);
}

TEST_F(ats, invalidated_by_madvise)
{
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->buf,
				    page, 0));
	ASSERT_EQ(0, madvise(self->buf, page, MADV_DONTNEED));
	EXPECT_EQ(IOPF_DESC_DENIED, run(&self->q, IOPF_OP_CHECKSUM, self->buf,
					NULL, page, 0));
	self->buf[0] = 1;
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_CHECKSUM, self->buf,
				    NULL, page, 0));
}

TEST_F(ats, invalidated_by_munmap)
{
	ASSERT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->buf,
				    16 * page, 0));
	ASSERT_EQ(0, munmap(self->buf + 8 * page, 8 * page));
	EXPECT_EQ(IOPF_DESC_DENIED, run(&self->q, IOPF_OP_FILL, NULL,
					self->buf + 8 * page, page, 0));
	EXPECT_EQ(IOPF_DESC_OK, run(&self->q, IOPF_OP_FILL, NULL, self->buf,
				    8 * page, 0));
}

static int nothing(void)
{
	return 0;
}

static int unload_driver(void)
{
	return syscall(SYS_delete_module, "iopf_testdev", O_NONBLOCK) ?
	       -errno : 0;
}

static int load_driver(void)
{
	int fd = open(getenv("MODULES"), O_RDONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);

	return ret;
}

/* The function is reset, goes away or sleeps while queues fault. */
FIXTURE(lifecycle)
{
	unsigned char *src;
	size_t len;
};

FIXTURE_VARIANT(lifecycle)
{
	int (*end)(void);
	int (*begin)(void);
	unsigned int lives;
};

FIXTURE_VARIANT_ADD(lifecycle, reset)
{
	.end = reset_function,
	.begin = nothing,
	.lives = 20,
};

FIXTURE_VARIANT_ADD(lifecycle, unbind)
{
	.end = unbind_driver,
	.begin = bind_driver,
	.lives = 20,
};

FIXTURE_VARIANT_ADD(lifecycle, unload)
{
	.end = unload_driver,
	.begin = load_driver,
	.lives = 20,
};

FIXTURE_VARIANT_ADD(lifecycle, suspend)
{
	.end = suspend_all,
	.begin = nothing,
	.lives = 5,
};

FIXTURE_SETUP(lifecycle)
{
	self->len = MB;
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_STALL) && !has_mode(IOPF_MODE_PRI))
		SKIP(return, "nothing waits for pages");
	if (variant->end == unload_driver && !getenv("MODULES"))
		SKIP(return, "MODULES does not name the driver");
	ASSERT_EQ(0, set_mode(0));
	self->src = fresh(self->len);
	ASSERT_NE(MAP_FAILED, (void *)self->src);
	fill(self->src, self->len, 1);
}

FIXTURE_TEARDOWN(lifecycle)
{
	if (self->src)
		munmap(self->src, self->len);
}

#define NR_VICTIMS	3

static int start_victims(unsigned char *src, size_t len, pid_t *pid)
{
	int i, fd[2];
	char c;

	for (i = 0; i < NR_VICTIMS; i++) {
		if (pipe(fd))
			return -errno;
		pid[i] = fork();
		if (pid[i] < 0)
			return -errno;
		if (!pid[i])
			victim(src, len, fd[1]);
		close(fd[1]);
		if (read(fd[0], &c, 1) != 1)
			return -EIO;
		close(fd[0]);
	}

	return 0;
}

static void stop_victims(pid_t *pid)
{
	int i;

	for (i = 0; i < NR_VICTIMS; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
}

/* So many rounds are wanted; a slow machine asks for fewer. */
static unsigned int rounds(unsigned int wanted)
{
	const char *env = getenv("IOPF_ROUNDS");
	unsigned int most = env ? strtoul(env, NULL, 0) : wanted;

	return most < wanted ? most : wanted;
}

TEST_F_TIMEOUT(lifecycle, under_load, 300)
{
	unsigned int i, nr = rounds(variant->lives);
	pid_t pid[NR_VICTIMS];

	ASSERT_GT(nr, 0);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, start_victims(self->src, self->len, pid));
		usleep(i * 100);
		/* a queue that the driver gives up is a line on the console */
		ASSERT_EQ(0, variant->end());
		stop_victims(pid);
		ASSERT_EQ(0, variant->begin());
		ASSERT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0",
						 self->src, self->len));
	}
}

FIXTURE(vf)
{
	unsigned char *src;
	size_t len;
};

FIXTURE_SETUP(vf)
{
	self->len = MB;
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (device_write("sriov_numvfs", "0"))
		SKIP(return, "no virtual functions");
	ASSERT_EQ(0, set_mode(0));
	self->src = fresh(self->len);
	ASSERT_NE(MAP_FAILED, (void *)self->src);
	fill(self->src, self->len, 1);
}

FIXTURE_TEARDOWN(vf)
{
	device_write("sriov_numvfs", "0");
	if (self->src)
		munmap(self->src, self->len);
}

/* Each function has queues of its own, and faults in its own name. */
TEST_F_TIMEOUT(vf, copy_while_others_come_and_go, 600)
{
	unsigned int i, nr = rounds(5);
	pid_t pid[NR_VICTIMS];

	ASSERT_GT(nr, 0);
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, start_victims(self->src, self->len, pid));
		ASSERT_EQ(0, device_write("sriov_numvfs", "2"));
		EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-1",
						 self->src, self->len));
		EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-2",
						 self->src, self->len));
		ASSERT_EQ(0, device_write("sriov_numvfs", "0"));
		stop_victims(pid);
		ASSERT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0",
						 self->src, self->len));
	}
}

TEST_HARNESS_MAIN
