/* SPDX-License-Identifier: Apache-2.0 */
#include "core/kill.h"
#include <string.h>
#include <strings.h>

struct cursor {
    const uint8_t *text;
    size_t len, at;
    bool is_executable; /* inside an executable comment, whose end is a blank */
};

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' || c >= 0x80;
}

static bool begins_with(const struct cursor *c, const char *chars)
{
    size_t len = strlen(chars);
    return c->len - c->at >= len && memcmp(c->text + c->at, chars, len) == 0;
}

/* To the end behind |chars|; false and at the end of the text when they do not come. */
static void skip_behind(struct cursor *c, const char *chars)
{
    while (c->at < c->len && !begins_with(c, chars))
        c->at++;
    c->at = c->at < c->len ? c->at + strlen(chars) : c->len;
}

/* An executable comment begins: what is in it counts, but for the version in front. */
static void enter_executable(struct cursor *c, size_t lead)
{
    c->is_executable = true;
    c->at += lead;
    while (c->at < c->len && is_digit(c->text[c->at]))
        c->at++;
}

/* One blank, or one comment, is stepped over; false: something else stands here, or the end. */
static bool skip_one(struct cursor *c)
{
    if (c->at == c->len) return false;
    uint8_t here = c->text[c->at];
    size_t left = c->len - c->at;
    if (is_blank(here)) {
        c->at++;
    } else if (here == '#') {
        skip_behind(c, "\n");
    } else if (here == '-' && left < 3) {
        if (left == 2 && c->text[c->at + 1] != '-') return false;
        c->at = c->len; /* nobody can tell yet */
    } else if (begins_with(c, "--") && (is_blank(c->text[c->at + 2]) || c->text[c->at + 2] < ' ')) {
        skip_behind(c, "\n");
    } else if (begins_with(c, "/*!")) {
        enter_executable(c, 3);
    } else if (begins_with(c, "/*M!")) {
        enter_executable(c, 4);
    } else if (begins_with(c, "/*")) {
        c->at += 2;
        skip_behind(c, "*/");
    } else if (left == 1 && (here == '/' || (c->is_executable && here == '*'))) {
        c->at = c->len;
    } else if (c->is_executable && begins_with(c, "*/")) {
        c->is_executable = false;
        c->at += 2;
    } else {
        return false;
    }
    return true;
}

static void skip(struct cursor *c)
{
    while (skip_one(c)) {
    }
}

/* The word here is |word|: it is stepped over, with the blanks behind it. */
static bool take_word(struct cursor *c, const char *word)
{
    size_t len = strlen(word);
    if (c->len - c->at < len || strncasecmp((const char *)c->text + c->at, word, len) != 0) return false;
    if (c->len - c->at > len && is_word(c->text[c->at + len])) return false;
    c->at += len;
    skip(c);
    return true;
}

static bool take_number(struct cursor *c, struct kill_scan *out)
{
    struct kill_scan found = { .at = c->at };
    while (c->at < c->len && is_digit(c->text[c->at])) {
        unsigned digit = c->text[c->at] - (unsigned)'0';
        if (found.thread_id > (UINT64_MAX - digit) / 10) return false;
        found.thread_id = found.thread_id * 10 + digit;
        c->at++;
    }
    found.len = c->at - found.at;
    if (found.len == 0 || (c->at < c->len && is_word(c->text[c->at]))) return false;
    *out = found;
    return true;
}

static enum kill_scan_result read_target(struct cursor *c, struct kill_scan *out)
{
    struct kill_scan found;
    if (!take_word(c, "HARD")) (void)take_word(c, "SOFT"); /* MariaDB */
    if (!take_word(c, "CONNECTION")) (void)take_word(c, "QUERY");
    if (!take_number(c, &found)) return KILL_SCAN_UNREADABLE;
    skip(c);
    if (c->at < c->len && c->text[c->at] == ';') {
        c->at++;
        skip(c);
    }
    if (c->at < c->len) return KILL_SCAN_UNREADABLE;
    *out = found;
    return KILL_SCAN_FOUND;
}

enum kill_scan_result kill_scan(const uint8_t *text, size_t len, bool is_whole, struct kill_scan *out)
{
    struct cursor c = { .text = text, .len = len };
    skip(&c);
    size_t left = len - c.at;
    size_t common = left < 4 ? left : 4;
    if (common > 0 && strncasecmp((const char *)text + c.at, "KILL", common) != 0) return KILL_SCAN_NONE;
    if (left < 4) return is_whole ? KILL_SCAN_NONE : KILL_SCAN_MORE;
    if (left > 4 && is_word(text[c.at + 4])) return KILL_SCAN_NONE;
    if (!is_whole) return left > 4 ? KILL_SCAN_BEGUN : KILL_SCAN_MORE;
    c.at += 4;
    skip(&c);
    if (c.at == len) return KILL_SCAN_NONE; /* a syntax error is the server's to tell */
    return read_target(&c, out);
}
