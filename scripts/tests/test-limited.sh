# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash source=scripts/tests/lib.sh
# shellcheck disable=SC2154 # lib.sh is read first
# scripts/limited: ends what hangs, asleep or in a loop, and nothing else.

test_limited_passes_a_status_on() {
	"$scripts/limited" 60 true
	local status=0
	"$scripts/limited" 60 bash -c 'exit 3' || status=$?
	same "$status" 3
}

test_limited_ends_a_sleeper() {
	fails_with 'limited: ended after 1 s: sleep' \
		"$scripts/limited" 1 sleep 1000
}

test_limited_ends_what_loops_in_a_child() {
	fails_with 'limited: ended after 1 s: bash' \
		"$scripts/limited" 1 bash -c 'while :; do :; done & wait'
}

# Half a second of work, stopped for longer than its limit.
test_limited_waits_for_who_is_kept_from_working() {
	# shellcheck disable=SC2016 # the command's own variables
	"$scripts/limited" 3 bash -c '
		(sleep 5; kill -CONT $$) &
		kill -STOP $$; exit 0' || return 1
}
