/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - probe threads of our own: run a function with an open connection to a server, answer through a mailbox. */
#pragma once
#include <stdint.h>
#include "core/attr.h"
#include "upstream/connector.h"

struct mailbox; /* base/mailbox.h */
struct upstream_pool;

enum upstream_lane {
    /* Probes. At most one call a backend (the key) at a time; a key whose last call timed out runs on threads apart. */
    UPSTREAM_LANE_ORDINARY,
    /* A switch's own queries, and the consumer's: waits for no probe of any backend; as many at once as asked for. */
    UPSTREAM_LANE_RESERVED
};

/*
 * What a job does, on a probe thread. |c| is open and logged in, NULL when the job has no target; the pool closes it.
 * Returns 0 or SLUICE_ERR_*, with |error| filled (its code is set by the pool). The deadline is the connector's;
 * connector_pause() to wait.
 */
typedef int (*upstream_run_fn)(void *arg, struct connector *c, struct upstream_error *error);
/* How a job ended: on the mailbox's loop, exactly once. |error->code| is |status|. |arg| is the submitter's again. */
typedef void (*upstream_done_fn)(void *arg, int status, const struct upstream_error *error);

struct upstream_job {
    const struct upstream_target *target; /* copied; NULL: |run| gets no connector */
    const char *key;                      /* names the backend across sources, for example its ip:port; copied */
    enum upstream_lane lane;
    uint32_t timeout_ms; /* > 0: the total from submission to |done|, waiting in the queue included */
    upstream_run_fn run; /* NULL: only connect */
    upstream_done_fn done;
    void *arg;               /* |run|'s until it has returned, then |done|'s */
    struct mailbox *mailbox; /* where |done| runs; must outlive the job */
};

/*
 * upstream_pool_new - start the pool. Threads are made as they are needed, up to a bound.
 *
 * |probe_threads| 1..256: how many probes run at once; as many again for slow backends.
 * Returns 0, SLUICE_ERR_NOMEM or SLUICE_ERR_IO. Call from: main, after connector_library_init().
 */
SLUICE_MUSTCHECK int upstream_pool_new(unsigned probe_threads, struct upstream_pool **out);
/*
 * upstream_pool_stop - end all: jobs that run are cancelled, those that wait never start, and each |done| is posted
 * with SLUICE_ERR_CANCELED before this returns. Blocks some milliseconds: nothing in a job outlives its cancel. Later
 * submissions fail.
 */
void upstream_pool_stop(struct upstream_pool *pool);
/* upstream_pool_del - after upstream_pool_stop(). NULL is nothing. */
void upstream_pool_del(struct upstream_pool *pool);

/*
 * upstream_pool_submit - queue a job; never blocks.
 *
 * |out_id| may be NULL; for upstream_pool_cancel(), never 0.
 * Returns 0 and |done| will be called exactly once, never from inside this call; or, and |done| will not be called:
 * SLUICE_ERR_NOMEM, SLUICE_ERR_BUSY (10,000 jobs wait), SLUICE_ERR_STOPPING.
 * Call from: any thread.
 */
SLUICE_MUSTCHECK int upstream_pool_submit(struct upstream_pool *pool, const struct upstream_job *job, uint64_t *out_id);
/*
 * upstream_pool_cancel - the job ends soon with SLUICE_ERR_CANCELED, unless it has ended already. |done| is called in
 * any case, later. An unknown id is nothing. Any thread.
 */
void upstream_pool_cancel(struct upstream_pool *pool, uint64_t id);

struct upstream_pool_counts {
    unsigned waiting; /* jobs not yet begun */
    unsigned running;
    unsigned threads;   /* alive, idle ones included */
    unsigned slow_keys; /* backends whose last job ran out of time */
    uint64_t timeouts_total;
    uint64_t jobs_total;
};
/* upstream_pool_read_counts - for metrics and tests. Any thread. */
void upstream_pool_read_counts(struct upstream_pool *pool, struct upstream_pool_counts *out);
