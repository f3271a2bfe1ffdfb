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
