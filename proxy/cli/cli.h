/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the command line: verbs, options, exit codes. */
#pragma once

struct config;
struct serve_options; /* source/serve.h */

/* Exit codes, for all verbs; the daemon's answers carry the same numbers as "code". The cause beats the stage. */
enum cli_exit {
    CLI_EXIT_DONE = 0,
    CLI_EXIT_FAILED = 1,  /* failed, or aborted and undone; no daemon; another switch is in progress */
    CLI_EXIT_USAGE = 2,   /* the command line or the configuration file is wrong */
    CLI_EXIT_REFUSED = 3, /* by a check or the gate; nothing has changed */
    CLI_EXIT_LIMIT = 4,   /* a time limit ran out */
    CLI_EXIT_UNKNOWN = 5, /* how it ended is not known; a person must look */
};

/* What the command line hands over to. */
struct cli_hooks {
    int (*serve)(const struct config *config,
                 const struct serve_options *options); /* serve_run(); NULL: not built in */
};

/*
 * cli_main - do what the command line says. Results go to stdout, reasons of failure to stderr; with --json one object goes to
 * stdout, failure or not. Returns the exit code. Call from: main, once.
 */
int cli_main(int argc, char **argv, const struct cli_hooks *hooks);
