/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ARM SMMUv3: transactions that wait for software
 *
 * Stalled transactions, ATS and PRI, for endpoints that speak the language
 * of hw/pci/pci_iommu.h. Sections named here are those of Arm IHI 0070.
 *
 * A stalled transaction has one of stall-max slots, whose index is its STAG.
 * Where there is no slot, or the event queue cannot take its record, the
 * transaction waits without a STAG and is tried again as though it had just
 * arrived (section 3.12.2). The endpoint keeps the transaction itself; here
 * is no more than its name.
 *
 * Context: the BQL is held throughout. A command runs with s->mutex held,
 * which is why clients are not to call back from their callbacks.
 */

#include "qemu/osdep.h"
#include "qemu/log.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "hw/irq.h"
#include "hw/pci/pci.h"
#include "hw/pci/pci_device.h"
#include "trace.h"

#include "hw/arm/smmuv3.h"
#include "smmuv3-internal.h"

static SMMUDevice *smmuv3_sdev(void *opaque, PCIBus *bus, int devfn)
{
    AddressSpace *as = smmu_find_add_as(bus, opaque, devfn);

    return container_of(as, SMMUDevice, as);
}

/* The endpoint behind @sid, if it is one that wants to hear from us. */
static PCIDevice *smmuv3_find_client(SMMUv3State *s, uint32_t sid)
{
    SMMUDevice *sdev = smmu_find_sdev(&s->smmu_state, sid);
    PCIDevice *dev;

    if (!sdev) {
        return NULL;
    }
    dev = pci_find_device(sdev->bus, pci_bus_num(sdev->bus), sdev->devfn);
    /* a virtual function may be there without being enabled */
    return dev && dev->enabled && dev->iommu_client ? dev : NULL;
}

static SMMUEventInfo smmuv3_new_event(SMMUDevice *sdev,
                                      const PCIXlateReq *req)
{
    return (SMMUEventInfo) {
        .type = SMMU_EVT_NONE,
        .sid = smmu_get_sid(sdev),
        .ssv = req->pasid != PCI_NO_PASID,
        .ssid = req->pasid,
    };
}

static void smmuv3_fill_entry(IOMMUTLBEntry *entry, const PCIXlateReq *req)
{
    *entry = (IOMMUTLBEntry) {
        .target_as = &address_space_memory,
        .iova = req->addr,
        .translated_addr = req->addr,
        .addr_mask = 0xfff,
        .perm = IOMMU_NONE,
    };
}

/* Stalls */

static int smmuv3_stall_find_free(SMMUv3State *s)
{
    int i;

    for (i = 0; i < s->stall_max; i++) {
        if (!s->stalls[i].busy) {
            return i;
        }
    }
    return -1;
}

/* The four faults of section 3.12, at stage 1 and where CD.S is set */
static bool smmuv3_may_stall(SMMUTransCfg *cfg, SMMUEventInfo *event)
{
    if (!cfg || !cfg->stall || event->u.f_walk_eabt.s2) {
        return false;
    }
    return event->type >= SMMU_EVT_F_TRANSLATION &&
           event->type <= SMMU_EVT_F_PERMISSION;
}

static PCIXlateResult smmuv3_stall_wait(SMMUv3State *s, uint32_t sid,
                                        uint32_t tag)
{
    if (s->n_waiters == SMMU_STALL_WAITERS) {
        qemu_log_mask(LOG_UNIMP, "smmuv3: too many waiting transactions\n");
        return PCI_XLATE_ABORT;
    }
    s->waiters[s->n_waiters++] = (SMMUStall) { .sid = sid, .tag = tag };
    trace_smmuv3_stall_wait(sid, tag, s->n_waiters);
    return PCI_XLATE_STALLED;
}

static PCIXlateResult smmuv3_stall(SMMUv3State *s, const PCIXlateReq *req,
                                   SMMUEventInfo *event)
{
    int stag = smmuv3_stall_find_free(s);

    if (stag < 0 || !smmuv3_eventq_writable(s)) {
        return smmuv3_stall_wait(s, event->sid, req->tag);
    }
    s->stalls[stag] = (SMMUStall) {
        .sid = event->sid,
        .tag = req->tag,
        .busy = true,
    };
    event->u.f_walk_eabt.stall = true;
    event->u.f_walk_eabt.stag = stag;
    trace_smmuv3_stall(event->sid, req->pasid, req->addr, stag, req->tag);
    smmuv3_record_event(s, event);
    return PCI_XLATE_STALLED;
}

static void smmuv3_stall_done(SMMUv3State *s, SMMUStall *stall, bool retry)
{
    PCIDevice *dev = smmuv3_find_client(s, stall->sid);

    trace_smmuv3_stall_done(stall->sid, stall->tag, retry);
    if (dev && !stall->orphan) {
        dev->iommu_client->stall_done(dev, stall->tag, retry);
    }
    stall->busy = false;
}

/*
 * There may be room again: all that wait try again, in the order in which
 * they came. Waking no more than there is room for would not do: one that
 * succeeds or aborts leaves its room to none.
 */
void smmuv3_stall_wake(SMMUv3State *s)
{
    uint32_t i, n = s->n_waiters;

    if (!n || smmuv3_stall_find_free(s) < 0 || !smmuv3_eventq_writable(s)) {
        return;
    }
    s->n_waiters = 0;
    for (i = 0; i < n; i++) {
        smmuv3_stall_done(s, &s->waiters[i], true);
    }
}

/* Take the transactions of @sid off the list of those without a STAG. */
static void smmuv3_stall_remove_waiters(SMMUv3State *s, uint32_t sid,
                                        bool abort)
{
    uint32_t i, kept = 0;

    for (i = 0; i < s->n_waiters; i++) {
        if (s->waiters[i].sid != sid) {
            s->waiters[kept++] = s->waiters[i];
        } else if (abort) {
            smmuv3_stall_done(s, &s->waiters[i], false);
        }
    }
    s->n_waiters = kept;
}

/* CMD_STALL_TERM, section 4.7.2 */
static void smmuv3_stall_terminate(SMMUv3State *s, uint32_t sid)
{
    int i;

    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy && s->stalls[i].sid == sid) {
            smmuv3_stall_done(s, &s->stalls[i], false);
        }
    }
    smmuv3_stall_remove_waiters(s, sid, true);
}

/* SMMUEN == 0: section 3.12.2 */
void smmuv3_stall_terminate_all(SMMUv3State *s)
{
    int i;

    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy) {
            smmuv3_stall_done(s, &s->stalls[i], false);
        }
    }
    for (i = 0; i < s->n_waiters; i++) {
        smmuv3_stall_done(s, &s->waiters[i], false);
    }
    s->n_waiters = 0;
}

/* CMD_RESUME, section 4.7.1. TERM_MODEL is 1: terminated means aborted. */
static void smmuv3_stall_resume(SMMUv3State *s, Cmd *cmd)
{
    uint32_t sid = CMD_SID(cmd), stag = CMD_RESUME_STAG(cmd);

    if (stag >= s->stall_max || !s->stalls[stag].busy ||
        s->stalls[stag].sid != sid) {
        trace_smmuv3_resume_ignored(sid, stag);
        return;
    }
    smmuv3_stall_done(s, &s->stalls[stag], CMD_RESUME_AC(cmd));
    smmuv3_stall_wake(s);
}

/*
 * The endpoint was reset. Its STAGs remain in use until software is done
 * with them (section 3.12.2), as it has seen their records.
 */
static void smmuv3_cancel(PCIBus *bus, void *opaque, int devfn)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    uint32_t sid = smmu_get_sid(smmuv3_sdev(opaque, bus, devfn));
    int i;

    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy && s->stalls[i].sid == sid) {
            s->stalls[i].orphan = true;
        }
    }
    smmuv3_stall_remove_waiters(s, sid, false);
}

static PCIXlateResult smmuv3_pci_translate(PCIBus *bus, void *opaque,
                                           int devfn, const PCIXlateReq *req,
                                           IOMMUTLBEntry *entry,
                                           uint32_t *token)
{
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    SMMUEventInfo event = smmuv3_new_event(sdev, req);
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUTransCfg *cfg;

    smmuv3_fill_entry(entry, req);
    switch (smmuv3_request(sdev, req->pasid, req->addr, req->perm, &event,
                           &cfg, entry)) {
    case SMMU_TRANS_SUCCESS:
        return PCI_XLATE_OK;
    case SMMU_TRANS_DISABLE:
    case SMMU_TRANS_BYPASS:
        entry->perm = req->perm;
        return PCI_XLATE_OK;
    case SMMU_TRANS_ABORT:
        return PCI_XLATE_ABORT;
    case SMMU_TRANS_ERROR:
        break;
    }
    smmuv3_fixup_event(&event, req->addr);
    event.u.f_walk_eabt.pnu = req->priv;
    event.u.f_walk_eabt.ind = req->exec;
    if (req->can_stall && smmuv3_may_stall(cfg, &event)) {
        return smmuv3_stall(s, req, &event);
    }
    smmuv3_record_event(s, &event);
    return PCI_XLATE_ABORT;
}

/* Nothing here waits for accesses in flight: the endpoint's are atomic. */
static void smmuv3_pci_translate_done(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t token)
{
}

/* ATS */

/*
 * How an ATS request can end, short of a translation: Unsupported Request,
 * Completer Abort
 */
#define SMMU_ATS_UR (-ENODEV)
#define SMMU_ATS_CA (-EFAULT)

/*
 * Is the stream permitted to use ATS? Section 3.9.1.2. Of all that can go
 * wrong, a translation request records F_BAD_ATS_TREQ only: IDR0.ATSRECERR
 * is 0.
 */
static int smmuv3_ats_check(SMMUDevice *sdev, SMMUEventInfo *event)
{
    SMMUv3State *s = sdev->smmu;
    SMMUTransCfg cfg = {};
    STE ste;

    if (smmu_enabled(s)) {
        QEMU_LOCK_GUARD(&s->mutex);

        if (smmuv3_decode_stream(sdev, &ste, &cfg, event)) {
            return SMMU_ATS_CA;
        }
        if (cfg.aborted) {
            return SMMU_ATS_UR;
        }
        if (!cfg.bypassed && cfg.eats) {
            return 0;
        }
    }
    event->type = SMMU_EVT_F_BAD_ATS_TREQ;
    return SMMU_ATS_UR;
}

static bool smmuv3_is_not_present(SMMUEventInfo *event)
{
    /* no type: a fault with CD.R == 0 */
    return event->type == SMMU_EVT_NONE ||
           (event->type >= SMMU_EVT_F_TRANSLATION &&
            event->type <= SMMU_EVT_F_PERMISSION);
}

static int smmuv3_ats_walk(SMMUDevice *sdev, const PCIXlateReq *req,
                           IOMMUAccessFlags perm, IOMMUTLBEntry *entry)
{
    SMMUEventInfo event = smmuv3_new_event(sdev, req);
    SMMUTransCfg *cfg;

    switch (smmuv3_request(sdev, req->pasid, req->addr, perm, &event, &cfg,
                           entry)) {
    case SMMU_TRANS_SUCCESS:
        entry->perm &= perm;
        return 0;
    case SMMU_TRANS_BYPASS: /* stage 1 is skipped by STE.S1DSS */
        entry->perm = perm;
        return 0;
    case SMMU_TRANS_ERROR:
        if (smmuv3_is_not_present(&event)) {
            return 0;
        }
        return SMMU_ATS_CA;
    default:
        return SMMU_ATS_CA;
    }
}

/* One page; 0, or what the request ends with. */
static int smmuv3_ats_page(SMMUDevice *sdev, const PCIXlateReq *req,
                           IOMMUTLBEntry *entry)
{
    SMMUEventInfo event = smmuv3_new_event(sdev, req);
    SMMUv3State *s = sdev->smmu;
    int ret = SMMU_ATS_UR;

    smmuv3_fill_entry(entry, req);
    if (s->ats) {
        ret = smmuv3_ats_check(sdev, &event);
    }
    if (!ret) {
        ret = smmuv3_ats_walk(sdev, req, req->perm, entry);
        /* A page that cannot be written may be readable */
        if (!ret && entry->perm == IOMMU_NONE && (req->perm & IOMMU_WO)) {
            ret = smmuv3_ats_walk(sdev, req, IOMMU_RO, entry);
        }
    } else if (event.type == SMMU_EVT_F_BAD_ATS_TREQ) {
        event.u.f_bad_ats_treq.addr = req->addr;
        smmuv3_record_event(s, &event);
    }
    trace_smmuv3_ats_request(event.sid, req->pasid, req->addr, ret,
                             entry->perm);
    return ret;
}

static ssize_t smmuv3_ats_request(PCIBus *bus, void *opaque, int devfn,
                                  uint32_t pasid, bool priv_req, bool exec_req,
                                  hwaddr addr, size_t length, bool no_write,
                                  IOMMUTLBEntry *result, size_t result_length,
                                  uint32_t *err_count)
{
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    PCIXlateReq req = {
        .pasid = pasid,
        .addr = addr,
        .perm = no_write ? IOMMU_RO : IOMMU_RW,
        .priv = priv_req,
        .exec = exec_req,
    };
    size_t i, pages = DIV_ROUND_UP(length, 4 * KiB);
    int ret;

    if (pages > result_length) {
        return -ENOMEM;
    }
    for (i = 0; i < pages; i++, req.addr += 4 * KiB) {
        ret = smmuv3_ats_page(sdev, &req, &result[i]);
        if (ret) {
            return i ? i : ret;
        }
        *err_count += result[i].perm == IOMMU_NONE;
    }
    return pages;
}

/* Section 3.9.1.3 */
static bool smmuv3_ats_translated(PCIBus *bus, void *opaque, int devfn,
                                  hwaddr addr, bool write)
{
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUEventInfo event = { .sid = smmu_get_sid(sdev) };
    SMMUTransCfg cfg = {};
    STE ste;

    if (addr >> oas2bits(s->oas)) {
        return false;
    }
    if (smmu_enabled(s)) {
        QEMU_LOCK_GUARD(&s->mutex);

        if (!FIELD_EX32(s->cr[0], CR0, ATSCHK)) {
            return true;
        }
        if (smmuv3_decode_stream(sdev, &ste, &cfg, &event) || cfg.aborted) {
            return false;
        }
        if (!cfg.bypassed && cfg.eats) {
            return true;
        }
    }
    trace_smmuv3_ats_forbidden(event.sid, addr);
    event.type = SMMU_EVT_F_TRANS_FORBIDDEN;
    event.u.f_transl_forbidden.addr = addr;
    event.u.f_transl_forbidden.rnw = !write;
    smmuv3_record_event(s, &event);
    return false;
}

/* CMD_ATC_INV, section 4.5.1 */
static SMMUCmdError smmuv3_atc_inv(SMMUv3State *s, Cmd *cmd)
{
    uint32_t ssid = CMD_SSV(cmd) ? CMD_SSID(cmd) : PCI_NO_PASID;
    bool global = CMD_SSV(cmd) && CMD_GLOBAL(cmd);
    unsigned int size = CMD_ATC_SIZE(cmd);
    PCIDevice *dev;
    uint64_t mask;
    bool done;

    if (!s->ats || size > 52) {
        return SMMU_CERROR_ILL;
    }
    dev = smmuv3_find_client(s, CMD_SID(cmd));
    if (!smmu_enabled(s) || !dev || !dev->iommu_client->ats_invalidate) {
        return SMMU_CERROR_NONE;
    }
    mask = size == 52 ? UINT64_MAX : MAKE_64BIT_MASK(0, size + 12);
    done = dev->iommu_client->ats_invalidate(dev, ssid, CMD_ADDR(cmd) & ~mask,
                                             mask, global,
                                             s->atc_pending % PCI_ATS_ITAGS);
    trace_smmuv3_atc_inv(CMD_SID(cmd), ssid, CMD_ADDR(cmd), mask, global, done);
    if (!done) {
        s->atc_pending++;
    }
    return SMMU_CERROR_NONE;
}

static void smmuv3_sync_end(SMMUv3State *s, bool timeout)
{
    trace_smmuv3_sync_end(timeout);
    s->sync_state = timeout ? SMMU_SYNC_TIMEOUT : SMMU_SYNC_DONE;
    smmuv3_cmdq_consume(s);
}

static void smmuv3_sync_timer(void *opaque)
{
    SMMUv3State *s = opaque;
    bool timeout = s->atc_pending;

    s->atc_pending = 0;
    if (s->sync_state == SMMU_SYNC_WAIT) {
        smmuv3_sync_end(s, timeout);
    }
}

static void smmuv3_ats_inv_done(PCIBus *bus, void *opaque, int devfn,
                                uint32_t itag)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    /* 0: it comes after the time-out */
    if (!s->atc_pending || --s->atc_pending) {
        return;
    }
    if (s->sync_state == SMMU_SYNC_WAIT) {
        timer_mod(s->sync_timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
                  s->cmd_delay_us * SCALE_US);
    }
}

/**
 * smmuv3_sync_must_wait - is it too early to complete a CMD_SYNC?
 *
 * An invalidation that an endpoint has not confirmed, or cmd-delay-us, hold
 * it up. The command queue goes on when sync_timer fires.
 * Section 4.7.3; 3.9.1.5 for the time-out.
 */
bool smmuv3_sync_must_wait(SMMUv3State *s, SMMUCmdError *error)
{
    int64_t delay = s->cmd_delay_us * (int64_t)SCALE_US;

    switch (s->sync_state) {
    case SMMU_SYNC_WAIT:
        return true;
    case SMMU_SYNC_TIMEOUT:
        *error = SMMU_CERROR_ATC_INV_SYNC;
        /* fall through */
    case SMMU_SYNC_DONE:
        s->sync_state = SMMU_SYNC_IDLE;
        return false;
    default:
        break;
    }
    if (!s->atc_pending && !delay) {
        return false;
    }
    trace_smmuv3_sync_wait(s->atc_pending);
    if (s->atc_pending) {
        delay = s->ats_timeout_ms * (int64_t)SCALE_MS;
    }
    s->sync_state = SMMU_SYNC_WAIT;
    timer_mod(s->sync_timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + delay);
    return true;
}

/* PRI */

static void smmuv3_pri_respond(SMMUv3State *s, uint32_t sid, uint32_t ssid,
                               uint16_t prgi, IOMMUPRIResponseCode code,
                               bool automatic)
{
    PCIDevice *dev = smmuv3_find_client(s, sid);
    IOMMUPRIResponse response = {
        .response_code = code,
        .prgi = prgi,
        .pasid = ssid,
        .automatic = automatic,
    };

    trace_smmuv3_pri_response(sid, ssid, prgi, code);
    if (dev && dev->pri_notifier) {
        dev->pri_notifier->notify(dev->pri_notifier, &response);
    }
}

/* The answer to a Last request that is lost: section 8.1; IDR3.PPS is 0 */
static void smmuv3_pri_auto_respond(SMMUv3State *s, SMMUDevice *sdev,
                                    uint32_t ssid, uint16_t prgi)
{
    SMMUEventInfo event = {};
    SMMUTransCfg cfg = {};
    STE ste;
    int ret = 0;

    if (ssid != PCI_NO_PASID) {
        QEMU_LOCK_GUARD(&s->mutex);
        ret = smmuv3_decode_stream(sdev, &ste, &cfg, &event);
    }
    if (ret || !cfg.ppar) {
        ssid = PCI_NO_PASID;
    }
    smmuv3_pri_respond(s, smmu_get_sid(sdev), ssid, prgi,
                       ret ? IOMMU_PRI_RESP_FAILURE : IOMMU_PRI_RESP_SUCCESS,
                       true);
}

static void smmuv3_priq_overflow(SMMUv3State *s)
{
    SMMUQueue *q = &s->priq;

    if (queue_overflowed(q)) {
        return;
    }
    q->prod ^= Q_OVERFLOW;
    trace_smmuv3_pri_overflow(q->prod, q->cons);
    smmuv3_trigger_irq(s, SMMU_IRQ_PRIQ, 0);
}

static bool smmuv3_priq_write(SMMUv3State *s, uint32_t sid,
                              const PCIXlateReq *req, uint16_t prgi, bool last)
{
    bool ssv = req->pasid != PCI_NO_PASID;
    SMMUQueue *q = &s->priq;
    Ppr ppr = {};
    int i;

    PPR_SET_SID(&ppr, sid);
    PPR_SET_SSV(&ppr, ssv);
    PPR_SET_SSID(&ppr, ssv ? req->pasid : 0);
    PPR_SET_PRIV(&ppr, ssv && req->priv);
    PPR_SET_X(&ppr, ssv && req->exec);
    PPR_SET_R(&ppr, !!(req->perm & IOMMU_RO));
    PPR_SET_W(&ppr, !!(req->perm & IOMMU_WO));
    PPR_SET_LAST(&ppr, last);
    PPR_SET_PRGI(&ppr, prgi);
    PPR_SET_ADDR(&ppr, req->addr);
    for (i = 0; i < ARRAY_SIZE(ppr.word); i++) {
        cpu_to_le32s(&ppr.word[i]);
    }
    if (dma_memory_write(&address_space_memory, Q_PROD_ENTRY(q), &ppr,
                         sizeof(ppr), MEMTXATTRS_UNSPECIFIED) != MEMTX_OK) {
        smmuv3_trigger_irq(s, SMMU_IRQ_GERROR, R_GERROR_PRIQ_ABT_ERR_MASK);
        return false;
    }
    queue_prod_incr(q);
    smmuv3_trigger_irq(s, SMMU_IRQ_PRIQ, 0);
    return true;
}

static bool smmuv3_priq_accepts(SMMUv3State *s)
{
    uint32_t errors = s->gerror ^ s->gerrorn;

    return s->pri && smmuv3_priq_enabled(s) &&
           !FIELD_EX32(errors, GERROR, PRIQ_ABT_ERR);
}

static int smmuv3_pri_request(PCIBus *bus, void *opaque, int devfn,
                              uint32_t pasid, bool priv_req, bool exec_req,
                              hwaddr addr, bool last, uint16_t prgi,
                              bool is_read, bool is_write)
{
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    PCIXlateReq page = {
        .pasid = pasid,
        .addr = addr,
        .perm = IOMMU_ACCESS_FLAG(is_read, is_write),
        .priv = priv_req,
        .exec = exec_req,
    }, *req = &page;
    SMMUv3State *s = ARM_SMMUV3(opaque);
    uint32_t sid = smmu_get_sid(sdev);
    bool marker = last && req->perm == IOMMU_NONE &&
                  req->pasid != PCI_NO_PASID;

    trace_smmuv3_pri_request(sid, req->pasid, req->addr, req->perm, prgi,
                             last);
    if (!smmuv3_priq_accepts(s)) {
        /* Section 8.2: whatever the request, but a stop marker */
        if (!marker) {
            smmuv3_pri_respond(s, sid, PCI_NO_PASID, prgi,
                               IOMMU_PRI_RESP_FAILURE, true);
        }
    } else if (smmuv3_q_full(&s->priq) || queue_overflowed(&s->priq)) {
        smmuv3_priq_overflow(s);
        if (last && !marker) {
            smmuv3_pri_auto_respond(s, sdev, req->pasid, prgi);
        }
    } else if (!smmuv3_priq_write(s, sid, req, prgi, last) && !marker) {
        smmuv3_pri_respond(s, sid, PCI_NO_PASID, prgi,
                           IOMMU_PRI_RESP_FAILURE, true);
    }
    return 0;
}

/* CMD_PRI_RESP, section 4.5.2 */
static SMMUCmdError smmuv3_pri_resp(SMMUv3State *s, Cmd *cmd)
{
    static const IOMMUPRIResponseCode codes[] = {
        IOMMU_PRI_RESP_FAILURE, IOMMU_PRI_RESP_INVALID_REQUEST,
        IOMMU_PRI_RESP_SUCCESS,
    };
    uint32_t ssid = CMD_SSV(cmd) ? CMD_SSID(cmd) : PCI_NO_PASID;
    unsigned int resp = CMD_PRI_RESP(cmd);

    if (!s->pri || resp >= ARRAY_SIZE(codes)) {
        return SMMU_CERROR_ILL;
    }
    if (smmu_enabled(s)) {
        smmuv3_pri_respond(s, CMD_SID(cmd), ssid, CMD_PRI_PRGI(cmd),
                           codes[resp], false);
    }
    return SMMU_CERROR_NONE;
}

/* Commands and registers */

SMMUCmdError smmuv3_iopf_cmd(SMMUv3State *s, Cmd *cmd)
{
    switch (CMD_TYPE(cmd)) {
    case SMMU_CMD_ATC_INV:
        return smmuv3_atc_inv(s, cmd);
    case SMMU_CMD_PRI_RESP:
        return smmuv3_pri_resp(s, cmd);
    default:
        break;
    }
    /* CMD_RESUME, CMD_STALL_TERM: there are no Secure streams */
    if (!smmuv3_stall_supported(s) || CMD_SSEC(cmd)) {
        return SMMU_CERROR_ILL;
    }
    if (CMD_TYPE(cmd) == SMMU_CMD_RESUME) {
        smmuv3_stall_resume(s, cmd);
    } else {
        smmuv3_stall_terminate(s, CMD_SID(cmd));
        smmuv3_stall_wake(s);
    }
    return SMMU_CERROR_NONE;
}

bool smmuv3_iopf_readl(SMMUv3State *s, hwaddr offset, uint64_t *data)
{
    if (!s->pri) {
        return false;
    }
    switch (offset) {
    case A_PRIQ_BASE:
        *data = extract64(s->priq.base, 0, 32);
        return true;
    case A_PRIQ_BASE + 4:
        *data = extract64(s->priq.base, 32, 32);
        return true;
    case A_PRIQ_PROD:
        *data = s->priq.prod;
        return true;
    case A_PRIQ_CONS:
        *data = s->priq.cons;
        return true;
    case A_PRIQ_IRQ_CFG0:
        *data = extract64(s->priq_irq_cfg0, 0, 32);
        return true;
    case A_PRIQ_IRQ_CFG0 + 4:
        *data = extract64(s->priq_irq_cfg0, 32, 32);
        return true;
    case A_PRIQ_IRQ_CFG1:
        *data = s->priq_irq_cfg1;
        return true;
    case A_PRIQ_IRQ_CFG2:
        *data = s->priq_irq_cfg2;
        return true;
    default:
        return false;
    }
}

bool smmuv3_iopf_writel(SMMUv3State *s, hwaddr offset, uint64_t data)
{
    if (!s->pri) {
        return false;
    }
    switch (offset) {
    case A_PRIQ_BASE:
        s->priq.base = deposit64(s->priq.base, 0, 32, data);
        s->priq.log2size = MIN(extract64(data, 0, 5), s->priqs);
        return true;
    case A_PRIQ_BASE + 4:
        s->priq.base = deposit64(s->priq.base, 32, 32, data);
        return true;
    case A_PRIQ_PROD:
        s->priq.prod = data;
        return true;
    case A_PRIQ_CONS:
        s->priq.cons = data;
        return true;
    case A_PRIQ_IRQ_CFG0:
        s->priq_irq_cfg0 = deposit64(s->priq_irq_cfg0, 0, 32, data);
        return true;
    case A_PRIQ_IRQ_CFG0 + 4:
        s->priq_irq_cfg0 = deposit64(s->priq_irq_cfg0, 32, 32, data);
        return true;
    case A_PRIQ_IRQ_CFG1:
        s->priq_irq_cfg1 = data;
        return true;
    case A_PRIQ_IRQ_CFG2:
        s->priq_irq_cfg2 = data;
        return true;
    default:
        return false;
    }
}

const PCIIOMMUOps smmuv3_iommu_ops = {
    .get_address_space = smmu_find_add_as,
    .translate = smmuv3_pci_translate,
    .translate_done = smmuv3_pci_translate_done,
    .ats_request_translation = smmuv3_ats_request,
    .ats_translated = smmuv3_ats_translated,
    .pri_request_page = smmuv3_pri_request,
    .ats_inv_done = smmuv3_ats_inv_done,
    .cancel = smmuv3_cancel,
};

/* Was the machine asked for anything that this file does? */
bool smmuv3_iopf_wanted(SMMUv3State *s)
{
    return s->ssidsize || s->stall_model != 1 || s->ats || s->pri ||
           s->cmd_delay_us;
}

static bool smmuv3_check_property(Error **errp, const char *name, uint32_t val,
                                  uint32_t min, uint32_t max)
{
    if (val >= min && val <= max) {
        return true;
    }
    error_setg(errp, "%s must be from %u to %u, not %u", name, min, max, val);
    return false;
}

bool smmuv3_iopf_realize(SMMUv3State *s, Error **errp)
{
    if (!smmuv3_check_property(errp, "ssidsize", s->ssidsize, 0, 20) ||
        !smmuv3_check_property(errp, "stall-model", s->stall_model, 0, 2) ||
        !smmuv3_check_property(errp, "stall-max", s->stall_max, 1,
                               SMMU_STALL_SLOTS) ||
        !smmuv3_check_property(errp, "oas", s->oas, 0, 5) ||
        !smmuv3_check_property(errp, "eventqs", s->eventqs, 1, SMMU_EVENTQS) ||
        !smmuv3_check_property(errp, "priqs", s->priqs, 1, SMMU_PRIQS)) {
        return false;
    }
    if (s->pri && !s->ats) {
        error_setg(errp, "pri needs ats");
        return false;
    }
    if (smmuv3_iopf_wanted(s)) {
        s->smmu_state.iommu_ops = &smmuv3_iommu_ops;
    }
    s->sync_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, smmuv3_sync_timer, s);
    return true;
}

/* Part of the reset */
void smmuv3_iopf_init_regs(SMMUv3State *s)
{
    bool stall = s->stall_model != 1;

    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, STALL_MODEL, s->stall_model);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, ATS, s->ats);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, NS1ATS, s->ats);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, PRI, s->pri);
    s->idr[0] = FIELD_DP32(s->idr[0], IDR0, CD2L, !!s->ssidsize);
    s->idr[1] = FIELD_DP32(s->idr[1], IDR1, SSIDSIZE, s->ssidsize);
    s->idr[1] = FIELD_DP32(s->idr[1], IDR1, PRIQS, s->pri ? s->priqs : 0);
    s->idr[5] = FIELD_DP32(s->idr[5], IDR5, STALL_MAX,
                           stall ? s->stall_max : 0);

    s->priq = (SMMUQueue) { .entry_size = sizeof(Ppr) };
    s->priq.base = s->pri ? s->priqs : 0;
    s->priq_irq_cfg0 = 0;
    s->priq_irq_cfg1 = 0;
    s->priq_irq_cfg2 = 0;

    memset(s->stalls, 0, sizeof(s->stalls));
    s->n_waiters = 0;
    s->atc_pending = 0;
    s->sync_state = SMMU_SYNC_IDLE;
    timer_del(s->sync_timer);
}
