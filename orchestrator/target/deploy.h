/* SPDX-License-Identifier: Apache-2.0 */
/* Brings the agent onto a device: a survey by shell, a private folder on a tmpfs that lets programs
 * run, the upload checked by hash, the start as root. Writes nothing to the device's disks. */
#ifndef TARGET_DEPLOY_H
#define TARGET_DEPLOY_H

#include "base/error.h"
#include "inventory.h"
#include "link/link.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>

struct agent_files;

struct deploy_config {
    const char *run_id;
    const char *controller; /* host name, told to whoever finds the device locked */
    unsigned attempt;       /* makes the folder's name new */
    enum inventory_become become;
    bool is_local; /* the device is the machine that this program runs on, and is meant to be */
    uint8_t key[PROTOCOL_KEY_SIZE];
    const struct agent_files *files;
};

struct deploy_result {
    char directory[192]; /* on the device */
    char machine[32];    /* uname -m */
    char boot_id[40];
    bool is_root; /* the ssh user is root already */
    unsigned uid;
    unsigned port;     /* the agent's own TCP port; 0: none */
    uint64_t uploaded; /* bytes */
};

/* The command that removes a result's folder, tmpfs included. Returns out. */
#define DEPLOY_REMOVE_SIZE 700u
const char *deploy_remove_command(const struct deploy_result *result, char out[DEPLOY_REMOVE_SIZE]);

typedef void (*deploy_callback)(const struct deploy_result *result, const struct error *err,
                                void *arg);

/* Starts deploying over a link that is up; config and link must outlive it. The callback runs
 * exactly once, later, with a result or an error, unless deploy_cancel comes first. Bounded in time
 * by the caller. NULL when memory is short. */
struct deploy;
struct deploy *deploy_start(struct link *link, const struct deploy_config *config,
                            deploy_callback callback, void *arg);
/* Ends as soon as nothing of it stays on the device: an agent that is just being started is waited
 * for (then the callback gets a result), else ERROR_CANCELLED. */
void deploy_stop(struct deploy *deploy);
/* Stops and frees; what is on the device stays there. NULL is allowed. */
void deploy_cancel(struct deploy *deploy);

#endif
