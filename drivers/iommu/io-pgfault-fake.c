// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fake IOMMU that records what it is told, for the tests of I/O page faults
 *
 * It has platform devices behind it that know PASIDs. It translates nothing:
 * tests report faults in the name of its devices, and look at the responses.
 */
#include <linux/iommu.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/slab.h>

#include "io-pgfault-fake.h"

static const struct iommu_ops iopf_fake_ops;
static struct iommu_device iopf_fake_iommu;
static DEFINE_MUTEX(iopf_fake_lock);
/* Protected by iopf_fake_lock. */
static unsigned int iopf_fake_users;

static int iopf_fake_attach(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static int iopf_fake_set_pasid(struct iommu_domain *domain, struct device *dev,
			       ioasid_t pasid, struct iommu_domain *old)
{
	return 0;
}

static void iopf_fake_remove_pasid(struct device *dev, ioasid_t pasid,
				   struct iommu_domain *domain)
{
}

static void iopf_fake_sva_free(struct iommu_domain *domain)
{
	kfree(domain);
}

static const struct iommu_domain_ops iopf_fake_domain_ops = {
	.attach_dev = iopf_fake_attach,
	.set_dev_pasid = iopf_fake_set_pasid,
};

static const struct iommu_domain_ops iopf_fake_sva_ops = {
	.set_dev_pasid = iopf_fake_set_pasid,
	.free = iopf_fake_sva_free,
};

static struct iommu_domain iopf_fake_identity = {
	.type = IOMMU_DOMAIN_IDENTITY,
	.ops = &iopf_fake_domain_ops,
	.owner = &iopf_fake_ops,
};

static struct iommu_domain *iopf_fake_alloc_sva(struct device *dev,
						struct mm_struct *mm)
{
	struct iommu_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);

	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->ops = &iopf_fake_sva_ops;
	return domain;
}

static struct iommu_device *iopf_fake_probe(struct device *dev)
{
	return &iopf_fake_iommu;
}

static void iopf_fake_respond(struct device *dev, struct iopf_fault *evt,
			      struct iommu_page_response *resp)
{
	const struct iommu_fault_page_request *prm = &evt->fault.prm;
	struct iopf_fake *fake = dev_get_drvdata(dev);
	struct iopf_fake_record *rec;

	scoped_guard(spinlock, &fake->lock) {
		WRITE_ONCE(fake->late, fake->late + fake->closed);
		if (fake->responses < IOPF_FAKE_RECORDS) {
			rec = &fake->records[fake->responses];
			rec->prm = *prm;
			rec->code = resp->code;
		}
		WRITE_ONCE(fake->responses, fake->responses + 1);
		fake->codes[resp->code]++;
	}
	if (fake->respond)
		fake->respond(fake, prm, resp->code);
	/* Nobody waits for most of them. */
	if (wq_has_sleeper(&fake->wait))
		wake_up_all(&fake->wait);
}

static void iopf_fake_respond_end(struct device *dev)
{
	struct iopf_fake *fake = dev_get_drvdata(dev);

	WRITE_ONCE(fake->runs, fake->runs + 1);
}

static int iopf_fake_feature(struct device *dev, enum iommu_dev_features feat)
{
	return 0;
}

static const struct iommu_ops iopf_fake_ops = {
	.default_domain = &iopf_fake_identity,
	.identity_domain = &iopf_fake_identity,
	.domain_alloc_sva = iopf_fake_alloc_sva,
	.probe_device = iopf_fake_probe,
	.device_group = generic_device_group,
	.remove_dev_pasid = iopf_fake_remove_pasid,
	.page_response = iopf_fake_respond,
#ifndef iopf_device_discard_partial
	.page_response_end = iopf_fake_respond_end,
#endif
	.dev_enable_feat = iopf_fake_feature,
	.dev_disable_feat = iopf_fake_feature,
	.pgsize_bitmap = PAGE_SIZE,
};

/**
 * iopf_fake_domain_init() - make a domain that a PASID can be attached to
 * @kept: the domain
 * @handler: what handles its faults: iopf_fake_keep(), or what calls it
 */
void iopf_fake_domain_init(struct iopf_fake_domain *kept,
			   int (*handler)(struct iopf_group *group))
{
	kept->domain = (struct iommu_domain) {
		.type = IOMMU_DOMAIN_UNMANAGED,
		.ops = &iopf_fake_domain_ops,
		.owner = &iopf_fake_ops,
		.iopf_handler = handler,
	};
	spin_lock_init(&kept->lock);
	INIT_LIST_HEAD(&kept->groups);
	kept->count = 0;
}

/**
 * iopf_fake_keep() - a handler that keeps a group, for iopf_fake_next()
 * @group: of a &struct iopf_fake_domain
 *
 * Return: 0.
 */
int iopf_fake_keep(struct iopf_group *group)
{
	struct iommu_domain *domain = group->attach_handle->domain;
	struct iopf_fake_domain *kept =
		container_of(domain, struct iopf_fake_domain, domain);

	spin_lock(&kept->lock);
	list_add_tail(&group->node, &kept->groups);
	kept->count++;
	spin_unlock(&kept->lock);
	return 0;
}

/**
 * iopf_fake_next() - take the oldest group that was kept
 * @kept: the domain
 *
 * Return: the group, which the caller answers and frees, or NULL.
 */
struct iopf_group *iopf_fake_next(struct iopf_fake_domain *kept)
{
	struct iopf_group *group;

	spin_lock(&kept->lock);
	group = list_first_entry_or_null(&kept->groups, struct iopf_group,
					 node);
	if (group)
		list_del(&group->node);
	spin_unlock(&kept->lock);
	return group;
}

static int iopf_fake_register(void)
{
	struct iommu_device *iommu = &iopf_fake_iommu;
	struct fwnode_handle *fwnode;
	int ret;

	memset(iommu, 0, sizeof(*iommu));
	fwnode = fwnode_create_software_node(NULL, NULL);
	if (IS_ERR(fwnode))
		return PTR_ERR(fwnode);
	iommu->fwnode = fwnode;
	iommu->max_pasids = BIT(20);
	ret = iommu_device_sysfs_add(iommu, NULL, NULL, "iopf-fake");
	if (ret)
		goto err_node;
	ret = iommu_device_register(iommu, &iopf_fake_ops, NULL);
	if (ret)
		goto err_sysfs;
	return 0;

err_sysfs:
	iommu_device_sysfs_remove(iommu);
err_node:
	fwnode_remove_software_node(fwnode);
	return ret;
}

static int iopf_fake_get(void)
{
	int ret;

	guard(mutex)(&iopf_fake_lock);
	ret = iopf_fake_users ? 0 : iopf_fake_register();
	if (!ret)
		iopf_fake_users++;
	return ret;
}

static void iopf_fake_put(void)
{
	guard(mutex)(&iopf_fake_lock);
	if (--iopf_fake_users)
		return;
	iommu_device_unregister(&iopf_fake_iommu);
	iommu_device_sysfs_remove(&iopf_fake_iommu);
	fwnode_remove_software_node(iopf_fake_iommu.fwnode);
}

static int iopf_fake_add(struct iopf_fake *fake)
{
	const struct property_entry props[] = {
		PROPERTY_ENTRY_U32("pasid-num-bits", 20),
		{ }
	};
	struct device *dev = iopf_fake_dev(fake);
	int ret;

	dev_set_drvdata(dev, fake);
	ret = device_create_managed_software_node(dev, props, NULL);
	if (!ret) {
		guard(mutex)(&iommu_probe_device_lock);
		ret = iommu_fwspec_init(dev, iopf_fake_iommu.fwnode);
	}
	if (!ret)
		ret = platform_device_add(fake->pdev);
	if (ret)
		return ret;
	fake->name = dev_name(dev);
	if (!dev->iommu_group) {
		platform_device_del(fake->pdev);
		return -ENODEV;
	}
	return 0;
}

/**
 * iopf_fake_create() - make a device behind the fake IOMMU
 * @name: of the device
 * @id: of the device, among those with that name
 *
 * Context: may sleep.
 * Return: the device, or an error pointer: -ENOMEM, -ENODEV, or what the driver
 * core says.
 */
struct iopf_fake *iopf_fake_create(const char *name, int id)
{
	struct iopf_fake *fake;
	int ret = -ENOMEM;

	fake = kvzalloc(sizeof(*fake), GFP_KERNEL);
	if (!fake)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&fake->lock);
	init_waitqueue_head(&fake->wait);
	fake->pdev = platform_device_alloc(name, id);
	if (!fake->pdev)
		goto err_free;
	ret = iopf_fake_get();
	if (ret)
		goto err_put_device;
	ret = iopf_fake_add(fake);
	if (ret)
		goto err_put_iommu;
	return fake;

err_put_iommu:
	iopf_fake_put();
err_put_device:
	platform_device_put(fake->pdev);
err_free:
	kvfree(fake);
	return ERR_PTR(ret);
}

/**
 * iopf_fake_destroy() - undo iopf_fake_create()
 * @fake: the device, on no queue any more
 *
 * Context: may sleep.
 */
void iopf_fake_destroy(struct iopf_fake *fake)
{
	platform_device_unregister(fake->pdev);
	iopf_fake_put();
	kvfree(fake);
}

/**
 * iopf_fake_reset() - forget the responses
 * @fake: the device
 */
void iopf_fake_reset(struct iopf_fake *fake)
{
	spin_lock(&fake->lock);
	fake->responses = 0;
	fake->late = 0;
	fake->runs = 0;
	fake->closed = false;
	memset(fake->codes, 0, sizeof(fake->codes));
	spin_unlock(&fake->lock);
}

/**
 * iopf_fake_expect() - say whether responses may come
 * @fake: the device
 * @expected: whether they may; others are counted as late
 */
void iopf_fake_expect(struct iopf_fake *fake, bool expected)
{
	spin_lock(&fake->lock);
	fake->closed = !expected;
	spin_unlock(&fake->lock);
}

/**
 * iopf_fake_wait() - wait for responses
 * @fake: the device
 * @responses: how many, since it was made or reset
 *
 * Context: may sleep, for five seconds at most.
 * Return: false if they did not come.
 */
bool iopf_fake_wait(struct iopf_fake *fake, unsigned long responses)
{
	return wait_event_timeout(fake->wait,
				  READ_ONCE(fake->responses) >= responses,
				  5 * HZ);
}
