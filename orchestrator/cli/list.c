/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list.h"

#include "base/units.h"

#include <stdlib.h>
#include <string.h>

#define COLUMN_COUNT 6
#define CELL_SIZE    640

/* One line of the table. */
struct row {
    char cells[COLUMN_COUNT][CELL_SIZE];
};

static const char *const mode_names[] = {[INVENTORY_AUTO] = "auto",
                                         [INVENTORY_STAGE] = "stage",
                                         [INVENTORY_STREAM] = "stream",
                                         [INVENTORY_NETBOOT] = "netboot",
                                         [INVENTORY_LOCAL] = "local"};

static bool is_selected(const bool *selected, size_t i)
{
    return selected == NULL || selected[i];
}

/* "a,b,c" */
static void join_names(const char *const *names, const char *separator, char *out, size_t out_size)
{
    size_t used = 0;
    *out = '\0';
    for (; *names != NULL && used < out_size; names++)
        used += (size_t)snprintf(out + used, out_size - used, "%s%s", used == 0 ? "" : separator,
                                 *names);
}

/* user@host:port, without what ssh decides. */
static void write_login(const struct target_spec *target, char *out, size_t out_size)
{
    char port[16] = "";
    bool is_ipv6 = strchr(target->host, ':') != NULL;
    if (target->port != 0)
        snprintf(port, sizeof port, ":%u", target->port);
    snprintf(out, out_size, "%s%s%s%s%s%s", target->user == NULL ? "" : target->user,
             target->user == NULL ? "" : "@", is_ipv6 && *port != '\0' ? "[" : "", target->host,
             is_ipv6 && *port != '\0' ? "]" : "", port);
}

static void fill_row(const struct target_spec *target, struct row *row)
{
    snprintf(row->cells[0], CELL_SIZE, "%s", target->name);
    join_names(target->groups, ",", row->cells[1], CELL_SIZE);
    write_login(target, row->cells[2], CELL_SIZE);
    snprintf(row->cells[3], CELL_SIZE, "%s", mode_names[target->mode]);
    snprintf(row->cells[4], CELL_SIZE, "%s", target->device);
    snprintf(row->cells[5], CELL_SIZE, "%s",
             target->services.policy == NULL ? "-" : target->services.policy);
}

/* Columns that a UTF-8 text takes, as far as one character is one column. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80 ? 1 : 0;
    return width;
}

static void print_row(const struct row *row, const size_t *widths, FILE *out)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        fputs(row->cells[i], out);
        if (i + 1 < COLUMN_COUNT)
            fprintf(out, "%*s", (int)(widths[i] - width_of(row->cells[i]) + 2), "");
    }
    fputc('\n', out);
}

static void widen(const struct row *row, size_t *widths)
{
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        size_t width = width_of(row->cells[i]);
        if (width > widths[i])
            widths[i] = width;
    }
}

/* --- waves -------------------------------------------------------------------------------- */

static size_t wave_size(const struct inventory *inventory, const bool *selected, int wave)
{
    size_t count = 0;
    for (size_t i = 0; i < inventory->target_count; i++)
        count += is_selected(selected, i) && inventory_wave_of(inventory, i) == wave ? 1 : 0;
    return count;
}

static void print_wave(const struct wave_spec *wave, size_t number, size_t size, FILE *out)
{
    char groups[CELL_SIZE], soak[32];
    size_t allowed = failure_limit_allows(&wave->max_failures, size);
    join_names(wave->groups, ", ", groups, sizeof groups);
    fprintf(out, "  %zu. %s: %zu target%s", number, groups, size, size == 1 ? "" : "s");
    if (wave->parallel > 0)
        fprintf(out, ", %u at once", wave->parallel);
    if (wave->max_failures.present && allowed == 0)
        fputs(", any failure halts it", out);
    else if (wave->max_failures.present)
        fprintf(out, ", more than %zu failure%s halt it", allowed, allowed == 1 ? "" : "s");
    if (wave->window_from >= 0)
        fprintf(out, ", started %02d:%02d-%02d:%02d", wave->window_from / 60,
                wave->window_from % 60, wave->window_to / 60, wave->window_to % 60);
    if (wave->soak > 0)
        fprintf(out, ", then %s of soak", units_format_duration(wave->soak, soak, sizeof soak));
    if (wave->gate != NULL)
        fputs(", a gate", out);
    if (wave->pause_confirm)
        fputs(", a question", out);
    fputc('\n', out);
}

static void print_waves(const struct inventory *inventory, const bool *selected, FILE *out)
{
    fputs("\nwaves:\n", out);
    for (size_t i = 0; i < inventory->wave_count; i++)
        print_wave(&inventory->waves[i], i + 1, wave_size(inventory, selected, (int)i), out);
    size_t rest = wave_size(inventory, selected, -1);
    if (rest > 0)
        fprintf(out, "  in no wave, never started: %zu target%s\n", rest, rest == 1 ? "" : "s");
}

void list_print(const struct inventory *inventory, const bool *selected, FILE *out)
{
    struct row row = {{"NAME", "GROUPS", "LOGIN", "MODE", "DEVICE", "POLICY"}};
    size_t widths[COLUMN_COUNT] = {0}, count = 0;
    widen(&row, widths);
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (!is_selected(selected, i))
            continue;
        struct row filled;
        fill_row(&inventory->targets[i], &filled);
        widen(&filled, widths);
        count++;
    }
    print_row(&row, widths, out);
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (!is_selected(selected, i))
            continue;
        fill_row(&inventory->targets[i], &row);
        print_row(&row, widths, out);
    }
    fprintf(out, "\n%zu target%s", count, count == 1 ? "" : "s");
    if (count < inventory->target_count)
        fprintf(out, " of %zu", inventory->target_count);
    fputc('\n', out);
    if (inventory->wave_count > 0)
        print_waves(inventory, selected, out);
}
