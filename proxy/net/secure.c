/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both legs of a session become TLS, behind a client's request for it. The request itself has passed to the server as it is, so
 * the sequence numbers of the login that follows in TLS are right on both sides.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/packet.h"
#include "net/session.h"
#include "net/tls_mbedtls.h"

/* A session's while it is SECURING or TELLING. */
struct securing {
    bool is_client_open, is_leg_open;
    uint8_t header[PACKET_HEADER_LEN]; /* TELLING: of the login that the error answers */
    size_t header_len, left;
    char why[SESSIONS_MESSAGE_LEN + 1];
};

void secure_free(struct session *session)
{
    mem_free(session->securing);
    session->securing = NULL;
}

static void client_failed(struct session *session, const char *why)
{
    struct sessions *s = session->owner;
    s->counters.tls_client_failed_total++;
    log_warn("TLS with a client failed", LOG_STR("source", s->source_id), LOG_STR("client", session->peer_host),
             LOG_U64("port", session->peer_port), LOG_STR("reason", why));
    session_end(session, "TLS with the client failed");
}

/* ---- TELLING: no leg any more; the client's login is read and answered with the reason ---- */

static void tell(struct session *session)
{
    uint8_t packet[PACKET_ERROR_LEN_MAX];
    const struct securing *sec = session->securing;
    size_t len = packet_build_error(packet, sizeof packet, (uint8_t)(sec->header[3] + 1),
                                    error_mysql_errno(SLUICE_ERR_TLS), error_sqlstate(SLUICE_ERR_TLS), sec->why);
    ssize_t n = stream_write(&session->client, packet, len);
    (void)n; /* a courtesy: whoever does not read it sees the end */
    session_end(session, "TLS with the server failed");
}

/* Returns what is still missing of the login; 0: it is whole. */
static size_t login_missing(struct securing *sec, const uint8_t *bytes, size_t len)
{
    while (len > 0 && sec->header_len < PACKET_HEADER_LEN) {
        sec->header[sec->header_len++] = *bytes++;
        len--;
        if (sec->header_len == PACKET_HEADER_LEN) sec->left = packet_u24(sec->header);
    }
    if (sec->header_len < PACKET_HEADER_LEN) return PACKET_HEADER_LEN - sec->header_len;
    sec->left -= len < sec->left ? len : sec->left;
    return sec->left;
}

static void read_login(struct session *session)
{
    uint8_t bytes[4096]; /* may hold a password in clear text: it is not kept */
    size_t missing = 1;
    ssize_t n = 0;
    while (missing > 0) {
        n = stream_read(&session->client, bytes, sizeof bytes);
        if (n <= 0) break;
        missing = login_missing(session->securing, bytes, (size_t)n);
    }
    explicit_bzero(bytes, sizeof bytes);
    if (missing == 0) {
        tell(session);
    } else if (n == -EAGAIN) {
        stream_watch(&session->client, STREAM_READ);
    } else {
        session_end(session, "the client hung up before it could be told that TLS with the server failed");
    }
}

/* ---- SECURING ---- */

/*
 * The server's side failed. Where the connection itself ended the server is to be looked at before anybody is routed there again;
 * a certificate that is not right is told, and nothing else.
 */
static void leg_failed(struct session *session, const char *why, enum sessions_loss_cause cause, bool is_lost)
{
    struct sessions *s = session->owner;
    struct securing *sec = session->securing;
    struct sessions_route route = { .backend_index = session->leg->backend_index, .epoch = session->leg->epoch };
    s->counters.tls_backend_failed_total++;
    snprintf(sec->why, sizeof sec->why,
             "sluice: source '%.64s': TLS with the backend '%.64s' failed: %s; see: sluice status %.64s", s->source_id,
             session->leg->tls_host, why, s->source_id);
    log_warn("TLS with a backend failed", LOG_STR("source", s->source_id), LOG_U64("backend", route.backend_index),
             LOG_STR("host", session->leg->tls_host), LOG_STR("reason", why));
    session_drop_leg(session);
    session->state = SESSION_TELLING;
    session_limit(session, s->config.connect_timeout_ms);
    if (is_lost) sessions_suspend(s, cause, cause == SESSIONS_LOSS_TIMEOUT ? ETIMEDOUT : 0, &route);
}

/* Returns false when the session is no longer SECURING. */
static bool step_leg(struct session *session)
{
    struct stream *st = &session->leg->stream;
    if (session->securing->is_leg_open) return true;
    int rv = tls_handshake(st);
    if (rv == SLUICE_ERR_TLS) {
        leg_failed(session, tls_why(st), SESSIONS_LOSS_ENDED, tls_is_cut(st));
        return false;
    }
    session->securing->is_leg_open = rv == 0;
    return true;
}

/* Returns false when the session has ended. */
static bool step_client(struct session *session)
{
    if (session->securing->is_client_open) return true;
    int rv = tls_handshake(&session->client);
    if (rv == SLUICE_ERR_TLS) {
        client_failed(session, tls_why(&session->client));
        return false;
    }
    session->securing->is_client_open = rv == 0;
    return true;
}

static void both_are_open(struct session *session)
{
    struct sessions *s = session->owner;
    s->counters.tls_sessions_total++;
    if (tls_is_resumed(&session->leg->stream)) s->counters.tls_resumed_total++;
    tracker_tls_begun(session->leg->tracker);
    secure_free(session);
    uv_timer_stop(&session->timer);
    session->state = SESSION_RELAYING;
    relay_run(session, true, true);
}

void secure_run(struct session *session)
{
    if (session->state == SESSION_SECURING) (void)step_leg(session);
    if (!step_client(session)) return;
    const struct securing *sec = session->securing;
    if (session->state == SESSION_TELLING) {
        if (sec->is_client_open) {
            read_login(session);
        } else {
            stream_watch(&session->client, STREAM_READ);
        }
        return;
    }
    if (sec->is_client_open && sec->is_leg_open) {
        both_are_open(session);
        return;
    }
    /* Who is ready waits; its end is seen, its bytes stay where they are. */
    stream_watch(&session->client, sec->is_client_open ? STREAM_HANGUP : STREAM_READ);
    stream_watch(&session->leg->stream, sec->is_leg_open ? STREAM_HANGUP : STREAM_READ);
}

void secure_hangup(struct session *session, bool is_client)
{
    const struct securing *sec = session->securing;
    if (is_client && sec->is_client_open && session->state == SESSION_SECURING) {
        session_end(session, "the client hung up while TLS with the server began");
    } else if (!is_client && sec->is_leg_open) {
        leg_failed(session, "it closed the connection behind the TLS handshake", SESSIONS_LOSS_ENDED, true);
        secure_run(session);
    } else {
        secure_run(session); /* the handshake reads the end */
    }
}

void secure_expire(struct session *session)
{
    if (session->state == SESSION_TELLING || session->securing->is_leg_open) {
        client_failed(session, "it did not go on with TLS in time");
        return;
    }
    bool is_client_open = session->securing->is_client_open;
    leg_failed(session, "no TLS handshake in time", SESSIONS_LOSS_TIMEOUT, true);
    if (is_client_open) {
        secure_run(session);
    } else {
        client_failed(session, "it did not go on with TLS in time");
    }
}

/* A server says nothing between the greeting and the handshake; what comes there was put in by somebody else. */
static bool is_server_silent(struct session *session)
{
    uint8_t byte;
    ssize_t n = stream_read(&session->leg->stream, &byte, 1);
    if (n == -EAGAIN && session->to_client.data == NULL) return true;
    if (n > 0 || session->to_client.data != NULL) {
        session->owner->counters.protocol_errors_total++;
        log_warn("a server sent plain bytes in front of the TLS handshake",
                 LOG_STR("source", session->owner->source_id), LOG_U64("backend", session->leg->backend_index));
        session_end(session, "plain bytes from the server in front of the TLS handshake");
    } else {
        session_leg_lost(session, (int)-n);
    }
    return false;
}

void secure_begin(struct session *session)
{
    struct sessions *s = session->owner;
    struct leg *leg = session->leg;
    struct pipe *behind = &session->to_server; /* what the client sent behind its request */
    assert(session->state == SESSION_RELAYING && session->securing == NULL && s->config.tls_context != NULL);
    if (!is_server_silent(session)) return;
    session->securing = mem_calloc(1, sizeof *session->securing);
    if (session->securing == NULL ||
        tls_accept(&session->client, s->config.tls_context, behind->data == NULL ? NULL : behind->data + behind->fed,
                   behind->end - behind->fed) != 0 ||
        tls_connect(&leg->stream, s->config.tls_context, leg->backend_index, leg->tls_host) != 0) {
        s->counters.nomem_total++;
        session_end(session, "memory ran out");
        return;
    }
    pipe_free(s, behind);
    session->state = SESSION_SECURING;
    session_limit(session, s->config.connect_timeout_ms);
    secure_run(session);
}
