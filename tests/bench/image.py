# SPDX-License-Identifier: Apache-2.0
"""The image: a partition with ext4 and a system's files on about half of it, and its .xz."""

import hashlib
import os
import pathlib
import random
import shutil
import subprocess

MIB = 1 << 20
CACHE = pathlib.Path(os.environ.get("FLEETFLASH_BENCH_CACHE", pathlib.Path.home() / ".cache/fleetflash-bench"))
RECIPE = 1  # a change here makes new images
SOURCES = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/share")


def _collect(tree, wanted):
    """Copies files of this machine's system, chosen by a hash of their names, until there is enough."""
    files = []
    for top in SOURCES:
        for folder, _, names in os.walk(top):
            files += [os.path.join(folder, name) for name in names]
    files.sort(key=lambda path: hashlib.sha256(path.encode()).digest())
    size = 0
    for path in files:
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        length = os.path.getsize(path)
        if length > wanted // 40:  # no single file decides what it is like
            continue
        target = tree / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        size += (length + 4095) // 4096 * 4096
        if size >= wanted:
            return


def make(size_mib):
    """Paths of the raw image and its .xz; made at the first call, then kept in CACHE."""
    name = f"image-{size_mib}-{RECIPE}"
    raw, packed = CACHE / f"{name}.img", CACHE / f"{name}.img.xz"
    if packed.exists() and raw.exists():
        return raw, packed
    CACHE.mkdir(parents=True, exist_ok=True)
    work = CACHE / f"{name}.work-{os.getpid()}"
    work.mkdir()
    try:
        _collect(work / "tree", int(size_mib * MIB * 0.5))
        image = work / "image"
        with open(image, "wb") as file:
            file.truncate(size_mib * MIB)
        subprocess.run(["sfdisk", "-q", image], input="label: dos\nstart=2048, type=83\n", text=True, check=True)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", work / "tree", "-E",
                        f"offset={MIB},root_owner=0:0", image, f"{size_mib - 1}m"], check=True)
        # One block and one thread: what unpacks it needs is the same everywhere.
        with open(work / "xz", "wb") as out:
            subprocess.run(["xz", "-6", "-T1", "-c", image], stdout=out, check=True)
        os.rename(image, raw)
        os.rename(work / "xz", packed)
    finally:
        shutil.rmtree(work)
    return raw, packed


def change(disk, size, block, percent):
    """Overwrites that share of the disk's blocks, always the same ones; their number."""
    count = size // block
    chosen = random.Random(1).sample(range(count), max(1, count * percent // 100))
    with open(disk, "r+b") as file:
        for index in chosen:
            file.seek(index * block + block // 2)
            file.write(b"changed by the benchmark")
    return len(chosen)
