# SPDX-License-Identifier: Apache-2.0
"""The TFTP server of netboot by itself (tests/unit/tftp_serve.c), in a lab's network."""

import json
import os
import pathlib
import re
import selectors
import socket
import struct
import subprocess
import threading
import time

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


class Reader:
    """One transfer of many, with windows; it compares what comes with what should."""

    def __init__(self, network, server, name, wanted, blksize=1468, window=4):
        self.server, self.wanted, self.blksize, self.window = server, wanted, blksize, window
        self.socket = network.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.request = b"\0\1" + b"\0".join([name.encode(), b"octet", b"blksize", b"%d" % blksize, b"windowsize", b"%d" % window, b""])
        self.expected, self.acked, self.heard = 1, 0, None
        self.peer, self.state, self.told = None, "asking", 0

    def send(self, now):
        self.heard = now
        if self.peer is None:
            self.socket.sendto(self.request, self.server)
        else:
            self.acked = self.expected - 1
            self.socket.sendto(struct.pack("!HH", 4, self.acked & 0xffff), self.peer)

    def take(self, now):
        """Takes all that has come."""
        while self.state not in ("done", "wrong"):
            try:
                packet, peer = self.socket.recvfrom(2000)
            except BlockingIOError:
                return
            opcode, number = struct.unpack_from("!HH", packet)
            if opcode == 6 and self.state == "asking":
                self.peer, self.state = peer, "agreed"
            elif opcode == 3 and self.state == "going":
                self.data(number, packet[4:], now)
            elif opcode == 5:
                self.state = "wrong"

    def data(self, number, data, now):
        if number != self.expected & 0xffff:
            if self.told != self.expected:  # a block was lost: the window begins anew there
                self.told = self.expected
                self.send(now)
            return
        at = (self.expected - 1) * self.blksize
        if data != self.wanted[at:at + self.blksize]:
            self.state = "wrong"
            return
        self.expected += 1
        self.heard = now
        if len(data) < self.blksize:
            self.send(now)
            self.state = "done" if at + len(data) == len(self.wanted) else "wrong"
        elif self.expected - 1 - self.acked >= self.window:
            self.send(now)


def read_at_once(network, server, wanted, timeout=120):
    """Reads files, all at once: nobody goes on before each transfer has begun. wanted: (name, content) pairs.
    Returns how many came right."""
    readers = [Reader(network, server, name, content) for name, content in wanted]
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.socket, selectors.EVENT_READ, reader)
        end = time.monotonic() + timeout
        for stage, left in (("agreed", "asking"), ("done", "going")):
            while (waiting := [r for r in readers if r.state == left]) and (now := time.monotonic()) < end:
                for reader in waiting:
                    if reader.heard is None or now - reader.heard > 1:
                        reader.send(now)
                limit = now + 0.2
                while (ready := selector.select(0.2)) and now < limit:
                    now = time.monotonic()
                    for key, _ in ready:
                        key.data.take(now)
            for reader in readers:
                if reader.state == stage == "agreed":
                    reader.state, reader.heard = "going", None
    for reader in readers:
        reader.socket.close()
    return sum(reader.state == "done" for reader in readers)


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
