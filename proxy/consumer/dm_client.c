/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every master takes every call and hands it to the leader (server.go: sharedLogic), so one that answers is enough. What passes over to
 * the next: no answer, an answer that is cut, HTTP 5xx but 501 (a master without a leader says 500, code 38043), and the same in gRPC.
 */
#include "consumer/dm_client.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "consumer/dm_parse.h"
#include "core/error.h"
#include "core/mem.h"

enum { CONNECT_LIMIT_MS = 2000, ATTEMPT_MS_MIN = 500, GRPC_UNIMPLEMENTED = 12 };

struct dm_client {
    struct http *http;
    uv_loop_t *loop;
    char **masters; /* "host:port" */
    size_t count;
    size_t good; /* where the last call was answered */
    bool is_tls;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

struct attempt {
    struct dm_client *client;
    char *method, *path;
    struct text body;
    bool has_body, is_grpc;
    uint64_t deadline_ms;
    size_t tried;               /* masters so far */
    size_t master;              /* the one being asked */
    char why[DM_ERROR_LEN + 1]; /* of those that were passed over */
    dm_client_fn fn;
    void *arg;
};

static void attempt_del(struct attempt *a)
{
    mem_free(a->method);
    mem_free(a->path);
    text_free(&a->body);
    mem_free(a);
}

static void attempt_end(struct attempt *a, int status, const char *text, const struct http_answer *answer)
{
    a->fn(a->arg, status, text, answer == NULL ? NULL : answer->body, answer == NULL ? 0 : answer->body_len);
    attempt_del(a);
}

static int attempt_next(struct attempt *a);

/* 0: it is an answer. Otherwise why not, and whether another master may do better. */
static int judge(const struct attempt *a, const struct http_answer *answer, char *text, bool *out_is_final)
{
    *out_is_final = false;
    if (answer->status != 200) {
        *out_is_final = answer->status < 500 || answer->status == 501;
        dm_parse_failure(answer->status, answer->body, answer->body_len, text);
        return SLUICE_ERR_PROTOCOL;
    }
    if (!a->is_grpc || answer->grpc_status == 0) return 0;
    *out_is_final = answer->grpc_status == GRPC_UNIMPLEMENTED;
    snprintf(text, DM_ERROR_LEN + 1, "gRPC status %d: %.300s", answer->grpc_status, answer->grpc_message);
    return SLUICE_ERR_PROTOCOL;
}

static void on_answer(void *arg, int status, const char *text, const struct http_answer *answer)
{
    struct attempt *a = arg;
    struct dm_client *c = a->client;
    char why[DM_ERROR_LEN + 1], full[DM_ERROR_LEN + 1];
    bool is_final = status == SLUICE_ERR_CANCELED || status == SLUICE_ERR_NOMEM;
    snprintf(why, sizeof why, "%s", text);
    if (status == 0) status = judge(a, answer, why, &is_final);
    if (status == 0) {
        c->good = a->master;
        attempt_end(a, 0, "", answer);
        return;
    }
    a->tried++;
    snprintf(full, sizeof full, "%.200s%sDM master %s: %.190s", a->why, *a->why == '\0' ? "" : "; ",
             c->masters[a->master], why);
    strcpy(a->why, full);
    if (!is_final && a->tried < c->count && uv_now(c->loop) < a->deadline_ms) {
        a->master = (a->master + 1) % c->count;
        status = attempt_next(a);
        if (status == 0) return;
    }
    attempt_end(a, status, full, NULL);
}

static int attempt_next(struct attempt *a)
{
    struct dm_client *c = a->client;
    struct text url = TEXT_INIT;
    uint64_t now = uv_now(c->loop), left = a->deadline_ms > now ? a->deadline_ms - now : 0;
    uint64_t share = left / (c->count - a->tried); /* one that is frozen must leave time for the others */
    if (share < ATTEMPT_MS_MIN) share = left < ATTEMPT_MS_MIN ? left : ATTEMPT_MS_MIN;
    if (share == 0) share = 1;
    text_printf(&url, "%s://%s%s", c->is_tls ? "https" : "http", c->masters[a->master], a->path);
    const struct http_request request = { .method = a->method,
                                          .url = text_str(&url),
                                          .body = a->has_body ? text_str(&a->body) : NULL,
                                          .body_len = a->body.len,
                                          .is_grpc = a->is_grpc,
                                          .timeout_ms = (uint32_t)share,
                                          .connect_limit_ms =
                                              share < CONNECT_LIMIT_MS ? (uint32_t)share : CONNECT_LIMIT_MS,
                                          .answer_bytes_max = DM_ANSWER_BYTES_MAX };
    int rv = url.status != 0 ? url.status : http_start(c->http, &request, on_answer, a);
    text_free(&url);
    return rv;
}

int dm_client_call(struct dm_client *c, const struct dm_request *request, dm_client_fn fn, void *arg)
{
    struct attempt *a = mem_calloc(1, sizeof *a);
    int rv = SLUICE_ERR_NOMEM;
    if (a == NULL) return rv;
    uv_update_time(c->loop);
    *a = (struct attempt){ .client = c,
                           .method = mem_strdup(request->method == NULL ? "POST" : request->method),
                           .path = mem_strdup(request->path),
                           .has_body = request->body != NULL,
                           .is_grpc = request->method == NULL,
                           .deadline_ms = uv_now(c->loop) + request->timeout_ms,
                           .master = c->good,
                           .fn = fn,
                           .arg = arg };
    if (a->has_body) text_append(&a->body, request->body, request->body_len);
    if (a->method != NULL && a->path != NULL && a->body.status == 0) rv = attempt_next(a);
    if (rv != 0) attempt_del(a);
    return rv;
}

static void client_free(struct dm_client *c)
{
    for (size_t i = 0; c->masters != NULL && i < c->count; i++)
        mem_free(c->masters[i]);
    mem_free(c->masters);
    mem_free(c);
}

int dm_client_new(uv_loop_t *loop, const struct config_address *masters, size_t count,
                  const struct http_security *security, struct dm_client **out)
{
    assert(count > 0);
    struct dm_client *c = mem_calloc(1, sizeof *c);
    int rv = SLUICE_ERR_NOMEM;
    if (c == NULL) return rv;
    c->loop = loop;
    c->count = count;
    c->is_tls = security != NULL && security->ca != NULL;
    c->masters = mem_calloc(count, sizeof *c->masters);
    for (size_t i = 0; c->masters != NULL && i < count; i++) {
        struct text t = TEXT_INIT;
        bool is_v6 = strchr(masters[i].host, ':') != NULL;
        text_printf(&t, "%s%s%s:%u", is_v6 ? "[" : "", masters[i].host, is_v6 ? "]" : "", masters[i].port);
        c->masters[i] = text_take(&t);
        if (c->masters[i] == NULL) goto err;
    }
    if (c->masters == NULL) goto err;
    rv = http_new(loop, security, &c->http);
    if (rv != 0) goto err;
    *out = c;
    return 0;
err:
    client_free(c);
    return rv;
}

static void on_http_closed(void *arg)
{
    struct dm_client *c = arg;
    void (*on_closed)(void *) = c->on_closed;
    void *closed_arg = c->closed_arg;
    client_free(c);
    if (on_closed != NULL) on_closed(closed_arg);
}

void dm_client_close(struct dm_client *c, void (*on_closed)(void *arg), void *arg)
{
    c->on_closed = on_closed;
    c->closed_arg = arg;
    http_close(c->http, on_http_closed, c);
}
