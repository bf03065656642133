/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - one client and its leg; private to sessions.c, session.c, header.c, leg.c, secure.c, streams.c and relay.c. */
#pragma once
#include <assert.h>
#include "core/proxy_header.h"
#include "core/tracker.h"
#include "net/hold.h"
#include "net/sessions.h"

/*
 *      [HEADER ->] HELD <--> CONNECTING -> GREETING -> RELAYING -> LAST_WORDS
 *                     ^____________|  (leg lost)          |
 *      any of them -----------------> ENDED <-------------'
 *
 *      RELAYING -(the client asks for TLS)-> SECURING -> RELAYING
 *                                                '-(the leg fails)-> TELLING -> ENDED
 */
enum session_state {
    SESSION_NEW,        /* accepted, not yet admitted */
    SESSION_HEADER,     /* it must send a PROXY header first */
    SESSION_HELD,       /* in the hold, or about to be */
    SESSION_CONNECTING, /* connect(2) is under way */
    SESSION_GREETING,   /* connected; the client has no byte yet */
    SESSION_RELAYING,
    SESSION_SECURING, /* TLS handshakes with both sides; nothing is relayed */
    SESSION_TELLING,  /* TLS with the server failed, the leg has ended; the client's login will be answered with why */
    SESSION_LAST_WORDS, /* the leg has ended; what it said last is written to the client */
    SESSION_ENDED,      /* libuv still has its handles */
};

enum { PIPE_SLACK = 32 }; /* a KILL may become that much longer where it stands */

/* Bytes of one direction that were read and wait. Memory is there only while some do. */
struct pipe {
    uint8_t *data;  /* SESSIONS_BUFFER_BYTES and PIPE_SLACK; NULL while empty */
    bool is_unseen; /* towards the server: |data| is unseen_alloc()'s, and what has been written is wiped */
    size_t start;   /* [start, fed) goes to the peer */
    size_t fed;     /* [fed, end) was left back by the tracker, or is part of a greeting */
    size_t end;
    bool is_eof; /* the source said its last */
};

/* A connection to a backend. Outlives its session's interest until libuv lets go. */
struct leg {
    struct stream stream;
    struct sessions *owner;
    struct session *session; /* NULL once closed */
    struct leg *next, *prev; /* in owner->legs */
    struct tracker *tracker;
    uint32_t slot; /* in the legs file */
    uint32_t backend_index;
    uint64_t epoch;
    uint64_t opened_ms;
    uint64_t bytes_to_server, bytes_to_client;
    uint16_t port;
    char host[STREAM_HOST_LEN + 1];
    const char *tls_host;     /* the backend as configured: what its certificate must be for */
    struct tracker_gtid gtid; /* of the transaction in progress on a binlog stream */
    bool is_in_gtid;          /* |gtid| was sent in part */
    bool is_opaque_told;
    bool is_peer_told;        /* the server shows the client's address as HOST, not ours */
    uint64_t unknown_counted; /* of its tracker's unknown commands */
    uint32_t handed_id;       /* the connection id that the client was told; 0 before */
    uint32_t reader_id;       /* server_id of its dump request */
    bool is_dump_told;        /* the driver knows of the dump that waits */
    uint64_t parked_ms;       /* uv_now() when it was first seen parked, 0: it is not */
    bool is_hangup_seen;      /* its FIN was noticed while it was not read */
    bool is_write_broken;     /* it takes no more bytes; what it said last is still read */
};

struct session {
    struct session *next, *prev; /* in owner->sessions, by arrival */
    struct sessions *owner;
    uint64_t id;
    enum session_state state;
    unsigned handles_open;
    struct stream client;
    uv_timer_t timer; /* the limit on HEADER, on CONNECTING and GREETING, on SECURING and TELLING, and on LAST_WORDS */
    struct hold_client wait;
    struct proxy_header_reader *header; /* HEADER */
    struct leg *leg;                    /* CONNECTING, GREETING, RELAYING, SECURING */
    struct securing *securing;          /* SECURING, TELLING */
    struct pipe to_server, to_client;
    uint64_t accepted_ms;
    bool was_held;               /* the wait has begun and has not been accounted for */
    bool is_hangup_seen;         /* the client's FIN was noticed while it was not read */
    struct network_address peer; /* the client: what its PROXY header said, else the other end of its socket */
    struct network_address via;  /* the other end of its socket where |peer| is from a header, else NETWORK_NONE */
    char peer_host[STREAM_HOST_LEN + 1]; /* |peer| as text, for logs */
    uint16_t peer_port;
};

struct ids; /* core/ids.h */

struct sessions {
    struct sessions_config config;
    struct ids *ids; /* what clients were told */
    char *source_id;
    struct sockaddr_storage source_address;
    socklen_t source_address_len; /* 0: none */
    struct hold *hold;
    uv_idle_t work; /* runs while there is something to do in the next turn */
    enum sessions_mode_kind mode;
    struct sessions_route route; /* ROUTE */
    int refuse_code;             /* REFUSE */
    char refuse_message[SESSIONS_MESSAGE_LEN + 1];
    char phase[SESSIONS_PHASE_LEN + 1]; /* HOLD */
    bool is_draining;
    bool is_closing;
    bool is_parking;
    uv_timer_t park_timer; /* runs while |is_parking| */
    struct session *first, *last;
    struct leg *legs;
    uint32_t leg_count;
    uint32_t header_count; /* sessions in HEADER */
    uint64_t next_id;
    unsigned alive; /* sessions, legs and handles whose memory libuv may still touch */
    bool is_legs_gone_due;
    bool is_loss_due;
    struct sessions_loss loss;
    struct sessions_counters counters;
    void (*on_closed)(void *arg);
    void *closed_arg;
    /* SESSIONS_BUFFER_BYTES, unseen: what is read lands here; only what a peer does not take at once gets memory of its own. */
    uint8_t *scratch;
};

/* session.c */

/* session_new - takes |fd|. NULL: memory or the loop refused; |fd| is still the caller's. */
SLUICE_MUSTCHECK struct session *session_new(struct sessions *s, int fd, const struct sockaddr *peer);
/* session_hold - wait (again). A full hold is told to the client, and the session has ended. */
void session_hold(struct session *session);
/* session_route - give it a leg to owner->route. May end it, hold it, or suspend routing. */
void session_route(struct session *session);
/* session_refuse - the client has no byte yet: an error packet in place of a greeting, and the end. */
void session_refuse(struct session *session, int code, const char *message);
/* session_refuse_hold_full - as many wait as may; told, counted. */
void session_refuse_hold_full(struct session *session);
/* session_expire - as session_refuse(), for who waited as long as hold-timeout allows. */
void session_expire(struct session *session);
/* session_unroute - the leg is taken away before the client had a byte; it waits again. */
void session_unroute(struct session *session);
/* session_end - close both sides now. |why| reaches the log. */
void session_end(struct session *session, const char *why);
/* session_is_idle - a drain may close it at once. */
bool session_is_idle(const struct session *session);
/* session_wait_ended - account for a wait that is over: the client got a byte, gave up, or was told off. */
void session_wait_ended(struct session *session);
/* session_leg_lost - an established leg ended without our or the client's doing; what it said last still goes to the client. */
void session_leg_lost(struct session *session, int sys_errno);
/* session_last_words - no leg any more: write what is left for the client, then close it. */
void session_last_words(struct session *session);

/* session_drop_leg - close the leg, and forget what waits to go there; the timer stops. */
void session_drop_leg(struct session *session);
/* session_limit - the state that was just entered ends in |limit_ms|. */
void session_limit(struct session *session, uint64_t limit_ms);

/* header.c */

/* header_is_due - the client comes from where a PROXY header must come first. */
bool header_is_due(const struct session *session);
/* header_begin - wait for it; sessions_admit() follows, or the session ends. */
void header_begin(struct session *session);
/* header_run - HEADER, and the client has sent something or its end. */
void header_run(struct session *session);
/* header_expire - the timer's. */
void header_expire(struct session *session);
/* header_free - the session ends, or goes on. */
void header_free(struct session *session);
/* header_is_told - a leg of |session| is going to tell the server who the client is. */
bool header_is_told(const struct session *session);
/* header_send - the leg is connected: our own header, before the greeting is awaited. 0, or the errno of a connection that is broken. */
SLUICE_MUSTCHECK int header_send(struct leg *leg);

/* secure.c */

/* secure_begin - the client's request for TLS has been written to the server: both sides begin. May end the session. */
void secure_begin(struct session *session);
/* secure_run - SECURING or TELLING, and one of the sides has an event; may end the session. */
void secure_run(struct session *session);
/* secure_hangup - the same, for an end that was seen without reading. */
void secure_hangup(struct session *session, bool is_client);
/* secure_expire - the timer's. */
void secure_expire(struct session *session);
/* secure_free - the session ends. */
void secure_free(struct session *session);

/* leg.c */

/* leg_open - connect(2) begun. 0 and session->leg; SLUICE_ERR_NOMEM; SLUICE_ERR_BUSY: no descriptor left; SLUICE_ERR_UNREACHABLE
 * and |*out_errno|. */
SLUICE_MUSTCHECK int leg_open(struct session *session, const struct sessions_route *route, int *out_errno);
/* leg_close - its socket is closed when this returns. */
void leg_close(struct leg *leg);

/* streams.c */

/* streams_tracker_options - hooks that end in the source's, for the tracker of |leg|. */
struct tracker_options streams_tracker_options(struct leg *leg);
/* streams_begin - a leg's tracker exists: park it if that is on. */
void streams_begin(struct leg *leg);
/* streams_look - after bytes were relayed: has the leg become opaque? */
void streams_look(struct leg *leg);
/* streams_end - the leg is about to be closed. */
void streams_end(struct leg *leg);

/* relay.c */

/* relay_greeting - the leg can be read before the client had a byte. */
void relay_greeting(struct session *session);
/* relay_run - move bytes in the given directions as far as they go, within a turn's bound, and see what follows from it; may end
 * the session. */
void relay_run(struct session *session, bool to_client, bool to_server);
/* relay_last_words - write what is left to the client; may end the session. */
void relay_last_words(struct session *session);
/* pipe_free - forget what waits. */
void pipe_free(struct sessions *s, struct pipe *p);

/*
 * relay_say - a packet of ours to the client, behind what waits for it. 0, or SLUICE_ERR_NOMEM, SLUICE_ERR_CLIENT_GONE. Any leg
 * may be gone.
 */
SLUICE_MUSTCHECK int relay_say(struct session *session, const uint8_t *packet, size_t len);

/* ask.c */

/* ask_hand_out_id - choose what the client is told and write it into |greeting|, whole with its header. 0, SLUICE_ERR_NOMEM,
 * SLUICE_ERR_PROTOCOL. */
SLUICE_MUSTCHECK int ask_hand_out_id(struct session *session, uint8_t *greeting);
/* ask_run - see what the client asks. True: something was decided, its bytes may go on, or the session has ended. */
bool ask_run(struct session *session);

/* sessions.c */

/* sessions_admit - hold, route or refuse, as the mode says. */
void sessions_admit(struct session *session);
/* sessions_suspend - a leg was lost: no routing until the driver sets a mode anew; tell it in the next turn. */
void sessions_suspend(struct sessions *s, enum sessions_loss_cause cause, int sys_errno,
                      const struct sessions_route *route);
/* sessions_work_soon - have the next turn look at holds to release and callbacks to make. */
void sessions_work_soon(struct sessions *s);
/* sessions_let_go - one of |alive| is gone; the last one ends sessions_close(). */
void sessions_let_go(struct sessions *s);
