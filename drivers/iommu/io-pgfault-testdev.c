// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test device for I/O page faults, driven by user space
 *
 * Each open file is a device behind the fake IOMMU. IOPF_TEST_BIND shares the
 * caller's address space with it; what is written to the file are page requests
 * that the device reports; what is read from it are the responses that it got.
 */
#include <linux/io-pgfault.h>
#include <linux/iommu.h>
#include <linux/kfifo.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "io-pgfault-fake.h"
#include "io-pgfault-testdev.h"

/* A small allocation: many processes open the device at once. */
#define TESTDEV_FIFO	512

/**
 * struct testdev - an open file
 * @fake: its device
 * @lock: protects @bond, @queued
 * @bond: the address space, or NULL
 * @queued: the device is on the queue
 * @fifo_lock: protects @fifo, @lost
 * @fifo: responses to be read
 * @lost: responses for which @fifo had no room
 */
struct testdev {
	struct iopf_fake *fake;
	/* protects bond and queued */
	struct mutex lock;
	struct iommu_sva *bond;
	bool queued;
	/* protects what follows */
	spinlock_t fifo_lock;
	DECLARE_KFIFO_PTR(fifo, struct iopf_test_response);
	unsigned long lost;
};

/* One queue for all devices, as one IOMMU has. */
static struct iopf_queue *testdev_queue;

static void testdev_respond(struct iopf_fake *fake,
			    struct iopf_fake_record *rec)
{
	struct testdev *td = fake->priv;
	struct iopf_test_response resp = {
		.addr = rec->prm.addr,
		.pasid = rec->prm.pasid,
		.grpid = rec->prm.grpid,
		.code = rec->code,
	};

	guard(spinlock)(&td->fifo_lock);
	if (!kfifo_put(&td->fifo, resp))
		td->lost++;
}

static int testdev_open(struct inode *inode, struct file *file)
{
	struct testdev *td = kzalloc(sizeof(*td), GFP_KERNEL);
	int ret;

	if (!td)
		return -ENOMEM;
	mutex_init(&td->lock);
	spin_lock_init(&td->fifo_lock);
	ret = kfifo_alloc(&td->fifo, TESTDEV_FIFO, GFP_KERNEL);
	if (ret)
		goto err_free;
	td->fake = iopf_fake_create("iopf-test", PLATFORM_DEVID_AUTO);
	if (IS_ERR(td->fake)) {
		ret = PTR_ERR(td->fake);
		goto err_fifo;
	}
	td->fake->priv = td;
	td->fake->respond = testdev_respond;
	file->private_data = td;
	return nonseekable_open(inode, file);

err_fifo:
	kfifo_free(&td->fifo);
err_free:
	kfree(td);
	return ret;
}

static long testdev_bind(struct testdev *td, unsigned int granted)
{
	struct device *dev = iopf_fake_dev(td->fake);
	struct iommu_sva *bond;
	int ret;

	guard(mutex)(&td->lock);
	if (td->bond)
		return -EBUSY;
	ret = iopf_queue_add_device_granted(testdev_queue, dev, granted);
	if (ret)
		return ret;
	bond = iommu_sva_bind_device(dev, current->mm);
	if (IS_ERR(bond)) {
		iopf_queue_remove_device(testdev_queue, dev);
		return PTR_ERR(bond);
	}
	td->bond = bond;
	td->queued = true;
	td->fake->closed = false;
	return iommu_sva_get_pasid(bond);
}

static long __testdev_remove(struct testdev *td)
{
	lockdep_assert_held(&td->lock);
	if (!td->queued)
		return -ENODEV;
	iopf_queue_remove_device(testdev_queue, iopf_fake_dev(td->fake));
	td->queued = false;
	td->fake->closed = true;
	return 0;
}

static long testdev_remove(struct testdev *td)
{
	guard(mutex)(&td->lock);
	return __testdev_remove(td);
}

static long testdev_unbind(struct testdev *td)
{
	guard(mutex)(&td->lock);
	if (!td->bond)
		return -ENODEV;
	iommu_sva_unbind_device(td->bond);
	td->bond = NULL;
	__testdev_remove(td);
	return 0;
}

static int testdev_release(struct inode *inode, struct file *file)
{
	struct testdev *td = file->private_data;

	testdev_unbind(td);
	testdev_remove(td);
	WARN_ON(td->fake->late);
	iopf_fake_destroy(td->fake);
	kfifo_free(&td->fifo);
	kfree(td);
	return 0;
}

static long testdev_flush(struct testdev *td)
{
	u32 pasid;

	guard(mutex)(&td->lock);
	if (!td->bond)
		return -ENODEV;
	pasid = iommu_sva_get_pasid(td->bond);
	return iopf_queue_flush_dev(iopf_fake_dev(td->fake), pasid);
}

static long testdev_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	struct testdev *td = file->private_data;

	switch (cmd) {
	case IOPF_TEST_BIND:
		return testdev_bind(td, arg);
	case IOPF_TEST_UNBIND:
		return testdev_unbind(td);
	case IOPF_TEST_REMOVE:
		return testdev_remove(td);
	case IOPF_TEST_FLUSH:
		return testdev_flush(td);
	case IOPF_TEST_LATE:
		return READ_ONCE(td->fake->late);
	case IOPF_TEST_RESPONSES:
		return READ_ONCE(td->fake->responses);
	default:
		return -ENOTTY;
	}
}

static int testdev_report(struct testdev *td,
			  const struct iopf_test_request *req)
{
	struct iommu_fault fault = {
		.type = IOMMU_FAULT_PAGE_REQ,
		.prm = {
			.pasid = req->pasid,
			.grpid = req->grpid,
			.perm = req->perm,
			.addr = req->addr,
		},
	};

	if (req->flags & IOPF_TEST_LAST)
		fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE;
	if (!(req->flags & IOPF_TEST_NO_PASID))
		fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	return iommu_queue_iopf(iopf_fake_dev(td->fake), &fault);
}

static u32 testdev_pasid(struct testdev *td)
{
	guard(mutex)(&td->lock);
	return td->bond ? iommu_sva_get_pasid(td->bond) : 0;
}

static ssize_t testdev_write(struct file *file, const char __user *buf,
			     size_t len, loff_t *ppos)
{
	struct testdev *td = file->private_data;
	u32 pasid = testdev_pasid(td);
	struct iopf_test_request req;
	size_t done = 0;
	int ret;

	if (!len || len % sizeof(req))
		return -EINVAL;
	for (; done < len; done += sizeof(req)) {
		if (copy_from_user(&req, buf + done, sizeof(req)))
			return done ?: -EFAULT;
		if (!(req.flags & IOPF_TEST_USE_PASID))
			req.pasid = pasid;
		ret = testdev_report(td, &req);
		if (ret)
			return done ?: ret;
		cond_resched();
	}
	return done;
}

static bool testdev_get(struct testdev *td, struct iopf_test_response *resp)
{
	guard(spinlock)(&td->fifo_lock);
	return kfifo_get(&td->fifo, resp);
}

static ssize_t testdev_read(struct file *file, char __user *buf, size_t len,
			    loff_t *ppos)
{
	struct testdev *td = file->private_data;
	struct iopf_test_response resp;
	int ret;

	if (len < sizeof(resp))
		return -EINVAL;
	while (!testdev_get(td, &resp)) {
		if (td->lost)
			return -EOVERFLOW;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(td->fake->wait,
					       !kfifo_is_empty(&td->fifo));
		if (ret)
			return ret;
	}
	return copy_to_user(buf, &resp, sizeof(resp)) ? -EFAULT : sizeof(resp);
}

static __poll_t testdev_poll(struct file *file, struct poll_table_struct *wait)
{
	struct testdev *td = file->private_data;

	poll_wait(file, &td->fake->wait, wait);
	return kfifo_is_empty(&td->fifo) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static const struct file_operations testdev_fops = {
	.owner = THIS_MODULE,
	.open = testdev_open,
	.release = testdev_release,
	.read = testdev_read,
	.write = testdev_write,
	.poll = testdev_poll,
	.unlocked_ioctl = testdev_ioctl,
};

static struct miscdevice testdev_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "iopf-test",
	.fops = &testdev_fops,
	.mode = 0600,
};

static int __init testdev_init(void)
{
	int ret;

	testdev_queue = iopf_queue_alloc("test", NULL, NULL);
	if (!testdev_queue)
		return -ENOMEM;
	ret = misc_register(&testdev_misc);
	if (ret)
		iopf_queue_free(testdev_queue);
	return ret;
}
device_initcall(testdev_init);
