# SPDX-License-Identifier: GPL-2.0-only
"""Where things are. Everything that is made goes below BUILD."""
import os
import sys

VM_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MSI_DIR = os.path.join(os.path.dirname(VM_DIR), "msi")
# At its place in the repository or in a kernel tree: five levels down.
TOP = os.path.abspath(os.path.join(VM_DIR, *[".."] * 5))
BUILD = os.path.abspath(os.environ.get("BUILD", os.path.join(TOP, "build")))
WORK = os.path.join(BUILD, "vm")
TEST = os.path.join(BUILD, "test")
# In the series' repository the sources are put together in build/linux.
IN_TREE = not os.path.exists(os.path.join(TOP, "scripts/overlay"))
LINUX = TOP if IN_TREE else os.path.join(BUILD, "linux")

KERNELS = {"ours": "kernel", "base": "kernel-base", "debug": "kernel-debug",
           "64k": "kernel-64k", "kcsan": "kernel-kcsan", "rt": "kernel-rt",
           "gdb": "kernel-gdb",
           "bench": "kernel-bench", "base-bench": "kernel-base-bench"}


def fail(text, status=2):
    """Something that must be there is not: say so and end."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)


def image(kernel):
    """The bootable Image of a kernel by its short name."""
    path = os.path.join(BUILD, KERNELS[kernel], "arch/arm64/boot/Image")
    if not os.path.exists(path):
        if IN_TREE:
            fail(f"{path} is not there: see {VM_DIR}/README.rst")
        how = {"ours": "", "base": " BASE_KERNEL=1", "debug": " DEBUG=1",
               "64k": " PAGES=64k", "kcsan": " KCSAN=1",
               "rt": " RT=1", "gdb": " GDB=1"}.get(kernel)
        fail(f"{path} is not there: " + (
            f"'scripts/kernel {kernel}' makes it" if how is None
            else f"'make kernel{how}' makes it"))
    return path


def module(kernel, name, directory):
    """(name in /lib, path) of a module: a kernel's own, or one beside it."""
    built = os.path.join(BUILD, KERNELS[kernel], directory, name)
    if kernel == "base":
        built = os.path.join(BUILD, "module-base", name)
    if not os.path.exists(built):
        how = "compare" if kernel == "base" else "test"
        fail(f"{built} is not there: 'make {how}' makes it")
    stem, suffix = os.path.splitext(name)
    return f"{stem}-{kernel}{suffix}", built


def emulator():
    """QEMU with what tools/testing/qemu adds; EMULATOR names another build,
    as build/qemu-san.
    """
    where = os.environ.get("EMULATOR", os.path.join(BUILD, "qemu"))
    path = os.path.join(where, "qemu-system-aarch64")
    if not os.path.exists(path):
        fail(f"{path} is not there: 'make qemu' makes it")
    return path


def work(*names):
    path = os.path.join(WORK, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def relative(path):
    short = os.path.relpath(path)
    return path if short.startswith("..") else short
