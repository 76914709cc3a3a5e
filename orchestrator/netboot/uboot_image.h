/* SPDX-License-Identifier: Apache-2.0 */
/* A script in the form that U-Boot's `source` takes: what `mkimage -T script` makes (U-Boot's
 * include/image.h, "legacy" images). */
#ifndef NETBOOT_UBOOT_IMAGE_H
#define NETBOOT_UBOOT_IMAGE_H

#include "base/buffer.h"

/* Wraps a script; name (32 bytes of it) is what U-Boot prints. The same text gives the same bytes.
 * NULL when memory is short. */
struct buffer *uboot_image_script(const char *text, const char *name);

#endif
