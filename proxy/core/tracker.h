/* SPDX-License-Identifier: Apache-2.0 */
/* tracker.h - follows one client's conversation with its server from the bytes that pass, in any split. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"

struct tracker; /* opaque; one per session */

enum tracker_side {
    TRACKER_CLIENT, /* bytes that came from the client, on their way to the server */
    TRACKER_SERVER, /* bytes that came from the server, on their way to the client */
};

/*
 *   GREETING --greeting--> AUTH --OK--> COMMAND <--> REPLY
 *       |                   |  |           ^  \
 *       ERR                 |  ERR         |   dump command
 *       v                   |  v          EOF, ERR  v
 *     CLOSED                | CLOSED       +----- STREAM
 *                           +--TLS, compression, or anything that cannot be followed--> OPAQUE
 */
enum tracker_phase {
    TRACKER_GREETING, /* the server has not greeted yet, or not to the end */
    TRACKER_AUTH,     /* greeted; neither accepted nor refused */
    TRACKER_COMMAND,  /* no reply is owed; a command may be under way from the client */
    TRACKER_REPLY,    /* busy: at least one command was begun whose reply has not ended */
    TRACKER_STREAM,   /* a binlog dump was asked for and has not ended */
    TRACKER_OPAQUE,   /* cannot be followed; tracker_opaque_reason() says why. Stays so */
    TRACKER_CLOSED,   /* COM_QUIT, or the server refused the client: nothing more can be lost */
};

enum tracker_opaque {
    TRACKER_OPAQUE_NOT,         /* it is followed */
    TRACKER_OPAQUE_TLS,         /* TLS that is passed through */
    TRACKER_OPAQUE_COMPRESSION, /* compressed protocol */
    TRACKER_OPAQUE_COMMAND,     /* a command that is not known, or speaks a protocol of its own (clone) */
    TRACKER_OPAQUE_OLD_CLIENT,  /* a client older than protocol 4.1 */
    TRACKER_OPAQUE_LOST,        /* the server answered what was not asked, or in a form that is not known */
};

/* One transaction's identifier, as its first event on a binlog stream tells it. */
struct tracker_gtid {
    bool is_anonymous; /* a transaction without a GTID: nobody can tell what was delivered */
    uint8_t uuid[16];
    char tag[33]; /* "" when untagged; at most 32 characters of [a-z0-9_] */
    int64_t gno;  /* 1 .. 2^63-2 */
};

/* What a client asked for by COM_BINLOG_DUMP or COM_BINLOG_DUMP_GTID. */
struct tracker_dump_request {
    bool is_gtid;       /* false: by file and position */
    uint16_t flags;     /* 0x01 do not block at the end */
    uint32_t server_id; /* the reader's */
    char file[256];     /* binlog file it named, cut when longer; "" is none, and then a server makes its own checks */
    uint64_t position;
    const uint8_t *set; /* is_gtid: the set in its wire form (either encoding); valid during the call only */
    size_t set_len;     /* bytes; 0 when !is_gtid */
};

/*
 * What a tracker reports about binlog streams. Each is called from inside tracker_feed(), before the bytes that it tells of
 * count as forwarded, and must not call any tracker_* function that changes the tracker. NULL: not wanted.
 */
struct tracker_hooks {
    void *arg;
    /* The server answered a dump request by its first event. */
    void (*on_request)(void *arg, const struct tracker_dump_request *request);
    /* A transaction's first event is about to be forwarded; from here on it is sent in part. */
    void (*on_gtid)(void *arg, const struct tracker_gtid *gtid);
    /* The last byte of the transaction that on_gtid told last was forwarded: it is sent whole. */
    void (*on_whole)(void *arg);
};

/* What becomes of CLIENT_SSL in the greeting, and of a client that asks for TLS. */
enum tracker_tls {
    TRACKER_TLS_STRIP, /* taken out; a client that asks all the same is an error */
    TRACKER_TLS_PASS,  /* left in; the session of a client that asks becomes OPAQUE */
    TRACKER_TLS_STOP,  /* left in; feeding stops behind the request: tracker_tls_is_due() */
};

/* What somebody has to decide before the server gets it. */
enum tracker_question {
    TRACKER_ASKS_NOTHING,
    TRACKER_ASKS_DUMP, /* tracker_dump_request(); all of the request but its last byte has passed */
    TRACKER_ASKS_KILL, /* tracker_kill(); nothing of it has passed */
};

enum tracker_kill_form {
    TRACKER_KILL_QUERY,      /* COM_QUERY: KILL [CONNECTION|QUERY] number */
    TRACKER_KILL_COMMAND,    /* COM_PROCESS_KILL */
    TRACKER_KILL_PREPARED,   /* COM_STMT_PREPARE of any KILL */
    TRACKER_KILL_UNREADABLE, /* an expression, more statements behind it, or longer than TRACKER_ASK_LEN_MAX */
};

struct tracker_kill {
    enum tracker_kill_form form;
    uint64_t thread_id; /* as the client wrote it; of QUERY and COMMAND */
    size_t
        packet_len; /* header included: so many bytes are in front of what was left back. 0: too long to be kept whole */
    size_t id_at;   /* where in the packet the id stands, and its length in bytes */
    size_t id_len;
};

struct tracker_options {
    enum tracker_tls tls;
    bool require_tls; /* with TRACKER_TLS_STOP or _STRIP: a client that logs in without TLS is an error */
    bool
        keep_compression; /* leave CLIENT_COMPRESS and CLIENT_ZSTD_COMPRESSION_ALGORITHM in it; else they are taken out */
    bool ask_dump;        /* binlog dumps wait for tracker_allow() */
    bool ask_kill;        /* KILLs do, as far as kill_scan() sees them; so does COM_PROCESS_KILL */
    struct tracker_hooks hooks;
};

enum {
    TRACKER_ASK_LEN_MAX =
        4096, /* payload of a packet that may be left back to see whether it is a KILL, and of which thread */
    TRACKER_KILL_LEN_MAX = 4 + TRACKER_ASK_LEN_MAX + 20,
    TRACKER_USER_LEN_MAX = 255,
    TRACKER_PEEK_LEN_MAX = 256, /* tracker_feed() leaves at most so many bytes back when it only has to see more */
};

/*
 * tracker_new - a tracker in phase GREETING.
 *
 * |options|  copied; NULL is all defaults: neither TLS nor compression is let through, no hooks.
 *
 * Returns NULL when memory ran out. The caller owns it and ends it with tracker_del().
 */
SLUICE_MUSTCHECK struct tracker *tracker_new(const struct tracker_options *options);
/* tracker_del - |t| may be NULL. */
void tracker_del(struct tracker *t);

/*
 * tracker_feed - follow the next bytes of one direction.
 *
 * |from|         where the bytes come from.
 * |bytes|, |len| the bytes in the order in which they were read, split anywhere. Edited in place: of a greeting, the
 *                capability flags; nothing else, ever.
 * |out_forward|  how many of them, from the front, are now to be forwarded. All, but in two cases: with |ask_dump| and
 *                |ask_kill|, tracker_question(); and on a binlog stream (from TRACKER_SERVER only) an event is let through only when enough of it is there to tell what it is, and,
 *                while the stream is parked, no event that would begin a transaction. What is left back counts as not
 *                fed: the caller keeps it and feeds it again, in front of what it reads next.
 *                tracker_stream_is_blocked() tells the two reasons apart: false, read on (less than
 *                TRACKER_PEEK_LEN_MAX bytes were left back); true, stop reading until tracker_park(t, false).
 *
 * Returns 0, or, with |*out_forward| 0 and the conversation over:
 *   SLUICE_ERR_PROTOCOL  what came is no MySQL greeting, handshake or command, or the client asks for TLS that it was not
 *                        offered.
 *   SLUICE_ERR_TLS_REQUIRED  the client logs in without TLS, which |require_tls| forbids.
 *   SLUICE_ERR_NOMEM     memory ran out (more commands pipelined, or a larger dump request, than fit the tracker itself).
 */
SLUICE_MUSTCHECK int tracker_feed(struct tracker *t, enum tracker_side from, uint8_t *bytes, size_t len,
                                  size_t *out_forward);

enum tracker_phase tracker_phase(const struct tracker *t);
/* tracker_phase_name - "greeting", "auth", "command", "reply", "stream", "opaque", "closed". */
const char *tracker_phase_name(enum tracker_phase phase);
enum tracker_opaque tracker_opaque_reason(const struct tracker *t);
/* tracker_opaque_text - what an operator is told: "TLS passes through", ...; "" for TRACKER_OPAQUE_NOT. */
const char *tracker_opaque_text(enum tracker_opaque reason);

/* tracker_reply_is_owed - the server has still to say something: greeting, result of a login or command; always when OPAQUE. */
bool tracker_reply_is_owed(const struct tracker *t);

/*
 * tracker_is_in_transaction - by the status flags of the last OK or EOF packet. An ERR packet carries none: after it the last
 * known state holds, and with autocommit off a transaction is assumed. Unknown when OPAQUE: false.
 */
bool tracker_is_in_transaction(const struct tracker *t);

/*
 * tracker_is_at_boundary - may the session be closed now, with nothing lost? COMMAND, whole packets forwarded both ways, no
 * transaction; or CLOSED. Not seen, as no packet tells them: LOCK TABLES, GET_LOCK(), temporary tables, user variables,
 * prepared statements. Binlog streams: tracker_stream_is_between_transactions().
 */
bool tracker_is_at_boundary(const struct tracker *t);

/* tracker_thread_id - the server's connection id of this session; 0 until the greeting was seen whole. */
uint32_t tracker_thread_id(const struct tracker *t);
/* tracker_greeting_is_seen - the greeting passed whole. What form an error packet of our own has: tracker_can_inject(). */
bool tracker_greeting_is_seen(const struct tracker *t);
/* tracker_server_version - from the greeting, "" before. Valid until tracker_del(). */
const char *tracker_server_version(const struct tracker *t);
/* tracker_user - from the handshake response or the last COM_CHANGE_USER that succeeded, "" before; cut at
 * TRACKER_USER_LEN_MAX. Valid until the next tracker_feed(). */
const char *tracker_user(const struct tracker *t);
/* tracker_reader_uuid - the replica UUID that the client has set for its session (tracker_reader.h), "" when none. Valid until the next
 * tracker_feed(). */
const char *tracker_reader_uuid(const struct tracker *t);
/* tracker_has_quit - the client sent COM_QUIT (what was pipelined before it may still be answered). */
bool tracker_has_quit(const struct tracker *t);
/*
 * tracker_tls_is_due - the client's request for TLS (TRACKER_TLS_STOP) passed whole, and nothing behind it was fed: what the
 * client sent after it belongs to a TLS handshake. tracker_feed() forwards nothing until tracker_tls_begun().
 */
bool tracker_tls_is_due(const struct tracker *t);
/* tracker_tls_begun - both sides speak TLS now: what is fed from here on is what they carry in it. */
void tracker_tls_begun(struct tracker *t);
/* tracker_status_flags - the last server status (enum packet_status), 0 before the first. */
uint16_t tracker_status_flags(const struct tracker *t);
/* tracker_unknown_commands - how many commands were met that the tracker does not know. */
uint64_t tracker_unknown_commands(const struct tracker *t);

/*
 * tracker_can_inject - may a packet of our own (an error, before closing) be sent to the client now? True when the last packet
 * to it was whole.
 * |out_seq|              the sequence number it has to have; may be NULL.
 * |out_wants_sqlstate|   false until the client's handshake response was seen; may be NULL.
 */
bool tracker_can_inject(const struct tracker *t, uint8_t *out_seq, bool *out_wants_sqlstate);

/*
 * tracker_question - what the client asks that has to be decided: from TRACKER_CLIENT nothing is let through until it is, by
 * tracker_allow(), tracker_kill_drop(), or the end of the session. It is asked only when tracker_can_inject() says yes.
 */
enum tracker_question tracker_question(const struct tracker *t);
/*
 * tracker_client_is_blocked - the last tracker_feed() from TRACKER_CLIENT left bytes back that more bytes of the client do not
 * help: stop reading from it. It ends by a decision, or by what the server sends: then the caller feeds what it kept again.
 */
bool tracker_client_is_blocked(const struct tracker *t);
/* tracker_dump_request - TRACKER_ASKS_DUMP. |out_request|'s set is valid until the next call that changes |t|. Returns false when
 * the request cannot be understood, or is larger than 64 MB. */
bool tracker_dump_request(const struct tracker *t, struct tracker_dump_request *out_request);
/* tracker_kill - TRACKER_ASKS_KILL. Valid until the decision. */
const struct tracker_kill *tracker_kill(const struct tracker *t);
/*
 * tracker_kill_rewrite - the same KILL, of another thread; forms QUERY and COMMAND only.
 * |packet|  what was left back: at least packet_len bytes.
 * Returns the new packet's length, header included. The caller puts it in |packet|'s place before tracker_allow().
 */
size_t tracker_kill_rewrite(const struct tracker *t, const uint8_t *packet, uint64_t thread_id,
                            uint8_t out[TRACKER_KILL_LEN_MAX]);
/* tracker_allow - what was asked may pass as it is now: the caller feeds it again. */
void tracker_allow(struct tracker *t);
/* tracker_kill_drop - it will not be fed again: the caller has answered it, and takes its packet_len bytes away. */
void tracker_kill_drop(struct tracker *t);

/* tracker_is_stream - the client asked for a binlog dump (it stays true when the dump ends with an error). */
bool tracker_is_stream(const struct tracker *t);

/*
 * tracker_stream_is_between_transactions - phase STREAM, whole packets forwarded both ways, and the events forwarded so far end
 * between two transactions: before the first GTID event, or after Xid, XA_PREPARE, a transaction payload, or the Query that
 * is COMMIT, ROLLBACK or the DDL of its GTID. Such a stream is idle for a drain, though no reply ends.
 */
bool tracker_stream_is_between_transactions(const struct tracker *t);

/*
 * tracker_park - on: from now on no event that begins a transaction is forwarded (the one in progress is let through to its
 * end). Takes effect at once, in any phase; a stream that begins later is parked from birth. Off: the caller feeds what it
 * kept again, and goes on.
 */
void tracker_park(struct tracker *t, bool on);
/* tracker_stream_is_parked - parked, and between transactions: nothing that counts will be forwarded until it is unparked,
 * whether or not the server has more. */
bool tracker_stream_is_parked(const struct tracker *t);
/* tracker_stream_is_blocked - parked, and the last tracker_feed() left a transaction's first event back: stop reading from the
 * server. */
bool tracker_stream_is_blocked(const struct tracker *t);
