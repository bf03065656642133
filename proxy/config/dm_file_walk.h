/* SPDX-License-Identifier: Apache-2.0 */
/* dm_file_walk.h - one YAML document, value by value, each with the keys that lead to it and the bytes in which it stands. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>
#include "config/dm_file.h"

enum { DM_FILE_KEY_LEN = 63 };

/* A scalar, an alias, or the beginning of a container, in a place where a value may stand. */
struct dm_file_value {
    yaml_event_type_t type; /* SCALAR, ALIAS, MAPPING_START, SEQUENCE_START */
    const char *text;       /* SCALAR: its value, which may hold NULs; else "" */
    size_t len;
    yaml_scalar_style_t style;
    bool is_marked;                          /* it has an anchor or a tag */
    size_t begin, end;                       /* bytes of the file, quotes included */
    unsigned line;                           /* 1.. */
    unsigned ordinal;                        /* which event of the document it is, 0.. */
    size_t depth;                            /* how many keys lead to it */
    const char (*keys)[DM_FILE_KEY_LEN + 1]; /* "" for an element of a list; what no short word can be is "\1" */
};

/* Returns 0 to go on, or what dm_file_walk() is to return. */
typedef int (*dm_file_value_fn)(void *arg, const struct dm_file_value *value, struct text *error);

/*
 * dm_file_walk - give every value to |fn|, in order. Returns 0, what |fn| returned, SLUICE_ERR_SYNTAX with "line N: ..." in |error|
 * (no YAML, no UTF-8, more than one document, too deep, too large), SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int dm_file_walk(const char *text, size_t len, dm_file_value_fn fn, void *arg, struct text *error);
/* dm_file_value_is - do exactly these keys lead to it? |b| NULL: only |a|. */
bool dm_file_value_is(const struct dm_file_value *v, const char *a, const char *b);
