# SPDX-License-Identifier: GPL-2.0-only
"""One run of QEMU: start it, answer what the guest asks for, wait for its end.

A guest asks over the port "host", a line at a time, and gets a line back that
begins with "ok" or "error":

    plug NAME     plug in what layout.HOTPLUG calls so
    unplug NAME   take it out, and wait until it is gone
    trace on|off  record what the SMMU and the ITS do (see TRACE)
    instructions on|off
                  record each instruction that is executed
"""
import json
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import time

from . import layout, paths

TRACE = ("smmuv3_translate_success", "smmuv3_record_event",
         "gicv3_its_translation_write")


class Outcome:
    """What is left of a run: judged by verdict.py, read by tap.py."""

    def __init__(self, directory, nonce):
        self.directory = directory
        self.nonce = nonce
        self.status = None
        self.timed_out = False
        self.seconds = 0.0

    def text(self, name):
        path = os.path.join(self.directory, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    @property
    def console(self):
        return self.text("console")

    @property
    def results(self):
        return self.text("results").splitlines()


class Qmp:
    """QEMU's monitor. Events that arrive meanwhile are kept."""

    def __init__(self, sock):
        self.file = sock.makefile("rw", encoding="utf-8")
        self.deleted = set()
        self.receive()
        self.command("qmp_capabilities")

    def receive(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("QEMU closed its monitor")
        message = json.loads(line)
        if message.get("event") == "DEVICE_DELETED":
            self.deleted.add(message["data"].get("device"))
        return message

    def command(self, execute, **arguments):
        json.dump({"execute": execute, "arguments": arguments}, self.file)
        self.file.write("\n")
        self.file.flush()
        while True:
            message = self.receive()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise ValueError(message["error"]["desc"])

    def wait_deleted(self, name):
        while name not in self.deleted:
            self.receive()
        self.deleted.discard(name)


class Host:
    """Carries out what the guest asks for."""

    def __init__(self, qmp):
        self.qmp = qmp

    def plug(self, name):
        self.qmp.command("device_add", **layout.hotplug_arguments(name))

    def unplug(self, name):
        self.qmp.command("device_del", id=name)
        self.qmp.wait_deleted(name)

    def trace(self, state):
        for event in TRACE:
            self.qmp.command("trace-event-set-state", name=event,
                             enable=state == "on", **{"ignore-unavailable":
                                                      True})

    def instructions(self, state):
        """Translate and log each instruction by itself; see bench.py."""
        on = state == "on"
        for line in (f"singlestep {state}",
                     f"log {'exec,nochain' if on else 'none'}"):
            self.qmp.command("human-monitor-command",
                             **{"command-line": line})

    def answer(self, line):
        verb, _, rest = line.partition(" ")
        handler = {"plug": self.plug, "unplug": self.unplug,
                   "trace": self.trace, "instructions": self.instructions}.get(verb)
        try:
            if not handler:
                raise ValueError(f"no such request: {verb}")
            handler(rest)
        except (ValueError, KeyError, OSError) as error:
            return f"error {error}"
        return "ok"


class VM:
    """A machine of a kind, a kernel, a job."""

    def __init__(self, name, image, machine, job, base, *, append="",
                 smp=2, memory="640M", icount=False, timeout=120,
                 qemu=None, qemu_args=()):
        self.name, self.image, self.machine = name, image, machine
        self.job, self.base, self.append = job, base, append
        self.smp, self.memory, self.icount = smp, memory, icount
        self.timeout, self.qemu_args = timeout, list(qemu_args)
        self.qemu = qemu or layout.qemu()
        self.directory = paths.work("run", name)

    def arguments(self, initrd, host_fd, qmp_fd):
        here = self.directory
        cmdline = ("console=ttyAMA0 loglevel=7 panic=-1 oops=panic "
                   "vfio_iommu_type1.allow_unsafe_interrupts=1 "
                   "iommufd.allow_unsafe_interrupts=1 "
                   f"nvme_core.io_timeout=5 {self.append}")
        if layout.boots_on_one_cpu(self.job.roles):
            cmdline += " maxcpus=1"
        accel = "tcg,thread=single" if self.icount else "tcg,thread=multi"
        args = [self.qemu, "-nodefaults", "-nographic", "-no-reboot",
                "-machine", layout.MACHINES[self.machine],
                "-accel", accel, "-cpu", "cortex-a57",
                "-smp", str(self.smp), "-m", self.memory,
                "-kernel", self.image, "-initrd", initrd, "-append", cmdline,
                "-serial", f"file:{here}/console", "-D", f"{here}/trace"]
        if self.icount:
            args += ["-icount", "shift=0,sleep=off"]
        args += layout.channel_args(f"{here}/results", host_fd, qmp_fd)
        for make in (layout.disk_args, layout.device_args):
            args += make(self.job.roles)
        args += layout.net_args(self.job.roles, here)
        return args + self.qemu_args

    def prepare(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        outcome = Outcome(self.directory, secrets.token_hex(16))
        initrd = self.job.initramfs(self.directory, self.base, outcome.nonce)
        return outcome, initrd

    def run(self, watch=None):
        """Run to the end. watch(lines) sees the results as they come."""
        outcome, initrd = self.prepare()
        host, host_far = socket.socketpair()
        qmp, qmp_far = socket.socketpair()
        fds = (host_far.fileno(), qmp_far.fileno())
        command = self.arguments(initrd, *fds)
        with open(os.path.join(self.directory, "command"), "w",
                  encoding="utf-8") as file:
            file.write(" ".join(command) + "\n")
        start = time.monotonic()
        with open(os.path.join(self.directory, "qemu"), "wb") as errors:
            process = subprocess.Popen(command, pass_fds=fds, stdout=errors,
                                       stderr=errors,
                                       stdin=subprocess.DEVNULL)
        host_far.close()
        qmp_far.close()
        qmp.settimeout(self.timeout)
        try:
            self.serve(process, host, qmp, outcome, watch)
        finally:
            self.end(process, outcome)
            host.close()
            qmp.close()
            outcome.seconds = time.monotonic() - start
            os.unlink(initrd)
        return outcome

    def serve(self, process, host, qmp, outcome, watch):
        end = time.monotonic() + self.timeout
        seen = 0
        requests = b""
        try:
            server = Host(Qmp(qmp))
        except (OSError, ValueError):
            return
        selector = selectors.DefaultSelector()
        selector.register(host, selectors.EVENT_READ)
        while process.poll() is None and time.monotonic() < end:
            if selector.select(0.05):
                requests = self.take_requests(host, server, requests)
            if watch:
                lines = outcome.results
                watch(lines[seen:])
                seen = len(lines)
        if watch:
            watch(outcome.results[seen:])

    @staticmethod
    def take_requests(host, server, pending):
        """Answer whole lines; the rest of a line waits for its end."""
        try:
            data = host.recv(4096)
        except OSError:
            data = b""
        if not data:
            time.sleep(0.05)
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            reply = server.answer(line.decode(errors="replace"))
            host.sendall(reply.encode() + b"\n")
        return pending

    @staticmethod
    def end(process, outcome):
        try:
            outcome.status = process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            outcome.timed_out = True
            process.kill()
            outcome.status = process.wait()
