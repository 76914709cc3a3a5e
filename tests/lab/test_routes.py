#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boards behind jump hosts (OpenSSH's and dropbear's) that are targets themselves: one command flashes
all of them in stage and stream mode, the agent's own port goes through the jump hosts too, and these go
last."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, check_flashed, console_ends, outcomes
from lab import Lab, require


def write_config(lab, text):
    path = lab.home / ".ssh" / "config"
    path.write_text(text)
    path.chmod(0o600)


def events_of(stdout, kind):
    """{target: when its first event of a kind came, as its place in the stream}"""
    places = {}
    for place, line in enumerate(stdout.splitlines()):
        event = json.loads(line)
        if event["event"] == kind:
            places.setdefault(event["target"], place)
    return places


def test_refusals(lab, inventory, image, gate, far):
    """What would cut off the way to a board is refused before anything is touched: 2."""
    waves = lab.dir / "waves.yaml"
    waves.write_text(inventory.read_text().replace('"lab"', "lab") + """
rollout: {waves: [{groups: [gates]}, {groups: [boards]}]}
""")
    p = lab.fleetflash("-i", waves, "--yes", image)
    check("a jump host in an earlier wave is refused", p.returncode == 2 and
          f"{far.name} is reached through {gate.name}" in p.stderr, p.stderr)
    twins = lab.dir / "twins.yaml"
    twins.write_text(inventory.read_text() + f"""
  twins: {{hosts: {{twin: {{host: door, after: {{host_key: accept-once}}}}}}}}
""")
    p = lab.fleetflash("-i", twins, "--yes", image)
    check("two names of one device are refused", p.returncode == 2 and "twin" in p.stderr and
          "one device" in p.stderr, p.stderr)


def main():
    require()
    with Lab() as lab:
        gate = lab.device("gate", kind="systemd", layout="mbr", mem="320M")
        hut = lab.device("hut", kind="busybox", layout="mbr", mem="128M")
        near = lab.device("near", kind="busybox", layout="mbr", mem="128M")
        far = lab.device("far", kind="busybox", layout="mbr")
        remote = lab.device("remote", kind="busybox", layout="mbr")
        modes = {gate: "stage", hut: "stream", near: "stage", far: "stream", remote: "stream"}
        behind = {near: gate, far: gate, remote: hut}
        lab.boot_all()
        # The jump hosts are first in the file: their place in it is not what makes them last.
        inventory = lab.inventory(groups={"gates": [gate, hut], "boards": [near, far, remote]},
                                  host=lambda d: {"mode": modes[d], "after": {"host_key": near.host_key_fingerprint("new")}})
        write_config(lab, f"Host door\n HostName {gate.ip}\n User root\n"
                     f"Host {near.ip} {far.ip}\n ProxyJump door\n"
                     f"Host {remote.ip}\n ProxyCommand ssh -W %h:%p root@{hut.ip}\n")
        image = lab.image("busybox", "mbr", "new")
        boot_ids = {d: d.boot_id() for d in lab.devices}
        for d in behind:
            lab.network.ip("route", "add", "prohibit", f"{d.ip}/32")
        check("the boards behind cannot be reached directly", not any(d.answers() for d in behind))
        test_refusals(lab, inventory, image, gate, near)

        report = lab.dir / "report.json"
        p = lab.fleetflash("-i", inventory, "--yes", "-vv", "--json", "--report", report, image)
        for d in behind:
            lab.network.ip("route", "del", "prohibit", f"{d.ip}/32")
        print(p.stderr, flush=True)
        check("exit code 0", p.returncode == 0, p.stdout + console_ends(lab.devices))
        check("every outcome is flashed", set(outcomes(report).values()) == {"flashed"}, report.read_text())
        for t in json.loads(report.read_text())["targets"]:
            d = next(d for d in lab.devices if d.name == t["name"])
            check(f"{d.name}: in {t['mode']} mode, as asked, by one connection",
                  t["mode"] == modes[d] and t["attempts"] == 1, str(t))
            check(f"{d.name}: rebooted once", t["boot_id_before"] == boot_ids[d] and d.reboots() == 1)
        check("it says who goes last", "gate goes last: 2 other targets are reached through it" in p.stderr and
              "hut goes last: 1 other target is reached through it" in p.stderr, p.stderr)
        check("the agent's own port is reached through the jump hosts",
              "second way to the agent does not work" not in p.stderr, p.stderr)
        first, done = events_of(p.stdout, "target_state"), events_of(p.stdout, "target_done")
        for d, jump in behind.items():
            check(f"{jump.name} began when {d.name} was done", first[jump.name] > done[d.name], p.stdout)
        check_flashed(lab.devices, lab.raw_image("busybox", "mbr", "new"))


if __name__ == "__main__":
    main()
