/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"

#define ROW(i, u, h, c)                                                                                                \
    {                                                                                                                  \
        .id = (i), .user = u, .host = h, .command = c                                                                  \
    }
#define LEG(i, h)                                                                                                      \
    {                                                                                                                  \
        .id = (i), .host = h                                                                                           \
    }

/* The server as 10.0.0.5 sees it: we asked on connection 99. */
static const struct threads_row rows[] = {
    ROW(5, "event_scheduler", "localhost", "Daemon"),
    ROW(7, "root", "localhost", "Sleep"),
    ROW(8, "system user", "", "Connect"),
    ROW(10, "app", "10.0.0.5:4001", "Sleep"),
    ROW(11, "repl", "10.0.0.5:4002", "Binlog Dump GTID"),
    ROW(12, "app", "10.0.0.5:4003", "Sleep"),
    ROW(13, "repl", "10.0.0.5:4004", "Binlog Dump GTID"),
    ROW(14, "ops", "10.0.0.5:4005", "Sleep"),
    ROW(15, "sluice", "10.0.0.5:4006", "Sleep"),
    ROW(16, "app", "10.0.0.5:4007", "Sleep"),
    ROW(17, "app", "10.0.0.9:4001", "Sleep"),
    ROW(18, "unauthenticated user", "10.0.0.5:4008", "Connect"),
    ROW(99, "sluice", "10.0.0.5:4009", "Query"),
};
static const struct threads_leg live[] = {
    LEG(10, "10.0.0.5:4001"), LEG(11, "10.0.0.5:4002"), LEG(0, "10.0.0.5:4008"), /* its greeting has not come */
    LEG(12, "10.0.0.5:5555"), /* the id is there, with another HOST: not this one */
};
static const struct threads_leg left_over[] = { LEG(12, "10.0.0.5:4003"), LEG(16, "10.0.0.5:1") };
static const struct threads_socket sockets[] = {
    { .local_port = 4001, .owner = THREADS_OWNER_US },
    { .local_port = 4002, .owner = THREADS_OWNER_US },
    { .local_port = 4005, .owner = THREADS_OWNER_OTHER, .pid = 77, .comm = "mysql" },
    { .local_port = 4006, .owner = THREADS_OWNER_US },
    { .local_port = 4007, .owner = THREADS_OWNER_US },
    { .local_port = 4008, .owner = THREADS_OWNER_US },
    { .local_port = 4009, .owner = THREADS_OWNER_US },
};

static struct threads_input sample(void)
{
    return (struct threads_input){ .rows = rows,
                                   .row_count = ARRAY_LEN(rows),
                                   .own_id = 99,
                                   .own_host = "10.0.0.5:4009",
                                   .own_user = "sluice",
                                   .live = live,
                                   .live_count = ARRAY_LEN(live),
                                   .left_over = left_over,
                                   .left_over_count = ARRAY_LEN(left_over),
                                   .sockets = sockets,
                                   .socket_count = ARRAY_LEN(sockets) };
}

/* Every row of a list goes to the one who made it. */
static void test_rows_are_classified(void **state)
{
    static const enum threads_class want[] = {
        THREADS_SERVER,      THREADS_SERVER, THREADS_SERVER,
        THREADS_LEG,         THREADS_LEG,    THREADS_LEFT_OVER, /* recorded by a dead process */
        THREADS_DEAD_SLUICE,                                    /* no socket has 4004 */
        THREADS_FOREIGN,     THREADS_PROBE,  THREADS_OTHER_SOURCE,
        THREADS_ELSEWHERE,   THREADS_LEG,    THREADS_PROBE,
    };
    (void)state;
    struct threads_input in = sample();
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (v.classes[i] != want[i])
            print_error("row %u: %s\n", (unsigned)rows[i].id, threads_class_name(v.classes[i]));
        assert_int_equal(v.classes[i], want[i]);
    }
    assert_int_equal(v.class_count[THREADS_LEG], 3);
    assert_int_equal(v.dump_count, 2); /* 11 and 13: dump threads are always killed */
    threads_verdict_free(&v);
}

/* A list that does not show a live leg proves nothing about what is not in it. */
static void test_unseen_leg_is_told(void **state)
{
    (void)state;
    struct threads_input in = sample();
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.live_unseen_count, 1);
    assert_true(v.live_seen[0]);
    assert_true(v.live_seen[2]);
    assert_false(v.live_seen[3]);
    threads_verdict_free(&v);
}

/* A server that resolves names shows our address as a name; legs, which know their number, are found all the same. */
static void test_server_that_resolves_names(void **state)
{
    static const struct threads_row named[] = { ROW(10, "app", "proxy.example:4001", "Sleep"),
                                                ROW(99, "sluice", "proxy.example:4009", "Query"),
                                                ROW(20, "app", "other.example:4001", "Sleep") };
    (void)state;
    struct threads_input in = sample();
    struct threads_verdict v;
    in.rows = named;
    in.row_count = ARRAY_LEN(named);
    in.own_host = "proxy.example:4009";
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.classes[0], THREADS_LEG);
    assert_int_equal(v.classes[1], THREADS_PROBE);
    assert_int_equal(v.classes[2], THREADS_ELSEWHERE);
    threads_verdict_free(&v);
}

/* A socket whose owner cannot be told is not ours to kill. */
static void test_unknown_owner_is_foreign(void **state)
{
    static const struct threads_socket unknown[] = { { .local_port = 4004, .owner = THREADS_OWNER_UNKNOWN } };
    (void)state;
    struct threads_input in = sample();
    struct threads_verdict v;
    in.sockets = unknown;
    in.socket_count = 1;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.classes[6], THREADS_FOREIGN);
    threads_verdict_free(&v);
}

/* HOST texts: the port is behind the last ':', IPv6 addresses have more of them, IPv4-mapped is IPv4. */
static void test_host_texts(void **state)
{
    (void)state;
    assert_int_equal(threads_host_port("10.0.0.5:51334"), 51334);
    assert_int_equal(threads_host_port("::1:51334"), 51334);
    assert_int_equal(threads_host_port("localhost"), 0);
    assert_int_equal(threads_host_port("a:65536"), 0);
    assert_int_equal(threads_host_port("a:-1"), 0);
    assert_int_equal(threads_host_port("a:"), 0);
    assert_int_equal(threads_host_port(""), 0);
    assert_true(threads_host_same("::ffff:10.0.0.5:1", "10.0.0.5:1"));
    assert_true(threads_host_same("::1:1", "::1:1"));
    assert_false(threads_host_same("::1:1", "::1:2"));
    assert_false(threads_host_same("10.0.0.5:1", "10.0.0.50:1"));
}

/* A connection that the server shows under another address or port than its socket has came through something. */
static void test_translated_addresses(void **state)
{
    (void)state;
    assert_false(threads_is_translated("10.0.0.5:51334", "10.0.0.5:51334"));
    assert_false(threads_is_translated("::ffff:10.0.0.5:51334", "10.0.0.5:51334"));
    assert_false(threads_is_translated("fd00::5:51334", "fd00::5:51334"));
    assert_false(threads_is_translated("app.example:51334", "10.0.0.5:51334"));
    assert_false(threads_is_translated("localhost:51334", "127.0.0.1:51334"));
    assert_true(threads_is_translated("10.0.0.5:51335", "10.0.0.5:51334"));
    assert_true(threads_is_translated("10.0.0.6:51334", "10.0.0.5:51334"));
    assert_true(threads_is_translated("app.example:51335", "10.0.0.5:51334"));
    assert_true(threads_is_translated("fd00::6:51334", "fd00::5:51334"));
    assert_true(threads_is_translated("", "10.0.0.5:51334"));
}

/* Two threads from our address without a socket: the one that was there in an earlier look is a dead Sluice's, the other is spared. */
static void test_newcomers_are_spared(void **state)
{
    (void)state;
    static const struct threads_row list[] = {
        { .id = 7, .user = "dm", .host = "10.0.0.5:1007", .command = "Binlog Dump GTID" },
        { .id = 8, .user = "app", .host = "10.0.0.5:1008", .command = "Sleep" },
        { .id = 9, .user = "dm", .host = "10.0.0.5:1009", .command = "Binlog Dump GTID" },
    };
    static const uint64_t earlier[] = { 5, 7 };
    const struct threads_input in = { .rows = list, .row_count = 3, .own_host = "10.0.0.5:1", .own_user = "sluice" };
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.class_count[THREADS_DEAD_SLUICE], 3);
    threads_spare_newcomers(&in, earlier, 2, &v);
    assert_int_equal(v.classes[0], THREADS_DEAD_SLUICE);
    assert_int_equal(v.classes[1], THREADS_OTHER_SOURCE);
    assert_int_equal(v.classes[2], THREADS_OTHER_SOURCE);
    assert_int_equal(v.class_count[THREADS_DEAD_SLUICE], 1);
    assert_int_equal(v.class_count[THREADS_OTHER_SOURCE], 2);
    assert_int_equal(v.dump_count, 1);
    threads_verdict_free(&v);
}

/* Servers that are told who a client is show the client's address: legs, and what a dead process left, are known by it and the id. */
static void test_told_legs_are_known_by_their_clients_address(void **state)
{
    (void)state;
    static const struct {
        struct threads_row row;
        enum threads_class class;
    } told[] = {
        { ROW(20, "app", "10.1.2.3:6001", "Sleep"), THREADS_LEG },
        { ROW(21, "app", "10.0.0.5:4001", "Sleep"), THREADS_LEG }, /* its header has not been read yet */
        { ROW(22, "app", "client.example:6003", "Sleep"), THREADS_LEG },
        { ROW(23, "unauthenticated user", "10.1.2.3:6004", "Connect"), THREADS_LEG }, /* no greeting has come */
        { ROW(24, "dm", "fd00::9:6005", "Binlog Dump GTID"), THREADS_LEFT_OVER },
        { ROW(25, "unauthenticated user", "10.1.2.3:6006", "Connect"),
          THREADS_LEFT_OVER }, /* killed before it knew its port */
        { ROW(30, "app", "10.1.2.3:6001", "Sleep"),
          THREADS_ELSEWHERE }, /* the same HOST, another id: an earlier life's */
        { ROW(20, "app", "10.1.2.4:6001", "Sleep"), THREADS_ELSEWHERE }, /* the id, another address */
        { ROW(31, "app", "10.1.2.3:6004", "Sleep"),
          THREADS_ELSEWHERE }, /* has logged in: not by a leg without greeting */
        { ROW(32, "app", "10.1.2.9:7000", "Sleep"), THREADS_ELSEWHERE },
    };
    static const struct threads_leg legs[] = {
        { .id = 20, .host = "10.0.0.5:4000", .client = "10.1.2.3:6001", .is_told = true },
        { .id = 21, .host = "10.0.0.5:4001", .client = "10.1.2.3:6002", .is_told = true },
        { .id = 22, .host = "10.0.0.5:4002", .client = "10.1.2.3:6003", .is_told = true },
        { .id = 0, .host = "10.0.0.5:4003", .client = "10.1.2.3:6004", .is_told = true },
    };
    static const struct threads_leg dead[] = {
        { .id = 24, .host = "10.0.0.5:3000", .client = "fd00::9:6005", .is_told = true },
        { .id = 0, .host = ":0", .client = "10.1.2.3:6006", .is_told = true },
    };
    struct threads_row list[ARRAY_LEN(told)];
    for (size_t i = 0; i < ARRAY_LEN(told); i++)
        list[i] = told[i].row;
    struct threads_input in = sample();
    in.rows = list;
    in.row_count = ARRAY_LEN(list);
    in.live = legs;
    in.live_count = ARRAY_LEN(legs);
    in.left_over = dead;
    in.left_over_count = ARRAY_LEN(dead);
    in.clients_are_told = true;
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        if (v.classes[i] != told[i].class) print_error("row %zu: %s\n", i, threads_class_name(v.classes[i]));
        assert_int_equal(v.classes[i], told[i].class);
    }
    assert_int_equal(v.live_unseen_count, 0);
    assert_int_equal(v.dump_count, 1);
    threads_verdict_free(&v);
}

/* A leg whose client was not told is known by our own end alone: whoever has the client's address is somebody else. */
static void test_client_that_was_not_told_proves_nothing(void **state)
{
    (void)state;
    static const struct threads_row list[] = { ROW(20, "app", "10.1.2.3:6001", "Sleep") };
    static const struct threads_leg legs[] = { { .id = 20, .host = "10.0.0.5:4000", .client = "10.1.2.3:6001" } };
    struct threads_input in = sample();
    in.rows = list;
    in.live = legs;
    in.row_count = in.live_count = 1;
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.classes[0], THREADS_ELSEWHERE);
    assert_int_equal(v.live_unseen_count, 1);
    threads_verdict_free(&v);
}

/*
 * Where servers are told clients' addresses, our address without a socket is no proof: such a thread is not killed, unless nobody has
 * logged in by it or Sluice itself has. One that has just come is spared.
 */
static void test_told_address_of_ours_is_not_killed(void **state)
{
    (void)state;
    static const struct threads_row list[] = { ROW(40, "app", "10.0.0.5:9000", "Binlog Dump GTID"),
                                               ROW(41, "unauthenticated user", "10.0.0.5:9001", "Connect"),
                                               ROW(42, "sluice", "10.0.0.5:9002", "Sleep"),
                                               ROW(43, "app", "10.0.0.5:9003", "Sleep") };
    static const uint64_t earlier[] = { 40, 41, 42 };
    struct threads_input in = sample();
    in.rows = list;
    in.row_count = ARRAY_LEN(list);
    in.clients_are_told = true;
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.class_count[THREADS_UNCLEAR], 2);
    assert_int_equal(v.class_count[THREADS_DEAD_SLUICE], 2);
    assert_int_equal(v.dump_count, 0);
    assert_false(threads_is_ours(THREADS_UNCLEAR));
    threads_spare_newcomers(&in, earlier, 3, &v);
    assert_int_equal(v.classes[0], THREADS_UNCLEAR);
    assert_int_equal(v.classes[3], THREADS_OTHER_SOURCE);
    assert_int_equal(v.class_count[THREADS_UNCLEAR], 1);
    threads_verdict_free(&v);
}

/* An empty list of nobody's is judged, and is empty. */
static void test_empty_list(void **state)
{
    (void)state;
    struct threads_input in = { .own_host = "10.0.0.5:1", .own_user = "sluice" };
    struct threads_verdict v;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.live_unseen_count, 0);
    threads_verdict_free(&v);
}

/* Out of memory at any allocation is an error and leaks nothing. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct threads_input in = sample();
    struct threads_verdict v;
    unsigned long n = 1;
    for (;; n++) {
        mem_fail_at(n);
        int rv = threads_judge(&in, &v);
        mem_fail_at(0);
        if (rv == 0) break;
        assert_int_equal(rv, SLUICE_ERR_NOMEM);
    }
    assert_true(n > 8);
    threads_verdict_free(&v);
}

/* Ten thousand legs on a server with as many threads are judged in linear time: far below what a drain may take. */
static void test_many_threads(void **state)
{
    enum { MANY = 10000 };
    (void)state;
    struct threads_row *many = calloc(MANY, sizeof *many);
    struct threads_leg *legs = calloc(MANY, sizeof *legs);
    for (unsigned i = 0; i < MANY; i++) {
        many[i].id = legs[MANY - 1 - i].id = i + 1;
        snprintf(many[i].host, sizeof many[i].host, "10.0.0.5:%u", i + 1000);
        snprintf(legs[MANY - 1 - i].host, sizeof legs[0].host, "10.0.0.5:%u", i + 1000);
    }
    struct threads_input in = sample();
    struct threads_verdict v;
    in.rows = many;
    in.live = legs;
    in.row_count = in.live_count = MANY;
    in.own_id = MANY + 1;
    assert_int_equal(threads_judge(&in, &v), 0);
    assert_int_equal(v.class_count[THREADS_LEG], MANY);
    assert_int_equal(v.live_unseen_count, 0);
    threads_verdict_free(&v);
    free(many);
    free(legs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_classified),
        cmocka_unit_test(test_unseen_leg_is_told),
        cmocka_unit_test(test_server_that_resolves_names),
        cmocka_unit_test(test_unknown_owner_is_foreign),
        cmocka_unit_test(test_host_texts),
        cmocka_unit_test(test_translated_addresses),
        cmocka_unit_test(test_newcomers_are_spared),
        cmocka_unit_test(test_told_legs_are_known_by_their_clients_address),
        cmocka_unit_test(test_client_that_was_not_told_proves_nothing),
        cmocka_unit_test(test_told_address_of_ours_is_not_killed),
        cmocka_unit_test(test_empty_list),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
