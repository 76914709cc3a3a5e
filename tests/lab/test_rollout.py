#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Between the waves of a rollout: a window, a gate, a question; a canary that does not come back."""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, outcomes
from lab import Lab, require


def clock(hours):
    """The time of day so many hours from now."""
    return time.strftime("%H:%M", time.localtime(time.time() + hours * 3600))


# What the others need not wait for: a device that does not come back, and one that has not.
DYING = {"reboot_timeout": "10s"}
ABSENT = {"connect_timeout": "5s", "retries": 1}


class Rollout:
    def __init__(self, lab):
        self.lab = lab
        self.report = lab.dir / "report.json"
        self.gate = lab.dir / "gate.json"
        self.notified = lab.dir / "notified.json"
        by_name = {d.name: d for d in lab.devices}
        self.groups = {"canary": [by_name["canary"]], "rest": [by_name["one"], by_name["two"]]}

    def inventory(self, first, second="", notify="failure", waves=2, version="new", runs=None, canary={}):
        """runs: the version that each runs now, where that is not what the lab thinks; canary: its own keys."""
        rest = f"    - {{groups: [rest]{second}}}\n" if waves == 2 else ""
        extra = (f"rollout:\n  waves:\n    - {{groups: [canary]{first}}}\n{rest}"
                 f"notify: {{on: {notify}, command: 'cat >{self.notified}'}}\n")
        return self.lab.inventory(groups=self.groups, extra=extra, after=version,
                                  host=lambda d: {**({"host_key": d.host_key_fingerprint(runs[d.name])} if runs else {}),
                                                  **(canary if d.name == "canary" else {})})

    def run(self, *args, **more):
        self.report.unlink(missing_ok=True)
        self.notified.unlink(missing_ok=True)
        p = self.lab.fleetflash("--report", self.report, *args, **more)
        print(p.stdout if more.get("tty") else p.stderr, flush=True)
        return p

    def failures(self):
        return {t["name"]: t["failure"] for t in json.loads(self.report.read_text())["targets"] if t["outcome"] == "failed"}

    def expect(self, name, p, code, **got):
        check(f"{name}: exit code {code}", p.returncode == code, f"{p.returncode}\n{p.stdout}{p.stderr}")
        check(f"{name}: {got}", outcomes(self.report) == got, str(outcomes(self.report)))


def main():
    require()
    with Lab() as lab:
        for name in ("canary", "one", "two"):
            lab.device(name, kind="busybox", layout="mbr", writers=False)
        lab.boot_all()
        image = lab.image("busybox", "mbr", "new")
        boot_ids = {d.name: d.boot_id() for d in lab.devices}
        r = Rollout(lab)

        i = r.inventory(f", window: '{clock(13)}-{clock(14)}'")
        p = r.run("-i", i, "--yes", image)
        r.expect("a window that is closed", p, 1, canary="not-started", one="not-started", two="not-started")
        check("it says so", "is closed: nothing new is started" in p.stderr, p.stderr)
        check("nobody was touched", {d.name: d.boot_id() for d in lab.devices} == boot_ids)
        check("somebody was told", json.loads(r.notified.read_text())["exit_code"] == 1)

        no = f", gate: 'cat >{r.gate}; echo the tests are red; exit 7'"
        i = r.inventory(no, f", window: '{clock(-1)}-{clock(1)}'")
        p = r.run("-i", i, "--yes", image)
        r.expect("a gate that says no", p, 3, canary="flashed", one="not-started", two="not-started")
        check("it says why", "said no (exit status 7): the tests are red" in p.stderr, p.stderr)
        asked = json.loads(r.gate.read_text())
        check("the gate had the wave's report", asked["wave"] == 1 and [(t["name"], t["outcome"]) for t in
              asked["targets"]] == [("canary", "flashed")], str(asked))
        check("somebody was told", json.loads(r.notified.read_text())["exit_code"] == 3)

        r.inventory(", pause: confirm, gate: 'true'")
        p = r.run("--resume")
        r.expect("a question without a terminal", p, 3, one="not-started", two="not-started")
        p = r.run("--resume", tty=True, stdin="no\n")
        r.expect("a question answered with no", p, 3, one="not-started", two="not-started")
        p = r.run("--resume", tty=True, stdin="yes\n")
        r.expect("a question answered with yes", p, 0, one="flashed", two="flashed")
        check("nobody was told", not r.notified.exists())
        check("all run the new image", all(d.image_version() == "new" for d in lab.devices))

        all_new = {d.name: "new" for d in lab.devices}
        i = r.inventory(", max_failures: 0", notify="always", runs=all_new, canary=DYING)
        boot_ids = {d.name: d.boot_id() for d in lab.devices}
        p = r.run("-i", i, "--yes", lab.image("busybox", "mbr", "broken"))
        r.expect("a canary that does not come back", p, 3, canary="failed", one="not-started", two="not-started")
        check("the others run on", all(d.boot_id() == boot_ids[d.name] for d in lab.devices if d.name != "canary"))
        check("what it died of is told apart", r.failures() == {"canary": "after-commit"}, str(r.failures()))

        # The canary is absent from now on. A share of three that allows one:
        canary, one, two = lab.devices
        canary.power_cut()
        r.groups = {"canary": [canary, one, two]}
        i = r.inventory(", max_failures: 40%, parallel: 1", waves=1, version="old", runs=all_new, canary=ABSENT)
        p = r.run("-i", i, "--yes", lab.image("busybox", "mbr", "old"))
        r.expect("an absent device in a wave that allows it", p, 1, canary="failed", one="flashed", two="flashed")
        check("it is told apart", r.failures() == {"canary": "unreachable"}, str(r.failures()))
        times = {t["name"]: (t["start"], t["end"]) for t in json.loads(r.report.read_text())["targets"]}
        check("it held nobody up: the next one began before it was given up", times["one"][0] < times["canary"][1], str(times))
        # … and one of two that does not:
        r.groups = {"canary": [canary, one], "rest": [two]}
        i = r.inventory(", max_failures: 49%, parallel: 2", version="new", canary=ABSENT,
                        runs={"canary": "new", "one": "old", "two": "old"})
        p = r.run("-i", i, "--yes", lab.image("busybox", "mbr", "new"))
        r.expect("an absent device in a wave that does not allow it", p, 3, canary="failed", one="flashed", two="not-started")
        check("the halt says why", p.stderr.count("rollout halted: in wave 1 1 device failed (1 unreachable), 0 are allowed") == 1,
              p.stderr)


if __name__ == "__main__":
    main()
