// SPDX-License-Identifier: GPL-2.0-only
/* Walks the SMMUv3's tables through /dev/mem; see smmu.h. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "smmu.h"

/* Registers, IHI 0070 6.3 */
#define STRTAB_BASE		0x80
#define STRTAB_BASE_CFG		0x88
#define ADDR_MASK		0x000fffffffffffc0ULL
#define CFG_FMT_2LVL(cfg)	(((cfg) >> 16 & 3) == 1)
#define CFG_SPLIT(cfg)		((cfg) >> 6 & 0x1f)

#define STE_SIZE		64
#define STE_VALID		1ULL
#define STE_CONFIG(ste)		((ste) >> 1 & 7)

/* Page table descriptors, DDI 0487 D8.3 */
#define PTE_VALID		1ULL
#define PTE_TABLE		2ULL
#define PTE_ADDR		0x0000fffffffff000ULL
#define PTE_ATTR_INDEX(pte)	((pte) >> 2 & 7)
#define PTE_READ_ONLY		0x80ULL
#define PTE_XN			0x0040000000000000ULL
#define LAST_LEVEL		3

struct context {
	u64 table;
	unsigned int bits, granule_shift;
	u64 mair;
};

static int mem = -1;
static const char *registers;

static u64 read_memory(u64 addr)
{
	u64 value = 0;

	if (pread(mem, &value, sizeof(value), addr) != sizeof(value))
		return 0;
	return le64toh(value);
}

int smmu_open(void)
{
	u64 reg[1];
	glob_t found;
	void *map;
	int fd;

	if (registers)
		return 0;
	if (glob("/sys/firmware/devicetree/base/smmuv3@*/reg", 0, NULL,
		 &found))
		return -ENODEV;
	fd = open(found.gl_pathv[0], O_RDONLY);
	globfree(&found);
	if (fd < 0 || read(fd, reg, sizeof(reg)) != sizeof(reg))
		return -EIO;
	close(fd);
	mem = open("/dev/mem", O_RDONLY | O_SYNC | O_CLOEXEC);
	if (mem < 0)
		return -errno;
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, mem, be64toh(reg[0]));
	if (map == MAP_FAILED)
		return -errno;
	registers = map;
	return 0;
}

/* The stream table entry's address, 0 where the table has none. */
static u64 find_ste(unsigned int sid)
{
	u64 base = read64(registers + STRTAB_BASE) & ADDR_MASK;
	u32 cfg = read32(registers + STRTAB_BASE_CFG);
	unsigned int split = CFG_SPLIT(cfg);
	u64 level1, span;

	if (!CFG_FMT_2LVL(cfg))
		return base + (u64)sid * STE_SIZE;
	level1 = read_memory(base + (u64)(sid >> split) * 8);
	span = level1 & 0x1f;
	sid &= (1U << split) - 1;
	if (!span || sid >= 1ULL << (span - 1))
		return 0;
	return (level1 & ADDR_MASK) + (u64)sid * STE_SIZE;
}

int smmu_config(unsigned int sid)
{
	u64 addr = find_ste(sid), ste;

	ste = addr ? read_memory(addr) : 0;
	if (!(ste & STE_VALID))
		return SMMU_ABORT;
	switch (STE_CONFIG(ste)) {
	case 0:
		return SMMU_ABORT;
	case 4:
		return SMMU_BYPASS;
	case 5:
		return SMMU_STAGE1;
	}
	return SMMU_OTHER;
}

/* The context descriptor without a substream: the first of the table. */
static int read_context(unsigned int sid, struct context *context)
{
	static const unsigned int granules[] = { 12, 16, 14, 12 };
	u64 ste, cd;

	if (smmu_config(sid) != SMMU_STAGE1)
		return -ENOENT;
	ste = read_memory(find_ste(sid));
	cd = ste & ADDR_MASK;
	context->table = read_memory(cd + 8) & ADDR_MASK;
	context->mair = read_memory(cd + 24);
	cd = read_memory(cd);
	context->bits = 64 - (cd & 0x3f);
	context->granule_shift = granules[cd >> 6 & 3];
	return 0;
}

/* The first level that is walked, and how far its index reaches. */
static unsigned int first_level(const struct context *context)
{
	unsigned int step = context->granule_shift - 3;
	unsigned int levels = (context->bits - context->granule_shift +
			       step - 1) / step;

	return LAST_LEVEL + 1 - levels;
}

static unsigned int level_shift(const struct context *context,
				unsigned int level)
{
	return context->granule_shift +
	       (LAST_LEVEL - level) * (context->granule_shift - 3);
}

static void decode(const struct context *context, u64 pte,
		   unsigned int level, u64 iova, struct smmu_map *map)
{
	u8 attr = context->mair >> PTE_ATTR_INDEX(pte) * 8;

	map->size = 1ULL << level_shift(context, level);
	map->iova = iova & ~(map->size - 1);
	map->addr = pte & PTE_ADDR & ~(map->size - 1);
	map->writable = !(pte & PTE_READ_ONLY);
	map->executable = !(pte & PTE_XN);
	/* Device memory of any kind: the upper half is 0 (DDI 0487 D19.2). */
	map->device_memory = !(attr & 0xf0);
}

static bool is_leaf(u64 pte, unsigned int level)
{
	return level == LAST_LEVEL || !(pte & PTE_TABLE);
}

int smmu_lookup(unsigned int sid, u64 iova, struct smmu_map *map)
{
	struct context context;
	unsigned int level;
	u64 pte = 0;

	if (read_context(sid, &context))
		return -ENOENT;
	if (context.bits < 64 && iova >> context.bits)
		return -ENOENT;
	pte = context.table;
	for (level = first_level(&context); level <= LAST_LEVEL; level++) {
		unsigned int shift = level_shift(&context, level);
		u64 mask = (1ULL << (context.granule_shift - 3)) - 1;

		pte = read_memory((pte & PTE_ADDR) +
				  (iova >> shift & mask) * 8);
		if (!(pte & PTE_VALID))
			return -ENOENT;
		if (is_leaf(pte, level))
			break;
	}
	decode(&context, pte, level, iova, map);
	return 0;
}

/* Counts below one table; recursive, four levels at most. */
static int count_below(const struct context *context, u64 table,
		       unsigned int level, u64 iova, u64 wanted,
		       struct smmu_map *map)
{
	unsigned int entries = 1U << (context->granule_shift - 3), index;
	u64 ptes[8192];
	struct smmu_map one;
	int count = 0;

	if (pread(mem, ptes, entries * 8, table) != (ssize_t)entries * 8)
		return 0;
	for (index = 0; index < entries; index++) {
		u64 pte = le64toh(ptes[index]);
		u64 here = iova + ((u64)index <<
					level_shift(context, level));

		if (!(pte & PTE_VALID))
			continue;
		if (!is_leaf(pte, level)) {
			count += count_below(context, pte & PTE_ADDR,
					     level + 1, here, wanted, map);
			continue;
		}
		decode(context, pte, level, here, &one);
		if (wanted >= one.addr && wanted - one.addr < one.size) {
			*map = one;
			count++;
		}
	}
	return count;
}

int smmu_find(unsigned int sid, u64 addr, struct smmu_map *map)
{
	struct context context;

	memset(map, 0, sizeof(*map));
	if (read_context(sid, &context))
		return 0;
	return count_below(&context, context.table & PTE_ADDR,
			   first_level(&context), 0, addr, map);
}

bool smmu_leads_to(const char *bdf, u64 addr)
{
	struct msi_entry entry;
	struct smmu_map map;

	return msi_entries(bdf, &entry, 1) == 1 &&
	       !smmu_lookup(requester_id(bdf), entry.addr, &map) &&
	       map.addr + entry.addr - map.iova == addr;
}
