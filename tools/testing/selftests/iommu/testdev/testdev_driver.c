// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver of the emulated endpoint, when a fault is with somebody silent
 *
 * A page is watched by a userfaultfd that nobody reads: a fault on it ends when
 * the kernel takes it away from there. Closing, unbinding, suspending and
 * resetting must cope.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "testdev.h"
#include "../../kselftest_harness.h"

/* So long the driver waited for each queue when it waited for faults. */
#define PATIENCE_S	8

FIXTURE(driver)
{
	unsigned char *src;
	unsigned char *silent;
	int uffd;
};

/* Memory whose faults go to a file that nobody reads */
static int watch(unsigned char *p)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = page },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &reg))
		return -1;

	return fd;
}

FIXTURE_SETUP(driver)
{
	if (access("/dev/iopf-testdev-0", F_OK))
		SKIP(return, "no iopf-testdev");
	ASSERT_EQ(0, map_bar());
	if (!has_mode(IOPF_MODE_STALL) && !has_mode(IOPF_MODE_PRI))
		SKIP(return, "nothing waits for pages");
	ASSERT_EQ(0, set_mode(0));
	self->src = fresh(MB);
	self->silent = fresh(page);
	ASSERT_NE(MAP_FAILED, (void *)self->src);
	ASSERT_NE(MAP_FAILED, (void *)self->silent);
	fill(self->src, MB, 1);
	self->uffd = watch(self->silent);
	ASSERT_LE(0, self->uffd);
}

FIXTURE_TEARDOWN(driver)
{
	if (!self->src)
		return;
	close(self->uffd);
	munmap(self->silent, page);
	munmap(self->src, MB);
}

/* A queue whose fault is with the userfaultfd */
static int wait_in_silence(struct queue *q, const char *node,
			   unsigned char *silent, int uffd)
{
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	int ret = open_node(q, node);

	if (ret)
		return ret;
	submit(q, IOPF_OP_FILL, NULL, silent, 8, 1);

	return poll(&pfd, 1, 30000) == 1 ? 0 : -ETIME;
}

static int available(void)
{
	FILE *f = fopen("/sys/class/uacce/iopf-testdev-0/available_instances",
			"r");
	int n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &n) != 1)
		n = -1;
	fclose(f);

	return n;
}

TEST_F_TIMEOUT(driver, close_waits_for_nobody, 120)
{
	int before = available(), i;
	struct queue q;
	time_t start;

	ASSERT_LT(0, before);
	ASSERT_EQ(0, wait_in_silence(&q, "/dev/iopf-testdev-0", self->silent,
				     self->uffd));
	EXPECT_EQ(before - 1, available());
	start = time(NULL);
	queue_close(&q);
	EXPECT_GT(PATIENCE_S, time(NULL) - start);

	/* the queue comes to rest, and is there for the next */
	for (i = 0; i < 30000 && available() != before; i++)
		usleep(1000);
	EXPECT_EQ(before, available());
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
}

TEST_F_TIMEOUT(driver, unbind_waits_for_nobody, 120)
{
	struct queue q;
	time_t start;

	ASSERT_EQ(0, wait_in_silence(&q, "/dev/iopf-testdev-0", self->silent,
				     self->uffd));
	start = time(NULL);
	ASSERT_EQ(0, unbind_driver());
	EXPECT_GT(PATIENCE_S, time(NULL) - start);
	queue_close(&q);
	ASSERT_EQ(0, bind_driver());
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
}

/* What is in flight would be answered while the device sleeps. */
TEST_F_TIMEOUT(driver, no_sleep_with_a_fault_in_flight, 120)
{
	struct queue q;

	ASSERT_EQ(0, wait_in_silence(&q, "/dev/iopf-testdev-0", self->silent,
				     self->uffd));
	EXPECT_EQ(-EBUSY, suspend_all());
	queue_close(&q);
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
	EXPECT_EQ(0, suspend_all());
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
}

/* A mode that the kernel has not enabled is no fault of any descriptor. */
TEST_F(driver, start_says_what_is_missing)
{
	static const uint32_t modes[] = {
		IOPF_MODE_STALL, IOPF_MODE_ATS, IOPF_MODE_PRI,
	};
	struct queue q;
	int i, ret;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, set_mode(modes[i]));
		ret = queue_open(&q);
		EXPECT_EQ(has_mode(modes[i]) ? 0 : -EOPNOTSUPP, ret);
		close(q.fd);
	}
	ASSERT_EQ(0, set_mode(77));
	EXPECT_EQ(-EINVAL, queue_open(&q));
	close(q.fd);
	ASSERT_EQ(0, set_mode(0));
}

/* The page of registers is mapped once, whatever becomes of the mapping. */
TEST_F(driver, one_mapping)
{
	unsigned char *elsewhere = fresh(page);
	struct queue q;
	void *p;

	ASSERT_EQ(0, queue_open(&q));
	p = mmap(NULL, page, PROT_READ, MAP_SHARED, q.fd, 0);
	EXPECT_EQ(MAP_FAILED, p);
	p = mremap(q.regs, page, page, MREMAP_MAYMOVE | MREMAP_FIXED,
		   elsewhere);
	EXPECT_EQ(MAP_FAILED, p);
	p = mmap(NULL, page, PROT_READ, MAP_SHARED, q.fd, 0);
	EXPECT_EQ(MAP_FAILED, p);
	EXPECT_EQ(IOPF_DESC_OK, run(&q, IOPF_OP_NOP, NULL, NULL, 0, 0));
	queue_close(&q);
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
	munmap(elsewhere, page);
}

/* The users of a virtual function hear of the physical function's reset. */
TEST_F_TIMEOUT(driver, reset_wakes_virtual_functions, 120)
{
	const char *node = "/dev/iopf-testdev-1";
	struct pollfd pfd = { .events = POLLIN };
	struct queue q;
	int i;

	if (device_write("sriov_numvfs", "2"))
		SKIP(return, "no virtual functions");
	for (i = 0; access(node, F_OK) && i < 5000; i++)
		usleep(1000);
	ASSERT_EQ(0, wait_in_silence(&q, node, self->silent, self->uffd));
	pfd.fd = q.fd;
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(0, reset_function());
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(0, reg_read(&q, IOPF_U_STATUS) & IOPF_STATUS_ENABLED);
	queue_close(&q);

	/* and the function is as it was */
	EXPECT_EQ(IOPF_DESC_OK, one_copy(node, self->src, MB));
	EXPECT_EQ(IOPF_DESC_OK, one_copy("/dev/iopf-testdev-0", self->src,
					 MB));
	EXPECT_EQ(0, device_write("sriov_numvfs", "0"));
}

TEST_HARNESS_MAIN
