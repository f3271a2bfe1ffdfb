# SPDX-License-Identifier: GPL-2.0-or-later
# The machine that the SMMU and I/O page fault tests boot, and no more.
CONFIG_ARM_VIRT=y
CONFIG_PCIE_PORT=y
CONFIG_NVME_PCI=y
# nvme refers to it, but does not select it
CONFIG_SPDM_SOCKET=y
CONFIG_EDU=y
CONFIG_E1000E_PCI_EXPRESS=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y
CONFIG_IOPF_TESTDEV=y
