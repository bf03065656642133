/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon on the loop: its epoll descriptor in a poll handle, its deadlines in timers; and the calls that are owed. */
#include "admin/admin.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "admin/internal.h"
#include "admin/metrics.h"
#include "base/log.h"
#include "config/config.h"
#include "core/error.h"
#include "core/mem.h"

uint64_t admin_now_ms(const struct admin *admin)
{
    return uv_now(admin->loop);
}

uint16_t admin_port(const struct admin *admin)
{
    return admin->listener.port;
}

/* --- the daemon's turns --- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;
    if (--admin->handles_open > 0) return;
    assert(admin->conns == NULL && admin->stream_count == 0);
    void (*on_closed)(void *) = admin->on_closed;
    void *arg = admin->closed_arg;
    admin_events_free(&admin->events);
    if (admin->token != NULL) explicit_bzero(admin->token, strlen(admin->token));
    mem_free(admin->token);
    mem_free(admin);
    if (on_closed != NULL) on_closed(arg);
}

/* MHD_stop_daemon() aborts on suspended connections; by now each has been resumed. */
static void stop(struct admin *admin)
{
    assert(admin->state == ADMIN_STATE_CLOSING);
    for (const struct admin_conn *c = admin->conns; c != NULL; c = c->next)
        assert(!c->is_suspended);
    admin->state = ADMIN_STATE_STOPPED;
    uv_close((uv_handle_t *)&admin->poll, on_handle_closed);
    uv_close((uv_handle_t *)&admin->run_timer, on_handle_closed);
    uv_close((uv_handle_t *)&admin->tick_timer, on_handle_closed);
    MHD_stop_daemon(admin->daemon);
    admin->daemon = NULL;
}

static void on_tick(uv_timer_t *timer);
static void on_run_timer(uv_timer_t *timer);

static void arm_timers(struct admin *admin)
{
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (admin->is_run_due || MHD_get_timeout(admin->daemon, &wait_ms) == MHD_YES) {
        uv_timer_start(&admin->run_timer, on_run_timer, wait_ms, 0);
    } else {
        uv_timer_stop(&admin->run_timer);
    }
    uint64_t now_ms = admin_now_ms(admin);
    uint64_t deadline_ms = admin->state == ADMIN_STATE_CLOSING ? admin->close_deadline_ms : UINT64_MAX;
    if (admin->state == ADMIN_STATE_CLOSE_ASKED) deadline_ms = now_ms;
    for (const struct admin_conn *c = admin->conns; c != NULL; c = c->next) {
        if (c->deadline_ms < deadline_ms) deadline_ms = c->deadline_ms;
    }
    if (deadline_ms == UINT64_MAX) {
        uv_timer_stop(&admin->tick_timer);
    } else {
        uv_timer_start(&admin->tick_timer, on_tick, deadline_ms > now_ms ? deadline_ms - now_ms : 0, 0);
    }
}

static void run(struct admin *admin)
{
    admin->is_run_due = false;
    MHD_run(admin->daemon);
    if (admin->state == ADMIN_STATE_CLOSING) {
        for (struct admin_conn *c = admin->conns; c != NULL; c = c->next)
            admin_conn_end(c);
        if (admin->conns == NULL) {
            stop(admin);
            return;
        }
    }
    arm_timers(admin);
}

void admin_run_soon(struct admin *admin)
{
    if (admin->state == ADMIN_STATE_STOPPED) return;
    admin->is_run_due = true;
    uv_timer_start(&admin->run_timer, on_run_timer, 0, 0);
}

static void on_run_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void close_begin(struct admin *admin)
{
    admin->state = ADMIN_STATE_CLOSING;
    admin->close_deadline_ms = admin_now_ms(admin) + admin->limits.close_timeout_ms;
    admin->listener.fd = MHD_quiesce_daemon(admin->daemon);
    admin_listener_close(&admin->listener);
    for (struct admin_conn *c = admin->conns; c != NULL; c = c->next)
        admin_conn_end(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct admin *admin = timer->data;
    uint64_t now_ms = admin_now_ms(admin);
    if (admin->state == ADMIN_STATE_CLOSE_ASKED) close_begin(admin);
    for (struct admin_conn *c = admin->conns; c != NULL; c = c->next) {
        if (c->deadline_ms <= now_ms) admin_conn_expire(c);
    }
    if (admin->state == ADMIN_STATE_CLOSING && now_ms >= admin->close_deadline_ms) {
        stop(admin);
    } else {
        run(admin);
    }
}

/* --- start and close --- */

/* Names stay percent-encoded until the path has been cut into its segments. */
static size_t keep_escaped(void *cls, struct MHD_Connection *mhd, char *s)
{
    (void)cls;
    (void)mhd;
    return strlen(s);
}

static void on_daemon_log(void *cls, const char *fmt, va_list args) SLUICE_PRINTF(2, 0);
static void on_daemon_log(void *cls, const char *fmt, va_list args)
{
    (void)cls;
    char line[256];
    vsnprintf(line, sizeof line, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("libmicrohttpd", LOG_STR("text", line));
}

static struct MHD_Daemon *daemon_new(struct admin *admin)
{
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                            admin_conn_on_request, admin, MHD_OPTION_EXTERNAL_LOGGER, on_daemon_log, NULL,
                            MHD_OPTION_LISTEN_SOCKET, admin->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)admin->limits.connections_max, MHD_OPTION_NOTIFY_CONNECTION, admin_conn_on_notify,
                            admin, MHD_OPTION_NOTIFY_COMPLETED, admin_conn_on_completed, admin,
                            MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL, MHD_OPTION_END);
}

static int handles_open(struct admin *admin, uv_loop_t *loop)
{
    int epoll_fd = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    if (uv_poll_init(loop, &admin->poll, epoll_fd) != 0) return SLUICE_ERR_IO;
    uv_timer_init(loop, &admin->run_timer);
    uv_timer_init(loop, &admin->tick_timer);
    admin->poll.data = admin->run_timer.data = admin->tick_timer.data = admin;
    admin->handles_open = 3;
    int rv = uv_poll_start(&admin->poll, UV_READABLE, on_readable);
    assert(rv == 0); /* the descriptor is open and polled nowhere else */
    return 0;
}

static int admin_init(struct admin *admin, uv_loop_t *loop, const struct config_admin *config)
{
    int rv = SLUICE_ERR_NOMEM;
    if (config->socket == NULL && config->token != NULL) {
        admin->token = mem_strdup(config->token);
        if (admin->token == NULL) return rv;
    }
    rv = admin_listener_open(config, &admin->listener);
    if (rv != 0) goto err_after_token;
    rv = SLUICE_ERR_IO;
    admin->daemon = daemon_new(admin);
    if (admin->daemon == NULL) goto err_after_listener;
    rv = handles_open(admin, loop);
    if (rv != 0) goto err_after_daemon;
    return 0;

err_after_daemon:
    admin->listener.fd = MHD_quiesce_daemon(admin->daemon);
    MHD_stop_daemon(admin->daemon);
err_after_listener:
    admin_listener_close(&admin->listener);
err_after_token:
    mem_free(admin->token);
    return rv;
}

int admin_start(uv_loop_t *loop, const struct config_admin *config, const struct admin_limits *limits,
                admin_handler_fn handler, void *arg, struct admin **out_admin)
{
    struct admin *admin = mem_calloc(1, sizeof *admin);
    if (admin == NULL) return SLUICE_ERR_NOMEM;
    admin->loop = loop;
    admin->limits = limits == NULL ? ADMIN_LIMITS_DEFAULT : *limits;
    admin->handler = handler;
    admin->handler_arg = arg;
    admin_events_init(&admin->events, admin->limits.events_max, admin->limits.switches_max);
    int rv = admin_init(admin, loop, config);
    if (rv != 0) {
        mem_free(admin);
        return rv;
    }
    if (config->socket != NULL) {
        log_info("admin interface is open", LOG_STR("socket", config->socket));
    } else {
        log_info("admin interface is open", LOG_STR("host", config->listen.host), LOG_U64("port", admin->listener.port),
                 LOG_STR("token", admin->token == NULL ? "not asked for" : "asked for"));
    }
    *out_admin = admin;
    return 0;
}

void admin_close(struct admin *admin, void (*on_closed)(void *arg), void *arg)
{
    assert(admin->state == ADMIN_STATE_SERVING);
    admin->state = ADMIN_STATE_CLOSE_ASKED;
    admin->on_closed = on_closed;
    admin->closed_arg = arg;
    /* Not here: the daemon may be calling us. */
    uv_timer_start(&admin->tick_timer, on_tick, 0, 0);
}

/* --- what the handler gives back --- */

static void reply_with_metrics(struct admin_conn *c, const json_t *doc)
{
    struct text body = TEXT_INIT;
    admin_metrics_render(doc, &body);
    admin_conn_answer(c, 200, ADMIN_METRICS_CONTENT_TYPE, &body);
}

void admin_reply(struct admin_token *token, int status, json_t *doc)
{
    struct admin_conn *c = token->conn;
    enum admin_token_purpose purpose = token->purpose;
    assert(status >= 200 && status <= 599);
    assert(doc == NULL || json_is_object(doc));
    assert(c == NULL || (c->token == token && c->state == ADMIN_CONN_WAITING));
    mem_free(token);
    if (c == NULL) {
        json_decref(doc);
        return;
    }
    c->token = NULL;
    if (c->route.is_post) {
        log_info("admin call", LOG_STR("verb", admin_verb_name(c->route.verb)), LOG_STR("source", c->route.source_id),
                 LOG_I64("status", status), LOG_STR("peer", c->peer));
    }
    if (doc != NULL && status == 200 && purpose == ADMIN_TOKEN_METRICS) {
        reply_with_metrics(c, doc);
        json_decref(doc);
    } else if (doc != NULL && status == 200 && purpose == ADMIN_TOKEN_EVENTS) {
        admin_stream_answer(c, doc);
        json_decref(doc);
    } else {
        admin_conn_answer_json(c, status, doc);
    }
}

void admin_reply_error(struct admin_token *token, int status, int code, const char *fmt, ...)
{
    char *msg = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&msg, fmt, args);
    va_end(args);
    admin_reply(token, status, len < 0 ? NULL : admin_error_doc(code, msg));
    if (len >= 0) free(msg);
}

void admin_event(struct admin *admin, uint64_t switch_number, json_t *event)
{
    struct admin_event_log *log = NULL;
    int rv = admin_events_add(&admin->events, switch_number, event, &log);
    json_decref(event);
    if (rv != 0) {
        log_warn("an event of a switch was lost", LOG_U64("switch", switch_number), LOG_STR("error", error_name(rv)));
    }
    if (log == NULL) return;
    for (struct admin_conn *c = admin->conns; c != NULL; c = c->next) {
        if (c->log == log) admin_conn_resume(c);
    }
}
