/* SPDX-License-Identifier: Apache-2.0 */
#include "run/passage.h"

#include "policy/local.h"
#include "report/json_report.h"
#include "run/run_internal.h"
#include "run/soak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A gate may wait for a test suite. */
#define GATE_TIMEOUT_MS (4u * 3600u * 1000u)

static const struct wave_spec *wave_of(const struct run *run)
{
    const struct inventory *inventory = run->config.inventory;
    return run->wave < inventory->wave_count ? &inventory->waves[run->wave] : NULL;
}

/* Is there anything for a later wave to do? */
static size_t targets_left(const struct run *run)
{
    size_t left = 0;
    for (size_t i = 0; i < run->count; i++)
        left += run->statuses[i]->wave > run->wave && run->statuses[i]->outcome == OUTCOME_NONE;
    return left;
}

/* A wave that --limit has left empty has nothing to be judged by; one that --resume found done
 * does. */
static bool wave_is_left_out(const struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        if (run->statuses[i]->wave == run->wave)
            return false;
    }
    return run->config.resume == NULL;
}

static void passage_enter(struct run *run, enum passage_phase phase);

/* --- the soak -------------------------------------------------------------------------- */

static void soak_enter(struct run *run)
{
    if (!soak_start(run))
        passage_enter(run, PASSAGE_GATE);
}

void passage_soaked(struct run *run)
{
    if (run->view.halted != NULL || waves_judge(run))
        run->passage = PASSAGE_IDLE;
    else
        passage_enter(run, PASSAGE_GATE);
    run_settle(run);
}

bool passage_is_busy(const struct run *run)
{
    return run->passage == PASSAGE_SOAK;
}

/* --- the gate -------------------------------------------------------------------------- */

static void gate_callback(int exit_status, const char *out, const char *err, const char *error,
                          void *arg)
{
    struct run *run = arg;
    char reason[200];
    const char *words = err[0] != '\0' ? err : out;
    run->gate = NULL;
    if (exit_status == 0) {
        passage_enter(run, PASSAGE_CONFIRM);
        return;
    }
    if (error[0] != '\0')
        snprintf(reason, sizeof reason, "the gate after wave %u: %.120s", run->wave + 1, error);
    else
        snprintf(reason, sizeof reason, "the gate after wave %u said no (exit status %d)%s%.*s",
                 run->wave + 1, exit_status, words[0] != '\0' ? ": " : "",
                 (int)strcspn(words, "\r\n"), words);
    waves_halt(run, reason);
}

static void gate_start(struct run *run)
{
    const struct wave_spec *wave = wave_of(run);
    if (wave == NULL || wave->gate == NULL || targets_left(run) == 0) {
        passage_enter(run, PASSAGE_CONFIRM);
        return;
    }
    const char *const argv[] = {"/bin/sh", "-c", wave->gate, NULL};
    char *report = report_wave_text(&run->view, run->wave);
    run_message(run, LOG_INFO, "wave %u is done; asking its gate: %s", run->wave + 1, wave->gate);
    if (report != NULL)
        run->gate =
            local_start(run->config.loop, argv, report, GATE_TIMEOUT_MS, gate_callback, run);
    free(report);
    if (run->gate == NULL)
        waves_halt(run, "no memory to run the gate");
}

/* --- the question ---------------------------------------------------------------------- */

static void confirm_callback(struct run *run, const char *line)
{
    if (strcasecmp(line, "yes") == 0 || strcasecmp(line, "y") == 0)
        passage_enter(run, PASSAGE_PASSED);
    else
        waves_halt(run, "the next wave was not confirmed");
}

static void confirm_start(struct run *run)
{
    const struct wave_spec *wave = wave_of(run);
    if (wave == NULL || !wave->pause_confirm || targets_left(run) == 0) {
        passage_enter(run, PASSAGE_PASSED);
        return;
    }
    char question[160];
    snprintf(question, sizeof question,
             "Wave %u is done, %zu devices follow. Go on with the next one? [yes/no] ",
             run->wave + 1, targets_left(run));
    if (!ask_line(run, question, confirm_callback))
        waves_halt(run, "its next wave wants to be confirmed and there is no terminal");
}

/* --- phases ------------------------------------------------------------------------------- */

static void passage_enter(struct run *run, enum passage_phase phase)
{
    static void (*const enter[])(struct run *) = {[PASSAGE_SOAK] = soak_enter,
                                                  [PASSAGE_GATE] = gate_start,
                                                  [PASSAGE_CONFIRM] = confirm_start,
                                                  [PASSAGE_PASSED] = waves_go_on};
    run->passage = phase;
    enter[phase](run);
}

bool passage_try(struct run *run)
{
    if (run->passage == PASSAGE_PASSED || wave_is_left_out(run)) {
        run->passage = PASSAGE_IDLE;
        return true;
    }
    if (run->passage == PASSAGE_IDLE)
        passage_enter(run, PASSAGE_SOAK);
    return false;
}

void passage_cancel(struct run *run)
{
    local_cancel(run->gate);
    run->gate = NULL;
    if (run->passage == PASSAGE_CONFIRM)
        ask_cancel(run);
    if (run->passage == PASSAGE_SOAK) {
        soak_cancel(run);
        run->passage = PASSAGE_IDLE;
    }
}
