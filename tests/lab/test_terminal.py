#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""On a terminal the plan is shown and the number of disks must be typed."""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from check import check
from lab import Lab, require


def main():
    require()
    with Lab() as lab:
        devices = [lab.device(f"node-{n}", kind="busybox", layout="mbr-boot") for n in (1, 2)]
        lab.boot_all()
        boot_ids = [d.boot_id() for d in devices]
        inventory = lab.inventory()
        image = lab.image("busybox", "mbr-boot", "new")

        p = lab.fleetflash("-i", inventory, image, tty=True, stdin="yes\n")
        print(p.stdout, flush=True)
        check("a wrong answer ends with 2", p.returncode == 2 and "nothing was touched" in p.stdout, p.stdout)
        for word in ("node-1", "node-2", "/dev/ubda", "Type 2 to erase 2 disks"):
            check(f"the plan says {word}", word in p.stdout)
        check("nothing was touched", [d.boot_id() for d in devices] == boot_ids)

        p = lab.fleetflash("-i", inventory, image, tty=True, stdin="2\n")
        print(p.stdout, flush=True)
        check("the right answer flashes", p.returncode == 0, p.stdout)
        check("the cursor is shown again at the end", p.stdout.rfind("\x1b[?25h") > p.stdout.rfind("\x1b[?25l"))
        check("both run the new image", all(d.image_version() == "new" for d in devices))


if __name__ == "__main__":
    main()
