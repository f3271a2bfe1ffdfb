# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Configure and build a kernel from fragments; sourced after lib.sh.

export KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00' KBUILD_BUILD_USER=build
export KBUILD_BUILD_HOST=localhost

# kmake SRC OUT ARGUMENT...: kbuild for the architecture in ARCH. Parameters
# that must be the same in every call, or everything is rebuilt, are here.
kmake() {
	local src=$1 out=$2
	shift 2
	make -C "$src" O="$out" ARCH="$ARCH" CROSS_COMPILE="$CROSS_COMPILE" \
	     CC="ccache ${CROSS_COMPILE}gcc" HOSTCC="ccache gcc" "$@"
}

use_arch() {
	export ARCH=$1
	case $ARCH in
	arm64) export CROSS_COMPILE=aarch64-linux-gnu- ;;
	arm) export CROSS_COMPILE=arm-linux-gnueabihf- ;;
	x86_64) export CROSS_COMPILE='' ;;
	*) die_usage "no compiler is known for ARCH=$ARCH" ;;
	esac
}

# not_landed CONFIG FRAGMENT...: the lines of the fragments that the final
# configuration does not have.
not_landed() {
	local config=$1
	shift
	sed -n -E 's/^(CONFIG_[A-Za-z0-9_]+=.*)$/\1/p
		s/^(# CONFIG_[A-Za-z0-9_]+ is not set)$/\1/p' "$@" |
	awk -v config="$config" '
		function name(s) {
			sub(/^# /, "", s)
			sub(/[= ].*/, "", s)
			return s
		}
		function say(n) {
			if (n in have)
				print want[n] " (is " have[n] ")"
			else
				print want[n] " (no such symbol, or unmet" \
				      " dependencies)"
		}
		BEGIN {
			while ((getline line < config) > 0)
				if (line ~ /CONFIG_/)
					have[name(line)] = line
		}
		{ want[name($0)] = $0 }
		END {
			for (n in want)
				if (n in have && have[n] != want[n])
					say(n)
				else if (!(n in have) && want[n] !~ /not set$/)
					say(n)
		}' | sort
}

# configure SRC OUT FRAGMENT...: allnoconfig plus the fragments, each wanted
# symbol verified. An unchanged result keeps its time, so nothing is rebuilt.
configure() {
	local src=$1 out=$2 missing
	shift 2
	mkdir -p "$out"
	if [[ -f $out/.config ]] && cmp -s <(cat "$@") "$out/.fragments" &&
	   [[ -z $(find "$src" -name 'Kconfig*' -newer "$out/.fragments" \
			-print -quit) ]]; then
		return
	fi
	cp -p "$out/.config" "$out/.config.before" 2>/dev/null || true
	(cd "$src" && KCONFIG_CONFIG=$out/.config \
		scripts/kconfig/merge_config.sh -n -O "$out" "$@") \
		>"$out/.configure.log" 2>&1 ||
		{ tail -n 20 "$out/.configure.log" >&2
		  die "the configuration of $out failed"; }
	missing=$(not_landed "$out/.config" "$@")
	if [[ -n $missing ]]; then
		rm -f "$out/.fragments"
		die "wanted, but not in $out/.config:"$'\n'"$missing"
	fi
	if cmp -s "$out/.config" "$out/.config.before"; then
		mv -f "$out/.config.before" "$out/.config"
	fi
	rm -f "$out/.config.before"
	cat "$@" >"$out/.fragments"
}
