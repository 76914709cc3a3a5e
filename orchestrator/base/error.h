/* SPDX-License-Identifier: Apache-2.0 */
/* An error as a value: a class that decides what happens next, a sentence that says what went wrong
 * (with the number or name in it), and a remedy that says what the user can do. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

enum error_class {
    ERROR_NONE = 0,
    ERROR_USAGE,     /* wrong command line, inventory or image: exit 2, nothing touched */
    ERROR_NETWORK,   /* unreachable, reset, closed: worth another try */
    ERROR_TIMEOUT,   /* no answer or no progress in time: worth another try */
    ERROR_AUTH,      /* refused key, no root rights: the same again would give the same */
    ERROR_HOSTKEY,   /* unknown or changed host key: never tried again by itself */
    ERROR_REFUSED,   /* a safety rule forbids to flash this target */
    ERROR_VETO,      /* a service-stop policy said no, and why */
    ERROR_BUSY,      /* somebody else holds the device or the file */
    ERROR_PROTOCOL,  /* the other side sent what the protocol does not allow */
    ERROR_IO,        /* a local or remote disk, file or memory fault */
    ERROR_CANCELLED, /* we stopped it ourselves */
};

/* A value; copying it is fine. Empty when cls is ERROR_NONE. */
struct error {
    enum error_class cls;
    char text[400];
    char remedy[240];
};

/* Sets class and sentence (printf style), clears the remedy. err may be NULL. Always returns -1, so
 * that a function can end in `return error_set(err, …)`. */
int error_set(struct error *err, enum error_class cls, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds what the user can do about it. Always returns -1. */
int error_remedy(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* True for the classes that another try may cure (network, timeout). */
bool error_is_transient(const struct error *err);

/* The class's stable name for machine output: "network", "auth", … */
const char *error_class_name(enum error_class cls);

#endif
