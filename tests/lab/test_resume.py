#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The controller of two devices is killed (SIGKILL) at some moments of a flash, or stopped by two ^C, and started
again with --resume; the network is cut at others. Every device ends up flashed, byte for byte. (test_cuts.py has every moment.)"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, console_ends, first_difference, outcomes, same_as_image
from lab import Lab, require

# What an event stream says when a moment has come: (state or None, word in the activity or a log).
MOMENTS = {
    # "head" is over in a moment on these small disks: a log line marks its begin.
    "compare": ("transfer", "comparing"), "policy": (None, "stopping services"),
    "fence": (None, "it writes to the disk"), "head": (None, "are silent"), "boot": ("reachability", ""),
}
WRITING = "fleetflash: writing"  # on the console
KILLS = [("stage", "compare"), ("stream", "fence"), ("stream", "head", "two ^C"), ("stage", "head"), ("stage", "boot")]
CUTS = [("stream", "head"), ("stage", "policy")]


class Flasher:
    """The program at work, its event stream watched for a moment."""

    def __init__(self, lab, *args):
        self.lab, self.log = lab, []
        self.process = lab.popen(lab.fleetflash_argv(*args, "--json", "-v"), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.errors, self.drainer = [], None
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def wait_for(self, moment):
        """True when the moment has come, False when the run has ended before."""
        state, word = MOMENTS[moment]
        for line in self.process.stdout:
            event = json.loads(line)
            self.log.append(line)
            text = f"{event.get('activity', '')} {event.get('text', '')}"
            if (state is None or event.get("state") == state) and (word in text):
                if state is not None or word:
                    return True
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def interrupt(self):
        """The first ^C lets devices in the destructive part go on, the second stops at once."""
        self.drain()
        self.process.send_signal(signal.SIGINT)
        end = time.monotonic() + 60
        while not any("interrupted" in line for line in self.errors) and time.monotonic() < end:
            time.sleep(0.05)  # two at once would be one
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def drain(self):
        if self.drainer is None:
            self.drainer = threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True)
            self.drainer.start()

    def finish(self, timeout=300):
        self.drain()
        code = self.process.wait(timeout)
        self.reader.join(5)
        return code

    def told(self):
        return "".join(self.errors)


class Rounds:
    """The same devices flashed again and again, old and new image in turn."""

    def __init__(self, lab):
        self.lab, self.version = lab, "new"

    def inventory(self, mode):
        device = self.lab.devices[0]
        other = "old" if self.version == "new" else "new"
        path = self.lab.inventory(host=lambda d: {"mode": mode, "services": {"policy": "sysv", "stop": ["lab-victim"]},
                                                  "after": {"host_key": device.host_key_fingerprint(self.version)}},
                                  defaults={"connect_timeout": "10s", "retries": 6})
        self.lab.known_hosts(version=other)
        return path

    def image(self):
        return self.lab.image("busybox", "mbr-boot", self.version)

    def check_flashed(self, what):
        raw = self.lab.raw_image("busybox", "mbr-boot", self.version)
        for d in self.lab.devices:
            good = d.snapshots and same_as_image(d.snapshots[-1], raw)
            check(f"{what}: {d.name} runs {self.version}, its disk was the image",
                  good and d.image_version() == self.version,
                  first_difference(d.snapshots[-1], raw) + d.console_text()[-2000:] if d.snapshots else "no snapshot")
            for old in d.snapshots:
                old.unlink()  # room
        self.version = "old" if self.version == "new" else "new"

    def stop(self, flasher, by, writing):
        """Ends the controller, by SIGKILL or by two ^C when both devices are being written."""
        if by == "SIGKILL":
            flasher.kill()
            return
        end = time.monotonic() + 60
        while any(d.console_text().count(WRITING) == n for d, n in writing.items()) and time.monotonic() < end:
            time.sleep(0.1)
        code = flasher.interrupt()
        check("exit code 130, and what becomes of the devices is said", code == 130
              and "fleetflash --resume" in flasher.told(), f"{code}\n{flasher.told()}")
        for d in writing:
            d.limit_rate(None)

    def kill_at(self, mode, moment, by="SIGKILL"):
        what = f"{mode} mode, {by} at {moment}"
        writing = {d: d.console_text().count(WRITING) for d in self.lab.devices}
        for d in writing:
            d.limit_rate(None if by == "SIGKILL" else "8mbit")
        flasher = Flasher(self.lab, "-i", self.inventory(mode), "--yes", self.image())
        came = flasher.wait_for(moment)
        self.stop(flasher, by, writing)
        check(f"{what}: the moment came", came, "".join(flasher.log[-20:]))
        for attempt in range(2):
            again = Flasher(self.lab, "--resume")
            code = again.finish()
            print(again.told(), flush=True)
            if code == 0:
                break
        check(f"{what}: --resume ends with 0", code == 0, flasher.told() + "".join(again.log[-60:]) + console_ends(self.lab.devices))
        self.check_flashed(what)

    def cut_at(self, mode, moment):
        what = f"{mode} mode, reset at {moment}"
        report = self.lab.dir / "cut.json"
        flasher = Flasher(self.lab, "-i", self.inventory(mode), "--yes", "--report", report, self.image())
        check(f"{what}: the moment came", flasher.wait_for(moment), "".join(flasher.log[-20:]))
        for d in self.lab.devices:
            d.reset_tcp()
        code = flasher.finish()
        print(flasher.told(), flush=True)
        check(f"{what}: exit code 0", code == 0, "".join(flasher.log[-60:]) + console_ends(self.lab.devices))
        check(f"{what}: all flashed", set(outcomes(report).values()) == {"flashed"})
        self.check_flashed(what)


def check_history(lab, rounds):
    """Every round is an earlier run now, one that was killed and resumed just one."""
    def past(*args):
        argv = [lab.fleetflash_argv()[0], "--state-dir", lab.state_dir, *args]
        return lab.run(argv, text=True, capture_output=True)

    p = past("--history")
    print(p.stdout, flush=True)
    lines = p.stdout.splitlines()[1:]
    check("each round is in the history, flashed", p.returncode == 0 and len(lines) == rounds
          and all("2: 2 flashed" in line for line in lines), p.stdout + p.stderr)
    run = lines[0].split()[0]
    p = past("--show", run, "-v")
    print(p.stdout, flush=True)
    check("a run's devices and their steps are shown", p.returncode == 0 and p.stdout.count(" flashed\n") >= 2
          and " write\n" in p.stdout and "done: flashed" in p.stdout, p.stdout + p.stderr)
    listed = [json.loads(line) for line in past("--show", run[:-1], "--json").stdout.splitlines()]
    check("and as JSON, by the beginning of its id", [o["event"] for o in listed] == ["run_listed"] + 2 * ["target_recorded"]
          and listed[0]["outcomes"]["flashed"] == 2 and all(o["outcome"] == "flashed" for o in listed[1:]), str(listed))


def main():
    require()
    with Lab() as lab:
        for n in (1, 2):
            lab.device(f"node-{n}", kind="busybox", layout="mbr-boot", mem="128M")
        lab.boot_all()
        rounds = Rounds(lab)
        p = lab.fleetflash("--resume")
        check("nothing to resume is 0", p.returncode == 0, p.stderr)
        for kill in KILLS:
            rounds.kill_at(*kill)
        for cut in CUTS:
            rounds.cut_at(*cut)
        p = lab.fleetflash("--resume")
        check("nothing is left to resume", p.returncode == 0 and "nothing" in p.stderr, p.stderr)
        check_history(lab, len(KILLS) + len(CUTS))


if __name__ == "__main__":
    main()
