/* SPDX-License-Identifier: Apache-2.0 */
/* What forbids a flash before anything of the device is touched. */
#include "target/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Guesses for a slow board: its network, its card's writing and reading back; bytes per second. */
#define SLOW_NETWORK (2u << 20)
#define SLOW_WRITE   (8u << 20)
#define SLOW_READ    (16u << 20)
#define SLOW_REST    60u /* seconds for all else */

bool target_is_local(const struct target_env *env, const struct target_spec *spec)
{
    return env->local || (env->mode == MODE_AUTO && spec->mode == INVENTORY_LOCAL);
}

enum flash_mode target_wanted_mode(const struct target_env *env, const struct target_spec *spec)
{
    if (target_is_local(env, spec))
        return MODE_STAGE; /* what is to send blocks later is on the same disk */
    if (env->mode != MODE_AUTO)
        return env->mode;
    switch (spec->mode) {
    case INVENTORY_STAGE:
        return MODE_STAGE;
    case INVENTORY_STREAM:
        return MODE_STREAM;
    case INVENTORY_NETBOOT:
        return MODE_NETBOOT;
    default:
        return MODE_AUTO;
    }
}

/* A table made for other sectors is in the wrong place, or its partitions are. A GPT says what it
 * counts in; of an MBR, that its partitions would lie behind the image's end is a proof. (The agent
 * looks once more, at the blocks themselves.) */
static int sectors_fit(const struct target_facts *facts, const struct store_info *info,
                       struct error *err)
{
    const struct image_facts *image = &info->facts;
    uint32_t sector = facts->disk_sector != 0 ? facts->disk_sector : 512;
    uint32_t counted = image->gpt_sector != 0 ? image->gpt_sector : sector;
    for (unsigned i = 0; i < image->partition_count && image->gpt_sector == 0; i++) {
        const struct image_partition *partition = &image->partitions[i];
        if ((partition->start + partition->size) / 512 > info->image_size / sector)
            counted = 512;
    }
    if (counted == sector)
        return 0;
    error_set(err, ERROR_REFUSED,
              "%s has logical sectors of %u bytes, the image's partition table counts in %u",
              facts->disk, sector, counted);
    return error_remedy(err, "use an image made for %u-byte sectors", sector);
}

int target_image_fits(const struct target_status *status, const struct store_info *info,
                      struct error *err)
{
    const struct target_facts *facts = &status->facts;
    if (info->image_size > facts->disk_size) {
        error_set(err, ERROR_REFUSED, "the image (%llu bytes) is larger than %s (%llu bytes)",
                  (unsigned long long)info->image_size, facts->disk,
                  (unsigned long long)facts->disk_size);
        return error_remedy(err, "use a smaller image or a larger disk");
    }
    if (sectors_fit(facts, info, err) != 0)
        return -1;
    const char *machine = info->facts.machine;
    bool image_arm = strncmp(machine, "arm", 3) == 0;
    bool device_arm = strncmp(facts->machine, "arm", 3) == 0;
    bool device_arm64 = strcmp(facts->machine, "aarch64") == 0;
    bool image_arm64 = strcmp(machine, "aarch64") == 0;
    if (machine[0] == '\0' || strcmp(machine, facts->machine) == 0 || (image_arm && device_arm) ||
        (image_arm && device_arm64) || (image_arm64 && device_arm))
        return 0; /* a 64-bit board may run a 32-bit system, before or after */
    error_set(err, ERROR_REFUSED, "the image is made for %s, the device is %s", machine,
              facts->machine);
    return error_remedy(err, "use the image for this board");
}

int target_memory_fits(const struct target_status *status, const struct store_info *info,
                       struct error *err)
{
    if (info->wire_bytes <= status->facts.stage_room)
        return 0;
    error_set(err, ERROR_REFUSED,
              "a machine that flashes itself holds the whole image in memory: %" PRIu64
              " MiB, and only %" PRIu64 " MiB can be",
              (info->wire_bytes >> 20) + 1, status->facts.stage_room >> 20);
    return error_remedy(err, "stop services that use memory, or flash it from another machine");
}

uint64_t target_stream_seconds(const struct store_info *info, uint64_t rate)
{
    uint64_t network = rate != 0 && rate < SLOW_NETWORK ? rate : SLOW_NETWORK;
    return info->wire_bytes / network + info->image_size / SLOW_WRITE +
           info->image_size / SLOW_READ + SLOW_REST;
}

int target_may_stream(const struct target_status *status, const struct store_info *info,
                      uint64_t rate, struct error *err)
{
    const struct target_facts *facts = &status->facts;
    uint64_t seconds = target_stream_seconds(info, rate);
    if (facts->wifi) {
        error_set(
            err, ERROR_REFUSED,
            "stream mode is not used over Wi-Fi (%s): the link may go away for good and leave "
            "the disk half-written",
            facts->interface);
        return error_remedy(err,
                            "connect it by cable, or stage: up to %" PRIu64
                            " MiB of its memory must be free for that",
                            (info->wire_bytes >> 20) + 1);
    }
    if (facts->lease >= 0 && (uint64_t)facts->lease < seconds) {
        error_set(err, ERROR_REFUSED,
                  "its address on %s is leased for %" PRId64
                  " s more, streaming the image may take "
                  "%" PRIu64 " s",
                  facts->interface, facts->lease, seconds);
        return error_remedy(err, "renew the lease or make leases longer on the DHCP server, or use "
                                 "mode: stage");
    }
    return 0;
}

/* As execvp(3) would find it. */
static bool program_is_there(const char *name)
{
    const char *path = getenv("PATH");
    char file[4096];
    if (path == NULL)
        path = "/bin:/usr/bin";
    for (size_t length; *path != '\0'; path += length + (path[length] == ':')) {
        length = strcspn(path, ":");
        snprintf(file, sizeof file, "%.*s/%s", (int)length, path, name);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

int target_can_look(const struct target_spec *spec, struct error *err)
{
    if (spec->reach != REACH_PING || program_is_there("ping"))
        return 0;
    error_set(err, ERROR_REFUSED,
              "reach: ping needs the program ping, which is not installed here");
    return error_remedy(err, "install it (Debian: iputils-ping), or use reach: ssh");
}

bool target_is_controller(const char *boot_id)
{
    char own[64] = "";
    FILE *stream = fopen("/proc/sys/kernel/random/boot_id", "re");
    bool read = stream != NULL && fgets(own, sizeof own, stream) != NULL;
    if (stream != NULL)
        fclose(stream);
    own[strcspn(own, "\r\n")] = '\0';
    return read && own[0] != '\0' && strcmp(own, boot_id) == 0;
}
