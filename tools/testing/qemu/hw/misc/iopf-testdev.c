/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iopf-testdev: a PCIe endpoint whose DMA uses a process's virtual addresses
 *
 * What it looks like to software is in iopf_testdev.h.
 *
 * A queue is a state machine (IopfPhase). Each phase needs some pages, which
 * are its batch. iopf_resolve() asks for all pages of the batch; where answers
 * are outstanding the queue returns to the main loop, and starts over with the
 * batch when the last of them has come. Data moves only when one pass finds
 * every page there: under the BQL, nobody can take one away in between.
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
#define IOPF_RUN_BUDGET     256         /* batches a queue, a bottom half */
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
    uint32_t perm;          /* IOMMUAccessFlags */
    uint8_t state;
    bool stalled;           /* at least once */
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
    uint32_t fault;         /* IOPF_DESC_* of the first that failed */
    uint64_t fault_at;

    /* Its page request group, sent up to prg_next */
    uint32_t prgi;
    uint32_t prg_next;
    uint32_t prg_left;
    bool want_credit;
    bool backoff;
} IopfQueue;

typedef struct IopfGroup {
    bool busy;
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
    uint32_t turn;          /* whose turn it is, IOPF_CTRL_INTERLEAVE */

    uint32_t ctrl;
    uint32_t gen;
    uint32_t pri_in_flight; /* of all functions, in the physical one */
    uint32_t next_prgi;
    uint32_t inv_held;
    uint32_t inj[16];
    uint64_t counters[IOPF_NR_COUNTERS];
    IopfQueue q[IOPF_NR_QUEUES];
    IopfGroup prg[IOPF_NR_PRGI];

    /* Properties */
    bool stall;
    bool pri_resp_pasid;
    uint8_t pasid_bits;
    uint32_t pri_capacity;
    uint16_t vfs;
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

/* Page requests have been answered: another function may wait for the grant. */
static void iopf_kick_all(IopfState *s)
{
    PCIDevice *vf, *pf = PCI_DEVICE(iopf_pf(s));
    int i;

    iopf_kick(iopf_pf(s));
    for (i = 0; (vf = pcie_sriov_get_vf_at_index(pf, i)); i++) {
        iopf_kick(IOPF_TESTDEV(vf));
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
    PCIDevice *dev = PCI_DEVICE(s), *pf = PCI_DEVICE(iopf_pf(s));
    uint8_t *pri = iopf_pri_cap(s);
    uint32_t state = s->stall ? IOPF_STATE_STALL : 0;

    if (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER) {
        state |= IOPF_STATE_MASTER;
    }
    if (pci_get_word(pf->config + pf->exp.pasid_cap + PCI_PASID_CTRL) &
        PCI_PASID_CTRL_ENABLE) {
        state |= IOPF_STATE_PASID;
    }
    if (pci_get_word(dev->config + dev->exp.ats_cap + PCI_ATS_CTRL) &
        PCI_ATS_CTRL_ENABLE) {
        state |= IOPF_STATE_ATS;
    }
    if ((pci_get_word(pri + PCI_PRI_CTRL) & PCI_PRI_CTRL_ENABLE) &&
        !(pci_get_word(pri + PCI_PRI_STATUS) & PCI_PRI_STATUS_RF)) {
        state |= IOPF_STATE_PRI;
    }
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
    uint64_t pa;
    uint32_t perm;
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
    e->pa = entry->translated_addr & ~(uint64_t)(IOPF_PAGE - 1);
    e->perm = entry->perm;
    g_hash_table_replace(s->atc, &e->key, e);
}

typedef struct IopfInvalidation {
    uint32_t pasid;
    uint64_t addr;
    uint64_t mask;
    bool global;
} IopfInvalidation;

static gboolean iopf_atc_match(gpointer key, gpointer value, gpointer opaque)
{
    IopfInvalidation *inv = opaque;
    IopfAtcKey *k = key;

    /* without a PASID it is for all of them: PCIe Base section 10.3.1 */
    if (!inv->global && inv->pasid != PCI_NO_PASID &&
        k->pasid != inv->pasid) {
        return false;
    }
    return ((k->page * IOPF_PAGE) & ~inv->mask) == inv->addr;
}

static bool iopf_ats_invalidate(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                                hwaddr mask, bool global, uint32_t itag)
{
    IopfState *s = IOPF_TESTDEV(dev);
    IopfInvalidation inv = {
        .pasid = pasid, .addr = addr, .mask = mask, .global = global,
    };
    uint32_t misbehave = INJ(s, IOPF_INJ_MISBEHAVE);

    COUNT(s, INVALIDATIONS);
    g_hash_table_foreach_remove(s->atc, iopf_atc_match, &inv);
    if (misbehave & (IOPF_MIS_HOLD_INV | IOPF_MIS_DELAY_INV)) {
        s->inv_held++;
        iopf_kick(s);
        return false;
    }
    return true;
}

static void iopf_confirm_invalidations(IopfState *s)
{
    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_HOLD_INV) {
        return;
    }
    while (s->inv_held) {
        s->inv_held--;
        pci_iommu_ats_inv_done(PCI_DEVICE(s), 0);
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

/*
 * A Response Failure stops the interface, for all functions that share it:
 * PCIe Base section 10.4.2.2
 */
static void iopf_pri_stop(IopfState *s)
{
    pci_word_test_and_set_mask(iopf_pri_cap(s) + PCI_PRI_STATUS,
                               PCI_PRI_STATUS_RF | PCI_PRI_STATUS_STOPPED);
}

static void iopf_pri_count(IopfState *s, IOMMUPRIResponseCode code)
{
    switch (code) {
    case IOMMU_PRI_RESP_SUCCESS:
        COUNT(s, RESP_SUCCESS);
        break;
    case IOMMU_PRI_RESP_INVALID_REQUEST:
        COUNT(s, RESP_INVALID);
        break;
    default:
        COUNT(s, RESP_FAILURE);
        iopf_pri_stop(s);
        break;
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

/*
 * Does the response belong to a group? An automatic one for a failure never
 * has a PASID (IHI 0070 section 8.2).
 */
static bool iopf_pri_expected(IopfState *s, IopfGroup *group, uint32_t pasid,
                              IOMMUPRIResponseCode code)
{
    bool has_pasid = group->pasid != PCI_NO_PASID &&
                     iopf_pf(s)->pri_resp_pasid;

    if (!group->busy) {
        return false;
    }
    if (code == IOMMU_PRI_RESP_FAILURE && pasid == PCI_NO_PASID) {
        return true;
    }
    return pasid == (has_pasid ? group->pasid : PCI_NO_PASID);
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
    IOMMUPRIResponseCode code = response->response_code;
    uint32_t pasid = response->pasid, prgi = response->prgi;
    IopfGroup *group = &s->prg[prgi % IOPF_NR_PRGI];
    IopfQueue *q = &s->q[group->queue];

    if (INJ(s, IOPF_INJ_MISBEHAVE) & IOPF_MIS_IGNORE_RESP) {
        return;
    }
    INJ(s, IOPF_INJ_RESPONSE) = prgi | pcie_codes[code] << 16;
    INJ(s, IOPF_INJ_RESP_PASID) =
        pasid == PCI_NO_PASID ? 0 : pasid | IOPF_PASID_VALID;
    if (!iopf_pri_expected(s, group, pasid, code)) {
        COUNT(s, RESP_UNEXPECTED);
        pci_word_test_and_set_mask(iopf_pri_cap(s) + PCI_PRI_STATUS,
                                   PCI_PRI_STATUS_UPRGI);
        return;
    }
    group->busy = false;
    iopf_pri_count(s, code);
    if (group->injected) {
        return;
    }
    iopf_pf(s)->pri_in_flight -= group->pages;
    if (q->outstanding) {
        q->outstanding--;
    }
    if (group->gen == q->gen) {
        iopf_pri_answer(q, code);
    } else {
        COUNT(s, STALE);
    }
    iopf_kick_all(s);
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
        pci_iommu_translate_done(PCI_DEVICE(s), token);
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
                                      acc->addr & ~(IOPF_PAGE - 1ULL),
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

    for (i = 0; i < IOPF_NR_PRGI; i++) {
        prgi = (s->next_prgi + i) % IOPF_NR_PRGI;
        if (!s->prg[prgi].busy) {
            s->next_prgi = prgi + 1;
            return prgi;
        }
    }
    return -1;
}

/* Send the next request of the group of @q. */
static void iopf_pri_send(IopfState *s, IopfQueue *q)
{
    IopfAccess *acc;
    PCIXlateReq req;

    while (q->prg_next < q->n_acc && q->acc[q->prg_next].state != ACC_WAIT) {
        q->prg_next++;
    }
    if (q->prg_next == q->n_acc) {
        q->prg_left = 0;
        return;
    }
    acc = &q->acc[q->prg_next++];
    req = (PCIXlateReq) {
        .pasid = iopf_pasid(q->pasid),
        .addr = acc->addr,
        .perm = acc->perm,
    };
    q->prg_left--;
    COUNT(s, PAGE_REQUESTS);
    if (!q->prg_left) {
        COUNT(s, GROUPS);
    }
    trace_iopf_page_request(q - s->q, req.pasid, acc->addr, q->prgi,
                            !q->prg_left);
    pci_pri_force_page(PCI_DEVICE(s), req.pasid, false, false, req.addr,
                       !q->prg_left, q->prgi, req.perm & IOMMU_RO,
                       req.perm & IOMMU_WO);
}

/*
 * Request the pages of the batch that are missing, as one group, as far as
 * software has granted requests (PCIe Base section 10.5.2.4).
 */
static void iopf_pri_start(IopfState *s, IopfQueue *q)
{
    uint32_t granted = pci_get_long(iopf_pri_cap(s) + PCI_PRI_ALLOC_REQ);
    uint32_t *in_flight = &iopf_pf(s)->pri_in_flight;
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
    if (pages && (prgi < 0 || *in_flight + pages > granted)) {
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
    *in_flight += q->prg_left;
    q->outstanding++;
    if (s->ctrl & IOPF_CTRL_INTERLEAVE) {
        iopf_kick(s);
        return;
    }
    while (q->prg_left) {
        iopf_pri_send(s, q);
    }
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
    if (address_space_rw(&address_space_memory, acc->pa,
                         MEMTXATTRS_UNSPECIFIED, buf, len, write)) {
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
    if (q->mode == IOPF_MODE_OFF || q->error || q->n_wait || q->backoff) {
        return false;
    }
    return q->phase != PHASE_FETCH || q->prod != q->cons;
}

/* Return: whether the queue may have more to do. */
static bool iopf_run(IopfState *s, IopfQueue *q)
{
    int budget = s->ctrl & IOPF_CTRL_INTERLEAVE ? 1 : IOPF_RUN_BUDGET;

    while (budget-- && iopf_runnable(q)) {
        switch (iopf_resolve(s, q)) {
        case RESOLVED:
            iopf_advance(s, q);
            break;
        case RESOLVE_FAILED:
            iopf_batch_failed(s, q);
            break;
        case RESOLVE_WAIT:
            return false;
        }
    }
    return iopf_runnable(q);
}

static void iopf_bh(void *opaque)
{
    IopfState *s = opaque;
    bool more = false, backoff = false;
    int i;

    iopf_confirm_invalidations(s);
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        IopfQueue *q = &s->q[(s->turn + i) % IOPF_NR_QUEUES];

        if (q->prg_left && q->mode != IOPF_MODE_OFF) {
            iopf_pri_send(s, q);
            more |= q->prg_left;
        }
        more |= iopf_run(s, q);
        backoff |= q->backoff;
    }
    s->turn++;
    if (more) {
        iopf_kick(s);
    }
    if (backoff && !timer_pending(s->timer)) {
        timer_mod(s->timer, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + SCALE_MS);
    }
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
    }
    pci_pri_force_page(iopf_requester(s), req->pasid, req->priv, req->exec,
                       req->addr, last, prgi, req->perm & IOMMU_RO,
                       req->perm & IOMMU_WO);
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

static uint32_t iopf_inject_one(IopfState *s, PCIXlateReq *req, uint32_t flags)
{
    PCIDevice *dev = iopf_requester(s);
    IOMMUTLBEntry entry = {};
    PCIXlateResult result;
    uint32_t token;

    if (!dev) {
        return IOPF_INJ_UNSUPPORTED;
    }
    switch (INJ(s, IOPF_INJ_CMD)) {
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

static void iopf_inject(IopfState *s)
{
    uint32_t flags = INJ(s, IOPF_INJ_FLAGS);
    uint32_t i, count = MIN(MAX(1, INJ(s, IOPF_INJ_COUNT)), 1 * MiB);
    PCIXlateReq req = {
        .pasid = iopf_pasid(INJ(s, IOPF_INJ_PASID)),
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
        INJ(s, IOPF_INJ_RESULT) = iopf_inject_one(s, &req, flags);
        if (flags & IOPF_INJ_NEXT_PAGE) {
            req.addr += IOPF_PAGE;
        }
        if (flags & IOPF_INJ_NEXT_PRGI) {
            INJ(s, IOPF_INJ_PRGI)++;
        }
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
        iopf_inject(s);
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
    status |= q->error ? IOPF_STATUS_ERROR | q->error << 8 : 0;
    return status;
}

static void iopf_queue_restart(IopfState *s, IopfQueue *q)
{
    q->gen = ++s->gen & IOPF_GEN_MASK;
    q->prg_left = 0;
    q->prod = 0;
    q->cons = 0;
    q->error = 0;
    iopf_begin_fetch(q);
}

/*
 * A group that is not complete is completed, for the sake of its answer: it
 * is a well-behaved device that is turned off.
 */
static void iopf_queue_set_mode(IopfState *s, IopfQueue *q, uint32_t mode)
{
    while (q->prg_left) {
        iopf_pri_send(s, q);
    }
    q->mode = mode & 3;
    iopf_queue_restart(s, q);
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
        if (q->mode == IOPF_MODE_OFF) {
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
        if (q->phase == PHASE_FETCH && !q->n_wait && !q->want_credit) {
            iopf_begin_fetch(q);
        }
        q->prod = val;
        iopf_kick(s);
        break;
    case IOPF_U_RESTART:
        while (q->prg_left) {
            iopf_pri_send(s, q);
        }
        iopf_queue_restart(s, q);
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

/* Page requests of @s that count against what software has granted */
static uint32_t iopf_pri_own(IopfState *s)
{
    uint32_t i, pages = 0;

    for (i = 0; i < IOPF_NR_PRGI; i++) {
        if (s->prg[i].busy && !s->prg[i].injected) {
            pages += s->prg[i].pages;
        }
    }
    return pages;
}

static void iopf_reset_state(IopfState *s)
{
    int i;

    pci_iommu_cancel(PCI_DEVICE(s));
    iopf_pf(s)->pri_in_flight -= iopf_pri_own(s);
    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        memset(&s->q[i], 0, sizeof(s->q[i]));
        s->q[i].concurrency = 1;
        iopf_queue_restart(s, &s->q[i]);
    }
    memset(s->prg, 0, sizeof(s->prg));
    memset(s->inj, 0, sizeof(s->inj));
    memset(s->counters, 0, sizeof(s->counters));
    s->ctrl = 0;
    g_hash_table_remove_all(s->atc);
    timer_del(s->timer);
    /* what is held is confirmed: the function has forgotten everything */
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
        return iopf_pf(s)->pri_in_flight;
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

static void iopf_write_config(PCIDevice *dev, uint32_t addr, uint32_t val,
                              int len)
{
    IopfState *s = IOPF_TESTDEV(dev);
    uint8_t *pri = iopf_pri_cap(s);
    bool was_on = pci_get_word(pri + PCI_PRI_CTRL) & PCI_PRI_CTRL_ENABLE;
    bool on;

    pci_default_write_config(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);

    on = pci_get_word(pri + PCI_PRI_CTRL) & PCI_PRI_CTRL_ENABLE;
    if (pci_word_test_and_clear_mask(pri + PCI_PRI_CTRL, PCI_PRI_CTRL_RESET) &&
        !on) {
        pci_word_test_and_clear_mask(pri + PCI_PRI_STATUS, PCI_PRI_STATUS_RF |
                                     PCI_PRI_STATUS_UPRGI);
        pci_word_test_and_set_mask(pri + PCI_PRI_STATUS,
                                   PCI_PRI_STATUS_STOPPED);
    }
    if (on && !was_on) {
        pci_word_test_and_clear_mask(pri + PCI_PRI_STATUS,
                                     PCI_PRI_STATUS_STOPPED);
    } else if (!on && was_on && !s->pri_in_flight) {
        pci_word_test_and_set_mask(pri + PCI_PRI_STATUS,
                                   PCI_PRI_STATUS_STOPPED);
    }
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
    g_hash_table_destroy(s->atc);
    msix_uninit(dev, &s->msix_bar, &s->msix_bar);
    pcie_cap_exit(dev);
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
    s->atc = g_hash_table_new_full(iopf_atc_hash, iopf_atc_equal, NULL, g_free);
    iopf_init_bars(s);
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

static int iopf_post_load(void *opaque, int version_id)
{
    IopfState *s = opaque;
    int i;

    for (i = 0; i < IOPF_NR_QUEUES; i++) {
        IopfQueue *q = &s->q[i];

        if (q->n_acc > IOPF_MAX_CONCURRENCY ||
            q->n_list > IOPF_MAX_CONCURRENCY ||
            q->prg_next > q->n_acc || q->prg_left > q->n_acc ||
            q->prgi >= IOPF_NR_PRGI || q->phase > PHASE_WRITEBACK ||
            q->log2size > IOPF_RING_LOG2_MAX) {
            return -EINVAL;
        }
        q->backoff = false;
    }
    for (i = 0; i < IOPF_NR_PRGI; i++) {
        if (s->prg[i].queue >= IOPF_NR_QUEUES) {
            return -EINVAL;
        }
    }
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
        VMSTATE_BOOL(injected, IopfGroup),
        VMSTATE_UINT8(queue, IopfGroup),
        VMSTATE_UINT32(gen, IopfGroup),
        VMSTATE_UINT32(pasid, IopfGroup),
        VMSTATE_UINT32(pages, IopfGroup),
        VMSTATE_END_OF_LIST()
    }
};

static const VMStateDescription vmstate_iopf = {
    .name = TYPE_IOPF_TESTDEV,
    .version_id = 1,
    .minimum_version_id = 1,
    .post_load = iopf_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, IopfState),
        VMSTATE_MSIX(parent_obj, IopfState),
        VMSTATE_UINT32(ctrl, IopfState),
        VMSTATE_UINT32(gen, IopfState),
        VMSTATE_UINT32(pri_in_flight, IopfState),
        VMSTATE_UINT32(next_prgi, IopfState),
        VMSTATE_UINT32(inv_held, IopfState),
        VMSTATE_UINT32_ARRAY(inj, IopfState, 16),
        VMSTATE_UINT64_ARRAY(counters, IopfState, IOPF_NR_COUNTERS),
        VMSTATE_STRUCT_ARRAY(q, IopfState, IOPF_NR_QUEUES, 1,
                             vmstate_iopf_queue, IopfQueue),
        VMSTATE_STRUCT_ARRAY(prg, IopfState, IOPF_NR_PRGI, 1,
                             vmstate_iopf_group, IopfGroup),
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
