/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - the events of switches, kept in memory for those who subscribe late.
 *
 * A log holds the last events of one switch, each with a number from 0. A reader keeps the number of its next event and asks
 * for it, so a slow one costs nothing; what it missed because it was dropped is counted. Logs of open switches are kept
 * (there is one at most per source), of ended ones only the last few. No I/O.
 */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

struct admin_event_log {
    struct admin_event_log *next; /* private: in the order of opening */
    uint64_t switch_number;
    char **ring;        /* private: events as compact JSON, one line each; |room| places */
    uint32_t room;      /* private */
    uint64_t first_seq; /* the oldest that is kept */
    uint64_t end_seq;   /* one past the newest */
    bool is_ended;      /* the newest is of type "end" */
    bool is_forgotten;  /* private: freed with the last reference */
    uint32_t refs;      /* readers */
};

struct admin_events {
    struct admin_event_log *first; /* private */
    uint32_t events_max;           /* of one switch, 1.. */
    uint32_t switches_max;         /* ended ones, 1.. */
};

/* admin_events_init - an empty one. */
void admin_events_init(struct admin_events *events, uint32_t events_max, uint32_t switches_max);
/* admin_events_free - forget all logs; none may have readers. */
void admin_events_free(struct admin_events *events);
/* admin_events_find - the log of a switch, NULL when there is none. The caller has no reference. */
struct admin_event_log *admin_events_find(struct admin_events *events, uint64_t switch_number);
/* admin_events_open - find it or make an empty one; NULL when memory ran out. */
SLUICE_MUSTCHECK struct admin_event_log *admin_events_open(struct admin_events *events, uint64_t switch_number);
/*
 * admin_events_add - append |event| (the caller keeps its reference; NULL counts as lost) to the log of a switch.
 *
 * Returns 0 and |*out_log|; SLUICE_ERR_BUSY when that switch has ended, with nothing changed; or SLUICE_ERR_NOMEM: the event
 * is lost, which a reader sees as a gap, but an "end" still ends the log.
 */
SLUICE_MUSTCHECK int admin_events_add(struct admin_events *events, uint64_t switch_number, const json_t *event,
                                      struct admin_event_log **out_log);

/* admin_event_log_ref - one reader more: the log outlives its being forgotten. */
void admin_event_log_ref(struct admin_event_log *log);
void admin_event_log_unref(struct admin_event_log *log);
/*
 * admin_event_log_read - the event |*seq| as one line of JSON, NULL when there is none yet. Moves |*seq| on, over events that
 * were dropped too; |*out_lost| is the number of those. The text is the log's, until the next admin_events_add().
 */
const char *admin_event_log_read(const struct admin_event_log *log, uint64_t *seq, uint64_t *out_lost);
