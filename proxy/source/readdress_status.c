/* SPDX-License-Identifier: Apache-2.0 */
/* What an address change says of itself: to those who want to begin something else, as JSON, and by its record. */
#include <stdio.h>
#include <string.h>
#include "source/readdress_run.h"

/* ---- by its record ---- */

bool readdress_is_record(const struct record_switch *record)
{
    json_t *options = record->options == NULL ? NULL : json_loads(record->options, 0, NULL);
    const char *kind = json_string_value(json_object_get(options, "kind"));
    bool is_it = kind != NULL && strcmp(kind, "readdress") == 0;
    json_decref(options);
    return is_it;
}

enum readdress_reach readdress_reach_of(const struct record_switch *record)
{
    const char *phase = record->phase == NULL ? "" : record->phase;
    if (strcmp(phase, "stopping") == 0) return READDRESS_REACH_STOPPED;
    if (strcmp(phase, "starting") == 0 || strcmp(phase, READDRESS_PHASE_UNDOING) == 0) return READDRESS_REACH_STARTING;
    if (strcmp(phase, "started") == 0) return READDRESS_REACH_STARTED;
    return READDRESS_REACH_PAUSED;
}

bool readdress_record_is_left(const struct record_switch *record)
{
    enum readdress_reach reach = readdress_reach_of(record);
    return record->state == RECORD_SWITCH_OPEN && readdress_is_record(record) &&
           (reach == READDRESS_REACH_STOPPED || reach == READDRESS_REACH_STARTING);
}

/* ---- what others ask ---- */

bool readdress_is_open(const struct readdress_run *run)
{
    return run != NULL && run->is_open;
}

uint64_t readdress_number(const struct readdress_run *run)
{
    return run->number;
}

bool readdress_may_be_left(const struct readdress_run *run)
{
    if (run == NULL || !run->is_open || run->is_dry) return true;
    switch (run->machine.state) {
    case READDRESS_STATE_IDLE:
    case READDRESS_STATE_VERIFY: return true;
    case READDRESS_STATE_RESUME:
    case READDRESS_STATE_UNDO_RESUME: return run->has_tried_resume;
    case READDRESS_STATE_CHECK:
    case READDRESS_STATE_CATCHUP:
    case READDRESS_STATE_RECORD:
    case READDRESS_STATE_PAUSE:
    case READDRESS_STATE_GATE:
    case READDRESS_STATE_NOTE_STOP:
    case READDRESS_STATE_STOP:
    case READDRESS_STATE_EMPTY:
    case READDRESS_STATE_GATE_AGAIN:
    case READDRESS_STATE_NOTE_START:
    case READDRESS_STATE_START:
    case READDRESS_STATE_NOTE_DONE:
    case READDRESS_STATE_ENDING:
    case READDRESS_STATE_UNDO_NOTE:
    case READDRESS_STATE_UNDO_STOP:
    case READDRESS_STATE_UNDO_GATE:
    case READDRESS_STATE_UNDO_START:
    case READDRESS_STATE_END:
    case READDRESS_STATE_REST:
    case READDRESS_STATE_COUNT: return false;
    }
    return false;
}

bool readdress_busy(const struct readdress_run *run, char *out, size_t room, uint64_t *out_number)
{
    if (run == NULL || (!run->is_open && !run->is_unfinished)) return false;
    const char *id = run->source->config->source_id;
    *out_number = run->is_open && !run->is_dry ? run->number : run->is_dry ? 0 : run->record.number;
    if (run->is_dry) {
        snprintf(out, room, "a dry run of readdress of source %s is in progress; try again", id);
    } else if (run->is_open) {
        snprintf(out, room,
                 "readdress %llu of source %s is in progress (phase %s); see: sluice status %s, or sluice abort %s",
                 (unsigned long long)run->number, id, readdress_state_name(run->machine.state), id, id);
    } else {
        struct text command = TEXT_INIT;
        readdress_command(run, &command);
        snprintf(
            out, room,
            "readdress %llu of source %s is unfinished (phase %s), and DM may not run; to go on: %.300s; to take it "
            "back: the same with --undo",
            (unsigned long long)run->record.number, id, run->record.phase, text_str(&command));
        text_free(&command);
    }
    return true;
}

json_t *readdress_checks(const struct readdress_run *run)
{
    const struct reading shown = { .server_checks = run->checks, .gate_checks = run->gate_checks };
    return status_checks(&shown);
}

json_t *readdress_json(struct readdress_run *run)
{
    const struct record_switch *r = &run->record;
    char *set = run->delivered == NULL ? NULL : gtid_set_print(run->delivered, GTID_SEPARATOR_COMMA, NULL);
    json_t *j =
        json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:o}", "number",
                  (json_int_t)run->number, "source-id", run->source->config->source_id, "from", run->from.name, "to",
                  run->to.name, "state", record_switch_state_name(r->state), "phase",
                  run->machine.state == READDRESS_STATE_IDLE ? (r->phase == NULL ? "" : r->phase)
                                                             : readdress_state_name(run->machine.state),
                  "epoch-from", (json_int_t)r->epoch_from, "epoch-to", (json_int_t)r->epoch_to, "started-unix-ms",
                  (json_int_t)run->started_unix_ms, "ended-unix-ms", (json_int_t)r->ended_unix_ms, "steps",
                  json_deep_copy(run->steps), "checks", readdress_checks(run), "gtid-d",
                  set == NULL ? json_null() : json_string(set), "hold-ms", 0, "held", 0, "longest-wait-ms", 0,
                  "closed-idle", 0, "closed-boundary", 0, "killed", 0, "threads-killed", 0, "options",
                  run->options.json == NULL ? json_object() : json_deep_copy(run->options.json));
    gtid_free(set);
    return j;
}

json_t *readdress_status(const struct readdress_run *run)
{
    struct text command = TEXT_INIT;
    if (run == NULL || run->is_dry || (!run->is_open && !run->is_unfinished)) return json_null();
    if (!run->is_open) readdress_command(run, &command);
    json_t *j = json_pack(
        "{s:I,s:s,s:s,s:s,s:b,s:I,s:s}", "number", (json_int_t)(run->is_open ? run->number : run->record.number),
        "from", run->from.name, "to", run->to.name, "phase",
        run->is_open ? readdress_state_name(run->machine.state) : run->record.phase, "unfinished", !run->is_open,
        "started", (json_int_t)(run->is_open ? run->started_unix_ms : run->record.started_unix_ms), "command",
        text_str(&command));
    text_free(&command);
    return j;
}
