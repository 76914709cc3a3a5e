/* SPDX-License-Identifier: Apache-2.0 */
/* Zeroing a range of a disk: by the kernel where it can, by writing where it cannot. */
#include "disk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB     (1024u * 1024u)
#define BEGIN   4096u
#define RANGE   (64u * MIB + 3 * 4096u + 100u) /* two steps, and a part of a sector */
#define SIZE    (66u * MIB)
#define SCRATCH (256u * 1024u)

/* Everything but the range keeps its bytes, and the range is zeros. */
static void zero_and_look(int fd, bool is_device)
{
    struct disk disk = {.fd = fd, .size = SIZE, .align = 512, .is_device = is_device};
    uint8_t *scratch = aligned_alloc(4096, SCRATCH);
    disk.sector = aligned_alloc(4096, 4096);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    uint8_t *content = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(content != MAP_FAILED);
    memset(content, 0x5a, SIZE);
    assert_int_equal(disk_zero(&disk, BEGIN, RANGE, scratch, SCRATCH), 0);
    assert_true(sodium_is_zero(content + BEGIN, RANGE));
    for (size_t i = 0; i < BEGIN; i++)
        assert_int_equal(content[i], 0x5a);
    for (size_t i = BEGIN + RANGE; i < SIZE; i++)
        if (content[i] != 0x5a)
            fail_msg("byte %zu has changed", i);
    munmap(content, SIZE);
    free(disk.sector);
    free(scratch);
}

static void kernel_cannot(void **state)
{
    (void)state;
    int fd = memfd_create("disk", MFD_CLOEXEC);
    assert_int_equal(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    zero_and_look(fd, false); /* neither this way */
    zero_and_look(fd, true);  /* nor by BLKZEROOUT */
    close(fd);
}

static void kernel_can(void **state)
{
    char path[] = "/var/tmp/fleetflash-zero-XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    bool can = ftruncate(fd, 4096) == 0 &&
               fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
    if (can)
        zero_and_look(fd, false);
    close(fd);
    if (!can)
        skip();
}

static void broken_disk_is_told(void **state)
{
    (void)state;
    uint8_t *scratch = aligned_alloc(4096, SCRATCH);
    struct disk disk = {.fd = open("/dev/full", O_RDWR | O_CLOEXEC), .size = SIZE, .align = 512};
    assert_int_equal(disk_zero(&disk, 0, MIB, scratch, SCRATCH), -1);
    assert_int_equal(errno, ENOSPC);
    close(disk.fd);
    free(scratch);
}

/* Errors that flock is to end with, one after the other; 0: it does what it does. */
static int flock_errors[64];
static unsigned flock_calls;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
    int error = operation == LOCK_UN || flock_calls >= 64 ? 0 : flock_errors[flock_calls++];
    errno = error;
    return error != 0 ? -1 : __real_flock(fd, operation);
}

/* What is wrong with a lock is said, not taken for another program. */
static void lock_that_fails(void **state)
{
    static const struct {
        int error;
        unsigned times; /* 64: always */
        int status;
        unsigned calls; /* at most */
        uint16_t code;
    } rows[] = {
        {ENOLCK, 2, 0, 3, 0},
        {EINTR, 1, 0, 2, 0},
        {ENOLCK, 64, -1, 64, FAILCODE_DISK},
        {ENOSYS, 64, -1, 1, FAILCODE_DISK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct disk disk = {.fd = memfd_create("disk", MFD_CLOEXEC), .path = "/dev/test"};
        struct fail fail = {0};
        for (unsigned k = 0; k < 64; k++)
            flock_errors[k] = k < rows[i].times ? rows[i].error : 0;
        flock_calls = 0;
        assert_int_equal(disk_lock(&disk, &fail), rows[i].status);
        assert_in_range(flock_calls, 1, rows[i].calls);
        assert_int_equal(fail.code, rows[i].code);
        if (fail.code == FAILCODE_DISK)
            assert_non_null(strstr(fail.text, strerror(rows[i].error)));
        memset(flock_errors, 0, sizeof flock_errors);
        disk_unlock(&disk);
        close(disk.fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_cannot),
        cmocka_unit_test(kernel_can),
        cmocka_unit_test(broken_disk_is_told),
        cmocka_unit_test(lock_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
