/* SPDX-License-Identifier: Apache-2.0 */
/* Binlog streams, where recordings do not reach: boundaries of every kind, parking, odd and broken streams. */
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

enum { FLAGS = PACKET_CLIENT_PROTOCOL_41 | PACKET_CLIENT_LONG_PASSWORD | PACKET_CLIENT_DEPRECATE_EOF };
enum { QUERY = 2, ROTATE = 4, INTVAR = 5, FORMAT = 15, XID = 16, TABLE_MAP = 19, INCIDENT = 26, HEARTBEAT = 27 };
enum {
    ROWS = 30,
    GTID = 33,
    ANONYMOUS = 34,
    PREVIOUS = 35,
    XA_PREPARE = 38,
    PAYLOAD = 40,
    HEARTBEAT_2 = 41,
    TAGGED = 42
};
enum { MARIADB_GTID = 162, MARIADB_QUERY_COMPRESSED = 165 };

#define UUID         "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
#define UUID_TEXT    "01020304-0506-0708-090a-0b0c0d0e0f10"
#define GTID_BODY(n) "\1" UUID n "\0\0\0\0\0\0\0\2"

/* A stream under construction. */
struct world {
    struct player p;
    size_t prefix; /* 1, or 3 with semi-sync */
    uint8_t seq;
    uint8_t time; /* the lowest byte of an event's time */
};

static void put_u32(struct bytes *b, size_t n)
{
    uint8_t le[4] = { (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };
    bytes_add(b, le, 4);
}

static struct bytes event_make(const struct world *w, uint8_t type, const void *body, size_t len)
{
    struct bytes b = { 0 };
    bytes_add(&b, "\0\xef\1", w->prefix);
    bytes_add(&b, &w->time, 1);
    bytes_add(&b, "\0\0\0", 3);
    bytes_add(&b, &type, 1);
    put_u32(&b, 1);
    put_u32(&b, 19 + len);
    put_u32(&b, 0);
    bytes_add(&b, "\0\0", 2);
    bytes_add(&b, body, len);
    return b;
}

static void event(struct world *w, uint8_t type, const void *body, size_t len)
{
    struct bytes b = event_make(w, type, body, len);
    assert_int_equal(player_packet(&w->p, TRACKER_SERVER, w->seq++, b.at, b.len), 0);
    bytes_free(&b);
}

/* A Query event: |variables| bytes of status variables, a database's name, the text, four bytes of a checksum. */
static void query(struct world *w, const char *text, size_t variables)
{
    struct bytes b = { 0 };
    uint8_t post[13] = { [8] = 4, [11] = (uint8_t)variables, [12] = (uint8_t)(variables >> 8) };
    bytes_add(&b, post, sizeof post);
    for (size_t i = 0; i < variables; i++)
        bytes_add(&b, "v", 1);
    bytes_add(&b, "test", 5);
    bytes_add(&b, text, strlen(text));
    bytes_add(&b, "\x9a\xbc\xde\xf0", 4);
    event(w, QUERY, b.at, b.len);
    bytes_free(&b);
}

static void gtid(struct world *w)
{
    event(w, GTID, BYTES(GTID_BODY("\x07")));
}

static void world_up(struct world *w)
{
    *w = (struct world){ .prefix = 1, .seq = 1 };
    player_start(&w->p, NULL);
    player_log_in(&w->p, FLAGS, FLAGS);
    static const char dump[] = "\x1e\0\0\x2a\0\0\0\x06\0\0\0"
                               "file-1"
                               "\x04\0\0\0\0\0\0\0\x08\0\0\0"
                               "\0\0\0\0\0\0\0";
    assert_int_equal(player_packet(&w->p, TRACKER_CLIENT, 0, dump, sizeof dump), 0);
    assert_int_equal(tracker_phase(w->p.tracker), TRACKER_STREAM);
    assert_true(tracker_stream_is_between_transactions(w->p.tracker));
}

static void begin(struct world *w)
{
    world_up(w);
    event(w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
    event(w, FORMAT, BYTES("\4\0format"));
    event(w, PREVIOUS, BYTES("\0\0\0\0\0\0\0\0"));
    assert_true(tracker_stream_is_between_transactions(w->p.tracker));
}

static void world_down(struct world *w)
{
    player_stop(&w->p);
}

static void expect(const struct world *w, bool between, size_t told, size_t whole)
{
    struct snapshot s;
    snapshot_take(&w->p, &s);
    if (s.between != between || s.gtid_count != told || s.whole_count != whole)
        fail_msg("%s; expected between=%d gtids=%zu whole=%zu", snapshot_text(&s), between, told, whole);
}

/* The request is told once the first event has come, not before, with all that it holds. */
static void test_request_is_told_when_it_is_answered(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(w.p.request_count, 0);
    assert_true(tracker_is_stream(w.p.tracker));
    event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
    event(&w, FORMAT, BYTES("\4\0format"));
    assert_int_equal(w.p.request_count, 1);
    assert_true(w.p.request.is_gtid);
    assert_int_equal(w.p.request.server_id, 42);
    assert_int_equal(w.p.request.position, 4);
    assert_int_equal(w.p.request_set_len, 8);
    assert_string_equal(w.p.request.file, "file-1");
    world_down(&w);
}

/* Refused, a request tells nothing, and the session can go on. */
static void test_refused_dump_tells_nothing(void **state)
{
    (void)state;
    struct world w;
    world_up(&w);
    assert_int_equal(player_packet(&w.p, TRACKER_SERVER, 1, BYTES("\xff\xd4\x04#HY000purged")), 0);
    assert_int_equal(tracker_phase(w.p.tracker), TRACKER_COMMAND);
    assert_int_equal(w.p.request_count, 0);
    assert_true(tracker_is_stream(w.p.tracker));
    assert_true(tracker_is_at_boundary(w.p.tracker));
    world_down(&w);
}

/* Each way in which a transaction ends. */
static void test_transaction_ends(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *end; /* texts of Query events; NULL is the event's type instead */
        uint8_t type;
    } cases[] = {
        { "BEGIN", NULL, XID },         { "BEGIN", "COMMIT", 0 },
        { "BEGIN", "ROLLBACK", 0 },     { "XA START X'78',X'',1", NULL, XA_PREPARE },
        { "BEGIN", NULL, XA_PREPARE },  { NULL, "CREATE TABLE t (i INT)", 0 },
        { NULL, "XA COMMIT X'78'", 0 }, { NULL, "BEGINNING IS NO BEGIN", 0 },
        { NULL, "COMMIT", 0 },          { NULL, NULL, PAYLOAD },
        { NULL, NULL, INCIDENT },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        begin(&w);
        for (size_t round = 1; round <= 2; round++) {
            gtid(&w);
            expect(&w, false, round, round - 1);
            if (cases[i].begin != NULL) {
                query(&w, cases[i].begin, 0);
                event(&w, TABLE_MAP, BYTES("table"));
                event(&w, ROWS, BYTES("rows"));
                expect(&w, false, round, round - 1);
            }
            if (cases[i].end != NULL)
                query(&w, cases[i].end, 20);
            else
                event(&w, cases[i].type, BYTES("12345678"));
            expect(&w, true, round, round);
        }
        world_down(&w);
    }
}

/* Inside a transaction, statements and events that look like an end are none. */
static void test_what_does_not_end_a_transaction(void **state)
{
    (void)state;
    static const char *const texts[] = { "ROLLBACK TO `a`",        "SAVEPOINT `a`", "COMMITTED",  "BEGIN",
                                         "CREATE TABLE t (i INT)", "commit_log",    "COMMIT AND", "" };
    struct world w;
    begin(&w);
    gtid(&w);
    query(&w, "BEGIN", 60000);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        query(&w, texts[i], i * 100);
        expect(&w, false, 1, 0);
    }
    event(&w, HEARTBEAT, BYTES("bin.000001"));
    event(&w, HEARTBEAT_2, BYTES("bin.000001"));
    event(&w, INTVAR, BYTES("123456789"));
    event(&w, 99, BYTES("unknown"));
    expect(&w, false, 1, 0);
    event(&w, XID, BYTES("12345678"));
    expect(&w, true, 1, 1);
    world_down(&w);
}

/* Variables may come before the statement that is the whole transaction. */
static void test_context_before_a_statement(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    gtid(&w);
    event(&w, INTVAR, BYTES("123456789"));
    expect(&w, false, 1, 0);
    query(&w, "CREATE TABLE t AS SELECT 1", 0);
    expect(&w, true, 1, 1);
    world_down(&w);
}

/* What comes between transactions does not begin one. */
static void test_neutral_events_are_between(void **state)
{
    (void)state;
    static const uint8_t types[] = { ROTATE, FORMAT, PREVIOUS, HEARTBEAT, HEARTBEAT_2, 3 /* stop */ };
    struct world w;
    begin(&w);
    for (size_t i = 0; i < sizeof types; i++) {
        event(&w, types[i], BYTES("12345678"));
        expect(&w, true, 0, 0);
    }
    world_down(&w);
}

/* Half an event is not between, also where it is no part of a transaction; nor is half an acknowledgement of the client's. */
static void test_half_a_packet_is_not_between(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    struct bytes b = event_make(&w, HEARTBEAT, BYTES("bin.000001")), packet = { 0 };
    uint8_t header[4];
    packet_write_header(header, (uint32_t)b.len, w.seq);
    bytes_add(&packet, header, 4);
    bytes_add(&packet, b.at, b.len);
    assert_int_equal(player_feed(&w.p, TRACKER_SERVER, packet.at, packet.len - 1), 0);
    assert_false(tracker_stream_is_between_transactions(w.p.tracker));
    assert_int_equal(player_feed(&w.p, TRACKER_SERVER, packet.at + packet.len - 1, 1), 0);
    assert_true(tracker_stream_is_between_transactions(w.p.tracker));
    bytes_free(&packet);
    bytes_free(&b);

    assert_int_equal(player_feed(&w.p, TRACKER_CLIENT, "\x09\0\0\0\xef\4\0", 7), 0);
    assert_false(tracker_stream_is_between_transactions(w.p.tracker));
    assert_int_equal(player_feed(&w.p, TRACKER_CLIENT, "\0\0\0\0\0\0", 6), 0);
    assert_true(tracker_stream_is_between_transactions(w.p.tracker));
    assert_int_equal(tracker_phase(w.p.tracker), TRACKER_STREAM);
    world_down(&w);
}

/* Not a byte of a transaction's first event goes out before it is known whole enough, in any split. */
static void test_head_of_a_gtid_is_left_back(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    size_t out = w.p.forwarded[TRACKER_SERVER].len;
    struct bytes b = event_make(&w, GTID, BYTES(GTID_BODY("\x09"))), packet = { 0 };
    uint8_t header[4];
    packet_write_header(header, (uint32_t)b.len, w.seq);
    bytes_add(&packet, header, 4);
    bytes_add(&packet, b.at, b.len);
    size_t head = 4 + 1 + 19 + 25; /* up to the number */
    for (size_t i = 0; i < head - 1; i++) {
        assert_int_equal(player_feed(&w.p, TRACKER_SERVER, packet.at + i, 1), 0);
        assert_int_equal(w.p.forwarded[TRACKER_SERVER].len, out);
        assert_false(tracker_stream_is_blocked(w.p.tracker));
        expect(&w, true, 0, 0);
    }
    assert_int_equal(player_feed(&w.p, TRACKER_SERVER, packet.at + head - 1, packet.len - head + 1), 0);
    assert_int_equal(w.p.forwarded[TRACKER_SERVER].len, out + packet.len);
    expect(&w, false, 1, 0);
    assert_memory_equal(w.p.gtids.at, UUID_TEXT ":9\n", w.p.gtids.len);
    bytes_free(&packet);
    bytes_free(&b);
    world_down(&w);
}

/* Parked: heartbeats pass, the next transaction waits, also its bytes that were read already; unparked, all goes on. */
static void test_park_and_unpark(void **state)
{
    (void)state;
    static const uint8_t firsts[] = { GTID, ANONYMOUS };
    for (size_t i = 0; i < sizeof firsts; i++) {
        struct world w;
        begin(&w);
        tracker_park(w.p.tracker, true);
        assert_true(tracker_stream_is_parked(w.p.tracker));
        event(&w, HEARTBEAT, BYTES("bin.000001"));
        assert_false(tracker_stream_is_blocked(w.p.tracker));
        assert_int_equal(w.p.waiting[TRACKER_SERVER].len, 0);
        size_t out = w.p.forwarded[TRACKER_SERVER].len;
        event(&w, firsts[i], BYTES(GTID_BODY("\x07")));
        assert_true(tracker_stream_is_blocked(w.p.tracker));
        query(&w, "BEGIN", 0);
        event(&w, XID, BYTES("12345678"));
        assert_int_equal(w.p.forwarded[TRACKER_SERVER].len, out);
        expect(&w, true, 0, 0);
        tracker_park(w.p.tracker, false);
        assert_false(tracker_stream_is_blocked(w.p.tracker));
        assert_int_equal(player_feed(&w.p, TRACKER_SERVER, "", 0), 0);
        assert_int_equal(w.p.waiting[TRACKER_SERVER].len, 0);
        expect(&w, true, 1, 1);
        world_down(&w);
    }
}

/* A transaction that is under way when the stream is parked is let through to its end. */
static void test_park_inside_a_transaction(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    gtid(&w);
    query(&w, "BEGIN", 0);
    tracker_park(w.p.tracker, true);
    assert_false(tracker_stream_is_parked(w.p.tracker));
    event(&w, ROWS, BYTES("rows"));
    event(&w, XID, BYTES("12345678"));
    assert_true(tracker_stream_is_parked(w.p.tracker));
    expect(&w, true, 1, 1);
    gtid(&w);
    expect(&w, true, 1, 1);
    world_down(&w);
}

/* Parked before there is a stream, it is parked from birth; and a session that is no stream does not notice. */
static void test_parked_from_birth(void **state)
{
    (void)state;
    struct world w = { .prefix = 1, .seq = 1 };
    player_start(&w.p, NULL);
    tracker_park(w.p.tracker, true);
    player_log_in(&w.p, FLAGS, FLAGS);
    assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, BYTES("\x0e")), 0);
    assert_int_equal(player_packet(&w.p, TRACKER_SERVER, 1, BYTES("\0\0\0\2\0\0\0")), 0);
    assert_false(tracker_stream_is_parked(w.p.tracker));
    assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, BYTES("\x12\4\0\0\0\0\0\7\0\0\0bin.000001")), 0);
    event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
    gtid(&w);
    expect(&w, true, 0, 0);
    assert_int_equal(w.p.request_count, 1);
    assert_false(w.p.request.is_gtid);
    assert_int_equal(w.p.request.server_id, 7);
    assert_string_equal(w.p.request.file, "bin.000001");
    assert_true(tracker_stream_is_parked(w.p.tracker));
    assert_true(tracker_stream_is_blocked(w.p.tracker));
    world_down(&w);
}

/* A server that writes no GTID events (before 5.7): BEGIN begins, and what is delivered is anonymous. */
static void test_stream_without_gtid_events(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    query(&w, "BEGIN", 0);
    expect(&w, false, 1, 0);
    event(&w, XID, BYTES("12345678"));
    expect(&w, true, 1, 1);
    query(&w, "DROP TABLE t", 0);
    expect(&w, true, 2, 2);
    assert_memory_equal(w.p.gtids.at, "anonymous\nanonymous\n", w.p.gtids.len);
    tracker_park(w.p.tracker, true);
    query(&w, "BEGIN", 0);
    expect(&w, true, 2, 2);
    assert_true(tracker_stream_is_blocked(w.p.tracker));
    world_down(&w);
}

/* MariaDB's GTID event says by a flag whether one event follows, or a transaction that begins without BEGIN. */
static void test_mariadb_gtid(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    event(&w, MARIADB_GTID, BYTES("\x05\0\0\0\0\0\0\0\0\0\0\0\x01"));
    expect(&w, false, 1, 0);
    query(&w, "DROP TABLE t", 0);
    expect(&w, true, 1, 1);
    event(&w, MARIADB_GTID, BYTES("\x06\0\0\0\0\0\0\0\0\0\0\0\x00"));
    event(&w, TABLE_MAP, BYTES("table"));
    event(&w, MARIADB_QUERY_COMPRESSED, BYTES("statement"));
    expect(&w, false, 2, 1);
    query(&w, "COMMIT", 0);
    expect(&w, true, 2, 2);
    event(&w, MARIADB_GTID, BYTES("\x07\0\0\0\0\0\0\0\0\0\0\0\x01"));
    event(&w, MARIADB_QUERY_COMPRESSED, BYTES("statement"));
    expect(&w, true, 3, 3);
    event(&w, MARIADB_GTID, BYTES("\x08\0\0\0\0\0\0\0\0\0\0\0\x01"));
    event(&w, 99, BYTES("unknown"));
    expect(&w, true, 4, 4);
    world_down(&w);
}

/* Whether semi-sync's bytes are there is told by the first event's length, not by a byte that may be the time's. */
static void test_semi_sync_is_told_by_length(void **state)
{
    (void)state;
    for (size_t prefix = 1; prefix <= 3; prefix += 2) {
        struct world w;
        world_up(&w);
        w.prefix = prefix;
        w.time = 0xef;
        event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
        gtid(&w);
        query(&w, "BEGIN", 7);
        event(&w, XID, BYTES("12345678"));
        expect(&w, true, 1, 1);
        world_down(&w);
    }
}

/* An event of more than 16 MB is one event, though its parts are packets; a GTID's look-alike inside it is none. */
static void test_event_of_16_mb_and_more(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    gtid(&w);
    query(&w, "BEGIN", 0);
    size_t len = PACKET_PAYLOAD_LEN_MAX + 1000;
    uint8_t *body = calloc(1, len);
    struct bytes inner = event_make(&w, GTID, BYTES(GTID_BODY("\x63")));
    memcpy(body + PACKET_PAYLOAD_LEN_MAX - 20, inner.at, inner.len); /* where the second part begins */
    event(&w, ROWS, body, len);
    expect(&w, false, 1, 0);
    event(&w, XID, BYTES("12345678"));
    expect(&w, true, 1, 1);
    bytes_free(&inner);
    free(body);
    world_down(&w);
}

/* A server that crashed amid a transaction: the next GTID begins anew, and the one before was never told whole. */
static void test_transaction_without_end(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    gtid(&w);
    query(&w, "BEGIN", 0);
    event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000002"));
    expect(&w, false, 1, 0);
    tracker_park(w.p.tracker, true);
    gtid(&w);
    assert_true(tracker_stream_is_blocked(w.p.tracker));
    tracker_park(w.p.tracker, false);
    assert_int_equal(player_feed(&w.p, TRACKER_SERVER, "", 0), 0);
    expect(&w, false, 2, 0);
    event(&w, PAYLOAD, BYTES("compressed"));
    expect(&w, true, 2, 1);
    world_down(&w);
}

/* An error amid a transaction ends the stream; it was not told whole. */
static void test_stream_ends_with_an_error(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    gtid(&w);
    assert_int_equal(player_packet(&w.p, TRACKER_SERVER, w.seq, BYTES("\xff\xd4\x04#HY000killed")), 0);
    assert_int_equal(tracker_phase(w.p.tracker), TRACKER_COMMAND);
    expect(&w, false, 1, 0);
    world_down(&w);
}

/* Of a dump that does not block the end is an EOF; a second one on the same session is told anew. */
static void test_second_dump_after_eof(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    assert_int_equal(player_packet(&w.p, TRACKER_SERVER, w.seq, BYTES("\xfe\0\0\2\0")), 0);
    assert_int_equal(tracker_phase(w.p.tracker), TRACKER_COMMAND);
    assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, BYTES("\x12\4\0\0\0\0\0\7\0\0\0bin.000001")), 0);
    event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
    assert_int_equal(w.p.request_count, 2);
    world_down(&w);
}

/* What cannot be understood makes the session opaque: what was delivered is unknown from then on, and nothing is held back. */
static void test_broken_streams_are_opaque(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } broken[] = {
        { BYTES("") },
        { BYTES("\0short") },
        { BYTES("\x05what is this") },
        { BYTES("\0\0\0\0\0\x21\1\0\0\0\xff\xff\0\0\0\0\0\0\0\0 a wrong length") },
        { BYTES("\0\0\0\0\0\x21\1\0\0\0\x17\0\0\0\0\0\0\0\0\0zzzz") },             /* a GTID too short */
        { BYTES("\0\0\0\0\0\x2a\1\0\0\0\x17\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff") }, /* a tagged one of no sense */
        { BYTES("\0\0\0\0\0\x2a\1\0\0\0\x19\0\0\0\0\0\0\0\0\0\2\x60\0\x10\0\0") }, /* a field that is not known */
        { BYTES("\0\0\0\0\0\x21\1\0\0\0\x2c\0\0\0\0\0\0\0\0\0\1" UUID "\0\0\0\0\0\0\0\0") }, /* number 0 */
    };
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct world w;
        begin(&w);
        assert_int_equal(player_packet(&w.p, TRACKER_SERVER, w.seq, broken[i].bytes, broken[i].len), 0);
        if (tracker_opaque_reason(w.p.tracker) != TRACKER_OPAQUE_LOST) fail_msg("stream %zu was followed", i);
        assert_int_equal(w.p.waiting[TRACKER_SERVER].len, 0);
        expect(&w, false, 0, 0);
        world_down(&w);
    }
}

/* A request that nobody understands, and that a server answers all the same, leaves unknown what is delivered. */
static void test_request_that_is_not_understood(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } requests[] = {
        { BYTES("\x12\4\0") },
        { BYTES("\x1e\0\0\1\0\0\0\xff\xff\xff\xff") },
        { BYTES("\x1e\0\0\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\xff\0\0\0") },
    };
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct world w = { .prefix = 1, .seq = 1 };
        player_start(&w.p, NULL);
        player_log_in(&w.p, FLAGS, FLAGS);
        assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, requests[i].bytes, requests[i].len), 0);
        event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
        assert_int_equal(tracker_opaque_reason(w.p.tracker), TRACKER_OPAQUE_LOST);
        assert_int_equal(w.p.request_count, 0);
        world_down(&w);
    }
}

/* A server that answers half a request: what it took for the rest nobody knows. */
static void test_request_that_is_answered_early(void **state)
{
    (void)state;
    struct world w = { .prefix = 1, .seq = 1 };
    player_start(&w.p, NULL);
    player_log_in(&w.p, FLAGS, FLAGS);
    assert_int_equal(player_feed(&w.p, TRACKER_CLIENT, "\x15\0\0\0\x12\4\0\0\0\0\0\7\0\0\0bin", 18), 0);
    event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
    assert_int_equal(tracker_opaque_reason(w.p.tracker), TRACKER_OPAQUE_LOST);
    assert_int_equal(w.p.request_count, 0);
    world_down(&w);
}

/* A second request while a stream runs is no client's habit: not followed. Quitting is. */
static void test_commands_on_a_running_stream(void **state)
{
    (void)state;
    struct world w;
    begin(&w);
    assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, BYTES("\x01")), 0);
    assert_true(tracker_has_quit(w.p.tracker));
    assert_int_equal(tracker_phase(w.p.tracker), TRACKER_STREAM);
    assert_int_equal(player_packet(&w.p, TRACKER_CLIENT, 0, BYTES("\x12\4\0\0\0\0\0\7\0\0\0bin.000001")), 0);
    assert_int_equal(tracker_opaque_reason(w.p.tracker), TRACKER_OPAQUE_LOST);
    world_down(&w);
}

/* A set of some hundred thousand ranges is told whole; without memory for it, it is an error. */
static void test_large_request(void **state)
{
    (void)state;
    size_t set_len = 8 + 24 + 16U * 1200000; /* more than one packet */
    uint8_t *request = calloc(1, 23 + set_len);
    request[0] = 0x1e;
    memcpy(request + 19, &(uint32_t){ (uint32_t)set_len }, 4);
    for (int fail = 0; fail < 2; fail++) {
        struct world w = { .prefix = 1, .seq = 1 };
        player_start(&w.p, NULL);
        player_log_in(&w.p, FLAGS, FLAGS);
        mem_fail_at(fail ? 1 : 0);
        int rv = player_packet(&w.p, TRACKER_CLIENT, 0, request, 23 + set_len);
        mem_fail_at(0);
        assert_int_equal(rv, fail ? SLUICE_ERR_NOMEM : 0);
        if (!fail) {
            event(&w, ROTATE, BYTES("\4\0\0\0\0\0\0\0bin.000001"));
            assert_int_equal(w.p.request_set_len, set_len);
        }
        world_down(&w);
    }
    free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_is_told_when_it_is_answered),
        cmocka_unit_test(test_refused_dump_tells_nothing),
        cmocka_unit_test(test_transaction_ends),
        cmocka_unit_test(test_what_does_not_end_a_transaction),
        cmocka_unit_test(test_context_before_a_statement),
        cmocka_unit_test(test_neutral_events_are_between),
        cmocka_unit_test(test_half_a_packet_is_not_between),
        cmocka_unit_test(test_head_of_a_gtid_is_left_back),
        cmocka_unit_test(test_park_and_unpark),
        cmocka_unit_test(test_park_inside_a_transaction),
        cmocka_unit_test(test_parked_from_birth),
        cmocka_unit_test(test_stream_without_gtid_events),
        cmocka_unit_test(test_mariadb_gtid),
        cmocka_unit_test(test_semi_sync_is_told_by_length),
        cmocka_unit_test(test_event_of_16_mb_and_more),
        cmocka_unit_test(test_transaction_without_end),
        cmocka_unit_test(test_stream_ends_with_an_error),
        cmocka_unit_test(test_second_dump_after_eof),
        cmocka_unit_test(test_broken_streams_are_opaque),
        cmocka_unit_test(test_request_that_is_not_understood),
        cmocka_unit_test(test_request_that_is_answered_early),
        cmocka_unit_test(test_commands_on_a_running_stream),
        cmocka_unit_test(test_large_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
