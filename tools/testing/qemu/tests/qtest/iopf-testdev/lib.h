/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SMMUv3 substreams, stalls, ATS and PRI, and the endpoint iopf-testdev
 *
 * The tests play the driver: tables, queues and commands are written here, and
 * records are looked at bit by bit. Requests come from the endpoint's error
 * page, or from a descriptor ring. Sections are those of Arm IHI 0070.
 *
 * Each file beside this one is a room, with a table of its tests.
 */

#ifndef IOPF_TESTDEV_LIB_H
#define IOPF_TESTDEV_LIB_H

#include "../libqtest.h"
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

#define RESUME_TERMINATE 0
#define RESUME_RETRY     1
#define RESUME_ABORT     2

/* How long a CMD_SYNC waits for an invalidation */
#define ATS_TIMEOUT     "x-ats-timeout-ms"

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

/* A test, and where its name is in the tree of them */
typedef struct IopfTest {
    const char *name;
    void (*fn)(void);
} IopfTest;

extern const IopfTest iopf_tests_properties[];
extern const IopfTest iopf_tests_substream[];
extern const IopfTest iopf_tests_stall[];
extern const IopfTest iopf_tests_ats[];
extern const IopfTest iopf_tests_pri[];
extern const IopfTest iopf_tests_endpoint[];
extern const IopfTest iopf_tests_error[];
extern const IopfTest iopf_tests_vf[];
extern const IopfTest iopf_tests_migration[];
extern const IopfTest iopf_tests_fuzz[];

/* One stage, CDs for 256 substreams; the same with ATS and STE.PPAR */
extern const Stream plain, with_ats;
extern QTestState *qts;
/* The function that is spoken to: its requester ID, its registers */
extern uint32_t sid;
extern uint64_t bar0;
uint32_t smmu_read(uint32_t reg);
void smmu_write(uint32_t reg, uint32_t val);
uint32_t dev_read(uint32_t reg);
void dev_write(uint32_t reg, uint32_t val);
uint32_t counter(int n);

/* Set-up */
void write_cd(uint64_t addr, uint32_t flags, uint32_t asid);
void write_ste(const Stream *stream);
void write_pte(uint64_t va, uint64_t pte);
void map(uint64_t va, uint64_t pa);
void map_ro(uint64_t va, uint64_t pa);
void set_bits(uint64_t addr, uint16_t bits);
uint64_t find_ext_cap(uint64_t cfg, uint16_t id);
uint64_t ext_cap(uint16_t id);
uint64_t find_cap(uint8_t id);
void function_level_reset(void);
void enable_bars(void);
void enable_endpoint(void);

#define MACHINE "-M virt,iommu=smmuv3,gic-version=3 -cpu cortex-a57 " \
                "-m 256M -nodefaults "

void boot(const char *options);
void start_machine(const char *options);
void start_smmu(const Stream *stream, uint32_t cd_flags);
void start(const char *options, const Stream *stream,
           uint32_t cd_flags);
void stop(void);

/* Queues */
void submit(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3);
bool cmdq_idle(void);
void wait_cmdq(void);
void command(uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3);
void command_fails(uint32_t error, uint32_t w0, uint32_t w1,
                   uint32_t w2, uint32_t w3);
void cmd_resume(uint32_t sid, uint32_t stag, uint32_t action);
void cmd_pri_resp(uint32_t ssid, uint32_t prgi, uint32_t resp);
bool have_event(void);
void wait_event(void);
uint32_t event_word(int word);
void eat_event(void);
void expect_event(uint32_t type, uint32_t ssid);

/* Requests of the endpoint */
uint32_t inject(uint32_t cmd, uint32_t ssid, uint64_t addr,
                uint32_t flags);
uint32_t translate(uint32_t ssid, uint64_t addr);
uint32_t translate_stall(uint64_t addr);
uint32_t stall_answer(void);
uint64_t result_pa(void);
uint32_t ats_request(uint64_t addr, uint32_t flags);
void page_request(uint32_t ssid, uint32_t prgi, uint32_t flags);
#define LAST_READ (IOPF_INJ_READ | IOPF_INJ_LAST)

/* Interrupts: edges are latched in the distributor. */
void watch_irq(int intid);
bool irq_pending(int intid);
void sync_submit(void);
uint32_t ppr_word(int n, int word);
void wait_priq(uint32_t prod);
uint32_t response(void);
#define NO_RESPONSE     0xffffffffu
#define RESPONSE(prgi, code) ((prgi) | (code) << 16)
void start_pri(const Stream *stream);
void fill_priq(void);
void start_queue_at(int q, uint32_t ssid, uint32_t mode,
                    uint32_t offset);
void start_queue(uint32_t mode);
void write_desc(uint64_t addr, uint32_t op, uint64_t src, uint64_t dst,
                uint64_t len, uint64_t arg);
void put_desc(int n, uint32_t op, uint64_t dst, uint64_t len,
              uint64_t arg);
uint32_t desc_status(int n);
void cmd_atc_inv(uint32_t flags, uint32_t ssid, uint64_t addr,
                 uint32_t size);
#define ATC_SSV         (1u << 11)
#define ATC_GLOBAL      (1u << 9)
#define ATC_ALL         52
#define WITH_VFS        "-device iopf-testdev,addr=1,vfs=2"
void choose_function(int vf);
bool migration_done(void);
char *save_machine(void);
void migrate_machine(const char *options);
bool load_machine(const char *options, const char *file);

#endif
