/* SPDX-License-Identifier: Apache-2.0 */
#include "run/meter.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define EIGHTHS 8u /* buckets for each power of two of nanoseconds */
#define BUCKETS (64u * EIGHTHS)
#define SLOW_NS 50000000u

struct meter {
    uv_prepare_t prepare; /* runs just before the loop waits */
    const char *path;
    uint64_t last, last_idle; /* ns */
    uint64_t turns, busy, longest, slow;
    uint64_t counts[BUCKETS];
};

static unsigned bucket_of(uint64_t ns)
{
    if (ns < EIGHTHS)
        return (unsigned)ns;
    unsigned power = 63u - (unsigned)__builtin_clzll(ns);
    return (power - 2) * EIGHTHS + (unsigned)(ns >> (power - 3)) % EIGHTHS;
}

/* The largest time that falls into the bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < EIGHTHS)
        return bucket;
    unsigned power = bucket / EIGHTHS + 2;
    return ((uint64_t)(EIGHTHS + bucket % EIGHTHS + 1) << (power - 3)) - 1;
}

static void prepare_callback(uv_prepare_t *prepare)
{
    struct meter *meter = prepare->data;
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(prepare->loop);
    uint64_t whole = now - meter->last, waited = idle - meter->last_idle;
    uint64_t busy = whole > waited ? whole - waited : 0;
    meter->last = now;
    meter->last_idle = idle;
    meter->turns++;
    meter->busy += busy;
    meter->slow += busy > SLOW_NS;
    meter->counts[bucket_of(busy)]++;
    if (busy > meter->longest)
        meter->longest = busy;
}

struct meter *meter_start(uv_loop_t *loop)
{
    const char *path = getenv(METER_VARIABLE);
    struct meter *meter = path != NULL && *path != '\0' ? calloc(1, sizeof *meter) : NULL;
    if (meter == NULL)
        return NULL;
    meter->path = path;
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    uv_prepare_init(loop, &meter->prepare);
    meter->prepare.data = meter;
    uv_prepare_start(&meter->prepare, prepare_callback);
    uv_unref((uv_handle_t *)&meter->prepare);
    meter->last = uv_hrtime();
    meter->last_idle = uv_metrics_idle_time(loop);
    return meter;
}

static uint64_t percentile_99(const struct meter *meter)
{
    uint64_t above = meter->turns / 100, seen = 0;
    for (unsigned i = BUCKETS; i-- > 0;) {
        seen += meter->counts[i];
        if (seen > above)
            return bucket_end(i) < meter->longest ? bucket_end(i) : meter->longest;
    }
    return 0;
}

static double cpu_seconds(int who)
{
    struct rusage usage;
    if (getrusage(who, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ru_maxrss would still have the peak of whoever started us. */
static json_int_t peak_kib(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "VmHWM: %llu", &kib) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return (json_int_t)kib;
}

static void closed_callback(uv_handle_t *handle)
{
    free(handle->data);
}

void meter_stop(struct meter *meter)
{
    if (meter == NULL)
        return;
    json_t *figures = json_pack(
        "{s:I, s:f, s:f, s:I, s:f, s:f, s:f, s:I}", "turns", (json_int_t)meter->turns,
        "stall_longest_ms", (double)meter->longest / 1e6, "stall_p99_ms",
        (double)percentile_99(meter) / 1e6, "over_50ms", (json_int_t)meter->slow, "busy_seconds",
        (double)meter->busy / 1e9, "loop_cpu_seconds", cpu_seconds(RUSAGE_THREAD), "cpu_seconds",
        cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN), "peak_kib", peak_kib());
    if (figures == NULL || json_dump_file(figures, meter->path, JSON_COMPACT) != 0)
        fprintf(stderr, "fleetflash: cannot write %s (" METER_VARIABLE ")\n", meter->path);
    json_decref(figures);
    uv_close((uv_handle_t *)&meter->prepare, closed_callback);
}
