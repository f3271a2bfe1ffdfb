// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: answers, withdrawing, flush, the time limit, lifetimes
 *
 * See io-pgfault.h for vocabulary, states, lifetimes and locks.
 *
 * Whoever withdraws a group finds it
 *   PARTIAL	recycled; it has not been promised a response
 *   HANDED	answered INVALID, or forgotten. Its handler is asked to let go
 *		of it; one that cannot, for it is at it, keeps a husk
 *   otherwise	answered
 * So nobody here waits for a handler, which may wait for user space for ever.
 *
 * A flush gives groups IOPF_FLUSH_MS to end by themselves, and withdraws the
 * others: the device does not use the PASID any more, and does not miss them.
 */
#define pr_fmt(fmt) "iopf: " fmt

#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "io-pgfault.h"

#define CREATE_TRACE_POINTS
#include <trace/events/io_pgfault.h>

/* So many groups are withdrawn in one section of the lock. */
#define IOPF_RUN	32

unsigned int iopf_timeout_ms;
#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "io_pgfault."
module_param_named(timeout_ms, iopf_timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "Answer a group INVALID after so many ms (0: never)");

/**
 * struct iopf_match - which groups are meant
 * @pasid: of this PASID, or of any where it is IOMMU_PASID_INVALID
 * @handle: attached here, or NULL for anywhere
 * @owned: also those that a provider owns
 * @before: reported until then
 * @seq: up to this one
 */
struct iopf_match {
	u32 pasid;
	struct iommu_attach_handle *handle;
	bool owned;
	u64 before;
	u64 seq;
};

/**
 * struct iopf_waiter - somebody waits for groups to be answered
 * @node: in &iommu_fault_param.waiters
 * @match: which groups
 * @count: how many have not been answered
 * @done: completed when @count is zero
 */
struct iopf_waiter {
	struct list_head node;
	const struct iopf_match *match;
	unsigned int count;
	struct completion done;
};

static u32 iopf_key_pasid(u64 key)
{
	return key & BIT_ULL(63) ? (key >> 32) & (BIT(20) - 1) : IOMMU_NO_PASID;
}

/**
 * iopf_pasid_matches() - whether a group is of a PASID
 * @key: the group's
 * @pasid: the PASID, or IOMMU_PASID_INVALID for any
 *
 * Return: true if so.
 */
bool iopf_pasid_matches(u64 key, u32 pasid)
{
	return pasid == IOMMU_PASID_INVALID || iopf_key_pasid(key) == pasid;
}

static bool iopf_matches(const struct iopf_slot *slot,
			 const struct iopf_match *match)
{
	return !(slot->owned && !match->owned) &&
	       (!match->handle || slot->group.attach_handle == match->handle) &&
	       slot->reported <= match->before && slot->seq <= match->seq &&
	       iopf_pasid_matches(slot->key, match->pasid);
}

/* The book-keeping and its references */

static void iopf_empty_pool(struct iopf_pool *pool)
{
	void *item;

	while ((item = iopf_pool_get(pool)))
		kmem_cache_free(pool->cache, item);
}

/**
 * iopf_free_param() - free the book-keeping of a device that nobody uses
 * @param: the book-keeping
 *
 * Context: does not sleep.
 */
void iopf_free_param(struct iommu_fault_param *param)
{
	iopf_empty_pool(&param->groups);
	iopf_empty_pool(&param->requests);
	iopf_empty_pool(&param->lanes);
	iopf_empty_pool(&param->bonds_free);
	kfree_const(param->name);
	kvfree_rcu(param, rcu);
}

/**
 * iopf_put_locked() - drop a user
 * @param: the book-keeping
 *
 * Context: with the lock of @param.
 * Return: true if the caller has to iopf_free_param() after unlocking.
 */
bool iopf_put_locked(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->lock);
	return --param->users == 0;
}

/**
 * iopf_put_param() - drop a user
 * @param: the book-keeping
 *
 * Context: does not sleep.
 */
void iopf_put_param(struct iommu_fault_param *param)
{
	bool last;

	spin_lock(&param->lock);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
}

/**
 * iopf_get_param() - the book-keeping of a device
 * @dev: the device
 *
 * Context: does not sleep.
 * Return: the book-keeping, for iopf_put_param(), or NULL without a queue.
 */
struct iommu_fault_param *iopf_get_param(struct device *dev)
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

/* Gives back the requests of a group but the last. */
static void iopf_put_requests(struct iommu_fault_param *param,
			      struct iopf_slot *slot)
{
	struct iopf_fault *last = &slot->group.last_fault, *iopf, *next;

	list_for_each_entry_safe(iopf, next, &slot->group.faults, list) {
		if (iopf == last)
			continue;
		list_del(&iopf->list);
		if (slot->nr_replaced) {
			slot->nr_replaced--;
			kmem_cache_free(param->requests.cache, iopf);
		} else {
			iopf_pool_put(&param->requests, iopf);
		}
	}
}

/**
 * iopf_recycle() - give a group back to the reserve
 * @slot: the group, on no list, answered or never handed over
 *
 * One that was replaced there is freed.
 *
 * Context: with the lock of its device.
 * Return: true if the caller has to iopf_free_param() after unlocking.
 */
bool iopf_recycle(struct iopf_slot *slot)
{
	struct iommu_fault_param *param = slot->group.fault_param;

	lockdep_assert_held(&param->lock);
	if (slot->group.fault_count > 1 || slot->state == IOPF_PARTIAL)
		iopf_put_requests(param, slot);
	if (slot->state == IOPF_WITHDRAWN && slot->owned)
		param->husks--;
	slot->state = IOPF_FREE;
	if (slot->replaced)
		kmem_cache_free(param->groups.cache, slot);
	else
		iopf_pool_put(&param->groups, slot);
	return iopf_put_locked(param);
}

/**
 * iopf_drop_partial() - throw a partial group away
 * @param: the device
 * @slot: the group
 * @why: for the trace
 *
 * Context: with the lock of @param, of which the caller has a user.
 */
void iopf_drop_partial(struct iommu_fault_param *param, struct iopf_slot *slot,
		       enum iopf_drop_reason why)
{
	trace_iopf_drop(param->name, slot->key, slot->group.fault_count, why);
	param->stats.dropped += slot->group.fault_count;
	hash_del(&slot->hash);
	list_del(&slot->link);
	param->nr_partial--;
	iopf_recycle(slot);
}

/**
 * iopf_drop_partials() - throw the partial groups of a PASID away
 * @param: the device
 * @pasid: the PASID, or IOMMU_PASID_INVALID for all
 * @why: for the trace
 *
 * Context: with the lock of @param, of which the caller has a user.
 */
void iopf_drop_partials(struct iommu_fault_param *param, u32 pasid,
			enum iopf_drop_reason why)
{
	struct iopf_slot *slot, *next;

	lockdep_assert_held(&param->lock);
	list_for_each_entry_safe(slot, next, &param->partials, link)
		if (iopf_pasid_matches(slot->key, pasid))
			iopf_drop_partial(param, slot, why);
}

/* Responses */

/**
 * iopf_tell() - call the driver's page_response()
 * @param: the device
 * @evt: the last request of the group
 * @code: the answer
 * @latency: for the trace, ns
 *
 * Context: with the lock of @param; iopf_end_run() is to follow before that is
 * dropped.
 */
void iopf_tell(struct iommu_fault_param *param, struct iopf_fault *evt,
	       enum iommu_page_response_code code, u64 latency)
{
	struct iommu_page_response resp = {
		.pasid = evt->fault.prm.pasid,
		.grpid = evt->fault.prm.grpid,
		.code = code,
	};

	lockdep_assert_held(&param->lock);
	param->stats.responses[code]++;
	trace_iopf_respond(param->name, &evt->fault.prm, code, latency);
	param->respond(param->dev, evt, &resp);
}

/**
 * iopf_end_run() - no more responses in this section of the lock
 * @param: the device
 *
 * Context: with the lock of @param.
 */
void iopf_end_run(struct iommu_fault_param *param)
{
	lockdep_assert_held(&param->lock);
	if (param->respond_end)
		param->respond_end(param->dev);
}

/* The group is not outstanding any more. */
static void iopf_settle(struct iommu_fault_param *param, struct iopf_slot *slot)
{
	struct iopf_waiter *waiter;

	list_del(&slot->link);
	param->in_flight--;
	list_for_each_entry(waiter, &param->waiters, node)
		if (iopf_matches(slot, waiter->match) && !--waiter->count)
			complete(&waiter->done);
}

static void iopf_send(struct iommu_fault_param *param, struct iopf_slot *slot,
		      enum iommu_page_response_code code)
{
	u64 latency = ktime_get_ns() - slot->reported;
	unsigned int bucket = fls64(div_u64(latency, NSEC_PER_USEC) | 1) - 1;

	param->stats.latency[min(bucket, IOPF_BUCKETS - 1U)]++;
	iopf_tell(param, &slot->group.last_fault, code, latency);
}

/**
 * iopf_answer() - answer a group that is with its handler
 * @slot: the group, of which nobody looks at the requests any more
 * @code: the answer
 *
 * Context: with the lock of its device; iopf_end_run() is to follow.
 */
void iopf_answer(struct iopf_slot *slot, enum iommu_page_response_code code)
{
	struct iommu_fault_param *param = slot->group.fault_param;

	lockdep_assert_held(&param->lock);
	slot->state = IOPF_ANSWERED;
	iopf_settle(param, slot);
	if (slot->group.fault_count > 1) {
		iopf_put_requests(param, slot);
		slot->group.fault_count = 1;
	}
	iopf_send(param, slot, code);
}

/**
 * iopf_group_response() - answer a group
 * @group: the group, which the caller got by a domain's iopf_handler()
 * @code: the answer
 *
 * The driver is told unless the group has been withdrawn. Either way the caller
 * then frees the group, and does not look at its requests any more.
 *
 * Context: does not sleep. Not from within iopf_handler().
 * Return: 0, -ENODEV if the group was withdrawn, or -EALREADY, with a warning,
 * if the caller had answered it.
 */
int iopf_group_response(struct iopf_group *group,
			enum iommu_page_response_code code)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_slot *slot = iopf_slot_of(group);

	guard(spinlock)(&param->lock);
	if (slot->state == IOPF_WITHDRAWN)
		return -ENODEV;
	if (WARN_ONCE(slot->state != IOPF_HANDED,
		      "iopf: %s: group %u answered twice, by %ps\n",
		      param->name, group->last_fault.fault.prm.grpid,
		      (void *)_RET_IP_))
		return -EALREADY;
	iopf_answer(slot, code);
	iopf_end_run(param);
	return 0;
}
EXPORT_SYMBOL_GPL(iopf_group_response);

/**
 * iopf_free_group() - give back the memory of an answered group
 * @group: the group
 *
 * A group that nobody has answered is answered INVALID, with a warning.
 *
 * Context: as iopf_group_response().
 */
void iopf_free_group(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_slot *slot = iopf_slot_of(group);
	bool last;

	spin_lock(&param->lock);
	if (WARN_ONCE(slot->state == IOPF_HANDED,
		      "iopf: %s: group %u freed unanswered\n",
		      param->name, group->last_fault.fault.prm.grpid)) {
		iopf_answer(slot, IOMMU_PAGE_RESP_INVALID);
		iopf_end_run(param);
	}
	last = iopf_recycle(slot);
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
	struct iommu_fault_param *param = group->fault_param;

	lockdep_assert_held(&param->lock);
	iopf_slot_of(group)->owned = true;
	param->provider = group->attach_handle->domain->iopf_handler;
}
EXPORT_SYMBOL_GPL(iopf_group_dequeue);

/* Withdrawing */

/**
 * struct iopf_spares - what replaces a husk, allocated without the lock
 * @slot: a group
 * @lane: a lane
 * @requests: &iopf_fault.list
 * @nr_requests: how many these are
 * @wanted: so many requests the next husk has
 * @failed: there was no memory: the reserve shrinks until the husk comes back
 */
struct iopf_spares {
	struct iopf_slot *slot;
	struct iopf_lane *lane;
	struct list_head requests;
	unsigned int nr_requests;
	unsigned int wanted;
	bool failed;
};

static void iopf_get_spares(struct iommu_fault_param *param,
			    struct iopf_spares *spares)
{
	struct iopf_fault *iopf;

	if (!spares->slot)
		spares->slot = kmem_cache_zalloc(param->groups.cache,
						 GFP_KERNEL);
	if (!spares->lane)
		spares->lane = kmem_cache_zalloc(param->lanes.cache,
						 GFP_KERNEL);
	spares->failed = !spares->slot || !spares->lane;
	while (spares->nr_requests < spares->wanted && !spares->failed) {
		iopf = kmem_cache_zalloc(param->requests.cache, GFP_KERNEL);
		if (iopf) {
			list_add(&iopf->list, &spares->requests);
			spares->nr_requests++;
		}
		spares->failed = !iopf;
	}
}

static void iopf_free_spares(struct iommu_fault_param *param,
			     struct iopf_spares *spares)
{
	struct iopf_fault *iopf, *next;

	if (spares->slot)
		kmem_cache_free(param->groups.cache, spares->slot);
	if (spares->lane)
		kmem_cache_free(param->lanes.cache, spares->lane);
	list_for_each_entry_safe(iopf, next, &spares->requests, list)
		kmem_cache_free(param->requests.cache, iopf);
}

/* Whether a group with so many requests can be replaced, or need not be. */
static bool iopf_spares_do(struct iopf_spares *spares, struct iopf_slot *slot)
{
	spares->wanted = slot->group.fault_count - 1;
	return spares->failed || (spares->slot && spares->lane &&
				  spares->nr_requests >= spares->wanted);
}

/*
 * A handler keeps @slot: another one takes its place in the reserve, as far as
 * there was memory.
 */
static void iopf_replace(struct iommu_fault_param *param,
			 struct iopf_slot *slot, struct iopf_spares *spares)
{
	struct iopf_fault *iopf;
	size_t n;

	param->husks += slot->owned;
	if (spares->slot) {
		iopf_pool_swap(&param->groups, spares->slot);
		slot->replaced = true;
		spares->slot = NULL;
	}
	for (n = 1; n < slot->group.fault_count && spares->nr_requests; n++) {
		iopf = list_first_entry(&spares->requests, struct iopf_fault,
					list);
		list_del(&iopf->list);
		spares->nr_requests--;
		iopf_pool_swap(&param->requests, iopf);
		slot->nr_replaced++;
	}
}

/*
 * Withdraws a group. Its handler may need a lane for others the moment that it
 * loses the one that is at this group, so that comes first. A lane that was
 * replaced before has no place in the reserve that another one could take.
 */
static void iopf_withdraw_group(struct iommu_fault_param *param,
				struct iopf_slot *slot, bool tell,
				struct iopf_spares *spares)
{
	bool (*withdraw)(struct iopf_group *group) = slot->group.withdraw;
	struct iopf_lane *lane = slot->lane;

	slot->state = IOPF_WITHDRAWN;
	iopf_settle(param, slot);
	if (tell) {
		iopf_send(param, slot, IOMMU_PAGE_RESP_INVALID);
		param->stats.withdrawn++;
	} else {
		param->stats.forgotten++;
	}
	if (withdraw && lane && !lane->replaced && spares->lane) {
		iopf_pool_swap(&param->lanes, spares->lane);
		lane->replaced = true;
		spares->lane = NULL;
	}
	if (!withdraw || !withdraw(&slot->group)) {
		iopf_replace(param, slot, spares);
		return;
	}
	slot->owned = false;
	iopf_recycle(slot);
}

/* Returns true if there is more to withdraw. */
static bool iopf_withdraw_some(struct iommu_fault_param *param,
			       const struct iopf_match *match, bool tell,
			       struct iopf_spares *spares, unsigned int *count)
{
	struct iopf_slot *slot, *next;
	unsigned int n = 0, before = *count;
	bool more = false;

	guard(spinlock)(&param->lock);
	list_for_each_entry_safe(slot, next, &param->pending, link) {
		if (!iopf_matches(slot, match))
			continue;
		more = n++ == IOPF_RUN || !iopf_spares_do(spares, slot);
		if (more)
			break;
		iopf_withdraw_group(param, slot, tell, spares);
		++*count;
	}
	if (*count != before)
		iopf_end_run(param);
	return more;
}

/* The caller is a user of @param. Returns how many were withdrawn. */
static unsigned int iopf_withdraw(struct iommu_fault_param *param,
				  const struct iopf_match *match, bool tell)
{
	struct iopf_spares spares = {
		.requests = LIST_HEAD_INIT(spares.requests),
	};
	unsigned int count = 0;

	while (iopf_withdraw_some(param, match, tell, &spares, &count))
		iopf_get_spares(param, &spares);
	iopf_free_spares(param, &spares);
	return count;
}

/**
 * iopf_withdraw_all() - answer what a device waits for, whoever has it
 * @param: the device, which is being removed
 *
 * Context: may sleep, for memory. The caller is a user of @param.
 */
void iopf_withdraw_all(struct iommu_fault_param *param)
{
	const struct iopf_match match = {
		.pasid = IOMMU_PASID_INVALID,
		.owned = true,
		.before = U64_MAX,
		.seq = U64_MAX,
	};

	iopf_withdraw(param, &match, true);
}

/**
 * iopf_device_forget() - a device was reset: it waits for nothing any more
 * @dev: the device, which reports nothing meanwhile
 *
 * Partial and unanswered groups are dropped without a response. Handlers that
 * have some find their response ignored.
 *
 * Context: may sleep, for memory; waits for nobody.
 * Return: 0, or -ENODEV if the device is on no queue.
 */
int iopf_device_forget(struct device *dev)
{
	const struct iopf_match match = {
		.pasid = IOMMU_PASID_INVALID,
		.owned = true,
		.before = U64_MAX,
		.seq = U64_MAX,
	};
	struct iommu_fault_param *param = iopf_get_param(dev);

	if (!param)
		return -ENODEV;
	scoped_guard(spinlock, &param->lock)
		iopf_drop_partials(param, IOMMU_PASID_INVALID,
				   IOPF_DROP_FORGET);
	iopf_withdraw(param, &match, false);
	iopf_put_param(param);
	return 0;
}
EXPORT_SYMBOL_GPL(iopf_device_forget);

/**
 * iopf_detach_handle() - a domain has been detached from a device or PASID
 * @dev: the device
 * @pasid: the PASID, or IOMMU_PASID_INVALID if all may have used @handle
 * @handle: what the PASID was attached by; the IOMMU group does not know it
 *	    any more
 *
 * When this returns, no report will find @handle, no group points to it but
 * those that a provider owns, which are the provider's to answer, and their
 * responses have been sent. If the device is being removed at the same time,
 * that answers them, and nobody follows their handle any more.
 *
 * Context: may sleep, for memory; waits for nobody.
 */
void iopf_detach_handle(struct device *dev, u32 pasid,
			struct iommu_attach_handle *handle)
{
	const struct iopf_match match = {
		.pasid = pasid,
		.handle = handle,
		.before = U64_MAX,
		.seq = U64_MAX,
	};
	struct iommu_fault_param *param = iopf_get_param(dev);

	if (!param)
		return;
	scoped_guard(spinlock, &param->lock) {
		param->handle = NULL;
		iopf_drop_partials(param, pasid, IOPF_DROP_DETACH);
	}
	iopf_withdraw(param, &match, true);
	iopf_put_param(param);
}

/* Flush */

/*
 * Waits until what matches now is answered, and withdraws what takes too long.
 * The caller is a user of @param.
 */
static unsigned int iopf_wait_for(struct iommu_fault_param *param,
				  struct iopf_match *match)
{
	struct iopf_waiter waiter = { .match = match };
	struct iopf_slot *slot;
	unsigned int found;

	init_completion(&waiter.done);
	scoped_guard(spinlock, &param->lock) {
		match->seq = param->seq;
		list_for_each_entry(slot, &param->pending, link)
			waiter.count += iopf_matches(slot, match);
		found = waiter.count;
		if (!found)
			return 0;
		list_add(&waiter.node, &param->waiters);
	}
	if (!wait_for_completion_timeout(&waiter.done,
					 msecs_to_jiffies(IOPF_FLUSH_MS)))
		iopf_withdraw(param, match, true);
	scoped_guard(spinlock, &param->lock)
		list_del(&waiter.node);
	return found;
}

/**
 * iopf_queue_flush_dev() - wait for the faults of a device
 * @dev: the device, which is on a queue and stays there meanwhile
 * @pasid: only this PASID, or IOMMU_PASID_INVALID for all
 *
 * Called before a PASID is used for something else, once the device has stopped
 * using it. Partial groups are dropped; groups that a provider owns are not
 * waited for; what has not ended after a second is withdrawn.
 *
 * Context: may sleep. The caller must not hold a lock that the report path or
 * the resolution of a fault takes.
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

/* The time limit */

/**
 * iopf_expire() - withdraw what has waited for too long
 * @work: &iommu_fault_param.expire
 *
 * Context: a worker.
 */
void iopf_expire(struct work_struct *work)
{
	struct iommu_fault_param *param = container_of(to_delayed_work(work),
					struct iommu_fault_param, expire);
	u64 limit = (u64)READ_ONCE(iopf_timeout_ms) * NSEC_PER_MSEC;
	u64 now = ktime_get_ns();
	const struct iopf_match match = {
		.pasid = IOMMU_PASID_INVALID,
		.owned = true,
		.before = now - limit,
		.seq = U64_MAX,
	};
	unsigned int count = 0;

	/* A limit that was raised may reach back to before the boot. */
	if (limit && limit < now)
		count = iopf_withdraw(param, &match, true);

	guard(spinlock)(&param->lock);
	param->stats.timeouts += count;
	param->expiring = limit && !param->removed &&
			  !list_empty(&param->pending);
	if (param->expiring)
		schedule_delayed_work(&param->expire,
				      nsecs_to_jiffies(limit / 8) + 1);
}

/**
 * iopf_arm_timeout() - a group waits: see that the time limit is kept
 * @param: the device
 *
 * Context: with the lock of @param.
 */
void iopf_arm_timeout(struct iommu_fault_param *param)
{
	unsigned int limit = READ_ONCE(iopf_timeout_ms);

	lockdep_assert_held(&param->lock);
	if (!limit || param->expiring)
		return;
	param->expiring = true;
	schedule_delayed_work(&param->expire, msecs_to_jiffies(limit) + 1);
}
