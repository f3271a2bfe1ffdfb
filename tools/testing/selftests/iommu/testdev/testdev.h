/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs here share: a queue of the endpoint iopf-testdev in this
 * process, and the endpoint's registers, which takes root.
 *
 * Functions return 0 or a negative errno unless they say otherwise.
 */
#ifndef TESTDEV_H
#define TESTDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <misc/uacce/iopf_testdev.h>

#define RING_LOG2	6
#define RING_SIZE	64	/* descriptors, 2 to the RING_LOG2 */
#define MB		1048576UL

struct queue {
	int fd;
	uint32_t *regs;
	struct iopf_desc *ring;
	uint32_t prod;
};

/* The endpoint's place in sysfs, once map_bar() has found it */
extern char bdf[16];
extern size_t page;

/* Registers of a queue's own page, and any other */
uint32_t reg_read(struct queue *q, uint32_t reg);
void reg_write(struct queue *q, uint32_t reg, uint32_t val);
uint32_t bar_read(uint32_t reg);
void bar_write(uint32_t reg, uint32_t val);

uint64_t counter(int n);
uint64_t waits(void);

bool answered_once(void);
unsigned int request_pages(uint32_t pasid, const void *addr, uint32_t flags,
			   unsigned int prgi, unsigned int count);
uint32_t own_pasid(void);

int map_bar(void);
int open_node(struct queue *q, const char *node);
int queue_open(struct queue *q);
void queue_close(struct queue *q);

struct iopf_desc *submit(struct queue *q, uint32_t op, const void *src,
			 void *dst, uint64_t len, uint64_t arg);
uint32_t wait_desc(struct queue *q, struct iopf_desc *desc);
uint32_t run(struct queue *q, uint32_t op, const void *src, void *dst,
	     uint64_t len, uint64_t arg);

int set_mode(uint32_t mode);
bool has_mode(uint32_t mode);

int sysfs_write(const char *path, const char *val);
int device_write(const char *attr, const char *val);
int reset_function(void);
int unbind_driver(void);
int bind_driver(void);
int suspend_all(void);

uint32_t one_copy(const char *node, unsigned char *src, size_t len);
void *fresh(size_t len);
void fill(unsigned char *p, size_t len, unsigned int seed);

#endif
