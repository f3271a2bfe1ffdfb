// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: queues, devices, groups and responses
 *
 * Vocabulary
 *   request	one page that a device waits for: a PCIe page request, or a
 *		transaction that the IOMMU stalled
 *   group	requests that are answered together. The request flagged as
 *		last closes it; before that it is partial
 *   handler	what resolves a group: iopf_handler() of the domain that the
 *		group's PASID is attached to, and whoever that hands it to
 *   provider	a handler that keeps groups on its own lists (iommufd)
 *   lane	a work item that resolves groups against address spaces
 *   reserve	groups and requests allocated when the device was added. The
 *		report path never allocates
 *   withdraw	to answer a group behind its handler's back
 *
 * The life of a group
 *   PARTIAL -> QUEUED -> RUNNING -> RESPONDING -> ANSWERED -> FREE
 *   A group of one request starts as QUEUED. One that a provider has is
 *   RUNNING and owned. Withdrawing takes QUEUED or RUNNING to RESPONDING.
 *   Whoever moved a group to RESPONDING, and nobody else, calls
 *   page_response(), once.
 *
 * Who holds what
 *   - &iommu_fault_param.users counts the registration, groups out of the
 *     reserve, lanes, and flushes. Freed at zero, after a grace period, for the
 *     report path finds it under RCU.
 *   - A group's memory is free when neither its handler (held) nor a
 *     withdrawer (core_held) has it. The last of both recycles it.
 *   - &iopf_group.attach_handle is valid under the device's lock until the
 *     group is withdrawn or answered: iopf_detach_handle() withdraws what lanes
 *     have before it returns, and a provider answers what it owns before it
 *     frees the handle. So a queued group needs no reference on the domain, nor
 *     on the address space, which the domain has.
 *   - A lane that takes a group gets users of its address space, under the
 *     device's lock, unless the device is being removed: then nobody waits for
 *     the group any more, and the domain may be gone. Where the next group is
 *     of the same address space the lane takes it before it answers this one,
 *     and keeps users and the lock of a VMA, for IOPF_BATCH groups; else it
 *     gives them up before the answer. So who has waited for the groups of an
 *     address space finds no users of the core. What the last user has to tear
 *     down is left to others: a response does not wait for that.
 *
 * Locks, outermost first
 *   iopf_queue::lock, dev_iommu::lock, iopf_devices_lock	(mutexes)
 *   iommu_fault_param::lock					(spinlock)
 *   the group's pasid_array, the provider's lock (in iopf_handler())
 * The report path runs in a threaded interrupt or deeper; nothing here is
 * taken from hard interrupts. No lock of the core is held while the driver's
 * page_response() or drain callback runs: both may sleep. page_response() is
 * also called from within the report path, so it must not take what that holds;
 * the drain callback may. A lane may have a VMA locked for reading meanwhile,
 * so page_response() must not take mmap_lock, nor a lock under which somebody
 * takes that or touches user memory; a driver's MMU notifier, which runs with
 * mmap_lock, must not either.
 *
 * Flush has two sides; the report path holds the driver's lock, so a flush must
 * not hold what the report path needs:
 *
 *	CPU0, flush				CPU1, interrupt thread
 *	iopf_queue_flush_dev(dev, pasid)	driver takes its lock
 *	  drain(cookie, dev, pasid)		iommu_queue_iopf()
 *	    waits until CPU1 is past		  takes param->lock
 *	    what was in the hardware		  queues the group
 *	  takes param->lock			  drops param->lock
 *	  drops partials, counts groups		driver drops its lock
 *	  drops param->lock
 *	  waits for those groups		lane: page_response(), finish()
 *
 * Remove, by the state in which it finds a group:
 *   PARTIAL	recycled; it has not been promised a response
 *   QUEUED	answered INVALID and recycled
 *   RUNNING	answered INVALID; the handler's own response is swallowed, and
 *		it recycles the group when it frees it, whenever that is
 *   RESPONDING	waited for: this is a call into the driver, not a handler
 *   ANSWERED	nothing; the handler frees it
 * So remove never waits for a handler, which may wait for user space for ever.
 * A lane whose group is withdrawn is interrupted, so that it lets go of the
 * address space and is free for other groups.
 *
 * tools/testing/selftests/iommu/iopf/iopf.pml is a model of this protocol.
 */
#define pr_fmt(fmt) "iopf: " fmt

#include <linux/completion.h>
#include <linux/hash.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "io-pgfault.h"
#include "iommu-priv.h"

#define CREATE_TRACE_POINTS
#include <trace/events/io_pgfault.h>

/* PCIe Base 6.20: PASIDs have 20 bits. */
#define IOPF_PASID_LIMIT	BIT(20)

unsigned int iopf_timeout_ms;
module_param_named(timeout_ms, iopf_timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "Answer a group INVALID after so many ms (0: never)");

LIST_HEAD(iopf_devices);
/* Protects iopf_devices. */
DEFINE_MUTEX(iopf_devices_lock);

/**
 * struct iopf_match - which groups are meant
 * @pasid: of this PASID, or of any where it is IOMMU_PASID_INVALID
 * @handle: attached here, or NULL for anywhere
 * @owned: also those that a provider owns
 * @before: reported until then
 */
struct iopf_match {
	u32 pasid;
	struct iommu_attach_handle *handle;
	bool owned;
	u64 before;
};

/**
 * struct iopf_waiter - somebody waits for groups to be answered
 * @node: in &iommu_fault_param.waiters
 * @match: which groups
 * @seq: up to this one
 * @count: how many have not been answered
 * @done: completed when @count is zero
 */
struct iopf_waiter {
	struct list_head node;
	const struct iopf_match *match;
	u64 seq;
	unsigned int count;
	struct completion done;
};

/* PASID and group index: what makes two requests members of one group. */
static u64 iopf_key(const struct iommu_fault_page_request *prm)
{
	u64 key = prm->grpid;

	if (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID)
		key |= (u64)prm->pasid << 32 | BIT_ULL(63);
	return key;
}

static u32 iopf_key_pasid(u64 key)
{
	return key & BIT_ULL(63) ? (key >> 32) & (IOPF_PASID_LIMIT - 1) :
				   IOMMU_NO_PASID;
}

static bool iopf_pasid_matches(u64 key, u32 pasid)
{
	return pasid == IOMMU_PASID_INVALID || iopf_key_pasid(key) == pasid;
}

static bool iopf_matches(const struct iopf_group *group,
			 const struct iopf_match *match)
{
	if (group->owned && !match->owned)
		return false;
	if (match->handle && group->attach_handle != match->handle)
		return false;
	return group->reported <= match->before &&
	       iopf_pasid_matches(group->key, match->pasid);
}

static bool iopf_is_last(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
}

/*
 * PCIe Base 10.4.1.2.1: a PASID stop marker has Last set, neither Read nor
 * Write, and always a PASID. Nobody expects a response to it.
 */
static bool iopf_is_stop_marker(const struct iommu_fault_page_request *prm)
{
	const u32 flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE |
			  IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;

	return (prm->flags & flags) == flags &&
	       !(prm->perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE));
}

/* The book-keeping and its references */

static void iopf_free_param(struct iommu_fault_param *param)
{
	kvfree(param->groups);
	kvfree(param->faults);
	kvfree(param->buckets);
	kvfree(param->spoilt);
	kfree_const(param->name);
	kfree_rcu(param, rcu);
}

/* Returns true where the caller has to iopf_free_param() after unlocking. */
static bool iopf_put_locked(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->lock);
	return --param->users == 0;
}

static void iopf_put_param(struct iommu_fault_param *param)
{
	bool last;

	spin_lock(&param->lock);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}

/* The device's book-keeping with a reference, or NULL without a queue. */
static struct iommu_fault_param *iopf_get_param(struct device *dev)
{
	struct iommu_fault_param *param;
	bool removed;

	if (!dev->iommu)
		return NULL;
	guard(rcu)();
	param = rcu_dereference(dev->iommu->fault_param);
	if (!param)
		return NULL;
	spin_lock(&param->lock);
	removed = param->removed;
	param->users += !removed;
	spin_unlock(&param->lock);
	return removed ? NULL : param;
}

/* Groups: allocation from the reserve, and back */

static struct hlist_head *iopf_bucket(struct iommu_fault_param *param, u64 key)
{
	return &param->buckets[hash_64(key, param->hash_bits)];
}

static struct iopf_group *iopf_find_partial(struct iommu_fault_param *param,
					    u64 key)
{
	struct iopf_group *group;

	lockdep_assert_held(&param->lock);
	if (!param->nr_partial)
		return NULL;
	hlist_for_each_entry(group, iopf_bucket(param, key), hash_node)
		if (group->key == key)
			return group;
	return NULL;
}

static struct iopf_group *iopf_take_group(struct iommu_fault_param *param,
					  u64 key)
{
	struct iopf_group *group;

	lockdep_assert_held(&param->lock);
	group = list_first_entry_or_null(&param->free_groups, struct iopf_group,
					 pending_node);
	if (!group)
		return NULL;
	list_del(&group->pending_node);
	INIT_LIST_HEAD(&group->faults);
	group->fault_count = 0;
	group->key = key;
	group->resolver = NULL;
	group->owned = false;
	group->spoilt = false;
	group->withdrawn = false;
	group->responded = false;
	group->held = false;
	group->core_held = false;
	param->users++;
	return group;
}

/* Puts the group back; it is on no list. True as for iopf_put_locked(). */
static bool iopf_recycle(struct iommu_fault_param *param,
			 struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	if (group->state != IOPF_PARTIAL)
		list_del(&group->last_fault.list);
	list_splice(&group->faults, &param->free_faults);
	list_add(&group->pending_node, &param->free_groups);
	group->state = IOPF_FREE;
	return iopf_put_locked(param);
}

static void iopf_unlink_partial(struct iommu_fault_param *param,
				struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	hlist_del(&group->hash_node);
	list_del(&group->pending_node);
	param->nr_partial--;
}

static void iopf_drop_partial(struct iommu_fault_param *param,
			      struct iopf_group *group,
			      enum iopf_drop_reason why)
{
	trace_iopf_drop(param->name, group->key, group->fault_count, why);
	param->stats.dropped += group->fault_count;
	iopf_unlink_partial(param, group);
	/* Never the last user: the caller is one. */
	iopf_recycle(param, group);
}

/*
 * A group for which there was no memory: its last request, if it comes, shall
 * not be taken for a group of its own. The table forgets the older of two that
 * collide; that one's last request is resolved, and the device asks again for
 * the other pages.
 */
static u64 *iopf_spoilt_slot(struct iommu_fault_param *param, u64 key)
{
	return &param->spoilt[hash_64(key, param->hash_bits)];
}

static bool iopf_take_spoilt(struct iommu_fault_param *param, u64 key)
{
	u64 *slot = iopf_spoilt_slot(param, key);

	lockdep_assert_held(&param->lock);
	/* The table is in use only once the device overran its grant. */
	if (!param->stats.dropped || *slot != key + 1)
		return false;
	*slot = 0;
	return true;
}

static void iopf_forget_spoilt(struct iommu_fault_param *param, u32 pasid)
{
	unsigned int i;

	lockdep_assert_held(&param->lock);
	if (!param->stats.dropped)
		return;
	for (i = 0; i < 1U << param->hash_bits; i++)
		if (iopf_pasid_matches(param->spoilt[i] - 1, pasid))
			param->spoilt[i] = 0;
}

static void iopf_drop_partials(struct iommu_fault_param *param, u32 pasid,
			       enum iopf_drop_reason why)
{
	struct iopf_group *group, *next;

	lockdep_assert_held(&param->lock);
	iopf_forget_spoilt(param, pasid);
	list_for_each_entry_safe(group, next, &param->partials, pending_node)
		if (iopf_pasid_matches(group->key, pasid))
			iopf_drop_partial(param, group, why);
}

/* Responses */

static void iopf_call_driver(struct device *dev, struct iopf_fault *evt,
			     enum iommu_page_response_code code)
{
	struct iommu_page_response resp = {
		.pasid = evt->fault.prm.pasid,
		.grpid = evt->fault.prm.grpid,
		.code = code,
	};

	dev_iommu_ops(dev)->page_response(dev, evt, &resp);
}

static void iopf_count_latency(struct iommu_fault_param *param, u64 ns)
{
	unsigned int bucket = fls64(div_u64(ns, NSEC_PER_USEC) | 1) - 1;

	param->stats.latency[min(bucket, IOPF_BUCKETS - 1U)]++;
}

/* The response has left: the group is nobody's business but its holders'. */
static void iopf_finish(struct iommu_fault_param *param,
			struct iopf_group *group,
			enum iommu_page_response_code code, u64 latency)
{
	struct iopf_waiter *waiter;

	lockdep_assert_held(&param->lock);
	group->state = IOPF_ANSWERED;
	list_del(&group->pending_node);
	param->in_flight--;
	param->stats.responses[code]++;
	iopf_count_latency(param, latency);
	list_for_each_entry(waiter, &param->waiters, node)
		if (group->seq <= waiter->seq &&
		    iopf_matches(group, waiter->match) && !--waiter->count)
			complete(&waiter->done);
}

/* Sends the response of a group that the caller moved to RESPONDING. */
static u64 iopf_send(struct iommu_fault_param *param, struct iopf_group *group,
		     enum iommu_page_response_code code)
{
	u64 latency = ktime_get_ns() - group->reported;

	trace_iopf_respond(param->name, &group->last_fault.fault.prm, code,
			   latency);
	iopf_call_driver(param->dev, &group->last_fault, code);
	return latency;
}

/*
 * Gives back the requests but the last, of a group that nobody looks at any
 * more. Before the response leaves: with it the device may send as many again.
 */
static void iopf_free_requests(struct iommu_fault_param *param,
			       struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	if (group->fault_count == 1)
		return;
	list_del(&group->last_fault.list);
	list_splice_init(&group->faults, &param->free_faults);
	list_add(&group->last_fault.list, &group->faults);
}

/* The handler's claim to answer: 0, or why it may not. */
static int iopf_claim_response(struct iommu_fault_param *param,
			       struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	if (WARN_ONCE(group->responded || !group->held,
		      "iopf: %s: group %u answered twice, by %ps\n",
		      param->name, group->last_fault.fault.prm.grpid,
		      (void *)_RET_IP_))
		return -EALREADY;
	group->responded = true;
	if (group->withdrawn)
		return -ENODEV;
	iopf_free_requests(param, group);
	group->state = IOPF_RESPONDING;
	return 0;
}

/* The handler lets go of the group. True as for iopf_put_locked(). */
static bool iopf_release_held(struct iommu_fault_param *param,
			      struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	group->held = false;
	return !group->core_held && iopf_recycle(param, group);
}

/**
 * iommu_page_response() - answer a group
 * @group: the group, which the caller got by a domain's iopf_handler()
 * @code: the answer
 *
 * The driver is told unless the group has been withdrawn: by remove, by detach
 * or by the time limit. Either way the caller then frees the group, and does
 * not look at its requests any more.
 *
 * Context: may sleep if the driver's page_response() does. Not from within
 * iopf_handler().
 * Return: 0, -ENODEV if the group was withdrawn, or -EALREADY, with a warning,
 * if the caller had answered it.
 */
int iommu_page_response(struct iopf_group *group,
			enum iommu_page_response_code code)
{
	struct iommu_fault_param *param = group->fault_param;
	u64 latency;
	int ret;

	spin_lock(&param->lock);
	ret = iopf_claim_response(param, group);
	spin_unlock(&param->lock);
	if (ret)
		return ret;

	latency = iopf_send(param, group, code);

	spin_lock(&param->lock);
	iopf_finish(param, group, code, latency);
	spin_unlock(&param->lock);
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_page_response);

/**
 * iopf_group_response() - answer a group
 * @group: the group
 * @code: the answer
 *
 * iommu_page_response() for those who do not care whether the device is there.
 */
void iopf_group_response(struct iopf_group *group,
			 enum iommu_page_response_code code)
{
	iommu_page_response(group, code);
}
EXPORT_SYMBOL_GPL(iopf_group_response);

/**
 * iopf_free_group() - give back the memory of an answered group
 * @group: the group
 *
 * A group that the caller has not answered is answered INVALID, with a warning.
 *
 * Context: as iommu_page_response().
 */
void iopf_free_group(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	bool last;

	if (WARN_ONCE(!group->responded,
		      "iopf: %s: group %u freed unanswered\n",
		      param->name, group->last_fault.fault.prm.grpid))
		iommu_page_response(group, IOMMU_PAGE_RESP_INVALID);

	spin_lock(&param->lock);
	last = iopf_release_held(param, group);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}
EXPORT_SYMBOL_GPL(iopf_free_group);

/**
 * iopf_group_dequeue() - a provider takes the group
 * @group: the group, of which nobody knows yet
 *
 * From here on flush does not wait for the group: when it is answered is up to
 * user space.
 *
 * Context: from within iopf_handler() only.
 */
void iopf_group_dequeue(struct iopf_group *group)
{
	lockdep_assert_held(&group->fault_param->lock);
	group->owned = true;
}
EXPORT_SYMBOL_GPL(iopf_group_dequeue);

/* Withdrawing */

static void iopf_mark_withdrawn(struct iopf_group *group,
				struct list_head *taken)
{
	if (group->state == IOPF_QUEUED) {
		list_del(&group->node);
		iopf_free_requests(group->fault_param, group);
	}
	/* Ends a wait for user space; iopf_run_group() clears it. */
	if (group->resolver)
		set_notify_signal(group->resolver);
	group->state = IOPF_RESPONDING;
	group->withdrawn = true;
	group->core_held = true;
	list_add_tail(&group->core_node, taken);
}

/**
 * iopf_group_withdrawn() - whether somebody else has answered a group
 * @group: the group, which the caller resolves
 *
 * Return: true if it is pointless to go on.
 */
bool iopf_group_withdrawn(struct iopf_group *group)
{
	bool withdrawn;

	spin_lock(&group->fault_param->lock);
	withdrawn = group->withdrawn;
	spin_unlock(&group->fault_param->lock);
	return withdrawn;
}

static void iopf_take_matching(struct iommu_fault_param *param,
			       const struct iopf_match *match,
			       struct list_head *taken)
{
	struct iopf_group *group;

	spin_lock(&param->lock);
	list_for_each_entry(group, &param->pending, pending_node) {
		if (group->state != IOPF_QUEUED && group->state != IOPF_RUNNING)
			continue;
		if (iopf_matches(group, match))
			iopf_mark_withdrawn(group, taken);
	}
	spin_unlock(&param->lock);
}

/* Answers a group that was taken. The caller is a user of @param. */
static void iopf_answer_taken(struct iommu_fault_param *param,
			      struct iopf_group *group)
{
	u64 latency = iopf_send(param, group, IOMMU_PAGE_RESP_INVALID);

	spin_lock(&param->lock);
	iopf_finish(param, group, IOMMU_PAGE_RESP_INVALID, latency);
	param->stats.withdrawn++;
	group->core_held = false;
	if (!group->held)
		iopf_recycle(param, group);
	spin_unlock(&param->lock);
}

static unsigned int iopf_withdraw(struct iommu_fault_param *param,
				  const struct iopf_match *match)
{
	struct iopf_group *group, *next;
	unsigned int count = 0;
	LIST_HEAD(taken);

	iopf_take_matching(param, match, &taken);
	list_for_each_entry_safe(group, next, &taken, core_node) {
		iopf_answer_taken(param, group);
		count++;
	}
	return count;
}

/* Waits until what matches now is answered. The caller is a user of @param. */
static unsigned int iopf_wait_for(struct iommu_fault_param *param,
				  const struct iopf_match *match)
{
	struct iopf_waiter waiter = { .match = match };
	struct iopf_group *group;
	unsigned int found;

	init_completion(&waiter.done);
	scoped_guard(spinlock, &param->lock) {
		list_for_each_entry(group, &param->pending, pending_node)
			waiter.count += iopf_matches(group, match);
		waiter.seq = param->seq;
		found = waiter.count;
		if (!found)
			return 0;
		list_add(&waiter.node, &param->waiters);
	}
	wait_for_completion(&waiter.done);
	scoped_guard(spinlock, &param->lock)
		list_del(&waiter.node);
	return found;
}

/**
 * iopf_detach_handle() - a domain has been detached from a device or PASID
 * @dev: the device
 * @pasid: the PASID, or IOMMU_PASID_INVALID if all may have used @handle
 * @handle: what the PASID was attached by; the IOMMU group does not know it
 *	    any more
 *
 * When this returns, no report will find @handle, no group that the core
 * resolves points to it, and their responses have been sent. Groups that a
 * provider owns are the provider's to answer. If the device is being removed at
 * the same time, that answers them, and nobody follows their handle any more.
 *
 * Context: may sleep; waits for the driver's page_response(), not for handlers.
 */
void iopf_detach_handle(struct device *dev, u32 pasid,
			struct iommu_attach_handle *handle)
{
	struct iopf_match match = {
		.pasid = pasid,
		.handle = handle,
		.before = U64_MAX,
	};
	struct iommu_fault_param *param = iopf_get_param(dev);

	if (!param)
		return;
	scoped_guard(spinlock, &param->lock) {
		param->handle = NULL;
		iopf_drop_partials(param, pasid, IOPF_DROP_DETACH);
	}
	iopf_withdraw(param, &match);
	iopf_wait_for(param, &match);
	iopf_put_param(param);
}

/* The time limit */

static void iopf_expire(struct work_struct *work)
{
	struct iommu_fault_param *param = container_of(to_delayed_work(work),
					struct iommu_fault_param, expire);
	u64 limit = (u64)READ_ONCE(iopf_timeout_ms) * NSEC_PER_MSEC;
	u64 now = ktime_get_ns();
	struct iopf_match match = {
		.pasid = IOMMU_PASID_INVALID,
		.owned = true,
		.before = now - limit,
	};
	unsigned int count = 0;

	/* A limit that was raised may reach back to before the boot. */
	if (limit && limit < now)
		count = iopf_withdraw(param, &match);

	spin_lock(&param->lock);
	param->stats.timeouts += count;
	param->expiring = limit && !param->removed &&
			  !list_empty(&param->pending);
	if (param->expiring)
		schedule_delayed_work(&param->expire,
				      nsecs_to_jiffies(limit / 8) + 1);
	spin_unlock(&param->lock);
}

static void iopf_arm_timeout(struct iommu_fault_param *param)
{
	unsigned int limit = READ_ONCE(iopf_timeout_ms);

	lockdep_assert_held(&param->lock);
	if (!limit || param->expiring)
		return;
	param->expiring = true;
	schedule_delayed_work(&param->expire, msecs_to_jiffies(limit) + 1);
}

/* Lanes */

static void iopf_start_lane(struct iommu_fault_param *param)
{
	struct iopf_lane *lane;

	lockdep_assert_held(&param->lock);
	if (param->lane_coming)
		return;
	/* Without an idle lane the busy ones will see to it. */
	lane = list_first_entry_or_null(&param->lanes_idle, struct iopf_lane,
					node);
	if (!lane)
		return;
	list_del(&lane->node);
	param->lane_coming = true;
	param->users++;
	queue_work(param->queue->wq, &lane->work);
}

static void iopf_queue_ready(struct iommu_fault_param *param,
			     struct iopf_group *group)
{
	lockdep_assert_held(&param->lock);
	group->state = IOPF_QUEUED;
	group->held = false;
	list_add_tail(&group->node, &param->ready);
	iopf_start_lane(param);
}

/*
 * A lone fault costs most for waking a worker. Where a device has been quiet,
 * the reporting thread tries its fault first; a stream of faults goes to lanes,
 * which run side by side.
 */
static bool iopf_may_try_first(const struct iommu_fault_param *param,
			       const struct iopf_group *group)
{
	return param->in_flight == 1 && group->fault_count == 1 &&
	       group->reported - param->last_reported >= IOPF_QUIET_NS;
}

/**
 * iopf_group_enqueue() - have the group resolved
 * @group: the group, with its @mm, which its domain keeps
 *
 * By a lane, or by the reporting thread if the device has been quiet.
 *
 * Context: from within iopf_handler() only.
 */
void iopf_group_enqueue(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;

	lockdep_assert_held(&param->lock);
	if (iopf_may_try_first(param, group))
		param->first = group;
	else
		iopf_queue_ready(param, group);
}

/*
 * A group is about to be resolved: it gets users of its address space, or none
 * of the latter if the process is gone. A detach does not wait for what a
 * removal is about to withdraw, so then the address space may be gone as well.
 */
static void iopf_get_users(struct iopf_group *group)
{
	lockdep_assert_held(&group->fault_param->lock);
	if (group->fault_param->removed || !mmget_not_zero(group->mm))
		group->mm = NULL;
}

static struct iopf_group *iopf_first_ready(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->lock);
	return list_first_entry_or_null(&param->ready, struct iopf_group, node);
}

/* Whether a lane stays in its address space with the next group. */
static bool iopf_may_stay(struct iommu_fault_param *param,
			  struct iopf_walk *walk)
{
	const struct iopf_group *next = iopf_first_ready(param);

	return next && next->mm == walk->mm && ++walk->groups < IOPF_BATCH;
}

/* A lane takes a group: NULL if there is none. */
static struct iopf_group *iopf_next_ready(struct iommu_fault_param *param,
					  const struct iopf_walk *walk)
{
	struct iopf_group *group = iopf_first_ready(param);

	if (!group)
		return NULL;
	list_del(&group->node);
	group->state = IOPF_RUNNING;
	group->held = true;
	if (!walk->stay)
		iopf_get_users(group);
	/* This lane may block: what else there is shall not wait for it. */
	if (!list_empty(&param->ready))
		iopf_start_lane(param);
	return group;
}

/*
 * Answers and frees a group. Called with the lock held, which it drops
 * meanwhile; iommu_page_response() and iopf_free_group() in one, with fewer
 * sections. The caller is a user of @param.
 */
static void iopf_answer_held(struct iommu_fault_param *param,
			     struct iopf_group *group,
			     enum iommu_page_response_code code,
			     struct iopf_walk *walk)
	__must_hold(&param->lock)
{
	bool claimed = !iopf_claim_response(param, group);
	u64 latency = 0;

	spin_unlock(&param->lock);
	if (!walk->stay)
		iopf_mm_leave(walk);
	if (claimed)
		latency = iopf_send(param, group, code);
	spin_lock(&param->lock);
	if (claimed)
		iopf_finish(param, group, code, latency);
	iopf_release_held(param, group);
}

/*
 * Resolves and answers a group. Drops the lock meanwhile. Returns the next if
 * that is of the same address space: others are for whoever is free first.
 */
static struct iopf_group *iopf_run_group(struct iommu_fault_param *param,
					 struct iopf_group *group,
					 struct iopf_walk *walk)
	__must_hold(&param->lock)
{
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	struct iopf_group *next;

	/* It may have been withdrawn while the one before was answered. */
	if (!group->withdrawn) {
		group->resolver = current;
		spin_unlock(&param->lock);
		code = iopf_mm_resolve(walk, group);
		spin_lock(&param->lock);
		group->resolver = NULL;
		if (group->withdrawn)
			clear_notify_signal();
	}
	walk->stay = iopf_may_stay(param, walk);
	next = walk->stay ? iopf_next_ready(param, walk) : NULL;
	iopf_answer_held(param, group, code, walk);
	return next;
}

/*
 * Tries a group in the reporting thread. What cannot be had at once is left to
 * a lane, unless it has been withdrawn meanwhile.
 */
static void iopf_run_first(struct iommu_fault_param *param,
			   struct iopf_group *group)
{
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	bool done = iopf_mm_try(group, &code), last;
	struct iopf_walk walk = {};

	spin_lock(&param->lock);
	if (done || group->withdrawn)
		iopf_answer_held(param, group, code, &walk);
	else
		iopf_queue_ready(param, group);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}

static void iopf_lane_work(struct work_struct *work)
{
	struct iopf_lane *lane = container_of(work, struct iopf_lane, work);
	struct iommu_fault_param *param = lane->param;
	struct iopf_walk walk = {};
	struct iopf_group *group;
	bool last;

	spin_lock(&param->lock);
	param->lane_coming = false;
	while ((group = iopf_next_ready(param, &walk))) {
		while (group)
			group = iopf_run_group(param, group, &walk);
	}
	list_add(&lane->node, &param->lanes_idle);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}

/* Reporting */

static bool iopf_has_handler(const struct iommu_attach_handle *handle)
{
	return !IS_ERR(handle) && handle->domain->iopf_handler;
}

/*
 * What the PASID of a request is attached by, or NULL if nobody handles its
 * faults. The last one found is remembered; iopf_detach_handle(), which is
 * called when the IOMMU group has forgotten one, forgets it.
 */
static struct iommu_attach_handle *
iopf_find_handle(struct iommu_fault_param *param,
		 const struct iommu_fault_page_request *prm)
{
	bool has_pasid = prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	ioasid_t pasid = has_pasid ? prm->pasid : IOMMU_NO_PASID;
	struct device *dev = param->dev;
	struct iommu_attach_handle *handle;

	lockdep_assert_held(&param->lock);
	if (param->handle && param->handle_pasid == pasid)
		return param->handle;
	handle = iommu_attach_handle_get(dev->iommu_group, pasid, 0);
	if (iopf_has_handler(handle)) {
		param->handle = handle;
		param->handle_pasid = pasid;
		return handle;
	}
	/* A guest's PASIDs are routed by what the device is attached to. */
	if (IS_ERR(handle) && has_pasid && dev_iommu_ops(dev)->user_pasid_table)
		handle = iommu_attach_handle_get(dev->iommu_group,
						 IOMMU_NO_PASID,
						 IOMMU_DOMAIN_NESTED);
	return iopf_has_handler(handle) ? handle : NULL;
}

static struct iopf_group *iopf_new_partial(struct iommu_fault_param *param,
					   u64 key)
{
	struct iopf_group *group = iopf_take_group(param, key);

	if (!group)
		return NULL;
	group->state = IOPF_PARTIAL;
	hlist_add_head(&group->hash_node, iopf_bucket(param, key));
	list_add_tail(&group->pending_node, &param->partials);
	param->nr_partial++;
	return group;
}

/* A request that is not the last. It never gets a response of its own. */
static void iopf_add_partial(struct iommu_fault_param *param,
			     const struct iommu_fault *fault)
{
	u64 key = iopf_key(&fault->prm);
	struct iopf_fault *iopf;
	struct iopf_group *group;

	lockdep_assert_held(&param->lock);
	group = iopf_find_partial(param, key) ?: iopf_new_partial(param, key);
	if (!group) {
		*iopf_spoilt_slot(param, key) = key + 1;
		goto drop;
	}
	iopf = list_first_entry_or_null(&param->free_faults, struct iopf_fault,
					list);
	if (!iopf) {
		group->spoilt = true;
		goto drop;
	}
	iopf->fault = *fault;
	list_move_tail(&iopf->list, &group->faults);
	group->fault_count++;
	return;

drop:
	param->stats.dropped++;
	trace_iopf_drop(param->name, key, 1, IOPF_DROP_RESERVE);
}

/*
 * The group that a last request closes, or NULL if there is no room. A partial
 * group that has waited longest makes room if need be: a device that keeps to
 * its grant never gets there.
 */
static struct iopf_group *iopf_close_group(struct iommu_fault_param *param,
					   u64 key)
{
	struct iopf_group *group = iopf_find_partial(param, key), *oldest;

	lockdep_assert_held(&param->lock);
	if (group) {
		iopf_unlink_partial(param, group);
		return group;
	}
	group = iopf_take_group(param, key);
	oldest = list_first_entry_or_null(&param->partials, struct iopf_group,
					  pending_node);
	if (group || !oldest)
		return group;
	*iopf_spoilt_slot(param, oldest->key) = oldest->key + 1;
	iopf_drop_partial(param, oldest, IOPF_DROP_RESERVE);
	return iopf_take_group(param, key);
}

static void iopf_append_last(struct iommu_fault_param *param,
			     struct iopf_group *group,
			     const struct iommu_fault *fault)
{
	group->last_fault.fault = *fault;
	list_add_tail(&group->last_fault.list, &group->faults);
	group->fault_count++;
	group->state = IOPF_RUNNING;
	group->held = true;
	group->seq = ++param->seq;
	group->reported = ktime_get_ns();
	trace_iopf_group(param->name, &fault->prm, group->fault_count);
}

/* Hands the group to its handler: 0, or the group is recycled. */
static int iopf_hand_over(struct iommu_fault_param *param,
			  struct iopf_group *group)
{
	int ret;

	lockdep_assert_held(&param->lock);
	list_add_tail(&group->pending_node, &param->pending);
	param->in_flight++;
	ret = group->attach_handle->domain->iopf_handler(group);
	if (ret) {
		list_del(&group->pending_node);
		param->in_flight--;
		iopf_recycle(param, group);
		return -EBUSY;
	}
	param->last_reported = group->reported;
	param->stats.groups++;
	iopf_arm_timeout(param);
	return 0;
}

/*
 * A last request. Returns 0 if a handler has the group, -EINVAL if there is no
 * handler, -EBUSY if the group is to be answered INVALID.
 */
static int iopf_add_last(struct iommu_fault_param *param,
			 const struct iommu_fault *fault)
{
	u64 key = iopf_key(&fault->prm);
	bool spoilt = iopf_take_spoilt(param, key);
	struct iopf_group *group = iopf_close_group(param, key);

	lockdep_assert_held(&param->lock);
	if (!group)
		return -EBUSY;
	iopf_append_last(param, group, fault);
	if (spoilt || group->spoilt) {
		iopf_recycle(param, group);
		return -EBUSY;
	}
	group->attach_handle = iopf_find_handle(param, &fault->prm);
	if (!group->attach_handle) {
		iopf_recycle(param, group);
		return -EINVAL;
	}
	return iopf_hand_over(param, group);
}

/* The group that the caller shall try, with a user of @param, or NULL. */
static struct iopf_group *iopf_take_first(struct iommu_fault_param *param)
{
	struct iopf_group *group = param->first;

	lockdep_assert_held(&param->lock);
	if (!group)
		return NULL;
	param->first = NULL;
	param->users++;
	iopf_get_users(group);
	return group;
}

static int iopf_add_request(struct iommu_fault_param *param,
			    const struct iommu_fault *fault,
			    struct iopf_group **first)
{
	const struct iommu_fault_page_request *prm = &fault->prm;

	lockdep_assert_held(&param->lock);
	if (param->removed)
		return -ENODEV;
	param->stats.requests++;
	if (iopf_is_stop_marker(prm)) {
		param->stats.markers++;
		return 0;
	}
	if (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID &&
	    prm->pasid >= IOPF_PASID_LIMIT)
		return -EINVAL;
	if (iopf_is_last(prm)) {
		int ret = iopf_add_last(param, fault);

		/* Keeps the book-keeping, and remove, until it is answered. */
		if (ret == -EBUSY) {
			WRITE_ONCE(param->refusing, param->refusing + 1);
			param->users++;
		}
		*first = iopf_take_first(param);
		return ret;
	}
	iopf_add_partial(param, fault);
	return 0;
}

/* The reserve is exhausted: not the device's end, so INVALID, not FAILURE. */
static void iopf_refuse(struct iommu_fault_param *param,
			const struct iommu_fault *fault)
{
	struct iopf_fault evt = { .fault = *fault };
	bool last;

	trace_iopf_respond(param->name, &fault->prm, IOMMU_PAGE_RESP_INVALID,
			   0);
	iopf_call_driver(param->dev, &evt, IOMMU_PAGE_RESP_INVALID);

	spin_lock(&param->lock);
	param->stats.responses[IOMMU_PAGE_RESP_INVALID]++;
	param->stats.refused++;
	WRITE_ONCE(param->refusing, param->refusing - 1);
	if (!param->refusing)
		wake_up(&param->wait);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}

/**
 * iommu_queue_iopf() - take a fault from the report path
 * @dev: the device that faulted
 * @fault: the fault
 *
 * A request that is not the last of its group waits for the others. The last
 * one hands the group to the handler of its PASID, which will answer it. A
 * group for which the device's reserve has no room is answered INVALID before
 * this returns. A PASID stop marker is swallowed.
 *
 * Context: process context or a threaded interrupt. May sleep: a fault of a
 * device that has been quiet is tried at once, though not if that takes I/O.
 * The driver's page_response() may be called before this returns.
 * Return: 0 if there is nothing left to do for the caller, also if @fault is
 * not a page request. On an error the core will not answer @fault: -ENODEV if
 * the device is on no queue, -EINVAL if nobody handles faults of this PASID.
 */
int iommu_queue_iopf(struct device *dev, const struct iommu_fault *fault)
{
	struct iommu_fault_param *param;
	struct iopf_group *first = NULL;
	int ret = -ENODEV;

	if (fault->type != IOMMU_FAULT_PAGE_REQ)
		return 0;
	if (!dev->iommu)
		return -ENODEV;

	trace_iopf_report(dev_name(dev), &fault->prm);
	rcu_read_lock();
	param = rcu_dereference(dev->iommu->fault_param);
	if (param) {
		spin_lock(&param->lock);
		ret = iopf_add_request(param, fault, &first);
		spin_unlock(&param->lock);
	}
	rcu_read_unlock();
	if (ret == -EBUSY) {
		iopf_refuse(param, fault);
		ret = 0;
	}
	if (first)
		iopf_run_first(param, first);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_queue_iopf);

/**
 * iommu_report_device_fault() - take a fault, or answer it
 * @dev: the device that faulted
 * @evt: the fault
 *
 * As iommu_queue_iopf(), for drivers that leave the response to the core in any
 * case: where that fails, a request that expects a response gets INVALID.
 *
 * Context: as iommu_queue_iopf().
 * Return: as iommu_queue_iopf().
 */
int iommu_report_device_fault(struct device *dev, struct iopf_fault *evt)
{
	const struct iommu_fault_page_request *prm = &evt->fault.prm;
	int ret = iommu_queue_iopf(dev, &evt->fault);

	if (ret && iopf_is_last(prm) && !iopf_is_stop_marker(prm) &&
	    dev->iommu && dev_iommu_ops(dev)->page_response) {
		trace_iopf_respond(dev_name(dev), prm, IOMMU_PAGE_RESP_INVALID,
				   0);
		iopf_call_driver(dev, evt, IOMMU_PAGE_RESP_INVALID);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_report_device_fault);

/* Flush, and overflow */

/**
 * iopf_queue_flush_dev() - wait for the faults of a device
 * @dev: the device, which is on a queue and stays there meanwhile
 * @pasid: only this PASID, or IOMMU_PASID_INVALID for all
 *
 * Called before a PASID is used for something else, once the device has stopped
 * using it. Partial groups are dropped; groups that a provider owns are not
 * waited for.
 *
 * Context: may sleep. The caller must not hold a lock that the report path, the
 * driver's page_response() or the resolution of a fault takes.
 * Return: 0, -ENODEV if the device is on no queue, or what the driver's drain
 * callback returned.
 */
int iopf_queue_flush_dev(struct device *dev, u32 pasid)
{
	struct iopf_match match = { .pasid = pasid, .before = U64_MAX };
	struct iommu_fault_param *param = iopf_get_param(dev);
	unsigned int found;
	int ret = 0;

	if (!param)
		return -ENODEV;
	if (param->queue->drain)
		ret = param->queue->drain(param->queue->cookie, dev, pasid);
	if (!ret) {
		scoped_guard(spinlock, &param->lock)
			iopf_drop_partials(param, pasid, IOPF_DROP_FLUSH);
		found = iopf_wait_for(param, &match);
		trace_iopf_flush(param->name, pasid, found);
	}
	iopf_put_param(param);
	return ret;
}
EXPORT_SYMBOL_GPL(iopf_queue_flush_dev);

static void iopf_overflow(struct iommu_fault_param *param)
{
	spin_lock(&param->lock);
	param->stats.overflows++;
	iopf_drop_partials(param, IOMMU_PASID_INVALID, IOPF_DROP_OVERFLOW);
	spin_unlock(&param->lock);
}

/**
 * iopf_queue_discard_partial() - a hardware queue lost requests
 * @queue: the queue, of which any device may have lost some
 *
 * The last request of a partial group may be among those lost. If it was not,
 * it will be resolved as a group of its own: the device asks again for what is
 * missing, and is never left waiting.
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL without a queue.
 */
int iopf_queue_discard_partial(struct iopf_queue *queue)
{
	struct iommu_fault_param *param;

	if (!queue)
		return -EINVAL;
	guard(mutex)(&queue->lock);
	list_for_each_entry(param, &queue->devices, queue_list)
		iopf_overflow(param);
	return 0;
}
EXPORT_SYMBOL_GPL(iopf_queue_discard_partial);

/**
 * iopf_device_discard_partial() - a hardware queue lost requests of a device
 * @dev: the device
 *
 * As iopf_queue_discard_partial(), where the hardware can tell whose they were.
 *
 * Context: does not sleep.
 * Return: 0, or -ENODEV if the device is on no queue.
 */
int iopf_device_discard_partial(struct device *dev)
{
	struct iommu_fault_param *param = iopf_get_param(dev);

	if (!param)
		return -ENODEV;
	iopf_overflow(param);
	iopf_put_param(param);
	return 0;
}
EXPORT_SYMBOL_GPL(iopf_device_discard_partial);

/* Devices */

static void iopf_init_lanes(struct iommu_fault_param *param)
{
	struct iopf_lane *lane;

	INIT_LIST_HEAD(&param->lanes_idle);
	for (lane = param->lanes; lane < param->lanes + IOPF_LANES; lane++) {
		lane->param = param;
		INIT_WORK(&lane->work, iopf_lane_work);
		list_add_tail(&lane->node, &param->lanes_idle);
	}
}

static int iopf_init_reserve(struct iommu_fault_param *param)
{
	unsigned int nr_groups = param->granted + IOPF_SLACK, i;

	param->hash_bits = order_base_2(max(param->granted, 2U));
	param->groups = kvcalloc(nr_groups, sizeof(*param->groups), GFP_KERNEL);
	param->faults = kvcalloc(param->granted, sizeof(*param->faults),
				 GFP_KERNEL);
	param->buckets = kvcalloc(1U << param->hash_bits,
				  sizeof(*param->buckets), GFP_KERNEL);
	param->spoilt = kvcalloc(1U << param->hash_bits,
				 sizeof(*param->spoilt), GFP_KERNEL);
	if (!param->groups || !param->faults || !param->buckets ||
	    !param->spoilt)
		return -ENOMEM;

	for (i = 0; i < nr_groups; i++) {
		param->groups[i].fault_param = param;
		list_add_tail(&param->groups[i].pending_node,
			      &param->free_groups);
	}
	for (i = 0; i < param->granted; i++)
		list_add_tail(&param->faults[i].list, &param->free_faults);
	return 0;
}

static struct iommu_fault_param *iopf_alloc_param(struct iopf_queue *queue,
						  struct device *dev,
						  unsigned int granted)
{
	struct iommu_fault_param *param = kzalloc(sizeof(*param), GFP_KERNEL);

	if (!param)
		return NULL;
	param->dev = dev;
	param->queue = queue;
	param->granted = granted;
	param->users = 1;
	spin_lock_init(&param->lock);
	INIT_LIST_HEAD(&param->pending);
	INIT_LIST_HEAD(&param->partials);
	INIT_LIST_HEAD(&param->ready);
	INIT_LIST_HEAD(&param->free_groups);
	INIT_LIST_HEAD(&param->free_faults);
	INIT_LIST_HEAD(&param->waiters);
	init_waitqueue_head(&param->wait);
	INIT_DELAYED_WORK(&param->expire, iopf_expire);
	iopf_init_lanes(param);
	param->name = kstrdup_const(dev_name(dev), GFP_KERNEL);
	if (!param->name || iopf_init_reserve(param)) {
		iopf_free_param(param);
		return NULL;
	}
	return param;
}

/* Makes the device known; fails if it is already. */
static int iopf_publish(struct iopf_queue *queue, struct device *dev,
			struct iommu_fault_param *param)
{
	guard(mutex)(&queue->lock);
	guard(mutex)(&dev->iommu->lock);
	if (rcu_access_pointer(dev->iommu->fault_param))
		return -EBUSY;
	list_add_tail(&param->queue_list, &queue->devices);
	scoped_guard(mutex, &iopf_devices_lock)
		list_add_tail(&param->all_node, &iopf_devices);
	/* Pairs with rcu_dereference() in the report path. */
	rcu_assign_pointer(dev->iommu->fault_param, param);
	return 0;
}

/**
 * iopf_queue_add_device_granted() - put a device on a queue
 * @queue: the queue
 * @dev: the device, on no queue yet
 * @granted: how many requests it may have outstanding: its PRI credits, or the
 *	     stalls that its IOMMU can hold. At most IOPF_MAX_GRANT are used.
 *
 * Memory for that many is allocated here, and none later.
 *
 * Context: may sleep.
 * Return: 0, -EINVAL without a queue or a grant, -ENODEV if the IOMMU cannot
 * answer, -EBUSY if the device is on a queue, or -ENOMEM.
 */
int iopf_queue_add_device_granted(struct iopf_queue *queue, struct device *dev,
				  unsigned int granted)
{
	struct iommu_fault_param *param;
	int ret;

	if (!queue || !granted)
		return -EINVAL;
	if (!dev->iommu || !dev_iommu_ops(dev)->page_response)
		return -ENODEV;
	param = iopf_alloc_param(queue, dev, min(granted, IOPF_MAX_GRANT));
	if (!param)
		return -ENOMEM;
	ret = iopf_publish(queue, dev, param);
	if (ret)
		iopf_free_param(param);
	return ret;
}
EXPORT_SYMBOL_GPL(iopf_queue_add_device_granted);

/**
 * iopf_queue_add_device() - put a device on a queue
 * @queue: the queue
 * @dev: the device
 *
 * As iopf_queue_add_device_granted(), for drivers that know no grant.
 *
 * Context: may sleep.
 * Return: as iopf_queue_add_device_granted().
 */
int iopf_queue_add_device(struct iopf_queue *queue, struct device *dev)
{
	return iopf_queue_add_device_granted(queue, dev, IOPF_DEFAULT_GRANT);
}
EXPORT_SYMBOL_GPL(iopf_queue_add_device);

/* Takes the device out of sight: NULL if it was not there. */
static struct iommu_fault_param *iopf_unpublish(struct iopf_queue *queue,
						struct device *dev)
{
	struct iommu_fault_param *param;

	guard(mutex)(&queue->lock);
	guard(mutex)(&dev->iommu->lock);
	param = rcu_dereference_protected(dev->iommu->fault_param,
					  lockdep_is_held(&dev->iommu->lock));
	if (!param || WARN_ON(param->queue != queue))
		return NULL;
	/* Before iopf_get_param() does not find it any more. */
	scoped_guard(spinlock, &param->lock)
		param->removed = true;
	RCU_INIT_POINTER(dev->iommu->fault_param, NULL);
	list_del(&param->queue_list);
	scoped_guard(mutex, &iopf_devices_lock)
		list_del(&param->all_node);
	return param;
}

/* Answers whatever is left; nothing calls the driver when this returns. */
static void iopf_retire(struct iommu_fault_param *param)
{
	struct iopf_match match = {
		.pasid = IOMMU_PASID_INVALID,
		.owned = true,
		.before = U64_MAX,
	};

	scoped_guard(spinlock, &param->lock)
		iopf_drop_partials(param, IOMMU_PASID_INVALID,
				   IOPF_DROP_REMOVE);
	cancel_delayed_work_sync(&param->expire);
	iopf_withdraw(param, &match);
	iopf_wait_for(param, &match);
	wait_event(param->wait, !READ_ONCE(param->refusing));
	iopf_put_param(param);
}

/**
 * iopf_queue_remove_device() - take a device from its queue
 * @queue: the queue
 * @dev: the device; it is fine if it is on no queue
 *
 * Groups without response get INVALID. Handlers that still have some find
 * their response ignored. page_response() is not called for the device once
 * this has returned, except by iommu_report_device_fault() itself.
 *
 * Context: may sleep; waits for the driver's page_response(), not for handlers.
 */
void iopf_queue_remove_device(struct iopf_queue *queue, struct device *dev)
{
	struct iommu_fault_param *param;

	if (!queue || !dev->iommu)
		return;
	param = iopf_unpublish(queue, dev);
	if (param)
		iopf_retire(param);
}
EXPORT_SYMBOL_GPL(iopf_queue_remove_device);

/* Queues */

/**
 * iopf_queue_alloc() - make a queue
 * @name: for the workqueue and debugfs
 * @drain: see &typedef iopf_drain_t, or NULL if the driver drains by itself
 *	   before it calls iopf_queue_flush_dev()
 * @cookie: first argument of @drain
 *
 * Context: may sleep.
 * Return: the queue, or NULL without memory.
 */
struct iopf_queue *iopf_queue_alloc(const char *name, iopf_drain_t drain,
				    void *cookie)
{
	struct iopf_queue *queue = kzalloc(sizeof(*queue), GFP_KERNEL);

	if (!queue)
		return NULL;
	/* Groups of a device are taken in order, and resolved side by side. */
	queue->wq = alloc_workqueue("iopf/%s", WQ_UNBOUND, 0, name);
	if (!queue->wq) {
		kfree(queue);
		return NULL;
	}
	queue->drain = drain;
	queue->cookie = cookie;
	mutex_init(&queue->lock);
	INIT_LIST_HEAD(&queue->devices);
	strscpy(queue->name, name);
	return queue;
}
EXPORT_SYMBOL_GPL(iopf_queue_alloc);

static struct device *iopf_any_device(struct iopf_queue *queue)
{
	struct iommu_fault_param *param;

	guard(mutex)(&queue->lock);
	param = list_first_entry_or_null(&queue->devices,
					 struct iommu_fault_param, queue_list);
	return param ? param->dev : NULL;
}

/**
 * iopf_queue_free() - free a queue
 * @queue: the queue, or NULL. Nobody reports to it or adds devices any more.
 *
 * Devices that are left are removed.
 *
 * Context: may sleep; waits for lanes, and so for what they wait for.
 */
void iopf_queue_free(struct iopf_queue *queue)
{
	struct device *dev;

	if (!queue)
		return;
	while ((dev = iopf_any_device(queue)))
		iopf_queue_remove_device(queue, dev);
	destroy_workqueue(queue->wq);
	kfree(queue);
}
EXPORT_SYMBOL_GPL(iopf_queue_free);

static int __init iopf_init(void)
{
	iopf_debugfs_init();
	return 0;
}
subsys_initcall(iopf_init);
