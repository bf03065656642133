/* SPDX-License-Identifier: Apache-2.0 */
/* Binlog streams: where events begin and end, and transactions with them. */
#include <assert.h>
#include <string.h>
#include <strings.h>
#include "core/tracker_internal.h"

/* Event types (binlog_event.h of MySQL, log_event.h of MariaDB). */
enum {
    TYPE_QUERY = 2,
    TYPE_STOP = 3,
    TYPE_ROTATE = 4,
    TYPE_INTVAR = 5,
    TYPE_SLAVE = 7,
    TYPE_RAND = 13,
    TYPE_USER_VAR = 14,
    TYPE_FORMAT_DESCRIPTION = 15,
    TYPE_XID = 16,
    TYPE_INCIDENT = 26,
    TYPE_HEARTBEAT = 27,
    TYPE_IGNORABLE = 28,
    TYPE_ROWS_QUERY = 29,
    TYPE_PREVIOUS_GTIDS = 35,
    TYPE_XA_PREPARE = 38,
    TYPE_TRANSACTION_PAYLOAD = 40,
    TYPE_HEARTBEAT_V2 = 41,
    TYPE_MARIADB_ANNOTATE_ROWS = 160,
    TYPE_MARIADB_CHECKPOINT = 161,
    TYPE_MARIADB_GTID_LIST = 163,
    TYPE_MARIADB_START_ENCRYPTION = 164,
    TYPE_MARIADB_QUERY_COMPRESSED = 165,
};

enum {
    QUERY_POST_HEADER_LEN = 13, /* thread id 4, seconds 4, database length 1, error 2, status variables length 2 */
    FLAG_IGNORABLE = 0x80,
    MARIADB_STANDALONE = 0x01, /* in a GTID event's flags: one event follows, and no commit */
    SEMI_SYNC_MAGIC = 0xef,
    CHECKSUM_LEN = 4,
};

static enum event_class event_classify(const uint8_t *event)
{
    switch (event[4]) {
    case EVENT_TYPE_GTID:
    case EVENT_TYPE_ANONYMOUS_GTID:
    case EVENT_TYPE_GTID_TAGGED:
    case EVENT_TYPE_MARIADB_GTID: return EVENT_GTID;
    case TYPE_QUERY: return EVENT_QUERY;
    case TYPE_MARIADB_QUERY_COMPRESSED: return EVENT_QUERY_COMPRESSED;
    case TYPE_XID:
    case TYPE_XA_PREPARE:
    case TYPE_TRANSACTION_PAYLOAD:
    case TYPE_INCIDENT: return EVENT_END;
    case TYPE_STOP:
    case TYPE_ROTATE:
    case TYPE_SLAVE:
    case TYPE_FORMAT_DESCRIPTION:
    case TYPE_HEARTBEAT:
    case TYPE_HEARTBEAT_V2:
    case TYPE_PREVIOUS_GTIDS:
    case TYPE_IGNORABLE:
    case TYPE_MARIADB_CHECKPOINT:
    case TYPE_MARIADB_GTID_LIST:
    case TYPE_MARIADB_START_ENCRYPTION: return EVENT_NEUTRAL;
    case TYPE_INTVAR:
    case TYPE_RAND:
    case TYPE_USER_VAR:
    case TYPE_ROWS_QUERY:
    case TYPE_MARIADB_ANNOTATE_ROWS: return EVENT_CONTEXT;
    default: return (packet_u16(event + 17) & FLAG_IGNORABLE) != 0 ? EVENT_NEUTRAL : EVENT_BODY;
    }
}

static enum stream_verdict judge_lost(struct tracker *t)
{
    tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
    return STREAM_GO;
}

/* |payload| holds OK byte, semi-sync's two bytes if they are sent, and the event's header: does its length fit the packet's? */
static bool event_fits(const uint8_t *payload, uint32_t payload_len, uint32_t prefix)
{
    if (payload_len == PACKET_PAYLOAD_LEN_MAX) return true; /* continued; nobody knows its length yet */
    return payload_len >= prefix + EVENT_HEADER_LEN && packet_u32(payload + prefix + 9) == payload_len - prefix;
}

/*
 * Are events preceded by semi-sync's magic byte and flag? The first event of a stream tells, by its length: whether a client
 * turned semi-sync on (SET @rpl_semi_sync_...) is in texts that are not looked at.
 */
static bool stream_learn_prefix(struct stream *s, const uint8_t *payload, uint32_t payload_len)
{
    if (payload[1] == SEMI_SYNC_MAGIC && event_fits(payload, payload_len, 3))
        s->prefix = 3;
    else if (event_fits(payload, payload_len, 1))
        s->prefix = 1;
    return s->prefix != 0;
}

/* Bytes of the event (without prefix) that must be there before it is let through. */
static size_t event_head_len(const uint8_t *event, size_t event_len)
{
    size_t want = gtid_event_head_len(event[4]);
    if (want < EVENT_HEADER_LEN) want = EVENT_HEADER_LEN;
    return want < event_len ? want : event_len;
}

static void tell_gtid(struct tracker *t, const struct tracker_gtid *gtid)
{
    if (t->options.hooks.on_gtid != NULL) t->options.hooks.on_gtid(t->options.hooks.arg, gtid);
}

/* An event that begins a transaction goes out. */
static bool stream_begin_transaction(struct tracker *t, enum event_class class, const uint8_t *event, size_t len)
{
    struct stream *s = &t->stream;
    struct tracker_gtid gtid = { .is_anonymous = true };
    if (class != EVENT_GTID) { /* written without GTID events: before 5.7, or the dump began in the middle */
        s->place = STREAM_BEGUN;
    } else {
        if (!gtid_event_parse(event, len, &gtid)) return false;
        s->place = STREAM_BEGUN;
        if (event[4] == EVENT_TYPE_MARIADB_GTID)
            s->place = (event[EVENT_HEADER_LEN + 12] & MARIADB_STANDALONE) != 0 ? STREAM_ALONE : STREAM_INSIDE;
    }
    tell_gtid(t, &gtid);
    return true;
}

/* The event's head is there: block it, or let it go and note what it does. */
static enum stream_verdict judge_event(struct tracker *t, const uint8_t *event, size_t len)
{
    struct stream *s = &t->stream;
    enum event_class class = event_classify(event);
    bool begins = class == EVENT_GTID || (s->place == STREAM_BETWEEN && class != EVENT_NEUTRAL);
    if (begins && s->is_parked) {
        s->is_blocked = true;
        return STREAM_BLOCK;
    }
    if (!s->is_answered && !dump_answered(t)) return judge_lost(t);
    s->is_answered = true;
    if (begins && !stream_begin_transaction(t, class, event, len)) return judge_lost(t);
    s->event = class;
    s->query_at = 0;
    s->query_len = 0;
    return STREAM_GO;
}

enum stream_verdict stream_judge(struct tracker *t, const uint8_t *bytes, size_t len)
{
    struct stream *s = &t->stream;
    s->is_blocked = false;
    if (len < PACKET_HEADER_LEN) return STREAM_MORE;
    uint32_t payload_len = packet_u24(bytes);
    const uint8_t *payload = bytes + PACKET_HEADER_LEN;
    len -= PACKET_HEADER_LEN;
    if (payload_len == 0) return judge_lost(t);
    if (len < 1) return STREAM_MORE;
    if (payload[0] != 0x00) return STREAM_GO; /* EOF or ERR: stream_packet() */

    uint32_t prefix = s->prefix != 0 ? s->prefix : 3;
    if (payload_len < 1 + EVENT_HEADER_LEN) return judge_lost(t);
    size_t head = prefix + EVENT_HEADER_LEN < payload_len ? prefix + EVENT_HEADER_LEN : payload_len;
    if (len < head) return STREAM_MORE;
    if (s->prefix == 0 && !stream_learn_prefix(s, payload, payload_len)) return judge_lost(t);
    if (!event_fits(payload, payload_len, s->prefix)) return judge_lost(t);
    if (s->prefix == 3 && payload[1] != SEMI_SYNC_MAGIC) return judge_lost(t);

    const uint8_t *event = payload + s->prefix;
    size_t want = event_head_len(event, payload_len - s->prefix);
    if (len - s->prefix < want) return STREAM_MORE;
    return judge_event(t, event, want);
}

/* Where the Query's text begins, once the head of the event is there. */
static void query_locate(struct stream *s, const struct frame *f)
{
    size_t at = (size_t)s->prefix + EVENT_HEADER_LEN;
    if (f->lead_len < at + QUERY_POST_HEADER_LEN) return;
    const uint8_t *post = f->lead + at;
    s->query_at = at + QUERY_POST_HEADER_LEN + packet_u16(post + 11) + post[8] + 1;
}

/* Keep the Query's first bytes: of |len| that pass now, the first of which is |offset| of the payload. */
void stream_payload(struct tracker *t, const uint8_t *bytes, size_t len, uint64_t offset)
{
    struct stream *s = &t->stream;
    if (s->event != EVENT_QUERY || s->query_len == QUERY_TEXT_LEN) return;
    if (s->query_at == 0) query_locate(s, &t->frames[TRACKER_SERVER]);
    if (s->query_at == 0) return;
    uint64_t at = s->query_at + s->query_len; /* the next byte that is wanted */
    if (at < offset || at - offset >= len) return;
    size_t skip = (size_t)(at - offset);
    size_t more = (size_t)(QUERY_TEXT_LEN - s->query_len);
    if (more > len - skip) more = len - skip;
    memcpy(s->query + s->query_len, bytes + skip, more);
    s->query_len = (uint8_t)(s->query_len + more);
}

/* Is the Query's text |word|, with or without a checksum behind it? Servers write these words themselves. */
static bool query_is(const struct stream *s, uint64_t payload_len, const char *word)
{
    size_t word_len = strlen(word);
    uint64_t text_len = payload_len - s->query_at;
    if (s->query_at == 0 || s->query_len < word_len) return false;
    if (text_len != word_len && text_len != word_len + CHECKSUM_LEN) return false;
    return strncasecmp((const char *)s->query, word, word_len) == 0;
}

static bool query_begins_with(const struct stream *s, const char *words)
{
    size_t len = strlen(words);
    return s->query_at != 0 && s->query_len >= len && strncasecmp((const char *)s->query, words, len) == 0;
}

static void transaction_end(struct tracker *t)
{
    assert(t->stream.place != STREAM_BETWEEN); /* so that on_whole follows an on_gtid */
    t->stream.place = STREAM_BETWEEN;
    if (t->options.hooks.on_whole != NULL) t->options.hooks.on_whole(t->options.hooks.arg);
}

static void query_end(struct tracker *t, uint64_t payload_len)
{
    struct stream *s = &t->stream;
    bool commits = query_is(s, payload_len, "COMMIT") || query_is(s, payload_len, "ROLLBACK");
    bool begins = query_is(s, payload_len, "BEGIN") || query_begins_with(s, "XA START");
    switch (s->place) {
    case STREAM_BETWEEN: break;
    case STREAM_BEGUN:
        if (begins)
            s->place = STREAM_INSIDE;
        else
            transaction_end(t); /* a statement that commits by itself: the whole transaction */
        break;
    case STREAM_INSIDE:
        if (commits) transaction_end(t);
        break;
    case STREAM_ALONE: transaction_end(t); break;
    }
}

static void event_end(struct tracker *t, uint64_t payload_len)
{
    struct stream *s = &t->stream;
    switch (s->event) {
    case EVENT_NEUTRAL:
    case EVENT_GTID:
    case EVENT_CONTEXT: return;
    case EVENT_QUERY: query_end(t, payload_len); return;
    case EVENT_QUERY_COMPRESSED:
        if (s->place != STREAM_INSIDE) transaction_end(t);
        return;
    case EVENT_END: transaction_end(t); return;
    case EVENT_BODY:
        if (s->place == STREAM_ALONE)
            transaction_end(t);
        else
            s->place = STREAM_INSIDE;
        return;
    }
}

static void stream_end(struct tracker *t)
{
    bool is_parked = t->stream.is_parked;
    t->stream = (struct stream){ .is_parked = is_parked };
    if (t->ask.question == TRACKER_ASKS_DUMP) t->ask.question = TRACKER_ASKS_NOTHING;
    dump_free(&t->dump);
}

void stream_packet(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_SERVER];
    uint8_t first = f->lead_len > 0 ? f->lead[0] : 0xfd;
    t->reply.is_begun = true;
    if (first == 0x00) {
        event_end(t, f->seen);
    } else if (first == 0xff) {
        stream_end(t);
        reply_error(t);
    } else if (packet_is_eof(f)) {
        stream_end(t);
        reply_end(t);
    } else {
        tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
    }
}

bool tracker_stream_is_between_transactions(const struct tracker *t)
{
    return t->phase == TRACKER_STREAM && t->stream.place == STREAM_BETWEEN &&
           frame_is_whole(&t->frames[TRACKER_CLIENT]) && frame_is_whole(&t->frames[TRACKER_SERVER]);
}

void tracker_park(struct tracker *t, bool on)
{
    t->stream.is_parked = on;
    if (!on) t->stream.is_blocked = false;
}

bool tracker_stream_is_parked(const struct tracker *t)
{
    if (t->ask.question == TRACKER_ASKS_DUMP) return t->stream.is_parked; /* the server does not know of it yet */
    return t->stream.is_parked && tracker_stream_is_between_transactions(t);
}

bool tracker_stream_is_blocked(const struct tracker *t)
{
    return t->phase == TRACKER_STREAM && t->stream.is_blocked;
}
