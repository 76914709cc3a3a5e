/* SPDX-License-Identifier: Apache-2.0 */
#include "link/settings_cache.h"

#include "link/settings_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

struct kept {
    TAILQ_ENTRY(kept) next;
    char *key, *text;
    uint64_t since;
};

/* The oldest first. */
struct settings_cache {
    TAILQ_HEAD(, kept) all;
};

static char *key_make(const struct settings_query *query)
{
    char *key = NULL;
    const char *user = query->user != NULL ? query->user : "";
    const char *file = query->ssh_config != NULL ? query->ssh_config : "";
    return asprintf(&key, "%u\n%s\n%s\n%s", query->port, query->host, user, file) < 0 ? NULL : key;
}

static void kept_free(struct kept *kept)
{
    free(kept->key);
    free(kept->text);
    free(kept);
}

static void cache_forget(struct settings_cache *cache, struct kept *kept)
{
    TAILQ_REMOVE(&cache->all, kept, next);
    kept_free(kept);
}

static void cache_expire(struct settings_cache *cache, uint64_t now)
{
    struct kept *kept;
    while ((kept = TAILQ_FIRST(&cache->all)) != NULL && now - kept->since >= SETTINGS_CACHE_AGE)
        cache_forget(cache, kept);
}

static struct kept *cache_find(const struct settings_cache *cache,
                               const struct settings_query *query)
{
    struct kept *kept = NULL;
    char *key = key_make(query);
    if (key != NULL) {
        TAILQ_FOREACH(kept, &cache->all, next)
        if (strcmp(kept->key, key) == 0)
            break;
    }
    free(key);
    return kept;
}

struct settings_cache *settings_cache_new(void)
{
    struct settings_cache *cache = calloc(1, sizeof *cache);
    if (cache != NULL)
        TAILQ_INIT(&cache->all);
    return cache;
}

void settings_cache_keep(struct settings_cache *cache, const struct settings_query *query,
                         const char *text, uint64_t now)
{
    cache_expire(cache, now);
    struct kept *old = cache_find(cache, query);
    if (old != NULL)
        cache_forget(cache, old);
    struct kept *kept = calloc(1, sizeof *kept);
    if (kept == NULL)
        return;
    *kept = (struct kept){.key = key_make(query), .text = strdup(text), .since = now};
    if (kept->key == NULL || kept->text == NULL)
        kept_free(kept);
    else
        TAILQ_INSERT_TAIL(&cache->all, kept, next);
}

const char *settings_cache_find(struct settings_cache *cache, const struct settings_query *query,
                                uint64_t now)
{
    cache_expire(cache, now);
    const struct kept *kept = cache_find(cache, query);
    return kept != NULL ? kept->text : NULL;
}

void settings_cache_free(struct settings_cache *cache)
{
    if (cache == NULL)
        return;
    while (!TAILQ_EMPTY(&cache->all))
        cache_forget(cache, TAILQ_FIRST(&cache->all));
    free(cache);
}
