/* SPDX-License-Identifier: Apache-2.0 */
/* What DM's words mean (DM v6.0 to v8.5: dmworker.proto, subtask.go, task_checker.go). */
#include "core/dm.h"
#include <stdio.h>
#include <string.h>
#include "core/dm_internal.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "sluice/gtid.h"

static const char *const stage_names[] = {
    [DM_STAGE_INVALID] = "InvalidStage", [DM_STAGE_NEW] = "New",           [DM_STAGE_RUNNING] = "Running",
    [DM_STAGE_PAUSED] = "Paused",        [DM_STAGE_STOPPED] = "Stopped",   [DM_STAGE_FINISHED] = "Finished",
    [DM_STAGE_PAUSING] = "Pausing",      [DM_STAGE_RESUMING] = "Resuming", [DM_STAGE_STOPPING] = "Stopping",
};

static const char *const unit_names[] = {
    [DM_UNIT_INVALID] = "InvalidUnit", [DM_UNIT_CHECK] = "Check", [DM_UNIT_DUMP] = "Dump",
    [DM_UNIT_LOAD] = "Load",           [DM_UNIT_SYNC] = "Sync",   [DM_UNIT_RELAY] = "Relay",
};

enum dm_stage dm_stage_parse(const char *word)
{
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(stage_names); i++) {
        if (strcmp(word, stage_names[i]) == 0) return (enum dm_stage)i;
    }
    return DM_STAGE_UNKNOWN;
}

enum dm_unit dm_unit_parse(const char *word)
{
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(unit_names); i++) {
        if (strcmp(word, unit_names[i]) == 0) return (enum dm_unit)i;
    }
    return DM_UNIT_UNKNOWN;
}

const char *dm_stage_name(enum dm_stage stage)
{
    return (size_t)stage < ARRAY_LEN(stage_names) ? stage_names[stage] : "an unknown stage";
}

/* ---- life ---- */

static void task_free(struct dm_task *t)
{
    mem_free(t->name);
    mem_free(t->unit_text);
    mem_free(t->result.error);
    mem_free(t->syncer_gtid);
    mem_free(t->master_gtid);
    mem_free(t->ddl_lock);
    mem_free(t->blocking_ddl);
    mem_free(t->conflict);
    mem_free(t->validation.mode);
    mem_free(t->validation.gtid);
    mem_free(t->validation.result.error);
}

void dm_source_free(struct dm_source *s)
{
    for (size_t i = 0; i < s->task_count; i++)
        task_free(&s->tasks[i]);
    mem_free(s->tasks);
    mem_free(s->why);
    mem_free(s->worker);
    mem_free(s->relay.result.error);
    mem_free(s->relay.sub_dir);
    mem_free(s->relay.gtid);
    *s = (struct dm_source){ 0 };
}

void dm_facts_free(struct dm_facts *f)
{
    mem_free(f->leader);
    mem_free(f->worker);
    mem_free(f->config_error);
    mem_free(f->members_error);
    mem_free(f->from_user);
    mem_free(f->flavor);
    mem_free(f->from_host);
    for (size_t i = 0; i < f->lock_count; i++) {
        mem_free(f->locks[i].id);
        mem_free(f->locks[i].task);
    }
    mem_free(f->locks);
    dm_source_free(&f->source);
    *f = (struct dm_facts){ 0 };
}

struct dm_facts *dm_facts_new(void)
{
    return mem_calloc(1, sizeof(struct dm_facts));
}

void dm_facts_del(struct dm_facts *f)
{
    if (f == NULL) return;
    dm_facts_free(f);
    mem_free(f);
}

void dm_plan_free(struct dm_plan *p)
{
    for (size_t i = 0; i < p->task_count; i++)
        mem_free(p->tasks[i]);
    for (size_t i = 0; i < p->validator_count; i++) {
        mem_free(p->validators[i].task);
        mem_free(p->validators[i].mode);
    }
    mem_free(p->tasks);
    mem_free(p->was_in_error);
    mem_free(p->goal);
    mem_free(p->validators);
    mem_free(p->relay_worker);
    *p = (struct dm_plan){ 0 };
}

/* ---- stages ---- */

enum consumer_stage dm_stage_of(enum dm_stage stage, const struct dm_result *result)
{
    switch (stage) {
    case DM_STAGE_RUNNING: return CONSUMER_STAGE_RUNNING;
    case DM_STAGE_PAUSED: /* the task checker resumes what was not canceled (task_checker.go: getResumeStrategy) */
        return !result->is_present || result->is_canceled ? CONSUMER_STAGE_PAUSED_BY_COMMAND
                                                          : CONSUMER_STAGE_PAUSED_BY_ERROR;
    case DM_STAGE_STOPPED: return CONSUMER_STAGE_STOPPED;
    case DM_STAGE_FINISHED: return CONSUMER_STAGE_FINISHED;
    case DM_STAGE_NEW:
    case DM_STAGE_PAUSING:
    case DM_STAGE_RESUMING:
    case DM_STAGE_STOPPING: return CONSUMER_STAGE_IN_MOTION;
    case DM_STAGE_INVALID:
    case DM_STAGE_UNKNOWN: return CONSUMER_STAGE_UNKNOWN;
    }
    return CONSUMER_STAGE_UNKNOWN;
}

enum consumer_stage dm_task_stage(const struct dm_task *t)
{
    return dm_stage_of(t->stage, &t->result);
}

const struct dm_task *dm_find_task(const struct dm_source *s, const char *name)
{
    for (size_t i = 0; i < s->task_count; i++) {
        if (strcmp(s->tasks[i].name, name) == 0) return &s->tasks[i];
    }
    return NULL;
}

struct gtid_set *dm_set_of(const char *gtid)
{
    struct gtid_set *set = NULL;
    if (gtid == NULL || *gtid == '\0' || gtid_set_parse(gtid, strlen(gtid), &set, NULL) != 0) return NULL;
    if (gtid_set_is_empty(set)) {
        gtid_set_del(set);
        return NULL;
    }
    return set;
}

uint64_t dm_relay_lag(const struct dm_relay *relay, const struct dm_task *t, uint64_t *out_has)
{
    struct gtid_set *has = dm_set_of(relay->gtid), *wanted = dm_set_of(t->syncer_gtid), *missing = NULL;
    uint64_t lag = 0;
    *out_has = wanted == NULL ? 0 : gtid_set_count(wanted);
    if (wanted != NULL && has == NULL) {
        lag = UINT64_MAX;
    } else if (wanted != NULL && !gtid_set_contains(has, wanted)) {
        lag = gtid_set_subtract(wanted, has, &missing) == 0 ? gtid_set_count(missing) : UINT64_MAX;
    }
    gtid_set_del(has);
    gtid_set_del(wanted);
    gtid_set_del(missing);
    return lag;
}

/* ---- the plan ---- */

bool dm_plan_has(const struct dm_plan *p, const char *task)
{
    for (size_t i = 0; i < p->task_count; i++) {
        if (strcmp(p->tasks[i], task) == 0) return true;
    }
    return false;
}

static int plan_add(const struct dm_task *t, struct dm_plan *p)
{
    if (consumer_stage_is_awake(dm_task_stage(t))) {
        p->tasks[p->task_count] = mem_strdup(t->name);
        if (p->tasks[p->task_count] == NULL) return SLUICE_ERR_NOMEM;
        p->was_in_error[p->task_count] = dm_task_stage(t) == CONSUMER_STAGE_PAUSED_BY_ERROR;
        p->task_count++;
    }
    const struct dm_validation *v = &t->validation;
    if (v->is_present && consumer_stage_is_awake(dm_stage_of(v->stage, &v->result))) {
        struct dm_plan_validator *out = &p->validators[p->validator_count++];
        out->task = mem_strdup(t->name);
        out->mode = mem_strdup(dm_text_of(v->mode));
        if (out->task == NULL || out->mode == NULL) return SLUICE_ERR_NOMEM;
    }
    return 0;
}

int dm_plan_make(const struct dm_facts *f, struct dm_plan *out)
{
    const struct dm_source *s = &f->source;
    struct dm_plan p = { 0 };
    if (!s->is_known) return SLUICE_ERR_REFUSED;
    p.tasks = mem_calloc(s->task_count + 1, sizeof *p.tasks);
    p.was_in_error = mem_calloc(s->task_count + 1, sizeof *p.was_in_error);
    p.validators = mem_calloc(s->task_count + 1, sizeof *p.validators);
    p.goal = mem_strdup("");
    p.has_relay = s->relay.is_present && consumer_stage_is_awake(dm_stage_of(s->relay.stage, &s->relay.result));
    p.relay_worker = mem_strdup(p.has_relay && f->has_config && !f->enable_relay ? dm_text_of(s->worker) : "");
    bool has_all = p.tasks != NULL && p.was_in_error != NULL && p.validators != NULL && p.goal != NULL;
    int rv = has_all && p.relay_worker != NULL ? 0 : SLUICE_ERR_NOMEM;
    for (size_t i = 0; rv == 0 && i < s->task_count; i++)
        rv = plan_add(&s->tasks[i], &p);
    if (rv != 0) {
        dm_plan_free(&p);
        return rv;
    }
    *out = p;
    return 0;
}

static bool names_validator(const struct dm_plan *p, const char *task)
{
    for (size_t i = 0; i < p->validator_count; i++) {
        if (strcmp(p->validators[i].task, task) == 0) return true;
    }
    return false;
}

void dm_plan_narrow(struct dm_plan *plan, const struct dm_plan *now)
{
    size_t tasks = 0, validators = 0;
    for (size_t i = 0; i < plan->task_count; i++) {
        if (!dm_plan_has(now, plan->tasks[i])) {
            mem_free(plan->tasks[i]);
            continue;
        }
        plan->was_in_error[tasks] = plan->was_in_error[i];
        plan->tasks[tasks++] = plan->tasks[i];
    }
    for (size_t i = 0; i < plan->validator_count; i++) {
        if (names_validator(now, plan->validators[i].task)) {
            plan->validators[validators++] = plan->validators[i];
            continue;
        }
        mem_free(plan->validators[i].task);
        mem_free(plan->validators[i].mode);
    }
    plan->task_count = tasks;
    plan->validator_count = validators;
    plan->has_relay = plan->has_relay && now->has_relay;
}

/* ---- as a consumer's status ---- */

/* A dump that is cut starts from zero, and what is loaded has no S that could be held to another server. */
static bool is_loading(const struct dm_task *t)
{
    return t->unit != DM_UNIT_SYNC && t->stage != DM_STAGE_FINISHED && t->stage != DM_STAGE_STOPPED;
}

static int fill_task(const struct dm_task *t, bool is_ours, struct consumer_task *out)
{
    struct text detail = TEXT_INIT;
    out->name = mem_strdup(t->name);
    out->stage = dm_task_stage(t);
    out->is_reading = consumer_stage_is_awake(out->stage);
    out->s = t->has_sync ? dm_set_of(t->syncer_gtid) : NULL;
    text_printf(&detail, "unit %s", dm_text_of(t->unit_text));
    if (t->has_sync && t->is_local) text_puts(&detail, ", reads the relay");
    if (out->stage == CONSUMER_STAGE_RUNNING && out->s != NULL)
        text_puts(&detail, ", gtid-S up to 30 s old while it runs");
    if (*dm_text_of(t->result.error) != '\0') text_printf(&detail, ", %.300s", t->result.error);
    if (is_loading(t)) {
        out->blocks = true;
        text_puts(&detail, "; wait until the full load has ended: a dump that is cut starts from zero");
    } else if (t->unit == DM_UNIT_SYNC && out->s == NULL && out->stage != CONSUMER_STAGE_STOPPED) {
        out->blocks = true;
        text_puts(&detail, "; gtid-S is empty: enable-gtid must be true, and a first checkpoint written");
        if (is_ours) out->stage = CONSUMER_STAGE_UNKNOWN;
    }
    out->detail = text_take(&detail);
    return out->name == NULL || out->detail == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int fill_missing(const char *name, struct consumer_task *out)
{
    out->name = mem_strdup(name);
    out->stage = CONSUMER_STAGE_UNKNOWN;
    out->detail = mem_strdup("it was paused for this switch, and DM does not show it");
    out->blocks = true;
    return out->name == NULL || out->detail == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int fill_relay(const struct dm_relay *r, struct consumer_part *out)
{
    if (!r->is_present) return 0;
    out->is_present = true;
    out->stage = dm_stage_of(r->stage, &r->result);
    out->position = dm_set_of(r->gtid);
    out->detail = mem_strdup(dm_text_of(r->sub_dir));
    return out->detail == NULL ? SLUICE_ERR_NOMEM : 0;
}

/* All validators as one: the least quiet stage, and of the sets that are known what all of them have. */
static int fill_validator(const struct dm_source *s, struct consumer_part *out)
{
    for (size_t i = 0; i < s->task_count; i++) {
        const struct dm_validation *v = &s->tasks[i].validation;
        if (!v->is_present) continue;
        enum consumer_stage stage = dm_stage_of(v->stage, &v->result);
        if (!out->is_present || !consumer_stage_is_quiet(stage)) out->stage = stage;
        out->is_present = true;
        struct gtid_set *set = dm_set_of(v->gtid), *common = NULL;
        if (set != NULL && out->position != NULL) {
            int rv = gtid_set_intersect(set, out->position, &common);
            gtid_set_del(set);
            if (rv != 0) return SLUICE_ERR_NOMEM;
            gtid_set_del(out->position);
            out->position = common;
        } else if (set != NULL) {
            out->position = set;
        }
    }
    if (!out->is_present) return 0;
    out->detail = mem_strdup("");
    return out->detail == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int fill_tasks(const struct dm_source *s, const struct dm_plan *plan, struct consumer_status *out)
{
    size_t planned = plan == NULL ? 0 : plan->task_count;
    int rv = 0;
    out->tasks = mem_calloc(s->task_count + planned + 1, sizeof *out->tasks);
    if (out->tasks == NULL) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; rv == 0 && i < s->task_count; i++) {
        bool is_ours = plan != NULL && dm_plan_has(plan, s->tasks[i].name);
        rv = fill_task(&s->tasks[i], is_ours, &out->tasks[out->task_count++]);
    }
    for (size_t i = 0; rv == 0 && i < planned; i++) {
        if (dm_find_task(s, plan->tasks[i]) == NULL) rv = fill_missing(plan->tasks[i], &out->tasks[out->task_count++]);
    }
    return rv;
}

static int refuse_unknown(const struct dm_source *s, struct consumer_status *out)
{
    struct text t = TEXT_INIT;
    text_printf(&t,
                "DM does not show the tasks of this source, which is not the same as having none: %.400s; see "
                "query-status, or use a consumer of type none if DM does not read from here",
                *dm_text_of(s->why) == '\0' ? "no reason given" : s->why);
    out->refusal = text_take(&t);
    return out->refusal == NULL ? SLUICE_ERR_NOMEM : 0;
}

int dm_fill_status(const struct dm_facts *f, const struct dm_plan *plan, struct consumer_status *out)
{
    const struct dm_source *s = &f->source;
    struct consumer_status c = { .is_known = s->is_known, .source_port = f->from_port };
    int rv = fill_tasks(s, plan, &c);
    if (rv == 0) rv = fill_relay(&s->relay, &c.relay);
    if (rv == 0) rv = fill_validator(s, &c.validator);
    if (rv == 0 && !s->is_known) rv = refuse_unknown(s, &c);
    if (rv == 0 && *dm_text_of(f->from_host) != '\0') {
        c.source_host = mem_strdup(f->from_host);
        if (c.source_host == NULL) rv = SLUICE_ERR_NOMEM;
    }
    if (rv != 0) {
        consumer_status_free(&c);
        return rv;
    }
    *out = c;
    return 0;
}
