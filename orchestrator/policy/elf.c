/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct object {
    int fd;
    uint64_t size; /* of the file */
    ElfW(Ehdr) header;
};

static int refuse(char *why, size_t why_size, const char *text)
{
    snprintf(why, why_size, "%s", text);
    return -1;
}

/* Opens and reads the header as far as there is one; 0, or -1 with errno. */
static int object_open(struct object *object, const char *file)
{
    struct stat st;
    memset(object, 0, sizeof *object);
    /* O_NONBLOCK: a fifo of that name must not hang the program. */
    object->fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (object->fd < 0)
        return -1;
    if (fstat(object->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        object->size = (uint64_t)st.st_size;
        if (pread(object->fd, &object->header, sizeof object->header, 0) >= 0)
            return 0;
    } else {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    }
    int error = errno;
    close(object->fd);
    errno = error;
    return -1;
}

/* Where the last byte that the loader will map must be; 0 when a program header cannot be read. */
static uint64_t object_extent(const struct object *object)
{
    uint64_t extent = sizeof object->header;
    for (unsigned i = 0; i < object->header.e_phnum; i++) {
        ElfW(Phdr) part;
        uint64_t at = object->header.e_phoff + (uint64_t)i * object->header.e_phentsize;
        if (pread(object->fd, &part, sizeof part, (off_t)at) != (ssize_t)sizeof part)
            return 0;
        uint64_t end = (uint64_t)part.p_offset + part.p_filesz;
        if (part.p_type == PT_LOAD && end > extent)
            extent = end;
    }
    return extent;
}

/* The machine of the running program is the one that a policy must be built for. */
static int same_machine(const struct object *object, char *why, size_t why_size)
{
    struct object self;
    const unsigned char *ident = object->header.e_ident;
    if (object_open(&self, "/proc/self/exe") != 0)
        return 0; /* no /proc: the loader will find out */
    close(self.fd);
    if (memcmp(ident + EI_CLASS, self.header.e_ident + EI_CLASS, 2) != 0 ||
        object->header.e_machine != self.header.e_machine) {
        snprintf(why, why_size, "it is built for another machine (ELF machine %u, here %u)",
                 object->header.e_machine, self.header.e_machine);
        return -1;
    }
    return 0;
}

static int object_check(const struct object *object, char *why, size_t why_size)
{
    if (memcmp(object->header.e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(why, why_size, "it is no ELF file");
    bool whole_header = object->size >= sizeof object->header;
    if (whole_header && same_machine(object, why, why_size) != 0)
        return -1;
    if (whole_header && object->header.e_type != ET_DYN)
        return refuse(why, why_size, "it is no shared object (link it with -shared)");
    uint64_t extent = whole_header ? object_extent(object) : 0;
    if (extent == 0 || object->size < extent) {
        snprintf(why, why_size, "it is cut short at %llu bytes", (unsigned long long)object->size);
        return -1;
    }
    return 0;
}

int policy_elf_check(const char *file, char *why, size_t why_size)
{
    struct object object;
    if (object_open(&object, file) != 0)
        return refuse(why, why_size, strerror(errno));
    int result = object_check(&object, why, why_size);
    close(object.fd);
    return result;
}
