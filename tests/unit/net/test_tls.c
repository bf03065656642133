/* SPDX-License-Identifier: Apache-2.0 */
/* TLS as a stream's table: two ends on one loop, and between them a wire that the test can split, delay and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <uv.h>
#include "core/attr.h"
#include "core/error.h"
#include "core/text.h"
#include "net/stream.h"
#include "net/tls_mbedtls.h"

enum { LIMIT_MS = 20000, PATH_LEN = 160 };

struct link_;

/* One side: a stream, what the wire has of it, and what it is to send and has got. */
struct end {
    struct link_ *link;
    struct stream st;
    int wire; /* the other end of its socket pair */
    int handshake;
    bool is_open, is_closed;
    ssize_t last_read; /* the first result that was neither bytes nor -EAGAIN; 1 before */
    size_t to_send, sent, got;
    bool is_wrong; /* what came is not what was sent */
    size_t room;   /* a read's */
};

struct link_ {
    uv_loop_t loop;
    struct end client, server;
    size_t chunk;      /* bytes that the wire carries at once */
    size_t to_server;  /* carried so far */
    size_t cut_behind; /* of |to_server|: nothing more passes, and the server sees the end */
    size_t to_client;
};

static char folder[] = "/tmp/sluice-tls-XXXXXX";

static const char *path_of(const char *name, const char *suffix)
{
    static char paths[8][PATH_LEN];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    snprintf(path, PATH_LEN, "%s/%s.%s", folder, name, suffix);
    return path;
}

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

/* A context whose server shows |server|, whose client shows |client| (NULL: nothing) and trusts |ca|. */
static struct tls_context *context_of(const char *server, const char *client, const char *ca, const char *client_ca,
                                      bool verify_name)
{
    struct tls_context *c = NULL;
    struct text error = TEXT_INIT;
    const struct tls_files files = { .cert = path_of(server, "pem"),
                                     .key = path_of(server, "key"),
                                     .ca = client_ca == NULL ? NULL : path_of(client_ca, "pem"),
                                     .backend_ca = path_of(ca, "pem"),
                                     .backend_cert = client == NULL ? NULL : path_of(client, "pem"),
                                     .backend_key = client == NULL ? NULL : path_of(client, "key"),
                                     .verify_name = verify_name };
    if (tls_context_new(&files, &c, &error) != 0) fail_msg("%s", text_str(&error));
    text_free(&error);
    return c;
}

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 2654435761u >> 13);
}

static void send_some(struct end *e)
{
    uint8_t bytes[40000];
    while (e->sent < e->to_send) {
        size_t len = e->to_send - e->sent < sizeof bytes ? e->to_send - e->sent : sizeof bytes;
        for (size_t i = 0; i < len; i++)
            bytes[i] = byte_at(e->sent + i);
        ssize_t n = stream_write(&e->st, bytes, len);
        if (n == -EAGAIN) return;
        assert_true(n > 0);
        e->sent += (size_t)n;
    }
}

static void receive_some(struct end *e)
{
    uint8_t bytes[65536];
    for (int rounds = 0; rounds < 3; rounds++) { /* bounded: what is left must wake us again */
        ssize_t n = stream_read(&e->st, bytes, e->room);
        if (n == -EAGAIN) return;
        if (n <= 0) {
            e->last_read = n;
            return;
        }
        for (ssize_t i = 0; i < n; i++)
            e->is_wrong = e->is_wrong || bytes[i] != byte_at(e->got + (size_t)i);
        e->got += (size_t)n;
    }
}

static void on_event(struct stream *st, unsigned events)
{
    struct end *e = st->arg;
    (void)events;
    if (!e->is_open) {
        if (e->handshake == -EAGAIN) e->handshake = tls_handshake(st);
        e->is_open = e->handshake == 0;
        if (!e->is_open) {
            stream_watch(st, e->handshake == -EAGAIN ? STREAM_READ : 0);
            return;
        }
    }
    send_some(e);
    if (e->last_read == 1) receive_some(e);
    unsigned wanted = e->sent < e->to_send ? STREAM_WRITE : 0;
    stream_watch(st, wanted | (e->last_read == 1 ? STREAM_READ : 0));
}

static void end_up(struct link_ *l, struct end *e)
{
    int fds[2];
    static const int small = 4608;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    *e = (struct end){ .link = l, .wire = fds[1], .handshake = -EAGAIN, .last_read = 1, .room = 65536 };
    assert_int_equal(stream_init(&e->st, &l->loop, fds[0], on_event, e), 0);
    e->st.arg = e;
}

static void link_up(struct link_ *l)
{
    *l = (struct link_){ .chunk = 65536, .cut_behind = SIZE_MAX };
    assert_int_equal(uv_loop_init(&l->loop), 0);
    end_up(l, &l->client);
    end_up(l, &l->server);
}

static void on_stream_closed(struct stream *st)
{
    ((struct end *)st->arg)->is_closed = true;
}

static void link_down(struct link_ *l)
{
    struct end *ends[] = { &l->client, &l->server };
    for (size_t i = 0; i < 2; i++) {
        stream_close(&ends[i]->st, on_stream_closed);
        if (ends[i]->wire >= 0) close(ends[i]->wire);
    }
    while (!l->client.is_closed || !l->server.is_closed)
        uv_run(&l->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&l->loop), 0); /* no handle is left */
}

static bool has_room(int fd)
{
    fd_set set;
    struct timeval now = { 0 };
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, NULL, &set, NULL, &now) == 1;
}

/* What the wire does in a turn: a chunk each way, if the other side takes it. */
static void carry(const struct end *from, const struct end *to, size_t chunk, size_t *count)
{
    uint8_t bytes[65536];
    if (from->wire < 0 || to->wire < 0 || !has_room(to->wire)) return;
    ssize_t n = recv(from->wire, bytes, chunk, 0);
    if (n <= 0) return;
    for (ssize_t at = 0; at < n;) {
        ssize_t more = send(to->wire, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (more < 0) return; /* the other side has gone */
        at += more;
    }
    *count += (size_t)n;
}

static void turn(struct link_ *l)
{
    uv_run(&l->loop, UV_RUN_NOWAIT);
    size_t left = l->cut_behind - l->to_server;
    if (left > 0) carry(&l->client, &l->server, left < l->chunk ? left : l->chunk, &l->to_server);
    if (l->to_server == l->cut_behind && l->server.wire >= 0) {
        close(l->server.wire);
        l->server.wire = -1;
    }
    carry(&l->server, &l->client, l->chunk, &l->to_client);
}

#define UNTIL(l, condition)                                                                                            \
    do {                                                                                                               \
        uint64_t limit_ns = uv_hrtime() + LIMIT_MS * 1000000ULL;                                                       \
        while (!(condition)) {                                                                                         \
            if (uv_hrtime() > limit_ns) fail_msg("did not come true: %s", #condition);                                 \
            turn(l);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void begin(struct link_ *l, struct tls_context *client, struct tls_context *server, uint32_t peer,
                  const char *host)
{
    assert_int_equal(tls_accept(&l->server.st, server, NULL, 0), 0);
    assert_int_equal(tls_connect(&l->client.st, client, peer, host), 0);
    on_event(&l->client.st, 0);
    on_event(&l->server.st, 0);
}

static void open_link(struct link_ *l, struct tls_context *c)
{
    link_up(l);
    begin(l, c, c, 0, "localhost");
    UNTIL(l, l->client.is_open && l->server.is_open);
}

/* Megabytes in both directions at once, through small buffers, split anywhere, read in pieces smaller than a record. */
static void test_bytes_pass_unchanged(void **state)
{
    (void)state;
    static const struct {
        size_t chunk, room, len;
    } cases[] = { { 65536, 65536, 6000000 }, { 777, 333, 600000 }, { 1, 65536, 3000 } };
    struct tls_context *c = context_of("server", NULL, "ca", NULL, true);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link_ l;
        link_up(&l);
        l.chunk = cases[i].chunk;
        l.client.room = l.server.room = cases[i].room;
        l.client.to_send = l.server.to_send = cases[i].len;
        begin(&l, c, c, 0, "localhost");
        UNTIL(&l, l.client.got == cases[i].len && l.server.got == cases[i].len);
        assert_false(l.client.is_wrong || l.server.is_wrong);
        assert_string_equal(tls_why(&l.client.st), "");
        assert_memory_equal(tls_version(&l.client.st), "TLSv1.", 6);
        link_down(&l);
    }
    tls_context_unref(c);
}

/* What was read behind the request for TLS belongs to the handshake. */
static void test_prefix_is_part_of_the_handshake(void **state)
{
    (void)state;
    struct link_ l;
    uint8_t prefix[20];
    struct tls_context *c = context_of("server-chain", NULL, "ca", NULL, false);
    link_up(&l);
    l.client.to_send = 100;
    assert_int_equal(tls_connect(&l.client.st, c, 0, "localhost"), 0);
    on_event(&l.client.st, 0);
    assert_int_equal(recv(l.client.wire, prefix, sizeof prefix, 0), sizeof prefix);
    assert_int_equal(tls_accept(&l.server.st, c, prefix, sizeof prefix), 0);
    on_event(&l.server.st, 0);
    UNTIL(&l, l.server.got == 100);
    link_down(&l);
    tls_context_unref(c);
}

/* A server's certificate that is not right fails the handshake, and the reason is told in words. */
static void test_server_certificates_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *server, *ca, *host;
        bool verify_name;
        const char *why; /* NULL: accepted */
    } cases[] = {
        { "server", "ca", "elsewhere.test", false, NULL },
        { "server", "ca", "sluice.test", true, NULL },
        { "server", "ca", "127.0.0.1", true, NULL },
        { "rsa", "ca", "localhost", true, NULL },
        { "expired", "ca", "localhost", false, "its certificate has expired" },
        { "future", "ca", "localhost", false, "its certificate is not valid yet" },
        { "stranger", "ca", "localhost", false, "its certificate is not signed by the CA in tls.backend-ca" },
        { "server", "other-ca", "localhost", false, "its certificate is not signed by the CA in tls.backend-ca" },
        { "elsewhere", "ca", "localhost", true, "its certificate is not for the name localhost" },
        { "server", "ca", "127.0.0.2", true, "its certificate is not for the name 127.0.0.2" },
        { "server", "ca", "::1", true, "its certificate is not for the name ::1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link_ l;
        struct tls_context *server = context_of(cases[i].server, NULL, "ca", NULL, false);
        struct tls_context *client = context_of("server", NULL, cases[i].ca, NULL, cases[i].verify_name);
        link_up(&l);
        begin(&l, client, server, 0, cases[i].host);
        UNTIL(&l, l.client.handshake != -EAGAIN && l.server.handshake != -EAGAIN);
        if (cases[i].why == NULL) {
            assert_true(l.client.is_open && l.server.is_open);
        } else {
            assert_int_equal(l.client.handshake, SLUICE_ERR_TLS);
            assert_string_equal(tls_why(&l.client.st), cases[i].why);
            assert_false(tls_is_cut(&l.client.st));
        }
        link_down(&l);
        tls_context_unref(server);
        tls_context_unref(client);
    }
}

/* A server refuses what it was told in TLS, and says so too. */
static void test_client_certificates(void **state)
{
    (void)state;
    static const struct {
        const char *client, *why;
    } cases[] = {
        { "client", NULL },
        { NULL, "it shows no certificate, and tls.ca asks for one" },
        { "stranger", "its certificate is not signed by the CA in tls.ca" },
        { "expired", "its certificate has expired" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link_ l;
        struct tls_context *server = context_of("server", NULL, "ca", "ca", false);
        struct tls_context *client = context_of("server", cases[i].client, "ca", NULL, false);
        link_up(&l);
        begin(&l, client, server, 0, "localhost");
        UNTIL(&l, l.server.handshake != -EAGAIN);
        assert_int_equal(l.server.handshake, cases[i].why == NULL ? 0 : SLUICE_ERR_TLS);
        assert_string_equal(tls_why(&l.server.st), cases[i].why == NULL ? "" : cases[i].why);
        link_down(&l);
        tls_context_unref(server);
        tls_context_unref(client);
    }
}

/* A second connection to the same server goes on from the first one's session; to another server it does not, nor after a reload. */
static void test_sessions_are_resumed(void **state)
{
    (void)state;
    struct tls_context *server = context_of("server", NULL, "ca", NULL, false);
    struct tls_context *clients[] = { context_of("server", NULL, "ca", NULL, true),
                                      context_of("server", NULL, "ca", NULL, true) };
    static const struct {
        unsigned context;
        uint32_t peer;
        bool is_resumed;
    } cases[] = { { 0, 1, false }, { 0, 1, true }, { 0, 2, false }, { 0, 2, true }, { 0, 1, true }, { 1, 1, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct link_ l;
        link_up(&l);
        l.client.to_send = l.server.to_send = 10;
        begin(&l, clients[cases[i].context], server, cases[i].peer, "localhost");
        UNTIL(&l, l.client.got == 10 && l.server.got == 10);
        assert_int_equal(tls_is_resumed(&l.client.st), cases[i].is_resumed);
        link_down(&l);
    }
    tls_context_unref(server);
    tls_context_unref(clients[0]);
    tls_context_unref(clients[1]);
}

/* Plain bytes where a handshake is due, on either side. */
static void test_plain_bytes_are_told(void **state)
{
    (void)state;
    struct tls_context *c = context_of("server", NULL, "ca", NULL, false);
    static const char plain[] = "\x21\x00\x00\x02 a login in clear text";
    struct link_ l;
    link_up(&l);
    assert_int_equal(tls_accept(&l.server.st, c, NULL, 0), 0);
    on_event(&l.server.st, 0);
    assert_int_equal(send(l.server.wire, plain, sizeof plain, 0), sizeof plain);
    UNTIL(&l, l.server.handshake != -EAGAIN);
    assert_string_equal(tls_why(&l.server.st), "plain bytes where a TLS handshake is due");
    assert_int_equal(tls_connect(&l.client.st, c, 0, "localhost"), 0);
    on_event(&l.client.st, 0);
    assert_int_equal(send(l.client.wire, plain, sizeof plain, 0), sizeof plain);
    UNTIL(&l, l.client.handshake != -EAGAIN);
    assert_string_equal(tls_why(&l.client.st), "plain bytes where a TLS handshake is due");
    link_down(&l);
    tls_context_unref(c);
}

/* An end between two records is an end, with or without TLS' own word for it; one inside a record is an error. */
static void test_ends_and_truncated_records(void **state)
{
    (void)state;
    struct tls_context *c = context_of("server", NULL, "ca", NULL, false);
    for (int kind = 0; kind < 4; kind++) {
        struct link_ l;
        open_link(&l, c);
        size_t before = l.to_server;
        if (kind == 0) { /* TLS says the end, the connection stays */
            assert_int_equal(stream_shutdown(&l.client.st), 0);
        } else if (kind == 1) { /* the connection ends between records */
            l.cut_behind = before;
        } else { /* inside a record's header, and inside its body */
            l.cut_behind = before + (kind == 2 ? 3 : 40);
            assert_true(stream_write(&l.client.st, "0123456789012345678901234567890123456789", 40) == 40);
        }
        UNTIL(&l, l.server.last_read != 1);
        assert_int_equal(l.server.last_read, kind < 2 ? 0 : -EPROTO);
        assert_string_equal(tls_why(&l.server.st),
                            kind < 2 ? "" : "it closed the connection in the middle of a TLS record");
        link_down(&l);
    }
    tls_context_unref(c);
}

/* A peer that goes away in the handshake is told from one that fails it; a record that was changed on the way breaks the stream. */
static void test_cut_handshake_and_changed_record(void **state)
{
    (void)state;
    struct tls_context *c = context_of("server", NULL, "ca", NULL, false);
    struct link_ l;
    link_up(&l);
    l.cut_behind = 10;
    begin(&l, c, c, 0, "localhost");
    UNTIL(&l, l.server.handshake != -EAGAIN);
    assert_true(tls_is_cut(&l.server.st));
    assert_string_equal(tls_why(&l.server.st), "it closed the connection in the middle of a TLS record");
    link_down(&l);
    open_link(&l, c);
    static const uint8_t garbage[] = { 23, 3,  3,  0,  40, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                       11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                       26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40 };
    assert_int_equal(send(l.server.wire, garbage, sizeof garbage, 0), sizeof garbage);
    UNTIL(&l, l.server.last_read != 1);
    assert_int_equal(l.server.last_read, -EPROTO);
    assert_memory_equal(tls_why(&l.server.st), "TLS failed: ", 12);
    link_down(&l);
    tls_context_unref(c);
}

/* Files that are not right are refused by name, and nothing is half loaded. */
static void test_files_that_are_refused(void **state)
{
    (void)state;
    FILE *file = fopen(path_of("empty", "pem"), "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(chmod(path_of("rsa", "key"), 0640), 0);
    const struct {
        struct tls_files files;
        const char *key, *reason;
    } cases[] = {
        { { .cert = path_of("none", "pem"), .key = path_of("server", "key") }, "tls.cert: ", "No such file" },
        { { .cert = path_of("empty", "pem"), .key = path_of("server", "key") }, "tls.cert: ", "X509" },
        { { .cert = path_of("server", "pem"), .key = path_of("client", "key") }, "tls.key: ", "not the key of" },
        { { .cert = path_of("rsa", "pem"), .key = path_of("rsa", "key") }, "tls.key: ", "chmod 600" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tls_files files = cases[i].files;
        struct tls_context *c = NULL;
        struct text error = TEXT_INIT;
        char ca[PATH_LEN];
        snprintf(ca, sizeof ca, "%s/ca.pem", folder);
        files.backend_ca = ca;
        assert_int_equal(tls_context_new(&files, &c, &error), SLUICE_ERR_CONFIG);
        assert_memory_equal(text_str(&error), cases[i].key, strlen(cases[i].key));
        if (strstr(text_str(&error), cases[i].reason) == NULL) fail_msg("%s", text_str(&error));
        text_free(&error);
    }
    assert_int_equal(chmod(path_of("rsa", "key"), 0600), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_pass_unchanged),
        cmocka_unit_test(test_prefix_is_part_of_the_handshake),
        cmocka_unit_test(test_server_certificates_that_are_refused),
        cmocka_unit_test(test_client_certificates),
        cmocka_unit_test(test_sessions_are_resumed),
        cmocka_unit_test(test_plain_bytes_are_told),
        cmocka_unit_test(test_ends_and_truncated_records),
        cmocka_unit_test(test_cut_handshake_and_changed_record),
        cmocka_unit_test(test_files_that_are_refused),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
