/* SPDX-License-Identifier: Apache-2.0 */
/* dm_internal.h - what the files of dm share. Not for other modules. */
#pragma once
#include "core/dm.h"

static inline const char *dm_text_of(const char *s)
{
    return s == NULL ? "" : s;
}

enum consumer_stage dm_task_stage(const struct dm_task *t);
const struct dm_task *dm_find_task(const struct dm_source *s, const char *name); /* NULL: it is not shown */
/* dm_set_of - a new set; NULL: empty, no set, or no memory; each of them means that it cannot be told. */
struct gtid_set *dm_set_of(const char *gtid);
/*
 * dm_relay_lag - how many transactions of |t| the relay lacks; |*out_has|: how many |t| has. 0 also where S is not known, and
 * UINT64_MAX where the relay's set is not.
 */
uint64_t dm_relay_lag(const struct dm_relay *relay, const struct dm_task *t, uint64_t *out_has);
