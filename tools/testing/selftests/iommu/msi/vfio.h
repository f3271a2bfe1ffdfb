/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A device in user space's hands, by VFIO's type1 container or by iommufd, and
 * QEMU's "edu" device as such.
 */
#ifndef MSI_VFIO_H
#define MSI_VFIO_H

#include <stdbool.h>

#include "msi_lib.h"

enum vfio_way { VFIO_TYPE1, VFIO_IOMMUFD };

struct vfio {
	enum vfio_way way;
	char bdf[32];
	int device;
	int container;		/* or iommufd */
	int group;		/* type1 only */
	u32 ioas;		/* iommufd only */
	int event;		/* what the interrupt signals */
	void *bar;
};

/* Takes the device from its driver, opens it, attaches it to a new domain. */
int vfio_open(struct vfio *vfio, enum vfio_way way, const char *bdf);
void vfio_close(struct vfio *vfio);
int vfio_map(struct vfio *vfio, void *memory, u64 size, u64 iova);
/* One MSI, which signals vfio->event; off again. */
int vfio_enable_msi(struct vfio *vfio);
void vfio_disable_msi(struct vfio *vfio);
/* Two vectors of MSI-X, of which the first is enabled; the second later on. */
int vfio_enable_msix(struct vfio *vfio);
int vfio_enable_second_msix(struct vfio *vfio);
/* The device's memory decoding: without it, it has no MSI-X table. */
int vfio_set_memory(struct vfio *vfio, bool on);
/* As many vectors as there are events. */
int vfio_enable_many(struct vfio *vfio, const s32 *events, u32 count);
int vfio_reset(struct vfio *vfio);
/* The device is suspended until something needs it. */
int vfio_low_power(struct vfio *vfio, bool on);
/* What IOVAs the user may have around @hole: the last before, the first after. */
int vfio_hole(struct vfio *vfio, u64 hole, u64 *below, u64 *above);
bool vfio_wait_event(struct vfio *vfio, int ms);
/* iommufd only: a new address space; attaching replaces the one before. */
int vfio_new_ioas(struct vfio *vfio, u32 *ioas);
int vfio_attach(struct vfio *vfio, u32 ioas);
int vfio_detach(struct vfio *vfio);

/* edu (QEMU docs/specs/edu.txt): a register, an interrupt, a copy by DMA. */
u32 edu_read(struct vfio *vfio, unsigned int reg);
void edu_write(struct vfio *vfio, unsigned int reg, u64 value);
/* Raises the interrupt; true if it arrived within @ms. */
bool edu_interrupts(struct vfio *vfio, int ms);
int edu_copy(struct vfio *vfio, u64 from, u64 to, u32 size,
	     bool to_memory);

#define EDU_ID			0x00
#define EDU_BUFFER		0x40000

#endif
