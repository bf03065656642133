/* SPDX-License-Identifier: Apache-2.0 */
/* args.h - the verbs with their options, and a command line taken apart. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/log.h"
#include "cli/cli.h"
#include "core/attr.h"

struct text;

enum { ARGS_ERRANT_MAX = 64, ARGS_WAIVE_MAX = 32, ARGS_TASK_FILES_MAX = 256 };

struct args {
    const struct verb *verb;
    const char *operands[2]; /* SOURCE, BACKEND */
    size_t operand_count;
    const char *config;     /* -c; NULL when not given, as all below */
    const char *admin;      /* --admin */
    const char *token_file; /* --token-file */
    bool json, json_lines;
    enum log_format log_format;
    enum log_level log_level;
    bool has_wait; /* --wait-catchup was given */
    uint32_t wait_ms;
    bool old_is_dead;
    const char *accept_loss;
    const char *accept_errant[ARGS_ERRANT_MAX];
    size_t accept_errant_count;
    const char *gtid_s;
    const char *waive[ARGS_WAIVE_MAX]; /* as given: a name, or several with commas */
    size_t waive_count;
    const char *to; /* --to, of readdress */
    const char *source_file;
    const char *task_files[ARGS_TASK_FILES_MAX];
    size_t task_file_count;
    bool dry_run, resume, undo;
    bool yes;
    uint32_t limit; /* --limit; 0 when not given */
    bool reference;
    bool help;
};

struct verb {
    const char *name;
    const char *operands; /* "SOURCE BACKEND" */
    size_t operands_min, operands_max;
    unsigned options; /* mask of 1u << enum of args.c */
    const char *summary;
    const char *help; /* paragraphs, each line at most 100 wide */
    int (*run)(const struct args *args, const struct cli_hooks *hooks);
};

/*
 * args_parse - take argv[1..] apart. Texts stay argv's.
 * Returns 0, or SLUICE_ERR_INVALID with the reason and what to do in |error|; |out->verb| and |out->json| are as far as known.
 */
SLUICE_MUSTCHECK int args_parse(int argc, char **argv, struct args *out, struct text *error);
/* args_print_help - of all verbs (|verb| NULL), or of one. */
void args_print_help(const struct verb *verb, struct text *out);

/* verbs.c: NULL ends the names. */
extern const struct verb verbs[];
extern const size_t verb_count;
/* verb_find - NULL when there is none of that name. */
const struct verb *verb_find(const char *name);

enum args_option_id {
    ARGS_CONFIG,
    ARGS_ADMIN,
    ARGS_TOKEN_FILE,
    ARGS_JSON,
    ARGS_JSON_LINES,
    ARGS_LOG_FORMAT,
    ARGS_LOG_LEVEL,
    ARGS_WAIT_CATCHUP,
    ARGS_OLD_IS_DEAD,
    ARGS_ACCEPT_LOSS,
    ARGS_ACCEPT_ERRANT,
    ARGS_GTID_S,
    ARGS_WAIVE,
    ARGS_TO,
    ARGS_SOURCE_FILE,
    ARGS_TASK_FILE,
    ARGS_DRY_RUN,
    ARGS_RESUME,
    ARGS_UNDO,
    ARGS_YES,
    ARGS_LIMIT,
    ARGS_REFERENCE,
    ARGS_HELP,
    ARGS_OPTION_COUNT
};
