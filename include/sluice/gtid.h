/* SPDX-License-Identifier: Apache-2.0 */
/* gtid.h - sets of MySQL GTIDs: text, algebra, wire form. A library without I/O, clock or threads of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GTID_API       __attribute__((visibility("default")))
#define GTID_MUSTCHECK __attribute__((warn_unused_result))

enum {
    GTID_UUID_BYTES = 16,
    GTID_UUID_CHARS = 36, /* with hyphens, without NUL */
    GTID_TAG_CHARS = 32,  /* longest tag, without NUL */
};
enum { GTID_DESCRIBE_BYTES_MIN = 256 }; /* the smallest buffer that gtid_set_describe() takes */

/* The largest number of a transaction: 2^63 - 2 (MySQL's GNO_END is 2^63 - 1 and exclusive). The smallest is 1. */
#define GTID_NUMBER_MAX ((uint64_t)9223372036854775806u)

/* Negative; 0 is success. */
enum gtid_error {
    GTID_ERR_NOMEM = -1,   /* memory ran out */
    GTID_ERR_INVALID = -2, /* an argument is out of its range: a number, a tag, a UUID */
    GTID_ERR_SYNTAX = -22, /* text or bytes are not what a MySQL server accepts */
};

/*
 * A set of GTIDs: intervals of numbers per UUID and tag. Opaque. Several threads may read one set at the same time; who
 * changes it must be alone with it.
 */
struct gtid_set;

/* Where and why a text or an encoding was refused. */
struct gtid_parse_error {
    size_t offset;      /* bytes from the beginning; may equal the length: something is missing at the end */
    const char *reason; /* a constant clause in lower case, e.g. "a number is expected"; never NULL after an error */
};

/* One interval of a set; valid while the set is not changed. */
struct gtid_interval {
    const uint8_t *uuid; /* GTID_UUID_BYTES */
    const char *tag;     /* NUL-terminated, lower case; "" is no tag */
    uint64_t first;      /* 1..GTID_NUMBER_MAX */
    uint64_t last;       /* first..GTID_NUMBER_MAX, inclusive */
};

/* A walk over the intervals in the order of the text: by UUID, then tag (none first), then number. Fields are private.
 */
struct gtid_iter {
    const struct gtid_set *set;
    size_t track;
    size_t interval;
};

/* How the text separates two UUIDs. */
enum gtid_separator {
    GTID_SEPARATOR_COMMA,         /* "," : one line, for logs, JSON and command lines */
    GTID_SEPARATOR_COMMA_NEWLINE, /* ",\n" : as the server prints gtid_executed */
};

/* The allocator. realloc(NULL, n) must allocate; n is never 0; free(NULL) is never called. */
struct gtid_allocator {
    void *(*realloc)(void *p, size_t size);
    void (*free)(void *p);
};

/*
 * gtid_use_allocator - put another allocator in place of the C library's; NULL puts that one back.
 * Call from: the only thread, while no set or text of this library exists.
 */
GTID_API void gtid_use_allocator(const struct gtid_allocator *allocator);

/* gtid_free - release a text or array that this library handed out; NULL is nothing. Any thread. */
GTID_API void gtid_free(void *p);

/* gtid_error_text - one lower-case clause for a code of enum gtid_error, "no error" for 0. Any thread. */
GTID_API const char *gtid_error_text(int code);

/* gtid_version - the library's version, "0.1.0". Any thread. */
GTID_API const char *gtid_version(void);

/* ---- life ---- */

/* gtid_set_new - an empty set, owned by the caller, who ends it with gtid_set_del(). NULL when memory ran out. */
GTID_API GTID_MUSTCHECK struct gtid_set *gtid_set_new(void);
/* gtid_set_del - end a set; NULL is nothing. */
GTID_API void gtid_set_del(struct gtid_set *set);
/* gtid_set_copy - a set of the same content, owned by the caller. NULL when memory ran out. */
GTID_API GTID_MUSTCHECK struct gtid_set *gtid_set_copy(const struct gtid_set *set);
/* gtid_set_clear - make it empty. */
GTID_API void gtid_set_clear(struct gtid_set *set);

/* ---- text ---- */

/*
 * gtid_set_parse - read a set as MySQL 9.7 does: "uuid:1-3:tag:5,uuid2:7"; an empty text is the empty set.
 *
 * |text|, |len|  need not end in NUL; a NUL byte inside is a syntax error. NULL only with |len| 0.
 * |out_set|      receives a new set, owned by the caller; untouched on failure.
 * |error|        filled on GTID_ERR_SYNTAX; may be NULL.
 *
 * Returns 0, GTID_ERR_SYNTAX where the server refuses the text, GTID_ERR_NOMEM. Takes O(n log n) time in the intervals
 * of the text, O(n) when they are in order.
 */
GTID_API GTID_MUSTCHECK int gtid_set_parse(const char *text, size_t len, struct gtid_set **out_set,
                                           struct gtid_parse_error *error);

/*
 * gtid_set_parse_owned - read the text of @@global.gtid_owned, "uuid:12#25:14#31#32": numbers with the ids of the
 * threads that own them. Only the numbers are kept. Arguments and results as of gtid_set_parse().
 */
GTID_API GTID_MUSTCHECK int gtid_set_parse_owned(const char *text, size_t len, struct gtid_set **out_set,
                                                 struct gtid_parse_error *error);

/*
 * gtid_set_print - the server's normal form: UUIDs in order and lower case, no blanks, adjacent intervals joined.
 * Returns a NUL-terminated text, "" for the empty set, which the caller frees with gtid_free(); NULL when memory ran
 * out. |out_len| receives its length without NUL; may be NULL.
 */
GTID_API GTID_MUSTCHECK char *gtid_set_print(const struct gtid_set *set, enum gtid_separator separator,
                                             size_t *out_len);

/*
 * gtid_set_describe - the same in at most |size| bytes, NUL included, for messages. A set that does not fit is cut
 * behind an interval and ends in " ... (N more ranges, M more transactions)".
 * |size| is at least GTID_DESCRIBE_BYTES_MIN. Returns the length
 * written. Allocates nothing.
 */
GTID_API size_t gtid_set_describe(const struct gtid_set *set, char *buf, size_t size);

/*
 * gtid_uuid_parse - read a UUID in any form the server takes: 32 hexadecimal digits, with or without hyphens at the
 * usual four places, in braces or not. All of |len| must be the UUID. Returns 0, or GTID_ERR_SYNTAX with |out_uuid|
 * untouched.
 */
GTID_API GTID_MUSTCHECK int gtid_uuid_parse(const char *text, size_t len, uint8_t out_uuid[GTID_UUID_BYTES]);
/* gtid_uuid_print - write 36 characters and NUL. */
GTID_API void gtid_uuid_print(const uint8_t uuid[GTID_UUID_BYTES], char out_text[GTID_UUID_CHARS + 1]);

/* ---- questions ---- */

GTID_API bool gtid_set_is_empty(const struct gtid_set *set);
GTID_API bool gtid_set_equal(const struct gtid_set *a, const struct gtid_set *b);
/* gtid_set_contains - is every GTID of |sub| in |super|? True for an empty |sub|. Linear in the intervals of both. */
GTID_API bool gtid_set_contains(const struct gtid_set *super, const struct gtid_set *sub);
/* gtid_set_has - is this one GTID in the set? |tag| "" or NULL is no tag. Logarithmic. */
GTID_API bool gtid_set_has(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag,
                           uint64_t number);
/* gtid_set_intersects - have the two a GTID in common? Linear. */
GTID_API bool gtid_set_intersects(const struct gtid_set *a, const struct gtid_set *b);
/* gtid_set_count - how many transactions; UINT64_MAX when they are more than that. Linear. */
GTID_API uint64_t gtid_set_count(const struct gtid_set *set);
/* gtid_set_interval_count - how many intervals. Linear in UUIDs and tags. */
GTID_API size_t gtid_set_interval_count(const struct gtid_set *set);
/* gtid_set_has_uuid - is there a GTID of this UUID, under any tag or none? */
GTID_API bool gtid_set_has_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES]);
/* gtid_set_has_tags - is there a GTID with a tag? */
GTID_API bool gtid_set_has_tags(const struct gtid_set *set);

GTID_API void gtid_iter_init(struct gtid_iter *iter, const struct gtid_set *set);
/* gtid_iter_next - the next interval; false at the end, with |out_interval| untouched. */
GTID_API bool gtid_iter_next(struct gtid_iter *iter, struct gtid_interval *out_interval);

/* ---- algebra: linear in the intervals of both; each makes a new set, owned by the caller ---- */

/* Return 0, or GTID_ERR_NOMEM with |out_set| untouched. |a| and |b| may be the same set; they are not changed. */
GTID_API GTID_MUSTCHECK int gtid_set_union(const struct gtid_set *a, const struct gtid_set *b,
                                           struct gtid_set **out_set);
GTID_API GTID_MUSTCHECK int gtid_set_subtract(const struct gtid_set *a, const struct gtid_set *b,
                                              struct gtid_set **out_set);
GTID_API GTID_MUSTCHECK int gtid_set_intersect(const struct gtid_set *a, const struct gtid_set *b,
                                               struct gtid_set **out_set);
/* gtid_set_of_uuid - the subset of one UUID, all its tags. Returns 0 or GTID_ERR_NOMEM. */
GTID_API GTID_MUSTCHECK int gtid_set_of_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES],
                                             struct gtid_set **out_set);
/* gtid_set_without_uuid - the rest: all but that UUID. Returns 0 or GTID_ERR_NOMEM. */
GTID_API GTID_MUSTCHECK int gtid_set_without_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES],
                                                  struct gtid_set **out_set);

/* ---- changes ---- */

/*
 * gtid_set_add - add one GTID. The number behind the last one of a UUID and tag that the set has takes constant time
 * and no allocation; another place takes the time of an insertion into a sorted array. |tag|     "" or NULL is no tag;
 * else 1..32 of a-z, 0-9, _, not a digit first; upper case is taken as lower. |number|  1..GTID_NUMBER_MAX. Returns 0,
 * GTID_ERR_INVALID or GTID_ERR_NOMEM, both with |set| unchanged.
 */
GTID_API GTID_MUSTCHECK int gtid_set_add(struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag,
                                         uint64_t number);
/* gtid_set_add_range - the same for |first|..|last|, both included; |last| < |first| is GTID_ERR_INVALID. */
GTID_API GTID_MUSTCHECK int gtid_set_add_range(struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES],
                                               const char *tag, uint64_t first, uint64_t last);
/* gtid_set_add_set - add all of |other|. Returns 0, or GTID_ERR_NOMEM with |set| unchanged. */
GTID_API GTID_MUSTCHECK int gtid_set_add_set(struct gtid_set *set, const struct gtid_set *other);
/* gtid_set_remove_set - take all of |other| away. Returns 0, or GTID_ERR_NOMEM with |set| unchanged. */
GTID_API GTID_MUSTCHECK int gtid_set_remove_set(struct gtid_set *set, const struct gtid_set *other);

/* ---- wire: the set in COM_BINLOG_DUMP_GTID and in the previous-GTIDs event ---- */

/* MySQL up to 8.2 knows the untagged form only; later servers send the tagged one when there is a tag. */
enum gtid_encoding {
    GTID_ENCODING_UNTAGGED,
    GTID_ENCODING_TAGGED,
    GTID_ENCODING_AUTO, /* for encoding: tagged only when the set has a tag, as the server does */
};

/*
 * gtid_set_encode - the bytes as MySQL writes them.
 * |out_bytes|, |out_len|  receive a new array, which the caller frees with gtid_free(), and its length; untouched on
 * failure. Returns 0, GTID_ERR_INVALID when the untagged form is wanted for a set with tags, GTID_ERR_NOMEM.
 */
GTID_API GTID_MUSTCHECK int gtid_set_encode(const struct gtid_set *set, enum gtid_encoding encoding,
                                            uint8_t **out_bytes, size_t *out_len);

/*
 * gtid_set_decode - read either form; all of |len| must be the set.
 * |out_set|       receives a new set, owned by the caller; untouched on failure.
 * |out_encoding|  receives the form that was met; may be NULL.
 * |error|         filled on GTID_ERR_SYNTAX; may be NULL.
 * Returns 0, GTID_ERR_SYNTAX where a server would call the bytes malformed, GTID_ERR_NOMEM. Memory is bounded by |len|.
 */
GTID_API GTID_MUSTCHECK int gtid_set_decode(const uint8_t *bytes, size_t len, struct gtid_set **out_set,
                                            enum gtid_encoding *out_encoding, struct gtid_parse_error *error);

#ifdef __cplusplus
}
#endif
