/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#ifdef SLUICE_FAULTS
#include <stdlib.h>
#include <string.h>

bool fault_is_on(const char *name)
{
    const char *list = getenv("SLUICE_FAULT");
    size_t len = strlen(name);
    while (list != NULL && *list != '\0') {
        size_t item = strcspn(list, ",");
        if (item == len && memcmp(list, name, len) == 0) return true;
        list += item;
        list += *list == ',';
    }
    return false;
}
#else
typedef int fault_is_compiled_out; /* a file must not be empty */
#endif
