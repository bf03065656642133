/* SPDX-License-Identifier: Apache-2.0 */
#include "core/positions.h"
#include <stdio.h>
#include "core/dm.h"
#include "core/mem.h"
#include "sluice/gtid.h"

static void part_free(struct consumer_part *part)
{
    mem_free(part->detail);
    gtid_set_del(part->position);
}

void consumer_status_free(struct consumer_status *s)
{
    for (size_t i = 0; i < s->task_count; i++) {
        mem_free(s->tasks[i].name);
        mem_free(s->tasks[i].detail);
        gtid_set_del(s->tasks[i].s);
    }
    mem_free(s->tasks);
    part_free(&s->relay);
    part_free(&s->validator);
    mem_free(s->source_host);
    mem_free(s->refusal);
    dm_facts_del(s->dm);
    *s = (struct consumer_status){ 0 };
}

bool consumer_stage_is_quiet(enum consumer_stage stage)
{
    return stage == CONSUMER_STAGE_PAUSED_BY_COMMAND || stage == CONSUMER_STAGE_STOPPED ||
           stage == CONSUMER_STAGE_FINISHED;
}

bool consumer_status_is_quiet(const struct consumer_status *s)
{
    for (size_t i = 0; i < s->task_count; i++) {
        if (!consumer_stage_is_quiet(s->tasks[i].stage)) return false;
    }
    if (s->relay.is_present && !consumer_stage_is_quiet(s->relay.stage)) return false;
    return !s->validator.is_present || consumer_stage_is_quiet(s->validator.stage);
}

bool consumer_stage_is_awake(enum consumer_stage stage)
{
    return stage == CONSUMER_STAGE_RUNNING || stage == CONSUMER_STAGE_PAUSED_BY_ERROR ||
           stage == CONSUMER_STAGE_IN_MOTION;
}

static bool part_is_awake(const struct consumer_part *part)
{
    return part->is_present && !consumer_stage_is_quiet(part->stage);
}

void consumer_status_tell_awake(const struct consumer_status *s, char *out, size_t room)
{
    *out = '\0';
    for (size_t i = 0; i < s->task_count; i++) {
        const struct consumer_task *t = &s->tasks[i];
        if (consumer_stage_is_quiet(t->stage)) continue;
        snprintf(out, room, "task %.60s: %s, %.180s", t->name, consumer_stage_name(t->stage),
                 t->detail == NULL ? "" : t->detail);
        return;
    }
    if (part_is_awake(&s->relay)) {
        snprintf(out, room, "relay: %s", consumer_stage_name(s->relay.stage));
    } else if (part_is_awake(&s->validator)) {
        snprintf(out, room, "validator: %s", consumer_stage_name(s->validator.stage));
    }
}

const char *consumer_stage_name(enum consumer_stage stage)
{
    switch (stage) {
    case CONSUMER_STAGE_RUNNING: return "Running";
    case CONSUMER_STAGE_PAUSED_BY_COMMAND: return "Paused";
    case CONSUMER_STAGE_PAUSED_BY_ERROR: return "Paused (error)";
    case CONSUMER_STAGE_STOPPED: return "Stopped";
    case CONSUMER_STAGE_FINISHED: return "Finished";
    case CONSUMER_STAGE_IN_MOTION: return "InMotion";
    case CONSUMER_STAGE_UNKNOWN: return "Unknown";
    }
    return "Unknown";
}
