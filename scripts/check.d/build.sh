# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Builds of "make check": other architectures and configurations. Sourced.

# shellcheck source=scripts/check.d/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/kconfig.sh
. "$here/../kconfig.sh"
setup_ccache

# Where the series has code that the kernel links.
directories=(drivers/iommu/ drivers/irqchip/ drivers/pci/ drivers/vfio/
	     kernel/irq/)

# build_tree SRC OUT LOG TARGET...: keeps going, so that all is seen at once.
build_tree() {
	local src=$1 out=$2 log=$3
	shift 3
	kmake "$src" "$out" -k -j"$jobs" "$@" >"$log" 2>&1 </dev/null
}

# warnings LOG: those in files of the series, without line numbers. Messages
# name files relative to the tree, or from an O= directory inside it.
warnings() {
	sed -nE 's#^(\.\./)?([^ :]+):[0-9]+(:[0-9]+)?: ((warning|error|note).*)$#\2: \4#p' \
		"$1" | grep -v ': note' | sort -u |
		grep -F -f <(overlay all | sed 's/$/:/') || true
}

# check_build VARIANT ARCH TARGET...: the assembled tree, with the fragment of
# that name, builds without a warning in a file of the series.
check_build() {
	local variant=$1 out=$linux/.kernel-$1 log=$build/check/$1-build.log
	use_arch "$2"
	shift 2
	configure "$linux" "$out" "$top/scripts/config/$variant.config"
	if ! build_tree "$linux" "$out" "$log" "$@"; then
		grep -E 'error|undefined|\*\*\*' "$log" | head -n 20
		finding "the build failed: $log"
	fi
	found=$(warnings "$log")
	[[ -z $found ]] || finding "$found"
}
