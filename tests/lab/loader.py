# SPDX-License-Identifier: Apache-2.0
"""A U-Boot that can what distributions' builds of it cannot: tftpput, TFTP ports other than 69, netconsole.

Built once from the distribution's own source package. Apt's sources need not name source packages, and are not
touched: copies of them are made that do.
"""

import os
import pathlib
import re
import shutil
import subprocess

import cache
from cache import HERE, run

SOURCE = "u-boot"
BOARD = "qemu_arm64"
# Several consoles at once (MUX) work only where the environment says which (U-Boot 2023.01).
OPTIONS = ["CMD_TFTPPUT", "TFTP_PORT", "NETCONSOLE", "CONSOLE_MUX", "SYS_CONSOLE_IS_IN_ENV", "CMD_HASH"]
TOOLS = ["aarch64-linux-gnu-gcc", "make", "gcc", "flex", "bison", "bc", "dpkg-source"]


class NoSource(Exception):
    """The source package cannot be had here; why is the text."""


def source_lists(directory):
    """Copies of apt's sources, of both formats, with source packages in place of binary ones."""
    words = run("apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS", "Dir::Etc::sourceparts/d")
    where = dict(re.findall(r"^(\w+)='(.*)'$", words, re.M))
    parts = pathlib.Path(where["PARTS"])
    files = [pathlib.Path(where["LIST"]), *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    for number, path in enumerate(p for p in files if p.is_file()):
        text = path.read_text(errors="replace")
        if path.suffix == ".sources":
            text = re.sub(r"(?im)^Types:.*$", "Types: deb-src", text)
        else:
            text = re.sub(r"(?m)^\s*deb\s", "deb-src ", re.sub(r"(?m)^\s*deb-src\s.*$", "", text))
        (directory / f"{number}{path.suffix}").write_text(text)


def download(directory):
    """Unpacks the source package; returns its tree."""
    lists = directory / "apt"
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (lists / name).mkdir(parents=True)
    source_lists(lists / "parts")
    apt = ["apt-get", "-q", "-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::Etc::SourceParts={lists}/parts",
           "-o", f"Dir::State::Lists={lists}/lists", "-o", f"Dir::Cache={lists}/cache", "-o", "APT::Sandbox::User=root"]
    # Other people's sources have no source packages, which is an error to apt.
    subprocess.run([*apt, "update"], stdin=subprocess.DEVNULL, capture_output=True)
    try:
        run(*apt, "source", SOURCE, cwd=directory)
    except RuntimeError as e:
        raise NoSource(f"the source package {SOURCE} cannot be had: {str(e)[-1500:]}") from None
    return next(directory.glob(f"{SOURCE}-*/"))


def build(part):
    directory = pathlib.Path(f"{part}.tree")
    directory.mkdir()
    tree = download(directory)
    make = ["make", "-s", "-C", tree, "CROSS_COMPILE=aarch64-linux-gnu-"]
    run(*make, f"{BOARD}_defconfig")
    # What signs EFI capsules on this machine wants one more library.
    run(tree / "scripts/config", "--file", tree / ".config", "--disable", "TOOLS_MKEFICAPSULE",
        *(word for option in OPTIONS for word in ("--enable", option)))
    run(*make, "olddefconfig")
    config = (tree / ".config").read_text()
    for option in OPTIONS:
        if f"CONFIG_{option}=y\n" not in config:
            raise RuntimeError(f"this U-Boot cannot be built with {option}")
    run(*make, f"-j{os.cpu_count()}", "u-boot.bin")
    shutil.copy(tree / "u-boot.bin", part)


def missing():
    """Why it cannot be built here, or None; that there is no source shows only when it is fetched."""
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"{tool} is needed: run tests/install-deps"
    return None


def firmware():
    """The built U-Boot. The first call takes a minute; NoSource where there is none."""
    key = cache.hash_of(HERE / "loader.py")
    return cache.made(cache.cache_dir() / "bootstrap" / f"u-boot-{key}" / "u-boot.bin", build)
