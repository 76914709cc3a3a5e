#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A board whose only disk is an SD card made by `fleetflash recovery image`: its U-Boot runs the script from there,
is flashed behind its own partition, and boots the image's Linux by the
image's own cmdline.txt. Then it is flashed live into the same place, behind its U-Boot, which boots the new system.

    sudo tests/lab/test_recovery.py long    # and once more: it loses its power in the middle, and is mended by that U-Boot
"""

import json
import os
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import arm64
import cache
import images
import netboard
from cache import run
from check import check, outcomes
from lab import Lab, require

CARD = 4 << 20, 128 << 20  # where the boot loader's partition is on the card


def make_image(lab, board, version="new"):
    """An image as those of Raspberry Pis are: kernel and command line in a FAT partition."""
    def make(part):
        images.make_image(part, "netboard-pi", "mbr-boot", version, "ext4", images.SIZE["netboard-pi"])
    image = lab.dir / f"pi-{version}.img"
    run("cp", "--sparse=always", cache.made(netboard.recipe_path(f"pi-{version}.img"), make), image)
    start, _ = images.partitions(image)[0]
    words = ["console=ttyAMA0", "loglevel=6", "root=PARTUUID=deadbeef-02", "ff.root=/dev/vda3", "ff.fs=ext4", "ff.stack=plain",
             f"ff.ip={board.ip}/24", f"ff.host={board.name}"]
    line = lab.dir / "cmdline.txt"
    line.write_text(" ".join(words) + "\n")
    for source, name in ((next((arm64.packages() / "boot").glob("vmlinuz-*")), "kernel8.img"),
                         (arm64.initramfs(), "initramfs8"), (line, "cmdline.txt")):
        run("mcopy", "-o", "-i", f"{image}@@{start}", source, f"::{name}")
    return image


def content(disk, start, size):
    with open(disk, "rb") as f:
        f.seek(start)
        return f.read(size)


def make_card(lab, board, inventory):
    card = lab.dir / "card.img"
    firmware = lab.dir / "firmware"
    (firmware / "overlays").mkdir(parents=True)
    (firmware / "start4.elf").write_bytes(b"firmware")
    (firmware / "overlays" / "a.dtbo").write_bytes(b"overlay")
    p = netboard.recovery(lab, "image", "-i", inventory, "-o", card, firmware, netboard.FIRMWARE)
    check("the card", p.returncode == 0, p.stderr)
    check("it is in order", "No errors detected" in run("sfdisk", "-V", card) and images.partitions(card) == [CARD])
    run("fsck.fat", "-n", part_of(card, lab.dir / "part"))
    names = run("mdir", "-b", "-/", "-i", f"{card}@@{CARD[0]}", "::")
    for name in ("boot.scr", "config.txt", "start4.elf", "overlays/a.dtbo", "u-boot.bin"):
        check(f"it has {name}", f"::/{name}" in names, names)
    p = netboard.recovery(lab, "image", "-i", inventory, "-o", lab.dir / "no.img", lab.dir / "missing")
    check("a missing file: 2, and nothing is left", p.returncode == 2 and "missing" in p.stderr and not list(lab.dir.glob("no.img*")), p.stderr)
    return card


def part_of(disk, path):
    path.write_bytes(content(disk, *CARD))
    return path


def flash(lab, board, inventory, image):
    before = content(board.disk, *CARD), content(board.disk, 440, 6 + 16)
    report = lab.dir / "report.json"
    p = lab.fleetflash("-i", inventory, "--check", image)
    check("told before: /etc/fstab does not fit", p.returncode == 0 and
          "/etc/fstab names PARTUUID=deadbeef-01" in " ".join(p.stderr.split()), p.stdout + p.stderr)
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, image)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + board.loader_text()[-6000:])
    check("flashed", set(outcomes(report).values()) == {"flashed"})
    check("the boot loader's partition, its entry and the signature are as they were",
          before == (content(board.disk, *CARD), content(board.disk, 440, 6 + 16)))
    base = sum(CARD)
    first = images.partitions(image)[0][0]
    moved = [(start - first + base, size) for start, size in images.partitions(image)]
    check("the image's partitions are behind it", images.partitions(board.disk) == [CARD, *moved], run("sfdisk", "-l", board.disk))
    target, = json.loads(report.read_text())["targets"]
    check("the whole of it was reported", target["bytes_written"] == image.stat().st_size - first, json.dumps(target))
    check("the board runs the new image", board.image_version() == "new", board.loader_text()[-2000:])
    words = board.ssh("cat /proc/cmdline").stdout
    signature = int.from_bytes(content(board.disk, 440, 4), "little")
    check("root= is that of the moved partition", f"root=PARTUUID={signature:08x}-03" in words and "deadbeef" not in words, words)


def cut_power_while_written(board):
    """Waits until the head of the image's place is gone, then takes the power away for a moment."""
    with open(board.disk, "rb", buffering=0) as disk:
        while any(os.pread(disk.fileno(), 512, sum(CARD))):
            time.sleep(0.02)
    board.power_cut()
    board.boot()


def flash_live(lab, board, before, version, cut):
    """Its running system is replaced; cut: or rather is not, since the power fails, and the U-Boot that is still there does it."""
    image = make_image(lab, board, version)
    front = content(board.disk, 0, sum(CARD))
    inventory = lab.inventory([board], name=f"live-{version}.yaml", after=version, defaults={"retries": 0, "connect_timeout": "5s"},
                              host=lambda d: {"mode": "stream" if cut else "auto", "mac": d.mac, "recovery": "netboot",
                                              "reset": {"command": d.reset_command()}, "reboot_timeout": "3m",
                                              "netboot": {"layout": "shifted", "disk": "virtio 0", "part_size": "64M"}})
    lab.known_hosts(version=before)
    cutter = threading.Thread(target=cut_power_while_written, args=(board,), daemon=True)
    if cut:
        cutter.start()
    report = lab.dir / f"live-{version}.json"
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, image)
    print(p.stderr, flush=True)
    what = "live, cut off" if cut else "live"
    check(f"{what}: exit code 0", p.returncode == 0, p.stdout[-4000:] + board.loader_text()[-6000:])
    target, = json.loads(report.read_text())["targets"]
    check(f"{what}: flashed, {'by its boot loader in the end' if cut else 'and not by its boot loader'}", target["outcome"] == "flashed" and
          (target["mode"] == "netboot") == cut, json.dumps(target))
    check(f"{what}: the boot loader's partition is as it was, and the signature", front[CARD[0]:] == content(board.disk, *CARD) and
          front[440:462] == content(board.disk, 440, 22))
    check(f"{what}: so is the whole table", front[:CARD[0]] == content(board.disk, 0, CARD[0]), run("sfdisk", "-l", board.disk))
    check(f"{what}: the board runs the {version} image", board.image_version() == version, board.loader_text()[-2000:])
    words = board.ssh("cat /proc/cmdline").stdout
    check(f"{what}: its U-Boot has found the root", "-03" in words and "deadbeef" not in words, words)


def inventory_of(lab, board, part_size):
    return lab.inventory([board], host=lambda d: {
        "mode": "netboot", "mac": d.mac, "reset": {"command": d.reset_command()}, "reboot_timeout": "3m", "retries": 0,
        "netboot": {"layout": "shifted", "disk": "virtio 0", "part_size": part_size}})


def too_large(lab, board, image):
    """A part that does not fit into the board's memory: its boot loader refuses it, which is said, and with what to do."""
    p = lab.fleetflash("-i", inventory_of(lab, board, "1G"), "--yes", image)
    check("a part larger than the memory: exit code 1", p.returncode == 1 and "part 0 fetch" in p.stderr and "part_size" in p.stderr,
          p.stderr + board.loader_text()[-3000:])


def main():
    require()
    if reason := netboard.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    with Lab() as lab:
        board = lab.device("board", kind="netboard", disk_size="384M", mem="192M", bare=True)
        card = make_card(lab, board, inventory_of(lab, board, "64M"))
        image = make_image(lab, board)
        with open(board.disk, "r+b") as disk:
            disk.write(card.read_bytes())
        board.boot()
        too_large(lab, board, image)
        flash(lab, board, inventory_of(lab, board, "64M"), image)
        flash_live(lab, board, "new", "old", cut=False)
        if "long" in sys.argv:
            flash_live(lab, board, "old", "new", cut=True)


if __name__ == "__main__":
    main()
