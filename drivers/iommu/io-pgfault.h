/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * I/O page faults: what the files of the core share
 *
 * Vocabulary
 *   request	one page that a device waits for: a PCIe page request, or a
 *		transaction that the IOMMU stalled
 *   group	requests that are answered together. The request flagged as
 *		last closes it; before that it is partial. A stall is a group
 *   handler	what resolves a group: iopf_handler() of the domain that the
 *		group's PASID is attached to, and whoever that hands it to
 *   provider	a handler that keeps groups until user space answers (iommufd)
 *   reserve	groups and requests, and what handlers need to run, allocated
 *		by what the device was granted. The report path never allocates
 *   withdraw	to answer a group behind its handler's back
 *   husk	a withdrawn group that its handler has not freed
 *   ask again	the answer SUCCESS for a group that was not resolved: the device
 *		repeats what it still needs. Nothing is lost by it
 *   run	responses that one section of the device's lock sends
 *
 * Files, each of which calls only those below it
 *   io-pgfault.c		queues, devices, the reserve, reports, groups
 *   io-pgfault-mm.c		a handler: lanes, resolving against an mm
 *   io-pgfault-respond.c	answers, withdrawing, flush, the time limit
 *   (this file)		the reserve's pools
 *
 * States of a group; &iommu_fault_param.lock protects them
 *
 *	FREE ----> PARTIAL --> HANDED --> ANSWERED --> FREE
 *	  \____________________/   \____> WITHDRAWN ___/
 *
 *   HANDED	its handler has it, and nobody has answered
 *   ANSWERED	its handler has answered, and has yet to free it
 *   WITHDRAWN	somebody else has answered: a husk
 * The step out of HANDED is the response: page_response() is called in the same
 * section of the lock, so there is one response, and when the lock is free
 * none is under way. That is why remove, detach and flush wait for nobody who
 * sends one.
 *
 * Lifetimes
 *   - &iommu_fault_param.users counts the registration, groups out of the
 *     reserve, lanes, and flushes. Freed at zero, after a grace period, for the
 *     report path finds it under RCU.
 *   - A group goes back to the reserve when its handler frees it, or in the
 *     same section as the response where the handler says so.
 *   - &iopf_group.attach_handle is valid under the device's lock until the
 *     group is withdrawn or answered: iopf_detach_handle() withdraws what no
 *     provider has before it returns, and a provider answers what it owns
 *     before it frees the handle.
 *
 * The reserve (F2)
 *   A device that keeps to its grant of n requests has n groups outstanding at
 *   most. It finds a free group, for of those out of the reserve
 *   - at most n are PARTIAL or HANDED,
 *   - at most IOPF_SLACK are ANSWERED: so many handlers may be between response
 *     and free at the same time,
 *   - each husk has been replaced: whoever withdraws a group that its handler
 *     keeps first allocates another one with its requests and its lane. These
 *     take the places of the husk's, which are freed instead of going back.
 *     There are as many husks as lanes that cannot end, and at most n of
 *     providers: one that does not give them back gets no more groups
 *     meanwhile, and the device is told to ask again.
 *   A request that finds no room is dropped. Its group is answered SUCCESS when
 *   the last request comes, with what there was room for: the device then asks
 *   again for the rest, as after an overflow. So nobody needs to remember which
 *   groups lost requests.
 *
 * Locks, outermost first
 *   iopf_queue::lock, dev_iommu::lock, iopf_devices_lock	(mutexes)
 *   iommu_fault_param::lock					(spinlock)
 *   the group's pasid_array, the provider's lock (in iopf_handler()),
 *   iopf_mm::lock, what the driver's page_response() takes	(spinlocks)
 * Nothing here is taken from hard interrupts or softirqs: a driver whose fault
 * interrupt is not threaded reports from a thread of it
 * (request_threaded_irq()). The drain
 * callback is called without a lock of the core.
 *
 * Flush has two sides; the report path may hold a driver's lock, so a flush must
 * not hold what the report path needs:
 *
 *	CPU0, flush				CPU1, interrupt thread
 *	iopf_queue_flush_dev(dev, pasid)	driver takes its lock
 *	  drain(cookie, dev, pasid)		iommu_queue_iopf()
 *	    waits until CPU1 is past		  takes param->lock
 *	    what was in the hardware		  hands the group over
 *	  takes param->lock			  drops param->lock
 *	  drops partials, counts groups		driver drops its lock
 *	  drops param->lock
 *	  waits for those groups		lane: param->lock, answers,
 *	  withdraws what takes too long		      counts down
 */
#ifndef _IO_PGFAULT_H
#define _IO_PGFAULT_H

#include <linux/hashtable.h>
#include <linux/io-pgfault.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* Handlers that may be between response and free at the same time. */
#define IOPF_SLACK		8
/* Lanes of one device in one address space, at most. */
#define IOPF_LANES		16
/* What a device is granted that did not say. */
#define IOPF_DEFAULT_GRANT	128
#define IOPF_MAX_GRANT		65536
/* Partial groups are hashed: log2 of the number of buckets. */
#define IOPF_HASH_BITS		7
/* A flush withdraws what has not ended after so long. */
#define IOPF_FLUSH_MS		1000
/* Latency: bucket n counts [2^n, 2^(n+1)) us, the first also what is below. */
#define IOPF_BUCKETS		24

struct iommu_page_response;

/**
 * enum iopf_group_state - how far a group is, see the top of this file
 * @IOPF_FREE: in the reserve
 * @IOPF_PARTIAL: its last request has not come
 * @IOPF_HANDED: its handler has it
 * @IOPF_ANSWERED: its handler has answered
 * @IOPF_WITHDRAWN: somebody else has answered
 */
enum iopf_group_state {
	IOPF_FREE,
	IOPF_PARTIAL,
	IOPF_HANDED,
	IOPF_ANSWERED,
	IOPF_WITHDRAWN,
};

/**
 * struct iopf_slot - a group, with what the core keeps of it
 * @group: what handlers see
 * @link: in a pool, or among the device's partial or unanswered groups
 * @hash: among the partial groups, by @key
 * @key: PASID and group index
 * @seq: place in the order of groups of this device
 * @reported: when the last request came, monotonic, ns
 * @bond: where lanes find the group
 * @lane: the lane that resolves it, or NULL
 * @state: how far the group is
 * @owned: a provider has it: flush does not wait for it
 * @replaced: a husk; another group has its place in the reserve
 * @nr_replaced: so many of its requests have been replaced likewise
 *
 * All protected by &iommu_fault_param.lock.
 */
struct iopf_slot {
	struct iopf_group group;
	struct list_head link;
	struct hlist_node hash;
	u64 key;
	u64 seq;
	u64 reported;
	struct iopf_bond *bond;
	struct iopf_lane *lane;
	u8 state;
	bool owned;
	bool replaced;
	unsigned int nr_replaced;
};

/**
 * struct iopf_mm - an address space that devices fault in, once for each mm
 * @mm: of which it holds a reference, but not a user
 * @wq: runs its lanes, and no others
 * @refs: domains, bonds and lanes. A removal may see to a bond's groups when
 *	  the domain is gone
 * @node: among all, protected by iopf_mms_lock
 * @release: frees it
 * @refused: groups answered INVALID since the last that was resolved; a hint
 * @lock: protects what follows
 * @users: lanes that are in it. While there are some it holds a user of @mm
 * @lanes: these, &iopf_lane.node
 * @dead: nobody but lanes used it: it is not entered any more
 */
struct iopf_mm {
	struct mm_struct *mm;
	struct workqueue_struct *wq;
	refcount_t refs;
	struct list_head node;
	struct work_struct release;
	unsigned int refused;

	/* protects what follows */
	spinlock_t lock;
	unsigned int users;
	struct list_head lanes;
	bool dead;
};

/**
 * struct iopf_bond - a device that has groups in an address space
 * @node: in &iommu_fault_param.bonds, or in the reserve
 * @starved: in &iommu_fault_param.starved, or empty
 * @as: the address space
 * @ready: groups that no lane has, in order, &iopf_group.node
 * @coming: a lane that is queued and has not begun, or NULL
 * @lanes: how many it has, that one included
 *
 * All protected by &iommu_fault_param.lock.
 */
struct iopf_bond {
	struct list_head node;
	struct list_head starved;
	struct iopf_mm *as;
	struct list_head ready;
	struct iopf_lane *coming;
	unsigned int lanes;
};

/**
 * struct iopf_lane - a work item that resolves groups, one at a time
 * @node: in the reserve, or in &iopf_mm.lanes, protected by its lock
 * @work: on the address space's workqueue
 * @param: the device
 * @as: the address space, of which it holds a reference
 * @bond: both; protected by the device's lock. NULL once the group that the
 *	lane resolves has been withdrawn: it is none of the bond's any more
 * @task: runs it
 * @replaced: it was lost, and another lane has its place in the reserve;
 *	protected by the device's lock
 */
struct iopf_lane {
	struct list_head node;
	struct work_struct work;
	struct iommu_fault_param *param;
	struct iopf_mm *as;
	struct iopf_bond *bond;
	struct task_struct *task;
	bool replaced;
};

/**
 * struct iopf_stats - what a device did, since it was added
 * @requests: page requests taken
 * @groups: groups handed to a handler
 * @responses: groups answered, by &enum iommu_page_response_code
 * @refused: of those, groups told to ask again since the device overran its
 *	grant
 * @again: of those, groups told to ask again for another reason
 * @timeouts: of those, groups answered by the time limit
 * @withdrawn: of those, groups taken away from their handler
 * @forgotten: groups that were never answered, for the device was reset
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
	u64 again;
	u64 timeouts;
	u64 withdrawn;
	u64 forgotten;
	u64 dropped;
	u64 markers;
	u64 overflows;
	u64 latency[IOPF_BUCKETS];
};

/**
 * struct iopf_pool - one kind of thing in the reserve
 * @free: those that nobody uses
 * @offset: of the list_head in each
 * @cache: where they come from
 * @nr: how many there are, used or not, but for those that were replaced
 * @nr_free: how many are in @free
 * @want: how many there shall be; what comes back beyond that is freed
 *
 * Protected by &iommu_fault_param.lock.
 */
struct iopf_pool {
	struct list_head free;
	unsigned int offset;
	struct kmem_cache *cache;
	unsigned int nr;
	unsigned int nr_free;
	unsigned int want;
};

/**
 * struct iopf_queue - devices that one IOMMU, or one of its queues, serves
 * @drain: the driver's drain callback, or NULL
 * @cookie: its first argument
 * @lock: protects @devices
 * @devices: &iommu_fault_param.queue_list
 * @name: of the queue
 */
struct iopf_queue {
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
 * @rcu: the report path finds the device under RCU
 * @respond: the driver's page_response()
 * @respond_end: the driver's page_response_end(), or NULL
 * @lock: protects all that follows, and the groups
 * @granted: requests that the device may have outstanding
 * @removed: the device has been taken from its queue
 * @expiring: @expire is scheduled
 * @users: the registration, groups out of the reserve, lanes, flushes
 * @seq: of the youngest group
 * @handle: what @handle_pasid is attached by, or NULL
 * @handle_pasid: PASID of the last group
 * @provider: the handler that last took groups for user space
 * @pending: groups without response, in order
 * @partials: groups without last request, in order
 * @in_flight: number of groups in @pending
 * @nr_partial: number of groups in @partials
 * @husks: withdrawn groups that a provider has
 * @groups: the reserve of groups, &iopf_slot.link
 * @requests: the reserve of requests that are not the last, &iopf_fault.list
 * @lanes: the reserve of lanes
 * @bonds_free: the reserve of bonds
 * @bonds: those in use
 * @starved: of those, bonds for which there was no lane
 * @waiters: flushes that wait for groups
 * @expire: enforces the time limit
 * @stats: counters
 * @buckets: heads of the hash of partial groups
 */
struct iommu_fault_param {
	struct device *dev;
	struct iopf_queue *queue;
	struct list_head queue_list;
	struct list_head all_node;
	const char *name;
	struct rcu_head rcu;
	void (*respond)(struct device *dev, struct iopf_fault *evt,
			struct iommu_page_response *msg);
	void (*respond_end)(struct device *dev);

	/* protects all that follows */
	spinlock_t lock;
	unsigned int granted;
	bool removed;
	bool expiring;
	unsigned int users;
	u64 seq;
	struct iommu_attach_handle *handle;
	u32 handle_pasid;
	int (*provider)(struct iopf_group *group);
	struct list_head pending;
	struct list_head partials;
	unsigned int in_flight;
	unsigned int nr_partial;
	unsigned int husks;
	struct iopf_pool groups;
	struct iopf_pool requests;
	struct iopf_pool lanes;
	struct iopf_pool bonds_free;
	struct list_head bonds;
	struct list_head starved;
	struct list_head waiters;
	struct delayed_work expire;
	struct iopf_stats stats;
	DECLARE_HASHTABLE(buckets, IOPF_HASH_BITS);
};

static inline struct iopf_slot *iopf_slot_of(struct iopf_group *group)
{
	return container_of(group, struct iopf_slot, group);
}

/* Takes one from a pool, or NULL. */
static inline void *iopf_pool_get(struct iopf_pool *pool)
{
	struct list_head *node = pool->free.next;

	if (!pool->nr_free)
		return NULL;
	list_del(node);
	pool->nr_free--;
	return (void *)node - pool->offset;
}

/* Gives one back, which is on no list. */
static inline void iopf_pool_put(struct iopf_pool *pool, void *item)
{
	if (unlikely(pool->nr > pool->want)) {
		pool->nr--;
		kmem_cache_free(pool->cache, item);
		return;
	}
	list_add(item + pool->offset, &pool->free);
	pool->nr_free++;
}

/*
 * Puts one that was allocated in the place of one in use, which is then freed
 * by who has it.
 */
static inline void iopf_pool_swap(struct iopf_pool *pool, void *item)
{
	list_add(item + pool->offset, &pool->free);
	pool->nr_free++;
}

/* Adds one that was allocated. */
static inline void iopf_pool_add(struct iopf_pool *pool, void *item)
{
	pool->nr++;
	iopf_pool_swap(pool, item);
}

/* io-pgfault-respond.c */
void iopf_free_param(struct iommu_fault_param *param);
bool iopf_put_locked(struct iommu_fault_param *param);
void iopf_put_param(struct iommu_fault_param *param);
struct iommu_fault_param *iopf_get_param(struct device *dev);
bool iopf_pasid_matches(u64 key, u32 pasid);
void iopf_drop_partial(struct iommu_fault_param *param, struct iopf_slot *slot,
		       enum iopf_drop_reason why);
void iopf_drop_partials(struct iommu_fault_param *param, u32 pasid,
			enum iopf_drop_reason why);
void iopf_tell(struct iommu_fault_param *param, struct iopf_fault *evt,
	       enum iommu_page_response_code code, u64 latency);
void iopf_end_run(struct iommu_fault_param *param);
void iopf_answer(struct iopf_slot *slot, enum iommu_page_response_code code);
bool iopf_recycle(struct iopf_slot *slot);
void iopf_withdraw_all(struct iommu_fault_param *param);
void iopf_arm_timeout(struct iommu_fault_param *param);
void iopf_expire(struct work_struct *work);

/* io-pgfault-mm.c */
int iopf_mm_handler(struct iopf_group *group);
void iopf_serve_starved(struct iommu_fault_param *param);

/* The time limit; 0 for none. */
extern unsigned int iopf_timeout_ms;

/* All devices on queues, and what protects the list. */
extern struct list_head iopf_devices;
extern struct mutex iopf_devices_lock;

#endif /* _IO_PGFAULT_H */
