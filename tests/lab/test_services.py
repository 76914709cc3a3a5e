#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Services that were stopped by a controller that was killed are started again: by the agent when it gives the
device back by itself, and by a --resume that backs the device out."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from cuts import Flasher
from lab import Lab, require
from test_fence import agents

# lab-slow takes its time to stop: the controller is killed meanwhile. lab-stubborn does not stop in time: what
# is resumed is backed out.
SCRIPT = """#!/bin/sh
case $1 in
start) touch /run/NAME ;;
stop) sleep %s; rm -f /run/NAME ;;
status) [ -e /run/NAME ] || exit 3 ;;
esac
"""
UNIT = """[Service]
ExecStart=/bin/sleep 1d
ExecStop=/bin/sleep %s
TimeoutStopSec=infinity
"""
SERVICES = {
    "busybox": ("/etc/init.d/NAME", SCRIPT, "/etc/init.d/NAME start", "/etc/init.d/NAME status"),
    "systemd": ("/etc/systemd/system/NAME.service", UNIT, "systemctl daemon-reload && systemctl start NAME",
                "systemctl is-active --quiet NAME"),
}
STUBBORN = {"busybox": "0; exit", "systemd": "25"}
POLICY = {"busybox": "sysv", "systemd": "systemd"}


def runs(device, *names):
    return all(device.ssh(SERVICES[device.kind][3].replace("NAME", name)).returncode == 0 for name in names)


def add(device, name, how):
    path, text, start, _ = (t.replace("NAME", name) for t in SERVICES[device.kind])
    device.ssh(f"cat >{path} && chmod 755 {path} && {start}", stdin=text % how)
    check(f"{device.name}: {name} runs", runs(device, name))


class Killed:
    """A run for one device whose controller is killed between its services and the fence."""

    def __init__(self, lab, device, folder):
        self.lab, self.device, self.folder, self.state = lab, device, folder, lab.dir / f"state-{device.name}"
        self.inventory = lab.inventory([device], name=f"{device.name}.yaml", host=lambda d: {
            "mode": "stage", "services": {"policy": POLICY[d.kind], "timeout": "12s",
                                          "stop": ["lab-victim", "lab-slow", "lab-stubborn"],
                                          **({"kill": "no"} if d.kind == "systemd" else {})}})

    def begin(self):
        self.boot_id = self.device.boot_id()
        self.flasher = Flasher(self.lab, self.device, self.state, "-i", self.inventory, "--yes",
                               self.lab.image("busybox", "mbr-boot"), env={"FLEETFLASH_AGENT_PATH": self.folder})
        self.came = self.flasher.wait_for("services")
        self.device.wait_until(lambda d: not runs(d, "lab-victim"), 60)
        self.flasher.kill()

    def resume(self):
        self.again = Flasher(self.lab, self.device, self.state, "--resume", env={"FLEETFLASH_AGENT_PATH": self.folder})
        self.code = self.again.finish()

    def told(self):
        return f"{self.flasher.told()}--- then\n{self.again.told()}--- console\n{self.flasher.console()[-3000:]}"


def main():
    require()
    with Lab() as lab:
        alone = lab.device("alone", kind="systemd", layout="mbr-boot", append="ff.agent=impatient")
        for kind in ("busybox", "systemd"):
            lab.device(f"back-{kind}", kind=kind, layout="mbr-boot", mem="256M" if kind == "systemd" else "128M")
        lab.boot_all()
        folder = agents(lab)
        lab.each(lambda d: add(d, "lab-slow", "8"))
        killed = [Killed(lab, d, folder) for d in lab.devices]
        lab.known_hosts()
        lab.each(lambda k: k.begin(), killed)
        for k in killed:
            check(f"{k.device.name}: killed when a service is down and another on its way", k.came, k.flasher.told())
        alone.wait_until(lambda d: "are started again" in d.console_text(), 60)
        check("alone: the agent says that it starts them again", True)
        alone.wait_until(lambda d: runs(d, "lab-victim", "lab-slow"), 60)
        check("alone: they run again, and it has not rebooted", alone.boot_id() == killed[0].boot_id)

        resumed = killed[1:]
        lab.each(lambda d: add(d, "lab-stubborn", STUBBORN[d.kind]), lab.devices[1:])
        lab.each(lambda k: k.resume(), resumed)
        for k in resumed:
            done = k.again.done()
            check(f"{k.device.name}: --resume backs it out: {done['error'] and done['error']['text']}",
                  k.code == 1 and done["outcome"] == "failed" and done["damage"] == "untouched", k.told())
            k.device.wait_until(lambda d: runs(d, "lab-victim", "lab-slow"), 60)
            check(f"{k.device.name}: the services run again, and it has not rebooted", k.device.boot_id() == k.boot_id)
        for d in lab.devices:
            left = d.ssh("ls /run/fleetflash-*/undo-* /dev/shm/fleetflash-*/undo-*").stdout
            check(f"{d.name}: nothing is left to do it again", not left, left)


if __name__ == "__main__":
    main()
