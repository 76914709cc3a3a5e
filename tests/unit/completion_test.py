#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Completion in bash and zsh: every option of --help, and what belongs after some of them.

completion_test.py PROGRAM FOLDER-OF-THE-SCRIPTS
"""

import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
import time

program, scripts = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
INVENTORY = """
defaults: {user: nobody, port: 1, retries: 0, after: {host_key: accept-once}}
groups: {lab: {hosts: {"pi-[01:03]": {host: "127.0.0.[1:3]"}}}}
"""


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got}, not {wanted}")
    print(f"ok: {what}")


# Fills COMP_WORDS as bash does, which takes '=' for a word of its own.
BASH = """
source "$SCRIPT"
COMP_WORDS=("$PROGRAM" "$@"); COMP_CWORD=$#
_fleetflash
printf '%s\\n' "${COMPREPLY[@]}"
"""


def bash(*words):
    p = subprocess.run(["bash", "-c", BASH, "bash", *words], text=True, capture_output=True, check=True,
                       env={**os.environ, "SCRIPT": str(scripts / "fleetflash.bash"), "PROGRAM": str(program)})
    return sorted(p.stdout.split())


class Zsh:
    """A shell at which keys are pressed."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], {"PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "dumb",
                                                    "HOME": os.getcwd(), "LC_ALL": "C.UTF-8"})
        termios.tcsetwinsize(self.fd, (50, 200))
        self.type(f"PS1=; setopt no_list_ambiguous list_packed; fpath=({scripts} $fpath); autoload -U compinit; "
                  "compinit -u -D; zstyle ':completion:*' insert-tab false; echo re''ady\n")
        self.until("ready")

    def type(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, timeout=40):
        """What is shown until the pattern is; exits when it does not come."""
        shown, end = "", time.monotonic() + timeout
        while not re.search(pattern, shown):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                sys.exit(f"zsh does not show {pattern!r} but {shown!r}")
            shown += os.read(self.fd, 65536).decode(errors="replace")
            shown = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\x07", "", shown)
        return shown

    def complete(self, line, pattern):
        self.type(line + "\t")
        self.until(pattern)
        self.type("\x15")  # ^U: away with it
        print(f"ok: zsh: {line}")

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def record_a_run():
    """A run in which nobody is reached; its id."""
    pathlib.Path("image.raw").write_bytes(bytes(1 << 20))
    state = [program, "--state-dir", ".state"]
    subprocess.run([*state, "--cache-dir", ".cache", "-i", "lab.yaml", "--yes", "-q", "image.raw"],
                   capture_output=True, timeout=60)
    p = subprocess.run([*state, "--history", "--json"], capture_output=True, text=True, check=True)
    return re.search(r'"run":"([^"]*)"', p.stdout)[1]


def test_bash(run):
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    listed = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)))
    expect("bash: every option of --help", [o for o in bash("-") if o.startswith("--")], listed)
    expect("bash: commands", [w for w in bash("") if w in ("inventory", "policy", "recovery", "reset")],
           ["inventory", "policy", "recovery", "reset"])
    expect("bash: second words", bash("policy", ""), ["check", "list"])
    expect("bash: values", bash("--mode", "st"), ["stage", "stream"])
    expect("bash: values after =", bash("--mode", "=", "st"), ["stage", "stream"])
    expect("bash: inventories", bash("-i", ""), ["folder", "lab.yaml"])
    expect("bash: targets and groups", bash("-i", "lab.yaml", "-l", ""), ["lab", "pi-01", "pi-02", "pi-03"])
    expect("bash: after a comma", bash("--inventory", "=", "lab.yaml", "-l", "lab,!pi-"),
           ["lab,!pi-01", "lab,!pi-02", "lab,!pi-03"])
    expect("bash: the target of reset", bash("reset", "-i", "lab.yaml", "pi-0"), ["pi-01", "pi-02", "pi-03"])
    expect("bash: policies", bash("policy", "check", ""), ["folder", "own.so"])
    expect("bash: runs", bash("--state-dir", ".state", "--show", ""), [run])
    expect("bash: an image", bash("-i", "lab.yaml", "ima"), ["image.raw"])


def test_zsh(run):
    zsh = Zsh()
    try:
        zsh.complete("fleetflash --rep", r"--report")
        zsh.complete("fleetflash --m", r"--minisign(.|\n)*signer(.|\n)*--mode")
        zsh.complete("fleetflash --mode=st", r"stage +stream")
        zsh.complete("fleetflash pol", r"policy")
        zsh.complete("fleetflash policy ch", r"check")
        zsh.complete("fleetflash -i la", r"lab\.yaml")
        zsh.complete("fleetflash -i lab.yaml -l lab,pi-0", r"pi-01 +pi-02 +pi-03")
        zsh.complete(f"fleetflash --state-dir .state --show {run[:9]}", re.escape(run))
    finally:
        zsh.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        pathlib.Path("lab.yaml").write_text(INVENTORY)
        pathlib.Path("own.so").touch()
        pathlib.Path("folder").mkdir()
        run = record_a_run()
        test_bash(run)
        test_zsh(run)
        os.chdir("/")


if __name__ == "__main__":
    main()
