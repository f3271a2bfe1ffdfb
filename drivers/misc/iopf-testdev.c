// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver for the emulated endpoint iopf-testdev, a UACCE provider
 *
 * A process that opens the character device gets one of the endpoint's queues,
 * bound to the process's PASID, and maps the queue's page of registers. From
 * then on it talks to the endpoint alone; see uapi/misc/uacce/iopf_testdev.h.
 *
 * Locking: UACCE calls get, start, stop and put of a queue under its mutex,
 * which suspend takes as well, and which a reset holds for as long as it lasts.
 * @lock of a queue protects @wait, which the interrupt handler looks at.
 *
 * UACCE removes a queue under a lock that mmap() takes with mmap_lock held, and
 * the faults of a queue want that one: removal makes all queues stop before.
 *
 * A reset or a suspend turns all queues off, and they stay off: what a ring
 * holds is known to its owner only, who sees IOPF_STATUS_ENABLED gone.
 */

#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/spinlock.h>
#include <linux/uacce.h>
#include <uapi/misc/uacce/iopf_testdev.h>

#define IOPF_STOP_POLL_US	20
#define IOPF_STOP_TIMEOUT_US	(10 * USEC_PER_SEC)

static unsigned int mode;
module_param(mode, uint, 0644);
MODULE_PARM_DESC(mode,
		 "How queues access memory: 0 best there is (default), 1 stall, 2 ATS, 3 ATS and PRI");

static unsigned int concurrency = 8;
module_param(concurrency, uint, 0644);
MODULE_PARM_DESC(concurrency,
		 "Pages that a queue asks for at a time, 1 to 32 (default 8)");

/**
 * struct iopf_testdev_queue - a queue of the endpoint
 * @idev: the endpoint
 * @index: its number
 * @q: its user, or NULL; changes under UACCE's mutex
 * @stuck: it did not come to rest; not to be used again
 * @lock: protects @wait
 * @wait: whom to wake up, NULL before the first start
 */
struct iopf_testdev_queue {
	struct iopf_testdev *idev;
	unsigned int index;
	struct uacce_queue *q;
	bool stuck;
	spinlock_t lock;		/* protects wait */
	wait_queue_head_t *wait;
};

/**
 * struct iopf_testdev - the endpoint
 * @pdev: its function
 * @regs: BAR 0
 * @uacce: the character device
 * @nr_queues: as many as there are vectors for
 * @leaving: no queue may start; changes under UACCE's mutex
 * @queues: the queues
 */
struct iopf_testdev {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct uacce_device *uacce;
	unsigned int nr_queues;
	bool leaving;
	struct iopf_testdev_queue queues[IOPF_NR_QUEUES];
};

static void iopf_qwrite(struct iopf_testdev_queue *iq, u32 reg, u32 val)
{
	writel(val, iq->idev->regs + IOPF_QCTL(iq->index) + reg);
}

static u32 iopf_uread(struct iopf_testdev_queue *iq, u32 reg)
{
	return readl(iq->idev->regs + IOPF_USER(iq->index) + reg);
}

/* How can the endpoint access memory, by what is enabled? */
static u32 iopf_best_mode(struct iopf_testdev *idev)
{
	u32 state = readl(idev->regs + IOPF_STATE);

	if (mode)
		return mode;
	if (state & IOPF_STATE_PRI)
		return IOPF_MODE_PRI;
	if (state & IOPF_STATE_STALL)
		return IOPF_MODE_STALL;
	return IOPF_MODE_ATS;
}

static int iopf_get_available_instances(struct uacce_device *uacce)
{
	struct iopf_testdev *idev = uacce->priv;
	unsigned int i;
	int free = 0;

	for (i = 0; i < idev->nr_queues; i++)
		free += !READ_ONCE(idev->queues[i].q) && !idev->queues[i].stuck;

	return free;
}

static int iopf_get_queue(struct uacce_device *uacce, unsigned long pasid,
			  struct uacce_queue *q)
{
	struct iopf_testdev *idev = uacce->priv;
	struct iopf_testdev_queue *iq;
	unsigned int i;

	for (i = 0; i < idev->nr_queues; i++) {
		iq = &idev->queues[i];
		if (iq->q || iq->stuck)
			continue;
		iopf_qwrite(iq, IOPF_Q_PASID, pasid | IOPF_PASID_VALID);
		iopf_qwrite(iq, IOPF_Q_CONCURRENCY, concurrency);
		q->priv = iq;
		WRITE_ONCE(iq->q, q);
		return 0;
	}

	return -EBUSY;
}

static void iopf_set_wait(struct iopf_testdev_queue *iq,
			  wait_queue_head_t *wait)
{
	unsigned long flags;

	spin_lock_irqsave(&iq->lock, flags);
	iq->wait = wait;
	spin_unlock_irqrestore(&iq->lock, flags);
}

static void iopf_wake_up(struct iopf_testdev_queue *iq)
{
	unsigned long flags;

	spin_lock_irqsave(&iq->lock, flags);
	if (iq->wait)
		wake_up_interruptible(iq->wait);
	spin_unlock_irqrestore(&iq->lock, flags);
}

/*
 * UACCE initializes q->wait after it has got the queue: an interrupt of the
 * queue's last user that is late must not meet it before.
 */
static int iopf_start_queue(struct uacce_queue *q)
{
	struct iopf_testdev_queue *iq = q->priv;
	u32 val = iopf_best_mode(iq->idev);

	if (val > IOPF_MODE_PRI)
		return -EINVAL;
	if (iq->idev->leaving)
		return -ENODEV;
	if (iq->stuck)
		return -EIO;
	iopf_set_wait(iq, &q->wait);
	iopf_qwrite(iq, IOPF_Q_MODE, val);
	return 0;
}

/*
 * Turn a queue off and wait for what it has in flight: the IOMMU's answers
 * come without our help. One that does not come to rest is never used again,
 * lest an answer to its last user's faults meets the next. A function that
 * is gone reads as all ones, and has nothing in flight.
 */
static void iopf_quiesce(struct iopf_testdev_queue *iq)
{
	void __iomem *regs = iq->idev->regs + IOPF_QCTL(iq->index);
	u32 status;

	iopf_qwrite(iq, IOPF_Q_MODE, IOPF_MODE_OFF);
	if (!readl_poll_timeout(regs + IOPF_Q_STATUS, status,
				!(status & IOPF_STATUS_BUSY) ||
				PCI_POSSIBLE_ERROR(status),
				IOPF_STOP_POLL_US, IOPF_STOP_TIMEOUT_US))
		return;

	pci_err(iq->idev->pdev, "queue %u does not stop, status %#x\n",
		iq->index, status);
	iq->stuck = true;
}

static void iopf_stop_queue(struct uacce_queue *q)
{
	iopf_quiesce(q->priv);
}

static void iopf_put_queue(struct uacce_queue *q)
{
	struct iopf_testdev_queue *iq = q->priv;

	iopf_quiesce(iq);
	iopf_qwrite(iq, IOPF_Q_PASID, 0);
	iopf_set_wait(iq, NULL);
	WRITE_ONCE(iq->q, NULL);
}

/* A queue has news for poll() when it is idle, halted or off. */
static int iopf_is_q_updated(struct uacce_queue *q)
{
	struct iopf_testdev_queue *iq = q->priv;
	u32 status = iopf_uread(iq, IOPF_U_STATUS);

	return !(status & IOPF_STATUS_ENABLED) ||
	       (status & IOPF_STATUS_ERROR) ||
	       iopf_uread(iq, IOPF_U_CONS) == iopf_uread(iq, IOPF_U_PROD);
}

static int iopf_mmap(struct uacce_queue *q, struct vm_area_struct *vma,
		     struct uacce_qfile_region *qfr)
{
	struct iopf_testdev_queue *iq = q->priv;
	resource_size_t page;

	if (qfr->type != UACCE_QFRT_MMIO ||
	    vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;

	page = pci_resource_start(iq->idev->pdev, 0) + IOPF_USER(iq->index);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTDUMP);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);

	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(page), PAGE_SIZE,
			       vma->vm_page_prot);
}

static const struct uacce_ops iopf_uacce_ops = {
	.get_available_instances = iopf_get_available_instances,
	.get_queue = iopf_get_queue,
	.put_queue = iopf_put_queue,
	.start_queue = iopf_start_queue,
	.stop_queue = iopf_stop_queue,
	.is_q_updated = iopf_is_q_updated,
	.mmap = iopf_mmap,
};

static irqreturn_t iopf_interrupt(int irq, void *data)
{
	iopf_wake_up(data);
	return IRQ_HANDLED;
}

static int iopf_init_irqs(struct iopf_testdev *idev)
{
	struct pci_dev *pdev = idev->pdev;
	int i, nr, ret;

	nr = pci_alloc_irq_vectors(pdev, 1, IOPF_NR_QUEUES, PCI_IRQ_MSIX);
	if (nr < 0)
		return dev_err_probe(&pdev->dev, nr, "no MSI-X vectors\n");

	for (i = 0; i < nr; i++) {
		struct iopf_testdev_queue *iq = &idev->queues[i];

		iq->idev = idev;
		iq->index = i;
		spin_lock_init(&iq->lock);
		ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, i),
				       iopf_interrupt, 0, "iopf-testdev", iq);
		if (ret)
			return ret;
	}
	idev->nr_queues = nr;

	return 0;
}

static int iopf_init_uacce(struct iopf_testdev *idev)
{
	struct uacce_interface interface = {
		.name = "iopf-testdev",
		.flags = UACCE_DEV_SVA,
		.ops = &iopf_uacce_ops,
	};
	struct uacce_device *uacce;
	int ret;

	uacce = uacce_alloc(&idev->pdev->dev, &interface);
	if (IS_ERR(uacce))
		return PTR_ERR(uacce);

	idev->uacce = uacce;
	if (!(uacce->flags & UACCE_DEV_SVA)) {
		ret = -EOPNOTSUPP;
		goto err_remove;
	}
	uacce->is_vf = idev->pdev->is_virtfn;
	uacce->priv = idev;
	uacce->api_ver = "iopf-testdev-1";
	uacce->algs = "copy\nfill\ncompare\nchecksum\nscatter\n";
	uacce->qf_pg_num[UACCE_QFRT_MMIO] = 1;
	ret = uacce_register(uacce);
	if (ret)
		goto err_remove;

	return 0;

err_remove:
	uacce_remove(uacce);
	return dev_err_probe(&idev->pdev->dev, ret,
			     "no shared virtual addressing\n");
}

static int iopf_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct iopf_testdev *idev;
	int ret;

	idev = devm_kzalloc(&pdev->dev, sizeof(*idev), GFP_KERNEL);
	if (!idev)
		return -ENOMEM;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	ret = pcim_iomap_regions(pdev, BIT(0), "iopf-testdev");
	if (ret)
		return ret;

	idev->pdev = pdev;
	idev->regs = pcim_iomap_table(pdev)[0];
	if (readl(idev->regs + IOPF_ID) != IOPF_ID_VALUE ||
	    readl(idev->regs + IOPF_VERSION) != IOPF_VERSION_VALUE)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "not version %d of the endpoint\n",
				     IOPF_VERSION_VALUE);

	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;

	writel(IOPF_CTRL_RESET, idev->regs + IOPF_CTRL);
	pci_set_master(pdev);
	pci_set_drvdata(pdev, idev);

	ret = iopf_init_irqs(idev);
	if (ret)
		return ret;

	return iopf_init_uacce(idev);
}

static void iopf_quiesce_all(struct iopf_testdev *idev)
{
	unsigned int i;

	lockdep_assert_held(&idev->uacce->mutex);
	for (i = 0; i < idev->nr_queues; i++) {
		iopf_quiesce(&idev->queues[i]);
		iopf_wake_up(&idev->queues[i]);
	}
}

static void iopf_remove(struct pci_dev *pdev)
{
	struct iopf_testdev *idev = pci_get_drvdata(pdev);

	pci_disable_sriov(pdev);
	scoped_guard(mutex, &idev->uacce->mutex) {
		idev->leaving = true;
		iopf_quiesce_all(idev);
	}
	uacce_remove(idev->uacce);
	pci_clear_master(pdev);
}

/* Queues that have a user remain bound to its PASID, for a later start. */
static void iopf_rebind_all(struct iopf_testdev *idev)
{
	struct iopf_testdev_queue *iq;
	unsigned int i;

	lockdep_assert_held(&idev->uacce->mutex);
	for (i = 0; i < idev->nr_queues; i++) {
		iq = &idev->queues[i];
		if (!iq->q)
			continue;
		iopf_qwrite(iq, IOPF_Q_PASID, iq->q->pasid | IOPF_PASID_VALID);
		iopf_qwrite(iq, IOPF_Q_CONCURRENCY, concurrency);
	}
}

/* Nobody gets or starts a queue while the registers are not there. */
static void iopf_reset_prepare(struct pci_dev *pdev)
{
	struct iopf_testdev *idev = pci_get_drvdata(pdev);

	mutex_lock(&idev->uacce->mutex);
	iopf_quiesce_all(idev);
}

static void iopf_reset_done(struct pci_dev *pdev)
{
	struct iopf_testdev *idev = pci_get_drvdata(pdev);

	iopf_rebind_all(idev);
	mutex_unlock(&idev->uacce->mutex);
}

static const struct pci_error_handlers iopf_err_handlers = {
	.reset_prepare = iopf_reset_prepare,
	.reset_done = iopf_reset_done,
};

static int iopf_suspend(struct device *dev)
{
	struct iopf_testdev *idev = dev_get_drvdata(dev);

	guard(mutex)(&idev->uacce->mutex);
	iopf_quiesce_all(idev);
	return 0;
}

static int iopf_resume(struct device *dev)
{
	struct iopf_testdev *idev = dev_get_drvdata(dev);

	guard(mutex)(&idev->uacce->mutex);
	iopf_rebind_all(idev);
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(iopf_pm_ops, iopf_suspend, iopf_resume);

static const struct pci_device_id iopf_ids[] = {
	{ PCI_DEVICE(IOPF_VENDOR_ID, IOPF_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, iopf_ids);

static struct pci_driver iopf_driver = {
	.name = "iopf-testdev",
	.id_table = iopf_ids,
	.probe = iopf_probe,
	.remove = iopf_remove,
	.sriov_configure = pci_sriov_configure_simple,
	.err_handler = &iopf_err_handlers,
	.driver.pm = pm_sleep_ptr(&iopf_pm_ops),
};
module_pci_driver(iopf_driver);

MODULE_DESCRIPTION("Emulated endpoint that takes I/O page faults");
MODULE_LICENSE("GPL");
