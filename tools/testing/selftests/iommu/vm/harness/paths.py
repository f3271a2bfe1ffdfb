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
LINUX = os.path.join(BUILD, "linux")

KERNELS = {"ours": "kernel", "base": "kernel-base", "debug": "kernel-debug",
           "64k": "kernel-64k", "rt": "kernel-rt"}


def fail(text, status=2):
    """Something that must be there is not: say so and end."""
    print(f"error: {text}", file=sys.stderr)
    sys.exit(status)


def image(kernel):
    """The bootable Image of a kernel by its short name."""
    path = os.path.join(BUILD, KERNELS[kernel], "arch/arm64/boot/Image")
    if not os.path.exists(path):
        how = {"ours": "", "base": " BASE_KERNEL=1", "debug": " DEBUG=1",
               "64k": " PAGES=64k", "rt": " RT=1"}[kernel]
        fail(f"{path} is not there: 'make kernel{how}' makes it")
    return path


def work(*names):
    path = os.path.join(WORK, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def relative(path):
    short = os.path.relpath(path)
    return path if short.startswith("..") else short
