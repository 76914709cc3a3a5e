#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A stranger's view: installs header, pkg-config file and manual alone, copies the example away from the
# source tree, builds it against what was installed, and lets the host load and run it.
#
# policy_install_test.sh CMAKE SOURCE BUILD POLICY_DRIVE
set -eu
cmake=$1 source=$2 build=$3 drive=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "policy_install_test: $*" >&2
    exit 1
}

"$cmake" --install "$build" --component policy-dev --prefix "$work/prefix" >"$work/log" || {
    cat "$work/log"
    fail "install"
}
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name fleetflash-policy.pc)")
export PKG_CONFIG_PATH
[ -f "$(pkg-config --variable=includedir fleetflash-policy)/fleetflash/policy.h" ] ||
    fail "includedir of the pkg-config file has no header"
case $(realpath -m "$(pkg-config --variable=plugindir fleetflash-policy)") in
"$work"/prefix/*/fleetflash/plugins) ;;
*) fail "plugindir is outside the prefix" ;;
esac
[ -f "$(find "$work/prefix" -name fleetflash-policy.3)" ] || fail "no manual page"

# The header alone, as strictly as anyone may compile it, in C and C++.
include=$(pkg-config --variable=includedir fleetflash-policy)
printf '#include <fleetflash/policy.h>\nstatic void s(const struct ff_host *h, struct ff_target *t) { h->finish(t, FF_VERDICT_GO, NULL); }\nstatic const struct ff_policy p = {FF_POLICY_HEADER, .name = "x", .stop = s};\nFF_REGISTER_POLICY(p)\n' >"$work/x.c"
cp "$work/x.c" "$work/x.cc"
cc -std=c99 -Wall -Wextra -Wpedantic -Wno-missing-field-initializers -Werror -fsyntax-only -I"$include" "$work/x.c" || fail "C99"
if command -v c++ >/dev/null; then
    c++ -std=c++20 -Wall -Wextra -Wpedantic -Wno-missing-field-initializers -Werror -shared -fPIC -I"$include" "$work/x.cc" -o "$work/x.so" ||
        fail "C++"
    "$drive" "$work/x.so" | grep -q '^stop: GO' || fail "a policy in C++"
fi

cp -r "$source/plugins/example" "$work/example"
"$cmake" -S "$work/example" -B "$work/out" -DCMAKE_C_FLAGS=-Werror >"$work/log" 2>&1 &&
    "$cmake" --build "$work/out" >"$work/log" 2>&1 || {
    cat "$work/log"
    fail "the example does not build"
}
policy=$work/out/example.so
exports=$(nm -D --defined-only "$policy" | awk '{ print $3 }')
[ "$exports" = fleetflash_policy ] || fail "it exports more than one symbol: $exports"

lock="$work/it's locked"
echo "test 42 by ada" >"$lock"
"$drive" "$policy" "lock=$lock" | tee "$work/log"
grep -q '^stop: VETO locked: test 42 by ada$' "$work/log" || fail "a lock is no veto"
rm "$lock"
"$drive" --keep-stopped "$policy" "lock=$lock" wait=1s | grep -q '^stop: GO' || fail "no lock is no GO"
[ -f "$lock.flash" ] || fail "no mark"
"$drive" "$policy" "lock=$lock" | grep -q '^undo: GO' || fail "undo"
[ ! -e "$lock.flash" ] || fail "undo left the mark"
"$drive" "$policy" lock=relative | grep -q "no absolute path" || fail "check"
