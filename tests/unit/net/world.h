/* SPDX-License-Identifier: Apache-2.0 */
/* world.h - one loop with a listener and its sessions, two scripted backends, and clients that are plain sockets. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <cmocka.h>
#include <uv.h>
#include "net/legs.h"
#include "net/listener.h"
#include "net/sessions.h"

enum { WORLD_LIMIT_MS = 10000, WORLD_BACKENDS = 2 };

#define UUID_A "aaaaaaaa-0000-0000-0000-000000000001"
#define UUID_B "bbbbbbbb-0000-0000-0000-000000000002"

struct world {
    struct network accept_from;
    uv_loop_t loop;
    struct listener *listener;
    struct sessions *s;
    struct legs *legs;            /* NULL unless asked for; the test's */
    int backends[WORLD_BACKENDS]; /* listening sockets; -1: closed */
    uint16_t backend_ports[WORLD_BACKENDS];
    unsigned legs_gone;                   /* calls of on_legs_gone */
    unsigned legs_lost;                   /* calls of on_leg_lost */
    struct sessions_loss loss;            /* of the last call */
    void (*in_leg_lost)(struct world *w); /* what the test's driver does there; NULL: nothing */
    bool sessions_are_closing;            /* the test has closed |s| itself, with world_on_closed() */
    unsigned closed;                      /* sessions or listener that have closed */
    unsigned fds_before;
};

/* What a test may choose; 0 is the default in brackets. */
struct world_options {
    uint32_t hold_timeout_ms;    /* 5000 */
    uint32_t hold_clients_max;   /* 100 */
    uint32_t sessions_max;       /* 100 */
    uint32_t connect_timeout_ms; /* 3000 */
    uint32_t parked_ms_max;      /* 20000 */
    const char *legs_path;       /* none */
    enum sessions_tls tls;       /* off */
    struct tls_context *tls_context;
    const char *accept_from; /* one network from which PROXY headers must come; none */
    unsigned proxy_send;     /* 0 */
    enum sessions_dump (*on_dump)(void *world, uint64_t session, uint32_t backend_index,
                                  const struct tracker_dump_request *request,
                                  struct sessions_refusal *out_refusal); /* none: dumps pass unasked */
};

void world_up(struct world *w, const struct world_options *options);
/* Closes all, and fails when a handle of the loop or a descriptor of the process is left. The test closes its own sockets first. */
void world_down(struct world *w);
/* For a test that calls sessions_close() itself. |arg| is the world. */
void world_on_closed(void *arg);
/* One turn of the loop, at most a millisecond of waiting. */
void world_turn(struct world *w);

/* Turn the loop until |condition| (an expression) holds; the test fails when it does not within WORLD_LIMIT_MS. */
#define WORLD_UNTIL(w, condition)                                                                                      \
    do {                                                                                                               \
        uint64_t limit_ns = uv_hrtime() + WORLD_LIMIT_MS * 1000000ULL;                                                 \
        while (!(condition)) {                                                                                         \
            if (uv_hrtime() > limit_ns) fail_msg("did not come true: %s", #condition);                                 \
            world_turn(w);                                                                                             \
        }                                                                                                              \
    } while (0)

void world_hold(struct world *w, const char *phase);
void world_route(struct world *w, uint32_t backend, uint64_t epoch);
void world_refuse(struct world *w, int code, const char *message);
/* A port of 127.0.0.1 where nobody listens any more. */
void world_close_backend(struct world *w, uint32_t backend);

/* A client's socket, connected to the listener (and not yet accepted). */
int client_connect(struct world *w);
/* The backend's side of the next leg. */
int backend_accept(struct world *w, uint32_t backend);
/* Is a leg waiting to be accepted? */
bool backend_is_called(struct world *w, uint32_t backend);

void put(struct world *w, int fd, const void *bytes, size_t len);
/* Exactly |len| bytes. */
void get(struct world *w, int fd, void *bytes, size_t len);
/* The next packet whole; returns the payload's length. |payload| has room for 4096 bytes. */
size_t get_packet(struct world *w, int fd, uint8_t *payload, uint8_t *out_seq);
/* End of file, without another byte. */
void get_end(struct world *w, int fd);
/* Not a byte and no end has come yet. */
void get_nothing(int fd);
/* A reset, or an end, whichever comes first; bytes before it are dropped. */
void get_broken(struct world *w, int fd);
/* An ERR packet in place of a greeting (sequence 0, no '#'), then the end. |out_text| has room for 600 bytes. */
uint16_t get_refusal(struct world *w, int fd, char *out_text);
/* Close so that the peer gets a RST. */
void close_hard(int fd);

size_t make_packet(uint8_t *out, uint8_t seq, const void *payload, size_t len);
size_t make_greeting(uint8_t *out, uint32_t thread_id);
size_t make_ok(uint8_t *out, uint8_t seq, uint16_t status);

enum { STATUS_AUTOCOMMIT = 2, STATUS_IN_TRANS = 1 };

void server_greets(struct world *w, int client, int server, uint32_t thread_id);
void client_logs_in(struct world *w, int client, int server);
/* Both of them: a session in the command phase, idle. */
void session_up(struct world *w, uint32_t backend, uint32_t thread_id, int *out_client, int *out_server);
/* A query passes to the server. */
void client_asks(struct world *w, int client, int server, const char *sql);
/* An OK passes to the client. */
void server_answers(struct world *w, int client, int server, uint16_t status);
/* COM_BINLOG_DUMP_GTID with an empty set passes to the server. */
void client_dumps(struct world *w, int client, int server);
/* An event's packet; see server_sends_event(). At most 71 bytes. */
size_t make_event(uint8_t *out, uint8_t seq, uint8_t type, int64_t gno);
/* One event passes to the client. |type| as in binlog_event.h: 33 GTID (number |gno|), 16 Xid, 19 table map, 27 heartbeat. */
void server_sends_event(struct world *w, int client, int server, uint8_t seq, uint8_t type, int64_t gno);
