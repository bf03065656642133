/* SPDX-License-Identifier: Apache-2.0 */
#include "player.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/mem.h"
#include "core/packet.h"
#include "core/tracker_internal.h" /* for tracker_copy() */

void bytes_add(struct bytes *b, const void *more, size_t len)
{
    if (b->room - b->len < len) {
        while (b->room - b->len < len)
            b->room = b->room == 0 ? 64 : b->room * 2;
        b->at = realloc(b->at, b->room);
        assert(b->at != NULL);
    }
    if (len > 0) memcpy(b->at + b->len, more, len);
    b->len += len;
}

void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){ 0 };
}

static void note_request(void *arg, const struct tracker_dump_request *request)
{
    struct player *p = arg;
    p->request = *request;
    p->request.set = NULL;
    p->request_set_len = request->set_len;
    p->request_set_hash = 14695981039346656037U;
    for (size_t i = 0; i < request->set_len; i++)
        p->request_set_hash = (p->request_set_hash ^ request->set[i]) * 1099511628211U;
    p->request_count++;
}

static void note_gtid(void *arg, const struct tracker_gtid *gtid)
{
    struct player *p = arg;
    char text[128] = "anonymous\n";
    if (!gtid->is_anonymous) {
        char *at = text;
        for (size_t i = 0; i < 16; i++)
            at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", gtid->uuid[i]);
        sprintf(at, ":%s%s%lld\n", gtid->tag, gtid->tag[0] == '\0' ? "" : ":", (long long)gtid->gno);
    }
    if (!p->is_copy) bytes_add(&p->gtids, text, strlen(text));
    p->gtid_count++;
}

static void note_whole(void *arg)
{
    struct player *p = arg;
    p->whole_count++;
    assert(p->whole_count <= p->gtid_count);
}

void player_start(struct player *p, const struct tracker_options *options)
{
    *p = (struct player){ 0 };
    struct tracker_options o = { 0 };
    if (options != NULL) o = *options;
    o.hooks =
        (struct tracker_hooks){ .arg = p, .on_request = note_request, .on_gtid = note_gtid, .on_whole = note_whole };
    p->asks = o.ask_dump || o.ask_kill;
    p->tracker = tracker_new(&o);
    assert(p->tracker != NULL);
}

/* The tracker itself has no such function: nobody but a test goes back in a conversation. */
static struct tracker *tracker_copy(const struct tracker *t, void *hooks_arg)
{
    struct tracker *copy = tracker_new(&t->options);
    assert(copy != NULL);
    *copy = *t;
    copy->options.hooks.arg = hooks_arg;
    if (t->queue.at == t->queue.fixed) {
        copy->queue.at = copy->queue.fixed;
    } else {
        copy->queue.at = mem_alloc(t->queue.room);
        assert(copy->queue.at != NULL);
        memcpy(copy->queue.at, t->queue.at, t->queue.room);
    }
    if (t->dump.bytes != NULL) {
        copy->dump.bytes = mem_alloc(t->dump.room);
        assert(copy->dump.bytes != NULL);
        memcpy(copy->dump.bytes, t->dump.bytes, t->dump.len);
    }
    return copy;
}

void player_copy(struct player *out_copy, const struct player *p)
{
    *out_copy = *p;
    out_copy->is_copy = true;
    out_copy->gtids = (struct bytes){ 0 };
    for (int side = 0; side < 2; side++) {
        out_copy->waiting[side] = (struct bytes){ 0 };
        bytes_add(&out_copy->waiting[side], p->waiting[side].at, p->waiting[side].len);
        out_copy->forwarded[side] = (struct bytes){ .len = p->forwarded[side].len };
    }
    out_copy->tracker = tracker_copy(p->tracker, out_copy);
}

void player_stop(struct player *p)
{
    tracker_del(p->tracker);
    for (int side = 0; side < 2; side++) {
        bytes_free(&p->waiting[side]);
        bytes_free(&p->forwarded[side]);
    }
    bytes_free(&p->gtids);
    *p = (struct player){ 0 };
}

int player_feed(struct player *p, enum tracker_side from, const void *bytes, size_t len)
{
    struct bytes *w = &p->waiting[from];
    size_t forward = 0;
    bytes_add(w, bytes, len);
    p->status = tracker_feed(p->tracker, from, w->at, w->len, &forward);
    assert(forward <= w->len);
    assert(p->status != 0 || forward == w->len || from == TRACKER_SERVER || tracker_tls_is_due(p->tracker) || p->asks);
    bool is_blocked =
        from == TRACKER_CLIENT ? tracker_client_is_blocked(p->tracker) : tracker_stream_is_blocked(p->tracker);
    size_t peek = from == TRACKER_CLIENT && p->asks ? 4 + TRACKER_ASK_LEN_MAX : TRACKER_PEEK_LEN_MAX;
    assert(p->status != 0 || is_blocked || w->len - forward <= peek);
    if (p->is_copy) {
        p->forwarded[from].len += forward;
    } else {
        bytes_add(&p->forwarded[from], w->at, forward);
    }
    w->len -= forward;
    if (w->len > 0) memmove(w->at, w->at + forward, w->len);
    return p->status;
}

static void packet_make(struct bytes *b, uint8_t seq, const uint8_t *payload, size_t len)
{
    uint8_t header[PACKET_HEADER_LEN];
    size_t part = 0;
    do {
        part = len < PACKET_PAYLOAD_LEN_MAX ? len : PACKET_PAYLOAD_LEN_MAX;
        packet_write_header(header, (uint32_t)part, seq++);
        bytes_add(b, header, sizeof header);
        bytes_add(b, payload, part);
        payload += part;
        len -= part;
    } while (part == PACKET_PAYLOAD_LEN_MAX);
}

int player_packet(struct player *p, enum tracker_side from, uint8_t seq, const void *payload, size_t len)
{
    struct bytes b = { 0 };
    packet_make(&b, seq, payload, len);
    int rv = player_feed(p, from, b.at, b.len);
    bytes_free(&b);
    return rv;
}

int player_each_byte(struct player *p, enum tracker_side from, uint8_t seq, const void *payload, size_t len)
{
    struct bytes b = { 0 };
    int rv = 0;
    packet_make(&b, seq, payload, len);
    for (size_t i = 0; i < b.len && rv == 0; i++)
        rv = player_feed(p, from, b.at + i, 1);
    bytes_free(&b);
    return rv;
}

static void add_u32(struct bytes *b, uint32_t n, size_t width)
{
    for (size_t i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(n >> (8 * i));
        bytes_add(b, &byte, 1);
    }
}

struct bytes greeting_make(uint32_t flags, uint32_t mariadb_flags)
{
    struct bytes b = { 0 };
    bytes_add(&b, BYTES("\x0a"
                        "9.7.0-test\0"));
    add_u32(&b, 77, 4);
    bytes_add(&b, BYTES("12345678\0"));
    add_u32(&b, flags & 0xffff, 2);
    add_u32(&b, 45, 1);
    add_u32(&b, PACKET_STATUS_AUTOCOMMIT, 2);
    add_u32(&b, flags >> 16, 2);
    add_u32(&b, 21, 1);
    bytes_add(&b, "\0\0\0\0\0\0", 6);
    add_u32(&b, mariadb_flags, 4);
    bytes_add(&b, BYTES("123456789012\0caching_sha2_password\0"));
    return b;
}

struct bytes response_make(uint32_t flags, uint32_t mariadb_flags, const char *user)
{
    struct bytes b = { 0 };
    add_u32(&b, flags, 4);
    add_u32(&b, 1 << 24, 4);
    add_u32(&b, 45, 1);
    bytes_add(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 19);
    add_u32(&b, mariadb_flags, 4);
    bytes_add(&b, user, strlen(user) + 1);
    bytes_add(&b, BYTES("\0caching_sha2_password\0"));
    return b;
}

void player_log_in(struct player *p, uint32_t server_flags, uint32_t client_flags)
{
    struct bytes greeting = greeting_make(server_flags, 0xff), response = response_make(client_flags, 0xff, "app");
    int rv = player_packet(p, TRACKER_SERVER, 0, greeting.at, greeting.len);
    if (rv == 0) rv = player_packet(p, TRACKER_CLIENT, 1, response.at, response.len);
    if (rv == 0) rv = player_packet(p, TRACKER_SERVER, 2, BYTES("\0\0\0\2\0\0\0"));
    assert(rv == 0 && tracker_phase(p->tracker) == TRACKER_COMMAND);
    bytes_free(&greeting);
    bytes_free(&response);
}

void snapshot_take(const struct player *p, struct snapshot *out_snapshot)
{
    const struct tracker *t = p->tracker;
    struct snapshot s = {
        .phase = tracker_phase(t),
        .opaque = tracker_opaque_reason(t),
        .owed = tracker_reply_is_owed(t),
        .transaction = tracker_is_in_transaction(t),
        .boundary = tracker_is_at_boundary(t),
        .quit = tracker_has_quit(t),
        .stream = tracker_is_stream(t),
        .between = tracker_stream_is_between_transactions(t),
        .parked = tracker_stream_is_parked(t),
        .blocked = tracker_stream_is_blocked(t),
        .greeted = tracker_greeting_is_seen(t),
        .thread_id = tracker_thread_id(t),
        .flags = tracker_status_flags(t),
        .unknown = tracker_unknown_commands(t),
        .forwarded = { p->forwarded[0].len, p->forwarded[1].len },
        .gtid_count = p->gtid_count,
        .whole_count = p->whole_count,
        .request_count = p->request_count,
    };
    snprintf(s.user, sizeof s.user, "%s", tracker_user(t));
    snprintf(s.version, sizeof s.version, "%s", tracker_server_version(t));
    snprintf(s.reader_uuid, sizeof s.reader_uuid, "%s", tracker_reader_uuid(t));
    *out_snapshot = s;
}

const char *snapshot_text(const struct snapshot *s)
{
    static char text[2][512];
    static int turn;
    turn = !turn;
    snprintf(
        text[turn], sizeof text[turn],
        "%s opaque=%d owed=%d transaction=%d boundary=%d quit=%d stream=%d between=%d parked=%d blocked=%d greeted=%d "
        "id=%u flags=%x unknown=%llu forwarded=%zu/%zu gtids=%zu whole=%zu requests=%zu user=%s version=%s reader=%s",
        tracker_phase_name(s->phase), (int)s->opaque, s->owed, s->transaction, s->boundary, s->quit, s->stream,
        s->between, s->parked, s->blocked, s->greeted, s->thread_id, s->flags, (unsigned long long)s->unknown,
        s->forwarded[0], s->forwarded[1], s->gtid_count, s->whole_count, s->request_count, s->user, s->version,
        s->reader_uuid);
    return text[turn];
}

bool snapshot_is_equal(const struct snapshot *a, const struct snapshot *b)
{
    return a->phase == b->phase && a->opaque == b->opaque && a->owed == b->owed && a->transaction == b->transaction &&
           a->boundary == b->boundary && a->quit == b->quit && a->stream == b->stream && a->between == b->between &&
           a->parked == b->parked && a->blocked == b->blocked && a->greeted == b->greeted &&
           a->thread_id == b->thread_id && a->flags == b->flags && a->unknown == b->unknown &&
           a->forwarded[0] == b->forwarded[0] && a->forwarded[1] == b->forwarded[1] && a->gtid_count == b->gtid_count &&
           a->whole_count == b->whole_count && a->request_count == b->request_count && strcmp(a->user, b->user) == 0 &&
           strcmp(a->version, b->version) == 0 && strcmp(a->reader_uuid, b->reader_uuid) == 0;
}
