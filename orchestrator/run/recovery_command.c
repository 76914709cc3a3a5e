/* SPDX-License-Identifier: Apache-2.0 */
#include "run/recovery_command.h"

#include "netboot/boot_script.h"
#include "netboot/station.h"
#include "netboot/uboot_image.h"
#include "run/recovery_disk.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct board {
    char server[INET6_ADDRSTRLEN + 20];
};

static bool is_netboot(const struct target_spec *spec)
{
    return spec->mode == INVENTORY_NETBOOT || spec->recovery == RECOVERY_NETBOOT;
}

static int select_pattern(const struct recovery_command *command, const char *pattern,
                          bool *selected, struct error *err)
{
    char message[400];
    size_t count = command->inventory->target_count;
    bool *more = calloc(count + 1, sizeof *more);
    if (more == NULL)
        return error_set(err, ERROR_IO, "out of memory");
    int found = inventory_select(command->inventory, pattern, more, message, sizeof message);
    for (size_t i = 0; i < count; i++)
        selected[i] |= more[i];
    free(more);
    if (found > 0)
        return 0;
    error_set(err, ERROR_USAGE, "%s: %s", pattern, found < 0 ? message : "matches no target");
    return error_remedy(err, "--list shows all of them");
}

/* Which targets it is for: those asked for, or all that are flashed by their boot loaders. */
static int select_targets(const struct recovery_command *command, const char *const *patterns,
                          bool *selected, struct error *err)
{
    const struct inventory *inventory = command->inventory;
    if (command->limit != NULL && select_pattern(command, command->limit, selected, err) != 0)
        return -1;
    for (; *patterns != NULL; patterns++)
        if (select_pattern(command, *patterns, selected, err) != 0)
            return -1;
    bool any = false;
    for (size_t i = 0; i < inventory->target_count; i++)
        any |= selected[i];
    for (size_t i = 0; !any && i < inventory->target_count; i++)
        selected[i] = is_netboot(&inventory->targets[i]);
    for (size_t i = 0; i < inventory->target_count; i++)
        if (selected[i])
            return 0;
    error_set(err, ERROR_USAGE, "%s has no target that is flashed by its boot loader",
              inventory->file);
    return error_remedy(err, "write mode: netboot or recovery: netboot there, or name targets");
}

/* A board that asks in vain would be noticed when it is needed. */
static void warn_routes(const struct boot_script_board *boards, size_t count)
{
    size_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        const struct target_spec *spec = boards[i].spec;
        if (!boot_script_has_route(&boards[i]) && lost++ == 0)
            fprintf(stderr,
                    "warning: %s with the address %s does not have this machine's address %s in "
                    "its network — write netboot: {gateway}, {netmask} or {server}\n",
                    spec->name, spec->host, boards[i].server);
    }
    if (lost > 1)
        fprintf(stderr, "warning: the same holds for %zu more\n", lost - 1);
}

/* The script for the selected targets, as a file for U-Boot. NULL with err. */
static struct buffer *make_script(const struct recovery_command *command, const bool *selected,
                                  size_t *count, struct error *err)
{
    const struct inventory *inventory = command->inventory;
    struct boot_script_board *boards = calloc(inventory->target_count, sizeof *boards);
    struct board *addresses = calloc(inventory->target_count, sizeof *addresses);
    struct buffer *image = NULL;
    char *text = NULL;
    *count = 0;
    if (boards == NULL || addresses == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        goto done;
    }
    for (size_t i = 0; i < inventory->target_count; i++) {
        if (!selected[i])
            continue;
        const struct target_spec *spec = &inventory->targets[i];
        char *server = addresses[*count].server;
        if (station_address(spec, server, sizeof addresses->server, err) != 0)
            goto done;
        boards[(*count)++] = (struct boot_script_board){spec, server};
    }
    text = boot_script_make(boards, *count, err);
    if (text == NULL)
        goto done;
    warn_routes(boards, *count);
    image = uboot_image_script(text, "fleetflash recovery");
    if (image == NULL)
        error_set(err, ERROR_IO, "out of memory");
done:
    free(text);
    free(addresses);
    free(boards);
    return image;
}

/* A card, a pipe: the file that is made would take its name from it. */
static int check_output(const char *path, struct error *err)
{
    struct stat status;
    if (path == NULL) {
        error_set(err, ERROR_USAGE, "no file to write is given");
        return error_remedy(err, "write -o FILE");
    }
    if (strcmp(path, "-") == 0) {
        error_set(err, ERROR_USAGE, "it is not written to standard output");
        return error_remedy(err, "name a file; one of that name is ./-");
    }
    if (stat(path, &status) != 0 || S_ISREG(status.st_mode))
        return 0;
    error_set(err, ERROR_USAGE, "%s is there and no regular file", path);
    return error_remedy(err, "name a file, and copy that one to the card");
}

static struct buffer *prepare(const struct recovery_command *command, const char *const *patterns,
                              size_t *count, struct error *err)
{
    if (check_output(command->output, err) != 0)
        return NULL;
    bool *selected = calloc(command->inventory->target_count + 1, sizeof *selected);
    struct buffer *script = NULL;
    if (selected == NULL)
        error_set(err, ERROR_IO, "out of memory");
    else if (select_targets(command, patterns, selected, err) == 0)
        script = make_script(command, selected, count, err);
    free(selected);
    return script;
}

/* Into a file beside it first: an image that breaks off is never under the wanted name. Nobody else
 * has made that one, and no link leads from it elsewhere. */
static int write_as(const char *path, const struct buffer *data, struct error *err)
{
    FILE *file = fopen(path, "wbx");
    if (file != NULL) {
        bool written = fwrite(data->data, 1, data->size, file) == data->size;
        if (fclose(file) == 0 && written)
            return 0;
    }
    return error_set(err, ERROR_IO, "%s cannot be written: %s", path, strerror(errno));
}

static int finish(const struct recovery_command *command, const char *part, int made,
                  struct error *err)
{
    if (made == 0 && rename(part, command->output) == 0)
        return 0;
    if (made == 0)
        error_set(err, ERROR_IO, "%s cannot be written: %s", command->output, strerror(errno));
    unlink(part);
    return -1;
}

/* The name of that file, and nothing there any more: of a run that was killed. */
static int part_prepare(const struct recovery_command *command, char *out, size_t size,
                        struct error *err)
{
    if (snprintf(out, size, "%s.part", command->output) >= (int)size)
        return error_set(err, ERROR_USAGE, "%s: %s", command->output, strerror(ENAMETOOLONG));
    if (unlink(out) == 0 || errno == ENOENT)
        return 0;
    return error_set(err, ERROR_IO, "%s cannot be written: %s", out, strerror(errno));
}

int recovery_script(const struct recovery_command *command, struct error *err)
{
    size_t count;
    char part[4096];
    struct buffer *script = prepare(command, command->words, &count, err);
    if (script == NULL)
        return -1;
    int result = part_prepare(command, part, sizeof part, err);
    if (result == 0)
        result = finish(command, part, write_as(part, script, err), err);
    buffer_unref(script);
    if (result == 0 && !command->quiet)
        fprintf(stderr, "%s: the boot script of %zu board%s\n", command->output, count,
                count == 1 ? "" : "s");
    return result;
}

int recovery_image(const struct recovery_command *command, struct error *err)
{
    static const char *const none[] = {NULL};
    size_t count;
    char part[4096];
    struct buffer *script = prepare(command, none, &count, err);
    if (script == NULL)
        return -1;
    int result = part_prepare(command, part, sizeof part, err);
    if (result == 0)
        result = finish(command, part, recovery_disk_make(part, command->words, script, err), err);
    buffer_unref(script);
    if (result == 0 && recovery_disk_lacks_tree(command->words))
        fprintf(stderr,
                "warning: no device tree (*.dtb) is among the files, which the firmware of a "
                "Raspberry Pi hands to U-Boot — name those of the boards as well\n");
    if (result == 0 && !command->quiet)
        fprintf(stderr, "%s: an SD card for %zu board%s; write it whole to the card\n",
                command->output, count, count == 1 ? "" : "s");
    return result;
}
