/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stalls: sections 3.12.2 and 4.7 */

#include "qemu/osdep.h"
#include "lib.h"

/* Stalls: sections 3.12.2 and 4.7 */

static void test_stall_record(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    watch_irq(INTID_EVTQ);
    g_assert_cmpuint(inject(IOPF_INJ_TRANSLATE, 1, VA_MISSING + 0x18,
                            IOPF_INJ_WRITE | IOPF_INJ_STALL | IOPF_INJ_PRIV |
                            IOPF_INJ_EXEC), ==, IOPF_INJ_STALLED);
    g_assert_true(irq_pending(INTID_EVTQ));
    g_assert_cmphex(event_word(0), ==, EVT_TRANSLATION | 1u << 11 | 1u << 12);
    g_assert_cmphex(event_word(1), ==, sid);
    g_assert_cmphex(event_word(2), ==, 1u << 31 | 0);
    /* PnU, no InD as it is a write, class IN, stage 1 */
    g_assert_cmphex(event_word(3), ==, 1u << 1 | 2u << 8);
    g_assert_cmphex(event_word(4), ==, (uint32_t)VA_MISSING + 0x18);
    g_assert_cmphex(event_word(5), ==, 0);
    eat_event();

    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(2), ==, 1u << 31 | 1);
    g_assert_cmphex(event_word(3), ==, 1u << 3 | 2u << 8);
    stop();
}

static void test_stall_permission(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(inject(IOPF_INJ_TRANSLATE, 1, VA_RO,
                            IOPF_INJ_WRITE | IOPF_INJ_STALL), ==,
                     IOPF_INJ_STALLED);
    expect_event(EVT_PERMISSION, 1);
    stop();
}

static void test_stall_access(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    write_pte(VA, PAGE | 0x043);                        /* no access flag */
    g_assert_cmpuint(translate_stall(VA), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(2) >> 31, ==, 1);
    expect_event(EVT_ACCESS, 1);
    stop();
}

static void test_stall_address_size(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    map(VA, 1ULL << 46);
    g_assert_cmpuint(translate_stall(VA), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(2) >> 31, ==, 1);
    expect_event(EVT_ADDR_SIZE, 1);
    stop();
}

/* An external abort of the walk is none of the faults that stall. */
static void test_no_stall_on_abort(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    qtest_writeq(qts, TTB + (VA >> 30) * 8, 0xff000000000ULL | 3);
    g_assert_cmpuint(translate_stall(VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(2) >> 31, ==, 0);
    expect_event(EVT_WALK_EABT, 1);
    stop();
}

/* There are no Secure streams: section 4.7. */
static void test_resume_secure(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    command_fails(CERROR_ILL, 0x44 | 1 << 10 | 1 << 12, sid, 0, 0);
    command_fails(CERROR_ILL, 0x45 | 1 << 10, sid, 0, 0);
    g_assert_cmpuint(stall_answer(), ==, 0);
    stop();
}

static void test_resume(void)
{
    static const uint32_t actions[] = {
        RESUME_TERMINATE, RESUME_RETRY, RESUME_ABORT,
        RESUME_RETRY | RESUME_ABORT,
    };
    /* IDR0.TERM_MODEL is 1; Abort does not matter to a retry */
    static const uint32_t answers[] = { 2, 1, 2, 1 };
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    for (i = 0; i < 4; i++) {
        g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
        g_assert_cmphex(event_word(2), ==, 1u << 31);
        eat_event();
        g_assert_cmpuint(stall_answer(), ==, 0);
        cmd_resume(sid, 0, actions[i]);
        g_assert_cmpuint(stall_answer(), ==, answers[i]);
    }
    stop();
}

static void test_resume_wrong_stag(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    cmd_resume(sid, 1, RESUME_RETRY);
    cmd_resume(sid, 0xffff, RESUME_RETRY);
    cmd_resume(sid + 1, 0, RESUME_RETRY);
    cmd_resume(0xffffffff, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 0);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 1);
    /* once is enough */
    dev_write(IOPF_INJ_STALL_ANSWER, 0);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 0);
    stop();
}

static void test_stall_term(void)
{
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    /* four with a STAG, one without */
    for (i = 0; i < 5; i++) {
        g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    }
    command(0x45, sid + 1, 0, 0);
    g_assert_cmpuint(counter(IOPF_CNT_STALL_ABORTS), ==, 0);
    command(0x45, sid, 0, 0);
    g_assert_cmpuint(counter(IOPF_CNT_STALL_ABORTS), ==, 5);
    g_assert_cmpuint(counter(IOPF_CNT_RETRIES), ==, 0);
    stop();
}

static void test_stall_no_slot(void)
{
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    for (i = 0; i < 6; i++) {
        g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    }
    g_assert_cmpuint(smmu_read(EVENTQ_PROD), ==, 4);
    /* the answer makes room: both that waited are to try again */
    cmd_resume(sid, 2, RESUME_ABORT);
    g_assert_cmpuint(counter(IOPF_CNT_STALL_ABORTS), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RETRIES), ==, 2);
    /* the tag that was given back is given out again */
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    smmu_write(EVENTQ_CONS, 4);
    g_assert_cmphex(event_word(2), ==, 1u << 31 | 2);
    stop();
}

/* Section 3.12.2: a stall waits for the event queue; 7.4: others are lost */
static void test_eventq_full(void)
{
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    for (i = 0; i < 16; i++) {
        translate(2, VA);
    }
    g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, 16);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, 16);
    g_assert_cmpuint(stall_answer(), ==, 0);

    translate(2, VA);
    g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, OVFLG | 16);
    translate(2, VA);
    g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, OVFLG | 16);
    g_assert_cmphex(smmu_read(GERROR), ==, 0);

    /* one record is consumed: there is room, and the stall tries again */
    dev_write(IOPF_INJ_STALL_ANSWER, 0);
    smmu_write(EVENTQ_CONS, 1);
    g_assert_cmpuint(stall_answer(), ==, 1);
    /* PROD moves on without losing the flag */
    translate(2, VA);
    g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, OVFLG | 17);
    smmu_write(EVENTQ_CONS, OVFLG | 17);
    for (i = 0; i < 17; i++) {
        translate(2, VA);
    }
    /* acknowledged, so the next overflow toggles it back */
    g_assert_cmphex(smmu_read(EVENTQ_PROD) & OVFLG, ==, 0);
    stop();
}

static void test_eventq_off(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_false(have_event());
    smmu_write(CR0, CR0_ALL);
    g_assert_cmpuint(stall_answer(), ==, 1);
    stop();
}

static void test_smmu_off_terminates(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    smmu_write(CR0, CR0_ALL & ~CR0_SMMUEN);
    g_assert_cmpuint(stall_answer(), ==, 2);
    stop();
}

static void test_no_stall_without_cd_s(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(2), ==, 0);
    expect_event(EVT_TRANSLATION, 1);
    stop();
}

static void test_no_record_without_cd_r(void)
{
    start(ALL_FEATURES, &plain, 0);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_ABORTED);
    g_assert_false(have_event());
    stop();
}

/* A device that cannot wait is aborted, with a record. */
static void test_device_cannot_stall(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(translate(1, VA_MISSING), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(2), ==, 0);
    expect_event(EVT_TRANSLATION, 1);
    stop();
}

static void test_s1stalld(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 1u << 27 };

    start(ALL_FEATURES, &stream, CD_S);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_CD, 1);
    stop();
}

static void test_stall_forced(void)
{
    start("-global arm-smmuv3.ssidsize=16 -global arm-smmuv3.stall-model=2",
          &plain, CD_R);
    g_assert_cmphex(smmu_read(IDR0) >> 24 & 3, ==, 2);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_CD, 1);
    write_cd(CDTAB + 64, CD_A | CD_S, 1);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    stop();
}

static void test_no_stall_model(void)
{
    start("-global arm-smmuv3.ssidsize=16", &plain, CD_S);
    g_assert_cmpuint(translate_stall(VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_CD, 1);
    command_fails(CERROR_ILL, 0x44, sid, 0, 0);
    command_fails(CERROR_ILL, 0x45, sid, 0, 0);
    /* and it has neither ATS nor PRI */
    command_fails(CERROR_ILL, 0x40, sid, 52, 0);
    command_fails(CERROR_ILL, 0x41, sid, 2u << 12, 0);
    stop();
}

const IopfTest iopf_tests_stall[] = {
    { "stall/record", test_stall_record },
    { "stall/permission", test_stall_permission },
    { "stall/access", test_stall_access },
    { "stall/address-size", test_stall_address_size },
    { "stall/walk-abort", test_no_stall_on_abort },
    { "stall/resume", test_resume },
    { "stall/resume-wrong", test_resume_wrong_stag },
    { "stall/secure", test_resume_secure },
    { "stall/term", test_stall_term },
    { "stall/no-slot", test_stall_no_slot },
    { "stall/eventq-full", test_eventq_full },
    { "stall/eventq-off", test_eventq_off },
    { "stall/smmu-off", test_smmu_off_terminates },
    { "stall/cd-s", test_no_stall_without_cd_s },
    { "stall/cd-r", test_no_record_without_cd_r },
    { "stall/device", test_device_cannot_stall },
    { "stall/s1stalld", test_s1stalld },
    { "stall/forced", test_stall_forced },
    { "stall/none", test_no_stall_model },
    { }
};
