/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/queries.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"
#include "upstream/answers.h"

/* ---- GTIDs ---- */

void gtids_free(struct gtids *g)
{
    gtid_set_del(g->owned);
    gtid_set_del(g->executed);
    gtid_set_del(g->purged);
    *g = (struct gtids){ 0 };
}

static int read_server_uuid(struct connector *c, char *out, size_t room, struct upstream_error *error)
{
    struct rows *r;
    out[0] = '\0';
    if (answers_is_mariadb(connector_server_version(c))) return 0;
    int rv = connector_query(c, "SELECT @@GLOBAL.server_uuid", &r, error);
    if (rv != 0) return rv;
    answers_copy(out, room, rows_text(r, 0, 0));
    rows_del(r);
    return 0;
}

int gtids_read(struct connector *c, struct gtids *out, struct upstream_error *error)
{
    struct gtids g = { 0 };
    int rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_owned", true, &g.owned, error);
    if (rv == 0) rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_executed", false, &g.executed, error);
    if (rv == 0) rv = answers_select_gtid_set(c, "SELECT @@GLOBAL.gtid_purged", false, &g.purged, error);
    if (rv == 0) rv = read_server_uuid(c, g.server_uuid, sizeof g.server_uuid, error);
    if (rv != 0) {
        gtids_free(&g);
        return rv;
    }
    *out = g;
    return 0;
}

/* ---- processlist ---- */

void processlist_free(struct processlist *p)
{
    mem_free(p->rows);
    *p = (struct processlist){ 0 };
}

#define COPY(field, value) answers_copy((field), sizeof(field), (value))

static void take_row(const struct rows *r, size_t row, struct threads_row *out)
{
    const char *id = rows_text_by_name(r, row, "Id");
    const char *time = rows_text_by_name(r, row, "Time");
    out->id = id == NULL ? 0 : strtoull(id, NULL, 10);
    out->time_s = time == NULL ? 0 : strtoll(time, NULL, 10);
    COPY(out->user, rows_text_by_name(r, row, "User"));
    COPY(out->host, rows_text_by_name(r, row, "Host"));
    COPY(out->command, rows_text_by_name(r, row, "Command"));
    COPY(out->state, rows_text_by_name(r, row, "State"));
    COPY(out->info, rows_text_by_name(r, row, "Info"));
}

static int read_own_id(struct connector *c, uint64_t *out, struct upstream_error *error)
{
    struct rows *r;
    int rv = connector_query(c, "SELECT CONNECTION_ID()", &r, error);
    if (rv != 0) return rv;
    const char *id = rows_text(r, 0, 0);
    *out = id == NULL ? 0 : strtoull(id, NULL, 10);
    rows_del(r);
    return 0;
}

/* Without our own row the list is not what the server has: performance_schema_show_processlist hides rows without an error. */
static int find_own_row(struct processlist *p, struct upstream_error *error)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->rows[i].id != p->own_id) continue;
        COPY(p->own_host, p->rows[i].host);
        COPY(p->own_user, p->rows[i].user);
        return 0;
    }
    return upstream_error_set(error, SLUICE_ERR_PROTOCOL, 0,
                              "SHOW PROCESSLIST does not show the connection that asks; set the server's global "
                              "performance_schema_show_processlist to OFF");
}

static int read_rows(struct connector *c, struct processlist *p, struct upstream_error *error)
{
    struct rows *r;
    int rv = connector_query(c, "SHOW PROCESSLIST", &r, error);
    if (rv != 0) return rv;
    size_t count = rows_count(r);
    p->rows = mem_calloc(count, sizeof *p->rows);
    if (p->rows != NULL) {
        p->count = count;
        for (size_t i = 0; i < count; i++)
            take_row(r, i, &p->rows[i]);
    } else {
        rv = upstream_error_set(error, SLUICE_ERR_NOMEM, 0, "memory ran out");
    }
    rows_del(r);
    return rv;
}

int processlist_read(struct connector *c, struct processlist *out, struct upstream_error *error)
{
    struct processlist p = { 0 };
    int rv = read_server_uuid(c, p.server_uuid, sizeof p.server_uuid, error);
    if (rv == 0) rv = read_own_id(c, &p.own_id, error);
    if (rv == 0) rv = read_rows(c, &p, error);
    if (rv == 0) rv = find_own_row(&p, error);
    if (rv != 0) {
        processlist_free(&p);
        return rv;
    }
    *out = p;
    return 0;
}

/* ---- kill ---- */

static const struct threads_row *find_thread(const struct processlist *p, const struct kill_order *order)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->rows[i].id == order->id && threads_host_same(p->rows[i].host, order->host)) return &p->rows[i];
    }
    return NULL;
}

static int kill_one(struct connector *c, const struct processlist *p, struct kill_order *order,
                    struct upstream_error *error)
{
    char sql[40];
    struct upstream_error e = { 0 };
    const struct threads_row *row = find_thread(p, order);
    if (row == NULL || row->id == p->own_id) {
        order->result = KILL_GONE;
        return 0;
    }
    COPY(order->user, row->user);
    snprintf(sql, sizeof sql, "KILL %" PRIu64, order->id);
    int rv = connector_query(c, sql, NULL, &e);
    if (rv == 0) {
        order->result = KILL_DONE;
        return 0;
    }
    if (rv != SLUICE_ERR_QUERY) return upstream_error_set(error, rv, e.mysql_errno, "%s", e.text);
    COPY(order->error_text, e.text);
    order->result = e.mysql_errno == 1094                            ? KILL_GONE
                    : e.mysql_errno == 1095 || e.mysql_errno == 1227 ? KILL_DENIED
                                                                     : KILL_FAILED;
    return 0;
}

int kill_threads(struct connector *c, struct kill_order *orders, size_t count, struct upstream_error *error)
{
    struct processlist p;
    for (size_t i = 0; i < count; i++) {
        orders[i].result = KILL_PENDING;
        orders[i].user[0] = orders[i].error_text[0] = '\0';
    }
    int rv = processlist_read(c, &p, error);
    if (rv != 0) return rv;
    for (size_t i = 0; rv == 0 && i < count; i++)
        rv = kill_one(c, &p, &orders[i], error);
    processlist_free(&p);
    return rv;
}
