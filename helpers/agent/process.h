/* SPDX-License-Identifier: Apache-2.0 */
/* Other processes, through /proc. */
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PIDS_MAX 256u

struct pid_set {
    pid_t items[PIDS_MAX];
    unsigned count;
};

bool pid_set_has(const struct pid_set *set, pid_t pid);
void pid_set_add(struct pid_set *set, pid_t pid);

/* Calls visit for each process. */
void process_each(void (*visit)(pid_t pid, void *arg), void *arg);
/* The name (at most 15 bytes) and parent; false: gone. */
bool process_stat(pid_t pid, char comm[32], pid_t *parent);
/* From the text of /proc/PID/stat; a name may hold anything, parentheses as well. */
bool process_parse_stat(const char *text, char comm[32], pid_t *parent);
bool process_is_kernel_thread(pid_t pid);
bool process_is_alive(pid_t pid); /* zombies are not */

/* Everything that must live on: PID 1, ourselves, the relay and all above it, ssh servers, sudo,
 * what keeps the network up, and extra (0: none). */
void process_lifeline(pid_t relay, pid_t extra, struct pid_set *set);

/* One line of /proc/PID/maps. */
struct process_map {
    unsigned long long start, end;
    bool readable, writable, shared;
    dev_t device;
    unsigned long long inode;
    const char *path; /* inside the line */
};
bool process_parse_map(const char *line, struct process_map *map);
/* The octal flags and the mount of /proc/PID/fdinfo/N's text; false: not there. */
bool process_parse_fdinfo(const char *text, unsigned *flags, int *mount_id);

#endif
