/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cutover.h - the decision of a switch: one event in, effects out. No I/O, no clock, no allocation.
 *
 *   IDLE -> CHECK -> [CATCHUP] -> RECORD -> PARK -> PAUSE -> GATE -> SEE
 *        -> HOLD -> DRAIN -> [KILL] -> EMPTY -> GATE_AGAIN -> FLIP -> RELEASE -> RESUME -> VERIFY -> END
 *
 *   before FLIP every failure: UNDO_RELEASE -> UNDO_RESUME -> END
 *
 * Only HOLD .. RELEASE is seen by new clients. FLIP has no deadline: a write in flight may have landed, so only its
 * result moves the state. An unknown result (FLIP_UNKNOWN) is not looked up: a later commit that names the old backend
 * and a newer epoch settles it (design, promise 3).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

enum cutover_state {
    CUTOVER_STATE_IDLE,
    CUTOVER_STATE_CHECK,   /* every precondition, and the gate as a forecast */
    CUTOVER_STATE_CATCHUP, /* the new backend is merely behind: asked again until it is not, nothing is touched yet */
    CUTOVER_STATE_RECORD,  /* the switch and what it is going to pause are being written down */
    CUTOVER_STATE_PARK,    /* binlog streams come to stand between two transactions; nobody is held meanwhile */
    CUTOVER_STATE_PAUSE,   /* the consumer is being paused */
    CUTOVER_STATE_PAUSE_ENDING, /* aborted while pausing: the pause in flight must end before it can be taken back */
    CUTOVER_STATE_GATE,         /* what the consumer has, read again after the pause, against P and E */
    CUTOVER_STATE_SEE,          /* the old server's listing must show every live leg, or "empty" would prove nothing */
    CUTOVER_STATE_HOLD,         /* new clients wait from here on */
    CUTOVER_STATE_DRAIN,        /* old sessions end at their boundary */
    CUTOVER_STATE_KILL,         /* drain-timeout is over: what is left is cut */
    CUTOVER_STATE_EMPTY, /* the old server shows none of our threads (left-overs are killed by id); then D is frozen */
    CUTOVER_STATE_GATE_AGAIN,   /* P last; polled until E contains D */
    CUTOVER_STATE_FLIP,         /* the durable write */
    CUTOVER_STATE_FLIP_UNKNOWN, /* it returned an error: nobody is released before a later commit names the old backend
                                 */
    CUTOVER_STATE_RELEASE,
    CUTOVER_STATE_RESUME,
    CUTOVER_STATE_VERIFY,
    CUTOVER_STATE_UNDO_RELEASE,
    CUTOVER_STATE_UNDO_RESUME,
    CUTOVER_STATE_END, /* the outcome is being written down */
    CUTOVER_STATE_COUNT
};

enum cutover_event_type {
    CUTOVER_EV_START,         /* an operator's switch */
    CUTOVER_EV_RECOVER,       /* a restart found a recorded switch; |flipped| says on which side of the flip it was */
    CUTOVER_EV_TIME,          /* nothing but time: cutover_deadline_ms() has come */
    CUTOVER_EV_ABORT,         /* an operator, or SIGTERM */
    CUTOVER_EV_JUDGED,        /* answer to READ_CHECK, READ_GATE, READ_NEW: |verdict| */
    CUTOVER_EV_RECORDED,      /* answer to RECORD: |status| */
    CUTOVER_EV_PARKED,        /* answer to PARK: |count| streams are still inside a transaction */
    CUTOVER_EV_PAUSED,        /* answer to PAUSE: |status| */
    CUTOVER_EV_SEEN,          /* answer to LIST_LIVE: |status| */
    CUTOVER_EV_HOLDING,       /* answer to HOLD: |count| legs are open */
    CUTOVER_EV_LEGS,          /* while draining: |count| legs of the old epoch are left */
    CUTOVER_EV_LISTED,        /* answer to LIST_OLD: |status|; |count| threads of ours were found and told to end */
    CUTOVER_EV_FLIPPED,       /* answer to FLIP: 0 is durable, anything else unknown */
    CUTOVER_EV_OLD_COMMITTED, /* answer to COMMIT_OLD: 0 is durable */
    CUTOVER_EV_RESUMED,       /* answer to RESUME: |status| */
    CUTOVER_EV_VERIFIED, /* answer to VERIFY: |status|; SLUICE_ERR_BUSY: not yet, ask again; others: unhealthy; with
                                 |count| > 0 it comes closer, and verify-timeout begins anew */
    CUTOVER_EV_ENDED,    /* answer to END: |status| */
};

enum cutover_verdict {
    CUTOVER_VERDICT_PASS,
    CUTOVER_VERDICT_LAGGING, /* only "contained in E" fails: waiting can cure it */
    CUTOVER_VERDICT_REFUSED,
    CUTOVER_VERDICT_FAILED, /* the question got no answer: |status| says why */
};

struct cutover_event {
    enum cutover_event_type type;
    uint64_t now_ms; /* monotonic, not before the previous event's */
    uint32_t op;     /* of an answer: the op of its effect; a stale one is ignored */
    enum cutover_verdict verdict;
    int status; /* 0 or SLUICE_ERR_*; with LAGGING: SLUICE_ERR_TIMEOUT if the backend replicates, else
                   SLUICE_ERR_REFUSED */
    uint32_t count;
    bool flipped;
    const char *text; /* one clause about the answer, for the step and the outcome; may be NULL; not kept */
};

enum cutover_effect_type {
    CUTOVER_DO_READ_CHECK,  /* read all facts and the consumer, judge every precondition; answer JUDGED */
    CUTOVER_DO_RECORD,      /* write the switch and the consumer's plan down; answer RECORDED */
    CUTOVER_DO_PARK,        /* streams stop in front of their next transaction, until RELEASE; answer PARKED */
    CUTOVER_DO_PAUSE,       /* pause by the plan and see it quiet, within pause-timeout; answer PAUSED */
    CUTOVER_DO_READ_GATE,   /* consumer again, then both servers' sets; judge; answer JUDGED */
    CUTOVER_DO_LIST_LIVE,   /* the old server's processlist must show every live leg; answer SEEN */
    CUTOVER_DO_HOLD,        /* new clients are held from now on; answer HOLDING */
    CUTOVER_DO_DRAIN,       /* sessions end at their boundary; LEGS tells how many are left */
    CUTOVER_DO_KILL_REST,   /* end every session that is left, now; LEGS follows */
    CUTOVER_DO_LIST_OLD,    /* list the old server, kill ours; with none left: freeze D; answer LISTED */
    CUTOVER_DO_READ_NEW,    /* E and, last, P of the new backend against S, W, V, D; answer JUDGED */
    CUTOVER_DO_FLIP,        /* the durable write; answer FLIPPED */
    CUTOVER_DO_COMMIT_OLD,  /* a commit that names the old backend and a newer epoch; answer OLD_COMMITTED */
    CUTOVER_DO_RELEASE_NEW, /* streams are parked no more, route to the new backend; no answer */
    CUTOVER_DO_RELEASE_OLD, /* streams go on, route to the old backend again; no answer */
    CUTOVER_DO_RESUME,      /* resume what the plan says; answer RESUMED */
    CUTOVER_DO_VERIFY,      /* is the consumer healthy on the new backend; answer VERIFIED */
    CUTOVER_DO_END,         /* write the outcome down; answer ENDED */
    CUTOVER_DO_REPORT,      /* tell the operator: |from|, |to|, |text|; no answer */
};

enum { CUTOVER_TEXT_LEN = 480, CUTOVER_EFFECTS_MAX = 6 };

struct cutover_effect {
    enum cutover_effect_type type;
    uint32_t op;                     /* to be given back in the answer */
    enum cutover_state from, to;     /* REPORT */
    char text[CUTOVER_TEXT_LEN + 1]; /* REPORT */
};

/* Effects in the order in which they must be performed. */
struct cutover_effects {
    struct cutover_effect items[CUTOVER_EFFECTS_MAX];
    size_t count;
};

/* How a switch ended; the numbers are the CLI's exit codes. */
enum cutover_exit {
    CUTOVER_EXIT_DONE = 0,
    CUTOVER_EXIT_UNDONE = 1,
    CUTOVER_EXIT_REFUSED = 3,
    CUTOVER_EXIT_TIMEOUT = 4,
    CUTOVER_EXIT_UNKNOWN = 5,
};

struct cutover_limits {
    uint32_t
        catchup_timeout_ms; /* 0: a backend that is behind by more than the moment that replication needs is refused */
    uint32_t park_timeout_ms;  /* what transactions in flight on streams get to end */
    uint32_t hold_timeout_ms;  /* 1..19,000 */
    uint32_t drain_timeout_ms; /* < hold_timeout_ms */
    uint32_t flip_reserve_ms;  /* what FLIP and RELEASE need of the hold; < hold_timeout_ms */
    uint32_t verify_timeout_ms;
};

struct cutover {
    enum cutover_state state; /* written by cutover_move() alone */
    uint64_t now_ms;
    uint32_t op;      /* of the effect whose answer is awaited */
    bool is_asked;    /* an answer is awaited */
    bool old_is_dead; /* an operator's word: the old server is asked nothing */
    bool has_paused;  /* a pause was ordered, or may have been by a process that is dead: it is taken back */
    struct cutover_limits limits;
    uint64_t deadline_ms;                /* of the state; UINT64_MAX: none */
    uint64_t ask_at_ms;                  /* when to ask (again); UINT64_MAX: no question is due */
    uint64_t hold_deadline_ms;           /* from HOLD to GATE_AGAIN: then it is undone */
    uint32_t legs;                       /* from HOLD to EMPTY: open legs of the old epoch */
    uint32_t tries;                      /* in states that ask again */
    int lag_status;                      /* GATE_AGAIN: of the last answer LAGGING, */
    char lag_text[CUTOVER_TEXT_LEN + 1]; /* and its text */
    enum cutover_exit exit;              /* meaningful from the first failure, and in END */
    int error;                           /* SLUICE_ERR_* of the first failure, 0 */
    char text[CUTOVER_TEXT_LEN + 1];     /* why; of the first failure */
};

/* cutover_init - an idle one. */
void cutover_init(struct cutover *c, const struct cutover_limits *limits);
/*
 * cutover_step - take one event; |effects| (emptied first) is what must be done, in order. Each effect that names an
 * answer is answered exactly once, with its op. START and RECOVER are legal in IDLE only. Call from: wherever |c|
 * lives; never from inside itself.
 */
void cutover_step(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects);
/* cutover_deadline_ms - when the next TIME event is due, UINT64_MAX when none is. */
uint64_t cutover_deadline_ms(const struct cutover *c);
/* cutover_is_holding - new clients of the source must wait because of the switch. */
bool cutover_is_holding(const struct cutover *c);
/* cutover_is_flipped - the flip is durable: the new backend is the active one, whatever comes. */
bool cutover_is_flipped(const struct cutover *c);
/* cutover_can_abort - ABORT would lead back, or, after the flip, end a resume that does not succeed. */
bool cutover_can_abort(const struct cutover *c);
/* cutover_state_name - lower case, as in steps, status and metrics ("gate-again"). */
const char *cutover_state_name(enum cutover_state state);
/* cutover_edge_is_allowed - the table of edges, for tests and the picture in the manual. */
bool cutover_edge_is_allowed(enum cutover_state from, enum cutover_state to);
