/* SPDX-License-Identifier: Apache-2.0 */
/* What the controller and the agent say to each other.
 *
 * A stream of frames in both directions, over any reliable byte stream (the stdin and stdout of
 * `agent attach` on an ssh channel; the agent's own TCP port under libsodium's secretstream; a
 * socket pair for local mode). A frame is
 *
 *     u32 length of the payload | u8 type | u8 flags (0) | u16 reserved (0) | payload
 *
 * and every number is little-endian. The receiver refuses a payload longer than
 * PROTOCOL_PAYLOAD_MAX, a type it does not know, and a payload whose size does not fit its type.
 *
 * The agent pulls: it alone decides which blocks it wants and how many may be under way; the
 * controller answers each WANT with a BLOCK, in any order. Bytes sent prove nothing: only what the
 * agent reports in FACTS, MODE, STAGED, WRITTEN does.
 *
 *     controller                      agent
 *     HELLO                     →
 *                               ←     HELLO_REPLY (or FAIL: wrong version, wrong token)
 *     PROBE (which disk)        →
 *                               ←     FACTS (JSON)
 *     MANIFEST, MANIFEST_HASHES…→
 *     BEGIN (mode)              →     hashes the disk, decides
 *                               ←     MODE (stage | stream | unchanged, what differs)
 *       stage:                  ←     WANT… , STAGED (verified in locked memory)
 *     (policy stops services)
 *     FENCE                     →
 *                               ←     FENCED (or FAIL with what became of the old system)
 *     WRITE                     →     head zeroed, blocks written, read back, head written last
 *                               ←     WANT…, PHASE…, WRITTEN
 *     REBOOT                    →
 *                               ←     PHASE rebooting, then the stream ends
 *
 * ABORT at any time before the first written byte backs the target out; afterwards the agent
 * refuses it. A link that dies changes nothing for the agent: the next HELLO with the right token
 * takes the conversation over, HELLO_REPLY says where it stands, and the agent repeats the WANTs
 * that are still open and, behind HELLO_REPLY, what the phase was reached with: MODE (scanned …
 * ready), STAGED, FENCED, WRITTEN or FAIL. A request that was carried out already is answered the
 * same way, so asking again is harmless. Blocks that surely will be staged are wanted while the
 * scan is still running, before MODE. WRITE while the disk is incomplete and no write runs (after a
 * FAIL of that kind) starts it again. An agent that took the place of one that died while it wrote
 * says in HELLO_REPLY that it writes and has no manifest: it takes MANIFEST and WRITE in that
 * phase. The agent only sends unasked: LOG, PHASE, PROGRESS, WANT, FAIL.
 *
 * Half-open connections: from HELLO_REPLY on the controller sends a PING every
 * PROTOCOL_PING_EVERY. A side that hears nothing at all for PROTOCOL_SILENCE takes the connection
 * for dead, as if it had been reset.
 *
 * A PING is answered on any connection of the agent's own port that has proven the secret, without
 * taking the conversation over: so the controller tries the second way in before it needs it.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION     2u
#define PROTOCOL_HEADER_SIZE 8u
#define PROTOCOL_PAYLOAD_MAX (1024u * 1024u)
#define PROTOCOL_TOKEN_SIZE                                                                        \
    32u /* HELLO's proof that it comes from the run that started the agent */
#define PROTOCOL_KEY_SIZE   32u /* the secret from which token and stream keys are derived */
#define PROTOCOL_HASH_SIZE  32u /* BLAKE2b-256 (RFC 7693), as libsodium's crypto_generichash */
#define PROTOCOL_BLOCK_MAX  (256u * 1024u)
#define PROTOCOL_TEXT_MAX   1024u
#define PROTOCOL_RUN_ID_MAX 64u
#define PROTOCOL_PING_EVERY 5000u  /* ms */
#define PROTOCOL_SILENCE    30000u /* ms */
#define PROTOCOL_WANT_MAX   1024u  /* ranges in one WANT */
#define PROTOCOL_HASHES_MAX 8192u  /* entries in one MANIFEST_HASHES */

/* The agent's lock and meeting point on the device: this name in the abstract unix socket namespace
 * (unix(7)). Whoever is bound to it owns the device. */
#define PROTOCOL_SOCKET_NAME "fleetflash-agent"

enum frame_type {
    /* controller → agent */
    FRAME_HELLO = 1,
    FRAME_PROBE,
    FRAME_MANIFEST,
    FRAME_MANIFEST_HASHES,
    FRAME_BEGIN,
    FRAME_BLOCK,
    FRAME_FENCE,
    FRAME_WRITE,
    FRAME_REBOOT,
    FRAME_ABORT,
    FRAME_PING,
    /* agent → controller */
    FRAME_HELLO_REPLY = 64,
    FRAME_FACTS,
    FRAME_MODE,
    FRAME_WANT,
    FRAME_STAGED,
    FRAME_FENCED,
    FRAME_WRITTEN,
    FRAME_PHASE,
    FRAME_PROGRESS,
    FRAME_LOG,
    FRAME_FAIL,
    FRAME_PONG,
};

/* Where the agent stands. Up to PHASE_FENCED a target can be backed out. */
enum agent_phase {
    PHASE_IDLE = 0, /* started, nothing asked of it yet */
    PHASE_SCANNING, /* hashing the disk (and staging at the same time) */
    PHASE_STAGING,  /* waiting for blocks to stage */
    PHASE_STAGED,   /* everything that differs is in locked memory, hashed */
    PHASE_READY,    /* stream mode was chosen: waits for FENCE */
    PHASE_FENCING,
    PHASE_FENCED,       /* the old file systems are silent; nothing written yet */
    PHASE_ERASING_HEAD, /* the first destructive byte */
    PHASE_WRITING,
    PHASE_READING_BACK,
    PHASE_WRITING_HEAD,
    PHASE_WRITTEN, /* flushed and read back whole; waits for REBOOT, reboots alone after a while */
    PHASE_REBOOTING,
    PHASE_FAILED, /* backed out; the agent ends when the controller is gone */
    PHASE_COUNT
};

enum flash_mode {
    MODE_AUTO = 0,
    MODE_STAGE,
    MODE_STREAM,
    MODE_UNCHANGED, /* only in MODE: nothing differs */
    MODE_NETBOOT,   /* never in a frame: the controller's own, there is no agent */
};

/* What became of the old system when the agent gives up (FAIL). */
enum fail_state {
    FAIL_UNTOUCHED = 0, /* nothing was changed, or all of it undone: the old system runs on, but for
                           processes that the text says were ended */
    FAIL_REBOOTING,  /* the fence could not be undone: the agent reboots the untouched old system */
    FAIL_INCOMPLETE, /* the disk is half-written: the agent waits for a controller */
};

/* Which rule or fault a FAIL is about; decides retry and exit code, never parsed from the text. */
enum fail_code {
    FAILCODE_PROTOCOL = 1,
    FAILCODE_VERSION,
    FAILCODE_TOKEN,
    FAILCODE_BUSY,    /* held by another run; text says which, from where, since when */
    FAILCODE_DISK,    /* no such disk, not resolvable, too small, wrong sector size */
    FAILCODE_MEMORY,  /* what must be held does not fit */
    FAILCODE_REFUSED, /* a safety rule: network root, several disks, no way to fence, watchdog … */
    FAILCODE_FENCE,   /* the fence could not be put up */
    FAILCODE_IO,      /* read, write or flush error of the disk */
    FAILCODE_BLOCK,   /* a block from the controller does not have its hash, again and again */
    FAILCODE_ABORTED, /* as asked */
};

enum block_encoding {
    ENCODING_RAW = 0,
    ENCODING_ZSTD,
};

#define PROBE_FLAG_NONE  0u
#define BEGIN_FLAG_FORCE 1u /* write everything, and go on though nothing differs */
/* The controller lives on the disk that is flashed (local mode) and may be gone from the fence on:
 * the whole image is staged, not only what differs now, and after FENCE the agent writes and
 * reboots without being told. Stage mode only. */
#define BEGIN_FLAG_UNATTENDED 2u
#define WRITE_FLAG_NONE       0u

/* All-zero bytes as a block's hash mean: this block is unmapped, neither sent nor written nor
 * compared. A block of zeros has the ordinary hash of its zeros, and is never sent: the agent knows
 * that hash and makes the block itself. */

struct hello {
    uint32_t version;
    uint8_t token[PROTOCOL_TOKEN_SIZE];
    char run_id[PROTOCOL_RUN_ID_MAX + 1];
};

struct hello_reply {
    uint32_t version;
    uint8_t phase;                        /* enum agent_phase */
    uint8_t mode;                         /* enum flash_mode, MODE_AUTO before it is decided */
    uint16_t port;                        /* the agent's own TCP port, 0 when it has none */
    uint8_t has_manifest;                 /* 1: the agent holds a whole manifest already … */
    uint8_t image_id[PROTOCOL_HASH_SIZE]; /* … of this image */
    char run_id[PROTOCOL_RUN_ID_MAX + 1];
};

struct manifest {
    uint64_t image_size; /* bytes; the last block may be short, its hash covers its real bytes */
    uint32_t block_size; /* bytes, a power of two, 64 KiB … PROTOCOL_BLOCK_MAX */
    uint32_t block_count;
    uint8_t
        image_id[PROTOCOL_HASH_SIZE]; /* hash over image_size, block_size and all block hashes */
    /* A disk whose beginning, the partition table and the boot loader's partition, stays as it is:
     * the blocks before first_block are left out as unmapped ones are, and all others are so many
     * bytes further on than in the image. 0 and 0: all of the image, from the disk's first byte. */
    uint32_t first_block;
    uint64_t shift; /* bytes, whole sectors */
};

/* One entry per block: its hash and how many bytes it takes on the wire (so that the agent knows
 * what staging will cost before it asks). */
struct manifest_entry {
    uint8_t hash[PROTOCOL_HASH_SIZE];
    uint32_t wire_size;
};

struct block_header {
    uint32_t index;
    uint8_t encoding; /* enum block_encoding */
};

struct want_range {
    uint32_t first;
    uint32_t count;
};

struct mode_reply {
    uint8_t mode;              /* enum flash_mode, never MODE_AUTO */
    uint32_t differing_blocks; /* as far as scanned: an upper bound in stream mode */
    uint64_t wire_bytes;       /* what those blocks take on the wire */
    uint64_t memory_available; /* bytes that could be staged */
    char reason[PROTOCOL_TEXT_MAX + 1];
};

/* STAGED and WRITTEN: what the agent itself counted. */
struct tally {
    uint32_t blocks_same;     /* already on the disk: neither sent nor written */
    uint32_t blocks_received; /* travelled, resent ones included */
    uint32_t blocks_repaired; /* read back wrong and written again */
    uint64_t bytes_received;  /* wire bytes of those blocks */
    uint64_t bytes_written;   /* to the disk, zeros included */
    uint64_t bytes_verified;  /* read back from the disk and hashed */
};

struct progress {
    uint8_t phase; /* enum agent_phase */
    uint32_t done; /* blocks */
    uint32_t total;
    uint64_t bytes_written;
};

struct fail {
    uint16_t code; /* enum fail_code */
    uint8_t state; /* enum fail_state */
    char text[PROTOCOL_TEXT_MAX + 1];
    char remedy[PROTOCOL_TEXT_MAX + 1];
};

enum log_level { LOG_DEBUG = 0, LOG_INFO, LOG_WARNING, LOG_ERROR };

/* --- frames ------------------------------------------------------------------------------- */

struct frame {
    enum frame_type type;
    const uint8_t *payload; /* inside the reader's or caller's memory */
    uint32_t size;
};

/* Writes the 8 header bytes for a payload of size bytes. */
void protocol_put_header(uint8_t out[PROTOCOL_HEADER_SIZE], enum frame_type type, uint32_t size);

/* Looks at the first available bytes of a stream. Returns the bytes that the first frame takes and
 * fills frame; 0 when more are needed (frame->size then says the payload's size if the header is
 * complete, else 0); -1 when this is no frame of this protocol. */
int64_t protocol_parse(const uint8_t *data, size_t available, struct frame *frame);

/* Encoders: each writes one whole frame (header included) into out and returns its size, or 0 when
 * out_size is too small (PROTOCOL_SMALL_MAX is enough for all of them) or a field is out of range.
 */
#define PROTOCOL_SMALL_MAX 4096u
size_t protocol_encode_empty(enum frame_type type, uint8_t *out, size_t out_size);
size_t protocol_encode_hello(const struct hello *hello, uint8_t *out, size_t out_size);
size_t protocol_encode_hello_reply(const struct hello_reply *reply, uint8_t *out, size_t out_size);
/* PROBE: which disk ("auto", "/dev/disk/by-id/…", "serial:…", "model:…"). */
size_t protocol_encode_probe(const char *device, uint8_t *out, size_t out_size);
size_t protocol_encode_manifest(const struct manifest *manifest, uint8_t *out, size_t out_size);
size_t protocol_encode_begin(enum flash_mode mode, uint32_t flags, uint8_t *out, size_t out_size);
size_t protocol_encode_mode(const struct mode_reply *mode, uint8_t *out, size_t out_size);
/* STAGED or WRITTEN */
size_t protocol_encode_tally(enum frame_type type, const struct tally *tally, uint8_t *out,
                             size_t out_size);
size_t protocol_encode_phase(enum agent_phase phase, uint8_t *out, size_t out_size);
size_t protocol_encode_progress(const struct progress *progress, uint8_t *out, size_t out_size);
size_t protocol_encode_log(enum log_level level, const char *text, uint8_t *out, size_t out_size);
size_t protocol_encode_fail(const struct fail *fail, uint8_t *out, size_t out_size);
/* The larger ones; out must hold protocol_want_size(count) or protocol_hashes_size(count) bytes. */
size_t protocol_want_size(uint32_t count);
size_t protocol_encode_want(const struct want_range *ranges, uint32_t count, uint8_t *out,
                            size_t out_size);
size_t protocol_hashes_size(uint32_t count);
size_t protocol_encode_hashes(uint32_t first, const struct manifest_entry *entries, uint32_t count,
                              uint8_t *out, size_t out_size);
/* Only header and block header (PROTOCOL_BLOCK_PREFIX bytes); the data follows from its own memory.
 */
#define PROTOCOL_BLOCK_PREFIX 16u
size_t protocol_encode_block_prefix(const struct block_header *block, uint32_t data_size,
                                    uint8_t out[PROTOCOL_BLOCK_PREFIX]);

/* Decoders: 0, or -1 when the payload does not fit the type or a field is out of range. Text is
 * always terminated, control characters in it replaced. */
int protocol_decode_hello(const struct frame *frame, struct hello *hello);
int protocol_decode_hello_reply(const struct frame *frame, struct hello_reply *reply);
int protocol_decode_probe(const struct frame *frame, char *device, size_t device_size);
int protocol_decode_manifest(const struct frame *frame, struct manifest *manifest);
int protocol_decode_hashes(const struct frame *frame, uint32_t *first, uint32_t *count);
/* Entry i (< count) of a frame that protocol_decode_hashes accepted. */
void protocol_hashes_entry(const struct frame *frame, uint32_t i, struct manifest_entry *entry);
int protocol_decode_begin(const struct frame *frame, enum flash_mode *mode, uint32_t *flags);
int protocol_decode_mode(const struct frame *frame, struct mode_reply *mode);
int protocol_decode_want(const struct frame *frame, uint32_t *count);
void protocol_want_range(const struct frame *frame, uint32_t i, struct want_range *range);
int protocol_decode_tally(const struct frame *frame, struct tally *tally);
int protocol_decode_phase(const struct frame *frame, enum agent_phase *phase);
int protocol_decode_progress(const struct frame *frame, struct progress *progress);
int protocol_decode_log(const struct frame *frame, enum log_level *level, char *text,
                        size_t text_size);
int protocol_decode_fail(const struct frame *frame, struct fail *fail);
int protocol_decode_block(const struct frame *frame, struct block_header *block,
                          const uint8_t **data, uint32_t *data_size);

/* Stable lower-case name ("writing"), for logs and the console. */
const char *protocol_phase_name(enum agent_phase phase);

#endif
