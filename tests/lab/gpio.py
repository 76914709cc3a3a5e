# SPDX-License-Identifier: Apache-2.0
"""A machine with real GPIO chips: a user-mode Linux kernel whose chips are simulated (gpio-sim), with this
machine's root file system as its own, read-write. What runs there can watch the lines from the other side.

The distribution's user-mode-linux has no GPIO, so a small kernel is built once from its kernel source.
"""

import os
import pathlib
import shutil
import subprocess

import cache
from cache import HERE, run

SOURCE = "linux-source-6.1"
CONFIG = HERE / "gpio.config"


def missing():
    """Why such a kernel cannot be built here, or None."""
    for tool in ("flex", "bison", "bc", "make", "gcc"):
        if not shutil.which(tool):
            return f"{tool} is needed: run tests/install-deps"
    return None


def download(directory):
    """The kernel's source, as the distribution packs it."""
    try:
        run("apt-get", "-q", "download", SOURCE, cwd=directory)
    except RuntimeError:  # apt's lists may be old, or not there
        subprocess.run(["apt-get", "-q", "update"], capture_output=True)
        run("apt-get", "-q", "download", SOURCE, cwd=directory)
    return next(pathlib.Path(directory).glob(f"{SOURCE}_*.deb"))


def build(part):
    tree = pathlib.Path(f"{part}.tree")
    tree.mkdir()
    deb = download(tree)
    run("sh", "-c", f"dpkg-deb --fsys-tarfile {deb} | tar xO ./usr/src/{SOURCE}.tar.xz | tar xJ --strip-components=1",
        cwd=tree)
    for goal in ([f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig"], [f"-j{os.cpu_count()}", "linux"]):
        run("nice", "make", "-s", "ARCH=um", *goal, cwd=tree)  # beside other tests
    shutil.copy(tree / "linux", part)


def kernel():
    """The kernel; the first call takes two minutes, more on a busy machine."""
    key = cache.hash_of(SOURCE, CONFIG)
    return cache.made(cache.cache_dir() / "bootstrap" / f"gpio-{key}" / "linux", build)


def run_there(script, *arguments, out, timeout=300, memory="192M", network=None, tap=None):
    """Boots the machine with a script as its first process, which ends it by switching it off. The script
    writes to out, and to out.errors what should not be; the machine's own words go beside it. With a lab's network
    it has eth0 there, at the other end of the tap. Returns out's text."""
    words = [f"mem={memory}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", f"init={script}",
             *([f"eth0=tuntap,{tap}"] if tap else []), "--", *map(str, arguments)]
    argv = [kernel(), *words]
    with open(f"{out}.console", "wb") as console:
        process = subprocess.Popen(network.enter(argv) if network else argv, stdin=subprocess.DEVNULL, stdout=console,
                                   stderr=console, start_new_session=True,
                                   env={"TMPDIR": "/dev/shm", "HOME": str(pathlib.Path(out).parent)})
        try:
            process.wait(timeout)
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
    errors = pathlib.Path(f"{out}.errors").read_text()
    if errors:
        raise RuntimeError(errors)
    return pathlib.Path(out).read_text()
