/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "fake_server.h"
#include "fix_loop.h"
#include "upstream/pool.h"

enum { LIMIT_MS = 20000, SOON_MS = 1500 /* on a loaded machine */ };

/* What became of a job. */
struct outcome {
    unsigned *done_count;
    unsigned calls;
    int status;
    uint64_t at_ms;
};

static void on_done(void *arg, int status, const struct upstream_error *error)
{
    struct outcome *o = arg;
    assert_int_equal(error->code, status);
    o->calls++;
    o->status = status;
    o->at_ms = upstream_now_ms();
    (*o->done_count)++;
}

static uint64_t submit(struct fix_loop *f, const struct upstream_target *target, const char *key,
                       enum upstream_lane lane, uint32_t timeout_ms, upstream_run_fn run, struct outcome *o)
{
    uint64_t id = 0;
    struct upstream_job job = { .target = target,
                                .key = key,
                                .lane = lane,
                                .timeout_ms = timeout_ms,
                                .run = run,
                                .done = on_done,
                                .arg = o,
                                .mailbox = &f->mailbox };
    assert_int_equal(upstream_pool_submit(f->pool, &job, &id), 0);
    assert_int_not_equal(id, 0);
    assert_int_equal(o->calls, 0); /* never from inside */
    return id;
}

/* A job without a server that notes how many of its kind run at once. */
static atomic_int at_once, at_once_most;

static int run_counted(void *arg, struct connector *c, struct upstream_error *error)
{
    (void)arg, (void)error;
    assert_null(c);
    int now = atomic_fetch_add(&at_once, 1) + 1;
    int most = atomic_load(&at_once_most);
    while (now > most && !atomic_compare_exchange_weak(&at_once_most, &most, now))
        continue;
    usleep(20000); /* long enough to overlap with another, if others could */
    atomic_fetch_sub(&at_once, 1);
    return 0;
}

static void run_eight(enum upstream_lane lane, bool same_key, int *out_most)
{
    struct fix_loop f;
    unsigned done = 0;
    struct outcome o[8] = { 0 };
    fix_loop_up(&f, 4);
    atomic_store(&at_once_most, 0);
    for (unsigned i = 0; i < ARRAY_LEN(o); i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", same_key ? 0 : i);
        o[i].done_count = &done;
        submit(&f, NULL, key, lane, LIMIT_MS, run_counted, &o[i]);
    }
    fix_loop_until(&f, &done, ARRAY_LEN(o), LIMIT_MS);
    fix_loop_down(&f);
    for (unsigned i = 0; i < ARRAY_LEN(o); i++) {
        assert_int_equal(o[i].calls, 1);
        assert_int_equal(o[i].status, 0);
    }
    *out_most = atomic_load(&at_once_most);
}

/* Of one backend at most one probe runs at a time; of several, as many as there are threads. */
static void test_one_probe_a_backend_at_a_time(void **state)
{
    (void)state;
    int most;
    run_eight(UPSTREAM_LANE_ORDINARY, true, &most);
    assert_int_equal(most, 1);
    run_eight(UPSTREAM_LANE_ORDINARY, false, &most);
    assert_in_range(most, 2, 4);
}

/* A switch's own queries wait for nothing, not even for each other. */
static void test_reserved_lane_runs_at_once(void **state)
{
    (void)state;
    int most;
    run_eight(UPSTREAM_LANE_RESERVED, true, &most);
    assert_in_range(most, 2, 8);
}

/* A job against a frozen server ends at its deadline, and is answered exactly once. */
static void test_frozen_server_times_out(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct outcome o = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_DRIP);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 1);
    uint64_t began_ms = upstream_now_ms();
    submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 200, NULL, &o);
    fix_loop_until(&f, &done, 1, LIMIT_MS);
    assert_int_equal(o.status, SLUICE_ERR_TIMEOUT);
    assert_in_range(o.at_ms - began_ms, 190, 200 + SOON_MS);
    fix_loop_down(&f);
    assert_int_equal(o.calls, 1);
    fake_server_down(server);
}

/* A frozen server that is known to be slow has threads apart: it takes no thread from a healthy one. */
static void test_slow_backend_delays_nobody(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct upstream_pool_counts counts;
    struct outcome frozen[3] = { 0 }, healthy = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 1); /* one thread: whoever holds it delays all */
    for (unsigned i = 0; i < ARRAY_LEN(frozen); i++)
        frozen[i].done_count = &done;
    submit(&f, &target, "frozen", UPSTREAM_LANE_ORDINARY, 100, NULL, &frozen[0]);
    fix_loop_until(&f, &done, 1, LIMIT_MS);
    upstream_pool_read_counts(f.pool, &counts);
    assert_int_equal(counts.slow_keys, 1);
    submit(&f, &target, "frozen", UPSTREAM_LANE_ORDINARY, 10000, NULL, &frozen[1]);
    uint64_t began_ms = upstream_now_ms();
    submit(&f, NULL, "healthy", UPSTREAM_LANE_ORDINARY, 10000, run_counted, &healthy);
    fix_loop_until(&f, &done, 2, LIMIT_MS);
    assert_int_equal(healthy.calls, 1);
    assert_int_equal(healthy.status, 0);
    assert_true(healthy.at_ms - began_ms < SOON_MS);
    fix_loop_down(&f);
    assert_int_equal(frozen[1].status, SLUICE_ERR_CANCELED); /* by the stop */
    fake_server_down(server);
}

/* Frozen servers on all probe threads do not delay a switch's own query. */
static void test_frozen_probes_do_not_delay_a_switch(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct outcome frozen[8] = { 0 }, own = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 4);
    for (unsigned i = 0; i < ARRAY_LEN(frozen); i++) {
        char key[8];
        snprintf(key, sizeof key, "f%u", i);
        frozen[i].done_count = &done;
        submit(&f, &target, key, UPSTREAM_LANE_ORDINARY, 30000, NULL, &frozen[i]);
    }
    uint64_t began_ms = upstream_now_ms();
    submit(&f, NULL, "f0", UPSTREAM_LANE_RESERVED, 10000, run_counted, &own);
    fix_loop_until(&f, &done, 1, LIMIT_MS);
    assert_int_equal(own.calls, 1);
    assert_true(own.at_ms - began_ms < SOON_MS);
    fix_loop_down(&f);
    fake_server_down(server);
}

/* The time in the queue counts: a job whose turn does not come is answered at its deadline. */
static void test_waiting_job_times_out(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct outcome first = { .done_count = &done }, second = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 2);
    submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 30000, NULL, &first);
    uint64_t began_ms = upstream_now_ms();
    submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 200, NULL, &second);
    fix_loop_until(&f, &done, 1, LIMIT_MS);
    assert_int_equal(second.status, SLUICE_ERR_TIMEOUT);
    assert_in_range(second.at_ms - began_ms, 190, 200 + SOON_MS);
    fix_loop_down(&f);
    assert_int_equal(first.status, SLUICE_ERR_CANCELED);
    fake_server_down(server);
}

/* A cancel ends a job that runs and one that waits; each is answered exactly once, and a cancel after that is nothing. */
static void test_cancel_answers_once(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct outcome runs = { .done_count = &done }, waits = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 2);
    uint64_t running = submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 30000, NULL, &runs);
    uint64_t waiting = submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 30000, NULL, &waits);
    uint64_t limit_ms = upstream_now_ms() + LIMIT_MS;
    while (fake_server_clients(server) == 0 && upstream_now_ms() < limit_ms)
        usleep(1000);
    uint64_t began_ms = upstream_now_ms();
    upstream_pool_cancel(f.pool, waiting);
    upstream_pool_cancel(f.pool, running);
    fix_loop_until(&f, &done, 2, LIMIT_MS);
    upstream_pool_cancel(f.pool, running);
    assert_int_equal(runs.status, SLUICE_ERR_CANCELED);
    assert_int_equal(waits.status, SLUICE_ERR_CANCELED);
    assert_true(runs.at_ms - began_ms < SOON_MS);
    assert_int_equal(fake_server_clients(server), 1);
    fix_loop_down(&f);
    assert_int_equal(runs.calls, 1);
    assert_int_equal(waits.calls, 1);
    fake_server_down(server);
}

/* Stopping answers everything that was submitted, and what is submitted later is refused. */
static void test_stop_answers_all(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct outcome o[50] = { 0 };
    struct fake_server *server = fake_server_up(FAKE_DRIP);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 4);
    for (unsigned i = 0; i < ARRAY_LEN(o); i++) {
        char key[8];
        snprintf(key, sizeof key, "k%u", i % 7);
        o[i].done_count = &done;
        submit(&f, &target, key, i % 3 == 0 ? UPSTREAM_LANE_RESERVED : UPSTREAM_LANE_ORDINARY, 30000, NULL, &o[i]);
    }
    uint64_t began_ms = upstream_now_ms();
    upstream_pool_stop(f.pool);
    assert_true(upstream_now_ms() - began_ms < SOON_MS);
    struct upstream_job late = { .key = "late", .timeout_ms = 1, .done = on_done, .mailbox = &f.mailbox };
    assert_int_equal(upstream_pool_submit(f.pool, &late, NULL), SLUICE_ERR_STOPPING);
    fix_loop_until(&f, &done, ARRAY_LEN(o), LIMIT_MS);
    for (unsigned i = 0; i < ARRAY_LEN(o); i++) {
        assert_int_equal(o[i].calls, 1);
        assert_int_equal(o[i].status, SLUICE_ERR_CANCELED);
    }
    upstream_pool_del(f.pool);
    assert_int_equal(upstream_pool_new(1, &f.pool), 0); /* for fix_loop_down() */
    fix_loop_down(&f);
    fake_server_down(server);
}

/* A server that answers again is not slow any more. */
static int run_nothing(void *arg, struct connector *c, struct upstream_error *error)
{
    (void)arg, (void)c, (void)error;
    return 0;
}

static void test_slow_backend_recovers(void **state)
{
    (void)state;
    struct fix_loop f;
    unsigned done = 0;
    struct upstream_pool_counts counts;
    struct outcome slow = { .done_count = &done }, good = { .done_count = &done };
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    fix_loop_up(&f, 1);
    submit(&f, &target, "a", UPSTREAM_LANE_ORDINARY, 100, NULL, &slow);
    fix_loop_until(&f, &done, 1, LIMIT_MS);
    submit(&f, NULL, "a", UPSTREAM_LANE_ORDINARY, 5000, run_nothing, &good);
    fix_loop_until(&f, &done, 2, LIMIT_MS);
    upstream_pool_read_counts(f.pool, &counts);
    assert_int_equal(good.status, 0);
    assert_int_equal(counts.slow_keys, 0);
    assert_int_equal(counts.timeouts_total, 1);
    fix_loop_down(&f);
    fake_server_down(server);
}

static int setup(void **state)
{
    (void)state;
    return connector_library_init();
}

static int teardown(void **state)
{
    (void)state;
    connector_library_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_probe_a_backend_at_a_time),
        cmocka_unit_test(test_reserved_lane_runs_at_once),
        cmocka_unit_test(test_frozen_server_times_out),
        cmocka_unit_test(test_slow_backend_delays_nobody),
        cmocka_unit_test(test_frozen_probes_do_not_delay_a_switch),
        cmocka_unit_test(test_waiting_job_times_out),
        cmocka_unit_test(test_cancel_answers_once),
        cmocka_unit_test(test_stop_answers_all),
        cmocka_unit_test(test_slow_backend_recovers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
