/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the doorbell tests share: devices by their role, their interrupts as
 * the kernel counts them, their messages as the hardware holds them, and work
 * that makes them interrupt.
 *
 * Functions return 0 or a negative errno unless they say otherwise.
 */
#ifndef MSI_LIB_H
#define MSI_LIB_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "../../kselftest.h"
#include "../file_text.h"
#include "../patience.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;

#define MSI_MAX		80
#define PAGE_OF(addr)	((addr) & ~0xfffULL)

/* A device's registers: each access is one, and in its place. */
static inline u32 read32(const void *addr)
{
	return __atomic_load_n((const u32 *)addr, __ATOMIC_SEQ_CST);
}

static inline void write32(void *addr, u32 value)
{
	__atomic_store_n((u32 *)addr, value, __ATOMIC_SEQ_CST);
}

static inline u64 read64(const void *addr)
{
	return __atomic_load_n((const u64 *)addr, __ATOMIC_SEQ_CST);
}

static inline void write64(void *addr, u64 value)
{
	__atomic_store_n((u64 *)addr, value, __ATOMIC_SEQ_CST);
}

struct msi_entry {
	u64 addr;
	u32 data;
};

struct doorbell {
	const char *chip;	/* "ITS" or "GICv2m" */
	u64 addr;		/* what an untranslated device writes to */
};

/* Files */
bool exists(const char *path);

/*
 * The PCI address of the device that plays a role (environment DEV_<role>),
 * NULL where the machine has none.
 */
const char *role(const char *name);
void device_path(const char *bdf, const char *rest, char *path, size_t size);
bool device_present(const char *bdf);
bool wait_device(const char *bdf, bool present, int seconds);

/* Drivers: bind returns once the driver's probe did. */
void driver_of(const char *bdf, char *name, size_t size);
int unbind_driver(const char *bdf);
int bind_driver(const char *bdf, const char *driver);
/* Writes driver_override, so that @driver and no other takes the device. */
int override_driver(const char *bdf, const char *driver);

/* IOMMU groups */
int group_of(const char *bdf);
int group_type(int group, char *type, size_t size);
int set_group_type(int group, const char *type);
/* Replaces the default domain of the device's group by a new DMA domain. */
int fresh_domain(const char *bdf);

/* Interrupts: their numbers, how often they came, on which chip they are. */
int irqs_of(const char *bdf, int *irqs, int max);
unsigned long irq_count(int irq);
unsigned long device_irq_count(const char *bdf);
int set_affinity(int irq, unsigned int cpu);

/* The device's own view: config space, and the table in its BAR. */
bool uses_msix(const char *bdf);
/* Is the function masked as a whole? */
bool msix_masked(const char *bdf);
int msi_entries(const char *bdf, struct msi_entry *entries, int max);
int write_msi_address(const char *bdf, int index, u64 addr);
int read_doorbell(struct doorbell *doorbell);
unsigned int requester_id(const char *bdf);

/* Asks the host (see vm/harness/vm.py); -ENODEV where nobody answers. */
__printf(1, 2)
int ask_host(const char *fmt, ...);

/* Work; each returns 0 only if the data was right. */
int find_disk(const char *bdf, char *node, size_t size);
int read_disk(const char *bdf, int passes);
int find_netdev(const char *bdf, char *name, size_t size);
int exchange_frames(const char *to, const char *from, int count);
int read_rng(const char *bdf);
int work(const char *role_name);

/* The series' own interface; absent on a kernel without it. */
#define DOORBELLS	"/sys/kernel/debug/iommu/msi/doorbells"
#define INTERRUPTS	"/sys/kernel/debug/iommu/msi/interrupts"
#define TRACING		"/sys/kernel/tracing"
#define MSI_EVENTS	TRACING "/events/iommu_msi"

struct doorbell_row {
	unsigned int domain, granule, users;
	char type[16], chip[32];
	u64 doorbell, iova;
};

struct interrupt_row {
	char device[32], chip[32];
	unsigned int group, domain, irq;
	u64 doorbell, iova;
};

int doorbell_rows(struct doorbell_row *rows, int max);
int interrupt_rows(struct interrupt_row *rows, int max);
/* The row of a device's first interrupt; -ENOENT if it has none. */
int interrupt_row_of(const char *bdf, struct interrupt_row *row);

void trace_start(void);
/* Lines of an event since trace_start() that contain @text ("" for all). */
int trace_count(const char *event, const char *text);

void sleep_ms(int ms);
/*
 * The end of the kernel's log, as a file to read on from; and the records that
 * came since it was last read and contain @text.
 */
int log_mark(void);
int log_count(int mark, const char *text);

#endif
