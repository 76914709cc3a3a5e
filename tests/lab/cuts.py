# SPDX-License-Identifier: Apache-2.0
"""One flash that is disturbed at a chosen moment: the program at work, the moments, the disturbances."""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import threading
import time

from check import first_difference, same_as_image

# How a moment is recognised: the program says an activity, the agent names a phase on the console, or so
# much of the present pass is done (0: the first block).
SAYS, PHASE, BLOCKS = "says", "phase", "blocks"
POINTS = {
    "connect": (SAYS, "connecting"),
    "deploy": (SAYS, "deploying the agent"),
    "attach": (SAYS, "attaching to the agent"),
    "probe": (SAYS, "probing"),
    "compare": (PHASE, "scanning"),
    "first block": (BLOCKS, 0),
    "middle block": (BLOCKS, 0.45),
    "last block": (BLOCKS, 0.85),
    "second way": (SAYS, "trying the second way in"),
    "services": (SAYS, "stopping services"),
    "fence": (PHASE, "fencing"),
    "fenced": (PHASE, "fenced"),
    "head": (PHASE, "erasing-head"),
    "write": (PHASE, "writing"),
    "flush": (PHASE, "test agent: lingers"),
    "verify": (PHASE, "reading-back"),
    "last head": (PHASE, "writing-head"),
    "written": (PHASE, "written"),
    "reboot": (PHASE, "rebooting"),
    "boot": (SAYS, "booting"),
}
# Over in a moment on these small disks: the test build of the agent rests there.
LINGER = {"head": "erasing-head", "write": "writing", "flush": "flush", "verify": "reading-back",
          "last head": "writing-head"}
# So that blocks take their time: what is done is told once a second, and the moment, some of the last blocks under
# way, must not be over by then. (The small board's image is 20 times as large.)
SLOW, SLOWER, SMALL_SLOW = "6mbit", "2mbit", "100mbit"
HOWS = ("reset", "pull", "kill")
PULLED = 30  # seconds


@dataclasses.dataclass(frozen=True)
class Trial:
    kind: str   # of the board, see Board
    mode: str
    point: str
    how: str    # reset: of every TCP connection; pull: of the cable, for 30 s; kill: of the controller

    def __str__(self):
        return f"{self.kind}, {self.mode} mode, {self.how} at {self.point}"


class Flasher:
    """The program at work for one device."""

    def __init__(self, lab, device, state, *args, env=None):
        self.device, self.events, self.lines = device, [], []
        self.console_start = device.console.stat().st_size if device.console.exists() else 0
        self.process = lab.popen(lab.fleetflash_argv(*args, "--json", "-vv", state=state), env=env, text=True, errors="replace",
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.readers = [threading.Thread(target=self.read_events, daemon=True),
                        threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)]
        for r in self.readers:
            r.start()

    def read_events(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def console(self):
        with open(self.device.console, "rb") as f:
            f.seek(self.console_start)
            return f.read().decode(errors="replace")

    def has_come(self, point):
        source, what = POINTS[point]
        if source == SAYS:
            return any(f": {what}" in line for line in self.lines)
        if source == PHASE:
            return f"fleetflash: {what}\r" in self.console()
        return any(e["event"] == "target_progress" and e["blocks_done"] > what * e["blocks_total"]
                   and e["activity"] in ("staging", "writing") for e in self.events)

    def wait_for(self, point, timeout=180):
        """Whether the moment has come before the run ended."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            over = self.process.poll() is not None
            if self.has_come(point):
                return True
            if over:
                return False
            time.sleep(0.01)
        return False

    def finish(self, timeout=400):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
        finally:
            for r in self.readers:
                r.join(5)

    def kill(self):
        self.process.kill()
        self.finish()

    def done(self):
        """The target's last word, or {}."""
        return next((e for e in reversed(self.events) if e["event"] == "target_done"), {})

    def told(self):
        return "".join(self.lines)


class Board:
    """A device of the lab that trials use one after the other; each begins with the old system. All are
    flashed with a busybox image.

    kind   systemd (OpenSSH), busybox (dropbear), jump (busybox, behind the device `jump`) or small (64 MiB
           of RAM, and an image that fits into them in no form)
    jump   what the controller's connections go to in the first place, or None
    """

    def __init__(self, lab, kind, device, agents, image=None, jump=None):
        self.lab, self.kind, self.device, self.agents, self.jump = lab, kind, device, agents, jump
        self.raw = image or lab.raw_image("busybox", "mbr-boot", "new")
        self.image = image or lab.image("busybox", "mbr-boot", "new")
        self.old = device.first_image("old")
        self.size = device.disk.stat().st_size
        self.key = device.host_key_fingerprint("new") if device.kind == "busybox" else "accept-once"
        self.rounds = itertools.count(1)

    def inventory(self, mode):
        return self.lab.inventory(
            [self.device], name=f"{self.device.name}-{mode}.yaml", after=None,
            host=lambda d: {"mode": mode, "after": {"host_key": self.key},
                            "services": {"policy": "systemd" if d.kind == "systemd" else "sysv", "stop": ["lab-victim"]}},
            defaults={"connect_timeout": "10s", "retries": 6})

    def start(self, append):
        """Puts the old system on the disk, and boots it."""
        d = self.device
        d.power_cut()
        for path in (*d.snapshots, d.dir / "boots"):
            path.unlink(missing_ok=True)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.old, d.disk], check=True)
        os.truncate(d.disk, self.size)
        d.append = append
        d.limit_rate(None)
        d.link_up()
        d.boot()
        d.wait_ssh(240)

    def disturb(self, flasher, how):
        """Returns what was done, for a person."""
        if how == "reset":
            return f"{(self.jump or self.device).reset_tcp()} connections reset"
        if how == "kill":
            flasher.kill()
            return "killed"
        self.device.link_down()
        time.sleep(PULLED)
        self.device.link_up()
        return f"{PULLED} s without a cable"

    def go_on(self, state):
        """--resume until nothing is left; returns the last one and what it ended with."""
        again = Flasher(self.lab, self.device, state, "--resume")
        return again, again.finish()

    def run(self, trial):
        """Returns (good, one line, details)."""
        began = time.monotonic()
        d = self.device
        lingers = LINGER.get(trial.point)
        self.start(f"ff.agent=linger-at={lingers}" if lingers else "")
        if POINTS[trial.point][0] == BLOCKS:
            d.limit_rate(SMALL_SLOW if self.kind == "small" else SLOWER if trial.point == "last block" else SLOW)
        state = self.lab.dir / "states" / f"{d.name}-{next(self.rounds)}"
        flasher = Flasher(self.lab, d, state, "-i", self.lab.dir / f"{d.name}-{trial.mode}.yaml",
                          "--yes", self.image, env={"FLEETFLASH_AGENT_PATH": self.agents} if lingers else None)
        came = flasher.wait_for(trial.point)
        what = self.disturb(flasher, trial.how) if came else "the moment did not come"
        d.limit_rate(None)
        last, code = self.go_on(state) if trial.how == "kill" else (flasher, flasher.finish())
        problems = [] if came else ["the moment did not come"]
        if code != 0:
            problems.append(f"exit code {code}")
        if not d.snapshots or not same_as_image(d.snapshots[-1], self.raw):
            problems.append("its disk was not the image when it rebooted"
                            + (f": {first_difference(d.snapshots[-1], self.raw)}" if d.snapshots else ": no reboot"))
        if d.image_version() != "new":
            problems.append("it does not run the new image")
        if d.reboots() != 1:
            problems.append(f"{d.reboots()} reboots")
        if self.jump and any("connected (" in line and "direct)" in line and d.name in line for line in flasher.lines):
            problems.append("not through the jump host")
        done = last.done()
        mode = "stream" if self.kind == "small" else trial.mode
        if done.get("mode") != mode and trial.how != "kill":
            problems.append(f"in {done.get('mode')} mode")
        line = (f"{trial}: {what}; {done.get('outcome')} after {done.get('attempts')} connections, "
                f"{time.monotonic() - began:.0f} s" + "".join(f"; {p}" for p in problems))
        details = f"{flasher.told()}--- then\n{last.told() if last is not flasher else ''}--- console\n{flasher.console()[-4000:]}"
        d.power_cut()
        return not problems, line, details


def large_image(lab, more):
    """A small system's image with so many MiB more, which no packer makes smaller."""
    path = lab.dir / f"large-{more}.img"
    shutil.copy(lab.raw_image("busybox", "mbr-boot", "new"), path)
    with open(path, "ab") as f:
        for _ in range(more):
            f.write(os.urandom(1 << 20))
    return path


def run_trials(boards, trials):
    """Every board takes the next trial of its kind; returns the failed ones as [(line, details)]."""
    todo, failed, lock = list(trials), [], threading.Lock()

    def work(board):
        while True:
            with lock:
                trial = next((t for t in todo if t.kind == board.kind), None)
                if trial is None:
                    return
                todo.remove(trial)
            try:
                good, line, details = board.run(trial)
            except Exception as e:  # a board that does not boot must not end the others' work
                good, line, details = False, f"{trial}: {e!r}", ""
            with lock:
                print(f"{'ok' if good else 'FAILED'}: {line}", flush=True)
                if not good:
                    failed.append((line, details))

    threads = [threading.Thread(target=work, args=(b,)) for b in boards]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return failed
