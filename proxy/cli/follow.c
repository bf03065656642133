/* SPDX-License-Identifier: Apache-2.0 */
/* Steps as they happen, over a broken stream and a restarted daemon, until the end. */
#include "cli/follow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/render.h"
#include "core/error.h"

enum { ASK_INTERVAL_MS = 500, ASK_FAILURES_MAX = 120 }; /* a daemon that restarts has a minute to come back */

struct watch {
    const struct args *args;
    struct client *client;
    const char *what, *to; /* "switch" or "readdress", and where to */
    json_int_t number;
    size_t steps_shown; /* so that none is shown twice after the stream broke */
    char phase[32];     /* of the last step; "" before the first */
    json_t *end;        /* the last event, or the record of the ended switch */
};

static void show_step(struct watch *w, const json_t *step)
{
    w->steps_shown++;
    if (w->args->json_lines) {
        char *line = json_dumps(step, JSON_COMPACT);
        if (line != NULL) printf("%s\n", line);
        free(line);
    } else if (!w->args->json) {
        /* The text says how the phase before ended, or, when it has not, how it goes. A first step without a text only begins. */
        const char *phase = field_str(step, "phase", "?");
        bool is_first = *w->phase == '\0';
        if (!is_first || *field_str(step, "text", "") != '\0') render_step(step, is_first ? phase : w->phase);
        snprintf(w->phase, sizeof w->phase, "%s", phase);
    }
    fflush(stdout);
}

static bool on_event(void *arg, const json_t *event)
{
    struct watch *w = arg;
    const char *type = field_str(event, "type", "");
    if (strcmp(type, "step") == 0) show_step(w, event);
    if (strcmp(type, "lost") == 0) w->steps_shown += (size_t)field_int(event, "count");
    if (strcmp(type, "end") != 0) return false;
    w->end = json_deep_copy(event);
    return true;
}

/* One answer to "how is it": steps that were not shown yet, and the end if there is one. */
static void take_record(struct watch *w, const json_t *doc)
{
    const json_t *change = json_object_get(doc, "switch"), *step;
    size_t i;
    json_array_foreach(json_object_get(change, "steps"), i, step)
    {
        if (i >= w->steps_shown) show_step(w, step);
    }
    const char *state = field_str(change, "state", "");
    bool is_over = state[0] != '\0' && strcmp(state, "open") != 0;
    if (is_over || json_is_true(json_object_get(doc, "unfinished"))) w->end = json_deep_copy(doc);
}

/* The stream is gone: ask from time to time. 0 with w->end set, or SLUICE_ERR_CANCELED, or SLUICE_ERR_IO after a minute. */
static int poll_record(struct watch *w)
{
    char path[64];
    int failures = 0, rv = 0;
    snprintf(path, sizeof path, "/v1/switches/%" JSON_INTEGER_FORMAT, w->number);
    fputs("sluice: the stream of steps broke off; asking for them instead\n", stderr);
    while (rv == 0 && w->end == NULL) {
        struct text error = TEXT_INIT;
        json_t *doc = NULL;
        long status = 0;
        rv = client_call(w->client, path, NULL, &doc, &status, &error);
        text_free(&error);
        bool is_answer = rv == 0 && json_is_object(json_object_get(doc, "switch"));
        failures = is_answer ? 0 : failures + 1;
        if (is_answer) take_record(w, doc);
        json_decref(doc);
        if (rv != SLUICE_ERR_CANCELED) rv = failures == ASK_FAILURES_MAX ? SLUICE_ERR_IO : 0;
        if (rv == 0 && w->end == NULL) rv = client_wait(ASK_INTERVAL_MS);
    }
    return rv;
}

static int show_end(struct watch *w)
{
    const json_t *inner = json_object_get(w->end, "switch"), *outcome = json_is_object(inner) ? inner : w->end;
    const char *msg = field_str(w->end, "msg", "");
    int code = output_code(w->end, 200);
    if (w->args->json || w->args->json_lines) {
        if (w->args->json) (void)json_object_del(w->end, "type");
        output_json(w->args, w->end, code);
        return code;
    }
    if (code != CLI_EXIT_DONE) render_checks(json_object_get(outcome, "checks"), false);
    render_end(outcome, code);
    if (code != CLI_EXIT_DONE)
        return output_fail(w->args, code, "%s", msg[0] == '\0' ? "the daemon gave no reason" : msg);
    if (msg[0] != '\0') output_text("%s\n", msg);
    return code;
}

static int watch(struct watch *w)
{
    char path[64];
    const char *source = w->args->operands[0];
    snprintf(path, sizeof path, "/v1/switches/%" JSON_INTEGER_FORMAT "/events", w->number);
    if (!w->args->json && !w->args->json_lines)
        output_text("%s %" JSON_INTEGER_FORMAT " of %s to %s; Ctrl-C detaches, the %s goes on\n", w->what, w->number,
                    source, w->to, w->what);
    fflush(stdout);
    int rv = client_follow(w->client, path, on_event, w);
    if (rv == SLUICE_ERR_IO || (rv == 0 && w->end == NULL)) rv = poll_record(w);
    if (rv == 0) return show_end(w);
    if (rv == SLUICE_ERR_CANCELED)
        return output_fail(w->args, CLI_EXIT_UNKNOWN,
                           "detached; %s %" JSON_INTEGER_FORMAT
                           " goes on: sluice status %s shows it, sluice abort %s ends it",
                           w->what, w->number, source, source);
    return output_fail(w->args, CLI_EXIT_UNKNOWN,
                       "the daemon does not answer any more; %s %" JSON_INTEGER_FORMAT "%s, see: sluice status %s",
                       w->what, w->number,
                       strcmp(w->what, "switch") == 0 ? " is finished or undone when it runs again"
                                                      : " can be gone on with when it runs again",
                       source);
}

int follow_switch(const struct args *args, struct client *client, json_int_t number, const char *what, const char *to)
{
    struct watch w = { .args = args, .client = client, .what = what, .to = to, .number = number };
    int code = watch(&w);
    json_decref(w.end);
    return code;
}
