# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# The parts of "make test": what they came to, added up.
#
# Each part leaves "passed failed skipped" in $results/PART.total, and may name
# its skips in $results/PART.skips, one a line. A skip that the list of expected
# ones does not name is a failure, and so is one that it names and that did not
# happen.

parts=()
broken=0

# part NAME COMMAND...: it has failed if it leaves no total, or one of nothing,
# or says that it failed and counts no failure.
part() {
	local name=$1 file=$results/$1.total status=0 total passed failed skipped
	shift
	rm -f "$results/$name".{total,skips}
	parts+=("$name")
	say "== $name"
	"$@" || status=$?
	total=$(cat "$file" 2>/dev/null || true)
	if [[ ! $total =~ ^[0-9]+\ [0-9]+\ [0-9]+$ ]]; then
		say "== $name: left no total"
		echo "0 1 0" >"$file"
		return
	fi
	read -r passed failed skipped <<<"$total"
	if [[ $((passed + failed)) -eq 0 ]]; then
		say "== $name: ran nothing"
		failed=1
	elif [[ $status -ne 0 && $failed -eq 0 ]]; then
		say "== $name: exit status $status, and no failure counted"
		failed=1
	fi
	echo "$passed $failed $skipped" >"$file"
}

# tap_total FILE: "passed failed 0" of the TAP in it. A test that was planned
# and said nothing has failed, and so has a plan that is not there.
tap_total() {
	local planned passed failed
	planned=$(sed -n 's/^1\.\.\([0-9]\+\)$/\1/p' "$1")
	passed=$(grep -c '^ok' "$1" || true)
	failed=$(grep -c '^not ok' "$1" || true)
	if [[ ${planned:-0} -eq 0 ]]; then
		failed=$((failed + 1))
	elif [[ $((passed + failed)) -ne $planned ]]; then
		failed=$((failed + (planned > passed + failed ?
				    planned - passed - failed : 1)))
	fi
	echo "$passed $failed 0"
}

# check_skips EXPECTED: which tests were skipped, by part and name, against
# those that this file says may be.
check_skips() {
	local expected=$results/skips.expected actual=$results/skips.actual name
	sed -E '/^(#|$)/d; s/^([^ ]+ +[^ ]+).*/\1/' "$1" | tr -s ' ' |
		sort >"$expected"
	for name in "${parts[@]}"; do
		[[ ! -f $results/$name.skips ]] ||
			sed -E "s/^([^ ]+).*/$name \1/" "$results/$name.skips"
	done | sort >"$actual"
	if ! diff "$expected" "$actual" >"$results/skips.diff"; then
		say "skipped otherwise than $(basename "$1") says" \
		    "(< expected, > skipped):"
		cat "$results/skips.diff"
		broken=1
	fi
}

# budget FILE SECONDS: what all took, as multiples of its first kernel, whose
# seconds FILE holds if it was built from nothing. Sets $took.
budget() {
	local all=$2 first tenths
	took="took $((all / 60)) min $((all % 60)) s"
	if [[ ! -s $1 ]]; then
		took+=", the first kernel not being built from nothing"
		return
	fi
	first=$(<"$1")
	tenths=$((10 * all / (first > 0 ? first : 1)))
	took+=", $((tenths / 10)).$((tenths % 10)) times its first kernel"
	took+=" ($((first / 60)):$(printf %02d $((first % 60))))"
	[[ $tenths -le 45 ]] || took+="; 4.5 are wanted"
}

# The totals, the last line being the sum; false if anything failed.
add_up() {
	local name passed=0 failed=0 skipped=0 p f s
	for name in "${parts[@]}"; do
		read -r p f s <"$results/$name.total"
		printf '  %-10s %4d passed, %d failed, %d skipped\n' \
			"$name" "$p" "$f" "$s"
		passed=$((passed + p))
		failed=$((failed + f))
		skipped=$((skipped + s))
	done
	[[ $(wc -l <"$results/skips.actual") -eq $skipped ]] ||
		{ say "$skipped skips, but not all of them named"; broken=1; }
	failed=$((failed + broken))
	[[ -z ${took:-} ]] || say "$took"
	say "$passed passed, $failed failed, $skipped skipped"
	[[ $failed -eq 0 && $passed -gt 0 ]]
}
