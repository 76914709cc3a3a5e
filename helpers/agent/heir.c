/* SPDX-License-Identifier: Apache-2.0 */
#include "heir.h"

#include "agent.h"
#include "claims.h"
#include "console.h"
#include "daemon.h"
#include "pin.h"
#include "reboot.h"
#include "text.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

int heir_provide(struct agent *agent)
{
    const int estate[GUARD_ESTATE_SIZE] = {
        agent->unix_listener, agent->tcp_listener, FD_CONFIG, agent->disk.fd, agent->watchdog.fd,
    };
    return guard_post(&agent->guard, estate);
}

/* The dead agent held them in memory; they still are, but nobody keeps them there. What an heir
 * cannot hold it has to do without. */
static void pin_again(const struct agent *agent)
{
    static struct pins pins; /* to the end of the program */
    struct device_set layers = {.count = 0};
    struct pid_set lifeline = {.count = 0};
    struct mount_table table;
    if (mounts_read(&table, 0) != 0)
        return;
    claims_list_layers(&table, agent->target.device, &layers);
    mounts_free(&table);
    process_lifeline(0, 0, &lifeline);
    for (unsigned i = 0; i < lifeline.count; i++) {
        struct pid_set one = {.items = {lifeline.items[i]}, .count = 1};
        pin_processes(&pins, &layers, &one);
    }
}

int heir_take(struct agent *agent)
{
    struct fail fail;
    const char *name;
    if (disk_adopt(&agent->disk, FD_DISK, &fail) != 0) {
        console_print(agent->console, "the disk cannot be written on: %s", fail.text);
        return -1;
    }
    agent->is_heir = true;
    agent->work.destroyed = true;
    agent->phase = PHASE_WRITING;
    agent->mode = MODE_STREAM;
    agent->flash.arena.must_lock = true;
    text_copy(agent->target.path, sizeof agent->target.path, agent->disk.path);
    name = strrchr(agent->disk.path, '/');
    text_copy(agent->target.name, sizeof agent->target.name, name == NULL ? "" : name + 1);
    agent->target.device = agent->disk.device;
    watchdog_adopt(&agent->watchdog, FD_WATCHDOG);
    agent->sysrq_fd = reboot_prepare();
    signal(SIGTERM, SIG_IGN);
    pin_again(agent);
    if (heir_provide(agent) == 0)
        guard_tell(&agent->guard, GUARD_INCOMPLETE);
    return 0;
}

int heir_prepare(struct agent *agent)
{
    struct flash *flash = &agent->flash;
    struct fail *fail = &agent->work.fail;
    flash_set_tail(flash, agent->disk.size, agent->disk.logical_sector);
    return flash_prepare_pool(flash, fail) != 0
               ? -1
               : flash_prepare_staging(flash, flash->head_blocks, fail);
}
