/* SPDX-License-Identifier: Apache-2.0 */
/* hold.h - clients that were accepted and wait, in order of arrival, for release or expiry. No byte is sent, none is read. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "core/attr.h"

struct hold; /* one per source */

/* One waiting client: embedded in its owner, linked into the queue by pointers. Private but for |since_ms|. */
struct hold_client {
    struct hold_client *next, *prev;
    struct hold *hold; /* NULL while not held */
    uint64_t since_ms; /* uv_now() at its first wait; kept when it comes back */
};

/* |client| has waited for as long as it may; it is no longer in the queue. May call every hold_* function but hold_close(). */
typedef void (*hold_expiry_fn)(void *arg, struct hold_client *client, uint64_t waited_ms);

struct hold_config {
    uv_loop_t *loop;
    uint32_t timeout_ms;  /* 1..19,000; DM's own timers begin to fire at 20,000 (promise 5) */
    uint32_t clients_max; /* 1.. */
    hold_expiry_fn on_expiry;
    void *arg;
};

/* hold_new - an empty queue. Returns 0 and |*out|, or SLUICE_ERR_NOMEM. Call from: the loop's thread, as all functions here. */
SLUICE_MUSTCHECK int hold_new(const struct hold_config *config, struct hold **out);
/*
 * hold_admit - put |client| in the queue at the place its |since_ms| (set by the caller, not after uv_now()) gives it.
 *
 * |is_return|  it was in the queue before: the bound on their number does not apply, it was admitted once.
 * Returns 0, or SLUICE_ERR_HOLD_FULL with nothing changed. Expiry never comes from inside hold_admit(), also when it is due.
 */
SLUICE_MUSTCHECK int hold_admit(struct hold *hold, struct hold_client *client, bool is_return);
/* hold_remove - take |client| out: it hung up, or is released. Not being in the queue is nothing. */
void hold_remove(struct hold_client *client);
/* hold_first - who has waited longest; NULL when nobody waits. It stays in the queue. */
struct hold_client *hold_first(struct hold *hold);
/* hold_count - how many wait now. */
uint32_t hold_count(const struct hold *hold);
/* hold_close - the queue must be empty. |on_closed(arg)| comes in a later turn, when |hold|'s memory is released. */
void hold_close(struct hold *hold, void (*on_closed)(void *arg), void *arg);
