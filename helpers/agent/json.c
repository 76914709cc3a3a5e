/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(struct json *json, const char *data, size_t size)
{
    if (!json->failed && json->capacity - json->size < size + 1) {
        size_t capacity = (json->capacity + size + 1) * 2;
        char *text = realloc(json->text, capacity);
        if (text == NULL)
            json->failed = true;
        else {
            json->text = text;
            json->capacity = capacity;
        }
    }
    if (json->failed)
        return;
    memcpy(json->text + json->size, data, size);
    json->size += size;
    json->text[json->size] = '\0';
}

/* Length of the UTF-8 sequence at p (RFC 3629), 0 when it is none. */
static size_t sequence(const unsigned char *p)
{
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if (n == 3 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f)))
        return 0;
    if (n == 4 && ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)))
        return 0;
    return n;
}

static void put_quoted(struct json *json, const char *value)
{
    put(json, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)value; *p != '\0';) {
        char escape[8];
        size_t n = sequence(p);
        if (n == 0) {
            put(json, "\xef\xbf\xbd", 3);
            p++;
        } else if (*p == '"' || *p == '\\' || *p < 0x20 || *p == 0x7f) {
            int size =
                snprintf(escape, sizeof escape, *p == '"' || *p == '\\' ? "\\%c" : "\\u%04x", *p);
            put(json, escape, (size_t)size);
            p++;
        } else {
            put(json, (const char *)p, n);
            p += n;
        }
    }
    put(json, "\"", 1);
}

static void put_key(struct json *json, const char *key)
{
    if (json->comma)
        put(json, ",", 1);
    json->comma = true;
    if (key != NULL) {
        put_quoted(json, key);
        put(json, ":", 1);
    }
}

void json_open(struct json *json, const char *key, char bracket)
{
    put_key(json, key);
    put(json, &bracket, 1);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    put(json, bracket == '{' ? "}" : "]", 1);
    json->comma = true;
}

void json_string(struct json *json, const char *key, const char *value)
{
    put_key(json, key);
    if (value == NULL)
        put(json, "null", 4);
    else
        put_quoted(json, value);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    char text[32];
    put_key(json, key);
    put(json, text, (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)value));
}

void json_bool(struct json *json, const char *key, bool value)
{
    put_key(json, key);
    put(json, value ? "true" : "false", value ? 4 : 5);
}

void json_null(struct json *json, const char *key)
{
    json_string(json, key, NULL);
}

char *json_take(struct json *json)
{
    char *text = json->failed ? NULL : json->text;
    if (json->failed)
        free(json->text);
    memset(json, 0, sizeof *json);
    return text;
}
