/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a program: the thread of that number (NO_THREAD, the first is 0) cannot be
 * started. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef int (*create_function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *),
                   void *arg)
{
    static atomic_int started;
    const char *which = getenv("NO_THREAD");
    create_function real;
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&real, &symbol, sizeof real); /* ISO C has no cast for it */
    if (which != NULL && atomic_fetch_add(&started, 1) == atoi(which))
        return EAGAIN;
    return real(thread, attributes, begin, arg);
}
