// SPDX-License-Identifier: GPL-2.0-only
/* A queue of the endpoint iopf-testdev, and the endpoint's registers */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../patience.h"
#include "testdev.h"

#define START_Q		_IO('W', 0)	/* UACCE_CMD_START_Q */

static uint32_t *bar;
char bdf[16];
size_t page;

uint32_t reg_read(struct queue *q, uint32_t reg)
{
	return __atomic_load_n(&q->regs[reg / 4], __ATOMIC_RELAXED);
}

void reg_write(struct queue *q, uint32_t reg, uint32_t val)
{
	__atomic_store_n(&q->regs[reg / 4], val, __ATOMIC_RELAXED);
}

/* A register that is not of a queue's own page */
uint32_t bar_read(uint32_t reg)
{
	return __atomic_load_n(&bar[reg / 4], __ATOMIC_RELAXED);
}

void bar_write(uint32_t reg, uint32_t val)
{
	__atomic_store_n(&bar[reg / 4], val, __ATOMIC_RELAXED);
}

uint64_t counter(int n)
{
	uint32_t lo = bar_read(IOPF_COUNTER(n));
	uint32_t hi = bar_read(IOPF_COUNTER(n) + 4);

	return (uint64_t)hi << 32 | lo;
}

/* How often the endpoint had to wait for a page, in any way. */
uint64_t waits(void)
{
	return counter(IOPF_CNT_STALLS) + counter(IOPF_CNT_PAGE_REQUESTS);
}

/*
 * Has each page request group been answered, and once? Waits for answers that
 * are under way.
 */
bool answered_once(void)
{
	uint64_t answers;
	int tries;

	for (tries = 0; tries < 5000; tries++) {
		answers = counter(IOPF_CNT_RESP_SUCCESS) +
			  counter(IOPF_CNT_RESP_INVALID) +
			  counter(IOPF_CNT_RESP_FAILURE);
		if (answers == counter(IOPF_CNT_GROUPS))
			return !counter(IOPF_CNT_RESP_UNEXPECTED);
		usleep(1000);
	}
	return false;
}

/* Page requests of the error page, @prgi and @addr one further each time. */
unsigned int request_pages(uint32_t pasid, const void *addr, uint32_t flags,
			   unsigned int prgi, unsigned int count)
{
	bar_write(IOPF_INJ_PASID, pasid | IOPF_PASID_VALID);
	bar_write(IOPF_INJ_ADDR_LO, (uintptr_t)addr);
	bar_write(IOPF_INJ_ADDR_HI, (uintptr_t)addr >> 32);
	bar_write(IOPF_INJ_FLAGS, flags | IOPF_INJ_NEXT_PAGE |
				  IOPF_INJ_NEXT_PRGI);
	bar_write(IOPF_INJ_PRGI, prgi);
	bar_write(IOPF_INJ_COUNT, count);
	bar_write(IOPF_INJ_CMD, IOPF_INJ_PAGE_REQUEST);
	return bar_read(IOPF_INJ_RESULT);
}

/* The PASID of the first queue that has one; 0 if none has. */
uint32_t own_pasid(void)
{
	uint32_t val;
	int i;

	for (i = 0; i < IOPF_NR_QUEUES; i++) {
		val = bar_read(IOPF_QCTL(i) + IOPF_Q_PASID);
		if (val & IOPF_PASID_VALID)
			return val & IOPF_PASID_MASK;
	}
	return 0;
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

/* Is it the endpoint, and not one of its virtual functions? */
static bool is_endpoint(const char *dev)
{
	char path[320];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/physfn", dev);
	return read_hex(dev, "vendor") == IOPF_VENDOR_ID &&
	       read_hex(dev, "device") == IOPF_DEVICE_ID && access(path, F_OK);
}

/* Map the endpoint's registers, for the counters. */
int map_bar(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *d;
	char path[320];
	void *p;
	int fd;

	page = sysconf(_SC_PAGESIZE);
	while (dir && (d = readdir(dir))) {
		if (!is_endpoint(d->d_name))
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

/* A queue of a function, started; @node is its device node. */
int open_node(struct queue *q, const char *node)
{
	memset(q, 0, sizeof(*q));
	q->fd = open(node, O_RDWR | O_CLOEXEC);
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
	memset(q->ring, 0, RING_SIZE * sizeof(*q->ring));

	return 0;
}

int queue_open(struct queue *q)
{
	return open_node(q, "/dev/iopf-testdev-0");
}

void queue_close(struct queue *q)
{
	munmap(q->regs, page);
	munmap(q->ring, RING_SIZE * sizeof(*q->ring));
	close(q->fd);
}

/* Put a descriptor into the ring; the endpoint starts at once. */
struct iopf_desc *submit(struct queue *q, uint32_t op, const void *src,
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

/* Returns IOPF_DESC_*, or PENDING after a minute or with a halted queue. */
uint32_t wait_desc(struct queue *q, struct iopf_desc *desc)
{
	time_t end = time(NULL) + patience(60);

	while (!__atomic_load_n(&desc->status, __ATOMIC_ACQUIRE) &&
	       time(NULL) < end) {
		if (reg_read(q, IOPF_U_STATUS) & IOPF_STATUS_ERROR)
			break;
		usleep(100);
	}

	return __atomic_load_n(&desc->status, __ATOMIC_ACQUIRE);
}

uint32_t run(struct queue *q, uint32_t op, const void *src, void *dst,
	     uint64_t len, uint64_t arg)
{
	return wait_desc(q, submit(q, op, src, dst, len, arg));
}

/* Choose how queues that start from now on access memory. */
int set_mode(uint32_t mode)
{
	FILE *f = fopen("/sys/module/iopf_testdev/parameters/mode", "w");

	if (!f)
		return -errno;
	fprintf(f, "%u", mode);

	return fclose(f) ? -errno : 0;
}

/* What must the kernel have enabled for @mode? */
bool has_mode(uint32_t mode)
{
	static const uint32_t needs[] = {
		[IOPF_MODE_STALL] = IOPF_STATE_STALL,
		[IOPF_MODE_ATS] = IOPF_STATE_ATS,
		[IOPF_MODE_PRI] = IOPF_STATE_PRI,
	};

	return bar_read(IOPF_STATE) & needs[mode];
}

void *fresh(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p != MAP_FAILED)
		madvise(p, len, MADV_NOHUGEPAGE);

	return p;
}

void fill(unsigned char *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

int sysfs_write(const char *path, const char *val)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, val, strlen(val)) < 0)
		ret = -errno;
	close(fd);

	return ret;
}

/* Write an attribute of the endpoint. */
int device_write(const char *attr, const char *val)
{
	char path[320];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, attr);
	return sysfs_write(path, val);
}

int reset_function(void)
{
	return device_write("reset", "1");
}

int unbind_driver(void)
{
	return device_write("driver/unbind", bdf);
}

int bind_driver(void)
{
	return sysfs_write("/sys/bus/pci/drivers/iopf-testdev/bind", bdf);
}

/* As far as the firmware would be asked, and back at once */
int suspend_all(void)
{
	int ret;

	ret = sysfs_write("/sys/module/suspend/parameters/pm_test_delay", "0");
	if (!ret)
		ret = sysfs_write("/sys/power/pm_test", "platform");
	if (!ret)
		ret = sysfs_write("/sys/power/state", "freeze");

	return ret;
}

/* The node appears, and a queue of it copies. */
uint32_t one_copy(const char *node, unsigned char *src, size_t len)
{
	unsigned char *dst = fresh(len);
	uint32_t status;
	struct queue q;
	int tries;

	for (tries = 0; access(node, F_OK) && tries < patience(5000);
	     tries++)
		usleep(1000);
	if (open_node(&q, node))
		return IOPF_DESC_PENDING;
	status = run(&q, IOPF_OP_COPY, src, dst, len, 0);
	if (memcmp(src, dst, len))
		status = IOPF_DESC_BAD;
	queue_close(&q);
	munmap(dst, len);

	return status;
}
