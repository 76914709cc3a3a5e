/* SPDX-License-Identifier: Apache-2.0 */
/* A controller as small as can be: speaks the protocol with a real agent program, one frame after
 * the other. */
#ifndef AGENT_DRIVER_H
#define AGENT_DRIVER_H

#include "protocol/lifeline.h"

#include <sys/types.h>

#define DRIVER_BLOCK 65536u

struct image {
    uint64_t size;
    uint32_t count;
    uint8_t *data;
    struct manifest_entry *entries;
    uint8_t **wire; /* each block as it travels, NULL: zeros */
    uint8_t *encoding;
    struct manifest manifest;
};

/* An image of size bytes: zeros, runs and noise, decided by seed and block number. */
struct image *image_new(uint64_t size, unsigned seed);
/* After data was changed. */
void image_seal(struct image *image);
/* This block is not mapped any more: neither sent nor written. */
void image_unmap(struct image *image, uint32_t index);
void image_free(struct image *image);

struct driver {
    pid_t pid;
    int in, out; /* from and to the agent */
    struct lifeline *line;
    struct image *image;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    uint8_t *buffer;
    size_t at, size;
    uint8_t *sealed;
    size_t sealed_size;
    /* What has happened. */
    uint32_t wants;       /* blocks asked for */
    uint32_t *want_count; /* for each block */
    struct mode_reply mode;
    struct tally tally;
    struct fail fail;
    struct hello_reply hello;
    enum agent_phase phase; /* the last PHASE */
    char logs[4096];
    /* What goes wrong. */
    int64_t corrupt_block; /* sent spoilt … */
    int corrupt_times;     /* … this often */
    int64_t kept_block;    /* never sent; -1: none */
    bool pings;            /* sends a PING now and then while it waits, as controllers do */
    uint32_t stop_after;   /* blocks sent, then no more; 0: never */
    uint32_t sent;
};

/* Starts `agent serve` (path from $AGENT_PROGRAM) with its stdin and stdout; extra: further
 * arguments, ended by NULL. */
void driver_start(struct driver *driver, struct image *image, const char *disk,
                  const char *const *extra);
/* Uses descriptors that are connected already. */
void driver_init(struct driver *driver, struct image *image, int in, int out);
/* The same over a TCP connection's lifeline. */
void driver_encrypt(struct driver *driver, const uint8_t secret[PROTOCOL_KEY_SIZE]);
void driver_send(struct driver *driver, const uint8_t *data, size_t size);
void driver_hello(struct driver *driver, uint32_t version);
void driver_request(struct driver *driver, enum frame_type type);
void driver_begin(struct driver *driver, enum flash_mode mode, uint32_t flags);
/* HELLO, PROBE, MANIFEST and hashes; fails the test unless all is answered. */
void driver_introduce(struct driver *driver);
void driver_manifest(struct driver *driver);
/* Serves WANTs until a frame of this type comes: true; FAIL or the end of the stream: false. */
bool driver_until(struct driver *driver, enum frame_type type);
/* Everything from BEGIN to REBOOT; false as above. */
bool driver_flash(struct driver *driver, enum flash_mode mode, uint32_t flags);
/* Closes the stream and waits; returns the exit status, -1 for a signal. */
int driver_stop(struct driver *driver);

/* Makes a file of size bytes from what (may be shorter, NULL: noise by seed). */
void disk_file_make(const char *path, uint64_t size, const uint8_t *what, uint64_t what_size,
                    unsigned seed);
/* Before and after the tests of a program: makes up the disk's path and looks for the agent
 * program. 0, or 77 where there is none; the end takes and returns what cmocka counted. */
int agent_tests_begin(char *disk, size_t disk_size);
int agent_tests_end(const char *disk, int failed);
/* Does the file begin with the image? */
bool disk_file_holds(const char *path, const struct image *image);

#endif
