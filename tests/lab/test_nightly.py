#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every night the same image: what a used device costs, and which are left alone (`if_used`)."""

import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, console_ends
from lab import Lab, require
from nightly_examples import examples

POLICY = {"policy": "sysv", "stop": ["lab-victim"]}
IMAGE_BYTES = 48 << 20
# Of what a re-flash writes most is blocks that the busy service changed: zeros in the image, so nothing is sent.
MARK = "/root/used-since"
VICTIM = "cat /run/lab-victim.pid && /etc/init.d/lab-victim status >/dev/null"  # another one after a stop


class Nights:
    def __init__(self, lab):
        self.lab, self.count = lab, 0
        self.device = {d.name: d for d in lab.devices}

    def run(self, what, version, runs, *args, if_used="keep"):
        """One run over all devices; runs: the version they run now. Returns their part of the report."""
        self.count += 1
        report = self.lab.dir / f"night-{self.count}.json"
        inventory = self.lab.inventory(host=self.keys(version, if_used))
        self.lab.known_hosts(version=runs)
        p = self.lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, *args,
                                self.lab.image("busybox", "mbr-boot", version))
        print(f"--- {what}\n{p.stderr}", flush=True)
        check(f"{what}: exit code 0", p.returncode == 0, console_ends(self.lab.devices))
        self.told = p.stderr
        return json.loads(report.read_text())["targets"]

    def keys(self, version, if_used):
        key = self.lab.devices[0].host_key_fingerprint(version)
        return lambda d: {"mode": "stage", "services": POLICY, "if_used": if_used, "after": {"host_key": key}}

    def check(self, what, version, left_alone, if_used="keep"):
        """--check over all devices, which run the new version: are all of them named as left alone, or none?"""
        inventory = self.lab.inventory(name="check.yaml", host=lambda d: {
            "mode": "stage", "if_used": if_used, "after": {"host_key": d.host_key_fingerprint(version)}})
        self.lab.known_hosts(version="new")
        p = self.lab.fleetflash("-i", inventory, "--check", self.lab.image("busybox", "mbr-boot", version))
        print(f"--- {what}\n{p.stderr}", flush=True)
        plan = p.stderr.partition("Left alone")[2]
        named = [d.name for d in self.lab.devices if f"{d.name}: unchanged: " in plan]
        check(f"{what}: exit code 0, left alone: {named}", p.returncode == 0 and len(named) == (len(self.lab.devices) if left_alone else 0))

    def use(self):
        for d in self.lab.devices:
            check(f"{d.name}: it is used", d.ssh(f"echo used > {MARK}; sync").returncode == 0)

    def check_flashed(self, what, targets, version):
        for t in targets:
            d = self.device[t["name"]]
            check(f"{what}: {d.name} is flashed, {t['bytes_sent']} bytes sent, {t['bytes_written']} written",
                  t["outcome"] == "flashed" and d.image_version() == version, str(t))
            check(f"{what}: {d.name} is as new", d.ssh(f"test -e {MARK}").returncode == 1)
            for old in d.snapshots:
                old.unlink()  # room


def main():
    require()
    with Lab() as lab:
        for n in range(2):
            lab.device(f"node-{n + 1}", kind="busybox", layout="mbr-boot", mem="128M", writers=False)
        lab.boot_all()
        nights = Nights(lab)
        first = nights.run("first night", "new", "old")
        nights.check_flashed("first night", first, "new")

        nights.use()
        before = {d.name: (d.boot_id(), d.reboots()) for d in lab.devices}
        victims = {d.name: d.ssh(VICTIM) for d in lab.devices}
        check("its service runs everywhere", all(v.returncode == 0 and v.stdout for v in victims.values()), str(victims))
        nights.check("check, keep", "new", True)
        nights.check("check, another image", "old", False)
        nights.check("check, reflash", "new", False, if_used="reflash")
        kept = nights.run("keep", "new", "new")
        for t, whole in zip(kept, first):
            d = nights.device[t["name"]]
            check(f"keep: {d.name} is unchanged: {t['proof']}", t["outcome"] == "unchanged" and
                  "sampled blocks" in t["proof"] and t["bytes_written"] == 0, str(t))
            check(f"keep: the agent alone went to {d.name}, {t['bytes_sent']} bytes",
                  t["bytes_sent"] < whole["bytes_sent"] / 2, str(t))
            check(f"keep: {d.name} has not rebooted", (d.boot_id(), d.reboots()) == before[d.name])
            check(f"keep: the service of {d.name} was not stopped", d.ssh(VICTIM).stdout == victims[d.name].stdout)
            check(f"keep: what was done on {d.name} is there", d.ssh(f"test -e {MARK}").returncode == 0)

        again = nights.run("reflash", "new", "new", if_used="reflash")
        nights.check_flashed("reflash", again, "new")
        for t, whole, agent in zip(again, first, kept):
            sent, all_sent = (x["bytes_sent"] - agent["bytes_sent"] for x in (t, whole))
            check(f"reflash: beside the agent {t['name']} is sent {sent} of {all_sent} bytes and writes "
                  f"{t['bytes_written']} of {whole['bytes_written']}",
                  4096 < sent < all_sent / 2 and 0 < t["bytes_written"] < IMAGE_BYTES / 2)

        examples(lab, lab.image("busybox", "mbr-boot", "new"), nights.keys("new", "keep"))
        nights.use()
        nights.check_flashed("force", nights.run("force", "new", "new", "--force"), "new")
        nights.check_flashed("other image", nights.run("other image", "old", "new"), "old")
        nights.use()
        nights.check_flashed("back again", nights.run("back again", "new", "old"), "new")
        check("back again: the record says why", "last flashed with another image" in nights.told, nights.told)


if __name__ == "__main__":
    main()
