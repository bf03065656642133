/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mem.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_ulong fail_countdown;

static int must_fail(void)
{
    unsigned long left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left == 0) return 0;
    atomic_store_explicit(&fail_countdown, left - 1, memory_order_relaxed);
    return left == 1;
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : malloc(size == 0 ? 1 : size);
}

void *mem_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
}

void *mem_realloc(void *p, size_t size)
{
    return must_fail() ? NULL : realloc(p, size == 0 ? 1 : size);
}

char *mem_strdup(const char *s)
{
    size_t len = strlen(s) + 1;
    char *copy = mem_alloc(len);
    if (copy != NULL) memcpy(copy, s, len);
    return copy;
}

void mem_free(void *p)
{
    free(p);
}

void mem_fail_at(unsigned long n)
{
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
