/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - a state-dir of its own, a loop, an open journal; commits that wait for their answer. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "base/mailbox.h"
#include "journal/journal.h"

struct world {
    char root[64];   /* a fresh directory, removed by world_down() */
    char dir[96];    /* the state-dir in it */
    char shadow[96]; /* what a power cut would leave, where a test asks for it */
    uv_loop_t loop;
    struct mailbox mailbox;
    struct journal *journal; /* NULL while closed */
    struct journal_state state;
    char *error; /* of the last failed world_open() */
};

void world_up(struct world *w);
void world_down(struct world *w);

/* world_open - journal_open(); |w->state| and |w->error| are replaced. */
int world_open(struct world *w);
/* world_must_open - the same, and it must succeed. */
void world_must_open(struct world *w);
void world_close(struct world *w);
/* world_path - "<state-dir>/<name>", valid until the next call. */
const char *world_path(const struct world *w, const char *name);
/* world_sql - run |sql| on the closed state file by SQLite itself. */
void world_sql(const struct world *w, const char *sql);

/* world_run_until - turn the loop until |*flag|; fails after 20 s. */
void world_run_until(struct world *w, const bool *flag);

/* lit - a literal as a record's text: records that tests make point to literals, and the journal copies them. */
static inline char *lit(const char *s)
{
    return (char *)(uintptr_t)s;
}

struct result {
    bool is_done;
    int status;
    uint64_t number;
    int calls;
};
/* on_result - a journal_commit_fn whose |arg| is a struct result. */
void on_result(void *arg, int status, uint64_t number);

/* Commit and wait. |txn| is emptied. */
struct result world_commit(struct world *w, struct journal_txn *txn);
/* put_source, flip - the records that the tests are about; their status. */
int put_source(struct world *w, const char *source_id, const char *active, uint64_t epoch);
uint64_t begin_switch(struct world *w, const char *source_id, const char *from, const char *to, uint64_t epoch_from);
int flip(struct world *w, uint64_t number, const char *source_id, const char *from, const char *to,
         uint64_t epoch_from);
/* a_switch - a record of literals; not to be freed. */
struct record_switch a_switch(const char *source_id, const char *from, const char *to, uint64_t epoch_from,
                              const char *phase);
struct record_source a_source(const char *source_id, const char *active, uint64_t epoch);

/* world_in_child - run |fn(w)| in a child process that then kills itself by SIGKILL (or is killed by a fault on the way). */
void world_in_child(struct world *w, void (*fn)(struct world *w));
