// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver for the emulated endpoint iopf-testdev, a UACCE provider
 *
 * A process that opens the character device gets one of the endpoint's queues,
 * bound to the process's PASID, and maps the queue's page of registers. From
 * then on it talks to the endpoint alone; see uapi/misc/uacce/iopf_testdev.h.
 *
 * Locking: UACCE calls get, start, stop and put of a queue under its mutex,
 * which suspend and reset take as well, for a moment; what keeps queues from
 * being used meanwhile is @away. @lock of a queue protects @wait, which the
 * interrupt handler looks at. @vf_lock of the physical function protects the
 * list of the virtual ones; UACCE's mutex of one of those is taken under it.
 *
 * To stop a queue is to turn it off and to wait for data that is on its way.
 * Nobody waits for ever for the answers to its faults: they may depend on user
 * space, and if nothing else brings them, the unbind does that UACCE calls after
 * put. A queue can be had again when it has come to rest.
 *
 * A reset or a suspend turns all queues off, and they stay off: what a ring
 * holds is known to its owner only, who sees IOPF_STATUS_ENABLED gone. A reset
 * of the physical function is one of its virtual functions, too.
 *
 * A queue's page can be mapped once by who has opened it.
 */

#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/pci-ats.h>
#include <linux/spinlock.h>
#include <linux/uacce.h>
#include <uapi/misc/uacce/iopf_testdev.h>

#define IOPF_POLL_US		20
#define IOPF_STOP_TIMEOUT_US	(1 * USEC_PER_SEC)
#define IOPF_REST_TIMEOUT_US	(2 * USEC_PER_SEC)

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
 * @mapped: its user has mapped its page; changes under UACCE's mutex of the
 *	queue, and before anybody can map it
 * @lock: protects @wait
 * @wait: whom to wake up, NULL before the first start
 */
struct iopf_testdev_queue {
	struct iopf_testdev *idev;
	unsigned int index;
	struct uacce_queue *q;
	bool mapped;
	spinlock_t lock;		/* protects wait */
	wait_queue_head_t *wait;
};

/**
 * struct iopf_testdev - the endpoint
 * @pdev: its function
 * @regs: BAR 0
 * @uacce: the character device
 * @nr_queues: as many as there are vectors for
 * @away: no queue may be had or started, and what to say then: -ENODEV on
 *	removal, -EBUSY while the function is reset or sleeps; changes under
 *	UACCE's mutex
 * @vf_lock: protects @vfs
 * @vfs: of a physical function, its virtual functions that have this driver
 * @pf: of a virtual function, whose list it is on, or NULL
 * @vf: its place there
 * @queues: the queues
 */
struct iopf_testdev {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct uacce_device *uacce;
	unsigned int nr_queues;
	int away;
	struct mutex vf_lock;		/* protects vfs */
	struct list_head vfs;
	struct iopf_testdev *pf;
	struct list_head vf;
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

static u32 iopf_status(struct iopf_testdev_queue *iq)
{
	return readl(iq->idev->regs + IOPF_QCTL(iq->index) + IOPF_Q_STATUS);
}

/* How can the endpoint access memory, by what is enabled? */
static u32 iopf_best_mode(u32 state)
{
	if (mode)
		return mode;
	if (state & IOPF_STATE_PRI)
		return IOPF_MODE_PRI;
	if (state & IOPF_STATE_STALL)
		return IOPF_MODE_STALL;
	return IOPF_MODE_ATS;
}

/*
 * Lest an answer to its last user's faults meets the next, a queue is free when
 * it has come to rest. A function that is gone reads as all ones.
 */
static bool iopf_is_free(struct iopf_testdev_queue *iq)
{
	return !READ_ONCE(iq->q) && !(iopf_status(iq) & IOPF_STATUS_BUSY);
}

static int iopf_get_available_instances(struct uacce_device *uacce)
{
	struct iopf_testdev *idev = uacce->priv;
	unsigned int i;
	int free = 0;

	for (i = 0; i < idev->nr_queues; i++)
		free += iopf_is_free(&idev->queues[i]);

	return free;
}

static void iopf_bind(struct iopf_testdev_queue *iq, u32 pasid)
{
	iopf_qwrite(iq, IOPF_Q_PASID, pasid | IOPF_PASID_VALID);
	iopf_qwrite(iq, IOPF_Q_CONCURRENCY, concurrency);
}

/* -EBUSY: all have users; -EAGAIN: one that has none is not at rest yet. */
static int iopf_get_queue(struct uacce_device *uacce, unsigned long pasid,
			  struct uacce_queue *q)
{
	struct iopf_testdev *idev = uacce->priv;
	struct iopf_testdev_queue *iq;
	int ret = -EBUSY;
	unsigned int i;

	if (idev->away)
		return idev->away;

	for (i = 0; i < idev->nr_queues; i++) {
		iq = &idev->queues[i];
		if (iq->q)
			continue;
		if (!iopf_is_free(iq)) {
			ret = -EAGAIN;
			continue;
		}
		iopf_bind(iq, pasid);
		iq->mapped = false;
		q->priv = iq;
		WRITE_ONCE(iq->q, q);
		return 0;
	}

	return ret;
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
	static const u32 needs[] = {
		[IOPF_MODE_STALL] = IOPF_STATE_STALL,
		[IOPF_MODE_ATS] = IOPF_STATE_ATS,
		[IOPF_MODE_PRI] = IOPF_STATE_PRI,
	};
	struct iopf_testdev_queue *iq = q->priv;
	u32 state = readl(iq->idev->regs + IOPF_STATE);
	u32 val = iopf_best_mode(state);

	if (iq->idev->away)
		return iq->idev->away;
	if (val > IOPF_MODE_PRI)
		return -EINVAL;
	/* its descriptors would fail, each as if memory were to blame */
	if (!(state & needs[val]))
		return -EOPNOTSUPP;

	iopf_set_wait(iq, &q->wait);
	iopf_qwrite(iq, IOPF_Q_MODE, val);
	return 0;
}

/*
 * Poll until none of @flags is set. A function that is gone has nothing in
 * flight. Return: 0, or -ETIMEDOUT.
 */
static int iopf_wait(struct iopf_testdev_queue *iq, u32 flags,
		     unsigned long timeout_us)
{
	void __iomem *regs = iq->idev->regs + IOPF_QCTL(iq->index);
	u32 status;

	return readl_poll_timeout(regs + IOPF_Q_STATUS, status,
				  !(status & flags) ||
				  PCI_POSSIBLE_ERROR(status),
				  IOPF_POLL_US, timeout_us);
}

/* Turn a queue off, and let data arrive that is on its way. */
static void iopf_stop(struct iopf_testdev_queue *iq)
{
	iopf_qwrite(iq, IOPF_Q_MODE, IOPF_MODE_OFF);
	if (iopf_wait(iq, IOPF_STATUS_MOVING, IOPF_STOP_TIMEOUT_US))
		pci_err(iq->idev->pdev, "queue %u does not stop, status %#x\n",
			iq->index, iopf_status(iq));
}

static void iopf_stop_queue(struct uacce_queue *q)
{
	iopf_stop(q->priv);
}

static void iopf_put_queue(struct uacce_queue *q)
{
	struct iopf_testdev_queue *iq = q->priv;

	iopf_stop(iq);
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
	int ret;

	if (qfr->type != UACCE_QFRT_MMIO ||
	    vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	/*
	 * UACCE forgets about a mapping when an mremap() of it, which it
	 * refuses, is undone.
	 */
	if (iq->mapped)
		return -EBUSY;

	page = pci_resource_start(iq->idev->pdev, 0) + IOPF_USER(iq->index);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTDUMP);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);

	ret = remap_pfn_range(vma, vma->vm_start, PHYS_PFN(page), PAGE_SIZE,
			      vma->vm_page_prot);
	iq->mapped = !ret;

	return ret;
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
	struct device *dev = &idev->pdev->dev;
	struct uacce_device *uacce;
	int ret;

	uacce = uacce_alloc(dev, &interface);
	if (IS_ERR(uacce))
		return PTR_ERR(uacce);

	idev->uacce = uacce;
	if (!(uacce->flags & UACCE_DEV_SVA)) {
		ret = dev_err_probe(dev, -EOPNOTSUPP,
				    "no shared virtual addressing\n");
		goto err_remove;
	}
	uacce->is_vf = idev->pdev->is_virtfn;
	uacce->priv = idev;
	uacce->api_ver = "iopf-testdev-2";
	uacce->algs = "copy\nfill\ncompare\nchecksum\nscatter\n";
	uacce->qf_pg_num[UACCE_QFRT_MMIO] = 1;
	ret = uacce_register(uacce);
	if (ret) {
		dev_err_probe(dev, ret, "no character device\n");
		goto err_remove;
	}

	return 0;

err_remove:
	uacce_remove(uacce);
	return ret;
}

/* A virtual function's users hear of resets of the physical one. */
static void iopf_join_pf(struct iopf_testdev *idev)
{
	struct pci_dev *pdev = idev->pdev;
	struct iopf_testdev *pf;

	if (!pdev->is_virtfn || pci_physfn(pdev)->driver != pdev->driver)
		return;

	pf = pci_get_drvdata(pci_physfn(pdev));
	guard(mutex)(&pf->vf_lock);
	list_add(&idev->vf, &pf->vfs);
	idev->pf = pf;
}

static void iopf_leave_pf(struct iopf_testdev *idev)
{
	if (!idev->pf)
		return;

	guard(mutex)(&idev->pf->vf_lock);
	list_del(&idev->vf);
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
	mutex_init(&idev->vf_lock);
	INIT_LIST_HEAD(&idev->vfs);
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

	ret = iopf_init_uacce(idev);
	if (!ret)
		iopf_join_pf(idev);

	return ret;
}

/* Until iopf_come_back() all queues are off, and nobody gets one. */
static void iopf_go_away(struct iopf_testdev *idev, int why)
{
	unsigned int i;

	guard(mutex)(&idev->uacce->mutex);
	idev->away = why;
	for (i = 0; i < idev->nr_queues; i++) {
		iopf_stop(&idev->queues[i]);
		iopf_wake_up(&idev->queues[i]);
	}
}

/* Queues that have a user remain bound to its PASID, for a later start. */
static void iopf_come_back(struct iopf_testdev *idev)
{
	struct iopf_testdev_queue *iq;
	unsigned int i;

	guard(mutex)(&idev->uacce->mutex);
	for (i = 0; i < idev->nr_queues; i++) {
		iq = &idev->queues[i];
		if (iq->q)
			iopf_bind(iq, iq->q->pasid);
	}
	idev->away = 0;
}

/*
 * Queues that are off have some time to come to rest. Return: 0, or -EBUSY if
 * one still waits for a page.
 */
static int iopf_rest(struct iopf_testdev *idev)
{
	unsigned int i;

	for (i = 0; i < idev->nr_queues; i++) {
		if (!iopf_wait(&idev->queues[i], IOPF_STATUS_BUSY,
			       IOPF_REST_TIMEOUT_US))
			continue;
		pci_warn(idev->pdev, "queue %u waits for a page\n", i);
		return -EBUSY;
	}

	return 0;
}

/*
 * When UACCE has gone nobody takes the device's faults: what can be answered
 * is answered before.
 */
static void iopf_remove(struct pci_dev *pdev)
{
	struct iopf_testdev *idev = pci_get_drvdata(pdev);

	pci_disable_sriov(pdev);
	iopf_leave_pf(idev);
	iopf_go_away(idev, -ENODEV);
	iopf_rest(idev);
	uacce_remove(idev->uacce);
	pci_clear_master(pdev);
}

/*
 * With the physical function its virtual ones are reset: the PCI core enables
 * them again, and does not know what their configuration space held.
 */
static void iopf_reset_prepare(struct pci_dev *pdev)
{
	struct iopf_testdev *vf, *idev = pci_get_drvdata(pdev);

	iopf_go_away(idev, -EBUSY);
	guard(mutex)(&idev->vf_lock);
	list_for_each_entry(vf, &idev->vfs, vf) {
		iopf_go_away(vf, -EBUSY);
		pci_save_state(vf->pdev);
	}
}

static void iopf_reset_done(struct pci_dev *pdev)
{
	struct iopf_testdev *vf, *idev = pci_get_drvdata(pdev);

	iopf_come_back(idev);
	guard(mutex)(&idev->vf_lock);
	list_for_each_entry(vf, &idev->vfs, vf) {
		pci_restore_state(vf->pdev);
		iopf_come_back(vf);
	}
}

static const struct pci_error_handlers iopf_err_handlers = {
	.reset_prepare = iopf_reset_prepare,
	.reset_done = iopf_reset_done,
};

/*
 * Faults that are with the IOMMU are in flight, too, and it may go to sleep
 * after us: they have some time, and then there is no sleep.
 */
static int iopf_suspend(struct device *dev)
{
	struct iopf_testdev *idev = dev_get_drvdata(dev);
	int ret;

	iopf_go_away(idev, -EBUSY);
	ret = iopf_rest(idev);
	if (ret)
		iopf_come_back(idev);

	return ret;
}

static int iopf_resume(struct device *dev)
{
	iopf_come_back(dev_get_drvdata(dev));
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
