/* SPDX-License-Identifier: Apache-2.0 */
/* positions.h - the sets a consumer told, kept beyond the call that told them, in the shape that the gate takes. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/positions.h"
#include "sluice/gtid_gate.h"

struct positions {
    struct gtid_gate_set *readers; /* S of each task, W */
    size_t reader_count;
    bool *may_be_lost;                /* one a reader: a task that reads the server itself and does not run */
    struct gtid_gate_set *validators; /* V */
    size_t validator_count;
};

/* positions_take - replace |p| by copies of what |status| tells. 0, or SLUICE_ERR_NOMEM with |p| empty. */
SLUICE_MUSTCHECK int positions_take(struct positions *p, const struct consumer_status *status);
/*
 * positions_mark_lost - a reader that lacks what the old server has purged (|old_purged|, NULL: not known) cannot go on there
 * either: it is lost already. That the new one has purged it too is then told (GTID_GATE_UNKNOWN), and blocks nobody else.
 * |result| is of a gate whose readers are |p|'s.
 */
void positions_mark_lost(const struct positions *p, const struct gtid_set *old_purged, struct gtid_gate_result *result);
/* positions_free - empty |p|. */
void positions_free(struct positions *p);
