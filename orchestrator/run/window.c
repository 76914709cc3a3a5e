/* SPDX-License-Identifier: Apache-2.0 */
#include "run/window.h"

#define DAY (24 * 60)

enum window_state window_at(const struct wave_spec *wave, int minute, int *wait)
{
    *wait = 0;
    if (wave->window_from < 0 || wave->window_from == wave->window_to)
        return WINDOW_OPEN;
    int length = (wave->window_to - wave->window_from + DAY) % DAY; /* also over midnight */
    int since = (minute - wave->window_from + DAY) % DAY;
    if (since < length)
        return WINDOW_OPEN;
    *wait = DAY - since;
    return *wait <= WINDOW_WAIT_MAX ? WINDOW_OPENS_LATER : WINDOW_CLOSED;
}

enum window_state window_now(const struct wave_spec *wave, time_t now, int *wait)
{
    struct tm tm;
    localtime_r(&now, &tm);
    return window_at(wave, tm.tm_hour * 60 + tm.tm_min, wait);
}
