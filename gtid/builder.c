/* SPDX-License-Identifier: Apache-2.0 */
#include "builder.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool builder_add(struct builder *b, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, struct span s)
{
    struct track *t = b->len == 0 ? NULL : b->tracks[b->len - 1];
    if (t == NULL || track_compare_key(t, uuid, tag) != 0) {
        if (!gtid_grow((void **)&b->tracks, &b->room, b->len, sizeof(struct track *))) return false;
        t = track_new(uuid, tag);
        if (t == NULL) return false;
        b->tracks[b->len++] = t;
    }
    if (t->len == 0 || s.first >= t->spans[t->len - 1].first) return track_push(t, s);
    /* Out of order: kept as it is, and sorted at the end. */
    if (!gtid_grow((void **)&t->spans, &t->room, t->len, sizeof *t->spans)) return false;
    t->spans[t->len++] = s;
    return true;
}

static int compare_track_pointers(const void *a, const void *b)
{
    return track_compare(*(struct track *const *)a, *(struct track *const *)b);
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static bool tracks_are_sorted(const struct builder *b)
{
    for (size_t i = 1; i < b->len; i++)
        if (track_compare(b->tracks[i - 1], b->tracks[i]) >= 0) return false;
    return true;
}

static bool spans_are_joined(const struct track *t)
{
    for (size_t i = 1; i < t->len; i++)
        if (t->spans[i].first <= t->spans[i - 1].last + 1) return false;
    return true;
}

static void track_normalize(struct track *t)
{
    if (spans_are_joined(t)) return;
    qsort(t->spans, t->len, sizeof *t->spans, compare_spans);
    size_t count = t->len;
    t->len = 0;
    for (size_t i = 0; i < count; i++) {
        bool done = track_push(t, t->spans[i]); /* never past what was read: it needs no memory */
        assert(done);
        (void)done;
    }
}

/* Moves the spans of |from| behind those of |to|, in no order. */
static bool track_absorb(struct track *to, const struct track *from)
{
    for (size_t i = 0; i < from->len; i++) {
        if (!gtid_grow((void **)&to->spans, &to->room, to->len, sizeof *to->spans)) return false;
        to->spans[to->len++] = from->spans[i];
    }
    return true;
}

/* Joins tracks of one key, which are neighbours by now. */
static bool join_tracks(struct builder *b)
{
    size_t kept = 0;
    for (size_t i = 1; i < b->len; i++) {
        if (track_compare(b->tracks[kept], b->tracks[i]) != 0) {
            struct track *t = b->tracks[i];
            b->tracks[i] = NULL;
            b->tracks[++kept] = t;
            continue;
        }
        if (!track_absorb(b->tracks[kept], b->tracks[i])) return false;
        track_del(b->tracks[i]);
        b->tracks[i] = NULL;
    }
    if (b->len > 0) b->len = kept + 1;
    return true;
}

int builder_finish(struct builder *b, struct gtid_set **out_set)
{
    struct gtid_set *set = gtid_set_new();
    if (set == NULL) goto err;
    if (!tracks_are_sorted(b)) {
        qsort(b->tracks, b->len, sizeof(struct track *), compare_track_pointers);
        if (!join_tracks(b)) goto err_after_set_new;
    }
    for (size_t i = 0; i < b->len; i++)
        track_normalize(b->tracks[i]);
    set->tracks = b->tracks;
    set->len = b->len;
    set->room = b->room;
    memset(b, 0, sizeof *b);
    *out_set = set;
    return 0;

err_after_set_new:
    gtid_set_del(set);
err:
    builder_free(b);
    return GTID_ERR_NOMEM;
}

void builder_free(struct builder *b)
{
    for (size_t i = 0; i < b->len; i++)
        track_del(b->tracks[i]);
    gtid_free(b->tracks);
    memset(b, 0, sizeof *b);
}
