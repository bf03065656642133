/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/text.h"
#include "upstream/answers.h"
#include "upstream/grants.h"
#include "upstream/rows.h"

/* SHOW GRANTS as a server answers it. */
static struct rows *grants_of(const char *const *lines)
{
    struct rows *r = rows_new(1);
    assert_non_null(r);
    assert_int_equal(rows_set_name(r, 0, "Grants for sluice@%"), 0);
    for (; *lines != NULL; lines++) {
        unsigned long len = strlen(*lines);
        char *cell = strdup(*lines);
        assert_int_equal(rows_add(r, &cell, &len), 0);
        free(cell);
    }
    return r;
}

static void expect_missing(const char *const *lines, const char *want)
{
    static const char *const needed[] = { "REPLICATION CLIENT", "PROCESS", "CONNECTION_ADMIN|SUPER", NULL };
    struct rows *r = grants_of(lines);
    struct text out = TEXT_INIT;
    grants_name_missing(r, needed, "sluice@%", &out);
    assert_string_equal(text_str(&out), want);
    text_free(&out);
    rows_del(r);
}

/* Static and dynamic privileges stand on lines of their own; together they are enough. */
static void test_all_there(void **state)
{
    (void)state;
    expect_missing((const char *[]){ "GRANT PROCESS, REPLICATION CLIENT ON *.* TO `sluice`@`%`",
                                     "GRANT CONNECTION_ADMIN ON *.* TO `sluice`@`%`", NULL },
                   "");
    expect_missing((const char *[]){ "GRANT PROCESS, SUPER, REPLICATION CLIENT ON *.* TO `sluice`@`%`", NULL }, "");
}

/* What is missing is named as the statement that grants it. */
static void test_missing_is_named(void **state)
{
    (void)state;
    expect_missing((const char *[]){ "GRANT USAGE ON *.* TO `sluice`@`%`", NULL },
                   "GRANT REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.* TO 'sluice'@'%'");
    expect_missing((const char *[]){ "GRANT PROCESS ON *.* TO `sluice`@`%` WITH GRANT OPTION",
                                     "GRANT CONNECTION_ADMIN ON *.* TO `sluice`@`%`", NULL },
                   "GRANT REPLICATION CLIENT ON *.* TO 'sluice'@'%'");
}

/* "ALL PRIVILEGES" holds the static privileges and no dynamic one; SUPER is static. */
static void test_all_privileges(void **state)
{
    (void)state;
    expect_missing((const char *[]){ "GRANT ALL PRIVILEGES ON *.* TO 'sluice'@'%'", NULL }, "");
    struct rows *r = grants_of((const char *[]){ "GRANT ALL PRIVILEGES ON *.* TO 'sluice'@'%'", NULL });
    assert_false(grants_has(r, "SYSTEM_USER"));
    assert_true(grants_has(r, "SUPER"));
    rows_del(r);
}

/* A privilege on one database, or one whose name only begins alike, is not the privilege. */
static void test_lesser_grants_do_not_count(void **state)
{
    (void)state;
    expect_missing((const char *[]){ "GRANT REPLICATION CLIENTS, PROCESSES, XPROCESS ON *.* TO `sluice`@`%`",
                                     "GRANT ALL PRIVILEGES ON `test`.* TO `sluice`@`%`",
                                     "GRANT `process`@`%` TO `sluice`@`%`", NULL },
                   "GRANT REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.* TO 'sluice'@'%'");
}

/* Version texts of servers, and of what is none. */
static void test_versions(void **state)
{
    (void)state;
    assert_int_equal(answers_version_id("8.4.7"), 80407);
    assert_int_equal(answers_version_id("5.7.44-log"), 50744);
    assert_int_equal(answers_version_id("9.7.0-er2"), 90700);
    assert_int_equal(answers_version_id("garbage"), 0);
    assert_true(answers_is_mariadb("5.5.5-10.11.6-MariaDB-log"));
    assert_false(answers_is_mariadb("8.0.36"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there),      cmocka_unit_test(test_missing_is_named),
        cmocka_unit_test(test_all_privileges), cmocka_unit_test(test_lesser_grants_do_not_count),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
