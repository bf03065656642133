/* SPDX-License-Identifier: Apache-2.0 */
/* The preconditions on the servers. A level that the list of preconditions leaves open is chosen here, with its reason. */
#include "core/checks.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_same(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

static void must_be(struct check_list *list, const char *id, const char *name, const char *server, const char *found,
                    const char *wanted, enum check_state otherwise)
{
    char todo[CHECK_TODO_LEN + 1];
    snprintf(todo, sizeof todo, "set %s = %s on %s", name, wanted, server);
    check_add(list, id, name, is_same(found, wanted) ? CHECK_OK : otherwise, todo, "%s on %s: %s", name, server,
              *found == '\0' ? "(no such variable)" : found);
}

bool facts_replicates_from(const struct facts *f, const char *uuid)
{
    for (uint32_t i = 0; i < f->channel_count; i++) {
        const struct facts_channel *c = &f->channels[i];
        if (c->io_running && c->sql_running && is_same(c->source_uuid, uuid)) return true;
    }
    return false;
}

bool facts_replicates(const struct facts *f)
{
    for (uint32_t i = 0; i < f->channel_count; i++) {
        if (f->channels[i].io_running && f->channels[i].sql_running) return true;
    }
    return false;
}

/* Which server is it: the pinned one, not the old one under another name, not one that was set back. */
static void add_identity(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    bool is_pinned = *in->new_pin == '\0' || is_same(in->new_pin, f->server_uuid);
    check_add(list, "C10", "server-uuid", is_pinned ? CHECK_OK : CHECK_FAIL,
              "another server answers there (reinstalled?): if that is meant, sluice repin SOURCE BACKEND",
              "%s: %s, pinned: %s", in->new_name, f->server_uuid, *in->new_pin == '\0' ? "(not yet)" : in->new_pin);
    bool is_other = *in->old_uuid == '\0' || !is_same(in->old_uuid, f->server_uuid);
    check_add(list, "C10", "another-server", is_other || in->may_be_one ? CHECK_OK : CHECK_FAIL,
              "both names lead to one server: correct the addresses of the backends", "%s and %s are %s: %s, %s",
              in->old_name, in->new_name, is_other ? "two servers" : "one server, by server_uuid",
              *in->old_uuid == '\0' ? "(not known)" : in->old_uuid, f->server_uuid);
    if (in->old_facts != NULL) {
        bool is_unique = in->old_facts->server_id != f->server_id || !is_other;
        check_add(list, "C10", "server-id", is_unique ? CHECK_OK : CHECK_FAIL,
                  "give each server of the group a server_id of its own", "%s: %" PRIu32 ", %s: %" PRIu32, in->old_name,
                  in->old_facts->server_id, in->new_name, f->server_id);
    }
    if (*in->latch != '\0') {
        check_add(list, "C05", "not-rewound", CHECK_FAIL,
                  "rebuild the server or restore what it lost; then sluice repin SOURCE BACKEND clears this", "%s: %s",
                  in->new_name, in->latch);
    }
    /* What the gate compares with is what the old server had, and it has that no more. */
    if (in->old_latch != NULL && *in->old_latch != '\0') {
        check_add(list, "C05", "not-rewound", CHECK_FAIL,
                  "its sets prove nothing any more: see which backend has what was delivered, then sluice adopt SOURCE "
                  "BACKEND",
                  "%s: %s", in->old_name, in->old_latch);
    }
}

/* MariaDB's GTIDs are another matter; DM breaks over two switches there (tiflow #10741). */
static void add_version(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    check_add(list, "C11", "version", f->is_mariadb ? CHECK_FAIL : CHECK_OK,
              "MariaDB's GTIDs are not supported: use a MySQL server", "%s: %s", in->new_name, f->version);
}

static void add_binlog(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    must_be(list, "C06", "gtid_mode", in->new_name, f->gtid_mode, "ON", CHECK_FAIL);
    must_be(list, "C06", "enforce_gtid_consistency", in->new_name, f->enforce_gtid_consistency, "ON", CHECK_FAIL);
    must_be(list, "C07", "log_bin", in->new_name, f->log_bin, "ON", CHECK_FAIL);
    must_be(list, "C07", "log_replica_updates", in->new_name, f->log_replica_updates, "ON", CHECK_FAIL);
    must_be(list, "C07", "binlog_format", in->new_name, f->binlog_format, "ROW", CHECK_FAIL);
    /* A reader that lived with less than FULL until now may go on; one that had FULL would miss columns. */
    bool had_full = in->old_facts == NULL || is_same(in->old_facts->binlog_row_image, "FULL");
    must_be(list, "C07", "binlog_row_image", in->new_name, f->binlog_row_image, "FULL",
            had_full ? CHECK_FAIL : CHECK_WARN);
    if (in->old_facts != NULL) {
        bool is_equal = in->old_facts->binlog_row_event_max_size == f->binlog_row_event_max_size;
        check_add(list, "C08", "binlog_row_event_max_size", is_equal ? CHECK_OK : CHECK_FAIL,
                  "set the same value on both: DM skips row events by their number (tiflow #5129)",
                  "%s: %" PRIu64 ", %s: %" PRIu64, in->old_name, in->old_facts->binlog_row_event_max_size, in->new_name,
                  f->binlog_row_event_max_size);
    }
    bool is_durable = f->sync_binlog == 1 && f->innodb_flush_log_at_trx_commit == 1;
    check_add(list, "C15", "durability", is_durable ? CHECK_OK : CHECK_WARN,
              "set both to 1: after a power loss the server may have fewer transactions than it delivered",
              "%s: sync_binlog %" PRIu64 ", innodb_flush_log_at_trx_commit %" PRIu64, in->new_name, f->sync_binlog,
              f->innodb_flush_log_at_trx_commit);
}

/* A number is not its content: the same GTID with other rows behind it is a loss that no set shows. */
static void add_content(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    bool is_filtered = false;
    for (uint32_t i = 0; i < f->channel_count; i++) {
        const struct facts_channel *c = &f->channels[i];
        if (c->filters == NULL || *c->filters == '\0') continue;
        is_filtered = true;
        check_add(list, "C09", "replication-filters", CHECK_FAIL,
                  "a filtered replica lacks rows under complete GTID sets: choose another server",
                  "%s, channel '%s': %s", in->new_name, c->name, c->filters);
    }
    if (!is_filtered) check_add(list, "C09", "replication-filters", CHECK_OK, "", "%s: none", in->new_name);
    /* What its own binlog leaves out, no reader ever gets; as it was on the old one the reader knows it no other way. */
    const char *left_out = f->binlog_filters == NULL ? "" : f->binlog_filters;
    bool was_so = in->old_settings != NULL && in->old_settings->binlog_filters != NULL &&
                  strcmp(in->old_settings->binlog_filters, left_out) == 0;
    check_add(list, "C09", "binlog-filters",
              *left_out == '\0' ? CHECK_OK
              : was_so          ? CHECK_WARN
                                : CHECK_FAIL,
              "its binlog leaves databases out: take binlog_do_db and binlog_ignore_db away and rebuild it, or choose "
              "another",
              "%s: %s%s", in->new_name, *left_out == '\0' ? "none" : left_out,
              *left_out != '\0' && was_so ? ", as on the old server" : "");
    bool skips = *f->replica_skip_errors != '\0' && !is_same(f->replica_skip_errors, "OFF");
    check_add(list, "C09", "replica_skip_errors", skips ? CHECK_FAIL : CHECK_OK,
              "a replica that skips errors may lack rows: choose another server, or rebuild this one", "%s: %s",
              in->new_name, *f->replica_skip_errors == '\0' ? "OFF" : f->replica_skip_errors);
    bool is_idempotent = is_same(f->replica_exec_mode, "IDEMPOTENT");
    check_add(list, "C09", "replica_exec_mode", is_idempotent ? CHECK_FAIL : CHECK_OK,
              "IDEMPOTENT hides rows that differ: choose another server, or rebuild this one with STRICT", "%s: %s",
              in->new_name, *f->replica_exec_mode == '\0' ? "STRICT" : f->replica_exec_mode);
}

static void add_account(struct check_list *list, const char *name, const struct facts *f)
{
    bool has_all = f->missing_grants == NULL || *f->missing_grants == '\0';
    check_add(list, "C12", "grants", has_all ? CHECK_OK : CHECK_FAIL, has_all ? "" : f->missing_grants,
              has_all ? "%s: Sluice's account has what it needs" : "%s: Sluice's account lacks: %s", name,
              has_all ? "" : f->missing_grants);
    bool shows = !is_same(f->ps_show_processlist, "ON");
    check_add(list, "C14", "processlist", shows ? CHECK_OK : CHECK_FAIL,
              "SET GLOBAL performance_schema_show_processlist = OFF: with it on, SHOW PROCESSLIST can be empty without "
              "an error",
              "%s: performance_schema_show_processlist %s", name,
              *f->ps_show_processlist == '\0' ? "OFF" : f->ps_show_processlist);
}

static void add_replication(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    int64_t lag_s = -1;
    for (uint32_t i = 0; i < f->channel_count; i++) {
        if (is_same(f->channels[i].source_uuid, in->old_uuid)) lag_s = f->channels[i].lag_s;
    }
    if (facts_replicates_from(f, in->old_uuid)) {
        check_add(list, "C15", "replication", CHECK_OK, "", "%s replicates from %s, %" PRId64 " s behind", in->new_name,
                  in->old_name, lag_s);
    } else { /* it may replicate by way of a third server, or all was written already: the gate decides by sets */
        check_add(list, "C15", "replication", CHECK_WARN, "what it lacks will not come by itself: START REPLICA there",
                  "%s does not replicate from %s at the moment", in->new_name, in->old_name);
    }
}

/* A server that does not read the header takes it for a client's first packet, and ends every connection. */
static void add_proxy_header(struct check_list *list, const struct checks_servers *in)
{
    const struct facts *f = in->new_facts;
    if (!in->clients_are_told) return;
    if (!f->has_proxy_networks) {
        check_add(
            list, "C16", "proxy-protocol", CHECK_WARN,
            "set proxy-protocol.send: off, unless something on the server's own host reads the header for it",
            "%s: has no variable proxy_protocol_networks: it reads no PROXY header, and clients are going to send one",
            in->new_name);
    } else if (*f->proxy_networks == '\0') {
        check_add(list, "C16", "proxy-protocol", CHECK_FAIL,
                  "set proxy_protocol_networks there to Sluice's address, or proxy-protocol.send: off",
                  "%s: proxy_protocol_networks is empty: it would end every client's connection", in->new_name);
    } else {
        check_add(list, "C16", "proxy-protocol", CHECK_OK, "", "%s: proxy_protocol_networks %s", in->new_name,
                  f->proxy_networks);
    }
}

void checks_add_servers(struct check_list *list, const struct checks_servers *in)
{
    add_identity(list, in);
    add_version(list, in);
    add_proxy_header(list, in);
    if (in->new_facts->is_mariadb) return; /* its variables have other meanings */
    add_binlog(list, in);
    add_content(list, in);
    checks_add_cached(list, in);
    add_account(list, in->new_name, in->new_facts);
    if (in->old_facts != NULL) {
        bool is_one = in->may_be_one && is_same(in->old_uuid, in->new_facts->server_uuid);
        add_account(list, in->old_name, in->old_facts);
        if (!is_one) add_replication(list, in);
    }
}
