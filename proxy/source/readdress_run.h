/* SPDX-License-Identifier: Apache-2.0 */
/* readdress_run.h - what the files of an address change share. Not for others. All of it lives on the source's loop. */
#pragma once
#include "consumer/dm_mover.h"
#include "core/dm_move.h"
#include "core/readdress.h"
#include "source/digest.h"
#include "source/readdress.h"
#include "source/state.h"

/* An address that DM reads from, or is to read from, and the server behind it. */
struct readdress_side {
    struct readdress_run *run;
    struct config_address address;
    char *name;       /* "host:port", as it is told */
    bool is_listener; /* this source's own: the active backend is behind it */
    bool is_resolved;
    struct sockaddr_storage addr;
    char uuid[FACTS_UUID_LEN + 1]; /* of the server that answered first; "" before */
};

/* The user's files. They hold passwords: they are in memory as long as the run, and nowhere else. */
struct readdress_files {
    char *old_text, *new_text;
    char *user; /* DM's account on the servers */
    bool enable_gtid;
    struct dm_mover_task *tasks;
    size_t task_count;
    json_t *digests; /* {"source": SHA-256, "tasks": {NAME: SHA-256}} */
    char *bad_tasks; /* what is wrong with them, by name; "" */
};

enum readdress_reading_kind {
    READDRESS_READ_CHECK,
    READDRESS_READ_GATE,
    READDRESS_READ_NEW,
    READDRESS_READ_OLD,
    READDRESS_READ_LIST,
};

struct readdress_queued {
    struct readdress_event ev;
    char text[CUTOVER_TEXT_LEN + 1];
};

struct readdress_run {
    struct source *source;
    bool is_open;       /* being worked on: an order, or a dry run */
    bool is_unfinished; /* |record| is open in the journal, and a person must say how to go on */
    struct record_switch record;
    struct readdress machine;
    struct readdress_queued queue[8];
    size_t queue_count;
    bool is_stepping;
    uv_timer_t timer;
    struct dm_mover *mover; /* while open */
    struct readdress_files files;
    struct dm_move_plan plan;
    bool has_plan;
    struct readdress_side from, to;
    struct switch_options options;
    json_t *steps;
    uint64_t number, started_ms, started_unix_ms;
    bool has_tried_resume;
    struct source_call *call; /* of a dry run, and of an order until it has its number */
    bool is_dry;
    uint64_t dry_deadline_ms;
    bool is_back; /* of the resume that waits for its number */
    /* reading */
    struct gtid_set *delivered; /* D: as first read in this phase; from EMPTY on it is final */
    bool delivered_is_final;
    bool has_read_check; /* S stays as first read while a server catches up */
    bool new_replicates, old_replicates;
    struct facts new_facts, old_facts;
    struct gtids new_gtids, old_gtids;
    struct check_list checks, gate_checks;
};

/* readdress_order.c */
void readdress_files_free(struct readdress_files *f);
/* readdress_files_take - from the body of an order. |out_error| says what is wrong with which file, without quoting it. 0, SLUICE_ERR_SYNTAX, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int readdress_files_take(struct readdress_run *run, const json_t *body, struct text *out_error);
void readdress_side_free(struct readdress_side *side);
/* readdress_side_set - |text| is "host:port". 0, SLUICE_ERR_SYNTAX, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int readdress_side_set(struct readdress_run *run, struct readdress_side *side, const char *text);
/* readdress_command - how an unfinished one is gone on with: the exact command line, into |out|. */
void readdress_command(const struct readdress_run *run, struct text *out);
json_t *readdress_calls(const struct readdress_run *run); /* of a dry run; NULL when memory ran out */

/* readdress_read.c */
/* readdress_read - ask, judge, and tell: readdress_judged() or readdress_listed() with |op|. */
void readdress_read(struct readdress_run *run, enum readdress_reading_kind kind, uint32_t op);
void readdress_reading_free(struct readdress_run *run);

/* readdress.c */
void readdress_judged(struct readdress_run *run, uint32_t op, enum cutover_verdict verdict, int status,
                      const char *text);
void readdress_listed(struct readdress_run *run, uint32_t op, int status, uint32_t count, const char *text);
/* readdress_is_awaited - is the answer to |op| still of interest? */
bool readdress_is_awaited(const struct readdress_run *run, uint32_t op);
void readdress_run_empty(struct readdress_run *run); /* all but the record of an unfinished one */
/* readdress_begin - its number is on disk: go, or go on. */
void readdress_begin(struct readdress_run *run, uint64_t number);
SLUICE_MUSTCHECK int readdress_fill_record(struct readdress_run *run, const char *phase);

/* readdress_status.c */
#define READDRESS_PHASE_UNDOING "undoing"
/* readdress_reach_of - how far a recorded one came. */
enum readdress_reach readdress_reach_of(const struct record_switch *record);
json_t *readdress_checks(const struct readdress_run *run);
