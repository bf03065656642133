/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/mem.h"

void world_up(struct world *w)
{
    *w = (struct world){ .root = "/tmp/sluice-journal-XXXXXX" };
    assert_non_null(mkdtemp(w->root));
    snprintf(w->dir, sizeof w->dir, "%s/state", w->root);
    snprintf(w->shadow, sizeof w->shadow, "%s/shadow", w->root);
    assert_int_equal(mkdir(w->shadow, 0700), 0);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(mailbox_init(&w->mailbox, &w->loop), 0);
}

static void remove_all(const char *path)
{
    DIR *dir = opendir(path);
    if (dir != NULL) {
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            char child[512];
            snprintf(child, sizeof child, "%s/%s", path, e->d_name);
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
            if (unlink(child) != 0) remove_all(child);
        }
        closedir(dir);
    }
    rmdir(path);
}

void world_down(struct world *w)
{
    world_close(w);
    mailbox_close(&w->mailbox, NULL, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0); /* no handle is left */
    remove_all(w->root);
    assert_int_not_equal(access(w->root, F_OK), 0);
}

int world_open(struct world *w)
{
    mem_free(w->error);
    w->error = NULL;
    journal_state_free(&w->state);
    return journal_open(w->dir, &w->journal, &w->state, &w->error);
}

void world_must_open(struct world *w)
{
    int rv = world_open(w);
    if (rv != 0) fail_msg("journal_open: %d: %s", rv, w->error);
}

void world_close(struct world *w)
{
    if (w->journal != NULL) journal_close(w->journal);
    w->journal = NULL;
    journal_state_free(&w->state);
    mem_free(w->error);
    w->error = NULL;
}

const char *world_path(const struct world *w, const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    return path;
}

void world_sql(const struct world *w, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(world_path(w, "state.db"), &db), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void on_limit(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static void on_timer_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

void world_run_until(struct world *w, const bool *flag)
{
    bool is_late = false, is_closed = false;
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(&w->loop, &timer), 0);
    timer.data = &is_late;
    assert_int_equal(uv_timer_start(&timer, on_limit, 20000, 0), 0);
    while (!*flag && !is_late)
        uv_run(&w->loop, UV_RUN_ONCE);
    timer.data = &is_closed;
    uv_close((uv_handle_t *)&timer, on_timer_closed);
    while (!is_closed)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    if (!*flag) fail_msg("no answer within 20 s");
}

void on_result(void *arg, int status, uint64_t number)
{
    struct result *r = arg;
    *r = (struct result){ .is_done = true, .status = status, .number = number, .calls = r->calls + 1 };
}

struct result world_commit(struct world *w, struct journal_txn *txn)
{
    struct result result = { 0 };
    journal_commit(w->journal, txn, &w->mailbox, on_result, &result);
    assert_null(txn->first);
    world_run_until(w, &result.is_done);
    return result;
}

struct record_source a_source(const char *source_id, const char *active, uint64_t epoch)
{
    return (
        struct record_source){ .source_id = lit(source_id), .has_record = true, .active = lit(active), .epoch = epoch };
}

struct record_switch a_switch(const char *source_id, const char *from, const char *to, uint64_t epoch_from,
                              const char *phase)
{
    return (struct record_switch){
        .source_id = lit(source_id),
        .from = lit(from),
        .to = lit(to),
        .epoch_from = epoch_from,
        .epoch_to = epoch_from + 1,
        .phase = lit(phase),
        .plan = lit("{\"paused\":[\"t1\"]}"),
        .options = lit("{}"),
        .started_unix_ms = 1700000000123,
    };
}

int put_source(struct world *w, const char *source_id, const char *active, uint64_t epoch)
{
    struct record_source r = a_source(source_id, active, epoch);
    struct result result = { 0 };
    journal_source_put(w->journal, &r, &w->mailbox, on_result, &result);
    world_run_until(w, &result.is_done);
    return result.status;
}

uint64_t begin_switch(struct world *w, const char *source_id, const char *from, const char *to, uint64_t epoch_from)
{
    struct record_switch r = a_switch(source_id, from, to, epoch_from, "holding");
    struct result result = { 0 };
    journal_switch_begin(w->journal, &r, &w->mailbox, on_result, &result);
    world_run_until(w, &result.is_done);
    assert_int_equal(result.status, 0);
    return result.number;
}

int flip(struct world *w, uint64_t number, const char *source_id, const char *from, const char *to, uint64_t epoch_from)
{
    struct record_source source = a_source(source_id, to, epoch_from + 1);
    struct record_switch r = a_switch(source_id, from, to, epoch_from, "flipped");
    struct result result = { 0 };
    r.number = number;
    journal_flip(w->journal, &source, &r, &w->mailbox, on_result, &result);
    world_run_until(w, &result.is_done);
    return result.status;
}

void world_in_child(struct world *w, void (*fn)(struct world *w))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* A failed assertion of the child must neither go on in its copy of cmocka nor look like the end that is wanted. */
        setenv("CMOCKA_TEST_ABORT", "1", 1);
        fn(w);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}
