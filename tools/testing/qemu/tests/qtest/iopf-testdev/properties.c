/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties, ID registers, what the guest is told */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "lib.h"

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
                  "-global arm-smmuv3.x-eventqs=7 "
                  "-global arm-smmuv3.x-priqs=6");
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

#define FW_CFG          0x09020000ULL
#define FW_CFG_DIR      0x19

/* Read an item of fw_cfg, from its start. */
static void fw_cfg_read(uint16_t key, void *buf, size_t len)
{
    uint8_t *byte = buf;

    qtest_writew(qts, FW_CFG + 8, cpu_to_be16(key));
    while (len--) {
        *byte++ = qtest_readb(qts, FW_CFG);
    }
}

/* The key of a file in fw_cfg */
static uint16_t fw_cfg_find(const char *name)
{
    uint8_t dir[4 + 64 * 64];
    uint32_t i;

    fw_cfg_read(FW_CFG_DIR, dir, sizeof(dir));
    for (i = 0; i < MIN(ldl_be_p(dir), 64); i++) {
        if (!strcmp((char *)dir + 4 + 64 * i + 8, name)) {
            return lduw_be_p(dir + 4 + 64 * i + 4);
        }
    }
    g_assert_not_reached();
}

/* The IORT's root complex node; its ATS Attribute is 24 bytes into it. */
static uint32_t iort_ats(const char *options)
{
    size_t size = 16 * KiB;
    g_autofree uint8_t *tables = g_malloc0(size);
    uint32_t at, ats = UINT32_MAX;
    uint8_t *iort;

    boot(options);
    fw_cfg_read(fw_cfg_find("etc/acpi/tables"), tables, size);
    iort = memmem(tables, size, "IORT", 4);
    g_assert_nonnull(iort);
    for (at = ldl_le_p(iort + 40); at < ldl_le_p(iort + 4);
         at += lduw_le_p(iort + at + 1)) {
        g_assert_cmpuint(iort + at + 28 - tables, <, size);
        if (iort[at] == 2) {
            ats = ldl_le_p(iort + at + 24);
        }
    }
    stop();
    return ats;
}

static void test_iort(void)
{
    g_assert_cmphex(iort_ats(""), ==, 0);
    g_assert_cmphex(iort_ats("-global arm-smmuv3.ats=on "), ==, 1);
}

const IopfTest iopf_tests_properties[] = {
    { "idr/default", test_off_by_default },
    { "idr/features", test_idr },
    { "properties", test_properties },
    { "device-tree", test_device_tree },
    { "iort", test_iort },
    { }
};
