#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A flash survives whatever happens to its link or its controller, at any moment: the TCP connections are
reset, the cable is pulled for 30 s, the controller is killed and --resume is run. The device ends up with the
image, byte for byte, by one reboot.

    test_cuts.py                  eight of the trials
    test_cuts.py long [WORD...]   every moment, in both modes, of a board with OpenSSH (systemd), of one with
                                  dropbear (busybox) and of one behind a jump host (jump); only those that
                                  match a word of each kind:
                                  systemd busybox jump  stage stream  reset pull kill  "middle block" …"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from cuts import HOWS, POINTS, Board, Trial, large_image, run_trials
from lab import Lab, require
from test_fence import agents

KINDS, MODES = ("busybox", "systemd", "jump"), ("stage", "stream")
# Boards of each kind at work at the same time.
COUNT = {"busybox": 3, "systemd": 3, "jump": 2, "small": 1}
SHORT = [Trial("small", "auto", "middle block", "reset"), Trial("busybox", "stream", "second way", "pull"),
         Trial("busybox", "stream", "flush", "kill"), Trial("busybox", "stage", "flush", "pull"),
         Trial("systemd", "stream", "last block", "pull"), Trial("systemd", "stage", "fence", "reset"),
         Trial("systemd", "stream", "verify", "kill"), Trial("jump", "stream", "write", "reset")]


def long_form(words):
    """All trials, or those of the given kinds, modes, ways and moments."""
    def chosen(values):
        return [v for v in values if v in words] or list(values)
    unknown = set(words) - {*KINDS, *MODES, *HOWS, *POINTS}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}")
    return [Trial(kind, mode, point, how) for how in chosen(HOWS) for mode in chosen(MODES)
            for point in chosen(POINTS) for kind in chosen(KINDS)]


def make_boards(lab, kinds):
    """{kind: how many} → the boards, and the jump host where there must be one."""
    folder, boards, jump = agents(lab), [], None
    if kinds.get("jump"):
        jump = lab.device("gate", kind="busybox", layout="mbr-boot", writers=False)
    for kind, count in kinds.items():
        for n in range(count):
            keys = {"mem": "64M", "disk_size": "160M"} if kind == "small" else {} if kind == "systemd" else {"mem": "128M"}
            device = lab.device(f"{kind}-{n + 1}", kind="systemd" if kind == "systemd" else "busybox",
                                layout="mbr-boot", **keys)
            boards.append(Board(lab, kind, device, folder, jump=jump if kind == "jump" else None,
                                image=large_image(lab, 100) if kind == "small" else None))
    for b in boards:
        for mode in (*MODES, "auto"):
            b.inventory(mode)
    lab.known_hosts()
    if jump:
        behind = " ".join(b.device.ip for b in boards if b.jump)
        config = lab.home / ".ssh" / "config"
        config.write_text(f"Host {behind}\n ProxyJump root@{jump.ip}\n")
        config.chmod(0o600)
        jump.boot()
        jump.wait_ssh()
    return boards


def main():
    require()
    trials = long_form(sys.argv[2:]) if sys.argv[1:2] == ["long"] else SHORT
    with Lab() as lab:
        kinds = {kind: min(most, sum(t.kind == kind for t in trials)) for kind, most in COUNT.items()}
        failed = run_trials(make_boards(lab, kinds), trials)
        check(f"{len(trials) - len(failed)} of {len(trials)} trials: the device was flashed", not failed,
              "\n".join(f"=== {line}\n{details}" for line, details in failed))


if __name__ == "__main__":
    main()
