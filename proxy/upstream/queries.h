/* SPDX-License-Identifier: Apache-2.0 */
/* queries.h - what Sluice asks servers, on an open connector. Every function blocks: for run functions of
 * upstream/pool.h. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "core/attr.h"
#include "core/facts.h"
#include "core/threads.h"
#include "upstream/connector.h"

struct gtid_set; /* sluice/gtid.h */

/*
 * facts_read - everything of struct facts, but probed_ms. GTIDs in the order owned, executed, ..., purged last.
 *
 * |out| is filled on success and the caller's (facts_free()); untouched on failure. What the server's version does not
 * have is "" or 0; what the account may not read is named in missing_grants. Returns 0, an error of connector_query(),
 * SLUICE_ERR_PROTOCOL (an answer that cannot be parsed) or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int facts_read(struct connector *c, struct facts *out, struct upstream_error *error);

/* What is read at the gate, without the rest of struct facts. */
struct gtids {
    char server_uuid[FACTS_UUID_LEN + 1];
    struct gtid_set *owned;    /* read first: transactions that are in flight or wait for a semi-sync acknowledgement */
    struct gtid_set *executed; /* read after owned: E */
    struct gtid_set *purged;   /* read last: P */
};
/*
 * gtids_read - owned, then executed, then purged, each by a statement of its own, then server_uuid.
 * For the old server owned ∪ executed is the stand-in for D; for the new one E is read before P, so that P is the
 * freshest. Errors and ownership as of facts_read(); release with gtids_free().
 */
SLUICE_MUSTCHECK int gtids_read(struct connector *c, struct gtids *out, struct upstream_error *error);
/* gtids_free - empties |g|. */
void gtids_free(struct gtids *g);

/* SHOW PROCESSLIST and the row of the connection that asked. */
struct processlist {
    struct threads_row *rows; /* in the server's order; NULL when none */
    size_t count;
    uint64_t own_id;                      /* CONNECTION_ID() */
    char own_host[THREADS_HOST_LEN + 1];  /* our row's HOST, "10.0.0.5:51334": how the server names our address */
    char own_user[THREADS_USER_LEN + 1];  /* the user of our row */
    char server_uuid[FACTS_UUID_LEN + 1]; /* of the server that showed it */
};
/*
 * processlist_read - Returns 0 and |*out| (processlist_free()), an error of connector_query(), SLUICE_ERR_PROTOCOL (our
 * own row is not there: the list cannot be trusted; performance_schema_show_processlist hides rows without an error),
 * SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int processlist_read(struct connector *c, struct processlist *out, struct upstream_error *error);
/* processlist_free - empties |p|. */
void processlist_free(struct processlist *p);

enum kill_result {
    KILL_PENDING, /* before kill_threads() */
    KILL_DONE,    /* KILL was accepted; the thread may live on for a moment */
    KILL_GONE,    /* no thread has this id and this HOST any more */
    KILL_DENIED,  /* 1095 or 1227: the account may not; see |error_text| */
    KILL_FAILED   /* another error of the server */
};
struct kill_order {
    uint64_t id;
    char host[THREADS_HOST_LEN + 1]; /* HOST as the processlist showed it, with its port */
    enum kill_result result;         /* out */
    char user[THREADS_USER_LEN + 1]; /* out: whose thread it was, "" when gone: a 1095 is reported with it */
    char error_text[256];            /* out: "" unless KILL_DENIED or KILL_FAILED */
};
/*
 * kill_threads - read the processlist again and KILL those of |orders| of which both id and HOST are there.
 * Returns 0 with each order's result set, or an error of connector_query(): then what is KILL_PENDING was not tried.
 */
SLUICE_MUSTCHECK int kill_threads(struct connector *c, struct kill_order *orders, size_t count,
                                  struct upstream_error *error);
