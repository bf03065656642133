/* SPDX-License-Identifier: Apache-2.0 */
/* The identifier in a GTID event: the old layout, the tagged one (written by MySQL's serialization library), MariaDB's. */
#include <string.h>
#include "core/tracker_internal.h"

enum {
    GTID_BODY_LEN = 1 + 16 + 8,   /* flags, uuid, number */
    MARIADB_BODY_LEN = 8 + 4 + 1, /* number, domain, flags */
    TAGGED_HEAD_LEN =
        180, /* three header numbers 27, ids 4, flags 2, uuid 32, number 9, tag 1 + 64 at most, and some */
    FIELD_FLAGS = 0,
    FIELD_UUID = 1,
    FIELD_GNO = 2,
    FIELD_TAG = 3,
    TAG_LEN_MAX = 32,
};

size_t gtid_event_head_len(uint8_t type)
{
    switch (type) {
    case EVENT_TYPE_GTID: return EVENT_HEADER_LEN + GTID_BODY_LEN;
    case EVENT_TYPE_MARIADB_GTID: return EVENT_HEADER_LEN + MARIADB_BODY_LEN;
    case EVENT_TYPE_GTID_TAGGED: return EVENT_HEADER_LEN + TAGGED_HEAD_LEN;
    default: return EVENT_HEADER_LEN;
    }
}

struct cursor {
    const uint8_t *at, *end;
    bool is_bad; /* a read went past the end; all that was read since is 0 */
};

/*
 * A number of mysql::serialization (libs/mysql/serialization/variable_length_integers.h): as many bytes follow the first as it
 * has low bits that are set, eight at most; the value is in the bits above them, little endian.
 */
static uint64_t read_varlen(struct cursor *c)
{
    if (c->is_bad || c->at == c->end) {
        c->is_bad = true;
        return 0;
    }
    unsigned more = 0;
    while (more < 8 && (*c->at >> more & 1) != 0)
        more++;
    if ((size_t)(c->end - c->at) < more + 1) {
        c->is_bad = true;
        return 0;
    }
    uint64_t value = more < 7 ? (uint64_t)c->at[0] >> (more + 1) : 0;
    unsigned shift = more < 7 ? 7 - more : 0;
    for (unsigned i = 1; i <= more; i++, shift += 8)
        value |= (uint64_t)c->at[i] << shift;
    c->at += more + 1;
    return value;
}

/* Signed numbers have their sign in the lowest bit. */
static int64_t read_varlen_signed(struct cursor *c)
{
    uint64_t v = read_varlen(c);
    return (v & 1) != 0 ? -(int64_t)(v >> 1) - 1 : (int64_t)(v >> 1);
}

static void read_uuid(struct cursor *c, struct tracker_gtid *g)
{
    for (size_t i = 0; i < sizeof g->uuid; i++) {
        uint64_t byte = read_varlen(c);
        if (byte > 0xff) c->is_bad = true;
        g->uuid[i] = (uint8_t)byte;
    }
}

static void read_tag(struct cursor *c, struct tracker_gtid *g)
{
    uint64_t len = read_varlen(c);
    if (c->is_bad || len > TAG_LEN_MAX || len > (size_t)(c->end - c->at)) {
        c->is_bad = true;
        return;
    }
    memcpy(g->tag, c->at, (size_t)len);
    g->tag[len] = '\0';
    c->at += len;
}

/* Version, size, the last field that may not be skipped; then fields, each with its id in front, in the order of the ids. */
static bool parse_tagged(const uint8_t *body, size_t len, struct tracker_gtid *g)
{
    struct cursor c = { .at = body, .end = body + len };
    unsigned found = 0;
    for (int i = 0; i < 3; i++)
        (void)read_varlen(&c);
    while (!c.is_bad && found != (1U << FIELD_UUID | 1U << FIELD_GNO | 1U << FIELD_TAG)) {
        uint64_t id = read_varlen(&c);
        if (id > FIELD_TAG) return false;
        switch (id) {
        case FIELD_FLAGS: (void)read_varlen(&c); break;
        case FIELD_UUID: read_uuid(&c, g); break;
        case FIELD_GNO: g->gno = read_varlen_signed(&c); break;
        case FIELD_TAG: read_tag(&c, g); break;
        default: break;
        }
        if (id != FIELD_FLAGS) found |= 1U << id;
    }
    return !c.is_bad;
}

bool gtid_event_parse(const uint8_t *event, size_t len, struct tracker_gtid *out_gtid)
{
    const uint8_t *body = event + EVENT_HEADER_LEN;
    struct tracker_gtid g = { 0 };
    switch (event[4]) {
    case EVENT_TYPE_GTID:
        if (len < EVENT_HEADER_LEN + GTID_BODY_LEN) return false;
        memcpy(g.uuid, body + 1, sizeof g.uuid);
        g.gno = (int64_t)packet_u64(body + 17);
        break;
    case EVENT_TYPE_GTID_TAGGED:
        if (!parse_tagged(body, len - EVENT_HEADER_LEN, &g)) return false;
        break;
    case EVENT_TYPE_MARIADB_GTID:
        if (len < EVENT_HEADER_LEN + MARIADB_BODY_LEN) return false;
        g.is_anonymous = true; /* domain-server-number: of no use to sets of MySQL's */
        break;
    default: g.is_anonymous = true; break;
    }
    if (!g.is_anonymous && g.gno <= 0) return false;
    *out_gtid = g;
    return true;
}
