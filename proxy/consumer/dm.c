/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking and ordering. A pause and a resume are loops: read the status, let core/dm say what is next, order it, read again. So an
 * order whose answer was lost, an operator's own dmctl and a worker that moved are all met in the same way: by looking.
 */
#include "consumer/dm.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "consumer/dm_client.h"
#include "consumer/dm_grpc.h"
#include "consumer/dm_parse.h"
#include "core/dm.h"
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"

enum {
    WAIT_MS = 100,           /* between two looks at something that moves by itself */
    BACKOFF_MS = 200,        /* after a failure, doubled up to */
    BACKOFF_MS_MAX = 3000,   /* this */
    RELAY_READS_MS = 3000,   /* a relay that runs has read what is on its way to it, or it is stopped */
    STATUS_MS = 10000,       /* one look, within a pause or a resume */
    EXTRA_MS_MIN = 50,       /* what a question about circumstances needs of the time at least */
    PROGRESS_MS = 2000,      /* between two words about what is waited for, doubled up to */
    PROGRESS_MS_MAX = 30000, /* this: it may take hours, and each is a step */
};

enum op_kind { OP_STATUS, OP_PAUSE, OP_RESUME };
enum op_step { STEP_STATUS, STEP_MEMBERS, STEP_CONFIG, STEP_LOCKS, STEP_ORDER };

struct op {
    struct op *next_op;
    struct dm *dm;
    enum op_kind kind;
    enum op_step step;
    uint64_t began_ms, deadline_ms;
    struct dm_facts *facts;
    struct dm_plan plan;
    struct dm_resume resume;
    struct dm_next order;
    bool has_retried_mode; /* START_VALIDATION: its old mode had to be named */
    bool is_canceled;      /* it orders nothing more */
    uint32_t backoff_ms;
    uint64_t told_ms;              /* when it last told what it waits for; at first, when it began */
    int start_status;              /* of an operation that could not begin */
    char text[DM_ERROR_LEN + 200]; /* what it waits for, or why it failed */
    uv_timer_t timer;
    consumer_status_fn status_fn;
    consumer_done_fn done_fn;
    void *arg;
};

struct dm {
    uv_loop_t *loop;
    char *source_id;
    struct dm_client *client;
    struct op *ops;
    bool has_paused; /* |paused| is what was put to sleep and not woken since */
    struct dm_plan paused;
    char server_uuid[40];
    struct gtid_set *delivered; /* D at the pause; NULL: not known */
    struct dm_verify verify;    /* looks since the last resume */
    /* Of an undo, whose plan has no goal: what it took, so that the next try of the same resume does not take a later one. */
    char *goal_plan;
    struct gtid_set *goal;
    consumer_progress_fn progress_fn;
    void *progress_arg;
    char told[DM_TEXT_LEN + 1];
    uint32_t tell_ms; /* from one word to the next */
    bool is_closing, client_is_closed;
    unsigned timers; /* of operations, not yet closed */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- life ---- */

static void dm_free(struct dm *dm)
{
    dm_plan_free(&dm->paused);
    dm_verify_free(&dm->verify);
    gtid_set_del(dm->delivered);
    gtid_set_del(dm->goal);
    mem_free(dm->goal_plan);
    mem_free(dm->source_id);
    mem_free(dm);
}

int dm_new(const struct consumer_dm_settings *settings, struct dm **out)
{
    const struct http_security security = { settings->ssl_ca, settings->ssl_cert, settings->ssl_key };
    struct dm *dm = mem_calloc(1, sizeof *dm);
    if (dm == NULL) return SLUICE_ERR_NOMEM;
    dm->loop = settings->loop;
    dm->source_id = mem_strdup(settings->source_id);
    int rv = dm->source_id == NULL ? SLUICE_ERR_NOMEM
                                   : dm_client_new(settings->loop, settings->masters, settings->master_count,
                                                   settings->ssl_ca == NULL ? NULL : &security, &dm->client);
    if (rv != 0) {
        dm_free(dm);
        return rv;
    }
    *out = dm;
    return 0;
}

static void closed_if_done(struct dm *dm)
{
    if (!dm->is_closing || !dm->client_is_closed || dm->ops != NULL || dm->timers > 0) return;
    void (*on_closed)(void *) = dm->on_closed;
    void *arg = dm->closed_arg;
    dm_free(dm);
    on_closed(arg);
}

static void on_client_closed(void *arg)
{
    struct dm *dm = arg;
    dm->client_is_closed = true;
    closed_if_done(dm);
}

static void op_end(struct op *op, int status);

void dm_close(struct dm *dm, void (*on_closed)(void *arg), void *arg)
{
    assert(!dm->is_closing && on_closed != NULL);
    dm->is_closing = true;
    dm->on_closed = on_closed;
    dm->closed_arg = arg;
    /* Calls that are under way come back as canceled; what waits for a timer is ended here. */
    dm_client_close(dm->client, on_client_closed, dm);
    while (dm->ops != NULL) {
        snprintf(dm->ops->text, sizeof dm->ops->text, "canceled");
        op_end(dm->ops, SLUICE_ERR_CANCELED);
    }
}

int dm_set_server(struct dm *dm, const char *server_uuid)
{
    if (strlen(server_uuid) >= sizeof dm->server_uuid) return SLUICE_ERR_INVALID;
    strcpy(dm->server_uuid, server_uuid);
    return 0;
}

void dm_set_delivered(struct dm *dm, const struct gtid_set *delivered)
{
    gtid_set_del(dm->delivered);
    dm->delivered = delivered == NULL ? NULL : gtid_set_copy(delivered);
}

/* ---- operations ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct op *op = handle->data;
    struct dm *dm = op->dm;
    mem_free(op);
    dm->timers--;
    closed_if_done(dm);
}

/* The goal of a resume outlives a try of it. */
static void keep_goal(struct op *op)
{
    struct dm *dm = op->dm;
    if (op->kind != OP_RESUME || op->is_canceled || op->resume.goal == NULL || *op->plan.goal != '\0') return;
    gtid_set_del(dm->goal);
    dm->goal = op->resume.goal;
    op->resume.goal = NULL;
}

static void op_free_parts(struct op *op)
{
    keep_goal(op);
    dm_facts_del(op->facts);
    dm_resume_free(&op->resume);
    dm_plan_free(&op->plan);
    op->facts = NULL;
}

static void tell_status(struct op *op, int status, struct upstream_error *error)
{
    struct dm *dm = op->dm;
    struct consumer_status found = { 0 };
    if (status == 0) status = dm_fill_status(op->facts, dm->has_paused ? &dm->paused : NULL, &found);
    if (status == SLUICE_ERR_NOMEM) upstream_error_set(error, status, 0, "memory ran out");
    if (status == 0) {
        found.dm = op->facts;
        op->facts = NULL;
    }
    op->status_fn(op->arg, status, error, status == 0 ? &found : NULL);
    consumer_status_free(&found);
}

/* The caller may begin another operation, or close, from inside its function. */
static void op_end(struct op *op, int status)
{
    struct dm *dm = op->dm;
    struct upstream_error error = { .code = status };
    struct op **link = &dm->ops;
    while (*link != op)
        link = &(*link)->next_op;
    *link = op->next_op;
    snprintf(error.text, sizeof error.text, "%.500s", op->text);
    if (op->kind == OP_STATUS) {
        tell_status(op, status, &error);
    } else {
        op->done_fn(op->arg, status, &error);
    }
    op_free_parts(op);
    uv_close((uv_handle_t *)&op->timer, on_timer_closed);
}

static uint32_t left_ms(const struct op *op)
{
    uint64_t now = uv_now(op->dm->loop);
    return op->deadline_ms > now ? (uint32_t)(op->deadline_ms - now) : 0;
}

static void ask(struct op *op, enum op_step step);

static bool ended_canceled(struct op *op)
{
    if (!op->is_canceled) return false;
    snprintf(op->text, sizeof op->text, "canceled");
    op_end(op, SLUICE_ERR_CANCELED);
    return true;
}

static void on_wait_over(uv_timer_t *timer)
{
    struct op *op = timer->data;
    if (ended_canceled(op)) return;
    if (op->start_status != 0) {
        op_end(op, op->start_status);
    } else {
        ask(op, STEP_STATUS);
    }
}

/* Look again after |ms|, or give up when there is no time left for it. */
static void again(struct op *op, uint32_t ms)
{
    if (left_ms(op) <= ms) {
        op_end(op, SLUICE_ERR_TIMEOUT);
        return;
    }
    uv_timer_start(&op->timer, on_wait_over, ms, 0);
}

static void again_after_failure(struct op *op)
{
    uint32_t ms = op->backoff_ms;
    op->backoff_ms = ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : ms * 2;
    again(op, ms);
}

/* ---- orders ---- */

static const char *order_path(const struct dm_next *order)
{
    switch (order->act) {
    case DM_ACT_PAUSE_RELAY:
    case DM_ACT_RESUME_RELAY: return DM_GRPC_WORKER_RELAY;
    case DM_ACT_STOP_RELAY:
    case DM_ACT_START_RELAY: return DM_GRPC_RELAY;
    case DM_ACT_STOP_VALIDATION: return DM_GRPC_STOP_VALIDATION;
    case DM_ACT_START_VALIDATION: return DM_GRPC_START_VALIDATION;
    case DM_ACT_PAUSE_TASK:
    case DM_ACT_RESUME_TASK:
    case DM_ACT_DONE:
    case DM_ACT_WAIT: break;
    }
    return NULL;
}

static void write_grpc(const struct op *op, struct text *out)
{
    const char *source = op->dm->source_id;
    const struct dm_plan_validator *v =
        op->order.index < op->plan.validator_count ? &op->plan.validators[op->order.index] : NULL;
    switch (op->order.act) {
    case DM_ACT_PAUSE_RELAY: dm_grpc_worker_relay(out, DM_RELAY_PAUSE, source); return;
    case DM_ACT_RESUME_RELAY: dm_grpc_worker_relay(out, DM_RELAY_RESUME, source); return;
    case DM_ACT_STOP_RELAY: dm_grpc_relay(out, DM_RELAY_V2_STOP, source, op->plan.relay_worker); return;
    case DM_ACT_START_RELAY: dm_grpc_relay(out, DM_RELAY_V2_START, source, op->plan.relay_worker); return;
    case DM_ACT_STOP_VALIDATION:
        assert(v != NULL);
        dm_grpc_stop_validation(out, source, v->task);
        return;
    case DM_ACT_START_VALIDATION:
        assert(v != NULL);
        /* DM keeps the mode of one that was stopped, and refuses to be told it */
        dm_grpc_start_validation(out, source, v->task, op->has_retried_mode ? v->mode : "");
        return;
    case DM_ACT_PAUSE_TASK:
    case DM_ACT_RESUME_TASK:
    case DM_ACT_DONE:
    case DM_ACT_WAIT: return;
    }
}

/* source-id is of letters, digits and "._-" (config.h), so it needs no escape in JSON. */
static char *task_path(const struct op *op, struct text *body)
{
    struct text path = TEXT_INIT;
    char *name = dm_path_of(op->plan.tasks[op->order.index]);
    text_printf(body, "{\"op\":%d,\"sources\":[\"%s\"]}", op->order.act == DM_ACT_PAUSE_TASK ? 2 : 3,
                op->dm->source_id);
    if (name != NULL) text_printf(&path, "/apis/v1alpha1/tasks/%s", name);
    char *text = name == NULL ? NULL : text_take(&path);
    mem_free(name);
    return text;
}

static int judge_order(struct op *op, const char *body, size_t len)
{
    enum dm_grpc_shape shape =
        order_path(&op->order) != NULL && strcmp(order_path(&op->order), DM_GRPC_WORKER_RELAY) == 0 ? DM_GRPC_RESULT_2
                                                                                                    : DM_GRPC_RESULT_1;
    if (order_path(&op->order) == NULL) return dm_parse_operated(body, len, op->dm->source_id, op->text);
    return dm_grpc_operated((const uint8_t *)body, len, shape, op->text);
}

static void mark_ordered(struct op *op)
{
    struct dm_resume *r = &op->resume;
    switch (op->order.act) {
    case DM_ACT_RESUME_RELAY:
    case DM_ACT_START_RELAY: r->relay_is_ordered = true; break;
    case DM_ACT_RESUME_TASK: r->tasks_ordered[op->order.index] = true; break;
    case DM_ACT_START_VALIDATION:
        r->validators_ordered[op->order.index] = true;
        op->has_retried_mode = false;
        break;
    case DM_ACT_PAUSE_RELAY:
    case DM_ACT_STOP_RELAY:
    case DM_ACT_STOP_VALIDATION:
    case DM_ACT_PAUSE_TASK:
    case DM_ACT_DONE:
    case DM_ACT_WAIT: break;
    }
}

static void on_ordered(void *arg, int status, const char *text, const char *body, size_t len)
{
    struct op *op = arg;
    if (status != 0) snprintf(op->text, sizeof op->text, "%s: %.400s", op->order.text, text);
    if (status == 0) {
        status = judge_order(op, body, len);
        if (status != 0) {
            char said[DM_ERROR_LEN + 1];
            snprintf(said, sizeof said, "%.*s", DM_ERROR_LEN, op->text);
            snprintf(op->text, sizeof op->text, "%s: DM: %s", op->order.text, said);
        }
    }
    log_info("an order to DM", LOG_STR("source", op->dm->source_id), LOG_STR("order", op->order.text),
             LOG_STR("result", status == 0 ? "ok" : op->text));
    if (status == SLUICE_ERR_CANCELED) {
        op_end(op, status);
    } else if (ended_canceled(op)) {
        return;
    } else if (status == 0) {
        op->backoff_ms = BACKOFF_MS;
        mark_ordered(op);
        ask(op, STEP_STATUS);
    } else {
        if (op->order.act == DM_ACT_START_VALIDATION && status == SLUICE_ERR_REFUSED)
            op->has_retried_mode = !op->has_retried_mode;
        again_after_failure(op);
    }
}

static void give_order(struct op *op)
{
    struct text body = TEXT_INIT;
    const char *grpc = order_path(&op->order);
    char *path = grpc == NULL ? task_path(op, &body) : mem_strdup(grpc);
    if (grpc != NULL) write_grpc(op, &body);
    int rv = SLUICE_ERR_NOMEM;
    op->step = STEP_ORDER;
    if (path != NULL && body.status == 0) {
        const struct dm_request request = { .method = grpc == NULL ? "PUT" : NULL,
                                            .path = path,
                                            .body = text_str(&body),
                                            .body_len = body.len,
                                            .timeout_ms = left_ms(op) };
        rv = dm_client_call(op->dm->client, &request, on_ordered, op);
    }
    mem_free(path);
    text_free(&body);
    if (rv != 0) {
        snprintf(op->text, sizeof op->text, "memory ran out");
        again_after_failure(op);
    }
}

/* ---- what a status means to each operation ---- */

static void done(struct op *op)
{
    op->text[0] = '\0';
    op_end(op, 0);
}

static void tell_progress(struct op *op, const char *text)
{
    struct dm *dm = op->dm;
    uint64_t now = uv_now(dm->loop);
    if (dm->progress_fn == NULL || now - op->told_ms < dm->tell_ms || strcmp(dm->told, text) == 0) return;
    op->told_ms = now;
    dm->tell_ms = dm->tell_ms * 2 > PROGRESS_MS_MAX ? PROGRESS_MS_MAX : dm->tell_ms * 2;
    snprintf(dm->told, sizeof dm->told, "%s", text);
    dm->progress_fn(dm->progress_arg, text);
}

static void on_looked(struct op *op)
{
    const struct dm_source *s = &op->facts->source;
    if (op->kind == OP_PAUSE) {
        const struct dm_pause pause = { op->dm->delivered, uv_now(op->dm->loop) < op->began_ms + RELAY_READS_MS };
        dm_next_pause(&op->plan, s, &pause, &op->order);
    } else {
        dm_next_resume(&op->plan, s, &op->resume, &op->order);
    }
    if (op->order.act == DM_ACT_DONE) {
        done(op);
    } else if (op->order.act == DM_ACT_WAIT) {
        snprintf(op->text, sizeof op->text, "%s", op->order.text);
        tell_progress(op, op->order.text);
        again(op, WAIT_MS);
    } else if (left_ms(op) == 0) {
        op_end(op, SLUICE_ERR_TIMEOUT);
    } else {
        give_order(op);
    }
}

static int take_answer(struct op *op, const char *body, size_t len, char *why)
{
    struct dm_facts *f = op->facts;
    switch (op->step) {
    case STEP_STATUS: dm_source_free(&f->source); return dm_parse_status(body, len, op->dm->source_id, &f->source, why);
    case STEP_MEMBERS: return dm_parse_members(body, len, op->dm->source_id, f, why);
    case STEP_CONFIG: return dm_parse_source_config(body, len, f, why);
    case STEP_LOCKS: return dm_grpc_read_locks((const uint8_t *)body, len, f, why);
    case STEP_ORDER: break;
    }
    return SLUICE_ERR_INVALID;
}

static bool has_no_tasks(const struct op *op, int status)
{
    return status != 0 || !op->facts->source.is_known;
}

/* A question about circumstances that got no answer leaves them unknown; the checks say so. */
static void on_answer(void *arg, int status, const char *text, const char *body, size_t len)
{
    struct op *op = arg;
    char why[DM_ERROR_LEN + 1];
    snprintf(why, sizeof why, "%.*s", DM_ERROR_LEN, text);
    if (status == 0) status = take_answer(op, body, len, why);
    if (status != 0) snprintf(op->text, sizeof op->text, "%s", why);
    if (status == SLUICE_ERR_CANCELED || status == SLUICE_ERR_NOMEM) {
        op_end(op, status);
        return;
    }
    if (ended_canceled(op)) return;
    if (op->step == STEP_CONFIG && status != 0) op->facts->config_error = mem_strdup(why);
    if (op->step == STEP_MEMBERS && status != 0) op->facts->members_error = mem_strdup(why);
    if (op->step == STEP_STATUS && op->kind != OP_STATUS) {
        if (status != 0) {
            again_after_failure(op);
        } else {
            on_looked(op);
        }
    } else if (op->step == STEP_STATUS && op->dm->has_paused && has_no_tasks(op, status) &&
               left_ms(op) > BACKOFF_MS * 2) {
        again(op, BACKOFF_MS); /* a leader or a worker that changes in the middle of a switch */
    } else if (op->step == STEP_STATUS && status != 0) {
        op_end(op, status);
    } else if (op->step == STEP_LOCKS || op->dm->has_paused || left_ms(op) < EXTRA_MS_MIN) {
        done(op);
    } else {
        ask(op, op->step + 1);
    }
}

static void ask(struct op *op, enum op_step step)
{
    struct text path = TEXT_INIT, body = TEXT_INIT;
    const char *id = op->dm->source_id;
    uint32_t ms = left_ms(op);
    op->step = step;
    switch (step) {
    case STEP_STATUS: text_printf(&path, "/apis/v1alpha1/status/?sources=%s", id); break;
    case STEP_MEMBERS: text_puts(&path, "/apis/v1alpha1/members"); break;
    case STEP_CONFIG: text_printf(&path, "/apis/v1alpha1/tasks/%s?type=4", id); break;
    case STEP_LOCKS:
        text_puts(&path, DM_GRPC_DDL_LOCKS);
        dm_grpc_ddl_locks(&body, id);
        break;
    case STEP_ORDER: break;
    }
    if (op->kind != OP_STATUS && ms > STATUS_MS) ms = STATUS_MS;
    const struct dm_request request = { .method = step == STEP_LOCKS ? NULL : "GET",
                                        .path = text_str(&path),
                                        .body = body.len == 0 ? NULL : text_str(&body),
                                        .body_len = body.len,
                                        .timeout_ms = ms };
    int rv = path.status != 0 || body.status != 0 ? SLUICE_ERR_NOMEM
                                                  : dm_client_call(op->dm->client, &request, on_answer, op);
    text_free(&path);
    text_free(&body);
    if (rv == 0) return;
    snprintf(op->text, sizeof op->text, "memory ran out");
    op->start_status = rv;
    uv_timer_start(&op->timer, on_wait_over, 0, 0);
}

/* ---- beginning one ---- */

static struct op *op_new(struct dm *dm, enum op_kind kind, uint32_t timeout_ms, void *arg)
{
    struct op *op = mem_calloc(1, sizeof *op);
    struct dm_facts *facts = dm_facts_new();
    assert(!dm->is_closing);
    if (op == NULL || facts == NULL || uv_timer_init(dm->loop, &op->timer) != 0) {
        mem_free(op);
        dm_facts_del(facts);
        return NULL;
    }
    uv_update_time(dm->loop);
    op->timer.data = op;
    dm->timers++;
    op->dm = dm;
    op->kind = kind;
    op->facts = facts;
    op->arg = arg;
    op->backoff_ms = BACKOFF_MS;
    op->told_ms = uv_now(dm->loop);
    op->began_ms = op->told_ms;
    op->deadline_ms = op->began_ms + timeout_ms;
    op->next_op = dm->ops;
    dm->ops = op;
    return op;
}

static void no_memory(struct upstream_error *error)
{
    upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
}

void dm_status(struct dm *dm, uint32_t timeout_ms, consumer_status_fn fn, void *arg)
{
    struct op *op = op_new(dm, OP_STATUS, timeout_ms, arg);
    if (op == NULL) {
        struct upstream_error error = { 0 };
        no_memory(&error);
        fn(arg, SLUICE_ERR_NOMEM, &error, NULL);
        return;
    }
    op->status_fn = fn;
    ask(op, STEP_STATUS);
}

static struct op *order_new(struct dm *dm, enum op_kind kind, const char *plan, uint32_t timeout_ms,
                            consumer_done_fn fn, void *arg)
{
    struct op *op = op_new(dm, kind, timeout_ms, arg);
    if (op == NULL) {
        struct upstream_error error = { 0 };
        no_memory(&error);
        fn(arg, SLUICE_ERR_NOMEM, &error);
        return NULL;
    }
    op->done_fn = fn;
    op->start_status = dm_plan_read(plan, &op->plan);
    if (op->start_status != 0) snprintf(op->text, sizeof op->text, "the plan cannot be read: %.200s", plan);
    return op;
}

/* Keep a copy of a plan; without memory for it the operation fails before anything is ordered. */
static void keep_plan(struct op *op, const char *text, struct dm_plan *kept, bool *has)
{
    struct dm_plan copy;
    if (op->start_status == 0) op->start_status = dm_plan_read(text, &copy);
    if (op->start_status != 0) return;
    dm_plan_free(kept);
    *kept = copy;
    *has = true;
}

static void order_begin(struct op *op)
{
    if (op->start_status != 0) {
        if (*op->text == '\0') snprintf(op->text, sizeof op->text, "memory ran out");
        uv_timer_start(&op->timer, on_wait_over, 0, 0);
    } else {
        ask(op, STEP_STATUS);
    }
}

void dm_cancel(struct dm *dm)
{
    for (struct op *op = dm->ops; op != NULL; op = op->next_op) {
        if (op->kind == OP_STATUS || op->is_canceled) continue;
        op->is_canceled = true; /* a call that is under way comes back first */
        if (uv_is_active((uv_handle_t *)&op->timer)) uv_timer_start(&op->timer, on_wait_over, 0, 0);
    }
}

void dm_set_progress(struct dm *dm, consumer_progress_fn fn, void *arg)
{
    dm->progress_fn = fn;
    dm->progress_arg = arg;
}

void dm_pause(struct dm *dm, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg)
{
    dm_cancel(dm);
    struct op *op = order_new(dm, OP_PAUSE, plan, timeout_ms, fn, arg);
    if (op == NULL) return;
    keep_plan(op, plan, &dm->paused, &dm->has_paused);
    dm->told[0] = '\0';
    dm->tell_ms = PROGRESS_MS;
    order_begin(op);
}

/* What an earlier try of the same resume took; what one of another plan took is forgotten. */
static int take_kept_goal(struct dm *dm, const char *plan, struct dm_resume *r)
{
    if (dm->goal_plan == NULL || strcmp(dm->goal_plan, plan) != 0) {
        char *copy = mem_strdup(plan);
        if (copy == NULL) return SLUICE_ERR_NOMEM;
        mem_free(dm->goal_plan);
        gtid_set_del(dm->goal);
        dm->goal_plan = copy;
        dm->goal = NULL;
        dm->tell_ms = PROGRESS_MS; /* not at each try of the same resume */
    }
    if (r->goal != NULL || dm->goal == NULL) return 0;
    r->goal = gtid_set_copy(dm->goal);
    return r->goal == NULL ? SLUICE_ERR_NOMEM : 0;
}

void dm_resume(struct dm *dm, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg)
{
    dm_cancel(dm);
    struct op *op = order_new(dm, OP_RESUME, plan, timeout_ms, fn, arg);
    if (op == NULL) return;
    if (op->start_status == 0) op->start_status = dm_resume_init(&op->resume, &op->plan, dm->server_uuid);
    if (op->start_status == 0) op->start_status = take_kept_goal(dm, plan, &op->resume);
    dm->has_paused = false;
    dm->told[0] = '\0';
    dm_verify_free(&dm->verify);
    order_begin(op);
}

/* ---- plans ---- */

int dm_plan(const struct dm *dm, const struct consumer_status *status, char **out_json, struct upstream_error *error)
{
    struct dm_plan plan;
    assert(status->dm != NULL);
    int rv = dm_plan_make(status->dm, &plan);
    if (rv == SLUICE_ERR_REFUSED) return upstream_error_set(error, rv, 0, "DM does not show the tasks of this source");
    char *json = rv == 0 ? dm_plan_write(&plan, dm->source_id) : NULL;
    if (rv == 0) dm_plan_free(&plan);
    if (json == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    *out_json = json;
    return 0;
}

int dm_narrow(const struct dm *dm, const char *text, const struct consumer_status *status, char **out_json,
              struct upstream_error *error)
{
    struct dm_plan plan, now;
    assert(status->dm != NULL);
    int rv = dm_plan_read(text, &plan);
    if (rv != 0) return upstream_error_set(error, rv, 0, "the plan cannot be read: %.200s", text);
    rv = dm_plan_make(status->dm, &now);
    if (rv == 0) {
        dm_plan_narrow(&plan, &now);
        dm_plan_free(&now);
    } else if (rv == SLUICE_ERR_REFUSED) {
        rv = 0; /* what DM does not show at the moment is not asleep */
    }
    char *json = rv == 0 ? dm_plan_write(&plan, dm->source_id) : NULL;
    dm_plan_free(&plan);
    if (json == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    *out_json = json;
    return 0;
}

int dm_plan_flip(const struct dm *dm, const char *text, const char *executed, char **out_json,
                 struct upstream_error *error)
{
    struct dm_plan plan;
    int rv = dm_plan_read(text, &plan);
    if (rv != 0) return upstream_error_set(error, rv, 0, "the plan cannot be read: %.200s", text);
    char *goal = mem_strdup(plan.has_relay ? executed : ""); /* nobody else waits for it */
    if (goal != NULL) {
        mem_free(plan.goal);
        plan.goal = goal;
    }
    *out_json = goal == NULL ? NULL : dm_plan_write(&plan, dm->source_id);
    dm_plan_free(&plan);
    return *out_json != NULL ? 0 : upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
}

int dm_judge_resumed(struct dm *dm, const char *text, const struct consumer_status *status,
                     const struct consumer_evidence *evidence, bool *out_progresses, struct upstream_error *error)
{
    struct dm_plan plan;
    char why[DM_TEXT_LEN + 1] = "";
    int rv = dm_plan_read(text, &plan);
    if (rv != 0) return upstream_error_set(error, rv, 0, "the plan cannot be read: %.200s", text);
    assert(status->dm != NULL);
    rv = dm_is_resumed(&plan, &status->dm->source, dm->server_uuid, evidence, &dm->verify, why, out_progresses);
    dm_plan_free(&plan);
    if (*why != '\0') snprintf(error->text, sizeof error->text, "%s", why);
    return rv == 0 ? 0 : upstream_error_set(error, rv, 0, "%s", why);
}
