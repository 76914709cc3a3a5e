/* SPDX-License-Identifier: Apache-2.0 */
/* What another program, xmllint, reads in a report. */
#ifndef REPORT_LINT_H
#define REPORT_LINT_H

/* Fails the test when text is not well-formed XML, or (schema not NULL, a file) not valid. */
void lint(const char *text, const char *schema);

/* The number that an XPath expression gives; namespaces are not looked at. */
double lint_number(const char *text, const char *xpath);
void lint_assert_number(const char *text, const char *xpath, double expected);

/* Control characters, broken UTF-8, markup, and all else that a device could say to get out of an
 * element or an attribute. */
const char *lint_hostile(void);

#endif
