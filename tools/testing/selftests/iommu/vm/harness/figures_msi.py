# SPDX-License-Identifier: GPL-2.0-only
"""Figures of MSI doorbells, base and ours in one run.

Instructions per prepare and per compose are counted from outside: QEMU runs one
CPU with -icount, translates one instruction at a time and logs each while VFIO
asks for interrupts of a disk. The kernels are those that are tested, nothing is
added to them. For 16 doorbells in a domain the machine's device tree gets 15
more GICv2m frames with one interrupt each.

Reads per second are wall time: both kernels at once, a CPU each, in turns.
"""
import concurrent.futures
import os
import re
import statistics
import subprocess

from . import guest, layout, paths, tap, verdict
from .vm import VM

KERNELS = ("base", "ours")
FUNCTIONS = {"prepare": "iommu_dma_prepare_msi",
             "compose": "iommu_dma_compose_msi_msg"}
# A prepare that comes here maps the doorbell.
MAP = "iommu_map"
EXECUTED = re.compile(r"^Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")
VECTORS = 20
DOORBELLS = 16
READS, RECORDED, TURNS = 3000, 50, 7
# A call that took more was interrupted.
INTERRUPTED = 20000
# Extra frames: in memory that Linux is told to leave alone, with interrupts
# that no device of the machine is wired to.
FRAME_BASE, FRAME_SPI, MEMORY = 0x66000000, 200, "mem=600M"


def device_tree(directory, frames):
    """The machine's device tree with more GICv2m frames; its path."""
    dtc = os.path.join(paths.BUILD, paths.KERNELS["ours"],
                       "scripts/dtc/dtc")
    binary = os.path.join(directory, "machine.dtb")
    subprocess.run([layout.qemu(), "-machine",
                    f"{layout.MACHINES['v2m']},dumpdtb={binary}", "-cpu",
                    "cortex-a57", "-smp", "1", "-m", "640M"], check=True,
                   stderr=subprocess.DEVNULL)
    text = subprocess.run([dtc, "-q", "-I", "dtb", "-O", "dts", binary],
                          check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    text = add_frames(text, frames)
    subprocess.run([dtc, "-q", "-I", "dts", "-O", "dtb", "-o", binary],
                   input=text, check=True, text=True)
    return binary


def add_frames(text, frames):
    """Linux hangs all MSIs on the first frame: it takes over the phandle."""
    match = re.search(r"^\t\tv2m@8020000 \{.*?^\t\t\};\n", text,
                      re.DOTALL | re.MULTILINE)
    frame = match.group(0)
    handle = re.search(r"^\t\t\tphandle = <.*>;\n", frame,
                       re.MULTILINE).group(0)
    new = ""
    for number in range(frames):
        addr = FRAME_BASE + number * 0x1000
        new += (f"\t\tv2m@{addr:x} {{\n{'' if number else handle}"
                f"\t\t\treg = <0x00 {addr:#x} 0x00 0x1000>;\n"
                f"\t\t\tarm,msi-base-spi = <{FRAME_SPI + number}>;\n"
                "\t\t\tarm,msi-num-spis = <1>;\n\t\t\tmsi-controller;\n"
                '\t\t\tcompatible = "arm,gic-v2m-frame";\n\t\t};\n')
    return text.replace(frame, new + frame.replace(handle, ""))


def symbols(kernel):
    """{name: address} of the functions that are counted."""
    path = os.path.join(paths.BUILD, paths.KERNELS[kernel], "System.map")
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file]
    return {name: int(addr, 16) for addr, _, name in lines
            if name in {MAP, *FUNCTIONS.values()}}


def count_calls(trace, entry, marker):
    """[(instructions, marked)] of each call of the function at entry.

    What it calls is counted too; marked says if that was the one at marker.
    """
    calls = []
    position, previous, back, start, marked = 0, 0, None, 0, False
    with open(trace, encoding="ascii", errors="replace") as file:
        for line in file:
            match = EXECUTED.match(line)
            if not match:
                continue
            position += 1
            where = int(match.group(1), 16)
            if back is None and where == entry:
                back, start, marked = previous + 4, position, False
            elif where == back:
                calls.append((position - start, marked))
                back = None
            marked |= where == marker
            previous = where
    return calls


def spread(calls, mapped, interrupted):
    """'79' or '79-169': fewest and most instructions of such calls."""
    counts = [count for count, marked in calls
              if marked == mapped and count < interrupted]
    if not counts:
        return "none"
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"


def run_vectors(kernel, doorbells, base):
    """{function: its calls} while VFIO asks for interrupts of a disk."""
    name = f"bench-{kernel}-{doorbells}"
    # The disk is only for VFIO: its driver would wait for interrupts that
    # the extra frames do not deliver.
    args, append = [], "initcall_blacklist=nvme_init"
    if doorbells > 1:
        tree = device_tree(paths.WORK, doorbells - 1)
        args, append = ["-dtb", tree], f"{append} {MEMORY}"
    job = guest.Job([(300, f"msi_bench vectors {VECTORS}")], ["nvme"])
    vm = VM(name, paths.image(kernel), "v2m", job, base, append=append,
            smp=1, icount=True, qemu_args=args)
    outcome = judged(vm)
    trace = os.path.join(outcome.directory, "trace")
    address = symbols(kernel)
    calls = {what: count_calls(trace, address[function], address[MAP])
             for what, function in FUNCTIONS.items()}
    os.unlink(trace)
    return calls


def judged(vm):
    outcome = vm.run()
    faults = verdict.judge(outcome, 1, 0)
    if faults:
        paths.fail(f"{vm.name}: {'; '.join(faults)}", 1)
    return outcome


def instruction_rows(base):
    """[work, base, ours], in instructions."""
    calls = {(kernel, doorbells): run_vectors(kernel, doorbells, base)
             for doorbells in (1, DOORBELLS) for kernel in KERNELS}
    rows = []
    for doorbells in (1, DOORBELLS):
        many = f"{doorbells} doorbell{'s' if doorbells > 1 else ''}"
        for what, mapped, title in (
                ("prepare", True, f"prepare, mapped anew, up to {many}"),
                ("prepare", False, f"prepare, found, {many}"),
                ("compose", False, f"compose, {many}")):
            rows.append([title] + [
                spread(calls[kernel, doorbells][what], mapped, INTERRUPTED)
                for kernel in KERNELS])
    return rows


def instructions_per_read(kernel, base):
    """All that the CPU executed, its idle loop and interrupts included."""
    job = guest.Job([(120, f"msi_bench recorded {RECORDED}")], ["nvme"])
    vm = VM(f"bench-{kernel}-read", paths.image(kernel), "its", job, base,
            smp=1, icount=True)
    outcome = judged(vm)
    trace = os.path.join(outcome.directory, "trace")
    with open(trace, encoding="ascii", errors="replace") as file:
        executed = sum(bool(EXECUTED.match(line)) for line in file)
    os.unlink(trace)
    return executed // RECORDED


def reads_per_second(kernel, turn, base):
    job = guest.Job([(120, f"msi_bench reads {READS}")], ["nvme"])
    vm = VM(f"reads-{kernel}-{turn}", paths.image(kernel), "its", job, base,
            smp=1)
    said = tap.values(judged(vm).results, "reads")[0]
    return int(said["count"]) * 1e9 / int(said["ns"])


def read_rates(base):
    """([reads per second of each kernel], median of ours to base)

    Both run at once and take turns to start, so that what else the machine
    does hits both.
    """
    rates = []
    with concurrent.futures.ThreadPoolExecutor(len(KERNELS)) as pool:
        for turn in range(TURNS):
            order = KERNELS if turn % 2 else KERNELS[::-1]
            jobs = {kernel: pool.submit(reads_per_second, kernel, turn, base)
                    for kernel in order}
            rates.append([jobs[kernel].result() for kernel in KERNELS])
    middle = [statistics.median(column) for column in zip(*rates)]
    return middle, statistics.median(ours / base for base, ours in rates)


def measure(base):
    """(rows of instructions, rows of wall time): work, base, ours."""
    rows = instruction_rows(base)
    rows.append([f"NVMe read of 4 KiB, mean of {RECORDED}"] +
                [str(instructions_per_read(kernel, base))
                 for kernel in KERNELS])
    rates, ratio = read_rates(base)
    print(f"  NVMe reads: ours to base, median of {TURNS} turns: "
          f"{ratio:.2f}", flush=True)
    return rows, [["NVMe reads per second"] +
                  [f"{rate:.0f}" for rate in rates]]
