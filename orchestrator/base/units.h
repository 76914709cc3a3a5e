/* SPDX-License-Identifier: Apache-2.0 */
/* Durations and sizes as people write and read them. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* Reads "500ms", "90s", "5m", "1h" or "2d" (a plain number means seconds) into milliseconds.
 * Returns 0, or -1 when text is no duration or does not fit. */
int units_parse_duration(const char *text, uint64_t *milliseconds);

/* Reads "512", "64K", "4M", "1G" or "2T" (powers of 1024; "KiB" and "B" endings allowed) into
 * bytes. Returns 0, or -1 when text is no size or does not fit. */
int units_parse_size(const char *text, uint64_t *bytes);

/* Writes "1.5 GiB" and the like into out; returns out. */
char *units_format_size(uint64_t bytes, char *out, size_t out_size);

/* Writes "45s", "2m05s" or "1h02m" into out; returns out. */
char *units_format_duration(uint64_t milliseconds, char *out, size_t out_size);

#endif
