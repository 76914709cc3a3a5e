#include "facts.h"
#include <string.h>
char *facts_collect(const struct facts_config *c)
{
    (void)c;
    return strdup("{}");
}
