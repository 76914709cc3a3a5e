/* SPDX-License-Identifier: Apache-2.0 */
/* The machine flashes itself. All of the image is in its agent's memory before the fence goes up;
 * from then on the agent fences, writes and reboots unattended, because this program, its journal
 * and the shell it was started from are on the disk that is erased. It lives on as long as it can,
 * to tell of a fence that failed; when all goes well it ends with the old system, and nobody has
 * seen the outcome. */
#include "target/target_internal.h"

#define PROOF_MS 2000u /* the new system runs already: it is this one */

void target_local_commit(struct target *target)
{
    target->write_sent = true; /* no word of ours is needed for it any more */
    target_log(target, LOG_WARNING,
               "committed: everything is in memory, the agent goes on by itself, writes %s and "
               "reboots this machine; this program ends with the old system and does not see the "
               "new one",
               target->status.facts.disk);
    if (target->env->journal != NULL)
        journal_set_quiet(target->env->journal, true);
}

void target_local_return(struct target *target)
{
    if (target->env->journal != NULL)
        journal_set_quiet(target->env->journal, false);
}

/* The boot id tells whether the machine was rebooted since. Its agent is never asked over the
 * network: as long as there is one, it is here. */
void target_local_resume(struct target *target, const struct journal_target *record)
{
    bool rebooted = !target_is_controller(record->boot_id);
    target->write_sent = record->write_sent;
    target->resume_away = rebooted && record->write_sent;
    target->has_agent = target->has_agent && !rebooted;
}

uint64_t target_local_away(const struct target *target)
{
    bool rebooted = !target_is_controller(target->status.boot_id_before);
    return rebooted ? PROOF_MS : target->status.spec->reboot_timeout;
}
