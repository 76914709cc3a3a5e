/* SPDX-License-Identifier: Apache-2.0 */
#include "complain.h"

#include <stdio.h>

int complain(const struct error *err)
{
    fprintf(stderr, "fleetflash: %s%s%s\n", err->text, err->remedy[0] != '\0' ? " — " : "",
            err->remedy);
    return err->cls == ERROR_BUSY ? EXIT_BUSY : EXIT_USAGE;
}
