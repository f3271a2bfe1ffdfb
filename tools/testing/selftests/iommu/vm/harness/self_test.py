# SPDX-License-Identifier: GPL-2.0-only
"""The harness tests itself: guests that must not pass, and one that must.

Each case says why the verdict must speak against it, so that a guest that is
refused for another reason does not count.
"""
import re

from . import pace, paths, suite, tap, verdict, watch
from .guest import Job
from .vm import VM

# What a console may not say; each must be found whatever its case.
TEXTS = ("WARNING: CPU: 0", "BUG: scheduling while atomic",
         "Internal error: Oops", "Call trace:", "UBSAN: shift",
         "possible circular locking dependency detected",
         "possible recursive locking detected", "KASAN: use-after-free",
         "unreferenced object 0xffff", "DMA-API: device driver frees",
         "iopf-testdev 0000:00:0f.0: queue 1 does not stop")
# Data races: only the first is one of ours.
RACES = ("data-race in iommu_queue_iopf / iommu_queue_iopf",
         "data-race in device_del / rcu_core",
         "data-race in __switch_to / iopf_mm_try")
FINE = ("kasan: KernelAddressSanitizer initialized (generic)",
        "Kernel command line: console=ttyAMA0 panic=-1",
        "DMA-API: preallocated 65536 debug entries",
        "PM: suspend debug: Waiting for 0 second(s).")


class Case:
    """A guest, and what must be said about it (None: nothing)."""

    def __init__(self, name, reason, commands=None, **how):
        self.name, self.reason = name, reason
        self.commands = commands or [f"misbehave {name}"]
        self.how = {"smp": 1, **how}


CASES = [
    Case("well", None),
    Case("warn", "the console says: .*WARNING:"),
    Case("panic", "no verdict"),
    Case("lockup", "it stands still, in a loop, after: "),
    Case("dawdle", None),
    # It works for about two seconds, and may be silent for five: they pass by
    # the clock on the wall, but not for the guest.
    Case("toil", None, throttle=6),
    Case("skip", "skip=1, expected 0"),
    Case("fake", "no verdict"),
    Case("leave", "no verdict"),
    Case("say", "the console says: .*DMA-API",
         ["misbehave say DMA-API:#device#driver#leaks"]),
    Case("refused_access", "the SMMU refused 1 accesses, 0 were to be",
         ["misbehave say arm-smmu-v3#0.smmuv3:#event#0x10#received:"]),
    Case("several", "fail=8, expected 0",
         ["misbehave short", "misbehave lie", "misbehave crash",
          "misbehave hang", "misbehave loop", "misbehave limit",
          "absent_program", "kunit_results absent"]),
]
LEAK = Case("leak", "fail=1, expected 0")

# What "several" must say of each of its programs, in their order.
REASONS = ["its plan is not what it did", "it failed outside its tests",
           "it was ended by a signal", "it was killed: it stood still",
           "it was killed: it stood still", "over its limit",
           "it printed no plan", "no such suite"]


def find_reason(case, faults):
    """'' if the verdict is what the case demands, else what is wrong."""
    if case.reason is None:
        return "; ".join(faults)
    if any(re.search(case.reason, fault) for fault in faults):
        return ""
    return f"not found out: {faults or 'it passed'}"


def run_case(case, kernel, base):
    """Boot the case's guest on a machine; a tap.Result."""
    job = Job([(5, command) for command in case.commands])
    vm = VM(f"self-{kernel}-{case.name}", paths.image(kernel), "its", job,
            base, append="",
            memory="1G" if kernel == "debug" else "640M", **case.how)
    outcome = vm.run()
    passes = 1 + (kernel == "debug")
    wrong = find_reason(case, verdict.judge(outcome, passes, 0))
    if not wrong and case.name == "several":
        wrong = check_several(outcome)
    return tap.Result("self_test", "fail" if wrong else "pass",
                      f"self_{case.name}", wrong)


def check_several(outcome):
    said = [result.reason for result in tap.parse(outcome.results)
            if result.state == "fail"]
    return "" if said == REASONS else f"said {said}"


def run_refused(kernel, base):
    """QEMU itself fails: its status must count, even without a guest."""
    vm = VM(f"self-{kernel}-refused", paths.image(kernel), "its",
            Job([(5, "misbehave well")]), base,
            qemu_args=["-device", "no-such-device"])
    faults = verdict.judge(vm.run(), 1, 0)
    good = any("QEMU ended with" in fault for fault in faults)
    return tap.Result("self_test", "pass" if good else "fail",
                      "self_refused", "" if good else f"{faults}")


class Steps:
    """A QEMU that never was: what its threads did, by the second."""

    def __init__(self, state, rate):
        self.state, self.rate, self.now = state, rate, 0.0

    def look(self, _):
        return [("vcpu", self.state, self.now * self.rate), ("main", "S", 0)]

    def pace(self):
        return pace.Pace(0, self.look, lambda: self.now)

    def run(self, made, seconds, then=lambda: None):
        for _ in range(seconds * 4):
            self.now += 0.25
            made.sample()
            then()


def passed(state, rate, seconds):
    """How many seconds of the reference machine that was."""
    steps = Steps(state, rate)
    made = steps.pace()
    steps.run(made, seconds)
    return made.seconds


def measured(rate):
    """The slowness of a guest that needs twice the processor time."""
    steps = Steps("R", rate)
    made = steps.pace()
    made.begin()
    steps.run(made, int(2 / rate))
    made.end(pace.REFERENCE)
    return made.slowness, made.wall_slowness


def orders(lines, seconds, state="S"):
    """What a silent guest is told, and how it ends."""
    steps, said = Steps(state, 1.0), []
    made = steps.pace()
    seen = watch.Watch(made, said.append, 20, [10])
    for line in lines:
        seen.saw(line)
    try:
        steps.run(made, seconds, seen.judge)
    except watch.Stuck as stuck:
        said.append(str(stuck))
    return said


PIECES = f"worked {pace.REFERENCE}"
# What is said of time, what is, and what it must be.
TIMES = [
    ("idle", lambda: passed("S", 0, 8), 8),
    ("busy", lambda: passed("R", 1.0, 8), 8),
    ("starved", lambda: passed("R", 0.25, 8), 2),
    ("stopped", lambda: passed("T", 0, 8), 0),
    ("slow", lambda: measured(1.0), (2.0, 2.0)),
    ("slow_and_starved", lambda: measured(0.25), (2.0, 8.0)),
    ("boot", lambda: orders([], 19), []),
    ("boot_hangs", lambda: orders([], 21),
     ["it stands still, asleep, after: it began to boot"]),
    ("measure", lambda: orders(["ready", PIECES], 1),
     ["go 1\n", "go 1\n"]),
    ("program", lambda: orders(["start a"], 9), []),
    ("program_hangs", lambda: orders(["start a"], 11), ["kill 1\n"]),
    ("guest_hangs", lambda: orders(["start a"], 16, "R"),
     ["kill 1\n", "it stands still, in a loop, after: start a"]),
    ("test", lambda: orders(["start a", "line # limit 30"], 29), []),
    ("test_hangs", lambda: orders(["start a", "line # limit 30"], 36),
     ["alarm 2\n", "kill 2\n"]),
    ("test_ends", lambda: orders(["start a", "line # limit 30",
                                  "line # limit 0"], 11), ["kill 3\n"]),
]


def check_times():
    """pace.py and watch.py, without a guest: one result for each entry."""
    results = []
    for name, function, wanted in TIMES:
        found = function()
        results.append(tap.Result(
            "self_test", "pass" if found == wanted else "fail",
            f"self_time_{name}",
            "" if found == wanted else f"{found}, expected {wanted}"))
    return results


def check_texts():
    """The patterns, without a guest: one result for each text."""
    results = []
    for text in TEXTS:
        missed = [form for form in (text, text.upper(), text.lower())
                  if not verdict.forbidden(f"[    1.0] {form}\n")]
        results.append(tap.Result(
            "self_test", "fail" if missed else "pass",
            "self_text_" + re.sub(r"\W+", "_", text).lower(),
            f"not found: {missed}" if missed else ""))
    races = verdict.forbidden("".join(f"[    2.0] BUG: KCSAN: {race}\n"
                                      for race in RACES), suite.OURS)
    right = len(races) == 1 and RACES[0] in races[0]
    results.append(tap.Result("self_test", "pass" if right else "fail",
                              "self_text_races",
                              "" if right else f"found: {races}"))
    found = verdict.forbidden("".join(f"[    0.1] {text}\n"
                                      for text in FINE))
    results.append(tap.Result("self_test", "fail" if found else "pass",
                              "self_text_harmless",
                              f"found: {found}" if found else ""))
    return results
