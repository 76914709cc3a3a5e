#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Control runs of the fence: every step of it is needed, and with all of them nothing gets through.

A fleet of devices is flashed by one command, each with the test build of the agent. For each step there is a
device with the step and some without it, otherwise alike. The first must come out as the image, byte for
byte; of the others at least one must come to real harm: bytes on its disk that differ from the image when
the old system is gone, a kernel that dies, or an init that crashes.

What protects twice is taken apart: the protection that would hide a step is left out on both sides. Reading
back is left out in all but its own row, because it finds and repairs what a hole in the fence lets through.

    test_fence.py [NAME...]      only these rows of the table"""

import dataclasses
import json
import os
import pathlib
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, first_difference, same_as_image
from lab import REPO, Lab, require

MIB = 1 << 20
HEAD, TAIL = MIB, MIB // 4  # what the agent withholds until the end lies within these
HOLDERS = "append,pwrite,mmap"  # keep their files open; churn, fat and walk come and go


@dataclasses.dataclass
class Control:
    step: str          # the switch that leaves the step out
    why: str           # what happens without it
    both: str = "no-readback"  # switches of both sides
    keys: dict = dataclasses.field(default_factory=dict)  # of Lab.device()
    without: int = 1   # devices without the step; more where harm needs luck
    chance: bool = False  # harm comes in most runs, not in all: its absence is told, not a failure
    before: str = ""   # run on the device while it is in peace
    afterwards: str = ""  # run on the device, from its memory, once the fence is up


# Programs can no more be started from the disk by then.
BUSYBOX, WRITER = "/dev/shm/busybox", "/dev/shm/writer"

# Mounts /boot and writes there, when the agent (run-at=…) starts it.
INTRUDER = f"""umount /boot
cp {WRITER} /dev/shm/intruding-writer
cat >/dev/shm/intruder <<'END'
#!{BUSYBOX} sh
{BUSYBOX} mount -t vfat /dev/ubda1 /boot
/dev/shm/intruding-writer -r fat /dev/shm </dev/null >/dev/null 2>&1 &
END
chmod 755 /dev/shm/intruder"""

CONTROLS = {
    "kill": Control(
        "no-kill", "old descriptors and mappings go on writing in place",
        "no-shutdown-ioctl,no-readback", {"writers": HOLDERS}),
    "shutdown": Control(
        "no-shutdown-ioctl", "what cannot be ended, or is back in time, goes on writing in place",
        "no-kill,no-readback", {"writers": HOLDERS + ",churn", "respawn": True}),
    "remount": Control(
        "no-remount", "FAT cannot be shut down, and goes on being written",
        keys={"writers": "fat", "respawn": True}),
    "remount-ext4": Control(
        "no-remount", "files are made and removed on",
        "no-shutdown-ioctl,no-readback", {"writers": "churn", "respawn": True}),
    "roset": Control(
        "no-roset", "ext4 finds changed directories and commits its old superblock, read-only or not",
        "no-shutdown-ioctl,no-readback", {"writers": "walk"}),
    "swapoff": Control(
        "no-swapoff", "pages go out into the new image, and what comes back is not what went",
        keys={"writers": "pwrite", "swap": 16, "mem": "96M"}, without=2, afterwards=f"{WRITER} hog,hog,hog /dev/shm"),
    # Only what is in nobody's memory is read from the disk: the caches are emptied, and PID 1 is asked for
    # something that it has not done before.
    "pin": Control(
        "no-pin", "init runs into a page of its program that is the new image's now",
        keys={"kind": "systemd", "mem": "256M", "writers": False}, without=2, chance=True,
        afterwards=f"while {BUSYBOX} sleep 1; do echo 3 >/proc/sys/vm/drop_caches; kill -USR2 1; done"),
    "news": Control(
        "no-news", "what is mounted while the fence goes up is written to on",
        "run-at=remounted,no-readback", {"writers": False, "mem": "96M"}, before=INTRUDER),
    "late-news": Control(
        "no-news", "what is mounted when all else is shut down already is written to on",
        "run-at=shut,no-readback", {"writers": False, "mem": "96M"}, before=INTRUDER),
    "errors-panic": Control(
        "no-calm", "ext4 mounted with errors=panic finds changed directories",
        "no-shutdown-ioctl,no-readback", {"writers": "walk"}, before="mount -o remount,errors=panic /"),
    "oom-panic": Control(
        "no-calm", "a kernel told to panic when memory runs short does",
        keys={"writers": "pwrite", "mem": "96M"}, before="echo 1 >/proc/sys/vm/panic_on_oom",
        afterwards=f"{WRITER} hog,hog,hog /dev/shm"),
    # The ssh server's group, or each session's where there is a logind.
    "footing": Control(
        "no-footing", "it ends with the ssh session that started it",
        keys={"kind": "systemd", "mem": "256M", "writers": False},
        afterwards=f"echo 0 >/sys/fs/cgroup/cgroup.procs; {BUSYBOX} sleep 2; for g in /sys/fs/cgroup/system.slice/ssh*.service "
                   "/sys/fs/cgroup/user.slice/user-*.slice/session-*.scope; do echo 1 >$g/cgroup.kill; done"),
    "readback": Control(
        "no-readback", "a disk that keeps something else than was written is believed",
        "corrupt-write=200", {"writers": False}),
}

ONCE_FENCED = """setsid {busybox} sh -c '
until {busybox} grep -q " / ext4 ro," /proc/mounts; do {busybox} sleep 0.5; done
{command}' </dev/null >/dev/null 2>&1 &"""


def agents(lab):
    """A folder in which the test build of the agent has the real one's name."""
    program = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash")
    folder = lab.dir / "agents"
    folder.mkdir()
    shutil.copy(program.parent / "agents" / "fleetflash-agent-x86_64-test", folder / "fleetflash-agent-x86_64")
    return str(folder)


def long_image(lab):
    """A small system's image that overwrites the whole disk of a large one: zeros, and at the end something
    that takes its time."""
    path = lab.dir / "long.img"
    shutil.copy(lab.raw_image("busybox", "mbr-boot", "new"), path)
    size = lab.raw_image("systemd", "mbr-boot", "old").stat().st_size
    with open(path, "r+b") as f:
        f.truncate(size)
        f.seek(size - 6 * MIB)
        f.write(os.urandom(4 * MIB))
    return path


def make_fleet(lab, names):
    """({row's name: device with the step}, {row's name: [devices without]})"""
    whole, without = {}, {}
    for name in names:
        c = CONTROLS[name]
        keys = {"kind": "busybox", "layout": "mbr-boot", **c.keys}
        whole[name] = lab.device(f"{name}-whole", append=f"ff.agent={c.both}", **keys)
        without[name] = [lab.device(f"{name}-without-{n + 1}", append=f"ff.agent={c.both},{c.step}", **keys)
                         for n in range(c.without)]
    return whole, without


def prepare(device, control):
    # Slow enough for the old system to get at the disk meanwhile.
    device.limit_rate("16mbit")
    if control.before or control.afterwards:
        device.put("/bin/busybox", BUSYBOX)
        device.ssh(f"cp /usr/lib/lab/writer {WRITER}; {control.before}")
    if control.afterwards:
        device.ssh(ONCE_FENCED.format(busybox=BUSYBOX, command=control.afterwards))


def flash(lab, devices, image, whole, env):
    """Flashes all at once; returns {name: the report's entry}."""
    report = lab.dir / "report.json"
    inventory = lab.inventory(devices, host=lambda d: {
        # What does not come back without a step is not waited for long.
        "mode": "stream", "retries": 1, "reboot_timeout": "3m" if d in whole else "30s",
        "after": {"host_key": "accept-once"},
        "services": {"policy": "systemd" if d.kind == "systemd" else "sysv", "stop": ["lab-victim"]}})
    p = lab.fleetflash("-i", inventory, "--yes", "--report", report, image, env=env)
    print(p.stderr, flush=True)
    check("the run has a report", report.exists(), p.stderr)
    entries = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
    report.unlink()
    return entries


def harm(device, image):
    """What really happened to a device, as a list of sentences."""
    found = []
    if not device.running():
        found.append("its kernel died")
    if "Freezing execution" in device.console_text():
        found.append("its init crashed")
    if device.running() and not device.snapshots:
        found.append("its disk is half written and its agent gone")
    disk = device.snapshots[0] if device.snapshots else device.disk
    if device.snapshots and not same_as_image(disk, image):
        found.append(f"{first_difference(disk, image).split()[-1]} bytes differ")
    return found


def check_head(device, image, entry):
    """An agent that died when all but the head was written has left a disk that no firmware boots from."""
    check("head: the report says half-written", entry["outcome"] == "failed" and entry["damage"] == "incomplete",
          str(entry))
    device.power_cut()
    with open(device.disk, "rb") as disk, open(image, "rb") as want:
        head, there = disk.read(HEAD), want.read(HEAD)
        check(f"head: its first {HEAD >> 10} KiB are zeros, its partition table is gone", not any(head) and any(there))
        size = image.stat().st_size - HEAD - TAIL
        rest, wanted = disk.read(size), want.read(size)
        bad = [HEAD + i for i in range(0, len(wanted), 4096) if rest[i:i + 4096] != wanted[i:i + 4096]]
        check("head: all between it and the disk's end is the image", not bad, f"{len(bad)} pages differ, at {bad[:20]} … {bad[-1:]}")


def main():
    require()
    names = sys.argv[1:] or [*CONTROLS, "head"]
    with Lab() as lab:
        dying = "head" in names and lab.device("head", kind="busybox", layout="mbr-boot",
                                               append="ff.agent=die-at=reading-back,no-guard")
        names = [name for name in names if name != "head"]
        whole, without = make_fleet(lab, names)
        lab.boot_all()
        for name in names:
            lab.each(lambda d: prepare(d, CONTROLS[name]), [whole[name], *without[name]])
        check(f"{len(lab.devices)} devices boot", True)
        env = {"FLEETFLASH_AGENT_PATH": agents(lab)}
        raw = {"busybox": lab.raw_image("busybox", "mbr-boot", "new"), "systemd": long_image(lab)}
        entries = {}
        for kind, image in (("busybox", lab.image("busybox", "mbr-boot", "new")), ("systemd", raw["systemd"])):
            if group := [d for d in lab.devices if d.kind == kind]:
                entries.update(flash(lab, group, image, list(whole.values()), env))
        if dying:
            check_head(dying, raw["busybox"], entries["head"])
        for name in names:
            d, c = whole[name], CONTROLS[name]
            found = harm(d, raw[d.kind])
            left = f" (both sides without: {c.both})" if c.both else ""
            check(f"{name}: with it the disk is the image, byte for byte{left}",
                  entries[d.name]["outcome"] == "flashed" and d.snapshots and not found,
                  f"{found}\n{entries[d.name]}\n{d.console_text()[-3000:]}")
            found = [harm(d, raw[d.kind]) for d in without[name]]
            if c.chance and not any(found):
                print(f"NOT SHOWN this time: {name}: without it {c.why}", flush=True)
                continue
            check(f"{name}: without it {c.why}: " + " | ".join(", ".join(f) or "no harm" for f in found),
                  any(found), "".join(d.console_text()[-3000:] for d in without[name]))


if __name__ == "__main__":
    main()
