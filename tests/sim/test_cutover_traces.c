/* SPDX-License-Identifier: Apache-2.0 */
/* Whole switches as readable traces, in simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "sim.h"

static struct sim sim;

static int setup(void **state)
{
    (void)state;
    sim_init(&sim);
    return 0;
}

static void print_trace(void)
{
    for (size_t i = 0; i < sim.trace_count; i++)
        print_message("%s\n", sim.trace[i]);
}

/* Each line begins a line of the trace, in this order, and the trace has no others. */
static void expect(size_t count, const char *const *lines)
{
    bool is_equal = count == sim.trace_count;
    for (size_t i = 0; i < count && is_equal; i++)
        is_equal = strncmp(sim.trace[i], lines[i], strlen(lines[i])) == 0;
    if (!is_equal) print_trace();
    assert_true(is_equal);
    assert_string_equal(sim.broken, "");
}

#define EXPECT(...)                                                                                                    \
    do {                                                                                                               \
        static const char *const lines[] = { __VA_ARGS__ };                                                            \
        expect(ARRAY_LEN(lines), lines);                                                                               \
    } while (0)

/* A busy session ends inside drain-timeout: nobody is killed, the dump thread is killed by id, clients reach B. */
static void test_switch_drains_and_flips(void **state)
{
    (void)state;
    sim_leg(&sim, SIM_LEG_IDLE, 0);
    sim_leg(&sim, SIM_LEG_BUSY, 136);
    sim_leg(&sim, SIM_LEG_STREAM, 0);
    sim_switch(&sim, 60000);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> park", "[    3] park -> pause",
           "[    4] pause -> gate", "[    5] gate -> see", "[    6] see -> hold", "[    6] hold -> drain",
           "[  136] drain -> empty: sessions left: 0", "[  140] empty -> gate-again", "[  141] gate-again -> flip",
           "[  142] flip -> release", "[  142] release -> resume", "[  143] resume -> verify",
           "[  144] verify -> end: done", "[  145] end -> idle");
    assert_int_equal(sim.exit, CUTOVER_EXIT_DONE);
    assert_int_equal(sim.routed_to, 1);
    assert_int_equal(sim.disk_epoch, 5);
    assert_true(sim.is_running);
}

/* What is left at drain-timeout is cut, and the hold stays far below hold-timeout. */
static void test_drain_timeout_cuts_what_is_left(void **state)
{
    (void)state;
    sim_leg(&sim, SIM_LEG_BUSY, 60000);
    sim_switch(&sim, 60000);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> park", "[    3] park -> pause",
           "[    4] pause -> gate", "[    5] gate -> see", "[    6] see -> hold", "[    6] hold -> drain",
           "[ 3006] drain -> kill: drain-timeout: 1 sessions are cut", "[ 3007] kill -> empty",
           "[ 3008] empty -> gate-again", "[ 3009] gate-again -> flip", "[ 3010] flip -> release",
           "[ 3010] release -> resume", "[ 3011] resume -> verify", "[ 3012] verify -> end: done",
           "[ 3013] end -> idle");
    assert_in_range(sim.longest_wait_ms, 3000, 3100);
}

/* A refusal at the first check touches nothing: no record, no pause, no hold; exit 3. */
static void test_refusal_by_check_touches_nothing(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_READ_CHECK, 1, SIM_REFUSE);
    sim_switch(&sim, 60000);
    EXPECT("[    0] idle -> check", "[    1] check -> end: refuse", "[    2] end -> idle");
    assert_int_equal(sim.exit, CUTOVER_EXIT_REFUSED);
    assert_int_equal(sim.seen[CUTOVER_DO_PAUSE], 0);
    assert_int_equal(sim.resumes, 0);
}

/* A refusal after the pause undoes: release first (nobody was held), then resume; the cause beats the stage: exit 3. */
static void test_refusal_after_the_pause_is_undone(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_READ_GATE, 1, SIM_REFUSE);
    sim_switch(&sim, 60000);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> park", "[    3] park -> pause",
           "[    4] pause -> gate", "[    5] gate -> undo-release: refuse", "[    5] undo-release -> undo-resume",
           "[    6] undo-resume -> end: refuse", "[    7] end -> idle");
    assert_int_equal(sim.exit, CUTOVER_EXIT_REFUSED);
    assert_int_equal(sim.resumes, 1);
    assert_int_equal(sim.routed_to, 0);
}

/* A transaction in flight on a stream gets park-timeout to end; then it is undone, and nobody was held or paused. */
static void test_park_gives_up_at_its_limit(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_PARK, 0, SIM_LAG);
    sim_switch(&sim, 100000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_TIMEOUT);
    assert_int_equal(sim.seen[CUTOVER_DO_PAUSE] + sim.seen[CUTOVER_DO_HOLD], 0);
    assert_int_equal(sim.resumes, 0); /* what somebody else may have stopped meanwhile stays so */
    assert_in_range(sim.now_ms, 60000, 60100);
    assert_string_equal(sim.broken, "");
}

/* A backend that catches up within its time is waited for before anything is touched. */
static void test_catchup_is_waited_for(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_READ_CHECK, 1, SIM_LAG);
    sim_fault(&sim, CUTOVER_DO_READ_CHECK, 2, SIM_LAG);
    sim_switch(&sim, 60000);
    assert_string_equal(sim.trace[1], "[    1] check -> catch-up: lag");
    assert_string_equal(sim.trace[2], "[  203] catch-up -> record: ok");
    assert_int_equal(sim.exit, CUTOVER_EXIT_DONE);
    assert_string_equal(sim.broken, "");
}

/* A replicating backend that does not catch up in time is a limit that ran out: exit 4, nothing was touched. */
static void test_catchup_gives_up_at_its_limit(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_READ_CHECK, 0, SIM_LAG);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_TIMEOUT);
    assert_int_equal(sim.seen[CUTOVER_DO_PAUSE], 0);
    assert_in_range(sim.now_ms, 10000, 10300);
}

/* With catch-up 0 a backend that is behind is refused within the moment that replication always needs: exit 3. */
static void test_catchup_of_zero_refuses(void **state)
{
    (void)state;
    sim.limits.catchup_timeout_ms = 0;
    sim_fault(&sim, CUTOVER_DO_READ_CHECK, 0, SIM_LAG);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_REFUSED);
    assert_in_range(sim.now_ms, 500, 700);
}

/* E that does not come to contain D while clients are held: undone before hold-timeout, all clients served again. */
static void test_gate_again_gives_up_within_the_hold(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_READ_NEW, 0, SIM_LAG);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_TIMEOUT);
    assert_int_equal(sim.expired, 0);
    assert_in_range(sim.longest_wait_ms, 7400, 7510);
    assert_int_equal(sim.routed_to, 0);
    assert_true(sim.is_running);
    assert_string_equal(sim.broken, "");
}

/* A commit whose error hides what is on disk: nobody is routed before a later one names the old backend, epoch 6. */
static void test_unknown_flip_is_settled_by_a_later_commit(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_FLIP, 1, SIM_UNKNOWN);
    sim_fault(&sim, CUTOVER_DO_COMMIT_OLD, 1, SIM_FAIL);
    sim_fault(&sim, CUTOVER_DO_COMMIT_OLD, 2, SIM_FAIL);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_UNDONE);
    assert_int_equal(sim.seen[CUTOVER_DO_COMMIT_OLD], 3);
    assert_int_equal(sim.disk_active, 0);
    assert_int_equal(sim.disk_epoch, 6);
    assert_string_equal(sim.broken, "");
}

/* An abort while the consumer is being paused waits for the pause to end, then takes it back. */
static void test_abort_in_pause_waits_for_its_end(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_PAUSE, 1, SIM_ABORT);
    sim_switch(&sim, 60000);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> park", "[    3] park -> pause",
           "[    4] pause -> pause-ending: aborted", "[   23] pause-ending -> undo-release: aborted",
           "[   23] undo-release -> undo-resume", "[   24] undo-resume -> end: aborted", "[   25] end -> idle");
    assert_int_equal(sim.exit, CUTOVER_EXIT_UNDONE);
    assert_true(sim.is_running);
}

/* A consumer that does not become healthy after the flip is not undone: exit 5. */
static void test_unhealthy_consumer_after_the_flip_is_exit_5(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_VERIFY, 0, SIM_LAG);
    sim_switch(&sim, 200000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_UNKNOWN);
    assert_int_equal(sim.routed_to, 1);
    assert_in_range(sim.now_ms, 120000, 121000);
}

/* Of a server declared dead nothing is asked. */
static void test_dead_old_server_is_not_asked(void **state)
{
    (void)state;
    sim.old_is_dead = true;
    sim_leg(&sim, SIM_LEG_STREAM, 0);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.exit, CUTOVER_EXIT_DONE);
    assert_int_equal(sim.seen[CUTOVER_DO_LIST_LIVE] + sim.seen[CUTOVER_DO_LIST_OLD], 0);
}

/* Killed right after the flip was written: the restart goes on, releases to B and resumes. */
static void test_crash_after_the_flip_goes_on(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_FLIP, 1, SIM_CRASH_AFTER);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.crashes, 1);
    assert_int_equal(sim.routed_to, 1);
    assert_int_equal(sim.exit, CUTOVER_EXIT_DONE);
    assert_true(sim.is_running);
    assert_string_equal(sim.broken, "");
}

/* Killed right before it: the restart undoes, releases to A and resumes. */
static void test_crash_before_the_flip_is_undone(void **state)
{
    (void)state;
    sim_fault(&sim, CUTOVER_DO_FLIP, 1, SIM_CRASH_BEFORE);
    sim_switch(&sim, 60000);
    assert_int_equal(sim.crashes, 1);
    assert_int_equal(sim.routed_to, 0);
    assert_int_equal(sim.exit, CUTOVER_EXIT_UNDONE);
    assert_true(sim.is_running);
    assert_string_equal(sim.broken, "");
}

/* One event with the op that is awaited; what comes of it is dropped. */
static void step(struct cutover *c, enum cutover_event_type type, uint64_t now_ms, int status, uint32_t count)
{
    struct cutover_effects effects;
    const struct cutover_event ev = {
        .type = type, .now_ms = now_ms, .op = c->op, .status = status, .count = count, .flipped = true, .text = "t"
    };
    cutover_step(c, &ev, &effects);
}

/* While a consumer comes closer, verify-timeout begins anew; when it stands still for that long, a person must look. */
static void test_verify_is_extended_while_it_progresses(void **state)
{
    (void)state;
    static const struct cutover_limits limits = { .hold_timeout_ms = 8000,
                                                  .drain_timeout_ms = 3000,
                                                  .flip_reserve_ms = 500,
                                                  .verify_timeout_ms = 1000 };
    struct cutover c;
    uint64_t now = 0;
    cutover_init(&c, &limits);
    step(&c, CUTOVER_EV_RECOVER, now, 0, 0);
    step(&c, CUTOVER_EV_RESUMED, now, 0, 0);
    for (int i = 0; i < 100; i++) { /* far beyond verify-timeout */
        step(&c, CUTOVER_EV_VERIFIED, now, SLUICE_ERR_BUSY, 1);
        assert_int_equal(c.state, CUTOVER_STATE_VERIFY);
        now += 200;
        step(&c, CUTOVER_EV_TIME, now, 0, 0);
    }
    for (int i = 0; i < 4; i++) {
        step(&c, CUTOVER_EV_VERIFIED, now, SLUICE_ERR_BUSY, 0);
        assert_int_equal(c.state, CUTOVER_STATE_VERIFY);
        now += 200;
        step(&c, CUTOVER_EV_TIME, now, 0, 0);
    }
    step(&c, CUTOVER_EV_VERIFIED, now, SLUICE_ERR_BUSY, 0);
    assert_int_equal(c.state, CUTOVER_STATE_END);
    assert_int_equal(c.exit, CUTOVER_EXIT_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_switch_drains_and_flips, setup),
        cmocka_unit_test_setup(test_drain_timeout_cuts_what_is_left, setup),
        cmocka_unit_test_setup(test_refusal_by_check_touches_nothing, setup),
        cmocka_unit_test_setup(test_refusal_after_the_pause_is_undone, setup),
        cmocka_unit_test_setup(test_park_gives_up_at_its_limit, setup),
        cmocka_unit_test_setup(test_catchup_is_waited_for, setup),
        cmocka_unit_test_setup(test_catchup_gives_up_at_its_limit, setup),
        cmocka_unit_test_setup(test_catchup_of_zero_refuses, setup),
        cmocka_unit_test_setup(test_gate_again_gives_up_within_the_hold, setup),
        cmocka_unit_test_setup(test_unknown_flip_is_settled_by_a_later_commit, setup),
        cmocka_unit_test_setup(test_abort_in_pause_waits_for_its_end, setup),
        cmocka_unit_test_setup(test_unhealthy_consumer_after_the_flip_is_exit_5, setup),
        cmocka_unit_test_setup(test_dead_old_server_is_not_asked, setup),
        cmocka_unit_test_setup(test_crash_after_the_flip_goes_on, setup),
        cmocka_unit_test_setup(test_crash_before_the_flip_is_undone, setup),
        cmocka_unit_test_setup(test_verify_is_extended_while_it_progresses, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
