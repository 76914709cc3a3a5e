# SPDX-License-Identifier: Apache-2.0
"""A virtual board with a real U-Boot in flash memory of its own, as boards have that are flashed by their
boot loader: an emulated arm64 machine whose disk may hold anything or nothing.

Its boot script, made by `fleetflash recovery script`, is in flash too; Linux is loaded from the disk that it wrote.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import sys

import arm64
import cache
import images
import roots
from cache import run
from device import Device

FIRMWARE = pathlib.Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
FLASH = 64 << 20  # of each of the machine's two flash chips
ENVIRONMENT = 0x40000  # CONFIG_ENV_SIZE of U-Boot for this machine
SCRIPT = 0x80000  # where the boot script is in the second chip
# The disk is the machine's first (and only) virtio block device.
BOOT = ("if load virtio 0:1 0x42000000 /boot/vmlinuz && load virtio 0:1 0x50000000 /boot/initrd; then "
        "setenv bootargs {words}; booti 0x42000000 0x50000000:${{filesize}} ${{fdtcontroladdr}}; fi")


def missing():
    """Why such a board cannot run here, or None."""
    for tool in (FIRMWARE, "mkenvimage"):
        if not shutil.which(tool) and not pathlib.Path(tool).exists():
            return f"{tool} is needed: run tests/install-deps"
    return arm64.missing()


def recovery(lab, *args):
    """Runs `fleetflash recovery …`."""
    return lab.run([lab.fleetflash_argv()[0], "recovery", *args], text=True, capture_output=True)


def make_root(root, layout, version):
    """The arm64 root with a kernel and its initial RAM disk in /boot."""
    arm64.make_root(root, layout, version)
    (root / "boot").mkdir(exist_ok=True)
    shutil.copy(next((arm64.packages() / "boot").glob("vmlinuz-*")), root / "boot/vmlinuz")
    shutil.copy(arm64.initramfs(), root / "boot/initrd")
    (root / "etc/fleetflash-image").write_text(f"netboard {version}\n")


def make_pi_root(root, layout, version):
    """The same with an fstab that fits only the image's own table."""
    make_root(root, layout, version)
    (root / "etc/fstab").write_text("PARTUUID=deadbeef-01 /firmware vfat noauto 0 0\n")


roots.MAKERS["netboard"], roots.MAKERS["netboard-pi"] = make_root, make_pi_root
images.SIZE["netboard"], images.SIZE["netboard-pi"] = 112, 184
images.BOOT_SIZE["netboard"], images.BOOT_SIZE["netboard-pi"] = images.BOOT_SIZE["busybox"], 72


def recipe_path(name):
    """Where a file made by this recipe is kept."""
    return cache.recipe_dir() / f"netboard-{cache.hash_of(cache.HERE / 'arm64.py', cache.HERE / 'netboard.py')}-{name}"


def raw(version="new"):
    """The path of a raw image, made now if need be: one ext4 partition with all in it."""
    return cache.made(recipe_path(f"{version}.img"), lambda part: images.make_image(
        part, "netboard", "mbr", version, "ext4", images.SIZE["netboard"]))


def packed(version="new"):
    """The path of an image in the form that is flashed."""
    image = raw(version)
    def make(part):
        with open(part, "wb") as out:
            subprocess.run([*images.COMPRESSORS["xz"], str(image)], stdout=out, check=True)
    return cache.made(pathlib.Path(f"{image}.xz"), make)


def flash_chip(path, content):
    shutil.copy(content, path)
    run("truncate", "-s", FLASH, path)


class NetBoard(Device):
    """A board with an empty disk, or one that holds the image of a version; with put_script before it boots.
    A bare one has no environment: its boot loader does what it does by itself, and looks for a script on the disk.
    firmware is another U-Boot than the distribution's build of it."""

    def __init__(self, lab, index, name, version="blank", disk_size="128M", mem="512M", bare=False, firmware=FIRMWARE, **kw):
        super().__init__(lab, index, name, mem=mem, layout="mbr", version=version, disk_size=disk_size,
                         **{**kw, "kind": "netboard"})
        self.kind = "arm64"  # its root has that one's host keys
        env = {"bootdelay": "0", "ethaddr": self.mac, "scriptaddr": "0x40200000", "ramdisk_addr_r": "0x48000000",
               "bootcmd": f"cp.b {hex(FLASH + SCRIPT)} ${{scriptaddr}} 0x20000; source ${{scriptaddr}}; reset"}
        text, self.chip = self.dir / "env.txt", self.dir / "env.bin"
        text.write_text("".join(f"{key}={value}\n" for key, value in env.items()))
        run("mkenvimage", "-s", hex(ENVIRONMENT), "-o", self.chip, text)
        flash_chip(self.dir / "flash0", firmware)
        flash_chip(self.dir / "flash1", "/dev/null" if bare else self.chip)

    def netboot(self):
        """What the inventory's `netboot` is for this board."""
        words = ["console=ttyAMA0", "loglevel=6", "ff.root=/dev/vda1", "ff.fs=ext4", "ff.stack=plain",
                 f"ff.ip={self.ip}/24", f"ff.host={self.name}", *self.wishes()]
        return {"layout": "disk", "disk": "virtio 0", "boot": BOOT.format(words=" ".join(words))}

    def put_script(self, path):
        """Puts a boot script into its flash memory."""
        with open(self.dir / "flash1", "r+b") as chip:
            chip.seek(SCRIPT)
            chip.write(path.read_bytes())

    def loader_text(self):
        """What its boot loader said since the device was made, without the kernel's words."""
        return "\n".join(line for line in self.console_text().splitlines() if not line.startswith("["))

    def first_image(self, version):
        if version != "blank":
            return raw(version)
        empty = self.dir / "empty.img"
        run("truncate", "-s", "1M", empty)
        return empty

    def starter(self):
        return ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "1", "-m", self.mem,
                "-nodefaults", "-display", "none", "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off",
                "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
                "-drive", f"if=pflash,format=raw,unit=0,file={self.dir}/flash0,readonly=on",
                "-drive", f"if=pflash,format=raw,unit=1,file={self.dir}/flash1",
                # The page cache of this machine is the disk: a power cut ends qemu, not the machine.
                "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=unsafe,discard=unmap",
                "-device", f"virtio-blk-device,drive=disk,serial={self.name}",
                "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                "-device", f"virtio-net-device,netdev=net,mac={self.mac}"]

    def reset_command(self):
        """What the inventory's `reset: {command: …}` is for this board."""
        return f"{sys.executable} {__file__} {self.dir}/qmp"


def reset(path):
    """Presses the reset button of the board whose qemu listens at path."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        stream = s.makefile("rw")
        for command in (None, "qmp_capabilities", "system_reset"):
            if command:
                stream.write(json.dumps({"execute": command}) + "\n")
                stream.flush()
            while "event" in (answer := json.loads(stream.readline())):
                pass
            if "error" in answer:
                sys.exit(answer["error"]["desc"])


if __name__ == "__main__":
    reset(sys.argv[1])
