/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The endpoint: enables, operations, queues, groups, credit, reset */

#include "qemu/osdep.h"
#include "lib.h"

/* The endpoint */

static void test_enables(void)
{
    uint64_t pasid, ats, pri;

    start(ALL_FEATURES, &with_ats, CD_S);
    pasid = ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL;
    ats = ext_cap(PCI_EXT_CAP_ID_ATS) + PCI_ATS_CTRL;
    pri = ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_CTRL;

    qtest_writew(qts, pri, 0);
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, 1, VA, LAST_READ), ==,
                     IOPF_INJ_REFUSED);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_OK);
    qtest_writew(qts, ats, 0);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_REFUSED);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    qtest_writew(qts, pasid, 0);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_REFUSED);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_ABORTED);
    qtest_writew(qts, CFG + PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmpuint(translate(0, VA), ==, IOPF_INJ_REFUSED);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_FORCE);
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_OK);
    stop();
}

static void check_fill(uint32_t mode)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    map(VA_RO, PAGE + 0x1000);
    start_queue(mode);
    put_desc(0, IOPF_OP_FILL, VA_RO + 8, 16, 0x1122334455667788ULL);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x1000), ==, 0);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x1008), ==,
                    0x1122334455667788ULL);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x1018), ==, 0);
    put_desc(1, 77, VA_RO, 16, 0);
    g_assert_cmpuint(desc_status(1), ==, IOPF_DESC_BAD);
    g_assert_cmpuint(dev_read(IOPF_USER(5) + IOPF_U_CONS), ==, 2);
    stop();
}

static void test_queue_untranslated(void)
{
    check_fill(IOPF_MODE_STALL);
}

static void test_queue_ats(void)
{
    check_fill(IOPF_MODE_ATS);
}

#define SRC             (VA + 0x10000)
#define DST             (VA + 0x20000)
#define SRC_PA          (PAGE + 0x10000)
#define DST_PA          (PAGE + 0x20000)

/* A descriptor of queue 5 from start to end; its status */
static uint32_t run_op(uint32_t op, uint64_t src, uint64_t dst, uint64_t len,
                       uint64_t arg)
{
    uint32_t n = dev_read(IOPF_USER(5) + IOPF_U_PROD);

    write_desc(PAGE + 64 * (n % 16), op, src, dst, len, arg);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, n + 1);
    return desc_status(n % 16);
}

/* What the last one left: offset 48 its result, 56 its fault address */
static uint64_t last_desc(int offset)
{
    uint32_t n = dev_read(IOPF_USER(5) + IOPF_U_CONS) - 1;

    return qtest_readq(qts, PAGE + 64 * (n % 16) + offset);
}

static void start_ops(void)
{
    uint8_t data[8192];
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    for (i = 0; i < ARRAY_SIZE(data); i++) {
        data[i] = i * 7 + i / 256;
    }
    for (i = 0; i < 2; i++) {
        map(SRC + i * 4096, SRC_PA + i * 4096);
        map(DST + i * 4096, DST_PA + i * 4096);
    }
    qtest_memwrite(qts, SRC_PA, data, sizeof(data));
    start_queue(IOPF_MODE_STALL);
}

static void test_op_copy_compare(void)
{
    uint8_t src[5000], dst[5000];

    start_ops();
    g_assert_cmpuint(run_op(IOPF_OP_COPY, SRC + 100, DST + 50, 5000, 0), ==,
                     IOPF_DESC_OK);
    qtest_memread(qts, SRC_PA + 100, src, sizeof(src));
    qtest_memread(qts, DST_PA + 50, dst, sizeof(dst));
    g_assert_cmpmem(src, sizeof(src), dst, sizeof(dst));
    g_assert_cmphex(qtest_readb(qts, DST_PA + 49), ==, 0);
    g_assert_cmphex(qtest_readb(qts, DST_PA + 5050), ==, 0);

    g_assert_cmpuint(run_op(IOPF_OP_COMPARE, SRC + 100, DST + 50, 5000, 0), ==,
                     IOPF_DESC_OK);
    g_assert_cmpuint(last_desc(48), ==, 5000);
    qtest_writeb(qts, DST_PA + 50 + 4321, ~dst[4321]);
    g_assert_cmpuint(run_op(IOPF_OP_COMPARE, SRC + 100, DST + 50, 5000, 0), ==,
                     IOPF_DESC_OK);
    g_assert_cmpuint(last_desc(48), ==, 4321);
    g_assert_cmpuint(run_op(IOPF_OP_COPY, SRC, DST, 0, 0), ==, IOPF_DESC_OK);
    stop();
}

static void test_op_checksum(void)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    uint8_t data[6000];
    int i;

    start_ops();
    qtest_memread(qts, SRC_PA + 33, data, sizeof(data));
    for (i = 0; i < ARRAY_SIZE(data); i++) {
        hash = (hash ^ data[i]) * 0x100000001b3ULL;
    }
    g_assert_cmpuint(run_op(IOPF_OP_CHECKSUM, SRC + 33, 0, sizeof(data), 0),
                     ==, IOPF_DESC_OK);
    g_assert_cmphex(last_desc(48), ==, hash);
    stop();
}

static void test_op_scatter(void)
{
    static const uint64_t offsets[] = { 0x1ff8, 0x100, 0x1000, 8, 0x108, 0x10 };
    int i;

    start_ops();
    for (i = 0; i < ARRAY_SIZE(offsets); i++) {
        qtest_writeq(qts, SRC_PA + 8 * i, DST + offsets[i]);
    }
    g_assert_cmpuint(run_op(IOPF_OP_SCATTER, SRC, 0, ARRAY_SIZE(offsets), 99),
                     ==, IOPF_DESC_OK);
    for (i = 0; i < ARRAY_SIZE(offsets); i++) {
        g_assert_cmpuint(qtest_readq(qts, DST_PA + offsets[i]), ==, 99 + i);
    }
    g_assert_cmpuint(run_op(IOPF_OP_SCATTER, SRC + 4, 0, 1, 0), ==,
                     IOPF_DESC_BAD);
    qtest_writeq(qts, SRC_PA + 8, DST + 3);
    g_assert_cmpuint(run_op(IOPF_OP_SCATTER, SRC, 0, 2, 0), ==, IOPF_DESC_BAD);
    g_assert_cmphex(last_desc(56), ==, DST + 3);
    stop();
}

/* Each queue has a PASID of its own; one of those is not bound. */
static void test_queues(void)
{
    int q, i;

    start(ALL_FEATURES, &plain, 0);
    g_assert_cmpuint(dev_read(IOPF_QUEUES), ==, 64);
    for (q = 0; q < 64; q++) {
        write_cd(CDTAB + 64 * (q + 1), CD_A | CD_R, q + 1);
        write_desc(PAGE + 64 * q, IOPF_OP_NOP, 0, 0, 0, 0);
        start_queue_at(q, q + 1, IOPF_MODE_STALL, 64 * q);
    }
    qtest_memset(qts, CDTAB + 64 * 8, 0, 64);
    for (q = 0; q < 64; q++) {
        dev_write(IOPF_USER(q) + IOPF_U_PROD, 1);
    }
    for (i = 0; i < 50; i++) {
        qtest_clock_step(qts, 1000);
    }
    for (q = 0; q < 64; q++) {
        g_assert_cmpuint(dev_read(IOPF_USER(q) + IOPF_U_CONS), ==, q != 7);
        g_assert_cmphex(dev_read(IOPF_USER(q) + IOPF_U_STATUS), ==,
                        IOPF_STATUS_ENABLED |
                        (q == 7 ? IOPF_STATUS_ERROR | IOPF_DESC_ABORTED << 8 :
                         0));
    }
    expect_event(EVT_BAD_CD, 8);
    stop();
}

/* The next user of a queue does not find what the last one wrote. */
static void test_queue_rebind(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    start_queue(IOPF_MODE_STALL);
    dev_write(IOPF_USER(5) + IOPF_U_IRQ, 1);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    /* not while it works */
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 2 | IOPF_PASID_VALID);
    g_assert_cmphex(dev_read(IOPF_QCTL(5) + IOPF_Q_PASID), ==,
                    1 | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_OFF);
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 2 | IOPF_PASID_VALID);
    g_assert_cmphex(dev_read(IOPF_QCTL(5) + IOPF_Q_PASID), ==,
                    2 | IOPF_PASID_VALID);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_RING_LO), ==, 0);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_RING_SIZE), ==, 0);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_IRQ), ==, 0);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_PROD), ==, 0);
    stop();
}

/* A queue's vector is a write of the function's own, without a PASID. */
static void test_msix(void)
{
    Stream bypass = { .config = 5, .cdmax = 8, .word2 = 1 };
    uint64_t vector = BAR2 + 5 * PCI_MSIX_ENTRY_SIZE;

    start(ALL_FEATURES, &bypass, CD_S);
    set_bits(find_cap(PCI_CAP_ID_MSIX) + PCI_MSIX_FLAGS,
             PCI_MSIX_FLAGS_ENABLE);
    qtest_writel(qts, vector + PCI_MSIX_ENTRY_LOWER_ADDR, PAGE + 0x8000);
    qtest_writel(qts, vector + PCI_MSIX_ENTRY_DATA, 0xabcd);
    qtest_writel(qts, vector + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    start_queue(IOPF_MODE_STALL);
    g_assert_cmpuint(run_op(IOPF_OP_NOP, 0, 0, 0, 0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readl(qts, PAGE + 0x8000), ==, 0);
    dev_write(IOPF_USER(5) + IOPF_U_IRQ, 1);
    g_assert_cmpuint(run_op(IOPF_OP_NOP, 0, 0, 0, 0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readl(qts, PAGE + 0x8000), ==, 0xabcd);

    /* masked, it is pending */
    qtest_writel(qts, PAGE + 0x8000, 0);
    qtest_writel(qts, vector + PCI_MSIX_ENTRY_VECTOR_CTRL, 1);
    g_assert_cmpuint(run_op(IOPF_OP_NOP, 0, 0, 0, 0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readl(qts, PAGE + 0x8000), ==, 0);
    g_assert_cmphex(qtest_readl(qts, BAR2 + 0x8000), ==, 1u << 5);
    qtest_writel(qts, vector + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
    g_assert_cmphex(qtest_readl(qts, PAGE + 0x8000), ==, 0xabcd);
    stop();
}

static void test_queue_stalls(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 4, 0x55555555);
    wait_event();
    g_assert_cmphex(event_word(2), ==, 1u << 31);
    expect_event(EVT_TRANSLATION, 1);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_STATUS), ==,
                    IOPF_STATUS_ENABLED | IOPF_STATUS_BUSY);
    map(VA_MISSING, PAGE + 0x2000);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readl(qts, PAGE + 0x2000), ==, 0x55555555);
    g_assert_cmpuint(counter(IOPF_CNT_STALLS), ==, 1);

    put_desc(1, IOPF_OP_FILL, VA_MISSING + 0x1000, 4, 0);
    wait_event();
    cmd_resume(sid, 0, RESUME_ABORT);
    g_assert_cmpuint(desc_status(1), ==, IOPF_DESC_ABORTED);
    g_assert_cmphex(qtest_readq(qts, PAGE + 64 + 56), ==, VA_MISSING + 0x1000);
    stop();
}

/* Four pages are missing, which makes one group. */
static void test_queue_pri_group(void)
{
    int i;

    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 4 * 4096, 0x66);
    wait_priq(4);
    for (i = 0; i < 4; i++) {
        g_assert_cmphex(ppr_word(i, 1), ==,
                        1u | 1u << 31 | 1u << 29 | (i == 3 ? 1u << 30 : 0));
        g_assert_cmphex(ppr_word(i, 2), ==,
                        ((uint32_t)VA_MISSING + i * 4096) |
                        (ppr_word(0, 2) & 0x1ff));
        map(VA_MISSING + i * 4096, PAGE + 0x3000 + i * 4096);
    }
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 4);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 2);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x3000), ==, 0x66);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x6ff8), ==, 0x66);
    g_assert_cmpuint(counter(IOPF_CNT_GROUPS), ==, 1);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    stop();
}

/* Groups of 1 to 32 pages: one Last each, at the end, and one response */
static void test_pri_group_sizes(void)
{
    uint64_t missing = VA + (1 << 21);
    uint32_t n, i, prgi, at = 0;

    start(ALL_FEATURES, &with_ats, CD_S);
    smmu_write(PRIQ_BASE, (uint32_t)PRIQ | 6);
    start_queue(IOPF_MODE_PRI);
    dev_write(IOPF_QCTL(5) + IOPF_Q_CONCURRENCY, 32);
    for (n = 1; n <= 32; n++) {
        write_desc(PAGE + 64 * ((n - 1) % 16), IOPF_OP_FILL, 0, missing,
                   n * 4096, 0);
        dev_write(IOPF_USER(5) + IOPF_U_PROD, n);
        wait_priq((at + n) % 128);
        prgi = ppr_word(at % 64, 2) & 0x1ff;
        for (i = 0; i < n; i++, at++) {
            g_assert_cmphex(ppr_word(at % 64, 2), ==,
                            ((uint32_t)missing + i * 4096) | prgi);
            g_assert_cmpuint(ppr_word(at % 64, 1) >> 30 & 1, ==, i == n - 1);
        }
        smmu_write(PRIQ_CONS, smmu_read(PRIQ_PROD));
        cmd_pri_resp(1, prgi, 1);
        g_assert_cmpuint(desc_status((n - 1) % 16), ==, IOPF_DESC_INVALID);
        g_assert_cmpuint(counter(IOPF_CNT_GROUPS), ==, n);
        g_assert_cmpuint(counter(IOPF_CNT_RESP_INVALID), ==, n);
    }
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    stop();
}

/* Two queues that miss @pages each */
static void start_two(int pages)
{
    start_queue_at(5, 1, IOPF_MODE_PRI, 0);
    start_queue_at(6, 1, IOPF_MODE_PRI, 0x400);
    write_desc(PAGE, IOPF_OP_FILL, 0, VA + (1 << 21), pages * 4096, 0);
    write_desc(PAGE + 0x400, IOPF_OP_FILL, 0, VA + (2 << 21), pages * 4096, 0);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    dev_write(IOPF_USER(6) + IOPF_U_PROD, 1);
}

/* Groups of several queues interleave, if that is asked for. */
static void test_pri_interleave(void)
{
    uint32_t first, second, i;

    uint64_t alloc;

    start(ALL_FEATURES, &with_ats, CD_S);
    alloc = ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ;
    dev_write(IOPF_CTRL, IOPF_CTRL_INTERLEAVE);
    /* neither can start before the grant grows: another queue has it all */
    qtest_writel(qts, alloc, 1);
    start_queue_at(7, 1, IOPF_MODE_PRI, 0x800);
    write_desc(PAGE + 0x800, IOPF_OP_FILL, 0, VA_MISSING, 8, 0);
    dev_write(IOPF_USER(7) + IOPF_U_PROD, 1);
    wait_priq(1);
    start_two(3);
    wait_priq(1);
    qtest_writel(qts, alloc, 32);
    wait_priq(7);
    first = ppr_word(1, 2) & 0x1ff;
    second = ppr_word(2, 2) & 0x1ff;
    g_assert_cmpuint(first, !=, second);
    for (i = 0; i < 6; i++) {
        g_assert_cmpuint(ppr_word(i + 1, 2) & 0x1ff, ==,
                         i % 2 ? second : first);
        g_assert_cmpuint(ppr_word(i + 1, 1) >> 30 & 1, ==, i >= 4);
    }
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 1);
    cmd_pri_resp(1, second, 1);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 3);
    cmd_pri_resp(1, first, 1);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    stop();
}

/* No more requests than were granted, by whichever queue */
static void test_pri_credit(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    qtest_writel(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ, 3);
    start_two(2);
    wait_priq(2);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 2);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 1);
    wait_priq(4);
    cmd_pri_resp(1, ppr_word(2, 2) & 0x1ff, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_INVALID), ==, 2);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    stop();
}

/* Places where the endpoint may be, and functions that it may have */

#define BELOW_PORT      "-device pcie-root-port,id=rp,addr=2,chassis=1 " \
                        "-device iopf-testdev,bus=rp"

static void test_root_port(void)
{
    uint64_t port = FUNCTION(16);

    boot(ALL_FEATURES BELOW_PORT);
    qtest_writel(qts, port + PCI_PRIMARY_BUS, 0x00010100);
    qtest_writel(qts, port + PCI_MEMORY_BASE, 0x1ff01000);
    qtest_writew(qts, port + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    sid = 0x100;
    enable_endpoint();
    start_smmu(&with_ats, CD_S);
    g_assert_cmpuint(ats_request(VA, IOPF_INJ_READ), ==, IOPF_INJ_OK);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    expect_event(EVT_TRANSLATION, 1);
    cmd_resume(DEVFN, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 0);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 1);
    page_request(1, 4, LAST_READ);
    g_assert_cmphex(ppr_word(0, 0), ==, 0x100);
    cmd_pri_resp(1, 4, 2);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 1);
    stop();
}

static void test_cannot_stall(void)
{
    start(ALL_FEATURES "-device iopf-testdev,addr=1,dma-can-stall=off", &plain,
          CD_S);
    g_assert_cmphex(dev_read(IOPF_STATE), ==, IOPF_STATE_MASTER |
                    IOPF_STATE_PASID | IOPF_STATE_ATS | IOPF_STATE_PRI);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_ABORTED);
    g_assert_cmphex(event_word(2), ==, 0);
    expect_event(EVT_TRANSLATION, 1);
    stop();
}

/*
 * With the PRI queue full the answer comes at once, and again and again. The
 * endpoint neither takes it for a page nor asks at full speed.
 */
static void test_queue_pri_overflow(void)
{
    uint32_t requests;
    int i;

    start(ALL_FEATURES, &with_ats, CD_S);
    fill_priq();
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0x5a);
    for (i = 0; i < 50 && counter(IOPF_CNT_PAGE_REQUESTS) == 8; i++) {
        qtest_clock_step(qts, 1000);
    }
    requests = counter(IOPF_CNT_PAGE_REQUESTS);
    qtest_clock_step(qts, 10 * 1000 * 1000);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS) - requests, <=, 11);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS), >, 9);
    g_assert_cmpuint(qtest_readl(qts, PAGE + 40), ==, IOPF_DESC_PENDING);
    g_assert_cmpuint(counter(IOPF_CNT_DESCRIPTORS), ==, 0);

    smmu_write(PRIQ_CONS, smmu_read(PRIQ_PROD));
    qtest_clock_step(qts, 10 * 1000 * 1000);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, OVFLG | 9);
    map(VA_MISSING, PAGE + 0x2000);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 2);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x5a);
    stop();
}

/* The first of four requests is refused already, and ends the group. */
static void test_queue_pri_off(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    smmu_write(CR0, CR0_ALL & ~CR0_PRIQEN);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 4 * 4096, 0);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_FAILURE);
    g_assert_cmpuint(counter(IOPF_CNT_PAGE_REQUESTS), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_FAILURE), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    stop();
}

static void check_pri_refused(uint32_t resp, uint32_t status)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    wait_priq(1);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, resp);
    g_assert_cmpuint(desc_status(0), ==, status);
    stop();
}

static void test_queue_pri_invalid(void)
{
    check_pri_refused(1, IOPF_DESC_INVALID);
}

/* Response Failure turns PRI off for the function. */
static void test_queue_pri_failure(void)
{
    check_pri_refused(0, IOPF_DESC_FAILURE);
    start(ALL_FEATURES, &with_ats, CD_S);
    page_request(1, 1, LAST_READ);
    cmd_pri_resp(1, 1, 0);
    g_assert_cmphex(dev_read(IOPF_STATE) & IOPF_STATE_PRI, ==, 0);
    g_assert_cmphex(qtest_readw(qts, ext_cap(PCI_EXT_CAP_ID_PRI) +
                                PCI_PRI_STATUS) &
                    (PCI_PRI_STATUS_RF | PCI_PRI_STATUS_STOPPED), ==,
                    PCI_PRI_STATUS_RF | PCI_PRI_STATUS_STOPPED);
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, 1, VA, LAST_READ), ==,
                     IOPF_INJ_REFUSED);
    stop();
}

static void test_ring_past_memory(void)
{
    int i;

    start(ALL_FEATURES, &plain, CD_S);
    map(VA, 0xff000000000ULL);
    start_queue(IOPF_MODE_STALL);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, 1);
    for (i = 0; i < 50; i++) {
        qtest_clock_step(qts, 1000);
    }
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_STATUS), ==,
                    IOPF_STATUS_ENABLED | IOPF_STATUS_ERROR |
                    IOPF_DESC_BUS << 8);
    stop();
}

/* The STAG of a function that was reset is not reused before its answer. */
static void test_flr(void)
{
    start(ALL_FEATURES, &plain, CD_S);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    wait_event();
    function_level_reset();
    enable_endpoint();
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_STATUS), ==, 0);
    g_assert_cmpuint(counter(IOPF_CNT_STALLS), ==, 0);
    eat_event();

    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(2), ==, 1u << 31 | 1);
    cmd_resume(sid, 0, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 0);
    g_assert_cmpuint(counter(IOPF_CNT_RETRIES), ==, 0);
    cmd_resume(sid, 1, RESUME_RETRY);
    g_assert_cmpuint(stall_answer(), ==, 1);
    stop();
}

/* The answer to a request from before the reset meets nobody. */
static void test_flr_pri(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    wait_priq(1);
    function_level_reset();
    enable_bars();
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 2);
    g_assert_cmpuint(counter(IOPF_CNT_LATE), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 0);
    /* once is enough */
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 2);
    g_assert_cmpuint(counter(IOPF_CNT_NOTHING), ==, 1);

    /* nothing is enabled; a request after the reset has to be forced */
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, 1, VA, LAST_READ), ==,
                     IOPF_INJ_REFUSED);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_FORCE);
    page_request(1, 1, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 2);
    stop();
}

/*
 * Where nobody knows PASIDs the endpoint is a device as any other: the SMMU
 * translates what it accesses.
 */
static void test_address_space(void)
{
    Stream stream = { .config = 5 };

    start("", &stream, CD_R);
    write_cd(CDTAB, CD_A | CD_R, 7);
    map(VA_RO, PAGE + 0x1000);
    start_queue(IOPF_MODE_STALL);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_OFF);
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 0);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_STALL);
    dev_write(IOPF_USER(5) + IOPF_U_RING_LO, (uint32_t)VA);
    dev_write(IOPF_USER(5) + IOPF_U_RING_SIZE, 4);
    put_desc(0, IOPF_OP_FILL, VA_RO, 8, 0x1234567812345678ULL);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x1000), ==,
                    0x1234567812345678ULL);
    /* memory is there, but not for this device */
    put_desc(1, IOPF_OP_FILL, PAGE + 0x2000, 8, ~0ULL);
    g_assert_cmpuint(desc_status(1), ==, IOPF_DESC_BUS);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0);
    stop();
}

#define BIG             0x20000000ULL
#define BIG_PA          0x42000000ULL
#define BIG_LEN         (32 << 20)

/* One descriptor does not keep the others waiting until it is done. */
static void test_budget(void)
{
    uint32_t i, bytes, last = 0, parts = 0;

    start(ALL_FEATURES, &plain, CD_S);
    for (i = 0; i < BIG_LEN >> 21; i++) {
        qtest_writeq(qts, TTB + 0x1000 + ((BIG >> 21) + i) * 8,
                     (BIG_PA + (i << 21)) | 0x441);
    }
    start_queue(IOPF_MODE_STALL);
    dev_write(IOPF_QCTL(5) + IOPF_Q_CONCURRENCY, 32);
    put_desc(0, IOPF_OP_FILL, BIG, BIG_LEN, 0x55);
    do {
        bytes = counter(IOPF_CNT_BYTES);
        parts += bytes != last;
        last = bytes;
    } while (!qtest_readl(qts, PAGE + 40));
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, BIG_PA + BIG_LEN - 8), ==, 0x55);
    g_assert_cmpuint(parts, >=, 5);
    stop();
}

static uint64_t pri_reg(uint32_t reg)
{
    return ext_cap(PCI_EXT_CAP_ID_PRI) + reg;
}

static bool pri_stopped(void)
{
    return qtest_readw(qts, pri_reg(PCI_PRI_STATUS)) & PCI_PRI_STATUS_STOPPED;
}

/* Stopped says that no answer is to come: PCIe Base section 7.8.10.3 */
static void test_pri_stopped(void)
{
    start_pri(&with_ats);
    g_assert_false(pri_stopped());
    page_request(1, 4, LAST_READ);
    page_request(1, 5, LAST_READ);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), 0);
    g_assert_false(pri_stopped());
    cmd_pri_resp(1, 4, 2);
    g_assert_false(pri_stopped());
    /* to turn it on now is a driver's fault */
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 0);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), PCI_PRI_CTRL_ENABLE);
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 1);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), 0);
    cmd_pri_resp(1, 5, 1);
    g_assert_true(pri_stopped());
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), PCI_PRI_CTRL_ENABLE);
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_GROUPS), ==, 2);
    g_assert_cmpuint(counter(IOPF_CNT_ANSWERED), ==, 2);
    stop();
}

/* Section 7.8.10.2: a reset is for an interface that is off. */
static void test_pri_reset(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_PRI);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0);
    wait_priq(1);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL),
                 PCI_PRI_CTRL_ENABLE | PCI_PRI_CTRL_RESET);
    g_assert_cmphex(qtest_readw(qts, pri_reg(PCI_PRI_CTRL)), ==,
                    PCI_PRI_CTRL_ENABLE);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 1);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), PCI_PRI_CTRL_RESET);
    g_assert_cmpuint(dev_read(IOPF_PRI_IN_FLIGHT), ==, 0);
    g_assert_true(pri_stopped());
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_FAILURE);
    g_assert_cmpuint(counter(IOPF_CNT_FORGOTTEN), ==, 1);
    /* the answer is late, and nobody's fault */
    cmd_pri_resp(1, ppr_word(0, 2) & 0x1ff, 2);
    g_assert_cmpuint(counter(IOPF_CNT_LATE), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 0);
    stop();
}

/* A failure ends all groups; Response Failure is cleared by writing a one. */
static void test_pri_failure_ends_all(void)
{
    start_pri(&with_ats);
    page_request(1, 4, LAST_READ);
    page_request(1, 5, LAST_READ);
    cmd_pri_resp(1, 4, 0);
    g_assert_cmpuint(counter(IOPF_CNT_ANSWERED), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_FORGOTTEN), ==, 1);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), PCI_PRI_CTRL_RESET);
    qtest_writew(qts, pri_reg(PCI_PRI_CTRL), PCI_PRI_CTRL_ENABLE);
    g_assert_cmphex(dev_read(IOPF_STATE) & IOPF_STATE_PRI, ==, 0);
    cmd_pri_resp(1, 5, 2);
    g_assert_cmphex(qtest_readw(qts, pri_reg(PCI_PRI_STATUS)) &
                    PCI_PRI_STATUS_UPRGI, ==, 0);
    qtest_writew(qts, pri_reg(PCI_PRI_STATUS), PCI_PRI_STATUS_RF);
    g_assert_cmphex(dev_read(IOPF_STATE) & IOPF_STATE_PRI, !=, 0);
    stop();
}

/* What PCIe Base leaves undefined is counted. */
static void test_misconfig(void)
{
    uint64_t pasid;

    start_machine(ALL_FEATURES);
    pasid = ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL;
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 0);
    qtest_writel(qts, pri_reg(PCI_PRI_ALLOC_REQ), 31);
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 1);
    qtest_writew(qts, pasid, 0);
    g_assert_cmpuint(counter(IOPF_CNT_MISCONFIG), ==, 2);
    stop();
}

/* A failure of software's own has the PASID; the SMMU's own never has. */
static void test_failure_not_automatic(void)
{
    start_pri(&with_ats);
    page_request(1, 4, LAST_READ);
    cmd_pri_resp(0, 4, 0);
    g_assert_cmpuint(counter(IOPF_CNT_NOT_AUTO), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_FAILURE), ==, 0);
    smmu_write(CR0, CR0_ALL & ~CR0_PRIQEN);
    page_request(1, 5, LAST_READ);
    g_assert_cmpuint(counter(IOPF_CNT_NOT_AUTO), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_FAILURE), ==, 1);
    stop();
}

#define LATE_ENDPOINT   "-device iopf-testdev,addr=1,x-dma-delay-us=2000," \
                        "x-delay-seed=7"

/* Start to fill the page at @va, and stop when it is translated. */
static void start_late(uint32_t mode, uint64_t va)
{
    int requests = mode == IOPF_MODE_STALL ? IOPF_CNT_TRANSLATIONS :
                                             IOPF_CNT_ATS_REQUESTS;
    int i;

    start(ALL_FEATURES LATE_ENDPOINT, &with_ats, CD_S);
    map(va, PAGE + 0x2000);
    start_queue(mode);
    put_desc(0, IOPF_OP_FILL, va, 8, 0x99);
    for (i = 0; i < 2000 && counter(requests) < 2; i++) {
        qtest_clock_step(qts, 5 * 1000);
    }
    g_assert_cmpuint(counter(requests), ==, 2);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0);
    g_assert_cmphex(dev_read(IOPF_USER(5) + IOPF_U_STATUS), ==,
                    IOPF_STATUS_ENABLED | IOPF_STATUS_BUSY |
                    IOPF_STATUS_MOVING);
}

/*
 * The invalidation is not confirmed before the access is over that was there
 * first. It is by the old translation; the next one by the new.
 */
static void test_late_ats(void)
{
    int i;

    start_late(IOPF_MODE_ATS, VA_MISSING);
    map(VA_MISSING, PAGE + 0x3000);
    command(0x12, 0, 0, 0);                             /* TLBI_NH_ALL */
    command(0x30, 0, 0, 0);
    submit(0x40 | ATC_SSV | 1u << 12, sid, (uint32_t)VA_MISSING, 0);
    sync_submit();
    g_assert_false(cmdq_idle());
    for (i = 0; i < 2000 && !cmdq_idle(); i++) {
        qtest_clock_step(qts, 5 * 1000);
    }
    g_assert_true(cmdq_idle());
    g_assert_cmphex(smmu_read(GERROR), ==, 0);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x99);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x3000), ==, 0);
    g_assert_cmpuint(desc_status(0), ==, IOPF_DESC_OK);
    put_desc(1, IOPF_OP_FILL, VA_MISSING, 8, 0x77);
    g_assert_cmpuint(desc_status(1), ==, IOPF_DESC_OK);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x99);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x3000), ==, 0x77);
    g_assert_cmpuint(counter(IOPF_CNT_STALE_DMA), ==, 0);
    stop();
}

/* A queue that is turned off is busy until its data has arrived. */
static void test_late_stop(void)
{
    uint64_t status;
    int i;

    start_late(IOPF_MODE_STALL, VA_MISSING);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, IOPF_MODE_OFF);
    status = IOPF_QCTL(5) + IOPF_Q_STATUS;
    g_assert_cmphex(dev_read(status), ==,
                    IOPF_STATUS_BUSY | IOPF_STATUS_MOVING);
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 0);
    g_assert_cmphex(dev_read(IOPF_QCTL(5) + IOPF_Q_PASID), !=, 0);
    for (i = 0; i < 2000 && dev_read(status); i++) {
        qtest_clock_step(qts, 5 * 1000);
    }
    g_assert_cmphex(dev_read(status), ==, 0);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0x99);
    g_assert_cmpuint(qtest_readl(qts, PAGE + 40), ==, IOPF_DESC_PENDING);
    stop();
}

/* A reset ends what is in flight, and nothing moves after it. */
static void test_late_flr(void)
{
    start_late(IOPF_MODE_STALL, VA_MISSING);
    function_level_reset();
    qtest_clock_step(qts, 10 * 1000 * 1000);
    g_assert_cmphex(qtest_readq(qts, PAGE + 0x2000), ==, 0);
    enable_bars();
    g_assert_cmphex(dev_read(IOPF_QCTL(5) + IOPF_Q_STATUS), ==, 0);
    sync_submit();
    wait_cmdq();
    stop();
}

/* The same seed is the same run. */
static uint32_t run_by_seed(const char *endpoint)
{
    g_autofree char *options = g_strconcat(ALL_FEATURES, endpoint, NULL);
    uint32_t i;

    start(options, &with_ats, CD_S);
    map(VA_MISSING, PAGE + 0x2000);
    start_queue(IOPF_MODE_ATS);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0x99);
    for (i = 0; i < 4000 && !qtest_readl(qts, PAGE + 40); i++) {
        qtest_clock_step(qts, 5 * 1000);
        /* let the endpoint's bottom half run */
        dev_read(IOPF_ID);
        dev_read(IOPF_ID);
    }
    stop();
    return i;
}

static void test_late_seed(void)
{
    uint32_t once = run_by_seed(LATE_ENDPOINT);

    g_assert_cmpuint(ABS((int)(once - run_by_seed(LATE_ENDPOINT))), <=, 6);
    g_assert_cmpuint(ABS((int)(once - run_by_seed(
        "-device iopf-testdev,addr=1,x-dma-delay-us=2000,x-delay-seed=8"))), >,
        6);
}

const IopfTest iopf_tests_endpoint[] = {
    { "endpoint/enables", test_enables },
    { "endpoint/untranslated", test_queue_untranslated },
    { "endpoint/ats", test_queue_ats },
    { "endpoint/copy-compare", test_op_copy_compare },
    { "endpoint/checksum", test_op_checksum },
    { "endpoint/scatter", test_op_scatter },
    { "endpoint/queues", test_queues },
    { "endpoint/rebind", test_queue_rebind },
    { "endpoint/msix", test_msix },
    { "endpoint/stalls", test_queue_stalls },
    { "endpoint/cannot-stall", test_cannot_stall },
    { "endpoint/pri-group", test_queue_pri_group },
    { "endpoint/pri-sizes", test_pri_group_sizes },
    { "endpoint/pri-interleave", test_pri_interleave },
    { "endpoint/pri-credit", test_pri_credit },
    { "endpoint/pri-overflow", test_queue_pri_overflow },
    { "endpoint/pri-off", test_queue_pri_off },
    { "endpoint/pri-invalid", test_queue_pri_invalid },
    { "endpoint/pri-failure", test_queue_pri_failure },
    { "endpoint/ring-past-memory", test_ring_past_memory },
    { "endpoint/flr", test_flr },
    { "endpoint/flr-pri", test_flr_pri },
    { "endpoint/root-port", test_root_port },
    { "endpoint/address-space", test_address_space },
    { "endpoint/budget", test_budget },
    { "endpoint/pri-stopped", test_pri_stopped },
    { "endpoint/pri-reset", test_pri_reset },
    { "endpoint/pri-failure-all", test_pri_failure_ends_all },
    { "endpoint/misconfig", test_misconfig },
    { "endpoint/not-automatic", test_failure_not_automatic },
    { "endpoint/late-ats", test_late_ats },
    { "endpoint/late-stop", test_late_stop },
    { "endpoint/late-flr", test_late_flr },
    { "endpoint/late-seed", test_late_seed },
    { }
};
