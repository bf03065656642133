/* SPDX-License-Identifier: Apache-2.0 */
#include "net/sessions.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/ids.h"
#include "core/mem.h"
#include "net/refusal.h"
#include "net/session.h"
#include "net/tls_mbedtls.h"
#include "net/unseen.h"

enum { RELEASES_PER_TURN_MAX = 64 }; /* some 2 ms of connect(2); other sockets of the loop get their turn */

static const char phase_starting[] = "starting";
static const char phase_lost[] = "a connection to the server was lost, the server is being probed";

static struct session *session_of(struct hold_client *client)
{
    return (struct session *)((char *)client - offsetof(struct session, wait));
}

/* The hold's head goes where the mode says. In HOLD nothing is due: whoever is released may suspend routing again. */
static void release_some(struct sessions *s)
{
    for (int i = 0; i < RELEASES_PER_TURN_MAX && s->mode != SESSIONS_HOLD; i++) {
        struct hold_client *client = hold_first(s->hold);
        if (client == NULL) return;
        hold_remove(client);
        if (s->mode == SESSIONS_ROUTE) {
            s->counters.released_total++;
            session_route(session_of(client));
        } else {
            s->counters.refused_total++;
            session_refuse(session_of(client), s->refuse_code, s->refuse_message);
        }
    }
}

/* Callbacks are made from here only, with nothing of ours on the stack; each may close |s|. */
static void call_back(struct sessions *s)
{
    const struct sessions_callbacks *cb = &s->config.callbacks;
    if (s->is_loss_due) {
        struct sessions_loss loss = s->loss;
        s->is_loss_due = false;
        if (cb->on_leg_lost != NULL) cb->on_leg_lost(s->config.arg, &loss);
    }
    if (s->is_closing || !s->is_legs_gone_due) return;
    s->is_legs_gone_due = false;
    if (s->leg_count == 0 && cb->on_legs_gone != NULL) cb->on_legs_gone(s->config.arg);
}

static bool has_work(const struct sessions *s)
{
    return s->is_loss_due || s->is_legs_gone_due || (s->mode != SESSIONS_HOLD && hold_count(s->hold) > 0);
}

static void on_work(uv_idle_t *work)
{
    struct sessions *s = work->data;
    if (s->is_closing) return;
    call_back(s); /* a lost leg takes back what confirmed the backend: told before anybody is routed there */
    if (!s->is_closing) release_some(s);
    if (!s->is_closing && !has_work(s)) uv_idle_stop(&s->work);
}

void sessions_work_soon(struct sessions *s)
{
    if (!s->is_closing) uv_idle_start(&s->work, on_work);
}

static void on_hold_expiry(void *arg, struct hold_client *client, uint64_t waited_ms)
{
    (void)arg;
    (void)waited_ms;
    session_expire(session_of(client));
}

static int parse_source_address(struct sessions *s, const char *text)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
    if (text == NULL) return 0;
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(&s->source_address, &in, sizeof in);
        s->source_address_len = sizeof in;
    } else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
        memcpy(&s->source_address, &in6, sizeof in6);
        s->source_address_len = sizeof in6;
    } else {
        return SLUICE_ERR_CONFIG;
    }
    return 0;
}

struct remembering {
    struct ids *ids;
    int status;
};

static bool remember_leftover(void *arg, uint32_t slot, const struct legs_record *record)
{
    struct remembering *r = arg;
    (void)slot;
    if (record->thread_id != 0) r->status = ids_remember(r->ids, (uint32_t)record->thread_id);
    return r->status == 0;
}

/* What a dead process had handed out last is stale. */
static int open_ids(struct sessions *s)
{
    uint32_t seed = 0;
    if (uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL) != 0) seed = (uint32_t)uv_hrtime();
    struct remembering r = { .ids = ids_new(s->config.tls == SESSIONS_TLS_PASSTHROUGH || s->config.allow_compression,
                                            seed) };
    if (r.ids == NULL) return SLUICE_ERR_NOMEM;
    if (s->config.legs != NULL) legs_each_leftover(s->config.legs, remember_leftover, &r);
    if (r.status == 0)
        s->ids = r.ids;
    else
        ids_del(r.ids);
    return r.status;
}

int sessions_new(const struct sessions_config *config, struct sessions **out)
{
    assert(config->sessions_max >= 1 && config->connect_timeout_ms >= 1);
    int rv = SLUICE_ERR_NOMEM;
    struct sessions *s = mem_calloc(1, sizeof *s);
    if (s == NULL) return rv;
    s->config = *config;
    if (s->config.parked_ms_max == 0) s->config.parked_ms_max = SESSIONS_PARK_MS_MAX;
    s->scratch = unseen_alloc(SESSIONS_BUFFER_BYTES);
    if (s->scratch == NULL) goto err_after_alloc;
    s->source_id = mem_strdup(config->source_id);
    if (s->source_id == NULL) goto err_after_scratch;
    s->config.source_id = s->source_id;
    assert(config->tls_context != NULL || config->tls == SESSIONS_TLS_OFF || config->tls == SESSIONS_TLS_PASSTHROUGH);
    rv = parse_source_address(s, config->source_address);
    if (rv != 0) goto err_after_id;
    rv = open_ids(s);
    if (rv != 0) goto err_after_id;
    const struct hold_config hold = { .loop = config->loop,
                                      .timeout_ms = config->hold_timeout_ms,
                                      .clients_max = config->hold_clients_max,
                                      .on_expiry = on_hold_expiry,
                                      .arg = s };
    rv = hold_new(&hold, &s->hold);
    if (rv != 0) goto err_after_ids;
    s->config.source_address = NULL; /* the caller's, and not needed any more */
    uv_idle_init(config->loop, &s->work);
    s->work.data = s;
    uv_timer_init(config->loop, &s->park_timer);
    s->park_timer.data = s;
    s->alive = 3; /* the hold, |work| and |park_timer| */
    sessions_set_phase_text(s, phase_starting);
    if (s->config.tls_context != NULL) tls_context_ref(s->config.tls_context);
    *out = s;
    return 0;

err_after_ids:
    ids_del(s->ids);
err_after_id:
    mem_free(s->source_id);
err_after_scratch:
    unseen_free(s->scratch);
err_after_alloc:
    mem_free(s);
    assert(rv != 0);
    return rv;
}

void sessions_admit(struct session *session)
{
    struct sessions *s = session->owner;
    switch (s->mode) {
    case SESSIONS_HOLD: session_hold(session); return;
    case SESSIONS_ROUTE:
        if (hold_count(s->hold) > 0) {
            session_hold(session); /* behind those who came before */
        } else {
            session_route(session);
        }
        return;
    case SESSIONS_REFUSE:
        s->counters.refused_total++;
        session_refuse(session, s->refuse_code, s->refuse_message);
        return;
    }
}

void sessions_accept(struct sessions *s, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    (void)peer_len;
    assert(!s->is_closing);
    s->counters.sessions_total++;
    struct session *session = session_new(s, fd, peer);
    if (session == NULL) {
        s->counters.nomem_total++;
        refusal_send_and_close(fd, error_mysql_errno(SLUICE_ERR_NOMEM), s->source_id, error_text(SLUICE_ERR_NOMEM));
        return;
    }
    if (header_is_due(session)) {
        header_begin(session);
    } else {
        sessions_admit(session);
    }
}

void sessions_on_accept(void *sessions, int fd, const struct sockaddr *peer, socklen_t peer_len)
{
    sessions_accept(sessions, fd, peer, peer_len);
}

/* Latest first: the hold finds the place of each at its front. */
static void unroute_all(struct sessions *s)
{
    struct session *prev;
    for (struct session *session = s->last; session != NULL; session = prev) {
        prev = session->prev;
        if (session->state == SESSION_CONNECTING || session->state == SESSION_GREETING) session_unroute(session);
    }
}

static void enter_hold(struct sessions *s, const char *phase)
{
    bool was_routing = s->mode == SESSIONS_ROUTE;
    s->mode = SESSIONS_HOLD;
    sessions_set_phase_text(s, phase);
    if (was_routing) unroute_all(s);
}

static bool is_one_backend(const struct sessions *s, uint32_t backend_index)
{
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        if (leg->backend_index != backend_index) return false;
    }
    return true;
}

static void enter_route(struct sessions *s, const struct sessions_route *route)
{
    bool is_kept = is_one_backend(s, route->backend_index); /* promise 1 */
    if (!is_kept) s->counters.invariant_violations_total++;
#ifndef SLUICE_FAULTS
    assert(is_kept);
#endif
    if (route->epoch != s->route.epoch) ids_begin_generation(s->ids);
    s->mode = SESSIONS_ROUTE;
    s->route = *route;
    s->is_draining = false;
    sessions_work_soon(s);
}

void sessions_set_mode(struct sessions *s, const struct sessions_mode *mode)
{
    assert(!s->is_closing);
    switch (mode->kind) {
    case SESSIONS_HOLD: enter_hold(s, mode->as.hold.phase); return;
    case SESSIONS_ROUTE: enter_route(s, &mode->as.route); return;
    case SESSIONS_REFUSE:
        enter_hold(s,
                   error_text(mode->as.refuse.code)); /* connecting clients come back and are refused with the others */
        s->mode = SESSIONS_REFUSE;
        s->refuse_code = mode->as.refuse.code;
        snprintf(s->refuse_message, sizeof s->refuse_message, "%s", mode->as.refuse.message);
        sessions_work_soon(s);
        return;
    }
}

void sessions_set_phase_text(struct sessions *s, const char *phase)
{
    snprintf(s->phase, sizeof s->phase, "%s", phase);
}

void sessions_set_tls_context(struct sessions *s, struct tls_context *context)
{
    assert(s->config.tls_context != NULL);
    struct tls_context *old = s->config.tls_context;
    s->config.tls_context = tls_context_ref(context);
    tls_context_unref(old);
}

enum sessions_mode_kind sessions_mode_kind(const struct sessions *s)
{
    return s->mode;
}

void sessions_suspend(struct sessions *s, enum sessions_loss_cause cause, int sys_errno,
                      const struct sessions_route *route)
{
    s->counters.legs_lost_total++;
    ids_begin_generation(s->ids); /* the server may be another life of itself when it is routed to again */
    if (!s->is_loss_due) {
        s->loss = (struct sessions_loss){
            .cause = cause, .sys_errno = sys_errno, .backend_index = route->backend_index, .epoch = route->epoch
        };
        log_warn("a connection to the server was lost", LOG_STR("source", s->source_id),
                 LOG_U64("backend", route->backend_index), LOG_U64("epoch", route->epoch),
                 LOG_STR("reason", cause == SESSIONS_LOSS_CONNECT   ? "cannot connect"
                                   : cause == SESSIONS_LOSS_TIMEOUT ? "no greeting in time"
                                                                    : "ended by the server"),
                 LOG_STR("error", sys_errno == 0 ? NULL : strerror(sys_errno)));
    }
    s->loss.count++;
    s->is_loss_due = true;
    if (s->mode == SESSIONS_ROUTE) enter_hold(s, phase_lost);
    sessions_work_soon(s);
}

void sessions_drain_begin(struct sessions *s)
{
    assert(s->mode != SESSIONS_ROUTE && !s->is_closing);
    struct session *next;
    s->is_draining = true;
    for (struct session *session = s->first; session != NULL; session = next) {
        next = session->next;
        if (session->state != SESSION_RELAYING || !session_is_idle(session)) continue;
        s->counters.closed_idle_total++;
        session_end(session, "drained idle");
    }
    s->is_legs_gone_due = true; /* heeded when none is open */
    sessions_work_soon(s);
}

uint32_t sessions_drain_kill(struct sessions *s)
{
    uint32_t killed = 0;
    struct session *next;
    for (struct session *session = s->first; session != NULL; session = next) {
        next = session->next;
        if (session->leg == NULL || session->state < SESSION_RELAYING) continue;
        log_info("session killed by the drain", LOG_STR("source", s->source_id), LOG_U64("session", session->id),
                 LOG_U64("thread", tracker_thread_id(session->leg->tracker)), LOG_STR("client", session->peer_host),
                 LOG_U64("port", session->peer_port),
                 LOG_STR("phase", tracker_phase_name(tracker_phase(session->leg->tracker))));
        s->counters.killed_total++;
        killed++;
        session_end(session, "killed by the drain");
    }
    return killed;
}

static void close_all(struct sessions *s)
{
    struct session *next;
    for (struct session *session = s->first; session != NULL; session = next) {
        next = session->next;
        if (session->state < SESSION_RELAYING) {
            session_refuse(session, SLUICE_ERR_STOPPING, "Sluice is being stopped; try again when it runs");
        } else {
            session_end(session, "sluice is being stopped");
        }
    }
}

static void on_hold_closed(void *arg)
{
    sessions_let_go(arg);
}

static void on_work_closed(uv_handle_t *handle)
{
    sessions_let_go(handle->data);
}

void sessions_let_go(struct sessions *s)
{
    assert(s->alive > 0);
    if (--s->alive > 0) return;
    assert(s->is_closing && s->first == NULL && s->legs == NULL && s->leg_count == 0);
    assert(s->counters.buffered_bytes == 0);
    void (*on_closed)(void *arg) = s->on_closed;
    void *arg = s->closed_arg;
    tls_context_unref(s->config.tls_context);
    ids_del(s->ids);
    mem_free(s->source_id);
    unseen_free(s->scratch);
    mem_free(s);
    if (on_closed != NULL) on_closed(arg);
}

void sessions_close(struct sessions *s, void (*on_closed)(void *arg), void *arg)
{
    assert(!s->is_closing);
    s->is_closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    close_all(s);
    hold_close(s->hold, on_hold_closed, s);
    uv_close((uv_handle_t *)&s->work, on_work_closed);
    uv_close((uv_handle_t *)&s->park_timer, on_work_closed);
}
