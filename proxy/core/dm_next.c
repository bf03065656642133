/* SPDX-License-Identifier: Apache-2.0 */
/* What to order next, from a status and a plan alone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "core/dm_internal.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/positions.h"
#include "sluice/gtid.h"

static bool validation_is_quiet(const struct dm_validation *v)
{
    return !v->is_present || consumer_stage_is_quiet(dm_stage_of(v->stage, &v->result));
}

/* ---- pausing ---- */

static void next(struct dm_next *out, enum dm_act act, size_t index, const char *what, const char *name)
{
    out->act = act;
    out->index = index;
    snprintf(out->text, sizeof out->text, "%s%s%s", what, *name == '\0' ? "" : " ", name);
}

/*
 * A transaction of which the relay has a part is in D, as its first byte was sent, and not in W, which grows at a transaction's end
 * (relay.go: SaveMeta). So a relay whose W holds D stands between two transactions, however its stream ended.
 */
static bool relay_is_whole(const struct dm_relay *r, const struct gtid_set *delivered)
{
    struct gtid_set *w = NULL;
    if (delivered == NULL) return false;
    if (gtid_set_is_empty(delivered)) return true;
    if (gtid_set_parse(dm_text_of(r->gtid), strlen(dm_text_of(r->gtid)), &w, NULL) != 0) return false;
    bool has_all = gtid_set_contains(w, delivered);
    gtid_set_del(w);
    return has_all;
}

static bool pause_relay(const struct dm_plan *plan, const struct dm_source *s, const struct dm_pause *p,
                        struct dm_next *out)
{
    const struct dm_relay *r = &s->relay;
    if (!plan->has_relay || !r->is_present) return false;
    enum consumer_stage stage = dm_stage_of(r->stage, &r->result);
    if (stage == CONSUMER_STAGE_STOPPED) return false;
    bool is_whole = relay_is_whole(r, p->delivered);
    if (is_whole && consumer_stage_is_quiet(stage)) return false;
    if (stage == CONSUMER_STAGE_IN_MOTION || stage == CONSUMER_STAGE_UNKNOWN) {
        next(out, DM_ACT_WAIT, 0, "the relay is", dm_stage_name(r->stage));
    } else if (is_whole) {
        next(out, DM_ACT_PAUSE_RELAY, 0, "pause the relay", "");
    } else if (stage == CONSUMER_STAGE_RUNNING && p->delivered != NULL && p->may_wait) {
        next(out, DM_ACT_WAIT, 0, "the relay has not read all that was sent:", dm_text_of(r->gtid));
    } else {
        next(out, DM_ACT_STOP_RELAY, 0, "stop the relay, which may have a part of a transaction", "");
    }
    return true;
}

static bool pause_validators(const struct dm_plan *plan, const struct dm_source *s, struct dm_next *out)
{
    for (size_t i = 0; i < plan->validator_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->validators[i].task);
        if (t == NULL || validation_is_quiet(&t->validation)) continue;
        next(out, DM_ACT_STOP_VALIDATION, i, "stop the validator of task", t->name);
        return true;
    }
    return false;
}

static bool pause_tasks(const struct dm_plan *plan, const struct dm_source *s, struct dm_next *out)
{
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->tasks[i]);
        enum consumer_stage stage = t == NULL ? CONSUMER_STAGE_UNKNOWN : dm_task_stage(t);
        if (consumer_stage_is_quiet(stage)) continue;
        if (t == NULL) {
            next(out, DM_ACT_WAIT, i, "DM does not show task", plan->tasks[i]);
        } else if (stage == CONSUMER_STAGE_RUNNING || stage == CONSUMER_STAGE_PAUSED_BY_ERROR) {
            next(out, DM_ACT_PAUSE_TASK, i, "pause task", t->name);
        } else {
            next(out, DM_ACT_WAIT, i, "wait for task", t->name);
        }
        return true;
    }
    return false;
}

void dm_next_pause(const struct dm_plan *plan, const struct dm_source *s, const struct dm_pause *p, struct dm_next *out)
{
    if (!s->is_known) {
        next(out, DM_ACT_WAIT, 0, "DM does not show this source's tasks:", dm_text_of(s->why));
        return;
    }
    if (pause_relay(plan, s, p, out)) return;
    if (pause_validators(plan, s, out)) return;
    if (pause_tasks(plan, s, out)) return;
    next(out, DM_ACT_DONE, 0, "quiet", "");
}

/* ---- resuming ---- */

int dm_resume_init(struct dm_resume *r, const struct dm_plan *plan, const char *server_uuid)
{
    *r = (struct dm_resume){ .server_uuid = server_uuid,
                             .tasks_ordered = mem_calloc(plan->task_count + 1, sizeof *r->tasks_ordered),
                             .validators_ordered =
                                 mem_calloc(plan->validator_count + 1, sizeof *r->validators_ordered) };
    int rv = r->tasks_ordered == NULL || r->validators_ordered == NULL ? SLUICE_ERR_NOMEM : 0;
    const char *goal = dm_text_of(plan->goal);
    if (rv == 0 && *goal != '\0' && gtid_set_parse(goal, strlen(goal), &r->goal, NULL) != 0) rv = SLUICE_ERR_NOMEM;
    if (rv != 0) dm_resume_free(r);
    return rv;
}

void dm_resume_free(struct dm_resume *r)
{
    mem_free(r->tasks_ordered);
    mem_free(r->validators_ordered);
    gtid_set_del(r->goal);
    *r = (struct dm_resume){ 0 };
}

/* Still to be resumed: neither ordered to run nor running. */
static bool task_waits(const struct dm_plan *plan, const struct dm_source *s, const struct dm_resume *r, size_t at)
{
    const struct dm_task *t = dm_find_task(s, plan->tasks[at]);
    return !r->tasks_ordered[at] && (t == NULL || t->stage != DM_STAGE_RUNNING);
}

/*
 * It writes into the new server's sub directory and has there all that the tasks have which wait for it. Those that run do not: a
 * relay that was started anew is looked at when all is verified.
 */
static bool relay_passes(const struct dm_plan *plan, const struct dm_source *s, const struct dm_resume *r,
                         struct dm_next *out)
{
    const struct dm_relay *relay = &s->relay;
    size_t len = strlen(dm_text_of(r->server_uuid));
    if (len > 0 && strncmp(dm_text_of(relay->sub_dir), r->server_uuid, len) != 0) {
        next(out, DM_ACT_WAIT, 0,
             "the relay has not begun the new server's sub directory:", dm_text_of(relay->sub_dir));
        return false;
    }
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->tasks[i]);
        uint64_t has = 0, lag = t == NULL ? 0 : dm_relay_lag(relay, t, &has);
        if (lag == 0 || !task_waits(plan, s, r, i)) continue;
        next(out, DM_ACT_WAIT, i, "", "");
        snprintf(out->text, sizeof out->text,
                 "the relay reads the new server's binlog again, and task %.100s waits: it has %" PRIu64
                 " of the %" PRIu64 " transactions that the task has",
                 t->name, lag > has ? 0 : has - lag, has);
        return false;
    }
    return true;
}

/* DM makes the new sub directory with the old set in it, and only then lets that fall: seen once, it may yet fall back. */
static bool relay_has_passed(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r,
                             struct dm_next *out)
{
    size_t waiting = 0;
    for (size_t i = 0; i < plan->task_count; i++)
        waiting += task_waits(plan, s, r, i) ? 1 : 0;
    if (waiting == 0) return true;
    bool has_passed = relay_passes(plan, s, r, out);
    r->relay_looks = has_passed ? r->relay_looks + 1 : 0;
    if (!has_passed || r->relay_looks >= DM_STEADY_LOOKS) return has_passed;
    next(out, DM_ACT_WAIT, 0, "the relay has passed the tasks, and is looked at for a moment, as it may yet fall back",
         "");
    return false;
}

static bool resume_relay(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r,
                         struct dm_next *out)
{
    const struct dm_relay *relay = &s->relay;
    if (!plan->has_relay || !relay->is_present || relay->stage == DM_STAGE_STOPPED) return false; /* later, anew */
    if (relay->stage == DM_STAGE_RUNNING) return !relay_has_passed(plan, s, r, out);
    if (relay->stage == DM_STAGE_PAUSED && !r->relay_is_ordered) {
        next(out, DM_ACT_RESUME_RELAY, 0, "resume the relay", "");
    } else { /* an error of its own, such as another server than before: DM resumes it by itself */
        next(out, DM_ACT_WAIT, 0, "the relay is not running yet:", dm_text_of(relay->result.error));
    }
    return true;
}

static bool resume_tasks(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r,
                         struct dm_next *out)
{
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->tasks[i]);
        if (!task_waits(plan, s, r, i)) continue;
        if (t != NULL && t->stage == DM_STAGE_PAUSED) {
            next(out, DM_ACT_RESUME_TASK, i, "resume task", t->name);
        } else {
            const char *what = t == NULL
                                   ? "DM does not show, and if somebody stopped it there is nothing to wait for: task"
                                   : "wait for task";
            next(out, DM_ACT_WAIT, i, what, plan->tasks[i]);
        }
        return true;
    }
    return false;
}

/* Of an undo, or where nothing was read at the flip: what the server has, as the worker saw it first; it holds all that was cut. */
static bool take_goal(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r)
{
    for (size_t i = 0; r->goal == NULL && i < plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->tasks[i]);
        if (t != NULL) r->goal = dm_set_of(t->master_gtid);
    }
    return r->goal != NULL;
}

static bool restart_relay(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r,
                          struct dm_next *out)
{
    bool is_there = s->relay.is_present && s->relay.stage != DM_STAGE_STOPPED;
    if (!plan->has_relay || is_there || r->relay_is_ordered) return false;
    if (plan->task_count > 0 && !take_goal(plan, s, r)) {
        next(out, DM_ACT_WAIT, 0, "the worker does not say yet what the new server has", "");
        return true;
    }
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->tasks[i]);
        struct gtid_set *has = t == NULL ? NULL : dm_set_of(t->syncer_gtid);
        bool has_passed = has != NULL && gtid_set_contains(has, r->goal);
        gtid_set_del(has);
        if (has_passed) continue;
        next(out, DM_ACT_WAIT, i, "", "");
        snprintf(out->text, sizeof out->text,
                 "the relay was stopped, and is started once task %.100s has passed what the server had (%" PRIu64
                 " transactions; it shows what it has up to 30 s late)",
                 plan->tasks[i], gtid_set_count(r->goal));
        return true;
    }
    next(out, DM_ACT_START_RELAY, 0, "start the relay anew", "");
    return true;
}

static bool start_validators(const struct dm_plan *plan, const struct dm_source *s, const struct dm_resume *r,
                             struct dm_next *out)
{
    for (size_t i = 0; i < plan->validator_count; i++) {
        const struct dm_task *t = dm_find_task(s, plan->validators[i].task);
        bool runs = t != NULL && t->validation.is_present && t->validation.stage == DM_STAGE_RUNNING;
        if (runs || r->validators_ordered[i]) continue;
        next(out, DM_ACT_START_VALIDATION, i, "start the validator of task", plan->validators[i].task);
        return true;
    }
    return false;
}

void dm_next_resume(const struct dm_plan *plan, const struct dm_source *s, struct dm_resume *r, struct dm_next *out)
{
    if (!s->is_known) {
        next(out, DM_ACT_WAIT, 0, "DM does not show this source's tasks:", dm_text_of(s->why));
        return;
    }
    if (resume_relay(plan, s, r, out)) return;
    if (resume_tasks(plan, s, r, out)) return;
    if (restart_relay(plan, s, r, out)) return;
    if (start_validators(plan, s, r, out)) return;
    next(out, DM_ACT_DONE, 0, "resumed", "");
}
