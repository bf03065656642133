/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a decision: KILLs and dumps are left back wherever the bytes are split, everything else passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/packet.h"
#include "player.h"

enum { FLAGS = PACKET_CLIENT_PROTOCOL_41 | PACKET_CLIENT_LONG_PASSWORD | PACKET_CLIENT_DEPRECATE_EOF };

static const struct tracker_options asking = { .ask_dump = true, .ask_kill = true };

/* A reader's set: one UUID, 1-5. */
static const uint8_t dump_set[40] = { 1, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7,        7,           7,
                                      7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 1, [32] = 1, [40 - 1] = 0 };

static struct bytes packet(uint8_t seq, const void *payload, size_t len)
{
    struct bytes b = { 0 };
    uint8_t header[4];
    packet_write_header(header, (uint32_t)len, seq);
    bytes_add(&b, header, sizeof header);
    bytes_add(&b, payload, len);
    return b;
}

static struct bytes text_packet(uint8_t command, const char *text)
{
    struct bytes payload = { 0 };
    bytes_add(&payload, &command, 1);
    bytes_add(&payload, text, strlen(text));
    struct bytes b = packet(0, payload.at, payload.len);
    bytes_free(&payload);
    return b;
}

static struct bytes dump_packet(void)
{
    struct bytes payload = { 0 };
    bytes_add(&payload, "\x1e\0\0\x29\0\0\0\3\0\0\0bin\4\0\0\0\0\0\0\0\x28\0\0\0", 26);
    bytes_add(&payload, dump_set, sizeof dump_set);
    struct bytes b = packet(0, payload.at, payload.len);
    bytes_free(&payload);
    return b;
}

static void up(struct player *p, uint32_t more)
{
    player_start(p, &asking);
    player_log_in(p, FLAGS | more, FLAGS | more);
    bytes_free(&p->forwarded[TRACKER_CLIENT]);
}

static void feed(struct player *p, const void *bytes, size_t len)
{
    assert_int_equal(player_feed(p, TRACKER_CLIENT, bytes, len), 0);
}

static void ok(struct player *p, uint8_t seq)
{
    assert_int_equal(player_packet(p, TRACKER_SERVER, seq, BYTES("\0\0\0\2\0\0\0")), 0);
}

/* The caller's part of a translation: other bytes in the packet's place. */
static void put_in_place(struct player *p, uint64_t id)
{
    uint8_t out[TRACKER_KILL_LEN_MAX];
    struct bytes *w = &p->waiting[TRACKER_CLIENT], rest = { 0 };
    size_t old = tracker_kill(p->tracker)->packet_len;
    size_t len = tracker_kill_rewrite(p->tracker, w->at, id, out);
    bytes_add(&rest, out, len);
    bytes_add(&rest, w->at + old, w->len - old);
    bytes_free(w);
    *w = rest;
    tracker_allow(p->tracker);
}

static void expect_forwarded(const struct player *p, const void *bytes, size_t len)
{
    const struct bytes *f = &p->forwarded[TRACKER_CLIENT];
    assert_int_equal(f->len, len);
    if (len > 0) assert_memory_equal(f->at, bytes, len);
}

/* A KILL in two pieces, split everywhere: nothing of it passes; translated, the packet is whole with its new length. */
static void test_a_kill_is_left_back_and_translated_at_every_split(void **state)
{
    (void)state;
    struct bytes old = text_packet(3, "/* c */ kill query 77 -- end"),
                 new = text_packet(3, "/* c */ kill query 4294967295 -- end");
    for (size_t split = 0; split <= old.len; split++) {
        struct player p;
        up(&p, 0);
        feed(&p, old.at, split);
        if (split < old.len) assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_NOTHING);
        feed(&p, old.at + split, old.len - split);
        assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_KILL);
        assert_int_equal(tracker_kill(p.tracker)->form, TRACKER_KILL_QUERY);
        assert_int_equal(tracker_kill(p.tracker)->thread_id, 77);
        expect_forwarded(&p, NULL, 0);
        assert_true(tracker_client_is_blocked(p.tracker));
        put_in_place(&p, 4294967295);
        feed(&p, NULL, 0);
        expect_forwarded(&p, new.at, new.len);
        ok(&p, 1);
        assert_true(tracker_is_at_boundary(p.tracker));
        player_stop(&p);
    }
    bytes_free(&old);
    bytes_free(&new);
}

/* COM_PROCESS_KILL byte by byte, translated in place; the next command passes behind it. */
static void test_a_binary_kill_is_translated(void **state)
{
    (void)state;
    struct player p;
    up(&p, 0);
    assert_int_equal(player_each_byte(&p, TRACKER_CLIENT, 0, BYTES("\x0c\x4d\0\0\0")), 0);
    assert_int_equal(tracker_kill(p.tracker)->form, TRACKER_KILL_COMMAND);
    assert_int_equal(tracker_kill(p.tracker)->thread_id, 77);
    put_in_place(&p, 0x01020304);
    feed(&p, NULL, 0);
    expect_forwarded(&p, BYTES("\5\0\0\0\x0c\4\3\2\1"));
    ok(&p, 1);
    feed(&p, BYTES("\1\0\0\0\x0e"));
    expect_forwarded(&p, BYTES("\5\0\0\0\x0c\4\3\2\1\1\0\0\0\x0e"));
    player_stop(&p);
}

/* A KILL behind a query that is not answered yet is asked only then: an answer of ours would come in front of the server's. */
static void test_a_pipelined_kill_is_asked_when_no_reply_is_owed(void **state)
{
    (void)state;
    struct player p;
    struct bytes kill = text_packet(3, "KILL 5");
    up(&p, 0);
    struct bytes both = text_packet(3, "SELECT 1");
    size_t first = both.len;
    bytes_add(&both, kill.at, kill.len);
    feed(&p, both.at, both.len);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, first);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_NOTHING);
    assert_true(tracker_client_is_blocked(p.tracker));
    ok(&p, 1);
    assert_false(tracker_client_is_blocked(p.tracker));
    feed(&p, NULL, 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_KILL);
    uint8_t seq = 0;
    assert_true(tracker_can_inject(p.tracker, &seq, NULL));
    assert_int_equal(seq, 1);
    tracker_kill_drop(p.tracker);
    p.waiting[TRACKER_CLIENT].len = 0;
    feed(&p, BYTES("\1\0\0\0\x0e"));
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, first + 5);
    player_stop(&p);
    bytes_free(&kill);
    bytes_free(&both);
}

/* Query attributes stand in front of the text, with values of every length. */
static void test_a_kill_behind_query_attributes_is_found(void **state)
{
    (void)state;
    struct player p;
    up(&p, PACKET_CLIENT_QUERY_ATTRIBUTES);
    feed(&p, BYTES("\x0d\0\0\0\3\0\1KILL 77890"));
    assert_int_equal(tracker_kill(p.tracker)->thread_id, 77890);
    put_in_place(&p, 1);
    feed(&p, NULL, 0);
    expect_forwarded(&p, BYTES("\x09\0\0\0\3\0\1KILL 1"));
    ok(&p, 1);
    /* Three: a NULL, a text, a LONGLONG. */
    static const char three[] = "\3\3\1\1\1\3\0\1a\xfe\0\1b\x8\0\1c\2xy\1\2\3\4\5\6\7\x8KILL 9";
    player_packet(&p, TRACKER_CLIENT, 0, three, sizeof three - 1);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_KILL);
    assert_int_equal(tracker_kill(p.tracker)->thread_id, 9);
    player_stop(&p);
}

/* What cannot be translated is told apart: prepared, not readable, and too long to be kept whole. */
static void test_kills_that_cannot_be_translated(void **state)
{
    (void)state;
    struct player p;
    struct bytes prepared = text_packet(0x16, "KILL ?"), expression = text_packet(3, "KILL @x");
    up(&p, 0);
    feed(&p, prepared.at, prepared.len);
    assert_int_equal(tracker_kill(p.tracker)->form, TRACKER_KILL_PREPARED);
    tracker_kill_drop(p.tracker);
    p.waiting[TRACKER_CLIENT].len = 0;
    feed(&p, expression.at, expression.len);
    assert_int_equal(tracker_kill(p.tracker)->form, TRACKER_KILL_UNREADABLE);
    assert_int_equal(tracker_kill(p.tracker)->packet_len, expression.len);
    tracker_kill_drop(p.tracker);
    p.waiting[TRACKER_CLIENT].len = 0;

    static char text[2 * TRACKER_ASK_LEN_MAX];
    memset(text, ' ', sizeof text - 1);
    memcpy(text + 100, "KILL 5", 6);
    struct bytes large = text_packet(3, text);
    feed(&p, large.at, large.len);
    assert_int_equal(tracker_kill(p.tracker)->form, TRACKER_KILL_UNREADABLE);
    assert_int_equal(tracker_kill(p.tracker)->packet_len, 0);
    player_stop(&p);
    bytes_free(&prepared);
    bytes_free(&expression);
    bytes_free(&large);
}

/* Everything else passes as it comes, large texts that begin with blanks too, and a file's contents that look like a KILL. */
static void test_what_is_no_kill_is_not_left_back(void **state)
{
    (void)state;
    struct player p;
    static char text[3 * TRACKER_ASK_LEN_MAX];
    memset(text, ' ', sizeof text - 1);
    struct bytes large = text_packet(3, text), query = text_packet(3, "SELECT 'KILL 5'");
    up(&p, 0);
    for (size_t i = 0; i < large.len; i++)
        feed(&p, large.at + i, 1);
    expect_forwarded(&p, large.at, large.len);
    ok(&p, 1);
    feed(&p, query.at, query.len);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, large.len + query.len);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1,
                                   BYTES("\xfb"
                                         "file")),
                     0);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 2, BYTES("\3KILL 5")), 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_NOTHING);
    assert_int_equal(p.waiting[TRACKER_CLIENT].len, 0);
    player_stop(&p);
    bytes_free(&large);
    bytes_free(&query);
}

/* All of a dump request but its last byte passes, at every split; what it asks is told whole, then and with the first event. */
static void test_a_dump_passes_but_for_its_last_byte_at_every_split(void **state)
{
    (void)state;
    struct bytes dump = dump_packet();
    for (size_t split = 0; split <= dump.len; split++) {
        struct player p;
        struct tracker_dump_request request;
        up(&p, 0);
        feed(&p, dump.at, split);
        feed(&p, dump.at + split, dump.len - split);
        assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_DUMP);
        expect_forwarded(&p, dump.at, dump.len - 1);
        assert_true(tracker_dump_request(p.tracker, &request));
        assert_true(request.is_gtid);
        assert_int_equal(request.server_id, 41);
        assert_string_equal(request.file, "bin");
        assert_int_equal(request.set_len, sizeof dump_set);
        assert_memory_equal(request.set, dump_set, sizeof dump_set);
        feed(&p, BYTES("\1\0\0\0\x0e")); /* nothing passes behind it either */
        expect_forwarded(&p, dump.at, dump.len - 1);
        tracker_park(p.tracker, true);
        assert_true(tracker_stream_is_parked(p.tracker)); /* a switch need not wait for it */
        tracker_park(p.tracker, false);
        uint8_t seq = 0;
        assert_true(tracker_can_inject(p.tracker, &seq, NULL));
        assert_int_equal(seq, 1);
        tracker_allow(p.tracker);
        feed(&p, NULL, 0);
        assert_int_equal(p.forwarded[TRACKER_CLIENT].len, dump.len + 5);
        assert_int_equal(player_packet(&p, TRACKER_SERVER, 1,
                                       BYTES("\0\0\0\0\0\x04\1\0\0\0\x1f\0\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0bin2")),
                         0);
        assert_int_equal(p.request_count, 1);
        assert_int_equal(p.request_set_len, sizeof dump_set);
        player_stop(&p);
    }
    bytes_free(&dump);
}

/* A request of exactly 16 MB ends with an empty packet: of that, the last byte of the header is left back. */
static void test_a_dump_that_ends_with_an_empty_packet_is_asked(void **state)
{
    (void)state;
    struct player p;
    struct tracker_dump_request request;
    uint8_t *payload = calloc(1, PACKET_PAYLOAD_LEN_MAX);
    assert_non_null(payload);
    size_t set_len = PACKET_PAYLOAD_LEN_MAX - 23;
    payload[0] = 0x1e;
    payload[3] = 41;
    for (int i = 0; i < 4; i++)
        payload[19 + i] = (uint8_t)(set_len >> (8 * i));
    up(&p, 0);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 0, payload, PACKET_PAYLOAD_LEN_MAX), 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_DUMP);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 4 + PACKET_PAYLOAD_LEN_MAX + 3);
    assert_true(tracker_dump_request(p.tracker, &request));
    assert_int_equal(request.set_len, set_len);
    tracker_allow(p.tracker);
    feed(&p, NULL, 0);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, 4 + PACKET_PAYLOAD_LEN_MAX + 4);
    player_stop(&p);
    free(payload);
}

/* A dump behind a query is asked when the query was answered; one behind a dump when that has ended. */
static void test_a_pipelined_dump_is_asked_in_its_turn(void **state)
{
    (void)state;
    struct player p;
    struct bytes query = text_packet(3, "SELECT 1"), dump = dump_packet();
    up(&p, 0);
    feed(&p, query.at, query.len);
    feed(&p, dump.at, dump.len);
    feed(&p, dump.at, dump.len);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_NOTHING);
    assert_true(tracker_client_is_blocked(p.tracker));
    ok(&p, 1);
    feed(&p, NULL, 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_DUMP);
    tracker_allow(p.tracker);
    feed(&p, NULL, 0);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, query.len + dump.len);
    assert_true(tracker_client_is_blocked(p.tracker));
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\xfe\0\0\2\0")), 0);
    feed(&p, NULL, 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_DUMP);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, query.len + 2 * dump.len - 1);
    player_stop(&p);
    bytes_free(&query);
    bytes_free(&dump);
}

/* A request that is cut short of its own lengths is asked, and said not to be understood. */
static void test_a_dump_that_is_not_understood_is_asked_all_the_same(void **state)
{
    (void)state;
    struct player p;
    struct tracker_dump_request request;
    up(&p, 0);
    assert_int_equal(player_packet(&p, TRACKER_CLIENT, 0, BYTES("\x1e\0\0\1\0\0\0\xff\xff\0\0x")), 0);
    assert_int_equal(tracker_question(p.tracker), TRACKER_ASKS_DUMP);
    assert_false(tracker_dump_request(p.tracker, &request));
    player_stop(&p);
}

/* When the session can no longer be followed, a dump that waits ends it: it never passes unasked. */
static void test_a_dump_never_passes_unasked(void **state)
{
    (void)state;
    struct player p;
    struct bytes dump = dump_packet();
    up(&p, 0);
    feed(&p, dump.at, dump.len);
    assert_int_equal(player_packet(&p, TRACKER_SERVER, 1, BYTES("\5")), 0);
    assert_int_equal(tracker_phase(p.tracker), TRACKER_OPAQUE);
    assert_int_equal(player_feed(&p, TRACKER_CLIENT, "", 0), SLUICE_ERR_PROTOCOL);
    assert_int_equal(p.forwarded[TRACKER_CLIENT].len, dump.len - 1);
    player_stop(&p);
    bytes_free(&dump);
}

#define READER "f017c7e3-e763-11f1-b68b-02fc00000001"
#define NAMED  "SET @slave_uuid = '" READER "', @replica_uuid = '" READER "'"

/* A text in one piece, or byte by byte; |attributes| stands in front of it. */
static void say(struct player *p, const char *attributes, size_t attributes_len, const char *text, bool is_split)
{
    struct bytes payload = { 0 };
    bytes_add(&payload, "\3", 1);
    bytes_add(&payload, attributes, attributes_len);
    bytes_add(&payload, text, strlen(text));
    int rv = is_split ? player_each_byte(p, TRACKER_CLIENT, 0, payload.at, payload.len)
                      : player_packet(p, TRACKER_CLIENT, 0, payload.at, payload.len);
    assert_int_equal(rv, 0);
    bytes_free(&payload);
    ok(p, 1);
}

/* The UUID by which a reader makes itself known is kept, in any split, until it says another one or begins anew. */
static void test_a_readers_uuid_is_kept(void **state)
{
    (void)state;
    for (int is_split = 0; is_split < 2; is_split++) {
        struct player p;
        up(&p, 0);
        assert_string_equal(tracker_reader_uuid(p.tracker), "");
        say(&p, "", 0, "SET @slave_uuid = 'f017c7e3'", is_split);
        assert_string_equal(tracker_reader_uuid(p.tracker), "");
        say(&p, "", 0, NAMED, is_split);
        assert_string_equal(tracker_reader_uuid(p.tracker), READER);
        say(&p, "", 0, "SELECT '@slave_uuid'", is_split);
        assert_string_equal(tracker_reader_uuid(p.tracker), READER);
        assert_int_equal(player_packet(&p, TRACKER_CLIENT, 0, BYTES("\x1f")), 0); /* COM_RESET_CONNECTION */
        ok(&p, 1);
        assert_string_equal(tracker_reader_uuid(p.tracker), "");
        player_stop(&p);
        up(&p, PACKET_CLIENT_QUERY_ATTRIBUTES);
        say(&p, "\0\1", 2, NAMED, is_split);
        assert_string_equal(tracker_reader_uuid(p.tracker), READER);
        player_stop(&p);
        up(&p, PACKET_CLIENT_QUERY_ATTRIBUTES); /* without what stands in front of a text here, it is none */
        say(&p, "", 0, NAMED, is_split);
        assert_string_equal(tracker_reader_uuid(p.tracker), "");
        player_stop(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_kill_is_left_back_and_translated_at_every_split),
        cmocka_unit_test(test_a_binary_kill_is_translated),
        cmocka_unit_test(test_a_pipelined_kill_is_asked_when_no_reply_is_owed),
        cmocka_unit_test(test_a_kill_behind_query_attributes_is_found),
        cmocka_unit_test(test_kills_that_cannot_be_translated),
        cmocka_unit_test(test_what_is_no_kill_is_not_left_back),
        cmocka_unit_test(test_a_dump_passes_but_for_its_last_byte_at_every_split),
        cmocka_unit_test(test_a_dump_that_ends_with_an_empty_packet_is_asked),
        cmocka_unit_test(test_a_pipelined_dump_is_asked_in_its_turn),
        cmocka_unit_test(test_a_dump_that_is_not_understood_is_asked_all_the_same),
        cmocka_unit_test(test_a_dump_never_passes_unasked),
        cmocka_unit_test(test_a_readers_uuid_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
