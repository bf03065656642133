/* SPDX-License-Identifier: Apache-2.0 */
/* call.h - what the verbs share: the client, one call with its failures told, the body of a switch. */
#pragma once
#include <jansson.h>
#include "core/attr.h"

struct args;
struct client;

/* call_open - CLI_EXIT_DONE and |*out|, or the exit code with the reason told. */
SLUICE_MUSTCHECK int call_open(const struct args *args, struct client **out);
/*
 * call_once - one call; |body| NULL is GET. Returns the exit code. |*out_doc| is the answer (the caller's reference), to be shown;
 * NULL when there is none, with the reason told. |query| is appended to the path; "" for none.
 */
SLUICE_MUSTCHECK int call_once(const struct args *args, struct client *client, const char *const *segments,
                               const char *query, const json_t *body, json_t **out_doc);
/* call_follow - |doc| is the answer to an order, |code| what it means: follow what was begun to its end, or tell why nothing was. */
SLUICE_MUSTCHECK int call_follow(const struct args *args, struct client *client, const json_t *doc, int code,
                                 const char *what, const char *to);
/* call_accepting - put --wait-catchup, --accept-loss and --accept-errant into |body|. 0, or not when memory ran out. */
SLUICE_MUSTCHECK int call_accepting(const struct args *args, json_t *body);
/* call_switch_body - {"to":BACKEND, ...} from the options; NULL when memory ran out. */
json_t *call_switch_body(const struct args *args);
