# SPDX-License-Identifier: Apache-2.0
"""A controller whose GPIO lines go to the reset pins of boards: the program runs on a machine of its own (gpio.py),
and what is seen of a line from its other side is what resets the board at its end."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import gpio
import tftp
from cache import HERE
from check import check, outcomes
from lab import REPO

PROGRAM = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build/bin/fleetflash")
OTHER = PROGRAM.parent / "fleetflash-gpiod2"  # the same with libgpiod 2, where that is there
ADDRESS = "10.77.0.240"
TAP = "wired"
HOLD = 0.6
TAKEN = 6  # the line that somebody else has
FAKE = "10.77.0.101", "02:ff:00:00:01:01"  # a board that is none (fakeboard.py)


def reset(line):
    return {"chip": "gpiochip0", "line": line, "active": "low", "hold": f"{int(HOLD * 1000)}ms"}


class Wired(threading.Thread):
    """Runs, one after the other: --check while somebody else holds line 6; one that is interrupted while line 5 is held;
    a board is flashed with a packed image through line 3; a fake board is flashed through line 4, the one at line 5
    never asks, and before their turns come line 6 is taken and the chip of another board is gone. With libgpiod 2 the
    last one again; in the long form the last two, and one whose chip is pulled out. join(), then judge()."""

    def __init__(self, lab, board, packed, long=False):
        super().__init__(daemon=True)
        self.lab, self.board, self.packed = lab, board, packed
        self.versions = [("", PROGRAM), *([("-gpiod2", OTHER)] if OTHER.exists() else [])]
        self.long = long
        self.dir = lab.dir / "wired"
        self.dir.mkdir()
        self.out, self.failure = self.dir / "out", None
        lab.network.add_tap(TAP)
        lab.network.ip("address", "add", f"{FAKE[0]}/24", "dev", "br0")
        self.good = lab.inventory([board], name="wired.yaml", host=lambda d: {
            "mode": "netboot", "mac": d.mac, "reset": reset(3), "reboot_timeout": "2m",
            "netboot": {**d.netboot(), "part_size": "24M", "server": ADDRESS}})
        self.write_plan()

    def write_some(self, faults, name, **hold):
        """Some of the boards of the faults, their lines held for so long, in one wave."""
        inventory = json.loads(faults.read_text())
        hosts = {k: v for group in inventory["groups"].values() for k, v in group["hosts"].items() if k in hold}
        for board, value in hold.items():
            hosts[board]["reset"]["hold"] = value
        inventory["groups"] = {"all": {"hosts": hosts}}
        del inventory["rollout"]
        path = self.dir / f"{name}.yaml"
        path.write_text(json.dumps(inventory))
        return path

    def write_faults(self):
        def host(number, line, **kw):
            return {"host": f"10.77.0.{100 + number}", "mac": f"02:ff:00:00:01:{number:02x}", "reset": {**reset(line), **kw}}
        path = self.dir / "faults.yaml"
        path.write_text(json.dumps({
            "defaults": {"mode": "netboot", "reach": "none", "user": "root", "after": {"host_key": "accept-once"},
                         "netboot": {"disk": "mmc 1", "layout": "disk", "timeout": "5s", "part_size": "1M", "server": ADDRESS}},
            "rollout": {"waves": [{"groups": ["first"], "max_failures": 3}, {"groups": ["second"], "max_failures": 3}]},
            "groups": {"first": {"hosts": {"fake": host(1, 4), "never": host(2, 5)}},
                       "second": {"hosts": {"busy": host(3, TAKEN), "loose": host(4, 0, chip="loose")}}}}))
        return path

    def write_plan(self):
        small = self.dir / "small"
        tftp.make_image(small, (3 << 20) + 512)
        faults = self.write_faults()
        def run(name, program, inventory, image, *words, **kw):
            return {"name": name, "program": str(program), **kw,
                    "arguments": [*words, "-i", str(inventory), "--report", f"{self.dir}/{name}.json", str(image)]}
        stopped = self.write_some(faults, "stopped", never="1m")
        pulled = self.write_some(faults, "pulled", never="600ms", loose="4s")
        runs = [run("check", PROGRAM, faults, small, "--check", held=TAKEN), run("stopped", PROGRAM, stopped, small, "--yes", stop=True)]
        for suffix, program in self.versions:
            if program == PROGRAM or self.long:
                runs.append(run(f"well{suffix}", program, self.good, self.packed, "--yes"))
            runs.append(run(f"faults{suffix}", program, faults, small, "--yes", take=TAKEN))
            if self.long:
                runs.append(run(f"pulled{suffix}", program, pulled, small, "--yes", pull=True))
        self.plan = self.dir / "plan"
        self.plan.write_text(json.dumps({
            "address": f"{ADDRESS}/24", "ssh": str(self.lab.home / ".ssh"), "out": str(self.out), "runs": runs,
            "options": ["--state-dir", "/run/state", "--cache-dir", f"{self.dir}/cache", "-v"]}))

    def act(self, line):
        """What is at the end of a line comes out of its reset, in which it was until now."""
        if line == 3:
            self.board.power_cut()
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
            # Who watches may see the beginning late.
            check(f"{name}: held for {seen[1][0] - seen[0][0]:.3f} s", seen[1][0] - seen[0][0] > HOLD / 3)
        end = events[-1]
        # What gpioset had stays as that left it.
        check(f"{name}: every line is let go of, an input again", not end["held"] and not set(end["output_lines"]) - {TAKEN} and
              set(end["levels"]) == {1}, str(end))

    def judge_check(self, seen, events):
        check("--check says which line is held, and touches none: exit code 1", seen["code"] == 1 and len(events) == 1 and
              "busy" in seen["stderr"] and "is held by gpioset" in seen["stderr"] and "'loose'" not in seen["stderr"], str(seen))

    def judge_well(self, name, seen, events):
        check(f"{name}: a board is reset by the run that flashes it: exit code 0", seen["code"] == 0, self.board.loader_text()[-4000:])
        self.judge_lines(name, events, [3])
        check(f"{name}: it is flashed", set(outcomes(self.dir / f"{name}.json").values()) == {"flashed"})

    def judge_faults(self, name, seen, events):
        check(f"{name}: exit code 1", seen["code"] == 1, f"{seen['code']} {seen['stderr']}")
        self.judge_lines(name, events, [4, 5])
        targets = {t["name"]: t for t in json.loads((self.dir / f"{name}.json").read_text())["targets"]}
        for board, outcome, damage, words in (
                ("fake", "flashed", "untouched", ""), ("never", "failed", "rebooted", "did not ask for the image within 5 s"),
                ("busy", "failed", "untouched", "is held by gpioset"), ("loose", "failed", "untouched", "there is no GPIO chip 'loose'")):
            target = targets[board]
            check(f"{name}: {board}: {outcome}, {damage} {words}", target["outcome"] == outcome and
                  target["damage"] == damage and words in json.dumps(target["error"]), json.dumps(target))

    def judge_stopped(self, seen, events):
        levels = [(e["line"], e["level"]) for e in events if "line" in e]
        check("interrupted twice, a run lets the line go at once: exit code 130", seen["code"] == 130 and levels == [(5, 0), (5, 1)] and
              events[1]["at"] - events[0]["at"] < 30 and not seen["held"] and not set(seen["output_lines"]) - {TAKEN}, str(events))

    def judge_pulled(self, name, seen, events):
        check(f"{name}: exit code 1", seen["code"] == 1, f"{seen['code']} {seen['stderr']}")
        self.judge_lines(name, events, [5])
        targets = {t["name"]: t for t in json.loads((self.dir / f"{name}.json").read_text())["targets"]}
        check(f"{name}: that its line could not be let go is told", "could not be let go" in json.dumps(targets["loose"]["error"]),
              json.dumps(targets))

    def judge(self):
        """What came of it."""
        check("the machine with GPIO lines did its work", not self.failure, str(self.failure))
        events = []
        for event in map(json.loads, self.out.read_text().splitlines()):
            events.append(event)
            if "run" not in event:
                continue
            print(event["stderr"], flush=True)
            name = event["run"]
            if name == "check":
                self.judge_check(event, events)
            elif name == "stopped":
                self.judge_stopped(event, events)
            elif name.startswith("well"):
                self.judge_well(name, event, events)
            elif name.startswith("pulled"):
                self.judge_pulled(name, event, events)
            else:
                self.judge_faults(name, event, events)
            events = []
        check("the board runs the new image", self.board.image_version() == "new", self.board.loader_text()[-2000:])
