/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sessions.h - all sessions of one source: accept, hold, route, relay, drain, kill. It knows nothing of switches.
 *
 *      [PROXY header, where one must come]
 *      sessions_accept --HOLD--> held ------------ROUTE: in order of arrival-----------.
 *            |                    ^  '-- hold-timeout: error packet, end               v
 *            |                    '--HOLD, or leg lost-- connecting -> greeting -> relaying -> ended
 *            '--ROUTE------------------------------------^                    (first byte to the client)
 *            '--REFUSE--> error packet, end
 *
 * One loop, no locks. Callbacks never run inside a sessions_* call: they come in a later turn of the loop.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>
#include "core/attr.h"
#include "core/network.h"
#include "core/tracker.h"
#include "net/legs.h"
#include "net/stream.h"

struct sessions;
struct tls_context; /* net/tls_mbedtls.h */

enum sessions_mode_kind {
    SESSIONS_HOLD,   /* clients wait; the mode at the start */
    SESSIONS_ROUTE,  /* clients get a leg to the route's address */
    SESSIONS_REFUSE, /* clients get an error packet */
};

/* What becomes of a client's TLS. */
enum sessions_tls {
    SESSIONS_TLS_OFF,         /* it is not offered */
    SESSIONS_TLS_PASSTHROUGH, /* it passes untouched, and cannot be followed */
    SESSIONS_TLS_MIRROR,  /* a client that asks for it speaks it with us, and we with the backend; others stay plain */
    SESSIONS_TLS_REQUIRE, /* the same, and others are refused */
};

enum { SESSIONS_PHASE_LEN = 240, SESSIONS_MESSAGE_LEN = 480, SESSIONS_USER_LEN = 32 };

/* Where clients are connected to: the ip:port on which a probe confirmed the pinned uuid in this epoch (promise 1). */
struct sessions_route {
    struct sockaddr_storage address;
    socklen_t address_len;
    uint32_t backend_index;              /* as the driver counts; the same number is the same server */
    char server_uuid[LEGS_UUID_LEN + 1]; /* goes to the legs file */
    const char *host; /* the backend as configured, for its certificate; must outlive the sessions. NULL: "" */
    uint64_t epoch;
};

struct sessions_mode {
    enum sessions_mode_kind kind;
    union {
        struct {
            const char
                *phase; /* "draining the old backend": what a held client is told when its wait expires; copied */
        } hold;
        struct sessions_route route; /* copied */
        struct {
            int code;            /* SLUICE_ERR_*: gives the MySQL errno */
            const char *message; /* what the client reads after "sluice: source 'X': ", ends in what to do; copied */
        } refuse;
    } as;
};

/* Why a leg ended without our or the client's doing. */
enum sessions_loss_cause {
    SESSIONS_LOSS_CONNECT, /* refused, unreachable, no route: |sys_errno| says */
    SESSIONS_LOSS_TIMEOUT, /* no connection, or no whole greeting, within connect_timeout_ms */
    SESSIONS_LOSS_ENDED,   /* the server closed or reset an established leg, or spoke nonsense */
};

struct sessions_loss {
    enum sessions_loss_cause cause; /* of the first one */
    int sys_errno;                  /* of the first one; 0 for an orderly end */
    uint32_t backend_index;
    uint64_t epoch;
    uint32_t count; /* losses since the last call, this one included */
};

/* All in one later turn of the loop; may call every sessions_* function, sessions_close() included. |arg| of the config. */
struct sessions_callbacks {
    /* The number of legs fell to zero, also outside a drain, and is still zero in this later turn. May be NULL. */
    void (*on_legs_gone)(void *arg);
    /*
     * Legs were lost. Routing has already been suspended: from the loss on the mode is SESSIONS_HOLD, clients that had not read
     * a byte wait again, sessions that relay go on. The driver probes, and sets a mode anew. May be NULL.
     */
    void (*on_leg_lost)(void *arg, const struct sessions_loss *loss);
};

/* What becomes of a binlog dump. */
enum sessions_dump {
    SESSIONS_DUMP_PASS,
    SESSIONS_DUMP_WAIT,   /* sessions_dump_decide() follows, unless the session ends first; it is idle for a drain */
    SESSIONS_DUMP_REFUSE, /* |out_refusal| is filled */
};

struct sessions_refusal {
    int code; /* SLUICE_ERR_*: gives the MySQL errno */
    char message[SESSIONS_MESSAGE_LEN + 1];
};

/*
 * What binlog streams carry, as it passes (design, D). Called while bytes are being relayed, before they are written: must not call
 * any sessions_* function. |stream| names the session (sessions_leg.session_id). Each may be NULL.
 */
struct sessions_stream_hooks {
    /* The server answered the reader's request by its first event. */
    void (*on_request)(void *arg, uint64_t stream, const struct tracker_dump_request *request);
    /* The first byte of a transaction is about to be sent. */
    void (*on_gtid)(void *arg, uint64_t stream, const struct tracker_gtid *gtid);
    /* Its last byte was. */
    void (*on_whole)(void *arg, uint64_t stream, const struct tracker_gtid *gtid);
    /* The stream ended inside a transaction: it was sent in part. */
    void (*on_cut)(void *arg, uint64_t stream, const struct tracker_gtid *gtid);
    /*
     * A client asks for a dump; all of its request but the last byte is on its way to |backend_index|. |request| is NULL when it
     * cannot be understood, and valid during the call only. May call the functions that only look. NULL: every dump passes unasked.
     */
    enum sessions_dump (*on_dump)(void *arg, uint64_t stream, uint32_t backend_index,
                                  const struct tracker_dump_request *request, struct sessions_refusal *out_refusal);
    /* The session cannot be followed any more (passed-through TLS, compression, an unknown command): what it carries is not known. */
    void (*on_opaque)(void *arg, uint64_t stream, const char *why);
};

struct sessions_config {
    uv_loop_t *loop;
    const char *source_id;       /* copied */
    uint32_t hold_timeout_ms;    /* 1..19,000: nobody waits longer, connecting included */
    uint32_t hold_clients_max;   /* 1.. */
    uint32_t sessions_max;       /* 1..: legs open at once; not above the capacity of |legs| */
    uint32_t connect_timeout_ms; /* 1..: from connect(2) to the whole greeting */
    uint32_t parked_ms_max;      /* a stream parked for longer is closed at its boundary; 0: SESSIONS_PARK_MS_MAX */
    const char *source_address;  /* numeric local address of legs; NULL: the system's choice */
    enum sessions_tls tls;
    struct tls_context *tls_context; /* not NULL with MIRROR and REQUIRE; a reference is taken */
    bool allow_compression;          /* compressed sessions pass, and cannot be followed */
    /* Who connects from these must send a PROXY header first, within SESSIONS_HEADER_MS; the caller's, must outlive |sessions|. */
    const struct network *accept_from;
    size_t accept_from_count;
    unsigned proxy_send; /* 1, 2: each leg begins with a PROXY header of that version; 0: none */
    struct legs *legs;   /* the caller's, must outlive |sessions|; NULL: legs are not recorded (tests) */
    struct sessions_callbacks callbacks;
    struct sessions_stream_hooks streams;
    void *arg;
};

enum { SESSIONS_HOLD_BOUNDS = 10, SESSIONS_HOLD_BUCKETS = SESSIONS_HOLD_BOUNDS + 1 };
/* Upper bounds of the histogram of waits, ascending. */
extern const uint32_t sessions_hold_bounds_ms[SESSIONS_HOLD_BOUNDS];

struct sessions_counters {
    uint64_t sessions_total;        /* clients accepted, refused ones included */
    uint64_t held_total;            /* clients that began to wait */
    uint64_t released_total;        /* held clients whose turn came: a leg was begun for them */
    uint64_t closed_idle_total;     /* drain: closed at once, because idle */
    uint64_t closed_boundary_total; /* drain: closed when the reply was complete */
    uint64_t killed_total;          /* closed by sessions_drain_kill() */
    uint64_t hold_expired_total;
    uint64_t hold_full_total; /* refused because hold_clients_max or sessions_max was reached */
    uint64_t hold_hangup_total;
    uint64_t refused_total; /* by SESSIONS_REFUSE */
    uint64_t legs_opened_total;
    uint64_t legs_lost_total;
    uint64_t protocol_errors_total;
    uint64_t proxy_headers_total;         /* read from clients */
    uint64_t proxy_headers_refused_total; /* missing, late or wrong where one must come: the client was turned away */
    uint64_t tls_sessions_total;          /* both sides of which began TLS */
    uint64_t tls_resumed_total;           /* of these, by an earlier session with the backend */
    uint64_t tls_client_failed_total;
    uint64_t tls_backend_failed_total;
    uint64_t tls_required_total; /* plain clients that were refused */
    uint64_t emfile_total;       /* no descriptor for a leg */
    uint64_t nomem_total;
    uint64_t kills_translated_total; /* KILLs of a live session's id */
    uint64_t kills_refused_total;    /* of ids that mean nobody any more, or that could not be read */
    uint64_t dumps_refused_total;
    uint64_t unknown_commands_total;     /* that the tracker does not know; such a session is followed no further */
    uint64_t streams_cut_total;          /* binlog streams that ended inside a transaction */
    uint64_t parks_expired_total;        /* parked streams closed at their boundary after parked_ms_max */
    uint64_t invariant_violations_total; /* promise 1; stays 0 */
    uint64_t bytes_to_server_total;
    uint64_t bytes_to_client_total;
    uint64_t hold_wait_ms_total;   /* of all waits that ended, however they ended */
    uint64_t hold_wait_ms_longest; /* ever */
    uint64_t
        hold_waits[SESSIONS_HOLD_BUCKETS]; /* waits that ended, by sessions_hold_bounds_ms; the last: longer than all */
    uint64_t window_wait_ms_longest;       /* since sessions_window_reset() */
    uint64_t window_held_total;            /* waits that ended since sessions_window_reset() */
    uint64_t buffered_bytes;               /* now: memory held for bytes that a peer has not taken */
    uint64_t buffered_bytes_max;           /* ever; at most 2 x SESSIONS_BUFFER_BYTES a session */
};

enum { SESSIONS_BUFFER_BYTES = 65536, SESSIONS_PARK_MS_MAX = 20000, SESSIONS_HEADER_MS = 3000 };

/* A leg as sessions_each_leg() shows it; pointers are valid inside the callback only. */
struct sessions_leg {
    uint64_t session_id;     /* counts up from 1 per source */
    uint64_t thread_id;      /* on the server; 0 while no greeting has come */
    uint32_t handed_id;      /* what the client was told in its place */
    uint32_t reader_id;      /* server_id of the client's dump request; 0: none, or it gave none */
    const char *reader_uuid; /* replica UUID of a client that asked for a dump; "": none, or it gave none */
    char host[STREAM_HOST_LEN +
              1]; /* our own end; the processlist's HOST is "host:port" (a name instead where the server resolves) */
    uint16_t port;
    char host_port[STREAM_HOST_LEN + 8]; /* "host:port", IPv6 without brackets, as MySQL writes it */
    uint32_t backend_index;
    uint64_t epoch;
    const char *phase; /* "connecting", "greeting", "tls", or the tracker's word */
    bool is_idle;      /* at a boundary: the drain would close it at once */
    bool is_in_transaction;
    bool is_stream;                 /* a binlog stream */
    const char *user;               /* "" until the client has said who it is */
    char peer[STREAM_HOST_LEN + 8]; /* the client's "host:port", as its PROXY header said where it sent one */
    bool is_told;                   /* a PROXY header told the server |peer|, which is then the HOST that it shows */
    uint64_t accepted_ms;           /* uv_now() when the client came */
    uint64_t leg_ms;                /* uv_now() when the leg was opened */
    uint64_t bytes_to_server;
    uint64_t bytes_to_client;
};

/* A client as sessions_each_client() shows it; pointers are valid inside the callback only. */
struct sessions_client {
    uint64_t session_id;
    char peer[STREAM_HOST_LEN + 8]; /* as in sessions_leg */
    char via[STREAM_HOST_LEN + 8];  /* who sent the PROXY header that |peer| is from; "" when there was none */
    const char *phase;              /* of its leg; without one: "proxy-header", "held", "closing" */
    bool has_leg;                   /* the rest is 0 or "" without one */
    uint64_t thread_id;
    uint32_t backend_index;
    uint64_t epoch;
    bool is_stream;
    const char *user;
    uint64_t accepted_ms; /* uv_now() when it came */
};

/* Return false to stop. Must not call sessions_* functions that change anything. */
typedef bool (*sessions_leg_fn)(void *arg, const struct sessions_leg *leg);

/*
 * sessions_new - no session yet, mode SESSIONS_HOLD with the phase "starting".
 * Returns 0 and |*out|, the caller's until sessions_close(); or SLUICE_ERR_NOMEM, or SLUICE_ERR_CONFIG for a |source_address|
 * that is no numeric address. Call from: the loop's thread, or before it runs; so all functions here.
 */
SLUICE_MUSTCHECK int sessions_new(const struct sessions_config *config, struct sessions **out);
/*
 * sessions_accept - a client of the listener: held, routed or refused, as the mode says, once its PROXY header has been read where
 * one must come. |fd| passes to |s| in every case; a
 * client that cannot be served is told why, counted and closed. |peer| is copied. Fits struct listener_config's on_accept with
 * |s| as arg by way of sessions_on_accept().
 */
void sessions_accept(struct sessions *s, int fd, const struct sockaddr *peer, socklen_t peer_len);
/* sessions_on_accept - sessions_accept() in the shape of a listener_accept_fn; |sessions| is a struct sessions. */
void sessions_on_accept(void *sessions, int fd, const struct sockaddr *peer, socklen_t peer_len);
/*
 * sessions_set_mode - from now on.
 *
 * HOLD    new clients wait. Clients whose leg has not yet given them a byte lose the leg and wait again; their first wait
 *         counts on. Relaying sessions go on. Setting it again only changes the phase.
 * ROUTE   held clients are released in order of arrival, some dozens in a turn of the loop, new ones queue behind them. Ends a
 *         drain: sessions still open go on (an undone switch). No leg to another backend may be open: asserted, in the test
 *         build with faults only counted (promise 1).
 * REFUSE  new, held and connecting clients read the error; relaying sessions go on.
 */
void sessions_set_mode(struct sessions *s, const struct sessions_mode *mode);
/* sessions_set_phase_text - what a client whose wait expires is told to be going on; also shown by the driver. Copied, cut. */
void sessions_set_phase_text(struct sessions *s, const char *phase);
/* sessions_set_tls_context - for new handshakes from now on; sessions that are open keep theirs. A reference is taken. */
void sessions_set_tls_context(struct sessions *s, struct tls_context *context);
/* sessions_mode_kind - the mode in force; HOLD after a lost leg. */
enum sessions_mode_kind sessions_mode_kind(const struct sessions *s);

/*
 * sessions_drain_begin - end all relaying sessions: who is idle (a binlog stream between transactions too) now, the others
 * when their reply has been written to the client, streams at their next boundary. The mode must not be ROUTE (asserted).
 * on_legs_gone says when the last is gone; when none is open it comes too. A command that a client sends while its idle
 * session closes is never passed on: the client sees the same as at a server's wait_timeout.
 */
void sessions_drain_begin(struct sessions *s);
/* sessions_drain_kill - close all legs that are left, and their clients; counted. Returns how many. Also without a drain. */
uint32_t sessions_drain_kill(struct sessions *s);

/*
 * sessions_park - on: binlog streams stop in front of their next transaction; the one in progress is let through to its end. Streams
 * that begin meanwhile are parked from birth. One that stays parked for parked_ms_max is closed there: its reader gives up at 60 s, and
 * comes again. Off: they go on, without a byte lost. Twice is once.
 */
void sessions_park(struct sessions *s, bool on);
/* sessions_end_streams - end every binlog stream, where it stands: the server lost what it had sent, and may use its numbers again. */
void sessions_end_streams(struct sessions *s);
/* sessions_unparked_count - streams that are still inside a transaction, or whose login has not got as far as to tell. */
uint32_t sessions_unparked_count(const struct sessions *s);
/* sessions_opaque_count - legs that cannot be followed: whether one carries a stream, and where in it, cannot be told. */
uint32_t sessions_opaque_count(const struct sessions *s);

/*
 * sessions_dump_decide - how a dump that waits goes on: |code| 0, it passes; else SLUICE_ERR_*, and the client reads |message|, and
 * both sides are closed. Nothing happens when the session has ended.
 */
void sessions_dump_decide(struct sessions *s, uint64_t session_id, int code, const char *message);
/* sessions_dump_is_waiting - is it still to be decided? */
bool sessions_dump_is_waiting(const struct sessions *s, uint64_t session_id);

uint32_t sessions_leg_count(const struct sessions *s);    /* connecting ones included */
uint32_t sessions_stream_count(const struct sessions *s); /* legs that carry a binlog stream */
uint32_t sessions_held_count(const struct sessions *s);
/* sessions_oldest_wait_ms - how long the first in the hold has waited; 0 when nobody waits. */
uint64_t sessions_oldest_wait_ms(const struct sessions *s);
typedef bool (*sessions_client_fn)(void *arg, const struct sessions_client *client);
/* sessions_each_client - in order of arrival, whether it waits or has a leg. */
void sessions_each_client(const struct sessions *s, sessions_client_fn fn, void *arg);
void sessions_each_leg(const struct sessions *s, sessions_leg_fn fn, void *arg);
/* sessions_counters - valid until sessions_close(); other threads get a copy by value. */
const struct sessions_counters *sessions_counters(const struct sessions *s);
/* sessions_window_reset - a hold window begins: |window_*| start at zero. */
void sessions_window_reset(struct sessions *s);

/*
 * sessions_close - held clients are told SLUICE_ERR_STOPPING, all sessions end; no callback of the config comes any more.
 * |on_closed(arg)| (may be NULL) comes in a later turn of the loop, when |s| has been freed. At most once. The listener must
 * not call sessions_accept() any more.
 */
void sessions_close(struct sessions *s, void (*on_closed)(void *arg), void *arg);
