/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client.h"
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "cli/args.h"
#include "cli/endpoint.h"
#include "core/error.h"
#include "core/mem.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    CALL_TIMEOUT_MS = 90000, /* the daemon answers, if only "too late", within 60 s */
    SILENCE_TIMEOUT_S = 45,  /* the daemon says something on a stream every 15 s */
    BODY_BYTES_MAX = 64 << 20,
    POLL_MS = 100, /* how late Ctrl-C may be seen where the signal came between two waits */
};

struct client {
    struct endpoint endpoint;
    CURLM *multi;
    struct curl_slist *headers;
    char curl_error[CURL_ERROR_SIZE];
};

static volatile sig_atomic_t is_interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    is_interrupted = 1;
}

static int make_headers(struct client *c)
{
    struct text line = TEXT_INIT;
    c->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (c->headers == NULL) return SLUICE_ERR_NOMEM;
    if (c->endpoint.token == NULL) return 0;
    text_printf(&line, "Authorization: Bearer %s", c->endpoint.token);
    struct curl_slist *more = line.status != 0 ? NULL : curl_slist_append(c->headers, text_str(&line));
    if (line.data != NULL) explicit_bzero(line.data, line.room);
    text_free(&line);
    return more == NULL ? SLUICE_ERR_NOMEM : 0;
}

int client_open(const struct args *args, struct client **out, struct text *error)
{
    struct client *c = mem_calloc(1, sizeof *c);
    if (c == NULL) return SLUICE_ERR_NOMEM;
    int rv = endpoint_find(args, &c->endpoint, error);
    if (rv != 0) goto err_after_alloc;
    rv = SLUICE_ERR_NOMEM;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) goto err_after_alloc;
    c->multi = curl_multi_init();
    if (c->multi == NULL) goto err_after_global;
    rv = make_headers(c);
    if (rv != 0) goto err_after_global;
    sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt }, NULL);
    signal(SIGPIPE, SIG_IGN);
    *out = c;
    return 0;

err_after_global:
    client_close(c);
    return rv;
err_after_alloc:
    endpoint_free(&c->endpoint);
    mem_free(c);
    return rv;
}

void client_close(struct client *c)
{
    if (c == NULL) return;
    curl_slist_free_all(c->headers);
    curl_multi_cleanup(c->multi);
    curl_global_cleanup();
    endpoint_free(&c->endpoint);
    mem_free(c);
}

void client_path(struct text *out, const char *const *segments)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    text_puts(out, "/v1");
    for (; *segments != NULL; segments++) {
        text_puts(out, "/");
        for (const char *p = *segments; *p != '\0'; p++)
            text_printf(out, strchr(plain, *p) != NULL ? "%c" : "%%%02X", (unsigned char)*p);
    }
}

/* A request on its way, and who gets the bytes of its answer. */
struct transfer {
    CURL *easy;
    struct text url;
    char *body;
    curl_write_callback write;
    void *arg;
};

static void transfer_free(struct transfer *t)
{
    curl_easy_cleanup(t->easy);
    text_free(&t->url);
    mem_free(t->body);
}

static int transfer_init(struct client *c, const char *path, const json_t *body, struct transfer *t)
{
    const struct endpoint *e = &c->endpoint;
    t->easy = curl_easy_init();
    if (e->socket != NULL)
        text_printf(&t->url, "http://sluice%s", path); /* the name is of no use with a socket, but has to be there */
    else
        text_printf(&t->url, "http://%s:%u%s", e->host, e->port, path);
    if (body != NULL) {
        char *dumped = json_dumps(body, JSON_COMPACT);
        t->body = dumped == NULL ? NULL : mem_strdup(dumped);
        free(dumped);
        if (t->body == NULL) return SLUICE_ERR_NOMEM;
    }
    if (t->easy == NULL || t->url.status != 0) return SLUICE_ERR_NOMEM;
    CURLcode rv = curl_easy_setopt(t->easy, CURLOPT_URL, text_str(&t->url));
    if (rv == CURLE_OK && e->socket != NULL) rv = curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, e->socket);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_PROXY, ""); /* whatever http_proxy says */
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http");
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, c->headers);
    if (rv == CURLE_OK && t->body != NULL) rv = curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, t->write);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t->arg);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, c->curl_error);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    if (rv == CURLE_OK) rv = curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    c->curl_error[0] = '\0';
    return rv == CURLE_OK ? 0 : SLUICE_ERR_NOMEM;
}

/* Runs it to its end. SLUICE_ERR_CANCELED on Ctrl-C; else 0 and curl's own result. */
static int transfer_run(struct client *c, struct transfer *t, CURLcode *out_result)
{
    int running = 1, left = 0, rv = 0;
    CURLcode result = CURLE_FAILED_INIT;
    if (curl_multi_add_handle(c->multi, t->easy) != CURLM_OK) return SLUICE_ERR_NOMEM;
    while (running > 0 && rv == 0) {
        if (is_interrupted) rv = SLUICE_ERR_CANCELED;
        if (rv == 0 && curl_multi_perform(c->multi, &running) != CURLM_OK) rv = SLUICE_ERR_NOMEM;
        if (rv == 0 && running > 0) (void)curl_multi_poll(c->multi, NULL, 0, POLL_MS, NULL);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE) result = m->data.result;
    (void)curl_multi_remove_handle(c->multi, t->easy);
    *out_result = result;
    return rv;
}

static size_t keep_body(char *data, size_t size, size_t count, void *arg)
{
    struct text *body = arg;
    size_t len = size * count;
    if (body->len + len > BODY_BYTES_MAX) return 0;
    text_append(body, data, len);
    return body->status == 0 ? len : 0;
}

static int fail_transfer(const struct client *c, CURL *easy, CURLcode result, struct text *error)
{
    struct text where = TEXT_INIT;
    bool is_nobody = result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST;
    long os_errno = 0;
    (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
    endpoint_print(&c->endpoint, &where);
    const char *why = c->curl_error[0] != '\0' ? c->curl_error : curl_easy_strerror(result);
    if (is_nobody && os_errno != 0) why = strerror((int)os_errno);
    if (is_nobody && os_errno == EACCES)
        text_printf(error, "no access to the daemon at %s: %s; be the user that runs it", text_str(&where), why);
    else if (is_nobody)
        text_printf(error, "no daemon at %s: %s; start it with: sluice serve -c FILE", text_str(&where), why);
    else
        text_printf(error, "the daemon at %s did not answer: %s; see its log", text_str(&where), why);
    text_free(&where);
    return is_nobody ? SLUICE_ERR_UNREACHABLE : SLUICE_ERR_IO;
}

static int parse_answer(const struct client *c, const struct text *body, long status, json_t **out_doc,
                        struct text *error)
{
    json_t *doc = json_loadb(text_str(body), body->len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(doc)) {
        *out_doc = doc;
        return 0;
    }
    json_decref(doc);
    text_puts(error, "what answers at ");
    endpoint_print(&c->endpoint, error);
    text_printf(error, " is no sluice (HTTP status %ld, no JSON object); see -c, --admin and SLUICE_ADMIN", status);
    return SLUICE_ERR_PROTOCOL;
}

int client_call(struct client *c, const char *path, const json_t *body, json_t **out_doc, long *out_status,
                struct text *error)
{
    struct text answer = TEXT_INIT;
    struct transfer t = { .write = keep_body, .arg = &answer };
    CURLcode result = CURLE_OK;
    long status = 0;
    int rv = transfer_init(c, path, body, &t);
    if (rv == 0 && curl_easy_setopt(t.easy, CURLOPT_TIMEOUT_MS, (long)CALL_TIMEOUT_MS) != CURLE_OK)
        rv = SLUICE_ERR_INVALID;
    if (rv == 0) rv = transfer_run(c, &t, &result);
    if (rv == 0 && result != CURLE_OK) rv = fail_transfer(c, t.easy, result, error);
    if (rv == 0) (void)curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
    if (rv == 0) rv = parse_answer(c, &answer, status, out_doc, error);
    if (rv == 0) *out_status = status;
    if (error->len == 0 && rv != 0) text_puts(error, error_text(rv));
    transfer_free(&t);
    text_free(&answer);
    return rv;
}

/* Server-sent events: lines; "data:" ones are collected until an empty one. */
struct event_reader {
    client_event_fn fn;
    void *arg;
    struct text line, data;
    bool is_enough;
};

static void read_event(struct event_reader *r)
{
    json_t *event = json_loadb(text_str(&r->data), r->data.len, JSON_REJECT_DUPLICATES, NULL);
    text_clear(&r->data);
    if (json_is_object(event)) r->is_enough = r->fn(r->arg, event);
    json_decref(event);
}

static void read_line(struct event_reader *r)
{
    const char *s = text_str(&r->line);
    if (s[0] == '\0' && r->data.len > 0) {
        read_event(r);
    } else if (strncmp(s, "data:", 5) == 0) {
        if (r->data.len > 0) text_puts(&r->data, "\n");
        text_puts(&r->data, s + 5 + (s[5] == ' '));
    }
    text_clear(&r->line);
}

static size_t keep_events(char *data, size_t size, size_t count, void *arg)
{
    struct event_reader *r = arg;
    size_t len = size * count;
    for (size_t i = 0; i < len && !r->is_enough; i++) {
        if (data[i] == '\n')
            read_line(r);
        else if (data[i] != '\r')
            text_append(&r->line, data + i, 1);
    }
    bool is_bad = r->line.status != 0 || r->data.status != 0 || r->line.len + r->data.len > BODY_BYTES_MAX;
    return is_bad || r->is_enough ? 0 : len;
}

int client_follow(struct client *c, const char *path, client_event_fn fn, void *arg)
{
    struct event_reader reader = { .fn = fn, .arg = arg };
    struct transfer t = { .write = keep_events, .arg = &reader };
    CURLcode result = CURLE_OK;
    int rv = transfer_init(c, path, NULL, &t);
    if (rv == 0) (void)curl_easy_setopt(t.easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    if (rv == 0) (void)curl_easy_setopt(t.easy, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_TIMEOUT_S);
    if (rv == 0) rv = transfer_run(c, &t, &result);
    if (rv == 0 && result == CURLE_OK && reader.data.len > 0)
        read_event(&reader); /* the last, without its empty line */
    if (rv != SLUICE_ERR_CANCELED) rv = reader.is_enough ? 0 : SLUICE_ERR_IO;
    if (reader.is_enough) rv = 0; /* an end that came together with Ctrl-C is the end */
    transfer_free(&t);
    text_free(&reader.line);
    text_free(&reader.data);
    return rv;
}

int client_wait(unsigned ms)
{
    if (!is_interrupted) (void)poll(NULL, 0, (int)ms);
    return is_interrupted ? SLUICE_ERR_CANCELED : 0;
}
