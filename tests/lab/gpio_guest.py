#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first process of the machine with GPIO chips (gpio.py): runs the program on them, watches each line
from the simulator's side, and prints what it saw as JSON, one object a line. The arguments: the program,
an inventory, and where to print."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True

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


def line_info():
    """Who holds lines, how many are outputs, and which of the first chip's, as everybody on the machine sees it."""
    info = subprocess.run(["gpioinfo"], capture_output=True, text=True).stdout
    first = info.split("gpiochip1")[0]
    return {"held": "fleetflash" in info, "outputs": info.count("output"),
            "output_lines": [int(n) for n in re.findall(r"^\s*line\s+(\d+):.*\boutput\b", first, re.M)]}


@contextlib.contextmanager
def taken(number):
    """Somebody else holds a line of the first chip."""
    with subprocess.Popen(["gpioset", "--mode=signal", "gpiochip0", f"{number}=1"]) as holder:
        while "gpioset" not in subprocess.run(["gpioinfo"], capture_output=True, text=True).stdout:
            time.sleep(0.05)
        yield
        holder.terminate()


def be_init(main, out):
    """Runs main(tell) as a machine's first process, and switches it off; tell(key=value, …) prints a line to out."""
    os.dup2(os.open(f"{out}.errors", os.O_WRONLY | os.O_CREAT, 0o644), 2)
    try:
        os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root")
        for kind, where in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")):
            mount(kind, where)
        with open(out, "w", buffering=1) as stream:
            main(lambda **kw: print(json.dumps(kw), file=stream))
    except BaseException:
        traceback.print_exc()
    finally:
        os.sync()
        subprocess.run(["poweroff", "-f"], stderr=subprocess.DEVNULL)


def main(program, inventory, out):
    def reset(name, line, **kw):
        process = subprocess.Popen([program, "reset", "-i", inventory, "--state-dir", "/run/state", name],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        levels = watch(process, line, **kw)
        return {"name": name, "code": process.returncode, "stderr": process.stderr.read(), "levels": levels, **line_info()}

    def look(tell):
        up, down = make_chips()
        tell(**reset("low", up / "sim_gpio3"))
        tell(**reset("high", down / "sim_gpio4"))
        tell(**reset("long", up / "sim_gpio5", interrupt_at=0))
        for wrong in ("no-chip", "no-line", "no-name"):
            tell(**reset(wrong, up / "sim_gpio3"))
        with taken(3):
            tell(**reset("low", up / "sim_gpio3"))

    be_init(look, out)


if __name__ == "__main__":
    main(*sys.argv[1:4])
