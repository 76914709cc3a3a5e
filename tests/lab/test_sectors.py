#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A disk with logical sectors of 4096 bytes, under a real arm64 kernel: an image whose partition table counts in
512 bytes is refused before anything happens, and so is one that would go behind a boot loader; one that is made for such
disks is flashed, and boots. The disk is named by its serial number."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import arm64
from check import check, console_ends, first_difference, same_as_image
from lab import Lab, require


def main():
    require()
    if reason := arm64.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    with Lab() as lab:
        d = lab.device("large", kind="arm64", layout="gpt-4k")
        lab.boot_all()
        boot_id = d.boot_id()
        sectors = d.ssh("cat /sys/block/vda/queue/logical_block_size").stdout.strip()
        check("its disk has logical sectors of 4096 bytes", sectors == "4096", sectors)
        report = lab.dir / "report.json"
        for device, word in (("serial:nobody", "0 disks have the serial 'nobody'"), ("serial:large", "")):
            inventory = lab.inventory(host=lambda d: {
                "device": device, "mode": "stream", "services": {"policy": "sysv", "stop": ["lab-victim"]}})
            for layout in ("gpt-boot", "mbr-boot"):
                for how in ("--check", "--yes"):
                    if word and (how == "--yes" or layout == "mbr-boot"):
                        continue
                    p = lab.fleetflash("-i", inventory, how, "--report", report, arm64.packed(layout))
                    error = json.loads(report.read_text())["targets"][0]["error"] or {"text": "", "remedy": ""}
                    check(f"{how}, {device}, {layout}: {error['text']} — {error['remedy']}", p.returncode == 1
                          and (word or "logical sectors of 4096 bytes") in error["text"] and error["remedy"], p.stderr)
        behind = lab.inventory(name="behind.yaml", host=lambda d: {
            "recovery": "netboot", "mac": d.mac, "netboot": {"layout": "shifted"}, "reset": {"command": "true"},
            "services": {"policy": "sysv", "stop": ["lab-victim"]}})
        for how in ("--check", "--yes"):
            p = lab.fleetflash("-i", behind, how, "--report", report, arm64.packed("gpt-4k"))
            error = json.loads(report.read_text())["targets"][0]["error"] or {"text": "", "remedy": ""}
            check(f"{how}, behind a boot loader: {error['text']} — {error['remedy']}", p.returncode == 1 and
                  "logical sectors of 4096 bytes: nothing is put behind a boot loader" in error["text"] and error["remedy"], p.stderr)
        victim = d.ssh("/etc/init.d/lab-victim status")
        check("the old system goes on, its service runs", d.boot_id() == boot_id and d.reboots() == 0
              and victim.returncode == 0, victim.stdout)
        p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, arm64.packed("gpt-4k"))
        print(p.stderr, flush=True)
        check("an image made for 4096-byte sectors is flashed", p.returncode == 0, p.stdout + console_ends([d]))
        check("it boots", d.image_version() == "new" and d.boot_id() != boot_id, d.console_text()[-2000:])
        image = arm64.raw("gpt-4k")
        check("its disk at the reboot is the image, byte for byte", same_as_image(d.snapshots[-1], image),
              first_difference(d.snapshots[-1], image))


if __name__ == "__main__":
    main()
