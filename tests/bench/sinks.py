# SPDX-License-Identifier: Apache-2.0
"""Sinks: loopback ssh servers, each with a disk file and the real agent on it.

A sink has mount and process namespaces of its own, in which neither this machine's block devices
nor SysRq exist; all of them share the benchmark's private network namespace.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
AGENT_PORT = 7000


class Sink:
    """One device at 127.0.1.N; its disk is a file of the given size."""

    def __init__(self, directory, number, keys, disk_size):
        self.dir = directory / f"sink-{number}"
        self.dir.mkdir()
        self.name = f"sink-{number}"
        self.address = f"127.0.1.{number}"
        self.disk = self.dir / "disk"
        self.disk_size = disk_size
        self.empty_disk()
        (self.dir / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.dir / "sink").write_text(f"SOCKET=bench-{self.name}\nPORT={AGENT_PORT + number}\n")
        shutil.copy(HERE / "sink-shell", self.dir / "sink-shell")
        (self.dir / "sshd_config").write_text(
            f"Port 22\nHostKey {keys}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {keys}/user.pub\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\n"
            f"ForceCommand {self.dir}/sink-shell\n")
        self.process = None

    def empty_disk(self):
        """A new card: nothing of any image is on it."""
        self.disk.unlink(missing_ok=True)
        with open(self.disk, "wb") as disk:
            disk.truncate(self.disk_size)

    def start(self):
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child",
             HERE / "sink-init", self.dir, self.address],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.dir / "log", "wb"))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((self.address, 22)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} does not answer: {(self.dir / 'log').read_text()}")

    def _children(self, pid):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def agent_memory(self):
        """Peak resident KiB of the agent that runs on it now; 0: none does."""
        todo = self._children(self.process.pid)
        while todo:
            pid = todo.pop()
            try:
                if b"serve\0--disk" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    status = pathlib.Path(f"/proc/{pid}/status").read_text()
                    return int(status.split("VmHWM:")[1].split()[0])
                todo += self._children(pid)
            except (OSError, IndexError):
                pass  # it has just ended
        return 0

    def stop(self):
        """Ends it once all it ran has ended; CPU seconds of everything in it."""
        init = self._children(self.process.pid)[0]
        deadline = time.monotonic() + 10
        while self._children(init) and time.monotonic() < deadline:
            time.sleep(0.02)
        left = [pathlib.Path(f"/proc/{p}/cmdline").read_bytes() for p in self._children(init)]
        os.kill(int(init), signal.SIGTERM)
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        if left:
            raise RuntimeError(f"{self.name} still ran {left}: its CPU time is not known")
        return usage.ru_utime + usage.ru_stime


def make_keys(directory):
    """One host key and one user key for all; the host key's fingerprint."""
    directory.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    line = subprocess.run(["ssh-keygen", "-lf", directory / "host.pub"], check=True,
                          capture_output=True, text=True).stdout
    return line.split()[1]
