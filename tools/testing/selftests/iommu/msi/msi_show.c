// SPDX-License-Identifier: GPL-2.0-only
/*
 * Puts every device of the machine to work and shows what its interrupts do: a
 * line "# row ..." for each, for a human's table, and a line of TAP.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../kselftest.h"
#include "msi_lib.h"
#include "smmu.h"
#include "vfio.h"

#define EDU_ROUNDS	50
/* QEMU 7.2 refuses a copy that ends with the buffer of edu. */
#define EDU_COPY	2048
#define EDU_IOVA	0x100000UL
#define PATIENCE	10

static struct doorbell doorbell;

/* The entry's address as the SMMU's tables translate it; 0 if they do not. */
static u64 translated(const char *bdf, u64 iova)
{
	struct smmu_map map;

	if (smmu_lookup(requester_id(bdf), iova, &map))
		return 0;
	return map.addr + iova - map.iova;
}

/* One device's row; @wrong says what its work found wrong, NULL for nothing. */
static void show(const char *name, const char *bdf, unsigned long interrupts,
		 const char *wrong)
{
	struct msi_entry entries[MSI_MAX] = {};
	int count = msi_entries(bdf, entries, MSI_MAX), index;
	char driver[32];

	driver_of(bdf, driver, sizeof(driver));
	if (count <= 0)
		wrong = "no MSI is enabled";
	for (index = 0; index < count; index++)
		if (translated(bdf, entries[index].addr) != doorbell.addr)
			wrong = "an entry does not lead to the doorbell";
	if (!wrong && !interrupts)
		wrong = "it did not interrupt";
	printf("# row role=%s device=%s sid=0x%x driver=%s", name, bdf,
	       requester_id(bdf), *driver ? driver : "none");
	printf(" chip=%s kind=%s vectors=%d", doorbell.chip,
	       uses_msix(bdf) ? "MSI-X" : "MSI", count);
	printf(" doorbell=0x%llx iova=0x%llx interrupts=%lu\n", doorbell.addr,
	       entries[0].addr, interrupts);
	ksft_test_result(!wrong, "%s%s%s\n", name, wrong ? " # " : "",
			 wrong ? wrong : "");
	fflush(stdout);
}

static void show_absent(const char *name, const char *wrong)
{
	ksft_test_result(false, "%s # %s\n", name, wrong);
	fflush(stdout);
}

static void announce(const char *text)
{
	printf("# now %s\n", text);
	fflush(stdout);
}

static void show_work(const char *name, const char *doing)
{
	const char *bdf = role(name);
	unsigned long before;
	int ret;

	if (!bdf || !device_present(bdf)) {
		show_absent(name, "it is not there");
		return;
	}
	announce(doing);
	before = device_irq_count(bdf);
	ret = work(name);
	show(name, bdf, device_irq_count(bdf) - before,
	     ret ? strerror(-ret) : NULL);
}

/* Copies a pattern through the device, there and back. */
static const char *copy_through(struct vfio *vfio)
{
	unsigned char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int index;

	if (page == MAP_FAILED || vfio_map(vfio, page, 8192, EDU_IOVA))
		return "its memory could not be mapped";
	for (index = 0; index < EDU_COPY; index++)
		page[index] = index * 5 + (index >> 8);
	if (edu_copy(vfio, EDU_IOVA, EDU_BUFFER, EDU_COPY, false) ||
	    edu_copy(vfio, EDU_BUFFER, EDU_IOVA + 4096, EDU_COPY, true))
		return "its DMA did not end";
	if (memcmp(page, page + 4096, EDU_COPY))
		return "its DMA changed the data";
	return NULL;
}

static void show_edu(void)
{
	const char *bdf = role("edu"), *wrong;
	unsigned long before;
	struct vfio vfio;
	int round;

	announce("edu, assigned to user space: DMA both ways, interrupts");
	if (!bdf || vfio_open(&vfio, VFIO_TYPE1, bdf) ||
	    vfio_enable_msi(&vfio)) {
		show_absent("edu", "it could not be assigned");
		return;
	}
	before = device_irq_count(bdf);
	wrong = copy_through(&vfio);
	for (round = 0; round < EDU_ROUNDS && !wrong; round++)
		if (!edu_interrupts(&vfio, 3000))
			wrong = "an interrupt did not arrive";
	show("edu", bdf, device_irq_count(bdf) - before, wrong);
	vfio_close(&vfio);
}

static void show_hotplug(void)
{
	const char *port = role("port"), *hot = role("hot_port");
	unsigned long before = device_irq_count(port);
	int ret;

	announce("a disk is plugged into a running port");
	ret = ask_host("plug hot_nvme");
	if (ret || !wait_device(hot, true, PATIENCE)) {
		show_absent("port", "the plugged device did not appear");
		show_absent("hot", "it did not appear");
		return;
	}
	ret = read_disk(hot, 1);
	show("port", port, device_irq_count(port) - before, NULL);
	show("hot", hot, device_irq_count(hot), ret ? strerror(-ret) : NULL);
}

int main(void)
{
	ksft_print_header();
	ksft_set_plan(7);
	if (smmu_open() || read_doorbell(&doorbell))
		ksft_exit_fail_msg("no SMMUv3 or no MSI controller\n");
	ask_host("trace on");
	show_work("nvme", "NVMe disk: reading and hashing it");
	show_work("vblk", "virtio disk: reading and hashing it");
	show_work("e1000e", "e1000e card: receiving frames");
	show_work("vnet", "virtio card: receiving frames");
	show_edu();
	show_hotplug();
	ask_host("trace off");
	ksft_finished();
}
