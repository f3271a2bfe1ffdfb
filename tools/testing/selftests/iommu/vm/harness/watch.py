# SPDX-License-Identifier: GPL-2.0-only
"""Tell a guest that stands still from one that is slow.

While it boots, a guest moves as long as its console grows; afterwards as long as
its results do: a kernel that hangs may complain about it for ever. One that is
silent for longer than its program may be is told to end the program, and is
ended itself if that does not help. A test of kselftest_harness.h has a limit of
its own, which alarm() (see limit.c) passes on. All limits are in the seconds of
pace.py.
"""
import os

# How long a guest may be silent: while it boots, otherwise, and after an order.
# It boots before its speed is known, and KUnit gives each case 300 seconds.
BOOT, QUIET, GRACE = 300, 60, 5
# How long it may boot, whatever it says.
ALL_BOOT = 1800 * (100 if os.environ.get("LONG") else 1)
# Somebody who says so much says always the same.
MUCH = 64 << 20


class Stuck(Exception):
    """Why a guest must be ended."""


class Watch:
    """Follows the results; gives orders to init by send(text)."""

    def __init__(self, pace, send, boot, quiet):
        self.pace, self.send = pace, send
        # How long each program may be silent, in order.
        self.quiet = list(quiet)
        # Counts what init counts too: orders are for one step only.
        self.step = 0
        self.last = "it began to boot"
        self.booting = True
        self.program = QUIET
        self.enter(boot, [])

    def enter(self, limit, orders, test=False):
        """From now on: a limit, what to do when it has passed, whether it is a
        test's, which what is printed does not put off.
        """
        self.limit, self.all_orders, self.test = limit, orders, test
        self.restart()

    def restart(self):
        self.since, self.idle_since = self.pace.seconds, self.pace.idle
        self.orders, self.late = list(self.all_orders), 0

    def saw_console(self):
        """The console has grown."""
        if self.booting and self.pace.seconds < ALL_BOOT:
            self.restart()

    def saw(self, line):
        """A line of the results."""
        self.last = line
        word, _, rest = line.partition(" ")
        if word == "ready":
            self.pace.begin()
            self.send("go 1\n")
        elif word == "worked":
            self.booting = False
            self.pace.end(int(rest))
            self.send(f"go {int(self.pace.wall_slowness + 0.99)}\n")
            self.enter(QUIET, [])
        elif word == "start":
            self.step += 1
            self.program = self.quiet.pop(0) if self.quiet else QUIET
            self.enter(self.program, ["kill"])
        elif word == "end":
            self.enter(QUIET, [])
        elif line.startswith("line # limit "):
            self.step += 1
            self.enter_test(int(line.rpartition(" ")[2]))
        elif not self.test:
            self.restart()

    def enter_test(self, seconds):
        if seconds:
            self.enter(seconds, ["alarm", "kill"], test=True)
        else:
            self.enter(self.program, ["kill"])

    def judge(self):
        """To be called often; raises Stuck in the end."""
        over = self.pace.seconds - self.since - self.limit
        if over < self.late * GRACE:
            return
        self.late += 1
        if self.orders:
            self.send(f"{self.orders.pop(0)} {self.step}\n")
            return
        idle = self.pace.idle - self.idle_since
        how = "asleep" if idle > (self.limit + over) / 2 else "in a loop"
        raise Stuck(f"it stands still, {how}, after: {self.last}")

    @staticmethod
    def bound(size):
        if size > MUCH:
            raise Stuck(f"it does not stop: {size >> 20} MiB of output")
