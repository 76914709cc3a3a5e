#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fleetflash-policy(3) has every policy with its parameters, as `policy list` tells them, and everything
that the public header offers.

policy_page_test.py PROGRAM SOURCE
"""

import pathlib
import re
import subprocess
import sys

program, source = sys.argv[1], pathlib.Path(sys.argv[2])
page = (source / "docs/fleetflash-policy.3").read_text()
header = (source / "plugins/include/fleetflash/policy.h").read_text()
mistakes = []


def expect(where, text, word):
    if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text):
        mistakes.append(f"{where}: {word} is missing")


# A section for each policy, an entry for each of its parameters.
sections = dict(re.findall(r"^\.Ss (\S+)\n(.*?)(?=^\.S[sh] )", page, re.M | re.S))
listed = subprocess.run([program, "policy", "list"], capture_output=True, text=True, check=True).stdout
parameters = 0
for name, rest in re.findall(r"^(\S+) - (.*?)(?=^\S|\Z)", listed, re.M | re.S):
    if name not in sections:
        mistakes.append(f"{name} has no section")
    for key in re.findall(r"^    (\S+) ", rest, re.M):
        if key != "file:":
            expect(name, "\n".join(re.findall(r"^\.It (.*)", sections.get(name, ""), re.M)), key)
            parameters += 1

# The names that a policy's source may use.
for struct in ("ff_policy", "ff_parameter", "ff_host"):
    body = re.search(rf"struct {struct} {{\n(.*?)\n}};", header, re.S)[1]
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    for member in re.findall(r"\(\*(\w+)\)\(|(\w+);", body):
        expect(struct, page, member[0] or member[1])
for name in sorted(set(re.findall(r"\bFF_[A-Z]+(?:_[A-Z]+)*\b", header)) - {"FF_POLICY_EXTERN"}):
    expect("policy.h", page, name)

if mistakes or parameters < 10:
    sys.exit("\n".join(mistakes) or "policy list lists nothing")
