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
	 spin -a "${model[@]}" "$here/iopf.pml" >/dev/null &&
	 gcc -w -O2 -DCOLLAPSE "$@" -o "$work/pan" pan.c)
}

# errors <options of the run>...: the number of errors; fails on truncation
errors() {
	local log=$work/log

	(cd "$work" && ./pan -m1000000 -w22 "$@" >"$log")
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
build -DGROUPS=1 -- "${safety[@]}"
expect "one group, everybody at once" none "$(errors)"
build -DGROUPS=2 -DNO_TIMER -- "${safety[@]}"
expect "two groups, flush and removal" none "$(errors)"
build -DGROUPS=2 -DNO_FLUSH -- "${safety[@]}"
expect "two groups, time limit and removal" none "$(errors)"
build -DGROUPS=1 -- -DNFAIR=3
expect "in the end everything is freed" none "$(errors -a -f)"
for bug in {1..12}; do
	build "-DBUG=$bug" -DGROUPS=1 -- "${safety[@]}"
	expect "planted fault $bug is found" some "$(errors)"
done
exit "$failed"
