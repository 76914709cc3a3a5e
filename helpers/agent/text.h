/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of /proc and /sys as text. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads at most size - 1 bytes, terminates, drops white space at the end. Returns the length or -1.
 */
ssize_t text_read(const char *path, char *out, size_t size);
/* Reads a whole file of unknown size (at most 8 MiB); the caller frees. NULL: not readable. */
char *text_read_all(const char *path);
/* Writes value into an existing file such as a sysctl. 0 or -1. */
int text_write(const char *path, const char *value);
/* A file that holds one decimal number; -1 when it does not. */
int64_t text_read_number(const char *path);
/* Copies and cuts; always terminates. */
void text_copy(char *out, size_t size, const char *text);
bool text_starts(const char *text, const char *prefix);
/* Formats into out, cut to its size; for paths built from parts. Returns out. */
const char *text_format(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Seconds since 1970 as "2026-11-20 22:58:25 UTC"; needs no time zone files. */
const char *text_time(char out[32], int64_t seconds);

#endif
