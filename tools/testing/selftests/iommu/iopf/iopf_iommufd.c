// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults that user space answers, through iommufd's mock device
 *
 * iommufd's own tests have one fault, which is answered. Here faults are
 * pending when the page table is replaced, detached or closed; some have been
 * read by user space, some have not. What the device got is in debugfs, where
 * that is.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "../iommufd_utils.h"
#include "../patience.h"
#include "iopf_table.h"

#define FAULTS		8
#define LOOPS		200
/* What a device gets that has no grant of its own, and what is on top. */
#define GRANT		128
#define MARGIN		64
#define LIMIT		"/sys/module/io_pgfault/parameters/timeout_ms"

/* A queue of faults and a page table that reports to it. */
struct faults {
	__u32 id, fd, hwpt;
};

FIXTURE(iommufd)
{
	int fd;
	__u32 ioas, stdev, hwpt, idev, parent;
	struct faults first, second;
};

static void make_faults(struct __test_metadata *_metadata,
			struct _test_data_iommufd *self, struct faults *faults)
{
	struct iommu_hwpt_selftest data = {
		.iotlb = IOMMU_TEST_IOTLB_DEFAULT,
	};

	test_ioctl_fault_alloc(&faults->id, &faults->fd);
	test_cmd_hwpt_alloc_iopf(self->idev, self->parent, faults->id,
				 IOMMU_HWPT_FAULT_ID_VALID, &faults->hwpt,
				 IOMMU_HWPT_DATA_SELFTEST, &data, sizeof(data));
}

FIXTURE_SETUP(iommufd)
{
	self->fd = open("/dev/iommu", O_RDWR);
	ASSERT_NE(-1, self->fd);
	test_ioctl_ioas_alloc(&self->ioas);
	test_ioctl_set_default_memory_limit();
	test_cmd_mock_domain(self->ioas, &self->stdev, &self->hwpt,
			     &self->idev);
	test_cmd_hwpt_alloc(self->idev, self->ioas,
			    IOMMU_HWPT_ALLOC_NEST_PARENT, &self->parent);
	make_faults(_metadata, self, &self->first);
	make_faults(_metadata, self, &self->second);
	test_cmd_mock_domain_replace(self->stdev, self->first.hwpt);
}

FIXTURE_TEARDOWN(iommufd)
{
	if (self->fd == -1)
		return;
	close(self->fd);
	close(self->first.fd);
	close(self->second.fd);
}

static int trigger(int fd, __u32 idev, __u32 grpid)
{
	struct iommu_test_cmd cmd = {
		.size = sizeof(cmd),
		.op = IOMMU_TEST_OP_TRIGGER_IOPF,
		.trigger_iopf = {
			.dev_id = idev,
			.pasid = 1,
			.grpid = grpid,
			.perm = IOMMU_PGFAULT_PERM_READ,
			.addr = 0x1000UL * grpid,
		},
	};

	return ioctl(fd, _IOMMU_TEST_CMD(IOMMU_TEST_OP_TRIGGER_IOPF), &cmd);
}

/* The cookie of the next fault, or 0. */
static __u32 take(const struct faults *faults)
{
	struct iommu_hwpt_pgfault fault = {};

	if (read(faults->fd, &fault, sizeof(fault)) != sizeof(fault))
		return 0;
	return fault.cookie;
}

static int respond(const struct faults *faults, __u32 cookie)
{
	struct iommu_hwpt_page_response response = {
		.cookie = cookie,
		.code = IOMMUFD_PAGE_RESP_SUCCESS,
	};

	return write(faults->fd, &response, sizeof(response)) ==
	       sizeof(response) ? 0 : -1;
}

static bool readable(const struct faults *faults)
{
	struct pollfd pfd = { .fd = faults->fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1 && pfd.revents & POLLIN;
}

/* A column of the mock device's row, -1 if there is none. */
static long column(const char *wanted)
{
	return iopf_column("iommufd_mock", wanted);
}

static bool has_table(void)
{
	return !access(IOPF_DEVICES, R_OK);
}

/* Some faults are in user space's hands, the others wait to be read. */
static __u32 leave_pending(struct __test_metadata *_metadata,
			   struct _test_data_iommufd *self)
{
	__u32 cookie = 0;
	int i;

	for (i = 1; i <= FAULTS; i++)
		ASSERT_EQ(0, trigger(self->fd, self->idev, i));
	for (i = 0; i < FAULTS / 2; i++) {
		cookie = take(&self->first);
		ASSERT_NE(0, cookie);
	}
	EXPECT_TRUE(readable(&self->first));
	return cookie;
}

/* They are the kernel's: neither to be read nor to be answered any more. */
static void expect_answered(struct __test_metadata *_metadata,
			    struct _test_data_iommufd *self, __u32 cookie)
{
	EXPECT_FALSE(readable(&self->first));
	EXPECT_EQ(-1, respond(&self->first, cookie));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, take(&self->first));
}

TEST_F(iommufd, f5_iommufd_replace_with_faults_pending)
{
	__u32 cookie = leave_pending(_metadata, self);

	test_cmd_mock_domain_replace(self->stdev, self->second.hwpt);
	expect_answered(_metadata, self, cookie);
	if (has_table()) {
		EXPECT_EQ(0, column("in_flight"));
		EXPECT_EQ(FAULTS, column("invalid"));
	}
	/* The device goes on, with the other queue. */
	ASSERT_EQ(0, trigger(self->fd, self->idev, 1));
	EXPECT_FALSE(readable(&self->first));
	cookie = take(&self->second);
	ASSERT_NE(0, cookie);
	EXPECT_EQ(0, respond(&self->second, cookie));
	if (has_table())
		EXPECT_EQ(1, column("success"));
}

TEST_F(iommufd, f5_iommufd_detach_with_faults_pending)
{
	__u32 cookie = leave_pending(_metadata, self);

	test_cmd_mock_domain_replace(self->stdev, self->ioas);
	expect_answered(_metadata, self, cookie);
	/* The device is on no queue any more. */
	EXPECT_EQ(-1, column("in_flight"));
	test_cmd_mock_domain_replace(self->stdev, self->first.hwpt);
	ASSERT_EQ(0, trigger(self->fd, self->idev, 1));
	cookie = take(&self->first);
	ASSERT_NE(0, cookie);
	EXPECT_EQ(0, respond(&self->first, cookie));
}

TEST_F(iommufd, f5_iommufd_close_with_faults_pending)
{
	leave_pending(_metadata, self);
	/* A queue's file keeps the rest alive. */
	ASSERT_EQ(0, close(self->fd));
	self->fd = -1;
	EXPECT_EQ(0, close(self->first.fd));
	EXPECT_EQ(0, close(self->second.fd));
	EXPECT_EQ(-1, column("in_flight"));
}

struct load {
	int fd;
	__u32 idev;
	bool stop;
	unsigned long count;
};

static void *trigger_faults(void *data)
{
	struct load *load = data;

	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED))
		if (!trigger(load->fd, load->idev, ++load->count % 64))
			sched_yield();
	return NULL;
}

static void answer_some(const struct faults *faults)
{
	__u32 cookie;
	int i;

	for (i = 0; i < 4 && readable(faults); i++) {
		cookie = take(faults);
		if (cookie && i % 2)
			respond(faults, cookie);
	}
}

TEST_F_TIMEOUT(iommufd, f5_iommufd_replace_under_load, 120)
{
	struct load load = { .fd = self->fd, .idev = self->idev };
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, trigger_faults, &load));
	for (i = 0; i < LOOPS; i++) {
		answer_some(&self->first);
		answer_some(&self->second);
		test_cmd_mock_domain_replace(self->stdev,
					     i % 3 == 0 ? self->second.hwpt :
					     i % 3 == 1 ? self->ioas :
					     self->first.hwpt);
	}
	__atomic_store_n(&load.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_GT(load.count, LOOPS);
}

TEST_F(iommufd, f2_iommufd_more_than_granted)
{
	int i;

	if (!has_table())
		SKIP(return, "no interface: " IOPF_DEVICES);
	for (i = 1; i <= 10 * GRANT; i++)
		ASSERT_EQ(0, trigger(self->fd, self->idev, i));
	EXPECT_LE(column("in_flight"), GRANT + MARGIN);
	EXPECT_EQ(10 * GRANT, column("in_flight") + column("refused"));
	EXPECT_EQ(0, column("failure"));
}

static bool set_limit(const char *ms)
{
	int fd = open(LIMIT, O_WRONLY);
	bool done;

	if (fd < 0)
		return false;
	done = write(fd, ms, strlen(ms)) > 0;
	close(fd);
	return done;
}

TEST_F(iommufd, f9_iommufd_nobody_answers)
{
	__u32 cookie;
	int i;

	if (!set_limit("50"))
		SKIP(return, "no interface: " LIMIT);
	EXPECT_EQ(0, trigger(self->fd, self->idev, 1));
	cookie = take(&self->first);
	for (i = 0; i < patience(100) && column("timeout") != 1; i++)
		usleep(50000);
	EXPECT_EQ(1, column("timeout"));
	EXPECT_EQ(0, column("in_flight"));
	/* User space comes late, and nothing happens. */
	EXPECT_EQ(0, respond(&self->first, cookie));
	EXPECT_EQ(0, column("success"));
	EXPECT_TRUE(set_limit("0"));
}

TEST_HARNESS_MAIN
