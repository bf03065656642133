/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - the admin interface: HTTP and JSON on the main loop. It parses, checks and authorises each request and
 * hands it to one handler, which answers later; it keeps and streams the events of switches; it renders the metrics.
 *
 * Everything here runs on the thread of the loop given to admin_start(). The wire form is conf/openapi.yaml.
 */
#pragma once
#include <jansson.h>
#include <stdint.h>
#include <uv.h>
#include "core/attr.h"

struct admin;        /* opaque: listener, connections, events of the last switches */
struct admin_token;  /* opaque: one call that is owed an answer */
struct config_admin; /* config/config.h */

enum admin_verb {
    ADMIN_VERB_SOURCES,    /* GET /v1/sources, and GET /metrics, which is rendered from the same answer */
    ADMIN_VERB_SOURCE,     /* GET /v1/sources/{id} */
    ADMIN_VERB_CHECK,      /* POST /v1/sources/{id}/check */
    ADMIN_VERB_SWITCH,     /* POST /v1/sources/{id}/switch */
    ADMIN_VERB_READDRESS,  /* POST /v1/sources/{id}/readdress */
    ADMIN_VERB_ABORT,      /* POST /v1/sources/{id}/abort */
    ADMIN_VERB_ADOPT,      /* POST /v1/sources/{id}/adopt */
    ADMIN_VERB_REPIN,      /* POST /v1/sources/{id}/repin */
    ADMIN_VERB_HOLD,       /* POST /v1/sources/{id}/hold */
    ADMIN_VERB_RELEASE,    /* POST /v1/sources/{id}/release */
    ADMIN_VERB_HISTORY,    /* GET /v1/sources/{id}/history?limit= */
    ADMIN_VERB_SWITCH_GET, /* GET /v1/switches/{n}, and its events when this process has none of them */
    ADMIN_VERB_READY,      /* GET /readyz: 200 once every source is recovered, else 503 */
    ADMIN_VERB_COUNT
};

enum { ADMIN_HISTORY_LIMIT_DEFAULT = 20, ADMIN_HISTORY_LIMIT_MAX = 1000, ADMIN_SOURCE_ID_BYTES_MAX = 255 };

/*
 * One request, checked: the handler need not look for unknown keys or wrong types. All of it is the admin's and valid
 * until the handler returns; what is needed longer is copied (|body|: json_incref()).
 */
struct admin_call {
    enum admin_verb verb;
    const char *source_id;  /* percent-decoded UTF-8, 1..255 bytes; NULL for SOURCES, SWITCH_GET and READY */
    uint64_t switch_number; /* SWITCH_GET: 1.. ; else 0 */
    uint32_t limit;         /* HISTORY: 1..1000, 20 unless asked; else 0 */
    /*
     * POST: an object, never NULL; GET: NULL. Keys that were not given are absent. Values are brought to one form:
     *   CHECK, SWITCH: "to" string, not empty (always there); "wait-catchup" integer, milliseconds, 0..86,400,000;
     *                  "old-is-dead" boolean; "accept-loss" string; "accept-errant" array of one or more strings;
     *                  "gtid-s" string; "waive" array of one or more strings
     *   READDRESS:     "source-file" string, not empty, and "task-files" array of strings (always there); "to" string; "dry-run",
     *                  "resume", "undo" boolean; "wait-catchup", "accept-loss", "accept-errant" as above. The files hold passwords:
     *                  they are logged nowhere.
     *   ADOPT, REPIN:  "backend" string, not empty (always there)
     *   ABORT, HOLD, RELEASE: {}
     * GTID sets, names of backends and the source's id are not judged here.
     */
    json_t *body;
};

/*
 * The one handler. It owes |token| one admin_reply(), at once or later. Called for a second request while the first is
 * unanswered. It may call any admin_* function.
 */
typedef void (*admin_handler_fn)(void *arg, struct admin_token *token, const struct admin_call *call);

/* Limits of the HTTP side. Milliseconds and counts, each 1.. */
struct admin_limits {
    uint32_t connections_max;    /* past it new ones wait in the listen queue */
    uint32_t streams_max;        /* open event streams; past it 503 */
    uint32_t body_bytes_max;     /* past it 413 */
    uint32_t receive_timeout_ms; /* from the first byte that may come to the last of a request, and between requests */
    uint32_t answer_timeout_ms;  /* from a whole request to admin_reply(); then 504 */
    uint32_t send_timeout_ms;    /* from the answer to its last byte taken; for streams: without any progress */
    uint32_t keepalive_ms;       /* a comment line on event streams that are silent */
    uint32_t close_timeout_ms;   /* admin_close(): how long last answers may take to leave */
    uint32_t events_max;         /* kept of one switch; past it the oldest are dropped, and readers are told */
    uint32_t switches_max;       /* ended switches whose events are kept */
};

#define ADMIN_LIMITS_DEFAULT                                                                                           \
    ((struct admin_limits){ .connections_max = 256,                                                                    \
                            .streams_max = 64,                                                                         \
                            .body_bytes_max = 1u << 20,                                                                \
                            .receive_timeout_ms = 10000,                                                               \
                            .answer_timeout_ms = 60000,                                                                \
                            .send_timeout_ms = 30000,                                                                  \
                            .keepalive_ms = 15000,                                                                     \
                            .close_timeout_ms = 1000,                                                                  \
                            .events_max = 4096,                                                                        \
                            .switches_max = 64 })

/*
 * admin_start - bind, listen and serve on |loop|.
 *
 * |config|   copied as far as needed. A unix socket is made with mode 0600; a stale one is removed only when it is a
 *            socket and nobody listens on it.
 * |limits|   NULL is ADMIN_LIMITS_DEFAULT.
 * |handler|  called on |loop| with |arg|, until admin_close().
 *
 * Returns 0 and |*out_admin|; or, with nothing left behind and the reason and what to do in the log:
 *   SLUICE_ERR_CONFIG  neither socket nor listen, TCP with neither token nor insecure, or a socket path that is too
 * long. SLUICE_ERR_BUSY    somebody listens there. SLUICE_ERR_IO      bind, listen or a resolution failed; the path is
 * something else than a socket. SLUICE_ERR_NOMEM   memory ran out. May block on the resolution of a listen name. Call
 * from: the loop's thread, or before it runs.
 */
SLUICE_MUSTCHECK int admin_start(uv_loop_t *loop, const struct config_admin *config, const struct admin_limits *limits,
                                 admin_handler_fn handler, void *arg, struct admin **out_admin);

/* admin_port - the TCP port listened on (of use where port 0 was asked for); 0 on a unix socket. Loop's thread. */
uint16_t admin_port(const struct admin *admin);

/*
 * admin_reply - answer a call: exactly once for each token, from inside the handler or later, also when the client hung
 * up, the deadline passed (504 was sent) or admin_close() was called meanwhile: then the answer is dropped.
 *
 * |status|  HTTP, 200..599.
 * |doc|     a JSON object; its reference passes to admin. NULL (memory ran out) makes a 500.
 *           For ADMIN_VERB_SOURCES also the source of the metrics: see metrics.h for the members that are read.
 * |token| is invalid after. Call from: the loop's thread.
 */
void admin_reply(struct admin_token *token, int status, json_t *doc);
/*
 * admin_reply_error - admin_reply() with {"result":false,"msg":…,"code":…}. |code| is the exit code of the CLI that
 * fits (1 failed, 2 usage, 3 refused, 4 a limit ran out, 5 state unknown).
 */
void admin_reply_error(struct admin_token *token, int status, int code, const char *fmt, ...) SLUICE_PRINTF(4, 5);

/*
 * admin_event - publish the next event of a switch: kept for later subscribers, sent to those that listen.
 *
 * |event|  {"type":"step",…} or {"type":"end",…}; its reference passes to admin. NULL (memory ran out) counts as lost.
 *          "end" is the last of its switch: streams end after it; an event after it is dropped and logged.
 * Call from: the loop's thread, also from inside the handler.
 */
void admin_event(struct admin *admin, uint64_t switch_number, json_t *event);

/*
 * admin_close - stop listening, answer what is open with 503, end the event streams, give last bytes close_timeout_ms
 * to leave, then close. |on_closed(arg)| (may be NULL) runs from the loop when |admin| is freed and the loop has none
 * of its handles any more. The handler is not called again; the tokens it still holds are valid until it replies to
 * them. Call from: the loop's thread, once; also from inside the handler.
 */
void admin_close(struct admin *admin, void (*on_closed)(void *arg), void *arg);
