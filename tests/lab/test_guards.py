#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is found out on the device, or decided by a policy, before the first written byte: such a device
goes on as before, with its services, and nothing of ours stays on it. And what is no reason to give up:
memory file systems that take no program.

    test_guards.py [NAME...]      only these tests"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from lab import REPO, Lab, require

VICTIM = {"policy": "sysv", "stop": ["lab-victim"]}
# A service whose script fails and goes on: the policy stops lab-victim, then gives up.
STUBBORN = r"""printf '%s\n' '#!/bin/sh' 'case $1 in status) exit 0 ;; stop) echo "no, says stubborn" >&2; exit 1 ;; esac' \
    >/etc/init.d/stubborn && chmod 755 /etc/init.d/stubborn"""
# The kernel itself holds a file on the FAT /boot open for writing, and nobody can end the kernel.
BUSY_BOOT = """modprobe loop; [ -b /dev/loop0 ] || mknod /dev/loop0 b 7 0
dd if=/dev/zero of=/boot/held bs=64k count=1 2>/dev/null; losetup /dev/loop0 /boot/held"""
# Every memory file system refuses programs; sudo may do all but mount another.
NO_PLACE = r"""echo 'pi ALL=(ALL) NOPASSWD: ALL, !/usr/bin/mount' >/etc/sudoers.d/lab
loginctl enable-linger pi
for i in 1 2 3 4 5 6 7 8 9 10; do mountpoint -q /run/user/1000 && break; sleep 1; done
for m in $(awk '$3 == "tmpfs" {print $2}' /proc/mounts); do mount -o remount,noexec $m; done"""


def say(command):
    """An `exec` policy."""
    return {"policy": "exec", "command": ["sh", "-c", command]}


def flash(lab, name, *args, code, env=None):
    """Runs the program; returns its process and {target's name: its part of the report}."""
    path = lab.dir / f"{name}.json"
    p = lab.fleetflash("-i", lab.inventory_path, *args, "--report", path, env=env)
    print(p.stderr, flush=True)
    check(f"{name}: exit code {code}", p.returncode == code, f"{p.returncode}\n{p.stderr}")
    return p, {t["name"]: t for t in json.loads(path.read_text())["targets"]}


def check_runs_on(lab, device):
    """Nothing of the device was changed, its service runs, and no trace of a flash is left."""
    victim = {"systemd": "systemctl is-active lab-victim", "busybox": "/etc/init.d/lab-victim status"}[device.kind]
    check(f"{device.name}: the old system runs on",
          device.boot_id() == lab.boot_ids[device.name] and device.image_version() == "old")
    p = device.ssh(victim)
    check(f"{device.name}: its service runs", p.returncode == 0, p.stdout + p.stderr)
    p = device.ssh("for i in 1 2 3 4 5 6 7 8 9 10; do pidof fleetflash >/dev/null || break; sleep 1; done; pidof fleetflash; "
                   "ls -d /dev/shm/fleetflash* /run/fleetflash* /tmp/fleetflash* /run/user/*/fleetflash*; "
                   "grep fleetflash /proc/mounts; touch /written")
    check(f"{device.name}: nothing of ours is left, and its disk can be written",
          not p.stdout and p.returncode == 0, p.stdout + p.stderr)


def test_memory(lab):
    """/dev/shm noexec, missing or full: there is another place for the agent, or one is made."""
    d = lab.by_name
    for mount in ("/dev/shm", "/run", "/tmp"):
        d["noexec"].ssh(f"mount -o remount,noexec {mount}")
    d["missing"].ssh("umount /dev/shm; mount -o remount,noexec /run")
    d["full"].ssh("mount -o remount,size=1m /dev/shm; dd if=/dev/zero of=/dev/shm/junk bs=64k; mount -o remount,noexec /run")
    p, _ = flash(lab, "memory", "-l", "noexec,missing,full", "-vv", "--yes", lab.image("busybox", "mbr"), code=0)
    for name, place in (("noexec", "in /run/fleetflash"), ("missing", "in /tmp/fleetflash"), ("full", "in /tmp/fleetflash")):
        line = next((line for line in p.stderr.splitlines() if name in line and "agent started" in line), "")
        check(f"{name}: {line.strip()}", place in line, p.stderr)
        check(f"{name}: runs the new image", d[name].image_version() == "new")


def test_no_memory(lab):
    """No memory file system takes a program, and none can be made."""
    d = lab.by_name["nomount"]
    p = d.ssh(NO_PLACE)
    for how in ("--check", "--yes"):
        _, report = flash(lab, f"nomount{how}", "-l", "nomount", how, lab.image("busybox", "mbr"), code=1)
        error = report["nomount"]["error"]
        check(f"{how}: {error['text']} — {error['remedy']}",
              error["class"] == "refused" and "tmpfs" in error["text"] and error["remedy"]
              and report["nomount"]["damage"] == "untouched", p.stdout + p.stderr)
    check_runs_on(lab, d)


def test_policies(lab):
    """A veto, a service that does not stop, a file system that cannot be silenced."""
    d = lab.by_name
    p = d["stubborn"].ssh(STUBBORN)
    check("stubborn: its script fails", d["stubborn"].ssh("/etc/init.d/stubborn stop").returncode == 1, p.stderr)
    p = d["busy"].ssh(BUSY_BOOT)
    check("busy: /boot does not become read-only",
          d["busy"].ssh("mount -o remount,ro /boot").returncode != 0, p.stdout + p.stderr)
    image = lab.image("busybox", "mbr-boot")
    p, report = flash(lab, "policies", "-l", "veto,stubborn,busy", "-v", "--yes", image, code=1)
    for name, outcome, cls, word in (("veto", "skipped", "veto", "not on a Friday"),
                                     ("stubborn", "failed", "refused", "stubborn"),
                                     ("busy", "failed", "refused", "vfat on /boot is in use")):
        t = report[name]
        check(f"{name}: {t['outcome']}, {t['error']['text']}",
              t["outcome"] == outcome and t["error"]["class"] == cls and word in t["error"]["text"]
              and t["damage"] == "untouched", str(t))
        check_runs_on(lab, d[name])
    check("who started what again is said", p.stderr.count("the sysv policy has undone what it did") == 2, p.stderr)
    for strict in ([], ["--strict"]):
        _, report = flash(lab, "-".join(["veto", *strict]), "-l", "veto", "--yes", *strict, image, code=len(strict))
        check("the outcome is skipped", report["veto"]["outcome"] == "skipped")


def test_second(lab):
    """Two controllers that know nothing of each other: the agent on the device decides."""
    d = lab.by_name["held"]
    image = lab.image("busybox", "mbr")
    first = lab.popen(lab.fleetflash_argv("-i", lab.inventory_path, "-l", "held", "--yes", image),
                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (lab.dir / "gate-asked").exists() and first.poll() is None:
        time.sleep(0.2)  # the first is at its policy, which waits for the gate
    lab.state_dir = lab.dir / "other-state"  # its locks are not the first one's
    for how in ("--yes", "--check"):
        p = lab.fleetflash("-i", lab.inventory_path, "-l", "held", how, image)
        print(p.stderr, flush=True)
        check(f"the second ({how}) is told who has the device, and since when; exit code 4", p.returncode == 4
              and "being flashed by" in p.stderr and " since " in p.stderr, f"{p.returncode}\n{p.stderr}")
    (lab.dir / "gate").touch()
    out, err = first.communicate(timeout=300)
    check("the first was not disturbed", first.returncode == 0 and "skipped" in err, f"{first.returncode}\n{out}{err}")
    check_runs_on(lab, d)


def test_agent_gone(lab):
    """The agent dies as the fence is to go up: nothing was written, the service runs again."""
    program = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash")
    folder = lab.dir / "agents"
    folder.mkdir()
    shutil.copy(program.parent / "agents" / "fleetflash-agent-x86_64-test", folder / "fleetflash-agent-x86_64")
    p, report = flash(lab, "gone", "-l", "gone", "-v", "--yes", lab.image("busybox", "mbr"), code=1,
                      env={"FLEETFLASH_AGENT_PATH": str(folder)})
    t = report["gone"]
    check("the agent died when it was told to", "test agent: die-at=fencing" in lab.by_name["gone"].console_text())
    check(f"gone: {t['error']['text']}", t["outcome"] == "failed" and t["damage"] == "untouched", str(t))
    check("the service was started again", "the sysv policy has undone what it did" in p.stderr, p.stderr)
    check_runs_on(lab, lab.by_name["gone"])


# An ssh server of this machine in the lab's network, as a user who may do nothing here.
SSHD = """mount --bind "$1/passwd" /etc/passwd &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups /usr/sbin/sshd -D -f "$1/sshd_config" -E "$1/log"
"""


def test_self(lab):
    """The machine that fleetflash runs on. Should the guard be missing, nothing can come of it: --check only,
    and an ssh server without any rights."""
    place = lab.dir / "self"
    place.mkdir()
    lab.dir.chmod(0o711)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host_key"], check=True)
    shutil.copy(lab.home / ".ssh" / "id_ed25519.pub", place / "authorized_keys")
    (place / "passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\nkeeper:x:65534:65534::{place}:/bin/sh\n")
    (place / "sshd_config").write_text(
        f"Port 2222\nListenAddress 10.77.0.1\nHostKey {place}/host_key\nUsePAM no\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {place}/authorized_keys\n")
    for path in (place, *place.iterdir()):
        os.chown(path, 65534, 65534)
    server = subprocess.Popen(lab.network.enter(["unshare", "--mount", "sh", "-c", SSHD, "sshd", place]),
                              stdin=subprocess.DEVNULL)
    lab.inventory_path = lab.inventory(name="self.yaml", text=(
        'defaults: {user: keeper, port: 2222, become: none, identity: "{identity}", connect_timeout: 10s}\n'
        "groups: {own: {hosts: {desk: {host: 10.77.0.1, after: {host_key: accept-once}}}}}\n"))
    with open(lab.home / ".ssh" / "known_hosts", "a") as f:
        f.write("[10.77.0.1]:2222 " + " ".join((place / "host_key.pub").read_text().split()[:2]) + "\n")
    _, report = flash(lab, "self", "--check", lab.image("busybox", "mbr"), code=1)
    server.terminate()
    server.wait()
    error = report["desk"]["error"]
    check(f"desk: {error['text']} — {error['remedy']}", error["class"] == "refused"
          and "fleetflash itself runs" in error["text"] and "--local" in error["remedy"], (place / "log").read_text())


# name: (test, its devices); the one that writes another inventory comes last
TESTS = {"memory": (test_memory, ("noexec", "missing", "full")),
         "no_memory": (test_no_memory, ("nomount",)),
         "policies": (test_policies, ("veto", "stubborn", "busy")),
         "second": (test_second, ("held",)),
         "agent_gone": (test_agent_gone, ("gone",)),
         "self": (test_self, ())}


def settings(lab, device):
    """A host's own keys in the inventory."""
    gate = f"touch {lab.dir}/gate-asked; until [ -e {lab.dir}/gate ]; do sleep 0.2; done; echo enough; exit 10"
    services = {"veto": say("echo not on a Friday; exit 10"), "held": say(gate),
                "stubborn": {**VICTIM, "stop": ["lab-victim", "stubborn"], "timeout": "8s"}}
    return {"services": services.get(device.name, VICTIM), "after": {"host_key": "accept-once", "user": "root"}}


def main():
    require()
    names = sys.argv[1:] or list(TESTS)
    with Lab() as lab:
        for name in (device for test in names for device in TESTS[test][1]):
            systemd = name == "nomount"
            lab.device(name, kind="systemd" if systemd else "busybox", user="pi" if systemd else "root",
                       layout="mbr-boot" if name in TESTS["policies"][1] else "mbr", writers=False,
                       append="ff.agent=die-at=fencing" if name == "gone" else "")
        lab.boot_all()
        lab.by_name = {d.name: d for d in lab.devices}
        lab.boot_ids = {d.name: d.boot_id() for d in lab.devices}
        if lab.devices:
            lab.inventory_path = lab.inventory(host=lambda d: settings(lab, d))
        for name in names:
            TESTS[name][0](lab)


if __name__ == "__main__":
    main()
