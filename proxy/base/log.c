/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 8192 };

/* A line under construction; what does not fit is dropped and the line is marked as cut. */
struct line {
    char data[LINE_BYTES_MAX];
    size_t len;
    int is_cut;
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
    static const size_t tail = 16; /* room for the mark of a cut line, closing brackets and the newline */
    if (len > LINE_BYTES_MAX - tail - l->len) {
        len = LINE_BYTES_MAX - tail - l->len;
        l->is_cut = 1;
    }
    memcpy(l->data + l->len, bytes, len);
    l->len += len;
}

static void line_puts(struct line *l, const char *s)
{
    line_put(l, s, strlen(s));
}

/* A JSON string literal, which is also TiDB's quoting. */
static void line_quote(struct line *l, const char *s)
{
    line_puts(l, "\"");
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        char escaped[8];
        if (c == '"' || c == '\\') {
            snprintf(escaped, sizeof escaped, "\\%c", c);
        } else if (c == '\n') {
            snprintf(escaped, sizeof escaped, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        } else {
            snprintf(escaped, sizeof escaped, "%c", c);
        }
        line_puts(l, escaped);
    }
    line_puts(l, "\"");
}

static int needs_quotes(const char *s)
{
    if (*s == '\0') return 1;
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c <= 0x20 || c == 0x7f || strchr("\"=[]\\", c) != NULL) return 1;
    }
    return 0;
}

static void line_value(struct line *l, const struct log_field *f, int quote_always)
{
    char number[32];
    switch (f->type) {
    case LOG_VALUE_STR:
        if (f->value.str == NULL) {
            line_puts(l, "null");
        } else if (quote_always || needs_quotes(f->value.str)) {
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
    line_puts(l, "]");
    for (; fields->key != NULL; fields++) {
        line_puts(l, " [");
        line_puts(l, fields->key);
        line_puts(l, "=");
        line_value(l, fields, 0);
        line_puts(l, "]");
    }
    if (l->is_cut) memcpy(l->data + l->len, " [cut]", 6), l->len += 6;
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
    for (; fields->key != NULL && !l->is_cut; fields++) {
        size_t whole = l->len;
        line_puts(l, ",");
        line_quote(l, fields->key);
        line_puts(l, ":");
        line_value(l, fields, 1);
        if (l->is_cut) l->len = whole; /* a half member would not parse */
    }
    const char *end = l->is_cut ? ",\"cut\":true}" : "}";
    memcpy(l->data + l->len, end, strlen(end));
    l->len += strlen(end);
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
    l.data[l.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, l.data, l.len);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
