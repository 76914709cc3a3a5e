/* SPDX-License-Identifier: Apache-2.0 */
/* A policy's shared object, loaded. */
#ifndef POLICY_FILE_H
#define POLICY_FILE_H

#include "policy/table.h"

struct policy_file {
    void *handle; /* of dlopen */
    struct policy_table table;
};

/* How far loading has come: what a policy that crashes was doing. */
enum policy_step {
    STEP_LOAD = 'l',   /* dlopen, its constructors */
    STEP_CALL = 'c',   /* fleetflash_policy() */
    STEP_READ = 'r',   /* reading its table */
    STEP_UNLOAD = 'u', /* dlclose, its destructors */
    STEP_DONE = 'd',
    STEP_REFUSED = 'x', /* the reason follows */
};

/* Loads an absolute path and reads its table; writes each step as one byte to progress_fd (-1:
 * not). Returns 0, or -1 with the reason (without the file's name) in why and nothing left loaded.
 */
int policy_file_open(struct policy_file *file, const char *path, int progress_fd, char *why,
                     size_t why_size);
void policy_file_close(struct policy_file *file);

/* The same in a forked child that has timeout_ms for it, loading and unloading: survives whatever
 * the object's own code does there. Blocks. Returns 0, or -1 with the reason in why. */
int policy_file_probe(const char *path, int timeout_ms, char *why, size_t why_size);

#endif
