/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a backend be made the active one without a switch: at the first start, after a lost state-dir, after a reinstallation?
 * Only as far as what the consumer has proves it (promise 3); where the consumer cannot tell, no other server of the group may
 * have more than this one.
 */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

enum { TEXT_LEN = 400 };

static void conclude(struct source *s, int status, const char *text)
{
    placement_done_fn done = s->placement.done;
    s->placement.is_active = false;
    done(s, s->placement.arg, status, text);
}

/* With a consumer that cannot tell: every other server was seen, and none has what this one has not. */
static int judge_others(struct source *s, const struct backend *b, char *text, size_t room)
{
    for (size_t i = 0; i < s->backend_count; i++) {
        const struct backend *other = &s->backends[i];
        if (other == b) continue;
        if (!other->has_facts || !other->is_reachable || other->is_wrong) {
            snprintf(text, room,
                     "the consumer cannot tell what it has, and backend %s, which may have been the active one, was "
                     "not seen; "
                     "say which is active: sluice adopt %s BACKEND",
                     other->config->name, s->config->source_id);
            return SLUICE_ERR_REFUSED;
        }
        struct gtid_set *missing = NULL;
        char ranges[GTID_DESCRIBE_BYTES_MIN];
        if (gtid_set_contains(b->facts.executed, other->facts.executed)) continue;
        if (gtid_set_subtract(other->facts.executed, b->facts.executed, &missing) != 0) return SLUICE_ERR_NOMEM;
        gtid_set_describe(missing, ranges, sizeof ranges);
        gtid_set_del(missing);
        snprintf(text, room,
                 "backend %s lacks %s, which %s has; wait for it, or say which is active: sluice adopt %s BACKEND",
                 b->config->name, ranges, other->config->name, s->config->source_id);
        return SLUICE_ERR_REFUSED;
    }
    return 0;
}

static int judge_positions(struct source *s, const struct backend *b, const struct positions *p, char *text,
                           size_t room)
{
    struct gtid_set *loss = source_accepted_loss(s);
    struct gtid_gate_result result;
    const struct gtid_gate_input in = { .purged = b->facts.purged,
                                        .executed = b->facts.executed,
                                        .readers = p->readers,
                                        .reader_count = p->reader_count,
                                        .validators = p->validators,
                                        .validator_count = p->validator_count,
                                        .accepted_loss = loss };
    int rv = loss == NULL || gtid_gate_check(&in, &result) != 0 ? SLUICE_ERR_NOMEM : 0;
    gtid_set_del(loss);
    if (rv != 0) return rv;
    for (size_t i = 0; i < result.condition_count && rv == 0; i++) {
        const struct gtid_gate_condition *c = &result.conditions[i];
        if (c->status == GTID_GATE_OK || c->status == GTID_GATE_UNKNOWN) continue;
        snprintf(text, room, "backend %s does not pass: %.300s; if it is the right one: sluice adopt %s BACKEND",
                 b->config->name, c->text, s->config->source_id);
        rv = SLUICE_ERR_REFUSED;
    }
    gtid_gate_result_free(&result);
    return rv;
}

static void on_status(void *arg, int status, const struct upstream_error *error, const struct consumer_status *found)
{
    struct source *s = arg;
    struct backend *b = s->placement.backend;
    struct positions positions = { 0 };
    char text[TEXT_LEN] = "";
    s->jobs--;
    status_take_consumer(s, status == 0 ? found : NULL, status == 0 ? NULL : error->text);
    if (status != 0) {
        snprintf(text, sizeof text, "the consumer cannot be asked what it has: %.300s", error->text);
    } else if (!b->has_facts || !b->is_reachable) {
        status = SLUICE_ERR_REFUSED;
        snprintf(text, sizeof text, "backend %s does not answer: %.300s", b->config->name, b->probe_error);
    } else if (positions_take(&positions, found) != 0) {
        status = SLUICE_ERR_NOMEM;
    } else if (positions.reader_count == 0) {
        status = judge_others(s, b, text, sizeof text);
    } else {
        status = judge_positions(s, b, &positions, text, sizeof text);
    }
    positions_free(&positions);
    conclude(s, status, *text == '\0' ? error_text(status) : text);
    source_job_ended(s);
}

/*
 * DM's worker asks the upstream itself before it answers a query-status, and that connection is held here as long as nothing is routed:
 * the answer comes once the hold has ended in a refusal, and says what DM has all the same.
 */
static uint32_t status_timeout_ms(const struct source *s)
{
    const struct config_limits *l = &s->config->limits;
    return l->probe_timeout_ms + (s->config->consumer.type == CONFIG_CONSUMER_DM ? l->hold_timeout_ms : 0);
}

void placement_judge(struct source *s, struct backend *b, placement_done_fn done, void *arg)
{
    if (s->placement.is_active) {
        done(s, arg, SLUICE_ERR_BUSY, "it is being judged already; try again");
        return;
    }
    s->placement.is_active = true;
    s->placement.backend = b;
    s->placement.done = done;
    s->placement.arg = arg;
    s->jobs++;
    streams_tell_consumer(s);
    consumer_status(s->consumer, status_timeout_ms(s), on_status, s);
}

/* ---- the first start ---- */

static void on_first_record(void *arg, int status, uint64_t number)
{
    struct source *s = arg;
    (void)number;
    s->jobs--;
    s->is_writing = false;
    if (status == 0 && !s->record.has_record) {
        s->record.has_record = true;
        s->record.epoch = 1;
        if (record_set(&s->record.active, s->config->active) != 0) s->record.has_record = false;
        log_info("the configured backend passed; it is the active one from now on",
                 LOG_STR("source", s->config->source_id), LOG_STR("active", s->config->active),
                 LOG_U64("epoch", s->record.epoch));
        source_admit(s);
    }
    source_job_ended(s);
}

/* Before that a refusal may only mean that it is too early to tell. */
static bool all_were_probed(const struct source *s)
{
    for (size_t i = 0; i < s->backend_count; i++) {
        if (!s->backends[i].is_reachable && s->backends[i].probe_status == 0) return false;
    }
    return true;
}

static void on_first_judged(struct source *s, void *arg, int status, const char *text)
{
    struct record_source first = { 0 };
    (void)arg;
    if (s->is_closing || s->record.has_record) return;
    if (status != 0) {
        if (strcmp(s->waiting_for, text) != 0) {
            log_warn("nobody is routed yet: no record says which backend is active",
                     LOG_STR("source", s->config->source_id), LOG_STR("text", text));
        }
        snprintf(s->waiting_for, sizeof s->waiting_for, "%s", text);
        if (status == SLUICE_ERR_REFUSED && all_were_probed(s)) s->is_ready = true;
        source_admit(s);
        return;
    }
    const struct backend *b = source_backend(s, s->config->active);
    if (b == NULL || strcmp(b->facts.server_uuid, b->pin) != 0) return; /* another server answered meanwhile */
    if (s->is_writing) return;                                          /* judged again with the next probe */
    if (record_source_copy(&first, &s->record) == 0 && record_set(&first.active, s->config->active) == 0) {
        first.has_record = true;
        first.epoch = 1;
        s->jobs++;
        s->is_writing = true;
        journal_source_put(s->host.journal, &first, s->host.mailbox, on_first_record, s);
    }
    record_source_free(&first);
}

void first_start_judge(struct source *s)
{
    struct backend *b = source_backend(s, s->config->active);
    if (s->placement.is_active || b == NULL || *b->pin == '\0' || !b->is_reachable || b->is_wrong) return;
    if (s->config->consumer.type == CONFIG_CONSUMER_REPLICA && !s->consumer_is_resolved) return;
    placement_judge(s, b, on_first_judged, NULL);
}
