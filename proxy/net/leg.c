/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "net/session.h"

static void on_relay_event(struct session *session, struct leg *leg, unsigned events)
{
    if ((events & (STREAM_READ | STREAM_HANGUP)) == STREAM_HANGUP) { /* it was not to be read now */
        int result = stream_connect_result(&leg->stream);
        leg->is_hangup_seen = true;
        if (result != 0) {
            session_leg_lost(session, -result);
            return;
        }
    }
    relay_run(session, (events & STREAM_READ) != 0, (events & STREAM_WRITE) != 0);
}

static void on_leg_event(struct stream *st, unsigned events)
{
    struct leg *leg = st->arg;
    struct session *session = leg->session;
    assert(session != NULL && session->leg == leg);
    switch (session->state) {
    case SESSION_CONNECTING:
    case SESSION_GREETING: relay_greeting(session); return;
    case SESSION_RELAYING: on_relay_event(session, leg, events); return;
    case SESSION_SECURING:
        if ((events & (STREAM_READ | STREAM_HANGUP)) == STREAM_HANGUP) {
            secure_hangup(session, false);
        } else {
            secure_run(session);
        }
        return;
    case SESSION_TELLING:
    case SESSION_NEW:
    case SESSION_HEADER:
    case SESSION_HELD:
    case SESSION_LAST_WORDS:
    case SESSION_ENDED: assert(session->state == SESSION_RELAYING); /* a session without use for a leg has none */
    }
}

static int bind_source(const struct sessions *s, int fd)
{
    static const int on = 1;
    if (s->source_address_len == 0) return 0;
    /* The port is chosen at connect(2), so that one local port serves several backends. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (const struct sockaddr *)&s->source_address, s->source_address_len) == 0 ? 0 : -errno;
}

/* Returns 0 while connecting, or a negative errno; the socket is the stream's in both cases. */
static int begin_connect(struct leg *leg, const struct sessions_route *route)
{
    struct sessions *s = leg->owner;
    int rv = bind_source(s, leg->stream.fd);
    if (rv != 0) return rv;
    if (connect(leg->stream.fd, (const struct sockaddr *)&route->address, route->address_len) != 0 &&
        errno != EINPROGRESS) {
        return -errno;
    }
    stream_local_address(&leg->stream, leg->host, &leg->port);
    if (s->config.legs != NULL) legs_set_address(s->config.legs, leg->slot, leg->host, leg->port);
    return 0;
}

static void link_leg(struct leg *leg, struct session *session)
{
    struct sessions *s = leg->owner;
    leg->session = session;
    session->leg = leg;
    leg->next = s->legs;
    if (s->legs != NULL) s->legs->prev = leg;
    s->legs = leg;
    s->leg_count++;
    s->counters.legs_opened_total++;
    s->alive++;
}

/* Promise 1 at the other of its two places: when a leg is opened (the first is sessions_set_mode()). */
static void check_one_backend(struct sessions *s, const struct sessions_route *route)
{
    bool is_one_backend = s->legs == NULL || s->legs->backend_index == route->backend_index;
    if (!is_one_backend) s->counters.invariant_violations_total++;
#ifndef SLUICE_FAULTS
    assert(is_one_backend);
#endif
}

static int record(struct leg *leg, const struct session *session, const struct sessions_route *route)
{
    struct legs_record rec = { .epoch = route->epoch };
    if (leg->owner->config.legs == NULL) return 0;
    memcpy(rec.server_uuid, route->server_uuid, sizeof rec.server_uuid);
    if (leg->is_peer_told) rec.told = session->peer;
    return legs_add(leg->owner->config.legs, &rec, &leg->slot);
}

int leg_open(struct session *session, const struct sessions_route *route, int *out_errno)
{
    struct sessions *s = session->owner;
    int rv = SLUICE_ERR_NOMEM;
    check_one_backend(s, route);
    struct leg *leg = mem_calloc(1, sizeof *leg);
    if (leg == NULL) return rv;
    leg->owner = s;
    leg->backend_index = route->backend_index;
    leg->epoch = route->epoch;
    leg->opened_ms = uv_now(s->config.loop);
    leg->tls_host = route->host == NULL ? "" : route->host;
    leg->is_peer_told = header_is_told(session);
    const struct tracker_options options = streams_tracker_options(leg);
    leg->tracker = tracker_new(&options);
    if (leg->tracker == NULL) goto err_after_alloc;
    int fd = socket(route->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    rv = errno == EMFILE || errno == ENFILE ? SLUICE_ERR_BUSY : SLUICE_ERR_NOMEM;
    if (fd < 0) goto err_after_tracker;
    rv = record(leg, session, route); /* before connect(2): a leg that exists is in the file */
    if (rv != 0) goto err_after_socket;
    if (stream_init(&leg->stream, s->config.loop, fd, on_leg_event, leg) != 0) {
        rv = SLUICE_ERR_NOMEM;
        goto err_after_record;
    }
    link_leg(leg, session);
    streams_begin(leg);
    int result = begin_connect(leg, route);
    if (result != 0) {
        leg_close(leg);
        *out_errno = -result;
        return SLUICE_ERR_UNREACHABLE;
    }
    stream_watch(&leg->stream, STREAM_WRITE);
    return 0;

err_after_record:
    if (s->config.legs != NULL) legs_remove(s->config.legs, leg->slot);
err_after_socket:
    close(fd);
err_after_tracker:
    tracker_del(leg->tracker);
err_after_alloc:
    mem_free(leg);
    return rv;
}

static void on_stream_closed(struct stream *st)
{
    struct leg *leg = st->arg;
    struct sessions *s = leg->owner;
    mem_free(leg);
    sessions_let_go(s);
}

void leg_close(struct leg *leg)
{
    struct sessions *s = leg->owner;
    struct session *session = leg->session;
    assert(session != NULL && session->leg == leg && s->leg_count > 0);
    streams_end(leg);
    session->leg = NULL;
    leg->session = NULL;
    if (leg->prev == NULL) {
        s->legs = leg->next;
    } else {
        leg->prev->next = leg->next;
    }
    if (leg->next != NULL) leg->next->prev = leg->prev;
    tracker_del(leg->tracker);
    leg->tracker = NULL;
    stream_close(&leg->stream, on_stream_closed);
    if (s->config.legs != NULL) legs_remove(s->config.legs, leg->slot);
    if (--s->leg_count > 0) return;
    s->is_legs_gone_due = true;
    sessions_work_soon(s);
}
