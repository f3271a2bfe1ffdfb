/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rooms share: the machine, its tables and queues, its endpoint */

#include "qemu/osdep.h"
#include "lib.h"

const Stream plain = { .config = 5, .cdmax = 8 };
const Stream with_ats = {
    .config = 5, .cdmax = 8, .word2 = 1u << 28 | 1u << 18,
};

QTestState *qts;
/* The function that is spoken to: its requester ID, its registers */
uint32_t sid = DEVFN;
uint64_t bar0 = BAR0;

uint32_t smmu_read(uint32_t reg)
{
    return qtest_readl(qts, SMMU + reg);
}

void smmu_write(uint32_t reg, uint32_t val)
{
    qtest_writel(qts, SMMU + reg, val);
}

uint32_t dev_read(uint32_t reg)
{
    return qtest_readl(qts, bar0 + reg);
}

void dev_write(uint32_t reg, uint32_t val)
{
    qtest_writel(qts, bar0 + reg, val);
}

uint32_t counter(int n)
{
    return dev_read(IOPF_COUNTER(n));
}

/* Set-up */

void write_cd(uint64_t addr, uint32_t flags, uint32_t asid)
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

void write_ste(const Stream *stream)
{
    uint64_t addr = STRTAB + sid * 64;

    qtest_memset(qts, addr, 0, 64);
    qtest_writel(qts, addr, 1 | stream->config << 1 | stream->fmt << 4 |
                 (uint32_t)CDTAB);
    qtest_writel(qts, addr + 4, stream->cdmax << 27);
    qtest_writel(qts, addr + 8, stream->word2);
}

void write_pte(uint64_t va, uint64_t pte)
{
    qtest_writeq(qts, TTB + (va >> 30) * 8, (TTB + 0x1000) | 3);
    qtest_writeq(qts, TTB + 0x1000 + (va >> 21 & 511) * 8, (TTB + 0x2000) | 3);
    qtest_writeq(qts, TTB + 0x2000 + (va >> 12 & 511) * 8, pte);
}

void map(uint64_t va, uint64_t pa)
{
    write_pte(va, pa | 0x443);
}

void map_ro(uint64_t va, uint64_t pa)
{
    write_pte(va, pa | 0x4c3);
}

void set_bits(uint64_t addr, uint16_t bits)
{
    qtest_writew(qts, addr, qtest_readw(qts, addr) | bits);
}

/* Address of an extended capability of the function at @cfg, 0: it has none */
uint64_t find_ext_cap(uint64_t cfg, uint16_t id)
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
uint64_t ext_cap(uint16_t id)
{
    uint64_t addr = find_ext_cap(CFG, id);

    g_assert_cmphex(addr, !=, 0);
    return addr;
}

/* Address of a capability in the first 256 bytes */
uint64_t find_cap(uint8_t id)
{
    uint8_t pos = qtest_readb(qts, CFG + PCI_CAPABILITY_LIST);

    while (qtest_readb(qts, CFG + pos) != id) {
        pos = qtest_readb(qts, CFG + pos + 1);
        g_assert_cmphex(pos, !=, 0);
    }
    return CFG + pos;
}

void function_level_reset(void)
{
    set_bits(find_cap(PCI_CAP_ID_EXP) + PCI_EXP_DEVCTL,
             PCI_EXP_DEVCTL_BCR_FLR);
}

void enable_bars(void)
{
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_0, bar0);
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_1, 0);
    qtest_writel(qts, CFG + PCI_BASE_ADDRESS_2,
                 bar0 == BAR0 ? BAR2 : OTHER_BAR2);
    qtest_writew(qts, CFG + PCI_COMMAND,
                 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

void enable_endpoint(void)
{
    uint64_t pri = ext_cap(PCI_EXT_CAP_ID_PRI);

    enable_bars();
    set_bits(ext_cap(PCI_EXT_CAP_ID_PASID) + PCI_PASID_CTRL,
             PCI_PASID_CTRL_ENABLE);
    set_bits(ext_cap(PCI_EXT_CAP_ID_ATS) + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    qtest_writel(qts, pri + PCI_PRI_ALLOC_REQ, 32);
    set_bits(pri + PCI_PRI_CTRL, PCI_PRI_CTRL_ENABLE);
}

/* @options may end in properties of the endpoint, after "-device ". */
void boot(const char *options)
{
    sid = DEVFN;
    bar0 = BAR0;
    qts = qtest_initf(MACHINE "%s%s", options, strstr(options, "-device ") ?
                      "" : " -device iopf-testdev,addr=1");
}

void start_machine(const char *options)
{
    boot(options);
    enable_endpoint();
}

/* One CD, for SSID 1, which stalls if @cd_flags say so */
void start_smmu(const Stream *stream, uint32_t cd_flags)
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

void start(const char *options, const Stream *stream,
           uint32_t cd_flags)
{
    start_machine(options);
    start_smmu(stream, cd_flags);
}

void stop(void)
{
    qtest_quit(qts);
    qts = NULL;
}

/* Queues */

void submit(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
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

bool cmdq_idle(void)
{
    return (smmu_read(CMDQ_CONS) & 0xffffff) == smmu_read(CMDQ_PROD);
}

/* The endpoint confirms what it held up, in the main loop. */
void wait_cmdq(void)
{
    int i;

    for (i = 0; i < 50 && !cmdq_idle(); i++) {
        qtest_clock_step(qts, 1000);
    }
    g_assert_true(cmdq_idle());
}

void command(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3)
{
    submit(w0, w1, w2, w3);
    g_assert_true(cmdq_idle());
}

/* The command is refused; skip it and go on. */
void command_fails(uint32_t error, uint32_t w0, uint32_t w1,
                   uint32_t w2, uint32_t w3)
{
    submit(w0, w1, w2, w3);
    g_assert_cmphex(smmu_read(CMDQ_CONS) >> 24, ==, error);
    g_assert_cmphex((smmu_read(GERROR) ^ smmu_read(GERRORN)) & 1, ==, 1);
    smmu_write(CMDQ_CONS, smmu_read(CMDQ_PROD));
    smmu_write(GERRORN, smmu_read(GERROR));
}

void cmd_resume(uint32_t sid, uint32_t stag, uint32_t action)
{
    command(0x44 | action << 12, sid, stag, 0);
}

void cmd_pri_resp(uint32_t ssid, uint32_t prgi, uint32_t resp)
{
    command(0x41 | (ssid ? 1u << 11 | ssid << 12 : 0), sid, prgi | resp << 12,
            0);
}

bool have_event(void)
{
    return (smmu_read(EVENTQ_PROD) ^ smmu_read(EVENTQ_CONS)) & ~OVFLG;
}

void wait_event(void)
{
    int i;

    for (i = 0; i < 50 && !have_event(); i++) {
        qtest_clock_step(qts, 1000);
    }
    g_assert_true(have_event());
}

uint32_t event_word(int word)
{
    uint32_t cons = smmu_read(EVENTQ_CONS) & ((1u << EVENTQ_LOG2) - 1);

    return qtest_readl(qts, EVENTQ + 32 * cons + 4 * word);
}

void eat_event(void)
{
    uint32_t cons = smmu_read(EVENTQ_CONS);
    uint32_t mask = (2u << EVENTQ_LOG2) - 1;

    smmu_write(EVENTQ_CONS, ((cons + 1) & mask) | (cons & OVFLG));
}

/* The next event is of @type and, if @ssid is not 0, of that substream. */
void expect_event(uint32_t type, uint32_t ssid)
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

uint32_t inject(uint32_t cmd, uint32_t ssid, uint64_t addr,
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

uint32_t translate(uint32_t ssid, uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, ssid, addr, IOPF_INJ_READ);
}

uint32_t translate_stall(uint64_t addr)
{
    return inject(IOPF_INJ_TRANSLATE, 1, addr, IOPF_INJ_READ | IOPF_INJ_STALL);
}

uint32_t stall_answer(void)
{
    return dev_read(IOPF_INJ_STALL_ANSWER);
}

uint64_t result_pa(void)
{
    return (uint64_t)dev_read(IOPF_INJ_PA_HI) << 32 | dev_read(IOPF_INJ_PA_LO);
}

uint32_t ats_request(uint64_t addr, uint32_t flags)
{
    return inject(IOPF_INJ_ATS_REQUEST, 1, addr, flags);
}

void page_request(uint32_t ssid, uint32_t prgi, uint32_t flags)
{
    dev_write(IOPF_INJ_PRGI, prgi);
    g_assert_cmpuint(inject(IOPF_INJ_PAGE_REQUEST, ssid, VA, flags), ==,
                     IOPF_INJ_OK);
}

/* Interrupts: edges are latched in the distributor. */

void watch_irq(int intid)
{
    uint64_t cfg = GICD + 0xc00 + intid / 16 * 4;

    qtest_writel(qts, cfg, qtest_readl(qts, cfg) | 2u << intid % 16 * 2);
    qtest_writel(qts, GICD + 0x280 + intid / 32 * 4, 1u << intid % 32);
}

bool irq_pending(int intid)
{
    return qtest_readl(qts, GICD + 0x200 + intid / 32 * 4) >> intid % 32 & 1;
}

void sync_submit(void)
{
    submit(0x46, 0, 0, 0);
}

uint32_t ppr_word(int n, int word)
{
    return qtest_readl(qts, PRIQ + 16 * n + 4 * word);
}

/* The endpoint works in the main loop, in several turns. */
void wait_priq(uint32_t prod)
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

uint32_t response(void)
{
    uint32_t val = dev_read(IOPF_INJ_RESPONSE);

    dev_write(IOPF_INJ_RESPONSE, 0xffffffff);
    return val;
}

void start_pri(const Stream *stream)
{
    start(ALL_FEATURES, stream, CD_S);
    dev_write(IOPF_INJ_RESPONSE, 0xffffffff);
}

void fill_priq(void)
{
    int i;

    for (i = 0; i < 1 << PRIQ_LOG2; i++) {
        page_request(1, 100 + i, LAST_READ);
    }
    g_assert_cmphex(smmu_read(PRIQ_PROD), ==, 8);
}

/* A queue of @ssid whose ring is @offset into what VA maps */
void start_queue_at(int q, uint32_t ssid, uint32_t mode,
                    uint32_t offset)
{
    dev_write(IOPF_QCTL(q) + IOPF_Q_PASID, ssid | IOPF_PASID_VALID);
    dev_write(IOPF_QCTL(q) + IOPF_Q_CONCURRENCY, 4);
    dev_write(IOPF_QCTL(q) + IOPF_Q_MODE, mode);
    dev_write(IOPF_USER(q) + IOPF_U_RING_LO, (uint32_t)VA + offset);
    dev_write(IOPF_USER(q) + IOPF_U_RING_SIZE, 4);
}

void start_queue(uint32_t mode)
{
    start_queue_at(5, 1, mode, 0);
}

void write_desc(uint64_t addr, uint32_t op, uint64_t src, uint64_t dst,
                uint64_t len, uint64_t arg)
{
    qtest_memset(qts, addr, 0, 64);
    qtest_writel(qts, addr, op);
    qtest_writeq(qts, addr + 8, src);
    qtest_writeq(qts, addr + 16, dst);
    qtest_writeq(qts, addr + 24, len);
    qtest_writeq(qts, addr + 32, arg);
}

void put_desc(int n, uint32_t op, uint64_t dst, uint64_t len,
              uint64_t arg)
{
    write_desc(PAGE + 64 * n, op, 0, dst, len, arg);
    dev_write(IOPF_USER(5) + IOPF_U_PROD, n + 1);
}

uint32_t desc_status(int n)
{
    int i;

    /* the endpoint works in the main loop */
    for (i = 0; i < 20 && !qtest_readl(qts, PAGE + 64 * n + 40); i++) {
        qtest_clock_step(qts, 2 * 1000 * 1000);
    }
    return qtest_readl(qts, PAGE + 64 * n + 40);
}

void cmd_atc_inv(uint32_t flags, uint32_t ssid, uint64_t addr,
                 uint32_t size)
{
    command(0x40 | flags | ssid << 12, sid, (uint32_t)addr | size, addr >> 32);
}

void choose_function(int vf)
{
    sid = DEVFN + vf;
    bar0 = vf ? OTHER_BAR0 + (vf - 1) * IOPF_BAR_SIZE : BAR0;
}

bool migration_done(void)
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
char *save_machine(void)
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
void migrate_machine(const char *options)
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

static bool incoming_ended(bool *good)
{
    QDict *rsp = qtest_qmp_assert_success_ref(qts,
        "{ 'execute': 'query-migrate' }");
    const char *status = qdict_get_try_str(rsp, "status") ?: "none";
    bool bad = !strcmp(status, "failed");

    *good = !strcmp(status, "completed");
    qobject_unref(rsp);
    return bad || *good;
}

/* Another QEMU takes the state in @file, or refuses it, which is said. */
bool load_machine(const char *options, const char *file)
{
    g_autofree char *uri = g_strdup_printf("exec:cat %s", file);
    g_autofree char *incoming = g_strdup_printf("-incoming defer %s", options);
    bool good;

    boot(incoming);
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate-incoming',"
                             "'arguments': { 'uri': %s,"
                             "'exit-on-error': false } }", uri);
    while (!incoming_ended(&good)) {
        g_usleep(1000);
    }
    return good;
}
