# SPDX-License-Identifier: GPL-2.0-only
"""How far a guest has come, in seconds that are the same on every machine.

A wall clock says how busy the host is. What is counted here is either time in
which no thread of QEMU had anything to do, or processor time of its busiest
thread, divided by how slow this guest is: how much more processor time than on
the reference machine, with the kernel that is called "ours", a fixed piece of
work takes in it. init does that work when it starts (see measure() there), so
that a slow processor and a kernel with checkers are both accounted for, and a
loaded or throttled host is by counting no time that QEMU did not get.
"""
import os
import time

TICK = os.sysconf("SC_CLK_TCK")
# Pieces of init's work in a second of the reference machine's processor.
REFERENCE = 10000


def threads(pid):
    """[(thread, state, processor seconds)] of a process; [] once it is gone."""
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            found.append((name, fields[0].decode(),
                          (int(fields[11]) + int(fields[12])) / TICK))
    except OSError:
        pass
    return found


class Pace:
    """A guest's clock; sample() is to be called several times a second."""

    def __init__(self, pid, look=threads, clock=time.monotonic):
        self.pid, self.look, self.clock = pid, look, clock
        self.used = {}
        self.at = clock()
        # Reference seconds; how many of them nothing had to be done in.
        self.seconds = self.idle = 0.0
        # Processor seconds of the busiest thread.
        self.busy = 0.0
        # How many times the reference a piece of work takes: processor time,
        # and time by the clock on the wall.
        self.slowness = self.wall_slowness = 1.0
        self.begun = None

    def sample(self):
        now = self.clock()
        busy, idle = 0.0, True
        for name, state, used in self.look(self.pid):
            busy = max(busy, used - self.used.get(name, 0.0))
            self.used[name] = used
            # One that is stopped might have something to do.
            idle &= state not in "RDTt"
        self.busy += busy
        if idle:
            self.idle += now - self.at
            self.seconds += now - self.at
        else:
            self.seconds += busy / self.slowness
        self.at = now

    def begin(self):
        """The guest is about to do its fixed work."""
        self.sample()
        self.begun = self.busy, self.at

    def end(self, pieces):
        """The guest has done that many pieces."""
        self.sample()
        wanted = pieces / REFERENCE
        busy, at = self.begun or (self.busy - wanted, self.at - wanted)
        self.slowness = max(1.0, (self.busy - busy) / wanted)
        self.wall_slowness = max(self.slowness, (self.at - at) / wanted)
