/* SPDX-License-Identifier: Apache-2.0 */
/* One run for a device: a lock file for each (address, port, jump host) in the state directory,
 * held by flock so that a killed run lets go by itself. The address is what ssh's configuration
 * makes of the name, so that two names of a device have one lock. The file tells who holds it. */
#include "run/locks.h"

#include "base/directory.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct device_locks {
    size_t count;
    int *fds;
};

/* The device's name for people and a hash, because ways to it may be long and have any character.
 */
static void lock_path(char *out, size_t size, const char *folder, const char *key)
{
    uint8_t hash[16];
    char hex[2 * sizeof hash + 1], name[64];
    crypto_generichash(hash, sizeof hash, (const uint8_t *)key, strlen(key), NULL, 0);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(name, sizeof name, "%.*s", (int)strcspn(key, " "), key);
    for (char *c = name; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    snprintf(out, size, "%s/%s-%s.lock", folder, name, hex);
}

static int lock_take(const char *holder_name, const struct target_spec *spec, const char *path,
                     struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_set(err, ERROR_IO, "cannot write to the state directory: %s: %s", path,
                  strerror(errno));
        return error_remedy(err, "choose another with --state-dir");
    }
    int refused = flock(fd, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
    if (refused != 0 && refused != EWOULDBLOCK) { /* NFS without its lock manager */
        close(fd);
        error_set(err, ERROR_IO, "cannot lock %s: %s", path, strerror(refused));
        return error_remedy(err, "choose a --state-dir on a disk of this machine");
    }
    if (refused != 0) {
        char holder[160] = "";
        ssize_t size = pread(fd, holder, sizeof holder - 1, 0);
        holder[size > 0 ? strcspn(holder, "\n") : 0] = '\0';
        close(fd);
        error_set(err, ERROR_BUSY, "%s (%s) is held by %s", spec->name, spec->host,
                  holder[0] != '\0' ? holder : "another run");
        return error_remedy(err,
                            "wait for that run to end, or leave the device out with "
                            "--limit '!%s'",
                            spec->name);
    }
    char text[160];
    time_t now = time(NULL);
    struct tm when;
    localtime_r(&now, &when);
    int size =
        snprintf(text, sizeof text - 32, "%s (process %d) since ", holder_name, (int)getpid());
    size += (int)strftime(text + size, sizeof text - (size_t)size, "%F %T\n", &when);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        close(fd);
        return error_set(err, ERROR_IO, "cannot write to %s: %s", path, strerror(errno));
    }
    return fd;
}

struct device_locks *device_locks_take(const char *state_dir, const char *holder,
                                       const struct jumps *jumps, size_t count, struct error *err)
{
    char folder[3072];
    snprintf(folder, sizeof folder, "%s/locks", state_dir);
    if (directory_make(folder, err) != 0) {
        error_remedy(err, "choose another with --state-dir");
        return NULL;
    }
    struct device_locks *locks = calloc(1, sizeof *locks);
    if (locks == NULL || (locks->fds = calloc(count + 1, sizeof *locks->fds)) == NULL) {
        free(locks);
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        char path[4096];
        lock_path(path, sizeof path, folder, jumps_key(jumps, i));
        int fd = lock_take(holder, jumps_spec(jumps, i), path, err);
        if (fd < 0) {
            device_locks_free(locks);
            return NULL;
        }
        locks->fds[locks->count++] = fd;
    }
    return locks;
}

void device_locks_free(struct device_locks *locks)
{
    if (locks == NULL)
        return;
    for (size_t i = 0; i < locks->count; i++)
        close(locks->fds[i]); /* the file stays: removing it would race with the next run */
    free(locks->fds);
    free(locks);
}
