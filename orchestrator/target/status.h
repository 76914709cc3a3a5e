/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a target and where it stands: written by the target alone, read by the screen,
 * the events and the reports. */
#ifndef TARGET_STATUS_H
#define TARGET_STATUS_H

#include "base/error.h"
#include "inventory.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>

enum target_state {
    STATE_PROBE,
    STATE_TRANSFER,
    STATE_VERIFY,
    STATE_COMMIT,
    STATE_REBOOT,
    STATE_REACHABILITY,
    STATE_COUNT
};

enum target_outcome {
    OUTCOME_NONE, /* under way */
    OUTCOME_FLASHED,
    OUTCOME_UNCHANGED,
    OUTCOME_FAILED,
    OUTCOME_SKIPPED,
    OUTCOME_NOT_STARTED,
    OUTCOME_COUNT
};

/* How far a failure got; thresholds and reports tell these apart. */
enum target_damage {
    DAMAGE_NONE,       /* the old system was never touched, or runs again */
    DAMAGE_REBOOTED,   /* the untouched old system had to be rebooted */
    DAMAGE_INCOMPLETE, /* the disk is half-written, the agent waits */
    DAMAGE_LOST,       /* committed, and did not come back */
    DAMAGE_IDLE,       /* the new system runs, but its policy did not put it back to work */
    DAMAGE_DIED,       /* was done and well, and was not any more at the end of the soak */
};

/* The classes of failures that thresholds and reports tell apart. */
enum target_failure {
    FAILURE_NONE,
    FAILURE_UNREACHABLE,   /* absent: nothing was done to it */
    FAILURE_REFUSED,       /* a policy said no (outcome skipped) */
    FAILURE_BEFORE_COMMIT, /* its old system runs */
    FAILURE_HALF_WRITTEN,
    FAILURE_AFTER_COMMIT, /* flashed, and lost, not back at work, or dead at the soak's end */
    FAILURE_COUNT
};

#define STATUS_PARTITIONS_MAX 24u
#define STATUS_WARNINGS_MAX   8u
#define STATUS_SPANS_MAX      32u

/* A time spent in one state without a break; Unix time in ms. */
struct state_span {
    enum target_state state;
    uint64_t from_ms, to_ms;
};

/* What the agent told of the device (FACTS), as far as people and rules need it. */
struct target_facts {
    bool known;
    char model[96], kernel[64], hostname[64], init[16], machine[32];
    char disk[64], disk_serial[64], disk_model[64], table[8], signature[40];
    uint64_t disk_size;
    uint32_t disk_sector; /* logical, bytes */
    bool stale_table;     /* the MBR is not the one that the device's kernel has read */
    uint64_t memory_total, memory_available;
    uint64_t stage_room; /* bytes of blocks that its memory can hold just now */
    char interface[32];  /* that it is reached through */
    bool wifi;
    int64_t lease; /* seconds until its address is given back; -1: it is its own */
    char root_filesystem[16], root_kind[16];
    unsigned partition_count;
    struct fact_partition {
        char path[64], filesystem[16], label[40], mountpoint[96];
        unsigned number;      /* in the partition table; 0: not told */
        uint64_t start, size; /* bytes */
        bool is_data;
        char boot_loader[16]; /* a file of the first partition that a U-Boot starts from, or "" */
    } partitions[STATUS_PARTITIONS_MAX];
    unsigned warning_count;
    char warnings[STATUS_WARNINGS_MAX][200];
};

struct target_status {
    const struct target_spec *spec;
    unsigned index; /* in the inventory */
    unsigned wave;

    bool started; /* its turn, or that of its probe, has come; not while it waits for the other */
    bool reached; /* it was logged in to at least once */
    enum target_state state;
    enum target_outcome outcome;
    enum target_damage damage;
    struct error error; /* of the last failure, a veto's reason */
    char activity[96];  /* what it does just now, a few words */

    enum flash_mode mode; /* MODE_AUTO until decided */
    char mode_reason[200];
    struct target_facts facts;
    char host_fingerprint[80], after_fingerprint[80];
    char boot_id_before[40], boot_id_after[40];
    char proof[160]; /* what showed that the new system runs */

    uint64_t bytes_sent;    /* over the network, all streams of this target */
    uint64_t bytes_written; /* to its disk, as the agent counted */
    uint64_t bytes_skipped; /* of the image, already on the disk */
    unsigned attempts;      /* connections made for the flash itself, 1 when all went well */
    uint64_t state_ms[STATE_COUNT];
    unsigned span_count; /* the first ones, in their order, of which state_ms is the sum */
    struct state_span spans[STATUS_SPANS_MAX];
    uint64_t started_ms, ended_ms; /* Unix time in ms, 0: not yet */

    uint32_t blocks_done, blocks_total; /* of the present pass */
    double rate;                        /* bytes per second of image, smoothed */
    uint64_t remaining_ms;              /* of the present pass, UINT64_MAX: not known */
};

/* Milliseconds just spent in the present state, until now_ms (Unix time in ms). When the spans are
 * used up, the last one grows. */
void status_spend(struct target_status *status, uint64_t milliseconds, uint64_t now_ms);

const char *target_state_name(enum target_state state);
const char *target_outcome_name(enum target_outcome outcome);
enum target_failure target_failure(const struct target_status *status);
const char *target_failure_name(enum target_failure failure); /* "" for none */
const char *target_damage_name(enum target_damage damage);
const char *flash_mode_name(enum flash_mode mode);

/* Reads FACTS. Sets err (ERROR_PROTOCOL) when it is not the JSON it should be, and ERROR_REFUSED
 * with the rule's reason when the agent names a refusal. facts is filled in either case as far as
 * possible.
 */
int target_facts_read(struct target_facts *facts, const char *json, size_t size, struct error *err);

#endif
