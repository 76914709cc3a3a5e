#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `cmake --install` puts everything in place, and the installed program runs from there with its own parts
# alone: it is moved away from where it was configured to be, and must not look into the build tree.
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
DESTDIR=$work/stage cmake --install "$build" >/dev/null
root=$work/moved
mv "$work/stage$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$build/CMakeCache.txt")" "$root"

fail() { echo "FAILED: $*"; exit 1; }
find_one() { [ -n "$(find "$root" -path "*/$1" -print -quit)" ] || fail "$1 was not installed"; }
find_one bin/fleetflash
for arch in x86_64 aarch64 armhf armel; do
    [ -e "$build/bin/agents/fleetflash-agent-$arch" ] || continue
    find_one "fleetflash/agents/fleetflash-agent-$arch"
    find_one "fleetflash/agents/fleetflash-agent-$arch.gz"
done
policies=$(cd "$source/plugins" && ls -d docker exec k8s-drain openrc systemd sysv)
for policy in $policies; do find_one "fleetflash/plugins/$policy.so"; done
find_one include/fleetflash/policy.h
find_one pkgconfig/fleetflash-policy.pc
for page in man1/fleetflash.1 man5/fleetflash-inventory.5 man3/fleetflash-policy.3; do
    find_one "$page"
    said=$(MANWIDTH=80 man --warnings -E UTF-8 -l "$(find "$root" -path "*/$page")" 2>&1 >/dev/null)
    [ -z "$said" ] || fail "man $page: $said"
    mandoc -T lint -W warning "$source/docs/${page#*/}" || fail "mandoc $page"
done
find_one bash-completion/completions/fleetflash
find_one zsh/site-functions/_fleetflash
find_one doc/fleetflash/LICENSE
for link in $(grep -o "(docs[^):]*\.md)" "$source/README.md" | tr -d "()") docs/nightly.md; do find_one "doc/fleetflash/$link"; done
find_one doc/fleetflash/docs/examples/fleetflash-nightly.cron
for page in "$source"/docs/*.md; do
    grep -qF "(docs/${page##*/})" "$source/README.md" || fail "README.md does not lead to docs/${page##*/}"
done
said=$(systemd-analyze verify --man=no "$root"/share/doc/fleetflash/docs/examples/fleetflash-nightly.{service,timer} 2>&1) ||
    fail "systemd-analyze verify: $said"
[ -z "$(grep fleetflash <<<"$said")" ] || fail "systemd-analyze verify: $said"
[ -z "$(find "$root" -name '*-test')" ] || fail "a test build of the agent was installed"

cd "$work"
export HOME=$work
program=$root/bin/fleetflash
"$program" --version | grep -q '^fleetflash [0-9]' || fail "--version"
"$program" --help | grep -q -- --check || fail "--help"
"$program" -i "$source/inventory/examples/lab.yaml" --list | grep -q '^pi-25 ' || fail "--list"
"$program" policy list >list || fail "policy list"
for policy in $policies; do
    grep -q "^$policy - " list && grep -q "file: $root/.*/$policy.so$" list || fail "policy list does not have $policy of the installation: $(cat list)"
    "$program" policy check "$(find "$root" -path "*/plugins/$policy.so")" >/dev/null || fail "policy check $policy"
done

# A check gets as far as looking for the agents; nobody answers at that port.
echo 'groups: {lab: {hosts: {here: {host: 127.0.0.1, port: 1, user: nobody, retries: 0}}}}' >here.yaml
"$program" -i here.yaml --check >said 2>&1 && fail "a check of nobody went well"
grep -q "agents" said && fail "the installed agents are not found: $(cat said)"
grep -q "127.0.0.1" said || fail "--check: $(cat said)"
mv "$(find "$root" -type d -path '*/fleetflash/agents')" agents
"$program" -i here.yaml --check >said 2>&1 && fail "a check without agents went well"
grep -q "no agents in $root" said || fail "others than the installed agents are used: $(cat said)"
FLEETFLASH_AGENT_PATH=$work/agents "$program" -i here.yaml --check 2>&1 | grep -q "127.0.0.1" || fail "FLEETFLASH_AGENT_PATH"
echo "everything is in place"
