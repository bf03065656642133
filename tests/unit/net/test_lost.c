/* SPDX-License-Identifier: Apache-2.0 */
/* Servers that do not answer as they should before the client has had a byte: the client waits again and the driver is told. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "world.h"

/* The client of the lost leg waits without a byte, nothing is routed, and the next route serves it. */
static void recovers(struct world *w, int client)
{
    WORLD_UNTIL(w, w->legs_lost == 1);
    assert_int_equal(sessions_mode_kind(w->s), SESSIONS_HOLD);
    assert_int_equal(sessions_held_count(w->s), 1);
    assert_int_equal(sessions_leg_count(w->s), 0);
    assert_int_equal(w->loss.backend_index, 0);
    assert_int_equal(w->loss.epoch, 1);
    assert_int_equal(w->loss.count, 1);
    get_nothing(client);
    world_route(w, 1, 1);
    int server = backend_accept(w, 1);
    server_greets(w, client, server, 5);
    assert_int_equal(sessions_counters(w->s)->held_total, 1);
    close(client);
    get_broken(w, server);
    close(server);
    world_down(w);
}

/* Nobody listens there. */
static void test_refused_connect_puts_the_client_back(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    world_close_backend(&w, 0);
    world_route(&w, 0, 1);
    int client = client_connect(&w);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(w.loss.cause, SESSIONS_LOSS_CONNECT);
    assert_int_equal(w.loss.sys_errno, ECONNREFUSED);
    recovers(&w, client);
}

/* A server that accepts and says nothing is given connect_timeout_ms. */
static void test_silent_server_is_lost_after_the_connect_timeout(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, &(struct world_options){ .connect_timeout_ms = 60 });
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    get_end(&w, server);
    close(server);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(w.loss.cause, SESSIONS_LOSS_TIMEOUT);
    recovers(&w, client);
}

/* One that drips its greeting does not win time with each byte. */
static void test_dripping_server_is_lost_after_the_connect_timeout(void **state)
{
    (void)state;
    uint8_t greeting[300];
    struct world w;
    world_up(&w, &(struct world_options){ .connect_timeout_ms = 80 });
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    size_t len = make_greeting(greeting, 6), at = 0;
    uint64_t next = uv_hrtime();
    while (w.legs_lost == 0) {
        if (uv_hrtime() >= next && at < len - 1) {
            (void)!send(server, greeting + at++, 1, MSG_NOSIGNAL);
            next = uv_hrtime() + 5000000;
        }
        world_turn(&w);
    }
    assert_true(at > 3 && at < len - 1); /* it was still dripping */
    assert_int_equal(w.loss.cause, SESSIONS_LOSS_TIMEOUT);
    close(server);
    recovers(&w, client);
}

/* One that closes, or resets in the middle of its greeting, had given the client nothing. */
static void test_reset_inside_the_greeting_puts_the_client_back(void **state)
{
    (void)state;
    uint8_t greeting[300];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    put(&w, server, greeting, make_greeting(greeting, 6) / 2);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    close_hard(server);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(w.loss.cause, SESSIONS_LOSS_ENDED);
    assert_int_equal(w.loss.sys_errno, ECONNRESET);
    recovers(&w, client);
}

/* Something that is no MySQL server (another protocol, a greeting of another version) never reaches the client. */
static void test_what_is_no_greeting_never_reaches_the_client(void **state)
{
    (void)state;
    static const uint8_t old[] = { 5, 0, 0, 0, 9, '4', '.', '1', 0 }, empty[] = { 0, 0, 0, 0 },
                         late[] = { 1, 0, 0, 7, 10 };
    const void *const nonsense[] = { "SSH-2.0-OpenSSH_9.2\r\n", old, empty, late };
    static const size_t lens[] = { 21, 9, 4, 5 };
    for (unsigned i = 0; i < 4; i++) {
        struct world w;
        world_up(&w, NULL);
        world_route(&w, 0, 1);
        int client = client_connect(&w), server = backend_accept(&w, 0);
        put(&w, server, nonsense[i], lens[i]);
        get_broken(&w, server);
        close(server);
        WORLD_UNTIL(&w, w.legs_lost == 1);
        assert_int_equal(w.loss.cause, SESSIONS_LOSS_ENDED);
        assert_int_equal(w.loss.sys_errno, EPROTO);
        recovers(&w, client);
    }
}

/* hold-timeout counts from the client's arrival, also while its leg connects: nobody waits longer. */
static void test_hold_timeout_bounds_connecting_as_well(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, &(struct world_options){ .hold_timeout_ms = 80, .connect_timeout_ms = 3000 });
    world_route(&w, 0, 1);
    uint64_t since = uv_hrtime();
    int client = client_connect(&w), server = backend_accept(&w, 0);
    assert_int_equal(get_refusal(&w, client, text), error_mysql_errno(SLUICE_ERR_HOLD_TIMEOUT));
    assert_true(uv_hrtime() - since < 2000000000ULL);
    get_broken(&w, server);
    close(server);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0); /* its own limit had not been reached */
    world_down(&w);
}

/* A client that hangs up while its leg connects, or greets, takes the leg along; that is no loss. */
static void test_client_that_hangs_up_before_the_greeting_takes_its_leg_along(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    for (int hard = 0; hard < 2; hard++) {
        int client = client_connect(&w), server = backend_accept(&w, 0);
        WORLD_UNTIL(&w, sessions_leg_count(w.s) == 1);
        if (hard) {
            close_hard(client);
        } else {
            close(client);
        }
        get_end(&w, server);
        close(server);
        assert_int_equal(sessions_leg_count(w.s), 0);
    }
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0);
    assert_int_equal(w.legs_gone, 2);
    world_down(&w);
}

/* One loss stops routing for all: other clients that have no byte yet come back, sessions that relay go on, new clients wait. */
static void test_one_loss_suspends_routing_for_all_that_have_no_byte(void **state)
{
    (void)state;
    int relaying, relaying_server, dying, dying_server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 1, &relaying, &relaying_server);
    session_up(&w, 0, 2, &dying, &dying_server);
    int waiting = client_connect(&w), its_server = backend_accept(&w, 0);
    close(dying_server);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    get_end(&w, dying);
    get_end(&w, its_server);
    get_nothing(waiting);
    int late = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 2);
    client_asks(&w, relaying, relaying_server, "SELECT 1");
    server_answers(&w, relaying, relaying_server, STATUS_AUTOCOMMIT);
    world_route(&w, 0, 1); /* confirmed again */
    int a = backend_accept(&w, 0), b;
    server_greets(&w, waiting, a, 3);
    b = backend_accept(&w, 0);
    server_greets(&w, late, b, 4);
    const int fds[] = { relaying, relaying_server, dying, waiting, its_server, late, a, b };
    for (unsigned i = 0; i < 8; i++)
        close(fds[i]);
    world_down(&w);
}

static void route_to_b(struct world *w)
{
    assert_int_equal(sessions_leg_count(w->s), 0);
    world_route(w, 1, 1);
}

static void close_sessions(struct world *w)
{
    listener_pause(w->listener);
    w->sessions_are_closing = true;
    sessions_close(w->s, world_on_closed, w);
}

/* The driver may do from inside a callback what it may do elsewhere: set a mode, or close. */
static void test_driver_may_act_from_inside_a_callback(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    w.in_leg_lost = route_to_b;
    world_close_backend(&w, 0);
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 1);
    server_greets(&w, client, server, 1);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
    world_up(&w, NULL);
    w.in_leg_lost = close_sessions;
    world_close_backend(&w, 0);
    world_route(&w, 0, 1);
    client = client_connect(&w);
    get_broken(&w, client);
    close(client);
    world_down(&w);
}

/* Without a descriptor for its leg a client is told so; the server is not blamed. */
static void test_no_descriptor_for_a_leg_is_told_to_the_client(void **state)
{
    (void)state;
    char text[600];
    struct rlimit old, low;
    struct world w;
    world_up(&w, NULL);
    int client = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    int next = dup(0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    world_route(&w, 0, 1);
    uint16_t err = get_refusal(&w, client, text);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(err, 1040);
    assert_non_null(strstr(text, "LimitNOFILE"));
    assert_int_equal(sessions_counters(w.s)->emfile_total, 1);
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* One more session than max-sessions is told so, new or out of the hold. */
static void test_more_than_max_sessions_are_told(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, &(struct world_options){ .sessions_max = 1 });
    int held_first = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    int held_second = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 2);
    world_route(&w, 0, 1);
    int server = backend_accept(&w, 0);
    server_greets(&w, held_first, server, 1);
    assert_int_equal(get_refusal(&w, held_second, text), 1040);
    assert_non_null(strstr(text, "max-sessions"));
    assert_int_equal(get_refusal(&w, client_connect(&w), text), 1040);
    assert_int_equal(sessions_counters(w.s)->hold_full_total, 2);
    close(held_first);
    close(server);
    world_down(&w);
}

/* A whole life, with steps at which it can be cut: held, connecting, greeting, login, query, half a reply. */
static void live(struct world *w, int steps, int *client, int *server)
{
    uint8_t packet[300], got[4096];
    *client = *server = -1;
    if (steps-- == 0) return;
    *client = client_connect(w);
    WORLD_UNTIL(w, sessions_held_count(w->s) == 1);
    if (steps-- == 0) return;
    world_route(w, 0, 1);
    uv_run(&w->loop, UV_RUN_NOWAIT); /* connecting: its event has not been seen */
    if (steps-- == 0) return;
    *server = backend_accept(w, 0);
    if (steps-- == 0) return;
    put(w, *server, packet, make_greeting(packet, 8) - 1);
    for (int i = 0; i < 5; i++)
        world_turn(w);
    if (steps-- == 0) return;
    close(*server);
    *server = -1;
    WORLD_UNTIL(w, w->legs_lost == 1);
    if (steps-- == 0) return;
    world_route(w, 0, 1);
    *server = backend_accept(w, 0);
    server_greets(w, *client, *server, 9);
    if (steps-- == 0) return;
    client_logs_in(w, *client, *server);
    if (steps-- == 0) return;
    client_asks(w, *client, *server, "SELECT 1");
    if (steps-- == 0) return;
    put(w, *server, packet, make_ok(packet, 1, 0) - 2);
    get(w, *client, got, 9);
    if (steps-- == 0) return;
    close(*server); /* and its loss has not been looked at */
    *server = -1;
}

/* Closing at any step of a session's life leaves no handle, descriptor or byte. */
static void test_closing_at_each_step_leaves_nothing(void **state)
{
    (void)state;
    for (int steps = 0; steps <= 11; steps++) {
        int client, server;
        struct world w;
        world_up(&w, NULL);
        live(&w, steps, &client, &server);
        if (client >= 0) w.fds_before++;
        if (server >= 0) w.fds_before++;
        world_down(&w);
        if (client >= 0) close(client);
        if (server >= 0) close(server);
    }
}

static void on_closed(void *arg)
{
    (*(bool *)arg) = true;
}

/* Each allocation of a session's life can fail: its client ends or reads an error, the source goes on, nothing is left. */
static void test_each_allocation_may_fail(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned long n = 1; n <= 12; n++) {
        uint8_t packet[300];
        char got[600];
        struct world w;
        world_up(&w, NULL);
        world_route(&w, 0, 1);
        mem_fail_at(n);
        int client = client_connect(&w), server = -1;
        for (int i = 0; i < 200 && server < 0 && sessions_counters(w.s)->nomem_total == 0; i++) {
            world_turn(&w);
            server = accept4(w.backends[0], NULL, NULL, SOCK_NONBLOCK);
        }
        if (server >= 0) {
            put(&w, server, packet, make_greeting(packet, 1));
            for (int i = 0; i < 50; i++)
                world_turn(&w);
        }
        mem_fail_at(0);
        if (sessions_counters(w.s)->nomem_total > 0) {
            failures++;
            ssize_t len = recv(client, got, sizeof got, 0);
            if (len > 0 && (uint8_t)got[4] == 0xff) assert_int_equal((uint8_t)got[5] | (uint8_t)got[6] << 8, 1041);
            get_broken(&w, client);
        }
        close(client);
        if (server >= 0) {
            get_broken(&w, server);
            close(server);
        }
        int next, next_server; /* the source still serves */
        session_up(&w, 0, 2, &next, &next_server);
        close(next);
        close(next_server);
        world_down(&w);
    }
    assert_true(failures >= 3); /* session, leg, tracker, greeting's buffer */
}

/* A source that cannot be set up leaves nothing behind, whichever allocation fails. */
static void test_setting_up_may_fail_at_each_allocation(void **state)
{
    (void)state;
    uv_loop_t loop;
    bool is_closed = false;
    struct sessions *s = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct sessions_config config = { .loop = &loop,
                                      .source_id = "orders",
                                      .hold_timeout_ms = 1,
                                      .hold_clients_max = 1,
                                      .sessions_max = 1,
                                      .connect_timeout_ms = 1 };
    for (unsigned long n = 1; n <= 3; n++) {
        mem_fail_at(n);
        assert_int_equal(sessions_new(&config, &s), SLUICE_ERR_NOMEM);
    }
    mem_fail_at(0);
    config.source_address = "no.numeric.address";
    assert_int_equal(sessions_new(&config, &s), SLUICE_ERR_CONFIG);
    config.source_address = "::1";
    assert_int_equal(sessions_new(&config, &s), 0);
    sessions_close(s, on_closed, &is_closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(is_closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_connect_puts_the_client_back),
        cmocka_unit_test(test_silent_server_is_lost_after_the_connect_timeout),
        cmocka_unit_test(test_dripping_server_is_lost_after_the_connect_timeout),
        cmocka_unit_test(test_reset_inside_the_greeting_puts_the_client_back),
        cmocka_unit_test(test_what_is_no_greeting_never_reaches_the_client),
        cmocka_unit_test(test_hold_timeout_bounds_connecting_as_well),
        cmocka_unit_test(test_client_that_hangs_up_before_the_greeting_takes_its_leg_along),
        cmocka_unit_test(test_one_loss_suspends_routing_for_all_that_have_no_byte),
        cmocka_unit_test(test_driver_may_act_from_inside_a_callback),
        cmocka_unit_test(test_no_descriptor_for_a_leg_is_told_to_the_client),
        cmocka_unit_test(test_more_than_max_sessions_are_told),
        cmocka_unit_test(test_closing_at_each_step_leaves_nothing),
        cmocka_unit_test(test_each_allocation_may_fail),
        cmocka_unit_test(test_setting_up_may_fail_at_each_allocation),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
