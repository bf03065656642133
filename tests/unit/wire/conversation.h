/* SPDX-License-Identifier: Apache-2.0 */
/* conversation.h - recorded conversations, and what was true in them: see record.py and data/. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include "core/tracker.h"

/* One read of a recorded relay, or a statement of what holds at its place. */
struct turn {
    enum tracker_side from;
    uint8_t *bytes; /* NULL: a statement */
    size_t len;
    json_t *truth; /* NULL: bytes */
};

struct conversation {
    const char *what;
    struct turn *turns;
    size_t count;
    size_t total; /* bytes of both sides */
    json_t *json;
};

/* conversations_load - all of a file, one a line; NULL after the last. Freed by conversations_free(). */
struct conversation *conversations_load(const char *path, size_t *out_count);
void conversations_free(struct conversation *all, size_t count);
