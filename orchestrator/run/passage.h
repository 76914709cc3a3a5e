/* SPDX-License-Identifier: Apache-2.0 */
/* What stands between a wave that is done and the next one:
 *
 * | phase   | entered when                | leads to                                           |
 * |---------|-----------------------------|----------------------------------------------------|
 * | IDLE    | a wave begins               | SOAK when the wave is done                         |
 * | SOAK    | the wave has a soak         | not too many died of it: GATE; else halted         |
 * | GATE    | the wave has a gate         | its exit status 0: CONFIRM; else the run is halted |
 * | CONFIRM | the wave has pause: confirm | "yes": PASSED; else, or no terminal: halted        |
 * | PASSED  |                             | the next wave begins                               |
 */
#ifndef RUN_PASSAGE_H
#define RUN_PASSAGE_H

#include <stdbool.h>

struct run;

enum passage_phase { PASSAGE_IDLE, PASSAGE_SOAK, PASSAGE_GATE, PASSAGE_CONFIRM, PASSAGE_PASSED };

/* Whether the next wave may begin. When not, either the run is halted now, or waves_go_on is called
 * once it may. */
bool passage_try(struct run *run);

/* The soak has ended: all of its targets have been looked at. */
void passage_soaked(struct run *run);

/* Whether something has to end before the run can, though all targets are done. */
bool passage_is_busy(const struct run *run);

/* Gives up what is waited for; the run ends or is halted. */
void passage_cancel(struct run *run);

#endif
