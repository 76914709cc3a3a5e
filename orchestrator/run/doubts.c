/* SPDX-License-Identifier: Apache-2.0 */
#include "run/doubts.h"

#include "target/shift.h"

#include <stdio.h>
#include <string.h>

void doubts_add(struct doubts *doubts, const char *text)
{
    if (doubts->count == DOUBTS_MAX)
        return;
    char *place = doubts->texts[doubts->count];
    snprintf(place, sizeof doubts->texts[0], "%s", text);
    doubts->list[doubts->count++] = place;
}

uint32_t doubts_kept(const struct run *run, const struct target_status *status)
{
    if (status->mode == MODE_NETBOOT)
        return status->spec->netboot.layout == NETBOOT_SHIFTED ? 1 : 0;
    return shift_kept(status, run->view.store);
}

/* What speaks against the image being reachable with what the inventory says. */
static void warn_reachability(const struct run *run, const struct target_status *status,
                              struct doubts *doubts)
{
    const struct target_spec *spec = status->spec;
    if (run->view.store == NULL || spec->reach != REACH_SSH || target_is_local(&run->env, spec))
        return;
    const struct image_facts *facts = &run->view.store->facts;
    const char *user = spec->after.user != NULL ? spec->after.user : spec->user;
    char text[200];
    if (!facts->looked_inside) {
        doubts_add(doubts, "the image's root file system cannot be read: whether it lets us in is "
                           "not known");
        return;
    }
    if (!facts->has_ssh_server)
        doubts_add(doubts, "the image has no ssh server that we know of");
    for (unsigned i = 0; user != NULL && i < facts->user_count; i++) {
        if (strcmp(facts->users[i].name, user) != 0)
            continue;
        if (!facts->users[i].has_keys) {
            snprintf(text, sizeof text, "the image's user %s has no ssh key", user);
            doubts_add(doubts, text);
        }
        return;
    }
    snprintf(text, sizeof text, "the image has no user %s%s", user != NULL ? user : "(not named)",
             facts->has_first_boot ? " before its first boot" : "");
    doubts_add(doubts, text);
}

/* Partitions that get other numbers. */
static void warn_shifted(const struct run *run, const struct target_status *status,
                         struct doubts *doubts)
{
    char text[200];
    bool shifted = status->mode == MODE_NETBOOT ? status->spec->netboot.layout == NETBOOT_SHIFTED
                                                : shift_is_wanted(status->spec);
    if (run->view.store == NULL || !shifted)
        return;
    const char *named = run->view.store->facts.fstab_partition;
    if (named[0] == '\0')
        return;
    snprintf(text, sizeof text,
             "the image's /etc/fstab names %s: behind the boot loader's partition that is another "
             "one, or none",
             named);
    doubts_add(doubts, text);
}

/* A boot loader that is said to be elsewhere, and may be here. */
static void warn_loader(const struct target_status *status, struct doubts *doubts)
{
    char text[200];
    const struct fact_partition *partition =
        status->mode != MODE_NETBOOT ? shift_doubt(status) : NULL;
    if (partition == NULL)
        return;
    snprintf(text, sizeof text,
             "%s has %s and is erased: with netboot: {layout: disk} the boot loader that recovery "
             "needs must be elsewhere",
             partition->path, partition->boot_loader);
    doubts_add(doubts, text);
}

static bool is_volume(const struct fact_partition *partition)
{
    return strcmp(partition->filesystem, "LVM2_member") == 0;
}

/* Partitions that stay behind the boot loader, while what rests on them as well goes. */
static void warn_kept(const struct run *run, const struct target_status *status,
                      struct doubts *doubts)
{
    const struct target_facts *facts = &status->facts;
    uint32_t stays = doubts_kept(run, status);
    char text[DOUBT_SIZE];
    bool volume_goes = false;
    for (unsigned i = 0; i < facts->partition_count; i++)
        volume_goes = volume_goes || ((stays >> i & 1) == 0 && is_volume(&facts->partitions[i]));
    for (unsigned i = 0; i < facts->partition_count; i++) {
        const struct fact_partition *partition = &facts->partitions[i];
        if ((stays >> i & 1) == 0 || partition->number == 1)
            continue;
        if (strcmp(facts->root_kind, "overlay") == 0 && partition->mountpoint[0] != '\0')
            snprintf(text, sizeof text,
                     "the root file system is an overlay: changes that it keeps on %s would lie "
                     "over the new system, too",
                     partition->path);
        else if (volume_goes && is_volume(partition))
            snprintf(text, sizeof text,
                     "%s stays, but if it is a piece of the volume group that is erased, what is "
                     "on it is lost",
                     partition->path);
        else
            continue;
        doubts_add(doubts, text);
    }
}

/* What recovery needs is looked at before; that somebody is there to reset it cannot be. */
static void warn_recovery(const struct run *run, const struct target_status *status,
                          struct doubts *doubts)
{
    if (status->spec->recovery != RECOVERY_NETBOOT || status->mode == MODE_NETBOOT)
        return;
    if (target_is_local(&run->env, status->spec))
        doubts_add(doubts, "recovery: netboot is not for this run: should the machine not come "
                           "back, flash it from another one with --mode netboot");
    else if (!status->spec->reset.present)
        doubts_add(doubts, "recovery: netboot follows by itself only where a `reset` is given");
}

void doubts_find(const struct run *run, const struct target_status *status, struct doubts *doubts)
{
    char text[DOUBT_SIZE];
    warn_reachability(run, status, doubts);
    warn_shifted(run, status, doubts);
    warn_loader(status, doubts);
    warn_recovery(run, status, doubts);
    if (status->facts.wifi) {
        snprintf(text, sizeof text, "it is reached over Wi-Fi (%s): stage mode only",
                 status->facts.interface);
        doubts_add(doubts, text);
    }
    warn_kept(run, status, doubts);
}
