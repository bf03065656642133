/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h - how connector.c fills a result; readers use the rows_* functions of connector.h. */
#pragma once
#include <stddef.h>
#include "core/attr.h"
#include "upstream/connector.h"

/* rows_new - an empty result of |column_count| columns; NULL when memory ran out. */
SLUICE_MUSTCHECK struct rows *rows_new(unsigned column_count);
/* rows_set_name - name column |column|; 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int rows_set_name(struct rows *r, unsigned column, const char *name);
/*
 * rows_add - append a row: |cells[i]| of |lens[i]| bytes, NULL for SQL NULL.
 * Returns 0, SLUICE_ERR_NOMEM, or SLUICE_ERR_PROTOCOL: the result has grown past CONNECTOR_RESULT_BYTES_MAX.
 */
SLUICE_MUSTCHECK int rows_add(struct rows *r, char *const *cells, const unsigned long *lens);
