/* SPDX-License-Identifier: Apache-2.0 */
/* The plan, and the user's word: on a terminal the number of disks to erase must be typed. */
#include "run/doubts.h"
#include "run/run_internal.h"

#include "netboot/flash_script.h"
#include "report/plan.h"
#include "target/shift.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the texts of one target's plan live. */
struct texts {
    char mode[120], reached_as[300], trust[200], services[300];
    struct doubts doubts;
};

static const char *trust_sentence(const struct run *run, const struct target_status *status,
                                  char *out, size_t size)
{
    const struct image_facts *facts = run->view.store != NULL ? &run->view.store->facts : NULL;
    switch (target_trust(&run->env, status->spec, facts)) {
    case TRUST_NONE:
        snprintf(out, size, "new key: NOBODY VOUCHES for it (see `after: host_key`)");
        break;
    case TRUST_FINGERPRINT:
        snprintf(out, size, "new key must be %s", status->spec->after.host_key.fingerprint);
        break;
    case TRUST_IMAGE:
        snprintf(out, size, "new key must be one of the image's own");
        break;
    case TRUST_KEEP:
        snprintf(out, size, "the key must stay %s", status->host_fingerprint);
        break;
    case TRUST_ONCE:
        snprintf(out, size, "any new key is accepted once (not proven)");
        break;
    case TRUST_NOT_NEEDED:
        if (target_is_local(&run->env, status->spec)) {
            snprintf(out, size, "not looked at (mode: local)");
            break;
        }
        snprintf(out, size, "not logged in to (reach: %s)",
                 status->spec->reach == REACH_PING ? "ping" : "none");
        break;
    }
    return out;
}

static void services_text(const struct services_spec *services, char *out, size_t size)
{
    if (services->policy == NULL) {
        snprintf(out, size, "none by a policy");
        return;
    }
    size_t used = (size_t)snprintf(out, size, "%s:", services->policy);
    for (size_t i = 0; i < services->parameter_count && used < size; i++) {
        const struct policy_parameter *parameter = &services->parameters[i];
        used +=
            (size_t)snprintf(out + used, size - used, "%s %s", i > 0 ? ";" : "", parameter->key);
        for (size_t k = 0; parameter->values[k] != NULL && used < size; k++)
            used += (size_t)snprintf(out + used, size - used, "%s %s", k > 0 ? "," : "",
                                     parameter->values[k]);
    }
}

/* The mode as far as it is known before the agent has compared the disk. */
static void mode_text(const struct run *run, const struct target_status *status, char *out,
                      size_t size)
{
    enum flash_mode mode = target_wanted_mode(&run->env, status->spec);
    const struct store_info *info = run->view.store;
    struct error err;
    if (target_is_local(&run->env, status->spec))
        snprintf(out, size, "local (this very machine: staged whole, the agent finishes alone)");
    else if (mode != MODE_AUTO || info == NULL)
        snprintf(out, size, "%s", flash_mode_name(mode));
    else if (info->wire_bytes < status->facts.stage_room)
        snprintf(out, size, "auto (the image fits into its memory: stage)");
    else if (target_may_stream(status, info, run->env.rate, &err) != 0)
        snprintf(out, size, "auto (stage if what differs fits into its memory, else refused)");
    else
        snprintf(out, size, "auto (stage if what differs fits into its memory, else stream)");
}

/* What the plan can tell already: the target would be refused. 0 or -1. */
static int plan_judge(const struct run *run, const struct target_status *status, struct error *err)
{
    if (run->view.store != NULL && status->mode == MODE_NETBOOT) {
        struct part_layout range = {.size = status->spec->netboot.part_size};
        if (flash_script_range(status->spec->netboot.layout, run->view.store, &range, err) != 0)
            return -1;
    }
    struct shift shift;
    if (status->facts.known && status->mode != MODE_NETBOOT &&
        shift_find(status, run->view.store, &shift, err) != 0)
        return -1;
    if (run->view.store == NULL || !status->facts.known || status->mode == MODE_NETBOOT)
        return target_is_local(&run->env, status->spec) ? 0 : target_can_look(status->spec, err);
    if (target_is_local(&run->env, status->spec))
        return target_image_fits(status, run->view.store, err) != 0
                   ? -1
                   : target_memory_fits(status, run->view.store, err);
    if (target_can_look(status->spec, err) != 0 ||
        target_image_fits(status, run->view.store, err) != 0)
        return -1;
    return target_wanted_mode(&run->env, status->spec) == MODE_STREAM
               ? target_may_stream(status, run->view.store, run->env.rate, err)
               : 0;
}

static void texts_fill(const struct run *run, const struct target_status *status,
                       struct texts *extra)
{
    const struct target_spec *spec = status->spec;
    const char *user = spec->after.user != NULL ? spec->after.user : spec->user;
    unsigned port = spec->after.port != 0 ? spec->after.port : spec->port;
    memset(extra, 0, sizeof *extra);
    mode_text(run, status, extra->mode, sizeof extra->mode);
    if (target_is_local(&run->env, spec))
        snprintf(extra->reached_as, sizeof extra->reached_as,
                 "this program ends with the old system; the new one is not waited for");
    else
        snprintf(extra->reached_as, sizeof extra->reached_as, "ssh %s%s%s:%u",
                 user != NULL ? user : "", user != NULL ? "@" : "",
                 spec->after.host != NULL ? spec->after.host : spec->host, port != 0 ? port : 22);
    trust_sentence(run, status, extra->trust, sizeof extra->trust);
    if (status->mode == MODE_NETBOOT)
        snprintf(extra->services, sizeof extra->services, "everything: %s",
                 spec->reset.present ? "it is reset" : "SOMEBODY HAS TO RESET IT, by hand");
    else
        services_text(&spec->services, extra->services, sizeof extra->services);
    struct error err;
    char text[DOUBT_SIZE];
    if (plan_judge(run, status, &err) != 0) {
        snprintf(text, sizeof text, "WILL FAIL: %s%s%s", err.text,
                 err.remedy[0] != '\0' ? " — " : "", err.remedy);
        doubts_add(&extra->doubts, text);
    }
    doubts_find(run, status, &extra->doubts);
}

/* Prints the plan; returns how many targets it already sees failing. */
static size_t plan_show(const struct run *run)
{
    struct texts *texts = calloc(run->count + 1, sizeof *texts);
    struct plan_extra *extras = calloc(run->count + 1, sizeof *extras);
    size_t bad = 0;
    for (size_t i = 0; texts != NULL && extras != NULL && i < run->count; i++) {
        struct texts *text = &texts[i];
        texts_fill(run, run->statuses[i], text);
        extras[i] = (struct plan_extra){.kept = doubts_kept(run, run->statuses[i]),
                                        .mode = text->mode,
                                        .reached_as = text->reached_as,
                                        .trust = text->trust,
                                        .services = text->services,
                                        .warnings = text->doubts.list};
        struct error err;
        bad += run->statuses[i]->outcome == OUTCOME_NONE &&
               plan_judge(run, run->statuses[i], &err) != 0;
    }
    struct paint paint = paint_for(STDERR_FILENO);
    if (extras != NULL)
        plan_print(&run->view, extras, &paint, stderr);
    free(extras);
    free(texts);
    return bad;
}

#define UNTRUSTED "the new system will have a new host key that nobody vouches for"
#define UNTRUSTED_REMEDY                                                                           \
    "give its fingerprint as `after: {host_key: SHA256:…}`, or accept whatever answers with "    \
    "`after: {host_key: accept-once}` or --accept-once"

static bool is_untrusted(const struct run *run, const struct target_status *status)
{
    return run->view.store != NULL && status->outcome == OUTCOME_NONE &&
           target_trust(&run->env, status->spec, &run->view.store->facts) == TRUST_NONE;
}

size_t ask_untrusted(struct run *run)
{
    size_t count = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        if (is_untrusted(run, status) && count++ == 0)
            run_message(run, LOG_ERROR, "%s:%u: %s: " UNTRUSTED " — " UNTRUSTED_REMEDY,
                        run->view.inventory, status->spec->at.line, status->spec->name);
    }
    if (count > 1)
        run_message(run, LOG_ERROR, "the same holds for %zu more devices", count - 1);
    return count;
}

/* --- the question -------------------------------------------------------------------- */

static void ask_closed_callback(uv_handle_t *handle)
{
    free(handle);
}

static void ask_end(struct run *run)
{
    uv_close((uv_handle_t *)run->terminal, ask_closed_callback);
    run->terminal = NULL;
    RUN_TELL(run, resume, (*o_)->arg);
}

static void ask_allocate_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct run *run = handle->data;
    *buffer = uv_buf_init(run->answer, sizeof run->answer - 1);
}

static void ask_read_callback(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct run *run = stream->data;
    (void)buffer;
    if (size == 0)
        return;
    run->answer[size > 0 ? size : 0] = '\0';
    run->answer[strcspn(run->answer, "\r\n")] = '\0';
    ask_end(run);
    run->answered(run, run->answer);
}

static void plan_answered(struct run *run, const char *line)
{
    if (plan_confirm_matches(plan_count(&run->view), line)) {
        waves_begin(run);
        return;
    }
    run->usage_error = true;
    run_message(run, LOG_ERROR, "not confirmed: nothing was touched");
    run_refuse(run, "not confirmed, nothing was touched");
}

/* The user's keyboard: stdin, or the terminal itself when stdin is something else (the image). */
static bool ask_open(struct run *run)
{
    int fd = isatty(STDIN_FILENO) ? dup(STDIN_FILENO) : open("/dev/tty", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    run->terminal = calloc(1, sizeof *run->terminal);
    if (run->terminal == NULL || uv_tty_init(run->config.loop, run->terminal, fd, 0) != 0) {
        free(run->terminal);
        run->terminal = NULL;
        close(fd);
        return false;
    }
    run->terminal->data = run;
    uv_read_start((uv_stream_t *)run->terminal, ask_allocate_callback, ask_read_callback);
    return true;
}

bool ask_line(struct run *run, const char *question,
              void (*answered)(struct run *run, const char *line))
{
    run->answered = answered;
    if (!ask_open(run))
        return false;
    RUN_TELL(run, suspend, (*o_)->arg);
    fputs(question, stderr);
    fflush(stderr);
    return true;
}

void ask_cancel(struct run *run)
{
    if (run->terminal == NULL)
        return;
    fputc('\n', stderr);
    ask_end(run);
}

/* --check says of those that would fail that they did, and why. A run with one whose new key nobody
 * vouches for would not even begin. */
static void check_settle(struct run *run)
{
    struct error err;
    for (size_t i = 0; i < run->count; i++) {
        const struct target_status *status = run->statuses[i];
        if (status->outcome != OUTCOME_NONE)
            continue;
        if (plan_judge(run, status, &err) != 0) {
            target_refuse(run->targets[i], &err);
        } else if (is_untrusted(run, status)) {
            error_set(&err, ERROR_REFUSED, UNTRUSTED);
            error_remedy(&err, UNTRUSTED_REMEDY);
            target_refuse(run->targets[i], &err);
            run->check_failed = true;
        }
    }
}

void ask_user(struct run *run)
{
    size_t count = plan_count(&run->view);
    RUN_TELL(run, suspend, (*o_)->arg);
    size_t bad = plan_show(run);
    if (run->config.check) {
        RUN_TELL(run, resume, (*o_)->arg);
        run->check_failed = bad > 0;
        check_settle(run);
        run_refuse(run, "only checked");
        return;
    }
    if (count == 0) {
        RUN_TELL(run, resume, (*o_)->arg);
        run_refuse(run, "nothing is left to flash");
        return;
    }
    char question[100];
    fputs(plan_confirm_text(count, question, sizeof question), stderr);
    fflush(stderr);
    run->answered = plan_answered;
    if (ask_open(run))
        return;
    fputc('\n', stderr);
    RUN_TELL(run, resume, (*o_)->arg);
    run->usage_error = true;
    run_message(run, LOG_ERROR, "there is no terminal to ask on — look at --check, then say --yes");
    run_refuse(run, "not confirmed, nothing was touched");
}
