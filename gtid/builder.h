/* SPDX-License-Identifier: Apache-2.0 */
/* builder.h - makes a set of spans that come in any order, without a sorted insertion for each; private to the library. */
#pragma once
#include "set.h"

/* All zero is an empty builder. A UUID and tag may be there more than once, in any order, until builder_finish(). */
struct builder {
    struct track **tracks;
    size_t len;
    size_t room;
};

/* builder_add - add a span. |tag| is in normal form. False when memory ran out. */
bool builder_add(struct builder *b, const uint8_t uuid[GTID_UUID_BYTES], const char *tag, struct span s);
/* builder_finish - sort, join, and hand out the set. Returns 0 or GTID_ERR_NOMEM; |b| is empty after either. */
int builder_finish(struct builder *b, struct gtid_set **out_set);
/* builder_free - drop all; |b| is empty after. */
void builder_free(struct builder *b);
