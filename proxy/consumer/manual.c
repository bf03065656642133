/* SPDX-License-Identifier: Apache-2.0 */
#include "consumer/kinds.h"
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"

static int fill(const struct gtid_set *gtid_s, bool has_delivered, struct consumer_status *s)
{
    if (gtid_s == NULL && !has_delivered) {
        s->refusal = mem_strdup(
            "the consumer is manual, and what it has is not known from its streams either: pause it yourself, "
            "read the GTID set that it has, and give it with --gtid-s=SET");
        return s->refusal == NULL ? SLUICE_ERR_NOMEM : 0;
    }
    s->tasks = mem_calloc(1, sizeof *s->tasks);
    if (s->tasks == NULL) return SLUICE_ERR_NOMEM;
    s->task_count = 1;
    s->is_known = gtid_s != NULL;
    s->tasks[0].stage = CONSUMER_STAGE_PAUSED_BY_COMMAND;
    s->tasks[0].name = mem_strdup("manual");
    s->tasks[0].detail = mem_strdup(
        gtid_s != NULL
            ? "paused by the operator, who gave gtid-S"
            : "paused by the operator; gtid-S was not given: what Sluice sent whole, of gtid-D, stands for it");
    s->tasks[0].s = gtid_s == NULL ? NULL : gtid_set_copy(gtid_s);
    bool is_filled = s->tasks[0].name != NULL && s->tasks[0].detail != NULL;
    return is_filled && (gtid_s == NULL || s->tasks[0].s != NULL) ? 0 : SLUICE_ERR_NOMEM;
}

int manual_fill_status(const struct gtid_set *gtid_s, bool has_delivered, struct consumer_status *out)
{
    struct consumer_status s = { 0 };
    int rv = fill(gtid_s, has_delivered, &s);
    if (rv != 0) {
        consumer_status_free(&s);
        return rv;
    }
    *out = s;
    return 0;
}
