/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fake IOMMU that records what it is told, for the tests of I/O page faults
 */
#ifndef _IO_PGFAULT_FAKE_H
#define _IO_PGFAULT_FAKE_H

#include <linux/device.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/platform_device.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#define IOPF_FAKE_RECORDS	1024

/**
 * struct iopf_fake_record - a response that the device got
 * @prm: the last request of the group
 * @code: the answer
 */
struct iopf_fake_record {
	struct iommu_fault_page_request prm;
	u32 code;
};

/**
 * struct iopf_fake - a device behind the fake IOMMU
 * @pdev: the device
 * @name: of the device
 * @lock: protects what follows
 * @wait: woken by each response
 * @responses: number of responses
 * @codes: of those, by code
 * @records: the first IOPF_FAKE_RECORDS of them
 * @closed: responses are not expected any more
 * @late: responses that came nevertheless
 * @runs: calls of page_response_end()
 * @respond: called with each response, under the core's lock, or NULL
 * @priv: for @respond
 */
struct iopf_fake {
	struct platform_device *pdev;
	const char *name;
	/* protects what follows */
	spinlock_t lock;
	wait_queue_head_t wait;
	unsigned long responses;
	unsigned long codes[3];
	struct iopf_fake_record records[IOPF_FAKE_RECORDS];
	bool closed;
	unsigned long late;
	unsigned long runs;
	void (*respond)(struct iopf_fake *fake,
			const struct iommu_fault_page_request *prm, u32 code);
	void *priv;
};

struct iopf_fake *iopf_fake_create(const char *name, int id);
void iopf_fake_destroy(struct iopf_fake *fake);
void iopf_fake_reset(struct iopf_fake *fake);
void iopf_fake_expect(struct iopf_fake *fake, bool expected);
bool iopf_fake_wait(struct iopf_fake *fake, unsigned long responses);

static inline struct device *iopf_fake_dev(struct iopf_fake *fake)
{
	return &fake->pdev->dev;
}

/**
 * struct iopf_fake_domain - a domain whose handler keeps the groups it gets
 * @domain: what PASIDs are attached to
 * @lock: protects what follows
 * @groups: that the handler got and nobody has taken
 * @count: of groups that the handler got
 */
struct iopf_fake_domain {
	struct iommu_domain domain;
	/* protects what follows */
	spinlock_t lock;
	struct list_head groups;
	unsigned int count;
};

void iopf_fake_domain_init(struct iopf_fake_domain *kept,
			   int (*handler)(struct iopf_group *group));
int iopf_fake_keep(struct iopf_group *group);
struct iopf_group *iopf_fake_next(struct iopf_fake_domain *kept);

#endif /* _IO_PGFAULT_FAKE_H */
