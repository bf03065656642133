/* SPDX-License-Identifier: Apache-2.0 */
/* Every binlog dump is weighed against what the backend has now, before the last byte of its request goes there. */
#include "core/dump_gate.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum { POLL_MS = 50, RANGES_LEN = 300 };

struct dump_wait {
    struct dump_wait *next;
    uint64_t session;
    struct backend *backend; /* that it would reach */
    struct gtid_set *request;
    bool names_file;
    uint32_t min_op; /* the first reading that is fresh enough for it */
    uint64_t since_ms, deadline_ms;
    char last[SESSIONS_MESSAGE_LEN + 1]; /* why it has not passed yet */
};

/* One question to a backend; its own object, as in reading.c. */
struct dump_question {
    struct source *source;
    struct backend *backend;
    uint32_t op;
    struct upstream_target target;
    struct gtids gtids;
};

static void wait_del(struct dump_wait *w)
{
    gtid_set_del(w->request);
    mem_free(w);
}

void dump_gate_free(struct dump_gate *gate)
{
    while (gate->first != NULL) {
        struct dump_wait *w = gate->first;
        gate->first = w->next;
        wait_del(w);
    }
}

static bool enforces(const struct source *s)
{
    return s->config->dump_gate == CONFIG_DUMP_GATE_ENFORCE;
}

/* What is told to the client or, when the gate only warns, to the log. */
static void say(const struct source *s, char *out, const char *text)
{
    snprintf(out, SESSIONS_MESSAGE_LEN + 1, "sluice: source '%.64s': binlog dump refused: %s", s->config->source_id,
             text);
}

static void warn_instead(const struct source *s, uint64_t session, const char *message)
{
    log_warn("the dump gate would refuse this binlog dump; it only warns", LOG_STR("source", s->config->source_id),
             LOG_U64("session", session), LOG_STR("text", message));
}

/* Refused, or let through with a warning. The wait ends. */
static void refuse(struct source *s, struct dump_wait *w, int code, const char *message)
{
    if (enforces(s)) {
        sessions_dump_decide(s->sessions, w->session, code, message);
    } else {
        warn_instead(s, w->session, message);
        sessions_dump_decide(s->sessions, w->session, 0, "");
    }
    wait_del(w);
}

/* ---- judging ---- */

static void note_behind(const struct source *s, struct dump_wait *w, const char *ranges)
{
    char text[SESSIONS_MESSAGE_LEN];
    snprintf(text, sizeof text,
             "backend %.64s lacks what this reader has: %s; waited %" PRIu64
             " ms (dump-gate-wait); it has to catch up first: sluice status %.64s",
             w->backend->config->name, ranges, source_now(s) - w->since_ms, s->config->source_id);
    say(s, w->last, text);
}

static const char latched_text[] = "its backend is latched as set back; see: sluice status";

static void refuse_rewound(struct source *s, struct dump_wait *w, const struct gtid_set *missing, const char *ranges)
{
    char text[SESSIONS_MESSAGE_LEN], message[SESSIONS_MESSAGE_LEN + 1];
    snprintf(text, sizeof text,
             "backend %.64s was set back: it lacks transactions of its own that this reader has: %s; rebuild it, then: "
             "sluice repin %.64s %.64s",
             w->backend->config->name, ranges, s->config->source_id, w->backend->config->name);
    say(s, message, text);
    if (enforces(s)) backend_latch(w->backend, missing, "which a reader got from it");
    refuse(s, w, SLUICE_ERR_REWOUND, message);
}

static void refuse_purged(struct source *s, struct dump_wait *w, const char *ranges)
{
    char text[SESSIONS_MESSAGE_LEN], message[SESSIONS_MESSAGE_LEN + 1];
    snprintf(text, sizeof text,
             "it names a file, with which a server skips its own check, and backend %.64s has purged what this reader "
             "lacks: %s; ask without a file name",
             w->backend->config->name, ranges);
    say(s, message, text);
    refuse(s, w, SLUICE_ERR_DUMP_GATE, message);
}

/* No server notices: by number it has what was purged. What it has under that number was given up, and is another transaction. */
static void refuse_lost(struct source *s, struct dump_wait *w, const char *ranges)
{
    char text[SESSIONS_MESSAGE_LEN], message[SESSIONS_MESSAGE_LEN + 1];
    snprintf(
        text, sizeof text,
        "backend %.64s has purged what this reader has only under numbers that were accepted as lost: %s; switch to a "
        "backend that still has them in its binlog, or load the reader anew",
        w->backend->config->name, ranges);
    say(s, message, text);
    refuse(s, w, SLUICE_ERR_DUMP_GATE, message);
}

/* Returns the wait when it goes on. */
static struct dump_wait *judge(struct source *s, struct dump_wait *w, const struct gtids *gtids,
                               const struct gtid_set *loss)
{
    char ranges[RANGES_LEN];
    uint8_t uuid[GTID_UUID_BYTES];
    struct dump_gate_result result = { 0 };
    struct dump_gate_input in = { .request = w->request,
                                  .names_file = w->names_file,
                                  .owned = gtids->owned,
                                  .executed = gtids->executed,
                                  .purged = gtids->purged,
                                  .uuid = uuid,
                                  .accepted_loss = loss };
    if (gtid_uuid_parse(gtids->server_uuid, strlen(gtids->server_uuid), uuid) != 0 || loss == NULL ||
        dump_gate_judge(&in, &result) != 0) {
        say(s, w->last, "memory ran out");
        return w;
    }
    if (result.missing != NULL) gtid_set_describe(result.missing, ranges, sizeof ranges);
    struct dump_wait *kept = NULL;
    switch (result.verdict) {
    case DUMP_GATE_PASS:
        if (enforces(s) && backend_is_latched(w->backend)) { /* since it began to wait */
            refuse(s, w, SLUICE_ERR_REWOUND, latched_text);
            break;
        }
        sessions_dump_decide(s->sessions, w->session, 0, "");
        wait_del(w);
        break;
    case DUMP_GATE_BEHIND:
        note_behind(s, w, ranges);
        if (enforces(s))
            kept = w;
        else
            refuse(s, w, SLUICE_ERR_DUMP_GATE, w->last);
        break;
    case DUMP_GATE_PURGED: refuse_purged(s, w, ranges); break;
    case DUMP_GATE_LOST: refuse_lost(s, w, ranges); break;
    case DUMP_GATE_REWOUND: refuse_rewound(s, w, result.missing, ranges); break;
    }
    gtid_set_del(result.missing);
    return kept;
}

/* ---- asking ---- */

static void look(struct source *s);

/* Those that |keep| gives back wait on, in their order; requests that come meanwhile are behind them. */
static void each_wait(struct source *s, struct dump_wait *(*keep)(struct source *s, struct dump_wait *w, void *arg),
                      void *arg)
{
    struct dump_wait *all = s->dump_gate.first, *kept = NULL, **end = &kept;
    s->dump_gate.first = NULL;
    while (all != NULL) {
        struct dump_wait *w = all;
        all = w->next;
        w->next = NULL;
        w = keep(s, w, arg);
        if (w == NULL) continue;
        *end = w;
        end = &w->next;
    }
    *end = s->dump_gate.first;
    s->dump_gate.first = kept;
}

struct answer {
    const struct dump_question *question;
    const struct gtid_set *loss; /* NULL: memory ran out */
    const char *error;           /* NULL: |question| has the sets */
};

static struct dump_wait *take_answer(struct source *s, struct dump_wait *w, void *arg)
{
    const struct answer *a = arg;
    char text[SESSIONS_MESSAGE_LEN];
    if (w->backend != a->question->backend || w->min_op > a->question->op) return w;
    if (a->error == NULL) return judge(s, w, &a->question->gtids, a->loss);
    snprintf(text, sizeof text, "what backend %.64s has could not be read: %.200s; see: sluice status %.64s",
             w->backend->config->name, a->error, s->config->source_id);
    say(s, w->last, text);
    return w;
}

static void on_answer(void *arg, int status, const struct upstream_error *error)
{
    struct dump_question *q = arg;
    struct source *s = q->source;
    struct gtid_set *loss = source_accepted_loss(s);
    struct answer answer = { .question = q, .loss = loss, .error = status == 0 ? NULL : error->text };
    s->jobs--;
    s->dump_gate.is_reading = false;
    if (!s->is_closing) {
        if (status == 0 && strcmp(q->gtids.server_uuid, q->backend->pin) != 0) {
            answer.error = "another server answers there";
            backend_lost_leg(q->backend); /* a probe tells what is to be done */
        }
        each_wait(s, take_answer, &answer);
        if (s->latch_is_dirty) {
            source_write_latch(s);
            source_admit(s);
        }
        look(s);
    }
    gtid_set_del(loss);
    gtids_free(&q->gtids);
    upstream_target_free(&q->target);
    mem_free(q);
    source_job_ended(s);
}

static int run_question(void *arg, struct connector *c, struct upstream_error *error)
{
    struct dump_question *q = arg;
    return gtids_read(c, &q->gtids, error);
}

static int ask(struct source *s, struct backend *b)
{
    struct dump_question *q = mem_calloc(1, sizeof *q);
    if (q == NULL) return SLUICE_ERR_NOMEM;
    int rv = upstream_target_copy(&b->target, &q->target);
    if (rv != 0) goto err_after_alloc;
    q->source = s;
    q->backend = b;
    q->op = ++s->dump_gate.op;
    q->target.addr = b->addresses[b->address_at];
    const struct upstream_job job = { .target = &q->target,
                                      .key = b->config->name,
                                      .lane = UPSTREAM_LANE_RESERVED,
                                      .timeout_ms = s->config->limits.probe_timeout_ms,
                                      .run = run_question,
                                      .done = on_answer,
                                      .arg = q,
                                      .mailbox = s->host.mailbox };
    rv = upstream_pool_submit(s->host.pool, &job, NULL);
    if (rv != 0) goto err_after_target;
    s->dump_gate.is_reading = true;
    s->jobs++;
    return 0;

err_after_target:
    upstream_target_free(&q->target);
err_after_alloc:
    mem_free(q);
    return rv;
}

/* Sessions that ended are forgotten, time-outs are told. */
static struct dump_wait *expire(struct source *s, struct dump_wait *w, void *arg)
{
    (void)arg;
    if (!sessions_dump_is_waiting(s->sessions, w->session)) {
        wait_del(w);
        return NULL;
    }
    if (source_now(s) < w->deadline_ms) return w;
    refuse(s, w, SLUICE_ERR_DUMP_GATE, w->last);
    return NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct source *s = timer->data;
    if (s->is_closing) return;
    each_wait(s, expire, NULL);
    if (s->dump_gate.first == NULL) {
        uv_timer_stop(timer);
    } else if (!s->dump_gate.is_reading) {
        (void)ask(s, s->dump_gate.first->backend); /* tried again at the next turn, until the deadline */
    }
}

/* A request that came while the last reading was under way is not made to wait for the timer. */
static void look(struct source *s)
{
    struct dump_gate *gate = &s->dump_gate;
    if (gate->first == NULL) return;
    if (!uv_is_active((uv_handle_t *)&gate->timer)) uv_timer_start(&gate->timer, on_timer, POLL_MS, POLL_MS);
    for (const struct dump_wait *w = gate->first; w != NULL && !gate->is_reading; w = w->next) {
        if (w->min_op > gate->op) (void)ask(s, w->backend);
    }
}

/* ---- requests ---- */

static enum sessions_dump refuse_now(const struct source *s, uint64_t session, const char *text,
                                     struct sessions_refusal *out)
{
    out->code = SLUICE_ERR_DUMP_GATE;
    say(s, out->message, text);
    if (enforces(s)) return SESSIONS_DUMP_REFUSE;
    warn_instead(s, session, out->message);
    return SESSIONS_DUMP_PASS;
}

/* A file and a position mean a place on one server only. */
static enum sessions_dump by_position(const struct source *s, struct sessions_refusal *out)
{
    switch (s->config->position_dump) {
    case CONFIG_POSITION_DUMP_ALLOW: return SESSIONS_DUMP_PASS;
    case CONFIG_POSITION_DUMP_UNTIL_FIRST_SWITCH:
        if (!s->record.has_moved) return SESSIONS_DUMP_PASS;
        say(s, out->message,
            "by file and position, which mean another place since the first switch; read by GTID: in DM's source "
            "enable-gtid: true, in MySQL SOURCE_AUTO_POSITION = 1 (position-dump: until-first-switch)");
        break;
    case CONFIG_POSITION_DUMP_DENY:
        say(s, out->message,
            "by file and position, which a switch makes mean another place; read by GTID: in DM's source enable-gtid: "
            "true, in MySQL SOURCE_AUTO_POSITION = 1 (position-dump: deny)");
        break;
    }
    out->code = SLUICE_ERR_DUMP_GATE;
    return SESSIONS_DUMP_REFUSE;
}

static enum sessions_dump wait_for(struct source *s, uint64_t session, uint32_t backend_index,
                                   const struct tracker_dump_request *request, struct sessions_refusal *out)
{
    struct dump_wait *w = mem_calloc(1, sizeof *w), **end = &s->dump_gate.first;
    if (w == NULL) return refuse_now(s, session, "memory ran out", out);
    int rv = gtid_set_decode(request->set, request->set_len, &w->request, NULL, NULL);
    if (rv != 0) {
        mem_free(w);
        return refuse_now(s, session, rv == GTID_ERR_NOMEM ? "memory ran out" : "its GTID set cannot be read", out);
    }
    w->session = session;
    w->backend = &s->backends[backend_index];
    w->names_file = *request->file != '\0';
    w->min_op = s->dump_gate.op + 1;
    w->since_ms = source_now(s);
    w->deadline_ms = w->since_ms + s->config->limits.dump_gate_wait_ms;
    say(s, w->last, "the backend did not say in time what it has; see: sluice status");
    while (*end != NULL)
        end = &(*end)->next;
    *end = w;
    look(s);
    return SESSIONS_DUMP_WAIT;
}

enum sessions_dump dump_gate_on_dump(void *source, uint64_t session, uint32_t backend_index,
                                     const struct tracker_dump_request *request, struct sessions_refusal *out_refusal)
{
    struct source *s = source;
    assert(backend_index < s->backend_count);
    if (request != NULL) twins_look(s, session);
    bool is_off = s->config->dump_gate == CONFIG_DUMP_GATE_OFF || s->is_closing;
    if (!is_off && backend_is_latched(&s->backends[backend_index]))
        return refuse_now(s, session, latched_text, out_refusal);
    if (request != NULL && !request->is_gtid) return by_position(s, out_refusal);
    if (is_off) return SESSIONS_DUMP_PASS;
    if (request == NULL) return refuse_now(s, session, "its request cannot be understood", out_refusal);
    return wait_for(s, session, backend_index, request, out_refusal);
}
