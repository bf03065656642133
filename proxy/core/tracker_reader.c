/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tracker_reader.h"
#include <stdbool.h>
#include <string.h>

struct cursor {
    const uint8_t *text;
    size_t len, at;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->len && (c->text[c->at] == ' ' || (c->text[c->at] >= '\t' && c->text[c->at] <= '\r')))
        c->at++;
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte + ('a' - 'A')) : byte;
}

/* |word| stands here, in any case, and is stepped over; MORE: its front does, and the text ends. */
static enum tracker_reader_result take(struct cursor *c, const char *word)
{
    for (; *word != '\0'; word++, c->at++) {
        if (c->at == c->len) return TRACKER_READER_MORE;
        if (lower(c->text[c->at]) != (uint8_t)*word) return TRACKER_READER_NONE;
    }
    return TRACKER_READER_FOUND;
}

/* One of two; both may be possible as long as the text is short. */
static enum tracker_reader_result take_either(struct cursor *c, const char *a, const char *b)
{
    struct cursor other = *c;
    enum tracker_reader_result first = take(c, a);
    if (first == TRACKER_READER_FOUND) return first;
    enum tracker_reader_result second = take(&other, b);
    if (second != TRACKER_READER_FOUND) return first > second ? first : second;
    *c = other;
    return second;
}

/* 36 characters, hyphens where a UUID has them, in quotes of either kind. */
static enum tracker_reader_result take_uuid(struct cursor *c, char out[TRACKER_READER_UUID_LEN + 1])
{
    char uuid[TRACKER_READER_UUID_LEN + 1] = "";
    if (c->at == c->len) return TRACKER_READER_MORE;
    uint8_t quote = c->text[c->at++];
    if (quote != '\'' && quote != '"') return TRACKER_READER_NONE;
    for (size_t i = 0; i < TRACKER_READER_UUID_LEN; i++) {
        if (c->at == c->len) return TRACKER_READER_MORE;
        uint8_t byte = lower(c->text[c->at++]);
        bool is_hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
        if (is_hyphen ? byte != '-' : !is_hex) return TRACKER_READER_NONE;
        uuid[i] = (char)byte;
    }
    if (c->at == c->len) return TRACKER_READER_MORE;
    if (c->text[c->at] != quote) return TRACKER_READER_NONE;
    memcpy(out, uuid, sizeof uuid);
    return TRACKER_READER_FOUND;
}

enum tracker_reader_result tracker_reader_scan(const uint8_t *text, size_t len, char out[TRACKER_READER_UUID_LEN + 1])
{
    struct cursor c = { .text = text, .len = len };
    skip_blanks(&c);
    enum tracker_reader_result result = take(&c, "set");
    if (result != TRACKER_READER_FOUND) return result;
    size_t behind_set = c.at;
    skip_blanks(&c);
    if (c.at == c.len) return TRACKER_READER_MORE;
    if (c.at == behind_set) return TRACKER_READER_NONE;
    result = take_either(&c, "@slave_uuid", "@replica_uuid");
    if (result != TRACKER_READER_FOUND) return result;
    skip_blanks(&c);
    result = take_either(&c, "=", ":=");
    if (result != TRACKER_READER_FOUND) return result;
    skip_blanks(&c);
    return take_uuid(&c, out);
}
