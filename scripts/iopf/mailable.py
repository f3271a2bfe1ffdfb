# SPDX-License-Identifier: GPL-2.0-only
"""Commits and mails of the series, made from the same overlay as the tree.

The repository made here holds only the base files that the series touches:
blob names, and so the mails, are those of a full one, at a thousandth of the
size. series-check applies the mails to a full tree.
"""
import os
import subprocess

from . import wholefiles
from .patches import SeriesError, read_cover


def git(directory, *args, **kwargs):
    """Run git on a repository of ours, free of the user's configuration."""
    environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null",
                       GIT_CONFIG_SYSTEM="/dev/null")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        environment.pop(name, None)
    result = subprocess.run(["git", "-C", directory, *args], env=environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            check=False, **kwargs)
    if result.returncode != 0:
        raise SeriesError(f"git {args[0]} failed: "
                          + (result.stderr + result.stdout).decode().strip())
    return result.stdout.decode()


def user_value(repo, key):
    result = subprocess.run(["git", "-C", repo, "config", key], check=False,
                            stdout=subprocess.PIPE)
    return result.stdout.decode().strip()


def identity(repo):
    """'Name <address>' of who runs this; the mails' From line."""
    name, mail = (user_value(repo, f"user.{key}") for key in ("name", "email"))
    if name and mail:
        return f"{name} <{mail}>", True
    return "Unknown <unknown@localhost>", False


def patch_date(repo, path):
    """When the patch was last committed, as git's raw date."""
    result = subprocess.run(
        ["git", "-C", repo, "log", "-1", "--format=%ad", "--date=raw", "--",
         path], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return result.stdout.decode().strip() or "0 +0000"


class Importer:
    """Writes commits as a stream for git fast-import."""

    def __init__(self, author):
        self.stream = bytearray()
        self.author = author

    def data(self, content):
        self.stream += b"data %d\n" % len(content) + content + b"\n"

    def commit(self, message, date, changes):
        who = f"{self.author} {date}"
        self.stream += b"commit refs/heads/series\n"
        self.stream += f"author {who}\ncommitter {who}\n".encode()
        self.data(message.encode())
        for path, file in sorted(changes.items()):
            if file is None:
                self.stream += f"D {path}\n".encode()
                continue
            mode = "100755" if file[0] & 0o100 else "100644"
            self.stream += f"M {mode} inline {path}\n".encode()
            self.data(file[1])


def base_files(overlay):
    """What the base has of the files that the series touches."""
    files = {}
    for path in sorted(set().union(*overlay.states)):
        if overlay.in_base(path):
            files[path] = wholefiles.read_entry(overlay.base, path)
    return files


def changes(before, after):
    return {path: file for path, file in after.items()
            if before.get(path) != file}


def make_commits(repo, overlay, version, directory):
    """A repository with the base and one commit a patch."""
    author, known = identity(repo)
    os.makedirs(directory)
    git(directory, "init", "-q", "-b", "series")
    stream = Importer(author)
    before = base_files(overlay)
    stream.commit(f"Linux {version}", "0 +0000", before)
    for patch, state in zip(overlay.patches, overlay.states):
        stream.commit(patch.message, patch_date(repo, patch.path),
                      changes(before, state))
        before = state
    git(directory, "fast-import", "--quiet", input=bytes(stream.stream))
    return known


def base_commit(directory):
    return git(directory, "rev-list", "--max-parents=0", "series").strip()


def write_mails(repo, directory, out):
    """Cover letter and patches as files; their names, in order."""
    subject, text = read_cover(os.path.join(repo, "patches/6.12"))
    author = identity(repo)[0]
    name, _, mail = author.rstrip(">").partition(" <")
    git(directory, "config", "branch.series.description",
        f"{subject}\n\n{text}\n")
    git(directory, "-c", f"user.name={name}",
        "-c", f"user.email={mail}", "format-patch", "--quiet",
        "--cover-letter", "--cover-from-description=subject",
        "--no-signature", "--zero-commit", "--no-renames",
        "--output-directory", out, f"{base_commit(directory)}..series")
    return sorted(name for name in os.listdir(out) if name[:4] != "0000")


def prove(directory, mails, out, final):
    """git am takes the mails on the base, and makes the same trees."""
    git(directory, "checkout", "-q", "-B", "taken", base_commit(directory))
    git(directory, "-c", "user.name=am", "-c", "user.email=am@localhost",
        "am", "--quiet", "--whitespace=error",
        *(os.path.join(out, name) for name in mails))
    # The tree of every commit, not only of the last: a bisection meets all.
    wanted, taken = (git(directory, "log", "--format=%T %s", name)
                     for name in ("series", "taken"))
    if wanted != taken:
        raise SeriesError("series: 'git am' made other commits:\n" + wanted
                          + "are wanted, it made\n" + taken)
    for path, file in final.items():
        content = None
        if os.path.exists(os.path.join(directory, path)):
            content = wholefiles.read_entry(directory, path)
        if content != file:
            raise SeriesError(f"series: {path} after 'git am' is not what "
                              "'make tree' makes")
