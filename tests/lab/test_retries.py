#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tries are bounded, counted, shown and further and further apart, and only what another try may cure is tried
again: a connection that is reset or refused is, a login or a host key that is refused is not. Needs no device:
servers of this machine in the lab's network."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from lab import Lab, require

RETRIES = 3
PORTS = {"refused-login": 2222, "other-key": 2223, "resets": 2224, "nobody": 2225}


class Resetting(threading.Thread):
    """Accepts connections and resets them at once; knows when they came."""

    def __init__(self, lab, port):
        super().__init__(daemon=True)
        self.times, self.socket = [], lab.network.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("10.77.0.1", port))
        self.socket.listen()
        self.start()

    def run(self):
        while True:
            s, _ = self.socket.accept()
            self.times.append(time.monotonic())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()


def server(lab, name, port):
    """An ssh server that lets nobody in; returns its process and what it says."""
    place = lab.dir / name
    place.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "host_key"], check=True)
    (place / "keys").touch()
    (place / "sshd_config").write_text(f"Port {port}\nListenAddress 10.77.0.1\nHostKey {place}/host_key\nUsePAM no\n"
                                       f"PidFile none\nStrictModes no\nAuthorizedKeysFile {place}/keys\n"
                                       "PasswordAuthentication no\nKbdInteractiveAuthentication no\n")
    os.makedirs("/run/sshd", exist_ok=True)
    process = subprocess.Popen(lab.network.enter(["/usr/sbin/sshd", "-D", "-f", place / "sshd_config", "-E", place / "log"]),
                               stdin=subprocess.DEVNULL)
    return process, " ".join((place / "host_key.pub").read_text().split()[:2]), place / "log"


def main():
    require()
    with Lab() as lab:
        hosts = {name: {"host": "10.77.0.1", "port": port} for name, port in PORTS.items()}
        inventory = lab.inventory(text='defaults: {user: root, identity: "{identity}", connect_timeout: 10s, retries: %d}\n'
                                  "groups: {lab: {hosts: %s}}\n" % (RETRIES, json.dumps(hosts)))
        resetting = Resetting(lab, PORTS["resets"])
        login, key, login_log = server(lab, "refused-login", PORTS["refused-login"])
        other, _, other_log = server(lab, "other-key", PORTS["other-key"])
        known = lab.home / ".ssh" / "known_hosts"
        known.write_text("".join(f"[10.77.0.1]:{port} {key}\n" for port in PORTS.values()))
        report = lab.dir / "report.json"
        p = lab.fleetflash("-i", inventory, "--check", "-vv", "--report", report)
        login.terminate()
        other.terminate()
        login.wait()
        other.wait()
        print(p.stderr, flush=True)
        check("exit code 1", p.returncode == 1, p.stderr)
        targets = {t["name"]: t for t in json.loads(report.read_text())["targets"]}
        for name, cls, attempts in (("refused-login", "auth", 1), ("other-key", "hostkey", 1),
                                    ("resets", "network", RETRIES + 1), ("nobody", "network", RETRIES + 1)):
            t = targets[name]
            check(f"{name}: class {t['error']['class']}, connections: {t['attempts']}: {t['error']['text']}",
                  t["error"]["class"] == cls and t["attempts"] == attempts, str(t))
            told = [line for line in p.stderr.splitlines() if f"{name}: " in line and "follows" in line]
            check(f"{name}: every other try is announced", len(told) == attempts - 1
                  and all(f"try {n} of {RETRIES + 1} follows" in line for n, line in enumerate(told, 2)), p.stderr)
            waits = [line for line in p.stderr.splitlines() if f"{name}: probe: try " in line]
            check(f"{name}: and how long it waits", [line.split()[-1] for line in waits] == ["1s", "2s", "4s"][:attempts - 1],
                  p.stderr)
        check("a refused login and another host key are met once",
              all(log.read_text().count("Connection from") + log.read_text().count("Connection closed by") <= 1
                  for log in (login_log, other_log)), login_log.read_text() + other_log.read_text())
        gaps = [b - a for a, b in zip(resetting.times, resetting.times[1:])]
        check("the server that resets saw as many connections, further and further apart: "
              + " ".join(f"{g:.1f}" for g in gaps), len(gaps) == RETRIES and all(g >= 2 ** i for i, g in enumerate(gaps)))


if __name__ == "__main__":
    main()
