/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SMMUv3's own view of a device, read from memory: its stream table entry,
 * context descriptor and stage 1 page table (Arm IHI 0070, chapters 3.3, 5.2,
 * 5.4; Arm DDI 0487, D8.3). It asks the running kernel nothing, so that it
 * tells what hardware would do on any kernel.
 */
#ifndef SMMU_H
#define SMMU_H

#include <stdbool.h>

#include "msi_lib.h"

enum smmu_config { SMMU_ABORT, SMMU_BYPASS, SMMU_STAGE1, SMMU_OTHER };

struct smmu_map {
	u64 iova, addr, size;
	bool writable, executable, device_memory;
};

/* Must be called first; a negative errno where this machine has no SMMUv3. */
int smmu_open(void);
int smmu_config(unsigned int sid);
/* 0 and the mapping that @iova is in; -ENOENT where a device would fault. */
int smmu_lookup(unsigned int sid, u64 iova, struct smmu_map *map);
/* How many mappings of the domain lead to the page at @addr; the last one. */
int smmu_find(unsigned int sid, u64 addr, struct smmu_map *map);
/* Does the domain map the device's first message to the doorbell at @addr? */
bool smmu_leads_to(const char *bdf, u64 addr);

#endif
