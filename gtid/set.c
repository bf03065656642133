/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <string.h>

int track_compare_key(const struct track *t, const uint8_t uuid[GTID_UUID_BYTES], const char *tag)
{
    int order = memcmp(t->uuid, uuid, GTID_UUID_BYTES);
    return order != 0 ? order : strcmp(t->tag, tag);
}

int track_compare(const struct track *a, const struct track *b)
{
    return track_compare_key(a, b->uuid, b->tag);
}

struct track *track_new(const uint8_t uuid[GTID_UUID_BYTES], const char *tag)
{
    struct track *t = gtid_realloc(NULL, sizeof *t);
    if (t == NULL) return NULL;
    memset(t, 0, sizeof *t);
    memcpy(t->uuid, uuid, GTID_UUID_BYTES);
    size_t tag_len = strlen(tag);
    assert(tag_len <= GTID_TAG_CHARS);
    memcpy(t->tag, tag, tag_len);
    return t;
}

struct track *track_copy(const struct track *t)
{
    struct track *copy = track_new(t->uuid, t->tag);
    if (copy == NULL || t->len == 0) return copy;
    copy->spans = gtid_realloc(NULL, t->len * sizeof *t->spans);
    if (copy->spans == NULL) {
        track_del(copy);
        return NULL;
    }
    memcpy(copy->spans, t->spans, t->len * sizeof *t->spans);
    copy->len = copy->room = t->len;
    return copy;
}

void track_del(struct track *t)
{
    if (t == NULL) return;
    gtid_free(t->spans);
    gtid_free(t);
}

bool track_push(struct track *t, struct span s)
{
    assert(s.first >= 1 && s.first <= s.last && s.last <= GTID_NUMBER_MAX);
    struct span *end = t->len == 0 ? NULL : &t->spans[t->len - 1];
    if (end != NULL && s.first <= end->last + 1) {
        assert(s.first >= end->first);
        if (s.last > end->last) end->last = s.last;
        return true;
    }
    if (!gtid_grow((void **)&t->spans, &t->room, t->len, sizeof *t->spans)) return false;
    t->spans[t->len++] = s;
    return true;
}

bool set_push(struct gtid_set *set, struct track *t)
{
    if (t->len == 0) {
        track_del(t);
        return true;
    }
    assert(set->len == 0 || track_compare(set->tracks[set->len - 1], t) < 0);
    if (!gtid_grow((void **)&set->tracks, &set->room, set->len, sizeof(struct track *))) {
        track_del(t);
        return false;
    }
    set->tracks[set->len++] = t;
    return true;
}

static bool track_is_sane(const struct track *t)
{
    for (size_t i = 0; i < t->len; i++) {
        const struct span *s = &t->spans[i];
        if (s->first < 1 || s->first > s->last || s->last > GTID_NUMBER_MAX) return false;
        if (i > 0 && s->first <= t->spans[i - 1].last + 1) return false;
    }
    return t->len > 0 && t->len <= t->room;
}

bool set_is_sane(const struct gtid_set *set)
{
    for (size_t i = 0; i < set->len; i++) {
        if (i > 0 && track_compare(set->tracks[i - 1], set->tracks[i]) >= 0) return false;
        if (!track_is_sane(set->tracks[i])) return false;
    }
    return true;
}

struct gtid_set *gtid_set_new(void)
{
    struct gtid_set *set = gtid_realloc(NULL, sizeof *set);
    if (set != NULL) memset(set, 0, sizeof *set);
    return set;
}

void gtid_set_clear(struct gtid_set *set)
{
    for (size_t i = 0; i < set->len; i++)
        track_del(set->tracks[i]);
    gtid_free(set->tracks);
    memset(set, 0, sizeof *set);
}

void gtid_set_del(struct gtid_set *set)
{
    if (set == NULL) return;
    gtid_set_clear(set);
    gtid_free(set);
}

struct gtid_set *gtid_set_copy(const struct gtid_set *set)
{
    struct gtid_set *copy = gtid_set_new();
    if (copy == NULL) return NULL;
    for (size_t i = 0; i < set->len; i++) {
        struct track *t = track_copy(set->tracks[i]);
        if (t == NULL || !set_push(copy, t)) {
            gtid_set_del(copy);
            return NULL;
        }
    }
    return copy;
}
