# SPDX-License-Identifier: GPL-2.0-only
"""Read what a guest's programs printed."""
import re

RESULT = re.compile(r"^(not ok|ok) (\d+) *-? *([^#]*?)\s*(?:#\s*(.*))?$")
SKIP = re.compile(r"^SKIP\b\s*(.*)", re.IGNORECASE)
COMPLAINT = re.compile(r"# (?:[\w./-]+\.c:\d+:)?[\w.]+: ?"
                       r"(?!Test (?:failed|terminated by assertion))(\S.*)")
PROMISE = re.compile(r"\b([df]\d+)_")


class Result:
    """One line of TAP: who said it, what, and why."""

    def __init__(self, program, state, name, reason):
        self.program, self.state = program, state
        self.name, self.reason = name, reason

    @property
    def promise(self):
        """D1..D9 or F1..F11 that the test's name begins with, or ''."""
        match = PROMISE.search(self.name)
        return match.group(1).upper() if match else ""

    def row(self):
        return [self.program, self.name, self.state, self.reason]


def parse_line(program, line):
    match = RESULT.match(line)
    if not match:
        return None
    word, _, name, rest = match.groups()
    name = re.sub(r"^global\.", "", name)
    skip = SKIP.match(rest or "")
    if skip and word == "ok":
        return Result(program, "skip", name, skip.group(1))
    return Result(program, "pass" if word == "ok" else "fail", name,
                  rest or "")


def parse(lines):
    """All results of a run. A failed one gets the reason printed before."""
    results = []
    program, said = "", []
    for line in lines:
        word, _, text = line.partition(" ")
        if word == "start":
            program, said = text.strip(), []
        if word != "line":
            continue
        result = parse_line(program.split(" ")[0], text)
        if result:
            if result.state == "fail" and not result.reason:
                result.reason = reason_of(said)
            results.append(result)
            said = []
        else:
            said.append(text)
    return results


def reason_of(said):
    """What a kselftest complained about first; its own words if it has."""
    found = [match.group(1).strip() for match in map(COMPLAINT.match, said)
             if match]
    for text in found:
        if not text.startswith("Expected "):
            return text
    return found[0] if found else ""


def values(lines, word):
    """The 'NAME=VALUE ...' comments that begin with '# WORD '."""
    found = []
    for line in lines:
        match = re.match(rf"line # {word} (.*)", line)
        if match:
            found.append(dict(item.split("=", 1)
                              for item in match.group(1).split()
                              if "=" in item))
    return found
