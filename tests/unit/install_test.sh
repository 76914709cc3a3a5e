#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `cmake --install` puts everything in place, and the installed program finds its own parts.
set -eu
build=$1
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
DESTDIR=$prefix cmake --install "$build" >/dev/null
root=$prefix$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")

fail() { echo "FAILED: $*"; exit 1; }
find_one() { [ -n "$(find "$root" -path "*/$1" -print -quit)" ] || fail "$1 was not installed"; }
find_one bin/fleetflash
for arch in x86_64 aarch64 armhf armel; do
    [ ! -e "$build/bin/agents/fleetflash-agent-$arch" ] || find_one "fleetflash/agents/fleetflash-agent-$arch"
done
for policy in systemd sysv exec; do find_one "fleetflash/plugins/$policy.so"; done
find_one include/fleetflash/policy.h
find_one pkgconfig/fleetflash-policy.pc
for page in man1/fleetflash.1 man5/fleetflash-inventory.5 man3/fleetflash-policy.3; do find_one "$page"; done
[ -z "$(find "$root" -name '*-test')" ] || fail "a test build of the agent was installed"

# Without test or build folders in sight the program says what it is.
"$root/bin/fleetflash" --version | grep -q '^fleetflash [0-9]' || fail "--version"
"$root/bin/fleetflash" --help | grep -q -- --check || fail "--help"
echo "everything is in place"
