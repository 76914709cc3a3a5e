/* SPDX-License-Identifier: Apache-2.0 */
/* The proof that a device runs the new system (DESIGN: boot id differs AND something that only the
 * image has is on the disk under the running root).
 *
 * One round: over an ssh link that is up, a shell script tells the boot id and hands out a few raw
 * pieces of the disk; they are compared with the image from the store on a worker thread. */
#ifndef TARGET_REACH_H
#define TARGET_REACH_H

#include "base/error.h"
#include "link/link.h"
#include "store/store.h"
#include "target/agent_session.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct reach_config {
    uv_loop_t *loop;
    const struct store *store;
    const char *boot_id_before;
    const char
        *disk;     /* as it was named before the flash; only where the root's disk cannot be seen */
    bool use_sudo; /* try sudo when the new user is not root */
    const char *health;      /* command that must exit 0, NULL: none */
    uint64_t timeout;        /* ms for the script */
    uint64_t health_timeout; /* ms for the health command */
    unsigned sample_count;   /* image blocks that this flash wrote, spread over the image */
    uint32_t samples[TRANSFER_SAMPLES];
    bool same_boot; /* the boot must still be boot_id_before, which is all the proof there is */
    const char *occasion; /* what shows that it booted anew; NULL: "boot id changed" */
    bool still; /* no reboot is meant: does it still run the image? Asks for more than one proof */
    bool shifted; /* the image's first partition is the disk's second one, and so on */
};

enum reach_verdict {
    REACH_PROVEN,    /* the new system, and healthy */
    REACH_OLD_BOOT,  /* the boot id is still the old one: not rebooted yet */
    REACH_REBOOTED,  /* with same_boot: it is another one */
    REACH_UNPROVEN,  /* another boot, but not the image: err says what was compared */
    REACH_UNHEALTHY, /* the new system, but `health` failed */
    REACH_BROKEN,    /* the link failed meanwhile: try again */
};

struct reach_result {
    enum reach_verdict verdict;
    char boot_id[40];
    char proof[160]; /* "boot id changed; disk signature 0x1234abcd is the image's" */
    struct error error;
};

/* Adds blocks of the image that are not zeros, by chance, to the samples that there are, each once,
 * as far as there is room and the image has them. */
void reach_fill_samples(struct reach_config *config);

struct reach;
typedef void (*reach_callback)(const struct reach_result *result, void *arg);

/* The callback runs exactly once, later, unless reach_cancel comes first. config is copied, what it
 * points at must outlive the round. NULL when memory is short. */
struct reach *reach_start(struct link *link, const struct reach_config *config,
                          reach_callback callback, void *arg);
void reach_cancel(struct reach *reach);

#endif
