/* SPDX-License-Identifier: Apache-2.0 */
/* state.c - what was loaded, looked up and freed. */
#include <string.h>
#include "core/mem.h"
#include "journal/journal.h"

void journal_state_free(struct journal_state *state)
{
    for (size_t i = 0; i < state->source_count; i++)
        record_source_free(&state->sources[i]);
    for (size_t i = 0; i < state->pin_count; i++)
        record_pin_free(&state->pins[i]);
    for (size_t i = 0; i < state->open_switch_count; i++)
        record_switch_free(&state->open_switches[i]);
    mem_free(state->sources);
    mem_free(state->pins);
    mem_free(state->open_switches);
    *state = (struct journal_state){ 0 };
}

const struct record_source *journal_state_source(const struct journal_state *state, const char *source_id)
{
    for (size_t i = 0; i < state->source_count; i++) {
        if (strcmp(state->sources[i].source_id, source_id) == 0) return &state->sources[i];
    }
    return NULL;
}

const struct record_pin *journal_state_pin(const struct journal_state *state, const char *source_id,
                                           const char *backend)
{
    for (size_t i = 0; i < state->pin_count; i++) {
        const struct record_pin *pin = &state->pins[i];
        if (strcmp(pin->source_id, source_id) == 0 && strcmp(pin->backend, backend) == 0) return pin;
    }
    return NULL;
}

const struct record_switch *journal_state_open_switch(const struct journal_state *state, const char *source_id)
{
    for (size_t i = 0; i < state->open_switch_count; i++) {
        if (strcmp(state->open_switches[i].source_id, source_id) == 0) return &state->open_switches[i];
    }
    return NULL;
}
