/* SPDX-License-Identifier: Apache-2.0 */
/* positions.h - what a consumer says of itself: its tasks with their S, its relay with W, its validator with V. Plain
 * values. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "core/attr.h"

struct dm_facts; /* core/dm.h */
struct gtid_set; /* sluice/gtid.h */

enum consumer_stage {
    CONSUMER_STAGE_RUNNING,
    CONSUMER_STAGE_PAUSED_BY_COMMAND, /* stays so until it is told otherwise */
    CONSUMER_STAGE_PAUSED_BY_ERROR,   /* may resume by itself at any moment: not quiet */
    CONSUMER_STAGE_STOPPED,
    CONSUMER_STAGE_FINISHED,
    CONSUMER_STAGE_IN_MOTION, /* pausing, resuming, connecting */
    CONSUMER_STAGE_UNKNOWN
};

struct consumer_task {
    char *name; /* DM: the task; replica: "channel ''" */
    enum consumer_stage stage;
    char *detail;       /* its own words: unit, error text; "" when nothing */
    struct gtid_set *s; /* gtid-S; NULL when it cannot be told */
    bool is_reading;    /* takes from the source, or tries to; replica: its IO thread is not off */
    bool is_applying;   /* replica: its SQL thread runs */
    bool blocks;        /* must not be switched in this state (DM: unit Load); |detail| says why */
};

/* A relay (W) or a validator (V). */
struct consumer_part {
    bool is_present;
    enum consumer_stage stage;
    char *detail;
    struct gtid_set *position; /* W or V; NULL when unknown */
};

struct consumer_status {
    struct consumer_task *tasks; /* NULL when none */
    size_t task_count;
    struct consumer_part relay;
    struct consumer_part validator;
    bool is_known;     /* false for consumer `none`: S is unknown, and that is no error */
    char *source_host; /* where the consumer reads from, as it says; NULL when it cannot be told */
    unsigned source_port;
    char *refusal;       /* why it cannot be paused, and what to do about it; NULL when it can */
    struct dm_facts *dm; /* all that DM said; NULL with any other consumer */
};

/* What the proxy itself saw of a consumer that was resumed. */
struct consumer_evidence {
    bool streams_are_visible; /* else nothing can be said of them: TLS passed through, compression */
    bool has_stream;          /* a binlog stream of this epoch, under the consumer's account where that is known */
    const struct gtid_set *executed; /* E of the active server as last probed; NULL: not known */
};

/* consumer_status_free - frees what it points to and empties |s|. Any thread. */
void consumer_status_free(struct consumer_status *s);
/* consumer_status_is_quiet - no task, relay or validator reads or may begin to read by itself. */
bool consumer_status_is_quiet(const struct consumer_status *s);
/* consumer_stage_is_quiet - it does not read, and does not begin to by itself. */
bool consumer_stage_is_quiet(enum consumer_stage stage);
/* consumer_stage_is_awake - it reads, or may begin to by itself: a pause is for it. */
bool consumer_stage_is_awake(enum consumer_stage stage);
/*
 * consumer_status_tell_awake - what is not quiet, for an operator: "task t1: Running". "" when all is. |room| of 300 is enough.
 */
void consumer_status_tell_awake(const struct consumer_status *s, char *out, size_t room);
/* consumer_stage_name - "Running", "Paused", "Paused (error)", "Stopped", "Finished", "InMotion", "Unknown". */
const char *consumer_stage_name(enum consumer_stage stage);
