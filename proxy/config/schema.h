/* SPDX-License-Identifier: Apache-2.0 */
/* schema.h - the one table of all keys of the file: parsing, checks, defaults, release and the reference work from it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "config/config.h"

struct text;

/* A map in the file. A row names the maps it can stand in as a mask of these. */
enum schema_section {
    SCHEMA_TOP = 1 << 0,        /* struct config */
    SCHEMA_ADMIN = 1 << 1,      /* struct config_admin */
    SCHEMA_SOURCE = 1 << 2,     /* struct config_source */
    SCHEMA_ACCOUNT = 1 << 3,    /* struct config_account */
    SCHEMA_TLS = 1 << 4,        /* struct config_account too: its tls_* fields */
    SCHEMA_BACKEND = 1 << 5,    /* struct config_backend */
    SCHEMA_CONSUMER = 1 << 6,   /* struct config_consumer */
    SCHEMA_CLIENT_TLS = 1 << 7, /* struct config_tls */
    SCHEMA_SECURITY = 1 << 8,   /* struct config_consumer too: its ssl_* fields */
    SCHEMA_PROXY = 1 << 9,      /* struct config_proxy_protocol */
};

enum schema_type {
    SCHEMA_DURATION,  /* uint32_t, milliseconds */
    SCHEMA_COUNT,     /* uint32_t */
    SCHEMA_NAME,      /* char *: 1..64 of [A-Za-z0-9._-] */
    SCHEMA_STRING,    /* char *, not empty unless |min| is 0 */
    SCHEMA_PATH,      /* char *, a file that must be readable */
    SCHEMA_SECRET,    /* char *, the content of a file; |offset_more| is where its path goes */
    SCHEMA_ADDRESS,   /* struct config_address */
    SCHEMA_LISTEN,    /* struct config_address with a numeric host */
    SCHEMA_ADDRESSES, /* struct config_address *, one string or a list; |offset_more| is the size_t count */
    SCHEMA_NETWORKS,  /* struct network *, one string or a list; |offset_more| is the size_t count */
    SCHEMA_IP,        /* char *, an IP address without a port */
    SCHEMA_BOOL,      /* bool */
    SCHEMA_CHOICE,    /* an enum of the size of int; |choices| */
    SCHEMA_MAP,       /* a map of |section| at |offset| */
    SCHEMA_LIST,      /* an array of maps of |section|, each |item_size| bytes; |offset_more| is the size_t count */
};

enum { SCHEMA_CHOICE_NOT_YET = -1 }; /* a word that a later version will know */

struct schema_choice {
    const char *word; /* NULL ends the list */
    int value;
};

struct schema_row {
    unsigned
        sections; /* mask of enum schema_section; SCHEMA_TOP | SCHEMA_SOURCE marks a field of struct config_limits */
    const char *key;
    enum schema_type type;
    bool required;
    size_t offset;            /* in the section's struct; in struct config_limits for a limit */
    size_t offset_more;       /* see the types */
    uint32_t min, max;        /* DURATION, COUNT, LIST: both ends are allowed */
    const char *initial;      /* the default as the file would say it; NULL: none, or said in |initial_note| */
    const char *initial_note; /* what the reference says of the default where |initial| is not all; NULL otherwise */
    const char *within;       /* the key of the same level that contains this one; NULL: none */
    uint32_t reserve_ms;      /* value + reserve < the container's value; with 0: value <= the container's */
    const struct schema_choice *choices;
    enum schema_section section; /* MAP, LIST */
    size_t item_size;            /* LIST */
    const char *help;            /* a clause without a full stop */
};

extern const struct schema_row schema_rows[];
extern const size_t schema_row_count;

/* schema_find - the row of |key| in |section|; NULL when there is none. Any thread. */
const struct schema_row *schema_find(enum schema_section section, const char *key);
/* schema_is_limit - whether |row| is a field of struct config_limits, and so may stand at both levels. Any thread. */
bool schema_is_limit(const struct schema_row *row);
/* schema_field - where |row|'s value lies in |base|, the struct of |section|. Any thread. */
void *schema_field(const struct schema_row *row, enum schema_section section, void *base);
/* schema_free - release all that the rows of |section| own in |base|, and clear secrets. Any thread. */
void schema_free(enum schema_section section, void *base);

/* What schema_walk() shows of one leaf of the tree of keys; texts are valid during the call. */
struct schema_leaf {
    const struct schema_row *row;
    const char *key;   /* "account.tls.mode", "backends[].name" */
    const char *level; /* "global", "source" or "global, source" */
    const char *unit;
    const char *initial; /* "required", "none" or the default */
    const char *range;
    const char *within; /* "" when nothing contains it */
};
typedef void (*schema_leaf_fn)(void *arg, const struct schema_leaf *leaf);

/* schema_walk - call |fn| for each key that takes a value, in the table's order. Returns 0 or SLUICE_ERR_NOMEM. Any thread. */
SLUICE_MUSTCHECK int schema_walk(schema_leaf_fn fn, void *arg);
/* schema_print_note - the comment that the full example carries above a key: all of |leaf| on one line, without "#". */
void schema_print_note(const struct schema_leaf *leaf, struct text *out);
