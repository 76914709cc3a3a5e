/* SPDX-License-Identifier: Apache-2.0 */
#include "fence.h"

#include "claims.h"
#include "fault.h"
#include "memory.h"
#include "pin.h"
#include "superblocks.h"
#include "swap.h"
#include "sysctl.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SYSRQ_PATIENCE 150 /* tenths of a second until SysRq-u has worked */
#define REMOUNT_TRIES  20
#define NEWS_ROUNDS    4 /* of looking for what was mounted meanwhile */

/* Everything the fence holds; opened before the first file system goes silent. */
struct fence_state {
    const struct fence_config *config;
    struct ended *ended;
    struct superblocks superblocks;
    struct swap_table swaps;
    struct pins pins;
    struct sysctls sysctls;
    struct pid_set lifeline;
    struct device_set layers;   /* block devices on the disk, itself included */
    int layer_fds[DEVICES_MAX]; /* -1: the disk itself */
    bool layer_was_ro[DEVICES_MAX];
    bool layers_ro;
    int sysrq_fd;
    bool forced; /* SysRq-u was used */
};

static bool is_on(const struct fence_state *s, enum agent_switch which)
{
    return switch_is_on(s->config->switches, which);
}

/* --- preparation: nothing is changed ------------------------------------------------------ */

static int open_layer(struct fence_state *s, unsigned at, struct fail *fail)
{
    char node[256];
    int read_only = 0;
    layers_node(s->layers.items[at], node, sizeof node);
    s->layer_fds[at] = open(node, O_RDONLY | O_CLOEXEC);
    if (s->layer_fds[at] < 0 || ioctl(s->layer_fds[at], BLKROGET, &read_only) != 0) {
        fault_set(fail, FAILCODE_REFUSED,
                  "%s, on the disk, cannot be opened to be made read-only: %s", node,
                  strerror(errno));
        return fault_remedy(fail, "is /dev complete (devtmpfs, udev)?");
    }
    s->layer_was_ro[at] = read_only != 0;
    return 0;
}

static int open_layers(struct fence_state *s, const struct mount_table *table, struct fail *fail)
{
    for (unsigned i = 0; i < DEVICES_MAX; i++)
        s->layer_fds[i] = -1;
    device_set_add(&s->layers, s->config->target->device);
    claims_list_layers(table, s->config->target->device, &s->layers);
    if (s->layers.unknown)
        return fault_set(fail, FAILCODE_REFUSED, "more than %u partitions and layers on one disk",
                         DEVICES_MAX);
    for (unsigned i = 1; i < s->layers.count; i++)
        if (open_layer(s, i, fail) != 0)
            return -1;
    return 0;
}

static int prepare(struct fence_state *s, struct fail *fail)
{
    struct mount_table table;
    s->sysrq_fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
    if (mounts_read(&table, 0) != 0)
        return fault_set(fail, FAILCODE_FENCE, "cannot read /proc/self/mountinfo");
    dev_t disk = s->config->target->device;
    int status = open_layers(s, &table, fail);
    swaps_read(&s->swaps, &table, disk);
    if (status == 0)
        status = superblocks_find(&s->superblocks, disk, fail);
    if (status == 0)
        status = claims_check(&table, disk, &s->superblocks, &s->swaps, fail);
    mounts_free(&table);
    if (status != 0)
        return -1;
    process_lifeline(s->config->relay, s->config->watchdog_owner, &s->lifeline);
    if (s->config->guard != NULL && s->config->guard->pid > 0)
        pid_set_add(&s->lifeline, s->config->guard->pid);
    for (unsigned i = 0; is_on(s, SWITCH_NO_CALM) && i < s->superblocks.count; i++)
        s->superblocks.items[i].panics = false;
    return 0;
}

/* --- steps that can be undone ------------------------------------------------------------- */

static void end_holders(struct fence_state *s)
{
    struct holder_scope scope = {
        .filesystems = &s->superblocks.devices,
        .devices = &s->layers,
        .mounts = s->superblocks.mount_ids,
        .mount_count = s->superblocks.mount_count,
    };
    if (!is_on(s, SWITCH_NO_KILL))
        holders_end(&scope, &s->lifeline, s->ended, s->config->report);
}

static int stop_swap(struct fence_state *s, struct fail *fail)
{
    struct memory_info memory;
    uint64_t used;
    if (is_on(s, SWITCH_NO_SWAPOFF))
        return 0;
    if (memory_read(&memory) == 0 && !swap_fits(&s->swaps, &memory, &used)) {
        fault_set(fail, FAILCODE_MEMORY, "%llu MiB are swapped out to this disk, %llu MiB are free",
                  (unsigned long long)(used >> 20), (unsigned long long)(memory.available >> 20));
        return fault_remedy(fail, "stop services that use memory");
    }
    const struct swap *stuck = swaps_off(&s->swaps);
    if (stuck == NULL)
        return 0;
    fault_set(fail, FAILCODE_FENCE, "swap on %s cannot be switched off: %s", stuck->path,
              strerror(errno));
    return fault_remedy(fail, "stop services that use memory, or swapoff %s by hand", stuck->path);
}

static int pin_lifeline(struct fence_state *s, struct fail *fail)
{
    if (is_on(s, SWITCH_NO_PIN))
        return 0;
    /* Processes may have come and gone since. */
    process_lifeline(s->config->relay, s->config->watchdog_owner, &s->lifeline);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0 ||
        pin_processes(&s->pins, &s->superblocks.devices, &s->lifeline) != 0)
        return fault_set(fail, FAILCODE_MEMORY,
                         "what init and sshd run cannot be held in memory: %s", strerror(errno));
    if (s->config->guard != NULL && s->config->guard->pid > 0 && guard_hold(s->config->guard) != 0)
        report_log(s->config->report, LOG_WARNING,
                   "what init and sshd run would not be held in memory if the agent died");
    report_log(s->config->report, LOG_DEBUG, "%u files, %llu KiB, of %u processes pinned",
               s->pins.count, (unsigned long long)(s->pins.bytes >> 10), s->lifeline.count);
    if (s->pins.missed > 0)
        report_log(s->config->report, LOG_WARNING,
                   "%u files that init or sshd run cannot be held in memory: %s", s->pins.missed,
                   s->pins.first_missed);
    return 0;
}

/* The emergency way: asynchronous, and for all disks. */
static int remount_by_force(struct fence_state *s, struct fail *fail)
{
    const struct superblock *writable = NULL;
    if (s->sysrq_fd < 0 || write(s->sysrq_fd, "u", 1) != 1) {
        fault_set(fail, FAILCODE_FENCE,
                  "file systems are busy, and this kernel has no SysRq to make them read-only");
        return fault_remedy(fail, "stop the services that write to the disk (services: in the "
                                  "inventory)");
    }
    s->forced = true;
    for (int i = 0; i < SYSRQ_PATIENCE; i++) {
        if ((writable = superblocks_find_writable(&s->superblocks)) == NULL)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return fault_set(fail, FAILCODE_FENCE, "%s on %s is still writable %d s after SysRq-u",
                     writable->fstype, writable->point, SYSRQ_PATIENCE / 10);
}

static int make_readonly(struct fence_state *s, struct fail *fail)
{
    const struct superblock *stubborn;
    if (is_on(s, SWITCH_NO_REMOUNT))
        return 0;
    unsigned refused = superblocks_remount(&s->superblocks, &stubborn, s->config->report);
    /* Services that were started again, and programs that open their file for moments only: what
     * has no shutdown ioctl is worth some patience, the rest can be forced. */
    for (int i = 0; refused > 0 && i < (stubborn != NULL ? REMOUNT_TRIES : 1); i++) {
        nanosleep(&(struct timespec){.tv_nsec = i * 20000000}, NULL);
        end_holders(s);
        refused = superblocks_remount(&s->superblocks, &stubborn, s->config->report);
    }
    if (stubborn != NULL) {
        fault_set(fail, FAILCODE_FENCE,
                  "%s on %s is in use and cannot be silenced: it has no shutdown ioctl",
                  stubborn->fstype, stubborn->point);
        return fault_remedy(fail, "stop what writes there (services: in the inventory)");
    }
    if (refused > 0 || superblocks_find_writable(&s->superblocks) != NULL)
        return remount_by_force(s, fail);
    return 0;
}

/* Swap that somebody switched on again would be written to as well. */
static int check_swaps(struct fence_state *s, struct fail *fail)
{
    struct swap_table swaps;
    struct mount_table table;
    if (is_on(s, SWITCH_NO_SWAPOFF))
        return 0;
    if (mounts_read(&table, 0) != 0)
        return fault_set(fail, FAILCODE_FENCE, "cannot read /proc/self/mountinfo");
    swaps_read(&swaps, &table, s->config->target->device);
    mounts_free(&table);
    for (unsigned i = 0; i < swaps.count; i++)
        if (swaps.items[i].on_disk) {
            fault_set(fail, FAILCODE_FENCE, "swap on %s was switched on meanwhile",
                      swaps.items[i].path);
            return fault_remedy(fail, "stop the service that does");
        }
    return 0;
}

/* What came while the fence was being put up: an automount, a service that was started again. */
static int find_news(struct fence_state *s, unsigned *news, struct fail *fail)
{
    if (is_on(s, SWITCH_NO_NEWS))
        return 0;
    if (superblocks_update(&s->superblocks, s->config->target->device, news, fail) != 0)
        return -1;
    if (s->forced && superblocks_find_writable(&s->superblocks) != NULL)
        (*news)++;
    return check_swaps(s, fail);
}

static int restless(struct fail *fail)
{
    fault_set(fail, FAILCODE_FENCE, "file systems of the disk are mounted again and again");
    return fault_remedy(fail, "stop the service that mounts them (services: in the inventory)");
}

/* Until nothing new comes. */
static int make_all_readonly(struct fence_state *s, struct fail *fail)
{
    unsigned news = 0;
    for (int i = 0; i < NEWS_ROUNDS; i++) {
        if (make_readonly(s, fail) != 0)
            return -1;
        if (is_on(s, SWITCH_NO_REMOUNT))
            return 0;
        if (i == 0)
            switch_visit(s->config->switches, POINT_REMOUNTED);
        if (find_news(s, &news, fail) != 0)
            return -1;
        if (news == 0)
            return 0;
        report_log(s->config->report, LOG_WARNING,
                   "%u file systems of the disk were mounted meanwhile", news);
        end_holders(s);
    }
    return restless(fail);
}

static void flush_layers(const struct fence_state *s)
{
    superblocks_sync(&s->superblocks);
    for (unsigned i = 0; i < s->layers.count; i++)
        if (s->layer_fds[i] >= 0)
            fsync(s->layer_fds[i]);
}

/* Fails, where it is to be on, when a layer does not say that it is read-only. */
static int set_layers_readonly(struct fence_state *s, bool on, struct fail *fail)
{
    int status = 0;
    for (unsigned i = 0; i < s->layers.count; i++) {
        int value = on || s->layer_was_ro[i], now = 0;
        char node[256];
        if (s->layer_fds[i] < 0)
            continue;
        bool refuses = on && switch_fails_at(s->config->switches, POINT_ROSET);
        int error = refuses ? EACCES : ioctl(s->layer_fds[i], BLKROSET, &value) == 0 ? 0 : errno;
        if (!on || status != 0 || (ioctl(s->layer_fds[i], BLKROGET, &now) == 0 && now != 0))
            continue;
        layers_node(s->layers.items[i], node, sizeof node);
        status = fault_set(fail, FAILCODE_FENCE, "%s does not become read-only: %s", node,
                           strerror(error));
    }
    s->layers_ro = on;
    return status;
}

/* --- the fence ---------------------------------------------------------------------------- */

static void release(struct fence *fence)
{
    struct fence_state *s = fence->state;
    superblocks_close(&s->superblocks);
    pin_release(&s->pins);
    for (unsigned i = 0; i < s->layers.count; i++)
        if (s->layer_fds[i] >= 0)
            close(s->layer_fds[i]);
    if (s->sysrq_fd >= 0)
        close(s->sysrq_fd);
    free(s);
    fence->state = NULL;
}

static void undo(struct fence *fence)
{
    struct fence_state *s = fence->state;
    if (s->layers_ro)
        set_layers_readonly(s, false, NULL);
    superblocks_restore(&s->superblocks, s->forced);
    swaps_on(&s->swaps);
    sysctls_restore(&s->sysctls);
    signal(SIGTERM, SIG_DFL);
    release(fence);
}

static int raise_reversible(struct fence_state *s, struct fail *fail)
{
    if (prepare(s, fail) != 0)
        return -1;
    signal(SIGTERM, SIG_IGN);
    end_holders(s);
    if (stop_swap(s, fail) != 0)
        return -1;
    flush_layers(s);
    if (!is_on(s, SWITCH_NO_CALM))
        sysctls_calm(&s->sysctls);
    if (pin_lifeline(s, fail) != 0 || make_all_readonly(s, fail) != 0)
        return -1;
    flush_layers(s);
    return 0;
}

static int shut(struct fence *fence, struct fail *fail)
{
    struct fence_state *s = fence->state;
    const struct superblock *stuck =
        superblocks_shut(&s->superblocks, &fence->irreversible, s->config->report);
    if (stuck != NULL)
        return fault_set(fail, FAILCODE_FENCE, "%s on %s cannot be shut down: %s", stuck->fstype,
                         stuck->point, strerror(errno));
    flush_layers(s);
    return 0;
}

/* The end: nothing is mounted that is not silent, and the layers below refuse writes. */
static int silence(struct fence *fence, struct fail *fail)
{
    struct fence_state *s = fence->state;
    unsigned news = 0;
    bool watch = !is_on(s, SWITCH_NO_REMOUNT);
    for (int i = 0; !is_on(s, SWITCH_NO_SHUTDOWN) && i < NEWS_ROUNDS; i++) {
        if (shut(fence, fail) != 0)
            return -1;
        if (i == 0)
            switch_visit(s->config->switches, POINT_SHUT);
        if (watch && find_news(s, &news, fail) != 0)
            return -1;
        if (news == 0)
            break;
        if (make_all_readonly(s, fail) != 0)
            return -1;
    }
    if (!is_on(s, SWITCH_NO_ROSET) && set_layers_readonly(s, true, fail) != 0)
        return -1;
    if (watch && news == 0 && find_news(s, &news, fail) != 0)
        return -1;
    if (switch_fails_at(s->config->switches, POINT_FENCED))
        return fault_set(fail, FAILCODE_FENCE, "the fence fails where the test wants it to");
    return news == 0 ? 0 : restless(fail);
}

int fence_raise(struct fence *fence, const struct fence_config *config, struct fail *fail)
{
    fence->irreversible = false;
    fence->state = calloc(1, sizeof *fence->state);
    if (fence->state == NULL)
        return fault_set(fail, FAILCODE_MEMORY, "out of memory");
    struct fence_state *s = fence->state;
    s->config = config;
    s->ended = &fence->ended;
    s->sysrq_fd = -1;
    int status = raise_reversible(s, fail);
    if (status == 0)
        status = silence(fence, fail);
    if (status == 0) {
        report_log(config->report, LOG_INFO, "%u file systems of %s are silent%s",
                   s->superblocks.devices.count, config->target->path,
                   s->forced ? " (by SysRq-u)" : "");
        s->config = NULL; /* it was the caller's */
        return 0;
    }
    if (!fence->irreversible)
        undo(fence);
    return -1;
}

int fence_undo(struct fence *fence, const struct report *report)
{
    if (fence->irreversible)
        return -1;
    if (fence->state != NULL) {
        undo(fence);
        report_log(report, LOG_INFO, "the fence is down again, the old system goes on");
    }
    return 0;
}

unsigned fence_others(const struct fence *fence, int *fds, unsigned max)
{
    return fence->state == NULL ? 0 : superblocks_others(&fence->state->superblocks, fds, max);
}
