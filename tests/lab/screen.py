# SPDX-License-Identifier: Apache-2.0
"""The program on a terminal that can be looked at and typed into: a tmux of its own."""

import os
import pathlib
import shlex
import subprocess
import time


class Screen:
    def __init__(self, lab, argv, columns=80, rows=24, env=None):
        """Starts argv in the lab's network. When it has ended, its exit code and the terminal's
        settings stand below what it wrote."""
        self.socket = lab.dir / f"tmux-{time.monotonic_ns()}"  # the one before may be ending still
        words = " ".join(shlex.quote(str(a)) for a in argv)
        script = lab.dir / "screen.sh"
        # A signal of the keyboard is for the program and not for the shell around it.
        script.write_text(f"trap : INT QUIT\n{words}\necho ended with $?\nstty -a\nsleep 600\n")
        full = {**lab.environment(env), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        full.pop("TMUX", None)
        command = shlex.join(str(a) for a in lab.command(["sh", script]))
        subprocess.run(["tmux", "-S", self.socket, "-f", os.devnull, "new-session", "-d", "-x", str(columns),
                        "-y", str(rows), command], env=full, check=True)

    def tmux(self, *args):
        return subprocess.run(["tmux", "-S", self.socket, *args], text=True, check=True, capture_output=True).stdout

    def text(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def kill(self, number):
        """Sends a signal to the program alone."""
        shell = self.tmux("display", "-p", "#{pane_pid}").strip()
        (program,) = pathlib.Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(program), number)

    def cursor_is_shown(self):
        return self.tmux("display", "-p", "#{cursor_flag}").strip() == "1"

    def wait(self, matches, timeout=240):
        """What is shown once matches(text) is true; the last text after the timeout, which is for failures alone:
        a board that is being flashed, on a loaded machine, takes minutes."""
        end = time.monotonic() + timeout
        while not matches(text := self.text()) and time.monotonic() < end:
            time.sleep(0.1)
        return text

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
