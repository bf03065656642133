/* SPDX-License-Identifier: Apache-2.0 */
/* kinds.h - what each type of consumer does behind consumer.h; the functions that block run on a probe thread. */
#pragma once
#include <stdbool.h>
#include "core/attr.h"
#include "core/positions.h"
#include "upstream/connector.h"

struct gtid_set;

/* ---- replica: a MySQL server that replicates through the proxy ---- */

/* What a plan says of a replica. */
struct replica_plan {
    char channel[65];
    bool io;  /* stop and start the IO thread */
    bool sql; /* stop and start the SQL thread */
};

/* replica_read_status - fill |*out| (consumer_status_free()). Errors of connector_query(), SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int replica_read_status(struct connector *c, const char *channel, struct consumer_status *out,
                                         struct upstream_error *error);
/*
 * replica_pause - stop the threads that |plan| names and ask until they are off, up to the connector's deadline.
 * SLUICE_ERR_ACCESS_DENIED names the GRANT; SLUICE_ERR_TIMEOUT; errors of connector_query().
 */
SLUICE_MUSTCHECK int replica_pause(struct connector *c, const struct replica_plan *plan, struct upstream_error *error);
/* replica_resume - start them. Errors as of replica_pause(). */
SLUICE_MUSTCHECK int replica_resume(struct connector *c, const struct replica_plan *plan, struct upstream_error *error);
/* replica_plan_write, replica_plan_read - as JSON text. write: NULL when memory ran out; read: 0 or SLUICE_ERR_INVALID. */
SLUICE_MUSTCHECK char *replica_plan_write(const struct replica_plan *plan);
SLUICE_MUSTCHECK int replica_plan_read(const char *json, struct replica_plan *out);
/* replica_is_resumed - as consumer_is_resumed(). */
SLUICE_MUSTCHECK int replica_is_resumed(const struct replica_plan *plan, const struct consumer_status *status,
                                        struct upstream_error *error);

/* ---- manual: the operator has paused it and says what it has ---- */

/*
 * manual_fill_status - |gtid_s| NULL: not given. Then what was delivered stands for it, if |has_delivered|, and S is not known
 * (is_known false); else the status is a refusal that says what to do. 0 or SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int manual_fill_status(const struct gtid_set *gtid_s, bool has_delivered, struct consumer_status *out);
