/* SPDX-License-Identifier: Apache-2.0 */
#include "tracker_pair.h"
#include <string.h>
#include "core/packet.h"
#include "fuzz.h"

static void on_request(void *arg, const struct tracker_dump_request *request)
{
    struct line *l = arg;
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < request->set_len; i++)
        sum = (uint8_t)(sum + request->set[i]);
    FUZZ_CHECK(memchr(request->file, '\0', sizeof request->file) != NULL);
    l->requests++;
}

static void on_gtid(void *arg, const struct tracker_gtid *gtid)
{
    struct line *l = arg;
    FUZZ_CHECK(gtid->is_anonymous || gtid->gno > 0);
    FUZZ_CHECK(memchr(gtid->tag, '\0', sizeof gtid->tag) != NULL);
    l->gtids++;
    l->in_part = true;
}

static void on_whole(void *arg)
{
    struct line *l = arg;
    FUZZ_CHECK(l->in_part);
    l->in_part = false;
    l->wholes++;
}

static void line_up(struct line *l, const struct tracker_options *options, size_t room)
{
    struct tracker_options o = *options;
    *l = (struct line){ 0 };
    o.hooks = (struct tracker_hooks){ .arg = l, .on_request = on_request, .on_gtid = on_gtid, .on_whole = on_whole };
    l->tracker = tracker_new(&o);
    FUZZ_CHECK(l->tracker != NULL);
    l->room = room;
    FUZZ_CHECK((l->buffer = malloc(room)) != NULL);
    for (int side = 0; side < 2; side++)
        FUZZ_CHECK((l->waiting[side] = malloc(room)) != NULL);
}

static void line_down(struct line *l)
{
    tracker_del(l->tracker);
    free(l->buffer);
    for (int side = 0; side < 2; side++)
        free(l->waiting[side]);
}

static void check_sane(const struct line *l)
{
    const struct tracker *t = l->tracker;
    enum tracker_phase phase = tracker_phase(t);
    bool can_inject = tracker_can_inject(t, NULL, NULL);
    FUZZ_CHECK(!tracker_is_at_boundary(t) || !tracker_reply_is_owed(t));
    FUZZ_CHECK(!tracker_is_at_boundary(t) || !tracker_is_in_transaction(t) || phase == TRACKER_CLOSED);
    FUZZ_CHECK(!tracker_stream_is_between_transactions(t) || phase == TRACKER_STREAM);
    FUZZ_CHECK(!tracker_stream_is_between_transactions(t) || !l->in_part);
    FUZZ_CHECK((phase == TRACKER_OPAQUE) == (tracker_opaque_reason(t) != TRACKER_OPAQUE_NOT));
    FUZZ_CHECK(phase != TRACKER_OPAQUE || !can_inject);
    FUZZ_CHECK((tracker_thread_id(t) == 0 && tracker_server_version(t)[0] == '\0') || tracker_greeting_is_seen(t));
}

/* One feed. What is fed ends where its buffer ends, so that the sanitizer sees a byte too many. */
static int line_feed(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    memcpy(l->waiting[from] + l->waiting_len[from], bytes, len);
    l->waiting_len[from] += len;
    size_t fed = l->waiting_len[from], forward = 0;
    FUZZ_CHECK(fed <= l->room);
    uint8_t *exact = l->buffer + l->room - fed;
    memcpy(exact, l->waiting[from], fed);
    int rv = tracker_feed(l->tracker, from, exact, fed, &forward);
    FUZZ_CHECK(forward <= fed && (rv == 0 || forward == 0));
    FUZZ_CHECK(rv != 0 || !tracker_greeting_is_seen(l->tracker) ||
               memcmp(exact + forward, l->waiting[from] + forward, fed - forward) == 0);
    if (rv != 0) return rv;
    bool is_tls_due = tracker_tls_is_due(l->tracker);
    FUZZ_CHECK(from == TRACKER_SERVER || forward == fed || is_tls_due);
    FUZZ_CHECK(fed - forward < TRACKER_PEEK_LEN_MAX || tracker_stream_is_blocked(l->tracker) || is_tls_due);
    l->forwarded[from] += forward;
    l->waiting_len[from] = fed - forward;
    memmove(l->waiting[from], l->waiting[from] + forward, fed - forward);
    check_sane(l);
    if (!is_tls_due) return 0;
    tracker_tls_begun(l->tracker);
    return l->waiting_len[from] > 0 ? line_feed(l, from, bytes, 0) : 0;
}

static int line_feed_each(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    int rv = len == 0 ? line_feed(l, from, bytes, 0) : 0;
    for (size_t i = 0; i < len && rv == 0; i++)
        rv = line_feed(l, from, bytes + i, 1);
    return rv;
}

static void check_equal(const struct line *a, const struct line *b)
{
    FUZZ_CHECK(tracker_phase(a->tracker) == tracker_phase(b->tracker));
    FUZZ_CHECK(tracker_is_in_transaction(a->tracker) == tracker_is_in_transaction(b->tracker));
    FUZZ_CHECK(tracker_is_at_boundary(a->tracker) == tracker_is_at_boundary(b->tracker));
    FUZZ_CHECK(tracker_stream_is_between_transactions(a->tracker) ==
               tracker_stream_is_between_transactions(b->tracker));
    FUZZ_CHECK(tracker_stream_is_blocked(a->tracker) == tracker_stream_is_blocked(b->tracker));
    FUZZ_CHECK(strcmp(tracker_user(a->tracker), tracker_user(b->tracker)) == 0);
    FUZZ_CHECK(a->forwarded[0] == b->forwarded[0] && a->forwarded[1] == b->forwarded[1]);
    FUZZ_CHECK(a->gtids == b->gtids && a->wholes == b->wholes && a->requests == b->requests);
}

void pair_up(struct tracker_pair *p, const struct tracker_options *options, size_t size)
{
    *p = (struct tracker_pair){ .goes_on = true };
    for (int i = 0; i < 2; i++)
        line_up(&p->lines[i], options, size + 256);
}

void pair_down(struct tracker_pair *p)
{
    for (int i = 0; i < 2; i++)
        line_down(&p->lines[i]);
}

void pair_feed(struct tracker_pair *p, enum tracker_side from, const void *bytes, size_t len)
{
    if (!p->goes_on) return;
    int first = line_feed(&p->lines[0], from, bytes, len), second = line_feed_each(&p->lines[1], from, bytes, len);
    FUZZ_CHECK(first == second);
    if (first == 0) check_equal(&p->lines[0], &p->lines[1]);
    p->goes_on = first == 0;
}

void pair_greet(struct tracker_pair *p, unsigned client)
{
    uint8_t greeting[] = "\x2c\0\0\0\x0a"
                         "9.7\0\x07\0\0\0"
                         "12345678\0\xff\xff\x2d\2\0\xff\xdf\x15\0\0\0\0\0\0\x1f\0\0\0xxxxxxxx";
    /* Without this flag the last four of the reserved bytes are MariaDB's own flags. */
    if ((client & PAIR_MARIADB) != 0) greeting[22] &= (uint8_t)~PACKET_CLIENT_LONG_PASSWORD;
    pair_feed(p, TRACKER_SERVER, greeting, sizeof greeting - 1);
}

void pair_log_in(struct tracker_pair *p, unsigned client)
{
    static const uint8_t ok[] = "\7\0\0\2\0\0\0\2\0\0\0";
    uint8_t response[] = "\x22\0\0\1\x05\xa2\x7f\0\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x1f\0\0\0u\0";
    uint32_t flags = packet_u32(response + PACKET_HEADER_LEN);
    if ((client & PAIR_DEPRECATE_EOF) != 0) flags |= PACKET_CLIENT_DEPRECATE_EOF;
    if ((client & PAIR_OPTIONAL_METADATA) != 0) flags |= PACKET_CLIENT_OPTIONAL_RESULTSET_METADATA;
    if ((client & PAIR_QUERY_ATTRIBUTES) != 0) flags |= PACKET_CLIENT_QUERY_ATTRIBUTES;
    if ((client & PAIR_SESSION_TRACK) != 0) flags |= PACKET_CLIENT_SESSION_TRACK;
    if ((client & PAIR_MARIADB) != 0) flags &= ~(uint32_t)PACKET_CLIENT_LONG_PASSWORD;
    for (int i = 0; i < 4; i++)
        response[PACKET_HEADER_LEN + i] = (uint8_t)(flags >> 8 * i);
    pair_greet(p, client);
    pair_feed(p, TRACKER_CLIENT, response, sizeof response - 1);
    pair_feed(p, TRACKER_SERVER, ok, sizeof ok - 1);
}

void pair_play(struct tracker_pair *p, const uint8_t *data, size_t size)
{
    for (size_t at = 0; p->goes_on && at < size;) {
        uint8_t control = data[at++];
        size_t len = control >> 2;
        if (len == 63 && size - at >= 2) {
            len = (size_t)(data[at] | data[at + 1] << 8);
            at += 2;
        }
        if (len > size - at) len = size - at;
        if ((control & 2) != 0) {
            p->is_parked = !p->is_parked;
            for (int i = 0; i < 2; i++)
                tracker_park(p->lines[i].tracker, p->is_parked);
        }
        pair_feed(p, (control & 1) != 0 ? TRACKER_SERVER : TRACKER_CLIENT, data + at, len);
        at += len;
    }
}
