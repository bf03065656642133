/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The hyphens of the long form stand behind these bytes. */
static bool has_hyphen_behind(size_t bytes)
{
    return bytes == 4 || bytes == 6 || bytes == 8 || bytes == 10;
}

/* Takes one character that must be |wanted|. */
static bool take(const char *text, size_t len, size_t *pos, char wanted)
{
    if (*pos == len || text[*pos] != wanted) return false;
    ++*pos;
    return true;
}

static bool take_byte(const char *text, size_t len, size_t *pos, uint8_t *out_byte)
{
    int value = 0;
    for (int digit = 0; digit < 2; digit++) {
        int v = *pos < len ? hex_value(text[*pos]) : -1;
        if (v < 0) return false;
        value = value * 16 + v;
        ++*pos;
    }
    *out_byte = (uint8_t)value;
    return true;
}

size_t uuid_read(const char *text, size_t len, uint8_t out_uuid[GTID_UUID_BYTES], size_t *out_bad)
{
    uint8_t uuid[GTID_UUID_BYTES];
    size_t pos = 0;
    bool is_braced = take(text, len, &pos, '{');
    bool is_hyphened = is_braced;
    for (size_t i = 0; i < GTID_UUID_BYTES; i++) {
        if (i == 4 && !is_braced) is_hyphened = pos < len && text[pos] == '-';
        if (is_hyphened && has_hyphen_behind(i) && !take(text, len, &pos, '-')) goto bad;
        if (!take_byte(text, len, &pos, &uuid[i])) goto bad;
    }
    if (is_braced && !take(text, len, &pos, '}')) goto bad;
    memcpy(out_uuid, uuid, sizeof uuid);
    return pos;

bad:
    *out_bad = pos;
    return 0;
}

int gtid_uuid_parse(const char *text, size_t len, uint8_t out_uuid[GTID_UUID_BYTES])
{
    uint8_t uuid[GTID_UUID_BYTES];
    size_t bad = 0;
    if (uuid_read(text, len, uuid, &bad) != len || len == 0) return GTID_ERR_SYNTAX;
    memcpy(out_uuid, uuid, sizeof uuid);
    return 0;
}

void gtid_uuid_print(const uint8_t uuid[GTID_UUID_BYTES], char out_text[GTID_UUID_CHARS + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out_text;
    for (size_t i = 0; i < GTID_UUID_BYTES; i++) {
        if (has_hyphen_behind(i)) *p++ = '-';
        *p++ = digits[uuid[i] >> 4];
        *p++ = digits[uuid[i] & 15];
    }
    *p = '\0';
}

bool tag_is_char(char c, bool is_first)
{
    if (c >= '0' && c <= '9') return !is_first;
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool tag_normalize(const char *tag, size_t len, char out_tag[GTID_TAG_CHARS + 1])
{
    if (len > GTID_TAG_CHARS) return false;
    for (size_t i = 0; i < len; i++) {
        if (!tag_is_char(tag[i], i == 0)) return false;
        out_tag[i] = (char)(tag[i] >= 'A' && tag[i] <= 'Z' ? tag[i] + ('a' - 'A') : tag[i]);
    }
    out_tag[len] = '\0';
    return true;
}
