/* SPDX-License-Identifier: Apache-2.0 */
/* The controller's end of the conversation, against a wire that the test plays the agent on. */
#include "target/agent_session.h"
#include "target/heartbeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- a wire that keeps what is written ----------------------------------------------- */

struct fake_wire {
    struct wire wire;
    uint8_t out[4u << 20];
    size_t size;
    bool closed;
};

static void fake_write(struct wire *wire, struct buffer *buffer, size_t offset, size_t size)
{
    struct fake_wire *fake = (struct fake_wire *)wire;
    assert_true(fake->size + size <= sizeof fake->out);
    memcpy(fake->out + fake->size, buffer->data + offset, size);
    fake->size += size;
    wire->bytes_sent += size;
}

static void fake_shut(struct wire *wire)
{
    (void)wire;
}

static void fake_close(struct wire *wire)
{
    ((struct fake_wire *)wire)->closed = true;
}

static const struct wire_ops fake_ops = {fake_write, fake_shut, fake_close};

/* --- what the session tells ---------------------------------------------------------- */

struct heard {
    unsigned replies, phases, fails, losses;
    struct agent_reply reply;
    struct error lost;
    struct agent_session *free_on_reply;
};

static void heard_reply(const struct agent_reply *reply, void *arg)
{
    struct heard *heard = arg;
    heard->replies++;
    heard->reply = *reply;
    if (heard->free_on_reply != NULL)
        agent_session_free(heard->free_on_reply);
}

static void heard_phase(enum agent_phase phase, void *arg)
{
    (void)phase;
    ((struct heard *)arg)->phases++;
}

static void heard_progress(const struct progress *progress, void *arg)
{
    (void)progress;
    (void)arg;
}

static void heard_log(enum log_level level, const char *text, void *arg)
{
    (void)level;
    (void)text;
    (void)arg;
}

static void heard_fail(const struct fail *fail, void *arg)
{
    (void)fail;
    ((struct heard *)arg)->fails++;
}

static void heard_lost(const struct error *err, void *arg)
{
    struct heard *heard = arg;
    heard->losses++;
    heard->lost = *err;
}

static void heard_alive(void *arg)
{
    (void)arg;
}

static const struct agent_session_events events = {
    heard_reply, heard_phase, heard_progress, heard_log, heard_fail, heard_lost, heard_alive};

struct fixture {
    struct fake_wire *fake;
    struct heard heard;
    struct transfer_count count;
    struct agent_session *session;
};

static void fixture_open(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->fake = calloc(1, sizeof *f->fake);
    f->session = agent_session_new(&events, &f->heard, &f->count);
    f->fake->wire =
        (struct wire){.ops = &fake_ops, .events = &agent_session_wire_events, .arg = f->session};
    agent_session_attach(f->session, &f->fake->wire);
}

static void fixture_close(struct fixture *f)
{
    agent_session_free(f->session);
    free(f->fake);
}

static void agent_says(struct fixture *f, const uint8_t *data, size_t size)
{
    agent_session_wire_events.data(&f->fake->wire, data, size, f->session);
}

/* --- tests --------------------------------------------------------------------------- */

static void frames_may_come_in_any_pieces(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint8_t frames[256];
    size_t size = protocol_encode_phase(PHASE_SCANNING, frames, sizeof frames);
    size += protocol_encode_empty(FRAME_PONG, frames + size, sizeof frames - size);
    size += protocol_encode_phase(PHASE_STAGED, frames + size, sizeof frames - size);
    for (size_t i = 0; i < size; i++)
        agent_says(&f, frames + i, 1);
    assert_int_equal(f.heard.phases, 2);
    assert_int_equal(f.heard.replies, 1);
    agent_says(&f, frames, size);
    assert_int_equal(f.heard.phases, 4);
    assert_int_equal(f.heard.losses, 0);
    fixture_close(&f);
}

static void garbage_ends_the_conversation_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint8_t garbage[64];
    memset(garbage, 0xee, sizeof garbage);
    agent_says(&f, garbage, sizeof garbage);
    assert_int_equal(f.heard.losses, 1);
    assert_int_equal(f.heard.lost.cls, ERROR_PROTOCOL);
    assert_true(f.fake->closed);
    fixture_close(&f);
}

static void a_controllers_frame_from_the_agent_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    uint8_t frame[64];
    agent_says(&f, frame, protocol_encode_empty(FRAME_REBOOT, frame, sizeof frame));
    assert_int_equal(f.heard.losses, 1);
    assert_int_equal(f.heard.lost.cls, ERROR_PROTOCOL);
    fixture_close(&f);
}

static void a_want_before_the_manifest_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    struct want_range range = {0, 1};
    uint8_t frame[64];
    agent_says(&f, frame, protocol_encode_want(&range, 1, frame, sizeof frame));
    assert_int_equal(f.heard.losses, 1);
    fixture_close(&f);
}

static void the_owner_may_free_it_in_a_callback(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f);
    f.heard.free_on_reply = f.session;
    uint8_t frames[64];
    size_t size = protocol_encode_empty(FRAME_PONG, frames, sizeof frames);
    size += protocol_encode_empty(FRAME_PONG, frames + size, sizeof frames - size);
    agent_says(&f, frames, size);
    assert_int_equal(f.heard.replies, 1); /* nothing after the free */
    assert_true(f.fake->closed);
    f.session = NULL;
    fixture_close(&f);
}

/* --- signs of life ------------------------------------------------------------------- */

static unsigned count_pings(const struct fake_wire *fake)
{
    unsigned pings = 0;
    struct frame frame;
    int64_t taken;
    for (size_t at = 0; (taken = protocol_parse(fake->out + at, fake->size - at, &frame)) > 0;
         at += (size_t)taken)
        pings += frame.type == FRAME_PING;
    return pings;
}

/* Nobody answers: six pings are sent, then the conversation is over, once. */
static void silence_ends_the_conversation(void **state)
{
    (void)state;
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct fixture f;
    fixture_open(&f);
    agent_session_set_heartbeat(f.session, &loop, 1);
    while (count_pings(f.fake) < 2) {
        assert_false(agent_session_is_faint(f.session)); /* nothing was missed yet */
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(agent_session_is_faint(f.session));
    uv_run(&loop, UV_RUN_DEFAULT); /* ends with the last timer */
    assert_int_equal(f.heard.losses, 1);
    assert_int_equal(f.heard.lost.cls, ERROR_TIMEOUT);
    /* The first beat finds the answer that it was begun with. */
    assert_int_equal(count_pings(f.fake), HEARTBEAT_MISSED + 1);
    assert_true(f.fake->closed);
    fixture_close(&f);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct answerer {
    struct fixture *f;
    bool answers;  /* with PONGs; otherwise only the transport takes bytes */
    unsigned left; /* beats, then silence */
};

static void answer_callback(uv_timer_t *timer)
{
    struct answerer *answerer = timer->data;
    uint8_t pong[PROTOCOL_HEADER_SIZE];
    if (answerer->left-- == 0) {
        uv_close((uv_handle_t *)timer, NULL);
        return;
    }
    if (answerer->answers)
        agent_says(answerer->f, pong, protocol_encode_empty(FRAME_PONG, pong, sizeof pong));
    else
        answerer->f->fake->wire.bytes_sent += 4096;
}

/* An answer keeps it, and so do blocks that leave on a line so slow that the answer is behind them.
 */
static void life_keeps_the_conversation(void **state)
{
    (void)state;
    for (int answers = 0; answers <= 1; answers++) {
        uv_loop_t loop;
        uv_timer_t timer;
        struct fixture f;
        uv_loop_init(&loop);
        fixture_open(&f);
        struct answerer answerer = {&f, answers != 0, 20};
        uv_timer_init(&loop, &timer);
        timer.data = &answerer;
        uv_timer_start(&timer, answer_callback, 10, 10);
        agent_session_set_heartbeat(f.session, &loop, 10);
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(f.heard.replies, 0); /* nobody waits for these */
        assert_int_equal(f.heard.losses, 1);
        assert_true(count_pings(f.fake) > HEARTBEAT_MISSED + 2);
        fixture_close(&f);
        assert_int_equal(uv_loop_close(&loop), 0);
    }
}

/* --- with a store -------------------------------------------------------------------- */

static void store_done_callback(struct store *store, const struct error *err, void *arg)
{
    if (store == NULL)
        fail_msg("%s", err->text);
    *(struct store **)arg = store;
}

/* An image of three blocks with a boot signature, the middle one zero. */
static struct store *make_store(uv_loop_t *loop, const char *dir)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/image", dir);
    FILE *file = fopen(path, "wb");
    uint8_t *data = calloc(3, STORE_BLOCK_SIZE);
    randombytes_buf(data, 440);
    data[510] = 0x55;
    data[511] = 0xaa;
    randombytes_buf(data + 2 * STORE_BLOCK_SIZE, STORE_BLOCK_SIZE);
    assert_int_equal(fwrite(data, STORE_BLOCK_SIZE, 3, file), 3);
    fclose(file);
    free(data);
    struct store_options options = {.image = path, .cache_dir = dir};
    struct store *store = NULL;
    assert_non_null(store_prepare(loop, &options, NULL, store_done_callback, &store));
    uv_run(loop, UV_RUN_DEFAULT);
    return store;
}

static void wanted_blocks_are_sent_and_others_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/target-session-XXXXXX";
    assert_non_null(mkdtemp(dir));
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct store *store = make_store(&loop, dir);
    struct fixture f;
    fixture_open(&f);
    agent_session_set_store(f.session, store);
    struct want_range ranges[] = {{2, 1}, {0, 1}};
    uint8_t frame[128];
    agent_says(&f, frame, protocol_encode_want(ranges, 2, frame, sizeof frame));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(f.count.blocks_sent, 2);
    size_t at = 0;
    unsigned seen = 0;
    while (at < f.fake->size) {
        struct frame got;
        struct block_header block;
        const uint8_t *data = NULL;
        uint32_t size = 0;
        int64_t taken = protocol_parse(f.fake->out + at, f.fake->size - at, &got);
        assert_true(taken > 0);
        assert_int_equal(got.type, FRAME_BLOCK);
        assert_int_equal(protocol_decode_block(&got, &block, &data, &size), 0);
        assert_true(block.index == 0 || block.index == 2);
        seen |= 1u << block.index;
        at += (size_t)taken;
    }
    assert_int_equal(seen, 5);

    ranges[0] = (struct want_range){2, 2}; /* one beyond the image */
    agent_says(&f, frame, protocol_encode_want(ranges, 1, frame, sizeof frame));
    assert_int_equal(f.heard.losses, 1);
    fixture_close(&f);
    store_close(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_may_come_in_any_pieces),
        cmocka_unit_test(garbage_ends_the_conversation_once),
        cmocka_unit_test(a_controllers_frame_from_the_agent_is_refused),
        cmocka_unit_test(a_want_before_the_manifest_is_refused),
        cmocka_unit_test(the_owner_may_free_it_in_a_callback),
        cmocka_unit_test(silence_ends_the_conversation),
        cmocka_unit_test(life_keeps_the_conversation),
        cmocka_unit_test(wanted_blocks_are_sent_and_others_refused),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
