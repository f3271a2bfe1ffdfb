/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMMUv3 substreams, stalls, ATS and PRI, and the endpoint iopf-testdev
 *
 * The tests play the driver: tables, queues and commands are written here, and
 * records are looked at bit by bit. Requests come from the endpoint's error
 * page, or from a descriptor ring. Sections are those of Arm IHI 0070.
 */

#include "qemu/osdep.h"
#include "libqtest.h"
#include "hw/misc/iopf_testdev.h"
#include "standard-headers/linux/pci_regs.h"

#define SMMU            0x09050000ULL
#define GICD            0x08000000ULL
#define ECAM            0x4010000000ULL
#define BAR0            0x10000000ULL
#define BAR2            0x11000000ULL
#define OTHER_BAR0      0x12000000ULL
#define OTHER_BAR2      0x16000000ULL
#define DEVFN           8
#define FUNCTION(sid)   (ECAM + (sid) * 4096)
#define CFG             FUNCTION(sid)
#define INTID_EVTQ      (32 + 74)
#define INTID_PRIQ      (32 + 75)

#define IDR0            0x00
#define IDR1            0x04
#define IDR3            0x0c
#define IDR5            0x14
#define CR0             0x20
#define   CR0_SMMUEN    0x01
#define   CR0_PRIQEN    0x02
#define   CR0_EVENTQEN  0x04
#define   CR0_CMDQEN    0x08
#define   CR0_ATSCHK    0x10
#define   CR0_ALL       (CR0_SMMUEN | CR0_PRIQEN | CR0_EVENTQEN | CR0_CMDQEN)
#define IRQ_CTRL        0x50
#define GERROR          0x60
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
#define PRIQ_IRQ_CFG0   0xd0
#define OVFLG           0x80000000u

/* Memory of the machine */
#define STRTAB          0x41000000ULL
#define CDTAB           0x41020000ULL
#define L2CD            0x41040000ULL
#define TTB             0x41060000ULL
#define S2TTB           0x41080000ULL
#define CMDQ            0x41100000ULL
#define EVENTQ          0x41110000ULL
#define PRIQ            0x41120000ULL
#define PAGE            0x41200000ULL
#define RING            0x41300000ULL
#define CMDQ_LOG2       6
#define EVENTQ_LOG2     4
#define PRIQ_LOG2       3

#define VA              0x12345000ULL
#define VA_RO           0x12346000ULL
#define VA_MISSING      0x12347000ULL

#define CD_S            (1u << 12)
#define CD_R            (1u << 13)
#define CD_A            (1u << 14)

#define EVT_BAD_STE     0x04
#define EVT_BAD_ATS     0x05
#define EVT_DISABLED    0x06
#define EVT_FORBIDDEN   0x07
#define EVT_BAD_SSID    0x08
#define EVT_BAD_CD      0x0a
#define EVT_WALK_EABT   0x0b
#define EVT_TRANSLATION 0x10
#define EVT_ADDR_SIZE   0x11
#define EVT_ACCESS      0x12
#define EVT_PERMISSION  0x13

#define CERROR_ILL      1
#define CERROR_ATC      3

#define ALL_FEATURES    "-global arm-smmuv3.ssidsize=16 " \
                        "-global arm-smmuv3.stall-model=0 " \
                        "-global arm-smmuv3.stall-max=4 " \
                        "-global arm-smmuv3.ats=on -global arm-smmuv3.pri=on "

typedef struct Stream {
    uint32_t config;    /* STE.Config */
    uint32_t fmt;       /* STE.S1Fmt */
    uint32_t cdmax;     /* STE.S1CDMax */
    uint32_t word2;     /* STE bits 95:64: S1DSS, PPAR, S1STALLD, EATS */
} Stream;

static const Stream plain = { .config = 5, .cdmax = 8 };
static const Stream with_ats = {
    .config = 5, .cdmax = 8, .word2 = 1u << 28 | 1u << 18,
};

static QTestState *qts;
/* The function that is spoken to: its requester ID, its registers */
static uint32_t sid = DEVFN;
static uint64_t bar0 = BAR0;

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

static uint32_t counter(int n)
{
    return dev_read(IOPF_COUNTER(n));
}

/* Set-up */

static void write_cd(uint64_t addr, uint32_t flags, uint32_t asid)
{
    int i;

    for (i = 0; i < 16; i++) {
        qtest_writel(qts, addr + 4 * i, 0);
    }
    /* 39 bits of VA, 4 KiB, TTB0 only */
    qtest_writel(qts, addr, 25 | 1u << 30 | 1u << 31);
    qtest_writel(qts, addr + 4, 4 | 1u << 9 | flags | asid << 16);
    qtest_writeq(qts, addr + 8, TTB);
}

static void write_ste(const Stream *stream)
{
    uint64_t addr = STRTAB + sid * 64;

    qtest_memset(qts, addr, 0, 64);
    qtest_writel(qts, addr, 1 | stream->config << 1 | stream->fmt << 4 |
                 (uint32_t)CDTAB);
    qtest_writel(qts, addr + 4, stream->cdmax << 27);
    qtest_writel(qts, addr + 8, stream->word2);
}

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

static void map_ro(uint64_t va, uint64_t pa)
{
    write_pte(va, pa | 0x4c3);
}

static void set_bits(uint64_t addr, uint16_t bits)
{
    qtest_writew(qts, addr, qtest_readw(qts, addr) | bits);
}

/* Address of an extended capability of the function at @cfg, 0: it has none */
static uint64_t find_ext_cap(uint64_t cfg, uint16_t id)
{
    uint32_t pos = 0x100, header;

    while (pos) {
        header = qtest_readl(qts, cfg + pos);
        if ((header & 0xffff) == id) {
            return cfg + pos;
        }
        pos = header >> 20;
    }
    return 0;
}

/* The same of the endpoint, which has it */
static uint64_t ext_cap(uint16_t id)
{
    uint64_t addr = find_ext_cap(CFG, id);

    g_assert_cmphex(addr, !=, 0);
    return addr;
}

/* Address of a capability in the first 256 bytes */
static uint64_t find_cap(uint8_t id)
{
    uint8_t pos = qtest_readb(qts, CFG + PCI_CAPABILITY_LIST);

    while (qtest_readb(qts, CFG + pos) != id) {
        pos = qtest_readb(qts, CFG + pos + 1);
        g_assert_cmphex(pos, !=, 0);
    }
    return CFG + pos;
}

static void function_level_reset(void)
{
    set_bits(find_cap(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL,
             PCI_EXP_DEVCTL_BCR_FLR);
}

static void enable_bars(void)
{
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_0, bar0);
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_1, 0);
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_2,
                 bar0 == BAR0 ? BAR2 : OTHER_BAR2);
    qtest_writew(qts, CFG + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void enable_endpoint(void)
{
    uint64_t pri = ext_cap(PCI_EXT_CAP_ID_PRI);

    enable_bars();
    set_bits(ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL,
             PCI_PASID_CTRL_ENABLE);
    set_bits(ext_cap(PCI_EXT_CAP_ID_ATS) + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    qtest_writel(qts, pri + PCI_PRI_ALLOC_REQ, 32);
    set_bits(pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
}

#define MACHINE "-M virt,iommu=smmuv3,gic-version=3 -cpu cortex-a57 " \
                "-m 256M -nodefaults "

/* @options may end in properties of the endpoint, after "-device ". */
static void boot(const char *options)
{
    sid = DEVFN;
    bar0 = BAR0;
    qts = qtest_initf(MACHINE "%s%s", options, strstr(options, "-device ") ?
                      "" : " -device iopf-testdev,addr=1");
}

static void start_machine(const char *options)
{
    boot(options);
    enable_endpoint();
}

/* One CD, for SSID 1, which stalls if @cd_flags say so */
static void start_smmu(const Stream *stream, uint32_t cd_flags)
{
    write_ste(stream);
    write_cd(CDTAB + 64, CD_A | cd_flags, 1);
    map(VA, PAGE);
    map_ro(VA_RO, PAGE + 0x1000);
    smmu_write(STRTAB_BASE, (uint32_t)STRTAB);
    smmu_write(STRTAB_CFG, 9);
    smmu_write(CMDQ_BASE, (uint32_t)CMDQ | CMDQ_LOG2);
    smmu_write(EVENTQ_BASE, (uint32_t)EVENTQ | EVENTQ_LOG2);
    smmu_write(PRIQ_BASE, (uint32_t)PRIQ | PRIQ_LOG2);
    smmu_write(IRQ_CTRL, 7);
    smmu_write(CR0, CR0_ALL);
}

static void start(const char *options, const Stream *stream,
                  uint32_t cd_flags)
{
    start_machine(options);
    start_smmu(stream, cd_flags);
}

static void stop(void)
{
    qtest_quit(qts);
    qts = NULL;
}

/* Queues */

static void submit(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    uint32_t mask = (1u << CMDQ_LOG2) - 1;
    uint32_t prod = smmu_read(CMDQ_PROD);
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

/* The endpoint confirms what it held up, in the main loop. */
static void wait_cmdq(void)
{
    int i;

    for (i = 0; i < 50 && !cmdq_idle(); i++) {
        qtest_clock_step(qts, 1000);
    }
    g_assert_true(cmdq_idle());
}

static void command(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    submit(w0, w1, w2, w3);
    g_assert_true(cmdq_idle());
}

/* The command is refused; skip it and go on. */
static void command_fails(uint32_t error, uint32_t w0, uint32_t w1,
                          uint32_t w2, uint32_t w3)
{
    submit(w0, w1, w2, w3);
    g_assert_cmphex(smmu_read(CMDQ_CONS) >> 24, ==, error);
    g_assert_cmphex((smmu_read(GERROR) ^ smmu_read(GERRORN)) & 1, ==, 1);
    smmu_write(CMDQ_CONS, smmu_read(CMDQ_PROD));
    smmu_write(GERRORN, smmu_read(GERROR));
}

static void cmd_resume(uint32_t sid, uint32_t stag, uint32_t action)
{
    command(0x44 | action << 12, sid, stag, 0);
}

#define RESUME_TERMINATE 0
#define RESUME_RETRY     1
#define RESUME_ABORT     2

static void cmd_pri_resp(uint32_t ssid, uint32_t prgi, uint32_t resp)
{
    command(0x41 | (ssid ? 1u << 11 | ssid << 12 : 0), sid, prgi | resp << 12,
            0);
}

static bool have_event(void)
{
    return (smmu_read(EVENTQ_PROD) ^ smmu_read(EVENTQ_CONS)) & ~OVFLG;
}

static void wait_event(void)
{
    int i;

    for (i = 0; i < 50 && !have_event(); i++) {
        qtest_clock_step(qts, 1000);
    }
    g_assert_true(have_event());
}

static uint32_t event_word(int word)
{
    uint32_t cons = smmu_read(EVENTQ_CONS) & ((1u << EVENTQ_LOG2) - 1);

    return qtest_readl(qts, EVENTQ + 32 * cons + 4 * word);
}

static void eat_event(void)
{
    uint32_t cons = smmu_read(EVENTQ_CONS);
    uint32_t mask = (2u << EVENTQ_LOG2) - 1;

    smmu_write(EVENTQ_CONS, ((cons + 1) & mask) | (cons & OVFLG));
}

/* The next event is of @type and, if @ssid is not 0, of that substream. */
static void expect_event(uint32_t type, uint32_t ssid)
{
    g_assert_true(have_event());
    g_assert_cmphex(event_word(0) & 0xff, ==, type);
    g_assert_cmphex(event_word(1), ==, sid);
    if (ssid) {
        g_assert_cmphex(event_word(0) >> 11, ==, ssid << 1 | 1);
    } else {
        g_assert_cmphex(event_word(0) >> 11, ==, 0);
    }
    eat_event();
}

/* Requests of the endpoint */

static uint32_t inject(uint32_t cmd, uint32_t ssid, uint64_t addr,
                       uint32_t flags)
{
    dev_write(IOPF_INJ_PASID, ssid ? ssid | IOPF_PASID_VALID : 0);
    dev_write(IOPF_INJ_ADDR_LO, addr);
    dev_write(IOPF_INJ_ADDR_HI, addr >> 32);
    dev_write(IOPF_INJ_FLAGS, flags);
    dev_write(IOPF_INJ_STALL_ANSWER, 0);
    dev_write(IOPF_INJ_CMD, cmd);
    return dev_read(IOPF_INJ_RESULT) & 15;
}

static uint32_t translate(uint32_t ssid, uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, ssid, addr, IOPF_INJ_READ);
}

static uint32_t translate_stall(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, 1, addr, IOPF_INJ_READ | IOPF_INJ_STALL);
}

static uint32_t stall_answer(void)
{
    return dev_read(IOPF_INJ_STALL_ANSWER);
}

static uint64_t result_pa(void)
{
    return (uint64_t)dev_read(IOPF_INJ_PA_HI) << 32 | dev_read(IOPF_INJ_PA_LO);
}

static uint32_t ats_request(uint64_t addr, uint32_t flags)
{
    return inject(IOPF_INJ_ATS_REQUEST, 1, addr, flags);
}

static void page_request(uint32_t ssid, uint32_t prgi, uint32_t flags)
{
    dev_write(IOPF_INJ_PRGI, prgi);
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, ssid, VA, flags), ==,
                     IOPF_INJ_OK);
}

#define LAST_READ (IOPF_INJ_READ | IOPF_INJ_LAST)

/* Interrupts: edges are latched in the distributor. */

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

/* Properties and ID registers */

static void test_off_by_default(void)
{
    start_machine("");
    g_assert_cmphex(smmu_read(IDR0) & (1u << 10 | 1u << 16 | 1u << 19), ==, 0);
    g_assert_cmphex(smmu_read(IDR0) >> 24 & 3, ==, 1);
    g_assert_cmphex(smmu_read(IDR1) >> 6 & 0x3ff, ==, 0);
    g_assert_cmphex(smmu_read(IDR5) >> 16, ==, 0);
    g_assert_cmphex(smmu_read(IDR5) & 7, ==, 4);
    smmu_write(PRIQ_BASE, 0x41200005);
    g_assert_cmphex(smmu_read(PRIQ_BASE), ==, 0);
    /* nor does a device have a PASID then */
    g_assert_cmpuint(translate(1, VA), ==, IOPF_INJ_ABORTED);
    stop();
}

static void test_idr(void)
{
    start_machine(ALL_FEATURES "-global arm-smmuv3.oas=48 "
                  "-global arm-smmuv3.x-eventqs=7 -global arm-smmuv3.x-priqs=6");
    g_assert_cmphex(smmu_read(IDR0) & (1u << 10 | 1u << 16 | 1u << 19), ==,
                    1u << 10 | 1u << 16 | 1u << 19);
    g_assert_cmphex(smmu_read(IDR0) >> 24 & 3, ==, 0);
    g_assert_cmphex(smmu_read(IDR1) >> 6 & 0x1f, ==, 16);
    g_assert_cmphex(smmu_read(IDR1) >> 11 & 0x1f, ==, 6);
    g_assert_cmphex(smmu_read(IDR1) >> 16 & 0x1f, ==, 7);
    g_assert_cmphex(smmu_read(IDR5) >> 16, ==, 4);
    g_assert_cmphex(smmu_read(IDR5) & 7, ==, 5);
    /* IDR3.PPS: automatic responses have a PASID where STE.PPAR says so */
    g_assert_cmphex(smmu_read(IDR3) & 1u << 5, ==, 0);
    stop();
}

/*
 * Start a machine that writes its device tree and ends. QEMU renames a new
 * file to that name, which is why it must be one of our own.
 */
static char *dump_dtb(const char *options, char **err, int *status)
{
    char *file = g_strdup_printf("%s/iopf-dtb-%d", g_get_tmp_dir(), getpid());
    g_autofree char *command = g_strdup_printf(
        "%s -M virt,iommu=smmuv3,dumpdtb=%s -cpu cortex-a57 -display none "
        "-nodefaults %s", getenv("QTEST_QEMU_BINARY"), file, options);

    g_assert_true(g_spawn_command_line_sync(command, NULL, err, status, NULL));
    return file;
}

/* A machine that cannot be is refused. */
static void check_machine(const char *globals, const char *error)
{
    g_autofree char *err = NULL, *file = NULL;
    int status;

    file = dump_dtb(globals, &err, &status);
    unlink(file);
    if (error) {
        g_assert_cmpint(status, !=, 0);
        g_assert_nonnull(strstr(err, error));
    } else {
        g_assert_cmpint(status, ==, 0);
    }
}

static void test_properties(void)
{
    check_machine("-global arm-smmuv3.ssidsize=20 "
                  "-global arm-smmuv3.stall-max=256", NULL);
    check_machine("-global arm-smmuv3.ssidsize=21", "ssidsize");
    check_machine("-global arm-smmuv3.stall-model=3", "stall-model");
    check_machine("-global arm-smmuv3.stall-max=0", "stall-max");
    check_machine("-global arm-smmuv3.stall-max=257", "stall-max");
    check_machine("-global arm-smmuv3.oas=45", "oas");
    check_machine("-global arm-smmuv3.x-eventqs=20", "x-eventqs");
    check_machine("-global arm-smmuv3.x-priqs=0", "x-priqs");
    check_machine("-global arm-smmuv3.pri=on", "pri needs ats");
    check_machine("-device iopf-testdev,vfs=8", "vfs");
    check_machine("-device iopf-testdev-vf", "pluggable");
}

/* What the device tree says, by the strings in it */
static bool dtb_has(const char *options, const char *what)
{
    g_autofree char *dtb = NULL, *err = NULL, *file = NULL;
    gsize len;
    int status;

    file = dump_dtb(options, &err, &status);
    g_assert_cmpint(status, ==, 0);
    g_assert_true(g_file_get_contents(file, &dtb, &len, NULL));
    unlink(file);
    return memmem(dtb, len, what, strlen(what));
}

static void test_device_tree(void)
{
    g_assert_false(dtb_has("", "ats-supported"));
    g_assert_false(dtb_has("", "dma-can-stall"));
    g_assert_true(dtb_has("-global arm-smmuv3.ats=on", "ats-supported"));
    g_assert_true(dtb_has("-device iopf-testdev", "dma-can-stall"));
    g_assert_false(dtb_has("-device iopf-testdev,dma-can-stall=off",
                           "dma-can-stall"));
}

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

static void sync_submit(void)
{
    submit(0x46, 0, 0, 0);
}

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
    start(ALL_FEATURES "-global arm-smmuv3.x-ats-timeout-ms=20", &with_ats,
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

/* PRI: chapter 8 */

static uint32_t ppr_word(int n, int word)
{
    return qtest_readl(qts, PRIQ + 16 * n + 4 * word);
}

/* The endpoint works in the main loop, in several turns. */
static void wait_priq(uint32_t prod)
{
    int i;

    for (i = 0; i < 50 && smmu_read(PRIQ_PROD) != prod; i++) {
        qtest_clock_step(qts, 1000);
    }
    /* and has nothing more to say */
    qtest_clock_step(qts, 1000);
    qtest_clock_step(qts, 1000);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, prod);
}

static uint32_t response(void)
{
    uint32_t val = dev_read(IOPF_INJ_RESPONSE);

    dev_write(IOPF_INJ_RESPONSE, 0xffffffff);
    return val;
}

#define NO_RESPONSE     0xffffffffu
#define RESPONSE(prgi, code) ((prgi) | (code) << 16)

static void start_pri(const Stream *stream)
{
    start(ALL_FEATURES, stream, CD_S);
    dev_write(IOPF_INJ_RESPONSE, 0xffffffff);
}

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

static void fill_priq(void)
{
    int i;

    for (i = 0; i < 1 << PRIQ_LOG2; i++) {
        page_request(1, 100 + i, LAST_READ);
    }
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 8);
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

/* A queue of @ssid whose ring is @offset into what VA maps */
static void start_queue_at(int q, uint32_t ssid, uint32_t mode,
                           uint32_t offset)
{
    dev_write(IOPF_QCTL(q) + IOPF_Q_PASID, ssid | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(q) + IOPF_Q_CONCURRENCY, 4);
    dev_write(IOPF_QCTL(q) + IOPF_Q_MODE, mode);
    dev_write(IOPF_USER(q) + IOPF_U_RING_LO, (uint32_t)VA + offset);
    dev_write(IOPF_USER(q) + IOPF_U_RING_SIZE, 4);
}

static void start_queue(uint32_t mode)
{
    start_queue_at(5, 1, mode, 0);
}

static void write_desc(uint64_t addr, uint32_t op, uint64_t src, uint64_t dst,
                       uint64_t len, uint64_t arg)
{
    qtest_memset(qts, addr, 0, 64);
    qtest_writel(qts, addr, op);
    qtest_writeq(qts, addr + 8, src);
    qtest_writeq(qts, addr + 16, dst);
    qtest_writeq(qts, addr + 24, len);
    qtest_writeq(qts, addr + 32, arg);
}

static void put_desc(int n, uint32_t op, uint64_t dst, uint64_t len,
                     uint64_t arg)
{
    write_desc(PAGE + 64 * n, op, 0, dst, len, arg);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, n + 1);
}

static uint32_t desc_status(int n)
{
    int i;

    /* the endpoint works in the main loop */
    for (i = 0; i < 20 && !qtest_readl(qts, PAGE + 64 * n + 40); i++) {
        qtest_clock_step(qts, 2 * 1000 * 1000);
    }
    return qtest_readl(qts, PAGE + 64 * n + 40);
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

static void cmd_atc_inv(uint32_t flags, uint32_t ssid, uint64_t addr,
                        uint32_t size)
{
    command(0x40 | flags | ssid << 12, sid, (uint32_t)addr | size, addr >> 32);
}

#define ATC_SSV         (1u << 11)
#define ATC_GLOBAL      (1u << 9)
#define ATC_ALL         52

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

#define WITH_VFS        "-device iopf-testdev,addr=1,vfs=2"

static void choose_function(int vf)
{
    sid = DEVFN + vf;
    bar0 = vf ? OTHER_BAR0 + (vf - 1) * IOPF_BAR_SIZE : BAR0;
}

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
    g_assert_cmpuint(counter(IOPF_CNT_RESP_UNEXPECTED), ==, 1);
    g_assert_cmpuint(counter(IOPF_CNT_RESP_SUCCESS), ==, 0);

    /* nothing is enabled; a request after the reset has to be forced */
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, 1, VA, LAST_READ), ==,
                     IOPF_INJ_REFUSED);
    dev_write(IOPF_INJ_MISBEHAVE, IOPF_MIS_FORCE);
    page_request(1, 1, LAST_READ);
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 2);
    stop();
}

static bool migration_done(void)
{
    QDict *rsp = qtest_qmp_assert_success_ref(qts,
        "{ 'execute': 'query-migrate' }");
    const char *status = qdict_get_str(rsp, "status");
    bool done = !strcmp(status, "completed");

    g_assert_cmpstr(status, !=, "failed");
    qobject_unref(rsp);
    return done;
}

/* Write the machine's state to a file, and end it; the file's name */
static char *save_machine(void)
{
    char *file = g_strdup_printf("%s/iopf-migration-%d", g_get_tmp_dir(),
                                 getpid());
    g_autofree char *uri = g_strdup_printf("exec:cat > %s", file);

    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate',"
                             "'arguments': { 'uri': %s } }", uri);
    while (!migration_done()) {
        g_usleep(1000);
    }
    stop();
    return file;
}

/* Go on with another QEMU that has the same @options. */
static void migrate(const char *options)
{
    g_autofree char *file = save_machine();
    g_autofree char *uri = g_strdup_printf("exec:cat %s", file);
    g_autofree char *incoming = g_strdup_printf("-incoming defer %s", options);

    boot(incoming);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-incoming',"
                             "'arguments': { 'uri': %s } }", uri);
    qtest_qmp_eventwait(qts, "RESUME");
    unlink(file);
}

/* State that survives: a stall and a page request are answered afterwards. */
static void test_migration(void)
{
    start(ALL_FEATURES, &with_ats, CD_S);
    start_queue(IOPF_MODE_STALL);
    put_desc(0, IOPF_OP_FILL, VA_MISSING, 8, 0x77);
    wait_event();
    page_request(1, 9, LAST_READ);
    migrate(ALL_FEATURES);
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
    migrate(ALL_FEATURES);
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

/*
 * Nonsense: registers, tables, queues and configuration space, at random. The
 * machine is to survive that and to answer. IOPF_FUZZ_SECONDS sets how long;
 * the random seed of the run is printed, and --seed repeats it.
 */

static uint64_t fuzz_addr(void)
{
    static const uint64_t interesting[] = {
        VA, VA_RO, VA_MISSING, PAGE, STRTAB + DEVFN * 64, CDTAB, CDTAB + 64,
        TTB, CMDQ, EVENTQ, PRIQ, SMMU, BAR0, 0, UINT64_MAX, 1ULL << 44,
    };
    int i = g_test_rand_int_range(0, G_N_ELEMENTS(interesting));

    return interesting[i] + g_test_rand_int_range(-2, 16) * 4;
}

static uint32_t fuzz_word(void)
{
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        return g_test_rand_int();
    case 1:
        return 1u << g_test_rand_int_range(0, 32);
    case 2:
        return fuzz_addr();
    default:
        return g_test_rand_int_range(0, 16);
    }
}

static void fuzz_tables(void)
{
    static const uint64_t tables[] = {
        STRTAB + DEVFN * 64, CDTAB, CDTAB + 64, L2CD, TTB, TTB + 0x1000,
        TTB + 0x2000, CMDQ, PAGE,
    };
    uint64_t base = tables[g_test_rand_int_range(0, G_N_ELEMENTS(tables))];

    qtest_writel(qts, base + g_test_rand_int_range(0, 64) * 4, fuzz_word());
}

static void fuzz_command(void)
{
    static const uint8_t opcodes[] = {
        0x03, 0x04, 0x05, 0x06, 0x11, 0x12, 0x30, 0x40, 0x41, 0x44, 0x45, 0x46,
    };
    uint32_t opcode = opcodes[g_test_rand_int_range(0, G_N_ELEMENTS(opcodes))];
    uint32_t sid = g_test_rand_int_range(0, 4) ? sid : fuzz_word();

    /* an error must not stop the queue for good */
    smmu_write(CMDQ_CONS, smmu_read(CMDQ_PROD));
    smmu_write(GERRORN, smmu_read(GERROR));
    submit(opcode | (fuzz_word() & ~0xffu), sid, fuzz_word(), fuzz_word());
}

static void fuzz_endpoint(void)
{
    uint32_t q = g_test_rand_int_range(0, 4);

    choose_function(g_test_rand_int_range(0, 3));
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        dev_write(IOPF_QCTL(q) + g_test_rand_int_range(0, 5) * 4, fuzz_word());
        break;
    case 1:
        dev_write(IOPF_USER(q) + g_test_rand_int_range(0, 10) * 4,
                  fuzz_word());
        break;
    case 2:
        /* COUNT is bounded for the sake of time */
        dev_write(IOPF_INJ_COUNT, g_test_rand_int_range(0, 64));
        dev_write(IOPF_INJ_CMD, g_test_rand_int_range(0, 6));
        break;
    default:
        dev_write(IOPF_INJECT + g_test_rand_int_range(1, 16) * 4,
                  fuzz_word());
        break;
    }
    choose_function(0);
}

/* Virtual functions come and go, at the places that are known for them. */
static void fuzz_vfs(void)
{
    uint64_t sriov = ext_cap(PCI_EXT_CAP_ID_SRIOV);
    int vf;

    qtest_writel(qts, sriov + PCI_SRIOV_BAR, OTHER_BAR0);
    qtest_writel(qts, sriov + PCI_SRIOV_BAR + 8, OTHER_BAR2);
    qtest_writew(qts, sriov + PCI_SRIOV_NUM_VF, g_test_rand_int_range(0, 4));
    qtest_writew(qts, sriov + PCI_SRIOV_CTRL, g_test_rand_int_range(0, 32));
    for (vf = 1; vf <= 2; vf++) {
        qtest_writew(qts, FUNCTION(DEVFN + vf) + PCI_COMMAND,
                     g_test_rand_int_range(0, 8));
        qtest_writel(qts, FUNCTION(DEVFN + vf) + 0x100 + PCI_ATS_CAP,
                     fuzz_word());
    }
}

/* A queue that works, amid all of this */
static void fuzz_queue(void)
{
    uint32_t q = g_test_rand_int_range(0, 4), i;

    map(VA, PAGE);
    write_ste(&with_ats);
    dev_write(IOPF_QCTL(q) + IOPF_Q_MODE, 0);
    dev_write(IOPF_QCTL(q) + IOPF_Q_PASID, 1 | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(q) + IOPF_Q_CONCURRENCY, fuzz_word());
    dev_write(IOPF_QCTL(q) + IOPF_Q_MODE, g_test_rand_int_range(1, 4));
    dev_write(IOPF_USER(q) + IOPF_U_RING_LO, (uint32_t)VA);
    dev_write(IOPF_USER(q) + IOPF_U_RING_HI, 0);
    dev_write(IOPF_USER(q) + IOPF_U_RING_SIZE, g_test_rand_int_range(0, 16));
    for (i = 0; i < 4; i++) {
        qtest_writel(qts, PAGE + 64 * i, g_test_rand_int_range(0, 8));
        qtest_writeq(qts, PAGE + 64 * i + 8, fuzz_addr());
        qtest_writeq(qts, PAGE + 64 * i + 16, fuzz_addr());
        qtest_writeq(qts, PAGE + 64 * i + 24, g_test_rand_int_range(0, 65536));
    }
    dev_write(IOPF_USER(q) + IOPF_U_PROD, fuzz_word());
    qtest_clock_step(qts, g_test_rand_int_range(0, 1000000));
}

static void fuzz_step(void)
{
    switch (g_test_rand_int_range(0, 9)) {
    case 0:
        smmu_write(g_test_rand_int_range(0, 0x40) * 4, fuzz_word());
        break;
    case 1:
        smmu_write(CR0, g_test_rand_int_range(0, 8) ? CR0_ALL : fuzz_word());
        break;
    case 2:
        fuzz_tables();
        break;
    case 3:
        fuzz_command();
        break;
    case 4:
        fuzz_queue();
        break;
    case 6:
        fuzz_vfs();
        break;
    case 5:
        /* ATS, PASID, PRI, SR-IOV */
        qtest_writel(qts, CFG + 0x100 + g_test_rand_int_range(0, 32) * 4,
                     fuzz_word());
        break;
    default:
        fuzz_endpoint();
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
            start(ALL_FEATURES "-global arm-smmuv3.x-ats-timeout-ms=1 "
                  "-global arm-smmuv3.x-cmd-delay-us=10 " WITH_VFS, &with_ats,
                  CD_S);
        }
        fuzz_step();
    }
    function_level_reset();
    enable_endpoint();
    g_assert_cmphex(dev_read(IOPF_ID), ==, IOPF_ID_VALUE);
    g_test_message("%u steps", steps);
    stop();
}

static const struct {
    const char *name;
    void (*fn)(void);
} tests[] = {
    { "idr/default", test_off_by_default },
    { "idr/features", test_idr },
    { "properties", test_properties },
    { "device-tree", test_device_tree },
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
    { "error/never-ends", test_error_never_ends },
    { "error/ignores-responses", test_error_ignores_responses },
    { "error/storm", test_error_storm },
    { "error/wrong-function", test_error_wrong_function },
    { "vf/enable", test_vf },
    { "vf/failure", test_vf_failure },
    { "vf/credit", test_vf_credit },
    { "vf/too-many", test_vf_too_many },
    { "vf/disable", test_vf_disable },
    { "migration/answers", test_migration },
    { "migration/waiting", test_migration_waiting },
    { "migration/default", test_migration_default },
    { "trace", test_trace },
    { "fuzz", test_fuzz },
};

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(tests); i++) {
        qtest_add_func(tests[i].name, tests[i].fn);
    }
    return g_test_run();
}
