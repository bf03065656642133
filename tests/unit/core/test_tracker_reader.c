/* SPDX-License-Identifier: Apache-2.0 */
/* Which statements name a binlog reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/tracker_reader.h"

#define UUID "f017c7e3-e763-11f1-b68b-02fc00000001"

static enum tracker_reader_result scan(const char *text, size_t len, char out[TRACKER_READER_UUID_LEN + 1])
{
    return tracker_reader_scan((const uint8_t *)text, len, out);
}

/* As MySQL 5.7, MySQL 8 and go-mysql write it; every shorter front of it says that more is needed. */
static void test_a_reader_that_names_itself_is_found(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SET @slave_uuid = '" UUID "', @replica_uuid = '" UUID "'",
        "SET @slave_uuid= '" UUID "'",
        "SET @replica_uuid='" UUID "'",
        " set\t@SLAVE_UUID := \"F017C7E3-E763-11F1-B68B-02FC00000001\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char uuid[TRACKER_READER_UUID_LEN + 1] = "";
        size_t needed = (size_t)(strpbrk(strchr(texts[i], '-'), "'\"") - texts[i]) + 1;
        for (size_t len = 0; len < needed; len++)
            assert_int_equal(scan(texts[i], len, uuid), TRACKER_READER_MORE);
        assert_string_equal(uuid, "");
        for (size_t len = needed; len <= strlen(texts[i]); len++)
            assert_int_equal(scan(texts[i], len, uuid), TRACKER_READER_FOUND);
        assert_string_equal(uuid, UUID);
    }
}

/* All else is told apart where it differs, and nothing is taken from it. */
static void test_other_statements_name_nobody(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SELECT 1",
        "SET PASSWORD = 'x'",
        "SET @slave",
        "SETTING",
        "SET@slave_uuid = '" UUID "'x",
        "SET @source_binlog_checksum = 'NONE'",
        "SET @slave_uuidx = '" UUID "'",
        "SET @slave_uuid = UUID()",
        "SET @slave_uuid = 'f017c7e3e76311f1b68b02fc00000001'",
        "SET @slave_uuid = 'f017c7e3-e763-11f1-b68b-02fc0000000g'",
        "SET @slave_uuid = '" UUID "x'",
        "SET @slave_uuid = '" UUID "\"",
        "SET GLOBAL slave_uuid = '" UUID "'",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char uuid[TRACKER_READER_UUID_LEN + 1] = "";
        enum tracker_reader_result result = scan(texts[i], strlen(texts[i]), uuid);
        if (i == 2) {
            assert_int_equal(result, TRACKER_READER_MORE);
        } else if (result != TRACKER_READER_NONE) {
            fail_msg("taken for a reader's name: %s", texts[i]);
        }
        assert_string_equal(uuid, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reader_that_names_itself_is_found),
        cmocka_unit_test(test_other_statements_name_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
