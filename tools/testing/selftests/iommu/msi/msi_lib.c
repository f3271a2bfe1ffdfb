// SPDX-License-Identifier: GPL-2.0-only
/* Devices, drivers, groups and interrupts; see msi_lib.h. */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "msi_lib.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define GROUPS		"/sys/kernel/iommu_groups"

bool exists(const char *path)
{
	return !access(path, F_OK);
}

void sleep_ms(int ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&time, NULL);
}

const char *role(const char *name)
{
	char variable[64];
	const char *bdf;

	snprintf(variable, sizeof(variable), "DEV_%s", name);
	bdf = getenv(variable);
	return bdf && *bdf ? bdf : NULL;
}

void device_path(const char *bdf, const char *rest, char *path, size_t size)
{
	snprintf(path, size, PCI_DEVICES "/%s%s%s", bdf, *rest ? "/" : "",
		 rest);
}

bool device_present(const char *bdf)
{
	char path[128];

	device_path(bdf, "", path, sizeof(path));
	return exists(path);
}

bool wait_device(const char *bdf, bool present, int seconds)
{
	int tries;

	for (tries = patience(seconds * 50); tries; tries--) {
		if (device_present(bdf) == present)
			return true;
		sleep_ms(20);
	}
	return false;
}

/* The last component of the link that @rest is in the device's directory. */
static void link_target(const char *bdf, const char *rest, char *name,
			size_t size)
{
	char path[128], target[512];
	ssize_t len;

	device_path(bdf, rest, path, sizeof(path));
	len = readlink(path, target, sizeof(target) - 1);
	target[len < 0 ? 0 : len] = '\0';
	snprintf(name, size, "%s", strrchr(target, '/') ?
		 strrchr(target, '/') + 1 : "");
}

void driver_of(const char *bdf, char *name, size_t size)
{
	link_target(bdf, "driver", name, size);
}

int unbind_driver(const char *bdf)
{
	char path[128];

	device_path(bdf, "driver/unbind", path, sizeof(path));
	return exists(path) ? write_text(path, bdf) : 0;
}

int bind_driver(const char *bdf, const char *driver)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/bind", driver);
	return write_text(path, bdf);
}

int override_driver(const char *bdf, const char *driver)
{
	char path[128];

	device_path(bdf, "driver_override", path, sizeof(path));
	return write_text(path, *driver ? driver : "\n");
}

int group_of(const char *bdf)
{
	char name[64];

	link_target(bdf, "iommu_group", name, sizeof(name));
	return *name ? atoi(name) : -ENOENT;
}

static void group_file(int group, char *path, size_t size)
{
	snprintf(path, size, GROUPS "/%d/type", group);
}

int group_type(int group, char *type, size_t size)
{
	char path[128];

	group_file(group, path, sizeof(path));
	return read_line(path, type, size);
}

int set_group_type(int group, const char *type)
{
	char path[128];

	group_file(group, path, sizeof(path));
	return write_text(path, type);
}

int fresh_domain(const char *bdf)
{
	int group = group_of(bdf);
	int ret = set_group_type(group, "identity");

	return ret ?: set_group_type(group, "DMA");
}

int irqs_of(const char *bdf, int *irqs, int max)
{
	struct dirent *entry;
	char path[128];
	int count = 0;
	DIR *dir;

	device_path(bdf, "msi_irqs", path, sizeof(path));
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)) && count < max)
		if (entry->d_name[0] != '.')
			irqs[count++] = atoi(entry->d_name);
	closedir(dir);
	return count;
}

unsigned long irq_count(int irq)
{
	unsigned long total = 0, one;
	char line[1024], *rest, *end;
	FILE *file = fopen("/proc/interrupts", "r");

	while (file && fgets(line, sizeof(line), file)) {
		if (strtol(line, &rest, 10) != irq || *rest != ':')
			continue;
		for (rest++;; rest = end) {
			one = strtoul(rest, &end, 10);
			if (end == rest)
				break;
			total += one;
		}
		break;
	}
	if (file)
		fclose(file);
	return total;
}

unsigned long device_irq_count(const char *bdf)
{
	int irqs[MSI_MAX], count = irqs_of(bdf, irqs, MSI_MAX);
	unsigned long total = 0;

	while (count--)
		total += irq_count(irqs[count]);
	return total;
}

int set_affinity(int irq, unsigned int cpu)
{
	char path[64], text[16];

	snprintf(path, sizeof(path), "/proc/irq/%d/smp_affinity_list", irq);
	snprintf(text, sizeof(text), "%u", cpu);
	return write_text(path, text);
}

/* Config space: a file, little endian. */
static int config_open(const char *bdf, int flags)
{
	char path[128];

	device_path(bdf, "config", path, sizeof(path));
	return open(path, flags);
}

static u32 config_read(int fd, int offset, int size)
{
	u32 value = 0;

	if (pread(fd, &value, size, offset) != size)
		return 0;
	return le32toh(value);
}

static void config_write(int fd, int offset, u32 value, int size)
{
	value = htole32(value);
	if (pwrite(fd, &value, size, offset) != size)
		perror("config space");
}

static int find_capability(int fd, int wanted)
{
	int offset = config_read(fd, PCI_CAPABILITY_LIST, 1) & ~3;

	while (offset && config_read(fd, offset, 1) != (u32)wanted)
		offset = config_read(fd, offset + 1, 1) & ~3;
	return offset;
}

/* The capability that is turned on, 0 for none; *@msix says which. */
static int enabled_capability(int fd, bool *msix)
{
	int offset = find_capability(fd, PCI_CAP_ID_MSIX);

	*msix = true;
	if (offset && config_read(fd, offset + PCI_MSIX_FLAGS, 2) &
	    PCI_MSIX_FLAGS_ENABLE)
		return offset;
	*msix = false;
	offset = find_capability(fd, PCI_CAP_ID_MSI);
	if (offset && config_read(fd, offset + PCI_MSI_FLAGS, 2) &
	    PCI_MSI_FLAGS_ENABLE)
		return offset;
	return 0;
}

bool uses_msix(const char *bdf)
{
	int fd = config_open(bdf, O_RDONLY);
	bool msix = false;

	if (fd < 0)
		return false;
	enabled_capability(fd, &msix);
	close(fd);
	return msix;
}

bool msix_masked(const char *bdf)
{
	int fd = config_open(bdf, O_RDONLY);
	bool masked = false;
	int cap;

	if (fd < 0)
		return false;
	cap = find_capability(fd, PCI_CAP_ID_MSIX);
	if (cap)
		masked = config_read(fd, cap + PCI_MSIX_FLAGS, 2) &
			 PCI_MSIX_FLAGS_MASKALL;
	close(fd);
	return masked;
}

/* Maps the device's table; NULL on failure. */
static u32 *map_table(const char *bdf, int fd, int cap)
{
	u32 table = config_read(fd, cap + PCI_MSIX_TABLE, 4);
	off_t offset = table & PCI_MSIX_TABLE_OFFSET;
	char path[128], name[16];
	void *map;
	int bar;

	snprintf(name, sizeof(name), "resource%u",
		 table & PCI_MSIX_TABLE_BIR);
	device_path(bdf, name, path, sizeof(path));
	bar = open(path, O_RDWR | O_SYNC);
	if (bar < 0)
		return NULL;
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bar,
		   offset & ~0xfffL);
	close(bar);
	if (map == MAP_FAILED)
		return NULL;
	return map + (offset & 0xfff);
}

static void unmap_table(u32 *table)
{
	munmap((void *)((unsigned long)table & ~0xfffUL), 4096);
}

static int msix_entries(const char *bdf, int fd, int cap,
			struct msi_entry *entries, int max)
{
	int size = (config_read(fd, cap + PCI_MSIX_FLAGS, 2) &
		    PCI_MSIX_FLAGS_QSIZE) + 1;
	u32 *table = map_table(bdf, fd, cap);
	int index, count = 0;

	if (!table)
		return -errno;
	for (index = 0; index < size && count < max; index++) {
		u32 *entry = table + index * 4;
		u64 addr = read32(entry) | (u64)read32(entry + 1) << 32;

		/* An entry without an address was never given a message. */
		if (!addr)
			continue;
		entries[count].addr = addr;
		entries[count++].data = read32(entry + 2);
	}
	unmap_table(table);
	return count;
}

static int msi_one(int fd, int cap, struct msi_entry *entry)
{
	bool wide = config_read(fd, cap + PCI_MSI_FLAGS, 2) &
		    PCI_MSI_FLAGS_64BIT;

	entry->addr = config_read(fd, cap + PCI_MSI_ADDRESS_LO, 4);
	if (wide)
		entry->addr |= (u64)config_read(fd, cap +
				PCI_MSI_ADDRESS_HI, 4) << 32;
	entry->data = config_read(fd, cap + (wide ? PCI_MSI_DATA_64 :
					     PCI_MSI_DATA_32), 2);
	return 1;
}

int msi_entries(const char *bdf, struct msi_entry *entries, int max)
{
	int fd = config_open(bdf, O_RDONLY);
	int cap, ret;
	bool msix;

	if (fd < 0)
		return -errno;
	cap = enabled_capability(fd, &msix);
	if (!cap)
		ret = 0;
	else if (msix)
		ret = msix_entries(bdf, fd, cap, entries, max);
	else
		ret = msi_one(fd, cap, entries);
	close(fd);
	return ret;
}

static void write_msix_address(u32 *entry, u64 addr)
{
	u32 control = read32(entry + 3);

	/* Masked, or the device could send half of the new address. */
	write32(entry + 3, control | PCI_MSIX_ENTRY_CTRL_MASKBIT);
	write32(entry, addr);
	write32(entry + 1, addr >> 32);
	write32(entry + 3, control);
	/* Read back: it has arrived. */
	read32(entry + 3);
}

int write_msi_address(const char *bdf, int index, u64 addr)
{
	int fd = config_open(bdf, O_RDWR);
	u32 *table;
	bool msix;
	int cap;

	if (fd < 0)
		return -errno;
	cap = enabled_capability(fd, &msix);
	if (cap && msix) {
		table = map_table(bdf, fd, cap);
		if (table) {
			write_msix_address(table + index * 4, addr);
			unmap_table(table);
		}
	} else if (cap) {
		config_write(fd, cap + PCI_MSI_ADDRESS_LO, addr, 4);
		if (config_read(fd, cap + PCI_MSI_FLAGS, 2) &
		    PCI_MSI_FLAGS_64BIT)
			config_write(fd, cap + PCI_MSI_ADDRESS_HI, addr >> 32,
				     4);
	}
	close(fd);
	return cap ? 0 : -ENOENT;
}

unsigned int requester_id(const char *bdf)
{
	unsigned int bus, slot, function;

	if (sscanf(bdf, "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		return ~0U;
	return bus << 8 | slot << 3 | function;
}

/*
 * The device tree says where the doorbell is: GITS_TRANSLATER is 64 KiB and
 * 0x40 into the ITS (IHI 0069, 12.10), MSI_SETSPI_NS 0x40 into a v2m frame.
 */
static int doorbell_at(const char *pattern, const char *chip, u64 offset,
		       struct doorbell *doorbell)
{
	u64 reg[2];
	glob_t found;
	int ret = -ENOENT, fd;

	if (glob(pattern, 0, NULL, &found))
		return -ENOENT;
	fd = open(found.gl_pathv[0], O_RDONLY);
	if (fd >= 0 && read(fd, reg, sizeof(reg)) == sizeof(reg)) {
		doorbell->chip = chip;
		doorbell->addr = be64toh(reg[0]) + offset;
		ret = 0;
	}
	if (fd >= 0)
		close(fd);
	globfree(&found);
	return ret;
}

int read_doorbell(struct doorbell *doorbell)
{
#define TREE "/sys/firmware/devicetree/base/intc@*/"
	if (!doorbell_at(TREE "its@*/reg", "ITS", 0x10040, doorbell))
		return 0;
	return doorbell_at(TREE "v2m@*/reg", "GICv2m", 0x40, doorbell);
}

int ask_host(const char *fmt, ...)
{
	char text[256], reply[256];
	ssize_t got = 0, more;
	va_list args;
	int fd;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text) - 1, fmt, args);
	va_end(args);
	strcat(text, "\n");
	fd = open("/dev/vm/host", O_RDWR);
	if (fd < 0)
		return -ENODEV;
	if (write(fd, text, strlen(text)) < 0) {
		close(fd);
		return -EIO;
	}
	do {
		more = read(fd, reply + got, sizeof(reply) - 1 - got);
		got += more > 0 ? more : 0;
	} while (more > 0 && reply[got - 1] != '\n' &&
		 got < (ssize_t)sizeof(reply) - 1);
	close(fd);
	reply[got] = '\0';
	if (!strncmp(reply, "ok", 2))
		return 0;
	printf("# host: %.*s: %s\n", (int)strcspn(text, "\n"), text, reply);
	return -EREMOTEIO;
}

static FILE *open_table(const char *path)
{
	FILE *file = fopen(path, "r");
	char header[256];

	if (file && !fgets(header, sizeof(header), file)) {
		fclose(file);
		return NULL;
	}
	return file;
}

int doorbell_rows(struct doorbell_row *rows, int max)
{
	FILE *file = open_table(DOORBELLS);
	int count = 0;
	char line[256];

	if (!file)
		return -ENOENT;
	while (count < max && fgets(line, sizeof(line), file)) {
		struct doorbell_row *row = rows + count++;

		if (sscanf(line, "%u %15s %u %31s %llx %llx %u", &row->domain,
			   row->type, &row->granule, row->chip, &row->doorbell,
			   &row->iova, &row->users) != 7)
			count = -EINVAL;
		if (count < 0)
			break;
	}
	fclose(file);
	return count;
}

int interrupt_rows(struct interrupt_row *rows, int max)
{
	FILE *file = open_table(INTERRUPTS);
	int count = 0;
	char line[256];

	if (!file)
		return -ENOENT;
	while (count < max && fgets(line, sizeof(line), file)) {
		struct interrupt_row *row = rows + count++;

		if (sscanf(line, "%31s %u %u %u %31s %llx %llx", row->device,
			   &row->group, &row->domain, &row->irq, row->chip,
			   &row->doorbell, &row->iova) != 7)
			count = -EINVAL;
		if (count < 0)
			break;
	}
	fclose(file);
	return count;
}

int interrupt_row_of(const char *bdf, struct interrupt_row *row)
{
	static struct interrupt_row rows[256];
	int count = interrupt_rows(rows, 256), index;

	for (index = 0; index < count; index++)
		if (!strcmp(rows[index].device, bdf)) {
			*row = rows[index];
			return 0;
		}
	return -ENOENT;
}

void trace_start(void)
{
	/* Truncating the file is what empties the buffer. */
	close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
	write_text(MSI_EVENTS "/enable", "1");
	write_text(TRACING "/tracing_on", "1");
}

int trace_count(const char *event, const char *text)
{
	FILE *file = fopen(TRACING "/trace", "r");
	char line[512], label[64];
	int count = 0;

	snprintf(label, sizeof(label), " %s: ", event);
	while (file && fgets(line, sizeof(line), file))
		count += line[0] != '#' && strstr(line, label) &&
			 strstr(line, text);
	if (file)
		fclose(file);
	return count;
}

int log_mark(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

int log_count(int mark, const char *wanted)
{
	char record[8192];
	int count = 0;
	ssize_t got;

	for (;;) {
		got = read(mark, record, sizeof(record) - 1);
		/* EPIPE: records were overwritten meanwhile; go on behind. */
		if (got < 0 && errno == EPIPE)
			continue;
		if (got <= 0)
			break;
		record[got] = '\0';
		count += !!strstr(record, wanted);
	}
	return count;
}
