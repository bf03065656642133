/* SPDX-License-Identifier: Apache-2.0 */
#include "consumer/kinds.h"
#include "core/error.h"
#include "core/mem.h"
#include "sluice/gtid.h"

static int fill(const struct gtid_set *gtid_s, struct consumer_status *s)
{
    if (gtid_s == NULL) {
        s->refusal =
            mem_strdup("the consumer is manual: pause it yourself, read the GTID set that it has, and give it with "
                       "--gtid-s=SET");
        return s->refusal == NULL ? SLUICE_ERR_NOMEM : 0;
    }
    s->tasks = mem_calloc(1, sizeof *s->tasks);
    if (s->tasks == NULL) return SLUICE_ERR_NOMEM;
    s->task_count = 1;
    s->is_known = true;
    s->tasks[0].stage = CONSUMER_STAGE_PAUSED_BY_COMMAND;
    s->tasks[0].name = mem_strdup("manual");
    s->tasks[0].detail = mem_strdup("paused by the operator, who gave gtid-S");
    s->tasks[0].s = gtid_set_copy(gtid_s);
    return s->tasks[0].name == NULL || s->tasks[0].detail == NULL || s->tasks[0].s == NULL ? SLUICE_ERR_NOMEM : 0;
}

int manual_fill_status(const struct gtid_set *gtid_s, struct consumer_status *out)
{
    struct consumer_status s = { 0 };
    int rv = fill(gtid_s, &s);
    if (rv != 0) {
        consumer_status_free(&s);
        return rv;
    }
    *out = s;
    return 0;
}
