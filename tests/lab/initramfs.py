# SPDX-License-Identifier: Apache-2.0
"""The initial RAM disk, for roots that the kernel cannot mount alone."""

import pathlib
import shutil
import subprocess

import cache
import roots
from cache import run


def needed(fs, stack):
    """Whether a device with this root needs one. f2fs is a module in the lab's kernel."""
    return bool(stack) or fs == "f2fs"


def make(path):
    tree = pathlib.Path(f"{path}.tree")
    for d in ("bin", "sbin", "dev", "proc", "sys"):
        (tree / d).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for applet in ("sh", "mount", "umount", "modprobe", "mkdir", "cat", "switch_root"):
        (tree / "bin" / applet).symlink_to("busybox")
    # The kernel asks for modules by this path.
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")
    roots.put_program(tree, "/sbin/dmsetup")
    roots.put_modules(tree, "initramfs")
    roots.put_overlay(tree, "initramfs")
    pack = f"cd '{tree}' && find . | /bin/busybox cpio -o -H newc 2>/dev/null | gzip -1"
    with open(path, "wb") as out:
        subprocess.run(["sh", "-c", pack], stdout=out, check=True)
    run("rm", "-r", tree)


def path():
    """The path of the initial RAM disk, made now if need be."""
    return cache.made(cache.recipe_dir() / "initramfs.cpio.gz", make)
