/* SPDX-License-Identifier: Apache-2.0 */
#include "builder.h"
#include "sluice/gtid_gate.h"
#include <assert.h>
#include <string.h>

struct uuid_list {
    uint8_t (*uuids)[GTID_UUID_BYTES];
    size_t len;
    size_t room;
};

/*
 * What MySQL 9.7 takes, with blanks (space, \t, \n, \v, \f, \r) between any two words:
 *
 *     set   = { "," } [ item { "," { "," } item } ] { "," }
 *     item  = uuid { ":" ( tag | range ) }        a tag holds for the ranges behind it, up to the item's end
 *     range = number [ "-" number ]               the first from 1, the second from 0; one that runs backwards is nothing
 *
 * One text that 9.7.4 takes is refused: inside a tag it reads any byte from 0x80 on as 0xff, so that different tags become one.
 * tests/unit/gtid/server_table.tsv is the table that was taken from a server.
 */
struct reader {
    const char *text;
    size_t len;
    size_t pos;
    const char *reason;
    bool has_owners; /* @@gtid_owned: "#thread" behind numbers, and nothing between two items */
    struct builder builder;
    struct uuid_list *bare; /* where UUIDs without anything behind go; NULL: they are nothing, as for the server */
    uint8_t uuid[GTID_UUID_BYTES]; /* of the item that is being read */
    char tag[GTID_TAG_CHARS + 1];  /* likewise */
};

static int refuse(struct reader *r, const char *reason)
{
    r->reason = reason;
    return GTID_ERR_SYNTAX;
}

static bool at_end(const struct reader *r)
{
    return r->pos == r->len;
}

static bool sees(const struct reader *r, char c)
{
    return !at_end(r) && r->text[r->pos] == c;
}

static bool sees_digit(const struct reader *r)
{
    return !at_end(r) && r->text[r->pos] >= '0' && r->text[r->pos] <= '9';
}

static void skip_blanks(struct reader *r)
{
    while (!at_end(r) && r->text[r->pos] != '\0' && strchr(" \t\n\v\f\r", r->text[r->pos]) != NULL)
        r->pos++;
}

static int read_number(struct reader *r, uint64_t least, uint64_t *out_number)
{
    size_t start = r->pos;
    uint64_t number = 0;
    if (!sees_digit(r)) return refuse(r, "a number is expected");
    for (; sees_digit(r); r->pos++) {
        uint64_t digit = (uint64_t)(r->text[r->pos] - '0');
        if (number > (GTID_NUMBER_MAX - digit) / 10) {
            r->pos = start;
            return refuse(r, "a number is at most 9223372036854775806");
        }
        number = number * 10 + digit;
    }
    if (number < least) {
        r->pos = start;
        return refuse(r, "numbers begin at 1");
    }
    *out_number = number;
    return 0;
}

static int read_tag(struct reader *r)
{
    size_t start = r->pos;
    while (!at_end(r) && tag_is_char(r->text[r->pos], r->pos == start))
        r->pos++;
    if (r->pos - start > GTID_TAG_CHARS) {
        r->pos = start + GTID_TAG_CHARS;
        return refuse(r, "a tag has at most 32 characters");
    }
    bool is_tag = tag_normalize(r->text + start, r->pos - start, r->tag);
    assert(is_tag);
    (void)is_tag;
    return 0;
}

/*
 * The thread ids behind a number of @@gtid_owned. The next UUID may follow at once: "#183e11fa47-71ca-..." is thread 18. So
 * the digits end eight characters in front of a hyphen.
 */
static int read_owners(struct reader *r)
{
    enum { UUID_HEAD = 8 };
    while (sees(r, '#')) {
        size_t start = ++r->pos, end = start;
        while (end < r->len && strchr(":#,- \t\n\v\f\r", r->text[end]) == NULL)
            end++;
        if (end < r->len && r->text[end] == '-') end = end - start < UUID_HEAD ? start : end - UUID_HEAD;
        while (r->pos < end && sees_digit(r))
            r->pos++;
        if (r->pos == start || r->pos != end) return refuse(r, "the id of a thread is expected");
    }
    return 0;
}

static int read_range(struct reader *r)
{
    struct span s = { 0, 0 };
    int rv = read_number(r, 1, &s.first);
    if (rv != 0) return rv;
    s.last = s.first;
    skip_blanks(r);
    if (r->has_owners) {
        rv = read_owners(r);
    } else if (sees(r, '-')) {
        r->pos++;
        skip_blanks(r);
        rv = read_number(r, 0, &s.last);
    }
    if (rv != 0 || s.last < s.first) return rv;
    return builder_add(&r->builder, r->uuid, r->tag, s) ? 0 : GTID_ERR_NOMEM;
}

static int keep_bare_uuid(struct reader *r)
{
    struct uuid_list *list = r->bare;
    if (list == NULL) return 0;
    if (!gtid_grow((void **)&list->uuids, &list->room, list->len, sizeof *list->uuids)) return GTID_ERR_NOMEM;
    memcpy(list->uuids[list->len++], r->uuid, GTID_UUID_BYTES);
    return 0;
}

static int read_item(struct reader *r)
{
    size_t bad = 0;
    size_t taken = uuid_read(r->text + r->pos, r->len - r->pos, r->uuid, &bad);
    if (taken == 0) {
        r->pos += bad;
        return refuse(r, "a UUID is expected");
    }
    r->pos += taken;
    r->tag[0] = '\0';
    skip_blanks(r);
    if (!sees(r, ':')) return keep_bare_uuid(r);
    while (sees(r, ':')) {
        r->pos++;
        skip_blanks(r);
        int rv = 0;
        if (sees_digit(r))
            rv = read_range(r);
        else if (!at_end(r) && tag_is_char(r->text[r->pos], true))
            rv = read_tag(r);
        else
            rv = refuse(r, "a number or a tag is expected");
        if (rv != 0) return rv;
        skip_blanks(r);
    }
    return 0;
}

static int read_set(struct reader *r)
{
    skip_blanks(r);
    while (!at_end(r)) {
        if (sees(r, ',')) {
            r->pos++;
            skip_blanks(r);
            continue;
        }
        int rv = read_item(r);
        if (rv != 0) return rv;
        if (!at_end(r) && !sees(r, ',') && !r->has_owners) return refuse(r, "':', ',' or the end is expected");
    }
    return 0;
}

static int parse(struct reader *r, struct gtid_set **out_set, struct gtid_parse_error *error)
{
    int rv = read_set(r);
    if (rv == 0) return builder_finish(&r->builder, out_set);
    if (rv == GTID_ERR_SYNTAX && error != NULL) *error = (struct gtid_parse_error){ r->pos, r->reason };
    builder_free(&r->builder);
    return rv;
}

int gtid_set_parse(const char *text, size_t len, struct gtid_set **out_set, struct gtid_parse_error *error)
{
    struct reader r = { .text = text, .len = len };
    return parse(&r, out_set, error);
}

int gtid_set_parse_owned(const char *text, size_t len, struct gtid_set **out_set, struct gtid_parse_error *error)
{
    struct reader r = { .text = text, .len = len, .has_owners = true };
    return parse(&r, out_set, error);
}

int gtid_errant_parse(const char *text, size_t len, struct gtid_set **out_set, uint8_t (**out_uuids)[GTID_UUID_BYTES],
                      size_t *out_count, struct gtid_parse_error *error)
{
    struct uuid_list list = { 0 };
    struct reader r = { .text = text, .len = len, .bare = &list };
    int rv = parse(&r, out_set, error);
    if (rv != 0) {
        gtid_free(list.uuids);
        return rv;
    }
    *out_uuids = list.uuids;
    *out_count = list.len;
    return 0;
}
