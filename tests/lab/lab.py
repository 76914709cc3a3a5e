# SPDX-License-Identifier: Apache-2.0
"""The lab: a fleet of virtual boards on a private network, and the program run against it.

    with Lab() as lab:
        pi = lab.device("pi-1", kind="systemd", layout="mbr-boot", user="pi")
        lab.boot_all()
        p = lab.fleetflash("-i", lab.inventory([pi]), "--yes", lab.image("systemd", "mbr-boot"))
        assert p.returncode == 0 and pi.image_version() == "new"
"""

import concurrent.futures
import json
import os
import pathlib
import pty
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time

import arm64
import images
import netboard
import network
import roots
import volumes
from cache import HERE
from device import Device

REPO = HERE.parent.parent
# Binds the lab's ssh files over the user's own: OpenSSH and libssh take the home
# directory from the password database, not from HOME.
IN_HOME = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


def missing():
    """Why a lab cannot run here, or None."""
    if os.geteuid() != 0:
        return "root rights are needed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is needed"
    for tool in ("linux.uml", "mmdebstrap", "mke2fs", "sfdisk", "depmod", "mcopy", "ip", "ssh", "nsenter"):
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return f"{tool} is needed: run tests/install-deps"
    return None


def require():
    """Ends a test script as skipped (77) when a lab cannot run here."""
    if reason := missing():
        print(f"SKIP: {reason}")
        sys.exit(77)


class Lab:
    """Use as a context manager. dir holds everything; a directory given by the caller is kept."""

    def __init__(self, workdir=None):
        self.own_dir = workdir is None
        self.dir = pathlib.Path(workdir or tempfile.mkdtemp(prefix="fleetflash-lab-", dir=os.environ.get("FLEETFLASH_LAB_DIR") or "/var/tmp")).resolve()
        self.dir.mkdir(parents=True, exist_ok=True)
        self.devices = []
        self.network = None
        self.memory_dir = pathlib.Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else self.dir
        self.state_dir, self.cache_dir, self.home = (self.dir / d for d in ("state", "cache", "home"))

    def __enter__(self):
        network.clean_leftovers()
        # A kill by the test runner must clean up like any other end.
        self.old_handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        for d in (self.home, ssh):
            d.chmod(0o700)
        for name in ("identity", "identity.pub"):
            shutil.copy(roots.identity().parent / name, ssh / name.replace("identity", "id_ed25519"))
        (ssh / "known_hosts").touch()
        self.network = network.Network(remove=self.dir if self.own_dir else "")
        return self

    def __exit__(self, failed, *_):
        if failed:
            print("".join(d.last_words() for d in self.devices), flush=True)
        for device in self.devices:
            device.power_cut()
        self.network.close()
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)
        signal.signal(signal.SIGTERM, self.old_handler)

    # The fleet

    def device(self, name, **kw):
        """A new device, not yet switched on. See Device for the parameters."""
        kinds = {"arm64": arm64.Arm64Device, "netboard": netboard.NetBoard}
        kind = volumes.VolumeDevice if kw.get("stack") in volumes.STACKS else kinds.get(kw.get("kind"), Device)
        d = kind(self, len(self.devices) + 1, name, **kw)
        self.devices.append(d)
        return d

    def each(self, function, devices=None):
        """Calls function(device) for all devices at once; returns the results in order."""
        devices = list(self.devices if devices is None else devices)
        with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
            return list(pool.map(function, devices))

    def boot_all(self, timeout=300):
        """Switches on all devices that are off and waits until every one answers."""
        off = [d for d in self.devices if not d.running()]
        start = time.monotonic()
        for d in off:
            d.boot()

        def wait(d):
            d.wait_ssh(timeout)
            d.boot_seconds = time.monotonic() - start
        self.each(wait, off)

    def patience(self, kind):
        """How long to wait for a device that must be back by then, or never comes: "40s". Twice what the slowest
        of its kind took in boot_all(), when all booted at once: depends on the machine and its load, as a boot does."""
        return f"{15 + 2 * max(d.boot_seconds for d in self.devices if d.kind == kind):.0f}s"

    # What they are flashed with

    def raw_image(self, kind="systemd", layout="mbr", version="new", fs="ext4"):
        return images.raw(kind, layout, version, fs)

    def image(self, kind="systemd", layout="mbr", version="new", compress="xz", fs="ext4"):
        return images.packed(kind, layout, version, compress, fs)

    # The controller

    def known_hosts(self, devices=None, version="old"):
        """Writes the lab's known_hosts with the devices' host keys of a version; returns its path."""
        path = self.home / ".ssh" / "known_hosts"
        devices = self.devices if devices is None else devices
        path.write_text("".join(f"{d.ip} {d.host_key(version)}\n" for d in devices))
        return path

    def inventory(self, devices=None, name="inventory.yaml", groups=None, defaults=None, host=None,
                  after="new", extra="", text=None):
        """Writes an inventory and known_hosts for the devices; returns the inventory's path.

        groups    {group: [device, …]}; all in the group "lab" if not given
        defaults  more keys for the inventory's defaults
        host      function(device) → more keys for a host
        after     the image version whose host key is trusted afterwards; None: no after
        extra     more YAML text at the end, e.g. rollout
        text      the whole file instead; "{identity}" in it is replaced
        """
        devices = list(self.devices if devices is None else devices)
        identity = str(self.home / ".ssh" / "id_ed25519")
        path = self.dir / name
        self.known_hosts(devices)
        if text is None:
            base = {"user": "root", "identity": identity, "host_key": "strict", "reboot_timeout": "3m",
                    **(defaults or {})}
            lines = [f"defaults: {json.dumps(base)}", "groups:"]
            for group, members in (groups or {"lab": devices}).items():
                lines += [f"  {group}:", "    hosts:"]
                for d in members:
                    keys = {"host": d.ip}
                    if d.user != base["user"]:
                        keys["user"] = d.user
                    if after:
                        keys["after"] = {"host_key": d.host_key_fingerprint(after)}
                    keys.update(host(d) if host else {})
                    # JSON is YAML's flow style.
                    lines.append(f"      {d.name}: {json.dumps(keys)}")
            text = "\n".join(lines) + "\n" + extra
        path.write_text(text.replace("{identity}", identity))
        return path

    def command(self, argv):
        """The command line that runs argv in the lab's network with the lab's ssh files."""
        home = pathlib.Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        return self.network.enter(["unshare", "--mount", "sh", "-c", IN_HOME, "lab",
                                   self.home / ".ssh", home, *argv])

    def environment(self, env=None):
        full = {**os.environ, "HOME": str(self.home), **(env or {})}
        full.pop("SSH_AUTH_SOCK", None) if "SSH_AUTH_SOCK" not in (env or {}) else None
        return {k: v for k, v in full.items() if v is not None}

    def run(self, argv, env=None, **kw):
        """subprocess.run() in the lab's network, with HOME and ~/.ssh of the lab."""
        return subprocess.run(self.command(argv), env=self.environment(env), **kw)

    def popen(self, argv, env=None, **kw):
        return subprocess.Popen(self.command(argv), env=self.environment(env), **kw)

    def fleetflash_argv(self, *args, state=None):
        program = os.environ.get("FLEETFLASH") or REPO / "build" / "bin" / "fleetflash"
        return [program, "--state-dir", state or self.state_dir, "--cache-dir", self.cache_dir, *args]

    def fleetflash(self, *args, stdin="", tty=False, env=None, timeout=900, columns=80):
        """Runs the program. Returns a CompletedProcess with text stdout and stderr.

        With tty=True its standard input, output and error are one terminal: stdin is
        typed into it, and what it showed is in stdout.
        """
        argv = self.fleetflash_argv(*args)
        if not tty:
            return self.run(argv, env=env, text=True, errors="replace", timeout=timeout, input=stdin,
                            capture_output=True)
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        p = self.popen(argv, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.write(master, stdin.encode())
        shown = bytearray()
        end = time.monotonic() + timeout
        try:
            while data := os.read(master, 65536):
                shown += data
                if time.monotonic() > end:
                    p.kill()
                    raise subprocess.TimeoutExpired(p.args, timeout, bytes(shown))
        except OSError:  # EIO: the last holder closed the terminal
            pass
        os.close(master)
        return subprocess.CompletedProcess(argv, p.wait(), shown.decode(errors="replace"), "")
