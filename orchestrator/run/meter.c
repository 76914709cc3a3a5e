/* SPDX-License-Identifier: Apache-2.0 */
#include "run/meter.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define EIGHTHS 8u /* buckets for each power of two of nanoseconds */
#define BUCKETS (64u * EIGHTHS)
#define SLOW_NS 50000000u

/* How long turns took. */
struct gauge {
    uint64_t turns, sum, longest, slow; /* ns; slow: turns above SLOW_NS */
    uint64_t counts[BUCKETS];
};

/* Clocks, in ns. */
struct reading {
    uint64_t now, idle; /* idle: waiting for events so far */
    uint64_t cpu;       /* of this thread */
    uint64_t denied;    /* it could have run, but no core was free for it */
};

struct meter {
    uv_prepare_t prepare; /* runs just before the loop waits */
    const char *path;
    int schedule_fd; /* -1: the kernel does not tell */
    struct reading last;
    struct gauge stall, work;
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

static void gauge_add(struct gauge *gauge, uint64_t ns)
{
    gauge->turns++;
    gauge->sum += ns;
    gauge->slow += ns > SLOW_NS;
    gauge->counts[bucket_of(ns)]++;
    if (ns > gauge->longest)
        gauge->longest = ns;
}

/* Second number of /proc/PID/schedstat (Documentation/scheduler/sched-stats.rst). */
static uint64_t read_denied(const struct meter *meter)
{
    char text[96];
    unsigned long long denied = 0;
    ssize_t size = pread(meter->schedule_fd, text, sizeof text - 1, 0);
    if (size <= 0)
        return 0;
    text[size] = '\0';
    return sscanf(text, "%*u %llu", &denied) == 1 ? denied : 0;
}

static void read_clocks(const struct meter *meter, struct reading *out)
{
    struct timespec cpu = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    out->now = uv_hrtime();
    out->idle = uv_metrics_idle_time(meter->prepare.loop);
    out->cpu = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
    out->denied = read_denied(meter);
}

static uint64_t less(uint64_t whole, uint64_t part)
{
    return whole > part ? whole - part : 0;
}

static void prepare_callback(uv_prepare_t *prepare)
{
    struct meter *meter = prepare->data;
    struct reading now, last = meter->last;
    read_clocks(meter, &now);
    meter->last = now;
    uint64_t busy = less(now.now - last.now, now.idle - last.idle);
    uint64_t ran = now.cpu - last.cpu, own = less(busy, now.denied - last.denied);
    gauge_add(&meter->stall, busy);
    gauge_add(&meter->work, ran > own ? ran : own);
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
    meter->schedule_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    read_clocks(meter, &meter->last);
    return meter;
}

/* ms */
static double percentile_99(const struct gauge *gauge)
{
    uint64_t above = gauge->turns / 100, seen = 0;
    for (unsigned i = BUCKETS; i-- > 0;) {
        seen += gauge->counts[i];
        if (seen > above)
            return (double)(bucket_end(i) < gauge->longest ? bucket_end(i) : gauge->longest) / 1e6;
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
    const struct gauge *stall = &meter->stall, *work = &meter->work;
    json_t *figures = json_pack(
        "{s:I, s:f, s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:I}", "turns", (json_int_t)stall->turns,
        "stall_longest_ms", (double)stall->longest / 1e6, "stall_p99_ms", percentile_99(stall),
        "over_50ms", (json_int_t)stall->slow, "busy_seconds", (double)stall->sum / 1e9,
        "work_longest_ms", (double)work->longest / 1e6, "work_p99_ms", percentile_99(work),
        "loop_cpu_seconds", cpu_seconds(RUSAGE_THREAD), "cpu_seconds",
        cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN), "peak_kib", peak_kib());
    if (figures == NULL || json_dump_file(figures, meter->path, JSON_COMPACT) != 0)
        fprintf(stderr, "fleetflash: cannot write %s (" METER_VARIABLE ")\n", meter->path);
    json_decref(figures);
    if (meter->schedule_fd >= 0)
        close(meter->schedule_fd);
    uv_close((uv_handle_t *)&meter->prepare, closed_callback);
}
