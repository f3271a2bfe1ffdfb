# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash source=scripts/tests/lib.sh
# shellcheck disable=SC2154 # lib.sh is read first
# make series: mails that git am takes, equal to the assembled tree.

series() {
	"$scripts/series" --repo repo --build "$PWD/out" --ksrc base
}

# A full repository of the base, at the place where git am is tried.
git_base() {
	cp -r base full
	git -C full init -q
	git -C full config user.name Taker
	git -C full config user.email taker@localhost
	git -C full add -A
	git -C full commit -q -m base
}

test_git_am_ends_in_the_tree() {
	tree
	series
	git_base
	git -C full am -q "$PWD"/out/series/000[1-9]*.patch
	diff -r --exclude=.git full out/linux
	same "$(git -C full log --format=%s | head -n 2)" \
		$'irqchip: Use doorbells\niommu: Add doorbells'
}

test_git_am_has_nothing_to_say() {
	tree
	series
	git_base
	same "$(git -C full am -q "$PWD"/out/series/000[1-9]*.patch 2>&1)" ''
}

test_whitespace_error_is_refused() {
	printf 'int more; \n' >>repo/drivers/iommu/doorbell.c
	tree
	fails_with 'trailing whitespace' series
	printf 'int doorbell;\n\n' >repo/drivers/iommu/doorbell.c
	tree
	fails_with 'new blank line at EOF' series
}

test_each_commit_has_its_symbols() {
	tree
	series
	git_base
	git -C full am -q "$PWD"/out/series/0001*.patch
	contains "$(<full/drivers/iommu/Kconfig.iopf)" 'config ONE'
	lacks TWO full/drivers/iommu/Kconfig.iopf
	lacks BETA full/MAINTAINERS
}

test_mails_are_from_whoever_runs_it() {
	tree
	series
	grep -qx 'From: Tester <tester@localhost>' out/series/0001*.patch
	lacks Signed-off-by out/series/*.patch
}

test_cover_letter() {
	tree
	series
	grep -qx 'Subject: \[PATCH 0/2\] doorbells' out/series/0000*.patch
	grep -qx 'What it is.' out/series/0000*.patch
}

test_same_mails_every_time() {
	tree
	series
	cp -r out/series first
	series
	diff -r <(cat first/000[1-9]*) <(cat out/series/000[1-9]*)
}

test_series_notices_an_edited_tree() {
	tree
	sleep 0.05
	echo 'int sneaked;' >>out/linux/drivers/iommu/msi.c
	fails_with 'series: drivers/iommu/msi.c in' series
}

test_series_notices_a_stale_tree() {
	tree
	echo 'int more;' >>repo/drivers/iommu/doorbell.c
	fails_with 'series: drivers/iommu/doorbell.c in' series
}

test_series_notices_a_stray_file() {
	tree
	touch out/linux/drivers/iommu/stray.c
	fails_with 'series: drivers/iommu/stray.c in' series
}

test_series_needs_a_cover_letter() {
	tree
	rm repo/patches/6.12/cover-letter
	fails_with "there is no 'cover-letter'" series
	[[ ! -e out/series ]]
}

test_changelog_is_needed() {
	sed -i '/^Because/d' repo/patches/6.12/0001-one.patch
	fails_with '0001-one.patch: has no changelog' tree
}

test_refresh_puts_hunks_at_their_lines() {
	local changelog
	changelog=$(sed '/^---$/q' repo/patches/6.12/0001-one.patch)
	shift_base 3
	"$scripts/refresh" --repo repo --base base
	same "$(tree 2>&1 | grep warning)" ''
	contains "$(<repo/patches/6.12/0001-one.patch)" '@@ -13,7 +13,7 @@'
	same "$changelog" "$(sed '/^---$/q' repo/patches/6.12/0001-one.patch)"
}

test_refresh_keeps_what_is_right() {
	"$scripts/refresh" --repo repo --base base
	same "$("$scripts/refresh" --repo repo --base base)" ''
}
