/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recorded conversations: of DM (data/dm.jsonl), of clients of our own with a real MySQL (data/mysql.jsonl, made by record.py), and of
 * PyMySQL, mysql2, go-sql-driver, sysbench and a MySQL replica (data/clients.jsonl, made by record_clients.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "conversation.h"
#include "core/attr.h"
#include "core/packet.h"
#include "player.h"

enum { AROUND_LEN = 320, FILES = 3 };

static const char *const files[FILES] = { DATA_DIR "/dm.jsonl", DATA_DIR "/mysql.jsonl", DATA_DIR "/clients.jsonl" };
static const size_t expected_counts[FILES] = { 26, 19, 10 };
static struct conversation *all[FILES];
static size_t counts[FILES];

static int load(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        all[i] = conversations_load(files[i], &counts[i]);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++)
        conversations_free(all[i], counts[i]);
    return 0;
}

/* Run |test| on each conversation. */
static void each_conversation(void (*test)(const struct conversation *c))
{
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(counts[i], expected_counts[i]);
        for (size_t k = 0; k < counts[i]; k++)
            test(&all[i][k]);
    }
}

static void expect_snapshot(const struct conversation *c, size_t offset, const struct player *p,
                            const struct snapshot *expected)
{
    struct snapshot s;
    snapshot_take(p, &s);
    if (!snapshot_is_equal(&s, expected))
        fail_msg("%s, byte %zu:\n  is       %s\n  expected %s", c->what, offset, snapshot_text(&s),
                 snapshot_text(expected));
}

/* The state after each byte when they come one at a time; what every other split is held to. Freed by the caller. */
static struct snapshot *reference_make(const struct conversation *c)
{
    struct player p;
    struct snapshot *reference = calloc(c->total + 1, sizeof *reference);
    size_t offset = 0;
    assert_non_null(reference);
    player_start(&p, NULL);
    snapshot_take(&p, &reference[offset++]);
    for (size_t i = 0; i < c->count; i++) {
        for (size_t k = 0; k < c->turns[i].len; k++) {
            if (player_feed(&p, c->turns[i].from, c->turns[i].bytes + k, 1) != 0)
                fail_msg("%s: refused at byte %zu", c->what, offset);
            snapshot_take(&p, &reference[offset++]);
        }
    }
    player_stop(&p);
    return reference;
}

/*
 * A turn with one more split, at |split|; |before| has been fed its bytes up to |at|. What is fed now is what is around the
 * split: more than a tracker looks at together, or keeps.
 */
static void play_split(const struct conversation *c, const struct turn *turn, const struct snapshot *reference,
                       const struct player *before, size_t at, size_t split)
{
    struct player p;
    size_t after = turn->len - split < AROUND_LEN ? turn->len - split : AROUND_LEN;
    player_copy(&p, before);
    assert_int_equal(player_feed(&p, turn->from, turn->bytes + at, split - at), 0);
    expect_snapshot(c, split, &p, &reference[split]);
    assert_int_equal(player_feed(&p, turn->from, turn->bytes + split, after), 0);
    expect_snapshot(c, split + after, &p, &reference[split + after]);
    player_stop(&p);
}

static size_t splits_seen;

/* |p| has been fed all turns before, and is fed this one; |reference| begins at the turn. */
static void split_turn(const struct conversation *c, const struct turn *turn, const struct snapshot *reference,
                       struct player *p)
{
    size_t at = 0;
    for (size_t split = 1; split < turn->len; split++, splits_seen++) {
        if (split - at >= 2 * AROUND_LEN) {
            assert_int_equal(player_feed(p, turn->from, turn->bytes + at, AROUND_LEN), 0);
            at += AROUND_LEN;
        }
        play_split(c, turn, reference, p, at, split);
    }
    assert_int_equal(player_feed(p, turn->from, turn->bytes + at, turn->len - at), 0);
    expect_snapshot(c, turn->len, p, &reference[turn->len]);
    splits_seen++; /* the recording itself is split behind it */
}

static void check_every_split(const struct conversation *c)
{
    struct snapshot *reference = reference_make(c);
    struct player p;
    size_t offset = 0;
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count; i++) {
        if (c->turns[i].bytes == NULL || c->turns[i].len == 0) continue;
        split_turn(c, &c->turns[i], reference + offset, &p);
        offset += c->turns[i].len;
    }
    assert_int_equal(offset, c->total);
    player_stop(&p);
    free(reference);
}

/* Split at any byte, the tracker is in the same state. */
static void test_split_at_every_byte(void **state)
{
    (void)state;
    size_t bytes_seen = 0;
    splits_seen = 0;
    each_conversation(check_every_split);
    for (int i = 0; i < FILES; i++) {
        for (size_t k = 0; k < counts[i]; k++)
            bytes_seen += all[i][k].total;
    }
    assert_int_equal(splits_seen, bytes_seen);
}

/* All that one side sent until the other one spoke goes in at once (|seed| 0), or in pieces of random lengths. */
static void play_runs(const struct conversation *c, const struct snapshot *reference, unsigned seed)
{
    struct player p;
    size_t offset = 0;
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count;) {
        struct bytes run = { 0 };
        enum tracker_side from = c->turns[i].from;
        for (; i < c->count && (c->turns[i].len == 0 || c->turns[i].from == from); i++)
            bytes_add(&run, c->turns[i].bytes, c->turns[i].len);
        for (size_t at = 0; at < run.len;) {
            size_t piece = seed == 0 ? run.len : 1 + (size_t)rand_r(&seed) % 1500;
            if (piece > run.len - at) piece = run.len - at;
            assert_int_equal(player_feed(&p, from, run.at + at, piece), 0);
            at += piece;
            offset += piece;
            expect_snapshot(c, offset, &p, &reference[offset]);
        }
        bytes_free(&run);
    }
    assert_int_equal(offset, c->total);
    player_stop(&p);
}

static void check_runs(const struct conversation *c)
{
    struct snapshot *reference = reference_make(c);
    for (unsigned seed = 0; seed < 20; seed++)
        play_runs(c, reference, seed);
    free(reference);
}

/* All at once in each direction, or in pieces of any length, the tracker is in the same state. */
static void test_fed_at_once_and_in_random_pieces(void **state)
{
    (void)state;
    each_conversation(check_runs);
}

/* Which bytes may differ: the two flag words of the greeting, and there only the bits that are taken out. */
static void expect_forwarded(const struct conversation *c, const struct bytes *fed, const struct bytes *forwarded,
                             bool is_server)
{
    static const uint32_t taken = PACKET_CLIENT_SSL | PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION;
    struct packet_greeting g = { 0 };
    assert_int_equal(forwarded->len, fed->len);
    if (is_server && fed->len > 0 && fed->at[4] == 10) {
        assert_int_equal(packet_parse_greeting(fed->at + 4, fed->len - 4, &g), 0);
        for (int i = 0; i < 4; i++) {
            size_t at = 4 + (i < 2 ? g.capabilities_low_at : g.capabilities_high_at - 2) + (size_t)i;
            assert_int_equal(forwarded->at[at], fed->at[at] & ~(taken >> 8 * i) & 0xff);
            fed->at[at] = forwarded->at[at];
        }
        assert_int_not_equal(g.capabilities & PACKET_CLIENT_SSL, 0);
    }
    if (fed->len > 0 && memcmp(fed->at, forwarded->at, fed->len) != 0) fail_msg("%s: bytes were changed", c->what);
}

static void check_bytes(const struct conversation *c)
{
    struct player p;
    struct bytes fed[2] = { 0 };
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count; i++) {
        assert_int_equal(player_feed(&p, c->turns[i].from, c->turns[i].bytes, c->turns[i].len), 0);
        bytes_add(&fed[c->turns[i].from], c->turns[i].bytes, c->turns[i].len);
    }
    for (int side = 0; side < 2; side++) {
        bytes_add(&p.forwarded[side], p.waiting[side].at, p.waiting[side].len); /* cut inside an event's head */
        expect_forwarded(c, &fed[side], &p.forwarded[side], side == TRACKER_SERVER);
        bytes_free(&fed[side]);
    }
    player_stop(&p);
}

/* No byte is changed, lost or added but for the greeting's flags. */
static void test_forwards_what_it_was_fed(void **state)
{
    (void)state;
    each_conversation(check_bytes);
}

/*
 * DM's clients, and ours, ask one thing at a time: when a packet of a client begins, the reply to the one before has ended.
 * (Pipelines and logins apart.)
 */
static void check_turns(const struct conversation *c)
{
    struct player p;
    if (strstr(c->what, "all commands") != NULL || strstr(c->what, "attributes") != NULL) return; /* these pipeline */
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count; i++) {
        const struct turn *turn = &c->turns[i];
        enum tracker_phase phase = tracker_phase(p.tracker);
        bool begins = turn->from == TRACKER_CLIENT && turn->len > 4 && turn->bytes[3] == 0 && turn->bytes[4] != 0xef;
        if (begins && phase != TRACKER_COMMAND)
            fail_msg("%s: turn %zu begins in phase %s", c->what, i, tracker_phase_name(phase));
        assert_int_equal(player_feed(&p, turn->from, turn->bytes, turn->len), 0);
        if (begins && turn->bytes[4] != PACKET_COM_QUIT && turn->bytes[4] != PACKET_COM_STMT_CLOSE)
            assert_true(tracker_reply_is_owed(p.tracker));
        if (tracker_phase(p.tracker) == TRACKER_OPAQUE)
            fail_msg("%s: turn %zu was not followed: %s", c->what, i,
                     tracker_opaque_text(tracker_opaque_reason(p.tracker)));
    }
    player_stop(&p);
}

static void test_reply_has_ended_when_the_client_goes_on(void **state)
{
    (void)state;
    each_conversation(check_turns);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Are the GTIDs that were told those of the list, each once, and each told whole? */
static void expect_gtids(const struct conversation *c, const struct player *p, json_t *list)
{
    size_t count = json_array_size(list);
    char **told = calloc(p->gtid_count + 1, sizeof *told);
    char *text = strndup(p->gtids.len > 0 ? (const char *)p->gtids.at : "", p->gtids.len), *rest = text;
    assert_int_equal(p->gtid_count, count);
    assert_int_equal(p->whole_count, count);
    for (size_t i = 0; i < count; i++)
        told[i] = strsep(&rest, "\n");
    qsort(told, count, sizeof *told, compare_lines);
    for (size_t i = 0; i < count; i++) {
        const char *expected = json_string_value(json_array_get(list, i));
        if (strcmp(told[i], expected) != 0) fail_msg("%s: told %s, the server has %s", c->what, told[i], expected);
    }
    free(text);
    free(told);
}

static void expect_truth(const struct conversation *c, size_t turn, const struct player *p, json_t *truth)
{
    const char *key = NULL;
    json_t *value = NULL;
    struct snapshot s;
    snapshot_take(p, &s);
    json_object_foreach(truth, key, value)
    {
        bool holds = true;
        if (strcmp(key, "phase") == 0)
            holds = strcmp(tracker_phase_name(s.phase), json_string_value(value)) == 0;
        else if (strcmp(key, "transaction") == 0)
            holds = s.transaction == json_is_true(value);
        else if (strcmp(key, "boundary") == 0)
            holds = s.boundary == json_is_true(value);
        else if (strcmp(key, "between") == 0)
            holds = s.between == json_is_true(value);
        else if (strcmp(key, "user") == 0)
            holds = strcmp(s.user, json_string_value(value)) == 0;
        else if (strcmp(key, "request") == 0)
            holds = p->request_count == 1 && strcmp(p->request.file, json_string_value(value)) == 0;
        else if (strcmp(key, "gtids") == 0)
            expect_gtids(c, p, value);
        if (!holds) fail_msg("%s: %s is not true at turn %zu: %s", c->what, key, turn, snapshot_text(&s));
    }
}

static size_t truths_seen, streams_seen;

static void check_truth(const struct conversation *c)
{
    struct player p;
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count; i++) {
        if (c->turns[i].truth != NULL) {
            truths_seen++;
            expect_truth(c, i, &p, c->turns[i].truth);
        } else {
            assert_int_equal(player_feed(&p, c->turns[i].from, c->turns[i].bytes, c->turns[i].len), 0);
        }
    }
    player_stop(&p);
}

/* Phase, transaction, user, streams and their GTIDs are as the writer of the conversation, or the server, says. */
static void test_state_is_what_the_recorder_knew(void **state)
{
    (void)state;
    truths_seen = 0;
    each_conversation(check_truth);
    assert_true(truths_seen > 400);
}

static void check_dm_stream(const struct conversation *c)
{
    struct player p;
    if (strstr(c->what, "binlog stream") == NULL) return;
    player_start(&p, NULL);
    for (size_t i = 0; i < c->count; i++)
        assert_int_equal(player_feed(&p, c->turns[i].from, c->turns[i].bytes, c->turns[i].len), 0);
    assert_true(tracker_is_stream(p.tracker));
    if (p.request_count != 1 || !p.request.is_gtid || p.request.server_id == 0 || p.request.position != 4)
        fail_msg("%s: %zu requests, server id %u", c->what, p.request_count, p.request.server_id);
    /* Those that are cut at 48 KiB were full of transactions; at most the last of them is not whole. */
    if (c->total > 49152 && (p.whole_count < 20 || p.gtid_count - p.whole_count > 1))
        fail_msg("%s: %zu transactions, %zu whole", c->what, p.gtid_count, p.whole_count);
    streams_seen++;
    player_stop(&p);
}

/* DM's streams: what was asked for is told once, and transactions are told as they go by. */
static void test_streams_of_dm(void **state)
{
    (void)state;
    streams_seen = 0;
    for (size_t i = 0; i < counts[0]; i++)
        check_dm_stream(&all[0][i]);
    assert_int_equal(streams_seen, 5);
}

/*
 * Park the stream once |park_at| bytes of the conversation are in, feed the rest; then unpark, and feed what was left back.
 */
static void play_parked(const struct conversation *c, const struct snapshot *reference, size_t park_at)
{
    struct player p;
    size_t offset = 0;
    player_start(&p, NULL);
    if (park_at == 0) tracker_park(p.tracker, true);
    for (size_t i = 0; i < c->count; i++) {
        const struct turn *turn = &c->turns[i];
        if (turn->bytes == NULL) continue;
        size_t first = park_at > offset && park_at - offset < turn->len ? park_at - offset : turn->len;
        assert_int_equal(player_feed(&p, turn->from, turn->bytes, first), 0);
        offset += first;
        if (offset == park_at) tracker_park(p.tracker, true);
        assert_int_equal(player_feed(&p, turn->from, turn->bytes + first, turn->len - first), 0);
        offset += turn->len - first;
    }
    /* Only what had begun was let through, and that to its end (unless the recording ends before). */
    const struct snapshot *then = &reference[park_at], *last = &reference[c->total];
    bool is_stream = last->phase == TRACKER_STREAM || then->phase == TRACKER_STREAM;
    if (is_stream && last->gtid_count > then->gtid_count) {
        struct snapshot s;
        snapshot_take(&p, &s);
        if (!s.parked || !s.blocked || s.gtid_count != then->gtid_count)
            fail_msg("%s, parked at %zu: %s\n  then %s", c->what, park_at, snapshot_text(&s), snapshot_text(then));
        assert_int_equal(s.whole_count, s.gtid_count);
    }
    tracker_park(p.tracker, false);
    assert_int_equal(player_feed(&p, TRACKER_SERVER, "", 0), 0);
    expect_snapshot(c, c->total, &p, last);
    player_stop(&p);
}

static void check_park(const struct conversation *c)
{
    struct snapshot *reference = reference_make(c);
    bool streams = reference[c->total].gtid_count > 0;
    size_t step =
        c->total < 30000 ? 5 : 211; /* odd, so that every place of an event is met in one transaction or another */
    for (size_t at = 0; streams && at < c->total; at += step)
        play_parked(c, reference, at);
    free(reference);
}

/* Parked at any byte, a stream stops in front of the next transaction; unparked, it goes on without a byte lost. */
static void test_park_at_any_byte(void **state)
{
    (void)state;
    each_conversation(check_park);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_at_every_byte),
        cmocka_unit_test(test_fed_at_once_and_in_random_pieces),
        cmocka_unit_test(test_forwards_what_it_was_fed),
        cmocka_unit_test(test_reply_has_ended_when_the_client_goes_on),
        cmocka_unit_test(test_state_is_what_the_recorder_knew),
        cmocka_unit_test(test_streams_of_dm),
        cmocka_unit_test(test_park_at_any_byte),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
