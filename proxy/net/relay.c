/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/packet.h"
#include "net/session.h"
#include "net/tls_mbedtls.h"
#include "net/unseen.h"

enum {
    ROUNDS_PER_TURN_MAX = 4, /* reads of SESSIONS_BUFFER_BYTES in one direction before others get their turn */
    GREETING_LEN_MAX = 4096, /* a greeting has some 80 to 250 bytes */
};

enum pump_result {
    PUMP_OK,            /* went as far as it could */
    PUMP_SOURCE_BROKEN, /* |sys_errno| */
    PUMP_SINK_BROKEN,
    PUMP_PROTOCOL,
    PUMP_TLS_REQUIRED,
    PUMP_NOMEM,
};

/* One direction of a session, as pump() sees it. */
struct pump {
    struct session *session;
    enum tracker_side from;
    struct stream *source, *sink;
    struct pipe *pipe;
    uint64_t *leg_bytes, *total_bytes;
    int sys_errno; /* out */
};

void pipe_free(struct sessions *s, struct pipe *p)
{
    if (p->data == NULL) return;
    if (p->is_unseen)
        unseen_free(p->data);
    else
        mem_free(p->data);
    p->data = NULL;
    p->start = p->fed = p->end = 0;
    assert(s->counters.buffered_bytes >= SESSIONS_BUFFER_BYTES);
    s->counters.buffered_bytes -= SESSIONS_BUFFER_BYTES;
}

static size_t pipe_unsent(const struct pipe *p)
{
    return p->fed - p->start;
}

/* Keep what could not be written, and what the tracker left back. */
static int pipe_keep(struct sessions *s, struct pipe *p, const uint8_t *unsent, size_t unsent_len, size_t left_back)
{
    assert(p->data == NULL && unsent_len + left_back <= SESSIONS_BUFFER_BYTES);
    if (unsent_len + left_back == 0) return 0;
    p->data =
        p->is_unseen ? unseen_alloc(SESSIONS_BUFFER_BYTES + PIPE_SLACK) : mem_alloc(SESSIONS_BUFFER_BYTES + PIPE_SLACK);
    if (p->data == NULL) return SLUICE_ERR_NOMEM;
    memcpy(p->data, unsent, unsent_len + left_back);
    p->start = 0;
    p->fed = unsent_len;
    p->end = unsent_len + left_back;
    s->counters.buffered_bytes += SESSIONS_BUFFER_BYTES;
    if (s->counters.buffered_bytes > s->counters.buffered_bytes_max) {
        s->counters.buffered_bytes_max = s->counters.buffered_bytes;
    }
    return 0;
}

/* Writes once. |*out_written| of |len|, 0 when the peer takes nothing now. */
static enum pump_result put(struct pump *p, const uint8_t *bytes, size_t len, size_t *out_written)
{
    *out_written = 0;
    if (len == 0) return PUMP_OK;
    ssize_t n = stream_write(p->sink, bytes, len);
    if (n == -EAGAIN) return PUMP_OK;
    if (n < 0) {
        p->sys_errno = (int)-n;
        return PUMP_SINK_BROKEN;
    }
    *out_written = (size_t)n;
    *p->leg_bytes += (uint64_t)n;
    *p->total_bytes += (uint64_t)n;
    return PUMP_OK;
}

/* What waits goes first. The memory is given back when nothing waits any more. */
static enum pump_result flush(struct pump *p)
{
    size_t written;
    struct pipe *pipe = p->pipe;
    if (pipe->data == NULL) return PUMP_OK;
    enum pump_result result = put(p, pipe->data + pipe->start, pipe_unsent(pipe), &written);
    if (result != PUMP_OK) return result;
    if (pipe->is_unseen) unseen_wipe(pipe->data + pipe->start, written);
    pipe->start += written;
    if (pipe->start == pipe->end) pipe_free(p->session->owner, pipe);
    return PUMP_OK;
}

static enum pump_result feed_result(int rv)
{
    if (rv == SLUICE_ERR_TLS_REQUIRED) return PUMP_TLS_REQUIRED;
    return rv == SLUICE_ERR_NOMEM ? PUMP_NOMEM : PUMP_PROTOCOL;
}

/* The tracker steps over |len| bytes at |bytes|, all that it lets through is written, the rest is kept. */
static enum pump_result feed_fresh(struct pump *p, uint8_t *bytes, size_t len)
{
    size_t forward = 0, written = 0;
    int rv = tracker_feed(p->session->leg->tracker, p->from, bytes, len, &forward);
    if (rv != 0) return feed_result(rv);
    assert(forward <= len);
    enum pump_result result = put(p, bytes, forward, &written);
    if (result != PUMP_OK) return result;
    if (pipe_keep(p->session->owner, p->pipe, bytes + written, forward - written, len - forward) != 0)
        return PUMP_NOMEM;
    return PUMP_OK;
}

/* The same behind bytes that were left back: they are fed again, in front of what was read next. */
static enum pump_result feed_kept(struct pump *p)
{
    size_t forward = 0;
    struct pipe *pipe = p->pipe;
    assert(pipe_unsent(pipe) == 0);
    int rv = tracker_feed(p->session->leg->tracker, p->from, pipe->data + pipe->fed, pipe->end - pipe->fed, &forward);
    if (rv != 0) return feed_result(rv);
    assert(forward <= pipe->end - pipe->fed);
    pipe->fed += forward;
    return flush(p);
}

/* Where the next read lands: behind kept bytes, or in the scratch buffer. 0: there is no room, read later. */
static size_t room_for(struct pump *p, uint8_t **out_at)
{
    struct pipe *pipe = p->pipe;
    if (pipe->data == NULL) {
        *out_at = p->session->owner->scratch;
        return SESSIONS_BUFFER_BYTES;
    }
    if (pipe->start > 0) {
        memmove(pipe->data, pipe->data + pipe->start, pipe->end - pipe->start);
        pipe->fed -= pipe->start;
        pipe->end -= pipe->start;
        pipe->start = 0;
    }
    *out_at = pipe->data + pipe->end;
    return SESSIONS_BUFFER_BYTES - pipe->end;
}

static bool may_read(const struct pump *p)
{
    const struct pipe *pipe = p->pipe;
    if (pipe->is_eof || pipe_unsent(pipe) > 0 || pipe->end - pipe->start >= SESSIONS_BUFFER_BYTES) return false;
    if (tracker_tls_is_due(p->session->leg->tracker)) return false; /* what comes next is read by TLS */
    if (p->from == TRACKER_CLIENT)
        return !p->session->leg->is_write_broken && !tracker_client_is_blocked(p->session->leg->tracker);
    return !tracker_stream_is_blocked(p->session->leg->tracker);
}

/* One read, one feed, one write. |*out_more|: it filled the buffer and all went through, so there is likely more. */
static enum pump_result pump_round(struct pump *p, bool *out_more)
{
    uint8_t *at;
    *out_more = false;
    size_t room = room_for(p, &at);
    ssize_t n = stream_read(p->source, at, room);
    if (n == -EAGAIN) return PUMP_OK;
    if (n < 0) {
        p->sys_errno = (int)-n;
        return PUMP_SOURCE_BROKEN;
    }
    if (n == 0) {
        p->pipe->is_eof = true;
        return PUMP_OK;
    }
    enum pump_result result;
    if (p->pipe->data == NULL) {
        result = feed_fresh(p, at, (size_t)n);
        if (p->from == TRACKER_CLIENT) unseen_wipe(at, (size_t)n);
    } else {
        p->pipe->end += (size_t)n;
        result = feed_kept(p);
    }
    *out_more = (size_t)n == room;
    return result;
}

/* The client has bytes that were left back and may go on. */
static bool client_may_go_on(const struct session *session)
{
    const struct pipe *pipe = &session->to_server;
    const struct tracker *t = session->leg->tracker;
    return pipe->end > pipe->fed && !tracker_client_is_blocked(t) && !tracker_tls_is_due(t);
}

/* What was left back, in front of a parked transaction or for a decision, may go on now; no read need ever follow it. */
static enum pump_result feed_again(struct pump *p)
{
    const struct pipe *pipe = p->pipe;
    if (pipe->end == pipe->fed || pipe_unsent(pipe) > 0) return PUMP_OK;
    bool may_go_on =
        p->from == TRACKER_CLIENT ? client_may_go_on(p->session) : !tracker_stream_is_blocked(p->session->leg->tracker);
    return may_go_on ? feed_kept(p) : PUMP_OK;
}

static enum pump_result pump(struct pump *p)
{
    enum pump_result result = flush(p);
    if (result == PUMP_OK) result = feed_again(p);
    bool more = true;
    for (int i = 0; result == PUMP_OK && more && i < ROUNDS_PER_TURN_MAX && may_read(p); i++) {
        result = pump_round(p, &more);
    }
    return result;
}

int relay_say(struct session *session, const uint8_t *packet, size_t len)
{
    struct pipe *pipe = &session->to_client;
    if (pipe->data != NULL) { /* behind it; what the tracker left back is not going to follow */
        memmove(pipe->data, pipe->data + pipe->start, pipe_unsent(pipe));
        pipe->fed -= pipe->start;
        pipe->start = 0;
        if (SESSIONS_BUFFER_BYTES - pipe->fed < len) return SLUICE_ERR_NOMEM;
        memcpy(pipe->data + pipe->fed, packet, len);
        pipe->fed = pipe->end = pipe->fed + len;
        return 0;
    }
    ssize_t n = stream_write(&session->client, packet, len);
    if (n < 0 && n != -EAGAIN) return SLUICE_ERR_CLIENT_GONE;
    size_t written = n < 0 ? 0 : (size_t)n;
    session->owner->counters.bytes_to_client_total += written;
    return pipe_keep(session->owner, pipe, packet + written, len - written, 0);
}

static struct pump pump_to_server(struct session *session)
{
    struct leg *leg = session->leg;
    return (struct pump){ .session = session,
                          .from = TRACKER_CLIENT,
                          .source = &session->client,
                          .sink = &leg->stream,
                          .pipe = &session->to_server,
                          .leg_bytes = &leg->bytes_to_server,
                          .total_bytes = &session->owner->counters.bytes_to_server_total };
}

static struct pump pump_to_client(struct session *session)
{
    struct leg *leg = session->leg;
    return (struct pump){ .session = session,
                          .from = TRACKER_SERVER,
                          .source = &leg->stream,
                          .sink = &session->client,
                          .pipe = &session->to_client,
                          .leg_bytes = &leg->bytes_to_client,
                          .total_bytes = &session->owner->counters.bytes_to_client_total };
}

/* The conversation cannot go on; the client is told where a packet of ours has its place. */
static void tell_and_end(struct session *session, int code, const char *message)
{
    uint8_t packet[PACKET_ERROR_LEN_MAX];
    uint8_t seq;
    bool wants_sqlstate;
    if (session->to_client.data == NULL && tracker_can_inject(session->leg->tracker, &seq, &wants_sqlstate)) {
        size_t len = packet_build_error(packet, sizeof packet, seq, error_mysql_errno(code),
                                        wants_sqlstate ? error_sqlstate(code) : NULL, message);
        ssize_t n = stream_write(&session->client, packet, len);
        (void)n; /* a courtesy: whoever does not read it sees the end */
    }
    session_end(session, message);
}

static void log_tls_broken(const struct session *session, const struct stream *st, const char *what)
{
    const char *why = tls_why(st);
    if (why[0] == '\0') return;
    log_warn(what, LOG_STR("source", session->owner->source_id), LOG_U64("session", session->id),
             LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port), LOG_STR("reason", why));
}

static void on_client_result(struct session *session, enum pump_result result)
{
    struct sessions *s = session->owner;
    switch (result) {
    case PUMP_OK: return;
    case PUMP_SOURCE_BROKEN:
        log_tls_broken(session, &session->client, "TLS with a client broke");
        session_end(session, "the client's connection broke");
        return;
    case PUMP_SINK_BROKEN:
        /* What the server said before it went is read first: it may tell the client why. The read then meets the end. */
        pipe_free(s, &session->to_server);
        session->leg->is_write_broken = true;
        return;
    case PUMP_PROTOCOL:
        s->counters.protocol_errors_total++;
        log_warn("a client does not speak the MySQL protocol", LOG_STR("source", s->source_id),
                 LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port));
        tell_and_end(session, SLUICE_ERR_PROTOCOL, "sluice: this is not the MySQL protocol");
        return;
    case PUMP_TLS_REQUIRED:
        s->counters.tls_required_total++;
        tell_and_end(session, SLUICE_ERR_TLS_REQUIRED, error_text(SLUICE_ERR_TLS_REQUIRED));
        return;
    case PUMP_NOMEM: /* bytes are missing, so no packet of ours has a place */
        s->counters.nomem_total++;
        session_end(session, "memory ran out");
        return;
    }
}

static void on_server_result(struct session *session, enum pump_result result, int sys_errno)
{
    struct sessions *s = session->owner;
    switch (result) {
    case PUMP_OK: return;
    case PUMP_SOURCE_BROKEN:
        log_tls_broken(session, &session->leg->stream, "TLS with a server broke");
        session_leg_lost(session, sys_errno);
        return;
    case PUMP_SINK_BROKEN: session_end(session, "the client's connection broke"); return;
    case PUMP_TLS_REQUIRED: /* a client's only */
    case PUMP_PROTOCOL:
        s->counters.protocol_errors_total++;
        log_warn("a server does not speak the MySQL protocol", LOG_STR("source", s->source_id),
                 LOG_U64("backend", session->leg->backend_index));
        session_leg_lost(session, EPROTO);
        return;
    case PUMP_NOMEM:
        s->counters.nomem_total++;
        session_end(session, "memory ran out");
        return;
    }
}

/* Passes an end of file on, once all before it was written. Returns false when the session no longer relays. */
static bool relay_ends(struct session *session)
{
    struct leg *leg = session->leg;
    if (session->to_client.is_eof) {
        session_leg_lost(session, 0);
        return false;
    }
    if (session->is_hangup_seen && tracker_question(leg->tracker) == TRACKER_ASKS_DUMP) {
        session_end(session, "the client hung up while its dump request waited");
        return false;
    }
    if (!session->to_server.is_eof || pipe_unsent(&session->to_server) > 0) return true;
    if (session_is_idle(session) || tracker_phase(leg->tracker) == TRACKER_STREAM) {
        /* Nothing is owed. A server that writes a binlog would notice only at its next event. */
        session_end(session, "the client closed");
        return false;
    }
    (void)stream_shutdown(&leg->stream); /* a reply is owed: half-closed until it has come */
    return true;
}

static void relay_watch(struct session *session)
{
    struct leg *leg = session->leg;
    struct pump to_server = pump_to_server(session), to_client = pump_to_client(session);
    unsigned client = 0, server = 0;
    if (may_read(&to_server)) client |= STREAM_READ;
    if (may_read(&to_client)) server |= STREAM_READ;
    if (pipe_unsent(&session->to_server) > 0) server |= STREAM_WRITE;
    if (pipe_unsent(&session->to_client) > 0) client |= STREAM_WRITE;
    if ((client & STREAM_READ) == 0 && !session->is_hangup_seen && !session->to_server.is_eof) client |= STREAM_HANGUP;
    if ((server & STREAM_READ) == 0 && !leg->is_hangup_seen) server |= STREAM_HANGUP;
    stream_watch(&session->client, client);
    stream_watch(&leg->stream, server);
}

/* From the client to the server. Returns false when the session no longer relays. */
static bool relay_client(struct session *session)
{
    if (session->leg->is_write_broken) return true;
    struct pump p = pump_to_server(session);
    on_client_result(session, pump(&p));
    return session->state == SESSION_RELAYING;
}

void relay_run(struct session *session, bool to_client, bool to_server)
{
    struct sessions *s = session->owner;
    assert(session->state == SESSION_RELAYING && session->leg != NULL);
    if (to_client) {
        struct pump p = pump_to_client(session);
        enum pump_result result = pump(&p);
        on_server_result(session, result, p.sys_errno);
        if (session->state != SESSION_RELAYING) return;
    }
    if ((to_server || client_may_go_on(session)) && !relay_client(session)) return;
    while (ask_run(session)) {
        if (session->state != SESSION_RELAYING || !relay_client(session)) return;
    }
    streams_look(session->leg);
    if (!relay_ends(session)) return;
    if (tracker_tls_is_due(session->leg->tracker) && pipe_unsent(&session->to_server) == 0) {
        secure_begin(session);
        return;
    }
    if (s->is_draining && session_is_idle(session)) {
        s->counters.closed_boundary_total++;
        session_end(session, "drained at a boundary");
        return;
    }
    relay_watch(session);
}

void relay_last_words(struct session *session)
{
    struct pipe *pipe = &session->to_client;
    assert(session->state == SESSION_LAST_WORDS);
    if (pipe_unsent(pipe) > 0) {
        ssize_t n = stream_write(&session->client, pipe->data + pipe->start, pipe_unsent(pipe));
        if (n < 0 && n != -EAGAIN) {
            session_end(session, "the client's connection broke");
            return;
        }
        if (n > 0) {
            pipe->start += (size_t)n;
            session->owner->counters.bytes_to_client_total += (uint64_t)n;
        }
    }
    if (pipe_unsent(pipe) > 0) {
        stream_watch(&session->client, STREAM_WRITE);
    } else {
        session_end(session, "the server closed");
    }
}

static void greeting_lost(struct session *session, enum sessions_loss_cause cause, int sys_errno)
{
    struct sessions_route route = { .backend_index = session->leg->backend_index, .epoch = session->leg->epoch };
    session_unroute(session);
    sessions_suspend(session->owner, cause, sys_errno, &route);
}

/*
 * The greeting is collected whole before the client gets a byte of it: until then it can wait again as if nothing had been.
 * Returns its length with its header, 0 while it is not whole, -1 when it is none.
 */
static ssize_t greeting_len(const struct pipe *p)
{
    if (p->end < PACKET_HEADER_LEN) return 0;
    size_t len = PACKET_HEADER_LEN + packet_u24(p->data);
    if (len == PACKET_HEADER_LEN || len > GREETING_LEN_MAX || p->data[3] != 0) return -1;
    return p->end >= len ? (ssize_t)len : 0;
}

/* As feed_kept(), and the client is told an id of ours where it must be. */
static enum pump_result feed_greeting(struct pump *p)
{
    size_t forward = 0;
    struct pipe *pipe = p->pipe;
    assert(pipe->start == 0 && pipe->fed == 0);
    int rv = tracker_feed(p->session->leg->tracker, p->from, pipe->data, pipe->end, &forward);
    if (rv == 0) rv = ask_hand_out_id(p->session, pipe->data);
    if (rv != 0) return feed_result(rv);
    pipe->fed = forward;
    return flush(p);
}

static void greeting_is_whole(struct session *session)
{
    struct sessions *s = session->owner;
    struct pump p = pump_to_client(session);
    enum pump_result result = feed_greeting(&p);
    if (result == PUMP_PROTOCOL) {
        log_warn("what the server sent is no MySQL greeting", LOG_STR("source", s->source_id),
                 LOG_U64("backend", session->leg->backend_index));
        s->counters.protocol_errors_total++;
        greeting_lost(session, SESSIONS_LOSS_ENDED, EPROTO);
        return;
    }
    if (s->config.legs != NULL) {
        legs_set_thread(s->config.legs, session->leg->slot, tracker_thread_id(session->leg->tracker));
    }
    session->state = SESSION_RELAYING;
    uv_timer_stop(&session->timer);
    session_wait_ended(session);
    on_server_result(session, result, p.sys_errno);
    if (session->state == SESSION_RELAYING) relay_run(session, false, false);
}

static void collect_greeting(struct session *session)
{
    struct sessions *s = session->owner;
    struct pipe *pipe = &session->to_client;
    struct pump p = pump_to_client(session);
    uint8_t *at;
    if (pipe->data == NULL) {
        pipe->data = mem_alloc(SESSIONS_BUFFER_BYTES + PIPE_SLACK);
        if (pipe->data == NULL) {
            s->counters.nomem_total++;
            session_refuse(session, SLUICE_ERR_NOMEM, error_text(SLUICE_ERR_NOMEM));
            return;
        }
        s->counters.buffered_bytes += SESSIONS_BUFFER_BYTES;
    }
    size_t room = room_for(&p, &at);
    ssize_t n = stream_read(&session->leg->stream, at, room);
    if (n == -EAGAIN) return;
    if (n <= 0) {
        greeting_lost(session, SESSIONS_LOSS_ENDED, (int)-n);
        return;
    }
    pipe->end += (size_t)n;
    ssize_t len = greeting_len(pipe);
    if (len < 0) {
        greeting_lost(session, SESSIONS_LOSS_ENDED, EPROTO);
    } else if (len > 0) {
        greeting_is_whole(session);
    }
}

void relay_greeting(struct session *session)
{
    struct leg *leg = session->leg;
    if (session->state == SESSION_CONNECTING) {
        int failure = -stream_connect_result(&leg->stream);
        if (failure == 0) failure = header_send(leg);
        if (failure != 0) {
            greeting_lost(session, SESSIONS_LOSS_CONNECT, failure);
            return;
        }
        session->state = SESSION_GREETING;
        stream_watch(&leg->stream, STREAM_READ);
        return;
    }
    collect_greeting(session);
}
