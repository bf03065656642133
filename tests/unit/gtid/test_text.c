/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>

/* Undoes the escapes of server_table.tsv in place; returns the length. */
static size_t unescape(char *s)
{
    static const char from[] = "ntvfr\\", to[] = "\n\t\v\f\r\\";
    char *out = s;
    for (const char *in = s; *in != '\0'; in++) {
        if (*in != '\\') {
            *out++ = *in;
        } else if (*++in == 'x') {
            char digits[3] = { in[1], in[2], '\0' };
            *out++ = (char)strtoul(digits, NULL, 16);
            in += 2;
        } else {
            *out++ = to[strchr(from, *in) - from];
        }
    }
    *out = '\0';
    return (size_t)(out - s);
}

static void check_line(char *verdict)
{
    char *text = strchr(verdict, '\t');
    assert_non_null(text);
    *text++ = '\0';
    char *normal = strchr(text, '\t');
    if (normal != NULL) *normal++ = '\0';
    char shown[512];
    snprintf(shown, sizeof shown, "%s", text);
    struct gtid_set *set = NULL;
    int rv = gtid_set_parse(text, unescape(text), &set, NULL);
    if (strcmp(verdict, "ok") != 0) {
        if (rv != GTID_ERR_SYNTAX) fail_msg("taken, but must be refused: %s", shown);
        return;
    }
    if (normal == NULL) {
        fail_msg("the table has no normal form of it: %s", shown);
        return;
    }
    if (rv != 0) fail_msg("refused, but the server takes it: %s", shown);
    char *printed = gtid_set_print(set, GTID_SEPARATOR_COMMA_NEWLINE, NULL);
    unescape(normal);
    if (strcmp(printed, normal) != 0) fail_msg("%s\nis printed as  %s\nby the server  %s", shown, printed, normal);
    gtid_free(printed);
    gtid_set_del(set);
}

/* The library takes what a MySQL 9.7 server takes, refuses what it refuses, and prints what it prints: by a table from one. */
static void test_text_is_judged_as_the_server_judges_it(void **state)
{
    (void)state;
    FILE *f = fopen(GTID_TABLE, "r");
    assert_non_null(f);
    char line[1024];
    int lines = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#') continue;
        check_line(line);
        lines++;
    }
    fclose(f);
    print_message("%d texts\n", lines);
    assert_true(lines > 200);
}

/* An error tells at which byte it is, and what is wrong there. */
static void test_error_has_offset_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t offset;
        const char *reason;
    } rows[] = {
        { "x", 0, "a UUID is expected" },
        { "3e11fa47-71ca-11e1-9e33-c80aa942956", 35, "a UUID is expected" },
        { "3e11fa47-71ca-11e1-9e33-c80aa942956g:1", 35, "a UUID is expected" },
        { "{" U ":1", 37, "a UUID is expected" },
        { U ":", 37, "a number or a tag is expected" },
        { U ":1,zz", 39, "a UUID is expected" },
        { U ":+1", 37, "a number or a tag is expected" },
        { U ":0", 37, "numbers begin at 1" },
        { U ":1-", 39, "a number is expected" },
        { U ":1:2:9223372036854775807", 41, "a number is at most 9223372036854775806" },
        { U ":1 2", 39, "':', ',' or the end is expected" },
        { U ":0x5", 37, "numbers begin at 1" },
        { U ":aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1", 69, "a tag has at most 32 characters" },
        { U ":a b:1", 39, "':', ',' or the end is expected" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gtid_set *set = NULL;
        struct gtid_parse_error error = { 999, NULL };
        assert_int_equal(gtid_set_parse(rows[i].text, strlen(rows[i].text), &set, &error), GTID_ERR_SYNTAX);
        assert_null(set);
        assert_string_equal(error.reason, rows[i].reason);
        assert_int_equal(error.offset, rows[i].offset);
    }
}

/* A text need not end in NUL, and is not read past its length. */
static void test_text_ends_where_its_length_says(void **state)
{
    (void)state;
    struct gtid_set *set = NULL;
    assert_int_equal(gtid_set_parse(U ":1-34", strlen(U ":1-3"), &set, NULL), 0);
    assert_prints(set, U ":1-3");
    char *exact = malloc(strlen(U ":12")); /* so that the sanitizer sees a byte too many */
    memcpy(exact, U ":12", strlen(U ":12"));
    assert_int_equal(gtid_set_parse(exact, strlen(U ":12"), &set, NULL), 0);
    assert_prints(set, U ":12");
    free(exact);
    assert_int_equal(gtid_set_parse(NULL, 0, &set, NULL), 0);
    assert_prints(set, "");
}

/* Both separators give a text that reads back as the same set. */
static void test_print_separates_uuids_as_asked(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1:b:2-3:A:5-7," V ":9");
    size_t len = 0;
    char *text = gtid_set_print(set, GTID_SEPARATOR_COMMA_NEWLINE, &len);
    assert_string_equal(text, V ":9,\n" U ":1:a:5-7:b:2-3");
    assert_int_equal(len, strlen(text));
    struct gtid_set *again = set_of(text);
    assert_true(gtid_set_equal(set, again));
    gtid_free(text);
    gtid_set_del(again);
    assert_prints(set, V ":9," U ":1:a:5-7:b:2-3");
}

/* A description that fits is the whole text; one that does not says how much it leaves out. */
static void test_describe_is_bounded_and_says_what_it_leaves_out(void **state)
{
    (void)state;
    char buf[GTID_DESCRIBE_BYTES_MIN];
    struct gtid_set *set = set_of(U ":1-3," V ":t:4");
    size_t len = gtid_set_describe(set, buf, sizeof buf);
    assert_string_equal(buf, V ":t:4," U ":1-3");
    assert_int_equal(len, strlen(buf));
    for (uint64_t n = 10; n < 4000; n += 2)
        assert_int_equal(gtid_set_add(set, uuid_of(U), "", n), 0);
    len = gtid_set_describe(set, buf, sizeof buf);
    assert_int_equal(len, strlen(buf));
    assert_true(len < sizeof buf);
    uint64_t listed = 1; /* V:t:4 and one for each ':' behind U, 1-3 being three */
    const char *dots = strstr(buf, " ... (");
    assert_non_null(dots);
    for (const char *p = strstr(buf, U ":"); p < dots; p++)
        listed += *p == ':';
    char rest[80];
    snprintf(rest, sizeof rest, " ... (%ju more ranges, %ju more transactions)", (uintmax_t)(1997 - listed),
             (uintmax_t)(1997 - listed));
    assert_string_equal(dots, rest);
    gtid_set_del(set);
    set = set_of("");
    assert_int_equal(gtid_set_describe(set, buf, sizeof buf), 0);
    assert_string_equal(buf, "");
    gtid_set_del(set);
}

/* The longest interval of all fits into the smallest description together with what is said of the rest. */
static void test_describe_takes_the_longest_interval(void **state)
{
    (void)state;
    char buf[GTID_DESCRIBE_BYTES_MIN];
    struct gtid_set *set = set_of(U ":aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1000000000000000001-9223372036854775806," W
                                    ":aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1000000000000000001-9223372036854775806," W
                                    ":baaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1-9223372036854775806");
    gtid_set_describe(set, buf, sizeof buf);
    assert_non_null(strstr(buf, U));
    assert_non_null(strstr(buf, " ... (2 more ranges, 17446744073709551612 more transactions)"));
    gtid_set_del(set);
}

/* @@gtid_owned: the text of a MySQL 9.7.4 server on which five sessions owned a GTID each. */
static void test_owned_is_read_although_its_uuids_are_glued_together(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *set; /* NULL: refused */
    } rows[] = {
        { "", "" },
        { U ":12#25", U ":12" },
        { U ":5#15:7#183e11fa47-71ca-11e1-9e33-c80aa9429562:abc:9#19:12#1793e11fa4-71ca-11e1-9e33-c80aa9429562:7#16",
          U ":5:7:abc:9:12,93e11fa4-71ca-11e1-9e33-c80aa9429562:7" },
        { U ":14#31#32:15#33", U ":14-15" },
        { U ":5#15,\n" V ":3#4", V ":3," U ":5" },
        { U ":5", U ":5" },
        { U ":5#", NULL },
        { U ":5#x", NULL },
        { U ":5#" V ":7#16", NULL },
        { U ":5-6#15", NULL },
        { U ":5#153e11fa47-71ca", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct gtid_set *set = NULL;
        struct gtid_parse_error error = { 0, NULL };
        int rv = gtid_set_parse_owned(rows[i].text, strlen(rows[i].text), &set, &error);
        assert_int_equal(rv, rows[i].set == NULL ? GTID_ERR_SYNTAX : 0);
        if (rv == 0)
            assert_prints(set, rows[i].set);
        else
            assert_non_null(error.reason);
    }
}

/* A UUID alone is read in the three forms that servers take, and written in one. */
static void test_uuid_has_three_forms(void **state)
{
    (void)state;
    static const char *const good[] = { U, ("{" U "}"), "3E11FA4771CA11E19E33C80AA9429562" };
    static const char *const bad[] = {
        "", (U " "), (U ":1"), ("{" U), "{3e11fa4771ca11e19e33c80aa9429562}", "3e11fa47-71ca"
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint8_t uuid[GTID_UUID_BYTES];
        char text[GTID_UUID_CHARS + 1];
        assert_int_equal(gtid_uuid_parse(good[i], strlen(good[i]), uuid), 0);
        gtid_uuid_print(uuid, text);
        assert_string_equal(text, U);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t uuid[GTID_UUID_BYTES];
        assert_int_equal(gtid_uuid_parse(bad[i], strlen(bad[i]), uuid), GTID_ERR_SYNTAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_judged_as_the_server_judges_it),
        cmocka_unit_test(test_error_has_offset_and_reason),
        cmocka_unit_test(test_text_ends_where_its_length_says),
        cmocka_unit_test(test_print_separates_uuids_as_asked),
        cmocka_unit_test(test_describe_is_bounded_and_says_what_it_leaves_out),
        cmocka_unit_test(test_describe_takes_the_longest_interval),
        cmocka_unit_test(test_owned_is_read_although_its_uuids_are_glued_together),
        cmocka_unit_test(test_uuid_has_three_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
