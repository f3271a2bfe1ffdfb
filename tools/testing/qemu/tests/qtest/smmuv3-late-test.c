/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMMUv3: what a machine that is late shows of a driver that does not wait
 *
 * Each driver here is a few lines that do one thing to the SMMU, rightly or
 * wrongly. Right or wrong, it passes on a machine that does everything at once;
 * on one that is late the wrong one must fail, and the right one must not, with
 * any seed. The rest are rules of the architecture that are easily broken, each
 * by a test of its own. Sections are those of Arm IHI 0070 H.a.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "qobject/qdict.h"
#include "qobject/qlist.h"
#include "hw/misc/iopf_testdev.h"
#include "standard-headers/linux/pci_regs.h"

#define SMMU            0x09050000ULL
#define GICD            0x08000000ULL
#define ECAM            0x4010000000ULL
#define CFG(sid)        (ECAM + (sid) * 4096)
#define INTID_EVTQ      (32 + 74)
#define INTID_PRIQ      (32 + 75)

#define CR0             0x20
#define   CR0_SMMUEN    0x01
#define   CR0_PRIQEN    0x02
#define   CR0_EVENTQEN  0x04
#define   CR0_CMDQEN    0x08
#define   CR0_ATSCHK    0x10
#define   CR0_ALL       (CR0_SMMUEN | CR0_PRIQEN | CR0_EVENTQEN | CR0_CMDQEN)
#define CR0ACK          0x24
#define IRQ_CTRL        0x50
#define IRQ_CTRLACK     0x54
#define GERROR          0x60
#define   EVENTQ_ABT    (1u << 2)
#define GERRORN         0x64
#define STRTAB_BASE     0x80
#define STRTAB_CFG      0x88
#define CMDQ_BASE       0x90
#define CMDQ_PROD       0x98
#define CMDQ_CONS       0x9c
#define EVENTQ_BASE     0xa0
#define EVENTQ_PROD     0xa8
#define EVENTQ_CONS     0xac
#define PRIQ_BASE       0xc0
#define PRIQ_PROD       0xc8
#define PRIQ_CONS       0xcc
#define PRIQ_IRQ_CFG2   0xdc

#define STRTAB          0x41000000ULL
#define CDTAB           0x41020000ULL
#define TTB             0x41060000ULL
#define S2TTB           0x41080000ULL
#define CMDQ            0x41100000ULL
#define EVENTQ          0x41110000ULL
#define PRIQ            0x41120000ULL
#define PAGE            0x41200000ULL
#define CMDQ_LOG2       6
#define EVENTQ_LOG2     4
#define PRIQ_LOG2       3

#define SID             8
#define OTHER_SID       16
#define VA              0x12345000ULL
#define VA_MISSING      0x12347000ULL

#define CD_S            (1u << 12)
#define CD_R            (1u << 13)
#define CD_A            (1u << 14)

#define EVT_BAD_STE     0x04
#define EVT_BAD_ATS     0x05
#define EVT_FORBIDDEN   0x07
#define EVT_TRANSLATION 0x10

#define EATS            (1u << 28)
#define PPAR            (1u << 18)

#define CMD_CFGI_STE    0x03
#define CMD_CFGI_CD     0x05
#define CMD_TLBI_VA     0x12
#define CMD_ATC_INV     0x40
#define CMD_PRI_RESP    0x41
#define CMD_RESUME      0x44
#define CMD_SYNC        0x46
#define SSV             (1u << 11)
#define SSID_1          (1u << 12)
#define RETRY           (1u << 12)

#define FEATURES        "-global arm-smmuv3.ssidsize=16 " \
                        "-global arm-smmuv3.stall-model=0 " \
                        "-global arm-smmuv3.ats=on -global arm-smmuv3.pri=on "
#define TWO_ENDPOINTS   "-device iopf-testdev,addr=1 " \
                        "-device iopf-testdev,addr=2 "
#define DELAY_US        1000

static QTestState *qts;
/* The function that is spoken to */
static uint32_t sid;
static uint64_t bar0;

static uint32_t smmu_read(uint32_t reg)
{
    return qtest_readl(qts, SMMU + reg);
}

static void smmu_write(uint32_t reg, uint32_t val)
{
    qtest_writel(qts, SMMU + reg, val);
}

static uint32_t dev_read(uint32_t reg)
{
    return qtest_readl(qts, bar0 + reg);
}

static void dev_write(uint32_t reg, uint32_t val)
{
    qtest_writel(qts, bar0 + reg, val);
}

static uint32_t device_counter(int n)
{
    return dev_read(IOPF_COUNTER(n));
}

/* Whatever was put off has been done, and the endpoint has heard of it. */
static void settle(void)
{
    int i;

    for (i = 0; i < 8; i++) {
        qtest_clock_step(qts, DELAY_US * 1000);
    }
}

static void wait_until(uint32_t reg, uint32_t mask, uint32_t value)
{
    int i;

    for (i = 0; i < 400 && (smmu_read(reg) & mask) != value; i++) {
        qtest_clock_step(qts, 20 * 1000);
    }
    g_assert_cmphex(smmu_read(reg) & mask, ==, value);
}

/* The machine */

static void write_pte(uint64_t va, uint64_t pte)
{
    qtest_writeq(qts, TTB + (va >> 30) * 8, (TTB + 0x1000) | 3);
    qtest_writeq(qts, TTB + 0x1000 + (va >> 21 & 511) * 8, (TTB + 0x2000) | 3);
    qtest_writeq(qts, TTB + 0x2000 + (va >> 12 & 511) * 8, pte);
}

static void map(uint64_t va, uint64_t pa)
{
    write_pte(va, pa | 0x443);
}

static void write_ste(uint32_t config, uint32_t cdmax, uint32_t word2)
{
    uint64_t ste = STRTAB + sid * 64;

    qtest_memset(qts, ste, 0, 64);
    qtest_writel(qts, ste, 1 | config << 1 | (uint32_t)CDTAB);
    qtest_writel(qts, ste + 4, cdmax << 27);
    qtest_writel(qts, ste + 8, word2);
}

static void write_cd(int ssid, uint32_t flags)
{
    uint64_t cd = CDTAB + 64 * ssid;

    qtest_memset(qts, cd, 0, 64);
    qtest_writel(qts, cd, 25 | 1u << 30 | 1u << 31);
    qtest_writel(qts, cd + 4, 4 | 1u << 9 | CD_A | flags | 1u << 16);
    qtest_writeq(qts, cd + 8, TTB);
}

static uint64_t ext_cap(uint16_t id)
{
    uint32_t pos = 0x100, header;

    while ((header = qtest_readl(qts, CFG(sid) + pos)) &&
           (header & 0xffff) != id) {
        pos = header >> 20;
    }
    g_assert_cmphex(header & 0xffff, ==, id);
    return CFG(sid) + pos;
}

static void choose(uint32_t which)
{
    sid = which;
    bar0 = which == SID ? 0x10000000 : 0x12000000;
}

static void enable_endpoint(void)
{
    qtest_writel(qts, CFG(sid) + PCI_BASE_ADDRESS_0, bar0);
    qtest_writel(qts, CFG(sid) + PCI_BASE_ADDRESS_1, 0);
    qtest_writel(qts, CFG(sid) + PCI_BASE_ADDRESS_2, bar0 + 0x1000000);
    qtest_writew(qts, CFG(sid) + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL,
                 PCI_PASID_CTRL_ENABLE);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_ATS) + PCI_ATS_CTRL,
                 PCI_ATS_CTRL_ENABLE);
    qtest_writel(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_ALLOC_REQ, 32);
    qtest_writew(qts, ext_cap(PCI_EXT_CAP_ID_PRI) + PCI_PRI_CTRL,
                 PCI_PRI_CTRL_ENABLE);
}

static void boot(const char *options)
{
    qts = qtest_initf("-M virt,iommu=smmuv3,gic-version=3 -cpu cortex-a57 "
                      "-m 256M -nodefaults %s%s", options,
                      strstr(options, "-device ") ? "" :
                      " -device iopf-testdev,addr=1");
    choose(SID);
}

static void start_smmu(uint32_t word2, uint32_t cd_flags)
{
    enable_endpoint();
    write_ste(5, 8, word2);
    write_cd(1, cd_flags);
    map(VA, PAGE);
    smmu_write(STRTAB_BASE, (uint32_t)STRTAB);
    smmu_write(STRTAB_CFG, 9);
    smmu_write(CMDQ_BASE, (uint32_t)CMDQ | CMDQ_LOG2);
    smmu_write(EVENTQ_BASE, (uint32_t)EVENTQ | EVENTQ_LOG2);
    smmu_write(PRIQ_BASE, (uint32_t)PRIQ | PRIQ_LOG2);
    smmu_write(IRQ_CTRL, 7);
    smmu_write(CR0, CR0_ALL);
    wait_until(CR0ACK, ~0u, CR0_ALL);
    wait_until(IRQ_CTRLACK, ~0u, 7);
}

static void start(const char *options, uint32_t word2, uint32_t cd_flags)
{
    boot(options);
    start_smmu(word2, cd_flags);
}

/* @seed 0: a machine that does everything at once */
static void start_seed(unsigned int seed, uint32_t word2, uint32_t cd_flags)
{
    g_autofree char *late = g_strdup_printf(
        FEATURES "-global arm-smmuv3.x-delay-seed=%u "
        "-global arm-smmuv3.x-delay-max-us=%u ", seed, DELAY_US);

    start(seed ? late : FEATURES, word2, cd_flags);
}

static void stop(void)
{
    qtest_quit(qts);
    qts = NULL;
}

/* How many seeds: IOPF_SEEDS, or a few */
static unsigned int seeds(void)
{
    const char *env = getenv("IOPF_SEEDS");

    return env ? MAX(1, atoi(env)) : 3;
}

/* A counter of the SMMU, wherever the machine has put that */
static int64_t smmu_counter(const char *name)
{
    g_autofree char *path = NULL;
    QDict *response;
    int64_t value;
    int i;

    for (i = 0; i < 200; i++) {
        path = g_strdup_printf("/machine/unattached/device[%d]", i);
        response = qtest_qmp(qts, "{ 'execute': 'qom-get', 'arguments': "
                             "{ 'path': %s, 'property': %s } }", path, name);
        g_free(g_steal_pointer(&path));
        if (qdict_haskey(response, "return")) {
            value = qdict_get_int(response, "return");
            qobject_unref(response);
            return value;
        }
        qobject_unref(response);
    }
    g_assert_not_reached();
}

/* Queues */

static void submit(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    uint32_t mask = (1u << CMDQ_LOG2) - 1, prod = smmu_read(CMDQ_PROD);
    uint64_t addr = CMDQ + (prod & mask) * 16;

    qtest_writel(qts, addr, w0);
    qtest_writel(qts, addr + 4, w1);
    qtest_writel(qts, addr + 8, w2);
    qtest_writel(qts, addr + 12, w3);
    smmu_write(CMDQ_PROD, (prod + 1) & (mask << 1 | 1));
}

static bool cmdq_idle(void)
{
    return (smmu_read(CMDQ_CONS) & 0xffffff) == smmu_read(CMDQ_PROD);
}

static void wait_cmdq(void)
{
    int i;

    for (i = 0; i < 400 && !cmdq_idle(); i++) {
        qtest_clock_step(qts, 20 * 1000);
    }
    g_assert_true(cmdq_idle());
}

static void cmd_sync(void)
{
    submit(CMD_SYNC, 0, 0, 0);
    wait_cmdq();
}

static void resume(uint32_t stag)
{
    submit(CMD_RESUME | RETRY, sid, stag, 0);
}

/* Records in the event queue that have not been consumed */
static uint32_t events(void)
{
    return (smmu_read(EVENTQ_PROD) - smmu_read(EVENTQ_CONS)) &
           ((2u << EVENTQ_LOG2) - 1);
}

static uint32_t event_word(int word)
{
    uint32_t cons = smmu_read(EVENTQ_CONS) & ((1u << EVENTQ_LOG2) - 1);

    return qtest_readl(qts, EVENTQ + 32 * cons + 4 * word);
}

static void eat_event(void)
{
    uint32_t cons = smmu_read(EVENTQ_CONS);

    smmu_write(EVENTQ_CONS, (cons + 1) & ((2u << EVENTQ_LOG2) - 1));
}

static void eat_events(void)
{
    while (events()) {
        eat_event();
    }
}

static uint32_t requests(void)
{
    return (smmu_read(PRIQ_PROD) - smmu_read(PRIQ_CONS)) &
           ((2u << PRIQ_LOG2) - 1);
}

/* Requests of the endpoint */

static uint32_t inject(uint32_t cmd, uint32_t ssid, uint64_t addr,
                       uint32_t flags)
{
    dev_write(IOPF_INJ_PASID, ssid ? ssid | IOPF_PASID_VALID : 0);
    dev_write(IOPF_INJ_ADDR_LO, addr);
    dev_write(IOPF_INJ_ADDR_HI, addr >> 32);
    dev_write(IOPF_INJ_FLAGS, flags);
    dev_write(IOPF_INJ_CMD, cmd);
    return dev_read(IOPF_INJ_RESULT) & 15;
}

static uint32_t translate(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, 1, addr, IOPF_INJ_READ);
}

static uint32_t translate_stall(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, 1, addr, IOPF_INJ_READ | IOPF_INJ_STALL);
}

static uint32_t ats_request(uint64_t addr)
{
    return inject(IOPF_INJ_ATS_REQUEST, 1, addr, IOPF_INJ_READ);
}

static uint32_t translated(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATED, 0, addr, IOPF_INJ_READ);
}

#define LAST_READ (IOPF_INJ_READ | IOPF_INJ_LAST)

static void page_request(uint32_t prgi, uint32_t flags)
{
    dev_write(IOPF_INJ_PRGI, prgi);
    inject(IOPF_INJ_PAGE_REQUEST, 1, VA, flags);
}

/* Answers to stalled transactions that the endpoint has had */
static uint32_t answers(void)
{
    return device_counter(IOPF_CNT_RETRIES) +
           device_counter(IOPF_CNT_STALL_ABORTS);
}

static void watch_irq(int intid)
{
    uint64_t cfg = GICD + 0xc00 + intid / 16 * 4;

    qtest_writel(qts, cfg, qtest_readl(qts, cfg) | 2u << intid % 16 * 2);
    qtest_writel(qts, GICD + 0x280 + intid / 32 * 4, 1u << intid % 32);
}

static bool irq_pending(int intid)
{
    return qtest_readl(qts, GICD + 0x200 + intid / 32 * 4) >> intid % 32 & 1;
}

/* The drivers: right, or wrong in one respect. They return what came of it. */

static void tlbi_va(uint64_t va)
{
    submit(CMD_TLBI_VA, 1u << 16, (uint32_t)va | 1, va >> 32);
}

/* A page is unmapped; nobody may use it after that. */
static bool drive_tlbi_without_sync(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    write_pte(VA, 0);
    tlbi_va(VA);
    if (!wrong) {
        cmd_sync();
    }
    ok = translate(VA) == IOPF_INJ_ABORTED;
    stop();
    return ok;
}

/* An address space is taken from its PASID. */
static bool drive_cfgi_without_sync(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    qtest_memset(qts, CDTAB + 64, 0, 64);
    submit(CMD_CFGI_CD | SSID_1, sid, 1, 0);
    if (!wrong) {
        cmd_sync();
    }
    ok = translate(VA) == IOPF_INJ_ABORTED;
    stop();
    return ok;
}

static void start_ring(uint32_t mode)
{
    dev_write(IOPF_QCTL(5) + IOPF_Q_PASID, 1 | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(5) + IOPF_Q_CONCURRENCY, 1);
    dev_write(IOPF_QCTL(5) + IOPF_Q_MODE, mode);
    dev_write(IOPF_USER(5) + IOPF_U_RING_LO, (uint32_t)VA);
    dev_write(IOPF_USER(5) + IOPF_U_RING_SIZE, 4);
}

/* Fill eight bytes at @va; the descriptor's status */
static uint32_t fill(int n, uint64_t va)
{
    uint64_t desc = PAGE + 64 * n;
    int i;

    qtest_memset(qts, desc, 0, 64);
    qtest_writel(qts, desc, IOPF_OP_FILL);
    qtest_writeq(qts, desc + 16, va);
    qtest_writeq(qts, desc + 24, 8);
    qtest_writeq(qts, desc + 32, 0x4242);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, n + 1);
    for (i = 0; i < 100 && !qtest_readl(qts, desc + 40); i++) {
        qtest_clock_step(qts, 100);
    }
    return qtest_readl(qts, desc + 40);
}

/* A page is unmapped that the endpoint has the translation of. */
static bool drive_atc_inv_without_sync(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, EATS, CD_R);
    map(VA + 0x1000, PAGE + 0x1000);
    start_ring(IOPF_MODE_ATS);
    g_assert_cmpuint(fill(0, VA + 0x1000), ==, IOPF_DESC_OK);
    write_pte(VA + 0x1000, 0);
    tlbi_va(VA + 0x1000);
    cmd_sync();
    submit(CMD_ATC_INV | SSV | SSID_1, sid, (uint32_t)VA + 0x1000, 0);
    if (!wrong) {
        cmd_sync();
    }
    ok = fill(1, VA + 0x1000) == IOPF_DESC_DENIED;
    stop();
    return ok;
}

/* ATS is turned on for a stream that was in use before: section 3.9.2 */
static bool drive_eats_without_cfgi(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    write_ste(5, 8, EATS);
    if (!wrong) {
        submit(CMD_CFGI_STE, sid, 1, 0);
        cmd_sync();
    }
    ok = ats_request(VA) == IOPF_INJ_OK;
    stop();
    return ok;
}

static bool drive_atschk_without_cfgi(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    smmu_write(CR0, CR0_ALL | CR0_ATSCHK);
    wait_until(CR0ACK, CR0_ATSCHK, CR0_ATSCHK);
    if (!wrong) {
        submit(CMD_CFGI_STE, sid, 1, 0);
        cmd_sync();
    }
    ok = translated(PAGE) == IOPF_INJ_ABORTED;
    stop();
    return ok;
}

/* The answer that the SMMU gives when its queue is full has a PASID or none. */
static bool drive_ppar_without_cfgi(unsigned int seed, bool wrong)
{
    bool ok;
    int i;

    start_seed(seed, EATS, CD_R);
    g_assert_cmpuint(ats_request(VA), ==, IOPF_INJ_OK);
    write_ste(5, 8, EATS | PPAR);
    if (!wrong) {
        submit(CMD_CFGI_STE, sid, 1, 0);
        cmd_sync();
    }
    for (i = 0; i <= 1 << PRIQ_LOG2; i++) {
        page_request(i, LAST_READ);
    }
    ok = dev_read(IOPF_INJ_RESP_PASID) == (1 | IOPF_PASID_VALID);
    stop();
    return ok;
}

/*
 * An address space goes away: the device is stopped, its PASID as well, and
 * what it said before is taken from the queue. Nothing must come later.
 */
static bool drive_drain_reads_prod_once(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_S);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    qtest_memset(qts, CDTAB + 64, 0, 64);
    submit(CMD_CFGI_CD | SSID_1, sid, 1, 0);
    if (!wrong) {
        cmd_sync();
    }
    eat_events();
    settle();
    ok = !events();
    stop();
    return ok;
}

/* The same of page requests; an invalidation pushes them to the SMMU. */
static bool drive_pri_drain_reads_prod_once(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, EATS, CD_R);
    page_request(1, LAST_READ);
    if (!wrong) {
        submit(CMD_ATC_INV | SSV | SSID_1, sid, 52, 0);
        cmd_sync();
    }
    smmu_write(PRIQ_CONS, smmu_read(PRIQ_PROD));
    settle();
    ok = !requests();
    stop();
    return ok;
}

/* What a driver's interrupt thread does */
static void irq_thread(void)
{
    if (irq_pending(INTID_EVTQ)) {
        eat_events();
    }
}

/*
 * The queue is not empty, and the thread that empties it has not run yet: to
 * flush what it had given to others by now is no drain.
 */
static bool drive_flush_without_irq_thread(unsigned int seed, bool wrong)
{
    bool ok;
    int i;

    start_seed(seed, 0, CD_S);
    watch_irq(INTID_EVTQ);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    cmd_sync();
    irq_thread();
    for (i = 0; i < 400 && events() && !wrong; i++) {
        qtest_clock_step(qts, 20 * 1000);
        irq_thread();
    }
    ok = !events();
    stop();
    return ok;
}

/* The event queue is turned off: sections 6.3.9.4 and 7.2.1 */
static bool drive_eventqen_without_ack(unsigned int seed, bool wrong)
{
    uint32_t prod;
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA_MISSING), ==, IOPF_INJ_ABORTED);
    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    if (!wrong) {
        wait_until(CR0ACK, CR0_EVENTQEN, 0);
    }
    prod = smmu_read(EVENTQ_PROD);
    settle();
    ok = smmu_read(EVENTQ_PROD) == prod;
    stop();
    return ok;
}

static bool drive_priqen_without_ack(unsigned int seed, bool wrong)
{
    uint32_t prod;
    bool ok;

    start_seed(seed, EATS, CD_R);
    page_request(1, LAST_READ);
    smmu_write(CR0, CR0_ALL & ~CR0_PRIQEN);
    if (!wrong) {
        wait_until(CR0ACK, CR0_PRIQEN, 0);
    }
    prod = smmu_read(PRIQ_PROD);
    settle();
    ok = smmu_read(PRIQ_PROD) == prod;
    stop();
    return ok;
}

/* The interrupt is turned off, and its handler is gone. */
static bool drive_irq_off_without_ack(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    g_assert_cmpuint(translate(VA_MISSING), ==, IOPF_INJ_ABORTED);
    cmd_sync();
    smmu_write(IRQ_CTRL, 0);
    if (!wrong) {
        wait_until(IRQ_CTRLACK, ~0u, 0);
    }
    watch_irq(INTID_EVTQ);
    settle();
    ok = !irq_pending(INTID_EVTQ);
    stop();
    return ok;
}

/* A queue moves to other memory while it is on, as far as the SMMU goes. */
static bool drive_base_without_ack(unsigned int seed, bool wrong)
{
    bool ok;

    start_seed(seed, 0, CD_R);
    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    if (!wrong) {
        wait_until(CR0ACK, CR0_EVENTQEN, 0);
    }
    smmu_write(EVENTQ_BASE, (uint32_t)(EVENTQ + 0x1000) | EVENTQ_LOG2);
    smmu_write(CR0, CR0_ALL);
    wait_until(CR0ACK, ~0u, CR0_ALL);
    ok = smmu_read(EVENTQ_BASE) ==
         ((uint32_t)(EVENTQ + 0x1000) | EVENTQ_LOG2);
    stop();
    return ok;
}

typedef bool (*Driver)(unsigned int seed, bool wrong);

static const struct {
    const char *name;
    Driver drive;
} drivers[] = {
    { "tlbi-without-sync", drive_tlbi_without_sync },
    { "cfgi-without-sync", drive_cfgi_without_sync },
    { "atc-inv-without-sync", drive_atc_inv_without_sync },
    { "eats-without-cfgi", drive_eats_without_cfgi },
    { "atschk-without-cfgi", drive_atschk_without_cfgi },
    { "ppar-without-cfgi", drive_ppar_without_cfgi },
    { "drain-reads-prod-once", drive_drain_reads_prod_once },
    { "pri-drain-reads-prod-once", drive_pri_drain_reads_prod_once },
    { "flush-without-irq-thread", drive_flush_without_irq_thread },
    { "eventqen-without-ack", drive_eventqen_without_ack },
    { "priqen-without-ack", drive_priqen_without_ack },
    { "irq-off-without-ack", drive_irq_off_without_ack },
    { "base-without-ack", drive_base_without_ack },
};

/*
 * The wrong one is noticed with most seeds: a delay may be too short for it to
 * matter. More than half is what is asked for.
 */
static void test_driver(const void *data)
{
    Driver drive = *(const Driver *)data;
    unsigned int seed, noticed = 0;

    g_assert_true(drive(0, false));
    g_assert_true(drive(0, true));
    for (seed = 1; seed <= seeds(); seed++) {
        g_assert_true(drive(seed, false));
        noticed += !drive(seed, true);
    }
    g_test_message("noticed with %u of %u seeds", noticed, seeds());
    g_assert_cmpuint(noticed, >, seeds() / 2);
}

/* Lateness itself */

static void test_off_by_default(void)
{
    start_seed(0, 0, CD_R);
    translate(VA_MISSING);
    g_assert_cmpuint(events(), ==, 1);
    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    g_assert_cmphex(smmu_read(CR0ACK), ==, CR0_ALL & ~CR0_EVENTQEN);
    smmu_write(IRQ_CTRL, 1);
    g_assert_cmphex(smmu_read(IRQ_CTRLACK), ==, 1);
    submit(CMD_SYNC, 0, 0, 0);
    g_assert_true(cmdq_idle());
    stop();
}

/* Microseconds until a record is seen */
static unsigned int record_takes(unsigned int seed)
{
    unsigned int us = 0;

    start_seed(seed, 0, CD_R);
    translate(VA_MISSING);
    while (!events()) {
        qtest_clock_step(qts, 5000);
        us += 5;
        g_assert_cmpuint(us, <=, DELAY_US + 5);
    }
    stop();
    return us;
}

/* A seed says it all. */
static void test_seed(void)
{
    unsigned int seed, same = 0, first = record_takes(1);

    g_assert_cmpuint(record_takes(1), ==, first);
    for (seed = 2; seed < 8; seed++) {
        same += record_takes(seed) == first;
    }
    g_assert_cmpuint(same, <, 3);
}

/* Which of two pages is gone first is not said, but that both are is. */
static void test_any_order(void)
{
    unsigned int seed, forward = 0, backward = 0;

    for (seed = 1; seed <= seeds(); seed++) {
        bool a = true, b = true;

        start_seed(seed, 0, CD_R);
        map(VA + 0x1000, PAGE);
        translate(VA);
        translate(VA + 0x1000);
        write_pte(VA, 0);
        write_pte(VA + 0x1000, 0);
        tlbi_va(VA);
        tlbi_va(VA + 0x1000);
        submit(CMD_SYNC, 0, 0, 0);
        while (a && b) {
            qtest_clock_step(qts, 5000);
            a = translate(VA) == IOPF_INJ_OK;
            b = translate(VA + 0x1000) == IOPF_INJ_OK;
        }
        forward += b;
        backward += a;
        wait_cmdq();
        g_assert_cmpuint(translate(VA), ==, IOPF_INJ_ABORTED);
        g_assert_cmpuint(translate(VA + 0x1000), ==, IOPF_INJ_ABORTED);
        stop();
    }
    g_assert_cmpuint(forward, >, 0);
    g_assert_cmpuint(backward, >, 0);
}

/* What is behind a CMD_SYNC does not begin before it is complete. */
static void test_sync_is_a_barrier(void)
{
    unsigned int seed;

    for (seed = 1; seed <= seeds(); seed++) {
        start_seed(seed, 0, CD_R);
        translate(VA);
        write_pte(VA, 0);
        submit(CMD_CFGI_STE, sid, 1, 0);
        submit(CMD_SYNC, 0, 0, 0);
        tlbi_va(VA);
        while ((smmu_read(CMDQ_CONS) & 0xffff) < 2) {
            g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
            qtest_clock_step(qts, 5000);
        }
        settle();
        g_assert_cmpuint(translate(VA), ==, IOPF_INJ_ABORTED);
        stop();
    }
}

/* An illegal command is one when it is consumed, not later. */
static void test_illegal_at_once(void)
{
    start_seed(1, 0, CD_R);
    submit(CMD_CFGI_STE | 1u << 10, sid, 1, 0);
    g_assert_cmphex(smmu_read(CMDQ_CONS), ==, 1u << 24);
    g_assert_cmphex(smmu_read(GERROR), ==, 1);
    stop();
}

/* One interrupt for a queue that fills, not one a record: 3.18 */
static void test_one_interrupt(void)
{
    start_seed(3, 0, CD_R);
    watch_irq(INTID_EVTQ);
    translate(VA_MISSING);
    settle();
    g_assert_true(irq_pending(INTID_EVTQ));
    watch_irq(INTID_EVTQ);
    translate(VA_MISSING);
    settle();
    g_assert_cmpuint(events(), ==, 2);
    g_assert_false(irq_pending(INTID_EVTQ));
    eat_events();
    translate(VA_MISSING);
    settle();
    g_assert_true(irq_pending(INTID_EVTQ));
    stop();
}

/* With PRIQ_IRQ_CFG2.LO, at the last request of each group: 6.3.36 */
static void check_last_only(unsigned int seed)
{
    start_seed(seed, EATS, CD_R);
    smmu_write(PRIQ_IRQ_CFG2, 1u << 31);
    watch_irq(INTID_PRIQ);
    page_request(1, IOPF_INJ_READ);
    settle();
    g_assert_cmpuint(requests(), ==, 1);
    g_assert_false(irq_pending(INTID_PRIQ));
    page_request(1, LAST_READ);
    settle();
    g_assert_true(irq_pending(INTID_PRIQ));
    watch_irq(INTID_PRIQ);
    page_request(2, LAST_READ);
    settle();
    g_assert_true(irq_pending(INTID_PRIQ));
    stop();
}

static void test_last_only(void)
{
    check_last_only(0);
    check_last_only(1);
}

/* Records that are not seen yet count: the ninth is too much, in any case. */
static void test_late_overflow(void)
{
    unsigned int seed;
    int i;

    for (seed = 0; seed <= seeds(); seed++) {
        start_seed(seed, EATS | PPAR, CD_R);
        for (i = 0; i < 9; i++) {
            page_request(i, LAST_READ);
        }
        g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 1u << 31 | 8);
        g_assert_cmphex(dev_read(IOPF_INJ_RESPONSE), ==, 8);
        for (i = 0; i < 17; i++) {
            translate(VA_MISSING);
        }
        g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, 1u << 31 | 16);
        settle();
        g_assert_cmphex(smmu_read(EVENTQ_PROD), ==, 1u << 31 | 16);
        stop();
    }
}

/*
 * Several transactions stall on one page: there may be a record for each or
 * for some, and a try before the answer. Each gets one answer in the end, and
 * software one record a STAG.
 */
static void test_merge_and_early_retry(void)
{
    unsigned int seed, merged = 0, early = 0;
    int i, n, rounds;

    for (seed = 1; seed <= seeds(); seed++) {
        start_seed(seed, 0, CD_S);
        for (i = 0; i < 4; i++) {
            g_assert_cmpuint(translate_stall(VA_MISSING), ==,
                             IOPF_INJ_STALLED);
        }
        cmd_sync();
        merged += events() < 4;
        map(VA_MISSING, PAGE);
        settle();
        early += answers() > 0;
        for (rounds = 0; rounds < 4 && events(); rounds++) {
            for (n = events(); n; n--) {
                g_assert_cmphex(event_word(2) >> 31, ==, 1);
                resume(event_word(2) & 0xffff);
                eat_event();
            }
            settle();
        }
        g_assert_cmpuint(events(), ==, 0);
        g_assert_cmpuint(answers(), ==, 4);
        g_assert_cmpuint(device_counter(IOPF_CNT_STALL_ABORTS), ==, 0);
        g_assert_cmpint(smmu_counter("resume-ignored"), ==, 0);
        stop();
    }
    g_assert_cmpuint(merged, >, 0);
    g_assert_cmpuint(early, >, 0);
}

/* SMMUEN == 0 ends all of them, those that share a record included. */
static void test_late_terminate(void)
{
    unsigned int seed;
    int i;

    for (seed = 1; seed <= seeds(); seed++) {
        start_seed(seed, 0, CD_S);
        for (i = 0; i < 6; i++) {
            translate_stall(VA_MISSING);
        }
        smmu_write(CR0, CR0_ALL & ~CR0_SMMUEN);
        settle();
        g_assert_cmpuint(answers(), ==, 6);
        stop();
    }
}

/* Counters of what a driver does wrong */

static void check_resume_twice(unsigned int seed)
{
    start_seed(seed, 0, CD_S);
    translate_stall(VA_MISSING);
    cmd_sync();
    g_assert_cmphex(event_word(2), ==, 1u << 31);
    resume(0);
    settle();
    g_assert_cmpint(smmu_counter("resume-ignored"), ==, 0);
    resume(0);
    settle();
    g_assert_cmpint(smmu_counter("resume-ignored"), ==, 1);
    /* a STAG and a StreamID that are not */
    resume(77);
    submit(CMD_RESUME | RETRY, sid + 1, 0, 0);
    g_assert_cmpint(smmu_counter("resume-ignored"), ==, 3);
    stop();
}

static void test_resume_twice(void)
{
    check_resume_twice(0);
    check_resume_twice(5);
}

static void pri_resp(uint32_t flags, uint32_t prgi, uint32_t code)
{
    submit(CMD_PRI_RESP | flags, sid, prgi | code << 12, 0);
    settle();
}

static void check_pri_counters(unsigned int seed)
{
    start_seed(seed, EATS | PPAR, CD_R);
    page_request(3, LAST_READ);
    settle();
    pri_resp(SSV | SSID_1, 3, 2);
    g_assert_cmpint(smmu_counter("pri-unexpected"), ==, 0);
    pri_resp(SSV | SSID_1, 3, 2);
    g_assert_cmpint(smmu_counter("pri-unexpected"), ==, 1);
    page_request(4, LAST_READ);
    settle();
    g_assert_cmpint(smmu_counter("pri-bare-failure"), ==, 0);
    pri_resp(0, 4, 0);
    g_assert_cmpint(smmu_counter("pri-bare-failure"), ==, 1);
    g_assert_cmpint(smmu_counter("pri-unexpected"), ==, 1);
    stop();
}

static void test_pri_counters(void)
{
    check_pri_counters(0);
    check_pri_counters(5);
}

/* What is left is traced when the machine ends. */
static void test_counters_traced(void)
{
    g_autofree char *file = g_strdup_printf("%s/smmuv3-trace-%d",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *options = g_strdup_printf(
        "-D %s -trace smmuv3_counters -trace smmuv3_late_seed " FEATURES
        "-global arm-smmuv3.x-delay-max-us=10", file);
    g_autofree char *text = NULL;

    start(options, 0, CD_S);
    resume(3);
    stop();
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    unlink(file);
    g_assert_nonnull(strstr(text, "resume-ignored=1 "));
    g_assert_nonnull(strstr(text, "pri-unexpected=0 "));
    /* of a seed that was not asked for, too */
    g_assert_nonnull(strstr(text, "smmuv3_late_seed x-delay-seed="));
    g_assert_null(strstr(text, "x-delay-seed=0"));
}

/* Rules that are easily broken */

static void start_nested(const char *options, uint32_t s2_flags)
{
    uint64_t ste = STRTAB + SID * 64;

    start(options, 0, CD_S);
    write_ste(7, 8, 0);
    /* the identity for the GiB that has the memory */
    qtest_writeq(qts, S2TTB + 8, 0x40000000 | 1 << 10 | 3 << 8 | 3 << 6 |
                 0xf << 2 | 1);
    qtest_writel(qts, ste + 16, 7);
    qtest_writel(qts, ste + 20, 25 | 1 << 6 | 4 << 16 | 1 << 19 | s2_flags);
    qtest_writeq(qts, ste + 24, S2TTB);
}

#define S2S             (1u << 25)
#define S2R             (1u << 26)
#define NESTED          "-global arm-smmuv3.stage=nested "

/* Stalls at stage 2: section 3.12.5 */
static void test_s2s(void)
{
    start_nested(FEATURES NESTED, S2S);
    map(VA_MISSING, 0x80000000);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmphex(event_word(0) & 0xff, ==, EVT_TRANSLATION);
    g_assert_cmphex(event_word(2), ==, 1u << 31);
    g_assert_cmphex(event_word(3) & 1u << 7, ==, 1u << 7);
    map(VA_MISSING, PAGE);
    resume(0);
    g_assert_cmpuint(device_counter(IOPF_CNT_RETRIES), ==, 1);
    stop();

    /* without it the same is aborted, and with S2R there is a record */
    start_nested(FEATURES NESTED, S2R);
    map(VA_MISSING, 0x80000000);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(2), ==, 0);
    stop();
}

/* S2S where there are no stalls, or no S2S where there is nothing else: 5.2 */
static void test_s2s_illegal(void)
{
    start_nested("-global arm-smmuv3.ssidsize=16 " NESTED, S2S);
    write_cd(1, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0) & 0xff, ==, EVT_BAD_STE);
    stop();

    start_nested("-global arm-smmuv3.ssidsize=16 "
                 "-global arm-smmuv3.stall-model=2 " NESTED, 0);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_ABORTED);
    g_assert_cmphex(event_word(0) & 0xff, ==, EVT_BAD_STE);
    stop();
}

/* Nothing is written while the error is active, and no stall is lost: 7.2.1 */
static void check_eventq_abort(unsigned int seed)
{
    start_seed(seed, 0, CD_S);
    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    wait_until(CR0ACK, CR0_EVENTQEN, 0);
    smmu_write(EVENTQ_BASE, 0xf0000000 | EVENTQ_LOG2);
    smmu_write(EVENTQ_BASE + 4, 0x20);
    smmu_write(CR0, CR0_ALL);
    wait_until(CR0ACK, ~0u, CR0_ALL);
    translate(VA_MISSING);
    settle();
    g_assert_cmphex(smmu_read(GERROR), ==, EVENTQ_ABT);

    smmu_write(CR0, CR0_ALL & ~CR0_EVENTQEN);
    wait_until(CR0ACK, CR0_EVENTQEN, 0);
    smmu_write(EVENTQ_BASE, (uint32_t)EVENTQ | EVENTQ_LOG2);
    smmu_write(EVENTQ_BASE + 4, 0);
    smmu_write(CR0, CR0_ALL);
    wait_until(CR0ACK, ~0u, CR0_ALL);
    translate(VA_MISSING);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    settle();
    g_assert_cmpuint(events(), ==, 0);
    g_assert_cmpuint(answers(), ==, 0);
    smmu_write(GERRORN, EVENTQ_ABT);
    settle();
    g_assert_cmpuint(device_counter(IOPF_CNT_RETRIES), ==, 1);
    translate(VA_MISSING);
    settle();
    g_assert_cmpuint(events(), ==, 1);
    stop();
}

static void test_eventq_abort(void)
{
    check_eventq_abort(0);
    check_eventq_abort(2);
}

static void atc_inv_all(void)
{
    submit(CMD_ATC_INV, sid, 52, 0);
}

/* A confirmation that comes too late is not another function's: 3.9.1.4 */
static void test_invalidations_by_function(void)
{
    start(FEATURES "-global arm-smmuv3.x-ats-timeout-ms=10 " TWO_ENDPOINTS,
          EATS, CD_R);
    choose(OTHER_SID);
    enable_endpoint();
    write_ste(5, 8, EATS);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    choose(SID);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    atc_inv_all();
    submit(CMD_SYNC, 0, 0, 0);
    qtest_clock_step(qts, 11 * 1000 * 1000);
    g_assert_cmphex(smmu_read(CMDQ_CONS) >> 24, ==, 3);
    smmu_write(GERRORN, 1);
    g_assert_true(cmdq_idle());

    choose(OTHER_SID);
    atc_inv_all();
    submit(CMD_SYNC, 0, 0, 0);
    choose(SID);
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    qtest_clock_step(qts, 1000 * 1000);
    g_assert_false(cmdq_idle());
    choose(OTHER_SID);
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    wait_cmdq();
    g_assert_cmphex(smmu_read(GERROR) ^ smmu_read(GERRORN), ==, 0);
    stop();
}

/* More than a function can owe: it is as if one was not confirmed. */
static void test_invalidations_without_end(void)
{
    int i;

    start(FEATURES "-global arm-smmuv3.x-ats-timeout-ms=10 ", EATS, CD_R);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_HOLD_INV);
    for (i = 0; i < 40; i++) {
        atc_inv_all();
    }
    submit(CMD_SYNC, 0, 0, 0);
    dev_write(IOPF_INJ_MISBEHAVE, 0);
    qtest_clock_step(qts, 5 * 1000 * 1000);
    g_assert_false(cmdq_idle());
    qtest_clock_step(qts, 10 * 1000 * 1000);
    g_assert_cmphex(smmu_read(CMDQ_CONS) >> 24, ==, 3);
    stop();
}

/* A CMD_SYNC that was waiting when the queue was turned off waits again. */
static void test_sync_survives_not(void)
{
    start(FEATURES "-global arm-smmuv3.x-cmd-delay-us=100 ", 0, CD_R);
    submit(CMD_SYNC, 0, 0, 0);
    smmu_write(CR0, CR0_ALL & ~CR0_CMDQEN);
    qtest_clock_step(qts, 200 * 1000);
    g_assert_false(cmdq_idle());
    smmu_write(CR0, CR0_ALL);
    g_assert_false(cmdq_idle());
    qtest_clock_step(qts, 99 * 1000);
    g_assert_false(cmdq_idle());
    qtest_clock_step(qts, 2 * 1000);
    g_assert_true(cmdq_idle());
    stop();
}

/* However many wait without a STAG */
static void test_many_waiters(void)
{
    start(FEATURES "-global arm-smmuv3.stall-max=1 ", 0, CD_S);
    dev_write(IOPF_INJ_COUNT, 5000);
    g_assert_cmpuint(translate_stall(VA_MISSING), ==, IOPF_INJ_STALLED);
    g_assert_cmpuint(device_counter(IOPF_CNT_STALLS), ==, 5000);
    g_assert_cmpuint(events(), ==, 1);
    resume(0);
    g_assert_cmpuint(device_counter(IOPF_CNT_RETRIES), ==, 5000);
    g_assert_cmpint(smmu_counter("lost-stall"), ==, 0);
    stop();
}

/* EATS 0b11 is for DPT; without it, it is 0b00 and no error: 5.2 */
static void test_eats_3(void)
{
    start(FEATURES, 3u << 28, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    g_assert_cmpuint(ats_request(VA), ==, IOPF_INJ_UNSUPPORTED);
    g_assert_cmphex(event_word(0) & 0xff, ==, EVT_BAD_ATS);
    stop();
}

/* S1CDMax is ignored where there are no SubstreamIDs: 5.2 */
static void test_s1cdmax_ignored(void)
{
    start("-global arm-smmuv3.stall-model=0 ", 0, CD_R);
    write_cd(0, CD_R);
    g_assert_cmpuint(inject(IOPF_INJ_TRANSLATE, 0, VA, IOPF_INJ_READ), ==,
                     IOPF_INJ_OK);
    g_assert_cmphex(dev_read(IOPF_INJ_PA_LO), ==, PAGE);
    stop();
}

/* A write is of data, whatever it says: 7.3.12 */
static void test_ind(void)
{
    start(FEATURES, 0, CD_S);
    inject(IOPF_INJ_TRANSLATE, 1, VA_MISSING,
           IOPF_INJ_READ | IOPF_INJ_EXEC | IOPF_INJ_STALL);
    g_assert_cmphex(event_word(3) & 0xe, ==, 1u << 2 | 1u << 3);
    eat_event();
    inject(IOPF_INJ_TRANSLATE, 1, VA_MISSING,
           IOPF_INJ_WRITE | IOPF_INJ_EXEC | IOPF_INJ_STALL);
    g_assert_cmphex(event_word(3) & 0xe, ==, 0);
    stop();
}

/* A StreamID beyond 16 bits is nobody's. */
static void test_streamid_alias(void)
{
    start(FEATURES, EATS, CD_R);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    qtest_memset(qts, CDTAB + 64, 0, 64);
    submit(CMD_CFGI_STE, sid + 0x10000, 1, 0);
    submit(CMD_CFGI_CD | SSID_1, sid + 0x10000, 1, 0);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_OK);
    submit(CMD_ATC_INV, sid + 0x10000, 52, 0);
    g_assert_cmpuint(device_counter(IOPF_CNT_INVALIDATIONS), ==, 0);
    submit(CMD_CFGI_STE, sid, 1, 0);
    g_assert_cmpuint(translate(VA), ==, IOPF_INJ_ABORTED);
    stop();
}

/* Migration: what is on the list is done before memory is saved. */
static bool migration_done(void)
{
    QDict *status = qtest_qmp_assert_success_ref(
        qts, "{ 'execute': 'query-migrate' }");
    bool done = !g_strcmp0(qdict_get_try_str(status, "status"), "completed");

    qobject_unref(status);
    return done;
}

static void test_migration(void)
{
    g_autofree char *file = g_strdup_printf("%s/smmuv3-migration-%d",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *to = g_strdup_printf("exec:cat > %s", file);
    g_autofree char *from = g_strdup_printf("exec:cat %s", file);
    const char *late = FEATURES "-global arm-smmuv3.x-delay-seed=4 "
                       "-global arm-smmuv3.stall-max=2 "
                       "-global arm-smmuv3.x-delay-max-us=1000000 ";
    g_autofree char *incoming = g_strdup_printf("%s -incoming defer", late);
    int i;

    boot(late);
    enable_endpoint();
    write_ste(5, 8, EATS);
    write_cd(1, CD_S);
    smmu_write(STRTAB_BASE, (uint32_t)STRTAB);
    smmu_write(STRTAB_CFG, 9);
    smmu_write(CMDQ_BASE, (uint32_t)CMDQ | CMDQ_LOG2);
    smmu_write(EVENTQ_BASE, (uint32_t)EVENTQ | EVENTQ_LOG2);
    smmu_write(PRIQ_BASE, (uint32_t)PRIQ | PRIQ_LOG2);
    smmu_write(IRQ_CTRL, 7);
    smmu_write(CR0, CR0_ALL);
    for (i = 0; i < 5; i++) {
        translate_stall(VA_MISSING + i * 0x1000);
    }
    page_request(1, LAST_READ);
    g_assert_cmpuint(events(), ==, 0);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             "'arguments': { 'uri': %s } }", to);
    while (!migration_done()) {
        g_usleep(1000);
    }
    stop();

    boot(incoming);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-incoming',"
                             "'arguments': { 'uri': %s } }", from);
    qtest_qmp_eventwait(qts, "RESUME");
    unlink(file);
    g_assert_cmphex(smmu_read(CR0ACK), ==, CR0_ALL);
    g_assert_cmphex(smmu_read(IRQ_CTRLACK), ==, 7);
    g_assert_cmpuint(requests(), ==, 1);
    g_assert_cmpuint(events(), ==, 2);
    for (i = 0; i < 2; i++) {
        g_assert_cmphex(event_word(2) >> 31, ==, 1);
        g_assert_cmphex(event_word(4), ==, (uint32_t)VA_MISSING + i * 0x1000);
        resume(event_word(2) & 0xffff);
        eat_event();
    }
    qtest_clock_step(qts, 2 * 1000 * 1000 * 1000LL);
    /* three waited without a STAG: they try again */
    g_assert_cmpuint(answers(), ==, 5);
    stop();
}

/* Nonsense, for IOPF_FUZZ_SECONDS: registers, commands, requests, time */
static uint32_t fuzz_word(void)
{
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        return g_test_rand_int();
    case 1:
        return 1u << g_test_rand_int_range(0, 32);
    case 2:
        return (uint32_t)VA + g_test_rand_int_range(0, 4) * 0x1000;
    default:
        return g_test_rand_int_range(0, 16);
    }
}

static void fuzz_step(void)
{
    static const uint8_t opcodes[] = {
        0x03, 0x04, 0x05, 0x06, 0x10, 0x11, 0x12, 0x13, 0x28, 0x2a, 0x30, 0x40,
        0x41, 0x44, 0x45, 0x46, 0x46, 0x46,
    };
    static const uint8_t cmds[] = {
        IOPF_INJ_TRANSLATE, IOPF_INJ_ATS_REQUEST, IOPF_INJ_PAGE_REQUEST,
        IOPF_INJ_TRANSLATED,
    };

    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        smmu_write(g_test_rand_int_range(0, 0x40) * 4, fuzz_word());
        break;
    case 1:
        smmu_write(CR0, g_test_rand_int_range(0, 32));
        break;
    case 2:
    case 3:
        smmu_write(CMDQ_CONS, smmu_read(CMDQ_PROD));
        smmu_write(GERRORN, smmu_read(GERROR));
        submit(opcodes[g_test_rand_int_range(0, G_N_ELEMENTS(opcodes))] |
               (fuzz_word() & ~0xffu), sid, fuzz_word(), fuzz_word());
        break;
    case 4:
        qtest_writel(qts, (g_test_rand_bit() ? STRTAB + SID * 64 : CDTAB) +
                     g_test_rand_int_range(0, 32) * 4, fuzz_word());
        break;
    case 5:
        start_smmu(EATS | PPAR | g_test_rand_int_range(0, 4), CD_S);
        break;
    case 6:
        qtest_clock_step(qts, g_test_rand_int_range(0, 300000));
        break;
    default:
        dev_write(IOPF_INJ_COUNT, g_test_rand_int_range(0, 12));
        inject(cmds[g_test_rand_int_range(0, G_N_ELEMENTS(cmds))],
               g_test_rand_int_range(0, 3), VA + g_test_rand_int_range(0, 4) *
               0x1000, fuzz_word());
        break;
    }
}

static void test_fuzz(void)
{
    const char *env = getenv("IOPF_FUZZ_SECONDS");
    gint64 end = g_get_monotonic_time() +
                 (env ? atoi(env) : 3) * G_USEC_PER_SEC;
    unsigned int steps = 0;

    while (g_get_monotonic_time() < end) {
        if (steps++ % 2000 == 0) {
            if (qts) {
                stop();
            }
            start(FEATURES "-global arm-smmuv3.x-delay-max-us=200 "
                  "-global arm-smmuv3.stall-max=3 "
                  "-global arm-smmuv3.x-ats-timeout-ms=1 "
                  "-global arm-smmuv3.stage=nested ", EATS, CD_S);
        }
        fuzz_step();
    }
    g_assert_cmphex(dev_read(IOPF_ID), ==, IOPF_ID_VALUE);
    g_test_message("%u steps", steps);
    stop();
}

static const struct {
    const char *name;
    void (*fn)(void);
} tests[] = {
    { "late/default", test_off_by_default },
    { "late/seed", test_seed },
    { "late/any-order", test_any_order },
    { "late/sync-is-a-barrier", test_sync_is_a_barrier },
    { "late/illegal-at-once", test_illegal_at_once },
    { "late/one-interrupt", test_one_interrupt },
    { "late/last-only", test_last_only },
    { "late/overflow", test_late_overflow },
    { "late/merge-and-early-retry", test_merge_and_early_retry },
    { "late/terminate", test_late_terminate },
    { "late/migration", test_migration },
    { "counters/resume", test_resume_twice },
    { "counters/pri", test_pri_counters },
    { "counters/traced", test_counters_traced },
    { "rules/s2s", test_s2s },
    { "rules/s2s-illegal", test_s2s_illegal },
    { "rules/eventq-abort", test_eventq_abort },
    { "rules/invalidations-by-function", test_invalidations_by_function },
    { "rules/invalidations-without-end", test_invalidations_without_end },
    { "rules/sync-and-cmdqen", test_sync_survives_not },
    { "rules/many-waiters", test_many_waiters },
    { "rules/eats-3", test_eats_3 },
    { "rules/s1cdmax", test_s1cdmax_ignored },
    { "rules/ind", test_ind },
    { "rules/streamid", test_streamid_alias },
    { "late/fuzz", test_fuzz },
};

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(drivers); i++) {
        g_autofree char *name = g_strdup_printf("driver/%s", drivers[i].name);

        qtest_add_data_func(name, &drivers[i].drive, test_driver);
    }
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_func(tests[i].name, tests[i].fn);
    }
    return g_test_run();
}
