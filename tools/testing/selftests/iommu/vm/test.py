#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run everything that is tested in virtual machines, and count it.

First the harness tests itself, then KUnit and the kselftests run on both
machines and on each kernel. Results go to build/test/vm.tsv, the numbers of
passed, failed and skipped to build/test/vm.total.
"""
import argparse
import concurrent.futures
import sys
import time

from harness import guest, layout, paths, proof, self_test, suite, tap
from harness.tally import Tally


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


def prove(report):
    """Add what the host saw of the devices to the results of the guest."""
    if report.boot != "devices" or suite.ONLY:
        return
    proofs = host_proof(report)
    report.results += proofs
    if len(proofs) != suite.PROVED:
        report.faults.append(f"{len(proofs)} devices were proved, "
                             f"expected {suite.PROVED}")


def run_self_test(kernel, base, pool, tally):
    start = time.monotonic()
    cases = [self_test.LEAK] if kernel == "debug" else self_test.CASES
    jobs = [pool.submit(self_test.run_case, case, kernel, base)
            for case in cases]
    results = [job.result() for job in jobs]
    if kernel != "debug":
        results.append(self_test.run_refused(kernel, base))
        results += self_test.check_texts() + self_test.check_times()
    rows = [[kernel, "its", "self", *result.row()] for result in results]
    tally.add(f"self-test of the harness, {kernel} kernel", rows,
              time.monotonic() - start)


def run_boots(kernels, machines, names, base, pool, tally):
    """The slow ones first, so that the last to end is not alone for long."""
    jobs = [pool.submit(suite.run_boot, kernel, machine, name, base)
            for kernel in sorted(kernels, key=suite.SLOW.__contains__,
                                 reverse=True)
            for machine, name in suite.boots(kernel, machines)
            if name in names]
    for job in concurrent.futures.as_completed(jobs):
        report = job.result()
        prove(report)
        tally.add(f"{report.kernel} kernel, "
                  f"{layout.TITLES[report.machine]}, {report.boot}",
                  report.rows(), report.outcome.seconds,
                  report.outcome.slowness)


def add_skipped(kernel, machines, names, tally):
    rows = [[kernel, machine, name, program, "all", "skip", why]
            for machine, name, program, why in suite.skipped(kernel, machines)
            if name in names]
    if rows:
        tally.add(f"{kernel} kernel, not run", rows, 0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", action="append",
                        choices=("ours", "debug", "rt", "kcsan", "64k"),
                        help="default: ours and debug")
    parser.add_argument("--machine", choices=layout.MACHINES,
                        action="append", help="default: both")
    parser.add_argument("--boot", choices=suite.BOOTS, action="append",
                        help="default: all")
    parser.add_argument("--program", action="append", default=[],
                        help="as msi_port or kunit_results; default: all")
    parser.add_argument("--no-self-test", action="store_true")
    parser.add_argument("--jobs", type=int, default=2,
                        help="machines that run at the same time")
    args = parser.parse_args()
    suite.ONLY.update(args.program)
    kernels = args.kernel or ["ours", "debug"]
    for kernel in kernels:
        paths.image(kernel)
    base = guest.base_archive(suite.modules(kernels))
    tally = Tally("vm")
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        if not args.no_self_test:
            for kernel in kernels:
                run_self_test(kernel, base, pool, tally)
        machines = args.machine or list(layout.MACHINES)
        names = args.boot or list(suite.BOOTS)
        run_boots(kernels, machines, names, base, pool, tally)
        if not args.program:
            for kernel in kernels:
                add_skipped(kernel, machines, names, tally)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
