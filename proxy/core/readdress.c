/* SPDX-License-Identifier: Apache-2.0 */
#include "core/readdress.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"

#define NEVER UINT64_MAX

enum {
    ASK_CATCHUP_MS = 100,
    ASK_EMPTY_MS = 100,
    ASK_VERIFY_MS = 200,
    GRACE_MS = 500, /* what asynchronous replication always needs, also where catchup-timeout is 0 */
    RETRY_MS = 250, /* journal and DM, doubled up to */
    RETRY_MAX_MS = 5000,
};

static const char *const state_names[READDRESS_STATE_COUNT] = {
    [READDRESS_STATE_IDLE] = "idle",
    [READDRESS_STATE_CHECK] = "check",
    [READDRESS_STATE_CATCHUP] = "catch-up",
    [READDRESS_STATE_RECORD] = "record",
    [READDRESS_STATE_PAUSE] = "pause",
    [READDRESS_STATE_GATE] = "gate",
    [READDRESS_STATE_NOTE_STOP] = "note-stop",
    [READDRESS_STATE_STOP] = "stop",
    [READDRESS_STATE_EMPTY] = "empty",
    [READDRESS_STATE_GATE_AGAIN] = "gate-again",
    [READDRESS_STATE_NOTE_START] = "note-start",
    [READDRESS_STATE_START] = "start",
    [READDRESS_STATE_NOTE_DONE] = "note-done",
    [READDRESS_STATE_RESUME] = "resume",
    [READDRESS_STATE_VERIFY] = "verify",
    [READDRESS_STATE_ENDING] = "ending",
    [READDRESS_STATE_UNDO_NOTE] = "undo-note",
    [READDRESS_STATE_UNDO_STOP] = "undo-stop",
    [READDRESS_STATE_UNDO_GATE] = "undo-gate",
    [READDRESS_STATE_UNDO_START] = "undo-start",
    [READDRESS_STATE_UNDO_RESUME] = "undo-resume",
    [READDRESS_STATE_END] = "end",
    [READDRESS_STATE_REST] = "rest",
};

#define TO(state) (UINT32_C(1) << READDRESS_STATE_##state)

static const uint32_t edges[READDRESS_STATE_COUNT] = {
    [READDRESS_STATE_IDLE] = TO(CHECK) | TO(STOP) | TO(GATE_AGAIN) | TO(RESUME) | TO(UNDO_NOTE) | TO(UNDO_RESUME),
    [READDRESS_STATE_CHECK] = TO(CATCHUP) | TO(RECORD) | TO(END),
    [READDRESS_STATE_CATCHUP] = TO(RECORD) | TO(END),
    [READDRESS_STATE_RECORD] = TO(PAUSE) | TO(END),
    [READDRESS_STATE_PAUSE] = TO(GATE) | TO(ENDING) | TO(UNDO_RESUME),
    [READDRESS_STATE_GATE] = TO(NOTE_STOP) | TO(UNDO_RESUME),
    [READDRESS_STATE_NOTE_STOP] = TO(STOP) | TO(UNDO_RESUME),
    [READDRESS_STATE_STOP] = TO(EMPTY) | TO(ENDING) | TO(UNDO_NOTE),
    [READDRESS_STATE_EMPTY] = TO(GATE_AGAIN) | TO(UNDO_NOTE),
    [READDRESS_STATE_GATE_AGAIN] = TO(NOTE_START) | TO(UNDO_NOTE),
    [READDRESS_STATE_NOTE_START] = TO(START) | TO(UNDO_NOTE),
    [READDRESS_STATE_START] = TO(NOTE_DONE) | TO(ENDING) | TO(UNDO_NOTE),
    [READDRESS_STATE_NOTE_DONE] = TO(RESUME),
    [READDRESS_STATE_RESUME] = TO(VERIFY) | TO(END),
    [READDRESS_STATE_VERIFY] = TO(END),
    [READDRESS_STATE_ENDING] = TO(UNDO_NOTE) | TO(UNDO_RESUME),
    [READDRESS_STATE_UNDO_NOTE] = TO(UNDO_STOP) | TO(UNDO_START) | TO(REST),
    [READDRESS_STATE_UNDO_STOP] = TO(UNDO_GATE) | TO(REST),
    [READDRESS_STATE_UNDO_GATE] = TO(UNDO_START) | TO(REST),
    [READDRESS_STATE_UNDO_START] = TO(UNDO_RESUME) | TO(REST),
    [READDRESS_STATE_UNDO_RESUME] = TO(END),
    [READDRESS_STATE_END] = TO(IDLE),
    [READDRESS_STATE_REST] = TO(IDLE),
};

static bool state_is(const struct readdress *r, uint32_t set)
{
    return (set >> r->state & 1) != 0;
}

static bool readdress_is_sane(const struct readdress *r)
{
    if (r->state >= READDRESS_STATE_COUNT || r->state == READDRESS_STATE_REST) return false;
    if (state_is(r, TO(IDLE)) && (r->is_asked || r->ask_at_ms != NEVER)) return false;
    /* Before the source is stopped at the old address nothing may be started at the new one, and the reverse. */
    if (state_is(r, TO(CHECK) | TO(CATCHUP) | TO(RECORD)) && r->reach != READDRESS_REACH_NOTHING) return false;
    if (state_is(r, TO(PAUSE) | TO(GATE) | TO(NOTE_STOP)) && r->reach != READDRESS_REACH_PAUSED) return false;
    if (state_is(r, TO(START)) && r->reach != READDRESS_REACH_STARTING) return false;
    if (state_is(r, TO(NOTE_DONE) | TO(RESUME) | TO(VERIFY)) && r->reach != READDRESS_REACH_STARTED) return false;
    if (readdress_is_undoing(r) && (r->error == 0 || r->reach == READDRESS_REACH_STARTED)) return false;
    return true;
}

static struct readdress_effect *effect_add(struct readdress *r, struct readdress_effects *effects,
                                           enum readdress_effect_type type)
{
    assert(effects->count < READDRESS_EFFECTS_MAX);
    struct readdress_effect *effect = &effects->items[effects->count++];
    *effect = (struct readdress_effect){ .type = type, .op = r->op, .from = r->state, .to = r->state };
    return effect;
}

static void ask(struct readdress *r, struct readdress_effects *effects, enum readdress_effect_type type)
{
    r->op++;
    r->is_asked = true;
    r->ask_at_ms = NEVER;
    effect_add(r, effects, type);
}

static void report(struct readdress *r, struct readdress_effects *effects, const char *text)
{
    struct readdress_effect *effect = effect_add(r, effects, READDRESS_DO_REPORT);
    snprintf(effect->text, sizeof effect->text, "%s", text == NULL ? "" : text);
}

/* The one mutator of |state|. */
static void readdress_move(struct readdress *r, enum readdress_state to, struct readdress_effects *effects,
                           const char *text)
{
    assert(readdress_edge_is_allowed(r->state, to));
    enum readdress_state from = r->state;
    r->state = to;
    r->is_asked = false;
    r->ask_at_ms = NEVER;
    r->deadline_ms = NEVER;
    r->tries = 0;
    report(r, effects, text);
    effects->items[effects->count - 1].from = from;
}

static void go(struct readdress *r, enum readdress_state to, enum readdress_effect_type what,
               struct readdress_effects *effects, const char *text)
{
    readdress_move(r, to, effects, text);
    ask(r, effects, what);
}

static void note_failure(struct readdress *r, enum cutover_exit how, int error, const char *text)
{
    if (r->error != 0) return; /* the first cause is the one that counts */
    r->exit = how;
    r->error = error;
    snprintf(r->text, sizeof r->text, "%s", text == NULL || *text == '\0' ? error_text(error) : text);
}

static void end(struct readdress *r, struct readdress_effects *effects)
{
    go(r, READDRESS_STATE_END, READDRESS_DO_END, effects, r->error == 0 ? "done" : r->text);
}

/* Back, from how far it came. */
static void go_back(struct readdress *r, struct readdress_effects *effects)
{
    switch (r->reach) {
    case READDRESS_REACH_NOTHING: end(r, effects); return;
    case READDRESS_REACH_PAUSED: go(r, READDRESS_STATE_UNDO_RESUME, READDRESS_DO_RESUME, effects, r->text); return;
    case READDRESS_REACH_STOPPED:
    case READDRESS_REACH_STARTING: go(r, READDRESS_STATE_UNDO_NOTE, READDRESS_DO_NOTE_UNDO, effects, r->text); return;
    case READDRESS_REACH_STARTED: assert(false);
    }
}

static void undo(struct readdress *r, struct readdress_effects *effects, enum cutover_exit how, int error,
                 const char *text)
{
    note_failure(r, how, error, text);
    go_back(r, effects);
}

static enum cutover_exit exit_of(int status)
{
    if (status == SLUICE_ERR_REFUSED || status == SLUICE_ERR_REWOUND || status == SLUICE_ERR_WRONG_SERVER ||
        status == SLUICE_ERR_ACCESS_DENIED || status == SLUICE_ERR_UNREACHABLE)
        return CUTOVER_EXIT_REFUSED;
    return status == SLUICE_ERR_TIMEOUT ? CUTOVER_EXIT_TIMEOUT : CUTOVER_EXIT_UNDONE;
}

static void undo_failed_answer(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    undo(r, effects, exit_of(ev->status), ev->status, ev->text);
}

/* An order that DM did not carry out is no refusal by a check: it was begun, failed, and is taken back. */
static void undo_failed_order(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    undo(r, effects, ev->status == SLUICE_ERR_TIMEOUT ? CUTOVER_EXIT_TIMEOUT : CUTOVER_EXIT_UNDONE, ev->status,
         ev->text);
}

/* The record stays open, and a person decides: nothing else may move this source meanwhile. */
static void rest(struct readdress *r, struct readdress_effects *effects, const char *text)
{
    char left[CUTOVER_TEXT_LEN + 1];
    snprintf(left, sizeof left, "%.250s; not led back: %.200s", r->text, text);
    r->error = 0;
    note_failure(r, CUTOVER_EXIT_UNKNOWN, SLUICE_ERR_STATE_UNKNOWN, left);
    readdress_move(r, READDRESS_STATE_REST, effects, left);
    effect_add(r, effects, READDRESS_DO_REST);
    readdress_move(r, READDRESS_STATE_IDLE, effects, "");
}

static uint64_t retry_after(struct readdress *r)
{
    uint64_t wait = RETRY_MS;
    for (uint32_t i = 0; i < r->tries && wait < RETRY_MAX_MS; i++)
        wait *= 2;
    r->tries++;
    return r->now_ms + (wait > RETRY_MAX_MS ? RETRY_MAX_MS : wait);
}

static bool is_time_to_ask(const struct readdress *r, const struct readdress_event *ev)
{
    return ev->type == READDRESS_EV_TIME && !r->is_asked && r->now_ms >= r->ask_at_ms;
}

static uint64_t catchup_deadline(const struct readdress *r)
{
    return r->now_ms + (r->limits.catchup_timeout_ms > GRACE_MS ? r->limits.catchup_timeout_ms : GRACE_MS);
}

/* A server that is merely behind is asked again until its time is over; then the cause decides, as in core/cutover. */
static void wait_for_catchup(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (r->now_ms < r->deadline_ms) {
        if (r->tries++ % 10 == 0) report(r, effects, ev->text);
        r->ask_at_ms = r->now_ms + ASK_CATCHUP_MS;
        return;
    }
    bool is_refusal = r->limits.catchup_timeout_ms == 0 || ev->status == SLUICE_ERR_REFUSED;
    undo(r, effects, is_refusal ? CUTOVER_EXIT_REFUSED : CUTOVER_EXIT_TIMEOUT,
         is_refusal ? SLUICE_ERR_REFUSED : SLUICE_ERR_TIMEOUT, ev->text);
}

/* True when it passed; else it is being waited for, or led back. */
static bool has_passed(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    switch (ev->verdict) {
    case CUTOVER_VERDICT_PASS: return true;
    case CUTOVER_VERDICT_LAGGING: wait_for_catchup(r, ev, effects); break;
    case CUTOVER_VERDICT_REFUSED: undo(r, effects, CUTOVER_EXIT_REFUSED, SLUICE_ERR_REFUSED, ev->text); break;
    case CUTOVER_VERDICT_FAILED: undo_failed_answer(r, ev, effects); break;
    }
    return false;
}

static void step_check(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_READ_CHECK);
    if (ev->type != READDRESS_EV_JUDGED) return;
    if (r->state == READDRESS_STATE_CHECK && ev->verdict == CUTOVER_VERDICT_LAGGING) {
        readdress_move(r, READDRESS_STATE_CATCHUP, effects, ev->text);
        r->deadline_ms = catchup_deadline(r);
        r->ask_at_ms = r->now_ms + ASK_CATCHUP_MS;
    } else if (has_passed(r, ev, effects)) {
        go(r, READDRESS_STATE_RECORD, READDRESS_DO_RECORD, effects, ev->text);
    }
}

static void step_record(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_NOTED) return;
    if (ev->status != 0) {
        undo_failed_answer(r, ev, effects);
        return;
    }
    r->reach = READDRESS_REACH_PAUSED;
    go(r, READDRESS_STATE_PAUSE, READDRESS_DO_PAUSE, effects, ev->text);
}

static void step_pause(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_PAUSED) return;
    if (ev->status != 0) {
        undo_failed_order(r, ev, effects);
        return;
    }
    go(r, READDRESS_STATE_GATE, READDRESS_DO_READ_GATE, effects, ev->text);
    r->deadline_ms = catchup_deadline(r);
}

static void step_gate(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_READ_GATE);
    if (ev->type == READDRESS_EV_JUDGED && has_passed(r, ev, effects))
        go(r, READDRESS_STATE_NOTE_STOP, READDRESS_DO_NOTE_STOP, effects, ev->text);
}

static void step_note_stop(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_NOTED) return;
    if (ev->status != 0) {
        undo_failed_answer(r, ev, effects);
        return;
    }
    r->reach = READDRESS_REACH_STOPPED;
    go(r, READDRESS_STATE_STOP, READDRESS_DO_STOP_OLD, effects, ev->text);
}

static void step_stop(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_STOPPED) return;
    if (ev->status != 0) {
        undo_failed_order(r, ev, effects);
        return;
    }
    go(r, READDRESS_STATE_EMPTY, READDRESS_DO_LIST_OLD, effects, ev->text);
    r->deadline_ms = r->now_ms + r->limits.empty_timeout_ms;
}

static void begin_gate_again(struct readdress *r, struct readdress_effects *effects, const char *text)
{
    go(r, READDRESS_STATE_GATE_AGAIN, READDRESS_DO_READ_NEW, effects, text);
    r->deadline_ms = catchup_deadline(r);
}

static void step_empty(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_LIST_OLD);
    if (ev->type != READDRESS_EV_LISTED) return;
    if (ev->status == 0 && ev->count == 0) {
        begin_gate_again(r, effects, ev->text);
    } else if (r->now_ms >= r->deadline_ms) {
        if (ev->status != 0) {
            undo_failed_answer(r, ev, effects);
        } else {
            undo(r, effects, CUTOVER_EXIT_TIMEOUT, SLUICE_ERR_TIMEOUT, ev->text);
        }
    } else {
        if (r->tries++ % 10 == 0) report(r, effects, ev->text);
        r->ask_at_ms = r->now_ms + ASK_EMPTY_MS;
    }
}

static void step_gate_again(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_READ_NEW);
    if (ev->type == READDRESS_EV_JUDGED && has_passed(r, ev, effects))
        go(r, READDRESS_STATE_NOTE_START, READDRESS_DO_NOTE_START, effects, ev->text);
}

static void step_note_start(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_NOTED) return;
    if (ev->status != 0) {
        undo_failed_answer(r, ev, effects);
        return;
    }
    r->reach = READDRESS_REACH_STARTING;
    go(r, READDRESS_STATE_START, READDRESS_DO_START_NEW, effects, ev->text);
}

static void step_start(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_STARTED) return;
    if (ev->status != 0) {
        undo_failed_order(r, ev, effects);
        return;
    }
    r->reach = READDRESS_REACH_STARTED;
    go(r, READDRESS_STATE_NOTE_DONE, READDRESS_DO_NOTE_DONE, effects, ev->text);
}

/* Where this cannot be written a restart would only ask to be told to go on, and find all started. */
static void step_note_done(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type != READDRESS_EV_NOTED) return;
    go(r, READDRESS_STATE_RESUME, READDRESS_DO_RESUME, effects, ev->text);
}

/* Tried until it succeeds, or until an operator says that he will do it himself. */
static bool has_ended_well(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects,
                           enum readdress_event_type answer, enum readdress_effect_type what)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, what);
    if (ev->type != answer) return false;
    if (ev->status == 0) return true;
    report(r, effects, ev->text);
    r->ask_at_ms = retry_after(r);
    return false;
}

static void step_resume(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (!has_ended_well(r, ev, effects, READDRESS_EV_RESUMED, READDRESS_DO_RESUME)) return;
    go(r, READDRESS_STATE_VERIFY, READDRESS_DO_VERIFY, effects, ev->text);
    r->deadline_ms = r->now_ms + r->limits.verify_timeout_ms;
}

static void step_verify(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_VERIFY);
    if (ev->type != READDRESS_EV_VERIFIED) return;
    if (ev->status == 0) {
        end(r, effects);
    } else if (r->now_ms >= r->deadline_ms) {
        note_failure(r, CUTOVER_EXIT_UNKNOWN, ev->status, ev->text);
        end(r, effects);
    } else {
        if (r->tries++ % 10 == 0) report(r, effects, ev->text);
        r->ask_at_ms = r->now_ms + ASK_VERIFY_MS;
    }
}

static void step_ending(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type == READDRESS_EV_PAUSED || ev->type == READDRESS_EV_STOPPED || ev->type == READDRESS_EV_STARTED)
        go_back(r, effects);
}

/*
 * Without this on disk a restart would be told to go on to the new address, while something may stand at the old one again: tried until it
 * succeeds.
 */
static void step_undo_note(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (!has_ended_well(r, ev, effects, READDRESS_EV_NOTED, READDRESS_DO_NOTE_UNDO)) return;
    if (r->reach == READDRESS_REACH_STARTING) {
        go(r, READDRESS_STATE_UNDO_STOP, READDRESS_DO_STOP_NEW, effects, ev->text);
    } else {
        go(r, READDRESS_STATE_UNDO_START, READDRESS_DO_START_OLD, effects, ev->text);
    }
}

static void step_undo_stop(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (has_ended_well(r, ev, effects, READDRESS_EV_STOPPED, READDRESS_DO_STOP_NEW))
        go(r, READDRESS_STATE_UNDO_GATE, READDRESS_DO_READ_OLD, effects, ev->text);
}

/* What the tasks read at the new address and the old server does not have would be missed, or never taken back. */
static void step_undo_gate(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (is_time_to_ask(r, ev)) ask(r, effects, READDRESS_DO_READ_OLD);
    if (ev->type != READDRESS_EV_JUDGED) return;
    switch (ev->verdict) {
    case CUTOVER_VERDICT_PASS: go(r, READDRESS_STATE_UNDO_START, READDRESS_DO_START_OLD, effects, ev->text); break;
    case CUTOVER_VERDICT_LAGGING:
    case CUTOVER_VERDICT_REFUSED:
        r->reach = READDRESS_REACH_STOPPED; /* it stands nowhere: both ways are open */
        rest(r, effects, ev->text);
        break;
    case CUTOVER_VERDICT_FAILED:
        report(r, effects, ev->text);
        r->ask_at_ms = retry_after(r);
        break;
    }
}

static void step_undo_start(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (has_ended_well(r, ev, effects, READDRESS_EV_STARTED, READDRESS_DO_START_OLD))
        go(r, READDRESS_STATE_UNDO_RESUME, READDRESS_DO_RESUME, effects, ev->text);
}

static void step_undo_resume(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (has_ended_well(r, ev, effects, READDRESS_EV_RESUMED, READDRESS_DO_RESUME)) end(r, effects);
}

static void step_end(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (has_ended_well(r, ev, effects, READDRESS_EV_ENDED, READDRESS_DO_END))
        readdress_move(r, READDRESS_STATE_IDLE, effects, "");
}

static void forget(struct readdress *r)
{
    r->exit = CUTOVER_EXIT_DONE;
    r->error = 0;
    r->text[0] = '\0';
    r->reach = READDRESS_REACH_NOTHING;
}

static void recover(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    r->reach = ev->reach;
    if (ev->is_back && ev->reach != READDRESS_REACH_STARTED) {
        /* What a person was asked about may stand at either address, and its tasks may have read there. */
        if (ev->reach == READDRESS_REACH_STOPPED) r->reach = READDRESS_REACH_STARTING;
        undo(r, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, ev->text);
        return;
    }
    switch (ev->reach) {
    case READDRESS_REACH_NOTHING:
    case READDRESS_REACH_PAUSED: undo(r, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, ev->text); break;
    case READDRESS_REACH_STOPPED: go(r, READDRESS_STATE_STOP, READDRESS_DO_STOP_OLD, effects, ev->text); break;
    case READDRESS_REACH_STARTING: begin_gate_again(r, effects, ev->text); break;
    case READDRESS_REACH_STARTED: go(r, READDRESS_STATE_RESUME, READDRESS_DO_RESUME, effects, ev->text); break;
    }
}

static void step_idle(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    if (ev->type == READDRESS_EV_START) {
        forget(r);
        go(r, READDRESS_STATE_CHECK, READDRESS_DO_READ_CHECK, effects, ev->text);
    } else if (ev->type == READDRESS_EV_RECOVER) {
        assert(ev->reach != READDRESS_REACH_NOTHING);
        forget(r);
        recover(r, ev, effects);
    }
}

static void step_abort(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    const char *text = ev->text == NULL ? "aborted" : ev->text;
    if (!readdress_can_abort(r)) return;
    if (state_is(r, TO(PAUSE) | TO(STOP) | TO(START))) {
        uint32_t op = r->op;
        note_failure(r, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, text);
        readdress_move(r, READDRESS_STATE_ENDING, effects, text);
        r->op = op; /* the same answer is still awaited */
        r->is_asked = true;
    } else if (state_is(r, TO(UNDO_NOTE) | TO(UNDO_STOP) | TO(UNDO_GATE) | TO(UNDO_START))) {
        rest(r, effects, text);
    } else if (state_is(r, TO(RESUME) | TO(UNDO_RESUME))) {
        char left[CUTOVER_TEXT_LEN + 1];
        snprintf(left, sizeof left, "%.200s; relay and tasks were left as they are: resume them by hand", text);
        r->error = 0;
        note_failure(r, CUTOVER_EXIT_UNKNOWN, SLUICE_ERR_STATE_UNKNOWN, left);
        end(r, effects);
    } else {
        undo(r, effects, CUTOVER_EXIT_UNDONE, SLUICE_ERR_CANCELED, text);
    }
}

static void step_state(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    switch (r->state) {
    case READDRESS_STATE_IDLE: step_idle(r, ev, effects); break;
    case READDRESS_STATE_CHECK:
    case READDRESS_STATE_CATCHUP: step_check(r, ev, effects); break;
    case READDRESS_STATE_RECORD: step_record(r, ev, effects); break;
    case READDRESS_STATE_PAUSE: step_pause(r, ev, effects); break;
    case READDRESS_STATE_GATE: step_gate(r, ev, effects); break;
    case READDRESS_STATE_NOTE_STOP: step_note_stop(r, ev, effects); break;
    case READDRESS_STATE_STOP: step_stop(r, ev, effects); break;
    case READDRESS_STATE_EMPTY: step_empty(r, ev, effects); break;
    case READDRESS_STATE_GATE_AGAIN: step_gate_again(r, ev, effects); break;
    case READDRESS_STATE_NOTE_START: step_note_start(r, ev, effects); break;
    case READDRESS_STATE_START: step_start(r, ev, effects); break;
    case READDRESS_STATE_NOTE_DONE: step_note_done(r, ev, effects); break;
    case READDRESS_STATE_RESUME: step_resume(r, ev, effects); break;
    case READDRESS_STATE_VERIFY: step_verify(r, ev, effects); break;
    case READDRESS_STATE_ENDING: step_ending(r, ev, effects); break;
    case READDRESS_STATE_UNDO_NOTE: step_undo_note(r, ev, effects); break;
    case READDRESS_STATE_UNDO_STOP: step_undo_stop(r, ev, effects); break;
    case READDRESS_STATE_UNDO_GATE: step_undo_gate(r, ev, effects); break;
    case READDRESS_STATE_UNDO_START: step_undo_start(r, ev, effects); break;
    case READDRESS_STATE_UNDO_RESUME: step_undo_resume(r, ev, effects); break;
    case READDRESS_STATE_END: step_end(r, ev, effects); break;
    case READDRESS_STATE_REST:
    case READDRESS_STATE_COUNT: assert(false); break; /* nobody stays in these */
    }
}

static bool event_is_answer(const struct readdress_event *ev)
{
    switch (ev->type) {
    case READDRESS_EV_START:
    case READDRESS_EV_RECOVER:
    case READDRESS_EV_TIME:
    case READDRESS_EV_ABORT: return false;
    case READDRESS_EV_JUDGED:
    case READDRESS_EV_NOTED:
    case READDRESS_EV_PAUSED:
    case READDRESS_EV_STOPPED:
    case READDRESS_EV_LISTED:
    case READDRESS_EV_STARTED:
    case READDRESS_EV_RESUMED:
    case READDRESS_EV_VERIFIED:
    case READDRESS_EV_ENDED: return true;
    }
    return false;
}

void readdress_init(struct readdress *r, const struct readdress_limits *limits)
{
    *r = (struct readdress){ .limits = *limits, .deadline_ms = NEVER, .ask_at_ms = NEVER };
}

void readdress_step(struct readdress *r, const struct readdress_event *ev, struct readdress_effects *effects)
{
    assert(readdress_is_sane(r));
    assert(ev->now_ms >= r->now_ms);
    effects->count = 0;
    r->now_ms = ev->now_ms;
    if (event_is_answer(ev)) {
        if (!r->is_asked || ev->op != r->op) return; /* of a state that was left */
        r->is_asked = false;
    }
    if (ev->type == READDRESS_EV_ABORT) {
        step_abort(r, ev, effects);
    } else {
        step_state(r, ev, effects);
    }
    assert(readdress_is_sane(r));
}

uint64_t readdress_deadline_ms(const struct readdress *r)
{
    return r->ask_at_ms;
}

bool readdress_can_abort(const struct readdress *r)
{
    return state_is(r, TO(CHECK) | TO(CATCHUP) | TO(RECORD) | TO(PAUSE) | TO(GATE) | TO(NOTE_STOP) | TO(STOP) |
                           TO(EMPTY) | TO(GATE_AGAIN) | TO(NOTE_START) | TO(START) | TO(RESUME) | TO(UNDO_NOTE) |
                           TO(UNDO_STOP) | TO(UNDO_GATE) | TO(UNDO_START) | TO(UNDO_RESUME));
}

bool readdress_is_undoing(const struct readdress *r)
{
    return state_is(r, TO(ENDING) | TO(UNDO_NOTE) | TO(UNDO_STOP) | TO(UNDO_GATE) | TO(UNDO_START) | TO(UNDO_RESUME));
}

const char *readdress_state_name(enum readdress_state state)
{
    assert(state < READDRESS_STATE_COUNT);
    return state_names[state];
}

bool readdress_edge_is_allowed(enum readdress_state from, enum readdress_state to)
{
    return from < READDRESS_STATE_COUNT && to < READDRESS_STATE_COUNT && (edges[from] >> to & 1) != 0;
}
