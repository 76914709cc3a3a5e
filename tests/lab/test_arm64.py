#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The arm64 agent flashes the root disks of real arm64 kernels, emulated by qemu: one command, one device
in stage and one in stream mode, both being written to all the time by processes that come back when killed."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import arm64
from check import check, check_flashed, console_ends, outcomes
from lab import Lab, require

WRITERS = "append,pwrite,mmap,churn,fat,walk"


def main():
    require()
    if reason := arm64.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    with Lab() as lab:
        common = {"kind": "arm64", "respawn": True, "swap": 4}
        modes = {lab.device("stage", layout="mbr-boot", writers=WRITERS, **common): "stage",
                 # What takes most of the memory leaves no room for staging.
                 lab.device("stream", layout="gpt-boot", mem="128M", writers=f"{WRITERS},hog", **common): "stream"}
        lab.boot_all()
        before = {d.name: d.boot_id() for d in modes}
        for d in modes:
            check(f"{d.name} runs the old image on arm64", d.image_version() == "old" and
                  d.ssh("uname -m").stdout.strip() == "aarch64")
        image, packed = arm64.raw("mbr-boot", "new"), arm64.packed("mbr-boot", "new")
        inventory = lab.inventory(host=lambda d: {
            "mode": modes[d], "services": {"policy": "sysv", "stop": ["lab-victim"]}})
        report = lab.dir / "report.json"
        p = lab.fleetflash("-i", inventory, "--yes", "--report", report, packed)
        print(p.stderr, flush=True)
        check("exit code 0", p.returncode == 0, p.stdout[-4000:] + console_ends(lab.devices))
        check("every outcome is flashed", set(outcomes(report).values()) == {"flashed"}, report.read_text())
        targets = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
        for d, mode in modes.items():
            t = targets[d.name]
            check(f"{d.name}: flashed in {t['mode']} mode, as asked", t["mode"] == mode)
            check(f"{d.name}: one reboot, and a new boot id", d.reboots() == 1 and d.boot_id() != before[d.name])
            check(f"{d.name}: the console tells of it", "fleetflash:" in d.console_text(), d.console_text()[-2000:])
        check_flashed(lab.devices, image)


if __name__ == "__main__":
    main()
