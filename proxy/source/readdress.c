/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of an address change: turns the effects of readdress_step() into calls, and their completions into events. */
#include "source/readdress.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "consumer/dm_bodies.h"
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/fault.h"
#include "source/readdress_run.h"

enum { ASK_AGAIN_MS = 100, CODE_REFUSED = 3 };

static void perform(struct readdress_run *run, const struct readdress_effect *effect);
static void run_ended(struct readdress_run *run);

/* ---- events ---- */

static void rearm(struct readdress_run *run)
{
    uint64_t at = readdress_deadline_ms(&run->machine), now = source_now(run->source);
    if (at == UINT64_MAX) {
        uv_timer_stop(&run->timer);
    } else {
        uv_timer_start(&run->timer, run->timer.timer_cb, at > now ? at - now : 0, 0);
    }
}

static void step(struct readdress_run *run, const struct readdress_event *ev)
{
    struct readdress_effects effects;
    struct readdress_event now = *ev;
    now.now_ms = source_now(run->source);
    readdress_step(&run->machine, &now, &effects);
    for (size_t i = 0; i < effects.count; i++)
        perform(run, &effects.items[i]);
}

/* An effect may be answered while the others are still being performed: the answer waits for its turn. */
static void post(struct readdress_run *run, const struct readdress_event *ev)
{
    if (run->source->is_closing) return; /* the journal has the rest */
    assert(run->queue_count < ARRAY_LEN(run->queue));
    struct readdress_queued *last = &run->queue[run->queue_count++];
    last->ev = *ev;
    snprintf(last->text, sizeof last->text, "%s", ev->text == NULL ? "" : ev->text);
    if (run->is_stepping) return;
    run->is_stepping = true;
    while (run->queue_count > 0) {
        struct readdress_queued first = run->queue[0];
        first.ev.text = first.text;
        run->queue_count--;
        memmove(run->queue, run->queue + 1, run->queue_count * sizeof run->queue[0]);
        step(run, &first.ev);
    }
    run->is_stepping = false;
    rearm(run);
    if (run->is_open && !run->is_dry && run->machine.state == READDRESS_STATE_IDLE) run_ended(run);
}

static void answer(struct readdress_run *run, enum readdress_event_type type, uint32_t op, int status, const char *text)
{
    const struct readdress_event ev = { .type = type, .op = op, .status = status, .text = text };
    post(run, &ev);
}

/* A call under way; its answer goes back with the op of the effect that asked. */
struct asked {
    struct readdress_run *run;
    uint32_t op;
    enum readdress_event_type type;
};

static struct asked *asked_new(struct readdress_run *run, uint32_t op, enum readdress_event_type type)
{
    struct asked *a = mem_alloc(sizeof *a);
    if (a == NULL) abort(); /* an answer that cannot be awaited would leave DM stopped: a restart tells how to go on */
    *a = (struct asked){ run, op, type };
    run->source->jobs++;
    return a;
}

static void answer_asked(struct asked *a, int status, const char *text)
{
    struct asked asked = *a;
    struct source *s = asked.run->source;
    mem_free(a);
    s->jobs--;
    answer(asked.run, asked.type, asked.op, status, text);
    source_job_ended(s);
}

bool readdress_is_awaited(const struct readdress_run *run, uint32_t op)
{
    if (run->source->is_closing || !run->is_open) return false;
    return run->is_dry || (run->machine.is_asked && run->machine.op == op);
}

static void end_dry(struct readdress_run *run, enum cutover_verdict verdict, const char *text);

void readdress_judged(struct readdress_run *run, uint32_t op, enum cutover_verdict verdict, int status,
                      const char *text)
{
    if (run->is_dry) {
        end_dry(run, verdict, text);
        return;
    }
    const struct readdress_event ev = {
        .type = READDRESS_EV_JUDGED, .op = op, .verdict = verdict, .status = status, .text = text
    };
    post(run, &ev);
}

void readdress_listed(struct readdress_run *run, uint32_t op, int status, uint32_t count, const char *text)
{
    const struct readdress_event ev = {
        .type = READDRESS_EV_LISTED, .op = op, .status = status, .count = count, .text = text
    };
    post(run, &ev);
}

/* ---- what is written down ---- */

static char *plan_text(const struct readdress_run *run)
{
    char *move = run->has_plan ? dm_move_plan_write(&run->plan) : mem_strdup("");
    char *set = run->delivered == NULL || !run->delivered_is_final
                    ? NULL
                    : gtid_set_print(run->delivered, GTID_SEPARATOR_COMMA, NULL);
    json_t *json = move == NULL ? NULL : json_pack("{s:s,s:s}", "move", move, "gtid-d", set == NULL ? "" : set);
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT), *copy = text == NULL ? NULL : mem_strdup(text);
    free(text); /* jansson's default allocator */
    json_decref(json);
    gtid_free(set);
    mem_free(move);
    return copy;
}

int readdress_fill_record(struct readdress_run *run, const char *phase)
{
    struct record_switch *r = &run->record;
    char *options = json_dumps(run->options.json, JSON_COMPACT), *plan = plan_text(run);
    r->epoch_from = r->epoch_to = run->source->record.epoch;
    r->started_unix_ms = run->started_unix_ms;
    r->state = RECORD_SWITCH_OPEN;
    int rv = options == NULL || plan == NULL ? SLUICE_ERR_NOMEM : 0;
    if (rv == 0) rv = record_set(&r->source_id, run->source->config->source_id);
    if (rv == 0) rv = record_set(&r->from, run->from.name);
    if (rv == 0) rv = record_set(&r->to, run->to.name);
    if (rv == 0) rv = record_set(&r->plan, plan);
    if (rv == 0) rv = record_set(&r->options, options);
    if (rv == 0) rv = record_set(&r->phase, phase);
    free(options); /* jansson's default allocator */
    mem_free(plan);
    return rv;
}

static void on_noted(void *arg, int status, uint64_t number)
{
    (void)number;
    answer_asked(arg, status, status == 0 ? "written down" : "it could not be written to state-dir");
}

static void do_note(struct readdress_run *run, uint32_t op, const char *phase)
{
    if (readdress_fill_record(run, phase) != 0) {
        answer(run, READDRESS_EV_NOTED, op, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    journal_switch_update(run->source->host.journal, &run->record, run->source->host.mailbox, on_noted,
                          asked_new(run, op, READDRESS_EV_NOTED));
}

static void on_ended(void *arg, int status, uint64_t number)
{
    (void)number;
    answer_asked(arg, status, "");
}

static enum record_switch_state end_state(const struct readdress *m)
{
    if (m->exit == CUTOVER_EXIT_DONE) return RECORD_SWITCH_DONE;
    return m->exit == CUTOVER_EXIT_UNKNOWN ? RECORD_SWITCH_FAILED : RECORD_SWITCH_UNDONE;
}

static void do_end(struct readdress_run *run, uint32_t op)
{
    struct record_switch *r = &run->record;
    const struct readdress *m = &run->machine;
    int rv = readdress_fill_record(run, m->reach == READDRESS_REACH_STARTED ? "started" : "undone");
    r->state = end_state(m);
    r->exit_code = (int)m->exit;
    r->ended_unix_ms = source_unix_ms();
    if (rv == 0) rv = record_set(&r->msg, m->exit == CUTOVER_EXIT_DONE ? "" : m->text);
    json_t *report = readdress_json(run);
    char *text = report == NULL ? NULL : json_dumps(report, JSON_COMPACT);
    json_decref(report);
    if (rv == 0 && text != NULL) rv = record_set(&r->report, text);
    free(text); /* jansson's default allocator */
    if (rv != 0) {
        answer(run, READDRESS_EV_ENDED, op, rv, "memory ran out");
        return;
    }
    journal_switch_update(run->source->host.journal, r, run->source->host.mailbox, on_ended,
                          asked_new(run, op, READDRESS_EV_ENDED));
}

static void on_rested(void *arg, int status, uint64_t number)
{
    struct source *s = arg;
    (void)number;
    if (status != 0) /* it is found on its way back then, which is so, too */
        log_warn("how far an address change came could not be written", LOG_STR("source", s->config->source_id));
    s->jobs--;
    source_job_ended(s);
}

/* Left for a person: what the tasks have, and that nothing stands anywhere, is news since it was last written down. */
static void do_rest(struct readdress_run *run)
{
    struct source *s = run->source;
    bool is_nowhere = run->machine.reach == READDRESS_REACH_STOPPED;
    run->is_unfinished = true;
    if (readdress_fill_record(run, is_nowhere ? "stopping" : READDRESS_PHASE_UNDOING) != 0) return;
    s->jobs++;
    journal_switch_update(s->host.journal, &run->record, s->host.mailbox, on_rested, s);
}

/* ---- DM ---- */

/* Without a plan nothing was paused. NULL then, or when memory ran out. */
static char *awake_plan(const struct readdress_run *run, bool with_paused_relay)
{
    struct dm_plan plan;
    if (!run->has_plan || dm_move_plan_awake(&run->plan, with_paused_relay, &plan) != 0) return NULL;
    char *text = dm_plan_write(&plan, run->source->config->source_id);
    dm_plan_free(&plan);
    return text;
}

static void on_consumer_done(void *arg, int status, const struct upstream_error *error)
{
    answer_asked(arg, status, status == 0 ? "DM is quiet" : error->text);
}

static void do_pause(struct readdress_run *run, uint32_t op)
{
    struct source *s = run->source;
    char *plan = awake_plan(run, false);
    gtid_set_del(run->delivered); /* GATE reads it anew: what the old server has after the pause */
    run->delivered = NULL;
    if (plan == NULL) {
        answer(run, READDRESS_EV_PAUSED, op, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    /*
     * A relay that is resumed on the same server goes on where it was, and for another one it is started anew in any case: so of
     * what was sent to it, it need have nothing.
     */
    struct gtid_set *nothing = gtid_set_new();
    consumer_set_delivered(s->consumer, nothing);
    gtid_set_del(nothing);
    consumer_pause(s->consumer, plan, s->config->limits.pause_timeout_ms, on_consumer_done,
                   asked_new(run, op, READDRESS_EV_PAUSED));
    mem_free(plan);
}

static void tell_step(struct readdress_run *run, const char *phase, const char *text)
{
    struct source *s = run->source;
    uint64_t at_ms = source_now(s) - run->started_ms;
    json_array_append_new(run->steps,
                          json_pack("{s:I,s:s,s:s}", "at-ms", (json_int_t)at_ms, "phase", phase, "text", text));
    s->host.publish(
        s->host.arg, run->number,
        json_pack("{s:s,s:I,s:s,s:s}", "type", "step", "at-ms", (json_int_t)at_ms, "phase", phase, "text", text));
}

static void on_order(void *arg, const char *act, const char *text)
{
    struct readdress_run *run = ((struct asked *)arg)->run;
    tell_step(run, readdress_state_name(run->machine.state), text);
    fault_pause_at(act);
}

static void on_moved(void *arg, int status, const char *text)
{
    answer_asked(arg, status, status == 0 ? "done" : text);
}

static struct dm_move_address address_of(const struct readdress_side *side)
{
    return (struct dm_move_address){ .host = side->address.host, .port = side->address.port };
}

static void do_move(struct readdress_run *run, uint32_t op, bool is_up, bool is_new)
{
    const struct readdress_side *at = is_new ? &run->to : &run->from, *other = is_new ? &run->from : &run->to;
    const struct dm_mover_job job = { .is_up = is_up,
                                      .plan = &run->plan,
                                      .at = address_of(at),
                                      .other = address_of(other),
                                      .source_text = is_new ? run->files.new_text : run->files.old_text,
                                      .tasks = run->files.tasks,
                                      .task_count = run->files.task_count,
                                      .timeout_ms = run->source->config->limits.pause_timeout_ms,
                                      .step = on_order,
                                      .done = on_moved,
                                      .arg = asked_new(run, op, is_up ? READDRESS_EV_STARTED : READDRESS_EV_STOPPED) };
    dm_mover_start(run->mover, &job);
}

static void on_all_resumed(void *arg, int status, const struct upstream_error *error)
{
    answer_asked(arg, status, status == 0 ? "DM was resumed" : error->text);
}

/* What is verified from now on is what was awake, and the relay was not. */
static void on_relay_paused(void *arg, int status, const char *text)
{
    struct asked *a = arg;
    struct source *s = a->run->source;
    char *plan = status == 0 && !s->is_closing ? awake_plan(a->run, false) : NULL;
    if (plan == NULL) {
        answer_asked(a, status == 0 ? SLUICE_ERR_NOMEM : status, text);
        return;
    }
    consumer_resume(s->consumer, plan, s->config->limits.pause_timeout_ms, on_all_resumed, a);
    mem_free(plan);
}

/* What was paused is running; a relay that had been paused before was started with the rest, and is paused again. */
static void on_resumed(void *arg, int status, const struct upstream_error *error)
{
    struct asked *a = arg;
    struct readdress_run *run = a->run;
    bool pauses_relay = run->plan.relay_was_paused && run->machine.reach != READDRESS_REACH_PAUSED;
    run->has_tried_resume = true;
    if (status == 0 && pauses_relay && !run->source->is_closing) {
        dm_mover_pause_relay(run->mover, run->source->config->limits.pause_timeout_ms, on_relay_paused, a);
    } else {
        answer_asked(a, status, status == 0 ? "DM was resumed" : error->text);
    }
}

static void do_resume(struct readdress_run *run, uint32_t op)
{
    struct source *s = run->source;
    bool is_new = run->machine.reach == READDRESS_REACH_STARTED;
    char *plan = awake_plan(run, run->machine.reach != READDRESS_REACH_PAUSED);
    run->has_tried_resume = false;
    if (plan == NULL) {
        answer(run, READDRESS_EV_RESUMED, op, run->has_plan ? SLUICE_ERR_NOMEM : 0, "nothing was paused");
        return;
    }
    if (consumer_set_server(s->consumer, is_new ? run->to.uuid : run->from.uuid) != 0)
        log_warn("the server's uuid cannot be told to the consumer", LOG_STR("source", s->config->source_id));
    consumer_resume(s->consumer, plan, s->config->limits.pause_timeout_ms, on_resumed,
                    asked_new(run, op, READDRESS_EV_RESUMED));
    mem_free(plan);
}

static void on_verify_status(void *arg, int status, const struct upstream_error *error,
                             const struct consumer_status *found)
{
    struct readdress_run *run = ((struct asked *)arg)->run;
    struct upstream_error why = { 0 };
    if (status != 0) {
        answer_asked(arg, SLUICE_ERR_BUSY, error->text);
        return;
    }
    char *plan = awake_plan(run, false);
    /* DM may read from anywhere now: its streams are not ours to see. */
    const struct consumer_evidence evidence = { .streams_are_visible = false };
    bool progresses = false;
    int rv = plan == NULL ? 0 : consumer_is_resumed(run->source->consumer, plan, found, &evidence, &progresses, &why);
    mem_free(plan);
    answer_asked(arg, rv, rv == 0 ? "DM runs at the new address" : why.text);
}

static void do_verify(struct readdress_run *run, uint32_t op)
{
    struct source *s = run->source;
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_verify_status,
                    asked_new(run, op, READDRESS_EV_VERIFIED));
}

/* ---- telling ---- */

static void do_report(struct readdress_run *run, const struct readdress_effect *effect)
{
    struct source *s = run->source;
    const char *phase = readdress_state_name(effect->to);
    log_info("readdress", LOG_STR("source", s->config->source_id), LOG_U64("readdress", run->number),
             LOG_STR("phase", phase), LOG_U64("at_ms", source_now(s) - run->started_ms), LOG_STR("text", effect->text));
    if (effect->to == READDRESS_STATE_IDLE) return;
    tell_step(run, phase, effect->text);
    if (effect->from != effect->to) fault_pause_at(phase);
}

static void perform(struct readdress_run *run, const struct readdress_effect *effect)
{
    uint32_t op = effect->op;
    switch (effect->type) {
    case READDRESS_DO_READ_CHECK: readdress_read(run, READDRESS_READ_CHECK, op); break;
    case READDRESS_DO_RECORD: do_note(run, op, "recorded"); break;
    case READDRESS_DO_PAUSE: do_pause(run, op); break;
    case READDRESS_DO_READ_GATE: readdress_read(run, READDRESS_READ_GATE, op); break;
    case READDRESS_DO_NOTE_STOP: do_note(run, op, "stopping"); break;
    case READDRESS_DO_NOTE_START: do_note(run, op, "starting"); break;
    case READDRESS_DO_NOTE_DONE: do_note(run, op, "started"); break;
    case READDRESS_DO_NOTE_UNDO: do_note(run, op, READDRESS_PHASE_UNDOING); break;
    case READDRESS_DO_STOP_OLD: do_move(run, op, false, false); break;
    case READDRESS_DO_STOP_NEW: do_move(run, op, false, true); break;
    case READDRESS_DO_LIST_OLD: readdress_read(run, READDRESS_READ_LIST, op); break;
    case READDRESS_DO_READ_NEW: readdress_read(run, READDRESS_READ_NEW, op); break;
    case READDRESS_DO_READ_OLD: readdress_read(run, READDRESS_READ_OLD, op); break;
    case READDRESS_DO_START_NEW: do_move(run, op, true, true); break;
    case READDRESS_DO_START_OLD: do_move(run, op, true, false); break;
    case READDRESS_DO_RESUME: do_resume(run, op); break;
    case READDRESS_DO_VERIFY: do_verify(run, op); break;
    case READDRESS_DO_END: do_end(run, op); break;
    case READDRESS_DO_REST: do_rest(run); break;
    case READDRESS_DO_REPORT: do_report(run, effect); break;
    }
}

/* ---- begin and end ---- */

static void on_mover_closed(void *arg)
{
    struct source *s = arg;
    s->jobs--;
    source_job_ended(s);
}

static void close_mover(struct readdress_run *run)
{
    struct dm_mover *mover = run->mover;
    if (mover == NULL) return;
    run->mover = NULL;
    run->source->jobs++;
    dm_mover_close(mover, on_mover_closed, run->source);
}

void readdress_run_empty(struct readdress_run *run)
{
    run->is_open = run->is_dry = false;
    close_mover(run);
    readdress_files_free(&run->files);
    switch_options_free(&run->options);
    readdress_reading_free(run);
    json_decref(run->steps);
    run->steps = NULL;
    if (run->is_unfinished) return; /* status tells how to go on: by its plan, from where to where */
    dm_move_plan_free(&run->plan);
    run->has_plan = false;
    readdress_side_free(&run->from);
    readdress_side_free(&run->to);
    record_switch_free(&run->record);
    run->record.number = 0;
}

static void run_ended(struct readdress_run *run)
{
    struct source *s = run->source;
    const struct readdress *m = &run->machine;
    struct text msg = TEXT_INIT;
    if (run->is_unfinished) {
        text_printf(&msg, "%s; to go on: ", m->text);
        readdress_command(run, &msg);
    } else {
        text_puts(&msg, m->exit == CUTOVER_EXIT_DONE ? "" : m->text);
    }
    s->host.publish(s->host.arg, run->number,
                    json_pack("{s:s,s:b,s:s,s:i,s:o}", "type", "end", "result", m->exit == CUTOVER_EXIT_DONE, "msg",
                              text_str(&msg), "code", (int)m->exit, "switch", readdress_json(run)));
    text_free(&msg);
    readdress_run_empty(run);
    status_ask_consumer(s);
    source_job_ended(s);
}

static void order_is_impossible(struct readdress_run *run)
{
    log_error("memory ran out: the address change is left as it is; see: sluice status",
              LOG_STR("source", run->source->config->source_id));
    run->is_unfinished = readdress_reach_of(&run->record) >= READDRESS_REACH_STOPPED;
    readdress_run_empty(run);
}

static int mover_make(struct readdress_run *run)
{
    const struct source *s = run->source;
    const struct config_consumer *c = &s->config->consumer;
    const struct consumer_dm_settings settings = { .source_id = s->config->source_id,
                                                   .loop = s->host.loop,
                                                   .masters = c->masters,
                                                   .master_count = c->master_count,
                                                   .ssl_ca = c->ssl_ca,
                                                   .ssl_cert = c->ssl_cert,
                                                   .ssl_key = c->ssl_key };
    return run->mover != NULL ? 0 : dm_mover_new(&settings, &run->mover);
}

static void begin_recovered(struct readdress_run *run, const char *text)
{
    const struct readdress_event ev = { .type = READDRESS_EV_RECOVER,
                                        .reach = readdress_reach_of(&run->record),
                                        .is_back =
                                            run->is_back || strcmp(run->record.phase, READDRESS_PHASE_UNDOING) == 0,
                                        .text = text };
    post(run, &ev);
}

void readdress_begin(struct readdress_run *run, uint64_t number)
{
    const struct readdress_event ev = { .type = READDRESS_EV_START, .text = "" };
    bool is_new = run->record.number == 0;
    run->number = number;
    run->record.number = number;
    if (mover_make(run) != 0) {
        order_is_impossible(run);
    } else if (is_new) {
        post(run, &ev);
    } else {
        begin_recovered(run,
                        run->is_back ? "taken back, as an operator ordered" : "gone on with, as an operator ordered");
    }
    const char *why = NULL;
    if (run->source->is_stopping && run->is_open) readdress_abort(run, "Sluice is being stopped", &why);
}

/* ---- a dry run ---- */

static void on_timer(uv_timer_t *timer)
{
    struct readdress_run *run = timer->data;
    const struct readdress_event ev = { .type = READDRESS_EV_TIME };
    if (run->is_open && run->is_dry) {
        readdress_read(run, READDRESS_READ_CHECK, 0);
    } else {
        post(run, &ev);
    }
}

static void reply_dry(struct readdress_run *run, bool is_pass, const char *text)
{
    struct source_call *call = run->call;
    json_t *calls = run->has_plan ? readdress_calls(run) : json_array();
    run->call = NULL;
    call->done(call, 200,
               json_pack("{s:b,s:s,s:i,s:o,s:o}", "result", is_pass, "msg", is_pass ? "" : text, "code",
                         is_pass ? 0 : CODE_REFUSED, "checks", readdress_checks(run), "calls",
                         calls == NULL ? json_array() : calls));
    readdress_run_empty(run);
}

static void end_dry(struct readdress_run *run, enum cutover_verdict verdict, const char *text)
{
    bool waits = verdict == CUTOVER_VERDICT_LAGGING && source_now(run->source) < run->dry_deadline_ms;
    if (waits && !run->source->is_closing) {
        uv_timer_start(&run->timer, on_timer, ASK_AGAIN_MS, 0);
        return;
    }
    char copy[CUTOVER_TEXT_LEN + 1]; /* |text| may be of what is emptied */
    snprintf(copy, sizeof copy, "%s", text);
    reply_dry(run, verdict == CUTOVER_VERDICT_PASS, copy);
}

/* ---- life ---- */

/* What the journal says of one that was left: where from, where to, what stood there. */
static int take_left(struct readdress_run *run, const struct record_switch *left)
{
    const char *move = "", *delivered = "";
    int rv = record_switch_copy(&run->record, left);
    if (rv == 0) rv = readdress_side_set(run, &run->from, left->from);
    if (rv == 0) rv = readdress_side_set(run, &run->to, left->to);
    json_t *plan = json_loads(left->plan, 0, NULL);
    if (plan != NULL) (void)json_unpack(plan, "{s:s,s:s}", "move", &move, "gtid-d", &delivered);
    if (rv == 0 && *move != '\0') {
        rv = dm_move_plan_read(move, &run->plan);
        run->has_plan = rv == 0;
    }
    if (rv == 0 && *delivered != '\0' && gtid_set_parse(delivered, strlen(delivered), &run->delivered, NULL) == 0)
        run->delivered_is_final = true;
    json_decref(plan);
    return rv;
}

int readdress_new(struct source *s, const struct record_switch *left, struct readdress_run **out)
{
    const struct config_limits *l = &s->config->limits;
    struct readdress_run *run = mem_calloc(1, sizeof *run);
    if (run == NULL) return SLUICE_ERR_NOMEM;
    const struct readdress_limits limits = { .catchup_timeout_ms = l->catchup_timeout_ms,
                                             .empty_timeout_ms = l->pause_timeout_ms,
                                             .verify_timeout_ms = l->verify_timeout_ms };
    run->source = s;
    readdress_init(&run->machine, &limits);
    int rv = left == NULL ? 0 : take_left(run, left);
    if (rv != 0) {
        readdress_del(run);
        return rv;
    }
    run->is_unfinished = left != NULL;
    *out = run;
    return 0;
}

void readdress_del(struct readdress_run *run)
{
    if (run == NULL) return;
    readdress_files_free(&run->files);
    switch_options_free(&run->options);
    readdress_reading_free(run);
    json_decref(run->steps);
    dm_move_plan_free(&run->plan);
    readdress_side_free(&run->from);
    readdress_side_free(&run->to);
    record_switch_free(&run->record);
    mem_free(run);
}

/* Up to the stop, and after the start, DM can be led to where it was or is to be without the user's files. */
static void recover(struct readdress_run *run)
{
    enum readdress_reach reach = readdress_reach_of(&run->record);
    struct text command = TEXT_INIT;
    if (reach == READDRESS_REACH_STOPPED || reach == READDRESS_REACH_STARTING) {
        readdress_command(run, &command);
        log_error("an address change was under way when the last process ended: DM may not run; the user's files are "
                  "needed to go on",
                  LOG_STR("source", run->source->config->source_id), LOG_U64("readdress", run->record.number),
                  LOG_STR("phase", run->record.phase), LOG_STR("hint", text_str(&command)));
        text_free(&command);
        return;
    }
    run->options.json = json_loads(run->record.options, 0, NULL);
    run->is_unfinished = false;
    run->is_open = true;
    run->number = run->record.number;
    run->started_ms = source_now(run->source);
    run->started_unix_ms = run->record.started_unix_ms;
    run->steps = json_array();
    if (mover_make(run) != 0) {
        order_is_impossible(run);
        return;
    }
    begin_recovered(run, reach == READDRESS_REACH_STARTED ? "restart: all tasks had been started, going on"
                                                          : "Sluice was restarted before anything was stopped: undone");
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct readdress_run *run = handle->data;
    run->source->handles--;
    source_job_ended(run->source);
}

void readdress_start(struct readdress_run *run)
{
    uv_timer_init(run->source->host.loop, &run->timer);
    run->timer.data = run;
    run->timer.timer_cb = on_timer;
    run->source->handles++;
    if (run->is_unfinished) recover(run);
}

void readdress_close(struct readdress_run *run)
{
    if (run->call != NULL && run->is_dry) reply_dry(run, false, "Sluice is being stopped");
    close_mover(run);
    uv_close((uv_handle_t *)&run->timer, on_timer_closed);
}

bool readdress_abort(struct readdress_run *run, const char *text, const char **out_why)
{
    const struct readdress_event ev = { .type = READDRESS_EV_ABORT, .text = text };
    if (run->is_dry || !readdress_can_abort(&run->machine)) {
        *out_why = "it ends by itself";
        return false;
    }
    post(run, &ev);
    return true;
}
