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

void watchers_open(struct watchers *watchers, const struct options *options, uv_loop_t *loop,
                   struct journal *journal)
{
    size_t count = 0;
    memset(watchers, 0, sizeof *watchers);
    if (terminal_is_possible(STDERR_FILENO) && options->verbosity >= 0) {
        struct screen_options screen = {.loop = loop,
                                        .fd = STDERR_FILENO,
                                        .keys = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC),
                                        .verbosity = options->verbosity,
                                        .command = screen_command,
                                        .arg = watchers};
        watchers->screen = screen_new(&screen);
        watchers->observers[count] = screen_observer(watchers->screen);
    } else {
        /* -q says nothing when all goes well */
        struct plain_options plain = {
            .fd = STDERR_FILENO, .verbosity = options->verbosity < 0 ? -2 : options->verbosity};
        watchers->plain = plain_new(&plain);
        watchers->observers[count] = plain_observer(watchers->plain);
    }
    watchers->list[count] = &watchers->observers[count];
    count++;
    if (options->json) {
        struct events_options events = {.fd = STDOUT_FILENO, .verbosity = options->verbosity};
        watchers->events = events_new(&events);
        watchers->observers[count] = events_observer(watchers->events);
        watchers->list[count] = &watchers->observers[count];
        count++;
    }
    if (journal != NULL) {
        struct events_options events = {.keep = keep_event, .arg = journal};
        watchers->kept = events_new(&events);
        watchers->observers[count] = events_observer(watchers->kept);
        watchers->list[count] = &watchers->observers[count];
    }
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
