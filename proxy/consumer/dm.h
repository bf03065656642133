/* SPDX-License-Identifier: Apache-2.0 */
/* dm.h - a consumer of type dm, behind consumer.h: every task of one source, its relay, its validators. On the source's loop. */
#pragma once
#include "consumer/consumer.h"

struct dm; /* opaque */

/* dm_new - 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_new(const struct consumer_dm_settings *settings, struct dm **out);
/* The rest as of consumer.h. */
void dm_close(struct dm *dm, void (*on_closed)(void *arg), void *arg);
SLUICE_MUSTCHECK int dm_set_server(struct dm *dm, const char *server_uuid);
void dm_set_delivered(struct dm *dm, const struct gtid_set *delivered);
void dm_status(struct dm *dm, uint32_t timeout_ms, consumer_status_fn fn, void *arg);
SLUICE_MUSTCHECK int dm_plan(const struct dm *dm, const struct consumer_status *status, char **out_json,
                             struct upstream_error *error);
SLUICE_MUSTCHECK int dm_narrow(const struct dm *dm, const char *plan, const struct consumer_status *status,
                               char **out_json, struct upstream_error *error);
SLUICE_MUSTCHECK int dm_plan_flip(const struct dm *dm, const char *plan, const char *executed, char **out_json,
                                  struct upstream_error *error);
void dm_set_progress(struct dm *dm, consumer_progress_fn fn, void *arg);
void dm_cancel(struct dm *dm);
void dm_pause(struct dm *dm, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg);
void dm_resume(struct dm *dm, const char *plan, uint32_t timeout_ms, consumer_done_fn fn, void *arg);
SLUICE_MUSTCHECK int dm_judge_resumed(struct dm *dm, const char *plan, const struct consumer_status *status,
                                      const struct consumer_evidence *evidence, bool *out_progresses,
                                      struct upstream_error *error);
