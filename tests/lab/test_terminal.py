#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""On a terminal: the plan is shown and the number of disks must be typed; then a fleet of 60, most of them
not there, on a small screen, with keys."""

import json
import os
import re
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, outcomes
from lab import Lab, require
from screen import Screen

ABSENT = 54


def question(lab, devices, image):
    """A wrong answer, then the right one."""
    inventory = lab.inventory(devices)
    boot_ids = [d.boot_id() for d in devices]
    p = lab.fleetflash("-i", inventory, image, tty=True, stdin="yes\n")
    print(p.stdout, flush=True)
    check("a wrong answer ends with 2", p.returncode == 2 and "nothing was touched" in p.stdout, p.stdout)
    for word in (*(d.name for d in devices), "/dev/ubda", f"Type {len(devices)} to erase {len(devices)} disks"):
        check(f"the plan says {word}", word in p.stdout)
    check("nothing was touched", [d.boot_id() for d in devices] == boot_ids)

    p = lab.fleetflash("-i", inventory, "--parallel", "1", image, tty=True, stdin=f"{len(devices)}\n")
    print(p.stdout, flush=True)
    check("the right answer flashes", p.returncode == 0, p.stdout)
    check("the one whose turn comes later waits", "1 waiting" in p.stdout.partition("Type 2 ")[2])
    check("the cursor is shown again at the end", p.stdout.rfind("\x1b[?25h") > p.stdout.rfind("\x1b[?25l"))
    check("all run the new image", all(d.image_version() == "new" for d in devices))


def let_go(lab, devices, image):
    """^C while a device whose turn comes later is being let go of, which its dead link makes slow. The first one's services
    are busy all the time, so that it does not come to its fence."""
    first, second = devices
    busy = {"policy": "exec", "command": ["sh", "-c", "exit 75"], "again": "1s"}
    inventory = lab.inventory(devices, after="old", host=lambda d: {"services": busy} if d is first else {})
    lab.known_hosts(devices, version="new")
    report = lab.dir / "let-go.json"
    boot_ids = [d.boot_id() for d in devices]
    versions = [d.image_version() for d in devices]
    with Screen(lab, lab.fleetflash_argv("-i", inventory, "--parallel", "1", "--report", report, image)) as screen:
        screen.wait(lambda t: "Type 2 to erase 2 disks" in t)
        second.link_down()
        screen.press("2", "Enter")
        text = screen.wait(lambda t: re.search(r"node-1.*transfer", t))
        check("the first is at work", re.search(r"node-1.*transfer", text), text)
        screen.press("C-c")
        text = screen.wait(lambda t: "ended with" in t)
        check("interrupted while another is let go of: exit code 130", "ended with 130" in text, text)
    second.link_up()
    second.wait_ssh()  # a link that has just come up does not carry at once
    check("both were left as they were", outcomes(report) == {first.name: "failed", second.name: "not-started"}
          and [d.image_version() for d in devices] == versions and [d.boot_id() for d in devices] == boot_ids, report.read_text())


def absent(device):
    """A group of boards that do not answer, in YAML."""
    net = device.ip.rpartition(".")[0]
    return (f"  absent:\n    vars: {{connect_timeout: 3s, retries: 0}}\n    hosts:\n      absent-[01:{ABSENT}]: "
            f"{{host: '{net}.[101:{100 + ABSENT}]', after: {{host_key: accept-once}}}}\n")


def big_fleet(lab, devices):
    """The boards in two waves, and in the second one many that do not answer."""
    rollout = ("rollout:\n  waves:\n    - {groups: [canary]}\n"
               "    - {groups: [lab, absent], parallel: 6, max_failures: 60}\n")
    return lab.inventory(devices, groups={"canary": devices[:2], "lab": devices[2:]}, extra=absent(devices[0]) + rollout)


def is_cooked(text):
    return re.search(r"(?<!-)\bicanon\b", text) and re.search(r"(?<!-)\becho\b", text)


def keys(lab, devices, image):
    report = lab.dir / "report.json"
    argv = lab.fleetflash_argv("-i", big_fleet(lab, devices), "--yes", "--report", report, image)
    with Screen(lab, argv) as screen:
        text = screen.wait(lambda t: re.search(r"wave 2  [1-9]\d*/56 [1-9]\d* failed", t))
        print(text, flush=True)
        check("the waves and their failures", "wave 1  2/2" in text, text)
        lines = text.splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith("under way:"))
        check("the failed ones come first", lines[first + 1].startswith("✗ absent-"), text)
        check("counts, rate and time", re.search(r"\d+ failed  .*\d+ waiting", text), text)
        check("the rest is counted", "more:" in text and "a device's log" in text, text)
        check("no line is too wide", all(len(line) <= 80 for line in lines), text)

        screen.press("j")
        text = screen.wait(lambda t: "── absent-" in t)
        check("a key shows the log of a failed device", "── absent-" in text and "failed: " in text, text)
        screen.press("G")
        text = screen.wait(lambda t: "── node-" in t)
        check("another that of a flashed one", re.search(r"── node-.*\n(.*\n)*.*flashed in", text), text)
        print(text, flush=True)

        screen.press("p")
        text = screen.wait(lambda t: "PAUSED" in t and "under way: none" in t)
        check("paused, what was under way ends", "under way: none" in text, text)
        waiting = re.search(r"(\d+) waiting", text)
        check("others wait", waiting and int(waiting[1]) > 0, text)
        time.sleep(2)
        text = screen.text()
        check("and go on waiting", re.search(r"(\d+) waiting", text)[1] == waiting[1] and "PAUSED" in text, text)

        screen.resize(120, 40)
        text = screen.wait(lambda t: len(t.splitlines()) > 30)
        check("a bigger window is used", len(text.splitlines()) > 30, text)
        screen.press("Escape")
        text = screen.wait(lambda t: "── " not in t)
        check("Escape closes the log", "── " not in text, text)
        screen.press("r")
        text = screen.wait(lambda t: "PAUSED" not in t and "under way: none" not in t)
        check("resumed, others begin", "PAUSED" not in text and "under way: none" not in text, text)

        screen.press("q")
        text = screen.wait(lambda t: "extproc" in t)
        print(text, flush=True)
        check("q stops in order", "ended with 130" in text and "interrupted" in text, text)
        check("the terminal is as it was", is_cooked(text) and screen.cursor_is_shown(), text)
    left = [t for t in json.loads(report.read_text())["targets"] if t["outcome"] == "not-started"]
    check("the report is written, and those that never began spent no time",
          left and all(t["timeline"] == [] and not any(t["seconds"].values()) for t in left), str(left[:1]))


def ends(lab, device, image):
    """Whatever ends the program, the terminal is as it was. A sanitizer reports a fault itself and exits."""
    inventory = lab.inventory(text="defaults: {user: root}\ngroups:\n" + absent(device))
    argv = lab.fleetflash_argv("-i", inventory, "--yes", "--parallel", "2", image)
    for what, end, words in (
            ("the quit key", lambda s: s.press("C-\\"), "ended with 131"),
            ("a fault", lambda s: s.kill(signal.SIGSEGV), "ended with (139|1)"),
            ("an abort", lambda s: s.kill(signal.SIGABRT), "ended with 134"),
            ("a stop from outside", lambda s: s.kill(signal.SIGTERM), "ended with 130")):
        with Screen(lab, argv) as screen:
            text = screen.wait(lambda t: "a device's log" in t)
            check("the keys are read", "a device's log" in text and not screen.cursor_is_shown(), text)
            end(screen)
            text = screen.wait(lambda t: "extproc" in t)
            check(f"{what}: {words}", re.search(words, text), text)
            check(f"{what}: the terminal is as it was", is_cooked(text) and screen.cursor_is_shown(), text)


def main():
    require()
    with Lab() as lab:
        devices = [lab.device(f"node-{n}", kind="busybox", layout="mbr-boot", writers=False) for n in range(1, 7)]
        lab.boot_all()
        image = lab.image("busybox", "mbr-boot", "new")
        question(lab, devices[:2], image)
        let_go(lab, devices[:2], lab.image("busybox", "mbr-boot", "old"))
        keys(lab, devices[2:], image)
        ends(lab, devices[0], image)


if __name__ == "__main__":
    main()
