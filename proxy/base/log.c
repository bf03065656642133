/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 8192,
    CLOSE_BYTES_MAX = 32, /* of what line_close() puts: quotes, brackets, the mark of a cut line, the newline */
    PUT_BYTES_MAX = LINE_BYTES_MAX - CLOSE_BYTES_MAX,
};

/*
 * A line under construction. A piece that does not fit is dropped, and so is all behind it; what closes a line is put by line_close()
 * into room that is kept for it, so that a cut line has the form of a whole one.
 */
struct line {
    char data[LINE_BYTES_MAX];
    size_t len;
    bool is_cut;
};

static enum log_format setup_format = LOG_FORMAT_TEXT;
static enum log_level setup_least = LOG_LEVEL_INFO;

static const char *const level_names[] = { "DEBUG", "INFO", "WARN", "ERROR" };

void log_setup(enum log_format format, enum log_level least)
{
    setup_format = format;
    setup_least = least;
}

static void line_put(struct line *l, const char *bytes, size_t len)
{
    if (l->is_cut || l->len + len > PUT_BYTES_MAX) {
        l->is_cut = true;
        return;
    }
    memcpy(l->data + l->len, bytes, len);
    l->len += len;
}

static void line_puts(struct line *l, const char *s)
{
    line_put(l, s, strlen(s));
}

static void line_close(struct line *l, const char *s)
{
    size_t len = strlen(s);
    assert(len <= LINE_BYTES_MAX - l->len);
    memcpy(l->data + l->len, s, len);
    l->len += len;
}

/* The length of the UTF-8 character at |s|, 0 when there is none: not the shortest form, a surrogate, above U+10FFFF, cut. */
static size_t character_len(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    size_t len = 0;
    if (u[0] < 0x80) return 1;
    if (u[0] >= 0xc2 && u[0] <= 0xdf) len = 2;
    if (u[0] >= 0xe0 && u[0] <= 0xef) len = 3;
    if (u[0] >= 0xf0 && u[0] <= 0xf4) len = 4;
    for (size_t i = 1; i < len; i++)
        if ((u[i] & 0xc0) != 0x80) return 0; /* the text's NUL ends it too */
    bool is_out = (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
                  (u[0] == 0xf4 && u[1] > 0x8f);
    return is_out ? 0 : len;
}

/* A JSON string literal, which is also TiDB's quoting. What is no UTF-8 (clients and servers send what they like) is replaced. */
static void line_quote(struct line *l, const char *s)
{
    line_puts(l, "\"");
    bool is_begun = !l->is_cut;
    while (*s != '\0' && !l->is_cut) {
        unsigned char c = (unsigned char)*s;
        char escaped[8];
        size_t len = character_len(s);
        if (len == 0) {
            line_puts(l, "\\ufffd");
            len = 1;
        } else if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof escaped, "\\%c", c);
            line_puts(l, escaped);
        } else if (c == '\n') {
            line_puts(l, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
            line_puts(l, escaped);
        } else {
            line_put(l, s, len);
        }
        s += len;
    }
    if (is_begun) line_close(l, "\"");
}

static bool needs_quotes(const char *s)
{
    if (*s == '\0') return true;
    for (size_t len = 0; *s != '\0'; s += len) {
        unsigned char c = (unsigned char)*s;
        len = character_len(s);
        if (len == 0 || c <= 0x20 || c == 0x7f || strchr("\"=[]\\", c) != NULL) return true;
    }
    return false;
}

static void line_value(struct line *l, const struct log_field *f, bool quote_always)
{
    char number[32];
    switch (f->type) {
    case LOG_VALUE_STR:
        if (f->value.str == NULL) {
            line_puts(l, "null");
        } else if (quote_always || needs_quotes(f->value.str) || l->len + strlen(f->value.str) > PUT_BYTES_MAX) {
            line_quote(l, f->value.str);
        } else {
            line_puts(l, f->value.str);
        }
        break;
    case LOG_VALUE_I64:
        snprintf(number, sizeof number, "%" PRId64, f->value.i64);
        line_puts(l, number);
        break;
    case LOG_VALUE_U64:
        snprintf(number, sizeof number, "%" PRIu64, f->value.u64);
        line_puts(l, number);
        break;
    }
}

/* TiDB's form of a time, without the brackets. */
static void format_time(char *out, size_t room)
{
    struct timespec now;
    struct tm local;
    char date[40];
    char zone[8];
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(date, sizeof date, "%Y/%m/%d %H:%M:%S", &local);
    strftime(zone, sizeof zone, "%z", &local); /* +hhmm */
    snprintf(out, room, "%s.%03ld %.3s:%s", date, now.tv_nsec / 1000000, zone, zone + 3);
}

/* The member |key| in the text's form, or in JSON's. One of which not even a part of the value fits is left out. */
static void line_field(struct line *l, const struct log_field *f, bool is_json)
{
    size_t before = l->len;
    line_puts(l, is_json ? "," : " [");
    if (is_json) {
        line_quote(l, f->key);
        line_puts(l, ":");
    } else {
        line_puts(l, f->key);
        line_puts(l, "=");
    }
    size_t value = l->len;
    bool is_named = !l->is_cut;
    line_value(l, f, is_json);
    if (!is_named || l->len == value) {
        l->len = before;
    } else if (!is_json) {
        line_close(l, "]");
    }
}

static void line_text(struct line *l, enum log_level level, const char *where, const char *msg,
                      const struct log_field *fields)
{
    char time_text[80];
    format_time(time_text, sizeof time_text);
    line_puts(l, "[");
    line_puts(l, time_text);
    line_puts(l, "] [");
    line_puts(l, level_names[level]);
    line_puts(l, "] [");
    line_puts(l, where);
    line_puts(l, "] [");
    line_quote(l, msg);
    line_close(l, "]");
    for (; fields->key != NULL && !l->is_cut; fields++)
        line_field(l, fields, false);
    if (l->is_cut) line_close(l, " [cut=true]");
}

static void line_json(struct line *l, enum log_level level, const char *where, const char *msg,
                      const struct log_field *fields)
{
    char time_text[80];
    format_time(time_text, sizeof time_text);
    line_puts(l, "{\"time\":");
    line_quote(l, time_text);
    line_puts(l, ",\"level\":");
    line_quote(l, level_names[level]);
    line_puts(l, ",\"caller\":");
    line_quote(l, where);
    line_puts(l, ",\"message\":");
    line_quote(l, msg);
    for (; fields->key != NULL && !l->is_cut; fields++)
        line_field(l, fields, true);
    line_close(l, l->is_cut ? ",\"cut\":true}" : "}");
}

void log_write(enum log_level level, const char *file, int line, const char *msg, const struct log_field *fields)
{
    if (level < setup_least) return;
    struct line l = { .len = 0 };
    char where[80];
    const char *base = strrchr(file, '/');
    snprintf(where, sizeof where, "%s:%d", base == NULL ? file : base + 1, line);
    if (setup_format == LOG_FORMAT_JSON) {
        line_json(&l, level, where, msg, fields);
    } else {
        line_text(&l, level, where, msg, fields);
    }
    line_close(&l, "\n");
    ssize_t written = write(STDERR_FILENO, l.data, l.len);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
