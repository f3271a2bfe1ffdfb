// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: queues, devices, the reserve, reports and groups
 *
 * See io-pgfault.h for vocabulary, states, lifetimes and locks.
 * tools/testing/selftests/iommu/iopf/iopf.pml is a model of the protocol.
 */
#include <linux/hash.h>
#include <linux/iommu.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include <trace/events/io_pgfault.h>

#include "io-pgfault.h"
#include "iommu-priv.h"

/* PCIe Base 6.20: PASIDs have 20 bits. */
#define IOPF_PASID_LIMIT	BIT(20)

LIST_HEAD(iopf_devices);
/* Protects iopf_devices. */
DEFINE_MUTEX(iopf_devices_lock);

/* What the reserves are made of. */
static struct kmem_cache *iopf_slot_cache;
static struct kmem_cache *iopf_fault_cache;
static struct kmem_cache *iopf_lane_cache;
static struct kmem_cache *iopf_bond_cache;

/* PASID and group index: what makes two requests members of one group. */
static u64 iopf_key(const struct iommu_fault_page_request *prm)
{
	u64 key = prm->grpid;

	if (prm->flags & IOMMU_FAULT_PAGE_REQUEST_PASID_VALID)
		key |= (u64)prm->pasid << 32 | BIT_ULL(63);
	return key;
}

/* A stall is a group of its own, whatever its flags say. */
static bool iopf_is_last(const struct iommu_fault_page_request *prm)
{
	return prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE ||
	       prm->kind == IOPF_STALL;
}

/*
 * PCIe Base 10.4.1.2.1: a PASID stop marker has Last set, neither Read nor
 * Write, and always a PASID. Nobody expects a response to it.
 */
static bool iopf_is_stop_marker(const struct iommu_fault_page_request *prm)
{
	const u32 flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE |
			  IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;

	return prm->kind == IOPF_PAGE_REQUEST &&
	       (prm->flags & flags) == flags &&
	       !(prm->perm & (IOMMU_FAULT_PERM_READ | IOMMU_FAULT_PERM_WRITE));
}

/* Groups */

/* Stalls are never partial: whatever is, is of one kind. */
static struct iopf_slot *
iopf_find_partial(struct iommu_fault_param *param, u64 key,
		  const struct iommu_fault_page_request *prm)
{
	struct iopf_slot *slot;

	lockdep_assert_held(&param->lock);
	if (!param->nr_partial || prm->kind == IOPF_STALL)
		return NULL;
	hash_for_each_possible(param->buckets, slot, hash, key)
		if (slot->key == key &&
		    slot->group.last_fault.fault.prm.sid == prm->sid)
			return slot;
	return NULL;
}

static struct iopf_slot *iopf_take_slot(struct iommu_fault_param *param,
					u64 key)
{
	struct iopf_slot *slot = iopf_pool_get(&param->groups);

	lockdep_assert_held(&param->lock);
	if (!slot)
		return NULL;
	INIT_LIST_HEAD(&slot->group.faults);
	slot->group.fault_param = param;
	slot->group.fault_count = 0;
	slot->group.withdraw = NULL;
	slot->key = key;
	slot->lane = NULL;
	slot->owned = false;
	slot->replaced = false;
	slot->nr_replaced = 0;
	param->users++;
	return slot;
}

static struct iopf_slot *
iopf_new_partial(struct iommu_fault_param *param, u64 key,
		 const struct iommu_fault_page_request *prm)
{
	struct iopf_slot *slot = iopf_take_slot(param, key);

	if (!slot)
		return NULL;
	slot->state = IOPF_PARTIAL;
	slot->group.last_fault.fault.prm.sid = prm->sid;
	hash_add(param->buckets, &slot->hash, key);
	list_add_tail(&slot->link, &param->partials);
	param->nr_partial++;
	return slot;
}

/* A request that is not the last. It never gets a response of its own. */
static void iopf_add_partial(struct iommu_fault_param *param,
			     const struct iommu_fault *fault)
{
	const struct iommu_fault_page_request *prm = &fault->prm;
	u64 key = iopf_key(prm);
	struct iopf_slot *slot;
	struct iopf_fault *iopf;

	lockdep_assert_held(&param->lock);
	iopf = iopf_pool_get(&param->requests);
	if (!iopf)
		goto drop;
	slot = iopf_find_partial(param, key, prm) ?:
	       iopf_new_partial(param, key, prm);
	if (!slot) {
		iopf_pool_put(&param->requests, iopf);
		goto drop;
	}
	iopf->fault = *fault;
	list_add_tail(&iopf->list, &slot->group.faults);
	slot->group.fault_count++;
	return;

drop:
	/* The device will ask again for the page, see io-pgfault.h. */
	param->stats.dropped++;
	trace_iopf_drop(param->name, key, 1, IOPF_DROP_RESERVE);
}

/*
 * The group that a last request closes, or NULL if there is no room. A partial
 * group that has waited longest makes room if need be: a device that keeps to
 * its grant never gets there.
 */
static struct iopf_slot *
iopf_close_group(struct iommu_fault_param *param,
		 const struct iommu_fault_page_request *prm)
{
	u64 key = iopf_key(prm);
	struct iopf_slot *slot = iopf_find_partial(param, key, prm), *oldest;

	lockdep_assert_held(&param->lock);
	if (slot) {
		hash_del(&slot->hash);
		list_del(&slot->link);
		param->nr_partial--;
		return slot;
	}
	slot = iopf_take_slot(param, key);
	oldest = list_first_entry_or_null(&param->partials, struct iopf_slot,
					  link);
	if (slot || !oldest)
		return slot;
	iopf_drop_partial(param, oldest, IOPF_DROP_RESERVE);
	return iopf_take_slot(param, key);
}

static void iopf_append_last(struct iommu_fault_param *param,
			     struct iopf_slot *slot,
			     const struct iommu_fault *fault)
{
	struct iopf_group *group = &slot->group;

	group->last_fault.fault = *fault;
	list_add_tail(&group->last_fault.list, &group->faults);
	group->fault_count++;
	slot->state = IOPF_HANDED;
	slot->seq = ++param->seq;
	slot->reported = ktime_get_ns();
	trace_iopf_group(param->name, &fault->prm, group->fault_count);
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

/* A group that no handler has: answered where it was reported. */
static void iopf_answer_unheard(struct iommu_fault_param *param,
				const struct iommu_fault *fault,
				enum iommu_page_response_code code)
{
	struct iopf_fault evt = { .fault = *fault };

	iopf_tell(param, &evt, code, 0);
	iopf_end_run(param);
}

/* Whether a provider has so many husks that it gets no more groups. */
static bool iopf_handler_is_full(struct iommu_fault_param *param,
				 struct iommu_attach_handle *handle)
{
	return param->husks >= param->granted &&
	       handle->domain->iopf_handler == param->provider;
}

/* Hands the group to its handler; 0, or what that says. */
static int iopf_hand_over(struct iommu_fault_param *param,
			  struct iopf_slot *slot)
{
	struct iommu_attach_handle *handle = slot->group.attach_handle;
	int ret;

	lockdep_assert_held(&param->lock);
	if (unlikely(iopf_handler_is_full(param, handle)))
		return -EAGAIN;
	ret = handle->domain->iopf_handler(&slot->group);
	if (ret)
		return ret;
	list_add_tail(&slot->link, &param->pending);
	param->in_flight++;
	param->stats.groups++;
	iopf_arm_timeout(param);
	return 0;
}

/*
 * A last request: a handler has the group, or it is answered here, when this
 * returns 0. Returns -EINVAL if there is no handler.
 */
static int iopf_add_last(struct iommu_fault_param *param,
			 const struct iommu_fault *fault)
{
	struct iopf_slot *slot = iopf_close_group(param, &fault->prm);
	int ret;

	lockdep_assert_held(&param->lock);
	if (!slot) {
		/* Else there was no memory to replace husks. */
		if (param->in_flight >= param->granted)
			param->stats.refused++;
		else
			param->stats.again++;
		iopf_answer_unheard(param, fault, IOMMU_PAGE_RESP_SUCCESS);
		return 0;
	}
	iopf_append_last(param, slot, fault);
	slot->group.attach_handle = iopf_find_handle(param, &fault->prm);
	ret = slot->group.attach_handle ? iopf_hand_over(param, slot) :
					  -ENOENT;
	if (!ret)
		return 0;
	list_del(&slot->group.last_fault.list);
	/* Never the last user: that is the registration. */
	iopf_recycle(slot);
	if (ret == -ENOENT)
		return -EINVAL;
	if (ret == -EAGAIN || ret == -EBUSY || ret == -ENOMEM) {
		param->stats.again++;
		iopf_answer_unheard(param, fault, IOMMU_PAGE_RESP_SUCCESS);
	} else {
		iopf_answer_unheard(param, fault, IOMMU_PAGE_RESP_INVALID);
	}
	return 0;
}

static int iopf_add_request(struct iommu_fault_param *param,
			    const struct iommu_fault *fault)
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
	if (iopf_is_last(prm))
		return iopf_add_last(param, fault);
	iopf_add_partial(param, fault);
	return 0;
}

/*
 * Takes a fault. Where nobody handles it, and the caller leaves that to us, it
 * is answered.
 */
static int iopf_take_fault(struct device *dev, const struct iommu_fault *fault,
			   bool answer)
{
	struct iommu_fault_param *param;
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
		ret = iopf_add_request(param, fault);
		if (ret == -EINVAL && answer && iopf_is_last(&fault->prm) &&
		    !iopf_is_stop_marker(&fault->prm))
			iopf_answer_unheard(param, fault,
					    IOMMU_PAGE_RESP_INVALID);
		spin_unlock(&param->lock);
	}
	rcu_read_unlock();
	return ret;
}

/**
 * iommu_queue_iopf() - take a fault from the report path
 * @dev: the device that faulted
 * @fault: the fault
 *
 * A request that is not the last of its group waits for the others. The last
 * one hands the group to the handler of its PASID, which will answer it. A
 * group for which the device's reserve has no room is answered SUCCESS before
 * this returns, so that the device asks again. A PASID stop marker is swallowed.
 *
 * Context: process context or a threaded interrupt; not a hard interrupt, nor a
 * softirq. Does not sleep. The driver's page_response() may be called before
 * this returns.
 * Return: 0 if there is nothing left to do for the caller, also if @fault is
 * not a page request. On an error the core will not answer @fault: -ENODEV if
 * the device is on no queue, -EINVAL if nobody handles faults of this PASID.
 */
int iommu_queue_iopf(struct device *dev, const struct iommu_fault *fault)
{
	return iopf_take_fault(dev, fault, false);
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
	struct iommu_page_response resp = {
		.pasid = prm->pasid,
		.grpid = prm->grpid,
		.code = IOMMU_PAGE_RESP_INVALID,
	};
	int ret = iopf_take_fault(dev, &evt->fault, true);

	/* On no queue: there is no lock, and nobody to be confused. */
	if (ret == -ENODEV && iopf_is_last(prm) && !iopf_is_stop_marker(prm) &&
	    dev->iommu && dev_iommu_ops(dev)->page_response) {
		trace_iopf_respond(dev_name(dev), prm, resp.code, 0);
		dev_iommu_ops(dev)->page_response(dev, evt, &resp);
		if (dev_iommu_ops(dev)->page_response_end)
			dev_iommu_ops(dev)->page_response_end(dev);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_report_device_fault);

/* Overflow */

static void iopf_overflow(struct iommu_fault_param *param)
{
	guard(spinlock)(&param->lock);
	param->stats.overflows++;
	iopf_drop_partials(param, IOMMU_PASID_INVALID, IOPF_DROP_OVERFLOW);
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

/* The reserve */

static void iopf_init_pool(struct iopf_pool *pool, struct kmem_cache *cache,
			   unsigned int offset)
{
	INIT_LIST_HEAD(&pool->free);
	pool->cache = cache;
	pool->offset = offset;
}

static void iopf_set_want(struct iommu_fault_param *param,
			  struct iopf_pool *pool, unsigned int want)
{
	guard(spinlock)(&param->lock);
	pool->want = want;
}

/* Whether the pool lacks some; frees one if it has one too many. */
static bool iopf_trim_pool(struct iommu_fault_param *param,
			   struct iopf_pool *pool, bool *lacks)
{
	void *item = NULL;

	spin_lock(&param->lock);
	*lacks = pool->nr < pool->want;
	if (pool->nr > pool->want) {
		item = iopf_pool_get(pool);
		pool->nr -= !!item;
	}
	spin_unlock(&param->lock);
	if (item)
		kmem_cache_free(pool->cache, item);
	return *lacks || item;
}

/* Those in use beyond @want are freed when they come back. */
static int iopf_resize_pool(struct iommu_fault_param *param,
			    struct iopf_pool *pool, unsigned int want)
{
	bool lacks;
	void *item;

	iopf_set_want(param, pool, want);
	while (iopf_trim_pool(param, pool, &lacks)) {
		if (!lacks)
			continue;
		item = kmem_cache_zalloc(pool->cache, GFP_KERNEL);
		if (!item)
			return -ENOMEM;
		scoped_guard(spinlock, &param->lock)
			iopf_pool_add(pool, item);
	}
	return 0;
}

static int iopf_resize(struct iommu_fault_param *param, unsigned int granted)
{
	unsigned int groups = granted + IOPF_SLACK;

	return iopf_resize_pool(param, &param->groups, groups) ?:
	       iopf_resize_pool(param, &param->requests, granted) ?:
	       iopf_resize_pool(param, &param->lanes, groups) ?:
	       iopf_resize_pool(param, &param->bonds_free, groups);
}

/**
 * iopf_queue_set_granted() - change what a device may have outstanding
 * @dev: the device, on a queue, which may be faulting meanwhile
 * @granted: how many requests
 *
 * Before the device is granted more, and after it was granted less. One at a
 * time for each device.
 *
 * Context: may sleep.
 * Return: 0, -EINVAL without a grant, -ENODEV if the device is on no queue, or
 * -ENOMEM, and then nothing has changed.
 */
int iopf_queue_set_granted(struct device *dev, unsigned int granted)
{
	struct iommu_fault_param *param;
	unsigned int old;
	int ret;

	if (!granted)
		return -EINVAL;
	param = iopf_get_param(dev);
	if (!param)
		return -ENODEV;
	granted = min(granted, IOPF_MAX_GRANT);
	old = param->granted;
	ret = iopf_resize(param, granted);
	if (ret) {
		iopf_resize(param, old);
	} else {
		scoped_guard(spinlock, &param->lock) {
			param->granted = granted;
			iopf_serve_starved(param);
		}
	}
	iopf_put_param(param);
	return ret;
}
EXPORT_SYMBOL_GPL(iopf_queue_set_granted);

/* Devices */

static struct iommu_fault_param *iopf_alloc_param(struct iopf_queue *queue,
						  struct device *dev,
						  unsigned int granted)
{
	struct iommu_fault_param *param = kvzalloc(sizeof(*param), GFP_KERNEL);

	if (!param)
		return NULL;
	param->dev = dev;
	param->queue = queue;
	param->granted = granted;
	param->respond = dev_iommu_ops(dev)->page_response;
	param->respond_end = dev_iommu_ops(dev)->page_response_end;
	param->users = 1;
	spin_lock_init(&param->lock);
	hash_init(param->buckets);
	INIT_LIST_HEAD(&param->pending);
	INIT_LIST_HEAD(&param->partials);
	INIT_LIST_HEAD(&param->bonds);
	INIT_LIST_HEAD(&param->starved);
	INIT_LIST_HEAD(&param->waiters);
	INIT_DELAYED_WORK(&param->expire, iopf_expire);
	iopf_init_pool(&param->groups, iopf_slot_cache,
		       offsetof(struct iopf_slot, link));
	iopf_init_pool(&param->requests, iopf_fault_cache,
		       offsetof(struct iopf_fault, list));
	iopf_init_pool(&param->lanes, iopf_lane_cache,
		       offsetof(struct iopf_lane, node));
	iopf_init_pool(&param->bonds_free, iopf_bond_cache,
		       offsetof(struct iopf_bond, node));
	param->name = kstrdup_const(dev_name(dev), GFP_KERNEL);
	if (!param->name || iopf_resize(param, granted)) {
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
 * Memory for that many is allocated here. A device that has more outstanding
 * is told to ask again. Functions that share credits are each granted all.
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
	scoped_guard(spinlock, &param->lock) {
		param->removed = true;
		iopf_drop_partials(param, IOMMU_PASID_INVALID,
				   IOPF_DROP_REMOVE);
	}
	RCU_INIT_POINTER(dev->iommu->fault_param, NULL);
	list_del(&param->queue_list);
	scoped_guard(mutex, &iopf_devices_lock)
		list_del(&param->all_node);
	return param;
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
 * Context: may sleep; waits for nobody's fault.
 */
void iopf_queue_remove_device(struct iopf_queue *queue, struct device *dev)
{
	struct iommu_fault_param *param;

	if (!queue || !dev->iommu)
		return;
	param = iopf_unpublish(queue, dev);
	if (!param)
		return;
	cancel_delayed_work_sync(&param->expire);
	iopf_withdraw_all(param);
	iopf_put_param(param);
}
EXPORT_SYMBOL_GPL(iopf_queue_remove_device);

/* Queues */

/**
 * iopf_queue_alloc() - make a queue
 * @name: for debugfs
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
 * Context: may sleep; waits for nobody's fault.
 */
void iopf_queue_free(struct iopf_queue *queue)
{
	struct device *dev;

	if (!queue)
		return;
	while ((dev = iopf_any_device(queue)))
		iopf_queue_remove_device(queue, dev);
	kfree(queue);
}
EXPORT_SYMBOL_GPL(iopf_queue_free);

static int __init iopf_init(void)
{
	iopf_slot_cache = KMEM_CACHE(iopf_slot, SLAB_PANIC);
	iopf_fault_cache = KMEM_CACHE(iopf_fault, SLAB_PANIC);
	iopf_lane_cache = KMEM_CACHE(iopf_lane, SLAB_PANIC);
	iopf_bond_cache = KMEM_CACHE(iopf_bond, SLAB_PANIC);
	return 0;
}

/* Early: IOMMU drivers add devices. */
postcore_initcall(iopf_init);
