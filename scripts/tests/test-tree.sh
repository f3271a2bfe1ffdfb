# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash source=scripts/tests/lib.sh
# shellcheck disable=SC2154 # lib.sh is read first
# make tree: what it makes, what it refuses, what it leaves alone.

test_assembles() {
	tree
	contains "$(<out/linux/drivers/iommu/iommu.c)" 'changed 13'
	contains "$(<out/linux/drivers/iommu/iommu.c)" 'changed 33'
	same "$(<out/linux/drivers/iommu/doorbell.c)" 'int doorbell;'
	same "$(<out/linux/drivers/iommu/Kconfig.iopf)" "$(<repo/Kconfig)"
	same "$(<out/linux/drivers/iommu/msi.c)" \
		"$(<base/drivers/iommu/msi.c)"
}

test_base_stays_as_it_was() {
	local before
	before=$(find base -type f -exec sha256sum {} +)
	tree
	same "$before" "$(find base -type f -exec sha256sum {} +)"
}

test_maintainers_in_order() {
	local titles
	tree
	titles=$(grep -A 9 '^ALPHA' out/linux/MAINTAINERS | grep -E '^[A-Z]{3}')
	same "$titles" $'ALPHA DRIVER\nBETA DOORBELLS\nDELTA DRIVER\nTHE REST'
}

test_maintainers_beside_a_misfiled_one() {
	local titles
	sed -i 's/^DELTA/LOST\nM:	l\n\nAMBER\nM:	m\n\nAPPLE\nM:	p\n\n&/' \
		base/MAINTAINERS
	tree
	titles=$(sed -n '/^APPLE/,/^DELTA/s/^[A-Z]\{3,\}.*/&/p' \
		out/linux/MAINTAINERS)
	same "$titles" $'APPLE\nBETA DOORBELLS\nDELTA DRIVER'
}

test_empty_series_is_the_base() {
	rm -r repo/patches/6.12 repo/drivers repo/Kconfig repo/MAINTAINERS
	tree
	diff -r base out/linux
}

test_executable_bit_is_kept() {
	chmod +x repo/drivers/iommu/doorbell.c
	tree
	[[ -x out/linux/drivers/iommu/doorbell.c ]]
	chmod -x repo/drivers/iommu/doorbell.c
	tree
	[[ ! -x out/linux/drivers/iommu/doorbell.c ]]
}

test_again_touches_nothing() {
	local before
	tree
	before=$(fingerprint)
	sleep 0.05
	contains "$(tree)" ' 0 written'
	same "$before" "$(fingerprint)"
}

test_edit_touches_one_file() {
	local before after
	tree
	before=$(fingerprint)
	echo 'int more;' >>repo/drivers/iommu/doorbell.c
	contains "$(tree)" ' 1 written'
	after=$(fingerprint)
	before=$(grep -vE '^drivers/iommu(/doorbell.c)? ' <<<"$before")
	after=$(grep -vE '^drivers/iommu(/doorbell.c)? ' <<<"$after")
	same "$before" "$after"
	contains "$(<out/linux/drivers/iommu/doorbell.c)" 'int more;'
}

test_new_hunk_in_a_patch() {
	tree
	sed -i 's/changed 33/altered 33/' repo/patches/6.12/0002-two.patch
	contains "$(tree --verbose)" 'drivers/iommu/iommu.c'
	contains "$(<out/linux/drivers/iommu/iommu.c)" 'altered 33'
}

test_dropped_patch_restores_the_base() {
	tree
	: >repo/patches/6.12/series
	rm repo/patches/6.12/*.patch repo/Kconfig repo/MAINTAINERS
	rm -r repo/drivers
	tree
	diff -r base out/linux
}

test_restored_file_is_newer() {
	tree
	touch -d '+1 second' mark
	sleep 1.1
	sed -i '/^diff/,$d' repo/patches/6.12/000?-*.patch
	tree
	[[ out/linux/drivers/iommu/iommu.c -nt mark ]]
}

test_deleted_base_file() {
	{
		printf 'Subject: iommu: Drop old\n\nUnused.\n---\n'
		printf 'diff --git a/drivers/iommu/old.c b/drivers/iommu/old.c\n'
		printf 'deleted file mode 100644\n'
		printf -- '--- a/drivers/iommu/old.c\n+++ /dev/null\n'
		printf '@@ -1 +0,0 @@\n-int shadowed;\n'
	} >repo/patches/6.12/0003-three.patch
	echo 0003-three.patch >>repo/patches/6.12/series
	tree
	[[ ! -e out/linux/drivers/iommu/old.c ]]
	sed -i '/0003/d' repo/patches/6.12/series
	rm repo/patches/6.12/0003-three.patch
	tree
	[[ -e out/linux/drivers/iommu/old.c ]]
}

test_refuses_another_version() {
	make_base older 6.11.3
	fails_with 'is Linux 6.11.3; this series is for 6.12' \
		"$scripts/tree" --repo repo --build "$PWD/out" --ksrc older
	make_base newer 6.120.1
	fails_with 'is Linux 6.120.1' \
		"$scripts/tree" --repo repo --build "$PWD/out" --ksrc newer
	[[ ! -e out/linux ]]
}

test_refuses_what_is_no_kernel() {
	mkdir empty
	fails_with 'empty: not a Linux kernel tree' \
		"$scripts/tree" --repo repo --build "$PWD/out" --ksrc empty
	fails_with 'absent: not a Linux kernel tree' \
		"$scripts/tree" --repo repo --build "$PWD/out" --ksrc absent
}

test_refuses_a_built_tree() {
	touch base/.config
	fails_with 'has build outputs (.config)' tree
}

test_takes_another_point_release() {
	sed -i 's/^SUBLEVEL.*/SUBLEVEL = 95/' base/Makefile
	contains "$(tree)" 'Linux 6.12.95'
}

test_offset_is_a_warning_elsewhere() {
	shift_base 3
	contains "$(tree 2>&1)" \
		'0001-one.patch: hunk #1 for drivers/iommu/iommu.c applies at line 13'
	contains "$(<out/linux/drivers/iommu/iommu.c)" 'changed 13'
}

test_offset_is_an_error_on_the_pinned_base() {
	shift_base 3
	mv base linux-source-6.12
	tar -cJf pinned.tar.xz linux-source-6.12
	export BASE_TARBALL=$PWD/pinned.tar.xz
	fails_with 'hunk #1 for drivers/iommu/iommu.c applies at line 13' \
		"$scripts/tree" --repo repo --build "$PWD/out"
	[[ ! -e out/linux ]]
}

test_failed_hunk_names_file_and_hunk() {
	local before
	tree
	before=$(fingerprint)
	sed -i 's/^line 33$/other 33/' base/drivers/iommu/iommu.c
	echo 'int more;' >>repo/drivers/iommu/doorbell.c
	fails_with '0002-two.patch: hunk #1 for drivers/iommu/iommu.c' tree
	same "$before" "$(fingerprint)"
}

test_fuzz_is_refused() {
	sed -i 's/^line 30$/other 30/' base/drivers/iommu/iommu.c
	fails_with '0002-two.patch: hunk #1 for drivers/iommu/iommu.c' tree
	[[ ! -e out/linux ]]
}

test_malformed_hunk_is_refused() {
	sed -i 's/^ line 34$/garbage/' repo/patches/6.12/0002-two.patch
	fails_with '0002-two.patch: the hunks for drivers/iommu/iommu.c' tree
}

test_shadowing_file_is_refused() {
	echo 'int mine;' >repo/drivers/iommu/old.c
	sed -i 's/^---$/---\nFiles: drivers\/iommu\/old.c/' \
		repo/patches/6.12/0001-one.patch
	fails_with 'drivers/iommu/old.c: shadows a file of the base' tree
	sed -i 's/^Files: drivers\/iommu\/old/Replaces: drivers\/iommu\/old/' \
		repo/patches/6.12/0001-one.patch
	tree
	same "$(<out/linux/drivers/iommu/old.c)" 'int mine;'
}

test_replacing_nothing_is_refused() {
	sed -i 's/^Files: drivers/Replaces: drivers/' \
		repo/patches/6.12/0001-one.patch
	fails_with 'doorbell.c: 0001-one.patch replaces it, but the base' tree
}

test_unclaimed_file_is_refused() {
	echo 'int orphan;' >repo/drivers/iommu/orphan.c
	fails_with 'drivers/iommu/orphan.c: claimed by no patch' tree
	[[ ! -e out/linux ]]
}

test_unclaimed_symbol_is_refused() {
	printf '\nconfig THREE\n\tbool\n' >>repo/Kconfig
	fails_with 'Kconfig:THREE: claimed by no patch' tree
}

test_file_claimed_twice_is_refused() {
	sed -i 's/^---$/---\nFiles: drivers\/iommu\/doorbell.c/' \
		repo/patches/6.12/0002-two.patch
	fails_with 'doorbell.c: claimed by both 0001-one.patch and 0002-two' \
		tree
}

test_missing_file_is_refused() {
	rm repo/drivers/iommu/doorbell.c
	fails_with 'doorbell.c: claimed by 0001-one.patch, but there is no' tree
}

test_hunk_on_whole_file_is_refused() {
	sed 's/iommu\.c/doorbell.c/g' repo/patches/6.12/0001-one.patch \
		>repo/patches/6.12/0003-three.patch
	sed -i '/^Files/d' repo/patches/6.12/0003-three.patch
	echo 0003-three.patch >>repo/patches/6.12/series
	fails_with 'has a hunk on drivers/iommu/doorbell.c, which is kept' tree
}

test_hunk_on_absent_file_is_refused() {
	sed -i 's/iommu\.c/absent.c/g' repo/patches/6.12/0002-two.patch
	fails_with 'drivers/iommu/absent.c, which the base does not have' tree
}

test_unlisted_patch_is_refused() {
	sed -i '/0002/d' repo/patches/6.12/series
	fails_with '0002-two.patch: not listed' tree
}

test_files_for_qemu_are_not_the_kernels() {
	mkdir -p repo/tools/testing/qemu
	echo 'int device;' >repo/tools/testing/qemu/device.c
	tree
	[[ ! -e out/linux/tools/testing/qemu ]]
}

test_interrupted_run_is_completed() {
	tree
	# As if the run before had been killed between two files.
	rm out/linux/drivers/iommu/doorbell.c
	cp base/drivers/iommu/iommu.c out/linux/drivers/iommu/iommu.c
	tree
	contains "$(<out/linux/drivers/iommu/iommu.c)" 'changed 33'
	[[ -e out/linux/drivers/iommu/doorbell.c ]]
}

test_another_base_replaces_the_tree() {
	tree
	cp -r base second
	sed -i 's/^SUBLEVEL.*/SUBLEVEL = 99/' second/Makefile
	echo 'int only;' >second/drivers/iommu/only.c
	"$scripts/tree" --repo repo --build "$PWD/out" --ksrc second
	[[ -e out/linux/drivers/iommu/only.c ]]
	tree
	[[ ! -e out/linux/drivers/iommu/only.c ]]
}

test_runs_from_anywhere() {
	local build=$PWD/out repo=$PWD/repo ksrc=$PWD/base
	cd /
	"$scripts/tree" --repo "$repo" --build "$build" --ksrc "$ksrc"
	[[ -e $build/linux/drivers/iommu/doorbell.c ]]
}

test_waits_for_another_invocation() {
	mkdir -p out
	exec 9<>out/.lock
	flock 9
	echo "'make other' (pid 1)" >out/.lock
	env -u BUILD_LOCKED "$scripts/tree" --repo repo --build "$PWD/out" \
		--ksrc base >said 2>&1 9>&- &
	until grep -q waiting said 2>/dev/null; do
		kill -0 $!
		sleep 0.05
	done
	contains "$(<said)" "in use by 'make other' (pid 1); waiting"
	[[ ! -e out/linux ]]
	exec 9>&-
	wait $!
	[[ -e out/linux ]]
}
