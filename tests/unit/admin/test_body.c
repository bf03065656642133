/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "admin/body.h"
#include "core/error.h"
#include "core/mem.h"

static json_t *take(enum admin_verb verb, const char *text)
{
    char error[ADMIN_BODY_ERROR_BYTES] = "";
    json_t *body = NULL;
    int rv = admin_body_parse(verb, text, strlen(text), &body, error);
    if (rv != 0) fail_msg("%s is refused: %s", text, error);
    return body;
}

static void refuse(enum admin_verb verb, const char *text, const char *words)
{
    char error[ADMIN_BODY_ERROR_BYTES] = "";
    json_t *body = NULL;
    assert_int_equal(admin_body_parse(verb, text, strlen(text), &body, error), SLUICE_ERR_SYNTAX);
    assert_null(body);
    if (strstr(error, words) == NULL) fail_msg("\"%s\" does not say \"%s\" about %s", error, words, text);
}

static void assert_brought_to(const char *given, const char *wanted)
{
    json_t *body = take(ADMIN_VERB_SWITCH, given);
    json_t *want = json_loads(wanted, 0, NULL);
    if (!json_equal(body, want)) {
        char *got = json_dumps(body, JSON_COMPACT);
        fail_msg("%s becomes %s, not %s", given, got, wanted);
    }
    json_decref(body);
    json_decref(want);
}

/* However a value was written, the handler sees one form. */
static void test_body_brings_values_to_one_form(void **state)
{
    (void)state;
    assert_brought_to("{\"to\":\"b\"}", "{\"to\":\"b\"}");
    assert_brought_to("{\"to\":\"b\",\"wait-catchup\":\"10s\"}", "{\"to\":\"b\",\"wait-catchup\":10000}");
    assert_brought_to("{\"to\":\"b\",\"wait-catchup\":250}", "{\"to\":\"b\",\"wait-catchup\":250}");
    assert_brought_to("{\"to\":\"b\",\"wait-catchup\":\"0\"}", "{\"to\":\"b\",\"wait-catchup\":0}");
    assert_brought_to("{\"to\":\"b\",\"accept-errant\":\"u:1\"}", "{\"to\":\"b\",\"accept-errant\":[\"u:1\"]}");
    assert_brought_to("{\"to\":\"b\",\"accept-errant\":[\"u:1\",\"v\"]}",
                      "{\"to\":\"b\",\"accept-errant\":[\"u:1\",\"v\"]}");
    assert_brought_to("{\"to\":\"b\",\"waive\":\"sql_mode\"}", "{\"to\":\"b\",\"waive\":[\"sql_mode\"]}");
    assert_brought_to("{\"gtid-s\":\"\",\"accept-loss\":\"unknown\",\"old-is-dead\":true,\"to\":\"b\"}",
                      "{\"to\":\"b\",\"old-is-dead\":true,\"accept-loss\":\"unknown\",\"gtid-s\":\"\"}");
}

/* No body at all is an empty object where nothing is required. */
static void test_body_may_be_absent(void **state)
{
    (void)state;
    static const enum admin_verb verbs[] = { ADMIN_VERB_ABORT, ADMIN_VERB_HOLD, ADMIN_VERB_RELEASE };
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        json_t *none = take(verbs[i], "");
        json_t *empty = take(verbs[i], " {} ");
        assert_int_equal(json_object_size(none), 0);
        assert_true(json_equal(none, empty));
        json_decref(none);
        json_decref(empty);
    }
    refuse(ADMIN_VERB_SWITCH, "", "\"to\" is missing");
    refuse(ADMIN_VERB_ADOPT, "{}", "\"backend\" is missing");
    refuse(ADMIN_VERB_READDRESS, "{\"source-file\":\"a\"}", "\"task-files\" is missing");
    refuse(ADMIN_VERB_READDRESS, "{\"source-file\":\"a\",\"task-files\":\"b\"}", "is not a list of strings");
    refuse(ADMIN_VERB_READDRESS, "{\"source-file\":\"a\",\"task-files\":[1]}", "something else than strings");
    json_decref(take(ADMIN_VERB_READDRESS, "{\"source-file\":\"a\",\"task-files\":[],\"undo\":true}"));
}

/* What is no object of known keys with right types is refused, and the words name the place. */
static void test_body_names_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        { "{\"to\":\"b\"", "not JSON: line 1" },
        { "{\"to\":\"b\"}x", "not JSON" },
        { "\xff", "not JSON" },
        { "[]", "not a JSON object" },
        { "null", "not" },
        { "{\"to\":\"b\",\"to\":\"a\"}", "duplicate" },
        { "{\"to\":\"b\",\"force\":true}", "unknown key \"force\"" },
        { "{\"To\":\"b\"}", "unknown key \"To\"" },
        { "{\"to\":1}", "\"to\" is not a string" },
        { "{\"to\":\"\"}", "\"to\" is empty" },
        { "{\"to\":\"b\",\"old-is-dead\":\"true\"}", "\"old-is-dead\" is neither true nor false" },
        { "{\"to\":\"b\",\"old-is-dead\":null}", "\"old-is-dead\"" },
        { "{\"to\":\"b\",\"accept-loss\":[]}", "\"accept-loss\" is not a string" },
        { "{\"to\":\"b\",\"accept-errant\":[]}", "\"accept-errant\"" },
        { "{\"to\":\"b\",\"accept-errant\":[\"u\",1]}", "\"accept-errant\"" },
        { "{\"to\":\"b\",\"gtid-s\":7}", "\"gtid-s\"" },
        { "{\"to\":\"b\",\"wait-catchup\":-1}", "\"wait-catchup\"" },
        { "{\"to\":\"b\",\"wait-catchup\":1.5}", "\"wait-catchup\"" },
        { "{\"to\":\"b\",\"wait-catchup\":86400001}", "\"wait-catchup\"" },
        { "{\"to\":\"b\",\"wait-catchup\":\"10\"}", "\"wait-catchup\"" },
        { "{\"to\":\"b\",\"wait-catchup\":99999999999999999999}", "not JSON" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        refuse(ADMIN_VERB_SWITCH, cases[i].text, cases[i].words);
    refuse(ADMIN_VERB_ABORT, "{\"to\":\"b\"}", "unknown key \"to\"");
    refuse(ADMIN_VERB_REPIN, "{\"to\":\"b\"}", "unknown key \"to\"");
}

/* JSON nested as deep as a body may be is an error, not a stack overflow. */
static void test_body_refuses_deep_nesting(void **state)
{
    (void)state;
    enum { DEPTH = 1 << 20 };
    char *text = mem_alloc(DEPTH + 1);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    refuse(ADMIN_VERB_SWITCH, text, "not JSON");
    mem_free(text);
}

/* Durations are written as in the configuration, and no longer than a day. */
static void test_body_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = { { "0", 0 },         { "0s", 0 },       { "500ms", 500 },    { "10s", 10000 },   { "1m30s", 90000 },
                 { "5m0s", 300000 }, { "2h", 7200000 }, { "24h", 86400000 }, { "1s500ms", 1500 } };
    static const char *const bad[] = { "",    "s",  "10",  "-1s",    "+1s", "1.5s", "1 s",
                                       "10S", "1d", "25h", "24h1ms", "1s ", "1ss",  "9999999999s" };
    uint32_t ms;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(admin_duration_parse(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (admin_duration_parse(bad[i], &ms) != SLUICE_ERR_SYNTAX) fail_msg("\"%s\" is taken as %u ms", bad[i], ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_brings_values_to_one_form),
        cmocka_unit_test(test_body_may_be_absent),
        cmocka_unit_test(test_body_names_what_is_wrong),
        cmocka_unit_test(test_body_refuses_deep_nesting),
        cmocka_unit_test(test_body_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
