# SPDX-License-Identifier: Apache-2.0
"""The TFTP server of netboot by itself (tests/unit/tftp_serve.c), in a lab's network."""

import json
import os
import pathlib
import re
import subprocess
import threading

REPO = pathlib.Path(os.path.realpath(__file__)).parent.parent.parent
FLEETFLASH = pathlib.Path(os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash")
SERVER = FLEETFLASH.parent / "tests" / "tftp_serve"


def make_image(path, size, seed=1):
    """A disk image with a partition table, noise, zeros, and text, in runs of odd lengths."""
    random = bytearray(os.urandom(1 << 20))
    with open(path, "wb") as image:
        image.truncate(size)
        position, run = 4096, seed
        while position < size:
            length = min((run * 7919) % 3000000 + 1, size - position)
            if run % 3:
                image.seek(position)
                piece = (random if run % 3 == 1 else b"etaoin shrdlu\n%d" % run) * (length // (8 if run % 3 == 2 else 1 << 20) + 1)
                image.write(piece[:length])
            position, run = position + length, run + 1
        image.seek(446)
        image.write(bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (8).to_bytes(4, "little") + (size // 512 - 8).to_bytes(4, "little"))
        image.seek(510)
        image.write(b"\x55\xaa")


def lose(net, address, per_mille):
    """Loses packets to and from an address."""
    rules = "add table inet lossy\n" + "".join(
        f"add chain inet lossy {hook} {{ type filter hook {hook} priority 0; }}\n"
        f"add rule inet lossy {hook} ip {side} {address} ip protocol udp numgen random mod 1000 < {per_mille} counter drop\n"
        for hook, side in (("output", "daddr"), ("input", "saddr")))
    subprocess.run(net.enter(["nft", "-f", "-"]), input=rules, text=True, check=True)


def lost(net):
    """How many packets were."""
    rules = subprocess.run(net.enter(["nft", "list", "table", "inet", "lossy"]), capture_output=True, text=True, check=True).stdout
    return sum(int(count) for count in re.findall(r"counter packets (\d+)", rules))


class Server:
    """Use as a context manager: serves until the end of the block; events is what it told so far."""

    def __init__(self, network, image, directory, *args):
        self.events, self.news = [], threading.Condition()
        self.process = subprocess.Popen(
            network.enter([SERVER, "--cache-dir", directory / "cache", *args, image]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, daemon=True).start()
        self.port = self.wait("serving")["port"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.bye = self.wait("bye")

    def listen(self):
        for line in self.process.stdout:
            with self.news:
                self.events.append(json.loads(line))
                self.news.notify_all()

    def of(self, event, **fields):
        """The events of a kind with these fields, as far as there are any."""
        with self.news:
            return [e for e in self.events if e["event"] == event and fields.items() <= e.items()]

    def wait(self, event, timeout=60, **fields):
        """The first such event, waited for."""
        with self.news:
            found = self.news.wait_for(
                lambda: next((e for e in self.events if e["event"] == event and fields.items() <= e.items()), None), timeout)
        assert found, f"no event {event} {fields}; there were {self.events}"
        return found

    def count(self, event, count, timeout=30):
        """Whether there come to be so many events of a kind, and no more for now."""
        with self.news:
            self.news.wait_for(lambda: sum(e["event"] == event for e in self.events) >= count, timeout)
            return sum(e["event"] == event for e in self.events) == count
