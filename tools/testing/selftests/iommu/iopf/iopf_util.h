/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of I/O page faults share
 */
#ifndef _IOPF_UTIL_H
#define _IOPF_UTIL_H

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../file_text.h"
#include "../patience.h"
#include "io-pgfault-testdev.h"

#define PERM_R		1
#define PERM_W		2
#define PERM_X		4
#define PERM_P		8

#define RESP_SUCCESS	0
#define RESP_INVALID	1
/* No response came in time, or the report failed. */
#define RESP_NONE	-1

#define IOPF_DEVICE	"/dev/iopf-test"
#define IOPF_ABSENT	"no " IOPF_DEVICE ": CONFIG_IOMMU_PAGE_FAULT_TEST"

static inline bool iopf_absent(void)
{
	return access(IOPF_DEVICE, F_OK);
}

static inline int iopf_open(void)
{
	return open(IOPF_DEVICE, O_RDWR | O_CLOEXEC);
}

static inline int iopf_report(int fd, void *addr, unsigned int perm,
			      unsigned int grpid, unsigned int flags)
{
	struct iopf_test_request req = {
		.addr = (uintptr_t)addr,
		.grpid = grpid,
		.perm = perm,
		.flags = flags,
	};

	return write(fd, &req, sizeof(req)) == sizeof(req) ? 0 : -1;
}

static inline bool iopf_answered(int fd, int timeout_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, patience(timeout_ms)) == 1;
}

/* The code of the next response, or RESP_NONE. */
static inline int iopf_next(int fd, int timeout_ms)
{
	struct iopf_test_response resp;

	if (!iopf_answered(fd, timeout_ms))
		return RESP_NONE;
	if (read(fd, &resp, sizeof(resp)) != sizeof(resp))
		return RESP_NONE;
	return resp.code;
}

/* Reports a group of one page, and waits for the response. */
static inline int iopf_fault(int fd, void *addr, unsigned int perm)
{
	if (iopf_report(fd, addr, perm, 1, IOPF_TEST_LAST))
		return RESP_NONE;
	return iopf_next(fd, 10000);
}

static inline size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static inline char *map_anon(size_t len, int prot)
{
	void *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* The page table entry of this process, as /proc shows it, or 0. */
static inline uint64_t page_entry(const void *addr)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, sizeof(entry),
		  (uintptr_t)addr / page_size() * sizeof(entry)) < 0)
		entry = 0;
	close(fd);
	return entry;
}

static inline bool is_present(const void *addr)
{
	return page_entry(addr) >> 63;
}

static inline uint64_t pfn_of(const void *addr)
{
	return page_entry(addr) & ((1ULL << 55) - 1);
}

/* What a page table of the lowest level maps: a huge page. */
static inline size_t huge_size(void)
{
	return page_size() * page_size() / sizeof(uint64_t);
}

/**
 * struct monitor - a userfaultfd
 * @uffd: the file
 * @page: what a missing page is filled with
 * @size: of a page
 * @events: how many it has answered
 */
struct monitor {
	int uffd;
	void *page;
	size_t size;
	unsigned int events;
};

static inline int uffd_open(struct monitor *m, char *p, size_t len,
			    uint64_t mode)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = len },
		.mode = mode,
	};

	m->size = page_size();
	/* What everybody may open. */
	m->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (m->uffd < 0 || ioctl(m->uffd, UFFDIO_API, &api))
		return -1;
	return ioctl(m->uffd, UFFDIO_REGISTER, &reg);
}

#endif /* _IOPF_UTIL_H */
