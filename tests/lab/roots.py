# SPDX-License-Identifier: Apache-2.0
"""The root file systems of the lab's devices, as directory trees."""

import os
import pathlib
import random
import re
import shutil
import subprocess

import cache
from cache import HERE, run

MODULES = pathlib.Path("/usr/lib/uml/modules")

# Modules that the kernel needs for what devices do, with what these depend on:
# FAT and f2fs, layered and encrypted roots, swap on zram, a watchdog, a bad link.
WANTED = {
    "systemd": ["vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "f2fs", "crc32_generic", "overlay", "loop",
                "dm-mod", "dm-crypt", "cbc", "xts", "zram", "lzo-rle", "softdog", "autofs4", "sch_netem",
                "configfs"],
    "busybox": ["vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "loop", "softdog", "zram",
                "lzo-rle"],
    "initramfs": ["f2fs", "crc32_generic", "overlay", "dm-mod", "dm-crypt", "cbc", "hmac", "ecb"],
}

# Left out of the systemd root: nobody reads manuals on a lab device.
EXCLUDED = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/info/*",
            "/usr/lib/x86_64-linux-gnu/gconv/*", "/usr/share/zoneinfo/*"]
PACKAGES = ["systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo",
            "iproute2", "e2fsprogs", "procps", "kmod", "udev", "fdisk"]

# Units that cost boot time and that no test looks at.
MASKED = ["getty@tty1.service", "serial-getty@.service", "console-getty.service", "getty.target",
          "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer",
          "e2scrub_all.timer", "e2scrub_reap.service", "systemd-timesyncd.service",
          "systemd-pstore.service", "systemd-binfmt.service", "systemd-hwdb-update.service",
          "systemd-update-utmp.service", "systemd-networkd.service", "rescue.service",
          "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-mqueue.mount",
          "dev-hugepages.mount", "proc-sys-fs-binfmt_misc.automount",
          "modprobe@configfs.service", "modprobe@drm.service", "modprobe@fuse.service",
          "modprobe@efi_pstore.service", "modprobe@dm_mod.service", "modprobe@loop.service",
          "sys-kernel-config.mount", "systemd-sysusers.service", "systemd-repart.service"]


def identity():
    """The private key that lab devices let in. Made once for each cache."""
    def make(part):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", part)
        os.rename(f"{part}.pub", cache.cache_dir() / "keys" / "identity.pub")
    return cache.made(cache.cache_dir() / "keys" / "identity", make)


def host_key(kind, version):
    """The private host key in an image. Made once for each cache; firstboot makes its own."""
    version = "old" if version == "old" else "new"
    name = f"host-{kind}-{version}"
    def make(part):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", part)
        os.rename(f"{part}.pub", cache.cache_dir() / "keys" / f"{name}.pub")
    return cache.made(cache.cache_dir() / "keys" / name, make)


def public_of(key):
    return pathlib.Path(f"{key}.pub").read_text()


def writer():
    """The static writer program, compiled once."""
    return cache.made(cache.recipe_dir() / "writer", lambda part: run(
        "gcc", "-std=gnu17", "-O2", "-static", "-o", part, HERE / "writer.c"))


def bootstrap():
    """A tar of the distribution's part of the systemd root, which changes rarely."""
    key = cache.hash_of(*EXCLUDED, *PACKAGES)
    def make(part):
        run("mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES),
            *(f"--dpkgopt=path-exclude={p}" for p in EXCLUDED),
            "--aptopt=Apt::Install-Recommends false", "bookworm", part)
    return cache.made(cache.cache_dir() / "bootstrap" / f"{key}.tar", make)


def put_modules(root, kind):
    """Copies the wanted kernel modules and all they depend on."""
    release = next(MODULES.iterdir())
    by_name = {p.stem.replace("-", "_"): p for p in release.rglob("*.ko")}
    todo, seen = [w.replace("-", "_") for w in WANTED[kind]], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in by_name:
            continue
        seen.add(name)
        needs = re.search(rb"\0depends=([^\0]*)", by_name[name].read_bytes())
        todo += [n.replace("-", "_") for n in needs.group(1).decode().split(",") if n]
        soft = re.findall(rb"\0softdep=pre: ([^\0]*)", by_name[name].read_bytes())
        todo += [n.replace("-", "_") for s in soft for n in s.decode().split()]
        to = root / "lib/modules" / release.name / by_name[name].relative_to(release)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(by_name[name], to)
    for extra in ("modules.builtin", "modules.order"):
        if (release / extra).exists():
            shutil.copy(release / extra, root / "lib/modules" / release.name)
    run("depmod", "-b", root, release.name)


def put_overlay(root, *names):
    """Copies the trees below roots/ over the root."""
    for name in names:
        # Not as an archive: a checkout may belong to anyone, an image's files to root.
        run("cp", "-r", "--preserve=mode", "--no-preserve=ownership", f"{HERE}/roots/{name}/.", root)


def put_common(root, kind, layout, version):
    """What both kinds have: keys, identity of the image, data that differs, the writers."""
    put_overlay(root, "common", kind)
    shutil.copy(writer(), root / "usr/lib/lab/writer")
    (root / "etc/fleetflash-image").write_text(f"{kind} {version}\n")
    (root / "boot").mkdir(exist_ok=True)
    boot = "boot" in layout
    fstab = [f"/dev/ubda1 /boot vfat rw,noatime 0 0"] if boot else []
    (root / "etc/fstab").write_text("".join(f"{line}\n" for line in fstab))
    for home, owner in [("root", 0)] + ([("home/pi", 1000), ("home/nosudo", 1001)]
                                        if kind == "systemd" else []):
        ssh = root / home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        (ssh / "authorized_keys").write_text(public_of(identity()))
        for path, mode in ((root / home, 0o700), (ssh, 0o700), (ssh / "authorized_keys", 0o600)):
            os.chmod(path, mode)
            os.chown(path, owner, owner)
    # Data that does not compress and that differs between versions, so that a flash
    # has something to carry.
    noise = random.Random(f"{kind} {version}")
    data = root / "usr/share/lab"
    data.mkdir(parents=True)
    for i in range(16 if kind == "systemd" else 4):
        (data / f"noise-{i}").write_bytes(noise.randbytes(1 << 20))
    put_modules(root, kind)


def append(path, text):
    with open(path, "a") as f:
        f.write(text)


def make_systemd(root, layout, version):
    """systemd, OpenSSH, sudo: what most boards run."""
    run("tar", "-C", root, "--numeric-owner", "-xf", bootstrap(), "--exclude=./dev/*")
    for p in (root / "etc/ssh").glob("ssh_host_*"):
        p.unlink()
    # The maker's own name server is none of the boards' business: every sudo would ask it for the
    # host's name and wait.
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
    for uid, name in ((1000, "pi"), (1001, "nosudo")):
        append(root / "etc/passwd", f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash\n")
        append(root / "etc/shadow", f"{name}:*:19000:0:99999:7:::\n")
        append(root / "etc/group", f"{name}:x:{uid}:\n")
    put_common(root, "systemd", layout, version)
    os.chmod(root / "etc/sudoers.d/lab", 0o440)
    key = host_key("systemd", version)
    shutil.copy(key, root / "etc/ssh/ssh_host_ed25519_key")
    (root / "etc/ssh/ssh_host_ed25519_key.pub").write_text(public_of(key))
    # Empty means: every device makes its own at its first boot and keeps it.
    (root / "etc/machine-id").write_text("")
    (root / "var/log/journal").mkdir(parents=True, exist_ok=True)
    enabled = ["lab-net", "lab-writers", "lab-victim"] + (["lab-firstboot"] if version == "firstboot" else [])
    units = root / "etc/systemd/system"
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    for name in enabled:
        (units / "multi-user.target.wants" / f"{name}.service").symlink_to(f"../{name}.service")
    for name in MASKED:
        link = units / name
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    if version == "broken":
        (root / "sbin/init").unlink()
        (root / "usr/lib/systemd/systemd").unlink()


def put_program(root, program):
    """Copies a program of this machine and the shared libraries it is linked with."""
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in [program, *re.findall(r"(/\S+) \(0x", linked)]:
        to = root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def make_busybox(root, layout, version):
    """busybox and dropbear, no sudo, no sftp: the small end of boards."""
    for d in ("bin sbin usr/bin usr/sbin usr/lib etc/dropbear dev proc sys run tmp root home "
              "var/lib var/log mnt").split():
        (root / d).mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in run("/bin/busybox", "--list-full").split():
        # Without su there is no way to root but to be root.
        if applet.split("/")[-1] not in ("busybox", "su", "login", "ash"):
            link = root / applet
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to("/bin/busybox")
    (root / "bin/ash").symlink_to("busybox")
    put_program(root, "/usr/sbin/dropbear")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/shadow").write_text("root:*:19000:0:99999:7:::\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    put_common(root, "busybox", layout, version)
    run("/usr/lib/dropbear/dropbearconvert", "openssh", "dropbear",
        host_key("busybox", version), root / "etc/dropbear/host_key")
    if version == "broken":
        for name in ("sbin/init", "bin/init", "bin/sh", "linuxrc", "init"):
            (root / name).unlink(missing_ok=True)


MAKERS = {"systemd": make_systemd, "busybox": make_busybox}
