#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Silence: a side that is gone without an end of the stream, as when a host loses power.

A controller that stands still (SIGSTOP) in the middle of a stream is given up by the agent, which says so
on the console and waits; an agent that stands still is given up by the controller, which tries again. Both
times the device ends up flashed, byte for byte.
"""

import os
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, console_ends, first_difference, same_as_image
from lab import Lab, require

AGENT = "grep -l ^@fleetflash-agent /proc/[0-9]*/cmdline | cut -d/ -f3"


def wait_for(what, condition, seconds, detail=lambda: ""):
    """Until the condition holds; the test fails when it never does."""
    end = time.monotonic() + seconds
    while not (good := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    check(what, good, "" if good else detail())


class Flash:
    """The program at work, slowly; what it says goes to a file."""

    def __init__(self, lab, mode, version, *args):
        self.lab, self.device, self.version = lab, lab.devices[0], version
        self.log = lab.dir / f"{version}.log"
        inventory = lab.inventory(host=lambda d: {"mode": mode, "after": {"host_key": d.host_key_fingerprint(version)}},
                                  defaults={"connect_timeout": "10s", "retries": 8})
        lab.known_hosts(version="old" if version == "new" else "new")
        with open(self.log, "w") as out:
            self.process = lab.popen(lab.fleetflash_argv("-i", inventory, "--yes", "-v", *args, self.image()),
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def image(self):
        return self.lab.image("busybox", "mbr-boot", self.version)

    def said(self, word):
        return word in self.log.read_text()

    def told(self):
        return self.log.read_text() + console_ends([self.device])

    def wait_said(self, word, seconds=120):
        wait_for(f"the controller says: {word}", lambda: self.said(word) or self.process.poll() is not None, seconds,
                 self.told)
        check("and goes on", self.process.poll() is None, self.told())

    def finish(self):
        code = self.process.wait(300)
        raw = self.lab.raw_image("busybox", "mbr-boot", self.version)
        check("exit code 0", code == 0, self.told())
        good = self.device.snapshots and same_as_image(self.device.snapshots[-1], raw)
        check(f"the device runs {self.version}, its disk was the image",
              good and self.device.image_version() == self.version,
              first_difference(self.device.snapshots[-1], raw) if self.device.snapshots else "no snapshot")


def silent_controller(lab):
    flash = Flash(lab, "stream", "new", "--rate", "200K")
    flash.wait_said("writing")
    flash.process.send_signal(signal.SIGSTOP)
    wait_for("the agent gives the silent controller up and says so", lambda: "no word from" in flash.device.console_text(),
             60, flash.told)
    last = flash.device.console_text().rsplit("no word from", 1)[1]
    check("on the console: do not power off, --resume", "DO NOT POWER OFF" in last and "--resume" in last, flash.told())
    flash.process.send_signal(signal.SIGCONT)
    flash.finish()


def silent_agent(lab):
    flash = Flash(lab, "stage", "old", "--rate", "200K")
    flash.wait_said("staging")
    flash.device.ssh(f"kill -STOP $({AGENT})")
    flash.wait_said("nothing is heard from the agent any more")
    flash.device.ssh(f"kill -CONT $({AGENT})")
    flash.finish()


def main():
    require()
    with Lab() as lab:
        lab.device("node", kind="busybox", layout="mbr-boot", mem="128M")
        lab.boot_all()
        silent_controller(lab)
        silent_agent(lab)


if __name__ == "__main__":
    main()
