/* SPDX-License-Identifier: Apache-2.0 */
/* The image, decoded once: cut into fixed blocks, each hashed and compressed, in one spool file
 * that every target reads from. See docs/store.md for the file format.
 *
 * store_prepare does its work (reading, decoding, hashing, compressing, checking to the last byte)
 * on threads of its own; everything else belongs to the loop thread. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buffer.h"
#include "base/error.h"
#include "protocol/protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define STORE_BLOCK_SIZE (128u * 1024u)

struct store;
struct store_job;

struct store_options {
    const char *image;    /* path, http(s) address, or "-" for stdin */
    const char *sha256;   /* 64 hex digits the image FILE (as given, compressed) must have, or NULL;
                             a sidecar IMAGE.sha256 or SHA256SUMS line is honoured when NULL */
    const char *minisign; /* key (a file or the key itself) that must have signed the image, in
                             IMAGE.minisig; NULL: none */
    const char *keyring;  /* file of OpenPGP keys, one of which must have signed it, in IMAGE.sig or
                             IMAGE.asc; NULL: none */
    const char *cache_dir; /* where the spool file lives */
    bool no_cache;         /* spool file unlinked while in use, nothing kept */
    uint64_t cache_limit;  /* bytes that kept spool files may take; 0: 20 GiB */
};

/* What the image says about itself; zero or empty where it says nothing. */
struct image_facts {
    char format[16];     /* "xz", "gzip", "zstd", "bzip2", "zip", "raw" */
    char sha256[65];     /* of the file as given */
    uint64_t file_size;  /* bytes of the file as given */
    char table[8];       /* "mbr", "gpt", or "" */
    uint32_t gpt_sector; /* bytes: the logical sectors that the GPT counts in; 0: no GPT */
    uint32_t mbr_signature;
    char gpt_guid[37];
    unsigned partition_count;
    struct image_partition {
        uint64_t start, size; /* bytes */
        char partuuid[37];
        char filesystem[12]; /* "ext4", "vfat", "swap", … or "" */
        char uuid[37];       /* the file system's */
        char label[33];
    } partitions[32];
    int root_partition; /* index, -1: not recognised */
    char machine[16]; /* of the root file system's programs: "aarch64", "x86_64", "armv7", "arm"; ""
                       */
    char os_name[96]; /* PRETTY_NAME */
    bool looked_inside; /* the root file system could be read (ext2/3/4) */
    bool has_ssh_server;
    bool has_host_keys;            /* baked in: each device gets the same ones */
    char host_fingerprints[4][64]; /* SHA256:… of baked-in keys; "" ends the list */
    /* Users that could log in by key: name and whether authorized_keys is there. */
    unsigned user_count;
    struct image_user {
        char name[33];
        bool has_keys;
    } users[16];
    bool has_first_boot; /* a first-boot mechanism was recognised (cloud-init, Raspberry Pi OS …) */
    char fstab_partition[64]; /* what /etc/fstab names by its place on the disk, "PARTUUID=…-02";
                                 the first one, "": none */
};

struct store_info {
    uint64_t image_size; /* bytes, decoded */
    uint32_t block_size;
    uint32_t block_count;
    uint32_t zero_blocks;
    uint32_t unmapped_blocks; /* by the block map: neither sent nor written nor compared */
    uint64_t wire_bytes;      /* sum of wire sizes: what a full flash sends */
    uint8_t image_id[PROTOCOL_HASH_SIZE];
    char signers[160]; /* whose signatures were verified, now or earlier; "": none were wanted */
    bool from_cache;   /* nothing was decoded or compressed */
    double decode_seconds;
    struct image_facts facts;
};

/* Bytes of the image file read so far (of the spool file while a cached image is checked);
 * bytes_total is 0 when not known (stdin). Runs on the loop thread a few times a second. */
typedef void (*store_progress)(uint64_t bytes_done, uint64_t bytes_total, uint64_t decoded,
                               void *arg);
/* Exactly once: a store (owned by the receiver) or an error whose class is ERROR_USAGE for a wrong
 * image or ERROR_IO for a cache that cannot be written. */
typedef void (*store_done)(struct store *store, const struct error *err, void *arg);

/* Starts; the strings of options are copied. NULL only when memory is short (then done never
 * comes). */
struct store_job *store_prepare(uv_loop_t *loop, const struct store_options *options,
                                store_progress progress, store_done done, void *arg);
/* Gives up; done gets ERROR_CANCELLED, soon but not inside this call. The job ends with done. NULL
 * is allowed. */
void store_job_cancel(struct store_job *job);

const struct store_info *store_info(const struct store *store);
/* Hash (all zeros: unmapped) and wire size (0: a block of zeros, or unmapped) of block index (<
 * block_count); what MANIFEST_HASHES carries. */
const struct manifest_entry *store_entry(const struct store *store, uint32_t index);

/* Asks for a block as it goes on the wire. The callback gets a buffer (it takes its own reference
 * if it keeps it) and its encoding, or NULL and an error; it runs on the loop thread, never inside
 * store_fetch, exactly once unless cancelled. Blocks that several targets want at about the same
 * time are read once; the memory this takes is bounded (32 MiB) whatever the number of targets.
 * What is read is checked (a cheap checksum made when it was written) before it is handed out. A
 * block of zeros comes as ENCODING_RAW. The handle ends with the callback or with cancel. NULL when
 * memory is short or there is no such block; no callback comes then. */
struct store_fetch;
typedef void (*store_fetch_callback)(struct buffer *data, enum block_encoding encoding,
                                     const struct error *err, void *arg);
struct store_fetch *store_fetch(struct store *store, uint32_t index, store_fetch_callback callback,
                                void *arg);
void store_fetch_cancel(struct store_fetch *fetch);

/* Decoded bytes of one block, read and decompressed on the calling thread: for worker threads only.
 * out holds block_size bytes; returns the block's real size or -1. Thread-safe. */
int store_read_block(const struct store *store, uint32_t index, uint8_t *out, struct error *err);

/* Frees the store once its fetches are done: those still open are answered (or may be cancelled) as
 * before, new ones are not allowed. NULL is allowed. */
void store_close(struct store *store);

#endif
