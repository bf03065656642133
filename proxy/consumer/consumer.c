/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call is an object of its own: it carries copies to the probe thread and comes back by a letter to the source's loop. The
 * consumer lives until the last one is back.
 */
#include "consumer/consumer.h"
#include <assert.h>
#include <stdbool.h>
#include <string.h>
#include "base/mailbox.h"
#include "consumer/dm.h"
#include "consumer/kinds.h"
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"

enum call_kind { CALL_STATUS, CALL_PAUSE, CALL_RESUME };

struct call {
    struct call *next;
    struct consumer *consumer;
    enum call_kind kind;
    uint64_t job;                  /* 0: no job, only a letter */
    struct replica_plan plan;      /* its channel also for a status */
    struct consumer_status status; /* filled on the probe thread */
    int rv;                        /* of a call without a job */
    struct upstream_error error;
    consumer_status_fn status_fn;
    consumer_done_fn done_fn;
    void *arg;
};

struct consumer {
    enum config_consumer_type type;
    struct upstream_target target;
    char key[80];
    char channel[65];
    struct upstream_pool *pool;
    struct mailbox *mailbox;
    struct gtid_set *gtid_s; /* manual; NULL: not given */
    bool has_delivered;      /* manual: D may stand for it */
    struct call *calls;      /* under way */
    struct dm *dm;           /* type dm: does all of it itself */
    bool is_closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

static void consumer_free(struct consumer *c)
{
    upstream_target_free(&c->target);
    gtid_set_del(c->gtid_s);
    mem_free(c);
}

int consumer_set_target(struct consumer *c, const struct upstream_target *target)
{
    struct upstream_target copy;
    int rv = upstream_target_copy(target, &copy);
    if (rv != 0) return rv;
    upstream_target_free(&c->target);
    c->target = copy;
    char where[64];
    upstream_target_text(&c->target, where, sizeof where);
    strcpy(c->key, "consumer ");
    strncat(c->key, where, sizeof c->key - strlen(c->key) - 1);
    return 0;
}

int consumer_new(const struct consumer_settings *settings, struct consumer **out)
{
    struct consumer *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return SLUICE_ERR_NOMEM;
    c->type = settings->type;
    c->pool = settings->pool;
    c->mailbox = settings->mailbox;
    if (settings->channel != NULL) {
        assert(strlen(settings->channel) < sizeof c->channel); /* the configuration allows 64 characters */
        memcpy(c->channel, settings->channel, strlen(settings->channel) + 1);
    }
    int rv = 0;
    if (settings->type == CONFIG_CONSUMER_REPLICA) rv = consumer_set_target(c, &settings->target);
    if (settings->type == CONFIG_CONSUMER_DM) rv = dm_new(&settings->dm, &c->dm);
    if (rv != 0) {
        consumer_free(c);
        return rv;
    }
    *out = c;
    return 0;
}

int consumer_set_gtid_s(struct consumer *c, const char *gtid_s)
{
    struct gtid_set *set = NULL;
    if (c->type != CONFIG_CONSUMER_MANUAL) return gtid_s == NULL ? 0 : SLUICE_ERR_INVALID;
    if (gtid_s != NULL) {
        int rv = gtid_set_parse(gtid_s, strlen(gtid_s), &set, NULL);
        if (rv != 0) return rv == GTID_ERR_NOMEM ? SLUICE_ERR_NOMEM : SLUICE_ERR_SYNTAX;
    }
    gtid_set_del(c->gtid_s);
    c->gtid_s = set;
    return 0;
}

void consumer_set_has_delivered(struct consumer *c, bool has_delivered)
{
    c->has_delivered = has_delivered;
}

int consumer_set_server(struct consumer *c, const char *server_uuid)
{
    return c->dm == NULL ? 0 : dm_set_server(c->dm, server_uuid);
}

void consumer_set_delivered(struct consumer *c, const struct gtid_set *delivered)
{
    if (c->dm != NULL) dm_set_delivered(c->dm, delivered);
}

void consumer_set_progress(struct consumer *c, consumer_progress_fn fn, void *arg)
{
    if (c->dm != NULL) dm_set_progress(c->dm, fn, arg);
}

void consumer_cancel(struct consumer *c)
{
    if (c->dm != NULL) dm_cancel(c->dm); /* the others' orders are one short statement each */
}

/* ---- closing ---- */

static void closed(void *arg)
{
    struct consumer *c = arg;
    void (*on_closed)(void *) = c->on_closed;
    void *closed_arg = c->closed_arg;
    assert(c->calls == NULL);
    consumer_free(c);
    if (on_closed != NULL) on_closed(closed_arg);
}

void consumer_close(struct consumer *c, void (*on_closed)(void *arg), void *arg)
{
    assert(!c->is_closing);
    c->is_closing = true;
    c->on_closed = on_closed;
    c->closed_arg = arg;
    if (c->dm != NULL) {
        dm_close(c->dm, closed, c);
        return;
    }
    for (struct call *call = c->calls; call != NULL; call = call->next) {
        if (call->job != 0) upstream_pool_cancel(c->pool, call->job);
    }
    if (c->calls == NULL) mailbox_post(c->mailbox, closed, c);
}

/* ---- calls ---- */

static void call_remove(struct call *call)
{
    struct call **link = &call->consumer->calls;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
}

/* On the source's loop: the caller may begin another call, or close, from inside its function. */
static void call_finish(struct call *call, int status, const struct upstream_error *error)
{
    struct consumer *c = call->consumer;
    if (c->is_closing && call->job == 0) status = SLUICE_ERR_CANCELED;
    if (call->kind == CALL_STATUS) {
        call->status_fn(call->arg, status, error, status == 0 ? &call->status : NULL);
    } else {
        call->done_fn(call->arg, status, error);
    }
    call_remove(call);
    consumer_status_free(&call->status);
    mem_free(call);
    if (c->is_closing && c->calls == NULL) closed(c);
}

static void call_letter(void *arg)
{
    struct call *call = arg;
    call->error.code = call->rv;
    call_finish(call, call->rv, &call->error);
}

static void call_done(void *arg, int status, const struct upstream_error *error)
{
    call_finish(arg, status, error);
}

static int call_run(void *arg, struct connector *connector, struct upstream_error *error)
{
    struct call *call = arg;
    switch (call->kind) {
    case CALL_STATUS: return replica_read_status(connector, call->plan.channel, &call->status, error);
    case CALL_PAUSE: return replica_pause(connector, &call->plan, error);
    case CALL_RESUME: return replica_resume(connector, &call->plan, error);
    }
    return SLUICE_ERR_INVALID;
}

static struct call *call_new(struct consumer *c, enum call_kind kind, void *arg)
{
    struct call *call = mem_calloc(1, sizeof *call);
    assert(!c->is_closing);
    if (call == NULL) return NULL;
    call->consumer = c;
    call->kind = kind;
    call->arg = arg;
    memcpy(call->plan.channel, c->channel, sizeof call->plan.channel);
    call->next = c->calls;
    c->calls = call;
    return call;
}

/* To the replica when |rv| is 0 so far and there is something to ask; else straight back, but never from inside the caller's call. */
static void call_begin(struct call *call, int rv, bool needs_server, uint32_t timeout_ms)
{
    struct consumer *c = call->consumer;
    struct upstream_job job = { .target = &c->target,
                                .key = c->key,
                                .lane = UPSTREAM_LANE_RESERVED,
                                .timeout_ms = timeout_ms,
                                .run = call_run,
                                .done = call_done,
                                .arg = call,
                                .mailbox = c->mailbox };
    if (rv == 0 && needs_server) {
        rv = upstream_pool_submit(c->pool, &job, &call->job);
        if (rv == 0) return;
        upstream_error_set(&call->error, rv, 0, "%s: %s", c->key, error_text(rv));
    }
    call->rv = rv;
    mailbox_post(c->mailbox, call_letter, call);
}

void consumer_status(struct consumer *c, uint32_t timeout_ms, consumer_status_fn fn, void *arg)
{
    if (c->dm != NULL) {
        dm_status(c->dm, timeout_ms, fn, arg);
        return;
    }
    struct call *call = call_new(c, CALL_STATUS, arg);
    if (call == NULL) {
        struct upstream_error error = { 0 };
        int rv = upstream_error_set(&error, SLUICE_ERR_NOMEM, 0, "memory ran out");
        fn(arg, rv, &error, NULL);
        return;
    }
    call->status_fn = fn;
    int rv = c->type == CONFIG_CONSUMER_MANUAL ? manual_fill_status(c->gtid_s, c->has_delivered, &call->status) : 0;
    call_begin(call, rv, c->type == CONFIG_CONSUMER_REPLICA, timeout_ms);
}

static void order(struct consumer *c, enum call_kind kind, const char *plan, uint32_t timeout_ms, consumer_done_fn fn,
                  void *arg)
{
    struct call *call = call_new(c, kind, arg);
    if (call == NULL) {
        struct upstream_error error = { 0 };
        fn(arg, upstream_error_set(&error, SLUICE_ERR_NOMEM, 0, "memory ran out"), &error);
        return;
    }
    call->done_fn = fn;
    int rv = 0;
    bool has_work = c->type == CONFIG_CONSUMER_REPLICA;
    if (has_work) {
        rv = replica_plan_read(plan, &call->plan);
        has_work = rv == 0 && (call->plan.io || call->plan.sql);
    }
    if (rv != 0) upstream_error_set(&call->error, rv, 0, "the plan cannot be read: %.200s", plan);
    call_begin(call, rv, has_work, timeout_ms);
}

void consumer_pause(struct consumer *c, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg)
{
    if (c->dm != NULL) {
        dm_pause(c->dm, plan, timeout_ms, fn, arg);
        return;
    }
    order(c, CALL_PAUSE, plan, timeout_ms, fn, arg);
}

void consumer_resume(struct consumer *c, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg)
{
    if (c->dm != NULL) {
        dm_resume(c->dm, plan, timeout_ms, fn, arg);
        return;
    }
    order(c, CALL_RESUME, plan, timeout_ms, fn, arg);
}

/* ---- plans ---- */

int consumer_plan(const struct consumer *c, const struct consumer_status *status, char **out_json,
                  struct upstream_error *error)
{
    char *json = NULL;
    if (status->refusal != NULL) {
        return upstream_error_set(error, SLUICE_ERR_REFUSED, 0, "%s", status->refusal);
    }
    switch (c->type) {
    case CONFIG_CONSUMER_NONE: json = mem_strdup("{\"type\":\"none\"}"); break;
    case CONFIG_CONSUMER_MANUAL: json = mem_strdup("{\"type\":\"manual\"}"); break;
    case CONFIG_CONSUMER_DM: return dm_plan(c->dm, status, out_json, error);
    case CONFIG_CONSUMER_REPLICA: {
        assert(status->task_count == 1);
        struct replica_plan plan = { .io = status->tasks[0].is_reading, .sql = status->tasks[0].is_applying };
        memcpy(plan.channel, c->channel, sizeof plan.channel);
        json = replica_plan_write(&plan);
        break;
    }
    }
    if (json == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    *out_json = json;
    return 0;
}

int consumer_narrow(const struct consumer *c, const char *plan, const struct consumer_status *status, char **out_json,
                    struct upstream_error *error)
{
    struct replica_plan replica;
    if (c->dm != NULL) return dm_narrow(c->dm, plan, status, out_json, error);
    char *json = NULL;
    if (c->type == CONFIG_CONSUMER_REPLICA && status->task_count == 1) {
        int rv = replica_plan_read(plan, &replica);
        if (rv != 0) return upstream_error_set(error, rv, 0, "the plan cannot be read: %.200s", plan);
        replica.io = replica.io && status->tasks[0].is_reading;
        replica.sql = replica.sql && status->tasks[0].is_applying;
        json = replica_plan_write(&replica);
    } else {
        json = mem_strdup(plan);
    }
    if (json == NULL) return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    *out_json = json;
    return 0;
}

int consumer_plan_flip(const struct consumer *c, const char *plan, const char *executed, char **out_json,
                       struct upstream_error *error)
{
    if (c->dm != NULL) return dm_plan_flip(c->dm, plan, executed, out_json, error);
    *out_json = mem_strdup(plan);
    return *out_json != NULL ? 0 : upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
}

int consumer_is_resumed(struct consumer *c, const char *plan, const struct consumer_status *status,
                        const struct consumer_evidence *evidence, bool *out_progresses, struct upstream_error *error)
{
    struct replica_plan replica;
    *out_progresses = false;
    if (c->dm != NULL) return dm_judge_resumed(c->dm, plan, status, evidence, out_progresses, error);
    if (c->type != CONFIG_CONSUMER_REPLICA) return 0;
    int rv = replica_plan_read(plan, &replica);
    if (rv != 0) return upstream_error_set(error, rv, 0, "the plan cannot be read: %.200s", plan);
    return replica_is_resumed(&replica, status, error);
}
