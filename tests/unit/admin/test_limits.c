/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client that drips its request a byte at a time is cut when its time is over, however lively it is. */
static void test_limits_slow_senders_are_cut(void **state)
{
    (void)state;
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Padding: ";
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    limits.receive_timeout_ms = 300;
    world_up(&w, &limits);
    int fd = raw_connect(&w);
    uint64_t began_ms = uv_hrtime() / 1000000;
    raw_send(fd, request);
    for (;;) { /* never an idle moment, never an end */
        char byte = 0;
        if (send(fd, "x", 1, MSG_NOSIGNAL) < 0) break;
        if (recv(fd, &byte, 1, 0) == 0) break;
        world_turn(&w);
        if (uv_hrtime() / 1000000 > began_ms + WORLD_LIMIT_MS) fail_msg("the slow sender is still served");
    }
    assert_true(uv_hrtime() / 1000000 - began_ms >= 250);
    close(fd);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    world_down(&w);
}

/* Half a body, and nothing at all, meet the same limit. */
static void test_limits_silent_clients_are_cut(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    limits.receive_timeout_ms = 200;
    world_up(&w, &limits);
    int silent = raw_connect(&w);
    int half = raw_connect(&w);
    raw_send(
        half,
        "POST /v1/sources/s/abort HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{");
    raw_wait_end(&w, silent, NULL);
    raw_wait_end(&w, half, NULL);
    assert_int_equal(w.calls, 0);
    close(silent);
    close(half);
    world_down(&w);
}

/* Bytes that are no HTTP end their connection and nothing else. */
static void test_limits_garbage_is_cut(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    limits.receive_timeout_ms = 200;
    world_up(&w, &limits);
    int fd = raw_connect(&w);
    raw_send(fd, "\x16\x03\x01\x02\r\n\r\n\xff\xfe\r\n\r\n");
    raw_wait_end(&w, fd, NULL);
    close(fd);
    fd = raw_connect(&w);
    char *line = malloc(100001);
    memset(line, 'a', 100000);
    line[100000] = '\0';
    memcpy(line, "GET /", 5);
    (void)!send(fd, line, 100000, MSG_NOSIGNAL);
    raw_wait_end(&w, fd, NULL);
    free(line);
    close(fd);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    world_down(&w);
}

/* A call without an answer ends in 504, and the answer that comes after it is dropped. */
static void test_limits_unanswered_call_is_504(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    json_t *doc;
    limits.answer_timeout_ms = 100;
    world_up(&w, &limits);
    w.script = WORLD_KEEPS;
    assert_int_equal(ask(&w, "POST", "/v1/sources/s/switch", "{\"to\":\"b\"}", &doc), 504);
    assert_int_equal(json_integer_value(json_object_get(doc, "code")), 4);
    json_decref(doc);
    admin_reply(w.tokens[--w.token_count], 202, json_object());
    w.script = WORLD_REPLIES;
    assert_int_equal(ask(&w, "GET", "/v1/sources", NULL, NULL), 200);
    world_down(&w);
}

/* A client that does not read its answer is cut, and its memory is free again. */
static void test_limits_slow_readers_are_cut(void **state)
{
    (void)state;
    enum { LARGE = 8 << 20 };
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request probe;
    limits.send_timeout_ms = 200;
    limits.connections_max = 1;
    world_up(&w, &limits);
    char *words = malloc(LARGE + 1);
    memset(words, 'x', LARGE);
    words[LARGE] = '\0';
    w.doc = json_pack("{s:b, s:s}", "result", 1, "msg", words);
    free(words);
    int fd = raw_connect(&w);
    raw_send(fd, "GET /v1/sources HTTP/1.1\r\nHost: x\r\n\r\n");
    world_wait_calls(&w, 1);
    /* It held the only connection: the next client is served when it is gone. */
    request_start(&w, &probe, "GET", "/healthz", NULL);
    request_wait(&probe);
    request_end(&probe);
    close(fd);
    world_down(&w);
}

/* More connections than allowed wait in the queue, and are served when others have gone. */
static void test_limits_connections_wait_for_their_turn(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request r[3];
    limits.connections_max = 2;
    world_up(&w, &limits);
    w.script = WORLD_KEEPS;
    for (size_t i = 0; i < 3; i++) {
        request_begin(&w, &r[i], "GET", "/v1/sources", NULL);
        curl_easy_setopt(r[i].easy, CURLOPT_FORBID_REUSE, 1L);
        request_send(&r[i]);
    }
    world_wait_calls(&w, 2);
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    assert_int_equal(w.calls, 2);
    admin_reply(w.tokens[--w.token_count], 200, json_object());
    world_wait_calls(&w, 3);
    while (w.token_count > 0)
        admin_reply(w.tokens[--w.token_count], 200, json_object());
    for (size_t i = 0; i < 3; i++) {
        request_wait(&r[i]);
        request_end(&r[i]);
    }
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_slow_senders_are_cut),
        cmocka_unit_test(test_limits_silent_clients_are_cut),
        cmocka_unit_test(test_limits_garbage_is_cut),
        cmocka_unit_test(test_limits_unanswered_call_is_504),
        cmocka_unit_test(test_limits_slow_readers_are_cut),
        cmocka_unit_test(test_limits_connections_wait_for_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
