/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "admin/route.h"

static int find(const char *method, const char *path, struct admin_route *route)
{
    const char *allow = NULL;
    int status = admin_route_find(method, path, route, &allow);
    if (status == 405) assert_non_null(allow);
    return status;
}

/* Each path leads to its verb, with the names in it decoded. */
static void test_route_each_path_has_its_verb(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        enum admin_route_kind kind;
        enum admin_verb verb;
        const char *source_id;
        uint64_t number;
    } cases[] = {
        { "GET", "/v1/sources", ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCES, "", 0 },
        { "HEAD", "/v1/sources", ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCES, "", 0 },
        { "GET", "/v1/sources/mysql-01", ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCE, "mysql-01", 0 },
        { "POST", "/v1/sources/s/check", ADMIN_ROUTE_CALL, ADMIN_VERB_CHECK, "s", 0 },
        { "POST", "/v1/sources/s/switch", ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH, "s", 0 },
        { "POST", "/v1/sources/s/abort", ADMIN_ROUTE_CALL, ADMIN_VERB_ABORT, "s", 0 },
        { "POST", "/v1/sources/s/readdress", ADMIN_ROUTE_CALL, ADMIN_VERB_READDRESS, "s", 0 },
        { "POST", "/v1/sources/s/adopt", ADMIN_ROUTE_CALL, ADMIN_VERB_ADOPT, "s", 0 },
        { "POST", "/v1/sources/s/repin", ADMIN_ROUTE_CALL, ADMIN_VERB_REPIN, "s", 0 },
        { "POST", "/v1/sources/s/hold", ADMIN_ROUTE_CALL, ADMIN_VERB_HOLD, "s", 0 },
        { "POST", "/v1/sources/s/release", ADMIN_ROUTE_CALL, ADMIN_VERB_RELEASE, "s", 0 },
        { "GET", "/v1/sources/s/history", ADMIN_ROUTE_CALL, ADMIN_VERB_HISTORY, "s", 0 },
        { "GET", "/v1/switches/17", ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH_GET, "", 17 },
        { "GET", "/v1/switches/9223372036854775807", ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH_GET, "", INT64_MAX },
        { "GET", "/v1/switches/17/events", ADMIN_ROUTE_EVENTS, ADMIN_VERB_SWITCH_GET, "", 17 },
        { "GET", "/metrics", ADMIN_ROUTE_METRICS, ADMIN_VERB_SOURCES, "", 0 },
        { "GET", "/healthz", ADMIN_ROUTE_HEALTHZ, ADMIN_VERB_READY, "", 0 },
        { "GET", "/readyz", ADMIN_ROUTE_CALL, ADMIN_VERB_READY, "", 0 },
        { "GET", "/v1/sources/a%2Fb%20c", ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCE, "a/b c", 0 },
        { "POST", "/v1/sources/%e6%ba%90/switch", ADMIN_ROUTE_CALL, ADMIN_VERB_SWITCH, "\xe6\xba\x90", 0 },
        { "GET", "/v1/sources/..", ADMIN_ROUTE_CALL, ADMIN_VERB_SOURCE, "..", 0 }, /* a name like any other */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct admin_route route;
        assert_int_equal(find(cases[i].method, cases[i].path, &route), 0);
        assert_int_equal(route.kind, cases[i].kind);
        assert_int_equal(route.verb, cases[i].verb);
        assert_string_equal(route.source_id, cases[i].source_id);
        assert_int_equal(route.switch_number, cases[i].number);
        assert_int_equal(route.is_post, strcmp(cases[i].method, "POST") == 0);
    }
}

/* Anything that is not exactly one of the paths is not found. */
static void test_route_refuses_other_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",
        "/",
        "/v1",
        "/v1/sources/",
        "/v1/sources/s/",
        "/v1/sources/s/nothing",
        "/v1/sources/s/switch/",
        "//v1/sources",
        "/v2/sources",
        "/V1/sources",
        "/v1/switches",
        "/v1/switches/1/",
        "/v1/switches/1/event",
        "/metrics/",
        "v1/sources",
        "/v1/sources/s/switch/x",
        "/v1%2Fsources",
        "/healthzz",
    };
    struct admin_route route;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        int status = find("GET", paths[i], &route);
        if (status != 404 && status != 400) fail_msg("GET %s gives %d", paths[i], status);
    }
}

/* A name that is no text, or a number that is none, is the client's error and reaches no handler. */
static void test_route_refuses_malformed_names(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/v1/sources/%",
        "/v1/sources/%4",
        "/v1/sources/%zz",
        "/v1/sources/a%00b",
        "/v1/sources/%ff",
        "/v1/sources/",
        "/v1/switches/0",
        "/v1/switches/01",
        "/v1/switches/-1",
        "/v1/switches/x",
        "/v1/switches/1e3",
        "/v1/switches/9223372036854775808",
        "/v1/switches/99999999999999999999",
        "/v1/switches//events",
    };
    struct admin_route route;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        assert_int_equal(find("GET", paths[i], &route), 400);
}

/* An id has 1 to 255 bytes, counted after decoding. */
static void test_route_bounds_the_id(void **state)
{
    (void)state;
    char path[1100] = "/v1/sources/";
    struct admin_route route;
    size_t len = strlen(path);
    for (int i = 0; i < 255; i++, len += 3)
        memcpy(path + len, "%41", 4);
    assert_int_equal(find("GET", path, &route), 0);
    assert_int_equal(strlen(route.source_id), 255);
    memcpy(path + len, "A", 2);
    assert_int_equal(find("GET", path, &route), 400);
}

/* The right path with the wrong method says which methods it takes. */
static void test_route_names_the_methods_allowed(void **state)
{
    (void)state;
    struct admin_route route;
    const char *allow = NULL;
    assert_int_equal(admin_route_find("GET", "/v1/sources/s/switch", &route, &allow), 405);
    assert_string_equal(allow, "POST");
    assert_int_equal(admin_route_find("POST", "/v1/sources", &route, &allow), 405);
    assert_string_equal(allow, "GET, HEAD");
    assert_int_equal(admin_route_find("DELETE", "/v1/sources/s", &route, &allow), 405);
    assert_int_equal(admin_route_find("get", "/metrics", &route, &allow), 405); /* methods are case-sensitive */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_each_path_has_its_verb),    cmocka_unit_test(test_route_refuses_other_paths),
        cmocka_unit_test(test_route_refuses_malformed_names),   cmocka_unit_test(test_route_bounds_the_id),
        cmocka_unit_test(test_route_names_the_methods_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
