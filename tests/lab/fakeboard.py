#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A board that is no board: what its boot loader would say on the network after a reset, right or wrong.

    fakeboard.py SERVER MODE NAME ADDRESS MAC

is what the inventory's `reset: {command: …}` runs. It returns at once.
"""

import os
import re
import socket
import subprocess
import sys


def get(server, address, mac, name):
    """What a file holds, or None."""
    p = subprocess.run(["curl", "-sf", "--interface", address, "--tftp-blksize", "1468", f"tftp://{server}/{mac}/{name}"],
                       capture_output=True)
    return p.stdout if p.returncode == 0 else None


def say(server, address, text):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((address, 6666))
        s.sendto(text.encode(), (server, 6666))


def act(server, mode, name, address, mac):
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
    got = [get(server, address, mac, f"rpi_image_part_{n}") for n in range(len(sizes))]
    if mode == "silent":
        return
    total = sum(len(part) for part in got)
    get(server, address, mac, f"report/OK-{total - 512 if mode == 'short' else total}")


if __name__ == "__main__":
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        act(*sys.argv[1:])
