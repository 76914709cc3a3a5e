/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/protocol.h"

#include <string.h>

/* --- cursors: every access is checked, one that does not fit makes all later ones fail --- */

struct sink {
    uint8_t *out;
    size_t size, at;
    bool bad;
};

struct source {
    const uint8_t *in;
    size_t size, at;
    bool bad;
};

static void put_bytes(struct sink *s, const void *data, size_t n)
{
    if (s->bad || n > s->size - s->at) {
        s->bad = true;
        return;
    }
    if (n > 0)
        memcpy(s->out + s->at, data, n);
    s->at += n;
}

static void put_number(struct sink *s, uint64_t value, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put_bytes(s, bytes, n);
}

/* u16 length and the bytes; longer text is refused, not cut. */
static void put_text(struct sink *s, const char *text, size_t max)
{
    size_t n = strnlen(text, max + 1);
    if (n > max)
        s->bad = true;
    put_number(s, n, 2);
    put_bytes(s, text, n);
}

static const uint8_t *take_bytes(struct source *s, size_t n)
{
    if (s->bad || n > s->size - s->at) {
        s->bad = true;
        return NULL;
    }
    const uint8_t *p = s->in + s->at;
    s->at += n;
    return p;
}

static uint64_t take_number(struct source *s, size_t n)
{
    const uint8_t *p = take_bytes(s, n);
    uint64_t value = 0;
    for (size_t i = 0; p != NULL && i < n; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static void take_copy(struct source *s, void *out, size_t n)
{
    const uint8_t *p = take_bytes(s, n);
    if (p != NULL)
        memcpy(out, p, n);
}

/* Text from the other side ends up on terminals: control characters do not pass. */
static void take_text(struct source *s, char *out, size_t out_size)
{
    size_t n = (size_t)take_number(s, 2);
    if (n >= out_size)
        s->bad = true;
    const uint8_t *p = take_bytes(s, n);
    out[0] = '\0';
    if (p == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        out[i] = p[i] < 0x20 || p[i] == 0x7f ? '?' : (char)p[i];
    out[n] = '\0';
}

static struct source source_of(const struct frame *frame, enum frame_type type)
{
    return (struct source){.in = frame->payload, .size = frame->size, .bad = frame->type != type};
}

/* All of the payload must have been understood. */
static int source_end(const struct source *s)
{
    return s->bad || s->at != s->size ? -1 : 0;
}

static struct sink sink_of(uint8_t *out, size_t out_size)
{
    struct sink s = {.out = out, .size = out_size, .at = PROTOCOL_HEADER_SIZE};
    s.bad = out_size < PROTOCOL_HEADER_SIZE;
    return s;
}

static size_t sink_end(struct sink *s, enum frame_type type)
{
    if (s->bad || s->at - PROTOCOL_HEADER_SIZE > PROTOCOL_PAYLOAD_MAX)
        return 0;
    protocol_put_header(s->out, type, (uint32_t)(s->at - PROTOCOL_HEADER_SIZE));
    return s->at;
}

/* --- frames ------------------------------------------------------------------------------- */

#define ENTRY_SIZE (PROTOCOL_HASH_SIZE + 4u)
#define RANGE_SIZE 8u
#define TALLY_SIZE (3u * 4u + 3u * 8u)
#define DEVICE_MAX 1000u
#define SHIFT_MAX  (1ull << 62) /* so that no sum with an image's size overflows */

/* What a payload of each type may measure; a header outside of it is no frame of this protocol. */
static bool size_fits(unsigned type, uint32_t size)
{
    static const struct {
        uint32_t min, max;
    } sizes[] = {
        [FRAME_HELLO] = {4 + PROTOCOL_TOKEN_SIZE + 2,
                         4 + PROTOCOL_TOKEN_SIZE + 2 + PROTOCOL_RUN_ID_MAX},
        [FRAME_PROBE] = {2, 2 + DEVICE_MAX},
        [FRAME_MANIFEST] = {28 + PROTOCOL_HASH_SIZE, 28 + PROTOCOL_HASH_SIZE},
        [FRAME_MANIFEST_HASHES] = {8 + ENTRY_SIZE, 8 + ENTRY_SIZE * PROTOCOL_HASHES_MAX},
        [FRAME_BEGIN] = {5, 5},
        [FRAME_BLOCK] = {9, 8 + PROTOCOL_BLOCK_MAX},
        [FRAME_FENCE] = {0, 0},
        [FRAME_WRITE] = {0, 0},
        [FRAME_REBOOT] = {0, 0},
        [FRAME_ABORT] = {0, 0},
        [FRAME_PING] = {0, 0},
        [FRAME_HELLO_REPLY] = {9 + PROTOCOL_HASH_SIZE + 2,
                               9 + PROTOCOL_HASH_SIZE + 2 + PROTOCOL_RUN_ID_MAX},
        [FRAME_FACTS] = {2, PROTOCOL_PAYLOAD_MAX},
        [FRAME_MODE] = {21 + 2, 21 + 2 + PROTOCOL_TEXT_MAX},
        [FRAME_WANT] = {RANGE_SIZE, RANGE_SIZE * PROTOCOL_WANT_MAX},
        [FRAME_STAGED] = {TALLY_SIZE, TALLY_SIZE},
        [FRAME_FENCED] = {0, 0},
        [FRAME_WRITTEN] = {TALLY_SIZE, TALLY_SIZE},
        [FRAME_PHASE] = {1, 1},
        [FRAME_PROGRESS] = {17, 17},
        [FRAME_LOG] = {3, 3 + PROTOCOL_TEXT_MAX},
        [FRAME_FAIL] = {3 + 2 + 2, 3 + 2 + 2 + 2 * PROTOCOL_TEXT_MAX},
        [FRAME_PONG] = {0, 0},
    };
    bool known = (type >= FRAME_HELLO && type <= FRAME_PING) ||
                 (type >= FRAME_HELLO_REPLY && type <= FRAME_PONG);
    return known && size >= sizes[type].min && size <= sizes[type].max;
}

void protocol_put_header(uint8_t out[PROTOCOL_HEADER_SIZE], enum frame_type type, uint32_t size)
{
    struct sink s = {.out = out, .size = PROTOCOL_HEADER_SIZE};
    put_number(&s, size, 4);
    put_number(&s, type, 1);
    put_number(&s, 0, 3);
}

int64_t protocol_parse(const uint8_t *data, size_t available, struct frame *frame)
{
    struct source s = {.in = data, .size = available};
    uint32_t size = (uint32_t)take_number(&s, 4);
    unsigned type = (unsigned)take_number(&s, 1);
    unsigned rest = (unsigned)take_number(&s, 3);
    memset(frame, 0, sizeof *frame);
    if (s.bad)
        return 0;
    if (rest != 0 || !size_fits(type, size))
        return -1;
    frame->type = (enum frame_type)type;
    frame->size = size;
    if (available - PROTOCOL_HEADER_SIZE < size)
        return 0;
    frame->payload = data + PROTOCOL_HEADER_SIZE;
    return (int64_t)PROTOCOL_HEADER_SIZE + size;
}

/* --- encoders ------------------------------------------------------------------------------ */

size_t protocol_encode_empty(enum frame_type type, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (!size_fits(type, 0))
        return 0;
    return sink_end(&s, type);
}

size_t protocol_encode_hello(const struct hello *hello, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    put_number(&s, hello->version, 4);
    put_bytes(&s, hello->token, PROTOCOL_TOKEN_SIZE);
    put_text(&s, hello->run_id, PROTOCOL_RUN_ID_MAX);
    return sink_end(&s, FRAME_HELLO);
}

size_t protocol_encode_hello_reply(const struct hello_reply *reply, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (reply->phase >= PHASE_COUNT || reply->mode > MODE_UNCHANGED || reply->has_manifest > 1)
        return 0;
    put_number(&s, reply->version, 4);
    put_number(&s, reply->phase, 1);
    put_number(&s, reply->mode, 1);
    put_number(&s, reply->port, 2);
    put_number(&s, reply->has_manifest, 1);
    put_bytes(&s, reply->image_id, PROTOCOL_HASH_SIZE);
    put_text(&s, reply->run_id, PROTOCOL_RUN_ID_MAX);
    return sink_end(&s, FRAME_HELLO_REPLY);
}

size_t protocol_encode_probe(const char *device, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    put_text(&s, device, DEVICE_MAX);
    return sink_end(&s, FRAME_PROBE);
}

/* A manifest whose numbers contradict each other is refused on both sides. */
static bool manifest_fits(const struct manifest *m)
{
    if (m->image_size == 0 || m->block_size < 64u * 1024u || m->block_size > PROTOCOL_BLOCK_MAX ||
        (m->block_size & (m->block_size - 1)) != 0)
        return false;
    if (m->first_block >= m->block_count || (m->shift != 0 && m->first_block == 0) ||
        m->shift % 512 != 0 || m->shift > SHIFT_MAX)
        return false;
    return (m->image_size - 1) / m->block_size + 1 == m->block_count;
}

size_t protocol_encode_manifest(const struct manifest *manifest, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (!manifest_fits(manifest))
        return 0;
    put_number(&s, manifest->image_size, 8);
    put_number(&s, manifest->block_size, 4);
    put_number(&s, manifest->block_count, 4);
    put_bytes(&s, manifest->image_id, PROTOCOL_HASH_SIZE);
    put_number(&s, manifest->first_block, 4);
    put_number(&s, manifest->shift, 8);
    return sink_end(&s, FRAME_MANIFEST);
}

/* Nobody may be left to send the blocks of a stream. */
static bool begin_flags_fit(enum flash_mode mode, uint32_t flags)
{
    return (flags & ~(BEGIN_FLAG_FORCE | BEGIN_FLAG_UNATTENDED)) == 0 &&
           ((flags & BEGIN_FLAG_UNATTENDED) == 0 || mode == MODE_STAGE);
}

size_t protocol_encode_begin(enum flash_mode mode, uint32_t flags, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (mode > MODE_STREAM || !begin_flags_fit(mode, flags))
        return 0;
    put_number(&s, mode, 1);
    put_number(&s, flags, 4);
    return sink_end(&s, FRAME_BEGIN);
}

size_t protocol_encode_mode(const struct mode_reply *mode, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (mode->mode == MODE_AUTO || mode->mode > MODE_UNCHANGED)
        return 0;
    put_number(&s, mode->mode, 1);
    put_number(&s, mode->differing_blocks, 4);
    put_number(&s, mode->wire_bytes, 8);
    put_number(&s, mode->memory_available, 8);
    put_text(&s, mode->reason, PROTOCOL_TEXT_MAX);
    return sink_end(&s, FRAME_MODE);
}

size_t protocol_encode_tally(enum frame_type type, const struct tally *tally, uint8_t *out,
                             size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (type != FRAME_STAGED && type != FRAME_WRITTEN)
        return 0;
    put_number(&s, tally->blocks_same, 4);
    put_number(&s, tally->blocks_received, 4);
    put_number(&s, tally->blocks_repaired, 4);
    put_number(&s, tally->bytes_received, 8);
    put_number(&s, tally->bytes_written, 8);
    put_number(&s, tally->bytes_verified, 8);
    return sink_end(&s, type);
}

size_t protocol_encode_phase(enum agent_phase phase, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (phase >= PHASE_COUNT)
        return 0;
    put_number(&s, phase, 1);
    return sink_end(&s, FRAME_PHASE);
}

size_t protocol_encode_progress(const struct progress *progress, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (progress->phase >= PHASE_COUNT || progress->done > progress->total)
        return 0;
    put_number(&s, progress->phase, 1);
    put_number(&s, progress->done, 4);
    put_number(&s, progress->total, 4);
    put_number(&s, progress->bytes_written, 8);
    return sink_end(&s, FRAME_PROGRESS);
}

size_t protocol_encode_log(enum log_level level, const char *text, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (level > LOG_ERROR)
        return 0;
    put_number(&s, level, 1);
    put_text(&s, text, PROTOCOL_TEXT_MAX);
    return sink_end(&s, FRAME_LOG);
}

size_t protocol_encode_fail(const struct fail *fail, uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (fail->code < FAILCODE_PROTOCOL || fail->code > FAILCODE_ABORTED ||
        fail->state > FAIL_INCOMPLETE)
        return 0;
    put_number(&s, fail->code, 2);
    put_number(&s, fail->state, 1);
    put_text(&s, fail->text, PROTOCOL_TEXT_MAX);
    put_text(&s, fail->remedy, PROTOCOL_TEXT_MAX);
    return sink_end(&s, FRAME_FAIL);
}

size_t protocol_want_size(uint32_t count)
{
    return PROTOCOL_HEADER_SIZE + (size_t)count * RANGE_SIZE;
}

size_t protocol_encode_want(const struct want_range *ranges, uint32_t count, uint8_t *out,
                            size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (count == 0 || count > PROTOCOL_WANT_MAX)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        if (ranges[i].count == 0 || ranges[i].first > UINT32_MAX - ranges[i].count)
            return 0;
        put_number(&s, ranges[i].first, 4);
        put_number(&s, ranges[i].count, 4);
    }
    return sink_end(&s, FRAME_WANT);
}

size_t protocol_hashes_size(uint32_t count)
{
    return PROTOCOL_HEADER_SIZE + 8 + (size_t)count * ENTRY_SIZE;
}

size_t protocol_encode_hashes(uint32_t first, const struct manifest_entry *entries, uint32_t count,
                              uint8_t *out, size_t out_size)
{
    struct sink s = sink_of(out, out_size);
    if (count == 0 || count > PROTOCOL_HASHES_MAX || first > UINT32_MAX - count)
        return 0;
    put_number(&s, first, 4);
    put_number(&s, count, 4);
    for (uint32_t i = 0; i < count; i++) {
        put_bytes(&s, entries[i].hash, PROTOCOL_HASH_SIZE);
        put_number(&s, entries[i].wire_size, 4);
    }
    return sink_end(&s, FRAME_MANIFEST_HASHES);
}

size_t protocol_encode_block_prefix(const struct block_header *block, uint32_t data_size,
                                    uint8_t out[PROTOCOL_BLOCK_PREFIX])
{
    struct sink s = sink_of(out, PROTOCOL_BLOCK_PREFIX);
    if (data_size == 0 || data_size > PROTOCOL_BLOCK_MAX || block->encoding > ENCODING_ZSTD)
        return 0;
    put_number(&s, block->index, 4);
    put_number(&s, block->encoding, 1);
    put_number(&s, 0, 3);
    protocol_put_header(out, FRAME_BLOCK, 8 + data_size);
    return s.at;
}

/* --- decoders ------------------------------------------------------------------------------ */

int protocol_decode_hello(const struct frame *frame, struct hello *hello)
{
    struct source s = source_of(frame, FRAME_HELLO);
    hello->version = (uint32_t)take_number(&s, 4);
    take_copy(&s, hello->token, PROTOCOL_TOKEN_SIZE);
    take_text(&s, hello->run_id, sizeof hello->run_id);
    return source_end(&s);
}

int protocol_decode_hello_reply(const struct frame *frame, struct hello_reply *reply)
{
    struct source s = source_of(frame, FRAME_HELLO_REPLY);
    reply->version = (uint32_t)take_number(&s, 4);
    reply->phase = (uint8_t)take_number(&s, 1);
    reply->mode = (uint8_t)take_number(&s, 1);
    reply->port = (uint16_t)take_number(&s, 2);
    reply->has_manifest = (uint8_t)take_number(&s, 1);
    take_copy(&s, reply->image_id, PROTOCOL_HASH_SIZE);
    take_text(&s, reply->run_id, sizeof reply->run_id);
    if (reply->phase >= PHASE_COUNT || reply->mode > MODE_UNCHANGED || reply->has_manifest > 1)
        return -1;
    return source_end(&s);
}

int protocol_decode_probe(const struct frame *frame, char *device, size_t device_size)
{
    struct source s = source_of(frame, FRAME_PROBE);
    take_text(&s, device, device_size);
    return source_end(&s);
}

int protocol_decode_manifest(const struct frame *frame, struct manifest *manifest)
{
    struct source s = source_of(frame, FRAME_MANIFEST);
    manifest->image_size = take_number(&s, 8);
    manifest->block_size = (uint32_t)take_number(&s, 4);
    manifest->block_count = (uint32_t)take_number(&s, 4);
    take_copy(&s, manifest->image_id, PROTOCOL_HASH_SIZE);
    manifest->first_block = (uint32_t)take_number(&s, 4);
    manifest->shift = take_number(&s, 8);
    return source_end(&s) == 0 && manifest_fits(manifest) ? 0 : -1;
}

int protocol_decode_hashes(const struct frame *frame, uint32_t *first, uint32_t *count)
{
    struct source s = source_of(frame, FRAME_MANIFEST_HASHES);
    *first = (uint32_t)take_number(&s, 4);
    *count = (uint32_t)take_number(&s, 4);
    if (*count == 0 || *count > PROTOCOL_HASHES_MAX || *first > UINT32_MAX - *count)
        return -1;
    take_bytes(&s, (size_t)*count * ENTRY_SIZE);
    return source_end(&s);
}

void protocol_hashes_entry(const struct frame *frame, uint32_t i, struct manifest_entry *entry)
{
    struct source s = {.in = frame->payload, .size = frame->size};
    s.at = 8 + (size_t)i * ENTRY_SIZE;
    take_copy(&s, entry->hash, PROTOCOL_HASH_SIZE);
    entry->wire_size = (uint32_t)take_number(&s, 4);
}

int protocol_decode_begin(const struct frame *frame, enum flash_mode *mode, uint32_t *flags)
{
    struct source s = source_of(frame, FRAME_BEGIN);
    unsigned value = (unsigned)take_number(&s, 1);
    *flags = (uint32_t)take_number(&s, 4);
    *mode = (enum flash_mode)value;
    if (value > MODE_STREAM || !begin_flags_fit(*mode, *flags))
        return -1;
    return source_end(&s);
}

int protocol_decode_mode(const struct frame *frame, struct mode_reply *mode)
{
    struct source s = source_of(frame, FRAME_MODE);
    mode->mode = (uint8_t)take_number(&s, 1);
    mode->differing_blocks = (uint32_t)take_number(&s, 4);
    mode->wire_bytes = take_number(&s, 8);
    mode->memory_available = take_number(&s, 8);
    take_text(&s, mode->reason, sizeof mode->reason);
    if (mode->mode == MODE_AUTO || mode->mode > MODE_UNCHANGED)
        return -1;
    return source_end(&s);
}

int protocol_decode_want(const struct frame *frame, uint32_t *count)
{
    if (frame->type != FRAME_WANT || frame->size == 0 || frame->size % RANGE_SIZE != 0 ||
        frame->size / RANGE_SIZE > PROTOCOL_WANT_MAX)
        return -1;
    *count = frame->size / RANGE_SIZE;
    for (uint32_t i = 0; i < *count; i++) {
        struct want_range range;
        protocol_want_range(frame, i, &range);
        if (range.count == 0 || range.first > UINT32_MAX - range.count)
            return -1;
    }
    return 0;
}

void protocol_want_range(const struct frame *frame, uint32_t i, struct want_range *range)
{
    struct source s = {.in = frame->payload, .size = frame->size};
    s.at = (size_t)i * RANGE_SIZE;
    range->first = (uint32_t)take_number(&s, 4);
    range->count = (uint32_t)take_number(&s, 4);
}

int protocol_decode_tally(const struct frame *frame, struct tally *tally)
{
    struct source s = source_of(frame, frame->type == FRAME_STAGED ? FRAME_STAGED : FRAME_WRITTEN);
    tally->blocks_same = (uint32_t)take_number(&s, 4);
    tally->blocks_received = (uint32_t)take_number(&s, 4);
    tally->blocks_repaired = (uint32_t)take_number(&s, 4);
    tally->bytes_received = take_number(&s, 8);
    tally->bytes_written = take_number(&s, 8);
    tally->bytes_verified = take_number(&s, 8);
    return source_end(&s);
}

int protocol_decode_phase(const struct frame *frame, enum agent_phase *phase)
{
    struct source s = source_of(frame, FRAME_PHASE);
    unsigned value = (unsigned)take_number(&s, 1);
    *phase = (enum agent_phase)value;
    return value >= PHASE_COUNT ? -1 : source_end(&s);
}

int protocol_decode_progress(const struct frame *frame, struct progress *progress)
{
    struct source s = source_of(frame, FRAME_PROGRESS);
    progress->phase = (uint8_t)take_number(&s, 1);
    progress->done = (uint32_t)take_number(&s, 4);
    progress->total = (uint32_t)take_number(&s, 4);
    progress->bytes_written = take_number(&s, 8);
    if (progress->phase >= PHASE_COUNT || progress->done > progress->total)
        return -1;
    return source_end(&s);
}

int protocol_decode_log(const struct frame *frame, enum log_level *level, char *text,
                        size_t text_size)
{
    struct source s = source_of(frame, FRAME_LOG);
    unsigned value = (unsigned)take_number(&s, 1);
    *level = (enum log_level)value;
    take_text(&s, text, text_size);
    return value > LOG_ERROR ? -1 : source_end(&s);
}

int protocol_decode_fail(const struct frame *frame, struct fail *fail)
{
    struct source s = source_of(frame, FRAME_FAIL);
    fail->code = (uint16_t)take_number(&s, 2);
    fail->state = (uint8_t)take_number(&s, 1);
    take_text(&s, fail->text, sizeof fail->text);
    take_text(&s, fail->remedy, sizeof fail->remedy);
    if (fail->code < FAILCODE_PROTOCOL || fail->code > FAILCODE_ABORTED ||
        fail->state > FAIL_INCOMPLETE)
        return -1;
    return source_end(&s);
}

int protocol_decode_block(const struct frame *frame, struct block_header *block,
                          const uint8_t **data, uint32_t *data_size)
{
    struct source s = source_of(frame, FRAME_BLOCK);
    block->index = (uint32_t)take_number(&s, 4);
    block->encoding = (uint8_t)take_number(&s, 1);
    unsigned reserved = (unsigned)take_number(&s, 3);
    if (s.bad || reserved != 0 || block->encoding > ENCODING_ZSTD)
        return -1;
    *data_size = (uint32_t)(s.size - s.at);
    *data = take_bytes(&s, *data_size);
    if (*data_size == 0 || *data_size > PROTOCOL_BLOCK_MAX)
        return -1;
    return source_end(&s);
}

const char *protocol_phase_name(enum agent_phase phase)
{
    static const char *const names[PHASE_COUNT] = {
        [PHASE_IDLE] = "idle",
        [PHASE_SCANNING] = "scanning",
        [PHASE_STAGING] = "staging",
        [PHASE_STAGED] = "staged",
        [PHASE_READY] = "ready",
        [PHASE_FENCING] = "fencing",
        [PHASE_FENCED] = "fenced",
        [PHASE_ERASING_HEAD] = "erasing-head",
        [PHASE_WRITING] = "writing",
        [PHASE_READING_BACK] = "reading-back",
        [PHASE_WRITING_HEAD] = "writing-head",
        [PHASE_WRITTEN] = "written",
        [PHASE_REBOOTING] = "rebooting",
        [PHASE_FAILED] = "failed",
    };
    return phase < PHASE_COUNT ? names[phase] : "unknown";
}
