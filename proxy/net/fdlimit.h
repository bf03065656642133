/* SPDX-License-Identifier: Apache-2.0 */
/* fdlimit.h - how many descriptors this process may have, and whether the configured sessions fit. */
#pragma once
#include <stdint.h>
#include "core/attr.h"
#include "core/text.h"

enum {
    FDLIMIT_RESERVE = 64,    /* logs, loops, journal, admin, probes of a small setup */
    FDLIMIT_PER_SOURCE = 16, /* listener, reserve, legs file, probes */
};

/* fdlimit_raise - RLIMIT_NOFILE to its hard limit; returns the limit in force. Call from: main, before threads. */
uint64_t fdlimit_raise(void);
/*
 * fdlimit_check - whether |limit| descriptors carry, over all sources, |sessions| sessions (two each) and |held| held clients
 * (one each) beside the reserves for |sources| sources.
 * Returns 0, or SLUICE_ERR_CONFIG and in |out_error| (may be NULL) what is needed, what there is and what to do.
 */
SLUICE_MUSTCHECK int fdlimit_check(uint64_t limit, uint64_t sources, uint64_t sessions, uint64_t held,
                                   struct text *out_error);
