/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <arpa/inet.h>
#include "core/mem.h"

static void on_closed(void *arg)
{
    struct world *w = arg;
    w->admin = NULL;
    w->is_closed = true;
}

static void remember(struct world *w, const struct admin_call *call)
{
    w->calls++;
    w->verb = call->verb;
    snprintf(w->source_id, sizeof w->source_id, "%s", call->source_id == NULL ? "-" : call->source_id);
    w->switch_number = call->switch_number;
    w->limit = call->limit;
    json_decref(w->body);
    w->body = json_incref(call->body);
}

static void handle(void *arg, struct admin_token *token, const struct admin_call *call)
{
    struct world *w = arg;
    remember(w, call);
    if (w->script == WORLD_REPLIES) {
        admin_reply(token, w->status,
                    w->doc != NULL ? json_incref(w->doc) : json_pack("{s:b, s:s}", "result", 1, "msg", ""));
        return;
    }
    assert_true(w->token_count < WORLD_TOKENS_MAX);
    w->tokens[w->token_count++] = token;
    if (w->script == WORLD_CLOSES) admin_close(w->admin, on_closed, w);
}

void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->status = 200;
    assert_int_equal(uv_loop_init(&w->loop), 0);
    snprintf(w->dir, sizeof w->dir, "/tmp/sluice-admin-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->socket, sizeof w->socket, "%s/admin.sock", w->dir);
    w->config.socket = w->socket;
    w->multi = curl_multi_init();
    assert_non_null(w->multi);
}

static void start(struct world *w, const struct admin_limits *limits)
{
    assert_int_equal(admin_start(&w->loop, &w->config, limits, handle, w, &w->admin), 0);
}

void world_up(struct world *w, const struct admin_limits *limits)
{
    world_init(w);
    start(w, limits);
}

void world_up_tcp(struct world *w, const char *token, const struct admin_limits *limits)
{
    world_init(w);
    w->config.socket = NULL;
    w->config.listen.host = mem_strdup("127.0.0.1");
    w->config.token = token == NULL ? NULL : mem_strdup(token);
    w->config.insecure = token == NULL;
    start(w, limits);
    assert_int_not_equal(admin_port(w->admin), 0);
}

static bool closed(void *arg)
{
    const struct world *w = arg;
    return w->is_closed;
}

void world_close(struct world *w)
{
    admin_close(w->admin, on_closed, w);
    world_until(w, closed, w);
}

static void fail_on_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    fail_msg("a handle of type %s is left on the loop", uv_handle_type_name(handle->type));
}

void world_down(struct world *w)
{
    if (w->admin != NULL) world_close(w);
    for (size_t i = 0; i < w->token_count; i++)
        admin_reply(w->tokens[i], 200, json_object());
    uv_walk(&w->loop, fail_on_handle, NULL);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    curl_multi_cleanup(w->multi);
    json_decref(w->doc);
    json_decref(w->body);
    mem_free(w->config.listen.host);
    mem_free(w->config.token);
    unlink(w->socket);
    rmdir(w->dir);
}

/* --- turning --- */

static void collect(struct world *w)
{
    int left;
    CURLMsg *msg;
    while ((msg = curl_multi_info_read(w->multi, &left)) != NULL) {
        struct request *r;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &r);
        r->is_done = true;
        r->result = msg->data.result;
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &r->status);
    }
}

void world_turn(struct world *w)
{
    int running;
    uv_run(&w->loop, UV_RUN_NOWAIT);
    curl_multi_perform(w->multi, &running);
    collect(w);
    int wait_ms = uv_backend_timeout(&w->loop);
    if (wait_ms < 0 || wait_ms > 5) wait_ms = 5;
    struct curl_waitfd loop_fd = { .fd = uv_backend_fd(&w->loop), .events = CURL_WAIT_POLLIN };
    if (wait_ms > 0) curl_multi_poll(w->multi, &loop_fd, 1, wait_ms, NULL);
}

void world_until(struct world *w, world_condition condition, void *arg)
{
    uint64_t deadline_ns = uv_hrtime() + WORLD_LIMIT_MS * (uint64_t)1000000;
    while (!condition(arg)) {
        world_turn(w);
        if (uv_hrtime() > deadline_ns) fail_msg("the condition did not come true in %d ms", WORLD_LIMIT_MS);
    }
}

struct calls_wanted {
    const struct world *world;
    unsigned calls;
};

static bool has_calls(void *arg)
{
    const struct calls_wanted *wanted = arg;
    return wanted->world->calls >= wanted->calls;
}

void world_wait_calls(struct world *w, unsigned calls)
{
    struct calls_wanted wanted = { .world = w, .calls = calls };
    world_until(w, has_calls, &wanted);
    assert_int_equal(w->calls, calls);
}

/* --- requests --- */

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct request *r = arg;
    if (r->take_max > 0 && r->body.len >= r->take_max) return CURL_WRITEFUNC_PAUSE;
    text_append(&r->body, bytes, size * count);
    return size * count;
}

static size_t on_head(char *bytes, size_t size, size_t count, void *arg)
{
    struct request *r = arg;
    text_append(&r->head, bytes, size * count);
    return size * count;
}

void request_begin(struct world *w, struct request *r, const char *method, const char *path, const char *body)
{
    char url[1024];
    *r = (struct request){ .world = w, .easy = curl_easy_init() };
    assert_non_null(r->easy);
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", w->config.socket != NULL ? 80u : (unsigned)admin_port(w->admin),
             path);
    curl_easy_setopt(r->easy, CURLOPT_URL, url);
    curl_easy_setopt(r->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(r->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);
    if (w->config.socket != NULL) curl_easy_setopt(r->easy, CURLOPT_UNIX_SOCKET_PATH, w->socket);
    if (strcmp(method, "HEAD") == 0) curl_easy_setopt(r->easy, CURLOPT_NOBODY, 1L);
    if (body == NULL) return;
    request_header(r, "Content-Type: application/json");
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, body);
}

void request_header(struct request *r, const char *line)
{
    r->headers = curl_slist_append(r->headers, line);
}

void request_send(struct request *r)
{
    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    assert_int_equal(curl_multi_add_handle(r->world->multi, r->easy), CURLM_OK);
}

void request_start(struct world *w, struct request *r, const char *method, const char *path, const char *body)
{
    request_begin(w, r, method, path, body);
    request_send(r);
}

static bool is_done(void *arg)
{
    const struct request *r = arg;
    return r->is_done;
}

void request_wait(struct request *r)
{
    world_until(r->world, is_done, r);
    assert_string_equal(curl_easy_strerror(r->result), curl_easy_strerror(CURLE_OK));
}

void request_end(struct request *r)
{
    curl_multi_remove_handle(r->world->multi, r->easy);
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers);
    text_free(&r->head);
    text_free(&r->body);
}

json_t *request_json(const struct request *r)
{
    assert_non_null(strstr(text_str(&r->head), "Content-Type: application/json\r\n"));
    assert_true(r->body.len > 0 && r->body.data[r->body.len - 1] == '\n');
    json_t *doc = json_loadb(r->body.data, r->body.len, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(doc));
    return doc;
}

struct words_wanted {
    const struct request *request;
    const char *words;
};

static bool has_words(void *arg)
{
    const struct words_wanted *wanted = arg;
    return strstr(text_str(&wanted->request->body), wanted->words) != NULL;
}

void request_wait_for(struct request *r, const char *words)
{
    struct words_wanted wanted = { .request = r, .words = words };
    world_until(r->world, has_words, &wanted);
}

long ask(struct world *w, const char *method, const char *path, const char *body, json_t **out)
{
    struct request r;
    request_start(w, &r, method, path, body);
    request_wait(&r);
    long status = r.status;
    if (out != NULL) *out = request_json(&r);
    request_end(&r);
    return status;
}

void assert_refused(struct world *w, const char *method, const char *path, const char *body, long status,
                    const char *words)
{
    json_t *doc;
    unsigned calls = w->calls;
    long got = ask(w, method, path, body, &doc);
    const char *msg = json_string_value(json_object_get(doc, "msg"));
    assert_int_equal(got, status);
    assert_true(json_is_false(json_object_get(doc, "result")));
    assert_int_equal(json_integer_value(json_object_get(doc, "code")), 2);
    assert_int_equal(json_object_size(doc), 3);
    assert_non_null(msg);
    if (strstr(msg, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", msg, words);
    assert_int_equal(w->calls, calls); /* nothing reached the handler */
    json_decref(doc);
}

/* --- plain sockets --- */

int raw_connect(struct world *w)
{
    int fd;
    if (w->config.socket != NULL) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        snprintf(un.sun_path, sizeof un.sun_path, "%s", w->socket);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof un), 0);
    } else {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(admin_port(w->admin)) };
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

void raw_send(int fd, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

struct end_wanted {
    int fd;
    struct text *out;
};

static bool has_ended(void *arg)
{
    const struct end_wanted *wanted = arg;
    char bytes[4096];
    for (;;) {
        ssize_t len = recv(wanted->fd, bytes, sizeof bytes, 0);
        if (len == 0) return true;
        if (len < 0) return errno == ECONNRESET || errno == EPIPE;
        if (wanted->out != NULL) text_append(wanted->out, bytes, (size_t)len);
    }
}

void raw_wait_end(struct world *w, int fd, struct text *out)
{
    struct end_wanted wanted = { .fd = fd, .out = out };
    world_until(w, has_ended, &wanted);
}
