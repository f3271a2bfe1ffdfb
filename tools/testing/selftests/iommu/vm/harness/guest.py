# SPDX-License-Identifier: GPL-2.0-only
"""What a guest boots from: static programs and a job, as two cpio archives."""
import hashlib
import os
import shutil
import subprocess

from . import layout, paths

CROSS = os.environ.get("CROSS_COMPILE", "aarch64-linux-gnu-")


def call(command, log, **kwargs):
    """Run a build step; show its log and end where it fails."""
    with open(log, "ab") as out:
        status = subprocess.run(command, stdout=out, stderr=out,
                                stdin=subprocess.DEVNULL, check=False,
                                **kwargs).returncode
    if status:
        with open(log, encoding="utf-8", errors="replace") as file:
            print("".join(file.readlines()[-20:]))
        paths.fail(f"{command[0]} failed, see {log}", 1)


def headers(log):
    """The kernel's user-space headers, for iommufd, VFIO and the endpoint."""
    out = paths.work("headers", "")
    stamp = paths.work("headers", "usr/include/linux/vfio.h")
    source = os.path.join(paths.LINUX, "include/uapi")
    newest = max(os.path.getmtime(os.path.join(here, name))
                 for here, _, names in os.walk(source) for name in names)
    if not os.path.exists(stamp) or os.path.getmtime(stamp) < newest:
        call(["make", "-s", "-C", paths.LINUX, f"O={out}", "ARCH=arm64",
              f"CROSS_COMPILE={CROSS}", "headers"], log)
        os.utime(stamp)
    return os.path.join(out, "usr/include")


def programs():
    """Compile every program; {name in /bin: path on the host}."""
    if not os.path.exists(os.path.join(paths.LINUX, "Kbuild")):
        paths.fail(f"{paths.LINUX} is not there: 'make tree' makes it")
    log = paths.work("programs.log")
    open(log, "wb").close()
    include = headers(log)
    limit = limit_object(log)
    found = {}
    for name in ("vm", "msi", "iopf", "testdev", "."):
        source = os.path.join(paths.LINUX,
                              "tools/testing/selftests/iommu", name)
        if not os.path.isdir(source):
            continue
        out = paths.work("bin", "iommufd" if name == "." else name)
        os.makedirs(out, exist_ok=True)
        call(["make", "-s", "-C", source, f"OUTPUT={out}", "ARCH=arm64",
              f"CROSS_COMPILE={CROSS}", f"USERLDFLAGS=-static {limit}",
              f"KHDR_INCLUDES=-isystem {include}"], log)
        for entry in os.scandir(out):
            if os.access(entry.path, os.X_OK) and entry.is_file():
                found[entry.name] = entry.path
    found["iopf-top"] = iopf_top(log)
    return found


def limit_object(log):
    """limit.c compiled; programs that have an older one are thrown away."""
    source = os.path.join(paths.LINUX,
                          "tools/testing/selftests/iommu/vm/limit.c")
    path = paths.work("limit.o")
    if (not os.path.exists(path)
            or os.path.getmtime(path) < os.path.getmtime(source)):
        shutil.rmtree(paths.work("bin"), ignore_errors=True)
        call([CROSS + "gcc", "-Wall", "-Wextra", "-O2", "-c", "-o", path,
              source], log)
    return path


def iopf_top(log):
    """The tool, which a test compares with debugfs; its path."""
    path = paths.work("bin", "tools", "iopf-top")
    call(["make", "-s", "-C", os.path.join(paths.LINUX, "tools/iommu"),
          f"OUTPUT={os.path.dirname(path)}/", f"CROSS_COMPILE={CROSS}",
          "LDFLAGS=-static"], log)
    return path


def gen_init_cpio():
    """The kernel's own tool, compiled for this machine."""
    source = os.path.join(paths.LINUX, "usr/gen_init_cpio.c")
    tool = paths.work("gen_init_cpio")
    if (not os.path.exists(tool)
            or os.path.getmtime(tool) < os.path.getmtime(source)):
        call(["cc", "-O2", "-o", tool, source], paths.work("programs.log"))
    return tool


def archive(lines, path):
    """Write a cpio archive from gen_init_cpio's list of files."""
    spec = path + ".list"
    with open(spec, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(path, "wb") as out:
        subprocess.run([gen_init_cpio(), spec], stdout=out, check=True)


def base_archive(extra=()):
    """The part that all jobs share. extra: more (name, path) for /lib."""
    lines = [f"dir /{name} 0755 0 0" for name in (
        "bin", "dev", "job", "lib", "proc", "sys", "tmp")]
    lines.append("nod /dev/console 0600 0 0 c 5 1")
    for name, path in sorted(programs().items()):
        place = "/init" if name == "init" else f"/bin/{name}"
        lines.append(f"file {place} {path} 0755 0 0")
    for name, path in extra:
        lines.append(f"file /lib/{name} {path} 0644 0 0")
    path = paths.work("base.cpio")
    archive(lines, path)
    return path


class Job:
    """What a guest does, on what devices.

    runs: for how many seconds a program may be silent (see watch.py), and the
    program.
    """

    def __init__(self, runs, roles=(), env=None):
        self.runs, self.roles = runs, list(roles)
        self.env = layout.environment(self.roles)
        with open(layout.disk_image(), "rb") as file:
            self.env["DISK_SHA256"] = hashlib.sha256(file.read()).hexdigest()
        self.env.update(env or {})

    def initramfs(self, directory, base, nonce):
        """The base archive with this job's files behind it."""
        texts = {"nonce": nonce + "\n",
                 "env": "".join(f"{name}={value}\n"
                                for name, value in self.env.items()),
                 "list": "".join(f"{command}\n"
                                 for _, command in self.runs)}
        lines = []
        for name, text in texts.items():
            path = os.path.join(directory, "job-" + name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            lines.append(f"file /job/{name} {path} 0600 0 0")
        job = os.path.join(directory, "job.cpio")
        archive(lines, job)
        path = os.path.join(directory, "initramfs")
        with open(path, "wb") as out:
            for part in (base, job):
                with open(part, "rb") as file:
                    out.write(file.read())
        os.unlink(job)
        os.unlink(os.path.join(directory, "job-nonce"))
        return path
