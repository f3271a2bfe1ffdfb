# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Shared by the parts of "make check".

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=scripts/lib.sh
. "$here/../lib.sh"

findings=0

finding() {
	echo "$*"
	findings=$((findings + 1))
}

# The last line of a part: fails if there were findings.
verdict() {
	[[ $findings -eq 0 ]] || { echo "$findings findings"; exit 1; }
	echo "no finding"
}

# A part that sees no files because the series is broken must not be a success.
"$here/../overlay" all >/dev/null || exit 1

# overlay KIND: paths that the series touches; whole, hunked, or all.
overlay() {
	"$top/scripts/overlay" "$1"
}

# overlay_c KIND: of these, C sources and headers.
overlay_c() {
	overlay "$1" | grep -E '\.[ch]$' || true
}

# Not asked of trace event headers, whose macros are a notation of their own:
# TP_STRUCT__entry( ends its line in every one of the kernel's.
notation='^include/trace/events/[^:]*:[0-9]+: CHECK:(OPEN_ENDED_LINE|PARENTHESIS_ALIGNMENT):'

# checkpatch ARGUMENT...: what it finds, one a line; fails if that is anything.
# Run it inside the tree: in a git repository it judges by that one's files.
checkpatch() {
	local found
	found=$("$linux/scripts/checkpatch.pl" --strict --no-summary --terse \
		--showfile --show-types "$@" 2>&1 | grep -vE "$notation" || true)
	[[ -z $found ]] || { echo "$found"; return 1; }
}
