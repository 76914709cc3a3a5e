/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include <jansson.h>
#include <stdlib.h>
#include <time.h>

/* The conventions are those of docs/events.md: null for what is not known, seconds. In json_pack's
 * formats '?' is what makes a NULL a null. */

#define TIME_SIZE 32

static double seconds(uint64_t milliseconds)
{
    return (double)milliseconds / 1000;
}

/* Now, as RFC 3339 in UTC with milliseconds. */
static void write_time(char *out, size_t out_size)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(out, out_size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + used, out_size - used, ".%03ldZ", now.tv_nsec / 1000000);
}

static json_t *array_of(const char *const *texts)
{
    json_t *array = json_array();
    for (; array != NULL && *texts != NULL; texts++)
        json_array_append_new(array, json_string(*texts));
    return array;
}

static json_t *host_key_json(const struct hostkey_spec *key)
{
    static const char *const names[] = {[KEY_STRICT] = "strict",
                                        [KEY_ACCEPT_NEW] = "accept-new",
                                        [KEY_ACCEPT_ONCE] = "accept-once",
                                        [KEY_KEEP] = "keep"};
    if (key->kind == KEY_UNSET)
        return NULL;
    return json_string(key->kind == KEY_FINGERPRINT ? key->fingerprint : names[key->kind]);
}

static json_t *number_json(unsigned number)
{
    return number == 0 ? NULL : json_integer(number);
}

static json_t *after_json(const struct after_spec *after)
{
    return json_pack("{s:s?, s:s?, s:s?, s:o?, s:o?}", "host", after->host, "user", after->user,
                     "identity", after->identity, "port", number_json(after->port), "host_key",
                     host_key_json(&after->host_key));
}

static json_t *services_json(const struct services_spec *services)
{
    if (services->policy == NULL)
        return NULL;
    json_t *parameters = json_object();
    for (size_t i = 0; parameters != NULL && i < services->parameter_count; i++)
        json_object_set_new(parameters, services->parameters[i].key,
                            array_of(services->parameters[i].values));
    return json_pack("{s:s, s:o}", "policy", services->policy, "parameters", parameters);
}

static json_t *reset_json(const struct reset_spec *reset)
{
    if (!reset->present)
        return NULL;
    if (reset->command != NULL)
        return json_pack("{s:s}", "command", reset->command);
    return json_pack("{s:s, s:s, s:s, s:f}", "chip", reset->chip, "line", reset->line, "active",
                     reset->active_low ? "low" : "high", "hold", seconds(reset->hold));
}

static json_t *netboot_json(const struct netboot_spec *netboot)
{
    return json_pack("{s:s, s:s?, s:s, s:i, s:I, s:f, s:s, s:s?, s:s?, s:s?, s:b}", "layout",
                     netboot->layout == NETBOOT_DISK ? "disk" : "shifted", "server",
                     netboot->server, "address", netboot->is_dhcp ? "dhcp" : "static", "port",
                     (int)netboot->port, "part_size", (json_int_t)netboot->part_size, "timeout",
                     seconds(netboot->timeout), "disk", netboot->disk, "boot", netboot->boot,
                     "netmask", netboot->netmask, "gateway", netboot->gateway, "netconsole",
                     (int)netboot->netconsole);
}

static json_t *wave_number_json(const struct inventory *inventory, size_t index)
{
    int wave = inventory_wave_of(inventory, index);
    return wave < 0 ? NULL : json_integer(wave + 1);
}

static json_t *target_json(const struct inventory *inventory, size_t index, const char *time)
{
    static const char *const modes[] = {"auto", "stage", "stream", "netboot", "local"};
    static const char *const if_used[] = {"reflash", "keep"};
    static const char *const reaches[] = {"ssh", "ping", "none"};
    const struct target_spec *target = &inventory->targets[index];
    json_t *basis = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:s, s:o?, s:s?, s:s?, s:s, s:o?, s:s, s:s, s:s, s:s, s:s?}",
        "event", "target_listed", "time", time, "target", target->name, "group", target->group,
        "groups", array_of(target->groups), "host", target->host, "port", number_json(target->port),
        "user", target->user, "identity", target->identity, "become",
        target->become == BECOME_SUDO ? "sudo" : "none", "host_key",
        host_key_json(&target->host_key), "mode", modes[target->mode], "device", target->device,
        "if_used", if_used[target->if_used], "reach", reaches[target->reach], "health",
        target->health);
    json_t *rest = json_pack(
        "{s:f, s:f, s:f, s:i, s:o?, s:o?, s:s?, s:o?, s:o, s:s, s:o?, s:i}", "connect_timeout",
        seconds(target->connect_timeout), "transfer_timeout", seconds(target->transfer_timeout),
        "reboot_timeout", seconds(target->reboot_timeout), "retries", (int)target->retries, "after",
        after_json(&target->after), "services", services_json(&target->services), "mac",
        target->mac, "reset", reset_json(&target->reset), "netboot", netboot_json(&target->netboot),
        "recovery", target->recovery == RECOVERY_NETBOOT ? "netboot" : "none", "wave",
        wave_number_json(inventory, index), "line", (int)target->at.line);
    if (basis != NULL && rest != NULL)
        json_object_update(basis, rest);
    json_decref(rest);
    return basis;
}

static json_t *limit_json(const struct failure_limit *limit)
{
    if (!limit->present)
        return NULL;
    return json_sprintf("%u%s", limit->value, limit->is_percent ? "%" : "");
}

static json_t *window_json(const struct wave_spec *wave)
{
    if (wave->window_from < 0)
        return NULL;
    return json_sprintf("%02d:%02d-%02d:%02d", wave->window_from / 60, wave->window_from % 60,
                        wave->window_to / 60, wave->window_to % 60);
}

static json_t *wave_json(const struct inventory *inventory, const bool *selected, size_t index,
                         const char *time)
{
    const struct wave_spec *wave = &inventory->waves[index];
    json_t *targets = json_array();
    for (size_t i = 0; i < inventory->target_count; i++) {
        if ((selected == NULL || selected[i]) && inventory_wave_of(inventory, i) == (int)index)
            json_array_append_new(targets, json_string(inventory->targets[i].name));
    }
    return json_pack("{s:s, s:s, s:i, s:o, s:o, s:o?, s:o?, s:f, s:b, s:s?, s:o?}", "event",
                     "wave_listed", "time", time, "wave", (int)index + 1, "groups",
                     array_of(wave->groups), "targets", targets, "parallel",
                     number_json(wave->parallel), "max_failures", limit_json(&wave->max_failures),
                     "soak", seconds(wave->soak), "confirm", wave->pause_confirm ? 1 : 0, "gate",
                     wave->gate, "window", window_json(wave));
}

/* Writes one line and frees the object. */
static int print_line(json_t *object, FILE *out)
{
    if (object == NULL)
        return -1;
    int result = json_dumpf(object, out, JSON_COMPACT);
    json_decref(object);
    return result == 0 && fputc('\n', out) != EOF ? 0 : -1;
}

int list_print_json(const struct inventory *inventory, const bool *selected, FILE *out)
{
    char time[TIME_SIZE];
    write_time(time, sizeof time);
    for (size_t i = 0; i < inventory->target_count; i++) {
        if ((selected == NULL || selected[i]) &&
            print_line(target_json(inventory, i, time), out) != 0)
            return -1;
    }
    for (size_t i = 0; i < inventory->wave_count; i++) {
        if (print_line(wave_json(inventory, selected, i, time), out) != 0)
            return -1;
    }
    return 0;
}
