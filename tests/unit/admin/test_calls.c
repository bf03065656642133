/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/mem.h"

/* Each call reaches the handler with what its path and query say. */
static void test_calls_are_handed_over(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *body;
        enum admin_verb verb;
        const char *source_id;
        uint64_t number;
        uint32_t limit;
    } cases[] = {
        { "GET", "/v1/sources", NULL, ADMIN_VERB_SOURCES, "-", 0, 0 },
        { "GET", "/v1/sources/a%2Fb", NULL, ADMIN_VERB_SOURCE, "a/b", 0, 0 },
        { "POST", "/v1/sources/s/check", "{\"to\":\"b\"}", ADMIN_VERB_CHECK, "s", 0, 0 },
        { "POST", "/v1/sources/s/switch", "{\"to\":\"b\"}", ADMIN_VERB_SWITCH, "s", 0, 0 },
        { "POST", "/v1/sources/s/abort", "{}", ADMIN_VERB_ABORT, "s", 0, 0 },
        { "POST", "/v1/sources/s/readdress", "{\"source-file\":\"a\",\"task-files\":[]}", ADMIN_VERB_READDRESS, "s", 0,
          0 },
        { "POST", "/v1/sources/s/adopt", "{\"backend\":\"b\"}", ADMIN_VERB_ADOPT, "s", 0, 0 },
        { "POST", "/v1/sources/s/repin", "{\"backend\":\"b\"}", ADMIN_VERB_REPIN, "s", 0, 0 },
        { "POST", "/v1/sources/s/hold", "", ADMIN_VERB_HOLD, "s", 0, 0 },
        { "POST", "/v1/sources/s/release", "{}", ADMIN_VERB_RELEASE, "s", 0, 0 },
        { "GET", "/v1/sources/s/history", NULL, ADMIN_VERB_HISTORY, "s", 0, 20 },
        { "GET", "/v1/sources/s/history?limit=1000", NULL, ADMIN_VERB_HISTORY, "s", 0, 1000 },
        { "GET", "/v1/switches/12", NULL, ADMIN_VERB_SWITCH_GET, "-", 12, 0 },
        { "GET", "/readyz", NULL, ADMIN_VERB_READY, "-", 0, 0 },
    };
    struct world w;
    world_up(&w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *doc;
        assert_int_equal(ask(&w, cases[i].method, cases[i].path, cases[i].body, &doc), 200);
        assert_true(json_is_true(json_object_get(doc, "result")));
        json_decref(doc);
        assert_int_equal(w.calls, i + 1);
        assert_int_equal(w.verb, cases[i].verb);
        assert_string_equal(w.source_id, cases[i].source_id);
        assert_int_equal(w.switch_number, cases[i].number);
        assert_int_equal(w.limit, cases[i].limit);
        assert_int_equal(w.body != NULL, cases[i].body != NULL);
    }
    world_down(&w);
}

/* The handler's status and document come back as they are, and nothing is kept by caches. */
static void test_calls_answer_is_the_handlers(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.status = 409;
    w.doc = json_pack("{s:b, s:s, s:i, s:i}", "result", 0, "msg", "d\xc3\xa9j\xc3\xa0", "code", 1, "switch", 7);
    request_start(&w, &r, "POST", "/v1/sources/s/switch", "{\"to\":\"b\",\"wait-catchup\":\"1s\"}");
    request_wait(&r);
    assert_int_equal(r.status, 409);
    json_t *doc = request_json(&r);
    assert_true(json_equal(doc, w.doc));
    assert_non_null(strstr(text_str(&r.head), "Cache-Control: no-store\r\n"));
    assert_int_equal(json_integer_value(json_object_get(w.body, "wait-catchup")), 1000);
    json_decref(doc);
    request_end(&r);
    world_down(&w);
}

/* What is no valid request is answered in one shape, and never reaches the handler. */
static void test_calls_refusals_have_one_shape(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    assert_refused(&w, "GET", "/", NULL, 404, "no such path");
    assert_refused(&w, "POST", "/v1/nothing", "{}", 404, "no such path");
    assert_refused(&w, "GET", "/v1/sources/a%00b", NULL, 400, "malformed");
    assert_refused(&w, "GET", "/v1/switches/x", NULL, 400, "malformed");
    assert_refused(&w, "DELETE", "/v1/sources/s", NULL, 405, "method");
    assert_refused(&w, "GET", "/v1/sources/s/switch", NULL, 405, "method");
    assert_refused(&w, "POST", "/v1/sources/s/abort", NULL, 415, "application/json");
    assert_refused(&w, "POST", "/v1/sources/s/switch", "{\"to\":", 400, "not JSON");
    assert_refused(&w, "POST", "/v1/sources/s/switch", "{\"to\":\"b\",\"force\":1}", 400, "\"force\"");
    assert_refused(&w, "POST", "/v1/sources/s/switch", "{}", 400, "\"to\"");
    assert_refused(&w, "GET", "/v1/sources?limit=3", NULL, 400, "parameter");
    assert_refused(&w, "GET", "/v1/sources/s/history?limits=3", NULL, 400, "parameter");
    assert_refused(&w, "GET", "/v1/sources/s/history?limit=0", NULL, 400, "limit");
    assert_refused(&w, "GET", "/v1/sources/s/history?limit=1001", NULL, 400, "limit");
    assert_refused(&w, "GET", "/v1/sources/s/history?limit", NULL, 400, "limit");
    world_down(&w);
}

/* A key of the client's that is cut inside a character is still answered in valid JSON. */
static void test_calls_refusal_quotes_safely(void **state)
{
    (void)state;
    struct world w;
    struct text body = TEXT_INIT;
    world_up(&w, NULL);
    text_puts(&body, "{\"");
    for (int i = 0; i < 40; i++)
        text_puts(&body, "\xe6\xba\x90");
    text_puts(&body, "\":1}");
    assert_refused(&w, "POST", "/v1/sources/s/switch", text_str(&body), 400, "unknown key");
    text_free(&body);
    world_down(&w);
}

/* 405 says what is allowed. */
static void test_calls_405_has_allow(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    request_start(&w, &r, "PUT", "/v1/sources/s/hold", "{}");
    request_wait(&r);
    assert_int_equal(r.status, 405);
    assert_non_null(strstr(text_str(&r.head), "Allow: POST\r\n"));
    request_end(&r);
    world_down(&w);
}

static size_t read_spaces(char *bytes, size_t size, size_t count, void *arg)
{
    size_t *left = arg;
    size_t len = size * count < *left ? size * count : *left;
    memset(bytes, ' ', len);
    *left -= len;
    return len;
}

/* A body above 1 MiB is refused whether or not its length was told before, and the connection's next request works. */
static void test_calls_refuse_huge_bodies(void **state)
{
    (void)state;
    enum { HUGE = (1 << 20) + 1 };
    struct world w;
    struct request r;
    size_t left = HUGE;
    world_up(&w, NULL);
    char *body = malloc(HUGE + 1);
    memset(body, ' ', HUGE);
    body[HUGE] = '\0';
    assert_refused(&w, "POST", "/v1/sources/s/abort", body, 413, "1 MiB");
    request_begin(&w, &r, "POST", "/v1/sources/s/abort", NULL);
    request_header(&r, "Content-Type: application/json");
    request_header(&r, "Transfer-Encoding: chunked");
    request_header(&r, "Expect:");
    curl_easy_setopt(r.easy, CURLOPT_POST, 1L);
    curl_easy_setopt(r.easy, CURLOPT_READFUNCTION, read_spaces);
    curl_easy_setopt(r.easy, CURLOPT_READDATA, &left);
    request_send(&r);
    request_wait(&r);
    assert_int_equal(r.status, 413);
    request_end(&r);
    body[HUGE - 1] = '\0';
    memcpy(body, "{}", 2);
    assert_int_equal(ask(&w, "POST", "/v1/sources/s/abort", body, NULL), 200); /* exactly 1 MiB */
    free(body);
    world_down(&w);
}

/* A call that waits for its answer holds up nobody else; answers come in any order. */
static void test_calls_are_answered_later_in_any_order(void **state)
{
    (void)state;
    struct world w;
    struct request first, second;
    world_up(&w, NULL);
    w.script = WORLD_KEEPS;
    request_start(&w, &first, "GET", "/v1/sources/one", NULL);
    world_wait_calls(&w, 1);
    request_start(&w, &second, "GET", "/v1/sources/two", NULL);
    world_wait_calls(&w, 2);
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    admin_reply(w.tokens[1], 200, json_pack("{s:s}", "msg", "two"));
    request_wait(&second);
    assert_non_null(strstr(text_str(&second.body), "two"));
    assert_false(first.is_done);
    admin_reply_error(w.tokens[0], 404, 2, "no source %s", "one");
    request_wait(&first);
    assert_int_equal(first.status, 404);
    assert_non_null(strstr(text_str(&first.body), "\"no source one\""));
    w.token_count = 0;
    request_end(&first);
    request_end(&second);
    world_down(&w);
}

/* A client that hangs up before the answer costs nothing: the answer is dropped, others go on. */
static void test_calls_survive_a_client_that_hangs_up(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.script = WORLD_KEEPS;
    for (unsigned i = 1; i <= 20; i++) {
        int fd = raw_connect(&w);
        raw_send(fd, "POST /v1/sources/s/abort HTTP/1.1\r\nHost: x\r\nContent-Type: "
                     "application/json\r\nContent-Length: 2\r\n\r\n{}");
        world_wait_calls(&w, i);
        close(fd);
        world_turn(&w);
        if (i % 2 == 0) continue; /* half of the answers come after the next client */
        admin_reply(w.tokens[--w.token_count], 200, json_object());
    }
    while (w.token_count > 0)
        admin_reply(w.tokens[--w.token_count], 200, json_object());
    w.script = WORLD_REPLIES;
    request_start(&w, &r, "GET", "/v1/sources", NULL);
    request_wait(&r);
    request_end(&r);
    world_down(&w);
}

/* A document for which the handler had no memory makes a 500. */
static void test_calls_without_document_are_500(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.script = WORLD_KEEPS;
    request_start(&w, &r, "GET", "/v1/sources", NULL);
    world_wait_calls(&w, 1);
    admin_reply(w.tokens[--w.token_count], 200, NULL);
    request_wait(&r);
    assert_int_equal(r.status, 500);
    json_decref(request_json(&r));
    request_end(&r);
    world_down(&w);
}

/* Health is answered by the loop alone, readiness by the handler; both also to HEAD. */
static void test_calls_health_and_readiness(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.status = 503;
    assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    assert_int_equal(w.calls, 0);
    assert_int_equal(ask(&w, "GET", "/readyz", NULL, NULL), 503);
    assert_int_equal(w.calls, 1);
    request_start(&w, &r, "HEAD", "/readyz", NULL);
    request_wait(&r);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.body.len, 0);
    request_end(&r);
    world_down(&w);
}

/* The metrics are rendered from the handler's sources; its refusal comes through as it is. */
static void test_calls_metrics_are_rendered_from_the_sources(void **state)
{
    (void)state;
    struct world w;
    struct request r;
    world_up(&w, NULL);
    w.doc = json_loads("{\"result\":true,\"sources\":[{\"source-id\":\"s\",\"epoch\":5}]}", 0, NULL);
    request_start(&w, &r, "GET", "/metrics", NULL);
    request_wait(&r);
    assert_int_equal(w.verb, ADMIN_VERB_SOURCES);
    assert_non_null(strstr(text_str(&r.head), "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(text_str(&r.body), "\nsluice_epoch{source=\"s\"} 5\n"));
    request_end(&r);
    w.status = 503;
    assert_int_equal(ask(&w, "GET", "/metrics", NULL, NULL), 503);
    world_down(&w);
}

/* A thousand calls over kept and over new connections are each answered, and leave nothing. */
static void test_calls_a_thousand(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    for (unsigned i = 1; i <= 1000; i++) {
        struct request r;
        char path[64];
        snprintf(path, sizeof path, "/v1/sources/s-%u", i);
        request_begin(&w, &r, "GET", path, NULL);
        if (i % 2 == 0) curl_easy_setopt(r.easy, CURLOPT_FORBID_REUSE, 1L);
        request_send(&r);
        request_wait(&r);
        assert_int_equal(r.status, 200);
        assert_int_equal(w.calls, i);
        assert_string_equal(w.source_id, path + strlen("/v1/sources/"));
        request_end(&r);
    }
    world_down(&w);
}

/* Whichever allocation fails, the request is answered or its connection closed, and the next one works. */
static void test_calls_survive_want_of_memory(void **state)
{
    (void)state;
    struct world w;
    world_up(&w, NULL);
    for (unsigned long n = 1; n <= 12; n++) {
        int fd = raw_connect(&w);
        raw_send(
            fd,
            "POST /v1/sources/s/switch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            "Content-Length: 10\r\n\r\n{\"to\":\"b\"}");
        mem_fail_at(n);
        raw_wait_end(&w, fd, NULL);
        mem_fail_at(0);
        close(fd);
        assert_int_equal(ask(&w, "GET", "/healthz", NULL, NULL), 200);
    }
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_are_handed_over),
        cmocka_unit_test(test_calls_answer_is_the_handlers),
        cmocka_unit_test(test_calls_refusals_have_one_shape),
        cmocka_unit_test(test_calls_refusal_quotes_safely),
        cmocka_unit_test(test_calls_405_has_allow),
        cmocka_unit_test(test_calls_refuse_huge_bodies),
        cmocka_unit_test(test_calls_are_answered_later_in_any_order),
        cmocka_unit_test(test_calls_survive_a_client_that_hangs_up),
        cmocka_unit_test(test_calls_without_document_are_500),
        cmocka_unit_test(test_calls_health_and_readiness),
        cmocka_unit_test(test_calls_metrics_are_rendered_from_the_sources),
        cmocka_unit_test(test_calls_a_thousand),
        cmocka_unit_test(test_calls_survive_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
