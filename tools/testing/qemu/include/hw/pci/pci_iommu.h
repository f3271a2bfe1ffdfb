/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transactions that an address space cannot express: with a PASID, able to
 * wait for a page (stall, PRI), or translated beforehand (ATS).
 *
 * An endpoint asks its IOMMU with the calls below and gets an answer at once;
 * where the answer has to wait for software, the IOMMU keeps a note and calls
 * the endpoint later, by its PCIIOMMUClient or its IOMMUPRINotifier. Nothing
 * blocks.
 *
 * An untranslated access takes time: it begins when the IOMMU has translated
 * it and gives a token, and ends with pci_iommu_translate_done(). In between
 * the endpoint may read or write where @entry says, though an invalidation has
 * been asked for meanwhile; the IOMMU does not say that the invalidation is
 * complete as long as accesses that are older are in flight. Of translated
 * accesses the endpoint itself takes care, who confirms an invalidation when
 * those that it concerns are over.
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

/* Invalidations that a function may owe: PCIe Base 6.0 section 10.3.1 */
#define PCI_ATS_ITAGS 32

typedef enum PCIXlateResult {
    PCI_XLATE_OK,
    PCI_XLATE_STALLED,          /* stall_done() follows */
    PCI_XLATE_ABORT,
} PCIXlateResult;

/**
 * PCIXlateReq - one untranslated memory access
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
typedef enum IOMMUPRIResponseCode {
    IOMMU_PRI_RESP_SUCCESS,
    IOMMU_PRI_RESP_INVALID_REQUEST,
    IOMMU_PRI_RESP_FAILURE,
} IOMMUPRIResponseCode;

/**
 * IOMMUPRIResponse - the answer to a page request group
 * @response_code: what became of it
 * @prgi: the group
 * @pasid: the PASID that the response has, or %PCI_NO_PASID
 * @automatic: it is the IOMMU's own, not software's
 */
typedef struct IOMMUPRIResponse {
    IOMMUPRIResponseCode response_code;
    uint16_t prgi;
    uint32_t pasid;
    bool automatic;
} IOMMUPRIResponse;

struct IOMMUPRINotifier;
typedef void (*IOMMUPRINotify)(struct IOMMUPRINotifier *notifier,
                               IOMMUPRIResponse *response);

typedef struct IOMMUPRINotifier {
    IOMMUPRINotify notify;
} IOMMUPRINotifier;

/**
 * PCIIOMMUClient - what an IOMMU tells an endpoint
 * @stall_done: the transaction with @tag is to be tried again, or aborted
 * @ats_invalidate: forget translations of @pasid from @addr, @mask + 1 bytes
 *                  (%PCI_NO_PASID: of requests without one; @global: of all
 *                  PASIDs). Return: whether this is done; where it is not,
 *                  the endpoint calls pci_iommu_ats_inv_done() later, with
 *                  @itag, which is below %PCI_ATS_ITAGS and, until then, given
 *                  to no other invalidation of this function.
 */
typedef struct PCIIOMMUClient {
    void (*stall_done)(PCIDevice *dev, uint32_t tag, bool retry);
    bool (*ats_invalidate)(PCIDevice *dev, uint32_t pasid, hwaddr addr,
                           hwaddr mask, bool global, uint32_t itag);
} PCIIOMMUClient;

/* Let @dev hear from its IOMMU; %NULL: no longer. */
void pci_iommu_set_client(PCIDevice *dev, const PCIIOMMUClient *client);

/*
 * An untranslated access (AT = 00). Where it returns OK it fills @entry, and
 * pci_iommu_translate_done() has to follow with what it left in @token.
 */
PCIXlateResult pci_iommu_translate(PCIDevice *dev, const PCIXlateReq *req,
                                   IOMMUTLBEntry *entry, uint32_t *token);
void pci_iommu_translate_done(PCIDevice *dev, uint32_t token);

/**
 * pci_ats_request_translation - translation requests (AT = 01)
 * @dev: who asks
 * @pasid: a PASID, or %PCI_NO_PASID
 * @priv_req: Privileged Mode Requested
 * @exec_req: Execute Requested
 * @addr: the first untranslated address, 4 KiB aligned
 * @length: how many bytes from there
 * @no_write: the page will not be written (NW)
 * @result: the translations, one a 4 KiB page. One with fewer permissions than
 *          asked for is an answer, too: IOMMU_NONE stands for "not present".
 * @result_length: how many there is room for
 * @err_count: how many of them are IOMMU_NONE
 *
 * Return: how many were written to @result; -EPERM where the function is not
 * allowed to ask (ATS, a PASID or bus mastering are not enabled); -ENODEV for
 * an Unsupported Request, -EFAULT for a Completer Abort; -ENOMEM without room.
 */
ssize_t pci_ats_request_translation(PCIDevice *dev, uint32_t pasid,
                                    bool priv_req, bool exec_req, hwaddr addr,
                                    size_t length, bool no_write,
                                    IOMMUTLBEntry *result,
                                    size_t result_length, uint32_t *err_count);

/* May @dev access the translated address @addr (AT = 10)? */
bool pci_iommu_ats_translated(PCIDevice *dev, hwaddr addr, bool write);

/**
 * pci_pri_request_page - a page request
 * @dev: who asks
 * @pasid: a PASID, or %PCI_NO_PASID
 * @priv_req: Privileged Mode Requested
 * @exec_req: Execute Requested
 * @addr: the page
 * @lpig: the last of its group, whose answer comes to the PRI notifier
 * @prgi: the group
 * @is_read: read access is wanted
 * @is_write: write access is wanted; neither, with @lpig and a PASID, is a stop
 *            marker
 *
 * Return: 0; -EPERM where the function is not allowed to ask (PRI, a PASID or
 * bus mastering are not enabled); -ENODEV if nobody takes page requests.
 */
int pci_pri_request_page(PCIDevice *dev, uint32_t pasid, bool priv_req,
                         bool exec_req, hwaddr addr, bool lpig, uint16_t prgi,
                         bool is_read, bool is_write);

/*
 * The same two without asking what is enabled, for a device that misbehaves
 * on purpose.
 */
ssize_t pci_ats_force_translation(PCIDevice *dev, uint32_t pasid,
                                  bool priv_req, bool exec_req, hwaddr addr,
                                  size_t length, bool no_write,
                                  IOMMUTLBEntry *result, size_t result_length,
                                  uint32_t *err_count);
int pci_pri_force_page(PCIDevice *dev, uint32_t pasid, bool priv_req,
                       bool exec_req, hwaddr addr, bool lpig, uint16_t prgi,
                       bool is_read, bool is_write);

/*
 * Who hears of answers to the page requests of @dev. There is one notifier a
 * function, for all PASIDs: @pasid is %PCI_NO_PASID, the response names it.
 */
int pci_pri_register_notifier(PCIDevice *dev, uint32_t pasid,
                              IOMMUPRINotifier *notifier);
void pci_pri_unregister_notifier(PCIDevice *dev, uint32_t pasid);

/* The invalidation that ats_invalidate() put off is complete. */
void pci_iommu_ats_inv_done(PCIDevice *dev, uint32_t itag);

/* Forget the stalled transactions of @dev: it is reset, or goes away. */
void pci_iommu_cancel(PCIDevice *dev);

#endif
