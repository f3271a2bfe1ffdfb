# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU saw from outside: the guest cannot make it up.

The SMMU reports each translation that it made for a device, the ITS each write
to its doorbell with the requester ID that came along. A device's claim is
proved if the SMMU translated just its IOVA to the doorbell's page and, where
there is an ITS, the write then came from that device.
"""
import collections
import re

from . import tap

TRANSLATED = re.compile(r"smmuv3_translate_success .*sid=0x([0-9a-f]+) "
                        r"iova=0x([0-9a-f]+) translated=0x([0-9a-f]+)")
ITS_WRITE = re.compile(r"gicv3_its_translation_write .*"
                       r"requester_id 0x([0-9a-f]+)")
PAGE = ~0xfff


class Seen:
    """Counts out of a trace."""

    def __init__(self, trace):
        self.translations = collections.Counter()
        self.writes = collections.Counter()
        for line in trace.splitlines():
            match = TRANSLATED.search(line)
            if match:
                sid, iova, page = (int(text, 16) for text in match.groups())
                self.translations[sid, iova, page & PAGE] += 1
                continue
            match = ITS_WRITE.search(line)
            if match:
                self.writes[int(match.group(1), 16)] += 1

    def to_doorbell(self, sid, iova, doorbell):
        return self.translations[sid, iova, doorbell & PAGE]


def claims(lines, word):
    """What the guest says of its devices, by role: {role: values}."""
    found = collections.defaultdict(list)
    for values in tap.values(lines, word):
        found[values["role"]].append(values)
    return found


def check(entries, seen):
    """(times that the doorbell was reached, why the claim is false or '')."""
    sid = int(entries[0]["sid"], 16)
    pairs = {(int(entry["iova"], 16), int(entry["doorbell"], 16))
             for entry in entries}
    reached = sum(seen.to_doorbell(sid, *pair) for pair in pairs)
    if not reached:
        return 0, "the SMMU never translated its IOVA to the doorbell"
    if entries[0]["chip"] == "ITS" and not seen.writes[sid]:
        return reached, "the ITS never saw its requester ID"
    return reached, ""
