/* SPDX-License-Identifier: Apache-2.0 */
/* How a source is taken down and put up again: what is planned, what is ordered next, decided from what DM shows alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "consumer/dm_bodies.h"
#include "consumer/dm_parse.h"
#include "core/dm_move.h"
#include "core/error.h"
#include "core/mem.h"
#include "fix_dm.h"

#define A        "aaaaaaaa-0000-0000-0000-000000000001"
#define CANCELED "{\"isCanceled\":true,\"errors\":[],\"detail\":null}"
#define FAILED   "{\"isCanceled\":false,\"errors\":[{\"ErrCode\":36069,\"Message\":\"no stream\"}]}"
#define VALIDATION(stage, mode)                                                                                        \
    "{\"mode\":\"" mode "\",\"stage\":\"" stage "\",\"validatorBinlogGtid\":\"" A ":1-7\",\"result\":null}"
#define TASK(name, stage, result, validation)                                                                          \
    "{\"name\":\"" name "\",\"stage\":\"" stage "\",\"unit\":\"Sync\",\"result\":" result                              \
    ",\"sync\":{\"syncerBinlogGtid\":\"" A ":1-9\"},\"validation\":" validation "}"
#define RELAY(stage, result) "{\"stage\":\"" stage "\",\"result\":" result ",\"relayBinlogGtid\":\"" A ":1-12\"}"
#define STATUS(relay, tasks)                                                                                           \
    "{\"result\":true,\"sources\":[{\"result\":true,\"msg\":\"no sub task started\",\"sourceStatus\":{\"source\":"     \
    "\"mysql-01\",\"worker\":\"w1\",\"relayStatus\":" relay "},\"subTaskStatus\":[" tasks "]}]}"
#define RUNS(name)  TASK(name, "Running", "null", "null")
#define RESTS(name) TASK(name, "Paused", CANCELED, "null")
#define IDLE        STATUS("null", "")
#define CONFIG(port)                                                                                                   \
    "{\"result\":true,\"msg\":\"\",\"cfg\":\"enable-gtid: true\\nflavor: mysql\\nfrom:\\n  host: H\\n  port: " port    \
    "\\n\"}"
#define ABSENT "{\"result\":false,\"msg\":\"source not found\",\"cfg\":\"\"}"

static const struct dm_move_address old_address = { "h", 3306 }, new_address = { "h", 3400 };

/* What DM shows: its status, and the source's configuration. */
static struct dm_facts facts_of(const char *status, const char *config)
{
    char error[DM_ERROR_LEN + 1];
    struct dm_facts f = { .source = fix_dm_status(status) };
    int rv = dm_parse_source_config(config, strlen(config), &f, error);
    assert_true(rv == 0 || rv == SLUICE_ERR_REFUSED);
    return f;
}

/* The plan of what DM shows, as another process would get it from the journal. */
static struct dm_move_plan plan_of(const char *status)
{
    struct dm_facts f = facts_of(status, CONFIG("3306"));
    struct dm_move_plan made, read;
    assert_int_equal(dm_move_plan_make(&f, &made), 0);
    char *text = dm_move_plan_write(&made);
    assert_int_equal(dm_move_plan_read(text, &read), 0);
    mem_free(text);
    dm_move_plan_free(&made);
    dm_facts_free(&f);
    return read;
}

static void expect(bool is_up, const char *planned, const char *status, const char *config, const char *wanted)
{
    struct dm_move_plan plan = plan_of(planned);
    struct dm_facts f = facts_of(status, config);
    struct dm_move_next next = { 0 };
    char got[200];
    if (is_up) {
        dm_move_next_up(&plan, &f, &new_address, &next);
    } else {
        dm_move_next_down(&plan, &f, &old_address, &new_address, &next);
    }
    snprintf(got, sizeof got, "%s%s%s", dm_move_act_name(next.act), *next.task == '\0' ? "" : " ", next.task);
    if (strcmp(got, wanted) != 0) print_message("%s\n", next.text);
    assert_string_equal(got, wanted);
    dm_facts_free(&f);
    dm_move_plan_free(&plan);
}

static void down(const char *planned, const char *status, const char *config, const char *wanted)
{
    expect(false, planned, status, config, wanted);
}

static void up(const char *planned, const char *status, const char *config, const char *wanted)
{
    expect(true, planned, status, config, wanted);
}

/* What ran, what a person paused, what has ended, with their sets; a relay paused by a person is known as one. */
static void test_plan_says_what_stood_there(void **state)
{
    (void)state;
    struct dm_move_plan p = plan_of(STATUS(
        RELAY("Paused", CANCELED),
        TASK("run", "Running", "null", VALIDATION("Running", "fast")) "," RESTS("rest") "," TASK(
            "done", "Finished", CANCELED, "null") "," TASK("err", "Paused", FAILED, VALIDATION("Stopped", "full"))));
    assert_int_equal(p.task_count, 4);
    assert_string_equal(p.tasks[0].validator, "fast");
    assert_string_equal(p.tasks[0].gtid, A ":1-9");
    assert_true(p.tasks[1].was_paused && !p.tasks[1].is_finished);
    assert_true(p.tasks[2].is_finished && !p.tasks[2].was_paused);
    assert_false(p.tasks[3].was_paused); /* DM would have resumed it by itself */
    assert_string_equal(p.tasks[3].validator, "");
    assert_true(p.has_relay && p.relay_was_paused);
    assert_string_equal(p.relay_worker, "w1");
    assert_string_equal(p.relay_gtid, A ":1-12");
    assert_string_equal(p.validator_gtid, A ":1-7");
    struct dm_plan awake;
    assert_int_equal(dm_move_plan_awake(&p, false, &awake), 0);
    assert_int_equal(awake.task_count, 2);
    assert_int_equal(awake.validator_count, 1);
    assert_false(awake.has_relay);
    dm_plan_free(&awake);
    assert_int_equal(dm_move_plan_awake(&p, true, &awake), 0);
    assert_true(awake.has_relay);
    dm_plan_free(&awake);
    dm_move_plan_free(&p);
}

static void test_down_ends_with_the_source(void **state)
{
    (void)state;
    static const char both[] = STATUS(RELAY("Running", "null"), RUNS("t1") "," RUNS("t2"));
    down(both, both, CONFIG("3306"), "pause-task t1");
    down(both, STATUS(RELAY("Running", "null"), TASK("t1", "Running", "null", VALIDATION("Running", "full"))),
         CONFIG("3306"), "stop-validation t1");
    down(both, STATUS(RELAY("Running", "null"), RESTS("t1") "," RUNS("t2")), CONFIG("3306"), "stop-task t1");
    down(both, STATUS(RELAY("Running", "null"), TASK("t1", "Pausing", "null", "null")), CONFIG("3306"), "wait t1");
    down(both, STATUS(RELAY("Running", "null"), ""), CONFIG("3306"), "stop-relay");
    down(both, STATUS(RELAY("Paused", CANCELED), ""), CONFIG("3306"), "stop-relay");
    down(both, IDLE, CONFIG("3306"), "stop-source");
    down(both, IDLE, ABSENT, "done");
    down(both, both, CONFIG("3400"), "done"); /* it stands at the new address already */
}

/* What cannot be started again is not taken down; what somebody moved is left to him; what is not shown is waited for. */
static void test_down_stops_at_what_is_not_understood(void **state)
{
    (void)state;
    static const char one[] = STATUS("null", RUNS("t1"));
    down(one, STATUS("null", RUNS("another")), CONFIG("3306"), "fail another");
    down(one, one, CONFIG("1"), "fail");
    down(one, one, "{\"result\":false,\"msg\":\"etcd is away\"}", "wait");
    down(one,
         "{\"result\":true,\"sources\":[{\"result\":false,\"msg\":\"DeadlineExceeded\",\"sourceStatus\":{\"source\":"
         "\"mysql-01\"},\"subTaskStatus\":[]}]}",
         CONFIG("3306"), "wait");
}

static void test_up_begins_with_the_source(void **state)
{
    (void)state;
    static const char both[] = STATUS("null", TASK("t1", "Running", "null", VALIDATION("Running", "fast")) "," RESTS(
                                                  "t2") "," TASK("t3", "Finished", CANCELED, "null"));
    up(both, IDLE, ABSENT, "create-source");
    up(both, IDLE, CONFIG("3306"), "fail");
    up(both, IDLE, CONFIG("3400"), "start-task t1");
    up(both, STATUS("null", RUNS("t1")), CONFIG("3400"), "start-validation t1");
    up(both, STATUS("null", TASK("t1", "Running", "null", VALIDATION("Running", "fast"))), CONFIG("3400"),
       "start-task t2");
    up(both, STATUS("null", TASK("t1", "Running", "null", VALIDATION("Running", "fast")) "," RUNS("t2")),
       CONFIG("3400"), "pause-task t2");
    up(both, STATUS("null", TASK("t1", "Running", "null", VALIDATION("Running", "fast")) "," RESTS("t2")),
       CONFIG("3400"), "done");
    up(both, STATUS("null", TASK("t1", "Paused", FAILED, "null")), CONFIG("3400"), "wait");
    up(STATUS("null", RUNS("t1")), STATUS("null", TASK("t1", "Running", "null", VALIDATION("Running", "full"))),
       CONFIG("3400"), "stop-validation t1");
}

/* enable-relay: what it has on its disk may end inside a transaction; no task is started beside it. */
static void test_relay_that_comes_with_the_source_is_stopped_first(void **state)
{
    (void)state;
    static const char one[] = STATUS(RELAY("Running", "null"), RUNS("t1"));
    up(one, STATUS(RELAY("Running", "null"), ""), CONFIG("3400"), "stop-relay");
    up(one, STATUS(RELAY("Paused", CANCELED), ""), CONFIG("3400"), "start-task t1"); /* it was never away */
    up(one, IDLE, CONFIG("3400"), "start-task t1");
    up(one, STATUS(RELAY("Running", "null"), RUNS("t1")), CONFIG("3400"), "done");
}

static void test_bodies_are_what_was_recorded(void **state)
{
    (void)state;
    char *text = dm_body_create_source("a: \"b\"\n", "w1");
    assert_string_equal(text, "{\"op\":1,\"config\":[\"a: \\\"b\\\"\\n\"],\"workerName\":\"w1\"}");
    mem_free(text);
    text = dm_body_create_source("a", "");
    assert_string_equal(text, "{\"op\":1,\"config\":[\"a\"]}");
    mem_free(text);
    text = dm_body_stop_source("mysql-01");
    assert_string_equal(text, "{\"op\":3,\"sourceID\":[\"mysql-01\"]}");
    mem_free(text);
    text = dm_body_start_task("t", "mysql-01");
    assert_string_equal(text, "{\"task\":\"t\",\"sources\":[\"mysql-01\"],\"removeMeta\":false}");
    mem_free(text);
    text = dm_body_operate_task(DM_OP_STOP_TASK, "mysql-01");
    assert_string_equal(text, "{\"op\":7,\"sources\":[\"mysql-01\"]}");
    mem_free(text);
}

/* The answers of a real DM to these calls, and what is told of those that say no. */
static void test_recorded_answers_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words; /* "": it was done */
    } rows[] = {
        { "02-stop-task", "" },
        { "06-stop-source", "" },
        { "08-create-source", "" },
        { "09-create-source-again", "46007" },
        { "11-start-task", "" },
        { "12-start-task-again", "46014" },
        { "40-stop-source-while-task-exists", "46010" },
        { "41-stop-task-with-relay", "" },
        { "42-stop-source-while-relay-runs", "" },
        { "43-start-task-2", "20031" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char error[DM_ERROR_LEN + 1] = "";
        char *body = fix_dm_recorded(rows[i].name, NULL);
        int rv = dm_parse_operated(body, strlen(body), "mysql-01", error);
        assert_int_equal(rv, *rows[i].words == '\0' ? 0 : SLUICE_ERR_REFUSED);
        assert_non_null(strstr(error, rows[i].words));
        free(body);
    }
    char error[DM_ERROR_LEN + 1] = "";
    static const char failed[] = "{\"result\":false,\"msg\":\"\",\"sources\":[],\"checkResult\":\"no gtid_mode\"}";
    assert_int_equal(dm_parse_operated(failed, strlen(failed), "mysql-01", error), SLUICE_ERR_REFUSED);
    assert_string_equal(error, "no gtid_mode");
}

static void test_plan_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = { "", "{}", "[]", "{\"type\":\"dm\"}", "{\"type\":\"dm-move\",\"tasks\":[{}]}" };
    struct dm_move_plan plan;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(dm_move_plan_read(texts[i], &plan), SLUICE_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan_says_what_stood_there),
        cmocka_unit_test(test_down_ends_with_the_source),
        cmocka_unit_test(test_down_stops_at_what_is_not_understood),
        cmocka_unit_test(test_up_begins_with_the_source),
        cmocka_unit_test(test_relay_that_comes_with_the_source_is_stopped_first),
        cmocka_unit_test(test_bodies_are_what_was_recorded),
        cmocka_unit_test(test_recorded_answers_are_understood),
        cmocka_unit_test(test_plan_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
