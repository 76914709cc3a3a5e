# SPDX-License-Identifier: Apache-2.0
"""One virtual board: a user-mode Linux with its own disk and its own link."""

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import threading
import time

import images
import initramfs
import roots
from cache import HERE, run

MEMORY = {"systemd": "256M", "busybox": "64M"}
WRITERS = "append,pwrite,churn"


class Device:
    """Made by Lab.device(); everything of it is below self.dir.

    disk        the disk's file
    dir/boots   one line for each start: "power-on TIME" or "reboot TIME"
    """

    def __init__(self, lab, index, name, kind="systemd", layout="mbr", mem=None, disk_size=None,
                 version="old", writers=True, respawn=False, swap=0, user="root", fs="ext4", stack="",
                 data=0, watchdog=0, append=""):
        self.lab, self.index, self.name, self.kind, self.layout = lab, index, name, kind, layout
        self.user, self.fs, self.stack, self.append = user, fs, stack, append
        # With less, this kernel does not get its ciphers tested, and dm-crypt refuses them.
        self.mem = mem or ("256M" if stack == "dm-crypt" else MEMORY[kind])
        self.ip = f"10.77.0.{10 + index}"
        self.mac = f"02:ff:0a:4d:00:{10 + index:02x}"
        self.tap = f"tap{index}"
        self.writers = WRITERS if writers is True else ",".join(writers) if isinstance(writers, (list, tuple)) else writers
        self.respawn, self.swap, self.watchdog = respawn, swap, watchdog
        self.dir = lab.dir / "devices" / name
        (self.dir / "snapshots").mkdir(parents=True)
        self.disk = self.dir / "disk.img"
        self.console = self.dir / "console.log"
        self.process = None
        self.lock = threading.RLock()  # over which process is the device
        run("cp", "--sparse=always", "--reflink=auto", self.first_image(version), self.disk)
        if disk_size:
            run("truncate", "-s", disk_size, self.disk)
        if data:
            images.add_data_partition(self.disk, data)
        lab.network.add_tap(self.tap)

    def first_image(self, version):
        """The raw image that the disk holds at first."""
        return images.raw(self.kind, self.layout, version, self.fs)

    # Power

    def starter(self):
        """The command that is the device: it ends when the device is off."""
        return [HERE / "uml-wrapper", *self.command_line()]

    def wishes(self):
        """What the image's own scripts do for a test, as words of the kernel's command line."""
        words = []
        if self.writers:
            words.append(f"ff.writers={self.writers}")
        if self.respawn:
            words.append("ff.respawn")
        if self.swap:
            words.append(f"ff.swap={self.swap}")
        if self.watchdog:
            words += [f"ff.watchdog={self.watchdog}", "systemd.watchdog_device=/dev/watchdog1"]
        return words + self.append.split()

    def command_line(self):
        """The kernel's arguments."""
        words = [f"mem={self.mem}", f"umid={self.name}", f"uml_dir={self.dir}/uml/",
                 f"ubd0={self.disk},,{self.name}", f"root={images.root_device(self.layout)}",
                 f"rootfstype={self.fs}", "rw", "con=null", "con0=null,fd:1", "ssl=null",
                 f"eth0=tuntap,{self.tap},{self.mac}", "random.trust_cpu=on",
                 f"ff.ip={self.ip}/24", f"ff.host={self.name}", f"systemd.hostname={self.name}"]
        if initramfs.needed(self.fs, self.stack):
            words += [f"initrd={initramfs.path()}", f"ff.root={images.root_device(self.layout)}",
                      f"ff.fs={self.fs}", f"ff.stack={self.stack or 'plain'}"]
        if self.kind == "systemd":
            words += ["quiet", "systemd.show_status=0", "systemd.unit=multi-user.target", "selinux=0"]
        return words + self.wishes()

    def boot(self, append=""):
        """Switches the power on. append adds words to the kernel's command line from now on."""
        if self.running():
            raise RuntimeError(f"{self.name} runs already")
        self.append = f"{self.append} {append}".strip()
        return self.start({"LAB_POWER_ON": "1"})

    def start(self, more_env):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.dir), "TERM": "linux",
               "TMPDIR": str(self.lab.memory_dir), "LAB_DEVICE": str(self.dir), **more_env}
        with open(self.console, "ab") as console:
            self.process = subprocess.Popen(
                self.lab.network.enter(self.starter()),
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, env=env, cwd=self.dir,
                start_new_session=True)
        threading.Thread(target=self.watch, args=[self.process], daemon=True).start()
        return self

    def watch(self, process):
        """On a loaded machine the kernel sometimes aborts after saying that it restarts and before it does.
        No board can do that: its processor has been reset by then."""
        process.wait()
        with self.lock:
            if (self.process is process and process.returncode == -signal.SIGABRT
                    and self.console_text()[-200:].rstrip().endswith("reboot: Restarting system")):
                self.start({})

    def running(self):
        if self.process is not None and self.process.poll() is not None:
            self.watch(self.process)
        return self.process is not None and self.process.poll() is None

    def power_cut(self):
        """Takes the power away: nothing is synced, nobody is told."""
        with self.lock:
            if self.process is None:
                return
            try:
                # The kernel and the host processes that its programs run in are one group.
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.process = None

    def shutdown(self, timeout=60):
        """Powers off in an orderly way; returns whether it ended in time."""
        self.ssh("poweroff")
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self.power_cut()
        return True

    def wait_off(self, timeout=60):
        """Waits until the device has halted (or panicked) by itself."""
        self.process.wait(timeout)

    # Being there

    def answers(self):
        """Whether an ssh server greets on port 22."""
        try:
            with self.lab.network.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
                s.settimeout(2)
                s.connect((self.ip, 22))
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait_ssh(self, timeout=120):
        """Waits until a command can be run; raises TimeoutError with the console's end."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.running():
            if self.answers() and self.ssh("true").returncode == 0:
                return self
            time.sleep(0.3)
        raise TimeoutError(f"{self.name} does not answer; its console ends:\n{self.console_text()[-2000:]}")

    def wait_reboot(self, count, timeout=120):
        """Waits until the device has rebooted count times in all and answers again."""
        end = time.monotonic() + timeout
        while self.reboots() < count:
            if time.monotonic() > end or not self.running():
                raise TimeoutError(f"{self.name} did not reboot:\n{self.console_text()[-2000:]}")
            time.sleep(0.2)
        return self.wait_ssh(max(1, end - time.monotonic()))

    def wait_until(self, true, timeout):
        """Waits until true(self) holds; raises TimeoutError with the console's end."""
        end = time.monotonic() + timeout
        while not true(self):
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: in vain; its console ends:\n{self.console_text()[-2000:]}")
            time.sleep(0.1)

    def ssh_argv(self, *command, user="root"):
        """The command line for ssh as seen from outside the namespace. Host keys are not looked at."""
        return self.lab.network.enter(
            ["ssh", "-F", "/dev/null", "-i", roots.identity(), "-o", "IdentitiesOnly=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5",
             "-o", "BatchMode=yes", f"{user}@{self.ip}", *command])

    def ssh(self, command, user="root", timeout=60, stdin=None):
        """Runs a shell command on the device. Returns a CompletedProcess with text output."""
        if not isinstance(command, str):
            command = shlex.join(map(str, command))
        return subprocess.run(self.ssh_argv(command, user=user), text=True, errors="replace", timeout=timeout,
                              capture_output=True, **({"input": stdin} if stdin is not None
                                                      else {"stdin": subprocess.DEVNULL}))

    def put(self, path, to, mode=0o755):
        """Copies a file onto the device; needs no sftp there."""
        with open(path, "rb") as f:
            subprocess.run(self.ssh_argv(f"cat >{shlex.quote(to)} && chmod {mode:o} {shlex.quote(to)}"),
                           stdin=f, check=True, timeout=120)

    def console_text(self):
        """What the kernel and /dev/console said since the device was made."""
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def last_words(self):
        """For whoever wonders why a test failed."""
        process = self.process
        state = "off" if process is None else "on" if process.poll() is None else f"ended with {process.returncode}"
        notes = self.dir / "leftovers"  # of uml-wrapper
        notes = notes.read_text() if notes.exists() else ""
        return f"--- {self.name}: {state}; {' '.join(self.starts())}\n{notes}{self.console_text()[-1500:]}\n"

    def image_version(self):
        """"old", "new", … as the running system says, or None."""
        p = self.ssh("cat /etc/fleetflash-image")
        return p.stdout.split()[-1] if p.returncode == 0 and p.stdout else None

    def boot_id(self):
        return self.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def host_key(self, version="old"):
        """The public host key of a version of the image, as in known_hosts."""
        return " ".join(roots.public_of(roots.host_key(self.kind, version)).split()[:2])

    def host_key_fingerprint(self, version="old"):
        """SHA256:… of the host key of a version of the image."""
        key = roots.host_key(self.kind, version)
        return re.search(r"SHA256:\S+", run("ssh-keygen", "-lf", f"{key}.pub")).group()

    # What happened

    def starts(self):
        """A list of "power-on" and "reboot", in the order they happened."""
        path = self.dir / "boots"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def boot_count(self):
        return len(self.starts())

    def reboots(self):
        return self.starts().count("reboot")

    @property
    def snapshots(self):
        """Copies of the disk, one for each reboot, taken when the old system was gone."""
        found = (self.dir / "snapshots").glob("[0-9]*.img")
        return sorted(found, key=lambda p: int(p.stem))

    def differs(self, disk, image):
        """The offset of the first byte in which a disk differs from an image file, or None."""
        return images.first_difference(pathlib.Path(disk), pathlib.Path(image))

    def fsck(self, disk=None):
        """Problems of the file systems on a disk file (default: the disk, once it is off)."""
        return images.fsck(pathlib.Path(disk or self.disk))

    # The link

    def link_down(self):
        self.lab.network.set_link(self.tap, False)

    def link_up(self):
        self.lab.network.set_link(self.tap, True)

    def limit_rate(self, rate):
        """Limits what is sent to the device ("2mbit"); None lifts the limit."""
        self.lab.network.limit(self.tap, rate)

    def reset_tcp(self):
        """Resets the controller's TCP connections to the device; returns how many there were."""
        return self.lab.network.reset_tcp(self.ip)
