/* SPDX-License-Identifier: Apache-2.0 */
/* Pausing and resuming consumers: server B is a replica of A, started by with_mysql.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "consumer/consumer.h"
#include "core/error.h"
#include "core/mem.h"
#include "fake_server.h"
#include "fix_loop.h"
#include "fix_mysql.h"
#include "sluice/gtid.h"

/* A loop, a consumer on it, and what it answered last. */
struct world {
    struct fix_loop loop;
    struct consumer *consumer;
    unsigned answers, closed;
    int status;
    struct upstream_error error;
    /* of the last consumer_status(): */
    enum consumer_stage stage;
    bool is_quiet, is_known;
    size_t task_count;
    unsigned source_port;
    char refusal[1024];
    char *plan; /* NULL where it refused */
    int plan_status;
    int resumed; /* consumer_is_resumed() of |judged_plan| */
    const char *judged_plan;
    struct gtid_set *s;
};

static void world_forget(struct world *w)
{
    mem_free(w->plan);
    gtid_set_del(w->s);
    w->plan = NULL;
    w->s = NULL;
}

static void on_status(void *arg, int status, const struct upstream_error *error, const struct consumer_status *found)
{
    struct world *w = arg;
    w->answers++;
    w->status = status;
    w->error = *error;
    if (found == NULL) return;
    world_forget(w);
    w->task_count = found->task_count;
    w->is_known = found->is_known;
    w->is_quiet = consumer_status_is_quiet(found);
    w->source_port = found->source_port;
    snprintf(w->refusal, sizeof w->refusal, "%s", found->refusal == NULL ? "" : found->refusal);
    w->plan_status = consumer_plan(w->consumer, found, &w->plan, &w->error);
    if (w->judged_plan != NULL) {
        const struct consumer_evidence nothing = { 0 };
        bool progresses;
        w->resumed = consumer_is_resumed(w->consumer, w->judged_plan, found, &nothing, &progresses, &w->error);
    }
    if (found->task_count == 0) return;
    w->stage = found->tasks[0].stage;
    if (found->tasks[0].s != NULL) w->s = gtid_set_copy(found->tasks[0].s);
}

static void on_done(void *arg, int status, const struct upstream_error *error)
{
    struct world *w = arg;
    w->answers++;
    w->status = status;
    w->error = *error;
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->closed++;
}

static void world_up(struct world *w, enum config_consumer_type type, const char *user, const char *channel)
{
    *w = (struct world){ .plan_status = 1 };
    fix_loop_up(&w->loop, 1);
    struct consumer_settings settings = {
        .type = type, .channel = channel, .pool = w->loop.pool, .mailbox = &w->loop.mailbox
    };
    if (type == CONFIG_CONSUMER_REPLICA) settings.target = mysql_target("B", user);
    assert_int_equal(consumer_new(&settings, &w->consumer), 0);
}

static void world_down(struct world *w)
{
    consumer_close(w->consumer, on_closed, w);
    fix_loop_until(&w->loop, &w->closed, 1, LIMIT_MS);
    fix_loop_down(&w->loop);
    world_forget(w);
}

static void ask(struct world *w)
{
    consumer_status(w->consumer, LIMIT_MS, on_status, w);
    fix_loop_until(&w->loop, &w->answers, w->answers + 1, LIMIT_MS);
    if (w->status != 0) fail_msg("status: %s", w->error.text);
}

static int pause_by(struct world *w, const char *plan)
{
    consumer_pause(w->consumer, plan, LIMIT_MS, on_done, w);
    fix_loop_until(&w->loop, &w->answers, w->answers + 1, LIMIT_MS * 2);
    return w->status;
}

static int resume_by(struct world *w, const char *plan)
{
    consumer_resume(w->consumer, plan, LIMIT_MS, on_done, w);
    fix_loop_until(&w->loop, &w->answers, w->answers + 1, LIMIT_MS * 2);
    return w->status;
}

/* Ask until resume(plan) is judged as |want|. */
static void wait_resumed(struct world *w, const char *plan, int want)
{
    uint64_t end_ms = upstream_now_ms() + LIMIT_MS;
    w->judged_plan = plan;
    do {
        ask(w);
        if (upstream_now_ms() > end_ms) fail_msg("judged %d: %s", w->resumed, w->error.text);
    } while (w->resumed != want);
    w->judged_plan = NULL;
}

static void on_b(const char *sql)
{
    struct connector *c = mysql_open("B", "consumer");
    mysql_do(c, sql);
    connector_close(c);
}

static void write_on_a(void)
{
    struct connector *c = mysql_open("A", "writer");
    mysql_do(c, "REPLACE INTO test.t VALUES (5)");
    mysql_do(c, "DELETE FROM test.t WHERE k = 5");
    connector_close(c);
}

/* From running to paused and back: the plan is known before, S stands still while paused and moves on after. */
static void test_replica_is_paused_and_resumed(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    ask(&w);
    assert_string_equal(w.refusal, "");
    assert_int_equal(w.stage, CONSUMER_STAGE_RUNNING);
    assert_false(w.is_quiet);
    assert_true(w.is_known);
    assert_int_equal(w.source_port, atoi(mysql_env("SLUICE_TEST_A_PORT")));
    char *plan = mem_strdup(w.plan);
    assert_string_equal(plan, "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":true}");
    if (pause_by(&w, plan) != 0) fail_msg("pause: %s", w.error.text);
    ask(&w);
    assert_true(w.is_quiet);
    assert_int_equal(w.stage, CONSUMER_STAGE_PAUSED_BY_COMMAND);
    struct gtid_set *before = gtid_set_copy(w.s);
    write_on_a();
    ask(&w);
    assert_true(gtid_set_equal(w.s, before));
    if (resume_by(&w, plan) != 0) fail_msg("resume: %s", w.error.text);
    wait_resumed(&w, plan, 0);
    uint64_t want = gtid_set_count(before) + 2, end_ms = upstream_now_ms() + LIMIT_MS;
    while (gtid_set_count(w.s) < want && upstream_now_ms() < end_ms)
        ask(&w);
    assert_int_equal(gtid_set_count(w.s), want);
    gtid_set_del(before);
    mem_free(plan);
    world_down(&w);
}

/* S is what came from the source: B's own transaction is not in it. */
static void test_replica_position_leaves_out_its_own_writes(void **state)
{
    (void)state;
    struct world w;
    uint8_t a[GTID_UUID_BYTES], b[GTID_UUID_BYTES];
    assert_int_equal(gtid_uuid_parse(mysql_env("SLUICE_TEST_A_UUID"), 36, a), 0);
    assert_int_equal(gtid_uuid_parse(mysql_env("SLUICE_TEST_B_UUID"), 36, b), 0);
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    ask(&w);
    assert_true(gtid_set_has_uuid(w.s, a));
    assert_false(gtid_set_has_uuid(w.s, b));
    world_down(&w);
}

/* A thread that somebody had stopped before stays stopped; resume by another process, and twice, does no more than that. */
static void test_only_what_ran_is_started_again(void **state)
{
    (void)state;
    struct world w;
    on_b("STOP REPLICA SQL_THREAD");
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    ask(&w);
    assert_false(w.is_quiet);
    char *plan = mem_strdup(w.plan);
    assert_string_equal(plan, "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":false}");
    assert_int_equal(pause_by(&w, plan), 0);
    assert_int_equal(pause_by(&w, plan), 0); /* again: nothing */
    ask(&w);
    assert_true(w.is_quiet);
    world_down(&w);
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    assert_int_equal(resume_by(&w, plan), 0);
    assert_int_equal(resume_by(&w, plan), 0);
    wait_resumed(&w, plan, 0);
    assert_string_equal(w.plan, plan); /* the same threads run as before */
    mem_free(plan);
    on_b("START REPLICA SQL_THREAD");
    world_down(&w);
}

/* A replica that was paused by someone stays paused through pause and resume. */
static void test_paused_replica_stays_paused(void **state)
{
    (void)state;
    struct world w;
    on_b("STOP REPLICA");
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    ask(&w);
    assert_true(w.is_quiet);
    char *plan = mem_strdup(w.plan);
    assert_int_equal(pause_by(&w, plan), 0);
    assert_int_equal(resume_by(&w, plan), 0);
    wait_resumed(&w, plan, 0);
    assert_true(w.is_quiet);
    mem_free(plan);
    on_b("START REPLICA");
    world_down(&w);
}

/* Without the grant the refusal names it, before anything is done and when it is tried all the same. */
static void test_missing_grant_is_a_refusal(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_REPLICA, "sluice", "");
    ask(&w);
    assert_non_null(strstr(w.refusal, "GRANT REPLICATION_SLAVE_ADMIN ON *.* TO 'sluice'@'%'"));
    assert_int_equal(w.plan_status, SLUICE_ERR_REFUSED);
    assert_int_equal(pause_by(&w, "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":true}"),
                     SLUICE_ERR_ACCESS_DENIED);
    assert_non_null(strstr(w.error.text, "REPLICATION_SLAVE_ADMIN"));
    ask(&w);
    assert_int_equal(w.stage, CONSUMER_STAGE_RUNNING);
    world_down(&w);
}

/* A channel that is not there, and one that reads by position, are refused with what to do. */
static void test_unfit_channels_are_refused(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "absent");
    ask(&w);
    assert_non_null(strstr(w.refusal, "no replication channel 'absent'"));
    assert_false(w.is_known);
    world_down(&w);
    on_b("STOP REPLICA");
    on_b("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 0");
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    ask(&w);
    assert_non_null(strstr(w.refusal, "SOURCE_AUTO_POSITION = 1"));
    world_down(&w);
    on_b("CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1");
    on_b("START REPLICA");
}

/* After a resume a replica that cannot connect is "not yet", with the error; one that stopped by an error is an error. */
static void test_resume_is_verified(void **state)
{
    static const char plan[] = "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":true}";
    (void)state;
    char back[80];
    struct world w;
    snprintf(back, sizeof back, "CHANGE REPLICATION SOURCE TO SOURCE_PORT = %s", mysql_env("SLUICE_TEST_A_PORT"));
    on_b("STOP REPLICA");
    on_b("CHANGE REPLICATION SOURCE TO SOURCE_PORT = 1");
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    w.judged_plan = plan;
    ask(&w);
    assert_int_equal(w.resumed, SLUICE_ERR_QUERY); /* stopped, and the plan wants it to run */
    assert_int_equal(resume_by(&w, plan), 0);
    uint64_t end_ms = upstream_now_ms() + LIMIT_MS;
    do {
        wait_resumed(&w, plan, SLUICE_ERR_BUSY);
    } while (strstr(w.error.text, "2003") == NULL && strstr(w.error.text, "connect") == NULL &&
             upstream_now_ms() < end_ms);
    assert_int_equal(w.stage, CONSUMER_STAGE_IN_MOTION);
    assert_false(w.is_quiet);
    on_b("STOP REPLICA");
    on_b(back);
    assert_int_equal(resume_by(&w, plan), 0);
    wait_resumed(&w, plan, 0);
    world_down(&w);
}

/* A plan that is none is refused, and nothing is done. */
static void test_broken_plan_is_refused(void **state)
{
    static const char *const broken[] = { "", "{}", "[1]", "{\"type\":\"replica\"}",
                                          "{\"type\":\"manual\",\"channel\":\"\",\"io\":true,\"sql\":true}" };
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_int_equal(pause_by(&w, broken[i]), SLUICE_ERR_INVALID);
        assert_int_equal(resume_by(&w, broken[i]), SLUICE_ERR_INVALID);
    }
    ask(&w);
    assert_int_equal(w.stage, CONSUMER_STAGE_RUNNING);
    world_down(&w);
}

/* The operator's word for what a manual consumer has is checked, and is its S; without it what was delivered stands for it, if known. */
static void test_manual_has_what_it_was_given_or_what_was_delivered(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_MANUAL, NULL, NULL);
    ask(&w);
    assert_non_null(strstr(w.refusal, "--gtid-s=SET"));
    assert_int_equal(w.plan_status, SLUICE_ERR_REFUSED);
    assert_int_equal(consumer_set_gtid_s(w.consumer, "nonsense"), SLUICE_ERR_SYNTAX);
    assert_int_equal(consumer_set_gtid_s(w.consumer, "f017c7e3-e763-11f1-b68b-02fc00000001:1-7"), 0);
    ask(&w);
    assert_string_equal(w.refusal, "");
    assert_true(w.is_quiet);
    assert_true(w.is_known);
    assert_int_equal(gtid_set_count(w.s), 7);
    assert_int_equal(pause_by(&w, w.plan), 0);
    assert_int_equal(resume_by(&w, w.plan), 0);
    assert_int_equal(consumer_set_gtid_s(w.consumer, NULL), 0);
    ask(&w);
    assert_int_equal(w.plan_status, SLUICE_ERR_REFUSED);
    consumer_set_has_delivered(w.consumer, true);
    ask(&w);
    assert_string_equal(w.refusal, "");
    assert_true(w.is_quiet);
    assert_false(w.is_known); /* S is not: D stands for it */
    assert_int_equal(w.plan_status, 0);
    consumer_set_has_delivered(w.consumer, false);
    ask(&w);
    assert_non_null(strstr(w.refusal, "--gtid-s=SET"));
    world_down(&w);
}

/* Consumer none: S is unknown, which is no error; there is nothing to pause. */
static void test_none_is_unknown(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, CONFIG_CONSUMER_NONE, NULL, NULL);
    ask(&w);
    assert_false(w.is_known);
    assert_int_equal(w.task_count, 0);
    assert_true(w.is_quiet);
    assert_int_equal(w.plan_status, 0);
    assert_int_equal(pause_by(&w, w.plan), 0);
    assert_int_equal(resume_by(&w, w.plan), 0);
    assert_int_equal(consumer_set_gtid_s(w.consumer, ""), SLUICE_ERR_INVALID);
    world_down(&w);
}

/* A frozen downstream: the call ends at its limit; closing ends it at once, and it is answered before the consumer is gone. */
static void test_frozen_consumer(void **state)
{
    (void)state;
    struct world w;
    struct fake_server *server = fake_server_up(FAKE_SILENT);
    struct upstream_target target = fake_server_target(server);
    world_up(&w, CONFIG_CONSUMER_REPLICA, "consumer", "");
    assert_int_equal(consumer_set_target(w.consumer, &target), 0);
    consumer_status(w.consumer, 200, on_status, &w);
    fix_loop_until(&w.loop, &w.answers, 1, LIMIT_MS);
    assert_int_equal(w.status, SLUICE_ERR_TIMEOUT);
    consumer_pause(w.consumer, "{\"type\":\"replica\",\"channel\":\"\",\"io\":true,\"sql\":true}", 600000, on_done, &w);
    consumer_close(w.consumer, on_closed, &w);
    fix_loop_until(&w.loop, &w.closed, 1, LIMIT_MS);
    assert_int_equal(w.answers, 2);
    assert_int_equal(w.status, SLUICE_ERR_CANCELED);
    fix_loop_down(&w.loop);
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
        cmocka_unit_test(test_replica_is_paused_and_resumed),
        cmocka_unit_test(test_replica_position_leaves_out_its_own_writes),
        cmocka_unit_test(test_only_what_ran_is_started_again),
        cmocka_unit_test(test_paused_replica_stays_paused),
        cmocka_unit_test(test_missing_grant_is_a_refusal),
        cmocka_unit_test(test_unfit_channels_are_refused),
        cmocka_unit_test(test_resume_is_verified),
        cmocka_unit_test(test_broken_plan_is_refused),
        cmocka_unit_test(test_manual_has_what_it_was_given_or_what_was_delivered),
        cmocka_unit_test(test_none_is_unknown),
        cmocka_unit_test(test_frozen_consumer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
