# SPDX-License-Identifier: Apache-2.0
"""The examples for nightly runs, as they are installed, by an installation of the program."""

import json
import os
import re
import shlex
import subprocess
import time

from check import check
from lab import REPO


class Installation:
    """`cmake --install` of the build that is tested into the lab's directory."""

    def __init__(self, lab):
        self.lab, self.nights = lab, lab.dir / "nights"
        build = os.path.dirname(os.path.dirname(os.environ.get("FLEETFLASH") or REPO / "build/bin/fleetflash"))
        stage = lab.dir / "stage"
        subprocess.run(["cmake", "--install", build], env={**os.environ, "DESTDIR": str(stage)}, check=True,
                       stdout=subprocess.DEVNULL)
        (self.bin,) = (p.parent for p in stage.glob("**/bin/fleetflash"))
        (self.examples,) = stage.glob("**/docs/examples")
        for name in ("state", "cache"):  # where a user's own are; the record of what devices hold is there
            home = lab.dir / f"xdg-{name}"
            home.mkdir()
            (home / "fleetflash").symlink_to(lab.dir / name)

    def unit(self, key):
        text = (self.examples / "fleetflash-nightly.service").read_text()
        line = re.search(rf"^{key}=-?(.*)", text, re.M)[1]
        # systemd: %S is the state directory, %% and $$ the characters themselves
        return shlex.split(line.replace("%S/fleetflash", str(self.lab.dir)).replace("%%", "%").replace("$$", "$"))

    def cron(self, inventory, image):
        text = (self.examples / "fleetflash-nightly.cron").read_text()
        command = re.search(r"^0 3 \* \* \* fleetflash (.*)", text, re.M)[1].replace("\\%", "%")
        for example, real in (("/etc/fleetflash/lab.yaml", inventory), ("https://images.example/golden.img.xz", image)):
            check(f"the crontab line names {example}", example in command)
            command = command.replace(example, str(real))
        return ["sh", "-c", command]

    def environment(self, inventory, image):
        return {"PATH": f"{self.bin}:{os.environ['PATH']}", "INVENTORY": str(inventory), "IMAGE": str(image),
               "XDG_STATE_HOME": str(self.lab.dir / "xdg-state"), "XDG_CACHE_HOME": str(self.lab.dir / "xdg-cache")}

    def run(self, argv, inventory, image):
        return self.lab.run(argv, env=self.environment(inventory, image), text=True, capture_output=True, cwd=self.lab.dir)


def overlapping(lab, installed, inventory, image):
    """A night that is not over when the next one begins."""
    line = installed.cron(inventory, image)
    slow = lab.devices[0]
    slow.limit_rate("64kbit")
    first = lab.popen(line, env=installed.environment(inventory, image), cwd=lab.dir, text=True,
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    locks = lab.state_dir / "locks"
    ends = time.monotonic() + 30
    while not any(f"(process {first.pid})" in path.read_text() for path in locks.glob("*")) and time.monotonic() < ends:
        time.sleep(0.1)  # it is under way once it holds the devices
    p = installed.run(line, inventory, image)
    print(p.stderr, flush=True)
    check("cron: a second run while the first is at work: exit 4", p.returncode == 4 and first.poll() is None, p.stdout + p.stderr)
    check("it says who has the device, since when", re.search(rf"{slow.name} .* is held by run \S+ \(process \d+\) since 2\d\d\d-",
                                                             p.stderr), p.stderr)
    slow.limit_rate(None)
    out, err = first.communicate(timeout=200)
    check("the first is not disturbed and says nothing", first.returncode == 0 and out + err == "", out + err)


def examples(lab, image, keys):
    """All devices hold the image; keys are those of their hosts in the inventory."""
    installed = Installation(lab)
    told = lab.dir / "told.json"
    notify = f"notify: {{command: 'cat > {told}'}}\n"
    good = lab.inventory(name="good.yaml", host=keys, extra=notify)
    nobody = lab.devices[0].ip.rpartition(".")[0] + ".199"
    bad = lab.inventory(name="bad.yaml", host=keys, extra=f"  absent: {{hosts: {{gone: {{host: {nobody}, connect_timeout: 2s, "
                        f"retries: 0, after: {{host_key: accept-once}}}}}}}}\n{notify}")
    lab.known_hosts(version="new")

    installed.nights.mkdir()
    p = installed.run(installed.unit("ExecStart"), good, image)
    check("the service: a good night exits 0", p.returncode == 0, p.stdout + p.stderr)
    check("and says nothing", p.stdout == p.stderr == "", p.stdout + p.stderr)
    check("and is not notified", not told.exists())
    (report,) = installed.nights.iterdir()
    check(f"and leaves its report {report.name}", "unchanged" in report.read_text())

    overlapping(lab, installed, good, image)
    for other in set(installed.nights.iterdir()) - {report}:
        other.unlink()
    old = installed.nights / "2020-01-01-0300.html"
    old.touch()
    os.utime(old, (0, 0))
    subprocess.run(installed.unit("ExecStopPost"), check=True)
    check("a report of last year goes, the new one stays", list(installed.nights.iterdir()) == [report])

    report.unlink()
    old.touch()
    os.utime(old, (0, 0))
    p = installed.run(installed.cron(bad, image), bad, image)
    print(p.stderr, flush=True)
    check("cron: a device that is not there: exit 1", p.returncode == 1, p.stdout + p.stderr)
    check("and it is said which", p.stdout == "" and "gone" in p.stderr and lab.devices[0].name not in p.stderr, p.stderr)
    (report,) = installed.nights.iterdir()
    check("its report is kept, and the old one is not", report != old and "gone" in report.read_text())
    targets = {t["name"]: t["outcome"] for t in json.loads(told.read_text())["targets"]}
    check("the notify command had the report", targets == {"gone": "failed", **{d.name: "unchanged" for d in lab.devices}}, str(targets))
