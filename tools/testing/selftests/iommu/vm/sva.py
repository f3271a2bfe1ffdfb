#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Test shared virtual addressing on the emulator.

The endpoint faults on a process's memory, by stalls and with ATS. With --kernel
base the unpatched base does, where a process is killed 1,000 times with DMA in
flight, and 1 GiB is copied through fresh memory; IOPF_KILLS and IOPF_VOLUME_MB
say how much instead, for every kernel. Results go to build/test/sva.tsv, the numbers of passed, failed and
skipped to build/test/sva.total.
"""
import argparse
import concurrent.futures
import sys

from harness import guest, paths, sva
from harness.tally import Tally


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=sva.KERNELS, action="append",
                        help="default: ours and debug")
    parser.add_argument("--boot", choices=sva.BOOTS, action="append",
                        help="default: what is planned for the kernel")
    parser.add_argument("--jobs", type=int, default=2,
                        help="machines that run at the same time")
    args = parser.parse_args()
    kernels = args.kernel or ["ours", "debug"]
    for kernel in kernels:
        paths.image(kernel)
    base = guest.base_archive(sva.modules(kernels))
    tally = Tally("sva")
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        # The slow one first, so that it does not end long after the others.
        jobs = [pool.submit(sva.run_boot, kernel, name, base)
                for kernel in sorted(kernels, key="debug".__ne__)
                for name in args.boot or sva.PLAN[kernel]]
        for job in concurrent.futures.as_completed(jobs):
            report = job.result()
            tally.add(f"{report.kernel} kernel, emulator, {report.boot}",
                      report.rows(), report.outcome.seconds,
                      report.outcome.slowness)
    return tally.finish()


if __name__ == "__main__":
    sys.exit(main())
