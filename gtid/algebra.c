/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <string.h>

/* What makes one operation: which tracks of one side only are kept, and how two of the same key are combined. */
struct operation {
    bool keeps_left;
    bool keeps_right;
    bool (*combine)(const struct track *a, const struct track *b, struct track *out); /* false: memory ran out */
};

static bool combine_union(const struct track *a, const struct track *b, struct track *out)
{
    size_t i = 0, j = 0;
    while (i < a->len || j < b->len) {
        bool is_left = j == b->len || (i < a->len && a->spans[i].first <= b->spans[j].first);
        if (!track_push(out, is_left ? a->spans[i++] : b->spans[j++])) return false;
    }
    return true;
}

static bool combine_intersection(const struct track *a, const struct track *b, struct track *out)
{
    for (size_t i = 0, j = 0; i < a->len && j < b->len;) {
        const struct span *x = &a->spans[i], *y = &b->spans[j];
        struct span common = { x->first > y->first ? x->first : y->first, x->last < y->last ? x->last : y->last };
        if (common.first <= common.last && !track_push(out, common)) return false;
        if (x->last < y->last)
            i++;
        else
            j++;
    }
    return true;
}

static bool combine_difference(const struct track *a, const struct track *b, struct track *out)
{
    size_t j = 0;
    for (size_t i = 0; i < a->len; i++) {
        struct span rest = a->spans[i];
        while (j < b->len && b->spans[j].last < rest.first)
            j++;
        /* |j| stays on a span that reaches into the next one of |a|. */
        for (size_t k = j; k < b->len && b->spans[k].first <= rest.last; k++) {
            const struct span *cut = &b->spans[k];
            if (cut->first > rest.first && !track_push(out, (struct span){ rest.first, cut->first - 1 })) return false;
            rest.first = cut->last + 1;
            j = k;
            if (rest.first > rest.last) break;
        }
        if (rest.first <= rest.last && !track_push(out, rest)) return false;
    }
    return true;
}

static const struct operation op_union = { true, true, combine_union };
static const struct operation op_intersection = { false, false, combine_intersection };
static const struct operation op_difference = { true, false, combine_difference };

static bool push_copy(struct gtid_set *out, const struct track *t)
{
    struct track *copy = track_copy(t);
    return copy != NULL && set_push(out, copy);
}

static bool push_combined(const struct operation *op, const struct track *a, const struct track *b,
                          struct gtid_set *out)
{
    struct track *t = track_new(a->uuid, a->tag);
    if (t == NULL) return false;
    if (!op->combine(a, b, t)) {
        track_del(t);
        return false;
    }
    return set_push(out, t);
}

static bool walk(const struct operation *op, const struct gtid_set *a, const struct gtid_set *b, struct gtid_set *out)
{
    size_t i = 0, j = 0;
    while (i < a->len || j < b->len) {
        int order = i == a->len ? 1 : j == b->len ? -1 : track_compare(a->tracks[i], b->tracks[j]);
        if (order < 0 && op->keeps_left && !push_copy(out, a->tracks[i])) return false;
        if (order > 0 && op->keeps_right && !push_copy(out, b->tracks[j])) return false;
        if (order == 0 && !push_combined(op, a->tracks[i], b->tracks[j], out)) return false;
        if (order <= 0) i++;
        if (order >= 0) j++;
    }
    return true;
}

static int perform(const struct operation *op, const struct gtid_set *a, const struct gtid_set *b,
                   struct gtid_set **out_set)
{
    struct gtid_set *out = gtid_set_new();
    if (out == NULL) return GTID_ERR_NOMEM;
    if (!walk(op, a, b, out)) {
        gtid_set_del(out);
        return GTID_ERR_NOMEM;
    }
    *out_set = out;
    return 0;
}

int gtid_set_union(const struct gtid_set *a, const struct gtid_set *b, struct gtid_set **out_set)
{
    return perform(&op_union, a, b, out_set);
}

int gtid_set_subtract(const struct gtid_set *a, const struct gtid_set *b, struct gtid_set **out_set)
{
    return perform(&op_difference, a, b, out_set);
}

int gtid_set_intersect(const struct gtid_set *a, const struct gtid_set *b, struct gtid_set **out_set)
{
    return perform(&op_intersection, a, b, out_set);
}

static int filter(const struct gtid_set *set, const uint8_t *uuid, bool wants_it, struct gtid_set **out_set)
{
    struct gtid_set *out = gtid_set_new();
    if (out == NULL) return GTID_ERR_NOMEM;
    for (size_t i = 0; i < set->len; i++) {
        bool is_it = memcmp(set->tracks[i]->uuid, uuid, GTID_UUID_BYTES) == 0;
        if (is_it == wants_it && !push_copy(out, set->tracks[i])) {
            gtid_set_del(out);
            return GTID_ERR_NOMEM;
        }
    }
    *out_set = out;
    return 0;
}

int gtid_set_of_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], struct gtid_set **out_set)
{
    return filter(set, uuid, true, out_set);
}

int gtid_set_without_uuid(const struct gtid_set *set, const uint8_t uuid[GTID_UUID_BYTES], struct gtid_set **out_set)
{
    return filter(set, uuid, false, out_set);
}
