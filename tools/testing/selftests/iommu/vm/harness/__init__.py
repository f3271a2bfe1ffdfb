# SPDX-License-Identifier: GPL-2.0-only
"""Boots kernels in QEMU's arm64 virt machine and judges what they did."""
