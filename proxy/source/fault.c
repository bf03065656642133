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

void fault_pause_at(const char *phase)
{
    const char *spec = getenv("SLUICE_FAULT_PAUSE");
    size_t len = strlen(phase);
    char reached[300], go[300];
    if (spec == NULL || strncmp(spec, phase, len) != 0 || spec[len] != ':') return;
    snprintf(reached, sizeof reached, "%s.reached", spec + len + 1);
    snprintf(go, sizeof go, "%s.go", spec + len + 1);
    int fd = open(reached, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    while (access(go, F_OK) != 0)
        usleep(2000);
}
#else
typedef int fault_is_compiled_out; /* a file must not be empty */
#endif
