/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy tests have in common: a host with a loop, a target made of words, and two ways to
 * reach it: a real one that runs the commands here with /bin/sh (or through a program such as ssh),
 * and one that answers from a list. */
#ifndef POLICY_SUPPORT_H
#define POLICY_SUPPORT_H

#include "policy/policy.h"

#define HARNESS_PARAMETERS 8
#define HARNESS_VALUES     16

/* An answer of the list transport: to the next command, which must contain `expect`. */
struct answer {
    const char *expect;
    int exit_status;
    const char *out, *err, *error;
    bool never; /* no answer comes */
};

struct harness {
    uv_loop_t loop;
    struct policy_set *set;
    struct policy_run *run;
    struct target_spec spec;
    struct policy_parameter parameters[HARNESS_PARAMETERS];
    const char *values[HARNESS_PARAMETERS][HARNESS_VALUES];
    char log[16384];

    unsigned verdicts; /* how many came */
    enum ff_verdict verdict;
    char reason[600];

    const char *const *via; /* words before the command, NULL: {"/bin/sh", "-c"} */
    const char *undo_file;  /* where leave_undo leaves things, NULL: nowhere */
    const char *replace[2]; /* in every command, [0] becomes [1]; NULL: nothing */
    const struct answer *answers;
    size_t answer_count;
    size_t answered;
    unsigned open_commands; /* that were neither answered nor cancelled */
};

/* folder: where policies are (NULL: the build tree's). */
void harness_open(struct harness *harness, const char *folder);

/* The target's services: policy, then key=value words, a repeated key makes a list. */
void harness_services(struct harness *harness, const char *policy, const char *const *words,
                      size_t count);
#define SERVICES(harness, policy, ...)                                                             \
    harness_services(harness, policy, (const char *const[]){__VA_ARGS__},                          \
                     sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Loads the policy and makes the run; false with the reason in harness->reason. */
bool harness_start(struct harness *harness);

/* Stop, undo or returned, with the loop run until the verdict is there. */
enum ff_verdict harness_stop(struct harness *harness);
enum ff_verdict harness_undo(struct harness *harness);
enum ff_verdict harness_returned(struct harness *harness);

/* Runs the loop until text is in the log; false when nothing is left to do before. */
bool harness_run_until(struct harness *harness, const char *text);
unsigned harness_log_count(const struct harness *harness, const char *text);

/* Frees the run, lets all handles close, and asserts that nothing is left. */
void harness_end_run(struct harness *harness);
void harness_close(struct harness *harness);

/* A fresh folder, removed by folder_remove; writes a file there (mode 0755). */
char *folder_make(void);
void folder_remove(char *folder);
void folder_write(const char *folder, const char *name, const char *text);
/* The file's text, in memory that the next call reuses; "" when there is none. */
const char *folder_read(const char *folder, const char *name);

#endif
