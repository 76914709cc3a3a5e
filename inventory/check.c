/* SPDX-License-Identifier: Apache-2.0 */
/* What no host can tell alone: that no two are the same device, that nobody is flashed twice. */
#include "address.h"
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_SIZE 600

/* One host's identity in some respect, to be compared with all others'. */
struct identity {
    const char *id;
    const struct draft *draft;
    struct position at;
};

/* Writes what must be unique about a host, or returns -1 when it has none. */
typedef int (*identity_maker)(const struct draft *draft, char *out, struct position *at);

/* The place of a host's own or inherited value, else of the host. */
static struct position place_of(const struct draft *draft, enum key_level level, const char *name)
{
    struct position at = settings_place(&draft->settings, level, name);
    return at.line == 0 || at.line < draft->at.line ? draft->at : at;
}

static bool is_wrong(const struct draft *draft, enum key_level level, const char *name)
{
    return settings_state(&draft->settings, level, name) == SETTING_WRONG;
}

/* Jump hosts are ssh_config(5)'s and follow from the host's name, so they tell no two hosts of the
 * same name apart. */
static int address_identity(const struct draft *draft, char *out, struct position *at)
{
    char address[300];
    const struct target_spec *spec = &draft->settings.spec;
    struct position port = settings_place(&draft->settings, LEVEL_HOST, "port");
    if (is_wrong(draft, LEVEL_HOST, "host"))
        return -1;
    address_canonical(spec->host == NULL ? draft->name : spec->host, address, sizeof address);
    if (is_wrong(draft, LEVEL_HOST, "port")) /* the same wrong one is the same */
        snprintf(out, ID_SIZE, "address %s and the port of line %u:%u", address, port.line,
                 port.column);
    else
        snprintf(out, ID_SIZE, "address %s port %u", address, spec->port == 0 ? 22 : spec->port);
    *at = place_of(draft, LEVEL_HOST, "host");
    return 0;
}

static int mac_identity(const struct draft *draft, char *out, struct position *at)
{
    if (draft->settings.spec.mac == NULL)
        return -1;
    snprintf(out, ID_SIZE, "MAC address %s", draft->settings.spec.mac);
    *at = place_of(draft, LEVEL_HOST, "mac");
    return 0;
}

static int reset_identity(const struct draft *draft, char *out, struct position *at)
{
    const struct reset_spec *reset = &draft->settings.spec.reset;
    if (reset->chip == NULL || reset->line == NULL || is_wrong(draft, LEVEL_RESET, "line") ||
        is_wrong(draft, LEVEL_RESET, "chip"))
        return -1;
    char line[ID_SIZE - 20];
    snprintf(out, ID_SIZE, "reset line %s",
             reset_line_canonical(reset->chip, reset->line, line, sizeof line));
    *at = place_of(draft, LEVEL_RESET, "line");
    return 0;
}

static int compare_identities(const void *a, const void *b)
{
    const struct identity *one = a, *other = b;
    int order = strcmp(one->id, other->id);
    if (order != 0)
        return order;
    if (one->at.line != other->at.line)
        return one->at.line < other->at.line ? -1 : 1;
    if (one->at.column != other->at.column)
        return one->at.column < other->at.column ? -1 : 1;
    return one->draft->sequence < other->draft->sequence ? -1 : 1;
}

static void tell_twice(struct model *model, const struct identity *first,
                       const struct identity *second)
{
    const struct draft *draft = second->draft;
    if (draft->is_counted && first->draft->written == draft->written)
        mistakes_add(model->context.mistakes, second->at,
                     "'%s' gives all its hosts the one %s; number it too, as in [01:09]",
                     draft->written, second->id);
    else
        mistakes_add(model->context.mistakes, second->at, "'%s' has the %s of '%s' (line %u)",
                     draft->name, second->id, first->draft->name, first->draft->at.line);
}

static void check_unique(struct model *model, identity_maker make)
{
    struct identity *identities = calloc(model->draft_count + 1, sizeof *identities);
    if (identities == NULL)
        return;
    size_t n = 0;
    for (const struct draft *draft = model->drafts; draft != NULL; draft = draft->next) {
        char id[ID_SIZE];
        if (make(draft, id, &identities[n].at) != 0)
            continue;
        identities[n].draft = draft;
        identities[n++].id = arena_copy(model->context.arena, id, strlen(id));
    }
    qsort(identities, n, sizeof *identities, compare_identities);
    const struct identity *first = identities;
    for (size_t i = 1; i < n; i++) {
        if (strcmp(first->id, identities[i].id) == 0)
            tell_twice(model, first, &identities[i]);
        else
            first = &identities[i];
    }
    free(identities);
}

/* A reset line must be whole where a host's own body speaks of it; a group may give the chip and
 * its hosts the lines. */
static void check_reset(struct model *model, const struct draft *draft)
{
    const struct reset_spec *reset = &draft->settings.spec.reset;
    if (draft->own_reset != SETTING_SET || reset->present || is_wrong(draft, LEVEL_RESET, "chip") ||
        is_wrong(draft, LEVEL_RESET, "line") || is_wrong(draft, LEVEL_RESET, "command"))
        return;
    mistakes_add(model->context.mistakes, place_of(draft, LEVEL_HOST, "reset"), "reset needs %s",
                 reset->chip != NULL   ? "a 'line' beside its chip"
                 : reset->line != NULL ? "a 'chip' beside its line"
                                       : "'chip' and 'line', or 'command'");
}

static void check_netboot(struct model *model, const struct draft *draft)
{
    const struct target_spec *spec = &draft->settings.spec;
    const char *key = spec->recovery == RECOVERY_NETBOOT ? "recovery"
                      : spec->mode == INVENTORY_NETBOOT  ? "mode"
                                                         : NULL;
    const char *host = spec->host != NULL ? spec->host : draft->name;
    if (key == NULL)
        return;
    if (spec->mac == NULL && !is_wrong(draft, LEVEL_HOST, "mac"))
        mistakes_add(model->context.mistakes, place_of(draft, LEVEL_HOST, key),
                     "'%s' needs its 'mac' for %s: netboot", draft->name, key);
    if (address_is_number(host) || is_wrong(draft, LEVEL_HOST, "host") ||
        is_wrong(draft, LEVEL_HOST, "netboot"))
        return;
    if (!spec->netboot.is_dhcp)
        mistakes_add(model->context.mistakes, place_of(draft, LEVEL_HOST, "host"),
                     "'%s' is a name: its boot loader's address must be known for %s: netboot; "
                     "write host: 10.0.0.11 or netboot: {address: dhcp}",
                     host, key);
    else if (spec->netboot.server == NULL)
        mistakes_add(model->context.mistakes, place_of(draft, LEVEL_HOST, "host"),
                     "'%s' is a name: which address of this machine its boot loader asks is not "
                     "known; write netboot: {server: ADDRESS}",
                     host);
}

/* It goes into a script between single quotes. */
static void check_boot(struct model *model, const struct draft *draft)
{
    const char *boot = draft->settings.spec.netboot.boot;
    if (boot != NULL && strchr(boot, '\'') != NULL)
        mistakes_add(model->context.mistakes, place_of(draft, LEVEL_NETBOOT, "boot"),
                     "boot may have no ' in it; U-Boot's shell knows double quotes and ; as well");
}

static void check_services(struct model *model, const struct draft *draft)
{
    const struct services_spec *services = &draft->settings.spec.services;
    if (services->policy != NULL || services->parameter_count == 0 ||
        is_wrong(draft, LEVEL_HOST, "services"))
        return;
    mistakes_add(model->context.mistakes, services->at,
                 "services names no policy; write 'policy: systemd' or another one");
}

static void check_waves(struct model *model, const struct draft *draft)
{
    const struct group *first = NULL;
    for (size_t i = 0; i < draft->group_count; i++) {
        const struct group *group = draft->groups[i], *earlier = first, *later = group;
        if (group->wave == NO_WAVE)
            continue;
        if (first == NULL) {
            first = group;
            continue;
        }
        if (group->wave == first->wave)
            continue;
        if (group->wave < first->wave) {
            earlier = group;
            later = first;
        }
        mistakes_add(model->context.mistakes, later->wave_at,
                     "'%s' of the group '%s' is already in wave %u through the group '%s'",
                     draft->name, later->name, earlier->wave + 1, earlier->name);
        return;
    }
}

void model_check(struct model *model)
{
    check_unique(model, address_identity);
    check_unique(model, mac_identity);
    check_unique(model, reset_identity);
    for (const struct draft *draft = model->drafts; draft != NULL; draft = draft->next) {
        check_reset(model, draft);
        check_netboot(model, draft);
        check_boot(model, draft);
        check_services(model, draft);
        check_waves(model, draft);
    }
}
