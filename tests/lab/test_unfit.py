#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Devices that cannot be flashed live: each is refused with the reason and what can be done instead, by --check
as well, and goes on as before.

    test_unfit.py [NAME...]      only these devices"""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import roots
from check import check, console_ends
from device import Device
from lab import Lab, require

# A file system that was unmounted lazily while a program stands in it: nothing shows that it is there.
HIDE = """mkdir -p /mnt && mount -t ext4 /dev/ubda2 /mnt && cd /mnt && (sleep 1000 </dev/null >/dev/null 2>&1 &) && cd / &&
umount -l /mnt && ! grep -q ubda2 /proc/mounts"""
# A container's ssh server: it has its own processes, and sees the disk of the machine.
CONTAIN = """setsid unshare --pid -f --mount-proc dropbear -F -p 2222 -r /etc/dropbear/host_key </dev/null >/dev/null 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10; do nc 127.0.0.1 2222 </dev/null | grep -q SSH && exit 0; sleep 1; done; exit 1"""
# A kernel without SysRq, and a root that is held open for writing by the kernel itself.
NO_WAY = """mkdir -p /run/no && touch /run/no/way && mount --bind /run/no/way /proc/sysrq-trigger &&
mount -o remount,bind,ro /proc/sysrq-trigger && modprobe loop && { [ -b /dev/loop0 ] || mknod /dev/loop0 b 7 0; } &&
dd if=/dev/zero of=/var/held bs=64k count=1 2>/dev/null && losetup /dev/loop0 /var/held"""
# An address that a DHCP client was given for a little longer, again and again; streaming is reckoned with more.
LEASE = """set -- $(ip -o -4 addr show dev eth0)
setsid sh -c "while ip addr change $4 dev eth0 valid_lft 70 preferred_lft 70; do sleep 5; done" </dev/null >/dev/null 2>&1 &
until ip addr show dev eth0 | grep -q 'valid_lft [67]'; do sleep 1; done"""

# name: (keys of Lab.device(), what makes it unfit, words of the reason, a word of the remedy)
UNFIT = {
    "network": ({}, "", ["root file system is hostfs", "not a disk"], "netboot"),
    "lvm-two": ({"stack": "lvm-two"}, "", ["spreads over 2 disks"], "netboot"),
    "md-two": ({"stack": "md-two", "mem": "128M"}, "", ["spreads over 2 disks"], "netboot"),
    "btrfs-two": ({"stack": "btrfs-two", "mem": "128M"}, "", ["spreads over 2 disks"], "netboot"),
    "container": ({}, CONTAIN, ["container"], "the machine that it runs on"),
    "claimed": ({"data": 16}, HIDE, ["the kernel uses /dev/ubda2"], "unmounted lazily"),
    "lease": ({"kind": "systemd"}, LEASE, ["is leased for"], "renew the lease"),
    # Found out when the fence goes up; --check can only warn.
    "no-sysrq": ({}, NO_WAY, ["busy", "no SysRq"], "services"),
}


class NetworkRoot(Device):
    """Its root is a directory of this machine, given to it as a network file system would be."""

    def command_line(self):
        tree = self.dir / "root"
        if not tree.exists():
            tree.mkdir()
            roots.make_busybox(tree, "mbr", "old")
        words = [w for w in super().command_line() if not w.startswith(("root=", "rootfstype="))]
        return [*words, "root=hostfs", "rootfstype=hostfs", f"rootflags={tree}"]


def add(lab, name):
    keys = {"kind": "busybox", "layout": "mbr", "writers": False, **UNFIT[name][0]}
    if name != "network":
        return lab.device(name, **keys)
    lab.devices.append(NetworkRoot(lab, len(lab.devices) + 1, name, **keys))
    return lab.devices[-1]


def main():
    require()
    names = sys.argv[1:] or list(UNFIT)
    with Lab() as lab:
        devices = {name: add(lab, name) for name in names}
        lab.boot_all()
        for name, d in devices.items():
            if UNFIT[name][1]:
                p = d.ssh(UNFIT[name][1])
                check(f"{name}: is unfit now", p.returncode == 0, p.stdout + p.stderr + console_ends([d]))
        boot_ids = {name: d.boot_id() for name, d in devices.items()}
        inventory = lab.inventory(host=lambda d: {
            "mode": "stream", "after": {"host_key": "accept-once"}, **({"port": 2222} if d.name == "container" else {}),
            "services": {"policy": "systemd" if d.kind == "systemd" else "sysv", "stop": ["lab-victim"]}})
        if "container" in devices:
            d = devices["container"]
            with open(lab.home / ".ssh" / "known_hosts", "a") as f:
                f.write(f"[{d.ip}]:2222 {d.host_key()}\n")
        report = lab.dir / "report.json"
        for how in ("--check", "--yes"):
            p = lab.fleetflash("-i", inventory, how, "--report", report, lab.image("busybox", "mbr"))
            print(p.stderr, flush=True)
            check(f"{how}: exit code 1", p.returncode == 1, p.stdout + p.stderr)
            entries = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
            for name in names:
                _, _, words, remedy = UNFIT[name]
                if how == "--check" and name == "no-sysrq":
                    check(f"{how}: {name}: a warning", any(name in line and "no SysRq" in line for line in p.stderr.splitlines()), p.stderr)
                    continue
                error = entries[name]["error"] or {"text": "", "remedy": ""}
                check(f"{how}: {name}: {error['text']} — {error['remedy']}", all(w in error["text"] for w in words)
                      and remedy in error["remedy"] and entries[name]["damage"] == "untouched", str(entries[name]))
        for name, d in devices.items():
            status = "systemctl is-active lab-victim" if d.kind == "systemd" else "/etc/init.d/lab-victim status"
            p = d.ssh(f"touch /written && {status}")
            check(f"{name}: goes on, its service runs", d.boot_id() == boot_ids[name] and d.reboots() == 0
                  and p.returncode == 0, p.stdout + p.stderr)


if __name__ == "__main__":
    main()
