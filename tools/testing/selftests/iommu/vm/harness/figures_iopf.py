# SPDX-License-Identifier: GPL-2.0-only
"""Figures of I/O page faults, base and ours in one run.

Both kernels have the same devices behind a fake IOMMU and the same benchmark;
the one is our series, the other the unpatched base with nothing else of ours.
Instructions are nanoseconds of a guest with one CPU under -icount shift=0.
"""
import bisect
import collections
import concurrent.futures
import functools
import os
import re
import subprocess

from . import guest, paths, tap, verdict
from .vm import VM

KERNELS = {"base": "base-bench", "ours": "bench"}
GROUPS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
DEVICES = (1, 4, 16, 64, 256)
TOTAL = 4096
FLUSHES = (256, 4096, 16384)
REQUESTS = 200000
SINGLES, STREAM, BEHIND = 201, 1001, 101
# What a profile is about: both kernels have these.
FIRST, LAST = "iommu_report_device_fault", "iopf_fake_respond"
ICOUNT_SECONDS, WALL_SECONDS = 600, 120
EXECUTED = re.compile(r"^Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]+)/")

# What is done, in this order. The first warms the allocators up.
WARM = f"measure groups 1 {TOTAL} 1"
COUNTED = [
    WARM, f"own {TOTAL}", f"measure groups 1 {TOTAL} 1",
    "measure groups 1 512 8", "measure groups 1 128 32",
    f"measure single {SINGLES}", f"measure stream {STREAM}",
    *(f"measure flush {groups}" for groups in (0, *FLUSHES)),
    f"measure flood {REQUESTS}",
    *(f"measure groups 1 {groups} 1" for groups in GROUPS
      if groups != TOTAL),
    *(f"measure groups {devices} {TOTAL} 1" for devices in DEVICES
      if devices != 1),
]

OWN = f"own,{TOTAL}"
# work, its figure, title, unit, goal; a goal with a point is in times of a
# CPU's own touch in the same run
ROWS = [
    (OWN, "page", "a CPU's own touch of a page", "instructions",
     None),
    ("groups,1,4096,1", "page", "1 page a group, 4,096 groups", "a page",
     1950),
    ("groups,1,512,8", "page", "8 pages a group", "a page", 1800),
    ("groups,1,128,32", "page", "32 pages a group", "a page", 1700),
    (f"single,{SINGLES}", "p50", "a single fault, idle system, p50",
     "instructions", 3000),
    (f"stream,{STREAM}", "p50", "a stream of single faults, p50",
     "instructions", 1.6),
    *((f"flush,{groups}", "flush", f"flush of an idle device, another has "
       f"{groups:,} groups", "instructions", 5000) for groups in FLUSHES),
    (f"flood,{REQUESTS}", "KiB", f"memory lost to {REQUESTS:,} unfinished "
     "requests", "KiB", 64),
    (f"flood,{REQUESTS}", "group", "the next good group", "instructions",
     10000),
]


def run_job(kernel, name, runs, *, seconds, **how):
    """{work: {figure: value}} of what iopf_bench is told to do."""
    job = guest.Job([(seconds, f"iopf_bench {work}") for work in runs])
    vm = VM(f"bench-{kernel}-{name}", paths.image(KERNELS[kernel]), "its",
            job, how.pop("archive"), append="cgroup_disable=memory", **how)
    outcome = vm.run()
    faults = verdict.judge(outcome, len(runs), 0)
    if faults:
        paths.fail(f"{vm.name}: {'; '.join(faults)}", 1)
    found = {}
    for values in tap.values(outcome.results, "bench"):
        # The last one counts: what came first warmed up.
        work = values.pop("work")
        found[work] = {key: int(value) for key, value in values.items()}
    return found, outcome


def count(kernel, archive):
    return run_job(kernel, "iopf", COUNTED, seconds=ICOUNT_SECONDS, smp=1,
                   icount=True, archive=archive)[0]


def time_behind(kernel, archive):
    """(a device's fault, a CPU's own) in ns, p50, behind mprotect()."""
    found, _ = run_job(kernel, "behind", [f"behind {BEHIND}"],
                       seconds=WALL_SECONDS, smp=2, archive=archive)
    return (found[f"single,{BEHIND}"]["p50"], found["own,behind"]["p50"])


def row_of(title, unit, goal, base, ours):
    """work, unit, goal, base, ours, ratio, reached"""
    reached = "" if goal is None else "yes" if ours <= goal else "NO"
    shown = [f"{value:g}" if isinstance(value, float) else str(value)
             for value in (base, ours)]
    return [title, unit, "" if goal is None else str(goal), *shown,
            f"{ours / base:.2f}" if base else "", reached]


def wall_rows(behind):
    base, ours = (behind[kernel] for kernel in ("base", "ours"))
    times = [round(device / own, 1) for device, own in (base, ours)]
    return [
        row_of("single fault behind mprotect() of 256 MiB, p50", "ns", None,
               base[0], ours[0]),
        row_of("a CPU's own fault in the same run, p50", "ns", None,
               base[1], ours[1]),
        row_of("the former in times of the latter", "times", 3.0, *times),
    ]


def growth_rows(counted):
    rows = []
    for devices, groups in ([(1, groups) for groups in GROUPS] +
                            [(devices, TOTAL) for devices in DEVICES[1:]]):
        work = f"groups,{devices},{groups},1"
        rows.append(row_of(
            f"growth: {devices} device{'s' * (devices > 1)}, {groups:,} "
            f"group{'s' * (groups > 1)}", "a page", None,
            counted["base"][work]["page"], counted["ours"][work]["page"]))
    return rows


def plot(counted, directory):
    """Cost per fault by groups queued and by devices: an SVG, its data."""
    lines = {"groups": [(groups, f"groups,1,{groups},1")
                        for groups in GROUPS],
             "devices": [(devices, f"groups,{devices},{TOTAL},1")
                         for devices in DEVICES]}
    for name, points in lines.items():
        with open(os.path.join(directory, f"{name}.dat"), "w",
                  encoding="ascii") as file:
            for number, work in points:
                file.write("{} {} {}\n".format(number, *(
                    counted[kernel][work]["page"] for kernel in KERNELS)))
    script = "set terminal svg size 900,400; set output 'growth.svg'; " \
        "set multiplot layout 1,2; set logscale x 4; set yrange [0:]; " \
        "set ylabel 'instructions a page'; set key bottom;"
    for name in lines:
        script += f"set xlabel '{name}'; plot '{name}.dat' using 1:2 " \
            f"with linespoints title 'base', '{name}.dat' using 1:3 " \
            "with linespoints title 'ours';"
    subprocess.run(["gnuplot", "-e", script], cwd=directory, check=True)


def measure(archive, directory):
    """All rows: goals, wall time, growth; and the plot."""
    with concurrent.futures.ThreadPoolExecutor(len(KERNELS)) as pool:
        counted = dict(zip(KERNELS, pool.map(
            functools.partial(count, archive=archive), KERNELS)))
    own = counted["ours"][OWN]["page"]
    rows = [row_of(title, unit,
                   round(goal * own) if isinstance(goal, float) else goal,
                   *(counted[kernel][work][figure] for kernel in KERNELS))
            for work, figure, title, unit, goal in ROWS]
    # Two CPUs each: one after the other.
    rows += wall_rows({kernel: time_behind(kernel, archive)
                       for kernel in KERNELS})
    plot(counted, directory)
    return rows + growth_rows(counted)


def load_symbols(kernel):
    """Sorted ([address], [name]) of the kernel's functions."""
    path = os.path.join(paths.BUILD, paths.KERNELS[KERNELS[kernel]],
                        "System.map")
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file]
    functions = sorted((int(addr, 16), name) for addr, kind, name in lines
                       if kind in "tTwW")
    return ([addr for addr, _ in functions], [name for _, name in functions])


def executed(trace):
    """The addresses of all instructions, in order."""
    with open(trace, encoding="ascii", errors="replace") as file:
        for match in filter(None, map(EXECUTED.match, file)):
            yield int(match.group(1), 16)


def from_first_to_last(trace, first, last):
    """The addresses from the first entry of a function to the last of another,
    of which nothing is after it."""
    pending, begun = [], False
    for addr in executed(trace):
        begun |= addr == first
        if begun:
            pending.append(addr)
        if addr == last:
            yield from pending
            pending.clear()


def profile(kernel, work, archive):
    """[(instructions, entries, function)] from first report to last response.
    """
    _, outcome = run_job(kernel, "profile", [WARM, f"record {work}"],
                         seconds=ICOUNT_SECONDS, smp=1, icount=True,
                         archive=archive)
    starts, names = load_symbols(kernel)
    entry = dict(zip(names, starts))
    seen, entered = collections.Counter(), collections.Counter()
    trace = os.path.join(outcome.directory, "trace")
    for addr in from_first_to_last(trace, entry[FIRST], entry[LAST]):
        place = bisect.bisect_right(starts, addr) - 1
        name = names[place] if place >= 0 else "user space"
        seen[name] += 1
        entered[name] += place >= 0 and starts[place] == addr
    os.unlink(trace)
    return [(number, entered[name], name)
            for name, number in seen.most_common()]
