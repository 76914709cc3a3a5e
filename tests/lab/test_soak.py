#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The soak of a wave: a device that dies after it was flashed, one that reboots, a controller that is killed or stopped
meanwhile."""

import os
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from flasher import Flasher
from lab import Lab, require


class Soak:
    def __init__(self, lab):
        self.lab = lab
        self.version = {d.name: "old" for d in lab.devices}  # that each runs

    def inventory(self, waves, version, more):
        """waves: of (devices, soak); version: that they will run; more: {name: more keys}."""
        groups = {f"wave{n}": devices for n, (devices, _) in enumerate(waves)}
        lines = "".join(f"    - {{groups: [wave{n}], max_failures: 0, soak: {soak}}}\n" for n, (_, soak) in enumerate(waves))
        return self.lab.inventory(
            groups=groups, after=version, extra=f"rollout:\n  waves:\n{lines}",
            host=lambda d: {"host_key": d.host_key_fingerprint(self.version[d.name]), **more.get(d.name, {})})

    def start(self, waves, version, more={}):
        return Flasher(self.lab, "-i", self.inventory(waves, version, more), "--yes", self.lab.image("busybox", "mbr", version))

    def expect(self, name, flasher, code, **outcomes):
        got = flasher.finish()
        print(f"--- {name}\n{flasher.told()}", flush=True)
        check(f"{name}: exit code {code}", got == code, f"{got}")
        last = {e["target"]: e["outcome"] for e in flasher.events if e["event"] in ("target_done", "target_soaked")}
        check(f"{name}: {outcomes}", last == outcomes, str(last))

    def resume_left(self, name, flasher, most):
        """The soak that goes on, with less than all of it left."""
        soak = flasher.wait_for("soak_started")
        check(f"{name}: the soak goes on", soak is not None, flasher.told())
        check(f"{name}: it ends when it would have", soak["until"] == most["until"], f"{soak} {most}")


def test_dies(s, first, second, third):
    """The image does not live long on one of two canaries: nobody else gets it."""
    f = s.start([([first, second], "3s"), ([third], "0s")], "new",
                {first.name: {"connect_timeout": "5s", "retries": 1}})
    check("the canaries soak", f.wait_for("soak_started", wave=1) is not None, f.told())
    first.power_cut()
    s.expect("a device that dies", f, 3, **{first.name: "failed", second.name: "flashed", third.name: "not-started"})
    died = f.of("target_soaked")
    check("what it died of is told apart", {e["target"]: e["damage"] for e in died} ==
          {first.name: "died", second.name: "untouched"} and "does not answer at the end of the soak" in
          "".join(e["error"]["text"] for e in died if e["error"]), str(died))
    check("the soak is told of", len(f.of("soak_ended")) == 1 and f.of("soak_ended")[0]["died"] == 1)
    check("there is one halt", f.told().count("rollout halted") == 1, f.told())
    s.version.update({first.name: "new", second.name: "new"})
    f = Flasher(s.lab, "--resume")
    s.expect("--resume goes on with the rest", f, 0, **{third.name: "flashed"})
    s.version[third.name] = "new"
    first.boot().wait_ssh()


def test_killed(s, first, second, third):
    """The controller is killed in the soak, and a canary reboots before it is over. A look at it that comes while it
    still boots is one of the tries that are lost."""
    f = s.start([([first], "15s"), ([second, third], "0s")], "old", {first.name: {"retries": 10}})
    soak = f.wait_for("soak_started", wave=1)
    check("the canary soaks", soak is not None, f.told())
    f.signal(signal.SIGKILL)
    f.process.wait()
    s.version[first.name] = "old"
    first.power_cut()
    first.boot()
    f = Flasher(s.lab, "--resume")
    s.resume_left("killed in the soak", f, soak)
    s.expect("a device that reboots", f, 3, **{first.name: "failed", second.name: "not-started", third.name: "not-started"})
    told = [e["error"]["text"] for e in f.of("target_soaked")]
    check("that is what it says", len(told) == 1 and "it has rebooted during the soak" in told[0], str(told))


def test_unchanged(s, first, second):
    """One that is left as it is soaks with those that were flashed."""
    f = s.start([([first, second], "1s")], "old", {second.name: {"if_used": "keep"}})
    s.expect("an unchanged device soaks too", f, 0, **{first.name: "flashed", second.name: "unchanged"})
    check("it was looked at", {e["target"] for e in f.of("target_soaked")} == {first.name, second.name}, f.told())
    p = s.lab.fleetflash("--resume", f.of("run_started")[0]["run"])
    check("nothing is left of a soak that ended", p.returncode == 0 and "nothing is left" in p.stderr, p.stderr)


def test_stopped(s, first, second, third):
    """^C in the soak of the last wave; the next --resume waits for the rest of it and looks at the devices."""
    f = s.start([([second], "0s"), ([third, first], "15s")], "old")
    check("the devices soak", (soak := f.wait_for("soak_started", wave=2)) is not None, f.told())
    f.signal(signal.SIGINT)
    s.expect("stopped in the soak", f, 130, **{first.name: "flashed", second.name: "flashed", third.name: "flashed"})
    s.version.update({second.name: "old", third.name: "old"})
    f = Flasher(s.lab, "--resume")
    s.resume_left("stopped in the soak", f, soak)
    s.expect("they come through", f, 0, **{first.name: "flashed", third.name: "flashed"})
    p = s.lab.fleetflash("--resume", f.of("run_started")[0]["run"])
    check("nothing is left of it", p.returncode == 0 and "nothing is left" in p.stderr, p.stderr)


def main():
    require()
    with Lab() as lab:
        devices = [lab.device(f"node-{n}", kind="busybox", layout="mbr", writers=False) for n in (1, 2, 3)]
        lab.boot_all()
        soak = Soak(lab)
        test_dies(soak, *devices)
        test_killed(soak, *devices)
        test_stopped(soak, *devices)
        test_unchanged(soak, *devices[:2])


if __name__ == "__main__":
    main()
