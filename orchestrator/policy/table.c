/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the first release of the interface had: no table can be smaller. */
#define TABLE_SIZE_MIN     (offsetof(struct ff_policy, stop) + sizeof(void *))
#define PARAMETER_SIZE_MIN (offsetof(struct ff_parameter, type) + sizeof(int))
#define PARAMETER_SIZE_MAX 256u

struct reason {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct reason *why,
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, why->size, format, args);
    va_end(args);
    return -1;
}

static int consists_of(const char *text, const char *allowed)
{
    return text[0] != '\0' && text[strspn(text, allowed)] == '\0';
}

/* The size fields decide whether anything else may be read. */
static int check_sizes(const struct ff_policy *given, const struct reason *why)
{
    size_t size = given->struct_size;
    if (size < TABLE_SIZE_MIN)
        return refuse(why, "its table is %zu bytes, at least %zu are needed", size, TABLE_SIZE_MIN);
    if (size > TABLE_SIZE_MAX || size % _Alignof(struct ff_policy) != 0)
        return refuse(why, "its table claims an impossible size of %zu bytes", size);
    if (given->api_version != FF_POLICY_API_VERSION)
        return refuse(why, "it is made for API version %d, this is version %d", given->api_version,
                      FF_POLICY_API_VERSION);
    size = given->parameter_size;
    if (size < PARAMETER_SIZE_MIN || size > PARAMETER_SIZE_MAX ||
        size % _Alignof(struct ff_parameter) != 0)
        return refuse(why, "its parameters claim an impossible size of %zu bytes", size);
    return 0;
}

static int check_name(const char *name, const char *file, const struct reason *why)
{
    if (name == NULL || !consists_of(name, "abcdefghijklmnopqrstuvwxyz0123456789-"))
        return refuse(why, "its name '%.40s' is not made of a-z, 0-9 and -",
                      name == NULL ? "" : name);
    const char *base = strrchr(file, '/');
    base = base == NULL ? file : base + 1;
    size_t length = strlen(name);
    if (strncmp(base, name, length) != 0 || strcmp(base + length, ".so") != 0)
        return refuse(why, "it calls itself '%s', so its file must be called %s.so", name, name);
    return 0;
}

/* Copies the parameters, each as long as its maker says, into entries of our size. */
static int read_parameters(const struct ff_policy *given, struct policy_table *table,
                           const struct reason *why)
{
    const char *at = (const char *)given->parameters;
    size_t size = given->parameter_size, known = sizeof(struct ff_parameter);
    for (size_t i = 0; at != NULL; i++, at += size) {
        struct ff_parameter *parameter = &table->parameters[i];
        memcpy(parameter, at, size < known ? size : known);
        if (parameter->key == NULL)
            return 0;
        if (i == TABLE_PARAMETERS_MAX)
            return refuse(why, "its parameters have no end within %u entries",
                          TABLE_PARAMETERS_MAX);
        if (!consists_of(parameter->key, "abcdefghijklmnopqrstuvwxyz0123456789_-") ||
            strcmp(parameter->key, "policy") == 0)
            return refuse(why, "it has a parameter that cannot be called '%.40s'", parameter->key);
        if (parameter->help != NULL && strlen(parameter->help) > 1000)
            return refuse(why, "the help of its parameter '%s' is too long", parameter->key);
    }
    return 0;
}

int policy_table_read(const struct ff_policy *given, const char *file, struct policy_table *table,
                      char *why_text, size_t why_size)
{
    const struct reason why = {why_text, why_size};
    memset(table, 0, sizeof *table);
    if (given == NULL)
        return refuse(&why, "fleetflash_policy() returned no table");
    if (check_sizes(given, &why) != 0 || check_name(given->name, file, &why) != 0)
        return -1;
    if (given->stop == NULL)
        return refuse(&why, "it has no stop function");
    size_t size = given->struct_size;
    memcpy(&table->policy, given, size < sizeof table->policy ? size : sizeof table->policy);
    if (read_parameters(given, table, &why) != 0)
        return -1;
    table->policy.struct_size = sizeof table->policy;
    table->policy.parameter_size = sizeof *table->parameters;
    table->policy.parameters = table->parameters;
    if (table->policy.longname == NULL)
        table->policy.longname = table->policy.name;
    if (table->policy.description == NULL)
        table->policy.description = "";
    if (strlen(table->policy.longname) > 200 || strlen(table->policy.description) > 1000)
        return refuse(&why, "its longname or description is too long");
    return 0;
}
