/* SPDX-License-Identifier: Apache-2.0 */
/* A boot loader in front of the image: the disk's table says whether it is safe there, its files
 * whether it is one. */
#include "loader.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1024u * 1024u)

/* --- the table ------------------------------------------------------------------------------- */

struct entry {
    uint32_t start, size; /* sectors */
};

/* The image's second MiB goes to the disk's 20th. */
static const struct manifest manifest = {.image_size = 8 * MIB,
                                         .block_size = 128 * 1024,
                                         .block_count = 64,
                                         .first_block = 8,
                                         .shift = 19 * MIB};

static int check_on(const struct manifest *m, const struct entry entries[4], const char *spoil,
                    uint32_t sector, char *why)
{
    _Alignas(4096) static uint8_t content[4096], scratch[DISK_ALIGN];
    struct disk disk = {.align = 1, .logical_sector = sector, .path = "disk"};
    struct fail fail = {0};
    memset(content, 0, sizeof content);
    content[510] = 0x55;
    content[511] = 0xaa;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t *entry = content + 446 + 16 * i;
        entry[4] = entries[i].size != 0 ? 0x83 : 0;
        for (unsigned k = 0; k < 4; k++) {
            entry[8 + k] = (uint8_t)(entries[i].start >> 8 * k);
            entry[12 + k] = (uint8_t)(entries[i].size >> 8 * k);
        }
    }
    if (spoil != NULL)
        memcpy(content + (spoil[0] == 'E' ? 512 : 510), spoil, strlen(spoil));
    disk.fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(write(disk.fd, content, sizeof content), sizeof content);
    int status = loader_check(&disk, m, scratch, &fail);
    close(disk.fd);
    snprintf(why, 200, "%.199s", fail.text);
    assert_true(status == 0 || (fail.code == FAILCODE_DISK && fail.remedy[0] != '\0'));
    return status;
}

static void only_what_is_behind_the_loader_may_be_written(void **state)
{
    (void)state;
    const uint32_t mib = MIB / 512;
    static const struct {
        struct entry entries[4];
        const char *spoil, *why;
        uint32_t sector;
    } cases[] = {
#define S (MIB / 512)
        {{{4 * S, 16 * S}, {20 * S, 8 * S}, {28 * S, 9 * S}}, NULL, NULL, 512},
        {{{4 * S, 15 * S}, {20 * S, 8 * S}}, NULL, NULL, 512}, /* with a gap */
        {{{4 * S, 16 * S}, {20 * S, 8 * S}, {28 * S, 9 * S}}, NULL, "512 bytes", 4096},
        {{{4 * S, 16 * S}, {20 * S, 8 * S}}, "EFI PART", "no MBR", 512},
        {{{4 * S, 16 * S}, {20 * S, 8 * S}}, "no", "no MBR", 512},
        {{{0, 0}, {20 * S, 8 * S}}, NULL, "first partition is not", 512},
        {{{0, 16 * S}, {20 * S, 8 * S}}, NULL, "first partition is not", 512},
        {{{4 * S, 16 * S + 1}, {20 * S, 8 * S}}, NULL, "first partition is not", 512},
        {{{30 * S, 4 * S}, {20 * S, 8 * S}}, NULL, "first partition is not", 512},
        {{{4 * S, 16 * S}, {0, 0}}, NULL, "second partition does not", 512},
        {{{4 * S, 16 * S}, {20 * S + 1, 8 * S}}, NULL, "second partition does not", 512},
        {{{4 * S, 10 * S}, {20 * S, 8 * S}, {0, 0}, {15 * S, S}}, NULL, "another partition", 512},
#undef S
    };
    char why[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = check_on(&manifest, cases[i].entries, cases[i].spoil, cases[i].sector, why);
        if ((status == 0) != (cases[i].why == NULL) ||
            (cases[i].why != NULL && strstr(why, cases[i].why) == NULL))
            fail_msg("case %zu: %d: %s", i, status, why);
    }
    const struct entry far[4] = {{mib, mib}, {UINT32_MAX, UINT32_MAX}};
    assert_int_equal(check_on(&manifest, far, NULL, 512, why), -1); /* no sum wraps */
}

static void a_table_that_the_kernel_has_not_read(void **state)
{
    (void)state;
    const uint64_t size = 100 * (uint64_t)MIB;
    static const struct loader_entry known[4] = {
        {4 * MIB, 16 * MIB}, {20 * MIB, 8 * MIB}, {28 * MIB, 72 * MIB}, {0, 0}};
    uint8_t sector[512] = {0};
    const uint32_t table[4][2] = {{4, 16}, {20, 8}, {28, 90}, {0, 0}}; /* the third is too long */
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 0; k < 4; k++) {
            sector[446 + 16 * i + 8 + k] = (uint8_t)(table[i][0] * (MIB / 512) >> 8 * k);
            sector[446 + 16 * i + 12 + k] = (uint8_t)(table[i][1] * (MIB / 512) >> 8 * k);
        }
    assert_true(loader_is_known(sector, known, size));
    for (unsigned at = 446; at < 510; at++) { /* any byte of a place or size, but those cut off */
        unsigned in = (at - 446) % 16, entry = (at - 446) / 16;
        bool counts = in >= (entry == 3 ? 12 : 8) && !(entry == 2 && in >= 12);
        sector[at] ^= 0x40;
        if (loader_is_known(sector, known, size) == counts)
            fail_msg("byte %u: not as it should be", at);
        sector[at] ^= 0x40;
    }
    sector[446 + 16 + 12] = 2; /* an extended one: the kernel knows two sectors of it */
    assert_false(loader_is_known(sector, known, size));
    sector[446 + 16 + 4] = 0x0f;
    assert_true(loader_is_known(sector, known, size));
}

/* --- its files ------------------------------------------------------------------------------- */

static char folder[] = "/tmp/fleetflash-loader-XXXXXX";

/* Opens a FAT file system of this width and size with many files and then this one; what is done
 * to it afterwards, "" for nothing. */
static int fat_with(unsigned bits, const char *size, const char *file, const char *after)
{
    char command[600], path[100];
    snprintf(path, sizeof path, "%s/fat", folder);
    snprintf(command, sizeof command,
             "cd %s && rm -f fat overlay-* && truncate -s %s fat && "
             "mkfs.vfat -F %u -s 1 fat >/dev/null 2>&1 && "
             "for i in $(seq 60); do touch overlay-$i.dtbo; done && touch '%s' && "
             "mcopy -i fat overlay-*.dtbo '%s' :: && true %s",
             folder, size, bits, file, file, after);
    assert_int_equal(system(command), 0);
    return open(path, O_RDWR | O_CLOEXEC);
}

static void look_for(int fd, const char *found)
{
    char name[LOADER_NAME_MAX];
    loader_find(fd, name);
    close(fd);
    assert_string_equal(name, found);
}

static void a_loader_is_known_by_its_files(void **state)
{
    (void)state;
    if (system("command -v mkfs.vfat mcopy >/dev/null") != 0)
        skip();
    static const struct {
        const char *file, *found;
    } files[] = {{"boot.scr", "boot.scr"},
                 {"u-boot.bin", "u-boot.bin"},
                 {"uboot.env", "uboot.env"},
                 {"u-boot-dtb.img", "u-boot~1.img"},
                 {"kernel8.img", ""},
                 {"bootcode.bin", ""},
                 {"boot.scr.uimg", "bootsc~1.uim"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        look_for(fat_with(12, "1M", files[i].file, ""), files[i].found);
        look_for(fat_with(16, "16M", files[i].file, ""), files[i].found);
        /* a chain of many clusters */
        look_for(fat_with(32, "40M", files[i].file, ""), files[i].found);
    }
}

static void what_is_deleted_is_not_there(void **state)
{
    (void)state;
    if (system("command -v mkfs.vfat mcopy >/dev/null") != 0)
        skip();
    look_for(fat_with(16, "16M", "u-boot.bin", "&& mdel -i fat ::u-boot.bin"), "");
    int fd = fat_with(12, "1M", "u-boot.bin", "");
    uint8_t b[512];
    assert_int_equal(pread(fd, b, sizeof b, 0), sizeof b);
    off_t root = (b[14] + b[16] * b[22]) * 512;
    assert_int_equal(pwrite(fd, "", 1, root), 1); /* the directory ends with its first entry */
    look_for(fd, "");
}

static void what_is_no_fat_has_none(void **state)
{
    (void)state;
    uint8_t noise[4096];
    char name[LOADER_NAME_MAX];
    for (unsigned seed = 0; seed < 200; seed++) {
        srand(seed);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)rand();
        noise[510] = 0x55;
        noise[511] = 0xaa;
        noise[11] = 0; /* 512 bytes a sector, so that it goes on */
        noise[12] = 2;
        int fd = memfd_create("noise", MFD_CLOEXEC);
        assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
        loader_find(fd, name);
        close(fd);
        assert_string_equal(name, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_behind_the_loader_may_be_written),
        cmocka_unit_test(a_table_that_the_kernel_has_not_read),
        cmocka_unit_test(a_loader_is_known_by_its_files),
        cmocka_unit_test(what_is_deleted_is_not_there),
        cmocka_unit_test(what_is_no_fat_has_none),
    };
    char command[100];
    if (mkdtemp(folder) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? failed : 1;
}
