#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The TFTP server of netboot with real clients: curl, tftp-hpa, atftp and busybox with the options they have, and
two boards with a real U-Boot, one of which loses packets."""

import concurrent.futures
import itertools
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import network
import tftp
import uboot
from check import check

MAC = "dc:a6:32:01:02:03"
SERVER = "10.77.0.1"
PART = 100 << 20  # more than 65,535 blocks of 1468 bytes
SMALL = 1 << 20
MANY = 300


class Bench:
    def __init__(self, net, directory):
        self.net, self.directory = net, directory
        self.count = itertools.count()

    def client(self, argv, timeout=120):
        return subprocess.run(self.net.enter(["timeout", str(timeout), *argv]), capture_output=True, text=True, cwd=self.directory)

    def fetch(self, server, name, argv, out):
        """Runs a client; returns what it fetched, or None where it failed."""
        (self.directory / out).unlink(missing_ok=True)
        p = self.client(argv)
        path = self.directory / out
        content = path.read_bytes() if path.exists() else None
        return content if p.returncode == 0 else None

    def curl(self, server, name, *options):
        out = f"out{next(self.count)}"
        return self.fetch(server, name, ["curl", "-sf", "--path-as-is", *options, "-o", out, f"tftp://{SERVER}:{server.port}/{name}"], out)

    def atftp(self, server, name, *options):
        out = f"out{next(self.count)}"
        words = [w for option in options for w in ("--option", option)]
        return self.fetch(server, name, ["atftp", *words, "-g", "-r", name, "-l", out, SERVER, str(server.port)], out)

    def hpa(self, server, name):
        out = f"out{next(self.count)}"
        return self.fetch(server, name, ["tftp", "-m", "binary", SERVER, str(server.port), "-c", "get", name, out], out)

    def busybox(self, server, name, *options):
        out = f"out{next(self.count)}"
        return self.fetch(server, name, ["busybox", "tftp", "-g", *options, "-r", name, "-l", out, SERVER, str(server.port)], out)


def test_options(bench, image, directory):
    """Every combination of options that a client has, on a part of odd size."""
    with tftp.Server(bench.net, image, directory, "--address", SERVER, "--mac", MAC, "--size", str(SMALL + 512)) as server:
        whole = image.read_bytes()
        part = whole[SMALL + 512:2 * (SMALL + 512)]
        name = f"{MAC}/rpi_image_part_1"
        wrong = []
        for blksize, no_options, timeout in itertools.product((None, 512, 1432, 1468, 9000), (False, True), (None, 5)):
            if no_options and blksize:
                continue
            options = [*(["--tftp-blksize", str(blksize)] if blksize else []), *(["--tftp-no-options"] if no_options else []),
                       *(["--connect-timeout", str(timeout)] if timeout else [])]
            if bench.curl(server, name, *options) != part:
                wrong.append(("curl", *options))
        for blksize, window, tsize, timeout in itertools.product((None, 512, 1468, 20000), (None, 1, 4, 16, 64, 200), (False, True), (None, 3)):
            options = [*([f"blksize {blksize}"] if blksize else []), *([f"windowsize {window}"] if window else []),
                       *(["tsize 0"] if tsize else []), *([f"timeout {timeout}"] if timeout else [])]
            if bench.atftp(server, name, *options) != part:
                wrong.append(("atftp", *options))
        for blksize in (None, 700, 1468, 65464):
            if bench.busybox(server, name, *(["-b", str(blksize)] if blksize else [])) != part:
                wrong.append(("busybox", blksize))
        # It takes what is before a colon for a host.
        if bench.hpa(server, name.replace(":", "-")) != part:
            wrong.append("tftp-hpa")
        check("curl, atftp, busybox, tftp-hpa: every combination of options", not wrong, wrong)
        gz = bench.curl(server, f"{name}.gz", "--tftp-blksize", "1468")
        check("a gzipped part", gz is not None and zlib.decompress(gz, 31) == part)
        check("any spelling of the MAC", all(bench.curl(server, f"{mac}/rpi_image_part_1") == part for mac in (
            "DC-A6-32-01-02-03", "dca6.3201.0203", "/dca632010203", "01-dc-a6-32-01-02-03")))
        crc = zlib.crc32(part)
        server.wait("ended", name="rpi_image_part_1", complete=True, crc=crc)
        last = (len(whole) - 1) // (SMALL + 512)
        check("the last part", bench.curl(server, f"{MAC}/rpi_image_part_{last}") == whole[last * (SMALL + 512):])


def test_refusals(bench, image, directory):
    with tftp.Server(bench.net, image, directory, "--address", SERVER, "--mac", MAC, "--size", str(SMALL), "--script", "echo hello\n") as server:
        check("a file in memory", bench.curl(server, f"{MAC}/boot.scr") == b"echo hello\n")
        for what, name in (("another MAC", "dc:a6:32:01:02:04/rpi_image_part_0"), ("no MAC", "rpi_image_part_0"), ("up and out", "../../etc/passwd"),
                           ("up and out behind the MAC", f"{MAC}/../../etc/passwd"), ("a part that there is not", f"{MAC}/rpi_image_part_999")):
            check(f"refused: {what}", bench.curl(server, name) is None)
        check("refused: another address", bench.curl(server, f"{MAC}/boot.scr", "--interface", "10.77.0.77") is None)
        check("who asked is told", server.wait("refused", address="10.77.0.77")["why"])
        report, large = directory / "report", directory / "large"
        report.write_text("OK 123456 cbf43926\n")
        large.write_text("FAILED 0 " + "x" * 300)
        put = bench.client(["curl", "-sf", "-T", report, f"tftp://{SERVER}:{server.port}/{MAC}/report"])
        check("a report is taken", put.returncode == 0 and server.wait("reported", kind="OK", bytes=123456, crc=0xcbf43926))
        put = bench.client(["tftp", "-m", "binary", SERVER, str(server.port), "-c", "put", report, "dca632010203/report"])
        check("from tftp-hpa too", put.returncode == 0 and server.count("reported", 2))
        put = bench.client(["curl", "-sf", "-T", large, f"tftp://{SERVER}:{server.port}/{MAC}/report"])
        check("refused: a report that is too large", put.returncode != 0 and server.count("reported", 2))
        put = bench.client(["curl", "-sf", "-T", report, f"tftp://{SERVER}:{server.port}/{MAC}/boot.scr"])
        check("refused: to write anything else", put.returncode != 0)
        check("a report as a name", bench.curl(server, f"{MAC}/report/FAILED-0x200-no-disk") == b"OK\n" and
              server.wait("reported", kind="FAILED", bytes=512, reason="no disk"))
        check("refused: a part that was not fetched", bench.curl(server, f"{MAC}/report/PART-0-{SMALL}-12345678") is None)
        part = image.read_bytes()[:SMALL]
        check("the part", bench.curl(server, f"{MAC}/rpi_image_part_0") == part)
        crc = zlib.crc32(part)
        check("refused: a part with another sum", bench.curl(server, f"{MAC}/report/PART-0-{SMALL}-{crc ^ 1:08x}") is None)
        check("the part with its sum", bench.curl(server, f"{MAC}/report/PART-0-{SMALL}-{crc:08x}") == b"OK\n" and
              server.wait("reported", kind="PART", crc=crc))
        other = bench.client([tftp.SERVER, "--cache-dir", directory / "cache", "--address", SERVER, "--port", str(server.port), image])
        check("the port is in use: said, with what to do", other.returncode == 1 and f"UDP port {server.port} of {SERVER} is in use" in other.stderr, other.stderr)
        other = bench.client([tftp.SERVER, "--address", "10.99.0.1", image])
        check("not this machine's address: said", other.returncode == 1 and "no address of this machine" in other.stderr, other.stderr)
        other = bench.client([tftp.SERVER, "--address", "0.0.0.0", image])
        check("a wildcard: said", other.returncode == 1 and "not one address" in other.stderr, other.stderr)
        port = bench.client(["setpriv", "--reuid", "65534", "--clear-groups", tftp.SERVER, "--address", SERVER, "--port", "69", image])
        check("no right to bind 69: said", port.returncode == 1 and "CAP_NET_BIND_SERVICE" in port.stderr, port.stderr)


def test_many_refusals(bench, image, directory):
    """Somebody who asks and asks does not fill the log."""
    with tftp.Server(bench.net, image, directory, "--address", SERVER, "--mac", MAC, "--expect", SERVER) as server:
        with bench.net.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("10.77.0.77", 0))
            s.settimeout(10)
            for _ in range(100):
                s.sendto(f"\0\1{MAC}/boot.scr\0octet\0".encode(), (SERVER, server.port))
                assert s.recv(100)[:4] == b"\0\5\0\2"
        check("a hundred refusals are answered", True)
        check("the first ones are told", server.count("refused", 32))
        check("the last of them says so", "no more" in server.of("refused")[-1]["why"] and "no more" not in server.of("refused")[-2]["why"])


def test_long(bench, image, directory):
    """The block number wraps; many at once; what it costs."""
    with tftp.Server(bench.net, image, directory, "--address", SERVER, "--mac", MAC, "--size", str(PART), "--guest-max", "100") as server:
        part, name = image.read_bytes()[:PART], f"{MAC}/rpi_image_part_0"
        for what, get in (("curl, 512", lambda: bench.curl(server, name)), ("curl, 1468", lambda: bench.curl(server, name, "--tftp-blksize", "1468")),
                          ("atftp, 1468, window 16", lambda: bench.atftp(server, name, "blksize 1468", "windowsize 16"))):
            start = time.monotonic()
            content = get()
            check(f"a part of more than 65,535 blocks: {what}", content == part)
            print(f"      {PART / (time.monotonic() - start) / 1e6:.0f} MB/s")
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            start = time.monotonic()
            small = f"{MAC}/rpi_image_part_1"
            results = list(pool.map(lambda _: bench.curl(server, small, "--tftp-blksize", "1468") == image.read_bytes()[PART:], range(40)))
            check("40 at once", all(results))
            print(f"      {time.monotonic() - start:.1f} s")
    print(f"      server: {server.bye['cpu']:.1f} s of CPU, {server.bye['memory'] / 1e6:.0f} MB")


def test_many(bench, image, directory):
    """Hundreds of transfers of different parts, begun before any goes on."""
    with tftp.Server(bench.net, image, directory, "--address", SERVER, "--mac", MAC, "--size", str(SMALL), "--guest-max", str(MANY)) as server:
        whole = image.read_bytes()
        parts = [whole[at:at + SMALL] for at in range(0, PART, SMALL)]
        wanted = [(f"{MAC}/rpi_image_part_{n % len(parts)}", parts[n % len(parts)]) for n in range(MANY)]
        start = time.monotonic()
        right = tftp.read_at_once(bench.net, (SERVER, server.port), wanted)
        seconds = time.monotonic() - start
        check(f"{MANY} transfers at once, every byte of each", right == MANY, right)
        check("each is told of as complete", server.count("ended", MANY) and all(e["complete"] for e in server.of("ended")))
        print(f"      {seconds:.1f} s, {MANY * SMALL / seconds / 1e6:.0f} MB/s")
    memory = server.bye["memory"] / (1 << 20)
    print(f"      server: {server.bye['cpu']:.1f} s of CPU, {memory:.0f} MiB")
    check("less than half a MiB for each", memory < 32 + MANY / 2)


def board_reads(board, server, number, size, per_mille):
    board.power_on()
    board.stop()
    board.command(f"setenv ipaddr {board.ip}; setenv serverip {SERVER}; setenv tftpblocksize 1468; setenv tftpwindowsize 4")
    if per_mille:
        tftp.lose(board.network, board.ip, per_mille)
    start = time.monotonic()
    fetched, text = board.command(f"tftpboot 0x48000000 ${{ethaddr}}/rpi_image_part_{number}", 250)
    seconds = time.monotonic() - start
    check(f"U-Boot {board.number} fetched {size >> 20} MiB", fetched, text[-1500:])
    board.command("crc32 0x48000000 ${filesize} 0x47000000; setexpr.l sum *0x47000000", 120)
    reported, text = board.command(f"tftpboot 0x47000000 ${{ethaddr}}/report/PART-{number}-0x${{filesize}}-${{sum}}", 60)
    # What is reported is the sum as it lies in memory, its bytes turned round; the server knows.
    check("its crc32 is right", reported and server.wait("reported", kind="PART", mac=board.mac), text)
    lied, _ = board.command(f"tftpboot 0x47000000 ${{ethaddr}}/report/PART-{number}-0x${{filesize}}-0", 60)
    check("a wrong one is refused", not lied)
    repeated = server.wait("ended", mac=board.mac, name=f"rpi_image_part_{number}")["repeated"]
    print(f"      {size / seconds / 1e6:.1f} MB/s, {repeated} packets repeated")
    return repeated


def test_boards(bench, image, directory):
    """Real boot loaders: one fetches a part whose block numbers wrap, the other one loses packets; the sums are those of the parts."""
    boards = [uboot.Board(bench.net, directory, number) for number in (20, 21)]
    macs = [word for board in boards for word in ("--mac", board.mac)]
    try:
        with tftp.Server(bench.net, image, directory, "--address", SERVER, "--port", "69", *macs, "--size", str(PART)) as server:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                jobs = [pool.submit(board_reads, boards[0], server, 0, PART, 0), pool.submit(board_reads, boards[1], server, 1, SMALL, 30)]
                _, repeated = [job.result() for job in jobs]
            check("packets were lost, and sent again", repeated > 0 and tftp.lost(bench.net) > 0)
    finally:
        for board in boards:
            board.power_off()


def main():
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.W_OK):
        print("SKIP: root rights and /dev/net/tun are needed")
        sys.exit(77)
    for tool in ("curl", "atftp", "tftp", "busybox", "nft", "setpriv"):
        if not shutil.which(tool):
            print(f"SKIP: {tool} is needed: run tests/install-deps")
            sys.exit(77)
    if reason := uboot.missing():
        print(f"SKIP: {reason}")
        sys.exit(77)
    network.clean_leftovers()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="fleetflash-tftp-", dir=os.environ.get("FLEETFLASH_LAB_DIR") or "/var/tmp"))
    net = network.Network(remove=directory)
    try:
        bench = Bench(net, directory)
        net.ip("addr", "add", "10.77.0.77/24", "dev", "br0")
        image = directory / "image"
        tftp.make_image(image, PART + SMALL + 512)
        for test in (test_refusals, test_many_refusals, test_options, test_long, test_many, test_boards):
            if not sys.argv[1:] or test.__name__ in sys.argv[1:]:
                test(bench, image, directory)
                for left in directory.glob("out*"):
                    left.unlink()
    finally:
        net.close()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
