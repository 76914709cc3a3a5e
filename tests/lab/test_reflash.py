#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to bring a used device back to the image it was flashed with: the blocks that differ, and of those
only what is not zeros travels. A device that was not written to since is unchanged, and next to nothing is sent.
What the live system changes between the comparison and the fence is found and written as well."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, check_flashed, console_ends
from lab import REPO, Lab, require
from test_fence import agents

BLOCK = 128 << 10  # of the store
HEAD = 1 << 20     # always written anew
RCS = "/etc/init.d/rcS"
# What a read-only appliance does not do.
WRITES = ("mount -o remount,rw /", "mount /boot", "lab-victim", "lab/start writers")


def differing(disk, image):
    """[(offset, whether the image has zeros there)] of the blocks that differ."""
    found = []
    with open(disk, "rb") as a, open(image, "rb") as b:
        for offset in range(0, image.stat().st_size, BLOCK):
            x, y = a.read(BLOCK), b.read(BLOCK)
            if x[:len(y)] != y:
                found.append((offset, not y.strip(b"\0")))
    return found


def readonly_image(lab, layout="mbr"):
    """A small system's image that never writes to its disk."""
    path, script = lab.dir / "readonly.img", lab.dir / "rcS"
    shutil.copy(lab.raw_image("busybox", layout, "new"), path)
    start = json.loads(subprocess.run(["sfdisk", "--json", path], check=True, capture_output=True).stdout)
    place = f"{path}?offset={start['partitiontable']['partitions'][-1]['start'] * 512}"
    text = subprocess.run(["debugfs", "-R", f"cat {RCS}", place], check=True, capture_output=True, text=True).stdout
    script.write_text("".join(line for line in text.splitlines(True) if not any(w in line for w in WRITES)))
    subprocess.run(["debugfs", "-w", "-f", "-", place], check=True, capture_output=True, text=True,
                   input=f"rm {RCS}\nwrite {script} {RCS}\nset_inode_field {RCS} mode 0100755\n")
    return path


def same_blocks(disk, image, filled):
    """Numbers of blocks that disk and image have in common: of zeros, or filled with what no packer makes smaller."""
    found = []
    with open(disk, "rb") as a, open(image, "rb") as b:
        for number in range(image.stat().st_size // BLOCK):
            x, y = a.read(BLOCK), b.read(BLOCK)
            if x == y and (len(zlib.compress(y, 1)) > BLOCK * 0.95 if filled else not y.strip(b"\0")):
                found.append(number)
    return found


def packed_agent():
    """What the agent weighs on the way to a device that has a gunzip."""
    program = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash")
    return len(zlib.compress((program.parent / "agents" / "fleetflash-agent-x86_64").read_bytes(), 9))


class Flashes:
    def __init__(self, lab):
        self.lab, self.count, self.fixed = lab, 0, 0

    def run(self, device, image, runs, env=None):
        """One run; returns the device's part of the report, with `beside`: bytes sent beside the fixed part."""
        self.count += 1
        report = self.lab.dir / f"report-{self.count}.json"
        inventory = self.lab.inventory([device], host=lambda d: {"mode": "stage"})
        self.lab.known_hosts([device], version=runs)
        p = self.lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, image, env=env)
        print(p.stderr, flush=True)
        check("exit code 0", p.returncode == 0, console_ends([device]))
        target = json.loads(report.read_text())["targets"][0]
        target["beside"] = target["bytes_sent"] - self.fixed
        return target


def main():
    require()
    with Lab() as lab:
        used = lab.device("used", kind="busybox", layout="mbr-boot", mem="128M", version="new", writers=False)
        late = lab.device("late", kind="busybox", layout="mbr-boot", mem="128M", version="new", writers=False,
                          append="ff.agent=run-at=remounted")
        still = lab.device("still", kind="busybox", layout="mbr", mem="128M", writers=False, append="ro")
        lab.boot_all()
        flashes = Flashes(lab)
        image = readonly_image(lab)
        first = flashes.run(still, image, "old")
        check(f"still: flashed, {first['bytes_written']} bytes written", first["outcome"] == "flashed", str(first))
        boot_id = still.boot_id()
        t = flashes.run(still, image, "new")
        # The agent, packed, and 36 bytes for each block of the image: what every run sends.
        flashes.fixed = t["bytes_sent"]
        most = packed_agent() * 1.02 + (48 << 20) // BLOCK * 40 + 8192
        check(f"still: unchanged, {t['bytes_sent']} bytes sent (of {first['bytes_sent']}), {t['bytes_written']} written",
              t["outcome"] == "unchanged" and t["bytes_written"] == 0 and t["bytes_sent"] <= most, str(t))
        check("still: it has not rebooted", still.boot_id() == boot_id and still.reboots() == 1)

        used.ssh("/etc/init.d/lab-victim stop; echo used >/root/used; sync; sleep 1; sync")
        image = lab.raw_image("busybox", "mbr-boot", "new")
        found = differing(used.disk, image)
        travel = [offset for offset, zero in found if not zero]
        t = flashes.run(used, image, "new")
        figure = (f"{len(found)} blocks of {BLOCK >> 10} KiB differ, {len(travel)} of them not zeros in the image: "
                  f"{t['bytes_written']} bytes written, {t['beside']} sent beside what every run sends")
        body = sum(offset >= HEAD for offset, _ in found) * BLOCK
        # Logging in and the flash itself may change a few blocks more.
        check(figure, t["outcome"] == "flashed" and body <= t["bytes_written"] <= body + HEAD + 4 * BLOCK
              and t["beside"] <= (len(travel) + 4) * BLOCK, str(t))
        check_flashed([used], image)

        late.ssh("/etc/init.d/lab-victim stop; sync; sleep 1; sync")
        blocks = same_blocks(late.disk, image, True)[:3] + same_blocks(late.disk, image, False)[-3:]
        body = sum(offset >= HEAD for offset, _ in differing(late.disk, image)) * BLOCK
        late.ssh("cat >/dev/shm/intruder && chmod 755 /dev/shm/intruder", stdin="#!/bin/sh\n" + "".join(
            f"dd if=/dev/urandom of=/dev/ubda bs={BLOCK} seek={n} count=1 conv=notrunc\n" for n in blocks) + "sync\n")
        t = flashes.run(late, image, "new", env={"FLEETFLASH_AGENT_PATH": agents(lab)})
        check(f"late: {len(blocks)} blocks changed after the comparison: {t['bytes_written']} bytes written, {t['beside']} sent "
              "beside what every run sends", len(blocks) == 6 and t["outcome"] == "flashed" and t["mode"] == "stage"
              and t["bytes_written"] >= body + len(blocks) * BLOCK and t["beside"] > 3 * BLOCK * 0.9, str(t))
        check_flashed([late], image)


if __name__ == "__main__":
    main()
