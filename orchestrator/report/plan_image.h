/* SPDX-License-Identifier: Apache-2.0 */
/* The plan's paragraph on the image, and the form that all its paragraphs have. */
#ifndef REPORT_PLAN_IMAGE_H
#define REPORT_PLAN_IMAGE_H

#include "report/plan.h"

/* Prints what the image is, and warns when it cannot be seen how a device will be reached once it
 * runs it. */
void plan_image_print(const struct run_view *run, const struct paint *paint, FILE *out);

/* A paragraph's first line. */
void plan_title(FILE *out, const struct paint *paint, const char *text);

/* An indented item: label ("": none but its place, NULL: none) and text, broken at PLAN_WIDTH. */
void plan_item(FILE *out, const struct paint *paint, enum colour colour, const char *label,
               const char *text);

#endif
