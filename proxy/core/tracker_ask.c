/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody has to decide before the server gets it: binlog dumps and KILLs. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/kill.h"
#include "core/tracker_internal.h"

/* ---- query attributes: what stands in front of a COM_QUERY's text ---- */

enum { ATTRIBUTES_MAX = 512 };

enum attributes { ATTRIBUTES_OK, ATTRIBUTES_MORE, ATTRIBUTES_BAD };

/* A plain front of a packet; |at| never passes |len|. */
struct reader {
    const uint8_t *p;
    size_t len, at;
    bool is_short;
};

static uint64_t read_lenenc(struct reader *r)
{
    uint64_t value = 0;
    size_t used = 0;
    if (packet_read_lenenc(r->p + r->at, r->len - r->at, &value, &used) != 0) {
        r->is_short = true;
        return 0;
    }
    r->at += used;
    return value;
}

static uint8_t read_byte(struct reader *r)
{
    if (r->at == r->len) {
        r->is_short = true;
        return 0;
    }
    return r->p[r->at++];
}

static void read_over(struct reader *r, uint64_t len)
{
    if (len > r->len - r->at) {
        r->is_short = true;
        len = r->len - r->at;
    }
    r->at += (size_t)len;
}

/* Types of the binary protocol (field_types.h of MySQL): the length of a value, where it does not stand in front of it. */
static void read_value(struct reader *r, uint8_t type)
{
    switch (type) {
    case 6: return; /* NULL */
    case 1: read_over(r, 1); return;
    case 2:
    case 13: read_over(r, 2); return;
    case 3:
    case 4:
    case 9: read_over(r, 4); return;
    case 5:
    case 8: read_over(r, 8); return;
    default: read_over(r, read_lenenc(r)); return;
    }
}

static enum attributes attributes_read(struct reader *r)
{
    uint8_t types[ATTRIBUTES_MAX];
    uint64_t count = read_lenenc(r);
    (void)read_lenenc(r); /* sets of values: 1 */
    if (r->is_short) return ATTRIBUTES_MORE;
    if (count == 0) return ATTRIBUTES_OK;
    if (count > ATTRIBUTES_MAX) return ATTRIBUTES_BAD;
    size_t nulls_at = r->at;
    read_over(r, (count + 7) / 8);
    uint8_t has_types = read_byte(r);
    if (r->is_short) return ATTRIBUTES_MORE;
    if (has_types != 1) return ATTRIBUTES_BAD;
    for (size_t i = 0; i < count && !r->is_short; i++) {
        types[i] = read_byte(r);
        (void)read_byte(r); /* flags */
        read_over(r, read_lenenc(r));
    }
    for (size_t i = 0; i < count && !r->is_short; i++) {
        bool is_null = (r->p[nulls_at + i / 8] >> (i % 8) & 1) != 0;
        if (!is_null) read_value(r, types[i]);
    }
    return r->is_short ? ATTRIBUTES_MORE : ATTRIBUTES_OK;
}

/* ---- KILL ---- */

static bool is_free(const struct tracker *t)
{
    return t->phase == TRACKER_COMMAND && frame_is_whole(&t->frames[TRACKER_SERVER]);
}

static bool is_asked_for(const struct tracker *t)
{
    return t->phase == TRACKER_STREAM && frame_is_whole(&t->frames[TRACKER_SERVER]);
}

/* The packet is left back until no reply is owed: an answer of ours has its place only then. */
static enum ask_verdict ask_kill(struct tracker *t, const struct tracker_kill *kill)
{
    if (!is_free(t)) {
        t->ask.wait = ASK_WAIT_FREE;
        return ASK_BLOCK;
    }
    t->ask.kill = *kill;
    t->ask.question = TRACKER_ASKS_KILL;
    return ASK_BLOCK;
}

/* |bytes| begin with the packet, of which |seen| bytes of payload are there. Of a long one only the front is looked at, however much
 * of it came at once. */
static enum ask_verdict judge_text(struct tracker *t, const uint8_t *bytes, size_t seen, size_t payload_len)
{
    if (seen > TRACKER_ASK_LEN_MAX) seen = TRACKER_ASK_LEN_MAX;
    struct reader r = { .p = bytes + PACKET_HEADER_LEN, .len = seen, .at = 1 };
    struct tracker_kill kill = { .packet_len = PACKET_HEADER_LEN + payload_len };
    struct kill_scan found;
    bool is_whole = seen == payload_len;
    bool is_cut = !is_whole && seen == TRACKER_ASK_LEN_MAX;
    bool is_query = r.p[0] == PACKET_COM_QUERY;
    if (is_query && (t->capabilities & PACKET_CLIENT_QUERY_ATTRIBUTES) != 0) {
        enum attributes attributes = attributes_read(&r);
        if (attributes == ATTRIBUTES_MORE) return is_whole || is_cut ? ASK_GO : ASK_MORE;
        if (attributes == ATTRIBUTES_BAD) return ASK_GO;
    }
    switch (kill_scan(r.p + r.at, seen - r.at, is_whole, &found)) {
    case KILL_SCAN_NONE: return ASK_GO;
    case KILL_SCAN_MORE: return is_cut ? ASK_GO : ASK_MORE;
    case KILL_SCAN_BEGUN:
        if (!is_cut) return ASK_MORE;
        kill.packet_len = 0;
        kill.form = TRACKER_KILL_UNREADABLE;
        return ask_kill(t, &kill);
    case KILL_SCAN_UNREADABLE: kill.form = is_query ? TRACKER_KILL_UNREADABLE : TRACKER_KILL_PREPARED; break;
    case KILL_SCAN_FOUND:
        kill.form = is_query ? TRACKER_KILL_QUERY : TRACKER_KILL_PREPARED;
        kill.thread_id = found.thread_id;
        kill.id_at = PACKET_HEADER_LEN + r.at + found.at;
        kill.id_len = found.len;
        break;
    }
    return ask_kill(t, &kill);
}

static enum ask_verdict judge_process_kill(struct tracker *t, const uint8_t *bytes, size_t seen, size_t payload_len)
{
    if (payload_len != 5) return ASK_GO; /* the server calls it malformed */
    if (seen < payload_len) return ASK_MORE;
    const struct tracker_kill kill = { .form = TRACKER_KILL_COMMAND,
                                       .thread_id = packet_u32(bytes + PACKET_HEADER_LEN + 1),
                                       .packet_len = PACKET_HEADER_LEN + payload_len,
                                       .id_at = PACKET_HEADER_LEN + 1,
                                       .id_len = 4 };
    return ask_kill(t, &kill);
}

/* A packet of the client begins here, and may be a command. */
static enum ask_verdict judge_command(struct tracker *t, const uint8_t *bytes, size_t len)
{
    if (len < PACKET_HEADER_LEN) return ASK_MORE;
    size_t payload_len = packet_u24(bytes);
    if (payload_len == 0 || bytes[3] != 0) return ASK_GO; /* a command has sequence number 0 */
    if (len == PACKET_HEADER_LEN) return ASK_MORE;
    size_t seen = len - PACKET_HEADER_LEN < payload_len ? len - PACKET_HEADER_LEN : payload_len;
    switch (bytes[PACKET_HEADER_LEN]) {
    case PACKET_COM_QUERY:
    case PACKET_COM_STMT_PREPARE: return t->options.ask_kill ? judge_text(t, bytes, seen, payload_len) : ASK_GO;
    case PACKET_COM_PROCESS_KILL: return t->options.ask_kill ? judge_process_kill(t, bytes, seen, payload_len) : ASK_GO;
    case PACKET_COM_BINLOG_DUMP:
    case PACKET_COM_BINLOG_DUMP_GTID:
        if (!t->options.ask_dump || !t->dump.is_asked) return ASK_GO;
        t->ask.wait = ASK_WAIT_STREAM_ENDED;
        return ASK_BLOCK;
    default: return ASK_GO;
    }
}

/* ---- dumps ---- */

bool ask_is_dump(uint8_t command)
{
    return command == PACKET_COM_BINLOG_DUMP || command == PACKET_COM_BINLOG_DUMP_GTID;
}

/* All of the request but its last byte has passed; a server does nothing before that. */
static enum ask_verdict ask_dump(struct tracker *t, const uint8_t *last)
{
    struct dump *d = &t->dump;
    if (last != NULL && !d->has_last) {
        if (dump_payload(t, last, 1) != 0) d->is_lost = true;
        d->has_last = true;
    }
    if (!is_asked_for(t)) {
        t->ask.wait = ASK_WAIT_STREAM;
        return ASK_BLOCK;
    }
    t->ask.question = TRACKER_ASKS_DUMP;
    return ASK_BLOCK;
}

/* A dump request passes: how many of |len| bytes may go now, so that the last byte of it does not? */
static enum ask_verdict judge_dump(struct tracker *t, const uint8_t *bytes, size_t len, size_t *out_room)
{
    const struct frame *f = &t->frames[TRACKER_CLIENT];
    if (f->header_len < PACKET_HEADER_LEN) { /* of a continuation, which may be empty */
        if (f->header_len == 3 && packet_u24(f->header) == 0) return ask_dump(t, NULL);
        size_t more = f->header_len < 3 ? (size_t)(3 - f->header_len) : 1;
        *out_room = len < more ? len : more;
        return ASK_GO;
    }
    size_t more = f->len == PACKET_PAYLOAD_LEN_MAX ? f->left : f->left - 1U;
    if (more == 0) return ask_dump(t, bytes);
    *out_room = len < more ? len : more;
    return ASK_GO;
}

enum ask_verdict ask_judge(struct tracker *t, const uint8_t *bytes, size_t len, size_t *out_room)
{
    const struct frame *f = &t->frames[TRACKER_CLIENT];
    t->ask.wait = ASK_WAIT_NOTHING;
    *out_room = len;
    if (!t->options.ask_dump && !t->options.ask_kill) return ASK_GO;
    if (t->ask.question != TRACKER_ASKS_NOTHING) return ASK_BLOCK;
    if (t->dump.is_asking) return judge_dump(t, bytes, len, out_room);
    if (t->phase != TRACKER_COMMAND && t->phase != TRACKER_REPLY && t->phase != TRACKER_STREAM) return ASK_GO;
    if (t->is_infile) return ASK_GO;
    if (frame_is_whole(f)) {
        if (!t->ask.is_allowed) return judge_command(t, bytes, len);
        t->ask.is_allowed = false;
    } else if (t->options.ask_dump && f->header_len == PACKET_HEADER_LEN && f->role == ROLE_COMMAND && f->seen == 0 &&
               f->left > 1 && ask_is_dump(bytes[0])) {
        *out_room = 1; /* the command alone; what follows is weighed then */
    }
    return ASK_GO;
}

/* ---- for the caller ---- */

enum tracker_question tracker_question(const struct tracker *t)
{
    return t->ask.question;
}

bool tracker_client_is_blocked(const struct tracker *t)
{
    if (t->ask.question != TRACKER_ASKS_NOTHING) return true;
    if (t->phase == TRACKER_OPAQUE || t->phase == TRACKER_CLOSED) return false;
    switch (t->ask.wait) {
    case ASK_WAIT_NOTHING: return false;
    case ASK_WAIT_FREE: return !is_free(t);
    case ASK_WAIT_STREAM: return !is_asked_for(t);
    case ASK_WAIT_STREAM_ENDED: return t->dump.is_asked;
    }
    return false;
}

bool tracker_dump_request(const struct tracker *t, struct tracker_dump_request *out_request)
{
    assert(t->ask.question == TRACKER_ASKS_DUMP);
    return dump_parse(&t->dump, out_request);
}

const struct tracker_kill *tracker_kill(const struct tracker *t)
{
    assert(t->ask.question == TRACKER_ASKS_KILL);
    return &t->ask.kill;
}

size_t tracker_kill_rewrite(const struct tracker *t, const uint8_t *packet, uint64_t thread_id,
                            uint8_t out[TRACKER_KILL_LEN_MAX])
{
    const struct tracker_kill *k = tracker_kill(t);
    char digits[24];
    assert(k->form == TRACKER_KILL_QUERY || k->form == TRACKER_KILL_COMMAND);
    if (k->form == TRACKER_KILL_COMMAND) {
        memcpy(out, packet, k->packet_len);
        for (size_t i = 0; i < 4; i++)
            out[k->id_at + i] = (uint8_t)(thread_id >> (8 * i));
        return k->packet_len;
    }
    size_t digits_len = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)thread_id);
    size_t behind = k->id_at + k->id_len;
    size_t len = k->packet_len - k->id_len + digits_len;
    assert(len <= TRACKER_KILL_LEN_MAX);
    memcpy(out, packet, k->id_at);
    memcpy(out + k->id_at, digits, digits_len);
    memcpy(out + k->id_at + digits_len, packet + behind, k->packet_len - behind);
    packet_write_header(out, (uint32_t)(len - PACKET_HEADER_LEN), packet[3]);
    return len;
}

void tracker_allow(struct tracker *t)
{
    assert(t->ask.question != TRACKER_ASKS_NOTHING);
    if (t->ask.question == TRACKER_ASKS_KILL)
        t->ask.is_allowed = true;
    else
        t->dump.is_asking = false;
    t->ask.question = TRACKER_ASKS_NOTHING;
}

void tracker_kill_drop(struct tracker *t)
{
    assert(t->ask.question == TRACKER_ASKS_KILL);
    t->ask.question = TRACKER_ASKS_NOTHING;
}
