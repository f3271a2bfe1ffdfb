/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ATS, CMD_ATC_INV and CMD_SYNC: sections 3.9.1, 4.5.1, 4.7.3 */

#include "qemu/osdep.h"
#include "lib.h"

/* ATS: section 3.9.1 */

static void test_ats(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ | IOPF_INJ_WRITE), ==,
                     IOPF_INJ_OK);
    g_assert_cmpuint(IOPF_INJ_GRANTED(dev_read(IOPF_INJ_RESULT)), ==, 3);
    g_assert_cmphex(result_pa(), ==, PAGE);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_OK);
    g_assert_cmpuint(IOPF_INJ_GRANTED(dev_read(IOPF_INJ_RESULT)), ==, 1);

    /* less than was asked for */
    g_assert_cmpuint(ats_request(VA_RO, IOPF_INJ_READ | IOPF_INJ_WRITE), ==,
                     IOPF_INJ_OK);
    g_assert_cmpuint(IOPF_INJ_GRANTED(dev_read(IOPF_INJ_RESULT)), ==, 1);

    /* nothing: a success without permissions, no event, no stall */
    g_assert_cmpuint(ats_request(VA_MISSING, IOPF_INJ_READ | IOPF_INJ_STALL),
                     ==, IOPF_INJ_OK);
    g_assert_cmpuint(IOPF_INJ_GRANTED(dev_read(IOPF_INJ_RESULT)), ==, 0);
    g_assert_false(have_event());
    stop();
}

static void test_ats_not_permitted(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_UNSUPPORTED);
    g_assert_cmphex(event_word(4), ==, (uint32_t)VA);
    expect_event(EVT_BAD_ATS, 1);

    smmu_write(CR0, CR0_ALL & ~CR0_SMMUEN);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_UNSUPPORTED);
    expect_event(EVT_BAD_ATS, 1);
    stop();
}

static void test_ats_config_error(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    /* an invalid CD: Completer Abort, and no event */
    g_assert_cmpuint(inject(IOPF_INJ_ATS_REQUEST, 2, VA, IOPF_INJ_READ), ==,
                     IOPF_INJ_ABORTED);
    /* an invalid STE */
    qtest_writel(qts, STRTAB + sid * 64, 0);
    command(0x03, sid, 0, 0);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_ABORTED);
    /* Config == 0b000 */
    qtest_writel(qts, STRTAB + sid * 64, 1);
    command(0x03, sid, 0, 0);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_UNSUPPORTED);
    g_assert_false(have_event());
    stop();
}

static void test_eats_split_stage(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 2u << 28 };

    start(ALL_FEATURES, &stream, CD_S);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_STE, 1);
    stop();
}

static uint32_t translated(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATED, 0, addr, IOPF_INJ_WRITE);
}

static void test_atschk(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    g_assert_cmpuint(translated(PAGE), ==, IOPF_INJ_OK);
    smmu_write(CR0, CR0_ALL | CR0_ATSCHK);
    g_assert_cmpuint(translated(PAGE), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(3), ==, 0);
    g_assert_cmphex(event_word(4), ==, (uint32_t)PAGE);
    expect_event(EVT_FORBIDDEN, 0);

    write_ste(&with_ats);
    g_assert_cmpuint(translated(PAGE), ==, IOPF_INJ_OK);
    /* beyond the output address size: no event */
    g_assert_cmpuint(translated(1ULL << 44), ==, IOPF_INJ_ABORTED);
    g_assert_false(have_event());

    smmu_write(CR0, (CR0_ALL | CR0_ATSCHK) & ~CR0_SMMUEN);
    g_assert_cmpuint(translated(PAGE), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_FORBIDDEN, 0);
    stop();
}

/* CMD_ATC_INV and CMD_SYNC: sections 4.5.1, 4.7.3 and 3.9.1.5 */

static void test_atc_inv(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    command(0x40 | 1u << 11 | 1u << 12, sid, (uint32_t)VA, 0);
    command(0x40 | 1u << 11 | 1u << 9 | 1u << 12, sid, 52, 0);
    command(0x40, sid, 52, 0);
    g_assert_cmpuint(counter(IOPF_CNT_INVALIDATIONS), ==, 3);
    /* nobody is there */
    command(0x40, sid + 8, 52, 0);
    command_fails(CERROR_ILL, 0x40, sid, 53, 0);
    smmu_write(CR0, CR0_ALL & ~CR0_SMMUEN);
    command(0x40, sid, 52, 0);
    g_assert_cmpuint(counter(IOPF_CNT_INVALIDATIONS), ==, 3);
    stop();
}

static void test_sync_waits(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    command(0x40, sid, 52, 0);
    sync_submit();
    g_assert_false(cmdq_idle());
    /* nor does a command behind it get ahead */
    submit(0x40, sid, 52, 0);
    g_assert_cmpuint(counter(IOPF_CNT_INVALIDATIONS), ==, 1);
    qtest_clock_step(qts, 500 * 1000 * 1000);
    g_assert_false(cmdq_idle());
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    wait_cmdq();
    g_assert_cmpuint(counter(IOPF_CNT_INVALIDATIONS), ==, 2);
    g_assert_cmphex(smmu_read(GERROR), ==, 0);
    stop();
}

static void test_sync_times_out(void)
{
    start(ALL_FEATURES "-global arm-smmuv3." ATS_TIMEOUT "=20", &with_ats,
          CD_S);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    command(0x40, sid, 52, 0);
    sync_submit();
    qtest_clock_step(qts, 19 * 1000 * 1000);
    g_assert_cmphex(smmu_read(GERROR), ==, 0);
    qtest_clock_step(qts, 2 * 1000 * 1000);
    g_assert_cmphex(smmu_read(GERROR), ==, 1);
    /* the CMD_SYNC is what CONS points to */
    g_assert_cmphex(smmu_read(CMDQ_CONS), ==, CERROR_ATC << 24 | 1);
    /* acknowledged, it is executed again; nothing is pending now */
    smmu_write(GERRORN, 1);
    g_assert_true(cmdq_idle());
    stop();
}

static void test_cmd_delay(void)
{
    start("-global arm-smmuv3.x-cmd-delay-us=100", &plain, 0);
    sync_submit();
    g_assert_false(cmdq_idle());
    qtest_clock_step(qts, 99 * 1000);
    g_assert_false(cmdq_idle());
    qtest_clock_step(qts, 2 * 1000);
    g_assert_true(cmdq_idle());
    stop();
}

/* Translation requests that it takes to fill at @va, as descriptor @n */
static uint32_t requests_to_fill(int n, uint64_t va)
{
    uint32_t before = counter(IOPF_CNT_ATS_REQUESTS);

    put_desc(n, IOPF_OP_FILL, va, 8, 0);
    g_assert_cmpuint(desc_status(n), ==, IOPF_DESC_OK);
    return counter(IOPF_CNT_ATS_REQUESTS) - before;
}

static void test_atc_inv_range(void)
{
    uint64_t a = VA + 0x10000, b = a + 0x1000;

    start(ALL_FEATURES, &with_ats, CD_S);
    map(a, PAGE + 0x1000);
    map(b, PAGE + 0x2000);
    start_queue(IOPF_MODE_ATS);
    /* the ring is read, then written */
    g_assert_cmpuint(requests_to_fill(0, a), ==, 3);
    g_assert_cmpuint(requests_to_fill(1, b), ==, 1);
    g_assert_cmpuint(requests_to_fill(2, a), ==, 0);

    cmd_atc_inv(ATC_SSV, 2, a, 0);
    g_assert_cmpuint(requests_to_fill(3, a), ==, 0);
    cmd_atc_inv(ATC_SSV, 1, b, 0);
    g_assert_cmpuint(requests_to_fill(4, a), ==, 0);
    g_assert_cmpuint(requests_to_fill(5, b), ==, 1);
    /* two pages, aligned: the one before a, and a */
    cmd_atc_inv(ATC_SSV, 1, a, 1);
    g_assert_cmpuint(requests_to_fill(6, b), ==, 0);
    g_assert_cmpuint(requests_to_fill(7, a), ==, 1);

    cmd_atc_inv(ATC_SSV, 2, 0, ATC_ALL);
    g_assert_cmpuint(requests_to_fill(8, a), ==, 0);
    cmd_atc_inv(ATC_SSV, 1, 0, ATC_ALL);
    g_assert_cmpuint(requests_to_fill(9, a), ==, 3);
    cmd_atc_inv(ATC_SSV | ATC_GLOBAL, 2, 0, ATC_ALL);
    g_assert_cmpuint(requests_to_fill(10, a), ==, 3);
    cmd_atc_inv(0, 0, 0, ATC_ALL);
    g_assert_cmpuint(requests_to_fill(11, a), ==, 3);
    stop();
}

const IopfTest iopf_tests_ats[] = {
    { "ats/request", test_ats },
    { "ats/eats", test_ats_not_permitted },
    { "ats/config-error", test_ats_config_error },
    { "ats/split-stage", test_eats_split_stage },
    { "ats/atschk", test_atschk },
    { "ats/atc-inv", test_atc_inv },
    { "ats/atc-inv-range", test_atc_inv_range },
    { "ats/sync-waits", test_sync_waits },
    { "ats/sync-times-out", test_sync_times_out },
    { "cmd-delay", test_cmd_delay },
    { }
};
