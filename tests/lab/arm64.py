# SPDX-License-Identifier: Apache-2.0
"""A virtual board with another processor: a real arm64 kernel under qemu, emulated, without KVM.

The root is the lab's busybox root with arm64 programs in it; the kernel is the distribution's own.
No arm64 program runs on this machine: packages are unpacked, not installed.
"""

import pathlib
import re
import shutil
import subprocess

import cache
import images
import roots
from cache import HERE, run
from device import Device

KERNEL = "linux-image-cloud-arm64"  # smaller than linux-image-arm64, and all that qemu's board needs
PROGRAMS = ["busybox-static", "dropbear-bin", "libtomcrypt1", "libtommath1", "libgmp10", "libcrypt1",
            "zlib1g", "libc6"]
MODULES = ["virtio_mmio", "virtio_blk", "virtio_net", "vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii",
           "loop", "softdog"]
LIBRARIES = "lib/aarch64-linux-gnu"
# The lab's initial RAM disk goes on where this ends.
INIT = """#!/bin/sh
for m in virtio_mmio virtio_blk virtio_net; do modprobe $m; done
exec /sbin/init-lab
"""


def missing():
    """Why an arm64 device cannot run here, or None."""
    for tool in ("qemu-system-aarch64", "aarch64-linux-gnu-gcc"):
        if not shutil.which(tool):
            return f"{tool} is needed: run tests/install-deps"
    foreign = subprocess.run(["dpkg", "--print-foreign-architectures"], capture_output=True, text=True).stdout
    return None if "arm64" in foreign.split() else "dpkg must know arm64: run tests/install-deps"


def download(directory):
    depends = run("apt-cache", "show", "--no-all-versions", f"{KERNEL}:arm64")
    kernel = re.search(r"^Depends: (linux-image-[^ ,]+)", depends, re.M).group(1)
    run("apt-get", "-q", "download", *(f"{p}:arm64" for p in [kernel, *PROGRAMS]), cwd=directory)


def packages():
    """A directory with the arm64 packages unpacked, fetched once for each list of them."""
    def make(part):
        part.mkdir()
        debs = pathlib.Path(f"{part}.debs")
        debs.mkdir()
        try:
            download(debs)
        except RuntimeError:  # apt's lists may be old, or not there
            subprocess.run(["apt-get", "-q", "update"], capture_output=True)
            download(debs)
        for deb in debs.iterdir():
            run("dpkg-deb", "-x", deb, part)
        run("depmod", "-b", part, release(part))
    key = cache.hash_of(KERNEL, *PROGRAMS)
    return cache.made(cache.cache_dir() / "bootstrap" / f"arm64-{key}", make)


def release(root):
    return next((root / "lib/modules").iterdir()).name


def put_modules(root):
    """Copies the wanted kernel modules and all they depend on."""
    source = packages()
    for name in MODULES:
        for path in re.findall(r"^insmod (\S+)", run("modprobe", "-d", source, "-S", release(source), "-D", name), re.M):
            to = root / pathlib.Path(path).relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    for extra in ("modules.builtin", "modules.order"):
        shutil.copy(source / "lib/modules" / release(source) / extra, root / "lib/modules" / release(source))
    run("depmod", "-b", root, release(source))


def make_root(root, layout, version):
    """The busybox root, its programs replaced."""
    roots.make_busybox(root, layout, version)
    source = packages()
    for alien in ("lib", "lib64", "usr/lib/x86_64-linux-gnu"):
        shutil.rmtree(root / alien, ignore_errors=True)
    (root / LIBRARIES).mkdir(parents=True)
    for program in ("bin/busybox", "usr/sbin/dropbear"):
        shutil.copy(source / program, root / program)
    put_libraries(root, root / "usr/sbin/dropbear")
    run("aarch64-linux-gnu-gcc", "-std=gnu17", "-O2", "-static", "-o", root / "usr/lib/lab/writer", HERE / "writer.c")
    put_modules(root)
    fstab = root / "etc/fstab"
    fstab.write_text(fstab.read_text().replace("/dev/ubda", "/dev/vda"))
    (root / "etc/fleetflash-image").write_text(f"arm64 {version}\n")
    (root / "etc/dropbear/host_key").unlink()
    run("/usr/lib/dropbear/dropbearconvert", "openssh", "dropbear",
        roots.host_key("arm64", version), root / "etc/dropbear/host_key")


def put_libraries(root, program):
    """Copies the shared libraries that a program is linked with, and their loader."""
    dynamic = run("aarch64-linux-gnu-readelf", "-d", "-l", program)
    wanted = re.findall(r"NEEDED.*\[(\S+)\]", dynamic)
    interpreter = re.search(r"interpreter: /(\S+)\]", dynamic)
    if interpreter:
        shutil.copy(packages() / LIBRARIES / pathlib.Path(interpreter.group(1)).name, root / interpreter.group(1))
    for name in wanted:
        to = root / LIBRARIES / name
        if not to.exists():
            found = [d / name for d in (packages() / LIBRARIES, packages() / "usr" / LIBRARIES) if (d / name).exists()]
            shutil.copy(found[0], to)
            put_libraries(root, to)


def make_initramfs(path):
    source = packages()
    tree = pathlib.Path(f"{path}.tree")
    for d in ("bin", "sbin", "dev", "proc", "sys"):
        (tree / d).mkdir(parents=True)
    shutil.copy(source / "bin/busybox", tree / "bin/busybox")
    for applet in ("sh", "mount", "umount", "modprobe", "mkdir", "cat", "switch_root"):
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "sbin/modprobe").symlink_to("/bin/busybox")
    put_modules(tree)
    shutil.copy(HERE / "roots/initramfs/init", tree / "sbin/init-lab")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    pack = f"cd '{tree}' && find . | /bin/busybox cpio -o -H newc 2>/dev/null | gzip -1"
    with open(path, "wb") as out:
        subprocess.run(["sh", "-c", pack], stdout=out, check=True)
    run("rm", "-r", tree)


# Known to the lab's image maker like the other kinds.
roots.MAKERS["arm64"] = make_root
images.SIZE["arm64"] = images.SIZE["busybox"]
images.BOOT_SIZE["arm64"] = images.BOOT_SIZE["busybox"]


def recipe_path(name):
    """Where a file made by this recipe is kept."""
    return cache.recipe_dir() / f"arm64-{cache.hash_of(HERE / 'arm64.py')}-{name}"


def initramfs():
    return cache.made(recipe_path("initramfs.cpio.gz"), make_initramfs)


def make_4k(path, version):
    """Like an image of the layout "gpt", for a disk with logical sectors of 4096 bytes."""
    mib, size = 1 << 20, images.SIZE["arm64"]
    ident = images.identifier("arm64", "gpt-4k", version)
    tree = pathlib.Path(f"{path}.tree")
    tree.mkdir()
    make_root(tree, "gpt", version)
    part = f"{path}.root"
    run("truncate", "-s", f"{size - 2}M", part)
    run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "1", "-U", ident, "-L", "root", "-d", tree, part)
    run("truncate", "-s", f"{size}M", path)
    # sfdisk counts a file's sectors in 512 bytes.
    talk = ["g", "n", "1", str(mib // 4096), str((size - 1) * mib // 4096 - 1), "x", "i", str(ident), "r", "w"]
    subprocess.run(["fdisk", "-b", "4096", path], input="\n".join(talk) + "\n", text=True, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    images.put(part, path, 1)


def raw(layout="mbr-boot", version="new"):
    """The path of a raw image, made now if need be."""
    if layout == "gpt-4k":
        return cache.made(recipe_path(f"{layout}-{version}.img"), lambda part: make_4k(part, version))
    return cache.made(recipe_path(f"{layout}-{version}.img"), lambda part: images.make_image(
        part, "arm64", layout, version, "ext4", images.SIZE["arm64"]))


def packed(layout="mbr-boot", version="new", compress="xz"):
    """The path of an image in the form that is flashed."""
    image = raw(layout, version)
    def make(part):
        with open(part, "wb") as out:
            subprocess.run([*images.COMPRESSORS[compress], str(image)], stdout=out, check=True)
    return cache.made(pathlib.Path(f"{image}.{compress}"), make)


class Arm64Device(Device):
    """Made by Lab.device(kind="arm64"). A kernel that panics hangs, as on a board."""

    def __init__(self, lab, index, name, mem="256M", layout="mbr-boot", **kw):
        super().__init__(lab, index, name, mem=mem, layout=layout, **{**kw, "kind": "arm64"})

    def first_image(self, version):
        return raw(self.layout, version)

    def starter(self):
        root = f"/dev/vda{2 if 'boot' in self.layout else 1}"
        sector = 4096 if self.layout == "gpt-4k" else 512
        words = ["console=ttyAMA0", "loglevel=6", f"ff.root={root}", "ff.fs=ext4", "ff.stack=plain",
                 f"ff.ip={self.ip}/24", f"ff.host={self.name}"]
        return [HERE / "qemu-wrapper",
                "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "1", "-m", self.mem,
                "-nodefaults", "-display", "none", "-no-reboot", "-qmp", "stdio",
                "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
                "-kernel", next((packages() / "boot").glob("vmlinuz-*")), "-initrd", initramfs(),
                "-append", " ".join([*words, *self.wishes()]),
                # The page cache of this machine is the disk: a power cut ends qemu, not the machine.
                "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=unsafe,discard=unmap",
                "-device", f"virtio-blk-device,drive=disk,serial={self.name},"
                f"logical_block_size={sector},physical_block_size={sector}",
                "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                "-device", f"virtio-net-device,netdev=net,mac={self.mac}"]
