/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and their replies, where recordings do not reach: large packets, MariaDB, odd clients and servers, no memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/packet.h"
#include "player.h"

enum { MODERN = PACKET_CLIENT_PROTOCOL_41 | PACKET_CLIENT_LONG_PASSWORD | PACKET_CLIENT_DEPRECATE_EOF };
enum { OLD = PACKET_CLIENT_PROTOCOL_41 | PACKET_CLIENT_LONG_PASSWORD };

static void client(struct player *p, uint8_t seq, const void *bytes, size_t len)
{
    assert_int_equal(player_packet(p, TRACKER_CLIENT, seq, bytes, len), 0);
}

static void server(struct player *p, uint8_t seq, const void *bytes, size_t len)
{
    assert_int_equal(player_packet(p, TRACKER_SERVER, seq, bytes, len), 0);
}

static void expect_phase(const struct player *p, enum tracker_phase phase)
{
    assert_string_equal(tracker_phase_name(tracker_phase(p->tracker)), tracker_phase_name(phase));
}

/* A payload of |len| bytes that begins with |head|, and 'x' behind it. */
static uint8_t *large(const void *head, size_t head_len, size_t len)
{
    uint8_t *payload = malloc(len);
    assert_non_null(payload);
    memset(payload, 'x', len);
    memcpy(payload, head, head_len);
    return payload;
}

/* From the first byte of a command on the session is busy; a half of a header is no boundary either. */
static void test_half_a_command_is_no_boundary(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    assert_true(tracker_is_at_boundary(p.tracker));
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "\x09\0", 2), 0);
    assert_false(tracker_is_at_boundary(p.tracker));
    expect_phase(&p, TRACKER_COMMAND);
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "\0\0\x03", 3), 0);
    expect_phase(&p, TRACKER_REPLY);
    assert_true(tracker_reply_is_owed(p.tracker));
    player_stop(&p);
}

/* The commands without a reply: the session is free as soon as they are whole. */
static void test_commands_without_a_reply(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x19\x01\0\0\0"));
    assert_true(tracker_is_at_boundary(p.tracker));
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "\x0b\0\0\0\x18\x01\0\0\0\0\0long", 15 - 1), 0);
    assert_false(tracker_is_at_boundary(p.tracker));
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "g", 1), 0);
    assert_true(tracker_is_at_boundary(p.tracker));
    player_stop(&p);
}

/* COM_QUIT closes; behind commands that are still answered it closes after the last answer. */
static void test_quit_closes_after_what_is_owed(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x0e"));
    client(&p, 0, BYTES("\x01"));
    assert_true(tracker_has_quit(p.tracker));
    expect_phase(&p, TRACKER_REPLY);
    server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
    expect_phase(&p, TRACKER_CLOSED);
    player_stop(&p);
}

/* Rows and commands of 16 MB and more are one packet each, with the sizes where that is easily got wrong. */
static void test_packets_of_16_mb_and_more(void **state)
{
    (void)state;
    static const size_t sizes[] = { PACKET_PAYLOAD_LEN_MAX - 1, PACKET_PAYLOAD_LEN_MAX, PACKET_PAYLOAD_LEN_MAX + 1,
                                    2 * PACKET_PAYLOAD_LEN_MAX };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct player p;
        player_start(&p, NULL);
        player_log_in(&p, MODERN, MODERN);
        uint8_t *payload = large("\x03", 1, sizes[i]);
        client(&p, 0, payload, sizes[i]);
        expect_phase(&p, TRACKER_REPLY);
        server(&p, 1, BYTES("\x01"));
        server(&p, 2,
               BYTES("\x03"
                     "def"));
        /* Its first column is longer than 16 MB: it begins with 0xfe, like an EOF. */
        uint64_t column = sizes[i] < PACKET_PAYLOAD_LEN_MAX ? 0xfd : 0xfe;
        payload[0] = (uint8_t)column;
        server(&p, 3, payload, sizes[i]);
        expect_phase(&p, TRACKER_REPLY);
        server(&p, 5, BYTES("\xfe\0\0\2\0\0\0"));
        expect_phase(&p, TRACKER_COMMAND);
        assert_true(tracker_is_at_boundary(p.tracker));
        free(payload);
        player_stop(&p);
    }
}

/* Between two parts of a split packet nothing is whole, though each part is. */
static void test_between_parts_of_a_packet_is_no_boundary(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    uint8_t *payload = large("\xff\xff\xff\0\x18\x01\0\0\0\0\0", 11, PACKET_PAYLOAD_LEN_MAX + 4);
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, payload, PACKET_PAYLOAD_LEN_MAX + 4), 0);
    expect_phase(&p, TRACKER_COMMAND);
    assert_false(tracker_is_at_boundary(p.tracker));
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "\0\0\0\1", 4), 0);
    assert_true(tracker_is_at_boundary(p.tracker));
    free(payload);
    player_stop(&p);
}

/* A command that is not known: forwarded, counted, and the session stays busy. */
static void test_unknown_command_is_opaque_and_counted(void **state)
{
    (void)state;
    static const uint8_t commands[] = { 0x13, 0x20, 0x21, 0x42, 0xfe };
    for (size_t i = 0; i < sizeof commands; i++) {
        struct player p;
        player_start(&p, NULL);
        player_log_in(&p, MODERN, MODERN);
        client(&p, 0, &commands[i], 1);
        expect_phase(&p, TRACKER_OPAQUE);
        assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_COMMAND);
        assert_int_equal(tracker_unknown_commands(p.tracker), 1);
        server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
        assert_true(tracker_reply_is_owed(p.tracker));
        assert_false(tracker_is_at_boundary(p.tracker));
        player_stop(&p);
    }
}

/* The server ends an idle session with an error that nobody asked for; anything else unasked cannot be followed. */
static void test_what_nobody_asked_for(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    server(&p, 0, BYTES("\xff\xbf\x0f#HY000The client was disconnected"));
    assert_true(tracker_is_at_boundary(p.tracker));
    server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_LOST);
    player_stop(&p);
}

/* An ERR carries no status. With autocommit off a transaction may have begun; the next OK tells. */
static void test_error_with_autocommit_off_may_be_a_transaction(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x03SET autocommit=0"));
    server(&p, 1, BYTES("\0\0\0\0\0\0\0"));
    assert_false(tracker_is_in_transaction(p.tracker));
    client(&p, 0, BYTES("\x03SELECT"));
    server(&p, 1, BYTES("\xff\x28\x04#42000error"));
    assert_true(tracker_is_in_transaction(p.tracker));
    assert_false(tracker_is_at_boundary(p.tracker));
    client(&p, 0, BYTES("\x03ROLLBACK"));
    server(&p, 1, BYTES("\0\0\0\0\0\0\0"));
    assert_false(tracker_is_in_transaction(p.tracker));
    player_stop(&p);
}

/* An error in a transaction leaves it as it was. */
static void test_error_keeps_the_transaction(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0,
           BYTES("\x03"
                 "BEGIN"));
    server(&p, 1, BYTES("\0\0\0\3\0\0\0"));
    client(&p, 0, BYTES("\x03X"));
    server(&p, 1, BYTES("\xff\x28\x04#42000error"));
    assert_true(tracker_is_in_transaction(p.tracker));
    player_stop(&p);
}

/* The server refuses a file while the client still sends it: busy until both are through. */
static void test_infile_refused_early(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x03LOAD DATA LOCAL"));
    server(&p, 1, BYTES("\xfb/tmp/file"));
    client(&p, 2, BYTES("\x01row"));
    server(&p, 3, BYTES("\xff\x28\x04#42000error"));
    expect_phase(&p, TRACKER_REPLY);
    client(&p, 3, BYTES("row"));
    expect_phase(&p, TRACKER_REPLY);
    client(&p, 4, "", 0);
    expect_phase(&p, TRACKER_COMMAND);
    assert_false(tracker_has_quit(p.tracker));
    player_stop(&p);
}

/* A command that was pipelined behind LOAD DATA LOCAL is read as the file by the server: nobody can follow that. */
static void test_infile_behind_a_pipeline_is_lost(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x03LOAD DATA LOCAL"));
    client(&p, 0, BYTES("\x0e"));
    server(&p, 1, BYTES("\xfb/tmp/file"));
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_LOST);
    player_stop(&p);
}

/* A thousand commands at once are all waited for. */
static void test_long_pipeline(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            client(&p, 0, BYTES("\x0e"));
        for (int i = 0; i < 1000; i++) {
            expect_phase(&p, TRACKER_REPLY);
            server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
        }
        expect_phase(&p, TRACKER_COMMAND);
    }
    player_stop(&p);
}

/* More than can be queued is let through unfollowed, and memory that runs out is an error. */
static void test_pipeline_without_end_or_memory(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    for (int i = 0; i <= 65536; i++)
        client(&p, 0, BYTES("\x0e"));
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_LOST);
    player_stop(&p);

    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    for (int i = 0; i < 16; i++)
        client(&p, 0, BYTES("\x0e"));
    mem_fail_at(1);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 0, BYTES("\x0e")), SLUICE_ERR_NOMEM);
    mem_fail_at(0);
    player_stop(&p);
}

/* A command's first packet has number 0; another one is garbage. */
static void test_command_out_of_order_is_refused(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 7, BYTES("\x0e")), SLUICE_ERR_PROTOCOL);
    player_stop(&p);
}

/* The OK behind rows is as long as what it tells of the session; the EOF has warnings where an OK has a number. */
static void test_ends_of_rows(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, MODERN, MODERN);
    client(&p, 0, BYTES("\x03SELECT"));
    server(&p, 1, BYTES("\x01"));
    server(&p, 2,
           BYTES("\x03"
                 "def"));
    server(&p, 3, BYTES("\x01z"));
    server(&p, 4, BYTES("\xfe\0\0\3\x40\0\0\0\x0b\x05\x09\x08T_______"));
    assert_true(tracker_is_in_transaction(p.tracker));
    expect_phase(&p, TRACKER_COMMAND);
    player_stop(&p);

    player_start(&p, NULL);
    player_log_in(&p, OLD, OLD);
    client(&p, 0, BYTES("\x03SELECT"));
    server(&p, 1, BYTES("\x01"));
    server(&p, 2,
           BYTES("\x03"
                 "def"));
    server(&p, 3, BYTES("\xfe\xfc\xff\2\0"));
    server(&p, 4, BYTES("\x01z"));
    server(&p, 5, BYTES("\xfe\xfe\xff\3\0"));
    assert_true(tracker_is_in_transaction(p.tracker));
    expect_phase(&p, TRACKER_COMMAND);
    player_stop(&p);
}

/* The queue keeps its order when it grows after it has gone round. */
static void test_pipeline_grows_in_order(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, OLD, OLD);
    for (int i = 0; i < 10; i++)
        client(&p, 0, BYTES("\x0e"));
    for (int i = 0; i < 9; i++)
        server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
    for (int i = 0; i < 20; i++)
        client(&p, 0, i % 2 == 0 ? "\x09" : "\x04", 1);
    server(&p, 1, BYTES("\0\0\0\2\0\0\0"));
    for (int i = 0; i < 20; i++) {
        expect_phase(&p, TRACKER_REPLY);
        if (i % 2 == 0) {
            server(&p, 1, BYTES("Uptime: 1"));
        } else {
            server(&p, 1,
                   BYTES("\x03"
                         "def"));
            server(&p, 2, BYTES("\xfe\0\0\2\0"));
        }
    }
    expect_phase(&p, TRACKER_COMMAND);
    player_stop(&p);
}

/* MariaDB reports progress in packets that look like errors. */
static void test_mariadb_progress_is_no_end(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, OLD & ~PACKET_CLIENT_LONG_PASSWORD, OLD & ~PACKET_CLIENT_LONG_PASSWORD);
    client(&p, 0,
           BYTES("\x03"
                 "ALTER TABLE"));
    server(&p, 1, BYTES("\xff\xff\xff\x01\x01\x01\x10\x27\x00\x05stage"));
    expect_phase(&p, TRACKER_REPLY);
    server(&p, 2, BYTES("\0\0\0\2\0\0\0"));
    expect_phase(&p, TRACKER_COMMAND);
    player_stop(&p);
}

/* MariaDB leaves definitions out that a client has already, and says so behind the number of columns. */
static void test_mariadb_cached_metadata(void **state)
{
    (void)state;
    uint32_t flags = OLD & ~PACKET_CLIENT_LONG_PASSWORD;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, flags, flags);
    client(&p, 0, BYTES("\x17\x01\0\0\0\0\x01\0\0\0"));
    server(&p, 1, BYTES("\x02\x00"));
    server(&p, 2, BYTES("\xfe\0\0\2\0"));
    server(&p, 3, BYTES("\0\0\1a\1b"));
    expect_phase(&p, TRACKER_REPLY);
    server(&p, 4, BYTES("\xfe\0\0\2\0"));
    expect_phase(&p, TRACKER_COMMAND);
    player_stop(&p);
}

/* MariaDB's bulk execution: OK, error, or a result as of any statement. */
static void test_mariadb_bulk_execute(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, OLD, OLD);
    client(&p, 0, BYTES("\xfa\x01\0\0\0\x80\0\x08\0\0\1\0\0\0"));
    expect_phase(&p, TRACKER_REPLY);
    server(&p, 1, BYTES("\0\2\0\2\0\0\0"));
    expect_phase(&p, TRACKER_COMMAND);
    assert_int_equal(tracker_unknown_commands(p.tracker), 0);
    player_stop(&p);
}

/* A reply in a form that is not known makes the session opaque; no byte is held back. */
static void test_reply_that_is_not_understood(void **state)
{
    (void)state;
    struct player p;
    player_start(&p, NULL);
    player_log_in(&p, OLD, OLD);
    client(&p, 0, BYTES("\x0e"));
    server(&p, 1, BYTES("\x07what"));
    assert_int_equal(tracker_opaque_reason(p.tracker), TRACKER_OPAQUE_LOST);
    server(&p, 2, BYTES("more"));
    assert_int_equal(p.waiting[TRACKER_SERVER].len, 0);
    player_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_a_command_is_no_boundary),
        cmocka_unit_test(test_commands_without_a_reply),
        cmocka_unit_test(test_quit_closes_after_what_is_owed),
        cmocka_unit_test(test_packets_of_16_mb_and_more),
        cmocka_unit_test(test_between_parts_of_a_packet_is_no_boundary),
        cmocka_unit_test(test_unknown_command_is_opaque_and_counted),
        cmocka_unit_test(test_what_nobody_asked_for),
        cmocka_unit_test(test_error_with_autocommit_off_may_be_a_transaction),
        cmocka_unit_test(test_error_keeps_the_transaction),
        cmocka_unit_test(test_infile_refused_early),
        cmocka_unit_test(test_infile_behind_a_pipeline_is_lost),
        cmocka_unit_test(test_long_pipeline),
        cmocka_unit_test(test_pipeline_without_end_or_memory),
        cmocka_unit_test(test_command_out_of_order_is_refused),
        cmocka_unit_test(test_ends_of_rows),
        cmocka_unit_test(test_pipeline_grows_in_order),
        cmocka_unit_test(test_mariadb_progress_is_no_end),
        cmocka_unit_test(test_mariadb_cached_metadata),
        cmocka_unit_test(test_mariadb_bulk_execute),
        cmocka_unit_test(test_reply_that_is_not_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
