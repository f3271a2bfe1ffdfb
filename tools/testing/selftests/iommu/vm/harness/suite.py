# SPDX-License-Identifier: GPL-2.0-only
"""What is run in which boot, and how many passes and skips that must give.

A program that lost a test, or a kernel without a KUnit suite, is noticed here:
the numbers are written down, not taken from what was run.
"""
import os
import re

from . import layout, paths, tap, verdict, watch
from .guest import Job
from .vm import VM

# program: (tests that it has, seconds that it may be silent; see watch.py)
TESTS = {
    "msi_devices": (20, 60),
    "msi_group": (4, 40),
    "msi_fault": (2, 40),
    "msi_affinity": (2, 90),
    "msi_vfio": (14, 60),
    "msi_replace": (4, 60),
    "msi_port": (5, 90),
    "msi_trace": (4, 40),
    "msi_rebind": (3, 300),
    "msi_fail_nth": (3, 240),
    "msi_race": (1, 60),
    "msi_identity": (8, 60),
    "msi_width": (2, 60),
    "msi_suspend": (1, 60),
    "iopf_resolve": (25, 60),
    "iopf_memory": (3, 60),
    "iopf_fair": (12, 120),
    "iopf_races": (7, 90),
    "iopf_fail_nth": (2, 60),
    "iommufd": (190, 120),
    "iommufd_fail_nth": (7, 120),
    "iopf_iommufd": (6, 60),
    "iopf_watch": (5, 60),
}
# How many accesses the SMMU must refuse, and say so on the console.
REFUSED = {"msi_fault": 2}
# LONG=1 in the environment: 10,000 processes killed, 10 million random requests.
LONG = 100 if os.environ.get("LONG") else 1
LONG_SECONDS = {"iopf_races": 3600}
# Devices of which "devices" tells the host where their interrupts go.
PROVED = 5
SUITES = {"iommu-dma-msi": "drivers/iommu/dma-iommu-msi-test.c",
          "iommu-dma-msi-move": "drivers/iommu/dma-iommu-msi-move-test.c",
          "iommu-iopf": "drivers/iommu/io-pgfault-test.c",
          "iommu-iopf-smmu-v3":
              "drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iopf-test.c"}


class Boot:
    """Programs that run in one boot, on what devices, how it is booted.

    The KUnit suites whose names begin with kunit run when it boots. One that needs no device runs
    on one machine only; one whose programs need the series not on the base.
    """

    def __init__(self, programs, roles, append="", kunit="",
                 machines=tuple(layout.MACHINES), base=True):
        self.programs, self.roles = programs, roles
        self.append, self.kunit = append, kunit
        self.machines, self.base = machines, base


SLOW = ("debug", "kcsan")
BOOTS = {
    "devices": Boot(["msi_devices", "msi_group", "msi_fault", "msi_affinity",
                     "msi_vfio", "msi_replace", "msi_trace", "msi_rebind",
                     "msi_fail_nth"],
                    layout.WORKERS + ["edu", "rng", "pair0", "pair1",
                                      "port3"]),
    "kunit": Boot([], [], kunit="iommu-dma-msi", machines=("its",)),
    "ports": Boot(["msi_port", "msi_race"],
                  ["port", "port1", "port2", "port3", "noacs0", "noacs1",
                   "shared"]),
    "identity": Boot(["msi_identity"], layout.WORKERS,
                     "iommu.passthrough=1"),
    # No NVMe: lockdep reports how the base's driver freezes its queues.
    "suspend": Boot(["msi_suspend"], ["vblk", "e1000e", "vnet", "rng",
                                      "port3"]),
    "forcedac": Boot(["msi_width"], ["msi32", "msi64"], "iommu.forcedac=1"),
    "iopf": Boot(["iopf_resolve", "iopf_memory", "iopf_fair", "iopf_races",
                  "iopf_fail_nth", "iopf_watch"], [],
                 f"io_pgfault_test.requests={100000 * LONG}",
                 kunit="iommu-iopf", machines=("its",), base=False),
    # iommufd's own tests, with huge pages of 2 MiB for some.
    "iommufd": Boot(["iommufd", "iommufd_fail_nth", "iopf_iommufd"], [],
                    "hugepages=80", machines=("its",)),
}


def kunit_suites(boot):
    return [name for name in SUITES if name.startswith(boot.kunit)]


def kunit_cases(boot):
    """How many results the suites must show, counted in their sources."""
    count = 0
    for name in kunit_suites(boot):
        path = os.path.join(paths.LINUX, SUITES[name])
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                count += len(re.findall(r"^\s*KUNIT_CASE\w*\(", file.read(),
                                        re.MULTILINE))
    return count


def modules(kernels):
    """[(name, path)] of the modules that the guests may load."""
    if "debug" not in kernels:
        return []
    name = "kmemleak-test.ko"
    path = os.path.join(paths.BUILD, paths.KERNELS["debug"],
                        "samples/kmemleak", name)
    if not os.path.exists(path):
        paths.fail(f"{path} is not there: 'make kernel DEBUG=1' makes it")
    return [(name, path)]


# Functions of the series: data races elsewhere are the base's.
OURS = re.compile(r"iopf_|iommu_queue_iopf|iommu_page_response|"
                  r"iommu_report_device_fault|testdev_")

# The detector of data races is slow: it sees what races, and the KUnit tests.
RACY = {"iopf_races"}

# What a kernel cannot run on a machine: (kernel, machine, boot's name): why,
# and which programs.
PCIEHP = ("lockdep reports the base's pciehp on each hotplug (reset_lock and "
          "pci_rescan_remove_lock)", ("msi_port", "msi_race"))
UNFIT = {
    ("debug", "its", "ports"): PCIEHP,
    ("debug", "v2m", "ports"): PCIEHP,
    ("debug", "v2m", "devices"): ("QEMU's GICv2 loses a pending interrupt when "
                                  "its CPU goes, and slow guests have some",
                                  ("msi_affinity",)),
    ("debug", "its", "iommufd"): ("tests of the base, minutes under KASAN",
                                  ("iommufd", "iommufd_fail_nth")),
}


# The debug kernel is slow: what both machines do alike runs on one. These boots
# run there only; of the others, the machine with a GICv2m runs these programs.
ALIKE = "the debug kernel is slow, and the other machine does it alike"
ONCE = {"identity": "its", "forcedac": "v2m", "suspend": "its"}
DEBUG_V2M = {"msi_devices", "msi_group", "msi_fail_nth", "msi_width"}
# Run these programs only, if it is not empty.
ONLY = set()


def why_not(kernel, machine, name, program):
    """Why a boot's program does not run on a kernel and a machine, or ''."""
    why, unfit = UNFIT.get((kernel, machine, name), ("", ()))
    if program in unfit:
        return why
    if kernel == "debug" and (
            ONCE.get(name, machine) != machine or
            machine == "v2m" and program not in DEBUG_V2M):
        return ALIKE
    return ""


def programs(kernel, machine, name):
    """What is run of a boot on a kernel and a machine."""
    return [program for program in BOOTS[name].programs
            if not why_not(kernel, machine, name, program) and
            (not ONLY or program in ONLY) and
            (kernel != "kcsan" or program in RACY)]


def with_kunit(boot):
    return boot.kunit and (not ONLY or "kunit_results" in ONLY)


def boots(kernel, machines):
    """[(machine, boot's name)] for a kernel."""
    return [(machine, name) for name in BOOTS for machine in machines
            if (programs(kernel, machine, name) or with_kunit(BOOTS[name])) and
            machine in BOOTS[name].machines and
            (kernel != "kcsan" or name == "iopf")]


def skipped(kernel, machines):
    """[(machine, boot's name, program, why)] of what is not run on a kernel."""
    return [(machine, name, program, why)
            for name, boot in BOOTS.items() for machine in machines
            if machine in boot.machines for program in boot.programs
            if (why := why_not(kernel, machine, name, program))]


def seconds(program):
    """How long it may be silent."""
    return TESTS[program][1] if LONG == 1 else \
        max(TESTS[program][1], LONG_SECONDS.get(program, 0))


def runs(boot, which):
    """The job's lines: seconds, command."""
    lines = [(seconds(name), name) for name in which]
    if with_kunit(boot):
        lines.insert(0, (watch.QUIET, "kunit_results " +
                         " ".join(kunit_suites(boot))))
    return lines


def expected(boot, which, leak_scan):
    """(passes, skips) of a boot in which nothing is wrong."""
    passes = sum(TESTS[name][0] for name in which)
    if with_kunit(boot):
        passes += kunit_cases(boot) or 1
    return passes + leak_scan, 0


class Report:
    """A boot that was run and judged."""

    def __init__(self, kernel, machine, boot, outcome, faults):
        self.kernel, self.machine, self.boot = kernel, machine, boot
        self.outcome, self.faults = outcome, faults
        self.results = tap.parse(outcome.results)

    def count(self, state):
        return sum(result.state == state for result in self.results)

    def rows(self):
        """What was tested; what speaks against the boot is a failure too."""
        verdict_on_boot = tap.Result("verdict",
                                     "fail" if self.faults else "pass",
                                     "verdict", "; ".join(self.faults))
        return [[self.kernel, self.machine, self.boot, *result.row()]
                for result in [*self.results, verdict_on_boot]]


def machine_for(kernel, machine, name, base, watch_memory="640M"):
    """The VM that runs a boot of the suite."""
    boot = BOOTS[name]
    slow = kernel in SLOW
    append = boot.append
    if with_kunit(boot):
        append += f" kunit.enable=1 kunit.filter_glob={boot.kunit}*"
    lines = runs(boot, programs(kernel, machine, name))
    return VM(f"{kernel}-{machine}-{name}", paths.image(kernel), machine,
              Job(lines, boot.roles, {"IOPF_SCALE": str(LONG)}), base,
              append=append.strip(), memory="1G" if slow else watch_memory,
              smp=4 if kernel == "kcsan" else 2)


def run_boot(kernel, machine, name, base):
    """Run one boot of the suite; a Report."""
    outcome = machine_for(kernel, machine, name, base).run()
    which = programs(kernel, machine, name)
    passes, skips = expected(BOOTS[name], which, kernel == "debug")
    report = Report(kernel, machine, name, outcome,
                    verdict.judge(outcome, passes, skips,
                                  OURS if kernel == "kcsan" else None,
                                  sum(REFUSED.get(program, 0)
                                      for program in which)))
    # The guest counted, and so did the host: they must agree.
    if not report.faults and report.count("pass") != passes:
        report.faults.append(f"{report.count('pass')} results were printed, "
                             f"{passes} counted")
    return report
