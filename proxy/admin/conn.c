/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection and its current request, as the daemon's callbacks drive it.
 *
 *   RECEIVING -> WAITING -> ANSWERED -> SENDING | STREAMING -> RECEIVING -> …
 *            `--------------^            any deadline but WAITING's and a silent stream's -> CUT
 */
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include "admin/body.h"
#include "admin/internal.h"
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"

static void set_deadline(struct admin_conn *c, uint32_t timeout_ms)
{
    c->deadline_ms = admin_now_ms(c->admin) + timeout_ms;
}

static void conn_cut(struct admin_conn *c, const char *why)
{
    log_debug("admin connection cut", LOG_STR("why", why), LOG_STR("peer", c->peer));
    assert(!c->is_suspended);
    c->state = ADMIN_CONN_CUT;
    c->deadline_ms = UINT64_MAX;
    shutdown(c->fd, SHUT_RDWR); /* the daemon sees the end and closes it */
}

void admin_conn_resume(struct admin_conn *c)
{
    if (!c->is_suspended) return;
    c->is_suspended = false;
    set_deadline(c, c->admin->limits.send_timeout_ms);
    MHD_resume_connection(c->mhd);
    admin_run_soon(c->admin);
}

/* --- a connection comes and goes --- */

static void peer_describe(int fd, char out[static ADMIN_PEER_BYTES])
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    char host[48];
    char port[8];
    struct ucred cred;
    socklen_t cred_len = sizeof cred;
    snprintf(out, ADMIN_PEER_BYTES, "unknown");
    if (getpeername(fd, (struct sockaddr *)&from, &len) != 0) return;
    if (from.ss_family == AF_UNIX) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) != 0) return;
        snprintf(out, ADMIN_PEER_BYTES, "uid:%u pid:%d", (unsigned)cred.uid, (int)cred.pid);
    } else if (getnameinfo((struct sockaddr *)&from, len, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(out, ADMIN_PEER_BYTES, "%s:%s", host, port);
    }
}

static struct admin_conn *conn_new(struct admin *admin, struct MHD_Connection *mhd)
{
    struct admin_conn *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return NULL;
    c->admin = admin;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    peer_describe(c->fd, c->peer);
    set_deadline(c, admin->limits.receive_timeout_ms);
    c->next = admin->conns;
    if (c->next != NULL) c->next->prev = c;
    admin->conns = c;
    admin->conn_count++;
    return c;
}

static void conn_del(struct admin_conn *c)
{
    struct admin *admin = c->admin;
    assert(c->log == NULL && c->token == NULL && c->response == NULL);
    if (c->next != NULL) c->next->prev = c->prev;
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        admin->conns = c->next;
    }
    assert(admin->conn_count > 0);
    admin->conn_count--;
    mem_free(c);
}

void admin_conn_on_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = conn_new(cls, mhd); /* NULL: its first request closes it */
        return;
    }
    if (*socket_context != NULL) conn_del(*socket_context);
    *socket_context = NULL;
    admin_run_soon(cls); /* at its limit the daemon listens again only in its next turn */
}

void admin_conn_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                             enum MHD_RequestTerminationCode code)
{
    (void)cls;
    (void)mhd;
    (void)code;
    struct admin_conn *c = *con_cls;
    if (c == NULL) return;
    if (c->token != NULL) c->token->conn = NULL; /* the handler still owes its reply; nobody waits for it */
    if (c->response != NULL) MHD_destroy_response(c->response);
    admin_stream_stop(c);
    text_free(&c->body);
    text_free(&c->pending);
    c->token = NULL;
    c->response = NULL;
    c->pending_sent = 0;
    c->next_seq = 0;
    c->is_comment_due = false;
    c->refusal = 0;
    c->allow = NULL;
    c->limit = 0;
    c->route = (struct admin_route){ 0 };
    if (c->state != ADMIN_CONN_CUT) {
        c->state = ADMIN_CONN_RECEIVING;
        set_deadline(c, c->admin->limits.receive_timeout_ms);
    }
    *con_cls = NULL;
}

/* --- a request begins: all that its head can tell --- */

static void refuse(struct admin_conn *c, int status, const char *msg)
{
    if (c->refusal != 0) return; /* the first reason is the one told */
    c->refusal = status;
    c->refusal_msg = msg;
}

static const char *header_of(struct admin_conn *c, const char *name)
{
    return MHD_lookup_connection_value(c->mhd, MHD_HEADER_KIND, name);
}

/* Takes as long for any wrong token of a length as for the right one. */
static bool token_is_right(const char *given, const char *token)
{
    size_t len = strlen(token);
    size_t given_len = strlen(given);
    unsigned char difference = given_len != len;
    for (size_t i = 0; i < given_len; i++)
        difference |= (unsigned char)(given[i] ^ token[i % (len + 1)]);
    return difference == 0;
}

static bool is_authorised(struct admin_conn *c)
{
    static const char scheme[] = "Bearer ";
    struct admin *admin = c->admin;
    if (admin->token == NULL) return true;
    const char *value = header_of(c, "Authorization");
    if (value != NULL && strncasecmp(value, scheme, sizeof scheme - 1) == 0) {
        value += sizeof scheme - 1;
        if (token_is_right(value + strspn(value, " "), admin->token)) return true;
    }
    uint64_t now_ms = admin_now_ms(admin);
    if (admin->denied_log_ms == 0 || now_ms - admin->denied_log_ms >= 1000) {
        admin->denied_log_ms = now_ms;
        log_warn("admin call without the right token", LOG_STR("peer", c->peer));
    }
    return false;
}

static bool is_json_type(const char *value)
{
    static const char type[] = "application/json";
    if (value == NULL || strncasecmp(value, type, sizeof type - 1) != 0) return false;
    value += sizeof type - 1;
    value += strspn(value, " \t");
    return *value == '\0' || *value == ';';
}

/* 1..ADMIN_HISTORY_LIMIT_MAX in decimal, else 0. */
static uint32_t parse_limit(const char *value)
{
    size_t digits = value == NULL ? 0 : strlen(value);
    if (digits == 0 || digits > 4 || strspn(value, "0123456789") != digits) return 0;
    uint32_t n = 0;
    for (; *value != '\0'; value++)
        n = n * 10 + (uint32_t)(*value - '0');
    return n <= ADMIN_HISTORY_LIMIT_MAX ? n : 0;
}

static enum MHD_Result take_parameter(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    struct admin_conn *c = cls;
    bool is_history = c->route.kind == ADMIN_ROUTE_CALL && c->route.verb == ADMIN_VERB_HISTORY;
    if (!is_history || strcmp(key, "limit") != 0) {
        refuse(c, 400, "unknown parameter in the query; only history takes one: limit");
        return MHD_NO;
    }
    c->limit = parse_limit(value);
    if (c->limit == 0) refuse(c, 400, "limit is not a whole number from 1 to 1000");
    return MHD_YES;
}

static bool is_length_too_large(struct admin_conn *c)
{
    const char *value = header_of(c, "Content-Length"); /* the daemon has checked that it is a number */
    unsigned long long len = 0;
    return value != NULL && sscanf(value, "%llu", &len) == 1 && len > c->admin->limits.body_bytes_max;
}

static const char *const too_large_msg = "the body is larger than 1 MiB";

static void request_begin(struct admin_conn *c, const char *url, const char *method)
{
    if (!is_authorised(c)) {
        refuse(c, 401,
               "the bearer token is missing or wrong; send \"Authorization: Bearer …\" with admin.token-file's");
        return;
    }
    switch (admin_route_find(method, url, &c->route, &c->allow)) {
    case 0: break;
    case 400: refuse(c, 400, "malformed source id or switch number in the path"); return;
    case 405: refuse(c, 405, "this path does not take this method"); return;
    default: refuse(c, 404, "no such path; conf/openapi.yaml lists them"); return;
    }
    if (c->route.verb == ADMIN_VERB_HISTORY) c->limit = ADMIN_HISTORY_LIMIT_DEFAULT;
    /* Also without a body: a page in a browser can then not send it to us unasked. */
    if (c->route.is_post && !is_json_type(header_of(c, "Content-Type"))) {
        refuse(c, 415, "a POST needs \"Content-Type: application/json\"");
    }
    if (c->route.is_post && is_length_too_large(c)) refuse(c, 413, too_large_msg);
    MHD_get_connection_values(c->mhd, MHD_GET_ARGUMENT_KIND, take_parameter, c);
}

static void request_take(struct admin_conn *c, const char *bytes, size_t len)
{
    if (c->refusal != 0 || !c->route.is_post) return;
    if (len > c->admin->limits.body_bytes_max - c->body.len) {
        refuse(c, 413, too_large_msg);
        text_free(&c->body);
        return;
    }
    text_append(&c->body, bytes, len);
}

/* --- a request is whole --- */

static void call_handler(struct admin_conn *c, enum admin_token_purpose purpose, json_t *body)
{
    struct admin *admin = c->admin;
    struct admin_token *token = mem_calloc(1, sizeof *token);
    if (token == NULL) {
        admin_conn_answer_error(c, 500, 1, error_text(SLUICE_ERR_NOMEM));
        return;
    }
    *token = (struct admin_token){ .conn = c, .purpose = purpose, .verb = c->route.verb };
    c->token = token;
    c->state = ADMIN_CONN_WAITING;
    set_deadline(c, admin->limits.answer_timeout_ms);
    const struct admin_call call = {
        .verb = c->route.verb,
        .source_id = c->route.source_id[0] == '\0' ? NULL : c->route.source_id,
        .switch_number = c->route.switch_number,
        .limit = c->limit,
        .body = body,
    };
    admin->handler(admin->handler_arg, token, &call); /* may have replied already */
}

static void dispatch_call(struct admin_conn *c)
{
    if (!c->route.is_post) {
        call_handler(c, ADMIN_TOKEN_CALL, NULL);
        return;
    }
    char error[ADMIN_BODY_ERROR_BYTES] = "";
    json_t *body = NULL;
    int rv = c->body.status;
    if (rv == 0) rv = admin_body_parse(c->route.verb, text_str(&c->body), c->body.len, &body, error);
    if (rv == SLUICE_ERR_SYNTAX) {
        admin_conn_answer_error(c, 400, 2, error);
    } else if (rv != 0) {
        admin_conn_answer_error(c, 500, 1, error_text(rv));
    } else {
        call_handler(c, ADMIN_TOKEN_CALL, body);
        json_decref(body);
    }
}

static void dispatch(struct admin_conn *c)
{
    if (c->refusal != 0) {
        admin_conn_answer_error(c, c->refusal, 2, c->refusal_msg);
        return;
    }
    if (c->admin->state != ADMIN_STATE_SERVING) {
        admin_conn_answer_error(c, 503, 1, "sluice is stopping");
        return;
    }
    switch (c->route.kind) {
    case ADMIN_ROUTE_CALL: dispatch_call(c); break;
    case ADMIN_ROUTE_METRICS: call_handler(c, ADMIN_TOKEN_METRICS, NULL); break;
    case ADMIN_ROUTE_HEALTHZ:
        admin_conn_answer_json(c, 200, json_pack("{s:b, s:s}", "result", 1, "msg", "")); /* the loop turns */
        break;
    case ADMIN_ROUTE_EVENTS: {
        struct admin_event_log *log = admin_events_find(&c->admin->events, c->route.switch_number);
        if (log != NULL) {
            admin_stream_start(c, log);
        } else {
            call_handler(c, ADMIN_TOKEN_EVENTS, NULL);
        }
        break;
    }
    }
}

static enum MHD_Result queue_answer(struct admin_conn *c)
{
    assert(c->state == ADMIN_CONN_ANSWERED);
    if (c->response == NULL) return MHD_NO; /* no memory for one: the daemon closes the connection */
    enum MHD_Result result = MHD_queue_response(c->mhd, (unsigned)c->status, c->response);
    MHD_destroy_response(c->response);
    c->response = NULL;
    c->state = c->log != NULL ? ADMIN_CONN_STREAMING : ADMIN_CONN_SENDING;
    set_deadline(c, c->admin->limits.send_timeout_ms);
    return result;
}

static enum MHD_Result request_go_on(struct admin_conn *c)
{
    if (c->state == ADMIN_CONN_CUT) return MHD_NO;
    if (c->state == ADMIN_CONN_RECEIVING) dispatch(c);
    if (c->state == ADMIN_CONN_WAITING) {
        assert(!c->is_suspended);
        MHD_suspend_connection(c->mhd);
        c->is_suspended = true;
        return MHD_YES;
    }
    return queue_answer(c);
}

enum MHD_Result admin_conn_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                      const char *version, const char *upload, size_t *upload_len, void **con_cls)
{
    (void)cls;
    (void)version;
    struct admin_conn *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (c == NULL) return MHD_NO;
    if (*con_cls == NULL) {
        *con_cls = c;
        request_begin(c, url, method);
        /* A client that asks before it sends a body is spared the sending; others send theirs, and then read. */
        return c->refusal != 0 && header_of(c, "Expect") != NULL ? request_go_on(c) : MHD_YES;
    }
    if (*upload_len > 0) {
        request_take(c, upload, *upload_len);
        *upload_len = 0;
        return MHD_YES;
    }
    return request_go_on(c);
}

/* --- time --- */

void admin_conn_expire(struct admin_conn *c)
{
    switch (c->state) {
    case ADMIN_CONN_RECEIVING: conn_cut(c, "no whole request came in time"); break;
    case ADMIN_CONN_ANSWERED:
    case ADMIN_CONN_SENDING: conn_cut(c, "the answer was not read in time"); break;
    case ADMIN_CONN_WAITING:
        c->token->conn = NULL;
        c->token = NULL;
        admin_conn_answer_error(c, 504, 4, "no answer in time; the call may still take effect: look at the status");
        break;
    case ADMIN_CONN_STREAMING:
        if (c->is_suspended) {
            c->is_comment_due = true;
            admin_conn_resume(c);
        } else {
            conn_cut(c, "the events were not read in time");
        }
        break;
    case ADMIN_CONN_CUT: break;
    }
}

void admin_conn_end(struct admin_conn *c)
{
    switch (c->state) {
    case ADMIN_CONN_RECEIVING: conn_cut(c, "the admin interface is closing"); break;
    case ADMIN_CONN_WAITING:
        c->token->conn = NULL;
        c->token = NULL;
        admin_conn_answer_error(c, 503, 1, "sluice is stopping; the call may still take effect");
        break;
    case ADMIN_CONN_STREAMING: admin_conn_resume(c); break; /* its reader sees the state, and ends it */
    case ADMIN_CONN_ANSWERED:
    case ADMIN_CONN_SENDING:
    case ADMIN_CONN_CUT: break;
    }
}
