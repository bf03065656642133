/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ask.c - a session that is logged in, and whose dumps and KILLs wait for decisions. Byte 0 bit 0: with query attributes. Then
 * pieces: a byte whose bit 0 is the side, the upper seven bits a length, and so many bytes. Two trackers see the same, one as the
 * pieces are and the other byte by byte: both must ask the same and let the same pass.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "core/packet.h"
#include "core/tracker.h"
#include "fuzz.h"

struct line {
    struct tracker *tracker;
    uint8_t *waiting[2];
    size_t waiting_len[2], forwarded[2];
    size_t dumps, kills;
    uint64_t sum; /* of what was asked */
};

static int line_feed_once(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    size_t forward = 0;
    if (len > 0) memcpy(l->waiting[from] + l->waiting_len[from], bytes, len);
    l->waiting_len[from] += len;
    size_t fed = l->waiting_len[from];
    uint8_t *exact = malloc(fed == 0 ? 1 : fed);
    FUZZ_CHECK(exact != NULL);
    memcpy(exact, l->waiting[from], fed);
    int rv = tracker_feed(l->tracker, from, exact, fed, &forward);
    FUZZ_CHECK(forward <= fed && (rv == 0 || forward == 0));
    free(exact);
    if (rv != 0) return rv;
    bool is_blocked =
        from == TRACKER_CLIENT ? tracker_client_is_blocked(l->tracker) : tracker_stream_is_blocked(l->tracker);
    FUZZ_CHECK(fed - forward < PACKET_HEADER_LEN + TRACKER_ASK_LEN_MAX + 1 || is_blocked);
    l->forwarded[from] += forward;
    l->waiting_len[from] = fed - forward;
    memmove(l->waiting[from], l->waiting[from] + forward, fed - forward);
    return 0;
}

/* By what is asked alone, so that both lines decide the same. False: the session ends. */
static bool decide(struct line *l)
{
    static uint8_t out[TRACKER_KILL_LEN_MAX];
    struct tracker *t = l->tracker;
    struct tracker_dump_request request;
    if (tracker_question(t) == TRACKER_ASKS_DUMP) {
        l->dumps++;
        if (tracker_dump_request(t, &request)) l->sum += request.set_len + request.server_id;
        tracker_allow(t);
        return true;
    }
    FUZZ_CHECK(tracker_can_inject(t, NULL, NULL));
    const struct tracker_kill *kill = tracker_kill(t);
    size_t len = kill->packet_len, *waiting = &l->waiting_len[TRACKER_CLIENT];
    l->kills++;
    l->sum += kill->thread_id * 7 + (uint64_t)kill->form;
    if (len == 0) return false;
    FUZZ_CHECK(len <= *waiting);
    bool is_read = kill->form == TRACKER_KILL_QUERY || kill->form == TRACKER_KILL_COMMAND;
    if (is_read) {
        size_t new_len = tracker_kill_rewrite(t, l->waiting[TRACKER_CLIENT], UINT64_MAX, out);
        FUZZ_CHECK(new_len <= TRACKER_KILL_LEN_MAX && packet_u24(out) + PACKET_HEADER_LEN == new_len);
    }
    if (is_read && kill->thread_id % 2 == 1) {
        tracker_allow(t);
        return true;
    }
    memmove(l->waiting[TRACKER_CLIENT], l->waiting[TRACKER_CLIENT] + len, *waiting - len);
    *waiting -= len;
    tracker_kill_drop(t);
    return true;
}

/* Feed, and let the client go on as far as decisions and replies allow. */
static int line_feed(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    int rv = line_feed_once(l, from, bytes, len);
    while (rv == 0 && l->waiting_len[TRACKER_CLIENT] > 0) {
        size_t before = l->waiting_len[TRACKER_CLIENT];
        bool asks = tracker_question(l->tracker) != TRACKER_ASKS_NOTHING;
        if (asks && !decide(l)) return 1;
        if (!asks && tracker_client_is_blocked(l->tracker)) break;
        rv = line_feed_once(l, TRACKER_CLIENT, NULL, 0);
        if (!asks && l->waiting_len[TRACKER_CLIENT] == before && tracker_question(l->tracker) == TRACKER_ASKS_NOTHING)
            break;
    }
    return rv;
}

static int line_feed_each(struct line *l, enum tracker_side from, const uint8_t *bytes, size_t len)
{
    int rv = len == 0 ? line_feed(l, from, bytes, 0) : 0;
    for (size_t i = 0; i < len && rv == 0; i++)
        rv = line_feed(l, from, bytes + i, 1);
    return rv;
}

static bool both_feed(struct line lines[2], enum tracker_side from, const void *bytes, size_t len)
{
    /* A client that waits goes on as soon as the server's bytes allow it: then the split matters, and both get it byte by byte. */
    bool is_waiting = from == TRACKER_SERVER && lines[0].waiting_len[TRACKER_CLIENT] > 0;
    int first = is_waiting ? line_feed_each(&lines[0], from, bytes, len) : line_feed(&lines[0], from, bytes, len);
    int second = line_feed_each(&lines[1], from, bytes, len);
    const struct line *a = &lines[0], *b = &lines[1];
    FUZZ_CHECK((first == 0) == (second == 0));
    if (first != 0) return false;
    FUZZ_CHECK(tracker_phase(a->tracker) == tracker_phase(b->tracker));
    FUZZ_CHECK(tracker_question(a->tracker) == tracker_question(b->tracker));
    FUZZ_CHECK(strcmp(tracker_reader_uuid(a->tracker), tracker_reader_uuid(b->tracker)) == 0);
    FUZZ_CHECK(a->forwarded[0] == b->forwarded[0] && a->forwarded[1] == b->forwarded[1]);
    FUZZ_CHECK(a->dumps == b->dumps && a->kills == b->kills && a->sum == b->sum);
    return true;
}

static bool both_log_in(struct line lines[2], bool has_attributes)
{
    static const uint8_t greeting[] = "\x2c\0\0\0\x0a"
                                      "9.7\0\x07\0\0\0"
                                      "12345678\0\xff\xff\x2d\2\0\xff\xdf\x15\0\0\0\0\0\0\x1f\0\0\0xxxxxxxx";
    uint8_t response[] = "\x22\0\0\1\x05\xa2\xff\1\0\0\0\1\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0u\0";
    static const uint8_t ok[] = "\7\0\0\2\0\0\0\2\0\0\0";
    response[4 + 3] = has_attributes ? 0x09 : 0x01; /* the upper byte of the flags, CLIENT_DEPRECATE_EOF among them */
    return both_feed(lines, TRACKER_SERVER, greeting, sizeof greeting - 1) &&
           both_feed(lines, TRACKER_CLIENT, response, sizeof response - 1) &&
           both_feed(lines, TRACKER_SERVER, ok, sizeof ok - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tracker_options options = { .ask_dump = true, .ask_kill = true };
    struct line lines[2] = { 0 };
    if (size == 0) return 0;
    for (int i = 0; i < 2; i++) {
        lines[i].tracker = tracker_new(&options);
        FUZZ_CHECK(lines[i].tracker != NULL);
        for (int side = 0; side < 2; side++)
            FUZZ_CHECK((lines[i].waiting[side] = malloc(size + 256)) != NULL);
    }
    bool goes_on = both_log_in(lines, (data[0] & 1) != 0);
    for (size_t at = 1; goes_on && at < size;) {
        uint8_t control = data[at++];
        size_t len = control >> 1;
        if (len > size - at) len = size - at;
        goes_on = both_feed(lines, (control & 1) != 0 ? TRACKER_SERVER : TRACKER_CLIENT, data + at, len);
        at += len;
    }
    for (int i = 0; i < 2; i++) {
        tracker_del(lines[i].tracker);
        for (int side = 0; side < 2; side++)
            free(lines[i].waiting[side]);
    }
    return 0;
}
