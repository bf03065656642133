/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "sample_key.h"

enum { CLIENTS_MAX = 128, DRIP_MS = 20 };

struct fake_server {
    enum fake_manner manner;
    int listener;
    int stop; /* eventfd */
    uint16_t port;
    pthread_t acceptor;
    pthread_t clients[CLIENTS_MAX];
    atomic_uint client_count;
    atomic_int got_secret;
};

struct fake_client {
    struct fake_server *server;
    int fd;
};

/* Wait for |ms| (-1: for ever) or for the end: non-zero is the end, or the client hung up. */
static int end_within(struct fake_client *c, int ms)
{
    struct pollfd fds[] = { { .fd = c->server->stop, .events = POLLIN }, { .fd = c->fd, .events = POLLRDHUP } };
    poll(fds, 2, ms);
    return fds[0].revents != 0 || fds[1].revents != 0;
}

static int put(struct fake_client *c, const void *bytes, size_t len)
{
    return send(c->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -1;
}

/* A packet: its payload is shorter than 64 KiB. */
static int put_packet(struct fake_client *c, uint8_t sequence, const void *payload, size_t len)
{
    uint8_t packet[65536 + 4] = { (uint8_t)len, (uint8_t)(len >> 8), 0, sequence };
    memcpy(packet + 4, payload, len);
    return put(c, packet, len + 4);
}

/* Protocol::HandshakeV10 of a server with caching_sha2_password. */
static int put_greeting(struct fake_client *c, int offers_tls)
{
    uint32_t capabilities = 0x00000001 | 0x00000008 | 0x00000200 | 0x00002000 | 0x00008000 | 0x00080000 | 0x00000004;
    uint8_t p[128];
    size_t n = 0;
    if (offers_tls) capabilities |= 0x00000800;
    p[n++] = 10;
    memcpy(p + n, "8.4.0", 6), n += 6;
    memcpy(p + n, "\x07\0\0\0", 4), n += 4;
    memcpy(p + n, "abcdefgh", 9), n += 9;
    p[n++] = (uint8_t)capabilities, p[n++] = (uint8_t)(capabilities >> 8);
    p[n++] = 45;
    memcpy(p + n, "\x02\0", 2), n += 2;
    p[n++] = (uint8_t)(capabilities >> 16), p[n++] = (uint8_t)(capabilities >> 24);
    p[n++] = 21;
    memset(p + n, 0, 10), n += 10;
    memcpy(p + n, "ijklmnopqrst", 13), n += 13;
    memcpy(p + n, "caching_sha2_password", 22), n += 22;
    return put_packet(c, 0, p, n);
}

static void drip(struct fake_client *c, const uint8_t *head, size_t head_len)
{
    static const uint8_t zero[1];
    for (size_t i = 0; !end_within(c, DRIP_MS); i++) {
        if (put(c, i < head_len ? head + i : zero, 1) != 0) return;
    }
}

/* Read one packet whole; its length, or -1 at the end of the client or the test. */
static ssize_t get_packet(struct fake_client *c, uint8_t *payload, size_t room)
{
    uint8_t head[4];
    size_t got = 0, want = sizeof head;
    uint8_t *into = head;
    for (;;) {
        struct pollfd fds[] = { { .fd = c->server->stop, .events = POLLIN }, { .fd = c->fd, .events = POLLIN } };
        poll(fds, 2, -1);
        if (fds[0].revents != 0) return -1;
        ssize_t n = recv(c->fd, into + got, want - got, 0);
        if (n <= 0) return -1;
        got += (size_t)n;
        if (got < want) continue;
        if (into == payload) return (ssize_t)want;
        want = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
        if (want > room) return -1;
        if (want == 0) return 0;
        into = payload;
        got = 0;
    }
}

/* Until the client or the test ends: a packet of 256 bytes is a password under our key of 2048 bits. */
static void watch_for_secret(struct fake_client *c)
{
    uint8_t bytes[4096];
    ssize_t len;
    while ((len = get_packet(c, bytes, sizeof bytes)) >= 0) {
        if (len == 256 || memmem(bytes, (size_t)len, "secret", 6) != NULL) atomic_store(&c->server->got_secret, 1);
    }
}

/* Everything that leads a trusting client to send its password is on the wire before it asks: nothing makes it wait. */
static void ask_for_password(struct fake_client *c)
{
    uint8_t key[2048] = { 1 };
    size_t len = strlen(sample_key);
    memcpy(key + 1, sample_key, len);
    put_greeting(c, 0);
    put_packet(c, 2, "\x01\x04", 2);
    put_packet(c, 4, key, len + 1);
    watch_for_secret(c);
}

static void rows_for_ever(struct fake_client *c)
{
    static const uint8_t ok[] = { 0, 0, 0, 2, 0, 0, 0 };
    static const char column[] = "\x03"
                                 "def\0\0\0\x01"
                                 "a\0\x0c\x2d\0\xff\0\0\0\xfd\0\0\0\0";
    uint8_t bytes[4096];
    uint8_t row[1001];
    put_greeting(c, 0);
    if (recv(c->fd, bytes, sizeof bytes, 0) <= 0) return;
    put_packet(c, 2, "\x01\x03", 2); /* fast authentication is done */
    put_packet(c, 3, ok, sizeof ok);
    if (recv(c->fd, bytes, sizeof bytes, 0) <= 0) return;
    put_packet(c, 1, "\x01", 1);
    put_packet(c, 2, column, sizeof column - 1);
    put_packet(c, 3, "\xfe\0\0\x02\0", 5);
    memset(row, 'x', sizeof row);
    row[0] = 250;
    row[251] = 0;
    for (uint8_t sequence = 4; !end_within(c, 0); sequence++) {
        if (put_packet(c, sequence, row, 251) != 0) return;
    }
}

/* As Percona Server does from its proxy_protocol_networks. A wrong header ends the connection. */
static void demand_header(struct fake_client *c, const char *header, size_t len)
{
    char bytes[32];
    if (recv(c->fd, bytes, len, MSG_WAITALL) != (ssize_t)len || memcmp(bytes, header, len) != 0) return;
    put_packet(c, 0, "\xff\x10\x04Too many connections", 23);
}

static void misbehave(struct fake_client *c)
{
    static const uint8_t long_greeting[] = { 0xff, 0xff, 0x0f, 0, 10 };
    static const uint8_t tls_record[] = { 0x16, 0x03, 0x03, 0x40, 0x00, 0x02 };
    static const char http[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    struct linger no_linger = { .l_onoff = 1 };
    switch (c->server->manner) {
    case FAKE_SILENT: end_within(c, -1); break;
    case FAKE_DRIP: drip(c, long_greeting, sizeof long_greeting); break;
    case FAKE_RESET:
        put(c, "\x4a\0\0\0\x0a", 5);
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
        break;
    case FAKE_GARBAGE: put(c, http, sizeof http - 1); break;
    case FAKE_CLOSE: break;
    case FAKE_ERROR: put_packet(c, 0, "\xff\x10\x04Too many connections", 23); break;
    case FAKE_MUTE_TLS:
        put_greeting(c, 1);
        end_within(c, -1);
        break;
    case FAKE_DRIP_TLS:
        put_greeting(c, 1);
        drip(c, tls_record, sizeof tls_record);
        break;
    case FAKE_NO_TLS: ask_for_password(c); break;
    case FAKE_PROXY_V1: demand_header(c, "PROXY UNKNOWN\r\n", 15); break;
    case FAKE_PROXY_V2: demand_header(c, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16); break;
    case FAKE_ROWS_FOR_EVER: rows_for_ever(c); break;
    }
}

static void *client_thread(void *arg)
{
    struct fake_client *c = arg;
    misbehave(c);
    close(c->fd);
    free(c);
    return NULL;
}

static void *accept_thread(void *arg)
{
    struct fake_server *s = arg;
    for (;;) {
        struct pollfd fds[] = { { .fd = s->stop, .events = POLLIN }, { .fd = s->listener, .events = POLLIN } };
        poll(fds, 2, -1);
        if (fds[0].revents != 0) return NULL;
        int fd = accept(s->listener, NULL, NULL);
        unsigned n = atomic_load(&s->client_count);
        if (fd < 0 || n == CLIENTS_MAX) abort();
        struct fake_client *c = malloc(sizeof *c);
        *c = (struct fake_client){ .server = s, .fd = fd };
        pthread_create(&s->clients[n], NULL, client_thread, c);
        atomic_store(&s->client_count, n + 1);
    }
}

struct fake_server *fake_server_up(enum fake_manner manner)
{
    struct fake_server *s = calloc(1, sizeof *s);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    s->manner = manner;
    s->stop = eventfd(0, EFD_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->listener, 128), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->acceptor, NULL, accept_thread, s), 0);
    return s;
}

void fake_server_down(struct fake_server *s)
{
    assert_int_equal(write(s->stop, &(uint64_t){ 1 }, 8), 8);
    pthread_join(s->acceptor, NULL);
    for (unsigned i = 0; i < atomic_load(&s->client_count); i++)
        pthread_join(s->clients[i], NULL);
    close(s->listener);
    close(s->stop);
    free(s);
}

struct upstream_target fake_server_target(const struct fake_server *s)
{
    static char user[] = "sluice", password[] = "secret";
    struct upstream_target t = { .user = user, .password = password };
    struct sockaddr_in *in = (struct sockaddr_in *)&t.addr;
    in->sin_family = AF_INET;
    in->sin_port = htons(s->port);
    in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return t;
}

unsigned fake_server_clients(const struct fake_server *s)
{
    return atomic_load(&s->client_count);
}

int fake_server_got_secret(const struct fake_server *s)
{
    return atomic_load(&s->got_secret);
}
