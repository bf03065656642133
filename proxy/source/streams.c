/* SPDX-License-Identifier: Apache-2.0 */
/* What the source's binlog streams carried: D as it passes, and where it begins after a start. */
#include <inttypes.h>
#include <stdio.h>
#include "base/log.h"
#include "core/error.h"
#include "source/state.h"

enum { SETTLE_LIMIT_MS = 6000, SETTLE_LISTING_MS = 2500, SETTLE_AGAIN_MS = 20 };

/* ---- as it passes ---- */

static void on_request(void *arg, uint64_t stream, const struct tracker_dump_request *request)
{
    struct source *s = arg;
    struct gtid_set *set = NULL;
    (void)stream;
    s->has_streamed = true;
    if (!request->is_gtid) return; /* what that reader has, nobody can tell; what it is sent is counted all the same */
    int rv = gtid_set_decode(request->set, request->set_len, &set, NULL, NULL);
    if (rv == 0) {
        delivered_request(&s->delivered, set);
    } else {
        delivered_unknown(&s->delivered, "a server answered a request that could not be decoded");
    }
    gtid_set_del(set);
}

static void on_gtid(void *arg, uint64_t stream, const struct tracker_gtid *gtid)
{
    struct source *s = arg;
    (void)stream;
    delivered_gtid(&s->delivered, gtid);
}

static void on_whole(void *arg, uint64_t stream, const struct tracker_gtid *gtid)
{
    struct source *s = arg;
    (void)stream;
    delivered_whole(&s->delivered, gtid);
}

static void on_cut(void *arg, uint64_t stream, const struct tracker_gtid *gtid)
{
    const struct source *s = arg;
    char uuid[GTID_UUID_CHARS + 1], text[GTID_UUID_CHARS + GTID_TAG_CHARS + 32];
    if (gtid->is_anonymous) return;
    gtid_uuid_print(gtid->uuid, uuid);
    snprintf(text, sizeof text, "%s%s%s:%" PRId64, uuid, *gtid->tag == '\0' ? "" : ":", gtid->tag, gtid->gno);
    log_warn("a binlog stream ended inside a transaction: it was sent in part", LOG_STR("source", s->config->source_id),
             LOG_U64("session", stream), LOG_STR("gtid", text));
}

static void on_opaque(void *arg, uint64_t stream, const char *why)
{
    struct source *s = arg;
    char text[DELIVERED_REASON_LEN];
    snprintf(text, sizeof text, "session %" PRIu64 " cannot be followed: %s", stream, why);
    delivered_unknown(&s->delivered, text);
}

struct gtid_set *streams_told(const struct source *s, uint32_t unparked)
{
    struct gtid_set *loss = NULL, *told = NULL;
    if (unparked > 0 || sessions_opaque_count(s->sessions) > 0 || !s->delivered.is_known) return NULL;
    loss = source_accepted_loss(s);
    if (loss != NULL && gtid_set_subtract(s->delivered.all, loss, &told) != 0) told = NULL;
    gtid_set_del(loss);
    return told;
}

struct sessions_stream_hooks streams_hooks(void)
{
    return (struct sessions_stream_hooks){ .on_request = on_request,
                                           .on_gtid = on_gtid,
                                           .on_whole = on_whole,
                                           .on_cut = on_cut,
                                           .on_dump = dump_gate_on_dump,
                                           .on_opaque = on_opaque };
}

/* ---- where it begins ---- */

static void settle(struct source *s);

static void settled(struct source *s, const char *why_unknown)
{
    if (why_unknown != NULL) {
        delivered_unknown(&s->delivered, why_unknown);
        log_warn("what was delivered before is not known; until a switch, what the active backend has stands for it",
                 LOG_STR("source", s->config->source_id), LOG_STR("text", why_unknown));
    }
    s->settling = SOURCE_SETTLED;
    source_admit(s);
}

static void on_settle_timer(uv_timer_t *timer)
{
    settle(timer->data);
}

/* The last stream of a dead process has ended on the server: what it has now is at least what it ever sent. */
static void on_listed(struct source *s, uint32_t op, int status, uint32_t found, const char *text,
                      struct gtid_set *delivered)
{
    if (s->is_closing || s->settling != SOURCE_SETTLING || op != s->settle_op) {
        gtid_set_del(delivered);
        return;
    }
    bool may_pass = status == SLUICE_ERR_TIMEOUT || status == SLUICE_ERR_UNREACHABLE;
    if (status != 0 && (!may_pass || source_now(s) >= s->settle_deadline_ms)) {
        settled(s, text);
    } else if (status == 0 && found == 0) {
        delivered_begin(&s->delivered, delivered);
        settled(s, NULL);
    } else if (status == 0 && source_now(s) >= s->settle_deadline_ms) {
        settled(s, "threads that a dead process left on the active backend do not end");
    } else {
        uv_timer_start(&s->settle_timer, on_settle_timer, SETTLE_AGAIN_MS, 0);
    }
    gtid_set_del(delivered);
}

static void settle(struct source *s)
{
    struct backend *active = source_active(s);
    if (s->is_closing || active == NULL) return;
    s->settle_op++;
    listing_empty(s, active, s->settle_op, SETTLE_LISTING_MS, on_listed);
}

void streams_settle(struct source *s)
{
    struct backend *active = source_active(s);
    if (s->settling != SOURCE_UNSETTLED || active == NULL || !active->is_confirmed) return;
    s->settling = SOURCE_SETTLING;
    s->settle_deadline_ms = source_now(s) + SETTLE_LIMIT_MS;
    settle(s);
}

void streams_tell_consumer(const struct source *s)
{
    consumer_set_has_delivered(s->consumer, s->has_streamed && s->delivered.is_known);
}

void streams_flipped(struct source *s)
{
    const struct reading *r = &s->reading;
    if (!s->delivered.is_known && r->snapshot_is_delivered) delivered_begin(&s->delivered, r->snapshot);
    s->settle_op++; /* an answer of the old server that still comes says nothing of the new one */
    uv_timer_stop(&s->settle_timer);
    /* Lost and accepted so, it begins with the new server. */
    s->settling = s->delivered.is_known ? SOURCE_SETTLED : SOURCE_UNSETTLED;
    if (s->run.options.accept_loss != NULL) delivered_accept_loss(&s->delivered, s->run.options.accept_loss);
}
