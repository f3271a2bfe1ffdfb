// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shared virtual addressing with the emulated endpoint iopf-testdev
 *
 * The endpoint computes on this process's own memory. What it finds missing it
 * waits for, by a stall or by a page request; its counters tell how often. The
 * tests need the driver's device node and root, for the counters.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <misc/uacce/iopf_testdev.h>

#include "../../kselftest_harness.h"

#define START_Q		_IO('W', 0)	/* UACCE_CMD_START_Q */

#define RING_LOG2	6
#define RING_SIZE	64
#define MB		1048576UL

struct queue {
	int fd;
	uint32_t *regs;
	struct iopf_desc *ring;
	uint32_t prod;
};

static uint32_t *bar;
static char bdf[16];
static size_t page;

static uint32_t reg_read(struct queue *q, uint32_t reg)
{
	return __atomic_load_n(&q->regs[reg / 4], __ATOMIC_RELAXED);
}

static void reg_write(struct queue *q, uint32_t reg, uint32_t val)
{
	__atomic_store_n(&q->regs[reg / 4], val, __ATOMIC_RELAXED);
}

/* A register that is not of a queue's own page */
static uint32_t bar_read(uint32_t reg)
{
	return __atomic_load_n(&bar[reg / 4], __ATOMIC_RELAXED);
}

static uint64_t counter(int n)
{
	uint32_t lo = bar_read(IOPF_COUNTER(n));
	uint32_t hi = bar_read(IOPF_COUNTER(n) + 4);

	return (uint64_t)hi << 32 | lo;
}

/* How often the endpoint had to wait for a page, in any way. */
static uint64_t waits(void)
{
	return counter(IOPF_CNT_STALLS) + counter(IOPF_CNT_PAGE_REQUESTS);
}

static int read_hex(const char *dev, const char *attr)
{
	char path[320];
	int val = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", dev, attr);
	f = fopen(path, "r");
	if (!f)
		return -1;
	if (fscanf(f, "%x", &val) != 1)
		val = -1;
	fclose(f);

	return val;
}

/* Map the endpoint's registers, for the counters. */
static int map_bar(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *d;
	char path[320];
	void *p;
	int fd;

	while (dir && (d = readdir(dir))) {
		if (read_hex(d->d_name, "vendor") != IOPF_VENDOR_ID ||
		    read_hex(d->d_name, "device") != IOPF_DEVICE_ID)
			continue;
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/resource0", d->d_name);
		fd = open(path, O_RDWR);
		snprintf(bdf, sizeof(bdf), "%.15s", d->d_name);
		closedir(dir);
		if (fd < 0)
			return -errno;
		p = mmap(NULL, IOPF_BAR_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
		close(fd);
		if (p == MAP_FAILED)
			return -errno;
		bar = p;
		return 0;
	}
	if (dir)
		closedir(dir);

	return -ENODEV;
}

static int queue_open(struct queue *q)
{
	memset(q, 0, sizeof(*q));
	q->fd = open("/dev/iopf-testdev-0", O_RDWR | O_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	q->regs = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED,
		       q->fd, 0);
	if (q->regs == MAP_FAILED)
		return -errno;
	if (ioctl(q->fd, START_Q))
		return -errno;
	q->ring = mmap(NULL, RING_SIZE * sizeof(*q->ring),
		       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	if (q->ring == MAP_FAILED)
		return -errno;
	reg_write(q, IOPF_U_RING_LO, (uintptr_t)q->ring);
	reg_write(q, IOPF_U_RING_HI, (uintptr_t)q->ring >> 32);
	reg_write(q, IOPF_U_RING_SIZE, RING_LOG2);

	return 0;
}

static void queue_close(struct queue *q)
{
	munmap(q->regs, page);
	munmap(q->ring, RING_SIZE * sizeof(*q->ring));
	close(q->fd);
}

/* Put a descriptor into the ring; the endpoint starts at once. */
static struct iopf_desc *submit(struct queue *q, uint32_t op, const void *src,
				void *dst, uint64_t len, uint64_t arg)
{
	struct iopf_desc *desc = &q->ring[q->prod++ % RING_SIZE];

	*desc = (struct iopf_desc) {
		.op = op,
		.src = (uintptr_t)src,
		.dst = (uintptr_t)dst,
		.len = len,
		.arg = arg,
	};
	__sync_synchronize();
	reg_write(q, IOPF_U_PROD, q->prod);

	return desc;
}

/* Returns IOPF_DESC_*, or PENDING after 60 seconds or with a halted queue. */
static uint32_t wait_desc(struct queue *q, struct iopf_desc *desc)
{
	time_t end = time(NULL) + 60;

	while (!__atomic_load_n(&desc->status, __ATOMIC_ACQUIRE) &&
	       time(NULL) < end) {
		if (reg_read(q, IOPF_U_STATUS) & IOPF_STATUS_ERROR)
			break;
		usleep(100);
	}

	return __atomic_load_n(&desc->status, __ATOMIC_ACQUIRE);
}

static uint32_t run(struct queue *q, uint32_t op, const void *src, void *dst,
		    uint64_t len, uint64_t arg)
{
	return wait_desc(q, submit(q, op, src, dst, len, arg));
}

/* Choose how queues that start from now on access memory. */
static int set_mode(uint32_t mode)
{
	FILE *f = fopen("/sys/module/iopf_testdev/parameters/mode", "w");

	if (!f)
		return -errno;
	fprintf(f, "%u", mode);

	return fclose(f) ? -errno : 0;
}

/* What must the kernel have enabled for @mode? */
static bool has_mode(uint32_t mode)
{
	static const uint32_t needs[] = {
		[IOPF_MODE_STALL] = IOPF_STATE_STALL,
		[IOPF_MODE_ATS] = IOPF_STATE_ATS,
		[IOPF_MODE_PRI] = IOPF_STATE_PRI,
	};

	return bar_read(IOPF_STATE) & needs[mode];
}

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

static unsigned char *fresh(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		madvise(p, len, MADV_NOHUGEPAGE);

	return p;
}

static void fill(unsigned char *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
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
	page = sysconf(_SC_PAGESIZE);
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
	memset(self->q.ring, 0, RING_SIZE * sizeof(*self->q.ring));
}

FIXTURE_TEARDOWN(sva)
{
	if (!self->q.regs)
		return;
	munmap(self->src, self->len);
	queue_close(&self->q);
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
	for (i = 0; i < 1000; i++) {
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
		memset(q[i].ring, 0, RING_SIZE * sizeof(*q[i].ring));
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

/* A child that is killed while the endpoint works for it */
static void victim(unsigned char *src, size_t len, int ready)
{
	struct queue q;
	unsigned char *dst;

	if (queue_open(&q))
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

FIXTURE(ats)
{
	struct queue q;
	unsigned char *buf;
};

/* ATS alone: what is not there is an error, and nobody waits. */
FIXTURE_SETUP(ats)
{
	page = sysconf(_SC_PAGESIZE);
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_ATS))
		SKIP(return, "ATS is not enabled");
	ASSERT_EQ(0, set_mode(IOPF_MODE_ATS));
	ASSERT_EQ(0, queue_open(&self->q));
	memset(self->q.ring, 0, RING_SIZE * sizeof(*self->q.ring));
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

static int sysfs_write(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, val, strlen(val)) < 0)
		ret = -errno;
	close(fd);

	return ret;
}

/* The function goes away or is reset while queues fault. */
FIXTURE(lifecycle)
{
	unsigned char *src;
	size_t len;
};

FIXTURE_SETUP(lifecycle)
{
	page = sysconf(_SC_PAGESIZE);
	self->len = MB;
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_STALL) && !has_mode(IOPF_MODE_PRI))
		SKIP(return, "nothing waits for pages");
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
#define NR_LIVES	20

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

static uint32_t one_copy(unsigned char *src, size_t len)
{
	unsigned char *dst = fresh(len);
	uint32_t status;
	struct queue q;

	if (queue_open(&q))
		return IOPF_DESC_PENDING;
	memset(q.ring, 0, RING_SIZE * sizeof(*q.ring));
	status = run(&q, IOPF_OP_COPY, src, dst, len, 0);
	if (memcmp(src, dst, len))
		status = IOPF_DESC_BAD;
	queue_close(&q);
	munmap(dst, len);

	return status;
}

TEST_F_TIMEOUT(lifecycle, reset_under_load, 300)
{
	pid_t pid[NR_VICTIMS];
	char path[64];
	int i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", bdf);
	for (i = 0; i < NR_LIVES; i++) {
		ASSERT_EQ(0, start_victims(self->src, self->len, pid));
		usleep(i * 100);
		ASSERT_EQ(0, sysfs_write(path, "1"));
		stop_victims(pid);
		ASSERT_EQ(IOPF_DESC_OK, one_copy(self->src, self->len));
	}
}

TEST_F_TIMEOUT(lifecycle, unbind_under_load, 300)
{
	const char *drv = "/sys/bus/pci/drivers/iopf-testdev";
	pid_t pid[NR_VICTIMS];
	char path[64];
	int i, tries;

	for (i = 0; i < NR_LIVES; i++) {
		ASSERT_EQ(0, start_victims(self->src, self->len, pid));
		usleep(i * 100);
		snprintf(path, sizeof(path), "%s/unbind", drv);
		ASSERT_EQ(0, sysfs_write(path, bdf));
		stop_victims(pid);
		snprintf(path, sizeof(path), "%s/bind", drv);
		ASSERT_EQ(0, sysfs_write(path, bdf));
		for (tries = 0; access("/dev/iopf-testdev-0", F_OK); tries++) {
			ASSERT_GT(1000, tries);
			usleep(1000);
		}
		ASSERT_EQ(IOPF_DESC_OK, one_copy(self->src, self->len));
	}
}

TEST_HARNESS_MAIN
