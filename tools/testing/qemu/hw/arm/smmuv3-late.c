/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ARM SMMUv3: as late and as unordered as the architecture lets it be
 *
 * A model that does everything within the register write that asks for it is
 * kind to drivers that do not wait. With x-delay-max-us, what is asked for goes
 * on a list instead, to be done after a time of its own, which is random:
 *
 * - commands that invalidate, and CMD_PRI_RESP: they are consumed at once, and
 *   take effect in any order. Those that invalidate have done so when the
 *   CMD_SYNC behind them is consumed; of a response nothing is known ever
 *   (section 4.7.3 of Arm IHI 0070 H.a, as all that follow)
 * - the answer to a stalled transaction, "at a future time" (4.7.1, 4.7.2)
 * - records: they are committed to their queue, whose PROD does not yet show
 *   them (3.5.2). CMD_SYNC and clearing EVENTQEN or PRIQEN make them visible
 *   (4.7.3, 6.3.9.4)
 * - the interrupt of a queue that is no longer empty (3.18)
 * - CR0ACK and IRQ_CTRLACK (6.3.9, 6.3.14)
 * - a stalled transaction may be tried again before software has answered
 *   (3.12.2.2)
 *
 * Records stay in order among themselves, and so do acknowledgements.
 *
 * To do what is on the list early is lawful at any time. When the machine is
 * stopped all of it is done, so that there is nothing to migrate.
 *
 * Context: the BQL is held throughout.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "hw/irq.h"
#include "system/runstate.h"
#include "trace.h"

#include "hw/arm/smmuv3.h"
#include "smmuv3-internal.h"

#define SMMU_DELAY_MAX_US 1000000

/**
 * SMMULate - something that has been asked for
 * @next: in the order in which it was asked for
 * @kind: SMMU_LATE_*
 * @due: when it is done, in ns of the virtual clock
 */
typedef struct SMMULate {
    QTAILQ_ENTRY(SMMULate) next;
    unsigned int kind;
    int64_t due;
    union {
        Cmd cmd;
        Evt evt;
        Ppr ppr;
        SMMUIrq irq;
        uint32_t value;
        struct {
            uint32_t sid;
            uint32_t tag;
            bool retry;
        } answer;
        struct {
            uint16_t stag;
            uint32_t serial;
        } early;
    } u;
} SMMULate;

/* True once in @n times; never on a machine without delays */
bool smmuv3_late_coin(SMMUv3State *s, int n)
{
    return smmuv3_is_late(s) && !g_rand_int_range(s->late_rand, 0, n);
}

static int64_t smmuv3_late_due(SMMUv3State *s)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) +
           g_rand_int_range(s->late_rand, 0, s->delay_max_us + 1) *
           (int64_t)SCALE_US;
}

static SMMULate *smmuv3_late_add(SMMUv3State *s, unsigned int kind)
{
    SMMULate *late = g_new0(SMMULate, 1);

    late->kind = kind;
    late->due = smmuv3_late_due(s);
    QTAILQ_INSERT_TAIL(&s->late, late, next);
    timer_mod_anticipate(s->late_timer, late->due);
    return late;
}

/* The same of a kind that stays in order */
static SMMULate *smmuv3_late_add_behind(SMMUv3State *s, unsigned int kind)
{
    int64_t due = 0;
    SMMULate *late;

    QTAILQ_FOREACH(late, &s->late, next) {
        if (late->kind == kind) {
            due = MAX(due, late->due);
        }
    }
    late = smmuv3_late_add(s, kind);
    late->due = MAX(due, late->due);
    return late;
}

/* Of several that are due at the same time, the one that was asked for first */
static SMMULate *smmuv3_late_first(SMMUv3State *s, unsigned int kinds)
{
    SMMULate *late, *first = NULL;

    QTAILQ_FOREACH(late, &s->late, next) {
        if ((late->kind & kinds) && (!first || late->due < first->due)) {
            first = late;
        }
    }
    return first;
}

/* The queues that @value turns off have shown all that they were given. */
static void smmuv3_late_do_cr0ack(SMMUv3State *s, uint32_t value)
{
    if (!FIELD_EX32(value, CR0, EVENTQEN)) {
        smmuv3_late_flush(s, SMMU_LATE_EVENT);
    }
    if (!FIELD_EX32(value, CR0, PRIQEN) ||
        !FIELD_EX32(value, CR0, SMMU_ENABLE)) {
        smmuv3_late_flush(s, SMMU_LATE_PPR);
    }
    if (!FIELD_EX32(value, CR0, CMDQEN)) {
        smmuv3_late_flush(s, SMMU_LATE_CMD);
    }
    s->cr0ack = value;
}

/* Take @late off the list, and do it. It may add others. */
static void smmuv3_late_do(SMMUv3State *s, SMMULate *late)
{
    QTAILQ_REMOVE(&s->late, late, next);
    trace_smmuv3_late_do(late->kind);
    switch (late->kind) {
    case SMMU_LATE_CMD:
        smmuv3_run_cmd(s, &late->u.cmd);
        break;
    case SMMU_LATE_EVENT:
        s->late_events--;
        smmuv3_put_event(s, &late->u.evt);
        break;
    case SMMU_LATE_PPR:
        s->late_pprs--;
        smmuv3_put_ppr(s, &late->u.ppr);
        break;
    case SMMU_LATE_IRQ:
        smmuv3_trigger_irq(s, late->u.irq, 0);
        break;
    case SMMU_LATE_ANSWER:
        smmuv3_stall_answer(s, late->u.answer.sid, late->u.answer.tag,
                            late->u.answer.retry);
        break;
    case SMMU_LATE_RETRY:
        smmuv3_stall_retry_early(s, late->u.early.stag, late->u.early.serial);
        break;
    case SMMU_LATE_CR0ACK:
        smmuv3_late_do_cr0ack(s, late->u.value);
        break;
    case SMMU_LATE_IRQ_CTRLACK:
        smmuv3_late_flush(s, SMMU_LATE_IRQ);
        s->irq_ctrl_ack = late->u.value;
        break;
    }
    g_free(late);
}

/**
 * smmuv3_late_flush - do at once what has been put off
 * @s: the SMMU
 * @kinds: a mask of SMMU_LATE_*
 */
void smmuv3_late_flush(SMMUv3State *s, unsigned int kinds)
{
    SMMULate *late;

    while ((late = smmuv3_late_first(s, kinds))) {
        smmuv3_late_do(s, late);
    }
}

static void smmuv3_late_timer(void *opaque)
{
    SMMUv3State *s = opaque;
    SMMULate *late;

    while ((late = smmuv3_late_first(s, SMMU_LATE_ALL)) &&
           late->due <= qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL)) {
        smmuv3_late_do(s, late);
    }
    if (late) {
        timer_mod(s->late_timer, late->due);
    }
    smmuv3_sync_progress(s);
}

/* The checks that CERROR_ILL comes from are made when it is consumed. */
static bool smmuv3_late_cmd_is_legal(SMMUv3State *s, Cmd *cmd)
{
    switch (CMD_TYPE(cmd)) {
    case SMMU_CMD_CFGI_STE:
    case SMMU_CMD_CFGI_STE_RANGE:
    case SMMU_CMD_CFGI_CD:
    case SMMU_CMD_CFGI_CD_ALL:
        return !CMD_SSEC(cmd);
    case SMMU_CMD_TLBI_NH_ALL:
    case SMMU_CMD_TLBI_NH_ASID:
    case SMMU_CMD_TLBI_NH_VA:
    case SMMU_CMD_TLBI_NH_VAA:
        return STAGE1_SUPPORTED(s);
    case SMMU_CMD_TLBI_S12_VMALL:
    case SMMU_CMD_TLBI_S2_IPA:
        return STAGE2_SUPPORTED(s);
    case SMMU_CMD_TLBI_NSNH_ALL:
        return true;
    case SMMU_CMD_ATC_INV:
        return s->ats && CMD_ATC_SIZE(cmd) <= 52;
    case SMMU_CMD_PRI_RESP:
        return s->pri && CMD_PRI_RESP(cmd) < 3;
    default:
        return false;
    }
}

/**
 * smmuv3_late_cmd - put a command off
 * @s: the SMMU
 * @cmd: what has been read from the queue
 *
 * Return: whether it was; otherwise it is executed now, as all are that are
 * illegal.
 */
bool smmuv3_late_cmd(SMMUv3State *s, Cmd *cmd)
{
    if (!smmuv3_is_late(s) || !smmuv3_late_cmd_is_legal(s, cmd)) {
        return false;
    }
    smmuv3_late_add(s, SMMU_LATE_CMD)->u.cmd = *cmd;
    return true;
}

/* Is there one that a CMD_SYNC waits for? */
bool smmuv3_late_cmds_pending(SMMUv3State *s)
{
    SMMULate *late;

    QTAILQ_FOREACH(late, &s->late, next) {
        if (late->kind == SMMU_LATE_CMD &&
            CMD_TYPE(&late->u.cmd) != SMMU_CMD_PRI_RESP) {
            return true;
        }
    }
    return false;
}

/* There is room for it: see smmuv3_q_has_room(). */
void smmuv3_late_event(SMMUv3State *s, Evt *evt)
{
    smmuv3_late_add_behind(s, SMMU_LATE_EVENT)->u.evt = *evt;
    s->late_events++;
}

void smmuv3_late_ppr(SMMUv3State *s, Ppr *ppr)
{
    smmuv3_late_add_behind(s, SMMU_LATE_PPR)->u.ppr = *ppr;
    s->late_pprs++;
}

/* One that is pending is for all that happens before it. */
void smmuv3_late_irq(SMMUv3State *s, SMMUIrq irq)
{
    SMMULate *late;

    QTAILQ_FOREACH(late, &s->late, next) {
        if (late->kind == SMMU_LATE_IRQ && late->u.irq == irq) {
            return;
        }
    }
    smmuv3_late_add(s, SMMU_LATE_IRQ)->u.irq = irq;
}

void smmuv3_late_answer(SMMUv3State *s, uint32_t sid, uint32_t tag, bool retry)
{
    SMMULate *late = smmuv3_late_add(s, SMMU_LATE_ANSWER);

    late->u.answer.sid = sid;
    late->u.answer.tag = tag;
    late->u.answer.retry = retry;
}

/* The endpoint behind @sid was reset, and waits for no answer. */
void smmuv3_late_forget_answers(SMMUv3State *s, uint32_t sid)
{
    SMMULate *late, *next;

    QTAILQ_FOREACH_SAFE(late, &s->late, next, next) {
        if (late->kind == SMMU_LATE_ANSWER && late->u.answer.sid == sid) {
            QTAILQ_REMOVE(&s->late, late, next);
            g_free(late);
        }
    }
}

void smmuv3_late_retry(SMMUv3State *s, uint16_t stag, uint32_t serial)
{
    SMMULate *late = smmuv3_late_add(s, SMMU_LATE_RETRY);

    late->u.early.stag = stag;
    late->u.early.serial = serial;
}

void smmuv3_late_cr0ack(SMMUv3State *s, uint32_t value)
{
    if (smmuv3_is_late(s)) {
        smmuv3_late_add_behind(s, SMMU_LATE_CR0ACK)->u.value = value;
    } else {
        s->cr0ack = value;
    }
}

void smmuv3_late_irq_ctrlack(SMMUv3State *s, uint32_t value)
{
    if (smmuv3_is_late(s)) {
        smmuv3_late_add_behind(s, SMMU_LATE_IRQ_CTRLACK)->u.value = value;
    } else {
        s->irq_ctrl_ack = value;
    }
}

/* Before memory is saved, as records go there */
static void smmuv3_late_vm_state(void *opaque, bool running, RunState state)
{
    if (!running) {
        smmuv3_late_flush(opaque, SMMU_LATE_ALL);
        smmuv3_sync_progress(opaque);
    }
}

void smmuv3_late_reset(SMMUv3State *s)
{
    SMMULate *late;

    while ((late = QTAILQ_FIRST(&s->late))) {
        QTAILQ_REMOVE(&s->late, late, next);
        g_free(late);
    }
    s->late_events = 0;
    s->late_pprs = 0;
    s->irq_ctrl_ack = 0;
    if (s->late_timer) {
        timer_del(s->late_timer);
    }
}

bool smmuv3_late_realize(SMMUv3State *s, Error **errp)
{
    QTAILQ_INIT(&s->late);
    if (s->delay_max_us > SMMU_DELAY_MAX_US) {
        error_setg(errp, "x-delay-max-us must be from 0 to %u, not %u",
                   SMMU_DELAY_MAX_US, s->delay_max_us);
        return false;
    }
    if (!smmuv3_is_late(s)) {
        return true;
    }
    while (!s->delay_seed) {
        s->delay_seed = g_random_int();
    }
    trace_smmuv3_late_seed(s->delay_seed, s->delay_max_us);
    s->late_rand = g_rand_new_with_seed(s->delay_seed);
    s->late_timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, smmuv3_late_timer, s);
    s->late_vmstate = qemu_add_vm_change_state_handler(smmuv3_late_vm_state,
                                                       s);
    return true;
}
