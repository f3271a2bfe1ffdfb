# SPDX-License-Identifier: GPL-2.0-only
"""The series: its files, its patches, and the kernel trees made of them."""
