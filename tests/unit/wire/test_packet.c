/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/packet.h"
#include "player.h"

/* Each width of a length-encoded number, with one byte more behind it, exactly, and one byte too few. */
static void test_lenenc_reads_every_width(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        uint64_t value;
    } cases[] = {
        { BYTES("\x00"), 0 },
        { BYTES("\xfa"), 250 },
        { BYTES("\xfc\xfb\x00"), 251 },
        { BYTES("\xfc\xff\xff"), 65535 },
        { BYTES("\xfd\x01\x02\x03"), 0x030201 },
        { BYTES("\xfe\xff\xff\xff\xff\xff\xff\xff\xff"), UINT64_MAX },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const uint8_t *p = (const uint8_t *)cases[i].bytes;
        uint64_t value = 1;
        size_t used = 0;
        assert_int_equal(packet_read_lenenc(p, cases[i].len, &value, &used), 0);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(used, cases[i].len);
        assert_int_equal(packet_read_lenenc(p, cases[i].len - 1, &value, &used), SLUICE_ERR_PROTOCOL);
        assert_int_equal(used, cases[i].len); /* untouched */
    }
}

/* NULL (0xfb) and the mark of an error (0xff) are no numbers. */
static void test_lenenc_refuses_null_and_error(void **state)
{
    (void)state;
    uint64_t value = 0;
    size_t used = 0;
    assert_int_equal(packet_read_lenenc((const uint8_t *)"\xfb", 1, &value, &used), SLUICE_ERR_PROTOCOL);
    assert_int_equal(packet_read_lenenc((const uint8_t *)"\xff\0\0\0\0\0\0\0\0", 9, &value, &used),
                     SLUICE_ERR_PROTOCOL);
}

/* In place of a greeting there is no "#sqlstate"; sequence number and length are those of the protocol. */
static void test_error_before_the_greeting_has_no_sqlstate(void **state)
{
    (void)state;
    static const char expected[] = "\x07\x00\x00\x00\xff\x10\x04"
                                   "full";
    uint8_t buf[PACKET_ERROR_LEN_MAX];
    size_t len = packet_build_error(buf, sizeof buf, 0, 1040, NULL, "full");
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(buf, expected, len);
}

/* Once the client has answered, the sqlstate is there. */
static void test_error_after_the_handshake_has_sqlstate(void **state)
{
    (void)state;
    static const char expected[] = "\x0d\x00\x00\x03\xff\x1d\x04#08S01"
                                   "stop";
    uint8_t buf[PACKET_ERROR_LEN_MAX];
    size_t len = packet_build_error(buf, sizeof buf, 3, 1053, "08S01", "stop");
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(buf, expected, len);
    assert_int_equal(packet_error_errno(buf + 4, len - 4), 1053);
}

/* A message is cut at 511 bytes or where the room ends, and never inside a character. */
static void test_error_message_is_cut_between_characters(void **state)
{
    (void)state;
    char message[700];
    uint8_t buf[PACKET_ERROR_LEN_MAX];
    for (size_t i = 0; i + 2 < sizeof message; i += 2)
        memcpy(message + i, "\xc3\xa4", 2);
    message[sizeof message - 2] = '\0';
    size_t len = packet_build_error(buf, sizeof buf, 1, 1105, "HY000", message);
    assert_int_equal(len, 4 + 3 + 6 + 510);
    assert_int_equal(packet_u24(buf), len - 4);
    assert_int_equal(buf[len - 1], 0xa4);
    len = packet_build_error(buf, 4 + 3 + 6 + 5, 1, 1105, "HY000", message);
    assert_int_equal(len, 4 + 3 + 6 + 4);
    assert_int_equal(packet_build_error(buf, 4 + 3 + 6 - 1, 1, 1105, "HY000", "x"), 0);
}

/* A greeting's fields, and where its flags are. */
static void test_greeting_is_read(void **state)
{
    (void)state;
    struct bytes b = greeting_make(0xdfffffff, 0x11);
    struct packet_greeting g;
    assert_int_equal(packet_parse_greeting(b.at, b.len, &g), 0);
    assert_string_equal(g.version, "9.7.0-test");
    assert_int_equal(g.thread_id, 77);
    assert_int_equal(g.capabilities, 0xdfffffff);
    assert_int_equal(g.mariadb_capabilities, 0); /* only a server that leaves CLIENT_LONG_PASSWORD out has them */
    assert_int_equal(g.status, PACKET_STATUS_AUTOCOMMIT);
    assert_int_equal(packet_u16(b.at + g.capabilities_low_at), 0xffff);
    assert_int_equal(packet_u16(b.at + g.capabilities_high_at), 0xdfff);
    bytes_free(&b);
    b = greeting_make(0xdffffffe, 0x15);
    assert_int_equal(packet_parse_greeting(b.at, b.len, &g), 0);
    assert_int_equal(g.mariadb_capabilities, 0x15);
    bytes_free(&b);
}

/* Cut anywhere before the end of its first flag word it is refused, behind it never; nothing is read past the end. */
static void test_greeting_cut_short(void **state)
{
    (void)state;
    struct bytes b = greeting_make(0xdfffffff, 0);
    struct packet_greeting whole, g;
    assert_int_equal(packet_parse_greeting(b.at, b.len, &whole), 0);
    for (size_t len = 0; len < b.len; len++) {
        uint8_t *copy = malloc(len == 0 ? 1 : len); /* so that a read past it is seen */
        memcpy(copy, b.at, len);
        int rv = packet_parse_greeting(copy, len, &g);
        assert_int_equal(rv, len < whole.capabilities_low_at + 2 ? SLUICE_ERR_PROTOCOL : 0);
        free(copy);
    }
    b.at[0] = 9;
    assert_int_equal(packet_parse_greeting(b.at, b.len, &g), SLUICE_ERR_PROTOCOL);
    bytes_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lenenc_reads_every_width),
        cmocka_unit_test(test_lenenc_refuses_null_and_error),
        cmocka_unit_test(test_error_before_the_greeting_has_no_sqlstate),
        cmocka_unit_test(test_error_after_the_handshake_has_sqlstate),
        cmocka_unit_test(test_error_message_is_cut_between_characters),
        cmocka_unit_test(test_greeting_is_read),
        cmocka_unit_test(test_greeting_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
