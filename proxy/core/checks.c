/* SPDX-License-Identifier: Apache-2.0 */
#include "core/checks.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"

void check_list_free(struct check_list *list)
{
    mem_free(list->items);
    *list = (struct check_list){ 0 };
}

void check_add(struct check_list *list, const char *id, const char *name, enum check_state state, const char *todo,
               const char *detail, ...)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 32 : list->room * 2;
        struct check *items = mem_realloc(list->items, room * sizeof *items);
        if (items == NULL) {
            list->status = SLUICE_ERR_NOMEM;
            return;
        }
        list->items = items;
        list->room = room;
    }
    struct check *c = &list->items[list->count++];
    *c = (struct check){ .state = state };
    snprintf(c->id, sizeof c->id, "%s", id);
    snprintf(c->name, sizeof c->name, "%s", name);
    if (state != CHECK_OK && todo != NULL) snprintf(c->todo, sizeof c->todo, "%s", todo);
    va_list args;
    va_start(args, detail);
    vsnprintf(c->detail, sizeof c->detail, detail, args);
    va_end(args);
}

const struct check *check_worst(const struct check_list *list)
{
    const struct check *worst = NULL;
    for (size_t i = 0; i < list->count; i++) {
        if (worst == NULL || list->items[i].state > worst->state) worst = &list->items[i];
    }
    return worst;
}

const char *check_state_name(enum check_state state)
{
    switch (state) {
    case CHECK_OK: return "ok";
    case CHECK_WARN: return "warn";
    case CHECK_WAIT:
    case CHECK_FAIL: return "fail";
    }
    return "fail";
}

enum cutover_verdict check_verdict(const struct check_list *list)
{
    const struct check *worst = check_worst(list);
    if (list->status != 0) return CUTOVER_VERDICT_FAILED;
    if (worst == NULL) return CUTOVER_VERDICT_PASS;
    switch (worst->state) {
    case CHECK_OK:
    case CHECK_WARN: return CUTOVER_VERDICT_PASS;
    case CHECK_WAIT: return CUTOVER_VERDICT_LAGGING;
    case CHECK_FAIL: return CUTOVER_VERDICT_REFUSED;
    }
    return CUTOVER_VERDICT_REFUSED;
}

void checks_add_consumer(struct check_list *list, const struct consumer_status *status)
{
    if (status->refusal != NULL) {
        check_add(list, "C13", "consumer", CHECK_FAIL, "make the consumer ready to be paused, then try again", "%s",
                  status->refusal);
        return;
    }
    if (status->task_count == 0) {
        check_add(list, "C13", "consumer", CHECK_OK, "", "no task that Sluice pauses");
    }
    for (size_t i = 0; i < status->task_count; i++) {
        const struct consumer_task *t = &status->tasks[i];
        bool is_lost = t->blocks || t->stage == CONSUMER_STAGE_UNKNOWN;
        const char *fate = t->is_reading || t->is_applying ? ", would be paused" : ", left alone";
        check_add(list, "C13", "consumer", is_lost ? CHECK_FAIL : CHECK_OK,
                  "wait until the task is in a state in which it can be paused", "%s: %s%s%s%s", t->name,
                  consumer_stage_name(t->stage), is_lost ? "" : fate, *t->detail == '\0' ? "" : ", ", t->detail);
    }
}

static const char *gate_id(enum gtid_gate_rule rule)
{
    switch (rule) {
    case GTID_GATE_PURGED_IN_READER: return "C01";
    case GTID_GATE_READER_IN_EXECUTED: return "C02";
    case GTID_GATE_PURGED_IN_VALIDATOR: return "C03";
    case GTID_GATE_PURGED_IN_DELIVERED: return "C01";
    case GTID_GATE_DELIVERED_IN_EXECUTED: return "C04";
    case GTID_GATE_NOTHING_ERRANT: return "C05";
    }
    return "C00";
}

static const char *gate_todo(const struct gtid_gate_condition *c, bool new_replicates)
{
    if (c->is_rewound)
        return "the server has lost transactions of its own: restore it from a backup or rebuild it, then sluice repin";
    bool is_unknown = c->status == GTID_GATE_FAIL && c->missing == NULL;
    if (is_unknown)
        return "it cannot be read any more: take the risk with --accept-loss=unknown, or bring that server back";
    switch (c->rule) {
    case GTID_GATE_PURGED_IN_READER:
        if (c->status == GTID_GATE_UNKNOWN)
            return "this reader can go on from neither server: begin it anew; the others are not kept waiting for it";
        /* the server itself would answer 1236; nothing that is accepted changes that */
        return "this server has purged binlogs that are still needed: choose another, or let the reader catch up first";
    case GTID_GATE_PURGED_IN_VALIDATOR:
    case GTID_GATE_PURGED_IN_DELIVERED:
        return "this server has purged binlogs that are still needed: choose another, or let the reader catch up first";
    case GTID_GATE_READER_IN_EXECUTED:
    case GTID_GATE_DELIVERED_IN_EXECUTED:
        if (c->status == GTID_GATE_WAIT && new_replicates) return "it is catching up: raise --wait-catchup";
        return "start replication there and let it catch up, choose another server, or accept it with --accept-loss";
    case GTID_GATE_NOTHING_ERRANT:
        if (c->status == GTID_GATE_WAIT)
            return "wait until the old server has them too (--wait-catchup); if they were meant for this one alone, "
                   "accept "
                   "them by name with --accept-errant=GTIDSET or a whole UUID";
        return "find out what was written there; accept by name with --accept-errant=GTIDSET or a whole UUID";
    }
    return "";
}

void checks_add_gate(struct check_list *list, const struct gtid_gate_result *gate, bool new_replicates)
{
    static const enum check_state states[] = { [GTID_GATE_OK] = CHECK_OK,
                                               [GTID_GATE_UNKNOWN] = CHECK_WARN,
                                               [GTID_GATE_WAIT] = CHECK_WAIT,
                                               [GTID_GATE_FAIL] = CHECK_FAIL };
    for (size_t i = 0; i < gate->condition_count; i++) {
        const struct gtid_gate_condition *c = &gate->conditions[i];
        check_add(list, gate_id(c->rule), c->title, states[c->status], gate_todo(c, new_replicates), "%s", c->text);
    }
}
