/* SPDX-License-Identifier: Apache-2.0 */
/* switch: order it, then show its steps. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/args.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/output.h"
#include "core/error.h"

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

static int order(const struct args *args, struct client *client)
{
    const char *const path[] = { "sources", args->operands[0], "switch", NULL };
    json_t *body = call_switch_body(args), *doc = NULL;
    int code = body == NULL ? output_fail(args, CLI_EXIT_FAILED, "%s", error_text(SLUICE_ERR_NOMEM))
                            : call_once(args, client, path, "", body, &doc);
    json_decref(body);
    if (doc == NULL) return code;
    code = call_follow(args, client, doc, code, "switch", args->operands[1]);
    json_decref(doc);
    return code;
}

int command_switch(const struct args *args, const struct cli_hooks *hooks)
{
    struct client *client = NULL;
    (void)hooks;
    if (!is_confirmed(args)) return output_fail(args, CLI_EXIT_USAGE, "not confirmed; nothing was done");
    int code = call_open(args, &client);
    if (code == CLI_EXIT_DONE) code = order(args, client);
    client_close(client);
    return code;
}
