/* SPDX-License-Identifier: Apache-2.0 */
/* Wrong inventories and exactly what is said about them. */
#include "inventory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HOSTS(body) "groups:\n  lab:\n    hosts:\n" body
#define GOOD        HOSTS("      a: {host: 10.0.0.1}\n")

struct wrong {
    const char *text, *mistakes; /* all lines, each ended by \n */
};

static const struct wrong syntax[] = {
    {"", "f: the file is empty\n"},
    {"# nothing\n", "f: the file is empty\n"},
    {"---\n", "f: the file is empty\n"},
    {"groups:\n  lab:\n\thosts: {}\n", "f:3:1: a tab cannot indent YAML; use spaces\n"},
    {"groups:\n  a: {hosts: {b: }\n  c: d\n",
     "f:3:3: not valid YAML: did not find expected ',' or '}', while parsing a flow mapping that "
     "begins at line 2\n"},
    {"groups: {a: \"b\n", "f:2:1: not valid YAML: found unexpected end of stream, while scanning a "
                          "quoted scalar that begins at line 1\n"},
    {"groups:\n  a: \xff\n", "f:2:6: the byte 0xff is not UTF-8 text\n"},
    {"groups:\n  \xc3\xa4: \xed\xa0\x80\n", "f:2:6: the byte 0xed is not UTF-8 text\n"},
    {"groups: \x1b[1m\n", "f:1:9: the byte 0x1b has no place in YAML\n"},
    {GOOD "---\na: b\n", "f:5:1: a second document begins here; an inventory is one\n"},
    {"groups: *lab\n", "f:1:9: no anchor '&lab' before this alias\n"},
    {"groups: &g\n  lab: *g\n", "f:2:8: the alias '*g' stands inside its own anchor\n"},
    {"? [a, b]\n: c\n", "f:1:3: a key must be a text, not a list\n"},
    {"groups: !vault x\n", "f:1:9: the tag '!vault' means nothing here\n"},
    {"groups:\n  lab: {hosts: {a: }}\ngroups: {}\n",
     "f:3:1: 'groups' is already given at line 1\n"},
    {HOSTS("      a: {port: 1, port: 2}\n"), "f:4:20: 'port' is already given at line 4\n"},
    {HOSTS("      a: {<<: 5}\n"),
     "f:4:15: '<<' merges a mapping or a list of mappings, not text\n"},
    {HOSTS("      a: {health: \"x\\0y\"}\n"), "f:4:19: a NUL byte inside a text\n"},
};

static const struct wrong shape[] = {
    {"x\n", "f:1:1: an inventory is a mapping with 'groups' in it, not text\n"},
    {"[a]\n", "f:1:1: an inventory is a mapping with 'groups' in it, not a list\n"},
    {"defaults: {port: 22}\n", "f: there is no 'groups': the inventory has no hosts\n"},
    {"groups:\n", "f:1:8: groups is empty: the inventory has no hosts\n"},
    {"groups: {}\n", "f:1:9: groups is empty: the inventory has no hosts\n"},
    {"groups: [lab]\n", "f:1:9: groups must be a mapping of names\n"},
    {"groups: {lab: }\n", "f:1:10: the group 'lab' has no hosts\n"},
    {"groups: {lab: x}\n", "f:1:15: a group is a mapping with 'hosts' in it, not text\n"},
    {"groups: {lab: {hosts: }}\n", "f:1:10: the group 'lab' has no hosts\n"},
    {"groups: {lab: {hosts: {}}}\n", "f:1:10: the group 'lab' has no hosts\n"},
    {"groups: {lab: {hots: {}}}\n", "f:1:16: unknown key 'hots' (did you mean 'hosts'?)\n"},
    {"groups: {lab: {hosts: [a]}}\n",
     "f:1:23: hosts must be a mapping, not a list: write 'pi-01:' instead of '- pi-01'\n"},
    {"groups: {-x: {hosts: {a: }}}\n",
     "f:1:10: the group's name '-x' begins with '-'; begin with a letter or digit\n"},
    {HOSTS("      a: 10.0.0.1\n"),
     "f:4:10: a host's body is a mapping like {host: 10.0.0.11}, or empty, not text\n"},
    {HOSTS("      a b: {}\n"),
     "f:4:7: the host's name 'a b' has a character at place 2 that is no letter, digit, '-', '_' "
     "or '.'\n"},
    {HOSTS("      a/b: {}\n"), "f:4:7: the host's name 'a/b' has a '/' in it; letters, digits, "
                               "'-', '_' and '.' are fine\n"},
    {HOSTS("      a: {hots: 10.0.0.1}\n"), "f:4:11: unknown key 'hots' (did you mean 'host'?)\n"},
    {HOSTS("      a: {xyzzy: 10.0.0.1}\n"), "f:4:11: unknown key 'xyzzy'\n"},
    {HOSTS("      a: {waves: []}\n"), "f:4:11: 'waves' cannot stand in a host, only in rollout\n"},
    {"defaults: {mac: x}\n" GOOD, "f:1:12: 'mac' cannot stand in defaults, only in a host\n"},
    {"defaults: x\n" GOOD, "f:1:11: defaults must be a mapping, not text\n"},
    {"groups: {lab: {vars: [x], hosts: {a: }}}\n", "f:1:22: vars must be a mapping, not a list\n"},
    {HOSTS("      a: {port: [22]}\n"), "f:4:17: port must be one value, not a list\n"},
    {HOSTS("      a: {after: x}\n"), "f:4:18: after must be a mapping, not text\n"},
    {HOSTS("      a: {}\n  other:\n    hosts:\n      a: {}\n"),
     "f:7:7: 'a' already has a body at line 4; leave the value empty to list it here too\n"},
};

static const struct wrong values[] = {
    {HOSTS("      a: {port: 99999}\n"), "f:4:17: port must be 1…65535, not 99999\n"},
    {HOSTS("      a: {port: 0}\n"), "f:4:17: port must be 1…65535, not 0\n"},
    {HOSTS("      a: {port: ssh}\n"), "f:4:17: port must be 1…65535, not ssh\n"},
    {HOSTS("      a: {port: 0x16}\n"), "f:4:17: port must be 1…65535, not 0x16\n"},
    {HOSTS("      a: {port: \"\"}\n"), "f:4:17: port must be 1…65535, not ''\n"},
    {HOSTS("      a: {retries: 101}\n"), "f:4:20: retries must be 0…100, not 101\n"},
    {HOSTS("      a: {user: a@b}\n"), "f:4:17: 'a@b' is no user name\n"},
    {HOSTS("      a: {identity: \"\"}\n"), "f:4:21: identity is empty\n"},
    {HOSTS("      a: {become: su}\n"), "f:4:19: become must be sudo or none, not 'su'\n"},
    {HOSTS("      a: {mode: steam}\n"), "f:4:17: mode must be auto, stage, stream, netboot or "
                                        "local, not 'steam' (did you mean 'stream'?)\n"},
    {HOSTS("      a: {reach: no}\n"), "f:4:18: reach must be ssh, ping or none, not 'no'\n"},
    {HOSTS("      a: {device: sda}\n"),
     "f:4:19: device must be auto, /dev/…, serial:… or model:…, not 'sda'\n"},
    {HOSTS("      a: {device: \"serial:\"}\n"),
     "f:4:19: device must be auto, /dev/…, serial:… or model:…, not 'serial:'\n"},
    {HOSTS("      a: {reboot_timeout: 5 minutes}\n"),
     "f:4:27: reboot_timeout must be a duration like 90s, 5m or 1h, not '5 minutes'\n"},
    {HOSTS("      a: {connect_timeout: 0}\n"), "f:4:28: connect_timeout must be 1s…1h, not 0\n"},
    {HOSTS("      a: {host: 10.0.0.300}\n"), "f:4:17: host: '10.0.0.300' is no IPv4 address\n"},
    {HOSTS("      a: {host: 10.0.0.012}\n"), "f:4:17: host: '10.0.0.012' is no IPv4 address\n"},
    {HOSTS("      a: {host: \"fe80::g\"}\n"), "f:4:17: host: 'fe80::g' is no IPv6 address\n"},
    {HOSTS("      a: {host: \"[fe80::1]\"}\n"),
     "f:4:17: host: write '[fe80::1]' without brackets\n"},
    {HOSTS("      a: {host: pi@x}\n"),
     "f:4:17: host: 'pi@x' has a user in it; write 'user: …' beside it\n"},
    {HOSTS("      a: {host: \"x:2222\"}\n"),
     "f:4:17: host: 'x:2222' has a port in it; write 'port: 2222' beside it\n"},
    {HOSTS("      a: {host: -x}\n"), "f:4:17: host: '-x' is neither a host name nor an address\n"},
    {HOSTS("      a: {host_key: accept-once}\n"),
     "f:4:21: host_key must be strict, accept-new or SHA256:…, not 'accept-once' (that is for "
     "after.host_key)\n"},
    {HOSTS("      a: {after: {host_key: strict}}\n"),
     "f:4:29: host_key must be keep, accept-once or SHA256:…, not 'strict' (that is for before the "
     "flash)\n"},
    {HOSTS("      a: {host_key: \"SHA256:abc\"}\n"),
     "f:4:21: 'SHA256:abc' is no fingerprint: SHA256: and 43 characters, as ssh-keygen -l prints "
     "it\n"},
    {HOSTS("      a: {mac: dc:a6:32:01:02}\n"),
     "f:4:16: mac: 'dc:a6:32:01:02' is no MAC address like dc:a6:32:01:02:03\n"},
    {HOSTS("      a: {mac: 01:00:5e:00:00:01}\n"), "f:4:16: mac: '01:00:5e:00:00:01' is no "
                                                   "device's MAC address (a multicast address)\n"},
    {HOSTS("      a: {health: \" \"}\n"), "f:4:19: health is empty\n"},
    {HOSTS("      a: {services: systemd}\n"),
     "f:4:21: services must be a mapping like {policy: systemd}, not text\n"},
    {HOSTS("      a: {services: {policy: ../x}}\n"),
     "f:4:30: policy '../x' has a '/' in it; letters, digits, '-', '_' and '.' are fine\n"},
    {HOSTS("      a: {services: {policy: ..}}\n"),
     "f:4:30: policy '..' begins with '.'; begin with a letter or digit\n"},
    {HOSTS("      a: {services: {stop: x}}\n"),
     "f:4:21: services names no policy; write 'policy: systemd' or another one\n"},
    {HOSTS("      a: {services: {policy: x, stop: {a: b}}}\n"),
     "f:4:39: the parameter 'stop' must be a text or a list of texts, not a mapping\n"},
    {HOSTS("      a: {services: {policy: x, stop: [a, [b]]}}\n"),
     "f:4:43: the list 'stop' holds texts only, not a list\n"},
    {HOSTS("      a: {reset: {chip: x}}\n"), "f:4:18: reset needs a 'line' beside its chip\n"},
    {HOSTS("      a: {reset: {line: 1}}\n"), "f:4:18: reset needs a 'chip' beside its line\n"},
    {HOSTS("      a: {reset: {active: low}}\n"),
     "f:4:18: reset needs 'chip' and 'line', or 'command'\n"},
    {HOSTS("      a: {reset: {chip: x, line: 1, command: y}}\n"),
     "f:4:18: reset is either chip and line, or command, not both\n"},
    {HOSTS("      a: {host: 10.0.0.1, recovery: netboot}\n"),
     "f:4:37: 'a' needs its 'mac' for recovery: netboot\n"},
    {HOSTS("      a: {netboot: {disk: mmc0}}\n"),
     "f:4:27: disk must be what U-Boot calls it, like 'mmc 0' or 'usb 0', not 'mmc0'\n"},
    {HOSTS("      a: {netboot: {disk: mmc  0}}\n"),
     "f:4:27: disk must be what U-Boot calls it, like 'mmc 0' or 'usb 0', not 'mmc  0'\n"},
    {HOSTS("      a: {netboot: {disk: mmc 0; reset}}\n"),
     "f:4:27: disk must be what U-Boot calls it, like 'mmc 0' or 'usb 0', not 'mmc 0; reset'\n"},
    {HOSTS("      a: {netboot: {disk: \"mmc 0 \"}}\n"),
     "f:4:27: disk must be what U-Boot calls it, like 'mmc 0' or 'usb 0', not 'mmc 0 '\n"},
    {HOSTS("      a: {netboot: {gateway: gate.lan}}\n"),
     "f:4:30: gateway must be an IPv4 address like 10.0.0.1, not 'gate.lan'\n"},
    {HOSTS("      a: {netboot: {netmask: 24}}\n"),
     "f:4:30: netmask must be an IPv4 address like 10.0.0.1, not '24'\n"},
    {HOSTS("      a: {netboot: {boot: \"setenv x 'y'\"}}\n"),
     "f:4:27: boot may have no ' in it; U-Boot's shell knows double quotes and ; as well\n"},
    /* Who may ask has an address; a name would be turned away when it is too late. */
    {HOSTS("      a: {mac: 02:00:00:00:00:01, mode: netboot}\n"),
     "f:4:7: 'a' is a name: its boot loader's address must be known for mode: netboot; write host: "
     "10.0.0.11 or netboot: {address: dhcp}\n"},
    {HOSTS("      a: {host: b, mac: 02:00:00:00:00:01, recovery: netboot, netboot: {server: "
           "10.0.0.1}}\n"),
     "f:4:17: 'b' is a name: its boot loader's address must be known for recovery: netboot; write "
     "host: 10.0.0.11 or netboot: {address: dhcp}\n"},
    {HOSTS("      a: {mac: 02:00:00:00:00:01, mode: netboot, netboot: {address: dhcp}}\n"),
     "f:4:7: 'a' is a name: which address of this machine its boot loader asks is not known; "
     "write netboot: {server: ADDRESS}\n"},
    {"defaults: {mode: netboot}\n" GOOD, "f:5:7: 'a' needs its 'mac' for mode: netboot\n"},
};

static const struct wrong ranges[] = {
    {HOSTS("      pi-[9:2]: {}\n"),
     "f:4:7: the host's name 'pi-[9:2]': the range '[9:2]' runs backwards\n"},
    {HOSTS("      pi-[a:b]: {}\n"),
     "f:4:7: the host's name 'pi-[a:b]': '[a:b]' is no range of numbers like [02:24]\n"},
    {HOSTS("      \"pi-[1:2\": {}\n"),
     "f:4:7: the host's name 'pi-[1:2': '[1:2' is no range of numbers like [02:24]\n"},
    {HOSTS("      \"pi-1]\": {}\n"), "f:4:7: the host's name 'pi-1]': a ']' without '['\n"},
    {HOSTS("      pi-[01:100]: {}\n"), "f:4:7: the host's name 'pi-[01:100]': the numbers of "
                                       "'[01:100]' are padded to different widths\n"},
    {HOSTS("      pi-[1:99999999999]: {}\n"), "f:4:7: the host's name 'pi-[1:99999999999]': the "
                                              "numbers of '[1:99999999999]' are too large\n"},
    {HOSTS("      pi-[1:5000]: {}\n"),
     "f:4:7: 'pi-[1:5000]' makes 5000 hosts; an inventory has at most 4096\n"},
    {HOSTS("      a-[1:4000]: {}\n      b-[1:97]: {}\n"),
     "f:5:7: with 'b-[1:97]' there are more than 4096 hosts\n"},
    {HOSTS("      a[1:2][1:2][1:2][1:2][1:2]: {}\n"),
     "f:4:7: the host's name 'a[1:2][1:2][1:2][1:2][1:2]': more than 4 ranges in one text\n"},
    {HOSTS("      pi-[02:24]: {host: \"10.0.0.[12:33]\"}\n"),
     "f:4:26: host: '10.0.0.[12:33]' stands for 22 values, but the name for 23 hosts\n"},
    {HOSTS("      a[1:2]-[1:3]: {host: \"x[1:3]-[1:2]\"}\n"),
     "f:4:28: host: 'x[1:3]-[1:2]' stands for 6 values, but the name for 6 hosts in other "
     "ranges\n"},
    {HOSTS("      pi: {host: \"10.0.0.[12:33]\"}\n"),
     "f:4:18: host has a range, which only a host whose name has one can use\n"},
    {"defaults: {host: \"10.0.0.[12:33]\"}\n" GOOD,
     "f:1:18: host has a range, which only a host whose name has one can use\n"},
    {HOSTS("      pi-[1:9]: {host: \"10.0.0.[250:258]\"}\n"),
     "f:4:24: host: '10.0.0.256' is no IPv4 address\n"},
    {HOSTS("      pi-[1:9]: {host: 10.0.0.1}\n"),
     "f:4:24: 'pi-[1:9]' gives all its hosts the one address 10.0.0.1 port 22; number it too, as "
     "in [01:09]\n"},
    {HOSTS("      pi-[1:9]: {}\n      pi-4: {}\n"),
     "f:5:7: 'pi-4' already has a body at line 4; leave the value empty to list it here too\n"},
};

static const struct wrong several[] = {
    {HOSTS("      a: {host: X.lan}\n      b: {host: x.lan., port: 22}\n"),
     "f:5:17: 'b' has the address x.lan port 22 of 'a' (line 4)\n"},
    {HOSTS("      a: {host: \"fe80:0::1\"}\n      b: {host: \"FE80::1\"}\n"),
     "f:5:17: 'b' has the address fe80::1 port 22 of 'a' (line 4)\n"},
    {HOSTS("      b: {}\n      a: {host: b}\n"),
     "f:5:17: 'a' has the address b port 22 of 'b' (line 4)\n"},
    {HOSTS("      a: {mac: dc:a6:32:01:02:03}\n      b: {mac: DC-A6-32-01-02-03}\n"),
     "f:5:16: 'b' has the MAC address dc:a6:32:01:02:03 of 'a' (line 4)\n"},
    {HOSTS("      a: {reset: {chip: x, line: 1}}\n      b: {reset: {chip: x, line: 1}}\n"),
     "f:5:34: 'b' has the reset line 1 of x of 'a' (line 4)\n"},
    /* one line, however it is spelt */
    {HOSTS("      a: {reset: {chip: gpiochip0, line: 17}}\n"
           "      b: {reset: {chip: /dev/gpiochip0, line: 017}}\n"),
     "f:5:47: 'b' has the reset line 17 of gpiochip0 of 'a' (line 4)\n"},
    {HOSTS("      a: {reset: {chip: gpiochip0, line: 17}}\n"
           "      b: {reset: {chip: 0, line: 17}}\n"),
     "f:5:34: 'b' has the reset line 17 of gpiochip0 of 'a' (line 4)\n"},
    /* the wrong port hides nothing, and is told once */
    {"defaults: {port: x}\n" HOSTS("      a: {host: h}\n      b: {host: h}\n"),
     "f:1:18: port must be 1…65535, not x\n"
     "f:6:17: 'b' has the address h and the port of line 1:18 of 'a' (line 5)\n"},
    /* in file order, whatever the order of reading */
    {"rollout: {waves: [{groups: [lob]}]}\nnotify: {}\n"
     "defaults: {user: \"\"}\n" HOSTS("      a: {prot: 1}\n") "x: y\n",
     "f:1:29: there is no group 'lob' (did you mean 'lab'?)\nf:2:9: notify has no 'command'\n"
     "f:3:18: '' is no user name\nf:7:11: unknown key 'prot' (did you mean 'port'?)\n"
     "f:8:1: unknown key 'x'\n"},
    /* no escape sequence reaches the terminal */
    {HOSTS("      a: {\"\\e]0;x\\a\": 1}\n"), "f:4:11: unknown key '?]0;x?'\n"},
};

static const struct wrong waves[] = {
    {GOOD "rollout: x\n", "f:5:10: rollout must be a mapping, not text\n"},
    {GOOD "rollout: {wave: []}\n", "f:5:11: unknown key 'wave' (did you mean 'waves'?)\n"},
    {GOOD "rollout: {waves: []}\n", "f:5:18: waves must be a list of waves, not an empty one\n"},
    {GOOD "rollout: {waves: {}}\n", "f:5:18: waves must be a list of waves, not a mapping\n"},
    {GOOD "rollout: {waves: [lab]}\n",
     "f:5:19: a wave is a mapping like {groups: [canary]}, not text\n"},
    {GOOD "rollout: {waves: [{soak: 1m}]}\n", "f:5:19: the wave has no 'groups'\n"},
    {GOOD "rollout: {waves: [{groups: []}]}\n",
     "f:5:28: groups must be a list of names, not an empty one\n"},
    {GOOD "rollout: {waves: [{groups: [x]}]}\n", "f:5:29: there is no group 'x'\n"},
    {GOOD "rollout: {waves: [{groups: [lab, lab]}]}\n",
     "f:5:34: the group 'lab' is twice in this wave\n"},
    {GOOD "rollout:\n  waves:\n  - {groups: [lab]}\n  - {groups: [lab]}\n",
     "f:8:15: the group 'lab' is already in wave 1 (line 7)\n"},
    {GOOD "  b: {hosts: {a: }}\nrollout:\n  waves:\n  - {groups: [b]}\n  - {groups: [lab]}\n",
     "f:9:15: 'a' of the group 'lab' is already in wave 1 through the group 'b'\n"},
    {GOOD "rollout: {waves: [{groups: [lab], max_failures: x}]}\n",
     "f:5:49: max_failures must be a number like 3 or a share like 10%, not 'x'\n"},
    {GOOD "rollout: {waves: [{groups: [lab], max_failures: 101%}]}\n",
     "f:5:49: max_failures must be 0%…100%, not 101%\n"},
    {GOOD "rollout: {waves: [{groups: [lab], window: 1-2}]}\n",
     "f:5:43: window must be two times like 01:00-05:00, not '1-2'\n"},
    {GOOD "rollout: {waves: [{groups: [lab], window: 24:00-05:00}]}\n",
     "f:5:43: window must be two times like 01:00-05:00, not '24:00-05:00'\n"},
    {GOOD "rollout: {waves: [{groups: [lab], window: 05:00-05:00}]}\n",
     "f:5:43: the window '05:00-05:00' is never open\n"},
    {GOOD "rollout: {waves: [{groups: [lab], pause: yes}]}\n",
     "f:5:42: pause must be none or confirm, not 'yes'\n"},
    {GOOD "rollout: {waves: [{groups: [lab], parallel: 0}]}\n",
     "f:5:45: parallel must be 1…4096, not 0\n"},
    {GOOD "notify: x\n",
     "f:5:9: notify must be a mapping like {on: failure, command: …}, not text\n"},
    {GOOD "notify: {on: never, command: x}\n",
     "f:5:14: on must be failure or always, not 'never'\n"},
    {GOOD "notify: {command: }\n", "f:5:19: command is empty\n"},
};

static char *join(const struct diagnostics *mistakes)
{
    size_t size = 1;
    for (size_t i = 0; i < mistakes->count; i++)
        size += strlen(mistakes->texts[i]) + 1;
    char *text = calloc(1, size);
    assert_non_null(text);
    for (size_t i = 0; i < mistakes->count; i++)
        strcat(strcat(text, mistakes->texts[i]), "\n");
    return text;
}

static void expect(const char *text, size_t size, const char *expected)
{
    struct diagnostics mistakes = {0};
    assert_null(inventory_parse("f", text, size, &mistakes));
    char *said = join(&mistakes);
    assert_string_equal(said, expected);
    free(said);
    diagnostics_free(&mistakes);
}

#define EXPECT_ALL(table)                                                                          \
    for (size_t i = 0; i < sizeof(table) / sizeof *(table); i++)                                   \
    expect((table)[i].text, strlen((table)[i].text), (table)[i].mistakes)

static void test_syntax(void **state)
{
    (void)state;
    EXPECT_ALL(syntax);
}

static void test_shape(void **state)
{
    (void)state;
    EXPECT_ALL(shape);
}

static void test_values(void **state)
{
    (void)state;
    EXPECT_ALL(values);
}

static void test_ranges(void **state)
{
    (void)state;
    EXPECT_ALL(ranges);
}

static void test_several_hosts(void **state)
{
    (void)state;
    EXPECT_ALL(several);
}

static void test_waves(void **state)
{
    (void)state;
    EXPECT_ALL(waves);
}

/* --- files that are no inventory at all --------------------------------------------------- */

static void expect_load(const char *path, const char *expected)
{
    struct diagnostics mistakes = {0};
    assert_null(inventory_load(path, &mistakes));
    char *said = join(&mistakes);
    assert_non_null(strstr(said, expected));
    assert_memory_equal(said, path, strlen(path));
    assert_int_equal(mistakes.count, 1);
    free(said);
    diagnostics_free(&mistakes);
}

static void test_files(void **state)
{
    (void)state;
    char directory[] = "/tmp/inventory-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    expect_load(directory, ": is a directory; give the inventory file in it\n");
    snprintf(path, sizeof path, "%s/f", directory);
    expect_load(path, ": cannot be read: No such file or directory\n");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < 10u << 20; i += 8)
        fputs("k: vvvv\n", file);
    fclose(file);
    expect_load(path, ": the file is larger than 4 MiB, which no inventory is; is it the image?\n");
    assert_int_equal(truncate(path, 0), 0);
    expect_load(path, ": the file is empty\n");
    unlink(path);
    rmdir(directory);
}

static void test_binary(void **state)
{
    (void)state;
    expect("\x7f"
           "ELF\0\1",
           6, "f: the file is binary, not YAML; is it the image?\n");
}

static void test_deep_nesting(void **state)
{
    (void)state;
    char text[5000] = "groups: ";
    memset(text + strlen(text), '[', 4000);
    expect(text, strlen(text), "f:1:40: nested deeper than 32 levels\n");
}

/* Ten aliases of ten aliases of …: small to write, endless to walk through. */
static void test_alias_bomb(void **state)
{
    (void)state;
    char text[2000] = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 10; i++) {
        size_t used = strlen(text);
        used += (size_t)snprintf(text + used, sizeof text - used, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            used += (size_t)snprintf(text + used, sizeof text - used, "*a%d, ", i - 1);
        snprintf(text + used, sizeof text - used, "]\n");
    }
    /* a1 to a4 expand to 123240 nodes, each *a4 to 111111 more: the eighth is one too many */
    expect(text, strlen(text), "f:6:45: aliases make this file larger than 1000000 nodes\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_several_hosts), cmocka_unit_test(test_waves),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_binary),
        cmocka_unit_test(test_deep_nesting),  cmocka_unit_test(test_alias_bomb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
