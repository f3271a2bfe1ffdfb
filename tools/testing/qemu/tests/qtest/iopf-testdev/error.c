/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The error page: what a driver must survive */

#include "qemu/osdep.h"
#include "lib.h"

/* The error page: section by section of what a driver must survive */

static void test_error_never_ends(void)
{
    start_pri(&with_ats);
    dev_write(IOPF_INJ_COUNT, 3);
    page_request(1, 4, IOPF_INJ_READ | IOPF_INJ_NEXT_PAGE);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 3);
    g_assert_cmphex(ppr_word(2, 2), ==, ((uint32_t)VA + 0x2000) | 4);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS), ==, 3);
    g_assert_cmpuint(counter(IOPF_CNT_GROUPS), ==, 0);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    stop();
}

static void test_error_ignores_responses(void)
{
    start_pri(&with_ats);
    page_request(1, 4, LAST_READ);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_IGNORE_RESP);
    cmd_pri_resp(1, 4, 2);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 0);
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    cmd_pri_resp(1, 4, 2);
    g_assert_cmphex(response(), ==, RESPONSE(4, 0));
    stop();
}

/* As many as there may be; the queue takes eight, the SMMU answers the rest. */
static void test_error_storm(void)
{
    start_pri(&with_ats);
    dev_write(IOPF_INJ_COUNT, 100000);
    page_request(1, 0, LAST_READ | IOPF_INJ_NEXT_PAGE | IOPF_INJ_NEXT_PRGI);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS), ==, 100000);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 100000 - 8);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, OVFLG | 8);
    stop();
}

#define TWO_ENDPOINTS   "-device iopf-testdev,addr=1 " \
                        "-device iopf-testdev,addr=2"

/* In another function's name: its stream, its answers */
static void test_error_wrong_function(void)
{
    start(ALL_FEATURES TWO_ENDPOINTS, &plain, CD_S);
    sid = 16;
    bar0 = OTHER_BAR0;
    enable_endpoint();
    write_ste(&with_ats);
    sid = DEVFN;
    bar0 = BAR0;

    dev_write(IOPF_INJ_FUNCTION, IOPF_INJ_FUNCTION_VALID | 16);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_ABORTED);
    sid = 16;
    expect_event(EVT_BAD_CD, 2);
    sid = DEVFN;
    page_request(1, 4, LAST_READ);
    g_assert_cmphex(ppr_word(0, 0), ==, 16);
    dev_write(IOPF_INJ_FUNCTION, IOPF_INJ_FUNCTION_VALID | 24);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_UNSUPPORTED);
    dev_write(IOPF_INJ_FUNCTION, 0);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_UNSUPPORTED);

    sid = 16;
    cmd_pri_resp(1, 4, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 0);
    bar0 = OTHER_BAR0;
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 1);
    stop();
}

/* The queue is off, and the device asks for pages in its name. */
static void test_error_after_stop(void)
{
    start_pri(&with_ats);
    dev_write(IOPF_INJ_ADDR_LO, (uint32_t)VA_MISSING);
    dev_write(IOPF_INJ_FLAGS, LAST_READ);
    dev_write(IOPF_INJ_PRGI, 77);
    dev_write(IOPF_INJ_TRIGGER,
              IOPF_TRIG_STOP | IOPF_TRIG_CMD(IOPF_INJ_PAGE_REQUEST));
    start_queue(IOPF_MODE_PRI);
    wait_priq(0);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_OFF);
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 0);
    wait_priq(1);
    g_assert_cmphex(ppr_word(0, 1), ==, 1u | 1u << 31 | 5u << 28);
    g_assert_cmphex(ppr_word(0, 2), ==, (uint32_t)VA_MISSING | 77);
    cmd_pri_resp(1, 77, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);

    dev_write(IOPF_INJ_FLAGS, IOPF_INJ_READ | IOPF_INJ_STALL);
    dev_write(IOPF_INJ_TRIGGER,
              IOPF_TRIG_STOP | IOPF_TRIG_CMD(IOPF_INJ_TRANSLATE));
    start_queue(IOPF_MODE_STALL);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_OFF);
    wait_event();
    expect_event(EVT_TRANSLATION, 1);
    cmd_resume(sid, 0, RESUME_ABORT);
    g_assert_cmpuint(stall_answer(), ==, 2);
    stop();
}

/* An invalidation, and a page request before or after it is confirmed */
static void check_around_invalidation(uint32_t trigger, bool before)
{
    start_pri(&with_ats);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    dev_write(IOPF_INJ_ADDR_LO, (uint32_t)VA_MISSING);
    dev_write(IOPF_INJ_FLAGS, LAST_READ);
    dev_write(IOPF_INJ_TRIGGER, trigger | IOPF_TRIG_CMD(IOPF_INJ_PAGE_REQUEST));
    command(0x40 | ATC_SSV | 1u << 12, sid, (uint32_t)VA, 0);
    sync_submit();
    wait_priq(before);
    g_assert_false(cmdq_idle());
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    wait_cmdq();
    wait_priq(1);
    g_assert_cmphex(ppr_word(0, 1) & 0xfffff, ==, 1);
    stop();
}

static void test_error_before_confirm(void)
{
    check_around_invalidation(IOPF_TRIG_INVALIDATE, true);
}

static void test_error_after_confirm(void)
{
    check_around_invalidation(IOPF_TRIG_CONFIRM, false);
}

/* A group from before the reset, and one with the same number after it */
static void test_error_lost_by_flr(void)
{
    start_pri(&with_ats);
    page_request(1, 6, LAST_READ);
    function_level_reset();
    enable_endpoint();
    g_assert_cmpuint(counter(IOPF_CNT_GROUPS), ==, 0);
    cmd_pri_resp(1, 6, 2);
    g_assert_cmpuint(counter(IOPF_CNT_LATE), ==, 1);
    page_request(1, 6, LAST_READ);
    cmd_pri_resp(1, 6, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    stop();
}

/* Section 3.9.1.4: the reset does not confirm what was outstanding. */
static void check_flr_with_invalidation(uint32_t misbehave, bool confirmed)
{
    start(ALL_FEATURES "-global arm-smmuv3." ATS_TIMEOUT "=20", &with_ats,
          CD_S);
    dev_write(IOPF_INJ_MISBEHAVE, misbehave);
    command(0x40, sid, 52, 0);
    sync_submit();
    g_assert_false(cmdq_idle());
    function_level_reset();
    enable_bars();
    qtest_clock_step(qts, 10 * 1000 * 1000);
    dev_read(IOPF_ID);
    g_assert_true(cmdq_idle() == confirmed);
    qtest_clock_step(qts, 30 * 1000 * 1000);
    g_assert_cmphex(smmu_read(GERROR), ==, !confirmed);
    g_assert_cmphex(smmu_read(CMDQ_CONS) >> 24, ==,
                    confirmed ? 0 : CERROR_ATC);
    stop();
}

static void test_error_never_confirmed(void)
{
    check_flr_with_invalidation(IOPF_MIS_HOLD_INV | IOPF_MIS_LOSE_INV, false);
    check_flr_with_invalidation(IOPF_MIS_HOLD_INV, true);
}

/* Confirmed, and used all the same: the device's own counter says so. */
static void test_error_keeps_atc(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    map(VA_MISSING, PAGE + 0x2000);
    start_queue(IOPF_MODE_ATS);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 1);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_KEEP_ATC);
    map(VA_MISSING, PAGE + 0x3000);
    cmd_atc_inv(ATC_SSV, 1, VA_MISSING, 0);
    put_desc(1, IOPF_OP_FILL, VA_MISSING, 8, 2);
    g_assert_cmpuint(desc_status(1), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 2);
    g_assert_cmpuint(counter(IOPF_CNT_STALE_DMA), ==, 1);
    stop();
}

const IopfTest iopf_tests_error[] = {
    { "error/never-ends", test_error_never_ends },
    { "error/ignores-responses", test_error_ignores_responses },
    { "error/storm", test_error_storm },
    { "error/wrong-function", test_error_wrong_function },
    { "error/after-stop", test_error_after_stop },
    { "error/before-confirm", test_error_before_confirm },
    { "error/after-confirm", test_error_after_confirm },
    { "error/lost-by-flr", test_error_lost_by_flr },
    { "error/never-confirmed", test_error_never_confirmed },
    { "error/keeps-atc", test_error_keeps_atc },
    { }
};
