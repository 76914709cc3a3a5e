/* SPDX-License-Identifier: Apache-2.0 */
/* What a user reads before saying yes: the image, and for every device what will be lost and how it
 * will be reached afterwards. */
#ifndef REPORT_PLAN_H
#define REPORT_PLAN_H

#include "report/text.h"
#include "run/run.h"

#define PLAN_WIDTH 80u

/* What the run knows of a target beyond its status. NULL: nothing to say. Devices are put together
 * when all they have to say is equal, so mode and services should not hold figures that differ from
 * device to device; reached_as and trust may differ. */
struct plan_extra {
    uint32_t kept;          /* bit n: the facts' partition n, and the table, stay as they are; of a
                               disk that is not known not 0: its first one, the boot loader's, does */
    const char *mode;       /* "stage: what differs is held in memory first" */
    const char *reached_as; /* "ssh pi@10.0.0.12:22" */
    const char *trust;      /* "the host keys in the image", from enum after_trust */
    const char *services;   /* "systemd: container-*, docker.service" */
    const char *const *warnings; /* NULL-terminated */
};

/* Devices that would be erased: probed, and without an outcome. */
size_t plan_count(const struct run_view *run);

/* Prints the plan; extras has run->target_count entries in the order of run->targets. Targets that
 * have failed already are named with their reason at the end. No line exceeds PLAN_WIDTH. */
void plan_print(const struct run_view *run, const struct plan_extra *extras,
                const struct paint *paint, FILE *out);

/* "Type 12 to erase 12 disks: ". Returns out. */
char *plan_confirm_text(size_t count, char *out, size_t out_size);

/* Is the line that the user typed exactly that number (blanks around it allowed)? */
bool plan_confirm_matches(size_t count, const char *line);

#endif
