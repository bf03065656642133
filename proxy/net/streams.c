/* SPDX-License-Identifier: Apache-2.0 */
/* Binlog streams: what they carry is told as it passes, and they can be parked between two transactions. */
#include "base/log.h"
#include "net/session.h"

enum { PARK_LOOK_MS = 500 };

static void on_request(void *arg, const struct tracker_dump_request *request)
{
    const struct leg *leg = arg;
    const struct sessions_config *c = &leg->owner->config;
    if (c->streams.on_request != NULL) c->streams.on_request(c->arg, leg->session->id, request);
}

static void on_gtid(void *arg, const struct tracker_gtid *gtid)
{
    struct leg *leg = arg;
    const struct sessions_config *c = &leg->owner->config;
    leg->gtid = *gtid;
    leg->is_in_gtid = true;
    if (c->streams.on_gtid != NULL) c->streams.on_gtid(c->arg, leg->session->id, gtid);
}

static void on_whole(void *arg)
{
    struct leg *leg = arg;
    const struct sessions_config *c = &leg->owner->config;
    leg->is_in_gtid = false;
    if (c->streams.on_whole != NULL) c->streams.on_whole(c->arg, leg->session->id, &leg->gtid);
}

struct tracker_options streams_tracker_options(struct leg *leg)
{
    static const enum tracker_tls tls[] = { [SESSIONS_TLS_OFF] = TRACKER_TLS_STRIP,
                                            [SESSIONS_TLS_PASSTHROUGH] = TRACKER_TLS_PASS,
                                            [SESSIONS_TLS_MIRROR] = TRACKER_TLS_STOP,
                                            [SESSIONS_TLS_REQUIRE] = TRACKER_TLS_STOP };
    const struct sessions_config *c = &leg->owner->config;
    return (struct tracker_options){
        .tls = tls[c->tls],
        .require_tls = c->tls == SESSIONS_TLS_REQUIRE,
        .keep_compression = c->allow_compression,
        .ask_dump = c->streams.on_dump != NULL,
        .ask_kill = true,
        .hooks = { .arg = leg, .on_request = on_request, .on_gtid = on_gtid, .on_whole = on_whole }
    };
}

void streams_begin(struct leg *leg)
{
    if (leg->owner->is_parking) tracker_park(leg->tracker, true);
}

static void count_unknown(struct leg *leg)
{
    struct sessions *s = leg->owner;
    uint64_t count = tracker_unknown_commands(leg->tracker);
    if (count == leg->unknown_counted) return;
    s->counters.unknown_commands_total += count - leg->unknown_counted;
    leg->unknown_counted = count;
    log_info("a client sent a command that is not known: its session is not followed any further",
             LOG_STR("source", s->source_id), LOG_U64("session", leg->session->id),
             LOG_STR("client", leg->session->peer_host), LOG_U64("port", leg->session->peer_port),
             LOG_STR("hint", "a switch ends it only at drain-timeout"));
}

void streams_look(struct leg *leg)
{
    const struct sessions_config *c = &leg->owner->config;
    count_unknown(leg);
    if (leg->is_opaque_told || tracker_phase(leg->tracker) != TRACKER_OPAQUE) return;
    leg->is_opaque_told = true;
    if (c->streams.on_opaque != NULL)
        c->streams.on_opaque(c->arg, leg->session->id, tracker_opaque_text(tracker_opaque_reason(leg->tracker)));
}

void streams_end(struct leg *leg)
{
    const struct sessions_config *c = &leg->owner->config;
    streams_look(leg); /* what was forwarded unseen in the same turn that ended it is missing from D */
    if (!leg->is_in_gtid) return;
    leg->is_in_gtid = false;
    leg->owner->counters.streams_cut_total++;
    if (c->streams.on_cut != NULL) c->streams.on_cut(c->arg, leg->session->id, &leg->gtid);
}

/* ---- parking ---- */

static void unpark(struct leg *leg)
{
    bool was_blocked = tracker_stream_is_blocked(leg->tracker);
    tracker_park(leg->tracker, false);
    leg->parked_ms = 0;
    if (was_blocked && leg->session->state == SESSION_RELAYING) relay_run(leg->session, true, true);
}

/*
 * A leg that is lost on the way suspends routing, which closes others: they are skipped. Their memory, and so their |next|, stays
 * until a later turn of the loop.
 */
static void each_leg(struct sessions *s, void (*fn)(struct leg *leg))
{
    struct leg *next;
    for (struct leg *leg = s->legs; leg != NULL; leg = next) {
        next = leg->next;
        if (leg->session != NULL) fn(leg);
    }
}

static void park(struct leg *leg)
{
    tracker_park(leg->tracker, true);
}

static void expire(struct leg *leg)
{
    struct sessions *s = leg->owner;
    uint64_t now = uv_now(s->config.loop);
    if (!tracker_stream_is_parked(leg->tracker)) return;
    if (leg->parked_ms == 0) leg->parked_ms = now;
    if (now - leg->parked_ms < s->config.parked_ms_max || !session_is_idle(leg->session)) return;
    s->counters.parks_expired_total++;
    log_info("a stream was parked for so long that it is closed at its boundary", LOG_STR("source", s->source_id),
             LOG_U64("session", leg->session->id), LOG_U64("parked_ms", now - leg->parked_ms));
    session_end(leg->session, "parked too long");
}

static void on_park_timer(uv_timer_t *timer)
{
    each_leg(timer->data, expire);
}

void sessions_park(struct sessions *s, bool on)
{
    if (s->is_parking == on) return;
    s->is_parking = on;
    if (on) {
        each_leg(s, park);
        uv_timer_start(&s->park_timer, on_park_timer, 0, PARK_LOOK_MS);
    } else {
        uv_timer_stop(&s->park_timer);
        each_leg(s, unpark);
    }
}

static void end_stream(struct leg *leg)
{
    if (tracker_phase(leg->tracker) == TRACKER_STREAM) session_end(leg->session, "its server was set back");
}

void sessions_end_streams(struct sessions *s)
{
    each_leg(s, end_stream);
}

uint32_t sessions_unparked_count(const struct sessions *s)
{
    uint32_t count = 0;
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        if (tracker_phase(leg->tracker) == TRACKER_STREAM && !tracker_stream_is_parked(leg->tracker)) count++;
    }
    return count;
}

uint32_t sessions_opaque_count(const struct sessions *s)
{
    uint32_t count = 0;
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        if (tracker_phase(leg->tracker) == TRACKER_OPAQUE) count++;
    }
    return count;
}
