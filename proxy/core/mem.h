/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - the one allocator of the program; a test can put its own in place and fail the n-th call. */
#pragma once
#include <stddef.h>
#include "core/attr.h"

/* Each behaves as its namesake of <stdlib.h>; NULL when memory ran out. Any thread. */
SLUICE_MUSTCHECK void *mem_alloc(size_t size);
SLUICE_MUSTCHECK void *mem_calloc(size_t count, size_t size);
SLUICE_MUSTCHECK void *mem_realloc(void *p, size_t size); /* on failure |p| is untouched and still the caller's */
SLUICE_MUSTCHECK char *mem_strdup(const char *s);
void mem_free(void *p); /* NULL is nothing */

/*
 * mem_fail_at - for tests: the |n|-th allocation from now on (1 = the next) returns NULL, once. 0 turns it off.
 * Call from: a test's only thread.
 */
void mem_fail_at(unsigned long n);
