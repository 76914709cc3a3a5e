#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first process of the machine with GPIO chips (gpio.py) as a controller in a lab's network: flashes boards that
are reset by its lines. The lines are watched from the simulator's side all the time, and each change is printed at
once, as JSON, one object a line: who reads that can act as the boards do. Its argument: a file of JSON with

    address   eth0's, with its length
    ssh       what ~/.ssh is to be
    out       where to print
    options   what all runs need
    runs      for each run: name, program, arguments, and perhaps
              held     a line that somebody else has all the time
              take     a line that somebody else takes once any line has changed; the chip LOOSE is gone then
              stop     true: it is interrupted twice once any line has changed
              pull     true: that chip is gone once a line of it is held
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import gpio_guest

LINES = range(8)
LOOSE = pathlib.Path("/sys/kernel/config/gpio-sim/loose")  # a chip that is pulled out


class Watcher(threading.Thread):
    """Tells of every change of the first chip's lines."""

    def __init__(self, tell, folder):
        super().__init__(daemon=True)
        self.tell, self.changed = tell, threading.Event()
        self.values = [os.open(folder / f"sim_gpio{n}" / "value", os.O_RDONLY) for n in LINES]
        self.levels = [self.level(n) for n in LINES]
        self.start()

    def level(self, number):
        return int(os.pread(self.values[number], 8, 0))

    def run(self):
        while True:
            for number in LINES:
                level = self.level(number)
                if level != self.levels[number]:
                    self.levels[number] = level
                    self.tell(line=number, level=level, at=time.monotonic())
                    self.changed.set()
            time.sleep(0.005)


def plug():
    """The loose chip is there."""
    (LOOSE / "bank").mkdir(parents=True)
    (LOOSE / "bank/label").write_text("loose\n")
    (LOOSE / "live").write_text("1\n")


def unplug():
    if LOOSE.exists():
        (LOOSE / "live").write_text("0\n")
        (LOOSE / "bank").rmdir()
        LOOSE.rmdir()


def run(options, wanted, watcher, tell):
    watcher.changed.clear()
    plug()
    with gpio_guest.taken(wanted["held"]) if "held" in wanted else contextlib.nullcontext():
        process = subprocess.Popen([wanted["program"], *options, *wanted["arguments"]],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        taker = threading.Thread(target=take, args=(watcher, wanted, process), daemon=True)
        taker.start()
        _, text = process.communicate()
        taker.join()
    unplug()
    tell(run=wanted["name"], code=process.returncode, stderr=text, levels=watcher.levels, **gpio_guest.line_info())


def take(watcher, wanted, process):
    while "take" in wanted and process.poll() is None:
        if watcher.changed.wait(0.1):
            unplug()
            with gpio_guest.taken(wanted["take"]):
                process.wait()
    while "stop" in wanted and process.poll() is None:
        if watcher.changed.wait(0.1):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
    while "pull" in wanted and process.poll() is None:
        if "fleetflash" in subprocess.run(["gpioinfo", "loose"], capture_output=True, text=True).stdout:
            unplug()
            return


def main(path):
    with open(path) as f:
        plan = json.load(f)
    def act(tell):
        up, _ = gpio_guest.make_chips()
        for words in (("link", "set", "lo", "up"), ("link", "set", "eth0", "up"), ("addr", "add", plan["address"], "dev", "eth0")):
            subprocess.run(["ip", *words], check=True)
        os.makedirs("/root/.ssh", exist_ok=True)
        subprocess.run(["mount", "--bind", plan["ssh"], "/root/.ssh"], check=True)
        watcher = Watcher(tell, up)
        for wanted in plan["runs"]:
            run(plan["options"], wanted, watcher, tell)
    gpio_guest.be_init(act, plan["out"])


if __name__ == "__main__":
    main(sys.argv[1])
