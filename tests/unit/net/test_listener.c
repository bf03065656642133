/* SPDX-License-Identifier: Apache-2.0 */
/* The listener, and the limits of descriptors. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/fdlimit.h"
#include "world.h"

static void drop(void *arg, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    unsigned *count = arg;
    (void)peer;
    (void)peer_len;
    (*count)++;
    close(fd);
}

static int listen_on(uv_loop_t *loop, const char *host, uint16_t port, unsigned *count, struct listener **out,
                     struct text *error)
{
    const struct listener_config config = {
        .loop = loop, .source_id = "orders", .host = host, .port = port, .on_accept = drop, .arg = count
    };
    return listener_new(&config, out, error);
}

static void close_and_run(uv_loop_t *loop, struct listener *l)
{
    listener_close(l, NULL, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
}

/* A port that is taken, an address of another machine, and one that is none are told apart, with host and port in the text. */
static void test_listen_errors_say_what_is_wrong(void **state)
{
    (void)state;
    uv_loop_t loop;
    unsigned count = 0;
    struct listener *l, *second = NULL;
    struct text error = TEXT_INIT;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(listen_on(&loop, "127.0.0.1", 0, &count, &l, NULL), 0);
    assert_int_equal(listen_on(&loop, "127.0.0.1", listener_port(l), &count, &second, &error), SLUICE_ERR_BUSY);
    assert_non_null(strstr(text_str(&error), "127.0.0.1"));
    text_clear(&error);
    assert_int_equal(listen_on(&loop, "192.0.2.1", 0, &count, &second, &error), SLUICE_ERR_CONFIG);
    assert_int_equal(listen_on(&loop, "::zz", 0, &count, &second, &error), SLUICE_ERR_CONFIG);
    for (unsigned long n = 1; n <= 2; n++) {
        mem_fail_at(n);
        assert_int_equal(listen_on(&loop, "127.0.0.1", 0, &count, &second, NULL), SLUICE_ERR_NOMEM);
    }
    mem_fail_at(0);
    assert_null(second);
    text_free(&error);
    close_and_run(&loop, l);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* "::" takes IPv6 and IPv4 clients, and an IPv4 client is shown by its IPv4 address, as MySQL shows it. */
static void test_ipv6_listener_takes_ipv4_clients(void **state)
{
    (void)state;
    char host[STREAM_HOST_LEN + 1];
    uint16_t port;
    uv_loop_t loop;
    unsigned count = 0;
    struct listener *l = NULL;
    assert_int_equal(uv_loop_init(&loop), 0);
    if (listen_on(&loop, "::", 0, &count, &l, NULL) != 0) {
        uv_loop_close(&loop);
        skip(); /* a machine without IPv6 */
    }
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(listener_port(l)),
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    uint64_t limit = uv_hrtime() + 5000000000ULL;
    while (count == 0 && uv_hrtime() < limit)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(count, 1);
    close(fd);
    close_and_run(&loop, l);
    assert_int_equal(uv_loop_close(&loop), 0);
    struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(99) };
    inet_pton(AF_INET6, "::ffff:10.1.2.3", &mapped.sin6_addr);
    stream_address_text((const struct sockaddr *)&mapped, host, &port);
    assert_string_equal(host, "10.1.2.3");
    assert_int_equal(port, 99);
}

/* While paused, clients stay in the kernel's backlog; they are served after. */
static void test_paused_listener_leaves_clients_in_the_backlog(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    listener_pause(w.listener);
    int client = client_connect(&w);
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    assert_int_equal(sessions_counters(w.s)->sessions_total, 0);
    listener_resume(w.listener);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    close(client);
    world_down(&w);
}

/* Clients for whom no descriptor is left are told so, one by one and counted; those who are in go on, and later ones are served. */
static void test_clients_without_a_descriptor_are_told(void **state)
{
    (void)state;
    enum { CLIENTS = 20 };
    int clients[CLIENTS];
    char text[600];
    struct rlimit old, low;
    struct world w;
    world_up(&w, NULL);
    int held = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    listener_pause(w.listener);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = client_connect(&w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)clients[CLIENTS - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    listener_resume(w.listener);
    uint64_t limit = uv_hrtime() + 5000000000ULL;
    while (listener_counters(w.listener)->emfile_total < CLIENTS && uv_hrtime() < limit)
        world_turn(&w);
    uint64_t told = listener_counters(w.listener)->emfile_total;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(told, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(get_refusal(&w, clients[i], text), 1040);
        assert_non_null(strstr(text, "LimitNOFILE"));
    }
    get_nothing(held);
    int late = client_connect(&w);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 2);
    close(held);
    close(late);
    world_down(&w);
}

/* When even the reserve is gone, accepting rests for a moment instead of spinning, and the client is served when there is room. */
static void test_listener_rests_when_nothing_is_left(void **state)
{
    (void)state;
    enum { FILLERS = 3 };
    int fillers[FILLERS];
    struct rlimit old, low;
    struct world w;
    world_up(&w, NULL);
    listener_pause(w.listener);
    int client = client_connect(&w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < FILLERS; i++)
        fillers[i] = dup(client);
    low = old;
    low.rlim_cur = 3; /* below the reserve's own number: it cannot be taken back, nor used */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    listener_resume(w.listener);
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    uint64_t since = uv_hrtime();
    for (int i = 0; i < 3; i++)
        uv_run(&w.loop, UV_RUN_ONCE); /* wait for the timer, not for the socket, which stays readable */
    assert_true(uv_hrtime() - since > 10000000);
    assert_int_equal(listener_counters(w.listener)->accepted_total, 0);
    assert_int_equal(listener_counters(w.listener)->emfile_total, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    WORLD_UNTIL(&w, sessions_held_count(w.s) == 1);
    for (int i = 0; i < FILLERS; i++)
        close(fillers[i]);
    close(client);
    world_down(&w);
}

/* The configured sessions are checked against the limit before the first client comes. */
static void test_descriptors_are_checked_against_the_limit(void **state)
{
    (void)state;
    struct text error = TEXT_INIT;
    uint64_t limit = fdlimit_raise();
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &now), 0);
    assert_int_equal(now.rlim_cur, now.rlim_max);
    assert_int_equal(limit, now.rlim_cur);
    assert_int_equal(fdlimit_check(1024, 1, 400, 100, &error), 0);
    assert_string_equal(text_str(&error), "");
    assert_int_equal(fdlimit_check(1024, 1, 600, 100, &error), SLUICE_ERR_CONFIG);
    assert_non_null(strstr(text_str(&error), "max-sessions"));
    assert_non_null(strstr(text_str(&error), "LimitNOFILE"));
    text_free(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_errors_say_what_is_wrong),
        cmocka_unit_test(test_ipv6_listener_takes_ipv4_clients),
        cmocka_unit_test(test_paused_listener_leaves_clients_in_the_backlog),
        cmocka_unit_test(test_clients_without_a_descriptor_are_told),
        cmocka_unit_test(test_listener_rests_when_nothing_is_left),
        cmocka_unit_test(test_descriptors_are_checked_against_the_limit),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
