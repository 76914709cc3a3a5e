#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the lab's less common devices boot: other file systems, layered roots, odd images."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lab import Lab, require
from test_lab import check

ROOTS = {"xfs": {"fs": "xfs"}, "btrfs": {"fs": "btrfs"}, "f2fs": {"fs": "f2fs"},
         "overlay": {"stack": "overlay", "layout": "gpt", "data": 16},
         "linear": {"stack": "dm-linear", "layout": "gpt-boot"},
         "crypt": {"stack": "dm-crypt"},
         "busy": {"layout": "mbr-boot", "writers": "append,pwrite,mmap,churn,fat,walk,hog",
                  "respawn": True, "swap": 4, "mem": "80M"},
         "guarded": {"watchdog": 6}}


def main():
    require()
    with Lab() as lab:
        by_name = {name: lab.device(name, kind="busybox", **kw) for name, kw in ROOTS.items()}
        first = lab.device("first", version="firstboot", layout="mbr-boot")
        lab.boot_all()
        for name, d in by_name.items():
            mounts = [line.split() for line in d.ssh("cat /proc/mounts").stdout.splitlines()]
            root = next(m for m in mounts if m[1] == "/" and m[0] != "rootfs")
            check(f"{name} is up", d.image_version() == "old", " ".join(root))
            wanted = ROOTS[name].get("fs") or ("overlay" if name == "overlay" else "ext4")
            check(f"{name}: the root is {wanted}", root[2] == wanted)
            problems = d.fsck(lab.raw_image("busybox", d.layout, "old", d.fs))
            check(f"{name}: its image is clean", not problems, "\n".join(problems))
        check("swap is in use", "/var/lab-swap" in by_name["busy"].ssh("cat /proc/swaps").stdout)
        modes = by_name["busy"].ssh("ps").stdout
        check("all writers run", all(f"w-{m}" in modes for m in "append pwrite mmap churn fat walk".split()))
        key = first.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
        check("firstboot has a host key of its own", key and not key.startswith(first.host_key("new")))
        guarded = by_name["guarded"]
        guarded.ssh("killall -STOP watchdog")
        guarded.wait_reboot(1, 60)
        check("a watchdog that is not fed resets the device", True)
        broken = lab.device("broken", kind="busybox", version="broken").boot()
        broken.wait_off(60)
        check("a broken image panics and ends", "Kernel panic" in broken.console_text())


if __name__ == "__main__":
    main()
