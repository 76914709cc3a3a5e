/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's jobs, and what the agent does when one is done. */
#include "agent.h"
#include "choose.h"
#include "console.h"
#include "facts.h"
#include "fault.h"
#include "heir.h"
#include "loader.h"
#include "reboot.h"
#include "superblocks.h"
#include "text.h"
#include "writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LAST_WORDS   500 /* ms between the end of the stream and the reboot */
#define REWRITES_MAX 3u

/* --- on the worker ------------------------------------------------------------------------ */

static int job_probe(void *arg)
{
    struct agent_work *work = arg;
    struct agent *agent = work->agent;
    struct fail disk_fail = {0};
    if (agent->serve_disk != NULL) {
        memset(&agent->target, 0, sizeof agent->target);
        text_copy(agent->target.path, sizeof agent->target.path, agent->serve_disk);
    } else if (target_resolve(&agent->target, work->device, &work->fail) != 0) {
        return -1;
    }
    if (agent->disk.fd >= 0)
        disk_close(&agent->disk);
    disk_open(&agent->disk, agent->target.path, &disk_fail);
    if (agent->disk.fd < 0 && disk_fail.code != FAILCODE_REFUSED) {
        work->fail = disk_fail;
        return -1;
    }
    if (agent->serve_sector != 0)
        agent->disk.logical_sector = agent->serve_sector;
    watchdog_look(&agent->watchdog);
    struct facts_config config = {
        .target = &agent->target,
        .disk = &agent->disk,
        .disk_fail = &disk_fail,
        .watchdog = &agent->watchdog,
        .is_file = agent->serve_disk != NULL,
        .relay = work->peer_pid,
        .uid = agent->config.uid,
    };
    work->facts = facts_collect(&config);
    return work->facts != NULL ? 0 : fault_set(&work->fail, FAILCODE_MEMORY, "out of memory");
}

int jobs_check_size(const struct agent *agent, const struct manifest *manifest, struct fail *fail)
{
    uint64_t end = manifest->image_size + manifest->shift;
    if (agent->disk.fd >= 0 && end > agent->disk.size) {
        fault_set(fail, FAILCODE_DISK, "the image %s %llu bytes, %s only %llu",
                  manifest->shift != 0 ? "behind the boot loader ends after" : "has",
                  (unsigned long long)end, agent->disk.path, (unsigned long long)agent->disk.size);
        return fault_remedy(fail, "use a larger disk or card, or a smaller image");
    }
    return 0;
}

static int scan_and_choose(struct agent *agent, struct agent_work *work, struct scan *scan)
{
    struct flash *flash = &agent->flash;
    struct memory_info memory;
    struct scan_result found;
    uint32_t blocks;
    if (memory_read(&memory) != 0)
        return fault_set(&work->fail, FAILCODE_MEMORY, "cannot read /proc/meminfo");
    uint64_t room = choose_room(&memory, agent->target.lifeline);
    uint64_t all = flash_wire_total(flash, &blocks);
    enum flash_mode asked = work->choice.asked;
    /* What surely can be staged is fetched while the disk is still being compared. */
    bool fits = choose_need(all, blocks) <= room;
    bool early = agent->unattended ? fits : asked == MODE_STAGE || (asked == MODE_AUTO && fits);
    /* Streaming keeps only the head: that much must be there. */
    flash->arena.floor = asked == MODE_STREAM ? 0 : CHOOSE_RESERVE / 2 + agent->target.lifeline;
    flash->arena.must_lock = agent->serve_disk == NULL;
    if ((early && flash_prepare_staging(flash, flash->manifest.block_count, &work->fail) != 0) ||
        scan_run(scan, early, &agent->worker.report, &found, &work->fail) != 0)
        return -1;
    if (agent->unattended) { /* what the live system still changes can be fetched from nobody */
        found.whole = true;
        found.travelling = blocks;
        found.wire_bytes = all;
    }
    if (choose_mode(asked, flash->force, &found, room, &work->choice.reply, &work->fail) != 0)
        return -1;
    work->choice.fresh = found.fresh;
    work->choice.staging = found.travelling;
    if (work->choice.reply.mode == MODE_STREAM) {
        flash->arena.floor = 0;
        if (flash_prepare_pool(flash, &work->fail) != 0)
            return -1;
        return flash_prepare_staging(flash, flash->head_blocks, &work->fail);
    }
    if (work->choice.reply.mode == MODE_UNCHANGED || (early && !agent->unattended))
        return 0;
    if (flash_prepare_staging(flash, flash->manifest.block_count, &work->fail) != 0)
        return -1;
    for (uint32_t i = 0; i < flash->manifest.block_count; i++)
        if (!flash_is_unmapped(flash, i) && !flash_is_zero(flash, i) &&
            (agent->unattended || !(flash_state(flash, i) & BLOCK_SAME)))
            flash_need(flash, i);
    return 0;
}

static int check_loader(struct agent *agent, struct fail *fail)
{
    uint8_t *sector = NULL;
    if (!flash_is_shifted(&agent->flash))
        return 0;
    if (posix_memalign((void **)&sector, DISK_ALIGN, DISK_ALIGN) != 0)
        return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    int status = loader_check(&agent->disk, &agent->flash.manifest, sector, fail);
    free(sector);
    return status;
}

static int job_scan(void *arg)
{
    struct agent_work *work = arg;
    struct agent *agent = work->agent;
    struct scan scan;
    if (agent->target.refusal.code != 0) {
        work->fail = agent->target.refusal;
        return -1;
    }
    if (jobs_check_size(agent, &agent->flash.manifest, &work->fail) != 0 ||
        check_loader(agent, &work->fail) != 0)
        return -1;
    flash_set_tail(&agent->flash, agent->disk.size, agent->disk.logical_sector);
    if (scan_init(&scan, &agent->disk, &agent->flash, &work->fail) != 0)
        return -1;
    int status = scan_and_choose(agent, work, &scan);
    scan_free(&scan);
    return status;
}

static int put_up(struct agent *agent, struct agent_work *work)
{
    if (!switch_is_on(&agent->config.switches, SWITCH_NO_GUARD) && heir_provide(agent) != 0)
        report_log(&agent->worker.report, LOG_WARNING,
                   "no second process can be started (%s): if the agent died behind its fence, the "
                   "device would have to be reset by hand",
                   strerror(errno));
    struct fence_config config = {
        .target = &agent->target,
        .switches = &agent->config.switches,
        .report = &agent->worker.report,
        .relay = work->peer_pid,
        .guard = &agent->guard,
        .watchdog_owner = agent->watchdog.owner,
    };
    return fence_raise(&agent->fence, &config, &work->fail);
}

static int job_fence(void *arg)
{
    struct agent_work *work = arg;
    struct agent *agent = work->agent;
    if (disk_lock(&agent->disk, &work->fail) != 0)
        return -1;
    if (agent->serve_disk != NULL)
        return 0;
    if (agent->sysrq_fd < 0)
        agent->sysrq_fd = reboot_prepare();
    int status = watchdog_take(&agent->watchdog, &work->fail);
    if (status == 0)
        status = put_up(agent, work);
    if (status != 0 && !agent->fence.irreversible) {
        guard_dismiss(&agent->guard);         /* it holds the watchdog open */
        watchdog_give_back(&agent->watchdog); /* the old system runs on, and feeds it again */
        disk_unlock(&agent->disk);
    }
    return status;
}

static int job_write(void *arg)
{
    struct agent_work *work = arg;
    struct agent *agent = work->agent;
    bool spoiled = false;
    struct writer writer = {
        .disk = &agent->disk,
        .flash = &agent->flash,
        .report = &agent->worker.report,
        .switches = &agent->config.switches,
        .guard = &agent->guard,
        .stage = agent->mode == MODE_STAGE,
        /* A second start compares: much of it is there. */
        .fresh = work->choice.fresh && !work->destroyed,
        .destroyed = work->destroyed,
        .spoiled = &spoiled,
    };
    if (agent->is_heir && heir_prepare(agent) != 0)
        return -1;
    int status = writer_run(&writer, &work->fail);
    work->destroyed = writer.destroyed;
    if (status == 0)
        guard_tell(&agent->guard, GUARD_COMPLETE);
    return status;
}

static int job_undo(void *arg)
{
    struct agent_work *work = arg;
    struct agent *agent = work->agent;
    int status = 0;
    if (agent->serve_disk == NULL) {
        status = fence_undo(&agent->fence, &agent->worker.report);
        if (status == 0) {
            guard_dismiss(&agent->guard);
            watchdog_give_back(&agent->watchdog);
        }
    }
    if (status == 0)
        disk_unlock(&agent->disk);
    return status;
}

/* --- on the main thread ------------------------------------------------------------------- */

bool jobs_start(struct agent *agent, enum agent_job job)
{
    static const worker_job functions[] = {
        [JOB_PROBE] = job_probe, [JOB_SCAN] = job_scan, [JOB_FENCE] = job_fence,
        [JOB_WRITE] = job_write, [JOB_UNDO] = job_undo,
    };
    if (agent->job != JOB_NONE)
        return false;
    agent->work.agent = agent;
    agent->work.peer_pid = agent->relay_pid;
    memset(&agent->work.fail, 0, sizeof agent->work.fail);
    flash_resume(&agent->flash);
    if (job == JOB_WRITE) {
        /* Perhaps not for the first time: then neither what it asked for nor why it failed counts.
         */
        flash_restart(&agent->flash);
        memset(&agent->fail, 0, sizeof agent->fail);
        agent->failing = false;
    }
    agent->job = job;
    return worker_run(&agent->worker, (int)job, functions[job], &agent->work);
}

void jobs_reboot(struct agent *agent)
{
    if (agent->phase != PHASE_REBOOTING) {
        session_phase(agent, PHASE_REBOOTING);
        if (agent->serve_disk != NULL) {
            session_log(agent, LOG_INFO, "would reboot");
            agent->quit = true;
            return;
        }
        /* The stream ends in order, so that nobody waits for a connection that is no more. */
        if (agent->active != NULL)
            agent->active->ending = true;
        agent->reboot_at = agent_now() + LAST_WORDS;
        return;
    }
    agent->reboot_at = INT64_MAX;
    int others[SUPERBLOCKS_MAX];
    unsigned count = fence_others(&agent->fence, others, SUPERBLOCKS_MAX);
    reboot_now(agent->sysrq_fd >= 0 ? agent->sysrq_fd : reboot_prepare(), others, count,
               switch_is_on(&agent->config.switches, SWITCH_NO_REBOOT));
}

/* No undoing brings processes back: who runs the device must hear of it. */
static void name_ended(struct fail *fail, const struct ended *ended)
{
    size_t used = strlen(fail->text);
    if (ended->count > 0)
        text_format(fail->text + used, sizeof fail->text - used,
                    "; %u process%s that wrote to the disk %s ended and may have to be started "
                    "again: %s",
                    ended->count, ended->count == 1 ? "" : "es", ended->count == 1 ? "was" : "were",
                    ended->names);
}

/* Says what became of the target, once that is certain. */
static void announce(struct agent *agent, enum fail_state state)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    agent->failing = false;
    agent->fail.state = (uint8_t)state;
    if (state == FAIL_UNTOUCHED)
        name_ended(&agent->fail, &agent->fence.ended);
    console_print(agent->console, "%s", agent->fail.text);
    if (state != FAIL_INCOMPLETE)
        session_phase(agent, PHASE_FAILED);
    session_send(agent, out, protocol_encode_fail(&agent->fail, out, sizeof out));
    if (state == FAIL_REBOOTING) {
        console_print(agent->console, "the old system, untouched, is rebooted");
        agent->reboot_at = agent_now() + 2000; /* time for the last bytes on the link */
    } else if (state == FAIL_INCOMPLETE) {
        console_print(agent->console, "the disk is incomplete; waiting for the controller");
    }
}

/* With nobody to say so, a write that failed is begun anew by itself: all of it is in memory. */
static bool rewrites(struct agent *agent)
{
    if (!agent->unattended || agent->rewrites++ >= REWRITES_MAX)
        return false;
    console_print(agent->console, "%s; the write is begun anew", agent->fail.text);
    session_log(agent, LOG_WARNING, agent->fail.text);
    return jobs_start(agent, JOB_WRITE);
}

/* No job runs: undo what was done. */
static void back_out(struct agent *agent)
{
    if (agent->work.destroyed && rewrites(agent))
        return;
    if (agent->work.destroyed)
        announce(agent, FAIL_INCOMPLETE);
    else if (agent->phase < PHASE_FENCING || agent->phase == PHASE_FAILED)
        announce(agent, FAIL_UNTOUCHED);
    else
        jobs_start(agent, JOB_UNDO);
}

void jobs_fail(struct agent *agent, const struct fail *fail)
{
    if (agent->failing || agent->phase == PHASE_FAILED || agent->phase >= PHASE_WRITTEN)
        return;
    if (agent->job != JOB_NONE) {
        if (!flash_abort(&agent->flash, fail)) {
            if (fail->code == FAILCODE_ABORTED)
                return; /* too late: it goes on */
            flash_cancel(&agent->flash, fail);
        }
        agent->fail = *fail;
        agent->failing = true;
        return; /* jobs_done goes on from here */
    }
    if (agent->work.destroyed)
        return; /* incomplete already, and said so */
    agent->fail = *fail;
    agent->failing = true;
    back_out(agent);
}

void jobs_check_staged(struct agent *agent)
{
    if (agent->phase != PHASE_STAGING || agent->job != JOB_NONE || agent->staging_done)
        return;
    pthread_mutex_lock(&agent->flash.lock);
    bool held = agent->flash.need_count == 0;
    pthread_mutex_unlock(&agent->flash.lock);
    if (!held)
        return;
    agent->staging_done = true;
    session_phase(agent, PHASE_STAGED);
    agent->flash.tally.blocks_same = 0;
    for (uint32_t i = 0; i < agent->flash.manifest.block_count; i++)
        agent->flash.tally.blocks_same += flash_state(&agent->flash, i) & BLOCK_SAME;
    uint8_t out[PROTOCOL_SMALL_MAX];
    session_send(agent, out,
                 protocol_encode_tally(FRAME_STAGED, &agent->flash.tally, out, sizeof out));
}

static void scan_done(struct agent *agent)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    agent->mode = (enum flash_mode)agent->work.choice.reply.mode;
    session_send(agent, out, protocol_encode_mode(&agent->work.choice.reply, out, sizeof out));
    if (agent->mode == MODE_STAGE) {
        session_phase(agent, PHASE_STAGING);
        jobs_check_staged(agent);
    } else {
        /* Unchanged stays ready as well: the controller says ABORT or hangs up. */
        session_phase(agent, PHASE_READY);
    }
}

static void probe_done(struct agent *agent)
{
    uint8_t header[PROTOCOL_HEADER_SIZE];
    free(agent->facts);
    agent->facts = agent->work.facts;
    agent->work.facts = NULL;
    protocol_put_header(header, FRAME_FACTS, (uint32_t)strlen(agent->facts));
    session_send(agent, header, sizeof header);
    session_send(agent, (const uint8_t *)agent->facts, strlen(agent->facts));
}

static void job_failed(struct agent *agent, enum agent_job job)
{
    if (!agent->failing)
        agent->fail = agent->work.fail;
    agent->failing = true;
    if (job == JOB_UNDO)
        announce(agent, FAIL_REBOOTING);
    else if (job == JOB_FENCE) /* it has undone what it could */
        announce(agent, agent->fence.irreversible ? FAIL_REBOOTING : FAIL_UNTOUCHED);
    else
        back_out(agent);
}

void jobs_done(struct agent *agent, enum agent_job job, int status)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    agent->job = JOB_NONE;
    if (status != 0) {
        job_failed(agent, job);
        return;
    }
    switch (job) {
    case JOB_UNDO:
        announce(agent, FAIL_UNTOUCHED);
        return;
    case JOB_PROBE:
        probe_done(agent);
        break;
    case JOB_SCAN:
        if (!agent->failing)
            scan_done(agent);
        break;
    case JOB_FENCE:
        session_phase(agent, PHASE_FENCED);
        if (!agent->failing)
            session_send(agent, out, protocol_encode_empty(FRAME_FENCED, out, sizeof out));
        if (!agent->failing && agent->unattended)
            jobs_start(agent, JOB_WRITE);
        break;
    case JOB_WRITE:
        memset(&agent->fail, 0, sizeof agent->fail);
        agent->failing = false;
        session_phase(agent, PHASE_WRITTEN);
        agent->last_command = agent_now();
        agent->reboot_at = agent->unattended ? agent->last_command : 0;
        session_send(agent, out,
                     protocol_encode_tally(FRAME_WRITTEN, &agent->flash.tally, out, sizeof out));
        break;
    case JOB_NONE:
        break;
    }
    if (agent->failing) /* told to give up while the job was ending */
        back_out(agent);
}
