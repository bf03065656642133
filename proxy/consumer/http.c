/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl tells which sockets to watch and when to wake it; libuv does both. A watcher is closed asynchronously, so it is an object of
 * its own. Ended calls are told from a timer's turn, never from inside curl.
 */
#include "consumer/http.h"
#include <assert.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

enum { GRPC_MESSAGE_LEN = 400 };

struct http_call {
    struct http_call *next;
    struct http *http;
    CURL *easy;
    struct curl_slist *headers;
    struct text request_body, body;
    size_t body_max;
    bool is_too_long;
    int grpc_status;
    char grpc_message[GRPC_MESSAGE_LEN + 1];
    char error[CURL_ERROR_SIZE];
    http_done_fn fn;
    void *arg;
};

struct watcher {
    uv_poll_t poll;
    struct http *http;
    curl_socket_t fd;
};

struct http {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer;
    struct http_call *calls;
    char *ca, *cert, *key;
    unsigned handles; /* not yet closed */
    bool is_closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* ---- libuv for curl ---- */

static void on_handle_closed(struct http *h)
{
    assert(h->handles > 0);
    if (--h->handles > 0) return;
    void (*on_closed)(void *) = h->on_closed;
    void *arg = h->closed_arg;
    mem_free(h->ca);
    mem_free(h->cert);
    mem_free(h->key);
    mem_free(h);
    if (on_closed != NULL) on_closed(arg);
}

static void on_watcher_closed(uv_handle_t *handle)
{
    struct watcher *w = handle->data;
    struct http *h = w->http;
    mem_free(w);
    on_handle_closed(h);
}

static void watcher_close(struct watcher *w)
{
    uv_poll_stop(&w->poll);
    uv_close((uv_handle_t *)&w->poll, on_watcher_closed);
}

static void take_ended(struct http *h);

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct watcher *w = poll->data;
    struct http *h = w->http;
    int running, what = 0;
    if (status < 0) what = CURL_CSELECT_ERR;
    if (events & UV_READABLE) what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE) what |= CURL_CSELECT_OUT;
    curl_multi_socket_action(h->multi, w->fd, what, &running); /* |w| may be gone after it */
    take_ended(h);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_data)
{
    struct http *h = arg;
    struct watcher *w = socket_data;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) watcher_close(w);
        curl_multi_assign(h->multi, fd, NULL);
        return 0;
    }
    if (w == NULL) {
        w = mem_calloc(1, sizeof *w);
        if (w == NULL || uv_poll_init_socket(h->loop, &w->poll, fd) != 0) {
            mem_free(w);
            return -1;
        }
        *w = (struct watcher){ .poll = w->poll, .http = h, .fd = fd };
        w->poll.data = w;
        h->handles++;
        curl_multi_assign(h->multi, fd, w);
    }
    return uv_poll_start(&w->poll, events, on_ready);
}

static void on_time(uv_timer_t *timer)
{
    struct http *h = timer->data;
    int running;
    curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_ended(h);
}

static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct http *h = arg;
    (void)multi;
    if (timeout_ms < 0) return uv_timer_stop(&h->timer);
    return uv_timer_start(&h->timer, on_time, (uint64_t)timeout_ms, 0);
}

/* ---- a call ---- */

static void call_del(struct http_call *call)
{
    curl_slist_free_all(call->headers);
    curl_easy_cleanup(call->easy);
    text_free(&call->request_body);
    text_free(&call->body);
    mem_free(call);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count;
    if (len > call->body_max - call->body.len) {
        call->is_too_long = true;
        return 0;
    }
    text_append(&call->body, bytes, len);
    return call->body.status == 0 ? len : 0;
}

static bool header_is(const char *line, size_t len, const char *name, const char **out_value, size_t *out_len)
{
    size_t n = strlen(name);
    if (len < n + 1 || strncasecmp(line, name, n) != 0 || line[n] != ':') return false;
    for (n++; n < len && line[n] == ' '; n++) {
    }
    while (len > n && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    *out_value = line + n;
    *out_len = len - n;
    return true;
}

/* Trailers come this way too. */
static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t len = size * count, value_len;
    const char *value;
    if (header_is(line, len, "grpc-status", &value, &value_len)) {
        char number[12] = "";
        memcpy(number, value, value_len < sizeof number - 1 ? value_len : sizeof number - 1);
        call->grpc_status = atoi(number);
    } else if (header_is(line, len, "grpc-message", &value, &value_len)) {
        if (value_len > GRPC_MESSAGE_LEN) value_len = GRPC_MESSAGE_LEN;
        memcpy(call->grpc_message, value, value_len);
        call->grpc_message[value_len] = '\0';
    }
    return len;
}

static bool add_header(struct http_call *call, const char *line)
{
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    if (longer == NULL) return false;
    call->headers = longer;
    return true;
}

static bool set_headers(struct http_call *call, bool is_grpc)
{
    if (!is_grpc) return add_header(call, "Content-Type: application/json") && add_header(call, "Expect:");
    return add_header(call, "Content-Type: application/grpc") && add_header(call, "TE: trailers") &&
           add_header(call, "Expect:");
}

static void set_security(const struct http *h, CURL *easy)
{
    if (h->ca == NULL) return;
    curl_easy_setopt(easy, CURLOPT_CAINFO, h->ca);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    if (h->cert != NULL) curl_easy_setopt(easy, CURLOPT_SSLCERT, h->cert);
    if (h->key != NULL) curl_easy_setopt(easy, CURLOPT_SSLKEY, h->key);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static bool set_request(struct http_call *call, const struct http_request *r)
{
    CURL *easy = call->easy;
    text_append(&call->request_body, r->body == NULL ? "" : r->body, r->body_len);
    if (call->request_body.status != 0 || !set_headers(call, r->is_grpc)) return false;
    bool ok = curl_easy_setopt(easy, CURLOPT_URL, r->url) == CURLE_OK &&
              curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method) == CURLE_OK;
    if (r->body != NULL) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, text_str(&call->request_body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    /* Over TLS the protocol is agreed upon; without it nobody may ask, so gRPC's peer is told. */
    long version = !r->is_grpc                         ? CURL_HTTP_VERSION_1_1
                   : strncmp(r->url, "https:", 6) == 0 ? CURL_HTTP_VERSION_2TLS
                                                       : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->connect_limit_ms == 0 ? 1 : r->connect_limit_ms));
    return ok;
}

static void set_rest(struct http_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* DM's masters are asked themselves, whatever the environment names */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT,
                     1L); /* calls are rare, and a kept connection may have died meanwhile */
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

int http_start(struct http *h, const struct http_request *request, http_done_fn fn, void *arg)
{
    assert(!h->is_closing);
    struct http_call *call = mem_calloc(1, sizeof *call);
    if (call == NULL) return SLUICE_ERR_NOMEM;
    *call =
        (struct http_call){ .http = h, .fn = fn, .arg = arg, .grpc_status = -1, .body_max = request->answer_bytes_max };
    call->easy = curl_easy_init();
    if (call->easy == NULL || !set_request(call, request)) goto err;
    set_rest(call);
    set_security(h, call->easy);
    if (curl_multi_add_handle(h->multi, call->easy) != CURLM_OK) goto err;
    call->next = h->calls;
    h->calls = call;
    return 0;
err:
    call_del(call);
    return SLUICE_ERR_NOMEM;
}

/* ---- the end of a call ---- */

static int status_of(const struct http_call *call, CURLcode code)
{
    if (call->body.status != 0) return SLUICE_ERR_NOMEM;
    switch ((int)code) {
    case CURLE_OK: return 0;
    case CURLE_OPERATION_TIMEDOUT: return SLUICE_ERR_TIMEOUT;
    case CURLE_OUT_OF_MEMORY: return SLUICE_ERR_NOMEM;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SEND_ERROR: return SLUICE_ERR_UNREACHABLE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION: return SLUICE_ERR_TLS;
    default: return SLUICE_ERR_PROTOCOL;
    }
}

static void call_remove(struct http_call *call)
{
    struct http_call **link = &call->http->calls;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    curl_multi_remove_handle(call->http->multi, call->easy);
}

static void call_end(struct http_call *call, int status, const char *text)
{
    struct http_answer answer = { .body = text_str(&call->body),
                                  .body_len = call->body.len,
                                  .grpc_status = call->grpc_status,
                                  .grpc_message = call->grpc_message };
    long code = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &code);
    answer.status = (int)code;
    call_remove(call);
    call->fn(call->arg, status, text, status == 0 ? &answer : NULL);
    call_del(call);
}

static void take_ended(struct http *h)
{
    int left;
    const CURLMsg *message;
    while (!h->is_closing && (message = curl_multi_info_read(h->multi, &left)) != NULL) {
        char *private = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct http_call *call = (struct http_call *)(void *)private;
        const char *text = *call->error != '\0' ? call->error : curl_easy_strerror(code);
        if (call->is_too_long) text = "the answer is longer than any that DM gives";
        call_end(call, status_of(call, code), code == CURLE_OK ? "" : text);
    }
}

/* ---- life ---- */

static void library_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool copy(const char *from, char **out)
{
    if (from == NULL) return true;
    *out = mem_strdup(from);
    return *out != NULL;
}

int http_new(uv_loop_t *loop, const struct http_security *security, struct http **out)
{
    static uv_once_t once = UV_ONCE_INIT;
    static const struct http_security none = { NULL, NULL, NULL };
    uv_once(&once, library_init);
    if (security == NULL) security = &none;
    struct http *h = mem_calloc(1, sizeof *h);
    if (h == NULL) return SLUICE_ERR_NOMEM;
    h->loop = loop;
    h->multi = curl_multi_init();
    bool ok = copy(security->ca, &h->ca) && copy(security->cert, &h->cert) && copy(security->key, &h->key);
    if (h->multi == NULL || !ok || uv_timer_init(loop, &h->timer) != 0) {
        curl_multi_cleanup(h->multi);
        mem_free(h->ca);
        mem_free(h->cert);
        mem_free(h->key);
        mem_free(h);
        return SLUICE_ERR_NOMEM;
    }
    h->timer.data = h;
    h->handles = 1;
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    *out = h;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_handle_closed(handle->data);
}

/* curl lets go of its sockets in the cleanup, and so of its watchers; the timer is the last handle to be closed. */
void http_close(struct http *h, void (*on_closed)(void *arg), void *arg)
{
    assert(!h->is_closing);
    h->is_closing = true;
    h->on_closed = on_closed;
    h->closed_arg = arg;
    while (h->calls != NULL)
        call_end(h->calls, SLUICE_ERR_CANCELED, "canceled");
    curl_multi_cleanup(h->multi);
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
