/* SPDX-License-Identifier: Apache-2.0 */
#include "target/agent_files.h"

#include "base/place.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { ARCH_COUNT = 4 };

static const char *const arch_names[ARCH_COUNT] = {"x86_64", "aarch64", "armhf", "armel"};

/* Which agents a kernel's machine may run, best first: a 64-bit kernel may have a 32-bit userland
 * only, but static programs do not care. An armv6 processor cannot run Debian's armhf (ARMv7). */
static const struct {
    const char *machine;
    const char *arch;
} machines[] = {
    {"x86_64", "x86_64"}, {"aarch64", "aarch64"}, {"armv8l", "armhf"},    {"armv7l", "armhf"},
    {"armv7", "armhf"},   {"armv6l", "armel"},    {"armv5tejl", "armel"}, {"armv5tel", "armel"},
};

struct agent_files {
    struct agent_file files[ARCH_COUNT];
};

static struct buffer *file_read(const char *path)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL)
        return NULL;
    struct buffer *content = NULL;
    long size = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
    if (size > 0 && fseek(stream, 0, SEEK_SET) == 0)
        content = buffer_new((size_t)size);
    if (content != NULL && fread(content->data, 1, content->size, stream) != content->size) {
        buffer_unref(content);
        content = NULL;
    }
    fclose(stream);
    return content;
}

/* A gzip file ends with CRC and size of what is in it (RFC 1952, 2.3.1). One that was left over
 * from another build must not be sent. */
static bool is_packed_form(const struct buffer *packed, const struct buffer *content)
{
    uint32_t end[2];
    if (packed->size <= sizeof end || packed->size >= content->size)
        return false;
    memcpy(end, packed->data + packed->size - sizeof end, sizeof end);
    return le32toh(end[0]) == crc32(0, content->data, (uInt)content->size) &&
           le32toh(end[1]) == (uint32_t)content->size;
}

static void file_load_packed(struct agent_file *file, const char *path)
{
    char packed_path[4100];
    snprintf(packed_path, sizeof packed_path, "%s.gz", path);
    file->packed = file_read(packed_path);
    if (file->packed == NULL || is_packed_form(file->packed, file->content))
        return;
    buffer_unref(file->packed);
    file->packed = NULL;
}

static unsigned files_load_from(struct agent_files *files, const char *directory)
{
    unsigned found = 0;
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/fleetflash-agent-%s", directory, arch_names[i]);
        struct agent_file *file = &files->files[i];
        file->arch = arch_names[i];
        file->content = file_read(path);
        if (file->content == NULL)
            continue;
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, file->content->data, file->content->size);
        sodium_bin2hex(file->sha256, sizeof file->sha256, hash, sizeof hash);
        file_load_packed(file, path);
        found++;
    }
    return found;
}

struct agent_files *agent_files_load(struct error *err)
{
    struct agent_files *files = calloc(1, sizeof *files);
    if (files == NULL) {
        error_set(err, ERROR_IO, "out of memory");
        return NULL;
    }
    const char *chosen = getenv("FLEETFLASH_AGENT_PATH");
    char *folder = chosen != NULL
                       ? strdup(chosen)
                       : place_find(AGENT_BUILD_TREE, "bin/agents", AGENT_RELATIVE_FOLDER);
    bool found = folder != NULL && files_load_from(files, folder) > 0;
    if (!found)
        error_set(err, ERROR_USAGE, "there are no agents in %s", folder != NULL ? folder : "");
    free(folder);
    if (found)
        return files;
    free(files);
    error_remedy(err, "install fleetflash whole, or name the folder in FLEETFLASH_AGENT_PATH");
    return NULL;
}

void agent_files_free(struct agent_files *files)
{
    if (files == NULL)
        return;
    for (size_t i = 0; i < ARCH_COUNT; i++) {
        buffer_unref(files->files[i].content);
        buffer_unref(files->files[i].packed);
    }
    free(files);
}

const struct agent_file *agent_files_find(const struct agent_files *files, const char *machine)
{
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        if (strcmp(machines[i].machine, machine) != 0)
            continue;
        for (size_t k = 0; k < ARCH_COUNT; k++) {
            const struct agent_file *file = &files->files[k];
            if (file->content != NULL && strcmp(file->arch, machines[i].arch) == 0)
                return file;
        }
    }
    return NULL;
}
