/* SPDX-License-Identifier: Apache-2.0 */
/* render.h - answers of the daemon as people read them, on stdout. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

/* render_source - one of "sources": a head, its backends, its consumer, its switch. */
void render_source(const json_t *source);
/* render_checks - each of "checks" on a line, what to do under it; |all| false leaves out those that are ok. */
void render_checks(const json_t *checks, bool all);
/* render_step - {"type":"step",...} or an element of "steps", as the outcome of |phase|: a step that names another phase than the one
 * before it tells how that one ended. */
void render_step(const json_t *step, const char *phase);
/* render_end - the last line of a switch: |outcome| has its figures. */
void render_end(const json_t *outcome, int code);
/* render_history - "switches": one line each. */
void render_history(const json_t *switches);
