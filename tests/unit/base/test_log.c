/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the log, as they arrive on stderr. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"

enum { LINE_BYTES_MAX = 8192 };

/* [2026/01/09 10:15:02.114 +00:00] [WARN] [hold.c:88] ["client wait expired"] [source=orders] [hint="see: x"] */
#define QUOTED "\"([^\"\\]|\\\\[\"\\n]|\\\\u[0-9a-f]{4})*\""
#define HEAD                                                                                                           \
    "^\\[[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} [+-][0-9]{2}:[0-9]{2}\\] "                   \
    "\\[(DEBUG|INFO|WARN|ERROR)\\] \\[[a-z_]+\\.c:[0-9]+\\] \\[" QUOTED "\\]"
#define FIELDS "( \\[[a-z_]+=([^] \"=[\\]+|" QUOTED ")\\])*\n$"

static int saved_stderr = -1;
static FILE *sink;

/* What is written to stderr from here on is kept. */
static void capture_begin(enum log_format format, enum log_level least)
{
    log_setup(format, least);
    sink = tmpfile();
    assert_non_null(sink);
    saved_stderr = dup(STDERR_FILENO);
    assert_true(saved_stderr >= 0 && dup2(fileno(sink), STDERR_FILENO) >= 0);
}

/* It, NUL-terminated; valid until the next call. */
static const char *capture_end(size_t *out_len)
{
    static char text[4 * LINE_BYTES_MAX];
    assert_true(dup2(saved_stderr, STDERR_FILENO) >= 0);
    close(saved_stderr);
    rewind(sink);
    *out_len = fread(text, 1, sizeof text - 1, sink);
    text[*out_len] = '\0';
    fclose(sink);
    return text;
}

static const char *logged(enum log_format format, const char *msg, const struct log_field *fields)
{
    size_t len = 0;
    capture_begin(format, LOG_LEVEL_DEBUG);
    log_write(LOG_LEVEL_WARN, "proxy/net/hold.c", 88, msg, fields);
    const char *text = capture_end(&len);
    assert_int_equal(strlen(text), len);
    assert_true(len > 0 && len <= LINE_BYTES_MAX);
    assert_ptr_equal(strchr(text, '\n'), text + len - 1); /* one line, and whole */
    return text;
}

static void expect_form(const char *line)
{
    regex_t form;
    assert_int_equal(regcomp(&form, HEAD FIELDS, REG_EXTENDED | REG_NOSUB), 0);
    if (regexec(&form, line, 0, NULL, 0) != 0) fail_msg("not in TiDB's form: %s", line);
    regfree(&form);
}

static const char *text_of(const char *msg, const struct log_field *fields)
{
    const char *line = logged(LOG_FORMAT_TEXT, msg, fields);
    expect_form(line);
    return line;
}

/* The line as an object, freed by the caller. */
static json_t *json_of(const char *msg, const struct log_field *fields)
{
    json_error_t error;
    const char *line = logged(LOG_FORMAT_JSON, msg, fields);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) fail_msg("%s at %d: %s", error.text, error.column, line);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "WARN");
    assert_string_equal(json_string_value(json_object_get(object, "caller")), "hold.c:88");
    assert_non_null(json_object_get(object, "time"));
    return object;
}

static const struct log_field none[] = { { .key = NULL } };

/* The form of a line without and with fields, in the letter. */
static void test_text_has_tidbs_form(void **state)
{
    (void)state;
    const struct log_field fields[] = { LOG_STR("source", "orders"), LOG_U64("waited_ms", UINT64_MAX),
                                        LOG_I64("code", INT64_MIN),  LOG_STR("hint", "see: sluice status orders"),
                                        LOG_STR("set", NULL),        { .key = NULL } };
    const char *line = text_of("client wait expired", fields);
    assert_string_equal(strstr(line, "] ["), "] [WARN] [hold.c:88] [\"client wait expired\"] [source=orders] "
                                             "[waited_ms=18446744073709551615] [code=-9223372036854775808] "
                                             "[hint=\"see: sluice status orders\"] [set=null]\n");
    assert_string_equal(strstr(text_of("said", none), " [\"said"), " [\"said\"]\n");
}

/* A value that would not be read back as one word is quoted; nothing that a value holds ends the line or a bracket. */
static void test_text_quotes_what_needs_it(void **state)
{
    (void)state;
    static const struct {
        const char *value, *shown;
    } values[] = {
        { "a.b-c:1-5,/", "a.b-c:1-5,/" },
        { "", "\"\"" },
        { "a b", "\"a b\"" },
        { "a=b", "\"a=b\"" },
        { "[a]", "\"[a]\"" },
        { "a\"b\\c", "\"a\\\"b\\\\c\"" },
        { "a\nb\tc\rd\x7f\x01", "\"a\\nb\\u0009c\\u000dd\\u007f\\u0001\"" },
        { "\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80" },
        { "\xff\xc3", "\"\\ufffd\\ufffd\"" },
        { "\xed\xa0\x80\xc0\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"" },
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const struct log_field fields[] = { LOG_STR("v", values[i].value), { .key = NULL } };
        char expected[128];
        snprintf(expected, sizeof expected, " [\"m\"] [v=%s]\n", values[i].shown);
        assert_string_equal(strstr(text_of("m", fields), " [\"m"), expected);
    }
}

/* Numbers are numbers, NULL is null, and every string comes out as it went in. */
static void test_json_is_read_back(void **state)
{
    (void)state;
    const struct log_field fields[] = { LOG_STR("s", "q\"b\\n\nt\t\x01\x7f \xc3\xa9"),
                                        LOG_STR("null", NULL),
                                        LOG_I64("i", -5),
                                        LOG_U64("u", 7),
                                        LOG_STR("bad", "a\xff"),
                                        { .key = NULL } };
    json_t *object = json_of("a \"message\"\n", fields);
    assert_string_equal(json_string_value(json_object_get(object, "message")), "a \"message\"\n");
    assert_string_equal(json_string_value(json_object_get(object, "s")), "q\"b\\n\nt\t\x01\x7f \xc3\xa9");
    assert_true(json_is_null(json_object_get(object, "null")));
    assert_int_equal(json_integer_value(json_object_get(object, "i")), -5);
    assert_int_equal(json_integer_value(json_object_get(object, "u")), 7);
    assert_string_equal(json_string_value(json_object_get(object, "bad")), "a\xef\xbf\xbd");
    assert_null(json_object_get(object, "cut"));
    json_decref(object);
}

/* A value of |unit| that is |len| bytes long, and a field behind it. */
static const struct log_field *long_fields(const char *unit, size_t len)
{
    static char value[3 * LINE_BYTES_MAX];
    static struct log_field fields[3];
    size_t unit_len = strlen(unit);
    for (size_t i = 0; i < len; i++)
        value[i] = unit[i % unit_len];
    value[len / unit_len * unit_len] = '\0';
    fields[0] = LOG_STR("v", value);
    fields[1] = LOG_U64("after", 123456);
    fields[2] = (struct log_field){ .key = NULL };
    return fields;
}

/* Around the longest line, whatever it is made of: the form holds, a cut line says so, and one that is not cut has all. */
static void test_overlong_lines_keep_the_form(void **state)
{
    (void)state;
    static const char *const units[] = { "a", "a b", "\"", "\x01", "\xff", "\xf0\x9f\x98\x80", "5e1a-1:1-5," };
    size_t cut = 0, whole = 0;
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        for (size_t len = LINE_BYTES_MAX / 6 - 40; len < LINE_BYTES_MAX + 20; len += len < 7950 ? 151 : 1) {
            const struct log_field *fields = long_fields(units[u], len);
            const char *line = text_of("m", fields);
            bool is_cut = strstr(line, " [cut=true]\n") != NULL;
            assert_true(is_cut != (strstr(line, " [after=123456]\n") != NULL));
            assert_true(!is_cut || strlen(line) > LINE_BYTES_MAX - 80); /* no more is cut than has to be */
            *(is_cut ? &cut : &whole) += 1;
            json_t *object = json_of("m", fields);
            is_cut = json_is_true(json_object_get(object, "cut"));
            assert_true(is_cut != (json_integer_value(json_object_get(object, "after")) == 123456));
            json_decref(object);
        }
    }
    assert_true(cut > 100 && whole > 100);
}

/* The same where it is the message that is too long. */
static void test_overlong_messages_keep_the_form(void **state)
{
    (void)state;
    for (size_t len = LINE_BYTES_MAX - 150; len < LINE_BYTES_MAX + 10; len++) {
        const char *msg = long_fields("a\n", len)[0].value.str;
        const struct log_field fields[] = { LOG_U64("n", 1), { .key = NULL } };
        const char *line = text_of(msg, fields);
        assert_true((strstr(line, "] [cut=true]\n") != NULL) != (strstr(line, "] [n=1]\n") != NULL));
        json_decref(json_of(msg, fields));
    }
}

/* What is below the level is not written. */
static void test_levels_below_the_least_are_not_written(void **state)
{
    (void)state;
    size_t len = 0;
    capture_begin(LOG_FORMAT_TEXT, LOG_LEVEL_WARN);
    log_debug("one");
    log_info("two", LOG_STR("a", "b"));
    log_warn("three");
    log_error("four", LOG_I64("n", -1));
    const char *text = capture_end(&len);
    assert_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    assert_non_null(strstr(text, "] [WARN] [test_log.c:"));
    assert_non_null(strstr(text, "] [ERROR] [test_log.c:"));
    assert_non_null(strstr(text, " [\"four\"] [n=-1]\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_has_tidbs_form),
        cmocka_unit_test(test_text_quotes_what_needs_it),
        cmocka_unit_test(test_json_is_read_back),
        cmocka_unit_test(test_overlong_lines_keep_the_form),
        cmocka_unit_test(test_overlong_messages_keep_the_form),
        cmocka_unit_test(test_levels_below_the_least_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
