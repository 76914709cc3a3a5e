/* SPDX-License-Identifier: Apache-2.0 */
/* What may be at the other end of the agent's own port, in a process of its own: the agent's side
 * of the lifeline, or something that only looks like it. */
#ifndef LIFELINE_OTHER_H
#define LIFELINE_OTHER_H

#include "protocol/lifeline.h"

#include <stdint.h>
#include <sys/types.h>

enum manner {
    MANNER_ECHO,
    MANNER_DIGEST,    /* waits for SIGUSR1, reads `limit` bytes, answers their hash */
    MANNER_SILENT,    /* takes the connection and says nothing */
    MANNER_HALF,      /* its nonce, then nothing */
    MANNER_GARBAGE,   /* something else listens there */
    MANNER_CUT,       /* echoes `limit` bytes and hangs up in the middle of a record */
    MANNER_BAD_LATER, /* one good record, then one that does not open */
};

/* It, listening on a loopback port. */
struct other {
    pid_t pid;
    unsigned port;
    uint8_t key[PROTOCOL_KEY_SIZE];
};

/* key: PROTOCOL_KEY_SIZE bytes, copied. limit: see the manners. */
void other_start(struct other *other, enum manner manner, const uint8_t *key, uint64_t limit);
void other_stop(struct other *other);

#endif
