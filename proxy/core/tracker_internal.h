/* SPDX-License-Identifier: Apache-2.0 */
/* tracker_internal.h - what the tracker's own files share; nobody else includes it. */
#pragma once
#include "core/packet.h"
#include "core/tracker_reader.h"
#include "core/tracker.h"

enum {
    LEAD_LEN_MAX = 320,  /* leading payload bytes of a packet that may be kept */
    LEAD_LEN_REPLY = 48, /* enough for OK, EOF, a result's first packet, an event's head */
    LEAD_LEN_QUERY =
        3 + TRACKER_READER_TEXT_LEN_MAX, /* as long as it may be what names a reader; of all else one byte */
    GREETING_LEN_MAX = 4096,             /* longest greeting, or error in its place, that is believed */
    HANDSHAKE_LEN_MAX = 1 << 20,         /* longest handshake response that is believed */
    QUEUE_LEN_MAX = 65536,               /* commands pipelined; more cannot be followed */
    QUEUE_LEN_INLINE = 16,               /* that many without an allocation */
    DUMP_REQUEST_LEN_MAX = 1 << 26,
    QUERY_TEXT_LEN = 16, /* of a Query event's text: enough to tell BEGIN, XA START, COMMIT and ROLLBACK */
    EVENT_HEADER_LEN = 19,
};

/* What a packet of the client is; fixed when its header is whole (a command may turn out to be an acknowledgement). */
enum role {
    ROLE_HANDSHAKE, /* HandshakeResponse or SSLRequest */
    ROLE_AUTH_DATA, /* answer to an auth switch, more data, a public key */
    ROLE_COMMAND,
    ROLE_INFILE, /* contents of a file for LOAD DATA LOCAL */
    ROLE_ACK,    /* semi-sync acknowledgement on a stream */
};

/* One direction. A logical packet is one or more physical ones; all but the last have PACKET_PAYLOAD_LEN_MAX bytes. */
struct frame {
    uint8_t header[PACKET_HEADER_LEN];
    uint8_t header_len; /* bytes of the physical packet's header so far; 0 between packets */
    bool is_continued;  /* the last physical packet had the largest length: what follows belongs to it */
    uint8_t seq;        /* of the last whole header */
    enum role role;     /* client only */
    uint32_t len;       /* of the physical packet */
    uint32_t left;      /* of it, not passed yet */
    uint32_t first_len; /* length of the logical packet's first part */
    uint64_t seen;      /* payload bytes of the logical packet that passed */
    uint16_t lead_len;
    uint16_t lead_want; /* 0..LEAD_LEN_MAX */
    uint8_t lead[LEAD_LEN_MAX];
};

/* How the server answers a command. */
enum reply_kind {
    REPLY_NONE,
    REPLY_SIMPLE,  /* one OK, EOF or ERR */
    REPLY_RESULT,  /* OK, ERR, LOCAL INFILE, or result sets */
    REPLY_PREPARE, /* a statement's id and its definitions */
    REPLY_FETCH,   /* rows and EOF */
    REPLY_FIELDS,  /* column definitions and EOF */
    REPLY_STRING,  /* one packet of any form */
    REPLY_AUTH,    /* as after a handshake response */
    REPLY_STREAM,  /* binlog events */
    REPLY_UNKNOWN,
};

/* Where in the reply to the front command the server is. */
enum reply_step {
    STEP_FIRST,
    STEP_PARAMS,
    STEP_PARAMS_END, /* the EOF behind definitions; not sent to a client that has CLIENT_DEPRECATE_EOF */
    STEP_COLUMNS,
    STEP_COLUMNS_END,
    STEP_ROWS,
};

struct reply {
    enum reply_step step;
    bool is_begun;     /* the server has begun to answer the front command */
    bool is_described; /* of a prepared statement: definitions follow */
    uint64_t left;     /* definitions still to come in this step */
    uint16_t columns;  /* of a prepared statement: definitions that follow those of the parameters */
};

/* Commands whose replies are owed, in order: their first bytes. */
struct queue {
    uint8_t *at; /* |fixed|, or allocated */
    uint32_t room, head, len;
    uint8_t fixed[QUEUE_LEN_INLINE];
};

enum stream_place {
    STREAM_BETWEEN, /* the last event forwarded ended a transaction, or none has begun */
    STREAM_BEGUN,   /* its GTID was sent; the first Query tells whether it is the whole transaction */
    STREAM_INSIDE,  /* BEGIN or XA START was sent */
    STREAM_ALONE,   /* MariaDB's GTID event said that one event follows and ends it */
};

enum event_class {
    EVENT_NEUTRAL, /* rotate, heartbeat, format description, ...: no part of a transaction */
    EVENT_GTID,
    EVENT_QUERY,
    EVENT_QUERY_COMPRESSED, /* MariaDB; never BEGIN or COMMIT */
    EVENT_CONTEXT,          /* comes before the Query that it belongs to */
    EVENT_BODY,
    EVENT_END, /* Xid, XA_PREPARE, transaction payload, incident */
};

struct stream {
    enum stream_place place;
    bool is_parked;
    bool is_blocked;
    bool is_answered;       /* an event came; |prefix| is known */
    uint8_t prefix;         /* bytes in front of an event: 1, or 3 with semi-sync */
    enum event_class event; /* the event that passes */
    size_t query_at;        /* offset in the payload of the Query's text; 0 while not known */
    uint8_t query[QUERY_TEXT_LEN];
    uint8_t query_len;
};

/* A dump request while it passes, kept until the server has answered it. */
struct dump {
    bool is_asked;  /* from the request's first byte to the end of its stream */
    bool is_kept;   /* it passes, and somebody wants to be told of it */
    bool is_lost;   /* too long */
    bool is_asking; /* from its first byte until it is allowed: its last byte is left back */
    bool has_last;  /* |bytes| has that last byte already */
    uint8_t *bytes;
    size_t len, room;
};

/* What bytes of the client that were left back wait for, when nobody is asked yet. */
enum ask_wait {
    ASK_WAIT_NOTHING,
    ASK_WAIT_FREE,         /* a KILL: no reply is owed any more */
    ASK_WAIT_STREAM,       /* a dump: what was asked before it has been answered */
    ASK_WAIT_STREAM_ENDED, /* a dump: the one before it has ended */
};

struct ask {
    enum tracker_question question;
    enum ask_wait wait;
    bool is_allowed; /* the next packet may go as it is */
    struct tracker_kill kill;
};

struct tracker {
    enum tracker_phase phase;
    enum tracker_opaque opaque;
    int status; /* 0, or the error that ended it */
    struct tracker_options options;
    struct frame frames[2]; /* by enum tracker_side */
    uint8_t last_seq;       /* of the last whole header of either side, acknowledgements apart */

    struct packet_greeting greeting;
    bool is_greeted;
    bool is_handshaken;    /* the handshake response passed whole */
    bool is_tls_due;       /* TLS was asked for; nothing passes until it is there */
    bool is_tls;           /* what is fed came by TLS */
    uint32_t capabilities; /* of server and client both */
    uint32_t mariadb_capabilities;
    char user[TRACKER_USER_LEN_MAX + 1];
    char user_next[TRACKER_USER_LEN_MAX + 1]; /* of the login that is under way */
    char reader_uuid[TRACKER_READER_UUID_LEN + 1];

    struct queue queue;
    struct reply reply;
    bool is_infile; /* the server asked for a file, and the client has not ended it */
    bool has_quit;
    bool is_stream;
    bool is_unsure; /* an ERR with autocommit off: there may be a transaction that no flag told of */
    uint16_t server_status;
    uint64_t unknown_commands;

    struct stream stream;
    struct dump dump;
    struct ask ask;
};

/* tracker.c */
bool frame_is_whole(const struct frame *f);
void tracker_become_opaque(struct tracker *t, enum tracker_opaque reason);
void tracker_settle(struct tracker *t); /* phase among COMMAND, REPLY, STREAM and CLOSED by what is owed */

/* tracker_auth.c */
void greeting_edit(struct tracker *t, uint8_t *bytes, size_t len, uint64_t offset);
SLUICE_MUSTCHECK int greeting_end(struct tracker *t);
SLUICE_MUSTCHECK int handshake_end(struct tracker *t);
SLUICE_MUSTCHECK int auth_packet(struct tracker *t); /* the server's, after the handshake response */
void change_user_packet(struct tracker *t);          /* the server's, after COM_CHANGE_USER */
void user_keep_next(struct tracker *t, size_t offset);

/* tracker_command.c */
enum reply_kind command_reply_kind(uint8_t command);
SLUICE_MUSTCHECK int command_begin(struct tracker *t, uint8_t command);
void command_end(struct tracker *t);
void command_look(struct tracker *t, struct frame *f); /* at the front of a query: does it name a reader? */
uint8_t queue_front(const struct queue *q);
void queue_pop(struct queue *q);
void queue_free(struct queue *q);

/* tracker_result.c */
void reply_packet(struct tracker *t); /* the server's, in phase REPLY */
void reply_end(struct tracker *t);
void reply_error(struct tracker *t);
void unasked_packet(struct tracker *t); /* the server's, in phase COMMAND */
bool packet_is_ok(const struct frame *f);
bool packet_is_eof(const struct frame *f);
void status_keep(struct tracker *t, const struct frame *f); /* of an OK or EOF */

/* tracker_binlog.c */
enum stream_verdict { STREAM_GO, STREAM_MORE, STREAM_BLOCK };
enum stream_verdict stream_judge(struct tracker *t, const uint8_t *bytes, size_t len);
void stream_payload(struct tracker *t, const uint8_t *bytes, size_t len, uint64_t offset);
void stream_packet(struct tracker *t);

/* tracker_gtid.c: |event| is a GTID event's head without OK byte; false when it cannot be understood. */
enum {
    EVENT_TYPE_GTID = 33,
    EVENT_TYPE_ANONYMOUS_GTID = 34,
    EVENT_TYPE_GTID_TAGGED = 42,
    EVENT_TYPE_MARIADB_GTID = 162
};
size_t gtid_event_head_len(uint8_t type);
bool gtid_event_parse(const uint8_t *event, size_t len, struct tracker_gtid *out_gtid);

/* tracker_dump.c */
bool dump_begin(struct tracker *t); /* false: another one has not ended, and the session is opaque now */
SLUICE_MUSTCHECK int dump_payload(struct tracker *t, const uint8_t *bytes, size_t len);
bool dump_answered(struct tracker *t);                                           /* false: it could not be understood */
void dump_end(struct tracker *t);                                                /* the request has passed whole */
bool dump_parse(const struct dump *d, struct tracker_dump_request *out_request); /* false: it cannot be understood */
void dump_free(struct dump *d);

/* tracker_ask.c */
enum ask_verdict { ASK_GO, ASK_MORE, ASK_BLOCK };
/* ask_judge - bytes of the client wait: with ASK_GO the first |*out_room| of them may be fed. */
enum ask_verdict ask_judge(struct tracker *t, const uint8_t *bytes, size_t len, size_t *out_room);
bool ask_is_dump(uint8_t command);
