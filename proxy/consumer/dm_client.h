/* SPDX-License-Identifier: Apache-2.0 */
/* dm_client.h - one call to DM's masters: any of them will do, a dead one is passed over. On a libuv loop. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>
#include "config/config.h" /* struct config_address */
#include "consumer/http.h"
#include "core/attr.h"
#include "core/text.h"

struct dm_client; /* opaque */

struct dm_request {
    const char *method; /* with a gRPC call: NULL */
    const char *path;   /* "/apis/v1alpha1/…", or the method's of gRPC */
    const char *body;   /* NULL: none */
    size_t body_len;
    uint32_t timeout_ms; /* in all, whatever the number of masters */
};

/*
 * How a call ended: 0 with the body of an answer that was 200 (and grpc-status 0), else SLUICE_ERR_* with |text|, which names the
 * master and gives its words. Valid inside the call only.
 */
typedef void (*dm_client_fn)(void *arg, int status, const char *text, const char *body, size_t len);

/* dm_client_new - |masters| and |security| are copied. 0 or SLUICE_ERR_NOMEM. */
SLUICE_MUSTCHECK int dm_client_new(uv_loop_t *loop, const struct config_address *masters, size_t count,
                                   const struct http_security *security, struct dm_client **out);
/* dm_client_call - |fn| exactly once, never from inside. 0 or SLUICE_ERR_NOMEM, with nothing begun. */
SLUICE_MUSTCHECK int dm_client_call(struct dm_client *c, const struct dm_request *request, dm_client_fn fn, void *arg);
/* dm_client_close - calls under way end with SLUICE_ERR_CANCELED, then |on_closed(arg)|, after which |c| is gone. */
void dm_client_close(struct dm_client *c, void (*on_closed)(void *arg), void *arg);
