/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <string.h>

size_t set_find(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag)
{
    size_t low = 0, high = set->len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (track_compare_key(set->tracks[mid], uuid, tag) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t track_find(const struct track *t, uint64_t number)
{
    size_t low = 0, high = t->len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->spans[mid].last < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Puts a new span in front of the one at |at|. */
static bool track_insert(struct track *t, size_t at, struct span s)
{
    if (!gtid_grow((void **)&t->spans, &t->room, t->len, sizeof *t->spans)) return false;
    memmove(&t->spans[at + 1], &t->spans[at], (t->len - at) * sizeof *t->spans);
    t->spans[at] = s;
    t->len++;
    return true;
}

static bool track_add(struct track *t, struct span s)
{
    if (t->len == 0 || s.first >= t->spans[t->len - 1].first) return track_push(t, s);
    size_t at = track_find(t, s.first - 1); /* the first span that touches or follows; 0 is in front of all numbers */
    if (t->spans[at].first > s.last + 1) return track_insert(t, at, s);
    struct span *joined = &t->spans[at];
    if (s.first < joined->first) joined->first = s.first;
    size_t next = at;
    while (next < t->len && t->spans[next].first <= s.last + 1)
        next++;
    if (t->spans[next - 1].last > s.last) s.last = t->spans[next - 1].last;
    joined->last = s.last;
    memmove(joined + 1, &t->spans[next], (t->len - next) * sizeof *t->spans);
    t->len -= next - at - 1;
    return true;
}

/* A track that the set lacks, with its first span. Put in only when all memory is there. */
static int set_add_track(struct gtid_set *set, size_t at, const uint8_t *uuid, const char *tag, struct span s)
{
    if (!gtid_grow((void **)&set->tracks, &set->room, set->len, sizeof(struct track *))) return GTID_ERR_NOMEM;
    struct track *t = track_new(uuid, tag);
    if (t == NULL) return GTID_ERR_NOMEM;
    if (!track_push(t, s)) {
        track_del(t);
        return GTID_ERR_NOMEM;
    }
    memmove(&set->tracks[at + 1], &set->tracks[at], (set->len - at) * sizeof(struct track *));
    set->tracks[at] = t;
    set->len++;
    set->last_used = at;
    return 0;
}

int gtid_set_add_range(struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, uint64_t first,
                       uint64_t last)
{
    char key[GTID_TAG_CHARS + 1];
    if (!tag_normalize(tag, tag == NULL ? 0 : strlen(tag), key)) return GTID_ERR_INVALID;
    if (first < 1 || last < first || last > GTID_NUMBER_MAX) return GTID_ERR_INVALID;
    size_t at = set->last_used;
    if (at >= set->len || track_compare_key(set->tracks[at], uuid, key) != 0) at = set_find(set, uuid, key);
    struct span s = { first, last };
    if (at == set->len || track_compare_key(set->tracks[at], uuid, key) != 0)
        return set_add_track(set, at, uuid, key, s);
    if (!track_add(set->tracks[at], s)) return GTID_ERR_NOMEM;
    set->last_used = at;
    return 0;
}

int gtid_set_add(struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, uint64_t number)
{
    return gtid_set_add_range(set, uuid, tag, number, number);
}

/* Puts the content of |other| in place of that of |set|, and ends |other|. */
static void set_replace(struct gtid_set *set, struct gtid_set *other)
{
    struct gtid_set old = *set;
    *set = *other;
    *other = old;
    gtid_set_del(other);
}

int gtid_set_add_set(struct gtid_set *set, const struct gtid_set *other)
{
    struct gtid_set *sum = NULL;
    int rv = gtid_set_union(set, other, &sum);
    if (rv == 0) set_replace(set, sum);
    return rv;
}

int gtid_set_remove_set(struct gtid_set *set, const struct gtid_set *other)
{
    struct gtid_set *rest = NULL;
    int rv = gtid_set_subtract(set, other, &rest);
    if (rv == 0) set_replace(set, rest);
    return rv;
}
