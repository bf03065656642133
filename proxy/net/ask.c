/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks that is decided before the server gets it: KILLs here, binlog dumps by the driver. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/ids.h"
#include "core/packet.h"
#include "net/session.h"

/* ---- connection ids ---- */

int ask_hand_out_id(struct session *session, uint8_t *greeting)
{
    struct leg *leg = session->leg;
    struct packet_greeting parsed;
    uint8_t *payload = greeting + PACKET_HEADER_LEN;
    if (!tracker_greeting_is_seen(leg->tracker)) return 0; /* an error in its place */
    if (packet_parse_greeting(payload, packet_u24(greeting), &parsed) != 0) return SLUICE_ERR_PROTOCOL;
    int rv = ids_hand_out(session->owner->ids, parsed.thread_id, &leg->handed_id);
    if (rv != 0) return rv;
    for (size_t i = 0; i < 4; i++)
        payload[parsed.thread_id_at + i] = (uint8_t)(leg->handed_id >> (8 * i));
    return 0;
}

static const struct leg *leg_of_id(const struct sessions *s, uint64_t id)
{
    for (const struct leg *leg = s->legs; leg != NULL; leg = leg->next) {
        if (leg->session != NULL && leg->handed_id != 0 && leg->handed_id == id) return leg;
    }
    return NULL;
}

/* ---- answers of ours ---- */

static size_t build_error(const struct session *session, int code, const char *message,
                          uint8_t out[PACKET_ERROR_LEN_MAX])
{
    uint8_t seq = 1;
    bool wants_sqlstate = true;
    if (!tracker_can_inject(session->leg->tracker, &seq, &wants_sqlstate)) return 0;
    return packet_build_error(out, PACKET_ERROR_LEN_MAX, seq, error_mysql_errno(code),
                              wants_sqlstate ? error_sqlstate(code) : NULL, message);
}

/* The session goes on behind it. Nothing waits to be written to the client. */
static bool answer(struct session *session, int code, const char *message)
{
    uint8_t packet[PACKET_ERROR_LEN_MAX];
    size_t len = build_error(session, code, message, packet);
    return len > 0 && relay_say(session, packet, len) == 0;
}

/* The server has a part of what was asked: its leg ends, and the client reads why. */
static void answer_and_end(struct session *session, int code, const char *message)
{
    uint8_t packet[PACKET_ERROR_LEN_MAX];
    size_t len = build_error(session, code, message, packet);
    session_drop_leg(session);
    if (len == 0 || relay_say(session, packet, len) != 0) {
        session_end(session, message);
        return;
    }
    session_last_words(session);
}

/* ---- KILL ---- */

/* Its packet is in front of what the tracker left back; |len| bytes of |bytes| take its place. */
static void replace_kill(struct session *session, const uint8_t *bytes, size_t len)
{
    struct pipe *pipe = &session->to_server;
    size_t old_len = tracker_kill(session->leg->tracker)->packet_len;
    assert(pipe->data != NULL && pipe->end - pipe->fed >= old_len);
    memmove(pipe->data, pipe->data + pipe->start, pipe->end - pipe->start);
    pipe->fed -= pipe->start;
    pipe->end -= pipe->start;
    pipe->start = 0;
    assert(pipe->end - old_len + len <= SESSIONS_BUFFER_BYTES + PIPE_SLACK);
    memmove(pipe->data + pipe->fed + len, pipe->data + pipe->fed + old_len, pipe->end - pipe->fed - old_len);
    if (len > 0) memcpy(pipe->data + pipe->fed, bytes, len);
    pipe->end = pipe->end - old_len + len;
    if (pipe->end == 0) pipe_free(session->owner, pipe);
}

static void translate_kill(struct session *session, uint64_t thread_id)
{
    uint8_t packet[TRACKER_KILL_LEN_MAX];
    struct tracker *t = session->leg->tracker;
    size_t len = tracker_kill_rewrite(t, session->to_server.data + session->to_server.fed, thread_id, packet);
    replace_kill(session, packet, len);
    session->owner->counters.kills_translated_total++;
    tracker_allow(t);
}

static void refuse_kill(struct session *session, int code, const char *message)
{
    struct sessions *s = session->owner;
    struct tracker *t = session->leg->tracker;
    s->counters.kills_refused_total++;
    log_info("a KILL was not passed on", LOG_STR("source", s->source_id), LOG_U64("session", session->id),
             LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port), LOG_STR("reason", message));
    if (tracker_kill(t)->packet_len == 0) {
        answer_and_end(session, code, message);
    } else if (!answer(session, code, message)) {
        session_end(session, "a KILL could not be answered");
    } else {
        replace_kill(session, NULL, 0);
        tracker_kill_drop(t);
    }
}

static void answer_numbered_kill(struct session *session, uint64_t id)
{
    struct sessions *s = session->owner;
    char message[64];
    const struct leg *live = leg_of_id(s, id);
    if (live != NULL) {
        translate_kill(session, tracker_thread_id(live->tracker));
        return;
    }
    switch (ids_judge(s->ids, id)) {
    case IDS_FOREIGN:
    case IDS_CURRENT: tracker_allow(session->leg->tracker); return;
    case IDS_STALE:
        snprintf(message, sizeof message, "Unknown thread id: %" PRIu64, id);
        refuse_kill(session, SLUICE_ERR_NO_THREAD, message);
        return;
    }
}

static void answer_kill(struct session *session)
{
    const struct tracker_kill *kill = tracker_kill(session->leg->tracker);
    switch (kill->form) {
    case TRACKER_KILL_QUERY:
    case TRACKER_KILL_COMMAND: answer_numbered_kill(session, kill->thread_id); return;
    case TRACKER_KILL_PREPARED:
        refuse_kill(session, SLUICE_ERR_KILL_PREPARED, error_text(SLUICE_ERR_KILL_PREPARED));
        return;
    case TRACKER_KILL_UNREADABLE:
        refuse_kill(session, SLUICE_ERR_KILL_UNREADABLE, error_text(SLUICE_ERR_KILL_UNREADABLE));
        return;
    }
}

/* ---- dumps ---- */

static void decide_dump(struct session *session, int code, const char *message)
{
    struct sessions *s = session->owner;
    if (code == 0) {
        tracker_allow(session->leg->tracker);
        return;
    }
    s->counters.dumps_refused_total++;
    log_warn("a binlog dump was refused", LOG_STR("source", s->source_id), LOG_U64("session", session->id),
             LOG_STR("client", session->peer_host), LOG_U64("port", session->peer_port), LOG_STR("reason", message),
             LOG_STR("error", error_name(code)));
    answer_and_end(session, code, message);
}

/* Tells the driver, once; false while it has not decided. */
static bool ask_driver(struct session *session)
{
    struct leg *leg = session->leg;
    const struct sessions_config *c = &leg->owner->config;
    struct tracker_dump_request request;
    struct sessions_refusal refusal = { 0 };
    if (leg->is_dump_told) return false;
    leg->is_dump_told = true;
    bool is_read = tracker_dump_request(leg->tracker, &request);
    leg->reader_id = is_read ? request.server_id : 0;
    switch (c->streams.on_dump(c->arg, session->id, leg->backend_index, is_read ? &request : NULL, &refusal)) {
    case SESSIONS_DUMP_PASS: decide_dump(session, 0, ""); return true;
    case SESSIONS_DUMP_WAIT: return false;
    case SESSIONS_DUMP_REFUSE: decide_dump(session, refusal.code, refusal.message); return true;
    }
    return false;
}

static struct session *waiting_session(const struct sessions *s, uint64_t id)
{
    struct session *session = s->first;
    while (session != NULL && session->id != id)
        session = session->next;
    if (session == NULL || session->state != SESSION_RELAYING) return NULL;
    return tracker_question(session->leg->tracker) == TRACKER_ASKS_DUMP ? session : NULL;
}

bool sessions_dump_is_waiting(const struct sessions *s, uint64_t session_id)
{
    return waiting_session(s, session_id) != NULL;
}

void sessions_dump_decide(struct sessions *s, uint64_t session_id, int code, const char *message)
{
    struct session *session = waiting_session(s, session_id);
    if (session == NULL) return;
    decide_dump(session, code, message);
    if (session->state == SESSION_RELAYING) relay_run(session, false, true);
}

bool ask_run(struct session *session)
{
    struct tracker *t = session->leg->tracker;
    switch (tracker_question(t)) {
    case TRACKER_ASKS_NOTHING: session->leg->is_dump_told = false; return false;
    case TRACKER_ASKS_KILL:
        if (session->to_client.data != NULL) return false; /* an answer of ours would come in front of what waits */
        answer_kill(session);
        return true;
    case TRACKER_ASKS_DUMP: return ask_driver(session);
    }
    return false;
}
