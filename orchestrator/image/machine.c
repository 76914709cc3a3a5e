/* SPDX-License-Identifier: Apache-2.0 */
#include "image/machine.h"

#include <elf.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#define ATTRIBUTES_MAX 512u
#define SECTIONS_MAX   128u

/* Tag_CPU_arch of "ELF for the Arm Architecture", addenda, §3.3.5. */
#define TAG_FILE       1u
#define TAG_CPU_RAW    4u
#define TAG_CPU_NAME   5u
#define TAG_CPU_ARCH   6u
#define CPU_ARCH_V7    10u
#define SHT_ATTRIBUTES 0x70000003u

static const struct {
    uint16_t machine;
    uint8_t class;
    const char *name;
} machines[] = {
    {EM_X86_64, ELFCLASS64, "x86_64"},
    {EM_AARCH64, ELFCLASS64, "aarch64"},
    {EM_386, ELFCLASS32, "i686"},
    {EM_ARM, ELFCLASS32, "arm"},
    {EM_RISCV, ELFCLASS64, "riscv64"},
    {EM_RISCV, ELFCLASS32, "riscv32"},
    {EM_PPC64, ELFCLASS64, "ppc64"},
    {EM_S390, ELFCLASS64, "s390x"},
    {EM_MIPS, ELFCLASS32, "mips"},
    {EM_MIPS, ELFCLASS64, "mips64"},
    {258 /* EM_LOONGARCH */, ELFCLASS64, "loongarch64"},
};

/* An unsigned LEB128 number; moves *pos behind it. */
static bool read_leb128(const uint8_t *bytes, size_t size, size_t *pos, uint32_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 28 && *pos < size; shift += 7) {
        uint8_t byte = bytes[(*pos)++];
        *value |= (uint32_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

/* Walks the tags of the file's own attributes up to the CPU architecture, which stands early. */
static uint32_t attributes_cpu(const uint8_t *bytes, size_t size)
{
    size_t pos = 1 + 4 + 6; /* 'A', length, "aeabi\0" */
    uint32_t tag, value;
    if (size < pos + 5 || bytes[0] != 'A' || memcmp(bytes + 5, "aeabi", 6) != 0 ||
        bytes[pos] != TAG_FILE)
        return 0;
    pos += 5;
    while (read_leb128(bytes, size, &pos, &tag)) {
        if (tag == TAG_CPU_RAW || tag == TAG_CPU_NAME) {
            while (pos < size && bytes[pos] != '\0')
                pos++;
            pos++;
            continue;
        }
        if (!read_leb128(bytes, size, &pos, &value))
            return 0;
        if (tag == TAG_CPU_ARCH)
            return value;
    }
    return 0;
}

/* The ARM architecture a program asks for (Tag_CPU_arch), 0: not said. */
static uint32_t arm_cpu(struct extfs *fs, const char *path, const Elf32_Ehdr *header)
{
    unsigned count = le16toh(header->e_shnum);
    for (unsigned i = 0; i < count && i < SECTIONS_MAX; i++) {
        Elf32_Shdr section;
        uint8_t attributes[ATTRIBUTES_MAX];
        uint64_t at = (uint64_t)le32toh(header->e_shoff) + (uint64_t)i * sizeof section;
        if (extfs_read(fs, path, at, &section, sizeof section) != (int)sizeof section)
            return 0;
        if (le32toh(section.sh_type) != SHT_ATTRIBUTES)
            continue;
        uint32_t size = le32toh(section.sh_size);
        if (size > sizeof attributes)
            size = sizeof attributes;
        int got = extfs_read(fs, path, le32toh(section.sh_offset), attributes, size);
        return got > 0 ? attributes_cpu(attributes, (size_t)got) : 0;
    }
    return 0;
}

bool machine_of_file(struct extfs *fs, const char *path, char machine[16])
{
    Elf32_Ehdr header; /* its first fields are those of the 64-bit one */
    if (extfs_read(fs, path, 0, &header, sizeof header) != (int)sizeof header ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return false;
    bool little = header.e_ident[EI_DATA] == ELFDATA2LSB;
    uint16_t number = little ? le16toh(header.e_machine) : be16toh(header.e_machine);
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        if (machines[i].machine != number || machines[i].class != header.e_ident[EI_CLASS])
            continue;
        strcpy(machine, machines[i].name);
        if (number == EM_PPC64 && little)
            strcpy(machine, "ppc64le");
        if (number == EM_ARM && little && arm_cpu(fs, path, &header) >= CPU_ARCH_V7)
            strcpy(machine, "armv7");
        return true;
    }
    return false;
}

void machine_find(struct extfs *fs, struct image_facts *facts)
{
    static const char *const programs[] = {"/bin/sh",
                                           "/usr/bin/sh",
                                           "/sbin/init",
                                           "/bin/busybox",
                                           "/usr/lib/systemd/systemd",
                                           "/lib/systemd/systemd"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (machine_of_file(fs, programs[i], facts->machine))
            return;
    }
}
