/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller tells the agent when it starts it: lines `key value` on stdin. */
#ifndef CONFIG_H
#define CONFIG_H

#include "protocol/protocol.h"
#include "switches.h"

#include <sys/types.h>

#define CONFIG_TEXT_MAX 2048u

struct config {
    char run_id[PROTOCOL_RUN_ID_MAX + 1];
    uint8_t key[PROTOCOL_KEY_SIZE];
    bool has_key;
    uid_t uid;            /* besides root, who may attach */
    char controller[128]; /* for "being flashed by RUN from …" */
    char directory[192];  /* where the agent was deployed, and policies leave word; "": nowhere */
    bool has_port;        /* false: no TCP */
    uint16_t port;        /* 0: any */
    struct switches switches;
};

/* Takes the whole text. -1: *error says which line is wrong and why. */
int config_parse(struct config *config, const char *text, char *error, size_t error_size);

#endif
