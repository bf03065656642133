/* SPDX-License-Identifier: Apache-2.0 */
/* dm_mover.h - takes a source of DM down and puts it up again: core/dm_move's orders, carried out. On the source's loop. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "consumer/consumer.h"
#include "core/attr.h"
#include "core/dm_move.h"

struct dm_mover; /* opaque */

/* A task with its file, to be started from. */
struct dm_mover_task {
    const char *name;
    const char *text;
};

/* What is to be done. All of it stays the caller's, and is used until |done|. */
struct dm_mover_job {
    bool is_up;
    struct dm_move_plan *plan; /* down: S, W and V are kept in it as they are seen; up: the worker */
    struct dm_move_address at, other;
    const char *source_text; /* up: the file for |at| */
    const struct dm_mover_task *tasks;
    size_t task_count;
    uint32_t timeout_ms; /* in all */
    /* An order is about to be given: |act| is its name, |text| what it is. */
    void (*step)(void *arg, const char *act, const char *text);
    /*
     * How it ended, once: 0; SLUICE_ERR_TIMEOUT; SLUICE_ERR_REFUSED (DM refused one order three times, or core/dm_move said FAIL);
     * SLUICE_ERR_CANCELED; SLUICE_ERR_NOMEM. |text|: which order, and DM's words. Never from inside dm_mover_start().
     */
    void (*done)(void *arg, int status, const char *text);
    void *arg;
};

/* dm_mover_new - 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_mover_new(const struct consumer_dm_settings *settings, struct dm_mover **out);
/* dm_mover_start - one job at a time. */
void dm_mover_start(struct dm_mover *m, const struct dm_mover_job *job);
/* dm_mover_look - the status, once: what DM has of the source now. |fn| once, never from inside; |f| NULL on failure, with |text|. */
typedef void (*dm_mover_look_fn)(void *arg, int status, const char *text, const struct dm_facts *f);
void dm_mover_look(struct dm_mover *m, uint32_t timeout_ms, dm_mover_look_fn fn, void *arg);
/* dm_mover_pause_relay - pause a relay that was paused before. |done| as of a job. */
void dm_mover_pause_relay(struct dm_mover *m, uint32_t timeout_ms,
                          void (*done)(void *arg, int status, const char *text), void *arg);
/* dm_mover_close - a job under way ends with SLUICE_ERR_CANCELED, then |on_closed(arg)|, after which |m| is gone. */
void dm_mover_close(struct dm_mover *m, void (*on_closed)(void *arg), void *arg);
