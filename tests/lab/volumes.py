# SPDX-License-Identifier: Apache-2.0
"""Devices whose root is on LVM or LUKS, as their own tools make them, or on two disks.

The images are made by a device that starts, makes them and ends: nothing is mounted on this machine.
"""

import pathlib
import shutil
import subprocess
import tempfile

import cache
import images
import initramfs
import roots
from cache import HERE, run
from device import Device

MIB = 1 << 20
SIZE, BOOT = 72, 8       # MiB, of an image and its /boot
LUKS_HEADER = 16         # MiB, of the partition: LUKS2's own
PROGRAMS = ["/sbin/dmsetup", "/sbin/lvm", "/sbin/cryptsetup", "/bin/btrfs"]
MODULES = ["dm-mod", "dm-crypt", "cbc", "xts", "hmac", "algif_skcipher", "algif_hash", "md-mod", "raid1"]
LVM_CONF = """devices { types = [ "ubd", 16 ] use_devicesfile = 0 obtain_device_list_from_udev = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
backup { backup = 0 archive = 0 }
"""
MAKING = "linux.uml mem=256M umid={umid} uml_dir={work}/ con=null con0=null,fd:1 ssl=null initrd={initrd}"


def make_initramfs(path):
    tree = pathlib.Path(f"{path}.tree")
    for d in ("bin", "sbin", "dev", "proc", "sys", "run", "etc/lvm"):
        (tree / d).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for applet in ("sh", "mount", "umount", "modprobe", "mkdir", "cat", "switch_root", "sync"):
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")
    for program in PROGRAMS:
        roots.put_program(tree, program)
    roots.WANTED["volumes"] = MODULES
    roots.put_modules(tree, "volumes")
    (tree / "etc/lvm/lvm.conf").write_text(LVM_CONF)
    (tree / "key").write_text("a key of the lab, known to everyone")
    shutil.copy(HERE / "volumes-init", tree / "init")
    pack = f"cd '{tree}' && find . | /bin/busybox cpio -o -H newc 2>/dev/null | gzip -1"
    with open(path, "wb") as out:
        subprocess.run(["sh", "-c", pack], stdout=out, check=True)
    run("rm", "-r", tree)


def recipe_path(name):
    """Where a file made by this recipe is kept."""
    return cache.recipe_dir() / f"volumes-{cache.hash_of(HERE / 'volumes.py', HERE / 'volumes-init')}-{name}"


def first_program():
    """The path of the initial RAM disk, made now if need be."""
    return cache.made(recipe_path("initramfs.cpio.gz"), make_initramfs)


def make_table(path, stack, version):
    ident = images.identifier("busybox", stack, version, "disk")
    with open(path, "wb") as f:
        f.truncate(SIZE * MIB)
    subprocess.run(["sfdisk", "-q", path], text=True, check=True, stdout=subprocess.DEVNULL, input=(
        f"label: dos\nlabel-id: 0x{ident.hex[:8]}\nstart=1MiB, size={BOOT}MiB, type=c\n"
        f"start={1 + BOOT}MiB, type={'8e' if stack == 'lvm' else '83'}\n"))


def make_image(path, stack, version):
    with tempfile.TemporaryDirectory(dir=path.parent) as tmp:
        work = pathlib.Path(tmp)
        tree = work / "root"
        tree.mkdir()
        roots.make_busybox(tree, "mbr-boot", version)
        images.make_fs(work / "root.fs", tree, "ext4", SIZE - BOOT - LUKS_HEADER - 8,
                       images.identifier("busybox", stack, version, "root"))
        make_table(path, stack, version)
        images.make_boot(work / "boot.fs", BOOT, version, images.identifier(stack, version, "boot"))
        images.put(work / "boot.fs", path, 1)
        line = MAKING.format(umid=f"{stack}-{version}", work=work, initrd=first_program()).split()
        p = subprocess.run([*line, f"ubd0={path}", f"ubd1={work}/root.fs", f"ff.stack=make-{stack}"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=180,
                           env={"TMPDIR": tmp, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": tmp})
        if "made it" not in p.stdout:
            raise RuntimeError(f"{stack}: no image:\n{p.stdout[-4000:]}")


def raw(stack, version="new"):
    """The path of a raw image with the root on an LV ("lvm") or in a LUKS container ("luks")."""
    return cache.made(recipe_path(f"{stack}-{version}.img"), lambda part: make_image(part, stack, version))


def packed(stack, version="new"):
    """The path of an image in the form that is flashed."""
    image = raw(stack, version)
    def make(part):
        with open(part, "wb") as out:
            subprocess.run([*images.COMPRESSORS["xz"], str(image)], stdout=out, check=True)
    return cache.made(pathlib.Path(f"{image}.xz"), make)


STACKS = ("lvm", "luks", "lvm-two", "md-two", "btrfs-two")


class VolumeDevice(Device):
    """stack: lvm, luks; lvm-two, md-two, btrfs-two: the root spreads over a second disk as well."""

    def __init__(self, lab, index, name, stack, mem="256M", **kw):
        self.second = None
        layout = "mbr-boot" if stack.startswith(("lvm", "luks")) else "mbr"
        fs = "btrfs" if stack == "btrfs-two" else "ext4"
        super().__init__(lab, index, name, mem=mem, **{**kw, "kind": "busybox", "layout": layout, "fs": fs, "stack": stack})
        if stack.endswith("-two"):
            self.second = self.dir / "second.img"
            self.make_second()

    def make_second(self):
        if self.stack == "md-two":
            start, size = images.partitions(self.disk)[0]
            run("dd", f"if={self.disk}", f"of={self.second}", "bs=1M", f"skip={start}", f"count={size}",
                "iflag=skip_bytes,count_bytes")
        else:
            run("truncate", "-s", "128M", self.second)

    def first_image(self, version):
        if self.stack.startswith(("lvm", "luks")):
            return raw(self.stack.removesuffix("-two"), version)
        return images.raw("busybox", self.layout, version, self.fs)

    def command_line(self):
        words = [w for w in super().command_line() if not w.startswith("initrd=")]
        words.append(f"initrd={first_program()}")
        if self.second:
            words.append(f"ubd1={self.second}")
        return words

    def fsck(self, disk=None):
        """/boot alone: of the rest this machine sees nothing."""
        disk = pathlib.Path(disk or self.disk)
        start, size = images.partitions(disk)[0]
        with tempfile.TemporaryDirectory(dir=self.dir) as tmp:
            run("dd", f"if={disk}", f"of={tmp}/boot", "bs=1M", f"skip={start}", f"count={size}",
                "iflag=skip_bytes,count_bytes")
            p = subprocess.run(["fsck.vfat", "-n", f"{tmp}/boot"], capture_output=True, text=True, errors="replace")
        return [p.stdout] if p.returncode else []
