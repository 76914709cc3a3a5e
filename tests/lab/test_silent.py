#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Silence: a side that is gone without an end of the stream, as when a host loses power.

A controller that stands still (SIGSTOP) in the middle of a stream is given up by the agent, which says so
on the console and waits; an agent that stands still is given up by the controller, which tries again. Both
times the device ends up flashed, byte for byte.
"""

import concurrent.futures
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

    def __init__(self, device, mode, *args):
        self.lab, self.device = device.lab, device
        self.log = self.lab.dir / f"{device.name}.log"
        inventory = self.lab.dir / f"{device.name}.yaml"
        argv = self.lab.fleetflash_argv("-i", inventory, "--yes", "-v", "--mode", mode, *args,
                                        self.lab.image("busybox", "mbr-boot", "new"), state=self.lab.dir / f"state-{device.name}")
        with open(self.log, "w") as out:
            self.process = self.lab.popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def said(self, word):
        return word in self.log.read_text()

    def told(self):
        return self.log.read_text() + console_ends([self.device])

    def wait_said(self, word, seconds=120):
        wait_for(f"{self.device.name}: the controller says: {word}", lambda: self.said(word) or self.process.poll() is not None, seconds,
                 self.told)
        check("and goes on", self.process.poll() is None, self.told())

    def finish(self):
        code = self.process.wait(300)
        raw = self.lab.raw_image("busybox", "mbr-boot", "new")
        check(f"{self.device.name}: exit code 0", code == 0, self.told())
        good = self.device.snapshots and same_as_image(self.device.snapshots[-1], raw)
        check(f"{self.device.name} runs the new image, its disk was the image",
              good and self.device.image_version() == "new",
              first_difference(self.device.snapshots[-1], raw) if self.device.snapshots else "no snapshot")


def silent_controller(device):
    flash = Flash(device, "stream", "--rate", "200K")
    flash.wait_said("writing")
    flash.process.send_signal(signal.SIGSTOP)
    wait_for("the agent gives the silent controller up and says so", lambda: "no word from" in flash.device.console_text(),
             120, flash.told)
    last = flash.device.console_text().rsplit("no word from", 1)[1]
    check("on the console: do not power off, --resume", "DO NOT POWER OFF" in last and "--resume" in last, flash.told())
    flash.process.send_signal(signal.SIGCONT)
    flash.finish()


def silent_agent(device):
    flash = Flash(device, "stage", "--rate", "200K")
    flash.wait_said("staging")
    flash.device.ssh(f"kill -STOP $({AGENT})")
    flash.wait_said("nothing is heard from the agent any more")
    flash.device.ssh(f"kill -CONT $({AGENT})")
    flash.finish()


def main():
    require()
    with Lab() as lab:
        tests = {lab.device(name, kind="busybox", layout="mbr-boot", mem="128M", writers=False): test
                 for name, test in (("stopped-controller", silent_controller), ("stopped-agent", silent_agent))}
        lab.boot_all()
        for d in tests:
            lab.inventory([d], name=f"{d.name}.yaml", defaults={"connect_timeout": "10s", "retries": 8})
        lab.known_hosts()
        with concurrent.futures.ThreadPoolExecutor() as pool:  # most of the time is silence
            running = [pool.submit(test, d) for d, test in tests.items()]
        for one in running:
            one.result()  # raises what the test ended with


if __name__ == "__main__":
    main()
