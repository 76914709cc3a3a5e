/* SPDX-License-Identifier: Apache-2.0 */
#include "choice.h"

#include "address.h"
#include "run/self.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --local has none: the machine itself is all there is, and its run is resumed by that word. */
struct inventory *choice_load(const struct options *options)
{
    struct diagnostics mistakes = {0};
    bool local = strcmp(options->inventory, SELF_INVENTORY) == 0;
    struct inventory *inventory =
        local ? self_inventory(&mistakes) : inventory_load(options->inventory, &mistakes);
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    diagnostics_free(&mistakes);
    return inventory;
}

/* --limit, or everything. NULL after having complained. */
bool *choice_select(const struct options *options, const struct inventory *inventory)
{
    bool *selected = calloc(inventory->target_count + 1, sizeof *selected);
    if (selected == NULL || options->limit == NULL) {
        for (size_t i = 0; selected != NULL && i < inventory->target_count; i++)
            selected[i] = true;
        return selected;
    }
    char message[400];
    if (inventory_select(inventory, options->limit, selected, message, sizeof message) > 0)
        return selected;
    fprintf(stderr, "fleetflash: --limit %s: %s\n", options->limit,
            message[0] != '\0' ? message : "matches no target");
    free(selected);
    return NULL;
}

/* The inventory's own check could not know of --mode netboot. */
size_t choice_check_netboot(const struct options *options, const struct inventory *inventory,
                            const bool *selected)
{
    struct diagnostics mistakes = {0};
    for (size_t i = 0; i < inventory->target_count; i++) {
        const struct target_spec *spec = &inventory->targets[i];
        if (!selected[i])
            continue;
        bool netboot = options->mode_given ? options->mode == INVENTORY_NETBOOT
                                           : spec->mode == INVENTORY_NETBOOT;
        if (netboot && spec->mac == NULL)
            diagnostics_add(&mistakes, inventory->file, spec->at,
                            "'%s' needs its 'mac' to be flashed by its boot loader", spec->name);
        if (netboot && !spec->netboot.is_dhcp && !address_is_number(spec->host))
            diagnostics_add(&mistakes, inventory->file, spec->at,
                            "'%s' is a name: its boot loader's address must be known; write host: "
                            "10.0.0.11 or netboot: {address: dhcp}",
                            spec->host);
    }
    for (size_t i = 0; i < mistakes.count; i++)
        fprintf(stderr, "%s\n", mistakes.texts[i]);
    size_t count = mistakes.count;
    diagnostics_free(&mistakes);
    return count;
}
