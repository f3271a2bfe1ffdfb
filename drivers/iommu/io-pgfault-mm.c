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
 * one page of a group to the next where both are in one VMA. Only what that
 * path cannot do takes mmap_lock: growing a stack, VMAs without an anon_vma,
 * page tables that have to be waited for.
 *
 * Lock order: mmap_lock, or the VMA's lock, never both; the VMA's lock is only
 * tried. Neither is held when the group is answered. The caller holds nothing.
 */
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/userfaultfd_k.h>

#include <trace/events/io_pgfault.h>

#include "io-pgfault.h"

/**
 * struct iopf_walk - a group being resolved
 * @mm: its address space, with a reference on its users
 * @vma: a VMA of it, locked for reading, or NULL
 * @fault: FAULT_FLAG_* of the current page
 * @access: VM_* that the current page needs
 */
struct iopf_walk {
	struct mm_struct *mm;
	struct vm_area_struct *vma;
	unsigned int fault;
	unsigned long access;
};

static void iopf_unlock_vma(struct iopf_walk *walk)
{
	if (walk->vma)
		vma_end_read(walk->vma);
	walk->vma = NULL;
}

static void iopf_set_access(struct iopf_walk *walk, u32 perm)
{
	/*
	 * Retry and interruptible as for a CPU's fault, or userfaultfd would
	 * answer SIGBUS instead of waiting for its monitor.
	 */
	walk->fault = FAULT_FLAG_DEFAULT | FAULT_FLAG_REMOTE;
	walk->access = 0;
	if (perm & IOMMU_FAULT_PERM_READ)
		walk->access |= VM_READ;
	if (perm & IOMMU_FAULT_PERM_WRITE) {
		walk->access |= VM_WRITE;
		walk->fault |= FAULT_FLAG_WRITE;
	}
	if (perm & IOMMU_FAULT_PERM_EXEC) {
		walk->access |= VM_EXEC;
		walk->fault |= FAULT_FLAG_INSTRUCTION;
	}
	if (!(perm & IOMMU_FAULT_PERM_PRIV))
		walk->fault |= FAULT_FLAG_USER;
}

static bool iopf_access_ok(const struct iopf_walk *walk,
			   const struct vm_area_struct *vma)
{
	return !(walk->access & ~vma->vm_flags);
}

static enum iommu_page_response_code iopf_code(vm_fault_t ret)
{
	return ret & VM_FAULT_ERROR ? IOMMU_PAGE_RESP_INVALID :
				      IOMMU_PAGE_RESP_SUCCESS;
}

/* Locks the VMA of @addr, unless it is locked already. */
static bool iopf_lock_vma(struct iopf_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;

	if (vma && addr >= vma->vm_start && addr < vma->vm_end)
		return true;
	iopf_unlock_vma(walk);
	walk->vma = lock_vma_under_rcu(walk->mm, addr);
	return walk->vma;
}

/*
 * Resolves a page under its VMA's lock. False where that is not possible, and
 * then no VMA is locked.
 */
static bool iopf_try_vma(struct iopf_walk *walk, unsigned long addr,
			 enum iommu_page_response_code *code)
{
	vm_fault_t ret;

	if (!iopf_lock_vma(walk, addr))
		return false;
	if (!iopf_access_ok(walk, walk->vma)) {
		*code = IOMMU_PAGE_RESP_INVALID;
		return true;
	}
	ret = handle_mm_fault(walk->vma, addr,
			      walk->fault | FAULT_FLAG_VMA_LOCK, NULL);
	/* Both mean that the lock is gone. */
	if (ret & (VM_FAULT_RETRY | VM_FAULT_COMPLETED))
		walk->vma = NULL;
	if (ret & VM_FAULT_RETRY) {
		if (ret & VM_FAULT_MAJOR)
			walk->fault |= FAULT_FLAG_TRIED;
		return false;
	}
	*code = iopf_code(ret);
	return true;
}

/* Resolves a page under mmap_lock, as often as it takes. */
static enum iommu_page_response_code
iopf_resolve_locked(struct iopf_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma;
	vm_fault_t ret;

	do {
		/* Grows a stack if that is what @addr wants. */
		vma = lock_mm_and_find_vma(walk->mm, addr, NULL);
		if (!vma)
			return IOMMU_PAGE_RESP_INVALID;
		if (!iopf_access_ok(walk, vma)) {
			mmap_read_unlock(walk->mm);
			return IOMMU_PAGE_RESP_INVALID;
		}
		ret = handle_mm_fault(vma, addr, walk->fault, NULL);
		/* Both mean that the lock is gone. */
		if (ret & VM_FAULT_COMPLETED)
			return IOMMU_PAGE_RESP_SUCCESS;
		walk->fault |= FAULT_FLAG_TRIED;
	} while (ret & VM_FAULT_RETRY);
	mmap_read_unlock(walk->mm);
	return iopf_code(ret);
}

static enum iommu_page_response_code
iopf_resolve_page(struct iopf_walk *walk,
		  const struct iommu_fault_page_request *prm)
{
	enum iommu_page_response_code code;
	unsigned long addr = prm->addr;

	/* Devices have no tagged addresses; one that does not fit is wrong. */
	if (addr != prm->addr)
		return IOMMU_PAGE_RESP_INVALID;
	iopf_set_access(walk, prm->perm);
	if (!iopf_try_vma(walk, addr, &code))
		code = iopf_resolve_locked(walk, addr);
	return code;
}

/**
 * iopf_mm_resolve() - make the pages of a group present
 * @group: the group, with a reference on its @mm
 *
 * The first page that cannot be had decides; what comes after it is not tried.
 *
 * Context: may sleep: for memory, for storage, and for a userfaultfd monitor.
 * Return: IOMMU_PAGE_RESP_SUCCESS or IOMMU_PAGE_RESP_INVALID.
 */
enum iommu_page_response_code iopf_mm_resolve(struct iopf_group *group)
{
	enum iommu_page_response_code code = IOMMU_PAGE_RESP_SUCCESS;
	struct iopf_walk walk = { .mm = group->mm };
	struct iopf_fault *iopf;

	/* The process is gone, though its device is not yet. */
	if (!mmget_not_zero(walk.mm))
		return IOMMU_PAGE_RESP_INVALID;
	list_for_each_entry(iopf, &group->faults, list) {
		code = iopf_resolve_page(&walk, &iopf->fault.prm);
		trace_iopf_resolve(group->fault_param->name, &iopf->fault.prm,
				   code);
		if (code != IOMMU_PAGE_RESP_SUCCESS)
			break;
	}
	iopf_unlock_vma(&walk);
	mmput(walk.mm);
	return code;
}

/* Whether nothing is mapped at @addr, in a page table that is there. */
static bool iopf_is_hole(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;
	pte_t *pte;
	bool hole;

	if (!pgd_present(pgdp_get(pgd)))
		return false;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(p4dp_get(p4d)))
		return false;
	pud = pud_offset(p4d, addr);
	if (!pud_present(pudp_get(pud)) || pud_leaf(pudp_get(pud)))
		return false;
	pte = pte_offset_map(pmd_offset(pud, addr), addr);
	if (!pte)
		return false;
	hole = pte_none(ptep_get(pte));
	pte_unmap(pte);
	return hole;
}

/* Whether a page of this VMA can be had for an allocation and nothing else. */
static bool iopf_is_quick(const struct iopf_walk *walk, unsigned long addr)
{
	struct vm_area_struct *vma = walk->vma;

	return vma_is_anonymous(vma) && !userfaultfd_armed(vma) &&
	       iopf_is_hole(walk->mm, addr);
}

static bool iopf_try_quick(struct iopf_walk *walk,
			   const struct iommu_fault_page_request *prm,
			   enum iommu_page_response_code *code)
{
	unsigned long addr = prm->addr;

	if (addr != prm->addr || !iopf_lock_vma(walk, addr))
		return false;
	iopf_set_access(walk, prm->perm);
	if (iopf_access_ok(walk, walk->vma) && !iopf_is_quick(walk, addr))
		return false;
	return iopf_try_vma(walk, addr, code);
}

/**
 * iopf_mm_try() - make the page of a group present, if that is quick
 * @group: the group, of one request, with a reference on its @mm
 * @code: what to answer, where this returns true
 *
 * For the thread that reports the fault, which may hold a lock of the driver.
 * That is safe: the only lock that is waited for is that of a page table, for
 * the VMA's lock is only tried; only anonymous memory that was never touched is
 * tried, so there is no I/O; memory is allocated without I/O and without going
 * into file systems; and the last reference on the mm is dropped elsewhere.
 *
 * Context: may sleep for memory.
 * Return: false if a lane has to see to it.
 */
bool iopf_mm_try(struct iopf_group *group, enum iommu_page_response_code *code)
{
	const struct iommu_fault_page_request *prm =
		&group->last_fault.fault.prm;
	struct iopf_walk walk = { .mm = group->mm };
	unsigned int noio;
	bool done;

	if (!mmget_not_zero(walk.mm)) {
		*code = IOMMU_PAGE_RESP_INVALID;
		return true;
	}
	noio = memalloc_noio_save();
	done = iopf_try_quick(&walk, prm, code);
	memalloc_noio_restore(noio);
	iopf_unlock_vma(&walk);
	mmput_async(walk.mm);
	if (done)
		trace_iopf_resolve(group->fault_param->name, prm, *code);
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
	mmgrab(group->mm);
	iopf_group_enqueue(group);
	return 0;
}
