/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer.h - who reads the binlog and must be paused: one small asynchronous interface for all types.
 *
 *     status -> plan (journaled) -> pause(plan), which confirms -> status -> ... flip or undo ... -> resume(plan) ->
 * verified
 *
 * The plan is made before anything is paused and says exactly what would be: so resume() wakes only what pause() put to
 * sleep, also when another process does it after a crash (design, promise 4).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "config/config.h" /* enum config_consumer_type */
#include "core/attr.h"
#include "core/positions.h"
#include "upstream/connector.h"
#include "upstream/pool.h"

struct consumer; /* opaque; one per source, on its loop */
struct mailbox;

/* |status| 0 or SLUICE_ERR_*, |error| with the text; |found| is valid inside the call only, NULL on failure. On the
 * source's loop. */
typedef void (*consumer_status_fn)(void *arg, int status, const struct upstream_error *error,
                                   const struct consumer_status *found);
/* How a pause or a resume ended. On the source's loop. */
typedef void (*consumer_done_fn)(void *arg, int status, const struct upstream_error *error);

typedef void (*consumer_progress_fn)(void *arg, const char *text);

/* What a consumer of type dm needs. All is copied but |loop|. */
struct consumer_dm_settings {
    const char *source_id; /* as DM knows it */
    uv_loop_t *loop;       /* the source's */
    const struct config_address *masters;
    size_t master_count;
    const char *ssl_ca, *ssl_cert, *ssl_key; /* paths; |ssl_ca| NULL: no TLS */
};

struct consumer_settings {
    enum config_consumer_type type;
    struct upstream_target target; /* replica: the downstream server; only read */
    const char *channel;           /* replica: "" is the default channel; copied */
    struct upstream_pool *pool;
    struct mailbox *mailbox; /* of the source's loop */
    struct consumer_dm_settings dm;
};

/* consumer_new - 0 or SLUICE_ERR_NOMEM. All is copied but |pool| and |mailbox|. Call from: the source's loop, or before
 * it runs. */
SLUICE_MUSTCHECK int consumer_new(const struct consumer_settings *settings, struct consumer **out);
/*
 * consumer_close - cancel what is under way; each callback still comes, with SLUICE_ERR_CANCELED, then
 * |on_closed(arg)|, after which the consumer is gone. A pause that was cut may have been carried out: the journaled
 * plan undoes it.
 */
void consumer_close(struct consumer *c, void (*on_closed)(void *arg), void *arg);
/* consumer_set_target - the downstream's address was resolved anew; for calls from now on. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int consumer_set_target(struct consumer *c, const struct upstream_target *target);
/*
 * consumer_set_gtid_s - for type manual: the set that the operator gives for this switch (--gtid-s), NULL to forget it.
 * Returns 0, SLUICE_ERR_SYNTAX (no GTID set), SLUICE_ERR_INVALID (another type), SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int consumer_set_gtid_s(struct consumer *c, const char *gtid_s);
/*
 * consumer_set_has_delivered - for type manual: whether D is known and streams have made it, so that it may stand for a gtid-S that
 * is not given. For every status from now on; another type takes no notice.
 */
void consumer_set_has_delivered(struct consumer *c, bool has_delivered);

/* consumer_set_server - which server it reads from now on, by its uuid: a relay that reads again is known by it. 0 or
 * SLUICE_ERR_INVALID. */
SLUICE_MUSTCHECK int consumer_set_server(struct consumer *c, const char *server_uuid);
/*
 * consumer_set_delivered - for the next pause: D less what was accepted as lost, now that streams are parked; NULL where it is not
 * known or may still grow. A relay that has not all of it may have a part of a transaction, and is stopped, not paused (type dm).
 * Copied; where memory runs out it is as NULL, which is safe.
 */
void consumer_set_delivered(struct consumer *c, const struct gtid_set *delivered);

/* consumer_status - ask the consumer; |fn| is called exactly once, never from inside. One call of each kind may be
 * under way. */
void consumer_status(struct consumer *c, uint32_t timeout_ms, consumer_status_fn fn, void *arg);
/*
 * consumer_plan - what pause() would pause, as JSON text to be journaled; "{}"-like plans pause nothing. Pure.
 * Returns 0 and |*out_json| (mem_free()), SLUICE_ERR_REFUSED (|error| has status->refusal) or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int consumer_plan(const struct consumer *c, const struct consumer_status *status, char **out_json,
                                   struct upstream_error *error);
/*
 * consumer_plan_flip - |plan| with what the new server has at the flip, |executed|: to be journaled with the flip, so that another
 * process knows it too. Pure. Returns 0 and |*out_json| (mem_free()), SLUICE_ERR_INVALID (no plan) or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int consumer_plan_flip(const struct consumer *c, const char *plan, const char *executed,
                                        char **out_json, struct upstream_error *error);
/*
 * consumer_set_progress - |fn| is told what a pause or a resume that takes long waits for, when that changes, after two
 * seconds, then ever more rarely, every 30 s at last. On the source's loop, never from inside a call.
 */
void consumer_set_progress(struct consumer *c, consumer_progress_fn fn, void *arg);
/*
 * consumer_cancel - a pause or a resume that is under way orders nothing more and ends with SLUICE_ERR_CANCELED; an order that is
 * on its way may still be carried out.
 */
void consumer_cancel(struct consumer *c);
/*
 * consumer_narrow - |plan| without what is asleep already by |status|, which is newer: whoever put it to sleep meanwhile, it is not
 * ours to wake. Pure. Returns as consumer_plan().
 */
SLUICE_MUSTCHECK int consumer_narrow(const struct consumer *c, const char *plan, const struct consumer_status *status,
                                     char **out_json, struct upstream_error *error);
/*
 * consumer_pause - do what |plan| says and confirm by asking until all of it is quiet.
 * |fn|: 0; SLUICE_ERR_TIMEOUT (not quiet within |timeout_ms|: part of it may be paused; resume(plan) undoes it);
 * SLUICE_ERR_ACCESS_DENIED (the GRANT that is missing is named), and what upstream_pool_submit() and connector_query()
 * return.
 */
void consumer_pause(struct consumer *c, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg);
/*
 * consumer_resume - wake exactly what |plan| names. Idempotent, may be repeated, also by a new process. |fn| gets 0
 * once the order was accepted; whether it runs well is consumer_is_resumed()'s question.
 */
void consumer_resume(struct consumer *c, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg);
/*
 * consumer_is_resumed - judge a status read after resume(plan), and what the proxy saw itself. It remembers what it saw since the
 * last resume: a look does not tell whether something stays as it is. |*out_progresses|: not yet, and closer than ever before.
 * Returns 0 (all that the plan names runs, without error; |error| may have a text to be told), SLUICE_ERR_BUSY (still starting:
 * ask again), SLUICE_ERR_QUERY (an error of its own, in |error|), SLUICE_ERR_INVALID (no plan), SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int consumer_is_resumed(struct consumer *c, const char *plan, const struct consumer_status *status,
                                         const struct consumer_evidence *evidence, bool *out_progresses,
                                         struct upstream_error *error);
