/* SPDX-License-Identifier: Apache-2.0 */
/* positions.h - the sets a consumer told, kept beyond the call that told them, in the shape that the gate takes. */
#pragma once
#include <stddef.h>
#include "core/attr.h"
#include "core/positions.h"
#include "sluice/gtid_gate.h"

struct positions {
    struct gtid_gate_set *readers; /* S of each task, W */
    size_t reader_count;
    struct gtid_gate_set *validators; /* V */
    size_t validator_count;
};

/* positions_take - replace |p| by copies of what |status| tells. 0, or SLUICE_ERR_NOMEM with |p| empty. */
SLUICE_MUSTCHECK int positions_take(struct positions *p, const struct consumer_status *status);
/* positions_free - empty |p|. */
void positions_free(struct positions *p);
