/* SPDX-License-Identifier: Apache-2.0 */
/* Parked binlog streams: what the reader has is whole, and nothing is lost or doubled when they go on. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "world.h"

enum { GTID = 33, TABLE_MAP = 19, XID = 16 };

static void stream_up(struct world *w, int *client, int *server, uint32_t thread_id)
{
    session_up(w, 0, thread_id, client, server);
    client_dumps(w, *client, *server);
}

/* One whole transaction as the server sends it, |seq| the number of its first packet; returns its length. */
static size_t make_transaction(uint8_t *out, uint8_t seq, int64_t gno)
{
    size_t at = make_event(out, seq, GTID, gno);
    at += make_event(out + at, (uint8_t)(seq + 1), TABLE_MAP, 0);
    return at + make_event(out + at, (uint8_t)(seq + 2), XID, 0);
}

/* A transaction in progress is let through to its end; the next one waits; released, it arrives though the server sends no more. */
static void test_parked_stream_goes_on_without_a_byte_lost(void **state)
{
    (void)state;
    int client, server;
    uint8_t sent[1000], got[1000];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    stream_up(&w, &client, &server, 1);
    server_sends_event(&w, client, server, 1, GTID, 1);
    sessions_park(w.s, true);
    assert_int_equal(sessions_unparked_count(w.s), 1);
    server_sends_event(&w, client, server, 2, TABLE_MAP, 0);
    server_sends_event(&w, client, server, 3, XID, 0);
    assert_int_equal(sessions_unparked_count(w.s), 0);
    size_t len = make_transaction(sent, 4, 2);
    len += make_transaction(sent + len, 7, 3);
    put(&w, server, sent, len);
    for (int i = 0; i < 50; i++)
        world_turn(&w);
    get_nothing(client);
    sessions_park(w.s, false);
    get(&w, client, got, len);
    assert_memory_equal(got, sent, len);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

/* The same when the server had sent more than is read ahead. */
static void test_parked_stream_with_a_full_buffer_goes_on(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static uint8_t sent[COUNT * 200], got[sizeof sent];
    int client, server;
    size_t len = 0, put_len = 0, seen = 0;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    stream_up(&w, &client, &server, 1);
    sessions_park(w.s, true);
    for (int i = 0; i < COUNT; i++)
        len += make_transaction(sent + len, (uint8_t)(1 + 3 * i), i + 1);
    assert_true(len > 3 * SESSIONS_BUFFER_BYTES && len <= sizeof sent);
    for (int idle = 0; idle < 100 && put_len < len; world_turn(&w)) {
        ssize_t n = send(server, sent + put_len, len - put_len, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) put_len += (size_t)n;
    }
    WORLD_UNTIL(&w, sessions_counters(w.s)->buffered_bytes == SESSIONS_BUFFER_BYTES);
    get_nothing(client);
    sessions_park(w.s, false);
    uint64_t limit_ns = uv_hrtime() + WORLD_LIMIT_MS * 1000000ULL;
    while (seen < len && uv_hrtime() < limit_ns) {
        ssize_t n = recv(client, got + seen, len - seen, 0);
        if (n > 0) seen += (size_t)n;
        if (put_len < len) {
            n = send(server, sent + put_len, len - put_len, MSG_NOSIGNAL);
            if (n > 0) put_len += (size_t)n;
        }
        world_turn(&w);
    }
    assert_int_equal(seen, len);
    assert_memory_equal(got, sent, len);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
}

/* A stream that begins while others are parked is parked from birth, and a parked one is idle for the drain. */
static void test_stream_is_parked_from_birth_and_drains_as_idle(void **state)
{
    (void)state;
    int client, server;
    uint8_t sent[1000];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    sessions_park(w.s, true);
    stream_up(&w, &client, &server, 1);
    put(&w, server, sent, make_transaction(sent, 1, 1));
    for (int i = 0; i < 50; i++)
        world_turn(&w);
    get_nothing(client);
    world_hold(&w, "draining");
    sessions_drain_begin(w.s);
    get_end(&w, client); /* not a byte of the transaction */
    get_broken(&w, server);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, 1);
    assert_int_equal(sessions_counters(w.s)->streams_cut_total, 0);
    close(client);
    close(server);
    world_down(&w);
}

/*
 * Parked for longer than the limit, a stream is closed at its boundary: its reader has whole transactions, and is told the end before
 * it gives up by itself. One inside a transaction is let go on, however long that takes, and closed once it stands long enough.
 */
static void test_stream_parked_too_long_is_closed_whole(void **state)
{
    (void)state;
    int client, server, busy, its_server;
    uint8_t sent[1000];
    struct world w;
    world_up(&w, &(struct world_options){ .parked_ms_max = 300 });
    world_route(&w, 0, 1);
    stream_up(&w, &client, &server, 1);
    stream_up(&w, &busy, &its_server, 2);
    server_sends_event(&w, client, server, 1, GTID, 1);
    server_sends_event(&w, client, server, 2, TABLE_MAP, 0);
    server_sends_event(&w, client, server, 3, XID, 0);
    server_sends_event(&w, busy, its_server, 1, GTID, 1);
    sessions_park(w.s, true);
    put(&w, server, sent, make_transaction(sent, 4, 2));
    uint64_t began_ms = uv_now(&w.loop);
    WORLD_UNTIL(&w, sessions_counters(w.s)->parks_expired_total == 1);
    assert_true(uv_now(&w.loop) - began_ms >= 300);
    get_end(&w, client); /* whole: behind the Xid there is not a byte of the next transaction */
    get_broken(&w, server);
    assert_int_equal(sessions_counters(w.s)->streams_cut_total, 0);
    for (uint64_t end_ms = uv_now(&w.loop) + 1200; uv_now(&w.loop) < end_ms;)
        world_turn(&w);
    assert_int_equal(sessions_leg_count(w.s), 1);
    server_sends_event(&w, busy, its_server, 2, TABLE_MAP, 0);
    server_sends_event(&w, busy, its_server, 3, XID, 0);
    assert_int_equal(sessions_counters(w.s)->parks_expired_total, 1);
    WORLD_UNTIL(&w, sessions_counters(w.s)->parks_expired_total == 2);
    get_end(&w, busy);
    get_broken(&w, its_server);
    assert_int_equal(sessions_counters(w.s)->streams_cut_total, 0);
    sessions_park(w.s, false);
    close(client);
    close(server);
    close(busy);
    close(its_server);
    world_down(&w);
}

/* Unparking meets a server that has gone: routing is suspended under way, other legs close, and nothing of them is touched again. */
static void test_unparking_may_lose_a_leg(void **state)
{
    (void)state;
    enum { STREAMS = 3 };
    int clients[STREAMS], servers[STREAMS];
    uint8_t sent[1000];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    for (int i = 0; i < STREAMS - 1; i++)
        stream_up(&w, &clients[i], &servers[i], (uint32_t)i + 1);
    int early = client_connect(&w),
        its_server = backend_accept(&w, 0); /* without a byte yet; beside the stream looked at first */
    stream_up(&w, &clients[STREAMS - 1], &servers[STREAMS - 1], STREAMS);
    int late = client_connect(&w), its_late_server = backend_accept(&w, 0);
    sessions_park(w.s, true);
    for (int i = 0; i < STREAMS; i++)
        put(&w, servers[i], sent, make_transaction(sent, 1, 1));
    for (int i = 0; i < 50; i++)
        world_turn(&w);
    for (int i = 0; i < STREAMS; i++) {
        shutdown(servers[i], SHUT_WR); /* an end that is read behind the transaction */
    }
    sessions_park(w.s, false);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(w.loss.count, STREAMS);
    assert_int_equal(sessions_held_count(w.s), 2);
    for (int i = 0; i < STREAMS; i++) {
        get_broken(&w, clients[i]);
        close(clients[i]);
        close(servers[i]);
    }
    close(early);
    close(late);
    close(its_server);
    close(its_late_server);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parked_stream_goes_on_without_a_byte_lost),
        cmocka_unit_test(test_parked_stream_with_a_full_buffer_goes_on),
        cmocka_unit_test(test_stream_is_parked_from_birth_and_drains_as_idle),
        cmocka_unit_test(test_stream_parked_too_long_is_closed_whole),
        cmocka_unit_test(test_unparking_may_lose_a_leg),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
