/* SPDX-License-Identifier: Apache-2.0 */
/* dm.h - what DM says of one source, as plain values, and what is to be ordered next. Pure: no JSON, no HTTP, no clock. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/positions.h"

struct gtid_set;

/* The words of DM's status (dmworker.proto, enum Stage and enum UnitType); a word that is none of them is UNKNOWN. */
enum dm_stage {
    DM_STAGE_INVALID,
    DM_STAGE_NEW,
    DM_STAGE_RUNNING,
    DM_STAGE_PAUSED,
    DM_STAGE_STOPPED,
    DM_STAGE_FINISHED,
    DM_STAGE_PAUSING,
    DM_STAGE_RESUMING,
    DM_STAGE_STOPPING,
    DM_STAGE_UNKNOWN
};
enum dm_unit {
    DM_UNIT_INVALID,
    DM_UNIT_CHECK,
    DM_UNIT_DUMP,
    DM_UNIT_LOAD,
    DM_UNIT_SYNC,
    DM_UNIT_RELAY,
    DM_UNIT_UNKNOWN
};

/* How a unit ended: null in the answer of one that runs, and of one whose worker was restarted while it was paused. */
struct dm_result {
    bool is_present;
    bool is_canceled; /* by an operator: nothing resumes it by itself */
    char *error;      /* the first one, "[code=36069] message: cause"; "" when none */
};

struct dm_validation {
    bool is_present;
    enum dm_stage stage;
    char *mode; /* "full", "fast", "none"; "" when not told */
    char *gtid; /* "" until its first checkpoint */
    struct dm_result result;
};

/* A subtask: one task's part on this source. */
struct dm_task {
    char *name;
    enum dm_stage stage;
    enum dm_unit unit;
    char *unit_text; /* DM's word */
    struct dm_result result;
    bool has_sync;      /* the fields below were in the answer */
    bool is_local;      /* reads the relay's files */
    char *syncer_gtid;  /* S: up to 30 s old while it runs */
    char *master_gtid;  /* E of the server that the worker asks; "" when it could not be asked */
    char *ddl_lock;     /* unresolvedDDLLockID, "" when none */
    char *blocking_ddl; /* the first one, "" when none */
    char *conflict;     /* conflictMsg */
    size_t unresolved;  /* groups of shards that wait for each other */
    struct dm_validation validation;
};

struct dm_relay {
    bool is_present; /* relayStatus was not null */
    enum dm_stage stage;
    struct dm_result result;
    char *sub_dir; /* "<server_uuid>.000001" */
    char *gtid;    /* W */
    bool is_caught_up;
};

/* A query-status of one source. */
struct dm_source {
    bool is_known; /* its worker answered and named its tasks; nothing below counts otherwise */
    bool is_idle;  /* not known because its worker answered and has no task of it */
    char *why;     /* DM's own words where it is not known; "" else */
    char *worker;
    struct dm_task *tasks;
    size_t task_count;
    struct dm_relay relay;
};

struct dm_lock {
    char *id;
    char *task;
};

/* All that a check wants to know beside the tasks. */
struct dm_facts {
    char *leader;        /* name and address, "" when there is none */
    char *members_error; /* why nothing is known of masters and workers; NULL when it is */
    unsigned masters, masters_alive;
    bool is_bound; /* a worker has this source */
    char *worker;  /* which */
    bool has_config;
    bool is_absent;     /* DM says that it has no such source */
    char *config_error; /* why there is none: "" or DM's words */
    bool enable_gtid, enable_relay;
    char *flavor;
    char *from_host; /* where DM reads from; "" when not told */
    unsigned from_port;
    char *from_user; /* the account it reads with; "" when not told */
    bool locks_are_known;
    struct dm_lock *locks;
    size_t lock_count;
    struct dm_source source;
};

void dm_source_free(struct dm_source *s);
void dm_facts_free(struct dm_facts *f);
/* dm_facts_new - empty ones, NULL when memory ran out. dm_facts_del(NULL) is nothing. */
struct dm_facts *dm_facts_new(void);
void dm_facts_del(struct dm_facts *f);

/* dm_stage_parse, dm_unit_parse - NULL and what is no such word are UNKNOWN. */
enum dm_stage dm_stage_parse(const char *word);
enum dm_unit dm_unit_parse(const char *word);
const char *dm_stage_name(enum dm_stage stage);

/*
 * dm_stage_of - a unit's stage in the words of consumers. Paused with no result (a worker was restarted) or by an operator is
 * quiet; Paused otherwise is resumed by DM at a moment of its own.
 */
enum consumer_stage dm_stage_of(enum dm_stage stage, const struct dm_result *result);

/* ---- the plan: what is paused, and so what is resumed ---- */

struct dm_plan_validator {
    char *task;
    char *mode;
};

struct dm_plan {
    char **tasks;
    bool *was_in_error; /* one a task: Paused by an error before anything was ordered; DM goes on trying by itself */
    size_t task_count;
    bool has_relay;     /* it was Running, or Paused by an error */
    char *relay_worker; /* where it was started by name; "" when it belongs to the source */
    struct dm_plan_validator *validators;
    size_t validator_count;
    char *
        goal; /* what the new server had at the flip; "" before it. A relay that was stopped starts once the tasks have it */
};

void dm_plan_free(struct dm_plan *p);
/*
 * dm_plan_make - all that runs, or that DM may resume by itself. 0 with |*out| (dm_plan_free()), SLUICE_ERR_NOMEM, or
 * SLUICE_ERR_REFUSED where |f->source| is not known.
 */
SLUICE_MUSTCHECK int dm_plan_make(const struct dm_facts *f, struct dm_plan *out);
/* dm_plan_narrow - take from |plan| what |now|, a later one, does not name: somebody put it to sleep meanwhile, and it stays so. */
void dm_plan_narrow(struct dm_plan *plan, const struct dm_plan *now);
/* dm_plan_has - does it name this task? */
bool dm_plan_has(const struct dm_plan *p, const char *task);

/*
 * dm_fill_status - |f| as the rest of the program judges it. |plan| NULL: nothing was paused by us. Otherwise a task of the plan
 * that is missing, or that shows no S, stands there as Unknown: what cannot be seen is not quiet.
 * |*out| must be empty. 0, or SLUICE_ERR_NOMEM with |*out| empty.
 */
SLUICE_MUSTCHECK int dm_fill_status(const struct dm_facts *f, const struct dm_plan *plan, struct consumer_status *out);

/* ---- what to do next, one order at a time; between two orders the status is read again ---- */

enum dm_act {
    DM_ACT_DONE,
    DM_ACT_WAIT, /* nothing to order: ask again */
    DM_ACT_PAUSE_RELAY,
    DM_ACT_STOP_RELAY,
    DM_ACT_STOP_VALIDATION,
    DM_ACT_PAUSE_TASK,
    DM_ACT_RESUME_RELAY,
    DM_ACT_START_RELAY,
    DM_ACT_RESUME_TASK,
    DM_ACT_START_VALIDATION,
};

enum { DM_TEXT_LEN = 400 };

struct dm_next {
    enum dm_act act;
    size_t index;               /* in the plan's tasks or validators */
    char text[DM_TEXT_LEN + 1]; /* what it is about or waits for */
};

/* By what a relay is told that may be paused from one that must be stopped. */
struct dm_pause {
    const struct gtid_set *delivered; /* D less accepted losses, which grows no more; NULL: not known */
    bool may_wait;                    /* a relay that runs gets time to read what was sent to it */
};

/*
 * dm_next_pause - what brings the source closer to what |plan| wants. A relay that may have a part of a transaction is stopped, not
 * paused: resumed on another server it would skip the rest (dm-facts, section 11).
 */
void dm_next_pause(const struct dm_plan *plan, const struct dm_source *s, const struct dm_pause *p,
                   struct dm_next *out);

/* Looks in a row that make a verdict, and those after which a task that was in error before is not waited for. */
enum { DM_STEADY_LOOKS = 5, DM_ERROR_LOOKS = 25 };

/* How far a resume has come: kept by the driver between two calls. */
struct dm_resume {
    const char *server_uuid; /* of the server that DM reads from now on; "" when not known */
    /*
     * Tasks that have it have passed what a relay was cut in: the relay may be started anew. Of the plan; in an undo, where no flip
     * fixed it, of the first status that tells what the server has. It must not be read twice: it would run away under writes.
     */
    struct gtid_set *goal;
    bool *tasks_ordered; /* one a task of the plan */
    bool *validators_ordered;
    bool relay_is_ordered;
    unsigned relay_looks; /* in a row at which the relay had passed the tasks */
};

/* dm_resume_init - 0 or SLUICE_ERR_NOMEM; the goal is of |plan|, NULL where it has none. |server_uuid| is borrowed. */
SLUICE_MUSTCHECK int dm_resume_init(struct dm_resume *r, const struct dm_plan *plan, const char *server_uuid);
void dm_resume_free(struct dm_resume *r);
/*
 * dm_next_resume - relay first, until it has passed S on the new server's sub directory; then the tasks; then a relay that was
 * stopped, once the tasks have passed what the server had; then the validators. The driver marks what was ordered in |r|.
 */
void dm_next_resume(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r, struct dm_next *out);

/* ---- verified: looked at from time to time after a resume ---- */

/* What earlier looks saw: zeros before the first one; dm_verify_free(). */
struct dm_verify {
    struct gtid_set **first_s; /* one a task of the plan: its S when it was first seen */
    size_t task_count;
    unsigned steady; /* looks in a row at which all was well */
    unsigned looks;  /* in all */
    bool has_lag;
    uint64_t lag_min; /* of the relay behind the tasks, the least so far: it progresses when this falls */
};

void dm_verify_free(struct dm_verify *v);
/*
 * dm_is_resumed - is all of the plan well? Running, and staying so; its stream seen; S moved on, or all that the server has;
 * with a relay, it runs in the server's sub directory and has passed the tasks. A task that was in error before the switch and
 * is not well after it is told, and waited for no longer than DM_ERROR_LOOKS. |out_text| of DM_TEXT_LEN + 1: what is not well yet, the
 * error and what to do, or what is to be told. |*out_progresses|: not yet, and it has come closer since the look before.
 * Returns 0, SLUICE_ERR_BUSY (not yet), SLUICE_ERR_QUERY (an error of its own), SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int dm_is_resumed(const struct dm_plan *plan, const struct dm_source *s, const char *server_uuid,
                                   const struct consumer_evidence *evidence, struct dm_verify *v, char *out_text,
                                   bool *out_progresses);
