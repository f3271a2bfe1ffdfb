# SPDX-License-Identifier: GPL-2.0-only
"""The machine: QEMU's arguments, and which device plays which role.

A guest's programs find a device by its role: the environment has DEV_<role>
with the device's address. A boot has just the devices that it needs: of the 64
interrupts of the machine's GICv2m frame, the SMMU's own wires take four, from
the 27th on (QEMU 7.2, hw/arm/virt.c), and Linux cannot know.
"""
import functools
import os
import random
import re
import subprocess
import tempfile

from . import paths

MACHINES = {
    "its": "virt,iommu=smmuv3,gic-version=3,its=on",
    "v2m": "virt,iommu=smmuv3,gic-version=2",
}
TITLES = {"its": "SMMUv3 + GICv3 ITS", "v2m": "SMMUv3 + GICv2m"}
DISK_MIB = 8
VIRTIO = "iommu_platform=on,disable-legacy=on,disable-modern=off,ats=off"
PORT = "pcie-root-port"
NO_ACS = "disable-acs=on"

# role: (slot.function or the port it is below, what -device gets). The two
# functions of slot 8, and of slot 9 with what is below its ports, have no ACS:
# each slot is one IOMMU group.
DEVICES = {
    "nvme": ("01.0", "nvme,serial=nvme"),
    "vblk": ("02.0", f"virtio-blk-pci,{VIRTIO}"),
    "e1000e": ("03.0", "e1000e,netdev=net0,romfile="),
    "vnet": ("04.0", f"virtio-net-pci,netdev=net1,romfile=,{VIRTIO}"),
    "edu": ("05.0", "edu"),
    "rng": ("06.0", f"virtio-rng-pci,{VIRTIO}"),
    "port": ("07.0", PORT),
    "pair0": ("08.0", "nvme,serial=pair0,multifunction=on"),
    "pair1": ("08.1", f"virtio-blk-pci,{VIRTIO}"),
    "noacs0": ("09.0", f"{PORT},{NO_ACS},multifunction=on"),
    "noacs1": ("09.1", f"{PORT},{NO_ACS}"),
    "msi32": ("0a.0", f"ioh3420,{NO_ACS}"),
    "port1": ("0b.0", PORT),
    "port2": ("0c.0", PORT),
    "port3": ("0d.0", PORT),
    "iopf": ("0e.0", "iopf-testdev"),
    "iopf_vfs": ("0f.0", "iopf-testdev,vfs=2"),
    "shared": ("noacs0", "edu"),
    "msi64": ("msi32", f"virtio-blk-pci,{VIRTIO}"),
}
WORKERS = ["nvme", "vblk", "e1000e", "vnet"]

# What a guest may ask to be plugged in: {name: (port, QMP's device_add)}.
HOT_BLK = {"driver": "virtio-blk-pci", "iommu_platform": True,
           "disable-legacy": "on"}
HOTPLUG = {
    "hot_nvme": ("port", {"driver": "nvme", "serial": "hot"}),
    "hot_blk": ("port", HOT_BLK),
    "hot_blk1": ("port1", HOT_BLK),
    "hot_blk2": ("port2", HOT_BLK),
    "hot_noacs": ("noacs1", HOT_BLK),
}


def is_port(role):
    return DEVICES[role][1].startswith((PORT, "ioh3420"))


def boots_on_one_cpu(roles):
    """Linux probes NVMe beside other devices. Whenever one of those gets its
    BARs, another CPU's access to a register may get lost before QEMU 8.1 ("nvme:
    I/O timeout, QID 0" in one boot of a hundred). init brings the others up.
    """
    return qemu_version() < (8, 1) and \
        any(DEVICES[role][1].startswith("nvme") for role in roles)


def is_disk(role):
    return DEVICES[role][1].startswith(("nvme", "virtio-blk"))


def in_order(roles):
    """Ports before what is below them; unknown roles are an error."""
    return [role for role in DEVICES if role in set(roles)]


def secondary_bus(roles):
    """{port: number of the bus below it}; Linux counts by slots."""
    ports = sorted((DEVICES[role][0], role) for role in roles
                   if is_port(role))
    return {role: number for number, (_, role) in enumerate(ports, 1)}


def environment(roles):
    """What the guest's programs are told: DEV_<role>, DEV_hot_<port>,
    and GICV2_MOVES_PENDING where QEMU does (see msi_affinity.c).
    """
    buses = secondary_bus(roles)
    found = {}
    for role in roles:
        place = DEVICES[role][0]
        found[f"DEV_{role}"] = (f"0000:{buses[place]:02x}:00.0"
                                if place in buses else f"0000:00:{place}")
    for role, bus in buses.items():
        found[f"DEV_hot_{role}"] = f"0000:{bus:02x}:00.0"
    if qemu_version() >= (9, 1):
        found["GICV2_MOVES_PENDING"] = "1"
    return found


def device_args(roles):
    """-device for each role; QEMU's name of a port is its role."""
    args = []
    for number, role in enumerate(in_order(roles), 1):
        place, options = DEVICES[role]
        where = f"bus=pcie.0,addr={place}" if place[0] == "0" \
            else f"bus=b-{place},addr=00.0"
        if is_port(role):
            where += f",id=b-{role},chassis={number},slot={number}"
        if is_disk(role):
            where += f",drive=disk-{role}"
        args += ["-device", f"{options},{where}"]
    return args


def hotplug_arguments(name):
    """device_add's arguments."""
    port, arguments = HOTPLUG[name]
    return {"id": name, "bus": f"b-{port}", "drive": f"disk-{name}",
            **arguments}


def disk_args(roles):
    """A read-only disk for each device that has or may get one."""
    names = [role for role in roles if is_disk(role)]
    names += [name for name, entry in HOTPLUG.items() if entry[0] in roles]
    args = []
    for name in names:
        args += ["-blockdev", f"driver=raw,node-name=disk-{name},"
                 "read-only=on,file.driver=file,file.locking=off,"
                 f"file.filename={disk_image()}"]
    return args


def net_args(roles, directory):
    """Two cards with a datagram socket each, joined."""
    if "e1000e" not in roles:
        return []
    ends = [os.path.join(directory, f"net{number}") for number in (0, 1)]
    args = []
    for number in (0, 1):
        args += ["-netdev", f"dgram,id=net{number},local.type=unix,"
                 f"local.path={ends[number]},remote.type=unix,"
                 f"remote.path={ends[1 - number]}"]
    return args


def channel_args(results, host_fd, qmp_fd, init_fd):
    """Ports to the host over MMIO: they need neither an MSI nor the SMMU."""
    return ["-device", "virtio-serial-device",
            "-chardev", f"file,id=results,path={results}",
            "-device", "virtserialport,chardev=results,name=results",
            "-chardev", f"socket,id=host,fd={host_fd}",
            "-device", "virtserialport,chardev=host,name=host",
            "-chardev", f"socket,id=init,fd={init_fd}",
            "-device", "virtserialport,chardev=init,name=init",
            "-chardev", f"socket,id=qmp,fd={qmp_fd}",
            "-mon", "chardev=qmp,mode=control"]


def qemu():
    return os.environ.get("QEMU", "qemu-system-aarch64")


@functools.cache
def qemu_version():
    """As (7, 2); an error where it is not installed."""
    try:
        text = subprocess.run([qemu(), "--version"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
    except OSError as error:
        paths.fail(f"{qemu()}: {error.strerror} (package qemu-system-arm)")
    match = re.search(r"version (\d+)\.(\d+)", text)
    return tuple(int(number) for number in match.groups())


def disk_image():
    """A disk of known content, the same in every run."""
    path = paths.work("disk.img")
    size = DISK_MIB << 20
    if not os.path.exists(path) or os.path.getsize(path) != size:
        # Machines start at the same time: each brings its own, all alike.
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path),
                                         delete=False) as file:
            file.write(random.Random(DISK_MIB).randbytes(size))
        os.replace(file.name, path)
    return path
