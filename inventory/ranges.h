/* SPDX-License-Identifier: Apache-2.0 */
/* `pi-[02:24]` and `10.0.0.[12:34]`: texts that stand for many. */
#ifndef INVENTORY_RANGES_H
#define INVENTORY_RANGES_H

#include <stddef.h>
#include <stdint.h>

#define RANGES_MAX      4u    /* in one text */
#define RANGE_HOSTS_MAX 4096u /* that an inventory may have in all */

/* literal[0] range[0] literal[1] … range[count-1] literal[count]; points into the text it was made
 * of. */
struct range_pattern {
    unsigned count; /* of ranges; 0: plain text */
    struct {
        const char *text;
        size_t length;
    } literal[RANGES_MAX + 1];
    struct {
        uint32_t first, size;
        int width; /* of zero-padded numbers, else 0 */
    } range[RANGES_MAX];
    size_t total; /* texts it stands for; saturates far above RANGE_HOSTS_MAX */
};

/* Returns 0, or -1 and a sentence in why when the brackets make no sense. */
int range_parse(const char *text, struct range_pattern *out, char *why, size_t why_size);

/* Text number index (< total) into out, the last range runs fastest. Returns -1 when out is too
 * small. */
int range_expand(const struct range_pattern *pattern, size_t index, char *out, size_t out_size);

/* Whether value can be numbered along with names: it is plain, or stands for as many texts, range
 * by range or as a whole. */
int range_goes_along(const struct range_pattern *names, const struct range_pattern *value);

#endif
