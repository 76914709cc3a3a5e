/* SPDX-License-Identifier: Apache-2.0 */
#include "report_lint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void save(const char *text, char path[static 32])
{
    strcpy(path, "/tmp/report-lint-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

void lint(const char *text, const char *schema)
{
    char path[32], command[600];
    save(text, path);
    snprintf(command, sizeof command, "xmllint --nonet --noout%s%s %s 1>&2",
             schema != NULL ? " --schema " : "", schema != NULL ? schema : "", path);
    int status = system(command);
    unlink(path);
    assert_int_equal(status, 0);
}

double lint_number(const char *text, const char *xpath)
{
    char path[32], command[600], answer[64] = "";
    save(text, path);
    snprintf(command, sizeof command, "xmllint --nonet --xpath \"%s\" %s", xpath, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(answer, sizeof answer, pipe));
    assert_int_equal(pclose(pipe), 0);
    unlink(path);
    return strtod(answer, NULL);
}

void lint_assert_number(const char *text, const char *xpath, double expected)
{
    double number = lint_number(text, xpath);
    if (number != expected)
        fail_msg("%s is %g, not %g", xpath, number, expected);
}

const char *lint_hostile(void)
{
    static char text[400];
    size_t size = 0;
    for (int c = 1; c < 0x80; c++)
        text[size++] = (char)c;
    strcpy(text + size,
           "\xff\xc3 \xc2\x9b \xef\xbf\xbe \xef\xbf\xbf \xed\xa0\x80 \xe2\x80\xae "
           "</system-out></p></dd>]]><script>alert(1)</script><!-- &amp; ' onload=\" \xc3");
    return text;
}
