#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Roots other than ext4 on a partition: other file systems, an overlay, device mapper, a file system in a
file, swap, a data partition. Each is written to all the time by processes that come back when killed, and
comes out as the image; or it is refused before anything is written, and goes on as before.

The devices take turns, a few at a time.

    test_stacks_flash.py [NAME...]   only these devices; "long": all, those with less to tell as well"""

import concurrent.futures
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from cache import run
from check import check, check_flashed, console_ends
from lab import Lab, require
from volumes import packed as packed_volume, raw as raw_volume

WRITERS = "append,pwrite,mmap,churn,walk"

# name: (mode, keys of Lab.device()). lvm and luks are what the tools of these make; linear and crypt are
# set up by the kernel's means alone. The stack is the device's own, so the image comes up below the same.
FLASHED = {
    "xfs": ("stage", {"fs": "xfs", "layout": "mbr", "mem": "128M"}),
    "f2fs": ("stream", {"fs": "f2fs", "layout": "mbr", "mem": "128M"}),
    "btrfs": ("stage", {"fs": "btrfs", "layout": "mbr", "mem": "128M"}),
    "overlay": ("stage", {"stack": "overlay", "mem": "128M", "data": 16}),  # changes go to the data partition
    "overlay-ram": ("stream", {"stack": "overlay", "mem": "96M"}),          # changes stay in memory
    "lvm": ("stream", {"stack": "lvm", "writers": WRITERS + ",fat"}),
    "luks": ("stage", {"stack": "luks"}),
    "linear": ("stream", {"stack": "dm-linear", "writers": WRITERS + ",fat"}),
    "crypt": ("stage", {"stack": "dm-crypt"}),
    "loop": ("stage", {"mem": "128M"}),
    "swap": ("stream", {"swap": 8, "mem": "128M", "writers": WRITERS + ",fat,hog"}),
    "data": ("stage", {"data": 16, "mem": "128M"}),
    # systemd's; the flash takes longer than it waits.
    "watchdog": ("stream", {"kind": "systemd", "mem": "320M", "watchdog": 10}),
}

# name: (word of the reason, keys)
REFUSED = {
    # A loop device keeps a file of a file system without the shutdown ioctl open: nothing can silence that.
    "btrfs-loop": ("shutdown ioctl", {"fs": "btrfs", "layout": "mbr", "mem": "128M"}),
    # One fed by a program of its own: whether that survives without its disk, nobody knows.
    "watchdog-foreign": ("held by watchdog", {"watchdog": 10}),
}

# Turns: no more than a small machine boots and feeds at once.
BATCHES = [
    ["f2fs", "btrfs", "btrfs-loop", "watchdog", "loop"],
    ["xfs", "lvm", "luks", "watchdog-foreign", "overlay"],
    ["overlay-ram", "linear", "crypt", "swap", "data"],
]
LONG = BATCHES[-1]  # in the long form alone


def inner_disk(lab):
    """A small file system as a file."""
    path = lab.dir / "inner.img"
    run("mke2fs", "-q", "-t", "ext4", path, "4M")
    return path


def write_to(device, mount, where):
    """Mounts something more on the device and has writers there, run from memory."""
    p = device.ssh(f"""set -e
mkdir -p {where}
{mount} {where}
mkdir {where}/lab-writer
cp /usr/lib/lab/writer /dev/shm
cd /
/dev/shm/writer -r append,pwrite,mmap,churn {where}/lab-writer </dev/null >/dev/null 2>&1 &
sleep 2
ls {where}/lab-writer""")
    check(f"{device.name}: writers below {where}", "mmap" in p.stdout.split(), p.stdout + p.stderr)


def mount_inner(device, image):
    device.put(image, "/var/inner.img")
    write_to(device, "modprobe loop; losetup /dev/loop0 /var/inner.img; mount -t ext4 /dev/loop0", "/mnt")


def image_of(lab, device):
    """(the raw image that a device is flashed with, the same packed, a name for it)"""
    if device.stack in ("lvm", "luks"):
        return raw_volume(device.stack), packed_volume(device.stack), device.stack
    return (lab.raw_image("busybox", device.layout, "new", fs=device.fs),
            lab.image("busybox", device.layout, "new", fs=device.fs), f"{device.layout}-{device.fs}")


def flash(lab, inventory, name, image, devices):
    """One run over the devices that take the same image; returns (its process, {name: the report's entry})."""
    report = lab.dir / f"{name}.json"
    argv = lab.fleetflash_argv("-i", inventory, "-l", ",".join(d.name for d in devices), "--yes", "-v",
                               "--report", report, image)
    # These runs go on at the same time and have nothing to do with each other.
    argv[argv.index("--state-dir") + 1] = lab.dir / f"state-{name}"
    p = lab.run(argv, text=True, errors="replace", timeout=1200, stdin=subprocess.DEVNULL, capture_output=True)
    return p, {t["name"]: t for t in json.loads(report.read_text())["targets"]} if report.exists() else {}


def cut_to_image(device, image):
    """Lets the checkers see the image's part of a longer disk alone: sfdisk warns of a backup table that is
    not at the end."""
    check_disk = device.fsck
    def fsck():
        os.truncate(device.disk, image.stat().st_size)
        return check_disk()
    device.fsck = fsck


def prepare(lab, devices):
    """What is mounted, shaped or checked on some devices before they are flashed."""
    if "data" in devices:
        write_to(devices["data"], "mount -t ext4 /dev/ubda3", "/mnt")
    for name in ("loop", "btrfs-loop"):
        if name in devices:
            mount_inner(devices[name], inner_disk(lab))
    if "watchdog" in devices:
        devices["watchdog"].limit_rate("4mbit")
    if "swap" in devices:
        check("swap is in use", "/var/lab-swap" in devices["swap"].ssh("cat /proc/swaps").stdout)


def check_refused(device, entry, word, boot_id):
    """Failed for this reason, and the old system goes on."""
    error = entry.get("error") or {}
    check(f"{device.name}: refused, untouched: {error.get('text')} — {error.get('remedy')}",
          entry.get("outcome") == "failed" and word in error["text"] and entry["damage"] == "untouched",
          f"{entry}\n{console_ends([device])}")
    check(f"{device.name}: what was ended is named, each program once",
          error["text"].count("w-append") == (device.name == "btrfs-loop"), error["text"])
    p = device.ssh("touch /var/writable /mnt/writable && /etc/init.d/lab-victim status")
    check(f"{device.name}: the old system goes on, all is writable, and its service was started again",
          device.boot_id() == boot_id and device.reboots() == 0 and p.returncode == 0, p.stdout + p.stderr)


def run_batch(lab, names):
    devices = {}
    for name in names:
        _, keys = {**FLASHED, **REFUSED}[name]
        keys = {"kind": "busybox", "layout": "gpt-boot", "writers": WRITERS, **keys}
        devices[name] = lab.device(name, respawn=True, **keys)
    groups = {}
    for d in devices.values():
        groups.setdefault(image_of(lab, d), []).append(d)
    for d in devices.values():
        d.boot()
    lab.each(lambda d: d.wait_ssh(), devices.values())
    prepare(lab, devices)
    boot_ids = {name: devices[name].boot_id() for name in names if name in REFUSED}
    new_key = next(d for d in devices.values() if d.kind == "busybox").host_key_fingerprint("new")
    inventory = lab.inventory(list(devices.values()), host=lambda d: {
        "mode": FLASHED.get(d.name, ("stream",))[0], "reboot_timeout": "5m",
        "after": {"host_key": new_key},
        "services": {"policy": "systemd" if d.kind == "systemd" else "sysv", "stop": ["lab-victim"]}})
    entries = {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [pool.submit(flash, lab, inventory, name, packed, group) for (_, packed, name), group in groups.items()]
    for job in jobs:
        p, more = job.result()
        print(p.stderr, flush=True)
        entries.update(more)
    for name in names:
        t = entries.get(name, {})
        if name in REFUSED:
            check_refused(devices[name], t, REFUSED[name][0], boot_ids[name])
        else:
            mode = FLASHED[name][0]
            check(f"{name}: flashed in {mode} mode", t.get("outcome") == "flashed" and t["mode"] == mode,
                  f"{t}\n{console_ends([devices[name]])}")
    for (raw, _, _), group in groups.items():
        for d in group:
            if d.disk.stat().st_size > raw.stat().st_size:
                cut_to_image(d, raw)
        check_flashed([d for d in group if d.name in FLASHED], raw)
    for d in devices.values():
        d.power_cut()


def main():
    require()
    wanted = sys.argv[1:]
    with Lab() as lab:
        for batch in BATCHES:
            names = [n for n in batch if (n in wanted if wanted and wanted != ["long"] else
                                          n not in LONG or wanted == ["long"])]
            if names:
                run_batch(lab, names)


if __name__ == "__main__":
    main()
