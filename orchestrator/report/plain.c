/* SPDX-License-Identifier: Apache-2.0 */
#include "report/plain.h"

#include "report/lines.h"
#include "report/outbox.h"
#include "report/summary.h"

#include <stdlib.h>
#include <string.h>

struct plain {
    struct plain_options options;
    struct paint paint;
    struct lines *lines;
    struct outbox *outbox;
};

static void plain_line(enum line_kind kind, const char *text, void *arg)
{
    (void)kind;
    struct plain *plain = arg;
    char line[TEXT_MAX + 1];
    int length = snprintf(line, sizeof line, "%s\n", text);
    outbox_add(plain->outbox, line, (size_t)length);
}

struct plain *plain_new(const struct plain_options *options)
{
    struct plain *plain = calloc(1, sizeof *plain);
    if (plain == NULL)
        return NULL;
    plain->options = *options;
    plain->paint = paint_for(options->fd);
    plain->paint.colour = false; /* these lines are for files */
    struct lines_options line_options = {
        .verbosity = options->verbosity,
        .utf8 = plain->paint.utf8,
        .now = options->now,
        .line = plain_line,
        .arg = plain,
    };
    plain->lines = lines_new(&line_options);
    plain->outbox = outbox_new(options->fd);
    if (plain->lines == NULL || plain->outbox == NULL) {
        plain_free(plain);
        return NULL;
    }
    return plain;
}

void plain_free(struct plain *plain)
{
    if (plain == NULL)
        return;
    outbox_free(plain->outbox);
    lines_free(plain->lines);
    free(plain);
}

static void plain_image_progress(const struct run_view *run, void *arg)
{
    struct plain *plain = arg;
    lines_image_progress(plain->lines, run);
}

static void plain_image_ready(const struct run_view *run, void *arg)
{
    struct plain *plain = arg;
    lines_image_ready(plain->lines, run);
}

static void plain_wave_started(const struct run_view *run, unsigned wave, void *arg)
{
    struct plain *plain = arg;
    lines_wave_started(plain->lines, run, wave);
}

static void plain_target_changed(const struct run_view *run, const struct target_status *target,
                                 void *arg)
{
    (void)run;
    struct plain *plain = arg;
    lines_target_changed(plain->lines, target);
}

static void plain_target_log(const struct run_view *run, const struct target_status *target,
                             enum log_level level, const char *text, void *arg)
{
    (void)run;
    struct plain *plain = arg;
    lines_target_log(plain->lines, target, level, text);
}

static void plain_target_done(const struct run_view *run, const struct target_status *target,
                              void *arg)
{
    (void)run;
    struct plain *plain = arg;
    lines_target_done(plain->lines, target);
}

static void plain_target_soaked(const struct run_view *run, const struct target_status *target,
                                void *arg)
{
    (void)run;
    struct plain *plain = arg;
    lines_target_soaked(plain->lines, target);
}

static void plain_message(const struct run_view *run, enum log_level level, const char *text,
                          void *arg)
{
    (void)run;
    struct plain *plain = arg;
    lines_message(plain->lines, level, text);
}

/* Somebody else writes to the same place now: what was said before comes first. */
static void plain_suspend(const struct run_view *run, void *arg)
{
    (void)run;
    struct plain *plain = arg;
    outbox_flush(plain->outbox);
}

static void plain_run_ended(const struct run_view *run, void *arg)
{
    struct plain *plain = arg;
    if (plain->options.verbosity <= -2)
        return;
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL)
        return;
    summary_print(run, &plain->paint, 0, stream);
    fclose(stream);
    outbox_add(plain->outbox, text, size);
    free(text);
}

struct run_observer plain_observer(struct plain *plain)
{
    return (struct run_observer){
        .image_progress = plain_image_progress,
        .image_ready = plain_image_ready,
        .wave_started = plain_wave_started,
        .target_changed = plain_target_changed,
        .target_log = plain_target_log,
        .target_done = plain_target_done,
        .target_soaked = plain_target_soaked,
        .message = plain_message,
        .suspend = plain_suspend,
        .run_ended = plain_run_ended,
        .arg = plain,
    };
}
