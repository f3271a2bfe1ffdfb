/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The test device for I/O page faults: what user space passes
 *
 * Not an ABI: tools/testing/selftests/iommu/iopf is built from the same tree.
 */
#ifndef _IO_PGFAULT_TESTDEV_H
#define _IO_PGFAULT_TESTDEV_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* &iopf_test_request.flags */
#define IOPF_TEST_LAST		0x1
#define IOPF_TEST_NO_PASID	0x2
#define IOPF_TEST_USE_PASID	0x4

/**
 * struct iopf_test_request - written: the device reports a page request
 * @addr: the page
 * @pasid: with %IOPF_TEST_USE_PASID; otherwise the PASID of the writer
 * @grpid: of the group
 * @perm: IOMMU_FAULT_PERM_*
 * @flags: IOPF_TEST_*
 */
struct iopf_test_request {
	__u64 addr;
	__u32 pasid;
	__u32 grpid;
	__u32 perm;
	__u32 flags;
};

/**
 * struct iopf_test_response - read: the device got a response
 * @addr: of the last request of the group
 * @pasid: of the group
 * @grpid: of the group
 * @code: an &enum iommu_page_response_code
 * @reserved: 0
 */
struct iopf_test_response {
	__u64 addr;
	__u32 pasid;
	__u32 grpid;
	__u32 code;
	__u32 reserved;
};

/* Binds the caller's address space; the argument is the device's grant. */
#define IOPF_TEST_BIND		_IO('P', 0)
#define IOPF_TEST_UNBIND	_IO('P', 1)
/* Waits for the faults of the caller's PASID. */
#define IOPF_TEST_FLUSH		_IO('P', 2)
/* Takes the device from its queue, bound as it may be. */
#define IOPF_TEST_REMOVE	_IO('P', 3)
/* Responses that the device got when none was due. */
#define IOPF_TEST_LATE		_IO('P', 4)
/* Responses that the device got, also those that nobody read. */
#define IOPF_TEST_RESPONSES	_IO('P', 5)
/* Uses the device of another open file, the argument, instead of its own. */
#define IOPF_TEST_JOIN		_IO('P', 6)

#endif /* _IO_PGFAULT_TESTDEV_H */
