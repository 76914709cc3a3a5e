#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The controller is killed (SIGKILL) while eight devices are in eight different states. What the journal says of each is what
the device says; --resume goes on with those that are left, each at its place; --retry-failed flashes the one that was absent."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, console_ends, first_difference, outcomes, same_as_image
from lab import Lab, require

# name: the step at which it is held, as the journal calls it, and the outcome it has by then
STEPS = {"done": ("done", "flashed"), "vetoed": ("done", "skipped"), "absent": ("done", "failed"), "staging": ("stage", ""),
         "writing": ("write", ""), "asked": ("policy", ""), "booted": ("prove", ""), "waiting": ("idle", "")}
LEFT = {"staging", "writing", "asked", "booted", "waiting"}
ROLLOUT = "rollout:\n  waves:\n    - {groups: [first], max_failures: 1}\n    - {groups: [second]}\n"


def settings(lab, d):
    """What keeps a device at its step."""
    def ask(command, **more):
        return {"services": {"policy": "exec", "command": ["sh", "-c", command], **more}}
    return {"vetoed": ask("exit 10"), "absent": {"retries": 0}, "staging": {"mode": "stage"}, "writing": {"mode": "stream"},
            "asked": ask(f"[ -e {lab.dir}/go ] || {{ echo a test is running; exit 75; }}", again="1s"),
            "booted": {"health": "until [ -e /tmp/go ]; do sleep 0.1; done"}}.get(d.name, {})


def recorded(lab):
    """{name: row} of the run's devices; {} before there is one."""
    path = lab.state_dir / "journal.sqlite"
    if not path.exists():
        return {}
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    db.row_factory = sqlite3.Row
    try:
        return {r["name"]: dict(r) for r in db.execute("SELECT * FROM targets")}
    except sqlite3.OperationalError:  # not made yet
        return {}
    finally:
        db.close()


def steps_of(rows):
    return {name: (r["step"], r["outcome"]) for name, r in rows.items()}


def is_begun(d):
    """A half-written disk: its head is zeros."""
    with open(d.disk, "rb") as disk:
        return disk.read(512) == bytes(512)


def kill_in_the_middle(lab, inventory, image):
    """Waits until each device is where it is held, then kills; what the journal says of them."""
    with open(lab.dir / "first.log", "w") as log:
        run = lab.popen(lab.fleetflash_argv("-i", inventory, "--yes", "-v", image), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    slow = {"staging", "writing"}
    for name in slow:
        lab.by_name[name].limit_rate("1mbit")
    end = time.monotonic() + 120
    while ((steps_of(rows := recorded(lab)) != STEPS or not is_begun(lab.by_name["writing"]))
           and time.monotonic() < end and run.poll() is None):
        for name in [n for n in slow if n in rows and rows[n]["step"] == STEPS[n][0]]:
            lab.by_name[name].limit_rate("16kbit")  # it stays there
            slow.remove(name)
        time.sleep(0.1)
    alive = run.poll() is None
    run.kill()
    run.wait()
    told = (lab.dir / "first.log").read_text()
    print(told, flush=True)
    check(f"each is at its step: {steps_of(recorded(lab))}", alive and steps_of(recorded(lab)) == STEPS, told)
    check("its policy puts one off", "asked: policy: exec: not now, again in 1 s: a test is running" in told)
    for d in lab.devices:
        d.limit_rate(None)
    return recorded(lab)


def seen(d):
    """What a device says of itself: (boot id, version, has it an agent)."""
    boot, image, agents = d.ssh("cat /proc/sys/kernel/random/boot_id /etc/fleetflash-image; "
                                "grep -c @fleetflash-agent /proc/net/unix").stdout.splitlines()
    return boot, image.split()[-1], agents != "0"


def compare(lab, rows, boot_ids):
    """What the journal says, and what the devices do."""
    names = sorted(set(STEPS) - {"absent", "writing"})
    there = dict(zip(names, lab.each(seen, [lab.by_name[n] for n in names])))
    for name in names:
        row, reboots, (boot, version, agent) = rows[name], lab.by_name[name].reboots(), there[name]
        if name in ("done", "booted"):
            check(f"{name}: written once, as recorded; it runs the image", row["write_sent"] == 1 and reboots == 1
                  and row["boot_id"] == boot_ids[name] != boot and version == "new", str(row))
            continue
        check(f"{name}: not written to, as recorded; it runs on", row["write_sent"] == 0 and reboots == 0
              and boot == boot_ids[name] and version == "old", str(row))
        check(f"{name}: the boot recorded is its own", row["boot_id"] == ("" if name == "waiting" else boot), str(row))
        check(f"{name}: it has an agent, if it is on record", agent == (name in ("staging", "asked")), str(row))
    d, row = lab.by_name["writing"], rows["writing"]
    check("writing: half-written, as recorded: its head is zeros", row["write_sent"] == 1 and is_begun(d) and d.running()
          and d.reboots() == 0, str(row))
    check("those that may have an agent have its secret on record, the others have none",
          {n for n, r in rows.items() if r["secret"] is not None} == {"staging", "writing", "asked", "booted"})


def flash(lab, what, *args):
    report = lab.dir / "report.json"
    report.unlink(missing_ok=True)
    p = lab.fleetflash(*args, "-v", "--report", report)
    print(f"--- {what}\n{p.stderr}", flush=True)
    check(f"{what}: exit code 0", p.returncode == 0, console_ends(lab.devices))
    return outcomes(report)


def main():
    require()
    with Lab() as lab:
        for name in STEPS:
            lab.device(name, kind="busybox", layout="mbr", writers=False, mem="128M" if name == "staging" else None)
        lab.by_name = {d.name: d for d in lab.devices}
        absent = lab.by_name["absent"]
        there = [d for d in lab.devices if d is not absent]
        for d in there:
            d.boot()
        lab.each(lambda d: d.wait_ssh(300), there)
        boot_ids = dict(zip([d.name for d in there], lab.each(lambda d: d.boot_id(), there)))
        groups = {"first": [d for d in lab.devices if d.name != "waiting"], "second": [lab.by_name["waiting"]]}
        inventory = lab.inventory(groups=groups, extra=ROLLOUT, host=lambda d: settings(lab, d), defaults={"connect_timeout": "10s"})

        rows = kill_in_the_middle(lab, inventory, lab.image("busybox", "mbr"))
        compare(lab, rows, boot_ids)

        locks = [path.read_text() for path in (lab.state_dir / "locks").iterdir()]
        check("the locks of the killed run are still there", len(locks) == 8 and len(set(locks)) == 1 and
              not os.path.exists(f"/proc/{re.search(r'process ([0-9]+)', locks[0])[1]}"), str(locks))

        (lab.dir / "go").touch()
        lab.by_name["booted"].ssh("touch /tmp/go")
        got = flash(lab, "--resume", "--resume")
        check(f"what was left is flashed: {got}", got == dict.fromkeys(LEFT, "flashed"))
        raw = lab.raw_image("busybox", "mbr")
        for name in LEFT | {"done"}:
            d = lab.by_name[name]
            check(f"{name}: written and rebooted once in all", d.reboots() == 1 and same_as_image(d.snapshots[-1], raw)
                  and d.image_version() == "new", first_difference(d.snapshots[-1], raw))
        check("the journal says so", {n: r["outcome"] for n, r in recorded(lab).items()} ==
              {n: "flashed" if n in LEFT else outcome for n, (_, outcome) in STEPS.items()}, str(recorded(lab)))
        check("no secret is left in it", all(r["secret"] is None for r in recorded(lab).values()))

        absent.boot()
        absent.wait_ssh()
        got = flash(lab, "--retry-failed", "--retry-failed", "--yes")
        check(f"the one that was absent is flashed, nobody else: {got}", got == {"absent": "flashed"} and
              absent.image_version() == "new" and all(d.reboots() <= 1 for d in lab.devices))
        check_history(lab)


def check_history(lab):
    def past(*args):
        return lab.run([lab.fleetflash_argv()[0], "--state-dir", lab.state_dir, *args], capture_output=True, text=True).stdout

    runs = [json.loads(line) for line in past("--history", "--json").splitlines()]
    check("two runs are in the history", [(r["devices"], r["exit_code"]) for r in runs] == [(1, 0), (8, 0)], str(runs))
    told = [json.loads(line) for line in past("--show", runs[1]["run"], "--json", "-v").splitlines()]
    check("what was told is kept, of the killed process and of the one that went on",
          {e["target"] for e in told if e["event"] == "target_done"} >= LEFT | {"absent"}
          and sum(e["event"] == "run_started" for e in told) == 2, str(told))
    text = past("--show", runs[1]["run"], "-vv")
    check("and shown to people", "asked: policy: exec: not now, again in 1 s: a test is running" in text, text)


if __name__ == "__main__":
    main()
