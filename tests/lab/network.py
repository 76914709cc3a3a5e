# SPDX-License-Identifier: Apache-2.0
"""A lab's private network: a namespace with a bridge, one tap for each device.

No test can disturb the machine's own network, nor another test's.
"""

import ctypes
import itertools
import os
import pathlib
import re
import socket
import subprocess
import threading

from cache import run

CLONE_NEWNET = 0x40000000
PREFIX = "fflab"
counter = itertools.count()


def started(pid):
    """When a process started, in clock ticks since boot: tells it from a later one of its number."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def destroy(name):
    """Kills every process in a namespace and removes it."""
    for _ in range(50):
        p = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
        pids = [int(word) for word in p.stdout.split()]
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
    subprocess.run(["ip", "netns", "del", name], capture_output=True)


def clean_leftovers():
    """Removes the namespaces of labs whose process is dead."""
    p = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True)
    for name in re.findall(rf"^({PREFIX}-\S+)", p.stdout, re.M):
        _, pid, start, _ = name.split("-")
        if started(pid) != start:
            destroy(name)


# Outlives the lab's process, whatever ends that: its standard input is a pipe that
# only the lab holds open. It is no member of the namespace it empties.
REAPER = """
trap '' INT TERM HUP
read -r _
for i in 1 2 3 4 5 6 7 8 9 10; do
    pids=$(ip netns pids "$1" 2>/dev/null)
    [ -n "$pids" ] || break
    kill -KILL $pids 2>/dev/null
    sleep 0.1
done
ip netns del "$1" 2>/dev/null
[ -z "$2" ] || rm -rf "$2"
"""


class Network:
    """A namespace with the bridge 10.77.0.1/24."""

    def __init__(self, remove=""):
        """remove is a directory that goes away with the network, however the lab ends."""
        self.name = f"{PREFIX}-{os.getpid()}-{started(os.getpid())}-{next(counter)}"
        self.path = f"/run/netns/{self.name}"
        run("ip", "netns", "add", self.name)
        self.reaper = subprocess.Popen(
            ["sh", "-c", REAPER, "lab-reaper", self.name, str(remove)], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.ip("addr", "add", "10.77.0.1/24", "dev", "br0")
        self.ip("link", "set", "br0", "up")

    def close(self):
        """Ends everything in the namespace, and the namespace."""
        destroy(self.name)
        self.reaper.stdin.close()
        self.reaper.wait()

    def ip(self, *args):
        return run("ip", "-n", self.name, *args)

    def enter(self, argv):
        """The command line that runs argv in the namespace."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def add_tap(self, tap):
        self.ip("tuntap", "add", tap, "mode", "tap")
        self.ip("link", "set", tap, "master", "br0", "up")

    def set_link(self, tap, up):
        """Unplugs a device from the bridge or plugs it in. Its own end stays up, as on a switch."""
        self.ip("link", "set", tap, *(["master", "br0"] if up else ["nomaster"]))

    def limit(self, tap, rate):
        """Shapes what goes to a device ("2mbit"); None takes the limit away."""
        tc = self.enter(["tc", "qdisc"])
        subprocess.run([*tc, "del", "dev", tap, "root"], capture_output=True)
        if rate:
            run(*tc, "add", "dev", tap, "root", "tbf", "rate", rate, "burst", "16k", "latency", "200ms")

    def reset_tcp(self, address):
        """Cuts every TCP connection of this side to an address, as a failing NAT would; returns how many."""
        return len(run(*self.enter(["ss", "-H", "-t", "-K", "dst", address])).splitlines())

    def socket(self, *args):
        """A socket in the namespace, for use from this process."""
        # setns is for one thread only: this thread is back before anyone notices.
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net") as own, open(self.path) as there:
            if libc.setns(there.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            try:
                return socket.socket(*args)
            finally:
                libc.setns(own.fileno(), CLONE_NEWNET)
