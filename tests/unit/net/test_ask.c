/* SPDX-License-Identifier: Apache-2.0 */
/* KILLs that are translated or answered, connection ids that are told anew, and dumps that wait for the driver. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/packet.h"
#include "world.h"

enum { ALIAS_MIN = 0xc0000000U };

/* What the driver is asked, and says. */
static struct {
    enum sessions_dump answer;
    unsigned asked;
    uint64_t session;
    uint32_t backend_index, reader_id;
    bool is_read;
} driver;

static enum sessions_dump on_dump(void *world, uint64_t session, uint32_t backend_index,
                                  const struct tracker_dump_request *request, struct sessions_refusal *out_refusal)
{
    (void)world;
    driver.asked++;
    driver.session = session;
    driver.backend_index = backend_index;
    driver.is_read = request != NULL;
    driver.reader_id = request == NULL ? 0 : request->server_id;
    out_refusal->code = SLUICE_ERR_DUMP_GATE;
    strcpy(out_refusal->message, "not now");
    return driver.answer;
}

static void asking_world_up(struct world *w, enum sessions_dump answer)
{
    const struct world_options options = { .on_dump = on_dump };
    memset(&driver, 0, sizeof driver);
    driver.answer = answer;
    world_up(w, &options);
    world_route(w, 0, 1);
}

/* A session whose server says |thread_id|; returns what the client is told. */
static uint32_t session_up_told(struct world *w, uint32_t backend, uint32_t thread_id, int *client, int *server)
{
    uint8_t packet[256], got[4096];
    struct packet_greeting greeting;
    *client = client_connect(w);
    *server = backend_accept(w, backend);
    put(w, *server, packet, make_greeting(packet, thread_id));
    size_t len = get_packet(w, *client, got, NULL);
    assert_int_equal(packet_parse_greeting(got, len, &greeting), 0);
    client_logs_in(w, *client, *server);
    return greeting.thread_id;
}

static void put_query(struct world *w, int fd, const char *sql)
{
    uint8_t payload[600] = { 3 }, packet[604];
    memcpy(payload + 1, sql, strlen(sql));
    put(w, fd, packet, make_packet(packet, 0, payload, strlen(sql) + 1));
}

static void expect_query(struct world *w, int fd, const char *sql)
{
    uint8_t got[4096];
    size_t len = get_packet(w, fd, got, NULL);
    assert_int_equal(len, strlen(sql) + 1);
    assert_int_equal(got[0], 3);
    assert_memory_equal(got + 1, sql, len - 1);
}

/* An error packet of ours to a command, with its state: "#HY000". */
static void expect_error(struct world *w, int fd, uint16_t number, const char *text)
{
    uint8_t got[4096], seq;
    size_t len = get_packet(w, fd, got, &seq);
    assert_int_equal(seq, 1);
    assert_int_equal(packet_error_errno(got, len), number);
    assert_memory_equal(got + 3, "#HY000", 6);
    assert_int_equal(len, 9 + strlen(text));
    assert_memory_equal(got + 9, text, strlen(text));
}

static void switch_to_1(struct world *w)
{
    world_hold(w, "a switch");
    sessions_drain_begin(w->s);
    WORLD_UNTIL(w, sessions_leg_count(w->s) == 0);
    world_route(w, 1, 2);
}

/* In the first epoch ids are the server's; a KILL of a live session, and of one that is not ours, arrives as it was written. */
static void test_kills_of_the_first_epoch_arrive_unchanged(void **state)
{
    (void)state;
    int client[2], server[2];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up(&w, 0, 7, &client[0], &server[0]);
    session_up(&w, 0, 8, &client[1], &server[1]);
    client_asks(&w, client[1], server[1], "KILL 7");
    server_answers(&w, client[1], server[1], STATUS_AUTOCOMMIT);
    client_asks(&w, client[1], server[1], "KILL 5555");
    server_answers(&w, client[1], server[1], STATUS_AUTOCOMMIT);
    assert_int_equal(sessions_counters(w.s)->kills_translated_total, 1);
    assert_int_equal(sessions_counters(w.s)->kills_refused_total, 0);
    for (int i = 0; i < 2; i++) {
        close(client[i]);
        get_end(&w, server[i]);
        close(server[i]);
    }
    world_down(&w);
}

/* Behind a switch: an id of before means nobody, a session of the new server with that id is told another, by which it can be killed. */
static void test_a_kill_behind_a_switch_means_a_session_of_now_or_nobody(void **state)
{
    (void)state;
    int old, old_server, client[2], server[2];
    char text[64];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    assert_int_equal(session_up_told(&w, 0, 7, &old, &old_server), 7);
    switch_to_1(&w);
    get_end(&w, old);
    uint32_t told = session_up_told(&w, 1, 7, &client[0], &server[0]);
    assert_true(told >= ALIAS_MIN);
    assert_int_equal(session_up_told(&w, 1, 9, &client[1], &server[1]), 9);

    put_query(&w, client[1], "KILL 7");
    expect_error(&w, client[1], 1094, "Unknown thread id: 7");
    snprintf(text, sizeof text, "kill query %u ;", told);
    put_query(&w, client[1], text);
    expect_query(&w, server[1], "kill query 7 ;");
    server_answers(&w, client[1], server[1], STATUS_AUTOCOMMIT);
    uint8_t packet[16], got[4096];
    const uint8_t kill[5] = { 0x0c, (uint8_t)told, (uint8_t)(told >> 8), (uint8_t)(told >> 16), (uint8_t)(told >> 24) };
    put(&w, client[1], packet, make_packet(packet, 0, kill, sizeof kill));
    assert_int_equal(get_packet(&w, server[1], got, NULL), 5);
    assert_memory_equal(got, "\x0c\7\0\0\0", 5);
    server_answers(&w, client[1], server[1], STATUS_AUTOCOMMIT);
    get_nothing(server[0]);
    close(old);
    close(old_server);
    for (int i = 0; i < 2; i++) {
        close(client[i]);
        get_end(&w, server[i]);
        close(server[i]);
    }
    world_down(&w);
}

/* Many KILLs and a query in one write: each is answered in its turn, and the query arrives behind them. */
static void test_pipelined_kills_are_answered_in_order(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static uint8_t sent[COUNT * 16 + 64];
    int old, old_server, client, server;
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    session_up_told(&w, 0, 7, &old, &old_server);
    switch_to_1(&w);
    session_up_told(&w, 1, 9, &client, &server);
    size_t len = make_packet(sent, 0, "\3SELECT 1", 9);
    for (int i = 0; i < COUNT; i++)
        len += make_packet(sent + len, 0, "\3KILL 7", 7);
    len += make_packet(sent + len, 0, "\3SELECT 2", 9);
    put(&w, client, sent, len);
    expect_query(&w, server, "SELECT 1");
    for (int i = 0; i < 20; i++)
        world_turn(&w);
    get_nothing(client); /* not in front of the reply that is owed */
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    for (int i = 0; i < COUNT; i++)
        expect_error(&w, client, 1094, "Unknown thread id: 7");
    expect_query(&w, server, "SELECT 2");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    assert_int_equal(sessions_counters(w.s)->kills_refused_total, COUNT);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    close(old);
    close(old_server);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

static const uint8_t dump_payload[] = { 0x1e, 4, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
                                        0,    0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
enum { DUMP_LEN = 4 + sizeof dump_payload };

/* The request has come to the server, but for its last byte. */
static void dump_waits(struct world *w, int client, int server)
{
    uint8_t packet[64], got[64];
    assert_int_equal(make_packet(packet, 0, dump_payload, sizeof dump_payload), DUMP_LEN);
    put(w, client, packet, DUMP_LEN);
    get(w, server, got, DUMP_LEN - 1);
    assert_memory_equal(got, packet, DUMP_LEN - 1);
    WORLD_UNTIL(w, driver.asked == 1);
    for (int i = 0; i < 20; i++)
        world_turn(w);
    get_nothing(server);
    assert_int_equal(driver.asked, 1);
    assert_int_equal(driver.reader_id, 9);
    assert_true(sessions_dump_is_waiting(w->s, driver.session));
}

/* Decided that it passes, its last byte goes, and what the client sent behind it; the stream is a stream. */
static void test_a_dump_goes_on_when_it_is_decided(void **state)
{
    (void)state;
    int client, server;
    uint8_t got[64];
    struct world w;
    asking_world_up(&w, SESSIONS_DUMP_WAIT);
    session_up(&w, 0, 7, &client, &server);
    dump_waits(&w, client, server);
    sessions_dump_decide(w.s, driver.session, 0, "");
    get(&w, server, got, 1);
    assert_int_equal(got[0], 0);
    assert_false(sessions_dump_is_waiting(w.s, driver.session));
    sessions_dump_decide(w.s, driver.session, SLUICE_ERR_DUMP_GATE, "too late"); /* nothing happens */
    server_sends_event(&w, client, server, 1, 33, 1);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

/* Refused, the client reads why as the answer to its command; the server never sees the last byte. */
static void test_a_dump_is_refused(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    asking_world_up(&w, SESSIONS_DUMP_WAIT);
    session_up(&w, 0, 7, &client, &server);
    dump_waits(&w, client, server);
    sessions_dump_decide(w.s, driver.session, SLUICE_ERR_DUMP_GATE, "behind");
    expect_error(&w, client, 1105, "behind");
    get_end(&w, client);
    get_end(&w, server);
    assert_int_equal(sessions_counters(w.s)->dumps_refused_total, 1);
    assert_int_equal(w.legs_lost, 0);
    close(client);
    close(server);
    world_down(&w);
}

/* The driver can say so at once, either way. */
static void test_a_dump_is_decided_at_once(void **state)
{
    (void)state;
    int client, server;
    uint8_t packet[64], got[64];
    struct world w;
    asking_world_up(&w, SESSIONS_DUMP_REFUSE);
    session_up(&w, 0, 7, &client, &server);
    make_packet(packet, 0, dump_payload, sizeof dump_payload);
    put(&w, client, packet, DUMP_LEN);
    expect_error(&w, client, 1105, "not now");
    get_end(&w, client);
    close(client);
    get_broken(&w, server);
    close(server);
    driver.answer = SESSIONS_DUMP_PASS;
    session_up(&w, 0, 8, &client, &server);
    put(&w, client, packet, DUMP_LEN);
    get(&w, server, got, DUMP_LEN);
    assert_memory_equal(got, packet, DUMP_LEN);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

/* A drain closes it as idle, a switch that parks counts it as parked, and a client that goes takes it with it. */
static void test_a_dump_that_waits_holds_nobody_up(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    asking_world_up(&w, SESSIONS_DUMP_WAIT);
    session_up(&w, 0, 7, &client, &server);
    dump_waits(&w, client, server);
    close(client);
    get_end(&w, server);
    close(server);
    assert_false(sessions_dump_is_waiting(w.s, driver.session));
    driver.asked = 0;
    session_up(&w, 0, 8, &client, &server);
    dump_waits(&w, client, server);
    sessions_park(w.s, true);
    assert_int_equal(sessions_unparked_count(w.s), 0);
    world_hold(&w, "a switch");
    sessions_drain_begin(w.s);
    get_end(&w, client);
    assert_int_equal(sessions_counters(w.s)->closed_idle_total, 1);
    close(client);
    get_broken(&w, server);
    close(server);
    world_down(&w);
}

static void fill_packet(uint8_t *out, size_t payload_len)
{
    packet_write_header(out, (uint32_t)payload_len, 0);
    memset(out + PACKET_HEADER_LEN, 'x', payload_len);
    out[PACKET_HEADER_LEN] = PACKET_COM_SEMI_SYNC_ACK;
}

/* A client that sends on and on behind its request is not read: memory stays bounded, and nothing is lost when it passes. */
static void test_what_is_sent_behind_a_waiting_dump_is_kept_in_bounds(void **state)
{
    (void)state;
    enum { BEHIND = 1 << 20 };
    static uint8_t sent[BEHIND], got[BEHIND];
    int client, server;
    size_t put_len = 0, seen = 0;
    struct world w;
    asking_world_up(&w, SESSIONS_DUMP_WAIT);
    session_up(&w, 0, 7, &client, &server);
    dump_waits(&w, client, server);
    for (size_t at = 0; at < BEHIND; at += 1024)
        fill_packet(sent + at, 1020); /* what a semi-sync reader may send: the rest is of no matter */
    for (int idle = 0; idle < 200; world_turn(&w)) {
        ssize_t n = put_len < BEHIND ? send(client, sent + put_len, BEHIND - put_len, MSG_NOSIGNAL) : 0;
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) put_len += (size_t)n;
    }
    assert_true(sessions_counters(w.s)->buffered_bytes <= 2 * SESSIONS_BUFFER_BYTES);
    sessions_dump_decide(w.s, driver.session, 0, "");
    get(&w, server, got, 1);
    uint64_t limit_ns = uv_hrtime() + WORLD_LIMIT_MS * 1000000ULL;
    while (seen < BEHIND && uv_hrtime() < limit_ns) {
        ssize_t n = recv(server, got + seen, BEHIND - seen, 0);
        if (n > 0) seen += (size_t)n;
        n = put_len < BEHIND ? send(client, sent + put_len, BEHIND - put_len, MSG_NOSIGNAL) : 0;
        if (n > 0) put_len += (size_t)n;
        world_turn(&w);
    }
    assert_int_equal(seen, BEHIND);
    assert_memory_equal(got, sent, BEHIND);
    close(client);
    get_end(&w, server);
    close(server);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills_of_the_first_epoch_arrive_unchanged),
        cmocka_unit_test(test_a_kill_behind_a_switch_means_a_session_of_now_or_nobody),
        cmocka_unit_test(test_pipelined_kills_are_answered_in_order),
        cmocka_unit_test(test_a_dump_goes_on_when_it_is_decided),
        cmocka_unit_test(test_a_dump_is_refused),
        cmocka_unit_test(test_a_dump_is_decided_at_once),
        cmocka_unit_test(test_a_dump_that_waits_holds_nobody_up),
        cmocka_unit_test(test_what_is_sent_behind_a_waiting_dump_is_kept_in_bounds),
    };
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
