/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes are a table of boards or a list of mistakes; what is made of a table is an inventory
 * without mistakes. */
#include "import.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diagnostics mistakes = {0};
    char *yaml = import_text("fuzz.csv", (const char *)data, size, &mistakes);
    if ((yaml == NULL) != (mistakes.count > 0))
        abort();
    if (yaml != NULL) {
        struct inventory *inventory = inventory_parse("fuzz.yaml", yaml, strlen(yaml), &mistakes);
        if (inventory == NULL)
            abort();
        inventory_free(inventory);
    }
    free(yaml);
    diagnostics_free(&mistakes);
    return 0;
}
