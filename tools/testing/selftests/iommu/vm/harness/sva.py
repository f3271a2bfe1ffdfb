# SPDX-License-Identifier: GPL-2.0-only
"""Shared virtual addressing on the emulator: what runs in which boot.

The endpoint's driver is a module, so that the unpatched base runs the very
same one without a line of this series in its Image.
"""
import os
import re

from . import layout, paths, verdict
from .guest import Job
from .suite import Report
from .vm import VM

MODULE = "iopf-testdev.ko"
KERNELS = ["base", "ours", "debug"]
# How often a process is killed with DMA in flight, how many MiB are copied
# through fresh memory, and how often the device goes away under load at most,
# where IOPF_KILLS, IOPF_VOLUME_MB and IOPF_ROUNDS do not say it.
SIZES = {"base": (1000, 1024, 20), "ours": (250, 256, 20),
         "debug": (20, 4, 2)}


class Boot:
    """A program, how many tests it has, how many seconds it may be silent,
    and on what SMMU it runs.

    features: properties of arm-smmuv3; roles: as in layout; refused: accesses
    that the SMMU refuses, and says so on the console; says: what must be there.
    """

    def __init__(self, command, tests, seconds, features, roles=("iopf",),
                 refused=0, says=""):
        self.command, self.tests, self.seconds = command, tests, seconds
        self.features, self.roles = features, list(roles)
        self.refused, self.says = refused, says


# Without what is long, and has nothing to do with how the SMMU was made.
BRIEFLY = ("-F ats -F lifecycle -F vf -T volume "
           "-T killed_with_dma_in_flight")
BOOTS = {
    # stalls, and ATS for memory that is there
    "sva": Boot("testdev_sva -V pri -F pri", 25, 400,
                {"ssidsize": 16, "stall-model": 0, "ats": "on"},
                ("iopf_vfs",)),
    # two slots, two event records, commands that take their time
    "tight": Boot("testdev_sva -V pri -F pri " + BRIEFLY, 13, 120,
                  {"ssidsize": 16, "stall-model": 0, "stall-max": 2,
                   "x-eventqs": 1, "x-cmd-delay-us": 20}),
    # an SMMU that knows no other fault model
    "forced": Boot("testdev_sva -V pri -F pri " + BRIEFLY, 13, 120,
                   {"ssidsize": 9, "stall-model": 2}),
    # a device that misbehaves
    "errors": Boot("testdev_error -V pri", 13, 120,
                   {"ssidsize": 16, "stall-model": 0, "ats": "on"},
                   refused=2),
    # the endpoint's driver, when faults are with somebody silent
    "driver": Boot("testdev_driver", 6, 120,
                   {"ssidsize": 16, "stall-model": 0, "ats": "on"},
                   ("iopf_vfs",)),
    # page requests
    "pri": Boot("testdev_sva -V stall "
                "-T overflow_ends_groups", 30, 400,
                {"ssidsize": 16, "ats": "on", "pri": "on"}, ("iopf_vfs",)),
    # a PRI queue of two entries
    "overflow": Boot("testdev_sva -V stall " + BRIEFLY, 19, 120,
                     {"ssidsize": 16, "ats": "on", "pri": "on", "x-priqs": 1},
                     says="PRIQ overflow detected"),
    # nothing switched on: ordinary devices as on any machine
    "off": Boot("msi_devices", 20, 60, {},
                layout.WORKERS + ["edu", "rng", "pair0", "pair1", "port3"]),
}
# As late and as unordered as the architecture lets an SMMU be: each seed is a
# machine of its own. LONG=1 asks for all of them.
SEEDS = range(1, 21)
LATE = [f"late-{seed}" for seed in SEEDS]
BOOTS |= {
    name: Boot("testdev_sva -V pri -F pri -F lifecycle -F vf -T volume "
               "-T killed_with_dma_in_flight", 18, 300,
               {"ssidsize": 16, "stall-model": 0, "stall-max": 8, "ats": "on",
                "x-delay-max-us": 300, "x-delay-seed": seed})
    for name, seed in zip(LATE, SEEDS)
}
# What a kernel runs; the debug kernel is slow.
LONG = os.environ.get("LONG")
FEW = LATE if LONG else LATE[:2]
PLAN = {"base": ["sva", "tight", *(FEW if LONG else [])],
        "ours": ["sva", "pri", "tight", "overflow", "forced", "errors", "driver",
                 "off", *FEW],
        "debug": ["sva"]}
# What the SMMU has counted against the driver, in the trace when QEMU ends
COUNTERS = re.compile(r"smmuv3_counters (.*)")


def modules(kernels):
    """[(name, path)] for /lib of the guests."""
    return [paths.module(kernel, MODULE, "drivers/misc")
            for kernel in kernels]


def properties(features):
    """-global for each of the SMMU's properties."""
    return [text for name, value in features.items()
            for text in ("-global", f"arm-smmuv3.{name}={value}")]


def module_environment(kernel):
    """What tells the guest's init which driver to load."""
    return {"MODULES": "/lib/" + modules([kernel])[0][0]}


def environment(kernel, boot):
    names = ("IOPF_KILLS", "IOPF_VOLUME_MB", "IOPF_ROUNDS")
    env = {name: os.environ.get(name, str(size))
           for name, size in zip(names, SIZES[kernel])}
    if set(boot.roles) & {"iopf", "iopf_vfs"}:
        env |= module_environment(kernel)
    if boot.features.get("x-priqs"):
        env["IOPF_SMALL_QUEUE"] = "1"
    return env


def miscounted(outcome):
    """What the SMMU's counters say against the driver."""
    lines = COUNTERS.findall(outcome.text("trace"))
    if len(lines) != 1:
        return [f"the SMMU left {len(lines)} lines of counters"]
    counters = dict(item.split("=") for item in lines[0].split())
    del counters["x-delay-seed"]
    return [f"the SMMU counts {name}={value}"
            for name, value in counters.items() if value != "0"]


def run_boot(kernel, name, base):
    """Run one boot; a Report."""
    boot = BOOTS[name]
    slow = kernel == "debug"
    job = Job([(boot.seconds, boot.command)], boot.roles,
              environment(kernel, boot))
    vm = VM(f"sva-{kernel}-{name}", paths.image(kernel), "its", job, base,
            memory="1G" if slow else "640M", qemu=paths.emulator(),
            qemu_args=properties(boot.features) +
            ["-trace", "smmuv3_counters"])
    outcome = vm.run()
    faults = verdict.judge(outcome, boot.tests + slow, 0,
                           refused=boot.refused)
    if boot.features:
        faults += miscounted(outcome)
    if boot.says not in outcome.console:
        faults.append(f"the console does not say '{boot.says}'")
    elif boot.says:
        faults = [fault for fault in faults
                  if not fault.startswith("the console says: ") or
                  boot.says not in fault]
    return Report(kernel, "sva", name, outcome, faults)
