#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fleetflash reset: pulses of real GPIO lines as the other side of them sees it, with each libgpiod there
is a build for; commands instead of lines; nobody resets a device that a run holds."""

import fcntl
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import gpio
from cache import HERE
from check import check
from lab import require

PROGRAM = pathlib.Path(os.environ.get("FLEETFLASH") or HERE.parent.parent / "build/bin/fleetflash")
LINES = """defaults: {reset: {hold: 300ms}}
groups:
  lab:
    hosts:
      low: {host: 10.0.0.1, reset: {chip: gpiochip0, line: 3, active: low}}
      high: {host: 10.0.0.2, reset: {chip: down-bank, line: RESET4, hold: 150ms}}
      long: {host: 10.0.0.3, reset: {chip: /dev/gpiochip0, line: 5, active: low, hold: 1m}}
      no-chip: {host: 10.0.0.4, reset: {chip: gpiochip7, line: 3}}
      no-line: {host: 10.0.0.5, reset: {chip: gpiochip0, line: 8}}
      no-name: {host: 10.0.0.6, reset: {chip: up-bank, line: RESET5}}
"""
COMMANDS = """groups:
  lab:
    hosts:
      good: {{host: 10.0.0.1, mac: "02:00:00:00:00:01", reset: {{command: 'echo "$1 $2 $3" >>{dir}/reset'}}}}
      bad: {{host: 10.0.0.2, reset: {{command: "echo the switch is off >&2; exit 3"}}}}
      none: {{host: 10.0.0.3}}
"""


def test_lines(program, directory):
    """What the other side of the lines saw, and what the user was told."""
    inventory = directory / "lines.yaml"
    inventory.write_text(LINES)
    text = gpio.run_there(HERE / "gpio_guest.py", program, inventory, directory / "seen", out=directory / "seen")
    low, high, long, no_chip, no_line, no_name, busy = map(json.loads, text.splitlines())
    for seen, idle, hold in ((low, 1, 0.3), (high, 0, 0.15)):
        levels = [level for _, level in seen["levels"]]
        check(f"{seen['name']}: the line pulses once and comes back", seen["code"] == 0 and
              levels == [idle, 1 - idle, idle], str(seen))
        held = seen["levels"][2][0] - seen["levels"][1][0]
        # Who watches may see the beginning late.
        check(f"{seen['name']}: held for about {hold} s ({held:.3f})", held > hold / 3, str(seen))
        check(f"{seen['name']}: let go, an input again", not seen["held"] and seen["outputs"] == 0, str(seen))
    check("^C lets the line go at once", long["code"] == 130 and [l for _, l in long["levels"]] == [1, 0, 1] and
          not long["held"] and long["outputs"] == 0 and "let go" in long["stderr"], str(long))
    for seen, code, words in ((no_chip, 2, "no GPIO chip 'gpiochip7'"), (no_line, 2, "no line '8' among its 8"),
                              (no_name, 2, "no line 'RESET5'"), (busy, 1, "is held by gpioset")):
        check(f"{seen['name']}: {words}", seen["code"] == code and words in seen["stderr"], str(seen))
    check("a line that cannot be had is not touched", all(len(s["levels"]) == 1 for s in (no_chip, no_line, busy)),
          text)


def run_reset(directory, *arguments):
    return subprocess.run([PROGRAM, "reset", "-i", directory / "commands.yaml", "--state-dir", directory / "state",
                           *arguments], capture_output=True, text=True)


def test_commands(directory):
    (directory / "commands.yaml").write_text(COMMANDS.format(dir=directory))
    p = run_reset(directory, "good")
    check("a command resets a board", p.returncode == 0 and
          (directory / "reset").read_text() == "good 10.0.0.1 02:00:00:00:00:01\n", p.stderr)
    p = run_reset(directory, "bad")
    check("a command that fails: 1, and what it said", p.returncode == 1 and "the switch is off" in p.stderr, p.stderr)
    p = run_reset(directory, "none")
    check("nothing is known about its reset: 2", p.returncode == 2 and "how none is reset" in p.stderr, p.stderr)
    p = run_reset(directory, "goat")
    check("no such target: 2", p.returncode == 2 and "did you mean 'good'" in p.stderr, p.stderr)
    lock = next((directory / "state/locks").glob("10_0_0_1-*.lock"))
    with open(lock, "r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write("run 20260101-030000-1 (process 1) since 2026-01-01 03:00:00\n")
        held.flush()
        p = run_reset(directory, "good")
    check("a device that a run holds: 4, and not reset", p.returncode == 4 and "held by run 20260101" in p.stderr and
          (directory / "reset").read_text().count("\n") == 1, p.stderr)


def main():
    require()
    if reason := gpio.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    programs = [PROGRAM]
    if (other := PROGRAM.parent / "fleetflash-gpiod2").exists():
        programs.append(other)
    else:
        print("libgpiod 2 is not here: only this build's libgpiod is tested")
    with tempfile.TemporaryDirectory(prefix="fleetflash-reset-", dir="/var/tmp") as directory:
        directory = pathlib.Path(directory)
        test_commands(directory)
        for program in programs:
            print(f"-- {program.name}")
            test_lines(program, directory)


main()
