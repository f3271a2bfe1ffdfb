# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash source=scripts/tests/lib.sh
# shellcheck disable=SC2154 # lib.sh is read first
# What is edited in build/linux is neither lost nor stays there.

from_tree() {
	"$scripts/refresh" --repo repo --build "$PWD/out" --base base \
		--from-tree "$@"
}

edited=out/linux/drivers/iommu/iommu.c

# A third patch, on the same file as the two others, and beside the first.
add_patch_three() {
	{
		printf 'Subject: iommu: Go on\n\nBecause of two.\n---\n\n'
		iommu_hunk 20
	} >repo/patches/6.12/0003-three.patch
	echo 0003-three.patch >>repo/patches/6.12/series
}

test_edit_of_a_hooked_file_is_refused() {
	tree
	sed -i 's/^changed 13$/mine 13/' $edited
	echo 'int more;' >>repo/drivers/iommu/doorbell.c
	fails_with 'drivers/iommu/iommu.c: was edited there' tree
	fails_with 'scripts/refresh --from-tree' tree
	grep -qx 'mine 13' $edited
	lacks 'int more' out/linux/drivers/iommu/doorbell.c
}

test_edit_of_a_whole_file_is_refused() {
	tree
	echo 'int mine;' >>out/linux/drivers/iommu/doorbell.c
	fails_with 'drivers/iommu/doorbell.c: was edited there' tree
	grep -qx 'int mine;' out/linux/drivers/iommu/doorbell.c
}

test_edit_is_not_lost_with_the_base() {
	tree
	sed -i 's/^changed 13$/mine 13/' $edited
	cp -r base second
	sed -i 's/^SUBLEVEL.*/SUBLEVEL = 99/' second/Makefile
	fails_with 'drivers/iommu/iommu.c: was edited there' "$scripts/tree" \
		--repo repo --build "$PWD/out" --ksrc second
	grep -qx 'mine 13' $edited
}

test_edit_is_thrown_away_on_demand() {
	tree
	sed -i 's/^changed 13$/mine 13/' $edited
	tree --discard
	grep -qx 'changed 13' $edited
}

test_edit_on_both_sides_is_none() {
	tree
	echo 'int more;' | tee -a repo/drivers/iommu/doorbell.c \
		>>out/linux/drivers/iommu/doorbell.c
	contains "$(tree)" ' 0 written'
}

test_whole_file_is_taken_in() {
	tree
	echo 'int mine;' >>out/linux/drivers/iommu/doorbell.c
	contains "$(from_tree)" 'refresh: drivers/iommu/doorbell.c'
	grep -qx 'int mine;' repo/drivers/iommu/doorbell.c
	contains "$(tree)" ' 0 written'
}

test_hunk_is_taken_into_its_patch() {
	local changelog
	sed -i '/0002/d' repo/patches/6.12/series
	rm repo/patches/6.12/0002-two.patch
	sed -i 's/^Files: Kconfig:ONE/Files: Kconfig\nFiles: MAINTAINERS/' \
		repo/patches/6.12/0001-one.patch
	changelog=$(sed '/^---$/q' repo/patches/6.12/0001-one.patch)
	tree
	sed -i 's/^changed 13$/mine 13/; s/^line 50$/mine 50/' $edited
	same "$(from_tree)" 'refresh: 0001-one.patch'
	same "$changelog" "$(sed '/^---$/q' repo/patches/6.12/0001-one.patch)"
	contains "$(<repo/patches/6.12/0001-one.patch)" '+mine 50'
	contains "$(tree)" ' 0 written'
}

test_hunk_needs_to_know_which_patch() {
	tree
	sed -i 's/^line 50$/mine 50/' $edited
	fails_with 'is changed by 0001-one.patch, 0002-two.patch' from_tree
	contains "$(from_tree 0001)" 'refresh: 0001-one.patch'
	lacks 'mine 50' repo/patches/6.12/0002-two.patch
	contains "$(tree)" ' 0 written'
}

test_hunk_goes_below_later_patches() {
	add_patch_three
	tree
	sed -i 's/^changed 13$/mine 13/; 1i first' $edited
	from_tree 0001-one
	contains "$(<repo/patches/6.12/0001-one.patch)" '+mine 13'
	contains "$(<repo/patches/6.12/0003-three.patch)" '@@ -21,7 +21,7 @@'
	contains "$(tree)" ' 0 written'
}

test_hunk_on_lines_of_a_later_patch() {
	tree
	sed -i 's/^changed 33$/mine 33/' $edited
	fails_with 'lines that a patch after 0001-one.patch changes' \
		from_tree 0001
	from_tree 0002
	contains "$(<repo/patches/6.12/0002-two.patch)" '+mine 33'
	contains "$(tree)" ' 0 written'
}

test_file_that_no_patch_changes() {
	tree
	sleep 0.05
	sed -i 's/^msi 7$/mine 7/' out/linux/drivers/iommu/msi.c
	fails_with 'drivers/iommu/msi.c: is changed by no patch' from_tree
	from_tree 0002
	contains "$(<repo/patches/6.12/0002-two.patch)" '+mine 7'
	contains "$(tree)" ' 0 written'
}

test_hunk_goes_into_a_new_patch() {
	tree
	printf 'Subject: iommu: Go on\n\nBecause of two.\n---\n' \
		>repo/patches/6.12/0003-three.patch
	echo 0003-three.patch >>repo/patches/6.12/series
	sed -i 's/^line 50$/mine 50/' $edited
	fails_with '0003-three.patch: changes nothing' tree
	contains "$(from_tree 0003)" 'refresh: 0003-three.patch'
	contains "$(<repo/patches/6.12/0003-three.patch)" '+mine 50'
	contains "$(tree)" ' 0 written'
}

test_kconfig_is_edited_at_its_source() {
	tree
	echo '# mine' >>out/linux/drivers/iommu/Kconfig.iopf
	fails_with "is made of the repository's Kconfig" from_tree
}

test_unknown_patch_is_refused() {
	tree
	sed -i 's/^line 50$/mine 50/' $edited
	fails_with "there is no patch '0009'" from_tree 0009
}
