# SPDX-License-Identifier: GPL-2.0-only
"""The results of a run: printed, counted, written down."""
import os
import time

from . import paths, table

HEADER = ["kernel", "machine", "boot", "program", "test", "result", "reason"]


class Tally:
    """All rows so far, and how to say what a part came to."""

    def __init__(self, part):
        self.part = part
        self.rows = []
        self.start = time.monotonic()

    def count(self, state):
        return sum(row[5] == state for row in self.rows)

    def add(self, title, rows, seconds, slowness=None):
        self.rows += rows
        states = [row[5] for row in rows]
        failed = [row for row in rows if row[5] == "fail"]
        print(f"{'FAILED' if failed else 'ok    '} {title}: "
              f"{states.count('pass')} passed, {len(failed)} failed, "
              f"{states.count('skip')} skipped, {seconds:.0f} s" +
              (f", slowness {slowness:.1f}" if slowness else ""), flush=True)
        for row in failed:
            print(f"       {row[3]} {row[4]}: {row[6]}")
        for row in rows:
            if row[5] == "skip":
                print(f"       skipped {row[3]} {row[4]}: {row[6]}")

    @staticmethod
    def write(name, lines):
        with open(os.path.join(paths.TEST, name), "w",
                  encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)

    def finish(self):
        """Leave PART.tsv, .total and .skips; the part's exit status."""
        table.write(os.path.join(paths.TEST, f"{self.part}.tsv"), HEADER,
                    self.rows)
        numbers = [self.count(state) for state in ("pass", "fail", "skip")]
        self.write(f"{self.part}.total", ["{} {} {}".format(*numbers)])
        self.write(f"{self.part}.skips",
                   [f"{row[0]}/{row[1]}/{row[3]}.{row[4]} {row[6]}"
                    for row in self.rows if row[5] == "skip"])
        print(f"{self.part} tests: "
              "{} passed, {} failed, {} skipped".format(*numbers),
              f"in {time.monotonic() - self.start:.0f} s")
        return 1 if numbers[1] or not numbers[0] else 0
