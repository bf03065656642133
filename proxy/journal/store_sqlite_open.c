/* SPDX-License-Identifier: Apache-2.0 */
/* store_sqlite_open.c - from a directory to a store that keeps its word, or to a text that says why not. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "journal/statedir.h"
#include "journal/store.h"
#include "journal/store_sqlite.h"
#ifdef SLUICE_FAULTS
#include "journal/vfs_fault.h"
#endif

enum {
    SCHEMA = 2,                  /* PRAGMA user_version; a newer one is refused, an older one is brought up to this */
    APPLICATION_ID = 0x536c7563, /* "Sluc": PRAGMA application_id, so that no other program's file is taken for ours */
    BUSY_TIMEOUT_MS = 2000,      /* for somebody who looks into the file while we start */
    LOG_BYTES_KEPT = 4 << 20,    /* the log's size after a checkpoint */
};

/*
 * The triggers of trouble are in the schema, not only in the code: one open switch a source, an epoch that is a number, states
 * that exist. AUTOINCREMENT: a switch's number is never used twice.
 */
static const char schema_sql[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE source("
    "  source_id TEXT PRIMARY KEY CHECK(source_id <> ''), has_record INTEGER NOT NULL CHECK(has_record IN (0, 1)),"
    "  active TEXT NOT NULL, epoch INTEGER NOT NULL CHECK(epoch >= 0), is_held INTEGER NOT NULL CHECK(is_held IN (0, "
    "1)),"
    "  accepted_loss TEXT NOT NULL, latch TEXT NOT NULL, latch_backend TEXT NOT NULL,"
    "  has_moved INTEGER NOT NULL CHECK(has_moved IN (0, 1)),"
    "  CHECK(has_record = 0 OR active <> '')"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE pin("
    "  source_id TEXT NOT NULL CHECK(source_id <> ''), backend TEXT NOT NULL CHECK(backend <> ''),"
    "  server_uuid TEXT NOT NULL, executed TEXT NOT NULL, updated_unix_ms INTEGER NOT NULL,"
    "  PRIMARY KEY(source_id, backend)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE switch("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT, source_id TEXT NOT NULL CHECK(source_id <> ''),"
    "  from_backend TEXT NOT NULL, to_backend TEXT NOT NULL,"
    "  epoch_from INTEGER NOT NULL CHECK(epoch_from >= 0), epoch_to INTEGER NOT NULL CHECK(epoch_to >= 0),"
    "  state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3), phase TEXT NOT NULL, plan TEXT NOT NULL,"
    "  options TEXT NOT NULL, started_unix_ms INTEGER NOT NULL, ended_unix_ms INTEGER NOT NULL,"
    "  exit_code INTEGER NOT NULL, msg TEXT NOT NULL, report TEXT NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX switch_open ON switch(source_id) WHERE state = 0;"
    "CREATE INDEX switch_source ON switch(source_id, number);";

/* Schema 1 did not say whether a source had moved: an epoch that was raised may have been a switch. */
static const char upgrade_1_sql[] =
    "BEGIN IMMEDIATE;"
    "ALTER TABLE source ADD COLUMN has_moved INTEGER NOT NULL DEFAULT 0 CHECK(has_moved IN (0, 1));"
    "UPDATE source SET has_moved = epoch > 1;"
    "PRAGMA user_version=2;"
    "COMMIT";

static const char *const stmt_sql[STORE_STMT_COUNT] = {
    [STORE_BEGIN] = "BEGIN IMMEDIATE",
    [STORE_COMMIT] = "COMMIT",
    [STORE_ROLLBACK] = "ROLLBACK",
    [STORE_SAVEPOINT] = "SAVEPOINT txn",
    [STORE_SAVEPOINT_UNDO] = "ROLLBACK TO txn",
    [STORE_SAVEPOINT_END] = "RELEASE txn",
    /* An epoch never falls, another backend needs a new epoch, what is known is not forgotten: no row changed means refused. */
    [STORE_SOURCE_PUT] =
        "INSERT INTO source(source_id, has_record, active, epoch, is_held, accepted_loss, latch, latch_backend,"
        " has_moved) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
        " ON CONFLICT(source_id) DO UPDATE SET has_record = ?2, active = ?3, epoch = ?4, is_held = ?5, accepted_loss = "
        "?6,"
        " latch = ?7, latch_backend = ?8, has_moved = ?9"
        " WHERE source.has_record = 0 OR (?2 = 1 AND (?4 > source.epoch OR (?4 = source.epoch AND ?3 = "
        "source.active)))",
    [STORE_PIN_PUT] =
        "INSERT INTO pin(source_id, backend, server_uuid, executed, updated_unix_ms) VALUES(?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT(source_id, backend) DO UPDATE SET server_uuid = ?3, executed = ?4, updated_unix_ms = ?5",
    [STORE_PIN_REMOVE] = "DELETE FROM pin WHERE source_id = ?1 AND backend = ?2",
    [STORE_SWITCH_BEGIN] =
        "INSERT INTO switch(source_id, from_backend, to_backend, epoch_from, epoch_to, state, phase, plan, options,"
        " started_unix_ms, ended_unix_ms, exit_code, msg, report)"
        " VALUES(?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    [STORE_SWITCH_PUT] =
        "UPDATE switch SET from_backend = ?3, to_backend = ?4, epoch_from = ?5, epoch_to = ?6, state = ?7,"
        " phase = ?8, plan = ?9, options = ?10, started_unix_ms = ?11, ended_unix_ms = ?12,"
        " exit_code = ?13, msg = ?14, report = ?15"
        " WHERE number = ?1 AND source_id = ?2 AND (state = 0 OR ?7 <> 0)",
};

/* One opening: what is known so far, and where the words for the operator go. */
struct opening {
    struct store *store;
    const char *path;
    struct text *error;
};

static int code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return SLUICE_ERR_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return SLUICE_ERR_JOURNAL;
    default: return SLUICE_ERR_IO;
    }
}

static int fail_damaged(const struct opening *o, const char *found)
{
    text_printf(
        o->error,
        "%s: damaged: %s; it is left as it is. Put a copy back (with its -wal file), or move both away and start: "
        "each source is then held until its configured backend passes the gate or `sluice adopt` names one",
        o->path, found);
    return SLUICE_ERR_JOURNAL;
}

static int fail_sqlite(const struct opening *o, const char *what)
{
    int rc = sqlite3_extended_errcode(o->store->db);
    int rv = code_of(rc);
    if (rv == SLUICE_ERR_JOURNAL) return fail_damaged(o, sqlite3_errmsg(o->store->db));
    const char *hint = "see the kernel's log";
    switch (rc & 0xff) {
    case SQLITE_FULL: hint = "make room on its file system"; break;
    case SQLITE_BUSY: hint = "close what has it open"; break;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN: hint = "it must belong to the user that runs sluice and be writable for it"; break;
    default: break;
    }
    int code = sqlite3_system_errno(o->store->db);
    text_printf(o->error, "%s: cannot %s: %s%s%s; %s", o->path, what, sqlite3_errmsg(o->store->db),
                code == 0 ? "" : ": ", code == 0 ? "" : strerror(code), hint);
    return rv;
}

static int fail_open(const struct opening *o, int code)
{
    text_printf(o->error, "%s: cannot create it: %s; %s", o->path, strerror(code),
                code == ENOSPC || code == EDQUOT ? "make room on its file system"
                                                 : "state-dir must be writable for the user that runs sluice");
    return SLUICE_ERR_IO;
}

/* Run a statement of one row and take its first column as text, "" when it has no row. */
static int ask(const struct opening *o, const char *sql, char *out, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(o->store->db, sql, -1, &stmt, NULL) != SQLITE_OK) return fail_sqlite(o, sql);
    int rc = sqlite3_step(stmt);
    const char *value = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    snprintf(out, size, "%s", value == NULL ? "" : value);
    while (rc == SQLITE_ROW)
        rc = sqlite3_step(stmt);
    int rv = rc == SQLITE_DONE ? 0 : fail_sqlite(o, sql);
    sqlite3_finalize(stmt);
    return rv;
}

static int ask_number(const struct opening *o, const char *sql, long long *out)
{
    char value[32];
    int rv = ask(o, sql, value, sizeof value);
    if (rv == 0 && sscanf(value, "%lld", out) != 1) rv = fail_damaged(o, sql);
    return rv;
}

static int must_answer(const struct opening *o, const char *set, const char *get, const char *wanted)
{
    char value[32];
    int rv = ask(o, set, value, sizeof value);
    if (rv == 0) rv = ask(o, get, value, sizeof value);
    if (rv != 0 || strcmp(value, wanted) == 0) return rv;
    text_printf(
        o->error,
        "%s: \"%s\" reads back \"%s\" instead of \"%s\": a commit would not outlive a power cut; put state-dir on a "
        "local file system",
        o->path, get, value, wanted);
    return SLUICE_ERR_JOURNAL;
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* The file is made here, not by SQLite, so that its mode is ours. A log without its file would be thrown away: not by us. */
static int make_file(const struct opening *o)
{
    if (size_of(o->path) > 0) return 0;
    struct text log = TEXT_INIT;
    text_printf(&log, "%s-wal", o->path);
    if (log.status != 0) return log.status;
    off_t log_size = size_of(text_str(&log));
    text_free(&log);
    if (log_size > 0) return fail_damaged(o, "it is missing or empty while its -wal file is not");
    int fd = open(o->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail_open(o, errno);
    close(fd);
    return 0;
}

/* In exclusive mode nobody else can write, hold us up, or pull the shared index from under us; readers wait until we are gone. */
static int connect_file(const struct opening *o)
{
    struct store *s = o->store;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    if (sqlite3_open_v2(o->path, &s->db, flags, NULL) != SQLITE_OK) {
        if (s->db != NULL) return fail_sqlite(o, "open it");
        return SLUICE_ERR_NOMEM;
    }
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    /* Until all checks have passed, closing must leave a file that we refuse as it was. */
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    char value[32];
    return ask(o, "PRAGMA locking_mode=EXCLUSIVE", value, sizeof value);
}

/* |*out_schema| 0: nothing in it yet, also when an earlier start was cut off before the schema was there. */
static int check_content(const struct opening *o, long long *out_schema)
{
    long long tables = 0, application = 0, schema = 0;
    int rv = ask_number(o, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rv == 0) rv = ask_number(o, "PRAGMA application_id", &application);
    if (rv == 0) rv = ask_number(o, "PRAGMA user_version", &schema);
    if (rv != 0) return rv;
    if (tables == 0 && application == 0 && schema == 0) {
        *out_schema = 0;
        return 0;
    }
    if (application != APPLICATION_ID || schema < 1) {
        text_printf(o->error, "%s: a database of another program; give sluice a state-dir of its own", o->path);
        return SLUICE_ERR_JOURNAL;
    }
    if (schema > SCHEMA) {
        text_printf(o->error, "%s: written by a newer sluice (schema %lld; this one knows %d): run that version",
                    o->path, schema, SCHEMA);
        return SLUICE_ERR_JOURNAL;
    }
    char found[160];
    rv = ask(o, "PRAGMA quick_check(1)", found, sizeof found);
    if (rv == 0 && strcmp(found, "ok") != 0) rv = fail_damaged(o, found);
    *out_schema = schema;
    return rv;
}

static int create_schema(const struct opening *o)
{
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", APPLICATION_ID,
             SCHEMA);
    if (sqlite3_exec(o->store->db, schema_sql, NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_exec(o->store->db, pragmas, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return fail_sqlite(o, "write its schema");
}

static int upgrade_schema(const struct opening *o)
{
    if (sqlite3_exec(o->store->db, upgrade_1_sql, NULL, NULL, NULL) == SQLITE_OK) return 0;
    return fail_sqlite(o, "bring its schema up to date");
}

static int on_log_grown(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct store *s = arg;
    (void)db;
    (void)name;
    s->log_pages = pages;
    return SQLITE_OK;
}

static int set_up(const struct opening *o)
{
    char value[32];
    int rv = must_answer(o, "PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal");
    if (rv == 0) rv = must_answer(o, "PRAGMA synchronous=FULL", "PRAGMA synchronous", "2");
    if (rv == 0) rv = ask(o, "PRAGMA temp_store=MEMORY", value, sizeof value);
    if (rv == 0) rv = ask(o, "PRAGMA trusted_schema=OFF", value, sizeof value);
    if (rv != 0) return rv;
    char limit[64];
    snprintf(limit, sizeof limit, "PRAGMA journal_size_limit=%d", LOG_BYTES_KEPT);
    rv = ask(o, limit, value, sizeof value);
    sqlite3_wal_hook(o->store->db, on_log_grown,
                     o->store); /* takes the place of wal_autocheckpoint; see store_tidy() */
    return rv;
}

/*
 * What an earlier process left in the log may be in the page cache alone: its last fsync can have failed, and the kernel does not
 * say so twice. Copying all of it into the file, which syncs the file, makes durable what store_load() will read.
 */
static int make_durable(const struct opening *o)
{
    if (sqlite3_wal_checkpoint_v2(o->store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) == SQLITE_OK) return 0;
    return fail_sqlite(o, "bring its log home");
}

static int prepare_all(const struct opening *o)
{
    for (int i = 0; i < STORE_STMT_COUNT; i++) {
        if (sqlite3_prepare_v3(o->store->db, stmt_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &o->store->stmts[i], NULL) !=
            SQLITE_OK)
            return fail_sqlite(o, "prepare its statements");
    }
    return 0;
}

static int bring_up(const struct opening *o, const char *state_dir, bool *out_is_new)
{
    long long schema = 0;
    int rv = make_file(o);
    if (rv == 0) rv = connect_file(o);
    if (rv == 0) rv = check_content(o, &schema);
    if (rv == 0 && sqlite3_db_readonly(o->store->db, "main") != 0) rv = fail_open(o, EACCES);
    if (rv == 0) rv = set_up(o);
    *out_is_new = schema == 0;
    if (rv == 0 && schema == 0) rv = create_schema(o);
    if (rv == 0 && schema == 1) rv = upgrade_schema(o);
    if (rv == 0) rv = make_durable(o);
    if (rv == 0) rv = statedir_sync(state_dir, o->error);
    if (rv == 0) rv = prepare_all(o);
    if (rv == 0) sqlite3_db_config(o->store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return rv;
}

int store_open(const char *state_dir, struct store **out_store, bool *out_is_new, struct text *error)
{
#ifdef SLUICE_FAULTS
    if (vfs_fault_install_from_environment(error) != 0) return SLUICE_ERR_INVALID;
#endif
    struct text path = TEXT_INIT;
    text_printf(&path, "%s/state.db", state_dir);
    struct store *s = mem_calloc(1, sizeof *s);
    int rv = s == NULL || path.status != 0 ? SLUICE_ERR_NOMEM : 0;
    bool is_new = false;
    if (rv == 0) {
        const struct opening o = { .store = s, .path = text_str(&path), .error = error };
        rv = bring_up(&o, state_dir, &is_new);
    }
    text_free(&path);
    if (rv != 0) {
        store_close(s);
        return rv;
    }
    *out_store = s;
    *out_is_new = is_new;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL) return;
    for (int i = 0; i < STORE_STMT_COUNT; i++)
        sqlite3_finalize(s->stmts[i]);
    int rc = sqlite3_close(s->db);
    assert(rc == SQLITE_OK); /* a statement is left */
    (void)rc;
    mem_free(s);
}
