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

enum { TEXT_LEN = CUTOVER_TEXT_LEN, LAG_MS_MIN = 400 };

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
    struct gtid_set
        *floor;      /* the largest E that |backend| had shown when it was asked: the answer must hold it; NULL: none */
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

/*
 * What of D no reader has in half, as far as the streams tell; NULL: memory ran out. Where what the old server has stands for D it
 * says nothing of halves, but those that were seen to be sent count all the same.
 */
static struct gtid_set *whole_of(const struct source *s, const struct gtid_set *delivered)
{
    struct gtid_set *part = delivered_part(&s->delivered), *whole = NULL;
    if (part != NULL && gtid_set_subtract(delivered, part, &whole) != 0) whole = NULL;
    gtid_set_del(part);
    return whole;
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
    if (fault_is_on("skip-errant")) {
        in->errant_rule = GTID_GATE_ERRANT_SKIP;
    } else if (r->kind == READING_NEW && r->from != NULL) {
        /* The old server goes on writing, so of its own only GATE can judge. What was written on the new one since is told by its UUID. */
        bool can_tell = r->old_at_empty != NULL && !r->old_replicates && in->errant_uuid != NULL;
        in->errant_rule = can_tell ? GTID_GATE_ERRANT_OLD_ALIVE : GTID_GATE_ERRANT_SKIP;
        in->old_known = r->old_at_empty;
    } else if (r->kind == READING_NEW) {
        in->errant_rule = GTID_GATE_ERRANT_SKIP; /* judged at GATE, and a dead server gets no more */
    } else if (r->from != NULL) {
        in->errant_rule = GTID_GATE_ERRANT_OLD_ALIVE;
        in->old_known = old_known;
        in->old_follows = r->old_replicates;
    } else {
        in->errant_rule = old_known == NULL ? GTID_GATE_ERRANT_SKIP : GTID_GATE_ERRANT_OLD_DEAD;
        in->old_known = old_known;
    }
}

/* What a reading found, whichever of its kinds; borrowed. */
struct evidence {
    const struct gtid_set *executed, *purged, *owned; /* of the new server */
    const char *uuid;
    const struct gtid_set *old_known; /* executed and owned of the old one; NULL: not asked */
    bool delivered_is_newer;          /* D was read after |executed| */
};

/* P of the old server, also of one that is dead, as it was last seen; NULL: not known. */
static const struct gtid_set *old_purged(const struct source *s, const struct reading *r)
{
    if (r->from != NULL) return r->kind == READING_CHECK ? r->old_facts.purged : r->old_gtids.purged;
    for (size_t i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        if (b->has_facts && strcmp(b->config->name, s->record.active) == 0) return b->facts.purged;
    }
    return NULL;
}

/* How fast it closes: measured from when this reading first found something missing. */
static void note_lag(const struct source *s, struct reading *r, uint64_t missing)
{
    if (missing == 0 || r->lag_first == 0 || r->lag_kind != r->kind) {
        r->lag_kind = r->kind;
        r->lag_first = missing;
        r->lag_first_ms = source_now(s);
    }
    r->lag_last = missing;
}

static void describe_lag(const struct source *s, const struct reading *r, char *out, size_t room)
{
    uint64_t ms = source_now(s) - r->lag_first_ms;
    *out = '\0';
    if (r->lag_last == 0 || ms < LAG_MS_MIN) return;
    if (r->lag_last < r->lag_first) {
        uint64_t rate = (r->lag_first - r->lag_last) * 1000 / ms;
        snprintf(out, room, "; closing by %llu a second", (unsigned long long)rate);
    } else {
        snprintf(out, room, "; it does not close: %llu more than %.1f s ago",
                 (unsigned long long)(r->lag_last - r->lag_first), (double)ms / 1000);
    }
}

static int judge_gate(const struct source *s, struct reading *r, const struct evidence *e)
{
    uint8_t uuid_bytes[GTID_UUID_BYTES];
    struct gtid_set *loss = accepted_loss(s, r);
    if (loss == NULL) return SLUICE_ERR_NOMEM;
    struct gtid_gate_input in = { .purged = e->purged,
                                  .executed = e->executed,
                                  .delivered_is_newer = e->delivered_is_newer,
                                  .readers = r->positions.readers,
                                  .reader_count = r->positions.reader_count,
                                  .validators = r->positions.validators,
                                  .validator_count = r->positions.validator_count };
    /* What the server owns but has not yet executed (semi-sync waits so) is not lost: only with nothing owned is it rewound. */
    bool has_uuid = gtid_uuid_parse(e->uuid, strlen(e->uuid), uuid_bytes) == 0;
    if (has_uuid && gtid_set_is_empty(e->owned)) in.executed_uuid = uuid_bytes;
    if (has_uuid && r->kind == READING_NEW) in.errant_uuid = uuid_bytes;
    fill_delivered(s, r, loss, &in);
    fill_errant(r, e->old_known, &in);
    struct gtid_gate_result result;
    struct gtid_set *whole = in.delivered == NULL ? NULL : whole_of(s, in.delivered);
    in.delivered_whole = whole;
    int rv = whole == NULL && in.delivered != NULL ? SLUICE_ERR_NOMEM : 0;
    if (rv == 0) rv = gtid_gate_check(&in, &result) == 0 ? 0 : SLUICE_ERR_NOMEM;
    if (rv == 0) {
        uint64_t missing = 0;
        positions_mark_lost(&r->positions, old_purged(s, r), &result);
        for (size_t i = 0; i < result.condition_count; i++) {
            const struct gtid_gate_condition *c = &result.conditions[i];
            if (c->rule == GTID_GATE_NOTHING_ERRANT) r->waits_for_old = c->status == GTID_GATE_WAIT;
            if (c->status == GTID_GATE_WAIT && c->missing_count > missing) missing = c->missing_count;
        }
        note_lag(s, r, missing);
        checks_add_gate(&r->gate_checks, &result, r->new_replicates);
        gtid_gate_result_free(&result);
    }
    gtid_set_del(whole);
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
    if (gtid_set_subtract(old_known, executed, &missing) == 0 && gtid_set_remove_set(missing, s->delivered.all) == 0 &&
        !gtid_set_is_empty(missing)) {
        gtid_set_describe(missing, ranges, sizeof ranges);
        check_add(
            &r->gate_checks, "C04", "old-in-new", CHECK_WARN,
            "nothing a reader has is missing there; what it lacks comes later, or not at all if that server does not "
            "replicate",
            "the old server has, and %s lacks: %s", r->to->config->name, ranges);
    }
    gtid_set_del(missing);
}

/* The new server replicates, or all that is waited for is the consumer's own relay. */
static bool time_can_cure(const struct reading *r)
{
    bool is_consumers = check_verdict(&r->gate_checks) == CUTOVER_VERDICT_PASS;
    return is_consumers || (r->new_replicates && !r->waits_for_old);
}

static void describe_verdict(const struct source *s, const struct reading *r, enum cutover_verdict verdict, char *out,
                             size_t room)
{
    const struct check *a = check_worst(&r->server_checks);
    const struct check *b = check_worst(&r->gate_checks);
    const struct check *c = check_worst(&r->list_checks);
    const struct check *worst = a == NULL || (b != NULL && b->state > a->state) ? b : a;
    if (c != NULL && (worst == NULL || c->state > worst->state)) worst = c;
    if (verdict == CUTOVER_VERDICT_PASS || worst == NULL) {
        snprintf(out, room, "%zu conditions hold", r->server_checks.count + r->gate_checks.count);
    } else if (verdict == CUTOVER_VERDICT_LAGGING && time_can_cure(r)) {
        char lag[100];
        describe_lag(s, r, lag, sizeof lag);
        snprintf(out, room, "waiting: %.340s%s", worst->detail, lag);
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
    checks_waive(&r->server_checks, r->options->waived);
    enum cutover_verdict verdict =
        worse(check_verdict(&r->server_checks), worse(check_verdict(&r->list_checks), check_verdict(&r->gate_checks)));
    int status = 0;
    if (verdict == CUTOVER_VERDICT_LAGGING) /* what is still errant when its time is over is errant, not late */
        status = time_can_cure(r) ? SLUICE_ERR_TIMEOUT : SLUICE_ERR_REFUSED;
    if (verdict == CUTOVER_VERDICT_FAILED) status = SLUICE_ERR_NOMEM;
    describe_verdict(s, r, verdict, text, sizeof text);
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

/* Returns false when memory ran out; |*out_sum| is the caller's and what |e->old_known| may point into. */
static bool find_old_known(struct source *s, const struct reading *r, struct evidence *e, struct gtid_set **out_sum)
{
    bool is_check = r->kind == READING_CHECK;
    if (r->from == NULL) {
        const struct backend *dead = source_active(s);
        e->old_known = dead == NULL ? NULL : dead->executed;
        return true;
    }
    if (r->kind == READING_NEW) return true;
    e->old_known = is_check ? sum_of(r->old_facts.executed, r->old_facts.owned, out_sum)
                            : sum_of(r->old_gtids.executed, r->old_gtids.owned, out_sum);
    return e->old_known != NULL;
}

static void judge(struct source *s, struct reading *r)
{
    bool is_check = r->kind == READING_CHECK;
    struct gtid_set *sum = NULL;
    struct evidence e = { .executed = is_check ? r->new_facts.executed : r->new_gtids.executed,
                          .purged = is_check ? r->new_facts.purged : r->new_gtids.purged,
                          .owned = is_check ? r->new_facts.owned : r->new_gtids.owned,
                          .uuid = is_check ? r->new_facts.server_uuid : r->new_gtids.server_uuid };
    if (!find_old_known(s, r, &e, &sum)) {
        finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    e.delivered_is_newer = r->snapshot == NULL; /* from the next round on it is older than E */
    if (r->snapshot == NULL) r->snapshot = forecast(s, r, e.old_known);
    check_list_free(&r->gate_checks);
    int rv = judge_gate(s, r, &e);
    if (rv == 0) add_part(s, r, e.executed);
    if (rv == 0) add_unread(s, r, e.executed, e.old_known);
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
    gtid_set_del(q->floor);
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
    bool is_dm = s->config->consumer.type == CONFIG_CONSUMER_DM;
    const struct facts *last_seen = active != NULL && active->has_facts ? &active->facts : NULL;
    const struct checks_servers in = { .old_name = active == NULL ? "" : active->config->name,
                                       .new_name = r->to->config->name,
                                       .old_facts = r->from == NULL ? NULL : &r->old_facts,
                                       .new_facts = &r->new_facts,
                                       .old_uuid = active == NULL ? "" : active->pin,
                                       .new_pin = r->to->pin,
                                       .clients_are_told = source_proxy_version(s->config) != 0,
                                       .latch = backend_is_latched(r->to) ? s->record.latch : "",
                                       .old_latch = is_old_latched ? s->record.latch : "",
                                       .old_settings = r->from == NULL ? last_seen : &r->old_facts,
                                       .consumer_keeps_settings = is_dm };
    checks_add_servers(&r->server_checks, &in);
    if (is_dm) checks_add_dm_server(&r->server_checks, r->to->config->name, &r->new_facts);
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

/*
 * Set back since CHECK: latched by a probe, or short of |floor|, what a probe had seen before this was asked. What it owns is not
 * lost. A probe that was answered meanwhile may have seen more: it says nothing about this older answer.
 */
static bool is_rewound(struct source *s, struct reading *r, const struct gtid_set *floor)
{
    struct gtid_set *has = NULL;
    bool is_latched = backend_is_latched(r->to), is_short = false;
    if (!is_latched && floor != NULL && gtid_set_union(r->new_gtids.executed, r->new_gtids.owned, &has) == 0)
        is_short = !gtid_set_contains(has, floor);
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
    if (r->kind != READING_CHECK && is_rewound(s, r, q->floor)) return;
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

static struct question *question_to(struct source *s, struct reading *r, struct backend *b)
{
    struct question *q = question_new(s, r);
    if (q == NULL) return NULL;
    q->backend = b;
    q->is_facts = r->kind == READING_CHECK;
    q->wants_list = r->kind != READING_NEW;
    q->floor = b->executed == NULL ? NULL : gtid_set_copy(b->executed);
    if (upstream_target_copy(&b->target, &q->target) == 0 && (q->floor != NULL || b->executed == NULL)) {
        q->target.addr = b->addresses[b->address_at];
        return q;
    }
    question_del(q);
    return NULL;
}

static void ask(struct source *s, struct reading *r, struct backend *b)
{
    struct question *q = question_to(s, r, b);
    if (q == NULL) {
        finish(s, r, CUTOVER_VERDICT_FAILED, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
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

enum { STREAMS_MAX = 64 };

struct streams {
    struct checks_dm_stream items[STREAMS_MAX];
    char users[STREAMS_MAX][THREADS_USER_LEN + 1];
    char peers[STREAMS_MAX][STREAM_HOST_LEN + 8];
    size_t count;
};

static bool keep_stream(void *arg, const struct sessions_leg *leg)
{
    struct streams *all = arg;
    size_t i = all->count;
    if (!leg->is_stream || i == STREAMS_MAX) return i < STREAMS_MAX;
    snprintf(all->users[i], sizeof all->users[i], "%s", leg->user);
    snprintf(all->peers[i], sizeof all->peers[i], "%s", leg->peer);
    all->items[i] = (struct checks_dm_stream){ all->users[i], all->peers[i], leg->reader_id };
    all->count++;
    return true;
}

static void add_dm_checks(const struct source *s, struct reading *r, const struct consumer_status *found)
{
    const struct config_source *c = s->config;
    struct checks_dm_address *advertise = mem_calloc(c->advertise_count + 1, sizeof *advertise);
    struct streams *streams = mem_calloc(1, sizeof *streams);
    if (advertise == NULL || streams == NULL) {
        mem_free(advertise);
        mem_free(streams);
        r->server_checks.status = SLUICE_ERR_NOMEM;
        return;
    }
    sessions_each_leg(s->sessions, keep_stream, streams);
    for (size_t i = 0; i < c->advertise_count; i++)
        advertise[i] = (struct checks_dm_address){ c->advertise[i].host, c->advertise[i].port };
    const struct checks_dm in = { .source_id = c->source_id,
                                  .listen = { c->listen.host, c->listen.port },
                                  .advertise = advertise,
                                  .advertise_count = c->advertise_count,
                                  .streams = streams->items,
                                  .stream_count = streams->count };
    checks_add_dm(&r->server_checks, &in, found);
    mem_free(advertise);
    mem_free(streams);
}

/*
 * After the pause: is all of it quiet, and has no DDL lock come up meanwhile? What a person resumed, or began, is seen here; later,
 * while clients are held, its connection is held too, its stream is parked from birth, and so D cannot grow.
 */
static bool consumer_may_go_on(struct source *s, struct reading *r, const struct consumer_status *found)
{
    char awake[300], text[TEXT_LEN];
    consumer_status_tell_awake(found, awake, sizeof awake);
    if (found->refusal != NULL) {
        snprintf(text, sizeof text, "consumer: %.440s", found->refusal);
    } else if (*awake != '\0') {
        snprintf(text, sizeof text, "consumer: it was resumed by somebody, or begun, after it had been paused: %s",
                 awake);
    } else {
        struct check_list locks = { 0 };
        if (found->dm != NULL) checks_add_dm_locks(&locks, found->dm);
        checks_waive(&locks, r->options->waived);
        bool is_locked = check_verdict(&locks) != CUTOVER_VERDICT_PASS;
        if (is_locked && locks.count > 0)
            snprintf(text, sizeof text, "%.300s; %.150s", check_worst(&locks)->detail, check_worst(&locks)->todo);
        check_list_free(&locks);
        if (!is_locked) return true;
    }
    finish(s, r, CUTOVER_VERDICT_REFUSED, SLUICE_ERR_REFUSED, text);
    return false;
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
    } else if (r->kind == READING_GATE && !consumer_may_go_on(s, r, found)) {
        source_job_ended(s);
        return;
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
    streams_tell_consumer(s);
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
    gtid_set_del(r->old_at_empty);
    facts_free(&r->new_facts);
    facts_free(&r->old_facts);
    gtids_free(&r->new_gtids);
    gtids_free(&r->old_gtids);
    check_list_free(&r->server_checks);
    check_list_free(&r->gate_checks);
    check_list_free(&r->list_checks);
    *r = (struct reading){ .generation = generation };
}
