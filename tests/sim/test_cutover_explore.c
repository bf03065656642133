/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every effect of a switch goes wrong in every way, alone and in pairs; the promises are checked after each step of each run, and
 * at its end the world is whole: one backend routed, as the disk says, and the consumer as it was. Over all runs every allowed edge
 * was taken, and none besides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "sim.h"

enum { LIMIT_MS = 400000 };

static struct sim sim;
static bool edges[CUTOVER_STATE_COUNT][CUTOVER_STATE_COUNT];
static unsigned runs;

static void describe(const struct sim_plan *plans, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_message("effect %d, nth %u: %s\n", (int)plans[i].type, plans[i].nth, sim_fault_name(plans[i].fault));
    for (size_t i = 0; i < sim.trace_count; i++)
        print_message("  %s\n", sim.trace[i]);
}

static const char *what_is_wrong(void)
{
    static char text[300];
    if (*sim.broken != '\0') return sim.broken;
    if (!sim.has_ended) return "the switch did not end";
    if (!sim.is_routing) return "nobody is routed at the end";
    if (sim.is_running != sim.was_running && sim.exit != CUTOVER_EXIT_UNKNOWN) return "the consumer is not as it was";
    if (sim.exit == CUTOVER_EXIT_DONE && sim.routed_to != 1) return "done, but not on B";
    if (sim.exit != CUTOVER_EXIT_DONE && sim.exit != CUTOVER_EXIT_UNKNOWN && sim.routed_to != 0)
        return "undone, but not on A";
    if (sim.longest_wait_ms > sim.limits.hold_timeout_ms) {
        snprintf(text, sizeof text, "a client waited %llu ms", (unsigned long long)sim.longest_wait_ms);
        return text;
    }
    return NULL;
}

static void run(const struct sim_plan *plans, size_t count, bool old_is_dead)
{
    sim_init(&sim);
    sim.old_is_dead = old_is_dead;
    sim_leg(&sim, SIM_LEG_IDLE, 0);
    sim_leg(&sim, SIM_LEG_BUSY, runs % 3 == 0 ? 60000 : 40);
    sim_leg(&sim, SIM_LEG_STREAM, 0);
    for (size_t i = 0; i < count; i++)
        sim_fault(&sim, plans[i].type, plans[i].nth, plans[i].fault);
    sim_switch(&sim, LIMIT_MS);
    runs++;
    const char *wrong = what_is_wrong();
    if (wrong != NULL) {
        print_message("WRONG: %s\n", wrong);
        describe(plans, count);
    }
    assert_null(wrong);
    for (size_t i = 0; i < CUTOVER_STATE_COUNT; i++)
        for (size_t j = 0; j < CUTOVER_STATE_COUNT; j++)
            edges[i][j] |= sim.edges[i][j];
}

/* An effect goes wrong for ever only where somebody else must act; the world would not end, and must not. */
static bool may_last(const struct sim_plan *p)
{
    if (p->nth != 0) return true;
    bool must_succeed = p->type == CUTOVER_DO_COMMIT_OLD || p->type == CUTOVER_DO_RESUME || p->type == CUTOVER_DO_END;
    bool is_crash = p->fault == SIM_CRASH_BEFORE || p->fault == SIM_CRASH_AFTER;
    return !is_crash && !(must_succeed && p->fault != SIM_LATE && p->fault != SIM_OK);
}

static void each_fault(void (*fn)(struct sim_plan plan))
{
    for (int type = 0; type < CUTOVER_DO_REPORT; type++) {
        for (unsigned nth = 0; nth <= 1; nth++) {
            for (int fault = SIM_FAIL; fault < SIM_FAULT_COUNT; fault++) {
                struct sim_plan plan = { (enum cutover_effect_type)type, nth, (enum sim_fault)fault };
                if (may_last(&plan)) fn(plan);
            }
        }
    }
}

static struct sim_plan first;

static void run_one(struct sim_plan plan)
{
    run(&plan, 1, false);
    run(&plan, 1, true);
}

static void run_second(struct sim_plan plan)
{
    const struct sim_plan both[2] = { first, plan };
    if (first.type == plan.type && first.nth == plan.nth) return;
    run(both, 2, false);
}

static void run_pairs(struct sim_plan plan)
{
    if (plan.nth == 0) return;
    first = plan;
    each_fault(run_second);
}

static void test_each_fault_alone_keeps_the_promises(void **state)
{
    (void)state;
    run(NULL, 0, false);
    each_fault(run_one);
    print_message("%u runs\n", runs);
}

static void test_pairs_of_faults_keep_the_promises(void **state)
{
    (void)state;
    each_fault(run_pairs);
    print_message("%u runs\n", runs);
}

static void test_every_allowed_edge_was_taken_and_no_other(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (int i = 0; i < CUTOVER_STATE_COUNT; i++) {
        for (int j = 0; j < CUTOVER_STATE_COUNT; j++) {
            bool is_allowed = cutover_edge_is_allowed((enum cutover_state)i, (enum cutover_state)j);
            if (is_allowed == edges[i][j]) continue;
            print_message("%s -> %s: allowed %d, taken %d\n", cutover_state_name((enum cutover_state)i),
                          cutover_state_name((enum cutover_state)j), is_allowed, edges[i][j]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_fault_alone_keeps_the_promises),
        cmocka_unit_test(test_pairs_of_faults_keep_the_promises),
        cmocka_unit_test(test_every_allowed_edge_was_taken_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
