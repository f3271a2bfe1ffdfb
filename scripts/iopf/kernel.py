# SPDX-License-Identifier: GPL-2.0-only
"""Recognize a base kernel tree, and refuse what the series is not for."""
import os
import re

from .patches import SeriesError


def read_base(repo):
    """The values of the file BASE."""
    values = {}
    with open(os.path.join(repo, "BASE"), encoding="utf-8") as file:
        for line in file:
            name, sep, value = line.strip().partition("=")
            if sep and not name.startswith("#"):
                values[name] = value
    return values


def version(tree):
    """'6.12.117' of the tree; an error if it is no kernel tree."""
    try:
        with open(os.path.join(tree, "Makefile"), encoding="utf-8") as file:
            text = file.read(4096)
    except OSError:
        text = ""
    numbers = [re.search(rf"^{name} *= *(\d+)$", text, re.MULTILINE)
               for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    if None in numbers or not os.path.exists(os.path.join(tree, "Kbuild")):
        raise SeriesError(f"{tree}: not a Linux kernel tree")
    return ".".join(match.group(1) for match in numbers)


def check(tree, values):
    """The tree's version; an error if the series is for another one."""
    found = version(tree)
    if not (found + ".").startswith(values["RANGE"] + "."):
        raise SeriesError(f"{tree}: is Linux {found}; this series is for "
                          f"{values['RANGE']} (see BASE)")
    for built in (".config", "include/config", "include/generated"):
        if os.path.exists(os.path.join(tree, built)):
            raise SeriesError(f"{tree}: has build outputs ({built}); run "
                              "'make mrproper' there first")
    return found
