#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The program as a whole, without a device: what it leaves behind, and what it says at its end.

command_test.py PROGRAM [LIBRARY]

No step has a time limit of its own: what hangs is ended by ctest's.

The LIBRARY takes a thread away (no_thread.c); it cannot be had beside sanitizers.
"""

import datetime
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

os.environ["LC_ALL"] = "C.UTF-8"
program = pathlib.Path(sys.argv[1]).resolve()
library = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
INVENTORY = """
defaults: {user: nobody, port: 1, retries: 0, after: {host_key: accept-once}}
groups: {lab: {hosts: {"pi-[01:03]": {host: "127.0.0.[1:3]"}}}}
"""
BOARDS = """
defaults: {netboot: {server: 127.0.0.1}}
groups: {lab: {hosts: {pi: {host: 127.0.0.2, mac: "02:00:00:00:00:01", mode: netboot, reset: {command: "true"}}}}}
"""
JOURNAL = pathlib.Path("state/journal.sqlite")


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got}, not {wanted}")
    print(f"ok: {what}")


def run(*words, **more):
    more = {"stdout": subprocess.PIPE, **more}
    return subprocess.run([program, *words], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, **more)


def check(*words, **more):
    return run("-i", "lab.yaml", "--check", "--state-dir", "state", "--cache-dir", "cache",
               *words, **more)


def output_that_cannot_be_written():
    for words in (["--list", "-i", "lab.yaml"], ["--list", "--json", "-i", "lab.yaml"], ["--help"],
                  ["--history", "--state-dir", "state"], ["inventory", "import", "boards.csv"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            end = run(*words, stdout=full)
        expect(f"{words[0]}: a full disk", end.returncode, 2)
        expect(f"{words[0]}: is said", "cannot write to standard output: No space left" in end.stderr,
               True)
        reading, writing = os.pipe()
        os.close(reading)
        end = run(*words, stdout=writing)
        os.close(writing)
        expect(f"{words[0]}: a reader that has enough", (end.returncode, end.stderr), (0, ""))


def a_card_keeps_its_name():
    pathlib.Path("boards.yaml").write_text(BOARDS, encoding="ascii")
    os.mkfifo("card")  # a device would take root; it is no file either
    for command in ("script", "image"):
        end = run("recovery", command, "-i", "boards.yaml", "-o", "card")
        expect(f"recovery {command} to what is no file", end.returncode, 2)
        expect(f"recovery {command}: what is said", end.stderr.splitlines()[-1],
               "fleetflash: card is there and no regular file"
               " — name a file, and copy that one to the card")
        expect(f"recovery {command}: it is still there", pathlib.Path("card").is_fifo(), True)
    expect("recovery script to a file",
           run("recovery", "script", "-i", "boards.yaml", "-o", "boot.scr").returncode, 0)
    pathlib.Path("far.yaml").write_text(BOARDS.replace("127.0.0.1", "10.9.9.9"), encoding="ascii")
    end = run("recovery", "script", "-i", "far.yaml", "-o", "boot.scr")
    expect("recovery script for a board without a route", (end.returncode, end.stderr.splitlines()[0]),
           (0, "warning: pi with the address 127.0.0.2 does not have this machine's address 10.9.9.9 in its network"
               " — write netboot: {gateway}, {netmask} or {server}"))
    end = run("recovery", "script", "-i", "boards.yaml", "-o", "-")
    expect("recovery script to standard output", (end.returncode, pathlib.Path("-").exists()), (2, False))


def a_card_without_a_device_tree():
    if shutil.which("mcopy") is None or shutil.which("mkfs.vfat", path="/usr/sbin:/sbin") is None:
        return
    firmware = pathlib.Path("firmware")
    firmware.mkdir()
    (firmware / "start4.elf").touch()
    for tree in ("", "bcm2711-rpi-4-b.dtb"):
        if tree:
            (firmware / tree).touch()
        end = run("recovery", "image", "-q", "-i", "boards.yaml", "-o", "card.img", "firmware")
        expect(f"a card with {tree or 'no device tree'}", (end.returncode, "no device tree" in end.stderr), (0, not tree))


def a_card_is_the_same_tomorrow():
    """Whatever the time, its zone, and the order in which the files were made; as a user without sbin."""
    if shutil.which("mcopy") is None or shutil.which("mkfs.vfat", path="/usr/sbin:/sbin") is None:
        print("skipped: mtools and dosfstools are not here")
        return
    names = ["config.txt", "overlays/b.dtbo", "overlays/a.dtbo", "u-boot.bin"]
    images = []
    for order, zone in ((names, "UTC0"), (names[::-1], "EST5")):
        folder = pathlib.Path(zone)
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name, encoding="ascii")
            os.utime(folder / name, (len(images) * 10**9, len(images) * 10**9))
        (folder / "more/overlays").mkdir(parents=True)
        (folder / "more/overlays/c.dtbo").write_text("c", encoding="ascii")
        victim = pathlib.Path("victim")
        victim.write_text("mine", encoding="ascii")
        pathlib.Path("card.img.part").symlink_to("victim")
        end = run("recovery", "image", "-i", "boards.yaml", "-o", "card.img", str(folder), str(folder / "more"),
                  env={**os.environ, "TZ": zone, "PATH": "/usr/bin:/bin"})
        expect(f"a card in {zone}", (end.returncode, end.stderr),
               (0, "card.img: an SD card for 1 board; write it whole to the card\n"))
        expect("a link where it is made is not followed", victim.read_text(encoding="ascii"), "mine")
        images.append(pathlib.Path("card.img").read_bytes())
        shutil.rmtree(folder)
        time.sleep(2 if len(images) == 1 else 0)  # FAT counts in steps of two seconds
    expect("a card has the partition behind 4 MiB", len(images[0]), (4 + 128) << 20)
    expect("the same card", images[0] == images[1], True)
    found = subprocess.run(["mdir", "-i", "card.img@@4M", "-b", "-/", "::"], stdout=subprocess.PIPE, text=True,
                           check=True).stdout.split()
    expect("what is on it", sorted(found),
           ["::/boot.scr", "::/config.txt", "::/more/", "::/more/overlays/", "::/more/overlays/c.dtbo", "::/overlays/",
            "::/overlays/a.dtbo", "::/overlays/b.dtbo", "::/overlays/c.dtbo", "::/u-boot.bin"])



def a_machine_without_threads():
    # The journal's, that of the lines on standard error, and that of the events.
    for number in range(3):
        end = check("--json", env={**os.environ, "LD_PRELOAD": str(library),
                                   "NO_THREAD": str(number)})
        expect(f"thread {number} is missing", end.returncode, 2)
        expect(f"thread {number} is missing: is said", "thread" in end.stderr, True)


def a_dead_device_before_the_window():
    """One is refused at once, one says nothing: that one waits until the window opens."""
    mute = socket.create_server(("127.0.0.1", 0))
    opens = datetime.datetime.now() + datetime.timedelta(minutes=30)
    closes = opens + datetime.timedelta(hours=1)
    hosts = f"{{gone: {{host: 127.0.0.1, port: 1}}, mute: {{host: 127.0.0.1, port: {mute.getsockname()[1]}}}}}"
    pathlib.Path("night.yaml").write_text(
        "defaults: {retries: 0, connect_timeout: 30m, after: {host_key: accept-once}}\n"
        f"rollout: {{waves: [{{groups: [lab], window: '{opens:%H:%M}-{closes:%H:%M}'}}]}}\n"
        f"groups: {{lab: {{hosts: {hosts}}}}}\n", encoding="ascii")
    table = bytes(446) + struct.pack("<4x B 3x 2I", 0x83, 64, 1024) + bytes(48) + b"\x55\xaa"
    pathlib.Path("disk.img").write_bytes(table + b"x" * ((1 << 20) - len(table)))
    process = subprocess.Popen([program, "-i", "night.yaml", "--yes", "--state-dir", "night",
                                "--cache-dir", "cache", "disk.img"], stderr=subprocess.PIPE,
                               stdin=subprocess.DEVNULL, text=True)
    told = ""
    while "gone: failed" not in told or "for its window" not in told:
        line = process.stderr.readline()
        if line == "":
            break
        told += line
    process.send_signal(signal.SIGINT)
    told += process.communicate()[1]
    mute.close()
    expect("a dead device before the window", ("waits for its window" in told, "is closed" in told),
           (True, False))
    expect("and ^C while it is waited for", process.returncode, 130)


def what_a_command_says():
    pathlib.Path("rude.yaml").write_text(BOARDS.replace('"true"', '"printf \'\\\\033[2Jno\' >&2; false"'),
                                         encoding="ascii")
    end = run("reset", "-i", "rude.yaml", "--state-dir", "state", "pi")
    expect("the terminal is left alone", "\x1b" in end.stderr, False)
    expect("what the reset command says", "\\x1b[2Jno" in end.stderr, True)


def events_that_cannot_be_written():
    with open("/dev/full", "w", encoding="ascii") as full:
        end = check("--json", stdout=full)
    expect("--json: a full disk is no reason to fail", end.returncode, 1)  # nobody is there
    expect("--json: is said", end.stderr.splitlines()[-1],
           "fleetflash: not all events could be written to standard output: No space left on device")
    expect("--json: nothing to say", "not all events" in check("--json").stderr, False)


def a_check_leaves_no_trace():
    expect("--history", run("--history", "--state-dir", "state").stdout, "no run yet\n")
    expect("--check", check().returncode, 1)
    journal = sqlite3.connect(JOURNAL)
    expect("events after a check", journal.execute("SELECT count(*) FROM events").fetchone()[0], 0)
    journal.close()


def who_may_read_a_report():
    for name, mask, mode in (("open.json", 0o022, 0o644), ("closed.json", 0o077, 0o600)):
        check("--report", name, umask=mask)
        expect(f"{name} with umask {mask:03o}", os.stat(name).st_mode & 0o777, mode)
    check("--report", "closed.json", umask=0o022)
    expect("closed.json, written again", os.stat("closed.json").st_mode & 0o777, 0o600)


def a_clock_that_was_set_back():
    journal = sqlite3.connect(JOURNAL)
    journal.execute("INSERT INTO runs (id, inventory, image, image_id, started, ended, exit_code)"
                    " VALUES ('r', '/i', '/x', '', 2000000000000, 2000000000001, 0)")
    journal.execute("INSERT INTO targets (run, name, step, state, outcome, error, damage)"
                    " VALUES ('r', 'one', 'done', 'reachability', 'flashed', '', '')")
    for time in (2000000000000, 1999999990000):
        journal.execute("INSERT INTO transitions (run, target, time, step, state, outcome, error)"
                        f" VALUES ('r', 'one', {time}, 'done', 'verify', '', '')")
    journal.commit()
    journal.close()
    lines = run("--show", "r", "-v", "--state-dir", "state").stdout.splitlines()
    expect("a step before the first one", [line.split()[0] for line in lines if "verify" in line],
           ["+0s", "+0s"])


def boards_that_are_flashed_by_their_loaders():
    table = bytes(440) + b"test" + bytes(2) + struct.pack("<4x B 3x 2I", 0x83, 64, 1024) + bytes(48) + b"\x55\xaa"
    pathlib.Path("mbr.img").write_bytes(table + b"x" * ((1 << 20) - len(table)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        pathlib.Path("by_hand.yaml").write_text(BOARDS.replace("{server: 127.0.0.1}",
            f"{{server: 127.0.0.1, port: {port}}}").replace(', reset: {command: "true"}', ""), encoding="ascii")
        words = ["-i", "by_hand.yaml", "--check", "--state-dir", "state", "--cache-dir", "cache", "--accept-once"]
        taken = run(*words, "mbr.img")
    expect("a port that another server has", taken.returncode, 1)
    expect("a port that another server has: what is said",
           f"pi: failed: TFTP server: UDP port {port} of 127.0.0.1 is in use — `ss -ulpn sport = :{port}` says by "
           f"whom: stop it, or write another netboot: {{port}} or {{server}}" in taken.stderr, True)
    end = run(*words, "mbr.img")
    expect("a board without a reset", end.returncode, 0)
    expect("a board without a reset: the plan", [line.split(None, 1)[1] for line in end.stderr.splitlines()
                                                 if line.startswith(("  stops", "  disk"))],
           ["mmc 0 (U-Boot's), behind its first partition", "everything: SOMEBODY HAS TO RESET IT, by hand"])
    end = run(*words[:-1], "mbr.img")
    expect("a new key that nobody vouches for", (end.returncode, "\n0 of 1 target can be flashed, 1 would fail\n" in end.stderr),
           (1, True))
    expect("a new key that nobody vouches for: what is said",
           "pi: failed: the new system will have a new host key that nobody vouches for — give" in end.stderr, True)
    pathlib.Path("never.yaml").write_text(
        f"defaults: {{mode: netboot, after: {{host_key: accept-once}}, netboot: {{server: 127.0.0.1, port: {port}, timeout: 5s}}}}\n"
        "groups: {lab: {hosts: {left: {host: 127.0.0.2, mac: 02-00-00-00-00-01},"
        ' reset: {host: 127.0.0.3, mac: 02-00-00-00-00-02, reset: {command: "true"}},'
        " lineless: {host: 127.0.0.4, mac: 02-00-00-00-00-03, reset: {chip: nochip, line: 1}}}}}\n", encoding="ascii")
    told = run("-i", "never.yaml", "--yes", "--state-dir", "never", "--cache-dir", "cache", "mbr.img").stderr
    for name, meaning in (("left", "in transfer, its old system was left as it was"),
                          ("reset", "in transfer, its old system had to be rebooted, untouched"),
                          ("lineless", "in probe, its old system was left as it was")):
        expect(f"what became of the board '{name}'", f"\n  {name}: failed {meaning}\n" in told, True)
    pathlib.Path("named.yaml").write_text("groups: {lab: {hosts: {pi.lan: {mac: 02-00-00-00-00-01}}}}\n", encoding="ascii")
    end = run("-i", "named.yaml", "--check", "--mode", "netboot", "--state-dir", "state", "mbr.img")
    expect("--mode netboot of a name", end.returncode, 2)
    expect("--mode netboot of a name: what is said", end.stderr.splitlines(),
           ["named.yaml:1:24: 'pi.lan' is a name: its boot loader's address must be known; write host: 10.0.0.11 or "
            "netboot: {address: dhcp}"])


# The journal syncs at each step: on a disk that others keep busy that takes minutes in sum.
memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
with tempfile.TemporaryDirectory(dir=memory) as folder:
    os.chdir(folder)
    pathlib.Path("lab.yaml").write_text(INVENTORY, encoding="ascii")
    pathlib.Path("boards.csv").write_text("02:00:00:00:00:01,10.0.0.1,17\n", encoding="ascii")
    output_that_cannot_be_written()
    a_card_keeps_its_name()
    a_card_is_the_same_tomorrow()
    a_card_without_a_device_tree()
    what_a_command_says()
    boards_that_are_flashed_by_their_loaders()
    a_dead_device_before_the_window()
    events_that_cannot_be_written()
    a_check_leaves_no_trace()
    who_may_read_a_report()
    a_clock_that_was_set_back()
    if library is not None:
        a_machine_without_threads()
