# SPDX-License-Identifier: Apache-2.0
"""What lab tests say and how they fail."""

import json
import subprocess
import sys
import time

START = time.monotonic()


def check(what, good, detail=""):
    """Prints one line; ends the test when it is not good, with the detail."""
    stamp = f"[{time.monotonic() - START:5.0f}s]"
    print(f"{stamp} {'ok' if good else 'FAILED'}: {what}", flush=True)
    if not good:
        print(detail, flush=True)
        sys.exit(1)


def same_as_image(disk, image):
    """Whether a disk file begins with exactly the bytes of a raw image."""
    return subprocess.run(["cmp", "-s", "-n", str(image.stat().st_size), disk, image]).returncode == 0


def first_difference(disk, image):
    """Where a disk and an image differ, for a person."""
    p = subprocess.run(f"cmp -l -n {image.stat().st_size} {disk} {image} | head -5; "
                       f"cmp -l -n {image.stat().st_size} {disk} {image} | wc -l", shell=True,
                       capture_output=True, text=True)
    return p.stdout


def outcomes(report):
    """{name: outcome} of a report file."""
    return {t["name"]: t["outcome"] for t in json.loads(report.read_text())["targets"]}


def console_ends(devices):
    return "".join(f"--- {d.name}\n{d.console_text()[-1500:]}\n" for d in devices)


# A FAT that is mounted counts as dirty, an ext4 being written to cannot be checked.
SETTLE = """killall writer || pkill writer
swapoff /var/lab-swap
for i in 1 2 3 4 5; do mount -o remount,ro / && break; sleep 1; done
umount /boot
sync"""


def check_flashed(devices, image, version="new"):
    """Every device runs the image, and what was on its disk at the reboot is the image."""
    for d in devices:
        check(f"{d.name} runs the {version} image", d.image_version() == version, d.console_text()[-3000:])
        check(f"{d.name}: its disk at the reboot is the image, byte for byte",
              len(d.snapshots) > 0 and same_as_image(d.snapshots[-1], image),
              first_difference(d.snapshots[-1], image) if d.snapshots else "no snapshot")
    for d in devices:
        d.ssh(SETTLE)
        d.power_cut()
        problems = d.fsck()
        check(f"{d.name}: its file systems are clean", not problems, "\n".join(problems))
