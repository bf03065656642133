/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes through a session: exact, bounded, and ended the way each side ends. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/error.h"
#include "world.h"

/* A world that routes to A, with one session that is logged in. */
static void up(struct world *w, int *client, int *server)
{
    world_up(w, NULL);
    world_route(w, 0, 1);
    session_up(w, 0, 41, client, server);
}

/* A reply of a megabyte arrives byte for byte, and so does a statement of a megabyte. */
static void test_relay_passes_every_byte_both_ways(void **state)
{
    (void)state;
    enum { LEN = 1 << 20, ROWS = LEN / 4096 };
    int client, server;
    struct world w;
    up(&w, &client, &server);
    uint8_t *bytes = malloc(LEN), *got = malloc(LEN);
    for (int i = 0; i < LEN; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8));
    bytes[0] = (LEN - 4) & 0xff;
    bytes[1] = (LEN - 4) >> 8 & 0xff;
    bytes[2] = (LEN - 4) >> 16;
    bytes[3] = 0;
    bytes[4] = 3; /* COM_QUERY */
    for (size_t sent = 0, seen = 0; seen < LEN;) {
        if (sent < LEN) {
            ssize_t n = send(client, bytes + sent, LEN - sent, MSG_NOSIGNAL);
            if (n > 0) sent += (size_t)n;
        }
        ssize_t n = recv(server, got + seen, LEN - seen, 0);
        if (n > 0) seen += (size_t)n;
        world_turn(&w);
    }
    assert_memory_equal(got, bytes, LEN);
    /* A result set of one column: the row packets are one long row each. */
    uint8_t packet[8192], row[4096];
    size_t at = make_packet(packet, 1, "\x01", 1);
    at += make_packet(packet + at, 2,
                      "\x03"
                      "def\0\0\0\x01"
                      "c\0\x0c\x3f\0\xff\xff\0\0\xfd\0\0\0\0\0",
                      24);
    at += make_packet(packet + at, 3, "\xfe\0\0\2\0", 5);
    put(&w, server, packet, at);
    get(&w, client, got, at);
    assert_memory_equal(got, packet, at);
    for (int i = 0; i < ROWS; i++) {
        memset(row, 'a' + i % 26, sizeof row);
        row[0] = 0xfc;
        row[1] = (sizeof row - 3) & 0xff;
        row[2] = (sizeof row - 3) >> 8;
        at = make_packet(packet, (uint8_t)(4 + i), row, sizeof row);
        put(&w, server, packet, at);
        get(&w, client, got, at);
        assert_memory_equal(got, packet, at);
    }
    at = make_packet(packet, (uint8_t)(4 + ROWS), "\xfe\0\0\2\0", 5);
    put(&w, server, packet, at);
    get(&w, client, got, at);
    assert_true(sessions_counters(w.s)->bytes_to_server_total >= LEN);
    assert_true(sessions_counters(w.s)->bytes_to_client_total >= LEN);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0); /* an idle session costs no buffer */
    free(bytes);
    free(got);
    close(client);
    close(server);
    world_down(&w);
}

/* Stuffs bytes of one endless result set into |server| until nothing is taken for a while; returns how many were taken. */
static size_t stuff(struct world *w, int server)
{
    static uint8_t packet[65536 + 4];
    size_t total = 0;
    packet[0] = 0;
    packet[1] = 0;
    packet[2] = 1; /* 65536 */
    packet[3] = 1;
    for (int idle = 0; idle < 200;) {
        ssize_t n = send(server, packet + total % sizeof packet, sizeof packet - total % sizeof packet, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) total += (size_t)n;
        world_turn(w);
    }
    return total;
}

/* A client that never reads: the server is read no further, memory stays at one buffer, another session goes on, and a drain can
 * end it. */
static void test_never_reading_client_never_grows_memory(void **state)
{
    (void)state;
    int client, server, other_client, other_server;
    struct world w;
    up(&w, &client, &server);
    session_up(&w, 0, 42, &other_client, &other_server);
    client_asks(&w, client, server, "SELECT endless");
    size_t taken = 0, more;
    do { /* the kernel's buffers may grow while they fill */
        more = stuff(&w, server);
        taken += more;
    } while (more > 0);
    assert_true(taken > 0);
    uint64_t passed = sessions_counters(w.s)->bytes_to_client_total;
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, SESSIONS_BUFFER_BYTES);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes_max, SESSIONS_BUFFER_BYTES);
    client_asks(&w, other_client, other_server, "SELECT 1");
    server_answers(&w, other_client, other_server, STATUS_AUTOCOMMIT);
    assert_int_equal(sessions_counters(w.s)->bytes_to_client_total, passed + 11); /* the other's OK */
    /* The client reads on: all that was taken arrives. */
    static uint8_t got[65536];
    size_t seen = 0;
    while (seen < taken) {
        ssize_t n = recv(client, got, sizeof got, 0);
        if (n > 0) seen += (size_t)n;
        world_turn(&w);
    }
    assert_int_equal(seen, taken);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    stuff(&w, server);
    world_hold(&w, "draining");
    sessions_drain_begin(w.s);
    assert_int_equal(sessions_leg_count(w.s), 1); /* the idle one is gone, this one is busy */
    assert_int_equal(sessions_drain_kill(w.s), 1);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    close(client);
    close(server);
    close(other_client);
    close(other_server);
    world_down(&w);
}

/* A server that never reads holds up its own client only, with one buffer. */
static void test_never_reading_server_never_grows_memory(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    static uint8_t bytes[65536];
    up(&w, &client, &server);
    bytes[0] = bytes[1] = bytes[2] = 0xff; /* one statement of 16 MB, continued */
    bytes[4] = 3;
    size_t total = 0;
    for (int idle = 0; idle < 200;) {
        size_t at = total < sizeof bytes ? total : 100; /* the header only once */
        ssize_t n = send(client, bytes + at, sizeof bytes - at, MSG_NOSIGNAL);
        idle = n > 0 ? 0 : idle + 1;
        if (n > 0) total += (size_t)n;
        world_turn(&w);
    }
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, SESSIONS_BUFFER_BYTES);
    close_hard(client); /* noticed though nothing is read from it now */
    WORLD_UNTIL(&w, sessions_leg_count(w.s) == 0);
    get_broken(&w, server);
    close(server);
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, 0);
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* A server's RST is noticed though its client reads nothing, and so nothing is read from the server. */
static void test_reset_of_a_server_is_noticed_behind_a_client_that_never_reads(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    up(&w, &client, &server);
    client_asks(&w, client, server, "SELECT endless");
    while (stuff(&w, server) > 0) {
    }
    assert_int_equal(sessions_counters(w.s)->buffered_bytes, SESSIONS_BUFFER_BYTES);
    close_hard(server);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(sessions_leg_count(w.s), 0);
    close(client);
    world_down(&w);
}

/* A client that shuts its side while a reply is owed still gets the reply; the server sees the half-close. */
static void test_half_closed_client_gets_its_reply(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    up(&w, &client, &server);
    client_asks(&w, client, server, "SELECT SLEEP(1)");
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    get_end(&w, server);
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    close(server);
    get_end(&w, client);
    close(client);
    WORLD_UNTIL(&w, sessions_leg_count(w.s) == 0);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0); /* the client ended it */
    assert_int_equal(w.legs_gone, 1);
    world_down(&w);
}

/* An idle client, or one with a binlog stream, that closes takes its leg along at once: nothing is owed to it. */
static void test_closing_client_ends_its_idle_leg_at_once(void **state)
{
    (void)state;
    int client, server, streamer, source;
    struct world w;
    up(&w, &client, &server);
    session_up(&w, 0, 42, &streamer, &source);
    client_dumps(&w, streamer, source);
    server_sends_event(&w, streamer, source, 1, 33, 5); /* in the middle of a transaction */
    assert_int_equal(sessions_stream_count(w.s), 1);
    close(client);
    get_end(&w, server);
    close(streamer);
    get_end(&w, source);
    WORLD_UNTIL(&w, w.legs_gone == 1);
    assert_int_equal(sessions_leg_count(w.s), 0);
    assert_int_equal(w.legs_lost, 0);
    close(server);
    close(source);
    world_down(&w);
}

/* COM_QUIT reaches the server, and its close is no loss. */
static void test_quit_is_passed_on_and_is_no_loss(void **state)
{
    (void)state;
    int client, server;
    uint8_t packet[8];
    struct world w;
    up(&w, &client, &server);
    put(&w, client, packet, make_packet(packet, 0, "\x01", 1));
    get(&w, server, packet, 5);
    assert_int_equal(packet[4], 1);
    close(server);
    get_end(&w, client);
    close(client);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0);
    assert_int_equal(sessions_mode_kind(w.s), SESSIONS_ROUTE);
    world_down(&w);
}

/* A RST of the client ends the server's side, also while a reply is owed. */
static void test_reset_of_the_client_ends_the_leg(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    up(&w, &client, &server);
    client_asks(&w, client, server, "SELECT SLEEP(1)");
    close_hard(client);
    get_broken(&w, server);
    close(server);
    WORLD_UNTIL(&w, sessions_leg_count(w.s) == 0);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* A RST of the server in the middle of a packet ends the client, and is a loss that stops routing. */
static void test_reset_of_the_server_mid_packet_ends_the_client(void **state)
{
    (void)state;
    int client, server;
    uint8_t got[8];
    struct world w;
    up(&w, &client, &server);
    client_asks(&w, client, server, "SELECT 1");
    put(&w, server, "\x07\x00\x00\x01\x00\x00", 6); /* six of eleven bytes */
    get(&w, client, got, 6);
    close_hard(server);
    get_broken(&w, client);
    close(client);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    assert_int_equal(w.loss.cause, SESSIONS_LOSS_ENDED);
    assert_int_equal(w.loss.sys_errno, ECONNRESET);
    assert_int_equal(sessions_mode_kind(w.s), SESSIONS_HOLD);
    world_down(&w);
}

static const char last_words[] = "\xff\xbf\x0f#HY000The client was disconnected";

/* What a server says before it closes reaches the client; as nobody of us wanted it, the server is looked at again. */
static void test_last_words_of_a_server_reach_the_client(void **state)
{
    (void)state;
    int client, server;
    uint8_t packet[64], got[64];
    struct world w;
    up(&w, &client, &server);
    size_t len = make_packet(packet, 1, last_words, sizeof last_words - 1);
    put(&w, server, packet, len);
    close(server);
    get(&w, client, got, len);
    assert_memory_equal(got, packet, len);
    get_end(&w, client);
    close(client);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    world_down(&w);
}

/* The same when the client's next command can no longer be written: the server's words are read before the end is made of it. */
static void test_last_words_reach_a_client_that_is_writing(void **state)
{
    (void)state;
    int client, server;
    uint8_t packet[64], got[64];
    struct world w;
    up(&w, &client, &server);
    size_t len = make_packet(packet, 1, last_words, sizeof last_words - 1);
    put(&w, server, packet, len);
    close_hard(server);
    put(&w, client, got, make_packet(got, 0, "\x03SELECT 1", 9));
    get(&w, client, got, len);
    assert_memory_equal(got, packet, len);
    get_broken(&w, client);
    close(client);
    WORLD_UNTIL(&w, w.legs_lost == 1);
    world_down(&w);
}

/* Garbage in place of a login is answered by an ERR packet, counted, and ends this session only. */
static void test_garbage_in_place_of_a_login_is_a_protocol_error(void **state)
{
    (void)state;
    int client, server, garbler, fooled;
    uint8_t payload[4096], seq;
    struct world w;
    up(&w, &client, &server);
    garbler = client_connect(&w);
    fooled = backend_accept(&w, 0);
    server_greets(&w, garbler, fooled, 43);
    put(&w, garbler, "GET / HTTP/1.1\r\nHost: db\r\n\r\n", 28);
    assert_true(get_packet(&w, garbler, payload, &seq) > 3);
    assert_int_equal(payload[0], 0xff);
    get_end(&w, garbler);
    close(garbler);
    get_broken(&w, fooled);
    close(fooled);
    assert_int_equal(sessions_counters(w.s)->protocol_errors_total, 1);
    assert_int_equal(w.legs_lost, 0);
    client_asks(&w, client, server, "SELECT 1");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT);
    close(client);
    close(server);
    world_down(&w);
}

/* A login that the server refuses is the server's answer, not a lost leg. */
static void test_refused_login_is_no_loss(void **state)
{
    (void)state;
    uint8_t packet[128], got[4096], payload[64] = { 0x05, 0xa2, 0x08 };
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    server_greets(&w, client, server, 44);
    put(&w, client, packet, make_packet(packet, 1, payload, sizeof payload));
    get_packet(&w, server, got, NULL);
    size_t len = make_packet(packet, 2, "\xff\x15\x04#28000Access denied", 22);
    put(&w, server, packet, len);
    close(server);
    get(&w, client, got, len);
    get_end(&w, client);
    close(client);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0);
    assert_int_equal(sessions_mode_kind(w.s), SESSIONS_ROUTE);
    world_down(&w);
}

/* An error in place of the greeting (too many connections, host blocked) passes as it is and is no loss. */
static void test_error_in_place_of_a_greeting_passes(void **state)
{
    (void)state;
    uint8_t packet[64], got[64];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    size_t len = make_packet(packet, 0, "\xff\x10\x04Too many connections", 23);
    put(&w, server, packet, len);
    close(server);
    get(&w, client, got, len);
    assert_memory_equal(got, packet, len);
    get_end(&w, client);
    close(client);
    for (int i = 0; i < 10; i++)
        world_turn(&w);
    assert_int_equal(w.legs_lost, 0);
    world_down(&w);
}

/* TLS is taken out of the greeting, and nothing else is changed but compression. */
static void test_greeting_offers_no_tls(void **state)
{
    (void)state;
    uint8_t packet[300], got[300];
    struct world w;
    world_up(&w, NULL);
    world_route(&w, 0, 1);
    int client = client_connect(&w), server = backend_accept(&w, 0);
    size_t len = make_greeting(packet, 77), changed = 0;
    put(&w, server, packet, len);
    get(&w, client, got, len);
    for (size_t i = 0; i < len; i++)
        changed += packet[i] != got[i];
    assert_int_equal(changed, 3); /* CLIENT_COMPRESS; CLIENT_SSL; CLIENT_ZSTD_COMPRESSION_ALGORITHM */
    close(client);
    close(server);
    world_down(&w);
}

struct seen {
    unsigned count;
    struct sessions_leg leg;
    char phase[32], user[32];
};

static bool see(void *arg, const struct sessions_leg *leg)
{
    struct seen *seen = arg;
    seen->count++;
    seen->leg = *leg;
    snprintf(seen->phase, sizeof seen->phase, "%s", leg->phase);
    snprintf(seen->user, sizeof seen->user, "%s", leg->user);
    return true;
}

/* Each leg is shown with what finds it in a processlist: thread id and our own end, as the server names it. */
static void test_legs_are_shown_as_the_processlist_shows_them(void **state)
{
    (void)state;
    int client, server;
    struct seen seen = { 0 };
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char host[STREAM_HOST_LEN + 1], host_port[64];
    uint16_t port;
    struct world w;
    up(&w, &client, &server);
    assert_int_equal(getpeername(server, (struct sockaddr *)&peer, &len), 0);
    stream_address_text((struct sockaddr *)&peer, host, &port);
    snprintf(host_port, sizeof host_port, "%s:%u", host, port);
    client_asks(&w, client, server, "BEGIN");
    server_answers(&w, client, server, STATUS_AUTOCOMMIT | STATUS_IN_TRANS);
    sessions_each_leg(w.s, see, &seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.leg.thread_id, 41);
    assert_string_equal(seen.leg.host_port, host_port);
    assert_int_equal(seen.leg.port, port);
    assert_int_equal(seen.leg.backend_index, 0);
    assert_int_equal(seen.leg.epoch, 1);
    assert_string_equal(seen.phase, "command");
    assert_string_equal(seen.user, "app");
    assert_true(seen.leg.is_in_transaction);
    assert_false(seen.leg.is_idle);
    assert_false(seen.leg.is_stream);
    close(client);
    close(server);
    world_down(&w);
}

static int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* This process' own descriptor at the other end of |fd|. */
static int other_end(int fd)
{
    struct sockaddr_in near, far;
    socklen_t len = sizeof near;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&near, &len), 0);
    for (int other = 0; other < 1024; other++) {
        len = sizeof far;
        if (getpeername(other, (struct sockaddr *)&far, &len) == 0 && len == sizeof far &&
            memcmp(&near, &far, sizeof near) == 0)
            return other;
    }
    fail_msg("nobody is connected to descriptor %d", fd);
    return -1;
}

/* Small packets leave at once and a peer that has vanished is noticed, towards the client and towards the server. */
static void test_both_legs_have_nodelay_and_keepalive(void **state)
{
    (void)state;
    int client, server;
    struct world w;
    up(&w, &client, &server);
    assert_int_equal(socket_option(client, SOL_SOCKET, SO_KEEPALIVE),
                     0); /* the test's own ends show the kernel's defaults */
    const int ours[] = { other_end(client), other_end(server) };
    assert_int_not_equal(ours[0], ours[1]);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(socket_option(ours[i], IPPROTO_TCP, TCP_NODELAY), 1);
        assert_int_equal(socket_option(ours[i], SOL_SOCKET, SO_KEEPALIVE), 1);
        /* All below DM's read time-out of a minute. */
        assert_in_range(socket_option(ours[i], IPPROTO_TCP, TCP_KEEPIDLE) +
                            socket_option(ours[i], IPPROTO_TCP, TCP_KEEPINTVL) *
                                socket_option(ours[i], IPPROTO_TCP, TCP_KEEPCNT),
                        1, 60);
    }
    close(client);
    close(server);
    world_down(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_passes_every_byte_both_ways),
        cmocka_unit_test(test_never_reading_client_never_grows_memory),
        cmocka_unit_test(test_never_reading_server_never_grows_memory),
        cmocka_unit_test(test_reset_of_a_server_is_noticed_behind_a_client_that_never_reads),
        cmocka_unit_test(test_half_closed_client_gets_its_reply),
        cmocka_unit_test(test_closing_client_ends_its_idle_leg_at_once),
        cmocka_unit_test(test_quit_is_passed_on_and_is_no_loss),
        cmocka_unit_test(test_reset_of_the_client_ends_the_leg),
        cmocka_unit_test(test_reset_of_the_server_mid_packet_ends_the_client),
        cmocka_unit_test(test_last_words_of_a_server_reach_the_client),
        cmocka_unit_test(test_last_words_reach_a_client_that_is_writing),
        cmocka_unit_test(test_garbage_in_place_of_a_login_is_a_protocol_error),
        cmocka_unit_test(test_refused_login_is_no_loss),
        cmocka_unit_test(test_error_in_place_of_a_greeting_passes),
        cmocka_unit_test(test_greeting_offers_no_tls),
        cmocka_unit_test(test_legs_are_shown_as_the_processlist_shows_them),
        cmocka_unit_test(test_both_legs_have_nodelay_and_keepalive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
