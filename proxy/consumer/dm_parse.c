/* SPDX-License-Identifier: Apache-2.0 */
#include "consumer/dm_parse.h"
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

/* ---- reading what may not be there ---- */

/* The object of an answer, or NULL with |*rv| and |error|. */
static json_t *load(const char *body, size_t len, char *error, int *rv)
{
    json_error_t why;
    json_t *json = json_loadb(body == NULL ? "" : body, len, 0, &why);
    *rv = 0;
    if (json_is_object(json)) return json;
    snprintf(error, DM_ERROR_LEN + 1, "DM's answer of %zu bytes is no JSON object%s%.200s", len,
             json == NULL ? ": " : "", json == NULL ? why.text : "");
    json_decref(json);
    *rv = SLUICE_ERR_PROTOCOL;
    return NULL;
}

/* "" where |key| is missing, null, or no string. */
static const char *string_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

static bool take_string(const json_t *object, const char *key, char **out)
{
    *out = mem_strdup(string_of(object, key));
    return *out != NULL;
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static bool is_filled_object(const json_t *json)
{
    return json_is_object(json) && json_object_size(json) > 0;
}

/* ---- status ---- */

static char *error_of(const json_t *result)
{
    const json_t *first = json_array_get(json_object_get(result, "errors"), 0);
    struct text t = TEXT_INIT;
    if (json_is_object(first)) {
        const char *cause = string_of(first, "RawCause"), *todo = string_of(first, "Workaround");
        text_printf(&t, "[code=%lld] %s", json_integer_value(json_object_get(first, "ErrCode")),
                    string_of(first, "Message"));
        if (*cause != '\0') text_printf(&t, ": %s", cause);
        if (*todo != '\0') text_printf(&t, "; %s", todo);
    }
    text_puts(&t, ""); /* or nothing at all would be NULL */
    return text_take(&t);
}

static bool take_result(const json_t *holder, struct dm_result *out)
{
    const json_t *result = json_object_get(holder, "result");
    out->is_present = json_is_object(result);
    out->is_canceled = is_true(result, "isCanceled");
    out->error = error_of(result);
    return out->error != NULL;
}

static bool take_sync(const json_t *sync, struct dm_task *out)
{
    const json_t *ddls = json_object_get(sync, "blockingDDLs"), *groups = json_object_get(sync, "unresolvedGroups");
    const char *ddl = json_string_value(json_array_get(ddls, 0));
    out->has_sync = is_filled_object(sync);
    out->is_local = strcmp(string_of(sync, "binlogType"), "local") == 0;
    out->unresolved = json_array_size(groups);
    out->blocking_ddl = mem_strdup(ddl == NULL ? (json_array_size(ddls) > 0 ? "(not text)" : "") : ddl);
    bool has_syncer = take_string(sync, "syncerBinlogGtid", &out->syncer_gtid);
    bool has_master = take_string(sync, "masterBinlogGtid", &out->master_gtid);
    bool has_conflict = take_string(sync, "conflictMsg", &out->conflict);
    return has_syncer && has_master && has_conflict && out->blocking_ddl != NULL;
}

static bool take_validation(const json_t *json, struct dm_validation *out)
{
    out->is_present = is_filled_object(json);
    out->stage = dm_stage_parse(json_string_value(json_object_get(json, "stage")));
    bool has_mode = take_string(json, "mode", &out->mode);
    bool has_gtid = take_string(json, "validatorBinlogGtid", &out->gtid);
    bool has_result = take_result(json, &out->result);
    return has_mode && has_gtid && has_result;
}

static bool take_task(const json_t *json, struct dm_task *out)
{
    const char *unit = json_string_value(json_object_get(json, "unit"));
    out->stage = dm_stage_parse(json_string_value(json_object_get(json, "stage")));
    out->unit = dm_unit_parse(unit);
    bool has_name = take_string(json, "name", &out->name);
    bool has_unit = take_string(json, "unit", &out->unit_text);
    bool has_lock = take_string(json, "unresolvedDDLLockID", &out->ddl_lock);
    bool has_result = take_result(json, &out->result);
    bool has_sync = take_sync(json_object_get(json, "sync"), out);
    bool has_validation = take_validation(json_object_get(json, "validation"), &out->validation);
    return has_name && has_unit && has_lock && has_result && has_sync && has_validation;
}

static bool take_relay(const json_t *json, struct dm_relay *out)
{
    out->is_present = is_filled_object(json);
    out->stage = dm_stage_parse(json_string_value(json_object_get(json, "stage")));
    out->is_caught_up = is_true(json, "relayCatchUpMaster");
    bool has_dir = take_string(json, "relaySubDir", &out->sub_dir);
    bool has_gtid = take_string(json, "relayBinlogGtid", &out->gtid);
    bool has_result = take_result(json, &out->result);
    return has_dir && has_gtid && has_result;
}

static int unknown(struct dm_source *out, const char *why)
{
    mem_free(out->why);
    out->is_known = false;
    out->why = mem_strdup(why);
    return out->why == NULL ? SLUICE_ERR_NOMEM : 0;
}

/* A worker that only has the source's relay answers too (with no tasks); of the source's own there can be one. */
static int take_worker(const json_t *entry, struct dm_source *out)
{
    const json_t *status = json_object_get(entry, "sourceStatus"), *tasks = json_object_get(entry, "subTaskStatus");
    struct dm_relay relay = { 0 };
    bool ok = take_relay(json_object_get(status, "relayStatus"), &relay);
    bool is_better = ok && relay.is_present && (!out->relay.is_present || json_array_size(tasks) > 0);
    struct dm_relay *other = is_better ? &out->relay : &relay;
    mem_free(other->result.error);
    mem_free(other->sub_dir);
    mem_free(other->gtid);
    if (is_better) out->relay = relay;
    if (!ok) return SLUICE_ERR_NOMEM;
    if (json_array_size(tasks) == 0) {
        out->is_idle = !out->is_known;
        return out->is_known ? 0 : unknown(out, string_of(entry, "msg"));
    }
    if (out->is_known) return unknown(out, "two workers answer for the source; wait until one has it");
    out->tasks = mem_calloc(json_array_size(tasks), sizeof *out->tasks);
    if (out->tasks == NULL || !take_string(status, "worker", &out->worker)) return SLUICE_ERR_NOMEM;
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *task = json_array_get(tasks, i);
        out->task_count++;
        if (!take_task(task, &out->tasks[i])) return SLUICE_ERR_NOMEM;
        if (*out->tasks[i].name == '\0') return unknown(out, "a task without a name is in the answer");
    }
    mem_free(out->why);
    out->why = mem_strdup("");
    out->is_known = true;
    out->is_idle = false;
    return out->why == NULL ? SLUICE_ERR_NOMEM : 0;
}

static int take_sources(const json_t *answer, const char *source_id, struct dm_source *out)
{
    const json_t *sources = json_object_get(answer, "sources");
    bool is_ambiguous = false;
    const char *msg = string_of(answer, "msg");
    int rv = unknown(out, *msg == '\0' ? "the source is not in DM's answer" : msg);
    if (!is_true(answer, "result")) return rv;
    for (size_t i = 0; rv == 0 && !is_ambiguous && i < json_array_size(sources); i++) {
        const json_t *entry = json_array_get(sources, i);
        if (strcmp(string_of(json_object_get(entry, "sourceStatus"), "source"), source_id) != 0) continue;
        bool was_known = out->is_known;
        if (is_true(entry, "result")) {
            rv = take_worker(entry, out);
            is_ambiguous = was_known && !out->is_known;
        } else if (!was_known) {
            rv = unknown(out, string_of(entry, "msg"));
        }
    }
    return rv;
}

int dm_parse_status(const char *body, size_t len, const char *source_id, struct dm_source *out, char *error)
{
    int rv;
    struct dm_source s = { 0 };
    json_t *answer = load(body, len, error, &rv);
    if (answer == NULL) return rv;
    rv = take_sources(answer, source_id, &s);
    json_decref(answer);
    if (rv != 0) {
        snprintf(error, DM_ERROR_LEN + 1, "memory ran out");
        dm_source_free(&s);
        return rv;
    }
    *out = s;
    return 0;
}

/* ---- members ---- */

static bool take_leader(const json_t *leader, struct dm_facts *f)
{
    struct text t = TEXT_INIT;
    if (!is_filled_object(leader) || *string_of(leader, "name") == '\0') return true;
    text_printf(&t, "%s at %s", string_of(leader, "name"), string_of(leader, "addr"));
    mem_free(f->leader);
    f->leader = text_take(&t);
    return f->leader != NULL;
}

static bool take_workers(const json_t *workers, const char *source_id, struct dm_facts *f)
{
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        if (strcmp(string_of(worker, "source"), source_id) != 0 || strcmp(string_of(worker, "stage"), "bound") != 0)
            continue;
        f->is_bound = true;
        mem_free(f->worker);
        if (!take_string(worker, "name", &f->worker)) return false;
    }
    return true;
}

int dm_parse_members(const char *body, size_t len, const char *source_id, struct dm_facts *out, char *error)
{
    int rv;
    json_t *answer = load(body, len, error, &rv);
    if (answer == NULL) return rv;
    const json_t *members = json_object_get(answer, "members");
    if (!is_true(answer, "result")) {
        snprintf(error, DM_ERROR_LEN + 1, "%.300s", string_of(answer, "msg"));
        rv = SLUICE_ERR_REFUSED;
    }
    for (size_t i = 0; rv == 0 && i < json_array_size(members); i++) {
        const json_t *member = json_array_get(members, i);
        const json_t *masters = json_object_get(json_object_get(member, "master"), "masters");
        for (size_t k = 0; k < json_array_size(masters); k++) {
            out->masters++;
            if (is_true(json_array_get(masters, k), "alive")) out->masters_alive++;
        }
        bool ok = take_leader(json_object_get(member, "leader"), out) &&
                  take_workers(json_object_get(json_object_get(member, "worker"), "workers"), source_id, out);
        if (!ok) rv = SLUICE_ERR_NOMEM;
    }
    json_decref(answer);
    return rv;
}

/* ---- the source's configuration: YAML in a string ---- */

static const yaml_node_t *yaml_get(yaml_document_t *doc, const yaml_node_t *map, const char *key)
{
    if (map == NULL || map->type != YAML_MAPPING_NODE) return NULL;
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *name = yaml_document_get_node(doc, p->key);
        if (name->type == YAML_SCALAR_NODE && strcmp((const char *)name->data.scalar.value, key) == 0)
            return yaml_document_get_node(doc, p->value);
    }
    return NULL;
}

static const char *yaml_text(yaml_document_t *doc, const yaml_node_t *map, const char *key)
{
    const yaml_node_t *node = yaml_get(doc, map, key);
    return node == NULL || node->type != YAML_SCALAR_NODE ? "" : (const char *)node->data.scalar.value;
}

static bool take_yaml(const char *text, struct dm_facts *f)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    bool ok = yaml_parser_load(&parser, &doc) != 0;
    if (ok) {
        const yaml_node_t *root = yaml_document_get_root_node(&doc), *from = yaml_get(&doc, root, "from");
        f->enable_gtid = strcmp(yaml_text(&doc, root, "enable-gtid"), "true") == 0;
        f->enable_relay = strcmp(yaml_text(&doc, root, "enable-relay"), "true") == 0;
        f->from_port = (unsigned)strtoul(yaml_text(&doc, from, "port"), NULL, 10);
        mem_free(f->flavor);
        mem_free(f->from_host);
        f->flavor = mem_strdup(yaml_text(&doc, root, "flavor"));
        f->from_host = mem_strdup(yaml_text(&doc, from, "host"));
        mem_free(f->from_user);
        f->from_user = mem_strdup(yaml_text(&doc, from, "user"));
        f->has_config = f->flavor != NULL && f->from_host != NULL && f->from_user != NULL && from != NULL;
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    return ok;
}

int dm_parse_source_config(const char *body, size_t len, struct dm_facts *out, char *error)
{
    int rv;
    json_t *answer = load(body, len, error, &rv);
    if (answer == NULL) return rv;
    if (!is_true(answer, "result")) {
        /* The words of every version (server.go: GetCfg); other failures leave it open whether the source is there. */
        out->is_absent = strcmp(string_of(answer, "msg"), "source not found") == 0;
        snprintf(error, DM_ERROR_LEN + 1, "%.300s", string_of(answer, "msg"));
        rv = SLUICE_ERR_REFUSED;
    } else if (!take_yaml(string_of(answer, "cfg"), out) || !out->has_config) {
        snprintf(error, DM_ERROR_LEN + 1, "the source's configuration, as DM gives it, cannot be read");
        rv = SLUICE_ERR_PROTOCOL;
    }
    json_decref(answer);
    return rv;
}

/* ---- orders ---- */

int dm_parse_operated(const char *body, size_t len, const char *source_id, char *error)
{
    int rv;
    json_t *answer = load(body, len, error, &rv);
    if (answer == NULL) return rv;
    const json_t *sources = json_object_get(answer, "sources");
    bool is_ours = false;
    if (!is_true(answer, "result")) {
        const char *msg = string_of(answer, "msg");
        /* start-task: where its pre-check failed, what failed is told apart, and msg is empty (server.go: StartTask) */
        snprintf(error, DM_ERROR_LEN + 1, "%.380s", *msg == '\0' ? string_of(answer, "checkResult") : msg);
        rv = SLUICE_ERR_REFUSED;
    }
    for (size_t i = 0; rv == 0 && i < json_array_size(sources); i++) {
        const json_t *entry = json_array_get(sources, i);
        if (strcmp(string_of(entry, "source"), source_id) != 0) continue;
        is_ours = true;
        if (is_true(entry, "result")) continue;
        snprintf(error, DM_ERROR_LEN + 1, "%.380s", string_of(entry, "msg"));
        rv = SLUICE_ERR_REFUSED;
    }
    if (rv == 0 && !is_ours) {
        snprintf(error, DM_ERROR_LEN + 1, "DM's answer does not name source %s", source_id);
        rv = SLUICE_ERR_PROTOCOL;
    }
    json_decref(answer);
    return rv;
}

void dm_parse_failure(int http_status, const char *body, size_t len, char *error)
{
    json_t *json = json_loadb(body == NULL ? "" : body, len, 0, NULL);
    if (json_is_object(json) && *string_of(json, "message") != '\0') {
        snprintf(error, DM_ERROR_LEN + 1, "HTTP %d: code %lld: %.320s", http_status,
                 json_integer_value(json_object_get(json, "code")), string_of(json, "message"));
    } else {
        char said[161];
        size_t n = body == NULL ? 0 : len < sizeof said - 1 ? len : sizeof said - 1;
        for (size_t i = 0; i < n; i++)
            said[i] = isprint((unsigned char)body[i]) ? body[i] : ' ';
        said[n] = '\0';
        snprintf(error, DM_ERROR_LEN + 1, "HTTP %d: %s", http_status, said);
    }
    json_decref(json);
}

char *dm_path_of(const char *name)
{
    struct text t = TEXT_INIT;
    for (const char *p = name; *p != '\0'; p++) {
        if (isalnum((unsigned char)*p) || strchr("-._~", *p) != NULL) {
            text_append(&t, p, 1);
        } else {
            text_printf(&t, "%%%02X", (unsigned char)*p);
        }
    }
    return t.len == 0 && t.status == 0 ? mem_strdup("") : text_take(&t);
}
