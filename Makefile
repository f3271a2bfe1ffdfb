# SPDX-License-Identifier: GPL-2.0-only
# The repository's driver: assembles, builds, boots, checks. It is never copied
# into a kernel tree. Everything it makes is under build/.

SHELL := /bin/bash
vm := tools/testing/selftests/iommu/vm
# Also for "make -C /path/to/here": paths below are relative to this file.
export BUILD := $(CURDIR)/build
lock = @scripts/locked $@

.NOTPARALLEL:
.PHONY: help deps tree kernel kernel-ours kernel-base kernel-bench \
	kernel-base-bench qemu run test test-races compare \
	bench mutants mutate check series series-check clean distclean

help: ## list the targets (this text)
	@scripts/help

deps: ## install the tools that are missing (prints the apt-get line first)
	@scripts/deps

tree: ## build/linux: the base, our files, our hunks [KSRC=other-6.12-tree]
	@scripts/deps tree
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)") $(if $(V),--verbose)

kernel: ## build/kernel: an arm64 kernel of it [DEBUG=1|RT=1|KCSAN=1] [BASE_KERNEL=1] [PAGES=64k]
	@scripts/deps kernel
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(variant)

variant = $(if $(BASE_KERNEL),base,$(if $(DEBUG),debug,$(if $(RT),rt,$(if \
	$(KCSAN),kcsan,$(or $(PAGES),ours)))))

kernel-bench kernel-base-bench: kernel-ours kernel-base
	@scripts/base-tests
	@scripts/kernel $(@:kernel-%=%)

kernel-ours kernel-base:
	@scripts/deps run
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(@:kernel-%=%)

qemu: ## build/qemu: the emulator with PASIDs, stalls, ATS and PRI
	@scripts/deps qemu
	@scripts/qemu

run: kernel-ours qemu ## boot it: devices that interrupt, one that takes page faults
	$(lock) $(vm)/run.py
	$(lock) $(vm)/faults.py

test: ## everything that is tested; the last line counts it [LONG=1]
	@scripts/deps run
	@scripts/test

test-races: ## I/O page faults on four CPUs, under the detector of data races
	@scripts/deps run
	@scripts/tree
	@scripts/kernel kcsan
	$(lock) $(vm)/test.py --kernel kcsan --machine its --no-self-test

compare: kernel-bench kernel-base-bench ## the same tests on the unpatched base, side by side
	$(lock) $(vm)/compare.py

ifneq ($(wildcard scripts/bench),)
bench: ## figures of doorbells and faults, base and ours: build/bench
	$(lock) scripts/bench
endif

mutants: kernel-ours ## break the code on purpose: a test must notice [ONLY="name ..."]
	$(lock) scripts/mutants $(ONLY)

mutate: kernel-ours ## delete or invert statements by chance: what survives? FILES="..." [N=50] [SEED=1]
	$(lock) scripts/mutate -n $(or $(N),50) --seed $(or $(SEED),1) $(FILES)

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
