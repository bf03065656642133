/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - HTTP calls on a libuv loop: libcurl's multi interface, on the loop's own poll and timer handles. curl is known to http.c alone. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "core/attr.h"

struct http;      /* opaque: the calls of one owner on one loop */
struct http_call; /* opaque: one under way */

/* What a peer that demands a client's certificate needs; paths of PEM files. |ca| NULL: no TLS. */
struct http_security {
    const char *ca;
    const char *cert; /* NULL: none is shown */
    const char *key;
};

struct http_request {
    const char *method; /* "GET", "PUT", "POST" */
    const char *url;    /* http:// or https:// */
    const char *body;   /* NULL: none */
    size_t body_len;
    bool is_grpc;              /* HTTP/2 at once, with what gRPC wants of the headers; the answer's trailers are read */
    uint32_t timeout_ms;       /* in all */
    uint32_t connect_limit_ms; /* of it, until the connection stands; TLS included */
    size_t answer_bytes_max;
};

struct http_answer {
    int status; /* 200 … */
    const char *body;
    size_t body_len;
    int grpc_status;          /* of the trailers; -1 when there was none */
    const char *grpc_message; /* "" when there was none; percent-encoded as it came */
};

/*
 * How a call ended: 0 with |answer|, whatever its status; SLUICE_ERR_UNREACHABLE, SLUICE_ERR_TIMEOUT, SLUICE_ERR_TLS,
 * SLUICE_ERR_PROTOCOL (no HTTP, or an answer that is cut or longer than allowed), SLUICE_ERR_CANCELED, SLUICE_ERR_NOMEM, with
 * |text|. Both are valid inside the call only. On the loop; may start other calls, and close.
 */
typedef void (*http_done_fn)(void *arg, int status, const char *text, const struct http_answer *answer);

/* http_new - |security| is copied; NULL: no TLS. 0, SLUICE_ERR_NOMEM. Call from: the loop's thread, or before it runs. */
SLUICE_MUSTCHECK int http_new(uv_loop_t *loop, const struct http_security *security, struct http **out);
/*
 * http_start - make a call; |fn| exactly once, never from inside http_start(). All of |request| is copied. Returns 0 or
 * SLUICE_ERR_NOMEM, with nothing begun.
 */
SLUICE_MUSTCHECK int http_start(struct http *h, const struct http_request *request, http_done_fn fn, void *arg);
/* http_close - calls under way end with SLUICE_ERR_CANCELED, then |on_closed(arg)|, after which |h| is gone. Once. */
void http_close(struct http *h, void (*on_closed)(void *arg), void *arg);
