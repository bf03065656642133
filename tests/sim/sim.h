/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - a world for cutover_step(): sessions, held clients, a consumer, two servers and a disk, in simulated time.
 *
 * After every step it checks what is promised: legs to one backend only; nobody routed to a backend that the disk does not name;
 * nobody held longer than hold-timeout; what was paused, and only that, is resumed when a switch has ended.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/cutover.h"

enum {
    SIM_LEGS_MAX = 16,
    SIM_TRACE_MAX = 128,
    SIM_LINE_LEN = 200,
    SIM_PLANS_MAX = 4,
    SIM_EFFECTS = CUTOVER_DO_REPORT + 1
};

/* How an effect is answered instead of "done". */
enum sim_fault {
    SIM_OK,
    SIM_FAIL,         /* status SLUICE_ERR_IO */
    SIM_REFUSE,       /* status SLUICE_ERR_REFUSED, verdict REFUSED */
    SIM_LAG,          /* verdict LAGGING, for JUDGED; 1 left, for LISTED and PARKED; not yet, for VERIFIED */
    SIM_NEVER,        /* no answer: for effects whose driver would give up, a time-out after 5 s; else none at all */
    SIM_LATE,         /* answered after 2 s */
    SIM_UNKNOWN,      /* a commit whose error hides that it is on disk */
    SIM_CRASH_BEFORE, /* the process dies before the effect happens … */
    SIM_CRASH_AFTER,  /* … or after it, before its answer is heard */
    SIM_ABORT,        /* an operator aborts while the answer is awaited */
    SIM_FAULT_COUNT
};

/* The |nth| effect of |type| (1 = first; 0 = every one) goes wrong. */
struct sim_plan {
    enum cutover_effect_type type;
    unsigned nth;
    enum sim_fault fault;
};

enum sim_leg_kind { SIM_LEG_IDLE, SIM_LEG_BUSY, SIM_LEG_STREAM };

struct sim_leg {
    bool is_open;
    enum sim_leg_kind kind;
    uint64_t busy_until_ms; /* BUSY: then it is at its boundary */
    int backend;            /* 0 = A, 1 = B */
};

struct sim {
    struct cutover cutover;
    struct cutover_limits limits;
    uint64_t now_ms;
    struct sim_leg legs[SIM_LEGS_MAX];
    bool is_draining;
    bool is_routing;
    int routed_to;
    uint64_t held_since_ms; /* of the oldest waiting client; UINT64_MAX: nobody */
    uint64_t longest_wait_ms, expired;
    /* disk */
    int disk_active;
    uint64_t disk_epoch;
    bool disk_open, disk_flipped, disk_plan;
    int disk_pending; /* an unknown commit may or may not be there: the active backend it names, -1 none */
    uint64_t disk_pending_epoch;
    /* memory of the process */
    int active;
    uint64_t epoch;
    /* consumer */
    bool was_running, is_running;
    unsigned resumes;
    /* what the old server still shows of ours */
    unsigned threads_left;
    bool old_is_dead;
    /* faults */
    struct sim_plan plans[SIM_PLANS_MAX];
    size_t plan_count;
    unsigned seen[SIM_EFFECTS];
    bool is_crashed;
    unsigned crashes;
    /* answers on their way */
    struct sim_answer {
        bool is_due;
        uint64_t at_ms;
        struct cutover_event ev;
        struct cutover_effect effect;
        enum sim_fault fault;
    } answers[8];
    bool abort_soon;
    bool has_ended;
    enum cutover_exit exit;
    /* what happened */
    char trace[SIM_TRACE_MAX][SIM_LINE_LEN];
    size_t trace_count;
    bool edges[CUTOVER_STATE_COUNT][CUTOVER_STATE_COUNT];
    char broken[SIM_LINE_LEN]; /* the first promise that did not hold; "" while all do */
};

/* sim_init - A is active, epoch 4; the consumer runs; hold 8 s, drain 3 s, catch-up 10 s, verify 120 s. */
void sim_init(struct sim *sim);
/* sim_leg - a session that exists when the switch begins. */
void sim_leg(struct sim *sim, enum sim_leg_kind kind, uint64_t busy_for_ms);
/* sim_fault - see struct sim_plan. */
void sim_fault(struct sim *sim, enum cutover_effect_type type, unsigned nth, enum sim_fault fault);
/* sim_switch - run a switch to B to its end, or until |limit_ms|; restarts the process where it crashed. */
void sim_switch(struct sim *sim, uint64_t limit_ms);
/* sim_recover - run the recovery of what is on disk, as after a restart. */
void sim_recover(struct sim *sim, uint64_t limit_ms);
/* sim_fault_name - for messages. */
const char *sim_fault_name(enum sim_fault fault);
