/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_tracker.c - conversations. Byte 0: options, and how far the session is before the rest is fed. Then pieces: a byte whose
 * bit 0 is the side, bit 1 parks or unparks, the upper six a length (63: two more bytes of length), and so many bytes.
 */
#include <stdbool.h>
#include <string.h>
#include "core/tracker.h"
#include "fuzz.h"

enum {
    KEEP_TLS = 1,
    KEEP_COMPRESSION = 2,
    START_MASK = 0x0c,
    START_SHIFT = 2,
    WITH_DUMP = 0x10,
    CLIENT_EOF = 0x20,
    END_TLS = 0x40, /* a request for TLS is met at once: what follows is what TLS carries */
    REQUIRE_TLS = 0x80
};

/* A tracker and what it left back. Two of them see the same bytes: one as the pieces are, the other one at a time. */
struct line {
    struct tracker *tracker;
    uint8_t *waiting[2];
    size_t waiting_len[2], forwarded[2];
    size_t gtids, wholes, requests;
    bool in_part;
};

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

static void line_up(struct line *l, uint8_t options, size_t room)
{
    *l = (struct line){ 0 };
    struct tracker_options o = {
        .tls = (options & END_TLS) != 0    ? TRACKER_TLS_STOP
               : (options & KEEP_TLS) != 0 ? TRACKER_TLS_PASS
                                           : TRACKER_TLS_STRIP,
        .require_tls = (options & REQUIRE_TLS) != 0,
        .keep_compression = (options & KEEP_COMPRESSION) != 0,
        .hooks = { .arg = l, .on_request = on_request, .on_gtid = on_gtid, .on_whole = on_whole },
    };
    l->tracker = tracker_new(&o);
    for (int side = 0; side < 2; side++)
        FUZZ_CHECK((l->waiting[side] = malloc(room + 256)) != NULL);
    FUZZ_CHECK(l->tracker != NULL);
}

static void line_down(struct line *l)
{
    tracker_del(l->tracker);
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

/* One feed, in a buffer of its exact size. */
static int line_feed(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    memcpy(l->waiting[from] + l->waiting_len[from], bytes, len);
    l->waiting_len[from] += len;
    size_t fed = l->waiting_len[from], forward = 0;
    uint8_t *exact = malloc(fed == 0 ? 1 : fed);
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, l->waiting[from], fed);
    int rv = tracker_feed(l->tracker, from, exact, fed, &forward);
    FUZZ_CHECK(forward <= fed && (rv == 0 || forward == 0));
    FUZZ_CHECK(!tracker_greeting_is_seen(l->tracker) ||
               memcmp(exact + forward, l->waiting[from] + forward, fed - forward) == 0);
    free(exact);
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

static bool both_feed(struct line lines[2], enum tracker_side from, const void *bytes, size_t len)
{
    int first = line_feed(&lines[0], from, bytes, len), second = line_feed_each(&lines[1], from, bytes, len);
    FUZZ_CHECK(first == second);
    if (first == 0) check_equal(&lines[0], &lines[1]);
    return first == 0;
}

/* What every conversation begins with, so that the fuzzer does not have to find it out. */
static bool both_start(struct line lines[2], uint8_t options)
{
    static const uint8_t greeting[] = "\x2c\0\0\0\x0a"
                                      "9.7\0\x07\0\0\0"
                                      "12345678\0\xff\xff\x2d\2\0\xff\xdf\x15\0\0\0\0\0\0\x1f\0\0\0xxxxxxxx";
    static const uint8_t response[] =
        "\x22\0\0\1\x05\xa2\xff\0\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0u\0";
    static const uint8_t ok[] = "\7\0\0\2\0\0\0\2\0\0\0";
    static const uint8_t dump[] = "\x0b\0\0\0\x12\4\0\0\0\0\0\7\0\0\0";
    int start = (options & START_MASK) >> START_SHIFT;
    uint8_t answer[sizeof response];
    memcpy(answer, response, sizeof response);
    answer[5 + 2] = (options & CLIENT_EOF) != 0 ? 0x02 : 0x03; /* without and with CLIENT_DEPRECATE_EOF */
    if (start >= 1 && !both_feed(lines, TRACKER_SERVER, greeting, sizeof greeting - 1)) return false;
    if (start >= 2 && !both_feed(lines, TRACKER_CLIENT, answer, sizeof answer - 1)) return false;
    if (start >= 3 && !both_feed(lines, TRACKER_SERVER, ok, sizeof ok - 1)) return false;
    return start < 3 || (options & WITH_DUMP) == 0 || both_feed(lines, TRACKER_CLIENT, dump, sizeof dump - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line lines[2];
    bool is_parked = false;
    if (size == 0) return 0;
    uint8_t options = data[0];
    for (int i = 0; i < 2; i++)
        line_up(&lines[i], options, size + 256);
    bool goes_on = both_start(lines, options);
    for (size_t at = 1; goes_on && at < size;) {
        uint8_t control = data[at++];
        size_t len = control >> 2;
        if (len == 63 && size - at >= 2) {
            len = (size_t)(data[at] | data[at + 1] << 8);
            at += 2;
        }
        if (len > size - at) len = size - at;
        if ((control & 2) != 0) {
            is_parked = !is_parked;
            for (int i = 0; i < 2; i++)
                tracker_park(lines[i].tracker, is_parked);
        }
        goes_on = both_feed(lines, (control & 1) != 0 ? TRACKER_SERVER : TRACKER_CLIENT, data + at, len);
        at += len;
    }
    for (int i = 0; i < 2; i++)
        line_down(&lines[i]);
    return 0;
}
