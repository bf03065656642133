/* SPDX-License-Identifier: Apache-2.0 */
#include "set.h"
#include <assert.h>
#include <stdlib.h>

static const struct gtid_allocator c_library = { .realloc = realloc, .free = free };
static const struct gtid_allocator *allocator = &c_library;

void gtid_use_allocator(const struct gtid_allocator *other)
{
    allocator = other == NULL ? &c_library : other;
}

void *gtid_realloc(void *p, size_t size)
{
    assert(size > 0);
    return allocator->realloc(p, size);
}

void gtid_free(void *p)
{
    if (p != NULL) allocator->free(p);
}

bool gtid_grow(void **array, size_t *room, size_t len, size_t item)
{
    assert(len <= *room);
    if (len < *room) return true;
    size_t wanted = *room < 4 ? 4 : *room + *room / 2;
    if (wanted > SIZE_MAX / item) return false;
    void *p = gtid_realloc(*array, wanted * item);
    if (p == NULL) return false;
    *array = p;
    *room = wanted;
    return true;
}

const char *gtid_error_text(int code)
{
    switch (code) {
    case 0: return "no error";
    case GTID_ERR_NOMEM: return "memory ran out";
    case GTID_ERR_INVALID: return "an argument is out of its range";
    case GTID_ERR_SYNTAX: return "not a set of GTIDs as MySQL reads it";
    default: return "an unknown error";
    }
}

const char *gtid_version(void)
{
    return GTID_VERSION;
}
