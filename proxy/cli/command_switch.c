/* SPDX-License-Identifier: Apache-2.0 */
/* switch: order it, then show its steps until its end, over a broken stream and a restarted daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli/args.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/render.h"
#include "core/error.h"

enum { ASK_INTERVAL_MS = 500, ASK_FAILURES_MAX = 120 }; /* a daemon that restarts has a minute to come back */

struct watch {
    const struct args *args;
    struct client *client;
    json_int_t number;
    size_t steps_shown;
    char phase[32];
    /* of the last step; "" before the first */ /* of the switch, so that none is shown twice after the stream broke */
    json_t *end;                                /* the last event, or the record of the ended switch */
};

static void accepted_list(const struct args *args, struct text *out)
{
    if (args->old_is_dead) text_puts(out, "  that the old server is dead and stays so\n");
    if (args->accept_loss != NULL) text_printf(out, "  that these are lost: %s\n", args->accept_loss);
    for (size_t i = 0; i < args->accept_errant_count; i++)
        text_printf(out, "  that these are only on %s: %s\n", args->operands[1], args->accept_errant[i]);
    for (size_t i = 0; i < args->waive_count; i++)
        text_printf(out, "  that these checks only warn: %s\n", args->waive[i]);
}

/* Who accepts something at a terminal is asked once more; scripts and --yes are not. */
static bool is_confirmed(const struct args *args)
{
    struct text list = TEXT_INIT;
    char answer[16] = "";
    accepted_list(args, &list);
    bool is_asked = list.len > 0 && !args->yes && isatty(STDIN_FILENO);
    if (is_asked) {
        fprintf(stderr, "switch %s to %s, accepting\n%sType yes to go on: ", args->operands[0], args->operands[1],
                text_str(&list));
        fflush(stderr);
        if (fgets(answer, sizeof answer, stdin) == NULL) answer[0] = '\0';
        answer[strcspn(answer, "\r\n")] = '\0';
    }
    text_free(&list);
    return !is_asked || strcmp(answer, "yes") == 0;
}

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
    if (state[0] != '\0' && strcmp(state, "open") != 0) w->end = json_deep_copy(doc);
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
        output_text("switch %" JSON_INTEGER_FORMAT " of %s to %s; Ctrl-C detaches, the switch goes on\n", w->number,
                    source, w->args->operands[1]);
    fflush(stdout);
    int rv = client_follow(w->client, path, on_event, w);
    if (rv == SLUICE_ERR_IO || (rv == 0 && w->end == NULL)) rv = poll_record(w);
    if (rv == 0) return show_end(w);
    if (rv == SLUICE_ERR_CANCELED)
        return output_fail(w->args, CLI_EXIT_UNKNOWN,
                           "detached; switch %" JSON_INTEGER_FORMAT
                           " goes on: sluice status %s shows it, sluice abort %s ends it",
                           w->number, source, source);
    return output_fail(w->args, CLI_EXIT_UNKNOWN,
                       "the daemon does not answer any more; switch %" JSON_INTEGER_FORMAT
                       " is finished or undone when it runs again, see: sluice status %s",
                       w->number, source);
}

static int order(struct watch *w)
{
    const char *const path[] = { "sources", w->args->operands[0], "switch", NULL };
    json_t *body = call_switch_body(w->args), *doc = NULL;
    int code = body == NULL ? output_fail(w->args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM))
                            : call_once(w->args, w->client, path, "", body, &doc);
    json_decref(body);
    if (doc == NULL) return code;
    w->number = field_int(doc, "switch");
    if (code == CLI_EXIT_DONE && w->number > 0) {
        code = watch(w);
    } else {
        if (code == CLI_EXIT_DONE) code = CLI_EXIT_UNKNOWN; /* accepted, and yet no number to follow */
        if (w->args->json || w->args->json_lines)
            output_json(w->args, doc, code);
        else
            output_fail(w->args, code, "%s", field_str(doc, "msg", "the daemon gave no reason"));
    }
    json_decref(doc);
    return code;
}

int command_switch(const struct args *args, const struct cli_hooks *hooks)
{
    struct watch w = { .args = args };
    (void)hooks;
    if (!is_confirmed(args)) return output_fail(args, CLI_EXIT_USAGE, "not confirmed; nothing was done");
    int code = call_open(args, &w.client);
    if (code == CLI_EXIT_DONE) code = order(&w);
    client_close(w.client);
    json_decref(w.end);
    return code;
}
