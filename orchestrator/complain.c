/* SPDX-License-Identifier: Apache-2.0 */
#include "complain.h"

#include "report/text.h"

#include <stdio.h>
#include <unistd.h>

int complain(const struct error *err)
{
    char text[TEXT_MAX], remedy[TEXT_MAX];
    bool utf8 = paint_for(STDERR_FILENO).utf8;
    text_clean(err->text, utf8, text, sizeof text); /* a command may have said it */
    text_clean(err->remedy, utf8, remedy, sizeof remedy);
    fprintf(stderr, "fleetflash: %s%s%s\n", text, remedy[0] != '\0' ? utf8 ? " — " : " - " : "",
            remedy);
    return err->cls == ERROR_BUSY ? EXIT_BUSY : EXIT_USAGE;
}
