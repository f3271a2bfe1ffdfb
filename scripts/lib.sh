# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Shared by the tools in scripts/: where things are, how errors are said.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=${BUILD:-$top/build}
# shellcheck disable=SC2034 # for the scripts that source this file
base=$build/base linux=$build/linux jobs=${JOBS:-$(nproc)}

# Messages of the tools are parsed, sort orders are compared.
export LC_ALL=C

# A checkout may belong to another user, as in a container: git may read it.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

say() {
	echo "$*"
}

warn() {
	echo "warning: $*" >&2
}

die() {
	echo "error: $*" >&2
	exit 1
}

# Wrong usage, or something that must be there before this can run.
die_usage() {
	echo "error: $*" >&2
	exit 2
}

# base_var NAME: a value of the file BASE.
base_var() {
	local value
	value=$(sed -n "s/^$1=//p" "$top/BASE")
	[[ -n $value ]] || die_usage "BASE has no line $1="
	echo "$value"
}

# kernel_version DIR: the version in a kernel tree's Makefile, as 6.12.117.
kernel_version() {
	[[ -f $1/Makefile && -f $1/Kbuild && -d $1/drivers/iommu ]] ||
		die "$1 is not a Linux kernel tree"
	awk '/^(VERSION|PATCHLEVEL|SUBLEVEL) *=/ { v = v sep $3; sep = "." }
	     /^EXTRAVERSION/ { print v $3; exit }' "$1/Makefile"
}

# hold_lock NAME ARGUMENT...: run the calling script again under build/.lock,
# unless it runs under it already.
hold_lock() {
	local name=$1
	shift
	[[ -n ${BUILD_LOCKED:-} ]] ||
		exec "$top/scripts/locked" "$name" "$0" "$@"
}

# step LABEL LOG COMMAND...: run a long command with its progress shown, its
# output in build/LOG, the time it took at the end.
step() {
	local label=$1 log=$2
	shift 2
	"$top/scripts/progress" --label "$label" --log "$build/$log" -- "$@"
}

# ccache answers the same question for a second tree, a second checkout, a
# second run. Its own directory is used unless that cannot be written.
setup_ccache() {
	local dir=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/ccache}

	mkdir -p "$dir" 2>/dev/null && [[ -w $dir ]] || dir=$build/ccache
	export CCACHE_DIR=$dir
	export CCACHE_SLOPPINESS=include_file_mtime,include_file_ctime
}
