/* SPDX-License-Identifier: Apache-2.0 */
/* Is what was resumed well on the new server? A look tells what it sees; several in a row are a verdict. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "core/dm_internal.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/positions.h"
#include "sluice/gtid.h"

/* One look: its arguments, and what it finds. */
struct look {
    const struct dm_plan *plan;
    const struct dm_source *source;
    const char *server_uuid;
    const struct consumer_evidence *evidence;
    struct dm_verify *verify;
    char *text; /* DM_TEXT_LEN + 1 */
    bool progresses;
    size_t running;               /* tasks of the plan that run, but for those that nobody waits for any more */
    const struct dm_task *broken; /* one that was in error before the switch, and is not well */
};

void dm_verify_free(struct dm_verify *v)
{
    for (size_t i = 0; i < v->task_count; i++)
        gtid_set_del(v->first_s[i]);
    mem_free(v->first_s);
    *v = (struct dm_verify){ 0 };
}

static int verify_begin(struct dm_verify *v, const struct dm_plan *plan)
{
    if (v->first_s != NULL) return 0;
    v->first_s = mem_calloc(plan->task_count + 1, sizeof(struct gtid_set *));
    v->task_count = v->first_s == NULL ? 0 : plan->task_count;
    return v->first_s == NULL ? SLUICE_ERR_NOMEM : 0;
}

/* No worse than before: DM goes on trying it, so it may even run at the moment. The others are not judged by it. */
static bool is_given_up(const struct look *l, size_t at)
{
    return l->plan->was_in_error[at] && l->verify->looks > DM_ERROR_LOOKS;
}

static int look_at_tasks(struct look *l)
{
    for (size_t i = 0; i < l->plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(l->source, l->plan->tasks[i]);
        if (t != NULL && t->stage == DM_STAGE_RUNNING) {
            l->running += is_given_up(l, i) ? 0 : 1;
            continue;
        }
        enum consumer_stage stage = t == NULL ? CONSUMER_STAGE_UNKNOWN : dm_task_stage(t);
        bool is_error = stage == CONSUMER_STAGE_PAUSED_BY_ERROR;
        if (is_error && is_given_up(l, i)) {
            l->broken = t;
            continue;
        }
        snprintf(l->text, DM_TEXT_LEN + 1, "task %.80s: %s, %.180s%s", l->plan->tasks[i], consumer_stage_name(stage),
                 t == NULL ? "DM does not show it" : dm_text_of(t->result.error),
                 is_error ? "; nothing is undone after the flip: mend it and resume-task, or switch back" : "");
        /* An error of its own is tried again by DM itself; until verify-timeout it may yet run. */
        return is_error ? SLUICE_ERR_QUERY : SLUICE_ERR_BUSY;
    }
    return 0;
}

/* It may read the whole binlog of the new server again: that is progress, as long as it gets closer to the tasks. */
static int look_at_relay_sets(struct look *l)
{
    const struct dm_relay *r = &l->source->relay;
    uint64_t lag = 0, has = 0;
    const char *name = "";
    for (size_t i = 0; i < l->plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(l->source, l->plan->tasks[i]);
        uint64_t task_has = 0, task_lag = t == NULL ? 0 : dm_relay_lag(r, t, &task_has);
        if (task_lag <= lag) continue;
        lag = task_lag;
        has = task_has;
        name = t->name;
    }
    if (lag == 0) return 0;
    l->progresses = !l->verify->has_lag || lag < l->verify->lag_min;
    if (l->progresses) l->verify->lag_min = lag;
    l->verify->has_lag = true;
    snprintf(l->text, DM_TEXT_LEN + 1,
             "the relay reads the new server's binlog again: it has %" PRIu64 " of the %" PRIu64
             " transactions that task %.80s has",
             lag > has ? 0 : has - lag, has, name);
    return SLUICE_ERR_BUSY;
}

static int look_at_relay(struct look *l)
{
    const struct dm_relay *r = &l->source->relay;
    size_t len = strlen(l->server_uuid);
    if (!l->plan->has_relay) return 0;
    if (!r->is_present || r->stage != DM_STAGE_RUNNING) {
        bool is_quiet = !r->is_present || consumer_stage_is_quiet(dm_stage_of(r->stage, &r->result));
        snprintf(l->text, DM_TEXT_LEN + 1,
                 "the relay does not run: %s, %.200s; see query-status, and resume-relay or start-relay",
                 r->is_present ? dm_stage_name(r->stage) : "not there", dm_text_of(r->result.error));
        return is_quiet ? SLUICE_ERR_BUSY : SLUICE_ERR_QUERY;
    }
    if (len > 0 && strncmp(dm_text_of(r->sub_dir), l->server_uuid, len) != 0) {
        snprintf(l->text, DM_TEXT_LEN + 1, "the relay has not begun the new server's sub directory: %.100s",
                 dm_text_of(r->sub_dir));
        return SLUICE_ERR_BUSY;
    }
    return look_at_relay_sets(l);
}

static int look_at_streams(struct look *l)
{
    const struct consumer_evidence *e = l->evidence;
    if (l->running == 0 || !e->streams_are_visible || e->has_stream) return 0;
    snprintf(l->text, DM_TEXT_LEN + 1, "no binlog stream of DM's has come through Sluice to the new server yet");
    return SLUICE_ERR_BUSY;
}

/* S is flushed from time to time: that it moved, or is all that the server has, shows that rows arrive. */
static bool has_moved(const struct look *l, size_t at, const struct dm_task *t, const struct gtid_set *s)
{
    struct gtid_set *master = dm_set_of(t->master_gtid), *first = l->verify->first_s[at];
    const struct gtid_set *executed = l->evidence->executed;
    bool is_all =
        (executed != NULL && gtid_set_contains(s, executed)) || (master != NULL && gtid_set_contains(s, master));
    gtid_set_del(master);
    return is_all || (first != NULL && gtid_set_contains(s, first) && !gtid_set_contains(first, s));
}

static int look_at_sets(struct look *l)
{
    for (size_t i = 0; i < l->plan->task_count; i++) {
        const struct dm_task *t = dm_find_task(l->source, l->plan->tasks[i]);
        if (t == NULL || t->stage != DM_STAGE_RUNNING) continue;
        struct gtid_set *s = dm_set_of(t->syncer_gtid);
        bool is_well = s != NULL && has_moved(l, i, t, s);
        uint64_t count = s == NULL ? 0 : gtid_set_count(s);
        if (l->verify->first_s[i] == NULL) {
            l->verify->first_s[i] = s;
        } else {
            gtid_set_del(s);
        }
        if (is_well) continue;
        if (is_given_up(l, i)) {
            l->broken = t;
            continue;
        }
        snprintf(l->text, DM_TEXT_LEN + 1,
                 "task %.80s runs, and its gtid-S (%" PRIu64
                 " transactions) has not moved yet: DM tells it up to 30 s late",
                 t->name, count);
        return SLUICE_ERR_BUSY;
    }
    return 0;
}

static int look_at_all(struct look *l)
{
    char tasks[DM_TEXT_LEN + 1];
    int rv = look_at_tasks(l);
    snprintf(tasks, sizeof tasks, "%s", l->text);
    int relay_rv = look_at_relay(l); /* a task may stand still for it: then its progress counts all the same */
    if (rv != 0) {
        snprintf(l->text, sizeof tasks, "%s", tasks);
    } else {
        rv = relay_rv;
    }
    if (rv == 0) rv = look_at_streams(l);
    return rv != 0 ? rv : look_at_sets(l);
}

int dm_is_resumed(const struct dm_plan *plan, const struct dm_source *s, const char *server_uuid,
                  const struct consumer_evidence *evidence, struct dm_verify *v, char *out_text, bool *out_progresses)
{
    struct look l = {
        .plan = plan, .source = s, .server_uuid = server_uuid, .evidence = evidence, .verify = v, .text = out_text
    };
    *out_text = '\0';
    *out_progresses = false;
    if (!s->is_known) {
        v->steady = 0;
        snprintf(out_text, DM_TEXT_LEN + 1, "DM does not show this source's tasks: %.300s", dm_text_of(s->why));
        return SLUICE_ERR_BUSY;
    }
    int rv = verify_begin(v, plan);
    if (rv != 0) return rv;
    v->looks++;
    rv = look_at_all(&l);
    *out_progresses = l.progresses;
    v->steady = rv == 0 ? v->steady + 1 : 0;
    if (rv == 0 && v->steady < DM_STEADY_LOOKS) {
        snprintf(out_text, DM_TEXT_LEN + 1, "well for %u looks of %d", v->steady, DM_STEADY_LOOKS);
        return SLUICE_ERR_BUSY; /* DM says Running before the stream is connected: it has to stay so */
    }
    if (rv == 0 && l.broken != NULL)
        snprintf(out_text, DM_TEXT_LEN + 1,
                 "task %.80s was in error before the switch, and is not well after it: %s, %.250s", l.broken->name,
                 dm_stage_name(l.broken->stage), dm_text_of(l.broken->result.error));
    return rv;
}
