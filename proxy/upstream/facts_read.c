/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "sluice/gtid.h"
#include "upstream/answers.h"
#include "upstream/grants.h"
#include "upstream/queries.h"

/* Servers' numbers for "you may not": what is missing is then named by the grants. */
static bool is_denied(const struct upstream_error *error)
{
    return error->mysql_errno == 1227 || error->mysql_errno == 1142 || error->mysql_errno == 1044;
}

/* ---- variables: one statement; what a version does not have is not in its answer ---- */

static const char variables_sql[] =
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version','server_uuid','server_id','gtid_mode',"
    "'enforce_gtid_consistency','log_bin','log_replica_updates','log_slave_updates','binlog_format','binlog_row_image',"
    "'binlog_row_event_max_size','read_only','super_read_only','performance_schema_show_processlist','sync_binlog',"
    "'innodb_flush_log_at_trx_commit','replica_skip_errors','slave_skip_errors','replica_exec_mode','slave_exec_mode','"
    "time_zone',"
    "'system_time_zone','sql_mode','lower_case_table_names','character_set_server','collation_server',"
    "'proxy_protocol_networks')";

static const char *variable(const struct rows *r, const char *name)
{
    for (size_t i = 0; i < rows_count(r); i++) {
        const char *found = rows_text(r, i, 0);
        if (found != NULL && strcasecmp(found, name) == 0) return rows_text(r, i, 1);
    }
    return NULL;
}

static const char *variable2(const struct rows *r, const char *name, const char *old_name)
{
    const char *value = variable(r, name);
    return value != NULL ? value : variable(r, old_name);
}

static uint64_t variable_number(const struct rows *r, const char *name)
{
    const char *value = variable(r, name);
    return value == NULL ? 0 : strtoull(value, NULL, 10);
}

#define COPY(field, value) answers_copy((field), sizeof(field), (value))

static void take_variables(const struct rows *r, struct facts *f)
{
    COPY(f->version, variable(r, "version"));
    f->version_id = answers_version_id(f->version);
    f->is_mariadb = answers_is_mariadb(f->version);
    COPY(f->server_uuid, variable(r, "server_uuid"));
    f->server_id = (uint32_t)variable_number(r, "server_id");
    COPY(f->gtid_mode, variable(r, "gtid_mode"));
    COPY(f->enforce_gtid_consistency, variable(r, "enforce_gtid_consistency"));
    COPY(f->log_bin, variable(r, "log_bin"));
    COPY(f->log_replica_updates, variable2(r, "log_replica_updates", "log_slave_updates"));
    COPY(f->binlog_format, variable(r, "binlog_format"));
    COPY(f->binlog_row_image, variable(r, "binlog_row_image"));
    f->binlog_row_event_max_size = variable_number(r, "binlog_row_event_max_size");
    COPY(f->read_only, variable(r, "read_only"));
    COPY(f->super_read_only, variable(r, "super_read_only"));
    COPY(f->ps_show_processlist, variable(r, "performance_schema_show_processlist"));
    f->has_proxy_networks = variable(r, "proxy_protocol_networks") != NULL;
    COPY(f->proxy_networks, variable(r, "proxy_protocol_networks"));
    f->sync_binlog = variable_number(r, "sync_binlog");
    f->innodb_flush_log_at_trx_commit = variable_number(r, "innodb_flush_log_at_trx_commit");
    COPY(f->replica_skip_errors, variable2(r, "replica_skip_errors", "slave_skip_errors"));
    COPY(f->replica_exec_mode, variable2(r, "replica_exec_mode", "slave_exec_mode"));
    COPY(f->time_zone, variable(r, "time_zone"));
    COPY(f->system_time_zone, variable(r, "system_time_zone"));
    COPY(f->sql_mode, variable(r, "sql_mode"));
    COPY(f->lower_case_table_names, variable(r, "lower_case_table_names"));
    COPY(f->character_set_server, variable(r, "character_set_server"));
    COPY(f->collation_server, variable(r, "collation_server"));
}

static int read_variables(struct connector *c, struct facts *f, struct upstream_error *error)
{
    struct rows *r;
    int rv = connector_query(c, variables_sql, &r, error);
    if (rv != 0) return rv;
    take_variables(r, f);
    rows_del(r);
    return 0;
}

/* ---- time zone: two servers may mean different hours by one name, and one hour by two ---- */

#define OFFSET_AT(at) "TIMESTAMPDIFF(SECOND," at ",CONVERT_TZ(" at ",'+00:00',@@GLOBAL.time_zone))"

static const char offsets_sql[] = "SELECT " OFFSET_AT("'2026-01-15 00:00:00'") "," OFFSET_AT(
    "'2026-07-15 00:00:00'") "," OFFSET_AT("UTC_TIMESTAMP()");

static int read_offsets(struct connector *c, struct facts *f, struct upstream_error *error)
{
    struct rows *r;
    int rv = connector_query(c, offsets_sql, &r, error);
    if (rv != 0) return rv;
    const char *january = rows_text(r, 0, 0), *july = rows_text(r, 0, 1), *now = rows_text(r, 0, 2);
    if (january != NULL && july != NULL && now != NULL) {
        f->offsets = (struct facts_offsets){ .are_known = true,
                                             .january = (int32_t)strtol(january, NULL, 10),
                                             .july = (int32_t)strtol(july, NULL, 10),
                                             .now = (int32_t)strtol(now, NULL, 10) };
    }
    rows_del(r);
    return 0;
}

/* ---- replication channels ---- */

/* "Replicate_Do_DB=x Replicate_Ignore_Table=a.b": every column of |names| that is not empty. */
static char *filters_of(const struct rows *r, size_t row, const char *const *names)
{
    struct text out = TEXT_INIT;
    for (; *names != NULL; names++) {
        const char *value = rows_text_by_name(r, row, *names);
        if (value == NULL || *value == '\0') continue;
        text_printf(&out, "%s%s=%s", out.len == 0 ? "" : " ", *names, value);
    }
    return text_take(&out);
}

static char *last_error_of(const struct rows *r, size_t row)
{
    struct text out = TEXT_INIT;
    const char *io = rows_text_by_name(r, row, "Last_IO_Error");
    const char *sql = rows_text_by_name(r, row, "Last_SQL_Error");
    text_puts(&out, io);
    if (io != NULL && *io != '\0' && sql != NULL && *sql != '\0') text_puts(&out, "; ");
    text_puts(&out, sql);
    return text_take(&out);
}

static bool is_yes(const char *text)
{
    return text != NULL && strcasecmp(text, "Yes") == 0;
}

static int take_channel(const struct rows *r, size_t row, bool is_mariadb, struct facts_channel *ch,
                        struct upstream_error *error)
{
    static const char *const filters[] = { "Replicate_Do_DB",
                                           "Replicate_Ignore_DB",
                                           "Replicate_Do_Table",
                                           "Replicate_Ignore_Table",
                                           "Replicate_Wild_Do_Table",
                                           "Replicate_Wild_Ignore_Table",
                                           "Replicate_Ignore_Server_Ids",
                                           "Replicate_Rewrite_DB",
                                           "Replicate_Do_Domain_Ids",
                                           "Replicate_Ignore_Domain_Ids",
                                           NULL };
    const char *lag = answers_text2(r, row, "Seconds_Behind_Source", "Seconds_Behind_Master");
    const char *port = answers_text2(r, row, "Source_Port", "Master_Port");
    const char *auto_position = rows_text_by_name(r, row, "Auto_Position");
    COPY(ch->name, answers_text2(r, row, "Channel_Name", "Connection_name"));
    ch->io_running = is_yes(answers_text2(r, row, "Replica_IO_Running", "Slave_IO_Running"));
    ch->sql_running = is_yes(answers_text2(r, row, "Replica_SQL_Running", "Slave_SQL_Running"));
    ch->auto_position = auto_position != NULL && strcmp(auto_position, "1") == 0;
    ch->lag_s = lag == NULL ? -1 : strtoll(lag, NULL, 10);
    COPY(ch->source_uuid, answers_text2(r, row, "Source_UUID", "Master_UUID"));
    COPY(ch->source_user, answers_text2(r, row, "Source_User", "Master_User"));
    COPY(ch->source_host, answers_text2(r, row, "Source_Host", "Master_Host"));
    ch->source_port = port == NULL ? 0 : (uint16_t)strtoul(port, NULL, 10);
    ch->filters = filters_of(r, row, filters);
    ch->last_error = last_error_of(r, row);
    if (ch->filters == NULL || ch->last_error == NULL) return SLUICE_ERR_NOMEM;
    const char *retrieved = is_mariadb ? NULL : rows_text_by_name(r, row, "Retrieved_Gtid_Set");
    const char *executed = is_mariadb ? NULL : rows_text_by_name(r, row, "Executed_Gtid_Set");
    int rv = answers_gtid_set(retrieved, &ch->retrieved, error);
    return rv != 0 ? rv : answers_gtid_set(executed, &ch->executed, error);
}

static int read_channels(struct connector *c, struct facts *f, struct upstream_error *error)
{
    struct rows *r;
    struct upstream_error e = { 0 };
    int rv = answers_replica_status(c, &r, &e);
    if (rv == SLUICE_ERR_QUERY && is_denied(&e)) return 0;
    if (rv != 0) return upstream_error_set(error, rv, e.mysql_errno, "%s", e.text);
    size_t count = rows_count(r);
    if (count > 0) {
        f->channels = mem_calloc(count, sizeof *f->channels);
        if (f->channels == NULL) rv = SLUICE_ERR_NOMEM;
    }
    for (size_t i = 0; rv == 0 && i < count; i++) {
        f->channel_count++; /* what take_channel() leaves half done is freed with the rest */
        rv = take_channel(r, i, f->is_mariadb, &f->channels[i], error);
    }
    rows_del(r);
    return rv;
}

/* ---- filters of the server's own binlog ---- */

static int read_binlog_filters(struct connector *c, struct facts *f, struct upstream_error *error)
{
    static const char *const filters[] = { "Binlog_Do_DB", "Binlog_Ignore_DB", NULL };
    struct upstream_error e = { 0 };
    struct rows *r;
    bool is_old = f->is_mariadb || f->version_id < 80200;
    int rv = connector_query(c, is_old ? "SHOW MASTER STATUS" : "SHOW BINARY LOG STATUS", &r, &e);
    if (rv == SLUICE_ERR_QUERY && is_denied(&e)) {
        f->binlog_filters = mem_strdup("");
        return f->binlog_filters == NULL ? SLUICE_ERR_NOMEM : 0;
    }
    if (rv != 0) return upstream_error_set(error, rv, e.mysql_errno, "%s", e.text);
    f->binlog_filters = filters_of(r, 0, filters);
    rows_del(r);
    return f->binlog_filters == NULL ? SLUICE_ERR_NOMEM : 0;
}

/* ---- grants ---- */

static int read_grants(struct connector *c, struct facts *f, struct upstream_error *error)
{
    static const char *const needed_8[] = { "REPLICATION CLIENT", "PROCESS", "CONNECTION_ADMIN|SUPER", NULL };
    static const char *const needed_5[] = { "REPLICATION CLIENT", "PROCESS", "SUPER", NULL };
    static const char *const needed_mariadb[] = { "BINLOG MONITOR|REPLICATION CLIENT", "PROCESS",
                                                  "CONNECTION ADMIN|SUPER", NULL };
    struct rows *account = NULL, *grants = NULL;
    struct text missing = TEXT_INIT;
    int rv = connector_query(c, "SELECT CURRENT_USER()", &account, error);
    if (rv == 0) rv = connector_query(c, "SHOW GRANTS", &grants, error);
    if (rv == 0) {
        const char *name = rows_text(account, 0, 0);
        const char *const *needed = f->is_mariadb ? needed_mariadb : f->version_id < 80000 ? needed_5 : needed_8;
        grants_name_missing(grants, needed, name == NULL ? "" : name, &missing);
        f->has_system_user = grants_has(grants, "SYSTEM_USER");
        f->missing_grants = text_take(&missing);
        if (f->missing_grants == NULL) rv = SLUICE_ERR_NOMEM;
    }
    rows_del(grants);
    rows_del(account);
    return rv;
}

/* ---- all of it ---- */

static int read_gtids(struct connector *c, struct facts *f, struct upstream_error *error)
{
    int rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_owned", true, &f->owned, error);
    if (rv == 0) rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_executed", false, &f->executed, error);
    return rv;
}

/* MariaDB's GTIDs are other things; its sets stay empty and the checks refuse it by |is_mariadb|. */
static int no_gtids(struct facts *f)
{
    f->owned = gtid_set_new();
    f->executed = gtid_set_new();
    f->purged = gtid_set_new();
    return f->owned == NULL || f->executed == NULL || f->purged == NULL ? SLUICE_ERR_NOMEM : 0;
}

int facts_read(struct connector *c, struct facts *out, struct upstream_error *error)
{
    struct facts f = { 0 };
    bool is_mariadb = answers_is_mariadb(connector_server_version(c));
    int rv = is_mariadb ? no_gtids(&f) : read_gtids(c, &f, error);
    if (rv == 0) rv = read_variables(c, &f, error);
    if (rv == 0) rv = read_offsets(c, &f, error);
    if (rv == 0) rv = read_grants(c, &f, error);
    if (rv == 0) rv = read_channels(c, &f, error);
    if (rv == 0) rv = read_binlog_filters(c, &f, error);
    if (rv == 0 && !is_mariadb) {
        rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_purged", false, &f.purged, error);
    }
    if (rv != 0) {
        facts_free(&f);
        return rv == SLUICE_ERR_NOMEM ? upstream_error_set(error, rv, 0, "memory ran out") : rv;
    }
    *out = f;
    return 0;
}
