// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O page faults behind an SMMUv3: stalled transactions and PCIe page requests
 *
 * Sections are those of Arm IHI 0070 (SMMU) and of the PCIe Base specification.
 *
 * Vocabulary
 *   stall	a transaction that the SMMU holds back. Its event record carries
 *		a tag (STAG); CMD_RESUME retries or aborts it
 *   page request  what a function with PRI sends for a page that it misses, a
 *		record of the PRI queue. Requests of one group are answered
 *		together, by one CMD_PRI_RESP, for the one flagged Last
 *   stop marker  what a function sends when it has stopped using a PASID: Last,
 *		neither Read nor Write (PCIe 10.4.1.2.1). Nobody answers it
 *   credits	requests that a function may have outstanding (PCIe 10.5.2)
 *   handled	records that the interrupt thread of a queue is done with: it is
 *		in no record's middle, and the core has what they report
 *   overflow	the PRI queue was full. Until software acknowledges that, the
 *		SMMU answers Last with success by itself, and drops the rest (8.1)
 *
 * What is on, and in which order (PCIe 10.5.1.3, IHI 0070 3.9)
 *   PASID when the device is probed; ATS while STE.EATS lets it through, which
 *   is while the device is attached to a domain that translates; PRI while ATS
 *   is on and a driver wants faults handled (IOMMU_DEV_FEAT_IOPF). Off in the
 *   reverse order. So PRI follows two masters, and each calls in here:
 *
 *	arm_smmu_iopf_enable(), _disable()	the device's driver, or iommufd
 *	arm_smmu_iopf_set_ats()			a change of the domain
 *
 *   pri == enabled && credits && ats, by arm_smmu_iopf_update_pri() alone.
 *   pci_reset_pri() is called right before PRI is turned on, so never while it
 *   is. STE.PPAR says whether responses carry the PASID. It is set with the
 *   first STE, as the SMMU itself answers where the queue has no room.
 *
 * Exactly one answer
 *   A request that the core takes is answered by the core, through
 *   arm_smmu_page_response(). One that it does not take, for the device is on no
 *   queue or nobody handles faults of that PASID, is answered here, at once: a
 *   stall is aborted, a Last request told INVALID. FAILURE is never sent: it
 *   stops page requests of all functions of a device (PCIe 10.4.2).
 *
 * The queue cannot overflow by design
 *   A request takes an entry of the PRI queue and a credit. The credit comes
 *   back with the response, when the entry has long been free. All credits
 *   together are no more than entries. Overflow is what misbehaving functions
 *   cause, and is survived.
 *
 * Locks
 *   arm_smmu_master_iopf::lock	(mutex) inside arm_smmu_asid_lock and the group's
 *				mutex; protects what arm_smmu_master_iopf says
 *   arm_smmu_credits_lock	(mutex) innermost; protects arm_smmu_priq::granted
 *   arm_smmu_device::streams_mutex  taken by the interrupt threads while they
 *				report. Nobody drains with it held
 *   The drain is called with the group's mutex held at most; neither interrupt
 *   thread takes that.
 *
 * Drain: when a PASID or a domain is detached, no fault of its last user may
 * reach the next. What has been reported is the core's matter; what is between
 * the SMMU and the core is ours:
 *
 *   CPU0, detach			CPU1, interrupt thread
 *   ----------------------------	----------------------------------
 *   device's driver: queue is idle
 *   CD or STE forbids accesses
 *   CMD_CFGI, CMD_ATC_INV, CMD_SYNC
 *     [what was sent is in the	reads PROD
 *      queue: 4.7.3]			CONS = n + 1, its entry is free
 *   target = position of PROD		  [the record is here only, and the
 *   while (handled < target)		   queue looks empty]
 *     sleep				iommu_queue_iopf(record)
 *     [acquires what CPU1 released]	handled = n + 1	(release)
 *   iopf_detach_handle():
 *     waits for groups of the PASID
 *   the PASID is free
 *
 *   - "handled" and not CONS, which the thread moves before it reports.
 *   - A snapshot: others may fault for ever, and the queue never become empty.
 *     For the same reason synchronize_irq() is not used: with arrivals that do
 *     not end, the thread does not, and what it would wait for, the record in
 *     the thread's hands, is what "handled" already says.
 *   - "handled" counts on where PROD wraps, so that a thread that gets round the
 *     queue while CPU0 sleeps is not mistaken for one that has not begun. PROD
 *     wraps at twice the entries, and is up to the entries and one in the
 *     thread's hands ahead: half a queue may be handled while CPU0 reads both.
 *   - Requests that CPU1 reports after that find no handler for the PASID.
 *
 *   CPU0, PRI queue overflows		CPU1, interrupt thread
 *   ----------------------------	----------------------------------
 *   SMMU: OVFLG toggles; a Last is
 *   told success, others vanish	consumes entries up to PROD
 *					PROD again: no new entry comes while
 *					OVFLG != OVACKFLG (8.1)
 *					partial groups are discarded: their
 *					Last may be one that was answered
 *					OVACKFLG = OVFLG, in one write of CONS
 *
 * tools/testing/selftests/iommu/iopf/smmu-drain.pml is a model of the drain.
 */
#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/crash_dump.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/pci-ats.h>
#include <linux/sched.h>

#include "arm-smmu-v3.h"

/* Stalls of a device that are taken at a time, if IDR5.STALL_MAX is more. */
#define ARM_SMMU_IOPF_STALLS	512
/* Credits that a function gets at most: more pages than it can use. */
#define ARM_SMMU_IOPF_CREDITS	512
/* An interrupt thread that handles nothing for so long is given up. */
#define ARM_SMMU_DRAIN_TIMEOUT	(10 * HZ)
#define ARM_SMMU_DRAIN_POLL_US	20

/* Protects arm_smmu_priq::granted. */
static DEFINE_MUTEX(arm_smmu_credits_lock);

/* Records */

/**
 * arm_smmu_iopf_decode_stall() - what an event record says, if it is a stall
 * @evt: the record, IHI 0070 section 7.3
 * @prm: the fault
 *
 * Return: true if it is; else @prm is not touched.
 */
VISIBLE_IF_KUNIT
bool arm_smmu_iopf_decode_stall(const u64 *evt,
				struct iommu_fault_page_request *prm)
{
	switch (FIELD_GET(EVTQ_0_ID, evt[0])) {
	case EVT_ID_TRANSLATION_FAULT:
	case EVT_ID_ADDR_SIZE_FAULT:
	case EVT_ID_ACCESS_FAULT:
	case EVT_ID_PERMISSION_FAULT:
		break;
	default:
		return false;
	}
	if (!(evt[1] & EVTQ_1_STALL))
		return false;

	*prm = (struct iommu_fault_page_request) {
		.flags = IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE,
		.grpid = FIELD_GET(EVTQ_1_STAG, evt[1]),
		.perm = evt[1] & EVTQ_1_RnW ? IOMMU_FAULT_PERM_READ :
					      IOMMU_FAULT_PERM_WRITE,
		.addr = FIELD_GET(EVTQ_2_ADDR, evt[2]),
		.sid = FIELD_GET(EVTQ_0_SID, evt[0]),
		.kind = IOPF_STALL,
	};
	if (evt[1] & EVTQ_1_InD)
		prm->perm |= IOMMU_FAULT_PERM_EXEC;
	if (evt[1] & EVTQ_1_PnU)
		prm->perm |= IOMMU_FAULT_PERM_PRIV;
	if (evt[0] & EVTQ_0_SSV) {
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
		prm->pasid = FIELD_GET(EVTQ_0_SSID, evt[0]);
	}
	return true;
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_decode_stall);

/**
 * arm_smmu_iopf_decode_ppr() - what a record of the PRI queue says
 * @ppr: the record, IHI 0070 chapter 8
 * @resp_pasid: responses to this function carry the PASID of the request
 * @prm: the request
 *
 * Return: false for a stop marker, which @prm tells as well.
 */
VISIBLE_IF_KUNIT
bool arm_smmu_iopf_decode_ppr(const u64 *ppr, bool resp_pasid,
			      struct iommu_fault_page_request *prm)
{
	*prm = (struct iommu_fault_page_request) {
		.grpid = FIELD_GET(PRIQ_1_PRG_IDX, ppr[1]),
		.addr = ppr[1] & PRIQ_1_ADDR_MASK,
		.sid = FIELD_GET(PRIQ_0_SID, ppr[0]),
		.kind = IOPF_PAGE_REQUEST,
	};
	if (ppr[0] & PRIQ_0_PRG_LAST)
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (ppr[0] & PRIQ_0_PERM_READ)
		prm->perm |= IOMMU_FAULT_PERM_READ;
	if (ppr[0] & PRIQ_0_PERM_WRITE)
		prm->perm |= IOMMU_FAULT_PERM_WRITE;
	if (ppr[0] & PRIQ_0_PERM_EXEC)
		prm->perm |= IOMMU_FAULT_PERM_EXEC;
	if (ppr[0] & PRIQ_0_PERM_PRIV)
		prm->perm |= IOMMU_FAULT_PERM_PRIV;
	if (ppr[0] & PRIQ_0_SSID_V) {
		prm->flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
		prm->pasid = FIELD_GET(PRIQ_0_SSID, ppr[0]);
		if (resp_pasid)
			prm->flags |= IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID;
	}

	/* PCIe 10.4.1.2.1: a stop marker has a PASID. */
	return !((ppr[0] & PRIQ_0_PRG_LAST) && (ppr[0] & PRIQ_0_SSID_V)) ||
	       (ppr[0] & (PRIQ_0_PERM_READ | PRIQ_0_PERM_WRITE));
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_decode_ppr);

/**
 * arm_smmu_iopf_build_response() - the command that answers a fault
 * @prm: the fault, as decoded above
 * @code: the answer
 * @cmd: CMD_RESUME or CMD_PRI_RESP, IHI 0070 sections 4.6.1 and 4.5.2
 */
VISIBLE_IF_KUNIT
void arm_smmu_iopf_build_response(const struct iommu_fault_page_request *prm,
				  enum iommu_page_response_code code,
				  struct arm_smmu_cmdq_ent *cmd)
{
	*cmd = (struct arm_smmu_cmdq_ent) {};
	if (prm->kind == IOPF_STALL) {
		cmd->opcode = CMDQ_OP_RESUME;
		cmd->resume.sid = prm->sid;
		cmd->resume.stag = prm->grpid;
		cmd->resume.resp = code == IOMMU_PAGE_RESP_SUCCESS ?
				   CMDQ_RESUME_0_RESP_RETRY :
				   CMDQ_RESUME_0_RESP_ABORT;
		return;
	}

	cmd->opcode = CMDQ_OP_PRI_RESP;
	cmd->pri.sid = prm->sid;
	cmd->pri.grpid = prm->grpid;
	if (prm->flags & IOMMU_FAULT_PAGE_RESPONSE_NEEDS_PASID) {
		cmd->substream_valid = true;
		cmd->pri.ssid = prm->pasid;
	}
	switch (code) {
	case IOMMU_PAGE_RESP_SUCCESS:
		cmd->pri.resp = PRI_RESP_SUCCESS;
		break;
	case IOMMU_PAGE_RESP_INVALID:
		cmd->pri.resp = PRI_RESP_INVALID;
		break;
	default:
		cmd->pri.resp = PRI_RESP_FAILURE;
	}
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_build_response);

/*
 * Without CMD_SYNC: CMD_RESUME is done when it is consumed, and nobody knows
 * when a page request response has arrived.
 */
static void arm_smmu_iopf_respond(struct arm_smmu_device *smmu,
				  const struct iommu_fault_page_request *prm,
				  enum iommu_page_response_code code)
{
	struct arm_smmu_cmdq_ent cmd;

	arm_smmu_iopf_build_response(prm, code, &cmd);
	arm_smmu_cmdq_issue_cmd(smmu, &cmd);
}

/**
 * arm_smmu_page_response() - send the core's answer to the device
 * @dev: the device
 * @evt: the last request of the group
 * @resp: the answer
 *
 * Context: does not sleep, but for room in the command queue, which it polls.
 */
void arm_smmu_page_response(struct device *dev, struct iopf_fault *evt,
			    struct iommu_page_response *resp)
{
	struct arm_smmu_master *master = dev_iommu_priv_get(dev);

	arm_smmu_iopf_respond(master->smmu, &evt->fault.prm, resp->code);
}

/* Reporting */

/* Nobody takes the fault: tell the device, and the log whose it was. */
static void arm_smmu_iopf_refuse(struct arm_smmu_device *smmu,
				 struct arm_smmu_master *master,
				 const struct iommu_fault_page_request *prm)
{
	bool stall = prm->kind == IOPF_STALL;
	bool last = prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;

	dev_info_ratelimited(master ? master->dev : smmu->dev,
			     "%s refused, nobody handles it: sid %#x ssid %#x id %u%s %s%s%s%s addr %#llx\n",
			     stall ? "stall" : "page request",
			     prm->sid, prm->pasid, prm->grpid,
			     last ? " last" : "",
			     prm->perm & IOMMU_FAULT_PERM_READ ? "R" : "",
			     prm->perm & IOMMU_FAULT_PERM_WRITE ? "W" : "",
			     prm->perm & IOMMU_FAULT_PERM_EXEC ? "X" : "",
			     prm->perm & IOMMU_FAULT_PERM_PRIV ? "P" : "",
			     prm->addr);
	if (last)
		arm_smmu_iopf_respond(smmu, prm, IOMMU_PAGE_RESP_INVALID);
}

static int arm_smmu_iopf_report(struct arm_smmu_device *smmu,
				struct arm_smmu_master *master,
				const struct iommu_fault_page_request *prm)
{
	struct iommu_fault fault = {
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm = *prm,
	};

	int ret;

	lockdep_assert_held(&smmu->streams_mutex);
	ret = master ? iommu_queue_iopf(master->dev, &fault) : -ENODEV;
	if (ret)
		arm_smmu_iopf_refuse(smmu, master, prm);
	return ret;
}

/**
 * arm_smmu_iopf_handle_evt() - the event queue's thread has a record
 * @smmu: the SMMU
 * @evt: the record
 *
 * Context: the interrupt thread of the event queue.
 * Return: 0 if it was a stall that somebody will answer, an errno if it was one
 * that nobody handles, which has been aborted, else -EOPNOTSUPP. The thread
 * prints records for which it is not 0.
 */
int arm_smmu_iopf_handle_evt(struct arm_smmu_device *smmu, const u64 *evt)
{
	struct iommu_fault_page_request prm;
	int ret;

	if (!arm_smmu_iopf_decode_stall(evt, &prm))
		return -EOPNOTSUPP;

	mutex_lock(&smmu->streams_mutex);
	ret = arm_smmu_iopf_report(smmu, arm_smmu_find_master(smmu, prm.sid),
				   &prm);
	mutex_unlock(&smmu->streams_mutex);
	cond_resched();
	return ret;
}

/**
 * arm_smmu_iopf_handle_ppr() - the PRI queue's thread has a record
 * @smmu: the SMMU
 * @ppr: the record
 *
 * Context: the interrupt thread of the PRI queue.
 */
void arm_smmu_iopf_handle_ppr(struct arm_smmu_device *smmu, const u64 *ppr)
{
	struct iommu_fault_page_request prm;
	struct arm_smmu_master *master;

	mutex_lock(&smmu->streams_mutex);
	master = arm_smmu_find_master(smmu, FIELD_GET(PRIQ_0_SID, ppr[0]));
	/* A stranger is told the PASID that it has sent. */
	if (arm_smmu_iopf_decode_ppr(ppr, !master || master->ppar, &prm))
		arm_smmu_iopf_report(smmu, master, &prm);
	mutex_unlock(&smmu->streams_mutex);
	cond_resched();
}

/**
 * arm_smmu_iopf_overflow() - the PRI queue lost requests
 * @smmu: the SMMU
 *
 * The SMMU has answered Last requests, of whichever functions, and what is
 * left of their groups must not wait for them.
 *
 * Context: the interrupt thread of the PRI queue, when it has consumed all
 * entries and not yet acknowledged the overflow.
 */
void arm_smmu_iopf_overflow(struct arm_smmu_device *smmu)
{
	dev_warn_ratelimited(smmu->dev,
			     "PRIQ overflow detected -- requests lost\n");
	iopf_queue_discard_partial(smmu->evtq.iopf);
}

/* Drain */

/**
 * arm_smmu_iopf_target() - how many records must have been handled
 * @shift: log2 of the queue's entries, which are two at least
 * @handled: how many had been, before @prod was read
 * @prod: PROD register: index, wrap bit above it, flags above that
 *
 * Between @handled and @prod are a record in the thread's hands, whose entry is
 * free, as many as there are entries, and what was handled between the reads:
 * less than half of the entries, or twice the entries are no longer enough to
 * tell.
 *
 * Return: so many that all up to @prod are.
 */
VISIBLE_IF_KUNIT
u64 arm_smmu_iopf_target(u32 shift, u64 handled, u32 prod)
{
	u64 mask = (2ULL << shift) - 1;

	return handled + ((prod - handled) & mask);
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_target);

/* A snapshot of PROD, as a number of handled records. False: try again. */
static bool arm_smmu_iopf_snapshot(struct arm_smmu_queue *q, u64 *target)
{
	u64 before, after;
	u32 prod;

	/* Read before PROD */
	before = smp_load_acquire(&q->handled);
	prod = readl(q->prod_reg);
	/* Read after PROD: readl() is ordered */
	after = smp_load_acquire(&q->handled);
	*target = arm_smmu_iopf_target(q->llq.max_n_shift, before, prod);
	return after - before < max(1U << q->llq.max_n_shift >> 1, 1U);
}

/*
 * All that is in the queue now is handled when this many are. A thread that
 * gets on so fast that no snapshot succeeds has handled what there can have
 * been: a queue full, and a record in its hands.
 */
static u64 arm_smmu_iopf_wait_until(struct arm_smmu_queue *q)
{
	/* Pairs with arm_smmu_queue_handled(), as below. */
	u64 most = smp_load_acquire(&q->handled) +
		   (1U << q->llq.max_n_shift) + 1;
	u64 target;

	while (!arm_smmu_iopf_snapshot(q, &target)) {
		if (READ_ONCE(q->handled) >= most)
			return most;
	}
	return min(target, most);
}

/**
 * arm_smmu_iopf_drain_queue() - wait for what is in a queue
 * @q: the queue
 *
 * Context: may sleep. The queue's interrupt thread must be able to get on.
 * Return: 0 when the interrupt thread has handled all that is in the queue now,
 * -ETIMEDOUT if it handles nothing.
 */
VISIBLE_IF_KUNIT
int arm_smmu_iopf_drain_queue(struct arm_smmu_queue *q)
{
	unsigned long end = jiffies + ARM_SMMU_DRAIN_TIMEOUT;
	u64 target = arm_smmu_iopf_wait_until(q), seen = 0, handled;

	for (;;) {
		/* Pairs with arm_smmu_queue_handled(). */
		handled = smp_load_acquire(&q->handled);
		if (handled >= target)
			return 0;
		if (handled != seen)
			end = jiffies + ARM_SMMU_DRAIN_TIMEOUT;
		else if (time_after(jiffies, end))
			return -ETIMEDOUT;
		seen = handled;
		usleep_range(ARM_SMMU_DRAIN_POLL_US,
			     4 * ARM_SMMU_DRAIN_POLL_US);
	}
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_drain_queue);

static int arm_smmu_iopf_drain_queues(struct arm_smmu_master *master)
{
	struct arm_smmu_device *smmu = master->smmu;
	int ret = 0;

	if (master->stall_enabled)
		ret = arm_smmu_iopf_drain_queue(&smmu->evtq.q);
	if (!ret && READ_ONCE(master->iopf.credits))
		ret = arm_smmu_iopf_drain_queue(&smmu->priq.q);
	if (ret)
		dev_warn_ratelimited(master->dev,
				     "faults may be outstanding, the SMMU's interrupt thread does not get on\n");
	return ret;
}

/* The core's drain callback, an iopf_drain_t. */
static int arm_smmu_iopf_drain_dev(void *cookie, struct device *dev, u32 pasid)
{
	return arm_smmu_iopf_drain_queues(dev_iommu_priv_get(dev));
}

/**
 * arm_smmu_iopf_drain() - see to it that no fault is on its way to the core
 * @master: the device, which does not use a PASID or a domain any more
 *
 * What the core has by then is the core's matter: it withdraws the faults of a
 * PASID or domain before and after the driver removes it.
 *
 * Context: may sleep. With the group's mutex, but not with arm_smmu_asid_lock,
 * &arm_smmu_device.streams_mutex or &arm_smmu_master_iopf.lock held. After
 * CMD_SYNC has completed behind the change of the CD or STE.
 */
void arm_smmu_iopf_drain(struct arm_smmu_master *master)
{
	if (READ_ONCE(master->iopf.enabled))
		arm_smmu_iopf_drain_queues(master);
}

/* Enabling */

/**
 * arm_smmu_iopf_share() - a function's share of the PRI queue
 * @entries: of the queue
 * @granted: credits that others have
 * @wanted: credits that the function can use
 *
 * Half of what is left, so that there is some for those who come later.
 *
 * Return: the credits; 0 if there are none left.
 */
VISIBLE_IF_KUNIT
u32 arm_smmu_iopf_share(u32 entries, u32 granted, u32 wanted)
{
	return min(wanted, DIV_ROUND_UP(entries - granted, 2));
}
EXPORT_SYMBOL_IF_KUNIT(arm_smmu_iopf_share);

#ifdef CONFIG_PCI_PRI
/* Credits that a PCI function can use; a virtual one uses its PF's. */
static int arm_smmu_iopf_get_credits(struct arm_smmu_master *master)
{
	struct arm_smmu_priq *priq = &master->smmu->priq;
	struct pci_dev *pdev = to_pci_dev(master->dev);
	u32 wanted;

	if (pdev->is_virtfn) {
		master->iopf.credits = pci_physfn(pdev)->pri_reqs_alloc;
		return master->iopf.credits ? 0 : -ENODEV;
	}

	pci_read_config_dword(pdev, pdev->pri_cap + PCI_PRI_MAX_REQ, &wanted);
	guard(mutex)(&arm_smmu_credits_lock);
	master->iopf.credits =
		arm_smmu_iopf_share(1U << priq->q.llq.max_n_shift,
				    priq->granted,
				    min(wanted, ARM_SMMU_IOPF_CREDITS));
	priq->granted += master->iopf.credits;
	return master->iopf.credits ? 0 : -ENOSPC;
}

static void arm_smmu_iopf_put_credits(struct arm_smmu_master *master)
{
	if (master->iopf.credits && !to_pci_dev(master->dev)->is_virtfn) {
		guard(mutex)(&arm_smmu_credits_lock);
		master->smmu->priq.granted -= master->iopf.credits;
	}
	master->iopf.credits = 0;
}

static const char *arm_smmu_iopf_function_obstacle(struct pci_dev *pdev)
{
	if (!pci_pri_supported(pdev))
		return "no PRI";
	if (pdev->is_virtfn && !pci_physfn(pdev)->pri_enabled)
		return "page requests of its physical function are off";
	return NULL;
}

/* PRI follows what is wanted and possible: see the top of this file. */
static int arm_smmu_iopf_update_pri(struct arm_smmu_master *master)
{
	struct arm_smmu_master_iopf *iopf = &master->iopf;
	bool on = iopf->enabled && iopf->credits && iopf->ats;
	struct pci_dev *pdev;
	int ret;

	lockdep_assert_held(&iopf->lock);
	if (on == iopf->pri)
		return 0;

	pdev = to_pci_dev(master->dev);
	if (!on) {
		iopf->pri = false;
		pci_disable_pri(pdev);
		return 0;
	}
	ret = pci_reset_pri(pdev);
	if (!ret)
		ret = pci_enable_pri(pdev, iopf->credits);
	if (ret)
		dev_err(master->dev, "failed to enable PRI (%pe)\n",
			ERR_PTR(ret));
	iopf->pri = !ret;
	return ret;
}

static bool arm_smmu_iopf_needs_pasid(struct device *dev)
{
	return dev_is_pci(dev) && pci_prg_resp_pasid_required(to_pci_dev(dev));
}
#else
static int arm_smmu_iopf_get_credits(struct arm_smmu_master *master)
{
	return -ENODEV;
}

static void arm_smmu_iopf_put_credits(struct arm_smmu_master *master)
{
}

static const char *arm_smmu_iopf_function_obstacle(struct pci_dev *pdev)
{
	return "no PRI";
}

static int arm_smmu_iopf_update_pri(struct arm_smmu_master *master)
{
	return 0;
}

static bool arm_smmu_iopf_needs_pasid(struct device *dev)
{
	return false;
}
#endif /* CONFIG_PCI_PRI */

/* Why page requests cannot be had, or NULL. */
static const char *arm_smmu_iopf_obstacle(struct arm_smmu_master *master)
{
	struct arm_smmu_device *smmu = master->smmu;

	if (!dev_is_pci(master->dev))
		return "the SMMU may not stall it, and it is no PCI device";
	if (smmu->priq.deaf)
		return "the SMMU's PRI queue has no interrupt";
	if (!(smmu->features & ARM_SMMU_FEAT_PRI))
		return "the SMMU may not stall it, and has no PRI queue";
	if (!smmu->priq.q.llq.max_n_shift)
		return "the SMMU's PRI queue has one entry, which cannot be drained";
	if (!arm_smmu_ats_supported(master))
		return "no ATS";
	return arm_smmu_iopf_function_obstacle(to_pci_dev(master->dev));
}

/* Takes what the device needs to send page requests: 0, or says why not. */
static int arm_smmu_iopf_prepare(struct arm_smmu_master *master)
{
	bool deaf = is_kdump_kernel();
	int ret = -ENODEV;
	const char *why;

	lockdep_assert_held(&master->iopf.lock);
	why = deaf ? "the queues are off in a kdump kernel" :
		     arm_smmu_iopf_obstacle(master);
	if (!why) {
		ret = arm_smmu_iopf_get_credits(master);
		why = "credits of the PRI queue are used up";
	}
	/* One that can stall does without page requests. */
	if (!ret || (master->stall_enabled && !deaf))
		return 0;
	dev_info_ratelimited(master->dev, "no I/O page faults: %s\n", why);
	return ret;
}

static unsigned int arm_smmu_iopf_grant(struct arm_smmu_master *master)
{
	unsigned int granted = master->iopf.credits;

	/* What is stalled beyond that is retried. */
	if (master->stall_enabled)
		granted += min(master->smmu->evtq.max_stalls ?: U32_MAX,
			       ARM_SMMU_IOPF_STALLS);
	return granted;
}

/**
 * arm_smmu_iopf_enable() - faults of a device are to be handled
 * @master: the device
 *
 * Page requests come with ATS, now or when a domain that translates is attached.
 *
 * Context: may sleep. Called without a lock of the driver.
 * Return: 0, -EBUSY if they are already, -ENODEV or, where others have all
 * credits of the PRI queue, -ENOSPC if they cannot be, with a line that says
 * why, -ENOMEM, or what PCI says to enabling PRI.
 */
int arm_smmu_iopf_enable(struct arm_smmu_master *master)
{
	struct iopf_queue *queue = master->smmu->evtq.iopf;
	struct arm_smmu_master_iopf *iopf = &master->iopf;
	int ret;

	mutex_lock(&iopf->lock);
	ret = iopf->enabled ? -EBUSY : arm_smmu_iopf_prepare(master);
	if (ret)
		goto out_unlock;
	ret = iopf_queue_add_device_granted(queue, master->dev,
					    arm_smmu_iopf_grant(master));
	if (ret)
		goto err_put_credits;
	iopf->enabled = true;
	ret = arm_smmu_iopf_update_pri(master);
	if (ret)
		goto err_remove;
	mutex_unlock(&iopf->lock);
	return 0;

err_remove:
	iopf->enabled = false;
	iopf_queue_remove_device(queue, master->dev);
err_put_credits:
	arm_smmu_iopf_put_credits(master);
out_unlock:
	mutex_unlock(&iopf->lock);
	return ret;
}

/**
 * arm_smmu_iopf_disable() - faults of a device are not to be handled any more
 * @master: the device, whose driver has stopped it
 *
 * When this returns, all its faults have been answered.
 *
 * Context: may sleep. As arm_smmu_iopf_drain().
 * Return: 0, or -EINVAL if they were not.
 */
int arm_smmu_iopf_disable(struct arm_smmu_master *master)
{
	struct arm_smmu_master_iopf *iopf = &master->iopf;

	scoped_guard(mutex, &iopf->lock) {
		if (!iopf->enabled)
			return -EINVAL;
		iopf->enabled = false;
		arm_smmu_iopf_update_pri(master);
	}
	/* Without the lock: the attach path takes it, with the global one. */
	arm_smmu_iopf_drain_queues(master);
	iopf_queue_remove_device(master->smmu->evtq.iopf, master->dev);
	scoped_guard(mutex, &iopf->lock)
		arm_smmu_iopf_put_credits(master);
	return 0;
}

/**
 * arm_smmu_iopf_set_ats() - ATS is on, or about to be turned off
 * @master: a PCI device
 * @on: which of them
 *
 * STE.EATS is on before the former and after the latter, so while PRI is.
 *
 * Context: the attach path, with arm_smmu_asid_lock held.
 */
void arm_smmu_iopf_set_ats(struct arm_smmu_master *master, bool on)
{
	guard(mutex)(&master->iopf.lock);
	master->iopf.ats = on && to_pci_dev(master->dev)->ats_enabled;
	arm_smmu_iopf_update_pri(master);
}

/* Probing */

/**
 * arm_smmu_iopf_probe_device() - a device has been found behind an SMMU
 * @master: the device
 *
 * Context: before its first STE is written.
 */
void arm_smmu_iopf_probe_device(struct arm_smmu_master *master)
{
	mutex_init(&master->iopf.lock);
	master->ppar = arm_smmu_iopf_needs_pasid(master->dev);
}

static void arm_smmu_iopf_free_action(void *data)
{
	iopf_queue_free(data);
}

/**
 * arm_smmu_iopf_init() - an SMMU has been found
 * @smmu: the SMMU, whose features are known
 *
 * Return: 0, or -ENOMEM.
 */
int arm_smmu_iopf_init(struct arm_smmu_device *smmu)
{
	if (!(smmu->features & (ARM_SMMU_FEAT_STALLS | ARM_SMMU_FEAT_PRI)))
		return 0;

	smmu->evtq.iopf = iopf_queue_alloc(dev_name(smmu->dev),
					   arm_smmu_iopf_drain_dev, smmu);
	if (!smmu->evtq.iopf)
		return -ENOMEM;
	return devm_add_action_or_reset(smmu->dev, arm_smmu_iopf_free_action,
					smmu->evtq.iopf);
}
