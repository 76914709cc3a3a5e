#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with boards that are flashed by their boot loaders: each fault is told of its target within its time,
the others are flashed meanwhile, and nothing is served any more afterwards."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import netboard
import tftp
from check import check
from lab import Lab, require

HERE = pathlib.Path(__file__).resolve().parent
SERVER = "10.77.0.1"
NOT_FOUND = 68  # curl's exit code for that answer of a TFTP server
MODES = ("good", "never", "stranger", "no-memory", "silent", "short", "good", "liar")
# CAP_CHOWN to CAP_FOWNER, CAP_KILL, CAP_NET_BIND_SERVICE; CAP_SYS_ADMIN
RIGHTS = 0b1111 | 1 << 5 | 1 << 10
SYS_ADMIN = 1 << 21


def inventory(lab, modes, **kw):
    hosts = {}
    for i, mode in enumerate(modes):
        hosts[f"{mode}-{i}"] = {
            "host": f"10.77.0.{100 + i}", "mac": f"02:ff:00:00:00:{i:02x}",
            "netboot": {"netconsole": "yes", "disk": "mmc 1", "layout": "disk", "timeout": "6s", "part_size": "1M", "port": 69, **kw.get("netboot", {})},
            "reset": {"command": f"grep -h CapEff /proc/$PPID/status /proc/$$/status >{lab.dir}/rights; "
                                 f"exec {sys.executable} {HERE}/fakeboard.py {SERVER} {mode} $1 $2 $3"}}
    path = lab.dir / "inventory.yaml"
    path.write_text(json.dumps({"defaults": {"mode": "netboot", "reach": "none", "transfer_timeout": "10s", "user": "root", "after": {"host_key": "accept-once"}},
                                "groups": {"lab": {"hosts": hosts}}}))
    return path


def files_go(lab, gone):
    """Asks for the files of the board that reports a wrong size until the server, which others still need, has none."""
    argv = lab.network.enter(["curl", "-sf", "-m", "2", "--interface", "10.77.0.105", f"tftp://{SERVER}/02:ff:00:00:00:05/boot.scr"])
    for _ in range(20):
        time.sleep(0.5)
        gone.append(subprocess.run(argv, stdout=subprocess.DEVNULL).returncode)
        if gone[-1] == NOT_FOUND:
            return


def test_faults(lab, image):
    report = lab.dir / "report.json"
    gone = []
    asking = threading.Thread(target=files_go, args=(lab, gone))
    asking.start()
    p = lab.fleetflash("-i", inventory(lab, MODES), "--yes", "-v", "--report", report, image, timeout=120)
    asking.join()
    print(p.stderr, flush=True)
    targets = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
    def told(name, outcome, *words):
        target = targets[name]
        text = json.dumps(target["error"], ensure_ascii=False)
        check(f"{name}: {outcome}", target["outcome"] == outcome and all(word in text for word in words), json.dumps(target))
    check("exit code 1", p.returncode == 1, p.stdout)
    own, child = (int(line.split()[1], 16) for line in (lab.dir / "rights").read_text().splitlines())
    check("of root's capabilities it has those for files, signals and ports, its children have all",
          own & child == own == own & RIGHTS and child & SYS_ADMIN, f"{own:x} {child:x}")
    check("the files of a board that has failed are gone while others are served", 0 in gone and gone[-1] == NOT_FOUND, f"curl's exit codes: {gone}")
    for name in ("good-0", "good-6"):
        told(name, "flashed")
        check(f"{name}: what its boot loader said is in its log", f"U-Boot of {name}" in p.stderr)
    told("never-1", "failed", "did not ask for the image within 6 s")
    told("stranger-2", "failed", "did not ask for the image within 6 s", "10.77.0.102 asked for 02:ff:00:00:00:99/boot.scr")
    told("no-memory-3", "failed", "part 0 fetch")
    told("silent-4", "failed", "does not report")
    told("liar-7", "failed", "has not fetched all")
    told("short-5", "failed", "bytes written, the image has")


def test_port_in_use(lab, image):
    path = inventory(lab, ("good",))
    holder = subprocess.Popen(lab.network.enter([sys.executable, "-c",
        f"import socket,sys; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('{SERVER}', 69)); print('on', flush=True); sys.stdin.read()"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    for words in (["--check", image], ["--yes", image]):
        p = lab.fleetflash("-i", path, *words)
        check(f"port in use, {words[0]}: said, exit code 1", p.returncode == 1 and "UDP port 69" in p.stderr and "is in use" in p.stderr, p.stderr)
    holder.stdin.close()
    holder.wait()


def test_no_route(lab, image):
    path = inventory(lab, ("good",))
    path.write_text(path.read_text().replace("10.77.0.100", "192.0.2.1"))
    for words in (["--check", image], ["--yes", image]):
        p = lab.fleetflash("-i", path, *words)
        check(f"no route, {words[0]}: said, exit code 1", p.returncode == 1 and "no route to 192.0.2.1" in " ".join(p.stderr.split()), p.stderr)


def test_inventory(lab, image):
    path = inventory(lab, ("good", "never"))
    path.write_text(path.read_text().replace("02:ff:00:00:00:01", "02-FF-00-00-00-00"))
    p = lab.fleetflash("-i", path, "--check", image)
    check("two targets with one MAC address: exit code 2", p.returncode == 2 and "02:ff:00:00:00:00" in p.stderr, p.stderr)
    script = lab.dir / "boot.scr"
    p = netboard.recovery(lab, "script", "-i", inventory(lab, ("good",), netboot={"disk": "sda"}), "-o", script)
    check("no disk of U-Boot: exit code 2, no file", p.returncode == 2 and "no disk of U-Boot" in p.stderr and not script.exists(), p.stderr)


def main():
    require()
    if not shutil.which("curl"):
        print("SKIP: curl is needed: run tests/install-deps")
        sys.exit(77)
    with Lab() as lab:
        for i in range(len(MODES)):
            lab.network.ip("address", "add", f"10.77.0.{100 + i}/24", "dev", "br0")
        image = lab.dir / "image"
        tftp.make_image(image, (3 << 20) + 512)
        for test in (test_inventory, test_no_route, test_port_in_use, test_faults):
            if not sys.argv[1:] or test.__name__ in sys.argv[1:]:
                test(lab, image)


if __name__ == "__main__":
    main()
