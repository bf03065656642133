/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as the journal keeps it. It names all that was paused, so that a process which knows nothing else can resume it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"

static json_t *tasks_json(const struct dm_plan *plan)
{
    json_t *tasks = json_array();
    for (size_t i = 0; i < plan->task_count; i++)
        json_array_append_new(tasks, json_string(plan->tasks[i]));
    return tasks;
}

static json_t *validators_json(const struct dm_plan *plan)
{
    json_t *validators = json_array();
    for (size_t i = 0; i < plan->validator_count; i++) {
        const struct dm_plan_validator *v = &plan->validators[i];
        json_array_append_new(validators, json_pack("{s:s,s:s}", "task", v->task, "mode", v->mode));
    }
    return validators;
}

/* Only what there is to say: a plan in which nothing is wrong, before the flip, has neither. */
static int add_extras(const struct dm_plan *plan, json_t *json)
{
    json_t *in_error = json_array();
    int rv = 0;
    for (size_t i = 0; i < plan->task_count; i++) {
        if (plan->was_in_error[i]) rv |= json_array_append_new(in_error, json_string(plan->tasks[i]));
    }
    if (json_array_size(in_error) > 0) rv |= json_object_set(json, "in-error", in_error);
    json_decref(in_error);
    if (plan->goal != NULL && *plan->goal != '\0') rv |= json_object_set_new(json, "goal", json_string(plan->goal));
    return rv;
}

char *dm_plan_write(const struct dm_plan *plan, const char *source_id)
{
    json_t *json =
        json_pack("{s:s,s:s,s:o,s:b,s:s,s:o}", "type", "dm", "source", source_id, "tasks", tasks_json(plan), "relay",
                  plan->has_relay ? 1 : 0, "relay-worker", plan->relay_worker, "validators", validators_json(plan));
    if (json == NULL) return NULL;
    char *text = add_extras(plan, json) != 0 ? NULL : json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    char *copy = text == NULL ? NULL : mem_strdup(text); /* jansson's memory is not ours to hand out */
    free(text);
    json_decref(json);
    return copy;
}

static int read_tasks(const json_t *tasks, struct dm_plan *p)
{
    p->tasks = mem_calloc(json_array_size(tasks) + 1, sizeof *p->tasks);
    p->was_in_error = mem_calloc(json_array_size(tasks) + 1, sizeof *p->was_in_error);
    if (p->tasks == NULL || p->was_in_error == NULL) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const char *name = json_string_value(json_array_get(tasks, i));
        if (name == NULL || *name == '\0') return SLUICE_ERR_INVALID;
        p->tasks[i] = mem_strdup(name);
        if (p->tasks[i] == NULL) return SLUICE_ERR_NOMEM;
        p->task_count++;
    }
    return 0;
}

static int read_extras(const json_t *in_error, const char *goal, struct dm_plan *p)
{
    size_t i;
    json_t *name;
    if (goal == NULL) goal = "";
    if (*goal != '\0') {
        struct gtid_set *set = NULL;
        int rv = gtid_set_parse(goal, strlen(goal), &set, NULL);
        gtid_set_del(set);
        if (rv != 0) return rv == GTID_ERR_NOMEM ? SLUICE_ERR_NOMEM : SLUICE_ERR_INVALID;
    }
    p->goal = mem_strdup(goal);
    json_array_foreach(in_error, i, name)
    {
        if (!json_is_string(name)) return SLUICE_ERR_INVALID;
        for (size_t k = 0; k < p->task_count; k++)
            p->was_in_error[k] = p->was_in_error[k] || strcmp(p->tasks[k], json_string_value(name)) == 0;
    }
    return p->goal == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int read_validators(json_t *validators, struct dm_plan *p)
{
    p->validators = mem_calloc(json_array_size(validators) + 1, sizeof *p->validators);
    if (p->validators == NULL) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; i < json_array_size(validators); i++) {
        const char *task, *mode;
        if (json_unpack(json_array_get(validators, i), "{s:s,s:s}", "task", &task, "mode", &mode) != 0)
            return SLUICE_ERR_INVALID;
        struct dm_plan_validator *v = &p->validators[p->validator_count++];
        v->task = mem_strdup(task);
        v->mode = mem_strdup(mode);
        if (v->task == NULL || v->mode == NULL) return SLUICE_ERR_NOMEM;
    }
    return 0;
}

int dm_plan_read(const char *text, struct dm_plan *out)
{
    const char *type, *worker, *goal = NULL;
    json_t *tasks, *validators, *in_error = NULL;
    int has_relay;
    struct dm_plan p = { 0 };
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    int rv = SLUICE_ERR_INVALID;
    if (json != NULL &&
        json_unpack(json, "{s:s,s:o,s:b,s:s,s:o,s?o,s?s}", "type", &type, "tasks", &tasks, "relay", &has_relay,
                    "relay-worker", &worker, "validators", &validators, "in-error", &in_error, "goal", &goal) == 0 &&
        strcmp(type, "dm") == 0 && json_is_array(tasks) && json_is_array(validators)) {
        p.has_relay = has_relay != 0;
        p.relay_worker = mem_strdup(worker);
        rv = p.relay_worker == NULL ? SLUICE_ERR_NOMEM : read_tasks(tasks, &p);
        if (rv == 0) rv = read_validators(validators, &p);
        if (rv == 0) rv = read_extras(in_error, goal, &p);
    }
    json_decref(json);
    if (rv != 0) {
        dm_plan_free(&p);
        return rv;
    }
    *out = p;
    return 0;
}
