# SPDX-License-Identifier: Apache-2.0
"""Disk images: a partition table, perhaps a FAT /boot, a root file system.

Nothing is mounted: file systems are filled by their own makers and put in place.
"""

import json
import pathlib
import shutil
import subprocess
import tempfile
import uuid

import cache
import roots
from cache import run

MIB = 1 << 20
LAYOUTS = ("mbr", "mbr-boot", "gpt", "gpt-boot")
VERSIONS = ("old", "new", "firstboot", "broken")
# Of the whole image, MiB. Some file systems have a minimum of their own.
SIZE = {"systemd": 432, "busybox": 48}
SIZE_OF_FS = {"xfs": 336, "btrfs": 144, "f2fs": 96}
BOOT_SIZE = {"systemd": 32, "busybox": 8}
COMPRESSORS = {
    # Blocks of their own, as the multi-threaded xz makes them.
    "xz": ["xz", "-1", "-T2", "--block-size=8MiB", "-c"],
    "zst": ["zstd", "-q", "-3", "-T2", "-c"],
    "gz": ["gzip", "-1", "-c"],
    "bz2": ["bzip2", "-1", "-c"],
}


def identifier(*what):
    """A UUID that differs between versions and stays the same from build to build."""
    return uuid.uuid5(uuid.NAMESPACE_OID, " ".join(what))


def root_device(layout):
    return "/dev/ubda2" if "boot" in layout else "/dev/ubda1"


def make_fs(part, tree, fs, size, ident):
    """Writes a file system of size MiB holding tree into the file part."""
    with open(part, "wb") as f:
        f.truncate(size * MIB)
    if fs == "ext4":
        run("mke2fs", "-q", "-t", "ext4", "-m", "1", "-J", "size=4", "-U", ident, "-E",
            f"hash_seed={ident},lazy_itable_init=1", "-L", "root", "-d", tree, part)
    elif fs == "btrfs":
        run("mkfs.btrfs", "-q", "-f", "-U", ident, "-L", "root", "--rootdir", tree, part)
    elif fs == "f2fs":
        run("mkfs.f2fs", "-q", "-f", "-U", ident, "-l", "root", part)
        run("sload.f2fs", "-P", "-f", tree, part)
    elif fs == "xfs":
        run("mkfs.xfs", "-q", "-f", "-m", f"uuid={ident}", "-L", "root", "-p", protofile(tree, part), part)
    else:
        raise ValueError(f"file system {fs}")


def protofile(tree, part):
    """The description of a tree that mkfs.xfs fills a file system from."""
    def spec(p):
        st = p.lstat()
        kind = "l" if p.is_symlink() else "d" if p.is_dir() else "-"
        flags = ("u" if st.st_mode & 0o4000 else "-") + ("g" if st.st_mode & 0o2000 else "-")
        return f"{kind}{flags}{st.st_mode & 0o777:03o} {st.st_uid} {st.st_gid}"

    def lines(d):
        for p in sorted(d.iterdir()):
            if p.is_symlink():
                yield f"{p.name} {spec(p)} {p.readlink()}"
            elif p.is_dir():
                yield f"{p.name} {spec(p)}"
                yield from lines(p)
                yield "$"
            else:
                yield f"{p.name} {spec(p)} {p}"

    proto = pathlib.Path(f"{part}.proto")
    proto.write_text("\n".join(["/", "0 0", spec(tree), *lines(tree), "$", ""]))
    return proto


def make_boot(part, size, version, ident):
    """Writes the FAT file system of /boot, with a file or two as boards have."""
    with open(part, "wb") as f:
        f.truncate(size * MIB)
    run("mkfs.vfat", "-n", "BOOT", "-i", ident.hex[:8], part)
    text = pathlib.Path(f"{part}.txt")
    text.write_text(f"# lab boot partition, {version}\n" + "console=tty0\n" * 64)
    run("mcopy", "-i", part, text, "::cmdline.txt")


def layout_script(kind, layout, version, size):
    """What sfdisk is told, and the start and length in MiB of /boot and root."""
    boot = BOOT_SIZE[kind] if "boot" in layout else 0
    gpt = layout.startswith("gpt")
    end = size - (1 if gpt else 0)  # the GPT's backup is at the end
    ident = identifier(kind, layout, version, "disk")
    lines = ["label: gpt" if gpt else "label: dos",
             f"label-id: {ident}" if gpt else f"label-id: 0x{ident.hex[:8]}"]
    def part(n, start, length, kind_gpt, kind_mbr):
        word = f"type={kind_gpt}, uuid={identifier(str(ident), str(n))}" if gpt else f"type={kind_mbr}"
        lines.append(f"start={start}MiB, size={length}MiB, {word}")
    if boot:
        part(1, 1, boot, "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "c")
    part(2, 1 + boot, end - 1 - boot, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "83")
    return "\n".join(lines) + "\n", (1, boot), (1 + boot, end - 1 - boot)


def put(part, image, at):
    run("dd", f"if={part}", f"of={image}", "bs=1M", f"seek={at}", "conv=notrunc,sparse")


def make_image(path, kind, layout, version, fs, size):
    """Writes the raw image. It is sparse: blocks of zeros take no room."""
    script, boot, root = layout_script(kind, layout, version, size)
    work = pathlib.Path(f"{path}.work")
    tree = work / "root"
    tree.mkdir(parents=True)
    tree.chmod(0o755)
    roots.MAKERS[kind](tree, layout, version)
    with open(path, "wb") as f:
        f.truncate(size * MIB)
    subprocess.run(["sfdisk", "-q", path], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    ident = identifier(kind, layout, version, fs, "root")
    make_fs(work / "root.fs", tree, fs, root[1], ident)
    put(work / "root.fs", path, root[0])
    if boot[1]:
        make_boot(work / "boot.fs", boot[1], version, identifier(kind, version, "boot"))
        put(work / "boot.fs", path, boot[0])
    shutil.rmtree(work)


def raw(kind="systemd", layout="mbr", version="new", fs="ext4"):
    """The path of a raw image, made now if need be."""
    if kind not in roots.MAKERS or layout not in LAYOUTS or version not in VERSIONS:
        raise ValueError(f"no such image: {kind} {layout} {version}")
    size = max(SIZE[kind], SIZE_OF_FS.get(fs, 0))
    return cache.made(cache.recipe_dir() / f"{kind}-{layout}-{fs}-{version}.img",
                      lambda part: make_image(part, kind, layout, version, fs, size))


def packed(kind="systemd", layout="mbr", version="new", compress="xz", fs="ext4"):
    """The path of an image in the form that is flashed: xz, zst, gz, bz2 or none."""
    image = raw(kind, layout, version, fs)
    if compress in (None, "none"):
        return image
    def make(part):
        with open(part, "wb") as out:
            subprocess.run([*COMPRESSORS[compress], str(image)], stdout=out, check=True)
    return cache.made(pathlib.Path(f"{image}.{compress}"), make)


def add_data_partition(disk, size):
    """Makes a disk file size MiB longer, with one more partition there: ext4, labelled data."""
    start = -(-disk.stat().st_size // MIB)
    # One MiB more, for the GPT's backup.
    run("truncate", "-s", (start + size + 1) * MIB, disk)
    if "gpt" in run("sfdisk", "--json", disk):
        run("sfdisk", "-q", "--relocate", "gpt-bak-std", disk)
    subprocess.run(["sfdisk", "-q", "--append", disk], input=f"start={start}MiB, size={size}MiB\n",
                   text=True, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(dir=disk.parent) as tmp:
        part = pathlib.Path(tmp) / "data"
        run("mke2fs", "-q", "-t", "ext4", "-L", "data", part, f"{size}M")
        put(part, disk, start)


def partitions(disk):
    """(start in bytes, size in bytes) of every partition of a disk file."""
    table = json.loads(run("sfdisk", "--json", disk))["partitiontable"]
    sector = table.get("sectorsize", 512)
    return [(p["start"] * sector, p["size"] * sector) for p in table.get("partitions", [])]


# How a file system is recognised, and its checker. Checkers get the partition as a file.
CHECKERS = [
    (1080, b"\x53\xef", ["e2fsck", "-fn"]),
    (0, b"XFSB", ["xfs_repair", "-n"]),
    (0x10040, b"_BHRfS_M", ["btrfs", "check", "--readonly"]),
    (1024, b"\x10\x20\xf5\xf2", ["fsck.f2fs", "--dry-run"]),
    (510, b"\x55\xaa", ["fsck.vfat", "-n"]),
]


def fsck(disk):
    """What is wrong with the file systems of a disk file: one text for each bad partition."""
    problems = []
    try:
        parts = partitions(disk)
    except (RuntimeError, KeyError, ValueError) as e:
        return [f"no partition table: {e}"]
    for n, (start, size) in enumerate(parts, 1):
        with open(disk, "rb") as f:
            f.seek(start)
            head = f.read(0x10100)
        argv = next((argv for at, magic, argv in CHECKERS if head[at:].startswith(magic)), None)
        if argv is None:
            problems.append(f"partition {n}: no known file system")
            continue
        with tempfile.TemporaryDirectory(dir=disk.parent) as tmp:
            part = f"{tmp}/part"
            run("dd", f"if={disk}", f"of={part}", "bs=1M", f"skip={start}", f"count={size}",
                "iflag=skip_bytes,count_bytes", "conv=sparse")
            # Not all of a short image's end may be there: checkers want the whole size.
            run("truncate", "-s", size, part)
            p = subprocess.run([*argv, part], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
            if p.returncode:
                problems.append(f"partition {n}: {argv[0]} says {p.returncode}: {p.stdout[-1500:]}{p.stderr[-500:]}")
    return problems


def first_difference(disk, image):
    """The offset of the first byte of an image that a disk does not hold, or None."""
    with open(disk, "rb") as a, open(image, "rb") as b:
        at = 0
        while want := b.read(MIB):
            got = a.read(len(want))
            if got != want:
                return at + next((i for i, (x, y) in enumerate(zip(got, want)) if x != y), len(got))
            at += len(want)
    return None
