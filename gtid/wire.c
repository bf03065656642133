/* SPDX-License-Identifier: Apache-2.0 */
#include "builder.h"
#include <assert.h>
#include <string.h>

/*
 * All numbers are 8 bytes, little-endian. An entry is a UUID with a tag or without.
 *
 *     untagged:  entries, then for each: uuid[16], intervals, then for each: first, last + 1
 *     tagged:    01 entries[6] 01, then for each: uuid[16], the tag's length doubled [1], tag, intervals, ...
 *
 * The last of the first eight bytes is the form's number: 0, as no set has 2^56 UUIDs, or 1. A server that has ever seen a tag
 * may send the tagged form for a set without tags.
 */
enum { ENTRY_BYTES = GTID_UUID_BYTES + 8, INTERVAL_BYTES = 16, FORM_UNTAGGED = 0, FORM_TAGGED = 1 };

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static uint8_t *put_track(uint8_t *p, const struct track *t, bool is_tagged)
{
    memcpy(p, t->uuid, GTID_UUID_BYTES);
    p += GTID_UUID_BYTES;
    if (is_tagged) {
        size_t tag_len = strlen(t->tag);
        *p++ = (uint8_t)(tag_len * 2);
        memcpy(p, t->tag, tag_len);
        p += tag_len;
    }
    put_u64(p, t->len);
    p += 8;
    for (size_t i = 0; i < t->len; i++, p += INTERVAL_BYTES) {
        put_u64(p, t->spans[i].first);
        put_u64(p + 8, t->spans[i].last + 1);
    }
    return p;
}

int gtid_set_encode(const struct gtid_set *set, enum gtid_encoding encoding, uint8_t **out_bytes, size_t *out_len)
{
    bool has_tags = gtid_set_has_tags(set);
    if (encoding == GTID_ENCODING_UNTAGGED && has_tags) return GTID_ERR_INVALID;
    bool is_tagged = encoding == GTID_ENCODING_TAGGED || has_tags;
    size_t len = 8;
    for (size_t i = 0; i < set->len; i++)
        len += ENTRY_BYTES + (is_tagged ? 1 + strlen(set->tracks[i]->tag) : 0) + set->tracks[i]->len * INTERVAL_BYTES;
    uint8_t *bytes = gtid_realloc(NULL, len);
    if (bytes == NULL) return GTID_ERR_NOMEM;
    put_u64(bytes, is_tagged ? (uint64_t)FORM_TAGGED << 56 | (uint64_t)set->len << 8 | FORM_TAGGED : set->len);
    uint8_t *p = bytes + 8;
    for (size_t i = 0; i < set->len; i++)
        p = put_track(p, set->tracks[i], is_tagged);
    assert(p == bytes + len);
    *out_bytes = bytes;
    *out_len = len;
    return 0;
}

struct decoder {
    const uint8_t *bytes;
    size_t len;
    size_t pos;
    const char *reason;
    struct builder builder;
    uint8_t uuid[GTID_UUID_BYTES];
    char tag[GTID_TAG_CHARS + 1];
};

static int refuse(struct decoder *d, const char *reason)
{
    d->reason = reason;
    return GTID_ERR_SYNTAX;
}

static size_t left(const struct decoder *d)
{
    return d->len - d->pos;
}

static int decode_key(struct decoder *d, bool is_tagged)
{
    d->tag[0] = '\0';
    if (left(d) < GTID_UUID_BYTES) return refuse(d, "the bytes end inside a UUID");
    memcpy(d->uuid, d->bytes + d->pos, GTID_UUID_BYTES);
    d->pos += GTID_UUID_BYTES;
    if (!is_tagged) return 0;
    if (left(d) < 1) return refuse(d, "the bytes end in front of a tag");
    /* MySQL's variable-length integer; a length of up to 32 is one byte, whose lowest bit is 0. */
    uint8_t twice = d->bytes[d->pos];
    size_t tag_len = twice / 2;
    if (twice % 2 != 0 || tag_len > GTID_TAG_CHARS) return refuse(d, "a tag has at most 32 characters");
    if (left(d) - 1 < tag_len) return refuse(d, "the bytes end inside a tag");
    if (!tag_normalize((const char *)d->bytes + d->pos + 1, tag_len, d->tag))
        return refuse(d, "a tag has a character that tags do not have");
    d->pos += 1 + tag_len;
    return 0;
}

static int decode_intervals(struct decoder *d)
{
    if (left(d) < 8) return refuse(d, "the bytes end inside a number of intervals");
    uint64_t count = get_u64(d->bytes + d->pos);
    if (count > (left(d) - 8) / INTERVAL_BYTES) return refuse(d, "there are fewer bytes than the intervals need");
    d->pos += 8;
    uint64_t before = 0; /* exclusive end of the interval before; intervals are neither adjacent nor out of order */
    for (uint64_t i = 0; i < count; i++, d->pos += INTERVAL_BYTES) {
        uint64_t first = get_u64(d->bytes + d->pos), end = get_u64(d->bytes + d->pos + 8);
        if (first <= before || end <= first || end > GTID_NUMBER_MAX + 1)
            return refuse(d, "an interval is out of order or of range");
        if (!builder_add(&d->builder, d->uuid, d->tag, (struct span){ first, end - 1 })) return GTID_ERR_NOMEM;
        before = end;
    }
    return 0;
}

static int decode(struct decoder *d, bool *out_is_tagged)
{
    if (d->len < 8) return refuse(d, "a set has at least 8 bytes");
    uint64_t head = get_u64(d->bytes);
    uint64_t form = head >> 56;
    if (form != FORM_UNTAGGED && form != FORM_TAGGED) return refuse(d, "the encoding is not known");
    uint64_t count = form == FORM_TAGGED ? (head & 0x00ffffffffffff00u) >> 8 : head;
    d->pos = 8;
    for (uint64_t i = 0; i < count; i++) {
        int rv = decode_key(d, form == FORM_TAGGED);
        if (rv == 0) rv = decode_intervals(d);
        if (rv != 0) return rv;
    }
    if (d->pos != d->len) return refuse(d, "there are bytes behind the set");
    *out_is_tagged = form == FORM_TAGGED;
    return 0;
}

int gtid_set_decode(const uint8_t *bytes, size_t len, struct gtid_set **out_set, enum gtid_encoding *out_encoding,
                    struct gtid_parse_error *error)
{
    struct decoder d = { .bytes = bytes, .len = len };
    bool is_tagged = false;
    int rv = decode(&d, &is_tagged);
    if (rv == GTID_ERR_SYNTAX && error != NULL) *error = (struct gtid_parse_error){ d.pos, d.reason };
    if (rv != 0) {
        builder_free(&d.builder);
        return rv;
    }
    rv = builder_finish(&d.builder, out_set);
    if (rv == 0 && out_encoding != NULL) *out_encoding = is_tagged ? GTID_ENCODING_TAGGED : GTID_ENCODING_UNTAGGED;
    return rv;
}
