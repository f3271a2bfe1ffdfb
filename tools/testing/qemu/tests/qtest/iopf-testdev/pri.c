/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PRI: chapter 8 */

#include "qemu/osdep.h"
#include "lib.h"

/* PRI: chapter 8 */

static void test_pri_record(void)
{
    start_pri(&with_ats);
    watch_irq(INTID_PRIQ);
    page_request(1, 0x155, LAST_READ | IOPF_INJ_WRITE | IOPF_INJ_EXEC |
                 IOPF_INJ_PRIV);
    g_assert_true(irq_pending(INTID_PRIQ));
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1);
    g_assert_cmphex(ppr_word(0, 0), ==, sid);
    g_assert_cmphex(ppr_word(0, 1), ==, 1u | 0x3fu << 26);
    g_assert_cmphex(ppr_word(0, 2), ==, (uint32_t)VA | 0x155);
    g_assert_cmphex(ppr_word(0, 3), ==, 0);

    /* without a PASID: no SSV, no X, no Priv */
    page_request(0, 2, IOPF_INJ_READ | IOPF_INJ_EXEC | IOPF_INJ_PRIV);
    g_assert_cmphex(ppr_word(1, 1), ==, 1u << 28);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    stop();
}

/* A stop marker is a record like any other, and nobody answers it. */
static void test_pri_stop_marker(void)
{
    start_pri(&with_ats);
    page_request(1, 9, IOPF_INJ_LAST);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1);
    g_assert_cmphex(ppr_word(0, 1), ==, 1u | 1u << 31 | 1u << 30);
    g_assert_cmphex(ppr_word(0, 2), ==, (uint32_t)VA | 9);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    g_assert_cmpuint(counter(IOPF_CNT_STOP_MARKERS), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS), ==, 0);
    stop();
}

/* Registers: section 6.3; PROD and CONS in page 1 as well */
static void test_pri_registers(void)
{
    start_pri(&with_ats);
    g_assert_cmphex(qtest_readq(qts, SMMU + PRIQ_BASE), ==, PRIQ | PRIQ_LOG2);
    /* without MSIs all but CFG2.LO is RES0 */
    smmu_write(PRIQ_IRQ_CFG0, 0x3456789c);
    g_assert_cmphex(smmu_read(PRIQ_IRQ_CFG0), ==, 0);
    smmu_write(PRIQ_IRQ_CFG0 + 4, 0x12);
    g_assert_cmphex(smmu_read(PRIQ_IRQ_CFG0 + 4), ==, 0);
    smmu_write(PRIQ_IRQ_CFG0 + 8, 0x55);
    g_assert_cmphex(smmu_read(PRIQ_IRQ_CFG0 + 8), ==, 0);
    smmu_write(PRIQ_IRQ_CFG0 + 12, 0xffffffff);
    g_assert_cmphex(smmu_read(PRIQ_IRQ_CFG0 + 12), ==, 1u << 31);
    smmu_write(PRIQ_IRQ_CFG0 + 12, 0);
    page_request(1, 9, LAST_READ);
    g_assert_cmphex(smmu_read(0x10000 + PRIQ_PROD), ==, 1);
    smmu_write(0x10000 + PRIQ_CONS, 1);
    g_assert_cmphex(smmu_read(PRIQ_CONS), ==, 1);
    g_assert_cmphex(smmu_read(CR0 + 4) & CR0_PRIQEN, ==, CR0_PRIQEN);
    stop();
}

/* PROD and CONS have a bit more than the index: section 3.5.1 */
static void test_pri_wrap(void)
{
    int i;

    start_pri(&with_ats);
    for (i = 0; i < 40; i++) {
        page_request(1, i, LAST_READ);
        g_assert_cmphex(smmu_read(PRIQ_PROD), ==, (i + 1) % 16);
        g_assert_cmphex(ppr_word(i % 8, 2), ==, (uint32_t)VA | i);
        smmu_write(PRIQ_CONS, smmu_read(PRIQ_PROD));
    }
    stop();
}

static void test_pri_irq_off(void)
{
    start_pri(&with_ats);
    smmu_write(IRQ_CTRL, 5);
    watch_irq(INTID_PRIQ);
    page_request(1, 1, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1);
    g_assert_false(irq_pending(INTID_PRIQ));
    stop();
}

static void test_pri_resp(void)
{
    start_pri(&with_ats);
    page_request(1, 3, LAST_READ);
    cmd_pri_resp(1, 3, 2);
    g_assert_cmphex(response(), ==, RESPONSE(3, 0));
    g_assert_cmphex(dev_read(IOPF_INJ_RESP_PASID), ==, IOPF_PASID_VALID | 1);
    page_request(1, 3, LAST_READ);
    cmd_pri_resp(1, 3, 1);
    g_assert_cmphex(response(), ==, RESPONSE(3, 1));
    page_request(1, 3, LAST_READ);
    cmd_pri_resp(1, 3, 0);
    g_assert_cmphex(response(), ==, RESPONSE(3, 15));
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    command_fails(CERROR_ILL, 0x41, sid, 3 | 3u << 12, 0);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    stop();
}

/* What a driver gets wrong, the endpoint notices. */
static void test_pri_resp_unexpected(void)
{
    uint64_t status;

    start_pri(&with_ats);
    status = ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_STATUS;
    cmd_pri_resp(1, 5, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 1);
    g_assert_cmphex(qtest_readw(qts, status) & PCI_PRI_STATUS_UPRGI, ==,
                    PCI_PRI_STATUS_UPRGI);
    page_request(1, 5, LAST_READ);
    cmd_pri_resp(0, 5, 2);
    cmd_pri_resp(2, 5, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 3);
    cmd_pri_resp(1, 5, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 1);
    cmd_pri_resp(1, 5, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 4);
    stop();
}

static void test_pri_overflow(void)
{
    start_pri(&with_ats);
    fill_priq();
    watch_irq(INTID_PRIQ);

    /* not the last: nothing is said */
    page_request(1, 7, IOPF_INJ_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, OVFLG | 8);
    g_assert_true(irq_pending(INTID_PRIQ));
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    /* a stop marker: nothing either */
    page_request(1, 8, IOPF_INJ_LAST);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    /* the last: success, with a PASID since STE.PPAR is set */
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(response(), ==, RESPONSE(7, 0));
    g_assert_cmphex(dev_read(IOPF_INJ_RESP_PASID), ==, IOPF_PASID_VALID | 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);

    /* room alone does not end it, the acknowledgement does */
    smmu_write(PRIQ_CONS, 8);
    page_request(1, 9, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, OVFLG | 8);
    g_assert_cmphex(response(), ==, RESPONSE(9, 0));
    smmu_write(PRIQ_CONS, OVFLG | 8);
    page_request(1, 10, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, OVFLG | 9);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    stop();
}

static void test_pri_overflow_without_ppar(void)
{
    Stream stream = { .config = 5, .cdmax = 8, .word2 = 1u << 28 };

    start_pri(&stream);
    fill_priq();
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(response(), ==, RESPONSE(7, 0));
    g_assert_cmphex(dev_read(IOPF_INJ_RESP_PASID), ==, 0);
    /* an STE that cannot be looked at: Failure */
    qtest_writel(qts, STRTAB + sid * 64, 0);
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(response(), ==, RESPONSE(7, 15));
    stop();
}

static void test_priq_off(void)
{
    start_pri(&with_ats);
    smmu_write(CR0, CR0_ALL & ~CR0_PRIQEN);
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 0);
    g_assert_cmphex(response(), ==, RESPONSE(7, 15));
    g_assert_cmphex(dev_read(IOPF_INJ_RESP_PASID), ==, 0);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_FORCE);
    page_request(1, 7, IOPF_INJ_LAST);
    g_assert_cmphex(response(), ==, NO_RESPONSE);
    stop();
}

static void test_priq_past_memory(void)
{
    start_pri(&with_ats);
    smmu_write(PRIQ_BASE, 0xf0000000 | PRIQ_LOG2);
    smmu_write(PRIQ_BASE + 4, 0x20);
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(smmu_read(GERROR), ==, 1u << 3);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 0);
    g_assert_cmphex(response(), ==, RESPONSE(7, 15));

    /* nothing is written while the error is active */
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_FORCE);
    smmu_write(PRIQ_BASE, (uint32_t)PRIQ | PRIQ_LOG2);
    smmu_write(PRIQ_BASE + 4, 0);
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 0);
    g_assert_cmphex(response(), ==, RESPONSE(7, 15));
    smmu_write(GERRORN, 1u << 3);
    page_request(1, 7, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1);
    stop();
}

const IopfTest iopf_tests_pri[] = {
    { "pri/record", test_pri_record },
    { "pri/stop-marker", test_pri_stop_marker },
    { "pri/registers", test_pri_registers },
    { "pri/wrap", test_pri_wrap },
    { "pri/irq", test_pri_irq_off },
    { "pri/resp", test_pri_resp },
    { "pri/resp-unexpected", test_pri_resp_unexpected },
    { "pri/overflow", test_pri_overflow },
    { "pri/overflow-ppar", test_pri_overflow_without_ppar },
    { "pri/off", test_priq_off },
    { "pri/past-memory", test_priq_past_memory },
    { }
};
