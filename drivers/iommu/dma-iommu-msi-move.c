// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSIs of a group that changes its IOMMU domain
 *
 * A doorbell has the same IOVA in every domain with a window, so mostly there is
 * nothing to do but to map it in the new domain before that is attached. Only
 * between identity and translation, and where a domain has no use for the
 * window, a message changes. Who has such messages and is live is a PCI Express
 * port: its driver uses no DMA, so the group's type can be written, or the group
 * be assigned to a user, while the port raises interrupts.
 *
 *	iommu_msi_wake()	resume the ports
 *	  [iommu_group::mutex]
 *	  iommu_msi_start()	learn, map; hold devices whose messages change
 *	  attach
 *	    learn again		what the IOMMU driver makes known only now
 *	  iommu_msi_finish()	write messages, let the devices go
 *	iommu_msi_let_sleep()
 *
 * Only iommu_msi_start() can fail, and then nothing has changed. Between start
 * and finish no MSI can be prepared in the group, so that what start has looked
 * at is all there is. Attaching runs without iommu_msi_lock.
 *
 * A blocked domain lets no message through, so it leaves them as they are. MSIs
 * that are prepared while it is attached are for the group's default domain.
 *
 * A port is held by masking MSI-X, in which case it remembers what is pending
 * (PCIe Base 7.7.2.2), or by switching plain MSI off. That takes a port in D0
 * that answers; -EBUSY if it does not. So it is for all other devices: whoever
 * they are assigned to may switch off what is written to. Nothing here waits
 * for such a state, for a device's lock or for its config space: resuming may
 * wait for all of them, so it comes before the mutex. A change that cannot be
 * refused caches the message of a device that is out of reach, to be written
 * when its state is restored.
 */
#include <linux/cleanup.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/irq.h>
#include <linux/msi.h>
#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dma-iommu-msi.h"

#include <trace/events/iommu_msi.h>

/**
 * iommu_dma_msi_moved() - Has a descriptor's message changed since its prepare?
 * @desc: MSI descriptor whose message has just been written
 *
 * A change of the domain rewrites the messages of activated interrupts, and
 * skips others as they will be composed later. Whoever activates an interrupt,
 * or writes a copy of its message, outside of irq_desc::lock asks here
 * afterwards, and calls msi_desc_rewrite() if so: either it sees the change, or
 * the change sees that the interrupt is active and writes last.
 *
 * Context: Any context.
 * Return: True if the message may have been composed for the former domain.
 */
bool iommu_dma_msi_moved(const struct msi_desc *desc)
{
	/* Pairs with smp_mb() in msi_commit() */
	smp_mb();
	return READ_ONCE(desc->iommu_msi.moved);
}

/*
 * Ports are resumed before the group's mutex is taken
 */

/* Nobody but the kernel looks after these, whoever owns the group's DMA */
static bool is_port(struct device *dev)
{
	return dev_is_pci(dev) &&
	       (pci_is_bridge(to_pci_dev(dev)) ||
		pci_pcie_type(to_pci_dev(dev)) == PCI_EXP_TYPE_RC_EC);
}

struct sleeper {
	struct list_head	node;
	struct device		*dev;
};

struct wake_request {
	struct list_head	*awake;
	unsigned int		type;
};

/* Would a message of the device change in a domain of that type? 0: any type */
static bool may_change(struct device *dev, unsigned int type)
{
	bool passes = type == IOMMU_DOMAIN_IDENTITY;
	struct iommu_msi_binding *msi;

	guard(mutex)(&iommu_msi_lock);
	hlist_for_each_entry(msi, &dev->iommu->msi.bindings, node) {
		if (!type || passes == !!msi->word)
			return true;
	}
	return false;
}

static int add_sleeper(struct device *dev, void *data)
{
	struct wake_request *request = data;
	struct sleeper *sleeper;

	if (!is_port(dev) || !may_change(dev, request->type))
		return 0;
	sleeper = kmalloc(sizeof(*sleeper), GFP_KERNEL);
	if (!sleeper)
		return -ENOMEM;
	sleeper->dev = get_device(dev);
	list_add(&sleeper->node, request->awake);
	return 0;
}

/**
 * iommu_msi_wake() - Resume the devices whose messages a change will write
 * @group: the group
 * @type: type of the domain that the group moves to, 0 if that is not known
 * @awake: list that iommu_msi_let_sleep() takes, empty
 *
 * A device that cannot be resumed is not an error here: iommu_msi_start() finds
 * out.
 *
 * Context: Process context, may sleep. Takes the mutex of the group, and waits
 *	    for devices without it.
 */
void iommu_msi_wake(struct iommu_group *group, unsigned int type,
		    struct list_head *awake)
{
	struct wake_request request = { .awake = awake, .type = type };
	struct sleeper *sleeper;

	iommu_group_for_each_dev(group, &request, add_sleeper);
	list_for_each_entry(sleeper, awake, node)
		pm_runtime_get_sync(sleeper->dev);
}

/**
 * iommu_msi_let_sleep() - Undo iommu_msi_wake()
 * @awake: its list
 *
 * Context: Process context, may sleep, without the mutex of the group.
 */
void iommu_msi_let_sleep(struct list_head *awake)
{
	struct sleeper *sleeper, *next;

	list_for_each_entry_safe(sleeper, next, awake, node) {
		pm_runtime_put(sleeper->dev);
		put_device(sleeper->dev);
		kfree(sleeper);
	}
}

/*
 * Holding a device back
 */

static int control_word(struct pci_dev *pdev)
{
	return pdev->msix_enabled ? pdev->msix_cap + PCI_MSIX_FLAGS :
				    pdev->msi_cap + PCI_MSI_FLAGS;
}

/*
 * Keep the function from sending, and say if that worked. The table of MSI-X is
 * in a BAR, so memory decoding must be on. A control word that already keeps it
 * from sending belongs to somebody who is setting the function up.
 */
static bool pci_hold(struct pci_dev *pdev)
{
	int pos = control_word(pdev);
	u16 flags, cmd;

	/* There may be no such capability */
	if (!pdev->msix_enabled && !pdev->msi_enabled)
		return false;
	if (pdev->current_state != PCI_D0 || pci_dev_is_disconnected(pdev))
		return false;
	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	pci_read_config_word(pdev, pos, &flags);
	if (PCI_POSSIBLE_ERROR(cmd) || PCI_POSSIBLE_ERROR(flags))
		return false;

	if (pdev->msix_enabled) {
		if (!(cmd & PCI_COMMAND_MEMORY) ||
		    (flags & PCI_MSIX_FLAGS_MASKALL))
			return false;
		flags |= PCI_MSIX_FLAGS_MASKALL;
	} else {
		/* Some functions would raise INTx instead */
		if ((pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG) ||
		    !(flags & PCI_MSI_FLAGS_ENABLE))
			return false;
		flags &= ~PCI_MSI_FLAGS_ENABLE;
	}
	pci_write_config_word(pdev, pos, flags);
	/* A completion pushes the messages that are under way ahead of it */
	pci_read_config_word(pdev, PCI_COMMAND, &cmd);
	return true;
}

static void pci_let_go(struct pci_dev *pdev)
{
	bool msix = pdev->msix_enabled;
	int pos = control_word(pdev);
	u16 flags;

	/* Its driver may have switched them off meanwhile */
	if (!msix && !pdev->msi_enabled)
		return;
	pci_read_config_word(pdev, pos, &flags);
	if (PCI_POSSIBLE_ERROR(flags))
		return;
	if (msix)
		flags &= ~PCI_MSIX_FLAGS_MASKALL;
	else
		flags |= PCI_MSI_FLAGS_ENABLE;
	pci_write_config_word(pdev, pos, flags);
	/* Or just now */
	if (!msix && !pdev->msi_enabled)
		pci_write_config_word(pdev, pos, flags & ~PCI_MSI_FLAGS_ENABLE);
}

static bool hold_device(struct device *dev)
{
	struct iommu_device_msis *msis = &dev->iommu->msi;
	int active;

	if (!is_port(dev))
		return false;
	active = pm_runtime_get_if_active(dev);
	if (!active)
		return false;
	/* Without runtime power management it stays as it is */
	if (active < 0)
		pm_runtime_get_noresume(dev);
	if (!pci_hold(to_pci_dev(dev))) {
		pm_runtime_put(dev);
		return false;
	}
	msis->state = IOMMU_MSI_HELD;
	/* Plain MSI forgets what it could not send */
	msis->missed |= !to_pci_dev(dev)->msix_enabled;
	return true;
}

/*
 * The change itself
 */

static bool msi_is_live(const struct msi_desc *desc)
{
	unsigned int i, irq = READ_ONCE(desc->irq);
	struct irq_data *data;

	for (i = 0; irq && i < desc->nvec_used; i++) {
		data = irq_get_irq_data(irq + i);
		if (data && irqd_is_activated(data))
			return true;
	}
	return false;
}

/**
 * iommu_msi_add_device() - Tell a domain about a device that will be attached
 * @domain: domain of any type
 * @dev: device in the group
 *
 * A DMA domain that cannot be set up for @dev maps no doorbell: iommu_msi_start()
 * finds out. To be called for all devices of the group before that, and again
 * once they are attached: some IOMMU drivers give a domain its granule and its
 * aperture only then, so such a DMA domain is set up then.
 *
 * Context: Process context, may sleep, under the mutex of the device's group.
 *	    Takes locks of CPU hotplug, and iommu_msi_lock.
 */
void iommu_msi_add_device(struct iommu_domain *domain, struct device *dev)
{
	if (domain->iova_cookie && domain->geometry.aperture_end)
		iommu_dma_init_domain(domain, dev);
	else
		iommu_msi_learn_device(domain, dev);
}

/* Will the doorbell be mapped once the domain is attached? */
static bool maps_later(const struct iommu_domain *domain, int err)
{
	/* A DMA domain that is not set up before that */
	if (err == -EFAULT && !domain->geometry.aperture_end)
		return true;
	return err == -ENODEV || err == -EINVAL;
}

/**
 * iommu_msi_start() - Make a device ready for another domain
 * @dev: device in the group
 * @domain: the domain that the group is about to be attached to, NULL if that is
 *	    a blocked one
 *
 * Maps the doorbells that the device needs. If the IOMMU driver cannot map
 * before it attaches, iommu_msi_finish() does. Must be followed by the latter,
 * whatever this returns.
 *
 * Context: Process context, may sleep, under the mutex of the device's group.
 *	    Takes iommu_msi_lock.
 * Return: 0; an error of iommu_dma_prepare_msi(); or %-EBUSY: a message would
 *	   change that the device cannot be given now.
 */
int iommu_msi_start(struct device *dev, struct iommu_domain *domain)
{
	struct iommu_device_msis *msis = &dev->iommu->msi;
	struct iommu_msi_binding *msi;
	bool changes = false;
	int err, ret = 0;
	u64 word;

	guard(mutex)(&iommu_msi_lock);
	msis->state = IOMMU_MSI_MOVING;
	if (!domain)
		return 0;

	hlist_for_each_entry(msi, &msis->bindings, node) {
		err = iommu_msi_translate(domain, iommu_msi_to_desc(msi),
					  msi->phys, &word);
		if (maps_later(domain, err))
			msis->missed = true;
		else if (err)
			ret = err;
		/* A word has the granule too, of which no message tells */
		changes |= iommu_msi_address(msi->phys, word) !=
				   iommu_msi_address(msi->phys, msi->word) &&
			   msi_is_live(iommu_msi_to_desc(msi));
	}
	if (ret)
		dev_warn_ratelimited(dev, "cannot map MSI doorbells: %d\n",
				     ret);
	if (changes && !hold_device(dev)) {
		msis->state = IOMMU_MSI_UNREACHABLE;
		dev_warn_ratelimited(dev,
				     "messages of live MSIs would change and cannot be written\n");
		ret = ret ?: -EBUSY;
	}
	return ret;
}

static void msi_retrigger(struct msi_desc *desc)
{
	unsigned int i, irq = READ_ONCE(desc->irq);
	struct irq_data *data;

	for (i = 0; irq && i < desc->nvec_used; i++) {
		data = irq_get_irq_data(irq + i);
		if (data && irqd_is_started(data))
			irq_set_irqchip_state(irq + i, IRQCHIP_STATE_PENDING,
					      true);
	}
}

/*
 * A port that is neither held nor out of reach had no live message that would
 * change. If it has one now, its driver has just activated it, so it is there.
 */
static bool may_write(struct device *dev, enum iommu_msi_state state)
{
	return state == IOMMU_MSI_HELD || !dev_is_pci(dev) ||
	       (is_port(dev) && state == IOMMU_MSI_MOVING);
}

static void msi_commit(struct iommu_msi_binding *msi, bool write)
{
	struct msi_desc *desc = iommu_msi_to_desc(msi);
	u64 word, address, old = msi->word;

	if (iommu_msi_translate(iommu_msi_domain(desc->dev), desc, msi->phys,
				&word))
		dev_warn_ratelimited(desc->dev,
				     "MSI doorbell %pap is not mapped, interrupt %u is lost\n",
				     &msi->phys, desc->irq);
	if (word == old)
		return;

	WRITE_ONCE(msi->word, word);
	address = iommu_msi_address(msi->phys, word);
	if (address == iommu_msi_address(msi->phys, old))
		return;
	WRITE_ONCE(msi->moved, true);
	/*
	 * Pairs with smp_mb() in iommu_dma_msi_moved(). If the interrupt is not
	 * seen to be active below, then whoever activates it sees the move.
	 */
	smp_mb();
	msi_desc_rewrite(desc, write);
	trace_iommu_msi_rebind(desc->dev, desc->irq, msi->phys,
			       iommu_msi_address(msi->phys, old), address);
}

/**
 * iommu_msi_finish() - Let a device go that is in its new domain, or still in
 *			the old one
 * @dev: device in the group
 * @blocked: the group's domain is a blocked one
 * @was_blocked: so was the former
 * @same: the domain has not changed, so its messages are right as they are
 *
 * Interrupts that the device may have missed are triggered once: drivers cope
 * with a spurious interrupt, but not with one that is missing.
 *
 * Context: Process context, may sleep, under the mutex of the device's group.
 *	    Takes iommu_msi_lock, and irq_desc::lock of the interrupts.
 */
void iommu_msi_finish(struct device *dev, bool blocked, bool was_blocked,
		      bool same)
{
	struct iommu_device_msis *msis = &dev->iommu->msi;
	bool held = msis->state == IOMMU_MSI_HELD;
	bool write = may_write(dev, msis->state);
	struct iommu_msi_binding *msi;

	mutex_lock(&iommu_msi_lock);
	if (!blocked && !same) {
		hlist_for_each_entry(msi, &msis->bindings, node)
			msi_commit(msi, write);
	}
	if (held) {
		pci_let_go(to_pci_dev(dev));
		pm_runtime_put(dev);
	}
	if (!blocked && (msis->missed || was_blocked)) {
		hlist_for_each_entry(msi, &msis->bindings, node)
			msi_retrigger(iommu_msi_to_desc(msi));
	}
	msis->missed = false;
	WRITE_ONCE(msis->state, IOMMU_MSI_SETTLED);
	mutex_unlock(&iommu_msi_lock);
	wake_up_all(&iommu_msi_settled);
}
