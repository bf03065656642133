/* SPDX-License-Identifier: Apache-2.0 */
/* store_sqlite.h - the store on SQLite, shared by the files that make it up; nobody else includes it. */
#pragma once
#include <sqlite3.h>
#include <stdbool.h>

enum store_stmt {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_ROLLBACK,
    STORE_SAVEPOINT,
    STORE_SAVEPOINT_UNDO,
    STORE_SAVEPOINT_END,
    STORE_SOURCE_PUT,
    STORE_PIN_PUT,
    STORE_PIN_REMOVE,
    STORE_SWITCH_BEGIN,
    STORE_SWITCH_PUT,
    STORE_STMT_COUNT,
};

struct store {
    sqlite3 *db;
    sqlite3_stmt *stmts[STORE_STMT_COUNT]; /* prepared once, at open */
    int log_pages;                         /* in the write-ahead log since the last checkpoint */
    int log_pages_failed;                  /* its length when a checkpoint last failed; 0 after one that did not */
    bool has_failed;                       /* a group did, and store_tidy() has not run since */
    char error[256];                       /* of the last failure */
};
