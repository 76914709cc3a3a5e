/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up run for the tests of what is shown of one. */
#ifndef REPORT_FAKE_H
#define REPORT_FAKE_H

#include "run/run.h"

#define FAKE_MAX     64u
#define FAKE_STARTED 1795215665123u /* 2026-11-20T23:01:05.123Z */

struct fake {
    struct run_view run;
    struct store_info store;
    size_t count;
    struct target_spec specs[FAKE_MAX];
    struct target_status targets[FAKE_MAX];
    const struct target_status *pointers[FAKE_MAX];
    char names[FAKE_MAX][16], hosts[FAKE_MAX][32];
};

/* count idle targets pi-01 … at 10.0.0.11:22 …, an image of 2 GiB not yet read. */
struct fake *fake_new(size_t count);
void fake_free(struct fake *fake);

/* The image is checked. */
void fake_image(struct fake *fake);

/* The target at index was probed: a board with a boot, a root and a data partition. */
void fake_facts(struct fake *fake, size_t index);

/* The target at index ended. */
void fake_flashed(struct fake *fake, size_t index);
void fake_failed(struct fake *fake, size_t index, const char *text, const char *remedy);

/* A big run to look at and to test with: three waves, 24 devices, most outcomes, failures with
 * reason and remedy, a timeline for each; halted, exit 3. */
struct fake *fake_rollout(void);

/* The run ended after that many ms. */
void fake_ended(struct fake *fake, uint64_t milliseconds, int exit_code);

/* All of a file (or what a pipe still holds), with an end; the caller frees. */
char *fake_read(int fd);

/* A file without a name. */
int fake_file(void);

/* An ended run with two flashed targets, of whose second nothing but the disk's name is known. */
struct fake *fake_unknown_disk(void);

#endif
