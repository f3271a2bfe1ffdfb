/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Virtual functions */

#include "qemu/osdep.h"
#include "lib.h"

/* The physical function and two virtual ones, all of them enabled */
static void start_vfs(void)
{
    uint64_t sriov;
    int vf;

    start(ALL_FEATURES WITH_VFS, &with_ats, CD_S);
    sriov = ext_cap(PCI_EXT_CAP_ID_SRIOV);
    g_assert_cmpuint(qtest_readw(qts, sriov + PCI_SRIOV_TOTAL_VF), ==, 2);
    qtest_writel(qts, sriov + PCI_SRIOV_BAR, OTHER_BAR0);
    qtest_writel(qts, sriov + PCI_SRIOV_BAR + 8, OTHER_BAR2);
    qtest_writew(qts, sriov + PCI_SRIOV_NUM_VF, 2);
    qtest_writew(qts, sriov + PCI_SRIOV_CTRL,
                 PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
    for (vf = 1; vf <= 2; vf++) {
        choose_function(vf);
        qtest_writew(qts, CFG + PCI_COMMAND,
                     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        set_bits(ext_cap(PCI_EXT_CAP_ID_ATS) + PCI_ATS_CTRL,
                 PCI_ATS_CTRL_ENABLE);
        write_ste(&with_ats);
        g_assert_cmphex(dev_read(IOPF_ID), ==, IOPF_ID_VALUE);
    }
}

static void test_vf(void)
{
    start_vfs();
    g_assert_cmphex(find_ext_cap(CFG, PCI_EXT_CAP_ID_PASID), ==, 0);
    g_assert_cmphex(find_ext_cap(CFG, PCI_EXT_CAP_ID_PRI), ==, 0);
    g_assert_cmphex(dev_read(IOPF_STATE) & ~IOPF_STATE_STALL, ==,
                    IOPF_STATE_MASTER | IOPF_STATE_PASID | IOPF_STATE_ATS |
                    IOPF_STATE_PRI);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    expect_event(EVT_TRANSLATION, 1);
    cmd_resume(DEVFN, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 0);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 1);

    /* the PASID enable is the physical function's */
    choose_function(0);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL, 0);
    choose_function(2);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_REFUSED);
    stop();
}

/* One Response Failure stops all functions: PCIe Base section 10.4.2.2 */
static void test_vf_failure(void)
{
    int vf;

    start_vfs();
    page_request(1, 4, LAST_READ);
    g_assert_cmphex(ppr_word(0, 0), ==, sid);
    cmd_pri_resp(1, 4, 0);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_FAILURE), ==, 1);
    for (vf = 0; vf <= 2; vf++) {
        choose_function(vf);
        g_assert_cmphex(dev_read(IOPF_STATE) & IOPF_STATE_PRI, ==, 0);
        g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, 1, VA, LAST_READ), ==,
                         IOPF_INJ_REFUSED);
    }
    stop();
}

/* The functions share what software has granted. */
static void test_vf_credit(void)
{
    start_vfs();
    choose_function(0);
    qtest_writel(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ, 1);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    wait_priq(1);

    choose_function(1);
    start_queue_at(5, 1, IOPF_MODE_PRI, 0x400);
    write_desc(PAGE + 0x400, IOPF_OP_FILL, 0, VA_MISSING, 8, 0);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    wait_priq(1);

    choose_function(0);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 1);
    wait_priq(2);
    g_assert_cmphex(ppr_word(1, 0), ==, DEVFN + 1);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 1);

    /* a reset gives back what the function had */
    choose_function(1);
    function_level_reset();
    choose_function(0);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    g_assert_cmphex(dev_read(IOPF_STATE) & IOPF_STATE_PRI, ==, IOPF_STATE_PRI);
    stop();
}

/* More than there are cannot be enabled: PCIe Base section 9.3.3.7 */
static void test_vf_too_many(void)
{
    uint64_t sriov;

    start(ALL_FEATURES WITH_VFS, &with_ats, CD_S);
    sriov = ext_cap(PCI_EXT_CAP_ID_SRIOV);
    qtest_writew(qts, sriov + PCI_SRIOV_NUM_VF, 3);
    qtest_writew(qts, sriov + PCI_SRIOV_CTRL,
                 PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
    g_assert_cmphex(qtest_readw(qts, sriov + PCI_SRIOV_CTRL) &
                    PCI_SRIOV_CTRL_VFE, ==, 0);
    g_assert_cmphex(qtest_readw(qts, FUNCTION(DEVFN + 1)), ==, 0xffff);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    stop();
}

/* Virtual functions vanish while one of them has something in flight. */
static void test_vf_disable(void)
{
    start_vfs();
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    page_request(1, 4, LAST_READ);
    choose_function(0);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_SRIOV) + PCI_SRIOV_CTRL, 0);
    command(0x44 | RESUME_RETRY << 12, DEVFN + 2, 0, 0);
    command(0x41 | 1u << 11 | 1u << 12, DEVFN + 2, 4 | 2 << 12, 0);
    command(0x40, DEVFN + 2, 52, 0);
    g_assert_cmphex(qtest_readw(qts, ext_cap(PCI_EXT_CAP_ID_PRI) +
                                PCI_PRI_STATUS) & PCI_PRI_STATUS_UPRGI, ==, 0);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    stop();
}

/* What is freed by a reset, or granted, is for whoever waits for it. */
static void test_vf_credit_wakes(void)
{
    start_vfs();
    choose_function(0);
    qtest_writel(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ, 1);
    choose_function(1);
    start_queue_at(5, 1, IOPF_MODE_PRI, 0x400);
    write_desc(PAGE + 0x400, IOPF_OP_FILL, 0, VA_MISSING, 8, 0);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    wait_priq(1);
    choose_function(0);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    choose_function(2);
    start_queue_at(5, 1, IOPF_MODE_PRI, 0x800);
    write_desc(PAGE + 0x800, IOPF_OP_FILL, 0, VA_MISSING, 8, 0);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    wait_priq(1);

    choose_function(1);
    function_level_reset();
    wait_priq(2);
    choose_function(0);
    qtest_writel(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ, 2);
    wait_priq(3);
    g_assert_cmpuint(ppr_word(1, 0) + ppr_word(2, 0), ==, 2 * DEVFN + 2);
    stop();
}

/* A virtual function has state of its own, and it is enabled, afterwards. */
static void test_vf_migration(void)
{
    start_vfs();
    choose_function(2);
    start_queue_at(5, 1, IOPF_MODE_STALL, 0x400);
    write_desc(PAGE + 0x400, IOPF_OP_FILL, 0, VA_MISSING, 8, 0x66);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    wait_event();
    page_request(1, 9, LAST_READ);
    migrate_machine(ALL_FEATURES WITH_VFS);
    choose_function(2);
    g_assert_cmphex(dev_read(IOPF_ID), ==, IOPF_ID_VALUE);
    g_assert_cmphex(dev_read(IOPF_QCTL(5) + IOPF_Q_PASID), ==,
                    1 | IOPF_PASID_VALID);
    map(VA_MISSING, PAGE + 0x2000);
    cmd_resume(sid, 0, RESUME_RETRY);
    wait_cmdq();
    qtest_clock_step(qts, 1000 * 1000);
    qtest_clock_step(qts, 1000 * 1000);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x66);
    cmd_pri_resp(1, 9, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 1);
    /* NumVFs is read-only as long as they are enabled */
    choose_function(0);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_SRIOV) + PCI_SRIOV_NUM_VF, 1);
    g_assert_cmpuint(qtest_readw(qts, ext_cap(PCI_EXT_CAP_ID_SRIOV) +
                                 PCI_SRIOV_NUM_VF), ==, 2);
    stop();
}

/* Virtual functions that were not enabled are not afterwards. */
static void test_vf_migration_off(void)
{
    uint64_t sriov;

    start(ALL_FEATURES WITH_VFS, &with_ats, CD_S);
    sriov = ext_cap(PCI_EXT_CAP_ID_SRIOV);
    qtest_writew(qts, sriov + PCI_SRIOV_NUM_VF, 3);
    migrate_machine(ALL_FEATURES WITH_VFS);
    sriov = ext_cap(PCI_EXT_CAP_ID_SRIOV);
    g_assert_cmphex(qtest_readw(qts, FUNCTION(DEVFN + 1)), ==, 0xffff);
    qtest_writew(qts, sriov + PCI_SRIOV_CTRL, PCI_SRIOV_CTRL_VFE);
    g_assert_cmphex(qtest_readw(qts, sriov + PCI_SRIOV_CTRL) &
                    PCI_SRIOV_CTRL_VFE, ==, 0);
    qtest_writew(qts, sriov + PCI_SRIOV_NUM_VF, 1);
    qtest_writew(qts, sriov + PCI_SRIOV_CTRL, PCI_SRIOV_CTRL_VFE);
    g_assert_cmphex(qtest_readw(qts, sriov + PCI_SRIOV_CTRL) &
                    PCI_SRIOV_CTRL_VFE, ==, PCI_SRIOV_CTRL_VFE);
    stop();
}

const IopfTest iopf_tests_vf[] = {
    { "vf/enable", test_vf },
    { "vf/failure", test_vf_failure },
    { "vf/credit", test_vf_credit },
    { "vf/too-many", test_vf_too_many },
    { "vf/disable", test_vf_disable },
    { "vf/credit-wakes", test_vf_credit_wakes },
    { "vf/migration", test_vf_migration },
    { "vf/migration-off", test_vf_migration_off },
    { }
};
