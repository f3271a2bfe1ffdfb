# SPDX-License-Identifier: GPL-2.0-only
"""The series: its files, its patches, and the kernel trees made of them."""
import os

# A checkout may belong to another user, as in a container: git may read it.
os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="safe.directory",
                  GIT_CONFIG_VALUE_0="*")
