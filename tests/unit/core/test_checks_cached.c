/* SPDX-License-Identifier: Apache-2.0 */
/* Settings that a consumer keeps for the life of a task, and checks that an operator waives by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "core/checks.h"
#include "core/error.h"

static struct facts server_of(void)
{
    return (struct facts){ .version = "8.4.3",
                           .version_id = 80403,
                           .time_zone = "SYSTEM",
                           .system_time_zone = "UTC",
                           .offsets = { .are_known = true },
                           .sql_mode = "STRICT_TRANS_TABLES,NO_ZERO_DATE",
                           .lower_case_table_names = "0",
                           .character_set_server = "utf8mb4",
                           .collation_server = "utf8mb4_0900_ai_ci" };
}

static struct check_list judge(const struct facts *a, const struct facts *b, bool keeps)
{
    const struct checks_servers in = {
        .old_name = "a", .new_name = "b", .old_settings = a, .new_facts = b, .consumer_keeps_settings = keeps
    };
    struct check_list list = { 0 };
    checks_add_cached(&list, &in);
    assert_int_equal(list.status, 0);
    return list;
}

static void expect(const struct facts *a, const struct facts *b, bool keeps, const char *name, enum check_state state,
                   const char *detail)
{
    struct check_list list = judge(a, b, keeps);
    size_t at = 0;
    while (at < list.count && strcmp(list.items[at].name, name) != 0)
        at++;
    if (at == list.count) fail_msg("no line %s", name);
    const struct check *c = &list.items[at];
    if (c->state != state || strstr(c->detail, detail) == NULL) fail_msg("%s: %d %s", name, c->state, c->detail);
    assert_string_equal(c->id, "C17");
    assert_int_equal(*c->todo == '\0', state == CHECK_OK);
    for (size_t i = 0; i < list.count; i++)
        if (i != at && list.items[i].state != CHECK_OK) fail_msg("%s: %s", list.items[i].name, list.items[i].detail);
    check_list_free(&list);
}

/* Two servers alike: six lines, all of them well. */
static void test_equal_settings_pass(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    struct check_list list = judge(&a, &b, true);
    assert_int_equal(list.count, 6);
    assert_int_equal(check_verdict(&list), CUTOVER_VERDICT_PASS);
    assert_int_equal(check_worst(&list)->state, CHECK_OK);
    check_list_free(&list);
}

/* A difference fails where the consumer keeps the setting, and warns where that is not known. */
static void test_difference_fails_for_dm_and_warns_for_others(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    strcpy(b.lower_case_table_names, "1");
    expect(&a, &b, true, "lower_case_table_names", CHECK_FAIL, "a: 0, b: 1");
    expect(&a, &b, false, "lower_case_table_names", CHECK_WARN, "a: 0, b: 1");
    b = server_of();
    strcpy(b.collation_server, "utf8mb4_bin");
    expect(&a, &b, true, "collation_server", CHECK_FAIL, "b: utf8mb4_bin");
    b = server_of();
    strcpy(b.character_set_server, "latin1");
    expect(&a, &b, true, "character_set_server", CHECK_FAIL, "a: utf8mb4, b: latin1");
}

/* Another version family warns with DM too: upgrades go that way. */
static void test_version_family_warns(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    strcpy(b.version, "8.0.36");
    b.version_id = 80036;
    expect(&a, &b, true, "version-family", CHECK_WARN, "a: 8.4.3, b: 8.0.36");
    b.version_id = 80407;
    expect(&a, &b, true, "version-family", CHECK_OK, "");
}

/* Zones are compared by what they mean: one name can be two hours, two names one, and a summer makes a difference. */
static void test_time_zones_are_compared_by_meaning(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    strcpy(b.time_zone, "+00:00");
    expect(&a, &b, true, "time_zone", CHECK_OK, "a: SYSTEM (UTC) = +00:00, b: +00:00 = +00:00");
    a = b = server_of();
    strcpy(a.system_time_zone, "CST");
    strcpy(b.system_time_zone, "CST");
    a.offsets = (struct facts_offsets){ true, 8 * 3600, 8 * 3600, 8 * 3600 };
    b.offsets = (struct facts_offsets){ true, -6 * 3600, -5 * 3600, -6 * 3600 };
    expect(&a, &b, true, "time_zone", CHECK_FAIL,
           "a: SYSTEM (CST) = +08:00, b: SYSTEM (CST) = -06:00 in January, -05:00 in July, -06:00 now");
    a = b = server_of();
    a.offsets = (struct facts_offsets){ true, 3600, 3600, 3600 };
    b.offsets = (struct facts_offsets){ true, 3600, 7200, 3600 };
    expect(&a, &b, true, "time_zone", CHECK_FAIL, "+02:00 in July");
    b.offsets.are_known = false;
    expect(&a, &b, true, "time_zone", CHECK_FAIL, "cannot resolve");
}

/* sql_mode is a set: its order means nothing, and the words that differ are named. */
static void test_sql_mode_is_a_set(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    strcpy(b.sql_mode, "NO_ZERO_DATE,STRICT_TRANS_TABLES");
    expect(&a, &b, true, "sql_mode", CHECK_OK, "");
    strcpy(b.sql_mode, "STRICT_TRANS_TABLES,ANSI_QUOTES,NO_ZERO");
    expect(&a, &b, true, "sql_mode", CHECK_FAIL, "only a has: NO_ZERO_DATE; only b has: ANSI_QUOTES,NO_ZERO");
    strcpy(b.sql_mode, "");
    expect(&a, &b, true, "sql_mode", CHECK_FAIL, "only a has: STRICT_TRANS_TABLES,NO_ZERO_DATE; only b has: nothing");
}

/* 5.7's utf8 is 8.0's utf8mb3. */
static void test_utf8_has_two_names(void **state)
{
    (void)state;
    struct facts a = server_of(), b = server_of();
    strcpy(a.character_set_server, "utf8");
    strcpy(b.character_set_server, "utf8mb3");
    strcpy(a.collation_server, "utf8_general_ci");
    strcpy(b.collation_server, "utf8mb3_general_ci");
    expect(&a, &b, true, "collation_server", CHECK_OK, "");
    strcpy(b.collation_server, "utf8mb3_bin");
    expect(&a, &b, true, "collation_server", CHECK_FAIL, "utf8mb3_bin");
}

/* A dead server that this process never saw cannot be compared: said, and no obstacle. */
static void test_unknown_old_settings_warn(void **state)
{
    (void)state;
    struct facts b = server_of();
    expect(NULL, &b, true, "settings", CHECK_WARN, "not known");
}

static void test_waive_parse(void **state)
{
    static const char *const good[] = { "sql_mode", "dm-ddl-locks", "time_zone,sql_mode,version-family" };
    static const char *const bad[] = { "",        "sql_mod",          "sql_mode,", "gtid_mode",
                                       "version", "gtid-D in gtid-E", "bypass",    "sql_mode, time_zone" };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        uint32_t waived = 0;
        struct text error = TEXT_INIT;
        assert_int_equal(checks_waive_parse(good[i], &waived, &error), 0);
        assert_true(waived != 0);
        assert_int_equal(error.len, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint32_t waived = 0;
        struct text error = TEXT_INIT;
        if (checks_waive_parse(bad[i], &waived, &error) != SLUICE_ERR_INVALID) fail_msg("'%s'", bad[i]);
        assert_non_null(strstr(text_str(&error), "these can be: time_zone, sql_mode, "));
        text_free(&error);
    }
}

/* What is named warns, once, and says so; what is not named, and what no name reaches, stays a failure. */
static void test_waived_lines_warn(void **state)
{
    (void)state;
    uint32_t waived = 0;
    struct text error = TEXT_INIT;
    struct facts a = server_of(), b = server_of();
    strcpy(b.sql_mode, "");
    strcpy(b.lower_case_table_names, "1");
    struct check_list list = judge(&a, &b, true);
    assert_int_equal(checks_waive_parse("sql_mode,collation_server", &waived, &error), 0);
    checks_waive(&list, waived);
    checks_waive(&list, waived);
    assert_int_equal(check_verdict(&list), CUTOVER_VERDICT_REFUSED);
    for (size_t i = 0; i < list.count; i++) {
        const struct check *c = &list.items[i];
        if (strcmp(c->name, "sql_mode") == 0) {
            assert_int_equal(c->state, CHECK_WARN);
            assert_int_equal(strncmp(c->detail, "waived: only a has: ", 20), 0);
        }
        if (strcmp(c->name, "collation_server") == 0) assert_int_equal(c->state, CHECK_OK);
        if (strcmp(c->name, "lower_case_table_names") == 0) assert_int_equal(c->state, CHECK_FAIL);
    }
    assert_int_equal(checks_waive_parse("lower_case_table_names", &waived, &error), 0);
    checks_waive(&list, waived);
    assert_int_equal(check_verdict(&list), CUTOVER_VERDICT_PASS);
    check_add(&list, "C02", "gtid-S(t1) in gtid-E", CHECK_FAIL, "x", "y");
    checks_waive(&list, UINT32_MAX);
    assert_int_equal(check_verdict(&list), CUTOVER_VERDICT_REFUSED);
    check_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_settings_pass),
        cmocka_unit_test(test_difference_fails_for_dm_and_warns_for_others),
        cmocka_unit_test(test_version_family_warns),
        cmocka_unit_test(test_time_zones_are_compared_by_meaning),
        cmocka_unit_test(test_sql_mode_is_a_set),
        cmocka_unit_test(test_utf8_has_two_names),
        cmocka_unit_test(test_unknown_old_settings_warn),
        cmocka_unit_test(test_waive_parse),
        cmocka_unit_test(test_waived_lines_warn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
