#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A board that is no board: what its boot loader would say on the network after a reset, right or wrong.

    fakeboard.py SERVER[:PORT] MODE NAME ADDRESS MAC [PID]

is what the inventory's `reset: {command: …}` runs. It returns at once. With PID the board goes on after its first part
when that process is gone.
"""

import os
import re
import socket
import struct
import subprocess
import sys
import time
import zlib


def host_of(server):
    return server.split(":")[0]


def get(server, address, mac, name):
    """What a file holds, or None."""
    p = subprocess.run(["curl", "-sf", "--interface", address, "--tftp-blksize", "1468", f"tftp://{server}/{mac}/{name}"],
                       capture_output=True)
    return p.stdout if p.returncode == 0 else None


def put(server, address, mac, text):
    """Sends a report as a file."""
    subprocess.run(["curl", "-sf", "--interface", address, "-T", "-", f"tftp://{server}/{mac}/report"], input=text.encode(), capture_output=True)


def say(server, address, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 6666))
        s.sendto(text.encode(), (host_of(server), 6666))


def begin(server, address, mac, name, blocks=20):
    """Fetches so many blocks of a file, and then says nothing any more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 0))
        s.settimeout(5)
        s.sendto(b"\0\1%s/%s\0octet\0" % (mac.encode(), name.encode()), (host_of(server), 69))
        for _ in range(blocks):
            packet, peer = s.recvfrom(600)
            s.sendto(struct.pack("!HH", 4, struct.unpack_from("!HH", packet)[1]), peer)


def flood(server, address, name):
    """Says 200,000 lines as fast as it can, with what terminals understand in them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 6666))
        for _ in range(2000):
            s.sendto(f"\x1b[31m\x9b2J{name}\x07\n".encode("latin-1") * 100, (host_of(server), 6666))


def act(server, mode, name, address, mac, pid=None):
    if mode == "never":
        return
    if mode == "stranger":
        get(server, address, "02:ff:00:00:00:99", "boot.scr")
        return
    say(server, address, f"U-Boot of {name}\r\n")
    script = get(server, address, mac, "boot.scr").decode(errors="replace")
    sizes = [int(size, 16) for size in re.findall(r"setenv ff_size (0x[0-9a-f]+)\n", script)]
    if mode == "no-memory":
        get(server, address, mac, "report/FAILED-0x0-part-0-fetch")
        return
    if mode == "liar":
        get(server, address, mac, f"report/OK-{(3 << 20) + 512}")
        return
    if pid:
        get(server, address, mac, "rpi_image_part_0")
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.05)
    if mode == "flood":
        flood(server, address, name)
    if mode in ("stops", "reboots"):
        get(server, address, mac, "rpi_image_part_0")
        begin(server, address, mac, "rpi_image_part_1")
    if mode == "stops":
        return
    if mode == "reboots":
        get(server, address, mac, "boot.scr")
    got = [get(server, address, mac, f"rpi_image_part_{n}") for n in range(len(sizes))]
    if mode == "silent":
        return
    total = sum(len(part) for part in got)
    if mode == "contrary":
        get(server, address, mac, "report/FAILED-0x400-part-0-write")
    if mode == "spoilt":  # what it read back is not what it fetched
        get(server, address, mac, f"report/OK-{total}-{zlib.crc32(b''.join(got)) ^ 1:08x}")
        return
    if mode == "twice":
        put(server, address, mac, f"OK {total} {zlib.crc32(b''.join(got)):08x}\n")
        put(server, address, mac, "FAILED 0 part 0 write\n")
        get(server, address, mac, "report/FAILED-0x0-part-0-write")
        return
    get(server, address, mac, f"report/OK-{total - 512 if mode == 'short' else total}")


if __name__ == "__main__":
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        act(*sys.argv[1:])
