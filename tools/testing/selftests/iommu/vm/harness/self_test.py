# SPDX-License-Identifier: GPL-2.0-only
"""The harness tests itself: guests that must not pass, and one that must.

Each case says why the verdict must speak against it, so that a guest that is
refused for another reason does not count.
"""
import re

from . import paths, suite, tap, verdict
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
        self.how = {"smp": 1, "timeout": 60, **how}


CASES = [
    Case("well", None),
    Case("warn", "the console says: .*WARNING:"),
    Case("panic", "no verdict"),
    Case("lockup", "it did not end in time", timeout=20),
    Case("skip", "skip=1, expected 0"),
    Case("fake", "no verdict"),
    Case("leave", "no verdict"),
    Case("say", "the console says: .*DMA-API",
         ["misbehave say DMA-API:#device#driver#leaks"]),
    Case("refused_access", "the SMMU refused 1 accesses, 0 were to be",
         ["misbehave say arm-smmu-v3#0.smmuv3:#event#0x10#received:"]),
    Case("several", "fail=6, expected 0",
         ["misbehave short", "misbehave lie", "misbehave crash",
          "misbehave hang", "absent_program", "kunit_results absent"]),
]
LEAK = Case("leak", "fail=1, expected 0", timeout=120)

# What "several" must say of each of its programs, in their order.
REASONS = ["its plan is not what it did", "it failed outside its tests",
           "it was ended by a signal", "it was killed: too slow",
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

