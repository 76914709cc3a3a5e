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
from check import check, outcomes
from lab import Lab, require

# Fetches part after part until there is none, and says what it wrote. U-Boot counts in hexadecimal.
SCRIPT = """setenv part 0; setenv sector 0; setenv total 0; \
while tftpboot {load} {mac}/rpi_image_part_$part; do \
setexpr blocks $filesize / 200; virtio write {load} $sector $blocks; \
setexpr sector $sector + $blocks; setexpr total $total + $filesize; setexpr part $part + 1; done; \
if test $total != 0; then tftpboot {load} {mac}/report/OK-0x$total; fi"""


def board(lab, name, **kw):
    index = len(lab.devices) + 1
    mac = f"02:ff:0a:4d:00:{10 + index:02x}"
    return lab.device(name, kind="netboard", script=SCRIPT.format(load=netboard.LOAD, mac=mac), **kw)


def flash_all(lab, boards, image, packed):
    """Boards with nothing on their disks: nobody but their boot loaders can flash them."""
    inventory = lab.inventory(boards, host=lambda d: {
        "mode": "netboot", "mac": d.mac, "reset": {"command": d.reset_command()}, "reboot_timeout": "2m",
        "netboot": {"layout": "disk", "part_size": "24M"}})
    report = lab.dir / "report.json"
    p = lab.fleetflash("-i", inventory, "--check", packed)
    check("--check: 0", p.returncode == 0, p.stdout + p.stderr)
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, packed)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + "".join(f"--- {d.name}\n{d.loader_text()[-6000:]}\n" for d in boards))
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
    d.boot()
    d.wait_ssh(180)
    check(f"{d.name} runs the old image", d.image_version() == "old")
    inventory = lab.inventory([d], name="live.yaml", defaults={"retries": 0, "connect_timeout": "5s"}, host=lambda d: {
        "mode": "stream", "mac": d.mac, "reset": {"command": d.reset_command()}, "recovery": "netboot",
        "netboot": {"layout": "disk", "part_size": "40M"}})
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
        boards = [board(lab, f"board-{n}") for n in (1, 2, 3)]
        for d in boards:
            d.boot()
        flash_all(lab, boards, image, packed)
        for d in boards:
            d.power_cut()
        escalate(lab, board(lab, "live", version="old"), packed)


if __name__ == "__main__":
    main()
