#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# openrc_root.sh FOLDER: a small root with Debian's real OpenRC in it and busybox around, for chroot.
# Exit status 77: it cannot be made here, stderr says why.
set -eu
root=$1
[ "$(id -u)" = 0 ] || { echo "needs root (chroot)" >&2; exit 77; }
command -v busybox >/dev/null || { echo "needs busybox-static" >&2; exit 77; }
mkdir -p "$root" && cd "$root"
chmod 755 .
mkdir debs && cd debs
apt-get -q download openrc librc1 libeinfo1 >/dev/null 2>&1 || { echo "openrc cannot be downloaded" >&2; exit 77; }
cd ..
for deb in debs/*.deb; do dpkg-deb -x "$deb" .; done
rm -r debs etc/init.d
mkdir -p bin proc run/openrc dev etc/init.d etc/conf.d etc/runlevels/default
cp "$(command -v busybox)" bin/busybox
for applet in $(bin/busybox --list); do
  [ -e "bin/$applet" ] || [ -e "sbin/$applet" ] || ln -s busybox "bin/$applet"
done
for program in sbin/openrc-run sbin/start-stop-daemon lib/rc/bin/*; do ldd "$program" 2>/dev/null || :; done |
  grep -oE '/lib[^ ]+' | sort -u | while read -r library; do
    [ -e ".$library" ] || { mkdir -p ".${library%/*}" && cp -L "$library" ".$library"; }
  done
mknod -m 666 dev/null c 1 3
for state in daemons exclusive failed hotplugged inactive options scheduled started starting stopping tmp wasinactive; do
  mkdir "run/openrc/$state"
done
echo default >run/openrc/softlevel
: >etc/insserv.conf
