#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What must not be flashed is left alone, with a reason and a remedy, and the others go on. Every exit
code has its case here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, outcomes, same_as_image
from lab import Lab, require

IMAGE_SIZE = 64 << 20


def padded_image(lab):
    """The new image, longer: the disk of one device is too small for it."""
    path = lab.dir / "new.img"
    shutil.copy(lab.raw_image("busybox", "mbr", "new"), path)
    os.truncate(path, IMAGE_SIZE)
    return path


def write_inventory(lab, image, extra=""):
    good, small, other_key, refused, nosudo = lab.devices
    path = lab.inventory(groups={"first": [good], "rest": [small, other_key, refused, nosudo]}, extra=extra,
                         host=lambda d: {
                             "after": {"host_key": good.host_key_fingerprint("new"), "user": "root"},
                             **({"identity": str(lab.dir / "wrong_key")} if d is refused else {}),
                             **({"user": "nosudo"} if d is nosudo else {})})
    text = path.read_text().replace("  rest:\n    hosts:\n", "  rest:\n    hosts:\n      absent: "
                                    '{"host": "10.77.0.250", "after": {"host_key": "accept-once"}, "connect_timeout": "5s", "retries": 1}\n')
    path.write_text(text)
    known = lab.home / ".ssh" / "known_hosts"
    lines = [line for line in known.read_text().splitlines() if not line.startswith(f"{other_key.ip} ")]
    known.write_text("\n".join(lines + [f"{other_key.ip} {other_key.host_key('new')}"]) + "\n")
    return path


def untouched(device, boot_id, disk):
    """Runs the old system, never rebooted, and nothing of it was overwritten."""
    check(f"{device.name}: the old system still runs", device.boot_id() == boot_id and device.image_version() == "old")


def test_mixed(lab, image, boot_ids):
    """One good device among five bad ones."""
    report = lab.dir / "mixed.json"
    inventory = write_inventory(lab, image)
    p = lab.fleetflash("-i", inventory, "--yes", "--report", report, image)
    print(p.stderr, flush=True)
    check("exit code 1: some target failed", p.returncode == 1, p.stderr)
    got = outcomes(report)
    check("the good one is flashed, all others failed",
          got == {"good": "flashed", **dict.fromkeys(["small", "other-key", "refused", "nosudo", "absent"], "failed")}, str(got))
    errors = {t["name"]: t["error"] for t in json.loads(report.read_text())["targets"]}
    for name, cls, word in [("small", "refused", "larger"), ("other-key", "hostkey", "key"),
                            ("refused", "auth", "key"), ("nosudo", "auth", "root"), ("absent", None, "10.77.0.250")]:
        e = errors[name]
        check(f"{name}: {e['text']} — {e['remedy']}", word in e["text"] and (cls is None or e["class"] == cls)
              and (e["remedy"] or name == "absent"), str(e))
    for d in lab.devices[1:]:
        untouched(d, boot_ids[d.name], None)
    good = lab.devices[0]
    check("the good one runs the new image", good.image_version() == "new" and same_as_image(good.snapshots[-1], image))


def test_usage(lab, image, boot_ids):
    """Exit code 2, and nothing is touched."""
    inventory = write_inventory(lab, image)
    small = lab.devices[1]
    xz = lab.image("busybox", "mbr", "new", "xz")
    cut = lab.dir / "cut.img.xz"
    cut.write_bytes(xz.read_bytes()[:-1000])
    flipped = lab.dir / "flipped.img.xz"
    data = bytearray(xz.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    bmap = lab.dir / "image.bmap"
    bmap.write_text('<?xml version="1.0" ?>\n<bmap version="2.0">\n' + "<Range> 0-1 </Range>\n" * 40 + "</bmap>\n")
    bad = lab.dir / "bad.yaml"
    bad.write_text("groups:\n  lab:\n    hots: {a: {host: 10.77.0.11}}\n")
    for what, args, word in [
        ("an image cut short", ("-i", inventory, "-l", "small", "--yes", cut), "cut"),
        ("a flipped byte", ("-i", inventory, "-l", "small", "--yes", flipped), "flipped"),
        ("a file that is no image", ("-i", inventory, "-l", "small", "--yes", bmap), "bmap"),
        ("no such image", ("-i", inventory, "-l", "small", "--yes", lab.dir / "none.img"), "none.img"),
        ("a mistake in the inventory", ("-i", bad, "--yes", xz), "bad.yaml:3:5"),
        ("no terminal and no --yes", ("-i", inventory, "-l", "small", xz), "--yes"),
        ("a wrong --sha256", ("-i", inventory, "-l", "small", "--yes", "--sha256", "0" * 64, xz), "sha256"),
        ("an unknown option", ("-i", inventory, "--fsck", xz), "--fsck"),
        ("a limit that matches nothing", ("-i", inventory, "-l", "nobody", "--yes", xz), "nobody"),
    ]:
        p = lab.fleetflash(*args)
        check(f"exit code 2 for {what}: {p.stderr.strip().splitlines()[-1:]}",
              p.returncode == 2 and word in p.stderr, f"{p.returncode}\n{p.stderr}")
    untouched(small, boot_ids[small.name], None)


def test_state(lab, image, boot_ids):
    """A journal that is damaged, or cannot be written: 2, and nothing is touched."""
    inventory, xz, small = write_inventory(lab, image), lab.image("busybox", "mbr", "new"), lab.devices[1]
    damaged, full, file, readonly = (lab.dir / n for n in ("damaged", "full", "file", "readonly"))
    damaged.mkdir()
    readonly.mkdir()
    (damaged / "journal.sqlite").write_bytes(b"SQLite format 3\0" + os.urandom(8000))
    file.touch()
    full.symlink_to("/dev/full")
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o ro none "$0" && exec "$@"', readonly]
    for place, word in ((damaged, "is damaged"), (file, "--state-dir"), (full, "--state-dir"), (readonly, "--state-dir")):
        argv = [lab.fleetflash_argv()[0], "--state-dir", place, "-i", inventory, "-l", "small", "--yes", xz]
        p = lab.run([*(mount if place == readonly else []), *argv], text=True, capture_output=True, timeout=100)
        check(f"exit code 2 for {place.name} state: {p.stderr.strip().splitlines()[-1:]}", p.returncode == 2 and word in p.stderr
              and "small: " not in p.stderr, f"{p.returncode}\n{p.stderr}")
    untouched(small, boot_ids[small.name], None)


def test_untrusted(lab, image, boot_ids):
    """Nobody vouches for the new host key: not without the user's word."""
    refused = lab.devices[1]
    text = ('defaults: {user: root, identity: "{identity}"}\n'
            "groups: {lab: {hosts: {small: {host: %s}}}}\n" % refused.ip)
    inventory = lab.inventory(text=text, name="untrusted.yaml")
    p = lab.fleetflash("-i", inventory, "--check", lab.image("busybox", "mbr", "new"))
    check("--check says what would happen and touches nothing", p.returncode in (0, 1) and "small" in p.stderr, p.stderr)
    untouched(refused, boot_ids["small"], None)


def test_halt(lab, image, boot_ids):
    """A wave that fails halts the rollout: 3, and the next wave is not started."""
    report = lab.dir / "halt.json"
    inventory = lab.dir / "halt.yaml"
    small = lab.devices[1]
    identity = lab.home / ".ssh" / "id_ed25519"
    inventory.write_text(f"""
defaults: {{user: root, identity: {identity}, connect_timeout: 3s, retries: 0, after: {{host_key: accept-once}}}}
rollout:
  waves:
    - {{groups: [canary], max_failures: 0}}
    - {{groups: [rest]}}
groups:
  canary: {{hosts: {{absent: {{host: 10.77.0.250}}}}}}
  rest: {{hosts: {{small: {{host: {small.ip}}}}}}}
""")
    p = lab.fleetflash("-i", inventory, "--yes", "--report", report, lab.image("busybox", "mbr", "new"))
    check("exit code 3: halted", p.returncode == 3, p.stderr)
    check("the second wave was not started", outcomes(report) == {"absent": "failed", "small": "not-started"}, p.stderr)
    untouched(small, boot_ids["small"], None)


def is_held_by(lab, pid):
    """Whether a process has taken a device."""
    return any(f"(process {pid})" in lock.read_text() for lock in (lab.state_dir / "locks").glob("*.lock"))


def test_held(lab, image, boot_ids):
    """While one run has a device, another is told so (4), and an interrupted run ends with 130."""
    inventory = lab.dir / "halt.yaml"
    small = lab.devices[1]
    small.limit_rate("64kbit")  # the first run needs a while
    first = lab.popen(lab.fleetflash_argv("-i", inventory, "-l", "small", "--yes", lab.image("busybox", "mbr", "new")),
                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not is_held_by(lab, first.pid) and first.poll() is None:
        time.sleep(0.05)
    p = lab.fleetflash("-i", inventory, "-l", "small", "--yes", lab.image("busybox", "mbr", "new"))
    check("exit code 4: another run holds the device", p.returncode == 4 and "held by run" in p.stderr, p.stderr)
    first.send_signal(signal.SIGINT)
    small.limit_rate(None)
    _, err = first.communicate(timeout=120)
    check("exit code 130: interrupted", first.returncode == 130, f"{first.returncode}\n{err}")
    untouched(small, boot_ids["small"], None)


def main():
    require()
    with Lab() as lab:
        lab.device("good", kind="busybox", layout="mbr", writers=False, disk_size=IMAGE_SIZE)
        lab.device("small", kind="busybox", layout="mbr", writers=False)
        lab.device("other-key", kind="busybox", layout="mbr", writers=False)
        lab.device("refused", kind="busybox", layout="mbr", writers=False)
        lab.device("nosudo", kind="systemd", layout="mbr", writers=False)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", lab.dir / "wrong_key"], check=True)
        lab.boot_all()
        boot_ids = {d.name: d.boot_id() for d in lab.devices}
        image = padded_image(lab)
        for test in (test_usage, test_state, test_untrusted, test_halt, test_held, test_mixed):
            test(lab, image, boot_ids)


if __name__ == "__main__":
    main()
