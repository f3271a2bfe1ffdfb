#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot the kernel on the emulator and show a device that takes page faults.

The endpoint copies into memory of a process that has no pages yet. The table
shows what it counted, what QEMU saw of it in the SMMU, and how long a single
fault takes from the device's request to its result. The exit status is 0 only
if all data arrived, by stalls with one fault and one response a page, by page
requests with one request a page and one response a group.
"""
import argparse
import sys

from harness import guest, paths, sva, table, tap, verdict
from harness.vm import VM
from harness.watch import QUIET

FEATURES = {"ssidsize": 16, "stall-model": 0, "ats": "on", "pri": "on"}
HEADER = ["access", "copied", "rate", "pages", "faults", "groups", "responses",
          "seen by SMMU", "latency p50", "p99", "verdict"]
# A mode's name, and the trace event of a fault that it makes.
MODES = {"1": ("stall", "smmuv3_stall"),
         "2": ("ATS", None),
         "3": ("ATS and PRI", "smmuv3_pri_request")}
# The base enables no PRI behind this SMMU.
WORKING = {"base": 2}


def row(values, result, trace):
    """A row of the table, for what the guest said of a mode."""
    name, event = MODES[values["mode"]]
    rate = float(values["mib"]) / float(values["seconds"])
    seen = trace.count(f"{event} ") if event else 0
    good = result.state == "pass" and seen == int(values["faults"])
    return good, [name, values["mib"] + " MiB", f"{rate:.0f} MiB/s",
                  values["pages"], values["faults"], values["groups"],
                  values["responses"],
                  seen, values["p50"] + " us" if event else "-",
                  values["p99"] + " us" if event else "-",
                  "copied" if good else result.reason or "FAILED"]


def show(outcome):
    """Print the table; how many of its rows are right."""
    results = {result.name: result for result in tap.parse(outcome.results)}
    trace = outcome.text("trace")
    rows = []
    for values in tap.values(outcome.results, "row"):
        name = MODES[values["mode"]][0]
        rows.append(row(values, results[name], trace))
    print(table.draw(HEADER, [cells for _, cells in rows]))
    for result in results.values():
        if result.state != "pass":
            print(f"  FAILED {result.name}: {result.reason}")
    return sum(good for good, _ in rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=sva.KERNELS, default="ours")
    kernel = parser.parse_args().kernel
    print(f"SMMUv3 with PASIDs, stalls, ATS and PRI, {kernel} kernel", flush=True)
    events = [text for _, event in MODES.values() if event
              for text in ("-trace", event)]
    job = guest.Job([(QUIET, "testdev_show")], ["iopf"],
                    sva.module_environment(kernel))
    vm = VM(f"run-{kernel}-faults", paths.image(kernel), "its", job,
            guest.base_archive(sva.modules([kernel])), qemu=paths.emulator(),
            qemu_args=sva.properties(FEATURES) + events)
    outcome = vm.run()
    good = show(outcome)
    wanted = WORKING.get(kernel, len(MODES))
    faults = verdict.judge(outcome, wanted, 0)
    for fault in faults:
        print(f"  FAILED: {fault}")
    print(f"  {good} of {wanted} ways of access work; "
          f"{outcome.seconds:.0f} s, logs in "
          f"{paths.relative(outcome.directory)}")
    return 0 if good == wanted and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
