#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small virtual fleet is flashed live on the terminal; then what happened to each disk is shown."""

import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import same_as_image
import images
from lab import Lab, require

FLEET = [  # name, kind, partition layout, mode
    ("pi-1", "systemd", "mbr-boot", "stream"),
    ("pi-2", "systemd", "gpt-boot", "auto"),
    ("node-1", "busybox", "mbr-boot", "stage"),
    ("node-2", "busybox", "gpt-boot", "stage"),
    ("node-3", "busybox", "mbr-boot", "stream"),
    ("node-4", "busybox", "gpt-boot", "stream"),
]
SERVICES = {
    "systemd": {"policy": "systemd", "stop": ["lab-victim.service"]},
    "busybox": {"policy": "sysv", "stop": ["lab-victim"]},
}


def keys(device, mode):
    """What a host of the demo's inventory says."""
    return {"mode": mode, "services": SERVICES[device.kind]}


def show(device, image):
    """One line about a device after the flash."""
    same = bool(device.snapshots) and same_as_image(device.snapshots[0], image)
    return (f"  {device.name:8} was {device.kind:8} {device.before:4} now runs "
            f"{device.image_version() or '?':5} disk at the reboot: "
            f"{'identical to the image' if same else 'DIFFERS FROM THE IMAGE'}"), same


def main():
    require()
    print("== a fleet of virtual boards (user-mode Linux: real kernels, disks, ssh servers)", flush=True)
    image = images.packed("busybox", "mbr-boot", "new", "xz")
    raw = images.raw("busybox", "mbr-boot", "new")
    with Lab() as lab:
        modes = {}
        for name, kind, layout, mode in FLEET:
            device = lab.device(name, kind=kind, layout=layout, mem="320M" if kind == "systemd" else "128M")
            modes[name] = mode
        lab.boot_all()
        for device in lab.devices:
            device.before = device.image_version()
        fingerprint = lab.devices[-1].host_key_fingerprint("new")  # the new image's own key
        inventory = lab.inventory(host=lambda d: {**keys(d, modes[d.name]),
                                                  "after": {"host_key": fingerprint}})
        print("   each runs a process that never stops writing to the disk that will be overwritten\n")
        argv = lab.fleetflash_argv("-i", inventory, image, *([] if "--ask" in sys.argv else ["--yes"]))
        print("$ fleetflash -i", inventory, image, *argv[-1:], "\n", flush=True)
        code = subprocess.run(lab.command(argv), env=lab.environment()).returncode
        print(f"\n== exit code {code}; what the boards say now", flush=True)
        good = code == 0
        for device in lab.devices:
            line, same = show(device, raw)
            good &= same and device.image_version() == "new"
            print(line, flush=True)
        print("\nAll boards run the new image." if good else "\nSomething went wrong, see above.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
