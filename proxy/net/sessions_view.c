/* SPDX-License-Identifier: Apache-2.0 */
/* What others may look at: counts, counters, and the legs one by one. */
#include <stdio.h>
#include <string.h>
#include "net/session.h"

const uint32_t sessions_hold_bounds_ms[SESSIONS_HOLD_BOUNDS] = { 10, 50, 100, 250, 500, 1000, 2000, 4000, 8000, 19000 };

uint32_t sessions_leg_count(const struct sessions *s)
{
    return s->leg_count;
}

uint32_t sessions_stream_count(const struct sessions *s)
{
    uint32_t count = 0;
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        if (tracker_is_stream(leg->tracker)) count++;
    }
    return count;
}

uint32_t sessions_held_count(const struct sessions *s)
{
    return hold_count(s->hold);
}

uint64_t sessions_oldest_wait_ms(const struct sessions *s)
{
    const struct hold_client *first = hold_first(s->hold);
    return first == NULL ? 0 : uv_now(s->config.loop) - first->since_ms;
}

static const char *phase_name(const struct session *session)
{
    if (session->state == SESSION_CONNECTING) return "connecting";
    if (session->state == SESSION_GREETING) return "greeting";
    if (session->state == SESSION_SECURING) return "tls";
    return tracker_phase_name(tracker_phase(session->leg->tracker));
}

static const char *phase_without_leg(const struct session *session)
{
    if (session->state == SESSION_HEADER) return "proxy-header";
    return session->state == SESSION_HELD ? "held" : "closing";
}

static void describe(const struct leg *leg, struct sessions_leg *out)
{
    const struct session *session = leg->session;
    *out =
        (struct sessions_leg){ .session_id = session->id,
                               .thread_id = tracker_thread_id(leg->tracker),
                               .handed_id = leg->handed_id,
                               .reader_id = tracker_is_stream(leg->tracker) ? leg->reader_id : 0,
                               .reader_uuid = tracker_is_stream(leg->tracker) ? tracker_reader_uuid(leg->tracker) : "",
                               .port = leg->port,
                               .backend_index = leg->backend_index,
                               .epoch = leg->epoch,
                               .phase = phase_name(session),
                               .is_idle = session->state == SESSION_RELAYING && session_is_idle(session),
                               .is_in_transaction = tracker_is_in_transaction(leg->tracker),
                               .is_stream = tracker_is_stream(leg->tracker),
                               .user = tracker_user(leg->tracker),
                               .accepted_ms = session->accepted_ms,
                               .leg_ms = leg->opened_ms,
                               .bytes_to_server = leg->bytes_to_server,
                               .bytes_to_client = leg->bytes_to_client };
    memcpy(out->host, leg->host, sizeof out->host);
    snprintf(out->host_port, sizeof out->host_port, "%s:%u", leg->host, leg->port);
    snprintf(out->peer, sizeof out->peer, "%s:%u", session->peer_host, session->peer_port);
    out->is_told = leg->is_peer_told;
}

static void describe_client(const struct session *session, struct sessions_client *out)
{
    char via[STREAM_HOST_LEN + 1];
    const struct leg *leg = session->leg;
    *out = (struct sessions_client){ .session_id = session->id,
                                     .phase = leg == NULL ? phase_without_leg(session) : phase_name(session),
                                     .has_leg = leg != NULL,
                                     .user = "",
                                     .accepted_ms = session->accepted_ms };
    snprintf(out->peer, sizeof out->peer, "%s:%u", session->peer_host, session->peer_port);
    network_address_print(&session->via, via);
    if (session->via.family != NETWORK_NONE) snprintf(out->via, sizeof out->via, "%s:%u", via, session->via.port);
    if (leg == NULL) return;
    out->thread_id = tracker_thread_id(leg->tracker);
    out->backend_index = leg->backend_index;
    out->epoch = leg->epoch;
    out->is_stream = tracker_is_stream(leg->tracker);
    out->user = tracker_user(leg->tracker);
}

void sessions_each_client(const struct sessions *s, sessions_client_fn fn, void *arg)
{
    for (const struct session *session = s->first; session != NULL; session = session->next) {
        struct sessions_client view;
        describe_client(session, &view);
        if (!fn(arg, &view)) return;
    }
}

void sessions_each_leg(const struct sessions *s, sessions_leg_fn fn, void *arg)
{
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        struct sessions_leg view;
        describe(leg, &view);
        if (!fn(arg, &view)) return;
    }
}

const struct sessions_counters *sessions_counters(const struct sessions *s)
{
    return &s->counters;
}

void sessions_window_reset(struct sessions *s)
{
    s->counters.window_wait_ms_longest = 0;
    s->counters.window_held_total = 0;
}
