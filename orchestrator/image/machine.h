/* SPDX-License-Identifier: Apache-2.0 */
/* For which machine is a program made? */
#ifndef IMAGE_MACHINE_H
#define IMAGE_MACHINE_H

#include "image/extfs.h"

/* Fills facts->machine from the image's shell or init: "x86_64", "aarch64", "riscv64", "i686", … .
 * On ARM "armv7" is said only where the program's build attributes ask for ARMv7 (Debian armhf);
 * "arm" is everything that an ARMv6 board can run too (armel, Raspberry Pi OS). */
void machine_find(struct extfs *fs, struct image_facts *facts);

/* The same of one ELF file, read through the file system. false: it is none. */
bool machine_of_file(struct extfs *fs, const char *path, char machine[16]);

#endif
