/* SPDX-License-Identifier: Apache-2.0 */
/* store_sqlite.c - transactions into SQLite, and records out of it. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "journal/change.h"
#include "journal/journal.h"
#include "journal/store.h"
#include "journal/store_sqlite.h"

enum {
    LOG_PAGES_IDLE = 64,  /* worth a checkpoint when nobody waits */
    LOG_PAGES_MAX = 2000, /* 8 MB: a checkpoint now, whoever waits */
};

const char *store_error(const struct store *s)
{
    return s->error;
}

static int remember(struct store *s, const char *what)
{
    int code = sqlite3_system_errno(s->db);
    snprintf(s->error, sizeof s->error, "%s: %s (%d)%s%s", what, sqlite3_errmsg(s->db), sqlite3_extended_errcode(s->db),
             code == 0 ? "" : ": ", code == 0 ? "" : strerror(code));
    return SLUICE_ERR_JOURNAL;
}

/* A statement that is being filled. */
struct binder {
    sqlite3_stmt *stmt;
    int index;
    int rc;
};

/* |value| stays valid until the statement is reset. */
static void bind_text(struct binder *b, const char *value)
{
    if (b->rc == SQLITE_OK) b->rc = sqlite3_bind_text(b->stmt, b->index, value, -1, SQLITE_STATIC);
    b->index++;
}

static void bind_number(struct binder *b, uint64_t value)
{
    if (b->rc == SQLITE_OK) b->rc = sqlite3_bind_int64(b->stmt, b->index, (sqlite3_int64)value);
    b->index++;
}

/* What a failed step means to a transaction: a constraint is the caller's matter, all else the storage's. */
static int judge(struct store *s, int rc)
{
    if (rc == SQLITE_CONSTRAINT_UNIQUE) return SLUICE_ERR_BUSY; /* switch_open: the only unique index that is no key */
    if ((rc & 0xff) == SQLITE_CONSTRAINT) return SLUICE_ERR_INVALID;
    return remember(s, "apply");
}

static int run(struct store *s, struct binder *b)
{
    int rc = b->rc == SQLITE_OK ? sqlite3_step(b->stmt) : b->rc;
    int rv = rc == SQLITE_DONE ? 0 : judge(s, rc);
    sqlite3_reset(b->stmt);
    sqlite3_clear_bindings(b->stmt);
    return rv;
}

static int run_plain(struct store *s, enum store_stmt stmt, const char *what)
{
    int rc = sqlite3_step(s->stmts[stmt]);
    int rv = rc == SQLITE_DONE ? 0 : remember(s, what);
    sqlite3_reset(s->stmts[stmt]);
    return rv;
}

static int apply_source(struct store *s, const struct record_source *r)
{
    struct binder b = { .stmt = s->stmts[STORE_SOURCE_PUT], .index = 1 };
    bind_text(&b, r->source_id);
    bind_number(&b, r->has_record);
    bind_text(&b, r->active);
    bind_number(&b, r->epoch);
    bind_number(&b, r->is_held);
    bind_text(&b, r->accepted_loss);
    bind_text(&b, r->latch);
    bind_text(&b, r->latch_backend);
    bind_number(&b, r->has_moved);
    int rv = run(s, &b);
    return rv == 0 && sqlite3_changes(s->db) == 0 ? SLUICE_ERR_INVALID : rv;
}

static int apply_pin(struct store *s, const struct record_pin *r)
{
    struct binder b = { .stmt = s->stmts[STORE_PIN_PUT], .index = 1 };
    bind_text(&b, r->source_id);
    bind_text(&b, r->backend);
    bind_text(&b, r->server_uuid);
    bind_text(&b, r->executed);
    bind_number(&b, r->updated_unix_ms);
    return run(s, &b);
}

static int apply_pin_remove(struct store *s, const struct record_pin *r)
{
    struct binder b = { .stmt = s->stmts[STORE_PIN_REMOVE], .index = 1 };
    bind_text(&b, r->source_id);
    bind_text(&b, r->backend);
    return run(s, &b);
}

static int run_switch(struct store *s, enum store_stmt stmt, const struct record_switch *r,
                      enum record_switch_state state)
{
    struct binder b = { .stmt = s->stmts[stmt], .index = stmt == STORE_SWITCH_BEGIN ? 2 : 1 };
    if (stmt == STORE_SWITCH_PUT) bind_number(&b, r->number);
    bind_text(&b, r->source_id);
    bind_text(&b, r->from);
    bind_text(&b, r->to);
    bind_number(&b, r->epoch_from);
    bind_number(&b, r->epoch_to);
    bind_number(&b, state);
    bind_text(&b, r->phase);
    bind_text(&b, r->plan);
    bind_text(&b, r->options);
    bind_number(&b, r->started_unix_ms);
    bind_number(&b, r->ended_unix_ms);
    bind_number(&b, (uint64_t)(int64_t)r->exit_code);
    bind_text(&b, r->msg);
    bind_text(&b, r->report);
    return run(s, &b);
}

static int apply_switch_begin(struct store *s, const struct record_switch *r, uint64_t *out_number)
{
    int rv = run_switch(s, STORE_SWITCH_BEGIN, r, RECORD_SWITCH_OPEN);
    if (rv == 0) *out_number = (uint64_t)sqlite3_last_insert_rowid(s->db);
    return rv;
}

static int apply_switch_put(struct store *s, const struct record_switch *r)
{
    int rv = run_switch(s, STORE_SWITCH_PUT, r, r->state);
    if (rv != 0 || sqlite3_changes(s->db) > 0) return rv;
    struct record_switch found = { 0 };
    rv = store_switch_get(s, r->number, &found);
    if (rv == 0) rv = strcmp(found.source_id, r->source_id) == 0 ? SLUICE_ERR_INVALID : SLUICE_ERR_NOT_FOUND;
    record_switch_free(&found);
    return rv;
}

static int apply_change(struct store *s, const struct journal_change *c, uint64_t *out_number)
{
    switch (c->type) {
    case CHANGE_SOURCE_PUT: return apply_source(s, &c->record.source);
    case CHANGE_PIN_PUT: return apply_pin(s, &c->record.pin);
    case CHANGE_PIN_REMOVE: return apply_pin_remove(s, &c->record.pin);
    case CHANGE_SWITCH_BEGIN: return apply_switch_begin(s, &c->record.change, out_number);
    case CHANGE_SWITCH_PUT: return apply_switch_put(s, &c->record.change);
    }
    abort();
}

int store_begin(struct store *s)
{
    return run_plain(s, STORE_BEGIN, "begin");
}

int store_apply(struct store *s, const struct journal_txn *txn, uint64_t *out_number)
{
    uint64_t number = 0;
    int rv = run_plain(s, STORE_SAVEPOINT, "savepoint");
    if (rv != 0) return rv;
    for (const struct journal_change *c = txn->first; c != NULL && rv == 0; c = c->next)
        rv = apply_change(s, c, &number);
    if (rv == 0) rv = run_plain(s, STORE_SAVEPOINT_END, "release");
    if (rv == 0) {
        *out_number = number;
        return 0;
    }
    if (rv == SLUICE_ERR_JOURNAL || rv == SLUICE_ERR_NOMEM) return SLUICE_ERR_JOURNAL;
    if (run_plain(s, STORE_SAVEPOINT_UNDO, "undo") != 0 || run_plain(s, STORE_SAVEPOINT_END, "release") != 0)
        return SLUICE_ERR_JOURNAL;
    return rv;
}

int store_commit(struct store *s)
{
    int rv = run_plain(s, STORE_COMMIT, "commit");
    if (rv != 0) store_abandon(s);
    return rv;
}

/* Many errors of the disk end the transaction by themselves. */
void store_abandon(struct store *s)
{
    s->has_failed = true;
    if (sqlite3_get_autocommit(s->db) != 0) return;
    sqlite3_step(s->stmts[STORE_ROLLBACK]);
    sqlite3_reset(s->stmts[STORE_ROLLBACK]);
}

static bool is_worth_it(const struct store *s, bool is_idle)
{
    return s->log_pages >= s->log_pages_failed + (is_idle ? LOG_PAGES_IDLE : LOG_PAGES_MAX);
}

/*
 * Nobody's answer depends on it, and what fails here is tried again when the log has grown as much again. After a failed group the
 * log is brought home however short it is: on a full disk the next group then finds room in it.
 */
void store_tidy(struct store *s, bool is_idle)
{
    if (!s->has_failed && !is_worth_it(s, is_idle)) return;
    s->has_failed = false;
    if (sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == SQLITE_OK) {
        s->log_pages = s->log_pages_failed = 0;
        return;
    }
    s->log_pages_failed = s->log_pages;
    remember(s, "checkpoint");
    log_warn("the state's log could not be brought home; it grows until this works", LOG_STR("error", s->error));
}

/* ---- reading ---- */

static int column(sqlite3_stmt *stmt, int index, char **field)
{
    assert(*field == NULL);
    const char *value = (const char *)sqlite3_column_text(stmt, index);
    return value == NULL ? SLUICE_ERR_NOMEM : record_set(field, value); /* no column of ours is NULL */
}

static uint64_t column_number(sqlite3_stmt *stmt, int index)
{
    return (uint64_t)sqlite3_column_int64(stmt, index);
}

static int read_source(sqlite3_stmt *stmt, void *out)
{
    struct record_source *r = out;
    r->has_record = sqlite3_column_int(stmt, 1) != 0;
    r->epoch = column_number(stmt, 3);
    r->is_held = sqlite3_column_int(stmt, 4) != 0;
    r->has_moved = sqlite3_column_int(stmt, 8) != 0;
    int rv = column(stmt, 0, &r->source_id);
    if (rv == 0) rv = column(stmt, 2, &r->active);
    if (rv == 0) rv = column(stmt, 5, &r->accepted_loss);
    if (rv == 0) rv = column(stmt, 6, &r->latch);
    if (rv == 0) rv = column(stmt, 7, &r->latch_backend);
    return rv;
}

static int read_pin(sqlite3_stmt *stmt, void *out)
{
    struct record_pin *r = out;
    r->updated_unix_ms = column_number(stmt, 4);
    int rv = column(stmt, 0, &r->source_id);
    if (rv == 0) rv = column(stmt, 1, &r->backend);
    if (rv == 0) rv = column(stmt, 2, &r->server_uuid);
    if (rv == 0) rv = column(stmt, 3, &r->executed);
    return rv;
}

static int read_switch(sqlite3_stmt *stmt, void *out)
{
    struct record_switch *r = out;
    r->number = column_number(stmt, 0);
    r->epoch_from = column_number(stmt, 4);
    r->epoch_to = column_number(stmt, 5);
    r->state = (enum record_switch_state)sqlite3_column_int(stmt, 6);
    r->started_unix_ms = column_number(stmt, 10);
    r->ended_unix_ms = column_number(stmt, 11);
    r->exit_code = sqlite3_column_int(stmt, 12);
    int rv = column(stmt, 1, &r->source_id);
    if (rv == 0) rv = column(stmt, 2, &r->from);
    if (rv == 0) rv = column(stmt, 3, &r->to);
    if (rv == 0) rv = column(stmt, 7, &r->phase);
    if (rv == 0) rv = column(stmt, 8, &r->plan);
    if (rv == 0) rv = column(stmt, 9, &r->options);
    if (rv == 0) rv = column(stmt, 13, &r->msg);
    if (rv == 0) rv = column(stmt, 14, &r->report);
    return rv;
}

/* The rows of |stmt|, each |size| bytes, appended to |*list|; what is there on failure is the caller's to free. */
static int read_all(struct store *s, sqlite3_stmt *stmt, size_t size, int (*read_row)(sqlite3_stmt *, void *),
                    void **list, size_t *count)
{
    int rc = sqlite3_step(stmt);
    for (; rc == SQLITE_ROW; rc = sqlite3_step(stmt)) {
        char *grown = mem_realloc(*list, (*count + 1) * size);
        if (grown == NULL) return SLUICE_ERR_NOMEM;
        *list = grown;
        void *row = grown + *count * size;
        memset(row, 0, size);
        *count += 1;
        int rv = read_row(stmt, row);
        if (rv != 0) return rv;
    }
    return rc == SQLITE_DONE ? 0 : remember(s, "read");
}

#define SWITCH_COLUMNS                                                                                                 \
    "number, source_id, from_backend, to_backend, epoch_from, epoch_to, state, phase, plan, options, "                 \
    "started_unix_ms, "                                                                                                \
    "ended_unix_ms, exit_code, msg, report"

static int load_table(struct store *s, const char *sql, size_t size, int (*read_row)(sqlite3_stmt *, void *),
                      void **list, size_t *count)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL) != SQLITE_OK) return remember(s, "read");
    int rv = read_all(s, stmt, size, read_row, list, count);
    sqlite3_finalize(stmt);
    return rv;
}

int store_load(struct store *s, struct journal_state *state, struct text *error)
{
    void *list = NULL;
    int rv = load_table(s,
                        "SELECT source_id, has_record, active, epoch, is_held, accepted_loss, latch, latch_backend, "
                        "has_moved FROM source ORDER BY source_id",
                        sizeof *state->sources, read_source, &list, &state->source_count);
    state->sources = list;
    list = NULL;
    if (rv == 0) {
        rv = load_table(s, "SELECT source_id, backend, server_uuid, executed, updated_unix_ms FROM pin ORDER BY 1, 2",
                        sizeof *state->pins, read_pin, &list, &state->pin_count);
        state->pins = list;
        list = NULL;
    }
    if (rv == 0) {
        rv = load_table(s, "SELECT " SWITCH_COLUMNS " FROM switch WHERE state = 0 ORDER BY number",
                        sizeof *state->open_switches, read_switch, &list, &state->open_switch_count);
        state->open_switches = list;
    }
    if (rv == SLUICE_ERR_JOURNAL) text_printf(error, "the state cannot be read: %s", s->error);
    return rv;
}

static int query_switches(struct store *s, sqlite3_stmt *stmt, struct record_switch **out_list, size_t *out_count)
{
    void *list = NULL;
    size_t count = 0;
    int rv = read_all(s, stmt, sizeof **out_list, read_switch, &list, &count);
    if (rv != 0) {
        for (size_t i = 0; i < count; i++)
            record_switch_free((struct record_switch *)list + i);
        mem_free(list);
        return rv;
    }
    *out_list = list;
    *out_count = count;
    return 0;
}

int store_history(struct store *s, const char *source_id, uint64_t before_number, size_t count_max,
                  struct record_switch **out_list, size_t *out_count)
{
    static const char of_one[] = "SELECT " SWITCH_COLUMNS " FROM switch WHERE number < ?1 AND source_id = ?3"
                                 " ORDER BY number DESC LIMIT ?2";
    static const char of_all[] =
        "SELECT " SWITCH_COLUMNS " FROM switch WHERE number < ?1 ORDER BY number DESC LIMIT ?2";
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, source_id == NULL ? of_all : of_one, -1, &stmt, NULL) != SQLITE_OK)
        return remember(s, "read");
    struct binder b = { .stmt = stmt, .index = 1 };
    bind_number(&b, before_number == 0 || before_number > INT64_MAX ? INT64_MAX : before_number);
    bind_number(&b, count_max);
    if (source_id != NULL) bind_text(&b, source_id);
    int rv = b.rc == SQLITE_OK ? query_switches(s, stmt, out_list, out_count) : remember(s, "read");
    sqlite3_finalize(stmt);
    return rv;
}

int store_switch_get(struct store *s, uint64_t number, struct record_switch *out)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(s->db, "SELECT " SWITCH_COLUMNS " FROM switch WHERE number = ?1", -1, &stmt, NULL) !=
        SQLITE_OK)
        return remember(s, "read");
    struct binder b = { .stmt = stmt, .index = 1 };
    bind_number(&b, number > INT64_MAX ? 0 : number);
    struct record_switch *list = NULL;
    size_t count = 0;
    int rv = b.rc == SQLITE_OK ? query_switches(s, stmt, &list, &count) : remember(s, "read");
    sqlite3_finalize(stmt);
    if (rv != 0) return rv;
    if (count == 0) return SLUICE_ERR_NOT_FOUND;
    *out = list[0];
    mem_free(list);
    return 0;
}
