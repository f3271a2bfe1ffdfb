# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# A small repository and a small base, made anew for each test, and TAP.

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export LC_ALL=C
tap_count=0
tap_failed=0
tap_files=()

# A tree that passes for Linux $2 in directory $1.
make_base() {
	local dir=$1 version
	IFS=. read -ra version <<<"${2:-6.12.117}"
	mkdir -p "$dir/drivers/iommu" "$dir/include/linux"
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\nEXTRAVERSION =\n' \
		"${version[@]}" >"$dir/Makefile"
	: >"$dir/Kbuild"
	seq -f 'line %g' 1 60 >"$dir/drivers/iommu/iommu.c"
	seq -f 'msi %g' 1 40 >"$dir/drivers/iommu/msi.c"
	echo 'int shadowed;' >"$dir/drivers/iommu/old.c"
	printf '%s\n' 'Maintainers List' '----------------' '' \
		'ALPHA DRIVER' 'M:	a' '' 'DELTA DRIVER' 'M:	d' '' \
		'THE REST' 'M:	t' >"$dir/MAINTAINERS"
}

# A repository with one whole file, two patches, Kconfig and MAINTAINERS.
make_repo() {
	local repo=$1
	mkdir -p "$repo/patches/6.12" "$repo/drivers/iommu"
	printf 'PACKAGE=linux-source-6.12\nVERSION=6.12.117\nRANGE=6.12\n' \
		>"$repo/BASE"
	echo 'int doorbell;' >"$repo/drivers/iommu/doorbell.c"
	printf '# Symbols\n\nconfig ONE\n\tbool "one"\n\nconfig TWO\n\tbool\n' \
		>"$repo/Kconfig"
	printf 'BETA DOORBELLS\nF:	drivers/iommu/doorbell.c\n' \
		>"$repo/MAINTAINERS"
	printf 'Subject: doorbells\n\nWhat it is.\n' \
		>"$repo/patches/6.12/cover-letter"
	printf '# order\n0001-one.patch\n0002-two.patch # the second\n' \
		>"$repo/patches/6.12/series"
	patch_one >"$repo/patches/6.12/0001-one.patch"
	patch_two >"$repo/patches/6.12/0002-two.patch"
	git -C "$repo" init -q
	git -C "$repo" config user.name Tester
	git -C "$repo" config user.email tester@localhost
}

# iommu_hunk FROM: a hunk that changes line FROM+3 of iommu.c.
iommu_hunk() {
	local from=$1
	cat <<-END
	diff --git a/drivers/iommu/iommu.c b/drivers/iommu/iommu.c
	--- a/drivers/iommu/iommu.c
	+++ b/drivers/iommu/iommu.c
	@@ -$from,7 +$from,7 @@
	$(seq -f ' line %g' "$from" $((from + 2)))
	-line $((from + 3))
	+changed $((from + 3))
	$(seq -f ' line %g' $((from + 4)) $((from + 6)))
	END
}

patch_one() {
	printf 'Subject: iommu: Add doorbells\n\nBecause.\n---\n'
	printf 'Files: drivers/iommu/doorbell.c\nFiles: Kconfig:ONE\n\n'
	iommu_hunk 10
}

patch_two() {
	printf 'Subject: irqchip: Use doorbells\n\nBecause of one.\n---\n'
	printf 'Files: Kconfig:TWO\nFiles: MAINTAINERS\n\n'
	iommu_hunk 30
}

# shift_base N: insert N lines at the head of the base's iommu.c.
shift_base() {
	seq -f 'new %g' 1 "$1" | cat - base/drivers/iommu/iommu.c >shifted
	mv shifted base/drivers/iommu/iommu.c
}

# tree ARGUMENT...: assemble in the test's own directory.
tree() {
	"$scripts/tree" --repo repo --build "$PWD/out" --ksrc base "$@"
}

# What a tree holds, with modes and times: equal before and after if untouched.
fingerprint() {
	if [[ -e out/linux ]]; then
		find out/linux -printf '%P %m %T@ %i\n' | sort
	else
		echo none
	fi
}

# fails_with TEXT COMMAND...: it must exit non-zero and say TEXT.
fails_with() {
	local text=$1 output
	shift
	if output=$("$@" 2>&1); then
		echo "expected a failure: $*"
		return 1
	fi
	contains "$output" "$text"
}

contains() {
	[[ $1 == *"$2"* ]] && return
	echo "expected '$2' in:"
	echo "$1"
	return 1
}

# lacks TEXT FILE...: no file holds TEXT.
lacks() {
	local text=$1
	shift
	if grep -F -- "$text" "$@"; then
		return 1
	fi
}

same() {
	[[ $1 == "$2" ]] && return
	diff <(echo "$1") <(echo "$2") || true
	return 1
}

# run_test NAME: function NAME of the files in $tap_files, in a directory of
# its own, the first error being the end.
run_test() {
	local name=$1 output dir file source=''
	for file in "$scripts/tests/lib.sh" "${tap_files[@]}"; do
		source+=". '$file'; "
	done
	dir=$(mktemp -d)
	tap_count=$((tap_count + 1))
	if output=$(cd "$dir" && make_base base && make_repo repo &&
		    bash -euo pipefail -c "$source $name" 2>&1); then
		echo "ok $tap_count $name"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count $name"
		echo "# ${output//$'\n'/$'\n'# }"
	fi
	rm -rf "$dir"
}
