/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ARM SMMUv3: transactions that wait for software
 *
 * Stalled transactions, ATS and PRI, for endpoints that speak the language
 * of hw/pci/pci_iommu.h. Sections named here are those of Arm IHI 0070 H.a.
 *
 * A stalled transaction has one of stall-max slots, whose index is its STAG.
 * Where there is no slot, or the event queue cannot take its record, the
 * transaction waits without a STAG and is tried again as though it had just
 * arrived (section 3.12.2). The endpoint keeps the transaction itself; here
 * is no more than its name, and what tells whether two are alike.
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
#include "migration/vmstate.h"
#include "system/system.h"
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

/* Accesses in flight: section 4.7.3 says that CMD_SYNC waits for them. */

/**
 * SMMUAccess - one that has been translated and is not over
 * @next: in the order in which they began
 * @sdev: who makes it
 * @token: its name; 0 is none
 */
typedef struct SMMUAccess {
    QTAILQ_ENTRY(SMMUAccess) next;
    SMMUDevice *sdev;
    uint32_t token;
} SMMUAccess;

static uint32_t smmuv3_access_begin(SMMUv3State *s, SMMUDevice *sdev)
{
    SMMUAccess *access = g_new(SMMUAccess, 1);

    if (!++s->last_access) {
        s->last_access++;
    }
    *access = (SMMUAccess) { .sdev = sdev, .token = s->last_access };
    QTAILQ_INSERT_TAIL(&s->accesses, access, next);
    return access->token;
}

static void smmuv3_access_end(SMMUv3State *s, SMMUAccess *access)
{
    QTAILQ_REMOVE(&s->accesses, access, next);
    g_free(access);
}

static void smmuv3_pci_translate_done(PCIBus *bus, void *opaque, int devfn,
                                      uint32_t token)
{
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUAccess *access;

    QTAILQ_FOREACH(access, &s->accesses, next) {
        if (access->token == token && access->sdev == sdev) {
            smmuv3_access_end(s, access);
            smmuv3_sync_progress(s);
            return;
        }
    }
}

static void smmuv3_access_cancel(SMMUv3State *s, SMMUDevice *sdev)
{
    SMMUAccess *access, *next;

    QTAILQ_FOREACH_SAFE(access, &s->accesses, next, next) {
        if (!sdev || access->sdev == sdev) {
            smmuv3_access_end(s, access);
        }
    }
    smmuv3_sync_progress(s);
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

/* The four faults of section 3.12, where CD.S or STE.S2S is set */
static bool smmuv3_may_stall(SMMUTransCfg *cfg, SMMUEventInfo *event)
{
    if (event->type < SMMU_EVT_F_TRANSLATION ||
        event->type > SMMU_EVT_F_PERMISSION || !cfg) {
        return false;
    }
    return event->u.f_walk_eabt.s2 ? cfg->s2cfg.stall : cfg->stall;
}

/*
 * Waiters are migrated as an array, which is why they are one. An endpoint has
 * no more than it has transactions.
 */
static bool smmuv3_stall_wait(SMMUv3State *s, const SMMUStall *stall)
{
    if (s->n_waiters == SMMU_STALL_WAITERS) {
        s->counters.lost_stall++;
        return false;
    }
    if (s->n_waiters == s->max_waiters) {
        s->max_waiters = MAX(64, 2 * s->max_waiters);
        s->waiters = g_renew(SMMUStall, s->waiters, s->max_waiters);
    }
    s->waiters[s->n_waiters++] = *stall;
    trace_smmuv3_stall_wait(stall->sid, stall->tag, s->n_waiters);
    return true;
}

/* Does a record that software has not answered speak for @new, too? 3.12.2.1 */
static int smmuv3_stall_find_like(SMMUv3State *s, const SMMUStall *new)
{
    int i;

    for (i = 0; i < s->stall_max; i++) {
        SMMUStall *old = &s->stalls[i];

        if (old->busy && !old->orphan && old->sid == new->sid &&
            old->ssid == new->ssid && old->addr >> 12 == new->addr >> 12 &&
            old->perm == new->perm && old->priv == new->priv &&
            old->exec == new->exec) {
            return i;
        }
    }
    return -1;
}

static PCIXlateResult smmuv3_stall(SMMUv3State *s, const PCIXlateReq *req,
                                   SMMUEventInfo *event)
{
    int stag = smmuv3_stall_find_free(s);
    SMMUStall stall = {
        .sid = event->sid,
        .tag = req->tag,
        .ssid = req->pasid,
        .addr = req->addr,
        .perm = req->perm,
        .priv = req->priv,
        .exec = req->exec,
        .behind = -1,
    };

    if (smmuv3_late_coin(s, 2)) {
        stall.behind = smmuv3_stall_find_like(s, &stall);
    }
    if (stall.behind >= 0 || stag < 0 || !smmuv3_eventq_writable(s)) {
        if (smmuv3_stall_wait(s, &stall)) {
            return PCI_XLATE_STALLED;
        }
        /* not silently: as one that does not stall */
        smmuv3_record_event(s, event);
        return PCI_XLATE_ABORT;
    }
    stall.busy = true;
    stall.serial = ++s->stall_serial;
    s->stalls[stag] = stall;
    event->u.f_walk_eabt.stall = true;
    event->u.f_walk_eabt.stag = stag;
    trace_smmuv3_stall(event->sid, req->pasid, req->addr, stag, req->tag);
    smmuv3_record_event(s, event);
    if (smmuv3_late_coin(s, 4)) {
        smmuv3_late_retry(s, stag, stall.serial);
    }
    return PCI_XLATE_STALLED;
}

void smmuv3_stall_answer(SMMUv3State *s, uint32_t sid, uint32_t tag, bool retry)
{
    PCIDevice *dev = smmuv3_find_client(s, sid);

    trace_smmuv3_stall_done(sid, tag, retry);
    if (dev) {
        dev->iommu_client->stall_done(dev, tag, retry);
    }
}

static void smmuv3_stall_done(SMMUv3State *s, const SMMUStall *stall,
                              bool retry)
{
    if (stall->orphan) {
        return;
    }
    if (smmuv3_is_late(s)) {
        smmuv3_late_answer(s, stall->sid, stall->tag, retry);
    } else {
        smmuv3_stall_answer(s, stall->sid, stall->tag, retry);
    }
}

/*
 * Try those again that @try says, in the order in which they came. Waking no
 * more than there is room for would not do: one that succeeds or aborts leaves
 * its room to none.
 */
static void smmuv3_stall_retry_waiters(SMMUv3State *s, int32_t behind)
{
    int32_t i, kept = 0, n = s->n_waiters;

    for (i = 0; i < n; i++) {
        if (s->waiters[i].behind == behind) {
            smmuv3_stall_done(s, &s->waiters[i], true);
        } else {
            s->waiters[kept++] = s->waiters[i];
        }
    }
    s->n_waiters = kept;
}

/* There may be room again. */
void smmuv3_stall_wake(SMMUv3State *s)
{
    if (s->n_waiters && smmuv3_stall_find_free(s) >= 0 &&
        smmuv3_eventq_writable(s)) {
        smmuv3_stall_retry_waiters(s, -1);
    }
}

/* Software has answered. Those that its record was for, too, are on their own. */
static void smmuv3_stall_release(SMMUv3State *s, int stag, bool retry)
{
    smmuv3_stall_done(s, &s->stalls[stag], retry);
    s->stalls[stag].busy = false;
    smmuv3_stall_retry_waiters(s, stag);
}

/* Take the transactions of @sid off the list of those without a STAG. */
static void smmuv3_stall_remove_waiters(SMMUv3State *s, uint32_t sid,
                                        bool abort)
{
    int32_t i, kept = 0;

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

    smmuv3_stall_remove_waiters(s, sid, true);
    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy && s->stalls[i].sid == sid) {
            smmuv3_stall_release(s, i, false);
        }
    }
}

/* SMMUEN == 0: section 3.12.2 */
void smmuv3_stall_terminate_all(SMMUv3State *s)
{
    int i;

    for (i = 0; i < s->n_waiters; i++) {
        smmuv3_stall_done(s, &s->waiters[i], false);
    }
    s->n_waiters = 0;
    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy) {
            smmuv3_stall_release(s, i, false);
        }
    }
}

/* CMD_RESUME, section 4.7.1. TERM_MODEL is 1: terminated means aborted. */
static void smmuv3_stall_resume(SMMUv3State *s, Cmd *cmd)
{
    uint32_t sid = CMD_SID(cmd), stag = CMD_RESUME_STAG(cmd);

    if (stag >= s->stall_max || !s->stalls[stag].busy ||
        s->stalls[stag].sid != sid) {
        s->counters.resume_ignored++;
        trace_smmuv3_resume_ignored(sid, stag);
        return;
    }
    smmuv3_stall_release(s, stag, CMD_RESUME_AC(cmd));
    smmuv3_stall_wake(s);
}

/*
 * The endpoint was reset. Its STAGs remain in use until software is done
 * with them (section 3.12.2), as it has seen their records. Its accesses are
 * over, and so is its interest in answers.
 */
static void smmuv3_cancel(PCIBus *bus, void *opaque, int devfn)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);
    SMMUDevice *sdev = smmuv3_sdev(opaque, bus, devfn);
    uint32_t sid = smmu_get_sid(sdev);
    int i;

    for (i = 0; i < s->stall_max; i++) {
        if (s->stalls[i].busy && s->stalls[i].sid == sid) {
            s->stalls[i].orphan = true;
        }
    }
    smmuv3_stall_remove_waiters(s, sid, false);
    smmuv3_late_forget_answers(s, sid);
    smmuv3_access_cancel(s, sdev);
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
        *token = smmuv3_access_begin(s, sdev);
        return PCI_XLATE_OK;
    case SMMU_TRANS_DISABLE:
    case SMMU_TRANS_BYPASS:
        entry->perm = req->perm;
        *token = smmuv3_access_begin(s, sdev);
        return PCI_XLATE_OK;
    case SMMU_TRANS_ABORT:
        return PCI_XLATE_ABORT;
    case SMMU_TRANS_ERROR:
        break;
    }
    smmuv3_fixup_event(&event, req->addr);
    event.u.f_walk_eabt.pnu = req->priv;
    /* of a write it is 0: section 7.3.12 */
    event.u.f_walk_eabt.ind = req->exec && !(req->perm & IOMMU_WO);
    if (req->can_stall && smmuv3_may_stall(cfg, &event)) {
        return smmuv3_stall(s, req, &event);
    }
    smmuv3_record_event(s, &event);
    return PCI_XLATE_ABORT;
}

/*
 * Section 3.12.2.2: the transaction is tried before software has answered. If
 * it fails again nothing happens, and no other record is made; if it does not,
 * the STAG remains in use until software is done with it.
 */
void smmuv3_stall_retry_early(SMMUv3State *s, uint16_t stag, uint32_t serial)
{
    SMMUStall *stall = &s->stalls[stag];
    SMMUDevice *sdev = smmu_find_sdev(&s->smmu_state, stall->sid);
    SMMUEventInfo event = {};
    IOMMUTLBEntry entry;
    SMMUTransCfg *cfg;

    if (!stall->busy || stall->orphan || stall->serial != serial || !sdev ||
        smmuv3_request(sdev, stall->ssid, stall->addr, stall->perm, &event,
                       &cfg, &entry) != SMMU_TRANS_SUCCESS) {
        return;
    }
    trace_smmuv3_stall_early(stall->sid, stag);
    smmuv3_stall_answer(s, stall->sid, stall->tag, true);
    stall->orphan = true;
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
    SMMUStream stream;

    if (smmu_enabled(s)) {
        QEMU_LOCK_GUARD(&s->mutex);

        if (smmuv3_get_stream(sdev, &stream, event)) {
            return SMMU_ATS_CA;
        }
        if (stream.cfg.aborted) {
            return SMMU_ATS_UR;
        }
        if (!stream.cfg.bypassed && stream.cfg.eats) {
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
    SMMUStream stream;
    bool check;

    if (addr >> s->oas_bits) {
        return false;
    }
    if (smmu_enabled(s)) {
        QEMU_LOCK_GUARD(&s->mutex);

        /* cached, it may be older than the register: section 3.9.2 */
        check = FIELD_EX32(s->cr[0], CR0, ATSCHK);
        if (smmuv3_get_stream(sdev, &stream, &event)) {
            return !check;
        }
        if (!stream.atschk) {
            return true;
        }
        if (stream.cfg.aborted) {
            return false;
        }
        if (!stream.cfg.bypassed && stream.cfg.eats) {
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

/* Note an invalidation; its name, which its function uses for no other */
static uint32_t smmuv3_inv_begin(SMMUv3State *s, uint32_t sid)
{
    uint32_t i, itag, used = 0;

    for (i = 0; i < s->n_atc_invs; i++) {
        if (s->atc_invs[i].sid == sid) {
            used |= 1u << s->atc_invs[i].itag;
        }
    }
    if (s->n_atc_invs == SMMU_ATC_INVS || used == UINT32_MAX) {
        /* there is none left; it is as if this one was not confirmed */
        return PCI_ATS_ITAGS;
    }
    itag = ctz32(~used);
    s->atc_invs[s->n_atc_invs++] = (SMMUInvalidation) {
        .sid = sid, .itag = itag,
    };
    return itag;
}

/* Return: whether it was outstanding; it is not, after a time-out. */
static bool smmuv3_inv_end(SMMUv3State *s, uint32_t sid, uint32_t itag)
{
    uint32_t i;

    for (i = 0; i < s->n_atc_invs; i++) {
        if (s->atc_invs[i].sid == sid && s->atc_invs[i].itag == itag) {
            s->atc_invs[i] = s->atc_invs[--s->n_atc_invs];
            return true;
        }
    }
    return false;
}

/* CMD_ATC_INV, section 4.5.1 */
static SMMUCmdError smmuv3_atc_inv(SMMUv3State *s, Cmd *cmd)
{
    uint32_t ssid = CMD_SSV(cmd) ? CMD_SSID(cmd) : PCI_NO_PASID;
    bool global = CMD_SSV(cmd) && CMD_GLOBAL(cmd);
    unsigned int size = CMD_ATC_SIZE(cmd);
    PCIDevice *dev;
    uint32_t itag;
    uint64_t mask;
    bool done;

    if (!s->ats || size > 52) {
        return SMMU_CERROR_ILL;
    }
    dev = smmuv3_find_client(s, CMD_SID(cmd));
    if (!smmu_enabled(s) || !dev || !dev->iommu_client->ats_invalidate) {
        return SMMU_CERROR_NONE;
    }
    itag = smmuv3_inv_begin(s, CMD_SID(cmd));
    if (itag == PCI_ATS_ITAGS) {
        s->atc_inv_lost = true;
        return SMMU_CERROR_NONE;
    }
    mask = size == 52 ? UINT64_MAX : MAKE_64BIT_MASK(0, size + 12);
    done = dev->iommu_client->ats_invalidate(dev, ssid, CMD_ADDR(cmd) & ~mask,
                                             mask, global, itag);
    trace_smmuv3_atc_inv(CMD_SID(cmd), ssid, CMD_ADDR(cmd), mask, global, done);
    s->atc_inv_sent = true;
    if (done) {
        smmuv3_inv_end(s, CMD_SID(cmd), itag);
    }
    return SMMU_CERROR_NONE;
}

static bool smmuv3_invs_pending(SMMUv3State *s)
{
    return s->n_atc_invs || s->atc_inv_lost;
}

static void smmuv3_ats_inv_done(PCIBus *bus, void *opaque, int devfn,
                                uint32_t itag)
{
    SMMUv3State *s = ARM_SMMUV3(opaque);

    if (smmuv3_inv_end(s, smmu_get_sid(smmuv3_sdev(opaque, bus, devfn)),
                       itag)) {
        smmuv3_sync_progress(s);
    }
}

/* CMD_SYNC, section 4.7.3 */

/*
 * Accesses that began before the last invalidation took effect may still use
 * what it was for. The mark is set once, when no invalidation is pending.
 */
static bool smmuv3_accesses_pending(SMMUv3State *s)
{
    SMMUAccess *first = QTAILQ_FIRST(&s->accesses);

    if (!s->sync_marked) {
        s->sync_marked = true;
        s->sync_mark = s->last_access;
    }
    return first && (int32_t)(first->token - s->sync_mark) <= 0;
}

static void smmuv3_sync_in(SMMUv3State *s, int64_t ns)
{
    timer_mod(s->sync_timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + ns);
}

/**
 * smmuv3_sync_progress - look again at what a CMD_SYNC waits for
 *
 * It waits for commands that were put off, then for accesses, then for
 * endpoints that owe a confirmation, which can take too long: 3.9.1.4.
 */
void smmuv3_sync_progress(SMMUv3State *s)
{
    if (s->sync_state != SMMU_SYNC_WAIT || smmuv3_late_cmds_pending(s) ||
        smmuv3_accesses_pending(s)) {
        return;
    }
    if (!smmuv3_invs_pending(s)) {
        s->sync_state = SMMU_SYNC_DELAY;
        smmuv3_sync_in(s, s->cmd_delay_us * (int64_t)SCALE_US);
    } else if (!timer_pending(s->sync_timer)) {
        smmuv3_sync_in(s, s->ats_timeout_ms * (int64_t)SCALE_MS);
    }
}

static void smmuv3_sync_timer(void *opaque)
{
    SMMUv3State *s = opaque;
    bool timeout = s->sync_state == SMMU_SYNC_WAIT;

    if (timeout) {
        s->n_atc_invs = 0;
        s->atc_inv_lost = false;
    }
    trace_smmuv3_sync_end(timeout);
    s->sync_state = timeout ? SMMU_SYNC_TIMEOUT : SMMU_SYNC_DONE;
    smmuv3_cmdq_consume(s);
}

/* CMDQEN == 0: it has not been consumed, and will be looked at afresh. */
void smmuv3_sync_abandon(SMMUv3State *s)
{
    s->sync_state = SMMU_SYNC_IDLE;
    s->sync_marked = false;
    timer_del(s->sync_timer);
}

/**
 * smmuv3_sync_must_wait - is it too early to complete a CMD_SYNC?
 * @s: the SMMU
 * @error: why it fails, where it does
 *
 * Return: whether. The command queue goes on when sync_timer fires.
 */
bool smmuv3_sync_must_wait(SMMUv3State *s, SMMUCmdError *error)
{
    switch (s->sync_state) {
    case SMMU_SYNC_WAIT:
    case SMMU_SYNC_DELAY:
        return true;
    case SMMU_SYNC_TIMEOUT:
        *error = SMMU_CERROR_ATC_INV_SYNC;
        smmuv3_sync_abandon(s);
        return false;
    case SMMU_SYNC_IDLE:
        if (smmuv3_late_cmds_pending(s) || smmuv3_accesses_pending(s) ||
            smmuv3_invs_pending(s) || s->cmd_delay_us) {
            trace_smmuv3_sync_wait(s->n_atc_invs);
            s->sync_state = SMMU_SYNC_WAIT;
            smmuv3_sync_progress(s);
            return true;
        }
        break;
    case SMMU_SYNC_DONE:
        break;
    }
    /*
     * No record of what is over becomes visible later. A confirmation has
     * pushed page requests before it: PCIe Base section 2.4.1.
     */
    smmuv3_late_flush(s, SMMU_LATE_EVENT |
                      (s->atc_inv_sent ? SMMU_LATE_PPR : 0));
    s->atc_inv_sent = false;
    smmuv3_sync_abandon(s);
    return false;
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

/*
 * Groups that software owes an answer to, by stream and group: how many, as a
 * function that was reset may use an index again before it has heard of the
 * old one.
 */
static gpointer smmuv3_group_key(uint32_t sid, uint16_t prgi)
{
    return GUINT_TO_POINTER((sid << 9 | prgi) + 1);
}

static void smmuv3_group_begin(SMMUv3State *s, uint32_t sid, uint16_t prgi)
{
    gpointer key = smmuv3_group_key(sid, prgi);
    unsigned int n = GPOINTER_TO_UINT(g_hash_table_lookup(s->groups, key));

    g_hash_table_insert(s->groups, key, GUINT_TO_POINTER(n + 1));
}

/* Return: whether there was one. */
static bool smmuv3_group_end(SMMUv3State *s, uint32_t sid, uint16_t prgi)
{
    gpointer key = smmuv3_group_key(sid, prgi);
    unsigned int n = GPOINTER_TO_UINT(g_hash_table_lookup(s->groups, key));

    if (n > 1) {
        g_hash_table_insert(s->groups, key, GUINT_TO_POINTER(n - 1));
    } else {
        g_hash_table_remove(s->groups, key);
    }
    return n;
}

/* The answer to a Last request that is lost: section 8.1; IDR3.PPS is 0 */
static void smmuv3_pri_auto_respond(SMMUv3State *s, SMMUDevice *sdev,
                                    uint32_t ssid, uint16_t prgi)
{
    SMMUEventInfo event = {};
    SMMUStream stream = {};
    int ret = 0;

    if (ssid != PCI_NO_PASID) {
        QEMU_LOCK_GUARD(&s->mutex);
        ret = smmuv3_get_stream(sdev, &stream, &event);
    }
    if (ret || !stream.cfg.ppar) {
        ssid = PCI_NO_PASID;
    }
    smmuv3_pri_respond(s, smmu_get_sid(sdev), ssid, prgi,
                       ret ? IOMMU_PRI_RESP_FAILURE : IOMMU_PRI_RESP_SUCCESS,
                       true);
}

static bool smmuv3_priq_last_only(SMMUv3State *s)
{
    return FIELD_EX32(s->priq_irq_cfg2, PRIQ_IRQ_CFG2, LO);
}

static void smmuv3_priq_irq(SMMUv3State *s)
{
    if (smmuv3_is_late(s)) {
        smmuv3_late_irq(s, SMMU_IRQ_PRIQ);
    } else {
        smmuv3_trigger_irq(s, SMMU_IRQ_PRIQ, 0);
    }
}

/* A request is discarded. With LO that is told for each Last: 6.3.36 */
static void smmuv3_priq_overflow(SMMUv3State *s, bool last)
{
    SMMUQueue *q = &s->priq;
    bool first = !queue_overflowed(q);

    if (first) {
        smmuv3_late_flush(s, SMMU_LATE_PPR);
        q->prod ^= Q_OVERFLOW;
        trace_smmuv3_pri_overflow(q->prod, q->cons);
    }
    if (first || (last && smmuv3_priq_last_only(s))) {
        smmuv3_priq_irq(s);
    }
}

static void smmuv3_build_ppr(Ppr *ppr, uint32_t sid, const PCIXlateReq *req,
                             uint16_t prgi, bool last)
{
    bool ssv = req->pasid != PCI_NO_PASID;

    PPR_SET_SID(ppr, sid);
    PPR_SET_SSV(ppr, ssv);
    PPR_SET_SSID(ppr, ssv ? req->pasid : 0);
    PPR_SET_PRIV(ppr, ssv && req->priv);
    PPR_SET_X(ppr, ssv && req->exec);
    PPR_SET_R(ppr, !!(req->perm & IOMMU_RO));
    PPR_SET_W(ppr, !!(req->perm & IOMMU_WO));
    PPR_SET_LAST(ppr, last);
    PPR_SET_PRGI(ppr, prgi);
    PPR_SET_ADDR(ppr, req->addr);
}

/* One that is committed; where it cannot be written, it is answered instead. */
void smmuv3_put_ppr(SMMUv3State *s, Ppr *ppr)
{
    bool last = PPR_LAST(ppr), marker = last && PPR_IS_MARKER(ppr);
    bool was_empty = smmuv3_q_empty(&s->priq);
    uint32_t sid = ppr->word[0];
    uint16_t prgi = PPR_PRGI(ppr);
    int i;

    for (i = 0; i < ARRAY_SIZE(ppr->word); i++) {
        cpu_to_le32s(&ppr->word[i]);
    }
    if (dma_memory_write(&address_space_memory, Q_PROD_ENTRY(&s->priq), ppr,
                         sizeof(*ppr), MEMTXATTRS_UNSPECIFIED) != MEMTX_OK) {
        smmuv3_trigger_irq(s, SMMU_IRQ_GERROR, R_GERROR_PRIQ_ABT_ERR_MASK);
        if (!marker) {
            smmuv3_pri_respond(s, sid, PCI_NO_PASID, prgi,
                               IOMMU_PRI_RESP_FAILURE, true);
        }
        return;
    }
    queue_prod_incr(&s->priq);
    if (last && !marker) {
        smmuv3_group_begin(s, sid, prgi);
    }
    if (smmuv3_priq_last_only(s) ? last : was_empty || !smmuv3_is_late(s)) {
        smmuv3_priq_irq(s);
    }
}

static bool smmuv3_priq_accepts(SMMUv3State *s)
{
    return s->pri && smmuv3_priq_enabled(s) &&
           !FIELD_EX32(smmuv3_active_errors(s), GERROR, PRIQ_ABT_ERR);
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
    Ppr ppr = {};
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
    } else if (!smmuv3_q_has_room(&s->priq, s->late_pprs) ||
               queue_overflowed(&s->priq)) {
        smmuv3_priq_overflow(s, last);
        if (last && !marker) {
            smmuv3_pri_auto_respond(s, sdev, req->pasid, prgi);
        }
    } else {
        smmuv3_build_ppr(&ppr, sid, req, prgi, last);
        if (smmuv3_is_late(s)) {
            smmuv3_late_ppr(s, &ppr);
        } else {
            smmuv3_put_ppr(s, &ppr);
        }
    }
    return 0;
}

/*
 * Software's own failure has the PASID that any of its responses has; without
 * one it would pass for the SMMU's (section 8.2).
 */
static void smmuv3_pri_check(SMMUv3State *s, uint32_t sid, uint32_t ssid,
                             uint16_t prgi, IOMMUPRIResponseCode code)
{
    SMMUDevice *sdev = smmu_find_sdev(&s->smmu_state, sid);
    SMMUEventInfo event = {};
    SMMUStream stream;

    if (!smmuv3_group_end(s, sid, prgi)) {
        if (s->groups_unknown) {
            return;
        }
        s->counters.pri_unexpected++;
    } else if (code == IOMMU_PRI_RESP_FAILURE && ssid == PCI_NO_PASID && sdev &&
               !smmuv3_get_stream(sdev, &stream, &event) && stream.cfg.ppar) {
        s->counters.pri_bare_failure++;
    }
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
        smmuv3_pri_check(s, CMD_SID(cmd), ssid, CMD_PRI_PRGI(cmd),
                         codes[resp]);
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
    /* IDR0.MSI == 0: all but LO is RES0, section 6.3.34 to 6.3.36 */
    case A_PRIQ_IRQ_CFG0:
    case A_PRIQ_IRQ_CFG0 + 4:
    case A_PRIQ_IRQ_CFG1:
        *data = 0;
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
    case A_PRIQ_IRQ_CFG0 + 4:
    case A_PRIQ_IRQ_CFG1:
        return true;
    case A_PRIQ_IRQ_CFG2:
        s->priq_irq_cfg2 = data & R_PRIQ_IRQ_CFG2_LO_MASK;
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
           s->cmd_delay_us || s->delay_max_us;
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

/* What the counters are called, as properties and in the trace */
static const struct {
    const char *name;
    size_t offset;
} smmuv3_counter_names[] = {
    { "resume-ignored", offsetof(SMMUv3State, counters.resume_ignored) },
    { "pri-unexpected", offsetof(SMMUv3State, counters.pri_unexpected) },
    { "pri-bare-failure", offsetof(SMMUv3State, counters.pri_bare_failure) },
    { "lost-stall", offsetof(SMMUv3State, counters.lost_stall) },
};

static uint32_t *smmuv3_counter(SMMUv3State *s, int i)
{
    return (void *)s + smmuv3_counter_names[i].offset;
}

static void smmuv3_exit(Notifier *notifier, void *data)
{
    SMMUv3State *s = container_of(notifier, SMMUv3State, exit);
    g_autoptr(GString) text = g_string_new("");
    int i;

    for (i = 0; i < ARRAY_SIZE(smmuv3_counter_names); i++) {
        g_string_append_printf(text, "%s=%u ", smmuv3_counter_names[i].name,
                               *smmuv3_counter(s, i));
    }
    g_string_append_printf(text, "x-delay-seed=%u", s->delay_seed);
    trace_smmuv3_counters(text->str);
}

static void smmuv3_realize_counters(SMMUv3State *s)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(smmuv3_counter_names); i++) {
        object_property_add_uint32_ptr(OBJECT(s), smmuv3_counter_names[i].name,
                                       smmuv3_counter(s, i), OBJ_PROP_FLAG_READ);
    }
    s->exit.notify = smmuv3_exit;
    qemu_add_exit_notifier(&s->exit);
}

bool smmuv3_iopf_realize(SMMUv3State *s, Error **errp)
{
    if (!smmuv3_check_property(errp, "ssidsize", s->ssidsize, 0, 20) ||
        !smmuv3_check_property(errp, "stall-model", s->stall_model, 0, 2) ||
        !smmuv3_check_property(errp, "stall-max", s->stall_max, 1,
                               SMMU_STALL_SLOTS) ||
        !smmuv3_check_property(errp, "x-eventqs", s->eventqs, 1,
                               SMMU_EVENTQS) ||
        !smmuv3_check_property(errp, "x-priqs", s->priqs, 1, SMMU_PRIQS)) {
        return false;
    }
    if (s->oas_bits != 44 && s->oas_bits != 48) {
        error_setg(errp, "oas must be 44 or 48, not %u", s->oas_bits);
        return false;
    }
    if (s->pri && !s->ats) {
        error_setg(errp, "pri needs ats");
        return false;
    }
    QTAILQ_INIT(&s->accesses);
    s->groups = g_hash_table_new(NULL, NULL);
    s->sync_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, smmuv3_sync_timer, s);
    if (!smmuv3_late_realize(s, errp)) {
        return false;
    }
    if (smmuv3_iopf_wanted(s)) {
        s->smmu_state.iommu_ops = &smmuv3_iommu_ops;
        smmuv3_realize_counters(s);
    }
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
    s->priq_irq_cfg2 = 0;

    memset(s->stalls, 0, sizeof(s->stalls));
    s->n_waiters = 0;
    s->n_atc_invs = 0;
    s->atc_inv_lost = false;
    s->atc_inv_sent = false;
    smmuv3_sync_abandon(s);
    smmuv3_late_reset(s);
    smmuv3_access_cancel(s, NULL);
    g_hash_table_remove_all(s->groups);
    s->groups_unknown = false;
}

/* Migration. What waits is answered on the other side. */

static bool smmuv3_iopf_needed(void *opaque)
{
    return smmuv3_iopf_wanted(opaque);
}

static int smmuv3_iopf_pre_load(void *opaque)
{
    SMMUv3State *s = opaque;

    g_free(s->waiters);
    s->waiters = NULL;
    s->n_waiters = 0;
    s->max_waiters = 0;
    return 0;
}

static bool smmuv3_counts_are_valid(void *opaque, int version_id)
{
    SMMUv3State *s = opaque;

    return s->n_waiters >= 0 && s->n_waiters <= SMMU_STALL_WAITERS &&
           s->n_atc_invs <= SMMU_ATC_INVS;
}

static int smmuv3_iopf_post_load(void *opaque, int version_id)
{
    SMMUv3State *s = opaque;
    uint32_t i;

    s->max_waiters = s->n_waiters;
    s->groups_unknown = true;
    if (s->priq.log2size > s->priqs || s->sync_state > SMMU_SYNC_TIMEOUT) {
        return -EINVAL;
    }
    for (i = 0; i < s->n_atc_invs; i++) {
        if (s->atc_invs[i].itag >= PCI_ATS_ITAGS) {
            return -EINVAL;
        }
    }
    /* A CMD_SYNC that was waiting starts to wait anew. */
    if (s->sync_state == SMMU_SYNC_DELAY) {
        s->sync_state = SMMU_SYNC_WAIT;
    }
    s->sync_marked = false;
    smmuv3_sync_progress(s);
    return 0;
}

static const VMStateDescription vmstate_smmuv3_stall = {
    .name = "smmuv3_stall",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(sid, SMMUStall),
        VMSTATE_UINT32(tag, SMMUStall),
        VMSTATE_UINT32(ssid, SMMUStall),
        VMSTATE_UINT64(addr, SMMUStall),
        VMSTATE_UINT32(perm, SMMUStall),
        VMSTATE_BOOL(priv, SMMUStall),
        VMSTATE_BOOL(exec, SMMUStall),
        VMSTATE_BOOL(busy, SMMUStall),
        VMSTATE_BOOL(orphan, SMMUStall),
        VMSTATE_INT32(behind, SMMUStall),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_smmuv3_invalidation = {
    .name = "smmuv3_invalidation",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(sid, SMMUInvalidation),
        VMSTATE_UINT32(itag, SMMUInvalidation),
        VMSTATE_END_OF_LIST()
    }
};

const VMStateDescription vmstate_smmuv3_iopf = {
    .name = "smmuv3/iopf",
    .version_id = 1,
    .minimum_version_id = 1,
    .needed = smmuv3_iopf_needed,
    .pre_load = smmuv3_iopf_pre_load,
    .post_load = smmuv3_iopf_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_STRUCT(priq, SMMUv3State, 0, vmstate_smmuv3_queue, SMMUQueue),
        VMSTATE_UINT32(priq_irq_cfg2, SMMUv3State),
        VMSTATE_STRUCT_ARRAY(stalls, SMMUv3State, SMMU_STALL_SLOTS, 1,
                             vmstate_smmuv3_stall, SMMUStall),
        VMSTATE_INT32(n_waiters, SMMUv3State),
        VMSTATE_UINT32(n_atc_invs, SMMUv3State),
        VMSTATE_VALIDATE("counts", smmuv3_counts_are_valid),
        VMSTATE_STRUCT_VARRAY_ALLOC(waiters, SMMUv3State, n_waiters, 1,
                                    vmstate_smmuv3_stall, SMMUStall),
        VMSTATE_STRUCT_ARRAY(atc_invs, SMMUv3State, SMMU_ATC_INVS, 1,
                             vmstate_smmuv3_invalidation, SMMUInvalidation),
        VMSTATE_BOOL(atc_inv_lost, SMMUv3State),
        VMSTATE_BOOL(atc_inv_sent, SMMUv3State),
        VMSTATE_UINT8(sync_state, SMMUv3State),
        VMSTATE_END_OF_LIST()
    }
};
