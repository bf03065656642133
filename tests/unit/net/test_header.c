/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY headers of clients, and those that servers get: who must send one, who is turned away, what stays untouched behind it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/attr.h"
#include "core/error.h"
#include "world.h"

#define LINE  "PROXY TCP4 10.1.2.3 10.0.0.1 4567 3306\r\n"
#define LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

static struct sessions_client seen;

static bool look(void *arg, const struct sessions_client *client)
{
    unsigned *count = arg;
    (*count)++;
    seen = *client;
    return true;
}

/* How many clients there are; the last of them is |seen|. */
static unsigned clients(struct world *w)
{
    unsigned count = 0;
    sessions_each_client(w->s, look, &count);
    return count;
}

static bool is_in(struct world *w, const char *phase)
{
    return clients(w) == 1 && strcmp(seen.phase, phase) == 0;
}

static size_t make_login(uint8_t *out)
{
    uint8_t payload[64] = { 0x05, 0xa2, 0x00, 0x00, 0, 0, 0, 1, 255 };
    memcpy(payload + 32, "app", 4);
    return make_packet(out, 1, payload, 37);
}

/* The header and at once the login behind it, split at every place: the client is who the header says, the server gets the rest whole. */
static void test_header_is_read_and_nothing_behind_it(void **state)
{
    (void)state;
    for (size_t split = 0; split <= sizeof LINE - 1; split++) {
        struct world w;
        const struct world_options options = { .accept_from = "127.0.0.0/8" };
        uint8_t all[256] = LINE, got[64], login[64];
        size_t len = sizeof LINE - 1, login_len = make_login(login);
        memcpy(all + len, login, login_len);
        world_up(&w, &options);
        world_route(&w, 0, 1);
        int client = client_connect(&w);
        put(&w, client, all, split);
        if (split < len) WORLD_UNTIL(&w, is_in(&w, "proxy-header"));
        for (int i = 0; i < 5; i++)
            world_turn(&w); /* the first part is read before the second is there */
        put(&w, client, all + split, len + login_len - split);
        int server = backend_accept(&w, 0);
        server_greets(&w, client, server, 7);
        get(&w, server, got, login_len);
        assert_memory_equal(got, login, login_len);
        assert_int_equal(clients(&w), 1);
        assert_string_equal(seen.peer, "10.1.2.3:4567");
        assert_int_equal(strncmp(seen.via, "127.0.0.1:", 10), 0);
        assert_true(seen.has_leg && seen.thread_id == 7 && seen.epoch == 1);
        assert_int_equal(sessions_counters(w.s)->proxy_headers_total, 1);
        close(client);
        get_broken(&w, server);
        close(server);
        world_down(&w);
    }
}

/* A health check's header tells nothing: the client is who connected. */
static void test_local_header_keeps_the_sockets_own_address(void **state)
{
    (void)state;
    struct world w;
    const struct world_options options = { .accept_from = "127.0.0.1" };
    world_up(&w, &options);
    int client = client_connect(&w);
    put(&w, client, LOCAL, sizeof LOCAL - 1);
    WORLD_UNTIL(&w, is_in(&w, "held"));
    assert_int_equal(strncmp(seen.peer, "127.0.0.1:", 10), 0);
    assert_string_equal(seen.via, "");
    close(client);
    WORLD_UNTIL(&w, clients(&w) == 0);
    world_down(&w);
}

/* Who does not come from there has no header: those bytes in front of the greeting break the protocol. */
static void test_header_from_elsewhere_is_none(void **state)
{
    (void)state;
    struct world w;
    const struct world_options options = { .accept_from = "10.0.0.0/8" };
    world_up(&w, &options);
    world_route(&w, 0, 1);
    int client = client_connect(&w);
    put(&w, client, LINE, sizeof LINE - 1);
    int server = backend_accept(&w, 0);
    server_greets(&w, client, server, 7);
    get_broken(&w, client);
    get_broken(&w, server);
    assert_int_equal(sessions_counters(w.s)->protocol_errors_total, 1);
    assert_int_equal(sessions_counters(w.s)->proxy_headers_total, 0);
    close(client);
    close(server);
    world_down(&w);
}

/* Nothing, half a header, garbage, too much: told why and closed, the first two at the limit; no leg was made for any. */
static void test_missing_and_wrong_headers_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } rows[] = {
        { "", 0, "nothing came in time" },
        { LINE, sizeof LINE - 2, "it was not whole in time" },
        { LOCAL, sizeof LOCAL - 2, "it was not whole in time" },
        { "\x05\0\0\1hello, server", 18, "what came is no PROXY header" },
        { "PROXY TCP4 10.1.2.3 10.0.0.1 4567 x\r\n", 37, "a port of version 1" },
        { "\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", 16, "longer than 4112 bytes" },
    };
    (void)state;
    struct world w;
    const struct world_options options = { .accept_from = "127.0.0.0/8", .hold_timeout_ms = 200 };
    world_up(&w, &options);
    world_route(&w, 0, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[600];
        int client = client_connect(&w);
        put(&w, client, rows[i].bytes, rows[i].len);
        assert_int_equal(get_refusal(&w, client, text), 1105);
        assert_non_null(strstr(text, "sluice: source 'orders': who connects from 127.0.0.1 must send a PROXY header"));
        if (strstr(text, rows[i].why) == NULL) fail_msg("%s", text);
    }
    assert_int_equal(sessions_counters(w.s)->proxy_headers_refused_total, ARRAY_LEN(rows));
    assert_false(backend_is_called(&w, 0));
    world_down(&w);
}

/* A load balancer that tries whether the port is open, and one that gives up half-way: ended, nothing is left. */
static void test_hangup_before_the_header_is_whole(void **state)
{
    (void)state;
    struct world w;
    const struct world_options options = { .accept_from = "127.0.0.0/8" };
    world_up(&w, &options);
    for (size_t len = 0; len < 40; len += 13) {
        int client = client_connect(&w);
        put(&w, client, LINE, len);
        WORLD_UNTIL(&w, is_in(&w, "proxy-header"));
        close(client);
        WORLD_UNTIL(&w, clients(&w) == 0);
    }
    assert_int_equal(sessions_counters(w.s)->proxy_headers_refused_total, 4);
    world_down(&w);
}

/* While clients are held the header is read all the same: who waits is known by name, and waits from when it came. */
static void test_held_client_is_who_its_header_says(void **state)
{
    (void)state;
    struct world w;
    const struct world_options options = { .accept_from = "127.0.0.0/8" };
    world_up(&w, &options);
    int client = client_connect(&w);
    WORLD_UNTIL(&w, is_in(&w, "proxy-header"));
    assert_int_equal(sessions_held_count(w.s), 0);
    put(&w, client, LINE, sizeof LINE - 1);
    WORLD_UNTIL(&w, is_in(&w, "held"));
    assert_string_equal(seen.peer, "10.1.2.3:4567");
    assert_int_equal(sessions_held_count(w.s), 1);
    get_nothing(client);
    world_route(&w, 0, 1);
    int server = backend_accept(&w, 0);
    server_greets(&w, client, server, 7);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
}

/* Who still has to send its header waits too: together they are no more than may wait. */
static void test_those_who_owe_a_header_are_bounded(void **state)
{
    (void)state;
    struct world w;
    char text[600];
    int fds[3];
    const struct world_options options = { .accept_from = "127.0.0.0/8", .hold_clients_max = 3 };
    world_up(&w, &options);
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = client_connect(&w);
        if (i == 0) put(&w, fds[i], LINE, sizeof LINE - 1);
        WORLD_UNTIL(&w, clients(&w) == i + 1);
    }
    assert_int_equal(get_refusal(&w, client_connect(&w), text), 1040);
    assert_non_null(strstr(text, "3 clients wait already"));
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    WORLD_UNTIL(&w, clients(&w) == 0);
    world_down(&w);
}

/* Who owes its header when Sluice stops, or when clients are refused, is told so. */
static void test_those_who_owe_a_header_are_told_at_the_end(void **state)
{
    (void)state;
    struct world w;
    char text[600];
    const struct world_options options = { .accept_from = "127.0.0.0/8" };
    world_up(&w, &options);
    int refused = client_connect(&w), stopped = client_connect(&w);
    WORLD_UNTIL(&w, clients(&w) == 2);
    world_refuse(&w, SLUICE_ERR_STATE_UNKNOWN, "look");
    put(&w, refused, LINE, sizeof LINE - 1);
    assert_int_equal(get_refusal(&w, refused, text), 1105);
    assert_non_null(strstr(text, "look"));
    w.sessions_are_closing = true;
    sessions_close(w.s, world_on_closed, &w);
    assert_int_equal(get_refusal(&w, stopped, text), 1053);
    world_down(&w);
}

static bool keep_leg(void *arg, const struct sessions_leg *leg)
{
    *(struct sessions_leg *)arg = *leg;
    return true;
}

/* The server reads who the client is before it greets; where that is not to be told it reads so. */
static void test_server_is_told_who_the_client_is(void **state)
{
    static const struct {
        unsigned version;
        const char *from, *to;
        size_t from_len, to_len; /* the listener's own port is not known: it is what is left of |to| */
        bool is_told;
    } rows[] = {
        { 1, LINE, "PROXY TCP4 10.1.2.3 127.0.0.1 4567 ", sizeof LINE - 1, 35, true },
        { 2, LINE, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\1\2\3\x7f\0\0\1\x11\xd7", sizeof LINE - 1, 26, true },
        { 1, "PROXY TCP6 2001:db8::9 ::1 4567 3306\r\n", "PROXY TCP6 2001:db8::9 ::ffff:127.0.0.1 4567 ", 38, 45,
          true },
        { 1, "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "PROXY UNKNOWN\r\n", 36, 15, false },
        { 2, "PROXY TCP4 10.1.2.3 10.0.0.1 0 2\r\n", LOCAL, 34, 16, false }, /* without a port no HOST would tell it */
        { 2, LOCAL, LOCAL, sizeof LOCAL - 1, 16, false },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct world w;
        struct sessions_leg leg = { 0 };
        const struct world_options options = { .accept_from = "127.0.0.0/8", .proxy_send = rows[i].version };
        char got[64];
        world_up(&w, &options);
        world_route(&w, 0, 1);
        int client = client_connect(&w);
        put(&w, client, rows[i].from, rows[i].from_len);
        int server = backend_accept(&w, 0);
        get(&w, server, got, rows[i].to_len);
        assert_memory_equal(got, rows[i].to, rows[i].to_len);
        sessions_each_leg(w.s, keep_leg, &leg);
        assert_int_equal(leg.is_told, rows[i].is_told);
        assert_int_equal(sessions_counters(w.s)->bytes_to_server_total, 0); /* no client's bytes */
        server_greets(&w, client, server, 7);
        close(client);
        get_broken(&w, server);
        close(server);
        world_down(&w);
    }
}

/* Without the order nothing goes in front. */
static void test_nothing_is_told_by_default(void **state)
{
    (void)state;
    struct world w;
    struct sessions_leg leg = { .is_told = true };
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int client, server;
    session_up(&w, 0, 7, &client, &server);
    sessions_each_leg(w.s, keep_leg, &leg);
    assert_false(leg.is_told);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_is_read_and_nothing_behind_it),
        cmocka_unit_test(test_local_header_keeps_the_sockets_own_address),
        cmocka_unit_test(test_header_from_elsewhere_is_none),
        cmocka_unit_test(test_missing_and_wrong_headers_are_refused),
        cmocka_unit_test(test_hangup_before_the_header_is_whole),
        cmocka_unit_test(test_held_client_is_who_its_header_says),
        cmocka_unit_test(test_those_who_owe_a_header_are_bounded),
        cmocka_unit_test(test_those_who_owe_a_header_are_told_at_the_end),
        cmocka_unit_test(test_server_is_told_who_the_client_is),
        cmocka_unit_test(test_nothing_is_told_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
