/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/record.h"
#include "core/error.h"
#include "core/mem.h"

int record_set(char **field, const char *value)
{
    char *copy = mem_strdup(value == NULL ? "" : value);
    if (copy == NULL) return SLUICE_ERR_NOMEM;
    mem_free(*field);
    *field = copy;
    return 0;
}

const char *record_switch_state_name(enum record_switch_state state)
{
    switch (state) {
    case RECORD_SWITCH_OPEN: return "open";
    case RECORD_SWITCH_DONE: return "done";
    case RECORD_SWITCH_UNDONE: return "undone";
    case RECORD_SWITCH_FAILED: return "failed";
    }
    return "?";
}

void record_source_free(struct record_source *r)
{
    mem_free(r->source_id);
    mem_free(r->active);
    mem_free(r->accepted_loss);
    mem_free(r->latch);
    mem_free(r->latch_backend);
    *r = (struct record_source){ 0 };
}

int record_source_copy(struct record_source *out, const struct record_source *r)
{
    struct record_source copy = {
        .has_record = r->has_record, .epoch = r->epoch, .has_moved = r->has_moved, .is_held = r->is_held
    };
    if (record_set(&copy.source_id, r->source_id) != 0 || record_set(&copy.active, r->active) != 0 ||
        record_set(&copy.accepted_loss, r->accepted_loss) != 0 || record_set(&copy.latch, r->latch) != 0 ||
        record_set(&copy.latch_backend, r->latch_backend) != 0) {
        record_source_free(&copy);
        return SLUICE_ERR_NOMEM;
    }
    *out = copy;
    return 0;
}

void record_pin_free(struct record_pin *r)
{
    mem_free(r->source_id);
    mem_free(r->backend);
    mem_free(r->server_uuid);
    mem_free(r->executed);
    *r = (struct record_pin){ 0 };
}

int record_pin_copy(struct record_pin *out, const struct record_pin *r)
{
    struct record_pin copy = { .updated_unix_ms = r->updated_unix_ms };
    if (record_set(&copy.source_id, r->source_id) != 0 || record_set(&copy.backend, r->backend) != 0 ||
        record_set(&copy.server_uuid, r->server_uuid) != 0 || record_set(&copy.executed, r->executed) != 0) {
        record_pin_free(&copy);
        return SLUICE_ERR_NOMEM;
    }
    *out = copy;
    return 0;
}

void record_switch_free(struct record_switch *r)
{
    mem_free(r->source_id);
    mem_free(r->from);
    mem_free(r->to);
    mem_free(r->phase);
    mem_free(r->plan);
    mem_free(r->options);
    mem_free(r->msg);
    mem_free(r->report);
    *r = (struct record_switch){ 0 };
}

int record_switch_copy(struct record_switch *out, const struct record_switch *r)
{
    struct record_switch copy = {
        .number = r->number,
        .epoch_from = r->epoch_from,
        .epoch_to = r->epoch_to,
        .state = r->state,
        .started_unix_ms = r->started_unix_ms,
        .ended_unix_ms = r->ended_unix_ms,
        .exit_code = r->exit_code,
    };
    if (record_set(&copy.source_id, r->source_id) != 0 || record_set(&copy.from, r->from) != 0 ||
        record_set(&copy.to, r->to) != 0 || record_set(&copy.phase, r->phase) != 0 ||
        record_set(&copy.plan, r->plan) != 0 || record_set(&copy.options, r->options) != 0 ||
        record_set(&copy.msg, r->msg) != 0 || record_set(&copy.report, r->report) != 0) {
        record_switch_free(&copy);
        return SLUICE_ERR_NOMEM;
    }
    *out = copy;
    return 0;
}
