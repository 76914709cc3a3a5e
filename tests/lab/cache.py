# SPDX-License-Identifier: Apache-2.0
"""Things that are slow to make, made once: a directory of files with a recipe's hash."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

# What decides how an image comes out. A change in one of these makes new images.
RECIPE = ["images.py", "initramfs.py", "roots.py", "writer.c", "roots"]


def cache_dir():
    """The directory that holds keys and images, shared by all checkouts of a user."""
    default = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return pathlib.Path(os.environ.get("FLEETFLASH_LAB_CACHE") or default / "fleetflash-lab")


def hash_of(*parts):
    """A short hash over strings and, for paths, over all files below them."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            files = sorted(part.rglob("*")) if part.is_dir() else [part]
            for f in files:
                if f.is_file():
                    h.update(f"{f.relative_to(HERE)} {f.stat().st_mode:o}\0".encode() + f.read_bytes())
        else:
            h.update(str(part).encode() + b"\0")
    return h.hexdigest()[:16]


def recipe_hash():
    """Changes whenever the recipe, the lab's kernel or the programs put into images do."""
    versions = subprocess.run(
        ["dpkg-query", "-W", "user-mode-linux", "busybox-static", "dropbear-bin", "dmsetup"],
        capture_output=True, text=True, check=True).stdout
    return hash_of(versions, *(HERE / name for name in RECIPE))


def recipe_dir():
    """Where this recipe's images are. Old recipes' images are dropped when a new one starts."""
    path = cache_dir() / "images" / recipe_hash()
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        # Another test may still use the one before, so two are kept.
        old = sorted((p for p in path.parent.iterdir() if p != path), key=lambda p: p.stat().st_mtime)
        for p in old[:-2]:
            shutil.rmtree(p, ignore_errors=True)
    return path


@contextlib.contextmanager
def locked(path):
    """Holds a lock beside path, so that two tests do not make the same file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / f".{path.name}.lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def made(path, make):
    """Returns path; if it does not exist, make(temporary path) writes it first.

    The file appears complete or not at all.
    """
    path = pathlib.Path(path)
    if path.exists():
        return path
    with locked(path):
        if not path.exists():
            with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as tmp:
                part = pathlib.Path(tmp) / path.name
                make(part)
                part.rename(path)
    return path


def run(*argv, **kw):
    """Runs a tool; its output is shown only when it fails."""
    argv = [str(a) for a in argv]
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", stdin=subprocess.DEVNULL, **kw)
    if p.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit code {p.returncode}\n{p.stdout}")
    return p.stdout
