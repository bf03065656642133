/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of a switch: turns the effects of cutover_step() into calls, and their completions into events. It decides nothing. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "core/dm.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/fault.h"
#include "source/state.h"

static void perform(struct source *s, const struct cutover_effect *effect);
static void switch_ended(struct source *s);
static void on_progress(void *arg, const char *text);

bool switch_is_running(const struct source *s)
{
    return s->run.is_open;
}

void switch_run_free(struct switch_run *run)
{
    switch_options_free(&run->options);
    mem_free(run->plan);
    mem_free(run->drained);
    mem_free(run->delivered_text);
    json_decref(run->steps);
    record_switch_free(&run->record);
    record_source_free(&run->next);
    *run = (struct switch_run){ 0 };
}

/* ---- events ---- */

static void rearm(struct source *s)
{
    uint64_t at = cutover_deadline_ms(&s->cutover), now = source_now(s);
    if (at == UINT64_MAX) {
        uv_timer_stop(&s->cutover_timer);
    } else {
        uv_timer_start(&s->cutover_timer, s->cutover_timer.timer_cb, at > now ? at - now : 0, 0);
    }
}

static void step(struct source *s, const struct cutover_event *ev)
{
    struct cutover_effects effects;
    struct cutover_event now = *ev;
    now.now_ms = source_now(s);
    cutover_step(&s->cutover, &now, &effects);
    for (size_t i = 0; i < effects.count; i++)
        perform(s, &effects.items[i]);
}

/* An effect may be answered while the others are still being performed: the answer waits for its turn. */
void switch_event(struct source *s, const struct cutover_event *ev)
{
    if (s->is_closing) return; /* the journal has the rest */
    assert(s->queue_count < ARRAY_LEN(s->queue));
    struct source_event *last = &s->queue[s->queue_count++];
    last->ev = *ev;
    snprintf(last->text, sizeof last->text, "%s", ev->text == NULL ? "" : ev->text);
    if (s->is_stepping) return;
    s->is_stepping = true;
    while (s->queue_count > 0) {
        struct source_event first = s->queue[0];
        first.ev.text = first.text;
        s->queue_count--;
        memmove(s->queue, s->queue + 1, s->queue_count * sizeof s->queue[0]);
        step(s, &first.ev);
    }
    s->is_stepping = false;
    if (s->run.is_open && s->cutover.state == CUTOVER_STATE_IDLE) switch_ended(s);
    rearm(s);
}

static void answer(struct source *s, enum cutover_event_type type, uint32_t op, int status, const char *text)
{
    const struct cutover_event ev = { .type = type, .op = op, .status = status, .text = text };
    switch_event(s, &ev);
}

/* A call under way: its answer goes back with the op of the effect that asked, so that one of a state left behind is known. */
struct asked {
    struct source *source;
    uint32_t op;
};

static struct asked *asked_new(struct source *s, uint32_t op)
{
    struct asked *a = mem_alloc(sizeof *a);
    if (a == NULL) abort(); /* an answer that cannot be awaited would leave clients held: recovery decides */
    *a = (struct asked){ s, op };
    s->jobs++;
    return a;
}

static void answer_asked(struct asked *a, enum cutover_event_type type, int status, const char *text)
{
    struct source *s = a->source;
    uint32_t op = a->op;
    mem_free(a);
    s->jobs--;
    answer(s, type, op, status, text);
    source_job_ended(s);
}

/* ---- what is written down ---- */

int switch_fill_record(struct source *s, const char *phase)
{
    struct switch_run *run = &s->run;
    struct record_switch *r = &run->record;
    char *options = run->options.json == NULL ? NULL : json_dumps(run->options.json, JSON_COMPACT);
    r->number = run->number;
    r->epoch_from = run->epoch_from;
    r->epoch_to = run->epoch_to;
    r->started_unix_ms = run->started_unix_ms;
    int rv = record_set(&r->source_id, s->config->source_id);
    if (rv == 0) rv = record_set(&r->from, run->from->config->name);
    if (rv == 0) rv = record_set(&r->to, run->to->config->name);
    if (rv == 0) rv = record_set(&r->plan, run->plan);
    if (rv == 0 && options != NULL) rv = record_set(&r->options, options);
    if (rv == 0) rv = record_set(&r->phase, phase);
    free(options); /* jansson's default allocator */
    return rv;
}

static void on_recorded(void *arg, int status, uint64_t number)
{
    (void)number;
    answer_asked(arg, CUTOVER_EV_RECORDED, status,
                 status == 0 ? "written down" : "the plan could not be written to state-dir");
}

static void do_record(struct source *s, uint32_t op)
{
    mem_free(s->run.plan);
    s->run.plan = s->reading.plan;
    s->reading.plan = NULL;
    if (switch_fill_record(s, SWITCH_PHASE_RECORDED) != 0) {
        answer(s, CUTOVER_EV_RECORDED, op, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    journal_switch_update(s->host.journal, &s->run.record, s->host.mailbox, on_recorded, asked_new(s, op));
}

/* Promise 3. The record in memory follows the disk, never leads it. */
static void on_flipped(void *arg, int status, uint64_t number)
{
    struct source *s = ((struct asked *)arg)->source;
    (void)number;
    if (status == 0) {
        s->run.has_flipped = true;
        source_take_record(s, &s->run.next);
        streams_flipped(s);
    }
    answer_asked(arg, CUTOVER_EV_FLIPPED, status,
                 status == 0 ? "on disk" : "the write of the flip failed: whether it is on disk is unknown");
}

static char *losses_after_flip(struct source *s)
{
    struct gtid_set *loss = source_accepted_loss(s);
    char *text = NULL;
    if (loss == NULL) return NULL;
    if (s->run.options.accept_loss == NULL || gtid_set_add_set(loss, s->run.options.accept_loss) == 0) {
        char *printed = gtid_set_print(loss, GTID_SEPARATOR_COMMA, NULL);
        if (printed != NULL) text = mem_strdup(printed);
        gtid_free(printed);
    }
    gtid_set_del(loss);
    return text;
}

/* What the new server has now, which is read no later, goes to the disk with the flip: a resume may wait for it (promise 3). */
static int plan_flip(struct source *s)
{
    const struct gtid_set *set = s->reading.new_gtids.executed;
    char *executed = set == NULL ? NULL : gtid_set_print(set, GTID_SEPARATOR_COMMA, NULL), *plan = NULL;
    struct upstream_error error = { 0 };
    if (set == NULL || s->run.plan == NULL) return 0; /* the gate is switched off in this test build */
    int rv =
        executed == NULL ? SLUICE_ERR_NOMEM : consumer_plan_flip(s->consumer, s->run.plan, executed, &plan, &error);
    gtid_free(executed);
    if (rv != 0) return rv;
    mem_free(s->run.plan);
    s->run.plan = plan;
    return 0;
}

static void do_flip(struct source *s, uint32_t op)
{
    struct record_source *next = &s->run.next;
    char *losses = losses_after_flip(s);
    record_source_free(next);
    int rv = losses == NULL ? SLUICE_ERR_NOMEM : record_source_copy(next, &s->record);
    if (rv == 0) rv = record_set(&next->active, s->run.to->config->name);
    if (rv == 0) rv = record_set(&next->accepted_loss, losses);
    if (rv == 0) rv = plan_flip(s);
    if (rv == 0) rv = switch_fill_record(s, SWITCH_PHASE_FLIPPED);
    next->epoch = s->run.epoch_to;
    next->has_moved = true;
    mem_free(losses);
    if (rv != 0) {
        answer(s, CUTOVER_EV_FLIPPED, op, rv, "memory ran out");
    } else if (fault_is_on("flip-unrecorded")) {
        on_flipped(asked_new(s, op), 0, 0);
    } else {
        journal_flip(s->host.journal, next, &s->run.record, s->host.mailbox, on_flipped, asked_new(s, op));
    }
}

static void on_old_committed(void *arg, int status, uint64_t number)
{
    (void)number;
    answer_asked(arg, CUTOVER_EV_OLD_COMMITTED, status, "");
}

/* A later commit that names the old backend and an epoch newer than the one that may or may not be on disk. */
static void do_commit_old(struct source *s, uint32_t op)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    s->record.epoch = s->run.epoch_to + 1;
    s->run.has_flipped = false;
    if (switch_fill_record(s, SWITCH_PHASE_PAUSING) != 0) {
        answer(s, CUTOVER_EV_OLD_COMMITTED, op, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    journal_txn_source_put(&txn, &s->record);
    journal_txn_switch_put(&txn, &s->run.record);
    journal_commit(s->host.journal, &txn, s->host.mailbox, on_old_committed, asked_new(s, op));
}

static void on_ended(void *arg, int status, uint64_t number)
{
    (void)number;
    answer_asked(arg, CUTOVER_EV_ENDED, status, "");
}

static enum record_switch_state end_state(const struct cutover *c)
{
    if (c->exit == CUTOVER_EXIT_DONE) return RECORD_SWITCH_DONE;
    return c->exit == CUTOVER_EXIT_UNKNOWN ? RECORD_SWITCH_FAILED : RECORD_SWITCH_UNDONE;
}

static void do_end(struct source *s, uint32_t op)
{
    struct record_switch *r = &s->run.record;
    const struct cutover *c = &s->cutover;
    int rv = switch_fill_record(s, s->run.has_flipped ? "resumed" : "undone");
    r->state = end_state(c);
    r->exit_code = (int)c->exit;
    r->ended_unix_ms = source_unix_ms();
    if (rv == 0) rv = record_set(&r->msg, c->exit == CUTOVER_EXIT_DONE ? "" : c->text);
    json_t *report = switch_run_json(s);
    char *text = report == NULL ? NULL : json_dumps(report, JSON_COMPACT);
    json_decref(report);
    if (rv == 0 && text != NULL) rv = record_set(&r->report, text);
    free(text); /* jansson's default allocator */
    if (rv != 0) {
        answer(s, CUTOVER_EV_ENDED, op, rv, "memory ran out");
        return;
    }
    journal_switch_update(s->host.journal, r, s->host.mailbox, on_ended, asked_new(s, op));
}

/* ---- reading ---- */

static void on_judged(struct source *s, void *arg, enum cutover_verdict verdict, int status, const char *text)
{
    (void)arg;
    if (fault_is_on("skip-gate") && verdict == CUTOVER_VERDICT_LAGGING) verdict = CUTOVER_VERDICT_PASS;
    const struct cutover_event ev = {
        .type = CUTOVER_EV_JUDGED, .op = s->run.reading_op, .verdict = verdict, .status = status, .text = text
    };
    switch_event(s, &ev);
}

static void do_read(struct source *s, uint32_t op, enum reading_kind kind)
{
    struct reading *r = &s->reading;
    if (r->is_active) reading_abandon(r);
    s->run.reading_op = op; /* one reading at a time: an abandoned one is not heard any more */
    bool is_first = r->kind != kind;
    bool is_stale = kind == READING_GATE || s->delivered.is_known || !r->snapshot_is_delivered;
    if (is_first && kind != READING_CHECK && is_stale) {
        gtid_set_del(r->snapshot); /* D anew: after the pause, and once the last stream has ended */
        r->snapshot = NULL;
        r->snapshot_is_delivered = false;
    }
    if (fault_is_on("skip-gate") && kind != READING_CHECK) {
        r->kind = kind;
        backend_confirm(s->run.to, &s->run.to->target);
        on_judged(s, NULL, CUTOVER_VERDICT_PASS, 0, "the gate is switched off in this test build");
        return;
    }
    reading_start(s, r, kind, on_judged, NULL);
}

/* ---- the consumer ---- */

static void on_paused(void *arg, int status, const struct upstream_error *error)
{
    answer_asked(arg, CUTOVER_EV_PAUSED, status, status == 0 ? "the consumer is quiet" : error->text);
}

static void on_resumed(void *arg, int status, const struct upstream_error *error)
{
    struct source *s = ((struct asked *)arg)->source;
    s->has_tried_resume = true;
    snprintf(s->run.waiting, sizeof s->run.waiting, "%.*s", SOURCE_WAITING_LEN, status == 0 ? "" : error->text);
    answer_asked(arg, CUTOVER_EV_RESUMED, status, status == 0 ? "the consumer was resumed" : error->text);
}

/* A switch that ended before its plan was made has paused nothing. */
static bool has_plan(const struct source *s)
{
    return s->run.plan != NULL && *s->run.plan != '\0';
}

static void do_resume(struct source *s, uint32_t op)
{
    s->has_tried_resume = false;
    if (!has_plan(s)) {
        answer(s, CUTOVER_EV_RESUMED, op, 0, "nothing was paused");
        return;
    }
    const struct backend *active = source_active(s);
    s->run.waiting[0] = '\0';
    bool is_known = active != NULL && !fault_is_on("hurry-relay");
    if (consumer_set_server(s->consumer, is_known ? active->pin : "") != 0)
        log_warn("the active server's uuid cannot be told to the consumer", LOG_STR("source", s->config->source_id));
    consumer_set_progress(s->consumer, on_progress, s);
    consumer_resume(s->consumer, s->run.plan, s->config->limits.pause_timeout_ms, on_resumed, asked_new(s, op));
}

struct stream_search {
    uint64_t epoch;
    const char *user; /* "" when not known: any will do */
    bool is_found;
};

static bool is_consumers_stream(void *arg, const struct sessions_leg *leg)
{
    struct stream_search *search = arg;
    bool is_it = leg->is_stream && leg->epoch == search->epoch;
    search->is_found = is_it && (*search->user == '\0' || strcmp(search->user, leg->user) == 0);
    return !search->is_found;
}

static struct consumer_evidence see_consumer(struct source *s, const struct consumer_status *found)
{
    const struct backend *active = source_active(s);
    const char *user = found->dm == NULL || found->dm->from_user == NULL ? "" : found->dm->from_user;
    struct stream_search search = { .epoch = s->record.epoch, .user = user };
    sessions_each_leg(s->sessions, is_consumers_stream, &search);
    return (struct consumer_evidence){ .streams_are_visible = sessions_opaque_count(s->sessions) == 0,
                                       .has_stream = search.is_found,
                                       .executed =
                                           active != NULL && active->has_facts ? active->facts.executed : NULL };
}

static void on_verify_status(void *arg, int status, const struct upstream_error *error,
                             const struct consumer_status *found)
{
    struct asked *a = arg;
    struct source *s = a->source;
    struct upstream_error why = { 0 };
    struct cutover_event ev = { .type = CUTOVER_EV_VERIFIED, .op = a->op, .status = SLUICE_ERR_BUSY };
    bool progresses = false;
    mem_free(a);
    s->jobs--;
    if (status != 0) {
        ev.text = error->text;
    } else {
        const struct consumer_evidence seen = see_consumer(s, found);
        ev.status = consumer_is_resumed(s->consumer, s->run.plan, found, &seen, &progresses, &why);
        ev.count = progresses ? 1 : 0;
        ev.text = ev.status == 0 && *why.text == '\0' ? "the consumer runs on the new backend" : why.text;
    }
    snprintf(s->run.waiting, sizeof s->run.waiting, "%.*s", SOURCE_WAITING_LEN, ev.status == 0 ? "" : ev.text);
    switch_event(s, &ev);
    source_job_ended(s);
}

static void do_verify(struct source *s, uint32_t op)
{
    if (!has_plan(s)) {
        answer(s, CUTOVER_EV_VERIFIED, op, 0, "");
        return;
    }
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_verify_status, asked_new(s, op));
}

/* ---- the sessions and the old server ---- */

static void on_live_listed(struct source *s, uint32_t op, int status, uint32_t found, const char *text,
                           struct gtid_set *delivered)
{
    (void)found;
    gtid_set_del(delivered);
    answer(s, CUTOVER_EV_SEEN, op, status, text);
}

/* What the old server has once no stream is left, read once and then frozen: D. */
static void freeze_delivered(struct source *s, struct gtid_set *delivered)
{
    gtid_set_del(s->reading.old_at_empty);
    s->reading.old_at_empty = delivered;
    /* Where it is known what passed, that is less than what the server has. */
    delivered = s->delivered.is_known ? gtid_set_copy(s->delivered.all)
                : delivered == NULL   ? NULL
                                      : gtid_set_copy(delivered);
    char *text = delivered == NULL ? NULL : gtid_set_print(delivered, GTID_SEPARATOR_COMMA, NULL);
    gtid_set_del(s->reading.snapshot);
    s->reading.snapshot = delivered;
    s->reading.snapshot_is_delivered = true;
    mem_free(s->run.delivered_text);
    s->run.delivered_text = text == NULL ? NULL : mem_strdup(text);
    gtid_free(text);
}

static void on_old_listed(struct source *s, uint32_t op, int status, uint32_t found, const char *text,
                          struct gtid_set *delivered)
{
    const struct cutover_event ev = {
        .type = CUTOVER_EV_LISTED, .op = op, .status = status, .count = found, .text = text
    };
    s->run.thread_kills += status == 0 ? found : 0;
    bool is_awaited = s->cutover.is_asked && s->cutover.op == op; /* else it is of a switch that was undone meanwhile */
    if (status == 0 && found == 0 && is_awaited) {
        freeze_delivered(s, delivered);
    } else {
        gtid_set_del(delivered);
    }
    switch_event(s, &ev);
}

/* Streams come to stand between two transactions: what the reader has is whole, and D grows no more. */
static void do_park(struct source *s, uint32_t op)
{
    char text[120];
    if (!fault_is_on("skip-park")) sessions_park(s->sessions, true);
    uint32_t left = fault_is_on("skip-park") ? 0 : sessions_unparked_count(s->sessions);
    snprintf(text, sizeof text, "binlog streams: %u, inside a transaction: %u", sessions_stream_count(s->sessions),
             left);
    struct gtid_set *told = fault_is_on("resume-cut-relay") ? gtid_set_new() /* as if nothing had been sent to it */
                            : fault_is_on("skip-park")      ? NULL
                                                            : streams_told(s, left);
    consumer_set_delivered(s->consumer, told);
    gtid_set_del(told);
    const struct cutover_event ev = { .type = CUTOVER_EV_PARKED, .op = op, .count = left, .text = text };
    switch_event(s, &ev);
}

static void do_hold(struct source *s, uint32_t op)
{
    s->run.hold_began_ms = source_now(s);
    s->run.before = *sessions_counters(s->sessions);
    sessions_window_reset(s->sessions);
    source_admit(s);
    s->run.legs_at_hold = sessions_leg_count(s->sessions);
    char text[80];
    snprintf(text, sizeof text, "new clients wait; open sessions: %u", s->run.legs_at_hold);
    const struct cutover_event ev = {
        .type = CUTOVER_EV_HOLDING, .op = op, .count = s->run.legs_at_hold, .text = text
    };
    switch_event(s, &ev);
}

static void do_drain(struct source *s)
{
    /* Out of memory: the listing then knows the legs by address alone, which is enough to find them. */
    if (listing_keep_legs(s) != 0) log_warn("memory ran out", LOG_STR("source", s->config->source_id));
    if (fault_is_on("skip-drain")) {
        const struct cutover_event ev = { .type = CUTOVER_EV_LEGS, .count = 0 };
        switch_event(s, &ev);
        return;
    }
    sessions_drain_begin(s->sessions);
}

/* A listing is bounded by the hold itself; its own limit is what the hold has left. */
static uint32_t hold_left_ms(const struct source *s)
{
    uint64_t now = source_now(s), until = s->run.hold_began_ms + s->config->limits.hold_timeout_ms;
    return until > now + 1 ? (uint32_t)(until - now) : 1;
}

static void do_list_old(struct source *s, uint32_t op)
{
    if (fault_is_on("skip-drain")) {
        on_old_listed(s, op, 0, 0, "not looked at: the drain is switched off in this test build", gtid_set_new());
        return;
    }
    listing_empty(s, s->run.from, op, hold_left_ms(s), on_old_listed);
}

static void end_hold(struct source *s)
{
    if (s->run.hold_began_ms != 0 && s->run.hold_ended_ms == 0) s->run.hold_ended_ms = source_now(s);
    source_admit(s);
}

/* ---- telling ---- */

static void do_report(struct source *s, const struct cutover_effect *effect)
{
    uint64_t at_ms = source_now(s) - s->run.started_ms;
    const char *phase = cutover_state_name(effect->to);
    log_info("switch", LOG_STR("source", s->config->source_id), LOG_U64("switch", s->run.number),
             LOG_STR("phase", phase), LOG_U64("at_ms", at_ms), LOG_STR("text", effect->text));
    if (effect->from != effect->to) s->run.waiting[0] = '\0';
    if (effect->to == CUTOVER_STATE_IDLE) return;
    json_array_append_new(s->run.steps,
                          json_pack("{s:I,s:s,s:s}", "at-ms", (json_int_t)at_ms, "phase", phase, "text", effect->text));
    s->host.publish(s->host.arg, s->run.number,
                    json_pack("{s:s,s:I,s:s,s:s}", "type", "step", "at-ms", (json_int_t)at_ms, "phase", phase, "text",
                              effect->text));
    source_admit(s); /* held clients are told the phase */
    if (effect->from != effect->to) fault_pause_at(phase);
}

/* A pause or a resume that takes long is not silent: what it waits for is a step. */
static void on_progress(void *arg, const char *text)
{
    struct source *s = arg;
    struct cutover_effect told = { .type = CUTOVER_DO_REPORT, .from = s->cutover.state, .to = s->cutover.state };
    if (!s->run.is_open || s->is_closing) return;
    snprintf(told.text, sizeof told.text, "%.*s", CUTOVER_TEXT_LEN, text);
    do_report(s, &told);
    snprintf(s->run.waiting, sizeof s->run.waiting, "%.*s", SOURCE_WAITING_LEN, text);
}

static void perform(struct source *s, const struct cutover_effect *effect)
{
    uint32_t op = effect->op;
    uint32_t probe_ms = s->config->limits.probe_timeout_ms;
    switch (effect->type) {
    case CUTOVER_DO_READ_CHECK: do_read(s, op, READING_CHECK); break;
    case CUTOVER_DO_RECORD: do_record(s, op); break;
    case CUTOVER_DO_PARK: do_park(s, op); break;
    case CUTOVER_DO_PAUSE:
        consumer_set_progress(s->consumer, on_progress, s);
        pausing_begin(s, on_paused, asked_new(s, op));
        break;
    case CUTOVER_DO_READ_GATE: do_read(s, op, READING_GATE); break;
    case CUTOVER_DO_LIST_LIVE: listing_live(s, s->run.from, op, probe_ms, on_live_listed); break;
    case CUTOVER_DO_HOLD: do_hold(s, op); break;
    case CUTOVER_DO_DRAIN: do_drain(s); break;
    case CUTOVER_DO_KILL_REST: sessions_drain_kill(s->sessions); break;
    case CUTOVER_DO_LIST_OLD: do_list_old(s, op); break;
    case CUTOVER_DO_READ_NEW: do_read(s, op, READING_NEW); break;
    case CUTOVER_DO_FLIP: do_flip(s, op); break;
    case CUTOVER_DO_COMMIT_OLD: do_commit_old(s, op); break;
    case CUTOVER_DO_RELEASE_NEW:
        sessions_park(s->sessions, false);
        end_hold(s);
        break;
    case CUTOVER_DO_RELEASE_OLD:
        reading_abandon(&s->reading);
        sessions_park(s->sessions, false);
        end_hold(s);
        break;
    case CUTOVER_DO_RESUME: do_resume(s, op); break;
    case CUTOVER_DO_VERIFY: do_verify(s, op); break;
    case CUTOVER_DO_END: do_end(s, op); break;
    case CUTOVER_DO_REPORT: do_report(s, effect); break;
    }
}

/* ---- begin and end ---- */

static void switch_ended(struct source *s)
{
    const struct record_switch *r = &s->run.record;
    consumer_cancel(s->consumer); /* what an operator did not want to wait for must not meet the next switch */
    s->run.is_open = false;
    if (r->state == RECORD_SWITCH_DONE) s->switches_done++;
    if (r->state == RECORD_SWITCH_UNDONE) s->switches_undone++;
    if (r->state == RECORD_SWITCH_FAILED) s->switches_failed++;
    s->host.publish(s->host.arg, s->run.number,
                    json_pack("{s:s,s:b,s:s,s:i,s:o}", "type", "end", "result", r->exit_code == 0, "msg",
                              r->msg == NULL ? "" : r->msg, "code", r->exit_code, "switch", switch_run_json(s)));
    if (s->config->consumer.type == CONFIG_CONSUMER_MANUAL && consumer_set_gtid_s(s->consumer, NULL) != 0)
        log_warn("memory ran out", LOG_STR("source", s->config->source_id));
    source_job_ended(s);
}

/* A run's own reading starts with nothing of the last one's. */
static void begin_reading(struct source *s)
{
    reading_free(&s->reading);
    s->reading.from = s->run.options.old_is_dead ? NULL : s->run.from;
    s->reading.to = s->run.to;
    s->reading.options = &s->run.options;
}

void switch_begin(struct source *s, uint64_t number)
{
    const struct cutover_event ev = { .type = CUTOVER_EV_START, .text = "" };
    s->run.number = number;
    s->run.record.number = number;
    s->cutover.limits.catchup_timeout_ms = s->run.options.catchup_ms;
    s->cutover.old_is_dead = s->run.options.old_is_dead;
    begin_reading(s);
    switch_event(s, &ev);
}

int switch_prepare(struct source *s, struct backend *to, struct switch_options *options)
{
    struct switch_run *run = &s->run;
    assert(!run->is_open);
    switch_run_free(run);
    run->is_open = true;
    run->options = *options;
    *options = (struct switch_options){ 0 };
    run->from = source_active(s);
    run->to = to;
    run->epoch_from = s->record.epoch;
    run->epoch_to = s->record.epoch + 1;
    run->started_ms = source_now(s);
    run->started_unix_ms = source_unix_ms();
    run->steps = json_array();
    int rv = switch_fill_record(s, "begun");
    if (rv != 0) switch_run_free(run);
    return rv;
}

void switch_recover(struct source *s, const struct record_switch *record)
{
    struct switch_run *run = &s->run;
    const struct cutover_event ev = { .type = CUTOVER_EV_RECOVER,
                                      .flipped = s->record.epoch >= record->epoch_to &&
                                                 strcmp(s->record.active, record->to) == 0 &&
                                                 strcmp(record->phase, SWITCH_PHASE_FLIPPED) == 0 };
    run->from = source_backend(s, record->from);
    run->to = source_backend(s, record->to);
    if (run->from == NULL) run->from = source_active(s); /* renamed meanwhile: only its name is used from here on */
    if (run->to == NULL) run->to = source_active(s);
    run->is_open = true;
    run->number = record->number;
    bool has_paused = strcmp(record->phase, "begun") != 0 && strcmp(record->phase, SWITCH_PHASE_RECORDED) != 0;
    run->plan = mem_strdup(has_paused && record->plan != NULL ? record->plan : "");
    run->epoch_from = record->epoch_from;
    run->epoch_to = record->epoch_to;
    run->started_ms = source_now(s);
    run->started_unix_ms = record->started_unix_ms;
    run->has_flipped = ev.flipped;
    run->steps = json_array();
    run->options.json = json_loads(record->options, 0, NULL);
    log_info("a switch was under way when the last process ended", LOG_STR("source", s->config->source_id),
             LOG_U64("switch", run->number), LOG_STR("phase", record->phase),
             LOG_STR("now", ev.flipped ? "finished" : "undone"));
    switch_event(s, &ev);
}
