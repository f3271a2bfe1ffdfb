// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults: resolving a group against an address space
 *
 * Does for a device what the architecture's fault handler does for a CPU, from
 * a worker instead of the process itself: faults are remote, and nobody can be
 * sent a signal. What a CPU would get a signal for is answered INVALID.
 *
 * A page is first tried under the lock of its VMA alone, so that mmap() and
 * mprotect() elsewhere in the process do not hold it up. The lock is kept from
 * one page to the next where both are in one VMA, also from one group to the
 * next, as long as the caller says. Only what that path cannot do takes
 * mmap_lock: growing a stack, VMAs without an anon_vma, page tables that have
 * to be waited for.
 *
 * Lock order: mmap_lock, or the VMA's lock, never both; the VMA's lock is only
 * tried. The caller holds nothing.
 *
 * A wait for a userfaultfd monitor, or for a file system in user space, ends
 * early when the group is withdrawn: TIF_NOTIFY_SIGNAL is what a signal is to
 * the process itself.
 */
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/memcontrol.h>
#include <linux/mempolicy.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/userfaultfd_k.h>

#include <trace/events/io_pgfault.h>

#include "io-pgfault.h"

/* So much must be free for the reporting thread to take a page of it. */
#define IOPF_ROOM	(SZ_4M >> PAGE_SHIFT)

/**
 * struct iopf_page - a page being resolved
 * @group: of this group
 * @addr: its address
 * @fault: FAULT_FLAG_*
 * @access: VM_* that it needs
 */
struct iopf_page {
	struct iopf_group *group;
	unsigned long addr;
	unsigned int fault;
	unsigned long access;
};

static void iopf_unlock_vma(struct iopf_walk *walk)
{
	if (walk->vma)
		vma_end_read(walk->vma);
	walk->vma = NULL;
}

/**
 * iopf_mm_leave() - give up what is kept from group to group
 * @walk: what is kept
 *
 * The last user does not tear the address space down here: that may wait, for
 * a file system in user space for instance, and the group is to be answered.
 *
 * Context: does not sleep.
 */
void iopf_mm_leave(struct iopf_walk *walk)
{
	iopf_unlock_vma(walk);
	if (walk->mm)
		mmput_async(walk->mm);
	walk->mm = NULL;
}

/* Sets @page up; false if no address space can have such an address. */
static __always_inline bool
iopf_init_page(struct iopf_page *page, struct iopf_group *group,
	       const struct iommu_fault_page_request *prm)
{
	page->group = group;
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

static bool iopf_access_ok(const struct iopf_page *page,
			   const struct vm_area_struct *vma)
{
	return !(page->access & ~vma->vm_flags);
}

static enum iommu_page_response_code iopf_code(vm_fault_t ret)
{
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
	if (ret & VM_FAULT_OOM) {
		iopf_unlock_vma(walk);
		return false;
	}
	*code = iopf_code(ret);
	return true;
}

/* How large a stack of the process may become; the worker has its own limit. */
static unsigned long iopf_stack_limit(struct mm_struct *mm)
{
#ifdef CONFIG_MEMCG
	struct task_struct *owner;

	guard(rcu)();
	owner = rcu_dereference(mm->owner);
	return owner ? task_rlimit(owner, RLIMIT_STACK) : 0;
#else
	return RLIM_INFINITY;
#endif
}

/* Takes mmap_lock and finds the VMA of @addr; grows a stack if it has to. */
static struct vm_area_struct *iopf_lock_mm(struct mm_struct *mm,
					   unsigned long addr)
{
	struct vm_area_struct *vma;
	bool grow;

	if (mmap_read_lock_killable(mm))
		return NULL;
	vma = find_vma(mm, addr);
	if (vma && vma->vm_start <= addr)
		return vma;
	grow = vma && vma->vm_flags & VM_GROWSDOWN &&
	       vma->vm_end - (addr & PAGE_MASK) <= iopf_stack_limit(mm);
	mmap_read_unlock(mm);
	return grow ? lock_mm_and_find_vma(mm, addr, NULL) : NULL;
}

/* Resolves a page under mmap_lock, as often as it takes. */
static enum iommu_page_response_code
iopf_resolve_locked(struct mm_struct *mm, struct iopf_page *page)
{
	struct vm_area_struct *vma;
	vm_fault_t ret;

	while (!iopf_group_withdrawn(page->group)) {
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

static enum iommu_page_response_code
iopf_resolve_page(struct iopf_walk *walk, struct iopf_group *group,
		  const struct iommu_fault_page_request *prm)
{
	enum iommu_page_response_code code;
	struct iopf_page page;

	if (!iopf_init_page(&page, group, prm))
		return IOMMU_PAGE_RESP_INVALID;
	if (!iopf_try_vma(walk, &page, &code))
		code = iopf_resolve_locked(walk->mm, &page);
	return code;
}

/**
 * iopf_mm_resolve() - make the pages of a group present
 * @walk: what is kept from group to group. If it does not stay, it is empty,
 *	  and takes over users of the group's @mm. See iopf_mm_leave().
 * @group: the group, without @mm if the process is gone
 *
 * The first page that cannot be had decides; what comes after it is not tried.
 *
 * Context: may sleep: for memory, for storage, and for a userfaultfd monitor.
 * Return: IOMMU_PAGE_RESP_SUCCESS or IOMMU_PAGE_RESP_INVALID.
 */
enum iommu_page_response_code iopf_mm_resolve(struct iopf_walk *walk,
					      struct iopf_group *group)
{
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_INVALID;
	struct iopf_fault *iopf;

	if (!walk->stay) {
		cond_resched();
		walk->mm = group->mm;
		walk->groups = 0;
	}
	if (!walk->mm)
		return IOMMU_PAGE_RESP_INVALID;
	list_for_each_entry(iopf, &group->faults, list) {
		code = iopf_resolve_page(walk, group, &iopf->fault.prm);
		trace_iopf_resolve(group->fault_param->name, &iopf->fault.prm,
				   code);
		if (code != IOMMU_PAGE_RESP_SUCCESS)
			break;
	}
	return code;
}

/* Whether nothing is mapped at @addr, in a page table that is there. */
static bool iopf_is_hole(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgdp = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pte_t *pte;
	bool hole;

	if (!pgd_present(pgdp_get(pgdp)))
		return false;
	p4d = p4d_offset(pgdp, addr);
	if (!p4d_present(p4dp_get(p4d)))
		return false;
	pud = pud_offset(p4d, addr);
	if (!pud_present(pudp_get(pud)) || pud_leaf(pudp_get(pud)))
		return false;
	pte = pte_offset_map(pmd_offset(pud, addr), addr);
	if (!pte)
		return false;
	/* Taken by pte_offset_map(), as sparse cannot know. */
	__acquire(RCU);
	hole = pte_none(ptep_get(pte));
	pte_unmap(pte);
	return hole;
}

/* Whether the allocator has a page to give without touching its reserves. */
static bool iopf_zones_have_room(void)
{
	const gfp_t gfp = GFP_HIGHUSER_MOVABLE;
	unsigned long mark;
	struct zoneref *ref;
	struct zone *zone;

	for_each_zone_zonelist(zone, ref, node_zonelist(numa_node_id(), gfp),
			       gfp_zone(gfp)) {
		mark = min_wmark_pages(zone) + IOPF_ROOM;
		if (zone_watermark_ok(zone, 0, mark, gfp_zone(gfp), 0))
			return true;
	}
	return false;
}

#ifdef CONFIG_MEMCG
static bool iopf_counter_has_room(struct page_counter *counter)
{
	return page_counter_read(counter) + IOPF_ROOM <=
	       min(READ_ONCE(counter->max), READ_ONCE(counter->high));
}

/* Whether the process's cgroup, and those above, may have another page. */
static bool iopf_cgroup_has_room(struct mm_struct *mm)
{
	struct mem_cgroup *memcg;

	if (mem_cgroup_disabled())
		return true;
	guard(rcu)();
	memcg = mem_cgroup_from_task(rcu_dereference(mm->owner));
	for (; memcg && !mem_cgroup_is_root(memcg);
	     memcg = parent_mem_cgroup(memcg)) {
		if (!iopf_counter_has_room(&memcg->memory))
			return false;
		if (!cgroup_subsys_on_dfl(memory_cgrp_subsys) &&
		    !iopf_counter_has_room(&memcg->memsw))
			return false;
	}
	return true;
}
#else
static bool iopf_cgroup_has_room(struct mm_struct *mm)
{
	return true;
}
#endif

/* Whether a page of this VMA can be had for an allocation and nothing else. */
static bool iopf_is_quick(const struct iopf_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;

	return vma_is_anonymous(vma) && !userfaultfd_armed(vma) &&
	       !vma_policy(vma) && iopf_is_hole(walk->mm, addr) &&
	       iopf_zones_have_room() && iopf_cgroup_has_room(walk->mm);
}

static bool iopf_try_quick(struct iopf_walk *walk, struct iopf_group *group,
			   enum iommu_page_response_code *code)
{
	struct iopf_page page;

	if (!iopf_init_page(&page, group, &group->last_fault.fault.prm) ||
	    !iopf_lock_vma(walk, page.addr))
		return false;
	if (iopf_access_ok(&page, walk->vma) && !iopf_is_quick(walk, page.addr))
		return false;
	return iopf_try_vma(walk, &page, code);
}

/**
 * iopf_mm_try() - make the page of a group present, if that is quick
 * @group: the group, of one request, with users of its @mm, which this drops,
 *	   or without @mm if the process is gone
 * @code: what to answer, where this returns true
 *
 * For the thread that reports the fault, which may hold a lock of the driver.
 * That is safe, because nothing in here waits but for the lock of a page table:
 * the VMA's lock is only tried; only anonymous memory that was never touched is
 * tried, so there is no I/O; and the last reference on the mm is dropped
 * elsewhere. PF_MEMALLOC keeps the allocator from reclaiming, which could wait
 * for I/O, and, without I/O, could kill a process whose cgroup has swap left.
 * It would also let the page come from the allocator's reserves, or exceed the
 * cgroup's limit: so there is no try where either is near.
 *
 * Context: process context; does not sleep but for a page table's lock.
 * Return: false if a lane has to see to it.
 */
bool iopf_mm_try(struct iopf_group *group, enum iommu_page_response_code *code)
{
	struct iopf_walk walk = { .mm = group->mm };
	unsigned int flags;
	bool done;

	if (!walk.mm) {
		*code = IOMMU_PAGE_RESP_INVALID;
		return true;
	}
	flags = memalloc_flags_save(PF_MEMALLOC | PF_MEMALLOC_NOIO);
	done = iopf_try_quick(&walk, group, code);
	memalloc_flags_restore(flags);
	iopf_mm_leave(&walk);
	if (done)
		trace_iopf_resolve(group->fault_param->name,
				   &group->last_fault.fault.prm, *code);
	return done;
}

/**
 * iopf_mm_handler() - the fault handler of domains that are address spaces
 * @group: the group
 *
 * For &iommu_domain.iopf_handler where &iommu_domain.mm is set.
 *
 * Context: called by the core under the device's lock.
 * Return: 0, or -EINVAL for a request without PASID, which cannot be meant for
 * an address space.
 */
int iopf_mm_handler(struct iopf_group *group)
{
	if (!(group->last_fault.fault.prm.flags &
	      IOMMU_FAULT_PAGE_REQUEST_PASID_VALID))
		return -EINVAL;
	group->mm = group->attach_handle->domain->mm;
	iopf_group_enqueue(group);
	return 0;
}
