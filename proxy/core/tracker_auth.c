/* SPDX-License-Identifier: Apache-2.0 */
/* The greeting, the handshake response, and what follows until the server says OK or ERR. */
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/tracker_internal.h"

/* Offsets in a HandshakeResponse41: flags 4, largest packet 4, charset 1, filler 23 (MariaDB: 19, and 4 of flags), user. */
enum { RESPONSE_MARIADB_AT = 28, RESPONSE_USER_AT = 32, RESPONSE_SSL_LEN = 32 };

/* Clear |mask| in the greeting's byte at |at|, if it is among the |len| bytes that pass now, the first of which is |offset|. */
static void clear_bits(uint8_t *bytes, size_t len, uint64_t offset, size_t at, uint32_t mask)
{
    if (at < offset || at - offset >= len) return;
    bytes[at - offset] = (uint8_t)(bytes[at - offset] & ~mask);
}

void greeting_edit(struct tracker *t, uint8_t *bytes, size_t len, uint64_t offset)
{
    const struct frame *f = &t->frames[TRACKER_SERVER];
    if (f->lead_len < 2 || f->lead[0] != 10) return;
    const uint8_t *end = memchr(f->lead + 1, '\0', f->lead_len - 1U);
    if (end == NULL) return;

    uint32_t mask = 0;
    if (t->options.tls == TRACKER_TLS_STRIP) mask |= PACKET_CLIENT_SSL;
    if (!t->options.keep_compression) mask |= PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION;
    size_t low_at = (size_t)(end - f->lead) + 1 + 4 + 8 + 1;
    size_t high_at = low_at + 2 + 1 + 2;
    clear_bits(bytes, len, offset, low_at, mask & 0xff);
    clear_bits(bytes, len, offset, low_at + 1, mask >> 8 & 0xff);
    clear_bits(bytes, len, offset, high_at, mask >> 16 & 0xff);
    clear_bits(bytes, len, offset, high_at + 1, mask >> 24);
}

int greeting_end(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_SERVER];
    assert(t->phase == TRACKER_GREETING);
    if (f->lead_len > 0 && f->lead[0] == 0xff) {
        t->phase = TRACKER_CLOSED; /* too many connections, host blocked, ... */
        return 0;
    }
    int rv = packet_parse_greeting(f->lead, f->lead_len, &t->greeting);
    if (rv != 0) return rv;
    t->is_greeted = true;
    t->server_status = t->greeting.status;
    t->phase = TRACKER_AUTH;
    return 0;
}

void user_keep_next(struct tracker *t, size_t offset)
{
    const struct frame *f = &t->frames[TRACKER_CLIENT];
    size_t len = 0;
    while (offset + len < f->lead_len && len < TRACKER_USER_LEN_MAX && f->lead[offset + len] != '\0')
        len++;
    memcpy(t->user_next, f->lead + offset, len);
    t->user_next[len] = '\0';
}

/* The request is the front of a handshake response and ends in front of the user's name. */
static int tls_asked(struct tracker *t, const struct frame *f)
{
    switch (t->options.tls) {
    case TRACKER_TLS_STRIP: return SLUICE_ERR_PROTOCOL;
    case TRACKER_TLS_PASS: tracker_become_opaque(t, TRACKER_OPAQUE_TLS); return 0;
    case TRACKER_TLS_STOP:
        if (f->seen != RESPONSE_SSL_LEN || (t->greeting.capabilities & PACKET_CLIENT_SSL) == 0)
            return SLUICE_ERR_PROTOCOL;
        t->is_tls_due = true;
        t->is_handshaken = false; /* the response itself is still to come */
        return 0;
    }
    return SLUICE_ERR_PROTOCOL;
}

/* What both sides have agreed on. A flag that was taken out of the greeting counts when a client sets it all the same: the
 * server would act on it. */
static int handshake_agree(struct tracker *t, const struct frame *f)
{
    uint32_t flags = packet_u32(f->lead);
    t->capabilities = flags & t->greeting.capabilities;
    if ((flags & PACKET_CLIENT_LONG_PASSWORD) == 0 && f->lead_len >= RESPONSE_USER_AT)
        t->mariadb_capabilities = packet_u32(f->lead + RESPONSE_MARIADB_AT) & t->greeting.mariadb_capabilities;
    if (t->is_tls) return 0;
    if ((flags & PACKET_CLIENT_SSL) != 0) return tls_asked(t, f);
    return t->options.require_tls ? SLUICE_ERR_TLS_REQUIRED : 0;
}

int handshake_end(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_CLIENT];
    assert(t->phase == TRACKER_AUTH && !t->is_handshaken && f->lead_len >= 4);
    t->is_handshaken = true;
    if ((packet_u16(f->lead) & PACKET_CLIENT_PROTOCOL_41) == 0) {
        if (t->options.require_tls && !t->is_tls) return SLUICE_ERR_TLS_REQUIRED;
        tracker_become_opaque(t, TRACKER_OPAQUE_OLD_CLIENT);
        return 0;
    }
    if (f->lead_len < RESPONSE_SSL_LEN) return SLUICE_ERR_PROTOCOL;
    int rv = handshake_agree(t, f);
    if (rv == 0 && t->phase == TRACKER_AUTH && t->is_handshaken) user_keep_next(t, RESPONSE_USER_AT);
    return rv;
}

static void login_accepted(struct tracker *t, const struct frame *f)
{
    memcpy(t->user, t->user_next, sizeof t->user);
    t->is_unsure = false;
    status_keep(t, f);
}

int auth_packet(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_SERVER];
    assert(t->phase == TRACKER_AUTH);
    if (f->lead_len > 0 && f->lead[0] == 0xff) {
        t->phase = TRACKER_CLOSED; /* also before the handshake response: connect_timeout, shutdown */
        return 0;
    }
    if (!t->is_handshaken) {
        /* What cannot be followed would pass a client's request for TLS on unseen. */
        if (t->options.tls == TRACKER_TLS_STOP) return SLUICE_ERR_PROTOCOL;
        tracker_become_opaque(t, TRACKER_OPAQUE_LOST);
        return 0;
    }
    if (!packet_is_ok(f)) return 0; /* auth switch, more data, next factor, or a plugin's own */
    login_accepted(t, f);
    if ((t->capabilities & (PACKET_CLIENT_COMPRESS | PACKET_CLIENT_ZSTD_COMPRESSION)) != 0) {
        tracker_become_opaque(t, TRACKER_OPAQUE_COMPRESSION);
        return 0;
    }
    t->phase = TRACKER_COMMAND;
    tracker_settle(t);
    return 0;
}

void change_user_packet(struct tracker *t)
{
    const struct frame *f = &t->frames[TRACKER_SERVER];
    if (!packet_is_ok(f)) return; /* ERR was dealt with by the caller */
    login_accepted(t, f);
    reply_end(t);
}
