# SPDX-License-Identifier: GPL-2.0-only
"""One writer of build/ at a time, whichever way a tool was started."""
import os
import sys


def hold_lock(name, build):
    """Run this program again under scripts/locked, unless it does already."""
    if os.environ.get("BUILD_LOCKED"):
        return
    here = os.path.dirname(os.path.realpath(sys.argv[0]))
    os.execve(os.path.join(here, "locked"),
              ["locked", name, os.path.realpath(sys.argv[0]), *sys.argv[1:]],
              dict(os.environ, BUILD=os.path.abspath(build)))
