/* SPDX-License-Identifier: Apache-2.0 */
#include "report_fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake *fake_new(size_t count)
{
    struct fake *fake = calloc(1, sizeof *fake);
    if (fake == NULL)
        abort();
    fake->count = count;
    for (size_t i = 0; i < count; i++) {
        snprintf(fake->names[i], sizeof fake->names[i], "pi-%02u", (unsigned)i + 1);
        snprintf(fake->hosts[i], sizeof fake->hosts[i], "10.0.0.%u", (unsigned)i + 11);
        fake->specs[i] = (struct target_spec){.name = fake->names[i],
                                              .group = "lab",
                                              .host = fake->hosts[i],
                                              .port = 22,
                                              .user = "pi",
                                              .reach = REACH_SSH};
        fake->targets[i] = (struct target_status){
            .spec = &fake->specs[i], .index = (unsigned)i, .remaining_ms = UINT64_MAX};
        fake->pointers[i] = &fake->targets[i];
    }
    fake->run = (struct run_view){.id = "20261120T230105-3f2a",
                                  .command = "flash",
                                  .image = "images/golden.img.xz",
                                  .inventory = "lab.yaml",
                                  .controller = "desk",
                                  .started_ms = FAKE_STARTED,
                                  .wave_count = 1,
                                  .target_count = count,
                                  .targets = fake->pointers};
    return fake;
}

void fake_free(struct fake *fake)
{
    free(fake);
}

void fake_image(struct fake *fake)
{
    struct store_info *store = &fake->store;
    store->image_size = 2ull << 30;
    store->block_size = 131072;
    store->block_count = 16384;
    store->zero_blocks = 8000;
    store->wire_bytes = 400000000;
    store->decode_seconds = 12.5;
    strcpy(store->facts.format, "xz");
    strcpy(store->facts.sha256, "3f2a1b0c9d8e7f60514233241506f7e8d9cabbacbdceef00112233445566778");
    store->facts.file_size = 312ull << 20;
    strcpy(store->facts.table, "mbr");
    store->facts.partition_count = 2;
    store->facts.root_partition = 1;
    strcpy(store->facts.partitions[1].filesystem, "ext4");
    strcpy(store->facts.machine, "aarch64");
    strcpy(store->facts.os_name, "Debian GNU/Linux 12 (bookworm)");
    store->facts.looked_inside = store->facts.has_ssh_server = true;
    store->facts.user_count = 2;
    strcpy(store->facts.users[0].name, "pi");
    store->facts.users[0].has_keys = true;
    strcpy(store->facts.users[1].name, "root");
    fake->run.store = store;
}

void fake_facts(struct fake *fake, size_t index)
{
    struct target_facts *facts = &fake->targets[index].facts;
    facts->known = true;
    strcpy(facts->model, "Raspberry Pi 4 Model B Rev 1.4");
    strcpy(facts->disk, "/dev/mmcblk0");
    strcpy(facts->disk_model, "SC32G");
    snprintf(facts->disk_serial, sizeof facts->disk_serial, "0x%08zx", 0x1a2b3c00 + index);
    facts->disk_size = 31914983424;
    facts->partition_count = 3;
    for (unsigned i = 0; i < 3; i++) {
        static const char *const kinds[] = {"vfat", "ext4", "ext4"};
        static const char *const labels[] = {"bootfs", "rootfs", ""};
        static const char *const places[] = {"/boot/firmware", "/", "/srv/data"};
        struct fact_partition *partition = &facts->partitions[i];
        snprintf(partition->path, sizeof partition->path, "/dev/mmcblk0p%u", i + 1);
        strcpy(partition->filesystem, kinds[i]);
        strcpy(partition->label, labels[i]);
        strcpy(partition->mountpoint, places[i]);
        partition->size = i == 0 ? 512ull << 20 : 12ull << 30;
        partition->is_data = i == 2;
    }
}

void fake_flashed(struct fake *fake, size_t index)
{
    struct target_status *target = &fake->targets[index];
    target->started = true;
    target->state = STATE_REACHABILITY;
    target->outcome = OUTCOME_FLASHED;
    target->mode = MODE_STAGE;
    target->attempts = 1;
    target->bytes_sent = 100ull << 20;
    target->bytes_written = 600ull << 20;
    target->bytes_skipped = 1ull << 30;
    strcpy(target->proof, "another boot, and the disk's signature is the image's");
    target->started_ms = FAKE_STARTED + 1000;
    target->ended_ms = FAKE_STARTED + 73000;
    target->activity[0] = '\0';
}

void fake_failed(struct fake *fake, size_t index, const char *text, const char *remedy)
{
    struct target_status *target = &fake->targets[index];
    target->started = true;
    target->outcome = OUTCOME_FAILED;
    error_set(&target->error, ERROR_NETWORK, "%s", text);
    if (remedy != NULL)
        error_remedy(&target->error, "%s", remedy);
    target->started_ms = FAKE_STARTED + 1000;
    target->ended_ms = FAKE_STARTED + 9000;
    target->activity[0] = '\0';
}

void fake_ended(struct fake *fake, uint64_t milliseconds, int exit_code)
{
    fake->run.phase = RUN_ENDED;
    fake->run.ended_ms = fake->run.started_ms + milliseconds;
    fake->run.exit_code = exit_code;
}

/* Lets the target be in the states up to `last`, each as long as it takes with this one. */
static void live(struct fake *fake, size_t index, uint64_t start_ms, enum target_state last)
{
    static const unsigned seconds[STATE_COUNT] = {3, 41, 2, 26, 4, 33};
    struct target_status *target = &fake->targets[index];
    uint64_t now = FAKE_STARTED + start_ms;
    target->started_ms = now;
    for (int i = 0; i <= (int)last; i++) {
        uint64_t spent = seconds[i] * (800 + index * 37 % 400);
        target->state = (enum target_state)i;
        now += spent;
        status_spend(target, spent, now);
    }
    target->ended_ms = now;
}

static void fail_in(struct fake *fake, size_t index, enum target_state state,
                    enum target_damage damage, const char *text, const char *remedy)
{
    struct target_status *target = &fake->targets[index];
    uint64_t started = target->started_ms;
    uint64_t ended = target->ended_ms;
    fake_failed(fake, index, text, remedy);
    target->state = state;
    target->damage = damage;
    target->started_ms = started;
    target->ended_ms = ended;
}

static void roll_out_one(struct fake *fake, size_t i)
{
    struct target_status *target = &fake->targets[i];
    uint64_t start = i < 3 ? 500 : i < 15 ? 125000 + i % 3 * 900 : 245000;
    fake_facts(fake, i);
    target->wave = i < 3 ? 0 : i < 19 ? 1 : 2;
    fake->specs[i].group = i < 3 ? "canary" : i < 19 ? "lab" : "field";
    if (i == 6 || i == 9) {
        live(fake, i, start, STATE_REACHABILITY);
        fail_in(fake, i, STATE_REACHABILITY, DAMAGE_LOST,
                "it did not come back within 5m after its reboot: no answer on port 22",
                "look at its console and power; its disk was written and read back whole");
    } else if (i == 11) {
        live(fake, i, start, STATE_COMMIT);
        fail_in(
            fake, i, STATE_COMMIT, DAMAGE_INCOMPLETE,
            "the disk reports I/O errors: 3 of 16384 blocks could not be written (sector 1843200)",
            "keep it powered, exchange nothing, and say fleetflash --resume");
    } else if (i == 13) {
        live(fake, i, start, STATE_PROBE);
        fail_in(fake, i, STATE_PROBE, DAMAGE_NONE, "10.0.0.24 port 22: no route to host",
                "is it switched on and on this network?");
        fake->targets[i].facts = (struct target_facts){.known = false};
    } else if (i == 14) {
        live(fake, i, start, STATE_PROBE);
        target->started = true;
        target->outcome = OUTCOME_SKIPPED;
        error_set(&target->error, ERROR_VETO, "a test is running on it: <nightly & friends>");
    } else if (i >= 18) {
        target->outcome = OUTCOME_NOT_STARTED;
        error_set(&target->error, ERROR_CANCELLED, "the rollout was halted before its turn came");
    } else if (i == 5) {
        live(fake, i, start, STATE_TRANSFER);
        target->started = true;
        target->outcome = OUTCOME_UNCHANGED;
        target->mode = MODE_UNCHANGED;
    } else {
        uint64_t ended;
        live(fake, i, start, STATE_REACHABILITY);
        ended = target->ended_ms;
        fake_flashed(fake, i);
        target->started_ms = FAKE_STARTED + start;
        target->ended_ms = ended;
    }
}

struct fake *fake_rollout(void)
{
    struct fake *fake = fake_new(24);
    fake_image(fake);
    for (size_t i = 0; i < 24; i++)
        roll_out_one(fake, i);
    fake->run.wave_count = 3;
    fake->run.halted = "in wave 2 4 devices failed (4 lost), 1 is allowed";
    fake_ended(fake, 372250, 3);
    return fake;
}

int fake_file(void)
{
    return memfd_create("report", MFD_CLOEXEC);
}

char *fake_read(int fd)
{
    size_t size = 0, room = 65536;
    char *text = malloc(room);
    lseek(fd, 0, SEEK_SET);
    for (ssize_t got = 1; text != NULL && got > 0; size += (size_t)(got > 0 ? got : 0)) {
        if (room - size < 4096)
            text = realloc(text, room *= 2);
        got = text != NULL ? read(fd, text + size, room - size - 1) : 0;
    }
    if (text == NULL)
        abort();
    text[size] = '\0';
    return text;
}

struct fake *fake_unknown_disk(void)
{
    struct fake *fake = fake_new(2);
    fake_image(fake);
    fake_facts(fake, 0);
    fake_flashed(fake, 0);
    fake_flashed(fake, 1);
    fake->targets[1].facts = (struct target_facts){.known = true, .disk = "mmc 0"};
    fake_ended(fake, 1000, 0);
    return fake;
}
