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
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

from . import layout, paths
from .pace import Pace
from .watch import BOOT, Stuck, Watch

# THROTTLE=4 in the environment: a guest runs a quarter of the time.
THROTTLE = float(os.environ.get("THROTTLE", "1"))
THROTTLE_PERIOD = 0.1
# How often a guest is looked at, in seconds.
OFTEN = 0.05

TRACE = ("smmuv3_translate_success", "smmuv3_record_event",
         "gicv3_its_translation_write")


class Outcome:
    """What is left of a run: judged by verdict.py, read by tap.py."""

    def __init__(self, directory, nonce):
        self.directory = directory
        self.nonce = nonce
        self.status = None
        # Why it had to be ended.
        self.stuck = ""
        self.seconds = 0.0
        # See pace.py.
        self.slowness = 1.0

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
    """QEMU's monitor. Events that arrive meanwhile are kept.

    tick() is called while it waits, and raises when that shall end.
    """

    def __init__(self, sock, tick):
        self.sock, self.tick = sock, tick
        self.pending = b""
        self.deleted = set()
        self.receive()
        self.command("qmp_capabilities")

    def read_line(self):
        while b"\n" not in self.pending:
            self.tick()
            if not select.select([self.sock], [], [], OFTEN)[0]:
                continue
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("QEMU closed its monitor")
            self.pending += data
        line, _, self.pending = self.pending.partition(b"\n")
        return line

    def receive(self):
        message = json.loads(self.read_line())
        if message.get("event") == "DEVICE_DELETED":
            self.deleted.add(message["data"].get("device"))
        return message

    def command(self, execute, **arguments):
        text = json.dumps({"execute": execute, "arguments": arguments})
        self.sock.sendall(text.encode() + b"\n")
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
                   "trace": self.trace,
                   "instructions": self.instructions}.get(verb)
        try:
            if not handler:
                raise ValueError(f"no such request: {verb}")
            handler(rest)
        except (ValueError, KeyError, OSError) as error:
            return f"error {error}"
        return "ok"


class Tail:
    """What was added to a file since one looked last."""

    def __init__(self, path):
        self.path, self.offset, self.pending = path, 0, b""

    def lines(self):
        """The new lines, and whether anything is new."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            data = b""
        self.offset += len(data)
        *lines, self.pending = (self.pending + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines], bool(data)


class Throttle(threading.Thread):
    """Lets a process run only one part in so many of the time."""

    def __init__(self, process, parts):
        super().__init__(daemon=True)
        self.process, self.parts = process, parts
        self.ended = threading.Event()

    def run(self):
        on = THROTTLE_PERIOD / self.parts
        while not self.ended.wait(on) and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            self.ended.wait(THROTTLE_PERIOD - on)
            self.process.send_signal(signal.SIGCONT)

    def finish(self):
        self.ended.set()
        if self.is_alive():
            self.join()


class Session:
    """A QEMU that runs: its ports to the guest, and who watches it."""

    def __init__(self, process, outcome, sockets, silent, watcher):
        self.process, self.outcome, self.watcher = process, outcome, watcher
        self.host, self.qmp, self.init = sockets
        self.pace = Pace(process.pid)
        self.watch = Watch(self.pace, self.order, *silent)
        self.results, self.console = (
            Tail(os.path.join(outcome.directory, name))
            for name in ("results", "console"))
        self.requests = b""
        self.server = None
        self.patient = False

    def order(self, text):
        try:
            self.init.sendall(text.encode())
        except OSError:
            pass

    def tick(self):
        """Look at the guest; ConnectionError once QEMU has ended."""
        self.pace.sample()
        if self.console.lines()[1]:
            self.watch.saw_console()
        lines = self.results.lines()[0]
        for line in lines:
            self.watch.saw(line)
        if self.watcher and lines:
            self.watcher(lines)
        self.watch.bound(self.results.offset + self.console.offset)
        if not self.patient:
            self.watch.judge()
        if self.process.poll() is not None:
            raise ConnectionError("QEMU has ended")

    def serve(self):
        """Until QEMU has ended, or must be."""
        try:
            self.server = Host(Qmp(self.qmp, self.tick))
            while True:
                self.tick()
                if select.select([self.host], [], [], OFTEN)[0]:
                    self.take_requests()
        except (ConnectionError, ValueError):
            pass
        except Stuck as stuck:
            self.outcome.stuck = str(stuck)
            self.process.kill()
        # Its last words.
        self.process.wait()
        lines = self.results.lines()[0]
        if self.watcher and lines:
            self.watcher(lines)

    def take_requests(self):
        """Answer whole lines; the rest of a line waits for its end."""
        data = self.host.recv(4096)
        if not data:
            time.sleep(OFTEN)
        *lines, self.requests = (self.requests + data).split(b"\n")
        for line in lines:
            reply = self.server.answer(line.decode(errors="replace"))
            self.host.sendall(reply.encode() + b"\n")


class VM:
    """A machine of a kind, a kernel, a job."""

    def __init__(self, name, image, machine, job, base, *, append="",
                 smp=2, memory="640M", icount=False, silent_boot=BOOT,
                 throttle=THROTTLE, patient=False, qemu=None,
                 qemu_args=()):
        self.name, self.image, self.machine = name, image, machine
        self.job, self.base, self.append = job, base, append
        self.smp, self.memory, self.icount = smp, memory, icount
        self.silent_boot, self.qemu_args = silent_boot, list(qemu_args)
        self.throttle, self.qemu = throttle, qemu or layout.qemu()
        # Whatever it does not do: a debugger may have stopped it.
        self.patient = patient
        self.directory = paths.work("run", name)

    def arguments(self, initrd, fds):
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
        args += layout.channel_args(f"{here}/results", *fds)
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

    def start(self, command, fds):
        with open(os.path.join(self.directory, "command"), "w",
                  encoding="utf-8") as file:
            file.write(" ".join(command) + "\n")
        with open(os.path.join(self.directory, "qemu"), "wb") as errors:
            return subprocess.Popen(command, pass_fds=fds, stdout=errors,
                                    stderr=errors, stdin=subprocess.DEVNULL)

    def run(self, watch=None):
        """Run to the end. watch(lines) sees the results as they come."""
        outcome, initrd = self.prepare()
        near, far = zip(*(socket.socketpair() for _ in range(3)))
        fds = [sock.fileno() for sock in far]
        start = time.monotonic()
        process = self.start(self.arguments(initrd, fds), fds)
        for sock in far:
            sock.close()
        throttle = Throttle(process, self.throttle)
        if self.throttle > 1:
            throttle.start()
        silent = self.silent_boot, [limit for limit, _ in self.job.runs]
        session = Session(process, outcome, near, silent, watch)
        session.patient = self.patient
        try:
            session.serve()
        finally:
            throttle.finish()
            process.kill()
            outcome.status = process.wait()
            for sock in near:
                sock.close()
            outcome.seconds = time.monotonic() - start
            outcome.slowness = session.pace.slowness
            os.unlink(initrd)
        return outcome
