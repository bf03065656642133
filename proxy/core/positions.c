/* SPDX-License-Identifier: Apache-2.0 */
#include "core/positions.h"
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

static bool stage_is_quiet(enum consumer_stage stage)
{
    return stage == CONSUMER_STAGE_PAUSED_BY_COMMAND || stage == CONSUMER_STAGE_STOPPED ||
           stage == CONSUMER_STAGE_FINISHED;
}

bool consumer_status_is_quiet(const struct consumer_status *s)
{
    for (size_t i = 0; i < s->task_count; i++) {
        if (!stage_is_quiet(s->tasks[i].stage)) return false;
    }
    if (s->relay.is_present && !stage_is_quiet(s->relay.stage)) return false;
    return !s->validator.is_present || stage_is_quiet(s->validator.stage);
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
