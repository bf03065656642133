/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c - the queue, the thread behind it, and the way back to the submitter's loop. */
#include "journal/journal.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>
#include "base/log.h"
#include "base/mailbox.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "journal/statedir.h"
#include "journal/store.h"

/* Commits that wait together become durable by one fsync; more than these wait for the next. */
enum { GROUP_MAX = 64 };

enum request_type { REQUEST_COMMIT, REQUEST_HISTORY, REQUEST_SWITCH };

/* One request and then its answer: it travels to the journal thread, and back as a letter. */
struct request {
    struct request *next;
    enum request_type type;
    struct mailbox *mailbox;
    void *arg;
    int status;
    union {
        struct {
            journal_commit_fn done;
            struct journal_txn txn;
            uint64_t number;
        } commit;
        struct {
            journal_history_fn done;
            char *source_id; /* NULL: all */
            uint64_t number; /* REQUEST_HISTORY: only smaller ones; REQUEST_SWITCH: this one */
            size_t count_max;
            struct record_switch *list;
            size_t count;
        } query;
    } as;
};

struct journal {
    struct store *store; /* the thread's, once it runs */
    int lock_fd;
    uv_thread_t thread;
    uv_mutex_t lock; /* guards the queue and |is_closing| */
    uv_cond_t wake;
    struct request *first, *last;
    bool is_closing;
    bool is_failing; /* the thread's: the last group's result was unknown */
    atomic_uint_fast64_t queued, commits, failures;
};

/* ---- answers: on the submitter's loop ---- */

static void query_free(struct request *r)
{
    for (size_t i = 0; i < r->as.query.count; i++)
        record_switch_free(&r->as.query.list[i]);
    mem_free(r->as.query.list);
    mem_free(r->as.query.source_id);
}

static void deliver(void *arg)
{
    struct request *r = arg;
    if (r->type == REQUEST_COMMIT) {
        r->as.commit.done(r->arg, r->status, r->status == 0 ? r->as.commit.number : 0);
    } else {
        r->as.query.done(r->arg, r->status, r->as.query.list, r->as.query.count);
        query_free(r);
    }
    mem_free(r);
}

static void answer(struct journal *j, struct request *r)
{
    if (r->type == REQUEST_COMMIT) {
        journal_txn_free(&r->as.commit.txn);
        if (r->status == 0) atomic_fetch_add(&j->commits, 1);
    }
    if (r->status == SLUICE_ERR_JOURNAL) atomic_fetch_add(&j->failures, 1);
    atomic_fetch_sub(&j->queued, 1);
    mailbox_post(r->mailbox, deliver, r);
}

/* ---- the journal thread ---- */

/* A failing disk is told once, and once that it is over: a commit may come every few milliseconds. */
static void log_result(struct journal *j, int rv)
{
    bool was_failing = j->is_failing;
    j->is_failing = rv != 0;
    if (j->is_failing && !was_failing) {
        log_error("commits to the state fail: whether they are on disk is unknown",
                  LOG_STR("error", store_error(j->store)),
                  LOG_STR("hint", "look at the disk of state-dir; see `sluice status`"));
    } else if (!j->is_failing && was_failing) {
        log_info("commits to the state succeed again");
    }
}

/* Each of |list| gets a status of its own. Returns how many are to become durable, or an error: the group is broken. */
static int group_apply(struct journal *j, struct request *list, const struct request *end)
{
    int applied = 0;
    for (struct request *r = list; r != end; r = r->next) {
        struct journal_txn *txn = &r->as.commit.txn;
        r->status = txn->status;
        if (r->status != 0 || txn->first == NULL) continue;
        if (applied == 0) {
            int rv = store_begin(j->store);
            if (rv != 0) return rv;
        }
        r->status = store_apply(j->store, txn, &r->as.commit.number);
        if (r->status == SLUICE_ERR_JOURNAL) return r->status;
        applied++;
    }
    return applied;
}

/* The commits from |list| up to |end|: durable by one fsync, or unknown together. */
static void group_run(struct journal *j, struct request *list, const struct request *end)
{
    int rv = group_apply(j, list, end);
    if (rv > 0) {
        rv = store_commit(j->store);
        log_result(j, rv);
    } else if (rv < 0) {
        store_abandon(j->store);
        log_result(j, rv);
    }
    for (struct request *r = list, *next; r != end; r = next) {
        next = r->next;
        bool is_empty = r->as.commit.txn.first == NULL;
        if (rv < 0 && r->status == 0 && !is_empty) r->status = SLUICE_ERR_JOURNAL;
        answer(j, r);
    }
}

static void query_run(struct journal *j, struct request *r)
{
    if (r->status != 0) {
        /* its copy ran out of memory */
    } else if (r->type == REQUEST_HISTORY) {
        r->status = store_history(j->store, r->as.query.source_id, r->as.query.number, r->as.query.count_max,
                                  &r->as.query.list, &r->as.query.count);
    } else {
        struct record_switch *found = mem_calloc(1, sizeof *found);
        r->status = found == NULL ? SLUICE_ERR_NOMEM : store_switch_get(j->store, r->as.query.number, found);
        r->as.query.list = found;
        r->as.query.count = r->status == 0 ? 1 : 0;
    }
    answer(j, r);
}

static void run_all(struct journal *j, struct request *list)
{
    while (list != NULL) {
        struct request *end = list->next;
        if (list->type == REQUEST_COMMIT) {
            for (int n = 1; n < GROUP_MAX && end != NULL && end->type == REQUEST_COMMIT; n++)
                end = end->next;
            group_run(j, list, end);
            store_tidy(j->store, false);
        } else {
            query_run(j, list);
        }
        list = end;
    }
}

static void thread_main(void *arg)
{
    struct journal *j = arg;
    uv_mutex_lock(&j->lock);
    for (;;) {
        struct request *list = j->first;
        j->first = j->last = NULL;
        if (list == NULL && j->is_closing) break;
        uv_mutex_unlock(&j->lock);
        if (list == NULL) {
            store_tidy(j->store, true);
        } else {
            run_all(j, list);
        }
        uv_mutex_lock(&j->lock);
        if (list == NULL && j->first == NULL && !j->is_closing) uv_cond_wait(&j->wake, &j->lock);
    }
    uv_mutex_unlock(&j->lock);
}

/* ---- requests: any thread ---- */

static struct request *request_new(enum request_type type, struct mailbox *mailbox, void *arg)
{
    struct request *r = mem_calloc(1, sizeof *r);
    if (r == NULL) {
        log_error("a request to the journal could not be allocated; ending so that recovery decides");
        abort();
    }
    r->type = type;
    r->mailbox = mailbox;
    r->arg = arg;
    return r;
}

static void submit(struct journal *j, struct request *r)
{
    if (atomic_fetch_add(&j->queued, 1) >= JOURNAL_QUEUE_MAX) {
        r->status = SLUICE_ERR_BUSY;
        answer(j, r);
        return;
    }
    uv_mutex_lock(&j->lock);
    assert(!j->is_closing);
    if (j->last == NULL) {
        j->first = r;
    } else {
        j->last->next = r;
    }
    j->last = r;
    uv_cond_signal(&j->wake);
    uv_mutex_unlock(&j->lock);
}

void journal_commit(struct journal *journal, struct journal_txn *txn, struct mailbox *mailbox, journal_commit_fn done,
                    void *arg)
{
    struct request *r = request_new(REQUEST_COMMIT, mailbox, arg);
    r->as.commit.done = done;
    r->as.commit.txn = *txn;
    *txn = JOURNAL_TXN_INIT;
    submit(journal, r);
}

void journal_source_put(struct journal *journal, const struct record_source *r, struct mailbox *mailbox,
                        journal_commit_fn done, void *arg)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, r);
    journal_commit(journal, &txn, mailbox, done, arg);
}

void journal_pin_put(struct journal *journal, const struct record_pin *r, struct mailbox *mailbox,
                     journal_commit_fn done, void *arg)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_pin_put(&txn, r);
    journal_commit(journal, &txn, mailbox, done, arg);
}

void journal_switch_begin(struct journal *journal, const struct record_switch *r, struct mailbox *mailbox,
                          journal_commit_fn done, void *arg)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_switch_begin(&txn, r);
    journal_commit(journal, &txn, mailbox, done, arg);
}

void journal_switch_update(struct journal *journal, const struct record_switch *r, struct mailbox *mailbox,
                           journal_commit_fn done, void *arg)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_switch_put(&txn, r);
    journal_commit(journal, &txn, mailbox, done, arg);
}

void journal_flip(struct journal *journal, const struct record_source *source, const struct record_switch *r,
                  struct mailbox *mailbox, journal_commit_fn done, void *arg)
{
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, source);
    journal_txn_switch_put(&txn, r);
    journal_commit(journal, &txn, mailbox, done, arg);
}

void journal_history(struct journal *journal, const char *source_id, uint64_t before_number, size_t count_max,
                     struct mailbox *mailbox, journal_history_fn done, void *arg)
{
    struct request *r = request_new(REQUEST_HISTORY, mailbox, arg);
    r->as.query.done = done;
    r->as.query.number = before_number;
    r->as.query.count_max = count_max > JOURNAL_HISTORY_MAX ? JOURNAL_HISTORY_MAX : count_max;
    if (source_id != NULL) r->status = record_set(&r->as.query.source_id, source_id);
    submit(journal, r);
}

void journal_switch_get(struct journal *journal, uint64_t number, struct mailbox *mailbox, journal_history_fn done,
                        void *arg)
{
    struct request *r = request_new(REQUEST_SWITCH, mailbox, arg);
    r->as.query.done = done;
    r->as.query.number = number;
    submit(journal, r);
}

void journal_stats_get(const struct journal *journal, struct journal_stats *out_stats)
{
    *out_stats = (struct journal_stats){
        .queued = atomic_load(&journal->queued),
        .commits = atomic_load(&journal->commits),
        .failures = atomic_load(&journal->failures),
    };
}

/* ---- opening and closing ---- */

static int start_thread(struct journal *j)
{
    if (uv_mutex_init(&j->lock) != 0) return SLUICE_ERR_NOMEM;
    if (uv_cond_init(&j->wake) != 0) goto err_after_mutex_init;
    if (uv_thread_create(&j->thread, thread_main, j) != 0) goto err_after_cond_init;
    return 0;

err_after_cond_init:
    uv_cond_destroy(&j->wake);
err_after_mutex_init:
    uv_mutex_destroy(&j->lock);
    return SLUICE_ERR_NOMEM;
}

static int open_journal(const char *state_dir, struct journal **out_journal, struct journal_state *out_state,
                        struct text *error)
{
    struct journal_state state = { 0 };
    int rv = SLUICE_ERR_NOMEM;
    struct journal *j = mem_calloc(1, sizeof *j);
    if (j == NULL) return rv;
    rv = statedir_take(state_dir, &j->lock_fd, error);
    if (rv != 0) goto err_after_alloc;
    rv = store_open(state_dir, &j->store, &state.is_new, error);
    if (rv != 0) goto err_after_take;
    rv = store_load(j->store, &state, error);
    if (rv != 0) goto err_after_open;
    rv = start_thread(j);
    if (rv != 0) goto err_after_open;
    *out_journal = j;
    *out_state = state;
    return 0;

err_after_open:
    journal_state_free(&state);
    store_close(j->store);
err_after_take:
    statedir_drop(j->lock_fd);
err_after_alloc:
    mem_free(j);
    return rv;
}

int journal_open(const char *state_dir, struct journal **out_journal, struct journal_state *out_state, char **out_error)
{
    struct text error = TEXT_INIT;
    int rv = open_journal(state_dir, out_journal, out_state, &error);
    if (rv == 0) {
        text_free(&error);
        return 0;
    }
    if (error.len == 0) text_printf(&error, "state-dir %s: %s", state_dir, error_text(rv));
    *out_error = text_take(&error);
    return rv;
}

void journal_close(struct journal *journal)
{
    uv_mutex_lock(&journal->lock);
    journal->is_closing = true;
    uv_cond_signal(&journal->wake);
    uv_mutex_unlock(&journal->lock);
    uv_thread_join(&journal->thread);
    uv_cond_destroy(&journal->wake);
    uv_mutex_destroy(&journal->lock);
    store_close(journal->store);
    statedir_drop(journal->lock_fd);
    mem_free(journal);
}
