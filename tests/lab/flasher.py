# SPDX-License-Identifier: Apache-2.0
"""The program at work beside the test, its event stream watched."""

import json
import subprocess
import threading


class Flasher:
    def __init__(self, lab, *args):
        self.lab, self.events, self.errors = lab, [], []
        self.process = lab.popen(lab.fleetflash_argv(*args, "--json", "-v"), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=lambda: self.errors.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def wait_for(self, name, **fields):
        """The next event of that name with these fields; None when the run ends before."""
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                return event
        return None

    def signal(self, number):
        self.process.send_signal(number)

    def finish(self, timeout=300):
        """Reads the rest; returns the exit code."""
        watchdog = threading.Timer(timeout, self.process.kill)
        watchdog.start()
        self.events += [json.loads(line) for line in self.process.stdout if line.endswith("\n")]
        code = self.process.wait()
        watchdog.cancel()
        self.reader.join(5)
        return code

    def told(self):
        return "".join(self.errors)

    def of(self, name):
        return [e for e in self.events if e["event"] == name]
