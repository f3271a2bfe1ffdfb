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
	bench mutants mutate refresh check series series-check clean distclean

#: To begin with
help: ## list the targets (this text)
	@scripts/help

deps: ## install the tools that are missing (prints the apt-get line first)
	@scripts/deps

#: To build (logs: build/kernel*.log, build/qemu*.log)
tree: ## build/linux: the base, our files, our hunks [KSRC=other-6.12-tree] (seconds)
	@scripts/deps tree
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)") $(if $(V),--verbose)

kernel: ## build/kernel: an arm64 kernel of it [DEBUG=1|RT=1|KCSAN=1|GDB=1] [BASE_KERNEL=1] [PAGES=64k] (5 minutes, then seconds)
	@scripts/deps kernel
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(variant)

variant = $(if $(BASE_KERNEL),base,$(if $(DEBUG),debug,$(if $(RT),rt,$(if \
	$(KCSAN),kcsan,$(if $(GDB),gdb,$(or $(PAGES),ours))))))

kernel-bench kernel-base-bench: kernel-ours kernel-base
	@scripts/base-tests
	@scripts/kernel $(@:kernel-%=%)

kernel-ours kernel-base:
	@scripts/deps run
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/kernel $(@:kernel-%=%)

qemu: ## build/qemu: the emulator with PASIDs, stalls, ATS and PRI (3 minutes)
	@scripts/deps qemu
	@scripts/qemu

#: To see and to test (logs: build/vm/run, build/test)
ifeq ($(GDB),)
run: kernel-ours qemu ## boot it: devices that interrupt, one that takes page faults [GDB=1: wait for a debugger] (1 minute, 10 cold)
	$(lock) $(vm)/run.py
	$(lock) $(vm)/faults.py
else
run:
	@scripts/deps gdb
	@scripts/tree
	@scripts/kernel gdb
	@$(vm)/run.py --kernel gdb --machine its --gdb
endif

test: ## everything that is tested; the last line counts it [LONG=1] [THROTTLE=4] (4 times its first kernel)
	@scripts/deps run
	@scripts/test

test-races: ## I/O page faults on four CPUs, under the detector of data races (10 minutes)
	@scripts/deps run
	@scripts/tree
	@scripts/kernel kcsan
	$(lock) $(vm)/test.py --kernel kcsan --machine its --no-self-test

compare: kernel-bench kernel-base-bench qemu ## the same tests on the unpatched base, side by side; the base on the emulator (25 minutes)
	$(lock) $(vm)/compare.py
	@scripts/module
	$(lock) $(vm)/sva.py --kernel base

ifneq ($(wildcard scripts/bench),)
bench: ## figures of doorbells and faults, base and ours: build/bench (20 minutes)
	$(lock) scripts/bench
endif

mutants: kernel-ours ## break the code on purpose: a test must notice [ONLY="name ..."]
	$(lock) scripts/mutants $(ONLY)

mutate: kernel-ours ## delete or invert statements by chance: what survives? FILES="..." [N=50] [SEED=1]
	$(lock) scripts/mutate -n $(or $(N),50) --seed $(or $(SEED),1) $(FILES)

#: To change and to send (logs: build/check; see CONTRIBUTING.md)
refresh: ## take edits of build/linux into the repository [PATCH=0007] (seconds)
	@scripts/refresh --from-tree $(PATCH)

check: ## checkpatch, sparse, kernel-doc, layout, other configurations: no finding [PARTS="layout series"] (an hour)
	@scripts/deps check
	@scripts/check $(PARTS)

series: ## build/series: patches that "git am" takes on a pristine base (seconds)
	@scripts/deps tree
	@scripts/tree $(if $(KSRC),--ksrc "$(KSRC)")
	@scripts/series $(if $(KSRC),--ksrc "$(KSRC)")

series-check: ## build each commit of the series, its symbols on and off (hours)
	@scripts/deps kernel
	@scripts/series-check

#: At the end
clean: ## remove kernels, logs and results; keep the unpacked base
	@scripts/clean

distclean: ## remove build/
	@rm -rf build
