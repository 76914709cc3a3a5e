/* SPDX-License-Identifier: Apache-2.0 */
/* Output that a thread writes, so that a reader who pauses (a pager, ^S on the terminal, a slow
 * ssh) never stalls the loop and with it the devices. */
#ifndef REPORT_OUTBOX_H
#define REPORT_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

struct outbox;

/* What may wait; beyond it new text is dropped. */
#define OUTBOX_LIMIT ((size_t)32 * 1024 * 1024)

/* Writes to fd, which stays the caller's. NULL when memory or threads are short. */
struct outbox *outbox_new(int fd);

/* Queues size bytes (copied); they are written at once and together. False when they were dropped:
 * too much waits, or nobody reads any more. */
bool outbox_add(struct outbox *box, const char *data, size_t size);

/* Bytes that are not written yet. */
size_t outbox_pending(struct outbox *box);

/* Waits until everything is written. Blocks as long as the reader does. */
void outbox_flush(struct outbox *box);

/* Flushes; 0 when all was written, else the errno of what came in between: EPIPE (nobody reads any
 * more), ENOSPC, …; ENOBUFS when text was dropped. */
int outbox_error(struct outbox *box);

/* Flushes and frees. NULL is allowed. */
void outbox_free(struct outbox *box);

#endif
