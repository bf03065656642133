/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions whose TLS is ended here: scripted clients and servers on both sides of the handshakes. */
#include "world.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/text.h"
#include "net/tls_mbedtls.h"

enum { ERRNO_SLUICE = 1105, ERRNO_TLS_REQUIRED = 3159, PATH_LEN = 120 };

static char folder[] = "/tmp/sluice-tls-XXXXXX";

/* A test's own side of a connection, read and written without being watched. */
struct peer {
    struct stream st;
    bool is_closed;
};

struct tls_world {
    struct world w;
    struct tls_context *context; /* of Sluice and of both peers */
};

static int make_certificates(void **state)
{
    char command[400];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof command, "/usr/bin/python3 -B " LIB_DIR "/sluicetest/certificates.py %s", folder);
    return system(command); /* NOLINT: a fixed command */
}

static int remove_certificates(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command); /* NOLINT: a fixed command */
}

static struct tls_context *context_of(const char *name)
{
    char paths[3][PATH_LEN];
    struct tls_context *c = NULL;
    struct text error = TEXT_INIT;
    snprintf(paths[0], PATH_LEN, "%s/%s.pem", folder, name);
    snprintf(paths[1], PATH_LEN, "%s/%s.key", folder, name);
    snprintf(paths[2], PATH_LEN, "%s/ca.pem", folder);
    const struct tls_files files = { .cert = paths[0], .key = paths[1], .backend_ca = paths[2] };
    if (tls_context_new(&files, &c, &error) != 0) fail_msg("%s", text_str(&error));
    text_free(&error);
    return c;
}

static void up(struct tls_world *t, enum sessions_tls tls, uint32_t connect_timeout_ms)
{
    t->context = context_of("server");
    const struct world_options options = { .tls = tls,
                                           .tls_context = t->context,
                                           .connect_timeout_ms = connect_timeout_ms };
    world_up(&t->w, &options);
    world_route(&t->w, 0, 1);
}

static void down(struct tls_world *t)
{
    world_down(&t->w);
    tls_context_unref(t->context);
}

static const struct sessions_counters *counted(const struct tls_world *t)
{
    return sessions_counters(t->w.s);
}

static void on_event(struct stream *st, unsigned events)
{
    (void)st;
    (void)events;
}

static void peer_up(struct tls_world *t, struct peer *p, int fd)
{
    *p = (struct peer){ 0 };
    assert_int_equal(stream_init(&p->st, &t->w.loop, fd, on_event, p), 0);
}

static void on_peer_closed(struct stream *st)
{
    ((struct peer *)st->arg)->is_closed = true;
}

static void peer_down(struct tls_world *t, struct peer *p)
{
    stream_close(&p->st, on_peer_closed);
    WORLD_UNTIL(&t->w, p->is_closed);
}

static void peer_put(struct tls_world *t, struct peer *p, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = -EAGAIN;
        WORLD_UNTIL(&t->w, (n = stream_write(&p->st, at, len)) != -EAGAIN);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

static void peer_get(struct tls_world *t, struct peer *p, void *bytes, size_t len)
{
    char *at = bytes;
    while (len > 0) {
        ssize_t n = -EAGAIN;
        WORLD_UNTIL(&t->w, (n = stream_read(&p->st, at, len)) != -EAGAIN);
        if (n <= 0) fail_msg("%zu bytes still missing: %zd", len, n);
        at += n;
        len -= (size_t)n;
    }
}

static void peer_get_end(struct tls_world *t, struct peer *p)
{
    char byte;
    ssize_t n = -EAGAIN;
    WORLD_UNTIL(&t->w, (n = stream_read(&p->st, &byte, 1)) != -EAGAIN);
    assert_true(n == 0 || n == -ECONNRESET);
}

/* An ERR packet with its number; |*out_seq| is what it carries. */
static uint16_t peer_get_error(struct tls_world *t, struct peer *p, uint8_t *out_seq, char *out_text)
{
    uint8_t header[4], payload[600];
    peer_get(t, p, header, sizeof header);
    size_t len = (size_t)header[0] | (size_t)header[1] << 8;
    assert_true(len > 9 && len < sizeof payload);
    peer_get(t, p, payload, len);
    assert_int_equal(payload[0], 0xff);
    assert_memory_equal(payload + 3, "#HY000", 6);
    memcpy(out_text, payload + 9, len - 9);
    out_text[len - 9] = '\0';
    *out_seq = header[3];
    return (uint16_t)(payload[1] | payload[2] << 8);
}

static size_t make_login(uint8_t *out, uint8_t seq, uint32_t flags)
{
    uint8_t payload[100] = { (uint8_t)flags, (uint8_t)(flags >> 8), (uint8_t)(flags >> 16), 0, 0, 0, 0, 1, 255 };
    memcpy(payload + 32, "app\0\4pass", 9);
    memcpy(payload + 41, "caching_sha2_password", 22);
    return make_packet(out, seq, payload, 63);
}

enum { FLAGS_PLAIN = 0x08a205, FLAGS_TLS = 0x08aa05 };

/* Up to the request for TLS, which has reached the server: it is what the client sent. */
static void ask_for_tls(struct tls_world *t, struct peer *client, int *out_server)
{
    uint8_t request[36] = { 32, 0, 0, 1, 0x05, 0xaa, 0x08, 0, 0, 0, 0, 1, 255 }, got[64];
    uint8_t seq;
    int fd = client_connect(&t->w);
    *out_server = backend_accept(&t->w, 0);
    server_greets(&t->w, fd, *out_server, 77);
    put(&t->w, fd, request, sizeof request);
    assert_int_equal(get_packet(&t->w, *out_server, got, &seq), 32);
    assert_int_equal(seq, 1);
    assert_memory_equal(got, request + 4, 32);
    peer_up(t, client, fd);
    assert_int_equal(tls_connect(&client->st, t->context, TLS_PEERS_MAX, "localhost"), 0);
}

/* Both handshakes; |server| is the backend's side of the leg. */
static void open_tls(struct tls_world *t, struct peer *client, struct peer *server)
{
    int fd, ours = -EAGAIN, theirs = -EAGAIN;
    ask_for_tls(t, client, &fd);
    peer_up(t, server, fd);
    assert_int_equal(tls_accept(&server->st, t->context, NULL, 0), 0);
    WORLD_UNTIL(&t->w, (ours == 0 || (ours = tls_handshake(&client->st)) != -EAGAIN) &&
                           (theirs == 0 || (theirs = tls_handshake(&server->st)) != -EAGAIN));
    assert_int_equal(ours, 0);
    assert_int_equal(theirs, 0);
}

static void finish_client(struct tls_world *t, struct peer *client)
{
    int rv = -EAGAIN;
    WORLD_UNTIL(&t->w, (rv = tls_handshake(&client->st)) != -EAGAIN);
    assert_int_equal(rv, 0);
}

static void log_in(struct tls_world *t, struct peer *client, struct peer *server)
{
    uint8_t packet[128], got[128];
    size_t len = make_login(packet, 2, FLAGS_TLS);
    peer_put(t, client, packet, len);
    peer_get(t, server, got, len);
    assert_memory_equal(got, packet, len);
    len = make_ok(packet, 3, STATUS_AUTOCOMMIT);
    peer_put(t, server, packet, len);
    peer_get(t, client, got, len);
    assert_memory_equal(got, packet, len);
}

static const char *leg_phase;
static bool keep_phase(void *arg, const struct sessions_leg *leg)
{
    (void)arg;
    leg_phase = leg->phase;
    return true;
}

/* The phase of the only leg. */
static const char *phase_of(const struct tls_world *t)
{
    leg_phase = "";
    sessions_each_leg(t->w.s, keep_phase, NULL);
    return leg_phase;
}

/* The login that follows in TLS has the same numbers on both legs, and the session is followed as a plain one is. */
static void test_login_passes_with_its_numbers(void **state)
{
    (void)state;
    struct tls_world t;
    struct peer client, server;
    up(&t, SESSIONS_TLS_MIRROR, 0);
    open_tls(&t, &client, &server);
    log_in(&t, &client, &server);
    assert_string_equal(phase_of(&t), "command");
    assert_int_equal(counted(&t)->tls_sessions_total, 1);
    world_hold(&t.w, "a switch");
    sessions_drain_begin(t.w.s);
    peer_get_end(&t, &client);
    peer_get_end(&t, &server);
    assert_int_equal(counted(&t)->closed_idle_total, 1);
    peer_down(&t, &client);
    peer_down(&t, &server);
    down(&t);
}

/* A plain client of a mirror is plain on both legs; where TLS is required it reads MySQL's own error. */
static void test_plain_clients(void **state)
{
    (void)state;
    struct tls_world t;
    int client, server;
    uint8_t packet[128], payload[4096], seq;
    up(&t, SESSIONS_TLS_MIRROR, 0);
    session_up(&t.w, 0, 5, &client, &server);
    close(client);
    close(server);
    down(&t);
    up(&t, SESSIONS_TLS_REQUIRE, 0);
    client = client_connect(&t.w);
    server = backend_accept(&t.w, 0);
    server_greets(&t.w, client, server, 6);
    put(&t.w, client, packet, make_login(packet, 1, FLAGS_PLAIN));
    assert_true(get_packet(&t.w, client, payload, &seq) > 20);
    assert_int_equal(seq, 2);
    assert_int_equal(payload[0], 0xff);
    assert_int_equal(payload[1] | payload[2] << 8, ERRNO_TLS_REQUIRED);
    assert_memory_equal(payload + 3, "#HY000Connections using insecure transport", 42);
    get_end(&t.w, client);
    get_end(&t.w, server); /* not a byte of the login has passed */
    assert_int_equal(counted(&t)->tls_required_total, 1);
    close(client);
    close(server);
    down(&t);
}

/* A server that goes away, or says plain things, in its handshake: the client is told in TLS, in the packet that answers its login. */
static void test_server_fails_its_handshake(void **state)
{
    (void)state;
    static const struct {
        bool says_plain;
        const char *why;
        unsigned lost;
    } cases[] = { { false, "it closed the connection during the TLS handshake", 1 },
                  { true, "plain bytes where a TLS handshake is due", 0 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_world t;
        struct peer client;
        int server;
        uint8_t packet[128], seq;
        char text[600];
        up(&t, SESSIONS_TLS_MIRROR, 0);
        ask_for_tls(&t, &client, &server);
        if (cases[i].says_plain) put(&t.w, server, packet, make_ok(packet, 2, 0));
        if (!cases[i].says_plain) shutdown(server, SHUT_WR);
        WORLD_UNTIL(&t.w, sessions_leg_count(t.w.s) == 0);
        finish_client(&t, &client);
        size_t len = make_login(packet, 2, FLAGS_TLS);
        peer_put(&t, &client, packet, 10); /* in pieces */
        world_turn(&t.w);
        peer_put(&t, &client, packet + 10, len - 10);
        assert_int_equal(peer_get_error(&t, &client, &seq, text), ERRNO_SLUICE);
        assert_int_equal(seq, 3);
        assert_non_null(strstr(text, cases[i].why));
        peer_get_end(&t, &client);
        assert_int_equal(counted(&t)->tls_backend_failed_total, 1);
        WORLD_UNTIL(&t.w, t.w.legs_lost == cases[i].lost);
        peer_down(&t, &client);
        close(server);
        down(&t);
    }
}

/* A server that says nothing in its handshake is a loss when connect-timeout is over, and its client is told. */
static void test_server_is_silent_in_its_handshake(void **state)
{
    (void)state;
    struct tls_world t;
    struct peer client;
    int server;
    uint8_t packet[128], seq;
    char text[600];
    up(&t, SESSIONS_TLS_MIRROR, 300);
    ask_for_tls(&t, &client, &server);
    finish_client(&t, &client);
    assert_string_equal(phase_of(&t), "tls");
    peer_put(&t, &client, packet, make_login(packet, 2, FLAGS_TLS));
    assert_int_equal(peer_get_error(&t, &client, &seq, text), ERRNO_SLUICE);
    assert_int_equal(seq, 3);
    assert_non_null(strstr(text, "no TLS handshake in time"));
    assert_int_equal(t.w.loss.cause, SESSIONS_LOSS_TIMEOUT);
    peer_down(&t, &client);
    close(server);
    down(&t);
}

/* What a server, or somebody in its place, says between its greeting and TLS ends the session; the client sees none of it. */
static void test_server_speaks_in_front_of_tls(void **state)
{
    (void)state;
    struct tls_world t;
    uint8_t ok[32];
    up(&t, SESSIONS_TLS_REQUIRE, 0);
    int client = client_connect(&t.w), server = backend_accept(&t.w, 0);
    server_greets(&t.w, client, server, 9);
    put(&t.w, server, ok, make_ok(ok, 1, 0));
    get_end(&t.w, client);
    assert_int_equal(counted(&t)->protocol_errors_total, 1);
    close(client);
    close(server);
    down(&t);
}

/* A client that goes away in any state leaves nothing behind; no more does a stop of the whole. */
static void test_ends_in_every_state(void **state)
{
    (void)state;
    for (int where = 0; where < 4; where++) {
        struct tls_world t;
        struct peer client;
        int server;
        up(&t, SESSIONS_TLS_MIRROR, 0);
        ask_for_tls(&t, &client, &server);
        if (where >= 1) finish_client(&t, &client);
        if (where >= 2) { /* the client's login is awaited to be told why */
            close(server);
            server = -1;
            WORLD_UNTIL(&t.w, sessions_leg_count(t.w.s) == 0);
        }
        if (where != 3) {
            peer_down(&t, &client);
            WORLD_UNTIL(&t.w, sessions_leg_count(t.w.s) == 0);
        }
        if (server >= 0) close(server);
        if (where == 3) { /* a stop with the client still there */
            sessions_close(t.w.s, NULL, NULL);
            peer_get_end(&t, &client);
            peer_down(&t, &client);
            const struct sessions_config config = { .loop = &t.w.loop,
                                                    .source_id = "next",
                                                    .hold_timeout_ms = 1000,
                                                    .hold_clients_max = 1,
                                                    .sessions_max = 1,
                                                    .connect_timeout_ms = 1 };
            assert_int_equal(sessions_new(&config, &t.w.s), 0);
        }
        down(&t);
    }
}

/* Killed by the drain while its handshakes are under way. */
static void test_drain_kills_a_handshake(void **state)
{
    (void)state;
    struct tls_world t;
    struct peer client;
    int server;
    up(&t, SESSIONS_TLS_MIRROR, 0);
    ask_for_tls(&t, &client, &server);
    world_hold(&t.w, "a switch");
    sessions_drain_begin(t.w.s);
    assert_int_equal(sessions_leg_count(t.w.s), 1);
    assert_int_equal(sessions_drain_kill(t.w.s), 1);
    assert_int_equal(sessions_leg_count(t.w.s), 0);
    peer_down(&t, &client);
    close(server);
    down(&t);
}

/* A client that does not read makes its server wait, also through TLS; memory stays bounded, and nothing is lost. */
static void test_slow_reader_is_waited_for(void **state)
{
    (void)state;
    enum { ROWS = 300, ROW_LEN = 65535 };
    static uint8_t row[ROW_LEN + 4], got[ROW_LEN + 4];
    struct tls_world t;
    struct peer client, server;
    uint8_t packet[64];
    size_t sent = 0, total = (size_t)ROWS * sizeof row, read = 0;
    up(&t, SESSIONS_TLS_MIRROR, 0);
    open_tls(&t, &client, &server);
    log_in(&t, &client, &server);
    peer_put(&t, &client, packet, make_packet(packet, 0, "\x09", 1)); /* COM_STATISTICS: any one packet answers it */
    peer_get(&t, &server, got, 5);
    for (size_t i = 0; i < ROW_LEN; i++)
        row[i + 4] = (uint8_t)(i * 7);
    row[0] = row[1] = 0xff;
    unsigned idle = 0;
    while (idle < 300) { /* until nobody takes more */
        ssize_t n = stream_write(&server.st, row + sent % sizeof row, sizeof row - sent % sizeof row);
        if (n > 0) sent += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
        world_turn(&t.w);
        if (sent >= total) break;
    }
    assert_true(sent > 0 && sent < total);
    assert_true(counted(&t)->buffered_bytes_max <= 2 * SESSIONS_BUFFER_BYTES);
    while (read < sent) {
        ssize_t n = stream_read(&client.st, got, sizeof got);
        if (n > 0) {
            for (ssize_t i = 0; i < n; i++)
                assert_int_equal(got[i], row[(read + (size_t)i) % sizeof row]);
            read += (size_t)n;
        }
        if (n != -EAGAIN) assert_true(n > 0);
        if (sent % sizeof row != 0) { /* what TLS holds of the last row is offered again */
            ssize_t more = stream_write(&server.st, row + sent % sizeof row, sizeof row - sent % sizeof row);
            if (more > 0) sent += (size_t)more;
        }
        world_turn(&t.w);
    }
    peer_down(&t, &client);
    peer_down(&t, &server);
    down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login_passes_with_its_numbers), cmocka_unit_test(test_plain_clients),
        cmocka_unit_test(test_server_fails_its_handshake),    cmocka_unit_test(test_server_is_silent_in_its_handshake),
        cmocka_unit_test(test_server_speaks_in_front_of_tls), cmocka_unit_test(test_ends_in_every_state),
        cmocka_unit_test(test_drain_kills_a_handshake),       cmocka_unit_test(test_slow_reader_is_waited_for),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
