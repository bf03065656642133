/* SPDX-License-Identifier: Apache-2.0 */
#include "source/positions.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "core/error.h"
#include "core/mem.h"
#include "core/text.h"

static void sets_free(struct gtid_gate_set *sets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *name = (char *)(uintptr_t)sets[i].name; /* made by add_set(); the gate's own type borrows it as const */
        struct gtid_set *set = (struct gtid_set *)(uintptr_t)sets[i].set;
        mem_free(name);
        gtid_set_del(set);
    }
    mem_free(sets);
}

void positions_free(struct positions *p)
{
    sets_free(p->readers, p->reader_count);
    mem_free(p->may_be_lost);
    sets_free(p->validators, p->validator_count);
    *p = (struct positions){ 0 };
}

static int add_set(struct gtid_gate_set *sets, size_t *count, const char *what, const char *of,
                   const struct gtid_set *set)
{
    struct text name = TEXT_INIT;
    text_puts(&name, what);
    if (*of != '\0') text_printf(&name, "(%s)", of);
    char *text = text_take(&name);
    struct gtid_set *copy = gtid_set_copy(set);
    if (text == NULL || copy == NULL) {
        mem_free(text);
        gtid_set_del(copy);
        return SLUICE_ERR_NOMEM;
    }
    sets[(*count)++] = (struct gtid_gate_set){ .name = text, .set = copy };
    return 0;
}

void positions_mark_lost(const struct positions *p, const struct gtid_set *old_purged, struct gtid_gate_result *result)
{
    size_t reader = 0;
    for (size_t i = 0; old_purged != NULL && i < result->condition_count; i++) {
        struct gtid_gate_condition *c = &result->conditions[i];
        if (c->rule != GTID_GATE_PURGED_IN_READER) continue;
        size_t at = reader++; /* one a reader, in their order */
        if (at >= p->reader_count || c->status != GTID_GATE_FAIL || !p->may_be_lost[at] ||
            gtid_set_contains(p->readers[at].set, old_purged))
            continue;
        char text[GTID_GATE_TEXT_BYTES];
        memcpy(text, c->text, sizeof text);
        c->status = GTID_GATE_UNKNOWN;
        snprintf(c->text, sizeof c->text, "lost already, the old server has purged it too: %.*s",
                 GTID_GATE_TEXT_BYTES - 60, text);
    }
}

int positions_take(struct positions *p, const struct consumer_status *status)
{
    int rv = SLUICE_ERR_NOMEM;
    positions_free(p);
    p->readers = mem_calloc(status->task_count + 1, sizeof *p->readers);
    p->may_be_lost = mem_calloc(status->task_count + 1, sizeof *p->may_be_lost);
    p->validators = mem_calloc(1, sizeof *p->validators);
    if (p->readers == NULL || p->may_be_lost == NULL || p->validators == NULL) goto err;
    for (size_t i = 0; i < status->task_count; i++) {
        const struct consumer_task *t = &status->tasks[i];
        if (t->s == NULL) continue;
        /* With a relay the files have what the server has purged; and the S of one that runs is old. */
        p->may_be_lost[p->reader_count] = !status->relay.is_present && t->stage != CONSUMER_STAGE_RUNNING;
        rv = add_set(p->readers, &p->reader_count, "gtid-S", t->name, t->s);
        if (rv != 0) goto err;
    }
    if (status->relay.is_present && status->relay.position != NULL) {
        rv = add_set(p->readers, &p->reader_count, "gtid-W", "", status->relay.position);
        if (rv != 0) goto err;
    }
    if (status->validator.is_present && status->validator.position != NULL) {
        rv = add_set(p->validators, &p->validator_count, "gtid-V", "", status->validator.position);
        if (rv != 0) goto err;
    }
    return 0;
err:
    positions_free(p);
    return rv;
}
