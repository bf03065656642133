/* SPDX-License-Identifier: Apache-2.0 */
/* An operator's orders, one function a verb. Each call is answered exactly once. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum {
    CODE_DONE = 0,
    CODE_FAILED = 1,
    CODE_USAGE = 2,
    CODE_REFUSED = 3,
    CODE_UNKNOWN = 5,
    ASK_AGAIN_MS = 100,
    GRACE_MS = 500,
    TEXT_LEN = 600
};

static void reply(struct source_call *call, int http, json_t *doc)
{
    call->done(call, http, doc);
}

static void reply_text(struct source_call *call, int http, int code, const char *fmt, ...) SLUICE_PRINTF(4, 5);

static void reply_text(struct source_call *call, int http, int code, const char *fmt, ...)
{
    char text[TEXT_LEN];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    reply(call, http, json_pack("{s:b,s:s,s:i}", "result", code == CODE_DONE, "msg", text, "code", code));
}

/* A write that any verb waits for: what it changes in memory is done once it is on disk. */
struct write {
    struct source *source;
    struct source_call *call;
    struct backend *backend;
    struct record_source record;
    bool is_pin;
    char uuid[FACTS_UUID_LEN + 1];
    char text[TEXT_LEN];
};

static struct write *write_new(struct source *s, struct source_call *call, struct backend *b)
{
    if (s->is_writing) {
        reply_text(call, 409, CODE_FAILED, "another order is being written down; try again");
        return NULL;
    }
    struct write *w = mem_calloc(1, sizeof *w);
    if (w == NULL || record_source_copy(&w->record, &s->record) != 0) {
        mem_free(w);
        reply_text(call, 500, CODE_FAILED, "memory ran out");
        return NULL;
    }
    w->source = s;
    w->call = call;
    w->backend = b;
    return w;
}

static void take_pin(struct backend *b, const char *uuid)
{
    memcpy(b->pin, uuid, sizeof b->pin);
    gtid_set_del(b->executed);
    b->executed = b->has_facts ? gtid_set_copy(b->facts.executed) : NULL;
    b->is_wrong = false;
    if (b == source_active(b->source)) delivered_new_server(&b->source->delivered);
    gtid_set_del(b->sent);
    b->sent = NULL; /* of a probe that is under way: it was taken from the server that was */
    backend_probe_now(b);
}

static void on_written(void *arg, int status, uint64_t number)
{
    struct write *w = arg;
    struct source *s = w->source;
    (void)number;
    s->jobs--;
    s->is_writing = false;
    if (status != 0) {
        reply_text(w->call, 500, CODE_FAILED,
                   "the state could not be written to state-dir (%s): nothing was changed here; try again",
                   error_name(status));
    } else {
        source_take_record(s, &w->record);
        if (w->is_pin) take_pin(w->backend, w->uuid);
        log_info("an operator's order was carried out", LOG_STR("source", s->config->source_id),
                 LOG_STR("text", w->text));
        source_admit(s);
        reply_text(w->call, 200, CODE_DONE, "%s", w->text);
    }
    record_source_free(&w->record);
    mem_free(w);
    source_job_ended(s);
}

static void write_commit(struct write *w)
{
    struct source *s = w->source;
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, &w->record);
    if (w->is_pin) {
        struct record_pin pin = { .updated_unix_ms = source_unix_ms() };
        char *executed = gtid_set_print(w->backend->facts.executed, GTID_SEPARATOR_COMMA, NULL);
        int rv = record_set(&pin.source_id, s->config->source_id);
        if (rv == 0) rv = record_set(&pin.backend, w->backend->config->name);
        if (rv == 0) rv = record_set(&pin.server_uuid, w->uuid);
        if (rv == 0) rv = record_set(&pin.executed, executed);
        gtid_free(executed);
        if (rv != 0) txn.status = rv;
        journal_txn_pin_put(&txn, &pin);
        record_pin_free(&pin);
    }
    s->jobs++;
    s->is_writing = true;
    journal_commit(s->host.journal, &txn, s->host.mailbox, on_written, w);
}

/* ---- switch ---- */

/* Answers and returns NULL when |name| cannot be switched to at all. */
static struct backend *target_of(struct source *s, struct source_call *call, const char *key)
{
    const char *name = json_string_value(json_object_get(call->body, key));
    struct backend *b = source_backend(s, name);
    if (b == NULL) reply_text(call, 404, CODE_USAGE, "source %s has no backend named %s", s->config->source_id, name);
    return b;
}

static bool is_busy(struct source *s, struct source_call *call)
{
    if (s->is_stopping) {
        reply_text(call, 503, CODE_FAILED, "Sluice is being stopped");
        return true;
    }
    if (!s->run.is_open && s->is_writing) {
        reply_text(call, 409, CODE_FAILED, "another order is being written down; try again");
        return true;
    }
    char text[TEXT_LEN];
    uint64_t number = 0;
    if (readdress_busy(s->readdress, text, sizeof text, &number)) {
        json_t *doc = json_pack("{s:b,s:s,s:i}", "result", 0, "msg", text, "code", CODE_FAILED);
        if (number > 0) json_object_set_new(doc, "switch", json_integer((json_int_t)number));
        reply(call, 409, doc);
        return true;
    }
    if (!s->run.is_open) return false;
    snprintf(text, sizeof text,
             "switch %llu of source %s is in progress (phase %s); see: sluice status %s, or sluice abort %s",
             (unsigned long long)s->run.number, s->config->source_id, cutover_state_name(s->cutover.state),
             s->config->source_id, s->config->source_id);
    reply(call, 409,
          json_pack("{s:b,s:s,s:i,s:I}", "result", 0, "msg", text, "code", CODE_FAILED, "switch",
                    (json_int_t)s->run.number));
    return true;
}

static bool has_active(struct source *s, struct source_call *call, const struct backend *to)
{
    if (!s->record.has_record) {
        reply_text(call, 409, CODE_REFUSED, "which backend is active is not known (%s)", s->waiting_for);
        return false;
    }
    if (to != NULL && to == source_active(s)) {
        reply_text(call, 409, CODE_REFUSED, "backend %s is the active one already (epoch %llu)", to->config->name,
                   (unsigned long long)s->record.epoch);
        return false;
    }
    return true;
}

/* Parses the options; answers and returns false when they cannot be used. */
static bool take_options(struct source *s, struct source_call *call, struct switch_options *out)
{
    struct text error = TEXT_INIT;
    int rv = switch_options_parse(call->body, &s->config->limits, out, &error);
    if (rv == 0 && out->gtid_s != NULL && s->config->consumer.type != CONFIG_CONSUMER_MANUAL) {
        rv = SLUICE_ERR_INVALID;
        text_puts(&error, "gtid-s is for a consumer of type manual; this source's consumer tells its own");
    }
    if (rv == 0 && s->config->consumer.type == CONFIG_CONSUMER_MANUAL)
        rv = consumer_set_gtid_s(s->consumer, out->gtid_s);
    if (rv != 0) {
        reply_text(call, 400, CODE_USAGE, "%s", error.len > 0 ? text_str(&error) : error_text(rv));
        switch_options_free(out);
    }
    text_free(&error);
    return rv == 0;
}

static void on_switch_numbered(void *arg, int status, uint64_t number)
{
    struct source_call *call = arg;
    struct source *s = call->source;
    s->jobs--;
    if (status != 0) {
        s->run.is_open = false;
        reply_text(call, 500, CODE_FAILED, "the switch could not be written to state-dir (%s): nothing was begun",
                   error_name(status));
    } else {
        reply(call, 202, json_pack("{s:b,s:s,s:I}", "result", 1, "msg", "", "switch", (json_int_t)number));
        switch_begin(s, number);
        if (s->is_stopping) {
            const struct cutover_event ev = { .type = CUTOVER_EV_ABORT, .text = "Sluice is being stopped" };
            switch_event(s, &ev);
        }
    }
    source_job_ended(s);
}

static void do_switch(struct source *s, struct source_call *call)
{
    struct switch_options options;
    struct backend *to = is_busy(s, call) ? NULL : target_of(s, call, "to");
    if (to == NULL || !has_active(s, call, to) || !take_options(s, call, &options)) return;
    if (switch_prepare(s, to, &options) != 0) {
        switch_options_free(&options);
        reply_text(call, 500, CODE_FAILED, "memory ran out");
        return;
    }
    s->jobs++;
    journal_switch_begin(s->host.journal, &s->run.record, s->host.mailbox, on_switch_numbered, call);
}

static void abort_readdress(struct source *s, struct source_call *call)
{
    uint64_t number = readdress_number(s->readdress);
    const char *why = NULL;
    if (!readdress_abort(s->readdress, "aborted by an operator", &why)) {
        reply_text(call, 409, CODE_FAILED, "readdress %llu cannot be aborted now: %s", (unsigned long long)number, why);
        return;
    }
    reply(call, 200,
          json_pack("{s:b,s:s,s:i,s:I}", "result", 1, "msg", "being undone", "code", CODE_DONE, "switch",
                    (json_int_t)number));
}

static bool readdress_is_left(struct source *s, struct source_call *call)
{
    char text[TEXT_LEN];
    uint64_t number = 0;
    if (!readdress_busy(s->readdress, text, sizeof text, &number)) return false;
    reply_text(call, 409, CODE_FAILED, "%s", text);
    return true;
}

/* A resume is of what is unfinished, which keeps all else from beginning. */
static void do_readdress(struct source *s, struct source_call *call)
{
    bool is_resume = json_is_true(json_object_get(call->body, "resume"));
    if (s->readdress == NULL) {
        reply_text(call, 409, CODE_REFUSED, "source %s has no consumer of type dm: there is no source of DM to change",
                   s->config->source_id);
    } else if ((is_resume && !readdress_is_open(s->readdress) && !s->is_stopping) || !is_busy(s, call)) {
        readdress_order(s->readdress, call);
    }
}

static void do_abort(struct source *s, struct source_call *call)
{
    char text[TEXT_LEN];
    const struct cutover_event ev = { .type = CUTOVER_EV_ABORT, .text = text };
    bool is_waiting = *s->run.waiting != '\0';
    snprintf(text, sizeof text, "aborted by an operator%s%s", is_waiting ? ", while: " : "",
             is_waiting ? s->run.waiting : "");
    if (readdress_is_open(s->readdress)) {
        abort_readdress(s, call);
    } else if (!s->run.is_open && readdress_is_left(s, call)) {
        return; /* and was told how to go on */
    } else if (!s->run.is_open) {
        reply_text(call, 409, CODE_FAILED, "no switch of source %s is in progress", s->config->source_id);
    } else if (!cutover_can_abort(&s->cutover)) {
        reply_text(call, 409, CODE_FAILED, "switch %llu is in phase %s and cannot be aborted: %s",
                   (unsigned long long)s->run.number, cutover_state_name(s->cutover.state),
                   cutover_is_flipped(&s->cutover) ? "it has flipped; switch back with an ordinary switch"
                                                   : "it ends by itself");
    } else {
        uint64_t number = s->run.number;
        switch_event(s, &ev);
        reply(call, 200,
              json_pack("{s:b,s:s,s:i,s:I}", "result", 1, "msg", "being undone", "code", CODE_DONE, "switch",
                        (json_int_t)number));
    }
}

/* ---- check ---- */

static void end_check(struct source *s, enum cutover_verdict verdict, const char *text)
{
    struct source_call *call = s->check_call;
    json_t *checks = status_checks(&s->check);
    bool is_pass = verdict == CUTOVER_VERDICT_PASS;
    s->check_call = NULL;
    reply(call, 200,
          json_pack("{s:b,s:s,s:i,s:o}", "result", is_pass, "msg", is_pass ? "" : text, "code",
                    is_pass ? CODE_DONE : CODE_REFUSED, "checks", checks));
    reading_free(&s->check);
    switch_options_free(&s->check_options);
}

static void on_check_read(struct source *s, void *arg, enum cutover_verdict verdict, int status, const char *text);

static void on_check_timer(uv_timer_t *timer)
{
    struct source *s = timer->data;
    if (switch_is_running(s)) {
        end_check(s, CUTOVER_VERDICT_FAILED, "a switch has begun meanwhile");
    } else {
        reading_start(s, &s->check, READING_CHECK, on_check_read, NULL);
    }
}

static void on_check_read(struct source *s, void *arg, enum cutover_verdict verdict, int status, const char *text)
{
    (void)arg;
    (void)status;
    bool may_ask = !s->is_closing && !switch_is_running(s); /* the consumer is not asked while clients are held */
    if (verdict == CUTOVER_VERDICT_LAGGING && source_now(s) < s->check_deadline_ms && may_ask) {
        uv_timer_start(&s->check_timer, on_check_timer, ASK_AGAIN_MS, 0);
        return;
    }
    end_check(s, verdict, text);
}

void commands_close(struct source *s)
{
    if (s->check_call != NULL && !s->check.is_active) end_check(s, CUTOVER_VERDICT_FAILED, "Sluice is being stopped");
}

static void do_check(struct source *s, struct source_call *call)
{
    struct backend *to = is_busy(s, call) ? NULL : target_of(s, call, "to");
    if (to == NULL || !has_active(s, call, to)) return;
    if (s->check_call != NULL) {
        reply_text(call, 409, CODE_FAILED, "another check of source %s is in progress; try again",
                   s->config->source_id);
        return;
    }
    if (!take_options(s, call, &s->check_options)) return;
    s->check_call = call;
    s->check.from = s->check_options.old_is_dead ? NULL : source_active(s);
    s->check.to = to;
    s->check.options = &s->check_options;
    uint32_t wait_ms = s->check_options.catchup_ms > GRACE_MS ? s->check_options.catchup_ms : GRACE_MS;
    s->check_deadline_ms = source_now(s) + wait_ms;
    reading_start(s, &s->check, READING_CHECK, on_check_read, NULL);
}

/* ---- adopt, repin, hold, release ---- */

static bool backend_can_be_taken(struct source_call *call, const struct backend *b)
{
    if (b->is_reachable && b->has_facts) return true;
    reply_text(call, 409, CODE_REFUSED, "backend %s does not answer: %s", b->config->name, b->probe_error);
    return false;
}

static void do_adopt(struct source *s, struct source_call *call)
{
    struct backend *b = is_busy(s, call) ? NULL : target_of(s, call, "backend");
    struct backend *active = source_active(s);
    if (b == NULL || !backend_can_be_taken(call, b)) return;
    if (b->is_wrong || *b->pin == '\0') {
        reply_text(call, 409, CODE_REFUSED, "backend %s: %s", b->config->name,
                   *b->probe_error == '\0' ? "its pin is being written; try again" : b->probe_error);
        return;
    }
    if (active == b && *s->record.latch == '\0') {
        reply_text(call, 200, CODE_DONE, "backend %s is the active one already (epoch %llu)", b->config->name,
                   (unsigned long long)s->record.epoch);
        return;
    }
    if (active != NULL && active != b && (!backend_is_latched(active) || sessions_leg_count(s->sessions) > 0)) {
        reply_text(call, 409, CODE_REFUSED, "backend %s is active: use sluice switch %s %s", active->config->name,
                   s->config->source_id, b->config->name);
        return;
    }
    struct write *w = write_new(s, call, b);
    if (w == NULL) return;
    int rv = record_set(&w->record.active, b->config->name);
    if (rv == 0 && strcmp(w->record.latch_backend, b->config->name) == 0) rv = record_set(&w->record.latch, "");
    if (w->record.has_record && active != b) w->record.has_moved = true;
    w->record.has_record = true;
    w->record.epoch++;
    if (rv != 0) w->record.epoch = 0; /* the journal refuses it */
    snprintf(w->text, sizeof w->text, "backend %s is the active one of source %s, epoch %llu", b->config->name,
             s->config->source_id, (unsigned long long)w->record.epoch);
    write_commit(w);
}

static void repin_write(struct source *s, struct source_call *call, struct backend *b)
{
    struct write *w = write_new(s, call, b);
    if (w == NULL) return;
    w->is_pin = true;
    memcpy(w->uuid, b->facts.server_uuid, sizeof w->uuid);
    if (b == source_active(s) && *b->pin != '\0' && strcmp(b->pin, w->uuid) != 0) w->record.has_moved = true;
    bool clears = *w->record.latch != '\0' && strcmp(w->record.latch_backend, b->config->name) == 0;
    if (clears && record_set(&w->record.latch, "") != 0) w->record.epoch = 0; /* the journal refuses it */
    snprintf(w->text, sizeof w->text, "backend %s is pinned to %s%s", b->config->name, w->uuid,
             clears ? "; its latch is cleared" : "");
    write_commit(w);
}

static void on_repin_judged(struct source *s, void *arg, int status, const char *text)
{
    struct source_call *call = arg;
    struct backend *judged = s->placement.backend;
    if (status != 0) {
        reply_text(call, 409, CODE_REFUSED, "%s", text);
    } else if (is_busy(s, call)) {
        return; /* and was told so */
    } else if (judged != source_active(s)) {
        reply_text(call, 409, CODE_FAILED, "backend %s is not the active one any more; try again",
                   judged->config->name);
    } else {
        repin_write(s, call, judged);
    }
}

static void do_repin(struct source *s, struct source_call *call)
{
    struct backend *b = is_busy(s, call) ? NULL : target_of(s, call, "backend");
    if (b == NULL || !backend_can_be_taken(call, b)) return;
    for (size_t i = 0; i < s->backend_count; i++) {
        const struct backend *other = &s->backends[i];
        if (other == b || strcmp(other->pin, b->facts.server_uuid) != 0) continue;
        reply_text(call, 409, CODE_REFUSED, "%s is the server that backend %s is pinned to: correct the addresses",
                   b->facts.server_uuid, other->config->name);
        return;
    }
    if (b == source_active(s)) { /* who reads from it must not lose what the server no longer has */
        placement_judge(s, b, on_repin_judged, call);
    } else {
        repin_write(s, call, b);
    }
}

static void do_hold(struct source *s, struct source_call *call, bool is_held)
{
    if (is_busy(s, call)) return;
    struct write *w = write_new(s, call, NULL);
    if (w == NULL) return;
    w->record.is_held = is_held;
    snprintf(w->text, sizeof w->text,
             is_held ? "new clients of source %s are held; sessions that are open go on"
                     : "new clients of source %s are routed again",
             s->config->source_id);
    write_commit(w);
}

/* ---- what was ---- */

static void on_history(void *arg, int status, const struct record_switch *list, size_t count)
{
    struct source_call *call = arg;
    struct source *s = call->source;
    s->jobs--;
    if (status != 0) {
        reply_text(call, 500, CODE_FAILED, "the history cannot be read from state-dir: %s", error_text(status));
    } else {
        json_t *switches = json_array();
        for (size_t i = 0; i < count; i++)
            json_array_append_new(switches, status_switch_record(&list[i]));
        reply(call, 200, json_pack("{s:b,s:s,s:o}", "result", 1, "msg", "", "switches", switches));
    }
    source_job_ended(s);
}

static void on_switch_read(void *arg, int status, const struct record_switch *list, size_t count)
{
    struct source_call *call = arg;
    struct source *s = call->source;
    s->jobs--;
    if (status == SLUICE_ERR_NOT_FOUND || (status == 0 && count == 0)) {
        reply_text(call, 404, CODE_USAGE, "there is no switch %llu", (unsigned long long)call->number);
    } else if (status != 0) {
        reply_text(call, 500, CODE_FAILED, "the switch cannot be read from state-dir: %s", error_text(status));
    } else if (readdress_record_is_left(list)) {
        char text[TEXT_LEN];
        snprintf(text, sizeof text, "readdress %llu is unfinished, and DM may not run; how to go on: sluice status %s",
                 (unsigned long long)list->number, list->source_id);
        reply(call, 200,
              json_pack("{s:b,s:s,s:i,s:b,s:o}", "result", 0, "msg", text, "code", CODE_UNKNOWN, "unfinished", 1,
                        "switch", status_switch_record(list)));
    } else {
        reply(call, 200,
              json_pack("{s:b,s:s,s:i,s:o}", "result", list->exit_code == 0, "msg", list->msg, "code", list->exit_code,
                        "switch", status_switch_record(list)));
    }
    source_job_ended(s);
}

static void do_switch_get(struct source *s, struct source_call *call)
{
    if (readdress_is_open(s->readdress) && readdress_number(s->readdress) == call->number) {
        reply(
            call, 200,
            json_pack("{s:b,s:s,s:i,s:o}", "result", 1, "msg", "", "code", 0, "switch", readdress_json(s->readdress)));
        return;
    }
    if (s->run.is_open && s->run.number == call->number) {
        reply(call, 200,
              json_pack("{s:b,s:s,s:i,s:o}", "result", 1, "msg", "", "code", 0, "switch", switch_run_json(s)));
        return;
    }
    s->jobs++;
    journal_switch_get(s->host.journal, call->number, s->host.mailbox, on_switch_read, call);
}

void source_call(struct source *s, struct source_call *call)
{
    call->source = s;
    if (s->is_closing) {
        reply_text(call, 503, CODE_FAILED, "Sluice is being stopped");
        return;
    }
    switch (call->verb) {
    case SOURCE_VERB_READY: reply(call, 200, json_pack("{s:b}", "ready", s->is_ready)); break;
    case SOURCE_VERB_STATUS: reply(call, 200, status_source(s, call->limit)); break;
    case SOURCE_VERB_CHECK: do_check(s, call); break;
    case SOURCE_VERB_SWITCH: do_switch(s, call); break;
    case SOURCE_VERB_READDRESS: do_readdress(s, call); break;
    case SOURCE_VERB_ABORT: do_abort(s, call); break;
    case SOURCE_VERB_ADOPT: do_adopt(s, call); break;
    case SOURCE_VERB_REPIN: do_repin(s, call); break;
    case SOURCE_VERB_HOLD: do_hold(s, call, true); break;
    case SOURCE_VERB_RELEASE: do_hold(s, call, false); break;
    case SOURCE_VERB_HISTORY:
        s->jobs++;
        journal_history(s->host.journal, s->config->source_id, 0, call->limit, s->host.mailbox, on_history, call);
        break;
    case SOURCE_VERB_SWITCH_GET: do_switch_get(s, call); break;
    }
}
