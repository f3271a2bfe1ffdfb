#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run the same tests on the unpatched base and on ours, side by side.

One row for each promise: what the base does, what ours does, and the first
reason where a test failed. Every test is in build/test/compare.tsv.
"""
import argparse
import collections
import concurrent.futures
import os
import sys
import time

from harness import (compare_iopf, guest, layout, paths, suite, table, tap,
                     verdict)

PROMISES = {
    "D1": "one write-only mapping per doorbell page",
    "D2": "identity, VFIO windows, both controllers",
    "D3": "allocation failure: an errno, no leak",
    "D4": "the domain stays while prepare uses it",
    "D5": "live MSIs follow a change of domain",
    "D6": "IOVA within MSI width and window",
    "D7": "a doorbell's IOVA is used for nothing else",
    "D8": "tracepoints and tables in debugfs",
    "D9": "tested: KUnit, real devices",
    **compare_iopf.PROMISES,
}
KERNELS = ("base", "ours")
HEADER = ["promise", "", "base", "ours", "what fails on the base"]
DETAIL = ["promise", "machine", "boot", "program", "test", "base",
          "base reason", "ours", "ours reason"]
NO_INTERFACE = "no interface"


def state_of(result):
    """pass, fail, or 'no interface' where the kernel offers none."""
    if result.state == "skip":
        return (NO_INTERFACE if NO_INTERFACE in result.reason else "skip",
                result.reason)
    return result.state, result.reason


def promise_of(result):
    if result.program == "kunit_results" and \
       not result.name.startswith(compare_iopf.SUITE):
        return "D9"
    return compare_iopf.promise_of(result)


def collect(reports):
    """{(promise, machine, boot, program, test): {kernel: result}}"""
    tests = collections.defaultdict(dict)
    for report in reports:
        for result in report.results:
            promise = promise_of(result)
            if promise in PROMISES:
                key = (promise, report.machine, report.boot, result.program,
                       result.name)
                tests[key][report.kernel] = result
    for report in reports:
        add_missing(tests, report)
    return tests


def add_missing(tests, report):
    """What a kernel did not come to, since it crashed before or in it."""
    crash = verdict.forbidden(report.outcome.console)
    reason = f"the kernel crashed: {crash[0]}" if crash else "it did not run"
    for key, results in tests.items():
        if key[1:3] == (report.machine, report.boot):
            results.setdefault(report.kernel, tap.Result(
                key[3], "fail", key[4], reason))


def split_absent_suites(tests):
    """A suite that a kernel lacks: say so of each test that it would have."""
    for key in [key for key in tests if key[4].endswith(".absent")]:
        results = tests.pop(key)
        prefix = key[4][:-len("absent")]
        for other, entry in tests.items():
            if other[:4] != key[:4] or not other[4].startswith(prefix):
                continue
            for kernel, result in results.items():
                if result.state == "fail" and "no such suite" in \
                        result.reason:
                    entry[kernel] = tap.Result(key[3], "skip", other[4],
                                               f"{NO_INTERFACE}: no KUnit "
                                               "suite of that name")


def details(tests):
    rows = []
    for key, results in sorted(tests.items()):
        row = list(key)
        for kernel in KERNELS:
            row += state_of(results.get(kernel))
        rows.append(row)
    return rows


def summarize(states):
    """One cell: pass, or how many of how many failed, or no interface."""
    failed = states.count("fail")
    if failed:
        return f"FAIL {failed} of {len(states)}"
    if set(states) == {NO_INTERFACE}:
        return NO_INTERFACE
    passed = states.count("pass")
    if passed == len(states):
        return "pass"
    return f"pass {passed}, lacks {len(states) - passed}"


def first_failure(rows):
    for row in rows:
        if row[5] == "fail":
            reason = row[6] or "see the log"
            return f"{reason} ({row[4]}, {row[1]})"[:110]
    return ""


def summary(rows):
    lines = []
    for promise, title in PROMISES.items():
        mine = [row for row in rows if row[0] == promise]
        if not mine:
            lines.append([promise, title, "no test", "no test", ""])
            continue
        lines.append([promise, title, summarize([row[5] for row in mine]),
                      summarize([row[7] for row in mine]),
                      first_failure(mine)])
    return lines


def doorbell_boots(kernels):
    """[(kernel, title, function, its arguments)]"""
    return [(kernel, f"{layout.TITLES[machine]}, {boot}", suite.run_boot,
             (kernel, machine, boot))
            for boot in suite.BOOTS if suite.BOOTS[boot].base
            for machine in suite.BOOTS[boot].machines for kernel in kernels]


def fault_boots(kernels):
    return [(kernel, boot, compare_iopf.run_boot, (kernel, boot))
            for boot in compare_iopf.boots() for kernel in kernels]


def run_all(boots, jobs):
    base = guest.base_archive()
    reports = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        started = {pool.submit(function, *arguments, base):
                   f"{kernel} kernel, {title}"
                   for kernel, title, function, arguments in boots}
        for job in concurrent.futures.as_completed(started):
            report = job.result()
            reports.append(report)
            print(f"  {started[job]}: {report.count('pass')} passed, "
                  f"{report.count('fail')} failed, "
                  f"{report.count('skip')} skipped, "
                  f"{report.outcome.seconds:.0f} s", flush=True)
    return reports


def complain(reports):
    """What our kernel must not do; what the base did is only told."""
    bad = 0
    for report in reports:
        if not report.faults:
            continue
        if report.kernel == "ours":
            bad += 1
        for fault in report.faults:
            if report.kernel == "ours" or "expected" not in fault:
                print(f"  {report.kernel}, {report.machine}, "
                      f"{report.boot}: {fault}")
    return bad


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=("doorbells", "faults"))
    args = parser.parse_args()
    start = time.monotonic()
    boots = []
    if args.only != "faults":
        boots += doorbell_boots(KERNELS)
    if args.only != "doorbells":
        boots += fault_boots(KERNELS)
    reports = run_all(boots, args.jobs)
    tests = collect(reports)
    split_absent_suites(tests)
    rows = details(tests)
    where = os.path.join(paths.TEST, "compare.tsv")
    table.write(where, DETAIL, rows)
    print(table.draw(HEADER, summary(rows)))
    bad = complain(reports)
    passed = {kernel: sum(row[5 + 2 * number] == "pass" for row in rows)
              for number, kernel in enumerate(KERNELS)}
    print(f"base {passed['base']} of {len(rows)} pass, ours "
          f"{passed['ours']} of {len(rows)}; every test is in "
          f"{paths.relative(where)}; {time.monotonic() - start:.0f} s")
    return 1 if bad or passed["ours"] != len(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
