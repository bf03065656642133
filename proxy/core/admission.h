/* SPDX-License-Identifier: Apache-2.0 */
/* admission.h - what happens to new clients of a source: the one place that says when they may be routed. Pure. */
#pragma once
#include <stdbool.h>
#include "core/attr.h"
#include "core/cutover.h"

enum admission_mode { ADMISSION_ROUTE, ADMISSION_HOLD, ADMISSION_REFUSE };

struct admission_input {
    bool is_stopping;
    bool has_record;   /* which backend is active is known */
    bool is_held;      /* by hand */
    bool is_settled;   /* what a dead process left on the active backend has ended, and D begins (design, promise 2) */
    bool is_confirmed; /* a probe saw the pinned uuid of the active backend under the address that would be used */
    const struct cutover *cutover;
    const char *active; /* name; "" while unknown */
    const char *latch;  /* why the active backend is latched as rewound; "" when it is not */
    const char *
        waiting_for; /* why there is no record yet, or what the last probe of the active backend said; "" when nothing */
};

enum { ADMISSION_TEXT_LEN = 400 };

struct admission {
    enum admission_mode mode;
    int code;                          /* REFUSE: SLUICE_ERR_* */
    char text[ADMISSION_TEXT_LEN + 1]; /* HOLD: the phase that a client is told of; REFUSE: the message */
};

/* admission_decide - promise 1 (only a confirmed address), 2 (latches), 3 (no record, no routing). Any thread. */
void admission_decide(const struct admission_input *in, struct admission *out);
