/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of clients at once: held, released, relayed, drained, within bounds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "net/fdlimit.h"
#include "world.h"

enum { CLIENTS = 2000 };

static int clients[CLIENTS], servers[CLIENTS];

static void up(struct world *w)
{
    if (fdlimit_raise() < 4 * CLIENTS + 100) {
        printf("the limit on descriptors is below %d\n", 4 * CLIENTS + 100);
        skip();
    }
    world_up(w, &(struct world_options){ .hold_clients_max = CLIENTS,
                                         .sessions_max = CLIENTS,
                                         .hold_timeout_ms = 19000,
                                         .connect_timeout_ms = 10000 });
}

/* 2,000 clients come at once and are all held; released, each gets a leg; half of them greeted and lost again by a HOLD, all
 * arrive in the end; drained, none is left; idle sessions hold no buffer. */
static void test_two_thousand_clients_are_held_released_and_drained(void **state)
{
    (void)state;
    struct world w;
    up(&w);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        get_nothing(clients[i]);
    world_route(&w, 0, 1);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == CLIENTS / 2 || sessions_leg_count(w.s) > CLIENTS / 2);
    world_hold(&w, "thought better of it");
    assert_int_equal(sessions_held_count(w.s), CLIENTS);
    assert_int_equal(sessions_leg_count(w.s), 0);
    world_close_backend(&w, 0); /* and with it the legs in its backlog */
    world_route(&w, 1, 2);
    for (unsigned i = 0; i < CLIENTS; i++) {
        servers[i] = backend_accept(&w, 1);
        server_greets(&w, clients[i], servers[i], i + 1); /* in the order of arrival: the greeting is that client's */
    }
    assert_int_equal(sessions_held_count(w.s), 0);
    assert_int_equal(sessions_leg_count(w.s), CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        client_logs_in(&w, clients[i], servers[i]);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    client_asks(&w, clients[77], servers[77], "SELECT SLEEP(1)");
    world_hold(&w, "draining");
    uint64_t since = uv_hrtime();
    sessions_drain_begin(w.s);
    uint64_t took_ms = (uv_hrtime() - since) / 1000000;
    assert_int_equal(sessions_leg_count(w.s), 1);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, CLIENTS - 1);
    server_answers(&w, clients[77], servers[77], STATUS_AUTOCOMMIT);
    WORLD_UNTIL(&w, w.legs_gone == 1 || sessions_leg_count(w.s) == 0);
    printf("drain of %d idle sessions: %u ms\n", CLIENTS - 1, (unsigned)took_ms);
    assert_true(took_ms < 2000);
    for (int i = 0; i < CLIENTS; i++) {
        get_end(&w, clients[i]);
        close(clients[i]);
        close(servers[i]);
    }
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* A server that dies under 2,000 sessions: each client sees the end, the driver is told once or a few times, not 2,000 times. */
static void test_server_that_dies_under_many_sessions(void **state)
{
    (void)state;
    struct world w;
    up(&w);
    world_route(&w, 0, 1);
    for (int i = 0; i < CLIENTS; i++)
        session_up(&w, 0, (uint32_t)i + 1, &clients[i], &servers[i]);
    for (int i = 0; i < CLIENTS; i++)
        close_hard(servers[i]);
    WORLD_UNTIL(&w, sessions_leg_count(w.s) == 0);
    for (int i = 0; i < CLIENTS; i++) {
        get_broken(&w, clients[i]);
        close(clients[i]);
    }
    WORLD_UNTIL(&w, w.legs_gone == 1);
    assert_int_equal(sessions_counters(w.s)->legs_lost_total, CLIENTS);
    assert_true(w.legs_lost < 50);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_thousand_clients_are_held_released_and_drained),
        cmocka_unit_test(test_server_that_dies_under_many_sessions),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
