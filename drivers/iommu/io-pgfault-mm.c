// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: resolving groups against an address space
 *
 * Does for a device what the architecture's fault handler does for a CPU, from
 * a worker instead of the process itself: faults are remote, and nobody can be
 * sent a signal. What a CPU would get a signal for is answered INVALID.
 *
 * Vocabulary, besides that of io-pgfault.h
 *   lane	a work item that resolves groups, one after the other
 *   bond	a device that has groups in an address space: a list of groups
 *		that are ready, and up to IOPF_LANES lanes that take them
 *   lost lane	one whose group was withdrawn. It belongs to no bond any more,
 *		and ends as soon as it can
 *
 * Fairness (F12): a group waits for groups of the same process and the same
 * device, and for nothing else of the core:
 *   1. Groups of a bond wait on that bond's list, for that bond's lanes.
 *   2. A bond with groups has a lane. The first comes with the group, out of the
 *      reserve, which has one for each group that the device may have: a lane in
 *      use has a group, so there are at most as many. One that was queued in
 *      vain is the exception; if that leaves none, the bond is starved and gets
 *      the next that becomes free, and that one does end. A bond gets more
 *      lanes only if one is left for each group that may still come.
 *   3. Lanes of an address space run on a workqueue of its own: however many
 *      block, they use up the limit of no other. An unbound workqueue has workers
 *      as long as there is memory to make them.
 *   4. The device's lock is held for a bounded time: IOPF_RUN responses.
 *   5. The CPU is shared by the scheduler, between threads. A process whose
 *      groups are refused, IOPF_REFUSALS of them in succession, has one lane on a
 *      device, which sleeps a millisecond after as many more; so a device that
 *      repeats what it was refused gets its turn, and no more.
 *
 * A page is first tried under the lock of its VMA alone, so that mmap() and
 * mprotect() elsewhere in the process do not hold it up. The lock is kept from
 * one page to the next where both are in one VMA, also from one group to the
 * next, until somebody waits to write: that is looked at after each page. Only
 * what that path cannot do takes mmap_lock: growing a stack, VMAs without an
 * anon_vma, page tables that have to be waited for. page_response() does not
 * sleep, and is called with a VMA locked for reading at most.
 *
 * Memory is charged to the process's cgroup: pages by the address space, page
 * tables and page cache by set_active_memcg(). A lane that overruns memory.high
 * is throttled as the process would be, before it answers.
 *
 * A lane that waits, for a userfaultfd, a file system in user space, a lock or
 * storage, is interrupted by a SIGKILL of the kernel's when its group is
 * withdrawn, or when nobody but lanes uses the address space: the process was
 * killed, and its mappings may hold open the very file whose release would
 * withdraw the group. The latter is looked for a few times a second while lanes
 * are in an address space. A read that a file system in user space has begun to
 * serve cannot be interrupted, not even by the process's own end.
 *
 * Lock order: mmap_lock or the VMA's lock, never both, the VMA's lock is only
 * tried; then the device's lock, then iopf_mm::lock. iopf_mms_lock outside all.
 */
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/delay.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/userfaultfd_k.h>

#include <trace/events/io_pgfault.h>

#include "io-pgfault.h"

/* After so many groups that were refused, a lane sleeps. */
#define IOPF_REFUSALS		16
/* How often it is looked for address spaces that nobody uses. */
#define IOPF_WATCH_JIFFIES	(HZ / 4 + 1)

/**
 * struct iopf_walk - what a lane keeps from group to group
 * @lane: the lane
 * @mm: the address space, if the lane is in it, or NULL
 * @vma: a VMA of it, locked for reading, or NULL
 * @memcg: what is charged, with a reference
 * @before: what was charged before
 * @groups: how many have been resolved without giving up the CPU
 */
struct iopf_walk {
	struct iopf_lane *lane;
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	struct mem_cgroup *memcg;
	struct mem_cgroup *before;
	unsigned int groups;
};

/**
 * struct iopf_page - a page being resolved
 * @addr: its address
 * @fault: FAULT_FLAG_*
 * @access: VM_* that it needs
 */
struct iopf_page {
	unsigned long addr;
	unsigned int fault;
	unsigned long access;
};

static LIST_HEAD(iopf_mms);
/* Protects iopf_mms. */
static DEFINE_MUTEX(iopf_mms_lock);

static void iopf_watch(struct work_struct *work);
static DECLARE_DELAYED_WORK(iopf_watch_work, iopf_watch);
/* It is scheduled. Written under iopf_mm::lock, or before that is taken. */
static bool iopf_watching;

/* Interrupting lanes */

/*
 * The only signal that ends a killable wait. Workers take it from the kernel
 * only, and only lanes are sent it.
 */
static void iopf_allow_interrupt(void)
{
	struct sighand_struct *sighand = current->sighand;

	if (sighand->action[SIGKILL - 1].sa.sa_handler != SIG_KTHREAD_KERNEL)
		allow_kernel_signal(SIGKILL);
}

static void iopf_interrupt(struct iopf_lane *lane)
{
	send_sig(SIGKILL, lane->task, 1);
}

/* Address spaces */

static void iopf_mm_release(struct work_struct *work)
{
	struct iopf_mm *as = container_of(work, struct iopf_mm, release);

	scoped_guard(mutex, &iopf_mms_lock)
		list_del(&as->node);
	destroy_workqueue(as->wq);
	mmdrop(as->mm);
	kfree(as);
}

/* The last one may be a lane, which cannot wait for its own workqueue. */
static void iopf_mm_put(struct iopf_mm *as)
{
	if (refcount_dec_and_test(&as->refs))
		queue_work(system_unbound_wq, &as->release);
}

static struct iopf_mm *iopf_mm_find(struct mm_struct *mm)
{
	struct iopf_mm *as;

	lockdep_assert_held(&iopf_mms_lock);
	list_for_each_entry(as, &iopf_mms, node)
		if (as->mm == mm && refcount_inc_not_zero(&as->refs))
			return as;
	return NULL;
}

static struct iopf_mm *iopf_mm_alloc(struct mm_struct *mm)
{
	struct iopf_mm *as = kzalloc(sizeof(*as), GFP_KERNEL);

	if (!as)
		return NULL;
	as->wq = alloc_workqueue("iopf", WQ_UNBOUND, WQ_UNBOUND_MAX_ACTIVE);
	if (!as->wq) {
		kfree(as);
		return NULL;
	}
	mmgrab(mm);
	as->mm = mm;
	refcount_set(&as->refs, 1);
	INIT_WORK(&as->release, iopf_mm_release);
	spin_lock_init(&as->lock);
	INIT_LIST_HEAD(&as->lanes);
	return as;
}

/*
 * Whether lanes are in the address space. If nobody else is, their work is for
 * nothing.
 */
static bool iopf_watch_mm(struct iopf_mm *as)
{
	struct iopf_lane *lane;

	guard(spinlock)(&as->lock);
	if (as->users && atomic_read(&as->mm->mm_users) == 1) {
		as->dead = true;
		list_for_each_entry(lane, &as->lanes, node)
			iopf_interrupt(lane);
	}
	return as->users;
}

static void iopf_watch(struct work_struct *work)
{
	struct iopf_mm *as;
	bool busy = false;

	/*
	 * Whoever enters an address space after this has looked at it sees that
	 * it has to schedule us: the lock of that orders both.
	 */
	WRITE_ONCE(iopf_watching, false);
	guard(mutex)(&iopf_mms_lock);
	list_for_each_entry(as, &iopf_mms, node)
		busy |= iopf_watch_mm(as);
	if (busy) {
		WRITE_ONCE(iopf_watching, true);
		schedule_delayed_work(&iopf_watch_work, IOPF_WATCH_JIFFIES);
	}
}

/* A lane enters the address space; false if nobody uses that any more. */
static bool iopf_enter(struct iopf_walk *walk)
{
	struct iopf_mm *as = walk->lane->as;

	scoped_guard(spinlock, &as->lock) {
		if (as->dead || (!as->users && !mmget_not_zero(as->mm)))
			return false;
		as->users++;
		list_add(&walk->lane->node, &as->lanes);
		if (!READ_ONCE(iopf_watching)) {
			WRITE_ONCE(iopf_watching, true);
			schedule_delayed_work(&iopf_watch_work,
					      IOPF_WATCH_JIFFIES);
		}
	}
	walk->mm = as->mm;
	walk->memcg = get_mem_cgroup_from_mm(as->mm);
	walk->before = set_active_memcg(walk->memcg);
	return true;
}

static void iopf_unlock_vma(struct iopf_walk *walk)
{
	if (walk->vma)
		vma_end_read(walk->vma);
	walk->vma = NULL;
}

/*
 * A lane leaves the address space. The last one does not tear that down here:
 * it may wait, for a file system in user space for instance, and a group is to
 * be answered. Nobody interrupts the lane any more.
 */
static void iopf_leave(struct iopf_walk *walk)
{
	struct iopf_mm *as = walk->lane->as;
	bool last;

	iopf_unlock_vma(walk);
	if (walk->mm) {
		set_active_memcg(walk->before);
		mem_cgroup_put(walk->memcg);
		scoped_guard(spinlock, &as->lock) {
			list_del(&walk->lane->node);
			last = !--as->users;
		}
		if (last)
			mmput_async(as->mm);
		walk->mm = NULL;
	}
	if (signal_pending(current))
		flush_signals(current);
}

/* Resolving */

/* Sets @page up; false if no address space can have such an address. */
static __always_inline bool
iopf_init_page(struct iopf_page *page,
	       const struct iommu_fault_page_request *prm)
{
	page->addr = prm->addr;
	/*
	 * Retry and interruptible as for a CPU's fault, or userfaultfd would
	 * answer SIGBUS instead of waiting for its monitor.
	 */
	page->fault = FAULT_FLAG_DEFAULT | FAULT_FLAG_REMOTE;
	page->access = 0;
	if (prm->perm & IOMMU_FAULT_PERM_READ)
		page->access |= VM_READ;
	if (prm->perm & IOMMU_FAULT_PERM_WRITE) {
		page->access |= VM_WRITE;
		page->fault |= FAULT_FLAG_WRITE;
	}
	if (prm->perm & IOMMU_FAULT_PERM_EXEC) {
		page->access |= VM_EXEC;
		page->fault |= FAULT_FLAG_INSTRUCTION;
	}
	if (!(prm->perm & IOMMU_FAULT_PERM_PRIV))
		page->fault |= FAULT_FLAG_USER;
	/* Devices have no tagged addresses; one that does not fit is wrong. */
	return page->addr == prm->addr;
}

/* A shadow stack is written by calls only, whatever its VMA says. */
static bool iopf_access_ok(const struct iopf_page *page,
			   const struct vm_area_struct *vma)
{
	return !(page->access & ~vma->vm_flags) &&
	       !(page->access & VM_WRITE && vma->vm_flags & VM_SHADOW_STACK);
}

static enum iommu_page_response_code iopf_code(vm_fault_t ret)
{
	/* A cgroup v1 that kills nobody leaves a state for who would wait. */
	if (ret & VM_FAULT_OOM)
		mem_cgroup_oom_synchronize(false);
	return ret & VM_FAULT_ERROR ? IOMMU_PAGE_RESP_INVALID :
				      IOMMU_PAGE_RESP_SUCCESS;
}

static bool iopf_change_vma(struct iopf_walk *walk, unsigned long addr)
{
	iopf_unlock_vma(walk);
	walk->vma = lock_vma_under_rcu(walk->mm, addr);
	return walk->vma;
}

/* Locks the VMA of @addr, unless it is locked already. */
static __always_inline bool iopf_lock_vma(struct iopf_walk *walk,
					  unsigned long addr)
{
	const struct vm_area_struct *vma = walk->vma;

	return (vma && addr >= vma->vm_start && addr < vma->vm_end) ||
	       iopf_change_vma(walk, addr);
}

/* Whoever waits to write to the VMA has waited long enough. */
static __always_inline void iopf_yield_vma(struct iopf_walk *walk)
{
#ifdef CONFIG_PER_VMA_LOCK
	if (walk->vma && rwsem_is_contended(&walk->vma->vm_lock->lock))
		iopf_unlock_vma(walk);
#endif
}

/*
 * Resolves a page under its VMA's lock. False where that is not possible, and
 * then no VMA is locked.
 */
static __always_inline bool
iopf_try_vma(struct iopf_walk *walk, struct iopf_page *page,
	     enum iommu_page_response_code *code)
{
	vm_fault_t ret;

	if (!iopf_lock_vma(walk, page->addr))
		return false;
	if (!iopf_access_ok(page, walk->vma)) {
		*code = IOMMU_PAGE_RESP_INVALID;
		return true;
	}
	ret = handle_mm_fault(walk->vma, page->addr,
			      page->fault | FAULT_FLAG_VMA_LOCK, NULL);
	/* Both mean that the lock is gone. */
	if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
		walk->vma = NULL;
	if (ret & VM_FAULT_RETRY) {
		if (ret & VM_FAULT_MAJOR)
			page->fault |= FAULT_FLAG_TRIED;
		return false;
	}
	*code = iopf_code(ret);
	if (ret & VM_FAULT_OOM) {
		iopf_unlock_vma(walk);
		return false;
	}
	return true;
}

#ifdef CONFIG_MEMCG
/* Whether the process may have its stack as large as @addr wants it. */
static bool iopf_may_grow(struct mm_struct *mm, struct vm_area_struct *vma,
			  unsigned long addr, struct rlimit *stack)
{
	unsigned long grow = (vma->vm_start - (addr & PAGE_MASK)) >> PAGE_SHIFT;
	struct task_struct *owner;

	guard(rcu)();
	owner = rcu_dereference(mm->owner);
	if (!owner)
		return false;
	stack->rlim_cur = task_rlimit(owner, RLIMIT_STACK);
	stack->rlim_max = stack->rlim_cur;
	if (vma->vm_end - (addr & PAGE_MASK) > stack->rlim_cur ||
	    mm->total_vm + grow > task_rlimit(owner, RLIMIT_AS) >> PAGE_SHIFT)
		return false;
	return !(vma->vm_flags & VM_LOCKED) ||
	       mm->locked_vm + grow <=
	       task_rlimit(owner, RLIMIT_MEMLOCK) >> PAGE_SHIFT;
}
#else
/* Nobody knows whose limits these would be. */
static bool iopf_may_grow(struct mm_struct *mm, struct vm_area_struct *vma,
			  unsigned long addr, struct rlimit *stack)
{
	return false;
}
#endif

/* Exchanges the worker's own limit, which nobody else looks at. */
static void iopf_swap_stack_limit(struct rlimit *stack)
{
	task_lock(current->group_leader);
	swap(current->signal->rlim[RLIMIT_STACK], *stack);
	task_unlock(current->group_leader);
}

/* Takes mmap_lock and finds the VMA of @addr; grows a stack if it has to. */
static struct vm_area_struct *iopf_lock_mm(struct mm_struct *mm,
					   unsigned long addr)
{
	struct vm_area_struct *vma;
	struct rlimit stack;
	bool grow;

	if (mmap_read_lock_killable(mm))
		return NULL;
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr)
		return vma;
	grow = vma && vma->vm_flags & VM_GROWSDOWN &&
	       iopf_may_grow(mm, vma, addr, &stack);
	mmap_read_unlock(mm);
	if (!grow)
		return NULL;
	/* It is the worker's limit that growing looks at. */
	iopf_swap_stack_limit(&stack);
	vma = lock_mm_and_find_vma(mm, addr, NULL);
	iopf_swap_stack_limit(&stack);
	return vma;
}

/* Resolves a page under mmap_lock, as often as it takes. */
static enum iommu_page_response_code
iopf_resolve_locked(struct mm_struct *mm, struct iopf_page *page)
{
	struct vm_area_struct *vma;
	vm_fault_t ret;

	while (!signal_pending(current)) {
		vma = iopf_lock_mm(mm, page->addr);
		if (!vma)
			break;
		if (!iopf_access_ok(page, vma)) {
			mmap_read_unlock(mm);
			break;
		}
		ret = handle_mm_fault(vma, page->addr, page->fault, NULL);
		/* Both mean that the lock is gone. */
		if (ret & VM_FAULT_COMPLETED)
			return IOMMU_PAGE_RESP_SUCCESS;
		if (!(ret & VM_FAULT_RETRY)) {
			mmap_read_unlock(mm);
			return iopf_code(ret);
		}
		page->fault |= FAULT_FLAG_TRIED;
	}
	return IOMMU_PAGE_RESP_INVALID;
}

/* Waits as the process would have to, if its cgroup is above memory.high. */
static void iopf_throttle(struct iopf_walk *walk)
{
#ifdef CONFIG_MEMCG
	if (likely(!current->memcg_nr_pages_over_high))
		return;
	iopf_unlock_vma(walk);
	mem_cgroup_handle_over_high(GFP_KERNEL);
#endif
}

/* Whether the process was refused so often that one lane has to do. */
static bool iopf_is_braked(const struct iopf_mm *as)
{
	return READ_ONCE(as->refused) >= IOPF_REFUSALS;
}

/* Counts how often the process is refused, and slows that down. */
static void iopf_brake(struct iopf_walk *walk, bool refused)
{
	struct iopf_mm *as = walk->lane->as;
	unsigned int before = READ_ONCE(as->refused);

	if (refused) {
		WRITE_ONCE(as->refused, before + 1);
		if (before % IOPF_REFUSALS == IOPF_REFUSALS - 1) {
			iopf_unlock_vma(walk);
			usleep_range(1000, 1500);
		}
	} else if (before) {
		WRITE_ONCE(as->refused, 0);
	}
}

/*
 * Makes the pages of a group present. The first that cannot be had decides;
 * what comes after it is not tried.
 */
static enum iommu_page_response_code
iopf_resolve(struct iopf_walk *walk, struct iopf_group *group)
{
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	struct iopf_fault *iopf;
	struct iopf_page page;

	if (!walk->mm && !iopf_enter(walk))
		return IOMMU_PAGE_RESP_INVALID;
	if (!(++walk->groups % 16))
		cond_resched();
	list_for_each_entry(iopf, &group->faults, list) {
		if (!iopf_init_page(&page, &iopf->fault.prm))
			code = IOMMU_PAGE_RESP_INVALID;
		else if (!iopf_try_vma(walk, &page, &code))
			code = iopf_resolve_locked(walk->mm, &page);
		iopf_yield_vma(walk);
		trace_iopf_resolve(group->fault_param->name, &iopf->fault.prm,
				   code);
		if (code != IOMMU_PAGE_RESP_SUCCESS)
			break;
	}
	iopf_throttle(walk);
	iopf_brake(walk, code != IOMMU_PAGE_RESP_SUCCESS);
	return code;
}

/* Bonds and lanes */

static struct iopf_bond *iopf_get_bond(struct iommu_fault_param *param,
				       struct iopf_mm *as)
{
	struct iopf_bond *bond;

	lockdep_assert_held(&param->lock);
	list_for_each_entry(bond, &param->bonds, node)
		if (bond->as == as)
			return bond;
	bond = iopf_pool_get(&param->bonds_free);
	if (!bond)
		return NULL;
	refcount_inc(&as->refs);
	bond->as = as;
	bond->coming = NULL;
	bond->lanes = 0;
	INIT_LIST_HEAD(&bond->ready);
	INIT_LIST_HEAD(&bond->starved);
	list_add(&bond->node, &param->bonds);
	return bond;
}

/* Gives the bond back if it has neither groups nor lanes. */
static void iopf_put_bond(struct iommu_fault_param *param,
			  struct iopf_bond *bond)
{
	lockdep_assert_held(&param->lock);
	if (bond->lanes || !list_empty(&bond->ready))
		return;
	list_del(&bond->node);
	list_del(&bond->starved);
	iopf_mm_put(bond->as);
	iopf_pool_put(&param->bonds_free, bond);
}

static void iopf_lane_work(struct work_struct *work);

/* Sends a lane out for a bond. */
static void iopf_send_lane(struct iommu_fault_param *param,
			   struct iopf_bond *bond, struct iopf_lane *lane)
{
	lockdep_assert_held(&param->lock);
	INIT_WORK(&lane->work, iopf_lane_work);
	lane->param = param;
	lane->as = bond->as;
	lane->bond = bond;
	list_del_init(&bond->starved);
	bond->coming = lane;
	bond->lanes++;
	param->users++;
	refcount_inc(&lane->as->refs);
	queue_work(lane->as->wq, &lane->work);
}

/**
 * iopf_serve_starved() - give free lanes to bonds that have none
 * @param: the device, of which there may be more lanes than before
 *
 * Context: with the lock of @param.
 */
void iopf_serve_starved(struct iommu_fault_param *param)
{
	struct iopf_lane *lane;

	lockdep_assert_held(&param->lock);
	while (!list_empty(&param->starved)) {
		lane = iopf_pool_get(&param->lanes);
		if (!lane)
			break;
		iopf_send_lane(param, list_first_entry(&param->starved,
						       struct iopf_bond,
						       starved), lane);
	}
}

/*
 * A lane has nothing to do: it is for a bond that has none, if there is one.
 * @lane may be freed.
 */
static void iopf_free_lane(struct iommu_fault_param *param,
			   struct iopf_lane *lane)
{
	struct iopf_bond *bond = list_first_entry_or_null(&param->starved,
							  struct iopf_bond,
							  starved);

	lockdep_assert_held(&param->lock);
	if (bond)
		iopf_send_lane(param, bond, lane);
	else if (lane->replaced)
		kmem_cache_free(param->lanes.cache, lane);
	else
		iopf_pool_put(&param->lanes, lane);
}

/* There are groups, and lanes that run may block: have another one, if due. */
static void iopf_start_lane(struct iommu_fault_param *param,
			    struct iopf_bond *bond)
{
	const struct iopf_pool *pool = &param->lanes;
	struct iopf_lane *lane;

	lockdep_assert_held(&param->lock);
	if (bond->coming || list_empty(&bond->ready))
		return;
	if (bond->lanes) {
		/* One is left for each group that may still come. */
		if (bond->lanes >= IOPF_LANES || iopf_is_braked(bond->as) ||
		    pool->nr_free + param->in_flight < pool->want)
			return;
	}
	lane = iopf_pool_get(&param->lanes);
	if (lane)
		iopf_send_lane(param, bond, lane);
	else if (!bond->lanes && list_empty(&bond->starved))
		list_add_tail(&bond->starved, &param->starved);
}

/* Takes a lane back that has not begun; false if it has. */
static bool iopf_cancel_coming(struct iommu_fault_param *param,
			       struct iopf_bond *bond)
{
	struct iopf_lane *lane = bond->coming;

	lockdep_assert_held(&param->lock);
	if (!lane || !cancel_work(&lane->work))
		return false;
	bond->coming = NULL;
	bond->lanes--;
	iopf_mm_put(lane->as);
	/* Never the last user: whoever withdraws is one. */
	iopf_put_locked(param);
	iopf_free_lane(param, lane);
	return true;
}

/*
 * &iopf_group.withdraw. A group that waits for a lane is given up. One that a
 * lane is at takes the lane with it, so that others do not wait for that one.
 */
static bool iopf_mm_withdraw(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_slot *slot = iopf_slot_of(group);
	struct iopf_bond *bond = slot->bond;

	lockdep_assert_held(&param->lock);
	if (slot->lane) {
		iopf_interrupt(slot->lane);
		slot->lane->bond = NULL;
		bond->lanes--;
		iopf_start_lane(param, bond);
		/* The lane that took its place in the reserve may be left. */
		iopf_serve_starved(param);
	} else {
		list_del(&group->node);
		if (list_empty(&bond->ready))
			iopf_cancel_coming(param, bond);
	}
	iopf_put_bond(param, bond);
	return !slot->lane;
}

/**
 * iopf_mm_handler() - the fault handler of domains that are address spaces
 * @group: the group
 *
 * Context: called by the core under the device's lock.
 * Return: 0, -EAGAIN without room, or -EINVAL for a request without PASID,
 * which cannot be meant for an address space.
 */
int iopf_mm_handler(struct iopf_group *group)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_slot *slot = iopf_slot_of(group);

	lockdep_assert_held(&param->lock);
	if (!(group->last_fault.fault.prm.flags &
	      IOMMU_FAULT_PAGE_REQUEST_PASID_VALID))
		return -EINVAL;
	slot->bond = iopf_get_bond(param,
				   group->attach_handle->domain->fault_data);
	if (!slot->bond)
		return -EAGAIN;
	group->withdraw = iopf_mm_withdraw;
	list_add_tail(&group->node, &slot->bond->ready);
	iopf_start_lane(param, slot->bond);
	return 0;
}

/* A lane takes a group: NULL if there is none. */
static struct iopf_slot *iopf_next(struct iommu_fault_param *param,
				   struct iopf_lane *lane)
{
	struct iopf_bond *bond = lane->bond;
	struct iopf_group *group;
	struct iopf_slot *slot;

	lockdep_assert_held(&param->lock);
	if (!bond)
		return NULL;
	group = list_first_entry_or_null(&bond->ready, struct iopf_group, node);
	if (!group)
		return NULL;
	list_del(&group->node);
	slot = iopf_slot_of(group);
	slot->lane = lane;
	/* This lane may block: what else there is shall not wait for it. */
	iopf_start_lane(param, bond);
	return slot;
}

/*
 * Answers and frees a group. Before the last one, for now, the lane leaves the
 * address space: who has waited for the groups finds no users of the core.
 */
static void iopf_finish(struct iopf_walk *walk, struct iopf_slot *slot,
			enum iommu_page_response_code code)
{
	struct iopf_lane *lane = walk->lane;

	lockdep_assert_held(&lane->param->lock);
	if (!lane->bond || list_empty(&lane->bond->ready) ||
	    signal_pending(current))
		iopf_leave(walk);
	slot->lane = NULL;
	if (slot->state == IOPF_HANDED) {
		iopf_answer(slot, code);
		iopf_end_run(lane->param);
	}
	/* Never the last user: the lane is one. */
	iopf_recycle(slot);
}

/* A lane ends. It is not the caller's any more. */
static void iopf_end_lane(struct iommu_fault_param *param,
			  struct iopf_lane *lane)
{
	struct iopf_bond *bond = lane->bond;

	lockdep_assert_held(&param->lock);
	if (bond) {
		bond->lanes--;
		iopf_put_bond(param, bond);
	}
	iopf_free_lane(param, lane);
}

static void iopf_lane_work(struct work_struct *work)
{
	struct iopf_lane *lane = container_of(work, struct iopf_lane, work);
	struct iommu_fault_param *param = lane->param;
	struct iopf_walk walk = { .lane = lane };
	enum iommu_page_response_code code;
	struct iopf_mm *as = lane->as;
	struct iopf_slot *slot;
	bool last;

	iopf_allow_interrupt();
	lane->task = current;
	spin_lock(&param->lock);
	lane->bond->coming = NULL;
	while ((slot = iopf_next(param, lane))) {
		spin_unlock(&param->lock);
		code = iopf_resolve(&walk, &slot->group);
		spin_lock(&param->lock);
		iopf_finish(&walk, slot, code);
	}
	iopf_end_lane(param, lane);
	last = iopf_put_locked(param);
	spin_unlock(&param->lock);
	if (last)
		iopf_free_param(param);
	iopf_mm_put(as);
}

/* Domains */

/**
 * iopf_mm_init_domain() - have faults in a domain resolved by lanes
 * @domain: the domain, with its @mm
 *
 * Context: may sleep. @mm has users.
 * Return: 0 or -ENOMEM; undone by iopf_mm_exit_domain().
 */
int iopf_mm_init_domain(struct iommu_domain *domain)
{
	struct iopf_mm *as;

	guard(mutex)(&iopf_mms_lock);
	as = iopf_mm_find(domain->mm);
	if (!as) {
		as = iopf_mm_alloc(domain->mm);
		if (!as)
			return -ENOMEM;
		list_add_tail(&as->node, &iopf_mms);
	}
	domain->fault_data = as;
	domain->iopf_handler = iopf_mm_handler;
	return 0;
}

/**
 * iopf_mm_exit_domain() - undo iopf_mm_init_domain()
 * @domain: the domain, attached nowhere any more; it may not have been set up
 *
 * Context: does not sleep.
 */
void iopf_mm_exit_domain(struct iommu_domain *domain)
{
	struct iopf_mm *as = domain->fault_data;

	domain->fault_data = NULL;
	if (as)
		iopf_mm_put(as);
}
