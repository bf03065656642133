/* SPDX-License-Identifier: Apache-2.0 */
/* fault.h - promises that a test build can switch off (SLUICE_FAULT=name[,name…]), to see that the tests go red without them. */
#pragma once
#include <stdbool.h>

#ifdef SLUICE_FAULTS
/* fault_is_on - "skip-drain", "skip-gate", "flip-unrecorded". Any thread. */
bool fault_is_on(const char *name);
#else
static inline bool fault_is_on(const char *name)
{
    (void)name;
    return false;
}
#endif
