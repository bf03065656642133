/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned open_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void on_legs_gone(void *arg)
{
    struct world *w = arg;
    w->legs_gone++;
}

static void on_leg_lost(void *arg, const struct sessions_loss *loss)
{
    struct world *w = arg;
    w->legs_lost++;
    w->loss = *loss;
    if (w->in_leg_lost != NULL) w->in_leg_lost(w);
}

static int listen_anywhere(uint16_t *out_port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(fd, 4096), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *out_port = ntohs(in.sin_port);
    return fd;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value == 0 ? fallback : value;
}

void world_up(struct world *w, const struct world_options *options)
{
    static const struct world_options defaults = { 0 };
    if (options == NULL) options = &defaults;
    *w = (struct world){ 0 };
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->fds_before = open_fds();
    for (int i = 0; i < WORLD_BACKENDS; i++)
        w->backends[i] = listen_anywhere(&w->backend_ports[i]);
    if (options->legs_path != NULL) {
        enum legs_found found;
        assert_int_equal(legs_open(options->legs_path, or_default(options->sessions_max, 100), &w->legs, &found, NULL),
                         0);
    }
    const char *why;
    if (options->accept_from != NULL) assert_int_equal(network_parse(options->accept_from, &w->accept_from, &why), 0);
    const struct sessions_config config = { .loop = &w->loop,
                                            .source_id = "orders",
                                            .hold_timeout_ms = or_default(options->hold_timeout_ms, 5000),
                                            .hold_clients_max = or_default(options->hold_clients_max, 100),
                                            .sessions_max = or_default(options->sessions_max, 100),
                                            .connect_timeout_ms = or_default(options->connect_timeout_ms, 3000),
                                            .parked_ms_max = options->parked_ms_max,
                                            .source_address = "127.0.0.1",
                                            .tls = options->tls,
                                            .tls_context = options->tls_context,
                                            .accept_from = &w->accept_from,
                                            .accept_from_count = options->accept_from != NULL,
                                            .proxy_send = options->proxy_send,
                                            .legs = w->legs,
                                            .callbacks = { on_legs_gone, on_leg_lost },
                                            .streams = { .on_dump = options->on_dump },
                                            .arg = w };
    assert_int_equal(sessions_new(&config, &w->s), 0);
    const struct listener_config listener = {
        .loop = &w->loop, .source_id = "orders", .host = "127.0.0.1", .on_accept = sessions_on_accept, .arg = w->s
    };
    assert_int_equal(listener_new(&listener, &w->listener, NULL), 0);
}

void world_on_closed(void *arg)
{
    struct world *w = arg;
    w->closed++;
}

void world_down(struct world *w)
{
    WORLD_UNTIL(w, !uv_loop_alive(&w->loop) || uv_backend_timeout(&w->loop) != 0); /* the loop comes to rest */
    listener_close(w->listener, world_on_closed, w);
    if (!w->sessions_are_closing) sessions_close(w->s, world_on_closed, w);
    WORLD_UNTIL(w, w->closed == 2);
    for (int i = 0; i < WORLD_BACKENDS; i++) {
        if (w->backends[i] >= 0) close(w->backends[i]);
    }
    legs_close(w->legs);
    assert_int_equal(open_fds(), w->fds_before);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

void world_turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    if (!uv_loop_alive(&w->loop)) return;
    usleep(100); /* others of this machine get a turn as well */
}

void world_hold(struct world *w, const char *phase)
{
    const struct sessions_mode mode = { .kind = SESSIONS_HOLD, .as = { .hold = { .phase = phase } } };
    sessions_set_mode(w->s, &mode);
}

void world_route(struct world *w, uint32_t backend, uint64_t epoch)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(w->backend_ports[backend]),
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    struct sessions_mode mode = { .kind = SESSIONS_ROUTE };
    memcpy(&mode.as.route.address, &in, sizeof in);
    mode.as.route.address_len = sizeof in;
    mode.as.route.backend_index = backend;
    mode.as.route.epoch = epoch;
    strcpy(mode.as.route.server_uuid, backend == 0 ? UUID_A : UUID_B);
    sessions_set_mode(w->s, &mode);
}

void world_refuse(struct world *w, int code, const char *message)
{
    const struct sessions_mode mode = { .kind = SESSIONS_REFUSE, .as = { .refuse = { code, message } } };
    sessions_set_mode(w->s, &mode);
}

void world_close_backend(struct world *w, uint32_t backend)
{
    close(w->backends[backend]);
    w->backends[backend] = -1;
}

/* Without Nagle's algorithm: what was put has left when the socket is reset. */
static void make_prompt(int fd)
{
    static const int on = 1;
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

int client_connect(struct world *w)
{
    struct sockaddr_in in = { .sin_family = AF_INET,
                              .sin_port = htons(listener_port(w->listener)),
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&in, sizeof in), 0);
    make_prompt(fd);
    return fd;
}

bool backend_is_called(struct world *w, uint32_t backend)
{
    fd_set set;
    struct timeval now = { 0 };
    FD_ZERO(&set);
    FD_SET(w->backends[backend], &set);
    return select(w->backends[backend] + 1, &set, NULL, NULL, &now) == 1;
}

int backend_accept(struct world *w, uint32_t backend)
{
    int fd = -1;
    WORLD_UNTIL(w, (fd = accept4(w->backends[backend], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    make_prompt(fd);
    return fd;
}

void put(struct world *w, int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = -1;
        WORLD_UNTIL(w, (n = send(fd, at, len, MSG_NOSIGNAL)) >= 0 || errno != EAGAIN);
        assert_true(n > 0);
        at += n;
        len -= (size_t)n;
    }
}

void get(struct world *w, int fd, void *bytes, size_t len)
{
    char *at = bytes;
    while (len > 0) {
        ssize_t n = -1;
        WORLD_UNTIL(w, (n = recv(fd, at, len, 0)) >= 0 || errno != EAGAIN);
        if (n <= 0) fail_msg("%zu bytes still missing: %s", len, n == 0 ? "end of file" : strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

size_t get_packet(struct world *w, int fd, uint8_t *payload, uint8_t *out_seq)
{
    uint8_t header[4];
    get(w, fd, header, sizeof header);
    size_t len = (size_t)header[0] | (size_t)header[1] << 8 | (size_t)header[2] << 16;
    assert_true(len <= 4096);
    get(w, fd, payload, len);
    if (out_seq != NULL) *out_seq = header[3];
    return len;
}

void get_end(struct world *w, int fd)
{
    char byte;
    ssize_t n = -1;
    WORLD_UNTIL(w, (n = recv(fd, &byte, 1, 0)) >= 0 || errno != EAGAIN);
    if (n != 0) fail_msg("expected the end, got %s", n > 0 ? "a byte" : strerror(errno));
}

void get_nothing(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    assert_int_equal(n, -1);
    assert_int_equal(errno, EAGAIN);
}

void get_broken(struct world *w, int fd)
{
    static char bytes[65536];
    ssize_t n = 1;
    while (n > 0)
        WORLD_UNTIL(w, (n = recv(fd, bytes, sizeof bytes, 0)) >= 0 || errno != EAGAIN);
    assert_true(n == 0 || errno == ECONNRESET);
}

uint16_t get_refusal(struct world *w, int fd, char *out_text)
{
    uint8_t payload[4096];
    uint8_t seq;
    size_t len = get_packet(w, fd, payload, &seq);
    assert_int_equal(seq, 0);
    assert_true(len > 3 && len < 600);
    assert_int_equal(payload[0], 0xff);
    assert_int_not_equal(payload[3], '#');
    memcpy(out_text, payload + 3, len - 3);
    out_text[len - 3] = '\0';
    assert_null(strstr(out_text, "connect: connection refused"));
    get_end(w, fd);
    int error = 0;
    socklen_t error_len = sizeof error;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len), 0);
    assert_int_equal(error, 0); /* no RST came behind it, which would have taken the packet from a slower reader */
    close(fd);
    return (uint16_t)(payload[1] | payload[2] << 8);
}

void close_hard(int fd)
{
    static const struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(fd);
}

size_t make_packet(uint8_t *out, uint8_t seq, const void *payload, size_t len)
{
    out[0] = (uint8_t)len;
    out[1] = (uint8_t)(len >> 8);
    out[2] = (uint8_t)(len >> 16);
    out[3] = seq;
    memcpy(out + 4, payload, len);
    return len + 4;
}

size_t make_greeting(uint8_t *out, uint32_t thread_id)
{
    static const uint8_t tail[] = { 1,    2,    3,   4,  5,  6,    7,    8,  0, /* scramble, filler */
                                    0xff, 0xff, 255, 2,  0,  0xff, 0xdf, 21, /* flags, charset, status, flags, length */
                                    0,    0,    0,   0,  0,  0,    0,    0,  0,  0, /* reserved */
                                    9,    10,   11,  12, 13, 14,   15,   16, 17, 18, 19, 20, 0 };
    static const char plugin[] = "caching_sha2_password";
    static const char version[] = "9.7.0-scripted";
    uint8_t payload[256];
    size_t at = 0;
    payload[at++] = 10;
    memcpy(payload + at, version, sizeof version);
    at += sizeof version;
    for (int i = 0; i < 4; i++)
        payload[at++] = (uint8_t)(thread_id >> 8 * i);
    memcpy(payload + at, tail, sizeof tail);
    at += sizeof tail;
    memcpy(payload + at, plugin, sizeof plugin);
    at += sizeof plugin;
    return make_packet(out, 0, payload, at);
}

size_t make_ok(uint8_t *out, uint8_t seq, uint16_t status)
{
    const uint8_t payload[] = { 0, 0, 0, (uint8_t)status, (uint8_t)(status >> 8), 0, 0 };
    return make_packet(out, seq, payload, sizeof payload);
}

void server_greets(struct world *w, int client, int server, uint32_t thread_id)
{
    uint8_t packet[300], payload[4096];
    put(w, server, packet, make_greeting(packet, thread_id));
    assert_true(get_packet(w, client, payload, NULL) > 50);
    assert_int_equal(payload[0], 10);
}

void client_logs_in(struct world *w, int client, int server)
{
    uint8_t payload[200] = { 0x05, 0xa2, 0x08, 0x00, 0, 0, 0, 1, 255 }; /* 4.1, transactions, secure, plugin auth */
    uint8_t packet[256], got[4096];
    size_t at = 32;
    memcpy(payload + at, "app", 4);
    at += 4;
    payload[at++] = 4;
    memcpy(payload + at, "pass", 4);
    at += 4;
    memcpy(payload + at, "caching_sha2_password", 22);
    at += 22;
    put(w, client, packet, make_packet(packet, 1, payload, at));
    assert_int_equal(get_packet(w, server, got, NULL), at);
    assert_memory_equal(got, payload, at);
    put(w, server, packet, make_ok(packet, 2, STATUS_AUTOCOMMIT));
    assert_int_equal(get_packet(w, client, got, NULL), 7);
}

void session_up(struct world *w, uint32_t backend, uint32_t thread_id, int *out_client, int *out_server)
{
    *out_client = client_connect(w);
    *out_server = backend_accept(w, backend);
    server_greets(w, *out_client, *out_server, thread_id);
    client_logs_in(w, *out_client, *out_server);
}

void client_asks(struct world *w, int client, int server, const char *sql)
{
    uint8_t payload[600] = { 3 }, packet[600], got[4096];
    size_t len = strlen(sql);
    memcpy(payload + 1, sql, len);
    put(w, client, packet, make_packet(packet, 0, payload, len + 1));
    assert_int_equal(get_packet(w, server, got, NULL), len + 1);
    assert_memory_equal(got, payload, len + 1);
}

void server_answers(struct world *w, int client, int server, uint16_t status)
{
    uint8_t packet[32], got[4096];
    put(w, server, packet, make_ok(packet, 1, status));
    assert_int_equal(get_packet(w, client, got, NULL), 7);
    assert_int_equal(got[0], 0);
}

void client_dumps(struct world *w, int client, int server)
{
    /* command, flags 2, server id 4, name length 4, position 8, set length 4, set: no uuid */
    static const uint8_t payload[] = { 0x1e, 4, 0, 9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0,
                                       0,    0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
    uint8_t packet[64], got[4096];
    put(w, client, packet, make_packet(packet, 0, payload, sizeof payload));
    assert_int_equal(get_packet(w, server, got, NULL), sizeof payload);
}

size_t make_event(uint8_t *out, uint8_t seq, uint8_t type, int64_t gno)
{
    uint8_t payload[100] = { 0 };
    size_t event_len = type == 33 ? 19 + 1 + 16 + 8 + 18 + 4 : 19 + 8 + 4;
    uint8_t *event = payload + 1;
    event[4] = type;
    event[9] = (uint8_t)event_len;
    if (type == 33) {
        memset(event + 20, 0xaa, 16);
        for (int i = 0; i < 8; i++)
            event[36 + i] = (uint8_t)(gno >> 8 * i);
    }
    return make_packet(out, seq, payload, event_len + 1);
}

void server_sends_event(struct world *w, int client, int server, uint8_t seq, uint8_t type, int64_t gno)
{
    uint8_t packet[128], got[128];
    size_t len = make_event(packet, seq, type, gno);
    put(w, server, packet, len);
    get(w, client, got, len);
    assert_memory_equal(got, packet, len);
}
