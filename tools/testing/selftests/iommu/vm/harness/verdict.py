# SPDX-License-Identifier: GPL-2.0-only
"""Judge a run: it passed only if nothing speaks against it.

A guest that died early, warned, leaked, skipped what must run, or prints what
looks like success must not pass: self_test.py tries each.
"""
import re

FORBIDDEN = re.compile(
    r"WARNING:|BUG:|Oops|Call trace|"
    r"possible (?:circular|recursive) locking|KASAN|UBSAN|"
    r"unreferenced object|DMA-API:|"
    # An interrupt that was lost makes these drivers say so.
    r"completion polled|NETDEV WATCHDOG|"
    # The endpoint's driver waited ten seconds for faults to be answered.
    r"queue \d+ does not stop|"
    # The SMMU's driver: it was told what it must not be, or lost something.
    r"unexpected global error|CMDQ error|CMDQ timeout|"
    r"(?:EVTQ|PRIQ) overflow|unexpected PRI request", re.IGNORECASE)

# Whole lines that a healthy kernel prints when it starts.
HARMLESS = re.compile(
    r"^(?:\[[ \d.]+\] )?(?:"
    r"kasan: KernelAddressSanitizer initialized \(generic\)|"
    r"DMA-API: preallocated \d+ debug entries|"
    r"DMA-API: debugging enabled by kernel config|"
    r"PM: suspend debug: Waiting for \d+ second\(s\)\.|"
    r"Kernel command line: [ \w.,=*/:-]*)\s*$")


# An access that the SMMU refused, as a message to a doorbell that is not mapped.
# Tests that make some say how many: see suite.py.
REFUSED = re.compile(r"arm-smmu-v3 .*: event 0x[\da-f]+ received")

RACE = re.compile(r"BUG: KCSAN: [\w-]+ in (.*)")
# A task that is preempted while the detector waits, and continues elsewhere,
# races with the switch to itself.
ITSELF = re.compile(r"\b__switch_to\b")


def is_other_race(line, ours):
    """A data race, but not one of these functions."""
    race = RACE.search(line)
    return race and (ITSELF.search(race.group(1)) or
                     not ours.search(race.group(1)))


def forbidden(console, ours=None):
    """The lines of a console that no healthy kernel prints.

    ours: a pattern of functions; data races in others are not counted.
    """
    found = [line.strip() for line in console.splitlines()
             if FORBIDDEN.search(line) and not HARMLESS.match(line)]
    return [line for line in found
            if not ours or not is_other_race(line, ours)]


def judge(outcome, passes, skips, ours=None, refused=0):
    """What speaks against the run, worst first; an empty list is a pass."""
    faults = []
    if outcome.stuck:
        faults.append(outcome.stuck)
    elif outcome.status != 0:
        faults.append(f"QEMU ended with {outcome.status}")
    for line in forbidden(outcome.console, ours)[:5]:
        faults.append(f"the console says: {line}")
    events = len(REFUSED.findall(outcome.console))
    if events != refused:
        faults.append(f"the SMMU refused {events} accesses, "
                      f"{refused} were to be")
    lines = outcome.results
    last = lines[-1] if lines else "(nothing)"
    if not last.startswith("verdict "):
        return faults + [f"no verdict; the last result is: {last}"]
    said = dict(item.split("=", 1) for item in last.split()[1:])
    if said.get("nonce") != outcome.nonce:
        faults.append("the verdict is not of this run")
    for name, want in (("pass", passes), ("fail", 0), ("skip", skips)):
        if said.get(name) != str(want):
            faults.append(f"{name}={said.get(name)}, expected {want}")
    return faults
