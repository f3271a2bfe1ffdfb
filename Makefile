# SPDX-License-Identifier: GPL-2.0-only
# The repository's driver: assembles, builds, boots, checks. It is never copied
# into a kernel tree. Everything it makes is under build/.

SHELL := /bin/bash
vm := tools/testing/selftests/iommu/vm
# Also for "make -C /path/to/here": paths below are relative to this file.
export BUILD := $(CURDIR)/build
lock = @scripts/locked $@

.NOTPARALLEL:
.PHONY: help deps tree kernel kernel-ours kernel-base qemu run test compare \
	bench check series series-check clean distclean

help: ## list the targets (this text)
	@scripts/help

deps: ## install the tools that are missing (prints the apt-get line first)
	@scripts/deps

tree: ## build/linux: the base, our files, our hunks [KSRC=other-6.12-tree]
	@scripts/deps tree
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)") $(if $(V),--verbose)

kernel: ## build/kernel: an arm64 kernel of it [DEBUG=1] [RT=1] [BASE_KERNEL=1] [PAGES=64k]
	@scripts/deps kernel
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(variant)

variant = $(if $(BASE_KERNEL),base,$(if $(DEBUG),debug,$(if $(RT),rt,$(or $(PAGES),ours))))

kernel-ours kernel-base:
	@scripts/deps run
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(@:kernel-%=%)

ifneq ($(wildcard scripts/qemu),)
qemu: ## build/qemu: the emulator with PASIDs, stalls, ATS and PRI
	$(lock) scripts/qemu
endif

run: kernel-ours ## boot it with GICv3 ITS and GICv2m, show devices interrupting
	$(lock) $(vm)/run.py

test: ## everything that is tested; the last line counts it
	@scripts/deps run
	@scripts/test

compare: kernel-ours kernel-base ## the same tests on the unpatched base, side by side
	$(lock) $(vm)/compare.py

ifneq ($(wildcard scripts/bench),)
bench: ## figures, base and ours
	$(lock) scripts/bench
endif

check: ## checkpatch, sparse, kernel-doc, layout, other configurations: no finding
	@scripts/deps check
	@scripts/check $(PARTS)

series: ## build/series: patches that "git am" takes on a pristine base
	@scripts/deps tree
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/series $(if $(KSRC),--ksrc "$(KSRC)")

series-check: ## build each commit of the series, its symbols on and off
	@scripts/deps kernel
	@scripts/series-check

clean: ## remove kernels, logs and results; keep the unpacked base
	@scripts/clean

distclean:
	@rm -rf build
