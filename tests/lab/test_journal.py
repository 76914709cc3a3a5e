#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The controller is killed at every commit of its journal, before it and after it, and goes on with --resume: a write that has
happened is not repeated, one that has begun is not forgotten.

    test_journal.py [long] [8]    8: so many devices; long: both kills in both modes, three devices at once, and eight, three at a time

The devices are sinks (tests/bench/sinks.py): loopback ssh servers that run the real agent on a file.
"""

import hashlib
import http.server
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bench")]

import sinks
from check import check
from lab import require

PROGRAM = pathlib.Path(os.environ.get("FLEETFLASH") or HERE.parents[1] / "build/bin/fleetflash")
PRELOAD = PROGRAM.parent / "tests" / "libkill_commit.so"
INSIDE = "FLEETFLASH_TEST_INSIDE"
IMAGE_SIZE, BLOCK = 3 << 20, 65536
TOKEN = "hush-9d3f"

# Runs an agent and notes when it began and ended, and what the disk was like then.
AGENT_RUN = """#!/bin/sh
dir=${0%/*}
note() { echo "$1 $(stat -c %y "$dir/disk" | tr -d ' ') $(cmp -n SIZE -s "$dir/image" "$dir/disk" && echo image || echo other)" \
>>"$dir/agents"; }
note start
"$@"
note end
"""


class Device(sinks.Sink):
    """A sink that keeps a diary of its agents."""

    def __init__(self, directory, number, keys, image):
        self.image = image
        super().__init__(directory, number, keys, IMAGE_SIZE + (1 << 20))
        run = self.dir / "agent-run"
        run.write_text(AGENT_RUN.replace("SIZE", str(IMAGE_SIZE)))
        run.chmod(0o755)
        shell = self.dir / "sink-shell"
        text = shell.read_text()
        assert text.count("setsid ") == 1
        shell.write_text(text.replace("setsid ", 'setsid "$dir/agent-run" '))
        (self.dir / "image").symlink_to(image)

    def empty_disk(self):
        """An old system: every third block is not the image's."""
        disk = bytearray(self.image.read_bytes())
        for at in range(0, IMAGE_SIZE, 3 * BLOCK):
            disk[at:at + 4096] = bytes(4096)
        self.disk.write_bytes(disk + bytes(self.disk_size - len(disk)))
        self.old = self.disk.read_bytes()
        (self.dir / "agents").write_text("")

    def switch_off(self):
        init = self._children(self.process.pid)[0]
        os.kill(int(init), signal.SIGKILL)
        self.process.wait()

    def has_changed(self):
        return self.disk.read_bytes() != self.old

    def is_image(self):
        return self.disk.read_bytes()[:IMAGE_SIZE] == self.image.read_bytes()

    def writes(self):
        """How many agents have changed the disk, as far as they have ended."""
        diary = [line.split() for line in (self.dir / "agents").read_text().splitlines()]
        begun, count = [], 0
        for what, changed, _ in diary:
            if what == "start":
                begun.append(changed)
            else:
                count += changed != begun.pop(0)
        return count


class Place:
    def __init__(self, directory, count):
        self.dir = directory
        self.image = directory / "image"
        self.image.write_bytes(b"".join(bytes([n % 251 + 1]) * BLOCK for n in range(IMAGE_SIZE // BLOCK)))
        subprocess.run(["sfdisk", "-q", self.image], input="label: dos\nstart=2048, type=83\n", text=True, check=True)
        fingerprint = sinks.make_keys(directory / "keys")
        self.devices = [Device(directory, n + 1, directory / "keys", self.image) for n in range(count)]
        hosts = "".join(f"      {d.name}: {{host: {d.address}}}\n" for d in self.devices)
        self.inventory = directory / "inventory.yaml"
        self.inventory.write_text(
            f"defaults: {{user: root, identity: {directory}/keys/user, host_key: '{fingerprint}', reach: none, "
            f"connect_timeout: 5s}}\ngroups:\n  lab:\n    hosts:\n{hosts}")
        self.round, self.parallel = 0, "32"

    def run(self, *args, kill=None, env={}):
        environment = {**os.environ, **env}
        environment.pop("SSH_AUTH_SOCK", None)
        if kill:
            environment.update(LD_PRELOAD=str(PRELOAD), KILL_COMMIT=f"{kill[0]}:{kill[1]}")
        return subprocess.run([PROGRAM, "--state-dir", self.state, "--cache-dir", self.dir / "cache", "-v", *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=environment)

    def recorded(self):
        """{name: row} of the only run, {} when there is none."""
        db = sqlite3.connect(f"file:{self.state}/journal.sqlite?mode=ro", uri=True)
        db.row_factory = sqlite3.Row
        there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'targets'").fetchone()
        rows = {r["name"]: dict(r) for r in db.execute("SELECT * FROM targets")} if there else {}
        db.close()
        return rows

    def start(self, mode, when, number):
        """A flash that is killed; False when it ended before that."""
        self.round += 1
        self.state = self.dir / f"state-{self.round}"
        for d in self.devices:
            d.empty_disk()
            d.start()
        p = self.run("-i", self.inventory, "--yes", "--mode", mode, "--parallel", self.parallel, self.image, kill=(when, number))
        if p.returncode == 0:
            return False
        check(f"{mode}, killed {when} commit {number}", p.returncode == -signal.SIGKILL, p.stderr)
        return True

    def compare(self, what):
        """What the journal says of the devices, and what they are."""
        rows, told = self.recorded(), []
        for d in self.devices:
            row = rows.get(d.name, {"step": "none", "write_sent": 0, "outcome": ""})
            told.append(row["step"])
            if d.has_changed():
                check(f"{what}: the write on {d.name} is on record", row["write_sent"] == 1, str(row))
            if row["outcome"] == "flashed":
                check(f"{what}: {d.name} is done as recorded", d.is_image())
        return told

    def go_on(self, what):
        told = self.compare(what)
        left = len(self.recorded()) > 0
        p = self.run("--resume", "--parallel", self.parallel)
        if not left:
            check(f"{what}: nothing was begun", "nothing is left" in p.stderr and not any(d.has_changed() for d in self.devices))
            p = self.run("-i", self.inventory, "--yes", self.image)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(d.writes() for d in self.devices):
            time.sleep(0.02)  # the last agents end
        diaries = "".join((d.dir / "agents").read_text() for d in self.devices)
        check(f"{what} (step {', '.join(told)}): --resume ends with 0", p.returncode == 0, p.stderr)
        check(f"{what}: all hold the image", all(d.is_image() for d in self.devices), p.stderr)
        check(f"{what}: each was written to by one agent", all(d.writes() == 1 for d in self.devices), diaries + p.stderr)
        outcomes = {r["outcome"] for r in self.recorded().values()}
        check(f"{what}: all are recorded as done", outcomes <= {"flashed", "unchanged"}, str(outcomes))

    def end(self):
        for d in self.devices:
            d.switch_off()


def every_commit(place, mode, when):
    number = 1
    while place.start(mode, when, number):
        place.go_on(f"{mode}, {when} {number}")
        place.end()
        number += 1
    place.end()
    check(f"{mode}: there were {number - 1} commits to be killed {when}", number > 8)


class ImageServer(http.server.BaseHTTPRequestHandler):
    """Gives the image to whoever has the token."""

    def do_GET(self):
        good = self.path == f"/image?token={TOKEN}"
        data = self.server.image.read_bytes() if good else b""
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def secrets_are_not_kept(place):
    """What was asked of the image is asked again; a token in its address is not on record."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), ImageServer)
    server.image = place.image
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, digest = f"http://127.0.0.1:8000/image?token={TOKEN}", hashlib.sha256(place.image.read_bytes()).hexdigest()
    place.state = place.dir / "state-secret"
    for d in place.devices:
        d.empty_disk()
        d.start()
    report = place.dir / "report.json"
    p = place.run("-i", place.inventory, "--yes", "--json", "--sha256", digest, address, kill=("after", 4))
    check("an image with a token: killed", p.returncode == -signal.SIGKILL, p.stdout + p.stderr)
    told = p.stdout + p.stderr
    p = place.run("--resume")
    check("the token is not known any more", p.returncode == 2 and "FLEETFLASH_IMAGE" in p.stderr and "/image, had" in p.stderr, p.stderr)
    server.image = place.dir / "other"
    server.image.write_bytes(place.image.read_bytes()[:-BLOCK] + bytes(BLOCK))
    p = place.run("--resume", "--no-cache", env={"FLEETFLASH_IMAGE": address})
    check("another image is not the one that was asked for", p.returncode == 2 and "sha256" in p.stderr, p.stderr)
    server.image = place.image
    whole = place.inventory.read_text()
    place.inventory.write_text(whole.replace("sink-1:", "renamed:"))
    p = place.run("--resume", env={"FLEETFLASH_IMAGE": address})
    check("a device that is no more in the inventory is not passed over", p.returncode == 2 and "sink-1 is left of run" in p.stderr,
          p.stderr)
    place.inventory.write_text(whole)
    p = place.run("--resume", "--json", "--report", report, env={"FLEETFLASH_IMAGE": address})
    check("given again it goes on", p.returncode == 0 and all(d.is_image() for d in place.devices), p.stderr)
    told += p.stdout + p.stderr + report.read_text()
    check("the token is nowhere", TOKEN not in told and "127.0.0.1:8000/image" in told and
          not any(TOKEN.encode() in f.read_bytes() for f in place.state.rglob("*") if f.is_file()))
    place.end()
    server.shutdown()


def enter_namespaces():
    """A network and processes of its own; nothing outlives this one."""
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable, __file__, *sys.argv[1:]])


def main():
    require()
    enter_namespaces()
    long = "long" in sys.argv
    counts = [int(a) for a in sys.argv[1:] if a.isdigit()] or ((1, 3, 8) if long else (1,))
    kills = [(m, w) for m in ("stage", "stream") for w in ("before", "after")] if long else [("stage", "before")]
    with tempfile.TemporaryDirectory(prefix="fleetflash-journal-", dir="/var/tmp") as directory:
        for count in counts:
            (pathlib.Path(directory) / str(count)).mkdir()
            place = Place(pathlib.Path(directory) / str(count), count)
            if count == 1:
                secrets_are_not_kept(place)
            if count == 8:
                place.parallel = "3"  # they are in different states
                kills = [("stream", "before")]
            for mode, when in kills:
                every_commit(place, mode, when)


if __name__ == "__main__":
    main()
