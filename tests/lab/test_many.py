#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Flash after flash: the same devices again and again, from the old to the new image and back, in both modes
and on both kinds of partition tables, under every kind of writer. No device is lost, and no byte differs.

    test_many.py [ROUNDS]     default: 4 rounds of 5 devices"""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, check_flashed, console_ends, first_difference, same_as_image
from lab import Lab, require

WRITERS = "append,pwrite,mmap,churn,fat,walk"
KEYS = {"kind": "busybox", "respawn": True, "swap": 4}
DEVICES = {
    "one": {"layout": "mbr-boot", "mem": "128M", "writers": WRITERS},
    "two": {"layout": "gpt-boot", "mem": "128M", "writers": WRITERS},
    # What takes most of the memory makes the swap be used.
    "three": {"layout": "mbr-boot", "mem": "160M", "writers": f"{WRITERS},hog"},
    "four": {"layout": "gpt-boot", "mem": "160M", "writers": f"{WRITERS},hog"},
    "five": {"layout": "mbr-boot", "mem": "128M", "writers": "append,append,pwrite,pwrite,mmap,mmap,churn,fat,walk"},
}


def mode_of(device, count):
    """Each device has its turn in either mode with either image; a hog leaves nothing to stage in."""
    return "stream" if "hog" in device.writers or (device.index + count // 2) % 2 else "stage"


def at_work(device):
    """Waits until every writer of a device runs: a flash of an idle system proves little."""
    wanted = {f"w-{mode}" for mode in device.writers.split(",")}
    running = ""
    for _ in range(60):
        running = device.ssh("cat /proc/[0-9]*/comm").stdout
        if wanted <= set(running.split()):
            return True
        time.sleep(1)
    print(f"{device.name}: {running}", flush=True)
    return False


def main():
    require()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    with Lab() as lab:
        for name, keys in DEVICES.items():
            lab.device(name, **KEYS, **keys)
        lab.boot_all()
        report = lab.dir / "report.json"
        flashes = {"stage": 0, "stream": 0}
        for count in range(rounds):
            old, new = ("old", "new") if count % 2 == 0 else ("new", "old")
            layout = ("mbr-boot", "gpt-boot")[count // 2 % 2]
            what = f"round {count + 1}: {old} → {new} {layout}"
            # Known by the host key of the image that runs.
            inventory = lab.inventory(after=new, host=lambda d: {
                "mode": mode_of(d, count), "retries": 2, "reboot_timeout": "5m",
                "services": {"policy": "sysv", "stop": ["lab-victim"]}})
            lab.known_hosts(version=old)
            check(f"{what}: all writers are at work", all(lab.each(at_work)))
            p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report,
                               lab.image("busybox", layout, new))
            if p.returncode:
                print(p.stderr, flush=True)
            check(f"{what}: exit code 0", p.returncode == 0, console_ends(lab.devices))
            raw = lab.raw_image("busybox", layout, new)
            for t in json.loads(report.read_text())["targets"]:
                d = next(d for d in lab.devices if d.name == t["name"])
                check(f"{what}: {d.name} flashed in {t['mode']} mode, {t['bytes_written'] >> 20} MiB written",
                      t["outcome"] == "flashed" and d.reboots() == count + 1 and same_as_image(d.snapshots[-1], raw),
                      first_difference(d.snapshots[-1], raw))
                flashes[t["mode"]] += 1
            if count + 1 < rounds:  # they are large
                for d in lab.devices:
                    os.truncate(d.snapshots[-1], 0)
        check(f"{sum(flashes.values())} flashes in a row: {flashes}, none lost", True)
        check_flashed(lab.devices, raw, new)


if __name__ == "__main__":
    main()
