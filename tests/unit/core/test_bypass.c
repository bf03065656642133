/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/bypass.h"

static struct threads_row rows[4];
static enum threads_class classes[4];
static struct bypass_channel channels[1];
static struct check_list list;
static const char users[1][THREADS_USER_LEN + 1] = { "dm" };

static struct bypass_input input(size_t row_count, size_t channel_count)
{
    return (struct bypass_input){ .server = "a",
                                  .rows = rows,
                                  .row_count = row_count,
                                  .own_user = "sluice",
                                  .classes = classes,
                                  .users = users,
                                  .user_count = 1,
                                  .channels = channels,
                                  .channel_count = channel_count,
                                  .level = CHECK_FAIL };
}

static void row(size_t i, const char *user, const char *command, enum threads_class class)
{
    rows[i] = (struct threads_row){ .id = 10 + i };
    snprintf(rows[i].user, sizeof rows[i].user, "%s", user);
    snprintf(rows[i].host, sizeof rows[i].host, "10.0.0.7:%zu", 40000 + i);
    snprintf(rows[i].command, sizeof rows[i].command, "%s", command);
    classes[i] = class;
}

static int setup(void **state)
{
    (void)state;
    check_list_free(&list);
    memset(channels, 0, sizeof channels);
    snprintf(channels[0].user, sizeof channels[0].user, "repl");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    check_list_free(&list);
    return 0;
}

/* Our own legs and probes, and other programs under other accounts, are nobody's business. */
static void test_bypass_is_silent_about_what_is_ours_or_foreign_sql(void **state)
{
    (void)state;
    row(0, "dm", "Binlog Dump GTID", THREADS_LEG);
    row(1, "sluice", "Query", THREADS_PROBE);
    row(2, "app", "Query", THREADS_ELSEWHERE);
    struct bypass_input in = input(3, 0);
    bypass_add_checks(&list, &in);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.items[0].state, CHECK_OK);
}

/* Who reads through Sluice is told by the address of its own, where the server shows ours. */
static void test_bypass_names_the_readers_behind_our_legs(void **state)
{
    (void)state;
    static const struct threads_leg legs[] = { { .id = 7, .client = "10.9.9.9:1" },
                                               { .id = 10, .host = "10.0.0.7:40000", .client = "10.1.2.3:4567" } };
    row(0, "dm", "Binlog Dump GTID", THREADS_LEG);
    struct bypass_input in = input(1, 0);
    in.legs = legs;
    in.leg_count = 2;
    bypass_add_checks(&list, &in);
    assert_int_equal(list.items[0].state, CHECK_OK);
    assert_non_null(strstr(list.items[0].detail, "through it: 10 of dm from 10.1.2.3:4567 (Binlog Dump GTID)"));
}

/* A session of the consumer's account that is not ours is refused, named by id, account and host. */
static void test_bypass_names_sessions_of_the_consumers_account(void **state)
{
    (void)state;
    row(0, "dm", "Sleep", THREADS_ELSEWHERE);
    struct bypass_input in = input(1, 0);
    bypass_add_checks(&list, &in);
    assert_int_equal(check_worst(&list)->state, CHECK_FAIL);
    assert_non_null(strstr(list.items[0].detail, "10 of dm from 10.0.0.7:40000"));
}

/* The group's own replication has one dump thread a channel; one more under the same account only warns. */
static void test_bypass_knows_the_groups_own_replication(void **state)
{
    (void)state;
    row(0, "repl", "Binlog Dump GTID", THREADS_ELSEWHERE);
    struct bypass_input in = input(1, 1);
    bypass_add_checks(&list, &in);
    assert_int_equal(check_worst(&list)->state, CHECK_OK);
    check_list_free(&list);
    memset(channels, 0, sizeof channels);
    snprintf(channels[0].user, sizeof channels[0].user, "repl");
    row(1, "repl", "Binlog Dump GTID", THREADS_ELSEWHERE);
    in = input(2, 1);
    bypass_add_checks(&list, &in);
    assert_int_equal(check_worst(&list)->state, CHECK_WARN);
    assert_non_null(strstr(list.items[0].detail, "11 of repl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bypass_is_silent_about_what_is_ours_or_foreign_sql, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bypass_names_the_readers_behind_our_legs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bypass_names_sessions_of_the_consumers_account, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bypass_knows_the_groups_own_replication, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
