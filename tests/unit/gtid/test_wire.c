/* SPDX-License-Identifier: Apache-2.0 */
#include "gtid_test.h"
#include <stdlib.h>

#define U_HEX "3e11fa4771ca11e19e33c80aa9429562"
#define V_HEX "000000000000000000000000000000aa"
#define ONE   "0100000000000000"
#define TWO   "0200000000000000"
#define THREE "0300000000000000"

/* Bytes of hexadecimal digits; the caller frees them. Of their exact size, so that the sanitizer sees a byte too many. */
static uint8_t *bytes_of(const char *hex, size_t *out_len)
{
    *out_len = strlen(hex) / 2;
    uint8_t *bytes = malloc(*out_len == 0 ? 1 : *out_len);
    for (size_t i = 0; i < *out_len; i++) {
        char digits[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return bytes;
}

/*
 * Requests of real clients, both ways: the first of go-mysql in DM 8.1.0, the others of mysqlbinlog 9.7.4 with
 * --exclude-gtids, as they passed a relay.
 */
static void test_encoding_is_that_of_real_clients(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *set;
        enum gtid_encoding encoding;
    } rows[] = {
        { "0000000000000000", "", GTID_ENCODING_UNTAGGED },
        { "0100000000000000ff37823ae70b11f1888d02fc0000000101000000000000000100000000000000b6f6000000000000",
          "ff37823a-e70b-11f1-888d-02fc00000001:1-63157", GTID_ENCODING_UNTAGGED },
        { "0200000000000000" V_HEX "010000000000000004000000000000000500000000000000" U_HEX
          "02000000000000000100000000000000040000000000000007000000000000000800000000000000",
          V ":4," U ":1-3:7", GTID_ENCODING_UNTAGGED },
        { "0104000000000001" V_HEX "0274010000000000000004000000000000000500000000000000" U_HEX
          "0002000000000000000100000000000000040000000000000007000000000000000800000000000000" U_HEX
          "06616263010000000000000005000000000000000600000000000000" U_HEX
          "087a7a5f3901000000000000000100000000000000ffffffffffffff7f",
          V ":t:4," U ":1-3:7:abc:5:zz_9:1-9223372036854775806", GTID_ENCODING_TAGGED },
        { "0101000000000001" U_HEX "406161616161616161616161616161616161616161616161616161616161616161"
          "010000000000000001000000000000000200000000000000",
          U ":aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1", GTID_ENCODING_TAGGED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = 0, made_len = 0;
        uint8_t *bytes = bytes_of(rows[i].hex, &len), *made = NULL;
        struct gtid_set *set = NULL;
        enum gtid_encoding encoding = GTID_ENCODING_AUTO;
        assert_int_equal(gtid_set_decode(bytes, len, &set, &encoding, NULL), 0);
        assert_int_equal(encoding, rows[i].encoding);
        assert_int_equal(gtid_set_encode(set, GTID_ENCODING_AUTO, &made, &made_len), 0);
        assert_int_equal(made_len, len);
        assert_memory_equal(made, bytes, len);
        assert_prints(set, rows[i].set);
        gtid_free(made);
        free(bytes);
    }
}

/* The tagged form can carry a set without tags, as a server sends it that has seen a tag once. */
static void test_tagged_form_carries_sets_without_tags(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1-2"), *again = NULL;
    uint8_t *made = NULL;
    size_t len = 0, wanted_len = 0;
    uint8_t *wanted = bytes_of("0101000000000001" U_HEX "00" ONE ONE THREE, &wanted_len);
    assert_int_equal(gtid_set_encode(set, GTID_ENCODING_TAGGED, &made, &len), 0);
    assert_int_equal(len, wanted_len);
    assert_memory_equal(made, wanted, len);
    assert_int_equal(gtid_set_decode(made, len, &again, NULL, NULL), 0);
    assert_true(gtid_set_equal(set, again));
    free(wanted);
    gtid_free(made);
    gtid_set_del(again);
    gtid_set_del(set);
}

/* A server before 8.3 cannot be told of tags: no bytes are made that would leave them out. */
static void test_untagged_form_refuses_tags(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(U ":1:t:2");
    uint8_t *made = NULL;
    size_t len = 0;
    assert_int_equal(gtid_set_encode(set, GTID_ENCODING_UNTAGGED, &made, &len), GTID_ERR_INVALID);
    assert_null(made);
    gtid_set_del(set);
}

/* What a server takes although no client sends it: entries out of order, twice, or without intervals. */
static void test_decode_takes_entries_in_any_order(void **state)
{
    (void)state;
    size_t len = 0;
    struct gtid_set *set = NULL;
    uint8_t *bytes = bytes_of("0300000000000000" U_HEX ONE TWO THREE V_HEX "0000000000000000" U_HEX ONE ONE TWO, &len);
    assert_int_equal(gtid_set_decode(bytes, len, &set, NULL, NULL), 0);
    assert_prints(set, U ":1-2");
    free(bytes);
}

/* Malformed bytes are refused with the place, and never read past their end. */
static void test_decode_refuses_what_is_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        size_t offset;
    } rows[] = {
        { "", 0 },
        { "00000000000000", 0 },
        { "000000000000000000", 8 },                            /* a byte too many */
        { "0000000000000002", 0 },                              /* no such form */
        { ONE, 8 },                                             /* no entry */
        { ONE U_HEX, 24 },                                      /* no number of intervals */
        { ONE U_HEX ONE ONE, 24 },                              /* half an interval */
        { ONE U_HEX "ffffffffffffffff" ONE TWO, 24 },           /* 2^64 - 1 intervals */
        { ONE U_HEX "0000000000000010" ONE TWO, 24 },           /* 2^60: doubled four times it is 0 */
        { "ffffffffffffff00" U_HEX ONE ONE TWO, 48 },           /* 2^56 - 1 entries */
        { ONE U_HEX ONE "0000000000000000" ONE, 32 },           /* 0 is no number */
        { ONE U_HEX ONE TWO TWO, 32 },                          /* empty */
        { ONE U_HEX ONE THREE TWO, 32 },                        /* backwards */
        { ONE U_HEX ONE ONE "0000000000000080", 32 },           /* ends at 2^63 */
        { ONE U_HEX TWO ONE TWO TWO THREE, 48 },                /* adjacent: servers write it as one */
        { ONE U_HEX TWO THREE "0400000000000000" ONE TWO, 48 }, /* out of order */
        { "0101000000000001" U_HEX, 24 },                       /* no tag */
        { "0101000000000001" U_HEX "0461", 24 },                /* half a tag */
        { "0101000000000001" U_HEX "02"
          "2d" ONE ONE TWO,
          24 }, /* "-" */
        { "0101000000000001" U_HEX "02"
          "31" ONE ONE TWO,
          24 },                                                    /* "1" */
        { "0101000000000001" U_HEX "0161" ONE ONE TWO, 24 },       /* a longer form of the length */
        { "0101000000000001" U_HEX "42" ONE ONE ONE ONE ONE, 24 }, /* 33 characters */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t len = 0;
        uint8_t *bytes = bytes_of(rows[i].hex, &len);
        struct gtid_set *set = NULL;
        struct gtid_parse_error error = { 999, NULL };
        assert_int_equal(gtid_set_decode(bytes, len, &set, NULL, &error), GTID_ERR_SYNTAX);
        assert_null(set);
        assert_non_null(error.reason);
        assert_int_equal(error.offset, rows[i].offset);
        free(bytes);
    }
}

/* Cut anywhere, a set is refused: there is no shorter set in it. */
static void test_decode_refuses_every_cut(void **state)
{
    (void)state;
    struct gtid_set *set = set_of(V ":t:4," U ":1-3:7:abc:5"), *cut = NULL;
    uint8_t *made = NULL;
    size_t len = 0;
    assert_int_equal(gtid_set_encode(set, GTID_ENCODING_AUTO, &made, &len), 0);
    for (size_t n = 0; n < len; n++) {
        uint8_t *exact = malloc(n == 0 ? 1 : n);
        memcpy(exact, made, n);
        assert_int_equal(gtid_set_decode(exact, n, &cut, NULL, NULL), GTID_ERR_SYNTAX);
        free(exact);
    }
    gtid_free(made);
    gtid_set_del(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding_is_that_of_real_clients),
        cmocka_unit_test(test_tagged_form_carries_sets_without_tags),
        cmocka_unit_test(test_untagged_form_refuses_tags),
        cmocka_unit_test(test_decode_takes_entries_in_any_order),
        cmocka_unit_test(test_decode_refuses_what_is_malformed),
        cmocka_unit_test(test_decode_refuses_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
