/* SPDX-License-Identifier: Apache-2.0 */
/* What is planned, what is ordered next, and when it is done: decided from statuses alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "fix_dm.h"
#include "sluice/gtid.h"

#define A "aaaaaaaa-0000-0000-0000-000000000001"
#define B "bbbbbbbb-0000-0000-0000-000000000002"

#define CANCELED "{\"isCanceled\":true,\"errors\":[],\"detail\":null}"
#define FAILED                                                                                                         \
    "{\"isCanceled\":false,\"errors\":[{\"ErrCode\":36069,\"Message\":\"get binlog event "                             \
    "error\",\"RawCause\":\"EOF\"}]}"

/* A task of the unit |unit|, whose S is |s|, whose worker sees |master| on the server, whose validator is |validation|. */
#define TASK_OF(name, unit, stage, result, s, master, local, validation)                                               \
    "{\"name\":\"" name "\",\"stage\":\"" stage "\",\"unit\":\"" unit "\",\"result\":" result                          \
    ",\"sync\":{\"syncerBinlogGtid\":\"" s "\",\"masterBinlogGtid\":\"" master "\",\"binlogType\":\"" local            \
    "\"},\"validation\":" validation "}"
#define TASK(name, stage, result, s)       TASK_OF(name, "Sync", stage, result, s, A ":1-100", "remote", "null")
#define LOCAL_TASK(name, stage, result, s) TASK_OF(name, "Sync", stage, result, s, A ":1-100", "local", "null")
#define VALIDATION(stage)                                                                                              \
    "{\"mode\":\"fast\",\"stage\":\"" stage "\",\"validatorBinlogGtid\":\"" A ":1-7\",\"result\":null}"
#define RELAY(stage, result, dir, w)                                                                                   \
    "{\"stage\":\"" stage "\",\"result\":" result ",\"relaySubDir\":\"" dir "\",\"relayBinlogGtid\":\"" w "\"}"
#define STATUS(relay, tasks)                                                                                           \
    "{\"result\":true,\"sources\":[{\"result\":true,\"msg\":\"\",\"sourceStatus\":{\"source\":\"mysql-01\","           \
    "\"worker\":\"w1\","                                                                                               \
    "\"relayStatus\":" relay "},\"subTaskStatus\":[" tasks "]}]}"

/* The plan for a status, as it is journaled; mem_free(). */
static char *plan_text(const char *status)
{
    struct dm_facts f = { .source = fix_dm_status(status) };
    struct dm_plan plan;
    assert_int_equal(dm_plan_make(&f, &plan), 0);
    char *text = dm_plan_write(&plan, "mysql-01");
    dm_plan_free(&plan);
    dm_facts_free(&f);
    return text;
}

static struct dm_plan plan_of(const char *status)
{
    struct dm_plan plan;
    char *text = plan_text(status);
    assert_int_equal(dm_plan_read(text, &plan), 0); /* as another process would get it */
    mem_free(text);
    return plan;
}

static void expect_plan(const char *status, const char *wanted)
{
    char *text = plan_text(status);
    assert_string_equal(text, wanted);
    mem_free(text);
}

/* What runs, and what DM may resume by itself, is planned; what somebody paused, stopped, or what has ended, is not. */
static void test_plan_names_what_is_awake(void **state)
{
    (void)state;
    expect_plan(
        STATUS("null",
               TASK("run", "Running", "null", A ":1-9") "," TASK("err", "Paused", FAILED, A ":1-9") "," TASK(
                   "paused", "Paused", CANCELED,
                   A ":1-9") "," TASK("restarted", "Paused", "null",
                                      A ":1-9") "," TASK("stopped", "Stopped", CANCELED,
                                                         A ":1-9") "," TASK("moving", "Resuming", "null", A ":1-9")),
        "{\"type\":\"dm\",\"source\":\"mysql-01\",\"tasks\":[\"run\",\"err\",\"moving\"],\"relay\":false,"
        "\"relay-worker\":\"\",\"validators\":[],\"in-error\":[\"err\"]}");
}

/* A relay that runs and validators that run are in it, each validator with its mode; a stopped validator is not. */
static void test_plan_names_relay_and_validators(void **state)
{
    (void)state;
    expect_plan(
        STATUS(RELAY("Running", "null", A ".000001", A ":1-9"),
               TASK_OF("t1", "Sync", "Running", "null", A ":1-9", "", "local", VALIDATION("Running")) "," TASK_OF(
                   "t2", "Sync", "Paused", CANCELED, A ":1-9", "", "local",
                   VALIDATION("Running")) "," TASK_OF("t3", "Sync", "Running", "null", A ":1-9", "", "local",
                                                      VALIDATION("Stopped"))),
        "{\"type\":\"dm\",\"source\":\"mysql-01\",\"tasks\":[\"t1\",\"t3\"],\"relay\":true,\"relay-worker\":\"\","
        "\"validators\":[{\"task\":\"t1\",\"mode\":\"fast\"},{\"task\":\"t2\",\"mode\":\"fast\"}]}");
    expect_plan(STATUS(RELAY("Paused", CANCELED, A ".000001", A ":1-9"), TASK("t1", "Paused", CANCELED, A ":1-9")),
                "{\"type\":\"dm\",\"source\":\"mysql-01\",\"tasks\":[],\"relay\":false,\"relay-worker\":\"\","
                "\"validators\":[]}");
}

/* A relay that was started on a worker by name, not with the source, is stopped and started there. */
static void test_plan_keeps_where_the_relay_was_started(void **state)
{
    (void)state;
    struct dm_facts f = { .source = fix_dm_status(
                              STATUS(RELAY("Running", "null", A ".000001", ""), TASK("t", "Running", "null", ""))),
                          .has_config = true };
    struct dm_plan plan;
    assert_int_equal(dm_plan_make(&f, &plan), 0);
    assert_string_equal(plan.relay_worker, "w1");
    dm_plan_free(&plan);
    f.enable_relay = true;
    assert_int_equal(dm_plan_make(&f, &plan), 0);
    assert_string_equal(plan.relay_worker, "");
    dm_plan_free(&plan);
    dm_facts_free(&f);
}

/* Nothing is planned from a status that does not show the tasks. */
static void test_no_plan_from_the_unknown(void **state)
{
    (void)state;
    struct dm_facts f = { .source = fix_dm_recorded_status("30-status-while-held-35-s") };
    struct dm_plan plan;
    assert_int_equal(dm_plan_make(&f, &plan), SLUICE_ERR_REFUSED);
    dm_facts_free(&f);
}

/* Texts that are no plan are refused. */
static void test_broken_plans_are_refused(void **state)
{
    static const char *const broken[] = {
        "",
        "{}",
        "[]",
        "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":true}",
        "{\"type\":\"dm\",\"source\":\"m\",\"tasks\":{},\"relay\":false,\"relay-worker\":\"\",\"validators\":[]}",
        "{\"type\":\"dm\",\"source\":\"m\",\"tasks\":[1],\"relay\":false,\"relay-worker\":\"\",\"validators\":[]}",
        "{\"type\":\"dm\",\"source\":\"m\",\"tasks\":[\"\"],\"relay\":false,\"relay-worker\":\"\",\"validators\":[]}",
        ("{\"type\":\"dm\",\"source\":\"m\",\"tasks\":[],\"relay\":false,\"relay-worker\":\"\",\"validators\":[{"
         "\"task\":\"t\"}]}"),
        "{\"type\":\"dm\",\"source\":\"m\",\"tasks\":[],\"relay\":1,\"relay-worker\":\"\",\"validators\":[]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct dm_plan plan = { 0 };
        if (dm_plan_read(broken[i], &plan) != SLUICE_ERR_INVALID) fail_msg("%s", broken[i]);
    }
}

/* ---- as a consumer's status ---- */

static struct consumer_status status_of(const char *text, const struct dm_plan *plan)
{
    struct dm_facts f = { .source = fix_dm_status(text) };
    struct consumer_status c = { 0 };
    assert_int_equal(dm_fill_status(&f, plan, &c), 0);
    dm_facts_free(&f);
    return c;
}

/* Load and Dump block; a Finished one stands in Load and does not; nor does a Sync task with S. */
static void test_units_that_block(void **state)
{
    (void)state;
    struct consumer_status c = status_of(
        STATUS("null",
               TASK_OF("load", "Load", "Running", "null", "", "", "remote", "null") "," TASK_OF(
                   "dump", "Dump", "Paused", FAILED, "", "", "remote",
                   "null") "," TASK_OF("full", "Load", "Finished", "null", "", "", "remote",
                                       "null") "," TASK("sync", "Running", "null",
                                                        A
                                                        ":1-9") "," TASK("empty", "Running", "null",
                                                                         "") "," TASK("none", "Running", "null",
                                                                                      "rubbish") "," TASK_OF("odd",
                                                                                                             "Sync2",
                                                                                                             "Running",
                                                                                                             "null",
                                                                                                             A ":1-9",
                                                                                                             "",
                                                                                                             "remote",
                                                                                                             "null")),
        NULL);
    static const bool blocks[] = { true, true, false, false, true, true, true };
    assert_int_equal(c.task_count, ARRAY_LEN(blocks));
    for (size_t i = 0; i < c.task_count; i++)
        if (c.tasks[i].blocks != blocks[i]) fail_msg("%s: %s", c.tasks[i].name, c.tasks[i].detail);
    assert_non_null(strstr(c.tasks[0].detail, "wait until the full load has ended"));
    assert_non_null(strstr(c.tasks[3].detail, "up to 30 s old"));
    assert_null(c.tasks[2].s);
    assert_false(consumer_status_is_quiet(&c));
    consumer_status_free(&c);
}

/* Paused by an error is not quiet: DM resumes it at the worst moment. Paused by command, or by a worker's restart, is. */
static void test_what_is_quiet(void **state)
{
    static const struct {
        const char *status;
        bool is_quiet;
    } cases[] = {
        { STATUS("null", TASK("t", "Paused", CANCELED, A ":1-9")), true },
        { STATUS("null", TASK("t", "Paused", "null", A ":1-9")), true },
        { STATUS("null", TASK("t", "Paused", FAILED, A ":1-9")), false },
        { STATUS("null", TASK("t", "Pausing", "null", A ":1-9")), false },
        { STATUS("null", TASK("t", "Running", "null", A ":1-9")), false },
        { STATUS("null", TASK("t", "Sleeping", "null", A ":1-9")), false },
        { STATUS(RELAY("Running", "null", "", ""), TASK("t", "Paused", CANCELED, A ":1-9")), false },
        { STATUS(RELAY("Paused", FAILED, "", ""), TASK("t", "Paused", CANCELED, A ":1-9")), false },
        { STATUS(RELAY("Paused", CANCELED, "", ""), TASK("t", "Paused", CANCELED, A ":1-9")), true },
        { STATUS("null", TASK_OF("t", "Sync", "Paused", CANCELED, A ":1-9", "", "remote", VALIDATION("Running"))),
          false },
        { STATUS("null", TASK_OF("t", "Sync", "Paused", CANCELED, A ":1-9", "", "remote", VALIDATION("Stopped"))),
          true },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct consumer_status c = status_of(cases[i].status, NULL);
        if (consumer_status_is_quiet(&c) != cases[i].is_quiet) fail_msg("%s", cases[i].status);
        consumer_status_free(&c);
    }
}

/* After a pause, a task of the plan that DM does not show any more, or that has no S, is unknown: the gate must not pass. */
static void test_planned_task_that_is_missing_is_not_quiet(void **state)
{
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS("null", TASK("t1", "Running", "null", A ":1-9") "," TASK("t2", "Running", "null", A ":1-9")));
    struct consumer_status c = status_of(STATUS("null", TASK("t1", "Paused", CANCELED, A ":1-9")), &plan);
    assert_int_equal(c.task_count, 2);
    assert_string_equal(c.tasks[1].name, "t2");
    assert_int_equal(c.tasks[1].stage, CONSUMER_STAGE_UNKNOWN);
    assert_false(consumer_status_is_quiet(&c));
    consumer_status_free(&c);
    c = status_of(STATUS("null", TASK("t1", "Paused", CANCELED, "") "," TASK("t2", "Paused", CANCELED, A ":1-9")),
                  &plan);
    assert_false(consumer_status_is_quiet(&c));
    consumer_status_free(&c);
    dm_plan_free(&plan);
}

/* A status that shows no tasks is a refusal with DM's words, and S is not known. */
static void test_unknown_is_a_refusal(void **state)
{
    (void)state;
    struct dm_facts f = { .source = fix_dm_recorded_status("30-status-while-held-35-s") };
    struct consumer_status c = { 0 };
    assert_int_equal(dm_fill_status(&f, NULL, &c), 0);
    assert_false(c.is_known);
    assert_non_null(strstr(c.refusal, "DeadlineExceeded"));
    consumer_status_free(&c);
    dm_facts_free(&f);
}

/* Of several validators what all have counts, and the least quiet stage; one without a set says nothing. */
static void test_validators_are_one(void **state)
{
#define V(stage, v) "{\"mode\":\"full\",\"stage\":\"" stage "\",\"validatorBinlogGtid\":\"" v "\"}"
    (void)state;
    struct consumer_status c = status_of(
        STATUS("null",
               TASK_OF("t1", "Sync", "Running", "null", A ":1-9", "", "remote", V("Stopped", A ":1-7")) "," TASK_OF(
                   "t2", "Sync", "Running", "null", A ":1-9", "", "remote",
                   V("Running", A ":3-9")) "," TASK_OF("t3", "Sync", "Running", "null", A ":1-9", "", "remote",
                                                       V("Stopped", ""))),
        NULL);
    char *text = gtid_set_print(c.validator.position, GTID_SEPARATOR_COMMA, NULL);
    assert_string_equal(text, A ":3-7");
    gtid_free(text);
    assert_int_equal(c.validator.stage, CONSUMER_STAGE_RUNNING);
    consumer_status_free(&c);
}

/* ---- what is next ---- */

/* |delivered| NULL: D is not known. */
static void expect_pause_of(const struct dm_plan *plan, const char *delivered, bool may_wait, const char *status,
                            enum dm_act act, const char *text)
{
    struct dm_source s = fix_dm_status(status);
    struct dm_next next;
    struct gtid_set *set = NULL;
    if (delivered != NULL) assert_int_equal(gtid_set_parse(delivered, strlen(delivered), &set, NULL), 0);
    const struct dm_pause pause = { set, may_wait };
    dm_next_pause(plan, &s, &pause, &next);
    if (next.act != act || strstr(next.text, text) == NULL) fail_msg("%d '%s' at %s", next.act, next.text, status);
    gtid_set_del(set);
    dm_source_free(&s);
}

static void expect_pause(const struct dm_plan *plan, const char *status, enum dm_act act, const char *text)
{
    expect_pause_of(plan, A ":1-9", true, status, act, text);
}

#define RUNNING                                                                                                        \
    STATUS(RELAY("Running", "null", A ".000001", A ":1-9"),                                                            \
           TASK_OF("t1", "Sync", "Running", "null", A ":1-9", "", "local",                                             \
                   VALIDATION("Running")) "," TASK("t2", "Paused", CANCELED, A ":1-9"))

/* Relay, validator, tasks, in this order; each until it is seen quiet; what was paused before is not touched. */
static void test_pause_order(void **state)
{
#define QUIET_RELAY RELAY("Paused", CANCELED, A ".000001", A ":1-9")
    (void)state;
    struct dm_plan plan = plan_of(RUNNING);
    expect_pause(&plan, RUNNING, DM_ACT_PAUSE_RELAY, "pause the relay");
    expect_pause(&plan, STATUS(RELAY("Pausing", "null", "", ""), TASK("t1", "Running", "null", A ":1-9")), DM_ACT_WAIT,
                 "Pausing");
    expect_pause(
        &plan,
        STATUS(QUIET_RELAY, TASK_OF("t1", "Sync", "Running", "null", A ":1-9", "", "local", VALIDATION("Running"))),
        DM_ACT_STOP_VALIDATION, "validator of task t1");
    expect_pause(
        &plan,
        STATUS(QUIET_RELAY, TASK_OF("t1", "Sync", "Running", "null", A ":1-9", "", "local", VALIDATION("Stopped"))),
        DM_ACT_PAUSE_TASK, "pause task t1");
    expect_pause(&plan, STATUS(QUIET_RELAY, TASK("t1", "Paused", FAILED, A ":1-9")), DM_ACT_PAUSE_TASK, "t1");
    expect_pause(&plan, STATUS(QUIET_RELAY, TASK("t1", "Pausing", "null", A ":1-9")), DM_ACT_WAIT, "t1");
    expect_pause(&plan, STATUS(QUIET_RELAY, TASK("t9", "Paused", CANCELED, A ":1-9")), DM_ACT_WAIT,
                 "does not show task t1");
    expect_pause(&plan, STATUS(QUIET_RELAY, TASK("t1", "Paused", CANCELED, A ":1-9")), DM_ACT_DONE, "quiet");
    expect_pause(&plan, STATUS(QUIET_RELAY, TASK("t1", "Paused", "null", A ":1-9")), DM_ACT_DONE, "quiet");
    expect_pause(&plan, STATUS(QUIET_RELAY, ""), DM_ACT_WAIT, "does not show this source's tasks");
    dm_plan_free(&plan);
}

/* A relay that lacks some of D may have a part of it: it is stopped, not paused, as resumed on another server it would skip the rest. */
static void test_relay_that_may_have_a_part_is_stopped(void **state)
{
    (void)state;
    struct dm_plan plan = plan_of(RUNNING);
    expect_pause_of(&plan, A ":1-10", true, RUNNING, DM_ACT_WAIT, "has not read all that was sent");
    expect_pause_of(&plan, A ":1-10", false, RUNNING, DM_ACT_STOP_RELAY, "a part of a transaction");
    expect_pause_of(&plan, NULL, true, RUNNING, DM_ACT_STOP_RELAY, "a part of a transaction");
    expect_pause_of(&plan, "", true, RUNNING, DM_ACT_PAUSE_RELAY, "pause the relay");
    /* One that failed reads nothing more: it is not waited for. */
    expect_pause_of(&plan, A ":1-10", true,
                    STATUS(RELAY("Paused", FAILED, A ".000001", A ":1-9"), TASK("t1", "Running", "null", A ":1-9")),
                    DM_ACT_STOP_RELAY, "stop");
    expect_pause_of(&plan, A ":1-9", true,
                    STATUS(RELAY("Paused", FAILED, A ".000001", A ":1-9"), TASK("t1", "Running", "null", A ":1-9")),
                    DM_ACT_PAUSE_RELAY, "pause");
    expect_pause_of(&plan, A ":1-10", true, STATUS(QUIET_RELAY, TASK("t1", "Paused", CANCELED, A ":1-9")),
                    DM_ACT_STOP_RELAY, "stop");
    expect_pause_of(&plan, NULL, true,
                    STATUS(RELAY("Stopped", "null", "", ""), TASK("t1", "Paused", CANCELED, A ":1-9")), DM_ACT_DONE,
                    "");
    expect_pause_of(&plan, NULL, true, STATUS("null", TASK("t1", "Paused", CANCELED, A ":1-9")), DM_ACT_DONE, "");
    dm_plan_free(&plan);
}

static void expect_resume(const struct dm_plan *plan, struct dm_resume *r, const char *status, enum dm_act act,
                          const char *text)
{
    struct dm_source s = fix_dm_status(status);
    struct dm_next next;
    dm_next_resume(plan, &s, r, &next);
    if (next.act != act || strstr(next.text, text) == NULL) fail_msg("%d '%s' at %s", next.act, next.text, status);
    if (act == DM_ACT_RESUME_RELAY || act == DM_ACT_START_RELAY) r->relay_is_ordered = true;
    if (act == DM_ACT_RESUME_TASK) r->tasks_ordered[next.index] = true;
    if (act == DM_ACT_START_VALIDATION) r->validators_ordered[next.index] = true;
    dm_source_free(&s);
}

/*
 * The relay first. Right after it was resumed it shows the old server's directory and set; then B's, read from the beginning: the
 * tasks wait until it has passed what they have. Then they, and at last the validator. A task that was not planned stays paused.
 */
static void test_resume_order_with_relay(void **state)
{
#define PAUSED_T1                                                                                                      \
    TASK_OF("t1", "Sync", "Paused", CANCELED, A ":1-60", "", "local", VALIDATION("Stopped"))                           \
    "," TASK("t2", "Paused", CANCELED, A ":1-9")
#define RUNNING_T1(v)                                                                                                  \
    TASK_OF("t1", "Sync", "Running", "null", A ":1-60", "", "local", VALIDATION(v))                                    \
    "," TASK("t2", "Paused", CANCELED, A ":1-9")
    struct dm_resume r;
    (void)state;
    struct dm_plan plan = plan_of(RUNNING);
    assert_int_equal(dm_resume_init(&r, &plan, B), 0);
    expect_resume(&plan, &r, STATUS(RELAY("Paused", CANCELED, A ".000001", A ":1-60"), PAUSED_T1), DM_ACT_RESUME_RELAY,
                  "relay");
    expect_resume(&plan, &r, STATUS(RELAY("Paused", CANCELED, A ".000001", A ":1-60"), PAUSED_T1), DM_ACT_WAIT,
                  "not running yet");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", A ".000001", A ":1-60"), PAUSED_T1), DM_ACT_WAIT,
                  "has not begun");
    expect_resume(&plan, &r, STATUS(RELAY("Paused", FAILED, A ".000001", A ":1-60"), PAUSED_T1), DM_ACT_WAIT,
                  "code=36069");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-13"), PAUSED_T1), DM_ACT_WAIT,
                  "binlog again");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", ""), PAUSED_T1), DM_ACT_WAIT, "binlog again");
    for (unsigned i = 1; i < DM_STEADY_LOOKS; i++)
        expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-60"), PAUSED_T1), DM_ACT_WAIT,
                      "may yet fall back");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-13"), PAUSED_T1), DM_ACT_WAIT,
                  "it has 13 of the 60"); /* it did */
    for (unsigned i = 1; i < DM_STEADY_LOOKS; i++)
        expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-60"), PAUSED_T1), DM_ACT_WAIT,
                      "may yet fall back");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-60"), PAUSED_T1), DM_ACT_RESUME_TASK,
                  "t1");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-60"), RUNNING_T1("Stopped")),
                  DM_ACT_START_VALIDATION, "t1");
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", B ".000002", A ":1-60"), RUNNING_T1("Running")),
                  DM_ACT_DONE, "");
    dm_resume_free(&r);
    dm_plan_free(&plan);
}

/* A relay that was stopped: the tasks read the server itself, and it starts once they have passed what the server had then. */
static void test_resume_with_a_stopped_relay(void **state)
{
#define DIRECT(stage, result, s, master) TASK_OF("t1", "Sync", stage, result, s, master, "remote", "null")
    struct dm_resume r;
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS(RELAY("Running", "null", A ".000001", A ":1-9"), TASK("t1", "Running", "null", A ":1-9")));
    assert_int_equal(dm_resume_init(&r, &plan, B), 0);
    expect_resume(&plan, &r, STATUS("null", DIRECT("Paused", CANCELED, A ":1-9", A ":1-20")), DM_ACT_RESUME_TASK, "t1");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-9", "")), DM_ACT_WAIT, "does not say yet");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-9", A ":1-20")), DM_ACT_WAIT,
                  "passed what the server had");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-19", A ":1-30")), DM_ACT_WAIT,
                  "passed what the server had");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-20", A ":1-40")), DM_ACT_START_RELAY,
                  "anew");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-20", A ":1-40")), DM_ACT_DONE, "");
    dm_resume_free(&r);
    dm_plan_free(&plan);
}

/* A relay that was started anew reads all again while the tasks run: the resume does not wait for it, the look after it does. */
static void test_resume_does_not_wait_for_a_relay_that_no_task_waits_for(void **state)
{
    struct dm_resume r;
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS(RELAY("Running", "null", A ".000001", A ":1-9"), TASK("t1", "Running", "null", A ":1-9")));
    assert_int_equal(dm_resume_init(&r, &plan, B), 0);
    expect_resume(&plan, &r, STATUS(RELAY("Running", "null", "", ""), DIRECT("Running", "null", A ":1-90", A ":1-99")),
                  DM_ACT_DONE, "");
    expect_resume(
        &plan, &r,
        STATUS(RELAY("Running", "null", B ".000001", A ":1-9"), DIRECT("Paused", CANCELED, A ":1-90", A ":1-99")),
        DM_ACT_WAIT, "it has 9 of the 90");
    dm_resume_free(&r);
    dm_plan_free(&plan);
}

/* A resume that was cut by a crash is begun anew from what is there: what runs already is not ordered twice. */
static void test_resume_is_idempotent(void **state)
{
    struct dm_resume r;
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS("null", TASK("t1", "Running", "null", A ":1-9") "," TASK("t2", "Paused", FAILED, A ":1-9")));
    assert_int_equal(dm_resume_init(&r, &plan, ""), 0);
    expect_resume(&plan, &r,
                  STATUS("null", TASK("t1", "Running", "null", A ":1-9") "," TASK("t2", "Paused", CANCELED, A ":1-9")),
                  DM_ACT_RESUME_TASK, "t2");
    dm_resume_free(&r);
    assert_int_equal(dm_resume_init(&r, &plan, ""), 0);
    expect_resume(&plan, &r,
                  STATUS("null", TASK("t1", "Running", "null", A ":1-9") "," TASK("t2", "Running", "null", A ":1-9")),
                  DM_ACT_DONE, "");
    expect_resume(&plan, &r, STATUS("null", ""), DM_ACT_WAIT, "does not show");
    dm_resume_free(&r);
    dm_plan_free(&plan);
}

/* The goal of a plan is what was there at the flip: what the server gets after that is not waited for. It survives the journal. */
static void test_goal_is_what_was_there_at_the_flip(void **state)
{
    struct dm_resume r;
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS(RELAY("Running", "null", A ".000001", A ":1-9"), TASK("t1", "Running", "null", A ":1-9")));
    mem_free(plan.goal);
    plan.goal = mem_strdup(A ":1-20");
    char *text = dm_plan_write(&plan, "mysql-01");
    dm_plan_free(&plan);
    assert_non_null(strstr(text, "\"goal\":\"" A ":1-20\""));
    assert_int_equal(dm_plan_read(text, &plan), 0);
    mem_free(text);
    assert_int_equal(dm_resume_init(&r, &plan, B), 0);
    expect_resume(&plan, &r, STATUS("null", DIRECT("Paused", CANCELED, A ":1-9", A ":1-500")), DM_ACT_RESUME_TASK,
                  "t1");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-19", A ":1-600")), DM_ACT_WAIT,
                  "has passed what the server had (20 transactions");
    expect_resume(&plan, &r, STATUS("null", DIRECT("Running", "null", A ":1-20", A ":1-700")), DM_ACT_START_RELAY,
                  "anew");
    dm_resume_free(&r);
    dm_plan_free(&plan);
    assert_int_equal(
        dm_plan_read("{\"type\":\"dm\",\"tasks\":[],\"relay\":true,\"relay-worker\":\"\",\"validators\":[],"
                     "\"goal\":\"no set\"}",
                     &plan),
        SLUICE_ERR_INVALID);
}

/* What somebody put to sleep since the plan was made is not ours to wake. */
static void test_plan_is_narrowed_to_what_is_awake(void **state)
{
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS(RELAY("Running", "null", A ".000001", A ":1-9"),
                       TASK("t1", "Running", "null", A ":1-9") "," TASK("t2", "Paused", FAILED, A ":1-9") "," TASK_OF(
                           "t3", "Sync", "Running", "null", A ":1-9", "", "local", VALIDATION("Running"))));
    struct dm_plan now = plan_of(STATUS(
        QUIET_RELAY, TASK("t1", "Paused", CANCELED, A ":1-9") "," TASK("t2", "Paused", FAILED, A ":1-9") "," TASK_OF(
                         "t3", "Sync", "Running", "null", A ":1-9", "", "local", VALIDATION("Stopped"))));
    assert_int_equal(plan.task_count, 3);
    dm_plan_narrow(&plan, &now);
    assert_int_equal(plan.task_count, 2);
    assert_string_equal(plan.tasks[0], "t2");
    assert_true(plan.was_in_error[0] && !plan.was_in_error[1]);
    assert_string_equal(plan.tasks[1], "t3");
    assert_int_equal(plan.validator_count, 0);
    assert_false(plan.has_relay);
    dm_plan_free(&plan);
    dm_plan_free(&now);
}

/* Which task was in error before anything was ordered is noted, and survives the journal. */
static void test_plan_notes_who_was_in_error(void **state)
{
    (void)state;
    struct dm_plan plan =
        plan_of(STATUS("null", TASK("run", "Running", "null", A ":1-9") "," TASK("err", "Paused", FAILED, A ":1-9")));
    assert_int_equal(plan.task_count, 2);
    assert_false(plan.was_in_error[0]);
    assert_true(plan.was_in_error[1]);
    dm_plan_free(&plan);
}

/* ---- verified ---- */

struct judge {
    struct dm_plan plan;
    struct dm_verify verify;
    struct consumer_evidence evidence;
};

static void judge_up(struct judge *j, const char *status)
{
    *j = (struct judge){ .plan = plan_of(status), .evidence = { .streams_are_visible = true, .has_stream = true } };
}

static void judge_down(struct judge *j)
{
    dm_verify_free(&j->verify);
    dm_plan_free(&j->plan);
}

static bool look(struct judge *j, const char *status, int wanted, const char *text)
{
    char found[DM_TEXT_LEN + 1] = "";
    bool progresses = false;
    struct dm_source s = fix_dm_status(status);
    int rv = dm_is_resumed(&j->plan, &s, B, &j->evidence, &j->verify, found, &progresses);
    dm_source_free(&s);
    if (rv != wanted || strstr(found, text) == NULL) fail_msg("%d '%s' at %s", rv, found, status);
    return progresses;
}

/* So often in a row that it is a verdict. */
static void look_steadily(struct judge *j, const char *status, const char *text)
{
    for (unsigned i = 1; i < DM_STEADY_LOOKS; i++)
        look(j, status, SLUICE_ERR_BUSY, "looks of");
    look(j, status, 0, text);
}

#define AT_B(stage, result, s, master) STATUS("null", TASK_OF("t1", "Sync", stage, result, s, master, "remote", "null"))

/* Running is not enough: it must stay so, its stream be seen, and S be all that the server has, or move. */
static void test_verified_is_running_streaming_and_moving(void **state)
{
    struct judge j;
    (void)state;
    judge_up(&j, AT_B("Running", "null", A ":1-9", A ":1-9"));
    j.evidence.has_stream = false;
    look(&j, AT_B("Running", "null", A ":1-9", A ":1-9"), SLUICE_ERR_BUSY, "no binlog stream");
    j.evidence.streams_are_visible = false; /* TLS is passed through: nothing can be said */
    look(&j, AT_B("Running", "null", A ":1-9", A ":1-9"), SLUICE_ERR_BUSY, "looks of");
    j.evidence = (struct consumer_evidence){ .streams_are_visible = true, .has_stream = true };
    look(&j, AT_B("Paused", FAILED, A ":1-9", A ":1-9"), SLUICE_ERR_QUERY, "mend it and resume-task");
    look_steadily(&j, AT_B("Running", "null", A ":1-9", A ":1-9"), "");
    judge_down(&j);
    judge_up(&j, AT_B("Running", "null", A ":1-9", A ":1-20"));
    look(&j, AT_B("Running", "null", A ":1-9", A ":1-20"), SLUICE_ERR_BUSY, "has not moved yet");
    look(&j, AT_B("Running", "null", A ":1-9", A ":1-30"), SLUICE_ERR_BUSY, "has not moved yet");
    look(&j, AT_B("Running", "null", "", A ":1-30"), SLUICE_ERR_BUSY, "has not moved yet");
    look_steadily(&j, AT_B("Running", "null", A ":1-10", A ":1-40"), "");
    judge_down(&j);
}

/* With a relay: its sub directory is the new server's, it has passed the tasks; while it comes closer it progresses, and only then. */
static void test_verified_relay_progresses(void **state)
{
#define RELAYED(dir, w) STATUS(RELAY("Running", "null", dir, w), LOCAL_TASK("t1", "Running", "null", A ":1-100"))
    struct judge j;
    (void)state;
    judge_up(&j, RELAYED(A ".000001", A ":1-100"));
    assert_false(look(&j, RELAYED(A ".000001", A ":1-100"), SLUICE_ERR_BUSY, "has not begun the new server's"));
    assert_true(look(&j, RELAYED(B ".000002", A ":1-10"), SLUICE_ERR_BUSY, "it has 10 of the 100"));
    assert_false(look(&j, RELAYED(B ".000002", A ":1-10"), SLUICE_ERR_BUSY, "it has 10 of the 100"));
    assert_true(look(&j, RELAYED(B ".000002", A ":1-60"), SLUICE_ERR_BUSY, "it has 60 of the 100"));
    assert_false(look(&j, RELAYED(B ".000002", A ":1-50"), SLUICE_ERR_BUSY, "it has 50 of the 100"));
    assert_false(look(&j, RELAYED(B ".000002", ""), SLUICE_ERR_BUSY, "it has 0 of the 100"));
    look(&j, STATUS(RELAY("Paused", FAILED, B ".000002", A ":1-60"), LOCAL_TASK("t1", "Running", "null", A ":1-100")),
         SLUICE_ERR_QUERY, "the relay does not run: Paused, [code=36069]");
    assert_true(look(
        &j, STATUS(RELAY("Running", "null", B ".000002", A ":1-70"), LOCAL_TASK("t1", "Paused", FAILED, A ":1-100")),
        SLUICE_ERR_QUERY, "task t1: Paused (error)")); /* it waits for the relay */
    look_steadily(&j, RELAYED(B ".000002", A ":1-100"), "");
    judge_down(&j);
}

/* A task that was in error before the switch is waited for, but not for ever, and the others are not judged by it. */
static void test_verified_without_what_was_broken_before(void **state)
{
#define WITH_BROKEN STATUS("null", TASK("t1", "Running", "null", A ":1-100") "," TASK("t2", "Paused", FAILED, A ":1-9"))
    struct judge j;
    (void)state;
    judge_up(&j, WITH_BROKEN);
    for (unsigned i = 0; i < DM_ERROR_LOOKS; i++)
        look(&j, WITH_BROKEN, SLUICE_ERR_QUERY, "task t2: Paused (error)");
    look(&j, STATUS("null", TASK("t1", "Running", "null", A ":1-100") "," TASK("t2", "Running", "null", A ":1-9")),
         SLUICE_ERR_BUSY, "looks of"); /* tried again, and no further */
    j.verify.steady = 0;
    look_steadily(&j, WITH_BROKEN,
                  "task t2 was in error before the switch, and is not well after it: Paused, [code=36069]");
    judge_down(&j);
}

/* Resumed is what runs; an error of its own is told with DM's words; what cannot be seen is not yet. */
static void test_is_resumed(void **state)
{
    static const struct {
        const char *status;
        int rv;
        const char *text;
    } cases[] = {
        { STATUS("null", TASK("t1", "Running", "null", A ":1-9")), SLUICE_ERR_BUSY, "has not moved" },
        { STATUS("null", TASK("t1", "Paused", FAILED, A ":1-9")), SLUICE_ERR_QUERY, "get binlog event error: EOF" },
        { STATUS("null", TASK("t1", "Paused", CANCELED, A ":1-9")), SLUICE_ERR_BUSY, "Paused" },
        { STATUS("null", TASK("t2", "Running", "null", A ":1-9")), SLUICE_ERR_BUSY, "does not show" },
        { STATUS("null", ""), SLUICE_ERR_BUSY, "does not show" },
    };
    (void)state;
    struct judge j;
    judge_up(&j, STATUS("null", TASK("t1", "Running", "null", A ":1-9")));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        look(&j, cases[i].status, cases[i].rv, cases[i].text);
    judge_down(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_names_what_is_awake),
        cmocka_unit_test(test_plan_names_relay_and_validators),
        cmocka_unit_test(test_plan_keeps_where_the_relay_was_started),
        cmocka_unit_test(test_no_plan_from_the_unknown),
        cmocka_unit_test(test_broken_plans_are_refused),
        cmocka_unit_test(test_units_that_block),
        cmocka_unit_test(test_what_is_quiet),
        cmocka_unit_test(test_planned_task_that_is_missing_is_not_quiet),
        cmocka_unit_test(test_unknown_is_a_refusal),
        cmocka_unit_test(test_validators_are_one),
        cmocka_unit_test(test_pause_order),
        cmocka_unit_test(test_relay_that_may_have_a_part_is_stopped),
        cmocka_unit_test(test_resume_order_with_relay),
        cmocka_unit_test(test_resume_with_a_stopped_relay),
        cmocka_unit_test(test_resume_does_not_wait_for_a_relay_that_no_task_waits_for),
        cmocka_unit_test(test_resume_is_idempotent),
        cmocka_unit_test(test_is_resumed),
        cmocka_unit_test(test_goal_is_what_was_there_at_the_flip),
        cmocka_unit_test(test_plan_is_narrowed_to_what_is_awake),
        cmocka_unit_test(test_plan_notes_who_was_in_error),
        cmocka_unit_test(test_verified_is_running_streaming_and_moving),
        cmocka_unit_test(test_verified_relay_progresses),
        cmocka_unit_test(test_verified_without_what_was_broken_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
