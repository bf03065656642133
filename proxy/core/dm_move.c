/* SPDX-License-Identifier: Apache-2.0 */
#include "core/dm_move.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "core/error.h"
#include "core/mem.h"

static const char *const act_names[DM_MOVE_ACT_COUNT] = {
    [DM_MOVE_DONE] = "done",
    [DM_MOVE_WAIT] = "wait",
    [DM_MOVE_FAIL] = "fail",
    [DM_MOVE_STOP_VALIDATION] = "stop-validation",
    [DM_MOVE_PAUSE_TASK] = "pause-task",
    [DM_MOVE_STOP_TASK] = "stop-task",
    [DM_MOVE_STOP_RELAY] = "stop-relay",
    [DM_MOVE_STOP_SOURCE] = "stop-source",
    [DM_MOVE_CREATE_SOURCE] = "create-source",
    [DM_MOVE_START_TASK] = "start-task",
    [DM_MOVE_START_VALIDATION] = "start-validation",
};

const char *dm_move_act_name(enum dm_move_act act)
{
    return act_names[act];
}

static const char *text_of(const char *s)
{
    return s == NULL ? "" : s;
}

/* ---- the plan ---- */

void dm_move_plan_free(struct dm_move_plan *p)
{
    for (size_t i = 0; i < p->task_count; i++) {
        mem_free(p->tasks[i].name);
        mem_free(p->tasks[i].validator);
        mem_free(p->tasks[i].gtid);
    }
    mem_free(p->tasks);
    mem_free(p->relay_worker);
    mem_free(p->worker);
    mem_free(p->relay_gtid);
    mem_free(p->validator_gtid);
    *p = (struct dm_move_plan){ 0 };
}

static bool is_awake(enum consumer_stage stage)
{
    return stage == CONSUMER_STAGE_RUNNING || stage == CONSUMER_STAGE_PAUSED_BY_ERROR ||
           stage == CONSUMER_STAGE_IN_MOTION;
}

static bool validator_is_awake(const struct dm_validation *v)
{
    return v->is_present && is_awake(dm_stage_of(v->stage, &v->result));
}

static int make_task(const struct dm_task *t, struct dm_move_task *out)
{
    enum consumer_stage stage = dm_stage_of(t->stage, &t->result);
    const char *mode = text_of(t->validation.mode);
    out->was_paused = stage == CONSUMER_STAGE_PAUSED_BY_COMMAND || stage == CONSUMER_STAGE_STOPPED;
    out->is_finished = stage == CONSUMER_STAGE_FINISHED;
    out->name = mem_strdup(text_of(t->name));
    out->validator = mem_strdup(!validator_is_awake(&t->validation) ? "" : *mode == '\0' ? "full" : mode);
    out->gtid = mem_strdup("");
    return out->name == NULL || out->validator == NULL || out->gtid == NULL ? SLUICE_ERR_NOMEM : 0;
}

int dm_move_plan_make(const struct dm_facts *f, struct dm_move_plan *out)
{
    const struct dm_source *s = &f->source;
    struct dm_move_plan p = { 0 };
    if (!s->is_known) return SLUICE_ERR_REFUSED;
    enum consumer_stage relay = dm_stage_of(s->relay.stage, &s->relay.result);
    p.has_relay = s->relay.is_present && relay != CONSUMER_STAGE_STOPPED;
    p.relay_was_paused = p.has_relay && relay == CONSUMER_STAGE_PAUSED_BY_COMMAND;
    p.tasks = mem_calloc(s->task_count + 1, sizeof *p.tasks);
    p.worker = mem_strdup(text_of(s->worker));
    p.relay_worker = mem_strdup(p.has_relay && f->has_config && !f->enable_relay ? text_of(s->worker) : "");
    p.relay_gtid = mem_strdup("");
    p.validator_gtid = mem_strdup("");
    bool has_all = p.tasks != NULL && p.worker != NULL && p.relay_worker != NULL && p.relay_gtid != NULL &&
                   p.validator_gtid != NULL;
    int rv = has_all ? 0 : SLUICE_ERR_NOMEM;
    for (size_t i = 0; rv == 0 && i < s->task_count; i++)
        rv = make_task(&s->tasks[i], &p.tasks[p.task_count++]);
    if (rv == 0) rv = dm_move_plan_take(&p, s);
    if (rv != 0) {
        dm_move_plan_free(&p);
        return rv;
    }
    *out = p;
    return 0;
}

static struct dm_move_task *find(const struct dm_move_plan *p, const char *task)
{
    for (size_t i = 0; i < p->task_count; i++) {
        if (strcmp(p->tasks[i].name, task) == 0) return &p->tasks[i];
    }
    return NULL;
}

const struct dm_move_task *dm_move_plan_find(const struct dm_move_plan *p, const char *task)
{
    return find(p, task);
}

static int set(char **field, const char *value)
{
    if (*text_of(value) == '\0') return 0; /* what is not told stays as it was last told */
    char *copy = mem_strdup(value);
    if (copy == NULL) return SLUICE_ERR_NOMEM;
    mem_free(*field);
    *field = copy;
    return 0;
}

int dm_move_plan_take(struct dm_move_plan *p, const struct dm_source *s)
{
    int rv = set(&p->relay_gtid, s->relay.is_present ? s->relay.gtid : "");
    for (size_t i = 0; rv == 0 && i < s->task_count; i++) {
        const struct dm_task *t = &s->tasks[i];
        struct dm_move_task *ours = find(p, text_of(t->name));
        if (ours == NULL || !t->has_sync) continue;
        rv = set(&ours->gtid, t->syncer_gtid);
        if (rv == 0) rv = set(&p->validator_gtid, validator_is_awake(&t->validation) ? t->validation.gtid : "");
    }
    return rv;
}

int dm_move_plan_set_worker(struct dm_move_plan *p, const char *worker)
{
    int rv = *p->relay_worker == '\0' ? 0 : set(&p->relay_worker, worker);
    return rv == 0 ? set(&p->worker, worker) : rv;
}

int dm_move_plan_awake(const struct dm_move_plan *p, bool with_paused_relay, struct dm_plan *out)
{
    struct dm_plan plan = { .tasks = mem_calloc(p->task_count + 1, sizeof *plan.tasks),
                            .was_in_error = mem_calloc(p->task_count + 1, sizeof *plan.was_in_error),
                            .goal = mem_strdup(""),
                            .validators = mem_calloc(p->task_count + 1, sizeof *plan.validators),
                            .has_relay = p->has_relay && (with_paused_relay || !p->relay_was_paused),
                            .relay_worker = mem_strdup(p->relay_worker) };
    bool ok = plan.tasks != NULL && plan.was_in_error != NULL && plan.goal != NULL && plan.validators != NULL &&
              plan.relay_worker != NULL;
    for (size_t i = 0; ok && i < p->task_count; i++) {
        const struct dm_move_task *t = &p->tasks[i];
        if (!t->was_paused && !t->is_finished) {
            plan.tasks[plan.task_count] = mem_strdup(t->name);
            ok = plan.tasks[plan.task_count] != NULL;
            plan.task_count += ok;
        }
        if (!ok || *t->validator == '\0' || t->is_finished) continue;
        struct dm_plan_validator *v = &plan.validators[plan.validator_count++];
        v->task = mem_strdup(t->name);
        v->mode = mem_strdup(t->validator);
        ok = v->task != NULL && v->mode != NULL;
    }
    if (!ok) {
        dm_plan_free(&plan);
        return SLUICE_ERR_NOMEM;
    }
    *out = plan;
    return 0;
}

/* ---- what is next ---- */

bool dm_move_address_is(const struct dm_facts *f, const struct dm_move_address *at)
{
    return f->has_config && f->from_port == at->port && strcasecmp(text_of(f->from_host), at->host) == 0;
}

static void next(struct dm_move_next *out, enum dm_move_act act, const char *task, const char *what)
{
    out->act = act;
    snprintf(out->task, sizeof out->task, "%s", task);
    snprintf(out->text, sizeof out->text, "%s%s%s", what, *task == '\0' ? "" : " ", task);
}

static void stands_elsewhere(const struct dm_facts *f, struct dm_move_next *out)
{
    out->act = DM_MOVE_FAIL;
    snprintf(out->text, sizeof out->text,
             "the source stands at %.200s:%u: somebody else has moved it; see get-config source", text_of(f->from_host),
             f->from_port);
}

/* True when |out| says what is to be done, or to wait for an answer that tells. */
static bool place_is_unclear(const struct dm_facts *f, struct dm_move_next *out)
{
    if (f->is_absent || f->has_config) return false;
    next(out, DM_MOVE_WAIT, "", "DM does not show the source's configuration");
    return true;
}

static bool tasks_are_unclear(const struct dm_source *s, struct dm_move_next *out)
{
    if (s->is_known || s->is_idle) return false;
    out->act = DM_MOVE_WAIT;
    snprintf(out->text, sizeof out->text, "DM does not show this source's tasks: %.300s", text_of(s->why));
    return true;
}

/* A task's name that an order could not carry whole would mean another task. */
static bool name_is_too_long(const char *task, struct dm_move_next *out)
{
    if (strlen(task) < sizeof out->task) return false;
    next(out, DM_MOVE_FAIL, "", "a task has a name of more than 128 bytes");
    return true;
}

static bool down_task(const struct dm_move_plan *p, const struct dm_task *t, struct dm_move_next *out)
{
    enum consumer_stage stage = dm_stage_of(t->stage, &t->result);
    if (name_is_too_long(t->name, out)) return true;
    if (find(p, t->name) == NULL) {
        next(out, DM_MOVE_FAIL, t->name, "somebody started a task meanwhile, of which no file was given:");
    } else if (validator_is_awake(&t->validation)) {
        next(out, DM_MOVE_STOP_VALIDATION, t->name, "stop the validator of task");
    } else if (stage == CONSUMER_STAGE_RUNNING || stage == CONSUMER_STAGE_PAUSED_BY_ERROR) {
        next(out, DM_MOVE_PAUSE_TASK, t->name, "pause task");
    } else if (stage == CONSUMER_STAGE_IN_MOTION || stage == CONSUMER_STAGE_UNKNOWN) {
        next(out, DM_MOVE_WAIT, t->name, "wait for task");
    } else {
        next(out, DM_MOVE_STOP_TASK, t->name, "stop task");
    }
    return true;
}

static bool relay_is_there(const struct dm_source *s)
{
    return s->relay.is_present && s->relay.stage != DM_STAGE_STOPPED;
}

void dm_move_next_down(const struct dm_move_plan *p, const struct dm_facts *f, const struct dm_move_address *at,
                       const struct dm_move_address *other, struct dm_move_next *out)
{
    const struct dm_source *s = &f->source;
    if (place_is_unclear(f, out)) return;
    if (f->is_absent || dm_move_address_is(f, other)) {
        next(out, DM_MOVE_DONE, "", "the source is stopped");
        return;
    }
    if (!dm_move_address_is(f, at)) {
        stands_elsewhere(f, out);
        return;
    }
    if (tasks_are_unclear(s, out)) return;
    if (s->is_known && s->task_count > 0) {
        down_task(p, &s->tasks[0], out); /* one after the other: the next look shows one less */
    } else if (relay_is_there(s)) {
        next(out, DM_MOVE_STOP_RELAY, "", "stop the relay");
    } else {
        next(out, DM_MOVE_STOP_SOURCE, "", "stop the source");
    }
}

static const struct dm_task *shown(const struct dm_source *s, const char *name)
{
    for (size_t i = 0; s->is_known && i < s->task_count; i++) {
        if (strcmp(text_of(s->tasks[i].name), name) == 0) return &s->tasks[i];
    }
    return NULL;
}

/*
 * A relay that came with the source (enable-relay) would be read by tasks that are started now. One that is still paused was never
 * away from its server: the source stands where it stood, and its tasks go on with it.
 */
static bool up_relay(const struct dm_move_plan *p, const struct dm_source *s, struct dm_move_next *out)
{
    bool is_any_missing = false;
    for (size_t i = 0; i < p->task_count; i++)
        is_any_missing = is_any_missing || (!p->tasks[i].is_finished && shown(s, p->tasks[i].name) == NULL);
    if (!is_any_missing || !s->relay.is_present || !is_awake(dm_stage_of(s->relay.stage, &s->relay.result)))
        return false;
    next(out, DM_MOVE_STOP_RELAY, "", "stop the relay until the tasks have passed what the server has");
    return true;
}

static bool up_task(const struct dm_move_task *ours, const struct dm_task *t, struct dm_move_next *out)
{
    enum consumer_stage stage = dm_stage_of(t->stage, &t->result);
    bool wants_validator = *ours->validator != '\0', has_validator = validator_is_awake(&t->validation);
    if (ours->was_paused && (stage == CONSUMER_STAGE_RUNNING || stage == CONSUMER_STAGE_PAUSED_BY_ERROR)) {
        next(out, DM_MOVE_PAUSE_TASK, ours->name, "pause again what was paused before: task");
    } else if (!ours->was_paused && stage == CONSUMER_STAGE_PAUSED_BY_ERROR) {
        out->act = DM_MOVE_WAIT; /* DM tries again by itself */
        snprintf(out->text, sizeof out->text, "task %.100s does not run: %.250s", ours->name, text_of(t->result.error));
    } else if (stage == CONSUMER_STAGE_IN_MOTION || stage == CONSUMER_STAGE_UNKNOWN) {
        next(out, DM_MOVE_WAIT, ours->name, "wait for task");
    } else if (wants_validator && !has_validator) {
        next(out, DM_MOVE_START_VALIDATION, ours->name, "start the validator of task");
    } else if (!wants_validator && has_validator) {
        next(out, DM_MOVE_STOP_VALIDATION, ours->name, "stop the validator, which did not run before, of task");
    } else {
        return false;
    }
    return true;
}

void dm_move_next_up(const struct dm_move_plan *p, const struct dm_facts *f, const struct dm_move_address *at,
                     struct dm_move_next *out)
{
    const struct dm_source *s = &f->source;
    if (place_is_unclear(f, out)) return;
    if (f->is_absent) {
        next(out, DM_MOVE_CREATE_SOURCE, "", "create the source");
        return;
    }
    if (!dm_move_address_is(f, at)) {
        stands_elsewhere(f, out);
        return;
    }
    if (tasks_are_unclear(s, out)) return;
    if (up_relay(p, s, out)) return;
    for (size_t i = 0; i < p->task_count; i++) {
        const struct dm_move_task *ours = &p->tasks[i];
        const struct dm_task *t = shown(s, ours->name);
        if (ours->is_finished) continue;
        if (name_is_too_long(ours->name, out)) return;
        if (t == NULL) {
            next(out, DM_MOVE_START_TASK, ours->name, "start task");
            return;
        }
        if (up_task(ours, t, out)) return;
    }
    next(out, DM_MOVE_DONE, "", "the tasks are as they were");
}
