# SPDX-License-Identifier: GPL-2.0-only
"""A source tree on disk: a copy of the base with an overlay written over it.

Writing is incremental: a file whose content is right already keeps its mtime,
so that kbuild rebuilds no more than what changed. Everything that can fail for
the series' sake has been computed before the first file is written. A state
file beside the tree names the base and every path that may differ from it; it
is written first, so that an interrupted run is completed by the next one. It
also holds what was written there: a file that is something else by now was
edited by hand, and is not overwritten.
"""
import hashlib
import json
import os
import shutil
import signal
import subprocess

from .patches import SeriesError

# O= directories live inside the tree: kbuild then names sources "../x.c",
# the same in every tree, and ccache recognizes what it has seen.
OUTPUTS = ".kernel"


def base_id(base):
    """What tells one base from another: place and time of its Makefile."""
    stat = os.stat(os.path.join(base, "Makefile"))
    return f"{os.path.realpath(base)} {stat.st_mtime_ns} {stat.st_size}"


def read_file(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def walk(top):
    """{path: stat} of everything in a tree that is not a directory."""
    found = {}
    pending = [""]
    while pending:
        here = pending.pop()
        with os.scandir(os.path.join(top, here)) as entries:
            for entry in entries:
                path = os.path.join(here, entry.name)
                if not here and entry.name.startswith((OUTPUTS, ".git")) \
                   and entry.is_dir():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    found[path] = entry.stat(follow_symlinks=False)
    return found


def digest(content):
    return "" if content is None else hashlib.sha256(content).hexdigest()


def mode_of(path):
    return 0o755 if os.access(path, os.X_OK) else 0o644


class Tree:
    """The tree at a path, which need not exist yet."""

    def __init__(self, path, base):
        self.path = path
        self.base = base
        self.state_path = path + ".state"

    def load_state(self):
        text = read_file(self.state_path)
        return json.loads(text) if text else None

    def save_state(self, paths, written):
        """written: {path: digests that it may have}"""
        state = {"base": base_id(self.base), "paths": sorted(paths),
                 "written": written}
        with open(self.state_path + ".new", "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
        os.replace(self.state_path + ".new", self.state_path)

    def usable(self):
        state = self.load_state()
        return (state is not None and state["base"] == base_id(self.base)
                and os.path.isdir(self.path))

    def edited(self, overlay):
        """Paths whose content is neither what was written there, nor what is
        to be: somebody's work. What is gone or the base's holds none.
        """
        state = self.load_state() or {}
        found = []
        for path, digests in state.get("written", {}).items():
            content = read_file(os.path.join(self.path, path))
            if content is None or digest(content) in digests:
                continue
            if content != (overlay.get(path) or (0, None))[1] and \
               content != read_file(os.path.join(self.base, path)):
                found.append(path)
        return sorted(found)

    def refuse_edited(self, overlay):
        found = self.edited(overlay)
        if found:
            raise SeriesError(
                *(f"{os.path.relpath(os.path.join(self.path, path))}: was "
                  "edited there, and would be overwritten" for path in found),
                "scripts/refresh --from-tree takes such edits into the "
                "repository (hunks into their patch), scripts/tree --discard "
                "throws them away")

    def copy_base(self):
        """A fresh copy of the base; built beside its place, then renamed."""
        scratch = self.path + ".new"
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        try:
            subprocess.run(["rsync", "-a", "--exclude=/.git",
                            f"--exclude=/{OUTPUTS}*", self.base + "/",
                            scratch + "/"], check=True)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        if os.path.exists(self.state_path):
            os.unlink(self.state_path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.rename(scratch, self.path)
        self.save_state([], {})

    def sync(self, overlay, discard=False):
        """Make the tree base plus overlay; the paths that were written."""
        if not discard:
            self.refuse_edited(overlay)
        if not self.usable():
            self.copy_base()
        state = self.load_state()
        paths = set(state["paths"]) | set(overlay)
        self.check_base(paths - set(overlay))
        written = {path: [digest(file and file[1])]
                   for path, file in overlay.items()}
        before = state.get("written", {})
        self.save_state(paths, {path: before.get(path, []) +
                                written.get(path, [])
                                for path in set(before) | set(written)})
        blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        changed = [path for path in sorted(paths)
                   if self.put(path, self.wanted(path, overlay))]
        self.save_state(overlay, written)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        return changed

    def check_base(self, paths):
        for path in paths:
            if os.path.islink(os.path.join(self.base, path)):
                raise SeriesError(f"{path}: is a symbolic link in the base")

    def wanted(self, path, overlay):
        """(mode, content) that a path must have, None for absent."""
        if path in overlay:
            return overlay[path]
        place = os.path.join(self.base, path)
        content = read_file(place)
        return None if content is None else (mode_of(place), content)

    def put(self, path, wanted):
        """Write one file unless it is right already."""
        place = os.path.join(self.path, path)
        content = read_file(place)
        if wanted is None:
            if content is not None:
                os.unlink(place)
                self.prune(os.path.dirname(place))
            return content is not None
        mode, data = wanted
        if content == data and mode_of(place) == mode:
            return False
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place + ".iopf-new", "wb") as file:
            file.write(data)
        os.chmod(place + ".iopf-new", mode)
        os.replace(place + ".iopf-new", place)
        return True

    def prune(self, directory):
        """Remove the directories that a removed file leaves empty."""
        while directory.startswith(self.path + "/"):
            inside = os.path.relpath(directory, self.path)
            if os.listdir(directory) or \
               os.path.isdir(os.path.join(self.base, inside)):
                return
            os.rmdir(directory)
            directory = os.path.dirname(directory)

    def differences(self, overlay):
        """Paths that are not what base and overlay make them, all looked at.

        A file whose size and mtime are the base's counts as unchanged.
        """
        ours, theirs = walk(self.path), walk(self.base)
        wrong = []
        for path in set(ours) | set(theirs) | set(overlay):
            if path not in overlay and path in ours and path in theirs and \
               (ours[path].st_mtime_ns, ours[path].st_size) == \
               (theirs[path].st_mtime_ns, theirs[path].st_size):
                continue
            place = os.path.join(self.path, path)
            content = read_file(place)
            have = None if content is None else (mode_of(place), content)
            if have != self.wanted(path, overlay):
                wrong.append(path)
        return sorted(wrong)
