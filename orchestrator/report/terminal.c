/* SPDX-License-Identifier: Apache-2.0 */
#include "report/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT, SIGSYS, SIGTRAP};
#define CRASH_COUNT (sizeof crashes / sizeof *crashes)
#define STACK_SIZE  65536u

/* Descriptors are + 1, 0: nothing to undo. */
static struct {
    volatile sig_atomic_t hidden_on;
    volatile sig_atomic_t keys_on;
    struct termios modes; /* of keys_on, before */
    bool catching;
    struct sigaction before[CRASH_COUNT];
    struct sigaction before_input;
    void *stack; /* a stack that has run over cannot hold its handler */
} kept;

bool terminal_is_possible(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

void terminal_note_hidden(int fd)
{
    kept.hidden_on = fd + 1;
}

void terminal_note_shown(void)
{
    kept.hidden_on = 0;
}

bool terminal_is_hidden(void)
{
    return kept.hidden_on != 0;
}

bool terminal_is_ours(int fd)
{
    pid_t foreground = tcgetpgrp(fd);
    return foreground < 0 ? isatty(fd) : foreground == getpgrp();
}

bool terminal_keys_begin(int fd)
{
    struct termios modes;
    if (!terminal_is_ours(fd) || tcgetattr(fd, &modes) != 0)
        return false;
    if (kept.keys_on != 0 && (modes.c_lflag & (ECHO | ICANON)) == 0)
        return true; /* still as we left it */
    kept.modes = modes;
    modes.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
    modes.c_cc[VMIN] = 1;
    modes.c_cc[VTIME] = 0;
    kept.keys_on = fd + 1; /* before: an end right now undoes it */
    if (tcsetattr(fd, TCSANOW, &modes) == 0)
        return true;
    kept.keys_on = 0;
    return false;
}

void terminal_keys_end(void)
{
    int fd = (int)kept.keys_on - 1;
    if (fd < 0)
        return;
    if (terminal_is_ours(fd)) /* else setting it would stop us */
        tcsetattr(fd, TCSANOW, &kept.modes);
    kept.keys_on = 0;
}

void terminal_restore(void)
{
    int saved = errno;
    int fd = (int)kept.hidden_on - 1;
    static const char text[] = TERMINAL_SHOW "\r\n";
    if (fd >= 0) {
        kept.hidden_on = 0;
        ssize_t written = write(fd, text, sizeof text - 1);
        (void)written;
    }
    terminal_keys_end();
    errno = saved;
}

/* --- crashes -------------------------------------------------------------------------------- */

static void crash_handler(int number, siginfo_t *info, void *context)
{
    (void)context;
    terminal_restore();
    for (size_t i = 0; i < CRASH_COUNT; i++) {
        if (crashes[i] == number)
            sigaction(number, &kept.before[i], NULL);
    }
    if (info->si_code <= 0 || number == SIGQUIT) /* sent; else the fault comes again at once */
        raise(number);
}

void terminal_catch_crashes(void)
{
    struct sigaction action = {.sa_sigaction = crash_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (kept.catching)
        return;
    kept.catching = true;
    kept.stack = malloc(STACK_SIZE);
    if (kept.stack != NULL)
        sigaltstack(&(stack_t){.ss_sp = kept.stack, .ss_size = STACK_SIZE}, NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CRASH_COUNT; i++)
        sigaction(crashes[i], &action, &kept.before[i]);
    /* A key that is read a moment after we were put into the background must not stop us while
     * devices are being written. */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&ignore.sa_mask);
    sigaction(SIGTTIN, &ignore, &kept.before_input);
}

void terminal_release_crashes(void)
{
    if (!kept.catching)
        return;
    kept.catching = false;
    for (size_t i = 0; i < CRASH_COUNT; i++)
        sigaction(crashes[i], &kept.before[i], NULL);
    sigaction(SIGTTIN, &kept.before_input, NULL);
    if (kept.stack != NULL)
        sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL);
    free(kept.stack);
    kept.stack = NULL;
}
