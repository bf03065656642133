/* SPDX-License-Identifier: Apache-2.0 */
/* body.h - from the bytes of a request's body to the checked object that the handler gets. Pure. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include "admin/admin.h"

enum { ADMIN_BODY_ERROR_BYTES = 256, ADMIN_WAIT_MS_MAX = 86400000 };

/*
 * admin_body_parse - parse and check the body of a POST, and bring its values to the form admin_call promises.
 *
 * |bytes|      |len| bytes; none at all are taken as {}.
 * |out_error|  on SLUICE_ERR_SYNTAX: what is wrong and where, in words for the client.
 * Returns 0 and |*out_body| (the caller's reference); or SLUICE_ERR_SYNTAX, SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int admin_body_parse(enum admin_verb verb, const char *bytes, size_t len, json_t **out_body,
                                      char out_error[static ADMIN_BODY_ERROR_BYTES]);

/* admin_duration_parse - "500ms", "10s", "1m30s", "2h", "0" to milliseconds up to a day. Returns 0 or SLUICE_ERR_SYNTAX. */
SLUICE_MUSTCHECK int admin_duration_parse(const char *s, uint32_t *out_ms);
