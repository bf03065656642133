/* SPDX-License-Identifier: Apache-2.0 */
/* DM's answers: all that were recorded from a real one, and broken ones of every kind. */
#include <dirent.h>
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
#include "fix_dm.h"

/* What each recorded status says. S ends in |s|; stages as consumers have them. */
struct status_case {
    const char *name;
    bool is_known;
    enum consumer_stage stage;
    const char *s;
    const char *relay;      /* its stage, NULL: none */
    const char *validation; /* its stage, NULL: none */
    const char *why;
};

static const struct status_case statuses[] = {
    { "01-status-running", true, CONSUMER_STAGE_RUNNING, ":1-63157", NULL, NULL, "" },
    { "03-status-of-a-task-that-does-not-exist", false, 0, NULL, NULL, NULL, "task t1 has no source or not exist" },
    { "04-status-of-all", false, 0, NULL, NULL, NULL, "no sub task started" },
    { "14-status-running-after-readdress", true, CONSUMER_STAGE_RUNNING, ":1-63157", NULL, NULL, "" },
    { "17-status-running-with-checkpoint-behind", true, CONSUMER_STAGE_RUNNING, ":1-63178", NULL, NULL, "" },
    { "19-status-paused", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", NULL, NULL, "" },
    { "25-status-paused-by-error", true, CONSUMER_STAGE_PAUSED_BY_ERROR, ":1-63178", NULL, NULL, "" },
    { "27-status-paused-by-command-after-error", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", NULL, NULL, "" },
    { "28-status-7-s-later", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", NULL, NULL, "" },
    { "30-status-while-held-35-s", false, 0, NULL, NULL, NULL, "DeadlineExceeded" },
    { "31-status-after-hold", true, CONSUMER_STAGE_RUNNING, ":1-63178", NULL, NULL, "" },
    { "32-status-relay", true, CONSUMER_STAGE_PAUSED_BY_ERROR, ":1-63178", "Running", NULL, "" },
    { "34-status-relay-paused", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", "Paused", NULL, "" },
    { "36-status-relay-and-validator", true, CONSUMER_STAGE_RUNNING, ":1-63178", "Running", "Running", "" },
    { "38-status-paused-with-validator", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", "Running", "Running", "" },
    { "39-status-validator-stopped", true, CONSUMER_STAGE_PAUSED_BY_COMMAND, ":1-63178", "Running", "Stopped", "" },
};

static void expect_end(const char *text, const char *end)
{
    size_t n = strlen(end);
    if (strlen(text) < n || strcmp(text + strlen(text) - n, end) != 0) fail_msg("'%s' does not end in %s", text, end);
}

static void expect_status(const struct status_case *c)
{
    struct dm_source s = fix_dm_recorded_status(c->name);
    if (s.is_known != c->is_known) fail_msg("%s: known is %d", c->name, s.is_known);
    if (strstr(s.why, c->why) == NULL) fail_msg("%s: '%s'", c->name, s.why);
    if (c->is_known) {
        const struct dm_task *t = &s.tasks[0];
        assert_int_equal(s.task_count, 1);
        assert_string_equal(s.worker, "worker1");
        assert_string_equal(t->name, "t1");
        assert_int_equal(t->unit, DM_UNIT_SYNC);
        if (dm_stage_of(t->stage, &t->result) != c->stage) fail_msg("%s: stage", c->name);
        assert_true(t->has_sync);
        assert_int_equal(t->is_local, c->relay != NULL);
        expect_end(t->syncer_gtid, c->s);
        assert_int_equal(t->validation.is_present, c->validation != NULL);
        if (c->validation != NULL) {
            assert_string_equal(dm_stage_name(t->validation.stage), c->validation);
            assert_string_equal(t->validation.mode, "full");
            assert_string_equal(t->validation.gtid, "");
        }
    }
    assert_int_equal(s.relay.is_present, c->relay != NULL);
    if (c->relay != NULL) assert_string_equal(dm_stage_name(s.relay.stage), c->relay);
    dm_source_free(&s);
}

/* Every status that a real DM gave is understood, and one that shows no task is not known, whatever its own result. */
static void test_recorded_statuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
        expect_status(&statuses[i]);
}

/* How each recorded order was taken. |error| NULL: it was. */
struct order_case {
    const char *name, *error;
};

static const struct order_case orders[] = {
    { "02-stop-task", NULL },
    { "06-stop-source", NULL },
    { "08-create-source", NULL },
    { "09-create-source-again", "code=46007" },
    { "10-show-source", NULL },
    { "11-start-task", NULL },
    { "12-start-task-again", "code=46014" },
    { "18-pause", NULL },
    { "20-pause-again", NULL },
    { "21-pause-unknown-source", "code=46017" },
    { "22-pause-unknown-task", "task zz has no source" },
    { "23-resume", NULL },
    { "24-resume-again", NULL },
    { "26-pause-a-task-paused-by-error", NULL },
    { "29-resume-2", NULL },
    { "33-pause-with-relay", NULL },
    { "35-resume-3", NULL },
    { "37-pause-with-validator", NULL },
    { "40-stop-source-while-task-exists", "code=46010" },
    { "41-stop-task-with-relay", NULL },
    { "42-stop-source-while-relay-runs", NULL },
    { "43-start-task-2", "code=20031" },
};

/* Every order's answer is read: taken, or refused with DM's own words. */
static void test_recorded_orders(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        char error[DM_ERROR_LEN + 1] = "";
        char *text = fix_dm_recorded(orders[i].name, NULL);
        int rv = dm_parse_operated(text, strlen(text), "mysql-01", error);
        free(text);
        if (rv != (orders[i].error == NULL ? 0 : SLUICE_ERR_REFUSED)) fail_msg("%s: %d %s", orders[i].name, rv, error);
        if (orders[i].error != NULL && strstr(error, orders[i].error) == NULL)
            fail_msg("%s: %s", orders[i].name, error);
    }
}

/* An order is taken only where this source's own entry says so: the top's true means "written to etcd" (server.go: OperateTask). */
static void test_order_needs_the_sources_own_result(void **state)
{
    static const struct order_case cases[] = {
        { "{\"result\":true,\"sources\":[{\"result\":false,\"msg\":\"[code=38045] fail\",\"source\":\"mysql-01\"}]}",
          "code=38045" },
        { "{\"result\":true,\"sources\":[{\"result\":true,\"source\":\"mysql-02\"}]}",
          "does not name source mysql-01" },
        { "{\"result\":true,\"sources\":[]}", "does not name source mysql-01" },
        { "{\"result\":true,\"sources\":null}", "does not name source mysql-01" },
        { "{\"result\":null}", "" },
        { "{\"sources\":[{\"result\":true,\"source\":\"mysql-01\"}]}", "" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char error[DM_ERROR_LEN + 1] = "";
        if (dm_parse_operated(cases[i].name, strlen(cases[i].name), "mysql-01", error) == 0)
            fail_msg("taken: %s", cases[i].name);
        if (strstr(error, cases[i].error) == NULL) fail_msg("%s: %s", cases[i].name, error);
    }
}

/* The members: the leader, how many masters live, and whether a worker has the source. */
static void test_recorded_members(void **state)
{
    static const char *const names[] = { "07-members-no-source", "13-members" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char error[DM_ERROR_LEN + 1] = "";
        char *text = fix_dm_recorded(names[i], NULL);
        struct dm_facts f = { 0 };
        assert_int_equal(dm_parse_members(text, strlen(text), "mysql-01", &f, error), 0);
        assert_string_equal(f.leader, "master1 at 127.0.0.1:8261");
        assert_int_equal(f.masters, 1);
        assert_int_equal(f.masters_alive, 1);
        assert_int_equal(f.is_bound, i == 1);
        if (i == 1) assert_string_equal(f.worker, "worker1");
        dm_facts_free(&f);
        free(text);
    }
}

/* The source's own file, as DM gives it: address, flavor, enable-gtid, enable-relay. A task's file is none. */
static void test_recorded_source_config(void **state)
{
    char error[DM_ERROR_LEN + 1] = "";
    struct dm_facts f = { 0 };
    (void)state;
    char *text = fix_dm_recorded("15-source-config", NULL);
    assert_int_equal(dm_parse_source_config(text, strlen(text), &f, error), 0);
    assert_string_equal(f.from_host, "127.0.0.1");
    assert_int_equal(f.from_port, 3400);
    assert_string_equal(f.flavor, "mysql");
    assert_true(f.enable_gtid);
    assert_false(f.enable_relay);
    dm_facts_free(&f);
    free(text);
    text = fix_dm_recorded("16-task-config", NULL);
    assert_int_equal(dm_parse_source_config(text, strlen(text), &f, error), SLUICE_ERR_PROTOCOL);
    dm_facts_free(&f);
    free(text);
}

/* A path without its slash is 501 with {code, message}: its words reach the operator. */
static void test_recorded_failure(void **state)
{
    int status;
    char error[DM_ERROR_LEN + 1] = "";
    (void)state;
    char *text = fix_dm_recorded("05-status-without-slash", &status);
    dm_parse_failure(status, text, strlen(text), error);
    assert_string_equal(error, "HTTP 501: code 12: Not Implemented");
    free(text);
    dm_parse_failure(503, "upstream\r\nis \x01 away", 19, error);
    assert_string_equal(error, "HTTP 503: upstream  is   away");
    dm_parse_failure(500, NULL, 0, error);
    assert_string_equal(error, "HTTP 500: ");
    dm_parse_failure(500, "{\"code\":null,\"message\":[]}", 26, error);
    assert_non_null(strstr(error, "HTTP 500: {"));
}

/* No recorded answer is left out of the tables above. */
static void test_all_recorded_answers_are_used(void **state)
{
    (void)state;
    size_t count = 0;
    DIR *dir = opendir(DATA_DIR);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += strstr(entry->d_name, ".json") != NULL;
    closedir(dir);
    assert_int_equal(count, ARRAY_LEN(statuses) + ARRAY_LEN(orders) + 5); /* 2 members, 2 files, 1 failure */
}

/* What is no answer: nothing is read from it, and the reason is told. */
static void test_no_json_is_an_error(void **state)
{
    static const char *const broken[] = { "",
                                          "null",
                                          "\"\"",
                                          "[]",
                                          "7",
                                          "{",
                                          "<html>502 Bad Gateway</html>",
                                          "{\"result\":true,\"sources\":[{\"result\":true",
                                          "{\"result\":tru" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        char error[DM_ERROR_LEN + 1] = "";
        struct dm_source s = { 0 };
        struct dm_facts f = { 0 };
        size_t len = strlen(broken[i]);
        assert_int_equal(dm_parse_status(broken[i], len, "mysql-01", &s, error), SLUICE_ERR_PROTOCOL);
        assert_non_null(strstr(error, "no JSON object"));
        assert_int_equal(dm_parse_members(broken[i], len, "mysql-01", &f, error), SLUICE_ERR_PROTOCOL);
        assert_int_equal(dm_parse_source_config(broken[i], len, &f, error), SLUICE_ERR_PROTOCOL);
        assert_int_equal(dm_parse_operated(broken[i], len, "mysql-01", error), SLUICE_ERR_PROTOCOL);
        dm_facts_free(&f);
    }
}

#define ENTRY(inner)                                                                                                   \
    "{\"result\":true,\"sources\":[{\"result\":true,\"msg\":\"m\",\"sourceStatus\":{\"source\":\"mysql-01\"}," inner   \
    "}]}"

/* Answers of the right shape with nothing in them: not known, never "no tasks". */
static void test_empty_answers_are_not_known(void **state)
{
    static const char *const empty[] = {
        "{}",
        "{\"result\":true}",
        "{\"result\":true,\"sources\":null}",
        "{\"result\":true,\"sources\":[]}",
        "{\"result\":true,\"sources\":\"\"}",
        "{\"result\":true,\"sources\":[null,7,[]]}",
        "{\"result\":\"true\",\"sources\":[{\"result\":true,\"sourceStatus\":{\"source\":\"mysql-01\"},"
        "\"subTaskStatus\":[{\"name\":\"t\"}]}]}",
        ENTRY("\"subTaskStatus\":null"),
        ENTRY("\"subTaskStatus\":\"\""),
        ENTRY("\"subTaskStatus\":[]"),
        ENTRY("\"subTaskStatus\":{}"),
        ENTRY("\"subTaskStatus\":[null]"),
        ENTRY("\"subTaskStatus\":[{\"name\":null,\"stage\":\"Paused\"}]"),
        "{\"result\":true,\"sources\":[{\"result\":true,\"sourceStatus\":null,\"subTaskStatus\":[{\"name\":\"t\"}]}]}",
        "{\"result\":true,\"sources\":[{\"result\":true,\"sourceStatus\":{\"source\":\"other\"},\"subTaskStatus\":[{"
        "\"name\":\"t\"}]}]}",
        "{\"result\":true,\"sources\":[{\"result\":false,\"msg\":\"\",\"sourceStatus\":{\"source\":\"mysql-01\"},"
        "\"subTaskStatus\":[{\"name\":\"t\"}]}]}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
        struct dm_source s = fix_dm_status(empty[i]);
        if (s.is_known) fail_msg("known: %s", empty[i]);
        assert_non_null(s.why);
        dm_source_free(&s);
    }
}

/* A task of which all is null, empty or of another type: it is there, and nothing good is read into it. */
static void test_fields_of_the_wrong_type_say_nothing(void **state)
{
    static const char *const tasks[] = {
        "{\"name\":\"t\"}",
        "{\"name\":\"t\",\"stage\":null,\"unit\":null,\"result\":null,\"sync\":null,\"validation\":null}",
        "{\"name\":\"t\",\"stage\":\"\",\"unit\":\"\",\"result\":\"\",\"sync\":\"\",\"validation\":\"\"}",
        "{\"name\":\"t\",\"stage\":[],\"unit\":[],\"result\":[],\"sync\":[],\"validation\":[]}",
        "{\"name\":\"t\",\"stage\":3,\"unit\":4,\"result\":7,\"sync\":{},\"validation\":{}}",
        "{\"name\":\"t\",\"stage\":\"Dreaming\",\"unit\":\"Sync2\",\"result\":{},\"sync\":{\"syncerBinlogGtid\":null}}",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        char text[500];
        snprintf(text, sizeof text, ENTRY("\"subTaskStatus\":[%s]"), tasks[i]);
        struct dm_source s = fix_dm_status(text);
        assert_true(s.is_known);
        assert_int_equal(s.tasks[0].stage, DM_STAGE_UNKNOWN);
        assert_int_equal(s.tasks[0].unit, DM_UNIT_UNKNOWN);
        assert_string_equal(s.tasks[0].syncer_gtid, "");
        assert_false(s.tasks[0].validation.is_present);
        assert_int_equal(dm_stage_of(s.tasks[0].stage, &s.tasks[0].result), CONSUMER_STAGE_UNKNOWN);
        dm_source_free(&s);
    }
}

/* A second worker that only has the relay changes nothing; two that both show tasks are a failover in progress. */
static void test_several_workers_answer(void **state)
{
#define WORKER(name, tasks)                                                                                            \
    "{\"result\":true,\"msg\":\"\",\"sourceStatus\":{\"source\":\"mysql-01\",\"worker\":\"" name                       \
    "\"},\"subTaskStatus\":[" tasks "]}"
    static const char both[] = "{\"result\":true,\"sources\":[" WORKER("w1", "") "," WORKER(
        "w2", "{\"name\":\"t\",\"stage\":\"Running\"}") "]}";
    static const char two[] =
        "{\"result\":true,\"sources\":[" WORKER("w1", "{\"name\":\"t\"}") "," WORKER("w2", "{\"name\":\"t\"}") "]}";
    (void)state;
    struct dm_source s = fix_dm_status(both);
    assert_true(s.is_known);
    assert_string_equal(s.worker, "w2");
    dm_source_free(&s);
    s = fix_dm_status(two);
    assert_false(s.is_known);
    assert_non_null(strstr(s.why, "two workers"));
    dm_source_free(&s);
}

/* An answer of 10 MB with ten thousand tasks, well-formed, is read within the test's time. */
static void test_huge_answer(void **state)
{
    size_t room = 11u << 20, len = 0;
    char *text = malloc(room);
    (void)state;
    assert_non_null(text);
    len += (size_t)snprintf(text, room,
                            "{\"result\":true,\"sources\":[{\"result\":true,\"sourceStatus\":{\"source\":"
                            "\"mysql-01\"},\"subTaskStatus\":[");
    for (int i = 0; i < 10000; i++) {
        len += (size_t)snprintf(text + len, room - len, "%s{\"name\":\"t%d\",\"stage\":\"Running\",\"pad\":\"",
                                i == 0 ? "" : ",", i);
        memset(text + len, 'x', 1000);
        len += 1000;
        len += (size_t)snprintf(text + len, room - len, "\"}");
    }
    snprintf(text + len, room - len, "]}]}");
    assert_true(strlen(text) > 10000000);
    struct dm_source s = fix_dm_status(text);
    assert_int_equal(s.task_count, 10000);
    dm_source_free(&s);
    free(text);
}

/* Memory that runs out anywhere is reported, and nothing is left behind. */
static void test_parse_survives_out_of_memory(void **state)
{
    (void)state;
    char *text = fix_dm_recorded("36-status-relay-and-validator", NULL);
    int rv = SLUICE_ERR_NOMEM;
    for (unsigned long n = 1; rv != 0 && n < 200; n++) {
        char error[DM_ERROR_LEN + 1] = "";
        struct dm_source s = { 0 };
        mem_fail_at(n);
        rv = dm_parse_status(text, strlen(text), "mysql-01", &s, error);
        mem_fail_at(0);
        if (rv != 0) assert_int_equal(rv, SLUICE_ERR_NOMEM);
        dm_source_free(&s);
    }
    assert_int_equal(rv, 0);
    free(text);
}

/* A task's name is one segment of the path, whatever is in it. */
static void test_path_of_a_name(void **state)
{
    (void)state;
    static const struct order_case names[] = { { "t1", "t1" },
                                               { "a b/c?d#e", "a%20b%2Fc%3Fd%23e" },
                                               { "..", ".." },
                                               { "\xe4\xbb\xbb", "%E4%BB%BB" },
                                               { "", "" } };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = dm_path_of(names[i].name);
        assert_string_equal(path, names[i].error);
        mem_free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_statuses),
        cmocka_unit_test(test_recorded_orders),
        cmocka_unit_test(test_order_needs_the_sources_own_result),
        cmocka_unit_test(test_recorded_members),
        cmocka_unit_test(test_recorded_source_config),
        cmocka_unit_test(test_recorded_failure),
        cmocka_unit_test(test_all_recorded_answers_are_used),
        cmocka_unit_test(test_no_json_is_an_error),
        cmocka_unit_test(test_empty_answers_are_not_known),
        cmocka_unit_test(test_fields_of_the_wrong_type_say_nothing),
        cmocka_unit_test(test_several_workers_answer),
        cmocka_unit_test(test_huge_answer),
        cmocka_unit_test(test_parse_survives_out_of_memory),
        cmocka_unit_test(test_path_of_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
