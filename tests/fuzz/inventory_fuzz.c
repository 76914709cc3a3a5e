/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are an inventory or a list of mistakes, never both, never neither. */
#include "inventory.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diagnostics mistakes = {0};
    struct inventory *inventory = inventory_parse("fuzz.yaml", (const char *)data, size, &mistakes);
    if ((inventory == NULL) != (mistakes.count > 0))
        abort();
    if (inventory != NULL) {
        char message[200];
        bool *selected = calloc(inventory->target_count + 1, sizeof *selected);
        if (selected != NULL && inventory_select(inventory, "*", selected, message,
                                                 sizeof message) != (int)inventory->target_count)
            abort();
        free(selected);
    }
    inventory_free(inventory);
    diagnostics_free(&mistakes);
    return 0;
}
