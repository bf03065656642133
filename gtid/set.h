/* SPDX-License-Identifier: Apache-2.0 */
/* set.h - what a set is made of; private to the library. */
#pragma once
#include "sluice/gtid.h"

/* A closed interval of numbers. */
struct span {
    uint64_t first;
    uint64_t last;
};

/* The numbers of one UUID and tag: sorted, neither overlapping nor adjacent. */
struct track {
    uint8_t uuid[GTID_UUID_BYTES];
    char tag[GTID_TAG_CHARS + 1];
    struct span *spans;
    size_t len;
    size_t room;
};

struct gtid_set {
    struct track **tracks; /* sorted by UUID, then tag; none without a number */
    size_t len;
    size_t room;
    size_t last_used; /* where a number was last added: the next one most often belongs there too */
};

/* gtid_realloc - as realloc(), by the allocator in use. */
void *gtid_realloc(void *p, size_t size);
/* gtid_grow - make room for one more of |item| bytes behind |len|; false when memory ran out, with all untouched. */
bool gtid_grow(void **array, size_t *room, size_t len, size_t item);

/* track_compare_key - order of the text: by UUID, then tag. */
int track_compare_key(const struct track *t, const uint8_t uuid[GTID_UUID_BYTES], const char *tag);
int track_compare(const struct track *a, const struct track *b);
/* track_new - without numbers yet; NULL when memory ran out. |tag| is in normal form. */
struct track *track_new(const uint8_t uuid[GTID_UUID_BYTES], const char *tag);
/* track_copy - NULL when memory ran out. */
struct track *track_copy(const struct track *t);
void track_del(struct track *t);
/* track_push - add a span that does not begin before the last one; it is joined where it touches. False: memory ran out. */
bool track_push(struct track *t, struct span s);

/* track_find - the index of the first span that ends at |number| or behind it; |len| when none does. */
size_t track_find(const struct track *t, uint64_t number);
/* set_find - the index of the first track that is not before this key; |len| when all are. |tag| is in normal form. */
size_t set_find(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag);
/* set_push - put a track at the end, behind all others in order; one without numbers is dropped. The set owns |t| from now on,
 * and ends it when false is returned because memory ran out. */
bool set_push(struct gtid_set *set, struct track *t);
/* set_is_sane - do the invariants above hold? Linear; for tests and asserts in slow paths. */
bool set_is_sane(const struct gtid_set *set);

/* tag_is_char - may |c| stand in a tag, as its first character or behind it? */
bool tag_is_char(char c, bool is_first);
/* tag_normalize - check |tag| and write it in lower case and with NUL; false when it is no tag. |len| 0 is no tag, and valid. */
bool tag_normalize(const char *tag, size_t len, char out_tag[GTID_TAG_CHARS + 1]);

/* uuid_read - read a UUID at the beginning of |text|. Returns the bytes taken, or 0 with |out_bad| at the first one that does
 * not fit. */
size_t uuid_read(const char *text, size_t len, uint8_t out_uuid[GTID_UUID_BYTES], size_t *out_bad);
