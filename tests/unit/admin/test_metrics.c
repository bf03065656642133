/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "admin/metrics.h"
#include "core/attr.h"
#include "core/text.h"

/* --- a strict reader of Prometheus' text format 0.0.4: one family at a time, HELP and TYPE first, no sample twice --- */

struct reader {
    const char *p;
    char family[128];
    char type[16];
    char done[8192]; /* " name name …": families that are over */
    json_t *samples; /* "name{labels}" -> number */
};

static size_t name_len(const char *s)
{
    size_t len = 0;
    while (isalnum((unsigned char)s[len]) || s[len] == '_' || s[len] == ':')
        len++;
    return isdigit((unsigned char)s[0]) ? 0 : len;
}

static void expect_char(struct reader *r, char c)
{
    if (*r->p != c) fail_msg("'%c' is missing at: %.60s", c, r->p);
    r->p++;
}

static void take_name(struct reader *r, char *out, size_t room)
{
    size_t len = name_len(r->p);
    if (len == 0 || len >= room) fail_msg("a name is missing at: %.60s", r->p);
    memcpy(out, r->p, len);
    out[len] = '\0';
    r->p += len;
}

static void read_family(struct reader *r)
{
    char name[128];
    char mark[140];
    assert_memory_equal(r->p, "# HELP ", 7);
    r->p += 7;
    take_name(r, name, sizeof name);
    snprintf(mark, sizeof mark, " %s ", name);
    if (strstr(r->done, mark) != NULL) fail_msg("family %s appears twice", name);
    snprintf(r->done + strlen(r->done), sizeof r->done - strlen(r->done), "%s ", name);
    snprintf(r->family, sizeof r->family, "%s", name);
    expect_char(r, ' ');
    size_t help = strcspn(r->p, "\n");
    assert_true(help > 10 && r->p[help - 1] == '.');
    r->p += help;
    expect_char(r, '\n');
    assert_memory_equal(r->p, "# TYPE ", 7);
    r->p += 7;
    take_name(r, name, sizeof name);
    assert_string_equal(name, r->family);
    expect_char(r, ' ');
    take_name(r, r->type, sizeof r->type);
    assert_true(strstr(" counter gauge histogram untyped ", r->type) != NULL);
    expect_char(r, '\n');
}

static void read_labels(struct reader *r)
{
    char name[64];
    char seen[512] = " ";
    expect_char(r, '{');
    do {
        char mark[80];
        take_name(r, name, sizeof name);
        snprintf(mark, sizeof mark, " %s ", name);
        if (strstr(seen, mark) != NULL) fail_msg("label %s appears twice", name);
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s ", name);
        expect_char(r, '=');
        expect_char(r, '"');
        for (; *r->p != '"'; r->p++) {
            if (*r->p == '\n' || *r->p == '\0') fail_msg("a label's value does not end");
            if (*r->p != '\\') continue;
            r->p++;
            if (strchr("\\\"n", *r->p) == NULL) fail_msg("an escape that does not exist: \\%c", *r->p);
        }
        r->p++;
    } while (*r->p == ',' && r->p++ != NULL);
    expect_char(r, '}');
}

static bool belongs(const struct reader *r, const char *name)
{
    size_t len = strlen(r->family);
    if (strncmp(name, r->family, len) != 0) return false;
    if (strcmp(r->type, "histogram") != 0) return name[len] == '\0';
    return strcmp(name + len, "_bucket") == 0 || strcmp(name + len, "_sum") == 0 || strcmp(name + len, "_count") == 0;
}

static void read_sample(struct reader *r)
{
    const char *began = r->p;
    char name[128];
    char key[512];
    char *end;
    take_name(r, name, sizeof name);
    if (!belongs(r, name)) fail_msg("a sample of %s stands in the family %s", name, r->family);
    if (*r->p == '{') read_labels(r);
    snprintf(key, sizeof key, "%.*s", (int)(r->p - began), began);
    expect_char(r, ' ');
    double value = strtod(r->p, &end);
    assert_ptr_not_equal(end, r->p);
    r->p = end;
    expect_char(r, '\n');
    if (strcmp(r->type, "counter") == 0) assert_true(value >= 0);
    if (json_object_get(r->samples, key) != NULL) fail_msg("sample %s appears twice", key);
    json_object_set_new(r->samples, key, json_real(value));
}

static json_t *parse(const char *text)
{
    struct reader r = { .p = text, .done = " ", .samples = json_object() };
    while (*r.p != '\0') {
        if (*r.p == '#') {
            read_family(&r);
        } else {
            read_sample(&r);
        }
    }
    return r.samples;
}

static json_t *render(const char *sources)
{
    struct text out = TEXT_INIT;
    json_error_t error;
    json_t *doc = json_loads(sources, 0, &error);
    if (doc == NULL) fail_msg("the test's own JSON: %s", error.text);
    admin_metrics_render(doc, &out);
    json_decref(doc);
    assert_int_equal(out.status, 0);
    json_t *samples = parse(text_str(&out));
    text_free(&out);
    return samples;
}

static void assert_sample(const json_t *samples, const char *key, double wanted)
{
    const json_t *value = json_object_get(samples, key);
    if (value == NULL) fail_msg("no sample %s", key);
    double got = json_real_value(value);
    if (got < wanted - 1e-9 || got > wanted + 1e-9) fail_msg("%s is %g, not %g", key, got, wanted);
}

static const char two_sources[] =
    "{\"result\":true,\"msg\":\"\",\"sources\":["
    "{\"source-id\":\"one\",\"listen\":\"0.0.0.0:3400\",\"active\":\"a\",\"epoch\":5,\"mode\":\"holding\",\"phase\":"
    "\"drain\","
    " \"held\":3,\"sessions\":9,\"streams\":2,\"backends\":[{\"name\":\"a\",\"reachable\":true,\"connections\":9},{"
    "\"name\":\"b\","
    "\"reachable\":false,\"connections\":0}],"
    " \"consumer\":{\"type\":\"replica\",\"quiet\":true,\"tasks\":[],\"error\":\"\"},\"latch\":null,"
    " \"counters\":{\"sessions-total\":100,\"closed-idle-total\":4,\"closed-boundary-total\":2,\"killed-total\":1,"
    "\"hold-expired-total\":0,"
    "   "
    "\"invariant-violations-total\":0,\"bytes-to-client-total\":1234567890123,\"hold-wait-ms-total\":1500,\"longest-"
    "wait-ms\":250,\"switches-"
    "done\":7,\"switches-undone\":1,"
    "   \"brand-new-total\":6},"
    " \"hold-histogram\":{\"bounds-ms\":[10,100,1000],\"counts\":[1,2,3,4],\"sum-ms\":12345},"
    " \"switch\":{\"number\":8,\"phase\":\"drain\",\"elapsed-ms\":1250}},"
    "{\"source-id\":\"two\",\"active\":\"x\",\"epoch\":1,\"mode\":\"routing\",\"phase\":\"idle\",\"held\":0,"
    "\"sessions\":1,\"backends\":[],"
    " \"latch\":{\"backend\":\"x\",\"reason\":\"rewound\"},\"counters\":{\"sessions\":1,\"brand-new-total\":8},"
    "\"switch\":null}]}";

/* What status shows, the metrics show. */
static void test_metrics_show_the_snapshot(void **state)
{
    (void)state;
    json_t *s = render(two_sources);
    assert_sample(s, "sluice_cutover_phase{source=\"one\",phase=\"drain\"}", 1);
    assert_sample(s, "sluice_cutover_phase{source=\"two\",phase=\"idle\"}", 1);
    assert_sample(s, "sluice_cutover_elapsed_seconds{source=\"one\"}", 1.25);
    assert_sample(s, "sluice_cutover_elapsed_seconds{source=\"two\"}", 0);
    assert_sample(s, "sluice_source_mode{source=\"one\",mode=\"holding\"}", 1);
    assert_sample(s, "sluice_epoch{source=\"one\"}", 5);
    assert_sample(s, "sluice_held_connections{source=\"one\"}", 3);
    assert_sample(s, "sluice_session_connections{source=\"one\"}", 9);
    assert_sample(s, "sluice_stream_connections{source=\"one\"}", 2);
    assert_sample(s, "sluice_backend_up{source=\"one\",backend=\"a\"}", 1);
    assert_sample(s, "sluice_backend_up{source=\"one\",backend=\"b\"}", 0);
    assert_sample(s, "sluice_backend_active{source=\"one\",backend=\"a\"}", 1);
    assert_sample(s, "sluice_backend_active{source=\"one\",backend=\"b\"}", 0);
    assert_sample(s, "sluice_backend_connections{source=\"one\",backend=\"a\"}", 9);
    assert_sample(s, "sluice_source_latched{source=\"one\"}", 0);
    assert_sample(s, "sluice_source_latched{source=\"two\",backend=\"x\"}", 1);
    json_decref(s);
}

/* Counters keep their value to the last digit, milliseconds become seconds, and a new one is not lost. */
static void test_metrics_show_the_counters(void **state)
{
    (void)state;
    json_t *s = render(two_sources);
    assert_sample(s, "sluice_sessions_total{source=\"one\"}", 100);
    assert_sample(s, "sluice_sessions_total{source=\"two\"}", 1);
    assert_sample(s, "sluice_sessions_ended_total{source=\"one\",how=\"closed-idle\"}", 4);
    assert_sample(s, "sluice_sessions_ended_total{source=\"one\",how=\"closed-boundary\"}", 2);
    assert_sample(s, "sluice_sessions_ended_total{source=\"one\",how=\"killed\"}", 1);
    assert_sample(s, "sluice_sessions_ended_total{source=\"one\",how=\"hold-expired\"}", 0);
    assert_sample(s, "sluice_invariant_violations_total{source=\"one\"}", 0);
    assert_sample(s, "sluice_relayed_bytes_total{source=\"one\",to=\"client\"}", 1234567890123.0);
    assert_sample(s, "sluice_hold_wait_seconds_total{source=\"one\"}", 1.5);
    assert_sample(s, "sluice_hold_wait_longest_seconds{source=\"one\"}", 0.25);
    assert_sample(s, "sluice_cutovers_total{source=\"one\",result=\"done\"}", 7);
    assert_sample(s, "sluice_cutovers_total{source=\"one\",result=\"undone\"}", 1);
    assert_sample(s, "sluice_source_brand_new_total{source=\"one\"}", 6);
    assert_sample(s, "sluice_source_brand_new_total{source=\"two\"}", 8);
    json_decref(s);
}

/* Buckets are cumulative, end in +Inf, and agree with the count. */
static void test_metrics_histogram_is_cumulative(void **state)
{
    (void)state;
    json_t *s = render(two_sources);
    assert_sample(s, "sluice_hold_seconds_bucket{source=\"one\",le=\"0.01\"}", 1);
    assert_sample(s, "sluice_hold_seconds_bucket{source=\"one\",le=\"0.1\"}", 3);
    assert_sample(s, "sluice_hold_seconds_bucket{source=\"one\",le=\"1\"}", 6);
    assert_sample(s, "sluice_hold_seconds_bucket{source=\"one\",le=\"+Inf\"}", 10);
    assert_sample(s, "sluice_hold_seconds_count{source=\"one\"}", 10);
    assert_sample(s, "sluice_hold_seconds_sum{source=\"one\"}", 12.345);
    json_decref(s);
}

/* Any name an operator can give is a label's value that a strict reader takes. */
static void test_metrics_escape_labels(void **state)
{
    (void)state;
    json_t *s =
        render("{\"sources\":[{\"source-id\":\"a\\\"b\\\\c\\nd\",\"epoch\":1,\"counters\":{\"Odd Key\":3,\"\":4}}]}");
    assert_sample(s, "sluice_epoch{source=\"a\\\"b\\\\c\\nd\"}", 1);
    json_decref(s);
}

/* Whatever is missing or of another type gives no sample, and the rest is still there. */
static void test_metrics_of_an_odd_document(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}",
        "{\"sources\":[]}",
        "{\"sources\":[{}]}",
        "{\"sources\":{\"a\":1}}",
        "{\"sources\":[{\"source-id\":\"s\",\"epoch\":\"5\",\"mode\":7,\"backends\":{\"a\":1},\"counters\":[1],"
        "\"consumer\":[],\"latch\":3,"
        "\"switch\":\"x\",\"hold-histogram\":{\"bounds-ms\":[1,2],\"counts\":[1],\"sum-ms\":1}}]}",
        "{\"sources\":[{\"source-id\":\"s\",\"backends\":[1,{\"name\":2},{\"name\":\"a\",\"reachable\":\"yes\"}],"
        "\"hold-histogram\":{\"bounds-ms\":[\"1\"],\"counts\":[1],\"sum-ms\":1},\"counters\":{\"sessions-total\":"
        "\"many\"}}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        json_t *s = render(odd[i]);
        const char *key;
        json_t *value;
        bool has_build = false;
        json_object_foreach(s, key, value) has_build |= strncmp(key, "sluice_build_info{version=\"", 27) == 0;
        assert_true(has_build);
        assert_null(json_object_get(s, "sluice_hold_seconds_count{source=\"s\"}"));
        json_decref(s);
    }
}

/* The process tells its own resources under the names that dashboards know. */
static void test_metrics_of_the_process(void **state)
{
    (void)state;
    json_t *s = render("{}");
    double fds = json_real_value(json_object_get(s, "process_open_fds"));
    assert_true(fds >= 3 && fds < 100);
    assert_true(json_real_value(json_object_get(s, "process_resident_memory_bytes")) > 1 << 20);
    assert_true(json_real_value(json_object_get(s, "process_virtual_memory_bytes")) >
                json_real_value(json_object_get(s, "process_resident_memory_bytes")));
    assert_true(json_real_value(json_object_get(s, "process_max_fds")) >= fds);
    assert_non_null(json_object_get(s, "process_cpu_seconds_total"));
    assert_true(json_real_value(json_object_get(s, "process_start_time_seconds")) > 1.6e9);
    json_decref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_show_the_snapshot),       cmocka_unit_test(test_metrics_show_the_counters),
        cmocka_unit_test(test_metrics_histogram_is_cumulative), cmocka_unit_test(test_metrics_escape_labels),
        cmocka_unit_test(test_metrics_of_an_odd_document),      cmocka_unit_test(test_metrics_of_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
