/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol: a header that a load balancer puts in front of a client's bytes is read before anything else is decided, and one
 * of ours goes to the server in front of what it gets. Nothing behind a client's header is read here: that is for TLS or the tracker.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/session.h"

bool header_is_due(const struct session *session)
{
    const struct sessions_config *c = &session->owner->config;
    for (size_t i = 0; i < c->accept_from_count; i++) {
        if (network_holds(&c->accept_from[i], &session->peer)) return true;
    }
    return false;
}

void header_free(struct session *session)
{
    if (session->header == NULL) return;
    mem_free(session->header);
    session->header = NULL;
    assert(session->owner->header_count > 0);
    session->owner->header_count--;
}

/* They wait, with a descriptor each, and so count among those who may. */
void header_begin(struct session *session)
{
    struct sessions *s = session->owner;
    const struct sessions_config *c = &s->config;
    if (hold_count(s->hold) + s->header_count >= c->hold_clients_max) {
        session_refuse_hold_full(session);
        return;
    }
    session->header = mem_calloc(1, sizeof *session->header);
    if (session->header == NULL) {
        s->counters.nomem_total++;
        session_refuse(session, SLUICE_ERR_NOMEM, error_text(SLUICE_ERR_NOMEM));
        return;
    }
    s->header_count++;
    session->state = SESSION_HEADER;
    session_limit(session, c->hold_timeout_ms < SESSIONS_HEADER_MS ? c->hold_timeout_ms : SESSIONS_HEADER_MS);
    stream_watch(&session->client, STREAM_READ);
}

/* The sender may be a MySQL client that is not to come this way: it reads why, where it expects a greeting. */
static void refuse(struct session *session, const char *why)
{
    struct sessions *s = session->owner;
    char message[SESSIONS_MESSAGE_LEN + 1];
    s->counters.proxy_headers_refused_total++;
    log_warn("no valid PROXY header came where one must: closed", LOG_STR("source", s->source_id),
             LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port), LOG_STR("reason", why),
             LOG_STR("hint", "have the load balancer send it, or take the address out of proxy-protocol.accept-from"));
    snprintf(
        message, sizeof message,
        "who connects from %s must send a PROXY header first (proxy-protocol.accept-from): %s; connect through the "
        "load balancer",
        session->peer_host, why);
    session_refuse(session, SLUICE_ERR_PROXY_HEADER, message);
}

/* A load balancer that only tries whether the port is open does this all the time. */
static void hung_up(struct session *session)
{
    struct sessions *s = session->owner;
    bool is_begun = session->header->len > 0;
    s->counters.proxy_headers_refused_total++;
    LOG_AT(is_begun ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "the connection ended before a PROXY header was whole",
           LOG_STR("source", s->source_id), LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port),
           LOG_U64("bytes", session->header->len));
    session_end(session, "it ended before a PROXY header was whole");
}

/* From here on the client is who the header says. */
static void take(struct session *session)
{
    struct sessions *s = session->owner;
    const struct proxy_header *h = &session->header->header;
    s->counters.proxy_headers_total++;
    if (h->source.family != NETWORK_NONE) {
        char via[STREAM_HOST_LEN + 1];
        session->via = session->peer;
        session->peer = h->source;
        network_address_print(&session->via, via);
        network_address_print(&session->peer, session->peer_host);
        session->peer_port = session->peer.port;
        log_debug("a PROXY header told who a client is", LOG_STR("source", s->source_id),
                  LOG_U64("session", session->id), LOG_STR("client", session->peer_host),
                  LOG_U64("port", session->peer_port), LOG_STR("via", via));
    }
    header_free(session);
    uv_timer_stop(&session->timer);
    session->state = SESSION_NEW;
    sessions_admit(session);
}

void header_run(struct session *session)
{
    uint8_t bytes[512];
    struct proxy_header_reader *r = session->header;
    assert(session->state == SESSION_HEADER && r != NULL);
    while (!r->is_whole) {
        size_t want = proxy_header_want(r), used = 0;
        ssize_t n = stream_read(&session->client, bytes, want < sizeof bytes ? want : sizeof bytes);
        if (n == -EAGAIN) return;
        if (n <= 0) {
            hung_up(session);
            return;
        }
        if (proxy_header_feed(r, bytes, (size_t)n, &used) != 0) {
            refuse(session, proxy_header_fault_text(r->fault));
            return;
        }
        assert(used == (size_t)n); /* no more is read than is wanted */
    }
    take(session);
}

void header_expire(struct session *session)
{
    refuse(session, session->header->len == 0 ? "nothing came in time" : "it was not whole in time");
}

/* ---- towards the server ---- */

/*
 * What a server was told is the HOST that its processlist shows, and HOST is how a leg is known there (promise 1). So nothing is told
 * that would leave it without a port; nor the loopback addresses, which Percona Server does not let a proxy claim.
 */
bool header_is_told(const struct session *session)
{
    const struct network_address *peer = &session->peer;
    return session->owner->config.proxy_send != 0 && peer->family != NETWORK_NONE && peer->port != 0 &&
           !network_address_is_loopback(peer);
}

int header_send(struct leg *leg)
{
    uint8_t bytes[PROXY_HEADER_WRITTEN_LEN_MAX];
    const struct session *session = leg->session;
    const struct network_address nobody = { .family = NETWORK_NONE };
    struct network_address listener;
    unsigned version = leg->owner->config.proxy_send;
    if (version == 0) return 0;
    stream_own_address(&session->client, &listener);
    if (listener.family == NETWORK_NONE) return ENOTCONN; /* the client's socket is broken */
    size_t len = proxy_header_write(version, leg->is_peer_told ? &session->peer : &nobody, &listener, bytes);
    ssize_t n = stream_write(&leg->stream, bytes, len);
    if (n < 0) return (int)-n;
    return (size_t)n == len ? 0 : EPIPE; /* a fresh socket's buffer takes it whole */
}
