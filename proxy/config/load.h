/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - one reading of a file: the YAML document, where each value stands in it, and the first thing that is wrong. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>
#include "config/config.h"
#include "core/attr.h"
#include "core/text.h"

/* Where the value of a field, or a map, was read. */
struct load_mark {
    const void *field; /* address in struct config, which does not move; NULL: a map */
    int line;          /* from 1 */
    char *key;         /* "sources[0].account.user" */
};

struct load {
    const char *path;
    bool is_admin_only; /* read `admin`, let the rest be */
    yaml_document_t doc;
    struct text where; /* the key that is being read */
    struct load_mark *marks;
    size_t mark_count, mark_room;
    bool is_sorted;    /* by field; no mark is added any more */
    struct text error; /* "" while all is well */
};

/* load_fail - remember "PATH:LINE: KEY: ..." and return SLUICE_ERR_CONFIG. |line| 0 leaves the line out; |key| may be "". */
int load_fail(struct load *l, int line, const char *key, const char *fmt, ...) SLUICE_PRINTF(4, 5);
/* load_mark_add - remember that |field| was read at |line| under the key l->where. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int load_mark_add(struct load *l, const void *field, int line);
/* load_marks_sort - once all is read: finding is fast from now on. */
void load_marks_sort(struct load *l);
/* load_line_of_map - the line of the map that stands under |key|; 0 when there is none. */
int load_line_of_map(const struct load *l, const char *key);
/* load_mark_find - where |field| was read; NULL when the file does not give it. */
const struct load_mark *load_mark_find(const struct load *l, const void *field);
/* load_fail_at - load_fail() for |field|, which the file gives. */
#define load_fail_at(l, field, ...)                                                                                    \
    load_fail((l), load_mark_find((l), (field))->line, load_mark_find((l), (field))->key, __VA_ARGS__)
/* load_free - release all of it but |path|. */
void load_free(struct load *l);

/* load_document - read the file and compose the document. Returns 0, SLUICE_ERR_CONFIG, SLUICE_ERR_IO or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int load_document(struct load *l);
/* load_config - fill |config| from the document by the table of schema.c; it may be half full on failure. As above. */
SLUICE_MUSTCHECK int load_config(struct load *l, struct config *config);

/* check_config - what one value must have to do with another (check.c). Returns 0, SLUICE_ERR_CONFIG, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int check_config(struct load *l, struct config *config);
/* check_admin - the same for `admin` alone. */
SLUICE_MUSTCHECK int check_admin(struct load *l, const struct config_admin *admin);
