#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a device when something fails between the fence and the first written byte, and where the
usual way out is barred.

With the test build of the agent, faults are put in where a lab cannot make real ones: a layer that does not
become read-only, a fence that fails when it is up, a reboot call that does not return. The others are real: memory
that runs short while blocks are staged, a file system that nobody can silence.

    test_damage.py [NAME...]      only these devices (deserted, orphan: not alone)"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, same_as_image
from lab import REPO, Lab, require

MIB = 1 << 20
PANICS = ["kernel/panic_on_oops", "kernel/hung_task_panic", "kernel/softlockup_panic", "kernel/panic_on_warn", "vm/panic_on_oom"]
# The kernel itself holds a file on the FAT /boot open for writing, and nobody can end the kernel.
BUSY_BOOT = """modprobe loop; [ -b /dev/loop0 ] || mknod /dev/loop0 b 7 0
dd if=/dev/zero of=/boot/held bs=64k count=1 2>/dev/null; losetup /dev/loop0 /boot/held"""
NERVOUS = "for f in %s; do [ ! -e /proc/sys/$f ] || echo 1 >/proc/sys/$f; done; mount -o remount,errors=panic /" % " ".join(PANICS)
SETTINGS = "for f in %s; do [ ! -e /proc/sys/$f ] || echo $f $(cat /proc/sys/$f); done; grep ' / ext4' /proc/mounts" % " ".join(PANICS)

# name: keys of Lab.device()
DEVICES = {
    # Not to be undone any more, nothing written: rebooted.
    "layer": {"append": "ff.agent=fail-at=roset"},
    "fenced": {"append": "ff.agent=fail-at=fenced", "respawn": True, "swap": 4},
    # The agent dies behind its fence: while that goes up, when it is up, when the disk is no more the old one, and
    # when it is the new one.
    "killed": {"append": "ff.agent=run-at=remounted"},
    "died": {"append": "ff.agent=die-at=fenced", "respawn": True, "swap": 4},
    "half": {"append": "ff.agent=die-at=erasing-head"},
    "staged": {"append": "ff.agent=die-at=writing-head", "mem": "128M"},
    "orphan": {"append": "ff.agent=die-at=erasing-head"},
    "late": {"append": "ff.agent=die-at=rebooting"},
    # To be undone: goes on.
    "settings": {},
    "short": {"mem": "112M"},
    # Its controller dies while the fence goes up, which takes long here, and nobody comes: rebooted.
    "deserted": {"append": "ff.agent=run-at=remounted"},
    # Its cable is out from before the fence is up until it gives up: rebooted, and nobody could say so.
    "unheard": {"append": "ff.agent=run-at=remounted"},
    # Flashed, and its reboot call hangs.
    "hangs": {"append": "ff.agent=no-reboot"},
}


POLICY = {"layer": "exec", "fenced": "sysv"}


def policy(lab, device):
    """What stops services; of one device, something on this machine, which no reboot of the device starts again."""
    if POLICY.get(device.name) != "exec":
        return {"policy": "sysv", "stop": ["lab-victim"]}
    note = f"echo -n '%s ' >>{lab.dir}/calls"
    return {"policy": "exec", "command": ["sh", "-c", note % "stop"], "undo": ["sh", "-c", note % "undo"]}


def agents(lab):
    """A folder in which the test build of the agent has the real one's name."""
    program = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash")
    folder = lab.dir / "agents"
    folder.mkdir()
    shutil.copy(program.parent / "agents" / "fleetflash-agent-x86_64-test", folder / "fleetflash-agent-x86_64")
    return str(folder)


def console_has(device, text, timeout=120):
    """Whether the device's console says so in time."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and text not in device.console_text():
        time.sleep(0.2)
    return text in device.console_text()


def starve(device):
    """Takes what memory is left, as soon as the agent has begun to stage, then lets blocks come fast."""
    check("short: staging has begun", console_has(device, "fleetflash: staging"), device.console_text()[-2000:])
    p = device.ssh("mount -o remount,size=95% /dev/shm; "
                   "dd if=/dev/zero of=/dev/shm/hoard bs=1M count=$(($(awk '/MemAvailable/ {print $2}' /proc/meminfo) / 1024 - 14)); "
                   "grep MemAvailable /proc/meminfo")
    print(p.stdout, p.stderr, flush=True)
    device.limit_rate(None)


def delay_fence(device, seconds):
    """The agent waits so long where it is told to run something."""
    device.ssh("cat >/dev/shm/intruder && chmod 755 /dev/shm/intruder",
               stdin=f"#!/bin/sh\necho fence delayed >/dev/console\nsleep {seconds}\n")


def kill_agent(device):
    """It is killed where it is told to run something, and nobody can do anything about it."""
    device.ssh("cat >/dev/shm/intruder && chmod 755 /dev/shm/intruder", stdin="#!/bin/sh\nkill -9 $PPID\n")


def check_half(device, entry, said, image):
    """What only another boot source would bring back is not rebooted: another agent takes over."""
    name = device.name
    check(f"{name}: flashed all the same", entry["outcome"] == "flashed", str(entry))
    check(f"{name}: its agent died, and another took its place", all(
        text in device.console_text() for text in (
            "fleetflash: the agent has died, and the disk is incomplete", "another agent has taken its place")),
          device.console_text()[-3000:])
    # The guard alone has 2.5 MB; busybox, dropbear and their libraries 6 MB.
    held = re.search(r"fleetflash: Mlocked: +(\d+) kB", device.console_text())
    check(f"{name}: what init and the ssh server run was held all the time", held is not None and int(held[1]) > 6000, str(held))
    check(f"{name}: the run says so", f"{name}: warning: its agent has died while it wrote" in said)
    check(f"{name}: it was rebooted once, and its disk then is the image, byte for byte",
          device.reboots() == 1 and same_as_image(device.snapshots[0], image))


def unplug(device):
    """Its cable is out from behind the fence until it reboots."""
    if console_has(device, "fence delayed"):
        device.link_down()
        console_has(device, "the controller has been gone for 60 s", 200)
        device.link_up()


def desert(lab, device, folder):
    """Its controller dies while the fence goes up."""
    delay_fence(device, 15)
    inventory = lab.inventory([device], name="deserted.yaml", host=lambda d: {
        "mode": "stream", "services": {"policy": "sysv", "stop": ["lab-victim"]}})
    run = lab.popen(lab.fleetflash_argv("-i", inventory, "--yes", lab.image("busybox", "mbr-boot"), state=lab.dir / "state-deserted"),
                    env={"FLEETFLASH_AGENT_PATH": folder}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL)
    going = console_has(device, "fleetflash: fencing")
    run.kill()
    run.wait()
    check(f"{device.name}: the fence goes up, and is not up yet", going and "fleetflash: fenced" not in device.console_text(),
          device.console_text()[-2000:])


def resume(lab, device, folder):
    """Its agent dies while it writes, and so does its controller: a later one finds who took the agent's place."""
    state, env = lab.dir / "state-orphan", {"FLEETFLASH_AGENT_PATH": folder}
    inventory = lab.inventory([device], name="orphan.yaml", host=lambda d: {
        "mode": "stream", "services": {"policy": "sysv", "stop": ["lab-victim"]}})
    run = lab.popen(lab.fleetflash_argv("-i", inventory, "--yes", lab.image("busybox", "mbr-boot"), state=state), env=env,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    died = console_has(device, "fleetflash: the agent has died")
    run.kill()
    run.wait()
    check(f"{device.name}: its agent has died, and its controller", died and not device.reboots(), device.console_text()[-2000:])
    return lab.popen(lab.fleetflash_argv("--resume", state=state), env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                     stderr=subprocess.STDOUT, text=True, errors="replace")


def check_resumed(device, again, image):
    said, _ = again.communicate(timeout=400)
    print(said, flush=True)
    check(f"{device.name}: --resume flashes it", again.returncode == 0 and "another has taken its place" in said,
          device.console_text()[-2000:])
    check(f"{device.name}: it was rebooted once, and its disk then is the image, byte for byte",
          device.reboots() == 1 and same_as_image(device.snapshots[0], image))


def check_rebooted(device, boot_id, entry, old):
    check(f"{device.name}: {entry['error']['text']}; the report says rebooted", entry["outcome"] == "failed"
          and entry["damage"] == "rebooted", str(entry))
    check_back(device, boot_id, old)


def check_back(device, boot_id, old):
    """The old system is back, untouched."""
    device.wait_reboot(1)
    check(f"{device.name}: the old system is back", device.image_version() == "old" and device.boot_id() != boot_id
          and device.reboots() == 1, device.console_text()[-3000:])
    p = device.ssh("cat /root/marker && /etc/init.d/lab-victim status")
    check(f"{device.name}: what was on its disk is there, and its service runs", p.returncode == 0
          and p.stdout.startswith(f"I am {device.name}\n"), p.stdout + p.stderr)
    disk = device.snapshots[0]
    with open(disk, "rb") as now, open(old, "rb") as then:
        check(f"{device.name}: its partition table was not touched", now.read(MIB) == then.read(MIB))
    problems = device.fsck(disk)
    check(f"{device.name}: its file systems were left in order", not problems, "\n".join(problems))


def check_goes_on(device, boot_id, entry, word):
    check(f"{device.name}: {entry['error']['text']} — {entry['error']['remedy']}", entry["outcome"] == "failed"
          and entry["damage"] == "untouched" and word in entry["error"]["text"] and entry["error"]["remedy"], str(entry))
    p = device.ssh("touch /written /boot/written && /etc/init.d/lab-victim status")
    check(f"{device.name}: the old system goes on, all is writable, its service runs",
          device.boot_id() == boot_id and p.returncode == 0, p.stdout + p.stderr)
    p = device.ssh("for i in $(seq 100); do grep @fleetflash-agent /proc/net/unix || exit 0; sleep 0.1; done; exit 1")
    check(f"{device.name}: neither its agent nor the agent's guard is left", p.returncode == 0, p.stdout + p.stderr)


def main():
    require()
    names = sys.argv[1:] or list(DEVICES)
    with Lab() as lab:
        d = {n: lab.device(n, kind="busybox", layout="mbr-boot", **DEVICES[n]) for n in names}
        lab.boot_all()
        for n in names:
            d[n].ssh(f"echo I am {n} >/root/marker; sync")
        if "settings" in d:
            p = d["settings"].ssh(f"{BUSY_BOOT}; {NERVOUS}; {SETTINGS}")
            nervous = p.stdout
            check(f"settings: panics at everything: {nervous.split()}", "panic_on_oom 1" in nervous
                  and "errors=panic" in nervous, p.stdout + p.stderr)
        if "short" in d:
            d["short"].limit_rate("4mbit")
        before = {n: d[n].boot_id() for n in names}
        report = lab.dir / "report.json"
        folder = agents(lab)
        if "deserted" in d:
            desert(lab, d["deserted"], folder)
        again = resume(lab, d["orphan"], folder) if "orphan" in d else None
        live = [d[n] for n in names if n not in ("deserted", "orphan")]
        # A staged one is left to itself at once where there are no retries.
        inventory = lab.inventory(live, host=lambda x: {
            "mode": "stage" if x.name in ("short", "staged") else "stream", "retries": int(x.name == "staged"),
            "services": policy(lab, x)})
        if "unheard" in d:
            delay_fence(d["unheard"], 10)
        if "killed" in d:
            kill_agent(d["killed"])
        start = time.monotonic()
        run = lab.popen(lab.fleetflash_argv("-i", inventory, "-v", "--yes", "--report", report, lab.image("busybox", "mbr-boot")),
                        env={"FLEETFLASH_AGENT_PATH": folder}, stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        unplugging = threading.Thread(target=lambda: "unheard" in d and unplug(d["unheard"]))
        unplugging.start()
        if "short" in d:
            starve(d["short"])
        said, _ = run.communicate(timeout=400)
        print(said, flush=True)
        entries = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
        old, new = (lab.raw_image("busybox", "mbr-boot", v) for v in ("old", "new"))
        for n in ("layer", "fenced"):
            if n in d:
                check_rebooted(d[n], before[n], entries[n], old)
                check(f"{n}: the summary says so", "its old system had to be rebooted, untouched" in said)
                back, undone = said.find(f"{n}: the old system is back"), said.find(f"{n}: the {POLICY[n]} policy has undone")
                check(f"{n}: what its policy did was undone when it was back", 0 <= back < undone, f"{back} {undone}")
        if "unheard" in d:
            check_rebooted(d["unheard"], before["unheard"], entries["unheard"], old)
            unplugging.join()
            check("unheard: its agent gave up behind the fence", "the controller has been gone for 60 s" in d["unheard"].console_text(),
                  d["unheard"].console_text()[-3000:])
            check("unheard: the run has seen it come back", "unheard: the old system is back" in said)
        for n in ("killed", "died"):
            if n in d:
                check_rebooted(d[n], before[n], entries[n], old)
                check(f"{n}: its guard did it", "fleetflash: the agent has died, nothing was written" in d[n].console_text(),
                      d[n].console_text()[-3000:])
                check(f"{n}: the run has seen it come back", f"{n}: the old system is back" in said)
        if "orphan" in d:
            check_resumed(d["orphan"], again, new)
        for n in ("half", "staged"):
            if n in d:
                check_half(d[n], entries[n], said, new)
        if "late" in d:
            check("late: flashed, by its guard's reboot", entries["late"]["outcome"] == "flashed"
                  and "fleetflash: the agent has died, the disk is complete" in d["late"].console_text(), str(entries["late"]))
            check("late: its disk at the reboot is the image, byte for byte", same_as_image(d["late"].snapshots[0], new))
        if "layer" in d:
            check("layer: what was stopped elsewhere was started again", (lab.dir / "calls").read_text() == "stop undo ",
                  (lab.dir / "calls").read_text())
        if "settings" in d:
            check_goes_on(d["settings"], before["settings"], entries["settings"], "vfat on /boot is in use")
            check("settings: they are as they were", d["settings"].ssh(SETTINGS).stdout == nervous, d["settings"].ssh(SETTINGS).stdout)
        if "short" in d:
            check_goes_on(d["short"], before["short"], entries["short"], "memory ran short while staging")
        if "deserted" in d:
            check("deserted: its agent says that nobody came",
                  console_has(d["deserted"], "the controller has been gone for 60 s"), d["deserted"].console_text()[-3000:])
            check_back(d["deserted"], before["deserted"], old)
        if "hangs" in d:
            took = time.monotonic() - start
            check(f"hangs: flashed, {took:.0f} s after the beginning", entries["hangs"]["outcome"] == "flashed", str(entries["hangs"]))
            check("hangs: SysRq did it", "sysrq: Resetting" in d["hangs"].console_text(), d["hangs"].console_text()[-2000:])
            check("hangs: its disk at the reboot is the image, byte for byte", same_as_image(d["hangs"].snapshots[0], new))


if __name__ == "__main__":
    main()
