/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the report of a made-up run, to look at: report_demo FILE… */
#include "report/report_file.h"
#include "report_fake.h"

#include <locale.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    struct fake *fake = fake_rollout();
    int result = 0;
    for (int i = 1; i < argc; i++) {
        struct error err;
        if (report_write(&fake->run, argv[i], &err) != 0) {
            fprintf(stderr, "report_demo: %s\n", err.text);
            result = 1;
        }
    }
    fake_free(fake);
    return result;
}
