/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read the consumer, then both servers, and judge. The order is part of the rule:
 *   CHECK  consumer, facts of new, facts of old      GATE  consumer, sets of new, sets of old      NEW  sets of new
 * E of new is read before E of old, or what arrives between the two would look errant; S is read before E of new.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "core/checks_dm.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/fault.h"
#include "source/state.h"
#include "upstream/local_sockets.h"

enum { TEXT_LEN = CUTOVER_TEXT_LEN };

/* One question of a reading, to a server or to the consumer. Its own object: an abandoned reading must not see the answer. */
struct question {
    struct source *source;
    struct reading *reading;
    uint32_t generation;
    bool is_facts;
    struct backend *backend;
    struct upstream_target target;
    struct facts facts;
    struct gtids gtids;
    bool wants_list; /* who is connected there: at CHECK and GATE, when nobody is held */
    struct processlist list;
    struct threads_socket *sockets; /* of this host towards the server, looked at after the list */
    size_t socket_count;
};

static void next_new(struct source *s, struct reading *r);

static void finish(struct source *s, struct reading *r, enum cutover_verdict verdict, int status, const char *text)
{
    reading_done_fn done = r->done;
    r->is_active = false;
    r->generation++;
    done(s, r->arg, verdict, status, text);
}

/* The sessions may be gone already: nothing is judged any more. */
static void finish_stopping(struct source *s, struct reading *r)
{
    finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_CANCELED, "Sluice is being stopped");
}

/* ---- judging: all is read ---- */

static const struct gtid_set *sum_of(const struct gtid_set *executed, const struct gtid_set *owned,
                                     struct gtid_set **out)
{
    return gtid_set_union(executed, owned, out) == 0 ? *out : NULL;
}

static struct gtid_set *accepted_loss(const struct source *s, const struct reading *r)
{
    struct gtid_set *loss = source_accepted_loss(s);
    if (loss != NULL && r->options->accept_loss != NULL && gtid_set_add_set(loss, r->options->accept_loss) != 0) {
        gtid_set_del(loss);
        return NULL;
    }
    return loss;
}

/* How D is judged: what the old server has stands for it, once its streams have ended; before that as a forecast. */
static void fill_delivered(const struct source *s, const struct reading *r, const struct gtid_set *loss,
                           struct gtid_gate_input *in)
{
    in->accepted_loss = loss;
    /* D stands for a consumer that cannot tell; where no stream ever passed there is none that could miss anything. */
    in->delivered_is_reader = !r->consumer_is_known && (s->has_streamed || !s->delivered.is_known);
    if (fault_is_on("skip-delivered")) {
        in->delivered_rule = GTID_GATE_DELIVERED_SKIP;
    } else if (r->snapshot != NULL) {
        in->delivered_rule = GTID_GATE_DELIVERED_KNOWN;
        in->delivered = r->snapshot;
    } else {
        in->delivered_rule = r->options->accepts_unknown ? GTID_GATE_DELIVERED_ACCEPTED : GTID_GATE_DELIVERED_UNKNOWN;
    }
}

/* The old server's last known set stands for it when it is dead: enough to tell whose UUIDs belong to the group. */
static void fill_errant(const struct reading *r, const struct gtid_set *old_known, struct gtid_gate_input *in)
{
    in->accepted_errant = r->options->accept_errant;
    in->accepted_errant_uuids = (const uint8_t(*)[GTID_UUID_BYTES])r->options->accept_errant_uuids;
    in->accepted_errant_uuid_count = r->options->accept_errant_uuid_count;
    if (r->kind == READING_NEW || fault_is_on("skip-errant")) {
        in->errant_rule = GTID_GATE_ERRANT_SKIP; /* judged at GATE; the old server goes on writing meanwhile */
    } else if (r->from != NULL) {
        in->errant_rule = GTID_GATE_ERRANT_OLD_ALIVE;
        in->old_known = old_known;
        in->old_follows = r->old_replicates;
    } else {
        in->errant_rule = old_known == NULL ? GTID_GATE_ERRANT_SKIP : GTID_GATE_ERRANT_OLD_DEAD;
        in->old_known = old_known;
    }
}

static int judge_gate(const struct source *s, struct reading *r, const struct gtid_set *executed,
                      const struct gtid_set *purged, const struct gtid_set *owned, const struct gtid_set *old_known,
                      const char *uuid)
{
    uint8_t uuid_bytes[GTID_UUID_BYTES];
    struct gtid_set *loss = accepted_loss(s, r);
    if (loss == NULL) return SLUICE_ERR_NOMEM;
    struct gtid_gate_input in = { .purged = purged,
                                  .executed = executed,
                                  .readers = r->positions.readers,
                                  .reader_count = r->positions.reader_count,
                                  .validators = r->positions.validators,
                                  .validator_count = r->positions.validator_count };
    /* What the server owns but has not yet executed (semi-sync waits so) is not lost: only with nothing owned is it rewound. */
    if (gtid_set_is_empty(owned) && gtid_uuid_parse(uuid, strlen(uuid), uuid_bytes) == 0) in.executed_uuid = uuid_bytes;
    fill_delivered(s, r, loss, &in);
    fill_errant(r, old_known, &in);
    struct gtid_gate_result result;
    int rv = gtid_gate_check(&in, &result) == 0 ? 0 : SLUICE_ERR_NOMEM;
    if (rv == 0) {
        for (size_t i = 0; i < result.condition_count; i++) {
            const struct gtid_gate_condition *c = &result.conditions[i];
            if (c->rule == GTID_GATE_NOTHING_ERRANT) r->waits_for_old = c->status == GTID_GATE_WAIT;
        }
        checks_add_gate(&r->gate_checks, &result, r->new_replicates);
        gtid_gate_result_free(&result);
    }
    gtid_set_del(loss);
    return rv;
}

/* What the new server lacks and a reader has half of: those rows would stay with the reader for ever. */
static void add_part(const struct source *s, struct reading *r, const struct gtid_set *executed)
{
    struct gtid_set *part = s->delivered.is_known ? delivered_part(&s->delivered) : NULL;
    struct gtid_set *missing = NULL;
    char ranges[400];
    if (part != NULL && gtid_set_subtract(part, executed, &missing) == 0 && !gtid_set_is_empty(missing)) {
        gtid_set_describe(missing, ranges, sizeof ranges);
        check_add(&r->gate_checks, "C04", "sent-in-part", CHECK_WARN,
                  "a reader may have rows of it that the new server does not have", "sent in part, and not on %s: %s",
                  r->to->config->name, ranges);
    }
    gtid_set_del(missing);
    gtid_set_del(part);
}

/* With D known it is no loss, only news: no reader ever got what the old server has and the new one lacks. */
static void add_unread(const struct source *s, struct reading *r, const struct gtid_set *executed,
                       const struct gtid_set *old_known)
{
    struct gtid_set *missing = NULL;
    char ranges[400];
    if (!s->delivered.is_known || old_known == NULL || r->kind == READING_NEW) return;
    if (gtid_set_subtract(old_known, executed, &missing) == 0 &&
        gtid_set_remove_set(missing, s->delivered.all) == 0 && !gtid_set_is_empty(missing)) {
        gtid_set_describe(missing, ranges, sizeof ranges);
        check_add(
            &r->gate_checks, "C04", "old-in-new", CHECK_WARN,
            "nothing a reader has is missing there; what it lacks comes later, or not at all if that server does not "
            "replicate",
            "the old server has, and %s lacks: %s", r->to->config->name, ranges);
    }
    gtid_set_del(missing);
}

static void describe_verdict(const struct reading *r, enum cutover_verdict verdict, char *out, size_t room)
{
    const struct check *a = check_worst(&r->server_checks);
    const struct check *b = check_worst(&r->gate_checks);
    const struct check *c = check_worst(&r->list_checks);
    const struct check *worst = a == NULL || (b != NULL && b->state > a->state) ? b : a;
    if (c != NULL && (worst == NULL || c->state > worst->state)) worst = c;
    if (verdict == CUTOVER_VERDICT_PASS || worst == NULL) {
        snprintf(out, room, "%zu conditions hold", r->server_checks.count + r->gate_checks.count);
    } else if (verdict == CUTOVER_VERDICT_LAGGING && r->new_replicates && !r->waits_for_old) {
        snprintf(out, room, "waiting: %.420s", worst->detail);
    } else {
        snprintf(out, room, "%.90s: %.250s%s%.130s", worst->name, worst->detail, *worst->todo == '\0' ? "" : "; ",
                 worst->todo);
    }
}

static enum cutover_verdict worse(enum cutover_verdict a, enum cutover_verdict b)
{
    return a > b ? a : b; /* PASS < LAGGING < REFUSED < FAILED */
}

static void conclude(struct source *s, struct reading *r)
{
    char text[TEXT_LEN];
    enum cutover_verdict verdict =
        worse(check_verdict(&r->server_checks), worse(check_verdict(&r->list_checks), check_verdict(&r->gate_checks)));
    int status = 0;
    if (verdict == CUTOVER_VERDICT_LAGGING) /* what is still errant when its time is over is errant, not late */
        status = r->new_replicates && !r->waits_for_old ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_REFUSED;
    if (verdict == CUTOVER_VERDICT_FAILED) status = SLUICE_ERR_NOMEM;
    describe_verdict(r, verdict, text, sizeof text);
    /* While a backend catches up before the pause, S stays as it was first read, like D: GATE reads it anew. */
    r->check_rounds = r->kind == READING_CHECK ? r->check_rounds + 1 : 0;
    finish(s, r, verdict, status, text);
}

/* D, as far as it goes: what the streams carried, or what the old server has in its place. NULL: nobody can tell. */
static struct gtid_set *forecast(const struct source *s, const struct reading *r, const struct gtid_set *old_known)
{
    if (s->delivered.is_known) return gtid_set_copy(s->delivered.all);
    return r->from == NULL || old_known == NULL ? NULL : gtid_set_copy(old_known);
}

static void judge(struct source *s, struct reading *r)
{
    bool is_check = r->kind == READING_CHECK;
    const struct gtid_set *executed = is_check ? r->new_facts.executed : r->new_gtids.executed;
    const struct gtid_set *purged = is_check ? r->new_facts.purged : r->new_gtids.purged;
    const struct gtid_set *owned = is_check ? r->new_facts.owned : r->new_gtids.owned;
    const char *uuid = is_check ? r->new_facts.server_uuid : r->new_gtids.server_uuid;
    struct gtid_set *sum = NULL;
    const struct gtid_set *old_known = NULL;
    if (r->from == NULL) {
        const struct backend *dead = source_active(s);
        old_known = dead == NULL ? NULL : dead->executed;
    } else if (r->kind != READING_NEW) {
        old_known = is_check ? sum_of(r->old_facts.executed, r->old_facts.owned, &sum)
                             : sum_of(r->old_gtids.executed, r->old_gtids.owned, &sum);
        if (old_known == NULL) {
            finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
            return;
        }
    }
    if (r->snapshot == NULL) r->snapshot = forecast(s, r, old_known);
    check_list_free(&r->gate_checks);
    int rv = judge_gate(s, r, executed, purged, owned, old_known, uuid);
    if (rv == 0) add_part(s, r, executed);
    if (rv == 0) add_unread(s, r, executed, old_known);
    gtid_set_del(sum);
    if (rv != 0) {
        finish(s, r, CUTOVER_VERDICT_FAILED, rv, "memory ran out");
        return;
    }
    conclude(s, r);
}

/* ---- asking ---- */

static struct question *question_new(struct source *s, struct reading *r)
{
    struct question *q = mem_calloc(1, sizeof *q);
    if (q == NULL) return NULL;
    q->source = s;
    q->reading = r;
    q->generation = r->generation;
    return q;
}

static void question_del(struct question *q)
{
    facts_free(&q->facts);
    gtids_free(&q->gtids);
    processlist_free(&q->list);
    mem_free(q->sockets);
    upstream_target_free(&q->target);
    mem_free(q);
}

static int run_question(void *arg, struct connector *c, struct upstream_error *error)
{
    struct question *q = arg;
    int rv = q->is_facts ? facts_read(c, &q->facts, error) : gtids_read(c, &q->gtids, error);
    if (rv != 0 || !q->wants_list) return rv;
    rv = processlist_read(c, &q->list, error);
    if (rv == SLUICE_ERR_PROTOCOL) return 0; /* a list that hides rows: the precondition of it is a line of its own */
    if (rv != 0) return rv;
    rv = local_sockets_read((const struct sockaddr *)&q->target.addr, &q->sockets, &q->socket_count);
    return rv == 0 ? 0 : upstream_error_set(error, rv, 0, "the local sockets cannot be read from /proc/net/tcp");
}

static void unreachable(struct source *s, struct reading *r, const struct backend *b, int status, const char *text)
{
    char full[TEXT_LEN];
    bool is_old = b == r->from;
    const char *todo = is_old ? "; if that server is known to be dead and stays so: --old-is-dead" : "";
    snprintf(full, sizeof full, "backend %s: %.330s%s", b->config->name, text, todo);
    check_list_free(&r->gate_checks);
    check_add(&r->gate_checks, "C10", "reachable", CHECK_FAIL,
              is_old ? "if that server is known to be dead and stays so: --old-is-dead"
                     : "see that it runs and answers",
              "backend %s: %.600s", b->config->name, text);
    /* While clients are held a question that gets no answer is a limit that ran out; before that it is a refusal. */
    if (status != SLUICE_ERR_TIMEOUT || r->kind == READING_CHECK) status = SLUICE_ERR_REFUSED;
    finish(s, r, r->kind == READING_CHECK ? CUTOVER_VERDICT_REFUSED : CUTOVER_VERDICT_FAILED, status, full);
}

/* The server that answered must be the pinned one: nothing else of the answer counts otherwise. */
static bool is_pinned_server(struct source *s, struct reading *r, const struct backend *b, const char *uuid)
{
    char text[TEXT_LEN];
    if (strcmp(b->pin, uuid) == 0) return true;
    snprintf(text, sizeof text, "backend %s: server_uuid is %s, pinned is %s; if that is meant: sluice repin",
             b->config->name, uuid, *b->pin == '\0' ? "(none yet)" : b->pin);
    check_list_free(&r->gate_checks);
    check_add(&r->gate_checks, "C10", "server-uuid", CHECK_FAIL, "if that is meant: sluice repin SOURCE BACKEND", "%s",
              text);
    finish(s, r, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_WRONG_SERVER, text);
    return false;
}

static void add_server_checks(struct source *s, struct reading *r)
{
    const struct backend *active = source_active(s);
    bool is_old_latched = r->from != NULL && backend_is_latched(r->from);
    const struct checks_servers in = { .old_name = active == NULL ? "" : active->config->name,
                                       .new_name = r->to->config->name,
                                       .old_facts = r->from == NULL ? NULL : &r->old_facts,
                                       .new_facts = &r->new_facts,
                                       .old_uuid = active == NULL ? "" : active->pin,
                                       .new_pin = r->to->pin,
                                       .latch = backend_is_latched(r->to) ? s->record.latch : "",
                                       .old_latch = is_old_latched ? s->record.latch : "" };
    checks_add_servers(&r->server_checks, &in);
    if (s->config->consumer.type == CONFIG_CONSUMER_DM)
        checks_add_dm_server(&r->server_checks, r->to->config->name, &r->new_facts);
}

static void take_old(struct source *s, struct reading *r, struct question *q)
{
    if (!is_pinned_server(s, r, q->backend, q->is_facts ? q->facts.server_uuid : q->gtids.server_uuid)) return;
    facts_free(&r->old_facts);
    gtids_free(&r->old_gtids);
    r->old_facts = q->facts;
    r->old_gtids = q->gtids;
    q->facts = (struct facts){ 0 };
    q->gtids = (struct gtids){ 0 };
    if (r->kind == READING_CHECK) {
        r->old_replicates = facts_replicates(&r->old_facts);
        add_server_checks(s, r);
    }
    bypass_add(s, r->from, &q->list, q->sockets, q->socket_count, &r->list_checks);
    judge(s, r);
}

static void ask(struct source *s, struct reading *r, struct backend *b);

/* Set back since CHECK: latched by a probe, or short of what it had when it was last probed. What it owns is not lost. */
static bool is_rewound(struct source *s, struct reading *r)
{
    struct gtid_set *has = NULL;
    bool is_latched = backend_is_latched(r->to), is_short = false;
    if (!is_latched && r->to->executed != NULL && gtid_set_union(r->new_gtids.executed, r->new_gtids.owned, &has) == 0)
        is_short = !gtid_set_contains(has, r->to->executed);
    gtid_set_del(has);
    if (!is_latched && !is_short) return false;
    char text[TEXT_LEN];
    snprintf(text, sizeof text, "backend %s: %.300s; rebuild it, then: sluice repin", r->to->config->name,
             is_latched ? s->record.latch : "rewound: it lacks transactions that it had when it was last probed");
    check_list_free(&r->gate_checks);
    check_add(&r->gate_checks, "C05", "not-rewound", CHECK_FAIL, "rebuild it, then: sluice repin SOURCE BACKEND", "%s",
              text);
    finish(s, r, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_REWOUND, text);
    return true;
}

static void take_new(struct source *s, struct reading *r, struct question *q)
{
    if (!q->is_facts && !is_pinned_server(s, r, q->backend, q->gtids.server_uuid)) return;
    facts_free(&r->new_facts);
    gtids_free(&r->new_gtids);
    r->new_facts = q->facts;
    r->new_gtids = q->gtids;
    q->facts = (struct facts){ 0 };
    q->gtids = (struct gtids){ 0 };
    check_list_free(&r->list_checks);
    if (r->kind != READING_NEW) bypass_add(s, r->to, &q->list, q->sockets, q->socket_count, &r->list_checks);
    if (r->kind == READING_CHECK) {
        const struct backend *active = source_active(s);
        r->new_replicates = active != NULL && facts_replicates_from(&r->new_facts, active->pin);
    }
    if (r->kind != READING_CHECK && is_rewound(s, r)) return;
    if (r->kind == READING_NEW) {
        backend_confirm(r->to, &q->target); /* the pinned uuid answered just now, under this address */
        judge(s, r);
    } else if (r->from != NULL) {
        ask(s, r, r->from);
    } else {
        if (r->kind == READING_CHECK) add_server_checks(s, r);
        judge(s, r);
    }
}

static void on_answer(void *arg, int status, const struct upstream_error *error)
{
    struct question *q = arg;
    struct source *s = q->source;
    struct reading *r = q->reading;
    s->jobs--;
    if (r->is_active && r->generation == q->generation) {
        if (s->is_closing) {
            finish_stopping(s, r);
        } else if (status != 0) {
            unreachable(s, r, q->backend, status, error->text);
        } else if (q->backend == r->to) {
            take_new(s, r, q);
        } else {
            take_old(s, r, q);
        }
    }
    question_del(q);
    source_job_ended(s);
}

static void ask(struct source *s, struct reading *r, struct backend *b)
{
    struct question *q = question_new(s, r);
    if (q == NULL || upstream_target_copy(&b->target, &q->target) != 0) {
        mem_free(q);
        finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    q->backend = b;
    q->is_facts = r->kind == READING_CHECK;
    q->wants_list = r->kind != READING_NEW;
    q->target.addr = b->addresses[b->address_at];
    const struct upstream_job job = { .target = &q->target,
                                      .key = b->config->name,
                                      .lane = UPSTREAM_LANE_RESERVED,
                                      .timeout_ms = s->config->limits.probe_timeout_ms,
                                      .run = run_question,
                                      .done = on_answer,
                                      .arg = q,
                                      .mailbox = s->host.mailbox };
    int rv = b->address_count == 0 ? SLUICE_ERR_UNREACHABLE : upstream_pool_submit(s->host.pool, &job, NULL);
    if (rv != 0) {
        question_del(q);
        unreachable(s, r, b, rv, b->address_count == 0 ? b->probe_error : error_text(rv));
        return;
    }
    s->jobs++;
}

static void next_new(struct source *s, struct reading *r)
{
    ask(s, r, r->to);
}

/* A consumer that cannot be asked cannot be paused either. */
static void consumer_failed(struct source *s, struct reading *r, int status, const char *text)
{
    char full[TEXT_LEN];
    snprintf(full, sizeof full, "consumer: %.380s", text);
    check_list_free(&r->gate_checks);
    check_add(&r->gate_checks, "C13", "consumer", CHECK_FAIL, "see that the consumer answers, and with which account",
              "%.900s", text);
    finish(s, r, CUTOVER_VERDICT_REFUSED, status == SLUICE_ERR_CANCELED ? status : SLUICE_ERR_REFUSED, full);
}

static void add_dm_checks(const struct source *s, struct reading *r, const struct consumer_status *found)
{
    const struct config_source *c = s->config;
    struct checks_dm_address *advertise = mem_calloc(c->advertise_count + 1, sizeof *advertise);
    if (advertise == NULL) {
        r->server_checks.status = SLUICE_ERR_NOMEM;
        return;
    }
    for (size_t i = 0; i < c->advertise_count; i++)
        advertise[i] = (struct checks_dm_address){ c->advertise[i].host, c->advertise[i].port };
    const struct checks_dm in = { .source_id = c->source_id,
                                  .listen = { c->listen.host, c->listen.port },
                                  .advertise = advertise,
                                  .advertise_count = c->advertise_count };
    checks_add_dm(&r->server_checks, &in, found);
    mem_free(advertise);
}

static void on_consumer_status(void *arg, int status, const struct upstream_error *error,
                               const struct consumer_status *found)
{
    struct question *q = arg;
    struct source *s = q->source;
    struct reading *r = q->reading;
    struct upstream_error why = { 0 };
    bool is_stale = !r->is_active || r->generation != q->generation;
    s->jobs--;
    question_del(q);
    if (is_stale) {
        source_job_ended(s);
        return;
    }
    if (s->is_closing) {
        finish_stopping(s, r);
        source_job_ended(s);
        return;
    }
    status_take_consumer(s, status == 0 ? found : NULL, status == 0 ? NULL : error->text);
    if (status != 0) {
        consumer_failed(s, r, status, error->text);
    } else if (r->kind == READING_GATE && !consumer_status_is_quiet(found)) {
        finish(s, r, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_REFUSED,
               "consumer: it was resumed by somebody after it had been paused");
    } else if (r->check_rounds == 0 && positions_take(&r->positions, found) != 0) {
        finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
    } else {
        r->consumer_is_known = found->is_known;
        if (r->kind == READING_CHECK) { /* at GATE the lines of CHECK stay, for the report */
            check_list_free(&r->server_checks);
            checks_add_consumer(&r->server_checks, found);
            add_dm_checks(s, r, found);
            mem_free(r->plan);
            r->plan = NULL;
            if (found->refusal == NULL && consumer_plan(s->consumer, found, &r->plan, &why) != 0)
                check_add(&r->server_checks, "C13", "consumer", CHECK_FAIL, "", "%s", why.text);
        }
        next_new(s, r);
    }
    source_job_ended(s);
}

void reading_start(struct source *s, struct reading *r, enum reading_kind kind, reading_done_fn done, void *arg)
{
    assert(!r->is_active && r->to != NULL);
    if (kind != READING_CHECK) r->check_rounds = 0;
    r->kind = kind;
    r->is_active = true;
    r->done = done;
    r->arg = arg;
    if (kind == READING_NEW) {
        next_new(s, r);
        return;
    }
    struct question *q = question_new(s, r);
    if (q == NULL) {
        finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    s->jobs++;
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_consumer_status, q);
}

void reading_abandon(struct reading *r)
{
    r->is_active = false;
    r->generation++;
}

void reading_free(struct reading *r)
{
    uint32_t generation = r->generation + 1;
    positions_free(&r->positions);
    mem_free(r->plan);
    gtid_set_del(r->snapshot);
    facts_free(&r->new_facts);
    facts_free(&r->old_facts);
    gtids_free(&r->new_gtids);
    gtids_free(&r->old_gtids);
    check_list_free(&r->server_checks);
    check_list_free(&r->gate_checks);
    check_list_free(&r->list_checks);
    *r = (struct reading){ .generation = generation };
}
