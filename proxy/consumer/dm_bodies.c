/* SPDX-License-Identifier: Apache-2.0 */
#include "consumer/dm_bodies.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

/* jansson's memory is not ours to hand out. */
static char *dump(json_t *json)
{
    char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    char *copy = text == NULL ? NULL : mem_strdup(text);
    free(text);
    json_decref(json);
    return copy;
}

static json_t *create_source(const char *config, const char *worker)
{
    json_t *body = json_pack("{s:i,s:[s]}", "op", 1, "config", config);
    if (body != NULL && *worker != '\0') json_object_set_new(body, "workerName", json_string(worker));
    return body;
}

static json_t *stop_source(const char *source_id)
{
    return json_pack("{s:i,s:[s]}", "op", 3, "sourceID", source_id);
}

static json_t *start_task(const char *task, const char *source_id)
{
    return json_pack("{s:s,s:[s],s:b}", "task", task, "sources", source_id, "removeMeta", 0);
}

static json_t *operate_task(int op, const char *source_id)
{
    return json_pack("{s:i,s:[s]}", "op", op, "sources", source_id);
}

char *dm_body_create_source(const char *config, const char *worker)
{
    return dump(create_source(config, worker));
}

char *dm_body_stop_source(const char *source_id)
{
    return dump(stop_source(source_id));
}

char *dm_body_start_task(const char *task, const char *source_id)
{
    return dump(start_task(task, source_id));
}

char *dm_body_operate_task(int op, const char *source_id)
{
    return dump(operate_task(op, source_id));
}

/* ---- the plan ---- */

char *dm_move_plan_write(const struct dm_move_plan *plan)
{
    json_t *tasks = json_array();
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_move_task *t = &plan->tasks[i];
        json_array_append_new(tasks,
                              json_pack("{s:s,s:b,s:b,s:s,s:s}", "name", t->name, "was-paused", t->was_paused,
                                        "finished", t->is_finished, "validator", t->validator, "gtid-s", t->gtid));
    }
    return dump(json_pack("{s:s,s:o,s:b,s:b,s:s,s:s,s:s,s:s}", "type", "dm-move", "tasks", tasks, "relay",
                          plan->has_relay, "relay-was-paused", plan->relay_was_paused, "relay-worker",
                          plan->relay_worker, "worker", plan->worker, "gtid-w", plan->relay_gtid, "gtid-v",
                          plan->validator_gtid));
}

static int read_task(json_t *json, struct dm_move_task *out)
{
    const char *name, *validator, *gtid;
    int was_paused, is_finished;
    if (json_unpack(json, "{s:s,s:b,s:b,s:s,s:s}", "name", &name, "was-paused", &was_paused, "finished", &is_finished,
                    "validator", &validator, "gtid-s", &gtid) != 0)
        return SLUICE_ERR_INVALID;
    out->was_paused = was_paused != 0;
    out->is_finished = is_finished != 0;
    out->name = mem_strdup(name);
    out->validator = mem_strdup(validator);
    out->gtid = mem_strdup(gtid);
    return out->name == NULL || out->validator == NULL || out->gtid == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int read_plan(json_t *json, struct dm_move_plan *p)
{
    const char *type, *relay_worker, *worker, *w, *v;
    json_t *tasks;
    int has_relay, was_paused;
    if (json_unpack(json, "{s:s,s:o,s:b,s:b,s:s,s:s,s:s,s:s}", "type", &type, "tasks", &tasks, "relay", &has_relay,
                    "relay-was-paused", &was_paused, "relay-worker", &relay_worker, "worker", &worker, "gtid-w", &w,
                    "gtid-v", &v) != 0 ||
        strcmp(type, "dm-move") != 0 || !json_is_array(tasks))
        return SLUICE_ERR_INVALID;
    p->has_relay = has_relay != 0;
    p->relay_was_paused = was_paused != 0;
    p->relay_worker = mem_strdup(relay_worker);
    p->worker = mem_strdup(worker);
    p->relay_gtid = mem_strdup(w);
    p->validator_gtid = mem_strdup(v);
    p->tasks = mem_calloc(json_array_size(tasks) + 1, sizeof *p->tasks);
    bool has_all = p->relay_worker != NULL && p->worker != NULL && p->relay_gtid != NULL && p->validator_gtid != NULL &&
                   p->tasks != NULL;
    int rv = has_all ? 0 : SLUICE_ERR_NOMEM;
    for (size_t i = 0; rv == 0 && i < json_array_size(tasks); i++)
        rv = read_task(json_array_get(tasks, i), &p->tasks[p->task_count++]);
    return rv;
}

int dm_move_plan_read(const char *text, struct dm_move_plan *out)
{
    struct dm_move_plan p = { 0 };
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    int rv = json == NULL ? SLUICE_ERR_INVALID : read_plan(json, &p);
    json_decref(json);
    if (rv != 0) {
        dm_move_plan_free(&p);
        return rv;
    }
    *out = p;
    return 0;
}

/* ---- what would be called ---- */

static void add(json_t *calls, const char *method, const char *path, json_t *body)
{
    json_array_append_new(calls, json_pack("{s:s,s:s,s:o}", "method", method, "path", path, "body", body));
}

static void add_task(json_t *calls, int op, const char *task, const char *source_id)
{
    struct text path = TEXT_INIT;
    char *name = dm_path_of(task);
    text_printf(&path, DM_PATH_TASKS "/%s", name == NULL ? "" : name);
    add(calls, "PUT", text_str(&path), operate_task(op, source_id));
    mem_free(name);
    text_free(&path);
}

static void add_relay(json_t *calls, const struct dm_move_plan *plan, const char *op, const char *source_id)
{
    json_t *workers = *plan->relay_worker == '\0' ? json_array() : json_pack("[s]", plan->relay_worker);
    add(calls, "gRPC", "/pb.Master/OperateRelay",
        json_pack("{s:s,s:s,s:o}", "op", op, "source", source_id, "worker", workers));
}

static void add_worker_relay(json_t *calls, const char *op, const char *source_id)
{
    add(calls, "gRPC", "/pb.Master/OperateWorkerRelayTask", json_pack("{s:s,s:[s]}", "op", op, "sources", source_id));
}

static void add_validators(json_t *calls, const struct dm_move_plan *plan, const char *source_id, bool is_start)
{
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_move_task *t = &plan->tasks[i];
        if (*t->validator == '\0' || (is_start && t->is_finished)) continue;
        json_t *body = json_pack("{s:[s],s:s}", "sources", source_id, "taskName", t->name);
        if (is_start) json_object_set_new(body, "mode", json_string(t->validator));
        add(calls, "gRPC", is_start ? "/pb.Master/StartValidation" : "/pb.Master/StopValidation", body);
    }
}

static const char *file_of(const struct dm_move_files *files, const char *task)
{
    for (size_t i = 0; i < files->task_count; i++) {
        if (strcmp(files->task_names[i], task) == 0) return files->task_files[i];
    }
    return "";
}

static void add_down(json_t *calls, const struct dm_move_plan *plan, const char *source_id)
{
    if (plan->has_relay && !plan->relay_was_paused) add_worker_relay(calls, "PauseRelay", source_id);
    add_validators(calls, plan, source_id, false);
    for (size_t i = 0; i < plan->task_count; i++) {
        if (!plan->tasks[i].was_paused && !plan->tasks[i].is_finished)
            add_task(calls, DM_OP_PAUSE_TASK, plan->tasks[i].name, source_id);
    }
    for (size_t i = 0; i < plan->task_count; i++)
        add_task(calls, DM_OP_STOP_TASK, plan->tasks[i].name, source_id);
    if (plan->has_relay) add_relay(calls, plan, "StopRelayV2", source_id);
    add(calls, "PUT", DM_PATH_SOURCES, stop_source(source_id));
}

static void add_up(json_t *calls, const struct dm_move_plan *plan, const char *source_id,
                   const struct dm_move_files *files)
{
    add(calls, "PUT", DM_PATH_SOURCES, create_source(files->new_file, plan->worker));
    if (plan->has_relay && *plan->relay_worker == '\0') add_relay(calls, plan, "StopRelayV2", source_id);
    for (size_t i = 0; i < plan->task_count; i++) {
        const struct dm_move_task *t = &plan->tasks[i];
        if (t->is_finished) continue;
        add(calls, "POST", DM_PATH_TASKS, start_task(file_of(files, t->name), source_id));
        if (t->was_paused) add_task(calls, DM_OP_PAUSE_TASK, t->name, source_id);
    }
    add_validators(calls, plan, source_id, true);
    if (plan->has_relay) add_relay(calls, plan, "StartRelayV2", source_id);
    if (plan->relay_was_paused) add_worker_relay(calls, "PauseRelay", source_id);
}

char *dm_move_calls(const struct dm_move_plan *plan, const char *source_id, const struct dm_move_files *files)
{
    json_t *calls = json_array();
    add_down(calls, plan, source_id);
    add_up(calls, plan, source_id, files);
    return dump(calls);
}
