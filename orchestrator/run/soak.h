/* SPDX-License-Identifier: Apache-2.0 */
/* `soak: 2m` of a wave: once its devices are done, time passes, and those that are done are looked
 * at again. One that is not as it was counts as failed, and may halt the rollout. */
#ifndef RUN_SOAK_H
#define RUN_SOAK_H

#include <stdbool.h>

struct run;

/* Begins the soak of the present wave, or goes on with one that a killed run was in. False when
 * there is nothing to wait for: no soak, or nothing was flashed. Else passage_soaked is called
 * once. */
bool soak_start(struct run *run);

/* Gives it up; the journal keeps it as left to do. */
void soak_cancel(struct run *run);

/* The journal has the beginning of a target's soak. */
void soak_target_recorded(struct run *run);

/* A target has been looked at. */
void soak_target_checked(struct run *run);

#endif
