/* SPDX-License-Identifier: Apache-2.0 */
/* The event stream of a switch, as server-sent events: suspended while there is nothing to send. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include "admin/internal.h"
#include "base/log.h"
#include "core/error.h"

enum { BLOCK_BYTES = 4096 };

/* What comes next, into the empty |pending|. False when there is nothing now. */
static bool fill(struct admin_conn *c)
{
    uint64_t lost;
    const char *event = admin_event_log_read(c->log, &c->next_seq, &lost);
    if (lost > 0) text_printf(&c->pending, "data: {\"type\":\"lost\",\"count\":%" PRIu64 "}\n\n", lost);
    if (event != NULL) text_printf(&c->pending, "data: %s\n\n", event);
    if (c->pending.len == 0 && c->pending.status == 0 && c->is_comment_due) text_puts(&c->pending, ": keep-alive\n\n");
    c->is_comment_due = false;
    return c->pending.len > 0 || c->pending.status != 0;
}

static bool is_over(const struct admin_conn *c)
{
    bool all_sent = c->log->is_ended && c->next_seq == c->log->end_seq;
    return all_sent || c->admin->state != ADMIN_STATE_SERVING;
}

/* MHD_ContentReaderCallback: called by the daemon whenever the socket takes more. */
static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    struct admin_conn *c = cls;
    if (c->state == ADMIN_CONN_CUT) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (c->pending_sent == c->pending.len) {
        text_clear(&c->pending);
        c->pending_sent = 0;
        if (!fill(c)) {
            if (is_over(c)) return MHD_CONTENT_READER_END_OF_STREAM;
            MHD_suspend_connection(c->mhd);
            c->is_suspended = true;
            c->deadline_ms = admin_now_ms(c->admin) + c->admin->limits.keepalive_ms;
            return 0;
        }
        if (c->pending.status != 0) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t len = c->pending.len - c->pending_sent;
    if (len > max) len = max;
    memcpy(buf, c->pending.data + c->pending_sent, len);
    c->pending_sent += len;
    c->deadline_ms = admin_now_ms(c->admin) + c->admin->limits.send_timeout_ms;
    return (ssize_t)len;
}

void admin_stream_start(struct admin_conn *c, struct admin_event_log *log)
{
    struct admin *admin = c->admin;
    if (admin->stream_count >= admin->limits.streams_max) {
        admin_conn_answer_error(c, 503, 1, "too many event streams are open; end one of them, or poll the switch");
        return;
    }
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, stream_read, c, NULL);
    if (r == NULL) {
        admin_conn_answer_error(c, 500, 1, error_text(SLUICE_ERR_NOMEM));
        return;
    }
    MHD_add_response_header(r, "Content-Type", "text/event-stream");
    MHD_add_response_header(r, "Cache-Control", "no-store");
    /* A first byte lets the client know that it is heard, before the first event. */
    text_printf(&c->pending, ": events of switch %" PRIu64 "\n\n", log->switch_number);
    admin_event_log_ref(log);
    c->log = log;
    admin->stream_count++;
    assert(c->response == NULL);
    c->response = r;
    c->status = 200;
    c->state = ADMIN_CONN_ANSWERED;
    admin_conn_resume(c);
}

/* A switch that ended before this process began, or whose events were forgotten: one event, made of its record. */
static void answer_with_record(struct admin_conn *c, const json_t *doc)
{
    static const char *const members[] = { "result", "msg", "code", "switch" };
    struct text body = TEXT_INIT;
    json_t *event = json_pack("{s:s}", "type", "end");
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        json_t *value = json_object_get(doc, members[i]);
        if (value != NULL && json_object_set(event, members[i], value) != 0) body.status = SLUICE_ERR_NOMEM;
    }
    text_puts(&body, "data: ");
    admin_dump(event, &body);
    text_puts(&body, "\n");
    json_decref(event);
    admin_conn_answer(c, 200, "text/event-stream", &body);
}

void admin_stream_answer(struct admin_conn *c, const json_t *doc)
{
    struct admin_events *events = &c->admin->events;
    const char *state = json_string_value(json_object_get(json_object_get(doc, "switch"), "state"));
    struct admin_event_log *log = admin_events_find(events, c->route.switch_number);
    if (log == NULL && (state == NULL || strcmp(state, "open") != 0)) {
        answer_with_record(c, doc);
        return;
    }
    if (log == NULL) log = admin_events_open(events, c->route.switch_number);
    if (log == NULL) {
        admin_conn_answer_error(c, 500, 1, error_text(SLUICE_ERR_NOMEM));
    } else {
        admin_stream_start(c, log);
    }
}

void admin_stream_stop(struct admin_conn *c)
{
    if (c->log == NULL) return;
    admin_event_log_unref(c->log);
    c->log = NULL;
    assert(c->admin->stream_count > 0);
    c->admin->stream_count--;
}
