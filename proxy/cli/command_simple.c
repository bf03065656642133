/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that are one call to the daemon: status, check, abort, hold, release, adopt, repin, history. */
#include <stdio.h>
#include "cli/args.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/render.h"
#include "core/error.h"

/* How an answer that is no failure is shown to people. */
typedef void (*render_fn)(const struct args *args, const json_t *doc);

static int run(const struct args *args, const char *const *segments, const char *query, json_t *body, render_fn render)
{
    struct client *client = NULL;
    json_t *doc = NULL;
    int code = call_open(args, &client);
    if (code == CLI_EXIT_DONE) code = call_once(args, client, segments, query, body, &doc);
    json_decref(body);
    client_close(client);
    if (doc == NULL) return code;
    if (args->json) {
        output_json(args, doc, code);
    } else {
        const char *msg = field_str(doc, "msg", "");
        render(args, doc);
        if (code != CLI_EXIT_DONE)
            output_fail(args, code, "%s", msg[0] == '\0' ? "the daemon gave no reason; see its log" : msg);
    }
    json_decref(doc);
    return code;
}

static void render_status(const struct args *args, const json_t *doc)
{
    const json_t *sources = json_object_get(doc, "sources"), *source = json_object_get(doc, "source");
    size_t i;
    (void)args;
    if (source != NULL) render_source(source);
    json_array_foreach(sources, i, source)
    {
        if (i > 0) output_text("\n");
        render_source(source);
    }
}

int command_status(const struct args *args, const struct cli_hooks *hooks)
{
    const char *const path[] = { "sources", args->operand_count > 0 ? args->operands[0] : NULL, NULL };
    (void)hooks;
    return run(args, path, "", NULL, render_status);
}

static void render_check(const struct args *args, const json_t *doc)
{
    (void)args;
    render_checks(json_object_get(doc, "checks"), true);
    if (json_is_true(json_object_get(doc, "result"))) output_text("a switch would begin\n");
}

int command_check(const struct args *args, const struct cli_hooks *hooks)
{
    const char *const path[] = { "sources", args->operands[0], "check", NULL };
    json_t *body = call_switch_body(args);
    (void)hooks;
    if (body == NULL) return output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM));
    return run(args, path, "", body, render_check);
}

static void render_done(const struct args *args, const json_t *doc)
{
    const char *msg = field_str(doc, "msg", "");
    if (!json_is_true(json_object_get(doc, "result"))) return; /* the reason goes to stderr */
    output_text("%s %s: %s\n", args->verb->name, args->operands[0], msg[0] == '\0' ? "done" : msg);
}

static int post(const struct args *args, json_t *body)
{
    if (body == NULL) return output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM));
    const char *const path[] = { "sources", args->operands[0], args->verb->name, NULL };
    return run(args, path, "", body, render_done);
}

int command_abort(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    return post(args, json_object());
}

int command_hold(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    return post(args, json_object());
}

int command_release(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    return post(args, json_object());
}

int command_adopt(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    return post(args, json_pack("{s:s}", "backend", args->operands[1]));
}

int command_repin(const struct args *args, const struct cli_hooks *hooks)
{
    (void)hooks;
    return post(args, json_pack("{s:s}", "backend", args->operands[1]));
}

static void render_past(const struct args *args, const json_t *doc)
{
    (void)args;
    const json_t *switches = json_object_get(doc, "switches");
    if (switches != NULL) render_history(switches);
}

int command_history(const struct args *args, const struct cli_hooks *hooks)
{
    const char *const path[] = { "sources", args->operands[0], "history", NULL };
    char query[32] = "";
    (void)hooks;
    if (args->limit > 0) snprintf(query, sizeof query, "?limit=%u", args->limit);
    return run(args, path, query, NULL, render_past);
}
