/* SPDX-License-Identifier: Apache-2.0 */
/* dm_bodies.h - the JSON bodies by which a source is moved, and the plan of a move as the journal keeps it. */
#pragma once
#include <stddef.h>
#include "core/attr.h"
#include "core/dm_move.h"

enum { DM_OP_STOP_TASK = 7, DM_OP_STOP_TASK_V5 = 1, DM_OP_PAUSE_TASK = 2 }; /* enum TaskOp; v6.0 renamed 1 to 7 */

#define DM_PATH_SOURCES "/apis/v1alpha1/sources"
#define DM_PATH_TASKS   "/apis/v1alpha1/tasks"

/* Each as JSON text; mem_free(); NULL when memory ran out. */
SLUICE_MUSTCHECK char *dm_body_create_source(const char *config, const char *worker); /* |worker| "": any free one */
SLUICE_MUSTCHECK char *dm_body_stop_source(const char *source_id);
SLUICE_MUSTCHECK char *dm_body_start_task(const char *task, const char *source_id);
SLUICE_MUSTCHECK char *dm_body_operate_task(int op, const char *source_id);

/* dm_move_plan_write, dm_move_plan_read - NULL when memory ran out; 0, SLUICE_ERR_INVALID, SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK char *dm_move_plan_write(const struct dm_move_plan *plan);
SLUICE_MUSTCHECK int dm_move_plan_read(const char *json, struct dm_move_plan *out);

/*
 * dm_move_calls - every call in the order in which it would be made, as a JSON array of {"method","path","body"} in text; a body of
 * gRPC is its message with the names of its fields. What is shown of the files is theirs: give them masked. mem_free();
 * NULL when memory ran out.
 */
struct dm_move_files {
    const char *new_file; /* of the source */
    const char *const *task_names;
    const char *const *task_files;
    size_t task_count;
};
SLUICE_MUSTCHECK char *dm_move_calls(const struct dm_move_plan *plan, const char *source_id,
                                     const struct dm_move_files *files);
