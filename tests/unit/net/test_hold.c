/* SPDX-License-Identifier: Apache-2.0 */
/* The hold against its header, and what clients see of it. */
#include <string.h>
#include <unistd.h>
#include "core/error.h"
#include "net/hold.h"
#include "world.h"

struct expiries {
    struct hold_client *order[8];
    uint64_t waited_ms[8];
    unsigned count;
};

static void on_expiry(void *arg, struct hold_client *client, uint64_t waited_ms)
{
    struct expiries *e = arg;
    assert_true(e->count < 8);
    e->order[e->count] = client;
    e->waited_ms[e->count++] = waited_ms;
}

static struct hold *hold_up(uv_loop_t *loop, uint32_t timeout_ms, uint32_t clients_max, struct expiries *e)
{
    struct hold *hold = NULL;
    const struct hold_config config = {
        .loop = loop, .timeout_ms = timeout_ms, .clients_max = clients_max, .on_expiry = on_expiry, .arg = e
    };
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(hold_new(&config, &hold), 0);
    return hold;
}

static void hold_down(uv_loop_t *loop, struct hold *hold)
{
    hold_close(hold, NULL, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

/* Clients are kept by the beginning of their first wait, also when they come back in another order. */
static void test_hold_keeps_the_order_of_first_arrival(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct expiries e = { 0 };
    struct hold *hold = hold_up(&loop, 1000, 8, &e);
    uint64_t now = uv_now(&loop);
    struct hold_client c[5];
    static const int arrival[] = { 2, 4, 1, 3, 0 };
    for (int i = 0; i < 5; i++)
        c[i] = (struct hold_client){ .since_ms = now - 50 + (uint64_t)i * 10 };
    for (int i = 0; i < 5; i++)
        assert_int_equal(hold_admit(hold, &c[arrival[i]], true), 0);
    assert_int_equal(hold_count(hold), 5);
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(hold_first(hold), &c[i]);
        hold_remove(&c[i]);
    }
    assert_null(hold_first(hold));
    hold_down(&loop, hold);
}

/* Equal arrival times keep the order in which the clients were admitted. */
static void test_hold_is_first_in_first_out(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct expiries e = { 0 };
    struct hold *hold = hold_up(&loop, 1000, 8, &e);
    struct hold_client c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = (struct hold_client){ .since_ms = uv_now(&loop) };
        assert_int_equal(hold_admit(hold, &c[i], false), 0);
    }
    hold_remove(&c[1]); /* who hangs up leaves the middle */
    hold_remove(&c[1]); /* and is nothing to be removed again */
    static const int left[] = { 0, 2, 3 };
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(hold_first(hold), &c[left[i]]);
        hold_remove(&c[left[i]]);
    }
    hold_down(&loop, hold);
}

/* The bound counts those who wait now; who comes back was admitted once and is not turned away. */
static void test_hold_refuses_more_than_its_bound_but_takes_back_its_own(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct expiries e = { 0 };
    struct hold *hold = hold_up(&loop, 1000, 2, &e);
    struct hold_client c[4];
    for (int i = 0; i < 4; i++)
        c[i] = (struct hold_client){ .since_ms = uv_now(&loop) };
    assert_int_equal(hold_admit(hold, &c[0], false), 0);
    assert_int_equal(hold_admit(hold, &c[1], false), 0);
    assert_int_equal(hold_admit(hold, &c[2], false), SLUICE_ERR_HOLD_FULL);
    assert_null(c[2].hold);
    assert_int_equal(hold_admit(hold, &c[3], true), 0);
    assert_int_equal(hold_count(hold), 3);
    hold_remove(&c[0]);
    hold_remove(&c[1]);
    hold_remove(&c[3]);
    hold_down(&loop, hold);
}

/* Each expires at its own limit, the first to come first, never early; one that is overdue when it comes back does so in the next turn. */
static void test_hold_expires_each_at_its_limit(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct expiries e = { 0 };
    struct hold *hold = hold_up(&loop, 60, 8, &e);
    uint64_t now = uv_now(&loop);
    struct hold_client c[3] = { { .since_ms = now - 30 }, { .since_ms = now }, { .since_ms = now - 100 } };
    assert_int_equal(hold_admit(hold, &c[0], false), 0);
    assert_int_equal(hold_admit(hold, &c[1], false), 0);
    assert_int_equal(hold_admit(hold, &c[2], true), 0);
    assert_int_equal(e.count, 0); /* never from inside hold_admit() */
    uint64_t limit = uv_hrtime() + 5000000000ULL;
    while (e.count < 3 && uv_hrtime() < limit)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(e.count, 3);
    assert_ptr_equal(e.order[0], &c[2]);
    assert_ptr_equal(e.order[1], &c[0]);
    assert_ptr_equal(e.order[2], &c[1]);
    for (int i = 0; i < 3; i++)
        assert_true(e.waited_ms[i] >= 60);
    assert_int_equal(hold_count(hold), 0);
    hold_down(&loop, hold);
}

/* A held client gets no byte and no leg, whatever it sends, and is served when the mode becomes ROUTE. */
static void test_held_client_gets_no_byte_until_released(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    int client = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    put(&w, client, "\x20\x00\x00\x01", 4); /* MySQL clients do not speak first; one that does is tolerated */
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    get_nothing(client);
    assert_false(backend_is_called(&w, 0));
    assert_int_equal(sessions_leg_count(w.s), 0);
    world_route(&w, 0, 1);
    int server = backend_accept(&w, 0);
    server_greets(&w, client, server, 7);
    assert_int_equal(sessions_counters(w.s)->released_total, 1);
    assert_int_equal(sessions_counters(w.s)->window_held_total, 1);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
}

/* Held clients get their legs in the order in which they came, and who comes during the release queues behind them. */
static void test_release_keeps_the_order_of_arrival(void **state)
{
    (void)state;
    enum { CLIENTS = 150 }; /* more than are released in one turn */
    struct world w;
    static int clients[CLIENTS], servers[CLIENTS];
    world_up(&w, &(struct world_options){ .hold_clients_max = CLIENTS, .sessions_max = CLIENTS });
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = client_connect(&w);
        if (i < CLIENTS - 1)
            WORLD_UNTIL(&w, sessions_held_count(w.s) == i + 1); /* the last comes while others are released */
    }
    world_route(&w, 0, 1);
    world_turn(&w);
    assert_true(sessions_held_count(w.s) > 0); /* not all in one turn */
    for (unsigned i = 0; i < CLIENTS; i++) {
        servers[i] = backend_accept(&w, 0);
        server_greets(&w, clients[i], servers[i], i + 1);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        close(clients[i]);
        close(servers[i]);
    }
    world_down(&w);
}

/* Nobody waits longer than hold-timeout: an error packet in place of a greeting names source, phase, wait, limit and what to do. */
static void test_expired_client_is_told_all_that_it_needs(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, &(struct world_options){ .hold_timeout_ms = 80 });
    world_hold(&w, "draining the old backend");
    int client = client_connect(&w);
    uint64_t since = uv_hrtime();
    put(&w, client, "HELO", 4); /* unread bytes must not turn the end into a RST, which would take the packet with it */
    assert_int_equal(get_refusal(&w, client, text), error_mysql_errno(SLUICE_ERR_HOLD_TIMEOUT));
    assert_true(uv_hrtime() - since < 3000000000ULL);
    assert_non_null(strstr(text, "source 'orders'"));
    assert_non_null(strstr(text, "draining the old backend"));
    assert_non_null(strstr(text, "hold-timeout, is 80 ms"));
    assert_non_null(strstr(text, "sluice status orders"));
    assert_null(strstr(text, "1236"));
    assert_int_equal(sessions_counters(w.s)->hold_expired_total, 1);
    assert_true(sessions_counters(w.s)->window_wait_ms_longest >= 80);
    world_down(&w);
}

/* A client that hangs up while it waits, orderly, by RST, or after it has sent something, leaves its place. */
static void test_held_client_that_hangs_up_is_dropped(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, &(struct world_options){ .hold_clients_max = 3 });
    int a = client_connect(&w), b = client_connect(&w), c = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 3);
    close(a);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 2);
    close_hard(b);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    put(&w, c, "hello", 5);
    close(c);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 0);
    assert_int_equal(sessions_counters(w.s)->hold_hangup_total, 3);
    world_down(&w);
}

/* One more than hold-clients is told so, with MySQL's own number for it, and those who wait do not notice. */
static void test_full_hold_is_told_to_the_client(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, &(struct world_options){ .hold_clients_max = 2 });
    int a = client_connect(&w), b = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 2);
    assert_int_equal(get_refusal(&w, client_connect(&w), text), 1040);
    assert_non_null(strstr(text, "hold-clients"));
    assert_int_equal(sessions_counters(w.s)->hold_full_total, 1);
    assert_int_equal(sessions_held_count(w.s), 2);
    get_nothing(a);
    get_nothing(b);
    close(a);
    close(b);
    world_down(&w);
}

/* Refusing tells new and held clients the driver's message. */
static void test_refusing_tells_new_and_held_clients(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, NULL);
    int held = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    world_refuse(&w, SLUICE_ERR_REWOUND, "backend b was rewound; see: sluice status orders");
    assert_int_equal(get_refusal(&w, held, text), error_mysql_errno(SLUICE_ERR_REWOUND));
    assert_string_equal(text, "sluice: source 'orders': backend b was rewound; see: sluice status orders");
    assert_int_equal(get_refusal(&w, client_connect(&w), text), error_mysql_errno(SLUICE_ERR_REWOUND));
    assert_int_equal(sessions_counters(w.s)->refused_total, 2);
    world_down(&w);
}

/* Sluice's end is told to those who wait. */
static void test_closing_tells_held_clients(void **state)
{
    (void)state;
    char text[600];
    struct world w;
    world_up(&w, NULL);
    int held = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    w.fds_before++; /* |held| is still ours */
    world_down(&w);
    uint8_t header[4];
    assert_int_equal(recv(held, header, 4, 0), 4);
    ssize_t len = recv(held, text, sizeof text, 0);
    assert_true(len > 3);
    assert_int_equal((uint8_t)text[1] | (uint8_t)text[2] << 8, error_mysql_errno(SLUICE_ERR_STOPPING));
    assert_int_equal(recv(held, text, 1, 0), 0);
    close(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold_keeps_the_order_of_first_arrival),
        cmocka_unit_test(test_hold_is_first_in_first_out),
        cmocka_unit_test(test_hold_refuses_more_than_its_bound_but_takes_back_its_own),
        cmocka_unit_test(test_hold_expires_each_at_its_limit),
        cmocka_unit_test(test_held_client_gets_no_byte_until_released),
        cmocka_unit_test(test_release_keeps_the_order_of_arrival),
        cmocka_unit_test(test_expired_client_is_told_all_that_it_needs),
        cmocka_unit_test(test_held_client_that_hangs_up_is_dropped),
        cmocka_unit_test(test_full_hold_is_told_to_the_client),
        cmocka_unit_test(test_refusing_tells_new_and_held_clients),
        cmocka_unit_test(test_closing_tells_held_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
