#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with boards that are flashed by their boot loaders: each fault is told of its target within its time,
the others are flashed meanwhile, and nothing is served any more afterwards."""

import json
import os
import pathlib
import re
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
MEMORY = 128 << 10  # KiB: the budget, with 2 MiB for each board
NOT_FOUND = 68  # curl's exit code for that answer of a TFTP server
MODES = ("good", "never", "stranger", "no-memory", "silent", "short", "good", "liar", "stops", "reboots", "twice", "contrary", "flood", "spoilt")
# What becomes of a reset command that starts a board, or none, and then does something else.
COMMANDS = {"hangs": "{good}; trap '' TERM; sleep 1000", "stuck": "trap '' TERM; sleep 1000", "late": "{good} $$; sleep 1; exit 3",
            "wrong": "echo the switch is off >&2; exit 3", "loud": "{good}; head -c 1G /dev/zero"}
# CAP_CHOWN to CAP_FOWNER, CAP_KILL, CAP_NET_BIND_SERVICE; CAP_SYS_ADMIN
RIGHTS = 0b1111 | 1 << 5 | 1 << 10
SYS_ADMIN = 1 << 21


def reset_command(lab, mode, port):
    act = f"{sys.executable} {HERE}/fakeboard.py {SERVER}:{port} {{}} $1 $2 $3"
    if mode in COMMANDS:
        return f"echo $$ >{lab.dir}/{mode}; {COMMANDS[mode].format(good=act.format('good'))}"
    return f"grep -h CapEff /proc/$PPID/status /proc/$$/status >{lab.dir}/rights; exec {act.format(mode)}"


def inventory(lab, modes, name="inventory.yaml", first=0, **kw):
    hosts = {}
    for i, mode in enumerate(modes, first):
        netboot = {"netconsole": "yes", "disk": "mmc 1", "layout": "disk", "timeout": "6s", "part_size": "1M", "port": 69, **kw.get("netboot", {})}
        hosts[f"{mode}-{i}"] = {
            "host": f"10.77.0.{100 + i}", "mac": f"02:ff:00:00:00:{i:02x}", "netboot": netboot,
            "reset": {"command": reset_command(lab, mode, netboot["port"])}}
    path = lab.dir / name
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


def others_run(lab, image, seen):
    """Beside a run that serves: one that wants the same port, and one with a port of its own."""
    busy = inventory(lab, ("good",), name="busy.yaml", first=len(MODES) + len(COMMANDS))
    apart = inventory(lab, ("good",), name="apart.yaml", first=len(MODES) + len(COMMANDS), netboot={"port": 6969})
    while not (lab.dir / "rights").exists():
        time.sleep(0.05)
    for words in ((busy, "--check"), (busy, "--yes"), (apart, "--yes")):
        seen.append(lab.fleetflash("-i", *words, image, timeout=60))


def resident(lab, seen):
    """Looks how much memory the program has, all the time."""
    while seen[0] is not None:
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
                if "Name:\tfleetflash\n" in text and str(lab.dir) in (status.parent / "cmdline").read_text():
                    seen[1] = max(seen[1], int(re.search(r"VmHWM:\s+(\d+)", text)[1]))
            except (OSError, TypeError):
                pass
        time.sleep(0.2)


def test_faults(lab, image):
    report = lab.dir / "report.json"
    gone, others, memory = [], [], [True, 0]
    path = inventory(lab, (*MODES, *COMMANDS))
    (lab.dir / "rights").unlink(missing_ok=True)
    asking = [threading.Thread(target=target, args=args) for target, args in (
        (files_go, (lab, gone)), (others_run, (lab, image, others)), (resident, (lab, memory)))]
    for thread in asking:
        thread.start()
    p = lab.fleetflash("-i", path, "--yes", "-v", "--report", report, image, timeout=120)
    memory[0] = None
    for thread in asking:
        thread.join()
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
    check("never-1: that boards ask that are not waited for any more is no hint", "asked for 02:ff:00:00:00:05" not in json.dumps(targets))
    told("stranger-2", "failed", "did not ask for the image within 6 s", "10.77.0.102 asked for 02:ff:00:00:00:99/boot.scr")
    told("no-memory-3", "failed", "part 0 fetch")
    told("silent-4", "failed", "does not report")
    told("liar-7", "failed", "has not fetched all")
    told("short-5", "failed", "bytes written, the image has")
    told("stops-8", "failed", "fetches no more, and does not report")
    check("stops-8: before its transfer was given up", "stops-8: warning" not in p.stderr)
    told("reboots-9", "flashed")
    told("twice-10", "flashed")
    told("contrary-11", "failed", "gave up after 1024 bytes: part 0 write")
    told("flood-12", "flashed")
    told("spoilt-13", "failed", "reports the crc32")
    told("hangs-14", "flashed")
    told("stuck-15", "failed", "did not ask for the image within 6 s; its reset has not ended yet")
    told("late-16", "flashed")
    check("late-16: that its command failed afterwards is told", "late-16: warning: the reset command ended with exit status 3" in p.stderr)
    told("wrong-17", "failed", "exit status 3: the switch is off")
    told("loud-18", "flashed")
    check_flood(p)
    check(f"the program had {memory[1]} KiB at most", 0 < memory[1] < MEMORY, str(memory))
    for mode in COMMANDS:
        pid = (lab.dir / mode).read_text().strip()
        check(f"{mode}: nothing of its command is left", not pathlib.Path(f"/proc/{pid}").exists())
    check_others(others)


def check_flood(p):
    """What a board can make the program tell is limited, and what it says can do nothing to a terminal."""
    said = re.findall(r"flood-12: console: (.*)", p.stderr)
    seconds = float(re.findall(r"^\[ *([0-9.]+)s\]", p.stderr, re.M)[-1])
    most = 500 + 50 * (seconds + 1)
    check(f"a board that says 200,000 lines is heard {len(said)} times in {seconds} s", 500 <= len(said) < most and
          sum("not all of that is told" in line for line in said) == 1 and re.search(r"\d of its lines were left out", said[-1]),
          str(said[-3:]))
    check("no control characters get through", not re.search(r"[\0-\x09\x0b-\x1f\x7f-\x9f]", p.stderr))


def check_others(others):
    for words, p in zip(("--check", "--yes"), others):
        check(f"beside a run that has the port, {words}: said, and what to do: exit code 1", p.returncode == 1 and
              "UDP port 69 of 10.77.0.1 is in use" in p.stderr and "ss -ulpn" in p.stderr, p.stderr)
    apart = others[2]
    check("with a port of its own it flashes, and says that it does not hear consoles", apart.returncode == 0 and
          "netconsole: UDP port 6666" in apart.stderr, apart.stderr)


def test_given_up(lab, image):
    """That a transfer was given up is no sign of life of the board: it does not get its time anew."""
    path, report = inventory(lab, ("stops",)), lab.dir / "stops.json"
    path.write_text(path.read_text().replace('"transfer_timeout": "10s"', '"transfer_timeout": "40s"'))
    p = lab.fleetflash("-i", path, "--yes", "-v", "--report", report, image)
    target, = json.loads(report.read_text())["targets"]
    seconds = sum(target["seconds"].values())
    check(f"a board that stops fails within its time ({seconds:.0f} s)", p.returncode == 1 and "no answer for 30 s" in p.stderr and
          40 <= seconds < 60, p.stderr)


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
    check("no disk of U-Boot: exit code 2, no file", p.returncode == 2 and "must be what U-Boot calls it" in p.stderr and not script.exists(), p.stderr)


def main():
    require()
    if not shutil.which("curl"):
        print("SKIP: curl is needed: run tests/install-deps")
        sys.exit(77)
    with Lab() as lab:
        for i in range(len(MODES) + len(COMMANDS) + 1):
            lab.network.ip("address", "add", f"10.77.0.{100 + i}/24", "dev", "br0")
        image = lab.dir / "image"
        tftp.make_image(image, (3 << 20) + 512)
        tests = (test_inventory, test_no_route, test_port_in_use, test_faults)
        if "long" in sys.argv:
            tests = (test_given_up, *tests)
        for test in tests:
            test(lab, image)


if __name__ == "__main__":
    main()
