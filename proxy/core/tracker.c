/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tracker.h"
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/tracker_internal.h"

bool frame_is_whole(const struct frame *f)
{
    return f->header_len == 0 && !f->is_continued;
}

struct tracker *tracker_new(const struct tracker_options *options)
{
    struct tracker *t = mem_calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    if (options != NULL) t->options = *options;
    t->queue.at = t->queue.fixed;
    t->queue.room = QUEUE_LEN_INLINE;
    return t;
}

void tracker_del(struct tracker *t)
{
    if (t == NULL) return;
    queue_free(&t->queue);
    dump_free(&t->dump);
    mem_free(t);
}

void tracker_become_opaque(struct tracker *t, enum tracker_opaque reason)
{
    assert(reason != TRACKER_OPAQUE_NOT);
    t->phase = TRACKER_OPAQUE;
    t->opaque = reason;
    t->stream.is_blocked = false;
}

void tracker_settle(struct tracker *t)
{
    if (t->phase != TRACKER_COMMAND && t->phase != TRACKER_REPLY && t->phase != TRACKER_STREAM) return;
    if (t->queue.len == 0 && !t->is_infile)
        t->phase = t->has_quit ? TRACKER_CLOSED : TRACKER_COMMAND;
    else if (t->queue.len > 0 && command_reply_kind(queue_front(&t->queue)) == REPLY_STREAM)
        t->phase = TRACKER_STREAM;
    else
        t->phase = TRACKER_REPLY;
}

/* A logical packet of the client begins. Commands have sequence number 0, what belongs to a login has not. */
static int client_header(struct tracker *t, struct frame *f)
{
    bool is_first = f->seq == 0;
    if (t->phase == TRACKER_GREETING) return SLUICE_ERR_PROTOCOL;
    if (t->phase == TRACKER_AUTH && !t->is_handshaken) {
        uint8_t seq = t->is_tls ? 2 : 1; /* the request for TLS was a packet of its own */
        if (f->seq != seq || f->len < 4 || f->len > HANDSHAKE_LEN_MAX) return SLUICE_ERR_PROTOCOL;
        f->role = ROLE_HANDSHAKE;
        f->lead_want = LEAD_LEN_MAX;
    } else if (t->is_infile) {
        f->role = ROLE_INFILE;
    } else if (!is_first && (t->phase == TRACKER_AUTH ||
                             (t->queue.len > 0 && command_reply_kind(queue_front(&t->queue)) == REPLY_AUTH))) {
        f->role = ROLE_AUTH_DATA;
    } else {
        if (!is_first) return SLUICE_ERR_PROTOCOL;
        f->role = ROLE_COMMAND;
        f->lead_want = 1; /* a command's text, which may hold a password, is not kept; but see command_look() */
    }
    return 0;
}

static int server_header(struct tracker *t, struct frame *f)
{
    f->lead_want = LEAD_LEN_REPLY;
    if (t->phase == TRACKER_GREETING) {
        if (f->seq != 0 || f->len == 0 || f->len > GREETING_LEN_MAX) return SLUICE_ERR_PROTOCOL;
        f->lead_want = LEAD_LEN_MAX;
    }
    return 0;
}

/* The first byte of a command came: what it is. */
static int client_first_byte(struct tracker *t, struct frame *f, uint8_t command)
{
    if (t->phase == TRACKER_STREAM && command == PACKET_COM_SEMI_SYNC_ACK) {
        f->role = ROLE_ACK;
        return 0;
    }
    if (command == PACKET_COM_CHANGE_USER) f->lead_want = LEAD_LEN_MAX;
    if (command == PACKET_COM_QUERY) f->lead_want = LEAD_LEN_QUERY;
    return command_begin(t, command);
}

static int client_payload(struct tracker *t, struct frame *f, const uint8_t *bytes, size_t len)
{
    if (f->role != ROLE_COMMAND) return 0;
    if (f->seen == 0) {
        int rv = client_first_byte(t, f, bytes[0]);
        if (rv != 0) return rv;
    }
    bool is_kept = f->role == ROLE_COMMAND && t->dump.is_kept && !t->dump.has_last;
    return is_kept ? dump_payload(t, bytes, len) : 0;
}

static void frame_keep_lead(struct frame *f, const uint8_t *bytes, size_t len)
{
    if (f->lead_len >= f->lead_want) return;
    size_t more = (size_t)(f->lead_want - f->lead_len);
    if (more > len) more = len;
    memcpy(f->lead + f->lead_len, bytes, more);
    f->lead_len = (uint16_t)(f->lead_len + more);
}

static int client_packet(struct tracker *t, struct frame *f)
{
    switch (f->role) {
    case ROLE_HANDSHAKE: return handshake_end(t);
    case ROLE_COMMAND: {
        /* Servers take an empty packet for COM_SLEEP, and answer it. */
        int rv = f->seen == 0 ? command_begin(t, PACKET_COM_SLEEP) : 0;
        if (rv == 0) command_end(t);
        return rv;
    }
    case ROLE_INFILE:
        if (f->seen == 0) t->is_infile = false; /* an empty packet ends the file */
        tracker_settle(t);
        return 0;
    case ROLE_AUTH_DATA:
    case ROLE_ACK: return 0;
    }
    return 0;
}

static int server_packet(struct tracker *t)
{
    switch (t->phase) {
    case TRACKER_GREETING: return greeting_end(t);
    case TRACKER_AUTH: return auth_packet(t);
    case TRACKER_COMMAND: unasked_packet(t); return 0;
    case TRACKER_REPLY: reply_packet(t); return 0;
    case TRACKER_STREAM: stream_packet(t); return 0;
    case TRACKER_OPAQUE:
    case TRACKER_CLOSED: return 0;
    }
    return 0;
}

static int feed_packet_end(struct tracker *t, enum tracker_side from, struct frame *f)
{
    assert(f->left == 0 && f->header_len == PACKET_HEADER_LEN);
    f->header_len = 0;
    f->is_continued = f->len == PACKET_PAYLOAD_LEN_MAX;
    if (f->is_continued) return 0;
    int rv = from == TRACKER_CLIENT ? client_packet(t, f) : server_packet(t);
    memset(f->lead, 0, f->lead_len); /* user names and the front of scrambles are not kept longer than needed */
    f->lead_len = 0;
    return rv;
}

static int feed_header(struct tracker *t, enum tracker_side from, struct frame *f)
{
    f->len = packet_u24(f->header);
    f->left = f->len;
    f->seq = f->header[3];
    if (!f->is_continued) {
        f->first_len = f->len;
        f->seen = 0;
        f->lead_len = 0;
        f->lead_want = 0;
        int rv = from == TRACKER_CLIENT ? client_header(t, f) : server_header(t, f);
        if (rv != 0) return rv;
    }
    t->last_seq = f->seq;
    return f->left == 0 ? feed_packet_end(t, from, f) : 0;
}

static int feed_payload(struct tracker *t, enum tracker_side from, struct frame *f, uint8_t *bytes, size_t len)
{
    int rv = 0;
    assert(len > 0 && len <= f->left);
    if (from == TRACKER_CLIENT) rv = client_payload(t, f, bytes, len);
    if (rv != 0) return rv;
    frame_keep_lead(f, bytes, len);
    if (from == TRACKER_CLIENT && f->role == ROLE_COMMAND) command_look(t, f);
    if (from == TRACKER_SERVER && t->phase == TRACKER_GREETING) greeting_edit(t, bytes, len, f->seen);
    if (from == TRACKER_SERVER && t->phase == TRACKER_STREAM) stream_payload(t, bytes, len, f->seen);
    f->seen += len;
    f->left -= (uint32_t)len;
    return f->left == 0 ? feed_packet_end(t, from, f) : 0;
}

/* One step: the rest of a header, or of a payload, as far as the bytes go. */
static int feed_step(struct tracker *t, enum tracker_side from, uint8_t *bytes, size_t len, size_t *out_used)
{
    struct frame *f = &t->frames[from];
    if (f->header_len == PACKET_HEADER_LEN) {
        *out_used = len < f->left ? len : f->left;
        return feed_payload(t, from, f, bytes, *out_used);
    }
    size_t more = (size_t)(PACKET_HEADER_LEN - f->header_len);
    *out_used = len < more ? len : more;
    memcpy(f->header + f->header_len, bytes, *out_used);
    f->header_len = (uint8_t)(f->header_len + *out_used);
    return f->header_len == PACKET_HEADER_LEN ? feed_header(t, from, f) : 0;
}

int tracker_feed(struct tracker *t, enum tracker_side from, uint8_t *bytes, size_t len, size_t *out_forward)
{
    assert(from == TRACKER_CLIENT || from == TRACKER_SERVER);
    size_t at = 0;
    bool was_whole = frame_is_whole(&t->frames[from]);
    *out_forward = 0;
    while (t->status == 0 && at < len && !t->is_tls_due) {
        size_t room = len - at;
        if (from == TRACKER_SERVER && t->phase == TRACKER_STREAM && frame_is_whole(&t->frames[from]) &&
            stream_judge(t, bytes + at, len - at) != STREAM_GO)
            break;
        if (t->phase == TRACKER_OPAQUE || t->phase == TRACKER_CLOSED) {
            if (from == TRACKER_CLIENT && t->dump.is_asking)
                t->status = SLUICE_ERR_PROTOCOL; /* nobody can be asked any more, and it must not pass unasked */
            else
                at = len;
            break;
        }
        if (from == TRACKER_CLIENT && ask_judge(t, bytes + at, room, &room) != ASK_GO) break;
        size_t used = 0;
        t->status = feed_step(t, from, bytes + at, room, &used);
        assert(used > 0);
        at += used;
    }
    if (t->status != 0) {
        /* Nothing of this call goes out, so that what the other side has got is as whole as it was. */
        if (was_whole) t->frames[from].header_len = 0;
        return t->status;
    }
    *out_forward = at;
    assert(at <= len);
    return 0;
}

enum tracker_phase tracker_phase(const struct tracker *t)
{
    return t->phase;
}

const char *tracker_phase_name(enum tracker_phase phase)
{
    switch (phase) {
    case TRACKER_GREETING: return "greeting";
    case TRACKER_AUTH: return "auth";
    case TRACKER_COMMAND: return "command";
    case TRACKER_REPLY: return "reply";
    case TRACKER_STREAM: return "stream";
    case TRACKER_OPAQUE: return "opaque";
    case TRACKER_CLOSED: return "closed";
    }
    return "?";
}

enum tracker_opaque tracker_opaque_reason(const struct tracker *t)
{
    return t->opaque;
}

const char *tracker_opaque_text(enum tracker_opaque reason)
{
    switch (reason) {
    case TRACKER_OPAQUE_NOT: return "";
    case TRACKER_OPAQUE_TLS: return "TLS passes through";
    case TRACKER_OPAQUE_COMPRESSION: return "the protocol is compressed";
    case TRACKER_OPAQUE_COMMAND: return "a command that is not known was sent";
    case TRACKER_OPAQUE_OLD_CLIENT: return "the client is older than protocol 4.1";
    case TRACKER_OPAQUE_LOST: return "the server's answer was not understood";
    }
    return "?";
}

bool tracker_reply_is_owed(const struct tracker *t)
{
    return t->phase != TRACKER_COMMAND && t->phase != TRACKER_CLOSED;
}

bool tracker_is_in_transaction(const struct tracker *t)
{
    if (t->phase == TRACKER_OPAQUE) return false;
    return t->is_unsure || (t->server_status & (PACKET_STATUS_IN_TRANS | PACKET_STATUS_IN_TRANS_READONLY)) != 0;
}

bool tracker_is_at_boundary(const struct tracker *t)
{
    if (t->phase == TRACKER_CLOSED) return true;
    return t->phase == TRACKER_COMMAND && frame_is_whole(&t->frames[TRACKER_CLIENT]) &&
           frame_is_whole(&t->frames[TRACKER_SERVER]) && !tracker_is_in_transaction(t);
}

uint32_t tracker_thread_id(const struct tracker *t)
{
    return t->greeting.thread_id;
}

bool tracker_greeting_is_seen(const struct tracker *t)
{
    return t->is_greeted;
}

const char *tracker_server_version(const struct tracker *t)
{
    return t->greeting.version;
}

const char *tracker_user(const struct tracker *t)
{
    return t->user;
}

const char *tracker_reader_uuid(const struct tracker *t)
{
    return t->reader_uuid;
}

bool tracker_has_quit(const struct tracker *t)
{
    return t->has_quit;
}

bool tracker_tls_is_due(const struct tracker *t)
{
    return t->is_tls_due;
}

void tracker_tls_begun(struct tracker *t)
{
    assert(t->is_tls_due && t->phase == TRACKER_AUTH);
    t->is_tls_due = false;
    t->is_tls = true;
}

uint16_t tracker_status_flags(const struct tracker *t)
{
    return t->server_status;
}

uint64_t tracker_unknown_commands(const struct tracker *t)
{
    return t->unknown_commands;
}

static uint8_t next_seq(const struct tracker *t)
{
    bool is_login =
        t->phase == TRACKER_AUTH || (t->queue.len > 0 && command_reply_kind(queue_front(&t->queue)) == REPLY_AUTH);
    if (t->phase == TRACKER_GREETING) return 0;
    if (t->phase == TRACKER_COMMAND) return 1; /* read as the answer to the next command */
    if (is_login) return (uint8_t)(t->last_seq + 1);
    return (uint8_t)(t->frames[t->reply.is_begun ? TRACKER_SERVER : TRACKER_CLIENT].seq + 1);
}

bool tracker_can_inject(const struct tracker *t, uint8_t *out_seq, bool *out_wants_sqlstate)
{
    if (t->phase == TRACKER_OPAQUE || t->phase == TRACKER_CLOSED) return false;
    if (!frame_is_whole(&t->frames[TRACKER_SERVER])) return false;
    if (out_seq != NULL) *out_seq = next_seq(t);
    if (out_wants_sqlstate != NULL) *out_wants_sqlstate = t->is_handshaken;
    return true;
}

bool tracker_is_stream(const struct tracker *t)
{
    return t->is_stream;
}
