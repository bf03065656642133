/* SPDX-License-Identifier: Apache-2.0 */
#include "net/session.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/refusal.h"

enum { LAST_WORDS_MS = 5000 }; /* for a client that does not read what a server said before it went */

static void on_relay_event(struct session *session, unsigned events)
{
    if ((events & (STREAM_READ | STREAM_HANGUP)) == STREAM_HANGUP) { /* it was not to be read now */
        session->is_hangup_seen = true;
        if (stream_connect_result(&session->client) != 0) {
            session_end(session, "the client's connection broke");
            return;
        }
    }
    relay_run(session, (events & STREAM_WRITE) != 0, (events & STREAM_READ) != 0);
}

static void on_client_event(struct stream *st, unsigned events)
{
    struct session *session = st->arg;
    switch (session->state) {
    case SESSION_HEADER: header_run(session); return;
    case SESSION_HELD:
        session->owner->counters.hold_hangup_total++;
        session_wait_ended(session);
        session_end(session, "the client hung up while it waited");
        return;
    case SESSION_CONNECTING:
    case SESSION_GREETING:
        session_wait_ended(session);
        session_end(session, "the client hung up before the greeting");
        return;
    case SESSION_RELAYING: on_relay_event(session, events); return;
    case SESSION_SECURING:
    case SESSION_TELLING:
        if ((events & (STREAM_READ | STREAM_HANGUP)) == STREAM_HANGUP) {
            secure_hangup(session, true);
        } else {
            secure_run(session);
        }
        return;
    case SESSION_LAST_WORDS: relay_last_words(session); return;
    case SESSION_NEW:
    case SESSION_ENDED: assert(session->state == SESSION_RELAYING); /* neither watches its client */
    }
}

static uint64_t hold_deadline_ms(const struct session *session)
{
    return session->wait.since_ms + session->owner->config.hold_timeout_ms;
}

/* The limit on connecting and greeting is connect_timeout_ms or what is left of hold_timeout_ms, whichever ends first. */
static void on_timer(uv_timer_t *timer)
{
    struct session *session = timer->data;
    struct sessions *s = session->owner;
    if (session->state == SESSION_LAST_WORDS) {
        session_end(session, "the client does not read the server's last words");
        return;
    }
    if (session->state == SESSION_SECURING || session->state == SESSION_TELLING) {
        secure_expire(session);
        return;
    }
    if (session->state == SESSION_HEADER) {
        header_expire(session);
        return;
    }
    if (session->state != SESSION_CONNECTING && session->state != SESSION_GREETING) return;
    struct sessions_route route = { .backend_index = session->leg->backend_index, .epoch = session->leg->epoch };
    bool is_lost = uv_now(s->config.loop) >= session->leg->opened_ms + s->config.connect_timeout_ms;
    if (uv_now(s->config.loop) >= hold_deadline_ms(session)) {
        session_expire(session);
    } else {
        session_unroute(session);
    }
    if (is_lost) sessions_suspend(s, SESSIONS_LOSS_TIMEOUT, ETIMEDOUT, &route);
}

static void link_session(struct sessions *s, struct session *session)
{
    session->prev = s->last;
    if (s->last == NULL) {
        s->first = session;
    } else {
        s->last->next = session;
    }
    s->last = session;
    s->alive++;
}

static void unlink_session(struct session *session)
{
    struct sessions *s = session->owner;
    if (session->prev == NULL) {
        s->first = session->next;
    } else {
        session->prev->next = session->next;
    }
    if (session->next == NULL) {
        s->last = session->prev;
    } else {
        session->next->prev = session->prev;
    }
}

struct session *session_new(struct sessions *s, int fd, const struct sockaddr *peer)
{
    struct session *session = mem_calloc(1, sizeof *session);
    if (session == NULL) return NULL;
    session->owner = s;
    session->id = ++s->next_id;
    session->to_server.is_unseen = true;
    session->accepted_ms = session->wait.since_ms = uv_now(s->config.loop);
    if (peer != NULL) stream_address(peer, &session->peer);
    network_address_print(&session->peer, session->peer_host);
    session->peer_port = session->peer.port;
    if (stream_init(&session->client, s->config.loop, fd, on_client_event, session) != 0) {
        mem_free(session);
        return NULL;
    }
    uv_timer_init(s->config.loop, &session->timer);
    session->timer.data = session;
    session->handles_open = 2;
    link_session(s, session);
    return session;
}

void session_wait_ended(struct session *session)
{
    struct sessions_counters *c = &session->owner->counters;
    if (!session->was_held) return;
    session->was_held = false;
    uint64_t waited_ms = uv_now(session->owner->config.loop) - session->wait.since_ms;
    size_t bucket = 0;
    while (bucket < SESSIONS_HOLD_BOUNDS && waited_ms > sessions_hold_bounds_ms[bucket])
        bucket++;
    c->hold_waits[bucket]++;
    c->hold_wait_ms_total += waited_ms;
    c->window_held_total++;
    if (waited_ms > c->hold_wait_ms_longest) c->hold_wait_ms_longest = waited_ms;
    if (waited_ms > c->window_wait_ms_longest) c->window_wait_ms_longest = waited_ms;
}

void session_refuse(struct session *session, int code, const char *message)
{
    uint8_t packet[REFUSAL_LEN_MAX];
    assert(session->state < SESSION_RELAYING);
    size_t len = refusal_build(packet, error_mysql_errno(code), session->owner->source_id, message);
    ssize_t n =
        stream_write(&session->client, packet, len); /* the first bytes of a connection: its buffer takes them */
    (void)n;
    session_wait_ended(session);
    session_end(session, message);
}

void session_expire(struct session *session)
{
    struct sessions *s = session->owner;
    char message[SESSIONS_MESSAGE_LEN + 1];
    uint64_t waited_ms = uv_now(s->config.loop) - session->wait.since_ms;
    snprintf(message, sizeof message,
             "waited %" PRIu64 " ms while clients are held (%s); the limit, hold-timeout, is %" PRIu32
             " ms; try again, and see: sluice status %.64s",
             waited_ms, s->phase, s->config.hold_timeout_ms, s->source_id);
    s->counters.hold_expired_total++;
    log_warn("client wait expired", LOG_STR("source", s->source_id), LOG_STR("client", session->peer_host),
             LOG_U64("port", session->peer_port), LOG_U64("waited_ms", waited_ms), LOG_STR("phase", s->phase),
             LOG_STR("hint", "see: sluice status SOURCE"));
    session_refuse(session, SLUICE_ERR_HOLD_TIMEOUT, message);
}

void session_refuse_hold_full(struct session *session)
{
    struct sessions *s = session->owner;
    char message[SESSIONS_MESSAGE_LEN + 1];
    snprintf(message, sizeof message,
             "Too many connections: %" PRIu32
             " clients wait already, as many as hold-clients allows (%s); see: sluice status %.64s",
             hold_count(s->hold) + s->header_count, s->phase, s->source_id);
    s->counters.hold_full_total++;
    session_refuse(session, SLUICE_ERR_HOLD_FULL, message);
}

void session_hold(struct session *session)
{
    struct sessions *s = session->owner;
    bool is_return = session->state != SESSION_NEW;
    assert(session->leg == NULL);
    if (hold_admit(s->hold, &session->wait, is_return) != 0) {
        session_refuse_hold_full(session);
        return;
    }
    session->state = SESSION_HELD;
    if (!session->was_held) {
        session->was_held = true;
        s->counters.held_total++;
    }
    stream_watch(&session->client, STREAM_HANGUP);
    if (s->mode != SESSIONS_HOLD) sessions_work_soon(s);
}

static void refuse_full(struct session *session)
{
    struct sessions *s = session->owner;
    char message[SESSIONS_MESSAGE_LEN + 1];
    snprintf(message, sizeof message,
             "Too many connections: %" PRIu32
             " sessions are open, as many as max-sessions allows; see: sluice status %.64s",
             s->leg_count, s->source_id);
    s->counters.hold_full_total++;
    session_refuse(session, SLUICE_ERR_SESSIONS_FULL, message);
}

void session_limit(struct session *session, uint64_t limit_ms)
{
    int rv = uv_timer_start(&session->timer, on_timer, limit_ms, 0);
    assert(rv == 0);
}

static void on_connecting(struct session *session)
{
    struct sessions *s = session->owner;
    uint64_t now_ms = uv_now(s->config.loop);
    uint64_t limit_ms = s->config.connect_timeout_ms;
    uint64_t hold_left_ms = hold_deadline_ms(session) > now_ms ? hold_deadline_ms(session) - now_ms : 0;
    if (hold_left_ms < limit_ms) limit_ms = hold_left_ms;
    session->state = SESSION_CONNECTING;
    stream_watch(&session->client, STREAM_HANGUP);
    session_limit(session, limit_ms);
}

void session_route(struct session *session)
{
    struct sessions *s = session->owner;
    int sys_errno = 0;
    assert(s->mode == SESSIONS_ROUTE && session->leg == NULL && session->wait.hold == NULL);
    if (s->leg_count >= s->config.sessions_max) {
        refuse_full(session);
        return;
    }
    switch (leg_open(session, &s->route, &sys_errno)) {
    case 0: on_connecting(session); return;
    case SLUICE_ERR_BUSY:
        s->counters.emfile_total++;
        session_refuse(
            session, SLUICE_ERR_SESSIONS_FULL,
            "Too many connections: sluice has no file descriptor left; raise its LimitNOFILE or lower max-sessions");
        return;
    case SLUICE_ERR_UNREACHABLE:
        session_hold(session);
        sessions_suspend(s, SESSIONS_LOSS_CONNECT, sys_errno, &s->route);
        return;
    case SLUICE_ERR_SESSIONS_FULL: refuse_full(session); return;
    default:
        s->counters.nomem_total++;
        session_refuse(session, SLUICE_ERR_NOMEM, error_text(SLUICE_ERR_NOMEM));
        return;
    }
}

/* The leg and all that belongs to it. */
void session_drop_leg(struct session *session)
{
    leg_close(session->leg);
    uv_timer_stop(&session->timer);
    pipe_free(session->owner, &session->to_server);
}

void session_unroute(struct session *session)
{
    assert(session->state == SESSION_CONNECTING || session->state == SESSION_GREETING);
    assert(!session->to_client.is_eof && !session->to_server.is_eof); /* nothing was relayed */
    session_drop_leg(session);
    pipe_free(session->owner, &session->to_client);
    session_hold(session);
}

bool session_is_idle(const struct session *session)
{
    const struct tracker *t = session->leg->tracker;
    if (session->to_client.fed > session->to_client.start) return false;
    if (tracker_question(t) == TRACKER_ASKS_DUMP) return true; /* the server has nothing that it could act on */
    if (session->to_server.end > session->to_server.start) return false;
    return tracker_is_at_boundary(t) || tracker_stream_is_between_transactions(t);
}

void session_leg_lost(struct session *session, int sys_errno)
{
    struct leg *leg = session->leg;
    struct sessions_route route = { .backend_index = leg->backend_index, .epoch = leg->epoch };
    bool is_expected =
        session->to_server.is_eof || tracker_has_quit(leg->tracker) || tracker_phase(leg->tracker) == TRACKER_CLOSED;
    session_drop_leg(session);
    if (!is_expected) sessions_suspend(session->owner, SESSIONS_LOSS_ENDED, sys_errno, &route);
    session_last_words(session);
}

void session_last_words(struct session *session)
{
    session->state = SESSION_LAST_WORDS;
    session_limit(session, LAST_WORDS_MS);
    relay_last_words(session);
}

static void on_handle_gone(struct session *session)
{
    struct sessions *s = session->owner;
    assert(session->handles_open > 0 && session->state == SESSION_ENDED);
    if (--session->handles_open > 0) return;
    mem_free(session);
    sessions_let_go(s);
}

static void on_client_closed(struct stream *st)
{
    on_handle_gone(st->arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_handle_gone(handle->data);
}

void session_end(struct session *session, const char *why)
{
    struct sessions *s = session->owner;
    assert(session->state != SESSION_ENDED);
    log_debug("session ended", LOG_STR("source", s->source_id), LOG_U64("session", session->id),
              LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port), LOG_STR("reason", why));
    if (session->leg != NULL) session_drop_leg(session);
    pipe_free(s, &session->to_client);
    secure_free(session);
    header_free(session);
    hold_remove(&session->wait);
    session->state = SESSION_ENDED;
    unlink_session(session);
    stream_close_told(&session->client, on_client_closed);
    uv_close((uv_handle_t *)&session->timer, on_timer_closed);
}
