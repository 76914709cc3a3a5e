/* SPDX-License-Identifier: Apache-2.0 */
/* Every frame there and back; nothing else gets through. */
#include "protocol/lifeline.h"
#include "protocol/protocol.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const struct hello hello = {.version = 7, .token = {1, 2, 3}, .run_id = "run-1"};
static const struct hello_reply hello_reply = {.version = 1,
                                               .phase = PHASE_WRITING,
                                               .mode = MODE_STREAM,
                                               .port = 40000,
                                               .has_manifest = 1,
                                               .image_id = {9, 8},
                                               .run_id = "run-1"};
static const struct manifest manifest = {.image_size = 300000,
                                         .block_size = 65536,
                                         .block_count = 5,
                                         .image_id = {5},
                                         .first_block = 4,
                                         .shift = 1ull << 40};
static const struct mode_reply mode_reply = {.mode = MODE_STAGE,
                                             .differing_blocks = 3,
                                             .wire_bytes = 1ull << 40,
                                             .memory_available = 77,
                                             .reason = "it fits"};
static const struct tally tally = {1, 2, 3, 1ull << 33, 5, 6};
static const struct progress progress = {PHASE_WRITING, 3, 9, 1ull << 35};
static const struct fail fail = {FAILCODE_FENCE, FAIL_REBOOTING, "busy", "stop it"};
static const struct want_range ranges[2] = {{0, 3}, {9, 1}};

static const uint8_t *encode(enum frame_type type, size_t *size)
{
    static uint8_t out[PROTOCOL_SMALL_MAX];
    struct manifest_entry entries[3] = {
        {.hash = {1}, .wire_size = 10}, {.hash = {2}}, {.hash = {3}}};
    struct block_header block = {.index = 3, .encoding = ENCODING_ZSTD};
    switch (type) {
    case FRAME_HELLO:
        *size = protocol_encode_hello(&hello, out, sizeof out);
        break;
    case FRAME_HELLO_REPLY:
        *size = protocol_encode_hello_reply(&hello_reply, out, sizeof out);
        break;
    case FRAME_PROBE:
        *size = protocol_encode_probe("/dev/sda", out, sizeof out);
        break;
    case FRAME_MANIFEST:
        *size = protocol_encode_manifest(&manifest, out, sizeof out);
        break;
    case FRAME_MANIFEST_HASHES:
        *size = protocol_encode_hashes(2, entries, 3, out, sizeof out);
        break;
    case FRAME_BEGIN:
        *size = protocol_encode_begin(MODE_STAGE, BEGIN_FLAG_FORCE, out, sizeof out);
        break;
    case FRAME_BLOCK:
        *size = protocol_encode_block_prefix(&block, 5, out);
        memcpy(out + *size, "abcde", 5);
        *size += 5;
        break;
    case FRAME_FACTS:
        protocol_put_header(out, FRAME_FACTS, 2);
        memcpy(out + PROTOCOL_HEADER_SIZE, "{}", 2);
        *size = PROTOCOL_HEADER_SIZE + 2;
        break;
    case FRAME_MODE:
        *size = protocol_encode_mode(&mode_reply, out, sizeof out);
        break;
    case FRAME_WANT:
        *size = protocol_encode_want(ranges, 2, out, sizeof out);
        break;
    case FRAME_STAGED:
    case FRAME_WRITTEN:
        *size = protocol_encode_tally(type, &tally, out, sizeof out);
        break;
    case FRAME_PHASE:
        *size = protocol_encode_phase(PHASE_FENCED, out, sizeof out);
        break;
    case FRAME_PROGRESS:
        *size = protocol_encode_progress(&progress, out, sizeof out);
        break;
    case FRAME_LOG:
        *size = protocol_encode_log(LOG_WARNING, "careful", out, sizeof out);
        break;
    case FRAME_FAIL:
        *size = protocol_encode_fail(&fail, out, sizeof out);
        break;
    default:
        *size = protocol_encode_empty(type, out, sizeof out);
        break;
    }
    return out;
}

/* Decodes whatever the frame says it is: 0 when accepted. */
static int decode(const struct frame *frame)
{
    union {
        struct hello hello;
        struct hello_reply reply;
        struct manifest manifest;
        struct mode_reply mode;
        struct tally tally;
        struct progress progress;
        struct fail fail;
        char text[PROTOCOL_TEXT_MAX + 1];
    } u;
    enum flash_mode mode;
    enum agent_phase phase;
    enum log_level level;
    struct block_header block;
    const uint8_t *data;
    uint32_t a, b;
    switch (frame->type) {
    case FRAME_HELLO:
        return protocol_decode_hello(frame, &u.hello);
    case FRAME_HELLO_REPLY:
        return protocol_decode_hello_reply(frame, &u.reply);
    case FRAME_PROBE:
        return protocol_decode_probe(frame, u.text, sizeof u.text);
    case FRAME_MANIFEST:
        return protocol_decode_manifest(frame, &u.manifest);
    case FRAME_MANIFEST_HASHES:
        return protocol_decode_hashes(frame, &a, &b);
    case FRAME_BEGIN:
        return protocol_decode_begin(frame, &mode, &a);
    case FRAME_BLOCK:
        return protocol_decode_block(frame, &block, &data, &a);
    case FRAME_MODE:
        return protocol_decode_mode(frame, &u.mode);
    case FRAME_WANT:
        return protocol_decode_want(frame, &a);
    case FRAME_STAGED:
    case FRAME_WRITTEN:
        return protocol_decode_tally(frame, &u.tally);
    case FRAME_PHASE:
        return protocol_decode_phase(frame, &phase);
    case FRAME_PROGRESS:
        return protocol_decode_progress(frame, &u.progress);
    case FRAME_LOG:
        return protocol_decode_log(frame, &level, u.text, sizeof u.text);
    case FRAME_FAIL:
        return protocol_decode_fail(frame, &u.fail);
    default:
        return 0;
    }
}

static bool is_type(int type)
{
    return (type >= FRAME_HELLO && type <= FRAME_PING) ||
           (type >= FRAME_HELLO_REPLY && type <= FRAME_PONG);
}

static void parse_encoded(enum frame_type type, struct frame *frame)
{
    size_t size;
    const uint8_t *data = encode(type, &size);
    assert_int_equal(protocol_parse(data, size, frame), size);
}

static void test_there_and_back(void **state)
{
    struct frame frame;
    size_t size;
    (void)state;
    for (int type = 0; type < 256; type++) {
        if (!is_type(type))
            continue;
        const uint8_t *data = encode((enum frame_type)type, &size);
        assert_true(size >= PROTOCOL_HEADER_SIZE);
        assert_int_equal(protocol_parse(data, size, &frame), size);
        assert_int_equal(frame.type, type);
        assert_int_equal(decode(&frame), 0);
    }
    struct hello_reply reply;
    parse_encoded(FRAME_HELLO_REPLY, &frame);
    assert_int_equal(protocol_decode_hello_reply(&frame, &reply), 0);
    assert_int_equal(reply.port, 40000);
    assert_int_equal(reply.phase, PHASE_WRITING);
    assert_string_equal(reply.run_id, "run-1");
    assert_memory_equal(reply.image_id, hello_reply.image_id, sizeof reply.image_id);
    struct tally got;
    parse_encoded(FRAME_WRITTEN, &frame);
    assert_int_equal(protocol_decode_tally(&frame, &got), 0);
    assert_int_equal(got.blocks_same, 1);
    assert_int_equal(got.blocks_repaired, 3);
    assert_true(got.bytes_received == 1ull << 33 && got.bytes_verified == 6);
    struct mode_reply mode;
    parse_encoded(FRAME_MODE, &frame);
    assert_int_equal(protocol_decode_mode(&frame, &mode), 0);
    assert_true(mode.wire_bytes == 1ull << 40 && mode.memory_available == 77);
    assert_string_equal(mode.reason, "it fits");
    struct manifest_entry entry;
    parse_encoded(FRAME_MANIFEST_HASHES, &frame);
    protocol_hashes_entry(&frame, 0, &entry);
    assert_int_equal(entry.wire_size, 10);
    assert_int_equal(entry.hash[0], 1);
}

/* A frame that is cut short needs more bytes; a payload of another length is refused. */
static void test_lengths(void **state)
{
    static uint8_t copy[2 * PROTOCOL_SMALL_MAX];
    struct frame frame;
    size_t size;
    (void)state;
    for (int type = 0; type < 256; type++) {
        if (!is_type(type))
            continue;
        const uint8_t *data = encode((enum frame_type)type, &size);
        for (size_t cut = 0; cut < size; cut++)
            assert_int_equal(protocol_parse(data, cut, &frame), 0);
        size_t payload = size - PROTOCOL_HEADER_SIZE;
        for (size_t other = 0; other < payload + 64; other++) {
            if (other == payload || type == FRAME_FACTS || type == FRAME_BLOCK)
                continue;
            memset(copy, 0, sizeof copy);
            memcpy(copy, data, size);
            protocol_put_header(copy, (enum frame_type)type, (uint32_t)other);
            int64_t n = protocol_parse(copy, sizeof copy, &frame);
            if (n > 0 && decode(&frame) == 0) /* only a WANT may be shorter or longer by a range */
                assert_true(type == FRAME_WANT && other % 8 == 0 && other < payload);
        }
    }
}

static void test_headers(void **state)
{
    struct frame frame;
    (void)state;
    uint8_t head[PROTOCOL_HEADER_SIZE];
    for (int type = 0; type < 256; type++) {
        protocol_put_header(head, (enum frame_type)type, 0);
        if (!is_type(type))
            assert_int_equal(protocol_parse(head, sizeof head, &frame), -1);
        protocol_put_header(head, (enum frame_type)type, PROTOCOL_PAYLOAD_MAX + 1);
        assert_int_equal(protocol_parse(head, sizeof head, &frame), -1);
    }
    protocol_put_header(head, FRAME_PING, 0);
    for (int i = 5; i < 8; i++) {
        head[i] = 1;
        assert_int_equal(protocol_parse(head, sizeof head, &frame), -1);
        head[i] = 0;
    }
    assert_int_equal(protocol_parse(head, sizeof head, &frame), PROTOCOL_HEADER_SIZE);
}

static void test_ranges(void **state)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    struct want_range empty = {1, 0}, far = {UINT32_MAX - 1, 3};
    struct manifest wrong = manifest;
    struct fail odd = {.code = 99};
    (void)state;
    assert_int_equal(protocol_encode_want(&empty, 1, out, sizeof out), 0);
    assert_int_equal(protocol_encode_want(&far, 1, out, sizeof out), 0);
    assert_int_equal(protocol_encode_fail(&odd, out, sizeof out), 0);
    wrong.block_count = 4;
    assert_int_equal(protocol_encode_manifest(&wrong, out, sizeof out), 0);
    wrong = manifest;
    wrong.block_size = 65535;
    assert_int_equal(protocol_encode_manifest(&wrong, out, sizeof out), 0);
    static const struct {
        uint32_t first_block;
        uint64_t shift;
    } places[] = {{5, 512}, {0, 512}, {1, 511}, {1, UINT64_MAX - 511}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        wrong = manifest;
        wrong.first_block = places[i].first_block;
        wrong.shift = places[i].shift;
        assert_int_equal(protocol_encode_manifest(&wrong, out, sizeof out), 0);
    }
    assert_int_equal(protocol_encode_hello(&hello, out, 20), 0);
    assert_int_equal(protocol_encode_begin((enum flash_mode)3, 0, out, sizeof out), 0);
    assert_int_equal(protocol_encode_begin(MODE_STREAM, BEGIN_FLAG_UNATTENDED, out, sizeof out), 0);
    assert_int_equal(protocol_encode_begin(MODE_STAGE, 4, out, sizeof out), 0);
    assert_true(protocol_encode_begin(MODE_STAGE, BEGIN_FLAG_UNATTENDED, out, sizeof out) > 0);
}

/* Text from the other side is terminated and cannot draw on a terminal. */
static void test_text(void **state)
{
    uint8_t out[PROTOCOL_SMALL_MAX];
    char text[64];
    struct frame frame;
    enum log_level level;
    (void)state;
    size_t size = protocol_encode_log(LOG_INFO, "a\033[2J\nb\177", out, sizeof out);
    assert_int_equal(protocol_parse(out, size, &frame), size);
    assert_int_equal(protocol_decode_log(&frame, &level, text, sizeof text), 0);
    assert_string_equal(text, "a?[2J?b?");
    assert_int_equal(protocol_decode_log(&frame, &level, text, 4), -1);
}

static void test_noise(void **state)
{
    static uint8_t data[8192];
    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        struct frame frame;
        size_t size = (size_t)rand() % 600;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)rand();
        if (size >= 8 && round % 2) { /* let it get behind the header */
            uint32_t payload = (uint32_t)(size - 8);
            uint8_t type = data[4];
            protocol_put_header(data, (enum frame_type)(type % 80), payload);
        }
        if (protocol_parse(data, size, &frame) > 0)
            decode(&frame); /* the sanitizers watch */
    }
}

/* --- lifeline ----------------------------------------------------------------------------- */

static const uint8_t secret[PROTOCOL_KEY_SIZE] = {42};

static void meet(struct lifeline *controller, struct lifeline *agent, const uint8_t *agent_secret)
{
    uint8_t bytes[LIFELINE_HELLO_SIZE], out[64];
    size_t plain;
    lifeline_start(controller, LIFELINE_CONTROLLER, secret);
    lifeline_start(agent, LIFELINE_AGENT, agent_secret);
    assert_int_equal(lifeline_seal(controller, secret, 1, out), 0); /* too early */
    lifeline_put_hello(controller, bytes);
    for (size_t cut = 0; cut < sizeof bytes; cut++)
        assert_int_equal(lifeline_open(agent, bytes, cut, out, &plain), 0);
    assert_int_equal(lifeline_open(agent, bytes, sizeof bytes, out, &plain), sizeof bytes);
    lifeline_put_hello(agent, bytes);
    assert_int_equal(lifeline_open(controller, bytes, sizeof bytes, out, &plain), sizeof bytes);
}

/* Opens everything in data; -1 when something does not open. */
static int open_all(struct lifeline *line, const uint8_t *data, size_t size, uint8_t *out,
                    size_t *out_size)
{
    size_t at = 0;
    *out_size = 0;
    while (at < size) {
        size_t plain;
        int64_t n = lifeline_open(line, data + at, size - at, out + *out_size, &plain);
        if (n <= 0)
            return (int)n;
        at += (size_t)n;
        *out_size += plain;
    }
    return 1;
}

static void test_lifeline(void **state)
{
    static uint8_t plain[LIFELINE_PLAIN_MAX], sealed[2 * LIFELINE_SEALED_MAX],
        out[2 * LIFELINE_PLAIN_MAX];
    struct lifeline controller, agent;
    size_t got;
    (void)state;
    memset(plain, 7, sizeof plain);
    meet(&controller, &agent, secret);
    size_t size = lifeline_seal(&controller, plain, 100, sealed);
    size += lifeline_seal(&controller, plain, sizeof plain, sealed + size);
    assert_int_equal(open_all(&agent, sealed, size, out, &got), 1);
    assert_int_equal(got, 100 + sizeof plain);
    assert_true(agent.proven);
    size = lifeline_seal(&agent, plain, 5, sealed);
    assert_int_equal(open_all(&controller, sealed, size, out, &got), 1);
    assert_int_equal(got, 5);
    assert_int_equal(lifeline_seal(&agent, plain, sizeof plain + 1, sealed), 0);
}

static void test_lifeline_attacks(void **state)
{
    static uint8_t sealed[LIFELINE_SEALED_MAX], out[LIFELINE_PLAIN_MAX];
    struct lifeline controller, agent, other;
    uint8_t wrong[PROTOCOL_KEY_SIZE] = {1};
    size_t got;
    (void)state;
    meet(&controller, &agent, wrong); /* does not know the secret */
    size_t size = lifeline_seal(&controller, secret, 8, sealed);
    assert_int_equal(open_all(&agent, sealed, size, out, &got), -1);
    assert_false(agent.proven);

    meet(&controller, &agent, secret); /* each bit counts */
    size = lifeline_seal(&controller, secret, 8, sealed);
    for (size_t i = 0; i < size; i++) {
        struct lifeline copy = agent;
        sealed[i] ^= 1;
        assert_int_not_equal(open_all(&copy, sealed, size, out, &got), 1);
        sealed[i] ^= 1;
    }
    struct lifeline copy = controller; /* reflected */
    assert_int_equal(open_all(&copy, sealed, size, out, &got), -1);

    meet(&other, &agent, secret); /* replayed into a later conversation */
    assert_int_equal(open_all(&agent, sealed, size, out, &got), -1);
    lifeline_start(&agent, LIFELINE_AGENT, secret);
    assert_int_equal(lifeline_open(&agent, (const uint8_t *)"GET", 3, out, &got), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_headers),        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_text),           cmocka_unit_test(test_noise),
        cmocka_unit_test(test_lifeline),       cmocka_unit_test(test_lifeline_attacks),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
