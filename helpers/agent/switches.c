/* SPDX-License-Identifier: Apache-2.0 */
#include "switches.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef AGENT_TEST_SWITCHES
static bool parse_point(const char *text, enum fence_point *point)
{
    static const char *const names[POINT_COUNT] = {
        [POINT_NONE] = "none",   [POINT_REMOUNTED] = "remounted", [POINT_SHUT] = "shut",
        [POINT_ROSET] = "roset", [POINT_FENCED] = "fenced",
    };
    for (int i = 0; i < POINT_COUNT; i++)
        if (strcmp(text, names[i]) == 0) {
            *point = (enum fence_point)i;
            return true;
        }
    return false;
}

/* 0: no phase has that name. */
static int phase_parse(const char *name)
{
    for (int phase = PHASE_SCANNING; phase < PHASE_COUNT; phase++)
        if (strcmp(name, protocol_phase_name((enum agent_phase)phase)) == 0)
            return phase;
    return 0;
}

bool switch_parse(struct switches *switches, const char *text)
{
    static const char *const names[SWITCH_COUNT] = {
        [SWITCH_NO_KILL] = "no-kill",         [SWITCH_NO_SWAPOFF] = "no-swapoff",
        [SWITCH_NO_REMOUNT] = "no-remount",   [SWITCH_NO_SHUTDOWN] = "no-shutdown-ioctl",
        [SWITCH_NO_ROSET] = "no-roset",       [SWITCH_NO_PIN] = "no-pin",
        [SWITCH_NO_READBACK] = "no-readback", [SWITCH_NO_CALM] = "no-calm",
        [SWITCH_NO_NEWS] = "no-news",         [SWITCH_NO_REBOOT] = "no-reboot",
        [SWITCH_NO_FOOTING] = "no-footing",   [SWITCH_IMPATIENT] = "impatient",
        [SWITCH_NO_GUARD] = "no-guard",
    };
    for (int i = 0; i < SWITCH_COUNT; i++)
        if (strcmp(text, names[i]) == 0) {
            switches->on[i] = true;
            return true;
        }
    if (text_starts(text, "corrupt-write=")) {
        switches->corrupt_write = 1 + atoll(strchr(text, '=') + 1);
        return true;
    }
    if (text_starts(text, "corrupt-always=")) {
        switches->corrupt_always = 1 + atoll(strchr(text, '=') + 1);
        return true;
    }
    if (text_starts(text, "fail-at="))
        return parse_point(strchr(text, '=') + 1, &switches->fail_at);
    if (text_starts(text, "run-at="))
        return parse_point(strchr(text, '=') + 1, &switches->run_at);
    if (strcmp(text, "linger-at=flush") == 0) {
        switches->linger_at = SWITCH_AT_FLUSH;
        return true;
    }
    if (text_starts(text, "linger-at="))
        return (switches->linger_at = phase_parse(strchr(text, '=') + 1)) != 0;
    if (!text_starts(text, "die-at="))
        return false;
    switches->die_at = (enum agent_phase)phase_parse(strchr(text, '=') + 1);
    return switches->die_at != PHASE_IDLE;
}

void switch_visit(const struct switches *switches, enum fence_point point)
{
    static const char program[] = "/dev/shm/intruder";
    if (switches->run_at != point)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

char *switches_from_kernel(struct switches *switches)
{
    char line[4096], *save = NULL;
    if (text_read("/proc/cmdline", line, sizeof line) <= 0)
        return NULL;
    char *word = strstr(line, "ff.agent=");
    if (word == NULL)
        return NULL;
    word[strcspn(word, " \n")] = '\0';
    char *value = strdup(word + strlen("ff.agent="));
    for (char *one = strtok_r(word + strlen("ff.agent="), ",", &save); one != NULL;
         one = strtok_r(NULL, ",", &save))
        switch_parse(switches, one);
    return value;
}
#else
/* ISO C forbids an empty file. */
typedef int switches_unused;
#endif
