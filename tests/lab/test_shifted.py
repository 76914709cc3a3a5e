#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boards with `recovery: netboot` whose boot loader is in the first partition of the very disk that is flashed: a live
flash leaves it and the partition table as they are, byte for byte, and puts the image behind it. What does not go together
is refused beforehand: a disk without a boot loader in front, images that do not fit behind it. (A real U-Boot behind which
a board is flashed live: test_recovery.py. A disk with other sectors: test_sectors.py. A board that does it itself: test_local.py.)

    test_shifted.py [NAME...]    only these devices; "long": all, roots on other stacks as well"""

import json
import os
import signal
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import images
from cache import run
from check import check, console_ends, outcomes
from device import Device
from lab import Lab, require
from test_reflash import readonly_image
from test_resume import Flasher
from volumes import VolumeDevice, packed as packed_volume, raw as raw_volume

MIB = 1 << 20
LOADER = 4, 16  # MiB: where the boot loader's partition begins, its size
SHIFT = sum(LOADER) - 1  # MiB: the lab's images begin at their first one
BEHIND = 4  # MiB: a partition that the image does not know, at the disk's end


class Shifted:
    """A device whose disk holds a boot loader's partition, and the partitions of an image behind it. The last of these is a bit
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
        self.fill_last(disk, end * MIB)
        return disk

    def fill_last(self, disk, place):
        run("mke2fs", "-q", "-t", "ext4", "-L", "mine", f"-Eoffset={place}", disk, f"{BEHIND}M")

    def command_line(self):
        return [word.replace("/dev/ubda2", "/dev/ubda3") if word.startswith(("root=", "ff.root=")) else word
                for word in super().command_line()]


class ShiftedDevice(Shifted, Device):
    """Its root is on a partition, or on one of the stacks that the kernel's own means make."""


class ShiftedVolume(Shifted, VolumeDevice):
    """Its root is on a volume as LVM or LUKS make it. What the image does not know looks like a piece of one."""

    def fill_last(self, disk, place):
        with open(disk, "r+b") as f:
            f.seek(place + 512)
            f.write(b"LABELONE" + bytes(16) + b"LVM2 001")


def shifted(lab, name, kind="busybox", **kw):
    volume = kw.get("stack") in ("lvm", "luks")
    d = (ShiftedVolume if volume else ShiftedDevice)(lab, len(lab.devices) + 1, name, kind=kind, layout="mbr-boot", **{
        "writers": "append,pwrite,mmap,churn", **kw})
    lab.devices.append(d)
    return d


def content(disk, start, size):
    with open(disk, "rb") as f:
        f.seek(start)
        return f.read(size)


def inventory(lab, devices, mode, **more):
    keys = {"mode": mode, "reset": {"command": "true"}, "recovery": "netboot",
            "netboot": {"layout": "shifted", "disk": "virtio 0"}, **more}
    return lab.inventory(devices, name=f"{mode}.yaml", host=lambda d: {
        "mac": d.mac, **{key: value for key, value in keys.items() if value is not None}})


def plan_of(p):
    return " ".join(p.stderr.split())


def variant(lab, name, longer=0, parts=None):
    """The image made longer, in MiB, with other partitions: (start, size) in bytes."""
    image = lab.dir / f"{name}.img"
    run("cp", "--sparse=always", lab.raw_image("busybox", "mbr-boot"), image)
    run("truncate", "-s", f"+{longer}M", image)
    if parts:
        lines = ["label: dos", *(f"start={start // 512}, size={size // 512}, type=83" for start, size in parts)]
        subprocess.run(["sfdisk", "-q", "-W", "never", image], input="\n".join(lines), text=True, check=True, stdout=subprocess.DEVNULL)
    return image


def misfits(lab):
    """(image, words of the reason, words of the remedy) of those that cannot be put behind the boot loader of a board."""
    image = lab.raw_image("busybox", "mbr-boot")
    (first, small), (second, size) = images.partitions(image)
    end = second + size
    netboot, disk = "flash it once with mode: netboot", "layout: disk"
    return [
        (lab.raw_image("busybox", "gpt-boot"), "the image cannot be put behind the boot loader's partition: it has no MBR", disk),
        (variant(lab, "four", 4, [(first, small), (second, size), (end, MIB), (end + MIB, MIB)]), "it does not have one to three partitions", disk),
        (variant(lab, "odd", 0, [(first + 512, small - 512), (second, size)]), "is no whole number of 128 KiB", "whole MiB"),
        (variant(lab, "elsewhere", 0, [(first, small), (second + MIB, size - MIB)]),
         f"/dev/ubda3 begins at byte {second + SHIFT * MIB}, but behind the boot loader the image's partition 2 begins at byte {second + (SHIFT + 1) * MIB}", netboot),
        (variant(lab, "larger", 2, [(first, small), (second, size + 2 * MIB)]),
         f"/dev/ubda3 has {size + MIB} bytes, the image's partition 2 has {size + 2 * MIB}", netboot),
        (variant(lab, "third", 4, [(first, small), (second, size), (end, MIB)]), "/dev/ubda4 begins at byte", netboot),
        (variant(lab, "longer", 3), "/dev/ubda4 lies where the image goes", netboot),
        (variant(lab, "huge", 8), "is larger than what /dev/ubda has behind its boot loader", "smaller image or a larger disk"),
    ]


SHORT = ["busybox-gpt-boot-ext4-new", "larger", "longer", "huge"]  # the others in the long form alone


def state_of(d):
    """What changes when somebody touches the device: its system, its service, and all of the disk that the system does not write to."""
    victim = d.ssh("cat /run/lab-victim.pid").stdout
    with open(d.disk, "rb") as f:
        root, size = images.partitions(d.disk)[2]
        return d.boot_id(), victim, d.reboots(), f.read(root), f.seek(root + size) and f.read()


def all_misfits(lab, d, most):
    """Each is refused, by --check too, and the device does not notice."""
    report, before = lab.dir / "misfit.json", state_of(d)
    for image, reason, remedy in misfits(lab):
        for how in ("--check", "--yes") if most else ("--yes",) if image.stem in SHORT else ():
            p = lab.fleetflash("-i", inventory(lab, [d], "auto", services={"policy": "sysv", "stop": ["lab-victim"]}),
                               how, "--report", report, image)
            target, = json.loads(report.read_text())["targets"]
            error = target["error"] or {"text": "", "remedy": ""}
            check(f"{how}, {image.name}: {error['text']} — {error['remedy']}", p.returncode == 1 and reason in error["text"] and
                  remedy in error["remedy"] and f"{d.name}: " in p.stderr and target["damage"] == "untouched" and
                  target["bytes_written"] == 0, p.stderr)
    after = state_of(d)
    check(f"{d.name}: runs on untouched, its service too", before == after, f"{before[:3]} {after[:3]}")


def changed_table(lab, d, packed):
    """Somebody has made the third partition longer on the disk; the kernel has it as it was. (So do some images at their first boot.)"""
    before = state_of(d)
    change = f"dd of=/dev/ubda bs=1 seek={446 + 2 * 16 + 12} conv=notrunc; sync"
    d.ssh(f"printf '\\002' | {change}")
    check("another table is on the disk", state_of(d)[3] != before[3])
    for how in ("--check", "--yes"):
        p = lab.fleetflash("-i", inventory(lab, [d], "stream"), how, packed)
        check(f"{how}: refused", p.returncode == 1 and "the partition table of /dev/ubda was changed" in plan_of(p) and
              "reboot the device" in plan_of(p), p.stderr)
    d.ssh(f"printf '\\000' | {change}")
    check(f"{d.name}: runs on untouched", state_of(d) == before)


# name: (keys of Lab.device(), words of the reason). Their disks have no boot loader in front.
BARE = {"bare": ({"layout": "mbr-boot"}, "its first partition is no FAT file system with boot.scr"),
        "gpt": ({"layout": "gpt-boot"}, "it has no MBR")}


def refused(lab, good, packed):
    """Those whose disk would lose its boot loader, or has none."""
    bare = {name: next(d for d in lab.devices if d.name == name) for name in BARE}
    before = {name: (d.boot_id(), d.ssh("cat /run/lab-victim.pid").stdout) for name, d in bare.items()}
    p = lab.fleetflash("-i", inventory(lab, [*bare.values(), good], "auto"), "--check", packed)
    check("--check: 1, two have no boot loader in front, and what to do is said", p.returncode == 1 and
          all(word in plan_of(p) for _, word in BARE.values()) and
          plan_of(p).count("has no boot loader in front") == 6 and plan_of(p).count("layout: disk") == 6, p.stderr)
    check("what the other one keeps is said", "keeps /dev/ubda1 16.0 MiB vfat LOADER on /boot (boot loader) "
          "/dev/ubda4 4.0 MiB ext4 mine the partition table" in plan_of(p) and "erases /dev/ubda2" in plan_of(p), p.stderr)
    check("and that the image's /etc/fstab does not fit there", plan_of(p).count("/etc/fstab names /dev/ubda1") == 3, p.stderr)
    p = lab.fleetflash("-i", inventory(lab, [good], "auto", netboot={"layout": "disk", "disk": "virtio 0"}, reset=None), "--check", packed)
    check("a boot loader that is said to be elsewhere, and seems to be here: a warning; and another without a reset", p.returncode == 0 and
          "/dev/ubda1 has boot.scr and is erased" in plan_of(p) and "recovery: netboot follows by itself only where a `reset` is given" in plan_of(p), p.stderr)
    p = lab.fleetflash("-i", inventory(lab, list(bare.values()), "stream", services={"policy": "sysv", "stop": ["lab-victim"]}), "--yes", packed)
    check("nor are they flashed", p.returncode == 1 and plan_of(p).count("has no boot loader in front") == 4, p.stderr)
    for name, d in bare.items():
        check(f"{name}: runs on untouched, its service too", before[name] == (d.boot_id(), d.ssh("cat /run/lab-victim.pid").stdout) and
              d.reboots() == 0 and d.image_version() == "old", p.stderr + console_ends([d]))


# name of a stack: what is said of the last partition, which stays
STAYS = {"overlay": "the root file system is an overlay: changes that it keeps on /dev/ubda4 would lie over the new system",
         "lvm": "/dev/ubda4 stays, but if it is a piece of the volume group that is erased, what is on it is lost"}


def stays(lab, d, packed):
    p = lab.fleetflash("-i", inventory(lab, [d], "auto"), "--check", packed)
    check(f"{d.name}: a warning of what stays", p.returncode == 0 and STAYS[d.stack] in plan_of(p), p.stderr)


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
    if d.stack == "overlay":  # its changes were written to it until the fence
        problems = d.fsck(after)
        check(f"{d.name}: what the image does not know was in use, and is in order", not problems and
              content(before, end, 1 << 30) != content(after, end, 1 << 30), "\n".join(problems))
    else:
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


def unchanged(lab, d, image):
    """Nothing was written to it since: block for block it is the image behind a boot loader, though not at the same place."""
    report, before = lab.dir / "unchanged.json", state_of(d)
    where = inventory(lab, [d], "auto")
    lab.known_hosts([d], "new")
    p = lab.fleetflash("-i", where, "--yes", "-v", "--report", report, image)
    target, = json.loads(report.read_text())["targets"]
    check(f"{d.name}: the same image once more: unchanged, nothing written", p.returncode == 0 and target["outcome"] == "unchanged" and
          target["bytes_written"] == 0 and state_of(d) == before, p.stderr)


def interrupted(lab, d, packed):
    """^C while blocks are staged: nothing was touched."""
    before = state_of(d)
    d.limit_rate("2mbit")
    flasher = Flasher(lab, "-i", inventory(lab, [d], "stage"), "--yes", packed)
    came = flasher.wait_for("compare")
    flasher.process.send_signal(signal.SIGINT)
    code = flasher.finish()
    d.limit_rate(None)
    check("^C before the commit: 130, and the device runs on untouched", came and code == 130 and state_of(d) == before,
          f"{code}\n{flasher.told()}")


def deserted(lab, d, packed, image):
    """The controller is gone when all is written: who goes on has sent nothing of what could prove the new system."""
    report = lab.dir / "deserted.json"
    flasher = Flasher(lab, "-i", inventory(lab, [d], "stream"), "--yes", packed)
    came = flasher.wait_for("boot")
    flasher.kill()
    check("the controller is killed when the device reboots", came, flasher.told())
    p = lab.fleetflash("--resume", "--yes", "-v", "--report", report)
    check("--resume: exit code 0", p.returncode == 0, p.stderr + console_ends([d]))
    check_flashed(d, image)
    target, = json.loads(report.read_text())["targets"]
    check(f"{d.name}: proven by blocks: {target['proof']}", "sampled blocks" in target["proof"], json.dumps(target))


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


# name: (what is done with it, its mode, keys of Lab.device())
DEVICES = {
    "staged": ("misfits kept", "stage", {"mem": "128M"}),
    "lvm": ("deserted", "stream", {"stack": "lvm"}),
    "killed": ("killed", "stream", {}),
    "still": ("unchanged", "stage", {"mem": "128M", "writers": False, "append": "ro"}),
    "overlay": ("", "stage", {"stack": "overlay", "mem": "128M"}),
    "crypt": ("", "stage", {"stack": "dm-crypt"}),
}
LONG = ["still", "overlay", "crypt"]


def main():
    require()
    wanted = sys.argv[1:]
    names = [n for n in DEVICES if (n in wanted if wanted and wanted != ["long"] else n not in LONG or wanted == ["long"])]
    with Lab() as lab:
        devices = {name: shifted(lab, name, **DEVICES[name][2]) for name in names}
        if "staged" in names:
            for name, (keys, _) in BARE.items():
                lab.device(name, kind="busybox", **keys)
        lab.boot_all()
        for name, d in devices.items():
            what, mode, _ = DEVICES[name]
            packed, image = ((packed_volume("lvm"), raw_volume("lvm")) if d.stack == "lvm" else
                             (lab.image("busybox", "mbr-boot"), lab.raw_image("busybox", "mbr-boot")))
            if "unchanged" in what:
                packed = image = readonly_image(lab, "mbr-boot")
            if d.stack in STAYS:
                stays(lab, d, packed)
            if "misfits" in what:
                refused(lab, d, packed)
                all_misfits(lab, d, "long" in wanted)
                changed_table(lab, d, packed)
            if "killed" in what:
                interrupted(lab, d, packed)
                killed(lab, d, packed, image)
            elif "deserted" in what:
                deserted(lab, d, packed, image)
            else:
                flash(lab, d, mode, packed, image)
            if "kept" in what:
                kept(lab, d, packed)
            if "unchanged" in what:
                unchanged(lab, d, packed)


if __name__ == "__main__":
    main()
