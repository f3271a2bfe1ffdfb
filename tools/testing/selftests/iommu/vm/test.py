#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run everything that is tested in virtual machines, and count it.

First the harness tests itself, then KUnit and the kselftests run on both
machines and on each kernel. Results go to build/test/vm.tsv, the numbers of
passed, failed and skipped to build/test/vm.total.
"""
import argparse
import concurrent.futures
import os
import sys
import time

from harness import guest, layout, paths, proof, self_test, suite, table, tap

HEADER = ["kernel", "machine", "boot", "program", "test", "result", "reason"]


class Tally:
    """All rows so far, and how to say what a part came to."""

    def __init__(self):
        self.rows = []
        self.start = time.monotonic()

    def count(self, state):
        return sum(row[5] == state for row in self.rows)

    def add(self, title, rows, seconds):
        self.rows += rows
        states = [row[5] for row in rows]
        failed = [row for row in rows if row[5] == "fail"]
        print(f"{'FAILED' if failed else 'ok    '} {title}: "
              f"{states.count('pass')} passed, {len(failed)} failed, "
              f"{states.count('skip')} skipped, {seconds:.0f} s",
              flush=True)
        for row in failed:
            print(f"       {row[3]} {row[4]}: {row[6]}")
        for row in rows:
            if row[5] == "skip":
                print(f"       skipped {row[3]} {row[4]}: {row[6]}")


def host_proof(report):
    """A test for each device that says where its interrupts go."""
    seen = proof.Seen(report.outcome.text("trace"))
    results = []
    for role, entries in proof.claims(report.outcome.results,
                                      "proof").items():
        fault = proof.check(entries, seen)[1]
        results.append(tap.Result("host_proof", "fail" if fault else "pass",
                                  f"{role}.d9_seen_by_the_hardware", fault))
    return results


def report_rows(report):
    """The rows of a boot; what speaks against the boot is a failure too."""
    head = [report.kernel, report.machine, report.boot]
    rows = report.rows()
    if report.boot == "devices":
        proofs = host_proof(report)
        rows += [head + result.row() for result in proofs]
        if len(proofs) != suite.PROVED:
            report.faults.append(f"{len(proofs)} devices were proved, "
                                 f"expected {suite.PROVED}")
    state = "fail" if report.faults else "pass"
    rows.append(head + ["verdict", "verdict", state,
                        "; ".join(report.faults)])
    return rows


def run_self_test(kernel, base, pool, tally):
    start = time.monotonic()
    cases = [self_test.LEAK] if kernel == "debug" else self_test.CASES
    jobs = [pool.submit(self_test.run_case, case, kernel, base)
            for case in cases]
    results = [job.result() for job in jobs]
    if kernel != "debug":
        results.append(self_test.run_refused(kernel, base))
        results += self_test.check_texts()
    rows = [[kernel, "its", "self", *result.row()] for result in results]
    tally.add(f"self-test of the harness, {kernel} kernel", rows,
              time.monotonic() - start)


def run_boots(kernel, machines, names, base, pool, tally):
    jobs = {pool.submit(suite.run_boot, kernel, machine, name, base):
            (machine, name)
            for machine, name in suite.boots(kernel, machines)
            if name in names}
    for job in concurrent.futures.as_completed(jobs):
        machine, name = jobs[job]
        report = job.result()
        title = f"{kernel} kernel, {layout.TITLES[machine]}, {name}"
        tally.add(title, report_rows(report), report.outcome.seconds)


def add_skipped(kernel, machines, names, tally):
    rows = [[kernel, machine, name, program, "all", "skip", why]
            for machine, name, program, why in suite.skipped(kernel, machines)
            if name in names]
    if rows:
        tally.add(f"{kernel} kernel, not run", rows, 0)


def write(name, lines):
    with open(os.path.join(paths.TEST, name), "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def finish(tally):
    table.write(os.path.join(paths.TEST, "vm.tsv"), HEADER, tally.rows)
    numbers = [tally.count(state) for state in ("pass", "fail", "skip")]
    write("vm.total", ["{} {} {}".format(*numbers)])
    write("vm.skips", [f"{row[0]}.{row[1]}.{row[4]} {row[6]}"
                       for row in tally.rows if row[5] == "skip"])
    print("VM tests: {} passed, {} failed, {} skipped".format(*numbers),
          f"in {time.monotonic() - tally.start:.0f} s")
    return 1 if numbers[1] or not numbers[0] else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=("ours", "debug", "kcsan"),
                        action="append", help="default: ours and debug")
    parser.add_argument("--machine", choices=layout.MACHINES,
                        action="append", help="default: both")
    parser.add_argument("--boot", choices=suite.BOOTS, action="append",
                        help="default: all")
    parser.add_argument("--no-self-test", action="store_true")
    parser.add_argument("--jobs", type=int, default=2,
                        help="machines that run at the same time")
    args = parser.parse_args()
    kernels = args.kernel or ["ours", "debug"]
    for kernel in kernels:
        paths.image(kernel)
    base = guest.base_archive(suite.modules(kernels))
    tally = Tally()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for kernel in kernels:
            if not args.no_self_test:
                run_self_test(kernel, base, pool, tally)
            machines = args.machine or list(layout.MACHINES)
            names = args.boot or list(suite.BOOTS)
            run_boots(kernel, machines, names, base, pool, tally)
            add_skipped(kernel, machines, names, tally)
    return finish(tally)


if __name__ == "__main__":
    sys.exit(main())
