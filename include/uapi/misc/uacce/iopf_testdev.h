/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * iopf-testdev: an emulated PCIe endpoint that computes on virtual addresses
 * and waits for the pages it misses.
 *
 * This file is the device's reference manual. QEMU's device model, the kernel
 * driver and the tests share it by inclusion.
 *
 * Function 1b36:00f0, MSI-X with a vector a queue, PASID, ATS and PRI
 * capabilities, function-level reset; maybe virtual functions, which look the
 * same but for PASID and PRI, whose registers are the physical function's, as
 * are its grant and its Response Failure. BAR 0:
 *
 *	IOPF_GLOBAL	what there is, and what has happened (driver)
 *	IOPF_INJECT	the error page: misbehaves on request (tests)
 *	IOPF_QCTL(q)	binds queue q to a PASID (driver)
 *	IOPF_USER(q)	ring of queue q (mapped into one process)
 *
 * Registers are little-endian and 32 bits wide. A queue takes descriptors
 * from a ring in its process's own memory: it reads descriptor CONS while
 * CONS != PROD, does what that says, writes the last 24 bytes of the
 * descriptor, increments CONS and sends its vector. What it accesses for that
 * goes through the IOMMU with the queue's PASID:
 *
 *	IOPF_MODE_STALL	untranslated; the IOMMU may stall a transaction
 *	IOPF_MODE_ATS	translated by ATS; a page that is not there is an error
 *	IOPF_MODE_PRI	translated by ATS; a page that is not there is requested
 *
 * A queue looks at up to CONCURRENCY pages at a time, or at the two that a copy
 * or a comparison needs: that many transactions may be stalled, and that many
 * pages make up a page request group. It moves data when all of them are there
 * at once.
 *
 * What was translated may be used somewhat later (x-dma-delay-us): a queue that
 * is turned off is busy until then, and an invalidation is not confirmed before
 * the accesses that it concerns are over.
 *
 * A queue whose ring cannot be read or written halts, with IOPF_STATUS_ERROR.
 */
#ifndef _UAPI_MISC_UACCE_IOPF_TESTDEV_H
#define _UAPI_MISC_UACCE_IOPF_TESTDEV_H

#include <linux/types.h>

#define IOPF_VENDOR_ID		0x1b36
#define IOPF_DEVICE_ID		0x00f0

#define IOPF_BAR_SIZE		0x800000
#define IOPF_NR_QUEUES		64
#define IOPF_MAX_CONCURRENCY	32

/* The PASID registers: the number in bits 19:0, valid if bit 31 is set */
#define IOPF_PASID_VALID	0x80000000u
#define IOPF_PASID_MASK		0x000fffffu

/* Global registers */
#define IOPF_GLOBAL		0x0000
#define IOPF_ID			(IOPF_GLOBAL + 0x00)
#define   IOPF_ID_VALUE		0x54504f49	/* "IOPT" */
#define IOPF_VERSION		(IOPF_GLOBAL + 0x04)
#define   IOPF_VERSION_VALUE	2
#define IOPF_QUEUES		(IOPF_GLOBAL + 0x08)
#define IOPF_CTRL		(IOPF_GLOBAL + 0x0c)
#define   IOPF_CTRL_RESET	0x1	/* write only */
#define   IOPF_CTRL_INTERLEAVE	0x2	/* queues take turns, a page each */
#define IOPF_STATE		(IOPF_GLOBAL + 0x10)	/* read only */
#define   IOPF_STATE_MASTER	0x1	/* bus mastering is on */
#define   IOPF_STATE_PASID	0x2
#define   IOPF_STATE_ATS	0x4
#define   IOPF_STATE_PRI	0x8
#define   IOPF_STATE_STALL	0x10	/* the device was built to stall */
#define IOPF_PRI_IN_FLIGHT	(IOPF_GLOBAL + 0x14)	/* page requests */

/* Counters, 64 bits each; a reset of the function clears them */
#define IOPF_COUNTER(n)		(IOPF_GLOBAL + 0x80 + 8 * (n))
#define IOPF_CNT_DESCRIPTORS	0	/* completed */
#define IOPF_CNT_BYTES		1	/* read and written */
#define IOPF_CNT_TRANSLATIONS	2	/* untranslated accesses, all tries */
#define IOPF_CNT_STALLS		3	/* accesses that stalled at all */
#define IOPF_CNT_RETRIES	4	/* stalls answered: retry */
#define IOPF_CNT_STALL_ABORTS	5	/* stalls answered: abort */
#define IOPF_CNT_ABORTS		6	/* accesses refused at once */
#define IOPF_CNT_ATS_REQUESTS	7
#define IOPF_CNT_ATC_HITS	8
#define IOPF_CNT_INVALIDATIONS	9	/* received */
#define IOPF_CNT_PAGE_REQUESTS	10	/* without stop markers */
#define IOPF_CNT_GROUPS		11	/* Last requests among them */
#define IOPF_CNT_RESP_SUCCESS	12
#define IOPF_CNT_RESP_INVALID	13
#define IOPF_CNT_RESP_FAILURE	14
#define IOPF_CNT_RESP_UNEXPECTED 15	/* no such group, or the wrong PASID */
#define IOPF_CNT_STOP_MARKERS	16
#define IOPF_CNT_STALE		17	/* answers that nobody waited for */
/*
 * GROUPS is ANSWERED plus FORGOTTEN plus what is outstanding. The others from
 * here on are zero unless a driver errs: UNEXPECTED is the sum of NOTHING,
 * WRONG_PASID and NOT_AUTO.
 */
#define IOPF_CNT_ANSWERED	18	/* groups that had their one response */
#define IOPF_CNT_FORGOTTEN	19	/* ... that a PRI reset or failure ended */
#define IOPF_CNT_LATE		20	/* responses to such, or from before FLR */
#define IOPF_CNT_NOTHING	21	/* responses to nothing outstanding */
#define IOPF_CNT_WRONG_PASID	22
#define IOPF_CNT_NOT_AUTO	23	/* software's failure without its PASID */
#define IOPF_CNT_STALE_DMA	24	/* through what was confirmed as forgotten */
#define IOPF_CNT_MISCONFIG	25	/* enables that PCIe leaves undefined */
#define IOPF_NR_COUNTERS	26

/* The error page */
#define IOPF_INJECT		0x1000
#define IOPF_INJ_CMD		(IOPF_INJECT + 0x00)	/* write last: go */
#define   IOPF_INJ_PAGE_REQUEST	1
#define   IOPF_INJ_TRANSLATE	2	/* untranslated access */
#define   IOPF_INJ_ATS_REQUEST	3
#define   IOPF_INJ_TRANSLATED	4	/* may PASID-less ADDR be accessed? */
#define IOPF_INJ_PASID		(IOPF_INJECT + 0x04)
#define IOPF_INJ_ADDR_LO	(IOPF_INJECT + 0x08)
#define IOPF_INJ_ADDR_HI	(IOPF_INJECT + 0x0c)
#define IOPF_INJ_FLAGS		(IOPF_INJECT + 0x10)
#define   IOPF_INJ_READ		0x01
#define   IOPF_INJ_WRITE	0x02
#define   IOPF_INJ_EXEC		0x04
#define   IOPF_INJ_PRIV		0x08
#define   IOPF_INJ_LAST		0x10
#define   IOPF_INJ_STALL	0x20	/* may be stalled */
#define   IOPF_INJ_NEXT_PAGE	0x40	/* COUNT: the next page each time */
#define   IOPF_INJ_NEXT_PRGI	0x80	/* COUNT: the next group each time */
#define IOPF_INJ_PRGI		(IOPF_INJECT + 0x14)
#define IOPF_INJ_COUNT		(IOPF_INJECT + 0x18)	/* 0 stands for 1 */
#define IOPF_INJ_RESULT		(IOPF_INJECT + 0x1c)	/* read only */
#define   IOPF_INJ_OK		0
#define   IOPF_INJ_STALLED	1
#define   IOPF_INJ_ABORTED	2
#define   IOPF_INJ_UNSUPPORTED	3
#define   IOPF_INJ_REFUSED	4	/* not enabled, and not forced */
#define   IOPF_INJ_GRANTED(x)	(((x) >> 4) & 3)	/* IOPF_INJ_READ... */
#define IOPF_INJ_PA_LO		(IOPF_INJECT + 0x20)	/* read only */
#define IOPF_INJ_PA_HI		(IOPF_INJECT + 0x24)
#define IOPF_INJ_MISBEHAVE	(IOPF_INJECT + 0x28)
#define   IOPF_MIS_IGNORE_RESP	0x1	/* page request responses are lost */
#define   IOPF_MIS_HOLD_INV	0x2	/* invalidations are never confirmed */
#define   IOPF_MIS_DELAY_INV	0x4	/* ... are confirmed somewhat later */
#define   IOPF_MIS_FORCE	0x8	/* what is not enabled is done anyway */
#define   IOPF_MIS_LOSE_INV	0x10	/* a reset: those are never confirmed */
#define   IOPF_MIS_KEEP_ATC	0x20	/* ... are confirmed and not obeyed */
#define IOPF_INJ_STALL_ANSWER	(IOPF_INJECT + 0x2c)	/* 1 retry 2 abort */
#define IOPF_INJ_RESPONSE	(IOPF_INJECT + 0x30)	/* last PRG response */
#define   IOPF_INJ_RESP_PRGI(x)	((x) & 0x1ff)
#define   IOPF_INJ_RESP_CODE(x)	(((x) >> 16) & 0xf)	/* as in PCIe */
#define IOPF_INJ_RESP_PASID	(IOPF_INJECT + 0x34)
#define IOPF_INJ_FUNCTION	(IOPF_INJECT + 0x38)	/* 0: in its own name */
#define   IOPF_INJ_FUNCTION_VALID 0x80000000u	/* | slot << 3 | number */
#define IOPF_INJ_TRIGGER	(IOPF_INJECT + 0x3c)	/* CMD, at such a time */
#define   IOPF_TRIG_INVALIDATE	0x1	/* invalidated, and not confirmed */
#define   IOPF_TRIG_CONFIRM	0x2	/* just after that was confirmed */
#define   IOPF_TRIG_STOP	0x4	/* a queue has been turned off */
#define   IOPF_TRIG_CMD(cmd)	((cmd) << 8)	/* with that one's PASID */

/* Queue control, for the driver */
#define IOPF_QCTL(q)		(0x10000 + 0x100 * (q))
#define IOPF_Q_PASID		0x00	/* while off; clears the user's page */
#define IOPF_Q_MODE		0x04	/* off: what is in flight goes on */
#define   IOPF_MODE_OFF		0
#define   IOPF_MODE_STALL	1
#define   IOPF_MODE_ATS		2
#define   IOPF_MODE_PRI		3
#define IOPF_Q_CONCURRENCY	0x08	/* 1 to IOPF_MAX_CONCURRENCY */
#define IOPF_Q_STATUS		0x0c	/* read only */

/* The user's page; 64 KiB apart for the sake of large pages */
#define IOPF_USER_STRIDE	0x10000
#define IOPF_USER(q)		(0x400000 + IOPF_USER_STRIDE * (q))
#define IOPF_U_RING_LO		0x00	/* a multiple of 64 */
#define IOPF_U_RING_HI		0x04
#define IOPF_U_RING_SIZE	0x08	/* log2 of its descriptors, to 12 */
#define IOPF_U_PROD		0x0c	/* free running */
#define IOPF_U_CONS		0x10	/* free running, read only */
#define IOPF_U_STATUS		0x14	/* read only */
#define   IOPF_STATUS_ENABLED	0x1
#define   IOPF_STATUS_BUSY	0x2	/* answers are outstanding, or MOVING */
#define   IOPF_STATUS_ERROR	0x4
#define   IOPF_STATUS_MOVING	0x8	/* data is on its way, not for long */
#define   IOPF_STATUS_CODE(x)	(((x) >> 8) & 0xff)	/* IOPF_DESC_* */
#define IOPF_U_RESTART		0x18	/* write: PROD = CONS = 0, no error */
#define IOPF_U_IRQ		0x1c	/* 1: send the vector on completion */
#define IOPF_U_CONCURRENCY	0x20	/* as IOPF_Q_CONCURRENCY */

/* What to do */
#define IOPF_OP_NOP		1
#define IOPF_OP_COPY		2	/* len bytes from src to dst */
#define IOPF_OP_FILL		3	/* len bytes at dst with arg */
#define IOPF_OP_COMPARE		4	/* result: equal bytes */
#define IOPF_OP_CHECKSUM	5	/* result: FNV-1a of len bytes at src */
#define IOPF_OP_SCATTER		6	/* arg + n to address n of len at src */

/* How it went */
#define IOPF_DESC_PENDING	0
#define IOPF_DESC_OK		1
#define IOPF_DESC_BAD		2	/* no such op, misaligned address */
#define IOPF_DESC_ABORTED	3	/* the IOMMU aborted an access */
#define IOPF_DESC_DENIED	4	/* no permission, and no PRI */
#define IOPF_DESC_INVALID	5	/* page request: Invalid Request */
#define IOPF_DESC_FAILURE	6	/* page request: Response Failure */
#define IOPF_DESC_BUS		7	/* no memory behind the address */

struct iopf_desc {
	__le32 op;
	__le32 flags;		/* 0 */
	__le64 src;
	__le64 dst;
	__le64 len;
	__le64 arg;
	/* written by the device: */
	__le32 status;
	__le32 unused;
	__le64 result;
	__le64 fault_addr;
};

#endif
