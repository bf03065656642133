/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dm_move.h - a source of DM is taken down at one address and put up at another: what stood there, and what is to be ordered next.
 * Pure. As in core/dm the status is read again between two orders, so that an order whose answer was lost, a process that died and an
 * operator's own dmctl are all met by looking.
 *
 *     down:  validators stopped, tasks paused, then deleted; relay stopped; source stopped
 *     up:    source created; a relay that came with it stopped; tasks started, those that were paused paused again; validators
 *
 * The relay is started after that by core/dm's dm_next_resume(), once the tasks have passed what the server had: what it has on its
 * disk may end inside a transaction, and its reader would skip the rest of it (dm-facts, section 11).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"
#include "core/dm.h"

/* A subtask as it was. */
struct dm_move_task {
    char *name;
    bool was_paused;  /* by command, or stopped: started, then paused again, as DM can only start a task running */
    bool is_finished; /* it reads no more: taken away, and not started again */
    char *validator;  /* the mode of one that ran; "" when none did */
    char *gtid;       /* S when it was last seen quiet; "" while it was not */
};

struct dm_move_plan {
    struct dm_move_task *tasks;
    size_t task_count;
    bool has_relay, relay_was_paused;
    char *relay_worker;   /* where it was started by name; "" when it belongs to the source */
    char *worker;         /* which had the source: it is asked to take it again */
    char *relay_gtid;     /* W when it was last seen; "" */
    char *validator_gtid; /* V; "" */
};

void dm_move_plan_free(struct dm_move_plan *p);
/* dm_move_plan_make - 0 with |*out|, SLUICE_ERR_NOMEM, or SLUICE_ERR_REFUSED where |f->source| is not known. */
SLUICE_MUSTCHECK int dm_move_plan_make(const struct dm_facts *f, struct dm_move_plan *out);
/* dm_move_plan_find - NULL when there is none of this name. */
const struct dm_move_task *dm_move_plan_find(const struct dm_move_plan *p, const char *task);
/* dm_move_plan_take - S, W and V as |s| shows them now, where it shows some. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_move_plan_take(struct dm_move_plan *p, const struct dm_source *s);
/*
 * dm_move_plan_awake - what of it was awake, as core/dm pauses and resumes it; |with_paused_relay|: and a relay that was paused, as it can
 * only be started running. 0 or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int dm_move_plan_awake(const struct dm_move_plan *p, bool with_paused_relay, struct dm_plan *out);
/* dm_move_plan_set_worker - another worker has the source now. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_move_plan_set_worker(struct dm_move_plan *p, const char *worker);

enum dm_move_act {
    DM_MOVE_DONE,
    DM_MOVE_WAIT,
    DM_MOVE_FAIL, /* waiting cannot help: |text| says why */
    DM_MOVE_STOP_VALIDATION,
    DM_MOVE_PAUSE_TASK,
    DM_MOVE_STOP_TASK,
    DM_MOVE_STOP_RELAY,
    DM_MOVE_STOP_SOURCE,
    DM_MOVE_CREATE_SOURCE,
    DM_MOVE_START_TASK,
    DM_MOVE_START_VALIDATION,
    DM_MOVE_ACT_COUNT
};

struct dm_move_next {
    enum dm_move_act act;
    char task[129];             /* STOP_VALIDATION, PAUSE_TASK, STOP_TASK, START_TASK, START_VALIDATION */
    char text[DM_TEXT_LEN + 1]; /* what it is about or waits for */
};

/* Where a source stands or is to stand. */
struct dm_move_address {
    const char *host;
    unsigned port;
};

/*
 * dm_move_next_down - what brings the source closer to being gone from |at|. One that stands at |other| is gone from |at|; one that
 * stands anywhere else was moved by somebody: FAIL. So is a task that the plan does not know, as nobody could start it again.
 */
void dm_move_next_down(const struct dm_move_plan *p, const struct dm_facts *f, const struct dm_move_address *at,
                       const struct dm_move_address *other, struct dm_move_next *out);
/* dm_move_next_up - what brings it closer to running at |at| as it was. One that stands elsewhere: FAIL. */
void dm_move_next_up(const struct dm_move_plan *p, const struct dm_facts *f, const struct dm_move_address *at,
                     struct dm_move_next *out);
/* dm_move_address_is - does DM read from there? Names are compared without regard to case. */
bool dm_move_address_is(const struct dm_facts *f, const struct dm_move_address *at);
/* dm_move_act_name - "stop-task", "create-source" …, as steps and tests call it. */
const char *dm_move_act_name(enum dm_move_act act);
