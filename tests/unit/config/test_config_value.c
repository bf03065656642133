/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"
#include "fix_config.h"

static void expect_duration(const char *s, uint32_t expected)
{
    uint32_t ms = 77;
    assert_int_equal(config_parse_duration(s, &ms), 0);
    assert_int_equal(ms, expected);
}

/* Every unit, sums of units, and a bare 0. */
static void test_duration_reads_units_and_sums(void **state)
{
    (void)state;
    expect_duration("0", 0);
    expect_duration("0s", 0);
    expect_duration("500ms", 500);
    expect_duration("10s", 10000);
    expect_duration("1m", 60000);
    expect_duration("1m30s", 90000);
    expect_duration("2h", 7200000);
    expect_duration("4294967295ms", UINT32_MAX);
}

/* A number without a unit, a unit without a number, signs, fractions, blanks and what does not fit are no durations. */
static void test_duration_refuses_all_else(void **state)
{
    static const char *const wrong[] = {
        "",        "8",   "s",   "8 s", " 8s", "8s ",          "-1s",   "+1s",
        "1.5s",    "1d",  "10S", "1s5", "s1",  "4294967296ms", "1200h", "99999999999999999999s",
        "1h1193h", "0x5s"
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint32_t ms = 77;
        if (config_parse_duration(wrong[i], &ms) != SLUICE_ERR_SYNTAX) fail_msg("'%s' was accepted", wrong[i]);
        assert_int_equal(ms, 77);
    }
}

/* What is printed is what would be read again, in the largest unit that fits. */
static void test_duration_prints_what_it_reads(void **state)
{
    static const struct {
        uint32_t ms;
        const char *text;
    } cases[] = { { 0, "0" },       { 1, "1ms" },    { 1500, "1500ms" }, { 8000, "8s" },
                  { 90000, "90s" }, { 60000, "1m" }, { 3600000, "1h" } };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct text t = TEXT_INIT;
        config_print_duration(cases[i].ms, &t);
        assert_string_equal(text_str(&t), cases[i].text);
        expect_duration(text_str(&t), cases[i].ms);
        text_free(&t);
    }
}

/* Names, IPv4 and IPv6 are read into a normal form, so that equal addresses are equal texts, and print as they are written. */
static void test_address_is_normalized(void **state)
{
    static const struct {
        const char *in, *host, *out;
        uint16_t port;
    } cases[] = {
        { "10.0.0.1:3306", "10.0.0.1", "10.0.0.1:3306", 3306 },
        { "DB-a.Example.com:1", "db-a.example.com", "db-a.example.com:1", 1 },
        { "[2001:DB8:0:0::1]:65535", "2001:db8::1", "[2001:db8::1]:65535", 65535 },
        { "[::]:3400", "::", "[::]:3400", 3400 },
        { "my_host:33060", "my_host", "my_host:33060", 33060 },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_address a = { 0 };
        struct text t = TEXT_INIT;
        assert_int_equal(config_parse_address(cases[i].in, &a), 0);
        assert_string_equal(a.host, cases[i].host);
        assert_int_equal(a.port, cases[i].port);
        config_print_address(&a, &t);
        assert_string_equal(text_str(&t), cases[i].out);
        text_free(&t);
        mem_free(a.host);
    }
}

/* No port, port 0, too large a port, IPv6 without brackets, IPv4 in brackets, what is neither name nor address. */
static void test_address_refuses_all_else(void **state)
{
    static const char *const wrong[] = { "",           "host",          "host:",       ":3306",      "host:0",
                                         "host:65536", "host:99999999", "host:33a",    "::1:3306",   "[::1]",
                                         "[::1]3306",  "[::1:3306",     "[1.2.3.4]:1", "1.2.3:3306", "1.2.3.400:1",
                                         "a b:1",      "h\xc3\xa9:1",   "-a:1",        "host:+1",    "[]:1",
                                         "host: 1" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct config_address a = { 0 };
        if (config_parse_address(wrong[i], &a) != SLUICE_ERR_SYNTAX) fail_msg("'%s' was accepted", wrong[i]);
        assert_null(a.host);
    }
}

static void expect_secret_refused(struct fix_config *f, const char *name, int code, const char *part)
{
    char path[128], *secret = NULL, *reason = NULL;
    snprintf(path, sizeof path, "%s%s%s", f->dir, name[0] == '\0' ? "" : "/", name);
    assert_int_equal(config_read_secret(path, &secret, &reason), code);
    assert_null(secret);
    if (strstr(reason, part) == NULL) fail_msg("'%s' does not say '%s'", reason, part);
    mem_free(reason);
}

/* The first line counts, without its line end, also of a file from Windows. */
static void test_secret_is_the_first_line(void **state)
{
    struct fix_config *f = *state;
    char *secret = NULL, *reason = NULL;
    fix_config_file(f, "password", "pass word\r\nsecond\n", 0400);
    assert_int_equal(config_read_secret(f->password, &secret, &reason), 0);
    assert_string_equal(secret, "pass word");
    mem_free(secret);
}

/* A file that the group or others have access to is refused, with the command that helps. */
static void test_secret_for_others_is_refused(void **state)
{
    static const mode_t modes[] = { 0604, 0640, 0644, 0620, 0602, 0610, 0666 };
    struct fix_config *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        fix_config_file(f, "open", "geheim\n", modes[i]);
        expect_secret_refused(f, "open", SLUICE_ERR_CONFIG, "run: chmod 600 ");
    }
}

/* An empty file, one that is too long, a folder and a missing one are refused, each for its own reason. */
static void test_secret_that_is_none_is_refused(void **state)
{
    struct fix_config *f = *state;
    char longer[4200];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    fix_config_file(f, "empty", "\nsecond\n", 0600);
    expect_secret_refused(f, "empty", SLUICE_ERR_CONFIG, "the first line of ");
    fix_config_file(f, "empty", longer, 0600);
    expect_secret_refused(f, "empty", SLUICE_ERR_CONFIG, "longer than 4096 bytes");
    expect_secret_refused(f, "", SLUICE_ERR_CONFIG, "no regular file");
    expect_secret_refused(f, "missing", SLUICE_ERR_IO, "No such file or directory; create the file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_duration_reads_units_and_sums),
        cmocka_unit_test(test_duration_refuses_all_else),
        cmocka_unit_test(test_duration_prints_what_it_reads),
        cmocka_unit_test(test_address_is_normalized),
        cmocka_unit_test(test_address_refuses_all_else),
        cmocka_unit_test_setup_teardown(test_secret_is_the_first_line, fix_config_up, fix_config_down),
        cmocka_unit_test_setup_teardown(test_secret_for_others_is_refused, fix_config_up, fix_config_down),
        cmocka_unit_test_setup_teardown(test_secret_that_is_none_is_refused, fix_config_up, fix_config_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
