/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one JSON text (RFC 8259). */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    char *text; /* owned */
    size_t size, capacity;
    bool comma, failed;
};

/* key: NULL inside arrays and at the top. bracket: '{' or '['. */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
/* Bytes that are no UTF-8 become U+FFFD. value NULL: null. */
void json_string(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
/* Hands the text over; NULL: memory was short. */
char *json_take(struct json *json);

#endif
