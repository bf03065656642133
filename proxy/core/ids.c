/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ids.h"
#include <assert.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"

/* Aliases: 2^30 of them, from here to the largest id. */
#define ALIAS_FIRST 0xc0000000U
#define ALIAS_COUNT 0x40000000U

/* Disjoint, ascending, and not adjacent. */
struct range {
    uint32_t first, last;
};

struct ranges {
    struct range *at;
    size_t count, room;
};

struct ids {
    bool remaps_all;
    bool is_lost; /* memory ran out between generations: everything below |lost_up_to| is stale */
    uint32_t lost_up_to;
    struct ranges now;   /* handed out in this generation as the server gave them */
    struct ranges past;  /* in earlier ones */
    uint32_t alias_base; /* 0..ALIAS_COUNT - 1: where the aliases of this process begin */
    uint64_t aliases;    /* how many were handed out; behind the last the first come again */
};

struct ids *ids_new(bool remaps_all, uint32_t seed)
{
    struct ids *ids = mem_calloc(1, sizeof *ids);
    if (ids == NULL) return NULL;
    ids->remaps_all = remaps_all;
    ids->alias_base = seed % ALIAS_COUNT;
    return ids;
}

void ids_del(struct ids *ids)
{
    if (ids == NULL) return;
    mem_free(ids->now.at);
    mem_free(ids->past.at);
    mem_free(ids);
}

/* The first range that ends at |id| or behind it. */
static size_t ranges_find(const struct ranges *r, uint32_t id)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->at[middle].last < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool ranges_has(const struct ranges *r, uint32_t id)
{
    size_t i = ranges_find(r, id);
    return i < r->count && r->at[i].first <= id;
}

/* Two become one, all along: what lay between them counts as handed out. */
static void ranges_join(struct ranges *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i += 2) {
        size_t end = i + 1 < r->count ? i + 1 : i;
        r->at[kept++] = (struct range){ r->at[i].first, r->at[end].last };
    }
    r->count = kept;
}

static int ranges_grow(struct ranges *r)
{
    if (r->count == IDS_RANGES_MAX) ranges_join(r);
    if (r->count < r->room) return 0;
    size_t room = r->room == 0 ? 16 : r->room * 2;
    struct range *at = mem_realloc(r->at, room * sizeof *at);
    if (at == NULL) return SLUICE_ERR_NOMEM;
    r->at = at;
    r->room = room;
    return 0;
}

static int ranges_insert(struct ranges *r, struct range new)
{
    int rv = ranges_grow(r); /* may join: the place is looked for after it */
    if (rv != 0) return rv;
    size_t i = ranges_find(r, new.first);
    memmove(r->at + i + 1, r->at + i, (r->count - i) * sizeof *r->at);
    r->at[i] = new;
    r->count++;
    return 0;
}

/* |new| and all that it touches become one range. */
static int ranges_add(struct ranges *r, struct range new)
{
    assert(new.first <= new.last);
    size_t i = ranges_find(r, new.first == 0 ? 0 : new.first - 1);
    size_t end = i;
    while (end < r->count && (new.last == UINT32_MAX || r->at[end].first <= new.last + 1))
        end++;
    if (end == i) return ranges_insert(r, new);
    if (r->at[i].first > new.first) r->at[i].first = new.first;
    if (r->at[end - 1].last > new.last) new.last = r->at[end - 1].last;
    r->at[i].last = new.last;
    memmove(r->at + i + 1, r->at + end, (r->count - end) * sizeof *r->at);
    r->count -= end - i - 1;
    return 0;
}

bool ids_is_alias(uint32_t id)
{
    return id >= ALIAS_FIRST;
}

static bool is_past(const struct ids *ids, uint32_t id)
{
    return ranges_has(&ids->past, id) || (ids->is_lost && id <= ids->lost_up_to);
}

static uint32_t alias_next(struct ids *ids)
{
    return ALIAS_FIRST + (uint32_t)((ids->alias_base + ids->aliases++) % ALIAS_COUNT);
}

static bool is_handed_alias(const struct ids *ids, uint32_t id)
{
    return (id - ALIAS_FIRST + ALIAS_COUNT - ids->alias_base) % ALIAS_COUNT < ids->aliases;
}

int ids_hand_out(struct ids *ids, uint32_t server_id, uint32_t *out_id)
{
    /* A server gives an id twice only when it was started anew. */
    if (ranges_has(&ids->now, server_id)) ids_begin_generation(ids);
    if (ids->remaps_all || server_id == 0 || ids_is_alias(server_id) || is_past(ids, server_id)) {
        *out_id = alias_next(ids);
        return 0;
    }
    int rv = ranges_add(&ids->now, (struct range){ server_id, server_id });
    if (rv == 0) *out_id = server_id;
    return rv;
}

void ids_begin_generation(struct ids *ids)
{
    for (size_t i = 0; i < ids->now.count; i++) {
        if (ranges_add(&ids->past, ids->now.at[i]) == 0) continue;
        ids->is_lost = true;
        if (ids->now.at[i].last > ids->lost_up_to) ids->lost_up_to = ids->now.at[i].last;
    }
    ids->now.count = 0;
}

int ids_remember(struct ids *ids, uint32_t id)
{
    return ranges_add(&ids->past, (struct range){ id, id });
}

enum ids_fate ids_judge(const struct ids *ids, uint64_t id)
{
    if (id > UINT32_MAX) return IDS_FOREIGN;
    uint32_t n = (uint32_t)id;
    if (ids_is_alias(n)) return is_handed_alias(ids, n) ? IDS_STALE : IDS_FOREIGN;
    if (is_past(ids, n)) return IDS_STALE;
    return ranges_has(&ids->now, n) ? IDS_CURRENT : IDS_FOREIGN;
}
