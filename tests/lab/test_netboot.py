#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Boards with nothing on their disks are flashed by their boot loaders: real U-Boots fetch the image from
the program's TFTP server, write it, report, and boot a Linux kernel from the disk they wrote. One has its address
by DHCP, one loses packets, one has a U-Boot that can do more. A board whose live flash is cut off in the middle is
mended in that way. One is reset through a GPIO line by the run that flashes it."""

import json
import os
import re
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import gpio
import loader
import netboard
import tftp
import wired
from check import check, outcomes
from lab import Lab, require


LEASED = "10.77.0.201"  # of the board that asks a DHCP server
OTHER = "10.77.0.250"  # of somebody who is no board
PORT = 6969  # of the board whose U-Boot can ask at another one than 69


def prepare(lab, boards, inventory):
    """Makes the boot script of the boards' inventory and puts it into their flash memories."""
    script = lab.dir / "boot.scr"
    p = netboard.recovery(lab, "script", "-i", inventory, "-o", script)
    check(f"the boot script for {len(boards)} boards", p.returncode == 0 and f"{len(boards)} board" in p.stderr, p.stderr)
    for d in boards:
        d.put_script(script)


def serve_dhcp(lab, board):
    """A DHCP server with one address, which is not the one that the inventory gives the board. Ends with the lab."""
    config = lab.dir / "udhcpd.conf"
    (lab.dir / "leases").touch()
    config.write_text(f"""interface br0
start {LEASED}
end {LEASED}
lease_file {lab.dir}/leases
pidfile {lab.dir}/udhcpd.pid
option subnet 255.255.255.0
static_lease {board.mac} {LEASED}
""")
    with open(lab.dir / "udhcpd.log", "wb") as log:
        subprocess.Popen(lab.network.enter(["busybox", "udhcpd", "-f", config]), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def ask_as_other(lab, board, results):
    """Asks for a board's files from another address, once the board itself has asked and before it is done."""
    while "rpi_image_part_" not in board.loader_text():
        time.sleep(0.1)
    results.append(subprocess.run(lab.network.enter(
        ["curl", "-sS", "-m", "5", "--interface", OTHER, f"tftp://10.77.0.1/{board.mac}/boot.scr"]),
        capture_output=True, text=True))


def check_dhcp(board, stderr, asked):
    check(f"{board.name} asked from the address that it was given", f"asks from {LEASED}" in stderr and
          f"DHCP client bound to address {LEASED}" in board.loader_text(), board.loader_text()[-3000:])
    check("another one who asks for its files is refused, and told of", asked and asked[0].returncode != 0 and
          re.search(rf"{re.escape(OTHER)} asks for \S*boot\.scr", " ".join(stderr.split())), str(asked))


def check_loader(board, stderr):
    """What only a U-Boot can do that was built for it."""
    text = board.loader_text()
    check(f"{board.name} reports by tftpput", "TFTP to server 10.77.0.1" in text and "report/OK" not in text, text[-3000:])
    check("what it says is in its log, by netconsole", all(re.search(rf"{board.name}: console: {words}", stderr) for words in (
        r"Filename '\S*/rpi_image_part_0'", r"crc32 for [0-9a-f]+ \.\.\. [0-9a-f]+ ==> [0-9a-f]{8}", r"TFTP to server")), stderr[-3000:])
    check("but for the marks of its progress", not re.search(r"console:[ #]*$", stderr, re.M))


def check_consoles(boards, stderr):
    """Of several boards that send their consoles here each is heard in its own log; one of them has its address by DHCP."""
    by_dhcp, _, last = boards
    names = {d.mac.replace(":", "-"): d.name for d in boards}
    said = re.findall(r"(\S+): console: (?:Filename '|TFTP.*?;.*)?([0-9a-f-]{17})/", stderr)
    check("by DHCP too", (by_dhcp.name, by_dhcp.mac.replace(":", "-")) in said and re.search(
        rf"{by_dhcp.name}: console: .*our IP address is {re.escape(LEASED)}", stderr), str(said))
    check("each in its own log", {name for name, _ in said} == {by_dhcp.name, last.name} and
          all(names[mac] == name for name, mac in said), str(said))


def flash_all(lab, boards, image, packed, able):
    """Boards with nothing on their disks: nobody but their boot loaders can flash them."""
    by_dhcp, lossy, last = boards
    console = {"netconsole": "yes"} if able else {}
    more = {by_dhcp.name: {"address": "dhcp", **console}, last.name: {"port": PORT, **console} if able else {}}
    inventory = lab.inventory(boards, host=lambda d: {
        "mode": "netboot", "mac": d.mac, "reset": {"command": d.reset_command()}, "reboot_timeout": "2m",
        "netboot": {**d.netboot(), "part_size": "24M", **more.get(d.name, {})}})
    report = lab.dir / "report.json"
    prepare(lab, boards, inventory)
    serve_dhcp(lab, by_dhcp)
    lab.network.ip("address", "add", f"{OTHER}/24", "dev", "br0")
    for d in boards:
        d.boot()
    tftp.lose(lab.network, lossy.ip, 3)
    p = lab.fleetflash("-i", inventory, "--check", packed)
    check("--check: 0", p.returncode == 0, p.stdout + p.stderr)
    asked = []
    threading.Thread(target=ask_as_other, args=(lab, by_dhcp, asked), daemon=True).start()
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, packed)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + "".join(f"--- {d.name}\n{d.loader_text()[-6000:]}\n" for d in boards))
    check("one of them lost packets", tftp.lost(lab.network) > 0)
    check("every outcome is flashed", set(outcomes(report).values()) == {"flashed"}, report.read_text())
    check("the first of the five parts comes last, and is all that is left to verify then", all(
        f"{d.name}: transfer: writing part 5 of 5" in p.stderr and f"{d.name}: verify: writing part 1 of 5" in p.stderr
        for d in boards))
    for t in json.loads(report.read_text())["targets"]:
        check(f"{t['name']}: by netboot, all of it", t["mode"] == "netboot" and
              t["bytes_written"] == image.stat().st_size, json.dumps(t))
    for d in boards:
        check(f"{d.name} runs the new image", d.image_version() == "new", d.loader_text()[-2000:])
    check_dhcp(by_dhcp, p.stderr, asked)
    if able:
        check_loader(last, p.stderr)
        check_consoles(boards, p.stderr)


def cut_power_while_written(d):
    """Waits until the head of the disk is gone, then takes the power away for a moment."""
    with open(d.disk, "rb", buffering=0) as disk:
        while any(os.pread(disk.fileno(), 512, 0)):
            time.sleep(0.02)
    d.power_cut()
    d.boot()


def escalate(lab, d, packed):
    """A live flash whose board loses its power in the middle of the write: its boot loader mends it."""
    inventory = lab.inventory([d], name="live.yaml", defaults={"retries": 0, "connect_timeout": "5s"}, host=lambda d: {
        "mode": "stream", "mac": d.mac, "reset": {"command": d.reset_command()}, "recovery": "netboot",
        "netboot": {**d.netboot(), "part_size": "40M"}})
    prepare(lab, [d], inventory)
    d.boot()
    d.wait_ssh(180)
    check(f"{d.name} runs the old image", d.image_version() == "old")
    cutter = threading.Thread(target=cut_power_while_written, args=(d,))
    cutter.start()
    report = lab.dir / "live.json"
    p = lab.fleetflash("-i", inventory, "--yes", "-v", "--report", report, packed)
    print(p.stderr, flush=True)
    check("exit code 0", p.returncode == 0, p.stdout[-4000:] + d.loader_text()[-6000:])
    cutter.join()
    target, = json.loads(report.read_text())["targets"]
    check("it was mended by its boot loader in the same run", target["outcome"] == "flashed" and
          target["mode"] == "netboot" and "flashed by its boot loader" in p.stderr and
          target.get("bytes_skipped", 0) == 0, json.dumps(target))
    check(f"{d.name} runs the new image", d.image_version() == "new", d.loader_text()[-2000:])


def flash_by_line(lab, packed):
    """Begins to flash boards that are reset through GPIO lines. The real one is off until its line has pulsed."""
    board = lab.device("wired", kind="netboard")
    others = wired.Wired(lab, board, packed, long="long" in sys.argv)
    prepare(lab, [board], others.good)
    others.start()
    return others


def able_firmware():
    """The path of a U-Boot that can do more than the distribution's build, or None; and why there is none."""
    try:
        reason = loader.missing()
        return (None, reason) if reason else (loader.firmware(), None)
    except loader.NoSource as e:
        return None, str(e)


def main():
    require()
    if reason := netboard.missing() or gpio.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    firmware, lacking = able_firmware()
    with Lab() as lab:
        image, packed = netboard.raw("new"), netboard.packed("new")
        boards = [lab.device(f"board-{n}", kind="netboard", firmware=file)
                  for n, file in enumerate((firmware or netboard.FIRMWARE, netboard.FIRMWARE, firmware or netboard.FIRMWARE), 1)]
        flash_all(lab, boards, image, packed, able=firmware is not None)
        for d in boards:
            d.power_cut()
        # Both wait more than they work.
        others = flash_by_line(lab, packed)
        escalate(lab, lab.device("live", kind="netboard", version="old"), packed)
        others.join()
        others.judge()
    if lacking:
        print(f"SKIP: all is well with the distribution's U-Boot; another one was not tried: {lacking}")
        sys.exit(77)


if __name__ == "__main__":
    main()
