/* SPDX-License-Identifier: Apache-2.0 */
/* Ending sessions: idle ones at once, busy ones at their boundary, the rest by force; and one backend at every instant. */
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "world.h"

static void drain(struct world *w)
{
    world_hold(w, "draining the old backend");
    sessions_drain_begin(w->s);
}

/* An idle session closes in the call itself: an orderly end on both sides, no packet. */
static void test_idle_session_closes_at_once(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    drain(&w);
    assert_int_equal(sessions_leg_count(w.s), 0);
    assert_int_equal(w.legs_gone, 0); /* callbacks come in a later turn */
    get_end(&w, client);
    get_end(&w, server);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    assert_int_equal(w.legs_lost, 0);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, 1);
    close(client);
    close(server);
    world_down(&w);
}

/* With nothing to drain the driver is told so as well. */
static void test_drain_without_sessions_tells_that_none_is_left(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    drain(&w);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    world_down(&w);
}

/* A busy session gets its whole reply, and then the end. */
static void test_busy_session_closes_when_its_reply_is_complete(void **state)
{
    (void)state;
    int client, server;
    uint8_t packet[32], got[32];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_asks(&w, client, server, "SELECT SLEEP(1)");
    drain(&w);
    assert_int_equal(sessions_leg_count(w.s), 1);
    size_t len = make_ok(packet, 1, STATUS_AUTOCOMMIT);
    put(&w, server, packet, 5); /* a part of the reply is no boundary */
    get(&w, client, got, 5);
    assert_int_equal(sessions_leg_count(w.s), 1);
    put(&w, server, packet + 5, len - 5);
    get(&w, client, got, len - 5);
    get_end(&w, client);
    get_end(&w, server);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 1);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, 0);
    close(client);
    close(server);
    world_down(&w);
}

/* A transaction goes on to its COMMIT, though each of its statements ends in a complete reply. */
static void test_transaction_is_let_through_to_its_commit(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_asks(&w, client, server, "BEGIN");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT | STATUS_IN_TRANS);
    drain(&w);
    client_asks(&w, client, server, "INSERT INTO t VALUES (1)");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT | STATUS_IN_TRANS);
    assert_int_equal(sessions_leg_count(w.s), 1);
    client_asks(&w, client, server, "COMMIT");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    get_end(&w, client);
    get_end(&w, server);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 1);
    close(client);
    close(server);
    world_down(&w);
}

/* The reply must have been written to the client, not only read from the server. */
static void test_session_is_not_closed_before_its_reply_is_written(void **state)
{
    (void)state;
    enum { ROWS = 400, ROW = 32768 };
    static uint8_t packet[ROW + 4], row[ROW], got[65536];
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_asks(&w, client, server, "SELECT a_lot");
    drain(&w);
    size_t total = 0, len;
    len = make_packet(packet, 1, "\x01", 1);
    len += make_packet(packet + len, 2,
                       "\x03"
                       "def\0\0\0\x01"
                       "c\0\x0c\x3f\0\xff\xff\0\0\xfd\0\0\0\0\0",
                       24);
    len += make_packet(packet + len, 3, "\xfe\0\0\2\0", 5);
    put(&w, server, packet, len);
    total += len;
    /* Rows until the path stands, then the end of the result set; all of it is more than the path holds. */
    row[0] = 0xfc;
    row[1] = (ROW - 3) & 0xff;
    row[2] = (ROW - 3) >> 8;
    size_t seen = 0;
    for (int i = 0; i < ROWS; i++) {
        len = make_packet(packet, (uint8_t)(4 + i), row, ROW);
        for (size_t at = 0; at < len;) {
            ssize_t n = send(server, packet + at, len - at, MSG_NOSIGNAL);
            if (n > 0) {
                at += (size_t)n;
            } else {
                n = recv(client, got, 4096, 0); /* slower than the server */
                if (n > 0) seen += (size_t)n;
            }
            world_turn(&w);
        }
        total += len;
    }
    len = make_packet(packet, (uint8_t)(4 + ROWS), "\xfe\0\0\2\0", 5);
    put(&w, server, packet, len);
    total += len;
    assert_int_equal(sessions_leg_count(w.s), 1);
    for (;;) {
        ssize_t n = recv(client, got, sizeof got, 0);
        if (n == 0) break;
        if (n > 0) seen += (size_t)n;
        world_turn(&w);
    }
    assert_int_equal(seen, total);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 1);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

/* A binlog stream between transactions is idle, though no reply ever ends; on a quiet server no next event would come. */
static void test_stream_between_transactions_is_idle(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_dumps(&w, client, server);
    server_sends_event(&w, client, server, 1, 33, 5);
    server_sends_event(&w, client, server, 2, 19, 0);
    server_sends_event(&w, client, server, 3, 16, 0);
    assert_int_equal(sessions_stream_count(w.s), 1);
    drain(&w);
    get_end(&w, client);
    get_end(&w, server);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, 1);
    close(client);
    close(server);
    world_down(&w);
}

/* A stream is not idle while its reader has not taken what was read for it: not a byte of it may be lost. */
static void test_stream_with_unwritten_events_is_not_idle(void **state)
{
    (void)state;
    enum { EVENT = 60000 };
    static uint8_t packet[EVENT + 4], payload[EVENT], got[65536];
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_dumps(&w, client, server);
    payload[1 + 4] = 27; /* a heartbeat: between transactions before and after it */
    payload[1 + 9] = (EVENT - 1) & 0xff;
    payload[1 + 10] = (EVENT - 1) >> 8;
    size_t total = 0, seen = 0;
    for (uint8_t seq = 1; sessions_counters(w.s)->buffered_bytes == 0 && total < 64000000; seq++) {
        size_t len = make_packet(packet, seq, payload, sizeof payload);
        put(&w, server, packet, len);
        total += len;
        for (int i = 0; i < 3; i++)
            world_turn(&w);
    }
    assert_int_not_equal(sessions_counters(w.s)->buffered_bytes, 0);
    drain(&w);
    assert_int_equal(sessions_leg_count(w.s), 1);
    for (;;) {
        ssize_t n = recv(client, got, sizeof got, 0);
        if (n == 0) break;
        if (n > 0) seen += (size_t)n;
        world_turn(&w);
    }
    assert_int_equal(seen, total);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 1);
    get_broken(&w, server);
    close(client);
    close(server);
    world_down(&w);
}

/* A binlog stream inside a transaction is let through to its Xid, and not one event further. */
static void test_stream_inside_a_transaction_closes_behind_it(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_dumps(&w, client, server);
    server_sends_event(&w, client, server, 1, 33, 5);
    drain(&w);
    server_sends_event(&w, client, server, 2, 19, 0);
    assert_int_equal(sessions_leg_count(w.s), 1);
    server_sends_event(&w, client, server, 3, 16, 0);
    get_end(&w, client);
    get_end(&w, server);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 1);
    close(client);
    close(server);
    world_down(&w);
}

/* What is left at the deadline is closed by order, counted, and the driver hears when none is left. */
static void test_kill_ends_what_is_left(void **state)
{
    (void)state;
    int busy, busy_server, in_transaction, its_server, silent, silent_server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &busy, &busy_server);
    session_up(&w, 0, 2, &in_transaction, &its_server);
    client_asks(&w, busy, busy_server, "SELECT SLEEP(100)");
    client_asks(&w, in_transaction, its_server, "BEGIN");
    server_answers(&w, in_transaction, its_server, STATUS_IN_TRANS);
    silent = client_connect(&w); /* greeted, and says nothing */
    silent_server = backend_accept(&w, 0);
    server_greets(&w, silent, silent_server, 3);
    drain(&w);
    assert_int_equal(sessions_leg_count(w.s), 3);
    assert_int_equal(sessions_drain_kill(w.s), 3);
    assert_int_equal(sessions_leg_count(w.s), 0);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    const int fds[] = { busy, busy_server, in_transaction, its_server, silent, silent_server };
    for (unsigned i = 0; i < 6; i++) {
        get_broken(&w, fds[i]);
        close(fds[i]);
    }
    assert_int_equal(sessions_counters(w.s)->killed_total, 3);
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* HOLD takes the leg from a client that has not had a byte, connecting or half greeted, and it waits as if it had never had one. */
static void test_hold_takes_back_clients_without_a_byte(void **state)
{
    (void)state;
    uint8_t greeting[300];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int first = client_connect(&w), first_server = backend_accept(&w, 0);
    size_t len = make_greeting(greeting, 9);
    put(&w, first_server, greeting, len - 1); /* all but one byte */
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    int second = client_connect(&w), second_server = backend_accept(&w, 0);
    drain(&w);
    assert_int_equal(sessions_leg_count(w.s), 0);
    assert_int_equal(sessions_held_count(w.s), 2);
    get_end(&w, first_server);
    get_end(&w, second_server);
    get_nothing(first);
    get_nothing(second);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    close(first_server);
    close(second_server);
    world_route(&w, 1, 2); /* the other backend now, in the old order */
    first_server = backend_accept(&w, 1);
    server_greets(&w, first, first_server, 10);
    second_server = backend_accept(&w, 1);
    server_greets(&w, second, second_server, 11);
    assert_int_equal(sessions_counters(w.s)->killed_total, 0);
    assert_int_equal(sessions_counters(w.s)->invariant_violations_total, 0);
    close(first);
    close(second);
    close(first_server);
    close(second_server);
    world_down(&w);
}

/* An undone switch: sessions that the drain had not ended go on, and are closed at no later boundary. */
static void test_route_to_the_same_backend_ends_a_drain(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    client_asks(&w, client, server, "SELECT SLEEP(1)");
    drain(&w);
    world_route(&w, 0, 1);
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    client_asks(&w, client, server, "SELECT 2");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    assert_int_equal(sessions_leg_count(w.s), 1);
    assert_int_equal(sessions_counters(w.s)->closed_boundary_total, 0);
    close(client);
    close(server);
    world_down(&w);
}

#ifndef SLUICE_FAULTS
static void route_to_b_with_a_leg_on_a(void)
{
    int client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &client, &server);
    world_hold(&w, "no drain");
    close(STDERR_FILENO);
    world_route(&w, 1, 2);
}

/* Promise 1: routing to another backend while a leg to the old one is open ends the process rather than the promise. */
static void test_two_backends_at_once_are_impossible(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        route_to_b_with_a_leg_on_a();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_session_closes_at_once),
        cmocka_unit_test(test_drain_without_sessions_tells_that_none_is_left),
        cmocka_unit_test(test_busy_session_closes_when_its_reply_is_complete),
        cmocka_unit_test(test_transaction_is_let_through_to_its_commit),
        cmocka_unit_test(test_session_is_not_closed_before_its_reply_is_written),
        cmocka_unit_test(test_stream_between_transactions_is_idle),
        cmocka_unit_test(test_stream_with_unwritten_events_is_not_idle),
        cmocka_unit_test(test_stream_inside_a_transaction_closes_behind_it),
        cmocka_unit_test(test_kill_ends_what_is_left),
        cmocka_unit_test(test_hold_takes_back_clients_without_a_byte),
        cmocka_unit_test(test_route_to_the_same_backend_ends_a_drain),
#ifndef SLUICE_FAULTS
        cmocka_unit_test(test_two_backends_at_once_are_impossible),
#endif
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
