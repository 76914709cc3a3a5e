/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "text.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static bool take_number(const char *value, unsigned long max, unsigned long *number)
{
    char *end;
    if (*value < '0' || *value > '9')
        return false;
    *number = strtoul(value, &end, 10);
    return *end == '\0' && *number <= max;
}

static bool take_key(struct config *config, const char *value)
{
    size_t size;
    const char *end;
    if (strlen(value) != 2 * PROTOCOL_KEY_SIZE ||
        sodium_hex2bin(config->key, sizeof config->key, value, strlen(value), NULL, &size, &end) ||
        size != sizeof config->key)
        return false;
    config->has_key = true;
    return true;
}

static bool take_line(struct config *config, const char *key, const char *value)
{
    unsigned long number;
    if (strcmp(key, "run_id") == 0) {
        text_copy(config->run_id, sizeof config->run_id, value);
        return *value != '\0' && strlen(value) <= PROTOCOL_RUN_ID_MAX;
    }
    if (strcmp(key, "key") == 0)
        return take_key(config, value);
    if (strcmp(key, "controller") == 0) {
        text_copy(config->controller, sizeof config->controller, value);
        return true;
    }
    if (strcmp(key, "directory") == 0) {
        text_copy(config->directory, sizeof config->directory, value);
        return value[0] == '/' && strlen(value) < sizeof config->directory;
    }
    if (strcmp(key, "uid") == 0) {
        bool ok = take_number(value, UINT32_MAX - 1ul, &number);
        config->uid = ok ? (uid_t)number : 0;
        return ok;
    }
    if (strcmp(key, "port") == 0) {
        if (strcmp(value, "none") == 0)
            return true;
        config->has_port = take_number(value, UINT16_MAX, &number);
        config->port = config->has_port ? (uint16_t)number : 0;
        return config->has_port;
    }
#ifdef AGENT_TEST_SWITCHES
    if (strcmp(key, "switch") == 0)
        return switch_parse(&config->switches, value);
#endif
    return false;
}

int config_parse(struct config *config, const char *text, char *error, size_t error_size)
{
    memset(config, 0, sizeof *config);
    while (*text != '\0') {
        char line[512];
        size_t n = strcspn(text, "\n");
        if (n >= sizeof line) {
            text_copy(error, error_size, "a line of the configuration is too long");
            return -1;
        }
        memcpy(line, text, n);
        line[n] = '\0';
        text += n + (text[n] == '\n');
        char *value = strchr(line, ' ');
        if (line[0] == '\0')
            continue;
        if (value != NULL)
            *value++ = '\0';
        if (value == NULL || !take_line(config, line, value)) {
            text_format(error, error_size, "configuration: '%.40s' is unknown or has a wrong value",
                        line); /* never the value: it may be the key */
            return -1;
        }
    }
    if (config->has_key && config->run_id[0] != '\0')
        return 0;
    text_copy(error, error_size, "configuration: run_id or key is missing");
    return -1;
}
