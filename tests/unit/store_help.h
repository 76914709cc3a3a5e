/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of decoder, store and image facts share. */
#ifndef STORE_HELP_H
#define STORE_HELP_H

#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exits 77 (skipped) unless all these commands (NULL-terminated) are there. */
void need_tools(const char *tool, ...);

/* A fresh directory that becomes the working directory. */
void scratch_enter(void);
/* Removes it. */
void scratch_leave(void);

/* Runs a shell command (printf style); the test fails unless it exits 0. */
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Repeatable noise. */
void noise_fill(uint8_t *out, size_t size, uint64_t seed);

/* Writes a disk image of size bytes with an MBR and one partition: a third text-like, a third
 * noise, a third zeros, in runs of various lengths. */
void image_make(const char *path, size_t size);

/* A whole file. The caller frees. */
uint8_t *file_read(const char *path, size_t *size);
void file_write(const char *path, const void *data, size_t size);
/* Inverts one byte. */
void file_flip(const char *path, size_t offset);
size_t file_size(const char *path);
/* How many entries of a directory end so. */
unsigned files_ending(const char *dir, const char *ending);
/* The path of the only one. */
const char *only_file_ending(const char *dir, const char *ending);

/* What store_prepare came to. */
struct prepared {
    struct store *store; /* NULL: err says why */
    struct error err;
    unsigned calls; /* of the done callback */
    struct store_job *job;
};
void prepare_start(uv_loop_t *loop, const struct store_options *options, struct prepared *prepared);
/* Runs a loop until it is done. */
void prepare_wait(uv_loop_t *loop, const struct store_options *options, struct prepared *prepared);

/* For a fixture: enters the scratch directory, begins the loop, and prepares an image "raw" of so
 * many bytes. NULL: it could not be. store_finish and scratch_leave undo it. */
struct store *store_make(uv_loop_t *loop, size_t size);

/* Fails the test unless every block reads back as in the file and has the right hash. */
void store_assert_equals(const struct store *store, const char *path);

/* Closes the store, runs the loop to its end and closes it. */
void store_finish(uv_loop_t *loop, struct store *store);

#endif
