/* SPDX-License-Identifier: Apache-2.0 */
/* fix_dm.h - DM's recorded answers (data/, as they came from a real DM), and status texts made for a test. */
#pragma once
#include "core/dm.h"

/* fix_dm_recorded - the answer's text of data/NAME.json; free(). |out_http_status| may be NULL. */
char *fix_dm_recorded(const char *name, int *out_http_status);
/* fix_dm_status - parse a status of source mysql-01; fails the test where it cannot be. dm_source_free(). */
struct dm_source fix_dm_status(const char *text);
/* fix_dm_recorded_status - both. */
struct dm_source fix_dm_recorded_status(const char *name);
