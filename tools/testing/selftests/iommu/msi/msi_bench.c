// SPDX-License-Identifier: GPL-2.0-only
/*
 * Work to be measured. "msi_bench vectors N" asks for N interrupts of the NVMe
 * disk, through VFIO, while the host records each instruction. "msi_bench reads
 * N" reads N blocks and says how long that took; "msi_bench recorded N" has the
 * host record it.
 */
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../../kselftest.h"
#include "msi_lib.h"
#include "vfio.h"

#define ROUNDS		3
#define BLOCK		4096

static int set_vectors(struct vfio *vfio, const int *events, int count)
{
	struct vfio_irq_set *set;
	size_t size = sizeof(*set) + count * sizeof(*events);
	int ret;

	set = calloc(1, size);
	if (!set)
		return -1;
	set->argsz = size;
	set->flags = VFIO_IRQ_SET_ACTION_TRIGGER |
		     (count ? VFIO_IRQ_SET_DATA_EVENTFD :
		      VFIO_IRQ_SET_DATA_NONE);
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = count;
	memcpy(set->data, events, count * sizeof(*events));
	ret = ioctl(vfio->device, VFIO_DEVICE_SET_IRQS, set);
	free(set);
	return ret;
}

/* The host learns which rounds are recorded by the trace's own order. */
static bool ask_for_vectors(int count)
{
	int events[MSI_MAX], index, round, ret = 0;
	struct vfio vfio;

	if (count > MSI_MAX || vfio_open(&vfio, VFIO_TYPE1, role("nvme")))
		return false;
	for (index = 0; index < count; index++)
		events[index] = eventfd(0, EFD_NONBLOCK);
	for (round = 0; round < ROUNDS && !ret; round++) {
		ret = ask_host("instructions on");
		ret = ret ?: set_vectors(&vfio, events, count);
		ret = ret ?: ask_host("instructions off");
		ret = ret ?: set_vectors(&vfio, events, 0);
	}
	vfio_close(&vfio);
	return !ret;
}

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static bool read_all(int fd, void *buffer, int count)
{
	int index;

	for (index = 0; index < count; index++)
		if (pread(fd, buffer, BLOCK, index % 1024 * BLOCK) != BLOCK)
			return false;
	return true;
}

static bool read_blocks(int count, bool recorded)
{
	char node[64];
	void *buffer;
	long long start;
	bool done;
	int fd;

	if (find_disk(role("nvme"), node, sizeof(node)) ||
	    posix_memalign(&buffer, BLOCK, BLOCK))
		return false;
	fd = open(node, O_RDONLY | O_DIRECT);
	if (fd < 0)
		return false;
	/* What the first reads set up is not measured. */
	done = read_all(fd, buffer, 10);
	if (recorded)
		done = done && !ask_host("instructions on");
	start = now_ns();
	done = done && read_all(fd, buffer, count);
	printf("# reads count=%d ns=%lld\n", count, now_ns() - start);
	if (recorded)
		done = done && !ask_host("instructions off");
	close(fd);
	return done;
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 0;
	bool done = false;

	ksft_print_header();
	ksft_set_plan(1);
	if (count > 0 && !strcmp(argv[1], "vectors"))
		done = ask_for_vectors(count);
	else if (count > 0 && !strcmp(argv[1], "reads"))
		done = read_blocks(count, false);
	else if (count > 0 && !strcmp(argv[1], "recorded"))
		done = read_blocks(count, true);
	ksft_test_result(done, "bench\n");
	ksft_finished();
}
