#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first process of the machine with GPIO chips (gpio.py): runs the program on them, watches each line
from the simulator's side, and prints what it saw as JSON, one object a line. The arguments: the program,
an inventory, and where to print."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

PROGRAM, INVENTORY, OUT = sys.argv[1:4]
CONFIG = pathlib.Path("/sys/kernel/config/gpio-sim/lab")


def mount(kind, where):
    subprocess.run(["mount", "-t", kind, kind, where], check=True)


def make_chips():
    """Two chips: one whose lines are pulled up, one with a name for a line, pulled down. Returns their folders."""
    mount("configfs", "/sys/kernel/config")
    folders = []
    for bank, label in (("bank0", "up-bank"), ("bank1", "down-bank")):
        (CONFIG / bank).mkdir(parents=True)
        (CONFIG / bank / "num_lines").write_text("8\n")
        (CONFIG / bank / "label").write_text(f"{label}\n")
    (CONFIG / "bank1/line4").mkdir()
    (CONFIG / "bank1/line4/name").write_text("RESET4\n")
    (CONFIG / "live").write_text("1\n")
    device = (CONFIG / "dev_name").read_text().strip()
    for bank, pull in (("bank0", "pull-up"), ("bank1", "pull-down")):
        chip = (CONFIG / bank / "chip_name").read_text().strip()
        folder = pathlib.Path(f"/sys/devices/platform/{device}/{chip}")
        for line in folder.glob("sim_gpio*"):
            (line / "pull").write_text(f"{pull}\n")
        folders.append(folder)
    return folders


def watch(process, line, interrupt_at=None):
    """[(when, level)] of a line while a process runs; it is interrupted once the line has this level."""
    begin, seen = time.monotonic(), []
    fd = os.open(line / "value", os.O_RDONLY)
    while True:
        ended = process.poll() is not None
        level = int(os.pread(fd, 8, 0))
        if not seen or seen[-1][1] != level:
            seen.append((round(time.monotonic() - begin, 4), level))
            if level == interrupt_at:
                process.send_signal(signal.SIGINT)
        if ended:
            os.close(fd)
            return seen
        time.sleep(0.002)


def reset(name, line, **kw):
    process = subprocess.Popen([PROGRAM, "reset", "-i", INVENTORY, "--state-dir", "/run/state", name],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    levels = watch(process, line, **kw)
    info = subprocess.run(["gpioinfo"], capture_output=True, text=True).stdout
    return {"name": name, "code": process.returncode, "stderr": process.stderr.read(), "levels": levels,
            "held": "fleetflash" in info, "outputs": info.count("output")}


def main():
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root")
    for kind, where in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")):
        mount(kind, where)
    up, down = make_chips()
    with open(OUT, "w", buffering=1) as out:
        def tell(**kw):
            print(json.dumps(kw), file=out)
        tell(**reset("low", up / "sim_gpio3"))
        tell(**reset("high", down / "sim_gpio4"))
        tell(**reset("long", up / "sim_gpio5", interrupt_at=0))
        for wrong in ("no-chip", "no-line", "no-name"):
            tell(**reset(wrong, up / "sim_gpio3"))
        with subprocess.Popen(["gpioset", "--mode=signal", "gpiochip0", "3=1"]) as holder:
            while "gpioset" not in subprocess.run(["gpioinfo"], capture_output=True, text=True).stdout:
                time.sleep(0.05)
            tell(**reset("low", up / "sim_gpio3"))
            holder.terminate()


os.dup2(os.open(f"{OUT}.errors", os.O_WRONLY | os.O_CREAT, 0o644), 2)
try:
    main()
finally:
    os.sync()
    subprocess.run(["poweroff", "-f"], stderr=subprocess.DEVNULL)
