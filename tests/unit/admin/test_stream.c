/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void publish(struct world *w, uint64_t number, const char *type, int at)
{
    admin_event(w->admin, number, json_pack("{s:s, s:i}", "type", type, "at-ms", at));
}

/* The data lines of a stream, one after another, without comments. */
static void assert_data(const struct request *r, const char *wanted)
{
    struct text got = TEXT_INIT;
    char *copy = strdup(text_str(&r->body));
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        if (strncmp(line, "data: ", 6) == 0) text_printf(&got, "%s\n", line + 6);
        if (line[0] != '\0' && line[0] != ':' && strncmp(line, "data: ", 6) != 0) fail_msg("a stray line: %s", line);
    }
    assert_string_equal(text_str(&got), wanted);
    free(copy);
    text_free(&got);
}

/* A subscriber gets what was published before it came, then what comes, and the end ends its stream. */
static void test_stream_replays_then_follows_to_the_end(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    publish(&w, 3, "step", 0);
    publish(&w, 3, "step", 1);
    publish(&w, 4, "step", 100); /* another switch's */
    request_start(&w, &r, "GET", "/v1/switches/3/events", NULL);
    request_wait_for(&r, "\"at-ms\":1}");
    assert_non_null(strstr(text_str(&r.head), "Content-Type: text/event-stream\r\n"));
    publish(&w, 3, "step", 2);
    request_wait_for(&r, "\"at-ms\":2}");
    publish(&w, 4, "end", 101);
    assert_false(r.is_done);
    publish(&w, 3, "end", 3);
    request_wait(&r);
    assert_data(&r,
                "{\"type\":\"step\",\"at-ms\":0}\n{\"type\":\"step\",\"at-ms\":1}\n{\"type\":\"step\",\"at-ms\":2}\n"
                "{\"type\":\"end\",\"at-ms\":3}\n");
    assert_int_equal(w.calls, 0); /* the handler was not needed */
    request_end(&r);
    world_down(&w);
}

/* A switch that has ended is replayed whole, to any number of readers. */
static void test_stream_of_an_ended_switch_ends_at_once(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    publish(&w, 3, "step", 0);
    publish(&w, 3, "end", 1);
    for (int i = 0; i < 3; i++) {
        struct request r;
        request_start(&w, &r, "GET", "/v1/switches/3/events", NULL);
        request_wait(&r);
        assert_data(&r, "{\"type\":\"step\",\"at-ms\":0}\n{\"type\":\"end\",\"at-ms\":1}\n");
        request_end(&r);
    }
    world_down(&w);
}

/* Many subscribers each see all events, published in one go. */
static void test_stream_has_many_readers(void **state)
{
    (void)state;
    enum { READERS = 30, EVENTS = 200 };
    struct world w;
    static struct request r[READERS];
    struct text wanted = TEXT_INIT;
    world_up(&w, NULL);
    publish(&w, 1, "step", -1);
    for (int i = 0; i < READERS; i++)
        request_start(&w, &r[i], "GET", "/v1/switches/1/events", NULL);
    for (int i = 0; i < READERS; i++)
        request_wait_for(&r[i], "\"at-ms\":-1}");
    for (int i = 0; i < EVENTS; i++)
        publish(&w, 1, "step", i);
    publish(&w, 1, "end", EVENTS);
    for (int i = -1; i < EVENTS; i++)
        text_printf(&wanted, "{\"type\":\"step\",\"at-ms\":%d}\n", i);
    text_printf(&wanted, "{\"type\":\"end\",\"at-ms\":%d}\n", EVENTS);
    for (int i = 0; i < READERS; i++) {
        request_wait(&r[i]);
        assert_data(&r[i], text_str(&wanted));
        request_end(&r[i]);
    }
    text_free(&wanted);
    world_down(&w);
}

/* A switch of before this process is one event, made of what is stored of it. */
static void test_stream_of_a_stored_switch_is_its_end(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.doc = json_loads("{\"result\":true,\"msg\":\"done\",\"code\":0,\"switch\":{\"number\":9,\"state\":\"done\"}}", 0,
                       NULL);
    request_start(&w, &r, "GET", "/v1/switches/9/events", NULL);
    request_wait(&r);
    assert_int_equal(w.verb, ADMIN_VERB_SWITCH_GET);
    assert_int_equal(w.switch_number, 9);
    assert_non_null(strstr(text_str(&r.head), "Content-Type: text/event-stream\r\n"));
    assert_data(&r, "{\"type\":\"end\",\"result\":true,\"msg\":\"done\",\"code\":0,\"switch\":{\"number\":9,\"state\":"
                    "\"done\"}}\n");
    request_end(&r);
    world_down(&w);
}

/* A switch that is still open, but has told nothing in this process yet, is followed. */
static void test_stream_of_an_open_switch_without_events_follows(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.doc =
        json_loads("{\"result\":true,\"msg\":\"\",\"code\":0,\"switch\":{\"number\":9,\"state\":\"open\"}}", 0, NULL);
    request_start(&w, &r, "GET", "/v1/switches/9/events", NULL);
    request_wait_for(&r, ": events of switch 9\n\n");
    publish(&w, 9, "end", 1);
    request_wait(&r);
    assert_data(&r, "{\"type\":\"end\",\"at-ms\":1}\n");
    request_end(&r);
    world_down(&w);
}

/* Events that come while the handler looks the switch up are not missed. */
static void test_stream_misses_nothing_while_the_switch_is_looked_up(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.script = WORLD_KEEPS;
    request_start(&w, &r, "GET", "/v1/switches/9/events", NULL);
    world_wait_calls(&w, 1);
    publish(&w, 9, "step", 0);
    publish(&w, 9, "end", 1);
    admin_reply(w.tokens[--w.token_count], 200, json_pack("{s:b, s:{s:s}}", "result", 1, "switch", "state", "open"));
    request_wait(&r);
    assert_data(&r, "{\"type\":\"step\",\"at-ms\":0}\n{\"type\":\"end\",\"at-ms\":1}\n");
    request_end(&r);
    world_down(&w);
}

/* A switch that nobody knows is an ordinary refusal. */
static void test_stream_of_an_unknown_switch_is_the_handlers_refusal(void **state)
{
    (void)state;
    struct world w;
    json_t *doc;
    world_up(&w, NULL);
    w.status = 404;
    w.doc = json_pack("{s:b, s:s, s:i}", "result", 0, "msg", "no switch 9", "code", 2);
    assert_int_equal(ask(&w, "GET", "/v1/switches/9/events", NULL, &doc), 404);
    assert_true(json_equal(doc, w.doc));
    json_decref(doc);
    world_down(&w);
}

/* A silent stream carries a comment now and then, so that both ends notice when the other is gone. */
static void test_stream_is_kept_alive(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request r;
    limits.keepalive_ms = 50;
    world_up(&w, &limits);
    publish(&w, 1, "step", 0);
    request_start(&w, &r, "GET", "/v1/switches/1/events", NULL);
    request_wait_for(&r, ": keep-alive\n\n: keep-alive\n\n: keep-alive\n\n");
    publish(&w, 1, "end", 1);
    request_wait(&r);
    assert_data(&r, "{\"type\":\"step\",\"at-ms\":0}\n{\"type\":\"end\",\"at-ms\":1}\n");
    request_end(&r);
    world_down(&w);
}

static long open_status(struct world *w)
{
    struct request r;
    request_begin(w, &r, "GET", "/v1/switches/1/events", NULL);
    r.take_max = 1;
    request_send(&r);
    while (r.head.len == 0 || strstr(text_str(&r.head), "\r\n\r\n") == NULL)
        world_turn(w);
    long status = 0;
    curl_easy_getinfo(r.easy, CURLINFO_RESPONSE_CODE, &status);
    request_end(&r);
    return status;
}

static bool may_open(void *arg)
{
    return open_status(arg) == 200;
}

/* Past the bound new subscribers are refused; a subscriber that hung up makes room once it is noticed. */
static void test_stream_count_is_bounded(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request r[2];
    limits.streams_max = 2;
    limits.keepalive_ms = 20;
    world_up(&w, &limits);
    publish(&w, 1, "step", 0);
    for (int i = 0; i < 2; i++) {
        request_start(&w, &r[i], "GET", "/v1/switches/1/events", NULL);
        request_wait_for(&r[i], "\"at-ms\":0}");
    }
    assert_int_equal(open_status(&w), 503);
    request_end(&r[0]); /* hangs up */
    world_until(&w, may_open, &w);
    request_end(&r[1]);
    world_down(&w);
}

/* A subscriber that does not read costs no more than is kept anyway, is cut in time, and delays no other. */
static void test_stream_slow_reader_is_bounded_and_cut(void **state)
{
    (void)state;
    enum { EVENTS = 3000 };
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request quick;
    limits.send_timeout_ms = 300;
    limits.events_max = 100;
    world_up(&w, &limits);
    char *words = malloc(4097);
    memset(words, 'x', 4096);
    words[4096] = '\0';
    publish(&w, 1, "step", 0);
    int slow = raw_connect(&w);
    raw_send(slow, "GET /v1/switches/1/events HTTP/1.1\r\nHost: x\r\n\r\n");
    request_start(&w, &quick, "GET", "/v1/switches/1/events", NULL);
    request_wait_for(&quick, "\"at-ms\":0}");
    for (int i = 1; i <= EVENTS; i++) {
        char last[32];
        admin_event(w.admin, 1, json_pack("{s:s, s:s, s:i}", "type", "step", "text", words, "at-ms", i));
        snprintf(last, sizeof last, "\"at-ms\":%d}", i);
        if (i % 50 == 0) request_wait_for(&quick, last);
    }
    struct text got = TEXT_INIT;
    struct timeval began, now;
    gettimeofday(&began, NULL);
    do { /* it takes nothing for longer than it may */
        world_turn(&w);
        gettimeofday(&now, NULL);
    } while ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_usec - began.tv_usec) / 1000 < 600);
    raw_wait_end(&w, slow, &got);
    assert_true(got.len < EVENTS * 4096 / 2);
    assert_null(strstr(text_str(&quick.body), "\"type\":\"lost\""));
    publish(&w, 1, "end", EVENTS + 1);
    request_wait(&quick);
    text_free(&got);
    free(words);
    close(slow);
    request_end(&quick);
    world_down(&w);
}

/* Who comes after the oldest events were dropped is told how many are missing. */
static void test_stream_tells_what_was_lost(void **state)
{
    (void)state;
    struct admin_limits limits = ADMIN_LIMITS_DEFAULT;
    struct world w;
    struct request r;
    limits.events_max = 2;
    world_up(&w, &limits);
    for (int i = 0; i < 5; i++)
        publish(&w, 1, "step", i);
    publish(&w, 1, "end", 5);
    request_start(&w, &r, "GET", "/v1/switches/1/events", NULL);
    request_wait(&r);
    assert_data(&r,
                "{\"type\":\"lost\",\"count\":4}\n{\"type\":\"step\",\"at-ms\":4}\n{\"type\":\"end\",\"at-ms\":5}\n");
    request_end(&r);
    world_down(&w);
}

/* HEAD opens no stream. */
static void test_stream_head_is_only_a_head(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    publish(&w, 1, "step", 0);
    request_start(&w, &r, "HEAD", "/v1/switches/1/events", NULL);
    request_wait(&r);
    assert_int_equal(r.status, 200);
    request_end(&r);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream_replays_then_follows_to_the_end),
        cmocka_unit_test(test_stream_of_an_ended_switch_ends_at_once),
        cmocka_unit_test(test_stream_has_many_readers),
        cmocka_unit_test(test_stream_of_a_stored_switch_is_its_end),
        cmocka_unit_test(test_stream_of_an_open_switch_without_events_follows),
        cmocka_unit_test(test_stream_misses_nothing_while_the_switch_is_looked_up),
        cmocka_unit_test(test_stream_of_an_unknown_switch_is_the_handlers_refusal),
        cmocka_unit_test(test_stream_is_kept_alive),
        cmocka_unit_test(test_stream_count_is_bounded),
        cmocka_unit_test(test_stream_slow_reader_is_bounded_and_cut),
        cmocka_unit_test(test_stream_tells_what_was_lost),
        cmocka_unit_test(test_stream_head_is_only_a_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
