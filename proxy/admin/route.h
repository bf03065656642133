/* SPDX-License-Identifier: Apache-2.0 */
/* route.h - from method and path of a request to what is asked. Pure: no I/O, no allocation. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "admin/admin.h"

enum admin_route_kind {
    ADMIN_ROUTE_CALL,    /* |verb| goes to the handler */
    ADMIN_ROUTE_METRICS, /* ADMIN_VERB_SOURCES, rendered */
    ADMIN_ROUTE_EVENTS,  /* the event stream of |switch_number| */
    ADMIN_ROUTE_HEALTHZ, /* answered at once */
};

struct admin_route {
    enum admin_route_kind kind;
    enum admin_verb verb;                          /* CALL; METRICS: SOURCES; EVENTS: SWITCH_GET */
    bool is_post;                                  /* a body of type application/json is expected */
    uint64_t switch_number;                        /* 0 when the path has none */
    char source_id[ADMIN_SOURCE_ID_BYTES_MAX + 1]; /* "" when the path has none */
};

/*
 * admin_route_find - which route |method| and |path| mean.
 *
 * |path|       as the client wrote it, without the query: still percent-encoded, so that "%2F" stays inside its segment.
 * |out_allow|  on 405: the value of the Allow header.
 * Returns 0, or the HTTP status of the refusal: 400 (a segment that does not decode to UTF-8 without NUL, or is too long), 404, 405.
 */
SLUICE_MUSTCHECK int admin_route_find(const char *method, const char *path, struct admin_route *out_route,
                                      const char **out_allow);

/* admin_verb_name - "switch" …, for the log. */
const char *admin_verb_name(enum admin_verb verb);
