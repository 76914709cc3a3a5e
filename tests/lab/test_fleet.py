#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One command flashes a fleet: 4 systemd boards with OpenSSH, 8 busybox boards with dropbear, MBR and
GPT, /boot on FAT, as root and through sudo, in stage and in stream mode. Each is being written to all
the time, and has a service that the policy must stop."""

import json
import os
import sys
import xml.etree.ElementTree

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, check_flashed, console_ends, outcomes
from lab import Lab, require

POLICY = {"systemd": {"policy": "systemd", "stop": ["lab-vic*.service"]},
          "busybox": {"policy": "sysv", "stop": ["lab-victim"]}}


def fleet(lab):
    """{device: mode}"""
    modes = {}
    for n in range(4):
        d = lab.device(f"pi-{n + 1}", kind="systemd", layout=("mbr-boot", "gpt-boot")[n % 2], mem="320M",
                       user="pi" if n < 2 else "root")
        modes[d] = ("stage", "stream")[n // 2] if n != 1 else "stream"
    for n in range(8):
        d = lab.device(f"node-{n + 1}", kind="busybox", layout=("mbr-boot", "gpt-boot")[n % 2],
                       mem="128M" if n < 4 else "64M")
        modes[d] = ("stage", "stream")[n // 4]
    return modes


def main():
    require()
    with Lab() as lab:
        modes = fleet(lab)
        lab.boot_all()
        check("12 devices boot", all(d.image_version() == "old" for d in lab.devices))
        before = {d.name: d.boot_id() for d in lab.devices}
        fingerprint = lab.devices[-1].host_key_fingerprint("new")
        inventory = lab.inventory(host=lambda d: {
            "mode": modes[d], "services": POLICY[d.kind],
            "after": {"host_key": fingerprint, "user": "root"}})
        report = lab.dir / "report.json"
        page, suites = lab.dir / "report.html", lab.dir / "report.xml"
        p = lab.fleetflash("-i", inventory, "--yes", "--json", "--report", report, "--report", page, "--report", suites,
                           lab.image("busybox", "mbr-boot", "new"))
        print(p.stderr, flush=True)
        check("exit code 0", p.returncode == 0, p.stdout + console_ends(lab.devices))
        check("every outcome is flashed", set(outcomes(report).values()) == {"flashed"}, report.read_text())
        targets = json.loads(report.read_text())["targets"]
        for t in targets:
            d = next(d for d in lab.devices if d.name == t["name"])
            check(f"{d.name}: flashed in {t['mode']} mode, as asked", t["mode"] == modes[d])
            check(f"{d.name}: boot ids in the report are the real ones",
                  t["boot_id_before"] == before[d.name] and t["boot_id_after"] == d.boot_id(), str(t))
            spans = [s["state"] for s in t["timeline"]]
            check(f"{d.name}: its timeline goes from the probe to the proof",
                  spans[0] == "probe" and spans[-1] == "reachability" and "transfer" in spans, str(t["timeline"]))
        tests = xml.etree.ElementTree.parse(suites).getroot()
        check("in the JUnit report each device has passed",
              sorted(c.get("name") for c in tests.iterfind("testsuite[@name='wave 1']/testcase")) == sorted(before)
              and tests.get("failures") == tests.get("errors") == tests.get("skipped") == "0", suites.read_text())
        check("the page has a bar for each device", page.read_text().count('class="track"') == len(before))
        events = [json.loads(line) for line in p.stdout.splitlines()]
        check("the events are one JSON object a line", events[0]["event"] == "run_started" and
              events[-1]["event"] == "run_ended" and events[-1]["exit_code"] == 0, p.stdout[:2000])
        for d in lab.devices:
            check(f"{d.name}: the console tells of it", "fleetflash:" in d.console_text(), d.console_text()[-2000:])
        check_flashed(lab.devices, lab.raw_image("busybox", "mbr-boot", "new"))


if __name__ == "__main__":
    require()
    main()
