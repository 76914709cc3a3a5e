/* SPDX-License-Identifier: Apache-2.0 */
/* What one loop thread sends: link_bench [links [MiB for each [piece KiB [cipher]]]]
 * Each link runs `cat >/dev/null` on a loopback sshd of its own; the CPU time is the loop thread's,
 * kernel included. */
#include "link_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct sink {
    struct peer peer;
    struct wire *wire;
    uint64_t left;
    bool closed;
};

static struct buffer *piece;
static uint64_t most_pending;

static void sink_fill(struct wire *wire, void *arg)
{
    struct sink *sink = arg;
    while (sink->left > 0 && wire->pending < 1024 * 1024) {
        wire_write(wire, piece, 0, piece->size);
        sink->left -= sink->left < piece->size ? sink->left : piece->size;
    }
    if (wire->pending > most_pending)
        most_pending = wire->pending;
    if (sink->left == 0)
        wire_shut(wire);
}

static void sink_closed(struct wire *wire, int status, const struct error *err, void *arg)
{
    (void)wire;
    struct sink *sink = arg;
    sink->closed = true;
    if (status != 0 || err->cls != ERROR_NONE)
        fprintf(stderr, "ended with %d: %s\n", status, err->text);
}

static const struct wire_events sink_events = {
    .opened = sink_fill, .drain = sink_fill, .closed = sink_closed};

static double thread_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    unsigned links = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    uint64_t size = (argc > 2 ? strtoull(argv[2], NULL, 10) : 256) << 20;
    size_t piece_size = (argc > 3 ? (size_t)atoi(argv[3]) : 256) << 10;
    char extra[100] = "";
    struct place place;
    struct server server;
    struct client client;
    struct sink *sinks = calloc(links, sizeof *sinks);
    if (sinks == NULL || !fixture_available())
        return 77;
    signal(SIGPIPE, SIG_IGN);
    if (argc > 4)
        snprintf(extra, sizeof extra, "Ciphers %s\n", argv[4]);
    place_make(&place);
    server_start(&server, &place, SERVER_OPENSSH, "ed25519", extra);
    server_make_known(&server, &place);
    client_init(&client, 16);
    piece = buffer_new(piece_size);
    memset(piece->data, 0x5a, piece->size);
    for (unsigned i = 0; i < links; i++) {
        peer_init(&sinks[i].peer, &place, &server);
        peer_connect(&sinks[i].peer, &client);
        peer_expect_up(&sinks[i].peer);
        sinks[i].left = size;
    }
    client.longest_gap = 0;
    double cpu = thread_seconds();
    uint64_t start = uv_hrtime();
    for (unsigned i = 0; i < links; i++)
        sinks[i].wire = link_exec(sinks[i].peer.link, "cat >/dev/null", &sink_events, &sinks[i]);
    for (unsigned i = 0; i < links; i++)
        client_run_until(&client, &sinks[i].closed, 600);
    cpu = thread_seconds() - cpu;
    double wall = (double)(uv_hrtime() - start) / 1e9;
    double megabytes = (double)links * (double)size / 1e6;
    printf("%u links, %s, %zu KiB pieces: %.0f MB in %.2f s, loop CPU %.2f s: %.0f MB/s per loop "
           "core; "
           "longest gap %.1f ms, most pending %.0f KiB\n",
           links, sinks[0].peer.cipher, piece_size >> 10, megabytes, wall, cpu, megabytes / cpu,
           (double)client.longest_gap / 1e6, (double)most_pending / 1024);
    for (unsigned i = 0; i < links; i++) {
        wire_close(sinks[i].wire);
        peer_close(&sinks[i].peer);
    }
    client_finish(&client);
    buffer_unref(piece);
    free(sinks);
    server_stop(&server);
    place_remove(&place);
    return 0;
}
