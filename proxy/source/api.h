/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - between the admin interface on the main loop and the sources on theirs: letters there and back. */
#pragma once
#include <jansson.h>
#include <stdint.h>
#include "admin/admin.h"

/* api_handle - an admin_handler_fn; |daemon| is a struct daemon. Main loop. */
void api_handle(void *daemon, struct admin_token *token, const struct admin_call *call);
/* api_publish - source_host.publish; |daemon_source| is a struct daemon_source. The source's loop. */
void api_publish(void *daemon_source, uint64_t switch_number, json_t *event);
