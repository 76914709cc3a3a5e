/* SPDX-License-Identifier: Apache-2.0 */
#include "reboot.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 30 /* seconds until the hard way */

int reboot_prepare(void)
{
    return open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
}

static void *reboot_main(void *arg)
{
    (void)arg;
    reboot(RB_AUTOBOOT);
    return NULL;
}

static void *reset_main(void *arg)
{
    int fd = (int)(intptr_t)arg;
    nanosleep(&(struct timespec){.tv_sec = PATIENCE}, NULL);
    for (int i = 0; i < 10; i++) {
        ssize_t ignored = write(fd, "b", 1);
        (void)ignored;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return NULL;
}

static void spawn(void *(*function)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setstacksize(&attr, 128 * 1024);
    if (pthread_create(&thread, &attr, function, arg) == 0)
        pthread_detach(thread);
    pthread_attr_destroy(&attr);
}

void reboot_now(int sysrq_fd)
{
    if (sysrq_fd >= 0)
        spawn(reset_main, (void *)(intptr_t)sysrq_fd);
    spawn(reboot_main, NULL);
}
