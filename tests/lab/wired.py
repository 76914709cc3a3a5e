# SPDX-License-Identifier: Apache-2.0
"""A controller whose GPIO lines go to the reset pins of boards: the program runs on a machine of its own (gpio.py),
and what is seen of a line from its other side is what resets the board at its end."""

import json
import os
import subprocess
import sys
import threading
import time

import gpio
import tftp
from cache import HERE
from check import check, outcomes
from lab import REPO

ADDRESS = "10.77.0.240"
TAP = "wired"
HOLD = 0.3
TAKEN = 6  # the line that somebody else has
FAKE = "10.77.0.101", "02:ff:00:00:01:01"  # a board that is none (fakeboard.py)


def reset(line):
    return {"chip": "gpiochip0", "line": line, "active": "low", "hold": f"{int(HOLD * 1000)}ms"}


class Wired(threading.Thread):
    """Flashes a board with a packed image through line 3; in a second run a fake board is flashed through line 4, the
    one at line 5 never asks, and line 6 is taken by somebody else before its turn comes. join(), then judge()."""

    def __init__(self, lab, board, packed):
        super().__init__(daemon=True)
        self.lab, self.board, self.packed = lab, board, packed
        self.dir = lab.dir / "wired"
        self.dir.mkdir()
        self.out, self.failure = self.dir / "out", None
        lab.network.add_tap(TAP)
        lab.network.ip("address", "add", f"{FAKE[0]}/24", "dev", "br0")
        self.good = lab.inventory([board], name="wired.yaml", host=lambda d: {
            "mode": "netboot", "mac": d.mac, "reset": reset(3), "reboot_timeout": "2m",
            "netboot": {**d.netboot(), "part_size": "24M", "server": ADDRESS}})
        self.write_plan()

    def write_faults(self):
        def host(number, line, **kw):
            return {"host": f"10.77.0.{100 + number}", "mac": f"02:ff:00:00:01:{number:02x}", "reset": reset(line), **kw}
        path = self.dir / "faults.yaml"
        path.write_text(json.dumps({
            "defaults": {"mode": "netboot", "reach": "none", "user": "root", "after": {"host_key": "accept-once"},
                         "netboot": {"disk": "mmc 1", "layout": "disk", "timeout": "5s", "part_size": "1M", "server": ADDRESS}},
            "rollout": {"waves": [{"groups": ["first"], "max_failures": 3}, {"groups": ["second"], "max_failures": 3}]},
            "groups": {"first": {"hosts": {"fake": host(1, 4), "never": host(2, 5)}}, "second": {"hosts": {"busy": host(3, TAKEN)}}}}))
        return path

    def write_plan(self):
        small = self.dir / "small"
        tftp.make_image(small, (3 << 20) + 512)
        program = os.environ.get("FLEETFLASH") or REPO / "build/bin/fleetflash"
        self.plan = self.dir / "plan"
        self.plan.write_text(json.dumps({
            "address": f"{ADDRESS}/24", "ssh": str(self.lab.home / ".ssh"), "out": str(self.out),
            "argv": [str(program), "--state-dir", "/run/state", "--cache-dir", f"{self.dir}/cache", "--yes", "-v"],
            "runs": [{"name": "well", "arguments": ["-i", str(self.good), "--report", f"{self.dir}/well.json", str(self.packed)]},
                     {"name": "faults", "take": TAKEN,
                      "arguments": ["-i", str(self.write_faults()), "--report", f"{self.dir}/faults.json", str(small)]}]}))

    def act(self, line):
        """What is at the end of a line comes out of its reset, in which it was until now."""
        if line == 3:
            self.board.boot()
        elif line == 4:
            subprocess.run(self.lab.network.enter([sys.executable, HERE / "fakeboard.py", ADDRESS, "good", "fake", *FAKE]), check=True)

    def follow(self):
        """Reads what the machine sees as it comes, until it is off."""
        seen = 0
        while self.machine.is_alive():
            time.sleep(0.05)
            lines = self.out.read_text().splitlines(keepends=True) if self.out.exists() else []
            for line in (line for line in lines[seen:] if line.endswith("\n")):
                seen += 1
                event = json.loads(line)
                if event.get("level") == 1:
                    self.act(event["line"])

    def work(self):
        try:
            gpio.run_there(HERE / "gpio_run_guest.py", self.plan, out=self.out, memory="512M", network=self.lab.network, tap=TAP)
        except BaseException as e:  # told by judge(), as those of follow() are
            self.failure = e

    def run(self):
        self.machine = threading.Thread(target=self.work, daemon=True)
        self.machine.start()
        try:
            self.follow()
        except BaseException as e:
            self.failure = e
        self.machine.join()

    # What is told afterwards

    def judge_lines(self, name, events, wanted):
        changes = {n: [(e["at"], e["level"]) for e in events if e.get("line") == n] for n in {e["line"] for e in events if "line" in e}}
        check(f"{name}: one pulse on each line that it resets, none elsewhere",
              {n: [level for _, level in seen] for n, seen in changes.items()} == {n: [0, 1] for n in wanted}, str(events))
        for seen in changes.values():
            check(f"{name}: held for {seen[1][0] - seen[0][0]:.3f} s", seen[1][0] - seen[0][0] > HOLD - 0.1)
        end = events[-1]
        # What gpioset had stays as that left it.
        check(f"{name}: every line is let go of, an input again", not end["held"] and not set(end["output_lines"]) - {TAKEN} and
              set(end["levels"]) == {1}, str(end))

    def judge(self):
        """What came of it."""
        check("the machine with GPIO lines did its work", not self.failure, str(self.failure))
        events = [json.loads(line) for line in self.out.read_text().splitlines()]
        split = 1 + next(i for i, e in enumerate(events) if e.get("run") == "well")
        well, faults = events[split - 1], events[-1]
        print(well["stderr"], faults["stderr"], sep="\n", flush=True)
        check("a board is reset by the run that flashes it: exit code 0", well["code"] == 0, self.board.loader_text()[-4000:])
        self.judge_lines("well", events[:split], [3])
        check("it is flashed, and runs the new image", set(outcomes(self.dir / "well.json").values()) == {"flashed"} and
              self.board.image_version() == "new", self.board.loader_text()[-2000:])
        check("with faults: exit code 4, as somebody holds the line of one", faults["code"] == 4, f"{faults['code']} {faults['stderr']}")
        self.judge_lines("faults", events[split:], [4, 5])
        targets = {t["name"]: t for t in json.loads((self.dir / "faults.json").read_text())["targets"]}
        for name, outcome, words in (("fake", "flashed", ""), ("never", "failed", "did not ask for the image within 5 s"),
                                     ("busy", "failed", "is held by gpioset")):
            check(f"{name}: {outcome} {words}", targets[name]["outcome"] == outcome and
                  words in json.dumps(targets[name]["error"]), json.dumps(targets[name]))
