#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Proves that the lab itself does what tests rely on."""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from lab import Lab, require


def check(what, good, detail=""):
    print(f"{'ok' if good else 'FAILED'}: {what} {detail}", flush=True)
    if not good:
        sys.exit(1)


def written(device, path):
    """Size and time of a file that a writer writes: differs when it is at work."""
    return device.ssh(f"cat {path}/* | md5sum; ls -l {path}").stdout


def test_reach(lab, devices):
    start = time.monotonic()
    lab.boot_all()
    check("all devices boot", True, f"in {time.monotonic() - start:.0f} s")
    for d in devices:
        check(f"{d.name} runs the old image", d.image_version() == "old")
    pi = devices[0]
    check("user pi may use sudo", pi.ssh("sudo -n id -u", user="pi").stdout.strip() == "0")
    check("user nosudo may not", pi.ssh("sudo -n id -u", user="nosudo").returncode != 0)
    p = lab.run(["ssh", "-o", "BatchMode=yes", f"root@{pi.ip}", "cat /proc/sys/kernel/hostname"],
                capture_output=True, text=True)
    check("ssh trusts the known host key", p.stdout.strip() == pi.name, p.stderr)


def test_writers(lab, devices):
    for d in devices:
        for path in ("/var/lib/lab-writer", "/var/lib/lab-victim"):
            before = written(d, path)
            time.sleep(0.5)
            check(f"{d.name}: {path} is being written", written(d, path) != before)
    stop = {"systemd": "systemctl stop lab-victim", "busybox": "/etc/init.d/lab-victim stop"}
    for d in devices:
        d.ssh(stop[d.kind])
        before = written(d, "/var/lib/lab-victim")
        time.sleep(0.5)
        check(f"{d.name}: the victim stops when told", written(d, "/var/lib/lab-victim") == before)


def test_console(lab, devices):
    for d in devices:
        d.ssh("echo a word from $(cat /proc/sys/kernel/hostname) >/dev/console")
        check(f"{d.name}: the console is kept", f"a word from {d.name}" in d.console_text())


def test_link(lab, devices):
    d = devices[-1]
    d.link_down()
    check("a device without a link does not answer", not d.answers())
    d.link_up()
    d.wait_ssh(20)
    check("and does when it is back", True)
    d.limit_rate("4mbit")
    start = time.monotonic()
    d.ssh("cat >/dev/null", stdin="x" * 1000000)
    slow = time.monotonic() - start
    d.limit_rate(None)
    check("a rate limit holds", 1.5 < slow, f"1 MB at 4 Mbit/s took {slow:.1f} s")


def test_reboot(lab, devices):
    before = [d.boot_id() for d in devices]
    for d in devices:
        d.ssh("reboot")
    lab.each(lambda d: d.wait_reboot(1))
    for d, boot_id in zip(devices, before):
        check(f"{d.name} rebooted", d.boot_id() != boot_id and d.boot_count() == 2)
        check(f"{d.name}: one snapshot", len(d.snapshots) == 1)
        problems = d.fsck(d.snapshots[0])
        check(f"{d.name}: its file systems are clean", not problems, "\n".join(problems))


def test_power_cut(lab, devices):
    d = devices[1]
    d.power_cut()
    check("a device without power does not answer", not d.answers())
    d.boot().wait_ssh()
    check("and boots again", d.starts() == ["power-on", "reboot", "power-on"] and len(d.snapshots) == 1)
    check("a device powers off when told", d.shutdown() and not d.running())


def main():
    require()
    with Lab() as lab:
        devices = [lab.device("pi", kind="systemd", layout="mbr-boot", user="pi", writers="append,mmap,fat"),
                   lab.device("small", kind="busybox", layout="mbr"),
                   lab.device("gpt", kind="busybox", layout="gpt", writers="pwrite,churn,walk")]
        lab.inventory()
        for test in (test_reach, test_writers, test_console, test_link, test_reboot, test_power_cut):
            test(lab, devices)


if __name__ == "__main__":
    main()
