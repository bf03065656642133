/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the parts of the admin interface share: the daemon, its connections, the tokens. Private to admin/. */
#pragma once
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "admin/admin.h"
#include "admin/events.h"
#include "admin/listen.h"
#include "admin/route.h"
#include "core/text.h"

enum admin_state {
    ADMIN_STATE_SERVING,
    ADMIN_STATE_CLOSE_ASKED, /* admin_close() was called; the loop acts on it */
    ADMIN_STATE_CLOSING,     /* no listener any more; the last answers leave */
    ADMIN_STATE_STOPPED,     /* no daemon any more; handles are being closed */
};

struct admin {
    enum admin_state state;
    uv_loop_t *loop;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;        /* the daemon's epoll descriptor */
    uv_timer_t run_timer;  /* the daemon has work without a descriptor being ready */
    uv_timer_t tick_timer; /* the nearest deadline of a connection, or of the close */
    unsigned handles_open;
    bool is_run_due; /* a connection was resumed since the daemon's last turn */
    struct admin_limits limits;
    struct admin_listener listener;
    char *token; /* NULL: none is asked for */
    admin_handler_fn handler;
    void *handler_arg;
    struct admin_conn *conns; /* doubly linked */
    uint32_t conn_count;
    uint32_t stream_count;
    struct admin_events events;
    uint64_t close_deadline_ms;
    uint64_t denied_log_ms; /* when a wrong token was last logged: once a second at most */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* Where a connection is with its current request. */
enum admin_conn_state {
    ADMIN_CONN_RECEIVING, /* or between two requests */
    ADMIN_CONN_WAITING,   /* for admin_reply(); suspended */
    ADMIN_CONN_ANSWERED,  /* |response| is there, the daemon has not taken it yet */
    ADMIN_CONN_SENDING,
    ADMIN_CONN_STREAMING, /* events; suspended while there is none */
    ADMIN_CONN_CUT,       /* a deadline passed: its socket was shut down, the daemon will see it */
};

enum { ADMIN_PEER_BYTES = 64 };

struct admin_conn {
    struct admin_conn *prev, *next;
    struct admin *admin;
    struct MHD_Connection *mhd;
    int fd; /* the daemon's */
    char peer[ADMIN_PEER_BYTES];
    enum admin_conn_state state;
    bool is_suspended;
    uint64_t deadline_ms; /* of the state, on the loop's clock */

    /* The request; reset when it is over. */
    struct admin_route route;
    uint32_t limit;
    bool is_too_large;
    int refusal; /* HTTP status that is decided already while the body still comes; 0: none */
    const char *refusal_msg;
    const char *allow; /* with 405 */
    struct text body;
    struct admin_token *token;     /* WAITING */
    struct MHD_Response *response; /* ANSWERED */
    int status;

    /* The stream. */
    struct admin_event_log *log; /* a reference; NULL when this is no stream */
    uint64_t next_seq;
    struct text pending; /* what is being sent */
    size_t pending_sent;
    bool is_comment_due;
};

enum admin_token_purpose { ADMIN_TOKEN_CALL, ADMIN_TOKEN_METRICS, ADMIN_TOKEN_EVENTS };

struct admin_token {
    struct admin_conn *conn; /* NULL: nobody waits any more */
    enum admin_token_purpose purpose;
    enum admin_verb verb;
};

/* admin.c */
uint64_t admin_now_ms(const struct admin *admin);
/* admin_run_soon - the daemon gets a turn: a resumed connection does not always wake its epoll descriptor. */
void admin_run_soon(struct admin *admin);

/* conn.c: the daemon's callbacks, |cls| being the struct admin. */
enum MHD_Result admin_conn_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                      const char *version, const char *upload, size_t *upload_len, void **con_cls);
void admin_conn_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                             enum MHD_RequestTerminationCode code);
void admin_conn_on_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code);
/* admin_conn_resume - let the daemon go on with a suspended connection. Nothing when it is not suspended. */
void admin_conn_resume(struct admin_conn *c);
/* admin_conn_expire - its deadline has passed. */
void admin_conn_expire(struct admin_conn *c);
/* admin_conn_end - the admin is closing: answer, end the stream, or cut it when it is idle. May be repeated. */
void admin_conn_end(struct admin_conn *c);

/* answer.c */
/* admin_conn_answer - give the request of |c| its answer; |body| (may be NULL: memory ran out) passes in. */
void admin_conn_answer(struct admin_conn *c, int status, const char *content_type, struct text *body);
/* admin_conn_answer_json - the same with a document, whose reference passes in; NULL makes a 500. */
void admin_conn_answer_json(struct admin_conn *c, int status, json_t *doc);
/* admin_conn_answer_error - the same with {"result":false,…}. */
void admin_conn_answer_error(struct admin_conn *c, int status, int code, const char *msg);
/* admin_error_doc - {"result":false,"msg":…,"code":…}; NULL when memory ran out. Bytes that are no UTF-8 become '?'. */
json_t *admin_error_doc(int code, const char *msg);
/* admin_dump - a document as text with a newline at its end; sticky SLUICE_ERR_NOMEM in |out|. */
void admin_dump(const json_t *doc, struct text *out);

/* stream.c */
/* admin_stream_start - answer the request of |c| with the events of |log| from the first on. */
void admin_stream_start(struct admin_conn *c, struct admin_event_log *log);
/* admin_stream_answer - the same for a switch of which this process has no events, from the stored switch in |doc| (kept). */
void admin_stream_answer(struct admin_conn *c, const json_t *doc);
/* admin_stream_stop - the request is over: drop the reference. */
void admin_stream_stop(struct admin_conn *c);
