/* SPDX-License-Identifier: Apache-2.0 */
#include "report/plan_image.h"

#include "base/units.h"

#include <string.h>

#define LABEL_COLUMNS 12u

void plan_title(FILE *out, const struct paint *paint, const char *text)
{
    char clean[TEXT_MAX];
    text_clean(text, paint->utf8, clean, sizeof clean);
    fputs(paint_begin(paint, COLOUR_BOLD), out);
    text_wrap(out, clean, 0, 2, PLAN_WIDTH);
    fprintf(out, "%s\n", paint_end(paint, COLOUR_BOLD));
}

void plan_item(FILE *out, const struct paint *paint, enum colour colour, const char *label,
               const char *text)
{
    char clean[TEXT_MAX];
    unsigned column = label != NULL ? LABEL_COLUMNS : 2;
    text_clean(text, paint->utf8, clean, sizeof clean);
    fprintf(out, "  %-*s%s", (int)column - 2, label != NULL ? label : "",
            paint_begin(paint, colour));
    text_wrap(out, clean, column, label != NULL ? LABEL_COLUMNS : 4, PLAN_WIDTH);
    fprintf(out, "%s\n", paint_end(paint, colour));
}

/* "pi, root" of the users that have (or have not) keys. */
static void users_text(const struct image_facts *facts, bool with_keys, char *out, size_t out_size)
{
    size_t length = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < facts->user_count && length < out_size; i++) {
        if (facts->users[i].has_keys == with_keys)
            length += (size_t)snprintf(out + length, out_size - length, "%s%s",
                                       length > 0 ? ", " : "", facts->users[i].name);
    }
}

static void put_file(const struct run_view *run, const struct paint *paint, FILE *out)
{
    char text[TEXT_MAX], size[32], file_size[32];
    const struct store_info *info = run->store;
    const struct image_facts *facts = &info->facts;
    snprintf(text, sizeof text, "%s, %s", run->image != NULL ? run->image : "",
             units_format_size(info->image_size, size, sizeof size));
    size_t length = strlen(text);
    if (facts->file_size > 0 && strcmp(facts->format, "raw") != 0)
        snprintf(text + length, sizeof text - length, " (%s of %s)",
                 units_format_size(facts->file_size, file_size, sizeof file_size), facts->format);
    plan_item(out, paint, COLOUR_NONE, "file", text);
    snprintf(text, sizeof text, "%.16s%s", facts->sha256, strlen(facts->sha256) > 16 ? "…" : "");
    if (facts->sha256[0] != '\0')
        plan_item(out, paint, COLOUR_NONE, "sha256", text);
    if (info->signers[0] != '\0')
        plan_item(out, paint, COLOUR_NONE, "signed", info->signers);
    uint64_t unmapped = (uint64_t)info->unmapped_blocks * info->block_size;
    snprintf(text, sizeof text, "%s of it are unmapped (.bmap): neither sent nor written",
             units_format_size(unmapped, size, sizeof size));
    if (unmapped > 0)
        plan_item(out, paint, COLOUR_NONE, "map", text);
}

static void put_inside(const struct image_facts *facts, const struct paint *paint, FILE *out)
{
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%s%s%s", facts->os_name[0] != '\0' ? facts->os_name : "not known",
             facts->machine[0] != '\0' ? ", " : "", facts->machine);
    plan_item(out, paint, COLOUR_NONE, "system", text);
    int length = snprintf(text, sizeof text, "%s, %u partition%s",
                          facts->table[0] != '\0' ? facts->table : "no partition table",
                          facts->partition_count, facts->partition_count == 1 ? "" : "s");
    if (facts->root_partition >= 0 && facts->root_partition < 32)
        snprintf(text + length, sizeof text - (size_t)length, ", root %s on partition %d",
                 facts->partitions[facts->root_partition].filesystem, facts->root_partition + 1);
    plan_item(out, paint, COLOUR_NONE, "table", text);
}

static void put_access(const struct image_facts *facts, const struct paint *paint, FILE *out)
{
    char users[600];
    users_text(facts, true, users, sizeof users);
    if (users[0] != '\0')
        plan_item(out, paint, COLOUR_NONE, "ssh keys", users);
    if (facts->has_first_boot)
        plan_item(out, paint, COLOUR_NONE, "first boot", "sets itself up when it first starts");
    if (facts->has_host_keys)
        plan_item(out, paint, COLOUR_NONE, "host keys",
                  "baked in: every device will have the same ones");
    for (unsigned i = 0; i < 4 && facts->host_fingerprints[i][0] != '\0'; i++)
        plan_item(out, paint, COLOUR_NONE, "", facts->host_fingerprints[i]);
}

/* Nothing to warn of when nobody wants to reach it by ssh. */
static bool wants_ssh(const struct run_view *run)
{
    for (size_t i = 0; i < run->target_count; i++) {
        if (run->targets[i]->spec->reach == REACH_SSH)
            return true;
    }
    return false;
}

static void put_doubts(const struct run_view *run, const struct paint *paint, FILE *out)
{
    const struct image_facts *facts = &run->store->facts;
    char users[600];
    char text[TEXT_MAX];
    users_text(facts, true, users, sizeof users);
    if (!facts->looked_inside) {
        plan_item(out, paint, COLOUR_YELLOW, "warning",
                  "its root file system could not be looked into: whether its devices can be "
                  "reached afterwards is not known");
        return;
    }
    if (!facts->has_ssh_server)
        plan_item(out, paint, COLOUR_YELLOW, "warning",
                  "no ssh server was found in it: its devices may not be reachable afterwards");
    if (users[0] != '\0')
        return;
    users_text(facts, false, users, sizeof users);
    snprintf(text, sizeof text, "no user in it has an ssh key%s%s: nobody may be able to log in%s",
             users[0] != '\0' ? "; users without: " : "", users,
             facts->has_first_boot ? ", unless its first boot adds one" : "");
    plan_item(out, paint, COLOUR_YELLOW, "warning", text);
}

void plan_image_print(const struct run_view *run, const struct paint *paint, FILE *out)
{
    if (run->store == NULL)
        return;
    plan_title(out, paint, "Image");
    put_file(run, paint, out);
    put_inside(&run->store->facts, paint, out);
    put_access(&run->store->facts, paint, out);
    if (wants_ssh(run))
        put_doubts(run, paint, out);
}
