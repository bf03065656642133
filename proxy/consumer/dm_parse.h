/* SPDX-License-Identifier: Apache-2.0 */
/* dm_parse.h - DM's JSON and YAML to the plain values of core/dm.h. Nothing of an answer is trusted to be there, or to be of its type. */
#pragma once
#include <stddef.h>
#include "core/attr.h"
#include "core/dm.h"

enum { DM_ANSWER_BYTES_MAX = 8 * 1024 * 1024, DM_ERROR_LEN = 400 };

/*
 * dm_parse_status - an answer of GET /apis/v1alpha1/status/?sources=ID. |out| must be empty. A well-formed answer that does not
 * show the tasks gives 0 with |out->is_known| false and the reason in |out->why|.
 * Returns 0, SLUICE_ERR_PROTOCOL (no JSON object; |error| of DM_ERROR_LEN + 1 says why) or SLUICE_ERR_NOMEM; |out| empty on failure.
 */
SLUICE_MUSTCHECK int dm_parse_status(const char *body, size_t len, const char *source_id, struct dm_source *out,
                                     char *error);
/* dm_parse_members - of GET /apis/v1alpha1/members: leader, masters, who has the source. Results as of dm_parse_status(). */
SLUICE_MUSTCHECK int dm_parse_members(const char *body, size_t len, const char *source_id, struct dm_facts *out,
                                      char *error);
/* dm_parse_source_config - of GET /apis/v1alpha1/tasks/ID?type=4: the source's own YAML, its password masked by DM. */
SLUICE_MUSTCHECK int dm_parse_source_config(const char *body, size_t len, struct dm_facts *out, char *error);
/*
 * dm_parse_operated - how an order was taken: the answer's own result, and that of this source in it.
 * Returns 0, SLUICE_ERR_REFUSED (DM's words in |error|), SLUICE_ERR_PROTOCOL.
 */
SLUICE_MUSTCHECK int dm_parse_operated(const char *body, size_t len, const char *source_id, char *error);
/* dm_parse_failure - the words of an answer that is not 200: "HTTP 500: code 2: …". */
void dm_parse_failure(int http_status, const char *body, size_t len, char *error);

/* dm_path_of - |name| as one segment of a URL's path, percent-encoded; NULL when memory ran out. */
SLUICE_MUSTCHECK char *dm_path_of(const char *name);
/* dm_plan_write, dm_plan_read - the plan as JSON text to be journaled. NULL when memory ran out; 0, SLUICE_ERR_INVALID, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK char *dm_plan_write(const struct dm_plan *plan, const char *source_id);
SLUICE_MUSTCHECK int dm_plan_read(const char *json, struct dm_plan *out);
