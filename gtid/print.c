/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    NUMBER_CHARS = 20,
    /* ",\n" uuid ":" tag ":" first "-" last */
    INTERVAL_CHARS = 2 + GTID_UUID_CHARS + 1 + GTID_TAG_CHARS + 1 + NUMBER_CHARS + 1 + NUMBER_CHARS,
    /* " ... (N more ranges, M more transactions)" */
    REST_CHARS = 96,
};
static_assert(INTERVAL_CHARS + REST_CHARS < GTID_DESCRIBE_BYTES_MIN, "one interval and the rest fit");

static char *put(char *p, const char *text)
{
    size_t len = strlen(text);
    memcpy(p, text, len);
    return p + len;
}

static char *put_number(char *p, uint64_t number)
{
    char digits[NUMBER_CHARS];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (n > 0)
        *p++ = digits[--n];
    return p;
}

/* Writes at most INTERVAL_CHARS: as much of the key as differs from |before|, and the range. No NUL. */
static size_t put_interval(char *buf, const struct gtid_interval *before, const struct gtid_interval *now,
                           const char *separator)
{
    char *p = buf;
    bool is_new_uuid = before->uuid == NULL || memcmp(before->uuid, now->uuid, GTID_UUID_BYTES) != 0;
    if (is_new_uuid) {
        char uuid[GTID_UUID_CHARS + 1];
        gtid_uuid_print(now->uuid, uuid);
        if (before->uuid != NULL) p = put(p, separator);
        p = put(p, uuid);
    }
    if (now->tag[0] != '\0' && (is_new_uuid || strcmp(before->tag, now->tag) != 0)) {
        *p++ = ':';
        p = put(p, now->tag);
    }
    *p++ = ':';
    p = put_number(p, now->first);
    if (now->last != now->first) {
        *p++ = '-';
        p = put_number(p, now->last);
    }
    assert(p - buf <= INTERVAL_CHARS);
    return (size_t)(p - buf);
}

static bool print_walk(const struct gtid_set *set, const char *separator, char **text, size_t *len, size_t *room)
{
    struct gtid_interval before = { 0 }, now;
    struct gtid_iter iter;
    for (gtid_iter_init(&iter, set); gtid_iter_next(&iter, &now); before = now) {
        if (*room - *len < INTERVAL_CHARS + 1) {
            size_t wanted = *room + *room / 2 + INTERVAL_CHARS + 1;
            char *grown = gtid_realloc(*text, wanted);
            if (grown == NULL) return false;
            *text = grown;
            *room = wanted;
        }
        *len += put_interval(*text + *len, &before, &now, separator);
    }
    return true;
}

char *gtid_set_print(const struct gtid_set *set, enum gtid_separator separator, size_t *out_len)
{
    size_t len = 0, room = INTERVAL_CHARS + 1;
    char *text = gtid_realloc(NULL, room);
    if (text == NULL) return NULL;
    if (!print_walk(set, separator == GTID_SEPARATOR_COMMA ? "," : ",\n", &text, &len, &room)) {
        gtid_free(text);
        return NULL;
    }
    text[len] = '\0';
    if (out_len != NULL) *out_len = len;
    return text;
}

/* How much of the walk was not described. */
static void count_rest(struct gtid_iter *iter, struct gtid_interval now, uint64_t *ranges, uint64_t *transactions)
{
    do {
        ++*ranges;
        if (__builtin_add_overflow(*transactions, now.last - now.first + 1, transactions)) *transactions = UINT64_MAX;
    } while (gtid_iter_next(iter, &now));
}

size_t gtid_set_describe(const struct gtid_set *set, char *buf, size_t size)
{
    assert(size >= GTID_DESCRIBE_BYTES_MIN);
    char one[INTERVAL_CHARS];
    struct gtid_interval before = { 0 }, now;
    struct gtid_iter iter;
    size_t len = 0;
    buf[0] = '\0';
    for (gtid_iter_init(&iter, set); gtid_iter_next(&iter, &now); before = now) {
        size_t more = put_interval(one, &before, &now, ",");
        struct gtid_iter ahead = iter;
        struct gtid_interval next;
        bool is_last = !gtid_iter_next(&ahead, &next);
        if (len + more + (is_last ? 1 : REST_CHARS) > size) {
            uint64_t ranges = 0, transactions = 0;
            count_rest(&iter, now, &ranges, &transactions);
            int n =
                snprintf(buf + len, size - len, " ... (%ju more range%s, %ju more transaction%s)", (uintmax_t)ranges,
                         ranges == 1 ? "" : "s", (uintmax_t)transactions, transactions == 1 ? "" : "s");
            assert(n > 0 && (size_t)n < size - len);
            return len + (size_t)n;
        }
        memcpy(buf + len, one, more);
        len += more;
        buf[len] = '\0';
    }
    return len;
}
