/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Substreams: sections 5.2 and 5.3 */

#include "qemu/osdep.h"
#include "lib.h"

/* Substreams: sections 5.2 and 5.3 */

static void test_cd_linear(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    g_assert_cmpuint(translate(1, VA + 0x123), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, PAGE + 0x123);
    g_assert_false(have_event());
    stop();
}

static void check_cd_two_level(uint32_t fmt, int split)
{
    Stream stream = { .config = 5, .fmt = fmt, .cdmax = 14 };
    uint32_t ssid = 2u << split | 5;

    start(ALL_FEATURES, &stream, 0);
    qtest_memset(qts, CDTAB, 0, 4096);
    qtest_writeq(qts, CDTAB + 2 * 8, L2CD | 1);
    write_cd(L2CD + 5 * 64, CD_A | CD_R, 3);
    g_assert_cmpuint(translate(ssid, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, PAGE);

    /* L1CD.V == 0: section 7.3.9, and there is no SSV in this record */
    g_assert_cmpuint(translate(3u << split, VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0), ==, EVT_BAD_SSID | (3u << split) << 12);
    eat_event();

    /* L2Ptr beyond the output address size */
    qtest_writeq(qts, CDTAB + 4 * 8, 1ULL << 46 | 1);
    g_assert_cmpuint(translate(4u << split, VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0) & 0xff, ==, EVT_BAD_SSID);
    stop();
}

static void test_cd_4k_leaves(void)
{
    check_cd_two_level(1, 6);
}

static void test_cd_64k_leaves(void)
{
    check_cd_two_level(2, 10);
}

static void test_ssid_out_of_range(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    g_assert_cmpuint(translate(256, VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0), ==, EVT_BAD_SSID | 256u << 12);
    stop();
}

static void test_ssid_without_stage_1(void)
{
    Stream bypass = { .config = 4 };

    start(ALL_FEATURES, &bypass, CD_R);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0), ==, EVT_BAD_SSID | 1u << 12);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, VA);
    stop();
}

static void test_bad_cd(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_CD, 2);
    stop();
}

/* A CD table in no memory at all: F_CD_FETCH */
static void test_cd_past_memory(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    qtest_writel(qts, STRTAB + sid * 64, 1 | 5 << 1 | 0xf0000000);
    qtest_writel(qts, STRTAB + sid * 64 + 4, 8u << 27 | 0x20);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    expect_event(0x09, 1);
    stop();
}

static void test_cdmax_too_large(void)
{
    Stream stream = { .config = 5, .cdmax = 17 };

    start(ALL_FEATURES, &stream, CD_R);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_BAD_STE, 1);
    stop();
}

static void test_s1dss_terminate(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_ABORTED);
    expect_event(EVT_DISABLED, 0);
    stop();
}

static void test_s1dss_bypass(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 1 };

    start(ALL_FEATURES, &stream, CD_R);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, VA);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, PAGE);
    stop();
}

static void test_s1dss_substream_0(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 2 };

    start(ALL_FEATURES, &stream, CD_R);
    write_cd(CDTAB, CD_A | CD_R, 7);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, PAGE);

    /* substream 0 itself is not for use */
    dev_write(IOPF_INJ_PASID, IOPF_PASID_VALID);
    dev_write(IOPF_INJ_CMD, IOPF_INJ_TRANSLATE);
    g_assert_cmpuint(dev_read(IOPF_INJ_RESULT) & 15, ==, IOPF_INJ_ABORTED);
    expect_event(EVT_DISABLED, 0);
    stop();
}

static void test_cfgi_cd(void)
{
    start(ALL_FEATURES, &plain, CD_R);
    write_cd(CDTAB + 2 * 64, CD_A | CD_R, 2);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_OK);
    qtest_memset(qts, CDTAB, 0, 4 * 64);

    /* both are cached; the command is for one of them */
    command(0x05 | 2u << 12, sid, 1, 0);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_ABORTED);
    command(0x06, sid, 0, 0);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    stop();
}

/* Requests without a substream may use the CD of substream 0. */
static void test_cfgi_cd_0(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 2 };

    start(ALL_FEATURES, &stream, CD_R);
    write_cd(CDTAB, CD_A | CD_R, 7);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_OK);
    qtest_memset(qts, CDTAB, 0, 64);
    command(0x05 | 1u << 12, sid, 1, 0);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_OK);
    command(0x05, sid, 1, 0);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_ABORTED);
    stop();
}

/* Section 4.3.1: CFGI_STE, CFGI_STE_RANGE, CFGI_ALL are for all substreams. */
static void test_cfgi_ste(void)
{
    uint32_t cmds[][3] = {
        { 0x03, DEVFN, 0 }, { 0x04, DEVFN, 3 }, { 0x04, 0, 31 },
    };
    int i;

    start(ALL_FEATURES, &plain, CD_R);
    for (i = 0; i < ARRAY_SIZE(cmds); i++) {
        write_cd(CDTAB + 64, CD_A | CD_R, 1);
        write_cd(CDTAB + 2 * 64, CD_A | CD_R, 2);
        g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
        g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_OK);
        qtest_memset(qts, CDTAB, 0, 4 * 64);
        g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
        /* another stream's */
        command(cmds[i][0], cmds[i][1] ^ 0x100, i ? 3 : 0, 0);
        g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
        command(cmds[i][0], cmds[i][1], cmds[i][2], 0);
        g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
        g_assert_cmpuint(translate(2, VA), ==, IOPF_INJ_ABORTED);
    }
    stop();
}

/* Stage 2 is the identity for the GiB that has the memory, and no more. */
static void add_stage_2(void)
{
    uint64_t ste = STRTAB + sid * 64;

    qtest_writeq(qts, S2TTB + 8, 0x40000000 | 1 << 10 | 3 << 8 | 3 << 6 |
                 0xf << 2 | 1);
    qtest_writel(qts, ste + 16, 7);                     /* S2VMID */
    /* S2T0SZ 25, S2SL0 1, S2PS 44 bits, S2AA64, S2R */
    qtest_writel(qts, ste + 20, 25 | 1 << 6 | 4 << 16 | 1 << 19 | 1 << 26);
    qtest_writeq(qts, ste + 24, S2TTB);
}

static void test_nested(void)
{
    Stream nested = { .config = 7, .cdmax = 8 };

    start(ALL_FEATURES "-global arm-smmuv3.stage=nested", &nested, CD_S);
    add_stage_2();
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmphex(result_pa(), ==, PAGE);
    /* a fault at stage 1 stalls, one at stage 2 does not: STE.S2S is 0 */
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(2) >> 31, ==, 1);
    expect_event(EVT_TRANSLATION, 1);
    map(VA_MISSING, 0x80000000);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(2) >> 31, ==, 0);
    g_assert_cmphex(event_word(3) & 1u << 7, ==, 1u << 7);
    expect_event(EVT_TRANSLATION, 1);
    stop();
}

const IopfTest iopf_tests_substream[] = {
    { "substream/linear", test_cd_linear },
    { "substream/4k-leaves", test_cd_4k_leaves },
    { "substream/64k-leaves", test_cd_64k_leaves },
    { "substream/out-of-range", test_ssid_out_of_range },
    { "substream/no-stage-1", test_ssid_without_stage_1 },
    { "substream/bad-cd", test_bad_cd },
    { "substream/cd-past-memory", test_cd_past_memory },
    { "substream/s1cdmax", test_cdmax_too_large },
    { "substream/s1dss-0", test_s1dss_terminate },
    { "substream/s1dss-1", test_s1dss_bypass },
    { "substream/s1dss-2", test_s1dss_substream_0 },
    { "substream/cfgi-cd", test_cfgi_cd },
    { "substream/cfgi-cd-0", test_cfgi_cd_0 },
    { "substream/cfgi-ste", test_cfgi_ste },
    { "substream/nested", test_nested },
    { }
};
