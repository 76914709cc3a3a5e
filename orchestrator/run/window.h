/* SPDX-License-Identifier: Apache-2.0 */
/* `window: 22:00-05:00`: the time of day in which new devices may be started. */
#ifndef RUN_WINDOW_H
#define RUN_WINDOW_H

#include "inventory.h"

#include <time.h>

/* A window that opens later than this counts as closed: nobody waits for the next night. Minutes.
 */
#define WINDOW_WAIT_MAX (12 * 60)

enum window_state { WINDOW_OPEN, WINDOW_OPENS_LATER, WINDOW_CLOSED };

/* minute: of the day, local time, 0…1439. With WINDOW_OPENS_LATER *wait is how many minutes are
 * left until it opens. from = to, or from < 0: always open. */
enum window_state window_at(const struct wave_spec *wave, int minute, int *wait);

/* The same for a moment; the local time zone's. */
enum window_state window_now(const struct wave_spec *wave, time_t now, int *wait);

#endif
