/* SPDX-License-Identifier: Apache-2.0 */
#include "source/url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool url_is_http(const char *text)
{
    return strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0;
}

/* What libcurl allocates is freed its own way. */
static char *part_copy(CURLU *parsed, CURLUPart part)
{
    char *text = NULL, *copy = NULL;
    if (curl_url_get(parsed, part, &text, 0) == CURLUE_OK)
        copy = strdup(text);
    curl_free(text);
    return copy;
}

char *url_display(const char *url)
{
    CURLU *parsed = curl_url();
    char *shown = NULL;
    if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK) {
        curl_url_set(parsed, CURLUPART_USER, NULL, 0);
        curl_url_set(parsed, CURLUPART_PASSWORD, NULL, 0);
        curl_url_set(parsed, CURLUPART_QUERY, NULL, 0);
        curl_url_set(parsed, CURLUPART_FRAGMENT, NULL, 0);
        shown = part_copy(parsed, CURLUPART_URL);
    }
    curl_url_cleanup(parsed);
    /* What cannot be taken apart is not shown at all: a password may be in it. */
    return shown != NULL ? shown : strdup("the given address");
}

bool url_has_secrets(const char *url)
{
    static const CURLUPart parts[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY};
    CURLU *parsed = curl_url();
    bool found = parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && !found; i++) {
        char *text = part_copy(parsed, parts[i]);
        found = text != NULL;
        free(text);
    }
    curl_url_cleanup(parsed);
    return found;
}

char *url_beside(const char *url, const char *file, const char *ending)
{
    CURLU *parsed = curl_url();
    char *path = NULL, *result = NULL, *beside = NULL;
    if (parsed == NULL || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
        goto out;
    path = part_copy(parsed, CURLUPART_PATH);
    if (path == NULL)
        goto out;
    char *slash = strrchr(path, '/');
    if (file != NULL && slash != NULL)
        slash[1] = '\0';
    if (asprintf(&beside, "%s%s%s", path, file != NULL ? file : "", ending) < 0)
        beside = NULL;
    if (beside != NULL && curl_url_set(parsed, CURLUPART_PATH, beside, 0) == CURLUE_OK)
        result = part_copy(parsed, CURLUPART_URL);
out:
    free(beside);
    free(path);
    curl_url_cleanup(parsed);
    return result;
}

char *url_without(const char *url, size_t count)
{
    CURLU *parsed = curl_url();
    char *path = NULL, *result = NULL;
    if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK)
        path = part_copy(parsed, CURLUPART_PATH);
    if (path != NULL && strlen(path) > count) {
        path[strlen(path) - count] = '\0';
        if (curl_url_set(parsed, CURLUPART_PATH, path, 0) == CURLUE_OK)
            result = part_copy(parsed, CURLUPART_URL);
    }
    free(path);
    curl_url_cleanup(parsed);
    return result;
}

char *url_base_name(const char *url)
{
    CURLU *parsed = curl_url();
    char *path = NULL, *name = NULL;
    if (parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK)
        path = part_copy(parsed, CURLUPART_PATH);
    if (path != NULL) {
        char *decoded = curl_easy_unescape(NULL, path, 0, NULL);
        const char *slash = decoded != NULL ? strrchr(decoded, '/') : NULL;
        name = slash != NULL ? strdup(slash + 1) : NULL;
        curl_free(decoded);
    }
    free(path);
    curl_url_cleanup(parsed);
    return name;
}
