/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one line an event on stderr, in TiDB's unified log format or as JSON. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_VALUE_STR, LOG_VALUE_I64, LOG_VALUE_U64 } type;
    union {
        const char *str; /* NULL is shown as null */
        int64_t i64;
        uint64_t u64;
    } value;
};

#define LOG_STR(k, v) ((struct log_field){ .key = (k), .type = LOG_VALUE_STR, .value = { .str = (v) } })
#define LOG_I64(k, v) ((struct log_field){ .key = (k), .type = LOG_VALUE_I64, .value = { .i64 = (int64_t)(v) } })
#define LOG_U64(k, v) ((struct log_field){ .key = (k), .type = LOG_VALUE_U64, .value = { .u64 = (uint64_t)(v) } })
#define LOG_AT(level, msg, ...)                                                                                        \
    log_write((level), __FILE__, __LINE__, (msg),                                                                      \
              (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .key = NULL } })

/* log_debug("what happened", LOG_STR("source", id), LOG_U64("waited_ms", n)): never a password, never a packet's payload. */
#define log_debug(msg, ...) LOG_AT(LOG_LEVEL_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...)  LOG_AT(LOG_LEVEL_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...)  LOG_AT(LOG_LEVEL_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) LOG_AT(LOG_LEVEL_ERROR, msg, __VA_ARGS__)

/* log_setup - set format and the least level that is written. Call from: main, before any other thread starts. */
void log_setup(enum log_format format, enum log_level least);
/*
 * log_write - write one line with a single write(2). One that would be longer than 8 KiB is cut, has the form of a whole one all the
 * same, and says cut=true. What is no UTF-8 becomes U+FFFD where it is quoted. Any thread.
 */
void log_write(enum log_level level, const char *file, int line, const char *msg, const struct log_field *fields);
