/* SPDX-License-Identifier: Apache-2.0 */
/* Look, let core/dm_move say what is next, order it, look again; see core/dm_move.h for why. */
#include "consumer/dm_mover.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "consumer/dm_bodies.h"
#include "consumer/dm_client.h"
#include "consumer/dm_grpc.h"
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"

enum {
    WAIT_MS = 100,
    BACKOFF_MS = 200, /* after a failure, doubled up to */
    BACKOFF_MS_MAX = 3000,
    LOOK_MS = 10000,
    REFUSALS_MAX = 3, /* DM's own no, three times to the same order: more of the same is of no use */
};

enum mover_kind { MOVER_IDLE, MOVER_JOB, MOVER_LOOK, MOVER_PAUSE_RELAY };

struct dm_mover {
    uv_loop_t *loop;
    char *source_id;
    struct dm_client *client;
    uv_timer_t timer;
    enum mover_kind kind;
    struct dm_mover_job job;
    dm_mover_look_fn look_fn;
    struct dm_facts *facts;
    struct dm_move_next order;
    bool is_config_asked; /* of the look: else the status */
    uint64_t deadline_ms;
    uint32_t backoff_ms;
    unsigned refusals;
    enum dm_move_act refused_act;
    int stop_op;          /* the number of stop-task in this DM */
    bool names_no_worker; /* DM did not want the worker that had the source */
    bool names_no_mode;   /* nor a validator's mode, where it knows it */
    char text[DM_ERROR_LEN + 200];
    bool is_closing, client_is_closed, timer_is_closed;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- life ---- */

static void mover_free(struct dm_mover *m)
{
    mem_free(m->source_id);
    mem_free(m);
}

static void closed_if_done(struct dm_mover *m)
{
    if (!m->client_is_closed || !m->timer_is_closed) return;
    void (*on_closed)(void *) = m->on_closed;
    void *arg = m->closed_arg;
    mover_free(m);
    on_closed(arg);
}

static void on_client_closed(void *arg)
{
    struct dm_mover *m = arg;
    m->client_is_closed = true;
    closed_if_done(m);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct dm_mover *m = handle->data;
    m->timer_is_closed = true;
    closed_if_done(m);
}

int dm_mover_new(const struct consumer_dm_settings *settings, struct dm_mover **out)
{
    const struct http_security security = { settings->ssl_ca, settings->ssl_cert, settings->ssl_key };
    struct dm_mover *m = mem_calloc(1, sizeof *m);
    if (m == NULL) return SLUICE_ERR_NOMEM;
    m->loop = settings->loop;
    m->stop_op = DM_OP_STOP_TASK;
    m->source_id = mem_strdup(settings->source_id);
    int rv = m->source_id == NULL ? SLUICE_ERR_NOMEM
                                  : dm_client_new(settings->loop, settings->masters, settings->master_count,
                                                  settings->ssl_ca == NULL ? NULL : &security, &m->client);
    if (rv != 0) {
        mover_free(m);
        return rv;
    }
    uv_timer_init(m->loop, &m->timer);
    m->timer.data = m;
    *out = m;
    return 0;
}

static void end(struct dm_mover *m, int status);

void dm_mover_close(struct dm_mover *m, void (*on_closed)(void *arg), void *arg)
{
    assert(!m->is_closing && on_closed != NULL);
    m->is_closing = true;
    m->on_closed = on_closed;
    m->closed_arg = arg;
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
    dm_client_close(m->client, on_client_closed, m);
    snprintf(m->text, sizeof m->text, "canceled");
    if (m->kind != MOVER_IDLE) end(m, SLUICE_ERR_CANCELED); /* a call under way comes back to nobody */
}

/* ---- one thing at a time ---- */

/* The caller may begin another one, or close, from inside its function. */
static void end(struct dm_mover *m, int status)
{
    enum mover_kind kind = m->kind;
    struct dm_facts *facts = m->facts;
    struct dm_mover_job job = m->job;
    char text[sizeof m->text];
    snprintf(text, sizeof text, "%s", m->text);
    m->kind = MOVER_IDLE;
    m->facts = NULL;
    if (kind == MOVER_LOOK) {
        m->look_fn(job.arg, status, text, status == 0 ? facts : NULL);
    } else {
        job.done(job.arg, status, text);
    }
    dm_facts_del(facts);
}

static uint32_t left_ms(const struct dm_mover *m)
{
    uint64_t now = uv_now(m->loop);
    return m->deadline_ms > now ? (uint32_t)(m->deadline_ms - now) : 0;
}

static void look(struct dm_mover *m);
static void give_order(struct dm_mover *m);

static void on_wait_over(uv_timer_t *timer)
{
    struct dm_mover *m = timer->data;
    if (m->kind == MOVER_PAUSE_RELAY) {
        give_order(m);
    } else if (m->kind != MOVER_IDLE) {
        look(m);
    }
}

static void again(struct dm_mover *m, uint32_t ms)
{
    if (left_ms(m) <= ms) {
        end(m, SLUICE_ERR_TIMEOUT);
        return;
    }
    uv_timer_start(&m->timer, on_wait_over, ms, 0);
}

static void again_after_failure(struct dm_mover *m)
{
    uint32_t ms = m->backoff_ms;
    m->backoff_ms = ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : ms * 2;
    again(m, ms);
}

static void begin(struct dm_mover *m, enum mover_kind kind, uint32_t timeout_ms)
{
    assert(m->kind == MOVER_IDLE && !m->is_closing);
    uv_update_time(m->loop);
    m->kind = kind;
    m->deadline_ms = uv_now(m->loop) + timeout_ms;
    m->backoff_ms = BACKOFF_MS;
    m->refusals = 0;
    m->names_no_worker = m->names_no_mode = false;
    m->text[0] = '\0';
    uv_timer_start(&m->timer, on_wait_over, 0, 0);
}

void dm_mover_start(struct dm_mover *m, const struct dm_mover_job *job)
{
    m->job = *job;
    begin(m, MOVER_JOB, job->timeout_ms);
}

void dm_mover_look(struct dm_mover *m, uint32_t timeout_ms, dm_mover_look_fn fn, void *arg)
{
    m->job = (struct dm_mover_job){ .arg = arg };
    m->look_fn = fn;
    begin(m, MOVER_LOOK, timeout_ms);
}

void dm_mover_pause_relay(struct dm_mover *m, uint32_t timeout_ms,
                          void (*done)(void *arg, int status, const char *text), void *arg)
{
    m->job = (struct dm_mover_job){ .done = done, .arg = arg };
    m->order = (struct dm_move_next){ .act = DM_MOVE_DONE, .text = "pause the relay again" };
    begin(m, MOVER_PAUSE_RELAY, timeout_ms);
}

/* ---- orders ---- */

static const char *task_text(const struct dm_mover *m)
{
    for (size_t i = 0; i < m->job.task_count; i++) {
        if (strcmp(m->job.tasks[i].name, m->order.task) == 0) return m->job.tasks[i].text;
    }
    return "";
}

static const char *mode_of(const struct dm_mover *m)
{
    const struct dm_move_task *t = dm_move_plan_find(m->job.plan, m->order.task);
    return t == NULL || m->names_no_mode ? "" : t->validator;
}

struct call {
    const char *method; /* NULL: gRPC */
    char *path;
    struct text body;
};

static void call_free(struct call *c)
{
    mem_free(c->path);
    text_free(&c->body);
}

static void put_body(struct call *c, char *body)
{
    if (body == NULL) c->body.status = SLUICE_ERR_NOMEM;
    text_puts(&c->body, body);
    mem_free(body);
}

static void task_call(const struct dm_mover *m, int op, struct call *c)
{
    struct text path = TEXT_INIT;
    char *name = dm_path_of(m->order.task);
    if (name != NULL) text_printf(&path, DM_PATH_TASKS "/%s", name);
    mem_free(name);
    c->method = "PUT";
    c->path = text_take(&path);
    put_body(c, dm_body_operate_task(op, m->source_id));
}

static void http_call(struct call *c, const char *method, const char *path, char *body)
{
    c->method = method;
    c->path = mem_strdup(path);
    put_body(c, body);
}

static void grpc_call(const struct dm_mover *m, struct call *c)
{
    const char *id = m->source_id;
    switch (m->order.act) {
    case DM_MOVE_STOP_RELAY:
        c->path = mem_strdup(DM_GRPC_RELAY);
        dm_grpc_relay(&c->body, DM_RELAY_V2_STOP, id, m->job.plan->relay_worker);
        return;
    case DM_MOVE_STOP_VALIDATION:
        c->path = mem_strdup(DM_GRPC_STOP_VALIDATION);
        dm_grpc_stop_validation(&c->body, id, m->order.task);
        return;
    case DM_MOVE_START_VALIDATION:
        c->path = mem_strdup(DM_GRPC_START_VALIDATION);
        dm_grpc_start_validation(&c->body, id, m->order.task, mode_of(m));
        return;
    case DM_MOVE_DONE: /* dm_mover_pause_relay() */
        c->path = mem_strdup(DM_GRPC_WORKER_RELAY);
        dm_grpc_worker_relay(&c->body, DM_RELAY_PAUSE, id);
        return;
    case DM_MOVE_PAUSE_TASK:
    case DM_MOVE_STOP_TASK:
    case DM_MOVE_STOP_SOURCE:
    case DM_MOVE_CREATE_SOURCE:
    case DM_MOVE_START_TASK:
    case DM_MOVE_WAIT:
    case DM_MOVE_FAIL:
    case DM_MOVE_ACT_COUNT: assert(false);
    }
}

static void make_call(const struct dm_mover *m, struct call *c)
{
    switch (m->order.act) {
    case DM_MOVE_PAUSE_TASK: task_call(m, DM_OP_PAUSE_TASK, c); return;
    case DM_MOVE_STOP_TASK: task_call(m, m->stop_op, c); return;
    case DM_MOVE_STOP_SOURCE: http_call(c, "PUT", DM_PATH_SOURCES, dm_body_stop_source(m->source_id)); return;
    case DM_MOVE_CREATE_SOURCE:
        http_call(c, "PUT", DM_PATH_SOURCES,
                  dm_body_create_source(m->job.source_text, m->names_no_worker ? "" : m->job.plan->worker));
        return;
    case DM_MOVE_START_TASK:
        http_call(c, "POST", DM_PATH_TASKS, dm_body_start_task(task_text(m), m->source_id));
        return;
    case DM_MOVE_STOP_RELAY:
    case DM_MOVE_STOP_VALIDATION:
    case DM_MOVE_START_VALIDATION:
    case DM_MOVE_DONE: grpc_call(m, c); return;
    case DM_MOVE_WAIT:
    case DM_MOVE_FAIL:
    case DM_MOVE_ACT_COUNT: assert(false);
    }
}

static int judge(struct dm_mover *m, const char *body, size_t len, char *why)
{
    switch (m->order.act) {
    case DM_MOVE_STOP_RELAY:
    case DM_MOVE_STOP_VALIDATION:
    case DM_MOVE_START_VALIDATION: return dm_grpc_operated((const uint8_t *)body, len, DM_GRPC_RESULT_1, why);
    case DM_MOVE_DONE: return dm_grpc_operated((const uint8_t *)body, len, DM_GRPC_RESULT_2, why);
    case DM_MOVE_PAUSE_TASK:
    case DM_MOVE_STOP_TASK:
    case DM_MOVE_STOP_SOURCE:
    case DM_MOVE_CREATE_SOURCE:
    case DM_MOVE_START_TASK:
    case DM_MOVE_WAIT:
    case DM_MOVE_FAIL:
    case DM_MOVE_ACT_COUNT: break;
    }
    return dm_parse_operated(body, len, m->source_id, why);
}

/* What another version, another worker or what DM remembers of a validator wants otherwise. */
static void try_otherwise(struct dm_mover *m, const char *why)
{
    if (m->order.act == DM_MOVE_STOP_TASK && strstr(why, "invalid op") != NULL)
        m->stop_op = m->stop_op == DM_OP_STOP_TASK ? DM_OP_STOP_TASK_V5 : DM_OP_STOP_TASK;
    if (m->order.act == DM_MOVE_CREATE_SOURCE) m->names_no_worker = true;
    if (m->order.act == DM_MOVE_START_VALIDATION) m->names_no_mode = !m->names_no_mode;
}

static bool is_refused_for_good(struct dm_mover *m, const char *why)
{
    m->refusals = m->refused_act == m->order.act ? m->refusals + 1 : 1;
    m->refused_act = m->order.act;
    try_otherwise(m, why);
    return m->refusals >= REFUSALS_MAX;
}

static void on_ordered(void *arg, int status, const char *text, const char *body, size_t len)
{
    struct dm_mover *m = arg;
    char why[DM_ERROR_LEN + 1];
    if (m->is_closing) return;
    snprintf(why, sizeof why, "%.*s", DM_ERROR_LEN, text);
    if (status == 0) status = judge(m, body, len, why);
    log_info("an order to DM", LOG_STR("source", m->source_id), LOG_STR("order", m->order.text),
             LOG_STR("result", status == 0 ? "ok" : why));
    if (status != 0) snprintf(m->text, sizeof m->text, "%.150s: %.400s", m->order.text, why);
    if (status == 0 && m->kind == MOVER_PAUSE_RELAY) {
        end(m, 0);
    } else if (status == 0) {
        m->backoff_ms = BACKOFF_MS;
        m->refusals = 0;
        look(m);
    } else if (status == SLUICE_ERR_CANCELED || (status == SLUICE_ERR_REFUSED && is_refused_for_good(m, why))) {
        end(m, status);
    } else {
        again_after_failure(m);
    }
}

static void give_order(struct dm_mover *m)
{
    struct call c = { 0 };
    int rv = SLUICE_ERR_NOMEM;
    if (m->job.step != NULL) m->job.step(m->job.arg, dm_move_act_name(m->order.act), m->order.text);
    make_call(m, &c);
    if (c.path != NULL && c.body.status == 0) {
        const struct dm_request request = { .method = c.method,
                                            .path = c.path,
                                            .body = text_str(&c.body),
                                            .body_len = c.body.len,
                                            .timeout_ms = left_ms(m) };
        rv = dm_client_call(m->client, &request, on_ordered, m);
    }
    call_free(&c);
    if (rv == 0) return;
    snprintf(m->text, sizeof m->text, "memory ran out");
    again_after_failure(m);
}

/* ---- looking ---- */

static void act_on_look(struct dm_mover *m)
{
    const struct dm_mover_job *job = &m->job;
    if (m->kind == MOVER_LOOK) {
        end(m, 0);
        return;
    }
    int rv = job->is_up ? dm_move_plan_set_worker(job->plan, m->facts->source.worker)
                        : dm_move_plan_take(job->plan, &m->facts->source);
    if (rv != 0) {
        snprintf(m->text, sizeof m->text, "memory ran out");
        again_after_failure(m);
        return;
    }
    if (job->is_up) {
        dm_move_next_up(job->plan, m->facts, &job->at, &m->order);
    } else {
        dm_move_next_down(job->plan, m->facts, &job->at, &job->other, &m->order);
    }
    if (m->order.act == DM_MOVE_DONE) {
        m->text[0] = '\0';
        end(m, 0);
    } else if (m->order.act == DM_MOVE_FAIL) {
        snprintf(m->text, sizeof m->text, "%s", m->order.text);
        end(m, SLUICE_ERR_REFUSED);
    } else if (m->order.act == DM_MOVE_WAIT) {
        snprintf(m->text, sizeof m->text, "%s", m->order.text);
        again(m, WAIT_MS);
    } else if (left_ms(m) == 0) {
        end(m, SLUICE_ERR_TIMEOUT);
    } else {
        give_order(m);
    }
}

static void ask(struct dm_mover *m, bool is_config);

static void on_looked(void *arg, int status, const char *text, const char *body, size_t len)
{
    struct dm_mover *m = arg;
    char why[DM_ERROR_LEN + 1];
    if (m->is_closing) return;
    snprintf(why, sizeof why, "%.*s", DM_ERROR_LEN, text);
    if (status == 0 && m->is_config_asked) {
        status = dm_parse_source_config(body, len, m->facts, why);
        if (status == SLUICE_ERR_REFUSED) status = 0; /* it is not there, or why it is not shown */
    } else if (status == 0) {
        status = dm_parse_status(body, len, m->source_id, &m->facts->source, why);
    }
    if (status != 0) {
        snprintf(m->text, sizeof m->text, "%s", why);
        again_after_failure(m);
    } else if (m->is_config_asked) {
        act_on_look(m);
    } else {
        ask(m, true);
    }
}

static void ask(struct dm_mover *m, bool is_config)
{
    struct text path = TEXT_INIT;
    uint32_t ms = left_ms(m);
    m->is_config_asked = is_config;
    text_printf(&path, is_config ? DM_PATH_TASKS "/%s?type=4" : "/apis/v1alpha1/status/?sources=%s", m->source_id);
    const struct dm_request request = { .method = "GET",
                                        .path = text_str(&path),
                                        .timeout_ms = ms > LOOK_MS ? LOOK_MS
                                                      : ms == 0    ? 1
                                                                   : ms };
    int rv = path.status != 0 ? path.status : dm_client_call(m->client, &request, on_looked, m);
    text_free(&path);
    if (rv == 0) return;
    snprintf(m->text, sizeof m->text, "memory ran out");
    again_after_failure(m);
}

static void look(struct dm_mover *m)
{
    dm_facts_del(m->facts);
    m->facts = dm_facts_new();
    if (m->facts == NULL) {
        snprintf(m->text, sizeof m->text, "memory ran out");
        again_after_failure(m);
        return;
    }
    ask(m, false);
}
