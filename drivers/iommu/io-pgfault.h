/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O page faults: what the files of the core share
 */
#ifndef _IO_PGFAULT_H
#define _IO_PGFAULT_H

#include <linux/io-pgfault.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/time64.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

/* Groups of one device that are resolved at the same time, at most. */
#define IOPF_LANES		16
/*
 * A device gets its credit back with the response, a little before the group's
 * memory is free: so many groups may be in between, at most. Each lane may have
 * two, one that it is answering and the next, which has been withdrawn.
 */
#define IOPF_SLACK		(2 * IOPF_LANES + 8)
/* So many groups a lane resolves before it lets writers at their VMA. */
#define IOPF_BATCH		16
/* A device that was quiet so long may have a fault resolved where it came. */
#define IOPF_QUIET_NS		(100 * NSEC_PER_USEC)
/* What a device is granted that did not say. */
#define IOPF_DEFAULT_GRANT	128
#define IOPF_MAX_GRANT		65536
/* Latency: bucket n counts [2^n, 2^(n+1)) us, the first also what is below. */
#define IOPF_BUCKETS		24

/**
 * enum iopf_group_state - how far a group is
 * @IOPF_FREE: in the reserve
 * @IOPF_PARTIAL: its last request has not come
 * @IOPF_QUEUED: waits for a lane
 * @IOPF_RUNNING: its handler has it
 * @IOPF_RESPONDING: somebody is handing the response to the driver
 * @IOPF_ANSWERED: the driver has the response
 */
enum iopf_group_state {
	IOPF_FREE,
	IOPF_PARTIAL,
	IOPF_QUEUED,
	IOPF_RUNNING,
	IOPF_RESPONDING,
	IOPF_ANSWERED,
};

/**
 * struct iopf_stats - what a device did, since it was added
 * @requests: page requests taken
 * @groups: groups taken
 * @responses: groups answered, by &enum iommu_page_response_code
 * @refused: of those, groups that the reserve had no room for
 * @timeouts: of those, groups answered by the time limit
 * @withdrawn: of those, groups taken away from their handler
 * @dropped: requests thrown away
 * @markers: PASID stop markers
 * @overflows: times that partial groups were discarded on the driver's order
 * @latency: groups by time from report to response
 */
struct iopf_stats {
	u64 requests;
	u64 groups;
	u64 responses[3];
	u64 refused;
	u64 timeouts;
	u64 withdrawn;
	u64 dropped;
	u64 markers;
	u64 overflows;
	u64 latency[IOPF_BUCKETS];
};

/**
 * struct iopf_walk - what a lane keeps from group to group
 * @mm: an address space, with a reference on its users, or NULL
 * @vma: a VMA of it, locked for reading, or NULL
 * @groups: how many have been resolved in @mm without giving it up
 * @stay: the next group is in @mm as well
 */
struct iopf_walk {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned int groups;
	bool stay;
};

/**
 * struct iopf_lane - a work item that resolves groups of one device
 * @work: on the queue's workqueue
 * @node: in &iommu_fault_param.lanes_idle
 * @param: the device
 */
struct iopf_lane {
	struct work_struct work;
	struct list_head node;
	struct iommu_fault_param *param;
};

/**
 * struct iopf_queue - devices that share a workqueue
 * @wq: resolves the groups
 * @drain: the driver's drain callback, or NULL
 * @cookie: its first argument
 * @lock: protects @devices
 * @devices: &iommu_fault_param.queue_list
 * @name: of the queue
 */
struct iopf_queue {
	struct workqueue_struct *wq;
	iopf_drain_t drain;
	void *cookie;
	/* protects devices */
	struct mutex lock;
	struct list_head devices;
	char name[32];
};

/**
 * struct iommu_fault_param - what the core knows of one device
 * @dev: the device; not to be used once @removed
 * @queue: its queue; not to be used once @removed
 * @queue_list: in &iopf_queue.devices, protected by &iopf_queue.lock
 * @all_node: in the list of all devices, protected by its lock
 * @name: of the device, kept for debugfs and tracing
 * @granted: requests that the device may have outstanding
 * @rcu: the report path finds the device under RCU
 * @groups: the reserve of groups, @granted + IOPF_SLACK of them
 * @faults: the reserve of requests that are not the last, @granted of them
 * @buckets: heads of the hash of partial groups
 * @spoilt: keys of groups that were dropped for want of memory, plus one; a
 *	    direct-mapped table of the size of @buckets
 * @hash_bits: log2 of the size of @buckets
 * @lock: protects all that follows, and the groups
 * @removed: the device has been taken from its queue
 * @expiring: @expire is scheduled
 * @lane_coming: a lane has been queued and has not begun
 * @users: the registration, groups out of the reserve, lanes, flushes
 * @refusing: INVALID responses under way that have no group
 * @seq: of the youngest group
 * @last_reported: when that came
 * @handle: what @handle_pasid is attached by, or NULL
 * @handle_pasid: PASID of the last group
 * @first: a group that the reporting thread shall try first, for a moment
 * @pending: groups without response, in order
 * @partials: groups without last request, in order
 * @ready: groups for the lanes, in order
 * @free_groups: unused groups
 * @free_faults: unused requests
 * @in_flight: number of groups in @pending
 * @nr_partial: number of groups in @partials
 * @waiters: flushes and others that wait for groups
 * @wait: for @refusing to become zero
 * @lanes_idle: lanes that are neither queued nor running
 * @lanes: all lanes
 * @expire: enforces the time limit
 * @stats: counters
 */
struct iommu_fault_param {
	struct device *dev;
	struct iopf_queue *queue;
	struct list_head queue_list;
	struct list_head all_node;
	const char *name;
	unsigned int granted;
	struct rcu_head rcu;

	struct iopf_group *groups;
	struct iopf_fault *faults;
	struct hlist_head *buckets;
	u64 *spoilt;
	unsigned int hash_bits;

	/* protects all that follows */
	spinlock_t lock;
	bool removed;
	bool expiring;
	bool lane_coming;
	unsigned int users;
	unsigned int refusing;
	u64 seq;
	u64 last_reported;
	struct iommu_attach_handle *handle;
	u32 handle_pasid;
	struct iopf_group *first;
	struct list_head pending;
	struct list_head partials;
	struct list_head ready;
	struct list_head free_groups;
	struct list_head free_faults;
	unsigned int in_flight;
	unsigned int nr_partial;
	struct list_head waiters;
	wait_queue_head_t wait;
	struct list_head lanes_idle;
	struct iopf_lane lanes[IOPF_LANES];
	struct delayed_work expire;
	struct iopf_stats stats;
};

enum iommu_page_response_code iopf_mm_resolve(struct iopf_walk *walk,
					      struct iopf_group *group);
void iopf_mm_leave(struct iopf_walk *walk);
bool iopf_mm_try(struct iopf_group *group, enum iommu_page_response_code *code);
void iopf_group_enqueue(struct iopf_group *group);
bool iopf_group_withdrawn(struct iopf_group *group);

/* The time limit; 0 for none. */
extern unsigned int iopf_timeout_ms;

/* All devices on queues, and what protects the list. */
extern struct list_head iopf_devices;
extern struct mutex iopf_devices_lock;

#ifdef CONFIG_DEBUG_FS
void iopf_debugfs_init(void);
#else
static inline void iopf_debugfs_init(void)
{
}
#endif

#endif /* _IO_PGFAULT_H */
