/* SPDX-License-Identifier: Apache-2.0 */
/* Which texts are a KILL, and of which thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/kill.h"

static enum kill_scan_result scan(const char *text, struct kill_scan *out)
{
    return kill_scan((const uint8_t *)text, strlen(text), true, out);
}

/* Every way to write it that a server takes: the number is found where it stands. */
static void test_a_kill_is_found_however_it_is_written(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "KILL 77",
        "kill 77;",
        " \t\r\nKill\n77 \n",
        "KILL CONNECTION 77",
        "kIlL query\t77 ; ",
        "/* a comment */ KILL /* x */ 77 -- end",
        "-- a line\nKILL 77",
        "# a line\nKILL QUERY 77 # end",
        "/*!KILL 77*/",
        "/*!80000 KILL */ 77",
        "/*M!100100 KILL HARD CONNECTION 77 */",
        "KILL SOFT QUERY 77",
        "--\nKILL 77",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct kill_scan found = { 0 };
        if (scan(texts[i], &found) != KILL_SCAN_FOUND) fail_msg("not found: %s", texts[i]);
        assert_int_equal(found.thread_id, 77);
        assert_int_equal(found.len, 2);
        assert_memory_equal(texts[i] + found.at, "77", 2);
    }
}

/* What only looks like it passes. */
static void test_other_texts_are_no_kill(void **state)
{
    (void)state;
    static const char *const texts[] = { "",           "SELECT 1", "KILLER 5",    "KILL_5",   "kil",  "/* KILL 5 */",
                                         "-- KILL 5",  "# KILL 5", "SELECT KILL", "--KILL 5", "KILL", "/KILL 5",
                                         "\"KILL 5\"", "KILL5" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct kill_scan found;
        if (scan(texts[i], &found) != KILL_SCAN_NONE) fail_msg("taken for a KILL: %s", texts[i]);
    }
}

/* A thread that only the server could name, and anything behind it: nobody may guess. */
static void test_a_kill_that_cannot_be_read_is_said_to_be_one(void **state)
{
    (void)state;
    static const char *const texts[] = { "KILL @x",
                                         "KILL CONNECTION_ID()",
                                         "KILL 5+1",
                                         "KILL 5; KILL 6",
                                         "KILL(5)",
                                         "KILL 0x5",
                                         "KILL USER app",
                                         "KILL QUERY ID 5",
                                         "KILL -1",
                                         "KILL 5 6",
                                         "KILL 5 /* not ended",
                                         "KILL 99999999999999999999",
                                         "KILL '5'",
                                         "KILL 5;;" };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct kill_scan found;
        enum kill_scan_result result = scan(texts[i], &found);
        if (strcmp(texts[i], "KILL 5 /* not ended") == 0) {
            assert_int_equal(result, KILL_SCAN_FOUND); /* a server takes the rest for a comment */
        } else if (result != KILL_SCAN_UNREADABLE) {
            fail_msg("%d: %s", (int)result, texts[i]);
        }
    }
}

/* As bytes come in: nothing is decided before it can be, and the end is the same as of the whole. */
static void test_the_front_of_a_text_decides_nothing_too_early(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "/* c */ -- d\n  KILL QUERY 77", "/*!80000 */KILL 77", "/*! KILL 77 */", "SELECT 1", "killer", "/", "--", "-- x"
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct kill_scan found;
        enum kill_scan_result whole = scan(texts[i], &found);
        bool has_begun = false;
        for (size_t len = 0; len < strlen(texts[i]); len++) {
            enum kill_scan_result part = kill_scan((const uint8_t *)texts[i], len, false, &found);
            assert_true(part == KILL_SCAN_MORE || part == KILL_SCAN_BEGUN || part == KILL_SCAN_NONE);
            assert_false(has_begun && part != KILL_SCAN_BEGUN);
            has_begun = part == KILL_SCAN_BEGUN;
            if (part == KILL_SCAN_NONE) assert_int_equal(whole, KILL_SCAN_NONE);
            if (part == KILL_SCAN_BEGUN) assert_int_equal(whole, KILL_SCAN_FOUND);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_kill_is_found_however_it_is_written),
        cmocka_unit_test(test_other_texts_are_no_kill),
        cmocka_unit_test(test_a_kill_that_cannot_be_read_is_said_to_be_one),
        cmocka_unit_test(test_the_front_of_a_text_decides_nothing_too_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
