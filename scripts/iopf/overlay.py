# SPDX-License-Identifier: GPL-2.0-only
"""What the series makes of a base: whole files laid over it, hunks applied.

An overlay is {path: (mode, bytes)}, or None for a file that is removed. It is
computed in memory and in a scratch directory; the base is only read.
"""
import os
import re
import shutil
import subprocess
import tempfile

from . import wholefiles
from .patches import SeriesError, diff_sections, read_series

FAILED = re.compile(r"^Hunk #(\d+) FAILED at (\d+)")
MOVED = re.compile(r"^Hunk #(\d+) succeeded at (\d+)(.*)\.$")


def inside(directory, path):
    return os.path.join(directory, path)


class Overlay:
    """Applies the patches of a series one by one; keeps each state."""

    def __init__(self, repo, base, begun=False):
        self.base = base
        self.repo = repo
        self.patches = read_series(inside(repo, "patches/6.12"), begun)
        self.claims = wholefiles.Claims(repo, self.patches)
        self.warnings = []
        self.files = {}
        self.states = []
        self.check_shadows()
        self.check_hunks()
        with tempfile.TemporaryDirectory(prefix="iopf-") as scratch:
            self.scratch = scratch
            for patch in self.patches:
                self.apply(patch)
                self.states.append(dict(self.files))

    def in_base(self, path):
        return os.path.lexists(inside(self.base, path))

    def check_shadows(self):
        """A whole file replaces one of the base only if a patch says so."""
        errors = []
        replaced = {path: patch.name for patch in self.patches
                    for path in patch.replaces}
        for path in self.claims.whole:
            if path in self.claims.parts:
                continue
            if self.in_base(path) and path not in replaced:
                errors.append(f"{path}: shadows a file of the base, and no "
                              "patch says 'Replaces:' it")
        for path, name in replaced.items():
            if not self.in_base(path):
                errors.append(f"{path}: {name} replaces it, but the base has "
                              "no such file")
        if errors:
            raise SeriesError(*errors)

    def check_hunks(self):
        """Hunks are for files of the base that are not kept whole."""
        errors = []
        whole = set(self.claims.whole) | {wholefiles.KCONFIG,
                                          wholefiles.MAINTAINERS}
        for patch in self.patches:
            for path in patch.hunked():
                if path in whole:
                    errors.append(f"patches: {patch.name}: has a hunk on "
                                  f"{path}, which is kept whole")
                elif not self.in_base(path):
                    errors.append(f"patches: {patch.name}: has a hunk on "
                                  f"{path}, which the base does not have")
        if errors:
            raise SeriesError(*errors)

    def apply(self, patch):
        for path, text in diff_sections(patch.diff).items():
            self.apply_hunks(patch, path, text)
        for path in self.claims.brought_by(patch):
            self.files[path] = wholefiles.read_entry(self.repo, path)
        self.apply_parts()

    def apply_parts(self):
        """Kconfig and MAINTAINERS, as far as this patch and those before."""
        names = {patch.name for patch in self.patches[:len(self.states) + 1]}
        kconfig = self.claims.kconfig_until(names)
        if kconfig is not None:
            self.files[wholefiles.KCONFIG] = (0o644, kconfig.encode())
        sections = self.claims.parts_until("MAINTAINERS", names)
        if sections:
            path = wholefiles.MAINTAINERS
            text = wholefiles.read_bytes(self.base, path).decode()
            text = wholefiles.insert_sections(text, sections)
            self.files[path] = (0o644, text.encode())

    def to_scratch(self, path):
        place = inside(self.scratch, path)
        if os.path.exists(place):
            return place
        os.makedirs(os.path.dirname(place), exist_ok=True)
        shutil.copy2(inside(self.base, path), place)
        return place

    def apply_hunks(self, patch, path, text):
        if self.files.get(path, ()) is None:
            raise patch.wrong(f"has a hunk on {path}, which an earlier patch "
                              "removes")
        place = self.to_scratch(path)
        result = subprocess.run(
            ["patch", "-p1", "--fuzz=0", "--force", "--reject-file=-",
             "--no-backup-if-mismatch", "--directory", self.scratch],
            input=text.encode(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, check=False)
        output = result.stdout.decode(errors="replace")
        self.judge(patch, path, result.returncode, output)
        if os.path.exists(place):
            self.files[path] = wholefiles.read_entry(self.scratch, path)
        else:
            self.files[path] = None

    def judge(self, patch, path, status, output):
        """Raise what failed; remember which hunks were not at their line."""
        failed = []
        for line in output.splitlines():
            match = FAILED.match(line)
            if match:
                failed.append(f"patches: {patch.name}: hunk #{match.group(1)} "
                              f"for {path} does not apply (line "
                              f"{match.group(2)})")
            match = MOVED.match(line)
            if match:
                self.warnings.append(
                    f"patches: {patch.name}: hunk #{match.group(1)} for "
                    f"{path} applies at line {match.group(2)}"
                    f"{match.group(3)}")
        if failed:
            raise SeriesError(*failed)
        if status != 0:
            raise patch.wrong(f"the hunks for {path} are malformed: "
                              + output.strip().splitlines()[-1])
