/* SPDX-License-Identifier: Apache-2.0 */
#include "reboot.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define SYNC_PATIENCE 10 /* seconds for other disks */
#define PATIENCE      30 /* seconds more until the hard way */

/* Lives until the machine does not. */
struct reboot {
    int sysrq_fd;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool synced;
    bool only_sysrq;
    unsigned count;
    int fds[];
};

int reboot_prepare(void)
{
    return open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
}

static void *sync_main(void *arg)
{
    struct reboot *plan = arg;
    for (unsigned i = 0; i < plan->count; i++)
        syncfs(plan->fds[i]);
    pthread_mutex_lock(&plan->lock);
    plan->synced = true;
    pthread_cond_signal(&plan->changed);
    pthread_mutex_unlock(&plan->lock);
    return NULL;
}

static void *reboot_main(void *arg)
{
    struct reboot *plan = arg;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SYNC_PATIENCE;
    pthread_mutex_lock(&plan->lock);
    while (!plan->synced && pthread_cond_timedwait(&plan->changed, &plan->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&plan->lock);
    if (!plan->only_sysrq)
        reboot(RB_AUTOBOOT);
    return NULL;
}

static void *reset_main(void *arg)
{
    struct reboot *plan = arg;
    nanosleep(&(struct timespec){.tv_sec = SYNC_PATIENCE + PATIENCE}, NULL);
    for (int i = 0; i < 10; i++) {
        ssize_t ignored = write(plan->sysrq_fd, "b", 1);
        (void)ignored;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return NULL;
}

static bool spawn(void *(*function)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setstacksize(&attr, 128 * 1024);
    bool done = pthread_create(&thread, &attr, function, arg) == 0;
    if (done)
        pthread_detach(thread);
    pthread_attr_destroy(&attr);
    return done;
}

void reboot_now(int sysrq_fd, const int *others, unsigned count, bool only_sysrq)
{
    struct reboot *plan = calloc(1, sizeof *plan + count * sizeof *others);
    if (plan == NULL || pthread_mutex_init(&plan->lock, NULL) != 0 ||
        pthread_cond_init(&plan->changed, NULL) != 0) {
        reboot(RB_AUTOBOOT);
        return;
    }
    plan->sysrq_fd = sysrq_fd;
    plan->only_sysrq = only_sysrq;
    plan->count = count;
    if (count > 0)
        memcpy(plan->fds, others, count * sizeof *others);
    if (sysrq_fd >= 0)
        spawn(reset_main, plan);
    plan->synced = count == 0 || !spawn(sync_main, plan);
    if (!spawn(reboot_main, plan))
        reboot_main(plan);
}
