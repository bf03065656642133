/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - what is kept on disk, as plain values: a source, a pin, a switch. No handle, no I/O. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"

/*
 * Every char * is the record's own (mem_strdup); NULL is written as "" and read back as "". _free releases what the
 * record points to and leaves it empty; _copy makes a deep copy into |out|, which is untouched on SLUICE_ERR_NOMEM. Any
 * thread.
 */

/* What is known of a source. A put replaces all of it. */
struct record_source {
    char *source_id;     /* key; not empty */
    bool has_record;     /* |active| and |epoch| are known; false: only the fields after them are */
    char *active;        /* backend's name */
    uint64_t epoch;      /* 0..INT64_MAX; never falls */
    bool has_moved;      /* another server than the first has been active: file and position mean another place */
    bool is_held;        /* held by hand (`sluice hold`) */
    char *accepted_loss; /* GTID set that an operator accepted as lost; subtracted from S, W, V, D from then on */
    char *latch;         /* why nothing may pass until a person clears it; "" is no latch */
    char *latch_backend; /* the backend that the latch is about */
};

/* Which server a backend is. */
struct record_pin {
    char *source_id; /* key, with |backend| */
    char *backend;
    char *server_uuid;
    char *executed; /* gtid_executed as last seen there; it must never shrink */
    uint64_t updated_unix_ms;
};

enum record_switch_state {
    RECORD_SWITCH_OPEN = 0,   /* in progress: a restart finishes or undoes it */
    RECORD_SWITCH_DONE = 1,   /* flipped and consumer resumed */
    RECORD_SWITCH_UNDONE = 2, /* as before it */
    RECORD_SWITCH_FAILED = 3, /* a person must look */
};

/* A switch, from its first step to its place in the history. A put replaces all of it. */
struct record_switch {
    uint64_t number; /* key, 1..; given by journal_txn_switch_begin(), rising over all sources, never used twice */
    char *source_id;
    char *from;
    char *to;
    uint64_t epoch_from;
    uint64_t epoch_to; /* the epoch that the flip made or would make */
    enum record_switch_state state;
    char *phase;   /* the driver's word for the last step known to be done: "recorded", "paused", "flipped" … */
    char *plan;    /* JSON: what the consumer paused, in its own words */
    char *options; /* JSON: how the switch was asked for */
    uint64_t started_unix_ms;
    uint64_t ended_unix_ms; /* 0 while open */
    int exit_code;          /* 0..5, as the CLI's; meaningful once ended */
    char *msg;              /* what the operator was told at the end */
    char *report;           /* JSON: every check with its figures, every step with its time */
};

void record_source_free(struct record_source *r);
SLUICE_MUSTCHECK int record_source_copy(struct record_source *out, const struct record_source *r);
void record_pin_free(struct record_pin *r);
SLUICE_MUSTCHECK int record_pin_copy(struct record_pin *out, const struct record_pin *r);
void record_switch_free(struct record_switch *r);
SLUICE_MUSTCHECK int record_switch_copy(struct record_switch *out, const struct record_switch *r);

/* record_set - replace the text at |*field| by a copy of |value| (NULL: ""). Returns 0, or SLUICE_ERR_NOMEM with
 * |*field| as it was. */
SLUICE_MUSTCHECK int record_set(char **field, const char *value);
/* record_switch_state_name - "open", "done", "undone", "failed". */
const char *record_switch_state_name(enum record_switch_state state);
