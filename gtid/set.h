/* SPDX-License-Identifier: Apache-2.0 */
/* set.h - what a set is made of; private to the library. */
#pragma once
#include "sluice/gtid.h"

/* A closed interval of numbers. */
struct span {
    uint64_t first;
    uint64_t last;
};

/* The numbers of one UUID and tag: sorted, neither overlapping nor adjacent, at least one. */
struct track {
    uint8_t uuid[GTID_UUID_BYTES];
    char tag[GTID_TAG_CHARS + 1];
    struct span *spans;
    size_t len;
    size_t room;
};

struct gtid_set {
    struct track **tracks; /* sorted by UUID, then tag; none of them empty */
    size_t len;
    size_t room;
    size_t last_used; /* where gtid_set_add() was last: the next number is most often there */
};

/* alloc.c: as their namesakes; NULL when memory ran out. */
void *gtid_realloc(void *p, size_t size);
/* gtid_grow - make room for one more of |item| bytes behind |len|; false when memory ran out, with all untouched. */
bool gtid_grow(void **array, size_t *room, size_t len, size_t item);

/* track_compare - order of the text: by UUID, then tag. */
int track_compare(const struct track *a, const struct track *b);
/* track_new - without numbers yet. |tag| is valid, lower case and of |tag_len| bytes. */
struct track *track_new(const uint8_t uuid[GTID_UUID_BYTES], const char *tag, size_t tag_len);
void track_del(struct track *t);
/* track_push - put a span behind the last one; it is joined where it touches. |first| is not before the last span's. */
bool track_push(struct track *t, struct span s);
/* gtid_tag_is_valid - 1..32 of a-z, A-Z, 0-9 and _, no digit first. */
bool gtid_tag_is_valid(const char *tag, size_t len);

/* set_push - put a track at the end; it is not before the last one. The set owns it, on failure too it is ended. */
bool set_push(struct gtid_set *set, struct track *t);
/* set_is_sane - the invariants above, for asserts. */
bool set_is_sane(const struct gtid_set *set);

/*
 * A set under construction from spans in any order. Tracks may be there twice and out of order until builder_finish().
 */
struct builder {
    struct track **tracks;
    size_t len;
    size_t room;
    bool is_unsorted;
};

/* builder_track - the track to put numbers on from now on, or NULL when memory ran out. It stays owned by |b|. */
struct track *builder_track(struct builder *b, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, size_t tag_len);
/* builder_add - a span, in any order. False when memory ran out. */
bool builder_add(struct builder *b, struct track *t, struct span s);
/* builder_finish - sort, join, and hand out the set; |b| is empty after, on failure too. GTID_ERR_NOMEM or 0. */
int builder_finish(struct builder *b, struct gtid_set **out_set);
void builder_free(struct builder *b);
