/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions that an address space cannot express: with a PASID, able to
 * wait for a page (stall, PRI), or translated beforehand (ATS).
 *
 * An endpoint asks its IOMMU with the pci_iommu_*() calls below and gets an
 * answer at once; where the answer has to wait for software, the IOMMU keeps
 * a note and calls the endpoint's PCIIOMMUClient later. Nothing blocks.
 *
 * Context: the BQL is held for every call, in both directions. A client is
 * called while the IOMMU processes a command: it takes a note and schedules a
 * bottom half, and never calls back into the IOMMU.
 */

#ifndef HW_PCI_PCI_IOMMU_H
#define HW_PCI_PCI_IOMMU_H

#include "exec/memory.h"
#include "qemu/typedefs.h"

#define PCI_NO_PASID UINT32_MAX

typedef enum PCIXlateResult {
    PCI_XLATE_OK,
    PCI_XLATE_STALLED,          /* stall_done() follows */
    PCI_XLATE_ABORT,            /* ATS: Completer Abort */
    PCI_XLATE_UNSUPPORTED,      /* ATS: Unsupported Request */
} PCIXlateResult;

/**
 * PCIXlateReq - one memory access, translation request or page request
 * @pasid: its PASID, or %PCI_NO_PASID
 * @addr: untranslated address
 * @perm: what it wants to do
 * @priv: Privileged Mode Requested (only with a PASID)
 * @exec: Execute Requested (only with a PASID)
 * @can_stall: the endpoint copes with %PCI_XLATE_STALLED
 * @tag: given back with stall_done()
 */
typedef struct PCIXlateReq {
    uint32_t pasid;
    hwaddr addr;
    IOMMUAccessFlags perm;
    bool priv;
    bool exec;
    bool can_stall;
    uint32_t tag;
} PCIXlateReq;

/* Response codes, PCIe Base 6.0 section 10.4.2.2 */
typedef enum PCIPRIResponse {
    PCI_PRI_SUCCESS = 0,
    PCI_PRI_INVALID = 1,
    PCI_PRI_FAILURE = 15,
} PCIPRIResponse;

/**
 * PCIIOMMUClient - what an IOMMU tells an endpoint
 * @stall_done: the transaction with @tag is to be tried again, or aborted
 * @ats_invalidate: forget translations of @pasid from @addr, @mask + 1 bytes
 *                  (%PCI_NO_PASID: of requests without one; @global: of all
 *                  PASIDs). Return: whether this is done; where it is not,
 *                  the endpoint calls pci_iommu_ats_inv_done() later.
 * @pri_response: the answer to group @prgi
 */
typedef struct PCIIOMMUClient {
    void (*stall_done)(PCIDevice *dev, uint32_t tag, bool retry);
    bool (*ats_invalidate)(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                           hwaddr mask, bool global);
    void (*pri_response)(PCIDevice *dev, uint32_t pasid, uint16_t prgi,
                         PCIPRIResponse code);
} PCIIOMMUClient;

/* Let @dev hear from its IOMMU; %NULL: no longer. */
void pci_iommu_set_client(PCIDevice *dev, const PCIIOMMUClient *client);

/* An untranslated access (AT = 00). Fills @entry where it returns OK. */
PCIXlateResult pci_iommu_translate(PCIDevice *dev, const PCIXlateReq *req,
                                   IOMMUTLBEntry *entry);

/*
 * A translation request (AT = 01). OK with fewer permissions than asked for
 * in @entry is an answer, too: IOMMU_NONE stands for "not present".
 */
PCIXlateResult pci_iommu_ats_request(PCIDevice *dev, const PCIXlateReq *req,
                                     IOMMUTLBEntry *entry);

/* May @dev access the translated address @addr (AT = 10)? */
bool pci_iommu_ats_translated(PCIDevice *dev, hwaddr addr, bool write);

/*
 * A page request. @req->perm IOMMU_NONE with @last and a PASID is a stop
 * marker. The answer to @last comes by pri_response().
 */
void pci_iommu_pri_request(PCIDevice *dev, const PCIXlateReq *req,
                           uint16_t prgi, bool last);

/* The invalidation that ats_invalidate() put off is complete. */
void pci_iommu_ats_inv_done(PCIDevice *dev);

/* Forget the stalled transactions of @dev: it is reset, or goes away. */
void pci_iommu_cancel(PCIDevice *dev);

#endif
