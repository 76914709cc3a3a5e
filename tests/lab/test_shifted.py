#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boards with `recovery: netboot` whose boot loader is in the first partition of the very disk that is flashed: a live
flash leaves it and the partition table as they are, byte for byte, and puts the image behind it. One whose disk has no
boot loader in front is refused beforehand. (A real U-Boot behind which a board is flashed live: test_recovery.py.)"""

import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import images
from cache import run
from check import check, console_ends, outcomes
from device import Device
from lab import Lab, require
from test_resume import Flasher

MIB = 1 << 20
LOADER = 4, 16  # MiB: where the boot loader's partition begins, its size
BEHIND = 4  # MiB: a partition that the image does not know, at the disk's end


class ShiftedDevice(Device):
    """Its disk holds a boot loader's partition, and the partitions of an image behind it. The last of these is a bit
    larger than the image's, and there is one more. What its fstab mounts as /boot is the boot loader's partition: all the
    better."""

    def first_image(self, version):
        image = super().first_image(version)
        disk = self.dir / "first.img"
        parts = images.partitions(image)
        shift = sum(LOADER) - parts[0][0] // MIB
        lines = ["label: dos", "label-id: 0xfeedf00d", f"start={LOADER[0]}MiB, size={LOADER[1]}MiB, type=c"]
        for n, (start, size) in enumerate(parts):
            grown = (n == len(parts) - 1) * MIB
            lines.append(f"start={start // MIB + shift}MiB, size={(size + grown) // MIB}MiB, type={'c' if n == 0 else '83'}")
        end = image.stat().st_size // MIB + shift + 1
        lines.append(f"start={end}MiB, size={BEHIND}MiB, type=83")
        run("truncate", "-s", f"{end + BEHIND}M", disk)
        subprocess.run(["sfdisk", "-q", disk], input="\n".join(lines) + "\n", text=True, check=True, stdout=subprocess.DEVNULL)
        run("dd", f"if={image}", f"of={disk}", "bs=1M", f"skip={parts[0][0] // MIB}", f"seek={sum(LOADER)}", "conv=notrunc,sparse")
        loader, script = self.dir / "loader.fs", self.dir / "boot.scr"
        run("truncate", "-s", f"{LOADER[1]}M", loader)
        run("mkfs.vfat", "-n", "LOADER", loader)
        script.write_text("a boot script\n" * 1000)
        run("mcopy", "-i", loader, script, "::boot.scr")
        images.put(loader, disk, LOADER[0])
        run("mke2fs", "-q", "-t", "ext4", "-L", "mine", f"-Eoffset={end * MIB}", disk, f"{BEHIND}M")
        return disk

    def command_line(self):
        return ["root=/dev/ubda3" if word.startswith("root=") else word for word in super().command_line()]


def shifted(lab, name, **kw):
    d = ShiftedDevice(lab, len(lab.devices) + 1, name, kind="busybox", layout="mbr-boot", writers="append,pwrite,mmap,churn", **kw)
    lab.devices.append(d)
    return d


def content(disk, start, size):
    with open(disk, "rb") as f:
        f.seek(start)
        return f.read(size)


def inventory(lab, devices, mode, **more):
    return lab.inventory(devices, name=f"{mode}.yaml", host=lambda d: {
        "mode": mode, "mac": d.mac, "reset": {"command": "true"}, "recovery": "netboot",
        "netboot": {"layout": "shifted", "disk": "virtio 0"}, **more})


def plan_of(p):
    return " ".join(p.stderr.split())


def refused(lab, bare, good, image):
    """The one whose disk would lose its boot loader, or has none."""
    before = bare.boot_id()
    p = lab.fleetflash("-i", inventory(lab, [bare, good], "auto"), "--check", image)
    check("--check: 1, one has no boot loader in front, and what to do is said", p.returncode == 1 and
          "bare" in p.stderr and "has no boot loader in front" in plan_of(p) and "layout: disk" in plan_of(p), p.stderr)
    check("what the other one keeps is said", "keeps /dev/ubda1 16.0 MiB vfat LOADER on /boot (boot loader) "
          "/dev/ubda4 4.0 MiB ext4 mine the partition table" in plan_of(p) and "erases /dev/ubda2" in plan_of(p), p.stderr)
    check("and that the image's /etc/fstab does not fit there", plan_of(p).count("/etc/fstab names /dev/ubda1") == 2, p.stderr)
    p = lab.fleetflash("-i", inventory(lab, [good], "auto", netboot={"layout": "disk", "disk": "virtio 0"}), "--check", image)
    check("a boot loader that is said to be elsewhere, and seems to be here: a warning", p.returncode == 0 and
          "/dev/ubda1 has boot.scr and is erased" in plan_of(p), p.stderr)
    p = lab.fleetflash("-i", inventory(lab, [bare], "stream"), "--yes", image)
    check("nor is it flashed", p.returncode == 1 and "has no boot loader in front" in plan_of(p) and
          bare.boot_id() == before and bare.image_version() == "old", p.stderr)


def check_flashed(d, image):
    parts = images.partitions(image)
    first, size = parts[0][0], image.stat().st_size
    before, after = d.dir / "first.img", d.snapshots[-1]
    start = sum(LOADER) * MIB
    end = start + size - first
    check(f"{d.name} runs the new image", d.image_version() == "new", d.console_text()[-2000:])
    check(f"{d.name}: table and boot loader are bit for bit what they were",
          content(before, 0, start) == content(after, 0, start), run("sfdisk", "-l", after))
    check(f"{d.name}: behind them is the image", content(after, start, end - start) == content(image, first, size - first))
    check(f"{d.name}: what the image does not know is as it was", content(before, end, 1 << 30) == content(after, end, 1 << 30))


def check_report(report, d, mode, image):
    target, = (t for t in json.loads(report.read_text())["targets"] if t["name"] == d.name)
    most = image.stat().st_size - images.partitions(image)[0][0] + MIB  # the head is zeroed first
    check(f"{d.name}: the report: flashed, {mode}, and proven", target["outcome"] == "flashed" and target["mode"] == mode and
          0 < target["bytes_written"] <= most and "signature" not in target["proof"] and
          ("UUID" in target["proof"] or "sampled" in target["proof"]), json.dumps(target, indent=1))


def flash(lab, d, mode, packed, image):
    report = lab.dir / f"{mode}.json"
    p = lab.fleetflash("-i", inventory(lab, [d], mode), "--yes", "-v", "--report", report, packed)
    check(f"{mode} mode: exit code 0", p.returncode == 0, p.stderr + console_ends([d]))
    check_flashed(d, image)
    check_report(report, d, mode, image)


def kept(lab, d, packed):
    """It was used since; the image is still there, at its place."""
    before, report = d.boot_id(), lab.dir / "kept.json"
    where = inventory(lab, [d], "auto", if_used="keep")
    lab.known_hosts([d], "new")
    p = lab.fleetflash("-i", where, "--yes", "-v", "--report", report, packed)
    check(f"{d.name}: if_used: keep leaves it alone", p.returncode == 0 and outcomes(report) == {d.name: "unchanged"} and
          d.boot_id() == before, p.stderr)


def killed(lab, d, packed, image):
    """The controller is gone in the middle of the write; what it began goes on with --resume."""
    report = lab.dir / "killed.json"
    d.limit_rate("12mbit")
    flasher = Flasher(lab, "-i", inventory(lab, [d], "stream"), "--yes", packed)
    came = flasher.wait_for("head")
    d.wait_until(lambda d: "fleetflash: writing" in d.console_text(), 60)
    flasher.kill()
    d.limit_rate(None)
    check("the controller is killed while it writes", came and d.reboots() == 0, flasher.told())
    p = lab.fleetflash("--resume", "--yes", "-v", "--report", report)
    check("--resume: exit code 0", p.returncode == 0, p.stderr + console_ends([d]))
    check_flashed(d, image)
    check_report(report, d, "stream", image)


def main():
    require()
    with Lab() as lab:
        staged, streamed, cut = (shifted(lab, name, mem=mem) for name, mem in
                                 (("staged", "96M"), ("streamed", None), ("killed", None)))
        bare = lab.device("bare", kind="busybox", layout="mbr-boot")
        lab.boot_all()
        packed, image = lab.image("busybox", "mbr-boot"), lab.raw_image("busybox", "mbr-boot")
        refused(lab, bare, staged, packed)
        flash(lab, staged, "stage", packed, image)
        kept(lab, staged, packed)
        flash(lab, streamed, "stream", packed, image)
        killed(lab, cut, packed, image)


if __name__ == "__main__":
    main()
