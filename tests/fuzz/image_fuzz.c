/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds the looks into an image (tables, superblocks, the ext file system inside) with whatever
 * comes. The first byte chooses how many zero bytes follow the input, so that partitions may lie
 * inside the image.
 *
 *     cmake -DFLEETFLASH_FUZZ=ON -DCMAKE_C_COMPILER=clang … && bin/tests/image_fuzz
 * -max_total_time=60 corpus
 */
#include "image/facts.h"
#include "image/hostkeys.h"
#include "image/judge.h"

#include <stdlib.h>
#include <string.h>

struct input {
    const uint8_t *data;
    size_t size;
};

static int input_read(void *arg, uint64_t offset, void *out, size_t size)
{
    const struct input *input = arg;
    memset(out, 0, size);
    if (offset < input->size)
        memcpy(out, input->data + offset,
               size < input->size - offset ? size : input->size - offset);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_facts facts;
    struct error err;
    char fingerprint[64];
    if (size < 1)
        return 0;
    struct input input = {data + 1, size - 1};
    struct image_reader reader = {input_read, &input, input.size + ((uint64_t)data[0] << 20)};
    memset(&facts, 0, sizeof facts);
    image_facts_collect(&reader, "fuzz", &facts, &err);
    image_judge(input.data, input.size, "fuzz", "raw", &err);
    hostkeys_from_dropbear(input.data, input.size, fingerprint);
    return 0;
}
