/* SPDX-License-Identifier: Apache-2.0 */
/* answers.h - small helpers for whoever reads a server's answers: names that changed with a version, GTID sets, texts. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "core/attr.h"
#include "upstream/connector.h"

struct gtid_set;

/* answers_version_id - 80407 for "8.4.7-log"; 0 for what is no version. Any thread. */
uint32_t answers_version_id(const char *version);
/* answers_is_mariadb - by the version's text. */
bool answers_is_mariadb(const char *version);
/* answers_copy - copy |from| (NULL is "") into |out|, cut to |room|. */
void answers_copy(char *out, size_t room, const char *from);
/* answers_text2 - the cell of the first of two column names that exists: replica words, then slave words. */
const char *answers_text2(const struct rows *r, size_t row, const char *name, const char *old_name);
/* answers_gtid_set - parse a cell (NULL is the empty set); 0, SLUICE_ERR_PROTOCOL with |error|, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int answers_gtid_set(const char *text, struct gtid_set **out, struct upstream_error *error);
/* answers_select_gtid_set - run |sql|, which answers one set; |is_owned| for the text of @@gtid_owned. */
SLUICE_MUSTCHECK int answers_select_gtid_set(struct connector *c, const char *sql, bool is_owned, struct gtid_set **out,
                                             struct upstream_error *error);
/*
 * answers_replica_status - SHOW REPLICA STATUS in the words of the server's version; all channels.
 * Errors of connector_query(); |*out| is the caller's.
 */
SLUICE_MUSTCHECK int answers_replica_status(struct connector *c, struct rows **out, struct upstream_error *error);
