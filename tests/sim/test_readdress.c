/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole address changes in simulated time: readable traces, and every effect gone wrong in every way, alone and in pairs, with a crash
 * after each. The promise: the source of DM never stands at two addresses; what ends stands at one, all of it running as before, or is
 * left for a person with the journal open; and what the tasks have read is on the server to which they are led.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/readdress.h"

enum { LIMIT_MS = 400000, TRACE_MAX = 64, LINE_LEN = 200, EFFECTS = READDRESS_DO_REPORT + 1, RUNS_MAX = 6 };

enum fault {
    OK,
    FAIL,         /* SLUICE_ERR_IO */
    REFUSE,       /* verdict REFUSED, or SLUICE_ERR_REFUSED */
    LAG,          /* verdict LAGGING; threads left; not verified yet */
    HALF,         /* of STOP and START: a part of it is done, then it fails */
    CRASH_BEFORE, /* the process dies before the effect happens … */
    CRASH_AFTER,  /* … or after it, before its answer is heard */
    ABORT,        /* an operator aborts while the answer is awaited */
    FAULT_COUNT
};

static const char *const fault_names[FAULT_COUNT] = { "ok",   "fail",         "refuse",      "lag",
                                                      "half", "crash-before", "crash-after", "abort" };

struct plan {
    enum readdress_effect_type type;
    unsigned nth; /* 0: always */
    enum fault fault;
};

/* Where the source of DM stands. */
enum place { NOWHERE, OLD, NEW };

static struct world {
    struct readdress r;
    uint64_t now_ms;
    enum place place;
    bool tasks_run, tasks_exist, is_paused;
    bool has_read_new; /* the tasks ran at the new address */
    enum readdress_reach disk;
    bool disk_open, disk_back;
    bool rests, has_ended, is_back;
    unsigned runs;
    struct plan plans[2];
    size_t plan_count;
    unsigned seen[EFFECTS];
    bool is_crashed;
    bool has_answer;
    struct readdress_event answer;
    bool aborts;
    char broken[LINE_LEN];
    char trace[TRACE_MAX][LINE_LEN];
    size_t trace_count;
} w;

static bool edges[READDRESS_STATE_COUNT][READDRESS_STATE_COUNT];
static unsigned runs;

static void reset(void)
{
    const struct readdress_limits limits = { 10000, 5000, 20000 };
    memset(&w, 0, sizeof w);
    w.place = OLD;
    w.tasks_run = w.tasks_exist = true;
    readdress_init(&w.r, &limits);
}

static void broken(const char *what)
{
    if (*w.broken == '\0') snprintf(w.broken, sizeof w.broken, "%s", what);
}

static enum fault fault_of(enum readdress_effect_type type)
{
    unsigned nth = ++w.seen[type];
    for (size_t i = 0; i < w.plan_count; i++) {
        if (w.plans[i].type == type && (w.plans[i].nth == 0 || w.plans[i].nth == nth)) return w.plans[i].fault;
    }
    return OK;
}

static void stop_at(enum place at, bool is_half)
{
    if (w.place != at) return;
    w.tasks_run = w.tasks_exist = false;
    if (!is_half) w.place = NOWHERE;
}

static void start_at(enum place at, bool is_half)
{
    if (w.place != NOWHERE && w.place != at) {
        broken("started while it stands at the other address");
        return;
    }
    w.place = at;
    if (is_half) return;
    if (!w.tasks_exist) {
        w.tasks_exist = w.tasks_run = true;
        w.is_paused = false;
    }
    w.has_read_new = w.has_read_new || at == NEW;
}

/* What the effect does to the world. */
static void happen(enum readdress_effect_type type, bool is_half)
{
    switch (type) {
    case READDRESS_DO_RECORD: break;
    case READDRESS_DO_NOTE_STOP: w.disk = READDRESS_REACH_STOPPED; break;
    case READDRESS_DO_NOTE_START: w.disk = READDRESS_REACH_STARTING; break;
    case READDRESS_DO_NOTE_DONE: w.disk = READDRESS_REACH_STARTED; break;
    case READDRESS_DO_PAUSE:
        w.is_paused = true;
        w.tasks_run = false;
        break;
    case READDRESS_DO_STOP_OLD:
        if (!w.is_paused && w.tasks_exist && w.runs == 1) broken("stopped without a pause");
        stop_at(OLD, is_half);
        break;
    case READDRESS_DO_STOP_NEW: stop_at(NEW, is_half); break;
    case READDRESS_DO_START_NEW: start_at(NEW, is_half); break;
    case READDRESS_DO_START_OLD: start_at(OLD, is_half); break;
    case READDRESS_DO_RESUME:
        if (!w.tasks_exist) broken("resumed what does not exist");
        w.is_paused = false;
        w.tasks_run = true;
        break;
    case READDRESS_DO_END: w.disk_open = false; break;
    case READDRESS_DO_LIST_OLD:
        if (w.place != NOWHERE) broken("looked for threads while the source stands somewhere");
        break;
    case READDRESS_DO_NOTE_UNDO: w.disk_back = true; break;
    case READDRESS_DO_REST:
        w.rests = true;
        w.disk_back = w.r.reach != READDRESS_REACH_STOPPED;
        if (!w.disk_back) w.disk = READDRESS_REACH_STOPPED;
        break;
    case READDRESS_DO_READ_CHECK:
    case READDRESS_DO_READ_GATE:
    case READDRESS_DO_READ_NEW:
    case READDRESS_DO_READ_OLD:
    case READDRESS_DO_VERIFY:
    case READDRESS_DO_REPORT: break;
    }
}

static enum readdress_event_type answer_of(enum readdress_effect_type type)
{
    static const enum readdress_event_type answers[EFFECTS] = {
        [READDRESS_DO_READ_CHECK] = READDRESS_EV_JUDGED, [READDRESS_DO_READ_GATE] = READDRESS_EV_JUDGED,
        [READDRESS_DO_READ_NEW] = READDRESS_EV_JUDGED,   [READDRESS_DO_READ_OLD] = READDRESS_EV_JUDGED,
        [READDRESS_DO_RECORD] = READDRESS_EV_NOTED,      [READDRESS_DO_NOTE_STOP] = READDRESS_EV_NOTED,
        [READDRESS_DO_NOTE_START] = READDRESS_EV_NOTED,  [READDRESS_DO_NOTE_UNDO] = READDRESS_EV_NOTED,
        [READDRESS_DO_NOTE_DONE] = READDRESS_EV_NOTED,   [READDRESS_DO_PAUSE] = READDRESS_EV_PAUSED,
        [READDRESS_DO_STOP_OLD] = READDRESS_EV_STOPPED,  [READDRESS_DO_STOP_NEW] = READDRESS_EV_STOPPED,
        [READDRESS_DO_LIST_OLD] = READDRESS_EV_LISTED,   [READDRESS_DO_START_NEW] = READDRESS_EV_STARTED,
        [READDRESS_DO_START_OLD] = READDRESS_EV_STARTED, [READDRESS_DO_RESUME] = READDRESS_EV_RESUMED,
        [READDRESS_DO_VERIFY] = READDRESS_EV_VERIFIED,   [READDRESS_DO_END] = READDRESS_EV_ENDED,
    };
    return answers[type];
}

static bool is_answered(enum readdress_effect_type type)
{
    return type != READDRESS_DO_REPORT && type != READDRESS_DO_REST;
}

static void fill_answer(const struct readdress_effect *effect, enum fault fault)
{
    struct readdress_event *ev = &w.answer;
    *ev = (struct readdress_event){ .type = answer_of(effect->type), .op = effect->op, .text = "" };
    bool is_judged = ev->type == READDRESS_EV_JUDGED;
    if (fault == FAIL || fault == HALF) {
        ev->status = SLUICE_ERR_IO;
        if (is_judged) ev->verdict = CUTOVER_VERDICT_FAILED;
    } else if (fault == REFUSE) {
        ev->status = SLUICE_ERR_REFUSED;
        if (is_judged) ev->verdict = CUTOVER_VERDICT_REFUSED;
    } else if (fault == LAG) {
        if (is_judged) ev->verdict = CUTOVER_VERDICT_LAGGING;
        if (is_judged) ev->status = SLUICE_ERR_TIMEOUT;
        ev->count = 1;
        if (ev->type == READDRESS_EV_VERIFIED) ev->status = SLUICE_ERR_BUSY;
    }
    w.has_answer = true;
}

static void note_move(const struct readdress_effect *effect)
{
    if (effect->from == effect->to) return;
    edges[effect->from][effect->to] = true;
    if (w.trace_count == TRACE_MAX) return;
    snprintf(w.trace[w.trace_count++], LINE_LEN, "[%5llu] %s -> %s%s%.120s", (unsigned long long)w.now_ms,
             readdress_state_name(effect->from), readdress_state_name(effect->to), *effect->text == '\0' ? "" : ": ",
             effect->text);
}

static void perform(const struct readdress_effect *effect)
{
    if (effect->type == READDRESS_DO_REPORT) {
        note_move(effect);
        return;
    }
    enum fault fault = fault_of(effect->type);
    bool happens = fault == OK || fault == HALF || fault == CRASH_AFTER || fault == ABORT;
    if (fault == CRASH_BEFORE) w.is_crashed = true;
    if (happens) happen(effect->type, fault == HALF);
    if (fault == CRASH_AFTER) w.is_crashed = true;
    if (fault == ABORT) w.aborts = true;
    if (is_answered(effect->type)) fill_answer(effect, fault);
}

static void step(const struct readdress_event *ev)
{
    struct readdress_effects effects;
    struct readdress_event now = *ev;
    now.now_ms = w.now_ms;
    readdress_step(&w.r, &now, &effects);
    for (size_t i = 0; i < effects.count && !w.is_crashed; i++)
        perform(&effects.items[i]);
}

/* Until it ends, rests, or the process dies. */
static void run_process(void)
{
    while (!w.is_crashed && w.r.state != READDRESS_STATE_IDLE && w.now_ms < LIMIT_MS) {
        if (w.aborts) {
            const struct readdress_event ev = { .type = READDRESS_EV_ABORT, .text = "aborted" };
            w.aborts = false;
            step(&ev);
        } else if (w.has_answer) {
            struct readdress_event ev = w.answer;
            w.has_answer = false;
            w.now_ms++;
            step(&ev);
        } else {
            const struct readdress_event ev = { .type = READDRESS_EV_TIME };
            uint64_t next = readdress_deadline_ms(&w.r);
            if (next == UINT64_MAX) {
                broken("nothing is awaited and nothing is due");
                return;
            }
            w.now_ms = next > w.now_ms ? next : w.now_ms;
            step(&ev);
        }
    }
    w.has_ended = !w.is_crashed && w.r.state == READDRESS_STATE_IDLE;
}

/* What a restart does by itself, and a person where he is asked to. */
static void restart(void)
{
    const struct readdress_limits limits = { 10000, 5000, 20000 };
    const struct readdress_event ev = { .type = READDRESS_EV_RECOVER,
                                        .reach = w.disk == READDRESS_REACH_NOTHING ? READDRESS_REACH_PAUSED : w.disk,
                                        .is_back = w.is_back || w.disk_back,
                                        .text = "restart" };
    w.is_crashed = w.has_answer = w.aborts = w.rests = false;
    w.runs++;
    uint64_t now = w.now_ms;
    readdress_init(&w.r, &limits);
    w.r.now_ms = now;
    step(&ev);
    run_process();
}

static void run_all(void)
{
    const struct readdress_event ev = { .type = READDRESS_EV_START, .text = "" };
    w.runs = 1;
    w.disk_open = true; /* it has its number */
    step(&ev);
    run_process();
    while ((w.is_crashed || w.rests) && w.runs < RUNS_MAX)
        restart();
}

static const char *what_is_wrong(void)
{
    if (*w.broken != '\0') return w.broken;
    if (w.rests) return w.disk_open ? NULL : "left for a person, and the journal does not know it";
    if (!w.has_ended) return "it did not end";
    if (w.place == NOWHERE || !w.tasks_exist) return "DM has nothing at the end";
    if (!w.tasks_run && w.r.exit != CUTOVER_EXIT_UNKNOWN) return "the tasks do not run at the end";
    if (w.r.error == 0 && w.runs == 1 && w.place != NEW) return "done, and not at the new address";
    if (w.r.exit != CUTOVER_EXIT_DONE && w.r.exit != CUTOVER_EXIT_UNKNOWN && w.place != OLD)
        return "undone, and not at the old address";
    return NULL;
}

static void run(const struct plan *plans, size_t count, bool is_back)
{
    reset();
    for (size_t i = 0; i < count; i++)
        w.plans[i] = plans[i];
    w.plan_count = count;
    w.is_back = is_back;
    run_all();
    runs++;
    const char *wrong = what_is_wrong();
    if (wrong == NULL) return;
    print_message("WRONG: %s\n", wrong);
    for (size_t i = 0; i < count; i++)
        print_message("effect %d, nth %u: %s, back %d\n", (int)plans[i].type, plans[i].nth, fault_names[plans[i].fault],
                      is_back);
    for (size_t i = 0; i < w.trace_count; i++)
        print_message("  %s\n", w.trace[i]);
    fail();
}

/* ---- traces ---- */

static void expect(size_t count, const char *const *lines)
{
    bool is_equal = count == w.trace_count && *w.broken == '\0';
    for (size_t i = 0; i < count && is_equal; i++)
        is_equal = strncmp(w.trace[i], lines[i], strlen(lines[i])) == 0;
    for (size_t i = 0; i < w.trace_count && !is_equal; i++)
        print_message("%s\n", w.trace[i]);
    assert_true(is_equal);
}

#define EXPECT(...)                                                                                                    \
    do {                                                                                                               \
        static const char *const lines[] = { __VA_ARGS__ };                                                            \
        expect(ARRAY_LEN(lines), lines);                                                                               \
    } while (0)

static void run_with(enum readdress_effect_type type, enum fault fault)
{
    const struct plan plan = { type, 0, fault };
    reset();
    w.plans[0] = plan;
    w.plan_count = 1;
    run_all();
}

static void test_readdress_goes_from_old_to_new(void **state)
{
    (void)state;
    reset();
    run_all();
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> pause", "[    3] pause -> gate",
           "[    4] gate -> note-stop", "[    5] note-stop -> stop", "[    6] stop -> empty",
           "[    7] empty -> gate-again", "[    8] gate-again -> note-start", "[    9] note-start -> start",
           "[   10] start -> note-done", "[   11] note-done -> resume", "[   12] resume -> verify",
           "[   13] verify -> end: done", "[   14] end -> idle");
    assert_int_equal(w.place, NEW);
    assert_true(w.tasks_run);
    assert_int_equal(w.r.exit, CUTOVER_EXIT_DONE);
}

/* Before anything is stopped an undo is a resume: no file is needed for it. */
static void test_refusal_at_the_gate_resumes_what_was_paused(void **state)
{
    (void)state;
    run_with(READDRESS_DO_READ_GATE, REFUSE);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> pause", "[    3] pause -> gate",
           "[    4] gate -> undo-resume", "[    5] undo-resume -> end", "[    6] end -> idle");
    assert_int_equal(w.r.exit, CUTOVER_EXIT_REFUSED);
    assert_int_equal(w.place, OLD);
}

/* Threads that do not leave the old server: waited for, then everything is started there again. */
static void test_threads_that_stay_lead_back(void **state)
{
    (void)state;
    run_with(READDRESS_DO_LIST_OLD, LAG);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> pause", "[    3] pause -> gate",
           "[    4] gate -> note-stop", "[    5] note-stop -> stop", "[    6] stop -> empty",
           "[ 5057] empty -> undo-note", "[ 5058] undo-note -> undo-start", "[ 5059] undo-start -> undo-resume",
           "[ 5060] undo-resume -> end", "[ 5061] end -> idle");
    assert_int_equal(w.r.exit, CUTOVER_EXIT_TIMEOUT);
    assert_int_equal(w.place, OLD);
}

/* A start that fails half way is taken down, and what the tasks have is held to the old server, before they go back. */
static void test_start_that_fails_is_taken_back(void **state)
{
    (void)state;
    run_with(READDRESS_DO_START_NEW, HALF);
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> pause", "[    3] pause -> gate",
           "[    4] gate -> note-stop", "[    5] note-stop -> stop", "[    6] stop -> empty",
           "[    7] empty -> gate-again", "[    8] gate-again -> note-start", "[    9] note-start -> start",
           "[   10] start -> undo-note", "[   11] undo-note -> undo-stop", "[   12] undo-stop -> undo-gate",
           "[   13] undo-gate -> undo-start", "[   14] undo-start -> undo-resume", "[   15] undo-resume -> end",
           "[   16] end -> idle");
    assert_int_equal(w.r.exit, CUTOVER_EXIT_UNDONE);
    assert_int_equal(w.place, OLD);
}

/* What the tasks read there and the old server lacks: nothing is led back silently, and the journal stays open. */
static void test_tasks_ahead_of_the_old_server_are_left_for_a_person(void **state)
{
    const struct plan plans[] = { { READDRESS_DO_START_NEW, 0, HALF }, { READDRESS_DO_READ_OLD, 0, REFUSE } };
    (void)state;
    reset();
    memcpy(w.plans, plans, sizeof plans);
    w.plan_count = 2;
    w.runs = RUNS_MAX;
    w.disk_open = true;
    const struct readdress_event ev = { .type = READDRESS_EV_START, .text = "" };
    step(&ev);
    run_process();
    assert_true(w.rests && w.disk_open);
    assert_int_equal(w.r.exit, CUTOVER_EXIT_UNKNOWN);
    assert_int_equal(w.disk, READDRESS_REACH_STOPPED); /* both ways are open to him */
    assert_false(w.disk_back);
}

/* The process dies before the source is created; a person goes on: sets are read again, then it is created. */
static void test_crash_is_gone_on_with(void **state)
{
    const struct plan plan = { READDRESS_DO_START_NEW, 1, CRASH_BEFORE };
    (void)state;
    reset();
    w.plans[0] = plan;
    w.plan_count = 1;
    run_all();
    EXPECT("[    0] idle -> check", "[    1] check -> record", "[    2] record -> pause", "[    3] pause -> gate",
           "[    4] gate -> note-stop", "[    5] note-stop -> stop", "[    6] stop -> empty",
           "[    7] empty -> gate-again", "[    8] gate-again -> note-start", "[    9] note-start -> start",
           "[    9] idle -> gate-again: restart", "[   10] gate-again -> note-start", "[   11] note-start -> start",
           "[   12] start -> note-done", "[   13] note-done -> resume", "[   14] resume -> verify",
           "[   15] verify -> end: done", "[   16] end -> idle");
    assert_int_equal(w.place, NEW);
}

/* ---- all of it ---- */

/* An effect gone wrong for ever where somebody else must act would not end, and must not. */
static bool may_last(const struct plan *p)
{
    if (p->nth != 0) return true;
    bool must_succeed = p->type == READDRESS_DO_RESUME || p->type == READDRESS_DO_END ||
                        p->type == READDRESS_DO_START_OLD || p->type == READDRESS_DO_STOP_NEW ||
                        p->type == READDRESS_DO_READ_OLD || p->type == READDRESS_DO_NOTE_UNDO;
    bool is_crash = p->fault == CRASH_BEFORE || p->fault == CRASH_AFTER;
    return !is_crash && !must_succeed;
}

static bool makes_sense(const struct plan *p)
{
    bool is_move = p->type == READDRESS_DO_STOP_OLD || p->type == READDRESS_DO_STOP_NEW ||
                   p->type == READDRESS_DO_START_NEW || p->type == READDRESS_DO_START_OLD;
    enum readdress_event_type answer = answer_of(p->type);
    bool may_lag = answer == READDRESS_EV_JUDGED || answer == READDRESS_EV_LISTED || answer == READDRESS_EV_VERIFIED;
    return (p->fault != HALF || is_move) && (p->fault != LAG || may_lag) && (is_answered(p->type) || p->fault == OK);
}

static void each_fault(void (*fn)(struct plan plan))
{
    for (int type = 0; type < READDRESS_DO_REPORT; type++) {
        for (unsigned nth = 0; nth <= 1; nth++) {
            for (int fault = FAIL; fault < FAULT_COUNT; fault++) {
                struct plan plan = { (enum readdress_effect_type)type, nth, (enum fault)fault };
                if (may_last(&plan) && makes_sense(&plan)) fn(plan);
            }
        }
    }
}

static struct plan first;

static void run_one(struct plan plan)
{
    run(&plan, 1, false);
    run(&plan, 1, true);
}

static void run_second(struct plan plan)
{
    const struct plan both[2] = { first, plan };
    if (first.type == plan.type && first.nth == plan.nth) return;
    run(both, 2, false);
    run(both, 2, true);
}

static void run_pairs(struct plan plan)
{
    if (plan.nth == 0) return;
    first = plan;
    each_fault(run_second);
}

static void test_each_fault_alone_and_in_pairs_keeps_the_promise(void **state)
{
    (void)state;
    run(NULL, 0, false);
    each_fault(run_one);
    each_fault(run_pairs);
    print_message("%u runs\n", runs);
    assert_true(runs > 1000);
}

static void test_every_allowed_edge_was_taken_and_no_other(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (int i = 0; i < READDRESS_STATE_COUNT; i++) {
        for (int j = 0; j < READDRESS_STATE_COUNT; j++) {
            bool is_allowed = readdress_edge_is_allowed((enum readdress_state)i, (enum readdress_state)j);
            if (is_allowed == edges[i][j]) continue;
            print_message("%s -> %s: allowed %d, taken %d\n", readdress_state_name((enum readdress_state)i),
                          readdress_state_name((enum readdress_state)j), is_allowed, edges[i][j]);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readdress_goes_from_old_to_new),
        cmocka_unit_test(test_refusal_at_the_gate_resumes_what_was_paused),
        cmocka_unit_test(test_threads_that_stay_lead_back),
        cmocka_unit_test(test_start_that_fails_is_taken_back),
        cmocka_unit_test(test_tasks_ahead_of_the_old_server_are_left_for_a_person),
        cmocka_unit_test(test_crash_is_gone_on_with),
        cmocka_unit_test(test_each_fault_alone_and_in_pairs_keeps_the_promise),
        cmocka_unit_test(test_every_allowed_edge_was_taken_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
