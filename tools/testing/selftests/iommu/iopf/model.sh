#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Checks the model of the fault protocol with spin: the model itself must have
# no error, and each fault that can be planted in it must be found.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
model_file=iopf.pml

require() {
	command -v "$1" >/dev/null && return
	echo "model: $1 is not installed" >&2
	exit 2
}

# build <options of the model> -- <options of the verifier>
build() {
	local model=()

	while [[ $1 != -- ]]; do
		model+=("$1")
		shift
	done
	shift
	(cd "$work" && rm -f pan ./*.trail &&
	 spin -a "${model[@]}" "$here/$model_file" >/dev/null &&
	 gcc -w -DCOLLAPSE "$@" -o "$work/pan" pan.c)
}

# errors <options of the run>...: how many the verifier finds; fails on truncation
errors() {
	local log=$work/log

	(cd "$work" && ./pan -m200000 -w20 "$@" >"$log")
	if grep -q 'max search depth too small' "$log"; then
		echo "model: search depth too small" >&2
		return 1
	fi
	sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$log"
}

states() {
	sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$work/log"
}

# expect <name> <none|some> <errors>
expect() {
	if [[ ($2 == none && $3 == 0) || ($2 == some && $3 -gt 0) ]]; then
		echo "ok - $1 ($(states) states)"
		return
	fi
	echo "not ok - $1: ${3:-no} errors, expected $2"
	failed=1
}

require spin
require gcc

safety=(-DSAFETY -DNOCLAIM)

# holds <what> <options of the model>...
holds() {
	local what=$1
	shift
	build "$@" -- "${safety[@]}"
	expect "$what" none "$(errors)"
}

all=(-DFLUSH -DTIMER -DDETACH -DREMOVE)
holds "nobody takes groups away" -DGROUPS=3
holds "everybody at once" "${all[@]}"
holds "everybody, and a handler that never ends" -DSTUCK "${all[@]}"
holds "reset, time limit and removal" -DRESET -DTIMER -DREMOVE
holds "the death of a process" -DKILL -DFLUSH -DDETACH
holds "a provider" -DOWNED -DTIMER -DDETACH -DREMOVE
holds "a provider, and a small grant" -DGROUPS=3 -DGRANT=2 -DOWNED -DTIMER
holds "several lanes" -DGROUPS=3 -DLANES=2 -DTIMER -DREMOVE
holds "a lane that was queued in vain" -DGROUPS=4 -DGRANT=3 -DLANES=2 -DTIMER
holds "a small grant" -DGROUPS=3 -DGRANT=2 -DTIMER -DREMOVE

# What each of them shows, by its number.
faults=("" -DTIMER -DTIMER "-DTIMER -DREMOVE" -DREMOVE -DFLUSH -DFLUSH -DFLUSH
	-DFLUSH -DREMOVE -DDETACH -DDETACH "-DREMOVE -DDETACH" "" ""
	"-DGROUPS=3 -DLANES=2" "-DGROUPS=3 -DTIMER"
	"-DGROUPS=3 -DGRANT=2 -DTIMER" "-DGROUPS=3 -DGRANT=2 -DTIMER" -DKILL
	-DDETACH -DRESET "-DGROUPS=3 -DGRANT=2 -DLANES=2 -DTIMER")
for bug in "${!faults[@]}"; do
	[[ $bug != 0 ]] || continue
	read -ra options <<<"${faults[bug]}"
	build "-DBUG=$bug" "${options[@]}" -- "${safety[@]}"
	expect "planted fault $bug is found" some "$(errors)"
done

# The drain of an SMMUv3's queue. Planted fault 4 is one of liveness.
model_file=smmu-drain.pml
holds "an SMMUv3's queue is drained" -DBUG=0
build -DBUG=0 -- -DNFAIR=3
expect "its drain ends" none "$(errors -a -f)"
for bug in 1 2 3 5 6; do
	build "-DBUG=$bug" -- "${safety[@]}"
	expect "planted fault $bug of the drain is found" some "$(errors)"
done
build -DBUG=4 -- -DNFAIR=3
expect "planted fault 4 of the drain is found" some "$(errors -a -f)"
exit "$failed"
