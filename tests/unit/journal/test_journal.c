/* SPDX-License-Identifier: Apache-2.0 */
/* What is put is what is read back: records, order, numbers, history, and the rules that a put is held to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "world.h"

static int setup(void **state)
{
    static struct world w;
    world_up(&w);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world_down(*state);
    return 0;
}

/* Every field of a source, a pin and an open switch comes back after a restart, byte by byte. */
static void test_journal_load_returns_every_field(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    assert_true(w->state.is_new);
    struct record_source source = a_source("mysql-01", "a", INT64_MAX);
    source.is_held = true;
    source.has_moved = true;
    source.accepted_loss = lit("uuid:1-5");
    source.latch = lit("rewound: \"lacks\" ünïcode\n2nd line");
    source.latch_backend = lit("b");
    struct record_pin pin = { .source_id = lit("mysql-01"),
                              .backend = lit("a"),
                              .server_uuid = lit("u-1"),
                              .executed = lit("u-1:1-9"),
                              .updated_unix_ms = 1700000000999 };
    struct record_switch begun = a_switch("mysql-01", "a", "b", 7, "recorded");
    begun.exit_code = -1;
    begun.msg = lit("m");
    begun.report = lit("{\"checks\":[]}");
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, &source);
    journal_txn_pin_put(&txn, &pin);
    journal_txn_switch_begin(&txn, &begun);
    struct result result = world_commit(w, &txn);
    assert_int_equal(result.status, 0);
    assert_int_equal(result.number, 1);
    world_close(w);

    world_must_open(w);
    assert_false(w->state.is_new);
    assert_int_equal(w->state.source_count, 1);
    const struct record_source *s = journal_state_source(&w->state, "mysql-01");
    assert_non_null(s);
    assert_true(s->has_record);
    assert_true(s->is_held);
    assert_true(s->has_moved);
    assert_true(s->epoch == INT64_MAX);
    assert_string_equal(s->active, "a");
    assert_string_equal(s->accepted_loss, source.accepted_loss);
    assert_string_equal(s->latch, source.latch);
    assert_string_equal(s->latch_backend, "b");
    const struct record_pin *p = journal_state_pin(&w->state, "mysql-01", "a");
    assert_non_null(p);
    assert_string_equal(p->server_uuid, "u-1");
    assert_string_equal(p->executed, "u-1:1-9");
    assert_int_equal(p->updated_unix_ms, 1700000000999);
    assert_null(journal_state_pin(&w->state, "mysql-01", "b"));
    const struct record_switch *c = journal_state_open_switch(&w->state, "mysql-01");
    assert_non_null(c);
    assert_int_equal(c->number, 1);
    assert_int_equal(c->state, RECORD_SWITCH_OPEN);
    assert_string_equal(c->from, "a");
    assert_string_equal(c->to, "b");
    assert_int_equal(c->epoch_from, 7);
    assert_int_equal(c->epoch_to, 8);
    assert_string_equal(c->phase, "recorded");
    assert_string_equal(c->plan, begun.plan);
    assert_string_equal(c->options, "{}");
    assert_int_equal(c->started_unix_ms, begun.started_unix_ms);
    assert_int_equal(c->ended_unix_ms, 0);
    assert_int_equal(c->exit_code, -1);
    assert_string_equal(c->msg, "m");
    assert_string_equal(c->report, begun.report);
}

/* A manual hold can be recorded for a source whose active backend is not known yet, and the first record then takes its place. */
static void test_source_without_record_keeps_hold(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    struct record_source source = { .source_id = lit("s"), .is_held = true };
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, &source);
    assert_int_equal(world_commit(w, &txn).status, 0);
    world_close(w);
    world_must_open(w);
    const struct record_source *s = journal_state_source(&w->state, "s");
    assert_non_null(s);
    assert_false(s->has_record);
    assert_true(s->is_held);
    assert_string_equal(s->active, "");
    assert_int_equal(put_source(w, "s", "a", 0), 0);
}

/* Whatever the caller does with its records after the call, what was handed over is what is written. */
static void test_commit_takes_deep_copies(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    char id[] = "s", active[] = "before";
    struct record_source source = { .source_id = id, .has_record = true, .active = active, .epoch = 1 };
    struct result result = { 0 };
    journal_source_put(w->journal, &source, &w->mailbox, on_result, &result);
    memset(id, 'x', 1);
    memset(active, 'x', strlen(active));
    source.epoch = 99;
    world_run_until(w, &result.is_done);
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.source_count, 1);
    assert_string_equal(w->state.sources[0].source_id, "s");
    assert_string_equal(w->state.sources[0].active, "before");
    assert_int_equal(w->state.sources[0].epoch, 1);
}

enum { ORDER_COUNT = 500 };

/* One of the requests, and what they share. */
struct ordered {
    struct order *order;
    int index;
};

struct order {
    int next;
    bool is_done;
    struct ordered each[ORDER_COUNT];
};

static void on_ordered(void *arg, int status, uint64_t number)
{
    const struct ordered *o = arg;
    (void)number;
    assert_int_equal(status, o->index % 7 == 3 ? SLUICE_ERR_INVALID : 0);
    assert_int_equal(o->order->next, o->index);
    o->order->next++;
    o->order->is_done = o->order->next == ORDER_COUNT;
}

static void on_ordered_query(void *arg, int status, const struct record_switch *list, size_t count)
{
    (void)list;
    assert_int_equal(count, 0);
    assert_int_equal(status, 0);
    on_ordered(arg, 0, 0);
}

/* Answers come in the order of the calls, each once, whether commits, refused ones, empty ones or queries. */
static void test_answers_come_in_order(void **state)
{
    struct world *w = *state;
    static struct order order;
    order = (struct order){ 0 };
    world_must_open(w);
    for (int i = 0; i < ORDER_COUNT; i++) {
        order.each[i] = (struct ordered){ .order = &order, .index = i };
        if (i % 7 == 5) {
            journal_history(w->journal, "s", 0, 10, &w->mailbox, on_ordered_query, &order.each[i]);
            continue;
        }
        struct journal_txn txn = JOURNAL_TXN_INIT;
        struct record_source source = a_source("s", "a", i % 7 == 3 ? 0 : 1 + (uint64_t)i);
        if (i % 7 != 6) journal_txn_source_put(&txn, &source);
        journal_commit(w->journal, &txn, &w->mailbox, on_ordered, &order.each[i]);
    }
    world_run_until(w, &order.is_done);
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.sources[0].epoch, ORDER_COUNT); /* the last request is a plain one: 499 % 7 == 2 */
}

/* Closing executes what is queued and answers all of it: nobody waits for ever. */
static void test_close_answers_what_is_queued(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    static struct result results[200];
    memset(results, 0, sizeof results);
    for (unsigned i = 0; i < 200; i++) {
        struct record_source source = a_source("s", "a", i);
        journal_source_put(w->journal, &source, &w->mailbox, on_result, &results[i]);
    }
    world_close(w);
    world_run_until(w, &results[199].is_done);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(results[i].calls, 1);
        assert_int_equal(results[i].status, 0);
    }
    world_must_open(w);
    assert_int_equal(w->state.sources[0].epoch, 199);
}

/* An epoch never falls; another backend at the same epoch is a mix-up; a known backend is not forgotten; nothing of it is written. */
static void test_source_put_refuses_what_would_turn_time_back(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 5), 0);
    assert_int_equal(put_source(w, "s", "a", 5), 0);
    assert_int_equal(put_source(w, "s", "a", 4), SLUICE_ERR_INVALID);
    assert_int_equal(put_source(w, "s", "b", 5), SLUICE_ERR_INVALID);
    assert_int_equal(put_source(w, "", "b", 6), SLUICE_ERR_INVALID);
    assert_int_equal(put_source(w, "s", "", 6), SLUICE_ERR_INVALID);
    struct record_source forgotten = { .source_id = lit("s") };
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_source_put(&txn, &forgotten);
    assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_INVALID);
    world_close(w);
    world_must_open(w);
    assert_string_equal(w->state.sources[0].active, "a");
    assert_int_equal(w->state.sources[0].epoch, 5);
    assert_int_equal(put_source(w, "s", "b", 6), 0);
}

/* A transaction with one refused change writes none of its changes, and its neighbours in the queue are not touched by that. */
static void test_refused_change_takes_back_its_transaction_only(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    struct result results[3] = { 0 };
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%d", i);
        struct record_source good = a_source(name, "a", 1);
        struct record_source bad = a_source(name, "b", 0);
        struct journal_txn txn = JOURNAL_TXN_INIT;
        journal_txn_source_put(&txn, &good);
        if (i == 1) journal_txn_source_put(&txn, &bad);
        journal_commit(w->journal, &txn, &w->mailbox, on_result, &results[i]);
    }
    world_run_until(w, &results[2].is_done);
    assert_int_equal(results[0].status, 0);
    assert_int_equal(results[1].status, SLUICE_ERR_INVALID);
    assert_int_equal(results[2].status, 0);
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.source_count, 2);
    assert_null(journal_state_source(&w->state, "s1"));
}

/* One open switch a source; numbers rise over all sources and survive a restart; an ended switch is not opened again. */
static void test_switch_numbers_rise_and_one_is_open(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    assert_int_equal(begin_switch(w, "s", "a", "b", 1), 1);
    assert_int_equal(begin_switch(w, "t", "a", "b", 1), 2);
    struct record_switch again = a_switch("s", "a", "c", 1, "recorded");
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_switch_begin(&txn, &again);
    assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_BUSY);
    struct record_switch ended = a_switch("s", "a", "b", 1, "undone");
    ended.number = 1;
    ended.state = RECORD_SWITCH_UNDONE;
    journal_txn_switch_put(&txn, &ended);
    assert_int_equal(world_commit(w, &txn).status, 0);
    world_close(w);
    world_must_open(w);
    assert_null(journal_state_open_switch(&w->state, "s"));
    assert_non_null(journal_state_open_switch(&w->state, "t"));
    assert_int_equal(begin_switch(w, "s", "a", "b", 1), 3);
    ended.state = RECORD_SWITCH_OPEN;
    journal_txn_switch_put(&txn, &ended);
    assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_INVALID);
    ended.number = 77;
    journal_txn_switch_put(&txn, &ended);
    assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_NOT_FOUND);
    ended.number = 2; /* another source's */
    journal_txn_switch_put(&txn, &ended);
    assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_NOT_FOUND);
}

struct found {
    bool is_done;
    int status;
    size_t count;
    uint64_t numbers[8];
    struct record_switch first;
};

static void on_found(void *arg, int status, const struct record_switch *list, size_t count)
{
    struct found *f = arg;
    *f = (struct found){ .is_done = true, .status = status, .count = count };
    for (size_t i = 0; i < count && i < 8; i++)
        f->numbers[i] = list[i].number;
    if (count > 0) assert_int_equal(record_switch_copy(&f->first, list), 0);
}

/* History is newest first, of one source or of all, bounded, and can be paged; one switch is found by its number. */
static void test_history_is_newest_first_and_paged(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    for (unsigned i = 1; i <= 6; i++) {
        struct record_switch r = a_switch(i % 2 == 0 ? "even" : "odd", "a", "b", i, "resumed");
        r.number = begin_switch(w, r.source_id, "a", "b", i);
        r.state = RECORD_SWITCH_DONE;
        r.report = lit("{\"figures\":1}");
        struct journal_txn txn = JOURNAL_TXN_INIT;
        journal_txn_switch_put(&txn, &r);
        assert_int_equal(world_commit(w, &txn).status, 0);
    }
    struct found f = { 0 };
    journal_history(w->journal, "even", 0, 2, &w->mailbox, on_found, &f);
    world_run_until(w, &f.is_done);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.numbers[0], 6);
    assert_int_equal(f.numbers[1], 4);
    assert_string_equal(f.first.report, "{\"figures\":1}");
    record_switch_free(&f.first);

    f.is_done = false;
    journal_history(w->journal, NULL, 4, SIZE_MAX, &w->mailbox, on_found, &f);
    world_run_until(w, &f.is_done);
    assert_int_equal(f.count, 3);
    assert_int_equal(f.numbers[0], 3);
    record_switch_free(&f.first);

    f.is_done = false;
    journal_switch_get(w->journal, 5, &w->mailbox, on_found, &f);
    world_run_until(w, &f.is_done);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.first.number, 5);
    assert_string_equal(f.first.source_id, "odd");
    record_switch_free(&f.first);

    f.is_done = false;
    journal_switch_get(w->journal, 50, &w->mailbox, on_found, &f);
    world_run_until(w, &f.is_done);
    assert_int_equal(f.status, SLUICE_ERR_NOT_FOUND);
}

/* A pin is replaced as a whole and can be forgotten. */
static void test_pin_is_replaced_and_removed(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    struct record_pin pin = {
        .source_id = lit("s"), .backend = lit("a"), .server_uuid = lit("u-1"), .executed = lit("u-1:1-9")
    };
    struct journal_txn txn = JOURNAL_TXN_INIT;
    journal_txn_pin_put(&txn, &pin);
    pin.server_uuid = lit("u-2");
    pin.executed = lit("");
    journal_txn_pin_put(&txn, &pin);
    pin.backend = lit("b");
    journal_txn_pin_put(&txn, &pin);
    assert_int_equal(world_commit(w, &txn).status, 0);
    journal_txn_pin_remove(&txn, "s", "b");
    journal_txn_pin_remove(&txn, "s", "never");
    assert_int_equal(world_commit(w, &txn).status, 0);
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.pin_count, 1);
    assert_string_equal(w->state.pins[0].server_uuid, "u-2");
    assert_string_equal(w->state.pins[0].executed, "");
}

/* Out of memory at any allocation of a transaction's making is answered as that, and nothing is written. */
static void test_out_of_memory_in_a_put_is_answered(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    struct record_source source = a_source("s", "a", 1);
    struct record_switch begun = a_switch("s", "a", "b", 1, "recorded");
    struct record_pin pin = { .source_id = lit("s"), .backend = lit("a") };
    unsigned long n = 1;
    for (;; n++) {
        struct journal_txn txn = JOURNAL_TXN_INIT;
        mem_fail_at(n);
        journal_txn_source_put(&txn, &source);
        journal_txn_switch_begin(&txn, &begun);
        journal_txn_pin_put(&txn, &pin);
        journal_txn_pin_remove(&txn, "s", "a");
        mem_fail_at(0);
        if (txn.status == 0) {
            journal_txn_free(&txn);
            break;
        }
        assert_int_equal(world_commit(w, &txn).status, SLUICE_ERR_NOMEM);
    }
    assert_true(n > 15);
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.source_count, 0);
    assert_int_equal(w->state.open_switch_count, 0);
}

/* Out of memory at any allocation of an opening is an error without a leak, and the lock is free again. */
static void test_out_of_memory_while_opening_leaves_nothing_behind(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    assert_int_equal(put_source(w, "s", "a", 1), 0);
    assert_int_equal(begin_switch(w, "s", "a", "b", 1), 1);
    world_close(w);
    unsigned long n = 1;
    for (;; n++) {
        mem_fail_at(n);
        int rv = world_open(w);
        mem_fail_at(0);
        if (rv == 0) break;
        assert_int_equal(rv, SLUICE_ERR_NOMEM);
    }
    assert_true(n > 15);
    assert_int_equal(w->state.open_switch_count, 1);
}

enum { SUBMITTER_COUNT = 4, SUBMITTER_REQUESTS = 200 };

/* A thread with a loop of its own, as a source's. */
struct submitter {
    struct journal *journal;
    char source_id[8];
    uv_thread_t thread;
    uv_loop_t loop;
    struct mailbox mailbox;
    unsigned answered, wrong;
};

static void on_submitter(void *arg, int status, uint64_t number)
{
    struct submitter *s = arg;
    uv_thread_t self = uv_thread_self();
    if (status != 0 || number != 0 || uv_thread_equal(&self, &s->thread) == 0) s->wrong++;
    if (++s->answered == SUBMITTER_REQUESTS) uv_stop(&s->loop);
}

static void submitter_main(void *arg)
{
    struct submitter *s = arg;
    s->thread = uv_thread_self();
    if (uv_loop_init(&s->loop) != 0 || mailbox_init(&s->mailbox, &s->loop) != 0) {
        s->wrong++;
        return;
    }
    for (unsigned i = 1; i <= SUBMITTER_REQUESTS; i++) {
        struct record_source r = a_source(s->source_id, "a", i);
        journal_source_put(s->journal, &r, &s->mailbox, on_submitter, s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    mailbox_close(&s->mailbox, NULL, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop) != 0) s->wrong++;
}

/* Several loops commit at once: each is answered on its own thread, all of it, and what each wrote last is there. */
static void test_each_loop_gets_its_own_answers(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    static struct submitter submitters[SUBMITTER_COUNT];
    uv_thread_t threads[SUBMITTER_COUNT];
    memset(submitters, 0, sizeof submitters);
    for (int i = 0; i < SUBMITTER_COUNT; i++) {
        submitters[i].journal = w->journal;
        snprintf(submitters[i].source_id, sizeof submitters[i].source_id, "s%d", i);
        assert_int_equal(uv_thread_create(&threads[i], submitter_main, &submitters[i]), 0);
    }
    for (int i = 0; i < SUBMITTER_COUNT; i++) {
        assert_int_equal(uv_thread_join(&threads[i]), 0);
        assert_int_equal(submitters[i].answered, SUBMITTER_REQUESTS);
        assert_int_equal(submitters[i].wrong, 0);
    }
    world_close(w);
    world_must_open(w);
    assert_int_equal(w->state.source_count, SUBMITTER_COUNT);
    for (int i = 0; i < SUBMITTER_COUNT; i++)
        assert_int_equal(w->state.sources[i].epoch, SUBMITTER_REQUESTS);
}

/* However much is written, the log next to the file stays bounded: checkpoints happen by themselves. */
static void test_log_stays_bounded(void **state)
{
    struct world *w = *state;
    world_must_open(w);
    static char big[20000];
    memset(big, 'g', sizeof big - 1);
    struct record_pin pin = { .source_id = lit("s"), .backend = lit("a"), .executed = big };
    for (unsigned i = 0; i < 1500; i++) {
        struct result result = { 0 };
        struct journal_txn txn = JOURNAL_TXN_INIT;
        memset(big, 'a' + (int)(i % 26), sizeof big - 1); /* what did not change is not written */
        journal_txn_pin_put(&txn, &pin);
        journal_commit(w->journal, &txn, &w->mailbox, on_result, &result);
        world_run_until(w, &result.is_done); /* 1500 commits of 20 kB: 30 MB and more in all */
    }
    FILE *log = fopen(world_path(w, "state.db-wal"), "rb");
    assert_non_null(log);
    assert_int_equal(fseek(log, 0, SEEK_END), 0);
    long size = ftell(log);
    fclose(log);
    assert_true(size > 0 && size < 12 << 20);
    struct journal_stats stats;
    journal_stats_get(w->journal, &stats);
    assert_int_equal(stats.commits, 1500);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.queued, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_journal_load_returns_every_field, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_without_record_keeps_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commit_takes_deep_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_answers_what_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_source_put_refuses_what_would_turn_time_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_change_takes_back_its_transaction_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_switch_numbers_rise_and_one_is_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history_is_newest_first_and_paged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pin_is_replaced_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory_in_a_put_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory_while_opening_leaves_nothing_behind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_loop_gets_its_own_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_stays_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
