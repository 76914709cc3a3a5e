/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that were asked for so far, good and broken ones. */
#ifndef POLICY_SET_H
#define POLICY_SET_H

#include "policy/file.h"
#include "policy/policy.h"

#include <sys/queue.h>

struct policy_entry {
    LIST_ENTRY(policy_entry) entry;
    char *path;              /* absolute */
    struct policy_file file; /* handle NULL: broken */
    struct error err;
};

struct policy_set {
    uv_loop_t *loop;
    char *path; /* colon list of folders */
    LIST_HEAD(, policy_entry) entries;
};

#endif
