/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids.h - the connection ids that the clients of one listener were told, so that a KILL never means another's thread. Pure.
 *
 * Ids count up on each server and start again when it does. A generation is a time in which they cannot have: it ends with an epoch,
 * and when a server ended a connection by itself. Every id ever handed out is remembered, as ranges: past IDS_RANGES_MAX of them
 * neighbours are joined, and some ids that were never handed out are then taken for stale, which is the safe side.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"

struct ids; /* opaque; one per listener */

enum {
    IDS_RANGES_MAX = 65536, /* 8 bytes each, in each of two lists */
};

/* What an id in a KILL is, when no live session has it. */
enum ids_fate {
    IDS_FOREIGN, /* was never handed out: the id of a thread that is not ours */
    IDS_CURRENT, /* handed out in this generation as the server gave it: its thread, or nobody's */
    IDS_STALE,   /* handed out in an earlier generation, or chosen by us: it must not reach a server */
};

/*
 * ids_new - nothing handed out yet.
 * |remaps_all|  choose an id for every session, from a range that no server reaches: for listeners where a KILL can pass unseen.
 * |seed|        where in that range it begins: drawn anew by each process, so that what one chose means nobody to the next.
 * Returns NULL when memory ran out.
 */
SLUICE_MUSTCHECK struct ids *ids_new(bool remaps_all, uint32_t seed);
void ids_del(struct ids *ids);
/*
 * ids_hand_out - what a client is told in place of |server_id|: the same, unless it was handed out in an earlier generation.
 * Returns 0 and |*out_id|, or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int ids_hand_out(struct ids *ids, uint32_t server_id, uint32_t *out_id);
/* ids_begin_generation - what was handed out up to now is stale, but for sessions that live. Out of memory is taken care of. */
void ids_begin_generation(struct ids *ids);
/* ids_remember - an earlier process handed it out. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int ids_remember(struct ids *ids, uint32_t id);
/* ids_judge - of an id that no live session has. */
enum ids_fate ids_judge(const struct ids *ids, uint64_t id);
/* ids_is_alias - chosen by us: from 3,221,225,472 up. A server would have to take three thousand million connections to reach it. */
bool ids_is_alias(uint32_t id);
