/* SPDX-License-Identifier: Apache-2.0 */
#include "heir.h"

#include "agent.h"
#include "console.h"
#include "daemon.h"
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

#ifdef AGENT_TEST_SWITCHES
/* How much is held in memory now that the agent is dead. */
static void say_what_is_held(const struct agent *agent)
{
    char *text = text_read_all("/proc/meminfo");
    const char *line = text == NULL ? NULL : strstr(text, "Mlocked:");
    if (line != NULL)
        console_print(agent->console, "%.*s", (int)strcspn(line, "\n"), line);
    free(text);
}
#endif

int heir_take(struct agent *agent, int watchdog)
{
    struct fail fail;
    const char *name;
    if (disk_adopt(&agent->disk, FD_DISK, &fail) != 0) {
        console_print(agent->console, "the disk cannot be written on: %s", fail.text);
        return -1;
    }
#ifdef AGENT_TEST_SWITCHES
    say_what_is_held(agent);
#endif
    agent->is_heir = true;
    agent->work.destroyed = true;
    agent->phase = PHASE_WRITING;
    agent->mode = MODE_STREAM;
    agent->flash.arena.must_lock = true;
    text_copy(agent->target.path, sizeof agent->target.path, agent->disk.path);
    name = strrchr(agent->disk.path, '/');
    text_copy(agent->target.name, sizeof agent->target.name, name == NULL ? "" : name + 1);
    agent->target.device = agent->disk.device;
    if (watchdog >= 0)
        watchdog_adopt(&agent->watchdog, watchdog);
    agent->sysrq_fd = reboot_prepare();
    signal(SIGTERM, SIG_IGN);
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
