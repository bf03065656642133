/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of pb.Master that are made by hand, byte for byte, and answers that are cut anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "consumer/dm_grpc.h"
#include "core/error.h"

static void expect_bytes(struct text *t, const void *bytes, size_t len)
{
    assert_int_equal(t->status, 0);
    assert_int_equal(t->len, len);
    assert_memory_equal(text_str(t), bytes, len);
    text_free(t);
}

/* Each request is what DM's own proto makes of it; the first one was tried on a real DM (00, length, 08 02 12 08 "mysql-01"). */
static void test_requests(void **state)
{
    (void)state;
    struct text t = TEXT_INIT;
    dm_grpc_worker_relay(&t, DM_RELAY_PAUSE, "mysql-01");
    expect_bytes(&t, "\0\0\0\0\x0c\x08\x02\x12\x08mysql-01", 17);
    dm_grpc_worker_relay(&t, DM_RELAY_RESUME, "m");
    expect_bytes(&t, "\0\0\0\0\x05\x08\x03\x12\x01m", 10);
    dm_grpc_relay(&t, DM_RELAY_V2_STOP, "m", "");
    expect_bytes(&t, "\0\0\0\0\x05\x08\x02\x12\x01m", 10);
    dm_grpc_relay(&t, DM_RELAY_V2_START, "m", "w1");
    expect_bytes(&t, "\0\0\0\0\x09\x08\x01\x12\x01m\x1a\x02w1", 14);
    dm_grpc_start_validation(&t, "m", "t1", "");
    expect_bytes(&t, "\0\0\0\0\x07\x1a\x01m\x22\x02t1", 12);
    dm_grpc_start_validation(&t, "m", "t1", "fast");
    expect_bytes(&t,
                 "\0\0\0\0\x0d\x0a\x04"
                 "fast\x1a\x01m\x22\x02t1",
                 18);
    dm_grpc_stop_validation(&t, "m", "t1");
    expect_bytes(&t, "\0\0\0\0\x07\x0a\x01m\x12\x02t1", 12);
    dm_grpc_ddl_locks(&t, "m");
    expect_bytes(&t, "\0\0\0\0\x03\x12\x01m", 8);
}

/* A name of 300 bytes has a length of two bytes. */
static void test_long_names_have_long_lengths(void **state)
{
    char name[301];
    struct text t = TEXT_INIT;
    (void)state;
    memset(name, 'n', 300);
    name[300] = '\0';
    dm_grpc_ddl_locks(&t, name);
    assert_int_equal(t.len, 5 + 3 + 300);
    assert_memory_equal(text_str(&t), "\0\0\0\x01\x2f\x12\xac\x02n", 9);
    text_free(&t);
}

static int operated(const char *bytes, size_t len, enum dm_grpc_shape shape, char *error)
{
    return dm_grpc_operated((const uint8_t *)bytes, len, shape, error);
}

/* Taken, refused at the top, refused for the source; and an op in front shifts the fields. */
static void test_answers(void **state)
{
    char error[DM_TEXT_LEN + 1] = "";
    (void)state;
    assert_int_equal(operated("\0\0\0\0\2\x08\x01", 7, DM_GRPC_RESULT_1, error), 0);
    assert_int_equal(operated("\0\0\0\0\4\x08\x02\x10\x01", 9, DM_GRPC_RESULT_2, error), 0);
    assert_int_equal(operated("\0\0\0\0\4\x12\x02no", 9, DM_GRPC_RESULT_1, error), SLUICE_ERR_REFUSED);
    assert_string_equal(error, "no");
    assert_int_equal(operated("\0\0\0\0\0", 5, DM_GRPC_RESULT_1, error), SLUICE_ERR_REFUSED);
    assert_string_equal(error, "refused without a reason");
    assert_int_equal(operated("\0\0\0\0\x0a\x08\x02\x10\x01\x22\x04\x12\x02no", 15, DM_GRPC_RESULT_2, error),
                     SLUICE_ERR_REFUSED);
    assert_string_equal(error, "no");
    /* Fields that a later DM may add are stepped over. */
    assert_int_equal(operated("\0\0\0\0\x12\x08\x01\x49"
                              "12345678\x55"
                              "1234\x58\x05",
                              23, DM_GRPC_RESULT_1, error),
                     0);
}

/* Whatever is cut off, and lengths that lie: an error, never a byte beyond the end (AddressSanitizer sees to that). */
static void test_broken_answers(void **state)
{
    static const char whole[] = "\0\0\0\0\x0a\x08\x02\x10\x01\x22\x04\x12\x02no";
    static const struct {
        const char *bytes;
        size_t len;
    } lies[] = {
        { "\1\0\0\0\2\x08\x01", 7 },                                            /* compressed */
        { "\0\xff\xff\xff\xff\x08\x01", 7 },                                    /* 4 GiB */
        { "\0\0\0\0\1\x08\x01", 7 },                                            /* more behind it */
        { "\0\0\0\0\2\x12\x7f", 7 },                                            /* a text longer than the message */
        { "\0\0\0\0\x0b\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 16 },     /* of 2^64 - 1 bytes */
        { "\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 17 }, /* a number of 11 bytes */
        { "\0\0\0\0\2\x0b\x01", 7 },                                            /* a group */
    };
    char error[DM_TEXT_LEN + 1] = "";
    (void)state;
    for (size_t len = 0; len < sizeof whole - 1; len++)
        assert_int_equal(operated(whole, len, DM_GRPC_RESULT_2, error), SLUICE_ERR_PROTOCOL);
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        if (operated(lies[i].bytes, lies[i].len, DM_GRPC_RESULT_1, error) != SLUICE_ERR_PROTOCOL) fail_msg("%zu", i);
    }
}

/* The locks: their ids and tasks; none is an empty list that is known. */
static void test_ddl_locks(void **state)
{
    static const char two[] = "\0\0\0\0\x15\x08\x01\x1a\x08\x0a\x02id\x12\x02t1\x1a\x07\x0a\x03id2\x12\0";
    char error[DM_TEXT_LEN + 1] = "";
    struct dm_facts f = { 0 };
    (void)state;
    assert_int_equal(dm_grpc_read_locks((const uint8_t *)two, sizeof two - 1, &f, error), 0);
    assert_true(f.locks_are_known);
    assert_int_equal(f.lock_count, 2);
    assert_string_equal(f.locks[0].id, "id");
    assert_string_equal(f.locks[0].task, "t1");
    assert_string_equal(f.locks[1].id, "id2");
    dm_facts_free(&f);
    assert_int_equal(dm_grpc_read_locks((const uint8_t *)"\0\0\0\0\2\x08\x01", 7, &f, error), 0);
    assert_true(f.locks_are_known);
    assert_int_equal(f.lock_count, 0);
    assert_int_equal(dm_grpc_read_locks((const uint8_t *)"\0\0\0\0\6\x08\x01\x1a\x02\x0a\x7f", 11, &f, error),
                     SLUICE_ERR_PROTOCOL);
    assert_false(f.locks_are_known);
    dm_facts_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),  cmocka_unit_test(test_long_names_have_long_lengths),
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_ddl_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
