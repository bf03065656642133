/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - from the answer to GET /v1/sources to Prometheus' text: both always show the same snapshot.
 *
 * Of each member of "sources" these are read; one that is missing or of another type gives no sample:
 *   "source-id", "active", "epoch", "mode", "held", "sessions", "streams", "latch", "switch": "phase", "elapsed-ms",
 *   "backends"[]: "name", "reachable", "connections";
 *   "counters": numbers by the names of struct sessions_counters in kebab-case ("closed-idle-total"), with or without
 *       "-total", and "switches-done", "switches-undone", "switches-failed", "invariant-violations"; a name that is not
 *       known here appears as sluice_source_<name>;
 *   "hold-histogram": {"bounds-ms": n ascending numbers, "counts": n or n + 1 numbers, each of its own bucket only (the
 *       last above all bounds), "sum-ms": number}.
 */
#pragma once
#include <jansson.h>

struct text;

#define ADMIN_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* admin_metrics_render - append the metrics of all sources in |doc| and of the process. Memory: |out|'s status. */
void admin_metrics_render(const json_t *doc, struct text *out);
/* admin_metrics_process - those of the process alone: CPU, memory, descriptors, start. Reads /proc; part of the above. */
void admin_metrics_process(struct text *out);
