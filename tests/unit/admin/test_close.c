/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Open event streams end in order when the interface closes; the daemon would abort on them otherwise. */
static void test_close_ends_open_streams(void **state)
{
    (void)state;
    enum { READERS = 8 };
    struct world w;
    struct request r[READERS];
    world_up(&w, NULL);
    admin_event(w.admin, 1, json_pack("{s:s}", "type", "step"));
    for (int i = 0; i < READERS; i++)
        request_start(&w, &r[i], "GET", "/v1/switches/1/events", NULL);
    for (int i = 0; i < READERS; i++)
        request_wait_for(&r[i], "step");
    world_close(&w);
    for (int i = 0; i < READERS; i++) {
        request_wait(&r[i]); /* a whole, orderly answer */
        request_end(&r[i]);
    }
    world_down(&w);
}

/* A call that waits is told so, and the handler may answer its token long after the interface is gone. */
static void test_close_answers_waiting_calls(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.script = WORLD_KEEPS;
    request_start(&w, &r, "POST", "/v1/sources/s/switch", "{\"to\":\"b\"}");
    world_wait_calls(&w, 1);
    world_close(&w);
    request_wait(&r);
    assert_int_equal(r.status, 503);
    json_t *doc = request_json(&r);
    assert_int_equal(json_integer_value(json_object_get(doc, "code")), 1);
    json_decref(doc);
    request_end(&r);
    admin_reply(w.tokens[--w.token_count], 202, json_pack("{s:b}", "result", 1));
    world_down(&w);
}

static bool is_closed(void *arg)
{
    const struct world *w = arg;
    return w->is_closed;
}

/* The handler itself may close the interface, in the middle of a call. */
static void test_close_from_inside_the_handler(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.script = WORLD_CLOSES;
    request_start(&w, &r, "GET", "/v1/sources", NULL);
    request_wait(&r);
    assert_int_equal(r.status, 503);
    world_until(&w, is_closed, &w);
    request_end(&r);
    world_down(&w);
}

/* Idle, half-sent and unread connections do not hold up the close longer than its limit. */
static void test_close_waits_for_nobody_for_long(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    limits.close_timeout_ms = 200;
    world_up(&w, &limits);
    char words[4096];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        admin_event(w.admin, 1, json_pack("{s:s, s:s}", "type", "step", "text", words));
    int idle = raw_connect(&w);
    int half = raw_connect(&w);
    int unread = raw_connect(&w);
    raw_send(half, "GET /v1/sou");
    raw_send(unread, "GET /v1/switches/1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    char byte;
    while (recv(unread, &byte, 1, MSG_PEEK) < 0)
        world_turn(&w);
    uint64_t began_ms = uv_hrtime() / 1000000;
    world_close(&w);
    assert_true(uv_hrtime() / 1000000 - began_ms < 5000);
    close(idle);
    close(half);
    close(unread);
    world_down(&w);
}

/* An interface that nobody ever used closes too, also in the turn in which it was started. */
static void test_close_at_once(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    world_down(&w);
    world_up_tcp(&w, "token", NULL);
    admin_event(w.admin, 1, json_pack("{s:s}", "type", "step"));
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_ends_open_streams),
        cmocka_unit_test(test_close_answers_waiting_calls),
        cmocka_unit_test(test_close_from_inside_the_handler),
        cmocka_unit_test(test_close_waits_for_nobody_for_long),
        cmocka_unit_test(test_close_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
