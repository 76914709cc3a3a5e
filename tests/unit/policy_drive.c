/* SPDX-License-Identifier: Apache-2.0 */
/* policy_drive [--via PROGRAM]… [--keep-stopped] FILE.so KEY=VALUE…
 *
 * Loads a policy, runs its check, stop and undo, and prints what it says. Commands run here with
 * `/bin/sh -c`, or through the words given with --via:
 *
 *     policy_drive --via ssh --via root@10.0.0.11 plugins/systemd.so stop='container-*'
 */
#include "policy_support.h"

#include <libgen.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *verdict_name(enum ff_verdict verdict)
{
    static const char *const names[] = {"GO", "VETO", "FAIL"};
    return names[verdict];
}

int main(int argc, char **argv)
{
    static struct harness harness;
    const char *via[32] = {NULL};
    size_t via_count = 0;
    bool keep = false;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--via") == 0 && at + 1 < argc && via_count < 31)
            via[via_count++] = argv[++at];
        else if (strcmp(argv[at], "--keep-stopped") == 0)
            keep = true;
        else
            return 2;
    }
    if (at >= argc)
        return 2;
    char file[500], folder[500], name[500];
    snprintf(file, sizeof file, "%s", argv[at]);
    snprintf(folder, sizeof folder, "%s", argv[at]);
    snprintf(name, sizeof name, "%s", basename(file));
    name[strcspn(name, ".")] = '\0';
    harness_open(&harness, dirname(folder));
    harness.via = via_count > 0 ? via : NULL;
    if (policy_check_print(harness.set, argv[at], stdout) != 0)
        return 1;
    harness_services(&harness, name, (const char *const *)argv + at + 1, (size_t)(argc - at - 1));
    const struct inventory inventory = {
        .file = "arguments", .target_count = 1, .targets = &harness.spec};
    struct diagnostics mistakes = {0};
    size_t count = policy_set_check(harness.set, &inventory, NULL, &mistakes);
    for (size_t i = 0; i < count; i++)
        printf("%s\n", mistakes.texts[i]);
    diagnostics_free(&mistakes);
    if (count > 0 || !harness_start(&harness))
        return 1;
    enum ff_verdict stop = harness_stop(&harness);
    printf("%sstop: %s %s\n", harness.log, verdict_name(stop), harness.reason);
    harness.log[0] = '\0';
    if (!keep) {
        enum ff_verdict undo = harness_undo(&harness);
        printf("%sundo: %s %s\n", harness.log, verdict_name(undo), harness.reason);
    }
    harness_close(&harness);
    return 0;
}
