/* SPDX-License-Identifier: Apache-2.0 */
#include "core/cutover.h"
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"

#define NEVER UINT64_MAX

enum {
    ASK_CATCHUP_MS = 100, /* the new backend is behind, nobody is held */
    ASK_PARKED_MS = 10,   /* nobody is held */
    ASK_GATE_MS = 50,     /* the consumer is paused, nobody is held */
    GRACE_MS = 500,       /* what asynchronous replication always needs, also where catchup-timeout is 0 */
    ASK_HELD_MS = 2, /* clients are held: under a tight writer the rest arrived within 4 ms (dm-facts, section 11) */
    ASK_HELD_MAX_MS = 50,
    ASK_VERIFY_MS = 200,
    RETRY_MS = 250, /* journal and consumer, doubled up to */
    RETRY_MAX_MS = 5000,
};

static const char *const state_names[CUTOVER_STATE_COUNT] = {
    [CUTOVER_STATE_IDLE] = "idle",
    [CUTOVER_STATE_CHECK] = "check",
    [CUTOVER_STATE_CATCHUP] = "catch-up",
    [CUTOVER_STATE_RECORD] = "record",
    [CUTOVER_STATE_PARK] = "park",
    [CUTOVER_STATE_PAUSE] = "pause",
    [CUTOVER_STATE_PAUSE_ENDING] = "pause-ending",
    [CUTOVER_STATE_GATE] = "gate",
    [CUTOVER_STATE_SEE] = "see",
    [CUTOVER_STATE_HOLD] = "hold",
    [CUTOVER_STATE_DRAIN] = "drain",
    [CUTOVER_STATE_KILL] = "kill",
    [CUTOVER_STATE_EMPTY] = "empty",
    [CUTOVER_STATE_GATE_AGAIN] = "gate-again",
    [CUTOVER_STATE_FLIP] = "flip",
    [CUTOVER_STATE_FLIP_UNKNOWN] = "flip-unknown",
    [CUTOVER_STATE_RELEASE] = "release",
    [CUTOVER_STATE_RESUME] = "resume",
    [CUTOVER_STATE_VERIFY] = "verify",
    [CUTOVER_STATE_UNDO_RELEASE] = "undo-release",
    [CUTOVER_STATE_UNDO_RESUME] = "undo-resume",
    [CUTOVER_STATE_END] = "end",
};

#define TO(state) (UINT32_C(1) << CUTOVER_STATE_##state)

static const uint32_t edges[CUTOVER_STATE_COUNT] = {
    [CUTOVER_STATE_IDLE] = TO(CHECK) | TO(RELEASE) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_CHECK] = TO(CATCHUP) | TO(RECORD) | TO(END),
    [CUTOVER_STATE_CATCHUP] = TO(RECORD) | TO(END),
    [CUTOVER_STATE_RECORD] = TO(PARK) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_PARK] = TO(PAUSE) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_PAUSE] = TO(GATE) | TO(PAUSE_ENDING) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_PAUSE_ENDING] = TO(UNDO_RELEASE),
    [CUTOVER_STATE_GATE] = TO(SEE) | TO(HOLD) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_SEE] = TO(HOLD) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_HOLD] = TO(DRAIN),
    [CUTOVER_STATE_DRAIN] = TO(KILL) | TO(EMPTY) | TO(GATE_AGAIN) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_KILL] = TO(EMPTY) | TO(GATE_AGAIN) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_EMPTY] = TO(GATE_AGAIN) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_GATE_AGAIN] = TO(FLIP) | TO(UNDO_RELEASE),
    [CUTOVER_STATE_FLIP] = TO(RELEASE) | TO(FLIP_UNKNOWN),
    [CUTOVER_STATE_FLIP_UNKNOWN] = TO(UNDO_RELEASE),
    [CUTOVER_STATE_RELEASE] = TO(RESUME),
    [CUTOVER_STATE_RESUME] = TO(VERIFY) | TO(END),
    [CUTOVER_STATE_VERIFY] = TO(END),
    [CUTOVER_STATE_UNDO_RELEASE] = TO(UNDO_RESUME) | TO(END),
    [CUTOVER_STATE_UNDO_RESUME] = TO(END),
    [CUTOVER_STATE_END] = TO(IDLE),
};

static bool state_is(const struct cutover *c, uint32_t set)
{
    return (set >> c->state & 1) != 0;
}

/* Old and new backend can both be reached by nobody: legs are still open, or the flip is near. */
#define HELD_STATES    (TO(HOLD) | TO(DRAIN) | TO(KILL) | TO(EMPTY) | TO(GATE_AGAIN) | TO(FLIP) | TO(FLIP_UNKNOWN))
#define FLIPPED_STATES (TO(RELEASE) | TO(RESUME) | TO(VERIFY))

static bool cutover_is_sane(const struct cutover *c)
{
    if (c->state >= CUTOVER_STATE_COUNT) return false;
    if (state_is(c, TO(FLIP) | TO(FLIP_UNKNOWN)) && c->deadline_ms != NEVER) return false;
    if (state_is(c, TO(EMPTY) | TO(GATE_AGAIN) | TO(FLIP)) && c->legs != 0) return false; /* promise 1 */
    if (state_is(c, HELD_STATES) && c->hold_deadline_ms == NEVER) return false;
    if (state_is(c, TO(IDLE)) && (c->is_asked || c->ask_at_ms != NEVER)) return false;
    if (state_is(c, FLIPPED_STATES) && c->exit != CUTOVER_EXIT_DONE && c->error == 0) return false;
    return true;
}

static struct cutover_effect *effect_add(struct cutover *c, struct cutover_effects *effects,
                                         enum cutover_effect_type type)
{
    assert(effects->count < CUTOVER_EFFECTS_MAX);
    struct cutover_effect *effect = &effects->items[effects->count++];
    *effect = (struct cutover_effect){ .type = type, .op = c->op, .from = c->state, .to = c->state };
    return effect;
}

/* An effect whose answer is awaited: from here on only an event with this op is heard. */
static void ask(struct cutover *c, struct cutover_effects *effects, enum cutover_effect_type type)
{
    c->op++;
    c->is_asked = true;
    c->ask_at_ms = NEVER;
    effect_add(c, effects, type);
}

static void report(struct cutover *c, struct cutover_effects *effects, const char *text)
{
    struct cutover_effect *effect = effect_add(c, effects, CUTOVER_DO_REPORT);
    snprintf(effect->text, sizeof effect->text, "%s", text == NULL ? "" : text);
}

/* The one mutator of |state|: asserts the edge, forgets what belonged to the state left behind, reports the move. */
static void cutover_move(struct cutover *c, enum cutover_state to, struct cutover_effects *effects, const char *text)
{
    assert(cutover_edge_is_allowed(c->state, to));
    enum cutover_state from = c->state;
    c->state = to;
    c->is_asked = false;
    c->ask_at_ms = NEVER;
    c->deadline_ms = NEVER;
    c->tries = 0;
    if (!state_is(c, HELD_STATES)) {
        c->hold_deadline_ms = NEVER;
        c->legs = 0;
        c->lag_status = 0;
        c->lag_text[0] = '\0';
    }
    report(c, effects, text);
    effects->items[effects->count - 1].from = from;
}

static void note_failure(struct cutover *c, enum cutover_exit how, int error, const char *text)
{
    if (c->error != 0) return; /* the first cause is the one that counts */
    c->exit = how;
    c->error = error;
    snprintf(c->text, sizeof c->text, "%s", text == NULL || *text == '\0' ? error_text(error) : text);
}

static void end(struct cutover *c, struct cutover_effects *effects)
{
    cutover_move(c, CUTOVER_STATE_END, effects, c->error == 0 ? "done" : c->text);
    ask(c, effects, CUTOVER_DO_END);
}

/* Before the flip every failure leads back: release to the old backend, then resume, in that order. */
static void undo(struct cutover *c, struct cutover_effects *effects, enum cutover_exit how, int error, const char *text)
{
    note_failure(c, how, error, text);
    if (state_is(c, TO(CHECK) | TO(CATCHUP))) {
        end(c, effects); /* nothing was touched */
        return;
    }
    cutover_move(c, CUTOVER_STATE_UNDO_RELEASE, effects, c->text);
    effect_add(c, effects, CUTOVER_DO_RELEASE_OLD);
    if (!c->has_paused) {
        end(c, effects);
        return;
    }
    cutover_move(c, CUTOVER_STATE_UNDO_RESUME, effects, "clients go to the old backend");
    ask(c, effects, CUTOVER_DO_RESUME);
}

static enum cutover_exit exit_of(int status)
{
    if (status == SLUICE_ERR_REFUSED || status == SLUICE_ERR_REWOUND || status == SLUICE_ERR_WRONG_SERVER ||
        status == SLUICE_ERR_ACCESS_DENIED || status == SLUICE_ERR_UNREACHABLE)
        return CUTOVER_EXIT_REFUSED;
    if (status == SLUICE_ERR_TIMEOUT || status == SLUICE_ERR_HOLD_TIMEOUT) return CUTOVER_EXIT_TIMEOUT;
    return CUTOVER_EXIT_UNDONE;
}

static void undo_failed_answer(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    undo(c, effects, exit_of(ev->status), ev->status, ev->text);
}

static uint64_t retry_after(struct cutover *c)
{
    uint64_t wait = RETRY_MS;
    for (uint32_t i = 0; i < c->tries && wait < RETRY_MAX_MS; i++)
        wait *= 2;
    c->tries++;
    return c->now_ms + (wait > RETRY_MAX_MS ? RETRY_MAX_MS : wait);
}

/* The hold has its own end, less what the flip needs: checked in every state that clients wait for, but FLIP. */
static bool hold_is_over(struct cutover *c, struct cutover_effects *effects)
{
    if (c->now_ms < c->hold_deadline_ms) return false;
    if (c->state == CUTOVER_STATE_GATE_AGAIN && c->lag_status == SLUICE_ERR_REFUSED) {
        undo(c, effects, CUTOVER_EXIT_REFUSED, SLUICE_ERR_REFUSED, c->lag_text);
        return true;
    }
    char text[CUTOVER_TEXT_LEN + 1];
    snprintf(text, sizeof text, "hold-timeout (%" PRIu32 " ms) came near in phase %s%s%.300s",
             c->limits.hold_timeout_ms, state_names[c->state], *c->lag_text == '\0' ? "" : ": ", c->lag_text);
    undo(c, effects, CUTOVER_EXIT_TIMEOUT, SLUICE_ERR_TIMEOUT, text);
    return true;
}

static void begin_record(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    cutover_move(c, CUTOVER_STATE_RECORD, effects, ev->text);
    ask(c, effects, CUTOVER_DO_RECORD);
}

static uint64_t catchup_deadline(const struct cutover *c)
{
    return c->now_ms + (c->limits.catchup_timeout_ms > GRACE_MS ? c->limits.catchup_timeout_ms : GRACE_MS);
}

static void step_check(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_JUDGED) return;
    switch (ev->verdict) {
    case CUTOVER_VERDICT_PASS: begin_record(c, ev, effects); break;
    case CUTOVER_VERDICT_LAGGING:
        cutover_move(c, CUTOVER_STATE_CATCHUP, effects, ev->text);
        c->deadline_ms = catchup_deadline(c);
        c->ask_at_ms = c->now_ms + ASK_CATCHUP_MS;
        break;
    case CUTOVER_VERDICT_REFUSED: undo(c, effects, CUTOVER_EXIT_REFUSED, SLUICE_ERR_REFUSED, ev->text); break;
    case CUTOVER_VERDICT_FAILED: undo_failed_answer(c, ev, effects); break;
    }
}

/*
 * CATCHUP and GATE: a backend that is merely behind is asked again until its time is over. Then the cause decides: one
 * that replicates ran out of time, one that does not lacks what is needed (the answer's status says which).
 */
static void wait_for_catchup(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects,
                             uint32_t ask_ms)
{
    if (c->now_ms < c->deadline_ms) {
        if (c->tries++ % 10 == 0) report(c, effects, ev->text);
        c->ask_at_ms = c->now_ms + ask_ms;
        return;
    }
    bool is_refusal = c->limits.catchup_timeout_ms == 0 || ev->status == SLUICE_ERR_REFUSED;
    undo(c, effects, is_refusal ? CUTOVER_EXIT_REFUSED : CUTOVER_EXIT_TIMEOUT,
         is_refusal ? SLUICE_ERR_REFUSED : SLUICE_ERR_TIMEOUT, ev->text);
}

static void step_catchup(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) {
        ask(c, effects, CUTOVER_DO_READ_CHECK);
    } else if (ev->type == CUTOVER_EV_JUDGED && ev->verdict == CUTOVER_VERDICT_LAGGING) {
        wait_for_catchup(c, ev, effects, ASK_CATCHUP_MS);
    } else if (ev->type == CUTOVER_EV_JUDGED) {
        step_check(c, ev, effects);
    }
}

static void step_record(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_RECORDED) return;
    if (ev->status != 0) {
        undo_failed_answer(c, ev, effects);
        return;
    }
    cutover_move(c, CUTOVER_STATE_PARK, effects, ev->text);
    c->deadline_ms = c->now_ms + c->limits.park_timeout_ms;
    ask(c, effects, CUTOVER_DO_PARK);
}

static void step_park(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) ask(c, effects, CUTOVER_DO_PARK);
    if (ev->type != CUTOVER_EV_PARKED) return;
    if (ev->count == 0 || c->old_is_dead) { /* what a dead server began to send does not end */
        cutover_move(c, CUTOVER_STATE_PAUSE, effects, ev->text);
        c->has_paused = true;
        ask(c, effects, CUTOVER_DO_PAUSE);
    } else if (c->now_ms >= c->deadline_ms) {
        char text[CUTOVER_TEXT_LEN + 1];
        snprintf(text, sizeof text,
                 "park-timeout (%" PRIu32 " ms): %" PRIu32
                 " binlog streams are still inside a transaction; wait for its end "
                 "or raise park-timeout",
                 c->limits.park_timeout_ms, ev->count);
        undo(c, effects, CUTOVER_EXIT_TIMEOUT, SLUICE_ERR_TIMEOUT, text);
    } else {
        if (c->tries++ % 100 == 0) report(c, effects, ev->text);
        c->ask_at_ms = c->now_ms + ASK_PARKED_MS;
    }
}

static void step_pause(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_PAUSED) return;
    if (ev->status != 0) {
        undo_failed_answer(c, ev, effects);
        return;
    }
    cutover_move(c, CUTOVER_STATE_GATE, effects, ev->text);
    c->deadline_ms = catchup_deadline(c);
    ask(c, effects, CUTOVER_DO_READ_GATE);
}

static void step_pause_ending(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_PAUSED) undo(c, effects, c->exit, c->error, c->text);
}

static void begin_hold(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    cutover_move(c, CUTOVER_STATE_HOLD, effects, ev->text);
    c->hold_deadline_ms = c->now_ms + c->limits.hold_timeout_ms - c->limits.flip_reserve_ms;
    ask(c, effects, CUTOVER_DO_HOLD);
}

static void step_gate(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) {
        ask(c, effects, CUTOVER_DO_READ_GATE);
    }
    if (ev->type != CUTOVER_EV_JUDGED) return;
    switch (ev->verdict) {
    case CUTOVER_VERDICT_PASS:
        if (c->old_is_dead) {
            begin_hold(c, ev, effects);
            break;
        }
        cutover_move(c, CUTOVER_STATE_SEE, effects, ev->text);
        ask(c, effects, CUTOVER_DO_LIST_LIVE);
        break;
    case CUTOVER_VERDICT_LAGGING: wait_for_catchup(c, ev, effects, ASK_GATE_MS); break;
    case CUTOVER_VERDICT_REFUSED: undo(c, effects, CUTOVER_EXIT_REFUSED, SLUICE_ERR_REFUSED, ev->text); break;
    case CUTOVER_VERDICT_FAILED: undo_failed_answer(c, ev, effects); break;
    }
}

static void step_see(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_SEEN) return;
    if (ev->status != 0) {
        undo_failed_answer(c, ev, effects);
    } else {
        begin_hold(c, ev, effects);
    }
}

/* No leg is left: what the proxy sees is empty; the old server must say so itself, unless it is declared dead. */
static void legs_are_gone(struct cutover *c, struct cutover_effects *effects)
{
    assert(c->legs == 0);
    if (c->old_is_dead) {
        cutover_move(c, CUTOVER_STATE_GATE_AGAIN, effects, "sessions left: 0; the old server is declared dead");
        ask(c, effects, CUTOVER_DO_READ_NEW);
    } else {
        cutover_move(c, CUTOVER_STATE_EMPTY, effects, "sessions left: 0");
        ask(c, effects, CUTOVER_DO_LIST_OLD);
    }
}

static void step_hold(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_HOLDING) return;
    uint64_t hold_began_ms = c->hold_deadline_ms - c->limits.hold_timeout_ms + c->limits.flip_reserve_ms;
    cutover_move(c, CUTOVER_STATE_DRAIN, effects, ev->text);
    c->legs = ev->count;
    c->deadline_ms = hold_began_ms + c->limits.drain_timeout_ms;
    effect_add(c, effects, CUTOVER_DO_DRAIN);
}

static void step_drain(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_LEGS) c->legs = ev->count;
    if (hold_is_over(c, effects)) return;
    if (ev->type == CUTOVER_EV_LEGS && c->legs == 0) {
        legs_are_gone(c, effects);
    } else if (c->now_ms >= c->deadline_ms) {
        char text[CUTOVER_TEXT_LEN + 1];
        snprintf(text, sizeof text, "drain-timeout: %" PRIu32 " sessions are cut", c->legs);
        cutover_move(c, CUTOVER_STATE_KILL, effects, text);
        effect_add(c, effects, CUTOVER_DO_KILL_REST);
    }
}

static void step_kill(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_LEGS) c->legs = ev->count;
    if (hold_is_over(c, effects)) return;
    if (ev->type == CUTOVER_EV_LEGS && c->legs == 0) legs_are_gone(c, effects);
}

static void step_empty(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (hold_is_over(c, effects)) return;
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) {
        ask(c, effects, CUTOVER_DO_LIST_OLD);
    }
    if (ev->type != CUTOVER_EV_LISTED) return;
    if (ev->status != 0) {
        undo_failed_answer(c, ev, effects);
    } else if (ev->count == 0) {
        cutover_move(c, CUTOVER_STATE_GATE_AGAIN, effects, ev->text);
        ask(c, effects, CUTOVER_DO_READ_NEW);
    } else { /* a killed thread needs a moment to leave the list */
        if (c->tries++ == 0) report(c, effects, ev->text);
        c->ask_at_ms = c->now_ms + ASK_HELD_MS * (c->tries < 10 ? c->tries : 10);
    }
}

static void step_gate_again(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (hold_is_over(c, effects)) return;
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) {
        ask(c, effects, CUTOVER_DO_READ_NEW);
    }
    if (ev->type != CUTOVER_EV_JUDGED) return;
    switch (ev->verdict) {
    case CUTOVER_VERDICT_PASS:
        cutover_move(c, CUTOVER_STATE_FLIP, effects, ev->text);
        ask(c, effects, CUTOVER_DO_FLIP);
        break;
    case CUTOVER_VERDICT_LAGGING:
        if (c->tries == 0) report(c, effects, ev->text);
        c->lag_status = ev->status;
        snprintf(c->lag_text, sizeof c->lag_text, "%s", ev->text == NULL ? "" : ev->text);
        if (c->tries < ASK_HELD_MAX_MS / ASK_HELD_MS) c->tries++;
        c->ask_at_ms = c->now_ms + ASK_HELD_MS * c->tries;
        break;
    case CUTOVER_VERDICT_REFUSED: undo(c, effects, CUTOVER_EXIT_REFUSED, SLUICE_ERR_REFUSED, ev->text); break;
    case CUTOVER_VERDICT_FAILED: undo_failed_answer(c, ev, effects); break;
    }
}

static void begin_release(struct cutover *c, struct cutover_effects *effects, const char *text)
{
    cutover_move(c, CUTOVER_STATE_RELEASE, effects, text);
    effect_add(c, effects, CUTOVER_DO_RELEASE_NEW);
    cutover_move(c, CUTOVER_STATE_RESUME, effects, "clients go to the new backend");
    ask(c, effects, CUTOVER_DO_RESUME);
}

static void step_flip(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type != CUTOVER_EV_FLIPPED) return;
    if (ev->status == 0) {
        begin_release(c, effects, ev->text);
        return;
    }
    note_failure(c, CUTOVER_EXIT_UNDONE, SLUICE_ERR_JOURNAL, ev->text);
    cutover_move(c, CUTOVER_STATE_FLIP_UNKNOWN, effects, c->text);
    ask(c, effects, CUTOVER_DO_COMMIT_OLD);
}

static void step_flip_unknown(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) {
        ask(c, effects, CUTOVER_DO_COMMIT_OLD);
    }
    if (ev->type != CUTOVER_EV_OLD_COMMITTED) return;
    if (ev->status == 0) {
        undo(c, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_JOURNAL, NULL);
    } else {
        report(c, effects, "the state cannot be written; clients stay held or are refused until it can");
        c->ask_at_ms = retry_after(c);
    }
}

/* RESUME and UNDO_RESUME: tried until it succeeds, or until an operator says that he will do it himself. */
static bool resume_ended(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) ask(c, effects, CUTOVER_DO_RESUME);
    if (ev->type != CUTOVER_EV_RESUMED) return false;
    if (ev->status == 0) return true;
    report(c, effects, ev->text);
    c->ask_at_ms = retry_after(c);
    return false;
}

static void step_resume(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (!resume_ended(c, ev, effects)) return;
    cutover_move(c, CUTOVER_STATE_VERIFY, effects, ev->text);
    c->deadline_ms = c->now_ms + c->limits.verify_timeout_ms;
    ask(c, effects, CUTOVER_DO_VERIFY);
}

static void step_undo_resume(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (resume_ended(c, ev, effects)) end(c, effects);
}

static void step_verify(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) ask(c, effects, CUTOVER_DO_VERIFY);
    if (ev->type != CUTOVER_EV_VERIFIED) return;
    if (ev->status != 0 && ev->count > 0) c->deadline_ms = c->now_ms + c->limits.verify_timeout_ms;
    if (ev->status == 0) {
        if (ev->text != NULL && *ev->text != '\0') report(c, effects, ev->text);
        end(c, effects);
    } else if (c->now_ms >= c->deadline_ms) {
        /* Nothing after the flip goes back by itself. */
        note_failure(c, CUTOVER_EXIT_UNKNOWN, ev->status, ev->text);
        end(c, effects);
    } else {
        if (c->tries++ % 10 == 0) report(c, effects, ev->text);
        c->ask_at_ms = c->now_ms + ASK_VERIFY_MS;
    }
}

static void step_end(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_TIME && !c->is_asked && c->now_ms >= c->ask_at_ms) ask(c, effects, CUTOVER_DO_END);
    if (ev->type != CUTOVER_EV_ENDED) return;
    if (ev->status == 0) {
        cutover_move(c, CUTOVER_STATE_IDLE, effects, "");
    } else { /* a restart would only do it again, so nobody is held for it */
        report(c, effects, "the outcome cannot be written to state-dir yet");
        c->ask_at_ms = retry_after(c);
    }
}

static void step_idle(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (ev->type == CUTOVER_EV_START) {
        c->exit = CUTOVER_EXIT_DONE;
        c->error = 0;
        c->text[0] = '\0';
        c->has_paused = false;
        cutover_move(c, CUTOVER_STATE_CHECK, effects, ev->text);
        ask(c, effects, CUTOVER_DO_READ_CHECK);
    } else if (ev->type == CUTOVER_EV_RECOVER) {
        c->exit = CUTOVER_EXIT_DONE;
        c->error = 0;
        c->text[0] = '\0';
        c->has_paused = true; /* it cannot be told how far the dead process came */
        if (ev->flipped) {
            begin_release(c, effects, "restart: the flip is on disk, going on");
            return;
        }
        undo(c, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, "Sluice was restarted before the flip: undone");
    }
}

static void step_abort(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    if (!cutover_can_abort(c))
        return; /* too late: nothing after the flip goes back, and an undo is under way already */
    const char *text = ev->text == NULL ? "aborted" : ev->text;
    if (c->state == CUTOVER_STATE_PAUSE) {
        note_failure(c, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, text);
        uint32_t op = c->op;
        cutover_move(c, CUTOVER_STATE_PAUSE_ENDING, effects, text);
        c->op = op; /* the same answer is still awaited */
        c->is_asked = true;
    } else if (state_is(c, TO(RESUME) | TO(UNDO_RESUME))) {
        char left[CUTOVER_TEXT_LEN + 1];
        snprintf(left, sizeof left, "%.380s; the consumer was left as it is: resume it by hand", text);
        c->error = 0;
        note_failure(c, CUTOVER_EXIT_UNKNOWN, SLUICE_ERR_STATE_UNKNOWN, left);
        end(c, effects);
    } else {
        undo(c, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, text);
    }
}

static bool event_is_answer(const struct cutover_event *ev)
{
    switch (ev->type) {
    case CUTOVER_EV_START:
    case CUTOVER_EV_RECOVER:
    case CUTOVER_EV_TIME:
    case CUTOVER_EV_ABORT:
    case CUTOVER_EV_LEGS: return false;
    case CUTOVER_EV_JUDGED:
    case CUTOVER_EV_RECORDED:
    case CUTOVER_EV_PARKED:
    case CUTOVER_EV_PAUSED:
    case CUTOVER_EV_SEEN:
    case CUTOVER_EV_HOLDING:
    case CUTOVER_EV_LISTED:
    case CUTOVER_EV_FLIPPED:
    case CUTOVER_EV_OLD_COMMITTED:
    case CUTOVER_EV_RESUMED:
    case CUTOVER_EV_VERIFIED:
    case CUTOVER_EV_ENDED: return true;
    }
    return false;
}

static void step_state(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    switch (c->state) {
    case CUTOVER_STATE_IDLE: step_idle(c, ev, effects); break;
    case CUTOVER_STATE_CHECK: step_check(c, ev, effects); break;
    case CUTOVER_STATE_CATCHUP: step_catchup(c, ev, effects); break;
    case CUTOVER_STATE_RECORD: step_record(c, ev, effects); break;
    case CUTOVER_STATE_PARK: step_park(c, ev, effects); break;
    case CUTOVER_STATE_PAUSE: step_pause(c, ev, effects); break;
    case CUTOVER_STATE_PAUSE_ENDING: step_pause_ending(c, ev, effects); break;
    case CUTOVER_STATE_GATE: step_gate(c, ev, effects); break;
    case CUTOVER_STATE_SEE: step_see(c, ev, effects); break;
    case CUTOVER_STATE_HOLD: step_hold(c, ev, effects); break;
    case CUTOVER_STATE_DRAIN: step_drain(c, ev, effects); break;
    case CUTOVER_STATE_KILL: step_kill(c, ev, effects); break;
    case CUTOVER_STATE_EMPTY: step_empty(c, ev, effects); break;
    case CUTOVER_STATE_GATE_AGAIN: step_gate_again(c, ev, effects); break;
    case CUTOVER_STATE_FLIP: step_flip(c, ev, effects); break;
    case CUTOVER_STATE_FLIP_UNKNOWN: step_flip_unknown(c, ev, effects); break;
    case CUTOVER_STATE_RESUME: step_resume(c, ev, effects); break;
    case CUTOVER_STATE_VERIFY: step_verify(c, ev, effects); break;
    case CUTOVER_STATE_UNDO_RESUME: step_undo_resume(c, ev, effects); break;
    case CUTOVER_STATE_END: step_end(c, ev, effects); break;
    case CUTOVER_STATE_RELEASE:
    case CUTOVER_STATE_UNDO_RELEASE:                /* left within the step that enters them */
    case CUTOVER_STATE_COUNT: assert(false); break; /* nobody stays in these */
    }
}

void cutover_init(struct cutover *c, const struct cutover_limits *limits)
{
    assert(limits->drain_timeout_ms < limits->hold_timeout_ms && limits->flip_reserve_ms < limits->hold_timeout_ms);
    *c = (struct cutover){ .limits = *limits, .deadline_ms = NEVER, .ask_at_ms = NEVER, .hold_deadline_ms = NEVER };
}

void cutover_step(struct cutover *c, const struct cutover_event *ev, struct cutover_effects *effects)
{
    assert(cutover_is_sane(c));
    assert(ev->now_ms >= c->now_ms);
    effects->count = 0;
    c->now_ms = ev->now_ms;
    if (event_is_answer(ev)) {
        if (!c->is_asked || ev->op != c->op) return; /* of a state that was left: a deadline or an abort came first */
        c->is_asked = false;
    }
    if (ev->type == CUTOVER_EV_ABORT) {
        step_abort(c, ev, effects);
    } else {
        step_state(c, ev, effects);
    }
    assert(cutover_is_sane(c));
}

uint64_t cutover_deadline_ms(const struct cutover *c)
{
    uint64_t next = c->ask_at_ms;
    if (state_is(c, TO(DRAIN)) && c->deadline_ms < next) next = c->deadline_ms;
    /* Between HOLD and FLIP the hold's own end counts even while an answer is awaited. */
    if (state_is(c, TO(DRAIN) | TO(KILL) | TO(EMPTY) | TO(GATE_AGAIN)) && c->hold_deadline_ms < next)
        next = c->hold_deadline_ms;
    return next;
}

bool cutover_is_holding(const struct cutover *c)
{
    return state_is(c, HELD_STATES);
}

bool cutover_is_flipped(const struct cutover *c)
{
    return state_is(c, FLIPPED_STATES);
}

bool cutover_can_abort(const struct cutover *c)
{
    return state_is(c, TO(CHECK) | TO(CATCHUP) | TO(RECORD) | TO(PARK) | TO(PAUSE) | TO(GATE) | TO(SEE) | TO(DRAIN) |
                           TO(KILL) | TO(EMPTY) | TO(GATE_AGAIN) | TO(RESUME) | TO(UNDO_RESUME));
}

const char *cutover_state_name(enum cutover_state state)
{
    assert(state < CUTOVER_STATE_COUNT);
    return state_names[state];
}

bool cutover_edge_is_allowed(enum cutover_state from, enum cutover_state to)
{
    return from < CUTOVER_STATE_COUNT && to < CUTOVER_STATE_COUNT && (edges[from] >> to & 1) != 0;
}
