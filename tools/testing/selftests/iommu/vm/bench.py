#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Figures of I/O page faults and MSI doorbells, base and ours in one run.

They go to the screen and to build/bench/results.tsv, growth also to
build/bench/growth.svg. With --profile they are not measured: instead, the
instructions of one work, as "groups 1 256 1", are shown by function.
"""
import argparse
import os
import sys

from harness import figures_iopf, figures_msi, guest, paths, table

HEADER = ["work", "unit", "goal", "base", "ours", "ratio", "reached"]
PARTS = ("iopf", "msi")
TOP = 70


def ratio(base, ours):
    return f"{int(ours) / int(base):.2f}" \
        if base.isdigit() and ours.isdigit() else ""


def msi_rows(archive):
    counted, timed = figures_msi.measure(archive)
    return [[title, unit, "", base, ours, ratio(base, ours), ""]
            for unit, rows in (("instructions", counted), ("1/s", timed))
            for title, base, ours in rows]


def show_profile(kernel, work, archive):
    found = figures_iopf.profile(kernel, work, archive)
    total = sum(entry[0] for entry in found)
    print(f"{kernel}, {work}: {total} instructions from the first report to "
          "the last response")
    print(table.draw(["instructions", "percent", "entered", "function"],
                     [[number, f"{100 * number / total:.1f}", entered, name]
                      for number, entered, name in found[:TOP]]))


def report(rows, directory):
    where = os.path.join(directory, "results.tsv")
    table.write(where, HEADER, rows)
    print(table.draw(HEADER, rows))
    goals = [row for row in rows if row[6]]
    reached = sum(row[6] == "yes" for row in goals)
    print(f"  {reached} of {len(goals)} goals reached; written to "
          f"{paths.relative(where)}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--profile", metavar="WORK")
    parser.add_argument("--kernel", choices=figures_iopf.KERNELS,
                        default="ours", help="for --profile")
    args = parser.parse_args()
    archive = guest.base_archive()
    if args.profile:
        show_profile(args.kernel, args.profile, archive)
        return 0
    directory = os.path.join(paths.BUILD, "bench")
    os.makedirs(directory, exist_ok=True)
    rows = []
    if args.only != "msi":
        rows += figures_iopf.measure(archive, directory)
    if args.only != "iopf":
        rows += msi_rows(archive)
    report(rows, directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
