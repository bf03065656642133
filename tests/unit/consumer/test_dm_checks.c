/* SPDX-License-Identifier: Apache-2.0 */
/* What `check` says of DM: each line in its good and in its bad case, with what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "consumer/dm_parse.h"
#include "core/checks_dm.h"
#include "core/mem.h"
#include "fix_dm.h"
#include "sluice/gtid.h"

static const struct checks_dm_address advertised = { "127.0.0.1", 3400 };
static const struct checks_dm ours = {
    .source_id = "mysql-01", .listen = { "0.0.0.0", 3400 }, .advertise = &advertised, .advertise_count = 1
};

/* All that a real DM said when it was well; |status| is a recorded status. */
static struct dm_facts *facts_of(const char *status)
{
    char error[DM_ERROR_LEN + 1];
    struct dm_facts *f = dm_facts_new();
    assert_non_null(f);
    f->source = fix_dm_recorded_status(status);
    char *text = fix_dm_recorded("13-members", NULL);
    assert_int_equal(dm_parse_members(text, strlen(text), "mysql-01", f, error), 0);
    free(text);
    text = fix_dm_recorded("15-source-config", NULL);
    assert_int_equal(dm_parse_source_config(text, strlen(text), f, error), 0);
    free(text);
    f->locks_are_known = true;
    return f;
}

/* Judge |f|, which passes to it. */
static struct check_list judge(struct dm_facts *f, const struct checks_dm *in)
{
    struct check_list list = { 0 };
    struct consumer_status c = { 0 };
    assert_int_equal(dm_fill_status(f, NULL, &c), 0);
    c.dm = f;
    checks_add_dm(&list, in, &c);
    assert_int_equal(list.status, 0);
    consumer_status_free(&c);
    return list;
}

static void expect(struct dm_facts *f, const struct checks_dm *in, const char *name, enum check_state state,
                   const char *detail)
{
    struct check_list list = judge(f, in);
    const struct check *found = NULL;
    for (size_t i = 0; i < list.count; i++)
        if (strcmp(list.items[i].name, name) == 0 && (found == NULL || list.items[i].state > found->state))
            found = &list.items[i];
    if (found == NULL) {
        fail_msg("no line %s", name);
        return; /* not reached; the analyzer does not know */
    }
    if (found->state != state || strstr(found->detail, detail) == NULL)
        fail_msg("%s: %d %s", name, found->state, found->detail);
    assert_int_equal(*found->todo == '\0', state == CHECK_OK);
    check_list_free(&list);
}

/* A DM that is well passes, every line of it, with the figures. */
static void test_good_dm_passes(void **state)
{
    (void)state;
    struct check_list list = judge(facts_of("01-status-running"), &ours);
    for (size_t i = 0; i < list.count; i++)
        if (list.items[i].state != CHECK_OK) fail_msg("%s: %s", list.items[i].name, list.items[i].detail);
    assert_true(list.count >= 5);
    check_list_free(&list);
    expect(facts_of("01-status-running"), &ours, "dm-leader", CHECK_OK,
           "master1 at 127.0.0.1:8261; masters alive: 1 of 1");
    expect(facts_of("01-status-running"), &ours, "dm-source", CHECK_OK, "bound to worker1");
    expect(facts_of("36-status-relay-and-validator"), &ours, "dm-relay", CHECK_OK, "Running");
    expect(facts_of("36-status-relay-and-validator"), &ours, "dm-validator", CHECK_OK, "no checkpoint yet");
}

/* No leader, no worker: nobody would carry out an order. */
static void test_cluster_that_cannot_act_fails(void **state)
{
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    f->leader[0] = '\0';
    expect(f, &ours, "dm-leader", CHECK_FAIL, "leader: none");
    f = facts_of("01-status-running");
    f->is_bound = false;
    expect(f, &ours, "dm-source", CHECK_FAIL, "no worker has it");
    f = facts_of("01-status-running");
    f->members_error = mem_strdup("DM master 127.0.0.1:8261: HTTP 500: code 2: rpc");
    expect(f, &ours, "dm-leader", CHECK_FAIL, "DM did not say who its leader is");
}

/* A source whose flavor is not told may be MySQL's; MariaDB is refused. */
static void test_flavor(void **state)
{
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    f->flavor[0] = '\0';
    expect(f, &ours, "dm-flavor", CHECK_WARN, "not told");
    f = facts_of("01-status-running");
    mem_free(f->flavor);
    f->flavor = mem_strdup("mariadb");
    expect(f, &ours, "dm-flavor", CHECK_FAIL, "mariadb");
}

/* Streams of another account are nobody's whom a switch pauses: told, with account, address and server_id. */
static void test_other_readers_are_told(void **state)
{
    static const struct checks_dm_stream streams[] = { { "dm", "10.0.0.5:40000", 429496800 },
                                                       { "debezium", "10.0.0.6:40001", 77 } };
    struct checks_dm in = ours;
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    mem_free(f->from_user);
    f->from_user = mem_strdup("dm");
    in.streams = streams;
    in.stream_count = 1;
    expect(f, &in, "other-readers", CHECK_OK, "account dm: 0");
    f = facts_of("01-status-running");
    mem_free(f->from_user);
    f->from_user = mem_strdup("dm");
    in.stream_count = 2;
    expect(f, &in, "other-readers", CHECK_WARN, "account dm: 1: debezium from 10.0.0.6:40001 (server_id 77)");
}

/* Each stage is told, and what a switch would do with it. */
static void test_fates_are_told(void **state)
{
    (void)state;
    expect(facts_of("36-status-relay-and-validator"), &ours, "dm-relay", CHECK_OK, "would be paused");
    expect(facts_of("36-status-relay-and-validator"), &ours, "dm-validator", CHECK_OK, "would be paused");
    struct dm_facts f = { .source = fix_dm_recorded_status("01-status-running") };
    struct check_list list = { 0 };
    struct consumer_status c = { 0 };
    assert_int_equal(dm_fill_status(&f, NULL, &c), 0);
    checks_add_consumer(&list, &c);
    assert_non_null(strstr(list.items[0].detail, "Running, would be paused, unit Sync"));
    assert_non_null(strstr(list.items[0].detail, "gtid-S up to 30 s old while it runs"));
    check_list_free(&list);
    consumer_status_free(&c);
    f.source.tasks[0].stage = DM_STAGE_STOPPED;
    assert_int_equal(dm_fill_status(&f, NULL, &c), 0);
    checks_add_consumer(&list, &c);
    assert_non_null(strstr(list.items[0].detail, "Stopped, left alone"));
    check_list_free(&list);
    consumer_status_free(&c);
    dm_facts_free(&f);
}

/* DM must go through Sluice: both addresses are named where it does not; a wildcard alone cannot be compared. */
static void test_address_is_compared(void **state)
{
    static const struct checks_dm plain = { .source_id = "mysql-01", .listen = { "127.0.0.1", 3400 } },
                                  other = { .source_id = "mysql-01", .listen = { "10.0.0.7", 3400 } },
                                  any = { .source_id = "mysql-01", .listen = { "0.0.0.0", 3400 } },
                                  port = { .source_id = "mysql-01", .listen = { "0.0.0.0", 3401 } };
    (void)state;
    expect(facts_of("01-status-running"), &plain, "dm-address", CHECK_OK, "127.0.0.1:3400");
    expect(facts_of("01-status-running"), &other, "dm-address", CHECK_FAIL,
           "DM reads from 127.0.0.1:3400; this listener is 10.0.0.7:3400");
    expect(facts_of("01-status-running"), &any, "dm-address", CHECK_WARN, "0.0.0.0:3400");
    expect(facts_of("01-status-running"), &port, "dm-address", CHECK_FAIL, "0.0.0.0:3401");
    struct dm_facts *f = facts_of("01-status-running");
    f->has_config = false;
    mem_free(f->config_error);
    f->config_error = mem_strdup("HTTP 500: no");
    expect(f, &ours, "dm-address", CHECK_FAIL, "HTTP 500: no");
}

/* Without enable-gtid nothing can be carried over. */
static void test_enable_gtid(void **state)
{
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    f->enable_gtid = false;
    expect(f, &ours, "dm-enable-gtid", CHECK_FAIL, "false");
}

/* Locks that the master has, locks that a task shows, and a DM that does not say. */
static void test_ddl_locks(void **state)
{
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    f->locks_are_known = false;
    expect(f, &ours, "dm-ddl-locks", CHECK_WARN, "did not say");
    f = facts_of("01-status-running");
    f->locks = mem_calloc(1, sizeof *f->locks);
    f->locks[0] = (struct dm_lock){ mem_strdup("t1-`app`.`t`"), mem_strdup("t1") };
    f->lock_count = 1;
    expect(f, &ours, "dm-ddl-locks", CHECK_FAIL, "t1-`app`.`t` of task t1");
    f = facts_of("01-status-running");
    mem_free(f->source.tasks[0].blocking_ddl);
    f->source.tasks[0].blocking_ddl = mem_strdup("alter table t add c int");
    expect(f, &ours, "dm-ddl-locks", CHECK_FAIL, "alter table t add c int");
    f = facts_of("01-status-running");
    mem_free(f->source.tasks[0].conflict);
    f->source.tasks[0].conflict = mem_strdup("columns differ");
    expect(f, &ours, "dm-ddl-locks", CHECK_FAIL, "conflict: columns differ");
}

/* A relay that reads again what the tasks have is waited for. */
static void test_relay_behind_is_waited_for(void **state)
{
    (void)state;
    expect(facts_of("32-status-relay"), &ours, "dm-relay", CHECK_WAIT, "behind the tasks");
}

/* Tagged GTIDs in S, and in what the new server has. */
static void test_tagged_gtids_fail(void **state)
{
    static const char tagged[] = "ff37823a-e70b-11f1-888d-02fc00000001:1-5:tag:1-3";
    (void)state;
    struct dm_facts *f = facts_of("01-status-running");
    mem_free(f->source.tasks[0].syncer_gtid);
    f->source.tasks[0].syncer_gtid = mem_strdup(tagged);
    expect(f, &ours, "dm-tagged-gtids", CHECK_FAIL, "gtid-S of t1");
    struct facts server = { 0 };
    struct check_list list = { 0 };
    assert_int_equal(gtid_set_parse(tagged, sizeof tagged - 1, &server.executed, NULL), 0);
    checks_add_dm_server(&list, "b", &server);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].state, CHECK_FAIL);
    check_list_free(&list);
    gtid_set_del(server.executed);
}

/* Another consumer has no such lines. */
static void test_other_consumers_have_no_lines(void **state)
{
    struct check_list list = { 0 };
    struct consumer_status c = { 0 };
    (void)state;
    checks_add_dm(&list, &ours, &c);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_dm_passes),
        cmocka_unit_test(test_cluster_that_cannot_act_fails),
        cmocka_unit_test(test_address_is_compared),
        cmocka_unit_test(test_enable_gtid),
        cmocka_unit_test(test_ddl_locks),
        cmocka_unit_test(test_relay_behind_is_waited_for),
        cmocka_unit_test(test_tagged_gtids_fail),
        cmocka_unit_test(test_other_consumers_have_no_lines),
        cmocka_unit_test(test_flavor),
        cmocka_unit_test(test_other_readers_are_told),
        cmocka_unit_test(test_fates_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
