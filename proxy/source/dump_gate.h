/* SPDX-License-Identifier: Apache-2.0 */
/* dump_gate.h - binlog dumps that wait until the backend they would reach was asked what it has. A source's; its loop only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>
#include "net/sessions.h"

struct source;
struct dump_wait; /* one request */

struct dump_gate {
    struct dump_wait *first; /* in order of arrival */
    uv_timer_t timer;        /* runs while one waits; started and closed by source.c */
    bool is_reading;
    uint32_t op; /* of the last reading begun: it answers requests that came before it */
};

/* dump_gate_on_dump - the hook of struct sessions_stream_hooks; |source| is the source. */
enum sessions_dump dump_gate_on_dump(void *source, uint64_t session, uint32_t backend_index,
                                     const struct tracker_dump_request *request, struct sessions_refusal *out_refusal);
/* dump_gate_free - forget all that wait; nobody is told. */
void dump_gate_free(struct dump_gate *gate);
