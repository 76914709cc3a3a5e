#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One slow device holds up nobody, and devices whose controller is gone for good: a half-written disk waits,
says so on the console, is not rebooted and feeds the watchdog; what is finished, or has all it needs, reboots by itself."""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, check_flashed, same_as_image
from cuts import Board, Flasher, large_image
from lab import Lab, require
from test_fence import agents

# Longer than a finished disk waits for its controller (30 s).
PATIENCE = 45


def finished(flasher):
    return {e["target"]: e["outcome"] for e in list(flasher.events) if e["event"] == "target_done"}


def flash(lab, devices, key, image, waited):
    """Begins to flash the devices, which have the host key of that version, in both modes, whole; returns the program
    at work, and how long it took until those in `waited` were done."""
    inventory = lab.inventory(devices, host=lambda d: {"mode": "stream" if d.index % 2 else "stage"})
    known = "".join(f"{d.ip} {d.host_key(key(d))}\n" for d in devices)
    (lab.home / ".ssh" / "known_hosts").write_text(known)
    began = time.monotonic()
    flasher = Flasher(lab, devices[0], lab.dir / f"state-{len(devices)}", "-i", inventory, "--yes", "--force", image)
    names = {d.name for d in waited}
    while not names <= finished(flasher).keys() and time.monotonic() < began + 300 and flasher.process.poll() is None:
        time.sleep(0.1)
    return flasher, time.monotonic() - began


def test_slow(lab, image):
    """Eight devices, one of them behind 2 Mbit/s; before that the seven others alone, for comparison."""
    *fast, slow = lab.devices
    others = {d.name for d in fast}
    alone, seconds_alone = flash(lab, fast, lambda d: "old", image, fast)
    check("seven devices are flashed", alone.finish() == 0, alone.told())
    slow.limit_rate("2mbit")
    flasher, seconds = flash(lab, lab.devices, lambda d: "old" if d is slow else "new", image, fast)

    def done():
        return finished(flasher)

    seen = [e for e in list(flasher.events) if e["event"] == "target_progress" and e["target"] == slow.name]
    share = seen[-1]["blocks_done"] / seen[-1]["blocks_total"] if seen else 0
    print("".join(flasher.lines), flush=True)
    check(f"seven alone took {seconds_alone:.0f} s, beside a slow one {seconds:.0f} s; then that one has {share:.0%} of its blocks",
          done() == {name: "flashed" for name in others} and share < 0.5, str(done()))
    slow.limit_rate(None)
    check("then it is flashed as well", flasher.finish() == 0 and done()[slow.name] == "flashed", flasher.told())
    last = next(e for e in flasher.events if e["event"] == "target_done" and e["target"] == slow.name)
    check("by one connection", last["attempts"] == 1, str(last))
    check_flashed(lab.devices, image)


class Gone:
    """A device whose controller is killed at a moment, its cable pulled for good."""

    def __init__(self, board, mode, point, linger=None):
        self.board, self.device, self.mode, self.point, self.linger = board, board.device, mode, point, linger
        self.state = board.lab.dir / f"state-{self.device.name}"
        self.board.inventory(mode)

    def begin(self):
        self.board.start(f"ff.agent=linger-at={self.linger}" if self.linger else "")
        if not self.linger:
            self.device.limit_rate("4mbit")
        b = self.board
        self.flasher = Flasher(b.lab, b.device, self.state, "-i", b.lab.dir / f"{b.device.name}-{self.mode}.yaml",
                               "--yes", b.image, env={"FLEETFLASH_AGENT_PATH": b.agents})
        self.came = self.flasher.wait_for(self.point)
        self.device.link_down()
        self.flasher.kill()

    def resume(self):
        again, self.code = self.board.go_on(self.state)
        self.told = again.told()


def test_gone(lab):
    folder = agents(lab)
    boards = [Board(lab, "busybox", d, folder) for d in lab.devices[:3]]
    half = Gone(boards[0], "stream", "middle block")
    finished = Gone(boards[1], "stream", "verify", "reading-back")
    staged = Gone(boards[2], "stage", "write", "writing")
    watched = Gone(Board(lab, "systemd", lab.devices[8], folder), "stream", "middle block")
    waiting, trials = (half, watched), (half, finished, staged, watched)
    lab.known_hosts()
    lab.each(lambda g: g.begin(), trials)
    for g in trials:
        check(f"{g.mode} mode, killed at {g.point}, its cable pulled", g.came, g.flasher.told())
    for g in (finished, staged):
        g.device.wait_until(lambda d: d.reboots() == 1, 120)
        check(f"{g.mode} mode, at {g.point}: reboots by itself, and its disk is the image",
              same_as_image(g.device.snapshots[-1], g.board.raw), g.device.console_text()[-3000:])
    for g in waiting:
        g.device.wait_until(lambda d: "DO NOT POWER OFF, waiting for" in d.console_text(), 90)
    check("half-written: says on the console whom it waits for", True)
    time.sleep(PATIENCE)
    for g in waiting:
        console = g.flasher.console()
        check(f"{g.device.name}, half-written: goes on waiting, is not rebooted", g.device.reboots() == 0 and g.device.running()
              and "rebooting" not in console and "written\r" not in console, console)
    for g in trials:
        g.device.link_up()
        g.device.limit_rate(None)
    lab.each(lambda g: g.resume(), trials)
    for g in trials:
        check(f"{g.mode} mode, at {g.point}: --resume ends with 0, the device runs the new image",
              g.code == 0 and g.device.image_version() == "new" and g.device.reboots() == 1
              and same_as_image(g.device.snapshots[-1], g.board.raw), f"{g.code}\n{g.told}")


def main():
    require()
    with Lab() as lab:
        for n in range(1, 9):
            lab.device(f"node-{n}", kind="busybox", layout="mbr-boot", mem="128M", disk_size="64M")
        lab.boot_all()
        test_slow(lab, large_image(lab, 12))
        # Reset by its watchdog if that is not fed while its agent waits.
        lab.device("watched", kind="systemd", layout="mbr-boot", mem="320M", watchdog=10)
        test_gone(lab)


if __name__ == "__main__":
    main()
