/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iopf-testdev: a PCIe endpoint whose DMA uses a process's virtual addresses
 *
 * What it looks like to software is in iopf_testdev.h.
 *
 * A queue is a state machine (IopfPhase). Each phase needs some pages, which
 * are its batch. iopf_resolve() asks for all pages of the batch; where answers
 * are outstanding the queue returns to the main loop, and starts over with the
 * batch when the last of them has come. Data moves when one pass finds every
 * page there: at once, or up to x-dma-delay-us later (iopf_hold()). Until then
 * the batch holds its translations; the IOMMU knows of untranslated ones by
 * their tokens, and an invalidation is not confirmed before those end that
 * were there when the entries were purged.
 *
 * No bottom half runs for long: iopf_may_go_on().
 *
 * The IOMMU answers from within its command processing, which must not be
 * called back: what answers do is bookkeeping and scheduling iopf_bh().
 *
 * A queue's generation is part of the tags and of the page request groups it
 * sends. It changes when the queue is turned off, so that late answers are
 * told from those that a batch waits for.
 *
 * A virtual function has queues, MSI-X and ATS of its own, but no PASID and no
 * Page Request capability: those of its physical function are for all of them
 * (PCIe Base sections 7.8.9 and 10.4.2.1), with what software has granted.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pcie.h"
#include "hw/pci/pcie_sriov.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/cpu-timers.h"
#include "system/runstate.h"
#include "hw/misc/iopf_testdev.h"
#include "trace.h"

#define TYPE_IOPF_TESTDEV "iopf-testdev"
#define TYPE_IOPF_TESTDEV_VF "iopf-testdev-vf"
OBJECT_DECLARE_SIMPLE_TYPE(IopfState, IOPF_TESTDEV)

#define IOPF_PAGE           4096
#define IOPF_MSIX_BAR_SIZE  (64 * KiB)
#define IOPF_MSIX_PBA       0x8000
#define IOPF_VFS_MAX        7           /* the device's other functions */
#define IOPF_RING_LOG2_MAX  12
#define IOPF_NR_PRGI        512
#define IOPF_ATC_SIZE       4096
#define IOPF_BH_BYTES       (1 * MiB)   /* moved in a bottom half, about */
#define IOPF_BH_BATCHES     1024
#define IOPF_BH_NS          (500 * SCALE_US)
#define IOPF_RETRIES_MAX    4096        /* of a batch, by page requests */

/* Tag of a transaction: queue 5:0, access 10:6, generation 30:11 */
#define IOPF_TAG_INJECTED   (1u << 31)
#define IOPF_GEN_MASK       0xfffff

typedef enum IopfPhase {
    PHASE_FETCH,            /* read the descriptor */
    PHASE_LIST,             /* scatter: read addresses */
    PHASE_WORK,
    PHASE_WRITEBACK,
} IopfPhase;

typedef enum IopfAccessState {
    ACC_NEW,
    ACC_OK,
    ACC_WAIT,
    ACC_FAILED,
} IopfAccessState;

typedef struct IopfAccess {
    uint64_t addr;
    uint64_t pa;
    AddressSpace *as;       /* where @pa is, in ACC_OK */
    uint32_t token;         /* of the IOMMU, while has_token */
    uint32_t perm;          /* IOMMUAccessFlags */
    uint8_t state;
    bool has_token;
    bool stalled;           /* at least once */
    bool stale;             /* by a translation that should be gone */
} IopfAccess;

typedef struct IopfQueue {
    /* Registers */
    uint32_t pasid;
    uint32_t mode;
    uint32_t concurrency;
    uint64_t ring;
    uint32_t log2size;
    uint32_t prod;
    uint32_t cons;
    uint32_t irq;
    uint32_t error;         /* IOPF_DESC_*, 0: none */

    /* The descriptor in work */
    uint8_t phase;
    struct iopf_desc desc;
    uint64_t done;          /* bytes, or addresses */
    uint64_t result;
    uint32_t status;
    uint64_t fault_addr;
    uint32_t n_list;
    uint64_t list[IOPF_MAX_CONCURRENCY];

    /* Its batch */
    IopfAccess acc[IOPF_MAX_CONCURRENCY];
    uint32_t n_acc;
    uint32_t n_wait;        /* accesses in ACC_WAIT */
    uint32_t outstanding;   /* answers to come, of any generation */
    uint32_t gen;
    uint32_t retries;
    bool held;              /* data moves at move_at, by what is held then */
    bool stopping;          /* the queue goes off when it has */
    int64_t move_at;
    uint64_t held_seq;
    uint32_t fault;         /* IOPF_DESC_* of the first that failed */
    uint64_t fault_at;

    /* Its page request group, sent up to prg_next */
    uint32_t prgi;
    uint32_t prg_next;
    uint32_t prg_left;
    bool want_credit;
    bool backoff;
} IopfQueue;

/* An invalidation that is not confirmed */
typedef struct IopfInv {
    bool busy;
    bool global;
    bool purged;            /* no new access uses what it was for */
    uint32_t itag;
    uint32_t pasid;
    uint64_t addr;
    uint64_t mask;
    int64_t due;            /* it is obeyed no earlier */
    uint64_t seq;           /* accesses that were held then may end */
} IopfInv;

typedef struct IopfGroup {
    bool busy;
    bool last;              /* asked for completely */
    bool forgotten;         /* a response may come that is nobody's fault */
    bool injected;
    uint8_t queue;
    uint32_t gen;
    uint32_t pasid;
    uint32_t pages;
} IopfGroup;

struct IopfState {
    PCIDevice parent_obj;

    MemoryRegion bar;
    MemoryRegion msix_bar;
    QEMUBH *bh;
    QEMUTimer *timer;
    GHashTable *atc;
    IOMMUPRINotifier pri_notifier;
    QEMUTimer *hold_timer;
    VMChangeStateEntry *vmstate;
    GRand *rand;
    uint64_t seq;           /* counts what is held, and invalidations */
    uint32_t turn;          /* whose turn it is */
    uint32_t bh_bytes;      /* left of a bottom half's budget */
    uint32_t bh_batches;
    int64_t bh_end;

    uint32_t ctrl;
    uint32_t gen;
    uint32_t next_prgi;
    uint32_t triggered;     /* IOPF_TRIG_*, for iopf_bh() */
    uint32_t trigger_pasid;
    uint32_t inj[16];
    uint64_t counters[IOPF_NR_COUNTERS];
    IopfQueue q[IOPF_NR_QUEUES];
    IopfGroup prg[IOPF_NR_PRGI];
    IopfInv inv[PCI_ATS_ITAGS];

    /* Properties */
    bool stall;
    bool pri_resp_pasid;
    uint8_t pasid_bits;
    uint32_t pri_capacity;
    uint16_t vfs;
    uint32_t dma_delay_us;
    uint32_t delay_seed;
};

#define INJ(s, reg) ((s)->inj[((reg) - IOPF_INJECT) / 4])
#define COUNT(s, what) ((s)->counters[IOPF_CNT_##what]++)

static void iopf_kick(IopfState *s)
{
    qemu_bh_schedule(s->bh);
}

/* The function whose PASID and Page Request capabilities are for @s, too */
static IopfState *iopf_pf(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    return pci_is_vf(dev) ? IOPF_TESTDEV(pcie_sriov_get_pf(dev)) : s;
}

/* The @i-th of the functions that share @pf's capabilities, itself the first */
static IopfState *iopf_function(IopfState *pf, int i)
{
    PCIDevice *vf;

    if (!i) {
        return pf;
    }
    vf = pcie_sriov_get_vf_at_index(PCI_DEVICE(pf), i - 1);
    return vf ? IOPF_TESTDEV(vf) : NULL;
}

/* There may be credit: another function may wait for it. */
static void iopf_kick_all(IopfState *s)
{
    IopfState *f, *pf = iopf_pf(s);
    int i;

    for (i = 0; (f = iopf_function(pf, i)); i++) {
        iopf_kick(f);
    }
}

/* The Page Request capability */
static uint8_t *iopf_pri_cap(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(iopf_pf(s));

    return dev->config + dev->exp.pri_cap;
}

static uint32_t iopf_pasid(uint32_t reg)
{
    return reg & IOPF_PASID_VALID ? reg & IOPF_PASID_MASK : PCI_NO_PASID;
}

/* What the driver has enabled: IOPF_STATE_* */
static uint32_t iopf_enabled(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint32_t state = s->stall ? IOPF_STATE_STALL : 0;

    if (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER) {
        state |= IOPF_STATE_MASTER;
    }
    state |= pcie_pasid_enabled(dev) ? IOPF_STATE_PASID : 0;
    state |= pcie_ats_enabled(dev) ? IOPF_STATE_ATS : 0;
    state |= pcie_pri_enabled(dev) ? IOPF_STATE_PRI : 0;
    return state;
}

/* May a request with these needs (IOPF_STATE_*) and this PASID be sent? */
static bool iopf_allowed(IopfState *s, uint32_t needs, uint32_t pasid)
{
    needs |= IOPF_STATE_MASTER;
    if (pasid != PCI_NO_PASID) {
        needs |= IOPF_STATE_PASID;
    }
    return (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_FORCE) ||
           (iopf_enabled(s) & needs) == needs;
}

/* The address translation cache: 4 KiB pages by PASID and address */

typedef struct IopfAtcKey {
    uint64_t page;
    uint32_t pasid;
} IopfAtcKey;

typedef struct IopfAtcEntry {
    IopfAtcKey key;
    AddressSpace *as;
    uint64_t pa;
    uint32_t perm;
    bool stale;             /* IOPF_MIS_KEEP_ATC: it should be gone */
} IopfAtcEntry;

static guint iopf_atc_hash(gconstpointer v)
{
    const IopfAtcKey *key = v;

    return g_int64_hash(&key->page) ^ (key->pasid * 2654435761u);
}

static gboolean iopf_atc_equal(gconstpointer v1, gconstpointer v2)
{
    const IopfAtcKey *k1 = v1, *k2 = v2;

    return k1->page == k2->page && k1->pasid == k2->pasid;
}

static IopfAtcEntry *iopf_atc_find(IopfState *s, uint32_t pasid, uint64_t addr)
{
    IopfAtcKey key = { .page = addr / IOPF_PAGE, .pasid = pasid };

    return g_hash_table_lookup(s->atc, &key);
}

static void iopf_atc_add(IopfState *s, uint32_t pasid, uint64_t addr,
                         IOMMUTLBEntry *entry)
{
    IopfAtcEntry *e;

    if (g_hash_table_size(s->atc) >= IOPF_ATC_SIZE) {
        g_hash_table_remove_all(s->atc);
    }
    e = g_new0(IopfAtcEntry, 1);
    e->key = (IopfAtcKey) { .page = addr / IOPF_PAGE, .pasid = pasid };
    e->as = entry->target_as;
    e->pa = entry->translated_addr & ~(uint64_t)(IOPF_PAGE - 1);
    e->perm = entry->perm;
    g_hash_table_replace(s->atc, &e->key, e);
}

static bool iopf_inv_covers(const IopfInv *inv, uint32_t pasid, uint64_t addr)
{
    /* without a PASID it is for all of them: PCIe Base section 10.3.1 */
    if (!inv->global && inv->pasid != PCI_NO_PASID && pasid != inv->pasid) {
        return false;
    }
    return (addr & ~(uint64_t)(IOPF_PAGE - 1) & ~inv->mask) == inv->addr;
}

static gboolean iopf_atc_match(gpointer key, gpointer value, gpointer opaque)
{
    IopfAtcKey *k = key;

    return iopf_inv_covers(opaque, k->pasid, k->page * IOPF_PAGE);
}

static void iopf_atc_mark(gpointer key, gpointer value, gpointer opaque)
{
    if (iopf_atc_match(key, value, opaque)) {
        ((IopfAtcEntry *)value)->stale = true;
    }
}

/* From here on, no access begins that uses what @inv is for. */
static void iopf_inv_purge(IopfState *s, IopfInv *inv)
{
    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_KEEP_ATC) {
        g_hash_table_foreach(s->atc, iopf_atc_mark, inv);
    } else {
        g_hash_table_foreach_remove(s->atc, iopf_atc_match, inv);
    }
    inv->purged = true;
    inv->seq = s->seq++;
}

/* Does @q hold a translation that @inv is for, from before the purge? */
static bool iopf_inv_concerns(const IopfInv *inv, const IopfQueue *q)
{
    uint32_t i;

    if (!q->held || q->mode == IOPF_MODE_STALL || q->held_seq > inv->seq) {
        return false;
    }
    for (i = 0; i < q->n_acc; i++) {
        if (iopf_inv_covers(inv, iopf_pasid(q->pasid), q->acc[i].addr)) {
            return true;
        }
    }
    return false;
}

static bool iopf_inv_must_wait(IopfState *s, const IopfInv *inv)
{
    int i;

    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_KEEP_ATC) {
        return false;
    }
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        if (iopf_inv_concerns(inv, &s->q[i])) {
            return true;
        }
    }
    return false;
}

static int64_t iopf_delay_end(IopfState *s)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);

    if (!s->dma_delay_us) {
        return now;
    }
    return now + g_rand_int_range(s->rand, 0, s->dma_delay_us) *
                 (int64_t)SCALE_US;
}

static void iopf_trigger(IopfState *s, uint32_t event, uint32_t pasid)
{
    if (INJ(s, IOPF_INJ_TRIGGER) & event) {
        s->triggered |= event;
        s->trigger_pasid = pasid;
        iopf_kick(s);
    }
}

static IopfInv *iopf_inv_alloc(IopfState *s)
{
    int i;

    for (i = 0; i < PCI_ATS_ITAGS; i++) {
        if (!s->inv[i].busy) {
            return &s->inv[i];
        }
    }
    return NULL;
}

static void iopf_hold_drop(IopfState *s, IopfQueue *q);

/* More than PCIe allows: nobody may hold anything, and it is confirmed. */
static bool iopf_inv_overrun(IopfState *s, IopfInv *inv)
{
    int i;

    qemu_log_mask(LOG_GUEST_ERROR, "iopf-testdev: more than %d invalidations\n",
                  PCI_ATS_ITAGS);
    iopf_inv_purge(s, inv);
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        if (s->q[i].held && s->q[i].mode != IOPF_MODE_STALL) {
            iopf_hold_drop(s, &s->q[i]);
        }
    }
    iopf_kick(s);
    return true;
}

static bool iopf_ats_invalidate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                                hwaddr mask, bool global, uint32_t itag)
{
    IopfState *s = IOPF_TESTDEV(dev);
    IopfInv *slot, inv = {
        .busy = true, .pasid = pasid, .addr = addr, .mask = mask,
        .global = global, .itag = itag, .due = iopf_delay_end(s),
    };
    uint32_t late = IOPF_MIS_HOLD_INV | IOPF_MIS_DELAY_INV;

    COUNT(s, INVALIDATIONS);
    iopf_trigger(s, IOPF_TRIG_INVALIDATE, pasid);
    if (!s->dma_delay_us && !(INJ(s, IOPF_INJ_MISBEHAVE) & late) &&
        !(s->triggered & IOPF_TRIG_INVALIDATE)) {
        iopf_inv_purge(s, &inv);
        if (!iopf_inv_must_wait(s, &inv)) {
            iopf_trigger(s, IOPF_TRIG_CONFIRM, pasid);
            return true;
        }
    }
    slot = iopf_inv_alloc(s);
    if (!slot) {
        return iopf_inv_overrun(s, &inv);
    }
    *slot = inv;
    iopf_kick(s);
    return false;
}

/* Ask for iopf_hold_timer() at @when, or earlier. */
static void iopf_wake_at(IopfState *s, int64_t when)
{
    if (!timer_pending(s->hold_timer) ||
        timer_expire_time_ns(s->hold_timer) > when) {
        timer_mod(s->hold_timer, when);
    }
}

static void iopf_confirm_invalidations(IopfState *s)
{
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    int i;

    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_HOLD_INV) {
        return;
    }
    for (i = 0; i < PCI_ATS_ITAGS; i++) {
        IopfInv *inv = &s->inv[i];

        if (!inv->busy) {
            continue;
        }
        if (inv->due > now) {
            iopf_wake_at(s, inv->due);
            continue;
        }
        if (!inv->purged) {
            iopf_inv_purge(s, inv);
        }
        /* the end of what is held calls again */
        if (!iopf_inv_must_wait(s, inv)) {
            inv->busy = false;
            iopf_trigger(s, IOPF_TRIG_CONFIRM, inv->pasid);
            pci_iommu_ats_inv_done(PCI_DEVICE(s), inv->itag);
        }
    }
}

/* Answers */

static void iopf_fail(IopfQueue *q, IopfAccess *acc, uint32_t fault)
{
    acc->state = ACC_FAILED;
    if (!q->fault) {
        q->fault = fault;
        q->fault_at = acc->addr;
    }
}

static void iopf_stall_done(PCIDevice *dev, uint32_t tag, bool retry)
{
    IopfState *s = IOPF_TESTDEV(dev);
    IopfQueue *q = &s->q[tag % IOPF_NR_QUEUES];
    IopfAccess *acc = &q->acc[extract32(tag, 6, 5)];

    if (retry) {
        COUNT(s, RETRIES);
    } else {
        COUNT(s, STALL_ABORTS);
    }
    if (tag & IOPF_TAG_INJECTED) {
        INJ(s, IOPF_INJ_STALL_ANSWER) = retry ? 1 : 2;
        return;
    }
    if (q->outstanding) {
        q->outstanding--;
    }
    if (extract32(tag, 11, 20) != q->gen || acc->state != ACC_WAIT) {
        COUNT(s, STALE);
        return;
    }
    q->n_wait--;
    acc->state = ACC_NEW;
    if (!retry) {
        iopf_fail(q, acc, IOPF_DESC_ABORTED);
    }
    iopf_kick(s);
}

/* Groups of all functions that wait for their answer */
static bool iopf_pri_outstanding(IopfState *s)
{
    IopfState *f, *pf = iopf_pf(s);
    int i, n;

    for (i = 0; (f = iopf_function(pf, i)); i++) {
        for (n = 0; n < IOPF_NR_PRGI; n++) {
            if (f->prg[n].busy && f->prg[n].last) {
                return true;
            }
        }
    }
    return false;
}

/* Page requests that count against what software has granted */
static uint32_t iopf_pri_in_flight(IopfState *s)
{
    IopfState *f, *pf = iopf_pf(s);
    uint32_t pages = 0;
    int i, n;

    for (i = 0; (f = iopf_function(pf, i)); i++) {
        for (n = 0; n < IOPF_NR_PRGI; n++) {
            if (f->prg[n].busy && !f->prg[n].injected) {
                pages += f->prg[n].pages;
            }
        }
    }
    return pages;
}

/* Stopped: no more requests, and none outstanding. PCIe Base 7.8.10.3 */
static void iopf_pri_update_stopped(IopfState *s)
{
    uint8_t *pri = iopf_pri_cap(s);

    if (pcie_pri_enabled(PCI_DEVICE(s)) || iopf_pri_outstanding(s)) {
        pci_word_test_and_clear_mask(pri + PCI_PRI_STATUS,
                                     PCI_PRI_STATUS_STOPPED);
    } else {
        pci_word_test_and_set_mask(pri + PCI_PRI_STATUS,
                                   PCI_PRI_STATUS_STOPPED);
    }
}

/* All pages of the batch that were requested have been answered alike. */
static void iopf_pri_answer(IopfQueue *q, IOMMUPRIResponseCode code)
{
    uint32_t i;

    for (i = 0; i < q->n_acc; i++) {
        if (q->acc[i].state != ACC_WAIT) {
            continue;
        }
        q->n_wait--;
        q->acc[i].state = ACC_NEW;
        if (code == IOMMU_PRI_RESP_INVALID_REQUEST) {
            iopf_fail(q, &q->acc[i], IOPF_DESC_INVALID);
        } else if (code != IOMMU_PRI_RESP_SUCCESS) {
            iopf_fail(q, &q->acc[i], IOPF_DESC_FAILURE);
        }
    }
    /* an answer ends the group, though it may not have been sent completely */
    q->prg_left = 0;
    q->retries++;
    q->backoff = q->retries > 1;
}

/* @group is over: so is what waits for it. */
static void iopf_group_end(IopfState *s, IopfGroup *group,
                           IOMMUPRIResponseCode code)
{
    IopfQueue *q = &s->q[group->queue];

    group->busy = false;
    if (group->injected) {
        return;
    }
    if (q->outstanding) {
        q->outstanding--;
    }
    if (group->gen == q->gen) {
        iopf_pri_answer(q, code);
    } else {
        COUNT(s, STALE);
    }
}

/*
 * The interface of all functions forgets what it has asked: by a reset of it,
 * or since it expects no further responses after a failure. Software may
 * answer all the same.
 */
static void iopf_pri_forget(IopfState *s)
{
    IopfState *f, *pf = iopf_pf(s);
    int i, n;

    for (i = 0; (f = iopf_function(pf, i)); i++) {
        for (n = 0; n < IOPF_NR_PRGI; n++) {
            if (!f->prg[n].busy) {
                continue;
            }
            f->prg[n].forgotten = true;
            f->counters[IOPF_CNT_FORGOTTEN] += f->prg[n].last;
            iopf_group_end(f, &f->prg[n], IOMMU_PRI_RESP_FAILURE);
        }
    }
    iopf_pri_update_stopped(s);
    iopf_kick_all(s);
}

/*
 * A Response Failure stops the interface, for all functions that share it:
 * PCIe Base section 10.4.2.2
 */
static void iopf_pri_failed(IopfState *s)
{
    pci_word_test_and_set_mask(iopf_pri_cap(s) + PCI_PRI_STATUS,
                               PCI_PRI_STATUS_RF);
    iopf_pri_forget(s);
}

/* A response that belongs to no group, or not to it as it is */
static void iopf_pri_unexpected(IopfState *s, IopfGroup *group,
                                IOMMUPRIResponse *response)
{
    if (group->forgotten) {
        COUNT(s, LATE);
        group->forgotten = false;
    } else {
        COUNT(s, RESP_UNEXPECTED);
        if (!group->busy) {
            COUNT(s, NOTHING);
        } else if (response->response_code == IOMMU_PRI_RESP_FAILURE &&
                   response->pasid == PCI_NO_PASID) {
            COUNT(s, NOT_AUTO);
        } else {
            COUNT(s, WRONG_PASID);
        }
    }
    /* after a failure, what comes is ignored: PCIe Base section 7.8.10.3 */
    if (!(pci_get_word(iopf_pri_cap(s) + PCI_PRI_STATUS) &
          PCI_PRI_STATUS_RF)) {
        pci_word_test_and_set_mask(iopf_pri_cap(s) + PCI_PRI_STATUS,
                                   PCI_PRI_STATUS_UPRGI);
    }
}

/*
 * Does the response belong to the group? An automatic one for a failure never
 * has a PASID (IHI 0070 section 8.2); software's has it where one is required.
 */
static bool iopf_pri_expected(IopfState *s, IopfGroup *group,
                              IOMMUPRIResponse *response)
{
    bool has_pasid = group->pasid != PCI_NO_PASID &&
                     iopf_pf(s)->pri_resp_pasid;

    if (!group->busy) {
        return false;
    }
    if (response->automatic && response->pasid == PCI_NO_PASID &&
        response->response_code == IOMMU_PRI_RESP_FAILURE) {
        return true;
    }
    return response->pasid == (has_pasid ? group->pasid : PCI_NO_PASID);
}

static void iopf_pri_accept(IopfState *s, IopfGroup *group,
                            IOMMUPRIResponseCode code)
{
    s->counters[IOPF_CNT_ANSWERED] += group->last;
    iopf_group_end(s, group, code);
    switch (code) {
    case IOMMU_PRI_RESP_SUCCESS:
        COUNT(s, RESP_SUCCESS);
        break;
    case IOMMU_PRI_RESP_INVALID_REQUEST:
        COUNT(s, RESP_INVALID);
        break;
    default:
        COUNT(s, RESP_FAILURE);
        iopf_pri_failed(s);
        break;
    }
    iopf_pri_update_stopped(s);
    iopf_kick_all(s);
}

static void iopf_pri_response(IOMMUPRINotifier *notifier,
                              IOMMUPRIResponse *response)
{
    static const uint32_t pcie_codes[] = {
        [IOMMU_PRI_RESP_SUCCESS] = 0,
        [IOMMU_PRI_RESP_INVALID_REQUEST] = 1,
        [IOMMU_PRI_RESP_FAILURE] = 15,
    };
    IopfState *s = container_of(notifier, IopfState, pri_notifier);
    IopfGroup *group = &s->prg[response->prgi % IOPF_NR_PRGI];

    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_IGNORE_RESP) {
        return;
    }
    INJ(s, IOPF_INJ_RESPONSE) = response->prgi |
                                pcie_codes[response->response_code] << 16;
    INJ(s, IOPF_INJ_RESP_PASID) = response->pasid == PCI_NO_PASID ? 0 :
                                  response->pasid | IOPF_PASID_VALID;
    if (iopf_pri_expected(s, group, response)) {
        iopf_pri_accept(s, group, response->response_code);
    } else {
        iopf_pri_unexpected(s, group, response);
    }
}

static const PCIIOMMUClient iopf_client = {
    .stall_done = iopf_stall_done,
    .ats_invalidate = iopf_ats_invalidate,
};

/* Requests */

static void iopf_access_untranslated(IopfState *s, IopfQueue *q,
                                     IopfAccess *acc)
{
    uint32_t tag = (q - s->q) | (acc - q->acc) << 6 | q->gen << 11;
    PCIXlateReq req = {
        .pasid = iopf_pasid(q->pasid),
        .addr = acc->addr,
        .perm = acc->perm,
        .can_stall = s->stall,
        .tag = tag,
    };
    IOMMUTLBEntry entry;
    uint32_t token;

    COUNT(s, TRANSLATIONS);
    switch (pci_iommu_translate(PCI_DEVICE(s), &req, &entry, &token)) {
    case PCI_XLATE_OK:
        acc->state = ACC_OK;
        acc->pa = entry.translated_addr;
        acc->as = entry.target_as;
        acc->token = token;
        acc->has_token = true;
        break;
    case PCI_XLATE_STALLED:
        s->counters[IOPF_CNT_STALLS] += !acc->stalled;
        acc->stalled = true;
        acc->state = ACC_WAIT;
        q->n_wait++;
        q->outstanding++;
        break;
    default:
        COUNT(s, ABORTS);
        iopf_fail(q, acc, IOPF_DESC_ABORTED);
        break;
    }
}

/* Leaves @acc in ACC_NEW where the page is not there. */
static void iopf_access_ats(IopfState *s, IopfQueue *q, IopfAccess *acc)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint32_t pasid = iopf_pasid(q->pasid);
    IopfAtcEntry *e = iopf_atc_find(s, pasid, acc->addr);
    IOMMUTLBEntry entry;
    uint32_t errors;

    if (e && (e->perm & acc->perm) == acc->perm) {
        COUNT(s, ATC_HITS);
    } else {
        COUNT(s, ATS_REQUESTS);
        if (pci_ats_force_translation(dev, pasid, false, false,
                                      acc->addr & ~(uint64_t)(IOPF_PAGE - 1),
                                      IOPF_PAGE, !(acc->perm & IOMMU_WO),
                                      &entry, 1, &errors) != 1) {
            COUNT(s, ABORTS);
            iopf_fail(q, acc, IOPF_DESC_ABORTED);
            return;
        }
        if ((entry.perm & acc->perm) != acc->perm) {
            if (q->mode != IOPF_MODE_PRI) {
                iopf_fail(q, acc, IOPF_DESC_DENIED);
            }
            return;
        }
        iopf_atc_add(s, pasid, acc->addr, &entry);
        e = iopf_atc_find(s, pasid, acc->addr);
    }
    acc->pa = e->pa + acc->addr % IOPF_PAGE;
    acc->as = e->as;
    acc->stale = e->stale;
    if (!pci_iommu_ats_translated(dev, acc->pa, acc->perm & IOMMU_WO)) {
        COUNT(s, ABORTS);
        iopf_fail(q, acc, IOPF_DESC_ABORTED);
        return;
    }
    acc->state = ACC_OK;
}

static int iopf_prgi_alloc(IopfState *s)
{
    uint32_t i, prgi;

    /* one that may still be answered is the last choice */
    for (i = 0; i < 2 * IOPF_NR_PRGI; i++) {
        prgi = (s->next_prgi + i) % IOPF_NR_PRGI;
        if (!s->prg[prgi].busy &&
            (!s->prg[prgi].forgotten || i >= IOPF_NR_PRGI)) {
            s->next_prgi = prgi + 1;
            return prgi;
        }
    }
    return -1;
}

/* The request of @acc; a request that nobody takes is answered at once. */
static void iopf_pri_request(IopfState *s, IopfQueue *q, IopfAccess *acc)
{
    uint32_t pasid = iopf_pasid(q->pasid);
    IopfGroup *group = &s->prg[q->prgi];
    bool last = !q->prg_left;

    COUNT(s, PAGE_REQUESTS);
    s->counters[IOPF_CNT_GROUPS] += last;
    group->last = last;
    trace_iopf_page_request(q - s->q, pasid, acc->addr, q->prgi, last);
    if (pci_pri_force_page(PCI_DEVICE(s), pasid, false, false, acc->addr, last,
                           q->prgi, acc->perm & IOMMU_RO,
                           acc->perm & IOMMU_WO)) {
        iopf_pri_accept(s, group, IOMMU_PRI_RESP_FAILURE);
    }
}

/* Send the next request of the group of @q. */
static void iopf_pri_send(IopfState *s, IopfQueue *q)
{
    while (q->prg_next < q->n_acc && q->acc[q->prg_next].state != ACC_WAIT) {
        q->prg_next++;
    }
    if (q->prg_next == q->n_acc) {
        q->prg_left = 0;
        return;
    }
    q->prg_left--;
    iopf_pri_request(s, q, &q->acc[q->prg_next++]);
}

/* Software may not wait for a group that is not going to be complete. */
static void iopf_pri_finish(IopfState *s, IopfQueue *q)
{
    while (q->prg_left) {
        iopf_pri_send(s, q);
    }
}

/*
 * Request the pages of the batch that are missing, as one group, as far as
 * software has granted requests (PCIe Base section 10.5.2.4).
 */
static void iopf_pri_start(IopfState *s, IopfQueue *q)
{
    uint32_t granted = pci_get_long(iopf_pri_cap(s) + PCI_PRI_ALLOC_REQ);
    uint32_t in_flight = iopf_pri_in_flight(s);
    uint32_t i, missing = 0, pages;
    int prgi;

    for (i = 0; i < q->n_acc; i++) {
        missing += q->acc[i].state == ACC_NEW;
    }
    pages = MIN(missing, granted);
    if (q->retries > 1) {
        /* maybe the group was larger than the queue of the IOMMU */
        pages = MAX(pages >> MIN(q->retries - 1, 5), MIN(pages, 1));
    }
    prgi = iopf_prgi_alloc(s);
    if (pages && (prgi < 0 || in_flight + pages > granted)) {
        q->want_credit = true;
        return;
    }
    q->want_credit = false;
    q->prgi = prgi;
    q->prg_next = 0;
    q->prg_left = pages;
    for (i = 0; i < q->n_acc; i++) {
        if (q->acc[i].state != ACC_NEW) {
            continue;
        }
        if (!iopf_allowed(s, IOPF_STATE_PRI, PCI_NO_PASID) || !granted) {
            iopf_fail(q, &q->acc[i], IOPF_DESC_DENIED);
        } else if (pages) {
            q->acc[i].state = ACC_WAIT;
            q->n_wait++;
            pages--;
        }
    }
    if (!q->n_wait) {
        return;
    }
    s->prg[prgi] = (IopfGroup) {
        .busy = true,
        .queue = q - s->q,
        .gen = q->gen,
        .pasid = iopf_pasid(q->pasid),
        .pages = q->prg_left,
    };
    q->outstanding++;
    if (s->ctrl & IOPF_CTRL_INTERLEAVE) {
        iopf_kick(s);
        return;
    }
    iopf_pri_finish(s, q);
}

/* The batch */

typedef enum IopfResolved {
    RESOLVED,
    RESOLVE_WAIT,
    RESOLVE_FAILED,
} IopfResolved;

static bool iopf_batch_has(IopfQueue *q, IopfAccessState state)
{
    uint32_t i;

    for (i = 0; i < q->n_acc; i++) {
        if (q->acc[i].state == state) {
            return true;
        }
    }
    return false;
}

/* The accesses of the batch that the IOMMU thinks are in flight have ended. */
static void iopf_batch_release(IopfState *s, IopfQueue *q)
{
    uint32_t i;

    for (i = 0; i < q->n_acc; i++) {
        if (q->acc[i].has_token) {
            q->acc[i].has_token = false;
            pci_iommu_translate_done(PCI_DEVICE(s), q->acc[i].token);
        }
    }
}

/* Data of the batch is not going to move: it starts over, if at all. */
static void iopf_hold_drop(IopfState *s, IopfQueue *q)
{
    if (q->held) {
        q->held = false;
        iopf_batch_release(s, q);
        iopf_kick(s);
    }
}

static IopfResolved iopf_resolve(IopfState *s, IopfQueue *q)
{
    uint32_t needs = q->mode == IOPF_MODE_STALL ? 0 : IOPF_STATE_ATS;
    bool allowed = iopf_allowed(s, needs, iopf_pasid(q->pasid));
    uint32_t i;

    if (iopf_batch_has(q, ACC_FAILED)) {
        return RESOLVE_FAILED;
    }
    for (i = 0; i < q->n_acc; i++) {
        q->acc[i].state = ACC_NEW;
        if (!allowed) {
            iopf_fail(q, &q->acc[i], IOPF_DESC_DENIED);
        } else if (q->mode == IOPF_MODE_STALL) {
            iopf_access_untranslated(s, q, &q->acc[i]);
        } else {
            iopf_access_ats(s, q, &q->acc[i]);
        }
    }
    if (!q->n_wait && !iopf_batch_has(q, ACC_FAILED) &&
        iopf_batch_has(q, ACC_NEW)) {
        if (q->retries > IOPF_RETRIES_MAX) {
            iopf_fail(q, &q->acc[0], IOPF_DESC_INVALID);
        } else {
            iopf_pri_start(s, q);
        }
    }
    if (q->n_wait || q->want_credit) {
        return RESOLVE_WAIT;
    }
    if (iopf_batch_has(q, ACC_FAILED)) {
        return RESOLVE_FAILED;
    }
    /* a group that is answered at once leaves its pages to be tried again */
    return iopf_batch_has(q, ACC_NEW) ? RESOLVE_WAIT : RESOLVED;
}

static void iopf_batch_reset(IopfQueue *q)
{
    q->n_acc = 0;
    q->n_wait = 0;
    q->retries = 0;
    q->fault = 0;
    q->want_credit = false;
    q->backoff = false;
}

static uint64_t iopf_to_page_end(uint64_t addr)
{
    return IOPF_PAGE - addr % IOPF_PAGE;
}

static void iopf_batch_add(IopfQueue *q, uint64_t addr, uint32_t perm)
{
    q->acc[q->n_acc++] = (IopfAccess) { .addr = addr, .perm = perm };
}

static bool iopf_op_reads(uint32_t op)
{
    return op == IOPF_OP_COPY || op == IOPF_OP_COMPARE ||
           op == IOPF_OP_CHECKSUM;
}

static uint32_t iopf_op_dst_perm(uint32_t op)
{
    switch (op) {
    case IOPF_OP_COPY:
    case IOPF_OP_FILL:
        return IOMMU_WO;
    case IOPF_OP_COMPARE:
        return IOMMU_RO;
    default:
        return IOMMU_NONE;
    }
}

/* How much of the descriptor can be done at offset @done within its pages? */
static uint64_t iopf_chunk(IopfQueue *q, uint64_t done)
{
    uint32_t op = le32_to_cpu(q->desc.op);
    uint64_t len = le64_to_cpu(q->desc.len) - done;

    if (iopf_op_reads(op)) {
        len = MIN(len, iopf_to_page_end(le64_to_cpu(q->desc.src) + done));
    }
    if (iopf_op_dst_perm(op)) {
        len = MIN(len, iopf_to_page_end(le64_to_cpu(q->desc.dst) + done));
    }
    return len;
}

/* Pages that a chunk takes */
static uint32_t iopf_chunk_pages(uint32_t op)
{
    return iopf_op_reads(op) + (iopf_op_dst_perm(op) != IOMMU_NONE);
}

/* The pages of the next chunks: as many as CONCURRENCY says, or of one. */
static void iopf_batch_work(IopfQueue *q)
{
    uint32_t op = le32_to_cpu(q->desc.op);
    uint32_t i, step = iopf_chunk_pages(op);
    uint32_t max = MAX(step, q->concurrency);
    uint64_t done = q->done;

    iopf_batch_reset(q);
    if (op == IOPF_OP_SCATTER) {
        for (i = 0; i < q->n_list; i++) {
            iopf_batch_add(q, q->list[i], IOMMU_WO);
        }
        return;
    }
    while (done < le64_to_cpu(q->desc.len) && q->n_acc + step <= max) {
        if (iopf_op_reads(op)) {
            iopf_batch_add(q, le64_to_cpu(q->desc.src) + done, IOMMU_RO);
        }
        if (iopf_op_dst_perm(op)) {
            iopf_batch_add(q, le64_to_cpu(q->desc.dst) + done,
                           iopf_op_dst_perm(op));
        }
        done += iopf_chunk(q, done);
    }
}

/* Moving data */

static bool iopf_rw(IopfState *s, IopfQueue *q, IopfAccess *acc, void *buf,
                    uint64_t len, bool write)
{
    s->counters[IOPF_CNT_BYTES] += len;
    s->counters[IOPF_CNT_STALE_DMA] += acc->stale;
    s->bh_bytes -= MIN(len, s->bh_bytes);
    if (address_space_rw(acc->as, acc->pa, MEMTXATTRS_UNSPECIFIED, buf, len,
                         write)) {
        iopf_fail(q, acc, IOPF_DESC_BUS);
        return false;
    }
    return true;
}

static void iopf_fill(uint8_t *buf, uint64_t len, uint64_t pattern,
                      uint64_t offset)
{
    uint64_t i;

    for (i = 0; i < len; i++) {
        buf[i] = pattern >> ((offset + i) % 8 * 8);
    }
}

static uint64_t iopf_fnv1a(uint64_t hash, const uint8_t *buf, uint64_t len)
{
    uint64_t i;

    for (i = 0; i < len; i++) {
        hash = (hash ^ buf[i]) * 0x100000001b3ULL;
    }
    return hash;
}

/* The offset of the first difference is the result, and the end. */
static void iopf_compare(IopfQueue *q, const uint8_t *a, const uint8_t *b,
                         uint64_t len)
{
    uint64_t i;

    for (i = 0; i < len; i++) {
        if (a[i] != b[i]) {
            q->result = q->done + i;
            q->desc.len = cpu_to_le64(q->done);
            return;
        }
    }
    q->done += len;
    q->result = q->done;
}

/* One chunk, whose pages are @acc. */
static bool iopf_work_chunk(IopfState *s, IopfQueue *q, IopfAccess *acc)
{
    uint8_t a[IOPF_PAGE], b[IOPF_PAGE];
    uint32_t op = le32_to_cpu(q->desc.op);
    uint64_t len = iopf_chunk(q, q->done);

    if (iopf_op_reads(op) && !iopf_rw(s, q, acc++, a, len, false)) {
        return false;
    }
    switch (op) {
    case IOPF_OP_COMPARE:
        if (!iopf_rw(s, q, acc, b, len, false)) {
            return false;
        }
        iopf_compare(q, a, b, len);
        return true;
    case IOPF_OP_CHECKSUM:
        q->result = iopf_fnv1a(q->result, a, len);
        break;
    case IOPF_OP_FILL:
        iopf_fill(a, len, le64_to_cpu(q->desc.arg), q->done);
        /* fall through */
    case IOPF_OP_COPY:
        if (!iopf_rw(s, q, acc, a, len, true)) {
            return false;
        }
        break;
    }
    q->done += len;
    return true;
}

static void iopf_work_scatter(IopfState *s, IopfQueue *q)
{
    uint32_t i;

    for (i = 0; i < q->n_acc; i++) {
        uint64_t val = cpu_to_le64(le64_to_cpu(q->desc.arg) + q->done);

        if (!iopf_rw(s, q, &q->acc[i], &val, sizeof(val), true)) {
            return;
        }
        q->done++;
    }
    q->result = q->done;
}

static void iopf_work(IopfState *s, IopfQueue *q)
{
    uint32_t op = le32_to_cpu(q->desc.op);
    uint32_t i, step = iopf_chunk_pages(op);

    if (op == IOPF_OP_SCATTER) {
        iopf_work_scatter(s, q);
        return;
    }
    for (i = 0; i < q->n_acc; i += step) {
        if (q->done >= le64_to_cpu(q->desc.len) ||
            !iopf_work_chunk(s, q, &q->acc[i])) {
            return;
        }
    }
}

/* The phases */

static uint64_t iopf_desc_addr(IopfQueue *q)
{
    return q->ring + (q->cons & ((1u << q->log2size) - 1)) *
                     sizeof(struct iopf_desc);
}

static void iopf_begin_fetch(IopfQueue *q)
{
    q->phase = PHASE_FETCH;
    q->status = IOPF_DESC_OK;
    iopf_batch_reset(q);
    iopf_batch_add(q, iopf_desc_addr(q), IOMMU_RO);
}

static void iopf_begin_writeback(IopfQueue *q)
{
    q->phase = PHASE_WRITEBACK;
    iopf_batch_reset(q);
    iopf_batch_add(q, iopf_desc_addr(q) + offsetof(struct iopf_desc, status),
                   IOMMU_WO);
}

/* What is next, after a part of the descriptor has been done? */
static void iopf_begin_work(IopfQueue *q)
{
    uint64_t len = le64_to_cpu(q->desc.len);

    if (q->status != IOPF_DESC_OK || q->done >= len) {
        iopf_begin_writeback(q);
        return;
    }
    if (le32_to_cpu(q->desc.op) == IOPF_OP_SCATTER) {
        uint64_t addr = le64_to_cpu(q->desc.src) + 8 * q->done;

        q->phase = PHASE_LIST;
        q->n_list = MIN(MIN(q->concurrency, len - q->done),
                        iopf_to_page_end(addr) / 8);
        iopf_batch_reset(q);
        iopf_batch_add(q, addr, IOMMU_RO);
        return;
    }
    q->phase = PHASE_WORK;
    iopf_batch_work(q);
}

static void iopf_begin_desc(IopfQueue *q)
{
    uint32_t op = le32_to_cpu(q->desc.op);

    q->done = 0;
    q->fault_addr = 0;
    q->result = op == IOPF_OP_CHECKSUM ? 0xcbf29ce484222325ULL : 0;
    if (op < IOPF_OP_NOP || op > IOPF_OP_SCATTER ||
        (op == IOPF_OP_SCATTER && le64_to_cpu(q->desc.src) % 8)) {
        q->status = IOPF_DESC_BAD;
    }
    if (op == IOPF_OP_NOP) {
        q->desc.len = 0;
    }
    iopf_begin_work(q);
}

static void iopf_begin_list(IopfQueue *q)
{
    uint32_t i;

    for (i = 0; i < q->n_list; i++) {
        le64_to_cpus(&q->list[i]);
        if (q->list[i] % 8) {
            q->status = IOPF_DESC_BAD;
            q->fault_addr = q->list[i];
            iopf_begin_writeback(q);
            return;
        }
    }
    q->phase = PHASE_WORK;
    iopf_batch_work(q);
}

static void iopf_halt(IopfState *s, IopfQueue *q)
{
    q->error = q->fault;
    trace_iopf_halt(q - s->q, q->error, q->fault_at);
    if (q->irq) {
        msix_notify(PCI_DEVICE(s), q - s->q);
    }
}

/* The batch failed: that ends the descriptor, or the queue. */
static void iopf_batch_failed(IopfState *s, IopfQueue *q)
{
    if (q->phase == PHASE_FETCH || q->phase == PHASE_WRITEBACK) {
        iopf_halt(s, q);
        return;
    }
    q->status = q->fault;
    q->fault_addr = q->fault_at;
    iopf_begin_writeback(q);
}

static void iopf_writeback(IopfState *s, IopfQueue *q)
{
    struct {
        uint32_t status, unused;
        uint64_t result, fault_addr;
    } QEMU_PACKED end = {
        .status = cpu_to_le32(q->status),
        .result = cpu_to_le64(q->result),
        .fault_addr = cpu_to_le64(q->fault_addr),
    };

    if (!iopf_rw(s, q, &q->acc[0], &end, sizeof(end), true)) {
        return;
    }
    trace_iopf_complete(q - s->q, q->cons, q->status, q->fault_addr);
    COUNT(s, DESCRIPTORS);
    q->cons++;
    if (q->irq) {
        msix_notify(PCI_DEVICE(s), q - s->q);
    }
    iopf_begin_fetch(q);
}

/* The pages of the batch are there. */
static void iopf_advance(IopfState *s, IopfQueue *q)
{
    switch (q->phase) {
    case PHASE_FETCH:
        if (iopf_rw(s, q, &q->acc[0], &q->desc, sizeof(q->desc), false)) {
            iopf_begin_desc(q);
        }
        break;
    case PHASE_LIST:
        if (iopf_rw(s, q, &q->acc[0], q->list, 8 * q->n_list, false)) {
            iopf_begin_list(q);
        }
        break;
    case PHASE_WORK:
        iopf_work(s, q);
        if (!q->fault) {
            iopf_begin_work(q);
        }
        break;
    case PHASE_WRITEBACK:
        iopf_writeback(s, q);
        break;
    }
    if (q->fault) {
        iopf_batch_failed(s, q);
    }
}

static bool iopf_runnable(IopfQueue *q)
{
    if (q->mode == IOPF_MODE_OFF || q->error || q->n_wait || q->backoff ||
        q->held) {
        return false;
    }
    return q->phase != PHASE_FETCH || q->prod != q->cons;
}

/*
 * The BQL is wanted elsewhere. With -icount the time that this takes is none
 * of the guest's, and may not change what it sees.
 */
static bool iopf_may_go_on(IopfState *s)
{
    return s->bh_bytes && s->bh_batches &&
           (icount_enabled() ||
            qemu_clock_get_ns(QEMU_CLOCK_REALTIME) < s->bh_end);
}

/* Every page of the batch is there. Does the data move later? */
static bool iopf_hold(IopfState *s, IopfQueue *q)
{
    if (!s->dma_delay_us) {
        return false;
    }
    q->held = true;
    q->held_seq = s->seq;
    q->move_at = iopf_delay_end(s);
    iopf_wake_at(s, q->move_at);
    return true;
}

static void iopf_queue_restart(IopfState *s, IopfQueue *q);

/* What was held is due. */
static void iopf_hold_end(IopfState *s, IopfQueue *q)
{
    IopfAccess acc[IOPF_MAX_CONCURRENCY];
    uint32_t i, n = q->n_acc;

    if (!q->held) {
        return;
    }
    if (q->move_at > qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL)) {
        iopf_wake_at(s, q->move_at);
        return;
    }
    /* the next batch takes their place */
    memcpy(acc, q->acc, sizeof(acc));
    for (i = 0; i < n; i++) {
        q->acc[i].has_token = false;
    }
    q->held = false;
    iopf_advance(s, q);
    for (i = 0; i < n; i++) {
        if (acc[i].has_token) {
            pci_iommu_translate_done(PCI_DEVICE(s), acc[i].token);
        }
    }
    if (q->stopping) {
        iopf_queue_restart(s, q);
    }
    if (s->dma_delay_us) {
        /* an invalidation may have waited for this */
        iopf_kick(s);
    }
}

/* All of the batch is there: move its data, now. */
static void iopf_move(IopfState *s, IopfQueue *q)
{
    q->held = true;
    q->move_at = 0;
    iopf_hold_end(s, q);
}

/* Return: whether the queue may have more to do. */
static bool iopf_run(IopfState *s, IopfQueue *q)
{
    do {
        if (!iopf_runnable(q)) {
            return false;
        }
        s->bh_batches--;
        switch (iopf_resolve(s, q)) {
        case RESOLVED:
            if (!iopf_hold(s, q)) {
                iopf_move(s, q);
            }
            break;
        case RESOLVE_FAILED:
            iopf_batch_release(s, q);
            iopf_batch_failed(s, q);
            break;
        case RESOLVE_WAIT:
            iopf_batch_release(s, q);
            return false;
        }
    } while (!(s->ctrl & IOPF_CTRL_INTERLEAVE) && iopf_may_go_on(s));
    return iopf_runnable(q);
}

static void iopf_run_triggered(IopfState *s, uint32_t events);

/* Queues take turns, a bottom half each if there is much to do. */
static void iopf_run_all(IopfState *s)
{
    bool more = false, backoff = false;
    int i;

    for (i = 0; i < IOPF_NR_QUEUES && iopf_may_go_on(s); i++) {
        IopfQueue *q = &s->q[(s->turn + i) % IOPF_NR_QUEUES];

        iopf_hold_end(s, q);
        if (q->prg_left && q->mode != IOPF_MODE_OFF) {
            iopf_pri_send(s, q);
            more |= q->prg_left;
        }
        more |= iopf_run(s, q);
        backoff |= q->backoff;
    }
    /* in the same order, but for who begins */
    s->turn += i < IOPF_NR_QUEUES ? i : 1;
    if (more || i < IOPF_NR_QUEUES) {
        iopf_kick(s);
    }
    if (backoff && !timer_pending(s->timer)) {
        timer_mod(s->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + SCALE_MS);
    }
}

static void iopf_bh(void *opaque)
{
    IopfState *s = opaque;

    if (!runstate_is_running()) {
        return;
    }
    s->bh_bytes = IOPF_BH_BYTES;
    s->bh_batches = IOPF_BH_BATCHES;
    s->bh_end = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + IOPF_BH_NS;
    iopf_run_triggered(s, IOPF_TRIG_INVALIDATE | IOPF_TRIG_STOP);
    iopf_confirm_invalidations(s);
    iopf_run_triggered(s, IOPF_TRIG_CONFIRM);
    iopf_run_all(s);
}

/* Something that was to happen later is due. */
static void iopf_hold_timer(void *opaque)
{
    iopf_kick(opaque);
}

/* Pages that were granted and are not there are asked for at a slower pace. */
static void iopf_timer(void *opaque)
{
    IopfState *s = opaque;
    int i;

    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        s->q[i].backoff = false;
    }
    iopf_kick(s);
}

/* The error page */

/* In whose name? Its own, or that of another function on the bus. */
static PCIDevice *iopf_requester(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint32_t function = INJ(s, IOPF_INJ_FUNCTION);

    if (!(function & IOPF_INJ_FUNCTION_VALID)) {
        return dev;
    }
    return pci_get_bus(dev)->devices[function & 0xff];
}

static uint32_t iopf_inject_pri(IopfState *s, PCIXlateReq *req, uint32_t flags)
{
    uint16_t prgi = INJ(s, IOPF_INJ_PRGI) % IOPF_NR_PRGI;
    bool last = flags & IOPF_INJ_LAST;

    if (!iopf_allowed(s, IOPF_STATE_PRI, req->pasid)) {
        return IOPF_INJ_REFUSED;
    }
    if (last && req->perm == IOMMU_NONE && req->pasid != PCI_NO_PASID) {
        COUNT(s, STOP_MARKERS);
    } else {
        COUNT(s, PAGE_REQUESTS);
        s->counters[IOPF_CNT_GROUPS] += last;
        if (!s->prg[prgi].busy) {
            s->prg[prgi] = (IopfGroup) {
                .busy = true, .injected = true, .pasid = req->pasid,
            };
        }
        s->prg[prgi].last |= last;
    }
    if (pci_pri_force_page(iopf_requester(s), req->pasid, req->priv, req->exec,
                           req->addr, last, prgi, req->perm & IOMMU_RO,
                           req->perm & IOMMU_WO)) {
        s->prg[prgi].busy = false;
        return IOPF_INJ_UNSUPPORTED;
    }
    return IOPF_INJ_OK;
}

static void iopf_inject_result(IopfState *s, uint64_t addr)
{
    INJ(s, IOPF_INJ_PA_LO) = addr;
    INJ(s, IOPF_INJ_PA_HI) = addr >> 32;
}

static uint32_t iopf_inject_ats(IopfState *s, PCIDevice *dev, PCIXlateReq *req)
{
    IOMMUTLBEntry entry = {};
    uint32_t errors;
    ssize_t ret;

    ret = pci_ats_force_translation(dev, req->pasid, req->priv, req->exec,
                                    req->addr, IOPF_PAGE,
                                    !(req->perm & IOMMU_WO), &entry, 1,
                                    &errors);
    iopf_inject_result(s, entry.translated_addr);
    if (ret < 0) {
        return ret == -EFAULT ? IOPF_INJ_ABORTED : IOPF_INJ_UNSUPPORTED;
    }
    return IOPF_INJ_OK | entry.perm << 4;
}

static uint32_t iopf_inject_one(IopfState *s, uint32_t cmd, PCIXlateReq *req,
                                uint32_t flags)
{
    PCIDevice *dev = iopf_requester(s);
    IOMMUTLBEntry entry = {};
    PCIXlateResult result;
    uint32_t token;

    if (!dev) {
        return IOPF_INJ_UNSUPPORTED;
    }
    switch (cmd) {
    case IOPF_INJ_PAGE_REQUEST:
        return iopf_inject_pri(s, req, flags);
    case IOPF_INJ_TRANSLATE:
        if (!iopf_allowed(s, 0, req->pasid)) {
            return IOPF_INJ_REFUSED;
        }
        COUNT(s, TRANSLATIONS);
        result = pci_iommu_translate(dev, req, &entry, &token);
        s->counters[IOPF_CNT_STALLS] += result == PCI_XLATE_STALLED;
        if (result == PCI_XLATE_OK) {
            pci_iommu_translate_done(dev, token);
        }
        break;
    case IOPF_INJ_ATS_REQUEST:
        if (!iopf_allowed(s, IOPF_STATE_ATS, req->pasid)) {
            return IOPF_INJ_REFUSED;
        }
        COUNT(s, ATS_REQUESTS);
        return iopf_inject_ats(s, dev, req);
    case IOPF_INJ_TRANSLATED:
        if (!iopf_allowed(s, IOPF_STATE_ATS, PCI_NO_PASID)) {
            return IOPF_INJ_REFUSED;
        }
        return pci_iommu_ats_translated(dev, req->addr, req->perm & IOMMU_WO) ?
               IOPF_INJ_OK : IOPF_INJ_ABORTED;
    default:
        return IOPF_INJ_UNSUPPORTED;
    }
    iopf_inject_result(s, entry.translated_addr);
    return result | (result == PCI_XLATE_OK ? entry.perm << 4 : 0);
}

static void iopf_inject(IopfState *s, uint32_t cmd, uint32_t pasid)
{
    uint32_t flags = INJ(s, IOPF_INJ_FLAGS);
    uint32_t i, count = MIN(MAX(1, INJ(s, IOPF_INJ_COUNT)), 1 * MiB);
    PCIXlateReq req = {
        .pasid = pasid,
        .addr = (uint64_t)INJ(s, IOPF_INJ_ADDR_HI) << 32 |
                INJ(s, IOPF_INJ_ADDR_LO),
        .perm = IOMMU_ACCESS_FLAG(flags & IOPF_INJ_READ,
                                  flags & IOPF_INJ_WRITE),
        .exec = flags & IOPF_INJ_EXEC,
        .priv = flags & IOPF_INJ_PRIV,
        .can_stall = flags & IOPF_INJ_STALL,
        .tag = IOPF_TAG_INJECTED,
    };

    for (i = 0; i < count; i++) {
        INJ(s, IOPF_INJ_RESULT) = iopf_inject_one(s, cmd, &req, flags);
        if (flags & IOPF_INJ_NEXT_PAGE) {
            req.addr += IOPF_PAGE;
        }
        if (flags & IOPF_INJ_NEXT_PRGI) {
            INJ(s, IOPF_INJ_PRGI)++;
        }
    }
}

/* What was to happen at @events happens, with their PASID. */
static void iopf_run_triggered(IopfState *s, uint32_t events)
{
    uint32_t cmd = INJ(s, IOPF_INJ_TRIGGER) >> 8 & 0xff;

    if (s->triggered & events) {
        s->triggered &= ~events;
        iopf_inject(s, cmd, s->trigger_pasid);
    }
}

static void iopf_inject_write(IopfState *s, hwaddr addr, uint32_t val)
{
    switch (addr) {
    case IOPF_INJ_RESULT:
    case IOPF_INJ_PA_LO:
    case IOPF_INJ_PA_HI:
        break;
    case IOPF_INJ_CMD:
        INJ(s, IOPF_INJ_CMD) = val;
        iopf_inject(s, val, iopf_pasid(INJ(s, IOPF_INJ_PASID)));
        break;
    case IOPF_INJ_MISBEHAVE:
        INJ(s, IOPF_INJ_MISBEHAVE) = val;
        iopf_kick(s);
        break;
    default:
        INJ(s, addr) = val;
        break;
    }
}

/* Registers */

static uint32_t iopf_queue_status(IopfQueue *q)
{
    uint32_t status = 0;

    status |= q->mode ? IOPF_STATUS_ENABLED : 0;
    status |= q->outstanding ? IOPF_STATUS_BUSY : 0;
    status |= q->held ? IOPF_STATUS_BUSY | IOPF_STATUS_MOVING : 0;
    status |= q->error ? IOPF_STATUS_ERROR | q->error << 8 : 0;
    return status;
}

static void iopf_queue_restart(IopfState *s, IopfQueue *q)
{
    iopf_hold_drop(s, q);
    q->stopping = false;
    q->gen = ++s->gen & IOPF_GEN_MASK;
    q->prg_left = 0;
    q->prod = 0;
    q->cons = 0;
    q->error = 0;
    iopf_begin_fetch(q);
}

/*
 * It is a well-behaved device that is turned off: a group that is not complete
 * is completed, for the sake of its answer, and data that is on its way
 * arrives.
 */
static void iopf_queue_set_mode(IopfState *s, IopfQueue *q, uint32_t mode)
{
    bool was_on = q->mode != IOPF_MODE_OFF;

    iopf_pri_finish(s, q);
    q->mode = mode & 3;
    if (q->held && was_on && q->mode == IOPF_MODE_OFF) {
        q->stopping = true;
    } else {
        iopf_queue_restart(s, q);
    }
    if (was_on && q->mode == IOPF_MODE_OFF) {
        iopf_trigger(s, IOPF_TRIG_STOP, iopf_pasid(q->pasid));
    }
    iopf_kick(s);
}

static uint32_t iopf_concurrency(uint32_t val)
{
    return MIN(MAX(1, val), IOPF_MAX_CONCURRENCY);
}

static void iopf_qctl_write(IopfState *s, IopfQueue *q, hwaddr reg,
                            uint32_t val)
{
    switch (reg) {
    case IOPF_Q_PASID:
        if (q->mode == IOPF_MODE_OFF && !q->held) {
            q->pasid = val & (IOPF_PASID_VALID | IOPF_PASID_MASK);
            /* what the last user of the page wrote is not the next one's */
            q->ring = 0;
            q->log2size = 0;
            q->irq = 0;
        }
        break;
    case IOPF_Q_MODE:
        iopf_queue_set_mode(s, q, val);
        break;
    case IOPF_Q_CONCURRENCY:
        q->concurrency = iopf_concurrency(val);
        break;
    }
}

static uint32_t iopf_qctl_read(IopfQueue *q, hwaddr reg)
{
    switch (reg) {
    case IOPF_Q_PASID:
        return q->pasid;
    case IOPF_Q_MODE:
        return q->mode;
    case IOPF_Q_CONCURRENCY:
        return q->concurrency;
    case IOPF_Q_STATUS:
        return iopf_queue_status(q);
    default:
        return 0;
    }
}

static void iopf_user_write(IopfState *s, IopfQueue *q, hwaddr reg,
                            uint32_t val)
{
    switch (reg) {
    case IOPF_U_RING_LO:
        q->ring = deposit64(q->ring, 0, 32, val & ~63u);
        break;
    case IOPF_U_RING_HI:
        q->ring = deposit64(q->ring, 32, 32, val);
        break;
    case IOPF_U_RING_SIZE:
        q->log2size = MIN(val, IOPF_RING_LOG2_MAX);
        break;
    case IOPF_U_PROD:
        /* the address is taken from the registers when work begins */
        if (q->phase == PHASE_FETCH && !q->n_wait && !q->want_credit &&
            !q->held) {
            iopf_begin_fetch(q);
        }
        q->prod = val;
        iopf_kick(s);
        break;
    case IOPF_U_RESTART:
        iopf_pri_finish(s, q);
        if (!q->stopping) {
            iopf_queue_restart(s, q);
        }
        break;
    case IOPF_U_IRQ:
        q->irq = val & 1;
        break;
    case IOPF_U_CONCURRENCY:
        q->concurrency = iopf_concurrency(val);
        break;
    }
}

static uint32_t iopf_user_read(IopfQueue *q, hwaddr reg)
{
    switch (reg) {
    case IOPF_U_RING_LO:
        return q->ring;
    case IOPF_U_RING_HI:
        return q->ring >> 32;
    case IOPF_U_RING_SIZE:
        return q->log2size;
    case IOPF_U_PROD:
        return q->prod;
    case IOPF_U_CONS:
        return q->cons;
    case IOPF_U_STATUS:
        return iopf_queue_status(q);
    case IOPF_U_IRQ:
        return q->irq;
    case IOPF_U_CONCURRENCY:
        return q->concurrency;
    default:
        return 0;
    }
}

/* What a reset does to the invalidations that are not confirmed */
static void iopf_reset_inv(IopfState *s)
{
    bool lose = INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_LOSE_INV;
    int i;

    for (i = 0; i < PCI_ATS_ITAGS; i++) {
        s->inv[i].busy &= !lose;
        s->inv[i].due = 0;
    }
}

static void iopf_reset_state(IopfState *s)
{
    int i;

    pci_iommu_cancel(PCI_DEVICE(s));
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        iopf_hold_drop(s, &s->q[i]);
        memset(&s->q[i], 0, sizeof(s->q[i]));
        s->q[i].concurrency = 1;
        iopf_queue_restart(s, &s->q[i]);
    }
    for (i = 0; i < IOPF_NR_PRGI; i++) {
        bool forgotten = s->prg[i].busy || s->prg[i].forgotten;

        s->prg[i] = (IopfGroup) { .forgotten = forgotten };
    }
    iopf_reset_inv(s);
    memset(s->inj, 0, sizeof(s->inj));
    memset(s->counters, 0, sizeof(s->counters));
    s->ctrl = 0;
    s->triggered = 0;
    g_hash_table_remove_all(s->atc);
    timer_del(s->timer);
    timer_del(s->hold_timer);
    iopf_pri_update_stopped(s);
    /* what is held is confirmed, and another function may have the credit */
    iopf_kick_all(s);
    iopf_kick(s);
}

static uint32_t iopf_global_read(IopfState *s, hwaddr addr)
{
    uint32_t n = (addr - IOPF_COUNTER(0)) / 8;

    if (addr >= IOPF_COUNTER(0)) {
        return n < IOPF_NR_COUNTERS ? s->counters[n] >> (addr % 8 * 8) : 0;
    }
    switch (addr) {
    case IOPF_ID:
        return IOPF_ID_VALUE;
    case IOPF_VERSION:
        return IOPF_VERSION_VALUE;
    case IOPF_QUEUES:
        return IOPF_NR_QUEUES;
    case IOPF_CTRL:
        return s->ctrl;
    case IOPF_STATE:
        return iopf_enabled(s);
    case IOPF_PRI_IN_FLIGHT:
        return iopf_pri_in_flight(s);
    default:
        return 0;
    }
}

static uint64_t iopf_read(void *opaque, hwaddr addr, unsigned size)
{
    IopfState *s = opaque;
    hwaddr reg;

    if (addr >= IOPF_USER(0)) {
        reg = addr - IOPF_USER(0);
        return iopf_user_read(&s->q[reg / IOPF_USER_STRIDE],
                              reg % IOPF_USER_STRIDE);
    }
    if (addr >= IOPF_QCTL(0)) {
        reg = addr - IOPF_QCTL(0);
        return reg / 0x100 < IOPF_NR_QUEUES ?
               iopf_qctl_read(&s->q[reg / 0x100], reg % 0x100) : 0;
    }
    if (addr >= IOPF_INJECT) {
        reg = addr - IOPF_INJECT;
        return reg < sizeof(s->inj) ? s->inj[reg / 4] : 0;
    }
    return iopf_global_read(s, addr);
}

static void iopf_write(void *opaque, hwaddr addr, uint64_t val, unsigned size)
{
    IopfState *s = opaque;
    hwaddr reg;

    if (addr >= IOPF_USER(0)) {
        reg = addr - IOPF_USER(0);
        iopf_user_write(s, &s->q[reg / IOPF_USER_STRIDE],
                        reg % IOPF_USER_STRIDE, val);
    } else if (addr >= IOPF_QCTL(0)) {
        reg = addr - IOPF_QCTL(0);
        if (reg / 0x100 < IOPF_NR_QUEUES) {
            iopf_qctl_write(s, &s->q[reg / 0x100], reg % 0x100, val);
        }
    } else if (addr >= IOPF_INJECT) {
        if (addr - IOPF_INJECT < sizeof(s->inj)) {
            iopf_inject_write(s, addr, val);
        }
    } else if (addr == IOPF_CTRL) {
        if (val & IOPF_CTRL_RESET) {
            iopf_reset_state(s);
        }
        s->ctrl = val & IOPF_CTRL_INTERLEAVE;
    }
}

static const MemoryRegionOps iopf_ops = {
    .read = iopf_read,
    .write = iopf_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 4, .max_access_size = 8 },
    .impl = { .min_access_size = 4, .max_access_size = 4 },
};

/* Life and death */

/* What a write to configuration space may not change at such a time */
typedef struct IopfEnables {
    bool ats;
    bool pasid;
    bool pri;
    bool stopped;
    uint32_t granted;
} IopfEnables;

static IopfEnables iopf_get_enables(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);
    uint8_t *pri = iopf_pri_cap(s);

    return (IopfEnables) {
        .ats = pcie_ats_enabled(dev),
        .pasid = pcie_pasid_enabled(dev),
        .pri = pci_get_word(pri + PCI_PRI_CTRL) & PCI_PRI_CTRL_ENABLE,
        .stopped = pci_get_word(pri + PCI_PRI_STATUS) &
                   PCI_PRI_STATUS_STOPPED,
        .granted = pci_get_long(pri + PCI_PRI_ALLOC_REQ),
    };
}

/*
 * PCIe Base sections 7.8.9.3, 7.8.10.2 and 7.8.10.5 leave open what happens
 * then. Here it happens, and is counted.
 */
static void iopf_check_enables(IopfState *s, const IopfEnables *was,
                               const IopfEnables *now)
{
    const char *what = NULL;

    if (was->pasid != now->pasid && was->ats && now->ats) {
        what = "the PASID enable changes while ATS is on";
    } else if (now->pri && !was->pri && !was->stopped) {
        what = "PRI is turned on before it has stopped";
    } else if (now->granted != was->granted && was->pri && now->pri) {
        what = "the allocation of page requests changes while PRI is on";
    }
    if (what) {
        COUNT(s, MISCONFIG);
        qemu_log_mask(LOG_GUEST_ERROR, "iopf-testdev: %s\n", what);
    }
}

/* PRI goes off: what has begun is finished, what waits for credit fails. */
static void iopf_pri_off(IopfState *s)
{
    IopfState *f;
    int i, n;

    for (i = 0; (f = iopf_function(iopf_pf(s), i)); i++) {
        for (n = 0; n < IOPF_NR_QUEUES; n++) {
            iopf_pri_finish(f, &f->q[n]);
        }
    }
}

static void iopf_write_config(PCIDevice *dev, uint32_t addr, uint32_t val,
                              int len)
{
    IopfState *s = IOPF_TESTDEV(dev);
    IopfEnables now, was = iopf_get_enables(s);
    uint8_t *pri = iopf_pri_cap(s);
    bool reset;

    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);

    now = iopf_get_enables(s);
    iopf_check_enables(s, &was, &now);
    reset = pci_word_test_and_clear_mask(pri + PCI_PRI_CTRL,
                                         PCI_PRI_CTRL_RESET);
    if (was.pri && !now.pri) {
        iopf_pri_off(s);
    }
    /* with the interface on, a reset is no action: section 7.8.10.2 */
    if (reset && !now.pri) {
        iopf_pri_forget(s);
    }
    if (was.pri != now.pri) {
        iopf_pri_update_stopped(s);
    }
    iopf_kick_all(s);
    iopf_kick(s);
}

static void iopf_reset_caps(PCIDevice *dev)
{
    uint8_t *pri = dev->config + dev->exp.pri_cap;

    pci_set_word(dev->config + dev->exp.ats_cap + PCI_ATS_CTRL, 0);
    if (pci_is_vf(dev)) {
        return;
    }
    pci_set_word(dev->config + dev->exp.pasid_cap + PCI_PASID_CTRL, 0);
    pci_set_word(pri + PCI_PRI_CTRL, 0);
    pci_word_test_and_clear_mask(pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF |
                                 PCI_PRI_STATUS_UPRGI);
    pci_word_test_and_set_mask(pri + PCI_PRI_STATUS, PCI_PRI_STATUS_STOPPED);
    pci_set_long(pri + PCI_PRI_ALLOC_REQ, 0);
}

static void iopf_reset(DeviceState *dev)
{
    iopf_reset_caps(PCI_DEVICE(dev));
    iopf_reset_state(IOPF_TESTDEV(dev));
}

static bool iopf_init_msix(IopfState *s, Error **errp)
{
    PCIDevice *dev = PCI_DEVICE(s);
    int i;

    memory_region_init(&s->msix_bar, OBJECT(s), "iopf-testdev-msix",
                       IOPF_MSIX_BAR_SIZE);
    if (msix_init(dev, IOPF_NR_QUEUES, &s->msix_bar, 2, 0, &s->msix_bar, 2,
                  IOPF_MSIX_PBA, 0, errp)) {
        return false;
    }
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        msix_vector_use(dev, i);
    }
    return true;
}

static void iopf_init_bars(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    memory_region_init_io(&s->bar, OBJECT(s), &iopf_ops, s, TYPE_IOPF_TESTDEV,
                          IOPF_BAR_SIZE);
    if (pci_is_vf(dev)) {
        pcie_sriov_vf_register_bar(dev, 0, &s->bar);
        pcie_sriov_vf_register_bar(dev, 2, &s->msix_bar);
        return;
    }
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64, &s->bar);
    pci_register_bar(dev, 2, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->msix_bar);
}

/* What only a physical function has */
static bool iopf_init_pf(IopfState *s, Error **errp)
{
    PCIDevice *dev = PCI_DEVICE(s);

    pcie_pasid_init(dev, 0x110, s->pasid_bits, true, true);
    pcie_pri_init(dev, 0x120, s->pri_capacity, s->pri_resp_pasid);
    if (!s->vfs) {
        return true;
    }
    if (s->vfs > IOPF_VFS_MAX || PCI_FUNC(dev->devfn)) {
        error_setg(errp, "up to %d vfs, of function 0", IOPF_VFS_MAX);
        return false;
    }
    if (!pcie_sriov_pf_init(dev, 0x140, TYPE_IOPF_TESTDEV_VF, IOPF_DEVICE_ID,
                            s->vfs, s->vfs, 1, 1, errp)) {
        return false;
    }
    pcie_sriov_pf_init_vf_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY,
                              IOPF_BAR_SIZE);
    pcie_sriov_pf_init_vf_bar(dev, 2, PCI_BASE_ADDRESS_SPACE_MEMORY,
                              IOPF_MSIX_BAR_SIZE);
    return true;
}

static void iopf_free(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    qemu_bh_delete(s->bh);
    timer_free(s->timer);
    timer_free(s->hold_timer);
    qemu_del_vm_change_state_handler(s->vmstate);
    g_rand_free(s->rand);
    g_hash_table_destroy(s->atc);
    msix_uninit(dev, &s->msix_bar, &s->msix_bar);
    pcie_cap_exit(dev);
}

/* A machine that is stopped may be saved: nothing is in flight then. */
static void iopf_vm_state(void *opaque, bool running, RunState state)
{
    IopfState *s = opaque;
    int i;

    for (i = 0; i < IOPF_NR_QUEUES && !running; i++) {
        iopf_hold_drop(s, &s->q[i]);
        if (s->q[i].stopping) {
            iopf_queue_restart(s, &s->q[i]);
        }
    }
    iopf_kick(s);
}

/* The seed is what a run is repeated with; virtual functions differ in it. */
static void iopf_init_delay(IopfState *s)
{
    PCIDevice *dev = PCI_DEVICE(s);

    if (pci_is_vf(dev)) {
        s->dma_delay_us = iopf_pf(s)->dma_delay_us;
        s->delay_seed = iopf_pf(s)->delay_seed + dev->devfn;
    } else if (s->dma_delay_us) {
        if (!s->delay_seed) {
            s->delay_seed = g_random_int();
        }
        info_report("iopf-testdev: x-delay-seed=%u", s->delay_seed);
    }
    s->rand = g_rand_new_with_seed(s->delay_seed);
}

static void iopf_realize(PCIDevice *dev, Error **errp)
{
    IopfState *s = IOPF_TESTDEV(dev);

    if (!iopf_init_msix(s, errp)) {
        return;
    }
    if (pcie_endpoint_cap_init(dev, 0x80) < 0) {
        error_setg(errp, "iopf-testdev needs a PCIe bus");
        msix_uninit(dev, &s->msix_bar, &s->msix_bar);
        return;
    }
    pcie_cap_flr_init(dev);
    pcie_ats_init(dev, 0x100, true);

    s->bh = qemu_bh_new_guarded(iopf_bh, s,
                                &DEVICE(dev)->mem_reentrancy_guard);
    s->timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, iopf_timer, s);
    s->hold_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, iopf_hold_timer, s);
    s->vmstate = qemu_add_vm_change_state_handler(iopf_vm_state, s);
    s->atc = g_hash_table_new_full(iopf_atc_hash, iopf_atc_equal, NULL, g_free);
    iopf_init_bars(s);
    iopf_init_delay(s);
    if (pci_is_vf(dev)) {
        s->stall = iopf_pf(s)->stall;
    } else if (!iopf_init_pf(s, errp)) {
        iopf_free(s);
        return;
    }
    pci_iommu_set_client(dev, &iopf_client);
    s->pri_notifier.notify = iopf_pri_response;
    pci_pri_register_notifier(dev, PCI_NO_PASID, &s->pri_notifier);
}

static void iopf_exit(PCIDevice *dev)
{
    IopfState *s = IOPF_TESTDEV(dev);

    if (s->vfs) {
        pcie_sriov_pf_exit(dev);
    }
    pci_iommu_cancel(dev);
    pci_iommu_set_client(dev, NULL);
    pci_pri_unregister_notifier(dev, PCI_NO_PASID);
    iopf_free(s);
}

/* Migration. What waits is answered on the other side, by the tag it has. */

static bool iopf_check_batch(IopfQueue *q)
{
    uint32_t op = le32_to_cpu(q->desc.op), step = iopf_chunk_pages(op);
    uint64_t list = le64_to_cpu(q->desc.src) + 8 * q->done;

    if (q->n_acc == 0 || q->n_acc > IOPF_MAX_CONCURRENCY ||
        q->n_list > IOPF_MAX_CONCURRENCY) {
        return false;
    }
    switch (q->phase) {
    case PHASE_FETCH:
    case PHASE_WRITEBACK:
        return q->n_acc == 1 && q->acc[0].addr % 8 == 0 &&
               iopf_to_page_end(q->acc[0].addr) >= (q->phase == PHASE_FETCH ?
                                                    64 : 24);
    case PHASE_LIST:
        return q->n_acc == 1 && op == IOPF_OP_SCATTER &&
               q->n_list <= iopf_to_page_end(list) / 8;
    case PHASE_WORK:
        if (op == IOPF_OP_SCATTER) {
            return q->n_acc == q->n_list;
        }
        return step && q->n_acc % step == 0;
    default:
        return false;
    }
}

/* A stream may say anything. What is redundant in it is not taken from it. */
static bool iopf_check_queue(IopfQueue *q)
{
    uint32_t i;

    if (!iopf_check_batch(q) || q->prgi >= IOPF_NR_PRGI ||
        q->prg_next > q->n_acc || q->prg_left > q->n_acc - q->prg_next ||
        q->log2size > IOPF_RING_LOG2_MAX || q->ring % 64 ||
        q->mode > IOPF_MODE_PRI || q->concurrency < 1 ||
        q->concurrency > IOPF_MAX_CONCURRENCY || q->error > 0xff) {
        return false;
    }
    q->backoff = false;
    q->held = false;
    q->stopping = false;
    q->n_wait = 0;
    for (i = 0; i < q->n_acc; i++) {
        if (q->acc[i].state > ACC_FAILED ||
            q->acc[i].perm & ~(uint32_t)IOMMU_RW) {
            return false;
        }
        q->n_wait += q->acc[i].state == ACC_WAIT;
        q->acc[i].has_token = false;
    }
    return true;
}

static int iopf_post_load(void *opaque, int version_id)
{
    IopfState *s = opaque;
    int i;

    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        if (!iopf_check_queue(&s->q[i])) {
            error_report("iopf-testdev: queue %d cannot be as it was saved", i);
            return -EINVAL;
        }
    }
    for (i = 0; i < IOPF_NR_PRGI; i++) {
        if (s->prg[i].queue >= IOPF_NR_QUEUES ||
            s->prg[i].pages > IOPF_MAX_CONCURRENCY) {
            return -EINVAL;
        }
    }
    for (i = 0; i < PCI_ATS_ITAGS; i++) {
        if (s->inv[i].itag >= PCI_ATS_ITAGS) {
            return -EINVAL;
        }
        /* nothing is cached here */
        s->inv[i].due = 0;
        s->inv[i].purged = false;
    }
    s->next_prgi %= IOPF_NR_PRGI;
    g_hash_table_remove_all(s->atc);
    iopf_kick(s);
    return 0;
}

static const VMStateDescription vmstate_iopf_access = {
    .name = "iopf-testdev/access",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(addr, IopfAccess),
        VMSTATE_UINT64(pa, IopfAccess),
        VMSTATE_UINT32(perm, IopfAccess),
        VMSTATE_UINT8(state, IopfAccess),
        VMSTATE_BOOL(stalled, IopfAccess),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_iopf_queue = {
    .name = "iopf-testdev/queue",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(pasid, IopfQueue),
        VMSTATE_UINT32(mode, IopfQueue),
        VMSTATE_UINT32(concurrency, IopfQueue),
        VMSTATE_UINT64(ring, IopfQueue),
        VMSTATE_UINT32(log2size, IopfQueue),
        VMSTATE_UINT32(prod, IopfQueue),
        VMSTATE_UINT32(cons, IopfQueue),
        VMSTATE_UINT32(irq, IopfQueue),
        VMSTATE_UINT32(error, IopfQueue),
        VMSTATE_UINT8(phase, IopfQueue),
        VMSTATE_BUFFER_UNSAFE(desc, IopfQueue, 1, sizeof(struct iopf_desc)),
        VMSTATE_UINT64(done, IopfQueue),
        VMSTATE_UINT64(result, IopfQueue),
        VMSTATE_UINT32(status, IopfQueue),
        VMSTATE_UINT64(fault_addr, IopfQueue),
        VMSTATE_UINT32(n_list, IopfQueue),
        VMSTATE_UINT64_ARRAY(list, IopfQueue, IOPF_MAX_CONCURRENCY),
        VMSTATE_STRUCT_ARRAY(acc, IopfQueue, IOPF_MAX_CONCURRENCY, 1,
                             vmstate_iopf_access, IopfAccess),
        VMSTATE_UINT32(n_acc, IopfQueue),
        VMSTATE_UINT32(n_wait, IopfQueue),
        VMSTATE_UINT32(outstanding, IopfQueue),
        VMSTATE_UINT32(gen, IopfQueue),
        VMSTATE_UINT32(retries, IopfQueue),
        VMSTATE_UINT32(fault, IopfQueue),
        VMSTATE_UINT64(fault_at, IopfQueue),
        VMSTATE_UINT32(prgi, IopfQueue),
        VMSTATE_UINT32(prg_next, IopfQueue),
        VMSTATE_UINT32(prg_left, IopfQueue),
        VMSTATE_BOOL(want_credit, IopfQueue),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_iopf_group = {
    .name = "iopf-testdev/group",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(busy, IopfGroup),
        VMSTATE_BOOL(last, IopfGroup),
        VMSTATE_BOOL(forgotten, IopfGroup),
        VMSTATE_BOOL(injected, IopfGroup),
        VMSTATE_UINT8(queue, IopfGroup),
        VMSTATE_UINT32(gen, IopfGroup),
        VMSTATE_UINT32(pasid, IopfGroup),
        VMSTATE_UINT32(pages, IopfGroup),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_iopf_inv = {
    .name = "iopf-testdev/invalidation",
    .version_id = 1,
    .minimum_version_id = 1,
    .fields = (const VMStateField[]) {
        VMSTATE_BOOL(busy, IopfInv),
        VMSTATE_BOOL(global, IopfInv),
        VMSTATE_UINT32(itag, IopfInv),
        VMSTATE_UINT32(pasid, IopfInv),
        VMSTATE_UINT64(addr, IopfInv),
        VMSTATE_UINT64(mask, IopfInv),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_iopf = {
    .name = TYPE_IOPF_TESTDEV,
    .version_id = 2,
    .minimum_version_id = 2,
    .post_load = iopf_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, IopfState),
        VMSTATE_MSIX(parent_obj, IopfState),
        VMSTATE_UINT32(ctrl, IopfState),
        VMSTATE_UINT32(gen, IopfState),
        VMSTATE_UINT32(next_prgi, IopfState),
        VMSTATE_UINT32(triggered, IopfState),
        VMSTATE_UINT32(trigger_pasid, IopfState),
        VMSTATE_UINT32_ARRAY(inj, IopfState, 16),
        VMSTATE_UINT64_ARRAY(counters, IopfState, IOPF_NR_COUNTERS),
        VMSTATE_STRUCT_ARRAY(q, IopfState, IOPF_NR_QUEUES, 1,
                             vmstate_iopf_queue, IopfQueue),
        VMSTATE_STRUCT_ARRAY(prg, IopfState, IOPF_NR_PRGI, 1,
                             vmstate_iopf_group, IopfGroup),
        VMSTATE_STRUCT_ARRAY(inv, IopfState, PCI_ATS_ITAGS, 1,
                             vmstate_iopf_inv, IopfInv),
        VMSTATE_END_OF_LIST()
    }
};

static const Property iopf_properties[] = {
    /* Transactions may be stalled */
    DEFINE_PROP_BOOL("dma-can-stall", IopfState, stall, true),
    DEFINE_PROP_UINT8("pasid-bits", IopfState, pasid_bits, 16),
    /* Outstanding page requests that the function could have */
    DEFINE_PROP_UINT32("pri-capacity", IopfState, pri_capacity, 256),
    /* PRG Response PASID Required */
    DEFINE_PROP_BOOL("pri-resp-pasid", IopfState, pri_resp_pasid, true),
    /* Virtual functions that software may enable */
    DEFINE_PROP_UINT16("vfs", IopfState, vfs, 0),
    /* Data moves up to so much later than its translation was had */
    DEFINE_PROP_UINT32("x-dma-delay-us", IopfState, dma_delay_us, 0),
    DEFINE_PROP_UINT32("x-delay-seed", IopfState, delay_seed, 0),
};

static void iopf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *k = PCI_DEVICE_CLASS(klass);

    k->realize = iopf_realize;
    k->exit = iopf_exit;
    k->config_write = iopf_write_config;
    k->vendor_id = IOPF_VENDOR_ID;
    k->device_id = IOPF_DEVICE_ID;
    k->revision = 1;
    k->class_id = PCI_CLASS_OTHERS;
    dc->desc = "PCIe endpoint that takes I/O page faults";
    dc->vmsd = &vmstate_iopf;
    device_class_set_legacy_reset(dc, iopf_reset);
    device_class_set_props(dc, iopf_properties);
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
}

static const TypeInfo iopf_info = {
    .name = TYPE_IOPF_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(IopfState),
    .class_init = iopf_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { }
    },
};

/* Made by its physical function, never by the user */
static void iopf_vf_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    dc->desc = "Virtual function of iopf-testdev";
    dc->user_creatable = false;
}

static const TypeInfo iopf_vf_info = {
    .name = TYPE_IOPF_TESTDEV_VF,
    .parent = TYPE_IOPF_TESTDEV,
    .class_init = iopf_vf_class_init,
};

static void iopf_register_types(void)
{
    type_register_static(&iopf_info);
    type_register_static(&iopf_vf_info);
}

type_init(iopf_register_types)
