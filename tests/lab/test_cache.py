#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The cache of decoded images under what goes wrong with it: two runs at once, a run that is killed while it
decodes, a file system that fills up, bytes that change on the disk. Devices get the image or stay as they are."""

import os
import signal
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check, same_as_image
from cuts import Flasher
from lab import Lab, require

# Runs a command with a small file system of its own over the cache directory.
SMALL = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


def spools(lab, kind="spool"):
    return sorted(lab.cache_dir.glob(f"*.{kind}"))


def ready(flasher):
    """What the run said of its image, or None."""
    return next((e for e in list(flasher.events) if e["event"] == "image_ready"), None)


def clear(lab):
    for path in lab.cache_dir.glob("*"):
        path.unlink()


def begin(lab, device, mode, image, *args):
    return Flasher(lab, device, lab.dir / f"state-{device.name}", "-i", lab.dir / f"{device.name}-{mode}.yaml", *args, image)


def stop_while_decoding(lab, device, image, how):
    """Starts a run on an empty cache and sends it a signal while it fills its spool file."""
    for _ in range(10):
        clear(lab)
        flasher = begin(lab, device, "stage", image, "--yes")
        while flasher.process.poll() is None and not ready(flasher):
            if any(p.stat().st_size > 0 for p in spools(lab, "partial")):
                flasher.process.send_signal(how)
                if not spools(lab) and spools(lab, "partial"):
                    return flasher
                break
            time.sleep(0.0005)
        flasher.kill()
    check("a run can be stopped while it decodes", False, flasher.told())


def check_holds(device, image, version, count):
    check(f"{device.name}: its disk was the image", device.reboots() == count and same_as_image(device.snapshots[-1], image)
          and device.image_version() == version, device.console_text()[-2000:])


def test_killed(lab, image):
    """SIGKILL while the store is written. Nothing of it is used, and nothing of it stays."""
    device = lab.devices[0]
    flasher = stop_while_decoding(lab, device, image, signal.SIGKILL)
    flasher.finish()
    check("killed while it decodes: a half-made file is left", spools(lab, "partial") and not spools(lab))
    for cached in (False, True):
        flasher = begin(lab, device, "stage", image, "--check")
        code = flasher.finish()
        check(f"the next run {'takes it from the cache' if cached else 'decodes it again'}",
              code == 0 and ready(flasher)["from_cache"] == cached and len(spools(lab)) == 1
              and not spools(lab, "partial"), flasher.told())


def test_two(lab, image, raw):
    """Two runs at once on an empty cache: the second waits for the first, which decodes for both."""
    first, second = lab.devices
    a = stop_while_decoding(lab, first, image, signal.SIGSTOP)
    b = begin(lab, second, "stream", image, "--yes")
    time.sleep(2)
    check("the second run waits for the first one's store", ready(b) is None and b.process.poll() is None, b.told())
    a.process.send_signal(signal.SIGCONT)
    codes = (a.finish(), b.finish())
    check("both end with 0, and one has decoded", codes == (0, 0) and not ready(a)["from_cache"]
          and ready(b)["from_cache"], a.told() + b.told())
    for d in lab.devices:
        check_holds(d, raw, "new", 1)


def test_full(lab, image, other):
    """A cache that is too small: a clear error. One that has room for one image only: the old one goes."""
    device = lab.devices[0]
    boot_id = device.boot_id()
    inventory = lab.dir / f"{device.name}-stage.yaml"

    def run(size, *commands):
        script = " && ".join('"$1" ' + " ".join(f"'{w}'" for w in words) for words in commands)
        program, *rest = map(str, lab.fleetflash_argv())
        return lab.run(["sh", "-c", SMALL, "small", size, lab.cache_dir, "sh", "-c", script, "sh", program],
                       text=True, capture_output=True)

    base = ["--state-dir", lab.dir / "state-full", "--cache-dir", lab.cache_dir, "-i", inventory]
    for extra in ([], ["--no-cache"]):
        p = run("3m", [*base, *extra, "--yes", image])
        print(p.stderr, flush=True)
        check(f"{' '.join(extra) or 'with a cache'}: no room is exit code 2, said with figures, and the device is left alone",
              p.returncode == 2 and "MiB" in p.stderr and "nothing was touched" in p.stderr
              and device.boot_id() == boot_id, f"{p.returncode}\n{p.stdout}{p.stderr}")
    p = run("10m", [*base, "--check", other], [*base, "--check", image])
    check("with room for one, the unused one makes room", p.returncode == 0, p.stdout + p.stderr)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 0x10]))


def test_flipped(lab, image, old):
    """A byte of the store changes: between two runs, and while one is under way."""
    stage, stream = lab.devices
    clear(lab)
    check("the image is in the cache", begin(lab, stage, "stage", image, "--check").finish() == 0)
    spool = spools(lab)[0]
    flip(spool, spool.stat().st_size // 2)
    again = begin(lab, stage, "stage", image, "--check")
    code = again.finish()
    check("a flipped byte is found when the store is opened, the image is decoded again",
          code == 0 and not ready(again)["from_cache"], again.told())

    boot_id = stage.boot_id()
    for device, mode in ((stage, "stage"), (stream, "stream")):
        device.limit_rate("4mbit")
    runs = [begin(lab, d, m, image, "--yes") for d, m in ((stage, "stage"), (stream, "stream"))]
    for flasher in runs:
        check("blocks are on their way", flasher.wait_for("first block"), flasher.told())
    for at in range(spool.stat().st_size // 2, spool.stat().st_size - 65536, 16384):
        flip(spool, at)
    for d in lab.devices:
        d.limit_rate(None)
    codes = [flasher.finish() for flasher in runs]
    for flasher in runs:
        print(flasher.told(), flush=True)
    a, b = (flasher.done() for flasher in runs)
    check(f"staged: {a['error'] and a['error']['text']}", codes[0] == 1 and a["outcome"] == "failed"
          and a["damage"] == "untouched" and a["error"]["class"] == "io", str(a))
    check("staged: the old system runs on", stage.boot_id() == boot_id and stage.image_version() == old)
    check(f"streamed: {b['error'] and b['error']['text']}", codes[1] == 1 and b["outcome"] == "failed"
          and b["damage"] == "incomplete" and b["error"]["class"] == "io", str(b))
    check("streamed: half-written, it waits and is not rebooted", stream.reboots() == 1)


def main():
    require()
    with Lab() as lab:
        for n in (1, 2):
            lab.device(f"node-{n}", kind="busybox", layout="mbr-boot", mem="128M")
        lab.boot_all()
        for d in lab.devices:
            for mode in ("stage", "stream"):
                lab.inventory([d], name=f"{d.name}-{mode}.yaml", host=lambda d: {"mode": mode, "after": {"host_key": "accept-once"}},
                              defaults={"retries": 2, "connect_timeout": "10s"})
        known = "".join(lab.known_hosts(version=v).read_text() for v in ("old", "new"))
        (lab.home / ".ssh" / "known_hosts").write_text(known)
        image, raw = (lab.image("busybox", "mbr-boot", "new", compress=c) for c in ("bz2", "none"))
        old, old_raw = (lab.image("busybox", "mbr-boot", "old", compress=c) for c in ("bz2", "none"))
        test_killed(lab, image)
        test_full(lab, image, old)
        test_two(lab, image, raw)
        # From now on it is the old image that is flashed.
        test_flipped(lab, old, "new")
        codes = [begin(lab, lab.devices[0], "stage", old, "--yes").finish(),
                 Flasher(lab, lab.devices[1], lab.dir / "state-node-2", "--resume").finish()]
        check("another run, and --resume, decode it again: both are flashed", codes == [0, 0], str(codes))
        for d in lab.devices:
            check_holds(d, old_raw, "old", 2)


if __name__ == "__main__":
    main()
