# SPDX-License-Identifier: GPL-2.0-only
"""Read patches/6.12/: the list of patches, and what each of them claims.

A patch file is a mail without its header: "Subject: ", changelog, "---",
lines "Files: PATH" and "Replaces: PATH", then hunks against the base.
"""
import os
import re

DIFF = re.compile(r"^diff --git a/(\S+) b/(\S+)$")
# Files of which a patch may claim a part: "Files: Kconfig:SYMBOL".
DIVISIBLE = ("Kconfig", "MAINTAINERS")


class SeriesError(Exception):
    """What is wrong with the series or the base; one line each."""

    def __init__(self, *lines):
        super().__init__("\n".join(lines))
        self.lines = lines


class Patch:
    """One file of the series."""

    def __init__(self, path, name):
        self.name = name
        self.path = path
        self.subject = ""
        self.body = ""
        self.files = []
        self.replaces = []
        self.diff = ""

    def wrong(self, text):
        return SeriesError(f"patches: {self.name}: {text}")

    def hunked(self):
        """The base files that the hunks touch."""
        return list(diff_sections(self.diff))

    @property
    def message(self):
        return f"{self.subject}\n\n{self.body}\n"


def diff_sections(diff):
    """The diff cut in pieces, one a file, in order: {path: text}."""
    sections = {}
    path = None
    for line in diff.splitlines(keepends=True):
        match = DIFF.match(line.rstrip("\n"))
        if match:
            path = match.group(2)
            sections[path] = ""
        if path:
            sections[path] += line
    return sections


def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def list_series(directory):
    """The names of the patches, in order."""
    path = os.path.join(directory, "series")
    if not os.path.exists(path):
        return []
    names = []
    for line in read_text(path).splitlines():
        name = line.split("#", 1)[0].strip()
        if name:
            names.append(name)
    return names


def parse_claim(patch, line, lineno):
    key, sep, value = line.partition(":")
    value = value.strip()
    if not sep or not value or key not in ("Files", "Replaces"):
        raise patch.wrong(f"line {lineno}: '{line}' is neither 'Files: PATH', "
                          "'Replaces: PATH' nor the first 'diff --git'")
    if key == "Files":
        patch.files.append(value)
    else:
        patch.replaces.append(value)
        patch.files.append(value)


def parse_message(patch, lines):
    if not lines or not lines[0].startswith("Subject: "):
        raise patch.wrong("the first line is not 'Subject: ...'")
    patch.subject = lines[0][len("Subject: "):].strip()
    patch.body = "\n".join(lines[1:]).strip()
    if not patch.body:
        raise patch.wrong("has no changelog")


def parse_diff(patch, lines):
    patch.diff = "".join(line + "\n" for line in lines)
    for line in lines:
        if line.startswith(("rename ", "copy ", "GIT binary", "Binary ")):
            raise patch.wrong(f"'{line}': only plain text hunks, please")
        if line.startswith("new file mode"):
            raise patch.wrong("a hunk adds a file; keep new files whole")
    starts = sum(line.startswith("diff --git ") for line in lines)
    if starts != len(patch.hunked()):
        raise patch.wrong("has two sections for one file, or a file name "
                          "with a space")


def read_patch(directory, name, begun=False):
    """begun: it need not change anything yet."""
    patch = Patch(os.path.join(directory, name), name)
    if not os.path.exists(patch.path):
        raise patch.wrong("is listed in 'series' but does not exist")
    lines = read_text(patch.path).splitlines()
    if "---" not in lines:
        raise patch.wrong("has no line '---' after its changelog")
    cut = lines.index("---")
    parse_message(patch, lines[:cut])
    for lineno, line in enumerate(lines[cut + 1:], cut + 2):
        if line.startswith("diff --git "):
            parse_diff(patch, lines[lineno - 1:])
            break
        if line.strip():
            parse_claim(patch, line, lineno)
    if not patch.files and not patch.diff and not begun:
        raise patch.wrong("changes nothing")
    return patch


def read_series(directory, begun=False):
    """Every patch of the series, in order."""
    names = list_series(directory)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SeriesError(*(f"patches: {name}: listed twice in 'series'"
                            for name in twice))
    unlisted = sorted(
        name for name in os.listdir(directory)
        if name.endswith(".patch") and name not in names
    ) if os.path.isdir(directory) else []
    if unlisted:
        raise SeriesError(*(f"patches: {name}: not listed in 'series'"
                            for name in unlisted))
    return [read_patch(directory, name, begun) for name in names]


def read_cover(directory):
    """Subject and text of the cover letter."""
    path = os.path.join(directory, "cover-letter")
    if not os.path.exists(path):
        raise SeriesError("patches: there is no 'cover-letter'")
    first, _, rest = read_text(path).partition("\n")
    if not first.startswith("Subject: ") or not rest.strip():
        raise SeriesError("patches: cover-letter: needs 'Subject: ...', an "
                          "empty line and a text")
    return first[len("Subject: "):].strip(), rest.strip()
