/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>
#include "cli/gtid_command.h"

/* Runs `gtid WORDS...`; the outputs are static texts, valid until the next call. */
struct outcome {
    int code;
    const char *out, *err;
};

#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

static struct outcome run(const char *const *words)
{
    static char out[4096], err[4096];
    char *argv[16] = { strdup("gtid") };
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = strdup(words[argc - 1]);
    memset(out, 0, sizeof out);
    memset(err, 0, sizeof err);
    FILE *o = fmemopen(out, sizeof out, "w"), *e = fmemopen(err, sizeof err, "w");
    struct outcome result = { gtid_command(argc, argv, o, e), out, err };
    fclose(o);
    fclose(e);
    while (argc > 0)
        free(argv[--argc]);
    return result;
}

static void expect(struct outcome got, int code, const char *out)
{
    assert_string_equal(got.out, out);
    assert_string_equal(got.err, "");
    assert_int_equal(got.code, code);
}

/* Each command by example. */
static void test_command_answers_on_one_line(void **state)
{
    (void)state;
    expect(RUN("normalize", V ":5-6:4,\n" U ":B:1"), 0, V ":4-6," U ":b:1\n");
    expect(RUN("normalize", ""), 0, "\n");
    expect(RUN("union", U ":1-3", U ":4"), 0, U ":1-4\n");
    expect(RUN("subtract", U ":1-3", U ":2"), 0, U ":1:3\n");
    expect(RUN("intersect", U ":1-3", U ":2-9"), 0, U ":2-3\n");
    expect(RUN("count", U ":1-3:t:7"), 0, "4\n");
    expect(RUN("contains", U ":1-3", U ":2"), 0, "yes\n");
    expect(RUN("contains", U ":2", U ":1-3"), 1, "no\n");
}

/* --json gives one object, wherever the option stands; "no" is an answer, not a failure. */
static void test_command_answers_in_json(void **state)
{
    (void)state;
    expect(RUN("normalize", U ":1", "--json"), 0, "{\"result\":true,\"msg\":\"\",\"set\":\"" U ":1\"}\n");
    expect(RUN("--json", "count", U ":1-9"), 0, "{\"result\":true,\"msg\":\"\",\"count\":9}\n");
    expect(RUN("contains", "--json", U ":1-3", U ":2-4"), 1,
           "{\"result\":true,\"msg\":\"\",\"contains\":false,\"missing\":\"" U ":4\"}\n");
    expect(RUN("contains", "--json", U ":1-3", U ":2"), 0,
           "{\"result\":true,\"msg\":\"\",\"contains\":true,\"missing\":\"\"}\n");
}

/* A set that is none: exit 2, which of the two it is, the byte, and the reason. */
static void test_command_names_byte_and_reason_of_a_syntax_error(void **state)
{
    (void)state;
    struct outcome got = RUN("union", U ":1", U ":1-");
    assert_int_equal(got.code, 2);
    assert_string_equal(got.err, "sluice gtid: B is no GTID set: at byte 39: a number is expected\n");
    assert_string_equal(got.out, "");
    expect(RUN("count", "x", "--json"), 2,
           "{\"result\":false,\"msg\":\"A is no GTID set: at byte 0: a UUID is expected\"}\n");
}

/* Wrong words: exit 2, on stderr what is wrong and where help is; never an answer. */
static void test_command_refuses_wrong_words(void **state)
{
    (void)state;
    struct outcome got = run((const char *const[]){ NULL });
    assert_int_equal(got.code, 2);
    assert_string_equal(got.err, "sluice gtid: a command is missing; see: sluice gtid --help\n");
    static const char *const words[][5] = {
        { "unite", "", "" }, { "union", "" },        { "union", "", "", "" }, { "count" },
        { "count", "", "" }, { "count", "--x", "" }, { "union", "-", "-" },
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        got = run(words[i]);
        assert_int_equal(got.code, 2);
        assert_string_equal(got.out, "");
        assert_true(strlen(got.err) > 20);
    }
}

/* Bytes that are no text do not reach the terminal, and leave the JSON valid. */
static void test_command_masks_bytes_of_wrong_words(void **state)
{
    (void)state;
    struct outcome got = RUN("\x1b[2J\xff\"", "--json");
    json_t *doc = json_loads(got.out, 0, NULL);
    assert_int_equal(got.code, 2);
    assert_string_equal(json_string_value(json_object_get(doc, "msg")),
                        "unknown command '?[2J?\"'; see: sluice gtid --help");
    json_decref(doc);
}

/* --help prints to stdout and is no failure. */
static void test_command_has_help(void **state)
{
    (void)state;
    struct outcome got = RUN("union", "--help");
    assert_int_equal(got.code, 0);
    assert_non_null(strstr(got.out, "contains A B"));
}

/* - is standard input to its end: here more than a pipe or an argument holds, with line breaks. */
static void test_command_reads_standard_input(void **state)
{
    (void)state;
    FILE *input = tmpfile();
    assert_non_null(input);
    fprintf(input, "%s", U);
    for (int i = 1; i <= 50000; i++)
        fprintf(input, ":%d", 2 * i);
    fprintf(input, ",\n%s:7\n", V);
    rewind(input);
    int saved = dup(STDIN_FILENO);
    assert_true(dup2(fileno(input), STDIN_FILENO) >= 0);
    struct outcome got = RUN("count", "-");
    assert_true(dup2(saved, STDIN_FILENO) >= 0);
    close(saved);
    fclose(input);
    expect(got, 0, "50001\n");
}

/* An answer that cannot be written is a failure, although it is "yes". */
static void test_command_fails_when_its_answer_is_not_written(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w"), *null = fopen("/dev/null", "w");
    char words[4][64] = { "gtid", "contains", U ":1", U ":1" };
    char *argv[] = { words[0], words[1], words[2], words[3], NULL };
    assert_int_equal(gtid_command(4, argv, full, null), 1);
    fclose(full);
    fclose(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_answers_on_one_line),
        cmocka_unit_test(test_command_answers_in_json),
        cmocka_unit_test(test_command_names_byte_and_reason_of_a_syntax_error),
        cmocka_unit_test(test_command_refuses_wrong_words),
        cmocka_unit_test(test_command_masks_bytes_of_wrong_words),
        cmocka_unit_test(test_command_has_help),
        cmocka_unit_test(test_command_reads_standard_input),
        cmocka_unit_test(test_command_fails_when_its_answer_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
