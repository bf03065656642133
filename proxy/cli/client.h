/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - HTTP to the daemon: one call, or a stream of events. Blocks; SIGINT ends a wait. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include "core/attr.h"
#include "core/text.h"

struct args;
struct client; /* opaque */

/*
 * client_open - find the daemon by --admin, -c or SLUICE_ADMIN, in this order, and its token. Connects to nobody yet.
 * Returns 0 and |*out|; or, with |error| filled: SLUICE_ERR_CONFIG (the file), SLUICE_ERR_INVALID (none is named, or the address
 * is none), SLUICE_ERR_IO (a file cannot be read), SLUICE_ERR_NOMEM.
 */
SLUICE_MUSTCHECK int client_open(const struct args *args, struct client **out, struct text *error);
/* client_close - NULL is nothing. */
void client_close(struct client *c);

/* client_path - append |segments| (NULL ends them), each percent-encoded, as "/v1/a/b". */
void client_path(struct text *out, const char *const *segments);

/*
 * client_call - one request, one answer.
 *
 * |body|  sent as JSON with POST; NULL is GET.
 * Returns 0 with |*out_doc|, a JSON object (the caller's reference) and |*out_status|, the HTTP status; or, with |error| filled:
 *   SLUICE_ERR_UNREACHABLE  nobody listens there; nothing was sent.
 *   SLUICE_ERR_IO           the connection broke or took too long after it was made: what was ordered may have been done.
 *   SLUICE_ERR_PROTOCOL     the answer is no JSON object.
 *   SLUICE_ERR_CANCELED     Ctrl-C.
 *   SLUICE_ERR_NOMEM
 */
SLUICE_MUSTCHECK int client_call(struct client *c, const char *path, const json_t *body, json_t **out_doc,
                                 long *out_status, struct text *error);

/* One event; |event| is an object, valid during the call. Returns true when no further one is wanted. */
typedef bool (*client_event_fn)(void *arg, const json_t *event);
/*
 * client_follow - read server-sent events until |fn| has enough.
 * Returns 0 when |fn| had enough; SLUICE_ERR_IO when the stream ended or failed before; SLUICE_ERR_CANCELED on Ctrl-C.
 */
SLUICE_MUSTCHECK int client_follow(struct client *c, const char *path, client_event_fn fn, void *arg);

/* client_wait - sleep for |ms|. Returns 0, or SLUICE_ERR_CANCELED on Ctrl-C. */
SLUICE_MUSTCHECK int client_wait(unsigned ms);
