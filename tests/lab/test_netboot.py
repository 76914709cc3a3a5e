#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boards with nothing on their disks are flashed by their boot loaders: real U-Boots fetch the image from
the program's TFTP server, write it, report, and boot a Linux kernel from the disk they wrote. A board whose
live flash is cut off in the middle is mended in that way."""

import json
import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import netboard
import tftp
from check import check, outcomes
from lab import Lab, require


def prepare(lab, boards, inventory):
    """Makes the boot script of the boards' inventory and puts it into their flash memories."""
    script = lab.dir / "boot.scr"
    p = netboard.recovery(lab, "script", "-i", inventory, "-o", script)
    check(f"the boot script for {len(boards)} boards", p.returncode == 0 and f"{len(boards)} board" in p.stderr, p.stderr)
    for d in boards:
        d.put_script(script)


def flash_all(lab, boards, image, packed):
    """Boards with nothing on their disks: nobody but their boot loaders can flash them."""
    inventory = lab.inventory(boards, host=lambda d: {
        "mode": "netboot", "mac": d.mac, "reset": {"command": d.reset_command()}, "reboot_timeout": "2m",
        "netboot": {**d.netboot(), "part_size": "24M"}})
    report = lab.dir / "report.json"
    prepare(lab, boards, inventory)
    for d in boards:
        d.boot()
    tftp.lose(lab.network, boards[1].ip, 3)
    p = lab.fleetflash("-i", inventory, "--check", packed)
    check("--check: 0", p.returncode == 0, p.stdout + p.stderr)
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, packed)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + "".join(f"--- {d.name}\n{d.loader_text()[-6000:]}\n" for d in boards))
    check("one of them lost packets", tftp.lost(lab.network) > 0)
    check("every outcome is flashed", set(outcomes(report).values()) == {"flashed"}, report.read_text())
    for t in json.loads(report.read_text())["targets"]:
        check(f"{t['name']}: by netboot, all of it", t["mode"] == "netboot" and
              t["bytes_written"] == image.stat().st_size, json.dumps(t))
    for d in boards:
        check(f"{d.name} runs the new image", d.image_version() == "new", d.loader_text()[-2000:])


def cut_power_while_written(d):
    """Waits until the head of the disk is gone, then takes the power away for a moment."""
    with open(d.disk, "rb", buffering=0) as disk:
        while any(os.pread(disk.fileno(), 512, 0)):
            time.sleep(0.02)
    d.power_cut()
    d.boot()


def escalate(lab, d, packed):
    """A live flash whose board loses its power in the middle of the write: its boot loader mends it."""
    inventory = lab.inventory([d], name="live.yaml", defaults={"retries": 0, "connect_timeout": "5s"}, host=lambda d: {
        "mode": "stream", "mac": d.mac, "reset": {"command": d.reset_command()}, "recovery": "netboot",
        "netboot": {**d.netboot(), "part_size": "40M"}})
    prepare(lab, [d], inventory)
    d.boot()
    d.wait_ssh(180)
    check(f"{d.name} runs the old image", d.image_version() == "old")
    cutter = threading.Thread(target=cut_power_while_written, args=(d,))
    cutter.start()
    report = lab.dir / "live.json"
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, packed)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + d.loader_text()[-6000:])
    cutter.join()
    target, = json.loads(report.read_text())["targets"]
    check("it was mended by its boot loader in the same run", target["outcome"] == "flashed" and
          target["mode"] == "netboot" and "flashed by its boot loader" in p.stderr and
          target.get("bytes_skipped", 0) == 0, json.dumps(target))
    check(f"{d.name} runs the new image", d.image_version() == "new", d.loader_text()[-2000:])


def main():
    require()
    if reason := netboard.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    with Lab() as lab:
        image, packed = netboard.raw("new"), netboard.packed("new")
        boards = [lab.device(f"board-{n}", kind="netboard") for n in (1, 2, 3)]
        flash_all(lab, boards, image, packed)
        for d in boards:
            d.power_cut()
        escalate(lab, lab.device("live", kind="netboard", version="old"), packed)


if __name__ == "__main__":
    main()
