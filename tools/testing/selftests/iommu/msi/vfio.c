// SPDX-License-Identifier: GPL-2.0-only
/* Devices through vfio-pci; see vfio.h. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/iommufd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "msi_lib.h"
#include "vfio.h"

#define BAR_SIZE	0x100000
#define EDU_IRQ_STATUS	0x24
#define EDU_IRQ_RAISE	0x60
#define EDU_IRQ_ACK	0x64
#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_START	1
#define EDU_DMA_OUT	2

static int ioctl_errno(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static int take_device(const char *bdf)
{
	int ret = unbind_driver(bdf);

	ret = ret ?: override_driver(bdf, "vfio-pci");
	return ret ?: bind_driver(bdf, "vfio-pci");
}

static int open_type1(struct vfio *vfio)
{
	char path[64];
	int ret;

	vfio->container = open("/dev/vfio/vfio", O_RDWR);
	snprintf(path, sizeof(path), "/dev/vfio/%d", group_of(vfio->bdf));
	vfio->group = open(path, O_RDWR);
	if (vfio->container < 0 || vfio->group < 0)
		return -errno;
	ret = ioctl_errno(vfio->group, VFIO_GROUP_SET_CONTAINER,
			  &vfio->container);
	if (!ret && ioctl(vfio->container, VFIO_SET_IOMMU,
			  VFIO_TYPE1v2_IOMMU))
		ret = -errno;
	if (ret)
		return ret;
	vfio->device = ioctl(vfio->group, VFIO_GROUP_GET_DEVICE_FD,
			     vfio->bdf);
	return vfio->device < 0 ? -errno : 0;
}

/* The character device of a device: /dev/vfio/devices/vfioN. */
static int open_cdev(const char *bdf)
{
	char pattern[128], path[64];
	glob_t found;

	device_path(bdf, "vfio-dev/vfio*", pattern, sizeof(pattern));
	if (glob(pattern, 0, NULL, &found))
		return -ENOENT;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s",
		 strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	return open(path, O_RDWR);
}

int vfio_new_ioas(struct vfio *vfio, u32 *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = ioctl_errno(vfio->container, IOMMU_IOAS_ALLOC, &alloc);

	*ioas = alloc.out_ioas_id;
	return ret;
}

int vfio_attach(struct vfio *vfio, u32 ioas)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = ioas };

	return ioctl_errno(vfio->device, VFIO_DEVICE_ATTACH_IOMMUFD_PT,
			   &attach);
}

int vfio_detach(struct vfio *vfio)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach) };

	return ioctl_errno(vfio->device, VFIO_DEVICE_DETACH_IOMMUFD_PT,
			   &detach);
}

static int open_iommufd(struct vfio *vfio)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	int ret;

	vfio->container = open("/dev/iommu", O_RDWR);
	if (vfio->container < 0)
		return -errno;
	vfio->device = open_cdev(vfio->bdf);
	if (vfio->device < 0)
		return -errno;
	bind.iommufd = vfio->container;
	ret = ioctl_errno(vfio->device, VFIO_DEVICE_BIND_IOMMUFD, &bind);
	ret = ret ?: vfio_new_ioas(vfio, &vfio->ioas);
	return ret ?: vfio_attach(vfio, vfio->ioas);
}

/* Sets @set and clears @clear in the command register. */
static int change_command(struct vfio *vfio, u16 clear, u16 set)
{
	struct vfio_region_info region = { .argsz = sizeof(region),
		.index = VFIO_PCI_CONFIG_REGION_INDEX };
	u16 command;
	int ret;

	ret = ioctl_errno(vfio->device, VFIO_DEVICE_GET_REGION_INFO, &region);
	if (ret)
		return ret;
	if (pread(vfio->device, &command, 2, region.offset + PCI_COMMAND) != 2)
		return -EIO;
	command = (command & ~clear) | set;
	if (pwrite(vfio->device, &command, 2, region.offset + PCI_COMMAND) !=
	    2)
		return -EIO;
	return 0;
}

int vfio_set_memory(struct vfio *vfio, bool on)
{
	return on ? change_command(vfio, 0, PCI_COMMAND_MEMORY) :
		    change_command(vfio, PCI_COMMAND_MEMORY, 0);
}

static int map_bar(struct vfio *vfio)
{
	struct vfio_region_info region = { .argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX };
	void *map;
	int ret;

	ret = ioctl_errno(vfio->device, VFIO_DEVICE_GET_REGION_INFO, &region);
	if (ret || region.size < BAR_SIZE)
		return ret;
	map = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vfio->device, region.offset);
	if (map == MAP_FAILED)
		return -errno;
	vfio->bar = map;
	return 0;
}

int vfio_open(struct vfio *vfio, enum vfio_way way, const char *bdf)
{
	int ret;

	memset(vfio, 0, sizeof(*vfio));
	vfio->way = way;
	vfio->device = -1;
	vfio->container = -1;
	vfio->group = -1;
	snprintf(vfio->bdf, sizeof(vfio->bdf), "%s", bdf);
	vfio->event = eventfd(0, EFD_NONBLOCK);
	ret = take_device(bdf);
	if (!ret)
		ret = way == VFIO_TYPE1 ? open_type1(vfio) :
		      open_iommufd(vfio);
	ret = ret ?: change_command(vfio, 0, PCI_COMMAND_MASTER |
				    PCI_COMMAND_MEMORY);
	return ret ?: map_bar(vfio);
}

void vfio_close(struct vfio *vfio)
{
	if (vfio->bar)
		munmap(vfio->bar, BAR_SIZE);
	if (vfio->device >= 0)
		close(vfio->device);
	if (vfio->group >= 0)
		close(vfio->group);
	if (vfio->container >= 0)
		close(vfio->container);
	close(vfio->event);
	unbind_driver(vfio->bdf);
	override_driver(vfio->bdf, "");
}

int vfio_map(struct vfio *vfio, void *memory, u64 size, u64 iova)
{
	struct vfio_iommu_type1_dma_map type1 = {
		.argsz = sizeof(type1), .vaddr = (unsigned long)memory,
		.iova = iova, .size = size,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE };
	struct iommu_ioas_map iommufd = {
		.size = sizeof(iommufd), .ioas_id = vfio->ioas,
		.user_va = (unsigned long)memory, .length = size, .iova = iova,
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
			 IOMMU_IOAS_MAP_WRITEABLE };

	if (vfio->way == VFIO_TYPE1)
		return ioctl_errno(vfio->container, VFIO_IOMMU_MAP_DMA,
				   &type1);
	return ioctl_errno(vfio->container, IOMMU_IOAS_MAP, &iommufd);
}

/* @count vectors from @first on; the first of them signals @event. */
static int set_vectors(struct vfio *vfio, u32 index, u32 first, u32 count,
		       int event)
{
	struct {
		struct vfio_irq_set set;
		s32 events[2];
	} irqs = {
		.set = { .start = first, .count = count,
			 .flags = VFIO_IRQ_SET_DATA_EVENTFD |
				  VFIO_IRQ_SET_ACTION_TRIGGER,
			 .index = index },
		.events = { event, -1 } };

	irqs.set.argsz = sizeof(irqs.set) + count * sizeof(irqs.events[0]);
	return ioctl_errno(vfio->device, VFIO_DEVICE_SET_IRQS, &irqs);
}

int vfio_enable_many(struct vfio *vfio, const s32 *events, u32 count)
{
	size_t size = sizeof(struct vfio_irq_set) + count * sizeof(*events);
	struct vfio_irq_set *set = calloc(1, size);
	int ret;

	if (!set)
		return -ENOMEM;
	set->argsz = size;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = count;
	memcpy(set->data, events, count * sizeof(*events));
	ret = ioctl_errno(vfio->device, VFIO_DEVICE_SET_IRQS, set);
	free(set);
	return ret;
}

int vfio_reset(struct vfio *vfio)
{
	return ioctl_errno(vfio->device, VFIO_DEVICE_RESET, NULL);
}

int vfio_enable_msi(struct vfio *vfio)
{
	return set_vectors(vfio, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, vfio->event);
}

int vfio_enable_msix(struct vfio *vfio)
{
	return set_vectors(vfio, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, vfio->event);
}

int vfio_enable_second_msix(struct vfio *vfio)
{
	int event = eventfd(0, EFD_NONBLOCK);
	int ret;

	ret = set_vectors(vfio, VFIO_PCI_MSIX_IRQ_INDEX, 1, 1, event);
	/* Nobody waits for it; VFIO has a reference of its own */
	close(event);
	return ret;
}

void vfio_disable_msi(struct vfio *vfio)
{
	struct vfio_irq_set set = { .argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSI_IRQ_INDEX };

	ioctl(vfio->device, VFIO_DEVICE_SET_IRQS, &set);
}

int vfio_low_power(struct vfio *vfio, bool on)
{
	struct vfio_device_feature feature = {
		.argsz = sizeof(feature),
		.flags = VFIO_DEVICE_FEATURE_SET |
			 (on ? VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY :
			       VFIO_DEVICE_FEATURE_LOW_POWER_EXIT) };

	return ioctl_errno(vfio->device, VFIO_DEVICE_FEATURE, &feature);
}

#define MAX_RANGES	16

static int type1_ranges(struct vfio *vfio, struct iommu_iova_range *ranges)
{
	struct {
		struct vfio_iommu_type1_info info;
		u8 rest[1024];
	} reply = { .info.argsz = sizeof(reply) };
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	struct vfio_info_cap_header *header;
	u32 offset, index;

	if (ioctl(vfio->container, VFIO_IOMMU_GET_INFO, &reply))
		return -errno;
	for (offset = reply.info.cap_offset; offset; offset = header->next) {
		header = (void *)&reply + offset;
		if (header->id != VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE)
			continue;
		cap = (void *)header;
		for (index = 0; index < cap->nr_iovas && index < MAX_RANGES;
		     index++) {
			ranges[index].start = cap->iova_ranges[index].start;
			ranges[index].last = cap->iova_ranges[index].end;
		}
		return index;
	}
	return -ENOENT;
}

static int iommufd_ranges(struct vfio *vfio, struct iommu_iova_range *ranges)
{
	struct iommu_ioas_iova_ranges get = {
		.size = sizeof(get), .ioas_id = vfio->ioas,
		.num_iovas = MAX_RANGES, .allowed_iovas = (unsigned long)ranges
	};
	int ret = ioctl_errno(vfio->container, IOMMU_IOAS_IOVA_RANGES, &get);

	return ret ?: (int)get.num_iovas;
}

int vfio_hole(struct vfio *vfio, u64 hole, u64 *below, u64 *above)
{
	struct iommu_iova_range ranges[MAX_RANGES];
	int count, index;

	count = vfio->way == VFIO_TYPE1 ? type1_ranges(vfio, ranges) :
					  iommufd_ranges(vfio, ranges);
	*below = 0;
	*above = ~0ULL;
	for (index = 0; index < count; index++) {
		if (ranges[index].start <= hole && hole <= ranges[index].last)
			return -EEXIST;
		if (ranges[index].last < hole && ranges[index].last > *below)
			*below = ranges[index].last;
		if (ranges[index].start > hole && ranges[index].start < *above)
			*above = ranges[index].start;
	}
	return count < 0 ? count : 0;
}

bool vfio_wait_event(struct vfio *vfio, int ms)
{
	struct pollfd poll_fd = { .fd = vfio->event, .events = POLLIN };
	u64 count;

	if (poll(&poll_fd, 1, patience(ms)) <= 0)
		return false;
	return read(vfio->event, &count, sizeof(count)) == sizeof(count);
}

u32 edu_read(struct vfio *vfio, unsigned int reg)
{
	return read32(vfio->bar + reg);
}

void edu_write(struct vfio *vfio, unsigned int reg, u64 value)
{
	/* Below 0x80 the device takes 4 bytes only, from there on 8. */
	if (reg < EDU_DMA_FROM)
		write32(vfio->bar + reg, value);
	else
		write64(vfio->bar + reg, value);
}

bool edu_interrupts(struct vfio *vfio, int ms)
{
	bool came;

	edu_write(vfio, EDU_IRQ_RAISE, 1);
	came = vfio_wait_event(vfio, ms);
	edu_write(vfio, EDU_IRQ_ACK, edu_read(vfio, EDU_IRQ_STATUS));
	return came;
}

int edu_copy(struct vfio *vfio, u64 from, u64 to, u32 size,
	     bool to_memory)
{
	int tries;

	edu_write(vfio, EDU_DMA_FROM, from);
	edu_write(vfio, EDU_DMA_TO, to);
	edu_write(vfio, EDU_DMA_COUNT, size);
	edu_write(vfio, EDU_DMA_COMMAND, EDU_DMA_START |
		  (to_memory ? EDU_DMA_OUT : 0));
	for (tries = patience(200); tries; tries--) {
		if (!(edu_read(vfio, EDU_DMA_COMMAND) & EDU_DMA_START))
			return 0;
		sleep_ms(10);
	}
	return -ETIMEDOUT;
}
