#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The example units under a real systemd: a board is the controller, with the program installed on it."""

import os
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from lab import Lab, require
from nightly_examples import Installation

HOME = "/var/lib/fleetflash"
UNIT = "fleetflash-nightly"
# The same distribution as this machine's: its libraries fit.
INSTALL = f"""set -e
mount -t tmpfs tmpfs /usr/local
mkdir -p {HOME} /etc/fleetflash
mount -t tmpfs tmpfs {HOME}
tar -xf /run/installation.tar -C /
rm /run/installation.tar
ldconfig
useradd --system --home-dir {HOME} fleetflash
mkdir -m 700 {HOME}/.ssh
mv /usr/local/identity {HOME}/.ssh/id_ed25519
mv /usr/local/known_hosts {HOME}/.ssh
chown -R fleetflash: {HOME}
cp /usr/local/share/doc/fleetflash/docs/examples/{UNIT}.* /etc/systemd/system
mv /usr/local/lab.yaml /etc/fleetflash
echo IMAGE=/usr/local/image.xz >/etc/default/{UNIT}
systemctl daemon-reload
"""


def libraries(program):
    """The shared libraries of a program, on this machine."""
    said = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return [pathlib.Path(p) for p in re.findall(r" => (/\S+)", said)]


def install(lab, controller, inventory, image):
    """Everything goes below /usr/local of the controller, which is in its memory."""
    installed = Installation(lab)
    root = installed.bin.parent
    (root / "lib").mkdir(exist_ok=True)
    present = controller.ssh("ldconfig -p").stdout
    for library in libraries(installed.bin / "fleetflash"):
        if library.name not in present:
            (root / "lib" / library.name).write_bytes(library.read_bytes())
    for source, name in ((lab.home / ".ssh" / "id_ed25519", "identity"), (lab.home / ".ssh" / "known_hosts", "known_hosts"),
                         (inventory, "lab.yaml"), (image, "image.xz")):
        (root / name).write_bytes(pathlib.Path(source).read_bytes())
    controller.put(archive(root), "/run/installation.tar")
    p = controller.ssh(INSTALL)
    check("the controller is installed", p.returncode == 0, p.stdout + p.stderr)


def archive(root):
    """A tar of it, as usr/local/…"""
    path = root.parent / "installation.tar"
    subprocess.run(["tar", "-cf", path, "--owner=0", "--group=0", f"--transform=s,^\\.,usr/local,", "-C", root, "."], check=True)
    return path


def unit_state(controller):
    said = controller.ssh(f"systemctl show -p Result,ExecMainStatus,ActiveState {UNIT}.service").stdout
    return dict(line.split("=", 1) for line in said.split())


def journal(controller):
    return controller.ssh(f"journalctl --no-pager -o cat -u {UNIT}.service").stdout


def main():
    require()
    with Lab() as lab:
        controller = lab.device("controller", kind="systemd", mem="2G", writers=False)
        node = lab.device("node", kind="busybox", layout="mbr-boot", mem="128M")
        lab.boot_all()
        old_key, key = (node.host_key_fingerprint(version) for version in ("old", "new"))
        inventory = lab.inventory([node], text=f"""defaults: {{user: root, if_used: keep, connect_timeout: 10s}}
groups:
  lab: {{hosts: {{node: {{host: {node.ip}, host_key: "{old_key}", after: {{host_key: "{key}"}}}}}}}}
""")
        install(lab, controller, inventory, lab.image("busybox", "mbr-boot", "new"))
        p = controller.ssh(f"systemctl start {UNIT}.service", timeout=180)
        check("the service flashes", p.returncode == 0, p.stderr + journal(controller) + str(unit_state(controller)))
        check("the node runs the new image", node.image_version() == "new")
        state = unit_state(controller)
        check("it ended well", state == {"Result": "success", "ExecMainStatus": "0", "ActiveState": "inactive"}, str(state))
        check("and said nothing", "fleetflash:" not in journal(controller) and "node" not in journal(controller), journal(controller))
        nights = controller.ssh(f"ls -l {HOME}/nights; touch -d 2020-01-01 {HOME}/nights/old.html").stdout
        check("one report, the user's", re.search(r"fleetflash fleetflash .* \d{4}-\d\d-\d\d-\d{4}\.html", nights), nights)
        history = controller.ssh("su -s /bin/sh fleetflash -c 'fleetflash --history'").stdout
        check("the user finds the run in the history", "1 flashed" in history, history)

        controller.ssh(f"sed -i 's|{old_key}|{key}|' /etc/fleetflash/lab.yaml")
        controller.ssh(f"date -s 02:59:50 && systemctl enable --now {UNIT}.timer")
        controller.wait_until(lambda d: d.ssh(f"ls {HOME}/nights/*-0300.html").returncode == 0 and
                              unit_state(d)["ActiveState"] == "inactive", 60)
        history = controller.ssh("su -s /bin/sh fleetflash -c 'fleetflash --history'").stdout
        check("at three the timer starts it; the node holds the image still", "unchanged" in history and
              node.image_version() == "new" and node.reboots() == 1, history)
        check("the old report is gone", controller.ssh(f"ls {HOME}/nights/old.html").returncode != 0)
        timers = controller.ssh(f"systemctl list-timers --no-pager {UNIT}.timer").stdout
        check("the next time is at three tomorrow", "03:00:00" in timers, timers)

        # A board that does not answer, for as long as the stop takes.
        controller.ssh("sed -i 's/host: [0-9.]*,/host: 10.77.0.199,/' /etc/fleetflash/lab.yaml")
        controller.ssh(f"systemctl start --no-block {UNIT}.service")
        controller.wait_until(lambda d: unit_state(d)["ActiveState"] == "activating", 30)
        p = controller.ssh(f"systemctl stop {UNIT}.service")
        state = unit_state(controller)
        check("a stop is an orderly one", p.returncode == 0 and state["ExecMainStatus"] == "130", str(state) + journal(controller))
        p = controller.ssh(f"systemctl start {UNIT}.service", timeout=60)
        check("a device that is not there: the unit has failed", p.returncode != 0 and unit_state(controller)["ExecMainStatus"] == "1",
              str(unit_state(controller)))
        check("and its journal says which and why", re.search("node: failed: cannot connect to 10.77.0.199 .* check that", journal(controller)), journal(controller))


if __name__ == "__main__":
    main()
