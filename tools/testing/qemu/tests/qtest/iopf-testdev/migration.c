/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is saved, what is answered afterwards; trace events */

#include "qemu/osdep.h"
#include "lib.h"

/* State that survives: a stall and a page request are answered afterwards. */
static void test_migration(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0x77);
    wait_event();
    page_request(1, 9, LAST_READ);
    migrate_machine(ALL_FEATURES);
    map(VA_MISSING, PAGE + 0x2000);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x77);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1);
    cmd_pri_resp(1, 9, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 1);
    stop();
}

/* Transactions without a STAG, and a CMD_SYNC that waits */
static void test_migration_waiting(void)
{
    int i;

    start(ALL_FEATURES, &with_ats, CD_S);
    for (i = 0; i < 6; i++) {
        g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    }
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    command(0x40, sid, 52, 0);
    sync_submit();
    g_assert_false(cmdq_idle());
    migrate_machine(ALL_FEATURES);
    g_assert_false(cmdq_idle());
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    wait_cmdq();
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(counter(IOPF_CNT_RETRIES), ==, 3);
    stop();
}

static bool state_has(const char *options, const char *what)
{
    g_autofree char *state = NULL, *file = NULL;
    bool found;
    gsize len;

    qts = qtest_initf(MACHINE "%s", options);
    file = save_machine();
    g_assert_true(g_file_get_contents(file, &state, &len, NULL));
    found = memmem(state, len, what, strlen(what));
    unlink(file);
    return found;
}

/* A machine that was asked for nothing new saves nothing new. */
static void test_migration_default(void)
{
    g_assert_true(state_has("", "smmuv3/gbpa") ||
                  state_has("", "smmuv3"));
    g_assert_false(state_has("", "smmuv3/iopf"));
    g_assert_true(state_has("-global arm-smmuv3.ssidsize=1", "smmuv3/iopf"));
}

static void expect_in(const char *text, const char *what)
{
    if (!strstr(text, what)) {
        g_error("'%s' was not traced", what);
    }
}

static void test_trace(void)
{
    g_autofree char *file = g_strdup_printf("%s/iopf-trace-%d",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *options = g_strdup_printf(
        "-D %s -trace smmuv3_* -trace iopf_* " ALL_FEATURES, file);
    g_autofree char *text = NULL;
    int i;

    start(options, &with_ats, CD_S);
    translate_stall(VA_MISSING);
    cmd_resume(sid, 3, RESUME_RETRY);
    cmd_resume(sid, 0, RESUME_RETRY);
    ats_request(VA, IOPF_INJ_READ);
    cmd_atc_inv(ATC_SSV, 1, VA, 0);
    for (i = 0; i < 9; i++) {
        page_request(1, i, LAST_READ);
    }
    command(0x05 | 1u << 12, sid, 1, 0);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_NOP, 0, 0, 0);
    desc_status(0);
    stop();
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    unlink(file);
    expect_in(text, "smmuv3_stall sid=0x8 ssid=0x1 addr=0x12347000 stag=0x0");
    expect_in(text, "smmuv3_resume_ignored sid=0x8 stag=0x3");
    expect_in(text, "smmuv3_stall_done sid=0x8");
    expect_in(text, "smmuv3_ats_request sid=0x8 ssid=0x1 addr=0x12345000");
    expect_in(text, "smmuv3_atc_inv sid=0x8 ssid=0x1 addr=0x12345000");
    expect_in(text, "smmuv3_pri_request sid=0x8 ssid=0x1");
    expect_in(text, "smmuv3_pri_overflow");
    expect_in(text, "smmuv3_pri_response sid=0x8 ssid=0x1 prgi=8");
    expect_in(text, "smmuv3_config_cache_inv_cd");
    expect_in(text, "iopf_complete queue=5");
}

/* The first @len bytes in @state that are @what, to be overwritten by @with */
static void patch_state(char *state, gsize size, const void *what,
                        const void *with, gsize len)
{
    char *at = memmem(state, size, what, len);

    g_assert_nonnull(at);
    memcpy(at, with, len);
}

/* Load what was saved, with @with where there is @what. */
static bool load_patched(const char *file, const void *what, const void *with,
                         gsize len)
{
    g_autofree char *state = NULL, *other = g_strdup_printf("%s-2", file);
    bool good;
    gsize size;

    g_assert_true(g_file_get_contents(file, &state, &size, NULL));
    patch_state(state, size, what, with, len);
    g_assert_true(g_file_set_contents(other, state, size, NULL));
    good = load_machine(ALL_FEATURES, other);
    unlink(other);
    stop();
    return good;
}

/* PASID, mode, concurrency and more of a queue, as they are saved */
static void test_migration_hostile(void)
{
    static const uint8_t was[] = {
        0x80, 0x0a, 0xbc, 0xde, 0, 0, 0, 1, 0, 0, 0, 7,
    };
    uint8_t with[sizeof(was)];
    g_autofree char *file = NULL;

    start_machine(ALL_FEATURES);
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 0xabcde | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(5) + IOPF_Q_CONCURRENCY, 7);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_STALL);
    file = save_machine();
    memcpy(with, was, sizeof(was));
    g_assert_true(load_patched(file, was, with, sizeof(was)));
    /* more pages at a time than there is room for, and none */
    with[11] = 33;
    g_assert_false(load_patched(file, was, with, sizeof(was)));
    with[11] = 0;
    g_assert_false(load_patched(file, was, with, sizeof(was)));
    memcpy(with, was, sizeof(was));
    with[7] = 4;
    g_assert_false(load_patched(file, was, with, sizeof(was)));
    unlink(file);
}

#define LATE_MACHINE    ALL_FEATURES "-device iopf-testdev,addr=1," \
                        "x-dma-delay-us=500,x-delay-seed=3"

/* Data that is on its way when the machine is stopped arrives afterwards. */
static void test_migration_late(void)
{
    int i;

    start(LATE_MACHINE, &with_ats, CD_S);
    map(VA_MISSING, PAGE + 0x2000);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0x44);
    for (i = 0; i < 200 && counter(IOPF_CNT_TRANSLATIONS) < 2; i++) {
        qtest_clock_step(qts, 5 * 1000);
    }
    migrate_machine(LATE_MACHINE);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x44);
    sync_submit();
    wait_cmdq();
    stop();
}

const IopfTest iopf_tests_migration[] = {
    { "migration/answers", test_migration },
    { "migration/waiting", test_migration_waiting },
    { "migration/default", test_migration_default },
    { "trace", test_trace },
    { "migration/hostile", test_migration_hostile },
    { "migration/late", test_migration_late },
    { }
};
