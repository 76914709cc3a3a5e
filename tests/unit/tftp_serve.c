/* SPDX-License-Identifier: Apache-2.0 */
/* The TFTP server alone, for real clients: serves the parts of an image to one board until its
 * standard input ends, and tells on standard output, a JSON object a line, what it hears. */
#include "netboot/tftp_server.h"
#include "store/store.h"

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct serving {
    uv_loop_t loop;
    struct tftp_server_options options;
    const char *image, *cache_dir, *expect;
    const char *macs[8]; /* one guest for each */
    unsigned mac_count;
    struct part_layout layout;
    const char *script; /* served as boot.scr */
    struct store *store;
    struct parts *parts;
    struct tftp_server *server;
    uv_pipe_t input;
    int status;
};

static void say(json_t *event)
{
    char *line = json_dumps(event, JSON_COMPACT);
    printf("%s\n", line);
    fflush(stdout);
    free(line);
    json_decref(event);
}

static void asked(struct tftp_guest *guest, const char *address, void *arg)
{
    (void)guest;
    say(json_pack("{ssssss}", "event", "asked", "mac", (const char *)arg, "address", address));
}

static void progress(struct tftp_guest *guest, unsigned part, uint64_t bytes, int64_t size,
                     void *arg)
{
    (void)guest;
    say(json_pack("{sssssisIsI}", "event", "progress", "mac", (const char *)arg, "part", (int)part,
                  "bytes", (json_int_t)bytes, "size", (json_int_t)size));
}

static void ended(struct tftp_guest *guest, const struct tftp_ended *end, void *arg)
{
    (void)guest;
    say(json_pack("{sssssssisbsbsIsIsIss}", "event", "ended", "mac", (const char *)arg, "name",
                  end->name, "part", end->part, "complete", end->complete, "unconfirmed",
                  end->unconfirmed, "bytes", (json_int_t)end->bytes, "crc",
                  end->has_crc ? (json_int_t)end->crc : -1, "repeated", (json_int_t)end->repeated,
                  "error", end->err->text));
}

static void reported(struct tftp_guest *guest, const struct netboot_report *report, void *arg)
{
    static const char *const kinds[] = {"OK", "FAILED", "PART"};
    (void)guest;
    say(json_pack("{sssssssisIsIss}", "event", "reported", "mac", (const char *)arg, "kind",
                  kinds[report->kind], "part", (int)report->part, "bytes",
                  (json_int_t)report->bytes, "crc", report->has_crc ? (json_int_t)report->crc : -1,
                  "reason", report->reason));
}

static void refused(struct tftp_guest *guest, const char *address, const char *name,
                    const char *why, void *arg)
{
    (void)guest;
    say(json_pack("{ssssssss*ss}", "event", "refused", "mac", (const char *)arg, "address", address,
                  "name", name, "why", why));
}

static void unknown(const char *address, const char *name, void *arg)
{
    (void)arg;
    say(json_pack("{ssssss*}", "event", "unknown", "address", address, "name", name));
}

static int fail(struct serving *serving, const struct error *err)
{
    fprintf(stderr, "%s%s%s\n", err->text, err->remedy[0] != '\0' ? " — " : "", err->remedy);
    serving->status = 1;
    uv_stop(&serving->loop);
    return -1;
}

static int admit(struct serving *serving, const char *mac, struct error *err)
{
    static const struct tftp_guest_events events = {asked, progress, ended, reported, refused};
    struct netboot_file file = {.name = "boot.scr", .data = serving->script};
    if (serving->script != NULL)
        file.size = strlen(serving->script);
    struct tftp_admission admission = {
        .mac = mac,
        .address = serving->expect,
        .parts = serving->parts,
        .files = &file,
        .file_count = serving->script != NULL,
        .events = &events,
        .arg = (void *)(uintptr_t)mac,
    };
    return tftp_server_admit(serving->server, &admission, err) != NULL ? 0 : -1;
}

static void store_done_callback(struct store *store, const struct error *failed, void *arg)
{
    struct serving *serving = arg;
    struct error err;
    if (store == NULL) {
        fail(serving, failed);
        return;
    }
    serving->store = store;
    serving->parts = parts_open(&serving->loop, store, &serving->layout, &err);
    int status = serving->parts != NULL ? 0 : -1;
    for (unsigned i = 0; i < serving->mac_count && status == 0; i++)
        status = admit(serving, serving->macs[i], &err);
    if (status != 0) {
        fail(serving, &err);
        return;
    }
    say(json_pack("{sssisi}", "event", "serving", "port", (int)tftp_server_port(serving->server),
                  "parts", (int)parts_count(serving->parts)));
}

static void input_alloc_callback(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char byte[64];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(byte, sizeof byte);
}

static void input_callback(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    (void)buf;
    if (size >= 0)
        return;
    struct serving *serving = stream->data;
    uv_close((uv_handle_t *)stream, NULL);
    tftp_server_close(serving->server);
    parts_close(serving->parts);
    store_close(serving->store);
}

static int options_read(struct serving *serving, int argc, char **argv)
{
    static const struct option known[] = {
        {"address", 1, NULL, 'a'},   {"port", 1, NULL, 'p'},    {"mac", 1, NULL, 'm'},
        {"expect", 1, NULL, 'e'},    {"size", 1, NULL, 's'},    {"start", 1, NULL, 'b'},
        {"blksize", 1, NULL, 'k'},   {"window", 1, NULL, 'w'},  {"script", 1, NULL, 'c'},
        {"cache-dir", 1, NULL, 'd'}, {"give-up", 1, NULL, 'g'}, {"guest-max", 1, NULL, 'n'},
        {NULL, 0, NULL, 0}};
    serving->options.address = "127.0.0.1";
    serving->options.unknown = unknown;
    serving->cache_dir = "cache";
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        uint64_t number = strtoull(optarg != NULL ? optarg : "", NULL, 0);
        switch (option) {
        case 'a':
            serving->options.address = optarg;
            break;
        case 'p':
            serving->options.port = (uint16_t)number;
            break;
        case 'm':
            if (serving->mac_count < 8)
                serving->macs[serving->mac_count++] = optarg;
            break;
        case 'e':
            serving->expect = optarg;
            break;
        case 's':
            serving->layout.size = number;
            break;
        case 'b':
            serving->layout.start = number;
            break;
        case 'k':
            serving->options.blksize_max = (uint32_t)number;
            break;
        case 'w':
            serving->options.windowsize_max = (uint32_t)number;
            break;
        case 'c':
            serving->script = optarg;
            break;
        case 'd':
            serving->cache_dir = optarg;
            break;
        case 'g':
            serving->options.give_up_ms = (uint32_t)number;
            break;
        case 'n':
            serving->options.guest_max = (unsigned)number;
            break;
        default:
            return -1;
        }
    }
    serving->image = argv[optind];
    return serving->image != NULL ? 0 : -1;
}

/* The most memory it had, in bytes. What getrusage() says begins with what its parent had. */
static json_int_t memory_peak(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && kib == 0 && fgets(line, sizeof line, status) != NULL)
        sscanf(line, "VmHWM: %llu kB", &kib);
    if (status != NULL)
        fclose(status);
    return (json_int_t)kib * 1024;
}

int main(int argc, char **argv)
{
    static struct serving serving;
    struct error err;
    if (options_read(&serving, argc, argv) != 0) {
        fprintf(stderr, "usage: tftp_serve [--address A] [--port N] [--mac M] … IMAGE\n");
        return 2;
    }
    uv_loop_init(&serving.loop);
    serving.server = tftp_server_open(&serving.loop, &serving.options, &err);
    if (serving.server == NULL) {
        fail(&serving, &err);
        uv_run(&serving.loop, UV_RUN_DEFAULT);
        return 1;
    }
    uv_pipe_init(&serving.loop, &serving.input, 0);
    serving.input.data = &serving;
    uv_pipe_open(&serving.input, 0);
    uv_read_start((uv_stream_t *)&serving.input, input_alloc_callback, input_callback);
    struct store_options store = {.image = serving.image, .cache_dir = serving.cache_dir};
    store_prepare(&serving.loop, &store, NULL, store_done_callback, &serving);
    uv_run(&serving.loop, UV_RUN_DEFAULT);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    say(json_pack("{sssfsI}", "event", "bye", "cpu",
                  (double)usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 +
                      (double)usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6,
                  "memory", memory_peak()));
    int left = serving.status == 0 ? uv_loop_close(&serving.loop) : 0;
    return left != 0 ? 3 : serving.status;
}
