/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol's header, both versions: what is read, what is refused and as what, in any split, never a byte too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/proxy_header.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"
/* A literal with its length, without the C string's own zero. */
#define BYTES(s) (s), sizeof(s) - 1

static const char behind[] = "\x16\x03\x01 whatever the client says next";

struct row {
    const char *bytes;
    size_t len;
    enum proxy_header_fault fault;
    const char *source; /* "10.0.0.1:5"; "": the connection's own */
    bool is_local;
};

static void read_address(const struct network_address *a, char out[80])
{
    char host[NETWORK_TEXT_LEN + 1];
    network_address_print(a, host);
    snprintf(out, 80, a->family == NETWORK_NONE ? "" : "%s:%u", host, a->port);
}

/* Fed in pieces of |piece| bytes, with other bytes behind it that must stay where they are. */
static void check_row(const struct row *row, size_t piece)
{
    struct proxy_header_reader r = { 0 };
    size_t all = row->len + sizeof behind, at = 0, used = 0;
    uint8_t *bytes = malloc(all);
    int rv = 0;
    assert_non_null(bytes);
    memcpy(bytes, row->bytes, row->len);
    memcpy(bytes + row->len, behind, sizeof behind);
    while (rv == 0 && !r.is_whole && at < all) {
        size_t len = piece < all - at ? piece : all - at;
        rv = proxy_header_feed(&r, bytes + at, len, &used);
        at += used;
    }
    free(bytes);
    if (r.fault != row->fault)
        fail_msg("%.60s: %s, not %s", row->bytes, proxy_header_fault_text(r.fault),
                 proxy_header_fault_text(row->fault));
    assert_int_equal(rv, row->fault == PROXY_HEADER_FINE ? 0 : SLUICE_ERR_PROXY_HEADER);
    assert_int_equal(r.is_whole, row->fault == PROXY_HEADER_FINE);
    assert_int_equal(proxy_header_want(&r), 0);
    if (row->fault != PROXY_HEADER_FINE) return;
    char source[80];
    read_address(&r.header.source, source);
    assert_string_equal(source, row->source);
    assert_int_equal(r.header.is_local, row->is_local);
    assert_int_equal(at, row->len);
}

/* Read as the proxy does: never more than is wanted at a time. Nothing behind the header is ever asked for. */
static void check_wanted(const struct row *row)
{
    struct proxy_header_reader r = { 0 };
    size_t at = 0, used = 0, want;
    int rv = 0;
    while (rv == 0 && (want = proxy_header_want(&r)) > 0) {
        if (row->fault == PROXY_HEADER_FINE) assert_true(at + want <= row->len);
        if (at + want > row->len) return; /* a wrong one ended early: more bytes would decide, and none come */
        rv = proxy_header_feed(&r, (const uint8_t *)row->bytes + at, want, &used);
        at += used;
        if (rv == 0) assert_int_equal(used, want);
    }
    assert_int_equal(r.fault, row->fault);
    if (row->fault == PROXY_HEADER_FINE) assert_int_equal(at, row->len);
}

static void check(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t piece = 1; piece <= rows[i].len + 1; piece++)
            check_row(&rows[i], piece);
        check_wanted(&rows[i]);
    }
}

static void test_version_1_is_read(void **state)
{
    static const struct row rows[] = {
        { BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), .source = "192.168.0.1:56324" },
        { BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), .source = "255.255.255.255:65535" },
        { BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), .source = "0.0.0.0:0" },
        { BYTES("PROXY TCP6 2001:db8::9 2001:DB8:0:0:0:0:0:1 4000 3306\r\n"), .source = "2001:db8::9:4000" },
        { BYTES("PROXY TCP6 ::ffff:10.0.0.5 ::1 4000 3306\r\n"), .source = "10.0.0.5:4000" },
        { BYTES("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
                "65535\r\n"),
          .source = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:65535" },
        { BYTES("PROXY UNKNOWN\r\n"), .source = "" },
        { BYTES("PROXY UNKNOWN anything \0 at all\r\n"), .source = "" },
        { BYTES("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
                "65535\r\n"),
          .source = "" },
    };
    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void test_version_1_is_refused_by_name(void **state)
{
#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
    static const struct row rows[] = {
        { BYTES("GET / HTTP/1.1\r\n\r\n"), PROXY_HEADER_NONE, NULL, false },
        { BYTES("PROXYTCP4 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_NONE, NULL, false },
        { BYTES("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_NONE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n"), PROXY_HEADER_V1_END, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\rX"), PROXY_HEADER_V1_END, NULL, false },
        { BYTES("PROXY UNKNOWN " LONG), PROXY_HEADER_V1_LONG, NULL, false },
        { BYTES("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_PROTOCOL, NULL, false },
        { BYTES("PROXY UNKNOWNS\r\n"), PROXY_HEADER_V1_PROTOCOL, NULL, false },
        { BYTES("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_PROTOCOL, NULL, false },
        { BYTES("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_PROTOCOL, NULL, false },
        { BYTES("PROXY         \r\n"), PROXY_HEADER_V1_PROTOCOL, NULL, false },
        { BYTES("PROXY TCP4\r\n....."), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n"), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n"), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n"), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\0\r\n"), PROXY_HEADER_V1_SHAPE, NULL, false },
        { BYTES("PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP4 ::1 ::2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP6 ::1 2.2.2.2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP6 1:::1 ::2 1 2\r\n"), PROXY_HEADER_V1_ADDRESS, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n"), PROXY_HEADER_V1_PORT, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n"), PROXY_HEADER_V1_PORT, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 -2\r\n"), PROXY_HEADER_V1_PORT, NULL, false },
        { BYTES("PROXY TCP4 1.1.1.1 2.2.2.2 1 123456\r\n"), PROXY_HEADER_V1_PORT, NULL, false },
    };
    (void)state;
    check(rows, ARRAY_LEN(rows));
}

#define ENDS4 "\x0a\1\2\3\x0a\1\2\4\x30\x39\x0c\xea"
#define ENDS6 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x30\x39\x0c\xea"
#define TLVS  "\3\0\4abcd\4\0\0\x20\0\1x" /* a checksum, an empty one, one of a byte: 14 bytes */

static void test_version_2_is_read(void **state)
{
    static const struct row rows[] = {
        { BYTES(SIG "\x21\x11\0\x0c" ENDS4), .source = "10.1.2.3:12345" },
        { BYTES(SIG "\x21\x11\0\x1a" ENDS4 TLVS), .source = "10.1.2.3:12345" },
        { BYTES(SIG "\x21\x21\0\x24" ENDS6), .source = "2001:db8::9:12345" },
        { BYTES(SIG "\x21\x21\0\x32" ENDS6 TLVS), .source = "2001:db8::9:12345" },
        { BYTES(SIG "\x20\0\0\0"), .source = "", .is_local = true },
        { BYTES(SIG "\x20\xff\0\3abc"), .source = "", .is_local = true }, /* all behind LOCAL is ignored */
        { BYTES(SIG "\x20\x11\0\x0c" ENDS4), .source = "", .is_local = true },
        { BYTES(SIG "\x21\0\0\0"), .source = "" },
        { BYTES(SIG "\x21\0\0\5hello"), .source = "" },
        { BYTES(SIG "\x21\x10\0\2ab"), .source = "" },       /* UNSPEC over INET: no form is known */
        { BYTES(SIG "\x21\x12\0\x0c" ENDS4), .source = "" }, /* UDP: valid, and no client of ours */
    };
    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static void test_version_2_is_refused_by_name(void **state)
{
    static const struct row rows[] = {
        { BYTES("\r\n\r\n\0\r\nQUIT\r"), PROXY_HEADER_NONE, NULL, false },
        { BYTES("\r\n\r\n\1\r\nQUIT\n"), PROXY_HEADER_NONE, NULL, false },
        { BYTES(SIG "\x11\x11\0\x0c" ENDS4), PROXY_HEADER_V2_VERSION, NULL, false },
        { BYTES(SIG "\x31\x11\0\x0c" ENDS4), PROXY_HEADER_V2_VERSION, NULL, false },
        { BYTES(SIG "\x22\x11\0\x0c" ENDS4), PROXY_HEADER_V2_COMMAND, NULL, false },
        { BYTES(SIG "\x21\x41\0\x0c" ENDS4), PROXY_HEADER_V2_FAMILY, NULL, false },
        { BYTES(SIG "\x21\x13\0\x0c" ENDS4), PROXY_HEADER_V2_FAMILY, NULL, false },
        { BYTES(SIG "\x21\x11\0\x0b" ENDS4), PROXY_HEADER_V2_SHORT, NULL, false },
        { BYTES(SIG "\x21\x21\0\x0c" ENDS4), PROXY_HEADER_V2_SHORT, NULL, false },
        { BYTES(SIG "\x21\x31\0\x0c" ENDS4), PROXY_HEADER_V2_SHORT, NULL, false },
        { BYTES(SIG "\x21\x11\x10\1" ENDS4), PROXY_HEADER_V2_LONG, NULL, false },
        { BYTES(SIG "\x20\0\xff\xff"), PROXY_HEADER_V2_LONG, NULL, false },
        { BYTES(SIG "\x21\x11\0\x0d" ENDS4 "\3"), PROXY_HEADER_V2_TLV, NULL, false },
        { BYTES(SIG "\x21\x11\0\x0e" ENDS4 "\3\0"), PROXY_HEADER_V2_TLV, NULL, false },
        { BYTES(SIG "\x21\x11\0\x0f" ENDS4 "\3\0\1"), PROXY_HEADER_V2_TLV, NULL, false },
        { BYTES(SIG "\x21\x11\0\x13" ENDS4 "\3\xff\xff"
                    "abcd"),
          PROXY_HEADER_V2_TLV, NULL, false },
        { BYTES(SIG "\x21\x11\0\x11" ENDS4 "\3\0\1a\4"), PROXY_HEADER_V2_TLV, NULL, false },
    };
    (void)state;
    check(rows, ARRAY_LEN(rows));
}

/* UNIX addresses are skipped; the longest header that is taken is 4112 bytes, and one more is refused by its front alone. */
static void test_version_2_is_bounded(void **state)
{
    (void)state;
    char bytes[PROXY_HEADER_V2_LEN_MAX] = SIG "\x21\x31\0\xd8";
    struct row row = { bytes, PROXY_HEADER_V2_FRONT_LEN + 216, .source = "" };
    check_row(&row, 1);
    check_wanted(&row);
    static const char front[] = SIG "\x21\x11\x10\0" ENDS4 "\x20\x0f\xf1"; /* 4096 = 12 + 3 + 4081 */
    memcpy(bytes, front, sizeof front - 1);
    row = (struct row){ bytes, sizeof bytes, .source = "10.1.2.3:12345" };
    check_row(&row, 1);
    check_row(&row, sizeof bytes);
    check_wanted(&row);
}

/* A header that does not come further is neither whole nor wrong. */
static void test_part_of_a_header_is_waited_for(void **state)
{
    (void)state;
    static const char line[] = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    for (size_t len = 0; len < sizeof line - 1; len++) {
        struct proxy_header_reader r = { 0 };
        size_t used;
        assert_int_equal(proxy_header_feed(&r, (const uint8_t *)line, len, &used), 0);
        assert_int_equal(used, len);
        assert_false(r.is_whole);
        assert_true(proxy_header_want(&r) > 0);
    }
}

/* What is written is read back, by both versions; ends of two families go as IPv6; nobody goes as UNKNOWN and LOCAL. */
static void test_written_headers_are_read_back(void **state)
{
    static const char *const rows[][3] = {
        { "10.1.2.3", "10.0.0.1", "PROXY TCP4 10.1.2.3 10.0.0.1 4567 3306\r\n" },
        { "2001:db8::9", "::1", "PROXY TCP6 2001:db8::9 ::1 4567 3306\r\n" },
        { "10.1.2.3", "fd00::1", "PROXY TCP6 ::ffff:10.1.2.3 fd00::1 4567 3306\r\n" },
        { NULL, "10.0.0.1", "PROXY UNKNOWN\r\n" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct network_address source = { .family = NETWORK_NONE }, destination;
        uint8_t out[PROXY_HEADER_WRITTEN_LEN_MAX];
        if (rows[i][0] != NULL) assert_int_equal(network_address_parse(rows[i][0], 4567, &source), 0);
        assert_int_equal(network_address_parse(rows[i][1], 3306, &destination), 0);
        for (unsigned version = 1; version <= 2; version++) {
            struct proxy_header_reader r = { 0 };
            size_t used, len = proxy_header_write(version, &source, &destination, out);
            if (version == 1) {
                assert_int_equal(len, strlen(rows[i][2]));
                assert_memory_equal(out, rows[i][2], len);
            }
            assert_int_equal(proxy_header_feed(&r, out, len, &used), 0);
            assert_true(r.is_whole && used == len && r.header.version == version);
            assert_int_equal(r.header.is_local, version == 2 && rows[i][0] == NULL);
            assert_true(network_address_same(&r.header.source, &source));
            if (rows[i][0] != NULL) assert_true(network_address_same(&r.header.destination, &destination));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1_is_read),
        cmocka_unit_test(test_version_1_is_refused_by_name),
        cmocka_unit_test(test_version_2_is_read),
        cmocka_unit_test(test_version_2_is_refused_by_name),
        cmocka_unit_test(test_version_2_is_bounded),
        cmocka_unit_test(test_part_of_a_header_is_waited_for),
        cmocka_unit_test(test_written_headers_are_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
