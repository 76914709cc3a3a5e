#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A board that flashes itself: fleetflash runs on the very disk that it erases."""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile

from check import check, first_difference, same_as_image
from lab import REPO, Lab, os, require
from test_shifted import check_flashed, shifted

PROGRAM = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build/bin/fleetflash").resolve()
BOARD = {"kind": "systemd", "layout": "mbr-boot"}


def install(device):
    """Puts the program, its libraries (those that the board lacks) and an agent onto the board's disk."""
    linked = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
    libraries = sorted(set(re.findall(r"=> (/\S+)", linked)))
    lacking = device.ssh("for f in " + shlex.join(libraries) + '; do [ -e "$f" ] || echo "$f"; done')
    p = subprocess.Popen(device.ssh_argv("tar -C / -xf - && ldconfig && sync"), stdin=subprocess.PIPE)
    with tarfile.open(fileobj=p.stdin, mode="w|") as tar:
        for path in lacking.stdout.split():
            tar.add(os.path.realpath(path), path)
        tar.add(PROGRAM, "usr/local/bin/fleetflash")
        agent = "agents/fleetflash-agent-x86_64"
        tar.add(PROGRAM.parent.parent / "plugins/systemd.so", "usr/local/lib/fleetflash/plugins/systemd.so")
        tar.add(PROGRAM.parent / agent, f"usr/local/libexec/fleetflash/{agent}")
    p.stdin.close()
    assert p.wait() == 0
    p = device.ssh("/usr/local/bin/fleetflash --version")
    check("the program runs on the board, from the disk that it will erase", p.returncode == 0, p.stderr)


def fleetflash(device, *args, user="root", prefix=""):
    return device.ssh(f"{prefix} /usr/local/bin/fleetflash {shlex.join(map(str, args))}", user=user, timeout=120)


def second_disk(lab, name, *files):
    """A disk file with an ext4 that holds files, given to a board as its second one."""
    disk = lab.dir / f"{name}.img"
    tree = lab.dir / f"{name}.tree"
    tree.mkdir()
    for path in files:
        shutil.copy(path, tree)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, "600M"], check=True)
    return disk


def serve(lab, folder):
    """An http server on the controller's side of the bridge."""
    return lab.popen(["python3", "-m", "http.server", "8000", "--bind", "10.77.0.1", "--directory", folder],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def check_untouched(device, what, boot, reboots=0):
    left = device.ssh("grep fleetflash-agent /proc/net/unix; ls -d /dev/shm/fleetflash-* /run/fleetflash-* 2>/dev/null")
    check(f"{what}: the board runs on, its service too, and nothing is left of the agent",
          device.boot_id() == boot and device.ssh("systemctl is-active lab-victim").returncode == 0
          and device.reboots() == reboots and not left.stdout, left.stdout + device.console_text()[-2000:])


def check_came_back(device, reboots, raw, version):
    device.wait_reboot(reboots)
    check(f"the board runs the {version} image", device.image_version() == version, device.console_text()[-3000:])
    check("its disk at the reboot is the image, byte for byte", same_as_image(device.snapshots[-1], raw),
          first_difference(device.snapshots[-1], raw))


def test_refusals(device, image):
    boot = device.boot_id()
    device.ssh("cd /dev/shm && truncate -s 4M bad.img && echo 2048,2048 | sfdisk -q bad.img")
    p = fleetflash(device, "--local", "--yes", "--sha256", "0" * 64, "/dev/shm/bad.img")
    check("an image with another hash is refused: exit 2", p.returncode == 2 and "sha256" in p.stderr.lower(), p.stderr)
    p = fleetflash(device, "--local", image)
    check("without --yes and a terminal it is refused: exit 2", p.returncode == 2, p.stderr)
    device.ssh("mount -o remount,size=90% /dev/shm; head -c 330M /dev/zero >/dev/shm/hog")
    p = fleetflash(device, "--local", "--yes", image)
    device.ssh("rm /dev/shm/hog")
    check("too little memory for the whole image: refused, exit 1",
          p.returncode == 1 and "held in memory" in p.stderr, p.stderr)
    check_untouched(device, "refused", boot)


def test_url(device, url, raw):
    p = fleetflash(device, "--local", "--yes", url)
    check("it says before the fence that it will not see the outcome, and has none",
          p.returncode == 255 and "committed" in p.stderr and "flashed" not in p.stdout, p.stdout + p.stderr)
    check_came_back(device, 1, raw, "new")


INVENTORY = """groups:
  lab:
    vars: {mode: local, services: {policy: systemd, stop: [lab-victim.service]}}
    hosts:
      self: {host: SELF}
      other: {host: 10.77.0.99, mode: stage}
      wrong: {host: 10.77.0.98}
"""


def test_inventory(device, image, raw):
    """From and with files on a second disk, as a user with sudo: the journal outlives the flash."""
    boot = device.boot_id()
    text = INVENTORY.replace("SELF", device.ip)
    device.ssh("mount /dev/ubdb /mnt && chown pi /mnt && cat >/mnt/lab.yaml", stdin=text)
    run = ["-i", "/mnt/lab.yaml", "--state-dir", "/mnt/state", "--cache-dir", "/mnt/cache", "--yes"]
    for limit, words in (("self,other", "flashed alone"), ("wrong", "is not this machine")):
        p = fleetflash(device, *run, "--limit", limit, image, user="pi")
        check(f"--limit {limit} is refused: exit 2", p.returncode == 2 and words in p.stderr, p.stderr)
    # Whoever started it holds a file on the FAT open, and is not ended: that FAT cannot be made read-only.
    p = fleetflash(device, *run, "--limit", "self", image, prefix="exec 3>/boot/held;")
    check("a fence that does not go up: exit 1", p.returncode == 1 and "committed" in p.stderr, p.stderr)
    check_untouched(device, "no fence", boot, 1)
    check("the root is writable again", device.ssh("touch /root/x && touch /boot/x").returncode == 0)
    device.ssh("chown -R pi /mnt/state /mnt/cache")  # that run was root's
    p = fleetflash(device, *run, "--limit", "self", image, user="pi")
    check("it ends with the old system", p.returncode == 255 and "committed" in p.stderr, p.stdout + p.stderr)
    check_came_back(device, 2, raw, "old")
    install(device)
    device.ssh("mount /dev/ubdb /mnt")
    p = fleetflash(device, "--resume", "--state-dir", "/mnt/state", "--cache-dir", "/mnt/cache", user="pi")
    check("--resume, with a journal on another disk, proves the new system: exit 0",
          p.returncode == 0 and "flashed" in p.stderr, p.stdout + p.stderr)


SHIFTED = """groups:
  lab:
    hosts:
      self: {host: SELF, mode: local, recovery: netboot, mac: "MAC", reset: {command: "touch /dev/shm/was-reset"},
             netboot: {layout: shifted}, services: {policy: systemd, stop: [lab-victim.service]}}
"""


def put_shifted(device):
    device.ssh("cat >/dev/shm/shifted.yaml", stdin=SHIFTED.replace("SELF", device.ip).replace("MAC", device.mac))


def test_no_loader(device):
    """`recovery: netboot` on a disk without a boot loader in front. (A user may not open the TFTP server's port; nor need he.)"""
    boot = device.boot_id()
    put_shifted(device)
    p = fleetflash(device, "-i", "/dev/shm/shifted.yaml", "--check", user="pi")
    check("no boot loader in front: refused, exit 1", p.returncode == 1 and "has no boot loader in front" in p.stderr, p.stderr)
    check_untouched(device, "no boot loader", boot)


def test_shifted(device, url, raw):
    """The image goes behind the boot loader; nobody is reset and no server is opened, by a user who could not."""
    put_shifted(device)
    p = fleetflash(device, "-i", "/dev/shm/shifted.yaml", "--check", url, user="pi")
    plan = " ".join(p.stderr.split())
    check("--check: what stays is said, and that nobody is left for the recovery", p.returncode == 0 and "(boot loader)" in plan and
          "the partition table" in plan and "recovery: netboot is not for this run" in plan, p.stderr)
    check("nothing was reset", device.ssh("ls /dev/shm/was-reset").returncode != 0)
    p = fleetflash(device, "-i", "/dev/shm/shifted.yaml", "--yes", url, user="pi")
    check("behind a boot loader: committed", p.returncode == 255 and "committed" in p.stderr, p.stdout + p.stderr)
    device.wait_reboot(1)
    check_flashed(device, raw)


require()
long = "long" in sys.argv[1:]
with Lab() as lab:
    old = lab.image(**BOARD, version="old") if long else None
    new = lab.image(**BOARD)
    more = f"ubd1={second_disk(lab, 'second', old)}" if long else ""
    pi = lab.device("pi", **BOARD, mem="512M", append=more)
    lab.boot_all()
    server = serve(lab, new.parent)
    url = f"http://10.77.0.1:8000/{new.name}"
    install(pi)
    if not long:
        test_refusals(pi, url)
        test_no_loader(pi)
    test_url(pi, url, lab.raw_image(**BOARD))
    if long:
        install(pi)
        test_inventory(pi, f"/mnt/{old.name}", lab.raw_image(**BOARD, version="old"))
    if long:
        pi.power_cut()
        board = shifted(lab, "board", BOARD["kind"], mem="512M")
        lab.boot_all()
        install(board)
        test_shifted(board, url, lab.raw_image(**BOARD))
    server.terminate()
    server.wait()
