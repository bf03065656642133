/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>
#include "cli/args.h"
#include "cli/gtid_command.h"
#include "cli/output.h"

static int finish(int code)
{
    if (output_flush() == 0) return code;
    fputs("sluice: stdout did not take all of the output\n", stderr);
    return code == CLI_EXIT_DONE ? CLI_EXIT_FAILED : code;
}

static int print_help(const struct verb *verb)
{
    struct text help = TEXT_INIT;
    args_print_help(verb, &help);
    fputs(text_str(&help), stdout);
    text_free(&help);
    return finish(CLI_EXIT_DONE);
}

int cli_main(int argc, char **argv, const struct cli_hooks *hooks)
{
    struct args args;
    struct text error = TEXT_INIT;
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--version") == 0) {
        printf("sluice %s\n", SLUICE_VERSION);
        return finish(CLI_EXIT_DONE);
    }
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || strcmp(first, "help") == 0)
        return print_help(argc > 2 ? verb_find(argv[2]) : NULL);
    if (strcmp(first, "gtid") == 0)
        return finish(gtid_command(argc - 1, argv + 1, stdout, stderr)); /* has its own words */
    if (args_parse(argc, argv, &args, &error) != 0) {
        int code = output_fail(&args, CLI_EXIT_USAGE, "%s", text_str(&error));
        text_free(&error);
        return finish(code);
    }
    if (args.help) return print_help(args.verb);
    return finish(args.verb->run(&args, hooks));
}
