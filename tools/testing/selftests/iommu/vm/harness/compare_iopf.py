# SPDX-License-Identifier: GPL-2.0-only
"""The promises of I/O page faults, on our core and on the base's.

Both kernels are those of "make bench": the base's has the fake IOMMU, the test
device and these tests, and nothing else of ours. What it gets wrong may crash
it, so each KUnit test has a boot of its own; memory is cleared when it is
freed, so that using it shows.
"""
import os
import re

from . import figures_iopf, guest, paths, suite, tap, verdict
from .vm import VM

PROMISES = {
    "F1": "groups told apart by PASID and index, in order",
    "F2": "memory is bounded by what was granted",
    "F3": "exactly one response a group",
    "F4": "flush waits for one device and PASID only",
    "F5": "remove, unbind, exit at any moment",
    "F6": "resolved under the VMA's lock; userfaultfd, stacks",
    "F7": "a fault costs about what a CPU's costs",
    "F8": "an overflow leaves nobody waiting",
    "F9": "a time limit for handlers that never answer",
    "F10": "tracepoints, counters, latencies",
    "F11": "tested: KUnit, user space, iommufd",
}
KERNELS = figures_iopf.KERNELS
SOURCE = "drivers/iommu/io-pgfault-promise-test.c"
SUITE = "iopf-promise"
MACHINE = "its"
# For how many seconds a boot may be silent: a test of the base may hang.
SILENT = 40
# What runs on the fake IOMMU's device.
PROGRAMS = ("iopf_resolve", "iopf_races", "iopf_watch")
# Tests of theirs whose name does not say which promise they are about.
PROMISE_OF = {"iopf_resolve": "F6", "iopf_races": "F5",
              "iopf_iommufd": "F5", "iommufd": "F11",
              "iommufd_fail_nth": "F11"}
# What the base has no interface for, or its interface says otherwise: these
# tests are of ours.
OURS_ONLY = ("uffd_time_limit", "seen", "wrong_pasid", "removed")
# Instructions of a single fault while the system is idle.
GOAL = 3000


def cases():
    """The names of the KUnit tests, as their source lists them."""
    path = os.path.join(paths.LINUX, SOURCE)
    with open(path, encoding="utf-8") as file:
        return re.findall(r"^\s*KUNIT_CASE\((\w+)\)", file.read(),
                          re.MULTILINE)


def boots():
    """What is to be run on each kernel: KUnit tests, programs, figures."""
    return [*cases(), *PROGRAMS, "figures"]


def report(kernel, boot, outcome, passes):
    """Ours must pass as in any test; what the base did is only told."""
    faults = [] if kernel == "base" else verdict.judge(outcome, passes, 0)
    return suite.Report(kernel, MACHINE, boot, outcome, faults)


def reason_of(lines):
    """What a failed KUnit test said: its message, or what was expected."""
    expected, failed = "", False
    for line in lines:
        text = line.removeprefix("line # ")
        failed |= "EXPECTATION FAILED" in text or "ASSERTION FAILED" in text
        if not failed:
            continue
        if text.lstrip().startswith("Expected ") and not expected:
            expected = text.strip()
        if not text.startswith((" ", "line")) and text.strip():
            return text.strip()
    return expected


def run_case(kernel, case, base):
    vm = VM(f"promise-{kernel}-{case}", paths.image(KERNELS[kernel]),
            MACHINE, guest.Job([(SILENT, f"kunit_results {SUITE}")]), base,
            append=f"kunit.enable=1 kunit.filter_glob={SUITE}.{case} "
            "init_on_free=1", silent_boot=SILENT)
    made = report(kernel, case, vm.run(), 1)
    for result in made.results:
        if result.state == "fail":
            result.reason = reason_of(made.outcome.results)
    # A kernel that hangs leaves nothing: say so, for the test that hung it.
    if not made.results:
        crash = verdict.forbidden(made.outcome.console)
        made.results = [tap.Result(
            "kunit_results", "fail", f"{SUITE}.{case}",
            f"the kernel crashed: {crash[0]}" if crash else "it hung")]
    return made


def run_program(kernel, program, base):
    seconds = suite.TESTS[program][1]
    vm = VM(f"promise-{kernel}-{program}", paths.image(KERNELS[kernel]),
            MACHINE, guest.Job([(seconds, program)]), base,
            append="init_on_free=1")
    made = report(kernel, program, vm.run(), suite.TESTS[program][0])
    for result in made.results:
        if kernel == "base" and result.state == "fail" and \
           result.name.rpartition(".")[2] in OURS_ONLY:
            result.state = "skip"
            result.reason = f"no interface: {result.reason}"
    return made


def figure(name, cost, goal, what):
    return tap.Result("iopf_bench", "pass" if cost <= goal else "fail", name,
                      f"{cost} instructions {what}, {goal} are wanted")


def run_figures(kernel, base):
    """F7, as tests: a page among eight, and a fault of an idle system."""
    total = figures_iopf.TOTAL
    works = {"own": f"own {total}",
             "group": f"measure groups 1 {total // 8} 8",
             "single": "measure single 51"}
    runs = [figures_iopf.WARM, *works.values()]
    found, outcome = figures_iopf.run_job(
        kernel, "f7", runs, seconds=120, smp=1, icount=True, archive=base)
    cost = {name: found[work.removeprefix("measure ").replace(" ", ",")]
            for name, work in works.items()}
    made = report(kernel, "figures", outcome, len(runs))
    made.results = [
        figure("f7_page_of_8_costs_no_more_than_a_touch",
               cost["group"]["page"], cost["own"]["page"], "a page"),
        figure("f7_single_fault", cost["single"]["p50"], GOAL,
               "from report to response")]
    return made


def run_boot(kernel, boot, base):
    if boot == "figures":
        return run_figures(kernel, base)
    if boot in PROGRAMS:
        return run_program(kernel, boot, base)
    return run_case(kernel, boot, base)


def promise_of(result):
    """F1..F11 by the test's name, or by who said it; '' for none."""
    return result.promise or PROMISE_OF.get(result.program, "")
