/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pause of a switch: the consumer is looked at once more, so that what somebody paused since the check stays his (promise 4), and
 * what is left of the plan is on disk before the first order. Before that record nothing was paused, and a restart resumes nothing.
 */
#include <stdio.h>
#include "core/error.h"
#include "core/mem.h"
#include "source/state.h"

struct pausing {
    struct source *source;
    consumer_done_fn done;
    void *arg;
};

/* |p| is gone after it. Nothing was ordered yet: there is nothing to take back. */
static void give_up(struct pausing *p, int status, const char *text)
{
    struct upstream_error error = { .code = status };
    struct source *s = p->source;
    consumer_done_fn done = p->done;
    void *arg = p->arg;
    snprintf(error.text, sizeof error.text, "%s", text);
    mem_free(p);
    mem_free(s->run.plan);
    s->run.plan = NULL;
    done(arg, status, &error);
}

static void on_recorded(void *arg, int status, uint64_t number)
{
    struct pausing *p = arg;
    struct source *s = p->source;
    (void)number;
    if (status != 0) {
        give_up(p, SLUICE_ERR_JOURNAL, "what is going to be paused could not be written to state-dir");
        return;
    }
    if (s->is_closing) {
        give_up(p, SLUICE_ERR_CANCELED, "Sluice is being stopped");
        return;
    }
    consumer_done_fn done = p->done;
    void *done_arg = p->arg;
    mem_free(p);
    consumer_pause(s->consumer, s->run.plan, s->config->limits.pause_timeout_ms, done, done_arg);
}

static void on_status(void *arg, int status, const struct upstream_error *error, const struct consumer_status *found)
{
    struct pausing *p = arg;
    struct source *s = p->source;
    struct upstream_error why = { 0 };
    char *narrowed = NULL;
    (void)error;
    if (s->is_closing) {
        give_up(p, SLUICE_ERR_CANCELED, "Sluice is being stopped");
        return;
    }
    /* One that does not answer now is asked again by the pause itself, which says why when its time is over. */
    int rv = status != 0 ? 0 : consumer_narrow(s->consumer, s->run.plan, found, &narrowed, &why);
    if (rv != 0) {
        give_up(p, rv, why.text);
        return;
    }
    if (narrowed != NULL) {
        mem_free(s->run.plan);
        s->run.plan = narrowed;
    }
    if (switch_fill_record(s, SWITCH_PHASE_PAUSING) != 0) {
        give_up(p, SLUICE_ERR_NOMEM, "memory ran out");
        return;
    }
    journal_switch_update(s->host.journal, &s->run.record, s->host.mailbox, on_recorded, p);
}

void pausing_begin(struct source *s, consumer_done_fn done, void *arg)
{
    struct pausing *p = mem_calloc(1, sizeof *p);
    if (p == NULL) {
        struct upstream_error error = { .code = SLUICE_ERR_NOMEM, .text = "memory ran out" };
        done(arg, SLUICE_ERR_NOMEM, &error);
        return;
    }
    *p = (struct pausing){ s, done, arg };
    consumer_status(s->consumer, s->config->limits.probe_timeout_ms, on_status, p);
}
