# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2034,SC2154
# scripts/parts.sh: no part of "make test" that did not run may look well.

# try COMMAND...: what "make test" says if that is one of two parts.
try() {
	say() { echo "$*"; }
	# shellcheck source=scripts/parts.sh
	. "$scripts/parts.sh"
	results=$PWD
	: >expected
	part good leave 3 0 0
	part other "$@"
	check_skips "$PWD/expected"
	add_up
}

leave() {
	echo "$1 $2 $3" >"$results/${parts[-1]}.total"
	return "${4:-0}"
}

test_parts_are_added_up() {
	contains "$(try leave 2 0 0)" '5 passed, 0 failed, 0 skipped'
}

test_part_that_failed() {
	fails_with '5 passed, 1 failed, 0 skipped' try leave 2 1 0 1
}

test_part_without_total() {
	fails_with '3 passed, 1 failed, 0 skipped' try true
}

test_part_that_ran_nothing() {
	fails_with '3 passed, 1 failed, 0 skipped' try leave 0 0 0
}

test_part_that_died_and_counted_no_failure() {
	fails_with '5 passed, 1 failed, 0 skipped' try leave 2 0 0 1
}

test_part_with_an_unnamed_skip() {
	fails_with '5 passed, 1 failed, 1 skipped' try leave 2 0 1
}

test_part_with_an_unexpected_skip() {
	skips() {
		leave 2 0 1
		echo 'vm/x.all why' >"$results/other.skips"
	}
	fails_with '5 passed, 1 failed, 1 skipped' try skips
}

test_time_is_told_in_first_kernels() {
	# shellcheck source=scripts/parts.sh
	. "$scripts/parts.sh"
	echo 300 >cold
	budget cold 1230
	same "$took" 'took 20 min 30 s, 4.1 times its first kernel (5:00)'
	budget cold 1500
	contains "$took" '5.0 times its first kernel (5:00); 4.5 are wanted'
	budget absent 100
	same "$took" \
		'took 1 min 40 s, the first kernel not being built from nothing'
}

test_tap_that_was_cut_short() {
	# shellcheck source=scripts/parts.sh
	. "$scripts/parts.sh"
	printf '1..3\nok 1 a\nok 2 b\nok 3 c\n' >whole
	same "$(tap_total whole)" '3 0 0'
	printf '1..3\nok 1 a\nnot ok 2 b\n' >short
	same "$(tap_total short)" '1 2 0'
	printf 'ok 1 a\n' >unplanned
	same "$(tap_total unplanned)" '1 1 0'
	: >empty
	same "$(tap_total empty)" '0 1 0'
}
