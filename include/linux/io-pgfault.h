/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O page faults: what IOMMU drivers report, and what handlers answer
 *
 * See Documentation/driver-api/iopf.rst.
 */
#ifndef _LINUX_IO_PGFAULT_H
#define _LINUX_IO_PGFAULT_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/list.h>
#include <linux/types.h>

struct device;
struct iommu_attach_handle;
struct iommu_domain;
struct iommu_fault_param;
struct iopf_queue;

#define IOMMU_FAULT_PERM_READ	BIT(0)
#define IOMMU_FAULT_PERM_WRITE	BIT(1)
#define IOMMU_FAULT_PERM_EXEC	BIT(2)
#define IOMMU_FAULT_PERM_PRIV	BIT(3)

/**
 * enum iommu_fault_type - what a fault record is
 * @IOMMU_FAULT_PAGE_REQ: the device waits for a page and expects a response
 */
enum iommu_fault_type {
	IOMMU_FAULT_PAGE_REQ = 1,
};

#define IOMMU_FAULT_PAGE_REQUEST_PASID_VALID	BIT(0)
#define IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE	BIT(1)
#define IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID	BIT(2)

/**
 * enum iopf_kind - how a device waits
 * @IOPF_PAGE_REQUEST: it sent a PCIe page request
 * @IOPF_STALL: its IOMMU holds the transaction back. A group of its own
 */
enum iopf_kind {
	IOPF_PAGE_REQUEST = 0,
	IOPF_STALL,
};

/**
 * struct iommu_fault_page_request - one page that a device waits for
 * @flags: IOMMU_FAULT_PAGE_REQUEST_* and IOMMU_FAULT_PAGE_RESPONSE_*: whether
 *	   @pasid is valid, whether this request closes its group, and whether
 *	   the response must carry the PASID
 * @pasid: Process Address Space ID
 * @grpid: page request group index, or stall tag
 * @perm: IOMMU_FAULT_PERM_*: what the access needs
 * @addr: address in the PASID's address space
 * @sid: StreamID, or another ID by which the IOMMU knows the requester; requests
 *	 that differ in it are never of one group. 0 where there is but one.
 * @kind: an &enum iopf_kind
 *
 * The response carries all of this back to the driver, of the last request.
 */
struct iommu_fault_page_request {
	u32	flags;
	u32	pasid;
	u32	grpid;
	u32	perm;
	u64	addr;
	u32	sid;
	u32	kind;
};

/**
 * struct iommu_fault - a fault record
 * @type: an &enum iommu_fault_type
 * @prm: the page request, where @type is %IOMMU_FAULT_PAGE_REQ
 */
struct iommu_fault {
	u32 type;
	struct iommu_fault_page_request prm;
};

/**
 * enum iommu_page_response_code - what the device is told
 * @IOMMU_PAGE_RESP_SUCCESS: try the access again. The pages are there, or the
 *	core had no room for the group and wants it asked for again: a stall is
 *	retried.
 * @IOMMU_PAGE_RESP_INVALID: a page of the group cannot be had: a stall is
 *	aborted
 * @IOMMU_PAGE_RESP_FAILURE: a PCIe function turns its page requests off. The
 *	core itself never sends this one.
 */
enum iommu_page_response_code {
	IOMMU_PAGE_RESP_SUCCESS = 0,
	IOMMU_PAGE_RESP_INVALID,
	IOMMU_PAGE_RESP_FAILURE,
};

/**
 * struct iommu_page_response - the answer to a group
 * @pasid: PASID of the group
 * @grpid: group index
 * @code: an &enum iommu_page_response_code
 */
struct iommu_page_response {
	u32	pasid;
	u32	grpid;
	u32	code;
};

/**
 * struct iopf_fault - a page request in a group
 * @fault: the request
 * @list: entry in &iopf_group.faults
 */
struct iopf_fault {
	struct iommu_fault fault;
	struct list_head list;
};

/**
 * struct iopf_group - a page request group, answered as a whole
 * @last_fault: the request that closed the group; the last one of @faults
 * @faults: the requests, in the order in which the device sent them
 * @fault_count: entries of @faults
 * @attach_handle: where the group's PASID (or the device itself) is attached.
 *	Valid in the domain's iopf_handler(); after that for as long as the
 *	provider of the handler keeps it, see Documentation/driver-api/iopf.rst
 * @fault_param: the device's book-keeping
 * @node: for the handler, until it frees the group
 * @cookie: for the handler
 * @withdraw: set by iopf_handler() if it wants to know that the group has been
 *	taken away: answered by somebody else. Called under the device's lock.
 *	Returns true if the handler has let go of the group, which is then
 *	freed. Else, and without this function, the handler frees it in its own
 *	time.
 */
struct iopf_group {
	struct iopf_fault last_fault;
	struct list_head faults;
	size_t fault_count;
	struct iommu_attach_handle *attach_handle;
	struct iommu_fault_param *fault_param;
	struct list_head node;
	u32 cookie;
	bool (*withdraw)(struct iopf_group *group);
};

/**
 * enum iopf_drop_reason - why requests were thrown away
 * @IOPF_DROP_RESERVE: the device overran its grant
 * @IOPF_DROP_OVERFLOW: a hardware queue lost requests
 * @IOPF_DROP_FLUSH: the PASID is about to be used for something else
 * @IOPF_DROP_DETACH: the PASID's domain was detached
 * @IOPF_DROP_REMOVE: the device was taken from its queue
 * @IOPF_DROP_FORGET: the device was reset
 */
enum iopf_drop_reason {
	IOPF_DROP_RESERVE,
	IOPF_DROP_OVERFLOW,
	IOPF_DROP_FLUSH,
	IOPF_DROP_DETACH,
	IOPF_DROP_REMOVE,
	IOPF_DROP_FORGET,
};

/**
 * typedef iopf_drain_t - the driver's drain callback
 * @cookie: what iopf_queue_alloc() was given
 * @dev: the device that is being flushed
 * @pasid: the PASID that is being flushed, or IOMMU_PASID_INVALID for all
 *
 * Returns when every request that the hardware had taken from @dev for @pasid
 * before the call has been through iommu_queue_iopf().
 *
 * Context: called without a lock of the core; may sleep, and may wait for the
 * report path.
 * Return: 0, or an errno, which ends the flush.
 */
typedef int (*iopf_drain_t)(void *cookie, struct device *dev, u32 pasid);

#ifdef CONFIG_IOMMU_IOPF
struct iopf_queue *iopf_queue_alloc(const char *name, iopf_drain_t drain,
				    void *cookie);
void iopf_queue_free(struct iopf_queue *queue);
int iopf_queue_add_device(struct iopf_queue *queue, struct device *dev);
int iopf_queue_add_device_granted(struct iopf_queue *queue, struct device *dev,
				  unsigned int granted);
int iopf_queue_set_granted(struct device *dev, unsigned int granted);
void iopf_queue_remove_device(struct iopf_queue *queue, struct device *dev);
int iopf_queue_flush_dev(struct device *dev, u32 pasid);
int iopf_queue_discard_partial(struct iopf_queue *queue);
int iopf_device_discard_partial(struct device *dev);
int iopf_device_forget(struct device *dev);

int iommu_queue_iopf(struct device *dev, const struct iommu_fault *fault);
int iommu_report_device_fault(struct device *dev, struct iopf_fault *evt);

int iopf_group_response(struct iopf_group *group,
			enum iommu_page_response_code code);
void iopf_group_dequeue(struct iopf_group *group);
void iopf_free_group(struct iopf_group *group);

int iopf_mm_init_domain(struct iommu_domain *domain);
void iopf_mm_exit_domain(struct iommu_domain *domain);

void iopf_detach_handle(struct device *dev, u32 pasid,
			struct iommu_attach_handle *handle);
#else
static inline struct iopf_queue *
iopf_queue_alloc(const char *name, iopf_drain_t drain, void *cookie)
{
	return NULL;
}

static inline void iopf_queue_free(struct iopf_queue *queue)
{
}

static inline int
iopf_queue_add_device(struct iopf_queue *queue, struct device *dev)
{
	return -ENODEV;
}

static inline int
iopf_queue_add_device_granted(struct iopf_queue *queue, struct device *dev,
			      unsigned int granted)
{
	return -ENODEV;
}

static inline int
iopf_queue_set_granted(struct device *dev, unsigned int granted)
{
	return -ENODEV;
}

static inline void
iopf_queue_remove_device(struct iopf_queue *queue, struct device *dev)
{
}

static inline int iopf_queue_flush_dev(struct device *dev, u32 pasid)
{
	return -ENODEV;
}

static inline int iopf_queue_discard_partial(struct iopf_queue *queue)
{
	return -ENODEV;
}

static inline int iopf_device_discard_partial(struct device *dev)
{
	return -ENODEV;
}

static inline int iopf_device_forget(struct device *dev)
{
	return -ENODEV;
}

static inline int
iommu_queue_iopf(struct device *dev, const struct iommu_fault *fault)
{
	return -ENODEV;
}

static inline int
iommu_report_device_fault(struct device *dev, struct iopf_fault *evt)
{
	return -ENODEV;
}

static inline int iopf_group_response(struct iopf_group *group,
				      enum iommu_page_response_code code)
{
	return -ENODEV;
}

static inline void iopf_group_dequeue(struct iopf_group *group)
{
}

static inline void iopf_free_group(struct iopf_group *group)
{
}

static inline int iopf_mm_init_domain(struct iommu_domain *domain)
{
	return -ENODEV;
}

static inline void iopf_mm_exit_domain(struct iommu_domain *domain)
{
}

static inline void iopf_detach_handle(struct device *dev, u32 pasid,
				      struct iommu_attach_handle *handle)
{
}
#endif /* CONFIG_IOMMU_IOPF */

#endif /* _LINUX_IO_PGFAULT_H */
