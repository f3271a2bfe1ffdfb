# SPDX-License-Identifier: GPL-2.0-only
"""The files that the repository keeps whole, at their kernel paths.

Kconfig is installed as drivers/iommu/Kconfig.iopf; the sections of MAINTAINERS
are inserted in the kernel's. Both may be claimed in parts, so that a patch of
the series brings just the symbols that it implements.
"""
import os
import re
import subprocess

from .patches import DIVISIBLE, SeriesError

DIRECTORIES = ("drivers", "include", "Documentation", "tools")
# Not for the kernel: hunks and files of ours for QEMU.
NOT_MAILED = ("tools/testing/qemu/",)
KCONFIG = "drivers/iommu/Kconfig.iopf"
MAINTAINERS = "MAINTAINERS"


def listed_by_git(repo):
    """What git tracks or would track below DIRECTORIES; None without git."""
    if not os.path.exists(os.path.join(repo, ".git")):
        return None
    out = subprocess.run(
        ["git", "-C", repo, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard", "--", *DIRECTORIES, *DIVISIBLE],
        check=True, stdout=subprocess.PIPE).stdout.decode()
    return sorted(set(filter(None, out.split("\0"))))


def listed_by_walk(repo):
    found = [name for name in DIVISIBLE
             if os.path.exists(os.path.join(repo, name))]
    for directory in DIRECTORIES:
        for here, dirs, names in os.walk(os.path.join(repo, directory)):
            dirs.sort()
            if "__pycache__" in dirs:
                dirs.remove("__pycache__")
            found += [os.path.relpath(os.path.join(here, name), repo)
                      for name in names
                      if not name.endswith((".o", ".ko", ".pyc"))]
    return sorted(found)


def list_whole(repo):
    """Paths in the repository of all whole files that the kernel gets."""
    paths = listed_by_git(repo)
    if paths is None:
        paths = listed_by_walk(repo)
    return [path for path in paths
            if os.path.isfile(os.path.join(repo, path))
            and not path.startswith(NOT_MAILED)]


def split_kconfig(text):
    """{symbol: stanza}; what precedes the first symbol is under ''."""
    parts = {"": ""}
    name = ""
    for line in text.splitlines(keepends=True):
        match = re.match(r"(?:menu)?config (\w+)$", line.rstrip())
        if match:
            name = match.group(1)
            parts[name] = ""
        parts[name] += line
    return parts


def split_maintainers(text):
    """{title: section}; sections are separated by empty lines."""
    parts = {}
    for section in re.split(r"\n\s*\n", text.strip()):
        parts[section.split("\n", 1)[0].strip()] = section.strip() + "\n"
    return parts


def split(path, text):
    return (split_kconfig if path == "Kconfig" else split_maintainers)(text)


def read_bytes(repo, path):
    with open(os.path.join(repo, path), "rb") as file:
        return file.read()


def file_mode(repo, path):
    executable = os.access(os.path.join(repo, path), os.X_OK)
    return 0o755 if executable else 0o644


def read_entry(top, path):
    """(mode, content) of a file, as overlays hold it."""
    return file_mode(top, path), read_bytes(top, path)


class Claims:
    """Which patch brings which whole file, checked: each exactly once."""

    def __init__(self, repo, patches):
        self.repo = repo
        self.whole = list_whole(repo)
        self.parts = {path: split(path, read_bytes(repo, path).decode())
                      for path in DIVISIBLE if path in self.whole}
        self.wanted = self.units()
        self.by_unit = {}
        self.errors = []
        for patch in patches:
            for claim in patch.files:
                self.claim(patch, claim)
        for unit in self.wanted:
            if unit not in self.by_unit:
                self.errors.append(f"{unit}: claimed by no patch")
        if self.errors:
            raise SeriesError(*sorted(set(self.errors)))

    def units(self):
        """Everything that can be claimed: paths, and PATH:PART."""
        units = [path for path in self.whole if path not in self.parts]
        for path, parts in self.parts.items():
            units += [f"{path}:{part}" for part in parts if part]
        return units

    def claim(self, patch, claim):
        units = [claim]
        if claim in self.parts:
            units = [f"{claim}:{part}" for part in self.parts[claim] if part]
        for unit in units:
            if unit not in self.wanted:
                self.errors.append(f"{unit}: claimed by {patch.name}, but "
                                   "there is no such file or part")
            elif unit in self.by_unit:
                self.errors.append(f"{unit}: claimed by both "
                                   f"{self.by_unit[unit]} and {patch.name}")
            else:
                self.by_unit[unit] = patch.name

    def brought_by(self, patch):
        """The undivided files that a patch brings: [path]."""
        return [unit for unit, name in self.by_unit.items()
                if name == patch.name and unit in self.whole]

    def parts_until(self, path, names):
        """What a divisible file holds once the named patches are in."""
        return [text for part, text in self.parts.get(path, {}).items()
                if self.by_unit.get(f"{path}:{part}") in names]

    def kconfig_until(self, names):
        """The text of the installed Kconfig, None before its first part."""
        stanzas = self.parts_until("Kconfig", names)
        if not stanzas:
            return None
        text = self.parts["Kconfig"][""] + "".join(stanzas)
        # Without what separates a symbol from those of later patches.
        return text.rstrip("\n") + "\n"


def insert_sections(text, sections):
    """The kernel's MAINTAINERS with our sections at their places."""
    for section in sections:
        text = insert_section(text, section)
    return text


def titles(text):
    """[(title, offset)] of the sections, in the order of the file."""
    found = []
    start = text.find("Maintainers List\n")
    for match in re.finditer(r"\n\n([^\s:][^\n]*)\n[A-Z]:\t", text[start:]):
        found.append((match.group(1), start + match.start(1)))
    return found


def insert_section(text, section):
    title = section.split("\n", 1)[0].upper()
    known = titles(text)
    if not known:
        raise SeriesError("MAINTAINERS: the base's file has no sections")
    # The kernel's file is not quite sorted: few titles shall be on the wrong
    # side, however they stand among themselves.
    offsets = [offset for _, offset in known] + [len(text)]
    wrong = [sum(name.upper() < title for name, _ in known)]
    for name, _ in known:
        wrong.append(wrong[-1] + (1 if name.upper() > title else -1))
    place = offsets[wrong.index(min(wrong))]
    if place == len(text):
        return text.rstrip("\n") + "\n\n" + section
    return text[:place] + section + "\n" + text[place:]
