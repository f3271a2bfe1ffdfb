/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nonsense */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "lib.h"

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
    uint32_t stream = g_test_rand_int_range(0, 4) ? sid : fuzz_word();

    /* an error must not stop the queue for good */
    smmu_write(CMDQ_CONS, smmu_read(CMDQ_PROD));
    smmu_write(GERRORN, smmu_read(GERROR));
    submit(opcode | (fuzz_word() & ~0xffu), stream, fuzz_word(), fuzz_word());
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
    case 7:
        if (!g_test_rand_int_range(0, 16)) {
            choose_function(g_test_rand_int_range(0, 3));
            /* a function that is not enabled reads as all ones */
            if (qtest_readb(qts, CFG + PCI_CAPABILITY_LIST) != 0xff) {
                function_level_reset();
            }
            choose_function(0);
            enable_endpoint();
        } else {
            fuzz_endpoint();
        }
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
            start(ALL_FEATURES "-global arm-smmuv3." ATS_TIMEOUT "=1 "
                  "-global arm-smmuv3.x-cmd-delay-us=10 " WITH_VFS
                  ",x-dma-delay-us=300,x-delay-seed=1", &with_ats,
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

#define STATE_SIZE      (90 * KiB)      /* of a function, about */

/* Some bytes of what one of the functions saved are different. */
static void fuzz_state(char *state, gsize size)
{
    static const char name[] = "/iopf-testdev";
    char *at = state;
    int i;

    for (i = g_test_rand_int_range(0, 3); i >= 0; i--) {
        at = memmem(at, state + size - at, name, strlen(name));
        g_assert_nonnull(at);
        at += strlen(name);
    }
    for (i = g_test_rand_int_range(0, 4); i >= 0; i--) {
        at[g_test_rand_int_range(0, MIN(STATE_SIZE, state + size - at))] =
            fuzz_word();
    }
}

/* A machine that took the state does something with it. */
static void fuzz_loaded(void)
{
    int i;

    enable_bars();
    for (i = 0; i < 64; i++) {
        dev_write(IOPF_USER(i) + IOPF_U_PROD, fuzz_word());
    }
    for (i = 0; i < 8; i++) {
        qtest_clock_step(qts, 1000 * 1000);
    }
    dev_write(IOPF_QCTL(0) + IOPF_Q_MODE, 0);
    function_level_reset();
}

/* A stream that lies is refused or survived. */
static void test_fuzz_migration(void)
{
    const char *env = getenv("IOPF_FUZZ_SECONDS");
    gint64 end = g_get_monotonic_time() +
                 (env ? atoi(env) : 3) * G_USEC_PER_SEC;
    g_autofree char *file = NULL, *state = NULL, *other = NULL;
    unsigned int taken = 0, refused = 0;
    gsize size;
    int i;

    start(ALL_FEATURES WITH_VFS, &with_ats, CD_S);
    for (i = 0; i < 300; i++) {
        fuzz_queue();
        fuzz_vfs();
    }
    file = save_machine();
    other = g_strdup_printf("%s-2", file);
    g_assert_true(g_file_get_contents(file, &state, &size, NULL));
    do {
        g_autofree char *lie = g_memdup2(state, size);

        fuzz_state(lie, size);
        g_assert_true(g_file_set_contents(other, lie, size, NULL));
        if (load_machine(ALL_FEATURES WITH_VFS, other)) {
            fuzz_loaded();
            taken++;
        } else {
            refused++;
        }
        stop();
    } while (g_get_monotonic_time() < end);
    g_test_message("%u streams taken, %u refused", taken, refused);
    unlink(file);
    unlink(other);
}

const IopfTest iopf_tests_fuzz[] = {
    { "fuzz", test_fuzz },
    { "fuzz-migration", test_fuzz_migration },
    { }
};
