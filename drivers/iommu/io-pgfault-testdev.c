// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test device for I/O page faults, driven by user space
 *
 * Each open file is a client of a device behind the fake IOMMU: of its own, or
 * of another file's after IOPF_TEST_JOIN. IOPF_TEST_BIND shares the caller's
 * address space with the device; what is written to the file are page requests
 * that the device reports; what is read from it are the responses that came for
 * the client's PASID.
 */
#include <linux/file.h>
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
 * struct testdev_device - a device and those who use it
 * @fake: the device
 * @lock: protects @users, @bonds, @queued and the clients' @bond
 * @users: open files
 * @bonds: clients that have an address space bound
 * @queued: the device is on the queue
 * @clients_lock: protects @clients
 * @clients: &testdev.node, those that have or had a PASID
 */
struct testdev_device {
	struct iopf_fake *fake;
	/* protects users, bonds and queued */
	struct mutex lock;
	unsigned int users;
	unsigned int bonds;
	bool queued;
	/* protects what follows */
	spinlock_t clients_lock;
	struct list_head clients;
};

/**
 * struct testdev - an open file
 * @own: the device that it was opened with
 * @device: the device that it uses, its own or another's
 * @bond: the address space, or NULL
 * @pasid: the address space's, also when it is not bound any more
 * @node: in &testdev_device.clients
 * @fifo_lock: protects @fifo, @lost
 * @fifo: responses to be read
 * @lost: responses for which @fifo had no room
 */
struct testdev {
	struct testdev_device *own;
	struct testdev_device *device;
	struct iommu_sva *bond;
	u32 pasid;
	struct list_head node;
	/* protects what follows */
	spinlock_t fifo_lock;
	DECLARE_KFIFO_PTR(fifo, struct iopf_test_response);
	unsigned long lost;
};

/* One queue for all devices, as one IOMMU has. */
static struct iopf_queue *testdev_queue;
/* Protects each client's choice of a device. */
static DEFINE_MUTEX(testdev_join_lock);

static void testdev_deliver(struct testdev *td,
			    const struct iommu_fault_page_request *prm,
			    u32 code)
{
	struct iopf_test_response resp = {
		.addr = prm->addr,
		.pasid = prm->pasid,
		.grpid = prm->grpid,
		.code = code,
	};

	spin_lock(&td->fifo_lock);
	if (!kfifo_put(&td->fifo, resp))
		WRITE_ONCE(td->lost, td->lost + 1);
	spin_unlock(&td->fifo_lock);
}

/* To the client whose PASID it is. */
static void testdev_respond(struct iopf_fake *fake,
			    const struct iommu_fault_page_request *prm,
			    u32 code)
{
	struct testdev_device *device = fake->priv;
	struct testdev *td;

	spin_lock(&device->clients_lock);
	list_for_each_entry(td, &device->clients, node) {
		if (td->pasid == prm->pasid) {
			testdev_deliver(td, prm, code);
			break;
		}
	}
	spin_unlock(&device->clients_lock);
}

static struct testdev_device *testdev_new_device(void)
{
	struct testdev_device *device = kzalloc(sizeof(*device), GFP_KERNEL);
	struct iopf_fake *fake;

	if (!device)
		return ERR_PTR(-ENOMEM);
	mutex_init(&device->lock);
	spin_lock_init(&device->clients_lock);
	INIT_LIST_HEAD(&device->clients);
	device->users = 1;
	fake = iopf_fake_create("iopf-test", PLATFORM_DEVID_AUTO);
	if (IS_ERR(fake)) {
		kfree(device);
		return ERR_CAST(fake);
	}
	fake->priv = device;
	fake->respond = testdev_respond;
	device->fake = fake;
	return device;
}

static void testdev_remove_locked(struct testdev_device *device)
{
	lockdep_assert_held(&device->lock);
	if (!device->queued)
		return;
	iopf_queue_remove_device(testdev_queue, iopf_fake_dev(device->fake));
	device->queued = false;
	iopf_fake_expect(device->fake, false);
}

static void testdev_put_device(struct testdev_device *device)
{
	scoped_guard(mutex, &device->lock) {
		if (--device->users)
			return;
		testdev_remove_locked(device);
	}
	WARN_ON(device->fake->late);
	iopf_fake_destroy(device->fake);
	kfree(device);
}

static int testdev_open(struct inode *inode, struct file *file)
{
	struct testdev *td = kzalloc(sizeof(*td), GFP_KERNEL);
	int ret;

	if (!td)
		return -ENOMEM;
	INIT_LIST_HEAD(&td->node);
	spin_lock_init(&td->fifo_lock);
	ret = kfifo_alloc(&td->fifo, TESTDEV_FIFO, GFP_KERNEL);
	if (ret)
		goto err_free;
	td->own = testdev_new_device();
	if (IS_ERR(td->own)) {
		ret = PTR_ERR(td->own);
		goto err_fifo;
	}
	td->device = td->own;
	file->private_data = td;
	return stream_open(inode, file);

err_fifo:
	kfifo_free(&td->fifo);
err_free:
	kfree(td);
	return ret;
}

static int testdev_add_locked(struct testdev_device *device,
			      unsigned int granted)
{
	int ret;

	lockdep_assert_held(&device->lock);
	if (device->queued)
		return 0;
	iopf_fake_expect(device->fake, true);
	ret = iopf_queue_add_device_granted(testdev_queue,
					    iopf_fake_dev(device->fake),
					    granted);
	if (ret)
		return ret;
	device->queued = true;
	return 0;
}

static void testdev_listen(struct testdev *td, u32 pasid)
{
	spin_lock(&td->device->clients_lock);
	WRITE_ONCE(td->pasid, pasid);
	if (list_empty(&td->node))
		list_add(&td->node, &td->device->clients);
	spin_unlock(&td->device->clients_lock);
}

static long testdev_bind(struct testdev *td, unsigned int granted)
{
	struct testdev_device *device = td->device;
	struct iommu_sva *bond;
	int ret;

	guard(mutex)(&device->lock);
	if (td->bond)
		return -EBUSY;
	ret = testdev_add_locked(device, granted);
	if (ret)
		return ret;
	bond = iommu_sva_bind_device(iopf_fake_dev(device->fake), current->mm);
	if (IS_ERR(bond)) {
		if (!device->bonds)
			testdev_remove_locked(device);
		return PTR_ERR(bond);
	}
	td->bond = bond;
	device->bonds++;
	testdev_listen(td, iommu_sva_get_pasid(bond));
	return td->pasid;
}

/* The last one to leave takes the device from its queue. */
static long testdev_unbind(struct testdev *td)
{
	struct testdev_device *device = td->device;

	guard(mutex)(&device->lock);
	if (!td->bond)
		return -ENODEV;
	iommu_sva_unbind_device(td->bond);
	td->bond = NULL;
	if (!--device->bonds)
		testdev_remove_locked(device);
	return 0;
}

static long testdev_remove(struct testdev *td)
{
	guard(mutex)(&td->device->lock);
	if (!td->device->queued)
		return -ENODEV;
	testdev_remove_locked(td->device);
	return 0;
}

static int testdev_release(struct inode *inode, struct file *file)
{
	struct testdev *td = file->private_data;

	testdev_unbind(td);
	scoped_guard(spinlock, &td->device->clients_lock)
		list_del_init(&td->node);
	if (td->device != td->own)
		testdev_put_device(td->device);
	testdev_put_device(td->own);
	kfifo_free(&td->fifo);
	kfree(td);
	return 0;
}

static const struct file_operations testdev_fops;

/*
 * Makes the client one of another's device; it has bound nothing so far. Its
 * own stays until it is closed, for whoever uses the file at the same time.
 */
static long __testdev_join(struct testdev *td, struct testdev *other)
{
	struct testdev_device *device;

	guard(mutex)(&testdev_join_lock);
	if (td->device != td->own || !list_empty(&td->node))
		return -EBUSY;
	device = other->device;
	if (device == td->own)
		return -EBUSY;
	scoped_guard(mutex, &device->lock)
		device->users++;
	WRITE_ONCE(td->device, device);
	return 0;
}

static long testdev_join(struct testdev *td, int fd)
{
	struct file *file = fget(fd);
	long ret = -EBADF;

	if (!file)
		return ret;
	if (file->f_op == &testdev_fops)
		ret = __testdev_join(td, file->private_data);
	fput(file);
	return ret;
}

static long testdev_flush(struct testdev *td)
{
	guard(mutex)(&td->device->lock);
	if (!td->bond)
		return -ENODEV;
	return iopf_queue_flush_dev(iopf_fake_dev(td->device->fake),
				    td->pasid);
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
		return READ_ONCE(td->device->fake->late);
	case IOPF_TEST_RESPONSES:
		return READ_ONCE(td->device->fake->responses);
	case IOPF_TEST_JOIN:
		return testdev_join(td, arg);
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
	return iommu_queue_iopf(iopf_fake_dev(td->device->fake), &fault);
}

static ssize_t testdev_write(struct file *file, const char __user *buf,
			     size_t len, loff_t *ppos)
{
	struct testdev *td = file->private_data;
	u32 pasid = READ_ONCE(td->pasid);
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
	bool found;

	spin_lock(&td->fifo_lock);
	found = kfifo_get(&td->fifo, resp);
	spin_unlock(&td->fifo_lock);
	return found;
}

static bool testdev_may_get(struct testdev *td)
{
	bool empty;

	spin_lock(&td->fifo_lock);
	empty = kfifo_is_empty(&td->fifo);
	spin_unlock(&td->fifo_lock);
	return !empty;
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
		if (READ_ONCE(td->lost))
			return -EOVERFLOW;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(td->device->fake->wait,
					       testdev_may_get(td));
		if (ret)
			return ret;
	}
	return copy_to_user(buf, &resp, sizeof(resp)) ? -EFAULT : sizeof(resp);
}

static __poll_t testdev_poll(struct file *file, struct poll_table_struct *wait)
{
	struct testdev *td = file->private_data;

	poll_wait(file, &td->device->fake->wait, wait);
	return testdev_may_get(td) ? EPOLLIN | EPOLLRDNORM : 0;
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
