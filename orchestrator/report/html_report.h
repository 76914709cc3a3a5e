/* SPDX-License-Identifier: Apache-2.0 */
/* --report FILE.html: the run as one page for people. It fetches nothing and runs nothing. */
#ifndef REPORT_HTML_REPORT_H
#define REPORT_HTML_REPORT_H

#include "run/run.h"

/* For the caller to free; NULL when memory is short. */
char *html_report_text(const struct run_view *run);

#endif
