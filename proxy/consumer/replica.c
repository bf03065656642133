/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "consumer/kinds.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "sluice/gtid.h"
#include "upstream/answers.h"
#include "upstream/grants.h"

enum { CONFIRM_EVERY_MS = 50 };

static bool has_replica_words(struct connector *c)
{
    return answers_version_id(connector_server_version(c)) >= 80022;
}

/* ---- status ---- */

static int no_memory(struct upstream_error *error)
{
    return upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
}

/* The first refusal stays: it is what to do first. */
static void refuse(struct consumer_status *s, const char *fmt, ...) SLUICE_PRINTF(2, 3);
static void refuse(struct consumer_status *s, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (s->refusal != NULL) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->refusal = mem_strdup(text);
}

static bool is_text(const char *value, const char *want)
{
    return value != NULL && strcasecmp(value, want) == 0;
}

static bool has_text(const char *value)
{
    return value != NULL && *value != '\0';
}

static char *detail_of(const struct rows *r, size_t row)
{
    struct text t = TEXT_INIT;
    const char *io = answers_text2(r, row, "Replica_IO_Running", "Slave_IO_Running");
    const char *sql = answers_text2(r, row, "Replica_SQL_Running", "Slave_SQL_Running");
    const char *io_error = rows_text_by_name(r, row, "Last_IO_Error");
    const char *sql_error = rows_text_by_name(r, row, "Last_SQL_Error");
    text_printf(&t, "IO thread %s, SQL thread %s", io == NULL ? "?" : io, sql == NULL ? "?" : sql);
    if (has_text(io_error)) text_printf(&t, "; IO error: %s", io_error);
    if (has_text(sql_error)) text_printf(&t, "; SQL error: %s", sql_error);
    return text_take(&t);
}

/* A replica that stopped by an error does not start again by itself; one that cannot connect tries for ever. */
static enum consumer_stage stage_of(const struct rows *r, size_t row)
{
    const char *io = answers_text2(r, row, "Replica_IO_Running", "Slave_IO_Running");
    const char *sql = answers_text2(r, row, "Replica_SQL_Running", "Slave_SQL_Running");
    bool has_error =
        has_text(rows_text_by_name(r, row, "Last_IO_Error")) || has_text(rows_text_by_name(r, row, "Last_SQL_Error"));
    if (io == NULL || sql == NULL) return CONSUMER_STAGE_UNKNOWN;
    if (is_text(io, "No") && is_text(sql, "No")) {
        return has_error ? CONSUMER_STAGE_STOPPED : CONSUMER_STAGE_PAUSED_BY_COMMAND;
    }
    if (is_text(io, "Connecting")) return CONSUMER_STAGE_IN_MOTION;
    return CONSUMER_STAGE_RUNNING;
}

/*
 * S = retrieved ∪ executed. What the replica wrote itself (its own server_uuid) never came from the source, unless it is in the
 * retrieved set: it says nothing about what a source must have.
 */
static int position_of(struct connector *c, const struct rows *r, size_t row, struct gtid_set **out,
                       struct upstream_error *error)
{
    struct rows *uuid_row = NULL;
    struct gtid_set *retrieved = NULL, *executed = NULL, *others = NULL;
    uint8_t uuid[GTID_UUID_BYTES];
    int rv = connector_query(c, "SELECT @@GLOBAL.server_uuid", &uuid_row, error);
    if (rv == 0) rv = answers_gtid_set(rows_text_by_name(r, row, "Retrieved_Gtid_Set"), &retrieved, error);
    if (rv == 0) rv = answers_gtid_set(rows_text_by_name(r, row, "Executed_Gtid_Set"), &executed, error);
    const char *text = rv == 0 ? rows_text(uuid_row, 0, 0) : NULL;
    if (rv == 0 && (text == NULL || gtid_uuid_parse(text, strlen(text), uuid) != 0)) {
        rv = upstream_error_set(error, SLUICE_ERR_PROTOCOL, 0, "the consumer shows no server_uuid");
    }
    if (rv == 0 && gtid_set_without_uuid(executed, uuid, &others) != 0) rv = no_memory(error);
    if (rv == 0 && gtid_set_add_set(others, retrieved) != 0) rv = no_memory(error);
    if (rv == 0) {
        *out = others;
        others = NULL;
    }
    rows_del(uuid_row);
    gtid_set_del(retrieved);
    gtid_set_del(executed);
    gtid_set_del(others);
    return rv;
}

static int take_channel(struct connector *c, const struct rows *r, size_t row, const char *channel,
                        struct consumer_status *s, struct upstream_error *error)
{
    struct text name = TEXT_INIT;
    const char *host = answers_text2(r, row, "Source_Host", "Master_Host");
    const char *port = answers_text2(r, row, "Source_Port", "Master_Port");
    const char *user = answers_text2(r, row, "Source_User", "Master_User");
    s->tasks = mem_calloc(1, sizeof *s->tasks);
    if (s->tasks == NULL) return no_memory(error);
    s->task_count = 1;
    struct consumer_task *task = &s->tasks[0];
    text_printf(&name, "channel '%s'", channel);
    task->name = text_take(&name);
    task->detail = detail_of(r, row);
    task->stage = stage_of(r, row);
    task->is_reading = !is_text(answers_text2(r, row, "Replica_IO_Running", "Slave_IO_Running"), "No");
    task->is_applying = is_text(answers_text2(r, row, "Replica_SQL_Running", "Slave_SQL_Running"), "Yes");
    s->source_host = mem_strdup(host == NULL ? "" : host);
    s->source_user = mem_strdup(user == NULL ? "" : user);
    s->source_port = port == NULL ? 0 : (unsigned)strtoul(port, NULL, 10);
    if (task->name == NULL || task->detail == NULL || s->source_host == NULL || s->source_user == NULL)
        return no_memory(error);
    if (!is_text(rows_text_by_name(r, row, "Auto_Position"), "1")) {
        refuse(
            s,
            "the replica reads by file and position, which mean another thing on another server: STOP REPLICA; CHANGE "
            "REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1 FOR CHANNEL '%s'; START REPLICA",
            channel);
    }
    return position_of(c, r, row, &task->s, error);
}

static int check_grants(struct connector *c, struct consumer_status *s, struct upstream_error *error)
{
    static const char *const needed_8[] = { "REPLICATION_SLAVE_ADMIN|SUPER", NULL };
    static const char *const needed_5[] = { "SUPER", NULL };
    bool is_old = answers_version_id(connector_server_version(c)) < 80000;
    struct rows *account = NULL, *grants = NULL;
    struct text missing = TEXT_INIT;
    int rv = connector_query(c, "SELECT CURRENT_USER()", &account, error);
    if (rv == 0) rv = connector_query(c, "SHOW GRANTS", &grants, error);
    if (rv == 0) {
        const char *name = rows_text(account, 0, 0);
        grants_name_missing(grants, is_old ? needed_5 : needed_8, name == NULL ? "" : name, &missing);
        if (missing.len > 0) refuse(s, "the account cannot stop and start the replica: %s", text_str(&missing));
    }
    text_free(&missing);
    rows_del(grants);
    rows_del(account);
    return rv;
}

static size_t find_channel(const struct rows *r, const char *channel)
{
    size_t row = 0;
    for (; row < rows_count(r); row++) {
        const char *name = rows_text_by_name(r, row, "Channel_Name");
        if (strcasecmp(name == NULL ? "" : name, channel) == 0) break;
    }
    return row;
}

static int fill_status(struct connector *c, const char *channel, struct consumer_status *s,
                       struct upstream_error *error)
{
    struct rows *r;
    if (answers_is_mariadb(connector_server_version(c))) {
        refuse(s, "the consumer is a MariaDB server, whose GTIDs are not MySQL's: use a consumer of type manual");
        return s->refusal == NULL ? no_memory(error) : 0;
    }
    int rv = answers_replica_status(c, &r, error);
    if (rv == SLUICE_ERR_QUERY && error != NULL && error->mysql_errno == 1227) {
        refuse(s, "the account may not read the replica's status: GRANT REPLICATION CLIENT ON *.* to it (%s)",
               error->text);
        return s->refusal == NULL ? no_memory(error) : 0;
    }
    if (rv != 0) return rv;
    size_t row = find_channel(r, channel);
    if (row < rows_count(r)) {
        s->is_known = true;
        rv = take_channel(c, r, row, channel, s, error);
    } else {
        refuse(
            s,
            "the consumer has no replication channel '%s': CHANGE REPLICATION SOURCE TO … FOR CHANNEL '%s', or correct "
            "consumer.channel",
            channel, channel);
    }
    rows_del(r);
    return rv != 0 ? rv : check_grants(c, s, error);
}

int replica_read_status(struct connector *c, const char *channel, struct consumer_status *out,
                        struct upstream_error *error)
{
    struct consumer_status s = { 0 };
    struct upstream_error unused;
    int rv = fill_status(c, channel, &s, error == NULL ? &unused : error);
    if (rv != 0) {
        consumer_status_free(&s);
        return rv;
    }
    *out = s;
    return 0;
}

/* ---- pause and resume ---- */

static int denied(const char *what, int rv, struct upstream_error *error)
{
    if (rv != SLUICE_ERR_QUERY || error->mysql_errno != 1227) return rv;
    char said[UPSTREAM_ERROR_TEXT_LEN + 1];
    memcpy(said, error->text, sizeof said);
    return upstream_error_set(error, SLUICE_ERR_ACCESS_DENIED, 1227,
                              "the account cannot %s the replica: GRANT REPLICATION_SLAVE_ADMIN ON *.* to it (%.300s)",
                              what, said);
}

/* |verb| "STOP" or "START", |threads| "IO_THREAD" …. Stopping what is off and starting what runs is a note, not an error. */
static int order(struct connector *c, const char *verb, const char *threads, const char *channel,
                 struct upstream_error *error)
{
    struct text sql = TEXT_INIT;
    char *quoted = connector_quote(channel);
    if (quoted == NULL) return no_memory(error);
    text_printf(&sql, "%s %s %s FOR CHANNEL %s", verb, has_replica_words(c) ? "REPLICA" : "SLAVE", threads, quoted);
    mem_free(quoted);
    int rv = sql.status != 0 ? no_memory(error) : connector_query(c, text_str(&sql), NULL, error);
    text_free(&sql);
    return denied(*verb == 'S' && verb[2] == 'O' ? "stop" : "start", rv, error);
}

/* 0 when what the plan names is off, SLUICE_ERR_BUSY while it is not. */
static int is_off(struct connector *c, const struct replica_plan *plan, struct upstream_error *error)
{
    struct rows *r;
    int rv = answers_replica_status(c, &r, error);
    if (rv != 0) return rv;
    size_t row = find_channel(r, plan->channel);
    const char *io = answers_text2(r, row, "Replica_IO_Running", "Slave_IO_Running");
    const char *sql = answers_text2(r, row, "Replica_SQL_Running", "Slave_SQL_Running");
    if ((plan->io && !is_text(io, "No")) || (plan->sql && !is_text(sql, "No"))) rv = SLUICE_ERR_BUSY;
    rows_del(r);
    return rv;
}

int replica_pause(struct connector *c, const struct replica_plan *plan, struct upstream_error *error)
{
    int rv = 0;
    /* The reader first: what it has whole is then fixed, and the applier ends at a transaction's end. */
    if (plan->io) rv = order(c, "STOP", "IO_THREAD", plan->channel, error);
    if (rv == 0 && plan->sql) rv = order(c, "STOP", "SQL_THREAD", plan->channel, error);
    /* 1875, 3081: the server has waited as long as it does, and goes on stopping. */
    if (rv == SLUICE_ERR_QUERY && (error->mysql_errno == 1875 || error->mysql_errno == 3081)) rv = 0;
    if (rv != 0) return rv;
    while ((rv = is_off(c, plan, error)) == SLUICE_ERR_BUSY) {
        rv = connector_pause(c, CONFIRM_EVERY_MS, error);
        if (rv != 0) return rv;
    }
    return rv;
}

int replica_resume(struct connector *c, const struct replica_plan *plan, struct upstream_error *error)
{
    if (!plan->io && !plan->sql) return 0;
    const char *threads = !plan->sql ? "IO_THREAD" : !plan->io ? "SQL_THREAD" : "IO_THREAD, SQL_THREAD";
    return order(c, "START", threads, plan->channel, error);
}

int replica_is_resumed(const struct replica_plan *plan, const struct consumer_status *status,
                       struct upstream_error *error)
{
    if (!plan->io && !plan->sql) return 0;
    if (status->task_count != 1) {
        return upstream_error_set(error, SLUICE_ERR_QUERY, 0, "%s",
                                  status->refusal == NULL ? "the channel is gone" : status->refusal);
    }
    const struct consumer_task *task = &status->tasks[0];
    if ((plan->io && !task->is_reading) || (plan->sql && !task->is_applying)) {
        return upstream_error_set(error, SLUICE_ERR_QUERY, 0, "%s does not run: %s", task->name, task->detail);
    }
    if (plan->io && task->stage == CONSUMER_STAGE_IN_MOTION) {
        return upstream_error_set(error, SLUICE_ERR_BUSY, 0, "%s is connecting: %s", task->name, task->detail);
    }
    return 0;
}

/* ---- the plan ---- */

char *replica_plan_write(const struct replica_plan *plan)
{
    json_t *json = json_pack("{s:s, s:s, s:b, s:b}", "type", "replica", "channel", plan->channel, "io",
                             plan->io ? 1 : 0, "sql", plan->sql ? 1 : 0);
    if (json == NULL) return NULL;
    char *text = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
    char *copy = text == NULL ? NULL : mem_strdup(text); /* jansson's memory is not ours to hand out */
    free(text);
    json_decref(json);
    return copy;
}

int replica_plan_read(const char *text, struct replica_plan *out)
{
    const char *type, *channel;
    int io, sql;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    int rv = SLUICE_ERR_INVALID;
    if (json != NULL &&
        json_unpack(json, "{s:s, s:s, s:b, s:b}", "type", &type, "channel", &channel, "io", &io, "sql", &sql) == 0 &&
        strcmp(type, "replica") == 0 && strlen(channel) < sizeof out->channel) {
        *out = (struct replica_plan){ .io = io != 0, .sql = sql != 0 };
        memcpy(out->channel, channel, strlen(channel) + 1);
        rv = 0;
    }
    json_decref(json);
    return rv;
}
