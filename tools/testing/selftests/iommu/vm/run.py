#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Boot the kernel on two machines and show devices interrupting.

Each machine reads disks whose SHA-256 is known, sends frames between its cards,
copies through "edu" from user space, and has a disk plugged into a port. Then
a table: what each device's own registers hold, how often it interrupted, and
how often QEMU's SMMU translated its message to the doorbell. The exit status
is 0 only if everything interrupted.
"""
import argparse
import os
import sys

from harness import guest, layout, paths, proof, table, tap, verdict
from harness.vm import VM
from harness.watch import QUIET

DEVICES = 7
GDB_PORT = 1234
ROLES = layout.WORKERS + ["edu", "port"]
HEADER = ["device", "driver", "irqchip", "kind", "vectors", "doorbell",
          "IOVA in the device", "interrupts", "seen by SMMU", "verdict"]


def progress(lines):
    for line in lines:
        if line.startswith("line # now "):
            print("  ..", line[len("line # now "):], flush=True)


def device_row(values, result, seen):
    reached, fault = proof.check([values], seen)
    good = result == "pass" and not fault
    verdict_text = "interrupts" if good else (fault or "FAILED")
    return good, [values["device"], values["driver"], values["chip"],
                  values["kind"], values["vectors"], values["doorbell"],
                  values["iova"], values["interrupts"], reached,
                  verdict_text]


def show(outcome):
    """Print the table; how many devices are right."""
    seen = proof.Seen(outcome.text("trace"))
    results = {result.name: result for result in tap.parse(outcome.results)}
    rows, good = [], 0
    for values in tap.values(outcome.results, "row"):
        result = results.get(values["role"])
        right, row = device_row(values, result.state if result else "absent",
                                seen)
        rows.append(row)
        good += right
    print(table.draw(HEADER, rows))
    for result in results.values():
        if result.state != "pass":
            print(f"  FAILED {result.name}: {result.reason}")
    return good


def explain_gdb(kernel):
    objects = paths.relative(os.path.join(paths.BUILD, paths.KERNELS[kernel]))
    print("The guest waits for a debugger. In another terminal:\n"
          f"  gdb-multiarch {objects}/vmlinux \\\n"
          f"      -ex 'target remote :{GDB_PORT}' \\\n"
          "      -ex 'hbreak iommu_dma_prepare_msi' -ex continue\n"
          "'source "
          f"{objects}/vmlinux-gdb.py' there brings lx-dmesg, lx-ps and others.",
          flush=True)


def run_machine(machine, kernel, base, gdb):
    """Boot, work, show; True if all devices of the machine interrupted."""
    print(f"{layout.TITLES[machine]}, {kernel} kernel", flush=True)
    vm = VM(f"run-{kernel}-{machine}", paths.image(kernel), machine,
            guest.Job([(QUIET, "msi_show")], ROLES), base,
            patient=gdb, qemu_args=["-gdb", f"tcp:127.0.0.1:{GDB_PORT}", "-S"]
            if gdb else ())
    outcome = vm.run(progress)
    faults = verdict.judge(outcome, DEVICES, 0)
    good = show(outcome)
    for fault in faults:
        print(f"  FAILED: {fault}")
    where = paths.relative(outcome.directory)
    print(f"  {good} of {DEVICES} devices interrupt; "
          f"{outcome.seconds:.0f} s, logs in {where}\n", flush=True)
    return good == DEVICES and not faults


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", choices=paths.KERNELS, default="ours")
    parser.add_argument("--machine", choices=layout.MACHINES,
                        action="append")
    parser.add_argument("--gdb", action="store_true",
                        help="stop before the first instruction and wait for "
                        "a debugger")
    args = parser.parse_args()
    paths.image(args.kernel)
    if args.gdb:
        explain_gdb(args.kernel)
    base = guest.base_archive()
    results = [run_machine(machine, args.kernel, base, args.gdb)
               for machine in args.machine or layout.MACHINES]
    if not all(results):
        print("FAILED: not everything interrupted")
        return 1
    print("All devices interrupt through doorbells mapped in the SMMU.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
