/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#ifdef SLUICE_FAULTS
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void stand_still(const char *path, int len)
{
    char reached[300], go[300];
    snprintf(reached, sizeof reached, "%.*s.reached", len, path);
    snprintf(go, sizeof go, "%.*s.go", len, path);
    int fd = open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    while (access(go, F_OK) != 0)
        usleep(2000);
}

void fault_pause_at(const char *phase)
{
    const char *item = getenv("SLUICE_FAULT_PAUSE");
    size_t len = strlen(phase);
    while (item != NULL && *item != '\0') {
        size_t item_len = strcspn(item, ",");
        if (strncmp(item, phase, len) == 0 && item[len] == ':') stand_still(item + len + 1, (int)(item_len - len - 1));
        item += item_len;
        item += *item == ',';
    }
}
#else
typedef int fault_is_compiled_out; /* a file must not be empty */
#endif
