/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include "inventory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TARGET(member)                                                                             \
    .offset = offsetof(struct target_spec, member), .size = sizeof((struct target_spec *)0)->member
#define WAVE(member)                                                                               \
    .offset = offsetof(struct wave_spec, member), .size = sizeof((struct wave_spec *)0)->member
#define NOTIFY(member)                                                                             \
    .offset = offsetof(struct notify_spec, member), .size = sizeof((struct notify_spec *)0)->member

/* clang-format off */
static const struct key keys[] = {
    {"defaults", TYPE_MAP, LEVEL_TOP, .fallback = "none",
     .help = "values that hold for every host unless its group or itself says otherwise"},
    {"groups", TYPE_MAP, LEVEL_TOP,
     .help = "the groups by name"},
    {"rollout", TYPE_MAP, LEVEL_TOP, .fallback = "none",
     .help = "how a run goes through the groups"},
    {"notify", TYPE_MAP, LEVEL_TOP, .fallback = "none",
     .help = "who is told about the end of a run"},

    {"vars", TYPE_MAP, LEVEL_GROUP, .fallback = "none",
     .help = "values that hold for every host whose body stands in this group"},
    {"hosts", TYPE_MAP, LEVEL_GROUP,
     .help = "the hosts by name"},

    {"host", TYPE_ADDRESS, LEVEL_ANY, .fallback = "its name", .is_numbered = true, TARGET(host),
     .help = "name or address by which ssh reaches it; ssh_config(5) applies"},
    {"port", TYPE_NUMBER, LEVEL_ANY, "1…65535", .fallback = "ssh's", .is_numbered = true, TARGET(port),
     .help = "port of its ssh server"},
    {"user", TYPE_USER, LEVEL_ANY, .fallback = "ssh's", TARGET(user),
     .help = "whom to log in as"},
    {"identity", TYPE_FILE, LEVEL_ANY, .fallback = "ssh's", TARGET(identity),
     .help = "private key file"},
    {"become", TYPE_CHOICE, LEVEL_ANY, "sudo|none", "sudo", TARGET(become),
     .help = "how a user who is not root becomes root"},
    {"host_key", TYPE_HOSTKEY, LEVEL_ANY, "strict|accept-new|SHA256:…", "strict", TARGET(host_key),
     .help = "which host key is trusted before the flash"},
    {"mode", TYPE_CHOICE, LEVEL_ANY, "auto|stage|stream|netboot|local", "auto", TARGET(mode),
     .help = "how it is flashed"},
    {"if_used", TYPE_CHOICE, LEVEL_ANY, "reflash|keep", "reflash", TARGET(if_used),
     .help = "what becomes of a device that runs the image and was used since"},
    {"device", TYPE_DEVICE, LEVEL_ANY, .value = "auto", TARGET(device),
     .help = "the disk that is overwritten"},
    {"services", TYPE_MAP, LEVEL_ANY, .fallback = "none", TARGET(services),
     .help = "which policy stops its services, and with what parameters"},
    {"health", TYPE_COMMAND, LEVEL_ANY, .fallback = "none", TARGET(health),
     .help = "command that must exit 0 on the new system"},
    {"reach", TYPE_CHOICE, LEVEL_ANY, "ssh|ping|none", "ssh", TARGET(reach),
     .help = "what proves that the new system runs"},
    {"after", TYPE_MAP, LEVEL_ANY, .fallback = "as before",
     .help = "how the new system is reached"},
    {"connect_timeout", TYPE_DURATION, LEVEL_ANY, "1s…1h", "15s", TARGET(connect_timeout),
     .help = "for a connection, authentication included"},
    {"transfer_timeout", TYPE_DURATION, LEVEL_ANY, "1s…1d", "60s", TARGET(transfer_timeout),
     .help = "without progress of the transfer"},
    {"reboot_timeout", TYPE_DURATION, LEVEL_ANY, "1s…1d", "5m", TARGET(reboot_timeout),
     .help = "until the new system is reachable"},
    {"retries", TYPE_NUMBER, LEVEL_ANY, "0…100", "3", TARGET(retries),
     .help = "further attempts after failures that may pass"},
    {"mac", TYPE_MAC, LEVEL_HOST, .fallback = "none", TARGET(mac),
     .help = "MAC address by which its boot loader asks for files"},
    {"reset", TYPE_MAP, LEVEL_ANY, .fallback = "none",
     .help = "how it is reset"},
    {"netboot", TYPE_MAP, LEVEL_ANY, .fallback = "none",
     .help = "how its boot loader is served"},
    {"recovery", TYPE_CHOICE, LEVEL_ANY, "none|netboot", "none", TARGET(recovery),
     .help = "what is tried when it does not come back"},

    {"host", TYPE_ADDRESS, LEVEL_AFTER, .fallback = "as before", .is_numbered = true, TARGET(after.host),
     .help = "its new name or address"},
    {"port", TYPE_NUMBER, LEVEL_AFTER, "1…65535", .fallback = "as before", .is_numbered = true,
     TARGET(after.port),
     .help = "port of its new ssh server"},
    {"user", TYPE_USER, LEVEL_AFTER, .fallback = "as before", TARGET(after.user),
     .help = "whom to log in as"},
    {"identity", TYPE_FILE, LEVEL_AFTER, .fallback = "as before", TARGET(after.identity),
     .help = "private key file"},
    {"host_key", TYPE_HOSTKEY, LEVEL_AFTER, "keep|accept-once|SHA256:…", .fallback = "as before",
     TARGET(after.host_key),
     .help = "which host key is trusted after the flash"},

    {"chip", TYPE_TEXT, LEVEL_RESET, .fallback = "none", .is_numbered = true, TARGET(reset.chip),
     .help = "GPIO chip: name, path or label"},
    {"line", TYPE_TEXT, LEVEL_RESET, .fallback = "none", .is_numbered = true, TARGET(reset.line),
     .help = "the chip's line: offset or name"},
    {"active", TYPE_CHOICE, LEVEL_RESET, "high|low", "high", TARGET(reset.active_low),
     .help = "the level that resets"},
    {"hold", TYPE_DURATION, LEVEL_RESET, "1ms…1m", "500ms", TARGET(reset.hold),
     .help = "how long the line is active"},
    {"command", TYPE_COMMAND, LEVEL_RESET, .fallback = "none", TARGET(reset.command),
     .help = "run on the controller, instead of chip and line"},

    {"layout", TYPE_CHOICE, LEVEL_NETBOOT, "shifted|disk", "shifted", TARGET(netboot.layout),
     .help = "where the image goes: behind the boot loader's partition, or over the whole disk"},
    {"server", TYPE_ADDRESS, LEVEL_NETBOOT, .fallback = "by route", TARGET(netboot.server),
     .help = "the controller's address that boot loaders ask"},
    {"address", TYPE_CHOICE, LEVEL_NETBOOT, "static|dhcp", "static", TARGET(netboot.is_dhcp),
     .help = "whether its boot loader has the host's address or gets one"},
    {"port", TYPE_NUMBER, LEVEL_NETBOOT, "1…65535", "69", TARGET(netboot.port),
     .help = "port of the controller's TFTP server"},
    {"part_size", TYPE_SIZE, LEVEL_NETBOOT, "1M…4G", "750M", TARGET(netboot.part_size),
     .help = "of the pieces that the boot loader fetches, which must fit into the device's memory"},
    {"timeout", TYPE_DURATION, LEVEL_NETBOOT, "5s…1h", "2m", TARGET(netboot.timeout),
     .help = "from the reset until its boot loader asks for the image"},
    {"disk", TYPE_DISK, LEVEL_NETBOOT, NULL, "mmc 0", TARGET(netboot.disk),
     .help = "what its boot loader calls the disk that is flashed"},
    {"boot", TYPE_TEXT, LEVEL_NETBOOT, .fallback = "kernel8.img", TARGET(netboot.boot),
     .help = "its boot loader's commands that boot from that disk"},
    {"netmask", TYPE_IPV4, LEVEL_NETBOOT, .fallback = "255.255.255.0", TARGET(netboot.netmask),
     .help = "of its network, with a static address"},
    {"gateway", TYPE_IPV4, LEVEL_NETBOOT, .fallback = "none", TARGET(netboot.gateway),
     .help = "to the controller, with a static address"},
    {"netconsole", TYPE_CHOICE, LEVEL_NETBOOT, "no|yes", "no", TARGET(netboot.netconsole),
     .help = "whether what its boot loader says is sent to the controller too"},

    {"policy", TYPE_NAME, LEVEL_SERVICES, .fallback = "inherited",
     .help = "the policy's name; all other keys are its parameters"},

    {"waves", TYPE_LIST, LEVEL_ROLLOUT, .fallback = "one wave",
     .help = "the waves, one after the other"},
    {"groups", TYPE_NAMES, LEVEL_WAVE,
     .help = "whose hosts are flashed in this wave"},
    {"parallel", TYPE_NUMBER, LEVEL_WAVE, "1…4096", .fallback = "--parallel", WAVE(parallel),
     .help = "how many at once"},
    {"max_failures", TYPE_LIMIT, LEVEL_WAVE, .fallback = "no limit", WAVE(max_failures),
     .help = "more than these halt the rollout"},
    {"soak", TYPE_DURATION, LEVEL_WAVE, "0s…7d", "0s", WAVE(soak),
     .help = "pause after the wave; health is checked again at its end"},
    {"pause", TYPE_CHOICE, LEVEL_WAVE, "none|confirm", "none", WAVE(pause_confirm),
     .help = "whether the user is asked before the next wave"},
    {"gate", TYPE_COMMAND, LEVEL_WAVE, .fallback = "none", WAVE(gate),
     .help = "run on the controller after the wave, which must exit 0 for the next one"},
    {"window", TYPE_WINDOW, LEVEL_WAVE, .fallback = "always", WAVE(window_from),
     .help = "local time in which devices may be started"},

    {"on", TYPE_CHOICE, LEVEL_NOTIFY, "failure|always", "failure", NOTIFY(is_always),
     .help = "after which runs"},
    {"command", TYPE_COMMAND, LEVEL_NOTIFY, NOTIFY(command),
     .help = "run on the controller with the report on its standard input"},
};
/* clang-format on */

static_assert(sizeof keys / sizeof *keys <= KEYS_MAX, "KEYS_MAX is too small");

static const struct {
    enum key_level level;
    const char *name, *words;
} levels[] = {
    {LEVEL_TOP, "top", "the top of the file"},
    {LEVEL_DEFAULTS, "defaults", "defaults"},
    {LEVEL_GROUP, "group", "a group"},
    {LEVEL_VARS, "vars", "a group's vars"},
    {LEVEL_HOST, "host", "a host"},
    {LEVEL_AFTER, "after", "after"},
    {LEVEL_RESET, "reset", "reset"},
    {LEVEL_SERVICES, "services", "services"},
    {LEVEL_ROLLOUT, "rollout", "rollout"},
    {LEVEL_WAVE, "wave", "a wave"},
    {LEVEL_NOTIFY, "notify", "notify"},
    {LEVEL_NETBOOT, "netboot", "netboot"},
};

const struct key *keys_all(size_t *count)
{
    *count = sizeof keys / sizeof *keys;
    return keys;
}

const struct key *keys_find(enum key_level level, const char *name)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if ((keys[i].levels & level) != 0 && strcmp(keys[i].name, name) == 0)
            return &keys[i];
    }
    return NULL;
}

size_t keys_index(const struct key *key)
{
    return (size_t)(key - keys);
}

const char *keys_level_words(enum key_level level)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (levels[i].level == level)
            return levels[i].words;
    }
    return "?";
}

char *keys_type_text(const struct key *key, char *out, size_t out_size)
{
    static const char *const names[TYPE_COUNT] = {
        [TYPE_MAP] = "mapping",       [TYPE_TEXT] = "text",        [TYPE_COMMAND] = "command",
        [TYPE_FILE] = "file",         [TYPE_NAME] = "name",        [TYPE_ADDRESS] = "address",
        [TYPE_USER] = "user name",    [TYPE_NUMBER] = "number",    [TYPE_DURATION] = "duration",
        [TYPE_CHOICE] = NULL,         [TYPE_HOSTKEY] = NULL,       [TYPE_DEVICE] = "device",
        [TYPE_MAC] = "MAC",           [TYPE_LIMIT] = "N or N%",    [TYPE_WINDOW] = "HH:MM-HH:MM",
        [TYPE_NAMES] = "names",       [TYPE_LIST] = "list",        [TYPE_SIZE] = "size",
        [TYPE_IPV4] = "IPv4 address", [TYPE_DISK] = "U-Boot disk",
    };
    const char *name = names[key->type];
    snprintf(out, out_size, "%s%s%s", name == NULL ? "" : name,
             name == NULL || key->range == NULL ? "" : " ", key->range == NULL ? "" : key->range);
    return out;
}

char *keys_levels_text(const struct key *key, char *out, size_t out_size)
{
    size_t used = 0;
    out[0] = '\0';
    if (key->levels == LEVEL_ANY) {
        snprintf(out, out_size, "any");
        return out;
    }
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if ((key->levels & levels[i].level) == 0 || used >= out_size)
            continue;
        used += (size_t)snprintf(out + used, out_size - used, "%s%s", used == 0 ? "" : ", ",
                                 levels[i].name);
    }
    return out;
}

const char *keys_default_text(const struct key *key)
{
    if (key->value != NULL)
        return key->value;
    return key->fallback == NULL ? "required" : key->fallback;
}
