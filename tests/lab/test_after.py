#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""After the reboot: how the new system is reached, whose host key is trusted, what proves that it runs, and
what is said of a device that does not come back. Each image is flashed by a command of its own; they run
side by side, since most of the time is waiting.

    test_after.py [NAME...]      only these tests"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import images
from cache import HERE
from check import check
from lab import Lab, require

STOP = {"systemd": {"policy": "systemd", "stop": ["lab-victim.service"]}, "busybox": {"policy": "sysv", "stop": ["lab-victim"]}}
ONCE = {"host_key": "accept-once"}
IMPATIENT = {"reboot_timeout": "patience"}  # ends badly, so that no more time is spent than a boot takes

# A first boot that leaves nothing by which a disk is known: the root's UUID changes as well.
FIRST_BOOT = """#!/bin/sh
/usr/lib/lab/firstboot-common && tune2fs -U random /dev/ubda1 || exit 1
# The new UUID is in the journal so far; and the whole disk has a cache of its own.
dd if=/dev/ubda1 of=/dev/ubda1 bs=4096 count=1 conv=notrunc,fsync
blockdev --flushbufs /dev/ubda
# What udev found on the disk before is no proof then.
udevadm trigger --action=change --subsystem-match=block --settle
"""
# Such a unit ends before the ssh server starts; this one begins when udev has looked at the disks.
FIRST_UNIT = "/etc/systemd/system/lab-firstboot.service"
AFTER = "After=systemd-remount-fs.service"
# Another port, and a second address: the first one plus 100.
MOVED_SSHD = """PermitRootLogin no
PasswordAuthentication no
UseDNS no
Port 2022
HostKey /etc/ssh/ssh_host_ed25519_key
"""
MOVED_NET = """#!/bin/sh
/usr/lib/lab/start-common "$@" || exit 1
[ "$1" = net ] || exit 0
ip=$(sed 's/.*ff.ip=\\([0-9.]*\\).*/\\1/' /proc/cmdline)
ip addr del "$ip/24" dev eth0
ip addr add "${ip%.*}.$((${ip##*.} + 100))/24" dev eth0
"""


def edited(lab, name, image, files=(), moves=(), features=None):
    """A copy of a raw image whose root file system has other files: (path, mode, text or file)."""
    path = lab.dir / name
    shutil.copy(image, path)
    root = f"{path}?offset={images.partitions(path)[-1][0]}"
    if features:
        subprocess.run(["tune2fs", "-O", features, root], check=True, stdout=subprocess.DEVNULL)
    commands = [line for old, new in moves for line in (f"ln {old} {new}", f"unlink {old}")]
    for n, (target, mode, text) in enumerate(files):
        source = lab.dir / f"{name}.{n}"
        source.write_text(text)
        commands += [f"rm {target}", f"write {source} {target}", f"sif {target} mode {mode}",
                     *(f"sif {target} {field} {1000 if '/home/pi/' in target else 0}" for field in ("uid", "gid"))]
    script = lab.dir / f"{name}.debugfs"
    script.write_text("\n".join(commands) + "\n")
    subprocess.run(["debugfs", "-w", "-f", script, root], check=True, capture_output=True)
    return path


def flash(lab, name, *args, code):
    """Runs the program on the group of that name; returns {target's name: its part of the report}."""
    report = lab.dir / f"{name}.json"
    p = lab.fleetflash("-i", lab.inventory_path, "-l", name, "--report", report, *args)
    print(f"--- {name}\n{p.stderr}", flush=True)
    check(f"{name}: exit code {code}", p.returncode == code, f"{p.returncode}\n{p.stderr}")
    return {t["name"]: t for t in json.loads(report.read_text())["targets"]}


def flash_deserted(lab, name, *args, code):
    """The same, but the program is killed when the first device reboots, and goes on with --resume: it has sent nothing then."""
    report = lab.dir / f"{name}.json"
    argv = lab.fleetflash_argv("-i", lab.inventory_path, "-l", name, *args, "--json")
    process = lab.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    run = json.loads(process.stdout.readline())["run"]
    came = any(json.loads(line).get("state") == "reachability" for line in process.stdout)
    process.kill()
    process.wait()
    check(f"{name}: the controller is killed when a device reboots", came)
    p = lab.fleetflash("--resume", run, "--yes", "--report", report)
    print(f"--- {name}\n{p.stderr}", flush=True)
    check(f"{name}: --resume: exit code {code}", p.returncode == code, f"{p.returncode}\n{p.stderr}")
    return {t["name"]: t for t in json.loads(report.read_text())["targets"]}


def check_flashed(lab, target, proof):
    d = lab.by_name[target["name"]]
    check(f"{d.name}: flashed; {target['proof']}", target["outcome"] == "flashed" and proof in target["proof"], str(target))
    check(f"{d.name}: it has rebooted", d.reboots() == 1, "".join(d.starts()))


def check_lost(lab, target, cls, *words):
    e = target["error"]
    check(f"{target['name']}: lost in {target['state']}; {e['text']} — {e['remedy']}",
          target["outcome"] == "failed" and target["damage"] == "lost" and target["state"] == "reachability"
          and e["class"] == cls and e["remedy"] and all(w in e["text"] for w in words), str(target))


def test_first(lab):
    """An image with a new signature, machine id, host key and root UUID after its first boot."""
    unit = (HERE / "roots/systemd" / FIRST_UNIT.lstrip("/")).read_text()
    image = edited(lab, "first.img", lab.raw_image("systemd", "mbr", "firstboot"), features="metadata_csum_seed",
                   moves=[("/usr/lib/lab/firstboot", "/usr/lib/lab/firstboot-common")],
                   files=[("/usr/lib/lab/firstboot", "0100755", FIRST_BOOT),
                          (FIRST_UNIT, "0100644", unit.replace(AFTER, f"{AFTER} systemd-udev-trigger.service"))])
    t = flash_deserted(lab, "first", "--yes", image, code=1)
    once = lab.by_name["once"]
    check_flashed(lab, t["once"], "sampled blocks are the image's")
    with open(once.disk, "rb") as disk, open(image, "rb") as flashed:
        start = images.partitions(image)[-1][0]
        same = [disk.seek(at) == flashed.seek(at) and disk.read(size) == flashed.read(size)
                for at, size in ((440, 4), (start + 1024 + 0x68, 16))]
    check("signature and root UUID are not the image's any more", same == [False, False], str(same))
    key = once.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").stdout
    check("nor is its host key", key and not key.startswith(once.host_key("new")), key)
    # Nobody said that the key changes, so the image's own must come.
    check_lost(lab, t["baked"], "hostkey", t["baked"]["host_key_after"], "none of the image's")


def test_moved(lab):
    """An image with another user, key, address and port; its baked host key is trusted without a word."""
    key = (lab.home / ".ssh" / "second.pub").read_text()
    image = edited(lab, "moved.img", lab.raw_image("systemd", "mbr", "new"),
                   moves=[("/usr/lib/lab/start", "/usr/lib/lab/start-common")],
                   files=[("/usr/lib/lab/start", "0100755", MOVED_NET),
                          ("/etc/ssh/sshd_config.d/lab.conf", "0100644", MOVED_SSHD),
                          ("/home/pi/.ssh/authorized_keys", "0100600", key)])
    t = flash(lab, "moved", "--yes", image, code=1)
    d = lab.by_name["far"]
    check("far: flashed over another address, port, user and key", t["far"]["outcome"] == "flashed"
          and t["far"]["host_key_after"] == d.host_key_fingerprint("new"), str(t["far"]))
    check(f"far: {t['far']['proof']}", "disk signature" in t["far"]["proof"])
    check("far: its health was asked for until it was good", lab.ssh_far("cat /home/pi/asked").stdout == "1\n2\n3\n")
    check_lost(lab, t["sick"], "refused", "health check", "status 7")
    check_lost(lab, t["slow"], "timeout", "the new system runs", "health check", "did not end within")
    check("sick: what ran is in the report", t["sick"]["boot_id_after"] and "disk signature" in t["sick"]["proof"], str(t["sick"]))


def test_broken(lab):
    """An image that does not boot, in a fleet where not everybody gets it."""
    t = flash(lab, "broken", "--yes", lab.image("busybox", "mbr", "broken"), code=1)
    check_lost(lab, t["panics"], "timeout", "did not come back within", "last seen")
    check_lost(lab, t["mute"], "timeout", "did not come back within", "no answer to ping")
    check("unseen: flashed, and nobody looked", t["unseen"]["outcome"] == "flashed" and "reach: none" in t["unseen"]["proof"],
          str(t["unseen"]))
    spared = lab.by_name["spared"]
    check("spared: runs on beside the lost ones", t["spared"]["outcome"] == "skipped" and spared.image_version() == "old"
          and not spared.reboots(), str(t["spared"]))
    for name in ("panics", "mute", "unseen"):
        lab.by_name[name].wait_off()
        check(f"{name}: it has panicked", "Kernel panic" in lab.by_name[name].console_text())


def test_word(lab):
    """Host keys of an image that holds none we can read: somebody has to vouch for them."""
    image = lab.image("busybox", "mbr", "new")
    new = lab.by_name["anew"]
    boot_id = new.boot_id()
    report = lab.dir / "word-2.json"
    p = lab.fleetflash("-i", lab.inventory_path, "-l", "anew", "--report", report, "--yes", image)
    check("nobody vouches: exit code 2", p.returncode == 2 and "accept-once" in p.stderr, f"{p.returncode}\n{p.stderr}")
    check("nobody vouches: nothing was touched", new.boot_id() == boot_id and not new.reboots(), report.read_text())
    t = flash(lab, "word", "--yes", "--force", "--accept-once", image, code=1)
    check_flashed(lab, t["anew"], "disk signature")
    check("anew: the key that was accepted is in the report", t["anew"]["host_key_after"] == new.host_key_fingerprint("new"))
    check_flashed(lab, t["kept"], "disk signature")
    check("kept: the key stayed", t["kept"]["host_key_after"] == t["kept"]["host_key_before"])
    check_lost(lab, t["unkept"], "hostkey", new.host_key_fingerprint("new"))
    check_flashed(lab, t["pinged"], "answers ping again after it was gone (reach: ping)")
    check("pinged: nobody logged in", t["pinged"]["host_key_after"] is None)
    check("pinged: it runs the new image", lab.by_name["pinged"].wait_ssh().image_version() == "new")


# The image's test: its devices, {name: (how the device is made, its keys in the inventory)}
HEALTH = "n=$(cat ~/asked 2>/dev/null | wc -l); echo $((n + 1)) >>~/asked; [ $n -ge 2 ]"
TESTS = {
    "first": (test_first, {
        "once": ({"kind": "systemd", "user": "pi"}, {"after": ONCE}),
        "baked": ({"kind": "systemd"}, IMPATIENT)}),
    "moved": (test_moved, {
        "far": ({"kind": "systemd"}, {"health": HEALTH}),
        "sick": ({"kind": "systemd"}, {"health": "exit 7", **IMPATIENT}),
        # The image is the others', and so is the time that it needs.
        "slow": ({"kind": "systemd"}, {"health": "sleep 1000", **IMPATIENT})}),
    "broken": (test_broken, {
        "panics": ({}, {"after": ONCE, **IMPATIENT}),
        "mute": ({}, {"reach": "ping", **IMPATIENT}),
        "unseen": ({}, {"reach": "none"}),
        "spared": ({}, {"after": ONCE, "services": {"policy": "exec", "command": ["sh", "-c", "echo spared; exit 10"]}})}),
    "word": (test_word, {
        "anew": ({}, {}),
        "kept": ({"version": "new"}, {"after": {"host_key": "keep"}}),
        "unkept": ({}, {"after": {"host_key": "keep"}, **IMPATIENT}),
        "pinged": ({}, {"reach": "ping"})}),
}


def make_fleet(lab, names):
    """The devices of the tests, and one inventory with a group for each test."""
    groups, keys, impatient = {}, {}, []
    for test in names:
        for name, (made, host) in TESTS[test][1].items():
            d = lab.device(name, **{"kind": "busybox", "layout": "mbr", "writers": False, **made})
            groups.setdefault(test, []).append(d)
            keys[name] = {"services": STOP[d.kind], **host}
            if IMPATIENT.items() <= host.items():
                impatient.append(d)
            if test == "moved":
                net, number = d.ip.rsplit(".", 1)
                keys[name]["after"] = {"host": f"{net}.{int(number) + 100}", "user": "pi", "port": 2022,
                                       "identity": str(lab.home / ".ssh" / "second")}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.home / ".ssh" / "second"], check=True)
    lab.boot_all()
    for d in impatient:
        keys[d.name]["reboot_timeout"] = lab.patience(d.kind)
    print({kind: lab.patience(kind) for kind in {d.kind for d in impatient}}, flush=True)
    lab.by_name = {d.name: d for d in lab.devices}
    lab.inventory_path = lab.inventory(groups=groups, after=None, host=lambda d: keys[d.name],
                                       defaults={"reboot_timeout": "5m"})
    known = lab.home / ".ssh" / "known_hosts"
    if kept := lab.by_name.get("kept"):
        known.write_text(known.read_text().replace(f"{kept.ip} {kept.host_key('old')}", f"{kept.ip} {kept.host_key('new')}"))

    def ssh_far(command):
        after = keys["far"]["after"]
        return lab.run(["ssh", "-F", "/dev/null", "-i", after["identity"], "-p", "2022", "-o", "StrictHostKeyChecking=no",
                        "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", f"pi@{after['host']}", command],
                       capture_output=True, text=True)
    lab.ssh_far = ssh_far


def main():
    require()
    names = sys.argv[1:] or list(TESTS)
    with Lab() as lab:
        make_fleet(lab, names)
        with concurrent.futures.ThreadPoolExecutor(max_workers=len(names)) as pool:
            running = [pool.submit(TESTS[name][0], lab) for name in names]
        for one in running:
            one.result()  # raises what the test ended with


if __name__ == "__main__":
    main()
