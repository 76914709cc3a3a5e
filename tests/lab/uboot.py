# SPDX-License-Identifier: Apache-2.0
"""A board with nothing but a boot loader: the distribution's U-Boot for qemu's arm64 board, emulated."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time

LOADER = pathlib.Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
PROMPT = "=> "


def missing():
    """Why a board cannot run here, or None."""
    if not shutil.which("qemu-system-aarch64") or not LOADER.exists():
        return "qemu-system-aarch64 and u-boot-qemu are needed: run tests/install-deps"
    return None


class Board:
    """On the network's bridge as 10.77.0.<number>. disks are files, virtio 0 first."""

    def __init__(self, network, directory, number, disks=(), memory="512M"):
        self.directory = pathlib.Path(directory) / f"board-{number}"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.number, self.network, self.disks, self.memory = number, network, disks, memory
        self.mac = f"52:54:00:12:34:{number:02x}"
        self.ip = f"10.77.0.{number}"
        self.tap = f"uboot{number}"
        self.text, self.news = "", threading.Condition()
        self.process = None
        network.add_tap(self.tap)

    def power_on(self):
        path = self.directory / "serial"
        path.unlink(missing_ok=True)
        drives = []
        for i, disk in enumerate(self.disks):
            drives += ["-drive", f"if=none,id=disk{i},file={disk},format=raw,cache=unsafe",
                       "-device", f"virtio-blk-device,drive=disk{i}"]
        self.process = subprocess.Popen(
            self.network.enter(["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a57", "-m", self.memory, "-nodefaults",
                                "-display", "none", "-bios", LOADER,
                                "-chardev", f"socket,id=serial,path={path},server=on,wait=off", "-serial", "chardev:serial",
                                # The devices that come last are found first.
                                *drives,
                                "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                                "-device", f"virtio-net-device,netdev=net,mac={self.mac}"]),
            stdin=subprocess.DEVNULL, stdout=open(self.directory / "qemu.log", "ab"), stderr=subprocess.STDOUT)
        self.serial = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            try:
                self.serial.connect(str(path))
                break
            except OSError:
                time.sleep(0.1)
        threading.Thread(target=self.listen, args=(self.serial,), daemon=True).start()

    def power_off(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def listen(self, serial):
        while data := serial.recv(4096):
            with self.news:
                self.text += data.decode(errors="replace")
                self.news.notify_all()
            (self.directory / "console").write_text(self.text)

    def type(self, text):
        self.serial.sendall(text.encode())

    def expect(self, pattern, timeout=60, since=0):
        """Waits until the console shows what matches; returns the match."""
        with self.news:
            found = self.news.wait_for(lambda: re.search(pattern, self.text[since:], re.M), timeout)
        assert found, f"board {self.number} never showed {pattern!r}; it shows\n{self.text[-3000:]}"
        return found

    def stop(self):
        """Stops the boot at U-Boot's prompt."""
        self.expect("Hit any key", 120)
        self.type(" ")
        self.expect(re.escape(PROMPT) + r"\Z")

    def command(self, line, timeout=60):
        """Runs one line at the prompt; returns (whether it succeeded, what it printed)."""
        since = len(self.text)
        # The marker is not in the echo of what is typed.
        self.type(f"{line}; echo stat\"\"us=$?\r")
        found = self.expect(r"^status=(\d+)[\s\S]*" + re.escape(PROMPT) + r"\Z", timeout, since)
        return found.group(1) == "0", self.text[since:]
