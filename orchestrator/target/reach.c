/* SPDX-License-Identifier: Apache-2.0 */
#include "target/reach.h"

#include "target/shell.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Raw pieces that the script hands out after its text, in this order. */
#define PIECE_SIZE 4096u /* of the disk's start, the root partition's start, and each sample */
#define MARK       "--raw--\n"

/* Finds the disk under / through sysfs (its name may have changed), tells the boot id and what udev
 * knows, then the raw pieces. Reading the disk needs root; without it udev's word must do. Where
 * the image was put behind a boot loader's partition, all is so many sectors further on as the
 * disk's second partition is from the image's first one. */
static const char script_format[] =
    "disk=%s\n"
    "while read -r _ _ mm _ mp _; do [ \"$mp\" = / ] && dev=$mm; done </proc/self/mountinfo\n"
    "p=/sys/dev/block/$dev\n"
    "if [ -e \"$p/partition\" ]; then d=$(cd -P \"$p\" && cd .. && pwd -P); "
    "disk=/dev/${d##*/}; fi\n"
    "echo boot_id=$(cat /proc/sys/kernel/random/boot_id)\n"
    "n=$(cat /sys/class/block/${disk##*/}/dev 2>/dev/null)\n"
    "echo udev_table=$(sed -n 's/^E:ID_PART_TABLE_UUID=//p' /run/udev/data/b$n 2>/dev/null)\n"
    "echo udev_root=$(sed -n 's/^E:ID_FS_UUID=//p' /run/udev/data/b$dev 2>/dev/null)\n"
    "s=\n"
    "if [ $(id -u) != 0 ] && [ %d = 1 ] && sudo -n true 2>/dev/null; then s='sudo -n'; fi\n"
    "echo disk=$disk\n"
    "o=0\n"
    "[ -n \"$d\" ] || d=/sys/class/block/${disk##*/}\n"
    "for q in \"$d\"/*/partition; do [ %" PRIu64 " = 0 ] || [ \"$(cat \"$q\")\" != 2 ] || "
    "o=$(($(cat \"${q%%partition}start\") - %" PRIu64 ")); done 2>/dev/null\n"
    "echo " MARK "for k in %s; do "
    "$s dd if=$disk bs=512 skip=$((k * 8 + o)) count=8 2>/dev/null || exit 0; done\n";

struct reach {
    struct reach_config config;
    struct link *link;
    reach_callback callback;
    void *arg;
    struct link_run *run;
    struct reach_result result;
    /* shared with the worker */
    uv_work_t work;
    bool working, cancelled;
    char *output;
    size_t output_size, raw_at;
};

static void reach_free(struct reach *reach)
{
    free(reach->output);
    free(reach);
}

void reach_cancel(struct reach *reach)
{
    if (reach == NULL)
        return;
    if (reach->run != NULL) {
        link_run_cancel(reach->run);
        reach->run = NULL;
    }
    if (reach->working)
        reach->cancelled = true; /* work_done_callback frees */
    else
        reach_free(reach);
}

static void reach_end(struct reach *reach, enum reach_verdict verdict)
{
    reach_callback callback = reach->callback;
    void *arg = reach->arg;
    struct reach_result result = reach->result;
    result.verdict = verdict;
    reach_free(reach);
    callback(&result, arg);
}

/* --- health -------------------------------------------------------------------------- */

static void health_callback(const struct link_run_result *result, void *arg)
{
    struct reach *reach = arg;
    reach->run = NULL;
    if (result->err == NULL && result->exit_status == 0) {
        reach_end(reach, REACH_PROVEN);
        return;
    }
    if (result->err != NULL && result->err->cls == ERROR_TIMEOUT)
        error_set(&reach->result.error, ERROR_TIMEOUT,
                  "the new system runs, but its health check `%.200s` did not end within %.0f s",
                  reach->config.health, (double)reach->config.health_timeout / 1000.0);
    else if (result->err != NULL)
        error_set(&reach->result.error, result->err->cls, "health check: %s", result->err->text);
    else
        error_set(&reach->result.error, ERROR_REFUSED,
                  "the new system runs, but its health check `%s` ended with status %d%s%.*s",
                  reach->config.health, result->exit_status, result->out[0] != '\0' ? ": " : "",
                  (int)strcspn(result->out, "\n"), result->out);
    error_remedy(&reach->result.error, "log in to the device and see what fails there, or correct "
                                       "`health` in the inventory");
    reach_end(reach, REACH_UNHEALTHY);
}

static void reach_check_health(struct reach *reach)
{
    if (reach->config.health == NULL) {
        reach_end(reach, REACH_PROVEN);
        return;
    }
    char *command = shell_as_root(reach->config.health, true); /* as the ssh user */
    reach->run = link_run_command(reach->link, command, NULL, reach->config.health_timeout,
                                  health_callback, reach);
    free(command);
    if (reach->run == NULL) {
        error_set(&reach->result.error, ERROR_NETWORK, "the health check could not be started");
        reach_end(reach, REACH_BROKEN);
    }
}

/* --- comparing (on a worker thread) -------------------------------------------------- */

/* 4 KiB of the image at offset; false when it cannot be read. */
static bool image_piece(const struct reach *reach, uint64_t offset, uint8_t *out)
{
    const struct store_info *info = store_info(reach->config.store);
    if (offset + PIECE_SIZE > info->image_size)
        return false;
    uint8_t *block = malloc(info->block_size);
    if (block == NULL)
        return false;
    bool ok = store_read_block(reach->config.store, (uint32_t)(offset / info->block_size), block,
                               NULL) > 0;
    if (ok)
        memcpy(out, block + offset % info->block_size, PIECE_SIZE);
    free(block);
    return ok;
}

static const uint8_t *output_piece(const struct reach *reach, size_t number)
{
    size_t at = reach->raw_at + number * PIECE_SIZE;
    return at + PIECE_SIZE <= reach->output_size ? (const uint8_t *)reach->output + at : NULL;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 0)
            return false;
    }
    return true;
}

/* The image's root file system UUID on the disk where the image's root partition begins. */
static bool root_uuid_matches(const struct reach *reach, char *proof, size_t size)
{
    const struct image_facts *facts = &store_info(reach->config.store)->facts;
    const uint8_t *disk = output_piece(reach, 1);
    uint8_t image[PIECE_SIZE];
    if (facts->root_partition < 0 || disk == NULL ||
        !image_piece(reach, facts->partitions[facts->root_partition].start, image))
        return false;
    /* ext2/3/4 superblock: s_magic at 1024 + 0x38, s_uuid at 1024 + 0x68 (fs/ext4/ext4.h) */
    if (image[1024 + 0x38] != 0x53 || image[1024 + 0x39] != 0xef ||
        memcmp(disk + 1024 + 0x38, image + 1024 + 0x38, 2) != 0 ||
        memcmp(disk + 1024 + 0x68, image + 1024 + 0x68, 16) != 0)
        return false;
    snprintf(proof, size, "root file system UUID %s is the image's",
             facts->partitions[facts->root_partition].uuid);
    return true;
}

/* The disk's identity: MBR signature (offset 440), or the GPT header's disk GUID (LBA 1 + 56). */
static bool signature_matches(const struct reach *reach, char *proof, size_t size)
{
    const struct image_facts *facts = &store_info(reach->config.store)->facts;
    const uint8_t *disk = output_piece(reach, 0);
    uint8_t image[PIECE_SIZE];
    if (reach->config.shifted || disk == NULL || !image_piece(reach, 0, image))
        return false; /* the table of a shifted disk is its own */
    if (strcmp(facts->table, "gpt") == 0 && memcmp(disk + 512, image + 512, 8) == 0 &&
        memcmp(disk + 512 + 56, image + 512 + 56, 16) == 0) {
        snprintf(proof, size, "disk GUID %s is the image's", facts->gpt_guid);
        return true;
    }
    if (strcmp(facts->table, "mbr") == 0 && facts->mbr_signature != 0 &&
        memcmp(disk + 440, image + 440, 4) == 0) {
        snprintf(proof, size, "disk signature 0x%08" PRIx32 " is the image's",
                 facts->mbr_signature);
        return true;
    }
    return false;
}

/* Blocks that the flash wrote: what a first boot rewrites of them is little, so half must be there.
 */
static bool samples_match(const struct reach *reach, char *proof, size_t size)
{
    const struct store_info *info = store_info(reach->config.store);
    unsigned same = 0;
    unsigned compared = 0;
    for (unsigned i = 0; i < reach->config.sample_count; i++) {
        uint8_t image[PIECE_SIZE];
        const uint8_t *disk = output_piece(reach, 2 + i);
        uint64_t offset = (uint64_t)reach->config.samples[i] * info->block_size;
        if (disk == NULL || !image_piece(reach, offset, image) || is_zero(image, PIECE_SIZE))
            continue;
        compared++;
        same += memcmp(disk, image, PIECE_SIZE) == 0;
    }
    snprintf(proof, size, "%u of %u sampled blocks are the image's", same, compared);
    unsigned wanted = reach->config.still ? (compared * 3 + 3) / 4 : (compared + 1) / 2;
    return compared >= 2 && same >= wanted;
}

/* Without root rights: what udev of the new system tells. */
static bool udev_matches(const struct reach *reach, char *proof, size_t size)
{
    const struct image_facts *facts = &store_info(reach->config.store)->facts;
    char value[64];
    char signature[16];
    snprintf(signature, sizeof signature, "%08" PRIx32, facts->mbr_signature);
    if (!reach->config.shifted && shell_value(reach->output, "udev_table", value, sizeof value) &&
        value[0] != '\0' &&
        strcasecmp(value, strcmp(facts->table, "gpt") == 0 ? facts->gpt_guid : signature) == 0) {
        snprintf(proof, size, "udev: partition table %s is the image's", value);
        return true;
    }
    if (facts->root_partition >= 0 &&
        shell_value(reach->output, "udev_root", value, sizeof value) && value[0] != '\0' &&
        strcasecmp(value, facts->partitions[facts->root_partition].uuid) == 0) {
        snprintf(proof, size, "udev: root file system UUID %s is the image's", value);
        return true;
    }
    return false;
}

/* Without a flash just before, one mark is too little: images of a family share their UUIDs. Where
 * a first boot changes the marks, all hangs on the samples. */
static void compare_still(struct reach *reach)
{
    char mark[120] = "", samples[120] = "";
    if (!samples_match(reach, samples, sizeof samples)) {
        error_set(&reach->result.error, ERROR_REFUSED, "it does not hold the image any more: %s",
                  output_piece(reach, 0) == NULL ? "the disk could not be read without root rights"
                                                 : samples);
        return;
    }
    bool marked =
        signature_matches(reach, mark, sizeof mark) || root_uuid_matches(reach, mark, sizeof mark);
    snprintf(reach->result.proof, sizeof reach->result.proof, "%s%s%.90s", samples,
             marked ? "; " : "", marked ? mark : "");
}

static void compare_work(uv_work_t *work)
{
    struct reach *reach = work->data;
    if (reach->config.still) {
        compare_still(reach);
        return;
    }
    char proof[120] = "";
    bool proven = signature_matches(reach, proof, sizeof proof) ||
                  root_uuid_matches(reach, proof, sizeof proof) ||
                  udev_matches(reach, proof, sizeof proof) ||
                  samples_match(reach, proof, sizeof proof);
    if (proven) {
        snprintf(reach->result.proof, sizeof reach->result.proof, "%s; %s",
                 reach->config.occasion != NULL ? reach->config.occasion : "boot id changed",
                 proof);
        return;
    }
    error_set(&reach->result.error, ERROR_REFUSED,
              "the device has rebooted, but not into the image: neither disk signature nor root "
              "file system UUID are the image's (%s)",
              output_piece(reach, 0) == NULL ? "the disk could not be read without root rights"
                                             : proof);
    error_remedy(&reach->result.error, "look at the device's console: it may have booted from "
                                       "another disk; `reach: ping` accepts less proof");
}

static void compare_done_callback(uv_work_t *work, int status)
{
    (void)status;
    struct reach *reach = work->data;
    reach->working = false;
    if (reach->cancelled)
        reach_free(reach);
    else if (reach->result.proof[0] == '\0')
        reach_end(reach, REACH_UNPROVEN);
    else
        reach_check_health(reach);
}

/* --- the script ---------------------------------------------------------------------- */

static void script_callback(const struct link_run_result *result, void *arg)
{
    struct reach *reach = arg;
    reach->run = NULL;
    if (result->err != NULL) {
        reach->result.error = *result->err;
        reach_end(reach, REACH_BROKEN);
        return;
    }
    reach->output = malloc(result->out_size + 1);
    const char *mark = memmem(result->out, result->out_size, MARK, strlen(MARK));
    if (reach->output == NULL || mark == NULL ||
        !shell_value(result->out, "boot_id", reach->result.boot_id, sizeof reach->result.boot_id)) {
        error_set(&reach->result.error, ERROR_NETWORK,
                  "the new system's shell gave no answer: %.*s",
                  (int)strcspn(result->err_text, "\n"), result->err_text);
        reach_end(reach, REACH_BROKEN);
        return;
    }
    memcpy(reach->output, result->out, result->out_size);
    reach->raw_at = (size_t)(mark - result->out) + strlen(MARK);
    reach->output[reach->raw_at - 1] = '\0'; /* the text ends here; shell_value needs an end */
    reach->output[result->out_size] = '\0';
    reach->output_size = result->out_size;
    bool same = strcmp(reach->result.boot_id, reach->config.boot_id_before) == 0;
    if (reach->config.same_boot && same) {
        snprintf(reach->result.proof, sizeof reach->result.proof, "not rebooted since");
        reach_check_health(reach);
        return;
    }
    if (reach->config.same_boot) {
        error_set(&reach->result.error, ERROR_REFUSED, "its boot id is %s and was %s",
                  reach->result.boot_id, reach->config.boot_id_before);
        reach_end(reach, REACH_REBOOTED);
        return;
    }
    if (same) {
        reach_end(reach, REACH_OLD_BOOT);
        return;
    }
    reach->working = true;
    reach->work.data = reach;
    uv_queue_work(reach->config.loop, &reach->work, compare_work, compare_done_callback);
}

static bool is_sample(const struct reach_config *config, uint32_t index)
{
    for (unsigned i = 0; i < config->sample_count; i++)
        if (config->samples[i] == index)
            return true;
    return false;
}

void reach_fill_samples(struct reach_config *config)
{
    const struct store_info *info = store_info(config->store);
    uint32_t count = info->block_count;
    uint64_t left_out = config->shifted ? info->facts.partitions[0].start : 0;
    for (unsigned tries = 0; tries < 1000 && config->sample_count < TRANSFER_SAMPLES; tries++) {
        uint32_t index = randombytes_uniform(count);
        if (store_entry(config->store, index)->wire_size > 0 &&
            (uint64_t)index * info->block_size >= left_out && !is_sample(config, index))
            config->samples[config->sample_count++] = index;
    }
}

struct reach *reach_start(struct link *link, const struct reach_config *config,
                          reach_callback callback, void *arg)
{
    struct reach *reach = calloc(1, sizeof *reach);
    if (reach == NULL)
        return NULL;
    reach->config = *config;
    reach->link = link;
    reach->callback = callback;
    reach->arg = arg;
    const struct store_info *info = store_info(config->store);
    const struct image_facts *facts = &info->facts;
    uint64_t root = facts->root_partition >= 0 ? facts->partitions[facts->root_partition].start : 0;
    char pieces[256];
    int used = snprintf(pieces, sizeof pieces, "0 %" PRIu64, root / PIECE_SIZE);
    for (unsigned i = 0; i < config->sample_count; i++)
        used += snprintf(pieces + used, sizeof pieces - (size_t)used, " %" PRIu64,
                         (uint64_t)config->samples[i] * info->block_size / PIECE_SIZE);
    char *disk = shell_quote(config->disk);
    char *text = NULL;
    uint64_t first = config->shifted ? facts->partitions[0].start / 512 : 0;
    int size = asprintf(&text, script_format, disk != NULL ? disk : "", config->use_sudo ? 1 : 0,
                        first, first, pieces);
    free(disk);
    struct buffer *input = size > 0 ? buffer_copy(text, (size_t)size) : NULL;
    free(text);
    reach->run = link_run_command(link, "sh -s", input, config->timeout, script_callback, reach);
    buffer_unref(input);
    if (reach->run == NULL) {
        reach_free(reach);
        return NULL;
    }
    return reach;
}
