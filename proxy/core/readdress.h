/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readdress.h - the decision of an address change: one event in, effects out. No I/O, no clock, no allocation.
 *
 *   IDLE -> CHECK -> [CATCHUP] -> RECORD -> PAUSE -> GATE -> NOTE_STOP -> STOP -> EMPTY -> GATE_AGAIN -> NOTE_START -> START
 *        -> NOTE_DONE -> RESUME -> VERIFY -> END
 *
 *   until START has succeeded every failure leads back:
 *        [ENDING ->] [UNDO_NOTE -> [UNDO_STOP -> UNDO_GATE ->] UNDO_START ->] UNDO_RESUME -> END
 *   what cannot be led back now is left as it is, with the journal open: REST. A person goes on from there.
 *
 * Up to STOP the source of DM stands at the old address, with its tasks paused at most; from STOP to START it stands nowhere. The point
 * of no return is the end of START, when all tasks run at the new address: what follows is tried until it succeeds.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/cutover.h" /* enum cutover_verdict, enum cutover_exit, CUTOVER_TEXT_LEN */

enum readdress_state {
    READDRESS_STATE_IDLE,
    READDRESS_STATE_CHECK,
    READDRESS_STATE_CATCHUP,    /* the new server is merely behind; nothing is touched yet */
    READDRESS_STATE_RECORD,     /* the plan is being written down */
    READDRESS_STATE_PAUSE,      /* tasks, relay and validators are being paused */
    READDRESS_STATE_GATE,       /* S, W, V, exact after the pause, against P and E */
    READDRESS_STATE_NOTE_STOP,  /* that tasks may be gone from now on is being written down, and S */
    READDRESS_STATE_STOP,       /* tasks, relay and source are being stopped */
    READDRESS_STATE_EMPTY,      /* the old server must show no thread of DM's account; then D is read */
    READDRESS_STATE_GATE_AGAIN, /* S and D in E, P last */
    READDRESS_STATE_NOTE_START, /* that the source may stand at the new address is being written down, and D */
    READDRESS_STATE_START,      /* source, tasks and validators are being started there */
    READDRESS_STATE_NOTE_DONE,  /* that they run is being written down */
    READDRESS_STATE_RESUME,     /* the relay */
    READDRESS_STATE_VERIFY,
    READDRESS_STATE_ENDING,     /* aborted while an order was on its way: it must end before it can be taken back */
    READDRESS_STATE_UNDO_NOTE,  /* that it leads back is being written down: after a crash it does so still */
    READDRESS_STATE_UNDO_STOP,  /* what stands at the new address is being stopped */
    READDRESS_STATE_UNDO_GATE,  /* what the tasks read there must be on the old server too */
    READDRESS_STATE_UNDO_START, /* source, tasks and validators are being started at the old address */
    READDRESS_STATE_UNDO_RESUME,
    READDRESS_STATE_END,  /* the outcome is being written down */
    READDRESS_STATE_REST, /* left as it is; passed through within a step */
    READDRESS_STATE_COUNT
};

enum readdress_event_type {
    READDRESS_EV_START,
    READDRESS_EV_RECOVER, /* of a recorded one: |reach| says how far it had come, |is_back| where to go */
    READDRESS_EV_TIME,
    READDRESS_EV_ABORT,
    READDRESS_EV_JUDGED,   /* answer to READ_CHECK, READ_GATE, READ_NEW, READ_OLD: |verdict| */
    READDRESS_EV_NOTED,    /* answer to RECORD and the NOTE_*: |status| */
    READDRESS_EV_PAUSED,   /* answer to PAUSE */
    READDRESS_EV_STOPPED,  /* answer to STOP_OLD, STOP_NEW */
    READDRESS_EV_LISTED,   /* answer to LIST_OLD: |status|; |count| threads are left */
    READDRESS_EV_STARTED,  /* answer to START_NEW, START_OLD */
    READDRESS_EV_RESUMED,  /* answer to RESUME */
    READDRESS_EV_VERIFIED, /* answer to VERIFY: 0, SLUICE_ERR_BUSY: not yet, others: unhealthy */
    READDRESS_EV_ENDED,    /* answer to END */
};

/* How far it came, and so what there is to be taken back. */
enum readdress_reach {
    READDRESS_REACH_NOTHING,
    READDRESS_REACH_PAUSED,   /* something may be paused */
    READDRESS_REACH_STOPPED,  /* something may be stopped at the old address */
    READDRESS_REACH_STARTING, /* something may stand at the new one */
    READDRESS_REACH_STARTED,  /* all tasks run there: nothing goes back */
};

struct readdress_event {
    enum readdress_event_type type;
    uint64_t now_ms;
    uint32_t op;
    enum cutover_verdict verdict;
    int status;
    uint32_t count;
    enum readdress_reach reach; /* RECOVER */
    bool is_back;               /* RECOVER */
    const char *text;           /* not kept; may be NULL */
};

enum readdress_effect_type {
    READDRESS_DO_READ_CHECK, /* DM, both servers, the files: every precondition; answer JUDGED */
    READDRESS_DO_RECORD,     /* answer NOTED */
    READDRESS_DO_PAUSE,      /* within pause-timeout; answer PAUSED */
    READDRESS_DO_READ_GATE,  /* DM again, then both servers' sets; answer JUDGED */
    READDRESS_DO_NOTE_STOP,  /* answer NOTED, as of the next two */
    READDRESS_DO_NOTE_START,
    READDRESS_DO_NOTE_DONE,
    READDRESS_DO_NOTE_UNDO,
    READDRESS_DO_STOP_OLD,  /* nothing of the source stands at the old address any more; answer STOPPED */
    READDRESS_DO_STOP_NEW,  /* nothing at the new one; answer STOPPED */
    READDRESS_DO_LIST_OLD,  /* threads of DM's account on the old server; with none left: D; answer LISTED */
    READDRESS_DO_READ_NEW,  /* E and, last, P of the new server against S, W, V, D; answer JUDGED */
    READDRESS_DO_READ_OLD,  /* the same of the old server against S, W, V; answer JUDGED */
    READDRESS_DO_START_NEW, /* answer STARTED */
    READDRESS_DO_START_OLD, /* answer STARTED */
    READDRESS_DO_RESUME,    /* what was paused; the relay; answer RESUMED */
    READDRESS_DO_VERIFY,    /* answer VERIFIED */
    READDRESS_DO_END,       /* write the outcome down; answer ENDED */
    READDRESS_DO_REST, /* the record stays open, at |reach|: STOPPED, nothing stands anywhere; else on its way back; no answer */
    READDRESS_DO_REPORT, /* |from|, |to|, |text|; no answer */
};

enum { READDRESS_EFFECTS_MAX = 6 };

struct readdress_effect {
    enum readdress_effect_type type;
    uint32_t op;
    enum readdress_state from, to;
    char text[CUTOVER_TEXT_LEN + 1];
};

struct readdress_effects {
    struct readdress_effect items[READDRESS_EFFECTS_MAX];
    size_t count;
};

struct readdress_limits {
    uint32_t catchup_timeout_ms;
    uint32_t empty_timeout_ms; /* what DM's connections get to leave the old server: pause-timeout */
    uint32_t verify_timeout_ms;
};

struct readdress {
    enum readdress_state state; /* written by readdress_move() alone */
    uint64_t now_ms;
    uint32_t op;
    bool is_asked;
    enum readdress_reach reach;
    struct readdress_limits limits;
    uint64_t deadline_ms; /* of the state; UINT64_MAX: none */
    uint64_t ask_at_ms;   /* UINT64_MAX: no question is due */
    uint32_t tries;
    enum cutover_exit exit; /* as the CLI's */
    int error;              /* of the first failure, 0 */
    char text[CUTOVER_TEXT_LEN + 1];
};

/* readdress_init - an idle one. */
void readdress_init(struct readdress *r, const struct readdress_limits *limits);
/* readdress_step - as cutover_step(). START and RECOVER are legal in IDLE only. */
void readdress_step(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects);
/* readdress_deadline_ms - when the next TIME event is due, UINT64_MAX when none is. */
uint64_t readdress_deadline_ms(const struct readdress *r);
/* readdress_can_abort - ABORT would lead back, or end a wait that does not succeed. */
bool readdress_can_abort(const struct readdress *r);
/* readdress_is_undoing - it is on its way back. */
bool readdress_is_undoing(const struct readdress *r);
/* readdress_state_name - lower case ("gate-again"). */
const char *readdress_state_name(enum readdress_state state);
/* readdress_edge_is_allowed - the table of edges, for tests. */
bool readdress_edge_is_allowed(enum readdress_state from, enum readdress_state to);
