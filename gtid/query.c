/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <string.h>

bool gtid_set_is_empty(const struct gtid_set *set)
{
    return set->len == 0;
}

bool gtid_set_equal(const struct gtid_set *a, const struct gtid_set *b)
{
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++) {
        const struct track *x = a->tracks[i], *y = b->tracks[i];
        if (track_compare(x, y) != 0 || x->len != y->len) return false;
        if (memcmp(x->spans, y->spans, x->len * sizeof *x->spans) != 0) return false;
    }
    return true;
}

static bool track_contains(const struct track *super, const struct track *sub)
{
    size_t i = 0;
    for (size_t j = 0; j < sub->len; j++) {
        while (i < super->len && super->spans[i].last < sub->spans[j].first)
            i++;
        if (i == super->len || super->spans[i].first > sub->spans[j].first) return false;
        if (super->spans[i].last < sub->spans[j].last) return false;
    }
    return true;
}

static bool track_intersects(const struct track *a, const struct track *b)
{
    for (size_t i = 0, j = 0; i < a->len && j < b->len;) {
        if (a->spans[i].last < b->spans[j].first)
            i++;
        else if (b->spans[j].last < a->spans[i].first)
            j++;
        else
            return true;
    }
    return false;
}

bool gtid_set_contains(const struct gtid_set *super, const struct gtid_set *sub)
{
    size_t i = 0;
    for (size_t j = 0; j < sub->len; j++) {
        while (i < super->len && track_compare(super->tracks[i], sub->tracks[j]) < 0)
            i++;
        if (i == super->len || track_compare(super->tracks[i], sub->tracks[j]) != 0) return false;
        if (!track_contains(super->tracks[i], sub->tracks[j])) return false;
    }
    return true;
}

bool gtid_set_intersects(const struct gtid_set *a, const struct gtid_set *b)
{
    for (size_t i = 0, j = 0; i < a->len && j < b->len;) {
        int order = track_compare(a->tracks[i], b->tracks[j]);
        if (order == 0 && track_intersects(a->tracks[i], b->tracks[j])) return true;
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
    return false;
}

bool gtid_set_has(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, uint64_t number)
{
    char key[GTID_TAG_CHARS + 1];
    if (!tag_normalize(tag, tag == NULL ? 0 : strlen(tag), key)) return false;
    size_t at = set_find(set, uuid, key);
    if (at == set->len || track_compare_key(set->tracks[at], uuid, key) != 0) return false;
    const struct track *t = set->tracks[at];
    size_t i = track_find(t, number);
    return i < t->len && t->spans[i].first <= number;
}

uint64_t gtid_set_count(const struct gtid_set *set)
{
    uint64_t count = 0;
    for (size_t i = 0; i < set->len; i++) {
        for (size_t j = 0; j < set->tracks[i]->len; j++) {
            const struct span *s = &set->tracks[i]->spans[j];
            if (__builtin_add_overflow(count, s->last - s->first + 1, &count)) return UINT64_MAX;
        }
    }
    return count;
}

size_t gtid_set_interval_count(const struct gtid_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < set->len; i++)
        count += set->tracks[i]->len;
    return count;
}

bool gtid_set_has_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES])
{
    size_t at = set_find(set, uuid, "");
    return at < set->len && memcmp(set->tracks[at]->uuid, uuid, GTID_UUID_BYTES) == 0;
}

bool gtid_set_has_tags(const struct gtid_set *set)
{
    for (size_t i = 0; i < set->len; i++)
        if (set->tracks[i]->tag[0] != '\0') return true;
    return false;
}

void gtid_iter_init(struct gtid_iter *iter, const struct gtid_set *set)
{
    *iter = (struct gtid_iter){ .set = set };
}

bool gtid_iter_next(struct gtid_iter *iter, struct gtid_interval *out_interval)
{
    if (iter->track == iter->set->len) return false;
    const struct track *t = iter->set->tracks[iter->track];
    const struct span *s = &t->spans[iter->interval];
    *out_interval = (struct gtid_interval){ t->uuid, t->tag, s->first, s->last };
    if (++iter->interval == t->len) {
        iter->interval = 0;
        iter->track++;
    }
    return true;
}
