/* SPDX-License-Identifier: Apache-2.0 */
#include "watchers.h"

#include "report/events.h"
#include "report/plain.h"
#include "report/screen.h"
#include "report/terminal.h"
#include "run/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void screen_command(enum screen_command command, void *arg)
{
    const struct watchers *watchers = arg;
    if (watchers->run == NULL)
        return;
    if (command == SCREEN_STOP)
        run_stop(watchers->run);
    else
        run_pause(watchers->run, command == SCREEN_PAUSE);
}

static void keep_event(const char *run, const char *target, const char *event, const char *object,
                       void *arg)
{
    journal_note_event(arg, run, target, event, object);
}

static void watch(struct watchers *watchers, size_t *count, struct run_observer observer)
{
    watchers->observers[*count] = observer;
    watchers->list[*count] = &watchers->observers[*count];
    (*count)++;
}

static bool open_events(struct events **events, const struct events_options *options,
                        struct watchers *watchers, size_t *count)
{
    *events = events_new(options);
    if (*events != NULL)
        watch(watchers, count, events_observer(*events));
    return *events != NULL;
}

/* What people see. */
static bool open_shown(struct watchers *watchers, const struct options *options, uv_loop_t *loop,
                       size_t *count)
{
    if (terminal_is_possible(STDERR_FILENO) && options->verbosity >= 0) {
        struct screen_options screen = {.loop = loop,
                                        .fd = STDERR_FILENO,
                                        .keys = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC),
                                        .verbosity = options->verbosity,
                                        .command = screen_command,
                                        .arg = watchers};
        watchers->screen = screen_new(&screen);
        if (watchers->screen != NULL)
            watch(watchers, count, screen_observer(watchers->screen));
        return watchers->screen != NULL;
    }
    /* -q says nothing when all goes well */
    struct plain_options plain = {.fd = STDERR_FILENO,
                                  .verbosity = options->verbosity < 0 ? -2 : options->verbosity};
    watchers->plain = plain_new(&plain);
    if (watchers->plain != NULL)
        watch(watchers, count, plain_observer(watchers->plain));
    return watchers->plain != NULL;
}

int watchers_open(struct watchers *watchers, const struct options *options, uv_loop_t *loop,
                  struct journal *journal, struct error *err)
{
    size_t count = 0;
    const struct events_options told = {.fd = STDOUT_FILENO, .verbosity = options->verbosity};
    const struct events_options kept = {.keep = keep_event, .arg = journal};
    memset(watchers, 0, sizeof *watchers);
    if (open_shown(watchers, options, loop, &count) &&
        (!options->json || open_events(&watchers->events, &told, watchers, &count)) &&
        (journal == NULL || open_events(&watchers->kept, &kept, watchers, &count)))
        return 0;
    error_set(err, ERROR_IO, "memory or threads are short: nothing could be told of the run");
    return error_remedy(err, "end other programs, or raise the limits (ulimit -a)");
}

void watchers_close(struct watchers *watchers)
{
    screen_free(watchers->screen);
    plain_free(watchers->plain);
    int error = events_error(watchers->events);
    if (error != 0 && error != EPIPE) /* who has stopped reading knows that */
        fprintf(stderr, "fleetflash: not all events could be written to standard output: %s\n",
                strerror(error));
    events_free(watchers->events);
    events_free(watchers->kept);
}
